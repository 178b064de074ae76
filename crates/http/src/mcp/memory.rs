//! What is remembered of targets between requests: whose sessions there are, and what their tools
//! were defined as.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most MCP sessions that are remembered; beyond them a new one is refused.
const MAX_SESSIONS: usize = 10_000;
/// Most definitions that are remembered, of all targets; beyond them a new one is refused.
const MAX_DEFINITIONS: usize = 50_000;
/// The longest session id, in bytes.
const MAX_ID_BYTES: usize = 512;

/// Who a session id was given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) issuer: String,
    pub(crate) subject: String,
}

/// What is remembered. It is lost with the process: clients then begin sessions anew.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    sessions: HashMap<(usize, String), Owner>,
    definitions: HashMap<(usize, String), [u8; 32]>,
    changed: HashSet<(usize, String)>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds a session id to whom a target gave it. False: it is somebody else's, or there is no
    /// room; then nobody may have it.
    pub(crate) fn bind(&self, target: usize, id: &str, owner: Owner) -> bool {
        let mut all = self.lock();
        if id.len() > MAX_ID_BYTES || all.sessions.len() >= MAX_SESSIONS {
            return false;
        }
        let bound = all.sessions.entry((target, id.to_owned())).or_insert_with(|| owner.clone());
        *bound == owner
    }

    /// Whether a session id is this owner's.
    pub(crate) fn is_bound(&self, target: usize, id: &str, owner: &Owner) -> bool {
        self.lock().sessions.get(&(target, id.to_owned())) == Some(owner)
    }

    /// Forgets a session that its owner ended.
    pub(crate) fn unbind(&self, target: usize, id: &str) {
        self.lock().sessions.remove(&(target, id.to_owned()));
    }

    /// Whether a definition is what it was when it was first seen. One that changed stays so.
    pub(crate) fn is_as_before(&self, target: usize, name: &str, fingerprint: [u8; 32]) -> bool {
        let mut all = self.lock();
        let key = (target, name.to_owned());
        if all.definitions.len() >= MAX_DEFINITIONS && !all.definitions.contains_key(&key) {
            return false;
        }
        let same = *all.definitions.entry(key.clone()).or_insert(fingerprint) == fingerprint;
        if !same {
            all.changed.insert(key.clone());
        }
        same && !all.changed.contains(&key)
    }

    /// Whether a tool's definition has changed since it was first seen.
    pub(crate) fn has_changed(&self, target: usize, name: &str) -> bool {
        self.lock().changed.contains(&(target, name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(subject: &str) -> Owner {
        Owner { issuer: "i".into(), subject: subject.into() }
    }

    #[test]
    fn a_session_is_its_owner_s() {
        let memory = Memory::default();
        assert!(memory.bind(0, "a", owner("alice")) && memory.bind(0, "a", owner("alice")));
        assert!(!memory.bind(0, "a", owner("bob")));
        assert!(memory.is_bound(0, "a", &owner("alice")));
        assert!(
            !memory.is_bound(0, "a", &owner("bob")) && !memory.is_bound(1, "a", &owner("alice"))
        );
        memory.unbind(0, "a");
        assert!(!memory.is_bound(0, "a", &owner("alice")));
        assert!(!memory.bind(0, &"x".repeat(MAX_ID_BYTES + 1), owner("alice")));
    }

    #[test]
    fn a_changed_definition_stays_changed() {
        let memory = Memory::default();
        assert!(memory.is_as_before(0, "t", [1; 32]) && memory.is_as_before(0, "t", [1; 32]));
        assert!(memory.is_as_before(1, "t", [2; 32]) && !memory.has_changed(0, "t"));
        assert!(!memory.is_as_before(0, "t", [2; 32]) && memory.has_changed(0, "t"));
        assert!(!memory.is_as_before(0, "t", [1; 32]), "back again is no better");
        assert!(!memory.has_changed(1, "t"));
    }
}
