//! The content of HTTP messages: content codings, and masking of bodies by
//! media type, streaming, in bounded memory. No I/O.

mod body;
pub mod coding;
mod error;
mod escape;
mod eyes;
mod field;
mod form;
pub mod headers;
mod json;
pub mod media;
mod multipart;
mod nested;
pub mod query;
mod recode;
mod sse;

pub use body::{BodyMasker, SNIFF};
pub use error::{ContentError, Sides};
pub use eyes::Counts;
pub use json::{MAX_DEPTH, MAX_GAP, MAX_NAME, MAX_NUMBER, MAX_STRING};
pub use multipart::{MAX_PADDING, MAX_PART_HEAD};
pub use sse::MAX_EVENT;
