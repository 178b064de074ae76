//! Clients that are not kubectl, through the proxy and directly, with the same results.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use rig::{ALICE, Plan, Rig};
use serde_json::{Value, json};
use testbed::{Cluster, kubernetes_python, require};

#[test]
fn the_python_client_does_the_same_as_directly() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    if require(kubernetes_python()).is_none() {
        return;
    }
    let rig = Rig::before(cluster, &Plan::default());
    rig.direct(&["create", "secret", "generic", "db", "--from-literal=password=Sentinel-93cf1"]);
    let ran = |config: std::path::PathBuf| {
        let mut python = kubernetes_python().unwrap();
        let output = python.env("KUBECONFIG", config).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let cluster = &rig.cluster;
    let admin = cluster.kubeconfig(&cluster.url(), &cluster.ca(), cluster.admin_token());
    let mut direct = ran(admin.unwrap());
    let token = rig.token(ALICE);
    let ours = ran(cluster.kubeconfig(&rig.url(), &rig.ca(), &token).unwrap());
    // What differs is what is to differ: alice may not list nodes, and sees no Secret's value.
    assert_eq!(direct["secret"]["password"], "Sentinel-93cf1");
    direct["secret"]["password"] = "masked by greffier".into();
    direct["nodes"] = json!([403, "Forbidden"]);
    assert_eq!(ours, direct);
    assert_eq!(ours["exec"], "out\n");
    let record = rig.record();
    let watched = record.commands("watch=True");
    let answer = String::from_utf8(record.answer(watched[0])).unwrap();
    assert!(answer.contains("\"DELETED\"") && answer.contains("\"py2\""), "{answer}");
}
