//! How the cluster is found and what of it is kept: a kubeconfig with a credential plugin, Helm's
//! releases, objects in protobuf and CBOR, levels and operations.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::{ALICE, Plan, Rig};
use serde_json::json;
use testbed::{Cluster, require};

const SENTINEL: &str = "Sentinel-7d01b";
/// Rules that need to see what an object says.
const BY_OBJECT: &str = r#"
    [[policy.rule]]
    name = "nothing-unread"
    effect = "deny"
    when = { flags = ["unread"] }
    [[policy.rule]]
    name = "no-passwords"
    effect = "deny"
    when = { resources = ["*/configmaps"], arguments = { "object.data.password" = "*" } }
"#;

#[test]
fn a_kubeconfig_says_where_the_cluster_is_and_its_plugin_who_we_are() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(cluster, &Plan { by_kubeconfig: true, ..Plan::default() });
    let runs = || fs::read_to_string(rig.path("runs")).unwrap().lines().count();
    let at_start = runs();
    assert!(rig.said(&["get", "pods"]).contains("web"));
    assert!(rig.said(&["auth", "whoami"]).contains(ALICE));
    assert_eq!(rig.said(&["exec", "web", "--", "echo", "out"]), "out\n");
    // Its token is as good as over, so it is asked again, but not for every request.
    assert!((at_start + 1..=at_start + 3).contains(&runs()), "{at_start} to {}", runs());
    // A credential that the cluster takes no more is the cluster's to refuse.
    fs::write(rig.path("upstream"), "nobody").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(11));
    let refused = rig.refused(&["get", "pods"]);
    assert!(
        refused.contains("Unauthorized") || refused.contains("provide credentials"),
        "{refused}"
    );
    let record = rig.record();
    assert!(!String::from_utf8_lossy(&record.bytes).contains("nobody"));
}

#[test]
fn a_pod_s_own_account_says_where_the_cluster_is_and_who_we_are() {
    if !rig::pods_can_be_played() {
        eprintln!("SKIPPED: this system lets nobody cover its folders for one program");
        return;
    }
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(cluster, &Plan { in_cluster: true, ..Plan::default() });
    assert!(rig.said(&["get", "pods"]).contains("web"));
    assert!(rig.said(&["auth", "whoami"]).contains(ALICE));
    assert_eq!(rig.said(&["exec", "web", "--", "echo", "out"]), "out\n");
    let token = fs::read_to_string(rig.path("account").join("token")).unwrap();
    let record = rig.record();
    assert!(!String::from_utf8_lossy(&record.bytes).contains(&token));
}

