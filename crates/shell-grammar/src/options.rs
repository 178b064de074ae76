//! The options of commands that start another command, as far as one must know them to find it.

use crate::builtins::is_harmless;
use crate::{Why, Word};

/// How a command's options are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spec {
    /// One-letter options without a value.
    pub(crate) plain: &'static [u8],
    /// One-letter options whose value is the rest of the word, or the next word.
    pub(crate) value: &'static [u8],
    /// One-letter options whose value is the rest of the word, possibly nothing.
    pub(crate) attached: &'static [u8],
    /// Long options without a value, without `--`.
    pub(crate) long: &'static [&'static [u8]],
    /// Long options with a value.
    pub(crate) long_value: &'static [&'static [u8]],
    /// Whether `-5` and `-` are options.
    pub(crate) numbers: bool,
    /// How many words stand between the options and the command.
    pub(crate) operands: usize,
    /// Whether `NAME=value` may stand before the command.
    pub(crate) assignments: bool,
}

/// An option that was found: its letter (0 for a long one), its name, its value.
pub(crate) struct Found<'w> {
    pub(crate) letter: u8,
    pub(crate) long: &'w [u8],
    pub(crate) value: Option<&'w [u8]>,
}

/// Splits the words behind a command's name into options and the command it starts.
pub(crate) fn split<'w>(
    spec: &Spec,
    mut words: &'w [Word],
) -> Result<(Vec<Found<'w>>, &'w [Word]), Why> {
    let mut found = Vec::new();
    while let Some((first, rest)) = words.split_first() {
        let word = first.plain().ok_or(Why::DynamicCommand)?;
        if word == b"--" {
            words = rest;
            break;
        }
        words = match word.split_first() {
            Some((b'-', name)) if spec.numbers && name.iter().all(u8::is_ascii_digit) => rest,
            Some((b'-', [b'-', long @ ..])) => long_option(spec, long, rest, &mut found)?,
            Some((b'-', letters)) if !letters.is_empty() => {
                cluster(spec, letters, rest, &mut found)?
            }
            _ => break,
        };
    }
    let operands = words.get(..spec.operands.min(words.len())).unwrap_or_default();
    if operands.iter().any(|it| it.plain().is_none()) {
        return Err(Why::DynamicCommand);
    }
    words = words.get(operands.len()..).unwrap_or_default();
    while spec.assignments
        && let Some((first, rest)) = words.split_first()
        && first.bytes().iter().take_while(|it| !b"$`".contains(it)).any(|&it| it == b'=')
    {
        // What is set for a shell that is started can run there.
        let name = first.bytes().split(|it| *it == b'=').next().unwrap_or_default();
        if !is_harmless(name) {
            return Err(Why::Builtin);
        }
        words = rest;
    }
    Ok((found, words))
}

fn long_option<'w>(
    spec: &Spec,
    long: &'w [u8],
    rest: &'w [Word],
    found: &mut Vec<Found<'w>>,
) -> Result<&'w [Word], Why> {
    let equals = long.iter().position(|&it| it == b'=');
    let (name, attached) = match equals.and_then(|at| long.split_at_checked(at)) {
        Some((name, value)) => (name, value.get(1..)),
        None => (long, None),
    };
    if attached.is_none() && spec.long.contains(&name) {
        found.push(Found { letter: 0, long: name, value: None });
        return Ok(rest);
    }
    if !spec.long_value.contains(&name) {
        return Err(Why::Wrapper);
    }
    let (value, rest) = match attached {
        Some(value) => (value, rest),
        None => next_value(rest)?,
    };
    found.push(Found { letter: 0, long: name, value: Some(value) });
    Ok(rest)
}

fn cluster<'w>(
    spec: &Spec,
    letters: &'w [u8],
    rest: &'w [Word],
    found: &mut Vec<Found<'w>>,
) -> Result<&'w [Word], Why> {
    let mut letters = letters;
    while let Some((&letter, after)) = letters.split_first() {
        let none = Found { letter, long: b"", value: None };
        if spec.plain.contains(&letter) {
            found.push(none);
        } else if spec.attached.contains(&letter) {
            found.push(Found { value: (!after.is_empty()).then_some(after), ..none });
            return Ok(rest);
        } else if spec.value.contains(&letter) {
            let (value, rest) = if after.is_empty() { next_value(rest)? } else { (after, rest) };
            found.push(Found { value: Some(value), ..none });
            return Ok(rest);
        } else {
            return Err(Why::Wrapper);
        }
        letters = after;
    }
    Ok(rest)
}

