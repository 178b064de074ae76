//! Names and values of a document, masked.

use super::Walker;
use super::token::{Cursor, Name};
use crate::escape::{JsonText, Writing, decode};
use crate::eyes::Outs;
use crate::nested;
use masking::{Applied, Outcome, Policy, Receipt, Sink};

/// Most of an array's name that is kept to say what its elements are, in bytes.
const MAX_CONTEXT: usize = 48;

/// Room for what is decoded.
#[derive(Default)]
pub(super) struct Scratch {
    name: Vec<u8>,
    value: Vec<u8>,
    text: Vec<u8>,
    masked: Vec<u8>,
}

impl Scratch {
    pub(super) fn decoded_name<'a>(&'a mut self, raw: &'a [u8], escapes: bool) -> &'a [u8] {
        if !escapes {
            return raw;
        }
        self.name.clear();
        decode::<JsonText>(raw, &mut self.name);
        &self.name
    }
}

/// What says what a value is.
pub(super) struct Named {
    /// The path rule for it.
    pub(super) rule: Option<usize>,
    name: Option<Name>,
}

impl Named {
    /// The text of a member that ends at the cursor; none if it has no name, or if what becomes of
    /// it depends on where it stands.
    fn member<'b>(&self, cursor: &Cursor<'b>) -> Option<&'b [u8]> {
        let name = self.name.filter(|_| self.rule.is_none())?;
        Some(cursor.slice(name.start - 1, cursor.at))
    }
}

impl Walker {
    pub(super) fn named(&mut self, name: Option<Name>, cursor: &Cursor<'_>) -> Named {
        Named { rule: self.rule_for(name, cursor), name }
    }

    /// Keeps the name of an array that opens; one inside another has the same.
    pub(super) fn keep_name(&mut self, name: Option<Name>, cursor: &Cursor<'_>) {
        if let Some(name) = name {
            let raw = cursor.slice(name.start, name.end);
            let text = self.leaf.decoded_name(raw, name.escapes);
            let from = text.len().saturating_sub(MAX_CONTEXT);
            self.names.extend_from_slice(text.get(from..).unwrap_or_default());
        } else if let Some(outer) = self.stack.last().filter(|f| f.array) {
            self.names.extend_from_within(outer.name..);
        }
    }

    /// Masks a member that ends at the cursor, its name first; `mask` does it to the value, and
    /// says whether it changed it. One that was found clean before is not searched again.
    pub(super) fn masked_once(
        &mut self,
        named: &Named,
        cursor: &mut Cursor<'_>,
        outs: &mut Outs<'_>,
        mask: impl FnOnce(&mut Self, &mut Cursor<'_>, &mut Outs<'_>) -> bool,
    ) {
        let member = named.member(cursor);
        if member.is_some_and(|text| self.clean.has(text)) {
            self.counts.client.scanned += 1;
            self.counts.record.scanned += 1;
            return;
        }
        let name_changed = named.name.is_some_and(|name| self.mask_name(name, cursor, outs));
        let changed = mask(self, cursor, outs);
        if let (false, false, Some(text)) = (name_changed, changed, member) {
            self.clean.add(text);
        }
    }

    /// Masks a name. False: there is nothing in it.
    pub(super) fn mask_name(
        &mut self,
        name: Name,
        cursor: &mut Cursor<'_>,
        outs: &mut Outs<'_>,
    ) -> bool {
        let quoted = cursor.slice(name.start - 1, name.end + 1);
        if self.clean.has(quoted) {
            return false;
        }
        let raw = cursor.slice(name.start, name.end);
        let policy = &self.eyes.policy;
        let text = self.leaf.decoded_name(raw, name.escapes);
        let found = |sink| {
            let mut out = Vec::new();
            policy.mask_text(sink, text, &mut out, &mut Receipt::new()) == Outcome::Replaced
        };
        if !self.eyes.lanes().any(found) {
            self.clean.add(quoted);
            return false;
        }
        let buffer = cursor.buffer;
        cursor.flush(name.start, outs);
        let raw = buffer.get(name.start..name.end).unwrap_or_default();
        self.eyes.each(raw, outs, &mut self.counts, |sink, out, receipt| {
            let mut made = Vec::new();
            let done = policy.mask_text(sink, text, &mut made, receipt) == Outcome::Replaced;
            if done {
                JsonText::write(&made, out);
            }
            done
        });
        cursor.flushed = name.end;
        true
    }

