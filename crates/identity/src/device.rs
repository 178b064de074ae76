//! Logging in with a browser elsewhere: the device flow of RFC 8628.
//!
//! For a client that can show text and nothing else. [`DeviceLogin::begin`] asks the issuer for
//! a code, the person enters it in a browser, and [`DeviceGrant::poll`] asks the issuer whether
//! that has happened. What comes back is a token like any other: it still has to pass
//! [`Verifier::authenticate`](crate::Verifier::authenticate).
//!
//! Whoever can make a person enter a code gets that person's token (RFC 8628 section 5.4); so
//! the flow is off unless it is configured.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::config::{Config, Problem};
use crate::keys::announced;
use crate::lease::lock;
use crate::limits::{
    DEVICE_INTERVAL, DEVICE_SLOWER, MAX_DEVICE_CODE_BYTES, MAX_DEVICE_FAILURES,
    MAX_DEVICE_INTERVAL, MAX_DEVICE_LIFETIME, MAX_DEVICE_LOGINS_PER_MINUTE, MAX_KEY_AGE,
    MAX_USER_CODE_BYTES, MAX_VERIFICATION_URI_BYTES,
};
use crate::oauth::{self, Answer, Trouble};
use crate::plan::is_allowed_url;
use crate::{Fault, Secret, http};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What the protocol itself puts into a request; [`DeviceFlow::parameters`] can't.
const OWN_FIELDS: [&str; 5] = ["client_id", "client_secret", "scope", "grant_type", "device_code"];

/// How to ask an issuer for a code.
#[derive(Clone, Debug, Default)]
pub struct DeviceFlow {
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// Whom the issuer knows us as.
    pub client_id: String,
    /// Our secret there, for a confidential client; sent in the form's body (RFC 6749 section
    /// 2.3.1). Most issuers want a public client for this flow.
    pub client_secret: Option<Secret>,
    /// The scopes to ask for.
    pub scopes: Vec<String>,
    /// More fields for the request, such as `resource` (RFC 8707) or `audience`, with which some
    /// issuers choose the token's audience.
    pub parameters: BTreeMap<String, String>,
}

/// Why nobody was logged in.
///
/// The message is safe to show: it holds nothing that the issuer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// More logins were begun in the last minute than
    /// [`limits::MAX_DEVICE_LOGINS_PER_MINUTE`](crate::limits::MAX_DEVICE_LOGINS_PER_MINUTE).
    #[error("too many logins by browser were begun; try again in a minute")]
    Busy,
    /// The issuer does not answer.
    #[error("the issuer can't be reached at the moment")]
    Unreachable,
    /// Its answer is not as RFC 8628 has it.
    #[error("the issuer's answer makes no sense: {0}")]
    Answer(&'static str),
    /// The issuer does not let this client use the flow.
    #[error("the issuer does not let greffier ask for a login by browser")]
    Client,
    /// The person said no.
    #[error("the login was refused in the browser")]
    Denied,
    /// The code was not entered in time.
    #[error("the code was not entered in time")]
    Expired,
}

impl DeviceError {
    /// Who can mend it.
    #[must_use]
    pub fn fault(self) -> Fault {
        match self {
            Self::Busy | Self::Denied | Self::Expired => Fault::Client,
            Self::Client => Fault::Operator,
            Self::Unreachable | Self::Answer(_) => Fault::Issuer,
        }
    }

    /// A stable word for records and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Busy => "device_busy",
            Self::Unreachable => "device_unreachable",
            Self::Answer(_) => "device_answer",
            Self::Client => "device_client",
            Self::Denied => "device_denied",
            Self::Expired => "device_expired",
        }
    }
}

/// Begins logins at one issuer. Cheap to clone.
#[derive(Clone)]
pub struct DeviceLogin(Arc<Inner>);

struct Inner {
    flow: DeviceFlow,
    iss: String,
    discovery: String,
    insecure_loopback: bool,
    client: Client,
    endpoints: Mutex<Option<(Endpoints, Instant)>>,
    /// When the logins of the last minute were begun.
    begun: Mutex<VecDeque<Instant>>,
}

impl fmt::Debug for DeviceLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceLogin").field(&self.0.flow).finish()
    }
}

#[derive(Clone)]
struct Endpoints {
    device: String,
    token: String,
}

/// A login that was begun: what to show, and what to ask with.
pub struct DeviceGrant {
    login: DeviceLogin,
    token_endpoint: String,
    device_code: Secret,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    interval: Duration,
    next: Instant,
    until: Instant,
    failures: u32,
}

impl fmt::Debug for DeviceGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceGrant").field("issuer", &self.login.0.flow.issuer).finish()
    }
}