/// The next word as a value. A dynamic one may be no word at all, and then it is not the value.
fn next_value(words: &[Word]) -> Result<(&[u8], &[Word]), Why> {
    let (first, rest) = words.split_first().ok_or(Why::Wrapper)?;
    Ok((first.plain().ok_or(Why::DynamicCommand)?, rest))
}

/// The options of a wrapper; `None` if the command is none.
pub(crate) fn wrapper(name: &[u8]) -> Option<Spec> {
    let none = Spec::default();
    let spec = match name {
        b"nohup" | b"builtin" | b"noglob" | b"nocorrect" | b"-" | b"busybox" | b"toybox" => none,
        b"setsid" => Spec { plain: b"cfw", long: &[b"ctty", b"fork", b"wait"], ..none },
        b"nice" => Spec { value: b"n", long_value: &[b"adjustment"], numbers: true, ..none },
        b"ionice" => Spec {
            plain: b"t",
            value: b"cn",
            long: &[b"ignore"],
            long_value: &[b"class", b"classdata"],
            ..none
        },
        b"time" => Spec { plain: b"pvaq", value: b"fo", ..none },
        b"timeout" => Spec {
            plain: b"fpv",
            value: b"ks",
            long: &[b"foreground", b"preserve-status", b"verbose"],
            long_value: &[b"kill-after", b"signal"],
            operands: 1,
            ..none
        },
        b"stdbuf" => Spec { value: b"ioe", long_value: &[b"input", b"output", b"error"], ..none },
        b"exec" => Spec { plain: b"cl", value: b"a", ..none },
        b"command" => Spec { plain: b"pvV", ..none },
        b"env" => Spec {
            plain: b"i0v",
            value: b"uC",
            long: &[b"ignore-environment", b"null", b"debug"],
            long_value: &[b"unset", b"chdir"],
            numbers: true,
            assignments: true,
            ..none
        },
        b"chroot" => Spec { long_value: &[b"userspec", b"groups"], operands: 1, ..none },
        b"sudo" => SUDO,
        b"doas" => Spec { plain: b"n", value: b"u", ..none },
        b"xargs" => XARGS,
        _ => return None,
    };
    Some(spec)
}

const EMPTY: Spec = Spec {
    plain: b"",
    value: b"",
    attached: b"",
    long: &[],
    long_value: &[],
    numbers: false,
    operands: 0,
    assignments: false,
};

/// Without `-e`, `-i` and `-s`, which run something else than the words that follow.
const SUDO: Spec = Spec {
    plain: b"AbEHKknPSVvlB",
    value: b"ughpCDRrtTU",
    long: &[
        b"askpass",
        b"background",
        b"set-home",
        b"remove-timestamp",
        b"reset-timestamp",
        b"non-interactive",
        b"preserve-groups",
        b"stdin",
        b"version",
        b"validate",
        b"list",
        b"bell",
        b"preserve-env",
    ],
    long_value: &[
        b"user",
        b"group",
        b"host",
        b"prompt",
        b"close-from",
        b"chdir",
        b"chroot",
        b"role",
        b"type",
        b"command-timeout",
        b"other-user",
    ],
    assignments: true,
    ..EMPTY
};

const XARGS: Spec = Spec {
    plain: b"0prtxo",
    value: b"EILnPsdaJRS",
    attached: b"eil",
    long: &[
        b"null",
        b"no-run-if-empty",
        b"verbose",
        b"interactive",
        b"exit",
        b"open-tty",
        b"replace",
        b"eof",
        b"max-lines",
    ],
    long_value: &[
        b"max-args",
        b"max-procs",
        b"arg-file",
        b"delimiter",
        b"max-chars",
        b"process-slot-var",
    ],
    ..EMPTY
};
