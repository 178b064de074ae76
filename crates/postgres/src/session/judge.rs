//! From a statement's facts to the actions that rules speak of.

use std::borrow::Cow;

use policy::{Access, Action, Call, Naming, Resource};
use postgres_grammar::{self as grammar, Analysis, Class, Detail, Statement};
use smallvec::SmallVec;

use super::names::Names;

/// The words that rules may use for PostgreSQL.
pub const VOCABULARY: policy::Vocabulary = policy::Vocabulary {
    protocol: crate::PROTOCOL,
    classes: &["session", "read", "write", "ddl", "admin", "unknown"],
    operations: &[],
    flags: &Flags::NAMES,
    calls: true,
    arguments: &[],
};

use grammar::Flags;

/// The operation of what the grammar can't read.
pub(crate) const UNPARSED: &str = "UNPARSED";
/// The operation of an empty text.
pub(crate) const EMPTY: &str = "EMPTY";
/// The operation of a FunctionCall message.
pub(crate) const FUNCTION_CALL: &str = "FUNCTION CALL";

/// One action with room for what it borrows.
struct Held<'a> {
    operation: &'static str,
    class: &'static str,
    class_without_calls: &'static str,
    resources: SmallVec<[(String, bool, Access); 4]>,
    calls: SmallVec<[Call<'a>; 4]>,
    flags: SmallVec<[&'static str; 4]>,
}

/// Gives the actions of a text to `judge`, with the operation's name and the class as records
/// show them.
pub(crate) fn with_actions<T>(
    analyses: &[&Analysis],
    names: &Names,
    judge: impl FnOnce(&[Action<'_>], Cow<'static, str>, &'static str) -> T,
) -> T {
    let mut held: SmallVec<[Held<'_>; 2]> = SmallVec::new();
    for analysis in analyses {
        collect(analysis, names, &mut held, 0);
    }
    let resources: SmallVec<[SmallVec<[Resource<'_>; 4]>; 2]> = held
        .iter()
        .map(|action| {
            action
                .resources
                .iter()
                .map(|(name, qualified, access)| Resource {
                    name,
                    naming: if *qualified { Naming::Whole } else { Naming::Part('.') },
                    access: *access,
                })
                .collect()
        })
        .collect();
    let actions: SmallVec<[Action<'_>; 2]> = held
        .iter()
        .zip(&resources)
        .map(|(action, resources)| Action {
            class_without_calls: action.class_without_calls,
            resources,
            calls: &action.calls,
            flags: &action.flags,
            ..Action::plain(action.operation, action.class)
        })
        .collect();
    let class = analyses.iter().map(|a| a.class).max().unwrap_or(Class::Unknown).name();
    match held.as_slice() {
        [one] => judge(&actions, one.operation.into(), more_dangerous(class, one.class)),
        several => {
            let operations: Vec<&str> = several.iter().map(|action| action.operation).collect();
            judge(&actions, operations.join("; ").into(), class)
        }
    }
}

/// The more dangerous of two class names.
fn more_dangerous(one: &'static str, other: &'static str) -> &'static str {
    let rank = |name: &str| Class::ALL.iter().position(|class| class.name() == name);
    if rank(other) > rank(one) { other } else { one }
}

/// How deep EXECUTE may lead to the statement it names: one that was prepared may be an EXECUTE
/// itself, of a name that has changed its meaning since.
const MAX_EXECUTE_DEPTH: usize = 4;

fn collect<'a>(
    analysis: &'a Analysis,
    names: &'a Names,
    held: &mut SmallVec<[Held<'a>; 2]>,
    depth: usize,
) {
    if analysis.parse_error.is_some() {
        held.push(plain(UNPARSED, Class::Unknown));
        return;
    }
    if analysis.statements.is_empty() {
        held.push(plain(EMPTY, Class::Session));
        return;
    }
    collect_statements(&analysis.statements, names, held, depth);
}

/// What a statement holds counts as what it does: the body of PREPARE and DECLARE CURSOR may be
/// run under many names later, EXPLAIN may run it now. So every meaning that a name can ever get
/// in a session was judged when it was given.
fn collect_statements<'a>(
    statements: &'a [Statement],
    names: &'a Names,
    held: &mut SmallVec<[Held<'a>; 2]>,
    depth: usize,
) {
    for statement in statements {
        held.push(action(statement));
        if depth < MAX_EXECUTE_DEPTH {
            collect_statements(&statement.inner, names, held, depth + 1);
        } else if !statement.inner.is_empty() {
            held.push(plain(UNPARSED, Class::Unknown));
        }
        let named = match &statement.detail {
            Detail::Execute { name } => names.sql_prepared.get(name.as_bytes()),
            Detail::Fetch { cursor, .. } => names.cursors.get(cursor.as_bytes()),
            _ => continue,
        };
        match named {
            Some(definitions) if depth < MAX_EXECUTE_DEPTH => {
                for definition in definitions {
                    collect(definition, names, held, depth + 1);
                }
            }
            _ => held.push(plain(UNPARSED, unknown_name(statement, names))),
        }
    }
}

/// What runs under a name that we never saw defined. A protocol-level prepared statement was
/// judged when it was prepared; a cursor that a function opened was not.
fn unknown_name(statement: &Statement, names: &Names) -> Class {
    match &statement.detail {
        Detail::Execute { name } => match names.statements.get(name.as_bytes()) {
            Some(prepared) => prepared.analysis.class,
            None => Class::Unknown,
        },
        _ => Class::Read,
    }
}

fn plain<'a>(operation: &'static str, class: Class) -> Held<'a> {
    Held {
        operation,
        class: class.name(),
        class_without_calls: class.name(),
        resources: SmallVec::new(),
        calls: SmallVec::new(),
        flags: SmallVec::new(),
    }
}

/// Everything that is called, and once more what of it may write.
fn calls(statement: &Statement) -> SmallVec<[Call<'_>; 4]> {
    let call = |harmless: bool| {
        move |name| {
            let name: &String = name;
            Call { name, qualified: name.contains('.'), harmless }
        }
    };
    let unlisted = statement.unlisted.iter().map(call(false));
    unlisted.chain(statement.functions.iter().map(call(true))).collect()
}

fn action(statement: &Statement) -> Held<'_> {
    let resources = statement
        .tables
        .iter()
        .map(|table| {
            let name = match &table.schema {
                Some(schema) => format!("{schema}.{}", table.name),
                None => table.name.clone(),
            };
            let access = match table.access {
                grammar::Access::Read => Access::Read,
                grammar::Access::Write => Access::Write,
            };
            (name, table.schema.is_some(), access)
        })
        .collect();
    Held {
        operation: statement.tag,
        class: statement.class.name(),
        class_without_calls: statement.class_without_calls.name(),
        resources,
        calls: calls(statement),
        flags: statement.flags.names().collect(),
    }
}
