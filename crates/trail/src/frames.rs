//! Recorded answers of media type `postgres-backend`, made readable.
//!
//! The record holds backend messages as they were, masked. A simple query's answer holds its
//! RowDescription; an extended query's does not, for it answered an earlier Describe. Its types
//! are in the outcome; its formats are not. So a value of such an answer is taken for text when
//! it is text, and read as binary otherwise, which can take a rare binary number for text.

use std::collections::HashMap;
use std::sync::OnceLock;

use postgres_wire::backend::{self, Message};
use postgres_wire::frame::{Framed, Limits, next_frame};
use postgres_wire::{Format, Side, oid, value};

use serde::Serialize;

use crate::item::ResultSet;

/// The longest recorded message that is shown, in bytes.
pub const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;
/// The OIDs of built-in types lie below this.
const BUILT_IN_OIDS: u32 = 10_000;

/// Rows under one heading.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowSet {
    /// Labels.
    pub columns: Vec<String>,
    /// Values as text; none is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Rows that were left out.
    pub more: u64,
}

/// A recorded answer, readable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What had rows, in order.
    pub sets: Vec<RowSet>,
    /// COPY data, lines as they were sent; at most as many as rows are shown.
    pub copy: Vec<String>,
    /// COPY messages that were left out.
    pub more_copy: u64,
    /// Errors and notices: severity, code and message.
    pub diagnostics: Vec<String>,
    /// What could not be followed.
    pub broken: Option<String>,
}

/// Reads a recorded answer. `results` is what the outcome says of it; at most `max_rows` rows
/// are kept for each set.
#[must_use]
pub fn answer(bytes: &[u8], results: &[ResultSet], max_rows: usize) -> Answer {
    let limits = Limits { large: MAX_FRAME_BYTES, ..Limits::DEFAULT };
    let mut reading = Reading { answer: Answer::default(), columns: None, results, max_rows };
    let mut rest = bytes;
    while !rest.is_empty() {
        let (tag, body, total) = match next_frame(rest, Side::Backend, &limits) {
            Ok(Framed::Frame { tag, body, total }) => (tag, body, total),
            Ok(Framed::NeedHeader | Framed::Header { .. }) => {
                reading.answer.broken = Some("the recorded answer ends inside a message".into());
                break;
            }
            Err(error) => {
                reading.answer.broken = Some(error.to_string());
                break;
            }
        };
        match backend::parse(tag, body) {
            Ok(message) => reading.message(&message),
            Err(error) => {
                reading.answer.broken = Some(error.to_string());
                break;
            }
        }
        rest = rest.get(total..).unwrap_or_default();
    }
    reading.answer
}

struct Column {
    type_oid: u32,
    format: Option<Format>,
}

struct Reading<'a> {
    answer: Answer,
    columns: Option<Vec<Column>>,
    results: &'a [ResultSet],
    max_rows: usize,
}

