//! What was shown to prove who acts: everything about a token but the token.

use std::fmt;

use aws_lc_rs::digest;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Secret;

/// SHA-256 of a raw token, as 64 lower-case hex digits when written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a token as it came over the wire.
    #[must_use]
    pub fn of(token: &Secret) -> Self {
        Self(sha256(token.expose().as_bytes()))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

impl std::str::FromStr for TokenHash {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Which sort of token it was. A token of one class is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TokenClass {
    /// `typ: at+jwt`, an access token after RFC 9068.
    #[serde(rename = "at+jwt")]
    AccessToken,
    /// `typ: JWT`, what most CI platforms issue.
    #[serde(rename = "JWT")]
    Jwt,
    /// No `typ` at all, as Kubernetes projects service account tokens.
    #[serde(rename = "untyped")]
    Untyped,
    /// An OpenID Connect ID token: `typ` is `JWT` or absent, and it carries a
    /// claim that only ID tokens have (`nonce`, `at_hash`, `c_hash`, `s_hash`).
    #[serde(rename = "id-token")]
    IdToken,
}

impl TokenClass {
    /// The word used in configuration and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::Jwt => "JWT",
            Self::Untyped => "untyped",
            Self::IdToken => "id-token",
        }
    }

    /// Reads the word used in configuration. `None` if it is no class.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::AccessToken, Self::Jwt, Self::Untyped, Self::IdToken]
            .into_iter()
            .find(|class| class.as_str() == word)
    }
}

impl fmt::Display for TokenClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a record keeps of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// SHA-256 of the raw token.
    pub sha256: TokenHash,
    /// The token's own identifier, if the issuer gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The key that signed it. Absent if the token named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Which sort of token it was.
    pub class: TokenClass,
    /// Issued at, seconds since 1970 UTC.
    pub iat: u64,
    /// Expires at, seconds since 1970 UTC.
    pub exp: u64,
    /// The OAuth client it was issued to (`client_id`, else `azp`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}
