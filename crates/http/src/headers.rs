//! Header fields: which belong to one connection only (RFC 9110, 7.6.1), which are ours to say,
//! and which of them a record keeps in clear.

use std::net::IpAddr;

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};

/// Fields that end with a connection, whether `Connection` names them or not.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The same, that the library has no names for.
const HOP_BY_HOP_WORDS: [&str; 4] = ["keep-alive", "proxy-connection", "http2-settings", "alt-svc"];

/// Fields that say who the client is, or how it came. The client's own are taken out, however
/// they are spelled; a name that ends with a dash stands for all that begin so.
const IDENTITY: [&str; 14] = [
    "forwarded",
    "x-forwarded-",
    "x-real-ip",
    "x-remote-",
    "x-auth-",
    "x-authenticated-",
    "x-authenticated",
    "x-user",
    "x-user-",
    "x-webauth-",
    "x-original-",
    "x-rewrite-",
    "remote-user",
    "x-greffier-",
];

/// Fields that `Connection` must not name: taking them out would change what the message says.
const END_TO_END: [&str; 12] = [
    "host",
    "authorization",
    "cookie",
    "set-cookie",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "range",
    "expect",
    "cache-control",
    "x-forwarded-for",
];

/// Why a request's fields are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    #[error("Connection names a field that belongs to the message")]
    Connection,
    #[error("there must be one Host, and it must be what the request's target says")]
    Host,
    #[error("there is more than one Authorization")]
    Authorization,
    #[error("the only Transfer-Encoding that is understood is chunked")]
    TransferEncoding,
}

/// Refuses what the library lets pass of Transfer-Encoding: a coding before `chunked`, which the
/// target would not be told of, as the field ends here (RFC 9112, 6.1).
pub(crate) fn check_transfer_encoding(fields: &HeaderMap) -> Result<(), FieldError> {
    let mut all = fields.get_all(header::TRANSFER_ENCODING).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(FieldError::TransferEncoding),
    }
}

/// Takes out what belongs to one connection only. `Connection` itself may name more.
pub(crate) fn strip_hop_by_hop(fields: &mut HeaderMap) -> Result<(), FieldError> {
    let mut named = Vec::new();
    for value in fields.get_all(header::CONNECTION) {
        let words = value.to_str().map_err(|_| FieldError::Connection)?;
        for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if END_TO_END.iter().any(|it| word.eq_ignore_ascii_case(it)) || is_identity(word) {
                return Err(FieldError::Connection);
            }
            named.extend(HeaderName::from_bytes(word.as_bytes()));
        }
    }
    // gRPC asks for trailers by TE, hop by hop: every hop asks the next.
    let trailers = fields.get_all(header::TE).iter().any(|value| {
        let words = value.to_str().unwrap_or_default();
        words.split(',').any(|word| word.trim().eq_ignore_ascii_case("trailers"))
    });
    for name in named.iter().chain(&HOP_BY_HOP) {
        fields.remove(name);
    }
    for name in HOP_BY_HOP_WORDS {
        fields.remove(name);
    }
    if trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

/// Whether a field says who the client is. Servers behind CGI and WSGI read `_` as `-`.
fn is_identity(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    IDENTITY.iter().any(|it| {
        name == *it
            || (it.ends_with('-') && name.starts_with(it))
            || name.trim_end_matches('-') == *it
    })
}

/// Takes out what only we may say.
pub(crate) fn strip_identity(fields: &mut HeaderMap) {
    let forged: Vec<HeaderName> =
        fields.keys().filter(|name| is_identity(name.as_str())).cloned().collect();
    for name in forged {
        if let Entry::Occupied(found) = fields.entry(name) {
            found.remove_entry_mult();
        }
    }
}

/// What the target is told of the client.
pub(crate) struct Introduction<'a> {
    pub(crate) peer: IpAddr,
    pub(crate) secure: bool,
    /// What the client called us.
    pub(crate) host: &'a str,
    pub(crate) session: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) issuer: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) on_behalf_of: Option<&'a str>,
    /// All that, signed.
    pub(crate) assertion: Option<&'a str>,
}

/// Says who is asking. What can't stand in a header is percent-encoded.
pub(crate) fn introduce(fields: &mut HeaderMap, who: &Introduction<'_>) {
    let scheme = if who.secure { "https" } else { "http" };
    let quoted = match who.peer {
        IpAddr::V4(peer) => peer.to_string(),
        IpAddr::V6(peer) => format!("\"[{peer}]\""),
    };
    let host = printable(who.host);
    let mut say = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(HeaderName::from_static(name), value);
        }
    };
    say("forwarded", &format!("for={quoted};host=\"{host}\";proto={scheme}"));
    say("x-forwarded-for", &who.peer.to_string());
    say("x-forwarded-proto", scheme);
    say("x-forwarded-host", &host);
    say("x-greffier-session", who.session);
    say("x-greffier-subject", &printable(who.subject));
    say("x-greffier-issuer", &printable(who.issuer));
    say("x-greffier-kind", who.kind);
    if let Some(owner) = who.on_behalf_of {
        say("x-greffier-on-behalf-of", &printable(owner));
    }
    if let Some(assertion) = who.assertion {
        say("x-greffier-assertion", assertion);
    }
}

