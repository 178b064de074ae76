//! What was sent to the server and is not answered yet, in order.
//!
//! The protocol answers strictly in the order of the messages (manual, "Pipelining"), so the
//! front of this queue says what the next message of the server means. An error makes the
//! server drop everything up to the next Sync; the queue does the same and takes back the names
//! that the dropped messages had set.

use std::collections::BTreeMap;
use std::sync::Arc;

use gate::{Exchange, Release};
use masking::Receipt;
use postgres_grammar::{CopyDirection, CopyEnd, Detail, Statement};
use records::{Response, StatementResult};

use super::columns::{Columns, Plan};
use super::copy::CopyMasker;
use super::names::{Names, Portal, Prepared};
use super::protect::Exposure;
use crate::refusal::Told;

/// One message that the server will answer.
pub(crate) enum Item {
    Parse {
        name: Vec<u8>,
        statement: Arc<Prepared>,
        previous: Option<Arc<Prepared>>,
        /// Set when the Parse has an entry of its own: it was not followed by its Execute.
        answering: Option<Box<Answering>>,
    },
    Bind {
        name: Vec<u8>,
        previous: Option<Arc<Portal>>,
    },
    Describe {
        statement: Arc<Prepared>,
        /// Ours: the client did not ask and must not see the answer.
        ours: bool,
    },
    CloseStatement {
        name: Vec<u8>,
        previous: Option<Arc<Prepared>>,
    },
    ClosePortal {
        name: Vec<u8>,
        previous: Option<Arc<Portal>>,
    },
    Execute(Box<Answering>),
    Query(Box<Answering>),
    Function(Box<Answering>),
    /// In place of a refused message a statement that must fail was sent, so that the server's
    /// transaction is in the state that a failed statement leaves. Its error is replaced.
    Refused {
        told: Box<Told>,
        release: Release,
        /// A simple query: ReadyForQuery ends it.
        simple: bool,
        /// The error has been answered.
        answered: bool,
    },
    Sync,
}

/// A command under way, and what has been seen of its answer.
pub(crate) struct Answering {
    pub(crate) exchange: Box<Exchange>,
    pub(crate) exposure: Exposure,
    /// Extended: what is run, and the formats it was bound with.
    pub(crate) portal: Option<Arc<Portal>>,
    /// The current result's columns and what masking means for them.
    pub(crate) columns: Option<Arc<Columns>>,
    pub(crate) plan: Option<Arc<Plan>>,
    /// The current COPY's masking.
    pub(crate) copy: Option<CopyMasker>,
    /// Masks what the client sends as COPY data, for the record.
    pub(crate) input: Option<masking::StreamMasker>,
    /// COPYs that the server has begun to take data for, and that the client has ended: a text may
    /// hold several.
    pub(crate) inputs_begun: usize,
    pub(crate) inputs_ended: usize,
    /// Syncs that were sent behind this before its COPY data had ended.
    pub(crate) syncs: usize,
    /// Rows of the current result.
    pub(crate) rows: u64,
    pub(crate) total_rows: u64,
    pub(crate) results: Vec<StatementResult<'static>>,
    pub(crate) error: Option<Failure>,
    pub(crate) receipt: Receipt,
    /// The number of the statement whose result comes next, in a text of several.
    pub(crate) statement: usize,
    pub(crate) sql: Arc<postgres_grammar::Analysis>,
}

/// An error that the server answered with, masked for the record.
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: Vec<u8>,
}

impl Answering {
    pub(crate) fn new(
        exchange: Box<Exchange>,
        exposure: Exposure,
        sql: Arc<postgres_grammar::Analysis>,
        portal: Option<Arc<Portal>>,
    ) -> Box<Self> {
        Box::new(Answering {
            exchange,
            exposure,
            portal,
            columns: None,
            plan: None,
            copy: None,
            input: None,
            inputs_begun: 0,
            inputs_ended: 0,
            syncs: 0,
            rows: 0,
            total_rows: 0,
            results: Vec::new(),
            error: None,
            receipt: Receipt::new(),
            statement: 0,
            sql,
        })
    }

