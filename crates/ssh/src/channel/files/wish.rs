//! From a request of sftp's to what is judged and recorded.

use std::borrow::Cow;
use std::collections::BTreeMap;

use policy::Access;
use records::Text;
use ssh_wire::sftp::{Attributes, Extension, Op, OpenFlags};

use super::paths::{self, Base, MAX_PATH_BYTES};
use crate::channel::judge::FileAction;

pub(super) type Details = BTreeMap<Cow<'static, str>, Text<'static>>;

/// A file operation, to be judged.
pub(super) struct Wish {
    pub(super) operation: &'static str,
    pub(super) class: &'static str,
    pub(super) actions: Vec<FileAction>,
    pub(super) path: Vec<u8>,
    pub(super) path2: Option<Vec<u8>>,
    pub(super) details: Details,
    /// Why it is refused whatever the rules say.
    pub(super) forbidden: Option<&'static str>,
}

/// What may be done to the names.
#[derive(Clone, Copy)]
struct Kind(&'static str, &'static str, Access);

const OPEN_READ: Kind = Kind("open-read", "read", Access::Read);
const OPEN_WRITE: Kind = Kind("open-write", "write", Access::Write);

impl Wish {
    fn new(kind: Kind, path: &[u8], base: &Base) -> Wish {
        let Kind(operation, class, _) = kind;
        let mut wish = Wish {
            operation,
            class,
            actions: Vec::new(),
            path: path.to_vec(),
            path2: None,
            details: Details::new(),
            forbidden: None,
        };
        wish.check(path);
        wish.touch(kind, paths::names(path, base), Vec::new());
        wish
    }

    /// One more thing that it does.
    fn touch(&mut self, kind: Kind, names: Vec<paths::Name>, flags: Vec<&'static str>) {
        let Kind(operation, class, access) = kind;
        // What is not text can't be named in a rule.
        let class = if self.class == "unknown" { "unknown" } else { class };
        self.actions.push(FileAction { operation, class, access, names, flags });
    }

    /// Looks at a path before anybody else does.
    fn check(&mut self, path: &[u8]) {
        if path.contains(&0) {
            // What is behind it, some servers never see.
            self.forbidden = Some("A path with a zero byte can't be judged.");
        }
        if path.len() > MAX_PATH_BYTES {
            self.forbidden = Some("The path is too long.");
        }
        if std::str::from_utf8(path).is_err() {
            self.class = "unknown";
        }
    }

    fn and(mut self, path: &[u8], names: Vec<paths::Name>) -> Wish {
        self.check(path);
        self.path2 = Some(path.to_vec());
        if let Some(action) = self.actions.first_mut() {
            action.names.extend(names);
            if self.class == "unknown" {
                action.class = "unknown";
            }
        }
        self
    }

    pub(super) fn detail(mut self, name: &'static str, value: Option<String>) -> Wish {
        if let Some(value) = value {
            self.details.insert(name.into(), value.into());
        }
        self
    }

    fn with(self, attributes: &Attributes) -> Wish {
        let Attributes { size, owner, mode, times } = attributes;
        let mut wish = self
            .detail("mode", mode.map(|mode| format!("{:04o}", mode & 0o7777)))
            .detail("size", size.map(|size| size.to_string()))
            .detail("owner", owner.map(|(user, group)| format!("{user}:{group}")))
            .detail("times", times.map(|(read, changed)| format!("{read} {changed}")));
        if size.is_some()
            && let Some(action) = wish.actions.first_mut()
        {
            action.flags.push("truncate");
        }
        wish
    }
}

/// A file that is to be opened.
pub(super) fn open(path: &[u8], flags: OpenFlags, attributes: &Attributes, base: &Base) -> Wish {
    let mut words = Vec::new();
    let mut rule_flags = Vec::new();
    for (set, word, rule_flag) in [
        (flags.reads(), "read", None),
        (flags.0 & 0x02 != 0, "write", None),
        (flags.appends(), "append", Some("append")),
        (flags.creates(), "create", Some("create")),
        (flags.truncates(), "truncate", Some("truncate")),
        (flags.0 & 0x20 != 0, "exclusive", None),
        (flags.0 & !0x3f != 0, "unknown", None),
    ] {
        if set {
            words.push(word);
            rule_flags.extend(rule_flag);
        }
    }
    let mut wish = match flags.writes() {
        false => Wish::new(OPEN_READ, path, base),
        true => Wish::new(OPEN_WRITE, path, base),
    };
    if let Some(action) = wish.actions.first_mut() {
        action.flags = rule_flags;
    }
    if flags.reads() && flags.writes() {
        wish.touch(OPEN_READ, paths::names(path, base), Vec::new());
    }
    let mut wish = wish.detail("flags", Some(words.join(",")));
    // The mode of a file that is made; of one that is read it says nothing.
    if flags.writes() {
        wish = wish.with(&Attributes { size: None, ..*attributes });
    }
    wish
}

