//! Masking on the way back: rows, COPY data, errors and notices; and of what is recorded.
//!
//! A row is looked at cell by cell where it lies. If nothing in it changes, its bytes go on as
//! they came. The client and the record each have their own operators, so a row that changes
//! is written once for each.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use masking::{Applied, Outcome, Policy, Receipt, Sink};
use postgres_grammar::Analysis;
use postgres_wire::Format;
use postgres_wire::backend::{DataRow, Diagnostic};
use postgres_wire::mask::{CellOutcome, rewrite_cell};
use postgres_wire::oid::{self, TypeClass};
use postgres_wire::value::Decoded;
use postgres_wire::{WireError, write};
use smallvec::SmallVec;

use super::columns::{Cell, Plan, Treatment, is_searched};
use super::protect::Exposure;

/// What stands in the record where a value was.
pub(crate) const HIDDEN: &str = "***";

/// Longest value of an unknown binary type that is searched for numbers too, in bytes.
const MAX_OPAQUE_SEARCH: usize = 4096;

/// Masks for one target.
#[derive(Clone)]
pub(crate) struct Masker {
    policy: Arc<Policy>,
    scans_client: bool,
    scans_record: bool,
    /// See [`Policy::record_hides_more`].
    record_hides_more: bool,
}

/// Where masked bytes go.
pub(crate) struct Out<'a> {
    pub(crate) client: &'a mut Vec<u8>,
    /// `None`: answers are not kept.
    pub(crate) record: Option<&'a mut Vec<u8>>,
    pub(crate) receipt: &'a mut Receipt,
}

/// A cell that must not stay as it was.
struct Change {
    cell: usize,
    /// Where its new value lies in the scratch space; `None` is NULL.
    value: Option<Range<usize>>,
}

impl Masker {
    pub(crate) fn new(policy: Arc<Policy>) -> Self {
        let (scans_client, scans_record) = (policy.scans(Sink::Client), policy.scans(Sink::Record));
        let record_hides_more = policy.record_hides_more();
        Masker { policy, scans_client, scans_record, record_hides_more }
    }