#[test]
fn helm_s_releases_are_seen_where_other_secrets_are_not() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let target = "helm_releases_in_clear = true";
    let rig = Rig::before(cluster, &Plan { target, ..Plan::default() });
    let token = rig.token(ALICE);
    let release = "sh.helm.release.v1.web.v1";
    let made = ["create", "secret", "generic", release, "--type=helm.sh/release.v1"];
    let literal = format!("--from-literal=release={SENTINEL}-release");
    rig.direct(&[&made[..], &[&literal]].concat());
    let literal = format!("--from-literal=password={SENTINEL}-db");
    rig.direct(&["create", "secret", "generic", "db", &literal]);
    for name in [release, "db"] {
        rig.direct(&["label", "secret", name, "owner=helm"]);
    }
    let encoded = |text: &str| STANDARD.encode(format!("{SENTINEL}-{text}"));
    let (in_release, in_db) = (encoded("release"), encoded("db"));
    let secrets = "/api/v1/namespaces/default/secrets";
    let label = "labelSelector=owner%3Dhelm";
    for (path, seen) in [
        (format!("{secrets}/{release}"), true),
        (format!("{secrets}?{label}"), true),
        (format!("{secrets}?{label}&fieldSelector=metadata.name%3D{release}"), true),
        (format!("{secrets}?{label}&watch=1&timeoutSeconds=1"), true),
        // What does not ask as Helm does sees what everybody sees.
        (secrets.to_owned(), false),
        (format!("{secrets}?labelSelector=owner"), false),
        (format!("{secrets}?{label}&field%53elector="), false),
        (format!("{secrets}?field%53elector=&{label}&fieldSelector="), false),
        (format!("{secrets}/db"), false),
    ] {
        let said = rig.curl(&token, &["-g"], &path);
        assert_eq!(said.contains(&in_release), seen, "{path}: {said}");
        assert!(!said.contains(&in_db) && said.ends_with("200"), "{path}: {said}");
    }
    // Nor does a name: who makes one may have others fill it in (a service account's token).
    let named = "sh.helm.release.v1.not.v1";
    let literal = format!("--from-literal=password={SENTINEL}-db");
    rig.direct(&["create", "secret", "generic", named, &literal]);
    let said = rig.curl(&token, &[], &format!("{secrets}/{named}"));
    assert!(!said.contains(&in_db) && said.ends_with("200"), "{said}");
    // What answers a write is not read by Helm.
    let label = r#"{"metadata":{"labels":{"a":"b"}}}"#;
    let patch = ["-X", "PATCH", "-H", "Content-Type: application/merge-patch+json", "-d", label];
    let said = rig.curl(&token, &patch, &format!("{secrets}/{release}"));
    assert!(!said.contains(&in_release) && said.ends_with("200"), "{said}");
    let label = "labelSelector=owner%3Dhelm";
    // It is a release by its type alone: a label does not make one of a Secret.
    let listed = rig.curl(&token, &[], &format!("{secrets}?{label}"));
    assert!(!listed.contains("\"name\":\"db\""), "{listed}");
    // A release that has the Secret in its own words is kept without them.
    let record = rig.record();
    let everything = String::from_utf8_lossy(&record.bytes).into_owned();
    for value in [SENTINEL, &in_release, &in_db] {
        assert!(!everything.contains(value));
    }
    assert_eq!(record.commands(&format!("{secrets}?{label}")).len(), 5);
}

