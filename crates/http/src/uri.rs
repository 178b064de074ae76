//! One reading of a request's path, for the rules, the record and the target alike (RFC 3986,
//! section 6.2.2).
//!
//! Parsers differ in what `/a/../b`, `%2e` or `%61` is. A path is brought into one form here, what is
//! judged is that form, and that form is what the target gets. What servers are known to read in more
//! than one way (an encoded slash, a backslash, a control character) is refused. What they read in
//! two ways both of which are common (`//`, `;parameters`) is forwarded as it came and judged both ways.

/// The longest path and query, in bytes.
pub(crate) const MAX_TARGET_BYTES: usize = 16 * 1024;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("the request's target must be a path")]
    NotAPath,
    #[error("the request's path and query are too long")]
    TooLong,
    #[error("a percent sign in the path is not followed by two hexadecimal digits")]
    Percent,
    #[error("the path has a slash, a backslash or a control character in disguise")]
    Disguised,
    #[error("the path leads out of the root")]
    Above,
}

/// A path in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    text: String,
}

impl Path {
    /// Reads a path as it came, without its query.
    pub(crate) fn parse(raw: &str) -> Result<Path, PathError> {
        if raw.len() > MAX_TARGET_BYTES {
            return Err(PathError::TooLong);
        }
        if !raw.starts_with('/') {
            return Err(PathError::NotAPath);
        }
        let text = decode_unreserved(raw)?;
        Ok(Path { text: remove_dots(&text)? })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The other forms that a server may take it for, if any: without parameters of its segments,
    /// without empty segments.
    pub(crate) fn other_readings(&self) -> Vec<String> {
        let plain = |text: &str| -> String {
            let segments = text.split('/').map(|it| it.split(';').next().unwrap_or_default());
            segments.collect::<Vec<_>>().join("/")
        };
        let merged = |text: &str| -> String {
            let mut out = String::with_capacity(text.len());
            for c in text.chars() {
                if !(c == '/' && out.ends_with('/')) {
                    out.push(c);
                }
            }
            out
        };
        let mut all = Vec::new();
        if self.text.contains(';') {
            all.push(plain(&self.text));
        }
        if self.text.contains("//") {
            all.push(merged(&self.text));
        }
        if self.text.contains(';') {
            let both = merged(&plain(&self.text));
            if !all.contains(&both) {
                all.push(both);
            }
        }
        all
    }

    /// What is behind a prefix that ends at a segment's border; begins with `/`.
    pub(crate) fn behind(&self, prefix: &str) -> Option<Path> {
        let rest = self.text.strip_prefix(prefix.trim_end_matches('/'))?;
        match rest.as_bytes().first() {
            None => Some(Path { text: "/".to_owned() }),
            Some(b'/') => Some(Path { text: rest.to_owned() }),
            Some(_) => None,
        }
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// What a text with percent escapes stands for, with `plus` also where `+` is a blank (a form's).
/// None: an escape is none.
pub(crate) fn unescape(text: &str, plus: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' if plus => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        });
    }
    Some(out)
}

/// Decodes what need not be encoded, writes other encodings in upper case, refuses what hides a
/// border.
fn decode_unreserved(raw: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            match byte {
                b'\\' | 0..=0x20 | 0x7f => return Err(PathError::Disguised),
                _ if byte.is_ascii() => out.push(char::from(byte)),
                _ => push_encoded(&mut out, byte),
            }
            continue;
        }
        let (high, low) = (bytes.next().and_then(hex), bytes.next().and_then(hex));
        let (Some(high), Some(low)) = (high, low) else { return Err(PathError::Percent) };
        let decoded = high << 4 | low;
        match decoded {
            b'/' | b'\\' | 0..=0x1f | 0x7f => return Err(PathError::Disguised),
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(decoded)),
            _ if decoded.is_ascii_alphanumeric() => out.push(char::from(decoded)),
            _ => push_encoded(&mut out, decoded),
        }
    }
    Ok(out)
}

fn push_encoded(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).map_or('0', |it| char::from(*it));
    out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}

/// RFC 3986, 5.2.4; leading out of the root is an error.
fn remove_dots(text: &str) -> Result<String, PathError> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = text.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        // `..;x` is `..` to servers that know parameters.
        match segment.split(';').next().unwrap_or_default() {
            "." | ".." if segment.contains(';') => return Err(PathError::Disguised),
            "." => {}
            ".." => {
                kept.pop().ok_or(PathError::Above)?;
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    Ok(kept.iter().fold(String::with_capacity(text.len()), |mut out, segment| {
        out.push('/');
        out.push_str(segment);
        out
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &str) -> String {
        Path::parse(raw).unwrap().as_str().to_owned()
    }

    #[test]
    fn a_path_has_one_form() {
        for (raw, wanted) in [
            ("/", "/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/%61%7e%2d/%3a", "/a~-/%3A"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/a//b/", "/a//b/"),
            ("/é", "/%C3%A9"),
            ("/a;x=1/b", "/a;x=1/b"),
        ] {
            assert_eq!(read(raw), wanted, "{raw}");
        }
    }

    #[test]
    fn what_hides_a_border_is_refused() {
        for raw in [
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%0d%0aX: y",
            "/%",
            "/%4",
            "/%zz",
            "/..",
            "/../etc",
            "/a/../../b",
            "/%2e%2e/a",
            "/a/..;/b",
            "/a/.;x/b",
            "",
            "a",
            "*",
            "http://x/",
            "/a b",
            "/a\u{7f}",
        ] {
            assert!(Path::parse(raw).is_err(), "{raw}");
        }
        assert!(Path::parse(&format!("/{}", "x".repeat(MAX_TARGET_BYTES))).is_err());
    }

    #[test]
    fn other_readings_are_judged_too() {
        let others = |raw| Path::parse(raw).unwrap().other_readings();
        assert!(others("/a/b").is_empty());
        assert_eq!(others("/admin;x/y"), ["/admin/y"]);
        assert_eq!(others("//admin"), ["/admin"]);
        assert_eq!(others("/;/admin"), ["//admin", "/admin"]);
    }

    #[test]
    fn a_prefix_ends_at_a_border() {
        let path = Path::parse("/app/x").unwrap();
        assert_eq!(path.behind("/app").unwrap().as_str(), "/x");
        assert_eq!(path.behind("/app/").unwrap().as_str(), "/x");
        assert_eq!(path.behind("/").unwrap().as_str(), "/app/x");
        assert_eq!(path.behind("/app/x").unwrap().as_str(), "/");
        assert!(path.behind("/ap").is_none());
    }

    proptest! {
        /// Read twice it is the same, and no dots, controls or raw bytes are left.
        #[test]
        fn the_form_is_stable(raw in "/[a-zA-Z0-9./;%é\\\\ -]{0,40}") {
            if let Ok(path) = Path::parse(&raw) {
                prop_assert_eq!(&Path::parse(path.as_str()).unwrap(), &path);
                prop_assert!(path.as_str().is_ascii());
                prop_assert!(!path.as_str().split('/').any(|it| it == "." || it == ".."));
            }
        }
    }
}
