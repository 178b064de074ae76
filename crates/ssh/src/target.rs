//! A configured server, and who logs in there as whom.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use identity::{Kind, Principal, Secret};

use crate::keys::{KeyError, PublicKey, SecretKey};
use crate::rules::ChannelRules;

/// From the first byte to the login on a server, unless stated.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A configured SSH server.
#[derive(Debug)]
pub struct Target {
    /// What the gate must know of it. Its name is what clients write behind `+`.
    pub gate: Arc<gate::Target>,
    /// How to reach it.
    pub upstream: Upstream,
    /// Who logs in as whom: the first rule that fits.
    pub logins: Vec<LoginRule>,
    /// What its channels may do.
    pub rules: Arc<ChannelRules>,
    /// From the first byte to the login.
    pub connect_timeout: Duration,
}

/// How to reach a server, how to know it, and what to show it.
#[derive(Clone)]
pub struct Upstream {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How to know that it is the one.
    pub trust: HostTrust,
    /// How to log in.
    pub credential: Credential,
}

impl Upstream {
    /// A server that has this host key, one line of OpenSSH's format, and lets in who has this
    /// key.
    ///
    /// # Errors
    /// [`KeyError`] if the line is no key.
    pub fn by_key(host: &str, port: u16, host_key: &str, key: SecretKey) -> Result<Self, KeyError> {
        let keys = vec![PublicKey::parse(host_key)?];
        Ok(Upstream {
            host: host.to_owned(),
            port,
            trust: HostTrust { keys, authorities: Vec::new() },
            credential: Credential::Key(key),
        })
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} by {:?}", self.host, self.port, self.credential)
    }
}

/// Which hosts to believe. With nothing in it, none.
#[derive(Debug, Clone, Default)]
pub struct HostTrust {
    /// Host keys.
    pub keys: Vec<PublicKey>,
    /// Authorities whose host certificates are believed, if they name the host.
    pub authorities: Vec<PublicKey>,
}

/// What greffier shows to a target.
#[derive(Clone)]
pub enum Credential {
    /// A key that the target's accounts accept.
    Key(SecretKey),
    /// A certificate made for each session: its key ID is the session's ID, its one principal the
    /// login.
    Certificate {
        /// The authority's key. Never that which signs the certificates of greffier's own
        /// clients: targets trust it.
        authority: SecretKey,
        /// How long one serves to log in.
        lifetime: Duration,
    },
    /// A password.
    Password(Secret),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Key(_) => "key",
            Credential::Certificate { .. } => "certificate",
            Credential::Password(_) => "password",
        })
    }
}

/// Who logs in to the server as whom.
#[derive(Debug, Clone, Default)]
pub struct LoginRule {
    /// Kinds of principal; empty means any.
    pub kinds: Vec<Kind>,
    /// Any of these groups; empty means any principal.
    pub groups: Vec<String>,
    /// These subjects; empty means any.
    pub subjects: Vec<String>,
    /// The accounts that the client may name.
    pub logins: Vec<String>,
    /// The account when the client names none; `None`: it must.
    pub default: Option<String>,
}

impl LoginRule {
    fn fits(&self, principal: &Principal) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&principal.kind))
            && (self.groups.is_empty() || self.groups.iter().any(|g| principal.groups.contains(g)))
            && (self.subjects.is_empty() || self.subjects.contains(&principal.subject))
    }
}

/// Why somebody has no account on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLogin {
    #[error("this principal may not log in to this target")]
    NoRule,
    #[error("this principal may not log in to this target under that name")]
    NotAllowed,
    #[error("say as whom to log in: LOGIN+TARGET")]
    Unnamed,
}

impl Target {
    /// A server with one account for everybody whom the gate lets in, to which nothing is allowed
    /// until [`rules`](Self::rules) say so.
    pub fn new(gate: Arc<gate::Target>, upstream: Upstream, login: &str) -> Self {
        let default = Some(login.to_owned());
        let login = LoginRule { logins: vec![login.to_owned()], default, ..LoginRule::default() };
        Target {
            gate,
            upstream,
            logins: vec![login],
            rules: Arc::default(),
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    /// The account for a principal that asks for this one, or for none by name.
    pub(crate) fn login(
        &self,
        principal: &Principal,
        asked: Option<&str>,
    ) -> Result<String, NoLogin> {
        let mut fitting = self.logins.iter().filter(|rule| rule.fits(principal)).peekable();
        if fitting.peek().is_none() {
            return Err(NoLogin::NoRule);
        }
        match asked {
            // The first that fits decides, so that a later one widens nothing by mistake.
            Some(login) => fitting
                .next()
                .filter(|rule| {
                    rule.logins.iter().any(|l| l == login) || rule.default.as_deref() == Some(login)
                })
                .map(|_| login.to_owned())
                .ok_or(NoLogin::NotAllowed),
            None => fitting.next().and_then(|rule| rule.default.clone()).ok_or(NoLogin::Unnamed),
        }
    }
}
