//! Which commands a shell command line runs, or that it can't be told.
//!
//! `ssh host LINE` hands LINE to the login shell of the account. To judge it, one must know which
//! programs it starts with which words. [`read`] gives every *simple command* of the line, those
//! in pipes, groups, subshells and substitutions and those that another command starts
//! (`sh -c`, `sudo`, `env`, `xargs`, `find -exec` …) included. What it does not understand makes
//! the line [`Line::unparsed`], which whoever judges takes for the worst.
//!
//! The promise goes one way: if nothing is unparsed, then a POSIX shell (dash, bash, ksh; zsh with
//! its usual options) runs no external command by this line's own words that is not among
//! [`Line::commands`]. Where those shells read a text differently, the text is unparsed. What a
//! program does with its words is not known here: an editor, `tar --checkpoint-action` or
//! `git -c core.pager=…` can start programs too. Rules that allow named commands are a guard;
//! rules that deny named commands are an aid. Nor is it known what a variable holds that ksh or zsh take
//! for arithmetic (`exit $x`, `[ "$x" -eq 1 ]`), which can run commands too.
//!
//! Words: a [`Word`] is *plain* when its value is in the text, *dynamic* when the shell makes it
//! (`$x`, `$(…)`, `*`, `~`, `{a,b}`); a dynamic word may become any number of words.
//!
//! Not read, hence unparsed: here-documents, functions, `if`/`for`/`while`/`case`, arithmetic,
//! process substitution, a dynamic command name, builtins that change how later words are read
//! (`alias`, `.`, `trap` …), a duplication (`>&`, `<&`) of anything that is not plainly written,
//! interpreters with a program in their words or on standard input.
//!
//! ```
//! use shell_grammar::{read, Word};
//!
//! let line = read(b"cd /srv && sudo sh -c 'tail -n 5 app.log | grep \"x y\"' 2>/dev/null");
//! assert!(line.unparsed.is_none());
//! let joined: Vec<_> = line.commands.iter()
//!     .map(|it| String::from_utf8(it.joined()).unwrap())
//!     .collect();
//! assert_eq!(joined[0], "cd /srv");
//! assert_eq!(joined[2], r#"sh -c tail\ -n\ 5\ app.log\ |\ grep\ "x\ y""#);
//! assert_eq!(joined[3..], ["tail -n 5 app.log", r"grep x\ y"]);
//! assert!(line.commands[3].flags.privileged && !line.commands[0].flags.privileged);
//! assert_eq!(line.commands[4].words[1], Word::Plain(b"x y".to_vec()));
//!
//! assert!(read(b"for f in *; do rm $f; done").unparsed.is_some());
//! ```

mod builtins;
mod options;
mod reader;
mod word;
mod wrap;

/// The longest line that is read, in bytes; a longer one is unparsed.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// The most commands in a line.
pub const MAX_COMMANDS: usize = 256;
/// How deep commands may lie in others: groups, substitutions and wrappers together.
pub const MAX_DEPTH: u8 = 8;

/// What a line runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Every simple command found, at most [`MAX_COMMANDS`]. What is inside another comes after
    /// it when a wrapper starts it, and before it when it is substituted into its words.
    pub commands: Vec<Simple>,
    /// What any of the commands has, and what was seen of the part that was not understood.
    pub flags: Flags,
    /// The first thing that was not understood; nothing after it was read.
    pub unparsed: Option<Unparsed>,
}

/// What is notable about a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // independent facts, each of them a word in rules
pub struct Flags {
    /// A word is made by the shell.
    pub dynamic: bool,
    /// A word has `$(…)` or backquotes.
    pub substitution: bool,
    /// It reads or writes a file by `<` or `>` (not only other descriptors).
    pub redirect: bool,
    /// It runs a shell or another interpreter, or is run by one.
    pub nested_shell: bool,
    /// It runs, or is run, as somebody else: `sudo`, `doas`, `su`, `chroot` ….
    pub privileged: bool,
    /// It opens a session on another machine: `ssh`, `telnet` ….
    pub nested_ssh: bool,
}

impl Flags {
    /// Those of both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            dynamic: self.dynamic || other.dynamic,
            substitution: self.substitution || other.substitution,
            redirect: self.redirect || other.redirect,
            nested_shell: self.nested_shell || other.nested_shell,
            privileged: self.privileged || other.privileged,
            nested_ssh: self.nested_ssh || other.nested_ssh,
        }
    }

    /// The names of those that are set, as rules write them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            ("dynamic", self.dynamic),
            ("substitution", self.substitution),
            ("redirect", self.redirect),
            ("nested_shell", self.nested_shell),
            ("privileged", self.privileged),
            ("nested_ssh", self.nested_ssh),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
    }
}

