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
    assert_eq!(loaded.targets.names(), ["billing", "files", "tools", "wiki"]);
    let [billing, files, tools, wiki] = &loaded.targets.http[..] else { panic!() };
    assert_eq!(billing.max_body, Some(10 << 20));
    assert_eq!((billing.upstream.port, &*billing.upstream.path), (9000, "/api"));
    assert!(tools.mcp.as_ref().is_some_and(|mcp| mcp.elicitation && !mcp.sampling));
    let program = files.mcp.as_ref().and_then(|mcp| mcp.program.as_ref()).unwrap();
    assert!(format!("{program:?}").contains("/usr/bin/node"));
    assert!(tools.mcp.as_ref().is_some_and(|mcp| mcp.program.is_none()));
    assert!(wiki.upgrades && wiki.upstream.tls.is_some() && wiki.mcp.is_none());
    assert!(!format!("{loaded:?}").contains("canary"));
    let config::Protocol::Http(own) = &loaded.listeners[0].protocol else { panic!() };
    assert_eq!(own.authorization_servers, ["https://login.example.org"]);
    assert_eq!(own.login.as_ref().unwrap().iss(), "https://login.example.org");
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
        ("issuer = \"corp\"", "issuer = \"corq\""),
        ("path = \"/tools\"", "path = \"/tools/../x\""),
        ("sampling = false", "sampler = false"),
    ];
    let text = changes.iter().fold(EXAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let problems = folder().problems(&text).join("\n");
    for wanted in [
        "listen[0].login.issuer: there is no issuer `corq`",
        "target.wiki.hosts[0]: must be a name",
        "target.wiki.hosts[1]: must be a name",
        "target.billing.path: must begin with a slash",
        "target.billing: `bearer`, `basic` and `header` exclude one another",
        "target.tools.mcp.sampler: unknown key; there are: sampling",
    ] {
        assert!(problems.contains(wanted), "{wanted}:\n{problems}");
    }
    let id_token = EXAMPLE.replace("scopes = [\"profile\"]", "token = \"id_token\"");
    let problems = folder().problems(&id_token).join("\n");
    assert!(problems.contains("listen[0].login.token: an ID token needs"), "{problems}");
    let two = EXAMPLE.replace("path = \"/tools\"", "path = \"/billing\"");
    let env = [("BILLING_TOKEN", "canary-billing")];
    let problems = folder().load(&two, &env).unwrap_err().to_string();
    assert!(problems.contains("is for the same requests as target.billing"), "{problems}");
}

#[test]
fn an_assertion_needs_a_key_and_says_who_speaks_to_whom() {
    let with = |section: &str, key: Option<&str>| {
        let folder = folder();
        if let Some(key) = key {
            folder.write("assertion.key", key, 0o600);
        }
        let text = format!("{EXAMPLE}\n[target.wiki.assertion]\n{section}\n");
        folder.load(&text, &[("BILLING_TOKEN", "canary-billing")])
    };
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let whole = "key = \"file:assertion.key\"\nissuer = \"https://g\"\naudience = \"w\"";
    let loaded = with(whole, Some(&key)).unwrap_or_else(|p| panic!("{p}"));
    let wiki = loaded.targets.http.iter().find(|it| &*it.gate.name == "wiki").unwrap();
    let assertion = wiki.assertion.as_ref().unwrap();
    assert_eq!((&*assertion.issuer, &*assertion.audience), ("https://g", "w"));
    for (section, key, wanted) in [
        ("", None, &["key: is missing", "issuer: is missing", "audience: is missing"][..]),
        (whole, Some("canary"), &["key: is no private key in PEM"]),
        (&format!("{whole}\nlifetime = \"2h\""), Some(&*key), &["lifetime: must be 1s to 3600s"]),
    ] {
        let problems = with(section, key).unwrap_err().to_string();
        for wanted in wanted {
            let wanted = format!("target.wiki.assertion.{wanted}");
            assert!(problems.contains(&wanted), "{wanted}: {problems}");
        }
        assert!(!problems.contains("canary"), "{problems}");
    }
}

