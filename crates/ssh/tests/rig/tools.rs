//! What tests with other people's programs share.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_lc_rs::digest;
use serde_json::Value;

use super::{Rig, Said};

/// Bytes that no shift leaves equal.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        // xorshift64: enough to tell one place of a file from another.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// A file of so many bytes in the rig's folder.
pub fn file(rig: &Rig, name: &str, bytes: usize) -> (PathBuf, Vec<u8>) {
    let (path, content) = (rig.dir.path().join(name), noise(bytes));
    std::fs::write(&path, &content).unwrap();
    (path, content)
}

/// A program that is `ssh` with all that leads to the rig, for programs that call `ssh`
/// themselves.
pub fn ssh_script(rig: &Rig, token: &str) -> PathBuf {
    let path = rig.dir.path().join("gw-ssh");
    let dir = rig.dir.path().display();
    let text = format!(
        "#!/bin/sh\nunset SSH_AUTH_SOCK\nexport SSH_ASKPASS='{dir}/askpass' \
         SSH_ASKPASS_REQUIRE=force GREFFIER_TEST_TOKEN='{token}'\n\
         exec ssh -F '{dir}/ssh_config' -o 'User={}' \"$@\"\n",
        rig.user()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// Runs a program that must do well.
pub fn good(command: &mut Command) -> Said {
    let said = Said::of(command);
    assert_eq!(said.code, Some(0), "{command:?}: {said:?}");
    said
}

/// The commands of one kind, in order.
pub fn commands(rig: &Rig, via: &str) -> Vec<Value> {
    let mut commands = rig.entries_of("command");
    commands.retain(|command| command["via"] == via);
    commands
}

/// The one response to this command.
pub fn response(rig: &Rig, command: &Value) -> Value {
    let mut responses = rig.entries_of("response");
    responses
        .retain(|r| (&r["session"], &r["command"]) == (&command["session"], &command["command"]));
    assert_eq!(responses.len(), 1, "{command}: {responses:?}");
    responses.remove(0)
}

/// Waits for something that comes about by itself.
pub fn until<T>(mut have: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(it) = have() {
            return it;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come about");
}

/// A client that runs until it is dropped.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Running {
        Running(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// A master connection, whose channels other clients share.
pub struct Master {
    pub client: Running,
    socket: PathBuf,
}

impl Master {
    /// `ssh -M` with these arguments, which end with the destination or a command.
    pub fn start(rig: &Rig, options: &[&str], args: &[&str], stdin: Stdio) -> Master {
        let socket = rig.dir.path().join("mux");
        let mut ssh = rig.ssh_command();
        ssh.arg("-MS").arg(&socket).args(options).arg("gw").args(args).stdin(stdin);
        let client = Running::start(ssh.stdout(Stdio::piped()).stderr(Stdio::piped()));
        until(|| socket.exists().then_some(()));
        Master { client, socket }
    }

    /// A client of this program that shares the connection.
    pub fn command(&self, rig: &Rig, program: &str) -> Command {
        let mut ssh = rig.program(program, "unused");
        ssh.arg("-o").arg(format!("ControlPath={}", self.socket.display()));
        ssh.args(["-o", "ControlMaster=no"]);
        ssh
    }
}

/// A server that sends back what it gets, in capitals; its port.
pub fn upper_tcp() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..n].to_ascii_uppercase()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

pub fn same(a: &Path, b: &Path) -> bool {
    std::fs::read(a).unwrap() == std::fs::read(b).unwrap()
}
