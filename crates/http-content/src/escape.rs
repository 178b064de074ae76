//! Text inside other text: JSON's escapes, and percent signs.

use base64::Engine as _;
use memchr::{memchr, memchr2};

/// One thing that stands for up to four bytes.
pub(crate) struct Unit {
    /// How many bytes it is written with.
    pub(crate) raw: usize,
    bytes: [u8; 4],
    /// How many bytes it stands for.
    pub(crate) stands_for: usize,
}

impl Unit {
    fn byte(raw: usize, byte: u8) -> Self {
        Self { raw, bytes: [byte, 0, 0, 0], stands_for: 1 }
    }

    fn char(raw: usize, c: char) -> Self {
        let mut bytes = [0; 4];
        let stands_for = c.encode_utf8(&mut bytes).len();
        Self { raw, bytes, stands_for }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.stands_for).unwrap_or_default()
    }
}

/// A way to write text.
pub(crate) trait Writing {
    /// Where the first byte stands that doesn't stand for itself.
    fn special(raw: &[u8]) -> Option<usize>;
    /// What begins at a special byte; `None`: its end has not come.
    fn unit(raw: &[u8], last: bool) -> Option<Unit>;
    /// Writes text so.
    fn write(text: &[u8], out: &mut Vec<u8>);
}

/// Decodes a whole text.
pub(crate) fn decode<W: Writing>(mut raw: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = W::special(raw) {
        out.extend_from_slice(raw.get(..at).unwrap_or_default());
        let rest = raw.get(at..).unwrap_or_default();
        let Some(unit) = W::unit(rest, true) else { break };
        out.extend_from_slice(unit.bytes());
        raw = rest.get(unit.raw..).unwrap_or_default();
    }
    out.extend_from_slice(raw);
}

/// A JSON string's inside (RFC 8259 section 7). Lenient: an unknown escape
/// stands for its letter, half a surrogate pair for U+FFFD.
pub(crate) struct JsonText;

impl Writing for JsonText {
    fn special(raw: &[u8]) -> Option<usize> {
        memchr(b'\\', raw)
    }

    fn unit(raw: &[u8], last: bool) -> Option<Unit> {
        let whole = |n: usize| raw.len() >= n || last;
        let Some(letter) = raw.get(1) else {
            return last.then(|| Unit::byte(1, b'\\'));
        };
        Some(match letter {
            b'b' => Unit::byte(2, 8),
            b'f' => Unit::byte(2, 12),
            b'n' => Unit::byte(2, b'\n'),
            b'r' => Unit::byte(2, b'\r'),
            b't' => Unit::byte(2, b'\t'),
            b'u' => {
                if !whole(6) {
                    return None;
                }
                let Some(code) = hex4(raw.get(2..6)) else { return Some(Unit::byte(2, b'u')) };
                if !(0xD800..0xDC00).contains(&code) {
                    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    return Some(Unit::char(6, c));
                }
                if raw.get(6).is_some_and(|b| *b != b'\\') || raw.get(7).is_some_and(|b| *b != b'u')
                {
                    return Some(Unit::char(6, char::REPLACEMENT_CHARACTER));
                }
                if !whole(12) {
                    return None;
                }
                let low = raw.get(6..8).filter(|x| *x == b"\\u").and(hex4(raw.get(8..12)));
                match low.map(|low| low.wrapping_sub(0xDC00)).filter(|low| *low < 0x400) {
                    Some(low) => {
                        let code = 0x10000 + ((code - 0xD800) << 10) + low;
                        let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                        Unit::char(12, c)
                    }
                    None => Unit::char(6, char::REPLACEMENT_CHARACTER),
                }
            }
            other => Unit::byte(2, *other),
        })
    }

    fn write(text: &[u8], out: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for b in text {
            match b {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', *b]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..=0x1F => {
                    out.extend_from_slice(b"\\u00");
                    out.extend(HEX.get(usize::from(b >> 4)));
                    out.extend(HEX.get(usize::from(b & 15)));
                }
                b => out.push(*b),
            }
        }
    }
}

fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    let mut code = 0;
    for d in digits? {
        code = code << 4 | char::from(*d).to_digit(16)?;
    }
    Some(code)
}

/// Base64 inside a JSON string (RFC 4648 sections 4 and 5; lines as in MIME):
/// four letters are a unit. What is no base64 stands for itself, and the next
/// four letters begin behind it; so `data:` URLs are read too.
pub(crate) struct JsonBase64;

impl Writing for JsonBase64 {
    fn special(raw: &[u8]) -> Option<usize> {
        (!raw.is_empty()).then_some(0)
    }

    fn unit(raw: &[u8], last: bool) -> Option<Unit> {
        let (mut at, mut letters, mut bits) = (0, 0, 0u32);
        while letters < 4 {
            let rest = raw.get(at..).unwrap_or_default();
            let (n, b) = match rest.first() {
                None if last => break,
                None => return None,
                Some(b'\\') => {
                    let unit = JsonText::unit(rest, last)?;
                    // Of what is more than one byte, none is base64.
                    (unit.raw, unit.bytes().first().copied().filter(|_| unit.stands_for == 1))
                }
                Some(b) => (1, Some(*b)),
            };
            match b {
                // No unit stands for nothing, so a line's end goes with what follows.
                Some(b'\n' | b'\r') if at + n < MAX_LINES => at += n,
                b => match b.and_then(sextet) {
                    Some(six) => {
                        bits = bits << 6 | six;
                        letters += 1;
                        at += n;
                    }
                    None if letters == 0 => {
                        return Some(Unit::byte(at + n, b.unwrap_or(b'?')));
                    }
                    None => break,
                },
            }
        }
        let bytes = (bits << (6 * (4 - letters)) << 8).to_be_bytes();
        let bytes = [bytes.first(), bytes.get(1), bytes.get(2), None].map(|b| *b.unwrap_or(&0));
        Some(match letters {
            0 => Unit::byte(at, b'\n'),
            1 => Unit::byte(at, b'?'),
            n => Unit { raw: at, bytes, stands_for: n - 1 },
        })
    }

