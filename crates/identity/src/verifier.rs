//! From a raw token to a principal with a lease.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::Algorithm;

use crate::config::{Config, ConfigError};
use crate::fetch::Fetch;
use crate::jwks::Found;
use crate::keys::{Context, Keys};
use crate::lease::Grant;
use crate::limits::{MAX_NUMERIC_DATE, RETRY_INTERVAL};
use crate::plan::{self, IssuerPlan};
use crate::token::{self, Claims, Unverified};
use crate::{
    AuthError, Credential, Lease, LeaseRegistry, Principal, Secret, TokenClass, TokenHash, rules,
};

/// A token that was believed: who acts, what was shown, and how long it lasts.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Who acts, and for whom.
    pub principal: Principal,
    /// What a record keeps of the token.
    pub credential: Credential,
    /// The right to go on.
    pub lease: Lease,
}

/// Checks tokens of the configured issuers. Cheap to clone.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    by_iss: HashMap<String, Issuer>,
    fetch: Box<dyn Fetch>,
    leases: LeaseRegistry,
}

pub(crate) struct Issuer {
    pub(crate) plan: IssuerPlan,
    pub(crate) keys: Keys,
}

impl Verifier {
    /// Makes a configuration ready. Fetches nothing yet.
    ///
    /// # Errors
    ///
    /// All mistakes in the configuration.
    pub fn new(config: &Config, fetch: impl Fetch + 'static) -> Result<Self, ConfigError> {
        let plans = plan::compile(config).map_err(|problems| ConfigError { problems })?;
        let by_iss = plans
            .into_iter()
            .map(|plan| (plan.iss.clone(), Issuer { plan, keys: Keys::default() }))
            .collect();
        Ok(Self(Arc::new(Inner { by_iss, fetch: Box::new(fetch), leases: LeaseRegistry::new() })))
    }

    /// The live leases, and the way to end them.
    #[must_use]
    pub fn leases(&self) -> &LeaseRegistry {
        &self.0.leases
    }

