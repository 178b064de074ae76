//! What a rule says of an action's arguments.
//!
//! Whoever writes the arguments is whom the rule is about, so an allow rule takes a value only as
//! it stands, and a deny rule takes it as the target may: in another case of its name, by another
//! way to the same file, as a number that is spelled otherwise.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::command::{Action, Argument};
use crate::config::{Effect, Expected, Range, Rule};
use crate::glob;

/// Most digits of an exponent; a number with more is not read.
const MAX_EXPONENT_DIGITS: usize = 4;

/// How often a value is decoded: `%252e` is `%2e` is a dot to what decodes twice.
const MAX_DECODED: usize = 3;

/// Whether what the rule says of arguments holds.
pub(crate) fn hold(rule: &Rule, action: &Action<'_>) -> bool {
    let Some(named) = &rule.when.arguments else { return true };
    named.iter().all(|(name, expected)| {
        if action.to_come.iter().any(|prefix| may_begin(name, prefix)) {
            return rule.effect == Effect::Allow;
        }
        let unread = action.unread.iter().any(|prefix| may_begin(name, prefix));
        let mut own = action.arguments.iter().filter(|it| may_be(name, it.name));
        if rule.effect == Effect::Allow {
            let named = |it: &Argument<'_>| glob::matches(name, it.name);
            !unread
                && action.arguments.iter().any(named)
                && own.all(|it| expected.surely_fits(it.value))
        } else {
            unread || own.any(|it| expected.may_fit(it.value))
        }
    })
}

/// Whether the target may take `name` for what `pattern` names: letters of either case alike.
fn may_be(pattern: &str, name: &str) -> bool {
    glob::matches_any_case(&folded(pattern), &folded(name))
}

/// Whether every name that may be `narrow`'s may be `wide`'s.
pub(crate) fn names_cover(wide: &str, narrow: &str) -> bool {
    glob::covers(&folded(wide).to_ascii_lowercase(), &folded(narrow).to_ascii_lowercase())
}

/// Go's JSON takes the Kelvin sign for a k and a long s for an s: so do we. Plain text stays.
fn folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let fold = |it: char| it.to_uppercase().flat_map(char::to_lowercase);
    Cow::Owned(text.chars().flat_map(fold).collect())
}

/// Whether a name that `pattern` stands for may begin with `prefix`, letters of either case alike.
pub(crate) fn may_begin(pattern: &str, prefix: &str) -> bool {
    let (pattern, prefix) = (folded(pattern), folded(prefix));
    let plain = pattern.split(['*', '?']).next().unwrap_or_default();
    let wild = plain.len() < pattern.len();
    let begins = |text: &str, with: &str| {
        text.as_bytes().get(..with.len()).is_some_and(|it| it.eq_ignore_ascii_case(with.as_bytes()))
    };
    begins(plain, &prefix) || wild && begins(&prefix, plain)
}

impl Expected {
    /// For an allow rule: the value as it stands, and it leads nowhere else.
    fn surely_fits(&self, value: &str) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.words().iter().any(|it| surely_fits(it, value)),
            Self::Range(range) => range.holds(value) == Some(true),
        }
    }

    /// For a deny rule: the value as it stands or as it leads, and any that is no number.
    fn may_fit(&self, value: &str) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.words().iter().any(|it| may_fit(it, value)),
            Self::Range(range) => range.holds(value) != Some(false),
        }
    }

    /// Whether what fits `narrow` fits this too; may say no where the answer is yes.
    pub(crate) fn covers(&self, narrow: &Self, both_allow: bool) -> bool {
        let covered = |wide: &str, narrow: &str| {
            let stays = !both_allow || !misleads(narrow) || wide == narrow || is_anything(wide);
            stays && glob::covers(wide, narrow)
        };
        match (self, narrow) {
            (Self::Patterns(wide), Self::Patterns(narrow)) => {
                narrow.words().iter().all(|it| wide.words().iter().any(|wide| covered(wide, it)))
            }
            (Self::Patterns(wide), Self::Range(_)) => wide.words().iter().any(|it| is_anything(it)),
            (Self::Range(wide), Self::Range(narrow)) => {
                let over =
                    |wide: Option<i64>, narrow: Option<i64>, enough: fn(i64, i64) -> bool| {
                        wide.is_none_or(|wide| narrow.is_some_and(|narrow| enough(wide, narrow)))
                    };
                over(wide.min, narrow.min, |wide, narrow| wide <= narrow)
                    && over(wide.max, narrow.max, |wide, narrow| wide >= narrow)
            }
            (Self::Range(_), Self::Patterns(_)) => false,
        }
    }
}

