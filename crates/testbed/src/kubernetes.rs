//! A Kubernetes API server with an etcd of its own, and a stand-in for a node.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::dirs::{Account, server_dir, spare_port};
use crate::kubernetes_build::{Programs, informer, kubelet};
use crate::process::{Server, Stop, output};
use crate::tls::Authority;
use crate::{Error, install};

/// How long a program may take to be ready: the API server needs five seconds of an idle machine.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long an answer's event may take until it is in the audit log.
const AUDIT_LIMIT: Duration = Duration::from_secs(20);
/// What the pod's log holds at first.
const FIRST_LOG: &str = "line 1\nline 2\nline 3\n";

/// A running Kubernetes API server on 127.0.0.1 with RBAC and an audit log. Ended when dropped.
///
/// Users prove themselves by tokens, new for each start. `admin` may do everything; `greffier` is
/// in no group and may only act for others (`impersonate` users, groups, uids and extra fields).
/// In the namespace `default`, `alice@example.com` and the group `devs` may work with ConfigMaps,
/// Secrets, pods and deployments, and use pods' logs, exec, attach and port-forward;
/// `olga@example.com` may empty nodes; `bob@example.com` may do nothing. Those have no token:
/// somebody acts for them.
///
/// There are no controllers, no scheduler, and no node but that of [`Cluster::start_node`].
pub struct Cluster {
    // Ended in this order.
    node: Option<Server>,
    apiserver: Server,
    _etcd: Server,
    programs: Programs,
    authority: Authority,
    port: u16,
    admin_token: String,
    proxy_token: String,
    kubeconfigs: AtomicU32,
    admin: PathBuf,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("port", &self.port)
            .field("dir", &self.dir())
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Starts etcd and the API server, and sets up who may do what.
    ///
    /// The programs are those of the folder that `KUBEBUILDER_ASSETS` names, or are built by Go
    /// into the cache folder, which takes minutes, once.
    ///
    /// # Errors
    /// [`Error::Missing`] without Go and without such a folder, or without `openssl`;
    /// [`Error::Failed`] when something can't be built or does not get ready.
    pub fn start() -> Result<Self, Error> {
        Self::launch(true)
    }

    /// [`Cluster::start`] without an audit log, which would be a good part of what is measured.
    ///
    /// # Errors
    /// As its.
    pub fn without_audit_log() -> Result<Self, Error> {
        Self::launch(false)
    }

    fn launch(audited: bool) -> Result<Self, Error> {
        let programs = Programs::find()?;
        let (etcd, etcd_url) = start_etcd(&programs)?;
        let dir = server_dir("kube-apiserver-", Account::Ours)?;
        let port = spare_port()?;
        let (admin_token, proxy_token) = (token()?, token()?);
        let tokens = format!(
            "{admin_token},admin,admin-uid,system:masters\n{proxy_token},greffier,greffier-uid\n"
        );
        private(&dir.path().join("tokens.csv"), &tokens)?;
        let client = dir.path().join("client");
        fs::create_dir(&client).map_err(|e| Error::failed("making a folder", e))?;
        let authority = Authority::new(dir.path())?;
        let mut command = Command::new(&programs.apiserver);
        apiserver(&mut command, dir.path(), &authority)?;
        if audited {
            audit(&mut command, dir.path());
        }
        command.arg(format!("--etcd-servers={etcd_url}")).arg(format!("--secure-port={port}"));
        let mut apiserver = Server::new("kube-apiserver", dir, Stop::Kill);
        apiserver.spawn(command, Account::Ours)?;
        let mut cluster = Self {
            node: None,
            apiserver,
            _etcd: etcd,
            programs,
            authority,
            port,
            admin_token,
            proxy_token,
            kubeconfigs: AtomicU32::new(0),
            admin: PathBuf::new(),
        };
        cluster.admin = cluster.kubeconfig(&cluster.url(), &cluster.ca(), &cluster.admin_token)?;
        cluster.wait_until_ready()?;
        cluster.create(&install::assets().join("kubernetes/rights.yaml"))?;
        Ok(cluster)
    }

