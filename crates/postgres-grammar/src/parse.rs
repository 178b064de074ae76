//! One run of PostgreSQL's parser and scanner over a text.

use std::ops::Range;

use pg_query::ParserOptions;
use pg_query::protobuf::{ScanToken, Token};

use crate::classify::{self, Context};
use crate::tree::{self, Node, TreeError};
use crate::types::{Analysis, Class, Literal, LiteralKind, ParseError, Statement};

/// Longest parser message that is kept, bytes: it quotes the text.
const MAX_MESSAGE_BYTES: usize = 300;

/// Nodes that one level of nesting may take in the tree: a subquery in FROM takes four.
const NODES_PER_LEVEL: usize = 5;

/// Every fact about a text, given its tokens if the scanner read it. Runs on the caller's stack.
pub(crate) fn analyze(
    text: &str,
    conforming: bool,
    max_depth: usize,
    tokens: Option<Vec<ScanToken>>,
) -> Result<Analysis, ParseError> {
    let context = Context { text, conforming, max_depth, in_body: false };
    let mut statements = statements(&context, text, options(conforming), tokens.as_deref())?;
    if statements.len() > 1 {
        statements.iter_mut().for_each(|statement| statement.flags.multi = true);
    }
    let class = statements.iter().map(|it| it.class).max().unwrap_or(Class::Session);
    let literals = tokens.map(|tokens| tokens.iter().filter_map(literal).collect());
    Ok(Analysis { statements, parse_error: None, class, literals })
}

/// The text's tokens, comments among them; none if the scanner refuses it. Only for
/// `standard_conforming_strings = on`: the scanner has no switch.
pub(crate) fn scan(text: &str) -> Option<Vec<ScanToken>> {
    // pg_query 18.1's scan_tokens makes a slice from a null pointer when there is no token at all,
    // which ends a debug build at once. White space is what makes no token (scan.l, `space`).
    if text.bytes().all(|byte| matches!(byte, b' ' | b'\t'..=b'\r')) {
        return Some(Vec::new());
    }
    pg_query::scan_tokens(text).ok()
}

/// The options for a lexer mode.
pub(crate) fn options(conforming: bool) -> ParserOptions {
    let quiet = ParserOptions::DISABLE_ESCAPE_STRING_WARNING;
    if conforming { quiet } else { quiet | ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS }
}

/// Parses `text` and classifies each statement in it.
pub(crate) fn statements(
    context: &Context<'_>,
    text: &str,
    options: ParserOptions,
    tokens: Option<&[ScanToken]>,
) -> Result<Vec<Statement>, ParseError> {
    let too_deep = ParseError::TooDeep { max: context.max_depth };
    let parsed = pg_query::parse(text, options).map_err(|error| match error {
        pg_query::Error::Parse(message)
            if message.contains("stack depth") || message.contains("memory exhausted") =>
        {
            too_deep.clone()
        }
        // The tree could not be carried over: it is nested deeper than the carrier allows.
        pg_query::Error::Decode(_) => too_deep.clone(),
        pg_query::Error::Parse(message) => ParseError::Syntax(shorten(message)),
        pg_query::Error::Conversion(_) => ParseError::Nul,
        other => ParseError::Syntax(shorten(other.to_string())),
    })?;
    let mut out = Vec::with_capacity(parsed.protobuf.stmts.len());
    for raw in &parsed.protobuf.stmts {
        let tree = tree::build(raw, context.max_depth.saturating_mul(NODES_PER_LEVEL)).map_err(
            |error| match error {
                TreeError::TooDeep => too_deep.clone(),
                TreeError::Unexpected => ParseError::Syntax(error.to_string()),
            },
        )?;
        let Some(node) = tree.node() else { continue };
        let Some(statement) = node.child("stmt") else { continue };
        let range = place(node, text, tokens);
        out.push(classify::statement(context, statement, range));
    }
    Ok(out)
}

fn shorten(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
        message.truncate(end);
        message.push('…');
    }
    message
}

/// A raw statement's bytes: from its first token to its last.
fn place(raw: &Node, text: &str, tokens: Option<&[ScanToken]>) -> Range<usize> {
    let start = usize::try_from(raw.int("stmt_location")).unwrap_or(0);
    let len = usize::try_from(raw.int("stmt_len")).unwrap_or(0);
    let end = if len == 0 { text.len() } else { start.saturating_add(len).min(text.len()) };
    let inside = |token: &&ScanToken| {
        let comment =
            token.token == Token::CComment as i32 || token.token == Token::SqlComment as i32;
        let semicolon = token.token == Token::Ascii59 as i32;
        let at = usize::try_from(token.start).unwrap_or(usize::MAX);
        !comment && !semicolon && at >= start && at < end
    };
    if let Some(tokens) = tokens {
        let from = tokens.partition_point(|it| usize::try_from(it.start).unwrap_or(0) < start);
        let to = tokens.partition_point(|it| usize::try_from(it.start).unwrap_or(0) < end);
        let tokens = tokens.get(from..to).unwrap_or_default();
        let first = tokens.iter().find(inside).and_then(|it| usize::try_from(it.start).ok());
        let last = tokens.iter().rfind(inside).and_then(|it| usize::try_from(it.end).ok());
        // A BEGIN ATOMIC body has its own semicolons: only those at the ends are left out.
        if let (Some(first), Some(last)) = (first, last) {
            return first..last;
        }
    }
    let whole = text.get(start..end).unwrap_or_default();
    let lead = whole.len() - whole.trim_start().len();
    start + lead..start + whole.trim_end().len().max(lead)
}

fn literal(token: &ScanToken) -> Option<Literal> {
    let kind = match Token::try_from(token.token).ok()? {
        Token::Sconst | Token::Usconst => LiteralKind::String,
        Token::Bconst | Token::Xconst => LiteralKind::Bits,
        Token::Iconst | Token::Fconst => LiteralKind::Number,
        _ => return None,
    };
    let (start, end) = (usize::try_from(token.start).ok()?, usize::try_from(token.end).ok()?);
    Some(Literal { range: start..end, kind })
}
