//! kube, the client for Rust, through the proxy and directly: what its examples do, with the same
//! results.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::path::Path;
use std::pin::pin;

use futures_util::io::AsyncBufReadExt as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::api::{
    Api, AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use rig::{ALICE, Plan, Rig};
use serde_json::{Value, json};
use testbed::{Cluster, require};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn client(kubeconfig: &Path) -> Client {
    let read = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(read, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

fn config_map(name: &str, text: &str) -> ConfigMap {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name }, "data": { "text": text },
    });
    serde_json::from_value(map).unwrap()
}

/// What the API server says no to.
fn refusal(error: kube::Error) -> Value {
    match error {
        kube::Error::Api(status) => json!([status.code, status.reason]),
        other => panic!("{other:?}"),
    }
}

/// Lists, creates, gets, patches, replaces, watches and deletes.
async fn objects(client: &Client) -> Value {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let before = maps.list(&ListParams::default()).await.unwrap();
    let from = before.metadata.resource_version.unwrap();
    let mut events = pin!(maps.watch(&WatchParams::default(), &from).await.unwrap());

    let mut told = Vec::new();
    let post = PostParams::default();
    told.push(maps.create(&post, &config_map("rs", "Grüße")).await.unwrap());
    let again = refusal(maps.create(&post, &config_map("rs", "x")).await.unwrap_err());
    let applied = config_map("rs", "applied");
    let apply = |manager: &str| PatchParams::apply(manager);
    let conflict = maps.patch("rs", &apply("one"), &Patch::Apply(&applied)).await;
    let conflict = refusal(conflict.unwrap_err());
    let forced = maps.patch("rs", &apply("one").force(), &Patch::Apply(&applied)).await;
    told.push(forced.unwrap());
    let merge = Patch::Merge(json!({ "data": { "more": "é" } }));
    told.push(maps.patch("rs", &PatchParams::default(), &merge).await.unwrap());
    let mut read = maps.get("rs").await.unwrap();
    read.data.as_mut().unwrap().insert("text".to_owned(), "replaced".to_owned());
    told.push(maps.replace("rs", &post, &read).await.unwrap());
    // What was read before is too old to be put back.
    let stale = refusal(maps.replace("rs", &post, &read).await.unwrap_err());
    let missing = maps.get_opt("nobody").await.unwrap();
    let metadata = maps.get_metadata("rs").await.unwrap();
    let listed = maps.list(&ListParams::default().fields("metadata.name=rs")).await.unwrap();
    maps.delete("rs", &DeleteParams::default()).await.unwrap();

    let mut watched = Vec::new();
    loop {
        let (event, map) = match events.try_next().await.unwrap().expect("a longer watch") {
            WatchEvent::Added(map) => ("added", map),
            WatchEvent::Modified(map) => ("modified", map),
            WatchEvent::Deleted(map) => ("deleted", map),
            other => panic!("{other:?}"),
        };
        watched.push(json!([event, map.name_any(), map.data]));
        if event == "deleted" {
            break;
        }
    }
    let told: Vec<_> = told.into_iter().map(|it| it.data).collect();
    let listed: Vec<_> = listed.items.into_iter().map(|it| it.data).collect();
    json!({
        "told": told, "listed": listed, "watched": watched, "missing": missing,
        "metadata": metadata.name_any(), "refused": [again, conflict, stale],
    })
}

/// What a command in the pod prints when it is given some input, and how it ended.
async fn ran(pods: &Api<Pod>, script: &str, input: &[u8]) -> Value {
    let params = AttachParams::default().stdin(true);
    let mut process = pods.exec("web", ["sh", "-c", script], &params).await.unwrap();
    let (mut stdin, status) = (process.stdin().unwrap(), process.take_status().unwrap());
    let (mut stdout, mut stderr) = (process.stdout().unwrap(), process.stderr().unwrap());
    let (mut out, mut err) = (String::new(), String::new());
    let write = async {
        stdin.write_all(input).await.unwrap();
        // Its end is what tells `cat` that there is no more.
        stdin.shutdown().await.unwrap();
        drop(stdin);
    };
    let read = async {
        stdout.read_to_string(&mut out).await.unwrap();
        stderr.read_to_string(&mut err).await.unwrap();
    };
    tokio::join!(write, read);
    let status = status.await.unwrap();
    process.join().await.unwrap();
    json!([out, err, status.status, status.reason, status.details.and_then(|it| it.causes)])
}

