//! Header fields, as a record keeps them: known harmless ones in clear, the
//! rest as a hash that tells equal values from others and nothing else.

use crate::query::{self, UrlMasker};
use aws_lc_rs::digest::{SHA256, digest};
use masking::{Policy, Receipt};

/// Fields whose values are kept, in small letters. What is not here is hashed:
/// a header nobody thought of may be a key.
pub const CLEAR: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "access-control-request-headers",
    "access-control-request-method",
    "age",
    "allow",
    "alt-svc",
    "audit-id",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-type",
    "date",
    "dnt",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "kubectl-command",
    "last-event-id",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "origin",
    "priority",
    "range",
    "referer",
    "referrer-policy",
    "retry-after",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "server",
    "strict-transport-security",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "x-accel-buffering",
    "x-content-type-options",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-frame-options",
    "x-request-id",
    "x-correlation-id",
];

/// Fields whose values are URLs.
const URLS: [&str; 3] = ["location", "content-location", "referer"];

/// A header field's value in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedValue {
    /// In clear, with what the policy finds in it masked. Bytes that are no
    /// UTF-8 are U+FFFD.
    Clear(String),
    /// Its SHA-256 and its length in bytes. The hash has no key: it hides what
    /// is long and random (a token), not a short word.
    Hashed {
        /// SHA-256 of the value.
        sha256: [u8; 32],
        /// The value's length in bytes.
        length: usize,
    },
}

/// Decides what a record keeps of header fields.
#[derive(Clone, Debug, Default)]
pub struct HeaderRecorder {
    urls: UrlMasker,
    more: Vec<String>,
}

impl HeaderRecorder {
    /// A recorder that keeps these fields in clear too. Those that carry
    /// credentials stay hashed whatever is asked.
    #[must_use]
    pub fn new<'n>(more: impl IntoIterator<Item = &'n str>, urls: UrlMasker) -> Self {
        Self { urls, more: more.into_iter().map(str::to_ascii_lowercase).collect() }
    }

    /// What a record keeps of a field. `name` in any case.
    #[must_use]
    pub fn for_record(
        &self,
        name: &str,
        value: &[u8],
        policy: &Policy,
        receipt: &mut Receipt,
    ) -> RecordedValue {
        let name = name.to_ascii_lowercase();
        let listed = CLEAR.contains(&name.as_str()) || self.more.contains(&name);
        if !listed || is_credential(&name) {
            let sum = digest(&SHA256, value);
            let sha256 = <[u8; 32]>::try_from(sum.as_ref()).unwrap_or_default();
            return RecordedValue::Hashed { sha256, length: value.len() };
        }
        let text = String::from_utf8_lossy(value);
        let kept = if URLS.contains(&name.as_str()) {
            self.urls.for_record(&text, policy, receipt)
        } else {
            String::from_utf8_lossy(&query::text(&text, policy, receipt)).into_owned()
        };
        RecordedValue::Clear(kept)
    }
}

/// Fields that are credentials (RFC 9110 section 11, RFC 6265, and what
/// gateways pass on).
fn is_credential(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "cookie2",
        "set-cookie2",
        "authentication-info",
        "x-api-key",
        "x-auth-token",
        "x-amz-security-token",
        "mcp-session-id",
        "sec-websocket-key",
    ];
    NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept() {
        let recorder = HeaderRecorder::new(["X-Team", "Authorization"], UrlMasker::default());
        let policy = Policy::empty();
        let of = |n, v: &[u8]| recorder.for_record(n, v, &policy, &mut Receipt::new());
        let clear = |t: &str| RecordedValue::Clear(t.to_owned());
        assert_eq!(of("Content-Type", b"text/html"), clear("text/html"));
        assert_eq!(of("x-team", b"blue"), clear("blue"));
        assert_eq!(of("Location", b"/cb?code=abc&x=1"), clear("/cb?code=***&x=1"));
        assert_eq!(of("User-Agent", b"\xffx"), clear("\u{FFFD}x"));
        for name in ["Authorization", "Cookie", "SET-COOKIE", "X-Unknown", "X-Api-Key"] {
            let kept = of(name, b"abc");
            let RecordedValue::Hashed { sha256, length: 3 } = kept else { panic!("{kept:?}") };
            // FIPS 180-2's first example.
            assert_eq!(sha256[..4], [0xba, 0x78, 0x16, 0xbf]);
        }
        assert!(CLEAR.iter().all(|n| !is_credential(n)));
    }
}
