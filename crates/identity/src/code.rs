//! Logging in with the client's own browser: the authorization code flow of OpenID Connect Core
//! 3.1 with PKCE (RFC 7636, S256 only), as RFC 9700 wants it.
//!
//! [`CodeLogin::begin`] makes a [`CodeRequest`]: where to send the browser, and what to remember
//! of it until the browser comes back. It must be kept so that only this browser can bring it
//! back, or somebody else's login is passed off as this one. [`CodeLogin::redeem`] then asks the
//! issuer for the tokens and checks the ID token against what was remembered. What comes back is
//! a token like any other: it still has to pass
//! [`Verifier::authenticate`](crate::Verifier::authenticate).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, StatusCode};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::config::{Config, Problem};
use crate::credential::sha256;
use crate::keys::announced;
use crate::lease::lock;
use crate::limits::{MAX_CODE_BYTES, MAX_CODE_LOGINS_PER_MINUTE, MAX_KEY_AGE};
use crate::oauth::{self, Answer, Trouble};
use crate::plan::is_allowed_url;
use crate::{AuthError, Expected, Fault, Secret, Verifier, http};

/// What the protocol itself puts into a request; [`CodeFlow::parameters`] can't.
const OWN_FIELDS: [&str; 12] = [
    "client_id",
    "client_secret",
    "scope",
    "grant_type",
    "response_type",
    "response_mode",
    "redirect_uri",
    "state",
    "nonce",
    "code",
    "code_challenge",
    "code_challenge_method",
];
/// The scope that makes a login of an authorization.
const OPENID: &str = "openid";

/// Which of the issuer's tokens says who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Use {
    /// The access token: a JWT for one of the issuer's configured audiences.
    #[default]
    AccessToken,
    /// The ID token, for issuers whose access tokens are no JWTs. Then the client's id must be
    /// among the issuer's `audiences` and `authorized_parties`, and `id-token` among its
    /// `token_classes`.
    IdToken,
}

/// How to log in at an issuer.
#[derive(Clone, Debug, Default)]
pub struct CodeFlow {
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// Whom the issuer knows us as.
    pub client_id: String,
    /// Our secret there, for a confidential client.
    pub client_secret: Option<Secret>,
    /// Sends the secret in the form (`client_secret_post`) in place of `Authorization`
    /// (`client_secret_basic`).
    pub secret_in_form: bool,
    /// The scopes to ask for beside `openid`.
    pub scopes: Vec<String>,
    /// More fields for the request, such as `resource` (RFC 8707), `audience` or `prompt`.
    pub parameters: BTreeMap<String, String>,
    /// Which token counts.
    pub uses: Use,
}

/// Why nobody was logged in.
///
/// The message is safe to show: it holds nothing that the issuer or the browser wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// More codes were brought in the last minute than
    /// [`limits::MAX_CODE_LOGINS_PER_MINUTE`](crate::limits::MAX_CODE_LOGINS_PER_MINUTE).
    #[error("too many logins at once; try again in a minute")]
    Busy,
    /// The issuer does not answer.
    #[error("the issuer can't be reached at the moment")]
    Unreachable,
    /// Its answer is not as it must be.
    #[error("the issuer's answer makes no sense: {0}")]
    Answer(&'static str),
    /// The issuer does not let this client use the flow.
    #[error("the issuer does not let greffier ask for a login")]
    Client,
    /// The person, or the issuer, said no.
    #[error("the login was refused at the issuer")]
    Denied,
    /// The code is not, or no longer, good.
    #[error("the issuer does not accept the code; log in again")]
    Code,
    /// The answer is another issuer's (RFC 9207).
    #[error("the answer does not come from the issuer that was asked")]
    OtherIssuer,
    /// The ID token is not good.
    #[error(transparent)]
    Token(#[from] AuthError),
    /// The cryptographic library failed.
    #[error("no random numbers can be had")]
    Random,
}

impl CodeError {
    /// Who can mend it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Busy | Self::Denied | Self::Code | Self::OtherIssuer => Fault::Client,
            Self::Client | Self::Random => Fault::Operator,
            Self::Unreachable | Self::Answer(_) => Fault::Issuer,
            Self::Token(error) => error.fault(),
        }
    }

    /// A stable word for records and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy => "login_busy",
            Self::Unreachable => "login_unreachable",
            Self::Answer(_) => "login_answer",
            Self::Client => "login_client",
            Self::Denied => "login_denied",
            Self::Code => "login_code",
            Self::OtherIssuer => "login_issuer",
            Self::Token(error) => error.code(),
            Self::Random => "login_random",
        }
    }
}

