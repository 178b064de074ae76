//! Keys and tokens: values with a fixed prefix and a long random rest, PEM
//! blocks and JSON web tokens.
//!
//! They have no upper length, so finding one yields only where it begins and
//! a [`Run`] that tells, byte by byte, where it ends.

use super::Sieve;
use super::auth::{self, is_keyed};
use super::text::{Bytes, at, before, is_edge, run_end, run_start, slice};
use crate::entity::Entity;

/// How far back from its 16th word character a token may begin.
const MAX_BACK: usize = 96;
/// Longest first part of a JSON web token that is told apart; a longer one is
/// taken for a token without looking for the dot.
pub(super) const MAX_JWT_HEAD: usize = 256;
/// Longest `-----BEGIN …-----` line looked at.
const MAX_PEM_LABEL: usize = 64;

/// A vendor's prefix, the least length of what follows, and what it is.
struct Prefix(&'static [u8], usize, Entity);

/// Prefixes as their vendors publish them (secret scanning partner lists).
const PREFIXES: [Prefix; 56] = [
    Prefix(b"AKIA", 16, Entity::AwsAccessKey),
    Prefix(b"ASIA", 16, Entity::AwsAccessKey),
    Prefix(b"ABIA", 16, Entity::AwsAccessKey),
    Prefix(b"ACCA", 16, Entity::AwsAccessKey),
    Prefix(b"ghp_", 36, Entity::GithubToken),
    Prefix(b"gho_", 36, Entity::GithubToken),
    Prefix(b"ghu_", 36, Entity::GithubToken),
    Prefix(b"ghs_", 36, Entity::GithubToken),
    Prefix(b"ghr_", 36, Entity::GithubToken),
    Prefix(b"github_pat_", 36, Entity::GithubToken),
    Prefix(b"xoxb-", 20, Entity::SlackToken),
    Prefix(b"xoxp-", 20, Entity::SlackToken),
    Prefix(b"xoxa-", 20, Entity::SlackToken),
    Prefix(b"xoxr-", 20, Entity::SlackToken),
    Prefix(b"xoxs-", 20, Entity::SlackToken),
    Prefix(b"xoxe-", 20, Entity::SlackToken),
    Prefix(b"xoxe.xox", 20, Entity::SlackToken),
    Prefix(b"xapp-", 20, Entity::SlackToken),
    Prefix(b"sk_live_", 16, Entity::StripeKey),
    Prefix(b"rk_live_", 16, Entity::StripeKey),
    Prefix(b"sk_test_", 16, Entity::StripeKey),
    Prefix(b"rk_test_", 16, Entity::StripeKey),
    Prefix(b"whsec_", 24, Entity::StripeKey),
    Prefix(b"AIza", 35, Entity::GoogleApiKey),
    Prefix(b"GOCSPX-", 28, Entity::GoogleApiKey),
    Prefix(b"ya29.", 20, Entity::GoogleApiKey),
    Prefix(b"glpat-", 20, Entity::GitlabToken),
    Prefix(b"glptt-", 20, Entity::GitlabToken),
    Prefix(b"gldt-", 20, Entity::GitlabToken),
    Prefix(b"glrt-", 20, Entity::GitlabToken),
    Prefix(b"glcbt-", 20, Entity::GitlabToken),
    Prefix(b"glsoat-", 20, Entity::GitlabToken),
    Prefix(b"npm_", 36, Entity::NpmToken),
    Prefix(b"sk-ant-", 24, Entity::ApiToken),
    Prefix(b"sk-proj-", 24, Entity::ApiToken),
    Prefix(b"sk-", 40, Entity::ApiToken),
    Prefix(b"SG.", 60, Entity::ApiToken),
    Prefix(b"dop_v1_", 64, Entity::ApiToken),
    Prefix(b"doo_v1_", 64, Entity::ApiToken),
    Prefix(b"hf_", 30, Entity::ApiToken),
    Prefix(b"pypi-", 50, Entity::ApiToken),
    Prefix(b"shpat_", 32, Entity::ApiToken),
    Prefix(b"shpss_", 32, Entity::ApiToken),
    Prefix(b"shpca_", 32, Entity::ApiToken),
    Prefix(b"lin_api_", 32, Entity::ApiToken),
    Prefix(b"dckr_pat_", 24, Entity::ApiToken),
    Prefix(b"hvs.", 24, Entity::ApiToken),
    Prefix(b"hvb.", 24, Entity::ApiToken),
    Prefix(b"PMAK-", 40, Entity::ApiToken),
    Prefix(b"sq0atp-", 22, Entity::ApiToken),
    Prefix(b"sq0csp-", 40, Entity::ApiToken),
    Prefix(b"EAAA", 60, Entity::ApiToken),
    Prefix(b"ATATT3", 60, Entity::ApiToken),
    Prefix(b"NRAK-", 27, Entity::ApiToken),
    Prefix(b"dapi", 32, Entity::ApiToken),
    Prefix(b"AGE-SECRET-KEY-1", 40, Entity::ApiToken),
];

/// The bytes that one of [`PREFIXES`] begins with, a bit each: most words begin with none.
const FIRSTS: u128 = {
    let mut firsts = 0;
    let mut rest = PREFIXES.as_slice();
    while let [Prefix([first, ..], ..), more @ ..] = rest {
        firsts |= 1u128 << *first;
        rest = more;
    }
    firsts
};

/// A secret of any length: where it begins, and how to find its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secret {
    pub(crate) start: usize,
    pub(crate) entity: Entity,
    pub(crate) score: f32,
    pub(crate) run: Run,
}

