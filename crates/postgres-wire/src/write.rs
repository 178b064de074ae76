//! Writers for the messages a proxy makes itself.
//!
//! Each appends one whole message, or nothing and an error. Lengths are checked
//! before they are written: no length ever wraps (CVE-2024-27304), no string
//! with a NUL inside is ever sent.

use crate::backend::TransactionStatus;
use crate::error::WriteError;
use crate::frame::LARGE_MESSAGE_LIMIT;
use crate::frontend::{Format, Target};
use crate::startup::{CancelKey, MAX_CANCEL_KEY, MIN_CANCEL_KEY, ProtocolVersion};

/// A growing buffer to write into: `Vec<u8>` or [`bytes::BytesMut`].
pub trait WireBuf {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);
    /// Bytes written so far.
    fn size(&self) -> usize;
    /// Cuts back to `size` bytes.
    fn cut(&mut self, size: usize);
    /// All bytes written so far.
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl WireBuf for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
    fn size(&self) -> usize {
        self.len()
    }
    fn cut(&mut self, size: usize) {
        self.truncate(size);
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl WireBuf for bytes::BytesMut {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
    fn size(&self) -> usize {
        self.len()
    }
    fn cut(&mut self, size: usize) {
        self.truncate(size);
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// Writes over bytes that are already there; false if they are not.
pub(crate) fn patch<B: WireBuf>(out: &mut B, at: usize, bytes: [u8; 4]) -> bool {
    let there = at.checked_add(4).and_then(|end| out.bytes_mut().get_mut(at..end));
    there.map(|slot| slot.copy_from_slice(&bytes)).is_some()
}

/// Appends a length that counts itself, and the body that `body` writes.
pub(crate) fn length_prefixed<B: WireBuf>(
    out: &mut B,
    limit: usize,
    what: &'static str,
    body: impl FnOnce(&mut B) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let at = out.size();
    out.put(&[0; 4]);
    let result = body(out).and_then(|()| {
        let length = out.size().saturating_sub(at);
        let small = u32::try_from(length).ok().filter(|_| length <= limit);
        let length = small.ok_or(WriteError::TooLarge { field: what })?;
        if patch(out, at, length.to_be_bytes()) { Ok(()) } else { Err(lost(what)) }
    });
    if result.is_err() {
        out.cut(at);
    }
    result
}

const fn lost(what: &'static str) -> WriteError {
    WriteError::BadValue { field: what }
}

/// Appends one message: `tag`, the length, and the body that `body` writes.
///
/// # Errors
/// Those of `body`, or a message above [`LARGE_MESSAGE_LIMIT`]; nothing is appended then.
pub fn message<B: WireBuf>(
    out: &mut B,
    tag: u8,
    body: impl FnOnce(&mut B) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let at = out.size();
    out.put(&[tag]);
    let result = length_prefixed(out, LARGE_MESSAGE_LIMIT, "the message", body);
    if result.is_err() {
        out.cut(at);
    }
    result
}

/// Appends a string and its NUL.
///
/// # Errors
/// A NUL inside.
pub fn cstr<B: WireBuf>(out: &mut B, text: &[u8], field: &'static str) -> Result<(), WriteError> {
    if memchr::memchr(0, text).is_some() {
        return Err(WriteError::InteriorNul { field });
    }
    out.put(text);
    out.put(&[0]);
    Ok(())
}

/// Appends a value behind its Int32 length; `None` is NULL.
///
/// # Errors
/// A value longer than a message may be.
pub fn value<B: WireBuf>(out: &mut B, value: Option<&[u8]>) -> Result<(), WriteError> {
    let Some(value) = value else {
        out.put(&(-1i32).to_be_bytes());
        return Ok(());
    };
    let length = i32::try_from(value.len()).ok().filter(|_| value.len() <= LARGE_MESSAGE_LIMIT);
    out.put(&length.ok_or(WriteError::TooLarge { field: "a value" })?.to_be_bytes());
    out.put(value);
    Ok(())
}

fn count<B: WireBuf>(out: &mut B, n: usize, field: &'static str) -> Result<(), WriteError> {
    out.put(&u16::try_from(n).map_err(|_| WriteError::TooLarge { field })?.to_be_bytes());
    Ok(())
}

// === to the client ===

fn authentication<B: WireBuf>(out: &mut B, code: u32, data: &[u8]) -> Result<(), WriteError> {
    message(out, b'R', |out| {
        out.put(&code.to_be_bytes());
        out.put(data);
        Ok(())
    })
}

/// AuthenticationOk.
pub fn authentication_ok<B: WireBuf>(out: &mut B) {
    out.put(&[b'R', 0, 0, 0, 8, 0, 0, 0, 0]);
}

/// AuthenticationCleartextPassword.
pub fn authentication_cleartext<B: WireBuf>(out: &mut B) {
    out.put(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]);
}

/// AuthenticationSASL: the mechanisms on offer, best first.
///
/// # Errors
/// An empty name or one with a NUL.
pub fn authentication_sasl<B: WireBuf>(out: &mut B, mechanisms: &[&str]) -> Result<(), WriteError> {
    message(out, b'R', |out| {
        out.put(&10u32.to_be_bytes());
        for name in mechanisms {
            if name.is_empty() {
                return Err(WriteError::BadValue { field: "a mechanism" });
            }
            cstr(out, name.as_bytes(), "a mechanism")?;
        }
        out.put(&[0]);
        Ok(())
    })
}

/// AuthenticationSASLContinue.
///
/// # Errors
/// Data too large.
pub fn authentication_sasl_continue<B: WireBuf>(
    out: &mut B,
    data: &[u8],
) -> Result<(), WriteError> {
    authentication(out, 11, data)
}

/// AuthenticationSASLFinal.
///
/// # Errors
/// Data too large.
pub fn authentication_sasl_final<B: WireBuf>(out: &mut B, data: &[u8]) -> Result<(), WriteError> {
    authentication(out, 12, data)
}

/// NegotiateProtocolVersion: the newest version spoken, and options not known.
///
/// # Errors
/// A NUL in an option's name.
pub fn negotiate_protocol_version<B: WireBuf>(
    out: &mut B,
    newest: ProtocolVersion,
    unknown_options: &[&[u8]],
) -> Result<(), WriteError> {
    message(out, b'v', |out| {
        out.put(&newest.code().to_be_bytes());
        let n = u32::try_from(unknown_options.len());
        let n = n.map_err(|_| WriteError::TooLarge { field: "the options" })?;
        out.put(&n.to_be_bytes());
        for option in unknown_options {
            cstr(out, option, "an option's name")?;
        }
        Ok(())
    })
}

/// BackendKeyData.
///
/// # Errors
/// A secret that is not 4 to 256 bytes long (send 4 to a client that speaks 3.0).
pub fn backend_key_data<B: WireBuf>(out: &mut B, key: CancelKey<'_>) -> Result<(), WriteError> {
    if !(MIN_CANCEL_KEY..=MAX_CANCEL_KEY).contains(&key.secret.len()) {
        return Err(WriteError::BadValue { field: "the secret key" });
    }
    message(out, b'K', |out| {
        out.put(&key.process_id.to_be_bytes());
        out.put(key.secret);
        Ok(())
    })
}

/// ParameterStatus.
///
/// # Errors
/// A NUL inside.
pub fn parameter_status<B: WireBuf>(
    out: &mut B,
    name: &[u8],
    value: &[u8],
) -> Result<(), WriteError> {
    message(out, b'S', |out| {
        cstr(out, name, "the name")?;
        cstr(out, value, "the value")
    })
}

/// ReadyForQuery.
pub fn ready_for_query<B: WireBuf>(out: &mut B, status: TransactionStatus) {
    out.put(&[b'Z', 0, 0, 0, 5, status.code()]);
}

/// CommandComplete.
///
/// # Errors
/// A NUL inside.
pub fn command_complete<B: WireBuf>(out: &mut B, tag: &[u8]) -> Result<(), WriteError> {
    message(out, b'C', |out| cstr(out, tag, "the tag"))
}

/// Severity of an error or notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
    /// For NoticeResponse.
    Warning,
    /// For NoticeResponse.
    Notice,
}

impl Severity {
    /// As the wire writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
        }
    }
}

