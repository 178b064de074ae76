//! The command on a log that the demonstration made: exit statuses, rows from chunks, damage.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use demo::{Check, Event, Narrator, Options, Outcome, Until};
use serde_json::Value;
use tokio_postgres::{Client, NoTls};

/// Where the demonstration serves.
#[derive(Default)]
struct Listening(std::sync::Arc<std::sync::Mutex<Option<(u16, String)>>>);

impl Narrator for Listening {
    fn tell(&mut self, event: &Event<'_>) {
        if let Event::Serving { port, token, .. } = event {
            *self.0.lock().unwrap() = Some((*port, (*token).to_owned()));
        }
    }

    fn check(&mut self, check: Check) {
        assert!(check.held, "{}", check.name);
    }
}

/// A log of the demonstration, in which statements of ours follow.
async fn log_with<F>(dir: &Path, work: impl FnOnce(Client) -> F + Send + 'static) -> Outcome
where
    F: Future<Output = ()> + Send,
{
    let options = Options { dir: dir.to_owned(), show: demo::Show::Postgres { upstream: None } };
    let mut narrator = Listening::default();
    let at = narrator.0.clone();
    let until: Until = Box::pin(async move {
        let (port, token) = at.lock().unwrap().clone().unwrap();
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port).user("x").password(token).dbname("shop");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        work(client).await;
        connection.await.unwrap().unwrap();
    });
    demo::run(&options, &mut narrator, Some(until)).await.unwrap()
}

