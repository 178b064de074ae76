//! Column rules: what a statement means for columns that must not be seen.
//!
//! A result column is followed by its origin: the server's RowDescription names the table and
//! the attribute for every plain reference, through aliases, joins, subqueries, cursors and
//! RETURNING. Where it names none (an expression, a UNION, a whole row), the column is *hidden*
//! if the statement touches a protected relation, and what would put protected values elsewhere
//! is forbidden before it runs. What can't be followed counts as touching.
//!
//! Masking is not access control: WHERE and ORDER BY over a protected column still answer
//! questions about it.

use std::collections::HashSet;
use std::sync::Arc;

use masking::{ColumnName, Policy};
use postgres_grammar::{
    Access, Analysis, Class, CopyDirection, Detail, Statement, TableName, TableUse,
};
use postgres_wire::Format;

use super::columns::{Cell, Columns, Plan, Treatment};
use super::mask::Masker;
use super::names::Names;
use crate::catalog::{Catalog, Standing};

/// The rule's name in a refusal for masking's sake.
pub(crate) const RULE: &str = "masking";

/// The first OID that a relation of a user can have (`FirstNormalObjectId`).
const FIRST_USER_OID: u32 = 16_384;

/// Catalog relations that hold values of other tables' columns.
const VALUE_CATALOGS: [&str; 8] = [
    "pg_stats",
    "pg_statistic",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
    "pg_statistic_ext_data",
    "pg_largeobject",
    "pg_stat_activity",
    // Of advisory locks: the numbers they were taken by.
    "pg_locks",
];

/// What a statement does with protected columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Exposure {
    /// It names a relation that has protected columns, or runs what can't be followed.
    pub(crate) touches: bool,
}

impl Exposure {
    /// Whether the record must not keep the statement's literals and bound values.
    pub(crate) fn hides_literals(self) -> bool {
        self.touches
    }

    /// Whether errors and notices must not quote data.
    pub(crate) fn withholds_diagnostics(self) -> bool {
        self.touches
    }
}

/// A session's column rules, with what is known of the database they are for.
pub(crate) struct Protection {
    policy: Arc<Policy>,
    /// `None`: there are no column rules.
    catalog: Option<Arc<Catalog>>,
    trusted_functions: Arc<[String]>,
    /// Tables that this session made: they hold nothing that it could not see.
    own: HashSet<String>,
}

impl Protection {
    pub(crate) fn new(
        policy: Arc<Policy>,
        catalog: Option<Arc<Catalog>>,
        trusted_functions: Arc<[String]>,
    ) -> Self {
        Protection { policy, catalog, trusted_functions, own: HashSet::new() }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.catalog.is_some()
    }

    /// The exposure of what nothing is known about.
    pub(crate) fn unknown(&self) -> Exposure {
        Exposure { touches: self.is_active() }
    }

    /// What a text does with protected columns.
    pub(crate) fn exposure(&self, analysis: &Analysis, names: &Names) -> Exposure {
        if !self.is_active() {
            return Exposure::default();
        }
        let touches = analysis.parse_error.is_some()
            || analysis.statements.iter().any(|statement| {
                let made_here = |name: &str| makes(analysis, name);
                self.touches(statement, &made_here) || self.leads_to(statement, names)
            });
        Exposure { touches }
    }

    /// EXECUTE and FETCH do what was defined under the name.
    fn leads_to(&self, statement: &Statement, names: &Names) -> bool {
        let definitions = match &statement.detail {
            Detail::Execute { name } => names.sql_prepared.get(name.as_bytes()),
            Detail::Fetch { cursor, .. } => names.cursors.get(cursor.as_bytes()),
            _ => return false,
        };
        match definitions {
            Some(definitions) => {
                definitions.iter().any(|d| d.statements.iter().any(|s| self.touches(s, &|_| false)))
            }
            None => true,
        }
    }

