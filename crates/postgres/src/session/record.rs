//! What a command's entry says: the statement and its bound values, masked for the record.

use std::borrow::Cow;
use std::hash::Hasher as _;
use std::sync::Arc;

use gate::{Draft, MAX_INLINE_TEXT};
use masking::{Receipt, Sink};
use postgres_grammar::{Analysis, Class};
use postgres_wire::Format;
use postgres_wire::frontend::{self, Message};
use postgres_wire::value::{self, Decoded};
use records::{Parameter, Text, Trace};

use super::columns::type_name;
use super::mask::{HIDDEN, Masker};
use super::names::{Portal, Prepared};
use super::protect::{Exposure, holds_password};
use super::queue::masked;
use super::{End, Kept, Machine, Spilling};
use crate::trace;

/// The media type of recorded answers: whole backend messages of protocol 3.
pub(crate) const MEDIA: &str = "postgres-backend";

/// How much of a text that is kept as objects stands in the entry too, in bytes.
const TEXT_BEGINNING: usize = 512;

/// A command's text and values, as the record may keep them.
pub(crate) struct Recorded<'a> {
    text: Cow<'a, [u8]>,
    text_bytes: usize,
    parameters: Vec<Parameter<'static>>,
    receipt: Receipt,
    /// What a comment in the text says of the run that it belongs to.
    trace: Option<Trace<'static>>,
}

impl<'a> Recorded<'a> {
    pub(crate) fn statement(
        masker: &Masker,
        sql: &'a [u8],
        analysis: &Analysis,
        exposure: Exposure,
    ) -> Self {
        let mut receipt = Receipt::new();
        let text = masker.statement(sql, analysis, exposure, &mut receipt);
        let trace = trace::of_statement(sql).map(|it| {
            it.masked(|text| {
                let kept = masker.text(Sink::Record, text.as_bytes(), &mut receipt);
                (*kept != *text.as_bytes()).then(|| String::from_utf8_lossy(&kept).into_owned())
            })
        });
        Recorded { text, text_bytes: sql.len(), parameters: Vec::new(), receipt, trace }
    }

    pub(crate) fn with_parameters(mut self, masker: &Masker, portal: &Portal) -> Self {
        let Some(statement) = &portal.statement else { return self };
        let hide = statement.exposure.hides_literals() || holds_password(&statement.analysis);
        // The body was read when the Bind was; it is the same bytes.
        let Ok(Message::Bind(bind)) = frontend::parse(b'B', &portal.bind) else { return self };
        self.parameters = bind
            .parameters
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let format = bind.parameter_formats.get(index).unwrap_or(Format::Text);
                let oid = statement.parameter_type(index);
                let value =
                    value.map(|v| parameter(masker, oid, format, v, hide, &mut self.receipt));
                Parameter { type_name: type_name(oid).into(), value }
            })
            .collect();
        self
    }

    fn parameters_size(&self) -> usize {
        let size = |p: &Parameter<'_>| p.value.as_ref().map_or(4, |v| v.display().len()) + 32;
        self.parameters.iter().map(size).sum()
    }
}

fn parameter(
    masker: &Masker,
    oid: u32,
    format: Format,
    bytes: &[u8],
    hide: bool,
    receipt: &mut Receipt,
) -> Text<'static> {
    if hide {
        receipt.by_column += 1;
        return HIDDEN.into();
    }
    match value::decode(oid, format, bytes) {
        Decoded::Text(text) => {
            let text = masker.text(Sink::Record, text.as_bytes(), receipt);
            String::from_utf8_lossy(&text).into_owned().into()
        }
        // A type that is not known here, in binary: nothing can be said of it but its bytes. If
        // they are text, they can be searched.
        Decoded::Hex(hex) => match std::str::from_utf8(bytes) {
            Ok(text) if *masker.text(Sink::Record, text.as_bytes(), receipt) != *bytes => {
                HIDDEN.into()
            }
            _ => Text::Bytes { hex: hex.into() },
        },
    }
}

impl Machine {
    /// Makes a command's draft and gives it to `submit`; or starts to keep what is too long for
    /// an entry, and gives `None`: the same frame is to be looked at again when that is done.
    pub(crate) fn draft<T>(
        &mut self,
        via: &'static str,
        recorded: Recorded<'_>,
        submit: impl FnOnce(&mut Self, Draft<'_>) -> Result<T, End>,
    ) -> Result<Option<T>, End> {
        let long_text = recorded.text.len() > MAX_INLINE_TEXT;
        let text_of = hash(&recorded.text);
        if long_text && self.text_objects.as_ref().is_none_or(|kept| kept.of != text_of) {
            self.spilling = Some(Spilling::Text(text_of, self.session.spill(&recorded.text)?));
            self.unpolled = true;
            return Ok(None);
        }
        let long_parameters = recorded.parameters_size() > MAX_INLINE_TEXT;
        if long_parameters {
            // Strings and numbers: writing them can't fail.
            let json = serde_json::to_vec(&recorded.parameters).unwrap_or_default();
            let of = hash(&json);
            if self.parameter_objects.as_ref().is_none_or(|kept| kept.of != of) {
                self.spilling = Some(Spilling::Parameters(of, self.session.spill(&json)?));
                self.unpolled = true;
                return Ok(None);
            }
        }
        let objects = |kept: Option<Kept>| kept.map(|kept| kept.objects).unwrap_or_default();
        let text_objects = if long_text { objects(self.text_objects.take()) } else { Vec::new() };
        let parameter_objects =
            if long_parameters { objects(self.parameter_objects.take()) } else { Vec::new() };
        let text = if long_text {
            recorded.text.get(..TEXT_BEGINNING).unwrap_or_default()
        } else {
            &recorded.text
        };
        let draft = Draft {
            via,
            text: Some(beginning(text)),
            text_bytes: recorded.text_bytes as u64,
            text_objects: &text_objects,
            parameters: if long_parameters { Vec::new() } else { recorded.parameters },
            parameter_objects: &parameter_objects,
            masked: masked(&recorded.receipt),
            media: MEDIA,
            trace: recorded.trace,
            ..Draft::default()
        };
        submit(self, draft).map(Some)
    }
}

/// Tells one long text from another while both wait; it guards nothing.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// A text, or its beginning: a character that was cut in two is left out.
fn beginning(bytes: &[u8]) -> Text<'_> {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => {
            Text::from_bytes(bytes.get(..error.valid_up_to()).unwrap_or_default())
        }
        _ => Text::from_bytes(bytes),
    }
}

/// What runs under a name that may mean any of these definitions: judged by all of them.
pub(crate) fn stranger(
    machine: &Machine,
    definitions: &[Arc<Analysis>],
    name: &[u8],
) -> Arc<Prepared> {
    let analyses: Vec<&Analysis> = definitions.iter().map(|analysis| &**analysis).collect();
    let judgement = machine.judge(&analyses);
    let exposure = machine.protection.unknown();
    let analysis = Analysis {
        statements: analyses.iter().flat_map(|analysis| analysis.statements.clone()).collect(),
        parse_error: analyses.iter().find_map(|analysis| analysis.parse_error.clone()),
        class: analyses.iter().map(|analysis| analysis.class).max().unwrap_or(Class::Unknown),
        literals: None,
    };
    Arc::new(Prepared::new(name, Arc::new(analysis), judgement, exposure, Vec::new()))
}
