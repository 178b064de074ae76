//! A controller's cache, as the official client for Go fills it, through the proxy.
//!
//! It lasts twenty seconds. With `GREFFIER_INFORMER_SECONDS=600` in the environment it lasts ten
//! minutes: that is longer than client-go lets a watch last, and half of it is silence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dev_issuer::{Claims, DevIssuer};
use rig::{ALICE, AUDIENCE, Plan, Rig, curl};
use serde_json::{Value, json};
use testbed::{Cluster, Program, kubernetes_informer, require};

/// How long it lasts, if the environment does not say: the half of it has some watches of five
/// seconds.
const SECONDS: u64 = 20;
/// How long the watches last of the informer that does not leave that to client-go, in seconds.
const WATCH_SECONDS: u64 = 5;
/// How often something changes in the first half.
const PAUSE: Duration = Duration::from_millis(100);
/// What an informer may take longer than the writer.
const GRACE_SECONDS: u64 = 120;
/// How long a token is good that is renewed, for a client and for the proxy, in seconds.
const TOKEN_SECONDS: [u64; 2] = [3, 6];

/// How long it lasts here.
fn seconds() -> u64 {
    std::env::var("GREFFIER_INFORMER_SECONDS").map_or(SECONDS, |it| it.parse().unwrap())
}

/// A token of alice's that is good for this many seconds.
fn token(issuer: &DevIssuer, seconds: u64) -> String {
    let claims = Claims::new(ALICE).audience(AUDIENCE).client("people");
    issuer.mint(claims.lifetime(Duration::from_secs(seconds))).unwrap()
}

/// An informer with this configuration, synchronized already.
fn informer(config: &Path, content: &str, watch: u64) -> Program {
    let mut command = kubernetes_informer().unwrap();
    let most = (seconds() + GRACE_SECONDS).to_string();
    command.env("KUBECONFIG", config).args([&most, content, &watch.to_string()]);
    let mut informer = Program::heard_on_stdout(&mut command).unwrap();
    informer.wait_for("\"synced\"").unwrap();
    informer
}

/// What is written straight to the cluster, and what an informer is to be told of it.
struct Writer<'a> {
    rig: &'a Rig,
    told: Vec<Value>,
}

impl Writer<'_> {
    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let cluster = &self.rig.cluster;
        let url = format!("{}/api/v1/namespaces/default/configmaps{path}", cluster.url());
        let kind = "Content-Type: application/json";
        let args = ["-X", method, "-H", kind, "-d", &body.to_string()];
        let said = curl(&cluster.ca(), cluster.admin_token(), &args, &url);
        let (said, status) = said.rsplit_once('\n').unwrap();
        assert!(status.starts_with('2'), "{said}");
        serde_json::from_str(said).unwrap()
    }

    fn put(&mut self, event: &str, name: &str, text: &str) {
        let object = json!({ "metadata": { "name": name }, "data": { "text": text } });
        let is = match event {
            "add" => self.send("POST", "", &object),
            _ => self.send("PUT", &format!("/{name}"), &object),
        };
        let version = &is["metadata"]["resourceVersion"];
        let data = &is["data"];
        self.told.push(
            json!({ "event": event, "name": name, "resourceVersion": version, "data": data }),
        );
    }

    fn delete(&mut self, name: &str, text: &str) {
        self.send("DELETE", &format!("/{name}"), &json!({}));
        // At which version, the answer does not say.
        self.told.push(json!({ "event": "delete", "name": name, "data": { "text": text } }));
    }
}

/// What an informer said since it was synchronized.
fn since_synced(informer: &Program) -> Vec<Value> {
    let lines = informer.heard().iter().map(|it| serde_json::from_str::<Value>(it).unwrap());
    lines.skip_while(|it| it["event"] != "synced").skip(1).collect()
}

