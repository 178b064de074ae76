//! Recording levels, durability levels, leases, and the ways in which a client is turned away.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod rig;

use std::process::Stdio;
use std::time::Duration;

use dev_issuer::Claims;
use gate::{Durability, RecordingLevel};
use rig::{AUDIENCE, Plan, Rig};
use testbed::{PgOptions, Postgres, require};

fn server() -> Option<Postgres> {
    require(Postgres::start(PgOptions::default()))
}

#[test]
fn commands_keeps_statements_and_outcomes_but_no_answers() {
    let Some(pg) = server() else { return };
    let rig = Rig::with(pg.port(), Plan { recording: RecordingLevel::Commands, ..Plan::default() });
    let (out, _) = rig.psql(&["-c", "SELECT 'seen' AS a FROM generate_series(1, 2000)"]);
    assert_eq!(out.lines().count(), 2000);
    rig.settle();
    let response = &rig.entries_of("response")[0];
    assert_eq!((&response["rows"], &response["outcome"]), (&2000.into(), &"ok".into()));
    assert!(response.get("data").is_none() && response.get("chunks").is_none(), "{response}");
    assert!(rig.entries_of("output").is_empty());
}

#[test]
fn operations_names_what_a_rule_names_and_counts_the_rest() {
    let Some(pg) = server() else { return };
    let plan = Plan {
        recording: RecordingLevel::Operations,
        policy: "default = \"allow\"\n[[rule]]\nname = \"no-drop\"\neffect = \"deny\"\n\
            when = { operations = [\"DROP *\"] }"
            .into(),
        operations: Some(
            "default = \"deny\"\n[[rule]]\nname = \"backup started\"\neffect = \"allow\"\n\
            when = { operations = [\"COPY\"] }"
                .into(),
        ),
        ..Plan::default()
    };
    let rig = Rig::with(pg.port(), plan);
    rig.psql(&[
        "-c",
        "SELECT 1",
        "-c",
        "COPY (SELECT 42) TO STDOUT",
        "-c",
        "SELECT 2",
        "-c",
        "DROP TABLE x",
    ]);
    rig.settle();
    let commands = rig.entries_of("command");
    let operations: Vec<_> = commands.iter().map(|c| c["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["backup started", "DROP TABLE"]);
    assert!(commands.iter().all(|c| c.get("text").is_none()), "{commands:?}");
    assert_eq!(commands[1]["verdict"], "deny");
    let end = &rig.entries_of("session_end")[0];
    assert_eq!((&end["commands"], &end["unrecorded"]), (&4.into(), &2.into()));
}

#[test]
fn every_durability_level_serves() {
    let Some(pg) = server() else { return };
    for durability in [
        Durability::BeforeExecute,
        Durability::BeforeResponse,
        Durability::BeforeRelease,
        Durability::Store,
    ] {
        let rig = Rig::with(pg.port(), Plan { durability, ..Plan::default() });
        let (out, err) = rig.psql(&[
            "-c",
            "SELECT i, repeat('y', 50) FROM generate_series(1, 3000) i",
            "-c",
            "SELECT 'end'",
        ]);
        assert_eq!((out.lines().count(), err.as_str()), (3001, ""), "{durability:?}");
        rig.settle();
        assert_eq!(rig.entries_of("response").len(), 2, "{durability:?}");
        if durability == Durability::Store {
            assert!(rig.publisher.published() >= 4, "what was answered is in the store");
        }
        if durability == Durability::BeforeRelease {
            assert!(!rig.entries_of("output").is_empty(), "every part is an entry");
        }
    }
}

#[test]
fn attack_35_the_end_of_a_lease_ends_the_session_and_its_statement() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mut psql = rig.psql_command(&rig.token("alice"));
    let child = psql
        .args(["-c", "SELECT pg_sleep(60)"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' \
        AND pid <> pg_backend_pid() AND state = 'active'";
    let wait_for = |wanted: &str| {
        for _ in 0..1200 {
            if pg.psql(sleeping).unwrap() == wanted {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    };
    assert!(wait_for("1"), "the statement runs");
    let selector =
        identity::Selector::Principal { issuer: rig.issuer.iss().into(), subject: "alice".into() };
    assert_eq!(rig.verifier.leases().end(&selector, "left the company"), 1);
    let out = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(err.contains("FATAL") && err.contains("left the company"), "{err}");
    assert!(wait_for("0"), "the statement was cancelled on the server");
    rig.settle();
    assert_eq!(rig.entries_of("response")[0]["outcome"], "lost");
    let end = &rig.entries_of("session_end")[0];
    assert!(end["reason"].as_str().unwrap().contains("left the company"), "{end}");
    // Tokens of the second of the revocation are refused too.
    std::thread::sleep(Duration::from_millis(1100));
    let (_, err) = rig.psql(&["-c", "SELECT 1"]);
    assert_eq!(err, "", "a token issued later is good again");
}

#[test]
fn attack_35_a_token_that_expires_ends_the_session_and_its_statement() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let claims = Claims::new("alice")
        .audience(AUDIENCE)
        .client("people")
        .with("exp", (now.as_secs() + 5).into());
    let mut psql = rig.psql_command(&rig.issuer.mint(claims).unwrap());
    let out = psql.args(["-c", "SELECT pg_sleep(600)"]).output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(err.contains("FATAL") && err.contains("expired"), "{err}");
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' \
        AND pid <> pg_backend_pid() AND state = 'active'";
    let begun = std::time::Instant::now();
    while pg.psql(sleeping).unwrap() != "0" {
        assert!(begun.elapsed() < Duration::from_secs(60), "it still runs on the server");
        std::thread::sleep(Duration::from_millis(50));
    }
    rig.settle();
    assert_eq!(rig.entries_of("response")[0]["outcome"], "lost");
    let end = &rig.entries_of("session_end")[0];
    assert!(end["reason"].as_str().unwrap().contains("expired"), "{end}");
}

#[test]
fn who_is_turned_away_is_told_why_and_is_on_record() {
    let Some(pg) = server() else { return };
    let rig = Rig::start(pg.port());
    let mint = |claims: Claims| rig.issuer.mint(claims.client("people")).unwrap();
    // Beyond the clock skew that an issuer is granted.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let past = Claims::new("a")
        .audience(AUDIENCE)
        .with("iat", (now.as_secs() - 600).into())
        .with("exp", (now.as_secs() - 300).into());
    let tokens = [
        ("expired", mint(past)),
        ("audience", mint(Claims::new("a").audience("https://elsewhere"))),
        ("malformed", "hunter2".to_owned()),
        ("no_rule", rig.issuer.mint(Claims::new("a").audience(AUDIENCE).client("x")).unwrap()),
        ("too_long", format!("{}.x.y", "x".repeat(20_000))),
    ];
    for (_, token) in &tokens {
        let (out, err) = rig.psql_as(token, &["-c", "SELECT 1"]);
        assert_eq!(out, "");
        assert!(err.contains("FATAL") && err.contains("greffier"), "{err}");
        assert!(!err.contains(token.as_str()), "the token is not repeated");
    }
    let failures = rig.entries_of("auth_failure");
    let causes: Vec<_> = failures.iter().map(|it| it["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, tokens.each_ref().map(|(cause, _)| *cause), "{failures:#?}");
    let log = serde_json::to_string(&rig.entries()).unwrap();
    for (cause, token) in &tokens {
        assert!(!log.contains(token.as_str()), "{cause}: the token is not on record");
    }
    assert!(rig.entries_of("session_start").is_empty());
}

#[test]
fn the_first_role_that_fits_who_asks_is_the_one_they_get() {
    let Some(pg) = server() else { return };
    pg.psql("CREATE ROLE reader LOGIN; CREATE ROLE robot LOGIN; CREATE ROLE rest LOGIN").unwrap();
    let rule = |role: &str| postgres::RoleRule {
        kinds: vec![],
        groups: vec![],
        subjects: vec![],
        role: postgres::Role::Named(role.into()),
        password: None,
    };
    let roles = vec![
        postgres::RoleRule { kinds: vec![identity::Kind::Agent], ..rule("robot") },
        postgres::RoleRule { subjects: vec!["alice".into(), "carol".into()], ..rule("reader") },
        postgres::RoleRule { groups: vec!["nobody-is-in-it".into()], ..rule("rest") },
    ];
    let rig = Rig::with(pg.port(), Plan { roles, ..Plan::default() });
    for (token, role) in [
        (rig.token("alice"), "reader\n"),
        (rig.token("carol"), "reader\n"),
        // By its kind, though it acts for somebody whom another rule names.
        (rig.agent_token("agent-7", "alice"), "robot\n"),
    ] {
        let (out, err) = rig.psql_as(&token, &["-c", "SELECT session_user"]);
        assert_eq!((out.as_str(), err.as_str()), (role, ""));
    }
    let (out, err) = rig.psql_as(&rig.token("bob"), &["-c", "SELECT session_user"]);
    assert!(out.is_empty() && err.contains("no role on this target"), "{err}");
    let refused = rig.entries_of("auth_failure");
    assert_eq!(refused.len(), 1, "{refused:#?}");
    assert_eq!(refused[0]["cause"], "no_role");
}

#[test]
fn the_server_sees_who_acts_and_for_whom() {
    let Some(pg) = server() else { return };
    let plan = Plan {
        application_name: postgres::ApplicationName::Principal,
        role: postgres::Role::Named("postgres".into()),
        ..Plan::default()
    };
    let rig = Rig::with(pg.port(), plan);
    let token = rig.agent_token("agent-7", "alice");
    let (out, err) = rig.psql_as(&token, &["-c", "SHOW application_name"]);
    assert_eq!((out.as_str(), err.as_str()), ("agent-7 for alice: psql\n", ""));
    rig.settle();
    let command = &rig.entries_of("command")[0];
    assert_eq!(command["principal"]["subject"], "agent-7");
    assert_eq!(command["principal"]["kind"], "agent");
    assert_eq!(command["principal"]["on_behalf_of"][0]["subject"], "alice");
}
