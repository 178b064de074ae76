//! What is judged: who asks, and for what.

/// Who asks, borrowed from wherever it lives.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// human, agent, workload, ci.
    pub kind: &'a str,
    /// The issuer that vouches for the subject.
    pub issuer: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// Groups.
    pub groups: &'a [String],
    /// Subjects it acts for, outermost actor first; empty when it acts for itself.
    pub on_behalf_of: &'a [String],
}

/// How a resource is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Changed.
    Write,
}

/// How much a resource's name says of where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Everything: `hr.payroll`, `/etc/motd`.
    Whole,
    /// Not its namespace, which this character would divide from the name: an SQL table without
    /// its schema, a file without its folder. A deny rule matches when the name in *any*
    /// namespace, `x.name` or `x/name`, would match; an allow rule goes by the name as it stands.
    Part(char),
    /// A program and its arguments, divided by blanks (one inside a word has a backslash before
    /// it). Where a program lies, its caller may leave out or spell in many ways, so a deny rule
    /// goes by its last name: `rm *` and `/bin/rm *` both match `rm x` and `/usr/bin/rm x`. An
    /// allow rule goes by the name as it stands.
    Program,
}

/// Something an action touches: a table, a path, a Kubernetes object.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    /// Its name as the protocol writes it.
    pub name: &'a str,
    /// How much the name says of where the resource is.
    pub naming: Naming,
    /// How it is used.
    pub access: Access,
}

/// Code on the target that an action has run: an SQL function.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Its name as the action writes it.
    pub name: &'a str,
    /// Whether the name says which namespace the code is in; if not, see [`Naming::Part`].
    pub qualified: bool,
    /// Known to change nothing: an allow rule with `functions` need not name it.
    pub harmless: bool,
}

/// A field of what is asked for: of a request's body, a header, an argument of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Argument<'a> {
    /// Its name as the protocol writes it: `body.amount`, `field.x-env`, `arg.path`. One name may
    /// occur several times, as the elements of a JSON array do.
    pub name: &'a str,
    /// Its value as text: a string without quotes, a number as it was written, `true`, `null`.
    pub value: &'a str,
}

/// One thing a command does: a SQL statement, a file operation, an API call.
#[derive(Debug, Clone, Copy)]
pub struct Action<'a> {
    /// The operation, in the protocol's words: `DELETE`, `GET`, `exec`.
    pub operation: &'a str,
    /// The class, in the protocol's words: `read`, `write`. It takes each call that is not known
    /// to be harmless for as bad as it may be.
    pub class: &'a str,
    /// The class if those calls that a rule may vouch for were harmless; else the same.
    pub class_without_calls: &'a str,
    /// What it touches.
    pub resources: &'a [Resource<'a>],
    /// What it calls.
    pub calls: &'a [Call<'a>],
    /// Flags that are set.
    pub flags: &'a [&'a str],
    /// Its arguments, every one that could be read.
    pub arguments: &'a [Argument<'a>],
    /// How the names begin of arguments that may be there and could not be read: `body.` of a
    /// body that is too large or not JSON. A rule that names one of them is not sure to hold, so
    /// an allow rule doesn't match and a deny rule does.
    pub unread: &'a [&'a str],
    /// How the names begin of arguments that are not asked for yet: the verdict is whether *some*
    /// values of theirs would be let through. Rules about them hold if they allow and don't if they
    /// deny. `&[""]` are all, for a list of what may be called; where some are, for what is to be
    /// done, it must be judged again with each.
    pub to_come: &'a [&'a str],
}

impl<'a> Action<'a> {
    /// An action without calls, resources, flags and arguments.
    #[must_use]
    pub const fn plain(operation: &'a str, class: &'a str) -> Self {
        Self {
            operation,
            class,
            class_without_calls: class,
            resources: &[],
            calls: &[],
            flags: &[],
            arguments: &[],
            unread: &[],
            to_come: &[],
        }
    }
}

/// All of what is asked for at once. Every action is judged; the worst verdict is the command's.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The protocol's name: `postgres`, `ssh`, `http`.
    pub protocol: &'a str,
    /// The target's name.
    pub target: &'a str,
    /// What is done. No action at all is judged as one without operation, class or resource.
    pub actions: &'a [Action<'a>],
}

/// The words a protocol uses in its actions, so that a rule with any other word is a mistake.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary {
    /// The protocol's name.
    pub protocol: &'static str,
    /// Classes.
    pub classes: &'static [&'static str],
    /// Operations; empty means any word (HTTP methods, API verbs can't all be listed).
    pub operations: &'static [&'static str],
    /// Flags.
    pub flags: &'static [&'static str],
    /// Whether its actions call anything, so that `functions` has a meaning.
    pub calls: bool,
    /// How the names of its arguments begin: `body.`, `field.`; empty if it has none.
    pub arguments: &'static [&'static str],
}