fn is_anything(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.bytes().all(|it| it == b'*')
}

fn surely_fits(pattern: &str, value: &str) -> bool {
    glob::matches(pattern, value) && (!misleads(value) || pattern == value || is_anything(pattern))
}

fn may_fit(pattern: &str, value: &str) -> bool {
    if glob::matches(pattern, value) {
        return true;
    }
    // Nothing in it that could be another way to write a path.
    let plain =
        !value.contains("./") && !value.contains("//") && !value.contains(['\\', '%', '\0']);
    if plain && !value.ends_with(['/', '.']) {
        return false;
    }
    let (above, plain) = leads_to(value);
    glob::matches(pattern, &plain) || above && glob::may_match(pattern, '/', &plain)
}

/// The value with slashes forward and `%2e` decoded.
fn decoded(value: &str) -> String {
    let mut out = value.to_owned();
    for _ in 0..MAX_DECODED {
        let Some(decoded) = percent_decoded(&out) else { break };
        out = decoded;
    }
    out.replace('\\', "/")
}

/// None if nothing is encoded, or not text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut out = parts.next()?.as_bytes().to_vec();
    let mut changed = false;
    for part in parts {
        let digit = |at: usize| part.as_bytes().get(at).and_then(|it| char::from(*it).to_digit(16));
        match (digit(0), digit(1), part.get(2..)) {
            (Some(high), Some(low), Some(rest)) => {
                out.push(u8::try_from(high << 4 | low).ok()?);
                out.extend_from_slice(rest.as_bytes());
                changed = true;
            }
            _ => {
                out.push(b'%');
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
    if changed { String::from_utf8(out).ok() } else { None }
}

/// Whether a value may lead elsewhere than it seems to as a path: it has `..` as a folder, or ends
/// for some at a NUL.
fn misleads(value: &str) -> bool {
    let wrong = |text: &str| text.contains('\0') || text.split('/').any(|it| it == "..");
    wrong(value) || value.contains(['\\', '%']) && wrong(&decoded(value))
}

/// Where a path leads, up to a NUL, without `.`, `..` and empty parts; and whether it begins above where it is
/// looked up, so that its folder isn't known. A URL's scheme and authority stay as they are.
fn leads_to(value: &str) -> (bool, String) {
    let mut value = decoded(value);
    value.truncate(value.find('\0').unwrap_or(value.len()));
    let root = value.find("://").map_or(0, |at| {
        let authority = at + "://".len();
        let rest = value.get(authority..).unwrap_or_default();
        authority + rest.find('/').unwrap_or(rest.len())
    });
    let (root, path) = value.split_at(root);
    let (mut parts, mut above) = (Vec::new(), false);
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => above |= parts.pop().is_none() && !path.starts_with('/'),
            name => parts.push(name),
        }
    }
    let slash = if path.starts_with('/') { "/" } else { "" };
    (above, format!("{root}{slash}{}", parts.join("/")))
}