    /// `made` says which tables the same text makes: what is in them was judged there.
    fn touches(&self, statement: &Statement, made: &dyn Fn(&str) -> bool) -> bool {
        let table = |t: &TableUse| {
            self.is_protected(t.schema.as_deref(), &t.name)
                && !(made(&t.name) && self.is_new(t.schema.as_deref(), &t.name))
        };
        statement.tables.iter().any(table)
            || self.calls_opaque(statement)
            || statement.flags.dynamic_sql
            || matches!(statement.detail, Detail::Do { .. } | Detail::Call(_))
            || statement.class == Class::Unknown
    }

    /// Whether a relation has protected columns, reads from one that has, or is not known.
    fn is_protected(&self, schema: Option<&str>, name: &str) -> bool {
        let Some(catalog) = &self.catalog else { return false };
        match catalog.standing(schema, name) {
            Standing::Clear => false,
            Standing::Protected | Standing::Derived => true,
            // Made after the catalog was read: by this session, or by somebody else.
            Standing::Unknown => {
                !self.own.contains(name) && !catalog.is_system_relation(schema, name)
            }
        }
    }

    fn is_new(&self, schema: Option<&str>, name: &str) -> bool {
        self.catalog.as_ref().is_some_and(|c| c.standing(schema, name) == Standing::Unknown)
    }

    /// Whether a function is called whose body is not followed; `c.f` may be the call `f(c)`.
    fn calls_opaque(&self, statement: &Statement) -> bool {
        let Some(catalog) = &self.catalog else { return false };
        statement.functions.iter().any(|name| self.is_opaque_function(name))
            || statement.reads.columns.iter().any(|name| catalog.is_user_function(name))
    }

    fn is_opaque_function(&self, name: &str) -> bool {
        let Some(catalog) = &self.catalog else { return false };
        !catalog.is_system_function(name) && !self.trusted_functions.iter().any(|t| t == name)
    }

