//! `cargo xtask bench kubernetes`: greffier against a direct connection and `kubectl proxy`,
//! everything in one run on one machine. See the package's README.

mod client;
mod exec;
mod ground;
mod load;
mod peer;
#[allow(dead_code, reason = "shared with bench-postgres, which counts wake-ups too")]
#[path = "../bench_postgres/proc.rs"]
mod proc;
mod report;
mod sockets;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use serde::Serialize;

use ground::Ground;
use load::{Load, Size, burst};
use peer::{Kind, Peer};
use report::{Results, Row, table};

const HELP: &str = "\
cargo xtask bench kubernetes [options]

greffier-kubernetes with full recording and TLS on both legs, against a direct connection and
kubectl proxy, in front of a real API server, which Go builds the first time; medians over rounds
whose order is reversed every other time, as a table in Markdown.

  --quick            one round of one second each, 1,000 pods, 100 watches, 32 MiB
  --rounds N         rounds, default 3
  --seconds N        length of a burst, default 3
  --pods N           pods in a list, default 10,000
  --watches N        watches at once, default 1,000
  --events N         changes a second to what is watched, in all, default 500
  --mib N            MiB through exec, default 256
  --only NAME        only the loads whose name begins so; may be repeated
  --greffier FILE    the proxy to measure, default: the one built beside this program
  --json             the results as JSON on standard output, the table on standard error
  --nice N           priority of everything measured, default -15 where that is allowed
  --serve            start everything, say how to connect, and wait for the end of input:
                     for a profiler

Loads: get, get-cold, small, list, list-table, watch, idle, exec, exec-bulk, exec-text";

const QUICK: Size = Size { seconds: 1, pods: 1000, watches: 100, events: 500, mib: 32 };

struct Options {
    rounds: u32,
    size: Size,
    only: Vec<String>,
    greffier: Option<PathBuf>,
    json: bool,
    nice: i32,
    serve: bool,
}

/// The whole run, for `--json`.
#[derive(Serialize)]
struct Run {
    cpu: String,
    processors: usize,
    nice: i32,
    load_average_before: String,
    load_average_after: String,
    rounds: u32,
    size: Size,
    rows: Vec<Row>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--help" || a == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match options(&args).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench-kubernetes: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        rounds: 3,
        size: Size { seconds: 3, pods: 10_000, watches: 1000, events: 500, mib: 256 },
        only: Vec::new(),
        greffier: None,
        json: false,
        nice: -15,
        serve: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let number = |text: &String| match text.parse::<u32>() {
            Ok(number @ 1..) => Ok(number),
            _ => Err(format!("{arg} needs a number from 1 on")),
        };
        match arg.as_str() {
            "--quick" => (options.rounds, options.size) = (1, QUICK),
            "--rounds" => options.rounds = number(value()?)?,
            "--seconds" => options.size.seconds = number(value()?)?,
            "--pods" => options.size.pods = number(value()?)? as usize,
            "--watches" => options.size.watches = number(value()?)? as usize,
            "--events" => options.size.events = number(value()?)?,
            "--mib" => options.size.mib = number(value()?)?.into(),
            "--only" => options.only.push(value()?.clone()),
            "--greffier" => options.greffier = Some(value()?.into()),
            "--json" => options.json = true,
            "--serve" => options.serve = true,
            "--nice" => {
                options.nice = value()?.parse().map_err(|_| "--nice needs a number".to_owned())?;
            }
            other => return Err(format!("unknown option {other:?}; see --help")),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    let chosen =
        |l: &Load| options.only.is_empty() || options.only.iter().any(|o| l.name().starts_with(o));
    let loads: Vec<Load> = Load::ALL.into_iter().filter(chosen).collect();
    if loads.is_empty() {
        return Err(format!("no load is named so; see --help: {:?}", options.only));
    }
    let greffier = match &options.greffier {
        Some(path) => path.clone(),
        None => beside("greffier-kubernetes")?,
    };
    // Inherited by everything that is started from here on.
    let nice = nice(options.nice).unwrap_or(0);
    let limit = getrlimit(Resource::Nofile);
    // With less, many watches say what they lack.
    let _refused =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let load_average_before = proc::load_average();
    eprintln!("load average {load_average_before}, nice {nice}; filling the cluster");
    let ground = Ground::new(greffier, &loads, options.size)?;
    let mut peers = Vec::new();
    for kind in Kind::ALL {
        peers.push(Peer::start(kind, &ground)?);
    }
    if options.serve {
        return serve(&peers, &ground);
    }
    let rows = measure(options, &loads, &peers, &ground)?;
    let run = Run {
        cpu: proc::cpu_model(),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        nice,
        load_average_before,
        load_average_after: proc::load_average(),
        rounds: options.rounds,
        size: options.size,
        rows,
    };
    let text = format!("{}\n{}", table(&run.rows), conditions(&run));
    if options.json {
        eprintln!("{text}");
        println!("{}", serde_json::to_string_pretty(&run).map_err(|e| e.to_string())?);
    } else {
        println!("{text}");
    }
    Ok(())
}

fn measure(
    options: &Options,
    loads: &[Load],
    peers: &[Peer],
    ground: &Ground,
) -> Result<Vec<Row>, String> {
    let mut results = Results::default();
    for load in loads.iter().copied() {
        for round in 0..options.rounds {
            let mut order: Vec<&Peer> = peers.iter().filter(|p| load.is_for(p.kind)).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for peer in order {
                let (name, peer_name) = (load.name(), peer.kind.name());
                let burst = burst(load, peer, ground, options.size)
                    .map_err(|e| format!("{peer_name} under {name}: {e}"))?;
                eprintln!("{name} round {round}: {peer_name} {:.2} {}", burst.value, load.unit());
                results.push(load, peer.kind, burst);
            }
        }
    }
    Ok(results.rows())
}

fn conditions(run: &Run) -> String {
    format!(
        "{}, {} processors, nice {}, load average before {}, after {}; {} rounds; {:?}; TLS on \
         both legs, but kubectl proxy's clients have none; the API server keeps no audit log",
        run.cpu,
        run.processors,
        run.nice,
        run.load_average_before,
        run.load_average_after,
        run.rounds,
        run.size,
    )
}

/// Says how to get in, and waits.
fn serve(peers: &[Peer], ground: &Ground) -> Result<(), String> {
    for peer in peers {
        let kubectl = ground.kubectl(&peer.door(ground, 0)?)?;
        let config = kubectl.get_envs().find(|(name, _)| *name == "KUBECONFIG");
        let config = config.and_then(|(_, value)| value).unwrap_or_default();
        let pid = peer.pid().map_or("-".to_owned(), |pid| pid.to_string());
        println!("{}\t{pid}\tKUBECONFIG={}", peer.kind.name(), config.display());
    }
    println!("(name, process, configuration for kubectl) end of input ends all");
    let mut input = String::new();
    while std::io::stdin().read_line(&mut input).map_err(|e| e.to_string())? > 0 {}
    Ok(())
}

/// Where the binary lies that is built beside ours.
fn beside(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let path = own.with_file_name(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{} is not there: cargo build --release -p {name}", path.display()))
    }
}
