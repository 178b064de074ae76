//! What the gate must know of a target; how to reach it is its protocol's matter.

use std::sync::Arc;

use serde::Deserialize;

/// When a record must be durable, by target. See "Durability" in ARCHITECTURE.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// The command's entry is durable before the command is forwarded, an answer is in the
    /// segment before it is released, the outcome is durable before the answer's end is.
    #[default]
    BeforeExecute,
    /// The command is forwarded at once; its entry is durable before the first byte of the
    /// answer is released; the outcome with the next group commit. A crash can leave a command
    /// that ran and is not on record; its answer was never seen.
    BeforeResponse,
    /// As `before-execute`, and every part of an answer is durable before it is released.
    BeforeRelease,
    /// As `before-execute`, with "durable" meaning acknowledged by the object store.
    Store,
}

/// How much of a target's traffic is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingLevel {
    /// Commands, outcomes, and the answers themselves.
    #[default]
    Full,
    /// Commands and their outcomes.
    Commands,
    /// Only commands that an operation's rule names, without their text. The others are
    /// counted; what is denied is always recorded.
    Operations,
}

/// A configured destination, as far as every protocol shares it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its configured name.
    pub name: Arc<str>,
    /// How much is kept.
    pub recording: RecordingLevel,
    /// When it must be durable.
    pub durability: Durability,
    /// What must not be seen by clients or kept in the record.
    pub masking: Arc<masking::Policy>,
    /// At recording level `operations`: rules whose names are the operations' names. A command
    /// that one of them allows is an operation.
    pub operations: Option<Arc<policy::Policy>>,
}

impl Target {
    /// A target with everything kept, durable before it is executed.
    pub fn new(name: impl Into<Arc<str>>, masking: masking::Policy) -> Self {
        Target {
            name: name.into(),
            recording: RecordingLevel::default(),
            durability: Durability::default(),
            masking: Arc::new(masking),
            operations: None,
        }
    }
}