/// A directory that is to be listed.
pub(super) fn list(path: &[u8], base: &Base) -> Wish {
    Wish::new(Kind("list", "read", Access::Read), path, base)
}

/// Attributes of an open file that are to be set.
pub(super) fn set_open(path: &[u8], attributes: &Attributes, base: &Base) -> Wish {
    Wish::new(Kind("setstat", "write", Access::Write), path, base).with(attributes)
}

/// Content that the server is to copy between two open files.
pub(super) fn copy(from: &[u8], to: &[u8], base: &Base) -> Wish {
    let mut wish = Wish::new(Kind("copy", "write", Access::Write), to, base);
    let read = Kind("copy", "read", Access::Read);
    wish.touch(read, paths::names(from, base), Vec::new());
    // As with rename: from one to the other.
    (wish.path, wish.path2) = (from.to_vec(), Some(to.to_vec()));
    wish
}

/// A file or directory that the old scp names, by all the places where it may be.
pub(super) fn by_scp(operation: &'static str, paths: Vec<Vec<u8>>, is_unknown: bool) -> Wish {
    let kind = match operation {
        "open-write" | "mkdir" => Kind(operation, "write", Access::Write),
        _ => Kind(operation, "read", Access::Read),
    };
    let mut paths = paths.into_iter();
    let base = Base::Unknown;
    let mut wish = Wish::new(kind, &paths.next().unwrap_or_default(), &base);
    for other in paths {
        wish.check(&other);
        wish.path2.get_or_insert_with(|| other.clone());
        let names = paths::names(&other, &base);
        if let Some(action) = wish.actions.first_mut() {
            action.names.extend(names);
        }
    }
    if is_unknown {
        wish.class = "unknown";
    }
    let class = wish.class;
    if let Some(action) = wish.actions.first_mut() {
        action.flags.extend(is_unknown.then_some("dynamic"));
        action.flags.extend((operation == "open-write").then_some("truncate"));
        if class == "unknown" {
            action.class = class;
        }
    }
    wish
}

/// An extension that is not known.
pub(super) fn unknown(name: &[u8]) -> Wish {
    let kind = Kind("extended", "unknown", Access::Write);
    let mut wish = Wish::new(kind, b"", &Base::Unknown);
    if let Some(action) = wish.actions.first_mut() {
        action.names.clear();
    }
    let name = String::from_utf8_lossy(name).chars().take(256).collect();
    wish.forbidden = Some("Nobody knows what this sftp extension does.");
    wish.detail("extension", Some(name))
}

/// What a request asks that names paths and is done with its answer. `None`: it names none, or
/// opens something.
pub(super) fn once(op: &Op<'_>, base: &Base) -> Option<Wish> {
    let read = |operation| Kind(operation, "read", Access::Read);
    let write = |operation| Kind(operation, "write", Access::Write);
    // Where a session begins: clients do nothing without it.
    let session = |operation| Kind(operation, "session", Access::Read);
    let one = |kind, path: &[u8]| Some(Wish::new(kind, path, base));
    let two = |kind, from: &[u8], to: &[u8]| {
        Some(Wish::new(kind, from, base).and(to, paths::names(to, base)))
    };
    match op {
        Op::Stat { path } | Op::Lstat { path } => one(read("stat"), path),
        Op::Readlink { path } => one(read("readlink"), path),
        Op::Realpath { path } => one(session("realpath"), path),
        Op::Setstat { path, attributes } => Some(set_open(path, attributes, base)),
        Op::Remove { path } => one(write("remove"), path),
        Op::Rmdir { path } => one(write("rmdir"), path),
        Op::Mkdir { path, attributes } => one(write("mkdir"), path).map(|w| w.with(attributes)),
        Op::Rename { from, to } => two(write("rename"), from, to),
        Op::Symlink { target, link } => Some(symlink(target, link, base)),
        Op::Extended(extension) => match extension {
            Extension::PosixRename { from, to } => two(write("rename"), from, to),
            Extension::Hardlink { from, to } => two(write("hardlink"), from, to),
            Extension::Statvfs { path } => one(read("statvfs"), path),
            Extension::Lsetstat { path, attributes } => Some(set_open(path, attributes, base)),
            Extension::ExpandPath { path } => one(session("realpath"), path),
            Extension::HomeDirectory { user } => one(session("home"), user),
            Extension::Unknown { name } => Some(unknown(name)),
            Extension::Limits
            | Extension::Names
            | Extension::Fsync { .. }
            | Extension::Fstatvfs { .. }
            | Extension::CopyData { .. } => None,
        },
        Op::Init { .. }
        | Op::Open { .. }
        | Op::Opendir { .. }
        | Op::Close { .. }
        | Op::Read { .. }
        | Op::Write { .. }
        | Op::Readdir { .. }
        | Op::Fstat { .. }
        | Op::Fsetstat { .. } => None,
    }
}

