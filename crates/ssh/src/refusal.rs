//! The one place where a cause becomes what the client is told.

use gate::{JournalError, RefusalCause};
use russh::Disconnect;

/// The exit status of a command that was not run: what shells use for one that can't be.
pub(crate) const EXIT_REFUSED: u32 = 126;

/// A refused command, as lines for standard error.
pub(crate) fn refused(cause: &RefusalCause) -> String {
    match cause {
        RefusalCause::Denied { rule, reason } => {
            let hint = match reason {
                Some(reason) => reason.to_string(),
                None => "Ask whoever keeps this proxy's policy, and name the rule.".into(),
            };
            format!("greffier: this is not allowed (rule \"{rule}\"). {hint}\n")
        }
        RefusalCause::Held { rule } => {
            format!("greffier: this needs an approval (rule \"{rule}\").\n")
        }
        RefusalCause::LeaseOver(reason) => lease_over(reason),
    }
}

/// A refused command, in the one line that a channel's refusal has room for.
pub(crate) fn refused_open(cause: &RefusalCause) -> String {
    refused(cause).trim_end().to_owned()
}

/// The principal's right to go on has ended, and with it the session.
pub(crate) fn lease_over(reason: &identity::EndReason) -> String {
    format!("greffier: the session ends: {reason}. Connect again with a new token.\n")
}

/// What must be recorded can't be.
pub(crate) fn unrecorded(error: JournalError) -> String {
    format!("greffier: {error}, so nothing runs.\n")
}

/// A channel can't go on.
pub(crate) fn broken_off(reason: &str) -> String {
    format!("greffier: {reason}. This channel ends.\n")
}

/// The transport ends by a fault of the client's (RFC 4253, 11.1). `None`: it is gone, or there was
/// no fault.
pub(crate) fn disconnect(error: &russh::Error) -> Option<(Disconnect, String)> {
    use russh::Error as E;
    let reason = match error {
        E::Disconnect | E::HUP | E::IO(_) | E::SendError | E::RecvError => return None,
        E::Join(_) | E::Elapsed(_) => return None,
        // Nobody listens, or a packet was cut in the middle.
        E::InactivityTimeout | E::KeepaliveTimeout | E::ConnectionTimeout => return None,
        E::KexInit | E::Kex | E::NoCommonAlgo { .. } | E::StrictKeyExchangeViolation { .. } => {
            Disconnect::KeyExchangeFailed
        }
        E::PacketAuth | E::DecryptionError => Disconnect::MACError,
        _ => Disconnect::ProtocolError,
    };
    Some((reason, format!("greffier: {error}.")))
}

/// The proxy stops.
pub(crate) const SHUTDOWN: &str = "greffier: the proxy is shutting down.\n";

/// The target's connection is gone.
pub(crate) const TARGET_LOST: &str = "greffier: the target closed the connection.\n";

/// The prompt for a token.
pub(crate) const PROMPT: &str = "Token: ";

/// The same where a browser will do, too.
pub(crate) const PROMPT_OR_BROWSER: &str = "Token (empty: log in with a browser): ";

/// What a person is to do in a browser.
pub(crate) fn browser(uri: &str, code: &str, complete: Option<&str>) -> String {
    let shorter = complete.map(|complete| format!("\nOr open {complete}")).unwrap_or_default();
    format!("To log in, open {uri} and enter the code {code}{shorter}\nWaiting for you there...\n")
}

/// Nobody has logged in by browser before the connection's time was over.
pub(crate) const BROWSER_TOO_LATE: &str = "nobody logged in with the browser in time";

/// Why somebody is not let in.
pub(crate) fn login(why: &str) -> String {
    format!("greffier: {why}.\n")
}

/// A token that OpenSSH has cut: it sends no more than 1,023 bytes of an answer.
pub(crate) fn cut_short(bytes: usize) -> String {
    format!(
        "greffier: the token ends early: only its first {bytes} bytes came. OpenSSH cuts what is \
         typed or pasted here. Use a certificate: greffier ssh-cert fetches one for a token of any \
         length.\n"
    )
}

/// The target can't be used.
pub(crate) fn unreachable(target: &str, why: &impl std::fmt::Display) -> String {
    format!("greffier: target {target}: {why}.\n")
}
