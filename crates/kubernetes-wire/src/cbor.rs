//! Objects that clients send as CBOR (RFC 8949), as the JSON that they could have sent instead.
//!
//! API servers take `application/cbor` where the feature gate `CBORServingAndStorage` is on. What
//! they read is JSON's values in another spelling (KEP 4222): texts, and names of members, may be
//! strings of bytes as well as of text, and bytes under tag 22 are text in base64. [`to_json`] reads
//! that, and nothing else: what Kubernetes' own writer does not write (strings and lists without
//! a length, tags, other simple values), and a name that comes twice, is an error.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minicbor::data::{Tag, Type};
use minicbor::{Decoder, decode};

/// The media type of an object, without parameters.
pub const CONTENT_TYPE: &str = "application/cbor";
/// That of one which the server is to apply.
pub const APPLY_CONTENT_TYPE: &str = "application/apply-patch+cbor";
/// Longest body, bytes: what the proxies hold of a client's object, and more than the 3 MiB that
/// the API server takes.
pub const MAX_BYTES: usize = 4 << 20;
/// Longest JSON, bytes: a control character takes one byte in CBOR and six in JSON.
pub const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// Deepest that lists and maps may lie in each other: readers of JSON take some 128 levels.
pub const MAX_DEPTH: usize = 100;

/// What every body begins with: "this is CBOR" (RFC 8949 section 3.4.6).
const SELF_DESCRIBED: &[u8] = &[0xD9, 0xD9, 0xF7];
/// Bytes that are text in base64 (RFC 8949 section 3.4.5.2).
const BASE64: Tag = Tag::new(22);

/// Why a body is not read: the client's doing. None shows what the body says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Longer than [`MAX_BYTES`].
    #[error("longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Longer, as JSON, than [`MAX_OUTPUT_BYTES`].
    #[error("longer than {MAX_OUTPUT_BYTES} bytes as JSON")]
    OutputTooLong,
    /// More than [`MAX_DEPTH`] levels.
    #[error("more than {MAX_DEPTH} lists and maps in each other")]
    TooDeep,
    /// It does not say that it is CBOR.
    #[error("no CBOR of Kubernetes")]
    NotSelfDescribed,
    /// It ends within a value, or something follows it, or it is none.
    #[error("not one well-formed value")]
    Malformed,
    /// A value that JSON has not, or that Kubernetes does not write.
    #[error("a value that Kubernetes does not write")]
    Value,
    /// A text is not in UTF-8.
    #[error("a text that is not UTF-8")]
    NotUtf8,
    /// A map has a name twice.
    #[error("a name twice in a map")]
    NameTwice,
    /// A number beyond what Kubernetes reads, or that JSON can't write.
    #[error("a number is out of range")]
    Number,
}

impl From<decode::Error> for CborError {
    fn from(_: decode::Error) -> Self {
        CborError::Malformed
    }
}

/// Reads a body of [`CONTENT_TYPE`] or [`APPLY_CONTENT_TYPE`] and writes its value as JSON.
///
/// ```
/// use kubernetes_wire::cbor::{CborError, to_json};
///
/// let body = b"\xD9\xD9\xF7\xA2\x44kind\x46Secret\x44data\xA1\x41p\xD6\x43abc";
/// assert_eq!(to_json(body)?, br#"{"kind":"Secret","data":{"p":"YWJj"}}"#);
/// assert_eq!(to_json(b"{}"), Err(CborError::NotSelfDescribed));
/// # Ok::<(), CborError>(())
/// ```
///
/// # Errors
/// See [`CborError`]: what can't be read in one way only.
pub fn to_json(body: &[u8]) -> Result<Vec<u8>, CborError> {
    if body.len() > MAX_BYTES {
        return Err(CborError::TooLong);
    }
    let value = body.strip_prefix(SELF_DESCRIBED).ok_or(CborError::NotSelfDescribed)?;
    let mut writer = Writer { input: Decoder::new(value), out: Vec::new() };
    writer.value(MAX_DEPTH)?;
    match writer.input.position() == value.len() {
        true => Ok(writer.out),
        false => Err(CborError::Malformed),
    }
}

struct Writer<'b> {
    input: Decoder<'b>,
    out: Vec<u8>,
}

