//! COPY TO STDOUT: its rows are taken apart by the statement's own options and masked field by
//! field, once for the client and once for the record.

use masking::{Applied, Receipt, Sink};
use postgres_grammar::{self as grammar, Copy};
use postgres_wire::copy::{CopyFormat, CopyRewriter};
use postgres_wire::mask::{CellOutcome, rewrite_cell};
use postgres_wire::{Format, oid, write};

use super::columns::Treatment;
use super::mask::Masker;
use super::queue::Item;
use super::{End, Machine};

/// The format of a COPY's data, from its options; `None` where they are not understood.
pub(crate) fn format(copy: &Copy) -> Option<CopyFormat> {
    let byte = |name: &str, default: u8| match copy.option(name).map(str::as_bytes) {
        None => Some(default),
        Some([one]) => Some(*one),
        Some(_) => None,
    };
    let header = match copy.option("header") {
        None => false,
        Some("" | "true" | "on" | "1" | "match") => true,
        Some("false" | "off" | "0") => false,
        Some(_) => return None,
    };
    let null = |default: &str| copy.option("null").unwrap_or(default).as_bytes().to_vec();
    match copy.format {
        grammar::CopyFormat::Text => Some(CopyFormat::Text {
            delimiter: byte("delimiter", b'\t')?,
            null: null("\\N"),
            header,
        }),
        grammar::CopyFormat::Csv => {
            let quote = byte("quote", b'"')?;
            Some(CopyFormat::Csv {
                delimiter: byte("delimiter", b',')?,
                quote,
                escape: byte("escape", quote)?,
                null: null(""),
                header,
            })
        }
        grammar::CopyFormat::Binary => Some(CopyFormat::Binary),
        grammar::CopyFormat::Other => None,
    }
}

/// Masks one COPY's data on its way to the client and into the record.
pub(crate) struct CopyMasker {
    client: CopyRewriter,
    record: CopyRewriter,
    columns: Vec<Treatment>,
    binary: bool,
    /// A row without anything to unquote may be searched as it lies.
    searchable: bool,
}

impl CopyMasker {
    fn masked(
        &mut self,
        masker: &Masker,
        sink: Sink,
        data: &[u8],
        receipt: &mut Receipt,
    ) -> Result<Vec<u8>, End> {
        let CopyMasker { client, record, columns, binary, .. } = self;
        let rewriter = match sink {
            Sink::Client => client,
            Sink::Record => record,
        };
        let mut field = |column: usize, text: &[u8], out: &mut Vec<u8>| {
            treat(masker, sink, columns.get(column), *binary, text, out, receipt)
        };
        let mut out = Vec::with_capacity(data.len());
        rewriter.push(data, &mut field, &mut out).map_err(End::target)?;
        Ok(out)
    }
}

/// What becomes of a field. The text formats have no types, and what a text says is all there
/// is to search; a binary field's type is not known, so it is searched as text.
fn treat(
    masker: &Masker,
    sink: Sink,
    treatment: Option<&Treatment>,
    binary: bool,
    text: &[u8],
    out: &mut Vec<u8>,
    receipt: &mut Receipt,
) -> CellOutcome {
    match treatment {
        Some(Treatment::Pass) => CellOutcome::Same,
        Some(Treatment::Scan) if binary => {
            // The type is not known: it may be a number, or hold text somewhere.
            let number = |oid| masker.is_card(sink, oid, text, &mut Receipt::new());
            if number(oid::INT8) || number(oid::NUMERIC) || number(oid::FLOAT8) {
                return CellOutcome::Null;
            }
            match masker.search(sink, text, out, receipt) {
                CellOutcome::Replaced if std::str::from_utf8(text).is_err() => CellOutcome::Null,
                other => other,
            }
        }
        Some(Treatment::Scan) => {
            let mut search =
                |text: &[u8], out: &mut Vec<u8>| masker.search(sink, text, out, receipt);
            match rewrite_cell(oid::TEXT, Format::Text, text, &mut search, out) {
                CellOutcome::Opaque => CellOutcome::Same,
                CellOutcome::Unfit | CellOutcome::Deny => CellOutcome::Null,
                other => other,
            }
        }
        Some(Treatment::Rule(rule)) => {
            let operator = rule.operator(sink);
            if operator.is_keep() {
                return CellOutcome::Same;
            }
            receipt.by_column += 1;
            match operator.apply(text, out) {
                Applied::Text => CellOutcome::Replaced,
                Applied::Null => CellOutcome::Null,
            }
        }
        Some(Treatment::Hide) | None => {
            receipt.by_column += 1;
            CellOutcome::Null
        }
    }
}