#[test]
fn an_object_in_protobuf_is_read_like_any_other() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rig = Rig::before(cluster, &Plan { rules: BY_OBJECT, ..Plan::default() });
    let made = rig.said(&["create", "configmap", "fine", "--from-literal=colour=green"]);
    assert_eq!(made, "configmap/fine created\n");
    let refused = rig.refused(&["create", "configmap", "bad", "--from-literal=password=x"]);
    assert!(refused.contains("no-passwords"), "{refused}");
    let literal = format!("--from-literal=password={SENTINEL}");
    rig.said(&["create", "secret", "generic", "db", &literal]);
    let token = rig.token(ALICE);
    let protobuf = "Content-Type: application/vnd.kubernetes.protobuf";
    let body = ["-X", "POST", "-H", protobuf, "--data-binary", "k8s"];
    let said = rig.curl(&token, &body, "/api/v1/namespaces/default/configmaps");
    assert!(said.contains("nothing-unread") && said.ends_with("403"), "{said}");
    // Whoever takes protobuf takes JSON, in which texts can be searched.
    let accept = ["-H", "Accept: application/vnd.kubernetes.protobuf, */*"];
    let said = rig.curl(&token, &accept, "/api/v1/namespaces/default/configmaps/fine");
    assert!(said.starts_with('{') && said.contains("\"colour\": \"green\""), "{said}");

    let record = rig.record();
    let created = record.commands("POST /api/v1/namespaces/default/configmaps");
    let object = created[0]["parameters"][0]["value"].as_str().unwrap();
    assert!(object.contains(r#""data":{"colour":"green"}"#), "{object}");
    assert_eq!(created[0]["details"]["name"], serde_json::Value::Null);
    let secret = record.commands("POST /api/v1/namespaces/default/secrets")[0];
    let object = secret["parameters"][0]["value"].as_str().unwrap();
    assert!(object.contains("\"password\":\"bWFza2Vk"), "{object}");
    assert!(!String::from_utf8_lossy(&record.bytes).contains(SENTINEL));
}

/// A value of strings and objects, as Kubernetes writes it in CBOR: strings as bytes, Secrets'
/// values under the tag of base64.
fn cbor(value: &serde_json::Value, out: &mut Vec<u8>) {
    let mut head = |kind: u8, length: usize| {
        out.extend([kind << 5 | 25, (length >> 8) as u8, length as u8]);
    };
    match value {
        serde_json::Value::Object(members) => {
            head(5, members.len());
            for (name, value) in members {
                cbor(&name.as_str().into(), out);
                if let Some(text) = value.as_str().and_then(|it| it.strip_prefix("bytes ")) {
                    out.push(0xD6);
                    cbor(&text.into(), out);
                } else {
                    cbor(value, out);
                }
            }
        }
        value => {
            let text = value.as_str().unwrap();
            head(2, text.len());
            out.extend(text.as_bytes());
        }
    }
}

#[test]
fn an_object_in_cbor_is_read_like_any_other() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rig = Rig::before(cluster, &Plan { rules: BY_OBJECT, ..Plan::default() });
    let token = rig.token(ALICE);
    let send = |method: &str, media: &str, path: &str, object: serde_json::Value| {
        let mut body = b"\xD9\xD9\xF7".to_vec();
        cbor(&object, &mut body);
        fs::write(rig.path("body"), body).unwrap();
        let body = format!("@{}", rig.path("body").display());
        let media = format!("Content-Type: {media}");
        let asks = ["-X", method, "-H", &media, "-H", "Accept: application/cbor"];
        let path = format!("/api/v1/namespaces/default/{path}");
        rig.curl(&token, &[&asks[..], &["--data-binary", &body]].concat(), &path)
    };
    let object = |kind: &str, name: &str, data: serde_json::Value| {
        let metadata = json!({ "name": name });
        json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data })
    };
    let media = "application/cbor";
    // The cluster takes it, and what would have come back as CBOR is JSON.
    let said =
        send("POST", media, "configmaps", object("ConfigMap", "a", json!({ "colour": "red" })));
    assert!(said.ends_with("\n201") && said.contains("\"colour\""), "{said}");
    assert_eq!(rig.direct(&["get", "configmap", "a", "-o", "jsonpath={.data.colour}"]), "red");
    let said =
        send("POST", media, "configmaps", object("ConfigMap", "b", json!({ "password": "x" })));
    assert!(said.ends_with("\n403") && said.contains("no-passwords"), "{said}");
    let apply = "application/apply-patch+cbor";
    let path = "configmaps/a?fieldManager=x&force=true";
    let said = send("PATCH", apply, path, object("ConfigMap", "a", json!({ "colour": "blue" })));
    assert!(said.ends_with("\n200"), "{said}");
    let said = send("PATCH", apply, path, object("ConfigMap", "a", json!({ "password": "x" })));
    assert!(said.ends_with("\n403") && said.contains("no-passwords"), "{said}");
    let secret = object("Secret", "db", json!({ "password": format!("bytes {SENTINEL}") }));
    let said = send("POST", media, "secrets", secret);
    assert!(said.ends_with("\n201") && said.contains("bWFza2Vk"), "{said}");
    let password = rig.direct(&["get", "secret", "db", "-o", "jsonpath={.data.password}"]);
    assert_eq!(STANDARD.decode(password).unwrap(), SENTINEL.as_bytes());
    // What the server would read and we do not: a list of which nobody says how long it is.
    fs::write(rig.path("body"), b"\xD9\xD9\xF7\xBF\xFF").unwrap();
    let body = format!("@{}", rig.path("body").display());
    let asks = ["-X", "POST", "-H", "Content-Type: application/cbor", "--data-binary", &body];
    let said = rig.curl(&token, &asks, "/api/v1/namespaces/default/configmaps");
    assert!(said.contains("nothing-unread") && said.ends_with("403"), "{said}");

    let record = rig.record();
    let created = record.commands("POST /api/v1/namespaces/default/configmaps");
    let object = created[0]["parameters"][0]["value"].as_str().unwrap();
    assert!(object.contains(r#""data":{"colour":"red"}"#), "{object}");
    let secret = record.commands("POST /api/v1/namespaces/default/secrets")[0];
    let object = secret["parameters"][0]["value"].as_str().unwrap();
    assert!(object.contains("\"password\":\"bWFza2Vk"), "{object}");
    assert!(!String::from_utf8_lossy(&record.bytes).contains(SENTINEL));
}

#[test]
fn what_nobody_wants_to_know_is_counted() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let target = r#"
        [[target.test.kubernetes.audit]]
        level = "None"
        when = { resources = ["*/configmaps", "*/secrets"] }
        [[target.test.kubernetes.audit]]
        level = "None"
        when = { class = ["discovery"] }
    "#;
    let rig = Rig::before(cluster, &Plan { target, ..Plan::default() });
    rig.said(&["create", "configmap", "one", "--from-literal=a=b"]);
    for _ in 0..3 {
        rig.said(&["get", "configmap", "one"]);
    }
    rig.said(&["get", "secrets"]);
    rig.said(&["get", "pods"]);
    let record = rig.record();
    let commands = record.of("command");
    let has = |text: &str| {
        commands.iter().filter(|it| it["text"].as_str().unwrap().contains(text)).count()
    };
    assert_eq!((has("GET /api/v1/namespaces/default/configmaps"), has("GET /apis")), (0, 0));
    // What writes, and what has Secrets, is on record, if only by name.
    assert_eq!((has("POST /api/v1/namespaces/default/configmaps"), has("/secrets?limit")), (1, 1));
    assert_eq!(has("/pods?limit"), 1);
    let written = record.commands("POST /api/v1/namespaces/default/configmaps")[0];
    assert_eq!(written["parameters"], serde_json::Value::Null, "{written}");
    let ends = record.of("session_end");
    let unrecorded = ends.iter().map(|it| it["unrecorded"].as_u64().unwrap_or(0)).sum::<u64>();
    assert!(unrecorded >= 3, "{ends:?}");
}

