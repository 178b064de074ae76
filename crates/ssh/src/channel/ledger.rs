//! The windows of one direction of one channel: what a sender may still send us, what its
//! receiver still takes, and what lies between.
//!
//! A sender is granted only what its receiver has granted, so a slow receiver slows its sender
//! and nobody else; what waits here is bounded by the smaller of the receiver's window and
//! `cap`. See RFC 4254 section 5.2.

/// A sender sent more than it was granted: its fault, and the connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more data than the channel's window allows")]
pub(crate) struct Overrun;

/// A receiver granted more than 2^32 − 1 bytes: its fault, and the connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a channel's window of more than 4 GiB")]
pub(crate) struct Overflow;

/// Of a client's window, in bytes, kept for words of our own (why a program ends), so that a
/// sender who fills the whole window does not leave the client without a reason.
const WORDS_BYTES: u32 = 1024;
/// The least window, in bytes, of which anything is kept for our own words: a smaller one is
/// needed for what it is meant for.
const WORDS_FROM: u64 = 16 << 10;
/// The same of a wide window: as much as the longest packet, so that a sender whose packets fill
/// the window evenly has none to cut. Programs show where they are cut: asyncssh reads until the
/// packet that exceeds its window.
const WIDE_WORDS_BYTES: u32 = 32 << 10;
/// The least window, in bytes, that is wide.
const WIDE_FROM: u64 = 512 << 10;

/// What is kept of a window for our own words, in bytes.
pub(crate) const fn words(window: u64) -> u32 {
    match window {
        0..WORDS_FROM => 0,
        WORDS_FROM..WIDE_FROM => WORDS_BYTES,
        _ => WIDE_WORDS_BYTES,
    }
}

/// One direction's books. All figures are bytes.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    /// What the receiver still takes.
    peer_room: u64,
    /// The most the receiver ever took at once, up to `cap`: what "a good part of a window" is.
    peer_high: u64,
    /// Of what the receiver takes, this is never promised to the sender. None: there is nothing
    /// of our own to say here.
    words: Option<u32>,
    /// What the sender may still send.
    source_room: u64,
    /// The most that may wait here, or be on its way here.
    cap: u64,
    /// What waits here.
    queued: u64,
    /// What came and is in no queue yet.
    parked: u64,
    /// The sender gets no more: what it sends now is thrown away.
    source_closed: bool,
}

impl Ledger {
    /// A direction whose receiver takes `granted`. Gives the window to offer the sender.
    pub(crate) fn open(granted: u32, cap: u32) -> (Self, u32) {
        let offer = granted.min(cap);
        let ledger = Ledger {
            peer_room: granted.into(),
            peer_high: offer.into(),
            words: None,
            source_room: offer.into(),
            cap: cap.into(),
            queued: 0,
            parked: 0,
            source_closed: false,
        };
        (ledger, offer)
    }

    /// The same, where we may have something of our own to say to the receiver.
    pub(crate) fn open_with_words(granted: u32, cap: u32) -> (Self, u32) {
        let kept = words(granted.into());
        let (ledger, offer) = Ledger::open(granted.saturating_sub(kept), cap);
        (Ledger { peer_room: granted.into(), words: Some(kept), ..ledger }, offer)
    }

    /// The sender sent so much.
    pub(crate) fn received(&mut self, bytes: usize) -> Result<(), Overrun> {
        if self.source_closed {
            return Ok(());
        }
        self.source_room = self.source_room.checked_sub(bytes as u64).ok_or(Overrun)?;
        Ok(())
    }

    /// So much of what the sender sent is not looked at yet.
    pub(crate) fn parked(&mut self, bytes: usize) {
        self.parked += bytes as u64;
    }

    /// So much of it is looked at now.
    pub(crate) fn unparked(&mut self, bytes: usize) {
        self.parked = self.parked.saturating_sub(bytes as u64);
    }