impl Range {
    /// Whether the number is in the range; none if the text is not a number as JSON writes it.
    fn holds(&self, value: &str) -> Option<bool> {
        let low = self.min.map(|min| compare(value, min)).unwrap_or(Some(Ordering::Equal))?;
        let high = self.max.map(|max| compare(value, max)).unwrap_or(Some(Ordering::Equal))?;
        Some(low != Ordering::Less && high != Ordering::Greater)
    }
}

/// Compares a number, as JSON writes it, with a whole one. Exact: no digit is rounded away.
fn compare(number: &str, bound: i64) -> Option<Ordering> {
    let (negative, rest) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction),
        None => (mantissa, ""),
    };
    let digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 1 && whole.starts_with('0')
        || !digits(whole)
        || !digits(fraction)
    {
        return None;
    }
    // How many digits stand before the point.
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let (mut value, mut seen, mut more) = (0_i128, 0_i64, false);
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = byte - b'0';
        if seen < point {
            value = value.saturating_mul(10).saturating_add(i128::from(digit));
        } else {
            more |= digit != 0;
        }
        seen += 1;
    }
    while seen < point && value != 0 && value != i128::MAX {
        value = value.saturating_mul(10);
        seen += 1;
    }
    let signed = if negative { -value } else { value };
    Some(match signed.cmp(&i128::from(bound)) {
        Ordering::Equal if more && negative => Ordering::Less,
        Ordering::Equal if more => Ordering::Greater,
        other => other,
    })
}

