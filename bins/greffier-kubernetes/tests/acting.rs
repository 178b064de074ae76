//! Acting as somebody else (`kubectl --as`): only where the target, the rules and the cluster agree.
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

/// alice may impersonate bob and the group devs, and nobody else.
const RIGHTS: &str = r#"{"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"as-bob"},
     "rules":[{"apiGroups":[""],"resources":["users"],"verbs":["impersonate"],
               "resourceNames":["bob@example.com","mallory@example.com"]},
              {"apiGroups":[""],"resources":["groups"],"verbs":["impersonate"],
               "resourceNames":["devs"]}]},
    {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding",
     "metadata":{"name":"as-bob"},
     "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"as-bob"},
     "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"alice@example.com"}]}]}"#;

#[test]
fn attack_24_who_acts_as_another_needs_the_rules_and_the_cluster() {
    let Some(cluster) = require(Cluster::start()) else { return };
    let rules = r#"
        [[policy.rule]]
        name = "nobody-is-mallory"
        effect = "deny"
        when = { class = ["impersonate"], resources = ["users/mallory@*"] }
    "#;
    let plan = Plan { rules, target: "impersonation = true", ..Plan::default() };
    let rig = Rig::before(cluster, &plan);
    let bob = ["--as", "bob@example.com"];
    let get = ["get", "configmaps"];
    // What the cluster has, kubectl remembers; of a refused discovery it prints no reason.
    rig.said(&get);
    // The cluster would not let her.
    let refused = rig.refused(&[&get[..], &bob].concat());
    assert!(refused.contains("the cluster does not let you act as"), "{refused}");
    let file = rig.path("rights.json");
    fs::write(&file, RIGHTS).unwrap();
    rig.direct(&["create", "-f", file.to_str().unwrap()]);
    // Now it does, and decides for bob, who may do nothing.
    let refused = rig.refused(&[&get[..], &bob].concat());
    assert!(refused.contains("User \"bob@example.com\" cannot list"), "{refused}");
    // Unless he is one of the developers.
    rig.said(&[&get[..], &bob, &["--as-group", "devs"]].concat());
    let who = rig.said(&[&["auth", "whoami", "-o", "json"][..], &bob].concat());
    assert!(who.contains("bob@example.com") && who.contains("greffier.dev/actor"), "{who}");
    for more in [
        &["--as-group", "system:masters"][..],
        &["--as-uid", "7"],
        &["--as-user-extra", "greffier.dev/actor=somebody"],
        &["--as-user-extra", "acme.com/project=x"],
    ] {
        let refused = rig.refused(&[&get[..], &bob, more].concat());
        assert!(refused.contains("Forbidden") || refused.contains("forbidden"), "{refused}");
    }
    let account =
        rig.refused(&[&get[..], &["--as", "system:serviceaccount:kube-system:x"]].concat());
    assert!(account.contains("the cluster does not let you act as"), "{account}");
    // What the cluster allows, a rule may forbid.
    let refused = rig.refused(&[&get[..], &["--as", "mallory@example.com"]].concat());
    assert!(refused.contains("nobody-is-mallory"), "{refused}");
    let event = rig.cluster.audit_event(|it| {
        it["impersonatedUser"]["username"] == "bob@example.com"
            && it["impersonatedUser"]["groups"].to_string().contains("devs")
    });
    let event = event.unwrap();
    assert_eq!(event["impersonatedUser"]["extra"]["greffier.dev/actor"][0], ALICE);
    let record = rig.record();
    let acted: Vec<_> = record
        .of("command")
        .into_iter()
        .filter(|it| it["details"]["acts_as"] == "users/bob@example.com groups/devs")
        .collect();
    assert!(!acted.is_empty() && acted.iter().all(|it| it["principal"]["subject"] == ALICE));
    let refused = record.of("auth_failure");
    assert!(refused.iter().filter(|it| it["cause"] == "impersonation").count() >= 5, "{refused:?}");
}