    /// Why a text must not run, if column rules forbid it.
    pub(crate) fn forbids(&self, analysis: &Analysis) -> Option<&'static str> {
        if !self.is_active() {
            return None;
        }
        if analysis.parse_error.is_some() {
            return Some("a statement that can't be read can't be followed to its columns");
        }
        let made = |name: &str| makes(analysis, name);
        analysis.statements.iter().find_map(|statement| self.forbids_statement(statement, &made))
    }

    fn forbids_statement(
        &self,
        statement: &Statement,
        made: &dyn Fn(&str) -> bool,
    ) -> Option<&'static str> {
        let opaque = statement.flags.dynamic_sql || statement.flags.dangerous_function;
        if opaque || matches!(statement.detail, Detail::Do { .. } | Detail::Call(_)) {
            return Some("code that can't be followed to its columns does not run here");
        }
        if makes_code(statement.tag) {
            return Some("code that can't be followed to its columns is not made here");
        }
        if statement.tag != "EXECUTE" && executes(statement) {
            return Some("what a prepared statement answers can't be kept in a table from here");
        }
        if statement.tables.iter().any(|t| VALUE_CATALOGS.contains(&t.name.as_str())) {
            return Some("this catalog shows values of masked columns");
        }
        if !self.touches(statement, made) {
            return None;
        }
        if let Detail::Copy(copy) = &statement.detail {
            let followed = copy.direction == CopyDirection::From
                || (copy.table.is_some() && super::copy::format(copy).is_some());
            return (!followed).then_some("COPY of this query can't be followed to its columns");
        }
        if statement.class == Class::Ddl && !is_harmless_ddl(statement.tag) {
            return Some("a table with masked columns can't be redefined or copied from here");
        }
        let moves = matches!(statement.tag, "INSERT" | "UPDATE" | "MERGE" | "SELECT INTO")
            || statement.flags.cte_dml;
        if moves && self.carries_protected(statement) {
            return Some("masked columns can't be copied into other columns");
        }
        if self.hands_away(statement) {
            return Some("masked columns can't be given to what may keep them or send them on");
        }
        // What PREPARE defines, EXPLAIN ANALYZE runs and WITH holds is held to the same.
        statement.inner.iter().find_map(|inner| self.forbids_statement(inner, made))
    }

    /// Whether a statement may give protected values to a function with an effect: a setting, a
    /// notification, a sequence, a lock can all be asked for afterwards, and have no origin then.
    fn hands_away(&self, statement: &Statement) -> bool {
        let trusted = |name: &String| self.trusted_functions.iter().any(|t| t == name);
        let opaque = |name: &String| self.is_opaque_function(name);
        let sets = |name: &String| matches!(&**name, "set_config" | "pg_catalog.set_config");
        let system = statement.functions.iter().any(sets)
            || statement.unlisted.iter().any(|name| !opaque(name) && !trusted(name));
        // What a function of a user's own reads is hidden with its result; what it does with what it
        // is given is not known.
        let users = statement.unlisted.iter().any(opaque);
        (system && self.carries_protected(statement)) || (users && self.reads_protected(statement))
    }

    /// Whether a protected value may be in what a statement computes, or carries elsewhere: it is
    /// read anywhere but as a plain output, whose origin the server names.
    fn carries_protected(&self, statement: &Statement) -> bool {
        self.reads_protected(statement) || self.touches_opaque(statement)
    }

    /// As [`carries_protected`](Self::carries_protected), by what the statement says itself.
    fn reads_protected(&self, statement: &Statement) -> bool {
        let reads = &statement.reads;
        let Some(catalog) = &self.catalog else { return false };
        reads.star
            || reads.whole_row
            || reads.renames
            || reads.expression_columns.iter().any(|name| catalog.has_protected_column(name))
    }

    /// Whether a statement reads protected values under names that are not known: through a
    /// view, a function, or something that was made since the catalog was read.
    fn touches_opaque(&self, statement: &Statement) -> bool {
        let opaque = |standing| matches!(standing, Standing::Derived | Standing::Unknown);
        self.calls_opaque(statement)
            || statement.flags.dynamic_sql
            || statement.tables.iter().any(|table| {
                let (schema, name) = (table.schema.as_deref(), table.name.as_str());
                let standing = self.catalog.as_ref().map(|c| c.standing(schema, name));
                standing.is_some_and(opaque) && self.is_protected(schema, name)
            })
    }

    /// Whether output columns without an origin can hold nothing protected. Of EXECUTE, FETCH
    /// and EXPLAIN the outputs can't be told.
    fn has_clean_outputs(&self, sql: &Analysis) -> bool {
        match sql.statements.as_slice() {
            [one] => one.outputs.is_some() && !self.carries_protected(one),
            _ => false,
        }
    }

    /// A statement has run that may have made a table.
    pub(crate) fn note_own(&mut self, statement: &Statement) {
        if self.is_active() && makes_table(statement.tag) {
            let made = statement.tables.iter().filter(|table| table.access == Access::Write);
            self.own.extend(made.map(|table| table.name.clone()));
        }
    }

    /// What to do with each column of a result.
    pub(crate) fn plan(
        &self,
        masker: &Masker,
        columns: &Columns,
        exposure: Exposure,
        sql: &Analysis,
        format: impl Fn(usize) -> Format,
    ) -> Plan {
        let clean = exposure.touches && self.has_clean_outputs(sql);
        let cells = columns
            .list
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let searched = if masker.searches(column.type_oid) {
                    Treatment::Scan
                } else {
                    Treatment::Pass
                };
                let treatment = match &self.catalog {
                    None => searched,
                    Some(catalog) => {
                        let origin = (column.table_oid, column.attribute);
                        self.treatment(catalog, origin, &column.label, exposure, clean, searched)
                    }
                };
                Cell { type_oid: column.type_oid, format: format(index), treatment }
            })
            .collect();
        Plan::new(cells)
    }

    fn treatment(
        &self,
        catalog: &Catalog,
        (table, attribute): (u32, i16),
        label: &[u8],
        exposure: Exposure,
        clean: bool,
        searched: Treatment,
    ) -> Treatment {
        if table != 0 && attribute > 0 {
            return match catalog.column(table, attribute) {
                Some(Some(rule)) => Treatment::Rule(rule),
                Some(None) if catalog.is_derived(table) => Treatment::Hide,
                Some(None) => searched,
                None if table < FIRST_USER_OID => searched,
                None if exposure.touches => Treatment::Hide,
                None => searched,
            };
        }
        if exposure.touches && !clean {
            return Treatment::Hide;
        }
        let label = String::from_utf8_lossy(label);
        let named = ColumnName { label: &label, ..ColumnName::default() };
        match self.policy.column_rule(named) {
            Some(rule) => Treatment::Rule(Arc::new(rule.clone())),
            None => searched,
        }
    }

    /// What to do with each column of `COPY table [(columns)] TO`.
    pub(crate) fn copy_columns(
        &self,
        masker: &Masker,
        table: Option<&TableName>,
        columns: &[String],
        count: usize,
    ) -> Vec<Treatment> {
        let searched = if masker.searches(0) { Treatment::Scan } else { Treatment::Pass };
        let (Some(catalog), Some(table)) = (&self.catalog, table) else {
            return vec![searched; count];
        };
        let rules = catalog.copy_rules(table.schema.as_deref(), &table.name, columns);
        match rules {
            Some(rules) if rules.len() == count => rules
                .into_iter()
                .map(|rule| rule.map_or(searched.clone(), Treatment::Rule))
                .collect(),
            // Not the columns that we know of: nothing of it can be told apart.
            _ if self.is_protected(table.schema.as_deref(), &table.name) => {
                vec![Treatment::Hide; count]
            }
            _ => vec![searched; count],
        }
    }
}

