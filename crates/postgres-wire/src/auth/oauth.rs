//! OAUTHBEARER (RFC 7628), the server's side, as bytes: PostgreSQL 18's clients send
//! a bearer token this way. Judging the token is the caller's work.
//!
//! The exchange: the client sends `n,,^Aauth=Bearer TOKEN^A^A`, or with an empty
//! `auth` to ask where to get a token. If the token is not good the server answers
//! with [`failure`] as SASLContinue, the client must send one `^A`
//! ([`is_acknowledged`]), and the server ends with an ErrorResponse.

/// The mechanism's name.
pub const MECHANISM: &str = "OAUTHBEARER";
/// Longest initial response, in bytes (`PG_MAX_AUTH_TOKEN_LENGTH`).
pub const MAX_INITIAL_RESPONSE: usize = crate::frame::PASSWORD_LIMIT;
const KVSEP: u8 = 0x01;
/// Most key/value pairs: `auth`, `host` and `port` are defined.
const MAX_PAIRS: usize = 8;

/// What a client sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Initial<'a> {
    /// A bearer token.
    Token(&'a [u8]),
    /// No token: the client asks where to get one.
    Discovery,
}

impl std::fmt::Debug for Initial<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(***)",
            Self::Discovery => "Discovery",
        })
    }
}

/// The client's message is not what RFC 7628 says. The fault is the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OauthError {
    /// Longer than [`MAX_INITIAL_RESPONSE`].
    #[error("the OAUTHBEARER message is too long")]
    TooLong,
    /// The client wants channel binding, which this mechanism does not have.
    #[error("OAUTHBEARER has no channel binding")]
    ChannelBinding,
    /// The client wants to act as somebody else than the token says.
    #[error("an authorization identity is not supported")]
    AuthorizationIdentity,
    /// Anything else.
    #[error("the OAUTHBEARER message is malformed")]
    Malformed,
}

/// Reads the client's initial response.
///
/// # Errors
/// See [`OauthError`].
pub fn parse_initial(data: &[u8]) -> Result<Initial<'_>, OauthError> {
    if data.len() > MAX_INITIAL_RESPONSE {
        return Err(OauthError::TooLong);
    }
    let after_flag = match data.split_first_chunk::<2>() {
        Some((b"n," | b"y,", rest)) => rest,
        Some((b"p=", _)) => return Err(OauthError::ChannelBinding),
        _ => return Err(OauthError::Malformed),
    };
    let rest = match after_flag.split_first() {
        Some((b',', rest)) => rest,
        Some((b'a', _)) => return Err(OauthError::AuthorizationIdentity),
        _ => return Err(OauthError::Malformed),
    };
    // kvsep *(key "=" value kvsep) kvsep, and nothing behind.
    let pairs = rest
        .strip_prefix(&[KVSEP])
        .and_then(|r| r.strip_suffix(&[KVSEP]))
        .and_then(|r| r.strip_suffix(&[KVSEP]))
        .ok_or(OauthError::Malformed)?;
    let mut auth = None;
    for (i, pair) in pairs.split(|&b| b == KVSEP).enumerate() {
        let eq = memchr::memchr(b'=', pair).filter(|_| i < MAX_PAIRS);
        let (key, value) =
            eq.and_then(|at| pair.split_at_checked(at)).ok_or(OauthError::Malformed)?;
        if key.is_empty() || !key.iter().all(u8::is_ascii_alphabetic) {
            return Err(OauthError::Malformed);
        }
        let printable = |b: &u8| matches!(b, 0x20..=0x7e | b'\t' | b'\r' | b'\n');
        if !value.iter().all(printable) {
            return Err(OauthError::Malformed);
        }
        if key == b"auth" && auth.replace(value.get(1..).unwrap_or_default()).is_some() {
            return Err(OauthError::Malformed);
        }
    }
    match auth.ok_or(OauthError::Malformed)? {
        [] => Ok(Initial::Discovery),
        value => bearer(value).map(Initial::Token).ok_or(OauthError::Malformed),
    }
}

/// `Bearer` (any case), blanks, b64token (RFC 6750 section 2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_first_chunk::<6>()?;
    if !scheme.eq_ignore_ascii_case(b"Bearer") || rest.first() != Some(&b' ') {
        return None;
    }
    let token = rest.trim_ascii_start();
    let body = token.trim_ascii_end();
    let unpadded = match body.iter().rposition(|&b| b != b'=') {
        Some(last) => body.get(..=last)?,
        None => return None,
    };
    let b64 = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(b);
    (unpadded.iter().all(b64) && body.len() == token.len()).then_some(token)
}

/// The JSON that tells a client its token is not good and where to get one
/// (RFC 7628 section 3.2.2), to be sent as SASLContinue.
pub fn failure(status: &str, openid_configuration: &str, scope: &str) -> Vec<u8> {
    let mut json = String::from("{\"status\":");
    crate::value::push_json_string(&mut json, status);
    json.push_str(",\"openid-configuration\":");
    crate::value::push_json_string(&mut json, openid_configuration);
    json.push_str(",\"scope\":");
    crate::value::push_json_string(&mut json, scope);
    json.push('}');
    json.into_bytes()
}

/// True if this SASLResponse is the `^A` a client answers [`failure`] with.
pub fn is_acknowledged(data: &[u8]) -> bool {
    data == [KVSEP]
}
