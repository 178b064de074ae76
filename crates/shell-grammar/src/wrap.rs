//! Commands that start others: which, with which words.

use crate::options::{self, Found, Spec};
use crate::reader::{self, Place, RESERVED};
use crate::{Flags, Line, Simple, Unparsed, Why, Word};

/// What a command starts, and what that says of it.
#[derive(Default)]
pub(crate) struct Started {
    /// Flags that the command has by its name.
    pub(crate) flags: Flags,
    inner: Vec<Inner>,
}

enum Inner {
    Words(Vec<Word>),
    Text(Vec<u8>),
}

impl Started {
    /// Adds what is started, one deeper than `place`.
    pub(crate) fn follow(self, out: &mut Line, place: Place, at: usize) -> Result<(), Unparsed> {
        for inner in self.inner {
            let place = place.inner(at)?;
            match inner {
                Inner::Text(text) => reader::text(&text, out, place)?,
                Inner::Words(words) => {
                    let (depth, flags) = (place.depth, place.flags);
                    let simple = Simple { words, depth, flags, ..Simple::default() };
                    reader::add(out, simple, at)?;
                }
            }
        }
        Ok(())
    }
}

/// What `simple` starts.
pub(crate) fn start(simple: &Simple, at: usize) -> Result<Started, Unparsed> {
    started(&simple.words).map_err(|why| Unparsed { why, at })
}

fn started(words: &[Word]) -> Result<Started, Why> {
    let Some((first, rest)) = words.split_first() else { return Ok(Started::default()) };
    let name = first.plain().ok_or(Why::DynamicCommand)?;
    let name = name.rsplit(|&it| it == b'/').next().unwrap_or_default();
    if let Some(spec) = options::wrapper(name) {
        return wrapped(name, &spec, rest);
    }
    let nested = Flags { nested_shell: true, ..Flags::default() };
    let of = |inner, flags| Ok(Started { flags, inner: vec![inner] });
    match name {
        b"sh" | b"bash" | b"dash" | b"ash" | b"zsh" | b"ksh" | b"mksh" | b"rbash" => {
            of(Inner::Text(shell(rest)?), nested)
        }
        b"eval" => of(Inner::Text(joined(rest)?), nested),
        b"find" => Ok(Started { inner: find(rest)?, flags: Flags::default() }),
        b"ssh" | b"slogin" | b"rsh" | b"rlogin" | b"telnet" | b"mosh" | b"dbclient" | b"plink" => {
            Ok(Started {
                flags: Flags { nested_ssh: true, ..Flags::default() },
                ..Started::default()
            })
        }
        _ if OPAQUE.contains(&name) => Err(Why::Wrapper),
        _ if BUILTINS.contains(&name) => Err(Why::Builtin),
        _ if interprets(name) => {
            // A script in a file is a program as any other; one in the words is not.
            match rest.first().and_then(Word::plain) {
                Some(script) if !script.starts_with(b"-") && !one_liner(name) => {
                    Ok(Started { flags: nested, ..Started::default() })
                }
                _ => Err(Why::Interpreter),
            }
        }
        _ => builtin(name, rest).map(|()| Started::default()),
    }
}

fn wrapped(name: &[u8], spec: &Spec, words: &[Word]) -> Result<Started, Why> {
    let (found, command) = options::split(spec, words)?;
    let has = |letter: u8| found.iter().any(|it| it.letter == letter);
    let mut started = Started::default();
    started.flags.privileged = matches!(name, b"sudo" | b"doas" | b"chroot");
    let runs_nothing = match name {
        b"command" => has(b'v') || has(b'V'),
        b"sudo" => has(b'l') || found.iter().any(|it| it.long == b"list"),
        _ => false,
    };
    if runs_nothing {
        return Ok(started);
    }
    let mut command = command.to_vec();
    if name == b"xargs" {
        if command.is_empty() {
            return Ok(started);
        }
        read_from_input(&found, &mut command);
    }
    let Some(first) = command.first() else {
        // `chroot DIR` is a shell there.
        return if name == b"chroot" { Err(Why::Wrapper) } else { Ok(started) };
    };
    if name == b"time" && first.plain().is_some_and(|it| RESERVED.contains(&it)) {
        return Err(Why::Compound);
    }
    started.inner.push(Inner::Words(command));
    Ok(started)
}

