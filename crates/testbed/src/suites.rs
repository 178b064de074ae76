//! PostgreSQL's own conformance suites, aimed at a host and port.
//!
//! The programs `pg_regress`, `pg_isolation_regress` and `isolationtester`
//! come with Debian's server package. The scripts, expected results and
//! recorded protocol traces come from the source package of exactly the
//! installed version, and its headers and libraries from the development
//! package: fetched with apt-get under private package lists, unpacked into
//! the cache folder, nothing installed, no root needed.
//!
//! What lies between may be a proxy, but the server must run on this machine
//! under the account that [`crate::Postgres`] uses, because the scripts let it
//! read and write files; and the login must be a superuser's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::dirs::{Account, find_program, server_dir};
use crate::process::output;
use crate::{Error, install, logs_dir, postgres};

/// The schedule's largest group; with less, pg_regress refuses to start.
const PARALLEL: &str = "--max-concurrent-tests=20";
/// Connections at once; twenty would only fight for two cores.
const CONNECTIONS: &str = "--max-connections=8";
/// Rows that libpq_pipeline sends where a test takes a number, as upstream.
const PIPELINE_ROWS: &str = "700";
/// coreutils' `timeout` for one suite, in seconds.
const SUITE_LIMIT: &str = "1200";
/// The same for one pipeline test.
const CLIENT_LIMIT: &str = "60";

/// Where a suite connects.
#[derive(Clone, Default)]
pub struct Through {
    /// The host; with `authority`, a name in the server's certificate.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user: must end up as a superuser.
    pub user: String,
    /// The password or token, if one is asked for.
    pub password: Option<String>,
    /// The authority to trust: TLS with full verification. `None`: no TLS.
    pub authority: Option<PathBuf>,
}

impl std::fmt::Debug for Through {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, user, authority, password } = self;
        let password = password.as_ref().map(|_| "***");
        write!(f, "Through {{ {user}@{host}:{port}, {password:?}, {authority:?} }}")
    }
}

/// How a suite went.
#[derive(Debug, Clone)]
pub struct SuiteResult {
    /// The tests that passed.
    pub passed: Vec<String>,
    /// The tests that failed.
    pub failed: Vec<String>,
    /// Recorded traces that were compared and equal (libpq_pipeline only).
    pub equal_traces: usize,
    /// How long it took, without fetching and building.
    pub took: Duration,
    /// Where the differences were kept, when something failed.
    pub kept: Option<PathBuf>,
}

/// The core SQL regression suite: 217 scripts in PostgreSQL 15.
///
/// The server needs `max_prepared_transactions` of at least 2, and must have
/// no database `regression` in use.
///
/// # Errors
/// [`Error::Missing`] without Debian's server package, apt-get or a C
/// compiler; [`Error::Failed`] when the suite did not run to its end.
pub fn pg_regress(through: &Through) -> Result<SuiteResult, Error> {
    let files = Files::get()?;
    let run = Run::new(through)?;
    let input = run.copy(&files.source.join("src/test/regress"), "in")?;
    let libraries = run.folder("dl")?;
    let own = files.server.lib.clone();
    for library in [files.built.join("regress.so"), own.join("autoinc.so"), own.join("refint.so")] {
        let name = library.file_name().unwrap_or_default();
        fs::copy(&library, libraries.join(name)).map_err(|e| Error::failed("copying", e))?;
    }
    let mut command = run.command(&files.server.test.join("regress/pg_regress"), &files);
    command.arg("--dbname=regression").args(["--no-locale", "--encoding=UTF8"]);
    command.arg(format!("--dlpath={}", libraries.display())).args([PARALLEL, CONNECTIONS]);
    command.arg(format!("--schedule={}", input.join("parallel_schedule").display()));
    run.tap(command, through, &input)
}

/// How often specifications that failed are tried again, alone. The tester looks every 10 ms
/// whether a session waits for a lock, and fails what comes from it after that: a NOTICE that was on
/// its way, on a machine that is busy, proxy or none.
const MORE_TRIES: u32 = 2;
/// Not if more than these failed: that is no matter of time.
const MAX_AGAIN: usize = 3;

/// The isolation suite: 115 specifications of up to four sessions each in
/// PostgreSQL 15.
///
/// # Errors
/// As [`pg_regress`].
pub fn isolation(through: &Through) -> Result<SuiteResult, Error> {
    let mut result = isolation_of(through, &[])?;
    for _ in 0..MORE_TRIES {
        let again = std::mem::take(&mut result.failed);
        if again.is_empty() || again.len() > MAX_AGAIN {
            result.failed = again;
            break;
        }
        let more = isolation_of(through, &again)?;
        result.passed.extend(more.passed);
        result.took += more.took;
        (result.failed, result.kept) = (more.failed, more.kept);
    }
    Ok(result)
}

