//! A checked configuration, ready to mask.

use crate::column::{self, ColumnName, ColumnRule};
use crate::compile;
use crate::config::{Config, OnUnmaskable, Problem};
use crate::custom::Recognizer;
use crate::detect::{Engine, Finding, Wanted};
use crate::entity::{Entity, SLOTS};
use crate::operator::{self, Applied, Operator};
use crate::path::{JsonPath, PathRule};
use crate::receipt::Receipt;
use crate::stream::StreamMasker;
use std::ops::Range;
use std::sync::Arc;

/// Longest finding an operator is applied to, in bytes. A longer one (only
/// keys and tokens can be) is replaced by `<ENTITY>` whatever the operator
/// (`redact` removes it): a stream must not hold it.
pub const MAX_OPERAND: usize = 4096;

/// Who will see the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sink {
    /// The client that asked.
    Client,
    /// The audit record.
    Record,
}

/// What [`Policy::mask_text`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to mask; `out` was not touched: forward the value where it lies.
    Same,
    /// The masked text was appended to `out`.
    Replaced,
}

/// What a rule says about one entity.
#[derive(Debug)]
pub(crate) struct EntityRule {
    pub(crate) threshold: f32,
    pub(crate) client: Operator,
    pub(crate) record: Operator,
}

impl EntityRule {
    fn operator(&self, sink: Sink) -> &Operator {
        match sink {
            Sink::Client => &self.client,
            Sink::Record => &self.record,
        }
    }
}

/// A checked, immutable configuration. Put it in an [`Arc`] and share it.
#[derive(Debug)]
pub struct Policy {
    pub(crate) on_unmaskable: OnUnmaskable,
    /// By entity slot, in rule order.
    pub(crate) by_entity: Vec<Vec<EntityRule>>,
    pub(crate) columns: Vec<ColumnRule>,
    pub(crate) path_rules: Vec<PathRule>,
    /// Each path with the place of its rule in `path_rules`.
    pub(crate) paths: Vec<(usize, JsonPath)>,
    pub(crate) recognizers: Vec<Recognizer>,
    pub(crate) wanted_client: Wanted,
    pub(crate) wanted_record: Wanted,
    pub(crate) wanted_any: Wanted,
    pub(crate) digest: [u8; 32],
    pub(crate) engine: Engine,
}

impl Policy {
    /// Checks a configuration. `key` is the secret for `hash` and
    /// `pseudonymize` (at least [`MIN_KEY_BYTES`](crate::MIN_KEY_BYTES));
    /// without it a rule that needs one is refused.
    ///
    /// # Errors
    /// All problems found, each with its path: the operator's to mend.
    pub fn compile(config: &Config, key: Option<&[u8]>) -> Result<Policy, Vec<Problem>> {
        compile::compile(config, key)
    }

    /// A policy that masks nothing.
    #[must_use]
    pub fn empty() -> Policy {
        compile::empty()
    }

    /// Finds and masks the sensitive parts of ONE complete text value (a
    /// cell, a message field). `out` is appended to only when something was
    /// masked. Counts `scanned`, `masked` and the entities in `receipt`.
    pub fn mask_text(
        &self,
        sink: Sink,
        value: &[u8],
        out: &mut Vec<u8>,
        receipt: &mut Receipt,
    ) -> Outcome {
        receipt.scanned += 1;
        let wanted = self.wanted(sink);
        if wanted.is_empty() || (harmless(value) && !wanted.custom) {
            return Outcome::Same;
        }
        let findings = self.find(value, wanted);
        if findings.is_empty() {
            return Outcome::Same;
        }
        let mut done = 0;
        out.reserve(value.len());
        for f in &findings {
            out.extend_from_slice(value.get(done..f.start).unwrap_or_default());
            self.put(sink, f.entity, f.score, value.get(f.start..f.end).unwrap_or_default(), out);
            receipt.add(f.entity);
            done = f.end;
        }
        out.extend_from_slice(value.get(done..).unwrap_or_default());
        receipt.masked += 1;
        Outcome::Replaced
    }

    /// Whether a value with this name beside it has to be looked at at all, for any of those who
    /// will see it: most have not, which is told quickly.
    #[must_use]
    pub fn may_mask(
        &self,
        sinks: impl IntoIterator<Item = Sink>,
        name: &[u8],
        value: &[u8],
    ) -> bool {
        let (mut any, mut custom) = (false, false);
        for wanted in sinks.into_iter().map(|sink| self.wanted(sink)) {
            any |= !wanted.is_empty();
            custom |= wanted.custom;
        }
        any && (custom || !harmless_beside(value) || is_password(name))
    }

