//! Lists, pipes, groups and simple commands (POSIX XCU 2.9, 2.10), in one pass over the text.

use crate::builtins::{hides_commands, is_harmless};
use crate::word::{Lexed, is_name};
use crate::{
    Assignment, Flags, Line, MAX_COMMANDS, MAX_DEPTH, Redirect, Simple, Unparsed, Why, Word, wrap,
};

/// Where a text lies.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// How deep.
    pub(crate) depth: u8,
    /// What its commands have from what they lie in.
    pub(crate) flags: Flags,
}

impl Place {
    /// One deeper.
    pub(crate) fn inner(self, at: usize) -> Result<Self, Unparsed> {
        if self.depth >= MAX_DEPTH {
            return Err(Unparsed { why: Why::TooDeep, at });
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

/// Reads a whole text into `out`.
pub(crate) fn text(text: &[u8], out: &mut Line, place: Place) -> Result<(), Unparsed> {
    Reader { text, at: 0, out, place, substituted: false }.list(Until::End)
}

/// Adds a command, and those that it starts.
pub(crate) fn add(out: &mut Line, mut simple: Simple, at: usize) -> Result<(), Unparsed> {
    if out.commands.len() >= MAX_COMMANDS {
        return Err(Unparsed { why: Why::TooMany, at });
    }
    let flags = &mut simple.flags;
    flags.dynamic |= simple.words.iter().any(|it| it.plain().is_none())
        || simple.assignments.iter().any(|it| it.value.plain().is_none())
        || simple.redirects.iter().any(|it| it.path.plain().is_none());
    flags.redirect |= !simple.redirects.is_empty();
    let followed = wrap::start(&simple, at);
    if let Ok(started) = &followed {
        simple.flags = simple.flags.or(started.flags);
    }
    out.flags = out.flags.or(simple.flags);
    let place = Place {
        depth: simple.depth,
        // What holds of the words of the outer command does not of the inner's.
        flags: Flags {
            nested_shell: simple.flags.nested_shell,
            privileged: simple.flags.privileged,
            ..Flags::default()
        },
    };
    out.commands.push(simple);
    followed?.follow(out, place, at)
}

/// What ends a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    Parenthesis,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Parenthesis,
    Brace,
}

pub(crate) struct Reader<'t, 'o> {
    pub(crate) text: &'t [u8],
    pub(crate) at: usize,
    pub(crate) out: &'o mut Line,
    pub(crate) place: Place,
    /// Whether a word of the present command has a substitution.
    pub(crate) substituted: bool,
}

impl Reader<'_, '_> {
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(crate) fn ahead(&self, by: usize) -> Option<u8> {
        self.text.get(self.at + by).copied()
    }

    pub(crate) const fn stop(&self, why: Why) -> Unparsed {
        Unparsed { why, at: self.at }
    }

    /// A `$( … )`, from behind its parenthesis to behind its end.
    pub(crate) fn substitution(&mut self) -> Result<(), Unparsed> {
        let outer = self.place;
        self.place = outer.inner(self.at)?;
        let done = self.list(Until::Parenthesis);
        self.place = outer;
        self.substituted = true;
        done
    }

    /// Commands with what is between them.
    fn list(&mut self, until: Until) -> Result<(), Unparsed> {
        let mut groups: Vec<Group> = Vec::new();
        loop {
            self.blanks(true)?;
            match self.peek() {
                None if until == Until::End && groups.is_empty() => return Ok(()),
                None => return Err(self.stop(Why::Unclosed)),
                Some(b')') => {
                    match groups.pop() {
                        Some(Group::Parenthesis) => {}
                        None if until == Until::Parenthesis => {
                            self.at += 1;
                            return Ok(());
                        }
                        Some(Group::Brace) | None => return Err(self.stop(Why::Syntax)),
                    }
                    self.at += 1;
                    self.after_group()?;
                }
                Some(b'(') => {
                    if self.ahead(1) == Some(b'(') {
                        return Err(self.stop(Why::Arithmetic));
                    }
                    self.open(&mut groups, Group::Parenthesis)?;
                    self.at += 1;
                }
                Some(_) => self.command(&mut groups)?,
            }
        }
    }

    fn open(&self, groups: &mut Vec<Group>, group: Group) -> Result<(), Unparsed> {
        if groups.len() + usize::from(self.place.depth) >= usize::from(MAX_DEPTH) {
            return Err(self.stop(Why::TooDeep));
        }
        groups.push(group);
        Ok(())
    }

    /// Blanks, continued lines and comments; newlines as well where they mean nothing.
    fn blanks(&mut self, newlines: bool) -> Result<(), Unparsed> {
        loop {
            match (self.peek(), self.ahead(1)) {
                (Some(b' ' | b'\t'), _) => self.at += 1,
                (Some(b'\\'), Some(b'\n')) => self.continued()?,
                (Some(b'\n'), _) if newlines => self.at += 1,
                (Some(b'#'), _) => {
                    while self.peek().is_some_and(|it| it != b'\n') {
                        self.at += 1;
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// A line continued between words. Inside an operator it is one for some shells only: bash
    /// reads `a &\<newline>> f b` as `a b` with both outputs in a file.
    fn continued(&mut self) -> Result<(), Unparsed> {
        let before = self.at.checked_sub(1).and_then(|at| self.text.get(at));
        let divides = |it: u8| b"&|;<>(".contains(&it);
        let operator = before.is_some_and(|it| divides(*it));
        while (self.peek(), self.ahead(1)) == (Some(b'\\'), Some(b'\n')) {
            self.at += 2;
        }
        if operator && self.peek().is_some_and(|it| divides(it) || it == b'!') {
            return Err(self.stop(Why::Differs));
        }
        Ok(())
    }

    /// One command up to and with the separator behind it, or a brace.
    fn command(&mut self, groups: &mut Vec<Group>) -> Result<(), Unparsed> {
        let start = self.at;
        let mut simple = Simple { depth: self.depth(groups), ..Simple::default() };
        let outer = std::mem::replace(&mut self.substituted, false);
        let mut empty = true;
        loop {
            self.blanks(false)?;
            match self.peek() {
                None | Some(b'\n' | b';' | b'&' | b'|' | b')') => break,
                Some(b'(') => return Err(self.stop(Why::Parenthesis)),
                Some(b'<' | b'>') => self.redirect(&mut simple)?,
                Some(_) => {
                    let at = self.at;
                    let lexed = self.word()?;
                    if empty && self.keyword(&lexed, groups, at)? {
                        self.substituted = outer;
                        return Ok(());
                    }
                    self.take(&mut simple, lexed, at)?;
                }
            }
            empty = false;
        }
        if empty {
            return Err(self.stop(Why::Syntax));
        }
        simple.flags = self.place.flags;
        simple.flags.substitution = std::mem::replace(&mut self.substituted, outer);
        add(self.out, simple, start)?;
        self.separator()
    }

    fn depth(&self, groups: &[Group]) -> u8 {
        self.place.depth.saturating_add(u8::try_from(groups.len()).unwrap_or(u8::MAX))
    }

    /// `!`, `{`, `}` where a command begins: done with, nothing to add.
    fn keyword(
        &mut self,
        lexed: &Lexed,
        groups: &mut Vec<Group>,
        at: usize,
    ) -> Result<bool, Unparsed> {
        if lexed.quoted {
            return Ok(false);
        }
        match lexed.word.bytes() {
            // ksh reads a pattern.
            b"!" if self.peek() == Some(b'(') => Err(Unparsed { why: Why::Differs, at }),
            b"!" => Ok(true),
            b"{" => self.open(groups, Group::Brace).map(|()| true),
            b"}" => {
                if groups.pop() != Some(Group::Brace) {
                    return Err(Unparsed { why: Why::Syntax, at });
                }
                self.after_group().map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// A word that is not a keyword: descriptor number, assignment, name or argument.
    fn take(&mut self, simple: &mut Simple, lexed: Lexed, at: usize) -> Result<(), Unparsed> {
        let Lexed { word, quoted, .. } = &lexed;
        if lexed.differs {
            return Err(Unparsed { why: Why::Differs, at });
        }
        let digits = !quoted && word.bytes().iter().all(u8::is_ascii_digit);
        if digits && matches!(self.peek(), Some(b'<' | b'>')) {
            // A descriptor; of two digits only in some shells, in others an argument.
            if word.bytes().len() > 1 {
                return Err(Unparsed { why: Why::Differs, at });
            }
            return self.redirect(simple);
        }
        // bash sets a variable of that name, whose index it evaluates.
        let braced = word.bytes().starts_with(b"{") && word.bytes().ends_with(b"}");
        if braced && matches!(self.peek(), Some(b'<' | b'>')) {
            return Err(Unparsed { why: Why::Differs, at });
        }
        // zsh ends a group there.
        if !quoted && word.bytes() == b"}" {
            return Err(Unparsed { why: Why::Differs, at });
        }
        if simple.words.is_empty() {
            if !quoted && RESERVED.contains(&word.bytes()) {
                return Err(Unparsed { why: Why::Compound, at });
            }
            if let Some(equals) = lexed.equals {
                let assignment =
                    assignment(&lexed, equals).ok_or(Unparsed { why: Why::Differs, at })?;
                if !is_harmless(&assignment.name) || hides_commands(&assignment.value) {
                    return Err(Unparsed { why: Why::Builtin, at });
                }
                simple.assignments.push(assignment);
                return Ok(());
            }
            if word.plain().is_none() {
                return Err(Unparsed { why: Why::DynamicCommand, at });
            }
        }
        simple.words.push(lexed.word);
        Ok(())
    }

    /// `<`, `>` and what belongs to them (XCU 2.7).
    fn redirect(&mut self, simple: &mut Simple) -> Result<(), Unparsed> {
        let (first, second, third) = (self.peek(), self.ahead(1), self.ahead(2));
        let (length, write, descriptor) = match (first, second, third) {
            (Some(b'<'), Some(b'<'), Some(b'<')) => (3, None, false),
            (Some(b'<'), Some(b'<'), _) => return Err(self.stop(Why::HereDocument)),
            (_, Some(b'('), _) => return Err(self.stop(Why::ProcessSubstitution)),
            (Some(b'<'), Some(b'&'), _) => (2, Some(false), true),
            (Some(b'>'), Some(b'&'), _) => (2, Some(true), true),
            (Some(b'<'), Some(b'>'), _) | (Some(b'>'), Some(b'>' | b'|'), _) => {
                (2, Some(true), false)
            }
            (Some(b'<'), ..) => (1, Some(false), false),
            _ => (1, Some(true), false),
        };
        self.at += length;
        // `>>|`, `>>!`, `>!` are zsh's: to clobber. Elsewhere `!` is the file's name.
        if matches!(self.peek(), Some(b'!' | b'|' | b'&')) {
            return Err(self.stop(Why::Differs));
        }
        self.blanks(false)?;
        if self.peek().is_none_or(|it| b"\n;&|<>()".contains(&it)) {
            return Err(self.stop(Why::Syntax));
        }
        let at = self.at;
        let lexed = self.word()?;
        if descriptor {
            // What is behind `>&` is expanded twice by bash, where it is no descriptor.
            let plain = lexed.word.plain().filter(|word| word.iter().all(is_same_twice));
            let Some(word) = plain else {
                return Err(Unparsed { why: Why::Differs, at });
            };
            let digits = word.strip_suffix(b"-").unwrap_or(word);
            if !word.is_empty() && digits.iter().all(u8::is_ascii_digit) {
                return Ok(());
            }
        }
        if let Some(write) = write {
            simple.redirects.push(Redirect { write, path: lexed.word });
        }
        Ok(())
    }

    /// Behind `)` or `}`: redirections, then a separator or an end.
    fn after_group(&mut self) -> Result<(), Unparsed> {
        let start = self.at;
        let mut simple = Simple { depth: self.place.depth, ..Simple::default() };
        loop {
            self.blanks(false)?;
            match self.peek() {
                Some(b'<' | b'>') => self.redirect(&mut simple)?,
                Some(digit) if digit.is_ascii_digit() => {
                    let at = self.at;
                    let lexed = self.word()?;
                    let digits = lexed.word.bytes().iter().all(u8::is_ascii_digit);
                    if lexed.quoted
                        || lexed.differs
                        || !digits
                        || !matches!(self.peek(), Some(b'<' | b'>'))
                    {
                        return Err(Unparsed { why: Why::Syntax, at });
                    }
                }
                None | Some(b'\n' | b';' | b'&' | b'|' | b')') => break,
                // `{ a; } }` needs no separator between the braces.
                Some(b'}') if self.ends_word(1) => return self.flush(simple, start),
                Some(_) => return Err(self.stop(Why::Syntax)),
            }
        }
        self.flush(simple, start)?;
        self.separator()
    }

    fn ends_word(&self, by: usize) -> bool {
        self.ahead(by).is_none_or(|it| b" \t\n;&|<>()".contains(&it))
    }

    fn flush(&mut self, mut simple: Simple, start: usize) -> Result<(), Unparsed> {
        if simple.redirects.is_empty() {
            return Ok(());
        }
        simple.flags = self.place.flags;
        add(self.out, simple, start)
    }

    /// `;`, `&`, `&&`, `|`, `||`, `|&` or a newline; nothing before an end.
    fn separator(&mut self) -> Result<(), Unparsed> {
        let length = match (self.peek(), self.ahead(1)) {
            (None | Some(b')'), _) => 0,
            (Some(b';'), Some(b';' | b'&' | b'|')) => return Err(self.stop(Why::Syntax)),
            // bash redirects both outputs, a POSIX shell runs in the background and redirects
            // the next command; `&|` and `&!` are zsh's.
            (Some(b'&'), Some(b'>' | b'|' | b'!')) => return Err(self.stop(Why::Differs)),
            (Some(b'&'), Some(b'&')) | (Some(b'|'), Some(b'|' | b'&')) => 2,
            (Some(b';' | b'\n' | b'&' | b'|'), _) => 1,
            (Some(_), _) => return Err(self.stop(Why::Syntax)),
        };
        self.at += length;
        Ok(())
    }
}

/// Words that begin or divide compound commands in sh, bash, ksh or zsh.
pub(crate) const RESERVED: &[&[u8]] = &[
    b"if",
    b"then",
    b"elif",
    b"else",
    b"fi",
    b"do",
    b"done",
    b"case",
    b"esac",
    b"while",
    b"until",
    b"for",
    b"in",
    b"select",
    b"function",
    b"coproc",
    b"[[",
    b"]]",
    b"{",
    b"}",
    b"!",
    b"foreach",
    b"end",
    b"repeat",
    b"always",
    b"namespace",
];

/// Characters that mean themselves however often a shell expands them.
fn is_same_twice(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_./-,:@%+=".contains(byte)
}

/// `NAME=value`; `None` for what shells take for different things, such as `NAME+=value`.
fn assignment(lexed: &Lexed, equals: usize) -> Option<Assignment> {
    let bytes = lexed.word.bytes();
    let (name, value) = (bytes.get(..equals)?, bytes.get(equals + 1..)?);
    if !is_name(name) {
        return None;
    }
    let value = match lexed.word {
        Word::Plain(_) => Word::Plain(value.to_vec()),
        Word::Dynamic(_) => Word::Dynamic(value.to_vec()),
    };
    Some(Assignment { name: name.to_vec(), value })
}