    /// Whether the client may send COPY data for this: it has ended fewer COPYs than there are.
    pub(crate) fn takes_input(&self) -> bool {
        let from_client = |statement: &&Statement| match &statement.detail {
            Detail::Copy(copy) => {
                copy.direction == CopyDirection::From && copy.end == CopyEnd::Client
            }
            _ => false,
        };
        let copies = self.sql.statements.iter().filter(from_client).count();
        self.inputs_ended < copies.max(self.inputs_begun)
    }

    /// A statement's answer is complete.
    pub(crate) fn end_result(&mut self, tag: &[u8]) {
        let columns = self.columns.take();
        let json = columns.as_ref().and_then(|columns| columns.json());
        self.results.push(StatementResult {
            tag: String::from_utf8_lossy(tag).into_owned().into(),
            rows: self.rows,
            columns: json.map(|json| std::borrow::Cow::Owned(json.to_owned())),
        });
        self.total_rows += self.rows;
        self.rows = 0;
        self.plan = None;
        self.copy = None;
        self.statement += 1;
    }

    /// What the record says of the outcome.
    pub(crate) fn response(&mut self, outcome: &'static str) -> Response<'static> {
        let error = self.error.take();
        let (code, message) = match error {
            Some(Failure { code, message }) => {
                let text = String::from_utf8_lossy(&message).into_owned();
                (Some(code.into()), Some(text.into()))
            }
            None => (None, None),
        };
        Response {
            outcome: outcome.into(),
            results: std::mem::take(&mut self.results),
            code,
            message,
            rows: self.total_rows + self.rows,
            masked: masked(&self.receipt),
            ..Response::default()
        }
    }
}

/// A receipt as records show it.
pub(crate) fn masked(receipt: &Receipt) -> BTreeMap<std::borrow::Cow<'static, str>, u64> {
    let mut counts: BTreeMap<_, _> =
        receipt.counts().map(|(entity, n)| (entity.name().into(), n)).collect();
    if receipt.by_column > 0 {
        counts.insert("COLUMN".into(), receipt.by_column);
    }
    counts
}

impl Item {
    /// Takes back what the message would have set, since the server never acted on it.
    pub(crate) fn undo(self, names: &mut Names) -> Option<Box<Answering>> {
        match self {
            Item::Parse { name, previous, answering, .. } => {
                restore(&mut names.statements, name, previous);
                answering
            }
            Item::CloseStatement { name, previous } => {
                restore(&mut names.statements, name, previous);
                None
            }
            Item::Bind { name, previous } | Item::ClosePortal { name, previous } => {
                restore(&mut names.portals, name, previous);
                None
            }
            Item::Execute(answering) | Item::Query(answering) | Item::Function(answering) => {
                Some(answering)
            }
            Item::Describe { statement, .. } => {
                statement.clear_describing();
                None
            }
            Item::Refused { .. } | Item::Sync => None,
        }
    }

    /// The command whose answer is under way, if this is one.
    pub(crate) fn answering(&mut self) -> Option<&mut Answering> {
        match self {
            Item::Execute(answering) | Item::Query(answering) | Item::Function(answering) => {
                Some(answering)
            }
            _ => None,
        }
    }

    /// Whether the server answers this up to a ReadyForQuery of its own.
    pub(crate) fn ends_with_ready(&self) -> bool {
        matches!(
            self,
            Item::Query(_) | Item::Function(_) | Item::Sync | Item::Refused { simple: true, .. }
        )
    }
}

fn restore<T>(
    names: &mut std::collections::HashMap<Vec<u8>, Arc<T>>,
    name: Vec<u8>,
    previous: Option<Arc<T>>,
) {
    match previous {
        Some(previous) => names.insert(name, previous),
        None => names.remove(&name),
    };
}