    /// As [`mask_text`](Self::mask_text) of the value that is `text[part]`;
    /// what stands around it only says what the value is (`"password": "…"`).
    pub fn mask_part(
        &self,
        sink: Sink,
        text: &[u8],
        part: Range<usize>,
        out: &mut Vec<u8>,
        receipt: &mut Receipt,
    ) -> Outcome {
        receipt.scanned += 1;
        let value = text.get(part.clone()).unwrap_or_default();
        let findings = self.find(text, self.wanted(sink));
        let mut done = part.start;
        for f in findings.iter().filter(|f| f.end > part.start && f.start < part.end) {
            let (start, end) = (f.start.max(part.start), f.end.min(part.end));
            if done == part.start {
                out.reserve(value.len());
            }
            out.extend_from_slice(text.get(done..start).unwrap_or_default());
            self.put(sink, f.entity, f.score, text.get(start..end).unwrap_or_default(), out);
            receipt.add(f.entity);
            done = end;
        }
        if done == part.start {
            return Outcome::Same;
        }
        out.extend_from_slice(text.get(done..part.end).unwrap_or_default());
        receipt.masked += 1;
        Outcome::Replaced
    }

    /// Masks a value with its name: what is found is what would be found in
    /// `"name": "value"`, and what the name alone says is a password is one as a
    /// whole, whatever it is made of. `room` is for reuse.
    pub fn mask_named(
        &self,
        sink: Sink,
        (name, value): (&[u8], &[u8]),
        room: &mut Vec<u8>,
        out: &mut Vec<u8>,
        receipt: &mut Receipt,
    ) -> Outcome {
        if name.is_empty() {
            return self.mask_text(sink, value, out, receipt);
        }
        room.clear();
        room.push(b'"');
        room.extend_from_slice(name);
        room.extend_from_slice(b"\": \"");
        let start = room.len();
        let odd = |b: &u8| matches!(b, b'"' | b'\\' | b'\n');
        if is_password(name) && value.iter().any(odd) {
            // In the value these would end it for the detector.
            room.extend(value.iter().map(|b| if odd(b) { b'x' } else { *b }));
            room.push(b'"');
            let found = self.find(room, self.wanted(sink));
            let whole = found.iter().find(|f| f.entity == Entity::AuthSecret && f.start == start);
            if let Some(f) = whole {
                self.put(sink, f.entity, f.score, value, out);
                receipt.scanned += 1;
                receipt.masked += 1;
                receipt.add(f.entity);
                return Outcome::Replaced;
            }
            room.truncate(start);
        }
        room.extend_from_slice(value);
        let end = room.len();
        room.push(b'"');
        self.mask_part(sink, room, start..end, out, receipt)
    }

    /// Masks a value that carries another one in some encoding (base64, percent
    /// signs): if anything is found in `decoded`, all of `value` is masked, with
    /// the operator for what was found first (`mask` overwrites all of it,
    /// however many characters the rule says).
    pub fn mask_encoded(
        &self,
        sink: Sink,
        decoded: &[u8],
        value: &[u8],
        out: &mut Vec<u8>,
        receipt: &mut Receipt,
    ) -> Outcome {
        let wanted = self.wanted(sink);
        if wanted.is_empty() || (harmless(decoded) && !wanted.custom) {
            return Outcome::Same;
        }
        let findings = self.find(decoded, wanted);
        let Some(first) = findings.first() else { return Outcome::Same };
        match self.operator_for(sink, first.entity, first.score) {
            Some(Operator::Mask { masking_char, .. }) => {
                let all = usize::MAX;
                let whole = Operator::Mask {
                    masking_char: *masking_char,
                    chars_to_mask: all,
                    from_end: false,
                };
                whole.apply(value, out);
            }
            _ => self.put(sink, first.entity, first.score, value, out),
        }
        for f in &findings {
            receipt.add(f.entity);
        }
        receipt.masked += 1;
        Outcome::Replaced
    }

    /// What would be found in a text, in order and without overlaps: the
    /// entities named by any rule, with at least that rule's score. Offsets
    /// are bytes.
    pub fn analyze(&self, text: &[u8]) -> std::vec::IntoIter<Finding> {
        self.find(text, &self.wanted_any).into_iter()
    }

    /// Appends the masked form of one finding.
    pub(crate) fn put(
        &self,
        sink: Sink,
        entity: Entity,
        score: f32,
        value: &[u8],
        out: &mut Vec<u8>,
    ) {
        let name = self.entity_name(entity);
        match self.operator_for(sink, entity, score) {
            Some(Operator::Redact) => {}
            Some(op) if value.len() <= MAX_OPERAND => {
                // `null` is refused for entity rules when compiled.
                let (Applied::Text | Applied::Null) = op.apply_as(name, value, out);
            }
            _ => operator::placeholder(name, out),
        }
    }

    /// The operator for a finding.
    pub(crate) fn operator_for(&self, sink: Sink, entity: Entity, score: f32) -> Option<&Operator> {
        let rules = self.by_entity.get(entity.slot())?;
        rules.iter().find(|r| score >= r.threshold).map(|r| r.operator(sink))
    }