    /// Whether what came out unchanged for the client must be searched again for the record.
    pub(crate) fn record_hides_more(&self) -> bool {
        self.record_hides_more
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether cells of this type have to be searched.
    pub(crate) fn searches(&self, type_oid: u32) -> bool {
        (self.scans_client || self.scans_record) && is_searched(type_oid)
    }

    /// Masks one DataRow.
    ///
    /// # Errors
    /// A row that is malformed, or has another number of cells than its description.
    pub(crate) fn row(
        &self,
        plan: &Plan,
        body: &[u8],
        frame: &[u8],
        out: &mut Out<'_>,
    ) -> Result<(), WireError> {
        if plan.passes {
            out.client.extend_from_slice(frame);
            if let Some(record) = &mut out.record {
                record.extend_from_slice(frame);
            }
            return Ok(());
        }
        let row = DataRow::read(body)?;
        if row.len() != plan.cells.len() {
            return Err(WireError::BadValue { message: "DataRow", field: "the number of columns" });
        }
        let mut scratch = Vec::new();
        let mut receipt = Receipt::new();
        let changes = self.changes(Sink::Client, plan, &row, &mut scratch, &mut receipt);
        rewrite(&row, &changes, &scratch, frame, out.client);
        out.receipt.merge(&receipt);
        if let Some(record) = &mut out.record {
            if changes.is_empty() && !self.record_hides_more {
                record.extend_from_slice(frame);
                return Ok(());
            }
            scratch.clear();
            let changes = self.changes(Sink::Record, plan, &row, &mut scratch, &mut Receipt::new());
            rewrite(&row, &changes, &scratch, frame, record);
        }
        Ok(())
    }

    fn changes(
        &self,
        sink: Sink,
        plan: &Plan,
        row: &DataRow<'_>,
        scratch: &mut Vec<u8>,
        receipt: &mut Receipt,
    ) -> SmallVec<[Change; 4]> {
        let mut changes = SmallVec::new();
        for (index, (cell, value)) in plan.cells.iter().zip(row.fields()).enumerate() {
            let Some(value) = value else { continue };
            let start = scratch.len();
            let outcome = self.cell(sink, cell, value, scratch, receipt);
            let value = match outcome {
                CellOutcome::Same => {
                    scratch.truncate(start);
                    continue;
                }
                CellOutcome::Replaced => Some(start..scratch.len()),
                CellOutcome::Null
                | CellOutcome::Deny
                | CellOutcome::Opaque
                | CellOutcome::Unfit => {
                    scratch.truncate(start);
                    receipt.nulled += 1;
                    None
                }
            };
            changes.push(Change { cell: index, value });
        }
        changes
    }

    fn cell(
        &self,
        sink: Sink,
        cell: &Cell,
        value: &[u8],
        out: &mut Vec<u8>,
        receipt: &mut Receipt,
    ) -> CellOutcome {
        match &cell.treatment {
            Treatment::Pass => CellOutcome::Same,
            Treatment::Hide => {
                receipt.by_column += 1;
                CellOutcome::Null
            }
            Treatment::Scan => {
                if cell.type_oid == oid::FLOAT8 && cell.format == Format::Binary {
                    let card = self.is_card(sink, oid::FLOAT8, value, receipt);
                    return if card { CellOutcome::Null } else { CellOutcome::Same };
                }
                if matches!(oid::class(cell.type_oid), TypeClass::Integer | TypeClass::Numeric) {
                    return self.number(sink, cell, value, out, receipt);
                }
                let mut search =
                    |text: &[u8], out: &mut Vec<u8>| self.search(sink, text, out, receipt);
                let outcome = rewrite_cell(cell.type_oid, cell.format, value, &mut search, out);
                match outcome {
                    CellOutcome::Opaque => self.opaque(sink, value, out, receipt),
                    other => other,
                }
            }
            Treatment::Rule(rule) => {
                let operator = rule.operator(sink);
                if operator.is_keep() {
                    return CellOutcome::Same;
                }
                receipt.by_column += 1;
                let mut apply = |text: &[u8], out: &mut Vec<u8>| match operator.apply(text, out) {
                    Applied::Text => CellOutcome::Replaced,
                    Applied::Null => CellOutcome::Null,
                };
                let outcome = rewrite_cell(cell.type_oid, cell.format, value, &mut apply, out);
                // Under a column rule nothing passes that was not changed.
                if outcome == CellOutcome::Replaced { outcome } else { CellOutcome::Null }
            }
        }
    }

    /// Searches a value that can't be taken apart, as it lies: text inside it is found, and then
    /// all of it is withheld.
    fn opaque(
        &self,
        sink: Sink,
        value: &[u8],
        out: &mut Vec<u8>,
        receipt: &mut Receipt,
    ) -> CellOutcome {
        let number = |bytes: &[u8]| self.is_card(sink, oid::INT8, bytes, &mut Receipt::new());
        let holds_number = value.len() <= MAX_OPAQUE_SEARCH && value.windows(8).any(number);
        match self.search(sink, value, out, receipt) {
            CellOutcome::Same if !holds_number => CellOutcome::Same,
            _ => CellOutcome::Null,
        }
    }

    /// Whether a number that was sent in binary is a card's.
    pub(crate) fn is_card(
        &self,
        sink: Sink,
        oid: u32,
        value: &[u8],
        receipt: &mut Receipt,
    ) -> bool {
        match postgres_wire::value::decode(oid, Format::Binary, value) {
            Decoded::Text(text) => self.policy.mask_digits(sink, &text, receipt).is_some(),
            Decoded::Hex(_) => false,
        }
    }

    /// Searches a whole number for a card's. What takes its place is a number of as many digits.
    fn number(
        &self,
        sink: Sink,
        cell: &Cell,
        value: &[u8],
        out: &mut Vec<u8>,
        receipt: &mut Receipt,
    ) -> CellOutcome {
        let mut search = |text: &[u8], out: &mut Vec<u8>| {
            let digits = std::str::from_utf8(text).unwrap_or_default();
            match self.policy.mask_digits(sink, digits, receipt) {
                Some(masked) => {
                    out.extend_from_slice(masked.as_bytes());
                    CellOutcome::Replaced
                }
                None => CellOutcome::Same,
            }
        };
        let outcome = rewrite_cell(cell.type_oid, cell.format, value, &mut search, out);
        if outcome == CellOutcome::Opaque { CellOutcome::Same } else { outcome }
    }

    /// Searches one text for entities.
    pub(crate) fn search(
        &self,
        sink: Sink,
        text: &[u8],
        out: &mut Vec<u8>,
        receipt: &mut Receipt,
    ) -> CellOutcome {
        match self.policy.mask_text(sink, text, out, receipt) {
            Outcome::Same => CellOutcome::Same,
            Outcome::Replaced => CellOutcome::Replaced,
        }
    }

    /// Searches a whole text for entities, and gives it back as `sink` may see it.
    pub(crate) fn text<'a>(
        &self,
        sink: Sink,
        text: &'a [u8],
        receipt: &mut Receipt,
    ) -> Cow<'a, [u8]> {
        let scans = match sink {
            Sink::Client => self.scans_client,
            Sink::Record => self.scans_record,
        };
        if !scans {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::new();
        match self.policy.mask_text(sink, text, &mut out, receipt) {
            Outcome::Same => Cow::Borrowed(text),
            Outcome::Replaced => Cow::Owned(out),
        }
    }

