//! A client that begins to change keys and then says no more, beside a target that writes as fast
//! as it can (CVE-2025-22869 in another library: what waits for the new keys grows without end).
//! One test in a program of its own, since it looks at the program's memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rig::Rig;
use testbed::{Sshd, SshdOptions, require};

/// What the target writes, in bytes.
const ALL: u64 = 200_000_000;
/// After so many bytes the client changes keys.
const LIMIT: u64 = 4 * 1024 * 1024;
/// What the proxy may take for the stalled session, its log and its chunks, in bytes.
const MOST: u64 = 64 * 1024 * 1024;
/// A first message of a key exchange (RFC 4253, 7.1) is longer, a window adjustment shorter.
const KEXINIT: usize = 1_000;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// The way between client and proxy.
struct Between {
    port: u16,
    /// Bytes that went to the client.
    down: Arc<AtomicU64>,
    /// Told once: the client has begun to change keys, and nothing of it passes any more.
    stalled: mpsc::Receiver<()>,
    /// Lets it pass again.
    go_on: mpsc::Sender<()>,
}

fn between(proxy: u16) -> Between {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, stalled) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let down = Arc::new(AtomicU64::new(0));
    let seen = down.clone();
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(("127.0.0.1", proxy)).unwrap();
        let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let count = seen.clone();
        std::thread::spawn(move || {
            pass(from, to, |bytes| {
                count.fetch_add(bytes as u64, Ordering::Relaxed);
            });
        });
        let mut stalls = true;
        pass(client, server, |bytes| {
            if stalls && bytes >= KEXINIT && seen.load(Ordering::Relaxed) > LIMIT {
                stalls = false;
                tell.send(()).unwrap();
                wait.recv().unwrap();
            }
        });
    });
    Between { port, down, stalled, go_on }
}

/// Passes bytes on until there are no more, and tells of each piece that it has passed.
fn pass(mut from: TcpStream, mut to: TcpStream, mut passed: impl FnMut(usize)) {
    let mut piece = vec![0; 32 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..bytes]).is_err() {
            break;
        }
        passed(bytes);
    }
    let _gone = to.shutdown(Shutdown::Write);
}

#[test]
fn attack_13_a_client_that_stalls_while_keys_change_costs_no_memory_and_loses_nothing() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let rig = Rig::start(&sshd);
    assert_eq!(rig.ssh(&["true"]).code, Some(0));
    let between = between(rig.port);
    let mut ssh = rig.ssh_command();
    ssh.args(["-p", &between.port.to_string(), "-o", &format!("RekeyLimit={LIMIT}")])
        .args(["gw", &format!("head -c {ALL} /dev/zero")])
        .stdout(Stdio::piped());
    let mut ssh = ssh.spawn().unwrap();
    let mut out = ssh.stdout.take().unwrap();
    let reading = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    between.stalled.recv_timeout(Duration::from_secs(60)).expect("the client changes its keys");
    let before = resident();
    let came = |wait: u64| {
        std::thread::sleep(Duration::from_secs(wait));
        between.down.load(Ordering::Relaxed)
    };
    // The target's output would have passed long since.
    let (first, then) = (came(2), came(2));
    assert_eq!(first, then, "without keys nothing may be sent");
    assert!(then < ALL / 2, "{then} bytes came: it was the end, not the keys, that it waited for");
    let grown = resident().saturating_sub(before);
    assert!(grown < MOST, "{grown} bytes more in memory");
    // It is the only one that waits.
    assert_eq!(rig.ssh(&["true"]).code, Some(0));

    between.go_on.send(()).unwrap();
    assert_eq!(reading.join().unwrap().unwrap(), ALL);
    assert!(ssh.wait().unwrap().success());
    rig.settle();
    let responses = rig.entries_of("response");
    assert!(responses.iter().all(|r| r["outcome"] == "ok"), "{responses:?}");
}
