//! The Luhn check digit (ISO/IEC 7812-1 annex B).

/// Fewest and most digits a card number has.
pub(crate) const CARD_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;

/// The Luhn sum of the digits in `text` modulo 10, other bytes skipped.
fn sum(text: &[u8]) -> (u32, usize) {
    let mut total = 0u32;
    let mut n = 0usize;
    for d in text.iter().rev().filter(|b| b.is_ascii_digit()).map(|b| u32::from(b - b'0')) {
        total += if n % 2 == 1 {
            let x = d * 2;
            if x > 9 { x - 9 } else { x }
        } else {
            d
        };
        n += 1;
    }
    (total % 10, n)
}

/// Whether the digits of `text`, other bytes skipped, pass the test.
pub(crate) fn valid(text: &[u8]) -> bool {
    let (s, n) = sum(text);
    n > 0 && s == 0
}

/// If `text` holds as many digits as a card and they pass the test, changes
/// the last one so that they fail.
pub(crate) fn spoil(text: &mut [u8]) {
    let (s, n) = sum(text);
    if s == 0
        && CARD_DIGITS.contains(&n)
        && let Some(d) = text.iter_mut().rev().find(|b| b.is_ascii_digit())
    {
        *d = if *d == b'9' { b'0' } else { *d + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers() {
        assert!(valid(b"4111 1111 1111 1111"));
        assert!(!valid(b"4111 1111 1111 1112"));
        assert!(!valid(b""));
        let mut v = *b"4111111111111111";
        spoil(&mut v);
        assert_eq!(&v, b"4111111111111112");
        let mut short = *b"42";
        spoil(&mut short);
        assert_eq!(&short, b"42");
    }
}