impl<'b> Writer<'b> {
    /// The next value. `left` is how many levels may still be opened.
    fn value(&mut self, left: usize) -> Result<(), CborError> {
        match self.input.datatype()? {
            Type::Map => self.map(left)?,
            Type::Array => self.list(left)?,
            Type::Bytes | Type::String => {
                let text = self.text()?;
                self.string(text)?;
            }
            Type::Tag if self.input.tag()? == BASE64 => {
                let text = match self.input.datatype()? {
                    Type::Bytes => STANDARD.encode(self.input.bytes()?),
                    _ => return Err(CborError::Value),
                };
                self.string(&text)?;
            }
            Type::Bool => {
                let word = if self.input.bool()? { "true" } else { "false" };
                self.put(word);
            }
            Type::Null => {
                self.input.null()?;
                self.put("null");
            }
            Type::F16 | Type::F32 | Type::F64 => self.float()?,
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => self.integer()?,
            Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => self.integer()?,
            _ => return Err(CborError::Value),
        }
        match self.out.len() > MAX_OUTPUT_BYTES {
            true => Err(CborError::OutputTooLong),
            false => Ok(()),
        }
    }

    fn map(&mut self, left: usize) -> Result<(), CborError> {
        let left = left.checked_sub(1).ok_or(CborError::TooDeep)?;
        let count = self.input.map()?.ok_or(CborError::Value)?;
        let mut names = HashSet::new();
        self.put("{");
        for at in 0..count {
            let name = self.text()?;
            if !names.insert(name) {
                return Err(CborError::NameTwice);
            }
            self.put(if at == 0 { "" } else { "," });
            self.string(name)?;
            self.put(":");
            self.value(left)?;
        }
        self.put("}");
        Ok(())
    }

    fn list(&mut self, left: usize) -> Result<(), CborError> {
        let left = left.checked_sub(1).ok_or(CborError::TooDeep)?;
        let count = self.input.array()?.ok_or(CborError::Value)?;
        self.put("[");
        for at in 0..count {
            self.put(if at == 0 { "" } else { "," });
            self.value(left)?;
        }
        self.put("]");
        Ok(())
    }

