//! kubectl, unchanged, through the proxy: what it prints, what the cluster takes it for, and what
//! is on record.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod rig;

use std::fs;

use rig::{ALICE, Plan, Rig};
use testbed::{Cluster, require};

#[test]
fn kubectl_works_in_the_caller_s_own_name() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    let file = rig.path("map.yaml");
    fs::write(
        &file,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, labels: {a: b}}\ndata: {x: first}\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(rig.said(&["apply", "-f", file]), "configmap/one created\n");
    assert_eq!(rig.said(&["apply", "-f", file]), "configmap/one unchanged\n");
    assert_eq!(rig.said(&["label", "configmap", "one", "c=d"]), "configmap/one labeled\n");
    let patch = r#"{"data":{"x":"z"}}"#;
    assert_eq!(rig.said(&["patch", "configmap", "one", "-p", patch]), "configmap/one patched\n");
    // The same as directly, whatever the form.
    for args in [
        &["get", "configmaps"][..],
        &["get", "configmaps", "one", "-o", "yaml"],
        &["get", "configmaps", "-o", "json"],
        &["get", "configmaps", "-o", "wide", "--show-labels"],
        &["describe", "configmap", "one"],
        &["api-resources"],
        &["explain", "pods.spec"],
        &["version", "-o", "json"],
    ] {
        // A second may pass between the two.
        let age = |word: &&str| {
            let units = word.trim_matches(|c: char| c.is_ascii_digit());
            word.starts_with(|c: char| c.is_ascii_digit()) && ["s", "m", "h"].contains(&units)
        };
        let line = |line: &str| {
            line.split_whitespace().filter(|it| !age(it)).collect::<Vec<_>>().join(" ")
        };
        let ages = |text: String| text.lines().map(line).collect();
        let (ours, direct): (Vec<String>, Vec<String>) =
            (ages(rig.said(args)), ages(rig.direct(args)));
        assert_eq!(ours, direct, "{args:?}");
    }
    assert_eq!(rig.said(&["auth", "can-i", "create", "configmaps"]), "yes\n");
    let no = rig.kubectl(&["auth", "can-i", "create", "nodes"]);
    assert!(String::from_utf8_lossy(&no.stdout).starts_with("no"), "{no:?}");
    let who = rig.said(&["auth", "whoami", "-o", "json"]);
    assert!(who.contains(ALICE) && who.contains("greffier.dev/session"), "{who}");
    assert_eq!(
        rig.said(&["delete", "configmap", "one"]),
        "configmap \"one\" deleted from default namespace\n"
    );
    // What the cluster does not let alice do, it says to her.
    let refused = rig.refused(&["get", "nodes"]);
    assert!(
        refused.contains("(Forbidden): nodes is forbidden: User \"alice@example.com\""),
        "{refused}"
    );

    // The cluster's own log knows her, and which session of ours it was.
    let event = rig
        .cluster
        .audit_event(|it| it["verb"] == "create" && it["objectRef"]["resource"] == "configmaps");
    let event = event.unwrap();
    assert_eq!(event["user"]["username"], "greffier");
    assert_eq!(event["impersonatedUser"]["username"], ALICE);
    let session = event["impersonatedUser"]["extra"]["greffier.dev/session"][0].as_str().unwrap();
    let session = session.to_owned();
    let record = rig.record();
    let created = record.commands("POST /api/v1/namespaces/default/configmaps")[0];
    assert_eq!(created["session"], *session);
    assert_eq!((&created["operation"], &created["class"]), (&"create".into(), &"write".into()));
    assert_eq!(created["details"]["resource"], "configmaps");
    assert_eq!(created["principal"]["subject"], ALICE);
    assert!(created["parameters"][0]["value"].as_str().unwrap().contains("\"x\":\"first\""));
    let listed = record.commands("GET /api/v1/namespaces/default/configmaps?limit=500")[0];
    assert_eq!(listed["operation"], "list");
    let answer = String::from_utf8(record.answer(listed)).unwrap();
    assert!(answer.contains("\"kind\":\"Table\"") && answer.contains("\"one\""), "{answer}");
    // What an API has is on record by name, not by content.
    let discovered = record.commands("GET /apis")[0];
    assert_eq!(discovered["class"], "discovery");
    assert!(record.answer(discovered).is_empty());
}

