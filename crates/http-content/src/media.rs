//! What a body is, by its Content-Type (RFC 9110 section 8.3).

/// Longest multipart boundary (RFC 2046 section 5.1.1), in bytes.
pub const MAX_BOUNDARY: usize = 70;
/// Longest Content-Type that is understood; a longer one says nothing.
pub const MAX_CONTENT_TYPE: usize = 1024;

/// How a body is taken apart for masking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One JSON document (RFC 8259): `application/json` and `+json`.
    Json,
    /// JSON documents one behind the other: NDJSON, JSON lines, and text
    /// sequences (RFC 7464).
    Ndjson,
    /// Server-sent events (WHATWG HTML, section 9.2).
    EventStream,
    /// `application/x-www-form-urlencoded` (WHATWG URL, section 5).
    Form,
    /// `multipart/…` (RFC 2046), most of all `form-data` (RFC 7578).
    Multipart {
        /// What stands between the parts.
        boundary: Vec<u8>,
    },
    /// Text, HTML and XML with it.
    Text,
    /// A type that says nothing: absent, malformed, or
    /// `application/octet-stream`. Text up to the first control character, from
    /// there on binary.
    Unknown,
    /// A picture, an archive, a recording…: no text. What the client sees is
    /// not changed.
    Binary,
}

/// The charset a body's text is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8, or one whose ASCII characters are ASCII bytes (ISO 8859, Windows,
    /// EUC, Shift JIS, GB 18030, Big5): an ASCII value is found in it.
    Ascii,
    /// UTF-16, in the order of its byte order mark; little-endian without one.
    Utf16,
    /// UTF-16, big end first.
    Utf16Be,
    /// UTF-16, little end first.
    Utf16Le,
    /// One that can hide ASCII text (UTF-7, UTF-32, EBCDIC, ISO 2022) or is not
    /// known: refused.
    Refused,
}

impl Kind {
    /// The kind that a Content-Type value names.
    #[must_use]
    pub fn of(content_type: Option<&str>) -> Kind {
        let Some(value) = content_type.filter(|v| v.len() <= MAX_CONTENT_TYPE) else {
            return Kind::Unknown;
        };
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let Some((kind, subtype)) = essence.split_once('/') else { return Kind::Unknown };
        match (kind, subtype) {
            ("application", "json" | "csp-report" | "reports") | ("text", "json" | "x-json") => {
                Kind::Json
            }
            (
                "application" | "text",
                "x-ndjson" | "ndjson" | "jsonl" | "x-jsonl" | "jsonlines" | "x-jsonlines"
                | "json-lines" | "json-seq" | "stream+json" | "x-json-stream",
            ) => Kind::Ndjson,
            (_, s) if s.ends_with("+json-seq") => Kind::Ndjson,
            (_, s) if s.ends_with("+json") => Kind::Json,
            ("text", "event-stream") => Kind::EventStream,
            ("application", "x-www-form-urlencoded") => Kind::Form,
            ("multipart", _) => match boundary(value) {
                Some(boundary) => Kind::Multipart { boundary },
                None => Kind::Text,
            },
            ("text" | "message", _) | ("image", "svg+xml") => Kind::Text,
            (_, s) if s.ends_with("+xml") || s.ends_with("+yaml") || s.ends_with("+text") => {
                Kind::Text
            }
            ("image" | "audio" | "video" | "font" | "model", _) => Kind::Binary,
            ("application", s) if is_binary(s) => Kind::Binary,
            ("application", s) if is_text(s) => Kind::Text,
            _ => Kind::Unknown,
        }
    }
}

impl Charset {
    /// The charset that a Content-Type value names; ASCII where it names none.
    #[must_use]
    pub fn of(content_type: Option<&str>) -> Charset {
        let Some(value) = content_type.filter(|v| v.len() <= MAX_CONTENT_TYPE) else {
            return Charset::Ascii;
        };
        let Some(name) = parameter(value, "charset") else { return Charset::Ascii };
        let name = String::from_utf8_lossy(&name).to_ascii_lowercase();
        const FAMILIES: [&str; 16] = [
            "utf-8",
            "utf8",
            "us-ascii",
            "ascii",
            "iso-8859-",
            "iso8859-",
            "iso_8859-",
            "latin",
            "windows-125",
            "cp125",
            "koi8-",
            "gb",
            "big5",
            "euc-",
            "shift",
            "windows-874",
        ];
        match name.as_str() {
            "utf-16" | "utf16" | "ucs-2" | "iso-10646-ucs-2" | "unicode" => Charset::Utf16,
            "utf-16be" | "utf16be" | "unicodefffe" => Charset::Utf16Be,
            "utf-16le" | "utf16le" => Charset::Utf16Le,
            "" | "sjis" | "windows-31j" | "ms_kanji" | "tis-620" | "macintosh" | "binary" => {
                Charset::Ascii
            }
            other if FAMILIES.iter().any(|f| other.starts_with(f)) => Charset::Ascii,
            _ => Charset::Refused,
        }
    }
}

