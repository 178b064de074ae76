//! What a program says and reads, in pieces, as the client and the record get it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use masking::Policy;
use proptest::prelude::*;
use stdio_recorder::{Options, RecordInput, Recorder, Stdin};
use terminal::frames::Reader;

const CARD: &str = "4111 1111 1111 1111";

/// Cards are replaced in the record, and so treated for the client.
fn cards(client: &str) -> Arc<Policy> {
    let text = format!(
        "version = 1\n[[rule]]\nentity = ['CREDIT_CARD']\nclient = {{ operator = '{client}' }}\n\
         record = {{ operator = 'replace' }}\n"
    );
    Arc::new(Policy::compile(&toml::from_str(&text).unwrap(), None).unwrap())
}

fn masking() -> Arc<Policy> {
    cards("replace")
}

fn recorder(options: Options) -> Recorder {
    Recorder::new(&masking(), options)
}

/// What the record has by now: each frame's letter and bytes, those of one letter joined.
fn record(recorder: &mut Recorder) -> Vec<(char, String)> {
    let mut reader = Reader::new();
    while let Some(frame) = recorder.next_frame() {
        reader.push(&frame);
    }
    recorder.keys().drain(..).for_each(|frame| reader.push(&frame));
    let mut all: Vec<(char, String)> = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        let (letter, text) =
            (char::from(frame.kind.letter()), String::from_utf8_lossy(&frame.bytes).into_owned());
        match all.last_mut() {
            Some((last, before)) if *last == letter => before.push_str(&text),
            _ => all.push((letter, text)),
        }
    }
    all
}

fn all(recorder: &mut Recorder, letter: char) -> String {
    record(recorder).into_iter().filter(|it| it.0 == letter).map(|it| it.1).collect()
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(50))
}

#[test]
fn a_value_in_two_pieces_is_found_whoever_says_it() {
    let options = Options { mask_client: true, ..Options::default() };
    for stdin in [Stdin::Among, Stdin::Apart] {
        let mut recorder = recorder(Options { stdin, ..options });
        let (mut seen, mut sent) = (Vec::new(), String::new());
        for piece in ["card 4111 1111 ", "1111 1111\n"] {
            recorder.input(piece.as_bytes());
            seen.extend(recorder.output(false, piece.as_bytes()).unwrap());
        }
        assert!(recorder.tail_due().is_some());
        let [(_, out), (_, err)] = recorder.tails(soon());
        seen.extend(out);
        assert_eq!(
            (String::from_utf8(seen).unwrap(), err.len()),
            ("card <CREDIT_CARD>\n".into(), 0)
        );
        recorder.end_of_input();
        recorder.end_of_output();
        sent.push_str(&String::from_utf8(std::mem::take(recorder.stdin())).unwrap());
        let kept = record(&mut recorder);
        let of = |letter| -> String {
            kept.iter().filter(|it| it.0 == letter).map(|it| it.1.as_str()).collect()
        };
        sent.push_str(&of('i'));
        assert_eq!(
            (sent.as_str(), of('o').as_str()),
            ("card <CREDIT_CARD>\n", "card <CREDIT_CARD>\n")
        );
    }
}

#[test]
fn what_was_sent_is_on_record_in_ten_milliseconds() {
    let mut recorder = recorder(Options::default());
    recorder.input(b"rm -rf /\n");
    assert_eq!((recorder.unrecorded(), record(&mut recorder).len()), (9, 0));
    let due = recorder.tail_due().unwrap();
    assert!(due <= Instant::now() + Duration::from_millis(10));
    recorder.tails(Some(due - Duration::from_millis(1)));
    assert_eq!(recorder.unrecorded(), 9);
    recorder.tails(Some(due));
    assert_eq!(recorder.unrecorded(), 0);
    assert_eq!(record(&mut recorder), [('i', "rm -rf /\n".to_owned())]);
    assert_eq!(recorder.tail_due(), None);
}

