//! Result columns, and what masking means for each.

use std::fmt;
use std::sync::OnceLock;

use masking::{ColumnRule, Receipt, Sink};
use postgres_wire::backend::RowDescription;
use postgres_wire::oid;
use postgres_wire::{Format, WriteError, write};
use records::{Column, Text};
use serde_json::value::RawValue;

use super::mask::Masker;

/// The columns of a result, as a RowDescription gave them.
pub(crate) struct Columns {
    pub(crate) list: Vec<ColumnInfo>,
    json: OnceLock<Option<Box<RawValue>>>,
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnInfo {
    pub(crate) label: Vec<u8>,
    /// The label for the record, where that is another.
    pub(crate) recorded: Option<Vec<u8>>,
    pub(crate) table_oid: u32,
    pub(crate) attribute: i16,
    pub(crate) type_oid: u32,
    pub(crate) format: Format,
}

impl ColumnInfo {
    fn for_record(&self) -> &[u8] {
        self.recorded.as_deref().unwrap_or(&self.label)
    }
}

impl Columns {
    /// Whether the record may show the RowDescription as it came.
    pub(crate) fn labels_are_plain(&self) -> bool {
        self.list.iter().all(|column| column.recorded.is_none())
    }

    /// `masker` says what the record may show of a label: anything can be a label.
    pub(crate) fn read(description: &RowDescription<'_>, masker: &Masker) -> Self {
        let recorded = |label: &[u8]| {
            let masked = masker.text(Sink::Record, label, &mut Receipt::new());
            (*masked != *label).then(|| masked.into_owned())
        };
        let list = description
            .columns()
            .map(|column| ColumnInfo {
                label: column.name.to_vec(),
                recorded: recorded(column.name),
                table_oid: column.table_oid,
                attribute: column.attribute,
                type_oid: column.type_oid,
                format: column.format,
            })
            .collect();
        Columns { list, json: OnceLock::new() }
    }

    /// Whether rows look the same; formats may differ, since each Bind names its own.
    pub(crate) fn same_as(&self, other: &Columns) -> bool {
        self.list.len() == other.list.len()
            && self.list.iter().zip(&other.list).all(|(a, b)| {
                (a.table_oid, a.attribute, a.type_oid) == (b.table_oid, b.attribute, b.type_oid)
                    && a.label == b.label
            })
    }

    /// The RowDescription, with the formats that rows are really sent in: a portal's are named by
    /// its Bind, not by the Describe of its statement. For the record.
    pub(crate) fn described(&self, plan: &Plan) -> Result<Vec<u8>, WriteError> {
        let mut out = Vec::with_capacity(64);
        write::message(&mut out, b'T', |out| {
            let count = u16::try_from(self.list.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&count.to_be_bytes());
            for (column, cell) in self.list.iter().zip(&plan.cells) {
                write::cstr(out, column.for_record(), "a column's label")?;
                out.extend_from_slice(&column.table_oid.to_be_bytes());
                out.extend_from_slice(&column.attribute.to_be_bytes());
                out.extend_from_slice(&column.type_oid.to_be_bytes());
                // Type length and modifier say nothing that a reader of the record needs.
                out.extend_from_slice(&[0xff; 6]);
                out.extend_from_slice(&cell.format.code().to_be_bytes());
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// The columns as records show them, written once.
    pub(crate) fn json(&self) -> Option<&RawValue> {
        let made = self.json.get_or_init(|| {
            let columns: Vec<Column<'_>> = self
                .list
                .iter()
                .map(|column| Column {
                    name: Text::from_bytes(column.for_record()),
                    type_name: type_name(column.type_oid).into(),
                })
                .collect();
            serde_json::value::to_raw_value(&columns).ok()
        });
        made.as_deref()
    }
}

/// A type's name for the record, or its OID.
pub(crate) fn type_name(oid: u32) -> String {
    match oid::name(oid) {
        Some(name) => name,
        None if oid == 0 => String::new(),
        None => format!("oid {oid}"),
    }
}

/// What to do with each cell of a row.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) cells: Vec<Cell>,
    /// Every cell passes as it is: rows need not be looked into.
    pub(crate) passes: bool,
}

/// What to do with one cell.
pub(crate) struct Cell {
    pub(crate) type_oid: u32,
    pub(crate) format: Format,
    pub(crate) treatment: Treatment,
}

/// What masking means for a column.
#[derive(Clone)]
pub(crate) enum Treatment {
    /// Can hold nothing that a rule speaks of.
    Pass,
    /// Its text is searched for entities.
    Scan,
    /// A column rule names it.
    Rule(std::sync::Arc<ColumnRule>),
    /// It comes from a protected table in a way that can't be followed: NULL.
    Hide,
}

impl Plan {
    pub(crate) fn new(cells: Vec<Cell>) -> Self {
        let passes = cells.iter().all(|cell| matches!(cell.treatment, Treatment::Pass));
        Plan { cells, passes }
    }
}

/// Whether a column of this type is searched for entities. Left out are the types that can hold
/// neither text nor enough digits for a card number.
pub(crate) fn is_searched(type_oid: u32) -> bool {
    const SHORT: [u32; 13] = [
        oid::BOOL,
        oid::INT2,
        oid::INT4,
        oid::OID,
        oid::FLOAT4,
        oid::DATE,
        oid::TIME,
        oid::TIMETZ,
        oid::TIMESTAMP,
        oid::TIMESTAMPTZ,
        oid::INTERVAL,
        oid::UUID,
        oid::CHAR,
    ];
    !SHORT.contains(&type_oid)
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let treatment = match &self.treatment {
            Treatment::Pass => "pass",
            Treatment::Scan => "scan",
            Treatment::Rule(rule) => rule.name(),
            Treatment::Hide => "hide",
        };
        write!(f, "{} {:?} {treatment}", self.type_oid, self.format)
    }
}
