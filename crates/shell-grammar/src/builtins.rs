//! Builtins and variables by which a shell runs, or evaluates, what stands in words.

use crate::word::is_name;
use crate::{Why, Word};

/// Variables whose value is run, names what is run, is evaluated as arithmetic (in which `a[$(b)]`
/// runs b), or changes how the rest is read.
const EVALUATED: &[&[u8]] = &[
    b"PS4",
    b"BASH_ENV",
    b"PROMPT_COMMAND",
    b"SHELLOPTS",
    b"BASHOPTS",
    b"BASH_ALIASES",
    b"BASH_CMDS",
    b"POSIXLY_CORRECT",
    b"ZDOTDIR",
    b"NULLCMD",
    b"READNULLCMD",
    b"RANDOM",
    b"SRANDOM",
    b"SECONDS",
    b"LINENO",
    b"OPTIND",
    b"HISTCMD",
    b"EPOCHSECONDS",
    b"EPOCHREALTIME",
];

/// Whether a variable of this name may be set without that anything is run by it.
pub(crate) fn is_harmless(name: &[u8]) -> bool {
    is_name(name) && !EVALUATED.contains(&name) && !name.starts_with(b"BASH_FUNC_")
}

/// Whether a word hides commands from the shell that a builtin or an assignment may still find:
/// `'a[$(id)]'`.
pub(crate) fn hides_commands(word: &Word) -> bool {
    let indexes: &[u8] = if word.plain().is_some() { b"[(" } else { b"[" };
    let word = word.bytes();
    word.iter().any(|it| b"$`".contains(it)) && word.iter().any(|it| indexes.contains(it))
}

/// Whether it is one word whatever the shell makes of it: written plainly, or all in one pair of
/// double quotes.
pub(crate) fn is_one_word(word: &Word) -> bool {
    let inside = |raw: &[u8]| {
        let inside = raw.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\""));
        inside.is_some_and(|it| !it.contains(&b'"') && !it.windows(2).any(|it| it == b"$@"))
    };
    word.plain().is_some() || inside(word.bytes())
}

/// Builtins that change how later words are read, or that run their words in a way of their own.
const READERS: &[&[u8]] = &[
    b".",
    b"source",
    b"alias",
    b"unalias",
    b"trap",
    b"hash",
    b"enable",
    b"bind",
    b"fc",
    b"shopt",
    b"let",
    b"mapfile",
    b"readarray",
    b"compgen",
    b"complete",
    b"compopt",
    b"emulate",
    b"zmodload",
    b"autoload",
    b"setopt",
    b"unsetopt",
    b"disable",
    b"functions",
    b"rehash",
    b"compdef",
    b"zle",
    b"zstyle",
    b"sched",
    b"jobs",
    b"stop",
    b"integer",
    b"float",
];

/// Refuses what a builtin could run, or evaluate, of its words.
pub(crate) fn check(name: &[u8], words: &[Word]) -> Result<(), Why> {
    let good = match name {
        _ if READERS.contains(&name) => false,
        b"test" => tests(words),
        b"[" => tests(words.split_last().map_or(words, |(_, words)| words)),
        b"printf" => {
            words.first().is_none_or(|it| it.plain().is_some_and(|it| !it.starts_with(b"-v")))
        }
        b"print" => words.iter().all(|it| it.plain().is_some_and(|it| !it.starts_with(b"-"))),
        b"set" => {
            let before = words.iter().take_while(|it| it.bytes() != b"--");
            before.map(Word::plain).all(|it| it.is_some_and(is_known_setting))
        }
        b"declare" | b"typeset" | b"local" => words.iter().all(|it| declares(it, b"xrgpfF")),
        b"export" | b"readonly" => words.iter().all(|it| declares(it, b"npf")),
        b"unset" => words.iter().all(|it| declares(it, b"vf")),
        b"read" => reads(words),
        b"getopts" => {
            let names = words.get(1).is_none_or(|it| it.plain().is_some_and(is_harmless));
            names && words.iter().take(2).all(|it| it.plain().is_some())
        }
        b"wait" => words.iter().all(|it| waits_for(it.bytes())),
        b"shift" | b"exit" | b"return" | b"break" | b"continue" | b"ulimit" => true,
        _ => return Ok(()),
    };
    if good && !words.iter().any(hides_commands) { Ok(()) } else { Err(Why::Builtin) }
}

