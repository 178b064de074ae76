//! What a database's catalog says about the relations that column rules speak of.
//!
//! Read once at the beginning of a session on the session's own connection, before the client
//! may use it: which attributes a rule names, which views, partitions and children read from
//! them, and which functions are the system's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Buf as _;
use masking::{ColumnName, ColumnRule, Policy};
use postgres_wire::backend::{self, Message};
use postgres_wire::frame::{Framed, Limits, next_frame};
use postgres_wire::{Side, write};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::upstream::{Connected, UpstreamError};

/// Most bytes of catalog that are read; a database with more can't have column rules.
const MAX_CATALOG_BYTES: usize = 64 * 1024 * 1024;

const COLUMNS_SQL: &[u8] = b"SELECT c.oid, n.nspname, c.relname, a.attnum, a.attname \
    FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.oid >= 16384 \
    AND c.relkind IN ('r','p','v','m','f') AND n.nspname !~ '^pg_toast' \
    ORDER BY c.oid, a.attnum";

const DERIVED_SQL: &[u8] = b"SELECT r.ev_class, d.refobjid FROM pg_catalog.pg_depend d \
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid \
    WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND r.ev_class <> d.refobjid";

const CHILDREN_SQL: &[u8] = b"SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits";

/// The system's functions, less those whose name a user's function has too: which one is meant
/// then depends on the search path.
const FUNCTIONS_SQL: &[u8] = b"SELECT p.proname FROM pg_catalog.pg_proc p \
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    GROUP BY p.proname HAVING bool_and(n.nspname IN ('pg_catalog', 'information_schema'))";

const USER_FUNCTIONS_SQL: &[u8] = b"SELECT DISTINCT p.proname FROM pg_catalog.pg_proc p \
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')";

const SYSTEM_SQL: &[u8] = b"SELECT c.relname FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = 'pg_catalog'";

/// A database's relations, as column rules see them.
pub(crate) struct Catalog {
    relations: HashMap<u32, Relation>,
    by_name: HashMap<String, Vec<u32>>,
    protected_columns: HashSet<String>,
    functions: HashSet<String>,
    user_functions: HashSet<String>,
    /// Relations of `pg_catalog`.
    system: HashSet<String>,
}

struct Relation {
    schema: String,
    /// Attribute number, name, and the rule that names it.
    columns: Vec<(i16, String, Option<Arc<ColumnRule>>)>,
    /// It reads from a relation with protected columns, by other column names.
    derived: bool,
}

/// Where a relation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// No rule speaks of it.
    Clear,
    /// There is none of this name.
    Unknown,
    /// It reads from one with protected columns.
    Derived,
    /// It has protected columns.
    Protected,
}

impl Catalog {
    /// Reads the catalog.
    pub(crate) async fn read(
        connected: &mut Connected,
        policy: &Policy,
    ) -> Result<Catalog, UpstreamError> {
        let mut catalog = Catalog {
            relations: HashMap::new(),
            by_name: HashMap::new(),
            protected_columns: HashSet::new(),
            functions: HashSet::new(),
            user_functions: HashSet::new(),
            system: HashSet::new(),
        };
        for row in rows(connected, COLUMNS_SQL).await? {
            catalog.add_column(&row, policy);
        }
        let mut edges = Vec::new();
        for row in rows(connected, DERIVED_SQL).await? {
            edges.extend(pair(&row));
        }
        let mut children = Vec::new();
        for row in rows(connected, CHILDREN_SQL).await? {
            children.extend(pair(&row));
        }
        catalog.spread(&edges, &children);
        for row in rows(connected, FUNCTIONS_SQL).await? {
            catalog.functions.extend(row.into_iter().flatten());
        }
        for row in rows(connected, USER_FUNCTIONS_SQL).await? {
            catalog.user_functions.extend(row.into_iter().flatten());
        }
        for row in rows(connected, SYSTEM_SQL).await? {
            catalog.system.extend(row.into_iter().flatten());
        }
        Ok(catalog)
    }

    fn add_column(&mut self, row: &[Option<String>], policy: &Policy) {
        let [Some(oid), Some(schema), Some(name), Some(attribute), Some(column)] = row else {
            return;
        };
        let (Ok(oid), Ok(attribute)) = (oid.parse(), attribute.parse()) else { return };
        let rule = policy.column_rule(ColumnName {
            schema: Some(schema),
            table: Some(name),
            column: Some(column),
            label: column,
        });
        if rule.is_some() {
            self.protected_columns.insert(column.clone());
        }
        let relation = self.relations.entry(oid).or_insert_with(|| {
            self.by_name.entry(name.clone()).or_default().push(oid);
            Relation { schema: schema.clone(), columns: Vec::new(), derived: false }
        });
        relation.columns.push((attribute, column.clone(), rule.map(|rule| Arc::new(rule.clone()))));
    }

