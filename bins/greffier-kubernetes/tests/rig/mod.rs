//! A real cluster, `greffier-kubernetes` as its users start it in front, and kubectl.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the rig")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a rig that can't be set up fails its test"
)]

pub mod twins;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use audit_sink::store::{Reader, Store, VerifyOptions, verify};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dev_issuer::{Claims, DevIssuer};
use rustix::process::Signal;
use serde_json::Value;
use testbed::{Authority, Cluster, Program};
use tokio::runtime::Runtime;

pub const AUDIENCE: &str = "https://kube.greffier.test";
const ORIGIN: &str = "greffier.test/kubernetes-1";
pub const ALICE: &str = "alice@example.com";

/// Masks cards, for the client and for the record.
pub const CARDS: &str = r#"
    [masking]
    version = 1
    [[masking.rule]]
    entity = ["CREDIT_CARD"]
    client = { operator = "replace" }
    record = { operator = "replace" }
"#;

/// What to set up.
#[derive(Default)]
pub struct Plan {
    /// Rules before `default = "allow"`.
    pub rules: &'static str,
    /// Keys of `[target.test.kubernetes]`.
    pub target: &'static str,
    /// The section `[masking]`.
    pub masking: &'static str,
    /// How much is recorded: `full` if empty.
    pub recording: &'static str,
    /// Keys of the rule for people, `max_session = "8s"`.
    pub people: &'static str,
    /// Whether a kubeconfig says where the cluster is, and a credential plugin who we are.
    pub by_kubeconfig: bool,
    /// What stands where the cluster should be, if that is something else.
    pub instead: Option<String>,
    /// Whether the proxy finds what a pod of the cluster has, and goes by that.
    pub in_cluster: bool,
}

pub struct Rig {
    pub runtime: Runtime,
    pub issuer: DevIssuer,
    pub cluster: Cluster,
    dir: tempfile::TempDir,
    vkey: tlog::Verifier,
    proxy: Program,
    pub port: u16,
}

impl Rig {
    /// Before this cluster.
    pub fn before(cluster: Cluster, plan: &Plan) -> Rig {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let vkey = config::keygen(&path("log.key"), ORIGIN).unwrap();
        let own = Authority::new(dir.path()).unwrap().issue("own", false).unwrap();
        secret(&path("upstream"), cluster.proxy_token());
        let cluster_keys = match (plan.by_kubeconfig, plan.in_cluster) {
            (true, _) => by_kubeconfig(&dir, &cluster),
            (_, true) => "in_cluster = true".to_owned(),
            _ if plan.instead.is_some() => format!(
                "url = \"{}\"\nbearer = \"file:upstream\"",
                plan.instead.as_deref().unwrap_or_default()
            ),
            _ => format!(
                "url = \"{}\"\ntls_ca = \"{}\"\nbearer = \"file:upstream\"",
                cluster.url(),
                cluster.ca().display()
            ),
        };
        let text = config(plan, &issuer, &cluster_keys, &own.certificate, &own.key);
        fs::write(path("greffier.toml"), text).unwrap();
        let program = env!("CARGO_BIN_EXE_greffier-kubernetes");
        let mut command = match plan.in_cluster {
            true => in_a_pod(&dir, &cluster, program),
            false => Command::new(program),
        };
        command.arg("--config").arg(path("greffier.toml")).env("RUST_LOG", "info");
        let mut proxy = Program::heard_on_stderr(&mut command).unwrap();
        let (_, port) = proxy.ready().unwrap();
        Rig { runtime, issuer, cluster, dir, vkey, proxy, port }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The proxy's certificate authority.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub fn token(&self, name: &str) -> String {
        self.issuer.mint(Claims::new(name).audience(AUDIENCE).client("people")).unwrap()
    }

    /// kubectl as whom this token is of, through the proxy.
    pub fn kubectl_with(&self, token: &str) -> Command {
        let config = self.cluster.kubeconfig(&self.url(), &self.ca(), token).unwrap();
        let mut kubectl = self.cluster.kubectl();
        kubectl.env("KUBECONFIG", config);
        kubectl
    }

