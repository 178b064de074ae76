//! Types whose JSON is not that of their fields: times, durations, quantities.

use std::fmt::Write as _;

use super::ProtobufError;
use super::wire::{Wire, flat, number, text};

/// Seconds from 1970 to the year 1, where Go's time begins: its zero, which JSON has `null` for.
const YEAR_1: i64 = -62_135_596_800;
/// The last second of the year 9999: RFC 3339 has no later one.
const LAST_SECOND: i64 = 253_402_300_799;
const SECONDS_A_DAY: i64 = 86_400;
/// Longest text of a quantity, bytes. Kubernetes prints at most some twenty, but reads more.
const MAX_QUANTITY_BYTES: usize = 64;
/// What may stand behind a quantity's digits, but for an exponent (`resource.Quantity`).
const SUFFIXES: [&str; 16] =
    ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// `metav1.Time` as Go prints it, or `None` for no time. The API server drops what is less than a
/// second, so that it must be nothing.
pub(super) fn time(bytes: &[u8]) -> Result<Option<String>, ProtobufError> {
    match timestamp(bytes)? {
        Some((_, nanos)) if nanos != 0 => Err(ProtobufError::Time),
        Some((seconds, _)) => Ok(Some(format!("{}Z", date_and_time(seconds)))),
        None => Ok(None),
    }
}

/// `metav1.MicroTime`, which has six digits behind the second, no more and no fewer.
pub(super) fn micro_time(bytes: &[u8]) -> Result<Option<String>, ProtobufError> {
    match timestamp(bytes)? {
        Some((_, nanos)) if nanos % 1000 != 0 => Err(ProtobufError::Time),
        Some((seconds, nanos)) => {
            Ok(Some(format!("{}.{:06}Z", date_and_time(seconds), nanos / 1000)))
        }
        None => Ok(None),
    }
}

/// Seconds since 1970 and nanoseconds in them; `None` for Go's zero, which is sent as nothing.
fn timestamp(bytes: &[u8]) -> Result<Option<(i64, u64)>, ProtobufError> {
    let [seconds, nanos] = flat("meta/v1.Timestamp", bytes, [Wire::Varint; 2])?;
    let (seconds, nanos) = (number(seconds).cast_signed(), number(nanos));
    if !(YEAR_1..=LAST_SECOND).contains(&seconds) || nanos > 999_999_999 {
        return Err(ProtobufError::Time);
    }
    let is_zero = bytes.is_empty() || (seconds == YEAR_1 && nanos == 0);
    Ok((!is_zero).then_some((seconds, nanos)))
}

