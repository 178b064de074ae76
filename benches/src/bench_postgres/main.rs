//! `cargo xtask bench postgres`: greffier against a direct connection, a relay that looks at
//! nothing, and `PgBouncer`, everything in one run on one machine. See the package's README.

mod client;
mod disk;
mod load;
mod peer;
mod proc;
mod relay;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use serde::Serialize;
use testbed::{PgOptions, Postgres};

use load::{IDLE_SESSIONS, Load, Work, burst, median};
use peer::{Ground, Kind, Peer};
use report::{Bursts, Row, table};

const HELP: &str = "\
cargo xtask bench postgres [options]

greffier-postgres with full recording and masking on, at two durability levels, against a
direct connection, a bare relay and PgBouncer in session mode; medians over rounds whose order
is reversed every other time. Results as tables in Markdown.

  --quick            one round of one second each, small ring
  --rounds N         rounds, default 3
  --seconds N        length of a burst, default 2
  --only NAME        only the loads whose name begins so; may be repeated
  --json             the results as JSON on standard output, the tables on standard error
  --greffier FILE    the proxy to measure, default: the one built beside this program
  --nice N           priority of everything measured, default -15 where that is allowed
  --serve            start everything, say how to connect, and wait for the end of input:
                     for profiling by hand

Loads: simple-1, extended-1, prepared-1, simple-8, extended-8, prepared-8, wait, select-1m,
select-1m-text, copy-2m, connect-1, connect-8, idle";

/// Rows of `bulk`.
const BULK_ROWS: u32 = 2_000_000;
/// pgbench's scale: 1,000,000 accounts.
const SCALE: &str = "10";

struct Options {
    rounds: u32,
    seconds: u32,
    segment_mib: u32,
    only: Vec<String>,
    json: bool,
    greffier: Option<PathBuf>,
    nice: i32,
    serve: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--help" || a == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let done = match args.as_slice() {
        [flag, port] if flag == "--serve-relay" => {
            port.parse().map_err(|_| "--serve-relay needs a port".to_owned()).and_then(relay::serve)
        }
        _ => options(&args).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench-postgres: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        rounds: 3,
        seconds: 2,
        segment_mib: 64,
        only: Vec::new(),
        json: false,
        greffier: None,
        nice: -15,
        serve: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let number =
            |text: &String| text.parse::<u32>().map_err(|_| format!("{arg} needs a number"));
        match arg.as_str() {
            "--quick" => (options.rounds, options.seconds, options.segment_mib) = (1, 1, 16),
            "--rounds" => options.rounds = number(value()?)?.max(1),
            "--seconds" => options.seconds = number(value()?)?.max(1),
            "--only" => options.only.push(value()?.clone()),
            "--json" => options.json = true,
            "--greffier" => options.greffier = Some(value()?.into()),
            "--nice" => {
                options.nice = value()?.parse().map_err(|_| "--nice needs a number".to_owned())?;
            }
            "--serve" => options.serve = true,
            other => return Err(format!("unknown option {other:?}; see --help")),
        }
    }
    Ok(options)
}

/// The whole run, for `--json`.
#[derive(Serialize)]
struct Results {
    machine: String,
    processors: usize,
    nice: i32,
    load_average_before: String,
    load_average_after: String,
    server: String,
    rounds: u32,
    seconds: u32,
    /// Over the whole run.
    fdatasync_p50_us: f64,
    /// Between the bursts of `wait`: what its added waits are to be compared with.
    fdatasync_p50_us_at_wait: Option<f64>,
    rows: Vec<Row>,
}

