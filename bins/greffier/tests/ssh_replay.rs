//! Terminals as the SSH proxy itself recorded them, read by `greffier audit replay`: what was seen
//! at the client is what is on record.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be set up fails its test"
)]

mod terminals;

use serde_json::Value;
use terminal::replay::Sanitiser;
use terminals::{Gateway, Screen, Terminal, program, text};

/// The text of all events of a kind.
fn all(events: &[Value], code: &str) -> String {
    let of = events.iter().filter(|event| event[1] == code);
    of.map(|event| event[2].as_str().unwrap()).collect()
}

/// A shell in which a command, a password and a size were given; what came to the client.
fn shell(gateway: &Gateway) -> Vec<u8> {
    let mut terminal = Terminal::start(gateway, (100, 30), &[]);
    // What is typed before the prompt is there is shown apart from it.
    let prompt = |screen: &str| screen.ends_with(['$', '#']);
    terminal.until("a prompt", prompt);
    terminal.types("echo $((6*7)) done\r");
    terminal.until("an answer", |screen| screen.contains("42 done"));
    terminal.until("a prompt", prompt);
    terminal.resize(90, 25);
    terminal.types("stty size\r");
    terminal.until("the size", |screen| screen.contains("25 90"));
    terminal.until("a prompt", prompt);
    terminal.types("read -rs pw; echo got ${#pw}\r");
    terminal.until("no echo", |screen| screen.ends_with("got ${#pw}"));
    terminal.quiet();
    terminal.types("hunter2\r");
    terminal.until("it was read", |screen| screen.contains("got 7"));
    terminal.until("a prompt", prompt);
    terminal.types("exit 3\r");
    let (seen, code) = terminal.end();
    assert_eq!(code, Some(3));
    seen
}

#[test]
fn a_recorded_shell_is_what_the_client_saw() {
    let Some(mut gateway) = Gateway::start("") else { return };
    let seen = shell(&gateway);
    gateway.seal();
    let id = gateway.session();

    let (mut sanitiser, mut drawn) = (Sanitiser::new(), Vec::new());
    sanitiser.push(&seen, &mut drawn);
    let played = gateway.replay(&id, &[]);
    assert_eq!(text(&played), String::from_utf8_lossy(&drawn));

    let events = gateway.cast(&id);
    let term = serde_json::json!({"cols": 100, "rows": 30, "type": "xterm-256color"});
    assert_eq!((&events[0]["version"], &events[0]["term"]), (&3.into(), &term));
    let events = &events[1..];
    assert_eq!(all(events, "o"), String::from_utf8_lossy(&seen));
    assert_eq!(all(events, "r"), "100x3090x25");
    assert_eq!(all(events, "x"), "3");
    assert_eq!(events.last().unwrap()[1], "x");

    let listed = text(&gateway.replay(&id, &["--commands"]));
    for command in ["echo $((6*7)) done", "stty size", "read -rs pw; echo got ${#pw}", "exit 3"] {
        let line = listed.lines().find(|line| line.contains(command));
        assert!(line.is_some_and(|line| line.contains("screen")), "{command}: {listed}");
    }
    // By default what is typed is recorded when it is echoed: a password never is.
    let typed = all(events, "i");
    assert!(typed.starts_with("echo $((6*7)) done\rstty size\r"), "{typed:?}");
    assert!(!typed.contains('h') || !typed.contains("hunter2"), "{typed:?}");
    assert!(!typed.contains("hunt") && !listed.contains("hunter2"), "{typed:?}");
}

#[test]
fn keystrokes_are_recorded_as_configured() {
    for (word, wanted) in [("all", true), ("none", false)] {
        let line = format!("record_input = \"{word}\"");
        let Some(mut gateway) = Gateway::start(&line) else { return };
        let seen = shell(&gateway);
        gateway.seal();
        let id = gateway.session();
        let events = gateway.cast(&id);
        assert_eq!(all(&events[1..], "o"), String::from_utf8_lossy(&seen));
        let typed = all(&events[1..], "i");
        assert_eq!(typed.contains("hunter2\r"), wanted, "{typed:?}");
        assert_eq!(typed.is_empty(), !wanted, "{typed:?}");
    }
}

