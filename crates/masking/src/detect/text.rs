//! Looking at bytes without leaving the text.

/// The byte at `i`; 0, which belongs to no value, outside the text.
#[inline(always)]
pub(super) fn at(text: &[u8], i: usize) -> u8 {
    text.get(i).copied().unwrap_or(0)
}

/// The byte before `i`; 0 at the start.
#[inline(always)]
pub(super) fn before(text: &[u8], i: usize) -> u8 {
    if i == 0 { 0 } else { at(text, i - 1) }
}

/// Whether a value may begin or end beside this byte.
#[inline(always)]
pub(super) fn is_edge(b: u8) -> bool {
    !(b.is_ascii_alphanumeric() || b == b'_')
}

/// First byte of the run of `class` that holds the byte before `end`, looking
/// back no further than `low`.
#[inline(always)]
pub(super) fn run_start(text: &[u8], end: usize, low: usize, class: impl Fn(u8) -> bool) -> usize {
    let mut i = end;
    while i > low && class(at(text, i - 1)) {
        i -= 1;
    }
    i
}

/// One past the last byte of the run of `class` from `start`, at most `max` long.
#[inline(always)]
pub(super) fn run_end(text: &[u8], start: usize, max: usize, class: impl Fn(u8) -> bool) -> usize {
    let high = text.len().min(start.saturating_add(max));
    let mut i = start;
    while i < high && class(at(text, i)) {
        i += 1;
    }
    i
}

/// The bytes of a range, empty when it is not inside the text.
#[inline(always)]
pub(super) fn slice(text: &[u8], start: usize, end: usize) -> &[u8] {
    text.get(start..end).unwrap_or_default()
}

/// A set of bytes, told by one look.
pub(super) struct Bytes([bool; 256]);

impl Bytes {
    /// Letters and digits of ASCII, and `more`.
    #[expect(clippy::indexing_slicing, reason = "a byte is no more than 255")]
    pub(super) const fn alphanumeric_and(more: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut b = 0u8;
        while b < 128 {
            set[b as usize] = b.is_ascii_alphanumeric();
            b += 1;
        }
        let mut rest = more;
        while let [b, more @ ..] = rest {
            set[*b as usize] = true;
            rest = more;
        }
        Self(set)
    }

    #[inline(always)]
    pub(super) fn has(&self, b: u8) -> bool {
        self.0.get(usize::from(b)).is_some_and(|has| *has)
    }
}
