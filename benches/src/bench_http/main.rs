//! `cargo xtask bench http`: greffier against a direct connection, a relay on the same library
//! that looks at nothing, nginx, HAProxy and mitmproxy, everything in one run on one machine. See
//! the package's README.

mod load;
mod peer;
#[allow(dead_code, reason = "shared with bench-postgres, which counts wake-ups too")]
#[path = "../bench_postgres/proc.rs"]
mod proc;
mod report;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use load::{Load, Size, burst};
use peer::{Ground, Kind, Peer, found};
use report::Results;

const HELP: &str = "\
cargo xtask bench http [options]

greffier-http with full recording and masking on, at two durability levels, against a direct
connection, a bare hyper relay, nginx, HAProxy and, where mitmdump is in PATH, mitmproxy; medians
over rounds whose order is reversed every other time, as a table in Markdown. Needs wrk, nginx and
haproxy.

  --quick            one round of one second each, 64 MiB for the endless body
  --rounds N         rounds, default 3
  --seconds N        length of a burst, default 3
  --gib N            the endless body, default 1
  --only NAME        only the loads whose name begins so; may be repeated
  --greffier FILE    the proxy to measure, default: the one built beside this program
  --nice N           priority of everything measured, default -15 where that is allowed

Loads: get-small-1, get-small-64, get-1m-1, get-1m-64, post-1m-1, post-1m-64, json-1, json-64,
mcp-call-1, mcp-call-64, endless";

const GIB: u64 = 1024 * 1024 * 1024;

struct Options {
    rounds: u32,
    size: Size,
    only: Vec<String>,
    greffier: Option<PathBuf>,
    nice: i32,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--help" || a == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let done = match args.as_slice() {
        [flag] if flag == "--serve-upstream" => upstream::serve(None),
        [flag, port] if flag == "--serve-relay" => port
            .parse()
            .map_err(|_| "--serve-relay needs a port".to_owned())
            .and_then(|port| upstream::serve(Some(port))),
        _ => options(&args).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench-http: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        rounds: 3,
        size: Size { seconds: 3, endless: GIB },
        only: Vec::new(),
        greffier: None,
        nice: -15,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let number =
            |text: &String| text.parse::<u32>().map_err(|_| format!("{arg} needs a number"));
        match arg.as_str() {
            "--quick" => {
                (options.rounds, options.size) = (1, Size { seconds: 1, endless: GIB / 16 });
            }
            "--rounds" => options.rounds = number(value()?)?.max(1),
            "--seconds" => options.size.seconds = number(value()?)?.max(1),
            "--gib" => options.size.endless = u64::from(number(value()?)?.max(1)) * GIB,
            "--only" => options.only.push(value()?.clone()),
            "--greffier" => options.greffier = Some(value()?.into()),
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
    let loads: Vec<Load> = Load::all().into_iter().filter(chosen).collect();
    if loads.is_empty() {
        return Err(format!("no load is named so; see --help: {:?}", options.only));
    }
    for name in ["wrk", "nginx", "haproxy", "curl"] {
        found(name)?;
    }
    let greffier = match &options.greffier {
        Some(path) => path.clone(),
        None => beside("greffier-http")?,
    };
    // Inherited by everything that is started from here on.
    let nice = nice(options.nice).unwrap_or(0);
    let limit = getrlimit(Resource::Nofile);
    // With less, many connections say what they lack.
    let _refused =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let before = proc::load_average();
    let ground = Ground::new(greffier)?;
    let mut peers = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_there()) {
        peers.push(Peer::start(kind, &ground)?);
    }
    let mut results = Results::default();
    for load in loads {
        for round in 0..options.rounds {
            let mut order: Vec<&Peer> = peers.iter().filter(|p| load.is_for(p.kind)).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for peer in order {
                let (name, peer_name) = (load.name(), peer.kind.name());
                let burst = burst(load, peer, &ground, options.size)
                    .map_err(|e| format!("{peer_name} under {name}: {e}"))?;
                eprintln!("{name} round {round}: {peer_name} {:.1} {}", burst.value, load.unit());
                results.push(load, peer.kind, burst);
            }
        }
    }
    print!("{}", results.table());
    println!(
        "\n{}, {} processors, nice {nice}, load average before {before}, after {}; {} rounds; {:?}; \
         no TLS",
        proc::cpu_model(),
        std::thread::available_parallelism().map_or(0, usize::from),
        proc::load_average(),
        options.rounds,
        options.size,
    );
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
