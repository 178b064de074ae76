//! Which run of which agent a session or a statement belongs to: settings of the session, and
//! comments as sqlcommenter writes them.

use gate::Session;
use masking::{Outcome, Receipt, Sink};
use records::Trace;

/// The longest comment that is looked at, in bytes.
const MAX_COMMENT_BYTES: usize = 4096;
/// Most pairs of a comment.
const MAX_PAIRS: usize = 64;
/// What the settings of a session are called: `greffier.traceparent` …
const PREFIX: &str = "greffier.";

/// What is said of a run.
#[derive(Default)]
struct Said {
    parent: Option<String>,
    state: Option<String>,
    baggage: Option<String>,
}

impl Said {
    /// Takes a name and its value. False: it was there before, so nobody can tell which counts.
    fn take(&mut self, name: &str, value: String) -> bool {
        let place = match name {
            "traceparent" => &mut self.parent,
            "tracestate" => &mut self.state,
            "baggage" => &mut self.baggage,
            _ => return true,
        };
        place.replace(value).is_none()
    }

    fn read(self) -> Option<Trace<'static>> {
        Trace::read(&self.parent?, self.state.as_deref(), self.baggage.as_deref())
    }
}

/// Says which run a session belongs to, if its beginning says so.
pub(crate) fn tell(session: &Session, name: Option<&[u8]>, settings: &[(String, String)]) {
    let Some(trace) = of_session(name, settings) else { return };
    let masking = &session.target().masking;
    session.belongs_to(trace.masked(|text| {
        let (mut out, mut receipt) = (Vec::new(), Receipt::new());
        match masking.mask_text(Sink::Record, text.as_bytes(), &mut out, &mut receipt) {
            Outcome::Same => None,
            Outcome::Replaced => Some(String::from_utf8_lossy(&out).into_owned()),
        }
    }));
}

/// What a session's beginning says: the settings `greffier.traceparent`, `greffier.tracestate`
/// and `greffier.baggage` (of `options`, or parameters of their own), or an `application_name`
/// that is a `traceparent`, or has `traceparent=…` as a word of its own.
fn of_session(
    application_name: Option<&[u8]>,
    settings: &[(String, String)],
) -> Option<Trace<'static>> {
    let mut said = Said::default();
    for (name, value) in settings {
        // The server takes the last of two.
        let _twice = name.strip_prefix(PREFIX).map(|name| said.take(name, value.clone()));
    }
    said.read().or_else(|| {
        let name = std::str::from_utf8(application_name?).ok()?;
        let words = name.split([' ', ',', ';']);
        words
            .map(|it| it.strip_prefix("traceparent=").unwrap_or(it))
            .find_map(|parent| Trace::read(parent, None, None))
    })
}

/// What a statement's text says in a comment at its end, or at its beginning:
/// `/*traceparent='00-…'*/`. Anything but such a comment says nothing.
pub(crate) fn of_statement(sql: &[u8]) -> Option<Trace<'static>> {
    let blank = |it: &u8| it.is_ascii_whitespace() || *it == b';';
    let end = sql.iter().rposition(|it| !blank(it))? + 1;
    let text = sql.get(..end)?;
    let last = text.strip_suffix(b"*/").and_then(|text| {
        let near = text.get(text.len().saturating_sub(MAX_COMMENT_BYTES)..)?;
        let at = near.windows(2).rposition(|it| it == b"/*")?;
        pairs(near.get(at + 2..)?)
    });
    last.or_else(|| {
        let text = text.trim_ascii_start().strip_prefix(b"/*")?;
        let near = text.get(..MAX_COMMENT_BYTES).unwrap_or(text);
        let at = near.windows(2).position(|it| it == b"*/")?;
        pairs(near.get(..at)?)
    })
}

/// Reads `key='value',key='value'`; keys and values are percent-encoded.
fn pairs(comment: &[u8]) -> Option<Trace<'static>> {
    let mut rest = std::str::from_utf8(comment).ok()?.trim();
    let mut said = Said::default();
    for _ in 0..MAX_PAIRS {
        let (key, after) = rest.split_once("='")?;
        let (value, after) = quoted(after)?;
        if !said.take(&decoded(key.trim())?, decoded(&value)?) {
            return None;
        }
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return said.read(),
            None => return None,
        }
    }
    None
}

