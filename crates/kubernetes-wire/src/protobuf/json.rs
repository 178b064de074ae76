//! JSON: what is written, and what is taken over as it is.

use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::{MAX_DEPTH, MAX_OUTPUT_BYTES, ProtobufError};

/// JSON that grows, up to [`MAX_OUTPUT_BYTES`].
#[derive(Default)]
pub(super) struct Out {
    bytes: Vec<u8>,
}

impl Out {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back what was written behind the first `length` bytes.
    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Writes what is JSON already.
    pub(super) fn push(&mut self, text: &str) -> Result<(), ProtobufError> {
        self.bytes.extend_from_slice(text.as_bytes());
        self.check()
    }

    /// Writes a string: at most six times its length, and that of an input is limited.
    pub(super) fn string(&mut self, text: &str) -> Result<(), ProtobufError> {
        serde_json::to_writer(&mut self.bytes, text).map_err(|_| ProtobufError::OutputTooLong)?;
        self.check()
    }

    /// Writes bytes as Go does: in base64.
    pub(super) fn base64(&mut self, bytes: &[u8]) -> Result<(), ProtobufError> {
        self.push("\"")?;
        self.push(&STANDARD.encode(bytes))?;
        self.push("\"")
    }

    /// Writes a client's JSON as it came, if no two readers can read it differently. `depth` is
    /// how deep it will lie.
    pub(super) fn json(&mut self, bytes: &[u8], depth: usize) -> Result<(), ProtobufError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ProtobufError::Json)?;
        let mut reader = serde_json::Deserializer::from_str(text);
        Strict { left: MAX_DEPTH.saturating_sub(depth) }
            .deserialize(&mut reader)
            .and_then(|()| reader.end())
            .map_err(|_| ProtobufError::Json)?;
        self.push(text)
    }

    fn check(&self) -> Result<(), ProtobufError> {
        if self.bytes.len() > MAX_OUTPUT_BYTES {
            return Err(ProtobufError::OutputTooLong);
        }
        Ok(())
    }
}

/// Reads any value and keeps nothing of it; a key twice in one object is an error.
#[derive(Clone, Copy)]
struct Strict {
    /// Levels that may still be opened.
    left: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Self { left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        while list.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        let mut keys = HashSet::new();
        while let Some(key) = object.next_key::<String>()? {
            if !keys.insert(key) {
                return Err(de::Error::custom("a key twice"));
            }
            object.next_value_seed(inside)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &[u8], depth: usize) -> bool {
        let mut out = Out::default();
        let result = out.json(text, depth);
        assert!(result.is_err() || out.into_bytes() == text);
        result.is_ok()
    }

    #[test]
    fn what_is_taken_over_is_read_in_one_way() {
        let deep = format!("{}{}", "[".repeat(20), "]".repeat(20));
        for yes in ["{}", " [1, -2.5e3, null] ", r#"{"a":{"b":1},"b":2}"#, "true", &deep] {
            assert!(taken(yes.as_bytes(), 1), "{yes}");
        }
        for no in [
            "",
            " ",
            "{",
            "{} {}",
            "{}x",
            "nul",
            "01",
            "1e999",
            "NaN",
            "{'a':1}",
            r#"{"a":1,}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"[{"b":{"a":1,"a":2}}]"#,
            r#""\ud800""#,
            "\"\n\"",
            "\u{feff}{}",
            "// c\n{}",
        ] {
            assert!(!taken(no.as_bytes(), 1), "{no}");
        }
        assert!(!taken(b"\"\xff\"", 1));
        assert!(!taken(b"k8s\0{}", 1));
        assert!(taken(deep.as_bytes(), MAX_DEPTH - 20));
        assert!(!taken(deep.as_bytes(), MAX_DEPTH - 19));
    }
}
