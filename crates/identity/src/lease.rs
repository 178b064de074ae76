//! The right to go on, and how it ends.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::MAX_CONFIG_DURATION;
use crate::{Credential, Principal, TokenHash};

/// Most revocations remembered against tokens shown again. Beyond it the oldest is forgotten.
pub const MAX_REVOCATIONS: usize = 65_536;

/// Why a lease ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The token expired.
    Expired,
    /// The rule's `max_session` is over; the token may still be good.
    MaxSession,
    /// The issuer no longer publishes the key that signed the token.
    KeyRemoved,
    /// Somebody ended it; the text is theirs and may be shown to the client.
    Revoked(Arc<str>),
}

impl EndReason {
    /// A stable word for records and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::MaxSession => "max_session",
            Self::KeyRemoved => "key_removed",
            Self::Revoked(_) => "revoked",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the token has expired"),
            Self::MaxSession => f.write_str("the session's time is over"),
            Self::KeyRemoved => f.write_str("the issuer withdrew the key that signed the token"),
            Self::Revoked(why) => write!(f, "revoked: {why}"),
        }
    }
}

/// Which leases to end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// All in which this party is the principal, the owner, or acted for.
    Principal {
        /// The issuer's `iss`.
        issuer: String,
        /// The subject there.
        subject: String,
    },
    /// The token with this `jti` from this issuer.
    Jti {
        /// The issuer's `iss`.
        issuer: String,
        /// The token's `jti`.
        jti: String,
    },
    /// The token with this hash.
    Token(TokenHash),
    /// All signed by a key of an issuer.
    Key {
        /// The issuer's `iss`.
        issuer: String,
        /// The key's `kid`.
        kid: String,
    },
}

/// A principal's right to go on.
///
/// Cheap to clone; all clones are one lease. It ends on the monotonic clock, so
/// that setting the wall clock back extends nothing, or from outside through
/// [`LeaseRegistry::end`]. Once over it stays over, for the first reason.
#[derive(Clone)]
pub struct Lease(Arc<Inner>);

struct Inner {
    id: u64,
    deadline: Instant,
    at_deadline: EndReason,
    over: OnceLock<EndReason>,
    changed: Notify,
    issuer: String,
    key: [u8; 32],
    principal: Principal,
    credential: Credential,
    registry: Weak<Shared>,
}

impl Lease {
    /// Why the lease is over, or `None` while it holds. An atomic load and a
    /// comparison with the clock: meant to be asked before every command.
    #[must_use]
    pub fn is_over(&self) -> Option<EndReason> {
        if let Some(reason) = self.0.over.get() {
            return Some(reason.clone());
        }
        if Instant::now() < self.0.deadline {
            return None;
        }
        Some(self.0.over.get_or_init(|| self.0.at_deadline.clone()).clone())
    }

    /// Waits for the end. Safe to drop and call again.
    pub async fn ended(&self) -> EndReason {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(reason) = self.is_over() {
                return reason;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(self.0.deadline) => {}
            }
        }
    }

    /// How long it has to run if nobody ends it; zero when over.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        if self.is_over().is_some() {
            return Duration::ZERO;
        }
        self.0.deadline.saturating_duration_since(Instant::now())
    }

    /// Thumbprint of the key that signed the token.
    pub(crate) fn key(&self) -> [u8; 32] {
        self.0.key
    }

    fn end(&self, reason: EndReason) -> bool {
        let first = self.0.over.set(reason).is_ok();
        self.0.changed.notify_waiters();
        first
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.0.id)
            .field("over", &self.is_over())
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(shared) = self.registry.upgrade() {
            lock(&shared.live).remove(&self.id);
        }
    }
}

impl Inner {
    fn matches(&self, selector: &Selector) -> bool {
        match selector {
            Selector::Principal { issuer, subject } => self.principal.involves(issuer, subject),
            Selector::Jti { issuer, jti } => {
                self.issuer == *issuer && self.credential.jti.as_ref() == Some(jti)
            }
            Selector::Token(hash) => self.credential.sha256 == *hash,
            Selector::Key { issuer, kid } => {
                self.issuer == *issuer && self.credential.kid.as_ref() == Some(kid)
            }
        }
    }
}

/// All live leases of a process, and what was revoked in it.
///
/// Cheap to clone; all clones are one registry. Revocations are kept in memory
/// only: whoever has a durable list replays it with [`end`](Self::end) at start.
#[derive(Clone, Default)]
pub struct LeaseRegistry(Arc<Shared>);

#[derive(Default)]
struct Shared {
    next: AtomicU64,
    live: Mutex<HashMap<u64, Weak<Inner>>>,
    revoked: Mutex<HashMap<Selector, u64>>,
}

