//! The server's own truth: which statements PostgreSQL says it executed.
//!
//! With `log_statement = all` a backend writes its statement to the log with
//! one `write` before it executes it (no logging collector in between), so
//! that the log is complete as soon as the client has its answer. A statement
//! of several lines continues on lines that begin with a tab.

/// `log_line_prefix`: a mark no statement begins a line with (continuation
/// lines begin with a tab), process, application, user, database.
pub(crate) const LOG_PREFIX: &str = "@@%p@%a@%u@%d@@";

/// How a statement came to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Simple protocol: the text of one Query message.
    Simple,
    /// Extended protocol: an Execute of a portal, with the names of statement
    /// and portal as the server prints them (`<unnamed>`, `s1`, `s1/p1`).
    Execute(String),
    /// A later Execute of a portal that was suspended at its row limit.
    ExecuteFetch(String),
    /// A fast-path function call.
    Fastpath,
}

/// One line of the server's statement log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The backend's process id.
    pub pid: u32,
    /// `application_name` at that moment.
    pub application: String,
    /// The session's user.
    pub user: String,
    /// The database.
    pub database: String,
    /// By which protocol message.
    pub how: How,
    /// The statement as the server received it.
    pub sql: String,
    /// The bind values in the server's text form, `None` for SQL NULL.
    pub params: Vec<Option<String>>,
}

/// Reads a log written with [`LOG_PREFIX`].
pub(crate) fn parse(log: &str) -> Vec<Executed> {
    let mut found: Vec<Executed> = Vec::new();
    let mut detail_for_last = false;
    for entry in entries(log) {
        let Some((head, message)) = split_prefix(&entry) else { continue };
        if let Some(text) = message.strip_prefix("DETAIL:  parameters: ") {
            if let (true, Some(last)) = (detail_for_last, found.last_mut()) {
                last.params = parameters(text);
            }
            continue;
        }
        detail_for_last = false;
        let Some(text) = message.strip_prefix("LOG:  ") else { continue };
        let Some((how, sql)) = statement(text) else { continue };
        let (pid, application, user, database) = head;
        let params = Vec::new();
        found.push(Executed { pid, application, user, database, how, sql, params });
        detail_for_last = true;
    }
    found
}

/// Joins continuation lines (a tab first) to the line they belong to.
fn entries(log: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in log.split('\n') {
        match (line.strip_prefix('\t'), all.last_mut()) {
            (Some(more), Some(last)) => {
                last.push('\n');
                last.push_str(more);
            }
            _ => all.push(line.to_owned()),
        }
    }
    all
}

type Head = (u32, String, String, String);

fn split_prefix(entry: &str) -> Option<(Head, &str)> {
    let (head, message) = entry.strip_prefix("@@")?.split_once("@@")?;
    let mut parts = head.splitn(2, '@');
    let pid = parts.next()?.parse().ok()?;
    // The application's name is the client's to choose and may hold an @;
    // user and database are the last two parts.
    let mut parts = parts.next()?.rsplitn(3, '@');
    let database = parts.next()?.to_owned();
    let user = parts.next()?.to_owned();
    let application = parts.next()?.to_owned();
    Some(((pid, application, user, database), message))
}

fn statement(text: &str) -> Option<(How, String)> {
    if let Some(sql) = text.strip_prefix("statement: ") {
        return Some((How::Simple, sql.to_owned()));
    }
    if let Some(rest) = text.strip_prefix("execute fetch from ") {
        let (name, sql) = rest.split_once(": ")?;
        return Some((How::ExecuteFetch(name.to_owned()), sql.to_owned()));
    }
    if let Some(rest) = text.strip_prefix("execute ") {
        let (name, sql) = rest.split_once(": ")?;
        return Some((How::Execute(name.to_owned()), sql.to_owned()));
    }
    let sql = text.strip_prefix("fastpath function call: ")?;
    Some((How::Fastpath, sql.to_owned()))
}

/// Reads `$1 = 'a', $2 = NULL`; a quote inside a value is doubled.
fn parameters(text: &str) -> Vec<Option<String>> {
    let mut values = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(" = ") {
        let Some(quoted) = after.strip_prefix('\'') else {
            values.push(None);
            rest = after;
            continue;
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices().peekable();
        let mut end = quoted.len();
        while let Some((at, c)) = chars.next() {
            if c != '\'' {
                value.push(c);
            } else if chars.next_if(|&(_, next)| next == '\'').is_some() {
                value.push('\'');
            } else {
                end = at;
                break;
            }
        }
        values.push(Some(value));
        rest = quoted.get(end..).unwrap_or_default();
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_statements_of_several_lines_and_their_values() {
        let log = "@@7@psql@eve@db@@LOG:  statement: select\n\t1\n\
            noise\n\
            @@8@a@b@eve@db@@LOG:  execute s1/p1: insert into t values ($1,$2, $3)\n\
            @@8@a@b@eve@db@@DETAIL:  parameters: $1 = 'it''s, $2 = ''x''', $2 = NULL, $3 = ''\n\
            @@8@a@b@eve@db@@ERROR:  no\n\
            @@8@a@b@eve@db@@LOG:  execute fetch from <unnamed>/c: select 1\n";
        let got = parse(log);
        assert_eq!(got.len(), 3);
        assert_eq!((got[0].pid, got[0].sql.as_str()), (7, "select\n1"));
        assert_eq!(got[1].application, "a@b");
        assert_eq!(got[1].how, How::Execute("s1/p1".into()));
        let values = [Some("it's, $2 = 'x'".to_owned()), None, Some(String::new())];
        assert_eq!(got[1].params, values);
        assert_eq!(got[2].how, How::ExecuteFetch("<unnamed>/c".into()));
        assert!(got[2].params.is_empty());
    }
}