/// `2006-01-02T15:04:05`, of a time in the years 1 to 9999.
fn date_and_time(seconds: i64) -> String {
    // Days are counted from 1 March of the year 0, so that a leap day is the last of its year:
    // that is 306 days before the year 1.
    let since = seconds - YEAR_1;
    let (days, second) = (since / SECONDS_A_DAY + 306, since % SECONDS_A_DAY);
    let (era, day) = (days / 146_097, days % 146_097);
    // The last day of four years, and of four centuries, is one more than the others have.
    let century = (day / 36_524).min(3);
    let day = day - century * 36_524;
    let (fours, day) = (day / 1461, day % 1461);
    let year_of_four = (day / 365).min(3);
    let day = day - year_of_four * 365;
    // From March on, months of 31 and 30 days follow each other in turns of five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + century * 100 + fours * 4 + year_of_four + i64::from(month >= 10);
    let month = if month >= 10 { month - 9 } else { month + 3 };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// `metav1.Duration` as Go's `time.Duration` prints itself: `1h2m3.5s`, `2.5µs`.
pub(super) fn duration(bytes: &[u8]) -> Result<String, ProtobufError> {
    let [nanos] = flat("meta/v1.Duration", bytes, [Wire::Varint])?;
    let nanos = number(nanos).cast_signed();
    let mut out = String::from(if nanos < 0 { "-" } else { "" });
    let nanos = nanos.unsigned_abs();
    match nanos {
        0 => out.push_str("0s"),
        1..1_000 => decimal(&mut out, nanos, 1, "ns"),
        1_000..1_000_000 => decimal(&mut out, nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(&mut out, nanos, 1_000_000, "ms"),
        _ => {
            let minutes = nanos / 60_000_000_000;
            if minutes >= 60 {
                // Writing to a string never fails.
                let _ = write!(out, "{}h", minutes / 60);
            }
            if minutes > 0 {
                let _ = write!(out, "{}m", minutes % 60);
            }
            decimal(&mut out, nanos % 60_000_000_000, 1_000_000_000, "s");
        }
    }
    Ok(out)
}

/// `value / unit`, exactly, without zeros at the end.
fn decimal(out: &mut String, value: u64, unit: u64, name: &str) {
    let _ = write!(out, "{}", value / unit);
    let (mut rest, mut scale) = (value % unit, unit);
    if rest > 0 {
        out.push('.');
    }
    while rest > 0 {
        scale /= 10;
        let _ = write!(out, "{}", rest / scale);
        rest %= scale;
    }
    out.push_str(name);
}

/// `resource.Quantity`: a text that the API server can read as one. Nothing is zero.
pub(super) fn quantity(bytes: &[u8]) -> Result<&str, ProtobufError> {
    let [it] = flat("resource.Quantity", bytes, [Wire::Bytes])?;
    let it = text(it)?.unwrap_or("0");
    if it.len() <= MAX_QUANTITY_BYTES && is_quantity(it) {
        Ok(it)
    } else {
        Err(ProtobufError::Quantity)
    }
}

fn is_quantity(text: &str) -> bool {
    let digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|it: char| !it.is_ascii_digit() && it != '.');
    let (number, suffix) =
        unsigned.split_at_checked(end.unwrap_or(unsigned.len())).unwrap_or_default();
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let exponent = suffix.strip_prefix(['e', 'E']).unwrap_or_default();
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    digits(whole)
        && digits(part)
        && !(whole.is_empty() && part.is_empty())
        && (SUFFIXES.contains(&suffix) || (!exponent.is_empty() && digits(exponent)))
}

/// A number as Go writes it: in full, but for the very small and the very large.
pub(super) fn double(value: f64) -> Result<String, ProtobufError> {
    if !value.is_finite() {
        return Err(ProtobufError::Number);
    }
    let size = value.abs();
    let in_full = size == 0.0 || (1e-6..1e21).contains(&size);
    Ok(if in_full { value.to_string() } else { format!("{value:e}") })
}

/// `intstr.IntOrString`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IntOrString<'a> {
    Int(i32),
    String(&'a str),
}

/// It says which it is; the other must be nothing, lest a reader take that.
pub(super) fn int_or_string(bytes: &[u8]) -> Result<IntOrString<'_>, ProtobufError> {
    let wires = [Wire::Varint, Wire::Varint, Wire::Bytes];
    let [kind, int, string] = flat("intstr.IntOrString", bytes, wires)?;
    let string = text(string)?.unwrap_or_default();
    match (number(kind), number(int)) {
        (0, int) if string.is_empty() => Ok(IntOrString::Int(int32(int)?)),
        (1, 0) => Ok(IntOrString::String(string)),
        _ => Err(ProtobufError::IntOrString),
    }
}

/// Go cuts off what is above 32 bits, other readers don't.
pub(super) fn int32(value: u64) -> Result<i32, ProtobufError> {
    i32::try_from(value.cast_signed()).map_err(|_| ProtobufError::Number)
}

