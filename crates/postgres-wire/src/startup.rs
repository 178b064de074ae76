//! The packets that open a connection: they have a length but no type byte.

use crate::error::{WireError, WriteError};
use crate::read::Reader;
use crate::write::WireBuf;

/// `MAX_STARTUP_PACKET_LENGTH` of the server, by the length field.
pub const STARTUP_LIMIT: usize = 10_000;
/// Most parameters in a StartupMessage.
pub const MAX_PARAMETERS: usize = 64;
/// Code of an SSLRequest (80877103).
pub const SSL_REQUEST: u32 = 80_877_103;
/// Code of a GSSENCRequest (80877104).
pub const GSSENC_REQUEST: u32 = 80_877_104;
/// Code of a CancelRequest (80877102).
pub const CANCEL_REQUEST: u32 = 80_877_102;
/// Shortest secret key of BackendKeyData and CancelRequest (protocol 3.0: exactly this).
pub const MIN_CANCEL_KEY: usize = 4;
/// Longest secret key (protocol 3.2).
pub const MAX_CANCEL_KEY: usize = 256;
/// First byte of a TLS record with a ClientHello: direct TLS (PostgreSQL 17).
pub const TLS_HANDSHAKE_BYTE: u8 = 0x16;

const STARTUP: &str = "StartupMessage";

/// Version of the protocol, as the startup packet writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion {
    /// Major version; only 3 is spoken here.
    pub major: u16,
    /// Minor version: 0 or 2. (3.1 was skipped, 3.9999 is libpq's test of negotiation.)
    pub minor: u16,
}

impl ProtocolVersion {
    /// Protocol 3.0 (PostgreSQL 7.4).
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// Protocol 3.2 (PostgreSQL 18): cancel keys of variable length.
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    /// As the packet writes it.
    pub const fn code(self) -> u32 {
        ((self.major as u32) << 16) | self.minor as u32
    }

    /// From the packet's number.
    pub const fn from_code(code: u32) -> Self {
        Self { major: (code >> 16) as u16, minor: (code & 0xffff) as u16 }
    }

    /// The version to speak with a client that asked for `self` when we can do
    /// `newest`; the same as asked for if no NegotiateProtocolVersion is needed.
    pub fn agree(self, newest: Self) -> Self {
        match self.min(newest) {
            // 3.1 is reserved: the server falls back to 3.0.
            Self { major: 3, minor: 1 } => Self::V3_0,
            v => v,
        }
    }
}

/// Process id and secret of a CancelRequest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CancelKey<'a> {
    /// Process id of BackendKeyData.
    pub process_id: u32,
    /// Secret key of BackendKeyData, 4 to 256 bytes.
    pub secret: &'a [u8],
}

impl std::fmt::Debug for CancelKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey({}, ***)", self.process_id)
    }
}

/// Name and value of a startup parameter.
pub type Parameter<'a> = (&'a [u8], &'a [u8]);

/// A StartupMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup<'a> {
    /// What the client asked for; major is 3.
    pub version: ProtocolVersion,
    /// Names and values in the order sent; no name twice.
    pub parameters: Vec<Parameter<'a>>,
}

impl<'a> Startup<'a> {
    /// Value of a parameter.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.parameters.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, v)| *v)
    }

    /// Names of protocol options (`_pq_.`), which a server lists in
    /// NegotiateProtocolVersion if it does not know them.
    pub fn protocol_options(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.parameters.iter().map(|(n, _)| *n).filter(|n| n.starts_with(b"_pq_."))
    }
}

