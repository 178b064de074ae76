//! A folder with every file that a configuration may name.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a folder that can't be set up fails its test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use config::{Loaded, Problems};

pub(crate) const ORIGIN: &str = "example.org/pg-1";

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// With a certificate and key under several names, and a log key.
    pub(crate) fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        for name in ["server", "warehouse-client", "orders-ca"] {
            folder.write(&format!("{name}.crt"), &made.cert.pem(), 0o644);
            folder.write(&format!("{name}.key"), &made.signing_key.serialize_pem(), 0o600);
        }
        config::keygen(&folder.path("log.key"), ORIGIN).unwrap();
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Loads a text as `greffier.toml`, with these variables in the environment.
    pub(crate) fn load(&self, text: &str, env: &[(&str, &str)]) -> Result<Loaded, Problems> {
        let file = self.write("greffier.toml", text, 0o644);
        let find = |name: &str| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        config::load_with(&file, &find)
    }

    /// The problems as lines, without the folder's name.
    pub(crate) fn problems(&self, text: &str) -> Vec<String> {
        match self.load(text, &[]) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.all.iter().map(ToString::to_string).collect(),
        }
    }
}