    /// [`Cluster::start`], then [`Cluster::start_node`].
    ///
    /// # Errors
    /// As theirs.
    pub fn with_node() -> Result<Self, Error> {
        let mut cluster = Self::start()?;
        cluster.start_node()?;
        Ok(cluster)
    }

    /// Starts a stand-in for a kubelet and makes it the node `node`, with the running pod `web` in
    /// the namespace `default`, which has one container, `web`.
    ///
    /// A command in the pod is a process on this machine, in the folder [`Cluster::pod_dir`]; to
    /// attach to it is to talk to `cat`, which first says `attached`; its ports are this machine's.
    /// What a command left in the background ends with the node. The pod's log begins with
    /// `line 1` to `line 3` and grows by [`Cluster::append_pod_log`].
    ///
    /// # Errors
    /// [`Error::Missing`] without Go; [`Error::Failed`] when it can't be built or does not start.
    pub fn start_node(&mut self) -> Result<(), Error> {
        let program = kubelet()?;
        let (dir, port) = (server_dir("kubelet-", Account::Ours)?, spare_port()?);
        let issued = self.authority.issue("node", false)?;
        fs::write(dir.path().join("web.log"), FIRST_LOG)
            .map_err(|e| Error::failed("writing the pod's log", e))?;
        let mut command = Command::new(program);
        command.arg(format!("127.0.0.1:{port}")).args([&issued.certificate, &issued.key]);
        command.arg(self.ca());
        let mut node = Server::new("kubelet", dir, Stop::Term);
        node.spawn(command, Account::Ours)?;
        node.wait_until(START_LIMIT, |_| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        self.node = Some(node);
        let objects = self.dir().join("node.json");
        private(&objects, &node_and_pod(port).to_string())?;
        self.create(&objects)?;
        let mut patch = self.kubectl();
        patch.args(["patch", "pod", "web", "--subresource=status", "--type=merge", "-p"]);
        patch.arg(running().to_string());
        output("kubectl patch", &mut patch).map(drop)
    }

    /// The TCP port on 127.0.0.1, which speaks TLS.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, `https://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate authority to trust, PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.authority.certificate()
    }

    /// The token of `admin`, who is in the group `system:masters`.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// The token of `greffier`, who may only act for others.
    #[must_use]
    pub fn proxy_token(&self) -> &str {
        &self.proxy_token
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.apiserver.dir()
    }

    /// The folder in which the pod's commands run, with [`Cluster::start_node`].
    #[must_use]
    pub fn pod_dir(&self) -> Option<&Path> {
        self.node.as_ref().map(Server::dir)
    }

