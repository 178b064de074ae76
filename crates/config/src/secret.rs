//! Secrets: named in the file, kept elsewhere.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny};
use zeroize::Zeroizing;

/// The longest secret read from a file, in bytes.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Permission bits that a file with a secret must not have: anything for everybody.
const FOR_EVERYBODY: u32 = 0o007;

/// Where a secret is kept: `env:NAME` or `file:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretRef {
    Env(String),
    File(PathBuf),
}

impl SecretRef {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("env", name) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Some(Self::Env(name.to_owned()))
            }
            ("file", path) if !path.is_empty() => Some(Self::File(PathBuf::from(path))),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    #[allow(dead_code, reason = "only its being there matters")]
    Other(IgnoredAny),
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // The message never repeats what was written: it may be the secret itself.
        let found = match Written::deserialize(from)? {
            Written::Text(text) => Self::parse(&text),
            Written::Other(_) => None,
        };
        found.ok_or_else(|| {
            D::Error::custom(
                "must be \"env:NAME\" or \"file:/path\"; a secret itself does not belong here",
            )
        })
    }
}

/// A secret that was read. `Debug` prints `***`; the memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The secret itself. Every call is a place to review.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Looks a variable of the environment up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl SecretRef {
    /// Reads the secret; the message says what is wrong and never what is in it.
    pub(crate) fn read(&self, base: &Path, env: Lookup<'_>) -> Result<Secret, String> {
        let bytes = match self {
            SecretRef::Env(name) => env(name)
                .map(|text| Zeroizing::new(text.into_bytes()))
                .ok_or_else(|| format!("the environment variable {name} is not set"))?,
            SecretRef::File(path) => read_private(&base.join(path))?,
        };
        if bytes.is_empty() {
            return Err("the secret is empty".to_owned());
        }
        Ok(Secret(bytes))
    }
}

/// Reads a file that not everybody may read; one newline at its end is not part of the secret.
fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    check_private(path)?;
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(failed)?;
    let read = file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > MAX_SECRET_BYTES {
        return Err(format!("{} is longer than {MAX_SECRET_BYTES} bytes", path.display()));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// Refuses a file that everybody on this machine may read or change.
pub(crate) fn check_private(path: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
    if !meta.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    if meta.permissions().mode() & FOR_EVERYBODY != 0 {
        return Err(format!("{0} is open to everybody; `chmod o= {0}`", path.display()));
    }
    Ok(())
}
