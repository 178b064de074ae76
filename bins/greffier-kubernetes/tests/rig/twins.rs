//! The same command twice: through the proxy as somebody, and directly as admin, each upon an object
//! of its own that differs by its name alone.

use std::fs;
use std::process::{Command, Output};

use super::Rig;

/// The name of what is worked upon through the proxy, and directly: of one length, so that tables
/// are of one width.
pub const NAMES: [&str; 2] = ["twin-a", "twin-b"];

/// Somebody and admin, side by side. In what they are given, `@` is the name of their own object.
pub struct Twins<'a> {
    pub rig: &'a Rig,
    token: String,
}

impl<'a> Twins<'a> {
    pub fn new(rig: &'a Rig, who: &str) -> Self {
        Self { rig, token: rig.token(who) }
    }

    /// Writes a file for each; `FILE` is what to call it in commands.
    pub fn write(&self, file: &str, text: &str) -> String {
        for name in NAMES {
            fs::create_dir_all(self.rig.path(name)).unwrap();
            fs::write(self.rig.path(name).join(file), text.replace('@', name)).unwrap();
        }
        self.rig.path("@").join(file).to_str().unwrap().to_owned()
    }

    /// kubectl through the proxy, and directly.
    pub fn commands(&self, args: &[&str]) -> [Command; 2] {
        let ours = self.rig.kubectl_with(&self.token);
        let mut both = [ours, self.rig.cluster.kubectl()];
        for (command, name) in both.iter_mut().zip(NAMES) {
            command.args(args.iter().map(|it| it.replace('@', name)));
        }
        both
    }

    /// Runs both to their end. What they print, where and with which exit code, must be the same;
    /// that is given back with `@` for the name, without what no two objects have in common.
    pub fn run(&self, args: &[&str]) -> Said {
        self.run_with(args, &[])
    }

    /// The same with variables in the environment.
    pub fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Said {
        let [ours, direct] = self.commands(args).map(|mut command| {
            command.envs(variables.iter().copied());
            Said::of(&command.output().unwrap())
        });
        assert_eq!(ours, direct, "{args:?}");
        ours
    }

    /// The same by admin for both: what is done beside the proxy.
    pub fn arrange(&self, args: &[&str]) {
        for name in NAMES {
            let args: Vec<String> = args.iter().map(|it| it.replace('@', name)).collect();
            self.rig.direct(&args.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}

/// What was said by either.
#[derive(Debug, PartialEq)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| common(&String::from_utf8_lossy(bytes));
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// That it succeeded without a complaint; what it printed.
    #[track_caller]
    pub fn fine(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{self:?}");
        self.out
    }

    /// That it failed; what it complained of.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        self.err
    }
}

/// A text without names, and without lines of what the server counts or dates; a table with ages
/// without those, and without the room that they take.
fn common(text: &str) -> String {
    const DIFFERS: [&str; 6] = [
        "resourceVersion:",
        "uid:",
        "creationTimestamp:",
        "CreationTimestamp:",
        "time:",
        "diff -u",
    ];
    let table = text.lines().next().is_some_and(|it| it.contains(" AGE"));
    let lines = text.lines().filter(|line| !DIFFERS.iter().any(|it| line.contains(it)));
    // diff's own lines name a temporary folder and the time.
    let lines = lines.filter(|line| !line.starts_with("--- ") && !line.starts_with("+++ "));
    let mut all = String::new();
    for line in lines {
        match table {
            true => line.split_whitespace().for_each(|it| all.extend([without_age(it), " "])),
            false => all.push_str(line),
        }
        all.push('\n');
    }
    NAMES.iter().fold(all, |text, name| text.replace(name, "@"))
}

/// What stands in a table, if it is no age in seconds.
fn without_age(word: &str) -> &str {
    let digits = word.strip_suffix('s').unwrap_or_default();
    let age = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    if age { "AGE" } else { word }
}
