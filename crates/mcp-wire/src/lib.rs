//! JSON-RPC 2.0 as the Model Context Protocol uses it, read strictly, without I/O.

pub mod answer;
pub mod code;
mod error;
mod flatten;
pub mod headers;
pub mod json;
mod keys;
mod lines;
mod message;
mod method;
mod tools;
mod trace;
mod value;
mod version;
mod visit;

pub use error::WireError;
pub use flatten::{ARGUMENTS, Field, Fields, MAX_FIELD_BYTES, MAX_FIELDS, flatten};
pub use headers::{HeaderMismatch, Headers, MismatchKind, check_headers};
pub use json::Limits;
pub use keys::folded;
pub use lines::Lines;
pub use message::{
    Body, Id, InputRequest, MAX_BATCH, MAX_ID_BYTES, MAX_ID_NUMBER, MAX_METHOD_BYTES, Message,
    Notification, Outcome, Request, Response, ResultType, parse, parse_one,
};
pub use method::{Call, MAX_NAME_BYTES, MAX_URI_BYTES, Method, Reference};
pub use tools::{Definition, List, MAX_SCHEMA_DEPTH, ParamHeaders};
pub use trace::{
    MAX_BAGGAGE_BYTES, MAX_BAGGAGE_ENTRIES, MAX_TRACEPARENT_BYTES, MAX_TRACESTATE_BYTES,
    NotATraceParent, Trace, TraceParent, baggage, trace_of,
};
pub use value::{Number, Object, Value};
pub use version::{
    Era, VERSION_HEADER, VERSION_META, Version, VersionError, version_over_http, version_over_stdio,
};
pub use visit::{Leaf, Path, Step};
