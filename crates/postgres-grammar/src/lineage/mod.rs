//! Which column an output column comes from, as far as the text alone says.
//!
//! The rule throughout: when in doubt, say more. A name that could be of two tables has no table;
//! a table with renamed columns counts as its whole row.

mod rel;

use crate::tree::Node;
use crate::types::{ColumnName, OutputColumn, Source, TableName};
use rel::{Entry, Rel, Touched, merge, of_rel, rename, spread, star_of};

/// Most columns an output list may have, and most a star may stand for here.
const MAX_OUTPUTS: usize = 4096;
/// Most steps (names looked up, items looked through) spent on one statement; a text made to cost
/// more has no outputs that could be told.
const MAX_STEPS: usize = 200_000;

#[derive(Default)]
struct Walk {
    /// CTEs in sight, innermost last.
    ctes: Vec<(String, Rel)>,
    /// FROM lists in sight, innermost last, and whether a USING or NATURAL join merges columns.
    scopes: Vec<Vec<Entry>>,
    /// Steps taken.
    steps: usize,
}

/// The output columns of a query or of a change with RETURNING; none when their number or order
/// can't be told, and for a change without RETURNING.
pub(crate) fn outputs(node: &Node) -> Option<Vec<OutputColumn>> {
    let mut walk = Walk::default();
    if !node.is("SelectStmt") {
        node.child("returning_clause")?;
    }
    let outputs = walk.query(node);
    outputs.filter(|_| walk.steps <= MAX_STEPS)
}

impl Walk {
    /// Takes steps; false when too many were taken, and nothing found counts any more.
    fn spend(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_add(steps);
        self.steps <= MAX_STEPS
    }

    /// Any statement that can stand in WITH: its outputs with its own CTEs in sight.
    fn query(&mut self, node: &Node) -> Option<Vec<OutputColumn>> {
        if !self.spend(self.ctes.len() + 1) {
            return None;
        }
        let known = self.ctes.len();
        if let Some(with) = node.child("with_clause") {
            for cte in with.list("ctes") {
                self.cte(cte, with.flag("recursive"));
            }
        }
        let outputs = match node.name {
            "SelectStmt" => self.select(node),
            _ => self.returning(node),
        };
        self.ctes.truncate(known);
        outputs.filter(|outputs| outputs.len() <= MAX_OUTPUTS)
    }

    fn cte(&mut self, cte: &Node, recursive: bool) {
        let name = cte.text("ctename").to_owned();
        let Some(query) = cte.child("ctequery") else { return };
        let renamed = cte.names("aliascolnames");
        let looped = recursive && self.mentions(query, &name);
        let rel = if looped { None } else { self.query(query) };
        // A loop may carry any of its columns into any other.
        let rel = match rel {
            Some(outputs) => rename(Rel::Derived(outputs), &renamed, || self.everything(query)),
            None => Rel::Opaque(self.everything(query)),
        };
        self.ctes.push((name, rel));
    }

    fn select(&mut self, node: &Node) -> Option<Vec<OutputColumn>> {
        if let (Some(left), Some(right)) = (node.child("larg"), node.child("rarg")) {
            let (left, right) = (self.query(left)?, self.query(right)?);
            return merge(left, &right);
        }
        let entries = self.from(node, "from_clause");
        self.scopes.push(entries);
        let outputs = match node.get("values_lists") {
            Some(_) => self.values(node),
            None => self.targets(node, "target_list"),
        };
        self.scopes.pop();
        outputs
    }

    fn values(&mut self, node: &Node) -> Option<Vec<OutputColumn>> {
        let mut columns: Vec<Touched> = Vec::new();
        for row in node.list("values_lists") {
            for (at, value) in row.list("items").enumerate() {
                if at == columns.len() {
                    columns.push(Touched::default());
                }
                self.touch(value, columns.get_mut(at)?);
            }
        }
        let label = |at: usize| Some(format!("column{}", at + 1));
        let columns = columns.into_iter().enumerate();
        Some(
            columns
                .map(|(at, it)| OutputColumn { label: label(at), source: it.into_source() })
                .collect(),
        )
    }

