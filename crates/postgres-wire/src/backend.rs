//! Readers for the messages a server sends.
//!
//! Like [`crate::frontend`]: borrowed, checked whole when made.

use std::fmt;

use crate::error::{Side, WireError};
use crate::frontend::{Format, Formats, Oids, Values, only_cstr};
use crate::read::Reader;
use crate::startup::{MAX_CANCEL_KEY, MIN_CANCEL_KEY, ProtocolVersion};

/// `R`: what the server wants for authentication.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// 0: done.
    Ok,
    /// 3.
    CleartextPassword,
    /// 5: with the salt.
    Md5Password([u8; 4]),
    /// 10: the mechanisms offered.
    Sasl(Mechanisms<'a>),
    /// 11: the mechanism's challenge.
    SaslContinue(&'a [u8]),
    /// 12: the mechanism's last data.
    SaslFinal(&'a [u8]),
    /// Kerberos, GSSAPI, SSPI, SCM: not supported here.
    Other(u32),
}

impl fmt::Debug for Authentication<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("Ok"),
            Self::CleartextPassword => f.write_str("CleartextPassword"),
            Self::Md5Password(_) => f.write_str("Md5Password"),
            Self::Sasl(m) => m.fmt(f),
            Self::SaslContinue(_) => f.write_str("SaslContinue(***)"),
            Self::SaslFinal(_) => f.write_str("SaslFinal(***)"),
            Self::Other(code) => write!(f, "Other({code})"),
        }
    }
}

/// SASL mechanisms offered by a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mechanisms<'a> {
    raw: &'a [u8],
}

impl fmt::Debug for Mechanisms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

impl<'a> Mechanisms<'a> {
    /// The names in the server's order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.raw.split(|&b| b == 0).filter(|m| !m.is_empty())
    }

    /// True if the server offers this mechanism.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|m| m == name.as_bytes())
    }
}

/// `K`: what a CancelRequest must present.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// Process id.
    pub process_id: u32,
    /// Secret key, 4 to 256 bytes (exactly 4 in protocol 3.0).
    pub secret: &'a [u8],
}

impl fmt::Debug for BackendKeyData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackendKeyData({}, ***)", self.process_id)
    }
}

/// `S`: a setting as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// Name.
    pub name: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

/// Transaction status of ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransactionStatus {
    /// `I`: not in a transaction.
    #[default]
    Idle,
    /// `T`: in a transaction.
    InTransaction,
    /// `E`: in a transaction that failed.
    Failed,
}

impl TransactionStatus {
    /// As the wire writes it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// One column of a RowDescription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Label.
    pub name: &'a [u8],
    /// OID of the table (or view) the column comes from, 0 if it is an expression.
    pub table_oid: u32,
    /// Attribute number in that table; 0 with a table OID means the whole row.
    pub attribute: i16,
    /// OID of the type (a domain's base type).
    pub type_oid: u32,
    /// `pg_type.typlen`: negative for variable length.
    pub type_len: i16,
    /// Type modifier, −1 if none.
    pub type_modifier: i32,
    /// Format of the values. Always text when a statement (not a portal) was described.
    pub format: Format,
}

impl<'a> Column<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            name: r.cstr("a column's name")?,
            table_oid: r.u32("a column's table")?,
            attribute: r.i16("a column's attribute number")?,
            type_oid: r.u32("a column's type")?,
            type_len: r.i16("a column's type length")?,
            type_modifier: r.i32("a column's type modifier")?,
            format: {
                let code = r.u16("a column's format")?;
                Format::from_code(code).ok_or(r.bad("a column's format"))?
            },
        })
    }
}

/// `T`: the columns of the rows that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowDescription<'a> {
    count: u16,
    raw: &'a [u8],
}

impl<'a> RowDescription<'a> {
    /// Reads the body of a `T` frame.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new("RowDescription", body);
        let count = r.u16("the number of columns")?;
        let raw = r.rest();
        for _ in 0..count {
            Column::read(&mut r)?;
        }
        r.finish()?;
        Ok(Self { count, raw })
    }

    /// How many columns.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// True if there is no column (`SELECT FROM t`).
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The columns in order.
    pub fn columns(&self) -> impl Iterator<Item = Column<'a>> + use<'a> {
        let mut r = Reader::new("RowDescription", self.raw);
        (0..self.count).map_while(move |_| Column::read(&mut r).ok())
    }
}

/// `D`: a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRow<'a> {
    fields: Values<'a>,
}

