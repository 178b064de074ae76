//! Helm, of both generations, through the proxy and directly: it says the same, and leaves the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::twins::{NAMES, Said};
use rig::{ALICE, Plan, Record, Rig};
use serde_json::Value;
use testbed::{Cluster, Helm, require};

/// What the chart's Secret says, in either revision.
const SENTINELS: [&str; 2] = ["Sentinel-4c1e-first", "Sentinel-4c1e-second"];
/// How a release looks in a Secret: gzip in base64, in base64.
const RELEASE: &str = "SDRzSUFBQUFBQUFD";

/// Helm as alice through the proxy, and as admin directly, each with a release of its own name.
struct Pair<'a> {
    rig: &'a Rig,
    commands: [Box<dyn Fn() -> Command + 'a>; 2],
}

impl<'a> Pair<'a> {
    fn new(rig: &'a Rig, program: &'a Path) -> Self {
        let cluster = &rig.cluster;
        let token = rig.token(ALICE);
        let configs = [
            cluster.kubeconfig(&rig.url(), &rig.ca(), &token).unwrap(),
            cluster.kubeconfig(&cluster.url(), &cluster.ca(), cluster.admin_token()).unwrap(),
        ];
        let mut names = NAMES.into_iter();
        let commands = configs.map(|config| {
            let home = rig.path(names.next().unwrap());
            Box::new(move || {
                let mut helm = Command::new(program);
                helm.env("KUBECONFIG", &config).env("HOME", &home);
                for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
                    helm.env(folder, home.join(folder));
                }
                helm
            }) as Box<dyn Fn() -> Command>
        });
        Self { rig, commands }
    }

    /// Runs both; they must say the same, which is given back with `@` for the name.
    fn run(&self, args: &[&str]) -> Said {
        let mut both = self.commands.iter().zip(NAMES).map(|(command, name)| {
            let mut helm = command();
            helm.args(args.iter().map(|it| it.replace('@', name)));
            let said = Said::of(&helm.output().unwrap());
            Said { out: undated(&said.out), err: complaints(&said.err), ..said }
        });
        let (ours, direct) = (both.next().unwrap(), both.next().unwrap());
        assert_eq!(ours, direct, "{args:?}");
        ours
    }

    /// What both must succeed in.
    #[track_caller]
    fn said(&self, args: &[&str]) -> String {
        self.run(args).fine()
    }

    /// What admin finds under either name, without what no two objects have in common.
    fn left(&self, what: &str) -> Value {
        let mut both = NAMES.map(|name| {
            let object = self.rig.direct(&["get", what, name, "-o", "json"]);
            let mut object: Value = serde_json::from_str(&object.replace(name, "@")).unwrap();
            for key in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
                object["metadata"].as_object_mut().unwrap().remove(key);
            }
            object
        });
        // The name stands in a checksum of nothing, and nowhere else.
        assert_eq!(both[0], both[1]);
        both[0].take()
    }
}

