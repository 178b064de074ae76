//! Protobuf's wire format: tags, varints, lengths.
//!
//! Stricter than the format: each number in its shortest form, and no groups. Those who write
//! Kubernetes' objects write nothing else, and readers differ about the rest.

use super::ProtobufError;

/// Highest number of a field (protobuf's encoding guide).
const MAX_NUMBER: u64 = (1 << 29) - 1;
/// Bytes of the longest varint.
const MAX_VARINT_BYTES: usize = 10;

/// How a field's value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Varint,
    Fixed64,
    Bytes,
    Fixed32,
}

/// What stands before each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) number: u32,
    pub(super) wire: Wire,
}

/// A value, as far as it can be told without knowing what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raw<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// What is left of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's tag; `None` at the end.
    pub(super) fn tag(&mut self) -> Result<Option<Tag>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > MAX_NUMBER {
            return Err(ProtobufError::FieldNumber);
        }
        let wire = match tag & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Bytes,
            3 | 4 => return Err(ProtobufError::Group),
            5 => Wire::Fixed32,
            _ => return Err(ProtobufError::WireType),
        };
        Ok(Some(Tag { number: u32::try_from(number).unwrap_or(u32::MAX), wire }))
    }

    /// The next field's tag, if it has this number.
    pub(super) fn tag_of(&mut self, number: u32) -> Result<Option<Tag>, ProtobufError> {
        let mut ahead = *self;
        let tag = ahead.tag()?.filter(|it| it.number == number);
        if tag.is_some() {
            *self = ahead;
        }
        Ok(tag)
    }

    pub(super) fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0;
        for at in 0..MAX_VARINT_BYTES {
            let (byte, rest) = self.rest.split_first().ok_or(ProtobufError::Truncated)?;
            self.rest = rest;
            // The tenth has room for one bit.
            if at == MAX_VARINT_BYTES - 1 && *byte > 1 {
                return Err(ProtobufError::Varint);
            }
            value |= u64::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 {
                let longer_than_needed = *byte == 0 && at > 0;
                return if longer_than_needed { Err(ProtobufError::Varint) } else { Ok(value) };
            }
        }
        Err(ProtobufError::Varint)
    }

    pub(super) fn fixed64(&mut self) -> Result<u64, ProtobufError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ProtobufError::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], ProtobufError> {
        let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A value of a field whose tag said `got`, where its type is sent as `want`.
    pub(super) fn raw(&mut self, got: Wire, want: Wire) -> Result<Raw<'a>, ProtobufError> {
        if got != want {
            return Err(ProtobufError::WireType);
        }
        match want {
            Wire::Varint => self.varint().map(Raw::Number),
            Wire::Fixed64 => self.fixed64().map(Raw::Number),
            Wire::Bytes => self.bytes().map(Raw::Bytes),
            Wire::Fixed32 => Err(ProtobufError::WireType),
        }
    }
}

/// A message whose fields are numbered from 1, one for each of `wires`, each there at most once.
pub(super) fn flat<'a, const N: usize>(
    message: &'static str,
    bytes: &'a [u8],
    wires: [Wire; N],
) -> Result<[Option<Raw<'a>>; N], ProtobufError> {
    let mut found = [None; N];
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag()? {
        let unknown = ProtobufError::UnknownField { message, number: tag.number };
        let index = usize::try_from(tag.number).unwrap_or(usize::MAX).wrapping_sub(1);
        let (Some(slot), Some(want)) = (found.get_mut(index), wires.get(index)) else {
            return Err(unknown);
        };
        if slot.is_some() {
            return Err(ProtobufError::Twice { message, number: tag.number });
        }
        *slot = Some(reader.raw(tag.wire, *want)?);
    }
    Ok(found)
}

/// The number in a field of [`flat`] that was asked for as one; 0 if it is not there.
pub(super) fn number(field: Option<Raw<'_>>) -> u64 {
    match field {
        Some(Raw::Number(it)) => it,
        _ => 0,
    }
}

/// The bytes in a field of [`flat`] that was asked for as such.
pub(super) fn bytes(field: Option<Raw<'_>>) -> Option<&[u8]> {
    match field {
        Some(Raw::Bytes(it)) => Some(it),
        _ => None,
    }
}

/// The same, as text.
pub(super) fn text(field: Option<Raw<'_>>) -> Result<Option<&str>, ProtobufError> {
    bytes(field).map(utf8).transpose()
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, ProtobufError> {
    std::str::from_utf8(bytes).map_err(|_| ProtobufError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        let read = |bytes: &[u8]| Reader::new(bytes).varint();
        assert_eq!(read(&[0]), Ok(0));
        assert_eq!(read(&[0xAC, 0x02]), Ok(300));
        let most = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        assert_eq!(read(&most), Ok(u64::MAX));
        assert_eq!(read(&[0x80, 0x00]), Err(ProtobufError::Varint));
        let mut over = most;
        over[9] = 0x02;
        assert_eq!(read(&over), Err(ProtobufError::Varint));
        assert_eq!(read(&[0xFF; 11]), Err(ProtobufError::Varint));
        assert_eq!(read(&[0x80]), Err(ProtobufError::Truncated));
        assert_eq!(read(&[]), Err(ProtobufError::Truncated));
    }

    #[test]
    fn tags_are_of_a_field_and_of_no_group() {
        let read = |bytes: &[u8]| Reader::new(bytes).tag();
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[0x0A]), Ok(Some(Tag { number: 1, wire: Wire::Bytes })));
        assert_eq!(read(&[0x02]), Err(ProtobufError::FieldNumber));
        assert_eq!(read(&[0x0B]), Err(ProtobufError::Group));
        assert_eq!(read(&[0x0C]), Err(ProtobufError::Group));
        assert_eq!(read(&[0x0E]), Err(ProtobufError::WireType));
        // 2^32 + 1, which some readers take for 1.
        assert_eq!(read(&[0x8A, 0x80, 0x80, 0x80, 0x80, 0x01]), Err(ProtobufError::FieldNumber));
    }

    #[test]
    fn a_length_is_within_what_is_there() {
        assert_eq!(Reader::new(&[2, b'a', b'b', 7]).bytes(), Ok(&b"ab"[..]));
        assert_eq!(Reader::new(&[3, b'a', b'b']).bytes(), Err(ProtobufError::Truncated));
        let most = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 0];
        assert_eq!(Reader::new(&most).bytes(), Err(ProtobufError::Truncated));
        assert_eq!(Reader::new(&[0; 7]).fixed64(), Err(ProtobufError::Truncated));
    }
}