fn version(line: &Value) -> u64 {
    line["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[test]
fn an_informer_sees_each_change_once_and_in_order() {
    let Some(cluster) = require(Cluster::start()) else { return };
    if require(kubernetes_informer()).is_none() {
        return;
    }
    let seconds = seconds();
    let rig = Rig::before(cluster, &Plan::default());
    // A watch ends with its caller's token: this one outlives all.
    let token = token(&rig.issuer, seconds + GRACE_SECONDS);
    let config = rig.cluster.kubeconfig(&rig.url(), &rig.ca(), &token).unwrap();
    let plans = [("json", WATCH_SECONDS), ("protobuf", 0), ("cbor", 0)];
    let mut informers = plans.map(|(content, watch)| informer(&config, content, watch));

    let mut writer = Writer { rig: &rig, told: Vec::new() };
    let began = Instant::now();
    let half = Duration::from_secs(seconds / 2);
    for round in 0.. {
        let (name, first, second) = (format!("m{round}"), format!("ä{round}"), "x".repeat(300));
        writer.put("add", &name, &first);
        writer.put("update", &name, &second);
        if round % 2 == 0 {
            writer.delete(&name, &second);
        }
        if began.elapsed() >= half {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    // Nothing, for longer than a connection may be idle if somebody takes it for dead.
    std::thread::sleep((half * 2).saturating_sub(began.elapsed()));
    writer.put("add", "end", "");
    let told = writer.told;

    // Each made two objects in its own encoding, and read the same back.
    for (content, informer) in plans.map(|it| it.0).into_iter().zip(&mut informers) {
        informer.wait_for("\"end\"").unwrap();
        assert!(informer.wait().unwrap().success(), "{content}");
        let name = format!("go-{content}");
        let made = rig.direct(&["get", "configmap,pod", "-o", "json", "-l", "by=go"]);
        let made: Value = serde_json::from_str(&made).unwrap();
        let items = made["items"].as_array().unwrap();
        let made: Vec<_> = items.iter().filter(|it| it["metadata"]["name"] == *name).collect();
        assert_eq!(made.len(), 2, "{content}");
        assert_eq!(made[0]["data"]["said"], format!("Grüße, by {name}"));
        let created = informer.heard().iter().filter(|it| it.contains("\"created\""));
        let created: Vec<Value> = created.map(|it| serde_json::from_str(it).unwrap()).collect();
        assert_eq!(created[0]["data"], made[0]["data"]);
        assert_eq!(created[1]["name"], *name);

        let mut heard = since_synced(informer);
        // The other one's objects may have come in between.
        heard.retain(|it| !it["name"].as_str().unwrap().starts_with("go-"));
        let versions: Vec<u64> = heard.iter().map(version).collect();
        assert!(versions.is_sorted_by(|a, b| a < b), "{content}: {versions:?}");
        let deletes = heard.iter_mut().filter(|it| it["event"] == "delete");
        deletes.for_each(|it| drop(it.as_object_mut().unwrap().remove("resourceVersion")));
        assert_eq!(heard.len(), told.len(), "{content}");
        assert_eq!(heard, told, "{content}");
    }
    drop(informers);

    let record = rig.record();
    let watches = record.commands("GET /api/v1/namespaces/default/configmaps?");
    let watches: Vec<_> = watches.into_iter().filter(|it| it["operation"] == "watch").collect();
    let short = format!("timeoutSeconds={WATCH_SECONDS}&");
    let short = watches.iter().filter(|it| it["text"].as_str().unwrap().contains(&short)).count();
    let least = usize::try_from(seconds / WATCH_SECONDS - 1).unwrap();
    assert!(short >= least, "{watches:#?}");
    println!(
        "{seconds} s: {} changes, {} watches, {short} of them of {WATCH_SECONDS} s",
        told.len(),
        watches.len(),
    );
    // Each ended by its own time, but for those that the clients left.
    let outcomes = watches.iter().map(|it| record.response(it)["outcome"].as_str().unwrap());
    let left: Vec<_> = outcomes.filter(|it| *it != "ok").collect();
    assert!(left.len() <= plans.len() && left.iter().all(|it| *it == "cut"), "{left:?}");
}

/// Writes what a credential plugin prints: a token, and when to ask for another one.
fn credential(issuer: &DevIssuer, file: &Path) {
    let [client, proxy] = TOKEN_SECONDS;
    let until = std::process::Command::new("date")
        .args(["-u", "-d", &format!("{client} seconds"), "+%FT%TZ"])
        .output()
        .unwrap();
    let until = String::from_utf8(until.stdout).unwrap();
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": { "token": token(issuer, proxy), "expirationTimestamp": until.trim() },
    });
    let new = file.with_extension("new");
    fs::write(&new, credential.to_string()).unwrap();
    fs::rename(new, file).unwrap();
}

#[test]
fn an_informer_whose_tokens_expire_and_are_renewed_misses_nothing() {
    let Some(cluster) = require(Cluster::start()) else { return };
    if require(kubernetes_informer()).is_none() {
        return;
    }
    let rig = Rig::before(cluster, &Plan::default());
    let file = rig.path("credential");
    credential(&rig.issuer, &file);
    let config = rig.cluster.kubeconfig(&rig.url(), &rig.ca(), "").unwrap();
    let mut with: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    with["users"][0]["user"] = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": "cat", "args": [file],
    } });
    fs::write(&config, with.to_string()).unwrap();

    let over = AtomicBool::new(false);
    let mut told = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                credential(&rig.issuer, &file);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        let mut informer = informer(&config, "protobuf", 0);
        let mut writer = Writer { rig: &rig, told: Vec::new() };
        let (began, lasts) = (Instant::now(), Duration::from_secs(seconds()));
        for round in 0.. {
            writer.put("add", &format!("m{round}"), "x");
            if began.elapsed() >= lasts {
                break;
            }
            std::thread::sleep(PAUSE * 2);
        }
        writer.put("add", "end", "");
        informer.wait_for("\"end\"").unwrap();
        over.store(true, Ordering::Relaxed);
        assert!(informer.wait().unwrap().success());
        // A watch that ends with its token ends in order, so the next one goes on where it was.
        assert_eq!(since_synced(&informer), writer.told);
        writer.told
    });
    told.pop();
    let record = rig.record();
    let watches = record.commands("GET /api/v1/namespaces/default/configmaps?");
    let outcomes = watches.iter().map(|it| record.response(it)["outcome"].as_str().unwrap());
    let cut = outcomes.filter(|it| *it == "cut").count();
    println!("{} changes, {} watches and lists, {cut} of them cut", told.len(), watches.len());
    // The last one its client left.
    assert!(cut >= 2, "{watches:#?}");
}