/// The whole schedule, or these specifications of it.
fn isolation_of(through: &Through, only: &[String]) -> Result<SuiteResult, Error> {
    let files = Files::get()?;
    let run = Run::new(through)?;
    let input = run.copy(&files.source.join("src/test/isolation"), "iso")?;
    let mut command =
        run.command(&files.server.test.join("isolation/pg_isolation_regress"), &files);
    command.arg("--dbname=isolation_regression").args(["--no-locale", "--encoding=UTF8"]);
    command.arg(CONNECTIONS);
    match only.is_empty() {
        true => {
            command.arg(format!("--schedule={}", input.join("isolation_schedule").display()));
        }
        false => {
            command.args(only);
        }
    }
    run.tap(command, through, &input)
}

/// libpq's pipeline tests: 11, of which 9 have a recorded protocol trace that
/// must be equal message by message.
///
/// # Errors
/// As [`pg_regress`].
pub fn libpq_pipeline(through: &Through) -> Result<SuiteResult, Error> {
    let files = Files::get()?;
    let run = Run::new(through)?;
    // The cache folder may be out of the account's reach.
    let program = run.dir.path().join("libpq_pipeline");
    fs::copy(files.built.join("libpq_pipeline"), &program)
        .and_then(|_| run.account.own(&program))
        .map_err(|e| Error::failed("copying libpq_pipeline", e))?;
    let names = output("libpq_pipeline tests", Command::new(&program).arg("tests"))?;
    let begun = Instant::now();
    let (mut passed, mut failed, mut equal_traces) = (Vec::new(), Vec::new(), 0);
    let out = logs_dir().join("libpq_pipeline");
    let conninfo = format!(
        "host={} port={} user={} dbname=postgres",
        through.host, through.port, through.user
    );
    for name in names.split_whitespace() {
        let mut drop = run.as_client(&files.server.bin.join("psql"), through);
        drop.args(["-XAtq", "-d", &conninfo, "-c"]);
        drop.arg("drop table if exists pq_pipeline_demo, pq_pipeline_tst");
        output("psql", drop.env("PGOPTIONS", "-c client_min_messages=warning"))?;
        let trace = run.dir.path().join(format!("{name}.trace"));
        let mut test = run.as_client(&program, through);
        test.args(["-r", PIPELINE_ROWS, "-t"]).arg(&trace).args([name, &conninfo]);
        let ran = output(name, &mut test);
        let wanted = files.source.join("src/test/modules/libpq_pipeline/traces");
        let wanted = fs::read(wanted.join(format!("{name}.trace"))).ok();
        let equal = wanted.as_ref().map(|w| fs::read(&trace).is_ok_and(|got| got == *w));
        equal_traces += usize::from(equal == Some(true));
        if ran.is_ok() && equal != Some(false) {
            passed.push(name.to_owned());
            continue;
        }
        // Best effort: the verdict does not depend on the copy.
        let _ = fs::create_dir_all(&out);
        let _ = fs::copy(&trace, out.join(format!("{name}.trace")));
        let _ = fs::write(out.join(format!("{name}.err")), format!("{ran:?}"));
        failed.push(name.to_owned());
    }
    let kept = (!failed.is_empty()).then_some(out);
    Ok(SuiteResult { passed, failed, equal_traces, took: begun.elapsed(), kept })
}

/// Debian's server: its programs, libraries and test programs.
struct Debian {
    major: String,
    version: String,
    bin: PathBuf,
    lib: PathBuf,
    test: PathBuf,
}

impl Debian {
    fn find() -> Result<Self, Error> {
        let how = "apt-get install postgresql (Debian or a relative of it)";
        let missing = || Error::missing("Debian's PostgreSQL server package", how);
        let bin = postgres::bin_dir()?;
        let top = bin.parent().ok_or_else(missing)?.to_owned();
        let lib = top.join("lib");
        let test = lib.join("pgxs/src/test");
        let major = top.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        for program in ["apt-get", "dpkg-query", "cc", "timeout", "setpriv", "tar"] {
            if !test.join("regress/pg_regress").is_file() || find_program(program, &[]).is_none() {
                return Err(missing());
            }
        }
        let mut query = Command::new("dpkg-query");
        query.args(["-W", "-f", "${source:Version}"]).arg(format!("postgresql-{major}"));
        let version = output("dpkg-query", &mut query)?.trim().to_owned();
        Ok(Self { major, version, bin, lib, test })
    }
}

/// The suites' files, fetched and built.
struct Files {
    server: Debian,
    source: PathBuf,
    built: PathBuf,
}

