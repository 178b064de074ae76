//! A browser that people use, without a screen: Chromium, driven by the DevTools protocol.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::dirs::find_program;
use crate::process::output;
use crate::{Error, install};

/// What a browser is called, the smallest first.
const PROGRAMS: [&str; 4] =
    ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];

/// One thing that is done in a page.
#[derive(Debug, Clone)]
pub enum Step {
    /// Goes to an address.
    Open(String),
    /// Waits until an expression of JavaScript is true in whatever page is shown.
    Until(String),
    /// Evaluates one; its value, or what its promise becomes, is given back.
    Run(String),
}

/// A browser of its own, without any cookie, does these steps one after the other. What each
/// [`Step::Run`] gave, as JSON.
///
/// # Errors
/// [`Error::Missing`] without Node.js or Chromium; [`Error::Failed`] with what the page showed when
/// a step does not come about within a minute.
pub fn browse(steps: &[Step]) -> Result<Vec<Value>, Error> {
    if find_program("node", &[]).is_none() {
        return Err(Error::missing("node", "install Node.js 20 or newer"));
    }
    let found: Option<PathBuf> = PROGRAMS.iter().find_map(|name| find_program(name, &[]));
    let program = found
        .ok_or_else(|| Error::missing("Chromium", "apt-get install chromium-headless-shell"))?;
    let profile = tempfile::tempdir().map_err(|e| Error::failed("a browser's profile", e))?;
    let plan: Value = steps
        .iter()
        .map(|step| match step {
            Step::Open(url) => json!({ "open": url }),
            Step::Until(expression) => json!({ "until": expression }),
            Step::Run(expression) => json!({ "run": expression }),
        })
        .collect();
    let mut node = Command::new("node");
    node.arg(install::assets().join("browser/browse.mjs"));
    node.arg(program).arg(profile.path()).arg(plan.to_string());
    let printed = output("the browser", &mut node)?;
    serde_json::from_str(&printed).map_err(|e| Error::failed("the browser's answer", e))
}
