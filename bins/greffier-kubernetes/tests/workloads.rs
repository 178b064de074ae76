//! What people do to deployments, nodes and other objects by kubectl: each command through the proxy
//! says, exits and leaves behind what it does directly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rig::twins::{NAMES, Twins};
use rig::{ALICE, Plan, Rig};
use serde_json::{Value, json};
use testbed::{Cluster, Program, require};

const OLGA: &str = "olga@example.com";
const DEPLOYMENT: &str = "deployment/@";

/// What a controller would say once all is as it is to be: there is none here.
fn rolled_out(generation: u32, replicas: u32) -> String {
    json!({ "status": {
        "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
        "conditions": [{ "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable" }],
    } })
    .to_string()
}

/// The replica set that a controller would make for a revision of a twin's deployment.
fn replica_set(rig: &Rig, name: &str, revision: u32) {
    let deployment = rig.direct(&["get", "deployment", name, "-o", "json"]);
    let deployment: Value = serde_json::from_str(&deployment).unwrap();
    let mut template = deployment["spec"]["template"].clone();
    let hash = format!("hash{revision}");
    template["metadata"]["labels"]["pod-template-hash"] = hash.clone().into();
    let labels = template["metadata"]["labels"].clone();
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "controller": true,
        "uid": deployment["metadata"]["uid"],
    });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{name}-{hash}"), "labels": labels, "ownerReferences": [owner],
            "annotations": { "deployment.kubernetes.io/revision": revision.to_string() },
        },
        "spec": { "replicas": 0, "selector": { "matchLabels": labels }, "template": template },
    });
    let file = rig.path("set.json");
    fs::write(&file, set.to_string()).unwrap();
    rig.direct(&["create", "-f", file.to_str().unwrap()]);
}