    /// Marks what reads from protected relations. A child or partition has its parent's columns
    /// under the same names, and so its rules; a view may have them under any.
    fn spread(&mut self, views: &[(u32, u32)], children: &[(u32, u32)]) {
        loop {
            let mut changed = false;
            for &(child, parent) in children {
                let Some(parent) = self.relations.get(&parent) else { continue };
                let rules: Vec<_> = parent
                    .columns
                    .iter()
                    .filter_map(|(_, name, rule)| Some((name.clone(), rule.clone()?)))
                    .collect();
                let derived = parent.derived;
                let Some(child) = self.relations.get_mut(&child) else { continue };
                if derived && !child.derived {
                    child.derived = true;
                    changed = true;
                }
                for (_, name, rule) in &mut child.columns {
                    let inherited = rules.iter().find(|(parent, _)| parent == name);
                    if let (None, Some((_, inherited))) = (&rule, inherited) {
                        *rule = Some(inherited.clone());
                        changed = true;
                    }
                }
            }
            for &(view, source) in views {
                let reads = self.relations.get(&source).is_some_and(Relation::is_sensitive);
                if let Some(view) = self.relations.get_mut(&view)
                    && reads
                    && !view.derived
                {
                    view.derived = true;
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// Where a relation of this name stands; the worst of all that the name may mean.
    pub(crate) fn standing(&self, schema: Option<&str>, name: &str) -> Standing {
        let Some(oids) = self.by_name.get(name) else { return Standing::Unknown };
        oids.iter()
            .filter_map(|oid| self.relations.get(oid))
            .filter(|relation| schema.is_none_or(|schema| schema == relation.schema))
            .map(Relation::standing)
            .max()
            .unwrap_or(Standing::Unknown)
    }

    /// The rule for an attribute; `None` if the relation is not known, `Some(None)` if no rule
    /// names the attribute.
    pub(crate) fn column(&self, oid: u32, attribute: i16) -> Option<Option<Arc<ColumnRule>>> {
        let relation = self.relations.get(&oid)?;
        let column = relation.columns.iter().find(|(number, ..)| *number == attribute)?;
        Some(column.2.clone())
    }

    pub(crate) fn is_derived(&self, oid: u32) -> bool {
        self.relations.get(&oid).is_none_or(|relation| relation.derived)
    }

    /// Whether a relation's name, which no user's relation has, means one of the system's.
    pub(crate) fn is_system_relation(&self, schema: Option<&str>, name: &str) -> bool {
        match schema {
            None => self.system.contains(name),
            Some(schema) => matches!(schema, "pg_catalog" | "information_schema"),
        }
    }

    /// Whether a function of this name can only be one of the system's.
    pub(crate) fn is_system_function(&self, name: &str) -> bool {
        match name.split_once('.') {
            Some(("pg_catalog", plain)) => self.functions.contains(plain),
            Some(_) => false,
            None => self.functions.contains(name),
        }
    }

    /// Whether some user's function has this name: `c.name` may then be a call of it on the row.
    pub(crate) fn is_user_function(&self, name: &str) -> bool {
        self.user_functions.contains(name)
    }

    pub(crate) fn has_protected_column(&self, name: &str) -> bool {
        self.protected_columns.contains(name)
    }

    /// The rules for the columns of `COPY table [(columns)]`, if the name means one relation
    /// only and every column is known.
    pub(crate) fn copy_rules(
        &self,
        schema: Option<&str>,
        name: &str,
        columns: &[String],
    ) -> Option<Vec<Option<Arc<ColumnRule>>>> {
        let oids = self.by_name.get(name)?;
        let mut candidates = oids
            .iter()
            .filter_map(|oid| self.relations.get(oid))
            .filter(|relation| schema.is_none_or(|schema| schema == relation.schema));
        let relation = candidates.next().filter(|relation| !relation.derived)?;
        if candidates.next().is_some() {
            return None;
        }
        if columns.is_empty() {
            return Some(relation.columns.iter().map(|(_, _, rule)| rule.clone()).collect());
        }
        columns
            .iter()
            .map(|wanted| {
                let found = relation.columns.iter().find(|(_, name, _)| name == wanted)?;
                Some(found.2.clone())
            })
            .collect()
    }
}

impl Relation {
    fn standing(&self) -> Standing {
        if self.columns.iter().any(|(_, _, rule)| rule.is_some()) {
            Standing::Protected
        } else if self.derived {
            Standing::Derived
        } else {
            Standing::Clear
        }
    }

    fn is_sensitive(&self) -> bool {
        self.standing() > Standing::Unknown
    }
}

fn pair(row: &[Option<String>]) -> Option<(u32, u32)> {
    let [Some(a), Some(b)] = row else { return None };
    Some((a.parse().ok()?, b.parse().ok()?))
}

/// Runs one query of ours and reads its rows as text.
async fn rows(
    connected: &mut Connected,
    sql: &[u8],
) -> Result<Vec<Vec<Option<String>>>, UpstreamError> {
    let Connected { stream, rest: buf, .. } = connected;
    let mut out = Vec::new();
    write::query(&mut out, sql)?;
    stream.write_all(&out).await?;
    stream.flush().await?;
    let (mut rows, mut total) = (Vec::new(), 0);
    loop {
        while let Framed::Frame { tag, body, total: len } =
            next_frame(buf, Side::Backend, &Limits::DEFAULT)?
        {
            match backend::parse(tag, body)? {
                Message::DataRow(row) => rows.push(
                    row.fields()
                        .map(|f| f.map(|f| String::from_utf8_lossy(f).into_owned()))
                        .collect(),
                ),
                Message::ErrorResponse(_) => {
                    return Err(UpstreamError::Protocol("the catalog can't be read".into()));
                }
                Message::ReadyForQuery(_) => {
                    buf.advance(len);
                    return Ok(rows);
                }
                _ => {}
            }
            buf.advance(len);
        }
        let read = stream.read_buf(buf).await?;
        total += read;
        if read == 0 || total > MAX_CATALOG_BYTES {
            return Err(UpstreamError::Protocol("the catalog can't be read".into()));
        }
    }
}
