//! One bearer's use of one target is a session. HTTP has no end of it, so it ends with the token's
//! lease, or when nothing was asked for a while.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use gate::{Arrival, Gate, Identified, Refused, Session};
use identity::{Secret, TokenHash};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::login::Login;
use crate::problem::Told;
use crate::target::Target;

/// Most sessions at once, unless configured; a new bearer beyond them is refused until one ends.
pub const MAX_SESSIONS: usize = 10_000;
/// How long a session goes on without a request, unless configured.
pub const SESSION_IDLE: Duration = Duration::from_secs(5 * 60);

/// Whose session, with which target (its place in the configuration).
type Key = (Whose, usize);

/// By what somebody is known: a cookie's hash is never taken for a token's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    Bearer([u8; 32]),
    Browser([u8; 32]),
}

/// Who asks.
pub(crate) enum Who {
    /// Whoever has this token.
    Bearer(Secret),
    /// A browser that is logged in.
    Browser(Login),
}

impl Who {
    fn key(&self) -> Whose {
        match self {
            Who::Bearer(token) => Whose::Bearer(*TokenHash::of(token).as_bytes()),
            Who::Browser(login) => Whose::Browser(login.key),
        }
    }

    async fn identified(&self, gate: &Gate, arrival: Arrival<'_>) -> Result<Identified, Refused> {
        match self {
            Who::Bearer(token) => gate.authenticate(token, arrival).await,
            Who::Browser(login) => Ok((*login.identified).clone()),
        }
    }
}

/// The sessions of one proxy.
pub(crate) struct Sessions(Arc<Table>);

struct Table {
    held: Mutex<HashMap<Key, Held>>,
    most: usize,
    idle: Duration,
}

struct Held {
    session: Arc<OnceCell<Session>>,
    /// Requests under way.
    busy: usize,
    used: Instant,
}

/// A session with a request under way: it does not become idle.
pub(crate) struct InUse {
    table: Arc<Table>,
    key: Key,
    session: Session,
}

impl std::ops::Deref for InUse {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.table.leave(&self.key);
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, key: &Key) {
        let mut held = self.lock();
        let Some(found) = held.get_mut(key) else { return };
        found.busy = found.busy.saturating_sub(1);
        found.used = Instant::now();
        if found.busy == 0 && found.session.get().is_none() {
            held.remove(key);
        }
    }

    /// Takes a session out, if it is still the one that was meant.
    fn remove(&self, key: &Key, session: &Session) {
        let mut held = self.lock();
        let same = |it: &Held| it.session.get().is_some_and(|it| it.id() == session.id());
        if held.get(key).is_some_and(same) {
            held.remove(key);
        }
    }

    fn is_idle(&self, key: &Key) -> bool {
        let held = self.lock();
        held.get(key).is_none_or(|it| it.busy == 0 && it.used.elapsed() >= self.idle)
    }
}

/// A place in the table that is given back, whatever becomes of the request.
struct Place<'a> {
    table: &'a Arc<Table>,
    key: Key,
    kept: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.table.leave(&self.key);
        }
    }
}

impl Sessions {
    pub(crate) fn new(most: usize, idle: Duration) -> Sessions {
        Sessions(Arc::new(Table { held: Mutex::default(), most, idle }))
    }

    /// The session of this one with this target: the one that is there, or a new one, which
    /// is on record when this returns.
    pub(crate) async fn enter(
        &self,
        gate: &Gate,
        who: &Rc<Who>,
        at: usize,
        target: &Target,
        arrival: Arrival<'_>,
    ) -> Result<InUse, Told> {
        let key = (who.key(), at);
        loop {
            let cell = self.place(key)?;
            let mut place = Place { table: &self.0, key, kept: false };
            let mut opened = false;
            let session = cell
                .get_or_try_init(async || {
                    opened = true;
                    open(gate, who, target, arrival).await
                })
                .await?
                .clone();
            if let Some(why) = session.lease().is_over()
                && !opened
            {
                // Its watcher may not have run yet. What the token is worth now, it must show.
                self.0.remove(&key, &session);
                session.end(why.code())?;
                continue;
            }
            if opened {
                tokio::task::spawn_local(watch(Arc::downgrade(&self.0), key, session.clone()));
            }
            place.kept = true;
            return Ok(InUse { table: self.0.clone(), key, session });
        }
    }

    fn place(&self, key: Key) -> Result<Arc<OnceCell<Session>>, Told> {
        let mut held = self.0.lock();
        if !held.contains_key(&key) && held.len() >= self.0.most {
            return Err(Told::Crowded);
        }
        let now = Instant::now();
        let new = || Held { session: Arc::default(), busy: 0, used: now };
        let found = held.entry(key).or_insert_with(new);
        found.busy += 1;
        Ok(found.session.clone())
    }
}

/// Opens a session, in a task of its own: a client that leaves while an issuer is asked for its
/// keys must not take the answer with it, which others wait for. A session that nobody waits for
/// any more ends at once.
async fn open(
    gate: &Gate,
    who: &Rc<Who>,
    target: &Target,
    arrival: Arrival<'_>,
) -> Result<Session, Told> {
    let (gate, who, target) = (gate.clone(), who.clone(), target.gate.clone());
    let protocol = arrival.protocol;
    let (peer, name) = (arrival.peer.to_owned(), arrival.target.to_vec());
    let opening = tokio::task::spawn_local(async move {
        let arrival = Arrival { protocol, peer: &peer, target: &name };
        let identified = who.identified(&gate, arrival).await?;
        gate.open_session(identified, target, arrival).await.map_err(Told::from)
    });
    // It is not cancelled, and does not panic.
    opening.await.map_err(|_| Told::Unrecorded)?
}

/// Ends a session with its lease, or when it is idle.
async fn watch(table: Weak<Table>, key: Key, session: Session) {
    let reason = loop {
        let Some(idle) = table.upgrade().map(|table| table.idle) else { return };
        tokio::select! {
            why = session.lease().ended() => break why.code(),
            () = tokio::time::sleep(idle) => {}
        }
        match table.upgrade() {
            None => return,
            Some(table) if table.is_idle(&key) => break "idle",
            Some(_) => {}
        }
    };
    if let Some(table) = table.upgrade() {
        table.remove(&key, &session);
    }
    if let Err(error) = session.end(reason) {
        tracing::error!(session = session.id(), %error, "a session's end is not on record");
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let held = std::mem::take(self.held.get_mut().unwrap_or_else(PoisonError::into_inner));
        for session in held.into_values().filter_map(|it| it.session.get().cloned()) {
            if let Err(error) = session.end("shutdown") {
                tracing::error!(session = session.id(), %error, "a session's end is not on record");
            }
        }
    }
}
