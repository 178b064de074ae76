//! `greffier audit har`: what the demonstration recorded, as other programs read it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

use demo::{Json, Options, Show, run};
use serde_json::Value;

fn greffier(dir: &Path, args: &[&str]) -> Output {
    let mut greffier = Command::new(env!("CARGO_BIN_EXE_greffier"));
    greffier.args(["audit", "har"]).args(args);
    greffier.arg("--store").arg(dir.join("store")).args(["--log-id", "demo"]);
    greffier.arg("--key").arg(dir.join("log.vkey")).output().unwrap()
}

/// A kind of member, as HAR 1.2 has it.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    List(&'static [Member]),
    Object(&'static [Member]),
}

/// A member's name, what it is, and whether it may be left out.
type Member = (&'static str, Kind, bool);

const COMMENT: Member = ("comment", Kind::Text, true);
const PAIR: &[Member] = &[("name", Kind::Text, false), ("value", Kind::Text, false), COMMENT];
const HAR: &[Member] = &[("log", Kind::Object(LOG), false)];
const LOG: &[Member] = &[
    ("version", Kind::Text, false),
    ("creator", Kind::Object(CREATOR), false),
    ("entries", Kind::List(ENTRY), false),
    COMMENT,
];
const CREATOR: &[Member] = &[("name", Kind::Text, false), ("version", Kind::Text, false), COMMENT];
const ENTRY: &[Member] = &[
    ("startedDateTime", Kind::Text, false),
    ("time", Kind::Number, false),
    ("request", Kind::Object(REQUEST), false),
    ("response", Kind::Object(RESPONSE), false),
    ("cache", Kind::Object(&[COMMENT]), false),
    ("timings", Kind::Object(TIMINGS), false),
    ("serverIPAddress", Kind::Text, true),
    ("connection", Kind::Text, true),
    COMMENT,
];
const REQUEST: &[Member] = &[
    ("method", Kind::Text, false),
    ("url", Kind::Text, false),
    ("httpVersion", Kind::Text, false),
    ("cookies", Kind::List(PAIR), false),
    ("headers", Kind::List(PAIR), false),
    ("queryString", Kind::List(PAIR), false),
    ("postData", Kind::Object(POST), true),
    ("headersSize", Kind::Number, false),
    ("bodySize", Kind::Number, false),
    COMMENT,
];
const POST: &[Member] = &[
    ("mimeType", Kind::Text, false),
    ("params", Kind::List(PAIR), true),
    ("text", Kind::Text, true),
    COMMENT,
];
const RESPONSE: &[Member] = &[
    ("status", Kind::Number, false),
    ("statusText", Kind::Text, false),
    ("httpVersion", Kind::Text, false),
    ("cookies", Kind::List(PAIR), false),
    ("headers", Kind::List(PAIR), false),
    ("content", Kind::Object(CONTENT), false),
    ("redirectURL", Kind::Text, false),
    ("headersSize", Kind::Number, false),
    ("bodySize", Kind::Number, false),
    COMMENT,
];
const CONTENT: &[Member] = &[
    ("size", Kind::Number, false),
    ("compression", Kind::Number, true),
    ("mimeType", Kind::Text, false),
    ("text", Kind::Text, true),
    ("encoding", Kind::Text, true),
    COMMENT,
];
const TIMINGS: &[Member] = &[
    ("blocked", Kind::Number, true),
    ("dns", Kind::Number, true),
    ("connect", Kind::Number, true),
    ("send", Kind::Number, false),
    ("wait", Kind::Number, false),
    ("receive", Kind::Number, false),
    ("ssl", Kind::Number, true),
    COMMENT,
];

/// Whether an object has every member that it must have, each of its kind, and no other but those
/// that begin with an underscore (HAR 1.2, "Custom Fields").
fn check(what: &str, value: &Value, members: &[Member]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{what} is no object: {value}"));
    for (name, kind, optional) in members {
        let what = format!("{what}.{name}");
        match (object.get(*name), kind) {
            (None, _) => assert!(*optional, "{what} is missing"),
            (Some(value), Kind::Text) => assert!(value.is_string(), "{what}: {value}"),
            (Some(value), Kind::Number) => assert!(value.is_number(), "{what}: {value}"),
            (Some(value), Kind::Object(members)) => check(&what, value, members),
            (Some(value), Kind::List(members)) => {
                let list = value.as_array().unwrap_or_else(|| panic!("{what}: {value}"));
                list.iter().for_each(|it| check(&what, it, members));
            }
        }
    }
    for name in object.keys().filter(|it| !it.starts_with('_')) {
        assert!(members.iter().any(|(known, ..)| known == name), "{what}.{name} is not of HAR");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_recorded_is_an_archive_that_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("demo");
    let options = Options { dir: dir.clone(), show: Show::Http };
    let outcome = run(&options, &mut Json::new(std::io::sink()), None).await.unwrap();
    assert!(outcome.is_ok(), "{outcome:?}");
    let output = greffier(&dir, &[]);
    assert!(output.status.success(), "{output:?}");
    let har: Value = serde_json::from_slice(&output.stdout).unwrap();
    check("har", &har, HAR);
    assert_eq!(har["log"]["version"], "1.2");
    let entries = har["log"]["entries"].as_array().unwrap();
    let lines: Vec<String> = entries
        .iter()
        .map(|it| {
            let method = it["request"]["method"].as_str().unwrap();
            let url = it["request"]["url"].as_str().unwrap();
            let path = url.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap().1;
            format!("{method} /{path} {}", it["response"]["status"])
        })
        .collect();
    assert_eq!(lines[..3], ["GET /whoami 200", "GET /customers/3 200", "POST /orders 201"]);
    assert!(lines.contains(&"DELETE /customers/3 0".to_owned()), "{lines:?}");
    let customer: Value =
        serde_json::from_str(entries[1]["response"]["content"]["text"].as_str().unwrap()).unwrap();
    assert_eq!(customer["name"], "Carla Jensen");
    assert_eq!(customer["card"], "<CREDIT_CARD>", "as the record has it");
    assert!(entries[2]["request"]["postData"]["text"].as_str().unwrap().contains("ink, black"));
    assert_eq!(entries[2]["response"]["content"]["mimeType"], "application/json");

    // One session, one command, and nothing.
    let id = entries[1]["_greffier"]["id"].as_str().unwrap();
    let one: Value = serde_json::from_slice(&greffier(&dir, &[id]).stdout).unwrap();
    assert_eq!(one["log"]["entries"].as_array().unwrap()[..], entries[1..2]);
    let none = greffier(&dir, &["--target", "another"]);
    let none: Value = serde_json::from_slice(&none.stdout).unwrap();
    assert_eq!(none["log"]["entries"], serde_json::json!([]));

    // A reader that is not ours.
    let file = dir.join("demo.har");
    std::fs::write(&file, &output.stdout).unwrap();
    let Some(mut reader) = testbed::require(testbed::har_reader()) else { return };
    let read = reader.arg(&file).output().unwrap();
    assert!(read.status.success(), "{read:?}");
    let read: Value = serde_json::from_slice(&read.stdout).unwrap();
    let theirs: Vec<String> = read
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {} {}", it[0].as_str().unwrap(), it[1].as_str().unwrap(), it[2]))
        .collect();
    let ours: Vec<String> = entries
        .iter()
        .map(|it| {
            let (request, response) = (&it["request"], &it["response"]);
            let (method, url) = (request["method"].as_str(), request["url"].as_str());
            format!("{} {} {}", method.unwrap(), url.unwrap(), response["status"])
        })
        .collect();
    assert_eq!(theirs, ours);
}
