//! What terminals show, masked: for the record by what a reader sees, and for the client if so
//! configured.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod terminals;

use serde_json::Value;
use terminals::{Gateway, Screen, Terminal, text};

const CARDS: &str = r#"
[masking]
[[masking.rule]]
entity = ["CREDIT_CARD"]
client = { operator = "mask" }
record = { operator = "redact" }
"#;

/// A value that no file of ours holds as it is.
fn card() -> String {
    ["4111", "1111", "1111", "1111"].join(" ")
}

fn output(events: &[Value]) -> String {
    let of = events.iter().filter(|event| event[1] == "o");
    of.map(|event| event[2].as_str().unwrap()).collect()
}

/// A shell in which files with the card are shown and the card is typed; what the client got.
fn shell(gateway: &Gateway) -> Vec<u8> {
    let card = card();
    let colours = card.replace("1 1", "1\x1b[31m 1\x1b[0m");
    let wrapped = format!("{} {card} end", "x".repeat(61));
    for (name, content) in [("plain", &card), ("colours", &colours), ("wrapped", &wrapped)] {
        std::fs::write(gateway.dir().join(name), format!("{name}: {content}\n")).unwrap();
    }
    let mut terminal = Terminal::start(gateway, (80, 24), &[]);
    terminal.until("a prompt", |screen| screen.ends_with(['$', '#']));
    terminal.types(&format!("cd {}; PS1='> '\r", gateway.dir().display()));
    terminal.until("the folder", |screen| screen.ends_with('>'));
    for name in ["plain", "colours", "wrapped"] {
        terminal.types(&format!("cat {name}\r"));
        terminal.until(name, |screen| screen.contains(&format!("{name}: ")));
        terminal.quiet();
    }
    // With a mistake that is taken back.
    terminal.types("echo ");
    terminal.quiet();
    for key in card.replacen("1111", "112\x7f11", 1).chars() {
        terminal.types(&key.to_string());
        std::thread::sleep(std::time::Duration::from_millis(60));
    }
    terminal.types(" typed\r");
    terminal.quiet();
    terminal.types("exit 0\r");
    let (seen, code) = terminal.end();
    assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&seen));
    seen
}

/// The digits of what a screen shows of this, in one.
fn shows_card(bytes: &[u8]) -> bool {
    let mut screen = Screen::new(80, 24);
    screen.feed(bytes);
    let shown: String = screen.contents().chars().filter(|c| !c.is_whitespace()).collect();
    shown.contains(&card().replace(' ', ""))
}

#[test]
fn a_terminals_record_holds_no_card_whatever_draws_it() {
    let Some(mut gateway) = Gateway::with("", CARDS) else { return };
    let seen = shell(&gateway);
    assert!(shows_card(&seen), "the client is to see it");
    gateway.seal();
    let id = gateway.session();
    let events = gateway.cast(&id);
    let recorded = output(&events[1..]);
    assert!(!shows_card(recorded.as_bytes()), "{recorded:?}");
    assert!(!recorded.contains("111"), "{recorded:?}");
    // Nothing else differs, and nothing has moved.
    let stars = recorded.matches('*').count();
    assert!(stars >= 5 * 19, "{recorded:?}");
    let (mut one, mut other) = (Screen::new(80, 24), Screen::new(80, 24));
    one.feed(&seen);
    other.feed(recorded.as_bytes());
    let (one, other) = (one.contents(), other.contents());
    assert_eq!(one.len(), other.len());
    assert!(one.chars().zip(other.chars()).all(|(a, b)| a == b || b == '*'), "{one}\n{other}");
    assert!(recorded.contains("\x1b[31m"), "{recorded:?}");
    // Nor do the keys that were echoed, nor what is told of them.
    let keys: String = events[1..]
        .iter()
        .filter(|event| event[1] == "i")
        .map(|event| event[2].as_str().unwrap())
        .collect();
    assert!(keys.contains("cat plain\r") && !keys.contains("111"), "{keys:?}");
    let listed = text(&gateway.replay(&id, &["--commands"]));
    assert!(listed.contains("cat colours") && !listed.contains("1111"), "{listed}");
    // Times are those at which it came, not at which it was judged: the pauses are there.
    let waits: Vec<f64> =
        events[1..].iter().map(|event| event[0].as_f64().unwrap()).filter(|it| *it > 0.5).collect();
    assert!((3..=9).contains(&waits.len()), "{waits:?}");
}

#[test]
fn a_terminal_is_masked_for_the_client_if_so_configured() {
    let Some(mut gateway) = Gateway::with("mask_terminal = true", CARDS) else { return };
    let seen = shell(&gateway);
    let text = String::from_utf8_lossy(&seen).into_owned();
    // What was printed at once is masked, at the same width. What was typed key by key is not:
    // each echo is shown before the value is whole.
    let stars = "*".repeat(19);
    assert!(text.contains(&format!("plain: {stars}")), "{text:?}");
    assert!(text.contains("colours: ****") && text.contains("\x1b[31m**"), "{text:?}");
    assert!(text.contains(&format!("{stars} end")), "{text:?}");
    gateway.seal();
    let recorded = output(&gateway.cast(&gateway.session())[1..]);
    assert!(!recorded.contains("111"), "{recorded:?}");
}
