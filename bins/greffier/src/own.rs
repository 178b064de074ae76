//! What is the caller's own: a token, a home, files beside one another.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use identity::Secret;

use crate::error::Error;

/// The longest token, key or bundle of certificates read, in bytes.
const MAX_INPUT: u64 = 512 * 1024;

/// The token: of a file, `-` for standard input, or without one of the variable GREFFIER_TOKEN.
pub(crate) fn token(file: Option<&Path>) -> Result<Secret, Error> {
    let text = match file {
        Some(file) if file == Path::new("-") => {
            let mut text = String::new();
            let read = std::io::stdin().take(MAX_INPUT).read_to_string(&mut text);
            read.map(|_| text).map_err(|error| format!("standard input: {error}"))
        }
        Some(file) => {
            let file = at_home(file)?;
            read(&file).map_err(|error| format!("{}: {error}", file.display()))
        }
        None => std::env::var("GREFFIER_TOKEN")
            .map_err(|_| "no token: set GREFFIER_TOKEN, or name --token-file".to_owned()),
    };
    let text = text.map_err(Error::Argument)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Error::Argument("the token is empty".into()));
    }
    Ok(Secret::from(token))
}

/// `~/` is the caller's home: in OpenSSH's configuration no shell stands before us.
pub(crate) fn at_home(path: &Path) -> Result<PathBuf, Error> {
    let Ok(below) = path.strip_prefix("~") else { return Ok(path.to_owned()) };
    let home = std::env::home_dir().ok_or_else(|| Error::Argument("you have no home".into()))?;
    Ok(home.join(below))
}

/// A path with this behind its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A short text file.
pub(crate) fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_INPUT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_INPUT {
        return Err(std::io::Error::other(format!("is longer than {MAX_INPUT} bytes")));
    }
    Ok(text)
}

/// Replaces a file at once: who reads it sees the old one or the new one.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let aside = with_suffix(path, &format!(".{}", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&aside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // Best effort: what could not be finished is of no use.
        let _gone = fs::remove_file(&aside);
    }
    written.map_err(failed)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