/// Types of `application` that hold no text worth changing.
fn is_binary(subtype: &str) -> bool {
    const ENDS: [&str; 7] = ["+zip", "+gzip", "+zstd", "+cbor", "+cose", "+der", "+protobuf"];
    const TYPES: [&str; 28] = [
        "zip",
        "gzip",
        "x-gzip",
        "zstd",
        "x-bzip2",
        "x-xz",
        "x-7z-compressed",
        "x-tar",
        "vnd.rar",
        "x-rar-compressed",
        "java-archive",
        "wasm",
        "pdf",
        "x-protobuf",
        "protobuf",
        "vnd.google.protobuf",
        "cbor",
        "msgpack",
        "x-msgpack",
        "vnd.msgpack",
        "vnd.apache.parquet",
        "vnd.sqlite3",
        "x-executable",
        "pkcs8",
        "pkix-cert",
        "ogg",
        "mp4",
        "vnd.ms-fontobject",
    ];
    TYPES.contains(&subtype)
        || ENDS.iter().any(|e| subtype.ends_with(e))
        || ["grpc", "vnd.openxmlformats", "vnd.oasis", "vnd.ms-", "vnd.docker.image.rootfs"]
            .iter()
            .any(|s| subtype.starts_with(s))
}

fn is_text(subtype: &str) -> bool {
    const TYPES: [&str; 16] = [
        "xml",
        "javascript",
        "x-javascript",
        "ecmascript",
        "yaml",
        "x-yaml",
        "toml",
        "sql",
        "graphql",
        "x-sh",
        "rtf",
        "csv",
        "x-pem-file",
        "x-ldif",
        "jwt",
        "openmetrics-text",
    ];
    TYPES.contains(&subtype)
}

fn boundary(value: &str) -> Option<Vec<u8>> {
    parameter(value, "boundary").filter(|b| (1..=MAX_BOUNDARY).contains(&b.len()))
}

/// The first parameter of this name (RFC 9110 section 5.6.6), unquoted.
pub(crate) fn parameter(value: &str, name: &str) -> Option<Vec<u8>> {
    let bytes = value.as_bytes();
    let mut at = bytes.iter().position(|b| *b == b';')?;
    loop {
        // `at` is a semicolon.
        at += 1;
        let rest = bytes.get(at..)?;
        let end = rest.iter().position(|b| matches!(b, b'=' | b';'))?;
        let found = rest.get(..end)?.trim_ascii();
        at += end;
        if rest.get(end) == Some(&b';') {
            continue;
        }
        at += 1;
        let (text, behind) = parameter_value(bytes, at);
        if found.eq_ignore_ascii_case(name.as_bytes()) {
            return Some(text);
        }
        at = behind + bytes.get(behind..)?.iter().position(|b| *b == b';')?;
    }
}

/// A value that begins at `at`, and where it ends.
fn parameter_value(bytes: &[u8], mut at: usize) -> (Vec<u8>, usize) {
    let mut text = Vec::new();
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    if bytes.get(at) != Some(&b'"') {
        let rest = bytes.get(at..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == b';').unwrap_or(rest.len());
        text.extend_from_slice(rest.get(..end).unwrap_or_default().trim_ascii());
        return (text, at + end);
    }
    at += 1;
    while let Some(b) = bytes.get(at) {
        at += 1;
        match b {
            b'"' => break,
            b'\\' => {
                text.extend(bytes.get(at));
                at += 1;
            }
            b => text.push(*b),
        }
    }
    (text, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (value, kind) in [
            ("application/json", Kind::Json),
            ("Application/JSON ; charset=utf-8", Kind::Json),
            ("application/problem+json", Kind::Json),
            ("application/vnd.api+json;x=y", Kind::Json),
            ("application/x-ndjson", Kind::Ndjson),
            ("application/jsonl", Kind::Ndjson),
            ("application/json-seq", Kind::Ndjson),
            ("application/geo+json-seq", Kind::Ndjson),
            ("text/event-stream", Kind::EventStream),
            ("application/x-www-form-urlencoded", Kind::Form),
            ("text/html; charset=iso-8859-1", Kind::Text),
            ("application/soap+xml", Kind::Text),
            ("image/svg+xml", Kind::Text),
            ("image/png", Kind::Binary),
            ("application/grpc+proto", Kind::Binary),
            ("application/octet-stream", Kind::Unknown),
            ("application/x-something", Kind::Unknown),
            ("nonsense", Kind::Unknown),
            ("", Kind::Unknown),
            ("multipart/form-data", Kind::Text),
            ("multipart/form-data; boundary=\"\"", Kind::Text),
        ] {
            assert_eq!(Kind::of(Some(value)), kind, "{value}");
        }
        assert_eq!(Kind::of(None), Kind::Unknown);
        assert_eq!(
            Kind::of(Some(&format!("application/json;{}", "x".repeat(2000)))),
            Kind::Unknown
        );
    }

    #[test]
    fn boundaries() {
        for (value, boundary) in [
            ("multipart/form-data; boundary=abc", "abc"),
            ("multipart/form-data; Boundary = abc ; x=y", "abc"),
            ("multipart/mixed; x=\"; boundary=no\"; boundary=\"a \\\"b\"", "a \"b"),
            ("multipart/mixed; flag; boundary=q", "q"),
        ] {
            assert_eq!(
                Kind::of(Some(value)),
                Kind::Multipart { boundary: boundary.as_bytes().to_vec() },
                "{value}"
            );
        }
    }

    #[test]
    fn charsets() {
        let of = |name: &str| Charset::of(Some(&format!("text/plain; charset={name}")));
        for name in ["utf-8", "\"UTF-8\"", "latin1", "ISO-8859-15", "windows-1252", "gb18030"] {
            assert_eq!(of(name), Charset::Ascii, "{name}");
        }
        for name in ["utf-7", "utf-32", "cp037", "ibm1047", "iso-2022-jp", "hz-gb-2312", "x"] {
            assert_eq!(of(name), Charset::Refused, "{name}");
        }
        assert_eq!(of("utf-16"), Charset::Utf16);
        assert_eq!(of("UTF-16LE"), Charset::Utf16Le);
        assert_eq!(Charset::of(Some("text/plain")), Charset::Ascii);
    }
}
