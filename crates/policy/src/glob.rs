//! Wildcard patterns: `*` for any run of characters, `?` for one byte. Nothing else is special.
//!
//! Matching takes at most pattern length × text length steps and no memory. Case counts.

/// Longest pattern, bytes.
pub const MAX_PATTERN_BYTES: usize = 256;

/// Whether `text` matches `pattern` as a whole.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    run(pattern.as_bytes(), text.as_bytes(), |a, b| a == b)
}

/// As [`matches()`], ASCII letters of either case alike.
#[must_use]
pub fn matches_any_case(pattern: &str, text: &str) -> bool {
    run(pattern.as_bytes(), text.as_bytes(), |a, b| a.eq_ignore_ascii_case(&b))
}

/// Whether `pattern` matches `x.text` for some `x`: a name whose namespace isn't known. The
/// divider in the place of the dot is the protocol's, and ASCII.
#[must_use]
pub fn may_match(pattern: &str, divider: char, text: &str) -> bool {
    // The dot and the name must be matched by some tail of the pattern; what is before that tail
    // always matches something.
    let pattern = pattern.as_bytes();
    let divided = |tail: &[u8]| match tail.split_first() {
        // The star may take the dot and any part of the name.
        Some((b'*', _)) => run(tail, text.as_bytes(), |a, b| a == b),
        Some((byte, rest)) if *byte == b'?' || char::from(*byte) == divider => {
            run(rest, text.as_bytes(), |a, b| a == b)
        }
        _ => false,
    };
    (0..pattern.len()).any(|at| pattern.get(at..).is_some_and(divided))
}

/// Whether `pattern` matches the command line `text` by its program's last name, whatever folder
/// either of them says. A pattern for all of a folder (`/opt/x/*`) has no last name and matches
/// as it stands.
#[must_use]
pub fn may_run(pattern: &str, text: &str) -> bool {
    match has_last_name(pattern) {
        true => matches(split_folder(pattern).1, split_folder(text).1),
        false => matches(pattern, text),
    }
}

/// Whether `pattern`, taken for a command line, is about programs of any folder: it says no
/// folder, or a name in it.
#[must_use]
pub(crate) fn has_last_name(pattern: &str) -> bool {
    let (folder, wanted) = split_folder(pattern);
    let program = wanted.get(..end_of_word(wanted)).unwrap_or_default();
    folder.is_empty() || !program.contains(['*', '?'])
}

/// Where the first word ends: at a blank without a backslash before it.
fn end_of_word(line: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in line.bytes().enumerate() {
        if byte == b' ' && !escaped {
            return at;
        }
        escaped = byte == b'\\' && !escaped;
    }
    line.len()
}

/// A command line's folder of the program, with its last slash, and all the rest.
fn split_folder(line: &str) -> (&str, &str) {
    let program = line.get(..end_of_word(line)).unwrap_or_default();
    line.split_at(program.rfind('/').map_or(0, |at| at + 1))
}

fn run(pattern: &[u8], text: &[u8], same: impl Fn(u8, u8) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // After the last `*`: where to go on in the pattern, and how much text it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(own) if same(*own, *byte) => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((after, eaten)) = star else { return false };
                (p, t) = (after, eaten + 1);
                star = Some((after, eaten + 1));
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// Whether everything that `narrow` matches, `wide` matches. May say no where the answer is yes;
/// never the other way.
#[must_use]
pub fn covers(wide: &str, narrow: &str) -> bool {
    // A `*` or `?` in `narrow` stands for characters that only a `*` in `wide` (or `?` for `?`)
    // is sure to take. Running `matches` with the wildcards as plain characters does that, for
    // `?` in `wide` also takes a `*`, unless we say otherwise.
    let (wide, narrow) = (wide.as_bytes(), narrow.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = narrow.get(t) {
        match wide.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(b'?') if *byte != b'*' => (p, t) = (p + 1, t + 1),
            Some(own) if own == byte && *byte != b'?' => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((after, eaten)) = star else { return false };
                (p, t) = (after, eaten + 1);
                star = Some((after, eaten + 1));
            }
        }
    }
    wide.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("orders-*", "orders-eu", true),
            ("orders-*", "order-eu", false),
            ("*.payroll*", "hr.payroll_2026", true),
            ("*.payroll*", "payroll", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("", "", true),
            ("", "x", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
        assert!(covers("*", "a*"));
        assert!(covers("a*", "a?b"));
        assert!(covers("a?", "a?"));
        assert!(!covers("a?", "a*"));
        assert!(!covers("ab", "a?"));
        assert!(!covers("?", "??"));
    }

    /// The definition, slowly.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                slow(rest, text) || text.split_first().is_some_and(|(_, more)| slow(pattern, more))
            }
            (Some((b'?', rest)), Some((_, more))) => slow(rest, more),
            (Some((own, rest)), Some((byte, more))) => own == byte && slow(rest, more),
            _ => false,
        }
    }

    #[test]
    fn a_program_is_known_by_its_last_name() {
        for pattern in ["rm *", "/bin/rm *", "*/rm *", r"/my\ tools/rm *", "r? *"] {
            for text in ["rm -r x", "/bin/rm -r x", r"/a\ b/rm -r x", "./rm x"] {
                assert!(may_run(pattern, text), "{pattern} {text}");
            }
            for text in ["ls /bin/rm x", "rmdir x", r"/bin/rm\ x y z", "sudo rm x", "rm"] {
                assert!(!may_run(pattern, text), "{pattern} {text}");
            }
        }
        assert!(!may_run("sudo *", "ls x") && !may_run("/opt/x/*", "ls x"));
        assert!(may_run("/opt/x/*", "/opt/x/ls x") && may_run("*", "/bin/ls"));
    }

    proptest! {
        #[test]
        fn matches_as_defined(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn may_match_knows_every_namespace(
            pattern in "[ab.*?]{0,6}", namespace in "[ab]{1,3}", name in "[ab]{1,3}"
        ) {
            if matches(&pattern, &format!("{namespace}.{name}")) {
                prop_assert!(may_match(&pattern, '.', &name));
            }
        }

        #[test]
        fn what_is_covered_is_matched(
            wide in "[ab*?]{0,6}", narrow in "[ab*?]{0,6}", text in "[ab]{0,8}"
        ) {
            if covers(&wide, &narrow) && matches(&narrow, &text) {
                prop_assert!(matches(&wide, &text));
            }
        }
    }
}
