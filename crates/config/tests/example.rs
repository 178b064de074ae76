//! The example at the top of the repository is accepted, and says what it says it says.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use support::Folder;

const EXAMPLE: &str = include_str!("../../../greffier.example.toml");

const ENVIRONMENT: [(&str, &str); 3] = [
    ("GREFFIER_MASKING_KEY", "canary-masking-key-0123456789"),
    ("ORDERS_MIGRATOR_PASSWORD", "canary-migrator"),
    ("ORDERS_WRITER_PASSWORD", "canary-writer"),
];

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("orders-reader.password", "canary-reader\n", 0o600);
    folder
}

#[test]
fn the_example_is_accepted() {
    let folder = folder();
    let loaded = folder.load(EXAMPLE, &ENVIRONMENT).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(loaded.targets.names(), ["orders", "warehouse"]);
    assert_eq!(loaded.listeners.len(), 2);
    assert_eq!(loaded.serve.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(loaded.audit.segment_bytes, 64 << 20);
    assert_eq!(loaded.audit.signer.name(), support::ORIGIN);
    assert_eq!(loaded.sha256.len(), 64);
    let orders = &loaded.targets.postgres[0];
    assert_eq!(orders.roles.len(), 3);
    assert!(orders.upstream.tls.is_some());
    assert!(!orders.upstream.methods.none && orders.upstream.methods.scram);
    // The newline at the end of the file is not part of the password.
    assert_eq!(orders.roles[2].password.as_ref().unwrap().expose(), b"canary-reader");
    let warehouse = &loaded.targets.postgres[1];
    assert!(warehouse.gate.operations.is_some());
    assert!(warehouse.upstream.methods.none, "the server may take our certificate for enough");
}

#[test]
fn secrets_are_never_shown() {
    let folder = folder();
    let loaded = folder.load(EXAMPLE, &ENVIRONMENT).unwrap();
    let shown = format!("{loaded:?} {loaded:#?}");
    assert!(!shown.contains("canary"), "{shown}");
    let seed = std::fs::read_to_string(folder.path("log.key")).unwrap();
    assert!(!shown.contains(seed.trim()));
}

#[test]
fn every_secret_of_the_example_that_cannot_be_had_is_told_at_once() {
    let folder = Folder::new();
    let problems = folder.problems(EXAMPLE);
    let about = |text: &str| problems.iter().filter(|problem| problem.contains(text)).count();
    assert_eq!(about("is not set"), 3, "{problems:#?}");
    assert_eq!(about("orders-reader.password"), 1, "{problems:#?}");
}
