//! Keys for logs.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// No key was made.
#[derive(Debug, thiserror::Error)]
pub enum KeygenError {
    /// The origin can't be a key's name, or there is no randomness.
    #[error(transparent)]
    Key(#[from] tlog::KeyError),
    /// The file can't be written; one that is there is never overwritten.
    #[error("{}: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes a log's key: writes the private half to a new file that only its owner may read, and
/// gives the public half, whose text form (vkey) is for those who verify. `origin` is the log's
/// public name, `example.org/pg-1`, the same as in `[audit]`.
///
/// # Errors
/// [`KeygenError`].
pub fn keygen(file: &Path, origin: &str) -> Result<tlog::Verifier, KeygenError> {
    let mut seed = Zeroizing::new([0; tlog::KEY_LEN]);
    aws_lc_rs::rand::fill(&mut *seed).map_err(|_| tlog::KeyError::Crypto)?;
    let signer = tlog::Signer::from_seed(origin, &seed)?;
    let text = Zeroizing::new(format!("{}\n", STANDARD.encode(*seed)));
    let failed = |source| KeygenError::File { file: file.to_owned(), source };
    let mut out =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(failed)?;
    Ok(signer.verifier().clone())
}
