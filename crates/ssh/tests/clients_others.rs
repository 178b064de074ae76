//! Clients that are not OpenSSH, or that drive it in their own way, through the proxy to a real
//! sshd: PuTTY's, Dropbear's, paramiko, asyncssh, Ansible, lftp, sshfs, VS Code's way.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rig::tools::{
    Running, commands, file, good, response, same, sha256, ssh_script, until, upper_tcp,
};
use rig::{EVERYTHING, Plan, Rig, Said};
use ssh::ChannelRules;
use testbed::ssh_clients::{program, python, python_script};
use testbed::{Sshd, SshdOptions, require};

fn rig() -> Option<(Sshd, Rig)> {
    let sshd = require(Sshd::start(&SshdOptions::default()))?;
    let rules = ChannelRules { allow: EVERYTHING, ..Plan::default().rules };
    let rig = Rig::with(&sshd, Plan { rules, ..Plan::default() });
    Some((sshd, rig))
}

/// The folder's `known_hosts`, which names the proxy's key.
fn known_hosts(rig: &Rig) -> PathBuf {
    rig.dir.path().join("known_hosts")
}

/// One of PuTTY's programs, with all that leads to the rig but the host.
fn putty(rig: &Rig, name: &str) -> Option<Command> {
    let mut putty = require(program(name, "putty-tools"))?;
    let mut keygen = Command::new("ssh-keygen");
    let said = good(keygen.arg("-lf").arg(known_hosts(rig)));
    let fingerprint = said.out.split(' ').nth(1).unwrap().to_owned();
    let token = rig.dir.path().join("token");
    std::fs::write(&token, rig.token("alice")).unwrap();
    // Its own files go to the rig's folder.
    putty.env("HOME", rig.dir.path()).args(["-batch", "-hostkey", &fingerprint]);
    putty.args(["-P", &rig.port.to_string(), "-l", &rig.user(), "-pwfile"]).arg(token);
    Some(putty)
}

#[test]
fn putty_s_plink_and_psftp() {
    let Some((_sshd, rig)) = rig() else { return };
    let Some(mut plink) = putty(&rig, "plink") else { return };
    let (from, content) = file(&rig, "from", 1_500_000);
    let line = "cat; echo err >&2; exit 3";
    let mut out = plink.args(["-ssh", "127.0.0.1", line]);
    out = out.stdin(std::fs::File::open(&from).unwrap());
    let out = out.output().unwrap();
    assert!(out.stdout == content && out.status.code() == Some(3), "{:?}", out.stderr);
    // It also tells of the session that it began.
    assert!(out.stderr.ends_with(b"err\n"), "{}", String::from_utf8_lossy(&out.stderr));
    let (there, back) = (rig.dir.path().join("there"), rig.dir.path().join("back"));
    let batch = rig.dir.path().join("batch");
    let (put, get) = (format!("put {} {}", from.display(), there.display()), back.display());
    std::fs::write(&batch, format!("{put}\nget {} {get}\nrm {0}\nquit\n", there.display()))
        .unwrap();
    good(putty(&rig, "psftp").unwrap().arg("-b").arg(&batch).arg("127.0.0.1"));
    assert!(same(&from, &back) && !there.exists());
    rig.settle();
    let run = &commands(&rig, "exec")[0];
    assert_eq!(run["text"], line);
    let response = response(&rig, run);
    assert_eq!(response["details"]["exit_status"], "3");
    for stream in ["stdin_sha256", "stdout_sha256"] {
        assert_eq!(response["details"][stream], sha256(&content));
    }
    assert_eq!(commands(&rig, "subsystem").len(), 1);
}

#[test]
fn dropbear_s_dbclient() {
    let Some((_sshd, rig)) = rig() else { return };
    let Some(mut dbclient) = require(program("dbclient", "dropbear-bin")) else { return };
    let (from, content) = file(&rig, "from", 1_500_000);
    let home = rig.dir.path().join("home");
    std::fs::create_dir_all(home.join(".ssh")).unwrap();
    let known = std::fs::read_to_string(known_hosts(&rig)).unwrap();
    std::fs::write(home.join(".ssh/known_hosts"), known.replace("gw ", "127.0.0.1 ")).unwrap();
    dbclient.env("HOME", &home).env("DROPBEAR_PASSWORD", rig.token("alice"));
    dbclient.args(["-p", &rig.port.to_string(), "-l", &rig.user(), "127.0.0.1"]);
    let out = dbclient.arg("cat; exit 3").stdin(std::fs::File::open(&from).unwrap());
    let out = out.output().unwrap();
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(out.stdout == content);
    rig.settle();
    let response = response(&rig, &commands(&rig, "exec")[0]);
    assert_eq!(response["details"]["stdout_sha256"], sha256(&content));
}

