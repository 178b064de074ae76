//! k9s through the proxy: a person who looks around, opens a shell and reads a Secret.
//!
//! k9s is not among what this machine installs: its build alone takes longer than all of these
//! tests. Give its path in `GREFFIER_K9S` and run `cargo test -p greffier-kubernetes --test k9s --
//! --ignored`. Measured with v0.27.4 (`go build` of github.com/derailed/k9s).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::{ALICE, Plan, Rig};
use testbed::{Cluster, require};

/// How long k9s may take to show something.
const PATIENCE: Duration = Duration::from_secs(60);

/// k9s on a terminal, and what it shows.
struct Screen {
    drawn: Receiver<Vec<u8>>,
    keys: std::process::ChildStdin,
    model: vt100::Parser,
    /// All that it ever drew.
    all: Vec<u8>,
}

impl Screen {
    /// Types, and waits until all of these are shown.
    fn shows(&mut self, keys: &str, words: &[&str]) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let shown = self.model.screen().contents();
            if words.iter().all(|word| shown.contains(word)) {
                return;
            }
            match self.drawn.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    self.model.process(&bytes);
                    self.all.extend(bytes);
                }
                Err(_) => panic!("after {keys:?} no {words:?}: {shown}"),
            }
        }
    }
}

#[test]
#[ignore = "needs GREFFIER_K9S: see this file's head"]
fn k9s_looks_around_and_opens_a_shell() {
    let k9s = std::env::var("GREFFIER_K9S").expect("GREFFIER_K9S");
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    rig.direct(&["create", "secret", "generic", "db", "--from-literal=word=sentinel-of-k9s"]);
    let template = rig.kubectl_with(&rig.token(ALICE));
    let home = rig.path("home");
    std::fs::create_dir(&home).unwrap();
    let inner = format!("stty rows 50 cols 160; exec '{k9s}' -n default --logLevel debug");
    let mut script = Command::new("script");
    for (name, value) in template.get_envs() {
        script.env(name, value.unwrap());
    }
    // k9s opens a shell by kubectl.
    let kubectl = std::path::Path::new(template.get_program()).parent().unwrap().to_owned();
    let path = std::env::join_paths(
        std::iter::once(kubectl).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    script.env("PATH", path.unwrap()).env("HOME", &home).env("XDG_CONFIG_HOME", &home);
    script.env("K9SCONFIG", &home).env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
    script.args(["-q", "-e", "-f", "-c", &inner, "/dev/null"]);
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (drew, drawn) = channel();
    let mut said = script.stdout.take().unwrap();
    std::thread::spawn(move || {
        let mut piece = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = said.read(&mut piece) {
            if drew.send(piece[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    let (keys, model) = (
        script.stdin.take().unwrap(),
        vt100::Parser::new(50.try_into().unwrap(), 160.try_into().unwrap(), 0),
    );
    let mut screen = Screen { drawn, keys, model, all: Vec::new() };
    screen.shows("", &["Pods(default)", "web", "Running"]);
    screen.shows("y", &["YAML(default/web)", "containers:", "image:"]);
    screen.shows("\x1b", &["Pods(default)", "Running"]);
    // Of each line, k9s takes the first word for its own.
    screen.shows("l", &["Autoscroll:On", "│ 3 "]);
    screen.shows("\x1b", &["Pods(default)", "Running"]);
    screen.shows("s", &["<<K9s-Shell>>"]);
    screen.shows("echo by-$((40+2))-hand; exit\n", &["by-42-hand"]);
    screen.shows(":secrets\r", &["Secrets(default)", "db", "Opaque"]);
    screen.shows("y", &["YAML(default/db)", "word:"]);
    screen.shows("\x1b", &["Secrets(default)", "Opaque"]);
    let drawn = String::from_utf8_lossy(&screen.all);
    assert!(!drawn.contains("sentinel") && !drawn.contains(&STANDARD.encode("sentin")));
    screen.keys.write_all(b":q\r").unwrap();
    assert!(script.wait().unwrap().success());
    let record = rig.record();
    for text in ["/pods/web/exec?", "/pods/web/log?", "GET /api/v1/namespaces/default/secrets"] {
        let asked = record.commands(text);
        assert!(!asked.is_empty() && asked.iter().all(|it| it["verdict"] == "allow"), "{text}");
    }
    let denied: Vec<_> =
        record.of("command").into_iter().filter(|it| it["verdict"] != "allow").collect();
    assert!(denied.is_empty(), "{denied:?}");
}
