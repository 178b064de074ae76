//! What is to happen to a request of sftp's, and what its answer will be about.

use gate::{Exchange, Release};

use super::file::Opening;
use super::{Asked, Cx, Wish};
use crate::relay::End;

/// A request without an answer.
pub(super) enum Open {
    /// Ours.
    Home,
    /// Of the session's own.
    Session,
    /// A file or directory to be opened.
    Opening(Box<Opening>),
    /// About an open one, by its command's number.
    On(u64, About),
    /// The end of an open one.
    Close(u64),
    /// A command with one answer; with what it changes of an open file.
    Once(Box<Exchange>, Option<Change>),
    /// As that: a file's attributes by its path.
    Stat(Box<Exchange>, Vec<u8>),
}

/// What a request wants of an open file.
#[derive(Clone, Copy)]
pub(super) enum About {
    Read { offset: u64 },
    Write,
    List,
    Attributes,
    Other,
}

/// What an operation does to an open file.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Size(u64, u64),
    Content(u64),
}

/// What is to happen to a request.
pub(super) enum Ruling {
    Pass(Open),
    Refuse { code: u32, text: String, release: Release },
}

/// `SSH_FX_FAILURE`.
const FAILURE: u32 = 4;

pub(super) fn once(
    wish: Wish,
    code: u32,
    change: Option<Change>,
    cx: &mut Cx<'_>,
) -> Result<Ruling, End> {
    Ok(match cx.ask("sftp", wish)? {
        Asked::Yes(exchange) => Ruling::Pass(Open::Once(exchange, change)),
        no => refused(no, code),
    })
}

pub(super) fn refused(asked: Asked, code: u32) -> Ruling {
    match asked {
        Asked::No { release, text, denied } => {
            Ruling::Refuse { code: if denied { code } else { FAILURE }, text, release }
        }
        // Not asked with one.
        Asked::Yes(exchange) => Ruling::Pass(Open::Once(exchange, None)),
    }
}

pub(super) fn refuse(code: u32, text: &str, cx: &Cx<'_>) -> Ruling {
    Ruling::Refuse { code, text: text.to_owned(), release: cx.own.release.clone() }
}

/// A handle that the target did not give, or that is closed.
pub(super) fn no_handle(cx: &Cx<'_>) -> Ruling {
    refuse(FAILURE, "greffier: no such handle is open", cx)
}
