//! What all peers need: an API server with its objects, and an issuer of tokens.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;

use dev_issuer::{Claims, DevIssuer};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use testbed::{Authority, Cluster, Issued};
use tokio::runtime::Runtime;

use crate::client::{Client, Door};
use crate::load::{Load, Size, Work};

/// What greffier's tokens are for.
pub(crate) const AUDIENCE: &str = "https://greffier.bench";
/// The namespace of everything but the pod that runs.
pub(crate) const NAMESPACE: &str = "bench";
/// The group of who asks through greffier: may do everything, as `admin` may.
const GROUP: &str = "bench";
/// Objects that are created at once.
const AT_ONCE: usize = 64;
/// The files that commands in the pod print, by which names, and their bytes.
pub(crate) const BLOB: &str = "blob";
pub(crate) const TEXT: &str = "text";
pub(crate) const BLOB_BYTES: u64 = 16 * 1024 * 1024;

pub(crate) struct Ground {
    pub(crate) cluster: Cluster,
    pub(crate) runtime: Runtime,
    pub(crate) issuer: DevIssuer,
    /// The proxy built as it is shipped.
    pub(crate) greffier: PathBuf,
    /// What it shows its clients.
    pub(crate) shown: Issued,
    authority: Authority,
    pub(crate) dir: tempfile::TempDir,
}

impl Ground {
    /// With as much in it as these loads need.
    pub(crate) fn new(greffier: PathBuf, loads: &[Load], size: Size) -> Result<Self, String> {
        let text = |e: std::io::Error| e.to_string();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().map_err(text)?;
        let issuer = runtime.block_on(DevIssuer::start()).map_err(|e| e.to_string())?;
        let dir = tempfile::Builder::new().prefix("bench-kubernetes-").tempdir().map_err(text)?;
        let has = |works: &[Work]| loads.iter().any(|load| works.contains(&load.0));
        let mut cluster = Cluster::without_audit_log().map_err(|e| e.to_string())?;
        if has(&[Work::Exec, Work::Bulk, Work::Text]) {
            cluster.start_node().map_err(|e| e.to_string())?;
            blob(&cluster)?;
        }
        let authority = Authority::new(dir.path()).map_err(|e| e.to_string())?;
        let shown = authority.issue("own", false).map_err(|e| e.to_string())?;
        let ground = Ground { cluster, runtime, issuer, greffier, shown, authority, dir };
        let pods = if has(&[Work::List, Work::Table]) { size.pods } else { 0 };
        ground.runtime.block_on(ground.fill(pods, size.watches))?;
        Ok(ground)
    }

    /// As admin, straight to the API server.
    pub(crate) fn direct(&self) -> Door {
        Door {
            port: self.cluster.port(),
            ca: Some(self.cluster.ca()),
            token: self.cluster.admin_token().to_owned(),
        }
    }

    /// Whom clients of greffier trust.
    pub(crate) fn greffiers_ca(&self) -> PathBuf {
        self.authority.certificate()
    }

    /// A new token for greffier, of one of several people.
    pub(crate) fn token(&self, person: usize) -> Result<String, String> {
        let claims = Claims::new(&format!("person-{person}")).audience(AUDIENCE).client("people");
        self.issuer.mint(claims.groups(&[GROUP])).map_err(|e| e.to_string())
    }

    /// kubectl, coming in by this door.
    pub(crate) fn kubectl(&self, door: &Door) -> Result<Command, String> {
        let ca = door.ca.clone().unwrap_or_else(|| self.cluster.ca());
        let config = self.cluster.kubeconfig(&door.url(), &ca, &door.token);
        let mut kubectl = self.cluster.kubectl();
        kubectl.env("KUBECONFIG", config.map_err(|e| e.to_string())?);
        Ok(kubectl)
    }