/// One command with its words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simple {
    /// The name and its arguments; none where the command only assigns or redirects.
    pub words: Vec<Word>,
    /// `NAME=value` before the name. Without a name they hold for the commands that follow.
    pub assignments: Vec<Assignment>,
    /// Files that the shell opens for it.
    pub redirects: Vec<Redirect>,
    /// How deep it lies, 0 for the line itself.
    pub depth: u8,
    /// What is notable about it.
    pub flags: Flags,
}

impl Simple {
    /// The words with one blank between them; blanks, newlines and backslashes inside a word are
    /// escaped by a backslash, so that `rm "a b"` and `rm a b` differ.
    #[must_use]
    pub fn joined(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for word in &self.words {
            push_escaped(&mut out, word.bytes());
        }
        out
    }

    /// The same with the assignments before it, `NAME=value`.
    #[must_use]
    pub fn joined_with_assignments(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for it in &self.assignments {
            push_escaped(&mut out, &it.name);
            out.push(b'=');
            let mut value = Vec::new();
            push_escaped(&mut value, it.value.bytes());
            out.append(&mut value);
        }
        for word in &self.words {
            push_escaped(&mut out, word.bytes());
        }
        out
    }
}

fn push_escaped(out: &mut Vec<u8>, word: &[u8]) {
    if !out.is_empty() {
        out.push(b' ');
    }
    for &byte in word {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Its value, quotes removed.
    Plain(Vec<u8>),
    /// The text that the shell makes words of, as it stands.
    Dynamic(Vec<u8>),
}

impl Word {
    /// The value of a plain word, the text of a dynamic one.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) | Self::Dynamic(bytes) => bytes,
        }
    }

    /// The value, if it is in the text.
    #[must_use]
    pub fn plain(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(bytes) => Some(bytes),
            Self::Dynamic(_) => None,
        }
    }
}

/// `NAME=value` before a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The variable.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Word,
}

/// A file that the shell opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Whether it is opened for writing.
    pub write: bool,
    /// Which.
    pub path: Word,
}

/// Where reading ended, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unparsed {
    /// Why.
    pub why: Why,
    /// The byte offset in the text that holds it: the line, or the text of a `sh -c` or of
    /// backquotes inside it.
    pub at: usize,
}

/// What is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Longer than [`MAX_LINE_BYTES`].
    TooLong,
    /// More than [`MAX_COMMANDS`].
    TooMany,
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
    /// A NUL byte: what comes after it reaches the shell or does not.
    Nul,
    /// A quote, parenthesis, brace or substitution without its end.
    Unclosed,
    /// A word or an operator that can't stand there.
    Syntax,
    /// A here-document.
    HereDocument,
    /// A function, an array, or a pattern with parentheses.
    Parenthesis,
    /// `if`, `for`, `case`, `[[` ….
    Compound,
    /// `$(( ))`, `(( ))`, `$[ ]`.
    Arithmetic,
    /// `<( )` or `>( )`.
    ProcessSubstitution,
    /// `${…}` with more than a name and a simple default.
    Parameter,
    /// A text that shells read differently.
    Differs,
    /// The shell makes the command's name, or a word that decides which command it is.
    DynamicCommand,
    /// An option of a command that starts others, which is not known here.
    Wrapper,
    /// An interpreter whose program is elsewhere or in another language.
    Interpreter,
    /// A builtin that changes how the shell reads what follows.
    Builtin,
}

impl Why {
    /// It in words, for whoever is refused.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::TooLong => "the line is too long",
            Self::TooMany => "the line has too many commands",
            Self::TooDeep => "commands are nested too deep",
            Self::Nul => "there is a NUL byte",
            Self::Unclosed => "a quote or parenthesis is not closed",
            Self::Syntax => "an operator stands where none can",
            Self::HereDocument => "there is a here-document",
            Self::Parenthesis => "there is a function, an array or a pattern with parentheses",
            Self::Compound => "there is a compound command (if, for, while, case, [[)",
            Self::Arithmetic => "there is arithmetic",
            Self::ProcessSubstitution => "there is a process substitution",
            Self::Parameter => "a ${} has more than a name and a simple default",
            Self::Differs => "shells read this differently",
            Self::DynamicCommand => "the shell makes a command's name",
            Self::Wrapper => "a command that starts others has an option that is not known",
            Self::Interpreter => "an interpreter runs what can't be read here",
            Self::Builtin => "a builtin changes how the rest is read",
        }
    }
}

/// Reads a line: linear in its length, without any I/O.
///
/// Never fails: what can't be read is in [`Line::unparsed`], beside the commands before it.
#[must_use]
pub fn read(line: &[u8]) -> Line {
    let mut out = Line::default();
    if line.len() > MAX_LINE_BYTES {
        out.unparsed = Some(Unparsed { why: Why::TooLong, at: MAX_LINE_BYTES });
        return out;
    }
    if let Some(at) = line.iter().position(|&byte| byte == 0) {
        out.unparsed = Some(Unparsed { why: Why::Nul, at });
        return out;
    }
    if let Err(stop) = reader::text(line, &mut out, reader::Place::default()) {
        out.unparsed = Some(stop);
    }
    out
}
