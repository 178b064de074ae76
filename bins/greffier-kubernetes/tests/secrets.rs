//! Values of Secrets, asked for in every way that kubectl and the API have: none is answered, none
//! is on record, and what stands in their place is not written back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::{ALICE, CARDS, Plan, Rig};
use testbed::{Cluster, require};

/// What must not be seen, and how it begins in base64, at each of the three places of a group.
const SENTINEL: &str = "Sentinel-93cf1-Sentinel";

fn has_sentinel(bytes: &[u8]) -> bool {
    let coded: Vec<String> = (0..3)
        .map(|before| {
            let text = STANDARD.encode(format!("{}{SENTINEL}", "x".repeat(before)));
            // What the characters before and behind make of the group's ends.
            text.get(4..text.len() - 4).unwrap().to_owned()
        })
        .collect();
    let finds = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    finds(SENTINEL) || coded.iter().any(|it| finds(it))
}

fn rig() -> Option<Rig> {
    let cluster = require(Cluster::start())?;
    let rig = Rig::before(cluster, &Plan::default());
    // The cluster knows it; through the proxy it came once, by `apply`, so that the annotation has
    // it too.
    let file = rig.path("secret.yaml");
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: db, labels: {{app: db}}}}\n\
         stringData: {{password: {SENTINEL}, user: \"{SENTINEL}\"}}\n"
    );
    fs::write(&file, text).unwrap();
    assert_eq!(rig.said(&["apply", "-f", file.to_str().unwrap()]), "secret/db created\n");
    assert!(has_sentinel(rig.direct(&["get", "secret", "db", "-o", "yaml"]).as_bytes()));
    Some(rig)
}

