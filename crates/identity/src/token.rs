//! A token taken apart, strictly, with nothing believed yet.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::limits::{MAX_ID_BYTES, MAX_KID_BYTES, MAX_NUMERIC_DATE, MAX_TOKEN_BYTES};
use crate::{AuthError, TokenClass, json};

/// Lengths that programs cut a typed or passed password to: old MySQL prompts,
/// OpenSSH's answers, the kernel's terminal line.
const CUT_LENGTHS: [usize; 4] = [79, 1023, 2047, 4095];

/// The claims that only ID tokens carry (OpenID Connect Core 2, 3.3.2.11).
const ID_TOKEN_CLAIMS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// A token that is well formed. Nothing in it is verified.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    /// What is signed: `header.claims` as sent.
    pub(crate) message: &'a str,
    /// The signature as sent, base64url.
    pub(crate) signature: &'a str,
    pub(crate) alg: String,
    pub(crate) kid: Option<String>,
    pub(crate) class: TokenClass,
    pub(crate) claims: Claims,
}

/// The registered claims, typed, and all of them as JSON.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: Vec<String>,
    pub(crate) exp: u64,
    pub(crate) iat: u64,
    pub(crate) nbf: Option<u64>,
    pub(crate) jti: Option<String>,
    pub(crate) azp: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) all: Map<String, Value>,
}

/// Takes a token apart. Looks at no clock, no key and no configuration.
pub(crate) fn parse(raw: &str) -> Result<Unverified<'_>, AuthError> {
    if raw.is_empty() {
        return Err(AuthError::Missing);
    }
    if raw.len() > MAX_TOKEN_BYTES {
        return Err(AuthError::TooLong { bytes: raw.len() });
    }
    parse_bounded(raw).map_err(|error| cut_short(raw, error))
}

/// Names the cut where a broken token has just the length of one.
pub(crate) fn cut_short(raw: &str, error: AuthError) -> AuthError {
    match error {
        AuthError::Malformed(_) | AuthError::Signature if CUT_LENGTHS.contains(&raw.len()) => {
            AuthError::CutShort { bytes: raw.len() }
        }
        other => other,
    }
}

fn parse_bounded(raw: &str) -> Result<Unverified<'_>, AuthError> {
    let mut parts = raw.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(AuthError::Malformed("it has not three parts"));
    };
    let header = decode(header, "its header is not base64url")?;
    let payload = decode(payload, "its claims are not base64url")?;
    let header =
        json::object(&header).ok_or(AuthError::Malformed("its header is not plain JSON"))?;
    let all =
        json::object(&payload).ok_or(AuthError::Malformed("its claims are not plain JSON"))?;

    let Some(Value::String(alg)) = header.get("alg") else {
        return Err(AuthError::Malformed("its header has no `alg`"));
    };
    if header.contains_key("crit") {
        return Err(AuthError::CriticalHeader);
    }
    let kid = kid(&header)?;
    let class = class(&header, &all)?;
    let claims = claims(all)?;
    // Last, so that an unsigned token is refused for its algorithm.
    if alg != "none" {
        decode(signature, "its signature is not base64url")?;
    }
    let (message, signature) =
        raw.rsplit_once('.').ok_or(AuthError::Malformed("it has not three parts"))?;
    Ok(Unverified { message, signature, alg: alg.clone(), kid, class, claims })
}

fn decode(part: &str, what: &'static str) -> Result<Vec<u8>, AuthError> {
    if part.is_empty() {
        return Err(AuthError::Malformed(what));
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthError::Malformed(what))
}

/// A `kid` is a name to look up in a set in memory, and nothing else.
fn kid(header: &Map<String, Value>) -> Result<Option<String>, AuthError> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if is_kid(kid) => Ok(Some(kid.clone())),
        Some(_) => Err(AuthError::Malformed("its `kid` is not a short printable text")),
    }
}

pub(crate) fn is_kid(kid: &str) -> bool {
    !kid.is_empty() && kid.len() <= MAX_KID_BYTES && kid.bytes().all(|b| matches!(b, 0x20..=0x7e))
}

fn class(
    header: &Map<String, Value>,
    claims: &Map<String, Value>,
) -> Result<TokenClass, AuthError> {
    let typ = match header.get("typ") {
        None => None,
        Some(Value::String(typ)) => Some(typ.to_ascii_lowercase()),
        Some(_) => return Err(AuthError::Malformed("its `typ` is not text")),
    };
    // RFC 7515 section 4.1.9: `application/` may be left out.
    let typ = typ.as_deref().map(|t| t.strip_prefix("application/").unwrap_or(t));
    // Security event and logout tokens (RFC 8417, OpenID Connect Back-Channel
    // Logout) are told from others by this claim as well as by `typ`.
    if claims.contains_key("events") {
        return Err(AuthError::TokenClass);
    }
    let for_login = ID_TOKEN_CLAIMS.iter().any(|name| claims.contains_key(*name));
    match typ {
        Some("at+jwt") => Ok(TokenClass::AccessToken),
        Some("jwt") | None if for_login => Ok(TokenClass::IdToken),
        Some("jwt") => Ok(TokenClass::Jwt),
        None => Ok(TokenClass::Untyped),
        Some(_) => Err(AuthError::TokenClass),
    }
}

fn claims(all: Map<String, Value>) -> Result<Claims, AuthError> {
    let required = |name| text(&all, name)?.ok_or(AuthError::MissingClaim(name));
    let date = |name| match all.get(name) {
        None => Ok(None),
        // Text, fractions, negative and huge numbers are all refused: a date
        // that libraries read differently is no date.
        Some(value) => match value.as_u64() {
            Some(date) if date <= MAX_NUMERIC_DATE => Ok(Some(date)),
            _ => Err(AuthError::BadClaim(name)),
        },
    };
    Ok(Claims {
        iss: required("iss")?,
        sub: required("sub")?,
        aud: audiences(&all)?,
        exp: date("exp")?.ok_or(AuthError::MissingClaim("exp"))?,
        iat: date("iat")?.ok_or(AuthError::MissingClaim("iat"))?,
        nbf: date("nbf")?,
        jti: text(&all, "jti")?,
        azp: text(&all, "azp")?,
        client_id: text(&all, "client_id")?,
        all,
    })
}

/// A claim that is absent or a text of 1 to [`MAX_ID_BYTES`] bytes without
/// control characters.
fn text(all: &Map<String, Value>, name: &'static str) -> Result<Option<String>, AuthError> {
    match all.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if is_id(text) => Ok(Some(text.clone())),
        Some(_) => Err(AuthError::BadClaim(name)),
    }
}

/// Whether a text can name somebody in a record: neither empty nor long, and
/// without control characters, which would forge lines in a log or a terminal.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ID_BYTES && !text.chars().any(char::is_control)
}

fn audiences(all: &Map<String, Value>) -> Result<Vec<String>, AuthError> {
    let list = match all.get("aud") {
        None => return Err(AuthError::MissingClaim("aud")),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many
            .iter()
            .map(|v| v.as_str().map(str::to_owned).ok_or(AuthError::BadClaim("aud")))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(AuthError::BadClaim("aud")),
    };
    if list.is_empty() { Err(AuthError::BadClaim("aud")) } else { Ok(list) }
}