fn run(options: &Options) -> Result<(), String> {
    let loads: Vec<Load> = Load::ALL
        .into_iter()
        .filter(|l| options.only.is_empty() || options.only.iter().any(|o| l.name.starts_with(o)))
        .collect();
    if loads.is_empty() {
        return Err(format!("no load is named so; see --help: {:?}", options.only));
    }
    let greffier = match &options.greffier {
        Some(path) => path.clone(),
        None => peer::beside("greffier-postgres")?,
    };
    // Inherited by everything that is started from here on.
    let nice = nice(options.nice).unwrap_or(0);
    more_files();
    let load_average_before = proc::load_average();
    eprintln!("load average {load_average_before}, nice {nice}; filling the server");
    let (postgres, server) = server()?;
    let ground = Ground::new(postgres, greffier, options.segment_mib)?;
    let mut peers = Vec::new();
    for kind in Kind::ALL {
        peers.push(Peer::start(kind, &ground)?);
    }
    if options.serve {
        return serve(&peers);
    }
    let say = |text: String| if options.json { eprint!("{text}") } else { print!("{text}") };
    let (mut fsyncs, mut fsyncs_at_wait) = (Vec::new(), Vec::new());
    let mut rows = Vec::new();
    for load in loads {
        let at = if load.work == Work::Wait { &mut fsyncs_at_wait } else { &mut fsyncs };
        let new = measure(load, &peers, &ground, options, at)?;
        say(table(&new));
        rows.extend(new);
    }
    fsyncs_at_wait.sort_by(f64::total_cmp);
    let fdatasync_p50_us_at_wait =
        Some(median(&fsyncs_at_wait)).filter(|_| !fsyncs_at_wait.is_empty());
    fsyncs.extend(fsyncs_at_wait);
    fsyncs.sort_by(f64::total_cmp);
    let results = Results {
        machine: proc::cpu_model(),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        nice,
        load_average_before,
        load_average_after: proc::load_average(),
        server,
        rounds: options.rounds,
        seconds: options.seconds,
        fdatasync_p50_us: median(&fsyncs),
        fdatasync_p50_us_at_wait,
        rows,
    };
    say(summary(&results));
    if options.json {
        println!("{}", serde_json::to_string_pretty(&results).map_err(|e| e.to_string())?);
    }
    Ok(())
}

/// Bursts of one load: every peer in every round, the order reversed every other round.
fn measure(
    load: Load,
    peers: &[Peer],
    ground: &Ground,
    options: &Options,
    fsyncs: &mut Vec<f64>,
) -> Result<Vec<Row>, String> {
    let mut bursts = Bursts::new(load);
    for round in 0..options.rounds {
        fsyncs.extend(disk::probe(ground.dir.path()).map_err(|e| format!("the disk: {e}"))?);
        let mut order: Vec<&Peer> = peers.iter().filter(|p| load.is_for(p.kind)).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for peer in order {
            let burst = burst(load, peer, ground, options.seconds)
                .map_err(|e| format!("{} under {}: {e}", peer.kind.name(), load.name))?;
            eprintln!(
                "{} round {round}: {} {:.1} {} ({:.2} processors busy)",
                load.name,
                peer.kind.name(),
                burst.value,
                load.unit(),
                burst.busy
            );
            bursts.push(peer.kind, burst);
        }
    }
    Ok(bursts.rows())
}

fn summary(results: &Results) -> String {
    let wait = |peer: Kind| {
        let row = results.rows.iter().find(|r| r.load == "wait" && r.peer == peer.name());
        row.map_or(f64::NAN, |row| row.value)
    };
    let mut text = String::new();
    for kind in [Kind::BeforeExecute, Kind::BeforeResponse, Kind::PgBouncer, Kind::Relay] {
        let added = wait(kind) - wait(Kind::Direct);
        if added.is_finite() {
            text += &format!("\n{}: {added:.0} µs added at the median", kind.name());
        }
    }
    if let Some(p50) = results.fdatasync_p50_us_at_wait {
        text += &format!("\nthis disk's fdatasync of 4 KiB at that time, median: {p50:.0} µs");
    }
    let met = results.rows.iter().flat_map(|r| &r.goals).filter(|g| g.met).count();
    let goals = results.rows.iter().map(|r| r.goals.len()).sum::<usize>();
    text += &format!(
        "\nits fdatasync over the whole run, median: {:.0} µs\n{} of {goals} goals met\n\
         {}, {} processors, nice {}, load average before {}, after {}\n{}; {} rounds of {} s; \
         the server's fsync is off, its data are in shared_buffers; no TLS\n",
        results.fdatasync_p50_us,
        met,
        results.machine,
        results.processors,
        results.nice,
        results.load_average_before,
        results.load_average_after,
        results.server,
        results.rounds,
        results.seconds,
    );
    text
}

