//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// Two words are taken for a slip of the same one up to this many edits.
const MAX_EDITS: usize = 2;

/// One mistake. The operator's to mend; never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column, in characters, from 1.
    pub column: usize,
    /// The key: `target.orders.role[0].password`, lists counted from 0. Empty for a file that is
    /// no TOML.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// A configuration can't be used: every mistake that was found, in the order of the file.
/// `Display` gives a line for each, `greffier.toml:12:1: target.orders.prot: unknown key …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The mistakes; never empty.
    pub all: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_all(f, &self.file, &self.all)
    }
}

impl std::error::Error for Problems {}

pub(crate) fn write_all(f: &mut fmt::Formatter<'_>, file: &Path, all: &[Problem]) -> fmt::Result {
    for (at, problem) in all.iter().enumerate() {
        let end = if at == 0 { "" } else { "\n" };
        write!(f, "{end}{}:{problem}", file.display())?;
    }
    Ok(())
}

/// The word that was most likely meant.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |known: &'a str| (strsim::damerau_levenshtein(word, known), known);
    let nearest = known.into_iter().map(distance).min()?;
    (nearest.0 <= MAX_EDITS && nearest.0 < nearest.1.len()).then_some(nearest.1)
}

/// `unknown …; did you mean …?`, or what there is.
pub(crate) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    match did_you_mean(word, known.iter().copied()) {
        Some(meant) => format!("unknown {what}; did you mean `{meant}`?"),
        None if known.is_empty() => format!("unknown {what}; there are none"),
        None => format!("unknown {what}; there are: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_slips_and_nothing_else() {
        assert_eq!(did_you_mean("durabilty", ["database", "durability"]), Some("durability"));
        assert_eq!(did_you_mean("rloe", ["role", "recording"]), Some("role"));
        assert_eq!(did_you_mean("colour", ["role", "recording"]), None);
        assert_eq!(did_you_mean("x", ["tls"]), None);
    }
}
