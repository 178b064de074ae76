//! A cursor that can't leave the body it was given.

use crate::error::WireError;

/// Reads the fields of one frame's body, front to back.
///
/// Every method fails instead of reading beyond the body; [`Reader::finish`]
/// fails if anything is left.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl std::fmt::Debug for Reader<'_> {
    // The content may be a secret: only its size is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({}, {} bytes left)", self.message, self.rest.len())
    }
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `body`; `message` names it in errors.
    pub const fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self { rest: body, message }
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    const fn truncated(&self, field: &'static str) -> WireError {
        WireError::Truncated { message: self.message, field }
    }

    /// The error for a field with a value that is not allowed.
    pub const fn bad(&self, field: &'static str) -> WireError {
        WireError::BadValue { message: self.message, field }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(self.truncated(field))?;
        self.rest = tail;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        self.array::<1>(field).map(|[b]| b)
    }

    /// Int16, signed.
    pub fn i16(&mut self, field: &'static str) -> Result<i16, WireError> {
        self.array(field).map(i16::from_be_bytes)
    }

    /// Int16, read as unsigned: the server counts parameters that way.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, WireError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Int32, signed.
    pub fn i32(&mut self, field: &'static str) -> Result<i32, WireError> {
        self.array(field).map(i32::from_be_bytes)
    }

    /// Int32, read as unsigned (OIDs, process ids).
    pub fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Exactly `n` bytes.
    pub fn take(&mut self, n: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(self.truncated(field))?;
        self.rest = tail;
        Ok(head)
    }

    /// A string that ends in NUL; the NUL is read and not returned. Any encoding.
    pub fn cstr(&mut self, field: &'static str) -> Result<&'a [u8], WireError> {
        let end = memchr::memchr(0, self.rest).ok_or(self.truncated(field))?;
        let text = self.take(end, field)?;
        self.take(1, field)?;
        Ok(text)
    }

    /// A value behind its Int32 length; −1 is NULL, any other negative length an error.
    pub fn value(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, WireError> {
        match self.i32(field)? {
            -1 => Ok(None),
            n => {
                let n = usize::try_from(n).map_err(|_| self.bad(field))?;
                self.take(n, field).map(Some)
            }
        }
    }

    /// Fails unless every byte of the body was read.
    pub const fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing { message: self.message, extra: self.rest.len() })
        }
    }
}
