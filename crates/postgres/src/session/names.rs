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
}

impl Names {
    pub(crate) fn is_full(&self) -> bool {
        self.statements.len() >= MAX_NAMES
            || self.portals.len() >= MAX_NAMES
            || self.sql_prepared.len() >= MAX_NAMES
            || self.cursors.len() >= MAX_NAMES
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
    }

    /// A transaction's end closes every portal.
    pub(crate) fn transaction_ended(&mut self) {
        self.portals.clear();
    }
}