/// What `xargs` puts into the command's words is known only when it runs: with `-I` any part of
/// them that is the mark, else more words at the end, written `{}`.
fn read_from_input(found: &[Found<'_>], command: &mut Vec<Word>) {
    let marks: Vec<&[u8]> = found
        .iter()
        .filter(|it| matches!(it.letter, b'I' | b'J' | b'i') || it.long == b"replace")
        .map(|it| it.value.unwrap_or(b"{}"))
        .collect();
    if marks.is_empty() {
        command.push(Word::Dynamic(b"{}".to_vec()));
    }
    for word in command {
        if marks.iter().any(|mark| contains(word.bytes(), mark)) {
            *word = Word::Dynamic(word.bytes().to_vec());
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|it| it == part)
}

/// The text of `sh -c TEXT`.
fn shell(words: &[Word]) -> Result<Vec<u8>, Why> {
    let mut words = words.iter();
    let mut takes_text = false;
    loop {
        let word = words.next().ok_or(Why::Interpreter)?.plain().ok_or(Why::DynamicCommand)?;
        match word {
            b"--login" | b"--posix" | b"--norc" | b"--noprofile" => {}
            b"--" | b"-" if takes_text => {
                let text = words.next().ok_or(Why::Interpreter)?;
                return text.plain().map(<[u8]>::to_vec).ok_or(Why::DynamicCommand);
            }
            [b'-' | b'+', letters @ ..] if !letters.is_empty() => {
                if !letters.iter().all(|it| b"cefhlux".contains(it)) {
                    return Err(Why::Wrapper);
                }
                takes_text |= letters.contains(&b'c');
            }
            text if takes_text => return Ok(text.to_vec()),
            _ => return Err(Why::Interpreter),
        }
    }
}

/// The text of `eval`: its words with blanks between.
fn joined(words: &[Word]) -> Result<Vec<u8>, Why> {
    let mut text = Vec::new();
    for word in words {
        text.extend_from_slice(word.plain().ok_or(Why::DynamicCommand)?);
        text.push(b' ');
    }
    Ok(text)
}

/// The commands that `find` runs for what it finds.
fn find(words: &[Word]) -> Result<Vec<Inner>, Why> {
    let mut inner = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !matches!(word.bytes(), b"-exec" | b"-execdir" | b"-ok" | b"-okdir") {
            continue;
        }
        let mut command: Vec<Word> = Vec::new();
        loop {
            let word = words.next().ok_or(Why::Wrapper)?;
            let last = command.last().map(Word::bytes);
            if word.bytes() == b";" || word.bytes() == b"+" && last == Some(b"{}") {
                break;
            }
            let found = contains(word.bytes(), b"{}");
            let bytes = word.bytes().to_vec();
            command.push(if found { Word::Dynamic(bytes) } else { word.clone() });
        }
        inner.push(Inner::Words(command));
    }
    Ok(inner)
}

/// Commands that start others in ways not read here.
const OPAQUE: &[&[u8]] = &[
    b"su",
    b"runuser",
    b"pkexec",
    b"sudoedit",
    b"script",
    b"scriptreplay",
    b"watch",
    b"parallel",
    b"flock",
    b"unshare",
    b"nsenter",
    b"setpriv",
    b"capsh",
    b"systemd-run",
    b"at",
    b"batch",
    b"strace",
    b"ltrace",
    b"gdb",
    b"start-stop-daemon",
    b"run-parts",
    b"dbus-run-session",
    b"proot",
    b"fakeroot",
    b"fakechroot",
    b"rlwrap",
    b"unbuffer",
    b"chrt",
    b"taskset",
    b"numactl",
    b"cgexec",
    b"prlimit",
    b"firejail",
    b"bwrap",
    b"entr",
    b"make",
    b"gmake",
];

/// Builtins that change how later words are read, or that run their words in a way of their own.
const BUILTINS: &[&[u8]] = &[
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
];

/// Builtins that can evaluate a word as a variable's name or index, commands in it included.
const ASSIGNING: &[&[u8]] = &[
    b"declare",
    b"typeset",
    b"local",
    b"export",
    b"readonly",
    b"unset",
    b"read",
    b"getopts",
    b"integer",
    b"float",
    b"print",
    b"printf",
    b"test",
    b"[",
    b"wait",
    b"set",
];

fn builtin(name: &[u8], words: &[Word]) -> Result<(), Why> {
    if !ASSIGNING.contains(&name) {
        return Ok(());
    }
    // `'a[$(id)]'`: the quotes keep it from the shell, not from the builtin.
    let evaluates = |word: &Word| {
        let indexes: &[u8] = if word.plain().is_some() { b"[(" } else { b"[" };
        let word = word.bytes();
        word.iter().any(|it| b"$`".contains(it)) && word.iter().any(|it| indexes.contains(it))
    };
    let option = |letters: &[u8]| words.iter().any(|it| letters == it.bytes());
    let variable = match name {
        b"test" | b"[" => option(b"-v") || option(b"-R"),
        b"printf" => words.first().is_some_and(|it| it.bytes().starts_with(b"-v")),
        b"set" => words
            .iter()
            .take_while(|it| it.bytes() != b"--")
            .any(|it| !it.plain().is_some_and(known_setting)),
        b"declare" | b"typeset" | b"local" | b"export" | b"readonly" | b"unset" | b"integer"
        | b"float" => words.iter().any(|it| !names_variable(it)),
        b"read" | b"getopts" => words.iter().any(|it| it.plain().is_none()),
        _ => false,
    };
    if variable || words.iter().any(evaluates) { Err(Why::Builtin) } else { Ok(()) }
}

fn known_setting(word: &[u8]) -> bool {
    match word.split_first() {
        Some((b'-' | b'+', letters)) => letters.iter().all(|it| b"euvfCo".contains(it)),
        _ => matches!(word, b"pipefail" | b"errexit" | b"nounset" | b"noglob" | b"noclobber"),
    }
}

/// An option, a name, or a name with a value that is no list and no secret setting of the shell.
fn names_variable(word: &Word) -> bool {
    let bytes = word.bytes();
    if let Some((b'-' | b'+', letters)) = bytes.split_first() {
        return letters.iter().all(u8::is_ascii_alphabetic);
    }
    let end = bytes.iter().position(|&it| it == b'=').unwrap_or(bytes.len());
    let (name, value) = bytes.split_at_checked(end).unwrap_or_default();
    let name = name.strip_suffix(b"+").unwrap_or(name);
    crate::word::is_name(name)
        && value.iter().skip(1).find(|it| !b"\"'\\".contains(it)) != Some(&b'(')
        && !matches!(name, b"PS4" | b"BASH_ENV" | b"PROMPT_COMMAND")
}

const INTERPRETERS: &[&[u8]] = &[
    b"python",
    b"pypy",
    b"perl",
    b"ruby",
    b"node",
    b"nodejs",
    b"deno",
    b"bun",
    b"php",
    b"lua",
    b"luajit",
    b"tclsh",
    b"wish",
    b"expect",
    b"Rscript",
    b"R",
    b"pwsh",
    b"fish",
    b"csh",
    b"tcsh",
    b"rc",
    b"es",
    b"elvish",
    b"nu",
    b"xonsh",
    b"osascript",
    b"guile",
    b"racket",
    b"erl",
    b"iex",
    b"elixir",
    b"julia",
    b"scala",
    b"groovy",
    b"jshell",
    b"awk",
    b"gawk",
    b"mawk",
    b"nawk",
    b"bc",
    b"ed",
    b"ex",
    b"irb",
    b"ipython",
    b"gdb",
];

/// Whether its first word is the program itself.
fn one_liner(name: &[u8]) -> bool {
    matches!(name, b"awk" | b"gawk" | b"mawk" | b"nawk")
}

/// `python3.11` is `python`.
fn interprets(name: &[u8]) -> bool {
    let end = name.iter().rposition(|it| !it.is_ascii_digit() && *it != b'.');
    let stem = name.get(..end.map_or(0, |it| it + 1)).unwrap_or_default();
    INTERPRETERS.contains(&stem)
}
