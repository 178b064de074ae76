//! From one statement's tree to its [`Statement`].

use std::ops::Range;

use crate::collect::{Found, dotted, object_names, words};
use crate::tree::{Node, Tree};
use crate::types::{
    Access, Class, Copy, CopyDirection, CopyEnd, CopyFormat, Detail, Set, Statement, TableName,
};
use crate::{functions, lineage, plpgsql, reads, tags};

use pg_query::protobuf::{DiscardMode, ObjectType, VariableSetKind};

/// `DECLARE BINARY CURSOR` and `WITH HOLD` in the grammar's option bits (parsenodes.h).
const CURSOR_OPT_BINARY: i64 = 0x0001;
const CURSOR_OPT_HOLD: i64 = 0x0020;

/// What a statement is read from.
pub(crate) struct Context<'a> {
    pub(crate) text: &'a str,
    pub(crate) conforming: bool,
    pub(crate) max_depth: usize,
    /// DO bodies inside DO bodies are not looked into.
    pub(crate) in_body: bool,
}

/// A statement and everything in it.
pub(crate) fn statement(context: &Context<'_>, node: &Node, range: Range<usize>) -> Statement {
    let (tag, least) = tags::of(node);
    let mut found = Found::default();
    found.raise(least);
    found.statement(node, outside_queries(node));
    let detail = detail(context, node, &range, &mut found);
    named_objects(node, &mut found);
    let inner = inner(context, node, &range);
    let mut it = Statement {
        range,
        tag,
        class: Class::Session,
        class_without_calls: Class::Session,
        tables: found.tables,
        functions: found.functions,
        unlisted: found.unlisted,
        flags: found.flags,
        parameters: found.parameters,
        detail,
        inner: Vec::new(),
        outputs: outputs(node),
        reads: reads::of(node),
    };
    it.class_without_calls = found.class.unwrap_or(Class::Unknown);
    it.class = it.class_without_calls;
    if !it.unlisted.is_empty() {
        it.class = it.class.max(Class::Write);
    }
    if let Detail::Explain { analyze } = it.detail {
        it.flags.explain_analyze = analyze;
    }
    for below in inner {
        it.class = it.class.max(below.class);
        it.class_without_calls = it.class_without_calls.max(below.class_without_calls);
        it.flags.missing_where |= below.flags.missing_where;
        it.inner.push(below);
    }
    if let Detail::Do { body, language, .. } = &it.detail
        && !context.in_body
    {
        let (body, language) = (body.clone(), language.clone());
        body_of(context, &mut it, &language, &body);
    }
    it
}

/// What a table named outside of a query means: changed by DDL, read by the rest.
fn outside_queries(node: &Node) -> Access {
    match node.name {
        "CopyStmt" if node.flag("is_from") => Access::Write,
        "CopyStmt" | "ExplainStmt" | "PrepareStmt" | "DeclareCursorStmt" | "LockStmt" => {
            Access::Read
        }
        _ => Access::Write,
    }
}

/// Objects named by lists of strings instead of by range variables.
fn named_objects(node: &Node, found: &mut Found) {
    let relation = |kind| {
        matches!(
            kind,
            ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectSequence
                | ObjectType::ObjectIndex
                | ObjectType::ObjectForeignTable
        )
    };
    // `COLUMN t.c`, `TRIGGER x ON t`: the table is all but the last part.
    let part = |kind| {
        matches!(
            kind,
            ObjectType::ObjectColumn
                | ObjectType::ObjectTrigger
                | ObjectType::ObjectRule
                | ObjectType::ObjectPolicy
                | ObjectType::ObjectTabconstraint
        )
    };
    let mut add = |name: Option<TableName>| {
        if let Some(TableName { schema, name }) = name {
            found.table(schema, name, Access::Write);
        }
    };
    match node.name {
        "DropStmt" if relation(tags::object(node, "remove_type")) => {
            object_names(node, "objects").into_iter().for_each(|name| add(Some(name)));
        }
        "DropStmt" if part(tags::object(node, "remove_type")) => {
            for object in node.list("objects") {
                let names = object.names("items");
                add(names.split_last().and_then(|(_, table)| dotted(table)));
            }
        }
        "CommentStmt" | "SecLabelStmt" => {
            let kind = tags::object(node, "objtype");
            let names = node.child("object").map(|list| list.names("items")).unwrap_or_default();
            if relation(kind) {
                add(dotted(&names));
            } else if part(kind) {
                add(names.split_last().and_then(|(_, table)| dotted(table)));
            }
        }
        _ => {}
    }
}

