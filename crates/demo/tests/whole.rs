//! The demonstration from beginning to end, with its embedded target.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::sync::{Arc, Mutex};

use demo::{Json, Options, Show, Text, run};
use serde_json::Value;
use trail::term::Style;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expectation_holds() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().join("demo"), show: Show::Postgres { upstream: None } };
    let out = Shared::default();
    let outcome = run(&options, &mut Text::new(out.clone(), Style::default(), "greffier"), None)
        .await
        .unwrap();
    let told = out.text();
    assert!(outcome.is_ok(), "{told}");
    assert_eq!(outcome.checks.len(), 13, "{told}");
    assert!(told.contains("42501"), "{told}");
    assert!(told.contains("agents-name-their-rows"), "{told}");
    assert!(!told.contains('\x1b'), "no colours where none are wanted");
    assert!(outcome.key.is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn served_until_told_to_end_and_told_in_json() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().join("demo"), show: Show::Postgres { upstream: None } };
    let out = Shared::default();
    let until = {
        let out = out.clone();
        let dir = options.dir.clone();
        Box::pin(async move {
            let serving =
                out.text().lines().find(|line| line.contains("\"serving\"")).map(str::to_owned);
            let serving: Value = serde_json::from_str(&serving.unwrap()).unwrap();
            let (client, connection) = tokio_postgres::Config::new()
                .host("127.0.0.1")
                .port(u16::try_from(serving["data"]["port"].as_u64().unwrap()).unwrap())
                .user("somebody")
                .password(serving["data"]["token"].as_str().unwrap())
                .dbname("shop")
                .connect(tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            // Types, NULL and an error of the target itself come through.
            let row = client.query_one("SELECT id, NULL AS n FROM orders WHERE id = $1", &[&"2"]);
            let row = row.await.unwrap();
            assert_eq!((row.get::<_, i64>(0), row.get::<_, Option<String>>(1)), (2, None));
            let error = client.simple_query("SELECT * FROM nowhere").await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "42P01");
            client
                .batch_execute("BEGIN; UPDATE orders SET status = 'x' WHERE id = 1; ROLLBACK")
                .await
                .unwrap();
            let row =
                client.query_one("SELECT status FROM orders WHERE id = 1", &[]).await.unwrap();
            assert_eq!(row.get::<_, String>(0), "open");
            assert!(dir.join("store/logs/demo/checkpoint").is_file(), "published meanwhile");
        })
    };
    let outcome = run(&options, &mut Json::new(out.clone()), Some(until)).await.unwrap();
    assert!(outcome.is_ok(), "{}", out.text());
    let lines: Vec<Value> =
        out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["event"], &last["data"]["ok"]), (&"done".into(), &true.into()));
    let trail = lines.iter().find(|line| line["event"] == "trail").unwrap();
    let masked =
        trail["data"].as_array().unwrap().iter().any(|item| {
            item["type"] == "exchange" && item["outcome"]["masked"]["CREDIT_CARD"] == 1
        });
    assert!(masked, "{trail:#}");
}

#[tokio::test]
async fn a_folder_that_is_not_empty_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "x").unwrap();
    let options = Options { dir: dir.path().to_owned(), show: Show::Postgres { upstream: None } };
    let out = Shared::default();
    let refused = run(&options, &mut Json::new(out), None).await.unwrap_err();
    assert!(refused.to_string().contains("is not empty"));
}
