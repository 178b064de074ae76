//! `PHONE_NUMBER`: international numbers (E.164), North American ones, and
//! national shapes with a trunk zero; other groups of digits only beside a
//! word that speaks of a telephone.

use super::number::{Cluster, Group, Sep};
use super::text::{at, before, is_edge, run_end, slice};
use super::{Sieve, Words};
use crate::entity::Entity;

/// Most digits of an international number (E.164 section 6.1).
const MAX_DIGITS: usize = 15;
/// Words beside which plain digits are a telephone number.
const WORDS: Words = Words::new(&[
    b"phone",
    b"tel",
    b"mobile",
    b"cell",
    b"fax",
    b"call",
    b"dial",
    b"sms",
    b"whatsapp",
    b"contact",
    b"ring",
    b"reach",
    b"handy",
    b"hotline",
    b"landline",
    b"desk",
    b"answer",
    b"office",
]);
/// The same, behind the number: `9761 9808 office`.
const BEHIND: Words = Words::new(&[b"office", b"fax", b"mobile", b"phone", b"cell", b"tel"]);

/// Country calling codes of one and two digits; every other one has three
/// (ITU-T E.164 annex).
fn country_digits(d: &[u8]) -> Option<usize> {
    match d {
        [b'1' | b'7', ..] => Some(1),
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0' | b'1' | b'2' | b'3' | b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => Some(2),
        [b'2', b'1' | b'2' | b'3' | b'4' | b'5' | b'6' | b'9', ..]
        | [b'3', b'5' | b'7' | b'8', ..]
        | [b'4', b'2', ..]
        | [b'5', b'0' | b'9', ..]
        | [b'6', b'7' | b'8' | b'9', ..]
        | [b'8', b'0' | b'5' | b'7' | b'8', ..]
        | [b'9', b'6' | b'7' | b'9', ..] => Some(3),
        _ => None,
    }
}

/// Looks at the groups `from..to` of a cluster, which nothing else claimed.
pub(super) fn find(s: &mut Sieve<'_>, c: &Cluster<'_>, from: usize, to: usize) {
    let Some(groups) = c.groups().get(from..to) else { return };
    let Some(last) = groups.last() else { return };
    if !s.wanted.has(Entity::PhoneNumber) || tail_is_wrong(c.text, last.end()) {
        return;
    }
    let head = from == 0;
    let total: usize = groups.iter().map(Group::len).sum();
    if total < 6 {
        return;
    }
    let made = if head && c.plus {
        international(c, groups)
    } else if head && c.continued {
        None
    } else {
        exit_code(c, groups)
            .or_else(|| north_american(c, groups, head))
            .or_else(|| national(c, groups, head, total))
    };
    let made = made.or_else(|| beside_word(s, c, groups, total));
    if let Some((first, n, score)) = made {
        let start = match groups.get(first) {
            Some(_) if first == 0 && head => c.start,
            Some(g) => g.start,
            None => return,
        };
        let Some(end) = groups.get(first + n - 1).map(Group::end) else { return };
        let end = if first + n == groups.len() { extension(c.text, end) } else { end };
        s.put(Entity::PhoneNumber, start, end, score);
    }
}

/// A time, a fraction of something, a percentage, an identifier.
fn tail_is_wrong(text: &[u8], end: usize) -> bool {
    let b = at(text, end);
    let glued = !is_edge(b) && extension(text, end) == end;
    glued || b == b'%' || (b == b':' && at(text, end + 1).is_ascii_digit())
}

/// First group, number of groups, score.
type Made = Option<(usize, usize, f32)>;

/// As many groups as fit into 15 digits, from 8 up.
fn up_to_limit(groups: &[Group], least: usize, most: usize) -> Option<usize> {
    let mut total = 0;
    let mut n = 0;
    for g in groups {
        if total + g.len() > most {
            break;
        }
        total += g.len();
        n += 1;
    }
    (total >= least).then_some(n)
}

/// The digits of the first groups, as many as tell a country.
fn lead(c: &Cluster<'_>, groups: &[Group]) -> [u8; 4] {
    let mut out = [0; 4];
    let digits = groups.iter().flat_map(|g| c.digits(g));
    for (o, d) in out.iter_mut().zip(digits) {
        *o = *d;
    }
    out
}

fn international(c: &Cluster<'_>, groups: &[Group]) -> Made {
    let n = up_to_limit(groups, 8, MAX_DIGITS)?;
    let country = country_digits(&lead(c, groups))?;
    let first = groups.first()?;
    // "+1.23456789" is a decimal number unless the country code stands alone.
    let decimal = groups.get(1).is_some_and(|g| g.sep == Sep::Dot) && n == 2;
    (!decimal || first.len() == country).then_some((0, n, 0.75))
}

