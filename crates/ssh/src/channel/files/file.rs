//! A file or directory that an sftp session has open: what crossed, and whether that is all of it.

use gate::{Exchange, Release};
use records::Response;
use ssh_wire::sftp::OpenFlags;

use super::flow::{Flow, Room};

/// A file or directory that is to be opened.
pub(super) struct Opening {
    pub(super) exchange: Box<Exchange>,
    pub(super) path: Vec<u8>,
    pub(super) flags: OpenFlags,
    pub(super) is_directory: bool,
}

/// An open file or directory.
pub(super) struct File {
    pub(super) opening: Opening,
    pub(super) release: Release,
    pub(super) read: Flow,
    pub(super) written: Flow,
    /// Its size, as the target says.
    pub(super) size: Option<u64>,
    /// Its size, as the client set it.
    pub(super) resized: Option<u64>,
    /// A read from here met its end.
    pub(super) end: Option<u64>,
    /// A write failed.
    pub(super) failed: bool,
    pub(super) entries: u64,
    /// Requests about it without an answer.
    pub(super) waiting: usize,
    /// It is closed: with this answer, once all others are there.
    pub(super) closed: Option<(u32, Vec<u8>)>,
}

impl File {
    /// One that was opened just now.
    pub(super) fn new(opening: Opening, release: Release, room: &Room) -> Self {
        File {
            opening,
            release,
            read: Flow::new(room),
            written: Flow::new(room),
            size: None,
            resized: None,
            end: None,
            failed: false,
            entries: 0,
            waiting: 0,
            closed: None,
        }
    }

    /// What the record says of it.
    pub(super) fn response(&self, outcome: &'static str) -> Response<'static> {
        let mut response = Response { outcome: outcome.into(), ..Response::default() };
        let mut say = |name: &'static str, value: String| {
            response.details.insert(name.into(), value.into());
        };
        if self.opening.is_directory {
            say("entries", self.entries.to_string());
            return response;
        }
        let mut whole = None;
        if let Some(all) = self.is_all_read() {
            say("read_bytes", self.read.bytes().to_string());
            if all {
                say("read_sha256", self.read.sha256());
            }
            whole = Some(all);
        }
        if let Some(all) = self.is_all_written() {
            say("written_bytes", self.written.bytes().to_string());
            if all {
                say("written_sha256", self.written.sha256());
            }
            whole = Some(all && whole.unwrap_or(true));
        }
        if let Some(whole) = whole {
            say("whole", whole.to_string());
        }
        if let Some(size) = self.size {
            say("size", size.to_string());
        }
        response
    }

    /// Whether it was read from its beginning to its end. `None`: not at all.
    fn is_all_read(&self) -> Option<bool> {
        if self.read.bytes() == 0 && self.end.is_none() {
            return None;
        }
        let met = |end: u64| {
            self.end.is_some_and(|at| at <= end) || self.size.is_some_and(|size| size == end)
        };
        Some(self.read.end().is_some_and(met))
    }

    /// Whether it was written from its beginning, and nothing else is in it. `None`: not at all.
    fn is_all_written(&self) -> Option<bool> {
        let flags = self.opening.flags;
        // Emptied, or made.
        let was_empty = flags.truncates() || flags.0 & 0x20 != 0;
        if self.written.bytes() == 0 && !was_empty && self.resized.is_none() {
            return None;
        }
        let in_order = was_empty || !flags.appends();
        let all = |end: u64| match self.resized {
            Some(size) => size == end,
            None => was_empty,
        };
        Some(!self.failed && in_order && self.written.end().is_some_and(all))
    }
}
