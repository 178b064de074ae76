//! h2spec: what RFC 9113 and RFC 7541 demand of a server, case by case.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::dirs::find_program;
use crate::process::output;
use crate::{Error, install};

const FOLDER: &str = "h2spec";
const PACKAGE: &str = "github.com/summerwind/h2spec/cmd/h2spec";
/// How long one case waits for what should come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is wrong in each case, by the case's section and name; `None`: nothing.
pub type H2Cases = BTreeMap<String, Option<String>>;

/// Runs every case, the strict ones too, against what listens on a loopback port and speaks HTTP/2
/// by prior knowledge. `path` must be one that is answered.
///
/// # Errors
/// [`Error::Missing`] without Go; [`Error::Failed`] if it can't be built or does not report.
pub fn h2spec(port: u16, path: &str) -> Result<H2Cases, Error> {
    if find_program("go", &[]).is_none() {
        return Err(Error::missing("go", "install Go 1.25 or newer"));
    }
    let files = ["go.mod", "go.sum"];
    let recipe = install::recipe(FOLDER, &files)?;
    let program = install::once(FOLDER, &recipe, |dir| {
        install::copy(FOLDER, &files, dir)?;
        let mut go = Command::new("go");
        go.args(["build", "-buildvcs=false", "-mod=readonly", "-o", FOLDER, PACKAGE]);
        output("go build", go.current_dir(dir)).map(drop)
    })?;
    let dir = tempfile::tempdir().map_err(|e| Error::failed("h2spec's report", e))?;
    let report = dir.path().join("report.xml");
    let mut h2spec = Command::new(program.join(FOLDER));
    h2spec.args(["--strict", "--host", "127.0.0.1", "--port", &port.to_string(), "--path", path]);
    h2spec.args(["--timeout", &PATIENCE.as_secs().to_string(), "--junit-report"]).arg(&report);
    // It ends with 1 where a case fails: its report says which.
    let ran = h2spec.output().map_err(|e| Error::failed("h2spec", e))?;
    let report = std::fs::read_to_string(&report)
        .map_err(|e| Error::failed(format!("h2spec's report: {e}"), text(&ran.stdout)))?;
    Ok(cases(&report))
}

/// The cases of a report in JUnit's XML.
fn cases(report: &str) -> H2Cases {
    let attribute = |case: &str, name: &str| {
        let (_, rest) = case.split_once(&format!(" {name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let cases = report.split("<testcase").skip(1).filter_map(|case| {
        let case = case.split("</testsuite>").next()?;
        let name = format!("{} {}", attribute(case, "package")?, attribute(case, "classname")?);
        let wrong =
            ["<failure", "<error", "<skipped"].into_iter().find_map(|tag| case.split_once(tag));
        Some((name, wrong.map(|(_, said)| said.trim().to_owned())))
    });
    // Some cases have the same name: what is wrong with one is wrong with the name.
    cases.fold(H2Cases::new(), |mut all, (name, wrong)| {
        all.entry(name)
            .and_modify(|known| *known = known.take().or(wrong.clone()))
            .or_insert(wrong);
        all
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