/// What a client may open a connection with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Asks for TLS: answer one byte, `S` or `N`. **Anything already buffered behind
    /// this packet must be fatal** (CVE-2021-23214): see [`Opening::Packet`].
    SslRequest,
    /// Asks for GSSAPI encryption: answer `N`. The same warning holds.
    GssEncRequest,
    /// Asks to cancel another session's statement; never answered.
    Cancel(CancelKey<'a>),
    /// Opens a session.
    Startup(Startup<'a>),
}

/// What is at the front of a fresh connection's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening<'a> {
    /// Not enough bytes.
    NeedMore,
    /// The first byte opens a TLS record: direct TLS, ALPN `postgresql` is mandatory.
    DirectTls,
    /// A whole packet.
    Packet {
        /// The packet.
        packet: Packet<'a>,
        /// Bytes it takes. After SSLRequest or GSSENCRequest the buffer must hold
        /// exactly these: more is an attempt to smuggle plaintext past TLS.
        total: usize,
    },
}

/// The first packet is not one to go on with. The fault is the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The length field is below 8 or above [`STARTUP_LIMIT`].
    #[error("the startup packet has length {0}, allowed are 8 to {STARTUP_LIMIT}")]
    BadLength(i64),
    /// A major version other than 3.
    #[error("protocol {}.{} is not supported", .0.major, .0.minor)]
    UnsupportedVersion(ProtocolVersion),
    /// A parameter is there twice: what is checked and what is used could differ.
    #[error("a startup parameter is given twice")]
    DuplicateParameter,
    /// More than [`MAX_PARAMETERS`].
    #[error("more than {MAX_PARAMETERS} startup parameters")]
    TooManyParameters,
    /// Malformed content.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Looks at the front of the buffer of a connection that has not started yet
/// (also inside TLS, where the caller must refuse [`Opening::DirectTls`] and a
/// second SSLRequest).
///
/// # Errors
/// See [`StartupError`]; a bad length is found with its four bytes.
pub fn next_packet(buf: &[u8]) -> Result<Opening<'_>, StartupError> {
    if buf.first() == Some(&TLS_HANDSHAKE_BYTE) {
        return Ok(Opening::DirectTls);
    }
    let Some((length, _)) = buf.split_first_chunk::<4>() else { return Ok(Opening::NeedMore) };
    let length = i32::from_be_bytes(*length);
    let total = usize::try_from(length)
        .ok()
        .filter(|n| (8..=STARTUP_LIMIT).contains(n))
        .ok_or(StartupError::BadLength(i64::from(length)))?;
    let Some(body) = buf.get(4..total) else { return Ok(Opening::NeedMore) };
    Ok(Opening::Packet { packet: parse_packet(body)?, total })
}

fn parse_packet(body: &[u8]) -> Result<Packet<'_>, StartupError> {
    let mut r = Reader::new(STARTUP, body);
    match r.u32("the protocol version")? {
        SSL_REQUEST => {
            r.finish()?;
            Ok(Packet::SslRequest)
        }
        GSSENC_REQUEST => {
            r.finish()?;
            Ok(Packet::GssEncRequest)
        }
        CANCEL_REQUEST => {
            let process_id = r.u32("the process id")?;
            let secret = r.rest();
            if !(MIN_CANCEL_KEY..=MAX_CANCEL_KEY).contains(&secret.len()) {
                return Err(r.bad("the secret key").into());
            }
            Ok(Packet::Cancel(CancelKey { process_id, secret }))
        }
        code => {
            let version = ProtocolVersion::from_code(code);
            if version.major != 3 {
                return Err(StartupError::UnsupportedVersion(version));
            }
            parse_parameters(r).map(|parameters| Packet::Startup(Startup { version, parameters }))
        }
    }
}