/// Runs one of the Python scripts; what it printed.
fn script(rig: &Rig, name: &str) -> Option<Said> {
    let mut python = require(python_script(name))?;
    let folder = rig.dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    python.args([&rig.port.to_string(), &rig.user()]).arg(known_hosts(rig)).arg(&folder);
    python.arg(upper_tcp().to_string()).env("GREFFIER_TEST_TOKEN", rig.token("alice"));
    Some(good(&mut python))
}

/// The hash that a script printed of what it sent through `cat`, and the record's own.
fn hashes_agree(rig: &Rig, said: &Said) {
    let cat = commands(rig, "exec").into_iter().find(|c| c["text"] == "cat").unwrap();
    let response = response(rig, &cat);
    let hash = said.out.lines().find_map(|line| line.strip_prefix("cat ")).unwrap();
    assert_eq!(response["details"]["stdin_sha256"], hash);
    assert_eq!(response["details"]["stdout_sha256"], hash);
}

#[test]
fn paramiko() {
    let Some((_sshd, rig)) = rig() else { return };
    let Some(said) = script(&rig, "paramiko_client.py") else { return };
    rig.settle();
    hashes_agree(&rig, &said);
    assert_eq!(rig.entries_of("session_end").len(), 1);
    for (via, count) in [("exec", 2), ("shell", 1), ("subsystem", 1), ("direct-tcpip", 1)] {
        assert_eq!(commands(&rig, via).len(), count, "{via}");
    }
    let shell = &commands(&rig, "shell")[0];
    assert_eq!(shell["details"]["size"], "90x33");
    assert_eq!(response(&rig, shell)["code"], "6");
}

#[test]
fn asyncssh() {
    let Some((_sshd, rig)) = rig() else { return };
    let Some(said) = script(&rig, "asyncssh_client.py") else { return };
    rig.settle();
    hashes_agree(&rig, &said);
    assert_eq!(rig.entries_of("session_end").len(), 1);
    for (via, count) in
        [("shell", 1), ("subsystem", 1), ("direct-tcpip", 1), ("forwarded-tcpip", 1)]
    {
        assert_eq!(commands(&rig, via).len(), count, "{via}");
    }
    let killed = commands(&rig, "exec");
    let killed = killed.iter().find(|c| c["text"] == "kill -KILL $$").unwrap();
    assert_eq!(response(&rig, killed)["details"]["signal"], "KILL");
}

#[test]
fn an_ansible_playbook() {
    let Some((_sshd, rig)) = rig() else { return };
    let Some(bin) = require(python()) else { return };
    let dir = rig.dir.path();
    // Without a password Ansible forbids them: a certificate, as people would use it.
    let (key, line) = rig.client_key("mine");
    let said = rig.fetch_certificate(&rig.token("alice"), &line, &[&rig.user()]);
    std::fs::write(format!("{}-cert.pub", key.display()), &said.out).unwrap();
    let (from, _) = file(&rig, "from", 500_000);
    let config = dir.join("ssh_config").display().to_string();
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/../testbed/assets/ssh-clients");
    let settings = dir.join("ansible.cfg");
    std::fs::write(&settings, "[defaults]\n").unwrap();
    for transfer in ["sftp", "piped"] {
        let mut ansible = Command::new(bin.join("ansible-playbook"));
        ansible.env("HOME", dir).env("ANSIBLE_CONFIG", &settings).env_remove("SSH_AUTH_SOCK");
        ansible.env("ANSIBLE_LOCAL_TEMP", dir.join("local")).env("LC_ALL", "C.UTF-8");
        ansible.env("ANSIBLE_REMOTE_TEMP", dir.join("remote").display().to_string());
        // The first by `sftp` and modules as files, the second all by commands' input.
        ansible.env("ANSIBLE_SSH_TRANSFER_METHOD", transfer);
        ansible.env("ANSIBLE_PIPELINING", if transfer == "piped" { "1" } else { "0" });
        let ssh = format!("-F {config} -o ControlMaster=auto -o ControlPersist=60s");
        ansible.env("ANSIBLE_SSH_ARGS", ssh).env("ANSIBLE_SSH_CONTROL_PATH_DIR", dir.join("cp"));
        ansible.args(["-i", "gw,", "-e", "ansible_python_interpreter=/usr/bin/python3"]);
        ansible.args(["-e", &format!("ansible_user={}", rig.user()), "--private-key"]).arg(&key);
        ansible.args(["-e", "word=greffier", "-e", &format!("folder={}", dir.display())]);
        let said = good(ansible.arg(format!("{assets}/playbook.yml")));
        assert!(said.out.contains("failed=0"), "{said:?}");
        assert!(same(&from, &dir.join("there")) && same(&from, &dir.join("back")));
        let content = std::fs::read_to_string(dir.join("content")).unwrap();
        assert_eq!(content, "Linux greffier\n");
        for name in ["there", "back", "content"] {
            std::fs::remove_file(dir.join(name)).unwrap();
        }
        // The master connection outlives the playbook by a minute: it is ended here.
        for socket in std::fs::read_dir(dir.join("cp")).unwrap() {
            let path = socket.unwrap().path();
            good(Command::new("ssh").args(["-F", &config, "-O", "exit", "-S"]).arg(path).arg("gw"));
        }
    }
    rig.settle();
    // The certificate's session, and one connection a playbook.
    assert_eq!(rig.entries_of("session_start").len(), 3);
    assert!(commands(&rig, "exec").len() > 5);
    assert!(rig.entries_of("command").iter().all(|c| c["verdict"] == "allow"));
}

