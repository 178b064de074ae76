//! Every bound this crate puts on what it reads, keeps or waits for.

use std::time::Duration;

/// Longest raw token, bytes. GitHub's are near 2 kB, Entra's near 4 kB.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Deepest nesting of a token's header or claims.
pub const MAX_JSON_DEPTH: usize = 16;
/// Longest `kid`, bytes.
pub const MAX_KID_BYTES: usize = 128;
/// Longest subject, owner, `jti` or client id, bytes.
pub const MAX_ID_BYTES: usize = 512;
/// Longest display name, bytes.
pub const MAX_DISPLAY_BYTES: usize = 256;
/// Most groups in one token.
pub const MAX_GROUPS: usize = 1024;
/// Longest group name, bytes.
pub const MAX_GROUP_BYTES: usize = 256;
/// Most nested `act` claims.
pub const MAX_DELEGATION_DEPTH: usize = 3;
/// Largest time a token may state, seconds since 1970: the end of year 9999.
pub const MAX_NUMERIC_DATE: u64 = 253_402_300_799;

/// Largest discovery document or key set, bytes.
pub const MAX_FETCH_BYTES: usize = 256 * 1024;
/// Most keys in a key set.
pub const MAX_KEYS: usize = 64;
/// Longest wait for a discovery document or a key set.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Keys are fetched anew at least this often while in use.
pub const MAX_KEY_AGE: Duration = Duration::from_secs(600);
/// Keys count as fresh at least this long, whatever `Cache-Control` says.
pub const MIN_KEY_AGE: Duration = Duration::from_secs(30);
/// Shortest time between two fetches that an unknown `kid` causes, per issuer.
pub const UNKNOWN_KID_INTERVAL: Duration = Duration::from_secs(30);
/// Shortest time between two fetches after one that failed, per issuer.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How long a `kid` that a fetch did not bring causes no further fetch.
pub const NEGATIVE_KID_TTL: Duration = Duration::from_secs(120);
/// Most such `kid`s remembered, per issuer.
pub const NEGATIVE_KIDS: usize = 4096;

/// Smallest RSA modulus, bits.
pub const MIN_RSA_BITS: usize = 2048;
/// Largest RSA modulus, bits: verification time grows with it.
pub const MAX_RSA_BITS: usize = 8192;
/// Longest duration a configuration may state.
pub const MAX_CONFIG_DURATION: Duration = Duration::from_secs(30 * 24 * 3600);
/// Largest clock skew a configuration may state.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);