#[test]
fn a_denial_is_a_status_that_kubectl_prints() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rules = r#"
        [[policy.rule]]
        name = "no-privileged"
        effect = "deny"
        when = { arguments = { "object.spec.*containers.securityContext.privileged" = "true" } }
        reason = "ask the platform team"
        [[policy.rule]]
        name = "no-secrets-of-prod"
        effect = "deny"
        when = { resources = ["prod/secrets"] }
        [[policy.rule]]
        name = "no-deletes"
        effect = "deny"
        when = { class = ["delete"] }
        [[policy.rule]]
        name = "no-volumes"
        effect = "deny"
        when = { resources = ["persistentvolumes"] }
    "#;
    let rig = Rig::before(cluster, &Plan { rules, ..Plan::default() });
    let file = rig.path("pod.json");
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[
        {"name":"c","image":"i","securityContext":{"privileged":true}}]}}"#;
    fs::write(&file, pod).unwrap();
    let refused = rig.refused(&["create", "-f", file.to_str().unwrap()]);
    assert!(refused.contains("(Forbidden)"), "{refused}");
    assert!(
        refused.contains("no-privileged") && refused.contains("ask the platform team"),
        "{refused}"
    );
    fs::write(&file, pod.replace("true", "false")).unwrap();
    assert_eq!(rig.said(&["create", "-f", file.to_str().unwrap()]), "pod/p created\n");
    // A patch that says where, and not what it makes, may make anything.
    let patch = r#"[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]"#;
    let refused = rig.refused(&["patch", "pod", "p", "--type", "json", "-p", patch]);
    assert!(refused.contains("no-privileged"), "{refused}");
    // A call for all namespaces is one for that one too.
    let refused = rig.refused(&["get", "secrets", "--all-namespaces"]);
    assert!(refused.contains("no-secrets-of-prod"), "{refused}");
    rig.said(&["get", "secrets"]);
    let refused = rig.refused(&["delete", "pod", "p", "--wait=false"]);
    assert!(refused.contains("no-deletes"), "{refused}");
    assert!(rig.direct(&["get", "pods"]).contains('p'));
    // Who asks what it may do is told of these rules, too.
    for (args, wanted) in [
        (&["delete", "pods"][..], "no - rule no-deletes of greffier\n"),
        (&["get", "secrets", "-n", "prod"], "no - rule no-secrets-of-prod of greffier\n"),
        (&["create", "pods/exec"], "yes\n"),
        (&["create", "pods"], "yes\n"),
        (&["get", "persistentvolumes"], "no - rule no-volumes of greffier\n"),
        (&["get", "nodes"], "no\n"),
    ] {
        let output = rig.kubectl(&[&["auth", "can-i"], args].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with(wanted), "{args:?}: {output:?}");
    }

    // No token, a bad one, a path that two readers read differently.
    let token = rig.token(ALICE);
    let said = rig.curl("x.y.z", &[], "/api/v1/pods");
    assert!(said.contains("\"kind\":\"Status\"") && said.ends_with("401"), "{said}");
    for path in [
        "/api/v1/namespaces/default/pods/a%2fb",
        "/api/v1//pods",
        "/api/v1/Pods",
        "/k8s/clusters/c/api/v1/secrets",
    ] {
        let said = rig.curl(&token, &[], path);
        assert!(said.contains("\"reason\":\"BadRequest\"") && said.ends_with("400"), "{said}");
    }
    let record = rig.record();
    let denied: Vec<_> =
        record.of("command").into_iter().filter(|it| it["verdict"] == "deny").collect();
    assert_eq!(denied.len(), 4, "{denied:?}");
}

