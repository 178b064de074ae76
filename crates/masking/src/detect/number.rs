//! Numbers written in groups: the text around a digit is read once into a
//! [`Cluster`], then `CREDIT_CARD`, `US_SSN` and `PHONE_NUMBER` look for their
//! own grouping in it.
//!
//! Between groups stands ONE space, dash, dot or no-break space, or brackets;
//! never a tab or a line end: those stand between cells, and a number must not
//! be stitched together out of two of them.

use super::text::{at, before, is_edge, run_end, slice};
use super::{Sieve, Words, card, phone};
use crate::entity::Entity;

/// Most groups read at once.
pub(super) const MAX_GROUPS: usize = 12;
/// Groups read again when a cluster is longer than that: more than any value has.
const OVERLAP: usize = 6;
/// Digits of one group that are told apart; a longer run is no number sought.
const MAX_RUN: usize = 24;
/// How far back from the digit that was found a cluster may begin.
const MAX_BACK: usize = 40;

/// Words beside which nine plain digits are a social security number.
const TOLD: Words = Words::new(&[b"ssn", b"social"]);

/// What stands before a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sep {
    /// Nothing: the first group.
    #[default]
    None,
    Space,
    Dash,
    Dot,
    Nbsp,
    /// Any combination with a bracket.
    Bracket,
}

/// A run of digits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) len: u8,
    pub(super) sep: Sep,
}

impl Group {
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn end(&self) -> usize {
        self.start + self.len()
    }
}

/// Digit groups that stand together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster<'t> {
    pub(super) text: &'t [u8],
    groups: [Group; MAX_GROUPS],
    len: usize,
    /// A `+` stands before the first group.
    pub(super) plus: bool,
    /// The first group stands in round brackets.
    pub(super) bracketed: bool,
    /// Digits stand before it that were looked at already.
    pub(super) continued: bool,
    /// First byte, sign and bracket included.
    pub(super) start: usize,
}

impl<'t> Cluster<'t> {
    pub(super) fn groups(&self) -> &[Group] {
        self.groups.get(..self.len).unwrap_or_default()
    }

    /// One past the last digit.
    pub(super) fn end(&self) -> usize {
        self.groups().last().map_or(self.start, Group::end)
    }

    pub(super) fn digits(&self, g: &Group) -> &'t [u8] {
        slice(self.text, g.start, g.end())
    }

    /// A group's value; only for groups of up to 9 digits.
    pub(super) fn value(&self, g: &Group) -> u32 {
        self.digits(g).iter().take(9).fold(0, |v, b| v * 10 + u32::from(b - b'0'))
    }

    /// Reads the groups from `start`; `None` when there is no digit.
    fn read(text: &'t [u8], start: usize) -> Option<Self> {
        let mut c = Self {
            text,
            groups: [Group::default(); MAX_GROUPS],
            len: 0,
            plus: false,
            bracketed: false,
            continued: false,
            start,
        };
        let mut i = start;
        if at(text, i) == b'+' {
            c.plus = true;
            i += 1;
        }
        let open = at(text, i) == b'(';
        if open {
            i += 1;
        }
        let mut sep = Sep::None;
        loop {
            let end = run_end(text, i, MAX_RUN, |b| b.is_ascii_digit());
            if end == i {
                break;
            }
            let Some(slot) = c.groups.get_mut(c.len) else { break };
            // At most MAX_RUN.
            *slot = Group { start: i, len: u8::try_from(end - i).unwrap_or(u8::MAX), sep };
            c.len += 1;
            if c.len == 1 && open {
                c.bracketed = at(text, end) == b')';
            }
            if end - i == MAX_RUN {
                break;
            }
            (sep, i) = separator(text, end);
        }
        if open && !c.bracketed {
            // A bracket that closes later is none of ours.
            if !c.plus {
                c.start += 1;
            }
        }
        (c.len > 0).then_some(c)
    }
}

/// The separator at `i` and where it ends; `Sep::None` when there is none.
fn separator(text: &[u8], i: usize) -> (Sep, usize) {
    let single = |i: usize| match at(text, i) {
        b' ' => (Sep::Space, i + 1),
        b'-' => (Sep::Dash, i + 1),
        b'.' => (Sep::Dot, i + 1),
        0xC2 if at(text, i + 1) == 0xA0 => (Sep::Nbsp, i + 2),
        _ => (Sep::None, i),
    };
    let (mut sep, mut j) = (Sep::None, i);
    if at(text, j) == b')' {
        (sep, j) = (Sep::Bracket, j + 1);
    }
    let (s, k) = single(j);
    if sep == Sep::None {
        sep = s;
    }
    j = k;
    if at(text, j) == b'(' {
        (sep, j) = (Sep::Bracket, j + 1);
    }
    if at(text, j).is_ascii_digit() { (sep, j) } else { (Sep::None, text.len()) }
}