#[test]
fn what_no_frame_has_the_client_does_not_see() {
    // Masked for the record alone, and for both.
    for policy in [cards("replace"), cards("keep")] {
        let options = Options { mask_client: true, ..Options::default() };
        let mut recorder = Recorder::new(&policy, options);
        let (mut seen, mut kept) = (0, 0);
        for length in [10, 3000, 1, 40_000, 7] {
            let said = vec![b'x'; length];
            seen += recorder.output(false, &said).unwrap().len();
            kept += all(&mut recorder, 'o').len();
            assert!(seen <= kept, "{seen} {kept}");
        }
        assert!(kept > 40_000, "{kept}");
        let due = recorder.tail_due().unwrap();
        seen += recorder.tails(Some(due))[0].1.len();
        kept += all(&mut recorder, 'o').len();
        assert_eq!((seen, kept), (43_018, 43_018));
        assert_eq!(recorder.tail_due(), None);
        // As at the end of one way.
        recorder.output(true, b"oh");
        assert_eq!(recorder.end_of(true), b"oh");
        assert_eq!(all(&mut recorder, 'e'), "oh");
    }
}

#[test]
fn what_a_slow_client_holds_up_is_no_silence() {
    let mut recorder = recorder(Options { mask_client: true, ..Options::default() });
    recorder.output(false, b"card 4111 1111 ");
    let due = recorder.tail_due().unwrap();
    std::thread::sleep(Duration::from_millis(2));
    recorder.postpone();
    assert!(recorder.tail_due().unwrap() > due);
    assert_eq!(recorder.tails(Some(due)), [(false, vec![]), (true, vec![])]);
    recorder.output(false, b"1111 1111\n");
    assert_eq!(recorder.end_of(false), b"card <CREDIT_CARD>\n");
    assert_eq!(all(&mut recorder, 'o'), "card <CREDIT_CARD>\n");
    recorder.postpone();
    assert_eq!(recorder.tail_due(), None);
}

