//! `numeric`: base-10,000 digits (the server's `numeric_send`).

use crate::read::Reader;

/// Most digits before the decimal point (the server's limit).
const MAX_WHOLE: usize = 131_072;
/// Most digits behind it.
const MAX_SCALE: usize = 16_383;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

/// Appends the text of a binary `numeric`.
pub(super) fn decode(bytes: &[u8], out: &mut String) -> Option<()> {
    use std::fmt::Write as _;
    let mut r = Reader::new("numeric", bytes);
    let count = r.u16("").ok()?;
    let weight = i32::from(r.i16("").ok()?);
    let sign = r.u16("").ok()?;
    let scale = usize::from(r.u16("").ok()?);
    let raw = r.take(usize::from(count) * 2, "").ok()?;
    r.finish().ok()?;
    let digits: &[[u8; 2]] = raw.as_chunks().0;
    match sign {
        NAN => out.push_str("NaN"),
        INFINITY => out.push_str("Infinity"),
        NEGATIVE_INFINITY => out.push_str("-Infinity"),
        0 | NEGATIVE => {}
        _ => return None,
    }
    if sign > NEGATIVE {
        return Some(());
    }
    if digits.iter().any(|d| u16::from_be_bytes(*d) > 9_999) || scale > MAX_SCALE {
        return None;
    }
    // The group of four digits with this weight.
    let group = |weight_of: i32| -> u16 {
        let at = usize::try_from(weight - weight_of).ok();
        at.and_then(|i| digits.get(i)).map_or(0, |d| u16::from_be_bytes(*d))
    };
    let start = out.len();
    if weight < 0 {
        out.push('0');
    } else {
        // Groups of zeros in front are not shown, as the server does not.
        let top = (1..=weight).rev().find(|w| group(*w) != 0).unwrap_or(0);
        write!(out, "{}", group(top)).ok()?;
        for w in (0..top).rev() {
            write!(out, "{:04}", group(w)).ok()?;
        }
    }
    if scale > 0 {
        out.push('.');
        let end = out.len() + scale;
        let mut w = -1;
        while out.len() < end {
            write!(out, "{:04}", group(w)).ok()?;
            w -= 1;
        }
        out.truncate(end);
    }
    // There is no negative zero.
    if sign == NEGATIVE && out.bytes().skip(start).any(|b| matches!(b, b'1'..=b'9')) {
        out.insert(start, '-');
    }
    Some(())
}

/// Appends the binary form of a decimal number; no exponent.
pub(super) fn encode(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let special = match text {
        "NaN" => Some(NAN),
        "Infinity" => Some(INFINITY),
        "-Infinity" => Some(NEGATIVE_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        [0, 0, sign, 0].iter().for_each(|n: &u16| out.extend_from_slice(&n.to_be_bytes()));
        return Some(());
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (NEGATIVE, rest),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > MAX_WHOLE || fraction.len() > MAX_SCALE {
        return None;
    }
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    // Groups of four, counted from the decimal point both ways.
    let lead = (4 - whole.len() % 4) % 4;
    let padded = std::iter::repeat_n(b'0', lead).chain(whole.bytes()).chain(fraction.bytes());
    let mut groups: Vec<u16> = Vec::new();
    for (i, digit) in padded.enumerate() {
        let place = [1000, 100, 10, 1].get(i % 4).copied().unwrap_or(1);
        if i % 4 == 0 {
            groups.push(0);
        }
        let last = groups.last_mut()?;
        *last += u16::from(digit - b'0') * place;
    }
    let mut weight = i32::try_from((lead + whole.len()) / 4).ok()? - 1;
    let zeros = groups.iter().take_while(|g| **g == 0).count();
    groups.drain(..zeros);
    weight -= i32::try_from(zeros).ok()?;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let (sign, weight) = if groups.is_empty() { (0, 0) } else { (sign, weight) };
    out.extend_from_slice(&u16::try_from(groups.len()).ok()?.to_be_bytes());
    out.extend_from_slice(&i16::try_from(weight).ok()?.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&u16::try_from(fraction.len()).ok()?.to_be_bytes());
    groups.iter().for_each(|g| out.extend_from_slice(&g.to_be_bytes()));
    Some(())
}