#[test]
fn a_deployment_is_rolled_out_and_back_as_directly() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    let twins = Twins::new(&rig, ALICE);
    let said = |args: &[&str]| twins.run(args).fine();
    assert_eq!(
        said(&["create", "deployment", "@", "--image=web:1", "--replicas=2"]),
        "deployment.apps/@ created\n"
    );
    let again = twins.run(&["create", "deployment", "@", "--image=web:1"]).failed();
    assert!(again.contains("already exists"), "{again}");
    NAMES.iter().for_each(|name| replica_set(&rig, name, 1));

    // Who waits is told as it happens.
    let mut waiting = twins.commands(&["rollout", "status", DEPLOYMENT]).map(|mut command| {
        let mut program = Program::heard_on_stdout(&mut command).unwrap();
        program.wait_for("Waiting for deployment").unwrap();
        program
    });
    let until = ["wait", "--for=condition=Available", "--timeout=60s", DEPLOYMENT];
    let mut available =
        twins.commands(&until).map(|mut it| Program::heard_on_stdout(&mut it).unwrap());
    let status = ["patch", DEPLOYMENT, "--subresource=status", "--type=merge", "-p"];
    let status = |of: String| twins.arrange(&[&status[..], &[&of]].concat());
    status(rolled_out(1, 2));
    for (program, name) in waiting.iter_mut().zip(NAMES) {
        let line = program.wait_for("rolled out").unwrap();
        assert_eq!(line, format!("deployment \"{name}\" successfully rolled out"));
        assert!(program.wait().unwrap().success());
    }
    for (program, name) in available.iter_mut().zip(NAMES) {
        let line = program.wait_for("condition met").unwrap();
        assert_eq!(line, format!("deployment.apps/{name} condition met"));
        assert!(program.wait().unwrap().success());
    }

    assert_eq!(said(&["scale", DEPLOYMENT, "--replicas=3"]), "deployment.apps/@ scaled\n");
    let scale = ["scale", DEPLOYMENT, "--current-replicas=9", "--replicas=1"];
    assert!(twins.run(&scale).failed().contains("Expected replicas to be 9, was 3"));
    said(&["set", "image", DEPLOYMENT, "web=web:2"]);
    said(&["set", "env", DEPLOYMENT, "COLOUR=grün"]);
    said(&["set", "resources", DEPLOYMENT, "--limits=cpu=200m"]);
    said(&["annotate", DEPLOYMENT, "kubernetes.io/change-cause=second"]);
    NAMES.iter().for_each(|name| replica_set(&rig, name, 2));
    let behind = said(&["rollout", "status", DEPLOYMENT, "--watch=false"]);
    assert!(behind.starts_with("Waiting for deployment spec update"), "{behind}");
    assert!(said(&["rollout", "history", DEPLOYMENT]).contains("\n2"));
    let first = said(&["rollout", "history", DEPLOYMENT, "--revision=1"]);
    assert!(first.contains("web:1"), "{first}");
    said(&["rollout", "pause", DEPLOYMENT]);
    let paused = twins.run(&["rollout", "restart", DEPLOYMENT]).failed();
    assert!(paused.contains("can't restart paused deployment"), "{paused}");
    said(&["rollout", "resume", DEPLOYMENT]);
    said(&["rollout", "restart", DEPLOYMENT]);
    let back = said(&["rollout", "undo", DEPLOYMENT, "--to-revision=1"]);
    assert_eq!(back, "deployment.apps/@ rolled back\n");
    let none = twins.run(&["rollout", "undo", DEPLOYMENT, "--to-revision=9"]).failed();
    assert!(none.contains("unable to find specified revision 9"), "{none}");
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(said(&["get", DEPLOYMENT, "-o", image]), "web:1\n");

    // What is there now is the same as well.
    for form in ["wide", "yaml", "jsonpath={.spec}", "name"] {
        said(&["get", DEPLOYMENT, "-o", form]);
    }
    said(&["get", "deployments", "-l", "app=@", "--sort-by=.metadata.name"]);
    assert!(said(&["describe", DEPLOYMENT]).contains("@-hash1"));
    // Foreground and orphan wait for a garbage collector, which there is none here.
    said(&["delete", DEPLOYMENT]);
    let gone = twins.run(&["get", DEPLOYMENT]).failed();
    assert!(gone.contains("NotFound"), "{gone}");

    let record = rig.record();
    let scaled = record.commands("PATCH /apis/apps/v1/namespaces/default/deployments/twin-a/scale");
    assert_eq!((scaled.len(), &scaled[0]["class"]), (1, &"write".into()), "{scaled:?}");
    assert!(record.commands("twin-b").is_empty());
}

