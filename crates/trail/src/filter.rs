//! Which exchanges somebody wants to see.

use records::Timestamp;

use crate::item::{Exchange, Item, Who};

/// Conditions; those that are set must all hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Who acts, or for whom: the subject, exactly.
    pub principal: Option<String>,
    /// The target's name, exactly.
    pub target: Option<String>,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// `allow`, `deny` or `hold`. Clients without a session count as denied.
    pub verdict: Option<String>,
    /// The session's id, or its beginning.
    pub session: Option<String>,
}

impl Filter {
    /// Whether an item fits.
    #[must_use]
    pub fn fits(&self, item: &Item) -> bool {
        match item {
            Item::Exchange(exchange) => self.fits_exchange(exchange),
            Item::Refused(refused) => {
                self.time(refused.time)
                    && self.target.as_ref().is_none_or(|target| *target == refused.target)
                    && self.verdict.as_ref().is_none_or(|verdict| verdict == "deny")
                    && self.who(refused.principal.as_ref())
                    && self.session.is_none()
            }
            Item::SessionStart(start) => {
                self.time(start.time)
                    && self.target.as_ref().is_none_or(|target| *target == start.target)
                    && self.verdict.is_none()
                    && self.who(Some(&start.principal))
                    && self.session(&start.session)
            }
            Item::SessionEnd(end) => {
                self.time(end.time)
                    && self.target.is_none()
                    && self.verdict.is_none()
                    && self.principal.is_none()
                    && self.session(&end.session)
            }
            Item::Instance(instance) => self.time(instance.time) && self.names_nothing(),
            Item::Unknown(_) => self.since.is_none() && self.names_nothing(),
        }
    }

    fn fits_exchange(&self, exchange: &Exchange) -> bool {
        self.time(exchange.time)
            && self.target.as_ref().is_none_or(|target| *target == exchange.target)
            && self.verdict.as_ref().is_none_or(|verdict| *verdict == exchange.verdict)
            && self.who(Some(&exchange.principal))
            && self.session(&exchange.session)
    }

    fn names_nothing(&self) -> bool {
        self.principal.is_none()
            && self.target.is_none()
            && self.verdict.is_none()
            && self.session.is_none()
    }

    fn time(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| time >= since)
    }

    fn session(&self, session: &str) -> bool {
        self.session.as_ref().is_none_or(|beginning| session.starts_with(beginning))
    }

    fn who(&self, who: Option<&Who>) -> bool {
        let Some(wanted) = &self.principal else { return true };
        who.is_some_and(|who| who.subject == *wanted || who.on_behalf_of.contains(wanted))
    }
}

/// A text that names no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no moment: write 15m, 2h, 3d, 2026-11-23 or 2026-11-23T16:00:00Z (UTC)")]
pub struct NotAMoment(String);

/// Reads a moment: a time ago (`90s`, `15m`, `2h`, `3d`), a UTC date, or a UTC time.
///
/// # Errors
/// [`NotAMoment`].
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, NotAMoment> {
    let bad = || NotAMoment(text.to_owned());
    for (unit, seconds) in [('s', 1i64), ('m', 60), ('h', 3600), ('d', 86_400)] {
        if let Some(count) = text.strip_suffix(unit) {
            let count: u32 = count.parse().map_err(|_| bad())?;
            let micros = i64::from(count) * seconds * 1_000_000;
            return Ok(Timestamp::from_unix_micros(now.unix_micros().saturating_sub(micros)));
        }
    }
    let plain = text.trim_end_matches('Z');
    let full = match plain.len() {
        10 => format!("{plain}T00:00:00.000000Z"),
        16 => format!("{plain}:00.000000Z"),
        19 => format!("{plain}.000000Z"),
        _ => format!("{plain}Z"),
    };
    Timestamp::parse(&full).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now = Timestamp::parse("2026-11-23T16:00:00.000000Z").unwrap();
        for (text, want) in [
            ("15m", "2026-11-23T15:45:00.000000Z"),
            ("1d", "2026-11-22T16:00:00.000000Z"),
            ("2026-11-01", "2026-11-01T00:00:00.000000Z"),
            ("2026-11-01T10:30", "2026-11-01T10:30:00.000000Z"),
            ("2026-11-01T10:30:05Z", "2026-11-01T10:30:05.000000Z"),
        ] {
            assert_eq!(moment(text, now).unwrap().to_string(), want);
        }
        for bad in ["", "yesterday", "-1h", "2026-13-01", "d", "é"] {
            assert!(moment(bad, now).is_err(), "{bad}");
        }
    }
}
