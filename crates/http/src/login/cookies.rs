//! Our cookies: named, taken out, set, and sealed (RFC 6265bis).
//!
//! The `__Host-` prefix makes a browser keep them for one host, all of its paths, over TLS; no
//! other host, not even one of the same domain, can set them. Targets neither see nor set them.

use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{self, HeaderMap, HeaderValue};
use serde_json::{Value, json};

/// How long a login may take, from the first redirect to the last.
pub(crate) const BEGUN_LIFE: Duration = Duration::from_secs(600);
/// What the names of all our cookies begin with.
const OURS: &str = "__Host-greffier";
/// Names a login.
const SESSION: &str = OURS;
/// Logins that one browser may have begun at a time: some tabs. Each costs it a cookie.
const SLOTS: u8 = 4;
/// How a cookie of ours is kept. It ends with the browser, or when we say so.
const KEPT: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// What a request has of our cookies.
#[derive(Debug, Default)]
pub(crate) struct Ours {
    /// The login's, if there is exactly one.
    pub(crate) session: Option<String>,
    begun: Vec<(String, String)>,
}

impl Ours {
    /// The login that was begun with this state.
    pub(crate) fn begun(&self, state: &str) -> Option<&str> {
        let name = slot(state);
        let mut found = self.begun.iter().filter(|(it, _)| *it == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// Takes our cookies out of a request: they are for nobody else.
pub(crate) fn take(fields: &mut HeaderMap) -> Ours {
    let mut ours = Ours::default();
    let mut sessions = Vec::new();
    let mut rest: Vec<Vec<u8>> = Vec::new();
    let mut found = false;
    for field in fields.get_all(header::COOKIE) {
        for pair in field.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            if !is_ours(pair) {
                rest.push(pair.to_vec());
                continue;
            }
            found = true;
            let pair = String::from_utf8_lossy(pair).into_owned();
            let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
            match name {
                SESSION => sessions.push(value.to_owned()),
                _ => ours.begun.push((name.to_owned(), value.to_owned())),
            }
        }
    }
    if found {
        fields.remove(header::COOKIE);
        rest.retain(|pair| !pair.is_empty());
        // What came as a field's value can stand in one.
        if let Ok(value) = HeaderValue::from_bytes(&rest.join(&b"; "[..]))
            && !rest.is_empty()
        {
            fields.insert(header::COOKIE, value);
        }
    }
    // A browser has one of a name; who sends two means to be read in two ways.
    ours.session = sessions.pop().filter(|_| sessions.is_empty());
    ours
}

/// Takes out of an answer what would set a cookie of ours.
pub(crate) fn guard(fields: &mut HeaderMap) {
    if !fields.get_all(header::SET_COOKIE).iter().any(|it| is_ours(it.as_bytes())) {
        return;
    }
    let all: Vec<HeaderValue> = fields.get_all(header::SET_COOKIE).iter().cloned().collect();
    fields.remove(header::SET_COOKIE);
    for value in all.into_iter().filter(|it| !is_ours(it.as_bytes())) {
        fields.append(header::SET_COOKIE, value);
    }
}

/// Whether a cookie has a name of ours, however it is written: a cookie without a name is sent as
/// its value, which may look like one with a name.
fn is_ours(pair: &[u8]) -> bool {
    let start = pair.iter().position(|byte| !matches!(byte, b'=' | b' ' | b'\t'));
    let pair = start.and_then(|at| pair.get(at..)).unwrap_or_default();
    pair.get(..OURS.len()).is_some_and(|it| it.eq_ignore_ascii_case(OURS.as_bytes()))
}

/// The cookie of a login.
pub(crate) fn session(value: &str) -> String {
    format!("{SESSION}={value}; {KEPT}")
}

/// The cookie of a login that was begun.
pub(crate) fn begun(state: &str, sealed: &str) -> String {
    format!("{}={sealed}; {KEPT}; Max-Age={}", slot(state), BEGUN_LIFE.as_secs())
}

/// Forgets the login.
pub(crate) fn no_session() -> String {
    format!("{SESSION}=; {KEPT}; Max-Age=0")
}

/// Forgets what was begun.
pub(crate) fn no_begun(state: &str) -> String {
    format!("{}=; {KEPT}; Max-Age=0", slot(state))
}

fn slot(state: &str) -> String {
    let slot = state.bytes().next().unwrap_or_default() % SLOTS;
    format!("{SESSION}-login-{slot}")
}

/// What is remembered of a login by the browser that began it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
    /// The path and query to go back to.
    pub(crate) back: String,
    /// The host it was begun at.
    pub(crate) host: String,
}

/// Seals what a browser keeps for us, so that it can neither read nor change it. The key lives as
/// long as the process. Nothing is held here for who has not logged in yet.
pub(crate) struct Seal {
    /// None if no random numbers could be had: then nothing is sealed or opened.
    key: Option<RandomizedNonceKey>,
    since: Instant,
}

impl Seal {
    pub(crate) fn new() -> Seal {
        let mut bytes = [0; 32];
        let filled = rand::fill(&mut bytes);
        let key = filled.and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, &bytes)).ok();
        Seal { key, since: Instant::now() }
    }

    pub(crate) fn seal(&self, begun: &Begun) -> Option<String> {
        let Begun { state, nonce, verifier, back, host } = begun;
        let now = self.since.elapsed().as_secs();
        let mut bytes = json!([state, nonce, verifier, back, host, now]).to_string().into_bytes();
        let key = self.key.as_ref()?;
        let nonce = key.seal_in_place_append_tag(Aad::empty(), &mut bytes).ok()?;
        bytes.splice(0..0, *nonce.as_ref());
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What was sealed, if it was here and not too long ago.
    pub(crate) fn open(&self, sealed: &str) -> Option<Begun> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.key.as_ref()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        let Value::Array(all) = serde_json::from_slice(plain).ok()? else { return None };
        let text = |at: usize| all.get(at).and_then(Value::as_str).map(str::to_owned);
        let at = Duration::from_secs(all.get(5)?.as_u64()?);
        if self.since.elapsed().saturating_sub(at) > BEGUN_LIFE {
            return None;
        }
        Some(Begun {
            state: text(0)?,
            nonce: text(1)?,
            verifier: text(2)?,
            back: text(3)?,
            host: text(4)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(all: &[&str]) -> HeaderMap {
        all.iter().fold(HeaderMap::new(), |mut map, value| {
            map.append(header::COOKIE, HeaderValue::from_str(value).unwrap());
            map
        })
    }

    #[test]
    fn ours_are_taken_out_and_the_rest_stays() {
        let mut fields = cookies(&["a=1; __Host-greffier=x; b=\"2\"", "__host-GREFFIER-other=y"]);
        let ours = take(&mut fields);
        assert_eq!(ours.session.as_deref(), Some("x"));
        assert_eq!(fields[header::COOKIE], "a=1; b=\"2\"");
        let mut fields = cookies(&["__Host-greffier=x"]);
        assert!(take(&mut fields).session.is_some());
        assert!(fields.is_empty());
    }

    #[test]
    fn one_of_two_is_none() {
        let mut fields = cookies(&["__Host-greffier=x; __Host-greffier=y"]);
        assert!(take(&mut fields).session.is_none());
        assert!(fields.is_empty());
    }

    #[test]
    fn a_target_can_not_set_ours() {
        let mut fields = HeaderMap::new();
        for value in [
            "a=1",
            "__Host-greffier=evil; Path=/",
            " =__Host-greffier=evil",
            "__HOST-greffier-login-1=x",
            "b=__Host-greffier",
        ] {
            fields.append(header::SET_COOKIE, HeaderValue::from_str(value).unwrap());
        }
        guard(&mut fields);
        let left: Vec<_> = fields.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(left, ["a=1", "b=__Host-greffier"]);
    }

    #[test]
    fn what_is_sealed_is_opened_here_only_and_whole() {
        let text = |it: &str| it.to_owned();
        let begun = Begun {
            state: text("s"),
            nonce: text("n"),
            verifier: text("v"),
            back: text("/x?y"),
            host: text("h"),
        };
        let seal = Seal::new();
        let sealed = seal.seal(&begun).unwrap();
        assert!(seal.open(&sealed).is_some_and(|it| it == begun));
        assert!(Seal::new().open(&sealed).is_none());
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(seal.open(&URL_SAFE_NO_PAD.encode(&other)).is_none(), "{at}");
            assert!(seal.open(&URL_SAFE_NO_PAD.encode(&bytes[..at])).is_none(), "{at}");
        }
    }
}
