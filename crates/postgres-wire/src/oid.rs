//! Well-known type OIDs (`pg_type.dat`) and what their values may hold.

macro_rules! oids {
    ($($name:ident = $oid:literal, $array:ident = $array_oid:literal, $class:expr;)*) => {
        $(
            #[doc = concat!("OID of `", stringify!($name), "`, in lower case.")]
            pub const $name: u32 = $oid;
            #[doc = concat!("OID of the array over [`", stringify!($name), "`].")]
            pub const $array: u32 = $array_oid;
        )*

        /// What values of a type may hold, as far as its OID tells.
        pub const fn class(oid: u32) -> TypeClass {
            match oid {
                $($oid => $class, $array_oid => TypeClass::Array($oid),)*
                UNKNOWN => TypeClass::Text,
                // int2vector, oidvector
                22 | 30 => TypeClass::Fixed,
                _ => TypeClass::Unknown,
            }
        }

        /// The name of the constant for an OID: `INT8`, `INT8_ARRAY`.
        const fn constant_name(oid: u32) -> Option<&'static str> {
            match oid {
                $($oid => Some(stringify!($name)), $array_oid => Some(stringify!($array)),)*
                _ => None,
            }
        }
    };
}

/// The type's name as `format_type` would begin it: `int8`, `int8[]`. `None` if not built in.
pub fn name(oid: u32) -> Option<String> {
    let name = constant_name(oid)?.to_ascii_lowercase();
    Some(match name.strip_suffix("_array") {
        Some(element) => format!("{element}[]"),
        None => name,
    })
}

/// What values of a type may hold: what a detector has to look at.
///
/// A rule for a column holds for every class; this only says where searching
/// for content makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TypeClass {
    /// Text; in binary format the same bytes.
    Text,
    /// `json` or `jsonb`.
    Json,
    /// `int4`, `int8`: may be a number of something.
    Integer,
    /// `numeric`.
    Numeric,
    /// `bytea`.
    Bytes,
    /// `inet`, `cidr`, `macaddr`, `macaddr8`.
    Address,
    /// An array over this element type.
    Array(u32),
    /// `record`: fields of any type.
    Record,
    /// A range (over text, never: no built-in one).
    Range(u32),
    /// Bool, `int2`, `oid`, floats, dates and times, `uuid`, bits, ...: nothing a
    /// detector could find.
    Fixed,
    /// Not a built-in type: enums, domains' base types are built in, composites,
    /// extensions.
    Unknown,
}

use TypeClass::{Address, Bytes, Fixed, Integer, Json, Numeric, Range, Record, Text};

oids! {
    BOOL = 16, BOOL_ARRAY = 1000, Fixed;
    BYTEA = 17, BYTEA_ARRAY = 1001, Bytes;
    CHAR = 18, CHAR_ARRAY = 1002, Text;
    NAME = 19, NAME_ARRAY = 1003, Text;
    INT8 = 20, INT8_ARRAY = 1016, Integer;
    INT2 = 21, INT2_ARRAY = 1005, Fixed;
    INT4 = 23, INT4_ARRAY = 1007, Integer;
    REGPROC = 24, REGPROC_ARRAY = 1008, Fixed;
    TEXT = 25, TEXT_ARRAY = 1009, Text;
    OID = 26, OID_ARRAY = 1028, Fixed;
    TID = 27, TID_ARRAY = 1010, Fixed;
    XID = 28, XID_ARRAY = 1011, Fixed;
    CID = 29, CID_ARRAY = 1012, Fixed;
    JSON = 114, JSON_ARRAY = 199, Json;
    XML = 142, XML_ARRAY = 143, Text;
    POINT = 600, POINT_ARRAY = 1017, Fixed;
    LSEG = 601, LSEG_ARRAY = 1018, Fixed;
    PATH = 602, PATH_ARRAY = 1019, Fixed;
    BOX = 603, BOX_ARRAY = 1020, Fixed;
    POLYGON = 604, POLYGON_ARRAY = 1027, Fixed;
    LINE = 628, LINE_ARRAY = 629, Fixed;
    CIDR = 650, CIDR_ARRAY = 651, Address;
    FLOAT4 = 700, FLOAT4_ARRAY = 1021, Fixed;
    FLOAT8 = 701, FLOAT8_ARRAY = 1022, Fixed;
    CIRCLE = 718, CIRCLE_ARRAY = 719, Fixed;
    MACADDR8 = 774, MACADDR8_ARRAY = 775, Address;
    MONEY = 790, MONEY_ARRAY = 791, Fixed;
    MACADDR = 829, MACADDR_ARRAY = 1040, Address;
    INET = 869, INET_ARRAY = 1041, Address;
    BPCHAR = 1042, BPCHAR_ARRAY = 1014, Text;
    VARCHAR = 1043, VARCHAR_ARRAY = 1015, Text;
    DATE = 1082, DATE_ARRAY = 1182, Fixed;
    TIME = 1083, TIME_ARRAY = 1183, Fixed;
    TIMESTAMP = 1114, TIMESTAMP_ARRAY = 1115, Fixed;
    TIMESTAMPTZ = 1184, TIMESTAMPTZ_ARRAY = 1185, Fixed;
    INTERVAL = 1186, INTERVAL_ARRAY = 1187, Fixed;
    TIMETZ = 1266, TIMETZ_ARRAY = 1270, Fixed;
    BIT = 1560, BIT_ARRAY = 1561, Fixed;
    VARBIT = 1562, VARBIT_ARRAY = 1563, Fixed;
    NUMERIC = 1700, NUMERIC_ARRAY = 1231, Numeric;
    REGCLASS = 2205, REGCLASS_ARRAY = 2210, Fixed;
    REGTYPE = 2206, REGTYPE_ARRAY = 2211, Fixed;
    RECORD = 2249, RECORD_ARRAY = 2287, Record;
    CSTRING = 2275, CSTRING_ARRAY = 1263, Text;
    UUID = 2950, UUID_ARRAY = 2951, Fixed;
    PG_LSN = 3220, PG_LSN_ARRAY = 3221, Fixed;
    JSONB = 3802, JSONB_ARRAY = 3807, Json;
    INT4RANGE = 3904, INT4RANGE_ARRAY = 3905, Range(INT4);
    NUMRANGE = 3906, NUMRANGE_ARRAY = 3907, Range(NUMERIC);
    TSRANGE = 3908, TSRANGE_ARRAY = 3909, Range(TIMESTAMP);
    TSTZRANGE = 3910, TSTZRANGE_ARRAY = 3911, Range(TIMESTAMPTZ);
    DATERANGE = 3912, DATERANGE_ARRAY = 3913, Range(DATE);
    INT8RANGE = 3926, INT8RANGE_ARRAY = 3927, Range(INT8);
    JSONPATH = 4072, JSONPATH_ARRAY = 4073, Text;
}

/// OID of `unknown`: a literal whose type was never decided. Text.
pub const UNKNOWN: u32 = 705;

/// No type: what a client may give for a parameter, and what class `Unknown` is left with.
pub const UNSPECIFIED: u32 = 0;
