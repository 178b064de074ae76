//! The structs of pg_query's headers as bindgen's layout tests saw them (64-bit, `long` or not:
//! none is used), and the two texts that assert them.

use std::fmt::Write as _;

/// A struct: its size and its fields' offsets, bytes.
pub(crate) struct Struct {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) fields: &'static [(&'static str, usize)],
}

/// Every struct with a body in the bindings.
pub(crate) const LAYOUT: &[Struct] = &[
    Struct {
        name: "PostgresDeparseComment",
        size: 24,
        fields: &[
            ("match_location", 0),
            ("newlines_before_comment", 4),
            ("newlines_after_comment", 8),
            ("str_", 16),
        ],
    },
    Struct {
        name: "PostgresDeparseOpts",
        size: 32,
        fields: &[
            ("comments", 0),
            ("comment_count", 8),
            ("pretty_print", 16),
            ("indent_size", 20),
            ("max_line_length", 24),
            ("trailing_newline", 28),
            ("commas_start_of_line", 29),
        ],
    },
    Struct {
        name: "PgQueryError",
        size: 40,
        fields: &[
            ("message", 0),
            ("funcname", 8),
            ("filename", 16),
            ("lineno", 24),
            ("cursorpos", 28),
            ("context", 32),
        ],
    },
    Struct {
        name: "PgQueryIsUtilityResult",
        size: 24,
        fields: &[("length", 0), ("items", 8), ("error", 16)],
    },
    Struct { name: "PgQueryProtobuf", size: 16, fields: &[("len", 0), ("data", 8)] },
    Struct {
        name: "PgQueryScanResult",
        size: 32,
        fields: &[("pbuf", 0), ("stderr_buffer", 16), ("error", 24)],
    },
    Struct {
        name: "PgQueryScanToken",
        size: 16,
        fields: &[("start", 0), ("end", 4), ("token", 8), ("keyword_kind", 12)],
    },
    Struct {
        name: "PgQueryScanTokensResult",
        size: 24,
        fields: &[("tokens", 0), ("n_tokens", 8), ("error", 16)],
    },
    Struct {
        name: "PgQueryParseResult",
        size: 24,
        fields: &[("parse_tree", 0), ("stderr_buffer", 8), ("error", 16)],
    },
    Struct {
        name: "PgQueryProtobufParseResult",
        size: 32,
        fields: &[("parse_tree", 0), ("stderr_buffer", 16), ("error", 24)],
    },
    Struct { name: "PgQuerySplitStmt", size: 8, fields: &[("stmt_location", 0), ("stmt_len", 4)] },
    Struct {
        name: "PgQuerySplitResult",
        size: 32,
        fields: &[("stmts", 0), ("n_stmts", 8), ("stderr_buffer", 16), ("error", 24)],
    },
    Struct { name: "PgQueryDeparseResult", size: 16, fields: &[("query", 0), ("error", 8)] },
    Struct {
        name: "PgQueryDeparseCommentsResult",
        size: 24,
        fields: &[("comments", 0), ("comment_count", 8), ("error", 16)],
    },
    Struct {
        name: "PgQueryPlpgsqlParseResult",
        size: 16,
        fields: &[("plpgsql_funcs", 0), ("error", 8)],
    },
    Struct {
        name: "PgQueryFingerprintResult",
        size: 32,
        fields: &[("fingerprint", 0), ("fingerprint_str", 8), ("stderr_buffer", 16), ("error", 24)],
    },
    Struct {
        name: "PgQueryNormalizeResult",
        size: 16,
        fields: &[("normalized_query", 0), ("error", 8)],
    },
    Struct {
        name: "PgQuerySummaryParseResult",
        size: 32,
        fields: &[("summary", 0), ("stderr_buffer", 16), ("error", 24)],
    },
];

/// A C file that compiles only if the C compiler lays the structs out like this.
pub(crate) fn c_assertions(header: &str) -> String {
    let mut text = format!("#include <stddef.h>\n#include \"{header}\"\n");
    for Struct { name, size, fields } in LAYOUT {
        let _ = writeln!(text, "_Static_assert(sizeof({name}) == {size}, \"{name}\");");
        for (field, offset) in *fields {
            // bindgen puts `_` after a name that is a Rust keyword or type.
            let field = field.trim_end_matches('_');
            let _ = writeln!(
                text,
                "_Static_assert(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");"
            );
        }
    }
    text
}

/// Rust constants that compile only if rustc lays the structs out like this.
pub(crate) fn rust_assertions() -> String {
    let mut text = String::from("\n/* Added by greffier's stand-in for bindgen. */\n");
    for Struct { name, size, fields } in LAYOUT {
        let _ = writeln!(text, "const _: () = assert!(::std::mem::size_of::<{name}>() == {size});");
        for (field, offset) in *fields {
            let _ = writeln!(
                text,
                "const _: () = assert!(::std::mem::offset_of!({name}, {field}) == {offset});"
            );
        }
    }
    text
}