impl From<Trouble> for CodeError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreachable => Self::Unreachable,
            Trouble::Answer(what) => Self::Answer(what),
        }
    }
}

/// A login that was begun.
pub struct CodeRequest {
    /// Where to send the browser.
    pub url: String,
    /// What the browser must bring back in `state`: 43 characters of base64url.
    pub state: String,
    /// What the ID token must name.
    pub nonce: String,
    /// What only we know (RFC 7636 section 4.1).
    pub verifier: Secret,
}

impl fmt::Debug for CodeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeRequest")
    }
}

/// Logs in at one issuer. Cheap to clone.
#[derive(Clone)]
pub struct CodeLogin(Arc<Inner>);

struct Inner {
    flow: CodeFlow,
    iss: String,
    discovery: String,
    insecure_loopback: bool,
    client: Client,
    endpoints: Mutex<Option<(Endpoints, Instant)>>,
    /// When codes were brought in the last minute.
    brought: Mutex<VecDeque<Instant>>,
}

#[derive(Clone)]
struct Endpoints {
    authorization: String,
    token: String,
    /// Its answers name it (RFC 9207).
    names_itself: bool,
}

impl fmt::Debug for CodeLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CodeLogin").field(&self.0.flow).finish()
    }
}

impl CodeLogin {
    /// Makes a flow ready. Asks nobody yet.
    ///
    /// # Errors
    ///
    /// The first mistake; its path begins at the flow: `issuer`, `client_id`, `parameters.NAME`.
    pub fn new(config: &Config, flow: CodeFlow) -> Result<Self, Problem> {
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
        if flow.uses == Use::IdToken {
            let id = &flow.client_id;
            let listed = issuer.token_classes.iter().any(|it| it == "id-token")
                && issuer.audiences.contains(id)
                && issuer.authorized_parties.contains(id);
            if !listed {
                let message = "an ID token needs the client in the issuer's `audiences` and \
                               `authorized_parties`, and `id-token` in its `token_classes`";
                return Err(problem("token", message.into()));
            }
        }
        let discovery = issuer.discovery.clone().unwrap_or_else(|| {
            let base = issuer.iss.strip_suffix('/').unwrap_or(&issuer.iss);
            format!("{base}/.well-known/openid-configuration")
        });
        if !is_allowed_url(&discovery, issuer.allow_insecure_loopback) {
            return Err(problem("issuer", "its discovery document has no https address".into()));
        }
        let client = http::client_of(issuer).map_err(|message| problem("issuer", message))?;
        Ok(CodeLogin(Arc::new(Inner {
            iss: issuer.iss.clone(),
            discovery,
            insecure_loopback: issuer.allow_insecure_loopback,
            flow,
            client,
            endpoints: Mutex::default(),
            brought: Mutex::default(),
        })))
    }

    /// The issuer's `iss`, which a token from here must have.
    #[must_use]
    pub fn iss(&self) -> &str {
        &self.0.iss
    }

