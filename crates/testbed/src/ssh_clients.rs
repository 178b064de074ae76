//! Programs that speak SSH as clients: Debian's, and Python's libraries in a folder of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dirs::find_program;
use crate::process::output;
use crate::{Error, install};

/// Debian's folder of OpenSSH's own regression suite.
const REGRESS: &str = "/usr/lib/openssh/regress";

/// A program of this name, which Debian's package of that name brings.
///
/// # Errors
/// [`Error::Missing`] without it.
pub fn program(name: &str, package: &str) -> Result<Command, Error> {
    find_program(name, &[])
        .map(Command::new)
        .ok_or_else(|| Error::missing(name, format!("apt-get install {package}")))
}

/// The `bin` folder of a Python environment with paramiko, asyncssh and ansible-core, installed
/// once into the cache folder.
///
/// # Errors
/// [`Error::Missing`] without Python; [`Error::Failed`] if they can't be installed.
pub fn python() -> Result<PathBuf, Error> {
    install::python("ssh-clients")
}

/// A script of the assets folder `ssh-clients`, run by that Python.
///
/// # Errors
/// As [`python`].
pub fn python_script(name: &str) -> Result<Command, Error> {
    let mut python = Command::new(python()?.join("python"));
    python.arg("-B").arg(install::assets().join("ssh-clients").join(name));
    Ok(python)
}

/// The folder of asyncssh's sources with its own tests, of the version that [`python`] installs:
/// its published source archive, fetched once into the cache folder.
///
/// # Errors
/// As [`python`]; [`Error::Failed`] if it can't be fetched or unpacked.
pub fn asyncssh_sources() -> Result<PathBuf, Error> {
    let pip = python()?.join("pip");
    let wanted = install::recipe("ssh-clients", &["requirements.txt"])?;
    let wanted = wanted.lines().find(|line| line.starts_with("asyncssh==")).unwrap_or_default();
    let (name, wanted) = (wanted.replace("==", "-"), wanted.to_owned());
    let dir = install::once("asyncssh-sources", &wanted, |dir| {
        let mut fetch = Command::new(pip);
        fetch.args(["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"]);
        output("pip download", fetch.arg(dir).arg(&wanted))?;
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(dir.join(format!("{name}.tar.gz"))).arg("-C").arg(dir);
        output("tar", &mut tar).map(drop)
    })?;
    Ok(dir.join(name))
}

/// The folder of OpenSSH's regression suite, as Debian packages it.
///
/// # Errors
/// [`Error::Missing`] without it.
pub fn regress() -> Result<PathBuf, Error> {
    let dir = Path::new(REGRESS);
    if dir.join("test-exec.sh").is_file() {
        Ok(dir.to_owned())
    } else {
        Err(Error::missing("OpenSSH's regression suite", "apt-get install openssh-tests"))
    }
}
