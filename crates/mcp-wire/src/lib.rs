//! JSON-RPC 2.0 as the Model Context Protocol uses it, read strictly, without I/O.

pub mod code;
mod error;
pub mod json;
mod keys;
mod message;
mod method;
mod value;

pub use error::WireError;
pub use json::Limits;
pub use keys::folded;
pub use message::{
    Body, Id, InputRequest, MAX_BATCH, MAX_ID_BYTES, MAX_ID_NUMBER, MAX_METHOD_BYTES, Message,
    Notification, Outcome, Request, Response, ResultType, parse, parse_one,
};
pub use method::{Call, MAX_NAME_BYTES, MAX_URI_BYTES, Method, Reference};
pub use value::{Number, Object, Value};