#[test]
fn lftp_mirrors_a_folder() {
    let Some((_sshd, rig)) = rig() else { return };
    let Some(mut lftp) = require(program("lftp", "lftp")) else { return };
    let dir = rig.dir.path();
    std::fs::create_dir_all(dir.join("source/inner")).unwrap();
    let (from, content) = file(&rig, "source/a b", 1_500_000);
    std::fs::write(dir.join("source/inner/c"), "words\n").unwrap();
    let ssh = ssh_script(&rig, &rig.token("alice"));
    // It puts `-l USER` and the host behind, and believes that it is asked for the password.
    let connect = format!("set sftp:connect-program {} -a -x", ssh.display());
    let script = format!(
        "set cmd:fail-exit true; set net:max-retries 1; set net:timeout 20; set sftp:auto-confirm yes; \
         {connect}; open -u {},none sftp://gw; mirror -R {1}/source {1}/far; \
         mirror -P 3 {1}/far {1}/back; mv {1}/far/inner/c {1}/far/d; cat {1}/far/d; rm -r {1}/far",
        rig.user(),
        dir.display()
    );
    lftp.env("HOME", dir).env("LFTP_HOME", dir.join("lftp")).args(["--norc", "-c", &script]);
    let said = good(&mut lftp);
    assert_eq!(said.out, "words\n");
    assert!(same(&from, &dir.join("back/a b")) && !dir.join("far").exists());
    rig.settle();
    let hash = sha256(&content);
    let whole = |details: &serde_json::Value| details.to_string().contains(&hash);
    let crossed = rig.entries_of("response").into_iter().filter(|r| whole(&r["details"])).count();
    assert_eq!(crossed, 2, "there and back");
}

/// A folder of the target as a file system of the client's; ended when dropped.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ended = Command::new("fusermount3").arg("-qu").arg(&self.0).status();
    }
}

#[test]
fn sshfs_is_a_folder() {
    let Some((_sshd, rig)) = rig() else { return };
    let Some(mut sshfs) = require(program("sshfs", "sshfs")) else { return };
    let dir = rig.dir.path();
    let (far, near) = (dir.join("far"), dir.join("near"));
    for folder in [&far, &near] {
        std::fs::create_dir(folder).unwrap();
    }
    let ssh = ssh_script(&rig, &rig.token("alice"));
    sshfs.arg(format!("gw:{}", far.display())).arg(&near);
    sshfs.args(["-o", &format!("ssh_command={}", ssh.display())]);
    let said = Said::of(&mut sshfs);
    if said.code != Some(0) && !kernel_mounts() {
        // No package brings that: the machine, or its container, forbids it.
        let _told =
            writeln!(std::io::stderr(), "SKIPPED sshfs_is_a_folder: no use of /dev/fuse here");
        return;
    }
    assert_eq!(said.code, Some(0), "{said:?}");
    let mount = Mount(near.clone());
    let (from, content) = file(&rig, "from", 3_000_000);
    std::fs::copy(&from, near.join("copy")).unwrap();
    std::fs::create_dir(near.join("inner")).unwrap();
    std::fs::rename(near.join("copy"), near.join("inner/copy")).unwrap();
    assert!(same(&from, &far.join("inner/copy")) && same(&from, &near.join("inner/copy")));
    let mut file = std::fs::File::options().append(true).open(near.join("inner/copy")).unwrap();
    file.write_all(b"more").unwrap();
    drop(file);
    let longer = [&content[..], b"more"].concat();
    assert!(std::fs::read(far.join("inner/copy")).unwrap() == longer);
    std::fs::remove_dir_all(near.join("inner")).unwrap();
    assert_eq!(std::fs::read_dir(&far).unwrap().count(), 0);
    drop(mount);
    rig.settle();
    assert_eq!(commands(&rig, "subsystem").len(), 1);
    let hash = sha256(&content);
    assert!(rig.entries_of("response").iter().any(|r| r["details"].to_string().contains(&hash)));
}

