//! Developer tasks, run as `cargo xtask <task>`. `--help` names them all.

mod again;
mod bench;
mod fuzz;
mod packages;
mod stage;
mod suites;
mod survivors;
mod test;
mod vendor;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <task> [options]

Tasks
  setup             Install the Debian packages that building and testing need,
                    when this is root on a machine with apt-get; otherwise print
                    what is missing and how to get it.
  test [--quick]    setup, then every test of the workspace against real servers
                    on spare loopback ports in temporary folders. Fails when a
                    server of ours is still there afterwards. A server or client
                    that cannot be had is a named skip; with CI=true, a failure.
                    --quick: unit tests only, no servers.
                    Options after -- go to `cargo test`, for instance
                    cargo xtask test -- -p postgres attack_
  suites [regress|isolation|pipeline] [--host H] [--port P] [--user U] [--ca FILE]
                    PostgreSQL's own conformance suites. Without --port: against
                    a private server, directly (the baseline). With it: through
                    whatever listens there, for instance a proxy; the server
                    behind it must run on this machine as user postgres with
                    max_prepared_transactions of 2 or more, and the login must
                    be a superuser's. PGPASSWORD is the password or token; with
                    --ca, TLS with full verification.
  suites ssh-bulk   1 GiB each way through the SSH proxy, hashes compared.
  suites kill9 [--rounds N]
                    Kills greffier-postgres N times (1,000) at random moments
                    under pgbench: what ran must be in the verified log.
  bench <name>      Measure one thing and print a table with ratios:
                      masking    GB/s of the masker, recall, false positives
                      audit      durable entries a second, against a bare loop
                      postgres   proxy against direct, bare relay, PgBouncer
                      ssh        proxy against direct, bare relay, ProxyJump
                      http       proxy against direct, bare relay, nginx, HAProxy
                      kubernetes proxy against direct and kubectl proxy
                    Options after the name go to that bench.
  fuzz [--minutes N] [--target NAME]
                    Run every fuzz target (or one) for N minutes (default 10),
                    one after the other. Needs a nightly toolchain and
                    cargo-fuzz. Finds are left in fuzz/artifacts.
  vendor --check    The code in vendor/ is what was published, plus its patch.
                    Without a registry: a named skip; with CI=true, a failure.

Environment
  CI=true                  what is missing fails
  GREFFIER_TESTBED_CACHE   where drivers and suites are kept between runs
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut args = args.iter().map(String::as_str);
    let task = args.next().unwrap_or("--help");
    let rest: Vec<&str> = args.collect();
    if rest.contains(&"--help") || rest.contains(&"-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let done = match task {
        "setup" => packages::ensure(),
        "test" => test::run(&rest),
        "bench" => bench::run(&rest),
        "suites" => suites::run(&rest),
        "vendor" => vendor::run(&rest),
        "fuzz" => fuzz::run(&rest),
        "-h" | "--help" | "help" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("no task is named {other:?}; see cargo xtask --help")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask {task}: {reason}");
            ExitCode::FAILURE
        }
    }
}