impl Files {
    fn get() -> Result<Self, Error> {
        let server = Debian::find()?;
        let recipe = format!("postgresql-{} {} 1", server.major, server.version);
        let dir = install::once("suites", &recipe, |dir| fetch(dir, &server))?;
        Ok(Self { server, source: dir.join("source"), built: dir.join("built") })
    }
}

fn fetch(dir: &Path, server: &Debian) -> Result<(), Error> {
    let what = "fetching PostgreSQL's suites";
    let fail = |e| Error::failed(what, e);
    for folder in ["parts", "lists/partial", "cache/archives/partial", "source", "dev", "built"] {
        let _ = fs::remove_dir_all(dir.join(folder));
        fs::create_dir_all(dir.join(folder)).map_err(fail)?;
    }
    own_lists(&dir.join("parts")).map_err(fail)?;
    let apt = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.arg("-qq").current_dir(dir);
        let option = |name: &str, value: &str| format!("{name}={}", dir.join(value).display());
        apt.args(["-o", "Dir::Etc::SourceList=/dev/null", "-o", "APT::Sandbox::User="]);
        apt.arg("-o").arg(option("Dir::Etc::SourceParts", "parts"));
        apt.arg("-o").arg(option("Dir::State::Lists", "lists"));
        apt.arg("-o").arg(option("Dir::Cache", "cache"));
        output(what, apt.args(args))
    };
    // One unreachable list among many is no failure; what is missing then is.
    let _ = apt(&["update"]);
    let (major, version) = (&server.major, &server.version);
    let exactly = |e| match e {
        // The archive keeps only the newest of each release.
        Error::Failed(f)
            if f.reason.contains("Unable to find") || f.reason.contains("not found") =>
        {
            let what = format!("the source package of PostgreSQL {version}");
            Error::missing(what, format!("apt-get update && apt-get install postgresql-{major}"))
        }
        other => other,
    };
    apt(&["source", "--download-only", &format!("postgresql-{major}={version}")])
        .map_err(exactly)?;
    apt(&["download", &format!("postgresql-server-dev-{major}={version}")]).map_err(exactly)?;
    apt(&["download", "libpq-dev"])?;
    for entry in fs::read_dir(dir).map_err(fail)?.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".deb") {
            output(what, Command::new("dpkg").arg("-x").arg(&path).arg(dir.join("dev")))?;
        } else if name.contains(".orig.tar.") {
            let mut tar = Command::new("tar");
            tar.arg("-xf").arg(&path).arg("-C").arg(dir.join("source"));
            output(
                what,
                tar.args(["--strip-components=1", "--wildcards", "*/src/test", "*/src/include"]),
            )?;
        }
    }
    build(dir, server)
}

/// The machine's own package sources, also for source packages.
fn own_lists(parts: &Path) -> std::io::Result<()> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(fs::read_dir("/etc/apt/sources.list.d")?.flatten().map(|e| e.path()));
    for file in files {
        let Some(name) = file.file_name().and_then(|n| n.to_str()) else { continue };
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let text = if name.ends_with(".sources") {
            text.replace("Types: deb-src", "Types: deb")
                .replace("Types: deb", "Types: deb deb-src")
                .replace("deb deb-src deb-src", "deb deb-src")
        } else if name.ends_with(".list") {
            let with_source = |l: &str| match l.strip_prefix("deb ") {
                Some(rest) => format!("{l}\ndeb-src {rest}\n"),
                None => format!("{l}\n"),
            };
            text.lines().map(with_source).collect()
        } else {
            continue;
        };
        fs::write(parts.join(name), text)?;
    }
    Ok(())
}

fn build(dir: &Path, server: &Debian) -> Result<(), Error> {
    let source = dir.join("source/src");
    let dev = dir.join("dev/usr");
    let headers = dev.join("include/postgresql").join(&server.major).join("server");
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-fPIC", "-shared", "-I"]).arg(&headers);
    cc.arg("-o").arg(dir.join("built/regress.so")).arg(source.join("test/regress/regress.c"));
    output("building regress.so", &mut cc)?;
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-I"]).arg(source.join("include")).arg("-I").arg(&headers);
    cc.arg("-I").arg(dev.join("include/postgresql"));
    cc.arg("-o").arg(dir.join("built/libpq_pipeline"));
    cc.arg(source.join("test/modules/libpq_pipeline/libpq_pipeline.c"));
    cc.arg("-l:libpq.so.5")
        .arg("-L")
        .arg(dev.join("lib/postgresql").join(&server.major).join("lib"));
    for entry in fs::read_dir(dev.join("lib")).into_iter().flatten().flatten() {
        cc.arg("-L").arg(entry.path());
    }
    output("building libpq_pipeline", cc.args(["-lpgcommon", "-lpgport"])).map(|_| ())
}

