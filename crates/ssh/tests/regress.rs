//! OpenSSH's own regression scripts, as Debian packages them, through the proxy and directly:
//! those that talk to a server by the suite's `ssh_proxy` configuration and look at nothing but
//! their client. The others start servers of their own, or look into them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::path::{Path, PathBuf};
use std::process::Command;

use rig::tools::good;
use rig::{EVERYTHING, Plan, Rig, Said};
use ssh::ChannelRules;
use testbed::{Sshd, SshdOptions, require, ssh_clients};

const SCRIPTS: [&str; 8] = [
    "exit-status",
    "exit-status-signal",
    "stderr-data",
    "stderr-after-eof",
    "transfer",
    "yes-head",
    "scp3",
    "broken-pipe",
];

/// A copy of the suite whose clients have this configuration in place of the suite's own, which
/// leads to a server that the suite starts.
fn suite(from: &Path, to: &Path, config: &Path) {
    good(Command::new("cp").arg("-r").arg(from).arg(to));
    let file = to.join("test-exec.sh");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("\tcat $OBJ/ssh_config\n\techo proxycommand ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let ours = format!("\tcat '{}'\n", config.display());
    std::fs::write(&file, [before, &ours, after].concat()).unwrap();
}

fn config(port: u16, user: &str, key: &Path) -> String {
    format!(
        "Host *\nHostName 127.0.0.1\nPort {port}\nUser {user}\nIdentityFile {}\n\
         IdentitiesOnly yes\nBatchMode yes\nStrictHostKeyChecking no\n\
         UserKnownHostsFile /dev/null\nGlobalKnownHostsFile /dev/null\nLogLevel ERROR\n",
        key.display()
    )
}

/// Runs a script of a suite with a folder of its own; what it said if it failed.
fn run(suite: &Path, script: &str, account: &str) -> Result<(), String> {
    let folder = suite.with_extension(script);
    std::fs::create_dir(&folder).unwrap();
    let mut sh = Command::new("sh");
    sh.arg(suite.join("test-exec.sh")).arg(&folder).arg(suite.join(format!("{script}.sh")));
    sh.current_dir(&folder).env("USER", account).env("LOGNAME", account).env("HOME", &folder);
    sh.env("TEST_SHELL", "/bin/sh").env("TEST_SSH_UNSAFE_PERMISSIONS", "1");
    sh.env("TEST_SSH_SSHD", "/usr/sbin/sshd").env("SUDO", "").env_remove("SSH_AUTH_SOCK");
    sh.env("TEST_SSH_SFTPSERVER", "/usr/lib/openssh/sftp-server");
    let Said { out, err, code } = Said::of(sh.stdin(std::process::Stdio::null()));
    if code == Some(0) { Ok(()) } else { Err(format!("{script}: {out}{err}")) }
}

#[test]
fn openssh_s_own_scripts_end_as_they_do_directly() {
    let Some(sshd) = require(Sshd::start(&SshdOptions::default())) else { return };
    let Some(regress) = require(ssh_clients::regress()) else { return };
    let rules = ChannelRules { allow: EVERYTHING, ..Plan::default().rules };
    let rig = Rig::with(&sshd, Plan { rules, ..Plan::default() });
    let (key, line) = rig.client_key("mine");
    let said = rig.fetch_certificate(&rig.token("alice"), &line, &[&rig.user()]);
    std::fs::write(format!("{}-cert.pub", key.display()), &said.out).unwrap();
    let dir = rig.dir.path();
    let make = |name: &str, text: String| -> PathBuf {
        let (file, to) = (dir.join(format!("{name}.config")), dir.join(name));
        std::fs::write(&file, text).unwrap();
        suite(&regress, &to, &file);
        to
    };
    let direct = make("direct", config(sshd.port(), sshd.login(), &sshd.client_key()));
    let through = make("through", config(rig.port, &rig.user(), &key));
    // Mostly they sleep, so all at once.
    let failed: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = [&direct, &through]
            .into_iter()
            .flat_map(|suite| SCRIPTS.map(|script| (suite, script)))
            .map(|(suite, script)| {
                let login = sshd.login();
                scope.spawn(move || {
                    run(suite, script, login).map_err(|e| format!("{}: {e}", suite.display()))
                })
            })
            .collect();
        all.into_iter().filter_map(|run| run.join().unwrap().err()).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    rig.settle();
    let commands = rig.entries_of("command");
    assert!(commands.len() > SCRIPTS.len(), "they went through us");
    assert_eq!(commands.len(), rig.entries_of("response").len());
}
