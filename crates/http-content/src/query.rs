//! URLs, as a record keeps them.

use crate::escape::{FormText, UrlText, Writing, decode};
use crate::json::mask_value;
use masking::{Outcome, Policy, Receipt, Sink};

/// What stands in the record where a secret was. Percent signs are not needed for it.
pub const HIDDEN: &str = "***";

/// Query parameters whose values are secrets by their name alone, compared
/// without case, `-` and `_`: `OAuth` (RFC 6749, RFC 6750, RFC 7636, RFC 8628),
/// SAML, signed URLs of AWS, Google, Azure and `CloudFront`, and what APIs call
/// their keys.
pub const SECRET_PARAMETERS: &[&str] = &[
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "idtokenhint",
    "token",
    "code",
    "codeverifier",
    "devicecode",
    "usercode",
    "clientsecret",
    "clientassertion",
    "assertion",
    "subjecttoken",
    "actortoken",
    "authtoken",
    "sessiontoken",
    "csrftoken",
    "xsrftoken",
    "logintoken",
    "resettoken",
    "invitetoken",
    "samlresponse",
    "samlrequest",
    "samlart",
    "ticket",
    "apikey",
    "xapikey",
    "key",
    "appkey",
    "subscriptionkey",
    "ocpapimsubscriptionkey",
    "secret",
    "secretkey",
    "accesskey",
    "privatekey",
    "password",
    "passwd",
    "passwort",
    "pass",
    "pwd",
    "passphrase",
    "pin",
    "otp",
    "totp",
    "signature",
    "sig",
    "hmac",
    "auth",
    "authorization",
    "bearer",
    "jwt",
    "credential",
    "credentials",
    "session",
    "sessionid",
    "sid",
    "phpsessid",
    "jsessionid",
    "xamzsignature",
    "xamzcredential",
    "xamzsecuritytoken",
    "awsaccesskeyid",
    "xgoogsignature",
    "xgoogcredential",
    "googleaccessid",
    "policy",
    "keypairid",
];

/// Longest parameter name that is compared, in bytes.
const MAX_PARAMETER: usize = 128;

/// Hides secrets in URLs for the record.
#[derive(Clone, Debug, Default)]
pub struct UrlMasker {
    more: Vec<String>,
}

impl UrlMasker {
    /// A masker that also takes these parameters' values for secrets.
    #[must_use]
    pub fn new<'n>(more: impl IntoIterator<Item = &'n str>) -> Self {
        Self { more: more.into_iter().map(|name| folded(name.as_bytes())).collect() }
    }

    /// Whether a parameter of this name (decoded) holds a secret.
    #[must_use]
    pub fn is_secret(&self, name: &[u8]) -> bool {
        // `filter[token]`, `user.password`: the last part counts.
        let last = name.rsplit(|b| matches!(b, b'[' | b'.' | b'$')).next().unwrap_or(name);
        let (whole, last) = (folded(name), folded(last.strip_suffix(b"]").unwrap_or(last)));
        SECRET_PARAMETERS.iter().any(|s| *s == whole || *s == last)
            || self.more.iter().any(|s| *s == whole || *s == last)
    }

    /// A URL or a part of one (from the path on) as the record keeps it. The
    /// user part of an authority and secrets in the query are `***`; what the
    /// policy finds in path, values and fragment is masked as it says.
    pub fn for_record(&self, url: &str, policy: &Policy, receipt: &mut Receipt) -> String {
        let (url, fragment) = match url.split_once('#') {
            Some((url, fragment)) => (url, Some(fragment)),
            None => (url, None),
        };
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (url, None),
        };
        let mut out = Vec::with_capacity(url.len());
        self.path(path, policy, receipt, &mut out);
        for (sign, part) in [(b'?', query), (b'#', fragment)] {
            if let Some(part) = part {
                out.push(sign);
                // Tokens of the implicit flow stand in the fragment.
                self.pairs(part.as_bytes(), policy, receipt, &mut out);
            }
        }
        String::from_utf8(out).unwrap_or_else(|_| HIDDEN.to_owned())
    }

    fn path(&self, path: &str, policy: &Policy, receipt: &mut Receipt, out: &mut Vec<u8>) {
        let mut path = path;
        if let Some((scheme, rest)) = path.split_once("://") {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
            out.extend_from_slice(scheme.as_bytes());
            out.extend_from_slice(b"://");
            match authority.rsplit_once('@') {
                Some((_, host)) => {
                    out.extend_from_slice(HIDDEN.as_bytes());
                    out.push(b'@');
                    out.extend_from_slice(host.as_bytes());
                }
                None => out.extend_from_slice(authority.as_bytes()),
            }
            path = behind;
        }
        for (n, segment) in path.split('/').enumerate() {
            if n > 0 {
                out.push(b'/');
            }
            let mut parts = segment.split(';');
            value::<UrlText>(
                parts.next().unwrap_or_default().as_bytes(),
                b"",
                policy,
                receipt,
                out,
            );
            // Parameters of a segment: `;jsessionid=…`.
            for part in parts {
                out.push(b';');
                self.pair::<UrlText>(part.as_bytes(), policy, receipt, out);
            }
        }
    }

    fn pairs(&self, query: &[u8], policy: &Policy, receipt: &mut Receipt, out: &mut Vec<u8>) {
        for (n, pair) in query.split(|b| *b == b'&').enumerate() {
            if n > 0 {
                out.push(b'&');
            }
            // Old servers take `;` for `&`.
            for (n, part) in pair.split(|b| *b == b';').enumerate() {
                if n > 0 {
                    out.push(b';');
                }
                self.pair::<FormText>(part, policy, receipt, out);
            }
        }
    }

    fn pair<W: Writing>(
        &self,
        pair: &[u8],
        policy: &Policy,
        receipt: &mut Receipt,
        out: &mut Vec<u8>,
    ) {
        let Some(at) = memchr::memchr(b'=', pair) else {
            return value::<W>(pair, b"", policy, receipt, out);
        };
        let (raw_name, raw) = pair.split_at(at);
        let raw = raw.get(1..).unwrap_or_default();
        let mut name = Vec::new();
        decode::<W>(raw_name, &mut name);
        value::<W>(raw_name, b"", policy, receipt, out);
        out.push(b'=');
        if self.is_secret(&name) && !raw.is_empty() {
            out.extend_from_slice(HIDDEN.as_bytes());
            receipt.scanned += 1;
            receipt.masked += 1;
            return;
        }
        value::<W>(raw, &name, policy, receipt, out);
    }
}