/// `00` or `011`, then a country code.
fn exit_code(c: &Cluster<'_>, groups: &[Group]) -> Made {
    let lead = lead(c, groups);
    let skip = match lead {
        [b'0', b'0', b'1'..=b'9', _] => 2,
        [b'0', b'1', b'1', b'1'..=b'9'] => 3,
        _ => return None,
    };
    let n = up_to_limit(groups, 8 + skip, MAX_DIGITS + skip)?;
    let rest = lead.get(skip..)?;
    let known = country_digits(rest).is_some();
    let spread = n >= 3 && n == groups.len();
    (known && spread).then_some((0, n, 0.55))
}

/// `(NXX) NXX-XXXX` and its kin, North American Numbering Plan.
fn north_american(c: &Cluster<'_>, groups: &[Group], head: bool) -> Made {
    for i in 0..groups.len() {
        let Some([a, b, d]) = groups.get(i..i + 3) else { break };
        if (a.len, b.len, d.len) != (3, 3, 4) {
            continue;
        }
        let bracket = b.sep == Sep::Bracket;
        if !bracket && b.sep != d.sep || d.sep == Sep::Bracket {
            continue;
        }
        let one = i > 0 && groups.get(i - 1).is_some_and(|g| g.len == 1 && c.digits(g) == b"1");
        let first = if one { i - 1 } else { i };
        // Part of something longer with the same separators.
        let before = groups.get(first).filter(|_| first > 0).is_some_and(|g| g.sep == d.sep);
        let after = groups.get(i + 3).is_some_and(|g| g.sep == d.sep);
        if before || after {
            continue;
        }
        let starts = |g: &Group| matches!(at(c.text, g.start), b'2'..=b'9');
        let valid = starts(a) && starts(b);
        let score = match (valid, d.sep) {
            (true, Sep::Space) if !bracket => 0.5,
            (true, _) => 0.65,
            (false, Sep::Dash | Sep::Dot) if c.value(a) != 0 => 0.5,
            (false, _) if bracket && head => 0.5,
            _ => continue,
        };
        return Some((first, i + 3 - first, score));
    }
    None
}

/// National numbers with a trunk zero, or with the area code in brackets.
fn national(c: &Cluster<'_>, groups: &[Group], head: bool, total: usize) -> Made {
    let first = groups.first()?;
    let second = groups.get(1)?;
    let same = groups.iter().skip(2).all(|g| g.sep == second.sep || second.sep == Sep::Bracket);
    let tail = groups.last()?.len;
    if head && c.bracketed {
        let fits = (2..=5).contains(&first.len) && (7..=12).contains(&total) && tail >= 2;
        return (fits && groups.len() <= 4 && second.len >= 2).then_some((0, groups.len(), 0.5));
    }
    let trunk = matches!(slice(c.text, first.start, first.start + 2), [b'0', b'1'..=b'9']);
    let fits = (2..=5).contains(&first.len) && (9..=11).contains(&total) && tail >= 2;
    let dots = second.sep == Sep::Dot && groups.len() < 3;
    (trunk && fits && same && !dots).then_some((0, groups.len(), 0.5))
}

/// Any plausible digits beside a word that speaks of telephones.
fn beside_word(s: &Sieve<'_>, c: &Cluster<'_>, groups: &[Group], total: usize) -> Made {
    let first = groups.first()?;
    let money = matches!(before(c.text, c.start), b'$' | b'#' | b'=' | b'/');
    let single = groups.len() == 1 && total < 7;
    let decimal = groups.len() == 2 && groups.get(1).is_some_and(|g| g.sep == Sep::Dot);
    if total > MAX_DIGITS || money || single || decimal {
        return None;
    }
    let end = groups.last()?.end();
    let word = run_end(c.text, end, 3, |b| matches!(b, b' ' | b'-' | b'('));
    let rest = slice(c.text, word, word + 6);
    if !BEHIND.begin(rest) && !s.context(first.start, &WORDS) {
        return None;
    }
    Some((0, groups.len(), 0.55))
}

/// The end of an extension (`x123`, ` ext. 49`) after `end`, or `end`.
fn extension(text: &[u8], end: usize) -> usize {
    let blank = |b: u8| b == b' ';
    let mut i = run_end(text, end, 2, blank);
    if matches!(at(text, i), b',' | b';') {
        i = run_end(text, i + 1, 1, blank);
    }
    let word = run_end(text, i, 9, |b| b.is_ascii_alphabetic());
    let known = match slice(text, i, word).to_ascii_lowercase().as_slice() {
        b"x" | b"ext" | b"extn" | b"extension" | b"xt" => true,
        b"" => at(text, i) == b'#',
        _ => false,
    };
    if !known {
        return end;
    }
    i = run_end(text, word, 1, |b| matches!(b, b'.' | b':' | b'#'));
    i = run_end(text, i, 4, blank);
    let digits = run_end(text, i, 8, |b| b.is_ascii_digit());
    if digits > i && digits - i <= 7 && is_edge(at(text, digits)) { digits } else { end }
}
