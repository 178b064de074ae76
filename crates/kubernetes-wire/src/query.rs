//! Query strings, as Go's `net/url` reads them where all readers agree, else refused.

use crate::attributes::AttributesError;

/// The longest query read, bytes. `kubectl exec` puts the whole command there.
pub const MAX_QUERY_BYTES: usize = 128 << 10;
/// The most parameters of a query. Each word of a command is one.
pub const MAX_PARAMETERS: usize = 8192;

/// The parameters of a request, decoded, in the order they came.
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, AttributesError> {
        let query = query.unwrap_or_default();
        if query.len() > MAX_QUERY_BYTES {
            return Err(AttributesError::TooLong { what: "query", most: MAX_QUERY_BYTES });
        }
        if !query.bytes().all(|it| it.is_ascii_graphic() && it != b'#') {
            return Err(AttributesError::Character { what: "query" });
        }
        if query.contains(';') {
            return Err(AttributesError::Semicolon);
        }
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|it| !it.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(AttributesError::TooMany { most: MAX_PARAMETERS });
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((unescape(key, "query", true)?, unescape(value, "query", true)?));
        }
        Ok(Self { pairs })
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(it, _)| it == key).map(|(_, value)| value.as_str())
    }

    /// The first value: the one that Kubernetes takes.
    pub(crate) fn first(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(it, _)| it == key).map(|(_, value)| value.as_str())
    }

    /// A flag (apimachinery's `Convert_Slice_string_To_bool`): false if it is not there, `0` or
    /// `false` in any case; true for all else, even for no value.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.first(key).is_some_and(|it| it != "0" && !it.eq_ignore_ascii_case("false"))
    }

    /// Refuses parameters of these names that come with more than one value.
    pub(crate) fn check_single(&self, names: &[&'static str]) -> Result<(), AttributesError> {
        for &name in names {
            let mut values = self.all(name);
            if let Some(first) = values.next()
                && values.any(|it| it != first)
            {
                return Err(AttributesError::TwoValues { name });
            }
        }
        Ok(())
    }
}

/// Decodes percent escapes, and `+` as a space if `plus` (queries only).
pub(crate) fn unescape(
    text: &str,
    what: &'static str,
    plus: bool,
) -> Result<String, AttributesError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|it| char::from(it).to_digit(16));
                let (high, low) = (digit(), digit());
                match (high, low) {
                    (Some(high), Some(low)) => u8::try_from(high << 4 | low).unwrap_or_default(),
                    _ => return Err(AttributesError::Escape { what }),
                }
            }
            b'+' if plus => b' ',
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| AttributesError::NotUtf8 { what })
}

/// The value that a field selector requires of `metadata.name`, if it is one that Kubernetes can
/// read (apimachinery's `fields.ParseSelector` and `RequiresExactMatch`). `Err` if it can't.
pub(crate) fn required_name(selector: &str) -> Result<Option<String>, ()> {
    let mut terms = split_terms(selector);
    // They are sorted there too: of two terms on the name, the one that sorts first counts.
    terms.sort_unstable();
    let mut found = None;
    for term in terms.iter().filter(|it| !it.is_empty()) {
        let (field, value) = term.split_once('=').ok_or(())?;
        // `!=` is found where it begins, before the `=` in it.
        let (field, not) = match field.strip_suffix('!') {
            Some(field) => (field, true),
            None => (field, false),
        };
        let value = if not { value } else { value.strip_prefix('=').unwrap_or(value) };
        let value = unescape_value(value)?;
        if field == "metadata.name" && !not && found.is_none() {
            found = Some(value);
        }
    }
    Ok(found)
}

/// Terms between commas that no backslash precedes.
fn split_terms(selector: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut term = String::new();
    let mut escaped = false;
    for it in selector.chars() {
        match it {
            ',' if !escaped => {
                terms.push(std::mem::take(&mut term));
                continue;
            }
            _ => escaped = !escaped && it == '\\',
        }
        term.push(it);
    }
    terms.push(term);
    terms
}

fn unescape_value(value: &str) -> Result<String, ()> {
    let mut out = String::new();
    let mut rest = value.chars();
    while let Some(it) = rest.next() {
        out.push(match it {
            '\\' => rest.next().filter(|it| matches!(it, '\\' | ',' | '=')).ok_or(())?,
            ',' | '=' => return Err(()),
            other => other,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_go_does() {
        let query = Query::parse(Some("a=1+2&&b%3d=%2B&c&=d&a=3")).unwrap();
        assert_eq!(query.first("a"), Some("1 2"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1 2", "3"]);
        assert_eq!(query.first("b="), Some("+"));
        assert_eq!(query.first("c"), Some(""));
        assert_eq!(query.first(""), Some("d"));
        for bad in ["a=%", "a=%2", "a=%zz", "%=", "a=%e4", "a;b", "a=\u{e4}", "a b", "a=b#c"] {
            assert!(Query::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_are_true_unless_they_say_no() {
        for (query, want) in [
            ("w", true),
            ("w=", true),
            ("w=1", true),
            ("w=no", true),
            ("w=0", false),
            ("w=FALSE", false),
            ("w=00", true),
            ("W=1", false),
            ("", false),
        ] {
            assert_eq!(Query::parse(Some(query)).unwrap().flag("w"), want, "{query}");
        }
    }

    #[test]
    fn names_by_field_selectors() {
        for (selector, want) in [
            ("metadata.name=a", Ok(Some("a"))),
            ("metadata.name==a", Ok(Some("a"))),
            ("metadata.name!=a", Ok(None)),
            ("spec.nodeName=n,metadata.name=a", Ok(Some("a"))),
            ("metadata.name=b,metadata.name=a", Ok(Some("a"))),
            (r"metadata.name=a\,b", Ok(Some("a,b"))),
            (r"metadata.name=a\=b\\", Ok(Some(r"a=b\"))),
            ("metadata.name=", Ok(Some(""))),
            (",", Ok(None)),
            ("", Ok(None)),
            (" metadata.name=a", Ok(None)),
            ("metadata.name=a=b", Err(())),
            ("metadata.name===a", Err(())),
            (r"metadata.name=a\b", Err(())),
            (r"metadata.name=a\", Err(())),
            ("metadata.name", Err(())),
        ] {
            let want = want.map(|it| it.map(str::to_owned));
            assert_eq!(required_name(selector), want, "{selector}");
        }
    }
}
