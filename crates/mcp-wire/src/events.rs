//! Event streams (WHATWG HTML, 9.2, Server-sent events), as MCP's answers come in.
//!
//! Read as a client reads them and written anew from what was read: a line that only some readers
//! take for data (behind a byte order mark, behind a lone CR) is data here too, and what no reader
//! knows is not forwarded.

use memchr::memchr2;

use crate::error::WireError;

/// From how many consumed bytes on the buffer is moved together.
const COMPACT_BYTES: usize = 64 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What stands between two blank lines.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// `event`; none means `message`.
    pub name: Option<String>,
    /// `id`; empty resets it. Not one with a NUL, which clients ignore.
    pub id: Option<String>,
    /// `retry`, milliseconds. Only digits, as clients ask.
    pub retry: Option<u64>,
    /// All `data` lines, divided by LF. Without any, clients dispatch nothing; `id` and `retry`
    /// count all the same.
    pub data: Option<String>,
    /// Whether a comment was there: it keeps a connection alive. Its text is not kept.
    pub comment: bool,
}

// Its data is somebody's message.
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let data = self.data.as_ref().map(String::len);
        write!(f, "event {:?} id {:?} data of {data:?} bytes", self.name, self.id)
    }
}

impl Event {
    /// An event of a message.
    #[must_use]
    pub fn of(data: String) -> Self {
        Self { data: Some(data), ..Self::default() }
    }

    /// The event with its blank line. A name or id with an end of line, or an id with a NUL,
    /// which no stream holds, is left out.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line = |key: &str, value: &str| {
            for part in [key, if value.is_empty() { "" } else { " " }, value, "\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        let plain = |it: &&String| !it.contains(['\n', '\r']);
        if self.comment {
            line(":", "");
        }
        if let Some(name) = self.name.as_ref().filter(plain) {
            line("event:", name);
        }
        if let Some(id) = self.id.as_ref().filter(plain).filter(|it| !it.contains('\0')) {
            line("id:", id);
        }
        if let Some(retry) = self.retry {
            line("retry:", &retry.to_string());
        }
        for part in self.data.iter().flat_map(|it| it.split(['\n', '\r'])) {
            line("data:", part);
        }
        out.push(b'\n');
        out
    }

    fn take_line(&mut self, line: &str) {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match key {
            "" => self.comment = true,
            "event" => self.name = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|it| it.is_ascii_digit()) => {
                self.retry = value.parse().ok().or(self.retry);
            }
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            _ => {}
        }
    }
}

/// Cuts a stream of bytes into events, wherever it was cut itself. Holds at most one event and one
/// read, if the caller takes all events out before it reads on.
pub struct Events {
    buffer: Vec<u8>,
    /// Up to where the buffer was read.
    start: usize,
    /// Up to where there is no end of line.
    scanned: usize,
    event: Event,
    /// Bytes of the event's lines so far.
    size: usize,
    most: usize,
    begun: bool,
    /// A CR was read: an LF right behind it belongs to it.
    after_cr: bool,
    failed: Option<WireError>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Events with {} bytes", self.buffer.len() - self.start + self.size)
    }
}