    /// An SQL text as the record keeps it: without literals where it touches what a column rule
    /// protects, or where a literal is a password; else searched for entities.
    pub(crate) fn statement<'a>(
        &self,
        sql: &'a [u8],
        analysis: &Analysis,
        exposure: Exposure,
        receipt: &mut Receipt,
    ) -> Cow<'a, [u8]> {
        if exposure.hides_literals() || super::protect::holds_password(analysis) {
            return Cow::Owned(without_literals(sql, analysis, receipt));
        }
        self.text(Sink::Record, sql, receipt)
    }

    /// An ErrorResponse or NoticeResponse as `sink` may see it, a whole frame.
    pub(crate) fn diagnostic(
        &self,
        sink: Sink,
        tag: u8,
        diagnostic: &Diagnostic<'_>,
        exposure: Exposure,
        receipt: &mut Receipt,
        out: &mut Vec<u8>,
    ) {
        let fields: SmallVec<[(u8, Cow<'_, [u8]>); 12]> = diagnostic
            .fields()
            .filter_map(|(code, value)| {
                self.diagnostic_field(sink, code, value, exposure, receipt).map(|v| (code, v))
            })
            .collect();
        let fields = fields.iter().map(|(code, value)| (*code, value.as_ref()));
        // Fields of a message that was read have no NUL inside, and masking puts none in.
        if write::diagnostic_fields(out, tag, fields).is_err() {
            tracing::error!("a diagnostic could not be written again");
        }
    }

    fn diagnostic_field<'a>(
        &self,
        sink: Sink,
        code: u8,
        value: &'a [u8],
        exposure: Exposure,
        receipt: &mut Receipt,
    ) -> Option<Cow<'a, [u8]>> {
        const WITHHELD: &[u8] = b"greffier: the message is withheld, since the statement \
            touches masked columns; the SQLSTATE is the server's";
        match code {
            // Message, detail, hint, internal query, context: texts that may quote data.
            b'M' if exposure.withholds_diagnostics() => Some(Cow::Borrowed(WITHHELD)),
            // Names of schema, table, column, type and constraint: RAISE can put anything there.
            b'D' | b'H' | b'q' | b'W' | b's' | b't' | b'c' | b'd' | b'n'
                if exposure.withholds_diagnostics() =>
            {
                None
            }
            b'M' | b'D' | b'H' | b'q' | b'W' | b's' | b't' | b'c' | b'd' | b'n' => {
                let masked = self.text(sink, value, receipt);
                // A NUL would end the field; no operator writes one, but a rule's text may.
                Some(if masked.contains(&0) { Cow::Borrowed(HIDDEN.as_bytes()) } else { masked })
            }
            _ => Some(Cow::Borrowed(value)),
        }
    }
}

/// The text with `***` for every literal, or `***` alone where the literals can't be told.
fn without_literals(sql: &[u8], analysis: &Analysis, receipt: &mut Receipt) -> Vec<u8> {
    receipt.by_column += 1;
    let Some(literals) = &analysis.literals else { return HIDDEN.into() };
    let mut out = Vec::with_capacity(sql.len());
    let mut from = 0;
    for literal in literals {
        out.extend_from_slice(sql.get(from..literal.range.start).unwrap_or_default());
        out.extend_from_slice(b"'***'");
        from = literal.range.end;
    }
    out.extend_from_slice(sql.get(from..).unwrap_or_default());
    out
}

fn rewrite(row: &DataRow<'_>, changes: &[Change], scratch: &[u8], frame: &[u8], out: &mut Vec<u8>) {
    if changes.is_empty() {
        out.extend_from_slice(frame);
        return;
    }
    let mut changes = changes.iter().peekable();
    let cells: SmallVec<[Option<&[u8]>; 16]> = row
        .fields()
        .enumerate()
        .map(|(index, value)| match changes.next_if(|change| change.cell == index) {
            Some(change) => {
                change.value.clone().map(|range| scratch.get(range).unwrap_or_default())
            }
            None => value,
        })
        .collect();
    if write::data_row(out, cells.iter().copied()).is_err() {
        // A row grown past the protocol's limit is not sent: nothing leaks, and the client sees
        // a row too few rather than a broken stream.
        tracing::error!("a masked row is too long to be sent");
    }
}
