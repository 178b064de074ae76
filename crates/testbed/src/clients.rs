//! Real clients playing the common script of `assets/clients/README.md`.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::dirs::{Account, find_program, server_dir};
use crate::oidc::npm_ci;
use crate::process::output;
use crate::{Error, install, postgres, tokio_client};

/// How long one run of the script may take; a good run takes seconds.
const RUN_LIMIT: Duration = Duration::from_secs(180);

/// A client that people use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// psql: libpq, simple protocol.
    Psql,
    /// pgbench: simple, extended and prepared mode, and pipelines. Prints no
    /// statements.
    Pgbench,
    /// psycopg 3: libpq from Python; text and binary, pipeline mode.
    Psycopg,
    /// asyncpg: its own protocol code, binary throughout.
    Asyncpg,
    /// node-postgres: its own protocol code, text mostly.
    NodePostgres,
    /// pgjdbc: its own protocol code; fetch size, batches, named statements
    /// after a threshold.
    Pgjdbc,
    /// pgx: its own protocol code; statement cache, batches, binary COPY.
    Pgx,
    /// tokio-postgres: its own protocol code, in this process; binary, portals, pipelines.
    TokioPostgres,
}

/// Where and as whom a client connects.
#[derive(Clone)]
pub struct Login {
    /// A name in the server's certificate: `localhost` or `127.0.0.1`.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The password, or a token in its place.
    pub password: String,
    /// The database.
    pub database: String,
    /// The certificate authority to trust, PEM.
    pub authority: PathBuf,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, user, database, authority, password: _ } = self;
        f.debug_struct("Login")
            .field("host", host)
            .field("port", port)
            .field("user", user)
            .field("password", &"***")
            .field("database", database)
            .field("authority", authority)
            .finish()
    }
}

/// A statement that a client says it executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The text as it went over the wire.
    pub sql: String,
    /// The bind values in PostgreSQL's text form (time zone UTC), `None` for
    /// SQL NULL.
    pub params: Vec<Option<String>>,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Psql,
        Self::Pgbench,
        Self::Psycopg,
        Self::Asyncpg,
        Self::NodePostgres,
        Self::Pgjdbc,
        Self::Pgx,
        Self::TokioPostgres,
    ];

    /// The name as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Psql => "psql",
            Self::Pgbench => "pgbench",
            Self::Psycopg => "psycopg",
            Self::Asyncpg => "asyncpg",
            Self::NodePostgres => "node-postgres",
            Self::Pgjdbc => "pgjdbc",
            Self::Pgx => "pgx",
            Self::TokioPostgres => "tokio-postgres",
        }
    }

    /// Plays the common script against `login`; installs the driver first if
    /// need be (once, into the cache folder). Gives the statements the client
    /// says it executed, in order.
    ///
    /// # Errors
    /// [`Error::Missing`] when the language is not there; [`Error::Failed`]
    /// with what the client printed when an answer was not as expected.
    pub fn run(self, login: &Login) -> Result<Vec<Statement>, Error> {
        let what = format!("client {}", self.name());
        let Some(mut command) = self.command()? else {
            return tokio_client::play(login, RUN_LIMIT)
                .map_err(|e| Error::failed(what, tokio_client::told(&e)));
        };
        let dir = server_dir("client-", Account::Ours)?;
        let fail = |e| Error::failed(what.clone(), e);
        let (out, err) = (dir.path().join("out"), dir.path().join("err"));
        command
            .env("PGHOST", &login.host)
            .env("PGPORT", login.port.to_string())
            .env("PGUSER", &login.user)
            .env("PGPASSWORD", &login.password)
            .env("PGDATABASE", &login.database)
            .env("PGSSLROOTCERT", &login.authority)
            .env("CLIENT_TMP", dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env("PYTHONUTF8", "1")
            .env("TZ", "UTC")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(File::create(&out).map_err(fail)?)
            .stderr(File::create(&err).map_err(fail)?)
            .process_group(0);
        let good = wait(&mut command).map_err(fail)?;
        let out = fs::read_to_string(&out).map_err(fail)?;
        if !good {
            let err = fs::read(&err).unwrap_or_default();
            let last = out.lines().last().unwrap_or("nothing");
            let err = String::from_utf8_lossy(&err);
            return Err(Error::failed(what, format!("last statement: {last}\n{err}")));
        }
        out.lines().map(statement).collect()
    }

    /// What runs the script, with the driver installed; none for the one that runs here.
    fn command(self) -> Result<Option<Command>, Error> {
        match self {
            Self::Psql => shell("psql"),
            Self::Pgbench => shell("pgbench"),
            Self::Psycopg => python("psycopg_client.py"),
            Self::Asyncpg => python("asyncpg_client.py"),
            Self::NodePostgres => node(),
            Self::Pgjdbc => java(),
            Self::Pgx => go(),
            Self::TokioPostgres => return Ok(None),
        }
        .map(Some)
    }
}

