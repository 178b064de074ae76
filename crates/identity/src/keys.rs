//! An issuer's keys as they change: fetched when needed, never too often,
//! never trusted too long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::fetch::{Fetch, FetchError, FetchRequest, Fetched};
use crate::jwks::{Found, KeySet};
use crate::lease::lock;
use crate::limits::{
    ABANDONED_INTERVAL, FETCH_TIMEOUT, MAX_FETCH_BYTES, MAX_KEY_AGE, MIN_KEY_AGE, NEGATIVE_KID_TTL,
    NEGATIVE_KIDS, RETRY_INTERVAL, UNKNOWN_KID_INTERVAL,
};
use crate::plan::{IssuerPlan, Source, is_allowed_url};
use crate::{AuthError, LeaseRegistry, json};

/// The keys of one issuer.
#[derive(Default)]
pub(crate) struct Keys {
    state: Mutex<State>,
    /// Held over a fetch: one at a time, and those who wait share its result.
    flight: tokio::sync::Mutex<Flight>,
    unknown: Mutex<HashMap<String, Instant>>,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    last_attempt: Option<Instant>,
    /// The last attempt has no end yet; without one under way, whoever made it went away.
    unfinished: bool,
    last_error: Option<String>,
}

#[derive(Clone)]
struct Current {
    set: Arc<KeySet>,
    fetched: Instant,
    fresh_until: Instant,
}

#[derive(Default)]
struct Flight {
    /// Known from the discovery document; forgotten when a fetch fails.
    jwks_uri: Option<String>,
}

/// Why keys are fetched: decides how soon after the last attempt it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    NotFresh,
    UnknownKid,
}

/// What a fetch needs besides the keys themselves.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a IssuerPlan,
    pub(crate) fetch: &'a dyn Fetch,
    pub(crate) leases: &'a LeaseRegistry,
}

impl Keys {
    /// A set that holds the key a header means, fetched anew if need be.
    pub(crate) async fn holding(
        &self,
        context: &Context<'_>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<KeySet>, AuthError> {
        self.refresh_if_due(context).await;
        let set = self.current(context.plan)?;
        match set.find(kid, algorithm) {
            Found::Key(_) => return Ok(set),
            Found::Unfit => return Err(AuthError::Algorithm),
            Found::Nothing => {}
        }
        if self.is_known_unknown(kid) {
            return Err(AuthError::UnknownKey);
        }
        if self.refresh(context, Cause::UnknownKid).await {
            let set = self.current(context.plan)?;
            match set.find(kid, algorithm) {
                Found::Key(_) => return Ok(set),
                Found::Unfit => return Err(AuthError::Algorithm),
                Found::Nothing => self.remember_unknown(kid),
            }
        }
        Err(AuthError::UnknownKey)
    }

    /// Whether a key is still in the current set.
    pub(crate) fn holds(&self, thumbprint: &[u8; 32]) -> bool {
        lock(&self.state).current.as_ref().is_some_and(|current| current.set.contains(thumbprint))
    }

    /// Fetches the keys if they are no longer fresh; an error if there are none to go by.
    pub(crate) async fn available(&self, context: &Context<'_>) -> Result<(), AuthError> {
        self.refresh_if_due(context).await;
        self.current(context.plan).map(drop)
    }

    /// Fetches the keys if they are no longer fresh.
    pub(crate) async fn refresh_if_due(&self, context: &Context<'_>) {
        let due = {
            let state = lock(&self.state);
            state.current.as_ref().is_none_or(|current| Instant::now() >= current.fresh_until)
        };
        if due {
            self.refresh(context, Cause::NotFresh).await;
        }
    }

    /// Why the last fetch failed, for the operator; `None` if it did not.
    pub(crate) fn last_error(&self) -> Option<String> {
        lock(&self.state).last_error.clone()
    }

    /// The set at hand, unless it is older than `jwks_max_stale`.
    fn current(&self, plan: &IssuerPlan) -> Result<Arc<KeySet>, AuthError> {
        lock(&self.state)
            .current
            .as_ref()
            // A set within its own freshness is good however short the stale limit is.
            .filter(|c| Instant::now() < c.fresh_until || c.fetched.elapsed() <= plan.max_stale)
            .map(|c| Arc::clone(&c.set))
            .ok_or_else(|| AuthError::KeysUnavailable { issuer: plan.name.clone() })
    }