/// Where the cluster around the digit at `p` begins.
fn cluster_start(text: &[u8], p: usize, low: usize) -> usize {
    let mut i = p;
    // The last place a digit was seen.
    let mut start = p;
    let mut gap = 0;
    while i > low {
        let b = at(text, i - 1);
        i -= 1;
        match b {
            b'0'..=b'9' => {
                start = i;
                gap = 0;
            }
            b'(' if start == i + 1 => start = i,
            b'+' if start == i + 1 => {
                start = i;
                break;
            }
            b' ' | b'-' | b'.' | b'(' | b')' | 0xC2 | 0xA0 if gap < 3 => gap += 1,
            _ => break,
        }
    }
    start
}

/// Looks at the digit at `p`.
pub(super) fn find(s: &mut Sieve<'_>, p: usize) {
    if p < s.state.number {
        return;
    }
    let text = s.text;
    let low = s.state.number.max(p.saturating_sub(MAX_BACK));
    if at(text, p) == b'0' && before(text, p) == b'+' {
        // A time zone: no country code begins with 0.
        s.state.number = p + 1;
        return;
    }
    if let Some(end) = uuid(text, p) {
        s.state.number = end;
        return;
    }
    let start = cluster_start(text, p, low);
    if let Some(end) = plain(s, start) {
        s.state.number = end.max(p + 1);
        return;
    }
    let Some(mut c) = Cluster::read(text, start) else { return };
    if c.end() <= p {
        // What stands between is no separator of ours: begin at the digit.
        let start = run_back(text, p, low);
        match Cluster::read(text, start) {
            Some(again) => c = again,
            None => return,
        }
    }
    s.state.number = match c.groups().get(MAX_GROUPS - OVERLAP) {
        Some(g) if c.groups().len() == MAX_GROUPS => g.start.max(p + 1),
        _ => c.end().max(p + 1),
    };
    c.continued = digit_before(text, c.start);
    judge(s, &c);
}

/// Where the UUID ends (RFC 9562 section 4) whose group begins before `p`, as where a dash between
/// digits brought us here. Its groups are no number's, whatever their digits.
fn uuid(text: &[u8], p: usize) -> Option<usize> {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    const LENGTH: usize = 36;
    let dash = p.checked_sub(2).filter(|dash| at(text, *dash) == b'-')?;
    let starts = DASHES.into_iter().filter_map(|place| dash.checked_sub(place));
    let start = starts.into_iter().find(|start| {
        let is_dash = |place: usize| at(text, start + place) == b'-';
        DASHES.into_iter().all(is_dash)
    })?;
    let whole: &[u8; LENGTH] = text.get(start..)?.first_chunk()?;
    // No early exit: this way the compiler makes vector code of it.
    let (others, dashes) = whole.iter().fold((0u8, 0u8), |(others, dashes), b| {
        let dash = u8::from(*b == b'-');
        (others + u8::from(!b.is_ascii_hexdigit() & (dash == 0)), dashes + dash)
    });
    let end = start + LENGTH;
    let alone = |b: u8| is_edge(b) && b != b'-';
    let is_uuid = others == 0 && usize::from(dashes) == DASHES.len();
    (is_uuid && alone(before(text, start)) && alone(at(text, end))).then_some(end)
}

/// What is by far most common and none of ours, told without reading groups:
/// a timestamp, or a short unbroken number that no word stands before. Answers
/// where it ends.
fn plain(s: &Sieve<'_>, start: usize) -> Option<usize> {
    let text = s.text;
    let run = run_end(text, start, MAX_RUN, |b| b.is_ascii_digit());
    let next = at(text, run);
    if run - start == 4 && next == b'-' {
        let rest = slice(text, run, run + 9);
        let [b'-', a, b, b'-', c, d, rest @ ..] = rest else { return None };
        let year = matches!(slice(text, start, start + 2), b"19" | b"20");
        if !year || ![a, b, c, d].iter().all(|b| b.is_ascii_digit()) {
            return None;
        }
        return match rest {
            [b' ' | b'T', e, f] if e.is_ascii_digit() && f.is_ascii_digit() => {
                (at(text, run + 9) == b':').then_some(run + 9)
            }
            [b',' | b';' | b'"' | b'\'' | b'\t' | b'\n' | b'|' | b'T', ..] | [] => Some(run + 6),
            _ => None,
        };
    }
    let alone = run > start && !matches!(next, b' ' | b'-' | b'.' | b'(' | b')' | 0xC2);
    let short = run - start < 12 && start < 3 && before(text, start) != b'+';
    (alone && short && at(text, run) == 0).then_some(run)
}