pub(super) fn boolean(value: u64) -> Result<bool, ProtobufError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ProtobufError::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(date_and_time(0), "1970-01-01T00:00:00");
        assert_eq!(date_and_time(YEAR_1), "0001-01-01T00:00:00");
        assert_eq!(date_and_time(LAST_SECOND), "9999-12-31T23:59:59");
        assert_eq!(date_and_time(951_868_799), "2000-02-29T23:59:59");
        assert_eq!(date_and_time(951_868_800), "2000-03-01T00:00:00");
        assert_eq!(date_and_time(-2_203_891_201), "1900-02-28T23:59:59");
        assert_eq!(date_and_time(-2_203_891_200), "1900-03-01T00:00:00");
        assert_eq!(date_and_time(1_735_689_599), "2024-12-31T23:59:59");
        // Each day follows the one before, for a whole turn of the calendar, and there are as many
        // as there should be.
        let mut before = date_and_time(YEAR_1);
        for day in 1..146_097 {
            let now = date_and_time(YEAR_1 + day * SECONDS_A_DAY);
            assert!(before < now, "{before} {now}");
            before = now;
        }
        assert_eq!(before, "0400-12-31T00:00:00");
    }

    #[test]
    fn a_time_is_within_what_json_has() {
        assert_eq!(time(&[]), Ok(None));
        assert_eq!(time(&[8, 0, 16, 0]).unwrap().unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(micro_time(&[8, 0, 16, 0]).unwrap().unwrap(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            micro_time(&[8, 0, 16, 0xE8, 7]).unwrap().unwrap(),
            "1970-01-01T00:00:00.000001Z"
        );
        assert_eq!(time(&[8, 0, 16, 1]), Err(ProtobufError::Time));
        assert_eq!(micro_time(&[8, 0, 16, 1]), Err(ProtobufError::Time));
        // 2^63 - 1 seconds; a nanosecond less than nothing.
        let late = [8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
        assert_eq!(time(&late), Err(ProtobufError::Time));
        let less = [8, 0, 16, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        assert_eq!(micro_time(&less), Err(ProtobufError::Time));
        let twice = ProtobufError::Twice { message: "meta/v1.Timestamp", number: 1 };
        assert_eq!(time(&[8, 0, 8, 1]), Err(twice));
    }

    #[test]
    fn a_quantity_is_one() {
        for yes in ["0", "1", "-1", "+.5", "1.", "100m", "1.5Gi", "2E", "2Ei", "1e3", "1E-9", "3k"]
        {
            assert!(is_quantity(yes), "{yes}");
        }
        for no in
            ["", ".", "-", "m", "1 ", " 1", "1K", "1mi", "1e", "1e+", "1.2.3", "1ee1", "--1", "½"]
        {
            assert!(!is_quantity(no), "{no}");
        }
        assert_eq!(quantity(&[]), Ok("0"));
        assert_eq!(quantity(&[10, 0]), Err(ProtobufError::Quantity));
        assert_eq!(quantity(&[10, 1, b'x']), Err(ProtobufError::Quantity));
    }

    #[test]
    fn a_number_or_a_string_is_only_what_it_says() {
        assert_eq!(int_or_string(&[8, 0, 16, 80, 26, 0]), Ok(IntOrString::Int(80)));
        assert_eq!(int_or_string(&[8, 1, 16, 0, 26, 1, b'a']), Ok(IntOrString::String("a")));
        assert_eq!(int_or_string(&[]), Ok(IntOrString::Int(0)));
        for wrong in [&[8, 1, 16, 80, 26, 0][..], &[8, 0, 16, 0, 26, 1, b'a'], &[8, 2]] {
            assert_eq!(int_or_string(wrong), Err(ProtobufError::IntOrString));
        }
    }

    #[test]
    fn numbers_are_within_their_type() {
        assert_eq!(int32(u64::MAX), Ok(-1));
        assert_eq!(int32(i64::from(i32::MIN).cast_unsigned()), Ok(i32::MIN));
        assert_eq!(int32(1 << 31), Err(ProtobufError::Number));
        assert_eq!(int32(u64::from(u32::MAX)), Err(ProtobufError::Number));
        assert_eq!(int32(1 << 32), Err(ProtobufError::Number));
        assert_eq!(boolean(2), Err(ProtobufError::Number));
        assert_eq!(double(f64::NAN), Err(ProtobufError::Number));
        assert_eq!(double(f64::INFINITY), Err(ProtobufError::Number));
        assert_eq!(double(100.0).unwrap(), "100");
        assert_eq!(double(1e21).unwrap(), "1e21");
        assert_eq!(double(-0.25).unwrap(), "-0.25");
    }

    #[test]
    fn durations_are_as_go_prints_them() {
        let print = |nanos: i64| {
            let mut bytes = vec![8];
            let mut rest = nanos.cast_unsigned();
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            duration(&bytes).unwrap()
        };
        assert_eq!(duration(&[]).unwrap(), "0s");
        assert_eq!(print(1), "1ns");
        assert_eq!(print(1_100), "1.1µs");
        assert_eq!(print(2_200_000), "2.2ms");
        assert_eq!(print(3_300_000_000), "3.3s");
        assert_eq!(print(245_000_000_000), "4m5s");
        assert_eq!(print(18_367_001_000_000), "5h6m7.001s");
        assert_eq!(print(3_600_000_000_000), "1h0m0s");
        assert_eq!(print(-60_000_000_000), "-1m0s");
        assert_eq!(print(i64::MAX), "2562047h47m16.854775807s");
        assert_eq!(print(i64::MIN), "-2562047h47m16.854775808s");
    }
}
