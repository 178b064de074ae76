//! Prepared statements and portals, as the server will know them when it has read what was
//! sent so far.
//!
//! Names are set when a message is forwarded, since a pipelined Bind may name a statement whose
//! ParseComplete is still on its way; what a failure takes back is undone from the queue (see
//! [`super::queue`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gate::Judgement;
use postgres_grammar::Analysis;
use postgres_wire::Format;
use postgres_wire::frontend::{Bind, Formats};

use super::columns::{Columns, Plan};

/// Most prepared statements, and most portals, that a session may hold; the server has no such
/// limit but its memory.
pub(crate) const MAX_NAMES: usize = 10_000;

/// What a Parse (or an SQL-level PREPARE) defined.
pub(crate) struct Prepared {
    /// The SQL, as the client sent it.
    pub(crate) sql: Vec<u8>,
    pub(crate) analysis: Arc<Analysis>,
    /// The verdict on it, made once: rules don't change while a session lasts.
    pub(crate) judgement: Judgement,
    /// What column rules mean for it.
    pub(crate) exposure: super::protect::Exposure,
    learnt: Mutex<Learnt>,
}

/// What the server said of a prepared statement.
#[derive(Default)]
struct Learnt {
    /// Types of its parameters: from Parse, then from ParameterDescription.
    parameter_types: Vec<u32>,
    /// Its result columns, from any RowDescription for it. Known to have none: `Some(None)`.
    columns: Option<Option<Arc<Columns>>>,
    /// A Describe for it is under way.
    describing: bool,
    /// The masking plan for the last result formats that were bound.
    plan: Option<(Vec<Format>, Arc<Plan>)>,
}

impl Prepared {
    pub(crate) fn new(
        sql: &[u8],
        analysis: Arc<Analysis>,
        judgement: Judgement,
        exposure: super::protect::Exposure,
        parameter_types: Vec<u32>,
    ) -> Self {
        let learnt = Mutex::new(Learnt { parameter_types, ..Learnt::default() });
        Prepared { sql: sql.to_vec(), analysis, judgement, exposure, learnt }
    }

    fn learnt(&self) -> std::sync::MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn parameter_type(&self, index: usize) -> u32 {
        self.learnt().parameter_types.get(index).copied().unwrap_or(0)
    }

    pub(crate) fn learn_parameters(&self, oids: impl Iterator<Item = u32>) {
        self.learnt().parameter_types = oids.collect();
    }

    pub(crate) fn learn_columns(&self, columns: Option<Arc<Columns>>) {
        let mut learnt = self.learnt();
        let changed = match (&learnt.columns, &columns) {
            (Some(Some(old)), Some(new)) => !old.same_as(new),
            _ => true,
        };
        if changed {
            learnt.columns = Some(columns);
            learnt.plan = None;
        }
    }

    /// The result columns; the outer `None` means that nobody has asked the server yet.
    pub(crate) fn columns(&self) -> Option<Option<Arc<Columns>>> {
        self.learnt().columns.clone()
    }

    /// Whether the columns are known, or will be by the time rows arrive.
    pub(crate) fn described(&self) -> bool {
        let learnt = self.learnt();
        learnt.describing || learnt.columns.is_some()
    }

    pub(crate) fn set_describing(&self) {
        self.learnt().describing = true;
    }

    /// A Describe was dropped by the server, which gives no answer to it.
    pub(crate) fn clear_describing(&self) {
        self.learnt().describing = false;
    }

    /// The plan for these result formats, made by `make` if it is not the last one again.
    pub(crate) fn plan(
        &self,
        formats: &[Format],
        make: impl FnOnce(&Columns) -> Plan,
    ) -> Option<Arc<Plan>> {
        let mut learnt = self.learnt();
        if let Some((known, plan)) = &learnt.plan
            && known == formats
        {
            return Some(plan.clone());
        }
        let columns = learnt.columns.clone()??;
        let plan = Arc::new(make(&columns));
        learnt.plan = Some((formats.to_vec(), plan.clone()));
        Some(plan)
    }
}

/// A bound statement, ready to run.
pub(crate) struct Portal {
    /// `None`: the name is not one that we saw being prepared.
    pub(crate) statement: Option<Arc<Prepared>>,
    /// Formats and values of the parameters: the Bind message's body.
    pub(crate) bind: Vec<u8>,
    /// Formats of the result: none, one, or one a column.
    pub(crate) result_formats: Vec<Format>,
    run: AtomicBool,
}