    fn returning(&mut self, node: &Node) -> Option<Vec<OutputColumn>> {
        let Some(clause) = node.child("returning_clause") else { return Some(Vec::new()) };
        let mut entries = Vec::new();
        if let Some(target) = node.child("relation") {
            let table = table_of(target);
            for alias in [alias_of(target), "old".to_owned(), "new".to_owned()] {
                entries.push(Entry { alias, rel: Rel::Table(table.clone()) });
            }
            for option in clause.list("options") {
                let alias = option.text("value").to_owned();
                entries.push(Entry { alias, rel: Rel::Table(table.clone()) });
            }
        }
        for field in ["from_clause", "using_clause", "source_relation"] {
            entries.append(&mut self.from(node, field));
        }
        self.scopes.push(entries);
        let outputs = self.targets(clause, "exprs");
        self.scopes.pop();
        outputs
    }

    fn from(&mut self, node: &Node, field: &str) -> Vec<Entry> {
        let mut entries = Vec::new();
        let items: Vec<&Node> = match node.get(field) {
            Some(crate::tree::Tree::Node(item)) => vec![item],
            _ => node.list(field).collect(),
        };
        for item in items {
            self.relation_item(item, &mut entries);
        }
        entries
    }

    fn relation_item(&mut self, item: &Node, entries: &mut Vec<Entry>) {
        let width: usize = entries.iter().map(Entry::width).sum();
        if !self.spend(width + self.ctes.len() + 1) {
            return;
        }
        match item.name {
            "RangeVar" => {
                let table = table_of(item);
                let rel = self.cte_named(&table).cloned().unwrap_or(Rel::Table(table));
                let renamed = item.child("alias").map(|it| it.names("colnames"));
                let rel = rename(rel, &renamed.unwrap_or_default(), || self.everything(item));
                entries.push(Entry { alias: alias_of(item), rel });
            }
            "RangeSubselect" => {
                let Some(query) = item.child("subquery") else { return };
                // LATERAL sees the items before it; others don't, but to say more is harmless.
                self.scopes.push(entries.clone());
                let outputs = self.query(query);
                let rel = match outputs {
                    Some(outputs) => Rel::Derived(outputs),
                    None => Rel::Opaque(self.everything(query)),
                };
                self.scopes.pop();
                let renamed = item.child("alias").map(|it| it.names("colnames"));
                let rel = rename(rel, &renamed.unwrap_or_default(), || self.everything(query));
                entries.push(Entry { alias: alias_of(item), rel });
            }
            "JoinExpr" => self.join(item, entries),
            "RangeTableSample" => {
                if let Some(below) = item.child("relation") {
                    self.relation_item(below, entries);
                }
            }
            // Functions in FROM, XMLTABLE, JSON_TABLE: whatever their arguments touch.
            _ => {
                self.scopes.push(entries.clone());
                let mut touched = Touched::default();
                self.touch(item, &mut touched);
                self.scopes.pop();
                entries.push(Entry { alias: alias_of(item), rel: Rel::Opaque(touched) });
            }
        }
    }

    fn join(&mut self, item: &Node, entries: &mut Vec<Entry>) {
        let first = entries.len();
        for side in ["larg", "rarg"] {
            if let Some(below) = item.child(side) {
                self.relation_item(below, entries);
            }
        }
        let merged = item.flag("is_natural") || item.get("using_clause").is_some();
        let alias = item.child("alias");
        let using = item.child("join_using_alias");
        if alias.is_none() && using.is_none() && !merged {
            return;
        }
        let mut touched = Touched::default();
        entries.iter().skip(first).for_each(|entry| touched.rel(&entry.rel));
        if alias.is_some() {
            entries.truncate(first);
        }
        // A nameless opaque entry makes an unqualified name, and `*`, mean any of the tables.
        let name = alias.or(using).map(|alias| alias.text("aliasname").to_owned());
        entries.push(Entry { alias: name.unwrap_or_default(), rel: Rel::Opaque(touched) });
    }

    fn targets(&mut self, node: &Node, field: &str) -> Option<Vec<OutputColumn>> {
        let mut outputs = Vec::new();
        for target in node.list(field) {
            let Some(value) = target.child("val") else { continue };
            let written = target.some_text("name");
            if value.is("ColumnRef") {
                let seen: usize = self.scopes.iter().flatten().map(Entry::width).sum();
                if !self.spend(seen + 1) {
                    return None;
                }
                self.reference(value, written, &mut outputs)?;
                continue;
            }
            let mut touched = Touched::default();
            self.touch(value, &mut touched);
            let star = value.is("AIndirection")
                && value.list("indirection").last().is_some_and(|last| last.is("AStar"));
            if star {
                // `(u).*`: as many columns as the row has.
                if !touched.columns.iter().all(|it| is_alias(&self.scopes, &it.column)) {
                    return None;
                }
                outputs.push(OutputColumn {
                    label: None,
                    source: Source::Star { tables: touched.rows.into_list() },
                });
                continue;
            }
            let label = written.or_else(|| implied_label(value));
            outputs.push(OutputColumn { label, source: touched.into_source() });
        }
        Some(outputs)
    }