fn run_back(text: &[u8], p: usize, low: usize) -> usize {
    let digits = super::text::run_start(text, p, low, |b| b.is_ascii_digit());
    match before(text, digits) {
        b'+' | b'(' if digits > low => digits - 1,
        _ => digits,
    }
}

/// Whether the group before `i`, if only a separator stands between, is digits.
fn digit_before(text: &[u8], i: usize) -> bool {
    let b = before(text, i);
    b.is_ascii_digit()
        || (matches!(b, b' ' | b'-' | b'.') && i > 1 && at(text, i - 2).is_ascii_digit())
}

/// Lets each entity take its groups.
fn judge(s: &mut Sieve<'_>, c: &Cluster<'_>) {
    let edge = is_edge(before(c.text, c.start)) || c.continued;
    let mut i = 0;
    // The groups no one has claimed so far.
    let mut free = 0;
    while let Some(g) = c.groups().get(i) {
        if is_date(c, i) {
            phone::find(s, c, free, i);
            i += 3;
            free = i;
            continue;
        }
        let starts_clean = i > 0 || edge;
        let whole = g.len() < MAX_RUN && is_edge_or_extension(c.text, g.end());
        let taken = if starts_clean && (whole || i + 1 < c.groups().len()) {
            card::find(s, c, i).or_else(|| ssn(s, c, i))
        } else {
            None
        };
        if let Some(n) = taken {
            phone::find(s, c, free, i);
            i += n;
            free = i;
        } else {
            i += 1;
        }
    }
    if edge {
        phone::find(s, c, free, c.groups().len());
    }
}

/// What may follow the last group of a number; `x` begins an extension.
fn is_edge_or_extension(text: &[u8], end: usize) -> bool {
    let b = at(text, end);
    is_edge(b) || matches!(b, b'x' | b'X')
}

/// Year, month, day in either order, with dashes or dots.
fn is_date(c: &Cluster<'_>, i: usize) -> bool {
    let Some([a, b, d]) = c.groups().get(i..i + 3) else { return false };
    let year = |g: &Group| g.len == 4 && (1900..2100).contains(&c.value(g));
    let short = |g: &Group, max| (1..=2).contains(&g.len) && (1..=max).contains(&c.value(g));
    let same = b.sep == d.sep && matches!(b.sep, Sep::Dash | Sep::Dot);
    same && short(b, 31) && ((year(a) && short(d, 31)) || (year(d) && short(a, 31) && b.len == 2))
}

/// The social security number in the three groups from `i`.
fn ssn(s: &mut Sieve<'_>, c: &Cluster<'_>, i: usize) -> Option<usize> {
    let groups = c.groups();
    let g = groups.get(i)?;
    if c.plus && i == 0 {
        return None;
    }
    if g.len == 9 && !c.continued && groups.len() == 1 {
        // Unbroken: only beside a word that says so.
        let (a, b, d) = (c.value(g) / 1_000_000, c.value(g) / 10_000 % 100, c.value(g) % 10_000);
        let told = is_ssn(a, b, d) && s.context(g.start, &TOLD);
        return told.then(|| {
            s.put(Entity::UsSsn, g.start, g.end(), 0.6);
            1
        });
    }
    let [a, b, d] = groups.get(i..i + 3)? else { return None };
    let shaped = (a.len, b.len, d.len) == (3, 2, 4)
        && b.sep == d.sep
        && matches!(b.sep, Sep::Dash | Sep::Space | Sep::Dot | Sep::Nbsp);
    // A longer number with the same separators is something else.
    let more = |g: Option<&Group>| g.is_some_and(|g| g.sep == b.sep || g.sep != Sep::Space);
    let less = i > 0 && (a.sep == b.sep || a.sep != Sep::Space);
    if !shaped || less || more(groups.get(i + 3)) || !is_edge(at(c.text, d.end())) {
        return None;
    }
    if !is_ssn(c.value(a), c.value(b), c.value(d)) {
        return None;
    }
    let score = if b.sep == Sep::Dash { 0.85 } else { 0.6 };
    s.put(Entity::UsSsn, a.start, d.end(), score);
    Some(3)
}

/// Area, group and serial as the Social Security Administration gave them
/// out (since 2011 any area but 000, 666 and 900 up), without the two numbers
/// it voided because they were printed in advertisements.
fn is_ssn(area: u32, group: u32, serial: u32) -> bool {
    let area_ok = area != 0 && area != 666 && area < 900;
    let voided = [(78, 5, 1120), (219, 9, 9999)].contains(&(area, group, serial));
    area_ok && group != 0 && serial != 0 && !voided
}