    /// A text, or a name, in either spelling.
    fn text(&mut self) -> Result<&'b str, CborError> {
        let bytes = match self.input.datatype()? {
            Type::Bytes => self.input.bytes()?,
            // minicbor looks whether it is UTF-8.
            Type::String => return self.input.str().map_err(|_| CborError::NotUtf8),
            _ => return Err(CborError::Value),
        };
        std::str::from_utf8(bytes).map_err(|_| CborError::NotUtf8)
    }

    fn integer(&mut self) -> Result<(), CborError> {
        let number = i64::try_from(self.input.int()?).map_err(|_| CborError::Number)?;
        self.put(&number.to_string());
        Ok(())
    }

    fn float(&mut self) -> Result<(), CborError> {
        let number = match self.input.datatype()? {
            Type::F16 => {
                // Its head, then the number: no method reads it without one more library.
                let at = self.input.position() + 1;
                let bytes = self.input.input().get(at..at + 2).ok_or(CborError::Malformed)?;
                self.input.set_position(at + 2);
                half(bytes.iter().fold(0, |all, byte| all << 8 | u16::from(*byte)))
            }
            Type::F32 => f64::from(self.input.f32()?),
            _ => self.input.f64()?,
        };
        let number = serde_json::Number::from_f64(number).ok_or(CborError::Number)?;
        self.put(&number.to_string());
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), CborError> {
        serde_json::to_writer(&mut self.out, text).map_err(|_| CborError::OutputTooLong)
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// A number of 16 bits (RFC 8949 appendix D).
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1F), f64::from(bits & 0x3FF));
    let number = match exponent {
        0 => fraction * 2f64.powi(-24),
        0x1F if fraction == 0.0 => f64::INFINITY,
        0x1F => f64::NAN,
        _ => (fraction + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { number } else { -number }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn read(value: &[u8]) -> Result<String, CborError> {
        to_json(&[SELF_DESCRIBED, value].concat()).map(|json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn every_value_of_json_is_read() {
        for (value, json) in [
            (&b"\xA0"[..], "{}"),
            (b"\x80", "[]"),
            (b"\x83\x01\x20\x19\x01\x00", "[1,-1,256]"),
            (b"\x1B\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "9223372036854775807"),
            (b"\x3B\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "-9223372036854775808"),
            (b"\x83\xF4\xF5\xF6", "[false,true,null]"),
            (b"\xF9\x3E\x00", "1.5"),
            (b"\xF9\xC4\x00", "-4.0"),
            (b"\xF9\x7B\xFF", "65504.0"),
            (b"\xF9\x00\x01", "5.960464477539063e-8"),
            (b"\xFA\x3F\xC0\x00\x00", "1.5"),
            (b"\xFB\x3F\xF8\x00\x00\x00\x00\x00\x00", "1.5"),
            (b"\xFB\x7F\xEF\xFF\xFF\xFF\xFF\xFF\xFF", "1.7976931348623157e+308"),
            // The same in bytes and in text.
            (b"\x43a\"\n", r#""a\"\n""#),
            (b"\x63a\"\n", r#""a\"\n""#),
            (b"\xA1\x61a\x41b", r#"{"a":"b"}"#),
            (b"\xA2\x41a\x61b\x41A\xF6", r#"{"a":"b","A":null}"#),
            (b"\xD6\x42\xFF\x00", r#""/wA=""#),
            (b"\xD6\x40", r#""""#),
        ] {
            assert_eq!(read(value).as_deref(), Ok(json), "{value:x?}");
        }
    }

    #[test]
    fn what_can_be_read_otherwise_is_not_read() {
        use CborError::{Malformed, NameTwice, NotSelfDescribed, NotUtf8, Number, Value};
        for (value, error) in [
            (&b""[..], Malformed),
            (b"\x01\x01", Malformed),
            (b"\x82\x01", Malformed),
            (b"\x5A\xFF\xFF\xFF\xFFa", Malformed),
            (b"\xBB\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x41a\x01", Malformed),
            (b"\xA2\x41a\x01\x61a\x02", NameTwice),
            (b"\xA1\x01\x02", Value),
            (b"\x41\xFF", NotUtf8),
            (b"\x61\xFF", NotUtf8),
            // Without a length; undefined; a simple value; a time; a big number; other tags.
            (b"\x9F\xFF", Value),
            (b"\xBF\xFF", Value),
            (b"\x5F\xFF", Value),
            (b"\xF7", Value),
            (b"\xE0", Value),
            (b"\xC0\x41a", Value),
            (b"\xC2\x41a", Value),
            (b"\xD5\x41a", Value),
            (b"\xD6\x61a", Value),
            (b"\xD6\xD6\x41a", Value),
            (b"\x1B\x80\x00\x00\x00\x00\x00\x00\x00", Number),
            (b"\x3B\x80\x00\x00\x00\x00\x00\x00\x00", Number),
            (b"\xF9\x3E", Malformed),
            (b"\xF9\x7C\x00", Number),
            (b"\xF9\x7E\x00", Number),
        ] {
            assert_eq!(read(value), Err(error), "{value:x?}");
        }
        assert_eq!(to_json(b"\xA0"), Err(NotSelfDescribed));
    }

    /// A value as Kubernetes' writer writes it.
    fn written(value: &Value, out: &mut Vec<u8>) {
        let head = |kind: u8, number: u64, out: &mut Vec<u8>| {
            out.push(kind << 5 | 27);
            out.extend(number.to_be_bytes());
        };
        match value {
            Value::Null => out.push(0xF6),
            Value::Bool(yes) => out.push(0xF4 + u8::from(*yes)),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => head(0, number, out),
                (None, Some(number)) => head(1, !number as u64, out),
                (None, None) => {
                    out.push(0xFB);
                    out.extend(number.as_f64().unwrap().to_be_bytes());
                }
            },
            Value::String(text) => {
                head(2, text.len() as u64, out);
                out.extend(text.as_bytes());
            }
            Value::Array(list) => {
                head(4, list.len() as u64, out);
                list.iter().for_each(|value| written(value, out));
            }
            Value::Object(members) => {
                head(5, members.len() as u64, out);
                for (name, value) in members {
                    written(&Value::String(name.clone()), out);
                    written(value, out);
                }
            }
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // Which serde_json reads back as they are.
            any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 60, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(".{0,8}", inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any_value(), cut in any::<prop::sample::Index>()) {
            let mut body = SELF_DESCRIBED.to_vec();
            written(&value, &mut body);
            let read: Value = serde_json::from_slice(&to_json(&body).unwrap()).unwrap();
            prop_assert_eq!(read, value);
            // A part of it is nothing.
            prop_assert!(to_json(&body[..cut.index(body.len())]).is_err());
        }

        #[test]
        fn any_bytes_are_json_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(json) = to_json(&[SELF_DESCRIBED, &bytes].concat()) {
                prop_assert!(serde_json::from_slice::<Value>(&json).is_ok());
            }
        }
    }

    #[test]
    fn length_and_depth_have_limits() {
        let nested = |depth: usize| [vec![0x81; depth], vec![0x01]].concat();
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(CborError::TooDeep));
        assert_eq!(to_json(&vec![0x81; MAX_BYTES + 1]), Err(CborError::TooLong));
        let mut controls = b"\x5A\x00\x2F\x00\x00".to_vec();
        controls.resize(controls.len() + 0x2F_0000, 1);
        assert_eq!(read(&controls), Err(CborError::OutputTooLong));
    }
}