/// An error or notice that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// Severity, written to both `S` and `V`.
    pub severity: Severity,
    /// SQLSTATE: five letters (upper case) or digits.
    pub code: &'a str,
    /// The message, one line.
    pub message: &'a str,
    /// More about it, if anything.
    pub detail: Option<&'a str>,
    /// What to do, if anything.
    pub hint: Option<&'a str>,
}

/// ErrorResponse.
///
/// # Errors
/// A NUL in a text, or a code that is no SQLSTATE.
pub fn error_response<B: WireBuf>(out: &mut B, report: &Report<'_>) -> Result<(), WriteError> {
    write_report(out, b'E', report)
}

/// NoticeResponse.
///
/// # Errors
/// As [`error_response`].
pub fn notice_response<B: WireBuf>(out: &mut B, report: &Report<'_>) -> Result<(), WriteError> {
    write_report(out, b'N', report)
}

fn write_report<B: WireBuf>(out: &mut B, tag: u8, report: &Report<'_>) -> Result<(), WriteError> {
    let sqlstate = |b: u8| b.is_ascii_digit() || b.is_ascii_uppercase();
    if report.code.len() != 5 || !report.code.bytes().all(sqlstate) {
        return Err(WriteError::BadValue { field: "the SQLSTATE" });
    }
    let severity = report.severity.as_str();
    let fields = [
        (b'S', Some(severity)),
        (b'V', Some(severity)),
        (b'C', Some(report.code)),
        (b'M', Some(report.message)),
        (b'D', report.detail),
        (b'H', report.hint),
    ];
    let present = fields.iter().filter_map(|(code, text)| text.map(|t| (*code, t.as_bytes())));
    diagnostic_fields(out, tag, present)
}