fn greffier(outcome: &Outcome, store: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_greffier"))
        .args(args)
        .env("GREFFIER_STORE", store)
        .env("GREFFIER_LOG_ID", outcome.log_id)
        .env("GREFFIER_KEY", &outcome.key)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_read_and_verified_and_damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let demo = dir.path().join("demo");
    let older = dir.path().join("older");
    let (live, copied) = (demo.join("store"), older.clone());
    let outcome = log_with(&demo, move |client| async move {
        copy(&live, &copied);
        let many = "SELECT a.id, a.name, b.item FROM customers a, orders b, orders c";
        assert!(client.simple_query(many).await.unwrap().len() > 2000);
        client.simple_query("SELECT '\x1b]0;owned\x07' AS title").await.unwrap();
    })
    .await;
    let store = outcome.store.clone();

    let listed = text(&greffier(&outcome, &store, &["audit", "list", "--json", "--last", "0"]));
    let items: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let big = items.iter().find(|item| item["outcome"]["rows"] == 2048).unwrap();
    let id = format!("{}/{}", big["session"].as_str().unwrap(), big["command"]);
    let shown = greffier(&outcome, &store, &["audit", "show", &id, "--rows", "2"]);
    assert!(text(&shown).contains("Ada Winter"), "{shown:?}");
    assert!(text(&shown).contains("2046 more rows"), "{shown:?}");

    // attack 17: what is recorded can't steer the terminal of who reads it
    for args in [&["audit", "list"][..], &["audit", "show", big["session"].as_str().unwrap()]] {
        let listed = text(&greffier(&outcome, &store, args));
        assert!(!listed.contains('\x1b') && listed.contains("\\x1b]0;owned\\x07"), "{listed}");
    }
    let denied = text(&greffier(&outcome, &store, &["audit", "list", "--verdict", "deny"]));
    assert_eq!(denied.lines().count(), 4, "{denied}");
    let nobodys = text(&greffier(&outcome, &store, &["audit", "list", "--principal", "bob"]));
    assert_eq!(nobodys.lines().count(), 1, "{nobodys}");

    let checked = greffier(&outcome, &store, &["verify", "--json"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((&report["ok"], &report["unread_entries"]), (&true.into(), &0.into()));
    assert!(report["chunks"].as_u64().unwrap() > 0, "{report}");

    // A chunk that an entry names is gone; the log's own objects are whole.
    let blobs = store.join("blobs");
    let blob = fs::read_dir(&blobs).unwrap().next().unwrap().unwrap();
    fs::rename(blob.path(), dir.path().join("blob")).unwrap();
    let checked = greffier(&outcome, &store, &["verify"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked).contains(blob.file_name().to_str().unwrap()), "{checked:?}");
    fs::rename(dir.path().join("blob"), blob.path()).unwrap();

    // An older copy is whole in itself; a remembered checkpoint tells.
    let remembered = store.join("logs/demo/checkpoint");
    let remembered = ["verify", "--remembered", remembered.to_str().unwrap()];
    assert_eq!(greffier(&outcome, &older, &["verify"]).status.code(), Some(0));
    assert_eq!(greffier(&outcome, &older, &remembered).status.code(), Some(1));
    assert_eq!(greffier(&outcome, &store, &remembered).status.code(), Some(0));

    // What can't be checked is neither.
    let nowhere = dir.path().join("nowhere");
    assert_eq!(greffier(&outcome, &nowhere, &["verify"]).status.code(), Some(2));
    assert!(!nowhere.exists(), "a reader makes no folders");
    let other = ["verify", "--log-id", "other"];
    assert_eq!(greffier(&outcome, &store, &other).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_statements_and_values_are_shown_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let demo = dir.path().join("demo");
    let outcome = log_with(&demo, |client| async move {
        let long = format!("SELECT 'begin{}end' AS words", " word".repeat(30_000));
        client.simple_query(&long).await.unwrap();
        let value = format!("first{}last", " value".repeat(20_000));
        client.query("SELECT $1 AS given", &[&value]).await.unwrap();
    })
    .await;
    let store = outcome.store.clone();
    let listed = text(&greffier(&outcome, &store, &["audit", "list", "--json"]));
    let items: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let show = |item: &Value, more: &[&str]| {
        let id = format!("{}/{}", item["session"].as_str().unwrap(), item["command"]);
        greffier(&outcome, &store, &[&["audit", "show", &id], more].concat())
    };

    let statement = items.iter().find(|item| !item["text_chunks"].is_null()).unwrap();
    let short = text(&show(statement, &[]));
    assert!(short.contains("SELECT 'begin") && !short.contains("end' AS words"), "{short}");
    assert!(short.contains("more bytes of the statement (see --full)"), "{short}");
    assert!(short.len() < 40_000, "{}", short.len());
    assert!(text(&show(statement, &["--full"])).contains("word wordend' AS words"));

    let bound = items.iter().find(|item| !item["parameter_chunks"].is_null()).unwrap();
    let short = text(&show(bound, &["--rows", "0"]));
    assert!(
        short.contains("first value") && short.contains("values are cut (see --full)"),
        "{short}"
    );
    assert!(!short.contains("valuelast"), "{short}");
    let full = text(&show(bound, &["--full", "--json"]));
    let full: Value = serde_json::from_str(&full).unwrap();
    let given = full["exchange"]["parameters"][0]["value"].as_str().unwrap();
    assert!(given.starts_with("first value") && given.ends_with("valuelast"));

    // What was changed in the store is not shown.
    for (item, chunks) in [(statement, "text_chunks"), (bound, "parameter_chunks")] {
        let name = item[chunks][0].as_str().unwrap();
        let blob = fs::read_dir(store.join("blobs")).unwrap().map(|entry| entry.unwrap().path());
        let blob = blob.into_iter().find(|path| path.ends_with(name)).unwrap();
        let mut bytes = fs::read(&blob).unwrap();
        bytes[100] ^= 1;
        fs::write(&blob, bytes).unwrap();
        let refused = show(item, &["--full"]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(name), "{refused:?}");
        assert!(refused.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_are_read_without_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let demo = dir.path().join("demo");
    let outcome = log_with(&demo, |client| async move {
        for n in 0..900 {
            // The demonstration's log is small: its store must keep up.
            while client.simple_query(&format!("SELECT {n} AS n")).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    })
    .await;
    let store = outcome.store.clone();
    let all = text(&greffier(&outcome, &store, &["audit", "list", "--json", "--last", "0"]));
    let newest = ["audit", "list", "--json", "--last", "7"];
    let seven = text(&greffier(&outcome, &store, &newest));
    assert_eq!(seven.lines().count(), 7);
    assert!(all.ends_with(&seven));
    assert!(seven.contains("SELECT 899 AS n") && seven.contains("SELECT 893 AS n"), "{seven}");
    let last: Value = serde_json::from_str(seven.lines().last().unwrap()).unwrap();
    let entry = format!("#{}", last["index"]);
    let id = format!("{}/{}", last["session"].as_str().unwrap(), last["command"]);

    // The first bundle is gone: whoever needs it fails, the others don't.
    fs::remove_file(store.join("logs/demo/tile/entries/000")).unwrap();
    assert_eq!(text(&greffier(&outcome, &store, &newest)), seven);
    for shown in [&id, &entry] {
        let shown = greffier(&outcome, &store, &["audit", "show", shown]);
        assert!(text(&shown).contains("SELECT 899 AS n"), "{shown:?}");
    }
    let since = last["time"].as_str().unwrap();
    let since = greffier(&outcome, &store, &["audit", "list", "--last", "1", "--since", since]);
    assert!(text(&since).contains("SELECT 899 AS n"), "{since:?}");
    for all in [&["audit", "list", "--last", "0"][..], &["audit", "list", "--principal", "nobody"]]
    {
        assert_eq!(greffier(&outcome, &store, all).status.code(), Some(2));
    }
}

#[test]
fn a_rule_that_can_never_fire_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file: PathBuf = dir.path().join("greffier.toml");
    let rules = "[[policy.rule]]\nname = \"all\"\neffect = \"deny\"\n\n\
                 [[policy.rule]]\nname = \"never\"\neffect = \"allow\"\nwhen = { class = [\"read\"] }\n";
    fs::write(&file, rules).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_greffier"))
        .args(["policy", "check", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let told = text(&checked);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("greffier.toml:5:"), "{told}");
}