    /// Checks a token and says who shows it. `now` is the wall clock.
    ///
    /// What can be refused without a key is refused first, so that a token
    /// which could not be accepted anyway causes no fetch.
    ///
    /// # Errors
    ///
    /// [`AuthError`]; its [`fault`](AuthError::fault) says who can mend it.
    pub async fn authenticate(
        &self,
        token: &Secret,
        now: SystemTime,
    ) -> Result<Verified, AuthError> {
        let raw = token.expose();
        let parsed = token::parse(raw)?;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()).min(MAX_NUMERIC_DATE);
        let issuer = self.0.by_iss.get(&parsed.claims.iss).ok_or(AuthError::UnknownIssuer)?;
        let algorithm = check_unsigned(&issuer.plan, &parsed, now)?;
        let thumbprint = self.check_signature(issuer, &parsed, algorithm, raw).await?;
        let (rule, principal) = rules::map(&issuer.plan, &parsed.claims)?;
        let claims = &parsed.claims;
        let credential = Credential {
            sha256: TokenHash::of(token),
            jti: claims.jti.clone(),
            kid: parsed.kid.clone(),
            class: parsed.class,
            iat: claims.iat,
            exp: claims.exp,
            client_id: claims.client_id.clone().or_else(|| claims.azp.clone()),
        };
        let lease = self
            .0
            .leases
            .grant(Grant {
                principal: principal.clone(),
                credential: credential.clone(),
                key: thumbprint,
                token: time_left(&issuer.plan, claims, now),
                session: rule.max_session,
            })
            .ok_or(AuthError::Revoked)?;
        // The key may have been withdrawn while we looked; then this lease was
        // not yet in the registry to be ended.
        if !issuer.keys.holds(&thumbprint) {
            return Err(AuthError::UnknownKey);
        }
        Ok(Verified { principal, credential, lease })
    }

    /// Fetches the keys of every issuer whose keys are no longer fresh, and
    /// ends the leases of keys that are gone. Gives the issuers that failed, by
    /// name, with the reason for the operator.
    pub async fn refresh(&self) -> Vec<(String, String)> {
        for issuer in self.0.by_iss.values() {
            issuer.keys.refresh_if_due(&self.context(issuer)).await;
        }
        self.key_problems()
    }

    /// The issuers whose last fetch of keys failed, by name, with the reason.
    /// For the operator's log and a health check; fetches nothing.
    #[must_use]
    pub fn key_problems(&self) -> Vec<(String, String)> {
        let problem = |issuer: &Issuer| Some((issuer.plan.name.clone(), issuer.keys.last_error()?));
        self.0.by_iss.values().filter_map(problem).collect()
    }

    /// [`refresh`](Self::refresh) for ever. Keys are also fetched when a token
    /// comes; a process that runs this too notices a withdrawn key when nobody
    /// logs in.
    pub async fn keep_fresh(&self) {
        loop {
            self.refresh().await;
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    pub(crate) fn issuer(&self, iss: &str) -> Option<&Issuer> {
        self.0.by_iss.get(iss)
    }

    pub(crate) fn context<'a>(&'a self, issuer: &'a Issuer) -> Context<'a> {
        Context { plan: &issuer.plan, fetch: &*self.0.fetch, leases: &self.0.leases }
    }

    /// The thumbprint of the key that signed the token.
    pub(crate) async fn check_signature(
        &self,
        issuer: &Issuer,
        parsed: &Unverified<'_>,
        algorithm: Algorithm,
        raw: &str,
    ) -> Result<[u8; 32], AuthError> {
        let kid = parsed.kid.as_deref();
        let set = issuer.keys.holding(&self.context(issuer), kid, algorithm).await?;
        let Found::Key(key) = set.find(kid, algorithm) else {
            return Err(AuthError::UnknownKey);
        };
        let message = parsed.message.as_bytes();
        match jsonwebtoken::crypto::verify(parsed.signature, message, &key.decoding, algorithm) {
            Ok(true) => Ok(key.thumbprint),
            Ok(false) | Err(_) => Err(token::cut_short(raw, AuthError::Signature)),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut issuers: Vec<_> = self.0.by_iss.values().map(|i| &i.plan.name).collect();
        issuers.sort();
        f.debug_struct("Verifier")
            .field("issuers", &issuers)
            .field("leases", &self.0.leases)
            .finish_non_exhaustive()
    }
}

/// Everything that needs no key: algorithm, class, audience, times, binding.
fn check_unsigned(
    plan: &IssuerPlan,
    parsed: &Unverified<'_>,
    now: u64,
) -> Result<Algorithm, AuthError> {
    let algorithm = plan::algorithm(&parsed.alg)
        .filter(|algorithm| plan.algorithms.contains(algorithm))
        .ok_or(AuthError::Algorithm)?;
    if !plan.classes.contains(&parsed.class) {
        return Err(AuthError::TokenClass);
    }
    let claims = &parsed.claims;
    if claims.all.contains_key("cnf") {
        return Err(AuthError::SenderConstrained);
    }
    check_audience(plan, claims, parsed.class)?;
    check_times(plan, claims, now)?;
    Ok(algorithm)
}

fn check_audience(plan: &IssuerPlan, claims: &Claims, class: TokenClass) -> Result<(), AuthError> {
    if !claims.aud.iter().any(|aud| plan.audiences.contains(aud)) {
        return Err(AuthError::Audience);
    }
    if claims.aud.len() == 1 && class != TokenClass::IdToken {
        return Ok(());
    }
    let mut parties = claims.azp.iter().chain(&claims.client_id).peekable();
    let stated = parties.peek().is_some();
    if stated && parties.all(|party| plan.parties.contains(party)) {
        Ok(())
    } else {
        Err(AuthError::AuthorizedParty)
    }
}

pub(crate) fn check_times(plan: &IssuerPlan, claims: &Claims, now: u64) -> Result<(), AuthError> {
    let skew = plan.skew.as_secs();
    if claims.iat > now + skew {
        return Err(AuthError::IssuedInFuture);
    }
    if claims.nbf.is_some_and(|nbf| nbf > now + skew) {
        return Err(AuthError::NotYetValid);
    }
    if now >= claims.exp + skew {
        return Err(AuthError::Expired);
    }
    if now.saturating_sub(claims.iat) > plan.max_token_age.as_secs() + skew {
        return Err(AuthError::TooOld { limit: plan.max_token_age });
    }
    Ok(())
}

/// How long the token is good for. A token accepted only because clocks differ
/// lasts as long as that allowance does.
fn time_left(plan: &IssuerPlan, claims: &Claims, now: u64) -> Duration {
    let left = claims.exp.saturating_sub(now);
    if left > 0 {
        return Duration::from_secs(left);
    }
    Duration::from_secs((claims.exp + plan.skew.as_secs()).saturating_sub(now))
}
