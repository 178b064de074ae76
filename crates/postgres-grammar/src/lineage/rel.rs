//! What a FROM item offers: its columns, or all that may be in them.

use std::collections::HashSet;
use std::hash::Hash;

use crate::types::{ColumnName, OutputColumn, Source, TableName};

/// What a FROM item is.
#[derive(Clone)]
pub(super) enum Rel {
    Table(TableName),
    /// A subquery or CTE, by its output columns.
    Derived(Vec<OutputColumn>),
    /// Columns that can't be told apart: anything in it may come from these.
    Opaque(Touched),
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) alias: String,
    pub(super) rel: Rel,
}

impl Rel {
    /// About how much there is to look through.
    pub(super) fn width(&self) -> usize {
        match self {
            Rel::Table(_) => 1,
            Rel::Derived(outputs) => outputs.len() + 1,
            Rel::Opaque(touched) => touched.columns.len() + touched.rows.len() + 1,
        }
    }
}

impl Entry {
    pub(super) fn width(&self) -> usize {
        self.rel.width()
    }
}

/// A set in order of insertion: a text may name thousands.
#[derive(Clone)]
pub(super) struct Ordered<T> {
    list: Vec<T>,
    known: HashSet<T>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { list: Vec::new(), known: HashSet::new() }
    }
}

impl<T: Clone + Eq + Hash> Ordered<T> {
    fn insert(&mut self, item: T) {
        if !self.known.contains(&item) {
            self.known.insert(item.clone());
            self.list.push(item);
        }
    }

    fn contains(&self, item: &T) -> bool {
        self.known.contains(item)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.list.iter()
    }

    pub(super) fn into_list(self) -> Vec<T> {
        self.list
    }
}

/// Columns and rows an expression touches.
#[derive(Clone, Default)]
pub(super) struct Touched {
    pub(super) columns: Ordered<ColumnName>,
    pub(super) rows: Ordered<TableName>,
}

impl Touched {
    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.rows.is_empty()
    }

    pub(super) fn column(&mut self, column: ColumnName) {
        self.columns.insert(column);
    }

    pub(super) fn row(&mut self, table: &TableName) {
        if !self.rows.contains(table) {
            self.rows.insert(table.clone());
        }
    }

    pub(super) fn source(&mut self, source: &Source) {
        match source {
            Source::Column(column) => self.column(column.clone()),
            Source::Star { tables } => tables.iter().for_each(|table| self.row(table)),
            Source::Expr { touches, whole_rows } => {
                touches.iter().for_each(|column| self.column(column.clone()));
                whole_rows.iter().for_each(|table| self.row(table));
            }
        }
    }

    pub(super) fn rel(&mut self, rel: &Rel) {
        match rel {
            Rel::Table(table) => self.row(table),
            Rel::Derived(outputs) => outputs.iter().for_each(|output| self.source(&output.source)),
            Rel::Opaque(touched) => self.all(touched),
        }
    }

    pub(super) fn all(&mut self, other: &Self) {
        other.columns.iter().for_each(|column| self.column(column.clone()));
        other.rows.iter().for_each(|table| self.row(table));
    }

    pub(super) fn into_source(self) -> Source {
        Source::Expr { touches: self.columns.into_list(), whole_rows: self.rows.into_list() }
    }
}

/// A table's columns under new names can't be told apart; a subquery's outputs get theirs.
pub(super) fn rename(rel: Rel, names: &[&str], everything: impl FnOnce() -> Touched) -> Rel {
    if names.is_empty() {
        return rel;
    }
    match rel {
        Rel::Derived(mut outputs)
            if !outputs.iter().any(|it| matches!(it.source, Source::Star { .. })) =>
        {
            for (output, name) in outputs.iter_mut().zip(names) {
                output.label = Some((*name).to_owned());
            }
            Rel::Derived(outputs)
        }
        Rel::Opaque(touched) => Rel::Opaque(touched),
        Rel::Derived(_) | Rel::Table(_) => Rel::Opaque(everything()),
    }
}

/// Column `name` of a FROM item; none if it has no such column.
pub(super) fn of_rel(rel: &Rel, name: &str) -> Option<Source> {
    match rel {
        Rel::Table(table) => {
            Some(Source::Column(ColumnName { table: Some(table.clone()), column: name.to_owned() }))
        }
        Rel::Opaque(touched) => Some(touched.clone().into_source()),
        Rel::Derived(outputs) => {
            let mut found: Vec<Source> = Vec::new();
            for output in outputs {
                match (&output.source, output.label.as_deref()) {
                    (Source::Star { tables }, _) => match tables.as_slice() {
                        [table] => found.push(Source::Column(ColumnName {
                            table: Some(table.clone()),
                            column: name.to_owned(),
                        })),
                        tables => found.push(Source::Expr {
                            touches: Vec::new(),
                            whole_rows: tables.to_vec(),
                        }),
                    },
                    (source, Some(label)) if label == name => found.push(source.clone()),
                    // A label of an expression isn't always known: it may be the name.
                    (source @ Source::Expr { .. }, None) => found.push(source.clone()),
                    _ => {}
                }
            }
            if found.len() <= 1 {
                return found.pop();
            }
            let mut touched = Touched::default();
            found.iter().for_each(|source| touched.source(source));
            Some(touched.into_source())
        }
    }
}

/// `*` over one FROM item.
pub(super) fn spread(rel: &Rel, outputs: &mut Vec<OutputColumn>) -> Option<()> {
    match rel {
        Rel::Table(table) => outputs.push(OutputColumn {
            label: None,
            source: Source::Star { tables: vec![table.clone()] },
        }),
        Rel::Derived(columns) => outputs.extend(columns.iter().cloned()),
        Rel::Opaque(touched) => return star_of(touched.clone(), outputs),
    }
    Some(())
}

/// A star over something opaque: only sayable when it touches whole tables.
pub(super) fn star_of(touched: Touched, outputs: &mut Vec<OutputColumn>) -> Option<()> {
    if !touched.columns.is_empty() {
        return None;
    }
    outputs.push(OutputColumn {
        label: None,
        source: Source::Star { tables: touched.rows.into_list() },
    });
    Some(())
}

/// UNION, INTERSECT, EXCEPT: column by column.
pub(super) fn merge(left: Vec<OutputColumn>, right: &[OutputColumn]) -> Option<Vec<OutputColumn>> {
    let star = |it: &OutputColumn| matches!(it.source, Source::Star { .. });
    if let ([a], [b]) = (left.as_slice(), right)
        && star(a)
        && star(b)
    {
        let mut touched = Touched::default();
        touched.source(&a.source);
        touched.source(&b.source);
        let source = Source::Star { tables: touched.rows.into_list() };
        return Some(vec![OutputColumn { label: None, source }]);
    }
    if left.len() != right.len() || left.iter().chain(right).any(star) {
        return None;
    }
    let merged = left.into_iter().zip(right).map(|(mut a, b)| {
        if a.source != b.source {
            let mut touched = Touched::default();
            touched.source(&a.source);
            touched.source(&b.source);
            a.source = touched.into_source();
        }
        a
    });
    Some(merged.collect())
}
