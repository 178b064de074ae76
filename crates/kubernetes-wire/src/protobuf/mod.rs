//! Objects that clients send as protobuf, as the JSON that they could have sent instead.
//!
//! kubectl and clients with types of their own may send `application/vnd.kubernetes.protobuf`:
//! four bytes, then a `runtime.Unknown` with the object's `apiVersion` and `kind`, and the object
//! as a message of that type. Rules and the record look at an object's fields by their names in
//! JSON, so [`to_json`] reads what Kubernetes' own types say (v1.36, the `schema.txt` beside this
//! file), and nothing else: a type or a field that it does not know, and whatever two readers
//! could read differently, is an error.
//!
//! That is more than the API server refuses. It, as the code that gogo's generator makes, merges
//! or overwrites what is there twice, skips what it doesn't know, takes numbers in more bytes than
//! they need and cuts them to size, and takes any bytes for text.
//!
//! Members stand in the order in which they were sent. `null`, and zeros that Go's `omitempty`
//! leaves out, have none; nor has what was not sent.

mod json;
mod object;
mod schema;
mod special;
mod wire;

use object::Writer;
use schema::Schema;
use wire::{Wire, bytes, flat, text};

/// The media type, without parameters.
pub const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Longest body, bytes: what the proxies hold of a client's object, and more than the 3 MiB that
/// the API server takes.
pub const MAX_BYTES: usize = 4 << 20;
/// Longest JSON, bytes: names of members and base64 make an object longer, and a body of nothing
/// but empty members the longest.
pub const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// Deepest that lists and objects may lie in each other: readers of JSON take some 128 levels,
/// and the deepest schemas of schemas have a few tens.
pub const MAX_DEPTH: usize = 100;

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Why a body is not read. All but [`Schema`](Self::Schema) is the client's doing, or means that
/// the client knows a later Kubernetes. None shows what the body says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// Longer than [`MAX_BYTES`].
    #[error("longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Longer, as JSON, than [`MAX_OUTPUT_BYTES`].
    #[error("longer than {MAX_OUTPUT_BYTES} bytes as JSON")]
    OutputTooLong,
    /// More than [`MAX_DEPTH`] levels.
    #[error("more than {MAX_DEPTH} lists and objects in each other")]
    TooDeep,
    /// It begins with other bytes.
    #[error("no protobuf of Kubernetes")]
    Magic,
    /// It says that its object is compressed, or is not protobuf.
    #[error("its object is in another encoding")]
    Encoding,
    /// Not one of Kubernetes' own types, or from another version.
    #[error("of a kind that is not known")]
    UnknownKind,
    /// It ends within a value.
    #[error("ends within a value")]
    Truncated,
    /// A number in more bytes than it needs, or in more than 64 bits.
    #[error("a number is not in its shortest form")]
    Varint,
    /// A field's number is 0 or too large.
    #[error("a field's number is out of range")]
    FieldNumber,
    /// Groups are in no type of Kubernetes.
    #[error("a group")]
    Group,
    /// A value is laid out in another way than its type.
    #[error("a value of another type than its field")]
    WireType,
    /// A field that its message does not have.
    #[error("field {number} of {message} is not known")]
    UnknownField {
        /// The message's name.
        message: &'static str,
        /// The field's number.
        number: u32,
    },
    /// A field is there twice, or the elements of its list are not together.
    #[error("field {number} of {message} is there twice")]
    Twice {
        /// The message's name.
        message: &'static str,
        /// The field's number.
        number: u32,
    },
    /// A text is not in UTF-8.
    #[error("a text that is not UTF-8")]
    NotUtf8,
    /// An entry of a map is not a key and a value, in this order.
    #[error("an entry of a map without a key or a value, or with more")]
    Entry,
    /// A map has a key twice.
    #[error("a key twice in a map")]
    KeyTwice,
    /// A number beyond its type, or that JSON can't write.
    #[error("a number is beyond its type")]
    Number,
    /// A time that RFC 3339 can't write, or with more digits than Kubernetes reads.
    #[error("a time that is out of range")]
    Time,
    /// Not a quantity.
    #[error("a quantity that is none")]
    Quantity,
    /// It is neither, or says that it is one and is the other.
    #[error("not clearly a number or a string")]
    IntOrString,
    /// What stands for JSON is not JSON, or could be read in two ways.
    #[error("JSON within it is not clear, or is none")]
    Json,
    /// Our own list of types is not as it should be.
    #[error("the list of types is broken")]
    Schema,
}

/// Reads a body of [`CONTENT_TYPE`] and writes its object as JSON, `kind` and `apiVersion` first.
///
/// ```
/// use kubernetes_wire::protobuf::{ProtobufError, to_json};
///
/// let body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0f\
///     \x0a\x03\x0a\x01a\x12\x08\x0a\x03key\x12\x01b";
/// let json = br#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"key":"b"}}"#;
/// assert_eq!(to_json(body)?, json);
/// assert_eq!(to_json(b"{}"), Err(ProtobufError::Magic));
/// # Ok::<(), ProtobufError>(())
/// ```
///
/// # Errors
/// See [`ProtobufError`]: what can't be read in one way only.
pub fn to_json(body: &[u8]) -> Result<Vec<u8>, ProtobufError> {
    if body.len() > MAX_BYTES {
        return Err(ProtobufError::TooLong);
    }
    let envelope = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let [types, raw, encoding, media] = flat("runtime.Unknown", envelope, [Wire::Bytes; 4])?;
    if !text(encoding)?.unwrap_or_default().is_empty()
        || !["", CONTENT_TYPE].contains(&text(media)?.unwrap_or_default())
    {
        return Err(ProtobufError::Encoding);
    }
    let types = bytes(types).unwrap_or_default();
    let [api_version, kind] = flat("runtime.TypeMeta", types, [Wire::Bytes; 2])?;
    let (api_version, kind) = (text(api_version)?, text(kind)?);
    let (Some(api_version), Some(kind)) = (api_version, kind) else {
        return Err(ProtobufError::UnknownKind);
    };
    let schema = Schema::get().ok_or(ProtobufError::Schema)?;
    Writer::new(schema).whole(kind, api_version, bytes(raw).unwrap_or_default())
}