/// A value up to its quote, and what comes behind that. `\'` is a quote within.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// Percent-decoded; none if it is not well encoded, or no text.
fn decoded(text: &str) -> Option<String> {
    let (mut out, mut bytes) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
        out.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(out).ok()
}

/// As [`crate::fuzz_trace`].
pub(crate) fn fuzz(data: &[u8]) -> bool {
    let _named = of_session(Some(data), &[]);
    let Some(found) = of_statement(data) else { return true };
    let alone = format!("/*traceparent='00-{}-{}-01'*/", found.id, found.parent);
    of_statement(alone.as_bytes()).is_some_and(|it| it.id == found.id && it.parent == found.parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    fn id(sql: &str) -> Option<String> {
        of_statement(sql.as_bytes()).map(|it| it.id.into_owned())
    }

    #[test]
    fn a_comment_of_sqlcommenter_is_read() {
        let own = format!("/*traceparent='{PARENT}'*/");
        for sql in [
            format!("SELECT 1 {own}"),
            format!("SELECT 1{own};\n"),
            format!("{own} SELECT 1"),
            format!(" \n{own}SELECT '/*'"),
            format!("/* a note */ SELECT 1 /* and another */ {own}"),
            format!("SELECT 1 /*action='%2Fa',db_driver='x\\'y',traceparent='{PARENT}'*/"),
            format!("SELECT 1 /* traceparent='{PARENT}' , tracestate='a%3D1' */"),
        ] {
            assert_eq!(id(&sql).as_deref(), Some(ID), "{sql}");
        }
        let sql =
            format!("SELECT 1 /*baggage='run%3D7',traceparent='{PARENT}',tracestate='a%3D1'*/");
        let trace = of_statement(sql.as_bytes()).unwrap();
        assert_eq!(trace.state.as_deref(), Some("a=1"));
        assert_eq!(trace.baggage["run"], "7");
    }

    #[test]
    fn what_is_not_just_that_says_nothing() {
        for sql in [
            String::new(),
            "SELECT 1".into(),
            "/*".into(),
            "*/".into(),
            "/*/".into(),
            format!("SELECT '/*traceparent=''{PARENT}''*/'"),
            format!("SELECT 1 /*traceparent='{PARENT}'*/ + 1"),
            format!("SELECT 1 /*traceparent={PARENT}*/"),
            format!("SELECT 1 /*traceparent='{PARENT}*/"),
            format!("SELECT 1 /*traceparent='{PARENT}' x*/"),
            format!("SELECT 1 /*traceparent='{PARENT}',*/"),
            format!("SELECT 1 /*traceparent='{PARENT}',traceparent='{PARENT}'*/"),
            format!("SELECT 1 /*traceparent='{}'*/", PARENT.to_uppercase()),
            format!("SELECT 1 /*a='%zz',traceparent='{PARENT}'*/"),
            format!("SELECT 1 /*a='{}',traceparent='{PARENT}'*/", "x".repeat(MAX_COMMENT_BYTES)),
            format!("SELECT 1 /*{}traceparent='{PARENT}'*/", "a='1',".repeat(MAX_PAIRS)),
        ] {
            assert_eq!(id(&sql), None, "{sql}");
        }
    }

    #[test]
    fn a_session_says_it_by_its_settings_or_its_name() {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let all = [setting("greffier.traceparent", PARENT), setting("greffier.baggage", "run=7")];
        let trace = of_session(Some(b"psql"), &all).unwrap();
        assert_eq!((&*trace.id, &*trace.baggage["run"]), (ID, "7"));
        for name in [PARENT.to_owned(), format!("agent traceparent={PARENT}")] {
            let trace = of_session(Some(name.as_bytes()), &[]).unwrap();
            assert_eq!(trace.id, ID, "{name}");
        }
        for name in [format!("x{PARENT}"), format!("{PARENT}x"), "psql".into()] {
            assert_eq!(of_session(Some(name.as_bytes()), &all[1..]), None, "{name}");
        }
        assert_eq!(of_session(None, &[]), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[-/*='\\\\%,; a0]{0,60}") {
            let _ = of_statement(text.as_bytes());
            let _ = of_statement(format!("{text}/*traceparent='{PARENT}{text}'*/").as_bytes());
        }
    }
}
