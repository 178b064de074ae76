//! One direction of a file's content, as it crosses: counted, and hashed if it comes whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{Context as Digest, SHA256};

/// What all files of one connection may keep in memory of content that came before its turn,
/// in bytes: twice what OpenSSH's client has outstanding. A file that needs more has no hash.
const MAX_AHEAD_BYTES: usize = 4 * 1024 * 1024;
/// What a piece that is kept takes beside its bytes.
const PIECE_OVERHEAD: usize = 128;

/// The room of a connection for content that came before its turn.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<AtomicUsize>);

impl Default for Room {
    fn default() -> Self {
        Room(Arc::new(AtomicUsize::new(MAX_AHEAD_BYTES)))
    }
}

impl Room {
    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Content with its places in the file.
pub(super) struct Flow {
    bytes: u64,
    digest: Digest,
    /// All before it has been hashed.
    next: u64,
    /// Something came twice, or too early: there is no hash.
    broken: bool,
    ahead: BTreeMap<u64, Vec<u8>>,
    held: usize,
    room: Room,
}

impl Flow {
    pub(super) fn new(room: &Room) -> Self {
        Flow {
            bytes: 0,
            digest: Digest::new(&SHA256),
            next: 0,
            broken: false,
            ahead: BTreeMap::new(),
            held: 0,
            room: room.clone(),
        }
    }

    /// Takes a piece that stands at this place.
    pub(super) fn push(&mut self, offset: u64, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        self.bytes += piece.len() as u64;
        if self.broken {
            return;
        }
        if offset == self.next {
            self.hash(piece);
            self.hash_ahead();
            return;
        }
        let takes = piece.len() + PIECE_OVERHEAD;
        if offset < self.next || self.ahead.contains_key(&offset) || !self.room.take(takes) {
            self.give_up();
            return;
        }
        self.held += takes;
        self.ahead.insert(offset, piece.to_vec());
    }

    fn hash(&mut self, piece: &[u8]) {
        self.digest.update(piece);
        self.next = self.next.saturating_add(piece.len() as u64);
    }

    fn hash_ahead(&mut self) {
        while let Some(first) = self.ahead.first_entry() {
            if *first.key() > self.next {
                return;
            }
            if *first.key() < self.next {
                self.give_up();
                return;
            }
            let piece = first.remove();
            let takes = piece.len() + PIECE_OVERHEAD;
            self.held = self.held.saturating_sub(takes);
            self.room.give_back(takes);
            self.hash(&piece);
        }
    }

    /// There is no hash.
    pub(super) fn give_up(&mut self) {
        self.broken = true;
        self.ahead.clear();
        self.room.give_back(std::mem::take(&mut self.held));
    }

    /// Bytes that crossed.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the file ends if it ends where its content does: all from its beginning to there
    /// came, once each. `None`: it did not.
    pub(super) fn end(&self) -> Option<u64> {
        (!self.broken && self.ahead.is_empty()).then_some(self.next)
    }

    /// The hash of all before [`end`](Flow::end).
    pub(super) fn sha256(&self) -> String {
        hex::encode(self.digest.clone().finish())
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.room.give_back(self.held);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sha256(bytes: &[u8]) -> String {
        hex::encode(aws_lc_rs::digest::digest(&SHA256, bytes))
    }

    #[test]
    fn what_comes_twice_or_not_at_all_has_no_hash() {
        let room = Room::default();
        let mut flow = Flow::new(&room);
        flow.push(4, b"late");
        assert_eq!(flow.end(), None);
        flow.push(0, b"soon");
        assert_eq!((flow.end(), flow.bytes()), (Some(8), 8));
        assert_eq!(flow.sha256(), sha256(b"soonlate"));
        flow.push(7, b"again");
        assert_eq!((flow.end(), flow.bytes()), (None, 13));
    }

    #[test]
    fn what_is_kept_for_later_is_bounded_and_given_back() {
        let room = Room::default();
        let all = || room.0.load(Ordering::Relaxed);
        let mut flow = Flow::new(&room);
        let piece = vec![0; 32 * 1024];
        for n in 1..1000 {
            flow.push(n * 40_000, &piece);
        }
        assert_eq!((flow.end(), all()), (None, MAX_AHEAD_BYTES));
        let mut flow = Flow::new(&room);
        flow.push(1, &piece);
        assert!(all() < MAX_AHEAD_BYTES);
        drop(flow);
        assert_eq!(all(), MAX_AHEAD_BYTES);
    }

    proptest! {
        #[test]
        fn any_order_of_pieces_gives_the_content_its_hash(
            content in prop::collection::vec(any::<u8>(), 0..2000),
            piece in 1usize..200,
            order in any::<prop::sample::Index>(),
        ) {
            let mut pieces: Vec<(u64, &[u8])> = content
                .chunks(piece)
                .enumerate()
                .map(|(n, bytes)| ((n * piece) as u64, bytes))
                .collect();
            if !pieces.is_empty() {
                let by = order.index(pieces.len());
                pieces.rotate_left(by);
                pieces.reverse();
            }
            let mut flow = Flow::new(&Room::default());
            for (offset, bytes) in pieces {
                flow.push(offset, bytes);
            }
            prop_assert_eq!(flow.end(), Some(content.len() as u64));
            prop_assert_eq!(flow.sha256(), sha256(&content));
        }
    }
}
