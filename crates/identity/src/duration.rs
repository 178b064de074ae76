//! Durations as the configuration writes them: `30s`, `15m`, `10h`, `7d`.

use std::time::Duration;

use crate::limits::MAX_CONFIG_DURATION;

/// Reads a whole number with one unit. `None` if it is not that, or longer
/// than [`MAX_CONFIG_DURATION`].
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.strip_suffix(['s', 'm', 'h', 'd'])?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let unit = match text.as_bytes().last()? {
        b'm' => 60,
        b'h' => 3600,
        b'd' => 24 * 3600,
        _ => 1,
    };
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    Some(Duration::from_secs(seconds)).filter(|d| *d <= MAX_CONFIG_DURATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_and_refuses_the_rest() {
        assert_eq!(parse("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse("15m"), Some(Duration::from_secs(900)));
        assert_eq!(parse("10h"), Some(Duration::from_secs(36_000)));
        assert_eq!(parse("7d"), Some(Duration::from_secs(604_800)));
        for bad in [
            "",
            "s",
            "30",
            "-1s",
            "+1s",
            "1.5h",
            "1h30m",
            "31d",
            "99999999999999999999s",
            "1 s",
            "٣s",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
