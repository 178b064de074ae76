//! What must not be seen: detectors, operators, streaming masker.
//!
//! This crate finds sensitive values in text (payment cards, bank accounts,
//! mailboxes, phone numbers, keys and tokens) and puts something harmless in
//! their place. It knows bytes and text; it knows no protocol. A protocol
//! crate takes its frames apart, hands each text value to
//! [`Policy::mask_text`], and puts the frame together again.
//!
//! # Words
//!
//! * **entity**: a kind of sensitive value, named as in Microsoft Presidio
//!   ([`Entity`]).
//! * **finding**: one place in a text with its entity and a score ([`Finding`]).
//! * **operator**: what is put in a value's place, again Presidio's names
//!   ([`Operator`]): keep, replace, redact, mask, hash, pseudonymize, null.
//! * **sink**: who will see the text ([`Sink`]): the client, or the record. A
//!   rule has an operator for each.
//! * **rule**: by entity (found by content), by column or by path (known by
//!   name); the first that applies wins.
//! * **receipt**: how much was masked, by entity; never values ([`Receipt`]).
//!
//! # Example
//!
//! ```
//! use masking::{Config, OperatorConfig, Outcome, Policy, Receipt, RuleConfig, Sink};
//!
//! let config = Config {
//!     rules: vec![RuleConfig {
//!         entity: vec!["EMAIL_ADDRESS".into()],
//!         client: Some(OperatorConfig::named("replace")),
//!         ..RuleConfig::default()
//!     }],
//!     ..Config::default()
//! };
//! let policy = Policy::compile(&config, None).map_err(|p| format!("{p:?}"))?;
//!
//! let (mut out, mut receipt) = (Vec::new(), Receipt::new());
//! let outcome =
//!     policy.mask_text(Sink::Client, b"write to jane@example.com", &mut out, &mut receipt);
//! assert_eq!(outcome, Outcome::Replaced);
//! assert_eq!(out, b"write to <EMAIL_ADDRESS>");
//! assert_eq!(receipt.masked, 1);
//! # Ok::<(), String>(())
//! ```
//!
//! # What it is not
//!
//! Masking is no access control: who may run any query can learn a value by
//! asking about it (`WHERE ssn LIKE '0%'`). Use column rules and the policy
//! crate for what must not be reached at all.

mod column;
mod compile;
mod config;
mod custom;
mod detect;
mod entity;
mod luhn;
mod operator;
mod path;
mod policy;
mod receipt;
mod stream;

pub use column::{ColumnName, ColumnRule};
pub use config::{
    Config, MAX_NAMES_PER_RULE, MAX_NEW_VALUE, MAX_RULES, MIN_KEY_BYTES, OnUnmaskable,
    OperatorConfig, PatternConfig, Problem, RecognizerConfig, RuleConfig, VERSION,
};
pub use custom::{MAX_CUSTOM_LINE, MAX_PATTERNS};
pub use detect::Finding;
pub use entity::{Entity, MAX_RECOGNIZERS};
pub use operator::{Applied, Key, Operator};
pub use path::{MAX_PATHS, MAX_SEGMENTS, PathRule, PathStep, PathWalk};
pub use policy::{MAX_OPERAND, Outcome, Policy, Sink};
pub use receipt::Receipt;
pub use stream::{Edit, Edits, Span, StreamMasker};