impl Machine {
    /// The server begins to send COPY data.
    pub(crate) fn begin_copy_out(&mut self, columns: usize) -> Result<(), End> {
        let Machine { queue, masker, protection, .. } = self;
        let Some(answering) = queue.front_mut().and_then(Item::answering) else {
            return Err(End::Target("COPY data in answer to nothing".into()));
        };
        if !masker.searches(0) && !protection.is_active() {
            return Ok(());
        }
        let copy = match answering.sql.statements.get(answering.statement).map(|s| &s.detail) {
            Some(grammar::Detail::Copy(copy)) => Some(copy),
            _ => None,
        };
        let Some((copy, format)) = copy.and_then(|copy| Some((copy, format(copy)?))) else {
            return Err(End::Refused(
                "the format of this COPY can't be followed, so nothing of it is let out",
            ));
        };
        let columns = protection.copy_columns(masker, copy.table.as_ref(), &copy.columns, columns);
        let usual = match &format {
            CopyFormat::Text { .. } => true,
            CopyFormat::Csv { quote, escape, .. } => (*quote, *escape) == (b'"', b'"'),
            CopyFormat::Binary => false,
        };
        let searchable =
            usual && columns.iter().all(|c| matches!(c, Treatment::Scan | Treatment::Pass));
        answering.copy = Some(CopyMasker {
            client: CopyRewriter::new(format.clone()),
            binary: format == CopyFormat::Binary,
            record: CopyRewriter::new(format),
            columns,
            searchable,
        });
        Ok(())
    }

    pub(crate) fn on_copy_data_out(&mut self, data: &[u8], frame: &[u8]) -> Result<(), End> {
        let Machine { queue, masker, held, .. } = self;
        let Some(answering) = queue.front_mut().and_then(Item::answering) else {
            return Err(End::Target("COPY data in answer to nothing".into()));
        };
        answering.rows += 1;
        answering.exchange.count(frame.len());
        let Some(copy) = &mut answering.copy else {
            answering.exchange.answer(frame)?;
            held.extend_from_slice(frame);
            return Ok(());
        };
        let plain = || memchr::memchr2(b'\\', b'"', data).is_none();
        if copy.searchable && data.ends_with(b"\n") && plain() {
            // Whole rows with nothing quoted: if a search of all of it finds nothing, so would
            // a search of each field.
            let receipt = &mut answering.receipt;
            let mut out = Vec::new();
            let client = masker.search(Sink::Client, data, &mut out, receipt);
            let record = if masker.record_hides_more() {
                masker.search(Sink::Record, data, &mut out, &mut Receipt::new())
            } else {
                client
            };
            if (client, record) == (CellOutcome::Same, CellOutcome::Same) && copy.is_between_rows()
            {
                answering.exchange.answer(frame)?;
                held.extend_from_slice(frame);
                return Ok(());
            }
        }
        let masked = copy.masked(masker, Sink::Client, data, &mut answering.receipt)?;
        if !masked.is_empty() {
            write::copy_data(held, &masked)?;
        }
        let kept = copy.masked(masker, Sink::Record, data, &mut Receipt::new())?;
        if answering.exchange.keeps_data() && !kept.is_empty() {
            let mut frame = Vec::with_capacity(kept.len() + 5);
            write::copy_data(&mut frame, &kept)?;
            answering.exchange.answer(&frame)?;
        }
        Ok(())
    }

    pub(crate) fn on_copy_done(&mut self, frame: &[u8]) -> Result<(), End> {
        let copy = self.queue.front_mut().and_then(Item::answering).and_then(|a| a.copy.take());
        if let Some(copy) = copy {
            copy.finish()?;
        }
        self.pass(frame)
    }
}

impl CopyMasker {
    /// Both rewriters have taken whole rows only, headers included.
    fn is_between_rows(&self) -> bool {
        self.client.is_between_rows() && self.record.is_between_rows()
    }

    fn finish(self) -> Result<(), End> {
        self.client.finish().map_err(End::target)?;
        self.record.finish().map_err(End::target)
    }
}
