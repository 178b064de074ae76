//! Durations and sizes as the file writes them: `10s`, `64MiB`.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// The longest duration a configuration may name.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// A duration: a whole number with `ms`, `s`, `m` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// A size: a whole number of bytes, or one with `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
    #[allow(dead_code, reason = "only its being there matters")]
    Other(serde::de::IgnoredAny),
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let span = Duration::from_millis(number.checked_mul(millis)?);
    (!span.is_zero() && span <= MAX_DURATION).then_some(span)
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let found = match Written::deserialize(from)? {
            Written::Text(text) => duration(&text).map(Span),
            Written::Number(_) | Written::Other(_) => None,
        };
        found.ok_or_else(|| D::Error::custom("must be a duration of 1ms to 24h, like \"10s\""))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let found = match Written::deserialize(from)? {
            Written::Text(text) => size(&text),
            Written::Number(bytes) => Some(bytes),
            Written::Other(_) => None,
        };
        found.map(Size).ok_or_else(|| D::Error::custom("must be a size, like \"64MiB\" or 4096"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_and_refuses_the_rest() {
        assert_eq!(duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("24h"), Some(MAX_DURATION));
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("4096"), Some(4096));
        for bad in
            ["", "s", "10", "0s", "25h", "1.5s", "-1s", "10 s", "99999999999999999999s", "٣s"]
        {
            assert_eq!(duration(bad), None, "{bad}");
        }
        for bad in ["", "MiB", "1MB", "-1", "18446744073709551615KiB", "1 MiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
