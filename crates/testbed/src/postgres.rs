//! A private PostgreSQL instance.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Error;
use crate::dirs::{Account, find_program, server_dir, spare_port};
use crate::process::{Server, Stop, output};
use crate::statement_log::{self, Executed, LOG_PREFIX};
use crate::tls::{Authority, Issued};

/// How long a server may take to be ready; a loaded machine is slow.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often another port is tried when one was taken in between.
const PORT_TRIES: usize = 5;
/// The `application_name` of our own helper's statements.
const HELPER: &str = "testbed";
/// The oldest release that is supported.
const OLDEST: u32 = 15;

/// How clients over TCP prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    Trust,
    /// SCRAM-SHA-256.
    Scram,
    /// MD5 challenge.
    Md5,
    /// Password in clear text.
    Password,
    /// A client certificate whose common name is the user; needs `tls`.
    Certificate,
}

/// What kind of instance to start. `PgOptions::default()` is: trust, no TLS,
/// statements logged, no prepared transactions, fsync off.
#[derive(Debug, Clone)]
pub struct PgOptions {
    /// Authentication over TCP. The superuser is `postgres`; its password is
    /// [`Postgres::password`].
    pub auth: Auth,
    /// Serve TLS with a certificate for `localhost` and 127.0.0.1.
    pub tls: bool,
    /// `log_statement = all`, for [`Postgres::executed_statements`].
    pub log_statements: bool,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: u32,
    /// Whether the server waits for the disk.
    pub fsync: bool,
    /// More settings, name and value as in `postgresql.conf`.
    pub conf: Vec<(String, String)>,
    /// Lines put before ours in `pg_hba.conf`.
    pub hba: Vec<String>,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            auth: Auth::Trust,
            tls: false,
            log_statements: true,
            max_prepared_transactions: 0,
            fsync: false,
            conf: Vec::new(),
            hba: Vec::new(),
        }
    }
}

/// A running PostgreSQL. Ended, and its folder removed, when dropped.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    bin: PathBuf,
    account: Account,
    port: u16,
    authority: Option<Authority>,
}

impl Postgres {
    /// Runs `initdb` and starts the server; returns when it accepts
    /// connections (about two seconds).
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no PostgreSQL 15 or newer;
    /// [`Error::Failed`] with the log's end when it does not start.
    pub fn start(options: PgOptions) -> Result<Self, Error> {
        let bin = bin_dir()?;
        let account = Account::ordinary()?;
        let dir = server_dir("pg-", account)?;
        let mut pg = Self {
            server: Server::new("postgres", dir, Stop::Quit),
            bin,
            account,
            port: 0,
            authority: None,
        };
        pg.init_db(&options)?;
        for _ in 0..PORT_TRIES {
            pg.port = spare_port()?;
            match pg.launch() {
                Err(Error::Failed(f)) if f.reason.contains("Address already in use") => {}
                other => {
                    other?;
                    pg.set_password(&options)?;
                    return Ok(pg);
                }
            }
        }
        Err(pg.server.failure("no port was free"))
    }

    fn init_db(&mut self, options: &PgOptions) -> Result<(), Error> {
        let mut initdb = Command::new(self.bin.join("initdb"));
        initdb.arg("-D").arg(self.data_dir()).current_dir(self.server.dir());
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        self.account.run(&mut initdb);
        output("initdb", &mut initdb)?;
        if options.tls {
            let authority = Authority::new(self.server.dir())?;
            authority.issue("server", false)?;
            self.authority = Some(authority);
        }
        let fail = |e| Error::failed("configuring PostgreSQL", e);
        fs::write(self.data_dir().join("postgresql.auto.conf"), self.conf(options))
            .map_err(fail)?;
        fs::write(self.data_dir().join("pg_hba.conf"), self.hba(options)).map_err(fail)?;
        self.account.own_all(self.server.dir()).map_err(fail)
    }