/// Tells where a secret ends, one byte after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Characters of base64url, with dots and padding.
    Token,
    /// The same, and those of base64.
    Value,
    /// Up to this quote, unless a backslash is before it, or the line's end. 0: up to what ends a
    /// word; a backslash: up to the quote with a backslash, inside a string.
    Until { quote: u8, escaped: bool },
    /// A PEM block, up to the last dash of its END line or the first byte that
    /// cannot be in one.
    Pem {
        dashes: u8,
        /// How much of `-----END` was seen: 0 to 3 letters.
        letters: u8,
        ending: bool,
        over: bool,
    },
}

impl Run {
    const PEM: Run = Run::Pem { dashes: 0, letters: 0, ending: false, over: false };

    /// Takes one more byte; false when it is no longer part of the secret.
    pub(crate) fn takes(&mut self, b: u8) -> bool {
        match self {
            Run::Token => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'='),
            Run::Value => is_keyed(b) || b == b'=',
            Run::Until { quote: 0, .. } => b > b' ' && !b",;&\"'<>)]}|\\`".contains(&b),
            Run::Until { quote: b'\\', .. } => !matches!(b, b'\\' | b'"' | b'\n'),
            Run::Until { quote, escaped } => {
                let ends = b == b'\n' || b == *quote && !*escaped;
                *escaped = b == b'\\' && !*escaped;
                !ends
            }
            Run::Pem { dashes, letters, ending, over } => {
                if *over || !is_pem(b) {
                    return false;
                }
                *letters = match (*letters, b) {
                    (0, b'E') if *dashes >= 5 => 1,
                    (1, b'N') => 2,
                    (2, b'D') => {
                        *ending = true;
                        0
                    }
                    _ => 0,
                };
                *dashes = if b == b'-' { dashes.saturating_add(1) } else { 0 };
                *over = *ending && *dashes == 5;
                true
            }
        }
    }

    /// How many bytes of `text` belong to it; less than all means it ended.
    pub(crate) fn length(&mut self, text: &[u8]) -> usize {
        text.iter().position(|b| !self.takes(*b)).unwrap_or(text.len())
    }
}

/// Base64, headers, line ends (also written as `\n` in JSON) and dashes.
fn is_pem(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"+/=\r\n\t\\ :,.-_".contains(&b)
}

/// Looks at the letter behind five dashes at `p`.
pub(super) fn pem(s: &Sieve<'_>, p: usize) -> Option<Secret> {
    let text = s.text;
    let label = slice(text, p, text.len().min(p + MAX_PEM_LABEL));
    let rest = label.strip_prefix(b"BEGIN ")?;
    let end = rest.windows(5).position(|w| w == b"-----")?;
    let name = rest.get(..end)?;
    let private = name.ends_with(b"PRIVATE KEY") || name == b"PGP PRIVATE KEY BLOCK";
    (private && s.wanted.takes(Entity::PemKey, 1.0)).then_some(Secret {
        start: p.saturating_sub(5),
        entity: Entity::PemKey,
        score: 1.0,
        run: Run::PEM,
    })
}

