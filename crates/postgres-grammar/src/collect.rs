//! One walk over a statement's tree that gathers what lies anywhere in it.

use std::collections::{HashMap, HashSet};

use crate::functions::harmless::is_system_operator;
use crate::functions::{self, Effect};
use crate::tree::{Node, Tree};
use crate::types::{Access, Class, Flags, TableName, TableUse};

/// What the walk has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) tables: Vec<TableUse>,
    pub(crate) functions: Vec<String>,
    pub(crate) unlisted: Vec<String>,
    pub(crate) parameters: Vec<u16>,
    pub(crate) flags: Flags,
    /// The least class that what was found allows, but for what is in `unlisted`.
    pub(crate) class: Option<Class>,
    /// CTE names in sight, and how often each: a text may have thousands, and ask for each.
    ctes: Vec<String>,
    in_sight: HashMap<String, usize>,
    /// Where each table is in `tables`, and which functions are known: texts may name thousands.
    known: HashMap<(Option<String>, String), usize>,
    called: HashSet<String>,
    /// Nesting of statements: 0 at the outermost.
    depth: usize,
}

impl Found {
    pub(crate) fn raise(&mut self, class: Class) {
        self.class = self.class.max(Some(class));
    }

    pub(crate) fn table(&mut self, schema: Option<String>, name: String, access: Access) {
        let system = schema.as_deref() == Some("pg_catalog")
            || (schema.is_none() && name.starts_with("pg_"));
        if system
            && (access == Access::Write
                || functions::SECRET_TABLES.binary_search(&name.as_str()).is_ok())
        {
            self.raise(Class::Admin);
        }
        let key = (schema, name);
        if let Some(known) = self.known.get(&key).and_then(|at| self.tables.get_mut(*at)) {
            known.access = known.access.max(access);
            return;
        }
        self.known.insert(key.clone(), self.tables.len());
        let (schema, name) = key;
        self.tables.push(TableUse { schema, name, access });
    }

    /// Walks a whole statement; `access` is what a table name outside a query means.
    pub(crate) fn statement(&mut self, node: &Node, access: Access) {
        self.node(node, access);
        self.parameters.sort_unstable();
        self.parameters.dedup();
    }

    fn node(&mut self, node: &Node, access: Access) {
        match node.name {
            "RangeVar" => self.range_var(node, access),
            "FuncCall" => self.function(node),
            "AExpr" => self.operator(&node.names("name")),
            "SubLink" => self.operator(&node.names("oper_name")),
            "SortBy" => self.operator(&node.names("use_op")),
            "ParamRef" => {
                self.parameters.push(u16::try_from(node.int("number")).unwrap_or(u16::MAX))
            }
            "LockingClause" => self.flags.locking = true,
            "IntoClause" => {
                self.flags.select_into = true;
                self.raise(Class::Ddl);
                return self.below(node, Access::Write);
            }
            "SelectStmt" => return self.query(node, &[]),
            "InsertStmt" => return self.change(node, &["relation"]),
            "UpdateStmt" | "DeleteStmt" => {
                if misses_where(node) {
                    self.flags.missing_where = true;
                }
                return self.change(node, &["relation"]);
            }
            "MergeStmt" => return self.change(node, &["relation"]),
            "TableLikeClause" | "LockStmt" => return self.below(node, Access::Read),
            "Constraint" => return self.below(node, Access::Read),
            "CreateStmt" => return self.create_table(node, access),
            _ => {}
        }
        self.below(node, access);
    }

    fn below(&mut self, node: &Node, access: Access) {
        node.children(&mut |_, child| self.node(child, access));
    }

    fn create_table(&mut self, node: &Node, access: Access) {
        node.children(&mut |field, child| {
            let access = if field == "inh_relations" { Access::Read } else { access };
            self.node(child, access);
        });
    }

    fn change(&mut self, node: &Node, targets: &[&str]) {
        self.raise(Class::Write);
        if self.depth > 0 {
            self.flags.cte_dml = true;
        }
        self.query(node, targets);
    }

    /// A node that may carry WITH: its CTEs first, then the rest with their names in sight.
    fn query(&mut self, node: &Node, targets: &[&str]) {
        let known = self.ctes.len();
        self.depth += 1;
        if let Some(with) = node.child("with_clause") {
            let recursive = with.flag("recursive");
            if recursive {
                with.list("ctes").for_each(|cte| self.see(cte));
            }
            for cte in with.list("ctes") {
                self.below(cte, Access::Read);
                if !recursive {
                    self.see(cte);
                }
            }
        }
        node.children(&mut |field, child| {
            if field == "with_clause" {
                return;
            }
            if targets.contains(&field) && child.is("RangeVar") {
                // The target of a change is a table even if a CTE has its name.
                let (schema, name) = (child.some_text("schemaname"), child.text("relname"));
                self.table(schema, name.to_owned(), Access::Write);
                return;
            }
            self.node(child, Access::Read);
        });
        self.depth -= 1;
        for name in self.ctes.drain(known..) {
            if let Some(count) = self.in_sight.get_mut(&name) {
                *count = count.saturating_sub(1);
            }
        }
    }

    fn see(&mut self, cte: &Node) {
        let name = cte.text("ctename").to_owned();
        *self.in_sight.entry(name.clone()).or_default() += 1;
        self.ctes.push(name);
    }

    fn range_var(&mut self, node: &Node, access: Access) {
        let (schema, name) = (node.some_text("schemaname"), node.text("relname"));
        let cte = access == Access::Read
            && schema.is_none()
            && self.in_sight.get(name).is_some_and(|count| *count > 0);
        if !cte {
            self.table(schema, name.to_owned(), access);
        }
    }