    /// So much was put in the queue to the receiver.
    pub(crate) fn queued(&mut self, bytes: usize) {
        self.queued += bytes as u64;
    }

    /// What the receiver still takes now.
    pub(crate) fn may_send(&self) -> usize {
        usize::try_from(self.peer_room).unwrap_or(usize::MAX)
    }

    /// So much left the queue for the receiver.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.queued = self.queued.saturating_sub(bytes as u64);
        self.peer_room = self.peer_room.saturating_sub(bytes as u64);
    }

    /// The receiver takes so much more.
    pub(crate) fn granted(&mut self, bytes: u32) -> Result<(), Overflow> {
        let room = self.peer_room + u64::from(bytes);
        if room > u64::from(u32::MAX) {
            return Err(Overflow);
        }
        self.peer_room = room;
        self.peer_high = self.peer_high.max(room.min(self.cap));
        self.words = self.words.map(|kept| kept.max(words(room)));
        Ok(())
    }

    /// What to grant the sender now, if it is worth a packet: a quarter of a window, or anything
    /// when the sender has nothing.
    pub(crate) fn next_grant(&mut self) -> Option<u32> {
        if self.source_closed {
            return None;
        }
        let free = self.peer_room.saturating_sub(self.kept()).min(self.cap);
        let room = free.saturating_sub(self.queued + self.parked);
        let more = room.saturating_sub(self.source_room);
        if more == 0 || (self.source_room > 0 && more < self.peer_high / 4) {
            return None;
        }
        self.source_room += more;
        u32::try_from(more).ok()
    }

    /// The sender gets no more. What it was granted is free for words of our own.
    pub(crate) fn close_source(&mut self) {
        self.source_closed = true;
        self.source_room = 0;
    }

    /// Whether what the sender sends is thrown away.
    pub(crate) fn is_source_closed(&self) -> bool {
        self.source_closed
    }

    /// How much of our own the receiver takes beside what its sender was promised.
    pub(crate) fn spare(&self) -> usize {
        let promised = self.queued + self.parked + self.source_room;
        usize::try_from(self.peer_room.saturating_sub(promised)).unwrap_or(usize::MAX)
    }

    /// How much of what the receiver takes is never promised to the sender.
    fn kept(&self) -> u64 {
        self.words.unwrap_or(0).into()
    }

    /// What waits here.
    pub(crate) fn waiting(&self) -> u64 {
        self.queued
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sender_gets_what_its_receiver_grants_and_no_more() {
        let (mut ledger, offer) = Ledger::open(2_000_000, 1_000_000);
        assert_eq!(offer, 1_000_000);
        ledger.received(1_000_000).unwrap();
        ledger.queued(1_000_000);
        assert_eq!(ledger.next_grant(), None);
        assert_eq!(ledger.received(1), Err(Overrun));
        ledger.sent(1_000_000);
        assert_eq!(ledger.next_grant(), Some(1_000_000));
        ledger.received(1_000_000).unwrap();
        ledger.queued(1_000_000);
        ledger.sent(1_000_000);
        // The receiver's two megabytes are used up.
        assert_eq!(ledger.next_grant(), None);
        ledger.granted(10).unwrap();
        assert_eq!(ledger.next_grant(), Some(10));
    }

    #[test]
    fn a_sender_who_fills_the_window_leaves_room_for_our_words() {
        for (window, kept) in [(2u32 << 20, 32 << 10), (64 << 10, 1024), (4096, 0)] {
            let (mut ledger, offer) = Ledger::open_with_words(window, window);
            assert_eq!(offer, window - kept);
            ledger.received(offer as usize).unwrap();
            ledger.queued(offer as usize);
            assert_eq!(ledger.spare(), kept as usize);
            ledger.sent(offer as usize);
            assert_eq!(ledger.next_grant(), None);
            assert_eq!(ledger.spare(), kept as usize);
            // What is granted anew may all be used.
            ledger.granted(offer).unwrap();
            assert_eq!(ledger.next_grant(), Some(offer));
            assert_eq!(ledger.spare(), kept as usize);
        }
    }

    #[test]
    fn a_window_that_widens_keeps_room_for_our_words_from_then_on() {
        let (mut ledger, offer) = Ledger::open_with_words(0, 4 << 20);
        assert_eq!(offer, 0);
        ledger.granted(2 << 20).unwrap();
        assert_eq!(ledger.next_grant(), Some((2 << 20) - (32 << 10)));
        assert_eq!(ledger.spare(), 32 << 10);
    }

    #[test]
    fn a_window_that_begins_at_nothing_opens() {
        let (mut ledger, offer) = Ledger::open(0, 1 << 20);
        assert_eq!((offer, ledger.next_grant()), (0, None));
        ledger.granted(2 << 20).unwrap();
        assert_eq!(ledger.next_grant(), Some(1 << 20));
    }

    #[test]
    fn a_window_beyond_the_protocol_is_refused() {
        let (mut ledger, _) = Ledger::open(u32::MAX, 1 << 20);
        assert_eq!(ledger.granted(1), Err(Overflow));
    }

    #[test]
    fn a_closed_sender_leaves_its_room_to_us() {
        let (mut ledger, _) = Ledger::open(64, 64);
        assert_eq!(ledger.spare(), 0);
        ledger.close_source();
        assert_eq!(ledger.spare(), 64);
        assert_eq!(ledger.received(1000), Ok(()));
        assert_eq!(ledger.next_grant(), None);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Receive(u32),
        Send(u32),
        Grant(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0u32..3000).prop_map(Step::Receive),
            (0u32..3000).prop_map(Step::Send),
            (0u32..3000).prop_map(Step::Grant),
            (0u32..600_000).prop_map(Step::Receive),
            (0u32..600_000).prop_map(Step::Send),
            (0u32..600_000).prop_map(Step::Grant),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Never more granted to the sender than the receiver granted; never more waiting than
        /// `cap`; no credit lost; a sender whose receiver has room has room; and no grant takes
        /// the room that is kept for words.
        #[test]
        fn books_balance(
            first in prop_oneof![0u32..5000, 0u32..1_000_000],
            cap in prop_oneof![1u32..4000, 1u32..1_000_000],
            speaks: bool,
            steps in steps(),
        ) {
            let open = if speaks { Ledger::open_with_words } else { Ledger::open };
            let (mut ledger, mut sender_has) = open(first, cap);
            prop_assert!(sender_has > 0 || first == 0);
            let (mut granted_to_us, mut granted_by_us) = (u64::from(first), u64::from(sender_has));
            let (mut here, mut sent) = (0u64, 0u64);
            for step in steps {
                match step {
                    Step::Receive(n) => {
                        let n = n.min(sender_has);
                        ledger.received(n as usize).unwrap();
                        ledger.queued(n as usize);
                        sender_has -= n;
                        here += u64::from(n);
                    }
                    Step::Send(n) => {
                        let n = u64::from(n).min(here).min(ledger.may_send() as u64);
                        ledger.sent(usize::try_from(n).unwrap());
                        here -= n;
                        sent += n;
                    }
                    Step::Grant(n) => {
                        ledger.granted(n).unwrap();
                        granted_to_us += u64::from(n);
                    }
                }
                if let Some(more) = ledger.next_grant() {
                    sender_has += more;
                    granted_by_us += u64::from(more);
                    prop_assert!(ledger.spare() as u64 >= ledger.kept());
                }
                prop_assert!(granted_by_us <= granted_to_us);
                prop_assert!(here + u64::from(sender_has) <= u64::from(cap));
                prop_assert!(here + u64::from(sender_has) <= granted_to_us - sent);
                prop_assert_eq!(ledger.waiting(), here);
                if here == 0 && granted_to_us > sent + ledger.kept() {
                    prop_assert!(sender_has > 0, "a sender stalls although there is room");
                }
            }
        }
    }
}
