//! Which columns a statement names, and whether their values can leave it by a way that no
//! RowDescription tells of.
//!
//! One walk over the tree. A place is *open* if it is in the output list of the outermost query
//! or RETURNING, where the server's RowDescription names the origin of a plain reference; every
//! other place is *inside*. When in doubt a place is inside.

use std::collections::HashSet;

use crate::functions;
use crate::tree::Node;
use crate::types::Reads;

/// The reads of a statement, its nested statements' included.
pub(crate) fn of(node: &Node) -> Reads {
    let mut walk = Walk::default();
    walk.top(node);
    walk.finish()
}

/// Adds what a statement read inside another one reads: nothing of it is open.
pub(crate) fn add_inside(reads: &mut Reads, below: &Reads) {
    let known: HashSet<String> = reads.columns.iter().cloned().collect();
    reads.columns.extend(below.columns.iter().filter(|it| !known.contains(*it)).cloned());
    let known: HashSet<String> = reads.expression_columns.iter().cloned().collect();
    reads
        .expression_columns
        .extend(below.columns.iter().filter(|it| !known.contains(*it)).cloned());
    reads.star |= below.star || below.output_star;
    reads.whole_row |= below.whole_row;
    reads.renames |= below.renames;
}

/// A set that remembers the order of first use.
#[derive(Default)]
struct Names<'a> {
    known: HashSet<&'a str>,
    list: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn add(&mut self, name: &'a str) {
        if self.known.insert(name) {
            self.list.push(name);
        }
    }

    fn owned(&self) -> Vec<String> {
        self.list.iter().map(|name| (*name).to_owned()).collect()
    }
}

#[derive(Default)]
struct Walk<'a> {
    columns: Names<'a>,
    inside: Names<'a>,
    /// References of one part: a column, or a FROM item's whole row.
    single: HashSet<&'a str>,
    /// Names that mean a whole row: of tables without alias, aliases, `old`, `new`, `excluded`.
    rows: HashSet<&'a str>,
    star: bool,
    output_star: bool,
    whole_row: bool,
    renames: bool,
}

impl<'a> Walk<'a> {
    fn finish(self) -> Reads {
        Reads {
            columns: self.columns.owned(),
            expression_columns: self.inside.owned(),
            star: self.star,
            output_star: self.output_star,
            whole_row: self.whole_row || !self.rows.is_disjoint(&self.single),
            renames: self.renames,
        }
    }

    /// The outermost statement: its output list is open, if it has one that the server describes.
    fn top(&mut self, node: &'a Node) {
        let (field, list) = match node.name {
            // The rows come later, from EXECUTE or FETCH, and their columns keep their origin.
            "PrepareStmt" | "DeclareCursorStmt" => {
                return node.children(&mut |field, child| match field {
                    "query" => self.top(child),
                    _ => self.node(child),
                });
            }
            // A set operation's columns have no origin; INTO makes a table of them.
            "SelectStmt" if node.child("larg").is_none() && node.child("into_clause").is_none() => {
                ("target_list", node.list("target_list"))
            }
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                match node.child("returning_clause") {
                    Some(clause) => ("returning_clause", clause.list("exprs")),
                    None => return self.node(node),
                }
            }
            _ => return self.node(node),
        };
        // The common column of a join is an expression if its sides differ, or the join is FULL.
        let merged =
            ["from_clause", "using_clause"].iter().any(|from| node.list(from).any(joins_naturally))
                || node.child("source_relation").is_some_and(joins_naturally);
        for target in list {
            match target.child("val") {
                Some(value) if value.is("ColumnRef") => self.reference(value, !merged),
                _ => self.node(target),
            }
        }
        node.children(&mut |name, child| {
            if name != field {
                self.node(child);
            } else if name == "returning_clause" {
                self.returning_rows(child);
            }
        });
    }

    fn node(&mut self, node: &'a Node) {
        match node.name {
            "ColumnRef" => return self.reference(node, false),
            "AIndirection" => self.indirection(node),
            "JoinExpr" => self.strings(node, "using_clause"),
            "CommonTableExpr" => self.renames |= node.get("aliascolnames").is_some(),
            "CteSearchClause" => self.strings(node, "search_col_list"),
            "CteCycleClause" => self.strings(node, "cycle_col_list"),
            "Alias" => self.alias(node),
            "RangeVar" if node.child("alias").is_none() => {
                self.rows.insert(node.text("relname"));
            }
            "RangeFunction" => return self.function(node),
            "RangeTableFunc" | "JsonTable" => self.renames = true,
            "ReturningClause" => self.returning_rows(node),
            "OnConflictClause" => {
                self.rows.insert("excluded");
            }
            // The arbiter picks an index: no value goes anywhere, but the column is named.
            "IndexElem" if node.get("name").is_some() => self.columns.add(node.text("name")),
            "RuleStmt" | "CreateTrigStmt" => self.rows.extend(["old", "new"]),
            "IntoClause" => self.renames |= node.get("col_names").is_some(),
            "ViewStmt" => self.renames |= node.get("aliases").is_some(),
            "CopyStmt" if !node.flag("is_from") => match node.get("attlist") {
                Some(_) => self.strings(node, "attlist"),
                None => self.star |= node.child("relation").is_some(),
            },
            _ => {}
        }
        node.children(&mut |_, child| self.node(child));
    }

    /// `a`, `t.a`, `s.t.a`, `*`, `t.*`; open if it is a plain output of the outermost query.
    fn reference(&mut self, node: &'a Node, open: bool) {
        let last = node.list("fields").last();
        if last.is_some_and(|last| last.is("AStar")) {
            if open {
                self.output_star = true;
            } else {
                self.star = true;
            }
            return;
        }
        let name = last.map(|last| last.text("sval")).unwrap_or_default();
        self.columns.add(name);
        if !open {
            self.inside.add(name);
        }
        if node.list("fields").count() == 1 {
            self.single.insert(name);
        } else if functions::is_row_function(name) {
            // `t.to_jsonb` is to_jsonb(t) if t has no such column.
            self.whole_row = true;
        }
    }

    /// `(x).a.b[1].*`: any of the names may be a column of the row x is.
    fn indirection(&mut self, node: &'a Node) {
        self.strings(node, "indirection");
        self.star |= node.list("indirection").any(|it| it.is("AStar"));
    }

    /// Columns named by a list of strings, inside.
    fn strings(&mut self, node: &'a Node, field: &str) {
        for name in node.names(field) {
            self.columns.add(name);
            self.inside.add(name);
        }
    }

    fn alias(&mut self, node: &'a Node) {
        self.rows.insert(node.text("aliasname"));
        self.renames |= node.get("colnames").is_some();
    }

    /// A function's row holds what its arguments and the function give: both are told of without
    /// it, and `generate_series(1, 9) g` with `SELECT g` is no row of a table.
    fn function(&mut self, node: &'a Node) {
        let alias = node.child("alias");
        self.renames |= alias.is_some_and(|alias| alias.get("colnames").is_some())
            || node.get("coldeflist").is_some();
        node.children(&mut |field, child| {
            if field != "alias" {
                self.node(child);
            }
        });
    }

    fn returning_rows(&mut self, clause: &'a Node) {
        self.rows.extend(["old", "new"]);
        self.rows.extend(clause.list("options").map(|option| option.text("value")));
    }
}

/// A FROM item with a NATURAL join: which columns it merges is not in the text. (Those of USING
/// are, and are inside.)
fn joins_naturally(item: &Node) -> bool {
    item.is("JoinExpr")
        && (item.flag("is_natural")
            || ["larg", "rarg"].iter().any(|side| item.child(side).is_some_and(joins_naturally)))
}