    /// Findings of the wanted entities, ordered, without overlaps.
    fn find(&self, text: &[u8], wanted: &Wanted) -> Vec<Finding> {
        self.engine.find(text, wanted, &self.recognizers)
    }

    pub(crate) fn wanted(&self, sink: Sink) -> &Wanted {
        match sink {
            Sink::Client => &self.wanted_client,
            Sink::Record => &self.wanted_record,
        }
    }

    /// The first rule that names this column.
    #[must_use]
    pub fn column_rule(&self, name: ColumnName<'_>) -> Option<&ColumnRule> {
        column::find(&self.columns, &name)
    }

    /// Whether there is any column rule.
    #[must_use]
    pub fn has_column_rules(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Whether a column rule names any column of this table; `None` means any.
    #[must_use]
    pub fn protects_table(&self, schema: Option<&str>, table: Option<&str>) -> bool {
        self.columns.iter().flat_map(|r| &r.columns).any(|c| c.matches_table(schema, table))
    }

    /// Whether text on its way to `sink` is searched for entities at all.
    #[must_use]
    pub fn scans(&self, sink: Sink) -> bool {
        !self.wanted(sink).is_empty()
    }

    /// What to do with a protected value whose type cannot be masked.
    #[must_use]
    pub fn on_unmaskable(&self) -> OnUnmaskable {
        self.on_unmaskable
    }

    /// Masks a whole number (the decimal text of an int8 or numeric) if it is
    /// a card number: the answer has as many digits, no leading zero, fits
    /// int8 and fails the Luhn test. A sign and a fraction stay as they are.
    /// `None` when it is no card or the rule keeps it.
    pub fn mask_digits(&self, sink: Sink, decimal: &str, receipt: &mut Receipt) -> Option<String> {
        receipt.scanned += 1;
        let wanted = self.wanted(sink);
        if !wanted.has(Entity::CreditCard) {
            return None;
        }
        let (sign, rest) = match decimal.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None => ("", decimal),
        };
        let (whole, fraction) = match rest.find('.') {
            Some(dot) => rest.split_at_checked(dot)?,
            None => (rest, ""),
        };
        let f = self
            .engine
            .find(whole.as_bytes(), wanted, &self.recognizers)
            .into_iter()
            .find(|f| f.entity == Entity::CreditCard && f.start == 0 && f.end == whole.len())?;
        let op = self.operator_for(sink, Entity::CreditCard, f.score)?;
        let made = operator::mask_decimal(op, whole)?;
        receipt.masked += 1;
        receipt.add(Entity::CreditCard);
        Some(format!("{sign}{made}{fraction}"))
    }

    /// Whether some value that the client sees as it is must not be kept as it is. If not, what
    /// came out unchanged for the client need not be searched again for the record.
    #[must_use]
    pub fn record_hides_more(&self) -> bool {
        let more = |client: &Operator, record: &Operator| client.is_keep() && !record.is_keep();
        self.by_entity.iter().flatten().any(|rule| more(&rule.client, &rule.record))
            || self.columns.iter().any(|rule| more(&rule.client, &rule.record))
            || self.path_rules.iter().any(|rule| more(&rule.client, &rule.record))
    }

    /// Whether client and record are to be given the same, whatever the text:
    /// every rule for content and paths has one operator for both.
    #[must_use]
    pub fn sinks_agree(&self) -> bool {
        self.by_entity.iter().flatten().all(|rule| rule.client.is_as(&rule.record))
            && self.path_rules.iter().all(|rule| rule.client.is_as(&rule.record))
    }

    /// Whether there is any path rule.
    #[must_use]
    pub fn has_path_rules(&self) -> bool {
        !self.path_rules.is_empty()
    }

    /// Whether a path rule changes something on its way to `sink`.
    #[must_use]
    pub fn paths_mask(&self, sink: Sink) -> bool {
        self.path_rules.iter().any(|rule| !rule.operator(sink).is_keep())
    }

    /// A path rule by its place, as [`PathWalk`](crate::PathWalk) answers it.
    #[must_use]
    pub fn path_rule(&self, index: usize) -> Option<&PathRule> {
        self.path_rules.get(index)
    }

    /// A masker for text that arrives in pieces.
    #[must_use]
    pub fn stream(self: &Arc<Self>, sink: Sink) -> StreamMasker {
        StreamMasker::new(Arc::clone(self), sink)
    }

    /// SHA-256 of the canonical configuration (without any key): what the
    /// record names as the policy in force.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// An entity's name; the configured one for a custom recognizer.
    #[must_use]
    pub fn entity_name(&self, entity: Entity) -> &str {
        match entity {
            Entity::Custom(n) => {
                self.recognizers.get(usize::from(n)).map_or("CUSTOM", |r| r.name.as_str())
            }
            e => e.name(),
        }
    }

