//! What a server answers.

use super::op::{Attributes, attributes, handle};
use super::{DATA, STATUS, SftpError};
use crate::Reader;

/// An answer with the number of what it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The request's number; 0 of `VERSION`, which has none.
    pub id: u32,
    /// What is answered.
    pub answer: Answer<'a>,
}

/// What is answered (draft section 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The version spoken.
    Version {
        /// It.
        version: u32,
    },
    /// How it went.
    Status {
        /// `SSH_FX_…`: 0 is OK, 1 the end of a file or list.
        code: u32,
        /// In words; empty where a server leaves them out.
        text: &'a [u8],
    },
    /// A file or directory is open.
    Handle(&'a [u8]),
    /// Content of a file, which follows.
    Data {
        /// Its length.
        length: u32,
    },
    /// Names of files.
    Name {
        /// How many.
        count: u32,
        /// The first, if there is one.
        first: Option<&'a [u8]>,
    },
    /// A file's attributes.
    Attributes(Attributes),
    /// An extension's answer.
    Extended(&'a [u8]),
}

pub(super) fn parse(kind: u8, body: &[u8], content: u32) -> Result<Reply<'_>, SftpError> {
    let mut r = Reader::new(body);
    let first = r.uint32()?;
    let answer = match kind {
        2 => return Ok(Reply { id: 0, answer: Answer::Version { version: first } }),
        STATUS => {
            let code = r.uint32()?;
            // Old servers send neither text nor language.
            let text = if r.left() > 0 { r.string()? } else { b"" };
            return Ok(Reply { id: first, answer: Answer::Status { code, text } });
        }
        102 => Answer::Handle(handle(&mut r)?),
        DATA => {
            r.uint32()?;
            Answer::Data { length: content }
        }
        104 => {
            let count = r.uint32()?;
            let name = if count > 0 { Some(r.string()?) } else { None };
            return Ok(Reply { id: first, answer: Answer::Name { count, first: name } });
        }
        105 => Answer::Attributes(attributes(&mut r)?),
        201 => return Ok(Reply { id: first, answer: Answer::Extended(r.rest()) }),
        other => return Err(SftpError::Unknown(other)),
    };
    r.end()?;
    Ok(Reply { id: first, answer })
}