    /// The same as alice.
    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_with(&self.token(ALICE)).args(args).output().unwrap()
    }

    /// What kubectl prints as alice, who must succeed.
    pub fn said(&self, args: &[&str]) -> String {
        let output = self.kubectl(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What kubectl complains of as alice, who must fail.
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.kubectl(args);
        assert!(!output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// What kubectl prints as admin, without the proxy.
    pub fn direct(&self, args: &[&str]) -> String {
        let output = self.cluster.kubectl().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// curl as whom this token is of; its body, a line break, and its status.
    pub fn curl(&self, token: &str, args: &[&str], path: &str) -> String {
        curl(&self.ca(), token, args, &format!("{}{path}", self.url()))
    }

    /// Ends the proxy in order; every entry of its verified log, and every object that it names.
    pub fn record(mut self) -> Record {
        self.proxy.signal(Signal::TERM);
        self.proxy.wait_for("the log is sealed").unwrap();
        assert_eq!(self.proxy.wait().unwrap().code(), Some(0));
        let store = Store::open(self.path("store").to_str().unwrap()).unwrap();
        let log = store.log("kubernetes-1").unwrap();
        let entries = self.runtime.block_on(async {
            let report = verify(&log, &self.vkey, &VerifyOptions::default()).await.unwrap();
            assert!(report.failures.is_empty(), "{report:?}");
            let reader = Reader::open(&log, &self.vkey).await.unwrap().unwrap();
            let mut entries = reader.range(0, u64::MAX);
            let mut all = Vec::new();
            while let Some((_, bytes)) = entries.next().await.unwrap() {
                all.push(serde_json::from_slice::<Value>(&bytes).unwrap());
            }
            all
        });
        let mut bytes = Vec::new();
        everything(&self.path("store"), &mut bytes);
        Record { entries, bytes }
    }
}

/// What curl is answered, a line break, and the status.
pub fn curl(ca: &Path, token: &str, args: &[&str], url: &str) -> String {
    let output = Command::new("curl")
        .args(["-q", "-sS", "--max-time", "20", "--path-as-is", "--cacert"])
        .arg(ca)
        .args(["-w", "\n%{http_code}", "-H", &format!("Authorization: Bearer {token}")])
        .args(args)
        .arg(url)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a rig leaves.
pub struct Record {
    pub entries: Vec<Value>,
    /// All bytes of its store, as they lie there, one file after the other.
    pub bytes: Vec<u8>,
}

impl Record {
    pub fn of(&self, kind: &str) -> Vec<&Value> {
        self.entries.iter().filter(|it| it["type"] == kind).collect()
    }

    /// The commands whose text has this.
    pub fn commands(&self, text: &str) -> Vec<&Value> {
        let has = |it: &&Value| it["text"].as_str().is_some_and(|it| it.contains(text));
        self.of("command").into_iter().filter(has).collect()
    }

    /// A command's outcome.
    pub fn response(&self, command: &Value) -> &Value {
        let same = |it: &&&Value| {
            it["command"] == command["command"] && it["session"] == command["session"]
        };
        self.of("response").iter().find(same).copied().expect("an outcome")
    }

    /// What of a command's answer stands in entries.
    pub fn answer(&self, command: &Value) -> Vec<u8> {
        let same = |it: &&&Value| {
            it["command"] == command["command"] && it["session"] == command["session"]
        };
        let mut all: Vec<&Value> = self.of("output").iter().filter(same).copied().collect();
        all.push(self.response(command));
        let data = all.iter().filter_map(|entry| entry["data"]["base64"].as_str());
        data.flat_map(|text| STANDARD.decode(text).unwrap()).collect()
    }
}

fn config(
    plan: &Plan,
    issuer: &DevIssuer,
    cluster: &str,
    certificate: &Path,
    key: &Path,
) -> String {
    let below = plan.by_kubeconfig || plan.in_cluster;
    format!(
        r#"
        [[listen]]
        address = "127.0.0.1:0"
        tls = {{ certificate = "{}", key = "{}" }}
        [audit]
        dir = "state"
        store = "store"
        log_id = "kubernetes-1"
        origin = "{ORIGIN}"
        key = "file:log.key"
        segments = 8
        segment_bytes = "4MiB"
        [issuer.dev]
        iss = "{}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["ES256"]
        may_mint = ["human", "agent"]
        allow_insecure_loopback = true
        [[issuer.dev.rule]]
        name = "agents"
        kind = "agent"
        when = {{ client_id = {{ equals = "agents" }} }}
        actor_from = "act"
        groups = "groups"
        [[issuer.dev.rule]]
        name = "people"
        kind = "human"
        when = {{ client_id = {{ equals = "people" }} }}
        groups = "groups"
        {}
        [policy]
        default = "allow"
        {}
        {}
        [target.test]
        protocol = "kubernetes"
        {}
        recording = "{}"
        [target.test.kubernetes]
        {}
        {}
        "#,
        certificate.display(),
        key.display(),
        issuer.iss(),
        plan.people,
        plan.rules,
        plan.masking,
        if below { "" } else { cluster },
        if plan.recording.is_empty() { "full" } else { plan.recording },
        if below { cluster } else { "" },
        plan.target,
    )
}

/// A kubeconfig whose user is a plugin, which prints the token that it finds in a file. It counts how
/// often it ran, in `runs`.
fn by_kubeconfig(dir: &tempfile::TempDir, cluster: &Cluster) -> String {
    let plugin = dir.path().join("plugin");
    let expired = "2026-01-01T00:00:00Z";
    let script = format!(
        "#!/bin/sh\ncd {}\necho run >> runs\necho \"{{\\\"apiVersion\\\":\
         \\\"client.authentication.k8s.io/v1\\\",\\\"kind\\\":\\\"ExecCredential\\\",\
         \\\"status\\\":{{\\\"token\\\":\\\"$(cat upstream)\\\",\
         \\\"expirationTimestamp\\\":\\\"{expired}\\\"}}}}\"\n",
        dir.path().display()
    );
    fs::write(&plugin, script).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o700)).unwrap();
    let text = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "other",
        "clusters": [{ "name": "c", "cluster": {
            "server": cluster.url(), "certificate-authority": cluster.ca(),
        } }],
        "users": [{ "name": "u", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin",
            "interactiveMode": "IfAvailable",
        } } }],
        "contexts": [{ "name": "test", "context": { "cluster": "c", "user": "u" } }],
    });
    secret(&dir.path().join("cluster.kubeconfig"), &text.to_string());
    "kubeconfig = \"cluster.kubeconfig\"\ncontext = \"test\"".to_owned()
}

/// Whether folders of the system may be covered for one program.
pub fn pods_can_be_played() -> bool {
    let may = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output();
    may.is_ok_and(|it| it.status.success())
}

/// A program that finds the cluster's address and an account's token where a pod has them.
fn in_a_pod(dir: &tempfile::TempDir, cluster: &Cluster, program: &str) -> Command {
    let account = dir.path().join("account");
    fs::create_dir(&account).unwrap();
    fs::copy(cluster.ca(), account.join("ca.crt")).unwrap();
    fs::write(account.join("namespace"), "default").unwrap();
    secret(&account.join("token"), cluster.proxy_token());
    let script = "mount -t tmpfs none /run && mkdir -p /var/run/secrets/kubernetes.io && \
                  ln -s \"$0\" /var/run/secrets/kubernetes.io/serviceaccount && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(account).arg(program);
    let url = cluster.url();
    let (host, port) = url.trim_start_matches("https://").rsplit_once(':').unwrap();
    command.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port);
    command
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// All files below a folder.
fn everything(folder: &Path, bytes: &mut Vec<u8>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => everything(&path, bytes),
            false => bytes.extend(fs::read(&path).unwrap()),
        }
    }
}