/// A link: what it leads to is matched too, from where the link is.
fn symlink(target: &[u8], link: &[u8], base: &Base) -> Wish {
    let kind = Kind("symlink", "write", Access::Write);
    let (from, known) = paths::resolve(paths::parent(link), base);
    let beside = if known { Base::At(from) } else { Base::Unknown };
    Wish::new(kind, link, base).and(target, paths::names(target, &beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Base {
        Base::At(b"/home/a".to_vec())
    }

    fn shown(wish: &Wish) -> Vec<String> {
        let action = |a: &FileAction| {
            let names: Vec<&str> = a.names.iter().map(|(name, _)| name.as_str()).collect();
            format!("{} {} {} {}", a.operation, a.class, names.join("|"), a.flags.join(","))
        };
        wish.actions.iter().map(action).collect()
    }

    #[test]
    fn an_open_is_what_its_flags_say() {
        let attributes = Attributes { mode: Some(0o100_644), ..Attributes::default() };
        let wish = |flags| open(b"/x", OpenFlags(flags), &attributes, &home());
        assert_eq!(shown(&wish(0x01)), ["open-read read /x "]);
        assert!(!wish(0x01).details.contains_key("mode"));
        let made = wish(0x1a);
        assert_eq!(shown(&made), ["open-write write /x create,truncate"]);
        assert_eq!(made.details["mode"], Text::from("0644"));
        assert_eq!(made.details["flags"], Text::from("write,create,truncate"));
        assert_eq!(shown(&wish(0x03)), ["open-write write /x ", "open-read read /x "]);
        // One that nobody knows may do anything.
        assert_eq!(wish(0x41).operation, "open-write");
    }

    #[test]
    fn what_two_paths_share_is_matched_by_both() {
        let (from, to) = (b"/a".as_slice(), b"b".as_slice());
        let wish = once(&Op::Rename { from, to }, &home()).unwrap();
        assert_eq!(shown(&wish), ["rename write /a|/home/a/b "]);
        let wish = once(&Op::Symlink { target: b"../etc/x", link: b"/tmp/l" }, &home()).unwrap();
        assert_eq!(shown(&wish), ["symlink write /tmp/l|/tmp/../etc/x|/etc/x "]);
        let wish = copy(from, b"/b", &home());
        assert_eq!(shown(&wish), ["copy write /b ", "copy read /a "]);
    }

    #[test]
    fn a_path_that_rules_cannot_name_is_of_the_worst_class_or_refused() {
        let remove = |path| once(&Op::Remove { path }, &home()).unwrap();
        assert_eq!(remove(b"/a\xff").class, "unknown");
        assert_eq!(remove(b"/a\xff").actions[0].class, "unknown");
        let to = b"\xff".as_slice();
        let wish = once(&Op::Rename { from: b"/a", to }, &home()).unwrap();
        assert_eq!((wish.class, wish.actions[0].class), ("unknown", "unknown"));
        assert!(remove(b"/a\0b").forbidden.is_some());
        assert!(remove(&[b'a'; MAX_PATH_BYTES + 1]).forbidden.is_some());
        assert!(remove(b"/a").forbidden.is_none());
    }
}
