//! Looks into a DO body in PL/pgSQL: every SQL text in it, by PostgreSQL's own PL/pgSQL parser.

use pg_query::ParserOptions;
use serde_json::Value;

use crate::classify::Context;
use crate::parse;
use crate::types::Statement;

/// Deepest JSON nesting that is followed; the parser's own limit for JSON text is 128.
const MAX_JSON_DEPTH: usize = 128;

/// What was found in a body.
pub(crate) struct Body {
    pub(crate) statements: Vec<Statement>,
    /// It runs text made at run time.
    pub(crate) dynamic: bool,
}

/// The statements and expressions of a body; none if it can't be understood in full.
pub(crate) fn statements(context: &Context<'_>, body: &str) -> Option<Body> {
    let mut tag = "$greffier$".to_owned();
    while body.contains(tag.trim_end_matches('$')) {
        tag.insert(tag.len() - 1, 'x');
        if tag.len() > 64 {
            return None;
        }
    }
    let parsed = pg_query::parse_plpgsql(&format!("DO {tag}{body}{tag}")).ok()?;
    let mut found = Body { statements: Vec::new(), dynamic: false };
    walk(context, &parsed, &mut found, MAX_JSON_DEPTH)?;
    Some(found)
}

fn walk(context: &Context<'_>, value: &Value, found: &mut Body, left: usize) -> Option<()> {
    let left = left.checked_sub(1)?;
    match value {
        Value::Array(items) => items.iter().try_for_each(|it| walk(context, it, found, left)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            match name.as_str() {
                "PLpgSQL_expr" => return expression(context, value, found),
                // The text is known only when it runs.
                "PLpgSQL_stmt_dynexecute" | "PLpgSQL_stmt_dynfors" => found.dynamic = true,
                "dynquery" => found.dynamic = true,
                _ => {}
            }
            walk(context, value, found, left)
        }),
        _ => Some(()),
    }
}

/// One SQL text in the body, in the mode that PL/pgSQL would parse it in.
fn expression(context: &Context<'_>, value: &Value, found: &mut Body) -> Option<()> {
    let query = value.get("query")?.as_str()?;
    let mode = match value.get("parseMode").and_then(Value::as_i64).unwrap_or(0) {
        0 => ParserOptions::DEFAULT,
        1 => return Some(()),
        2 => ParserOptions::PLPGSQL_EXPR,
        3 => ParserOptions::PLPGSQL_ASSIGN1,
        4 => ParserOptions::PLPGSQL_ASSIGN2,
        5 => ParserOptions::PLPGSQL_ASSIGN3,
        _ => return None,
    };
    let inner = Context {
        text: query,
        conforming: context.conforming,
        max_depth: context.max_depth,
        in_body: true,
    };
    let options = mode | parse::options(context.conforming);
    let mut statements = parse::statements(&inner, query, options, None).ok()?;
    // Ranges in the body's own text would mean nothing to the reader of the outer one.
    statements.iter_mut().for_each(|statement| statement.range = 0..0);
    found.statements.append(&mut statements);
    Some(())
}