impl<'a> DataRow<'a> {
    /// Reads the body of a `D` frame; no allocation, one walk over the lengths.
    ///
    /// # Errors
    /// See [`WireError`].
    #[inline]
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new("DataRow", body);
        let fields = Values::read(&mut r, "the fields")?;
        r.finish()?;
        Ok(Self { fields })
    }

    /// How many fields.
    pub const fn len(&self) -> usize {
        self.fields.len()
    }

    /// True if the row has no fields.
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The fields in order; `None` is NULL.
    pub const fn fields(&self) -> crate::frontend::ValueIter<'a> {
        self.fields.iter()
    }
}

/// `E` or `N`: the fields of an error or notice, in the order sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Diagnostic<'a> {
    raw: &'a [u8],
}

impl fmt::Debug for Diagnostic<'_> {
    // Messages and details may hold values of rows: only the SQLSTATE is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.sqlstate().map(|c| String::from_utf8_lossy(&c).into_owned());
        write!(f, "Diagnostic({})", code.as_deref().unwrap_or("no SQLSTATE"))
    }
}

impl<'a> Diagnostic<'a> {
    /// Reads the body of an `E` or `N` frame.
    ///
    /// # Errors
    /// See [`WireError`]; the terminator must be the last byte.
    pub fn read(message: &'static str, body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(message, body);
        let raw = r.rest();
        while r.u8("a field's code or the terminator")? != 0 {
            r.cstr("a field's value")?;
        }
        r.finish()?;
        Ok(Self { raw })
    }

    /// Code and value of each field. Codes: protocol chapter, "Error and Notice
    /// Message Fields".
    pub fn fields(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut r = Reader::new("", self.raw);
        std::iter::from_fn(move || {
            let code = r.u8("").ok().filter(|&c| c != 0)?;
            r.cstr("").ok().map(|value| (code, value))
        })
    }

    /// Value of the first field with this code.
    pub fn get(&self, code: u8) -> Option<&'a [u8]> {
        self.fields().find(|(c, _)| *c == code).map(|(_, v)| v)
    }

    /// The SQLSTATE (`C`), if there is one and it has five letters or digits: a
    /// hostile or old server may leave it out (CVE-2026-6666).
    pub fn sqlstate(&self) -> Option<[u8; 5]> {
        let code = <[u8; 5]>::try_from(self.get(b'C')?).ok()?;
        code.iter().all(u8::is_ascii_alphanumeric).then_some(code)
    }

    /// The severity that is not translated (`V`), or else the translated one (`S`).
    pub fn severity(&self) -> Option<&'a [u8]> {
        self.get(b'V').or_else(|| self.get(b'S'))
    }

    /// True for FATAL and PANIC: the server closes the connection after it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity(), Some(b"FATAL" | b"PANIC"))
    }
}

/// `G`, `H` or `W`: COPY begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyResponse<'a> {
    /// Format of the whole stream (text also stands for CSV).
    pub format: Format,
    /// Format of each column: all text if the stream is.
    pub columns: Formats<'a>,
}

/// `A`: a NOTIFY.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Notification<'a> {
    /// Process id of the notifying session.
    pub process_id: u32,
    /// Channel.
    pub channel: &'a [u8],
    /// Payload: content, may have to be masked.
    pub payload: &'a [u8],
}

impl fmt::Debug for Notification<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notification(payload of {} bytes)", self.payload.len())
    }
}

/// `v`: the server does not speak the minor version asked for, or not all options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiate<'a> {
    /// Newest version the server speaks.
    pub newest: ProtocolVersion,
    count: u32,
    raw: &'a [u8],
}

impl<'a> Negotiate<'a> {
    /// How many protocol options the server did not know.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// True if the server knew all options.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Options the server did not know.
    pub fn unknown_options(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut r = Reader::new("", self.raw);
        (0..self.count).map_while(move |_| r.cstr("").ok())
    }
}