    /// A target that is a plain reference, or a star.
    fn reference(
        &mut self,
        value: &Node,
        written: Option<String>,
        outputs: &mut Vec<OutputColumn>,
    ) -> Option<()> {
        let names = value.names("fields");
        let star = value.list("fields").last().is_some_and(|last| last.is("AStar"));
        if !star {
            let label = written.or_else(|| names.last().map(|name| (*name).to_owned()));
            outputs.push(OutputColumn { label, source: self.resolve(&names) });
            return Some(());
        }
        let scope = self.scopes.last()?;
        if names.is_empty() {
            let merged = scope.iter().any(|entry| entry.alias.is_empty());
            let mut touched = Touched::default();
            if merged {
                scope.iter().for_each(|entry| touched.rel(&entry.rel));
                return star_of(touched, outputs);
            }
            // `old` and `new` in RETURNING are no tables of their own.
            let mut seen: Vec<&str> = Vec::new();
            for entry in scope {
                if matches!(entry.alias.as_str(), "old" | "new") && !seen.is_empty() {
                    continue;
                }
                seen.push(&entry.alias);
                spread(&entry.rel, outputs)?;
            }
            return Some(());
        }
        match self.entry(&names) {
            Some(rel) => spread(&rel.clone(), outputs),
            None => {
                outputs.push(OutputColumn {
                    label: None,
                    source: Source::Star { tables: dotted_table(&names).into_iter().collect() },
                });
                Some(())
            }
        }
    }

    /// The FROM item that `alias` or `schema.table` names, innermost first.
    fn entry(&self, names: &[&str]) -> Option<&Rel> {
        let (name, schema) =
            (names.last()?, names.len().checked_sub(2).and_then(|at| names.get(at)));
        self.scopes.iter().rev().flatten().find_map(|entry| {
            let fits = match schema {
                None => entry.alias == **name,
                Some(schema) => match &entry.rel {
                    Rel::Table(table) => {
                        table.name == **name && table.schema.as_deref() == Some(*schema)
                    }
                    _ => false,
                },
            };
            fits.then_some(&entry.rel)
        })
    }

    /// Where a column reference leads.
    fn resolve(&self, names: &[&str]) -> Source {
        let Some((column, qualifier)) = names.split_last() else {
            return Touched::default().into_source();
        };
        if !qualifier.is_empty() {
            return match self.entry(qualifier) {
                Some(rel) => of_rel(rel, column).unwrap_or_else(|| {
                    // Not a column that the subquery is seen to have: anything in it.
                    let mut touched = Touched::default();
                    touched.rel(rel);
                    touched.into_source()
                }),
                // `a.b` may also be field b of a composite column a.
                None => {
                    let mut touched = Touched::default();
                    touched.column(ColumnName {
                        table: dotted_table(qualifier),
                        column: (*column).to_owned(),
                    });
                    if let Some(first) = qualifier.first() {
                        touched.source(&self.resolve(&[first]));
                    }
                    touched.into_source()
                }
            };
        }
        let mut row = Touched::default();
        // What the name may mean: the first meaning, whether there are others, and all together.
        let (mut first, mut several, mut all) = (None, false, Touched::default());
        let mut all_plain = true;
        for entry in self.scopes.iter().rev().flatten() {
            if entry.alias == *column {
                row.rel(&entry.rel);
            }
            let Some(source) = of_rel(&entry.rel, column) else { continue };
            all_plain &= matches!(&source, Source::Column(it) if it.column == *column);
            all.source(&source);
            match &first {
                None => first = Some(source),
                Some(known) => several |= *known != source,
            }
        }
        let unsettled = || Source::Column(ColumnName { table: None, column: (*column).to_owned() });
        if !row.is_empty() {
            row.all(&all);
            return row.into_source();
        }
        match first {
            None => unsettled(),
            Some(only) if !several => only,
            Some(_) if all_plain => unsettled(),
            Some(_) => all.into_source(),
        }
    }

