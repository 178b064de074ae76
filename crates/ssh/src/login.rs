//! From a user name and a credential to somebody with a place to go.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gate::{Arrival, Gate, Identified, Refused};
use identity::{AuthError, DeviceLogin, Secret};
use russh::keys::Certificate;
use ssh_wire::login;

use crate::PROTOCOL;
use crate::cert::{self, Checked};
use crate::keys::{PublicKey, SecretKey};
use crate::refusal;
use crate::target::Target;

/// The name of the place where a token is traded for a certificate. Names that begin with
/// `greffier-` are no targets'.
pub(crate) const CERTIFICATES: &str = "greffier-cert";

/// Greffier's own authority, which signs certificates for clients.
#[derive(Debug, Clone)]
pub struct Authority {
    /// The key that signs.
    pub key: SecretKey,
    /// Further keys whose certificates are still believed, while the key is changed.
    pub trusted: Vec<PublicKey>,
    /// How long a certificate serves to log in; at most 15 minutes, and never longer than the
    /// token it was traded for.
    pub lifetime: Duration,
}

/// Ways to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// A certificate of the [`Authority`].
    pub certificate: bool,
    /// A token as the answer to a prompt.
    pub keyboard_interactive: bool,
    /// A token as the password.
    pub password: bool,
}

impl Credentials {
    /// All of them.
    pub const ALL: Credentials =
        Credentials { certificate: true, keyboard_interactive: true, password: true };
}

/// Lets in or not.
pub(crate) struct Door {
    pub(crate) gate: Gate,
    targets: HashMap<String, Arc<Target>>,
    pub(crate) authority: Option<Authority>,
    /// Whose certificates count.
    authorities: Vec<PublicKey>,
    pub(crate) credentials: Credentials,
    /// How people log in by a browser, if they may.
    pub(crate) browser: Option<DeviceLogin>,
}

/// Somebody who is let in, and where to.
pub(crate) struct Entry {
    pub(crate) identified: Identified,
    pub(crate) place: Place,
    /// The user name as the client gave it.
    pub(crate) user: String,
}

/// Where somebody goes.
#[derive(Debug)]
pub(crate) enum Place {
    /// To a target, as whom.
    Target { target: Arc<Target>, login: String },
    /// To where certificates are issued.
    Certificates,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry").field(&self.user).field(&self.place).finish()
    }
}

/// Somebody who is not let in. The refusal is on record, if anything can be recorded at all.
#[derive(Debug)]
pub(crate) struct NotIn {
    /// What to tell where the protocol has room for it.
    pub(crate) told: String,
    /// The same token will not do however often it comes: the client cuts it.
    pub(crate) is_cut: bool,
}

impl Door {
    pub(crate) fn new(
        gate: Gate,
        targets: &[Arc<Target>],
        authority: Option<Authority>,
        credentials: Credentials,
        browser: Option<DeviceLogin>,
    ) -> Self {
        let named = |target: &Arc<Target>| (target.gate.name.to_string(), target.clone());
        let authorities = authority
            .iter()
            .flat_map(|a| std::iter::once(a.key.public()).chain(a.trusted.iter().cloned()))
            .collect();
        let targets = targets.iter().map(named).collect();
        Door { gate, targets, authority, authorities, credentials, browser }
    }

    /// Whether a certificate is worth a signature: its authority counts.
    pub(crate) fn may_try(&self, certificate: &Certificate) -> bool {
        self.credentials.certificate && cert::names_authority(certificate, &self.authorities)
    }

    /// By a token, however it came.
    pub(crate) async fn by_token(
        &self,
        user: &str,
        token: &Secret,
        peer: SocketAddr,
        how: &'static str,
    ) -> Result<Entry, NotIn> {
        let peer = peer.to_string();
        let arrival = Arrival { protocol: PROTOCOL, peer: &peer, target: user.as_bytes() };
        self.readable(user, arrival).await?;
        let identified = self.gate.authenticate(token, arrival).await.map_err(not_in)?;
        self.place(user, identified, arrival, how).await
    }

    /// By a certificate whose key the client has proved to hold.
    pub(crate) async fn by_certificate(
        &self,
        user: &str,
        certificate: &Certificate,
        peer: SocketAddr,
    ) -> Result<Entry, NotIn> {
        let address = peer.to_string();
        let arrival = Arrival { protocol: PROTOCOL, peer: &address, target: user.as_bytes() };
        self.readable(user, arrival).await?;
        let with = Checked { authorities: &self.authorities, now: now(), user, peer: peer.ip() };
        let presented = match cert::check(certificate, with) {
            Ok(presented) => presented,
            Err(error) => {
                return Err(self.refuse(arrival, error.code(), &error.to_string(), None).await);
            }
        };
        let mut identified = self.gate.readmit(presented.vouched, arrival).await.map_err(not_in)?;
        let details = &mut identified.details;
        details.insert("certificate_serial".into(), presented.serial.to_string().into());
        details.insert("key_fingerprint".into(), presented.fingerprint.into());
        self.place(user, identified, arrival, "certificate").await
    }

    /// Refuses what is no user name before anything is asked of anybody.
    pub(crate) async fn readable(&self, user: &str, arrival: Arrival<'_>) -> Result<(), NotIn> {
        match login::parse(user) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refuse(arrival, "user_name", &error.to_string(), None).await),
        }
    }

    /// Where somebody goes whose credential was good. The user name of this very attempt counts:
    /// a client may ask for another one each time.
    pub(crate) async fn place(
        &self,
        user: &str,
        mut identified: Identified,
        arrival: Arrival<'_>,
        how: &'static str,
    ) -> Result<Entry, NotIn> {
        let name = match login::parse(user) {
            Ok(name) => name,
            Err(error) => {
                return Err(self.refuse(arrival, "user_name", &error.to_string(), None).await);
            }
        };
        let details = &mut identified.details;
        details.insert("credential".into(), how.into());
        details.insert("user_asked".into(), user.to_owned().into());
        if name.target == CERTIFICATES && self.authority.is_some() && how != "certificate" {
            let user = user.to_owned();
            return Ok(Entry { identified, place: Place::Certificates, user });
        }
        let Some(target) = self.targets.get(name.target) else {
            let told = "there is no such target";
            return Err(self.refuse(arrival, "target", told, Some(&identified)).await);
        };
        match target.login(identified.principal(), name.login) {
            Ok(login) => {
                identified.details.insert("login".into(), login.clone().into());
                let place = Place::Target { target: target.clone(), login };
                Ok(Entry { identified, place, user: user.to_owned() })
            }
            Err(error) => {
                let told = error.to_string();
                Err(self.refuse(arrival, "no_login", &told, Some(&identified)).await)
            }
        }
    }

    pub(crate) async fn refuse(
        &self,
        arrival: Arrival<'_>,
        cause: &str,
        message: &str,
        identified: Option<&Identified>,
    ) -> NotIn {
        match self.gate.record_refusal(arrival, cause, message, None, identified).await {
            Ok(()) => NotIn { told: refusal::login(message), is_cut: false },
            Err(error) => NotIn { told: refusal::unrecorded(error), is_cut: false },
        }
    }
}

pub(crate) fn not_in(refused: Refused) -> NotIn {
    let (told, is_cut) = match refused {
        Refused::Credential(AuthError::CutShort { bytes }) => (refusal::cut_short(bytes), true),
        Refused::Credential(error) => (refusal::login(&error.to_string()), false),
        Refused::Journal(error) => (refusal::unrecorded(error), false),
    };
    NotIn { told, is_cut }
}

/// Seconds since 1970 UTC.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
