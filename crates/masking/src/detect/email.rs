//! `EMAIL_ADDRESS`: RFC 5321 mailboxes with a domain of two labels or more.

use super::Sieve;
use super::text::{at, before, run_end, run_start, slice};
use crate::entity::Entity;

/// Longest local part looked at, in bytes. RFC 5321 allows 64; what is longer
/// is still somebody's address to some servers.
pub(super) const MAX_LOCAL: usize = 128;
/// Longest domain, RFC 1035 section 2.3.4.
pub(super) const MAX_DOMAIN: usize = 255;

/// atext of RFC 5322 with the dot, and RFC 6531's bytes above ASCII, without
/// what is far more often syntax around an address than part of it.
fn is_local(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 0x80 || b".!#$%&'*+-^_|~".contains(&b)
}

fn is_domain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 0x80 || b == b'-' || b == b'.'
}

/// File name endings that are no top-level domain: `icon@2x.png`.
const FILES: [&[u8]; 8] = [b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"html"];

/// Looks at the `@` at `p`.
pub(super) fn find(s: &mut Sieve<'_>, p: usize) {
    let text = s.text;
    let Some(start) = local_start(text, p) else { return };
    let Some(end) = domain_end(text, p + 1) else { return };
    s.put(Entity::EmailAddress, start, end, 0.95);
}

fn local_start(text: &[u8], p: usize) -> Option<usize> {
    let low = p.saturating_sub(MAX_LOCAL);
    if before(text, p) == b'"' {
        return quoted_start(text, p - 1, low);
    }
    let start = run_start(text, p, low, is_local);
    // Quotes and dots around it are not part of it.
    let skip = run_end(text, start, p - start, |b| b".'!*#&|~^".contains(&b) || b == b'`');
    let last = before(text, p);
    (skip < p && last != b'.').then_some(skip)
}

/// `"any text"@`: from the opening quote, on the same line.
fn quoted_start(text: &[u8], quote: usize, low: usize) -> Option<usize> {
    let inner = run_start(text, quote, low, |b| b != b'"' && b >= b' ');
    (inner > low && inner < quote && before(text, inner) == b'"').then(|| inner - 1)
}

fn domain_end(text: &[u8], start: usize) -> Option<usize> {
    if at(text, start) == b'[' {
        let end = run_end(text, start + 1, 64, |b| b.is_ascii_hexdigit() || b".:IPv".contains(&b));
        return (end > start + 7 && at(text, end) == b']').then(|| end + 1);
    }
    let mut end = run_end(text, start, MAX_DOMAIN, is_domain);
    // A sentence's full stop, or a dash after it, is not part of it.
    while end > start && matches!(before(text, end), b'.' | b'-') {
        end -= 1;
    }
    // Labels from the right: the last must be a plausible top-level domain; if
    // it is not ("…example.com.123"), what stands before it may be.
    while end > start {
        let dot = run_start(text, end, start, |b| b != b'.');
        if dot == start {
            return None;
        }
        let label = slice(text, dot, end);
        if is_top(label) {
            return labels_fit(slice(text, start, dot - 1)).then_some(end);
        }
        end = dot - 1;
    }
    None
}

fn is_top(label: &[u8]) -> bool {
    let alphabetic = label.iter().all(|b| b.is_ascii_alphabetic() || *b >= 0x80);
    let puny = label.len() > 4 && label.get(..4).is_some_and(|x| x.eq_ignore_ascii_case(b"xn--"));
    label.len() >= 2
        && label.len() <= 63
        && (alphabetic || puny)
        && !FILES.iter().any(|f| label.eq_ignore_ascii_case(f))
}

fn labels_fit(domain: &[u8]) -> bool {
    domain.split(|b| *b == b'.').all(|l| {
        !l.is_empty() && l.len() <= 63 && l.first() != Some(&b'-') && l.last() != Some(&b'-')
    })
}
