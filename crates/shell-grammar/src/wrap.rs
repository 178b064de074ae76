//! Commands that start others: which, with which words.

use crate::builtins::{self, is_one_word};
use crate::options::{self, Found, Spec};
use crate::reader::{self, Place, RESERVED};
use crate::word::assigns;
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
        _ if SHELLS.contains(&name) => of(Inner::Text(shell(rest)?), nested),
        b"eval" => of(Inner::Text(joined(rest)?), nested),
        b"find" => Ok(Started { inner: find(rest)?, flags: Flags::default() }),
        b"ssh" | b"slogin" | b"rsh" | b"rlogin" | b"telnet" | b"mosh" | b"dbclient" | b"plink" => {
            Ok(Started {
                flags: Flags { nested_ssh: true, ..Flags::default() },
                ..Started::default()
            })
        }
        _ if OPAQUE.contains(&name) => Err(Why::Wrapper),
        _ if interprets(name) => {
            // A script in a file is a program as any other; one in the words is not.
            match rest.first().and_then(Word::plain) {
                Some(script) if !script.starts_with(b"-") && !one_liner(name) => {
                    Ok(Started { flags: nested, ..Started::default() })
                }
                _ => Err(Why::Interpreter),
            }
        }
        _ => builtins::check(name, rest).map(|()| Started::default()),
    }
}

const SHELLS: &[&[u8]] = &[
    b"sh",
    b"bash",
    b"dash",
    b"ash",
    b"zsh",
    b"zsh5",
    b"rzsh",
    b"ksh",
    b"ksh93",
    b"rksh",
    b"mksh",
    b"lksh",
    b"rbash",
    b"posh",
    b"yash",
    b"bash-static",
    b"mksh-static",
    b"zsh-static",
];

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
    // Behind a keyword it is an assignment, behind a command the name of one.
    if !spec.assignments && assigns(first.bytes()).is_some() {
        return Err(Why::Differs);
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
    // `--` ends options in one shell, and is a command in another.
    if words.first().is_some_and(|it| it.bytes().starts_with(b"-")) {
        return Err(Why::Differs);
    }
    for word in words {
        text.extend_from_slice(word.plain().ok_or(Why::DynamicCommand)?);
        text.push(b' ');
    }
    Ok(text)
}

/// The commands that `find` runs for what it finds.
fn find(words: &[Word]) -> Result<Vec<Inner>, Why> {
    let starts = |word: &Word| matches!(word.bytes(), b"-exec" | b"-execdir" | b"-ok" | b"-okdir");
    let mut inner = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !starts(word) {
            // It may become `-exec`, unless there is a slash in it.
            if is_made(word) && !(is_one_word(word) && word.bytes().contains(&b'/')) {
                return Err(Why::DynamicCommand);
            }
            continue;
        }
        let mut command: Vec<Word> = Vec::new();
        // It may become `;`, and what follows another command.
        let mut may_have_ended = false;
        loop {
            let word = words.next().ok_or(Why::Wrapper)?;
            let last = command.last().map(Word::bytes);
            if word.bytes() == b";" || word.bytes() == b"+" && last == Some(b"{}") {
                break;
            }
            may_have_ended |= is_made(word);
            if !is_one_word(word) && is_made(word) || may_have_ended && starts(word) {
                return Err(Why::DynamicCommand);
            }
            let found = contains(word.bytes(), b"{}");
            let bytes = word.bytes().to_vec();
            command.push(if found { Word::Dynamic(bytes) } else { word.clone() });
        }
        inner.push(Inner::Words(command));
    }
    Ok(inner)
}

/// Whether the shell makes the word of something else than the names of files.
fn is_made(word: &Word) -> bool {
    word.plain().is_none() && word.bytes().iter().any(|it| b"$`{".contains(it))
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
