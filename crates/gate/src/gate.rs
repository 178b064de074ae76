//! Who may come in, and the session that begins when one does.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use identity::{AuthError, Credential, Lease, Principal, Secret, Verified, Vouched};
use policy::{Command, Subject, Verdict};
use records::{AuthFailure, Body, Entry, SessionStart, Text, Timestamp};

use crate::journal::{Journal, JournalError, Mark, Pace};
use crate::session::{Opened, Session};
use crate::target::Target;

/// The longest target name, as a client wrote it, that a record of a refusal keeps, in bytes.
const MAX_RECORDED_TARGET: usize = 256;

/// Checks a credential. Implemented by [`identity::Verifier`]; an embedder may bring its own.
pub trait Authenticate: Send + Sync + 'static {
    /// Who showed this token.
    fn authenticate<'a>(
        &'a self,
        token: &'a Secret,
    ) -> Pin<Box<dyn Future<Output = Result<Verified, AuthError>> + Send + 'a>>;

    /// Lets in again who was verified before; see [`identity::Verifier::readmit`]. The caller has
    /// checked that what carries the [`Vouched`] was signed by us. Unless implemented, nobody.
    fn readmit(
        &self,
        vouched: Vouched,
    ) -> Pin<Box<dyn Future<Output = Result<Verified, AuthError>> + Send + '_>> {
        drop(vouched);
        Box::pin(std::future::ready(Err(AuthError::UnknownIssuer)))
    }
}

impl Authenticate for identity::Verifier {
    fn authenticate<'a>(
        &'a self,
        token: &'a Secret,
    ) -> Pin<Box<dyn Future<Output = Result<Verified, AuthError>> + Send + 'a>> {
        Box::pin(identity::Verifier::authenticate(self, token, std::time::SystemTime::now()))
    }

    fn readmit(
        &self,
        vouched: Vouched,
    ) -> Pin<Box<dyn Future<Output = Result<Verified, AuthError>> + Send + '_>> {
        Box::pin(identity::Verifier::readmit(self, vouched, std::time::SystemTime::now()))
    }
}

/// Decides about commands. Implemented by [`policy::Policy`]; an embedder may bring its own.
pub trait Judge: Send + Sync + 'static {
    /// May this subject do this?
    fn judge(&self, subject: &Subject<'_>, command: &Command<'_>) -> Verdict;

    /// Names the rules that judge, for the record: a SHA-256 in hex, or a version.
    fn digest(&self) -> &str;
}

impl Judge for policy::Policy {
    fn judge(&self, subject: &Subject<'_>, command: &Command<'_>) -> Verdict {
        policy::Policy::judge(self, subject, command)
    }

    fn digest(&self) -> &str {
        policy::Policy::digest(self)
    }
}

/// The one way through. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    authenticate: Arc<dyn Authenticate>,
    judge: Arc<dyn Judge>,
    journal: Arc<dyn Journal>,
}

/// Where a client is and what it asks for, before it is known who it is.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The protocol, `postgres`.
    pub protocol: &'static str,
    /// The client's address.
    pub peer: &'a str,
    /// The target's name, as the client wrote it.
    pub target: &'a [u8],
}

/// A client whose credential was good. It has no session yet. A clone stands on the same lease.
#[derive(Debug, Clone)]
pub struct Identified {
    verified: Verified,
    /// What the session's first entry says beside the principal.
    pub details: BTreeMap<Cow<'static, str>, Text<'static>>,
}

impl Identified {
    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.verified.principal
    }

    /// What a record keeps of its credential.
    pub fn credential(&self) -> &Credential {
        &self.verified.credential
    }

    /// Its right to go on.
    pub fn lease(&self) -> &Lease {
        &self.verified.lease
    }

    /// What to carry in a certificate for it; see [`Verified::vouch`].
    pub fn vouch(&self, until: u64) -> Vouched {
        self.verified.vouch(until)
    }
}