#[inline(always)]
fn is_token(b: u8) -> bool {
    static TOKEN: Bytes = Bytes::alphanumeric_and(b"_-");
    TOKEN.has(b)
}

/// Looks at the 16 word characters that end at `p`.
pub(super) fn token(s: &mut Sieve<'_>, p: usize) -> Option<Secret> {
    if p < s.state.token {
        return None;
    }
    let text = s.text;
    let low = s.state.token.max(p.saturating_sub(MAX_BACK));
    static WORD: Bytes = Bytes::alphanumeric_and(b"_");
    static DOTTED: Bytes = Bytes::alphanumeric_and(b"_-.");
    let word = run_start(text, p + 1, low, |b| WORD.has(b));
    let whole = run_start(text, word, low, |b| DOTTED.has(b));
    s.state.token = p + 1;
    // The places a token may begin: after anything that is not part of one,
    // or after a dash, dot or underline inside a longer word.
    let mut at_start = true;
    for i in whole..=word {
        if at_start && let Some(found) = begins(s, i) {
            return Some(found);
        }
        at_start = matches!(at(text, i), b'-' | b'.');
    }
    if let Some(found) = auth::keyed(s, p, low) {
        return Some(found);
    }
    let end = run_end(text, p, 96, |b| b.is_ascii_alphanumeric());
    super::crypto::find(s, word, end);
    None
}

/// The secret that begins at `i`, if one does.
fn begins(s: &Sieve<'_>, i: usize) -> Option<Secret> {
    let text = s.text;
    if !is_edge(before(text, i)) {
        return None;
    }
    let secret = |entity, score| Secret { start: i, entity, score, run: Run::Token };
    let takes = |e: Entity, score: f32| s.wanted.takes(e, score);
    let first = at(text, i);
    if first == b'e' && is_jwt(text, i) {
        return takes(Entity::Jwt, 0.95).then(|| secret(Entity::Jwt, 0.95));
    }
    if !first.is_ascii() || FIRSTS >> first & 1 == 0 {
        return None;
    }
    let rest = slice(text, i, text.len().min(i + 128));
    let known = PREFIXES.iter().find(|p| {
        p.0.first() == Some(&first)
            && rest.strip_prefix(p.0).is_some_and(|body| {
                let dots = matches!(p.0, b"SG." | b"xoxe.xox" | b"hvs." | b"hvb." | b"ya29.");
                body.iter().take_while(|b| is_token(**b) || (dots && **b == b'.')).count() >= p.1
            })
    })?;
    if known.2 == Entity::AwsAccessKey && !is_aws(text, i) {
        return None;
    }
    let body = slice(text, i + known.0.len(), i + known.0.len() + known.1);
    // Words and placeholders (`sk-xxxxxxxx…`) are no keys.
    let mixed = body.iter().any(u8::is_ascii_digit) || body.iter().any(u8::is_ascii_uppercase);
    let varied = body.iter().any(|b| Some(b) != body.first());
    (mixed && varied && takes(known.2, 0.9)).then(|| secret(known.2, 0.9))
}

/// Exactly 20 characters of the base32 alphabet.
fn is_aws(text: &[u8], i: usize) -> bool {
    let end = run_end(text, i, 21, |b| b.is_ascii_uppercase() || b.is_ascii_digit());
    end - i == 20 && is_edge(at(text, end))
}

/// RFC 7519 section 3: a JSON object in base64url (`{"` is `eyJ`), a dot and more.
fn is_jwt(text: &[u8], i: usize) -> bool {
    if slice(text, i, i + 3) != b"eyJ" {
        return false;
    }
    let end = run_end(text, i, MAX_JWT_HEAD, is_token);
    if end - i == MAX_JWT_HEAD {
        return true;
    }
    let second = run_end(text, end + 1, 8, is_token);
    end - i >= 16 && at(text, end) == b'.' && second - end > 4
}
