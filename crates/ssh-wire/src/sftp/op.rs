//! What a client asks.

use super::{MAX_HANDLE_BYTES, SftpError, WRITE};
use crate::{Reader, WireError};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its number; 0 of `INIT`, which has none.
    pub id: u32,
    /// What is asked.
    pub op: Op<'a>,
}

/// How a file is opened (draft section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// Whether it may be read.
    #[must_use]
    pub const fn reads(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// Whether it may change: written, appended to, made or emptied. Flags that are not known are
    /// taken for that.
    #[must_use]
    pub const fn writes(self) -> bool {
        self.0 & !0x01 != 0
    }

    /// Whether writes go to its end.
    #[must_use]
    pub const fn appends(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// Whether it is made if it is not there.
    #[must_use]
    pub const fn creates(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// Whether it is emptied.
    #[must_use]
    pub const fn truncates(self) -> bool {
        self.0 & 0x10 != 0
    }
}

/// A file's attributes, those that were sent (draft section 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Owner and group, as numbers.
    pub owner: Option<(u32, u32)>,
    /// Type and permissions, as `st_mode`.
    pub mode: Option<u32>,
    /// Times of access and modification, in Unix seconds.
    pub times: Option<(u32, u32)>,
}

/// What is asked. Paths and handles are any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the draft's own words, section 6
pub enum Op<'a> {
    Init {
        version: u32,
    },
    Open {
        path: &'a [u8],
        flags: OpenFlags,
        attributes: Attributes,
    },
    Close {
        handle: &'a [u8],
    },
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    Lstat {
        path: &'a [u8],
    },
    Fstat {
        handle: &'a [u8],
    },
    Setstat {
        path: &'a [u8],
        attributes: Attributes,
    },
    Fsetstat {
        handle: &'a [u8],
        attributes: Attributes,
    },
    Opendir {
        path: &'a [u8],
    },
    Readdir {
        handle: &'a [u8],
    },
    Remove {
        path: &'a [u8],
    },
    Mkdir {
        path: &'a [u8],
        attributes: Attributes,
    },
    Rmdir {
        path: &'a [u8],
    },
    Realpath {
        path: &'a [u8],
    },
    Stat {
        path: &'a [u8],
    },
    Rename {
        from: &'a [u8],
        to: &'a [u8],
    },
    Readlink {
        path: &'a [u8],
    },
    /// OpenSSH sends the target first, against the draft; and so does everybody.
    Symlink {
        target: &'a [u8],
        link: &'a [u8],
    },
    Extended(Extension<'a>),
}

/// Extensions of OpenSSH (PROTOCOL, section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names of the extensions
pub enum Extension<'a> {
    PosixRename {
        from: &'a [u8],
        to: &'a [u8],
    },
    Hardlink {
        from: &'a [u8],
        to: &'a [u8],
    },
    Fsync {
        handle: &'a [u8],
    },
    Statvfs {
        path: &'a [u8],
    },
    Fstatvfs {
        handle: &'a [u8],
    },
    Lsetstat {
        path: &'a [u8],
        attributes: Attributes,
    },
    Limits,
    ExpandPath {
        path: &'a [u8],
    },
    CopyData {
        from: &'a [u8],
        offset: u64,
        length: u64,
        to: &'a [u8],
        at: u64,
    },
    HomeDirectory {
        user: &'a [u8],
    },
    /// Names of users and groups; its numbers are of no interest here.
    Names,
    /// One that is not known: it must not be forwarded, for it may do anything.
    Unknown {
        name: &'a [u8],
    },
}

