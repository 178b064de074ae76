//! What was found to hold nothing to mask, so that it is not searched again: names come again and
//! again in a document, and most values do.
//!
//! What is kept is the text itself, so nothing is taken for something else; where two texts want
//! one place the newer has it. The table grows with what a document has, up to a limit: many
//! documents are small, and some stay open for hours.

/// Longest text that is kept, in bytes.
const MAX_TEXT: usize = 96;
/// Places at first, and at most. Powers of two.
const LEAST_PLACES: usize = 32;
const MOST_PLACES: usize = 1024;

/// Texts of a document's members, or of their names, as they are written, quotes included.
#[derive(Default)]
pub(super) struct Clean {
    /// Each at its hash.
    places: Vec<Vec<u8>>,
    /// Texts that took the place of another since the table grew.
    crowded: usize,
}

impl Clean {
    /// Whether this text was found clean.
    pub(super) fn has(&self, text: &[u8]) -> bool {
        !text.is_empty() && self.places.get(self.place(text)).is_some_and(|known| known == text)
    }

    /// This text is clean.
    pub(super) fn add(&mut self, text: &[u8]) {
        if text.len() > MAX_TEXT {
            return;
        }
        if self.places.is_empty() {
            self.places.resize_with(LEAST_PLACES, Vec::new);
        } else if self.crowded > self.places.len() && self.places.len() < MOST_PLACES {
            self.grow();
        }
        let place = self.place(text);
        if let Some(known) = self.places.get_mut(place) {
            self.crowded += usize::from(!known.is_empty());
            known.clear();
            known.extend_from_slice(text);
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.places);
        self.places.resize_with(old.len() * 2, Vec::new);
        for text in old {
            let place = self.place(&text);
            if let Some(free) = self.places.get_mut(place) {
                *free = text;
            }
        }
        self.crowded = 0;
    }

    /// Where a text belongs. Who makes texts meet in one place has them searched again, no more.
    fn place(&self, text: &[u8]) -> usize {
        let mut words = text.chunks_exact(8);
        let mut hash = text.len() as u64;
        let mut mix = |word: [u8; 8]| {
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            hash ^= hash >> 32;
        };
        for word in &mut words {
            mix(word.try_into().unwrap_or_default());
        }
        let rest = words.remainder();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        mix(last);
        usize::try_from(hash).unwrap_or_default() & self.places.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_known_and_nothing_else() {
        let mut clean = Clean::default();
        assert!(!clean.has(b"") && !clean.has(b"a"));
        let texts: Vec<Vec<u8>> = (0..200).map(|n| format!("\"name-{n}\"").into_bytes()).collect();
        for _ in 0..10 {
            texts.iter().for_each(|text| clean.add(text));
        }
        // It has grown until most have a place of their own.
        let known = texts.iter().filter(|text| clean.has(text)).count();
        assert!(known > 150, "{known}");
        assert!(!clean.has(b"\"name-200\"") && !clean.has(b"") && !clean.has(b"\"name-1"));
    }

    #[test]
    fn it_has_limits() {
        let mut clean = Clean::default();
        clean.add(&[b'x'; MAX_TEXT + 1]);
        assert!(clean.places.is_empty());
        (0..100_000).for_each(|n| clean.add(format!("{n}").as_bytes()));
        assert_eq!(clean.places.len(), MOST_PLACES);
        assert!(clean.places.iter().all(|text| text.capacity() <= MAX_TEXT));
    }
}
