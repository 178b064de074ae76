//! From what a client asks to the actions that rules speak of.

use std::borrow::Cow;

use gate::{Judgement, Session};
use policy::{Access, Action, Naming, Resource};
use shell_grammar::Line;

/// The words that rules may use for SSH.
pub const VOCABULARY: policy::Vocabulary = policy::Vocabulary {
    protocol: crate::PROTOCOL,
    classes: &["session", "read", "write", "execute", "shell", "forward", "admin", "unknown"],
    operations: &[],
    flags: &[
        "unparsed",
        "dynamic",
        "substitution",
        "redirect",
        "nested_shell",
        "privileged",
        "nested_ssh",
        "pty",
        "truncate",
        "create",
        "append",
        "recursive",
    ],
    calls: false,
    arguments: &[],
};

/// The rule's name in a verdict that the target's `allow` gave.
const TARGET_RULE: &str = "target";

/// A file that takes everything and keeps nothing: writing to it changes nothing.
const NULL_DEVICE: &str = "/dev/null";

/// One action with room for what it borrows.
struct Held {
    operation: &'static str,
    class: &'static str,
    resources: Vec<(String, Naming, Access)>,
    flags: Vec<&'static str>,
}

/// A judged command line.
pub(crate) struct Judged {
    pub(crate) judgement: Judgement,
    /// Whether every command in it was understood.
    pub(crate) parsed: bool,
}

/// Judges a command line.
pub(crate) fn exec(session: &Session, line: &[u8], pty: bool) -> Judged {
    let (held, parsed) = actions(line, pty);
    let class = if parsed { "execute" } else { "unknown" };
    let judgement = judge(session, &held, "exec".into(), class);
    Judged { judgement, parsed }
}