fn parse_parameters(mut r: Reader<'_>) -> Result<Vec<Parameter<'_>>, StartupError> {
    let mut parameters: Vec<Parameter<'_>> = Vec::new();
    loop {
        let name = r.cstr("a parameter's name or the terminator")?;
        if name.is_empty() {
            r.finish()?;
            return Ok(parameters);
        }
        let value = r.cstr("a parameter's value")?;
        if parameters.iter().any(|(n, _)| *n == name) {
            return Err(StartupError::DuplicateParameter);
        }
        if parameters.len() == MAX_PARAMETERS {
            return Err(StartupError::TooManyParameters);
        }
        parameters.push((name, value));
    }
}

/// The `options` parameter is not a list of settings. The fault is the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the startup parameter 'options' holds something other than -c name=value")]
pub struct OptionsError;

/// A setting of the `options` parameter: name (with `-` read as `_`) and value.
pub type Setting = (Vec<u8>, Vec<u8>);

/// Reads the `options` startup parameter as the server does: split at white space,
/// a backslash takes the next byte as it is (`pg_split_opts`), then `-c name=value`
/// or `--name=value`. Names keep their case (the server ignores it: compare so).
///
/// # Errors
/// Any other switch: it can't be judged, so it can't be passed on.
pub fn parse_options(options: &[u8]) -> Result<Vec<Setting>, OptionsError> {
    let mut settings = Vec::new();
    let mut words = split_options(options).into_iter();
    while let Some(word) = words.next() {
        let setting = if word == b"-c" {
            words.next().ok_or(OptionsError)?
        } else if let Some(s) = word.strip_prefix(b"-c").or_else(|| word.strip_prefix(b"--")) {
            s.to_vec()
        } else {
            return Err(OptionsError);
        };
        let eq = memchr::memchr(b'=', &setting).ok_or(OptionsError)?;
        let (name, value) = setting.split_at_checked(eq).ok_or(OptionsError)?;
        if name.is_empty() {
            return Err(OptionsError);
        }
        let name = name.iter().map(|&b| if b == b'-' { b'_' } else { b }).collect();
        settings.push((name, value.get(1..).unwrap_or_default().to_vec()));
    }
    Ok(settings)
}

fn split_options(options: &[u8]) -> Vec<Vec<u8>> {
    // isspace() of the C locale.
    let space = |b: u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    let (mut words, mut word, mut in_word) = (Vec::new(), Vec::new(), false);
    let mut bytes = options.iter().copied();
    while let Some(b) = bytes.next() {
        if space(b) {
            if in_word {
                words.push(std::mem::take(&mut word));
                in_word = false;
            }
        } else {
            in_word = true;
            // A backslash that ends the text stands for nothing.
            let b = if b == b'\\' { bytes.next() } else { Some(b) };
            word.extend(b);
        }
    }
    if in_word {
        words.push(word);
    }
    words
}

/// Writes a StartupMessage.
///
/// # Errors
/// A NUL in a name or value, an empty name, or more than [`STARTUP_LIMIT`] bytes.
pub fn write_startup<B: WireBuf>(
    out: &mut B,
    version: ProtocolVersion,
    parameters: &[Parameter<'_>],
) -> Result<(), WriteError> {
    packet(out, |out| {
        out.put(&version.code().to_be_bytes());
        for (name, value) in parameters {
            if name.is_empty() {
                return Err(WriteError::BadValue { field: "a startup parameter's name" });
            }
            crate::write::cstr(out, name, "a startup parameter's name")?;
            crate::write::cstr(out, value, "a startup parameter's value")?;
        }
        out.put(&[0]);
        Ok(())
    })
}

/// Writes a CancelRequest.
///
/// # Errors
/// A secret that is not 4 to 256 bytes long.
pub fn write_cancel<B: WireBuf>(out: &mut B, key: CancelKey<'_>) -> Result<(), WriteError> {
    if !(MIN_CANCEL_KEY..=MAX_CANCEL_KEY).contains(&key.secret.len()) {
        return Err(WriteError::BadValue { field: "the secret key" });
    }
    packet(out, |out| {
        out.put(&CANCEL_REQUEST.to_be_bytes());
        out.put(&key.process_id.to_be_bytes());
        out.put(key.secret);
        Ok(())
    })
}

/// Writes an SSLRequest.
pub fn write_ssl_request<B: WireBuf>(out: &mut B) {
    out.put(&8u32.to_be_bytes());
    out.put(&SSL_REQUEST.to_be_bytes());
}

fn packet<B: WireBuf>(
    out: &mut B,
    body: impl FnOnce(&mut B) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    crate::write::length_prefixed(out, STARTUP_LIMIT, "the startup packet", body)
}