    /// Masks a string. False: there is nothing in it.
    pub(super) fn mask_string(
        &mut self,
        named: &Named,
        (start, end, escapes): (usize, usize, bool),
        cursor: &mut Cursor<'_>,
        outs: &mut Outs<'_>,
    ) -> bool {
        let buffer = cursor.buffer;
        let raw = buffer.get(start..end).unwrap_or_default();
        let Scratch { name: name_room, value: value_room, text, masked } = &mut self.leaf;
        let value: &[u8] = if escapes {
            value_room.clear();
            decode::<JsonText>(raw, value_room);
            value_room
        } else {
            raw
        };
        let name: &[u8] = match (named.name, self.stack.last()) {
            (Some(name), _) => {
                let raw = buffer.get(name.start..name.end).unwrap_or_default();
                if name.escapes {
                    name_room.clear();
                    decode::<JsonText>(raw, name_room);
                    name_room
                } else {
                    raw
                }
            }
            (None, Some(frame)) if frame.array => self.names.get(frame.name..).unwrap_or_default(),
            _ => b"",
        };
        let policy: &Policy = &self.eyes.policy;
        let looks = || policy.may_mask(self.eyes.lanes(), name, value) || nested::may_hold(value);
        if named.rule.is_none() && !looks() {
            self.counts.client.scanned += 1;
            self.counts.record.scanned += 1;
            return false;
        }
        cursor.flush(start - 1, outs);
        cursor.flushed = end + 1;
        let whole = buffer.get(start - 1..=end).unwrap_or_default();
        let rule = named.rule.and_then(|n| policy.path_rule(n));
        let mut changed = false;
        self.eyes.each(whole, outs, &mut self.counts, |sink, out, receipt| {
            if let Some(rule) = rule {
                return by_rule(rule.operator(sink), value, out, receipt);
            }
            masked.clear();
            if !mask_value(policy, sink, (name, value), text, masked, receipt) {
                return false;
            }
            changed = true;
            out.push(b'"');
            JsonText::write(masked, out);
            out.push(b'"');
            true
        });
        changed
    }

    /// A card's number becomes another number of as many digits; any other
    /// value in a number, the string of its mask. False: there is nothing in it.
    pub(super) fn mask_number(
        &mut self,
        named: &Named,
        start: usize,
        cursor: &mut Cursor<'_>,
        outs: &mut Outs<'_>,
    ) -> bool {
        let buffer = cursor.buffer;
        let raw = buffer.get(start..cursor.at).unwrap_or_default();
        let Scratch { name: name_room, value: value_room, text, masked } = &mut self.leaf;
        let name: &[u8] = match (named.name, self.stack.last()) {
            (Some(name), _) => {
                let raw = buffer.get(name.start..name.end).unwrap_or_default();
                name_room.clear();
                decode::<JsonText>(raw, name_room);
                name_room
            }
            (None, Some(frame)) if frame.array => self.names.get(frame.name..).unwrap_or_default(),
            _ => b"",
        };
        value_room.clear();
        if !spelled_out(raw, value_room) {
            value_room.extend_from_slice(raw);
        }
        let value: &[u8] = value_room;
        let policy: &Policy = &self.eyes.policy;
        if named.rule.is_none() && !policy.may_mask(self.eyes.lanes(), name, value) {
            return false;
        }
        cursor.flush(start, outs);
        cursor.flushed = cursor.at;
        let rule = named.rule.and_then(|n| policy.path_rule(n));
        let mut changed = false;
        self.eyes.each(raw, outs, &mut self.counts, |sink, out, receipt| {
            if let Some(rule) = rule {
                return by_rule(rule.operator(sink), raw, out, receipt);
            }
            let digits = std::str::from_utf8(value).unwrap_or_default();
            if let Some(made) = policy.mask_digits(sink, digits, receipt) {
                changed = true;
                out.extend_from_slice(made.as_bytes());
                return true;
            }
            masked.clear();
            if policy.mask_named(sink, (name, value), text, masked, receipt) == Outcome::Same {
                return false;
            }
            changed = true;
            out.push(b'"');
            JsonText::write(masked, out);
            out.push(b'"');
            true
        });
        changed
    }