#[test]
fn a_program_that_could_be_another_is_a_mistake() {
    let problems_with = |from: &str, to: &str| {
        assert!(EXAMPLE.contains(from), "{from}");
        let env = [("BILLING_TOKEN", "canary-billing")];
        folder().load(&EXAMPLE.replacen(from, to, 1), &env).unwrap_err().to_string()
    };
    for (from, to, wanted) in [
        ("\"/usr/bin/node\"", "\"node\"", "files.mcp.command: must begin with the program's whole"),
        ("directory = \"/srv/shared\"", "", "files.mcp.directory: is missing"),
        ("pass = [\"LANG\"]", "pass = [\"A=B\"]", "files.mcp.pass[0]: must be a name"),
        ("max_processes = 32", "max_processes = 0", "files.mcp.max_processes: must be 1 to"),
        (
            "max_processes = 32",
            "environment = { KEY = \"secret\" }",
            "a secret itself does not belong here",
        ),
        ("path = \"/files\"", "path = \"/files\"\nurl = \"http://x\"", "files.url: has no use"),
        ("command = [", "# command = [", "files.mcp.command: is missing"),
    ] {
        let problems = problems_with(from, to);
        assert!(problems.contains(wanted), "{wanted}:\n{problems}");
    }
}

#[test]
fn each_kind_of_credential_is_what_the_service_gets() {
    use base64::Engine as _;
    let env = [("BILLING_TOKEN", "canary-billing")];
    let basic = base64::engine::general_purpose::STANDARD.encode("u:canary-billing");
    for (written, name, value) in [
        ("bearer = \"env:BILLING_TOKEN\"", "authorization", "Bearer canary-billing".to_owned()),
        (
            "basic = { user = \"u\", password = \"env:BILLING_TOKEN\" }",
            "authorization",
            format!("Basic {basic}"),
        ),
        (
            "header = { name = \"X-Api-Key\", value = \"env:BILLING_TOKEN\" }",
            "x-api-key",
            "canary-billing".to_owned(),
        ),
    ] {
        let text = EXAMPLE.replacen("bearer = \"env:BILLING_TOKEN\"", written, 1);
        let loaded = folder().load(&text, &env).unwrap_or_else(|p| panic!("{p}"));
        let credential = &loaded.targets.http[0].upstream.credential;
        let http_proxy::Credential::Field(its_name, its_value) = credential else {
            panic!("{credential:?}")
        };
        assert_eq!((its_name.as_str(), its_value.to_str().unwrap()), (name, &*value));
        assert!(its_value.is_sensitive() && !format!("{loaded:?}").contains("canary"));
    }
    // A certificate of ours, with its key.
    let text = EXAMPLE.replacen(
        "tls_ca = \"internal-ca.crt\"",
        "tls_ca = \"internal-ca.crt\"\ntls_certificate = \"warehouse-client.crt\"\n\
         tls_key = \"warehouse-client.key\"",
        1,
    );
    let certified = |text: &str| {
        let loaded = folder().load(text, &env).unwrap_or_else(|p| panic!("{p}"));
        let tls = loaded.targets.http[3].upstream.tls.clone();
        tls.unwrap().client_auth_cert_resolver.has_certs()
    };
    assert!(certified(&text) && !certified(EXAMPLE));
}

#[test]
fn attack_34_a_rule_that_waits_for_an_approval_is_refused_as_long_as_nobody_can_give_one() {
    let from = "effect = \"deny\"";
    assert!(EXAMPLE.contains(from));
    let problems = folder().problems(&EXAMPLE.replacen(from, "effect = \"hold\"", 1)).join("\n");
    assert!(problems.contains("hold is not available yet"), "{problems}");
}
