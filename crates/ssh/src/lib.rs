//! The SSH proxy: one connection, from its first byte to its last, on record.
//!
//! A client logs in with a certificate of greffier's own or with a token, under the user name
//! `LOGIN+TARGET` ([`ssh_wire::login`]). Greffier logs in to the target with a credential of its
//! own and pins its host key. From then on the two connections are one [relay](Proxy): packets
//! of the connection layer (RFC 4254) pass through as they are, channel numbers and windows
//! included, so a slow reader slows its own writer and nobody else.
//!
//! Words: a *leg* is one of the two connections; a *channel* is RFC 4254's; a *lane* is one
//! direction of a channel, whose packets leave when their record is there and the receiver's
//! window has room; a *program* is what runs on a session channel: an exec, a shell, a
//! subsystem.
//!
//! | on the channel | in the record |
//! |---|---|
//! | exec, shell, subsystem, a forwarded connection | a `command`, durable before the target sees it |
//! | standard output and error, a terminal's screen and sizes | `output`, media `greffier-frames` |
//! | standard input | the response's `input_chunks` |
//! | exit status or signal, bytes and SHA-256 each way | the `response`, durable before the client sees the end |
//!
//! What a target's [`Allow`] does not name is refused: text on standard error and exit status
//! 126, or a channel that does not open. The connection lives on.
//!
//! ```
//! use ssh::{Allow, ChannelRules};
//!
//! let rules = ChannelRules {
//!     allow: Allow { exec: true, ..Allow::default() },
//!     env: vec!["LANG".into(), "LC_*".into()],
//!     ..ChannelRules::default()
//! };
//! assert!(!rules.allow.local_forward);
//! ```

mod browser;
mod cert;
mod channel;
mod client;
mod global;
mod gone;
mod issue;
mod keys;
mod login;
pub mod obtain;
mod proxy;
mod pump;
mod refusal;
mod relay;
#[cfg(test)]
mod relay_tests;
mod rules;
mod server;
mod side;
mod stream;
mod target;

pub use channel::VOCABULARY;
pub use keys::{HostCertificate, KeyError, PublicKey, SecretKey};
pub use login::{Authority, Credentials};
pub use proxy::{Config, LOGIN_TIMEOUT, MAX_UNAUTHENTICATED, Proxy};
pub use rules::{Allow, ChannelRules, Files, MAX_CHANNELS};
pub use stdio_recorder::RecordInput;
pub use target::{Credential, HostTrust, LoginRule, Target, Upstream};

/// The protocol's name, in configuration and records.
pub const PROTOCOL: &str = "ssh";

/// For the fuzzer: what is read in a certificate (as OpenSSH writes it on one line), in its
/// options and in the order for a new one. Not part of the API.
#[doc(hidden)]
pub fn fuzz_certificate(data: &[u8]) {
    cert::fuzz(data);
    issue::fuzz(data);
}

/// For the fuzzer: requests on one channel, one after the other; `false`: a bound did not hold. Not
/// part of the API.
#[doc(hidden)]
pub fn fuzz_requests(data: &[u8]) -> bool {
    channel::fuzz_requests(data)
}

/// For the fuzzer: the names by which rules match a path, a socket or a port; `false`: one that
/// should be plain is not. Not part of the API.
#[doc(hidden)]
pub fn fuzz_places(data: &[u8]) -> bool {
    channel::fuzz_places(data)
}
