//! Values are found in what a terminal shows, whatever draws it, and masked where they lie.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use proptest::prelude::*;
use terminal::vtmap::{Find, MAX_HELD, Masker, Span};

/// Finds runs of 16 digits, blanks and dashes between them or not, as a masker with a bounded
/// look ahead would: what might go on is not told.
#[derive(Default)]
struct Cards {
    text: Vec<u8>,
    count: usize,
}

impl Cards {
    fn tell(&mut self, last: bool, found: &mut Vec<Span<()>>) {
        let part = |b: &u8| b.is_ascii_digit() || matches!(b, b' ' | b'-');
        loop {
            let plain = self.text.iter().take_while(|b| !b.is_ascii_digit()).count();
            let run = self.text[plain..].iter().take_while(|b| part(b)).count();
            if plain > 0 {
                found.push(Span { bytes: plain, kind: None });
                self.text.drain(..plain);
            }
            if run == 0 || (run == self.text.len() && !last && run < 64) {
                return;
            }
            let value = &self.text[..run];
            let used = value.iter().rposition(u8::is_ascii_digit).unwrap() + 1;
            let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
            found.push(Span { bytes: used, kind: (digits == 16).then_some(()) });
            self.text.drain(..used);
        }
    }
}

impl Find for Cards {
    type Kind = ();

    fn push(&mut self, text: &[u8], found: &mut Vec<Span<()>>) {
        self.text.extend_from_slice(text);
        self.tell(false, found);
    }

    fn finish(&mut self, found: &mut Vec<Span<()>>) {
        self.tell(true, found);
        assert!(self.text.is_empty());
    }

    fn masked(&mut self, (): ()) {
        self.count += 1;
    }
}

fn masked_at(bytes: &[u8], columns: u16, piece: usize) -> (String, usize) {
    let mut masker = Masker::new(Cards::default());
    masker.resize(columns, 24);
    let mut out = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        masker.output(part);
        let ready = masker.ready();
        masker.take(ready, &mut out);
    }
    masker.settle();
    let ready = masker.ready();
    masker.take(ready, &mut out);
    (String::from_utf8_lossy(&out).into_owned(), masker.finder().count)
}

fn masked(text: &str) -> String {
    masked_at(text.as_bytes(), 80, text.len()).0
}

const CARD: &str = "4111 1111 1111 1111";

#[test]
fn what_is_shown_is_masked_and_escapes_inside_are_kept() {
    let stars = "*".repeat(19);
    assert_eq!(masked(&format!("card {CARD}.\r\nnext\r\n")), format!("card {stars}.\r\nnext\r\n"));
    assert_eq!(
        masked("a \x1b[1m4111 \x1b[31m1111\x1b]0;t\x07 1111 11\x1b[0m11\x1b[K\r\n"),
        "a \x1b[1m*****\x1b[31m****\x1b]0;t\x07********\x1b[0m**\x1b[K\r\n"
    );
    // A title is nothing that is shown in a line.
    let title = format!("\x1b]0;{CARD}\x07\r\n");
    assert_eq!(masked(&title), title);
}

#[test]
fn overwriting_hides_nothing() {
    // Erased, overwritten, struck over, typed with a mistake, moved over, repeated.
    for text in [
        "4111 1111 1111 1111\r\x1b[K\r\n",
        "4111 1111 1111 1111\rxxxxxxxxxxxxxxxxxxx\r\n",
        "4\x084111 1111 1\x081111 1111\r\n",
        "_\x084_\x081_\x081_\x081 1111 1111 1111\r\n",
        "4111 1112\x081 1111 1111\r\n",
        "4111\x1b[C1111\x1b[C1111\x1b[C1111\r\n",
        "4\x1b[14b1\r\n",
        "1111 1111 1111\r\x1b[5@4111\r\n",
        "4111 11xx11 1111 1111\x1b[14D\x1b[2P\r\n",
        "\x1b[3;7H4111\x1b[m 1111 1111 1111\x1b[5;1H",
    ] {
        let out = masked(text);
        let digits = out.chars().filter(char::is_ascii_digit).count();
        let of_escapes = text.matches("\x1b[").count() * 3;
        assert!(digits <= of_escapes, "{text:?}: {out:?}");
        assert!(!out.contains("111"), "{text:?}: {out:?}");
    }
    assert_eq!(masked("12\r34\r\n"), "12\r34\r\n");
}

/// A fuzzer's find: whether the bytes of a line that was left are still there is chance.
#[test]
fn a_repetition_in_another_line_masks_nothing_of_the_first() {
    let text = "1\r\n\x1b[15b x\r\n";
    for piece in 1..=text.len() {
        assert_eq!(masked_at(text.as_bytes(), 80, piece).0, text);
    }
}