    fn conf(&self, options: &PgOptions) -> String {
        let dir = self.server.dir().display().to_string();
        let on = |b| if b { "on" } else { "off" }.to_owned();
        let mut all: Vec<(String, String)> = [
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("unix_socket_directories", dir.clone()),
            ("logging_collector", on(false)),
            ("log_destination", "stderr".into()),
            ("log_line_prefix", LOG_PREFIX.into()),
            ("log_statement", if options.log_statements { "all" } else { "none" }.into()),
            ("max_prepared_transactions", options.max_prepared_transactions.to_string()),
            ("fsync", on(options.fsync)),
            // Stays on: what was committed must outlive a kill -9.
            ("synchronous_commit", on(true)),
            ("full_page_writes", on(options.fsync)),
            ("ssl", on(options.tls)),
            ("timezone", "UTC".into()),
            ("log_timezone", "UTC".into()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
        if options.tls {
            all.push(("ssl_ca_file".into(), format!("{dir}/ca.crt")));
            all.push(("ssl_cert_file".into(), format!("{dir}/server.crt")));
            all.push(("ssl_key_file".into(), format!("{dir}/server.key")));
        }
        if options.auth == Auth::Md5 {
            all.push(("password_encryption".into(), "md5".into()));
        }
        all.extend(options.conf.iter().cloned());
        let quoted = |v: &str| v.replace('\'', "''");
        all.iter().map(|(k, v)| format!("{k} = '{}'\n", quoted(v))).collect()
    }

    fn hba(&self, options: &PgOptions) -> String {
        let method = match options.auth {
            Auth::Trust => "trust",
            Auth::Scram => "scram-sha-256",
            Auth::Md5 => "md5",
            Auth::Password => "password",
            Auth::Certificate => "cert",
        };
        let kind = if options.auth == Auth::Certificate { "hostssl" } else { "host" };
        let mut text = options.hba.join("\n");
        text.push_str("\nlocal all all trust\n");
        for database in ["all", "replication"] {
            text.push_str(&format!("{kind} {database} all 127.0.0.1/32 {method}\n"));
        }
        text
    }

    fn set_password(&self, options: &PgOptions) -> Result<(), Error> {
        if options.auth != Auth::Trust {
            self.psql(&format!("alter role postgres password '{}'", self.password()))?;
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<(), Error> {
        let mut command = Command::new(self.bin.join("postgres"));
        command.arg("-D").arg(self.data_dir()).args(["-p", &self.port.to_string()]);
        self.server.spawn(command, self.account)?;
        let status = self.data_dir().join("postmaster.pid");
        self.server.wait_until(START_LIMIT, |server| {
            // Our own process's file, not one that a killed server left.
            let text = fs::read_to_string(&status).unwrap_or_default();
            let mut lines = text.lines();
            lines.next().and_then(|l| l.trim().parse().ok()) == server.pid()
                && lines.nth(6).is_some_and(|l| l.trim() == "ready")
        })
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password (known to tests, not a secret).
    #[must_use]
    pub fn password(&self) -> &'static str {
        "postgres-of-the-testbed"
    }

    /// `postgres://user[:password]@127.0.0.1:port/database`; the password is
    /// there for the superuser only.
    #[must_use]
    pub fn url(&self, user: &str, database: &str) -> String {
        let secret =
            if user == "postgres" { format!(":{}", self.password()) } else { String::new() };
        format!("postgres://{user}{secret}@127.0.0.1:{}/{database}", self.port)
    }

    /// The folder of the Unix socket, where every role is trusted.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        self.server.dir()
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.server.dir().join("data")
    }

    /// The folder of the server's programs.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bin
    }

    /// The certificate that clients must trust, if TLS is on.
    #[must_use]
    pub fn ca_certificate(&self) -> Option<PathBuf> {
        self.authority.as_ref().map(Authority::certificate)
    }

    /// A certificate for a client whose common name is `user`.
    ///
    /// # Errors
    /// When TLS is off, or `openssl` fails.
    pub fn client_certificate(&self, user: &str) -> Result<Issued, Error> {
        let none = || Error::failed("issuing a certificate", "this instance has no TLS");
        self.authority.as_ref().ok_or_else(none)?.issue(user, true)
    }

    /// Runs `sql` with psql as superuser in database `postgres`, over the
    /// Unix socket. Gives the rows, unaligned, without the last newline.
    /// Several statements in one text run as one transaction.
    ///
    /// # Errors
    /// When a statement fails, with what psql said.
    pub fn psql(&self, sql: &str) -> Result<String, Error> {
        self.psql_in("postgres", sql)
    }

    /// As [`Postgres::psql`], in another database.
    ///
    /// # Errors
    /// When a statement fails, with what psql said.
    pub fn psql_in(&self, database: &str, sql: &str) -> Result<String, Error> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        psql.arg(self.socket_dir()).args(["-p", &self.port.to_string(), "-c", sql]);
        psql.env("PGAPPNAME", HELPER).current_dir("/");
        let out = output("psql", &mut psql)?;
        Ok(out.strip_suffix('\n').unwrap_or(&out).to_owned())
    }

    /// What the server says it executed, in order, without the statements of
    /// this handle's own [`Postgres::psql`]. Complete for every statement
    /// whose answer a client has seen. Needs `log_statements`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn executed_statements(&self) -> Result<Vec<Executed>, Error> {
        let log = self.log()?;
        let mut all = statement_log::parse(&log);
        all.retain(|e| e.application != HELPER);
        Ok(all)
    }

    /// The whole server log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> Result<String, Error> {
        let bytes = fs::read(self.server.log()).map_err(|e| Error::failed("reading the log", e))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The postmaster's process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Kills the postmaster with SIGKILL; its backends notice and end.
    pub fn kill9(&mut self) {
        self.server.kill9();
    }

    /// Ends the server in order and starts it again, on the same port and
    /// data; also after [`Postgres::kill9`].
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.server.end();
        // After a kill the last backends hold the shared memory for a moment.
        let end = Instant::now() + START_LIMIT;
        loop {
            match self.launch() {
                Err(Error::Failed(f))
                    if f.reason.contains("pre-existing shared memory") && Instant::now() < end =>
                {
                    std::thread::sleep(Duration::from_millis(200));
                }
                other => return other,
            }
        }
    }
}

/// The folder with the programs of the newest PostgreSQL there is.
pub(crate) fn bin_dir() -> Result<PathBuf, Error> {
    let missing = || {
        Error::missing(
            format!("PostgreSQL {OLDEST} or newer"),
            "apt-get install postgresql (or put initdb and postgres in PATH)",
        )
    };
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .filter(|(version, bin)| *version >= OLDEST && bin.join("initdb").is_file())
        .collect();
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return Ok(bin);
    }
    let initdb = find_program("initdb", &[]).and_then(|p| p.canonicalize().ok());
    let bin = initdb.and_then(|p| p.parent().map(Path::to_owned)).ok_or_else(missing)?;
    let version = output("postgres", Command::new(bin.join("postgres")).arg("--version"))?;
    let digits = |c: char| !c.is_ascii_digit();
    let major = version.split(digits).find(|w| !w.is_empty()).and_then(|w| w.parse().ok());
    if major.is_some_and(|m: u32| m >= OLDEST) { Ok(bin) } else { Err(missing()) }
}