#[test]
fn a_trickle_is_shown_in_a_second() {
    let mut recorder = recorder(Options { mask_client: true, ..Options::default() });
    let begun = Instant::now();
    let mut shown = Vec::new();
    while shown.is_empty() {
        shown.extend(recorder.output(false, b".").unwrap());
        std::thread::sleep(Duration::from_millis(20));
        shown.extend(recorder.tails(Some(Instant::now())).into_iter().flat_map(|it| it.1));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    // Where the machine was slow there was a silence of 40 ms before.
    assert!(!shown.is_empty() && shown.iter().all(|it| *it == b'.'));
}

#[test]
fn what_waits_behind_a_terminal_s_line_is_bounded_and_a_cut_character_wakes_nobody() {
    let mut recorder = recorder(Options { terminal: true, ..Options::default() });
    // A line that does not end, and behind it sizes without number.
    recorder.output(false, b"$ ");
    for _ in 0..10_000 {
        recorder.resize(80, 24);
    }
    let waits = 10_000 - all(&mut recorder, 'r').len() / 4;
    assert!(waits < 1_500, "{waits}");
    recorder.output(false, b"\xc3");
    let due = recorder.tail_due().unwrap();
    recorder.tails(Some(due));
    assert_eq!(recorder.tail_due(), None);
    recorder.end_of_output();
    assert!(all(&mut recorder, 'o').starts_with('\u{fffd}'));
}

#[test]
fn a_key_that_is_not_echoed_is_counted() {
    let terminal = Options { terminal: true, ..Options::default() };
    let mut echoed = recorder(terminal);
    assert!(echoed.keys_go_first());
    echoed.input(b"ls");
    echoed.output(false, b"ls");
    echoed.input(b"\r");
    echoed.output(false, b"\r\nPassword: ");
    echoed.input(b"hunter2\r");
    echoed.output(false, b"\r\nok\r\n");
    echoed.end_of_output();
    let kept = record(&mut echoed);
    let of = |letter| -> String {
        kept.iter().filter(|it| it.0 == letter).map(|it| it.1.as_str()).collect()
    };
    assert_eq!((of('i').as_str(), of('h').as_str()), ("ls\r\r", "7"));
    assert_eq!(of('o'), "ls\r\nPassword: \r\nok\r\n");

    let mut every = recorder(Options { record_input: RecordInput::All, ..terminal });
    assert!(!every.keys_go_first());
    every.output(false, b"$ ");
    every.input(b"hunter2\r");
    assert_eq!(record(&mut every), [('o', "$ ".into()), ('i', "hunter2\r".into())]);

    let mut none = recorder(Options { record_input: RecordInput::None, ..terminal });
    none.input(b"ls\r");
    none.output(false, b"ls\r\n");
    none.end_of_output();
    assert_eq!(record(&mut none), [('o', "ls\r\n".to_owned())]);
}

#[test]
fn what_is_no_text_passes_if_it_may_and_is_not_kept() {
    let said = [b"\0\0tar ", CARD.as_bytes()].concat();
    let passes = Options { mask_client: true, binary_passes: true, ..Options::default() };
    for options in [passes, Options { binary_passes: false, ..passes }] {
        let mut recorder = recorder(options);
        let mut seen = Vec::new();
        for piece in [&b"a head, and then "[..], &said] {
            seen.extend(recorder.output(false, piece).unwrap());
        }
        recorder.tails(None).into_iter().for_each(|(_, tail)| seen.extend(tail));
        let passed = [b"a head, and then ", &said[..]].concat();
        assert_eq!(seen == passed, options.binary_passes, "{}", String::from_utf8_lossy(&seen));
        recorder.end_of_output();
        assert!(!all(&mut recorder, 'o').contains("tar"));
        assert!(recorder.details().contains(&("stdout_kept", "counted".to_owned())));
    }
    // A shell passes over a NUL, and does what it is told.
    let mut recorder = recorder(passes);
    recorder.input(b"\0rm -rf /\n");
    recorder.end_of_input();
    assert_eq!(all(&mut recorder, 'i'), "\0rm -rf /\n");
}

#[test]
fn a_digest_alone_keeps_no_byte_and_waits_for_none() {
    for terminal in [false, true] {
        let options = Options { digest_only: true, terminal, ..Options::default() };
        let mut recorder = recorder(options);
        recorder.input(b"secret\n");
        recorder.output(false, b"more of it\n");
        recorder.resize(80, 24);
        assert_eq!((recorder.unrecorded(), recorder.tail_due()), (0, None));
        recorder.exited("0".to_owned());
        recorder.end_of_output();
        assert_eq!(record(&mut recorder), []);
        assert!(recorder.details().contains(&("stdout_bytes", "11".to_owned())));
    }
}

#[test]
fn how_it_ended_is_behind_all_that_was_said_and_there_once() {
    let mut recorder = recorder(Options::default());
    recorder.output(false, b"almost ");
    recorder.exited("3".to_owned());
    recorder.output(false, b"done\n");
    recorder.output(true, b"oh\n");
    recorder.end_of_output();
    recorder.record_exit();
    let want = [('o', "almost done\n"), ('e', "oh\n"), ('x', "3")];
    assert_eq!(record(&mut recorder), want.map(|(kind, text)| (kind, text.to_owned())));
}

proptest! {
    /// Wherever what is said is cut, client and record have the same.
    #[test]
    fn cuts_change_nothing(
        words in proptest::collection::vec("[a-z0-9 ]{0,12}|4111 1111 1111 1111", 0..40),
        cuts in proptest::collection::vec(1usize..40, 1..8),
    ) {
        let text = words.join("\n");
        let run = |pieces: &[&[u8]]| {
            let mut recorder = recorder(Options { mask_client: true, ..Options::default() });
            let mut seen = Vec::new();
            for piece in pieces {
                recorder.input(piece);
                seen.extend(recorder.output(false, piece).unwrap());
            }
            recorder.tails(None).into_iter().for_each(|(_, tail)| seen.extend(tail));
            recorder.end_of_input();
            recorder.end_of_output();
            let kept = record(&mut recorder);
            let of = |letter| -> String {
                kept.iter().filter(|it| it.0 == letter).map(|it| it.1.as_str()).collect()
            };
            (String::from_utf8(seen).unwrap(), of('i'), of('o'))
        };
        let whole = run(&[text.as_bytes()]);
        let (mut rest, mut pieces) = (text.as_bytes(), Vec::new());
        for cut in cuts.iter().cycle() {
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = more;
            if rest.is_empty() { break }
        }
        prop_assert!(!whole.0.contains(CARD) && !whole.2.contains(CARD));
        prop_assert_eq!(run(&pieces), whole);
    }
}