/// Statements inside this one that have facts of their own.
fn inner(context: &Context<'_>, node: &Node, range: &Range<usize>) -> Vec<Statement> {
    let below = |node: &Node| statement(context, node, range.clone());
    match node.name {
        "PrepareStmt" | "ExplainStmt" | "DeclareCursorStmt" | "CreateTableAsStmt" => {
            node.child("query").map(below).into_iter().collect()
        }
        "CopyStmt" => {
            let at = copy_query(context, node, range).unwrap_or_else(|| range.clone());
            node.child("query").map(|query| statement(context, query, at)).into_iter().collect()
        }
        "RuleStmt" => node.list("actions").map(below).collect(),
        "CreateSchemaStmt" => node.list("schema_elts").map(below).collect(),
        "CreateFunctionStmt" => {
            let mut bodies = Vec::new();
            if let Some(body) = node.get("sql_body") {
                statements_in(body, &mut bodies);
            }
            bodies.into_iter().map(below).collect()
        }
        _ => Vec::new(),
    }
}

/// BEGIN ATOMIC bodies are lists of lists of statements.
fn statements_in<'a>(tree: &'a Tree, out: &mut Vec<&'a Node>) {
    match tree {
        Tree::List(items) => items.iter().for_each(|item| statements_in(item, out)),
        Tree::Node(node) if node.is("List") => {
            if let Some(items) = node.get("items") {
                statements_in(items, out);
            }
        }
        Tree::Node(node) if node.name.ends_with("Stmt") && !node.is("ReturnStmt") => out.push(node),
        _ => {}
    }
}

/// Columns of the answer, where the text settles them.
fn outputs(node: &Node) -> Option<Vec<crate::OutputColumn>> {
    match node.name {
        "SelectStmt" if node.child("into_clause").is_some() => None,
        "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
            lineage::outputs(node)
        }
        _ => None,
    }
}

fn detail(context: &Context<'_>, node: &Node, range: &Range<usize>, found: &mut Found) -> Detail {
    let name = |field: &str| node.text(field).to_owned();
    match node.name {
        "CopyStmt" => Detail::Copy(copy(context, node, range, found)),
        "VariableSetStmt" => {
            let set = set(node);
            if functions::is_guarded_setting(&set.name, set.value.as_deref()) {
                found.raise(Class::Admin);
            }
            Detail::Set(set)
        }
        "VariableShowStmt" => Detail::Show(node.text("name").to_ascii_lowercase()),
        "TransactionStmt" => tags::transaction(node).map_or(Detail::None, Detail::Transaction),
        "PrepareStmt" => Detail::Prepare { name: name("name") },
        "ExecuteStmt" => Detail::Execute { name: name("name") },
        "DeallocateStmt" => Detail::Deallocate { name: node.some_text("name") },
        "DiscardStmt" => {
            let all = i64::from(DiscardMode::DiscardAll as i32);
            Detail::Discard { all: node.int("target") == all }
        }
        "DeclareCursorStmt" => Detail::DeclareCursor {
            name: name("portalname"),
            binary: node.int("options") & CURSOR_OPT_BINARY != 0,
            hold: node.int("options") & CURSOR_OPT_HOLD != 0,
        },
        "FetchStmt" => Detail::Fetch { cursor: name("portalname"), is_move: node.flag("ismove") },
        "ClosePortalStmt" => Detail::CloseCursor { name: node.some_text("portalname") },
        "ListenStmt" => Detail::Listen(name("conditionname")),
        "UnlistenStmt" => Detail::Unlisten(node.some_text("conditionname")),
        "NotifyStmt" => Detail::Notify(name("conditionname")),
        "ExplainStmt" => Detail::Explain { analyze: option_on(node, "analyze") },
        "DoStmt" => do_block(node),
        "CallStmt" => {
            let called = node.child("funccall").map(|call| call.names("funcname").join("."));
            Detail::Call(called.unwrap_or_default())
        }
        _ => Detail::None,
    }
}

/// A boolean option: on unless its value says otherwise. The last one counts.
fn option_on(node: &Node, name: &str) -> bool {
    let option = node.list("options").rfind(|option| option.text("defname") == name);
    option.is_some_and(|option| {
        let value = words(option.get("arg")).concat().to_ascii_lowercase();
        !matches!(value.as_str(), "off" | "false" | "0")
    })
}

fn do_block(node: &Node) -> Detail {
    let (mut language, mut body) = ("plpgsql".to_owned(), String::new());
    for option in node.list("args") {
        let value = words(option.get("arg")).concat();
        match option.text("defname") {
            "language" => language = value,
            _ => body = value,
        }
    }
    Detail::Do { language, body, understood: false }
}

