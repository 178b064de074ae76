//! Who acts: OIDC tokens, principals, delegation and leases.
//!
//! A client shows a bearer token, whichever way its protocol carries one (for
//! PostgreSQL it is the password). [`Verifier::authenticate`] answers with a
//! [`Verified`] or refuses with an [`AuthError`] that says whose fault it is.
//!
//! * [`Principal`]: who acts. It is made by the mapping rules of the
//!   configuration and by nothing else: no rule matches, or rules of two kinds
//!   match, and the token is refused. For a delegated token (RFC 8693: `sub` is
//!   alice, `act.sub` is agent-7) the principal is agent-7, and alice stands in
//!   [`Principal::on_behalf_of`].
//! * [`Credential`]: what a record keeps of the token, never the token.
//! * [`Lease`]: the right to go on. It ends when the token expires, when the
//!   rule's `max_session` is over, when the issuer withdraws the key, or when
//!   somebody ends it through the [`LeaseRegistry`].
//! * [`Secret`]: the token on its way here.
//! * [`DeviceLogin`]: a token by a browser elsewhere (RFC 8628), with feature `http`.
//! * [`CodeLogin`]: a token by the client's own browser (authorization code, PKCE), with feature
//!   `http`.
//! * [`AssertionKey`]: who it is, signed by us for a service behind us.
//! * [`Vouched`]: a principal in a certificate of ours; [`Verifier::readmit`] lets it in again.
//!
//! # What is checked
//!
//! The issuer is chosen by comparing `iss` byte for byte with the
//! configuration, before anything is fetched. The signature algorithm comes
//! from the key and must be on the issuer's list; there is no `none` and no
//! HMAC. `iss`, `sub`, `aud`, `iat` and `exp` must be there and of the right
//! type. `jku`, `jwk`, `x5u` and `x5c` are ignored, `crit` is refused, and so
//! is a token bound to a key (`cnf`), since nothing here proves possession.
//! Everything has a bound; all of them stand in [`limits`].
//!
//! # Keys
//!
//! Keys come from the discovery document or a configured address, one fetch at
//! a time. An unknown `kid` causes a fetch at most every 30 s. If no new set
//! can be had the last good one serves for `jwks_max_stale`, then tokens are
//! refused. A key that leaves the set ends the leases it signed. Keys are
//! fetched when a token comes; run [`Verifier::keep_fresh`] beside it so that
//! withdrawn keys are noticed when nobody logs in.
//!
//! # Example
//!
//! ```
//! use std::time::SystemTime;
//!
//! # async fn example(text: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let config: identity::Config = toml::from_str(r#"
//!     [issuer.corp]
//!     iss = "https://login.corp.example"
//!     audiences = ["https://proxy.corp.example"]
//!     algorithms = ["RS256", "ES256"]
//!     may_mint = ["human", "agent"]
//!
//!     [[issuer.corp.rule]]
//!     name = "agents"
//!     kind = "agent"
//!     when = { act = { present = true } }
//!     actor_from = "act"
//!
//!     [[issuer.corp.rule]]
//!     name = "people"
//!     kind = "human"
//!     when = { act = { absent = true }, amr = { contains_any = ["mfa"] } }
//!     groups = "groups"
//!     max_session = "10h"
//! "#)?;
//! let verifier = identity::Verifier::new(&config, identity::HttpFetcher::new(&config)?)?;
//!
//! let verified = verifier.authenticate(&identity::Secret::from(text), SystemTime::now()).await?;
//! println!("{} shows {}", verified.principal, verified.credential.sha256);
//! // Before every command:
//! if let Some(reason) = verified.lease.is_over() {
//!     println!("no further: {reason}");
//! }
//! # Ok(())
//! # }
//! ```

mod assertion;
#[cfg(feature = "http")]
mod code;
mod config;
mod credential;
#[cfg(feature = "http")]
mod device;
mod duration;
mod error;
mod fetch;
#[cfg(feature = "http")]
mod http;
mod json;
mod jwks;
mod keys;
mod lease;
pub mod limits;
mod login;
#[cfg(feature = "http")]
mod oauth;
mod plan;
mod principal;
mod rules;
mod secret;
mod token;
mod verifier;
mod vouched;

#[cfg(feature = "http")]
pub use assertion::{AssertionKey, NotAnAssertionKey, NotSigned, Statement};
pub use code::{CodeError, CodeFlow, CodeLogin, CodeRequest, Use};
pub use config::{ConditionConfig, Config, ConfigError, IssuerConfig, Problem, RuleConfig, Scalar};
pub use credential::{Credential, TokenClass, TokenHash};
#[cfg(feature = "http")]
pub use device::{DeviceError, DeviceFlow, DeviceGrant, DeviceLogin};
pub use error::{AuthError, Fault};
pub use fetch::{Fetch, FetchError, FetchFuture, FetchRequest, Fetched};
#[cfg(feature = "http")]
pub use http::HttpFetcher;
pub use lease::{EndReason, Lease, LeaseRegistry, MAX_REVOCATIONS, Selector};
pub use login::Expected;
pub use principal::{Actor, ActorRole, Kind, Principal};
pub use secret::Secret;
pub use verifier::{Verified, Verifier};
pub use vouched::Vouched;

/// For the fuzzer: takes a token apart as [`Verifier::authenticate`] does
/// first. True if it is well formed. Not part of the API.
#[doc(hidden)]
#[must_use]
pub fn fuzz_parse(raw: &str) -> bool {
    token::parse(raw).is_ok()
}

/// For the fuzzer: reads a key set. True if it holds a usable key. Not part of the API.
#[doc(hidden)]
#[must_use]
pub fn fuzz_key_set(body: &[u8]) -> bool {
    jwks::KeySet::parse(body).is_ok()
}
