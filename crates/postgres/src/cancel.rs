//! Cancel requests: a client knows a key of ours, never the server's.
//!
//! The server's process id is passed on as it is (NOTIFY and `pg_stat_activity` show it); the
//! secret is replaced. A request whose pair is not known here goes nowhere.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use gate::Session;

use crate::target::Upstream;

/// Length of our secret under protocol 3.2, in bytes; the server's own is as long.
const LONG_SECRET: usize = 32;
/// Length of the secret under protocol 3.0, which allows no other.
const SHORT_SECRET: usize = 4;

/// The sessions that can be cancelled. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct CancelKeys(Arc<Mutex<HashMap<Key, Cancellable>>>);

#[derive(PartialEq, Eq, Hash, Clone)]
struct Key {
    process_id: u32,
    secret: Vec<u8>,
}

/// A session's side of a cancel request.
#[derive(Clone)]
pub(crate) struct Cancellable {
    /// Whose statement it is: the request is recorded as a command of this session.
    pub(crate) session: Session,
    /// Where to send it.
    pub(crate) upstream: Upstream,
    /// The server's process id.
    pub(crate) process_id: u32,
    /// The server's secret.
    pub(crate) secret: Vec<u8>,
}

/// A key that a client was given; it stops working when this is dropped.
pub(crate) struct Issued {
    keys: CancelKeys,
    key: Key,
}

impl CancelKeys {
    /// Makes the key that the client is given for a session. `None`: no random bytes.
    pub(crate) fn issue(&self, long: bool, session: Cancellable) -> Option<Issued> {
        let mut secret = vec![0; if long { LONG_SECRET } else { SHORT_SECRET }];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        let key = Key { process_id: session.process_id, secret };
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone(), session);
        drop(keys);
        Some(Issued { keys: self.clone(), key })
    }

    /// The session that a request means.
    pub(crate) fn find(&self, process_id: u32, secret: &[u8]) -> Option<Cancellable> {
        let key = Key { process_id, secret: secret.to_vec() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }
}

impl Issued {
    pub(crate) fn secret(&self) -> &[u8] {
        &self.key.secret
    }
}

impl Drop for Issued {
    fn drop(&mut self) {
        self.keys.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl fmt::Debug for CancelKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelKeys(***)")
    }
}
