//! Reading the record back: who did what, joined, filtered, and safe to print.
//!
//! The log holds entries; a person asks about **exchanges**: a command and what became of it.
//! A [`Joiner`] takes entries in the order of the log and gives [`Item`]s. [`read`] feeds one
//! from a store, where every entry is proved against a signed checkpoint as it is read.
//! [`check`] verifies a whole log, and that every chunk its entries name is there.
//!
//! Recorded text was written by somebody else, perhaps to harm who reads it. So everything that
//! goes to a terminal passes through [`term::sanitise`]; [`term::Table`] does that by itself.
//!
//! ```
//! use trail::{Item, Joiner};
//!
//! let entry = r#"{"v":1,"type":"session_end","time":"2026-11-23T16:00:00.000000Z","salt":"00",
//!     "session":"0192","reason":"client closed","commands":3,"denied":1}"#;
//! let items = Joiner::new().push(17, entry.as_bytes());
//! assert!(matches!(&items[..], [Item::SessionEnd(end)] if end.denied == 1 && end.index == 17));
//! assert_eq!(trail::term::sanitise("\x1b[2Jgone"), "\\x1b[2Jgone");
//! ```

mod back;
mod check;
mod filter;
mod frames;
mod item;
mod join;
mod parts;
mod read;
pub mod term;
mod trace;

pub use back::{Look, look_back};
pub use check::{Checked, check};
pub use filter::{Filter, NotAMoment, moment};
pub use frames::{Answer, MAX_FRAME_BYTES, RowSet, answer};
pub use item::{
    Exchange, Instance, Item, Outcome, Part, Refused, ResultSet, SessionClosed, SessionOpened,
    Unknown, Value, Who,
};
pub use join::{Joiner, MAX_PENDING};
pub use parts::Parts;
pub use read::{ReadError, part_bytes, read, spilled_text, spilled_values};
pub use trace::{Step, chain};