/// Visible ASCII without quotes, the rest percent-encoded.
fn printable(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'!' | b'#'..=b'$' | b'&'..=b'[' | b']'..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// The one Host that a request has (RFC 9112, 3.2).
pub(crate) fn host<'a>(
    fields: &'a HeaderMap,
    authority: Option<&'a str>,
) -> Result<&'a str, FieldError> {
    let mut hosts = fields.get_all(header::HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().map_err(|_| FieldError::Host)?),
        (None, _) => None,
        (Some(_), Some(_)) => return Err(FieldError::Host),
    };
    match (named, authority) {
        (Some(named), Some(authority)) if !named.eq_ignore_ascii_case(authority) => {
            Err(FieldError::Host)
        }
        (Some(host), _) | (None, Some(host)) if !host.is_empty() && !host.contains('@') => Ok(host),
        _ => Err(FieldError::Host),
    }
}

/// HTTP/2 may send a cookie in pieces (RFC 9113, 8.2.3); everybody else has one field.
pub(crate) fn join_cookies(fields: &mut HeaderMap) {
    if fields.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let pieces: Vec<&[u8]> =
        fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        fields.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(all: &[(&str, &str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn what_belongs_to_a_connection_ends_with_it() {
        let mut all = fields(&[
            ("connection", "keep-alive, X-Once"),
            ("connection", "close"),
            ("x-once", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, Trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic eA=="),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut all).unwrap();
        assert_eq!(all, fields(&[("accept", "*/*"), ("te", "trailers")]));
    }

    #[test]
    fn connection_can_not_strip_what_the_message_says() {
        for word in ["Authorization", "host", "Cookie", "X-Forwarded-For", "x-greffier-subject"] {
            let mut all = fields(&[("connection", &format!("close, {word}"))]);
            assert_eq!(strip_hop_by_hop(&mut all), Err(FieldError::Connection), "{word}");
        }
    }

    #[test]
    fn who_asks_is_ours_to_say() {
        let mut all = fields(&[
            ("X-Forwarded-For", "1.2.3.4"),
            ("x_forwarded_user", "root"),
            ("X-Remote_User", "root"),
            ("X-Greffier-Subject", "root"),
            ("x-greffier-subject", "root2"),
            ("Forwarded", "for=1"),
            ("X-WebAuth-User", "root"),
            ("x-user", "root"),
            ("x-original-url", "/admin"),
            ("user-agent", "curl"),
        ]);
        strip_identity(&mut all);
        assert_eq!(all, fields(&[("user-agent", "curl")]));
        introduce(
            &mut all,
            &Introduction {
                peer: "::1".parse().unwrap(),
                secure: true,
                host: "a\"b\r\nx: y",
                session: "s",
                subject: "ålice",
                issuer: "https://id",
                kind: "agent",
                on_behalf_of: Some("bob"),
                assertion: Some("a.b.c"),
            },
        );
        assert_eq!(all["forwarded"], "for=\"[::1]\";host=\"a%22b%0D%0Ax:%20y\";proto=https");
        assert_eq!(all["x-greffier-subject"], "%C3%A5lice");
        assert_eq!(all["x-greffier-on-behalf-of"], "bob");
        assert_eq!(all["x-greffier-assertion"], "a.b.c");
    }

    #[test]
    fn there_is_one_host() {
        assert_eq!(host(&fields(&[("host", "a")]), None), Ok("a"));
        assert_eq!(host(&fields(&[("host", "a")]), Some("A")), Ok("a"));
        assert_eq!(host(&fields(&[]), Some("a")), Ok("a"));
        for (all, authority) in [
            (vec![], None),
            (vec![("host", "a"), ("host", "a")], None),
            (vec![("host", "a")], Some("b")),
            (vec![("host", "")], None),
            (vec![("host", "u@a")], None),
        ] {
            assert_eq!(host(&fields(&all), authority), Err(FieldError::Host), "{all:?}");
        }
    }

    #[test]
    fn a_cookie_in_pieces_is_one() {
        let mut all = fields(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut all);
        assert_eq!(all, fields(&[("cookie", "a=1; b=2")]));
    }
}