/// Judges what is one action with one resource at most.
pub(crate) fn one(
    session: &Session,
    operation: &'static str,
    class: &'static str,
    resource: Option<(&str, Access)>,
    flags: &[&'static str],
) -> Judgement {
    let resources = resource.map(|(name, access)| (name.to_owned(), Naming::Whole, access));
    let held = Held {
        operation,
        class,
        resources: resources.into_iter().collect(),
        flags: flags.to_vec(),
    };
    judge(session, &[held], operation.into(), class)
}

/// Judges a connection to a place of these names, each with whether it is one place's alone.
pub(crate) fn forward(
    session: &Session,
    via: &'static str,
    class: &'static str,
    names: Vec<(String, bool)>,
) -> Judgement {
    let action = FileAction { operation: via, class, access: Access::Write, names, flags: vec![] };
    file(session, vec![action], via, class)
}

/// Something that a file operation does, by the names of what it touches.
pub(crate) struct FileAction {
    pub(crate) operation: &'static str,
    pub(crate) class: &'static str,
    pub(crate) access: Access,
    /// Each with whether it begins at the root.
    pub(crate) names: Vec<(String, bool)>,
    pub(crate) flags: Vec<&'static str>,
}

/// Judges a file operation. `operation` and `class` are what the record shows.
pub(crate) fn file(
    session: &Session,
    actions: Vec<FileAction>,
    operation: &'static str,
    class: &'static str,
) -> Judgement {
    let held: Vec<Held> = actions
        .into_iter()
        .map(|action| Held {
            operation: action.operation,
            class: action.class,
            resources: action
                .names
                .into_iter()
                .map(|(name, rooted)| {
                    let naming = if rooted { Naming::Whole } else { Naming::Part('/') };
                    (name, naming, action.access)
                })
                .collect(),
            flags: action.flags,
        })
        .collect();
    judge(session, &held, operation.into(), class)
}

/// The judgement, made stricter by what the target's configuration takes at all.
pub(crate) fn gated(judgement: Judgement, allowed: bool, what: &str) -> Judgement {
    if allowed {
        return judgement;
    }
    judgement.forbid(TARGET_RULE, &format!("This target takes no {what}."))
}

fn judge(
    session: &Session,
    held: &[Held],
    operation: Cow<'static, str>,
    class: &'static str,
) -> Judgement {
    let resources: Vec<Vec<Resource<'_>>> = held
        .iter()
        .map(|action| {
            action
                .resources
                .iter()
                .map(|(name, naming, access)| Resource { name, naming: *naming, access: *access })
                .collect()
        })
        .collect();
    let actions: Vec<Action<'_>> = held
        .iter()
        .zip(&resources)
        .map(|(action, resources)| Action {
            resources,
            flags: &action.flags,
            ..Action::plain(action.operation, action.class)
        })
        .collect();
    session.judge(&actions, operation, class)
}

/// One action for each command of the line and for each file that the shell opens; and one for
/// the whole line if any of it was not understood.
fn actions(line: &[u8], pty: bool) -> (Vec<Held>, bool) {
    let Line { commands, flags, unparsed } = shell_grammar::read(line);
    let mut held = Vec::with_capacity(commands.len() + 1);
    let mut parsed = unparsed.is_none();
    let with_pty = |flags: shell_grammar::Flags| {
        flags.names().chain(pty.then_some("pty")).collect::<Vec<&'static str>>()
    };
    for command in &commands {
        let mut resources = Vec::new();
        // A rule that allows must cover both spellings; one that denies needs to match one.
        let mut spellings = vec![command.joined()];
        if !command.assignments.is_empty() {
            spellings.push(command.joined_with_assignments());
        }
        for spelling in spellings {
            match String::from_utf8(spelling) {
                Ok(name) if name.is_empty() => {}
                Ok(name) => resources.push((name, Naming::Program, Access::Write)),
                Err(_) => parsed = false,
            }
        }
        held.push(Held {
            operation: "exec",
            class: "execute",
            resources,
            flags: with_pty(command.flags),
        });
        for redirect in &command.redirects {
            let path = redirect.path.plain().and_then(|path| std::str::from_utf8(path).ok());
            match path {
                Some(NULL_DEVICE) => {}
                Some(path) => held.push(redirected(path, redirect.write)),
                None => parsed = false,
            }
        }
    }
    if commands.is_empty() {
        parsed = false;
    }
    if !parsed {
        let mut flags = with_pty(flags);
        flags.push("unparsed");
        let name = String::from_utf8_lossy(line).into_owned();
        let resources = vec![(name, Naming::Whole, Access::Write)];
        held.push(Held { operation: "exec", class: "unknown", resources, flags });
    }
    (held, parsed)
}

fn redirected(path: &str, write: bool) -> Held {
    let (operation, class, access) = match write {
        true => ("open-write", "write", Access::Write),
        false => ("open-read", "read", Access::Read),
    };
    let is_whole = path.starts_with('/')
        && !path.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
    let naming = if is_whole { Naming::Whole } else { Naming::Part('/') };
    Held {
        operation,
        class,
        resources: vec![(path.to_owned(), naming, access)],
        flags: vec!["redirect"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operation, class and resource of every action.
    fn all(line: &str) -> (Vec<String>, bool) {
        let (held, parsed) = actions(line.as_bytes(), false);
        let text = |a: &Held| {
            let names: Vec<&str> = a.resources.iter().map(|(name, ..)| name.as_str()).collect();
            format!("{} {} {}", a.operation, a.class, names.join("|"))
        };
        (held.iter().map(text).collect(), parsed)
    }

    #[test]
    fn every_command_of_a_line_is_an_action() {
        let (held, parsed) = all("cat /etc/hosts | grep x && sudo reboot");
        assert!(parsed);
        let commands = ["cat /etc/hosts", "grep x", "sudo reboot", "reboot"];
        assert_eq!(held, commands.map(|c| format!("exec execute {c}")));
    }

    #[test]
    fn a_command_is_named_as_a_program_and_a_file_by_how_much_it_says() {
        let (held, _) = actions(b"/bin/rm -r x >motd >/etc/motd", false);
        let naming: Vec<Naming> = held.iter().flat_map(|a| &a.resources).map(|r| r.1).collect();
        assert_eq!(naming, [Naming::Program, Naming::Part('/'), Naming::Whole]);
    }

    #[test]
    fn what_is_not_understood_is_one_more_action_of_the_worst_class() {
        let (held, parsed) = all("for f in *; do rm $f; done");
        assert!(!parsed);
        assert_eq!(held.last().unwrap(), "exec unknown for f in *; do rm $f; done");
        let (held, parsed) = all("");
        assert!(!parsed && held == ["exec unknown "]);
        let (held, parsed) = actions(b"ls \xff", false);
        assert!(!parsed && held.last().unwrap().class == "unknown");
    }

    #[test]
    fn variables_and_files_are_judged_too() {
        let (held, _) = all("LD_PRELOAD=/tmp/x ls 2>/dev/null >/etc/motd");
        assert_eq!(held, ["exec execute ls|LD_PRELOAD=/tmp/x ls", "open-write write /etc/motd"]);
        let (held, parsed) = all("ls > $HOME/x");
        assert!(!parsed && held.len() == 2);
    }
}