/// One run's folder, owned by the server's account.
struct Run {
    dir: TempDir,
    account: Account,
}

impl Run {
    fn new(through: &Through) -> Result<Self, Error> {
        let account = Account::ordinary()?;
        let run = Self { dir: server_dir("suite-", account)?, account };
        let fail = |e| Error::failed("preparing a suite", e);
        run.folder("out")?;
        if let Some(authority) = &through.authority {
            fs::copy(authority, run.dir.path().join("ca.crt")).map_err(fail)?;
        }
        run.account.own_all(run.dir.path()).map_err(fail)?;
        Ok(run)
    }

    fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).map_err(|e| Error::failed("preparing a suite", e))?;
        Ok(path)
    }

    fn copy(&self, from: &Path, name: &str) -> Result<PathBuf, Error> {
        let to = self.folder(name)?;
        let mut cp = Command::new("cp");
        output("cp", cp.arg("-r").arg(from.join(".")).arg(&to))?;
        Ok(to)
    }

    /// A suite's driver with the options that all have.
    fn command(&self, program: &Path, files: &Files) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", SUITE_LIMIT]).arg(program);
        command.arg(format!("--bindir={}", files.server.bin.display()));
        command.arg(format!("--outputdir={}", self.dir.path().join("out").display()));
        command
    }

    /// A client program under coreutils' `timeout`.
    fn as_client(&self, program: &Path, through: &Through) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", CLIENT_LIMIT]).arg(program);
        self.login(&mut command, through);
        command
    }

    fn login(&self, command: &mut Command, through: &Through) {
        let tls = through.authority.is_some();
        command.env("PGSSLMODE", if tls { "verify-full" } else { "disable" });
        command.env("PGSSLROOTCERT", self.dir.path().join("ca.crt"));
        command.env("PGPASSWORD", through.password.as_deref().unwrap_or_default());
        // Not our own home: the account may not look into it.
        command.env("PGGSSENCMODE", "disable").env("HOME", self.dir.path());
        command.current_dir(self.dir.path());
        self.account.run(command);
    }

    /// Runs a driver and reads its report.
    fn tap(
        &self,
        mut command: Command,
        through: &Through,
        input: &Path,
    ) -> Result<SuiteResult, Error> {
        let what = "the suite";
        let fail = |e| Error::failed(what, e);
        self.account.own_all(self.dir.path()).map_err(fail)?;
        command.arg(format!("--inputdir={}", input.display()));
        command.arg(format!("--host={}", through.host)).arg(format!("--port={}", through.port));
        command.arg(format!("--user={}", through.user)).stdin(Stdio::null());
        self.login(&mut command, through);
        let begun = Instant::now();
        let out = command.output().map_err(fail)?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let (passed, failed) = verdicts(&text);
        if passed.is_empty() || (failed.is_empty() && !out.status.success()) {
            let err = String::from_utf8_lossy(&out.stderr);
            return Err(Error::failed(what, format!("{}\n{text}{err}", out.status)));
        }
        let kept = if failed.is_empty() { None } else { self.keep() };
        Ok(SuiteResult { passed, failed, equal_traces: 0, took: begun.elapsed(), kept })
    }

    fn keep(&self) -> Option<PathBuf> {
        let name = self.dir.path().file_name()?.to_string_lossy().into_owned();
        let to = logs_dir().join(format!("{name}.diffs"));
        fs::create_dir_all(logs_dir()).ok()?;
        fs::copy(self.dir.path().join("out/regression.diffs"), &to).ok()?;
        Some(to)
    }
}

/// Reads both of pg_regress's reports: `name ... ok 12 ms` (15), and TAP's
/// `ok 1 - name 12 ms` (16 and later).
fn verdicts(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, good) = match words.as_slice() {
            ["not", "ok", _, "-" | "+", name, ..] => (*name, false),
            ["ok", _, "-" | "+", name, ..] => (*name, true),
            ["test", name, "...", verdict, ..] | [name, "...", verdict, ..] => {
                (*name, *verdict == "ok")
            }
            _ => continue,
        };
        if good { &mut passed } else { &mut failed }.push(name.to_owned());
    }
    (passed, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_reports_are_read() {
        let text = "test tablespace                   ... ok           66 ms\n\
            parallel group (2 tests):  boolean char\n     boolean       ... FAILED  30 ms\n\
            ok 3         - char    9 ms\nnot ok 4     + name   9 ms\n";
        let (passed, failed) = verdicts(text);
        assert_eq!(passed, ["tablespace", "char"]);
        assert_eq!(failed, ["boolean", "name"]);
    }
}