#[test]
fn operations_are_what_kubectl_calls_them() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rig = Rig::before(cluster, &Plan { recording: "operations", ..Plan::default() });
    let file = rig.path("web.json");
    let deployment = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},
        "spec":{"replicas":1,"selector":{"matchLabels":{"app":"web"}},"template":{
        "metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}}"#;
    fs::write(&file, deployment).unwrap();
    let file = file.to_str().unwrap();
    rig.said(&["apply", "-f", file]);
    rig.said(&["get", "deployments"]);
    rig.said(&["scale", "deployment", "web", "--replicas=2"]);
    rig.said(&["rollout", "restart", "deployment", "web"]);
    rig.said(&["set", "image", "deployment/web", "c=i:2"]);
    rig.said(&["rollout", "pause", "deployment", "web"]);
    rig.said(&["label", "deployment", "web", "a=b"]);
    rig.said(&["apply", "--server-side", "--force-conflicts", "-f", file]);
    rig.said(&["delete", "deployment", "web"]);
    let record = rig.record();
    let commands = record.of("command");
    let mut named: Vec<&str> =
        commands.iter().map(|it| it["operation"].as_str().unwrap()).collect();
    // kubectl moves its fields over to the server before it applies there: that is to apply, too.
    named.dedup();
    assert_eq!(named, ["apply", "scale", "rollout", "apply", "delete"], "{commands:?}");
    assert!(commands.iter().all(|it| it["text"] == serde_json::Value::Null), "{commands:?}");
}
