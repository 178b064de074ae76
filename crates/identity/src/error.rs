//! Why a token was refused, and whose fault it is.

use std::time::Duration;

use crate::limits;

/// Who can mend an [`AuthError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The one who connects: get another token.
    Client,
    /// Whoever runs this proxy: a mapping rule is missing or two contradict.
    Operator,
    /// The issuer, or the way to it: its keys cannot be had.
    Issuer,
}

/// Why a token was refused.
///
/// The message is safe to show the client and to log: it holds no part of the
/// token but claim names, and states no secret of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Nothing was sent.
    #[error("no token was sent")]
    Missing,
    /// Longer than [`limits::MAX_TOKEN_BYTES`].
    #[error("the token is {bytes} bytes long; at most {} are accepted", limits::MAX_TOKEN_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Broken, and exactly as long as what some program cuts a password to.
    #[error(
        "the token ends early: it was cut to {bytes} bytes on the way, as a terminal prompt does; pass it by environment variable or file"
    )]
    CutShort {
        /// Its length.
        bytes: usize,
    },
    /// Not a JSON Web Token as RFC 7515/7519 write it, or not as strictly as we read it.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// A required claim is missing.
    #[error("the token has no `{0}` claim")]
    MissingClaim(&'static str),
    /// A claim has another type or range than it must have.
    #[error("the token's `{0}` claim is not of the right type")]
    BadClaim(&'static str),
    /// No configured issuer has this `iss`.
    #[error("the token's issuer is not known here")]
    UnknownIssuer,
    /// `alg` is not allowed for the issuer, or not what the key is for.
    #[error("the token's signature algorithm is not accepted")]
    Algorithm,
    /// The header asks for something we do not do (`crit`).
    #[error("the token's header asks for an extension that is not supported")]
    CriticalHeader,
    /// `typ` or the claims show a class the issuer may not use here.
    #[error("this class of token is not accepted from this issuer")]
    TokenClass,
    /// The token is not meant for this proxy.
    #[error("the token is for another audience")]
    Audience,
    /// Several audiences, or an ID token, and no listed client.
    #[error("the token was issued to a client that is not accepted here")]
    AuthorizedParty,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` lies in the future.
    #[error("the token was issued in the future; a clock is wrong")]
    IssuedInFuture,
    /// Issued longer ago than `max_token_age`.
    #[error("the token was issued more than {} s ago; get a new one", limit.as_secs())]
    TooOld {
        /// The issuer's `max_token_age`.
        limit: Duration,
    },
    /// The token is bound to a key (`cnf`: DPoP, mutual TLS) and came as a mere bearer token.
    #[error("the token is bound to a key and cannot be used as a bearer token")]
    SenderConstrained,
    /// The issuer's key set has no key of this `kid`.
    #[error("the token is signed by a key the issuer does not publish")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature is not valid")]
    Signature,
    /// An ID token without the nonce, or the access token, of the login that it answers.
    #[error("the ID token belongs to another login")]
    OtherLogin,
    /// The token or its principal was revoked in this process.
    #[error("the token was revoked")]
    Revoked,
    /// `act` where no rule allows it, too deep, in a circle, or from another issuer.
    #[error("the token's delegation is not accepted: {0}")]
    Delegation(&'static str),
    /// The issuer left the groups out because there are too many.
    #[error("the issuer left the groups out of the token; ask for fewer or for app roles")]
    GroupsOmitted,
    /// No mapping rule matched.
    #[error("no mapping rule of issuer `{issuer}` accepts this token")]
    NoRule {
        /// The issuer's name in the configuration.
        issuer: String,
    },
    /// Rules of different kinds matched.
    #[error("mapping rules `{first}` and `{second}` disagree on what kind of principal this is")]
    AmbiguousRules {
        /// The first rule that matched.
        first: String,
        /// The first that matched with another kind.
        second: String,
    },
    /// The issuer's keys could not be had, and those at hand are too old.
    #[error("the keys of issuer `{issuer}` cannot be had at the moment")]
    KeysUnavailable {
        /// The issuer's name in the configuration.
        issuer: String,
    },
}

impl AuthError {
    /// Who can mend it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::NoRule { .. } | Self::AmbiguousRules { .. } => Fault::Operator,
            Self::KeysUnavailable { .. } => Fault::Issuer,
            _ => Fault::Client,
        }
    }

    /// A stable word for records and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLong { .. } => "too_long",
            Self::CutShort { .. } => "cut_short",
            Self::Malformed(_) => "malformed",
            Self::MissingClaim(_) => "missing_claim",
            Self::BadClaim(_) => "bad_claim",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Algorithm => "algorithm",
            Self::CriticalHeader => "critical_header",
            Self::TokenClass => "token_class",
            Self::Audience => "audience",
            Self::AuthorizedParty => "authorized_party",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::TooOld { .. } => "too_old",
            Self::SenderConstrained => "sender_constrained",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::OtherLogin => "other_login",
            Self::Revoked => "revoked",
            Self::Delegation(_) => "delegation",
            Self::GroupsOmitted => "groups_omitted",
            Self::NoRule { .. } => "no_rule",
            Self::AmbiguousRules { .. } => "ambiguous_rules",
            Self::KeysUnavailable { .. } => "keys_unavailable",
        }
    }
}
