//! Throw-away certificates, made by the `openssl` command (it comes with
//! Debian's PostgreSQL), so that no test depends on a key in the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::output;
use crate::{Error, dirs};

/// A certificate authority for one test, in a folder of its own or a server's.
#[derive(Debug, Clone)]
pub struct Authority {
    dir: PathBuf,
}

/// A certificate and its private key, both PEM files.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its PKCS#8 private key, readable by the owner alone.
    pub key: PathBuf,
}

impl Authority {
    /// Makes a P-256 authority in `dir`, which must exist. Valid for two days.
    ///
    /// # Errors
    /// When the `openssl` command is missing or fails.
    pub fn new(dir: &Path) -> Result<Self, Error> {
        let ca = Self { dir: dir.to_owned() };
        if dirs::find_program("openssl", &[]).is_none() {
            return Err(Error::missing("the openssl command", "apt-get install openssl"));
        }
        let mut c = ca.openssl(&["req", "-x509", "-newkey", "ec"]);
        c.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-sha256"]);
        c.args(["-subj", "/CN=greffier test authority", "-keyout", "ca.key", "-out", "ca.crt"]);
        c.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        output("making a certificate authority", &mut c)?;
        Ok(ca)
    }

    /// The authority's certificate: what a client must trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// Issues a certificate for a server, for `localhost` and 127.0.0.1, or,
    /// with `client`, for a client whose common name is `name`.
    ///
    /// # Errors
    /// When `openssl` fails, or the folder is not writable.
    pub fn issue(&self, name: &str, client: bool) -> Result<Issued, Error> {
        let what = "issuing a certificate";
        let file = |ext: &str| self.dir.join(format!("{name}.{ext}"));
        let usage = if client { "clientAuth" } else { "serverAuth" };
        let san = if client { format!("DNS:{name}") } else { "DNS:localhost,IP:127.0.0.1".into() };
        let ext = format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
             extendedKeyUsage={usage}\nsubjectAltName={san}\n"
        );
        fs::write(file("ext"), ext).map_err(|e| Error::failed(what, e))?;
        let mut c = self.openssl(&["req", "-newkey", "ec", "-nodes", "-sha256"]);
        c.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", &format!("/CN={name}")]);
        c.arg("-keyout").arg(file("key")).arg("-out").arg(file("csr"));
        output(what, &mut c)?;
        let mut c = self.openssl(&["x509", "-req", "-sha256", "-days", "2", "-CAcreateserial"]);
        c.args(["-CA", "ca.crt", "-CAkey", "ca.key"]).arg("-in").arg(file("csr"));
        c.arg("-extfile").arg(file("ext")).arg("-out").arg(file("crt"));
        output(what, &mut c)?;
        Ok(Issued { certificate: file("crt"), key: file("key") })
    }

    fn openssl(&self, args: &[&str]) -> Command {
        let mut c = Command::new("openssl");
        c.args(args).current_dir(&self.dir);
        c
    }
}
