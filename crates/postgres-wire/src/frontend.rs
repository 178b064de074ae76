//! Readers for the messages a client sends.
//!
//! Each borrows from the frame's body and is checked whole when made: every
//! inner length lies inside the body and the body ends exactly where the
//! message does. So iterators over the parts can't fail.

use std::fmt;

use crate::error::{Side, WireError};
use crate::read::Reader;

/// How a value is written: text or binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Code 0.
    #[default]
    Text,
    /// Code 1.
    Binary,
}

impl Format {
    /// From the wire; only 0 and 1 exist.
    pub const fn from_code(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            _ => None,
        }
    }

    /// For the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

/// A list of format codes: none (all text), one (for all) or one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Formats<'a> {
    codes: &'a [u8],
}

impl<'a> Formats<'a> {
    pub(crate) fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, WireError> {
        let count = r.u16(field)?;
        let codes = r.take(usize::from(count) * 2, field)?;
        for code in codes.as_chunks::<2>().0 {
            Format::from_code(u16::from_be_bytes(*code)).ok_or(r.bad(field))?;
        }
        Ok(Self { codes })
    }

    /// How many codes were sent.
    pub const fn len(&self) -> usize {
        self.codes.len() / 2
    }

    /// True if none was sent: everything is text.
    pub const fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The codes as sent.
    pub fn iter(&self) -> impl Iterator<Item = Format> + 'a {
        let pairs = self.codes.as_chunks::<2>().0;
        pairs.iter().map(|c| Format::from_code(u16::from_be_bytes(*c)).unwrap_or_default())
    }

    /// Format of the value at `index` (from 0); `None` if the list has several
    /// codes but not one for it, which the server refuses too.
    pub fn get(&self, index: usize) -> Option<Format> {
        let pairs = self.codes.as_chunks::<2>().0;
        let code = match pairs {
            [] => return Some(Format::Text),
            [one] => one,
            many => many.get(index)?,
        };
        Format::from_code(u16::from_be_bytes(*code))
    }

    /// True if the list can stand for `count` values.
    pub const fn fits(&self, count: usize) -> bool {
        self.len() <= 1 || self.len() == count
    }
}

/// Values behind Int32 lengths, already checked.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Values<'a> {
    count: u16,
    raw: &'a [u8],
}

impl fmt::Debug for Values<'_> {
    // Values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Values({} values, ***)", self.count)
    }
}

impl<'a> Values<'a> {
    pub(crate) fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, WireError> {
        let count = r.u16(field)?;
        let start = r.rest();
        for _ in 0..count {
            r.value(field)?;
        }
        let raw = start.get(..start.len() - r.rest().len()).unwrap_or_default();
        Ok(Self { count, raw })
    }

    /// How many values.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values in order; `None` is NULL.
    pub const fn iter(&self) -> ValueIter<'a> {
        ValueIter { r: Reader::new("", self.raw), left: self.count }
    }
}

impl<'a> IntoIterator for Values<'a> {
    type Item = Option<&'a [u8]>;
    type IntoIter = ValueIter<'a>;
    fn into_iter(self) -> ValueIter<'a> {
        self.iter()
    }
}

/// Iterator over [`Values`].
#[derive(Debug, Clone)]
pub struct ValueIter<'a> {
    r: Reader<'a>,
    left: u16,
}

impl<'a> Iterator for ValueIter<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // Checked when made: can't fail here.
        self.r.value("").ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

/// A list of type OIDs; 0 means "not specified".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oids<'a> {
    raw: &'a [u8],
}

impl<'a> Oids<'a> {
    pub(crate) fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, WireError> {
        let count = r.u16(field)?;
        r.take(usize::from(count) * 4, field).map(|raw| Self { raw })
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.raw.len() / 4
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The OIDs in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + 'a {
        self.raw.as_chunks::<4>().0.iter().map(|c| u32::from_be_bytes(*c))
    }
}

/// What Describe and Close are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// `S`: a prepared statement, by name ("" is the unnamed one).
    Statement(&'a [u8]),
    /// `P`: a portal, by name.
    Portal(&'a [u8]),
}

/// `P`: prepare a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Name of the statement; "" is the unnamed one.
    pub name: &'a [u8],
    /// SQL in the session's client_encoding, without its NUL.
    pub query: &'a [u8],
    /// Types the client gives for the first parameters.
    pub types: Oids<'a>,
}