impl DeviceLogin {
    /// Makes a flow ready. Asks nobody yet.
    ///
    /// # Errors
    ///
    /// The first mistake; its path begins at the flow: `issuer`, `client_id`, `parameters.NAME`.
    pub fn new(config: &Config, flow: DeviceFlow) -> Result<Self, Problem> {
        let problem = |path: &str, message: String| Problem { path: path.to_owned(), message };
        let Some(issuer) = config.issuers.get(&flow.issuer) else {
            return Err(problem("issuer", format!("there is no issuer `{}`", flow.issuer)));
        };
        if flow.client_id.is_empty() {
            return Err(problem("client_id", "is empty; name the client at the issuer".into()));
        }
        if let Some(name) = flow.parameters.keys().find(|name| OWN_FIELDS.contains(&&***name)) {
            return Err(problem(&format!("parameters.{name}"), "is the flow's own".into()));
        }
        let discovery = issuer.discovery.clone().unwrap_or_else(|| {
            let base = issuer.iss.strip_suffix('/').unwrap_or(&issuer.iss);
            format!("{base}/.well-known/openid-configuration")
        });
        if !is_allowed_url(&discovery, issuer.allow_insecure_loopback) {
            return Err(problem("issuer", "its discovery document has no https address".into()));
        }
        let client = http::client_of(issuer).map_err(|message| problem("issuer", message))?;
        Ok(DeviceLogin(Arc::new(Inner {
            iss: issuer.iss.clone(),
            discovery,
            insecure_loopback: issuer.allow_insecure_loopback,
            flow,
            client,
            endpoints: Mutex::default(),
            begun: Mutex::default(),
        })))
    }

    /// The issuer's `iss`, which a token from here must have.
    #[must_use]
    pub fn iss(&self) -> &str {
        &self.0.iss
    }

    /// Asks the issuer for a code (RFC 8628 section 3.1).
    ///
    /// # Errors
    ///
    /// [`DeviceError`].
    pub async fn begin(&self) -> Result<DeviceGrant, DeviceError> {
        self.0.count_one()?;
        let endpoints = self.0.endpoints().await?;
        let mut form = self.0.form();
        if !self.0.flow.scopes.is_empty() {
            form.push(("scope", self.0.flow.scopes.join(" ")));
        }
        form.extend(self.0.flow.parameters.iter().map(|(name, value)| (&**name, value.clone())));
        let answer = oauth::post(&self.0.client, &endpoints.device, &form, None).await?;
        if answer.status != StatusCode::OK {
            return Err(error_of(&answer));
        }
        let grant = self.grant(&answer.body, endpoints.token);
        if grant.is_err() {
            // Perhaps the issuer has moved.
            *lock(&self.0.endpoints) = None;
        }
        grant
    }

    fn grant(
        &self,
        body: &Map<String, Value>,
        token_endpoint: String,
    ) -> Result<DeviceGrant, DeviceError> {
        let uri = |name| {
            text(body, name, MAX_VERIFICATION_URI_BYTES)
                .filter(|uri| is_allowed_url(uri, self.0.insecure_loopback))
        };
        let user_code = text(body, "user_code", MAX_USER_CODE_BYTES)
            .ok_or(DeviceError::Answer("no usable `user_code`"))?;
        // Section 3.5: five seconds where nothing is said. Never more than one question a second.
        let interval = seconds(body, "interval").unwrap_or(DEVICE_INTERVAL);
        let interval = interval.clamp(Duration::from_secs(1), MAX_DEVICE_INTERVAL);
        let lives = seconds(body, "expires_in").ok_or(DeviceError::Answer("no `expires_in`"))?;
        let now = Instant::now();
        Ok(DeviceGrant {
            login: self.clone(),
            token_endpoint,
            device_code: text(body, "device_code", MAX_DEVICE_CODE_BYTES)
                .map(Secret::new)
                .ok_or(DeviceError::Answer("no usable `device_code`"))?,
            user_code,
            verification_uri: uri("verification_uri")
                .ok_or(DeviceError::Answer("no usable `verification_uri`"))?,
            verification_uri_complete: uri("verification_uri_complete"),
            interval,
            next: now + interval,
            until: now + lives.min(MAX_DEVICE_LIFETIME),
            failures: 0,
        })
    }
}

impl Inner {
    /// Who has not logged in yet must not make us ask the issuer without end.
    fn count_one(&self) -> Result<(), DeviceError> {
        let mut begun = lock(&self.begun);
        begun.retain(|at| at.elapsed() < Duration::from_secs(60));
        if begun.len() >= MAX_DEVICE_LOGINS_PER_MINUTE {
            return Err(DeviceError::Busy);
        }
        begun.push_back(Instant::now());
        Ok(())
    }

    fn form(&self) -> Vec<(&str, String)> {
        let mut form = vec![("client_id", self.flow.client_id.clone())];
        let secret = self.flow.client_secret.as_ref();
        form.extend(secret.map(|secret| ("client_secret", secret.expose().to_owned())));
        form
    }

