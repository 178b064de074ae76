//! Mistakes, and the line that is told for each.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::Folder;

/// A configuration without a mistake, small enough to count lines in.
const GOOD: &str = r#"[[listen]]
address = "127.0.0.1:6432"
target = "orders"
allow_plain_text = true

[audit]
dir = "log"
store = "store"
log_id = "pg-1"
origin = "example.org/pg-1"
key = "file:log.key"

[issuer.corp]
iss = "https://login.example.org"
audiences = ["https://proxy.example.org"]
algorithms = ["ES256"]
may_mint = ["human"]
[[issuer.corp.rule]]
name = "people"
kind = "human"

[policy]
[[policy.rule]]
name = "read"
effect = "allow"
when = { class = "read" }

[masking]
[[masking.rule]]
entity = ["EMAIL_ADDRESS"]
client = { operator = "redact" }

[target.orders]
protocol = "postgres"
host = "db.example.org"
database = "orders"
[[target.orders.role]]
role = "reader"
"#;

#[test]
fn the_base_of_these_tests_has_no_mistake() {
    assert_eq!(Folder::new().problems(GOOD), Vec::<String>::new());
}

/// One replacement in `GOOD`, and the one problem that must follow from it.
const TABLE: &[(&str, &str, &str)] = &[
    ("[policy]\n", "[polcy]\n[policy]\n", "22:2: polcy: unknown section; did you mean `policy`?"),
    (
        "target = \"orders\"",
        "target = \"order\"",
        "3:1: listen[0].target: unknown target; did you mean `orders`?",
    ),
    (
        "\"127.0.0.1:6432\"",
        "\"0.0.0.0:6432\"",
        "4:1: listen[0].allow_plain_text: is for loopback addresses only; write `tls`",
    ),
    (
        "\"127.0.0.1:6432\"",
        "\"localhost\"",
        "2:1: listen[0].address: must be an IP address and a port, like \"127.0.0.1:6432\" or \"[::]:6432\"",
    ),
    (
        "allow_plain_text = true",
        "tls = { certificate = \"server.crt\", key = \"nowhere.key\" }",
        "4:37: listen[0].tls.key: nowhere.key: No such file or directory (os error 2)",
    ),
    (
        "allow_plain_text = true",
        "handshake_timeout = \"10\"\nallow_plain_text = true",
        "4:21: listen[0].handshake_timeout: must be a duration of 1ms to 24h, like \"10s\"",
    ),
    (
        "allow_plain_text = true",
        "carrier = \"oauthbearer\"\nscope = \"openid\"\nallow_plain_text = true",
        "1:1: listen[0].openid_configuration: is missing; `carrier = \"oauthbearer\"` needs it",
    ),
    (
        "allow_plain_text = true",
        "max_sql_bytes = \"16MiB\"\nallow_plain_text = true",
        "4:1: listen[0].max_sql_bytes: must be 4096 to 1048576 bytes",
    ),
    (
        "allow_plain_text = true",
        "max_sql_bytes = 4095\nallow_plain_text = true",
        "4:1: listen[0].max_sql_bytes: must be 4096 to 1048576 bytes",
    ),
    (
        "when = { class = \"read\" }",
        "when = { class = \"read\", functions = [] }",
        "26:26: policy.rule[0].when.functions: an empty list matches nothing",
    ),
    (
        "log_id = \"pg-1\"",
        "log_id = \"pg/1\"",
        "9:1: audit.log_id: must be 1 to 128 of a-z, A-Z, 0-9, `.`, `_`, `-`, not beginning with a dot",
    ),
    (
        "log_id = \"pg-1\"\n",
        "",
        "6:2: audit.log_id: is missing; name this instance's name, for ever",
    ),
    (
        "key = \"file:log.key\"",
        "key = \"env:LOG_KEY\"",
        "11:1: audit.key: the environment variable LOG_KEY is not set",
    ),
    (
        "key = \"file:log.key\"",
        "key = \"c2VjcmV0\"",
        "11:7: audit.key: must be \"env:NAME\" or \"file:/path\"; a secret itself does not belong here",
    ),
    (
        "key = \"file:log.key\"",
        "key = \"file:server.crt\"",
        "11:1: audit.key: server.crt is open to everybody; `chmod o= server.crt`",
    ),
    (
        "key = \"file:log.key\"",
        "key = \"file:log.key\"\nsegments = 1",
        "12:1: audit.segments: must be 2 to 999",
    ),
    ("algorithms = [\"ES256\"]\n", "", "13:9: issuer.corp.algorithms: is missing"),
    (
        "[[issuer.corp.rule]]\nname",
        "[[issuer.corp.rule]]\nkinds = 1\nname",
        "19:1: issuer.corp.rule[0].kinds: unknown key; did you mean `kind`?",
    ),
    (
        "when = { class = \"read\" }",
        "when = { class = \"raed\" }",
        "26:10: policy.rule[0].when.class: ",
    ),
    (
        "effect = \"allow\"",
        "effect = \"alow\"",
        "25:10: policy.rule[0].effect: must be one of allow, deny, hold; did you mean `allow`?",
    ),
    (
        "when = { class = \"read\" }",
        "when = { class = 3 }",
        "26:18: policy.rule[0].when.class: must be a text or a list of texts",
    ),
    ("{ operator = \"redact\" }", "{ operator = \"hash\" }", "31:"),
    (
        "[target.orders]\nprotocol",
        "[target.orders]\ndurabilty = \"store\"\nprotocol",
        "34:1: target.orders.durabilty: unknown key; did you mean `durability`?",
    ),
    (
        "protocol = \"postgres\"",
        "protocol = \"postgre\"",
        "34:1: target.orders.protocol: unknown protocol; did you mean `postgres`?",
    ),
    ("database = \"orders\"\n", "", "33:9: target.orders.database: is missing; name one, "),
    (
        "role = \"reader\"",
        "role = \"reader\"\npassword = \"env:PGPW\"",
        "39:1: target.orders.role[0].password: the environment variable PGPW is not set",
    ),
    (
        "role = \"reader\"",
        "role = \"reader\"\nkinds = [\"agent\"]",
        "39:1: target.orders.role[0].kinds: no issuer gives out the kind `agent`; there are: human",
    ),
    ("[[target.orders.role]]\nrole = \"reader\"\n", "", "33:9: target.orders.role: is missing; "),
    (
        "role = \"reader\"\n",
        "role = \"reader\"\n[[target.orders.role]]\nrole = \"never\"\n",
        "39:1: target.orders.role[1]: is never reached: target.orders.role[0] fits everybody",
    ),
    (
        "database = \"orders\"",
        "database = \"orders\"\nrecording = \"operations\"",
        "33:9: target.orders.operation: is missing; ",
    ),
    (
        "database = \"orders\"",
        "database = \"orders\"\ntls = \"disable\"\nauth = [\"cleartext\"]",
        "38:1: target.orders.auth: `cleartext` shows the password to the network; it needs TLS",
    ),
    (
        "database = \"orders\"",
        "database = \"orders\"\nport = \"5432\"",
        "37:8: target.orders.port: must be a whole number",
    ),
];

