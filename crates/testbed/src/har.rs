//! `haralyzer` (PyPI): an independent reader of HTTP Archives.

use std::process::Command;

use crate::{Error, install};

/// A program that reads the HTTP Archive that it is given as an argument, and prints method, URL
/// and status of each entry as JSON.
///
/// # Errors
/// [`Error::Missing`] without Python; [`Error::Failed`] if the library can't be installed.
pub fn har_reader() -> Result<Command, Error> {
    let mut python = Command::new(install::python("har")?.join("python"));
    python.arg("-B").arg(install::assets().join("har/read.py"));
    Ok(python)
}
