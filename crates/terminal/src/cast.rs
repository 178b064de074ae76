//! Asciicast v3 (asciinema's file format): newline-delimited JSON, a header, then events
//! `[seconds since the one before, code, text]`.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::frames::{Frame, Kind};
use crate::utf8::Text;

/// What the file says of itself.
#[derive(Debug, Clone)]
pub struct Header {
    /// Columns at the beginning.
    pub columns: u16,
    /// Rows at the beginning.
    pub rows: u16,
    /// The terminal's type, `xterm-256color`.
    pub term: Option<String>,
    /// When it began, in Unix seconds.
    pub timestamp: Option<u64>,
    /// The command that ran, if not a shell.
    pub command: Option<String>,
    /// A title.
    pub title: Option<String>,
}

impl Default for Header {
    /// 80 columns and 24 rows.
    fn default() -> Self {
        Self { columns: 80, rows: 24, term: None, timestamp: None, command: None, title: None }
    }
}

/// Writes frames as events.
///
/// Output and errors both become `o`: the format has no other. A UTF-8 sequence cut by a frame's
/// end waits for its rest; what is no UTF-8 becomes U+FFFD, in the file only.
#[derive(Debug)]
pub struct Cast<W> {
    out: W,
    /// Time of frames that gave no event yet, in microseconds.
    since: u64,
    output: Text,
    errors: Text,
    input: Text,
}

impl<W: Write> Cast<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn new(mut out: W, header: &Header) -> io::Result<Self> {
        let mut term = json!({"cols": header.columns, "rows": header.rows});
        if let (Some(name), Some(term)) = (&header.term, term.as_object_mut()) {
            term.insert("type".to_owned(), json!(name));
        }
        let mut fields = Map::new();
        fields.insert("version".to_owned(), json!(3));
        fields.insert("term".to_owned(), term);
        let optional = [
            ("timestamp", header.timestamp.map(Value::from)),
            ("command", header.command.clone().map(Value::from)),
            ("title", header.title.clone().map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        }
        serde_json::to_writer(&mut out, &fields)?;
        out.write_all(b"\n")?;
        let text = Text::default;
        Ok(Self { out, since: 0, output: text(), errors: text(), input: text() })
    }

    /// Writes a frame's event, if it has one.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        self.since = self.since.saturating_add(frame.after_us);
        match frame.kind {
            Kind::Output => {
                let text = self.output.push(&frame.bytes);
                self.text('o', &text)
            }
            Kind::Error => {
                let text = self.errors.push(&frame.bytes);
                self.text('o', &text)
            }
            Kind::Input => {
                let text = self.input.push(&frame.bytes);
                self.text('i', &text)
            }
            Kind::Resize => match frame.size() {
                Some((columns, rows)) => self.event('r', &format!("{columns}x{rows}")),
                None => Ok(()),
            },
            Kind::Mark => self.event('m', &String::from_utf8_lossy(&frame.bytes)),
            Kind::Exit if frame.bytes.iter().all(u8::is_ascii_digit) => {
                self.event('x', &String::from_utf8_lossy(&frame.bytes))
            }
            Kind::Exit => {
                self.event('m', &format!("signal {}", String::from_utf8_lossy(&frame.bytes)))
            }
            Kind::Hidden | Kind::Other(_) => Ok(()),
        }
    }

    /// Ends the file, with what waited for its rest.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        let (output, errors, input) =
            (self.output.finish(), self.errors.finish(), self.input.finish());
        self.text('o', output)?;
        self.text('o', errors)?;
        self.text('i', input)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn text(&mut self, code: char, text: &str) -> io::Result<()> {
        if text.is_empty() { Ok(()) } else { self.event(code, text) }
    }

    fn event(&mut self, code: char, text: &str) -> io::Result<()> {
        let (seconds, micros) = (self.since / 1_000_000, self.since % 1_000_000);
        write!(self.out, "[{seconds}.{micros:06},\"{code}\",")?;
        serde_json::to_writer(&mut self.out, text)?;
        self.out.write_all(b"]\n")?;
        self.since = 0;
        Ok(())
    }
}