#[test]
fn attack_24_nobody_says_who_it_is_but_the_token() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rig = Rig::before(cluster, &Plan::default());
    let token = rig.token(ALICE);
    let pods = "/api/v1/namespaces/default/pods";
    for field in [
        "Impersonate-User: admin",
        "impersonate-group: system:masters",
        "IMPERSONATE-UID: 1",
        "Impersonate-Extra-a: b",
        "Impersonate-Something-New: x",
        "Impersonate_User: admin",
        "Impersonate-User;",
    ] {
        let said = rig.curl(&token, &["-H", field], pods);
        assert!(said.contains("Impersonate-*") && said.ends_with("403"), "{field}: {said}");
    }
    // Named by Connection it belongs to the connection, and ends here: who asks is alice.
    let said = rig.curl(
        &token,
        &["--http1.1", "-H", "Impersonate-User: admin", "-H", "Connection: Impersonate-User"],
        "/api/v1/nodes",
    );
    assert!(said.contains("User \\\"alice@example.com\\\"") && said.ends_with("403"), "{said}");
    let said = rig.curl(&token, &["-H", "X-Remote-User: admin", "-H", "X-Remote-Group: x"], pods);
    assert!(said.ends_with("200"), "{said}");
    let said = rig.curl(
        &token,
        &["-H", "X-Remote-User: admin", "-H", "X-Remote-Group: system:masters"],
        "/api/v1/nodes",
    );
    assert!(said.contains("alice@example.com") && said.ends_with("403"), "{said}");

    // A token may not make anybody the cluster's own, by its subject or a group.
    for claims in [
        dev_issuer::Claims::new("system:admin"),
        dev_issuer::Claims::new(ALICE).groups(&["system:masters"]),
    ] {
        let token = rig.issuer.mint(claims.audience(rig::AUDIENCE).client("people")).unwrap();
        let said = rig.curl(&token, &[], "/api/v1/nodes");
        assert!(said.contains("system:") && said.ends_with("403"), "{said}");
    }
    // Whoever acts for alice has her rights, and the cluster's log says who it was.
    let agent = dev_issuer::Claims::new(ALICE).acting(&["bot-7"]).audience(rig::AUDIENCE);
    let agent = rig.issuer.mint(agent.client("agents")).unwrap();
    let said = rig.curl(&agent, &[], pods);
    assert!(said.ends_with("200"), "{said}");
    let event = rig
        .cluster
        .audit_event(|it| it["impersonatedUser"]["extra"]["greffier.dev/actor"][0] == "bot-7");
    assert_eq!(event.unwrap()["impersonatedUser"]["username"], ALICE);
    // A group of the token's is one of the cluster's.
    let carol = dev_issuer::Claims::new("carol").groups(&["devs"]).audience(rig::AUDIENCE);
    let carol = rig.issuer.mint(carol.client("people")).unwrap();
    assert!(rig.curl(&carol, &[], pods).ends_with("200"));
    assert!(rig.curl(&rig.token("bob@example.com"), &[], pods).ends_with("403"));
    let record = rig.record();
    // None of them got anywhere near the cluster.
    let refused: Vec<_> = record.of("auth_failure").into_iter().collect();
    assert!(refused.len() >= 9, "{}", refused.len());
}

#[test]
fn how_much_is_kept_is_said_by_rules() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let target = r#"
        [[target.test.kubernetes.audit]]
        level = "Metadata"
        when = { arguments = { "object.metadata.name" = "metadata" } }
        [[target.test.kubernetes.audit]]
        level = "Request"
        when = { class = ["write"] }
    "#;
    let rig = Rig::before(cluster, &Plan { target, ..Plan::default() });
    for name in ["metadata", "request"] {
        let file = rig.path("map.json");
        let map = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"key": "Kept-or-not"},
        });
        fs::write(&file, map.to_string()).unwrap();
        rig.said(&["create", "-f", file.to_str().unwrap()]);
    }
    rig.said(&["get", "configmap", "request", "-o", "yaml"]);
    let record = rig.record();
    let created = record.commands("POST /api/v1/namespaces/default/configmaps");
    let kept = |command: &serde_json::Value| {
        let object =
            command["parameters"][0]["value"].as_str().is_some_and(|it| it.contains("Kept"));
        (object, record.answer(command).is_empty())
    };
    assert_eq!(kept(created[0]), (false, true));
    assert!(created[0]["details"]["object"].as_str().unwrap().starts_with("not kept: "));
    assert_eq!(kept(created[1]), (true, true));
    let read = record.commands("GET /api/v1/namespaces/default/configmaps/request")[0];
    assert!(String::from_utf8(record.answer(read)).unwrap().contains("Kept-or-not"));
}