impl Reading<'_> {
    fn message(&mut self, message: &Message<'_>) {
        match message {
            Message::RowDescription(description) => {
                let mut set = RowSet::default();
                let mut columns = Vec::new();
                for column in description.columns() {
                    set.columns.push(String::from_utf8_lossy(column.name).into_owned());
                    columns.push(Column { type_oid: column.type_oid, format: Some(column.format) });
                }
                self.answer.sets.push(set);
                self.columns = Some(columns);
            }
            Message::DataRow(row) => self.row(row),
            Message::CopyData(data) => {
                if self.answer.copy.len() < self.max_rows {
                    let text = String::from_utf8_lossy(data);
                    self.answer.copy.push(text.trim_end_matches('\n').to_owned());
                } else {
                    self.answer.more_copy += 1;
                }
            }
            Message::ErrorResponse(fields) | Message::NoticeResponse(fields) => {
                let field = |code| String::from_utf8_lossy(fields.get(code).unwrap_or_default());
                let line = format!("{} {}: {}", field(b'S'), field(b'C'), field(b'M'));
                self.answer.diagnostics.push(line);
            }
            _ => {}
        }
    }

    fn row(&mut self, row: &backend::DataRow<'_>) {
        if self.columns.is_none() {
            self.describe();
        }
        let columns = self.columns.as_deref().unwrap_or_default();
        let Some(set) = self.answer.sets.last_mut() else { return };
        if set.rows.len() >= self.max_rows {
            set.more += 1;
            return;
        }
        let cell = |(place, value): (usize, Option<&[u8]>)| {
            let column = columns.get(place);
            let type_oid = column.map_or(0, |column| column.type_oid);
            let format = column.and_then(|column| column.format);
            value.map(|value| readable(type_oid, format, value))
        };
        set.rows.push(row.fields().enumerate().map(cell).collect());
    }

    /// Takes the columns from the outcome: no RowDescription came before the rows.
    fn describe(&mut self) {
        let with_columns = self.results.iter().find(|result| !result.columns.is_empty());
        let described = with_columns.map_or(&[][..], |result| &result.columns);
        self.answer.sets.push(RowSet {
            columns: described.iter().map(|(name, _)| name.clone()).collect(),
            ..RowSet::default()
        });
        let column =
            |(_, name): &(String, String)| Column { type_oid: type_oid(name), format: None };
        self.columns = Some(described.iter().map(column).collect());
    }
}

fn readable(type_oid: u32, format: Option<Format>, bytes: &[u8]) -> String {
    let format = format.unwrap_or_else(|| {
        let control = |b: &u8| *b < 0x20 && !b"\n\r\t".contains(b);
        let text = std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(control);
        if text { Format::Text } else { Format::Binary }
    });
    value::decode(type_oid, format, bytes).as_str().to_owned()
}

/// The OID of a built-in type by its name in records.
fn type_oid(name: &str) -> u32 {
    static OIDS: OnceLock<HashMap<String, u32>> = OnceLock::new();
    let by_name = OIDS.get_or_init(|| {
        (1..BUILT_IN_OIDS).filter_map(|oid| oid::name(oid).map(|name| (name, oid))).collect()
    });
    by_name.get(name).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        out.extend((body.len() as u32 + 4).to_be_bytes());
        out.extend(body);
        out
    }

    fn data_row(cells: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = (cells.len() as u16).to_be_bytes().to_vec();
        for cell in cells {
            match cell {
                Some(cell) => {
                    body.extend((cell.len() as u32).to_be_bytes());
                    body.extend(*cell);
                }
                None => body.extend((-1i32).to_be_bytes()),
            }
        }
        message(b'D', &body)
    }

    fn result(columns: &[(&str, &str)]) -> ResultSet {
        let columns = columns.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        ResultSet { tag: "SELECT 2".into(), rows: 2, columns }
    }

    #[test]
    fn rows_without_a_description_take_it_from_the_outcome() {
        let mut bytes = data_row(&[Some(&7i64.to_be_bytes()), Some(b"seven"), None]);
        bytes.extend(data_row(&[Some(b"8"), Some(b"eight"), None]));
        let answer = answer(&bytes, &[result(&[("n", "int8"), ("w", "text"), ("x", "text")])], 10);
        assert_eq!(answer.sets[0].columns, ["n", "w", "x"]);
        assert_eq!(answer.sets[0].rows[0], [Some("7".into()), Some("seven".into()), None]);
        assert_eq!(answer.sets[0].rows[1], [Some("8".into()), Some("eight".into()), None]);
    }

    #[test]
    fn rows_beyond_the_limit_are_counted() {
        let bytes = data_row(&[Some(b"x")]).repeat(5);
        let answer = answer(&bytes, &[result(&[("w", "text")])], 2);
        assert_eq!((answer.sets[0].rows.len(), answer.sets[0].more), (2, 3));
    }

    #[test]
    fn a_cut_answer_says_so() {
        let bytes = data_row(&[Some(b"x")]);
        assert!(answer(&bytes[..bytes.len() - 1], &[], 2).broken.is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = answer(&bytes, &[], 3);
        }
    }
}
