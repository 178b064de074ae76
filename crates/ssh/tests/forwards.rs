//! Forwarding of every kind, refused and allowed, by OpenSSH's client through the proxy.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rig::{EVERYTHING, Plan, Rig};
use ssh::{Allow, ChannelRules};
use testbed::{Sshd, SshdOptions, require};

fn sshd() -> Option<Sshd> {
    require(Sshd::start(&SshdOptions::default()))
}

fn allowing(allow: Allow) -> Plan {
    Plan { rules: ChannelRules { allow, ..ChannelRules::default() }, ..Plan::default() }
}

/// A server that sends back what it gets, in capitals, until the other end is shut.
fn upper(mut from: impl std::io::Read, mut to: impl std::io::Write) {
    let mut buffer = [0; 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        to.write_all(&buffer[..n].to_ascii_uppercase()).unwrap();
    }
}

fn upper_tcp() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            upper(stream.try_clone().unwrap(), stream);
        }
    });
    port
}

/// A client that runs until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn running(command: &mut Command) -> Running {
    Running(command.spawn().unwrap())
}

fn until<T>(mut have: impl FnMut() -> Option<T>) -> T {
    for _ in 0..6000 {
        if let Some(it) = have() {
            return it;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come about");
}

#[test]
fn a_local_forward_is_judged_by_its_destination() {
    let Some(sshd) = sshd() else { return };
    let port = upper_tcp();
    let mut plan = allowing(Allow { local_forward: true, ..Allow::default() });
    plan.policy = format!(
        "default = \"deny\"\n[[rule]]\nname = \"echo\"\neffect = \"allow\"\n\
         when = {{ operations = [\"direct-tcpip\"], resources = [\"127.0.0.1:{port}\"] }}\n"
    );
    let rig = Rig::with(&sshd, plan);
    let mut ssh = rig.ssh_command();
    ssh.args(["-W", &format!("127.0.0.1:{port}"), "gw"]);
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut ssh = ssh.spawn().unwrap();
    ssh.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert_eq!(ssh.wait_with_output().unwrap().stdout, b"HELLO");
    let said = rig.ssh_with(&["-W", &format!("127.0.0.1:{}", sshd.port())], &[]);
    assert!(said.err.contains("greffier: this is not allowed"), "{said:?}");
    rig.settle();
    let commands = rig.entries_of("command");
    assert_eq!(commands[0]["details"]["port"], port.to_string());
    assert_eq!(
        (&commands[0]["via"], &commands[0]["rule"]),
        (&"direct-tcpip".into(), &"echo".into())
    );
    assert_eq!(commands[1]["verdict"], "deny");
    let response = &rig.entries_of("response")[0];
    assert_eq!((&response["bytes"], &response["input_bytes"]), (&5.into(), &5.into()));
    // Counted and hashed, not kept.
    assert!(response["data"].is_null() && rig.entries_of("output").is_empty());
}

/// What comes back of `hello` through `ssh -L`.
fn by_minus_l(rig: &Rig, to: u16) -> String {
    let near = testbed::spare_port().unwrap();
    let mut ssh = rig.ssh_command();
    ssh.args(["-N", "-L", &format!("127.0.0.1:{near}:127.0.0.1:{to}"), "gw"]);
    let _ssh = running(ssh.stderr(Stdio::null()));
    let mut stream = until(|| TcpStream::connect(("127.0.0.1", near)).ok());
    let _closed = stream.write_all(b"hello");
    let _closed = stream.shutdown(std::net::Shutdown::Write);
    let mut back = String::new();
    let _closed = stream.read_to_string(&mut back);
    back
}

#[test]
fn a_local_port_leads_there_where_that_is_allowed_and_nowhere_by_default() {
    let Some(sshd) = sshd() else { return };
    let port = upper_tcp();
    for (local_forward, back, verdict) in [(true, "HELLO", "allow"), (false, "", "deny")] {
        let allow = Allow { local_forward, exec: true, ..Allow::default() };
        let rig = Rig::with(&sshd, allowing(allow));
        assert_eq!(by_minus_l(&rig, port), back);
        rig.settle();
        let command = &rig.entries_of("command")[0];
        assert_eq!(
            (&command["via"], &command["verdict"]),
            (&"direct-tcpip".into(), &verdict.into())
        );
        assert_eq!(command["details"]["port"], port.to_string());
    }
}

#[test]
fn a_remote_forward_brings_connections_that_are_commands() {
    let Some(sshd) = sshd() else { return };
    let port = upper_tcp();
    let rig = Rig::with(&sshd, allowing(Allow { remote_forward: true, ..Allow::default() }));
    let mut ssh = rig.ssh_command();
    ssh.args(["-N", "-R", &format!("127.0.0.1:0:127.0.0.1:{port}"), "gw"]);
    let mut ssh = running(ssh.stderr(Stdio::piped()));
    let lines = BufReader::new(ssh.0.stderr.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|l| l.contains("Allocated port")).unwrap();
    let far: u16 = line.split(' ').nth(2).unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", far)).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = String::new();
    stream.read_to_string(&mut back).unwrap();
    assert_eq!(back, "HELLO");
    drop(ssh);
    rig.settle();
    let commands = rig.entries_of("command");
    assert_eq!(commands[0]["via"], "tcpip-forward");
    assert_eq!(commands[1]["via"], "forwarded-tcpip");
    assert_eq!(commands[1]["details"]["port"], far.to_string());
    let responses = rig.entries_of("response");
    assert_eq!(responses[0]["details"]["port"], far.to_string());
    assert_eq!(responses[1]["bytes"], 5);
}

#[test]
fn sockets_with_a_path_are_forwarded_both_ways() {
    let Some(sshd) = sshd() else { return };
    let allow = Allow { local_streamlocal: true, remote_streamlocal: true, ..Allow::default() };
    let rig = Rig::with(&sshd, allowing(allow));
    let at = |name: &str| rig.dir.path().join(name).to_str().unwrap().to_owned();
    let listener = UnixListener::bind(at("server")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            upper(stream.try_clone().unwrap(), stream);
        }
    });
    let mut ssh = rig.ssh_command();
    ssh.args(["-N", "-L", &format!("{}:{}", at("near"), at("server"))]);
    ssh.args(["-R", &format!("{}:{}", at("far"), at("server")), "gw"]);
    let _ssh = running(ssh.stderr(Stdio::null()));
    for name in ["near", "far"] {
        let mut stream = until(|| UnixStream::connect(at(name)).ok());
        stream.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"HELLO");
    }
    let commands = rig.entries_of("command");
    let mut vias: Vec<&str> = commands.iter().map(|c| c["via"].as_str().unwrap()).collect();
    vias.sort_unstable();
    assert_eq!(vias, ["direct-streamlocal", "forwarded-streamlocal", "streamlocal-forward"]);
}

