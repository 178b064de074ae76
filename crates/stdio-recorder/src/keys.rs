//! Which keystrokes of a terminal the record has.

use serde::Deserialize;

/// Which keystrokes of a terminal are kept; in a configuration `"echoed"`, `"all"`, `"none"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordInput {
    /// Those that the screen echoes, when it does; of others (passwords are typed without echo)
    /// only how many there were. Keys that print nothing, Enter and arrows, are kept.
    #[default]
    Echoed,
    /// All, on record before the target gets them. Passwords too.
    All,
    /// Only how many there were.
    None,
}