impl Portal {
    pub(crate) fn new(statement: Option<Arc<Prepared>>, bind: &Bind<'_>, body: &[u8]) -> Self {
        let result_formats = formats(bind.result_formats);
        Portal { statement, bind: body.to_vec(), result_formats, run: AtomicBool::new(false) }
    }

    /// A cursor that SQL declared: it has no parameters and no formats of its own.
    pub(crate) fn unbound(statement: Arc<Prepared>) -> Self {
        Portal {
            statement: Some(statement),
            bind: Vec::new(),
            result_formats: Vec::new(),
            run: AtomicBool::new(false),
        }
    }

    /// Whether it was run before: an Execute then asks for more rows of the same answer.
    pub(crate) fn runs_again(&self) -> bool {
        self.run.load(Ordering::Relaxed)
    }

    pub(crate) fn set_run(&self) {
        self.run.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn formats(formats: Formats<'_>) -> Vec<Format> {
    formats.iter().collect()
}

/// The session's names.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) statements: HashMap<Vec<u8>, Arc<Prepared>>,
    pub(crate) portals: HashMap<Vec<u8>, Arc<Portal>>,
    /// What SQL-level PREPARE gave each name. A PREPARE may fail on the server and leave an
    /// older one in place, so all that a name may mean is kept.
    pub(crate) sql_prepared: HashMap<Vec<u8>, Vec<Arc<Analysis>>>,
    /// What DECLARE CURSOR gave each name, likewise.
    pub(crate) cursors: HashMap<Vec<u8>, Vec<Arc<Analysis>>>,
    /// Definitions in `sql_prepared` and `cursors`.
    definitions: usize,
}

/// Most bytes of SQL and bound values that a session's names may hold together.
const MAX_NAMED_BYTES: usize = 64 * 1024 * 1024;
/// Texts and values shorter than this are not weighed, but counted by [`MAX_NAMES`].
const LIGHT: usize = 4 * 1024;

impl Names {
    pub(crate) fn is_full(&self) -> bool {
        self.statements.len() >= MAX_NAMES
            || self.portals.len() >= MAX_NAMES
            || self.definitions >= MAX_NAMES
    }

    /// Whether a text or values of this length would make the session's names too heavy.
    pub(crate) fn is_too_heavy(&self, bytes: usize) -> bool {
        if bytes < LIGHT {
            return false;
        }
        let statements: usize = self.statements.values().map(|s| s.sql.len()).sum();
        let portals: usize = self.portals.values().map(|p| p.bind.len()).sum();
        statements + portals + bytes > MAX_NAMED_BYTES
    }

    /// Notes what an SQL-level name means from now on, or may mean.
    pub(crate) fn define(&mut self, cursor: bool, name: &str, definition: Analysis) {
        let names = if cursor { &mut self.cursors } else { &mut self.sql_prepared };
        let known = names.entry(name.as_bytes().to_vec()).or_default();
        if !known.iter().any(|other| **other == definition) {
            known.push(Arc::new(definition));
            self.definitions += 1;
        }
    }

    /// A DEALLOCATE or CLOSE of this name has succeeded.
    pub(crate) fn forget(&mut self, cursor: bool, name: &str) {
        let names = if cursor { &mut self.cursors } else { &mut self.sql_prepared };
        let gone = names.remove(name.as_bytes()).map_or(0, |definitions| definitions.len());
        self.definitions = self.definitions.saturating_sub(gone);
    }

    /// A command that ends names has succeeded.
    pub(crate) fn completed(&mut self, tag: &[u8]) {
        match tag {
            b"DEALLOCATE ALL" => self.sql_prepared.clear(),
            b"DISCARD ALL" => {
                self.sql_prepared.clear();
                self.cursors.clear();
            }
            b"CLOSE CURSOR ALL" => self.cursors.clear(),
            _ => {}
        }
        let counts = self.sql_prepared.values().chain(self.cursors.values()).map(Vec::len);
        if tag.ends_with(b" ALL") {
            self.definitions = counts.sum();
        }
    }

    /// A transaction's end closes every portal.
    pub(crate) fn transaction_ended(&mut self) {
        self.portals.clear();
    }
}