impl Events {
    /// Events of at most `most` bytes, ends of lines not counted.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            event: Event::default(),
            size: 0,
            most,
            begun: false,
            after_cr: false,
            failed: None,
        }
    }

    /// Adds what was read. What no blank line follows when the stream ends is no event (9.2.6).
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event that says anything; none until more is read.
    ///
    /// # Errors
    /// An event that is too long, or not UTF-8 (which clients would read in different ways): the
    /// sender's fault. The stream can't be read on, and every later call says the same.
    pub fn next_event(&mut self) -> Result<Option<Event>, WireError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let next = self.read();
        if let Err(error) = next {
            self.failed = Some(error);
            (self.buffer, self.start, self.scanned) = (Vec::new(), 0, 0);
            (self.event, self.size) = (Event::default(), 0);
        }
        next
    }

    fn read(&mut self) -> Result<Option<Event>, WireError> {
        if !self.begin() {
            return Ok(None);
        }
        loop {
            if self.after_cr && self.start < self.buffer.len() {
                self.after_cr = false;
                self.start += usize::from(self.buffer.get(self.start) == Some(&b'\n'));
            }
            let from = self.scanned.max(self.start);
            let rest = self.buffer.get(from..).unwrap_or_default();
            let end = memchr2(b'\n', b'\r', rest).map(|at| from + at);
            let line = self.buffer.get(self.start..end.unwrap_or(self.buffer.len()));
            let line = line.unwrap_or_default();
            if self.size + line.len() > self.most {
                return Err(WireError::TooLong { most: self.most });
            }
            let Some(end) = end else {
                self.scanned = self.buffer.len();
                self.compact();
                return Ok(None);
            };
            self.size += line.len();
            let line = std::str::from_utf8(line)
                .map_err(|error| WireError::NotUtf8 { at: error.valid_up_to() })?;
            let blank = line.is_empty();
            if !blank {
                self.event.take_line(line);
            }
            self.after_cr = self.buffer.get(end) == Some(&b'\r');
            self.start = end + 1;
            if blank {
                self.size = 0;
                let event = std::mem::take(&mut self.event);
                if event != Event::default() {
                    self.compact();
                    return Ok(Some(event));
                }
            }
        }
    }

    /// Whether it is known if the stream begins with a byte order mark, which is no part of it.
    fn begin(&mut self) -> bool {
        if !self.begun {
            let marked = self.buffer.starts_with(BYTE_ORDER_MARK);
            if !marked && BYTE_ORDER_MARK.starts_with(&self.buffer) {
                return false;
            }
            self.begun = true;
            self.start = if marked { BYTE_ORDER_MARK.len() } else { 0 };
        }
        true
    }

    fn compact(&mut self) {
        if self.start == self.buffer.len() || self.start >= COMPACT_BYTES {
            self.buffer.drain(..self.start);
            self.scanned = self.scanned.saturating_sub(self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]], most: usize) -> Result<Vec<Event>, WireError> {
        let (mut events, mut out) = (Events::new(most), Vec::new());
        for piece in pieces {
            events.push(piece);
            while let Some(event) = events.next_event()? {
                out.push(event);
            }
        }
        Ok(out)
    }

    fn data(text: &str) -> Event {
        Event::of(text.to_owned())
    }

    #[test]
    fn events_are_read_as_the_standard_shows() {
        for (stream, want) in [
            // 9.2.6, its examples.
            ("data: YHOO\ndata: +2\ndata: 10\n\n", vec![data("YHOO\n+2\n10")]),
            ("data\n\ndata\ndata\n\ndata:", vec![data(""), data("\n")]),
            ("data:test\n\ndata: test\n\n", vec![data("test"), data("test")]),
            ("data:  two\n\n", vec![data(" two")]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n",
                vec![
                    Event { comment: true, ..Event::default() },
                    Event { id: Some("1".into()), ..data("first event") },
                    Event { id: Some(String::new()), ..data("second event") },
                ],
            ),
            ("event: add\ndata: 7\n\n", vec![Event { name: Some("add".into()), ..data("7") }]),
            (
                "retry: 10\n\nretry: 1x\nretry:\n\n",
                vec![Event { retry: Some(10), ..Event::default() }],
            ),
            ("id: a\0b\n\nid: c\n\n", vec![Event { id: Some("c".into()), ..Event::default() }]),
            // Only an id may have no NUL: an event of another name stays one.
            ("event: a\0\ndata: 1\n\n", vec![Event { name: Some("a\0".into()), ..data("1") }]),
            // What isn't known is nothing.
            ("dat: x\nData: y\n data: z\nxdata: w\n\n\n\n", vec![]),
            ("\u{feff}data: 1\n\n", vec![data("1")]),
            ("data: 1\r\rdata: 2\r\n\r\ndata: 3\n\r", vec![data("1"), data("2"), data("3")]),
        ] {
            assert_eq!(all(&[stream.as_bytes()], 1000).unwrap(), want, "{stream:?}");
            let written: Vec<u8> = want.iter().flat_map(Event::to_bytes).collect();
            assert_eq!(all(&[&written], 1000).unwrap(), want, "{stream:?}");
        }
        // One mark is taken away, a second one is part of a name that nobody knows.
        assert_eq!(all(&["\u{feff}\u{feff}data: 1\n\n".as_bytes()], 1000), Ok(vec![]));
    }

    #[test]
    fn every_split_gives_the_same_events() {
        let stream = "\u{feff}: hi\r\n\r\nid: 7\rdata: é1\r\ndata\n\rdata: 2\n\n".as_bytes();
        let whole = all(&[stream], 100).unwrap();
        assert_eq!(whole.len(), 3);
        for at in 0..=stream.len() {
            for then in at..=stream.len() {
                let pieces = [&stream[..at], &stream[at..then], &stream[then..]];
                assert_eq!(all(&pieces, 100).unwrap(), whole, "{at} {then}");
            }
        }
    }

    #[test]
    fn what_is_too_long_or_no_text_ends_it() {
        let mut events = Events::new(8);
        events.push(b"data: 12\n\ndata: 1\ndata");
        assert_eq!(events.next_event(), Ok(Some(data("12"))));
        for _ in 0..2 {
            assert_eq!(events.next_event(), Err(WireError::TooLong { most: 8 }));
            events.push(b"\n\n");
        }
        assert!(events.buffer.is_empty());
        let many = ":\n".repeat(9);
        assert_eq!(all(&[many.as_bytes()], 8), Err(WireError::TooLong { most: 8 }));
        assert_eq!(all(&[b"data: \xff\n\n"], 100), Err(WireError::NotUtf8 { at: 6 }));
    }

    /// The standard's own grammar over a whole text, slowly.
    fn slow(text: &str) -> Vec<Event> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let Some((whole, _)) = text.rsplit_once("\n") else { return Vec::new() };
        let (mut out, mut event) = (Vec::new(), Event::default());
        for line in whole.split('\n') {
            if line.is_empty() {
                out.push(std::mem::take(&mut event));
            } else {
                event.take_line(line);
            }
        }
        out.retain(|it| *it != Event::default());
        out
    }

    proptest! {
        #[test]
        fn events_are_what_the_grammar_says(
            lines in prop::collection::vec(
                ("(|\u{feff}|:|data|data:|data: |id:|event: |retry: |x)[a7 :é\0\u{feff}]{0,3}", "\n|\r|\r\n"), 0..12
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)
        ) {
            let text: String = lines.iter().flat_map(|(line, end)| [&**line, &**end]).collect();
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|it| it.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|it| &bytes[it[0]..it[1]]).collect();
            let events = all(&pieces, 1000).unwrap();
            prop_assert_eq!(&events, &slow(&text));
            let written: Vec<u8> = events.iter().flat_map(Event::to_bytes).collect();
            prop_assert_eq!(all(&[&written], 1000).unwrap(), events);
        }

        #[test]
        fn what_is_written_is_one_event(name in ".{0,5}", id in ".{0,5}", data in "(.|\n|\r){0,9}") {
            let event = Event { name: Some(name), id: Some(id), ..Event::of(data) };
            let read = all(&[&event.to_bytes()], 1000).unwrap();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(read[0].data.clone(), event.data.map(|it| it.replace('\r', "\n")));
        }
    }
}
