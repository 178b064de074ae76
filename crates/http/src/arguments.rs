//! What rules can look at of a request beside its method and path: `query.NAME`, `field.NAME`,
//! and of a short body `body.NAME`.

use http::header::{self, HeaderMap};
use mcp_wire::{Fields, flatten, json};

/// Most parameters of a query or a form that are looked at; of a request with more, all are taken
/// for unread.
const MAX_PARAMETERS: usize = 256;

/// A request's arguments, as rules name them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) all: Vec<(String, String)>,
    /// How the names begin of those that may be there and could not be read.
    pub(crate) unread: Vec<String>,
}

impl Arguments {
    /// Of a request. `body` is what of it was read before it is judged; none: it was not.
    pub(crate) fn of(fields: &HeaderMap, query: Option<&str>, body: Option<&[u8]>) -> Self {
        let mut own = Arguments::default();
        for (name, value) in fields {
            let name = format!("field.{name}");
            match value.to_str() {
                Ok(value) => own.all.push((name, value.to_owned())),
                Err(_) => own.unread.push(name),
            }
        }
        own.pairs("query", query.unwrap_or_default().as_bytes());
        match body {
            None => own.unread.push("body.".to_owned()),
            Some([]) => {}
            Some(body) => own.body(fields, body),
        }
        own
    }

    /// A body is read as what it says it is; what is none of that is not read.
    fn body(&mut self, fields: &HeaderMap, body: &[u8]) {
        let media = fields.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let word = media.and_then(|it| it.split(';').next()).unwrap_or_default().trim();
        let is = |known: &str| word.eq_ignore_ascii_case(known);
        let coded = fields.contains_key(header::CONTENT_ENCODING);
        if !coded && is("application/x-www-form-urlencoded") {
            return self.pairs("body", body);
        }
        let json = is("application/json") || word.to_ascii_lowercase().ends_with("+json");
        let tree = (json && !coded).then(|| json::parse(body, json::Limits::default()));
        match tree {
            Some(Ok(tree)) => {
                let Fields { fields, unread } = flatten("body", &tree);
                self.all.extend(fields.into_iter().map(|it| (it.name, it.value.to_owned())));
                self.unread.extend(unread);
            }
            _ => self.unread.push("body.".to_owned()),
        }
    }

    /// Names and values as forms and queries have them (WHATWG URL, 5.1).
    fn pairs(&mut self, prefix: &str, text: &[u8]) {
        let pairs = text.split(|it| *it == b'&').filter(|it| !it.is_empty());
        for (count, pair) in pairs.enumerate() {
            let mut parts = pair.splitn(2, |it| *it == b'=');
            let mut part = || String::from_utf8(decoded(parts.next().unwrap_or_default()));
            match (part(), part()) {
                (Ok(name), Ok(value)) if count < MAX_PARAMETERS => {
                    self.all.push((format!("{prefix}.{name}"), value));
                }
                _ => {
                    self.unread.push(format!("{prefix}."));
                    return;
                }
            }
        }
    }
}

/// What a form's text stands for. A percent sign that begins nothing stays.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text;
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        let hex = |at: usize| {
            let digit = rest.get(at).and_then(|it| char::from(*it).to_digit(16));
            digit.and_then(|it| u8::try_from(it).ok())
        };
        match (byte, hex(0), hex(1)) {
            (b'+', _, _) => out.push(b' '),
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                bytes = rest.get(2..).unwrap_or_default();
            }
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(media: &'static str, query: &str, body: Option<&str>) -> Arguments {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        let mut all = Arguments::of(&fields, Some(query), body.map(str::as_bytes));
        all.all.retain(|(name, _)| name != "field.content-type");
        all
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn queries_forms_and_json_are_read() {
        let query = of("", "a=1&b%20c=%2Fx+y&a=&&d&%=%zz", Some(""));
        let wanted = [
            ("query.a", "1"),
            ("query.b c", "/x y"),
            ("query.a", ""),
            ("query.d", ""),
            ("query.%", "%zz"),
        ];
        assert_eq!(query, Arguments { all: pairs(&wanted), unread: vec![] });
        let form = of("application/x-www-form-urlencoded; charset=utf-8", "", Some("n=%34"));
        assert_eq!(form.all, pairs(&[("body.n", "4")]));
        let json = of("application/problem+json", "", Some(r#"{"a":{"b":[1,"x"]}}"#));
        assert_eq!(json.all, pairs(&[("body.a.b", "1"), ("body.a.b", "x")]));
    }

    #[test]
    fn what_is_not_sure_is_unread() {
        let unread = |media, body| of(media, "", body).unread;
        assert_eq!(unread("application/json", None), ["body."]);
        assert_eq!(unread("application/json", Some(r#"{"a":1,"a":2}"#)), ["body."]);
        assert_eq!(unread("text/plain", Some("x")), ["body."]);
        assert_eq!(of("", "%ff=1", Some("")).unread, ["query."]);
        assert_eq!(of("", &"a&".repeat(MAX_PARAMETERS + 1), Some("")).unread, ["query."]);
    }
}