    /// From the discovery document, as RFC 8414 names them.
    async fn endpoints(&self) -> Result<Endpoints, DeviceError> {
        let known = lock(&self.endpoints).clone();
        if let Some((endpoints, at)) = known
            && at.elapsed() < MAX_KEY_AGE
        {
            return Ok(endpoints);
        }
        let document = oauth::discover(&self.client, &self.discovery).await?;
        let endpoint = |name: &str| {
            announced(&self.iss, self.insecure_loopback, &document, name)
                .map_err(|_| DeviceError::Answer("its discovery document can't be used"))
        };
        let device = endpoint("device_authorization_endpoint")?;
        let endpoints = Endpoints { device, token: endpoint("token_endpoint")? };
        *lock(&self.endpoints) = Some((endpoints.clone(), Instant::now()));
        Ok(endpoints)
    }
}

impl DeviceGrant {
    /// The code to enter.
    #[must_use]
    pub fn user_code(&self) -> &str {
        &self.user_code
    }

    /// Where to enter it: printable ASCII without blanks.
    #[must_use]
    pub fn verification_uri(&self) -> &str {
        &self.verification_uri
    }

    /// An address with the code in it, if the issuer has one.
    #[must_use]
    pub fn verification_uri_complete(&self) -> Option<&str> {
        self.verification_uri_complete.as_deref()
    }

    /// When the issuer may be asked next.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.next
    }

    /// Asks whether the code was entered, if that is due within this time, and waits until it is
    /// due; else waits this long. `None`: not yet. The token is not checked.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; the login is over.
    pub async fn poll(&mut self, at_most: Duration) -> Result<Option<Secret>, DeviceError> {
        let now = Instant::now();
        if self.next >= self.until {
            // There is no further question: the code ends first.
            tokio::time::sleep(at_most.min(self.until.saturating_duration_since(now))).await;
            return if Instant::now() < self.until { Ok(None) } else { Err(DeviceError::Expired) };
        }
        if self.next > now + at_most {
            tokio::time::sleep(at_most).await;
            return Ok(None);
        }
        tokio::time::sleep_until(self.next).await;
        let asked = self.ask().await;
        self.next = Instant::now() + self.interval;
        asked
    }

    async fn ask(&mut self) -> Result<Option<Secret>, DeviceError> {
        let inner = &self.login.0;
        let mut form = inner.form();
        form.push(("grant_type", GRANT_TYPE.to_owned()));
        form.push(("device_code", self.device_code.expose().to_owned()));
        let answer = match oauth::post(&inner.client, &self.token_endpoint, &form, None).await {
            Ok(answer) if !answer.status.is_server_error() => answer,
            // Section 3.5: ask less often where nobody answers.
            Ok(_) | Err(Trouble::Unreachable) => {
                self.failures += 1;
                self.interval = (self.interval * 2).min(MAX_DEVICE_INTERVAL);
                let over = self.failures >= MAX_DEVICE_FAILURES;
                return if over { Err(DeviceError::Unreachable) } else { Ok(None) };
            }
            Err(error) => return Err(error.into()),
        };
        self.failures = 0;
        if answer.status == StatusCode::OK {
            return Ok(Some(answer.token()?));
        }
        match answer.error() {
            Some("authorization_pending") => Ok(None),
            Some("slow_down") => {
                self.interval = (self.interval + DEVICE_SLOWER).min(MAX_DEVICE_INTERVAL);
                Ok(None)
            }
            _ => Err(error_of(&answer)),
        }
    }
}

impl From<Trouble> for DeviceError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreachable => Self::Unreachable,
            Trouble::Answer(what) => Self::Answer(what),
        }
    }
}

/// RFC 8628 section 3.5 and RFC 6749 section 5.2. What the issuer wrote is not repeated.
fn error_of(answer: &Answer) -> DeviceError {
    match answer.error() {
        Some("access_denied") => DeviceError::Denied,
        Some("expired_token") => DeviceError::Expired,
        Some(
            "invalid_client"
            | "unauthorized_client"
            | "unsupported_grant_type"
            | "invalid_scope"
            | "invalid_request"
            | "invalid_target",
        ) => DeviceError::Client,
        _ => DeviceError::Answer("its error is none of RFC 8628's"),
    }
}

/// A text that may be shown: printable ASCII, not too long.
fn text(body: &Map<String, Value>, name: &str, most: usize) -> Option<String> {
    let text = body.get(name).and_then(Value::as_str)?;
    let fits = !text.is_empty() && text.len() <= most;
    (fits && text.bytes().all(|b| matches!(b, 0x20..=0x7e))).then(|| text.to_owned())
}

fn seconds(body: &Map<String, Value>, name: &str) -> Option<Duration> {
    body.get(name).and_then(Value::as_u64).map(Duration::from_secs)
}