/// ErrorResponse (`E`) or NoticeResponse (`N`) from fields, for one that is passed on
/// with some of them changed.
///
/// # Errors
/// A NUL in a value, or 0 as a code.
pub fn diagnostic_fields<'a, B: WireBuf>(
    out: &mut B,
    tag: u8,
    fields: impl IntoIterator<Item = (u8, &'a [u8])>,
) -> Result<(), WriteError> {
    message(out, tag, |out| {
        for (code, text) in fields {
            if code == 0 {
                return Err(WriteError::BadValue { field: "a field's code" });
            }
            out.put(&[code]);
            cstr(out, text, "a field's value")?;
        }
        out.put(&[0]);
        Ok(())
    })
}

/// NotificationResponse, for one that is passed on with its payload changed.
///
/// # Errors
/// A NUL inside.
pub fn notification<B: WireBuf>(
    out: &mut B,
    process_id: u32,
    channel: &[u8],
    payload: &[u8],
) -> Result<(), WriteError> {
    message(out, b'A', |out| {
        out.put(&process_id.to_be_bytes());
        cstr(out, channel, "the channel")?;
        cstr(out, payload, "the payload")
    })
}

/// DataRow.
///
/// # Errors
/// More than 65,535 fields or a row too large.
pub fn data_row<'a, B: WireBuf>(
    out: &mut B,
    fields: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
) -> Result<(), WriteError> {
    message(out, b'D', |out| {
        count(out, fields.len(), "the number of fields")?;
        for field in fields {
            value(out, field)?;
        }
        Ok(())
    })
}

/// CopyData.
///
/// # Errors
/// Data too large.
pub fn copy_data<B: WireBuf>(out: &mut B, data: &[u8]) -> Result<(), WriteError> {
    message(out, b'd', |out| {
        out.put(data);
        Ok(())
    })
}

// === to the server ===

/// PasswordMessage: the password and its NUL.
///
/// # Errors
/// A NUL inside.
pub fn password<B: WireBuf>(out: &mut B, password: &[u8]) -> Result<(), WriteError> {
    message(out, b'p', |out| cstr(out, password, "the password"))
}

/// SASLInitialResponse.
///
/// # Errors
/// A NUL in the mechanism's name.
pub fn sasl_initial<B: WireBuf>(
    out: &mut B,
    mechanism: &str,
    response: &[u8],
) -> Result<(), WriteError> {
    message(out, b'p', |out| {
        cstr(out, mechanism.as_bytes(), "the mechanism")?;
        value(out, Some(response))
    })
}

