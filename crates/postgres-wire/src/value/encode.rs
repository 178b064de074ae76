//! From text to binary format, for answers that take a value's place.

use super::{datetime, net, numeric, push_unhex};
use crate::oid::{self, TypeClass};

/// Text that can't be given in this type's binary format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The type is not one that can be written here.
    #[error("type {0} can't be written in binary format")]
    Unsupported(u32),
    /// The text is not a value of the type.
    #[error("the text is not a value of type {0}")]
    NotOfType(u32),
}

/// Appends the binary form of `text`, written as [`super::decode`] gives it.
///
/// For bool, integers, oid, floats, numeric, text types, json, jsonb, bytea (hex),
/// uuid, date, time, timestamp, timestamptz (UTC), inet, cidr, macaddr, macaddr8.
///
/// # Errors
/// See [`EncodeError`]; nothing is appended then.
pub fn encode_binary(oid: u32, text: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if !can_encode(oid) {
        return Err(EncodeError::Unsupported(oid));
    }
    let start = out.len();
    encode(oid, text, out).ok_or_else(|| {
        out.truncate(start);
        EncodeError::NotOfType(oid)
    })
}

pub(crate) const fn can_encode(type_oid: u32) -> bool {
    match oid::class(type_oid) {
        TypeClass::Text
        | TypeClass::Json
        | TypeClass::Bytes
        | TypeClass::Numeric
        | TypeClass::Address
        | TypeClass::Integer => true,
        TypeClass::Fixed => matches!(
            type_oid,
            oid::BOOL
                | oid::INT2
                | oid::OID
                | oid::FLOAT4
                | oid::FLOAT8
                | oid::UUID
                | oid::DATE
                | oid::TIME
                | oid::TIMESTAMP
                | oid::TIMESTAMPTZ
        ),
        _ => false,
    }
}

fn encode(type_oid: u32, text: &str, out: &mut Vec<u8>) -> Option<()> {
    match type_oid {
        oid::BOOL => out.push(match text {
            "t" | "true" => 1,
            "f" | "false" => 0,
            _ => return None,
        }),
        oid::INT2 => out.extend_from_slice(&text.parse::<i16>().ok()?.to_be_bytes()),
        oid::INT4 => out.extend_from_slice(&text.parse::<i32>().ok()?.to_be_bytes()),
        oid::INT8 => out.extend_from_slice(&text.parse::<i64>().ok()?.to_be_bytes()),
        oid::OID => out.extend_from_slice(&text.parse::<u32>().ok()?.to_be_bytes()),
        oid::FLOAT4 => out.extend_from_slice(&text.parse::<f32>().ok()?.to_be_bytes()),
        oid::FLOAT8 => out.extend_from_slice(&text.parse::<f64>().ok()?.to_be_bytes()),
        oid::NUMERIC => numeric::encode(text, out)?,
        oid::BYTEA => push_unhex(out, text.strip_prefix("\\x")?.as_bytes())?,
        oid::UUID => {
            let hyphens = [8, 13, 18, 23].iter().all(|&i| text.as_bytes().get(i) == Some(&b'-'));
            let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
            if text.len() != 36 || digits.len() != 32 || !hyphens {
                return None;
            }
            push_unhex(out, &digits)?;
        }
        oid::DATE => {
            let days = match text {
                "infinity" => i32::MAX,
                "-infinity" => i32::MIN,
                text => datetime::parse_date(text)?,
            };
            out.extend_from_slice(&days.to_be_bytes());
        }
        oid::TIME => out.extend_from_slice(&datetime::parse_time(text)?.to_be_bytes()),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => {
            let micros = match text {
                "infinity" => i64::MAX,
                "-infinity" => i64::MIN,
                text => datetime::parse_timestamp(text, type_oid == oid::TIMESTAMPTZ)?,
            };
            out.extend_from_slice(&micros.to_be_bytes());
        }
        oid::INET | oid::CIDR | oid::MACADDR | oid::MACADDR8 => net::encode(type_oid, text, out)?,
        _ => textual(type_oid, text, out)?,
    }
    Some(())
}

/// Types whose binary form is their text, perhaps behind a version byte.
fn textual(type_oid: u32, text: &str, out: &mut Vec<u8>) -> Option<()> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return None;
    }
    match type_oid {
        oid::CHAR if text.len() > 1 => return None,
        oid::NAME if text.len() > 63 => return None,
        oid::JSON | oid::JSONB => {
            serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
        }
        _ => {}
    }
    if matches!(type_oid, oid::JSONB | oid::JSONPATH) {
        out.push(1);
    }
    out.extend_from_slice(text.as_bytes());
    Some(())
}
