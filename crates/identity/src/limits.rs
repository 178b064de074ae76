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
/// Shortest time between two fetches after one whose login went away in the middle, per issuer:
/// whoever comes next waits so long and fetches, so that nobody can keep others out by leaving.
pub const ABANDONED_INTERVAL: Duration = Duration::from_secs(1);
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

/// How often an issuer is asked about a device code if it names no interval (RFC 8628
/// section 3.2).
pub const DEVICE_INTERVAL: Duration = Duration::from_secs(5);
/// How much longer to wait after `slow_down` (RFC 8628 section 3.5).
pub const DEVICE_SLOWER: Duration = Duration::from_secs(5);
/// Longest such interval kept to; a longer one is cut to this.
pub const MAX_DEVICE_INTERVAL: Duration = Duration::from_secs(300);
/// Longest life of a device code; a longer one is cut to this.
pub const MAX_DEVICE_LIFETIME: Duration = Duration::from_secs(1800);
/// Most logins by browser begun in a minute, per flow that is configured.
pub const MAX_DEVICE_LOGINS_PER_MINUTE: usize = 120;
/// An issuer that does not answer so often about a device code, one time after the other, is
/// not asked again.
pub const MAX_DEVICE_FAILURES: u32 = 3;
/// Longest `device_code`, bytes.
pub const MAX_DEVICE_CODE_BYTES: usize = 4096;
/// Longest `user_code`, bytes: a person types it.
pub const MAX_USER_CODE_BYTES: usize = 64;
/// Longest address to enter it at, bytes.
pub const MAX_VERIFICATION_URI_BYTES: usize = 1024;
/// Largest answer of a token or device endpoint, bytes: some tokens.
pub const MAX_TOKEN_ANSWER_BYTES: usize = 64 * 1024;

/// Most logins by authorization code that ask the issuer for a token in a minute, per flow that
/// is configured.
pub const MAX_CODE_LOGINS_PER_MINUTE: usize = 600;
/// Longest authorization code, bytes.
pub const MAX_CODE_BYTES: usize = 4096;
