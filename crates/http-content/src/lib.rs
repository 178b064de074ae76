//! The content of HTTP messages: content codings, and masking of bodies by
//! media type, streaming, in bounded memory. No I/O.

mod body;
pub mod coding;
mod error;
mod escape;
mod eyes;
mod json;
pub mod media;
mod nested;
mod recode;

pub use body::{BodyMasker, SNIFF};
pub use error::{ContentError, Sides};
pub use eyes::Counts;
pub use json::{MAX_DEPTH, MAX_GAP, MAX_NAME, MAX_NUMBER, MAX_STRING};