    /// Begins a login that ends at `redirect_uri`. Asks the issuer for its endpoints if they are
    /// not known.
    ///
    /// # Errors
    ///
    /// [`CodeError`].
    pub async fn begin(&self, redirect_uri: &str) -> Result<CodeRequest, CodeError> {
        let endpoints = self.0.endpoints().await?;
        let flow = &self.0.flow;
        let (state, nonce, verifier) = (random()?, random()?, Secret::new(random()?));
        let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.expose().as_bytes()));
        let others = flow.scopes.iter().filter(|scope| *scope != OPENID).map(String::as_str);
        let scopes: Vec<&str> = std::iter::once(OPENID).chain(others).collect();
        let mut query = vec![
            ("response_type", "code".to_owned()),
            ("client_id", flow.client_id.clone()),
            ("redirect_uri", redirect_uri.to_owned()),
            ("scope", scopes.join(" ")),
            ("state", state.clone()),
            ("nonce", nonce.clone()),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256".to_owned()),
        ];
        query.extend(flow.parameters.iter().map(|(name, value)| (&**name, value.clone())));
        // RFC 6749 section 3.1: the address may have a query of its own, and no fragment.
        let joint = if endpoints.authorization.contains('?') { '&' } else { '?' };
        let url = format!("{}{joint}{}", endpoints.authorization, oauth::encoded(&query));
        Ok(CodeRequest { url, state, nonce, verifier })
    }

    /// Asks for the tokens that a code stands for, and checks that they answer this login.
    /// `named` is the `iss` that came with the code (RFC 9207). The token that comes back is not
    /// checked further.
    ///
    /// # Errors
    ///
    /// [`CodeError`]; the login is over.
    pub async fn redeem(
        &self,
        verifier: &Verifier,
        code: &Secret,
        named: Option<&str>,
        begun: &CodeRequest,
        redirect_uri: &str,
    ) -> Result<Secret, CodeError> {
        let endpoints = self.0.endpoints().await?;
        if named.map_or(endpoints.names_itself, |iss| iss != self.0.iss) {
            return Err(CodeError::OtherIssuer);
        }
        if code.is_empty() || code.len() > MAX_CODE_BYTES {
            return Err(CodeError::Code);
        }
        self.0.count_one()?;
        let flow = &self.0.flow;
        let mut form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.expose().to_owned()),
            ("redirect_uri", redirect_uri.to_owned()),
            ("code_verifier", begun.verifier.expose().to_owned()),
            ("client_id", flow.client_id.clone()),
        ];
        let mut login = flow.client_secret.as_ref().map(|secret| (&*flow.client_id, secret));
        if flow.secret_in_form
            && let Some((_, secret)) = login.take()
        {
            form.push(("client_secret", secret.expose().to_owned()));
        }
        let answer = oauth::post(&self.0.client, &endpoints.token, &form, login).await?;
        if answer.status != StatusCode::OK {
            return Err(error_of(&answer));
        }
        let access = answer.token()?;
        let id_token =
            answer.secret("id_token").ok_or(CodeError::Answer("it holds no ID token"))?;
        let expected = Expected {
            iss: &self.0.iss,
            client_id: &flow.client_id,
            nonce: &begun.nonce,
            access_token: Some(&access),
        };
        verifier.check_id_token(&id_token, expected, SystemTime::now()).await?;
        Ok(match flow.uses {
            Use::AccessToken => access,
            Use::IdToken => id_token,
        })
    }
}

impl Inner {
    /// Who has not logged in yet must not make us ask the issuer without end.
    fn count_one(&self) -> Result<(), CodeError> {
        let mut brought = lock(&self.brought);
        brought.retain(|at| at.elapsed() < Duration::from_secs(60));
        if brought.len() >= MAX_CODE_LOGINS_PER_MINUTE {
            return Err(CodeError::Busy);
        }
        brought.push_back(Instant::now());
        Ok(())
    }

    async fn endpoints(&self) -> Result<Endpoints, CodeError> {
        let known = lock(&self.endpoints).clone();
        if let Some((endpoints, at)) = known
            && at.elapsed() < MAX_KEY_AGE
        {
            return Ok(endpoints);
        }
        let document = oauth::discover(&self.client, &self.discovery).await?;
        let endpoint = |name: &str| {
            announced(&self.iss, self.insecure_loopback, &document, name)
                .ok()
                .filter(|url| url.bytes().all(|b| b.is_ascii_graphic()) && !url.contains('#'))
                .ok_or(CodeError::Answer("its discovery document can't be used"))
        };
        let endpoints = Endpoints {
            authorization: endpoint("authorization_endpoint")?,
            token: endpoint("token_endpoint")?,
            names_itself: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        };
        if !does_pkce(&document) {
            return Err(CodeError::Answer("it does not do PKCE with S256"));
        }
        *lock(&self.endpoints) = Some((endpoints.clone(), Instant::now()));
        Ok(endpoints)
    }
}

/// Where an issuer says which PKCE methods it has, S256 must be one (RFC 9700 section 2.1.1).
/// One that says nothing is asked even so: an issuer must ignore what it doesn't know.
fn does_pkce(document: &Map<String, Value>) -> bool {
    match document.get("code_challenge_methods_supported") {
        None => true,
        Some(Value::Array(methods)) => methods.iter().any(|it| it == "S256"),
        Some(_) => false,
    }
}

/// RFC 6749 section 5.2. What the issuer wrote is not repeated.
fn error_of(answer: &Answer) -> CodeError {
    match answer.error() {
        Some("invalid_grant") => CodeError::Code,
        Some("access_denied") => CodeError::Denied,
        Some(
            "invalid_client"
            | "unauthorized_client"
            | "unsupported_grant_type"
            | "invalid_scope"
            | "invalid_request"
            | "invalid_target",
        ) => CodeError::Client,
        None if answer.status.is_server_error() => CodeError::Unreachable,
        _ => CodeError::Answer("its error is none of RFC 6749's"),
    }
}

/// 256 random bits, base64url.
fn random() -> Result<String, CodeError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| CodeError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