impl fmt::Debug for Parse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parse({} bytes of SQL, {} types)", self.query.len(), self.types.len())
    }
}

/// `B`: bind values to a statement's parameters and make a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Name of the portal.
    pub portal: &'a [u8],
    /// Name of the statement.
    pub statement: &'a [u8],
    /// Formats of the parameters; fits their number.
    pub parameter_formats: Formats<'a>,
    /// The parameters, up to 65,535.
    pub parameters: Values<'a>,
    /// Formats wanted for the result's columns (whose number is not known here).
    pub result_formats: Formats<'a>,
}

/// `E`: run a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// Name of the portal.
    pub portal: &'a [u8],
    /// Most rows to return, 0 (or negative, as the server reads it) for all.
    pub max_rows: i32,
}

/// `F`: call a function by OID (fast path), without SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// OID of the function.
    pub function: u32,
    /// Formats of the arguments; fits their number.
    pub argument_formats: Formats<'a>,
    /// The arguments.
    pub arguments: Values<'a>,
    /// Format wanted for the result.
    pub result_format: Format,
}

/// `p`: an answer to an authentication request. What it is depends on that
/// request, so the reader is chosen by the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password<'a>(&'a [u8]);

impl fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// SASLInitialResponse.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaslInitial<'a> {
    /// Name of the mechanism the client chose.
    pub mechanism: &'a [u8],
    /// Initial response; `None` if the client sent none (length −1).
    pub response: Option<&'a [u8]>,
}

impl fmt::Debug for SaslInitial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaslInitial({:?}, ***)", String::from_utf8_lossy(self.mechanism))
    }
}

impl<'a> Password<'a> {
    /// Wraps the body of a `p` message.
    pub const fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    /// PasswordMessage: the password (or token), without its NUL, which must end the body.
    ///
    /// # Errors
    /// No NUL, or bytes behind it.
    pub fn cleartext(self) -> Result<&'a [u8], WireError> {
        let mut r = Reader::new("PasswordMessage", self.0);
        let password = r.cstr("the password")?;
        r.finish()?;
        Ok(password)
    }

    /// SASLInitialResponse.
    ///
    /// # Errors
    /// Malformed, or bytes left over.
    pub fn sasl_initial(self) -> Result<SaslInitial<'a>, WireError> {
        let mut r = Reader::new("SASLInitialResponse", self.0);
        let mechanism = r.cstr("the mechanism")?;
        let response = r.value("the initial response")?;
        r.finish()?;
        Ok(SaslInitial { mechanism, response })
    }

    /// SASLResponse: the whole body is the mechanism's data.
    pub const fn sasl_response(self) -> &'a [u8] {
        self.0
    }
}