/// The screen that a cast shows after so many bytes of output; its resizes are obeyed.
fn replayed(events: &[Value], bytes: usize) -> String {
    let mut screen = Screen::new(80, 24);
    let mut left = bytes;
    for event in &events[1..] {
        let data = event[2].as_str().unwrap();
        match event[1].as_str().unwrap() {
            "r" => {
                let (columns, rows) = data.split_once('x').unwrap();
                screen.resize(columns.parse().unwrap(), rows.parse().unwrap());
            }
            "o" => {
                let now = left.min(data.len());
                screen.feed(&data.as_bytes()[..now]);
                left -= now;
                if left == 0 {
                    break;
                }
            }
            _ => {}
        }
    }
    assert_eq!(left, 0);
    screen.formatted()
}

#[test]
fn a_recorded_vim_shows_the_clients_screen_at_every_moment() {
    if program("vim").is_none() {
        return;
    }
    let Some(mut gateway) = Gateway::start("") else { return };
    let file = gateway.dir().join("lines");
    let lines: Vec<String> = (1..=200).map(|n| format!("line {n} é漢 {}", "x".repeat(n))).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let line = format!("LC_ALL=C.UTF-8 vim -u NONE -i NONE -n {}", file.display());
    let mut terminal = Terminal::start(&gateway, (80, 24), &[&line]);
    terminal.until("the file", |screen| screen.contains("line 3"));
    let mut moments = vec![terminal.moment()];
    for keys in
        ["G", "\x02", ":set number\r", "ggihello\x1b", ":set nowrap\r", ":syntax on\r", "/line 9\r"]
    {
        terminal.types(keys);
        moments.push(terminal.moment());
    }
    terminal.resize(60, 20);
    moments.push(terminal.moment());
    assert!(moments.last().unwrap().1.contains("line 9"), "{moments:?}");
    terminal.types(":q!\r");
    let (seen, code) = terminal.end();
    assert_eq!(code, Some(0));
    gateway.seal();
    let events = gateway.cast(&gateway.session());
    for (bytes, screen) in moments {
        assert_eq!(replayed(&events, bytes), screen, "after {bytes} bytes");
    }
    assert_eq!(all(&events[1..], "o"), String::from_utf8_lossy(&seen));
}

#[test]
fn a_recorded_top_shows_the_clients_screen() {
    if program("top").is_none() {
        return;
    }
    let Some(mut gateway) = Gateway::start("") else { return };
    let mut terminal = Terminal::start(&gateway, (80, 24), &["top -d 0.3 -n 3"]);
    terminal.until("processes", |screen| screen.contains("PID"));
    let (seen, code) = terminal.end();
    assert_eq!(code, Some(0));
    let mut screen = Screen::new(80, 24);
    screen.feed(&seen);
    gateway.seal();
    assert_eq!(replayed(&gateway.cast(&gateway.session()), seen.len()), screen.formatted());
}

#[test]
fn a_recorded_htop_shows_the_clients_screen_at_every_moment() {
    if program("htop").is_none() {
        return;
    }
    let Some(mut gateway) = Gateway::start("") else { return };
    // Its settings would be the account's own; it draws anew once an hour, or at a key.
    let line = format!("HTOPRC={} htop --delay=36000", gateway.dir().join("htoprc").display());
    let mut terminal = Terminal::start(&gateway, (100, 30), &[&line]);
    terminal.until("processes", |screen| screen.contains("PID") && screen.contains("F10"));
    let mut moments = vec![terminal.moment()];
    // Down, a tree, help and back, the order of the rows, its settings and back.
    for keys in ["\x1b[B", "t", "h", " ", "M", "\x1bOQ", "\x1b[21~"] {
        terminal.types(keys);
        moments.push(terminal.moment());
    }
    terminal.resize(80, 24);
    moments.push(terminal.moment());
    assert!(moments.last().unwrap().1.contains("PID"), "{moments:?}");
    terminal.types("q");
    let (seen, code) = terminal.end();
    assert_eq!(code, Some(0));
    gateway.seal();
    let events = gateway.cast(&gateway.session());
    let screens: std::collections::BTreeSet<_> = moments.iter().map(|moment| &moment.1).collect();
    assert!(screens.len() > 4, "the keys did something: {screens:?}");
    for (bytes, screen) in &moments {
        assert_eq!(&replayed(&events, *bytes), screen, "after {bytes} bytes");
    }
    assert_eq!(all(&events[1..], "o"), String::from_utf8_lossy(&seen));
}

/// One program's output through the proxy, and the ids of its session.
fn printed(octal: &str) -> Option<(Gateway, String)> {
    let mut gateway = Gateway::start("")?;
    let terminal = Terminal::start(&gateway, (80, 24), &[&format!("printf '{octal}'")]);
    let (_, code) = terminal.end();
    assert_eq!(code, Some(0));
    gateway.seal();
    let id = gateway.session();
    Some((gateway, id))
}

