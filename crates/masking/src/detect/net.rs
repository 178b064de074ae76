//! `IP_ADDRESS` and `MAC_ADDRESS`.

use super::Sieve;
use super::text::{at, before, is_edge, run_end, run_start, slice};
use crate::entity::Entity;
use std::net::Ipv6Addr;

/// Longest IPv6 text (RFC 4291 section 2.2 form 3).
const MAX_V6: usize = 45;
/// Longest hardware address text: `01:02:03:04:05:06:07:08`.
const MAX_MAC: usize = 23;

/// Looks for an IPv4 address around `p`. Answers where it ends.
pub(super) fn ipv4(s: &mut Sieve<'_>, p: usize) -> Option<usize> {
    let text = s.text;
    let low = p.saturating_sub(15);
    let start = run_start(text, p + 1, low, |b| b.is_ascii_digit() || b == b'.');
    let mut i = start;
    for octet in 0..4 {
        let end = run_end(text, i, 4, |b| b.is_ascii_digit());
        let value = slice(text, i, end).iter().fold(0u32, |v, b| v * 10 + u32::from(b - b'0'));
        if end == i || end - i > 3 || value > 255 {
            return None;
        }
        i = end;
        if octet < 3 {
            if at(text, i) != b'.' {
                return None;
            }
            i += 1;
        }
    }
    let after = at(text, i);
    let five = after == b'.' && at(text, i + 1).is_ascii_digit();
    if !is_edge(before(text, start)) || !is_edge(after) || five || before(text, start) == b'.' {
        return None;
    }
    let end = prefix_end(text, i, 32);
    s.put(Entity::IpAddress, start, end, 0.9);
    Some(end)
}

/// The end of a prefix length (`/24`) at `i`, or `i`.
fn prefix_end(text: &[u8], i: usize, max: u32) -> usize {
    if at(text, i) != b'/' {
        return i;
    }
    let end = run_end(text, i + 1, 4, |b| b.is_ascii_digit());
    let n = slice(text, i + 1, end).iter().fold(0u32, |v, b| v * 10 + u32::from(b - b'0'));
    if end > i + 1 && n <= max && is_edge(at(text, end)) { end } else { i }
}

/// Looks for an IPv6 address around the colon at `p`.
pub(super) fn ipv6(s: &mut Sieve<'_>, p: usize) -> bool {
    let text = s.text;
    let part = |b: u8| b.is_ascii_hexdigit() || b == b':' || b == b'.';
    let start = run_start(text, p + 1, p.saturating_sub(MAX_V6), part);
    let mut end = run_end(text, start, MAX_V6 + 2, part);
    let mut start = start;
    // Punctuation around it.
    while matches!(before(text, end), b'.') || lone_colon_at_end(slice(text, start, end)) {
        end -= 1;
    }
    while at(text, start) == b'.' || lone_colon_at_start(slice(text, start, end)) {
        start += 1;
    }
    if end <= start || end - start > MAX_V6 {
        return false;
    }
    if !is_edge(before(text, start)) || !is_edge(at(text, end)) {
        return false;
    }
    let token = slice(text, start, end);
    let digit = token.iter().any(u8::is_ascii_digit);
    let groups = token.split(|b| *b == b':').count();
    let parsed = std::str::from_utf8(token).is_ok_and(|t| t.parse::<Ipv6Addr>().is_ok());
    // `a::b` is more often a path in a program than an address.
    if !parsed || !(digit || groups == 8) {
        return false;
    }
    if at(text, end) == b'%' {
        end = run_end(text, end + 1, 16, |b| b.is_ascii_alphanumeric());
    }
    let end = prefix_end(text, end, 128);
    s.put(Entity::IpAddress, start, end, if digit { 0.9 } else { 0.6 });
    true
}

fn lone_colon_at_end(token: &[u8]) -> bool {
    matches!(token, [.., a, b':'] if *a != b':') || token == b":"
}

fn lone_colon_at_start(token: &[u8]) -> bool {
    matches!(token, [b':', a, ..] if *a != b':')
}

/// Looks for a hardware address around the separator at `p`.
pub(super) fn mac(s: &mut Sieve<'_>, p: usize) -> bool {
    let text = s.text;
    let sep = at(text, p);
    let part = |b: u8| b.is_ascii_hexdigit() || b == sep;
    let (size, counts): (usize, [usize; 2]) = if sep == b'.' { (4, [3, 4]) } else { (2, [6, 8]) };
    let mut start = run_start(text, p, p.saturating_sub(MAX_MAC), part);
    if sep == b' ' {
        // Words before it end in hex letters as well: only pairs belong.
        start = pairs_start(text, p);
    }
    let mut groups = 0;
    let mut i = start;
    let end = loop {
        let end = run_end(text, i, size + 1, |b| b.is_ascii_hexdigit());
        if end - i != size {
            // A space may be followed by the next word.
            break if sep == b' ' && groups > 0 && end != i { i - 1 } else { return false };
        }
        groups += 1;
        if at(text, end) != sep || groups > 8 || !at(text, end + 1).is_ascii_hexdigit() {
            break end;
        }
        i = end + 1;
    };
    let token = slice(text, start, end);
    let letters = token.iter().any(|b| b.is_ascii_alphabetic());
    let digits = token.iter().any(u8::is_ascii_digit);
    if !counts.contains(&groups)
        || !is_edge(before(text, start))
        || !is_edge(at(text, end))
        || before(text, start) == sep && sep != b' '
        || at(text, end) == sep && sep == b':'
        // Two-digit numbers in a row are more often a table.
        || (sep != b':' && sep != b'-' && !letters)
        || (sep == b'.' && groups == 4 && !letters)
        || (sep != b':' && sep != b'-' && !digits)
    {
        return false;
    }
    s.put(Entity::MacAddress, start, end, if sep == b' ' { 0.6 } else { 0.8 });
    true
}

fn pairs_start(text: &[u8], p: usize) -> usize {
    let mut start = p;
    for _ in 0..8 {
        let run = run_start(text, start, start.saturating_sub(3), |b| b.is_ascii_hexdigit());
        if start - run != 2 {
            return if start == p { p } else { start + 1 };
        }
        start = run;
        if before(text, start) != b' ' {
            return start;
        }
        start -= 1;
    }
    start + 1
}