fn shell(name: &str) -> Result<Command, Error> {
    let bin = postgres::bin_dir()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)))
        .map_err(|e| Error::failed("PATH", e))?;
    let mut sh = Command::new("sh");
    sh.arg(install::assets().join("clients").join(name).join("run.sh")).env("PATH", path);
    Ok(sh)
}

fn need(program: &str, how: &str) -> Result<(), Error> {
    match find_program(program, &[]) {
        Some(_) => Ok(()),
        None => Err(Error::missing(program, how)),
    }
}

fn python(script: &str) -> Result<Command, Error> {
    let mut python = Command::new(install::python("clients/python")?.join("python"));
    python.arg("-B").arg(install::assets().join("clients/python").join(script));
    Ok(python)
}

fn node() -> Result<Command, Error> {
    need("node", "install Node.js 20 or newer")?;
    need("npm", "install Node.js 20 or newer with npm")?;
    let files = ["package.json", "package-lock.json", "client.mjs"];
    let recipe = install::recipe("clients/node", &files)?;
    let dir = install::once("node", &recipe, |dir| {
        install::copy("clients/node", &files, dir)?;
        npm_ci(dir)
    })?;
    let mut node = Command::new("node");
    node.arg(dir.join("client.mjs"));
    Ok(node)
}

/// The driver's coordinates in Maven Central.
const PGJDBC: &str = "org.postgresql:postgresql:42.7.8";

fn java() -> Result<Command, Error> {
    for program in ["java", "javac", "mvn"] {
        need(program, "apt-get install default-jdk-headless maven")?;
    }
    let recipe = PGJDBC.to_owned() + &install::recipe("clients/java", &["Client.java"])?;
    let dir = install::once("java", &recipe, |dir| {
        let mut mvn = Command::new("mvn");
        mvn.args(["-q", "-B", "dependency:copy", "-Dmdep.stripVersion=true"]).current_dir(dir);
        mvn.arg(format!("-Dartifact={PGJDBC}"));
        mvn.arg(format!("-DoutputDirectory={}", dir.display()));
        output("mvn dependency:copy", &mut mvn)?;
        let mut javac = Command::new("javac");
        javac.args(["-encoding", "UTF-8", "-cp", "postgresql.jar", "-d", "."]).current_dir(dir);
        javac.arg(install::assets().join("clients/java/Client.java"));
        output("javac", &mut javac).map(|_| ())
    })?;
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"]);
    java.args(["-Dsun.stdout.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp"]);
    java.arg(format!("{0}:{0}/postgresql.jar", dir.display())).arg("Client");
    Ok(java)
}

fn go() -> Result<Command, Error> {
    need("go", "install Go 1.25 or newer")?;
    let files = ["go.mod", "go.sum", "main.go"];
    let recipe = install::recipe("clients/go", &files)?;
    let dir = install::once("go", &recipe, |dir| {
        install::copy("clients/go", &files, dir)?;
        let mut go = Command::new("go");
        go.args(["build", "-buildvcs=false", "-mod=readonly", "-o", "client", "."]);
        output("go build", go.current_dir(dir)).map(|_| ())
    })?;
    Ok(Command::new(dir.join("client")))
}

/// Runs to the end; kills the whole group when that takes too long.
fn wait(command: &mut Command) -> std::io::Result<bool> {
    let mut child = command.spawn()?;
    let end = Instant::now() + RUN_LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= end {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            child.wait()?;
            let limit = RUN_LIMIT.as_secs();
            return Err(std::io::Error::other(format!("not done after {limit} s")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn statement(line: &str) -> Result<Statement, Error> {
    let read = || {
        let value: Value = serde_json::from_str(line).ok()?;
        let sql = value.get("sql")?.as_str()?.to_owned();
        let params = value.get("params")?.as_array()?;
        let params = params.iter().map(|p| p.as_str().map(str::to_owned)).collect();
        Some(Statement { sql, params })
    };
    read().ok_or_else(|| Error::failed("reading what a client printed", line))
}

/// A test for each client, named after it, which gives it to this function.
#[macro_export]
macro_rules! test_every_client {
    ($plays:path) => {
        $crate::test_every_client! { $plays;
            psql Psql, pgbench Pgbench, psycopg Psycopg, asyncpg Asyncpg,
            node_postgres NodePostgres, pgjdbc Pgjdbc, pgx Pgx,
            tokio_postgres TokioPostgres
        }
    };
    ($plays:path; $($name:ident $client:ident),*) => {
        $(
            #[test]
            fn $name() {
                $plays($crate::clients::Client::$client);
            }
        )*
    };
}
