//! What is under way when a login ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rig::{ALICE, Plan, Rig};
use testbed::{Cluster, require};

/// How long a login counts here.
const SESSION: &str = "max_session = \"8s\"";
/// The longest that something goes on behind it, on a slow machine.
const LATE: Duration = Duration::from_secs(30);

#[test]
fn a_login_that_ends_ends_watches_logs_and_exec() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(cluster, &Plan { people: SESSION, ..Plan::default() });
    let token = rig.token(ALICE);
    let start = |args: &[&str], websocket: &str| {
        let mut kubectl = rig.kubectl_with(&token);
        kubectl.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websocket);
        kubectl.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        kubectl.spawn().unwrap()
    };
    let begun = Instant::now();
    let mut all: Vec<(&str, Child)> = vec![
        ("watch", start(&["get", "configmaps", "--watch"], "true")),
        ("logs", start(&["logs", "-f", "web"], "true")),
        ("exec by WebSocket", start(&["exec", "-i", "web", "--", "cat"], "true")),
        ("exec by SPDY", start(&["exec", "-i", "web", "--", "cat"], "false")),
    ];
    let url = format!("{}/api/v1/namespaces/default/pods?watch=1", rig.url());
    let watched = rig::curl(&rig.ca(), &token, &["--max-time", "60"], &url);
    while all.iter_mut().any(|(_, it)| it.try_wait().unwrap().is_none()) {
        let running: Vec<&str> = all
            .iter_mut()
            .filter_map(|(what, it)| it.try_wait().unwrap().is_none().then_some(*what))
            .collect();
        assert!(begun.elapsed() < Duration::from_secs(8) + LATE, "{running:?} go on");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_secs(4), "they ended before the login did");
    // A watch ends in order, as it does by its own time: its client watches on, if it still may.
    assert!(watched.ends_with("\n200") && watched.contains("\"ADDED\""), "{watched}");
    assert!(all[0].1.wait().unwrap().success());
    let record = rig.record();
    for part in ["watch=true", "/log?", "/exec?"] {
        let commands: Vec<_> = record
            .of("command")
            .into_iter()
            .filter(|it| it["text"].as_str().unwrap().contains(part))
            .collect();
        assert!(!commands.is_empty(), "{part}");
        for command in commands {
            let outcome = record.response(command);
            assert_ne!(outcome["outcome"], "ok", "{part}: {outcome}");
        }
    }
    let ends = record.of("session_end");
    assert!(ends.iter().any(|it| it["reason"] == "max_session"), "{ends:?}");
}