/// Whether a text makes a table of this name.
fn makes(analysis: &Analysis, name: &str) -> bool {
    analysis.statements.iter().filter(|s| makes_table(s.tag)).any(|statement| {
        statement.tables.iter().any(|t| t.access == Access::Write && t.name == name)
    })
}

/// Whether EXECUTE is in a statement: `CREATE TABLE t AS EXECUTE p`, `EXPLAIN EXECUTE p`.
fn executes(statement: &Statement) -> bool {
    matches!(statement.detail, Detail::Execute { .. }) || statement.inner.iter().any(executes)
}

fn makes_table(tag: &str) -> bool {
    matches!(tag, "CREATE TABLE" | "CREATE TABLE AS" | "SELECT INTO")
}

/// Statements that make code for the server to run, whose body is not followed.
fn makes_code(tag: &str) -> bool {
    let made =
        ["FUNCTION", "PROCEDURE", "ROUTINE", "RULE", "TRIGGER", "AGGREGATE", "OPERATOR", "CAST"];
    let (verb, object) = tag.split_once(' ').unwrap_or((tag, ""));
    matches!(verb, "CREATE" | "ALTER") && made.iter().any(|word| object.starts_with(word))
}

/// Schema changes that copy nothing and rename nothing.
fn is_harmless_ddl(tag: &str) -> bool {
    matches!(
        tag,
        "CREATE INDEX"
            | "DROP INDEX"
            | "REINDEX"
            | "VACUUM"
            | "ANALYZE"
            | "CLUSTER"
            | "COMMENT"
            | "TRUNCATE TABLE"
            | "DROP TABLE"
            | "DROP VIEW"
    )
}

/// Whether a literal of the text may be a password: no record keeps it.
pub(crate) fn holds_password(analysis: &Analysis) -> bool {
    analysis.class >= Class::Admin
        && analysis.statements.iter().any(|statement| {
            matches!(
                statement.tag,
                "CREATE ROLE"
                    | "ALTER ROLE"
                    | "CREATE USER"
                    | "CREATE SUBSCRIPTION"
                    | "ALTER SUBSCRIPTION"
                    | "CREATE USER MAPPING"
                    | "ALTER USER MAPPING"
                    | "CREATE SERVER"
                    | "ALTER SERVER"
            ) || statement.functions.iter().any(|name| name.contains("dblink"))
        })
}
