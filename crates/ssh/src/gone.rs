//! What a leg's transport says of its peer, when it ends by itself.

use crate::client::HandlerError;
use crate::relay::End;
use crate::side::Side;

/// Why a transport failed, if that is more than its peer's leaving.
pub(crate) fn end(side: Side, error: &russh::Error) -> Option<End> {
    use russh::Error::{
        ConnectionTimeout, Disconnect, Elapsed, HUP, IO, InactivityTimeout, Join, KeepaliveTimeout,
        RecvError, SendError,
    };
    match error {
        // It left, the network failed, or a task of ours did.
        Disconnect | HUP | IO(_) | SendError | RecvError | Join(_) | Elapsed(_) => None,
        KeepaliveTimeout | InactivityTimeout | ConnectionTimeout => Some(End::Silent(side)),
        error => Some(End::violation(side, error.to_string())),
    }
}

/// The same of a target's.
pub(crate) fn of_target(error: &HandlerError) -> Option<End> {
    match error {
        HandlerError::Russh(error) => end(Side::Target, error),
        HandlerError::HostKey(shown) => {
            Some(End::violation(Side::Target, format!("its host key is another one: {shown}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_is_no_fault_and_silence_is_told() {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for left in [russh::Error::HUP, russh::Error::Disconnect, russh::Error::IO(broken)] {
            assert!(end(Side::Client, &left).is_none(), "{left}");
        }
        let silent = end(Side::Target, &russh::Error::InactivityTimeout).unwrap();
        assert_eq!(silent.to_string(), "the target does not answer");
        let odd = end(Side::Client, &russh::Error::PacketSize(7)).unwrap();
        assert_eq!(odd.to_string(), "the client broke the protocol: Bad packet size: 7");
    }
}