#[test]
fn an_object_is_compared_edited_applied_and_replaced_as_directly() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    let twins = Twins::new(&rig, ALICE);
    let said = |args: &[&str]| twins.run(args).fine();
    let map = |data: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: '@'}}\ndata: {{{data}}}\n")
    };
    let one = twins.write("one.yaml", &map("x: first, v: second"));
    let two = twins.write("two.yaml", &map("x: third, v: second"));

    // Of what is not there yet, of what is the same, of what differs.
    let new = twins.run(&["diff", "-f", &one]);
    assert!(new.code == Some(1) && new.out.contains("+  x: first"), "{new:?}");
    assert_eq!(said(&["apply", "-f", &one]), "configmap/@ created\n");
    assert_eq!(said(&["diff", "-f", &one]), "");
    let pages = said(&["get", "configmaps", "--chunk-size=1", "-o", "name"]);
    assert_eq!(pages, "configmap/@\nconfigmap/@\n");
    let differs = twins.run(&["diff", "-f", &two]);
    assert!(differs.code == Some(1) && differs.out.contains("-  x: first\n+  x: third"));
    for dry in ["--dry-run=server", "--dry-run=client"] {
        said(&["apply", dry, "-f", &two, "-o", "yaml"]);
    }

    let editor = rig.path("editor");
    fs::write(
        &editor,
        "#!/bin/sh\nexec sed -i 's/second/fourth/; s/^data:/data:\\n  z: new/' \"$1\"\n",
    )
    .unwrap();
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).unwrap();
    let editor = [("KUBE_EDITOR", editor.to_str().unwrap())];
    let edited = twins.run_with(&["edit", "configmap", "@"], &editor).fine();
    assert_eq!(edited, "configmap/@ edited\n");
    let untouched = twins.run_with(&["edit", "configmap", "@"], &[("KUBE_EDITOR", "true")]);
    assert!(untouched.code == Some(0) && untouched.err.contains("no changes made"));
    assert!(said(&["get", "configmap", "@", "-o", "yaml"]).contains("z: new"));
    said(&["annotate", "configmap", "@", "note=a b: {c}"]);
    said(&["annotate", "configmap", "@", "note-"]);
    for (kind, patch) in [
        (
            "json",
            r#"[{"op":"test","path":"/data/z","value":"new"},{"op":"remove","path":"/data/z"}]"#,
        ),
        ("merge", r#"{"data":{"v":null,"ü":null}}"#),
        ("strategic", r#"{"metadata":{"labels":{"a":"b"}}}"#),
    ] {
        said(&["patch", "configmap", "@", "--type", kind, "-p", patch]);
    }
    let failed = r#"[{"op":"test","path":"/data/x","value":"other"}]"#;
    twins.run(&["patch", "configmap", "@", "--type=json", "-p", failed]).failed();

    assert_eq!(said(&["replace", "-f", &two]), "configmap/@ replaced\n");
    assert_eq!(said(&["replace", "--force", "-f", &one]).lines().count(), 2);
    said(&["delete", "-f", &one]);
    assert!(twins.run(&["replace", "-f", &one]).failed().contains("NotFound"));

    // Two managers of one field: who comes second must insist.
    let first = ["apply", "--server-side", "--field-manager=first", "-f", &one];
    assert_eq!(said(&first), "configmap/@ serverside-applied\n");
    assert_eq!(said(&first), "configmap/@ serverside-applied\n");
    let second = ["apply", "--server-side", "--field-manager=second", "-f", &two];
    let conflict = twins.run(&second).failed();
    assert!(
        conflict.contains("conflict with \"first\"") && conflict.contains(".data.x"),
        "{conflict}"
    );
    let differs = twins.run(&["diff", "--server-side", "--force-conflicts", "-f", &two]);
    assert!(differs.code == Some(1) && differs.out.contains("+  x: third"), "{differs:?}");
    said(&[&second[..], &["--force-conflicts"]].concat());
    said(&["get", "configmap", "@", "-o", "yaml", "--show-managed-fields"]);

    // Waiting: for what is there, what comes, what never does, and what goes.
    said(&["wait", "--for=jsonpath={.data.x}=third", "configmap/@"]);
    let never = ["wait", "--for=jsonpath={.data.x}=never", "configmap/@", "--timeout=1s"];
    assert!(twins.run(&never).failed().contains("timed out waiting for the condition"));
    let coming = ["wait", "--for=jsonpath={.data.x}=fifth", "configmap/@", "--timeout=60s"];
    let coming = twins.commands(&coming).map(|mut it| Program::heard_on_stdout(&mut it).unwrap());
    twins.arrange(&["patch", "configmap", "@", "-p", r#"{"data":{"x":"fifth"}}"#]);
    for mut program in coming {
        program.wait_for("condition met").unwrap();
        assert!(program.wait().unwrap().success());
    }
    let going = ["wait", "--for=delete", "configmap/@", "--timeout=60s"];
    let going = twins.commands(&going).map(|mut it| Program::heard_on_stdout(&mut it).unwrap());
    twins.arrange(&["delete", "configmap", "@"]);
    for mut program in going {
        assert!(program.wait().unwrap().success());
    }

    // Many at once, some of them not good.
    let (good, bad) = (map("a: b"), "---\napiVersion: v1\nkind: Pod\nmetadata: {name: '@'}\n");
    let some = twins.write("some.yaml", &(good + bad));
    let mixed = twins.run(&["create", "-f", &some]);
    assert!(mixed.code == Some(1) && mixed.out == "configmap/@ created\n", "{mixed:?}");
    said(&["delete", "configmap", "--field-selector=metadata.name=@"]);
}

#[test]
fn a_watch_says_the_same_as_directly_and_ends_with_its_client() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    rig.direct(&["create", "configmap", "first"]);
    let watch = ["get", "configmaps", "-w", "-o", "json", "--output-watch-events"];
    let mut watching = Twins::new(&rig, ALICE).commands(&watch).map(|mut command| {
        let mut program = Program::heard_on_stdout(&mut command).unwrap();
        program.wait_for("\"name\":\"first\"").unwrap();
        program
    });
    rig.direct(&["create", "configmap", "second"]);
    rig.direct(&["label", "configmap", "second", "a=b"]);
    rig.direct(&["delete", "configmap", "second"]);
    rig.direct(&["create", "configmap", "third"]);
    watching.iter_mut().for_each(|it| drop(it.wait_for("\"name\":\"third\"").unwrap()));
    let [ours, direct] = watching;
    assert_eq!(ours.heard(), direct.heard());
    let events = ours.heard().iter().map(|it| serde_json::from_str::<Value>(it).unwrap());
    let types: Vec<_> = events.map(|it| it["type"].clone()).collect();
    assert_eq!(types, ["ADDED", "ADDED", "MODIFIED", "DELETED", "ADDED"]);
    ours.kill().unwrap();
    // The cluster's own log has a watch once it is over: ours did not go on without its client.
    let over = rig.cluster.audit_event(|it| {
        it["verb"] == "watch"
            && it["stage"] == "ResponseComplete"
            && it["impersonatedUser"]["username"] == ALICE
    });
    over.unwrap();
    direct.kill().unwrap();
    let record = rig.record();
    let watches = record.commands("watch=true");
    assert_eq!((watches.len(), &watches[0]["operation"]), (1, &"watch".into()), "{watches:?}");
    let answer = String::from_utf8(record.answer(watches[0])).unwrap();
    assert!(answer.contains("\"DELETED\"") && answer.contains("\"third\""), "{answer}");
}

#[test]
fn a_node_is_emptied_as_directly_by_who_may() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    let twins = Twins::new(&rig, OLGA);
    let said = |args: &[&str]| twins.run(args).fine();
    let objects = twins.write(
        "objects.yaml",
        "apiVersion: v1\nkind: Node\nmetadata: {name: '@'}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: '@', namespace: default}\n\
         spec: {nodeName: '@', containers: [{name: c, image: none}]}\n",
    );
    twins.arrange(&["create", "-f", &objects]);
    assert_eq!(said(&["cordon", "@"]), "node/@ cordoned\n");
    assert_eq!(said(&["cordon", "@"]), "node/@ already cordoned\n");
    assert!(said(&["get", "node", "@"]).contains("SchedulingDisabled"));
    let refused = twins.run(&["drain", "@"]).failed();
    assert!(refused.contains("cannot delete"), "{refused}");
    let drained = twins.run(&["drain", "@", "--force", "--grace-period=0"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert!(drained.out.contains("evicting pod default/@\n"), "{drained:?}");
    assert!(drained.out.ends_with("node/@ drained\n"), "{drained:?}");
    assert_eq!(said(&["uncordon", "@"]), "node/@ uncordoned\n");
    assert!(twins.run(&["get", "pod", "@"]).failed().contains("NotFound"));
    // Alice may not.
    assert!(rig.refused(&["cordon", NAMES[0]]).contains("(Forbidden)"));
    let record = rig.record();
    let evicted = record.commands("POST /api/v1/namespaces/default/pods/twin-a/eviction");
    assert_eq!((evicted.len(), &evicted[0]["class"]), (1, &"write".into()), "{evicted:?}");
}