    /// What the rules ask of the scanner for these sinks.
    pub(crate) fn wanted_of(by_entity: &[Vec<EntityRule>], sinks: &[Sink]) -> Wanted {
        let mut w = Wanted::nothing();
        for slot in 0..SLOTS {
            let Some(entity) = Entity::from_slot(slot) else { continue };
            let Some(rules) = by_entity.get(slot) else { continue };
            // The first rule a score reaches decides: a `keep` above shields
            // higher scores from what stands below.
            let least = rules
                .iter()
                .filter(|r| sinks.iter().any(|s| !r.operator(*s).is_keep()))
                .map(|r| r.threshold)
                .fold(f32::INFINITY, f32::min);
            if least.is_finite() {
                w.want(entity, least);
            }
        }
        w
    }
}

/// Longest value [`harmless`] looks at, in bytes.
const MAX_PLAIN: usize = 256;

/// Whether a value plainly holds no built-in entity: most cells of most tables,
/// told without the scanner's fixed cost. What is not plain is scanned.
fn harmless(value: &[u8]) -> bool {
    if value.len() > MAX_PLAIN {
        return false;
    }
    // Every entity holds one of these, or 16 word characters in a row. No
    // early exit: this way the compiler makes vector code of it.
    let hot = value.iter().fold(0u8, |hot, b| {
        let digit_or_colon = u8::from(b.wrapping_sub(b'0') <= 10);
        hot | digit_or_colon | u8::from(matches!(*b, b'@' | b'-' | b'_' | b'=' | b'\''))
    });
    if hot != 0 { is_plain_number(value) || is_timestamp(value) } else { !has_long_word(value) }
}

/// As [`harmless`], for a value with a name beside it: of digits in a row only
/// so few as are no telephone number are plain.
fn harmless_beside(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    match digits {
        [] => true,
        [first, ..] if first.is_ascii_digit() => {
            let short = digits.len() < MIN_NAMED_DIGITS && digits.iter().all(u8::is_ascii_digit);
            short || is_timestamp(value) || (digits.contains(&b'.') && is_plain_number(value))
        }
        _ => harmless(value),
    }
}

/// Fewest digits that a name beside them can make an entity of.
const MIN_NAMED_DIGITS: usize = 6;

/// Whether a name may say that whatever is behind it is a password; see `detect::auth`.
fn is_password(name: &[u8]) -> bool {
    name.windows(5).any(|w| w.eq_ignore_ascii_case(b"passw"))
}

/// A whole number with fewer digits than a card, or a decimal fraction. Other
/// plain digits are an entity only beside a word.
fn is_plain_number(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let mut dots = 0;
    for b in digits {
        if *b == b'.' {
            dots += 1;
        } else if !b.is_ascii_digit() {
            return false;
        }
    }
    // A dot at an end may be a sentence's, around a card.
    let inside = dots == 1 && digits.first() != Some(&b'.') && digits.last() != Some(&b'.');
    inside || (dots == 0 && digits.len() < *crate::luhn::CARD_DIGITS.start())
}

/// `2024-05-06 07:08:09.123456+00`, as PostgreSQL and RFC 3339 write it.
fn is_timestamp(value: &[u8]) -> bool {
    let Some((date, rest)) = value.split_at_checked(19) else { return false };
    let shaped = date.iter().enumerate().all(|(i, b)| match i {
        4 | 7 => *b == b'-',
        10 => matches!(b, b' ' | b'T'),
        13 | 16 => *b == b':',
        _ => b.is_ascii_digit(),
    });
    let century = matches!(date, [b'1', b'9', ..] | [b'2', b'0', ..]);
    shaped && century && is_zone(rest)
}

/// A fraction of a second, then a time zone; both may be missing.
fn is_zone(mut rest: &[u8]) -> bool {
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take(10).take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits == 10 {
            return false;
        }
        rest = fraction.get(digits..).unwrap_or_default();
    }
    match rest {
        [] | [b'Z'] => true,
        [b'+' | b'-', a, b] | [b'+' | b'-', a, b, b':', _, _] => {
            let minutes = rest.get(4..).unwrap_or_default();
            [a, b].into_iter().chain(minutes).all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

/// Whether there are 16 letters in a row; of a value without digits.
fn has_long_word(value: &[u8]) -> bool {
    let letters = |part: &mut dyn Iterator<Item = &u8>| {
        part.take(16).take_while(|b| b.is_ascii_alphabetic()).count()
    };
    // A run of 16 covers the last byte of some group of 16.
    (15..value.len()).step_by(16).filter_map(|i| value.split_at_checked(i)).any(|(before, from)| {
        let behind = letters(&mut from.iter());
        behind > 0 && behind + letters(&mut before.iter().rev()) >= 16
    })
}
