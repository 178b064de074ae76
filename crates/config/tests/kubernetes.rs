//! Kubernetes' sections: the example, and mistakes in them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::Folder;

const EXAMPLE: &str = include_str!("../../../greffier-kubernetes.example.toml");

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
    folder
}

#[test]
fn the_example_has_no_mistake() {
    let loaded = folder().load(EXAMPLE, &[]).unwrap_or_else(|p| panic!("{p}"));
    let [prod, test] = &loaded.targets.http[..] else { panic!() };
    let of_prod = prod.kubernetes.as_ref().unwrap();
    assert_eq!((&*of_prod.user_prefix, of_prod.proxied), ("oidc:", false));
    assert!(prod.upgrades && test.kubernetes.is_some());
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
        ("level = \"Metadata\"", "level = \"None\""),
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
        "target.prod.kubernetes.audit[0].level: must be at least Metadata",
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
