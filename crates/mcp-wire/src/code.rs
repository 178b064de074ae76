//! JSON-RPC error codes.

/// The bytes are not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// Not a message.
pub const INVALID_REQUEST: i64 = -32600;
/// No such method; over HTTP 404 since 2026-07-28.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Parameters are missing or wrong.
pub const INVALID_PARAMS: i64 = -32602;
/// Something failed on our side.
pub const INTERNAL_ERROR: i64 = -32603;
/// A header and the body do not say the same (2026-07-28); over HTTP 400.
pub const HEADER_MISMATCH: i64 = -32020;
/// The client can't do what the request needs (2026-07-28); over HTTP 400.
pub const MISSING_CAPABILITY: i64 = -32021;
/// A version of the protocol that isn't spoken here (2026-07-28); over HTTP 400.
pub const UNSUPPORTED_VERSION: i64 = -32022;

// Ours. The specification of 2026-07-28 asks for codes outside -32768..=-32000.

/// A rule denies it.
pub const DENIED: i64 = 403;
/// It waits for an approval.
pub const HELD: i64 = 423;
/// It can't be recorded, so it is not done.
pub const UNRECORDED: i64 = 503;
