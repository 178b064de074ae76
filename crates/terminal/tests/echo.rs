//! Where a program's output is cut changes nothing in what is told of the keys.

use proptest::prelude::*;
use terminal::echo::{Echo, Keys};

/// All that is told, as one run of each kind after another.
#[derive(Default)]
struct Told(Vec<Keys>);

impl Told {
    fn add(&mut self, known: Vec<Keys>) {
        for keys in known {
            match (self.0.last_mut(), keys) {
                (Some(Keys::Shown(last)), Keys::Shown(more)) => last.extend(more),
                (Some(Keys::Hidden(last)), Keys::Hidden(more)) => *last += more,
                (_, keys) => self.0.push(keys),
            }
        }
    }
}

/// A conversation: what is typed, and what is printed behind it, in pieces of so many bytes.
fn told(turns: &[(Vec<u8>, Vec<u8>)], piece: usize) -> Vec<Keys> {
    let (mut echo, mut all) = (Echo::new(), Told::default());
    for (typed, printed) in turns {
        all.add(echo.typed(typed));
        printed.chunks(piece).for_each(|part| all.add(echo.shown(part)));
    }
    all.add(echo.give_up());
    all.0
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        "[a-cé漢]{0,3}".prop_map(String::into_bytes),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\x1b[1m".to_vec()),
        Just(b"\x1b]0;abc\x07".to_vec()),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(word, 0..6).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn where_output_is_cut_changes_nothing(
        turns in prop::collection::vec((words(), words()), 0..6),
        piece in 1_usize..7,
    ) {
        prop_assert_eq!(told(&turns, piece), told(&turns, usize::MAX));
    }
}
