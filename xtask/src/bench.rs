//! `cargo xtask bench`.

use crate::stage::{cargo, show, stage};

/// What can be measured.
const KNOWN: &str = "masking, audit, postgres, ssh, http or kubernetes";

pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let Some((name, rest)) = args.split_first() else {
        return Err(format!("bench what? {KNOWN}"));
    };
    let what: &[&str] = match *name {
        "masking" => &["bench", "-p", "masking", "--"],
        "audit" => &["bench", "-p", "audit-sink", "--"],
        "postgres" => &["run", "--release", "-p", "benches", "--bin", "bench-postgres", "--"],
        "ssh" => &["run", "--release", "-p", "benches", "--bin", "bench-ssh", "--"],
        "http" => &["run", "--release", "-p", "benches", "--bin", "bench-http", "--"],
        "kubernetes" => &["run", "--release", "-p", "benches", "--bin", "bench-kubernetes", "--"],
        other => return Err(format!("no bench is named {other:?}: {KNOWN}")),
    };
    if let "postgres" | "ssh" | "http" | "kubernetes" = *name {
        crate::packages::ensure()?;
        // What is measured must be built as it is shipped.
        let (mut build, binary) = (cargo(), format!("greffier-{name}"));
        build.args(["build", "--release", "-p", &binary]);
        stage(&format!("building {binary}"), || show(&mut build))?;
    }
    stage(&format!("bench {name}"), || show(cargo().args(what).args(rest)))
}