fn read_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    if !plain || digits.len() > MAX_EXPONENT_DIGITS {
        return None;
    }
    let value: i64 = digits.parse().ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_that_climbs_fits_no_allow_rule() {
        for value in [
            "/srv/../etc/shadow",
            "/srv/..",
            r"/srv/..\etc",
            "/srv/%2e%2e/etc",
            "/srv/.%2E%2fetc",
            "/srv/x/%2e.%5Cy",
            "/srv/%252e%252e/etc",
            "/srv/%2525252e./x/../y",
            "/srv/x\0/y",
            "/srv/x%00",
            "/srv/%2500/%2e%2e/x",
        ] {
            assert!(!surely_fits("/srv/*", value), "{value}");
            assert!(surely_fits("*", value) && surely_fits(value, value), "{value}");
        }
        for value in ["/srv/x", "/srv/..x", "/srv/a...", "/srv/.x", "/srv/100%"] {
            assert!(surely_fits("/srv/*", value), "{value}");
        }
    }

    #[test]
    fn a_deny_rule_finds_the_way() {
        for value in [
            "/etc/shadow",
            "/srv/../etc/shadow",
            "//etc//shadow",
            "/./etc/./shadow",
            "/etc/x/../shadow",
            "../../etc/shadow",
            r"\etc\shadow",
            "/srv/%2e%2e/etc/shadow",
            "/../../etc/shadow",
            "/srv/..%2Fetc%2fshadow",
            "/%65tc/shadow",
            "/srv/%252e%252e/etc/shadow",
            "/srv/../etc/shadow\0.png",
            "%2fetc%2fshadow%00",
        ] {
            assert!(may_fit("/etc/*", value), "{value}");
        }
        for value in ["/srv/etc/shadow", "/etcetera", "etc", "/srv/x/../y"] {
            assert!(!may_fit("/etc/*", value), "{value}");
        }
        assert!(may_fit("/etc/shadow", "/etc/shadow/") && may_fit("/etc/shadow", "/etc/shadow\0x"));
        assert!(
            may_fit("/etc/shadow", "/etc/shadow/x/..") && !may_fit("/etc/shadow", "/etc/shadow/x")
        );
        assert!(may_fit("file:///etc/*", "file:///srv/../etc/x"));
        assert!(may_fit("https://host/secret*", "https://host/a/../secret?x"));
        assert!(!may_fit("https://host/secret*", "https://other/../host/secret"));
    }

    #[test]
    fn numbers_are_compared_by_value() {
        use Ordering::{Equal, Greater, Less};
        for (text, bound, want) in [
            ("100", 100, Some(Equal)),
            ("1e2", 100, Some(Equal)),
            ("1.0E+2", 100, Some(Equal)),
            ("10000e-2", 100, Some(Equal)),
            ("100.00000000000000000000001", 100, Some(Greater)),
            ("-100.5", -100, Some(Less)),
            ("99.9", 100, Some(Less)),
            ("9007199254740993", 9_007_199_254_740_992, Some(Greater)),
            ("1e9999", i64::MAX, Some(Greater)),
            ("-1e9999", i64::MIN, Some(Less)),
            ("0e9999", 0, Some(Equal)),
            ("1e-9999", 0, Some(Greater)),
            ("-0", 0, Some(Equal)),
            ("1e99999", 0, None),
            ("", 0, None),
            ("-", 0, None),
            ("+1", 0, None),
            ("01", 0, None),
            ("1.", 0, None),
            (".5", 0, None),
            ("NaN", 0, None),
            ("inf", 0, None),
            ("0x10", 0, None),
            ("1_000", 0, None),
            (" 1", 0, None),
            ("1e", 0, None),
            ("true", 0, None),
            ("١", 0, None),
        ] {
            assert_eq!(compare(text, bound), want, "{text} {bound}");
        }
    }

    #[test]
    fn what_go_takes_for_the_same_name() {
        assert!(may_be("arg.task", "arg.ta\u{17f}\u{212a}"));
        assert!(may_be("arg.path", "ARG.PATH"));
        assert!(!may_be("arg.path", "arg.paths"));
        assert!(may_be("arg.ключ", "arg.КЛЮЧ"));
    }

    #[test]
    fn where_a_name_begins() {
        assert!(
            may_begin("body.amount", "body.")
                && may_begin("*", "body.")
                && may_begin("b*", "body.")
        );
        assert!(may_begin("body.task", "BODY.ta\u{17f}\u{212a}"));
        assert!(may_begin("body.a.b", "body.a.") && may_begin("BODY.x", "body."));
        assert!(
            !may_begin("header.x", "body.")
                && !may_begin("body", "body.")
                && !may_begin("h*", "body.")
        );
    }

    proptest! {
        #[test]
        fn whole_numbers_compare_as_numbers(number in any::<i64>(), bound in any::<i64>(), zeros in 0_usize..4) {
            let order = Some(number.cmp(&bound));
            prop_assert_eq!(compare(&number.to_string(), bound), order);
            if number != 0 {
                let shifted = format!("{number}{}e-{zeros}", "0".repeat(zeros));
                prop_assert_eq!(compare(&shifted, bound), order);
            }
        }

        /// Whatever is written, what an allow rule is sure of a deny rule would have found too.
        #[test]
        fn sure_is_stricter_than_may_be(pattern in "[a/.*?%]{0,6}", value in "[a/.%2eE\\\\]{0,10}") {
            if surely_fits(&pattern, &value) {
                prop_assert!(may_fit(&pattern, &value));
            }
        }

        #[test]
        fn what_is_covered_fits(
            wide in "[a/.*]{0,6}", narrow in "[a/.*]{0,6}", value in "[a/.]{0,8}", low in -3_i64..3, high in -3_i64..3
        ) {
            let text = |it: &str| Expected::Patterns(crate::OneOrMany::One(it.to_owned()));
            let (wide, narrow) = (text(&wide), text(&narrow));
            if wide.covers(&narrow, true) && narrow.surely_fits(&value) {
                prop_assert!(wide.surely_fits(&value));
            }
            if wide.covers(&narrow, false) && narrow.may_fit(&value) {
                prop_assert!(wide.may_fit(&value));
            }
            let range = |min, max| Expected::Range(Range { min, max });
            let (wide, narrow) = (range(Some(low), None), range(Some(low.max(high)), Some(high)));
            prop_assert!(wide.covers(&narrow, true) && !narrow.covers(&wide, true));
        }
    }
}
