//! What an opened instance does by itself.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use config::Instance;
use support::Folder;

#[tokio::test]
async fn keys_are_fetched_when_nobody_logs_in() {
    let folder = Folder::new();
    // Nothing answers there: the fetch is seen by its failure.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        r#"
        [[listen]]
        address = "127.0.0.1:0"
        target = "main"
        allow_plain_text = true
        [audit]
        dir = "log"
        store = "store"
        log_id = "one"
        origin = "{origin}"
        key = "file:log.key"
        segments = 4
        segment_bytes = "1MiB"
        [issuer.main]
        iss = "http://{silent}"
        audiences = ["a"]
        algorithms = ["ES256"]
        may_mint = ["human"]
        allow_insecure_loopback = true
        [[issuer.main.rule]]
        name = "people"
        kind = "human"
        [policy]
        [[policy.rule]]
        name = "read"
        effect = "allow"
        when = {{ class = ["read"] }}
        [target.main]
        protocol = "postgres"
        host = "127.0.0.1"
        tls = "disable"
        database = "x"
        [[target.main.role]]
        role = "x"
        "#,
        origin = support::ORIGIN,
    );
    let loaded = folder.load(&text, &[]).unwrap_or_else(|p| panic!("{p}"));
    let instance = Instance::open(&loaded, "test").await.unwrap();
    let verifier = instance.verifier.clone();
    while verifier.key_problems().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(verifier.key_problems()[0].0, "main");
    instance.seal(Duration::from_secs(60)).await.unwrap();
}
