//! A principal that was verified before, carried in something we signed ourselves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::lease::Grant;
use crate::limits::MAX_NUMERIC_DATE;
use crate::{AuthError, Credential, Principal, Verified, Verifier};

/// What a certificate of ours says of the one it was issued to: who it is, and the credential
/// it was issued for.
///
/// It proves nothing by itself. Whoever hands one to [`Verifier::readmit`] must have checked that
/// it comes out of something that only we could have signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// Who acts.
    pub principal: Principal,
    /// The token it was issued for; the session is recorded under its hash.
    pub credential: Credential,
    /// Thumbprint of the issuer's key that signed the token.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    key_thumbprint: [u8; 32],
    /// It serves to log in before this time, in seconds since 1970 UTC. Never later than the
    /// token's own `exp`.
    until: u64,
}

impl Vouched {
    /// It serves to log in before this time, in seconds since 1970 UTC.
    #[must_use]
    pub fn until(&self) -> u64 {
        self.until
    }
}

impl Verified {
    /// What to carry in a certificate that serves until `until` (seconds since 1970 UTC), or as
    /// long as the token itself, whichever ends first.
    #[must_use]
    pub fn vouch(&self, until: u64) -> Vouched {
        Vouched {
            principal: self.principal.clone(),
            credential: self.credential.clone(),
            key_thumbprint: self.lease.key(),
            until: until.min(self.credential.exp),
        }
    }
}

impl Verifier {
    /// Lets somebody in who was verified before. The token's issuer, the mapping rule and the key
    /// that signed the token must still be there, and nothing of it may have been revoked. The
    /// lease ends when the token does, or the rule's `max_session`, counted from now.
    ///
    /// # Errors
    ///
    /// [`AuthError`], as for a token.
    pub async fn readmit(&self, vouched: Vouched, now: SystemTime) -> Result<Verified, AuthError> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()).min(MAX_NUMERIC_DATE);
        let Vouched { principal, credential, key_thumbprint, until } = vouched;
        let issuer = self.issuer(&principal.issuer).ok_or(AuthError::UnknownIssuer)?;
        if now >= until || now >= credential.exp {
            return Err(AuthError::Expired);
        }
        if credential.iat > now.saturating_add(issuer.plan.skew.as_secs()) {
            return Err(AuthError::IssuedInFuture);
        }
        let rule = issuer
            .plan
            .rules
            .iter()
            .find(|rule| principal.rule == format!("{}/{}", issuer.plan.name, rule.name))
            .filter(|rule| rule.kind == principal.kind)
            .ok_or_else(|| AuthError::NoRule { issuer: issuer.plan.name.clone() })?;
        issuer.keys.available(&self.context(issuer)).await?;
        let grant = Grant {
            token: Duration::from_secs(credential.exp.saturating_sub(now)),
            session: rule.max_session,
            key: key_thumbprint,
            principal: principal.clone(),
            credential: credential.clone(),
        };
        let lease = self.leases().grant(grant).ok_or(AuthError::Revoked)?;
        // Asked after the lease is in the registry, as for a token.
        if !issuer.keys.holds(&key_thumbprint) {
            return Err(AuthError::UnknownKey);
        }
        Ok(Verified { principal, credential, lease })
    }
}

fn to_hex<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let mut bytes = [0; 32];
    let text = String::deserialize(deserializer)?;
    hex::decode_to_slice(text, &mut bytes).map_err(serde::de::Error::custom)?;
    Ok(bytes)
}
