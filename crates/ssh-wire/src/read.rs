//! Fields of RFC 4251 section 5, read where they lie.

/// A packet is not what its number promises. Always the fault of who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It ends inside a field.
    #[error("a packet ends inside a field")]
    Short,
    /// Bytes are left behind its last field.
    #[error("a packet has {0} bytes too many")]
    Long(usize),
    /// It has no message number.
    #[error("a packet is empty")]
    Empty,
    /// A field has a value that the specification excludes.
    #[error("a packet's {0} is not valid")]
    Invalid(&'static str),
}

/// Reads fields one after the other.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the beginning of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// What has not been read.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// How many bytes have not been read.
    pub fn left(&self) -> usize {
        self.0.len()
    }

    /// A number of bytes as they are.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// `byte`.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn byte(&mut self) -> Result<u8, WireError> {
        let (&first, rest) = self.0.split_first().ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(first)
    }

    /// `boolean`: 0 is false, all else true.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn boolean(&mut self) -> Result<bool, WireError> {
        Ok(self.byte()? != 0)
    }

    /// `uint32`.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn uint32(&mut self) -> Result<u32, WireError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// `uint64`.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn uint64(&mut self) -> Result<u64, WireError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    /// `string`: any bytes, their length first.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn string(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.uint32()?;
        self.take(usize::try_from(length).map_err(|_| WireError::Short)?)
    }

    /// Nothing must be left.
    ///
    /// # Errors
    /// [`WireError::Long`].
    pub fn end(self) -> Result<(), WireError> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(WireError::Long(left)),
        }
    }
}