/// A property's find: a pager shows what is underlined, a screen the underline alone.
#[test]
fn an_underline_over_a_character_is_read_both_ways() {
    assert_eq!(masked("5\x08_4111111111111111\r\n"), format!("5\x08_{}\r\n", "*".repeat(16)));
    assert_eq!(masked("411111111111111\x08_1\r\n").matches('1').count(), 0);
}

#[test]
fn rows_that_wrap_are_joined() {
    let before = "x".repeat(70);
    // The terminal wraps.
    let out = masked(&format!("{before}{CARD}\r\nnext"));
    assert_eq!(out, format!("{before}{}\r\nnext", "*".repeat(19)));
    // As readline makes a terminal wrap.
    let out = masked(&format!("{before}4111 1111  \r1111 1111\r\n"));
    assert!(!out.contains('1'), "{out:?}");
    // A program breaks a full row itself: alone, and joined with the next.
    let (full, rest) = CARD.split_at(10);
    let out = masked(&format!("{before}{full}\r\n{rest} x\r\n"));
    assert!(!out.contains('1'), "{out:?}");
    let out = masked(&format!("\x1b[1;1H{before}{full}\x1b[2;1H{rest} x\x1b[9;1H"));
    assert!(!out.contains("11 11") && !out.contains("1111"), "{out:?}");
    let alone = format!("{}{CARD}", "x".repeat(61));
    assert!(!masked(&format!("{alone}\r\n5 x\r\n")).contains('1'));
    // Another width, another wrap; without one, none.
    assert!(masked_at(format!("{}\r\n", "4111".repeat(4)).as_bytes(), 7, 3).0.starts_with("****"));
    let far = format!("{}{CARD}\r\n", "x".repeat(5000));
    assert!(!masked_at(far.as_bytes(), 0, 100).0.contains('1'));
    let far = format!("{}{CARD}{}\r\n", "x".repeat(4090), "y".repeat(9000));
    for columns in [0, 80, 81] {
        assert!(!masked_at(far.as_bytes(), columns, 1000).0.contains('1'));
    }
}

/// Broken UTF-8 shows as a character of its own; found by the fuzz target.
#[test]
fn broken_characters_take_their_own_bytes() {
    let bytes = b"4111\xe6\xbc\x01 1111 1111 1111 1111\xe6\r\n\xf0\x9f 4111";
    for piece in 1..9 {
        let (out, count) = masked_at(bytes, 80, piece);
        let stars = "*".repeat(19);
        assert_eq!((out, count), (format!("4111\u{fffd}\x01 {stars}\u{fffd}\r\n\u{fffd} 4111"), 1));
    }
}

#[test]
fn wide_characters_and_keys_are_masked_by_columns() {
    let mut masker = Masker::new(Cards::default());
    let mut out = Vec::new();
    masker.output("漢字 ".as_bytes());
    for key in "4111111111111111".chars() {
        let key = key.to_string();
        masker.keys(key.as_bytes());
        masker.output(key.as_bytes());
    }
    masker.output("\u{301} é\r\n".as_bytes());
    masker.settle();
    assert_eq!(masker.ready(), "漢字 ".len() + 32 + "\u{301} é\r\n".len());
    masker.take(usize::MAX, &mut out);
    // A mark above the last digit goes with it.
    let wanted = format!("漢字 {} é\r\n", "*".repeat(32));
    assert_eq!(String::from_utf8(out).unwrap().replace('\u{301}', ""), wanted);
    assert_eq!(masker.finder().count, 1);
    assert!(masker.is_empty());
}

#[test]
fn a_line_that_goes_on_after_it_was_settled_is_looked_at_whole() {
    let mut masker = Masker::new(Cards::default());
    let mut out = Vec::new();
    for part in ["4111 1111 11", "11 1111\r\n"] {
        masker.output(part.as_bytes());
        masker.settle();
        masker.take(masker.ready(), &mut out);
    }
    assert_eq!(String::from_utf8(out).unwrap(), "4111 1111 11*******\r\n");
}

#[test]
fn no_more_is_held_than_may_be() {
    let mut masker = Masker::new(Cards::default());
    masker.resize(0, 0);
    let mut out = Vec::new();
    for text in
        ["1", "\x1b[500C1", "1\r", "\x1b[", "\x1b]x", "1\x1b[999b", "\t", "\x1b[999@1", "漢"]
    {
        for _ in 0..20 {
            masker.output(text.repeat(500).as_bytes());
            masker.take(masker.ready(), &mut out);
            assert!(!masker.is_empty() || masker.ready() == 0);
        }
        masker.settle();
        masker.take(masker.ready(), &mut out);
        assert!(masker.is_empty() && out.len() <= 20 * 500 * 12 + MAX_HELD, "{text:?}");
        out.clear();
    }
}

/// What a terminal of 80 columns shows.
fn screen(bytes: &[u8]) -> String {
    let mut screen = vt100::Parser::default();
    screen.process(bytes);
    screen.screen().contents()
}