    /// `true` and `false` hold nothing but what a path rule says; `null` nothing at all.
    pub(super) fn mask_literal(
        &mut self,
        named: &Named,
        start: usize,
        cursor: &mut Cursor<'_>,
        outs: &mut Outs<'_>,
    ) {
        let Some(rule) = named.rule.and_then(|n| self.eyes.policy.path_rule(n)) else { return };
        let buffer = cursor.buffer;
        let raw = buffer.get(start..cursor.at).unwrap_or_default();
        if raw == b"null" {
            return;
        }
        cursor.flush(start, outs);
        cursor.flushed = cursor.at;
        self.eyes.each(raw, outs, &mut self.counts, |sink, out, receipt| {
            by_rule(rule.operator(sink), raw, out, receipt)
        });
    }
}

/// What a path rule makes of a value.
fn by_rule(
    operator: &masking::Operator,
    value: &[u8],
    out: &mut Vec<u8>,
    receipt: &mut Receipt,
) -> bool {
    if operator.is_keep() {
        return false;
    }
    receipt.scanned += 1;
    receipt.by_column += 1;
    let mut made = Vec::new();
    match operator.apply(value, &mut made) {
        Applied::Text => {
            receipt.masked += 1;
            out.push(b'"');
            JsonText::write(&made, out);
            out.push(b'"');
        }
        Applied::Null => {
            receipt.nulled += 1;
            out.extend_from_slice(b"null");
        }
    }
    true
}

/// Masks a string: what is in it, then what is encoded in it.
pub(crate) fn mask_value(
    policy: &Policy,
    sink: Sink,
    named: (&[u8], &[u8]),
    text: &mut Vec<u8>,
    masked: &mut Vec<u8>,
    receipt: &mut Receipt,
) -> bool {
    if policy.mask_named(sink, named, text, masked, receipt) == Outcome::Same {
        return nested::mask(policy, sink, named.1, masked, receipt);
    }
    let mut whole = Vec::new();
    if nested::mask(policy, sink, masked, &mut whole, receipt) {
        *masked = whole;
    }
    true
}

/// Longest number that is written out, in digits.
const MAX_DIGITS: usize = 24;

/// `4.2e3` as `4200`: a card can be written so. False if it is no such number.
fn spelled_out(raw: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(e) = raw.iter().position(|b| matches!(b, b'e' | b'E')) else { return false };
    let (mantissa, exponent) = raw.split_at(e);
    let exponent = exponent.get(1..).map(|x| x.strip_prefix(b"+").unwrap_or(x));
    let exponent = exponent.and_then(|x| std::str::from_utf8(x).ok()?.parse::<usize>().ok());
    let Some(exponent) = exponent.filter(|e| *e <= MAX_DIGITS) else { return false };
    let dot = mantissa.iter().position(|b| *b == b'.').unwrap_or(mantissa.len());
    let fraction = mantissa.get(dot + 1..).unwrap_or_default();
    if mantissa.len() > 2 * MAX_DIGITS {
        return false;
    }
    out.extend_from_slice(mantissa.get(..dot).unwrap_or_default());
    out.extend((0..exponent).map(|i| fraction.get(i).copied().unwrap_or(b'0')));
    true
}