/// As many open files as we may have: two for each idle session.
fn more_files() {
    let limit = getrlimit(Resource::Nofile);
    // With less the idle load says what it lacks.
    let _refused =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// PostgreSQL with its data in memory, and its version.
fn server() -> Result<(Postgres, String), String> {
    let conf = [
        ("shared_buffers", "1GB".to_owned()),
        ("max_connections", (IDLE_SESSIONS + 300).to_string()),
        ("max_wal_size", "8GB".into()),
        ("checkpoint_timeout", "1h".into()),
        ("autovacuum", "off".into()),
        ("synchronize_seqscans", "off".into()),
        ("max_parallel_workers_per_gather", "0".into()),
    ];
    let options = PgOptions {
        log_statements: false,
        conf: conf.map(|(k, v)| (k.to_owned(), v)).into(),
        ..PgOptions::default()
    };
    let text = |e: testbed::Error| e.to_string();
    let postgres = Postgres::start(options).map_err(text)?;
    let mut pgbench = std::process::Command::new(postgres.bin_dir().join("pgbench"));
    pgbench.args(["-i", "-q", "-s", SCALE, "-U", "postgres", "-h", "127.0.0.1", "-p"]);
    pgbench.arg(postgres.port().to_string()).arg("postgres");
    let out = pgbench.output().map_err(|e| format!("pgbench: {e}"))?;
    if !out.status.success() {
        return Err(format!("pgbench -i: {}", String::from_utf8_lossy(&out.stderr)));
    }
    // What tables hold: a number, a UUID, prose; one row in a thousand has something to mask.
    let fill = format!(
        "CREATE TABLE bulk AS SELECT i AS id, md5(i::text)::uuid AS ref, \
         (ARRAY['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald'])[i % 5 + 1] || ' ' || \
         (ARRAY['Lovelace', 'Hopper', 'Dijkstra', 'Liskov', 'Knuth', 'Hoare'])[i % 6 + 1] AS name, \
         'order ' || i || ' shipped to warehouse ' || i % 97 || ' in good condition' || \
         CASE WHEN i % 1000 = 0 THEN ', mail user' || i || '@example.com' ELSE '' END AS note, \
         (i::bigint * 37 % 100000)::numeric / 100 AS amount FROM generate_series(1, {BULK_ROWS}) i"
    );
    postgres.psql(&fill).map_err(text)?;
    for table in ["bulk", "pgbench_accounts"] {
        postgres.psql(&format!("VACUUM (ANALYZE, FREEZE) {table}")).map_err(text)?;
    }
    postgres.psql("CREATE EXTENSION pg_prewarm").map_err(text)?;
    postgres
        .psql("SELECT pg_prewarm(oid) FROM pg_class WHERE relkind IN ('r', 'i')")
        .map_err(text)?;
    let version = postgres.psql("SHOW server_version").map_err(text)?;
    Ok((postgres, format!("PostgreSQL {version}, scale {SCALE}")))
}

/// Says how to get in, and waits.
fn serve(peers: &[Peer]) -> Result<(), String> {
    for peer in peers {
        let (door, pid) = (&peer.door, peer.pid().map_or("-".to_owned(), |p| p.to_string()));
        println!(
            "{}\t{}\t{pid}\t{}\t{}",
            peer.kind.name(),
            door.port,
            door.database,
            door.password
        );
    }
    println!("(name, port, process, database, password; user postgres) end of input ends all");
    let mut input = String::new();
    while std::io::stdin().read_line(&mut input).map_err(|e| e.to_string())? > 0 {}
    Ok(())
}
