//! Fetching drivers and packages once, into the cache folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dirs::find_program;
use crate::process::output;
use crate::{Error, cache_dir};

/// Runs `install` in `cache/name` unless the same `recipe` was installed
/// there before. Other test processes wait for the one that installs.
pub(crate) fn once(
    name: &str,
    recipe: &str,
    install: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let fail = |e| Error::failed(format!("preparing the cache folder of {name}"), e);
    let dir = cache_dir().join(name);
    fs::create_dir_all(&dir).map_err(fail)?;
    let dir = dir.canonicalize().map_err(fail)?;
    let lock = File::create(cache_dir().join(format!("{name}.lock"))).map_err(fail)?;
    lock.lock().map_err(fail)?;
    let stamp = dir.join(".installed");
    if fs::read_to_string(&stamp).is_ok_and(|s| s == recipe) {
        return Ok(dir);
    }
    let _ = fs::remove_file(&stamp);
    install(&dir)?;
    fs::write(&stamp, recipe).map_err(fail)?;
    Ok(dir)
}

/// The folder of the files that are compiled from or run by other programs.
pub(crate) fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets")
}

/// Copies the named files of an assets folder and gives their joined text,
/// for use as a recipe.
pub(crate) fn recipe(folder: &str, files: &[&str]) -> Result<String, Error> {
    let mut all = String::new();
    for file in files {
        let path = assets().join(folder).join(file);
        let fail = |e| Error::failed(format!("reading {}", path.display()), e);
        all.push_str(&fs::read_to_string(&path).map_err(fail)?);
    }
    Ok(all)
}

/// Copies the named files of an assets folder to `to`, with the folders below it that they are in.
pub(crate) fn copy(folder: &str, files: &[&str], to: &Path) -> Result<(), Error> {
    for file in files {
        let from = assets().join(folder).join(file);
        let fail = |e| Error::failed(format!("copying {}", from.display()), e);
        let to = to.join(file);
        to.parent().map_or(Ok(()), fs::create_dir_all).map_err(fail)?;
        fs::copy(&from, to).map_err(fail)?;
    }
    Ok(())
}

/// The `bin` folder of a Python environment with what `requirements.txt` of an assets folder
/// names, wheels only, installed once into the cache folder.
pub(crate) fn python(folder: &str) -> Result<PathBuf, Error> {
    if find_program("python3", &[]).is_none() {
        return Err(Error::missing("python3", "apt-get install python3 python3-venv"));
    }
    let recipe = recipe(folder, &["requirements.txt"])?;
    let dir = once(&folder.replace('/', "-"), &recipe, |dir| {
        let venv = dir.join("venv");
        output("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--only-binary", ":all:"]).arg("-r");
        pip.arg(assets().join(folder).join("requirements.txt"));
        output("pip install", &mut pip).map(drop)
    })?;
    Ok(dir.join("venv/bin"))
}
