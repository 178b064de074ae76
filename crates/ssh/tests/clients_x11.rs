//! X clients on the target that show on the client's display (`ssh -X` and `-Y`): real ones, with a
//! real X server at the client's side.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rig::tools::{Running, commands, good, response};
use rig::{Plan, Rig, Said};
use ssh::{Allow, ChannelRules};
use testbed::ssh_clients::program;
use testbed::{Sshd, SshdOptions, require};

/// A screen that no other display has: who sees it, sees ours.
const SCREEN: &str = "643x481";

/// An X server for the client, which lets in who has its cookie.
struct Display {
    _server: Running,
    name: String,
    authority: PathBuf,
}

impl Display {
    fn start(rig: &Rig) -> Option<Display> {
        let mut server = require(program("Xvfb", "xvfb"))?;
        require(program("xdpyinfo", "x11-utils"))?;
        let authority = rig.dir.path().join("Xauthority");
        let cookie = rig::tools::sha256(&rig.token("display").into_bytes());
        let add = |name: &str| {
            let mut xauth = require(program("xauth", "xauth"))?;
            xauth.arg("-qf").arg(&authority).args(["add", name, ".", cookie.get(..32)?]);
            Some(good(&mut xauth))
        };
        // The server takes the cookie whatever display it is for; its own number comes later.
        add(":0")?;
        server.args(["-displayfd", "1", "-noreset", "-nolisten", "tcp", "-screen", "0"]);
        server.arg(format!("{SCREEN}x24")).arg("-auth").arg(&authority);
        let mut server = Running::start(server.stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let name = format!(":{}", line.trim());
        assert!(name.len() > 1, "the X server did not start");
        add(&name)?;
        Some(Display { _server: server, name, authority })
    }

    /// This program with the display before it.
    fn before<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("DISPLAY", &self.name).env("XAUTHORITY", &self.authority)
    }
}

/// A rig before an sshd that would forward displays.
fn rig(x11: bool) -> Option<(Sshd, Rig)> {
    let config = "X11Forwarding yes\nX11UseLocalhost yes\nX11DisplayOffset 30\n".to_owned();
    let sshd = require(Sshd::start(&SshdOptions { config, ..SshdOptions::default() }))?;
    let allow = Allow { exec: true, x11, ..Allow::default() };
    let rules = ChannelRules { allow, ..Plan::default().rules };
    let rig = Rig::with(&sshd, Plan { rules, ..Plan::default() });
    Some((sshd, rig))
}

#[test]
fn a_display_is_reached_where_that_is_allowed() {
    let Some((_sshd, rig)) = rig(true) else { return };
    let Some(display) = Display::start(&rig) else { return };
    let shown = |option: &str, line: &str| -> Said {
        good(display.before(rig.ssh_command().args([option, "gw", line])))
    };
    for option in ["-X", "-Y"] {
        let said = shown(option, "xdpyinfo");
        assert!(
            said.out.contains(&format!("dimensions:    {SCREEN} pixels")),
            "{option}: {said:?}"
        );
        // It is the target's end of the forward that the program was told of.
        assert!(said.out.starts_with("name of display:    localhost:3"), "{option}: {said:?}");
    }
    // What a trusted program writes is on the client's own display.
    shown("-Y", "xprop -root -format GREFFIER 8s -set GREFFIER 'by way of the target'");
    let mut xprop = Command::new("xprop");
    let said = good(display.before(xprop.args(["-root", "GREFFIER"])));
    assert!(said.out.contains("\"by way of the target\""), "{said:?}");
    rig.settle();
    // Each time one that asks for the display, and one that connects to it.
    let runs = commands(&rig, "x11");
    assert_eq!(runs.len(), 6, "{runs:?}");
    for run in &runs {
        assert_eq!((&run["verdict"], &run["text"]), (&"allow".into(), &"x11".into()), "{run}");
    }
    let (connections, asked): (Vec<_>, Vec<_>) =
        runs.iter().partition(|run| run["details"]["origin"].is_string());
    assert_eq!((asked.len(), connections.len()), (3, 3), "{runs:?}");
    for connection in connections {
        let response = response(&rig, connection);
        assert_eq!(response["outcome"], "ok", "{response}");
        // A program's set-up request has 12 bytes at least, the server's answer far more.
        let bytes = |name: &str| response[name].as_u64().unwrap();
        assert!(bytes("bytes") > 12 && bytes("input_bytes") > 12, "{response}");
    }
}

#[test]
fn a_display_is_out_of_reach_by_default() {
    let Some((_sshd, rig)) = rig(false) else { return };
    let Some(display) = Display::start(&rig) else { return };
    for option in ["-X", "-Y"] {
        let mut ssh = rig.ssh_command();
        let said =
            Said::of(display.before(ssh.args([option, "gw", "xdpyinfo; echo \"<$DISPLAY>\""])));
        // The rest of the session goes on.
        assert_eq!((said.out.as_str(), said.code), ("<>\n", Some(0)), "{option}: {said:?}");
        assert!(said.err.contains("X11 forwarding request failed"), "{option}: {said:?}");
        assert!(said.err.contains("unable to open display"), "{option}: {said:?}");
    }
    rig.settle();
    let runs = commands(&rig, "x11");
    assert_eq!(runs.len(), 2, "{runs:?}");
    for run in &runs {
        assert_eq!(run["verdict"], "deny", "{run}");
    }
    assert_eq!(commands(&rig, "exec").len(), 2);
}
