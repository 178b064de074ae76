//! Where things are kept, which port is spare, and whose account servers get.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::Error;

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` in the workspace.
fn target_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workspace = workspace.canonicalize().unwrap_or(workspace);
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace.join(dir),
        None => workspace.join("target"),
    }
}

/// The folder in which drivers, packages and suites are kept between runs.
#[must_use]
pub fn cache_dir() -> PathBuf {
    match std::env::var_os("GREFFIER_TESTBED_CACHE") {
        Some(dir) => PathBuf::from(dir),
        None => target_dir().join("testbed"),
    }
}

/// The folder that keeps the logs of servers whose test failed.
#[must_use]
pub fn logs_dir() -> PathBuf {
    target_dir().join("testbed-logs")
}

/// Ports that are given out: below those that Linux gives to connections and to servers that ask
/// for any (`net.ipv4.ip_local_port_range`, from 32,768), so that nobody takes one by chance
/// before its server listens on it, or while it is started anew.
const SPARE_PORTS: std::ops::Range<u16> = 16_000..32_000;

/// A port on 127.0.0.1 that was free a moment ago, and that this process was not given before.
/// Another process may take it before the caller does: try again with another one then.
///
/// # Errors
/// When the loopback interface gives no port at all.
pub fn spare_port() -> Result<u16, Error> {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| {
        // Processes begin at different places: those of one moment, and of one number.
        let mut place = RandomState::new().build_hasher();
        place.write_u32(std::process::id());
        AtomicU32::new(place.finish() as u32)
    });
    let mut failed = None;
    for _ in SPARE_PORTS {
        let count = NEXT.fetch_add(1, Ordering::Relaxed) % SPARE_PORTS.len() as u32;
        let port = SPARE_PORTS.start + count as u16;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => failed = Some(error),
        }
    }
    let failed = failed.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(Error::failed("finding a spare port", failed))
}

/// A fresh folder for one server, owned by `account`, readable by it alone.
pub(crate) fn server_dir(prefix: &str, account: Account) -> Result<TempDir, Error> {
    let fail = |e| Error::failed("making a temporary folder", e);
    let root =
        std::env::var_os("GREFFIER_TESTBED_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    fs::create_dir_all(&root).map_err(fail)?;
    // Canonical, because the watchdog compares it with what /proc says.
    let root = root.canonicalize().map_err(fail)?;
    let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(root).map_err(fail)?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).map_err(fail)?;
    account.own(dir.path()).map_err(fail)?;
    Ok(dir)
}

/// The account a server runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    /// The one the tests run under.
    Ours,
    /// Another one, because we are root and the server refuses root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// Ours when we are an ordinary user; else `postgres`, else `nobody`.
    pub(crate) fn ordinary() -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ours);
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id("-u", name), id("-g", name)) {
                return Ok(Self::Other { uid, gid });
            }
        }
        Err(Error::missing("an account that is not root", "adduser --system --group postgres"))
    }

    /// Gives `path` to this account.
    pub(crate) fn own(self, path: &Path) -> std::io::Result<()> {
        match self {
            Self::Ours => Ok(()),
            Self::Other { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// Gives `path` and all that is below it to this account.
    pub(crate) fn own_all(self, path: &Path) -> std::io::Result<()> {
        self.own(path)?;
        if path.symlink_metadata()?.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own_all(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Makes `command` run under this account.
    pub(crate) fn run(self, command: &mut Command) {
        use std::os::unix::process::CommandExt as _;
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }
}

fn id(flag: &str, name: &str) -> Option<u32> {
    let out = Command::new("id").args([flag, name]).output().ok()?;
    String::from_utf8(out.stdout).ok()?.trim().parse().ok()
}

/// The first folder of `extra`, then of `PATH`, that has an executable `name`.
pub(crate) fn find_program(name: &str, extra: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    extra
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path))
        .map(|d| d.join(name))
        .find(|p| p.metadata().is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0))
}