/// Whether a process of ours may mount by FUSE at all.
fn kernel_mounts() -> bool {
    let opened = std::fs::File::options().read(true).write(true).open("/dev/fuse");
    let list = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = list.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    // CAP_SYS_ADMIN, which fusermount3 needs and a container may not have.
    opened.is_ok() && u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 21) != 0
}

/// Installs a server in the folder that is named first, starts it on a port of the target's
/// loopback, and tells the port.
const INSTALL: &str = r#"set -e
mkdir -p "$folder" && cd "$folder"
cat > server.py <<'END'
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).upper()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
with open("port.new", "w") as file:
    print(os.getpid(), server.server_port, file=file)
os.rename("port.new", "port")
server.serve_forever()
END
nohup python3 server.py > log 2>&1 < /dev/null &
for n in $(seq 400); do [ -e port ] && break; sleep 0.05; done
echo "listening $(cat port)"
"#;

/// What VS Code's remote extension does: `bash` with a script on its standard input, which
/// installs a server on the target; and then that server by the SOCKS port of the same client.
#[test]
fn a_server_that_a_script_installs_is_reached_by_the_socks_port() {
    let Some((_sshd, rig)) = rig() else { return };
    let Some(mut curl) = require(program("curl", "curl")) else { return };
    let socks = testbed::spare_port().unwrap();
    let mut ssh = rig.ssh_command();
    ssh.args(["-T", "-D", &socks.to_string(), "gw", "bash"]);
    let mut client = Running::start(ssh.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut stdin = client.0.stdin.take().unwrap();
    let folder = rig.dir.path().join(".vscode-server");
    let script = format!("folder='{}'\n{INSTALL}", folder.display());
    stdin.write_all(script.as_bytes()).unwrap();
    let mut out = BufReader::new(client.0.stdout.take().unwrap()).lines();
    let line = out.next().unwrap().unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let &["listening", pid, port] = &words[..] else { panic!("{line}") };
    let (body, content) = file(&rig, "body", 300_000);
    let ask = |curl: &mut Command| {
        curl.args(["-sS", "--max-time", "30", "--noproxy", ""]);
        curl.args(["--socks5-hostname", &format!("127.0.0.1:{socks}")]);
        curl.arg("--data-binary").arg(format!("@{}", body.display()));
        curl.arg(format!("http://localhost:{port}/")).output().unwrap()
    };
    let said = ask(&mut curl);
    assert!(said.status.success(), "{said:?}");
    assert!(said.stdout == content.to_ascii_uppercase());
    stdin.write_all(format!("kill {pid}\nexit 4\n").as_bytes()).unwrap();
    drop(stdin);
    assert_eq!(client.0.wait().unwrap().code(), Some(4));
    until(|| (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    rig.settle();
    let forwards = commands(&rig, "direct-tcpip");
    assert_eq!(forwards.len(), 1);
    let details = &forwards[0]["details"];
    assert_eq!((&details["host"], &details["port"]), (&"localhost".into(), &port.into()));
    let answer = response(&rig, &forwards[0]);
    assert!(answer["bytes"].as_u64().unwrap() > 300_000, "{answer}");
    // The script is a command's input: what was installed is on record, with its hash.
    let run = &commands(&rig, "exec")[0];
    assert_eq!(run["text"], "bash");
    let said = [script.as_bytes(), format!("kill {pid}\nexit 4\n").as_bytes()].concat();
    assert_eq!(response(&rig, run)["details"]["stdin_sha256"], sha256(&said));
}