    fn function(&mut self, node: &Node) {
        let parts = node.names("funcname");
        let own = parts.last().copied().unwrap_or_default();
        let mut effect = functions::effect(&parts);
        if functions::DYNAMIC.binary_search(&own).is_ok() {
            self.flags.dynamic_sql = true;
        }
        if own == "set_config" {
            if sets_guarded(node) {
                effect = Effect::Dangerous;
            } else if matches!(*parts, [_] | ["pg_catalog", _]) {
                // No more than SET, which is a session's own affair.
                effect = Effect::Harmless;
            }
        }
        if effect == Effect::Dangerous {
            self.flags.dangerous_function = true;
            self.raise(Class::Admin);
        }
        let name = joined(&parts);
        if self.called.insert(name.clone()) {
            if effect == Effect::Unlisted {
                self.unlisted(name.clone());
            }
            self.functions.push(name);
        }
    }

    fn operator(&mut self, parts: &[&str]) {
        if parts.is_empty() || is_system_operator(parts) {
            return;
        }
        let name = joined(parts);
        // No function has such a name, so both can be told apart by it.
        if self.called.insert(name.clone()) {
            self.unlisted(name);
        }
    }

    fn unlisted(&mut self, name: String) {
        self.flags.unlisted_function = true;
        self.unlisted.push(name);
    }
}

/// `schema.name`. What has a dot or a quote inside is quoted: `"a.b"` is no function of a schema.
fn joined(parts: &[&str]) -> String {
    let quoted = |part: &&str| -> String {
        if part.contains(['.', '"']) {
            format!("\"{}\"", part.replace('"', "\"\""))
        } else {
            (*part).to_owned()
        }
    };
    parts.iter().map(quoted).collect::<Vec<_>>().join(".")
}

/// `set_config` of a guarded setting, or of one that can't be told.
fn sets_guarded(call: &Node) -> bool {
    let mut args = call.list("args").map(constant_text);
    let (name, value) = (args.next().flatten(), args.next().flatten());
    match (name, value) {
        (Some(name), Some(value)) => {
            functions::is_guarded_setting(&name.to_ascii_lowercase(), Some(value))
        }
        (Some(name), None) => {
            // The value isn't known: as bad as it can be.
            let name = name.to_ascii_lowercase();
            functions::is_guarded_setting(&name, Some(functions::UNKNOWN_VALUE))
        }
        _ => true,
    }
}

/// A string constant's text, through casts.
pub(crate) fn constant_text(node: &Node) -> Option<&str> {
    match node.name {
        "TypeCast" => constant_text(node.child("arg")?),
        "AConst" => {
            let value = node.child("val")?;
            value.is("String").then(|| value.text("sval"))
        }
        _ => None,
    }
}

/// UPDATE or DELETE whose WHERE is missing or settles nothing by a column.
fn misses_where(node: &Node) -> bool {
    node.child("where_clause").is_none_or(hits_all)
}

/// A condition that is the same for every row, as far as the text says.
fn hits_all(node: &Node) -> bool {
    if node.is("BoolExpr") {
        let and = node.int("boolop") == i64::from(pg_query::protobuf::BoolExprType::AndExpr as i32);
        let mut args = node.list("args");
        return if and { args.all(hits_all) } else { args.any(hits_all) };
    }
    if node.is("AExpr") {
        let (left, right) = (node.child("lexpr"), node.child("rexpr"));
        if let (Some(left), Some(right)) = (left, right)
            && left.is("ColumnRef")
            && right.is("ColumnRef")
            && left.get("fields") == right.get("fields")
        {
            return true;
        }
    }
    !names_column(node)
}

fn names_column(node: &Node) -> bool {
    if matches!(node.name, "ColumnRef" | "CurrentOfExpr") {
        return true;
    }
    let mut found = false;
    node.children(&mut |_, child| found = found || names_column(child));
    found
}

/// The table names of an object list (`DROP TABLE a, b.c`): each a list of strings.
pub(crate) fn object_names(node: &Node, field: &str) -> Vec<TableName> {
    node.list(field)
        .filter(|object| object.is("List"))
        .filter_map(|object| dotted(&object.names("items")))
        .collect()
}

/// `[db.]schema.name` or `name`.
pub(crate) fn dotted(parts: &[&str]) -> Option<TableName> {
    let (name, rest) = parts.split_last()?;
    Some(TableName { schema: rest.last().map(|s| (*s).to_owned()), name: (*name).to_owned() })
}

/// Every string constant or word of a list of nodes, for SET and option values.
pub(crate) fn words(tree: Option<&Tree>) -> Vec<String> {
    fn word(node: &Node) -> Option<String> {
        match node.name {
            "AConst" => word(node.child("val")?),
            "TypeCast" => word(node.child("arg")?),
            "String" => Some(node.text("sval").to_owned()),
            "Integer" => Some(node.int("ival").to_string()),
            "Float" => Some(node.text("fval").to_owned()),
            "Boolean" => Some(node.flag("boolval").to_string()),
            "AStar" => Some("*".to_owned()),
            "TypeName" => node.names("names").last().map(|name| (*name).to_owned()),
            "List" => Some(words(node.get("items")).join(",")),
            _ => None,
        }
    }
    match tree {
        Some(Tree::List(items)) => items.iter().filter_map(Tree::node).filter_map(word).collect(),
        Some(Tree::Node(node)) => word(node).into_iter().collect(),
        _ => Vec::new(),
    }
}
