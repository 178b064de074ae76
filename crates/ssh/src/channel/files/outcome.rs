//! What the record says of an answer.

use std::borrow::Cow;

use records::Response;
use ssh_wire::sftp::Answer;

/// The status of an answer; 0 of one that is none.
pub(super) fn status(answer: &Answer<'_>) -> u32 {
    match answer {
        Answer::Status { code, .. } => *code,
        _ => 0,
    }
}

/// What the record says of an operation with this answer.
pub(super) fn response(answer: &Answer<'_>) -> Response<'static> {
    let code = status(answer);
    let outcome = if code == 0 { "ok" } else { "error" };
    Response { outcome: outcome.into(), code: Some(name(code)), ..Response::default() }
}

/// A status as the draft names it (section 7).
pub(super) fn name(code: u32) -> Cow<'static, str> {
    match code {
        0 => "SSH_FX_OK".into(),
        1 => "SSH_FX_EOF".into(),
        2 => "SSH_FX_NO_SUCH_FILE".into(),
        3 => "SSH_FX_PERMISSION_DENIED".into(),
        4 => "SSH_FX_FAILURE".into(),
        5 => "SSH_FX_BAD_MESSAGE".into(),
        6 => "SSH_FX_NO_CONNECTION".into(),
        7 => "SSH_FX_CONNECTION_LOST".into(),
        8 => "SSH_FX_OP_UNSUPPORTED".into(),
        other => other.to_string().into(),
    }
}