/// A message of the client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// `Q`: SQL, one or many statements, without its NUL (which ends the body: bytes
    /// behind a NUL are refused, since the server would not read them).
    Query(&'a [u8]),
    /// `P`.
    Parse(Parse<'a>),
    /// `B`.
    Bind(Bind<'a>),
    /// `D`.
    Describe(Target<'a>),
    /// `E`.
    Execute(Execute<'a>),
    /// `C`.
    Close(Target<'a>),
    /// `H`.
    Flush,
    /// `S`.
    Sync,
    /// `F`.
    FunctionCall(FunctionCall<'a>),
    /// `d`: any piece of the stream, not a row.
    CopyData(&'a [u8]),
    /// `c`.
    CopyDone,
    /// `f`: with the client's reason.
    CopyFail(&'a [u8]),
    /// `p`.
    Password(Password<'a>),
    /// `X`.
    Terminate,
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(q) => write!(f, "Query({} bytes)", q.len()),
            Self::Parse(m) => m.fmt(f),
            Self::Bind(m) => m.fmt(f),
            Self::Describe(t) => write!(f, "Describe({t:?})"),
            Self::Execute(m) => m.fmt(f),
            Self::Close(t) => write!(f, "Close({t:?})"),
            Self::Flush => f.write_str("Flush"),
            Self::Sync => f.write_str("Sync"),
            Self::FunctionCall(m) => m.fmt(f),
            Self::CopyData(d) => write!(f, "CopyData({} bytes)", d.len()),
            Self::CopyDone => f.write_str("CopyDone"),
            Self::CopyFail(_) => f.write_str("CopyFail"),
            Self::Password(m) => m.fmt(f),
            Self::Terminate => f.write_str("Terminate"),
        }
    }
}

/// Reads the body of a client's frame.
///
/// # Errors
/// See [`WireError`]: the body must be exactly one well-formed message.
pub fn parse(tag: u8, body: &[u8]) -> Result<Message<'_>, WireError> {
    match tag {
        b'Q' => only_cstr("Query", body, "the query").map(Message::Query),
        b'P' => parse_parse(body).map(Message::Parse),
        b'B' => parse_bind(body).map(Message::Bind),
        b'D' => target("Describe", body).map(Message::Describe),
        b'E' => parse_execute(body).map(Message::Execute),
        b'C' => target("Close", body).map(Message::Close),
        b'H' => Reader::new("Flush", body).finish().map(|()| Message::Flush),
        b'S' => Reader::new("Sync", body).finish().map(|()| Message::Sync),
        b'F' => parse_function_call(body).map(Message::FunctionCall),
        b'd' => Ok(Message::CopyData(body)),
        b'c' => Reader::new("CopyDone", body).finish().map(|()| Message::CopyDone),
        b'f' => only_cstr("CopyFail", body, "the reason").map(Message::CopyFail),
        b'p' => Ok(Message::Password(Password::new(body))),
        b'X' => Reader::new("Terminate", body).finish().map(|()| Message::Terminate),
        _ => Err(crate::frame::unknown_tag(tag, Side::Frontend)),
    }
}

pub(crate) fn only_cstr<'a>(
    message: &'static str,
    body: &'a [u8],
    field: &'static str,
) -> Result<&'a [u8], WireError> {
    let mut r = Reader::new(message, body);
    let text = r.cstr(field)?;
    r.finish()?;
    Ok(text)
}

fn target<'a>(message: &'static str, body: &'a [u8]) -> Result<Target<'a>, WireError> {
    let mut r = Reader::new(message, body);
    let kind = r.u8("the kind")?;
    let name = r.cstr("the name")?;
    r.finish()?;
    match kind {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        _ => Err(r.bad("the kind")),
    }
}

fn parse_parse(body: &[u8]) -> Result<Parse<'_>, WireError> {
    let mut r = Reader::new("Parse", body);
    let message = Parse {
        name: r.cstr("the statement's name")?,
        query: r.cstr("the query")?,
        types: Oids::read(&mut r, "the parameter types")?,
    };
    r.finish()?;
    Ok(message)
}

fn parse_bind(body: &[u8]) -> Result<Bind<'_>, WireError> {
    let mut r = Reader::new("Bind", body);
    let message = Bind {
        portal: r.cstr("the portal's name")?,
        statement: r.cstr("the statement's name")?,
        parameter_formats: Formats::read(&mut r, "the parameter formats")?,
        parameters: Values::read(&mut r, "the parameters")?,
        result_formats: Formats::read(&mut r, "the result formats")?,
    };
    if !message.parameter_formats.fits(message.parameters.len()) {
        return Err(r.bad("the number of parameter formats"));
    }
    r.finish()?;
    Ok(message)
}

fn parse_execute(body: &[u8]) -> Result<Execute<'_>, WireError> {
    let mut r = Reader::new("Execute", body);
    let message = Execute { portal: r.cstr("the portal's name")?, max_rows: r.i32("max_rows")? };
    r.finish()?;
    Ok(message)
}

fn parse_function_call(body: &[u8]) -> Result<FunctionCall<'_>, WireError> {
    let mut r = Reader::new("FunctionCall", body);
    let function = r.u32("the function")?;
    let argument_formats = Formats::read(&mut r, "the argument formats")?;
    let arguments = Values::read(&mut r, "the arguments")?;
    let code = r.u16("the result format")?;
    let result_format = Format::from_code(code).ok_or(r.bad("the result format"))?;
    if !argument_formats.fits(arguments.len()) {
        return Err(r.bad("the number of argument formats"));
    }
    r.finish()?;
    Ok(FunctionCall { function, argument_formats, arguments, result_format })
}