pub(super) fn parse(kind: u8, body: &[u8], content: u32) -> Result<Request<'_>, SftpError> {
    let mut reader = Reader::new(body);
    if kind == 1 {
        let version = reader.uint32()?;
        while reader.left() > 0 {
            let (_name, _data) = (reader.string()?, reader.string()?);
        }
        return Ok(Request { id: 0, op: Op::Init { version } });
    }
    let id = reader.uint32()?;
    let r = &mut reader;
    let op = match kind {
        3 => Op::Open {
            path: r.string()?,
            flags: OpenFlags(r.uint32()?),
            attributes: attributes(r)?,
        },
        4 => Op::Close { handle: handle(r)? },
        5 => Op::Read { handle: handle(r)?, offset: r.uint64()?, length: r.uint32()? },
        WRITE => {
            let (handle, offset) = (handle(r)?, r.uint64()?);
            r.uint32()?;
            Op::Write { handle, offset, length: content }
        }
        7 => Op::Lstat { path: r.string()? },
        8 => Op::Fstat { handle: handle(r)? },
        9 => Op::Setstat { path: r.string()?, attributes: attributes(r)? },
        10 => Op::Fsetstat { handle: handle(r)?, attributes: attributes(r)? },
        11 => Op::Opendir { path: r.string()? },
        12 => Op::Readdir { handle: handle(r)? },
        13 => Op::Remove { path: r.string()? },
        14 => Op::Mkdir { path: r.string()?, attributes: attributes(r)? },
        15 => Op::Rmdir { path: r.string()? },
        16 => Op::Realpath { path: r.string()? },
        17 => Op::Stat { path: r.string()? },
        18 => Op::Rename { from: r.string()?, to: r.string()? },
        19 => Op::Readlink { path: r.string()? },
        20 => Op::Symlink { target: r.string()?, link: r.string()? },
        200 => match extension(r)? {
            // Its fields are not known, so neither is its end.
            unknown @ Extension::Unknown { .. } => {
                return Ok(Request { id, op: Op::Extended(unknown) });
            }
            known => Op::Extended(known),
        },
        other => return Err(SftpError::Unknown(other)),
    };
    reader.end()?;
    Ok(Request { id, op })
}

pub(super) fn handle<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let handle = reader.string()?;
    if handle.len() > MAX_HANDLE_BYTES {
        return Err(WireError::Invalid("handle"));
    }
    Ok(handle)
}

pub(super) fn attributes(r: &mut Reader<'_>) -> Result<Attributes, WireError> {
    let flags = r.uint32()?;
    // Others are of later versions, and what they bring is not known.
    if flags & !0x8000_000f != 0 {
        return Err(WireError::Invalid("attributes"));
    }
    let mut found = Attributes::default();
    if flags & 0x01 != 0 {
        found.size = Some(r.uint64()?);
    }
    if flags & 0x02 != 0 {
        found.owner = Some((r.uint32()?, r.uint32()?));
    }
    if flags & 0x04 != 0 {
        found.mode = Some(r.uint32()?);
    }
    if flags & 0x08 != 0 {
        found.times = Some((r.uint32()?, r.uint32()?));
    }
    if flags & 0x8000_0000 != 0 {
        for _ in 0..r.uint32()? {
            let (_name, _data) = (r.string()?, r.string()?);
        }
    }
    Ok(found)
}

fn extension<'a>(r: &mut Reader<'a>) -> Result<Extension<'a>, WireError> {
    let name = r.string()?;
    Ok(match name {
        b"posix-rename@openssh.com" => {
            Extension::PosixRename { from: r.string()?, to: r.string()? }
        }
        b"hardlink@openssh.com" => Extension::Hardlink { from: r.string()?, to: r.string()? },
        b"fsync@openssh.com" => Extension::Fsync { handle: handle(r)? },
        b"statvfs@openssh.com" => Extension::Statvfs { path: r.string()? },
        b"fstatvfs@openssh.com" => Extension::Fstatvfs { handle: handle(r)? },
        b"lsetstat@openssh.com" => {
            Extension::Lsetstat { path: r.string()?, attributes: attributes(r)? }
        }
        b"limits@openssh.com" => Extension::Limits,
        b"expand-path@openssh.com" => Extension::ExpandPath { path: r.string()? },
        b"copy-data" => Extension::CopyData {
            from: handle(r)?,
            offset: r.uint64()?,
            length: r.uint64()?,
            to: handle(r)?,
            at: r.uint64()?,
        },
        b"home-directory" => Extension::HomeDirectory { user: r.string()? },
        b"users-groups-by-id@openssh.com" => {
            let (_users, _groups) = (r.string()?, r.string()?);
            Extension::Names
        }
        name => Extension::Unknown { name },
    })
}