    fn write(text: &[u8], out: &mut Vec<u8>) {
        // Blanks fill it up: base64 may go on behind it, so it must not be padded.
        let mut whole = text.to_vec();
        whole.resize(text.len().div_ceil(3) * 3, b' ');
        let coded = base64::engine::general_purpose::STANDARD.encode(&whole);
        out.extend_from_slice(coded.as_bytes());
    }
}

/// Most line ends before a unit, in bytes as written.
const MAX_LINES: usize = 64;

fn sextet(b: u8) -> Option<u32> {
    Some(u32::from(match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}

/// A form's name or value (WHATWG URL, section 5.1). A percent sign without
/// two hex digits stands for itself.
pub(crate) struct FormText;

impl Writing for FormText {
    fn special(raw: &[u8]) -> Option<usize> {
        memchr2(b'%', b'+', raw)
    }

    fn unit(raw: &[u8], last: bool) -> Option<Unit> {
        if raw.first() == Some(&b'+') {
            return Some(Unit::byte(1, b' '));
        }
        percent(raw, last)
    }

    fn write(text: &[u8], out: &mut Vec<u8>) {
        for b in text {
            match b {
                b' ' => out.push(b'+'),
                b if b.is_ascii_alphanumeric() || b"*-._".contains(b) => out.push(*b),
                b => write_percent(*b, out),
            }
        }
    }
}

/// A part of a URL (RFC 3986 section 2.1); `+` stands for itself.
pub(crate) struct UrlText;

impl Writing for UrlText {
    fn special(raw: &[u8]) -> Option<usize> {
        memchr(b'%', raw)
    }

    fn unit(raw: &[u8], last: bool) -> Option<Unit> {
        percent(raw, last)
    }

    fn write(text: &[u8], out: &mut Vec<u8>) {
        for b in text {
            // What masks are made of, and what may stand in a path segment.
            if b.is_ascii_alphanumeric() || b"-._~*!$'(),;:@<>".contains(b) {
                out.push(*b);
            } else {
                write_percent(*b, out);
            }
        }
    }
}

fn percent(raw: &[u8], last: bool) -> Option<Unit> {
    let digit = |i: usize| raw.get(i).map(|d| char::from(*d).to_digit(16));
    let (high, low) = (digit(1), digit(2));
    Some(match (high, low) {
        (Some(Some(high)), Some(Some(low))) => {
            Unit::byte(3, u8::try_from(high << 4 | low).unwrap_or(b'%'))
        }
        (Some(Some(_)), None) | (None, _) if !last => return None,
        _ => Unit::byte(1, b'%'),
    })
}

fn write_percent(b: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'%');
    out.extend(HEX.get(usize::from(b >> 4)));
    out.extend(HEX.get(usize::from(b & 15)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(raw: &str) -> String {
        let mut out = Vec::new();
        decode::<JsonText>(raw.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_escapes() {
        for (raw, text) in [
            ("", ""),
            ("plain é", "plain é"),
            (r"\u0034\u0031\/", "41/"),
            (r#"\"\\\b\f\n\r\t"#, "\"\\\u{8}\u{c}\n\r\t"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83d", "\u{FFFD}"),
            (r"\ud83dx", "\u{FFFD}x"),
            (r"\ud83d\n", "\u{FFFD}\n"),
            (r"\ud83d\u0041", "\u{FFFD}A"),
            (r"\ude00", "\u{FFFD}"),
            (r"\u12", "u12"),
            (r"\q\", r"q\"),
        ] {
            assert_eq!(json(raw), text, "{raw}");
        }
    }

    #[test]
    fn json_is_written_as_it_is_read() {
        let text: Vec<u8> = (0..=127).collect();
        let mut raw = Vec::new();
        JsonText::write(&text, &mut raw);
        let quoted = [b"\"", raw.as_slice(), b"\""].concat();
        let read: String = serde_json::from_slice(&quoted).unwrap();
        assert_eq!(read.as_bytes(), text);
        let mut back = Vec::new();
        decode::<JsonText>(&raw, &mut back);
        assert_eq!(back, text);
    }

    #[test]
    fn base64_in_json() {
        for (raw, text) in [
            ("aGVsbG8gd29ybGQ=", &b"hello world="[..]),
            ("aGVs\\nbG8\\/", b"hello?"),
            ("aGVs\nbG8h", b"hello!"),
            ("data:x;base64,aGVs", b"u\xab\x5a:?;m\xab\x1e\xeb,hel"),
            ("\\u0061GVs-_-_", b"hel\xfb\xff\xbf"),
            ("aGVsb", b"hel?"),
            ("\n\n", b"\n"),
            ("", b""),
        ] {
            let mut out = Vec::new();
            decode::<JsonBase64>(raw.as_bytes(), &mut out);
            assert_eq!(out, text, "{raw}");
        }
        let mut out = Vec::new();
        JsonBase64::write(b"<IP>", &mut out);
        assert_eq!(out, b"PElQPiAg");
    }

    #[test]
    fn form_text() {
        for (raw, text) in [
            ("a+b%20c", "a b c"),
            ("%34%3a", "4:"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("100%", "100%"),
        ] {
            let mut out = Vec::new();
            decode::<FormText>(raw.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes(), "{raw}");
        }
        let mut out = Vec::new();
        FormText::write("a b&c=<é>".as_bytes(), &mut out);
        assert_eq!(out, b"a+b%26c%3D%3C%C3%A9%3E");
    }
}