/// Logs, exec and attach of the pod, and a port of it.
async fn pod(client: &Client, port: u16) -> Value {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let phase = pods.get("web").await.unwrap().status.unwrap().phase;
    let last = LogParams { tail_lines: Some(2), ..LogParams::default() };
    let last = pods.logs("web", &last).await.unwrap();
    let follow = LogParams { follow: true, ..LogParams::default() };
    let lines = pods.log_stream("web", &follow).await.unwrap().lines();
    let lines: Vec<String> = lines.take(3).try_collect().await.unwrap();
    let failed = ran(&pods, "echo out; echo err >&2; exit 7", b"").await;
    let cat = ran(&pods, "cat", "typed: ö\n".as_bytes()).await;
    let long = ran(&pods, "wc -c", &[b'x'; 300_000]).await;

    let mut forwarded = pods.portforward("web", &[port]).await.unwrap();
    let mut stream = forwarded.take_stream(port).unwrap();
    let mut from_port = String::new();
    stream.read_to_string(&mut from_port).await.unwrap();
    json!({
        "phase": phase, "last": last, "lines": lines, "failed": failed, "cat": cat, "long": long,
        "port": from_port,
    })
}

/// What alice is shown otherwise than admin.
async fn otherwise(client: &Client) -> Value {
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    let secret = secrets.get("db").await.unwrap().data.unwrap().remove("password").unwrap();
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = match nodes.list(&ListParams::default()).await {
        Ok(list) => list.iter().map(|it| it.name_any()).collect(),
        Err(error) => refusal(error),
    };
    json!([String::from_utf8(secret.0).unwrap(), nodes])
}

#[test]
fn kube_does_the_same_as_directly() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    rig.direct(&["create", "secret", "generic", "db", "--from-literal=password=Sentinel-93cf1"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::io::Write::write_all(&mut stream.unwrap(), b"from the pod").unwrap();
        }
    });
    let cluster = &rig.cluster;
    let admin = cluster.kubeconfig(&cluster.url(), &cluster.ca(), cluster.admin_token());
    let alice = cluster.kubeconfig(&rig.url(), &rig.ca(), &rig.token(ALICE));
    let [direct, ours] = [admin.unwrap(), alice.unwrap()].map(|config| {
        rig.runtime.block_on(async {
            let client = client(&config).await;
            let version = client.apiserver_version().await.unwrap().git_version;
            let groups = client.list_api_groups().await.unwrap().groups.len();
            let same = json!([version, groups, objects(&client).await, pod(&client, port).await]);
            (same, otherwise(&client).await)
        })
    });
    assert_eq!(ours.0, direct.0);
    assert_eq!(ours.0[3]["failed"][0], "out\n");
    assert_eq!(ours.0[3]["failed"][4][0]["message"], "7");
    assert_eq!(ours.0[3]["cat"][0], "typed: ö\n");
    assert_eq!(ours.0[3]["port"], "from the pod");
    assert_eq!(direct.1, json!(["Sentinel-93cf1", ["node"]]));
    assert_eq!(ours.1, json!(["masked by greffier", [403, "Forbidden"]]));

    let record = rig.record();
    let ran = record.commands("GET /api/v1/namespaces/default/pods/web/exec?");
    let ended: Vec<_> =
        ran.iter().map(|it| &record.response(it)["details"]["exit_status"]).collect();
    assert_eq!(ended, ["7", "0", "0"]);
    let forwarded = record.commands("/pods/web/portforward");
    assert_eq!((forwarded.len(), &forwarded[0]["class"]), (1, &"exec".into()));
    let applied = record.commands("PATCH /api/v1/namespaces/default/configmaps/rs?");
    assert!(applied.len() >= 2 && applied.iter().all(|it| it["class"] == "write"), "{applied:?}");
}
