//! Which keys a screen echoed: where its output is cut changes nothing, and no key is told that was
//! not typed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use terminal::echo::{Echo, Keys};

/// What is told of a conversation, in pieces of so many bytes of output: a byte says whose the next
/// are, and how many.
fn told(data: &[u8], piece: usize) -> (Vec<Keys>, usize) {
    let mut echo = Echo::new();
    let (mut all, mut typed): (Vec<Keys>, usize) = (Vec::new(), 0);
    let mut tell = |known: Vec<Keys>| {
        for keys in known {
            match (all.last_mut(), keys) {
                (Some(Keys::Shown(last)), Keys::Shown(more)) => last.extend(more),
                (Some(Keys::Hidden(last)), Keys::Hidden(more)) => *last += more,
                (_, keys) => all.push(keys),
            }
        }
    };
    let mut rest = data;
    while let Some((&head, after)) = rest.split_first() {
        let (part, after) = after.split_at(usize::from(head >> 1).min(after.len()));
        rest = after;
        if head & 1 == 0 {
            typed += part.len();
            tell(echo.typed(part));
        } else {
            part.chunks(piece).for_each(|part| tell(echo.shown(part)));
        }
    }
    tell(echo.give_up());
    assert!(!echo.is_waiting());
    (all, typed)
}

fuzz_target!(|data: &[u8]| {
    let (whole, typed) = told(data, usize::MAX);
    assert_eq!(told(data, 1).0, whole);
    let count = |keys: &Keys| match keys {
        Keys::Shown(keys) => String::from_utf8_lossy(keys).chars().count(),
        Keys::Hidden(count) => usize::try_from(*count).unwrap_or(usize::MAX),
    };
    // A key may have had several bytes, and one that is no UTF-8 is told as U+FFFD; none was made up.
    assert!(whole.iter().map(count).sum::<usize>() <= typed);
});