/// A client was refused before it had a session.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The credential is not good, or can't be checked.
    #[error(transparent)]
    Credential(#[from] AuthError),
    /// The refusal, or the session, can't be put on record.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Gate {
    /// A gate of these three parts.
    pub fn new(
        authenticate: Arc<dyn Authenticate>,
        judge: Arc<dyn Judge>,
        journal: Arc<dyn Journal>,
    ) -> Self {
        Gate { authenticate, judge, journal }
    }

    /// The journal behind this gate.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Checks a credential. A refusal is on record, durably, when this returns.
    ///
    /// # Errors
    /// [`Refused`]; the client must not be served.
    pub async fn authenticate(
        &self,
        token: &Secret,
        arrival: Arrival<'_>,
    ) -> Result<Identified, Refused> {
        match self.authenticate.authenticate(token).await {
            Ok(verified) => Ok(self.admit(verified)),
            Err(error) => {
                let sha256 = identity::TokenHash::of(token).to_string();
                self.record_refusal(arrival, error.code(), &error.to_string(), Some(sha256), None)
                    .await?;
                Err(error.into())
            }
        }
    }

    /// Takes in somebody whom an embedder has verified in a way of its own.
    pub fn admit(&self, verified: Verified) -> Identified {
        Identified { verified, details: BTreeMap::new() }
    }

    /// Lets in again who was verified before, by something we signed that the caller has checked.
    /// A refusal is on record, durably, when this returns.
    ///
    /// # Errors
    /// [`Refused`]; the client must not be served.
    pub async fn readmit(
        &self,
        vouched: Vouched,
        arrival: Arrival<'_>,
    ) -> Result<Identified, Refused> {
        let sha256 = vouched.credential.sha256.to_string();
        match self.authenticate.readmit(vouched).await {
            Ok(verified) => Ok(self.admit(verified)),
            Err(error) => {
                self.record_refusal(arrival, error.code(), &error.to_string(), Some(sha256), None)
                    .await?;
                Err(error.into())
            }
        }
    }

    /// Puts on record that a client was refused for another reason than its credential: a
    /// target that does not exist, a principal that may not use it, a handshake gone wrong.
    ///
    /// # Errors
    /// If it can't be recorded.
    pub async fn record_refusal(
        &self,
        arrival: Arrival<'_>,
        cause: &str,
        message: &str,
        credential_sha256: Option<String>,
        identified: Option<&Identified>,
    ) -> Result<(), JournalError> {
        let target = arrival.target.get(..MAX_RECORDED_TARGET).unwrap_or(arrival.target);
        let failure = AuthFailure {
            protocol: arrival.protocol.into(),
            peer: arrival.peer.into(),
            target: Text::from_bytes(target),
            cause: cause.into(),
            message: message.into(),
            credential_sha256: credential_sha256
                .or_else(|| identified.map(|i| i.verified.credential.sha256.to_string()))
                .map(Cow::Owned),
            principal: identified.map(|i| record_principal(i.principal())),
        };
        self.append_durably("", Body::AuthFailure(failure)).await.map(drop)
    }

    /// Opens a session. Its first entry is durable when this returns.
    ///
    /// # Errors
    /// If it can't be recorded: the client must not be served.
    pub async fn open_session(
        &self,
        identified: Identified,
        target: Arc<Target>,
        arrival: Arrival<'_>,
    ) -> Result<Session, JournalError> {
        let Identified { verified: Verified { principal, credential, lease, .. }, details } =
            identified;
        let id = uuid::Uuid::now_v7().to_string();
        let recorded = record_principal(&principal);
        // The principal is made of strings: writing it can't fail.
        let principal_json =
            serde_json::value::to_raw_value(&recorded).map_err(|_| JournalError::Failed)?;
        let start = SessionStart {
            protocol: arrival.protocol.into(),
            target: (&*target.name).into(),
            principal: recorded,
            identity_rule: (&*principal.rule).into(),
            credential_sha256: credential.sha256.to_string().into(),
            jti: credential.jti.as_deref().map(Cow::Borrowed),
            lease_until: credential.exp,
            peer: arrival.peer.into(),
            details,
        };
        let opened = self.append_durably(&id, Body::SessionStart(start)).await?;
        Ok(Session::new(Opened {
            id,
            protocol: arrival.protocol,
            target,
            principal,
            principal_json,
            lease,
            judge: self.judge.clone(),
            journal: self.journal.clone(),
            opened,
        }))
    }

    /// Puts an entry about the instance on record and waits until it is durable.
    ///
    /// # Errors
    /// If it can't be recorded.
    pub async fn record(&self, body: Body<'_>) -> Result<u64, JournalError> {
        self.append_durably("", body).await
    }

    async fn append_durably(&self, session: &str, body: Body<'_>) -> Result<u64, JournalError> {
        let is_end = matches!(body, Body::LogSealed(_));
        let entry = Entry::new(Timestamp::now(), crate::salt()?, session, body).to_json();
        let index = match is_end {
            true => self.journal.append_end(entry, Pace::Now)?,
            false => self.journal.append(entry)?,
        };
        let mut wait = self.journal.waiter();
        std::future::poll_fn(|cx| wait.poll(Mark::Durable(index), cx)).await?;
        Ok(index)
    }
}

fn record_principal(principal: &Principal) -> records::Principal<'_> {
    records::Principal {
        issuer: (&*principal.issuer).into(),
        subject: (&*principal.subject).into(),
        kind: principal.kind.as_str().into(),
        groups: principal.groups.iter().map(|group| group.as_str().into()).collect(),
        on_behalf_of: principal
            .on_behalf_of
            .iter()
            .map(|actor| records::Subject {
                issuer: actor.issuer.as_str().into(),
                subject: actor.subject.as_str().into(),
            })
            .collect(),
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}