#[test]
fn each_mistake_is_told_with_its_place() {
    let folder = Folder::new();
    let here = format!("{}/", folder.dir().display());
    let mut wrong = Vec::new();
    for (from, to, expected) in TABLE {
        assert!(GOOD.contains(from), "{from}");
        let problems = folder.problems(&GOOD.replacen(from, to, 1));
        let found: Vec<String> = problems.iter().map(|p| p.replace(&here, "")).collect();
        if found.len() != 1 || !found[0].starts_with(expected) {
            wrong.push(format!("expected {expected}\n   found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mistakes_in_several_sections_are_told_together_in_order() {
    let text = GOOD
        .replace("127.0.0.1:6432", "nowhere")
        .replace("log_id =", "logid =")
        .replace("kind = \"human\"\n", "")
        .replace("effect = \"allow\"", "effect = \"perhaps\"\ncolour = 1\nshape = 2")
        .replace("iss = \"https://login.example.org\"\n", "")
        .replace("may_mint = [\"human\"]\n", "")
        .replace("role = \"reader\"", "rolle = \"reader\"");
    let problems = Folder::new().problems(&text);
    let lines: Vec<usize> =
        problems.iter().map(|p| p.split(':').next().unwrap().parse().unwrap()).collect();
    assert!(lines.is_sorted(), "{problems:#?}");
    for path in [
        "listen[0].address",
        "audit.logid",
        "issuer.corp.iss",
        "issuer.corp.may_mint",
        "issuer.corp.rule[0].kind",
        "policy.rule[0].effect",
        "policy.rule[0].colour",
        "policy.rule[0].shape",
        "target.orders.role[0].rolle",
    ] {
        assert!(
            problems.iter().any(|p| p.contains(&format!(" {path}: "))),
            "{path}: {problems:#?}"
        );
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let folder = Folder::new();
    for (from, to) in [
        ("role = \"reader\"", "role = \"reader\"\npassword = \"hunter2\""),
        ("role = \"reader\"", "role = \"reader\"\npassword = [\"hunter2\"]"),
        ("host = \"db.example.org\"", "host = \"db.example.org\"\nport = \"hunter2\""),
        ("[masking]", "[masking]\nkey = \"hunter2\""),
        ("key = \"file:log.key\"", "key = \"hunter2\""),
        ("dir = \"log\"", "dir = \"log\"\nsegment_bytes = \"hunter2\""),
    ] {
        let problems = folder.problems(&GOOD.replacen(from, to, 1));
        assert!(!problems.is_empty());
        assert!(!problems.concat().contains("hunter2"), "{problems:?}");
    }
}

#[test]
fn text_that_is_no_toml_is_told_with_its_line() {
    let problems = Folder::new().problems("[[listen]]\naddress = \n[audit\n");
    assert!(problems.len() >= 2, "{problems:?}");
    assert!(problems[0].starts_with("2:"), "{problems:?}");
    assert!(problems[1].starts_with("3:"), "{problems:?}");
    let twice = Folder::new().problems("[audit]\ndir = \"a\"\ndir = \"b\"\n");
    assert!(twice[0].starts_with("3:1:"), "{twice:?}");
}

#[test]
fn nothing_at_all_names_every_section_that_is_needed() {
    let problems = Folder::new().problems("");
    for section in ["listen", "audit", "issuer", "policy", "target"] {
        assert!(
            problems.iter().any(|p| p.starts_with(&format!("1:1: {section}: "))),
            "{problems:?}"
        );
    }
}

#[test]
fn every_line_gone_in_turn_never_panics() {
    let folder = Folder::new();
    for at in 0..GOOD.lines().count() {
        let rest: Vec<&str> =
            GOOD.lines().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| line).collect();
        drop(folder.problems(&rest.join("\n")));
    }
}
