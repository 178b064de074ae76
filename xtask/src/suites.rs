//! `cargo xtask suites`.

use testbed::suites::{self, SuiteResult, Through};
use testbed::{Error, PgOptions, Postgres};

use crate::stage::{cargo, in_ci, show, stage};

type Suite = fn(&Through) -> Result<SuiteResult, Error>;

const SUITES: [(&str, Suite); 3] = [
    ("pipeline", suites::libpq_pipeline),
    ("isolation", suites::isolation),
    ("regress", suites::pg_regress),
];

pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let mut through =
        Through { host: "127.0.0.1".into(), user: "postgres".into(), ..Through::default() };
    let mut chosen: Vec<&str> = Vec::new();
    let (mut bulk, mut kill9, mut rounds) = (false, false, "1000".to_owned());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match *arg {
            "--host" => through.host = (*value()?).to_owned(),
            "--port" => through.port = value()?.parse().map_err(|_| "--port needs a number")?,
            "--user" => through.user = (*value()?).to_owned(),
            "--ca" => through.authority = Some((*value()?).into()),
            "ssh-bulk" => bulk = true,
            "kill9" => kill9 = true,
            "--rounds" => rounds = (*value()?).to_owned(),
            name if SUITES.iter().any(|(n, _)| *n == name) => chosen.push(name),
            other => return Err(format!("suites: unknown option or suite {other:?}")),
        }
    }
    through.password = std::env::var("PGPASSWORD").ok();
    if bulk {
        let mut test = cargo();
        test.args(["test", "-p", "ssh", "--test", "bulk", "--"]);
        test.args(["--nocapture", "--test-threads=1"]);
        return stage("1 GiB each way through SSH", || show(test.env("GREFFIER_BULK_MIB", "1024")));
    }
    if kill9 {
        crate::packages::ensure()?;
        let mut test = cargo();
        test.args(["test", "-p", "greffier-postgres", "--test", "crash", "--", "--nocapture"]);
        let heading = format!("{rounds} kills of greffier-postgres under pgbench");
        return stage(&heading, || show(test.env("GREFFIER_CRASH_ROUNDS", rounds)));
    }
    let mut own = None;
    if through.port == 0 {
        crate::packages::ensure()?;
        let options = PgOptions {
            log_statements: false,
            max_prepared_transactions: 10,
            ..PgOptions::default()
        };
        let pg = Postgres::start(options).map_err(|e| e.to_string())?;
        through.port = pg.port();
        own = Some(pg);
    }
    let mut bad = Vec::new();
    for (name, suite) in SUITES {
        if chosen.is_empty() || chosen.contains(&name) {
            let heading = format!("suite {name} at {}:{}", through.host, through.port);
            if stage(&heading, || one(name, suite, &through)).is_err() {
                bad.push(name);
            }
        }
    }
    drop(own);
    if bad.is_empty() { Ok(()) } else { Err(format!("not all passed in: {}", bad.join(", "))) }
}

fn one(name: &str, suite: Suite, through: &Through) -> Result<(), String> {
    let result = match suite(through) {
        Ok(result) => result,
        Err(Error::Missing(m)) if !in_ci() => {
            println!("SKIPPED {name}: {m}");
            return Ok(());
        }
        Err(e) => {
            println!("{e}");
            return Err(e.to_string());
        }
    };
    let SuiteResult { passed, failed, equal_traces, took, kept } = result;
    println!(
        "{name}: {} passed, {} failed, {:.1} s",
        passed.len(),
        failed.len(),
        took.as_secs_f64()
    );
    if equal_traces > 0 {
        println!("{name}: {equal_traces} recorded protocol traces are equal");
    }
    for test in &failed {
        println!("FAILED {test}");
    }
    if let Some(kept) = kept {
        println!("see {}", kept.display());
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("{} failed", failed.len())) }
}
