//! After the tests nothing of theirs may be left: no process, no folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the watchdogs get to finish their work.
const GRACE: Duration = Duration::from_secs(15);

/// The variable that tells testbed where its servers' folders go. Whatever
/// the tests start inherits it, or works in a folder below it.
pub(crate) const VARIABLE: &str = "GREFFIER_TESTBED_DIR";

/// A process that a test left behind.
struct Survivor {
    pid: u32,
    command: String,
}

/// Waits until no process of this run is left and `dir` is empty. What is
/// still there after a while is named, ended by its process id, and an error.
pub(crate) fn none_left(dir: &Path) -> Result<(), String> {
    let end = Instant::now() + GRACE;
    loop {
        let processes = processes(dir);
        let folders: Vec<PathBuf> =
            fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
        if processes.is_empty() && folders.is_empty() {
            println!("no process and no folder is left");
            return Ok(());
        }
        if Instant::now() < end {
            std::thread::sleep(Duration::from_millis(200));
            continue;
        }
        for Survivor { pid, command } in &processes {
            println!("LEFT BEHIND process {pid}: {command}");
            // It may have ended in this moment: as wished.
            let _ = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status();
        }
        for folder in &folders {
            println!("LEFT BEHIND folder {}", folder.display());
        }
        return Err("the tests left something behind".to_owned());
    }
}

fn processes(dir: &Path) -> Vec<Survivor> {
    let mark = format!("{VARIABLE}={}", dir.display());
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let path = entry.path();
        let inside = fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        let marked = environment.split(|b| *b == 0).any(|v| v == mark.as_bytes());
        if pid != own && (inside || marked) {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&line).replace('\0', " ");
            found.push(Survivor { pid, command });
        }
    }
    found
}
