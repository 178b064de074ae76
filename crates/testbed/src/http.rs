//! Just enough blocking HTTP/1.1 to ask a test's server something: one
//! request a connection, loopback only, no TLS.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::Error;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// How long a read may wait.
const READ_LIMIT: Duration = Duration::from_secs(20);

/// An answer's status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The body, decoded from chunks if it came so.
    pub body: String,
}

/// GETs `url` (`http://127.0.0.1:port/path`).
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub fn get(url: &str) -> Result<HttpAnswer, Error> {
    request(url, "GET", "", "")
}

/// POSTs a form to `url`, as client `login` (id, secret) when given.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub fn post_form(
    url: &str,
    login: Option<(&str, &str)>,
    form: &[(&str, &str)],
) -> Result<HttpAnswer, Error> {
    let mut fields: Vec<String> = Vec::new();
    for (name, value) in form {
        fields.push(format!("{}={}", encode(name), encode(value)));
    }
    let mut headers = "Content-Type: application/x-www-form-urlencoded\r\n".to_owned();
    if let Some((id, secret)) = login {
        let pair = base64(format!("{}:{}", encode(id), encode(secret)).as_bytes());
        headers.push_str(&format!("Authorization: Basic {pair}\r\n"));
    }
    request(url, "POST", &headers, &fields.join("&"))
}

fn request(url: &str, method: &str, headers: &str, body: &str) -> Result<HttpAnswer, Error> {
    let what = format!("{method} {url}");
    let fail = |e| Error::failed(what.clone(), e);
    let not_http = || Error::failed(what.clone(), "not an HTTP URL or answer");
    let rest = url.strip_prefix("http://").ok_or_else(not_http)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).map_err(fail)?;
    stream.set_read_timeout(Some(READ_LIMIT)).map_err(fail)?;
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: */*\r\n\
         Content-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).map_err(fail)?;
    let mut raw = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut raw).map_err(fail)?;
    let text = String::from_utf8_lossy(&raw).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(not_http)?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Ok(HttpAnswer { status, body })
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let (Some(chunk), true) = (rest.get(..size), size > 0) else { break };
        whole.push_str(chunk);
        body = rest.get(size..).and_then(|r| r.strip_prefix("\r\n")).unwrap_or_default();
    }
    whole
}

pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |w, b| (w << 8) | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let six = (word >> (18 - 6 * i)) & 63;
            let letter = ALPHABET.get(six as usize).copied().unwrap_or(b'=');
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_rfc_4648_section_10_says() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(unchunk("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "abcde");
    }
}
