//! Browsers that are logged in. A cookie names an entry here and says nothing itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gate::Identified;
use tokio::time::Instant;

use crate::problem::Told;

/// Most browsers that are logged in at once; one more is refused until one is not.
pub const MAX_LOGINS: usize = 10_000;
/// Most of one principal; the oldest makes room.
pub const MAX_LOGINS_OF_ONE: usize = 32;

/// A browser that is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// SHA-256 of its cookie.
    pub(crate) key: [u8; 32],
    pub(crate) identified: Arc<Identified>,
}

struct Held {
    identified: Arc<Identified>,
    /// Where its cookie counts.
    host: String,
    since: Instant,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Logins(Mutex<HashMap<[u8; 32], Held>>);

impl Logins {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes somebody in, and gives the cookie's value: 256 random bits.
    pub(crate) fn admit(
        &self,
        identified: Identified,
        host: &str,
    ) -> Result<(String, Login), Told> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| Told::Unrecorded)?;
        let cookie = URL_SAFE_NO_PAD.encode(bytes);
        let key = key(&cookie);
        let identified = Arc::new(identified);
        let mut held = self.lock();
        held.retain(|_, it| it.identified.lease().is_over().is_none());
        let whose =
            |it: &Identified| (it.principal().issuer.clone(), it.principal().subject.clone());
        let who = whose(&identified);
        let same = held.iter().filter(|(_, it)| whose(&it.identified) == who);
        let (count, oldest) =
            same.fold((0, None::<(Instant, [u8; 32])>), |(count, oldest), (key, it)| {
                let older = oldest.filter(|(since, _)| *since <= it.since);
                (count + 1, Some(older.unwrap_or((it.since, *key))))
            });
        if let Some((_, oldest)) = oldest.filter(|_| count >= MAX_LOGINS_OF_ONE) {
            held.remove(&oldest);
        }
        if held.len() >= MAX_LOGINS {
            return Err(Told::Crowded);
        }
        let new = Held {
            identified: identified.clone(),
            host: host.to_ascii_lowercase(),
            since: Instant::now(),
        };
        held.insert(key, new);
        Ok((cookie, Login { key, identified }))
    }

    /// Whose cookie this is, while the lease holds.
    pub(crate) fn find(&self, cookie: &str, host: &str) -> Option<Login> {
        let key = key(cookie);
        let mut held = self.lock();
        let found = held.get(&key)?;
        if found.identified.lease().is_over().is_some() {
            held.remove(&key);
            return None;
        }
        let here = found.host.eq_ignore_ascii_case(host);
        here.then(|| Login { key, identified: found.identified.clone() })
    }

    /// Forgets a cookie.
    pub(crate) fn remove(&self, login: &Login) {
        self.lock().remove(&login.key);
    }
}

fn key(cookie: &str) -> [u8; 32] {
    let mut key = [0; 32];
    let hash = digest::digest(&digest::SHA256, cookie.as_bytes());
    for (to, from) in key.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    key
}