fn escape() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\x1b[m",
        "\x1b[1;31m",
        "\x1b[?25l",
        "\x1b]0;123\x07",
        "\x1b]8;;x\x1b\\",
        "\x1b(B",
        "\x1b[K",
        "\x1bP1$q\x1b\\",
        "\x07",
        "\0",
        "\x1b[38;5;1m",
        "\x1b7",
        "\x1b=",
        "",
    ])
}

/// Pieces of what programs print.
fn output() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[0-9 ]{1,9}",
        2 => "[a-zé漢_-]{1,9}",
        3 => escape().prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "\r\n", "\r", "\x08", "\n", "\t", "\x1b[5;9H", "\x1b[3C", "\x1b[2D", "\x1b[1K", "\x1b[2K",
            "\x1b[3P", "\x1b[2@", "\x1b[4X", "\x1b[7G", "\x1b[A", "\x1b[J", "\x1b[9b", "\x1b[?7l",
            "\x1b[?7h", "\x1b[?1049h", CARD, "4111111111111111",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|it| it.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    /// Escapes that move nothing change nothing of what is found, wherever they are put.
    #[test]
    fn escapes_anywhere_hide_nothing(
        before in "[a-z ]{0,90}",
        card in prop::sample::select(vec![CARD, "4111111111111111", "4111-1111-1111-1111"]),
        escapes in prop::collection::vec((0_usize..19, escape()), 0..12),
        piece in 1_usize..40,
    ) {
        let mut text = String::new();
        let mut sprinkled = before.clone() + " ";
        for (at, c) in card.chars().enumerate() {
            sprinkled.extend(escapes.iter().filter(|(to, _)| *to == at).map(|(_, it)| *it));
            sprinkled.push(c);
        }
        text.push_str(&sprinkled);
        text.push_str(".\r\n");
        let (out, count) = masked_at(text.as_bytes(), 80, piece);
        prop_assert_eq!(count, 1);
        let plain = |it: &str| {
            let mut it = it.to_owned();
            let mut escapes: Vec<&str> = escapes.iter().map(|(_, it)| *it).collect();
            escapes.sort_by_key(|it| std::cmp::Reverse(it.len()));
            for escape in escapes.iter().filter(|it| !it.is_empty()) {
                it = it.replace(escape, "");
            }
            it
        };
        let wanted = format!("{before} {}.\r\n", "*".repeat(card.len()));
        prop_assert_eq!(plain(&out), wanted);
    }

    /// Where output is cut changes nothing.
    #[test]
    fn where_it_is_cut_changes_nothing(text in output(), piece in 1_usize..9, columns in prop::sample::select(vec![0_u16, 10, 80])) {
        let whole = masked_at(text.as_bytes(), columns, text.len());
        prop_assert_eq!(masked_at(text.as_bytes(), columns, piece), whole);
    }

    /// Masking moves nothing: on the screen, what differs are stars.
    #[test]
    fn only_stars_differ_on_the_screen(text in output()) {
        // Where nothing wraps, terminals differ in what a wide character does in the last column.
        prop_assume!(!text.contains("\x1b[?7l"));
        let (out, _) = masked_at(text.as_bytes(), 80, 7);
        let (one, other) = (screen(text.as_bytes()), screen(out.as_bytes()));
        prop_assert_eq!(one.chars().count(), other.chars().count());
        for (a, b) in one.chars().zip(other.chars()) {
            prop_assert!(a == b || b == '*', "{:?} {:?}", one, other);
        }
    }

    /// What a screen of a line shows of a value is found: the model is as a real one.
    #[test]
    fn what_a_screen_shows_is_found(text in output()) {
        // What moves to other rows is told piece by piece.
        prop_assume!(!["\x1b[A", "\x1b[J", "H", "\x1b[?", "\n", "\t"].iter().any(|it| text.contains(it)));
        let (out, _) = masked_at(text.as_bytes(), 80, 7);
        let (shown, masked) = (screen(text.as_bytes()), screen(out.as_bytes()));
        prop_assume!(shown.lines().count() == 1);
        let mut cards = Cards::default();
        let mut found = Vec::new();
        cards.push(shown.trim_end().as_bytes(), &mut found);
        cards.finish(&mut found);
        let wanted: Vec<bool> =
            found.iter().flat_map(|it| std::iter::repeat_n(it.kind.is_some(), it.bytes)).collect();
        for ((at, _), after) in shown.trim_end().char_indices().zip(masked.chars()) {
            prop_assert!(!wanted[at] || matches!(after, '*' | ' '), "{:?} {:?} {:?}", text, shown, masked);
        }
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..600), columns in 0_u16..100) {
        let whole = masked_at(&bytes, columns, 600);
        prop_assert_eq!(masked_at(&bytes, columns, 1), whole);
    }
}
