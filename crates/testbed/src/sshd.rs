//! OpenSSH's server, as Debian ships it, with keys and files of its own.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Error;
use crate::dirs::{Account, find_program, server_dir, spare_port};
use crate::process::{Server, Stop, output};

/// How long it may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Debian's folder for privilege separation, which its start script makes at every boot.
const RUN_DIR: &str = "/run/sshd";

/// How an [`Sshd`] is set up.
#[derive(Debug, Clone)]
pub struct SshdOptions {
    /// Further lines of its configuration, before all others: the first word on a thing counts.
    pub config: String,
    /// The host key's type: `ed25519`, `ecdsa` or `rsa`.
    pub host_key: &'static str,
    /// `internal-sftp`, or Debian's `sftp-server` program.
    pub internal_sftp: bool,
    /// Let in certificates of the authority that [`Sshd::user_ca`] names.
    pub user_ca: bool,
    /// Show a host certificate for `127.0.0.1`, of the authority that [`Sshd::host_ca`] names.
    pub host_ca: bool,
}

impl Default for SshdOptions {
    fn default() -> Self {
        Self {
            config: String::new(),
            host_key: "ed25519",
            internal_sftp: true,
            user_ca: false,
            host_ca: false,
        }
    }
}

/// A running OpenSSH server on 127.0.0.1. Ended when dropped.
///
/// It lets in the account that the tests run under ([`Sshd::login`]) by one key
/// ([`Sshd::client_key`]), and whoever has a certificate of its authority if so set up. It never
/// looks at the account's own `~/.ssh`, and sessions have its folder ([`Sshd::dir`]) as `HOME`.
#[derive(Debug)]
pub struct Sshd {
    server: Server,
    port: u16,
    login: String,
}

impl Sshd {
    /// Starts it.
    ///
    /// # Errors
    /// [`Error::Missing`] without `sshd` or `ssh-keygen`; [`Error::Failed`] when it does not
    /// start to listen.
    pub fn start(options: &SshdOptions) -> Result<Self, Error> {
        let bin = find_program("sshd", &[PathBuf::from("/usr/sbin")])
            .ok_or_else(|| Error::missing("sshd", "apt-get install openssh-server"))?;
        let dir = server_dir("sshd-", Account::Ours)?;
        let login = output("id", Command::new("id").arg("-un"))?.trim().to_owned();
        keys(dir.path(), options)?;
        let root = rustix::process::geteuid().is_root();
        if root && !Path::new(RUN_DIR).exists() {
            fs::create_dir(RUN_DIR)
                .and_then(|()| fs::set_permissions(RUN_DIR, fs::Permissions::from_mode(0o755)))
                .map_err(|e| Error::failed("making /run/sshd", e))?;
        }
        let port = spare_port()?;
        let path = dir.path().join("sshd_config");
        fs::write(&path, config(dir.path(), port, options))
            .map_err(|e| Error::failed("configuring sshd", e))?;
        let mut server = Server::new("sshd", dir, Stop::Term);
        let mut command = Command::new(bin);
        // Not a daemon, messages to standard error: the log is the server's own file.
        command.args(["-D", "-e", "-f"]).arg(&path);
        server.spawn(command, Account::Ours)?;
        server.wait_until(START_LIMIT, |_| answers(port))?;
        Ok(Self { server, port, login })
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The account it lets in: the one that the tests run under.
    #[must_use]
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Its folder, with all keys.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.server.dir()
    }

    /// The private key that it lets in, an ed25519 key in OpenSSH's format; its public half is
    /// beside it with `.pub`.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.dir().join("client")
    }

    /// Its host's public key, one line as in `known_hosts` without the names.
    ///
    /// # Errors
    /// [`Error::Failed`] if it can't be read.
    pub fn host_key(&self) -> Result<String, Error> {
        let read = fs::read_to_string(self.dir().join("host.pub"));
        read.map(|text| text.trim().to_owned()).map_err(|e| Error::failed("the host key", e))
    }

    /// The private key whose certificates it lets in, with [`SshdOptions::user_ca`].
    #[must_use]
    pub fn user_ca(&self) -> PathBuf {
        self.dir().join("user_ca")
    }

    /// The private key that signed its host certificate, with [`SshdOptions::host_ca`].
    #[must_use]
    pub fn host_ca(&self) -> PathBuf {
        self.dir().join("host_ca")
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.server.log()).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Kills the listening process at once. Connections of their own processes live on.
    pub fn kill9(&mut self) {
        self.server.kill9();
    }

    /// Runs `ssh-keygen` with these arguments in its folder.
    ///
    /// # Errors
    /// [`Error::Missing`] without the program, [`Error::Failed`] if it fails.
    pub fn keygen(&self, args: &[&str]) -> Result<(), Error> {
        keygen(self.dir(), args)
    }
}

fn keygen(dir: &Path, args: &[&str]) -> Result<(), Error> {
    output("ssh-keygen", Command::new("ssh-keygen").args(args).current_dir(dir)).map(drop)
}

fn keys(dir: &Path, options: &SshdOptions) -> Result<(), Error> {
    let make =
        |name: &str, kind: &str| keygen(dir, &["-q", "-t", kind, "-N", "", "-C", name, "-f", name]);
    make("host", options.host_key)?;
    make("client", "ed25519")?;
    if options.user_ca {
        make("user_ca", "ed25519")?;
    }
    if options.host_ca {
        make("host_ca", "ed25519")?;
        let names = ["-n", "127.0.0.1", "-V", "-5m:+1h"];
        let sign = ["-q", "-s", "host_ca", "-h", "-I", "testbed"];
        keygen(dir, &[&sign[..], &names[..], &["host.pub"]].concat())?;
    }
    fs::copy(dir.join("client.pub"), dir.join("authorized_keys"))
        .map(drop)
        .map_err(|e| Error::failed("copying a key", e))
}

fn config(dir: &Path, port: u16, options: &SshdOptions) -> String {
    let path = |name: &str| dir.join(name).display().to_string();
    let mut text = format!("{}\n", options.config);
    text.push_str(&format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nPidFile {}\nAuthorizedKeysFile {}\n",
        path("host"),
        path("sshd.pid"),
        path("authorized_keys"),
    ));
    // Its folder lies below one that everybody may write to.
    text.push_str(
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin yes\nPermitUserEnvironment no\nPrintMotd no\nPrintLastLog no\n\
         UseDNS no\nMaxStartups 500\nMaxSessions 200\nLogLevel VERBOSE\nX11Forwarding no\n\
         AcceptEnv LANG LC_* GIT_PROTOCOL TEST_*\n",
    );
    // What the account's own shell runs first would be slow, and may talk in between.
    text.push_str(&format!("SetEnv HOME={}\n", dir.display()));
    let sftp = if options.internal_sftp { "internal-sftp" } else { "/usr/lib/openssh/sftp-server" };
    text.push_str(&format!("Subsystem sftp {sftp}\n"));
    if options.user_ca {
        text.push_str(&format!("TrustedUserCAKeys {}\n", path("user_ca.pub")));
    }
    if options.host_ca {
        text.push_str(&format!("HostCertificate {}\n", path("host-cert.pub")));
    }
    text
}

/// Whether something on this port says that it speaks SSH.
fn answers(port: u16) -> bool {
    let mut said = [0; 4];
    TcpStream::connect(("127.0.0.1", port)).is_ok_and(|mut tcp| {
        let limit = tcp.set_read_timeout(Some(Duration::from_secs(2)));
        limit.is_ok() && tcp.read_exact(&mut said).is_ok() && said == *b"SSH-"
    })
}