/// A message of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// `R`.
    Authentication(Authentication<'a>),
    /// `K`.
    BackendKeyData(BackendKeyData<'a>),
    /// `S`.
    ParameterStatus(ParameterStatus<'a>),
    /// `Z`.
    ReadyForQuery(TransactionStatus),
    /// `T`.
    RowDescription(RowDescription<'a>),
    /// `t`: types of a statement's parameters.
    ParameterDescription(Oids<'a>),
    /// `D`.
    DataRow(DataRow<'a>),
    /// `C`: the command tag.
    CommandComplete(&'a [u8]),
    /// `E`.
    ErrorResponse(Diagnostic<'a>),
    /// `N`.
    NoticeResponse(Diagnostic<'a>),
    /// `G`.
    CopyInResponse(CopyResponse<'a>),
    /// `H`.
    CopyOutResponse(CopyResponse<'a>),
    /// `W`.
    CopyBothResponse(CopyResponse<'a>),
    /// `d`.
    CopyData(&'a [u8]),
    /// `c`.
    CopyDone,
    /// `A`.
    Notification(Notification<'a>),
    /// `1`.
    ParseComplete,
    /// `2`.
    BindComplete,
    /// `3`.
    CloseComplete,
    /// `n`.
    NoData,
    /// `I`.
    EmptyQuery,
    /// `s`.
    PortalSuspended,
    /// `V`: result of a FunctionCall, `None` is NULL.
    FunctionCallResponse(Option<&'a [u8]>),
    /// `v`.
    NegotiateProtocolVersion(Negotiate<'a>),
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication(m) => m.fmt(f),
            Self::BackendKeyData(m) => m.fmt(f),
            Self::ParameterStatus(m) => m.fmt(f),
            Self::ReadyForQuery(s) => write!(f, "ReadyForQuery({s:?})"),
            Self::RowDescription(m) => write!(f, "RowDescription({} columns)", m.len()),
            Self::ParameterDescription(m) => write!(f, "ParameterDescription({})", m.len()),
            Self::DataRow(m) => write!(f, "DataRow({} fields, ***)", m.len()),
            Self::CommandComplete(t) => {
                write!(f, "CommandComplete({:?})", String::from_utf8_lossy(t))
            }
            Self::ErrorResponse(m) => write!(f, "ErrorResponse({m:?})"),
            Self::NoticeResponse(m) => write!(f, "NoticeResponse({m:?})"),
            Self::CopyInResponse(m) => write!(f, "CopyIn({m:?})"),
            Self::CopyOutResponse(m) => write!(f, "CopyOut({m:?})"),
            Self::CopyBothResponse(m) => write!(f, "CopyBoth({m:?})"),
            Self::CopyData(d) => write!(f, "CopyData({} bytes)", d.len()),
            Self::CopyDone => f.write_str("CopyDone"),
            Self::Notification(m) => m.fmt(f),
            Self::ParseComplete => f.write_str("ParseComplete"),
            Self::BindComplete => f.write_str("BindComplete"),
            Self::CloseComplete => f.write_str("CloseComplete"),
            Self::NoData => f.write_str("NoData"),
            Self::EmptyQuery => f.write_str("EmptyQuery"),
            Self::PortalSuspended => f.write_str("PortalSuspended"),
            Self::FunctionCallResponse(_) => f.write_str("FunctionCallResponse(***)"),
            Self::NegotiateProtocolVersion(m) => m.fmt(f),
        }
    }
}

/// Reads the body of a server's frame.
///
/// # Errors
/// See [`WireError`]: the body must be exactly one well-formed message.
pub fn parse(tag: u8, body: &[u8]) -> Result<Message<'_>, WireError> {
    let empty = |name, message| Reader::new(name, body).finish().map(|()| message);
    match tag {
        b'D' => DataRow::read(body).map(Message::DataRow),
        b'R' => authentication(body).map(Message::Authentication),
        b'K' => backend_key(body).map(Message::BackendKeyData),
        b'S' => parameter_status(body).map(Message::ParameterStatus),
        b'Z' => ready(body).map(Message::ReadyForQuery),
        b'T' => RowDescription::read(body).map(Message::RowDescription),
        b't' => {
            let mut r = Reader::new("ParameterDescription", body);
            let oids = Oids::read(&mut r, "the parameter types")?;
            r.finish().map(|()| Message::ParameterDescription(oids))
        }
        b'C' => only_cstr("CommandComplete", body, "the tag").map(Message::CommandComplete),
        b'E' => Diagnostic::read("ErrorResponse", body).map(Message::ErrorResponse),
        b'N' => Diagnostic::read("NoticeResponse", body).map(Message::NoticeResponse),
        b'G' => copy_response("CopyInResponse", body).map(Message::CopyInResponse),
        b'H' => copy_response("CopyOutResponse", body).map(Message::CopyOutResponse),
        b'W' => copy_response("CopyBothResponse", body).map(Message::CopyBothResponse),
        b'd' => Ok(Message::CopyData(body)),
        b'c' => empty("CopyDone", Message::CopyDone),
        b'A' => notification(body).map(Message::Notification),
        b'1' => empty("ParseComplete", Message::ParseComplete),
        b'2' => empty("BindComplete", Message::BindComplete),
        b'3' => empty("CloseComplete", Message::CloseComplete),
        b'n' => empty("NoData", Message::NoData),
        b'I' => empty("EmptyQueryResponse", Message::EmptyQuery),
        b's' => empty("PortalSuspended", Message::PortalSuspended),
        b'V' => {
            let mut r = Reader::new("FunctionCallResponse", body);
            let value = r.value("the result")?;
            r.finish().map(|()| Message::FunctionCallResponse(value))
        }
        b'v' => negotiate(body).map(Message::NegotiateProtocolVersion),
        _ => Err(crate::frame::unknown_tag(tag, Side::Backend)),
    }
}

fn authentication(body: &[u8]) -> Result<Authentication<'_>, WireError> {
    let mut r = Reader::new("Authentication", body);
    let request = match r.u32("the request")? {
        0 => Authentication::Ok,
        3 => Authentication::CleartextPassword,
        5 => {
            let salt = r.u32("the salt")?;
            Authentication::Md5Password(salt.to_be_bytes())
        }
        10 => {
            let raw = r.rest();
            while !r.cstr("a mechanism or the terminator")?.is_empty() {}
            Authentication::Sasl(Mechanisms { raw })
        }
        11 => return Ok(Authentication::SaslContinue(r.rest())),
        12 => return Ok(Authentication::SaslFinal(r.rest())),
        other => return Ok(Authentication::Other(other)),
    };
    r.finish()?;
    Ok(request)
}

fn backend_key(body: &[u8]) -> Result<BackendKeyData<'_>, WireError> {
    let mut r = Reader::new("BackendKeyData", body);
    let process_id = r.u32("the process id")?;
    let secret = r.rest();
    if secret.len() < MIN_CANCEL_KEY {
        return Err(WireError::Truncated { message: "BackendKeyData", field: "the secret key" });
    }
    if secret.len() > MAX_CANCEL_KEY {
        let (field, limit) = ("the secret key", MAX_CANCEL_KEY);
        return Err(WireError::TooLong { message: "BackendKeyData", field, limit });
    }
    Ok(BackendKeyData { process_id, secret })
}

fn parameter_status(body: &[u8]) -> Result<ParameterStatus<'_>, WireError> {
    let mut r = Reader::new("ParameterStatus", body);
    let status = ParameterStatus { name: r.cstr("the name")?, value: r.cstr("the value")? };
    r.finish()?;
    Ok(status)
}

fn ready(body: &[u8]) -> Result<TransactionStatus, WireError> {
    let mut r = Reader::new("ReadyForQuery", body);
    let status = match r.u8("the status")? {
        b'I' => TransactionStatus::Idle,
        b'T' => TransactionStatus::InTransaction,
        b'E' => TransactionStatus::Failed,
        _ => return Err(r.bad("the status")),
    };
    r.finish()?;
    Ok(status)
}

fn copy_response<'a>(message: &'static str, body: &'a [u8]) -> Result<CopyResponse<'a>, WireError> {
    let mut r = Reader::new(message, body);
    let code = u16::from(r.u8("the format")?);
    let format = Format::from_code(code).ok_or(r.bad("the format"))?;
    let columns = Formats::read(&mut r, "the columns' formats")?;
    r.finish()?;
    Ok(CopyResponse { format, columns })
}

fn notification(body: &[u8]) -> Result<Notification<'_>, WireError> {
    let mut r = Reader::new("NotificationResponse", body);
    let message = Notification {
        process_id: r.u32("the process id")?,
        channel: r.cstr("the channel")?,
        payload: r.cstr("the payload")?,
    };
    r.finish()?;
    Ok(message)
}

fn negotiate(body: &[u8]) -> Result<Negotiate<'_>, WireError> {
    let mut r = Reader::new("NegotiateProtocolVersion", body);
    // Servers before 18 send the minor version alone, newer ones the whole number.
    let newest = match ProtocolVersion::from_code(r.u32("the version")?) {
        ProtocolVersion { major: 0, minor } => ProtocolVersion { major: 3, minor },
        version => version,
    };
    let count = r.u32("the number of options")?;
    let raw = r.rest();
    for _ in 0..count {
        r.cstr("an option")?; // ends at the body's end at the latest
    }
    r.finish()?;
    Ok(Negotiate { newest, count, raw })
}