/// What a lease is made from.
pub(crate) struct Grant {
    pub(crate) principal: Principal,
    pub(crate) credential: Credential,
    /// Thumbprint of the key that signed the token.
    pub(crate) key: [u8; 32],
    /// Until the token is no longer good.
    pub(crate) token: Duration,
    /// The rule's `max_session`.
    pub(crate) session: Duration,
}

impl LeaseRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every live lease that the selector names, and refuses from now on
    /// the tokens it names that were issued until this second (a token issued
    /// later is good again, so that a returning person needs no clean-up).
    /// Gives the number of leases it ended.
    pub fn end(&self, selector: &Selector, reason: &str) -> usize {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        self.remember(selector, now);
        let reason = EndReason::Revoked(Arc::from(reason));
        self.end_where(|lease| lease.matches(selector), &reason)
    }

    /// How many leases live.
    #[must_use]
    pub fn live(&self) -> usize {
        lock(&self.0.live).len()
    }

    /// Registers a lease, or `None` if what it stands on was revoked.
    pub(crate) fn grant(&self, grant: Grant) -> Option<Lease> {
        let now = Instant::now();
        let (left, at_deadline) = if grant.token <= grant.session {
            (grant.token, EndReason::Expired)
        } else {
            (grant.session, EndReason::MaxSession)
        };
        let deadline = now.checked_add(left.min(MAX_CONFIG_DURATION)).unwrap_or(now);
        let lease = Lease(Arc::new(Inner {
            id: self.0.next.fetch_add(1, Ordering::Relaxed),
            deadline,
            at_deadline,
            over: OnceLock::new(),
            changed: Notify::new(),
            issuer: grant.principal.issuer.clone(),
            key: grant.key,
            principal: grant.principal,
            credential: grant.credential,
            registry: Arc::downgrade(&self.0),
        }));
        // Registered first, checked afterwards: a revocation that comes in
        // between is seen by one of the two.
        lock(&self.0.live).insert(lease.0.id, Arc::downgrade(&lease.0));
        (!self.is_revoked(&lease.0)).then_some(lease)
    }

    /// Ends the leases of an issuer whose key is not among these thumbprints.
    pub(crate) fn end_keys_but(&self, issuer: &str, kept: &HashSet<[u8; 32]>) -> usize {
        self.end_where(
            |lease| lease.issuer == issuer && !kept.contains(&lease.key),
            &EndReason::KeyRemoved,
        )
    }

    fn end_where(&self, chosen: impl Fn(&Inner) -> bool, reason: &EndReason) -> usize {
        // The strong references are dropped after the lock: dropping the last
        // one takes the lock again.
        let live: Vec<Lease> =
            lock(&self.0.live).values().filter_map(Weak::upgrade).map(Lease).collect();
        live.iter()
            .filter(|lease| chosen(&lease.0))
            .filter(|lease| lease.end(reason.clone()))
            .count()
    }

    fn remember(&self, selector: &Selector, now: u64) {
        let mut revoked = lock(&self.0.revoked);
        if revoked.len() >= MAX_REVOCATIONS && !revoked.contains_key(selector) {
            let oldest = revoked.iter().min_by_key(|(_, at)| **at).map(|(s, _)| s.clone());
            if let Some(oldest) = oldest {
                revoked.remove(&oldest);
            }
        }
        revoked.insert(selector.clone(), now);
    }

    fn is_revoked(&self, lease: &Inner) -> bool {
        let revoked = lock(&self.0.revoked);
        if revoked.is_empty() {
            return false;
        }
        let p = &lease.principal;
        let party = |issuer: &str, subject: &str| Selector::Principal {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        };
        let mut selectors =
            vec![Selector::Token(lease.credential.sha256), party(&p.issuer, &p.subject)];
        selectors.extend(p.owner.iter().map(|owner| party(&p.issuer, owner)));
        selectors.extend(p.on_behalf_of.iter().map(|a| party(&a.issuer, &a.subject)));
        let issuer = || p.issuer.clone();
        selectors.extend(
            lease.credential.jti.iter().map(|j| Selector::Jti { issuer: issuer(), jti: j.clone() }),
        );
        selectors.extend(
            lease.credential.kid.iter().map(|k| Selector::Key { issuer: issuer(), kid: k.clone() }),
        );
        selectors
            .iter()
            .filter_map(|selector| revoked.get(selector))
            .any(|until| lease.credential.iat <= *until)
    }
}

impl fmt::Debug for LeaseRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseRegistry").field("live", &self.live()).finish_non_exhaustive()
    }
}

/// A poisoned lock is taken all the same: the maps are changed by single calls
/// that leave them whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