/// SASLResponse.
///
/// # Errors
/// Data too large.
pub fn sasl_response<B: WireBuf>(out: &mut B, data: &[u8]) -> Result<(), WriteError> {
    message(out, b'p', |out| {
        out.put(data);
        Ok(())
    })
}

/// Query. `sql` is sent as it is.
///
/// # Errors
/// A NUL inside.
pub fn query<B: WireBuf>(out: &mut B, sql: &[u8]) -> Result<(), WriteError> {
    message(out, b'Q', |out| cstr(out, sql, "the query"))
}

/// Parse.
///
/// # Errors
/// A NUL inside, or more than 65,535 types.
pub fn parse<B: WireBuf>(
    out: &mut B,
    name: &[u8],
    sql: &[u8],
    types: &[u32],
) -> Result<(), WriteError> {
    message(out, b'P', |out| {
        cstr(out, name, "the statement's name")?;
        cstr(out, sql, "the query")?;
        count(out, types.len(), "the number of types")?;
        types.iter().for_each(|oid| out.put(&oid.to_be_bytes()));
        Ok(())
    })
}

/// Bind.
///
/// # Errors
/// A NUL inside a name, too many parameters, or formats that do not fit them.
pub fn bind<B: WireBuf>(
    out: &mut B,
    portal: &[u8],
    statement: &[u8],
    parameter_formats: &[Format],
    parameters: &[Option<&[u8]>],
    result_formats: &[Format],
) -> Result<(), WriteError> {
    if parameter_formats.len() > 1 && parameter_formats.len() != parameters.len() {
        return Err(WriteError::BadValue { field: "the parameter formats" });
    }
    message(out, b'B', |out| {
        cstr(out, portal, "the portal's name")?;
        cstr(out, statement, "the statement's name")?;
        count(out, parameter_formats.len(), "the parameter formats")?;
        parameter_formats.iter().for_each(|f| out.put(&f.code().to_be_bytes()));
        count(out, parameters.len(), "the parameters")?;
        for parameter in parameters {
            value(out, *parameter)?;
        }
        count(out, result_formats.len(), "the result formats")?;
        result_formats.iter().for_each(|f| out.put(&f.code().to_be_bytes()));
        Ok(())
    })
}

/// Execute.
///
/// # Errors
/// A NUL in the portal's name.
pub fn execute<B: WireBuf>(out: &mut B, portal: &[u8], max_rows: i32) -> Result<(), WriteError> {
    message(out, b'E', |out| {
        cstr(out, portal, "the portal's name")?;
        out.put(&max_rows.to_be_bytes());
        Ok(())
    })
}

/// Describe.
///
/// # Errors
/// A NUL in the name.
pub fn describe<B: WireBuf>(out: &mut B, target: Target<'_>) -> Result<(), WriteError> {
    on_target(out, b'D', target)
}

/// Close.
///
/// # Errors
/// A NUL in the name.
pub fn close<B: WireBuf>(out: &mut B, target: Target<'_>) -> Result<(), WriteError> {
    on_target(out, b'C', target)
}

fn on_target<B: WireBuf>(out: &mut B, tag: u8, target: Target<'_>) -> Result<(), WriteError> {
    let (kind, name) = match target {
        Target::Statement(name) => (b'S', name),
        Target::Portal(name) => (b'P', name),
    };
    message(out, tag, |out| {
        out.put(&[kind]);
        cstr(out, name, "the name")
    })
}

/// CopyFail.
///
/// # Errors
/// A NUL inside.
pub fn copy_fail<B: WireBuf>(out: &mut B, reason: &str) -> Result<(), WriteError> {
    message(out, b'f', |out| cstr(out, reason.as_bytes(), "the reason"))
}

/// Sync.
pub fn sync<B: WireBuf>(out: &mut B) {
    out.put(&[b'S', 0, 0, 0, 4]);
}

/// Flush.
pub fn flush<B: WireBuf>(out: &mut B) {
    out.put(&[b'H', 0, 0, 0, 4]);
}

/// Terminate.
pub fn terminate<B: WireBuf>(out: &mut B) {
    out.put(&[b'X', 0, 0, 0, 4]);
}
