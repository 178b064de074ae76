//! Commands read off recordings.

use terminal::frames::{Frame, Kind};
use terminal::typed::{Commands, MAX_COMMAND_CHARS, Source, Typed};

#[derive(Default)]
struct Session {
    frames: Vec<Frame>,
}

impl Session {
    fn frame(&mut self, kind: Kind, bytes: &[u8]) -> &mut Self {
        self.frames.push(Frame { after_us: 10, kind, bytes: bytes.to_vec() });
        self
    }

    fn out(&mut self, text: &str) -> &mut Self {
        self.frame(Kind::Output, text.as_bytes())
    }

    /// Typed key by key, each echoed.
    fn types(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.frame(Kind::Input, c.to_string().as_bytes()).out(&c.to_string());
        }
        self
    }

    fn enter(&mut self) -> &mut Self {
        self.frame(Kind::Input, b"\r").out("\r\n")
    }

    fn commands(&self) -> Vec<Typed> {
        let mut commands = Commands::new();
        let mut found: Vec<Typed> = self.frames.iter().flat_map(|it| commands.frame(it)).collect();
        found.extend(commands.finish());
        found
    }

    fn texts(&self) -> Vec<String> {
        self.commands().into_iter().map(|it| it.text).collect()
    }
}

#[test]
fn the_screen_tells_what_was_typed() {
    let mut session = Session::default();
    session.out("$ ").types("ls -l").enter().out("a\r\nb\r\n\x1b[1m$\x1b[m ");
    session.enter().out("$ ").types("make x").enter();
    assert_eq!(session.texts(), ["ls -l", "make x"]);
    assert!(session.commands().iter().all(|it| it.source == Source::Screen && it.exit.is_none()));
}

#[test]
fn lines_that_wrap_are_joined_and_edits_honoured() {
    let mut session = Session::default();
    session
        .frame(Kind::Resize, &[0, 10, 0, 3])
        .out("host$ ")
        .types("echo abcdefghijklmnop")
        .enter();
    session.out("host$ ").types("lx");
    session.frame(Kind::Input, b"\x7f").out("\x08 \x08").types("s").enter();
    assert_eq!(session.texts(), ["echo abcdefghijklmnop", "ls"]);
}

#[test]
fn the_echo_may_come_after_enter() {
    let mut session = Session::default();
    session.out("$ ");
    for byte in b"id\r" {
        session.frame(Kind::Input, &[*byte]);
    }
    session.out("i").out("d\r\nuid=0\r\n$ ");
    session.types("gone").frame(Kind::Input, b"\x03").out("^C\r\n$ ").types("w").enter();
    assert_eq!(session.texts(), ["id", "w"]);
}

#[test]
fn what_is_not_echoed_and_full_screens_are_not_commands() {
    let mut session = Session::default();
    session.out("Password: ");
    for byte in b"hunter2\r" {
        session.frame(Kind::Input, &[*byte]);
    }
    session.out("\r\n$ ").types("vi x").enter().out("\x1b[?1049h\x1b[H");
    session.types(":q").enter().out("\x1b[?1049l$ ").types("w").enter();
    assert_eq!(session.texts(), ["vi x", "w"]);
}

#[test]
fn the_shell_tells_better() {
    let mut session = Session::default();
    session.out("\x1b]133;A\x07$ \x1b]133;B\x07").types("l").types("\t").out("s").enter();
    session.out("\x1b]133;C;cmdline_url=ls%20%2Ftmp\x07a\r\n\x1b]133;D;2\x07\x1b]133;A\x07$ ");
    session.types("x").enter().out("\x1b]133;C;cmdline_url=x\x07");
    let commands = session.commands();
    let told: Vec<_> =
        commands.iter().map(|it| (it.text.as_str(), it.source.word(), it.exit)).collect();
    assert_eq!(told, [("ls /tmp", "osc133", Some(2)), ("x", "osc133", None)]);
}

#[test]
fn screens_and_commands_are_bounded() {
    let mut session = Session::default();
    session.frame(Kind::Resize, &[0xff; 4]).frame(Kind::Resize, &[0; 4]).frame(Kind::Resize, &[1]);
    session.out(&"x".repeat(9000));
    session.out(&format!("\x1b]133;C;cmdline_url={}\x07", "%41".repeat(1300)));
    assert_eq!(session.texts().len(), 1);
    assert!(session.texts()[0].len() <= MAX_COMMAND_CHARS);
}