/// What Helm prints, without when, and without the objects as they are, which Helm 4 shows.
fn undated(text: &str) -> String {
    if let Ok(mut value) = serde_json::from_str::<Value>(text) {
        forget_times(&mut value);
        return value.to_string();
    }
    let lines = text.lines().filter(|line| {
        !["LAST DEPLOYED:", "Last Started:", "Last Completed:", "DEPLOYED_AT:"]
            .iter()
            .any(|it| line.starts_with(it))
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// What Helm complains of, without what its library says of a watch that it broke off itself: it
/// does so now and then, directly as well.
fn complaints(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains(" reflector.go:"));
    lines.map(|line| format!("{line}\n")).collect()
}

fn forget_times(value: &mut Value) {
    const DIFFER: [&str; 6] =
        ["updated", "first_deployed", "last_deployed", "started_at", "completed_at", "resources"];
    match value {
        Value::Object(members) => {
            DIFFER.iter().for_each(|key| drop(members.remove(*key)));
            members.values_mut().for_each(forget_times);
        }
        Value::Array(elements) => elements.iter_mut().for_each(forget_times),
        _ => {}
    }
}

fn installs_upgrades_and_rolls_back(version: Helm) {
    let Some(cluster) = require(Cluster::start()) else { return };
    let Some(program) = require(version.program()) else { return };
    let target = "helm_releases_in_clear = true";
    let rig = Rig::before(cluster, &Plan { target, ..Plan::default() });
    let pair = Pair::new(&rig, &program);
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart");
    let password = |at: usize| format!("password={}", SENTINELS[at]);
    let said = pair.said(&["install", "@", chart, "--set", &password(0)]);
    assert!(said.contains("@ is red in its revision 1."), "{said}");
    let twice = pair.run(&["install", "@", chart]).failed();
    assert!(twice.contains("name that is still in use"), "{twice}");
    let change = ["--set", "colour=green,replicas=2", "--set", &password(1)];
    let said = pair.said(&[&["upgrade", "@", chart][..], &change].concat());
    assert!(said.contains("@ is green in its revision 2."), "{said}");
    assert_eq!(pair.left("configmap")["data"]["colour"], "green");
    assert_eq!(pair.left("deployment")["spec"]["replicas"], 2);
    let encoded = SENTINELS.map(|it| STANDARD.encode(it));
    assert_eq!(pair.left("secret")["data"]["password"], encoded[1].as_str());
    for asked in ["values", "manifest", "notes", "hooks", "all"] {
        pair.said(&["get", asked, "@"]);
    }
    pair.said(&["status", "@", "-o", "json"]);
    if version == Helm::Four {
        let status = (pair.commands[0])().args(["status", NAMES[0], "-o", "json"]).output();
        let status: Value = serde_json::from_slice(&status.unwrap().stdout).unwrap();
        let secret = &status["info"]["resources"]["v1/Secret"][0]["data"];
        assert_eq!(secret["password"], STANDARD.encode("masked by greffier"));
    }
    let history = pair.said(&["history", "@", "-o", "json"]);
    assert!(history.contains("superseded") && history.contains("deployed"), "{history}");
    let listed = pair.said(&["list", "-o", "json", "--filter", "^@$"]);
    assert!(listed.contains("web-1.0.0"), "{listed}");

    // Somebody changed what Helm made, and Helm puts it right.
    for name in NAMES {
        let secret = ["patch", "secret", name, "--type=merge", "-p"];
        rig.direct(&[&secret[..], &[r#"{"stringData":{"password":"drifted"}}"#]].concat());
    }
    let said = pair.said(&["rollback", "@", "1"]);
    assert!(said.contains("Rollback was a success"), "{said}");
    assert_eq!(pair.left("configmap")["data"]["colour"], "red");
    assert_eq!(pair.left("deployment")["spec"]["replicas"], 1);
    assert_eq!(pair.left("secret")["data"]["password"], encoded[0].as_str());
    let again =
        pair.said(&["upgrade", "--install", "@", chart, "--reuse-values", "--dry-run=server"]);
    assert!(again.contains("@ is red"), "{again}");
    pair.run(&["rollback", "@", "9"]).failed();
    pair.said(&["test", "@"]);
    pair.said(&["uninstall", "@"]);
    assert!(pair.run(&["status", "@"]).failed().contains("not found"));
    let left = rig.direct(&["get", "secrets,deployments,configmaps", "-o", "name"]);
    // The hooks stay: Helm says so itself.
    let wanted = "configmap/kube-root-ca.crt\n";
    assert!(
        left.lines()
            .all(|it| wanted.contains(it) || it.contains("-before") || it.contains("-test")),
        "{left}"
    );

    drop(pair);
    let record = rig.record();
    kept_without_values(&record, &encoded);
    what_helm_did_is_named(&record);
}

/// Neither the chart's Secret nor a release, which has it in its manifest, is in the store.
fn kept_without_values(record: &Record, encoded: &[String]) {
    let everything = String::from_utf8_lossy(&record.bytes);
    let hidden = SENTINELS.iter().copied().chain(encoded.iter().map(String::as_str));
    for value in hidden.chain([RELEASE]) {
        assert!(!everything.contains(value), "{value}");
    }
}

/// Its own objects and those of the chart, as alice.
fn what_helm_did_is_named(record: &Record) {
    let made = record.commands("POST /api/v1/namespaces/default/secrets");
    // Helm 4 applies what the chart has, and creates its own three.
    assert!(made.len() >= 3, "{made:?}");
    assert!(!record.commands("secrets/sh.helm.release.v1.twin-a.v1").is_empty());
    assert!(!record.commands("/deployments/twin-a").is_empty());
    assert!(record.commands("twin-b").is_empty());
    let refused = record.of("command").into_iter().filter(|it| it["verdict"] == "deny");
    assert_eq!(refused.count(), 0);
}

#[test]
fn helm_3_does_the_same_as_directly() {
    installs_upgrades_and_rolls_back(Helm::Three);
}

#[test]
fn helm_4_does_the_same_as_directly() {
    installs_upgrades_and_rolls_back(Helm::Four);
}
