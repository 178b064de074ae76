//! Kubernetes' sections: the example, and mistakes in them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::Folder;

const EXAMPLE: &str = include_str!("../../../greffier-kubernetes.example.toml");

const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://10.0.2.1:6443/base/", certificate-authority: cluster-ca.crt}}]
users: [{name: u, user: {token: canary-token}}]
contexts: [{name: staging, context: {cluster: c, user: u}}]
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    for (from, to) in [
        ("orders-ca.crt", "cluster-ca.crt"),
        ("warehouse-client.crt", "greffier.crt"),
        ("warehouse-client.key", "greffier.key"),
    ] {
        std::fs::copy(folder.path(from), folder.path(to)).unwrap();
    }
    folder.write("cluster-token", "canary-token", 0o600);
    folder.write("staging.kubeconfig", KUBECONFIG, 0o600);
    folder
}

#[test]
fn the_example_has_no_mistake() {
    let loaded = folder().load(EXAMPLE, &[]).unwrap_or_else(|p| panic!("{p}"));
    let [prod, staging, test] = &loaded.targets.http[..] else { panic!() };
    let of_prod = prod.kubernetes.as_ref().unwrap();
    assert_eq!((&*of_prod.user_prefix, of_prod.proxied), ("oidc:", false));
    assert!(prod.upgrades && test.kubernetes.is_some());
    let upstream = &staging.upstream;
    let place = (&*upstream.host, upstream.port, &*upstream.path, upstream.tls.is_some());
    assert_eq!(place, ("10.0.2.1", 6443, "/base", true));
    assert!(matches!(upstream.credential, http_proxy::Credential::Changing(_)));
    assert!(staging.kubernetes.as_ref().unwrap().releases.is_some() && of_prod.releases.is_none());
    assert!(staging.gate.operations.is_some());
    assert!(!format!("{loaded:?}").contains("canary"));
    assert!(matches!(loaded.listeners[0].protocol, config::Protocol::Http(_)));
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let changes = [
        ("user_prefix = \"oidc:\"", "user_prefix = \"system:\""),
        ("group_prefix = \"oidc:\"", "group_prefix = \"a b\"\nproxy = true"),
        ("hosts = [\"kube.example.org\"]", "hosts = [\"kube.example.org\"]\nupgrades = true"),
        ("recording = \"commands\"", "http2 = true\nmax_body = \"1MiB\""),
        ("class = [\"exec\"]", "class = [\"execute\"]"),
        ("level = \"Metadata\"", "level = \"Nothing\""),
    ];
    let text = changes.iter().fold(EXAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let problems = folder().problems(&text).join("\n");
    for wanted in [
        "target.prod.kubernetes.proxy: unknown key; there are: ",
        "target.test.http2: has no use",
        "target.test.max_body: has no use",
        "policy.rule[3].when: no protocol has all of these words together",
    ] {
        assert!(problems.contains(wanted), "{wanted}:\n{problems}");
    }
    // What a section can't be read for is told first.
    let text = text.replacen("\nproxy = true", "", 1);
    let problems = folder().problems(&text).join("\n");
    for wanted in [
        "target.prod.kubernetes.user_prefix: must be of visible ASCII",
        "target.prod.kubernetes.group_prefix: must be of visible ASCII",
        "target.prod.upgrades: has no use",
        "target.prod.kubernetes.audit[0].level: must be None, Metadata, Request or RequestResponse",
    ] {
        assert!(problems.contains(wanted), "{wanted}:\n{problems}");
    }
    let http = EXAMPLE.replacen("protocol = \"kubernetes\"\nurl", "protocol = \"http\"\nurl", 1);
    let problems = folder().problems(&http).join("\n");
    assert!(problems.contains("target.prod.kubernetes: is for a target with"), "{problems}");
}

#[test]
fn names_of_two_issuers_are_told_apart() {
    let second = "[[policy.rule]]\nname = \"nobody-in-kube-system\"";
    let issuer = "[issuer.ci]\niss = \"https://ci.example.org\"\naudiences = [\"https://kube.example.org\"]\n\
                  algorithms = [\"ES256\"]\nmay_mint = [\"ci\"]\n[[issuer.ci.rule]]\nname = \"jobs\"\n\
                  kind = \"ci\"\n";
    let text = EXAMPLE.replacen(second, &format!("{issuer}{second}"), 1);
    // What stands between belongs to the policy.
    let text = text.replacen("[policy]\ndefault = \"deny\"", "", 1);
    let text =
        format!("{text}\n[policy]\ndefault = \"deny\"\n").replace("[[policy.rule]]", "[[nothing]]");
    let problems = folder().problems(&text).join("\n");
    assert!(
        problems.contains("target.prod.kubernetes: there is more than one issuer"),
        "{problems}"
    );
    let apart = text.replace("\"oidc:\"", "\"{issuer}#\"");
    let problems = folder().problems(&apart).join("\n");
    assert!(!problems.contains("target.prod.kubernetes: there is more than one"), "{problems}");
}

#[test]
fn a_kubeconfig_s_mistakes_are_told_at_its_key() {
    let key = "kubeconfig = \"staging.kubeconfig\"";
    for (from, to, wanted) in [
        (key, "kubeconfig = \"gone\"", "target.staging.kubernetes.kubeconfig: "),
        (key, "", "target.staging.kubernetes.kubeconfig: is missing; `context` is of one"),
        (
            "context = \"staging\"",
            "context = \"prod\"",
            "target.staging.kubernetes.kubeconfig: has no context \"prod\"; there are: staging",
        ),
        (
            key,
            "kubeconfig = \"staging.kubeconfig\"\nin_cluster = true",
            "target.staging.kubernetes.in_cluster: contradicts `kubeconfig`",
        ),
        (
            "recording = \"operations\"",
            "recording = \"operations\"\nurl = \"https://x\"\nbearer = \"file:cluster-token\"",
            "target.staging.url: has no use: the kubeconfig or the pod says it",
        ),
    ] {
        assert!(EXAMPLE.contains(from), "{from}");
        let problems = folder().problems(&EXAMPLE.replacen(from, to, 1)).join("\n");
        assert!(problems.contains(wanted), "{wanted}:\n{problems}");
        assert!(!problems.contains("canary"), "{problems}");
    }
    let folder = folder();
    let open = KUBECONFIG.replace("https://10.0.2.1:6443/base/", "http://10.0.2.1");
    folder.write("staging.kubeconfig", &open, 0o600);
    let problems = folder.problems(EXAMPLE).join("\n");
    assert!(problems.contains("its address must be https://"), "{problems}");
    folder.write("staging.kubeconfig", KUBECONFIG, 0o644);
    let problems = folder.problems(EXAMPLE).join("\n");
    assert!(problems.contains("is open to everybody"), "{problems}");
}