fn start_agent(socket: &std::path::Path) -> Running {
    let mut agent = Command::new("ssh-agent");
    let agent = running(agent.args(["-D", "-a"]).arg(socket).stdout(Stdio::null()));
    until(|| socket.exists().then_some(()));
    agent
}

#[test]
fn nothing_is_forwarded_unless_it_is_named() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::with(&sshd, allowing(Allow { exec: true, ..Allow::default() }));
    let agent = rig.dir.path().join("agent");
    let _agent = start_agent(&agent);
    let said = rig::Said::of(rig.ssh_command().env("SSH_AUTH_SOCK", &agent).args([
        "-A",
        "-R",
        "127.0.0.1:0:127.0.0.1:1",
        "gw",
        "echo ${SSH_AUTH_SOCK:-none}",
    ]));
    assert_eq!((said.out.as_str(), said.code), ("none\n", Some(0)), "{said:?}");
    assert!(said.err.contains("remote port forwarding failed"), "{said:?}");
    rig.settle();
    let commands = rig.entries_of("command");
    let verdict = |via: &str| {
        let command = commands.iter().find(|c| c["via"] == via).unwrap();
        command["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(verdict("agent"), "deny");
    assert_eq!(verdict("tcpip-forward"), "deny");
    assert_eq!(verdict("exec"), "allow");
}

#[test]
fn an_agent_that_is_allowed_is_reached_on_record() {
    let Some(sshd) = sshd() else { return };
    let rig = Rig::with(&sshd, allowing(EVERYTHING));
    let socket = rig.dir.path().join("agent");
    let agent = start_agent(&socket);
    let said = rig::Said::of(rig.ssh_command().env("SSH_AUTH_SOCK", &socket).args([
        "-A",
        "gw",
        "ssh-add -l",
    ]));
    assert!(said.out.contains("no identities"), "{said:?}");
    drop(agent);
    rig.settle();
    let commands = rig.entries_of("command");
    let vias: Vec<&str> = commands.iter().map(|c| c["via"].as_str().unwrap()).collect();
    assert_eq!(vias, ["agent", "exec", "agent"]);
}
