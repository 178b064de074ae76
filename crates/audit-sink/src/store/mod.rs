//! The store: where the log goes to be kept, and to be checked by anyone.

mod source;

pub use source::Source;
