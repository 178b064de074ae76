//! Recognizers that come from the configuration.

use crate::config::RecognizerConfig;
use crate::detect::{Finding, Wanted};
use crate::entity::Entity;
use crate::luhn;
use regex::bytes::{Regex, RegexBuilder};

/// Longest line a custom pattern sees, in bytes; a longer line is cut there.
pub const MAX_CUSTOM_LINE: usize = 16 * 1024;
/// Most patterns of one recognizer.
pub const MAX_PATTERNS: usize = 32;
/// Longest expression, in bytes.
const MAX_REGEX: usize = 4096;
/// Largest compiled expression, in bytes.
const MAX_PROGRAM: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Recognizer {
    pub(crate) name: String,
    patterns: Vec<(Regex, f32)>,
    validate: Validate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validate {
    Always,
    Luhn,
    Mod97,
}

impl Recognizer {
    pub(crate) fn compile(
        c: &RecognizerConfig,
        problems: &mut Vec<(&'static str, String)>,
    ) -> Recognizer {
        let mut letters = c.name.bytes();
        let named = letters.next().is_some_and(|b| b.is_ascii_uppercase())
            && letters.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            && c.name.len() <= 64;
        if !named {
            problems.push((".name", format!("`{}` is not of the form [A-Z][A-Z0-9_]*", c.name)));
        }
        if Entity::from_name(&c.name).is_some() || ["ALL", "SECRET"].contains(&c.name.as_str()) {
            problems.push((".name", format!("`{}` is a built-in name", c.name)));
        }
        if c.patterns.is_empty() || c.patterns.len() > MAX_PATTERNS {
            problems.push((".patterns", format!("must hold 1 to {MAX_PATTERNS} patterns")));
        }
        let mut patterns = Vec::new();
        for p in c.patterns.iter().take(MAX_PATTERNS) {
            if p.regex().len() > MAX_REGEX {
                problems
                    .push((".patterns", format!("an expression is longer than {MAX_REGEX} bytes")));
                continue;
            }
            if !(0.0..=1.0).contains(&p.score()) {
                problems.push((".patterns", "a score is not between 0 and 1".to_owned()));
            }
            let built = RegexBuilder::new(p.regex())
                .unicode(false)
                .size_limit(MAX_PROGRAM)
                .dfa_size_limit(4 * MAX_PROGRAM)
                .build();
            match built {
                Ok(r) if r.is_match(b"") => {
                    problems.push((".patterns", format!("`{}` matches the empty text", p.regex())));
                }
                Ok(r) => patterns.push((r, p.score())),
                Err(e) => problems.push((".patterns", format!("`{}`: {e}", p.regex()))),
            }
        }
        let validate = match c.validate.as_deref() {
            None => Validate::Always,
            Some("luhn") => Validate::Luhn,
            Some("mod97") => Validate::Mod97,
            Some(other) => {
                problems.push((".validate", format!("`{other}` is neither `luhn` nor `mod97`")));
                Validate::Always
            }
        };
        Recognizer { name: c.name.clone(), patterns, validate }
    }

    fn accepts(&self, text: &[u8]) -> bool {
        match self.validate {
            Validate::Always => true,
            Validate::Luhn => luhn::valid(text),
            Validate::Mod97 => crate::detect::mod97(text) == Some(1),
        }
    }
}

/// Adds the custom findings in `text`, line by line, with offsets from `base`.
pub(crate) fn find(
    recognizers: &[Recognizer],
    text: &[u8],
    wanted: &Wanted,
    mut base: usize,
    found: &mut Vec<Finding>,
) {
    for line in text.split_inclusive(|b| *b == b'\n').flat_map(|l| l.chunks(MAX_CUSTOM_LINE)) {
        find_in_line(recognizers, line, wanted, base, found);
        base += line.len();
    }
}

/// Adds the custom findings in one line that begins at `base`.
pub(crate) fn find_in_line(
    recognizers: &[Recognizer],
    line: &[u8],
    wanted: &Wanted,
    base: usize,
    found: &mut Vec<Finding>,
) {
    for (n, r) in recognizers.iter().enumerate() {
        let Ok(n) = u8::try_from(n) else { continue };
        let entity = Entity::Custom(n);
        for (regex, score) in &r.patterns {
            if !wanted.takes(entity, *score) {
                continue;
            }
            for m in regex.find_iter(line).filter(|m| !m.is_empty() && r.accepts(m.as_bytes())) {
                let (start, end) = (base + m.start(), base + m.end());
                found.push(Finding { entity, start, end, score: *score });
            }
        }
    }
}
