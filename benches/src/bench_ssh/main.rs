//! `cargo xtask bench ssh`: greffier against a direct connection, a relay on the same library
//! that looks at nothing, and OpenSSH's `ProxyJump`, everything in one run on one machine. See
//! the package's README.

mod client;
mod load;
mod peer;
#[allow(dead_code, reason = "shared with bench-postgres, which counts wake-ups too")]
#[path = "../bench_postgres/proc.rs"]
mod proc;
mod relay;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use load::{Load, Size, burst};
use peer::{Ground, Kind, Peer};
use report::Results;

const HELP: &str = "\
cargo xtask bench ssh [options]

greffier-ssh with full recording against direct OpenSSH, a bare russh relay and OpenSSH through
ProxyJump; medians over rounds whose order is reversed every other time, as a table in Markdown.

  --quick            one round of a hundredth of everything
  --rounds N         rounds, default 3
  --scale F          how much of 1 GiB, 200 sessions, 10,000 commands, 40 connections; default 1
  --only NAME        only the loads whose name begins so; may be repeated
  --greffier FILE    the proxy to measure, default: the one built beside this program
  --nice N           priority of everything measured, default -15 where that is allowed

Loads: handshake, connect, exec-down, sftp-get, sftp-put, sessions, small, idle";

struct Options {
    rounds: u32,
    scale: f64,
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
        [flag, port, user, key] if flag == "--serve-relay" => port
            .parse()
            .map_err(|_| "--serve-relay needs a port".to_owned())
            .and_then(|port| relay::serve(port, user.clone(), key)),
        _ => options(&args).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench-ssh: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options =
        Options { rounds: 3, scale: 1.0, only: Vec::new(), greffier: None, nice: -15 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let bad = |_| format!("{arg} needs a number");
        match arg.as_str() {
            "--quick" => (options.rounds, options.scale) = (1, 0.01),
            "--rounds" => {
                let rounds: u32 = value()?.parse().map_err(|_| bad(()))?;
                options.rounds = rounds.max(1);
            }
            "--scale" => options.scale = value()?.parse().map_err(|_| bad(()))?,
            "--only" => options.only.push(value()?.clone()),
            "--greffier" => options.greffier = Some(value()?.into()),
            "--nice" => options.nice = value()?.parse().map_err(|_| bad(()))?,
            other => return Err(format!("unknown option {other:?}; see --help")),
        }
    }
    Ok(options)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn size(scale: f64) -> Size {
    let part = |of: f64, least: f64| (of * scale).clamp(least, 1e12) as u64;
    let count = |of: f64, least: f64| part(of, least) as u32;
    Size {
        bytes: part(1024.0 * 1024.0 * 1024.0, 1e6),
        sessions: count(200.0, 8.0),
        execs: count(10_000.0, 80.0),
        connects: count(40.0, 5.0),
    }
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
        None => beside("greffier-ssh")?,
    };
    // Inherited by everything that is started from here on.
    let nice = nice(options.nice).unwrap_or(0);
    let limit = getrlimit(Resource::Nofile);
    // With less, many sessions say what they lack.
    let _refused =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let before = proc::load_average();
    let size = size(options.scale);
    let ground = Ground::new(greffier, size.bytes)?;
    let mut peers = Vec::new();
    for kind in Kind::ALL {
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
                let burst = burst(load, peer, &ground, size)
                    .map_err(|e| format!("{} under {}: {e}", peer.kind.name(), load.name()))?;
                let (name, peer_name) = (load.name(), peer.kind.name());
                eprintln!("{name} round {round}: {peer_name} {:.1} {}", burst.value, load.unit());
                results.push(load, peer.kind, burst);
            }
        }
    }
    print!("{}", results.table());
    println!(
        "\n{}, {} processors, nice {nice}, load average before {before}, after {}; {} rounds; {size:?}; \
         aes128-gcm and curve25519 everywhere",
        proc::cpu_model(),
        std::thread::available_parallelism().map_or(0, usize::from),
        proc::load_average(),
        options.rounds,
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
