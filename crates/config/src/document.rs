//! The file as a tree that remembers where everything stands.

use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::problem::{Problem, did_you_mean};

/// What is said of a key that must be there.
const MISSING: &str = "is missing";
/// Most mistakes reported at once.
const MAX_PROBLEMS: usize = 200;

pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// A parsed file, and what was found wrong with it so far.
pub(crate) struct Document<'t> {
    text: &'t str,
    root: DeTable<'t>,
    found: Vec<(usize, String, String)>,
}

impl<'t> Document<'t> {
    /// Reads the text. What is no TOML is noted as problems.
    pub(crate) fn parse(text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut document = Document { text, root: root.into_inner(), found: Vec::new() };
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            document.found.push((at, String::new(), error.message().to_owned()));
        }
        document
    }

    /// Notes a mistake at a path; the message begins in lower case.
    pub(crate) fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let path = path.into();
        let at = locate(&self.root, &path, 0);
        self.found.push((at, path, message.into()));
    }

    /// How many mistakes there are so far.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// Every mistake, in the order of the file.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.found.sort();
        self.found.dedup();
        self.found.truncate(MAX_PROBLEMS);
        let place = |(at, path, message): (usize, String, String)| {
            let before = self.text.get(..at).unwrap_or(self.text);
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
            let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
            Problem { line, column, path, message }
        };
        self.found.into_iter().map(place).collect()
    }

    /// The names at the top of the file.
    pub(crate) fn names(&self) -> Vec<String> {
        self.root.keys().map(|key| key.get_ref().to_string()).collect()
    }

    /// A copy of what stands under a name at the top of the file.
    pub(crate) fn top(&self, name: &str) -> Option<Value<'t>> {
        self.root.get(name).cloned()
    }

    /// The tables under a name at the top of the file, by name.
    pub(crate) fn tables(&mut self, name: &str) -> Vec<(String, Value<'t>)> {
        match self.top(name).map(Spanned::into_inner) {
            None => Vec::new(),
            Some(DeValue::Table(tables)) => {
                tables.into_iter().map(|(key, value)| (key.into_inner().into(), value)).collect()
            }
            Some(_) => {
                self.problem(name, format!("must be tables: write [{name}.some-name]"));
                Vec::new()
            }
        }
    }

    /// The members of a list of tables at the top of the file.
    pub(crate) fn list(&mut self, name: &str) -> Vec<Value<'t>> {
        match self.top(name).map(Spanned::into_inner) {
            None => Vec::new(),
            Some(DeValue::Array(members)) => members.into_iter().collect(),
            Some(_) => {
                self.problem(name, format!("must be a list of tables: write [[{name}]]"));
                Vec::new()
            }
        }
    }

    /// Notes which of these keys a table lacks.
    pub(crate) fn require(&mut self, path: &str, value: &Value<'_>, keys: &[&str]) {
        let DeValue::Table(table) = value.get_ref() else { return };
        for key in keys.iter().filter(|key| !table.contains_key(**key)) {
            self.problem(format!("{path}.{key}"), MISSING);
        }
    }

    /// The same for every table of a list under a key of a table.
    pub(crate) fn require_each(
        &mut self,
        path: &str,
        value: &Value<'_>,
        list: &str,
        keys: &[&str],
    ) {
        let DeValue::Table(table) = value.get_ref() else { return };
        let Some(DeValue::Array(members)) = table.get(list).map(Spanned::get_ref) else { return };
        for (at, member) in members.iter().enumerate() {
            self.require(&format!("{path}.{list}[{at}]"), member, keys);
        }
    }

    /// Reads a section. Every mistake in it is noted, not only the first: what is wrong is taken
    /// out and the rest read again. `None` if there was any.
    pub(crate) fn read<T: DeserializeOwned>(
        &mut self,
        path: &str,
        mut value: Value<'t>,
    ) -> Option<T> {
        let before = self.count();
        while self.count() - before < MAX_PROBLEMS {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(read) => return (self.count() == before).then_some(read),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| value.span());
            let (at, path) = match path_of(&self.root, &span, "") {
                Some(found) => found,
                None => (span.start, path.to_owned()),
            };
            let (path, message) = translate(path, error.message());
            // What was taken out for a mistake of its own is not missing.
            let told = message == MISSING && self.found.iter().any(|(_, told, _)| *told == path);
            if !told {
                self.found.push((at, path, message));
            }
            if !prune(value.get_mut(), &span) {
                break;
            }
        }
        None
    }
}

