//! What a token states.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// The claims of a token to be minted. The issuer adds `iss`, `iat`, `exp` and
/// `jti` where they are not set.
#[derive(Clone, Debug)]
pub struct Claims {
    pub(crate) set: Map<String, Value>,
    pub(crate) lifetime: Duration,
}

impl Claims {
    /// A token for this subject, good for five minutes.
    #[must_use]
    pub fn new(sub: &str) -> Self {
        let set = Map::from_iter([("sub".to_owned(), json!(sub))]);
        Self { set, lifetime: Duration::from_secs(300) }
    }

    /// For whom the token is meant (`aud`).
    #[must_use]
    pub fn audience(self, aud: &str) -> Self {
        self.with("aud", json!(aud))
    }

    /// To which client it was issued (`client_id`).
    #[must_use]
    pub fn client(self, id: &str) -> Self {
        self.with("client_id", json!(id))
    }

    /// The groups of the subject.
    #[must_use]
    pub fn groups(self, groups: &[&str]) -> Self {
        self.with("groups", json!(groups))
    }

    /// Who acts for the subject (RFC 8693 `act`), the current actor first.
    #[must_use]
    pub fn acting(self, actors: &[&str]) -> Self {
        let chain = actors.iter().rev().fold(None, |inner: Option<Value>, sub| {
            let mut act = Map::from_iter([("sub".to_owned(), json!(sub))]);
            act.extend(inner.map(|inner| ("act".to_owned(), inner)));
            Some(Value::Object(act))
        });
        match chain {
            Some(act) => self.with("act", act),
            None => self,
        }
    }

    /// How long it is good for.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets any claim.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.set.insert(name.to_owned(), value);
        self
    }

    /// Leaves a claim out, even one that the issuer would add.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        self.with(name, Value::Null)
    }

    /// The whole set, as it goes into the token.
    pub(crate) fn complete(self, iss: &str, jti: &str) -> Map<String, Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let iat = self.set.get("iat").and_then(Value::as_u64).unwrap_or(now);
        let mut all = Map::from_iter([
            ("iss".to_owned(), json!(iss)),
            ("iat".to_owned(), json!(iat)),
            ("exp".to_owned(), json!(iat.saturating_add(self.lifetime.as_secs()))),
            ("jti".to_owned(), json!(jti)),
        ]);
        all.extend(self.set);
        all.retain(|_, value| !value.is_null());
        all
    }
}
