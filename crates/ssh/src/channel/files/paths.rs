//! Paths as rules match them.

/// The longest path that is judged, in bytes: Linux's `PATH_MAX`.
pub(super) const MAX_PATH_BYTES: usize = 4096;

/// Where relative paths begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Here.
    At(Vec<u8>),
    /// Nobody knows.
    Unknown,
}

/// A name that rules are to match, and whether it begins at the root.
pub(crate) type Name = (String, bool);

/// The names of what a path leads to: as it was sent, from the root if it is known where it
/// begins, and where it leads by its words if that is written differently. Links on the way are
/// not followed: only the target knows them.
///
/// An allow rule must match all, a deny rule needs to match one. A name that begins nobody knows
/// where is not qualified: a deny rule matches it if it may lead there.
pub(crate) fn names(path: &[u8], base: &Base) -> Vec<Name> {
    let (whole, _) = whole(path, base);
    let (resolved, known) = resolve(path, base);
    let resolved = lossy(&resolved);
    let mut names = vec![(lossy(&whole), true)];
    if !known || names.iter().all(|(name, _)| *name != resolved) {
        names.push((resolved, known));
    }
    names
}

/// A path from where it begins, if that is known.
fn whole(path: &[u8], base: &Base) -> (Vec<u8>, bool) {
    match (path, base) {
        ([b'/', ..], _) => (path.to_vec(), true),
        (b"", Base::At(base)) => (base.clone(), true),
        (_, Base::At(base)) => {
            let slash: &[u8] = if base.ends_with(b"/") { b"" } else { b"/" };
            ([base.as_slice(), slash, path].concat(), true)
        }
        (_, Base::Unknown) => (path.to_vec(), false),
    }
}

/// Where a path leads by its words; `false`: from a place that nobody knows, and what is above
/// that place is left out.
pub(super) fn resolve(path: &[u8], base: &Base) -> (Vec<u8>, bool) {
    let (whole, known) = whole(path, base);
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in whole.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut out = parts.join(&b'/');
    if known {
        out.insert(0, b'/');
    }
    (out, known)
}

/// A path and a name in it.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        b"" => name.to_vec(),
        path if path.ends_with(b"/") => [path, name].concat(),
        path => [path, b"/", name].concat(),
    }
}

/// All of a path but its last part; nothing of a path that has one part only.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte == b'/');
    // The root's slash is the root.
    end.and_then(|at| path.get(..at.max(1))).unwrap_or_default()
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a name has no detour in it: what rules are to match.
pub(crate) fn is_plain(name: &str) -> bool {
    let below = name.strip_prefix('/').unwrap_or(name);
    below.is_empty() || below.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// For the fuzzer: the last name of a path, from wherever it begins, leads nowhere but where it
/// says.
pub(crate) fn fuzz(path: &[u8]) -> bool {
    [Base::At(b"/home/a".to_vec()), Base::Unknown].iter().all(|base| {
        let names = names(path, base);
        let from_the_root = path.starts_with(b"/") || *base != Base::Unknown;
        names.last().is_some_and(|(name, known)| {
            is_plain(name) && *known == from_the_root && (!known || name.starts_with('/'))
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_path_has_a_name_without_detours(path in "[a./\\PC]{0,24}", odd: Vec<u8>) {
            prop_assert!(fuzz(path.as_bytes()));
            prop_assert!(fuzz(&odd));
        }
    }

    fn home() -> Base {
        Base::At(b"/home/a".to_vec())
    }

    #[test]
    fn a_path_written_strangely_has_its_plain_name_too() {
        for (path, whole, plain) in [
            ("/etc/../etc/passwd", "/etc/../etc/passwd", "/etc/passwd"),
            ("//etc//passwd", "//etc//passwd", "/etc/passwd"),
            ("/etc/./passwd/", "/etc/./passwd/", "/etc/passwd"),
            ("../../etc/passwd", "/home/a/../../etc/passwd", "/etc/passwd"),
            ("./x", "/home/a/./x", "/home/a/x"),
            ("/../../..", "/../../..", "/"),
        ] {
            let names = names(path.as_bytes(), &home());
            assert_eq!(names, [(whole.into(), true), (plain.into(), true)]);
        }
        // A rule for a folder speaks of what is in it, whether or not the client says the folder.
        assert_eq!(names(b"x", &home()), [("/home/a/x".into(), true)]);
        assert_eq!(names(b"", &home()), [("/home/a".into(), true)]);
        assert_eq!(names(b"x", &Base::At(b"/".to_vec())), [("/x".into(), true)]);
        assert_eq!(names(b"/etc/passwd", &home()), [("/etc/passwd".into(), true)]);
        assert_eq!(names(b"/", &home()), [("/".into(), true)]);
    }

    #[test]
    fn a_path_from_nobody_knows_where_may_lead_anywhere() {
        let unknown = |path: &str| names(path.as_bytes(), &Base::Unknown).pop().unwrap();
        assert_eq!(unknown("../../etc/passwd"), ("etc/passwd".into(), false));
        assert_eq!(unknown("x"), ("x".into(), false));
        assert_eq!(unknown("/etc//x"), ("/etc/x".into(), true));
    }

    #[test]
    fn parents_and_children() {
        assert_eq!(parent(b"/a/b"), b"/a");
        assert_eq!(parent(b"/a"), b"/");
        assert_eq!(parent(b"a"), b"");
        assert_eq!(join(b"/a", b"b"), b"/a/b");
        assert_eq!(join(b"/", b"b"), b"/b");
        assert_eq!(join(b"", b"b"), b"b");
    }
}