/// Masks one encoded value for the record.
fn value<W: Writing>(
    raw: &[u8],
    name: &[u8],
    policy: &Policy,
    receipt: &mut Receipt,
    out: &mut Vec<u8>,
) {
    let (mut text, mut masked) = (Vec::new(), Vec::new());
    decode::<W>(raw, &mut text);
    let named = (name, text.as_slice());
    if mask_value(policy, Sink::Record, named, &mut Vec::new(), &mut masked, receipt) {
        W::write(&masked, out);
    } else {
        out.extend_from_slice(raw);
    }
}

/// Masks a plain text for the record.
pub(crate) fn text(text: &str, policy: &Policy, receipt: &mut Receipt) -> Vec<u8> {
    let mut out = Vec::new();
    match policy.mask_text(Sink::Record, text.as_bytes(), &mut out, receipt) {
        Outcome::Same => text.as_bytes().to_vec(),
        Outcome::Replaced => out,
    }
}

fn folded(name: &[u8]) -> String {
    let letters = name.iter().take(MAX_PARAMETER).filter(|b| !matches!(b, b'-' | b'_'));
    letters.map(|b| char::from(b.to_ascii_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use masking::{Config, OperatorConfig, RuleConfig};

    fn recorded(url: &str) -> String {
        let rule = RuleConfig {
            entity: vec!["ALL".into()],
            client: Some(OperatorConfig::named("replace")),
            ..RuleConfig::default()
        };
        let config = Config { rules: vec![rule], ..Config::default() };
        let policy = Policy::compile(&config, None).unwrap();
        UrlMasker::new(["x-my-Own"]).for_record(url, &policy, &mut Receipt::new())
    }

    #[test]
    fn urls() {
        for (url, want) in [
            ("/a/b?x=1&y", "/a/b?x=1&y"),
            ("/?access_token=abc&x=1", "/?access_token=***&x=1"),
            ("/?Access%5FToken=abc", "/?Access%5FToken=***"),
            ("/?X-Amz-Signature=00ff&X-Amz-Date=2026", "/?X-Amz-Signature=***&X-Amz-Date=2026"),
            ("/?a[token]=q&b.pwd=r&c=", "/?a[token]=***&b.pwd=***&c="),
            ("/?x_my-own=1;code=2", "/?x_my-own=***;code=***"),
            ("/cb#access_token=abc&state=1", "/cb#access_token=***&state=1"),
            ("/u/jane%40example.com/x", "/u/<EMAIL_ADDRESS>/x"),
            ("/?q=jane%40example.com", "/?q=%3CEMAIL_ADDRESS%3E"),
            ("/?jane@example.com", "/?%3CEMAIL_ADDRESS%3E"),
            ("/?jane@example.com=1", "/?%3CEMAIL_ADDRESS%3E=1"),
            ("/a;jsessionid=77/b", "/a;jsessionid=***/b"),
            ("https://u:p@h.example/x?y", "https://***@h.example/x?y"),
            ("*", "*"),
            ("", ""),
            ("/?code=", "/?code="),
        ] {
            assert_eq!(recorded(url), want, "{url}");
        }
    }
}