    async fn fill(&self, pods: usize, configs: usize) -> Result<(), String> {
        let mut client = self.direct().connect().await?;
        for (path, object) in rights() {
            client.create(path, &object.to_string()).await?;
        }
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        many(&client, &path, configs, config_map).await?;
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        many(&client, &path, pods, pod).await
    }
}

/// What the pod's commands print: bytes that compress no better than most that are copied, and
/// lines as of a log.
fn blob(cluster: &Cluster) -> Result<(), String> {
    let dir = cluster.pod_dir().ok_or("there is no node")?;
    let mut bytes = Vec::new();
    let random = fs::File::open("/dev/urandom").map_err(|e| e.to_string())?;
    random.take(BLOB_BYTES).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    let mut lines = Vec::with_capacity(bytes.len() + 128);
    for word in bytes.as_chunks().0 {
        if lines.len() >= bytes.len() {
            break;
        }
        let id = u64::from_le_bytes(*word);
        let line =
            format!("2026-11-30T12:00:00Z level=info id={id:016x} path=/api/v1/pods took=12ms\n");
        lines.extend_from_slice(line.as_bytes());
    }
    lines.truncate(bytes.len());
    fs::write(dir.join(BLOB), bytes).map_err(|e| e.to_string())?;
    fs::write(dir.join(TEXT), lines).map_err(|e| e.to_string())
}

async fn many(
    client: &Client,
    path: &str,
    count: usize,
    object: fn(usize) -> Value,
) -> Result<(), String> {
    stream::iter(0..count)
        .map(
            |at| async move { client.another().await?.create(path, &object(at).to_string()).await },
        )
        .buffer_unordered(AT_ONCE)
        .try_for_each(|()| std::future::ready(Ok(())))
        .await
}

/// The namespace; that the group may do everything; and that the API server holds it up no more
/// than it holds up `admin`, whose group is exempt from its queues.
fn rights() -> [(&'static str, Value); 3] {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE },
    });
    let subject =
        json!({ "kind": "Group", "name": GROUP, "apiGroup": "rbac.authorization.k8s.io" });
    let role = json!({
        "kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io",
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": GROUP }, "roleRef": role, "subjects": [subject],
    });
    let everything = json!({
        "subjects": [{ "kind": "Group", "group": { "name": GROUP } }],
        "resourceRules": [{
            "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true,
            "namespaces": ["*"],
        }],
        "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
    });
    let flow = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": { "name": GROUP },
        "spec": {
            "matchingPrecedence": 2, "priorityLevelConfiguration": { "name": "exempt" },
            "rules": [everything],
        },
    });
    [
        ("/api/v1/namespaces", namespace),
        ("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding),
        ("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", flow),
    ]
}

fn config_map(at: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("config-{at}") },
        "data": { "number": "none", "greeting": "good morning", "mode": "careful" },
    })
}

/// Small, with what a Deployment's pods have.
fn pod(at: usize) -> Value {
    let container = json!({
        "name": "web", "image": "registry.example.org/shop/web:1.27.3",
        "args": ["--listen=:8080", "--log=json"],
        "ports": [{ "name": "http", "containerPort": 8080 }],
        "env": [
            { "name": "GREETING", "valueFrom": { "configMapKeyRef": {
                "name": "config-1", "key": "greeting" } } },
            { "name": "MODE", "value": "careful" },
        ],
        "resources": {
            "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "memory": "128Mi" },
        },
        "readinessProbe": { "httpGet": { "path": "/ready", "port": "http" }, "periodSeconds": 10 },
        "volumeMounts": [{ "name": "scratch", "mountPath": "/var/scratch" }],
    });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("web-7c5ddbdf54-{at:05}"),
            "labels": { "app": "web", "pod-template-hash": "7c5ddbdf54", "tier": "front" },
            "annotations": { "example.org/owner": "the shop's team", "example.org/order": format!("{at}") },
        },
        "spec": {
            "containers": [container],
            "volumes": [{ "name": "scratch", "emptyDir": {} }],
            "terminationGracePeriodSeconds": 30,
        },
    })
}
