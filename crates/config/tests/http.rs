//! HTTP's sections: the example, and mistakes in them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use support::Folder;

const EXAMPLE: &str = include_str!("../../../greffier-http.example.toml");

fn folder() -> Folder {
    let folder = Folder::new();
    std::fs::copy(folder.path("orders-ca.crt"), folder.path("internal-ca.crt")).unwrap();
    folder
}

#[test]
fn the_example_has_no_mistake() {
    let env = [("BILLING_TOKEN", "canary-billing")];
    let loaded = folder().load(EXAMPLE, &env).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(loaded.targets.names(), ["billing", "tools", "wiki"]);
    let [billing, tools, wiki] = &loaded.targets.http[..] else { panic!() };
    assert_eq!(billing.max_body, Some(10 << 20));
    assert_eq!((billing.upstream.port, &*billing.upstream.path), (9000, "/api"));
    assert!(tools.mcp.as_ref().is_some_and(|mcp| mcp.elicitation && !mcp.sampling));
    assert!(wiki.upgrades && wiki.upstream.tls.is_some() && wiki.mcp.is_none());
    assert!(!format!("{loaded:?}").contains("canary"));
    let config::Protocol::Http(own) = &loaded.listeners[0].protocol else { panic!() };
    assert_eq!(own.authorization_servers, ["https://login.example.org"]);
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let changes = [
        ("hosts = [\"wiki.example.org\"]", "hosts = [\"wiki.example.org:443\", \"\"]"),
        ("path = \"/billing\"", "path = \"billing/\""),
        (
            "bearer = \"env:BILLING_TOKEN\"",
            "bearer = \"env:BILLING_TOKEN\"\nbasic = { user = \"u\" }",
        ),
        ("url = \"http://127.0.0.1:3000\"", "url = \"http://u:p@127.0.0.1?x\"\ntls_ca = \"x\""),
        ("path = \"/tools\"", "path = \"/tools/../x\""),
        ("sampling = false", "sampler = false"),
    ];
    let text = changes.iter().fold(EXAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let problems = folder().problems(&text).join("\n");
    for wanted in [
        "target.wiki.hosts[0]: must be a name",
        "target.wiki.hosts[1]: must be a name",
        "target.billing.path: must begin with a slash",
        "target.billing: `bearer`, `basic` and `header` exclude one another",
        "target.tools.mcp.sampler: unknown key; there are: sampling",
    ] {
        assert!(problems.contains(wanted), "{wanted}:\n{problems}");
    }
    let two = EXAMPLE.replace("path = \"/tools\"", "path = \"/billing\"");
    let env = [("BILLING_TOKEN", "canary-billing")];
    let problems = folder().load(&two, &env).unwrap_err().to_string();
    assert!(problems.contains("is for the same requests as target.billing"), "{problems}");
}