/// Paths and what is asked for of them (`Accept`).
fn shapes() -> Vec<(String, &'static str)> {
    let base = "/api/v1/namespaces/default/secrets";
    let all = [
        format!("{base}/db"),
        format!("{base}/db?pretty=true"),
        format!("{base}/db/"),
        base.to_owned(),
        format!("{base}?limit=1"),
        format!("{base}?fieldSelector=metadata.name%3Ddb"),
        format!("{base}?labelSelector=app%3Ddb"),
        format!("{base}?watch=true&timeoutSeconds=1"),
        format!("{base}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true"),
        format!(
            "{base}?watch=true&timeoutSeconds=1&sendInitialEvents=true\
             &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        ),
        "/api/v1/watch/namespaces/default/secrets?timeoutSeconds=1".to_owned(),
        "/api/v1/watch/namespaces/default/secrets/db?timeoutSeconds=1".to_owned(),
        "/api/v1/namespaces/default/%73ecrets/db".to_owned(),
    ];
    let accepts = [
        "application/json",
        "*/*",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/vnd.kubernetes.protobuf;stream=watch",
        "application/cbor",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/vnd.kubernetes.protobuf, application/json;q=0.1",
        "text/html, application/json;q=0",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ];
    let each = |path: &String| {
        let path = path.clone();
        accepts.map(move |accept| (path.clone(), accept))
    };
    let mut shapes: Vec<_> = all.iter().flat_map(each).collect();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for path in
        [base.to_owned(), format!("{base}/db"), format!("{base}?watch=true&timeoutSeconds=1")]
    {
        let mark = if path.contains('?') { '&' } else { '?' };
        shapes.push((format!("{path}{mark}includeObject=Object"), table));
    }
    shapes
}

#[test]
fn attack_27_no_shape_of_an_answer_has_a_secret_s_value() {
    let Some(rig) = rig() else { return };
    let token = rig.token(ALICE);
    let shapes = shapes();
    assert!(shapes.len() > 50);
    let (ca, url) = (rig.ca(), rig.url());
    // One after the other they would take minutes: a watch lasts a second.
    let masked = |shapes: &[(String, &str)]| {
        let mut masked = 0;
        for (path, accept) in shapes {
            // In these forms there are no values.
            let without = accept.contains("as=") && !path.contains("includeObject=Object");
            let accept = format!("Accept: {accept}");
            for more in [&[][..], &["--http1.1", "-H", "Accept-Encoding: gzip", "--compressed"]] {
                let args = [&["-H", accept.as_str()], more].concat();
                let said = rig::curl(&ca, &token, &args, &format!("{url}{path}"));
                assert!(!has_sentinel(said.as_bytes()), "{path} {accept}: {said}");
                // A list has no such form.
                let none = accept.contains("=PartialObjectMetadata;") && said.ends_with("\n406");
                assert!(none || said.ends_with("\n200"), "{path} {accept}: {said}");
                let has_mask = said.contains("bWFza2VkIGJ5IGdyZWZmaWVy");
                assert!(has_mask || without, "{path} {accept}: {said}");
                masked += usize::from(has_mask);
            }
        }
        masked
    };
    let seen: usize = std::thread::scope(|scope| {
        let parts = shapes.chunks(shapes.len().div_ceil(8));
        let all: Vec<_> = parts.map(|part| scope.spawn(|| masked(part))).collect();
        all.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert!(seen > 200, "answers with a mask in place of a value: {seen}");
    for args in [
        &["get", "secret", "db", "-o", "yaml"][..],
        &["get", "secret", "db", "-o", "json", "--show-managed-fields"],
        &["get", "secret", "db", "-o", "jsonpath={.data.password}"],
        &["get", "secret", "db", "-o", "go-template={{.data}}"],
        &["get", "secrets", "-o", "custom-columns=A:.data"],
        &["get", "secrets,configmaps", "-o", "yaml"],
        &["describe", "secret", "db"],
        &["apply", "view-last-applied", "secret", "db"],
        &["label", "secret", "db", "x=y", "-o", "yaml"],
        &["annotate", "secret", "db", "x=y", "-o", "json"],
        &["patch", "secret", "db", "-p", r#"{"metadata":{"labels":{"z":"z"}}}"#, "-o", "yaml"],
        &[
            "patch",
            "secret",
            "db",
            "--dry-run=server",
            "-p",
            r#"{"data":{"n":"bg=="}}"#,
            "-o",
            "yaml",
        ],
        &["get", "--raw", "/api/v1/namespaces/default/secrets/db"],
    ] {
        let output = rig.kubectl(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert!(!has_sentinel(&output.stdout), "{args:?}: {output:?}");
        assert!(!has_sentinel(&output.stderr), "{args:?}: {output:?}");
    }
    // The names of values, and what else there is, are to be seen.
    let said = rig.said(&["describe", "secret", "db"]);
    assert!(said.contains("password:  17 bytes") || said.contains("password:  18 bytes"), "{said}");
    patched(&rig, &token);
    // What is created, replaced or deleted is answered with what it was.
    let more = format!(
        r#"{{"metadata":{{"name":"two"}},"data":{{"k":"{}"}}}}"#,
        STANDARD.encode(SENTINEL)
    );
    let json = ["-H", "Content-Type: application/json"];
    let base = "/api/v1/namespaces/default/secrets";
    for (method, path, body) in [
        ("POST", base.to_owned(), more.as_str()),
        ("PUT", format!("{base}/two"), &more),
        ("DELETE", format!("{base}/two"), "{}"),
        ("DELETE", base.to_owned(), ""),
    ] {
        let said = rig.curl(&token, &[&json[..], &["-X", method, "-d", body]].concat(), &path);
        assert!(!has_sentinel(said.as_bytes()), "{method} {path}: {said}");
        assert!(said.ends_with("200") || said.ends_with("201"), "{method} {path}: {said}");
    }
    let record = rig.record();
    assert!(record.entries.len() > 100);
    // What is plain is on record, with the names of its values.
    let created = record.commands("PUT /api/v1/namespaces/default/secrets/two")[0];
    let kept = created["parameters"][0]["value"].as_str().unwrap();
    assert_eq!(kept, r#"{"metadata":{"name":"two"},"data":{"k":"bWFza2VkIGJ5IGdyZWZmaWVy"}}"#);
    let kept: Vec<u8> = record
        .entries
        .iter()
        .flat_map(|entry| {
            let data = entry["data"]["base64"].as_str().map(|it| STANDARD.decode(it).unwrap());
            [serde_json::to_vec(entry).unwrap(), data.unwrap_or_default()].concat()
        })
        .collect();
    assert!(!has_sentinel(&kept) && !has_sentinel(&record.bytes));
}

/// A patch that has the server say what is there, in its answer or its complaints.
fn patched(rig: &Rig, token: &str) {
    let db = "/api/v1/namespaces/default/secrets/db";
    let annotated = r#"{"op":"add","path":"/metadata/annotations","value":{}}"#;
    let applied = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
    for steps in [
        format!(
            r#"{annotated},{{"op":"copy","from":"/data/password","path":"/metadata/annotations/x"}}"#
        ),
        format!(r#"{{"op":"copy","from":"{applied}","path":"/metadata/annotations/x"}}"#),
        r#"{"op":"copy","from":"/data/password","path":"/metadata/labels/x"}"#.to_owned(),
        r#"{"op":"move","from":"/data/password","path":"/type"}"#.to_owned(),
        r#"{"op":"test","path":"/data/password","value":"guess"}"#.to_owned(),
        // Who reads the first or the last of two?
        r#"{"op":"add","op":"copy","from":"/data/password","path":"/type"}"#.to_owned(),
    ] {
        let body = format!("[{steps}]");
        let media = "Content-Type: application/json-patch+json";
        let args = ["-X", "PATCH", "-H", media, "-d", body.as_str()];
        let said = rig.curl(token, &args, &format!("{db}?dryRun=All"));
        assert!(said.ends_with("403") && said.contains("kubernetes-patch"), "{steps}: {said}");
    }
    // A patch is one for the server by what stands before the semicolon, whatever stands behind.
    let steps = r#"[{"op":"copy","from":"/data/password","path":"/metadata/labels/x"}]"#;
    for media in ["application/json-patch+json;\u{e9}", "application/json-patch+json; a=\u{ff}"] {
        let media = format!("Content-Type: {media}");
        let args = ["-X", "PATCH", "-H", media.as_str(), "-d", steps];
        let said = rig.curl(token, &args, &format!("{db}?dryRun=All"));
        assert!(said.ends_with("400") && said.contains("Content-Type"), "{said}");
    }
    // What is wrong with an object may be said with all of it.
    let merge = "application/merge-patch+json";
    for (media, body, query, code) in [
        (merge, r#"{"data":{"n":"!"}}"#, "", "422"),
        (merge, r#"{"data":{"n":"!"}}"#, "&fieldValidation=Strict", "422"),
        (merge, r#"{"unknown":1}"#, "&fieldValidation=Strict", "422"),
        (
            "application/json-patch+json",
            r#"[{"op":"add","path":"/data/n","value":"!"}]"#,
            "",
            "422",
        ),
        ("application/strategic-merge-patch+json", r#"{"data":{"n":"!"}}"#, "", "422"),
        (merge, r#"{"data":"x"}"#, "", "422"),
    ] {
        let media = format!("Content-Type: {media}");
        let args = ["-X", "PATCH", "-H", media.as_str(), "-d", body];
        let said = rig.curl(token, &args, &format!("{db}?dryRun=All{query}"));
        assert!(!has_sentinel(said.as_bytes()), "{body}: {said}");
        assert!(said.contains("\"Failure\"") && said.ends_with(code), "{body}: {said}");
    }
    // Values in members that Secrets don't have, or not in JSON, are not on record.
    for (media, body) in [
        (merge, format!(r#"{{"stringdata":{{"p":"{SENTINEL}"}}}}"#)),
        (
            "application/apply-patch+yaml",
            format!(
                "{{apiVersion: v1, kind: Secret, metadata: {{name: db}}, stringData: {{p: {SENTINEL}}}}}"
            ),
        ),
        (
            "application/apply-patch+yaml",
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: db}}\nstringData: {{p: [{SENTINEL}]}}"
            ),
        ),
    ] {
        let query = if media == merge { "" } else { "&fieldManager=test&force=true" };
        let media = format!("Content-Type: {media}");
        let args = ["-X", "PATCH", "-H", media.as_str(), "-d", body.as_str()];
        let said = rig.curl(token, &args, &format!("{db}?dryRun=All{query}"));
        let known = ["200", "400", "422", "500"].iter().any(|code| said.ends_with(code));
        assert!(known, "{body}: {said}");
    }
    // What is missing is said by its name.
    let said = rig.curl(token, &[], "/api/v1/namespaces/default/secrets/nobody-s");
    assert!(said.contains("nobody-s") && said.ends_with("404"), "{said}");
}

#[test]
fn tokens_that_the_cluster_gives_out_are_not_on_record() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    rig.direct(&["create", "serviceaccount", "sa"]);
    rig.direct(&["create", "role", "minter", "--verb=create", "--resource=serviceaccounts/token"]);
    rig.direct(&["create", "rolebinding", "minter", "--role=minter", "--user=alice@example.com"]);
    let token = rig.said(&["create", "token", "sa"]);
    assert_eq!(token.split('.').count(), 3, "{token}");
    let record = rig.record();
    let minted = record.commands("/serviceaccounts/sa/token")[0];
    let answer = String::from_utf8(record.answer(minted)).unwrap();
    assert!(answer.contains("masked by greffier") && !answer.contains(token.trim()), "{answer}");
}

#[test]
fn a_mask_is_not_written_back() {
    let Some(rig) = rig() else { return };
    let intact = || {
        let value = rig.direct(&["get", "secret", "db", "-o", "jsonpath={.data.password}"]);
        assert_eq!(value, STANDARD.encode(SENTINEL));
    };
    let whole = rig.said(&["get", "secret", "db", "-o", "json"]);
    let file = rig.path("back.json");
    fs::write(&file, &whole).unwrap();
    for verb in ["replace", "apply"] {
        let refused = rig.refused(&[verb, "-f", file.to_str().unwrap()]);
        assert!(refused.contains("kubernetes-mask") && refused.contains("Forbidden"), "{refused}");
        intact();
    }
    for patch in [
        r#"{"data":{"password":"bWFza2VkIGJ5IGdyZWZmaWVy"}}"#,
        r#"{"stringData":{"password":"masked by greffier"}}"#,
    ] {
        let refused = rig.refused(&["patch", "secret", "db", "-p", patch]);
        assert!(refused.contains("kubernetes-mask"), "{refused}");
        intact();
    }
    // `kubectl edit` sends what was changed, so what it was shown stays what it is.
    let editor = rig.path("editor");
    fs::write(&editor, "#!/bin/sh\nsed -i 's/app: db/app: dbx/' \"$1\"\n").unwrap();
    let mut mode = fs::metadata(&editor).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    fs::set_permissions(&editor, mode).unwrap();
    let mut edit = rig.kubectl_with(&rig.token(ALICE));
    let edited = edit.args(["edit", "secret", "db"]).env("EDITOR", &editor).output().unwrap();
    assert!(edited.status.success(), "{edited:?}");
    assert_eq!(rig.said(&["get", "secret", "db", "-o", "jsonpath={.metadata.labels.app}"]), "dbx");
    intact();
    // Nor does an `apply` of what there is in the caller's own file.
    let file = rig.path("secret.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}  more: new\n").replace("user: \"", "user: \"")).unwrap();
    let mut apply = rig.kubectl_with(&rig.token(ALICE));
    apply.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
    let mut apply = apply.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let new = text.replace(&format!("user: \"{SENTINEL}\""), "user: new");
    apply.stdin.take().unwrap().write_all(new.as_bytes()).unwrap();
    assert!(apply.wait().unwrap().success());
    intact();
    let user = rig.direct(&["get", "secret", "db", "-o", "jsonpath={.data.user}"]);
    assert_eq!(user, STANDARD.encode("new"));
    // A watch that lasts tells what changes, and tells it at once.
    let mut watch = rig.kubectl_with(&rig.token(ALICE));
    watch.args(["get", "secret", "db", "-o", "json", "--watch"]).stdout(Stdio::piped());
    let mut watch = testbed::Program::heard_on_stdout(&mut watch).unwrap();
    watch.wait_for("\"kind\": \"Secret\"").unwrap();
    rig.direct(&["label", "secret", "db", "seen=by-watch"]);
    assert!(watch.within(Duration::from_secs(10), "by-watch").is_some());
    assert!(!watch.heard().iter().any(|it| has_sentinel(it.as_bytes())));
    watch.kill().unwrap();
    let record = rig.record();
    assert!(!has_sentinel(&record.bytes));
    assert!(record.of("command").iter().any(|it| it["rule"] == "kubernetes-mask"));
}

#[test]
fn config_maps_and_logs_are_masked_by_rule() {
    let Some(cluster) = require(Cluster::with_node()) else { return };
    let rig = Rig::before(cluster, &Plan { masking: CARDS, ..Plan::default() });
    let card = "4111 1111 1111 1111";
    let literal = format!("--from-literal=note=paid by {card}, thanks");
    rig.direct(&["create", "configmap", "one", &literal]);
    rig.cluster.append_pod_log(&format!("paid by {card}, thanks\n")).unwrap();
    for args in [
        &["get", "configmap", "one", "-o", "yaml"][..],
        &["get", "configmap", "one", "-o", "jsonpath={.data.note}"],
        &["describe", "configmap", "one"],
        &["logs", "web"],
    ] {
        let said = rig.said(args);
        assert!(said.contains("paid by <CREDIT_CARD>, thanks"), "{args:?}: {said}");
    }
    let mut follow = rig.kubectl_with(&rig.token(ALICE));
    follow.args(["logs", "-f", "--tail=1", "web"]).stdout(Stdio::piped());
    let mut follow = follow.spawn().unwrap();
    // Nothing comes behind it, and it comes all the same.
    let mut said = std::io::BufReader::new(follow.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert_eq!(line, "paid by <CREDIT_CARD>, thanks\n");
    follow.kill().unwrap();
    follow.wait().unwrap();
    let record = rig.record();
    let bytes = String::from_utf8_lossy(&record.bytes);
    assert!(!bytes.contains(card) && !bytes.contains(&STANDARD.encode("4111 1111 11")));
    let read = record.commands("/configmaps/one");
    let masked = |it: &&&serde_json::Value| record.response(it)["masked"]["CREDIT_CARD"] == 1;
    assert!(read.iter().filter(masked).count() >= 3, "{read:?}");
}