/// Operators of `test` with one operand. Not `-v` and `-R`, which evaluate a variable's index.
const UNARY: &[u8] = b"nzefdrwxsLhbcpSugkOGt";
const BINARY: &[&[u8]] = &[
    b"=", b"==", b"!=", b"<", b">", b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge", b"-nt", b"-ot",
    b"-ef",
];

/// Whether what `test` is asked stands in the words: what the shell makes is an operand, never an
/// operator.
fn tests(words: &[Word]) -> bool {
    if words.iter().any(|it| matches!(it.bytes(), b"-v" | b"-R")) {
        return false;
    }
    // zsh might make something of `=`, and nothing that is an operator.
    let is_binary = |word: Option<&Word>| word.is_some_and(|it| BINARY.contains(&it.bytes()));
    let is_unary = |word: Option<&Word>| {
        let letter = word.and_then(Word::plain).and_then(|it| it.strip_prefix(b"-"));
        matches!(letter, Some([letter]) if UNARY.contains(letter))
    };
    words.iter().enumerate().all(|(at, word)| {
        let before = at.checked_sub(1).and_then(|at| words.get(at));
        let number = matches!(word.bytes(), b"$#" | b"$?" | b"$$" | b"$!");
        let operand = words.len() == 1
            || is_unary(before)
            || is_binary(before)
            || is_binary(words.get(at + 1));
        word.plain().is_some()
            || is_binary(Some(word))
            || ((number || is_one_word(word)) && operand)
    })
}

fn is_known_setting(word: &[u8]) -> bool {
    match word.split_first() {
        Some((b'-' | b'+', letters)) => letters.iter().all(|it| b"euvfCo".contains(it)),
        _ => matches!(word, b"pipefail" | b"errexit" | b"nounset" | b"noglob" | b"noclobber"),
    }
}

/// One of these options, a name, or a name with a value that is no list.
fn declares(word: &Word, options: &[u8]) -> bool {
    let bytes = word.bytes();
    if let Some((b'-' | b'+', letters)) = bytes.split_first() {
        return letters.iter().all(|it| options.contains(it));
    }
    let end = bytes.iter().position(|&it| it == b'=').unwrap_or(bytes.len());
    let (name, value) = bytes.split_at_checked(end).unwrap_or_default();
    is_harmless(name) && value.iter().skip(1).find(|it| !b"\"'\\".contains(it)) != Some(&b'(')
}

/// `read` with known options, into variables that may be set.
fn reads(words: &[Word]) -> bool {
    let mut words = words.iter().map(Word::plain);
    let mut options = true;
    while let Some(word) = words.next() {
        let Some(word) = word else { return false };
        match word.strip_prefix(b"-") {
            Some(b"-") if options => options = false,
            Some(letters) if options && !letters.is_empty() => {
                let valued = letters.iter().position(|it| b"ptnNdu".contains(it));
                let plain = letters.get(..valued.unwrap_or(letters.len())).unwrap_or_default();
                if !plain.iter().all(|it| b"rse".contains(it)) {
                    return false;
                }
                if valued.is_some_and(|at| at + 1 == letters.len())
                    && words.next().flatten().is_none()
                {
                    return false;
                }
            }
            _ if is_harmless(word) => options = false,
            _ => return false,
        }
    }
    true
}

/// A process or a job; not `-p`, which sets a variable.
fn waits_for(word: &[u8]) -> bool {
    let job = word.strip_prefix(b"%").unwrap_or(word);
    matches!(word, b"-n" | b"$!" | b"\"$!\"") || job.iter().all(u8::is_ascii_alphanumeric)
}
