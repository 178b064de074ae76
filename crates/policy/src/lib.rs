//! What may be done: rules and verdicts, for any protocol.
//!
//! A [`Command`] is what a principal asks for at once; it consists of [`Action`]s (a text with
//! three SQL statements has three). Each action is decided by the first [`Rule`] in file order that
//! matches it, or by the default, which is deny. The command's [`Verdict`] is the worst of its
//! actions': deny over hold over allow.
//!
//! A rule matches when every condition that is written holds. Within a list one word is enough,
//! with one exception that keeps an allow rule from letting more through than it names: `resources`
//! (and `access`) of an **allow** rule must fit *every* resource of the action, and there must be
//! one; those of a deny rule fit as soon as *any* does.
//!
//! An action may call code whose effect nobody here knows (an SQL function of a user's). Its class
//! takes that code for the worst it may be, so a rule that allows reads does not allow
//! `SELECT wipe()`; the `functions` of an allow rule name the code that its author vouches for.
//!
//! An action may have [`Argument`]s: fields of a request, what a tool is called with. A rule's
//! `arguments` names those it looks at. An allow rule wants each of them there and every
//! occurrence fitting; a deny rule matches as soon as one occurrence may fit, and also when the
//! arguments could not be read ([`Action::unread`]).
//!
//! The crate knows no protocol: classes, operations and flags are words that each protocol brings
//! in a [`Vocabulary`]. [`check`] reports every mistake in a configuration, also rules that can
//! never fire; [`Policy::compile`] refuses a configuration with any.
//!
//! ```
//! use policy::{Access, Action, Command, Config, Known, Naming, Policy, Resource, Subject, Verdict,
//!     Vocabulary};
//!
//! let config: Config = toml::from_str(r#"
//!     [[rule]]
//!     name = "no-payroll"
//!     effect = "deny"
//!     when = { resources = ["*.payroll*"] }
//!     reason = "ask the finance team"
//!     [[rule]]
//!     name = "agents-read"
//!     effect = "allow"
//!     principals = { kind = "agent" }
//!     when = { class = ["read"] }
//! "#).unwrap();
//! let words = Vocabulary {
//!     protocol: "postgres", classes: &["read", "write"], operations: &[], flags: &[], calls: true,
//!     arguments: &[],
//! };
//! let known = Known { vocabularies: &[words], targets: None, kinds: None };
//! let policy = Policy::compile(&config, &known).unwrap();
//!
//! let agent = Subject {
//!     kind: "agent", issuer: "https://id", subject: "a1", groups: &[], on_behalf_of: &[],
//! };
//! let table = [Resource { name: "hr.payroll_2026", naming: Naming::Whole, access: Access::Read }];
//! let select = [Action { resources: &table, ..Action::plain("SELECT", "read") }];
//! let command = Command { protocol: "postgres", target: "orders-eu", actions: &select };
//! let Verdict::Deny { rule, reason } = policy.judge(&agent, &command) else { panic!() };
//! assert_eq!((&*rule, reason.as_deref()), ("no-payroll", Some("ask the finance team")));
//! ```

mod arguments;
mod check;
mod command;
mod config;
mod cover;
pub mod glob;
mod judge;
#[cfg(test)]
mod laws;

pub use check::{Known, MAX_LIST_WORDS, MAX_RULES, Problem, ProblemKind, check};
pub use command::{Access, Action, Argument, Call, Command, Naming, Resource, Subject, Vocabulary};
pub use config::{
    AccessWord, Config, Effect, Expected, Fallback, OneOrMany, Principals, Range, Rule, When,
};
pub use judge::{DEFAULT_RULE, Policy, Verdict};
