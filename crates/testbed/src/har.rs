//! `haralyzer` (PyPI): an independent reader of HTTP Archives.

use std::process::Command;

use crate::dirs::find_program;
use crate::process::output;
use crate::{Error, install};

/// A program that reads the HTTP Archive that it is given as an argument, and prints method, URL
/// and status of each entry as JSON.
///
/// # Errors
/// [`Error::Missing`] without Python; [`Error::Failed`] if the library can't be installed.
pub fn har_reader() -> Result<Command, Error> {
    if find_program("python3", &[]).is_none() {
        return Err(Error::missing("python3", "apt-get install python3 python3-venv"));
    }
    let recipe = install::recipe("har", &["requirements.txt"])?;
    let dir = install::once("har", &recipe, |dir| {
        let venv = dir.join("venv");
        output("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--only-binary", ":all:"]).arg("-r");
        pip.arg(install::assets().join("har/requirements.txt"));
        output("pip install", &mut pip).map(drop)
    })?;
    let mut python = Command::new(dir.join("venv/bin/python"));
    python.arg("-B").arg(install::assets().join("har/read.py"));
    Ok(python)
}
