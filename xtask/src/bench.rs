//! `cargo xtask bench`.

use crate::stage::{cargo, show, stage};

pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let Some((name, rest)) = args.split_first() else {
        return Err("bench what? masking, audit or postgres".to_owned());
    };
    let what: &[&str] = match *name {
        "masking" => &["bench", "-p", "masking", "--"],
        "audit" => &["bench", "-p", "audit-sink", "--"],
        "postgres" => &["run", "--release", "-p", "benches", "--bin", "bench-postgres", "--"],
        other => return Err(format!("no bench is named {other:?}: masking, audit or postgres")),
    };
    if *name == "postgres" {
        crate::packages::ensure()?;
        // What is measured must be built as it is shipped.
        let mut build = cargo();
        build.args(["build", "--release", "-p", "greffier-postgres"]);
        stage("building greffier-postgres", || show(&mut build))?;
    }
    stage(&format!("bench {name}"), || show(cargo().args(what).args(rest)))
}