    /// Fetches unless it is too soon. True if the set may have changed since the caller looked.
    async fn refresh(&self, context: &Context<'_>, cause: Cause) -> bool {
        if self.is_too_soon(cause) && self.flight.try_lock().is_ok() {
            return false;
        }
        // A fetch in flight is worth waiting for, however soon it is.
        let mut flight = self.flight.lock().await;
        if let Some(then) = self.abandoned() {
            tokio::time::sleep_until(then).await;
        } else if self.is_too_soon(cause) {
            return true;
        }
        // Noted before the fetch: this future may be dropped in it.
        self.begin();
        let result = tokio::time::timeout(FETCH_TIMEOUT, flight.fetch(context)).await;
        let result = result.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let mut state = lock(&self.state);
        // And again after it: an issuer that hangs must not make every login
        // wait, one after the other.
        state.last_attempt = Some(Instant::now());
        state.unfinished = false;
        match result {
            Ok((set, fresh)) => {
                let (fetched, kept) = (Instant::now(), set.thumbprints());
                let set = Arc::new(set);
                state.current = Some(Current { set, fetched, fresh_until: fetched + fresh });
                state.last_error = None;
                drop(state);
                context.leases.end_keys_but(&context.plan.iss, &kept);
            }
            Err(why) => {
                flight.jwks_uri = None;
                state.last_error = Some(why);
            }
        }
        true
    }

    fn begin(&self) {
        let mut state = lock(&self.state);
        state.last_attempt = Some(Instant::now());
        state.unfinished = true;
    }

    /// When the next fetch may be, if the last one was given up. Asked by who holds the flight.
    fn abandoned(&self) -> Option<Instant> {
        let state = lock(&self.state);
        state.last_attempt.filter(|_| state.unfinished).map(|at| at + ABANDONED_INTERVAL)
    }

    fn is_too_soon(&self, cause: Cause) -> bool {
        let interval = match cause {
            Cause::NotFresh => RETRY_INTERVAL,
            Cause::UnknownKid => UNKNOWN_KID_INTERVAL,
        };
        let state = lock(&self.state);
        !state.unfinished && state.last_attempt.is_some_and(|at| at.elapsed() < interval)
    }

    fn is_known_unknown(&self, kid: Option<&str>) -> bool {
        let Some(kid) = kid else { return false };
        lock(&self.unknown).get(kid).is_some_and(|at| at.elapsed() < NEGATIVE_KID_TTL)
    }

    fn remember_unknown(&self, kid: Option<&str>) {
        let Some(kid) = kid else { return };
        let mut unknown = lock(&self.unknown);
        if unknown.len() >= NEGATIVE_KIDS {
            unknown.retain(|_, at| at.elapsed() < NEGATIVE_KID_TTL);
        }
        if unknown.len() < NEGATIVE_KIDS {
            unknown.insert(kid.to_owned(), Instant::now());
        }
    }
}

impl Flight {
    /// One fetch: the discovery document if its answer is not known, then the keys.
    async fn fetch(&mut self, context: &Context<'_>) -> Result<(KeySet, Duration), String> {
        let uri = match (&context.plan.source, &self.jwks_uri) {
            (Source::Jwks(uri), _) | (Source::Discovery(_), Some(uri)) => uri.clone(),
            (Source::Discovery(url), None) => {
                let document = get(context, url).await.map_err(|e| e.to_string())?;
                discovered(context.plan, &document.body)?
            }
        };
        let fetched = get(context, &uri).await.map_err(|e| e.to_string())?;
        let set = KeySet::parse(&fetched.body)?;
        self.jwks_uri = Some(uri);
        let age = fetched.max_age.map_or(MAX_KEY_AGE, Duration::from_secs);
        Ok((set, age.clamp(MIN_KEY_AGE, MAX_KEY_AGE)))
    }
}

async fn get(context: &Context<'_>, url: &str) -> Result<Fetched, FetchError> {
    let request = FetchRequest { issuer: &context.plan.name, url, max_bytes: MAX_FETCH_BYTES };
    let fetched = context.fetch.fetch(request).await?;
    // A fetcher from outside may not have kept to the bound.
    if fetched.body.len() > MAX_FETCH_BYTES {
        return Err(FetchError("the document is too large".to_owned()));
    }
    Ok(fetched)
}

/// The key set's address from a discovery document.
fn discovered(plan: &IssuerPlan, body: &[u8]) -> Result<String, String> {
    let document = json::object(body).ok_or("the discovery document is not plain JSON")?;
    announced(&plan.iss, plan.insecure_loopback, &document, "jwks_uri")
}

/// An address from a discovery document (OpenID Connect Discovery 3; its 4.3 demands that
/// `issuer` is exactly the one asked).
pub(crate) fn announced(
    iss: &str,
    insecure_loopback: bool,
    document: &Map<String, Value>,
    name: &str,
) -> Result<String, String> {
    if document.get("issuer").and_then(Value::as_str) != Some(iss) {
        return Err("the discovery document is of another issuer".to_owned());
    }
    let uri = document
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("the discovery document has no `{name}`"))?;
    if !is_allowed_url(uri, insecure_loopback) {
        return Err(format!("the discovery document's `{name}` is no https address"));
    }
    Ok(uri.to_owned())
}
