//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the client's side (RFC 5802, RFC 7677).

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{AuthError, Secret};
use crate::backend::Mechanisms;

/// Most PBKDF2 rounds a server may ask for: the cost is ours (RUSTSEC-2026-0179).
/// PostgreSQL's default is 4,096.
pub const MAX_ITERATIONS: u32 = 1_000_000;
/// Longest message of the server in the exchange, in bytes.
pub const MAX_SERVER_MESSAGE: usize = 4_096;
/// Random bytes in our nonce (18 give 24 characters, as libpq does).
const NONCE_BYTES: usize = 18;

/// What we know of the TLS connection the exchange runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelBinding {
    /// No TLS, or no way to bind to it (`n`).
    NotSupported,
    /// We could, but the server does not offer it (`y`): a server that did offer it
    /// sees that somebody stripped the offer. Chosen by [`Login`](super::Login) itself.
    NotOffered,
    /// `tls-server-end-point`: the hash of the server's certificate, from [`end_point`].
    EndPoint(Vec<u8>),
}

impl ChannelBinding {
    pub(super) fn choose(
        self,
        offered: &Mechanisms<'_>,
    ) -> Result<(&'static str, Self), AuthError> {
        if matches!(self, Self::EndPoint(_)) && offered.contains("SCRAM-SHA-256-PLUS") {
            return Ok(("SCRAM-SHA-256-PLUS", self));
        }
        if !offered.contains("SCRAM-SHA-256") {
            return Err(AuthError::NotAllowed("another SASL mechanism than SCRAM-SHA-256"));
        }
        let binding = match self {
            Self::NotSupported => Self::NotSupported,
            _ => Self::NotOffered,
        };
        Ok(("SCRAM-SHA-256", binding))
    }

    const fn header(&self) -> &'static str {
        match self {
            Self::NotSupported => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }
}

/// The channel binding to a server's certificate (DER), RFC 5929 section 4: hashed
/// with its signature's hash, SHA-256 in place of MD5 and SHA-1. `None` if the
/// signature has no single hash (Ed25519, RSA-PSS) or the DER can't be read;
/// use [`ChannelBinding::NotSupported`] then.
pub fn end_point(certificate: &[u8]) -> Option<ChannelBinding> {
    let (0x30, outer, _) = tlv(certificate)? else { return None };
    let (0x30, _, rest) = tlv(outer)? else { return None };
    let (0x30, algorithm, _) = tlv(rest)? else { return None };
    let (0x06, oid, _) = tlv(algorithm)? else { return None };
    let hash = match oid {
        // 1.2.840.113549.1.1.{4,5,11}: RSA with MD5, SHA-1, SHA-256
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4 | 5 | 11] => &digest::SHA256,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12] => &digest::SHA384,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13] => &digest::SHA512,
        // 1.2.840.10045.4.1 and .4.3.{2,3,4}: ECDSA with SHA-1, SHA-256, SHA-384, SHA-512
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => {
            &digest::SHA256
        }
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => &digest::SHA384,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => &digest::SHA512,
        _ => return None,
    };
    Some(ChannelBinding::EndPoint(digest::digest(hash, certificate).as_ref().to_vec()))
}

/// Tag, content and what follows of one DER element with a length below 64 KiB.
fn tlv(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&[n], rest) = rest.split_first_chunk::<1>()?;
            (usize::from(n), rest)
        }
        0x82 => {
            let (n, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*n)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// One exchange.
#[derive(Debug)]
pub struct ScramClient {
    password: Secret,
    nonce: String,
    binding: ChannelBinding,
    /// What the server's signature must be, once its first message was answered.
    expected: Option<Secret>,
}

impl ScramClient {
    /// Starts an exchange with a fresh nonce.
    ///
    /// # Errors
    /// [`AuthError::NoRandom`].
    pub fn new(password: &[u8], binding: ChannelBinding) -> Result<Self, AuthError> {
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce).map_err(|_| AuthError::NoRandom)?;
        Ok(Self::with_nonce(password, binding, STANDARD.encode(nonce)))
    }

    pub(super) fn with_nonce(password: &[u8], binding: ChannelBinding, nonce: String) -> Self {
        Self { password: Secret::new(normalise(password)), nonce, binding, expected: None }
    }

    /// client-first-message. The user name is left out: the server takes it from startup.
    pub fn first_message(&self) -> String {
        format!("{}{}", self.binding.header(), self.first_bare(""))
    }

    fn first_bare(&self, user: &str) -> String {
        format!("n={user},r={}", self.nonce)
    }

    /// Takes the server's first message, gives client-final-message.
    ///
    /// # Errors
    /// Malformed, a nonce that is not ours extended, too many iterations.
    pub fn on_server_first(&mut self, data: &[u8]) -> Result<String, AuthError> {
        let bare = self.first_bare("");
        self.answer(&bare, data)
    }

    pub(super) fn answer(&mut self, first_bare: &str, data: &[u8]) -> Result<String, AuthError> {
        const WHAT: AuthError = AuthError::Malformed("first SCRAM message");
        if self.expected.is_some() {
            return Err(AuthError::OutOfTurn);
        }
        let text = text(data).ok_or(WHAT)?;
        // A mandatory extension (`m=`) would come first: then `r=` is not found.
        let mut parts = text.split(',');
        let mut part = |name| parts.next().and_then(|p| p.strip_prefix(name)).ok_or(WHAT);
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(WHAT);
        }
        let salt = STANDARD.decode(salt).ok().filter(|s| !s.is_empty()).ok_or(WHAT)?;
        let iterations: u32 = iterations.parse().map_err(|_| WHAT)?;
        if iterations > MAX_ITERATIONS {
            return Err(AuthError::TooManyIterations(iterations));
        }
        let iterations = std::num::NonZeroU32::new(iterations).ok_or(WHAT)?;

        let mut bound = self.binding.header().as_bytes().to_vec();
        if let ChannelBinding::EndPoint(hash) = &self.binding {
            bound.extend_from_slice(hash);
        }
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(bound));
        let signed = format!("{first_bare},{text},{without_proof}");

        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            &salt,
            self.password.expose(),
            &mut salted,
        );
        let client_key = mac(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let signature = mac(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = mac(&salted, b"Server Key");
        self.expected = Some(Secret::new(mac(server_key.as_ref(), signed.as_bytes()).as_ref()));
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Takes the server's last message and checks its signature.
    ///
    /// # Errors
    /// Malformed, an error told by the server, or a wrong signature.
    pub fn on_server_final(self, data: &[u8]) -> Result<(), AuthError> {
        const WHAT: AuthError = AuthError::Malformed("last SCRAM message");
        let expected = self.expected.ok_or(AuthError::OutOfTurn)?;
        let text = text(data).ok_or(WHAT)?;
        if text.starts_with("e=") {
            return Err(AuthError::Refused);
        }
        let signature = text.strip_prefix("v=").and_then(|v| v.split(',').next()).ok_or(WHAT)?;
        let signature = STANDARD.decode(signature).map_err(|_| WHAT)?;
        constant_time::verify_slices_are_equal(&signature, expected.expose())
            .map_err(|_| AuthError::ServerNotProven)
    }
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok().filter(|t| t.len() <= MAX_SERVER_MESSAGE)
}

fn mac(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
}

/// SASLprep as the server does it: a password that can't be prepared (or is not
/// UTF-8) is used as it is.
fn normalise(password: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(password).map(stringprep::saslprep) {
        Ok(Ok(prepared)) if !prepared.is_empty() => prepared.as_bytes().to_vec(),
        _ => password.to_vec(),
    }
}