/// The place of a path, or of as much of it as there is.
fn locate(table: &DeTable<'_>, path: &str, mut at: usize) -> usize {
    for (key, value) in table {
        let Some(rest) = path.strip_prefix(key.get_ref().as_ref()) else { continue };
        if rest.is_empty() {
            return key.span().start;
        }
        if rest.starts_with(['.', '[']) {
            at = key.span().start;
            if let Some(deeper) = inside(value, rest, at) {
                return deeper;
            }
        }
    }
    at
}

fn inside(value: &Value<'_>, rest: &str, at: usize) -> Option<usize> {
    if let Some(path) = rest.strip_prefix('.') {
        let DeValue::Table(table) = value.get_ref() else { return None };
        return Some(locate(table, path, at));
    }
    let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
    let DeValue::Array(members) = value.get_ref() else { return None };
    let member = members.get(index.parse::<usize>().ok()?)?;
    let at = member.span().start;
    if rest.is_empty() { Some(at) } else { inside(member, rest, at).or(Some(at)) }
}

/// The path of what stands at a span: of a key, or of a value.
fn path_of(table: &DeTable<'_>, span: &Range<usize>, above: &str) -> Option<(usize, String)> {
    table.iter().find_map(|(key, value)| {
        let dot = if above.is_empty() { "" } else { "." };
        let path = format!("{above}{dot}{}", key.get_ref());
        if key.span() == *span {
            return Some((span.start, path));
        }
        path_in(value, span, path)
    })
}

fn path_in(value: &Value<'_>, span: &Range<usize>, path: String) -> Option<(usize, String)> {
    let deeper = match value.get_ref() {
        DeValue::Table(table) => path_of(table, span, &path),
        DeValue::Array(members) => members
            .iter()
            .enumerate()
            .find_map(|(at, member)| path_in(member, span, format!("{path}[{at}]"))),
        _ => None,
    };
    deeper.or_else(|| (value.span() == *span).then_some((span.start, path)))
}

/// Takes out what stands at a span. False if nothing does, or if it is the whole.
fn prune(value: &mut DeValue<'_>, span: &Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => {
            let hit =
                table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
            if let Some(name) = hit.map(|(key, _)| key.get_ref().to_string()) {
                // A table that holds more is searched first: a header's span may be shared.
                if let Some(inner) = table.get_mut(name.as_str())
                    && prune(inner.get_mut(), span)
                {
                    return true;
                }
                return table.remove(name.as_str()).is_some();
            }
            table.iter_mut().any(|(_, inner)| prune(inner.get_mut(), span))
        }
        DeValue::Array(members) => {
            let hit = members.iter().any(|member| member.span() == *span);
            if hit {
                *members = members.iter().filter(|m| m.span() != *span).cloned().collect();
            }
            hit || members.iter_mut().any(|member| prune(member.get_mut(), span))
        }
        _ => false,
    }
}

/// A message of the deserialiser in the words of this crate. A value is never repeated, for
/// somebody may have put a secret where it does not belong.
fn translate(path: String, message: &str) -> (String, String) {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (first, known) = quoted.split_first().map_or(("", &[][..]), |(f, rest)| (*f, rest));
    if message.starts_with("missing field") {
        let path = if path.is_empty() { first.to_owned() } else { format!("{path}.{first}") };
        return (path, MISSING.to_owned());
    }
    if message.starts_with("unknown field") {
        return (path, crate::problem::unknown("key", first, known));
    }
    if message.starts_with("unknown variant") {
        let meant = did_you_mean(first, known.iter().copied());
        let hint = meant.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
        return (path, format!("must be one of {}{hint}", known.join(", ")));
    }
    for prefix in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(prefix) {
            let wanted = rest.rsplit_once(", expected ").map_or("something else", |(_, w)| w);
            return (path, format!("must be {}", plain(wanted)));
        }
    }
    match message {
        m if m.contains("untagged enum OneOrMany") => {
            (path, "must be a text or a list of texts".into())
        }
        m if m.contains("untagged enum Scalar") => {
            (path, "must be true, false, a whole number or a text".into())
        }
        m if m.contains("untagged enum PatternConfig") => {
            (path, "must be a regular expression, or { regex = …, score = … }".into())
        }
        m => (path, m.to_owned()),
    }
}

/// What was expected, for people who write the file.
fn plain(wanted: &str) -> &str {
    match wanted {
        "a sequence" => "a list",
        "a map" => "a table",
        "a string" => "a text",
        "a boolean" => "true or false",
        "i64" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}