    /// Everything an expression touches.
    fn touch(&mut self, node: &Node, touched: &mut Touched) {
        let width = if node.is("ColumnRef") {
            let seen: usize = self.scopes.iter().flatten().map(Entry::width).sum();
            seen + touched.columns.len() + touched.rows.len()
        } else {
            0
        };
        if !self.spend(width + 1) {
            return;
        }
        match node.name {
            "ColumnRef" => {
                let names = node.names("fields");
                let star = node.list("fields").last().is_some_and(|last| last.is("AStar"));
                if star {
                    match self.entry(&names) {
                        Some(rel) => touched.rel(&rel.clone()),
                        None => {
                            let scope = self.scopes.last().cloned().unwrap_or_default();
                            scope.iter().for_each(|entry| touched.rel(&entry.rel));
                        }
                    }
                } else {
                    touched.source(&self.resolve(&names));
                }
            }
            "SelectStmt" => self.touch_query(node, touched),
            _ => node.children(&mut |_, child| self.touch(child, touched)),
        }
    }

    /// A subquery in an expression: its outputs, and the conditions that pick them.
    fn touch_query(&mut self, node: &Node, touched: &mut Touched) {
        match self.query(node) {
            Some(outputs) => outputs.iter().for_each(|output| touched.source(&output.source)),
            None => touched.all(&self.everything(node)),
        }
        let entries = self.from(node, "from_clause");
        self.scopes.push(entries);
        for field in ["where_clause", "having_clause"] {
            if let Some(condition) = node.child(field) {
                self.touch(condition, touched);
            }
        }
        self.scopes.pop();
    }

    /// Every table below a node, as whole rows: for what can't be told apart. A CTE counts as what
    /// it touches.
    fn everything(&mut self, node: &Node) -> Touched {
        let mut touched = Touched::default();
        self.gather(node, &mut touched);
        touched
    }

    fn gather(&mut self, node: &Node, touched: &mut Touched) {
        if !self.spend(1) {
            return;
        }
        if node.is("RangeVar") {
            let table = table_of(node);
            match self.cte_named(&table).cloned() {
                Some(rel) => {
                    if self.spend(rel.width()) {
                        touched.rel(&rel);
                    }
                }
                None => touched.row(&table),
            }
        }
        node.children(&mut |_, child| self.gather(child, touched));
    }

    fn cte_named(&self, table: &TableName) -> Option<&Rel> {
        let named = |(name, _): &&(String, Rel)| table.schema.is_none() && *name == table.name;
        self.ctes.iter().rev().find(named).map(|(_, rel)| rel)
    }

    /// Whether a query has a table of this name anywhere.
    fn mentions(&mut self, node: &Node, name: &str) -> bool {
        if !self.spend(1) || (node.is("RangeVar") && node.text("relname") == name) {
            return true;
        }
        let mut found = false;
        node.children(&mut |_, child| found = found || self.mentions(child, name));
        found
    }
}

fn table_of(range_var: &Node) -> TableName {
    TableName {
        schema: range_var.some_text("schemaname"),
        name: range_var.text("relname").to_owned(),
    }
}

fn dotted_table(names: &[&str]) -> Option<TableName> {
    crate::collect::dotted(names)
}

fn alias_of(item: &Node) -> String {
    let alias = item.child("alias").map(|alias| alias.text("aliasname"));
    let name = alias.unwrap_or_else(|| item.text("relname"));
    // An empty alias has a meaning of its own (see `join`): an unnamed item gets an unusable one.
    if name.is_empty() { "\0".to_owned() } else { name.to_owned() }
}

fn is_alias(scopes: &[Vec<Entry>], name: &str) -> bool {
    scopes.iter().flatten().any(|entry| entry.alias == name)
}

/// The label PostgreSQL gives an unnamed expression, where it is simple (parse_target.c,
/// `FigureColname`).
fn implied_label(node: &Node) -> Option<String> {
    match node.name {
        "FuncCall" => node.names("funcname").last().map(|name| (*name).to_owned()),
        "ColumnRef" => node.names("fields").last().map(|name| (*name).to_owned()),
        "TypeCast" => node.child("arg").and_then(implied_label).or_else(|| {
            let name = node.child("type_name")?;
            name.names("names").last().map(|name| (*name).to_owned())
        }),
        "CaseExpr" => Some("case".to_owned()),
        "CoalesceExpr" => Some("coalesce".to_owned()),
        "AConst" | "AExpr" | "BoolExpr" => Some("?column?".to_owned()),
        _ => None,
    }
}