#[test]
fn attack_17_a_recording_only_draws_when_it_is_replayed() {
    let hostile = r"\033]0;owned\007\033]52;c;cm0gLXJmIC8=\007\033[6n\033P$q\042p\033\134\033[?1003h\302\233c\377ok\n";
    let Some((gateway, id)) = printed(hostile) else { return };
    let played = text(&gateway.replay(&id, &[]));
    assert!(played.contains("ok") && !played.contains('\x1b'), "{played:?}");
    assert!(!played.contains("owned") && !played.contains("cm0g"), "{played:?}");
    // The export is for a player to judge, and hides nothing: each event is JSON, all of it there.
    let cast = all(&gateway.cast(&id)[1..], "o");
    assert!(cast.contains("\x1b]52;c;cm0gLXJmIC8=\x07") && cast.contains("\u{fffd}ok"), "{cast:?}");
    let header = &gateway.cast(&id)[0];
    assert!(header.get("env").is_none(), "{header}");
    // What is told as text can't steer a terminal either: the command line has escapes in it.
    let listed = text(&gateway.replay(&id, &["--commands"]));
    assert!(!listed.contains('\x1b'), "{listed:?}");
}

#[test]
fn commands_that_the_shell_tells_are_said_to_be_told_by_it() {
    let marks = r"\033]133;A\007$ \033]133;C;cmdline_url=ls%%20-l\007out\n\033]133;D;3\007";
    let Some((gateway, id)) = printed(marks) else { return };
    let listed = text(&gateway.replay(&id, &["--commands"]));
    let line = listed.lines().find(|line| line.contains("ls -l")).unwrap();
    assert!(line.contains("osc133") && line.contains('3'), "{listed}");
    assert!(!line.contains("screen"), "{listed}");
}

/// A recording in which three seconds pass between one line and the next.
fn with_a_silence() -> Option<(Gateway, String)> {
    let mut gateway = Gateway::start("")?;
    let line = "echo before; sleep 3; echo behind";
    let (_, code) = Terminal::start(&gateway, (80, 24), &[line]).end();
    assert_eq!(code, Some(0));
    gateway.seal();
    let id = gateway.session();
    Some((gateway, id))
}

/// Its replay in a terminal, once the first line is there.
fn playing(gateway: &Gateway, id: &str, options: &[&str]) -> Terminal {
    let operator = gateway.operator(&[&["audit", "replay", id], options].concat());
    let mut terminal = Terminal::run(operator, (80, 24));
    terminal.until("the beginning", |screen| screen.contains("before"));
    terminal
}

/// Nothing here waits for a moment that might be missed: what is slowed down would take a minute
/// or more, and what stands still is looked at for longer than its silence is.
#[test]
fn a_replay_has_a_pace_stands_still_at_a_key_and_is_left_by_another() {
    let Some((gateway, id)) = with_a_silence() else { return };
    // Twenty times as slow.
    let mut slow = playing(&gateway, &id, &["--speed", "0.05"]);
    slow.quiet();
    assert!(!slow.shows().contains("behind") && !slow.is_plain(), "{}", slow.shows());
    slow.types("q");
    let begun = std::time::Instant::now();
    while !slow.is_plain() {
        assert!(begun.elapsed().as_secs() < 60, "the terminal is not set back");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let (seen, code) = slow.end();
    assert_eq!(code, Some(0));
    assert!(!String::from_utf8_lossy(&seen).contains("behind"), "{seen:?}");
    // The same, but no silence is longer than this; it ends by itself.
    let cut = playing(&gateway, &id, &["--speed", "0.01", "--idle", "0.2"]);
    let (seen, code) = cut.end();
    assert_eq!(code, Some(0));
    assert!(String::from_utf8_lossy(&seen).contains("behind"), "{seen:?}");
    // Stopped in a silence that would be over in eight seconds, it stands still until it may go on.
    let mut held = playing(&gateway, &id, &["--speed", "0.01", "--idle", "8"]);
    held.types(" ");
    for _ in 0..13 {
        held.quiet();
    }
    assert!(!held.shows().contains("behind"), "{}", held.shows());
    held.types(" ");
    held.until("the rest", |screen| screen.contains("behind"));
    assert_eq!(held.end().1, Some(0));
    // An interrupt leaves it too, also while it stands still.
    let mut held = playing(&gateway, &id, &["--speed", "0.05"]);
    held.types(" \x03");
    assert_eq!(held.end().1, Some(0));
}
