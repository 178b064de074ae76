//! Dates and times: days and microseconds since 2000-01-01, proleptic Gregorian.

use std::fmt::Write as _;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from 0000-03-01 to 2000-01-01.
const EPOCH_SHIFT: i64 = 730_425;

/// Year (astronomical: 0 is 1 BC), month, day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_SHIFT;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - EPOCH_SHIFT
}

/// Appends `Y-M-D`; gives what must follow at the end (` BC`).
fn push_civil(days: i64, out: &mut String) -> Option<&'static str> {
    let (year, month, day) = civil(days);
    let (year, era) = if year <= 0 { (1 - year, " BC") } else { (year, "") };
    write!(out, "{year:04}-{month:02}-{day:02}").ok()?;
    Some(era)
}

/// Appends a `date`.
pub(super) fn date(days: i32, out: &mut String) -> Option<()> {
    let era = match days {
        i32::MAX => "infinity",
        i32::MIN => "-infinity",
        days => push_civil(i64::from(days), out)?,
    };
    out.push_str(era);
    Some(())
}

/// Appends `H:M:S`, with a fraction if there is one.
pub(super) fn time(micros: i64, out: &mut String) -> Option<()> {
    // 24:00:00 is a time of day to the server.
    if !(0..=MICROS_PER_DAY).contains(&micros) {
        return None;
    }
    push_clock(micros.unsigned_abs(), out)
}

fn push_clock(micros: u64, out: &mut String) -> Option<()> {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60).ok()?;
    if fraction != 0 {
        write!(out, ".{fraction:06}").ok()?;
        out.truncate(out.trim_end_matches('0').len());
    }
    Some(())
}

/// Appends the zone of a `timetz`, given in seconds west of UTC.
pub(super) fn zone(seconds_west: i32, out: &mut String) -> Option<()> {
    let seconds = seconds_west.unsigned_abs();
    out.push(if seconds_west <= 0 { '+' } else { '-' });
    write!(out, "{:02}", seconds / 3600).ok()?;
    if !seconds.is_multiple_of(3600) {
        write!(out, ":{:02}", seconds / 60 % 60).ok()?;
    }
    if !seconds.is_multiple_of(60) {
        write!(out, ":{:02}", seconds % 60).ok()?;
    }
    Some(())
}

/// Appends a timestamp and `zone`.
pub(super) fn timestamp(micros: i64, zone: &str, out: &mut String) -> Option<()> {
    match micros {
        i64::MAX => out.push_str("infinity"),
        i64::MIN => out.push_str("-infinity"),
        micros => {
            let era = push_civil(micros.div_euclid(MICROS_PER_DAY), out)?;
            out.push(' ');
            push_clock(micros.rem_euclid(MICROS_PER_DAY).unsigned_abs(), out)?;
            out.push_str(zone);
            out.push_str(era);
        }
    }
    Some(())
}

/// Appends an `interval` in style `postgres`.
pub(super) fn interval(micros: i64, days: i32, months: i32, out: &mut String) -> Option<()> {
    let start = out.len();
    let mut after_negative = false;
    for (n, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if n != 0 {
            let blank = if out.len() > start { " " } else { "" };
            let plus = if after_negative && n > 0 { "+" } else { "" };
            let plural = if n == 1 { "" } else { "s" };
            write!(out, "{blank}{plus}{n} {unit}{plural}").ok()?;
            after_negative = n < 0;
        }
    }
    if micros != 0 || out.len() == start {
        if out.len() > start {
            out.push(' ');
        }
        out.push_str(if micros < 0 {
            "-"
        } else if after_negative {
            "+"
        } else {
            ""
        });
        push_clock(micros.unsigned_abs(), out)?;
    }
    Some(())
}

// === back ===

fn number(text: &str, min_len: usize, max: i64) -> Option<i64> {
    let plain = text.len() >= min_len && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| plain && *n <= max)
}

/// Days since 2000-01-01 of `Y-M-D[ BC]`.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let (text, bc) = text.strip_suffix(" BC").map_or((text, false), |t| (t, true));
    let mut parts = text.splitn(3, '-');
    let year = number(parts.next()?, 4, 5_874_897)?;
    let month = number(parts.next()?, 2, 12)?;
    let day = number(parts.next()?, 2, 31)?;
    if year == 0 || month == 0 || day == 0 {
        return None;
    }
    let year = if bc { 1 - year } else { year };
    let days = days(year, month, day);
    // The 31st of a shorter month would come back as another day.
    (civil(days) == (year, month, day)).then(|| i32::try_from(days).ok())?
}

/// Microseconds of `H:M:S[.f]`.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.splitn(3, ':');
    let hour = number(parts.next()?, 2, 24)?;
    let minute = number(parts.next()?, 2, 59)?;
    let second = number(parts.next()?, 2, 59)?;
    if fraction.len() > 6 {
        return None;
    }
    let scale = 10i64.checked_pow(u32::try_from(6 - fraction.len()).ok()?)?;
    let micros = number(fraction, 1, 999_999)? * scale;
    let total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
    (total <= MICROS_PER_DAY).then_some(total)
}

/// Microseconds since 2000-01-01 of `Y-M-D H:M:S[.f][ BC]`; the zone, if any, must be UTC.
pub(super) fn parse_timestamp(text: &str, with_zone: bool) -> Option<i64> {
    let (text, era) = text.strip_suffix(" BC").map_or((text, ""), |t| (t, " BC"));
    let text =
        if with_zone { text.strip_suffix("+00").or_else(|| text.strip_suffix('Z'))? } else { text };
    let (date, time) = text.split_once([' ', 'T'])?;
    let days = i64::from(parse_date(&format!("{date}{era}"))?);
    days.checked_mul(MICROS_PER_DAY)?.checked_add(parse_time(time)?)
}