    /// The API server's process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.apiserver.pid()
    }

    /// Kills the API server at once.
    pub fn kill9(&mut self) {
        self.apiserver.kill9();
    }

    /// What the API server printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.apiserver.log()).unwrap_or_default()).into_owned()
    }

    /// kubectl as `admin`, straight to the API server, with nothing of this machine's user. Set
    /// `KUBECONFIG` to what [`Cluster::kubeconfig`] gives to aim it elsewhere.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        let client = self.dir().join("client");
        let mut kubectl = Command::new(&self.programs.kubectl);
        kubectl.env("KUBECONFIG", &self.admin).env("KUBECACHEDIR", client.join("cache"));
        kubectl.env("HOME", &client).current_dir(client).stdin(Stdio::null());
        kubectl
    }

    /// Writes a configuration for clients of the server at `server_url`, which has a certificate
    /// of the authority `ca`, with a bearer token; none if `token` is empty.
    ///
    /// # Errors
    /// [`Error::Failed`] if it can't be written.
    pub fn kubeconfig(&self, server_url: &str, ca: &Path, token: &str) -> Result<PathBuf, Error> {
        let user = if token.is_empty() { json!({}) } else { json!({ "token": token }) };
        let cluster = json!({ "server": server_url, "certificate-authority": ca });
        let context = json!({ "cluster": "c", "user": "u", "namespace": "default" });
        // What is JSON is YAML.
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "c", "cluster": cluster }],
            "users": [{ "name": "u", "user": user }],
            "contexts": [{ "name": "x", "context": context }],
            "current-context": "x",
        });
        let number = self.kubeconfigs.fetch_add(1, Ordering::Relaxed);
        let path = self.dir().join("client").join(format!("kubeconfig-{number}"));
        private(&path, &config.to_string())?;
        Ok(path)
    }

    /// The server's own record so far: an `audit.k8s.io/v1` Event for each request of anybody but
    /// itself, with bodies. That of an answer may come a moment after the answer
    /// ([`Cluster::audit_event`] waits).
    ///
    /// # Errors
    /// [`Error::Failed`] if it can't be read.
    pub fn audit_events(&self) -> Result<Vec<Value>, Error> {
        let fail = |e: &dyn std::fmt::Display| Error::failed("reading the audit log", e);
        let text = fs::read_to_string(self.dir().join("audit.log")).map_err(|e| fail(&e))?;
        // The last line may be on its way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).map_err(|e| fail(&e))).collect()
    }

    /// The first event of the server's own record that is as `wanted`, waited for.
    ///
    /// # Errors
    /// [`Error::Failed`] if it does not come, or the record can't be read.
    pub fn audit_event(&self, wanted: impl Fn(&Value) -> bool) -> Result<Value, Error> {
        let end = Instant::now() + AUDIT_LIMIT;
        loop {
            if let Some(found) = self.audit_events()?.into_iter().find(&wanted) {
                return Ok(found);
            }
            if Instant::now() >= end {
                return Err(Error::failed("waiting for an audit event", "it did not come"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Appends to the log of the pod `web`; who follows it is told.
    ///
    /// # Errors
    /// [`Error::Failed`] without a node.
    pub fn append_pod_log(&self, text: &str) -> Result<(), Error> {
        let dir = self.pod_dir().ok_or_else(|| Error::failed("the pod's log", "no node"))?;
        let log = OpenOptions::new().append(true).open(dir.join("web.log"));
        log.and_then(|mut log| log.write_all(text.as_bytes()))
            .map_err(|e| Error::failed("the pod's log", e))
    }

    fn create(&self, file: &Path) -> Result<(), Error> {
        output("kubectl create", self.kubectl().arg("create").arg("-f").arg(file)).map(drop)
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let port = self.port;
        let mut asks = ["/readyz", "/api/v1/namespaces/default"].map(|path| {
            let mut ask = self.kubectl();
            ask.args(["get", "--raw", path]);
            ask
        });
        self.apiserver.wait_until(START_LIMIT, |_| {
            // The namespace is made by itself, and not among what "ready" means.
            TcpStream::connect(("127.0.0.1", port)).is_ok()
                && asks.iter_mut().all(|ask| ask.output().is_ok_and(|told| told.status.success()))
        })
    }
}

/// The official client for Python: uses what its examples use, and prints what came of it as JSON.
/// To be given `KUBECONFIG`; a Secret `db` and the pod of [`Cluster::start_node`] must be there.
///
/// # Errors
/// [`Error::Missing`] without Python; [`Error::Failed`] if the client can't be installed.
pub fn kubernetes_python() -> Result<Command, Error> {
    let folder = "kubernetes-python";
    let mut python = Command::new(install::python(folder)?.join("python"));
    python.arg("-B").arg(install::assets().join(folder).join("client.py"));
    Ok(python)
}

/// The official client for Go, as controllers use it: creates a ConfigMap and a pod, then
/// prints as JSON lines what its informer on ConfigMaps of the namespace `default` is told, until a
/// ConfigMap `end` is added. To be given `KUBECONFIG`, and as arguments how many seconds it runs at
/// most, `json`, `protobuf` or `cbor`, and how many seconds a watch lasts (0: as the client chooses).
///
/// # Errors
/// [`Error::Missing`] without Go; [`Error::Failed`] if it can't be built.
pub fn kubernetes_informer() -> Result<Command, Error> {
    let mut informer = Command::new(informer()?);
    // Its libraries speak CBOR only when told that they may.
    informer.env("KUBE_FEATURE_ClientsAllowCBOR", "true");
    Ok(informer)
}

/// An etcd that serves one API server, and its URL.
fn start_etcd(programs: &Programs) -> Result<(Server, String), Error> {
    let (dir, port, peers) = (server_dir("etcd-", Account::Ours)?, spare_port()?, spare_port()?);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut command = Command::new(&programs.etcd);
    command.arg("--data-dir").arg(dir.path().join("data")).args(["--unsafe-no-fsync"]);
    command.args(["--listen-client-urls", &url(port), "--advertise-client-urls", &url(port)]);
    command.args(["--listen-peer-urls", &url(peers)]);
    command.args(["--initial-advertise-peer-urls", &url(peers)]);
    command.args(["--initial-cluster", &format!("default={}", url(peers))]);
    command.args(["--log-level", "warn"]);
    let mut server = Server::new("etcd", dir, Stop::Kill);
    server.spawn(command, Account::Ours)?;
    server.wait_until(START_LIMIT, |_| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok((server, url(port)))
}

/// What the API server must be told, but for its ports; its keys and tokens are in `dir`.
fn apiserver(c: &mut Command, dir: &Path, authority: &Authority) -> Result<(), Error> {
    let serving = authority.issue("apiserver", false)?;
    // A certificate, because it reads public keys here: who signed it matters to nobody.
    let accounts = authority.issue("service-accounts", true)?;
    let to_kubelets = authority.issue("kubelet-client", true)?;
    let mut file = |flag: &str, path: &Path| {
        c.arg(format!("--{flag}={}", path.display()));
    };
    file("tls-cert-file", &serving.certificate);
    file("tls-private-key-file", &serving.key);
    file("cert-dir", &dir.join("certificates"));
    file("service-account-key-file", &accounts.certificate);
    file("service-account-signing-key-file", &accounts.key);
    file("kubelet-client-certificate", &to_kubelets.certificate);
    file("kubelet-client-key", &to_kubelets.key);
    file("kubelet-certificate-authority", &authority.certificate());
    file("token-auth-file", &dir.join("tokens.csv"));
    c.args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"]);
    // An address of the loopback is no valid endpoint of a service.
    c.args(["--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16"]);
    c.args(["--service-account-issuer=https://kubernetes.default.svc"]);
    c.args(["--authorization-mode=Node,RBAC", "--kubelet-preferred-address-types=InternalIP"]);
    // No controller makes the accounts that it would demand of pods.
    c.args(["--disable-admission-plugins=ServiceAccount"]);
    // Whoever asks for CBOR gets it, and may send it.
    c.args(["--feature-gates=CBORServingAndStorage=true"]);
    Ok(())
}

/// What the API server must be told so that it writes `audit.log` in `dir`.
fn audit(c: &mut Command, dir: &Path) {
    let policy = install::assets().join("kubernetes/audit-policy.yaml");
    c.arg(format!("--audit-policy-file={}", policy.display()));
    c.arg(format!("--audit-log-path={}", dir.join("audit.log").display()));
    // An event is in the file before the request goes on; the file is never put aside.
    c.args(["--audit-log-mode=blocking", "--audit-log-maxsize=100000"]);
}

/// The node whose kubelet listens on `port`, and the pod on it.
fn node_and_pod(port: u16) -> Value {
    let status = json!({
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
        "conditions": [{ "type": "Ready", "status": "True" }],
    });
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "node" }, "status": status,
    });
    let container = json!({ "name": "web", "image": "none", "stdin": true });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web", "namespace": "default", "labels": { "app": "web" } },
        "spec": { "nodeName": "node", "containers": [container] },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [node, pod] })
}

/// What a kubelet would say of the pod.
fn running() -> Value {
    let container = json!({
        "name": "web", "image": "none", "imageID": "none", "ready": true, "restartCount": 0,
        "containerID": "process://web", "started": true,
        "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } },
    });
    json!({ "status": {
        "phase": "Running", "hostIP": "127.0.0.1", "podIP": "127.0.0.1",
        "conditions": [{ "type": "Ready", "status": "True" }],
        "containerStatuses": [container],
    } })
}

/// A token that nobody guesses.
fn token() -> Result<String, Error> {
    let mut bytes = [0; 24];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|e| Error::failed("making a token", e))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file that only its owner may read.
fn private(path: &Path, text: &str) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Error::failed(format!("writing {}", path.display()), e))
}
