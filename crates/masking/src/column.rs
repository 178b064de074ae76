//! Rules that name columns.

use crate::operator::Operator;
use crate::policy::Sink;

/// What is known about a result column. Unknown parts are `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ColumnName<'a> {
    /// Schema of the table the column comes from.
    pub schema: Option<&'a str>,
    /// Table (or view) the column comes from.
    pub table: Option<&'a str>,
    /// The column's name there.
    pub column: Option<&'a str>,
    /// The name the client sees; used only when the origin is not known.
    pub label: &'a str,
}

/// A rule for the values of whole columns.
#[derive(Clone, Debug)]
pub struct ColumnRule {
    pub(crate) name: String,
    pub(crate) columns: Vec<ColumnPattern>,
    pub(crate) client: Operator,
    pub(crate) record: Operator,
}

impl ColumnRule {
    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What to do with a value on its way to `sink`.
    #[must_use]
    pub fn operator(&self, sink: Sink) -> &Operator {
        match sink {
            Sink::Client => &self.client,
            Sink::Record => &self.record,
        }
    }
}

/// `schema.table.column`, each part with `*` and `?`.
#[derive(Clone, Debug)]
pub(crate) struct ColumnPattern {
    schema: String,
    table: String,
    column: String,
}

impl ColumnPattern {
    /// Reads `schema.table.column`; a name with a dot or a `"` in it is
    /// written in double quotes, as in SQL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = split(text)?;
        let [schema, table, column] = <[String; 3]>::try_from(parts).map_err(|p| {
            format!("has {} part(s); write schema.table.column, `*` for any", p.len())
        })?;
        if schema.is_empty() || table.is_empty() || column.is_empty() {
            return Err("has an empty part; write `*` for any".to_owned());
        }
        Ok(Self { schema, table, column })
    }

    pub(crate) fn matches_table(&self, schema: Option<&str>, table: Option<&str>) -> bool {
        part(&self.schema, schema) && part(&self.table, table)
    }

    fn matches(&self, name: &ColumnName<'_>) -> bool {
        if name.table.is_some() || name.column.is_some() {
            return self.matches_table(name.schema, name.table) && part(&self.column, name.column);
        }
        // Where a value comes from is not known: its label decides. A pattern
        // for every column of a table says nothing about a label.
        self.column != "*" && glob(&self.column, name.label)
    }
}

/// An unknown part may be any: it matches.
fn part(pattern: &str, name: Option<&str>) -> bool {
    name.is_none_or(|n| glob(pattern, n))
}

fn split(text: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c => {
                if let Some(p) = parts.last_mut() {
                    p.push(c);
                }
            }
        }
    }
    if quoted { Err("has an unclosed quote".to_owned()) } else { Ok(parts) }
}

/// Matches `*` (any run) and `?` (any character), letters of either case:
/// PostgreSQL folds what is not quoted, and masking too much is the safe side.
fn glob(pattern: &str, name: &str) -> bool {
    let (p, n) = (pattern.as_bytes(), name.as_bytes());
    let (mut i, mut j) = (0usize, 0usize);
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = n.get(j) {
        match p.get(i) {
            Some(b'*') => {
                star = Some((i + 1, j));
                i += 1;
            }
            Some(q) if *q == b'?' || q.eq_ignore_ascii_case(c) => {
                i += 1;
                j += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    i = after;
                    j = from + 1;
                    star = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    p.get(i..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

/// The first rule for this column.
pub(crate) fn find<'r>(rules: &'r [ColumnRule], name: &ColumnName<'_>) -> Option<&'r ColumnRule> {
    rules.iter().find(|r| r.columns.iter().any(|c| c.matches(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (p, n, want) in [
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("a?c", "aBc", true),
            ("a?c", "ac", false),
            ("*mail*", "E_MAIL_2", true),
            ("", "", true),
            ("", "a", false),
            ("a**", "a", true),
            ("*a*b*c", "xaxbxbxc", true),
        ] {
            assert_eq!(glob(p, n), want, "{p} {n}");
        }
    }

    #[test]
    fn patterns() {
        assert!(ColumnPattern::parse("a.b").is_err());
        assert!(ColumnPattern::parse("a..c").is_err());
        assert!(ColumnPattern::parse("a.\"b.c").is_err());
        let p = ColumnPattern::parse("public.\"odd.name\".ssn").unwrap();
        let at = |s, t, c, l| ColumnName { schema: s, table: t, column: c, label: l };
        assert!(p.matches(&at(Some("public"), Some("odd.name"), Some("SSN"), "x")));
        assert!(p.matches(&at(None, Some("odd.name"), Some("ssn"), "x")));
        assert!(!p.matches(&at(Some("public"), Some("other"), Some("ssn"), "ssn")));
        assert!(p.matches(&at(None, None, None, "ssn")));
        let whole = ColumnPattern::parse("public.cust.*").unwrap();
        assert!(!whole.matches(&at(None, None, None, "anything")));
        assert!(whole.matches_table(Some("public"), Some("cust")));
        assert!(!whole.matches_table(Some("public"), Some("cust2")));
    }
}