/// Looks into a DO body and adds what it finds to the statement.
fn body_of(context: &Context<'_>, it: &mut Statement, language: &str, body: &str) {
    let found = if language == "plpgsql" { plpgsql::statements(context, body) } else { None };
    let Some(found) = found else {
        it.flags.dynamic_sql = true;
        return;
    };
    it.flags.dynamic_sql |= found.dynamic;
    for below in found.statements {
        it.class = it.class.max(below.class);
        it.class_without_calls = it.class_without_calls.max(below.class_without_calls);
        for table in &below.tables {
            match it.tables.iter_mut().find(|t| t.schema == table.schema && t.name == table.name) {
                Some(known) => known.access = known.access.max(table.access),
                None => it.tables.push(table.clone()),
            }
        }
        for function in &below.functions {
            if !it.functions.contains(function) {
                it.functions.push(function.clone());
            }
        }
        for call in &below.unlisted {
            if !it.unlisted.contains(call) {
                it.unlisted.push(call.clone());
            }
        }
        it.flags.unlisted_function |= below.flags.unlisted_function;
        it.flags.missing_where |= below.flags.missing_where;
        it.flags.dangerous_function |= below.flags.dangerous_function;
        it.flags.dynamic_sql |= below.flags.dynamic_sql;
        it.flags.server_file |= below.flags.server_file;
        reads::add_inside(&mut it.reads, &below.reads);
        it.inner.push(below);
    }
    if let Detail::Do { understood, .. } = &mut it.detail {
        *understood = !it.flags.dynamic_sql;
    }
}

fn set(node: &Node) -> Set {
    let is = |kind: VariableSetKind| node.int("kind") == i64::from(kind as i32);
    let name = if is(VariableSetKind::VarResetAll) { "all" } else { node.text("name") };
    let name = name.to_ascii_lowercase();
    if is(VariableSetKind::VarSetMulti) {
        return multi_set(node, name);
    }
    let mut value = is(VariableSetKind::VarSetValue).then(|| words(node.get("args")).join(", "));
    // SET ROLE NONE and SET … FROM CURRENT have no value of their own.
    if name == "role" && value.as_deref() == Some("none") {
        value = None;
    }
    Set { name, value, local: node.flag("is_local") }
}

/// SET TRANSACTION …, SET SESSION CHARACTERISTICS …, SET TRANSACTION SNAPSHOT.
fn multi_set(node: &Node, name: String) -> Set {
    let options: Vec<String> = node
        .list("args")
        .map(|option| match option.name {
            "DefElem" => {
                format!("{} {}", option.text("defname"), words(option.get("arg")).join(", "))
            }
            _ => String::new(),
        })
        .collect();
    Set { name, value: Some(options.join(", ")), local: node.flag("is_local") }
}

fn copy(context: &Context<'_>, node: &Node, range: &Range<usize>, found: &mut Found) -> Copy {
    let file = node.text("filename");
    let end = if node.flag("is_program") {
        CopyEnd::Program(file.to_owned())
    } else if file.is_empty() && node.get("filename").is_none() {
        CopyEnd::Client
    } else {
        CopyEnd::File(file.to_owned())
    };
    let end = if end == CopyEnd::Client && empty_file(context, range) {
        CopyEnd::File(String::new())
    } else {
        end
    };
    if end != CopyEnd::Client {
        found.flags.server_file = true;
        found.raise(Class::Admin);
    }
    let options: Vec<(String, String)> = node
        .list("options")
        .map(|option| {
            let value = words(option.get("arg")).join(",");
            (option.text("defname").to_ascii_lowercase(), value)
        })
        .collect();
    let format = options.iter().rev().find(|(name, _)| name == "format").map(|(_, value)| value);
    Copy {
        direction: if node.flag("is_from") { CopyDirection::From } else { CopyDirection::To },
        end,
        table: node.child("relation").map(|table| TableName {
            schema: table.some_text("schemaname"),
            name: table.text("relname").to_owned(),
        }),
        columns: node.names("attlist").into_iter().map(str::to_owned).collect(),
        format: match format.map(String::as_str) {
            None | Some("text") => CopyFormat::Text,
            Some("csv") => CopyFormat::Csv,
            Some("binary") => CopyFormat::Binary,
            Some(_) => CopyFormat::Other,
        },
        options,
        query: copy_query(context, node, range),
    }
}

/// The tree can't tell `TO ''` from `TO STDOUT`: both have no file name. The server refuses the
/// first, but it is no answer to the client either.
fn empty_file(context: &Context<'_>, range: &Range<usize>) -> bool {
    let text = context.text.get(range.clone()).unwrap_or_default();
    !(text.to_ascii_lowercase().contains("stdin") || text.to_ascii_lowercase().contains("stdout"))
}

/// The text between the parentheses of `COPY (query)`.
fn copy_query(context: &Context<'_>, node: &Node, range: &Range<usize>) -> Option<Range<usize>> {
    use pg_query::protobuf::Token;
    node.child("query")?;
    let text = context.text.get(range.clone())?;
    let (open, close) = (Token::Ascii40 as i32, Token::Ascii41 as i32);
    let (mut depth, mut start) = (0_usize, None);
    for token in crate::parse::scan(text)? {
        if token.token == open {
            depth += 1;
            if start.is_none() {
                start = usize::try_from(token.end).ok();
            }
        } else if token.token == close {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                let end = usize::try_from(token.start).ok()?;
                return Some(range.start + start?..range.start + end);
            }
        }
    }
    None
}
