//! A credential that changes while the program runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response};
use kube::client::Body;
use kube::client::middleware::AuthLayer;
use tokio::sync::Mutex as Turn;
use tokio::time::{Instant, timeout};
use tower::util::{BoxCloneService, ServiceExt as _};
use tower::{BoxError, Layer as _, service_fn};

use crate::AccessError;

/// How long a credential is used without looking whether there is a newer one. Plugins' tokens are
/// renewed a minute before they expire.
pub const HELD: Duration = Duration::from_secs(10);
/// How long a request waits for a credential.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long nothing is asked for after a failure.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a credential is used on while a newer one can't be had: less than is left of a plugin's
/// token when it is asked again.
pub const USED_ON: Duration = Duration::from_secs(50);
/// How long a request waits for a newer one before it takes that.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no credential at the moment: the operator's to mend. Never shows what a plugin or
/// a file said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// Its source failed.
    #[error("the credential towards the cluster can't be renewed")]
    Failed,
    /// It takes longer than [`ASK_TIMEOUT`].
    #[error("the credential towards the cluster takes too long")]
    Slow,
}

/// What an API server is shown with each request.
#[derive(Clone)]
pub struct Authorization(Arc<Shared>);

struct Shared {
    /// Taken by who asks the source. A source that never answers keeps it, so that nobody asks
    /// a second time meanwhile.
    turn: Arc<Turn<Source>>,
    last: Mutex<Last>,
}

/// What came of asking.
#[derive(Default)]
struct Last {
    good: Option<(Instant, HeaderValue)>,
    failed: Option<(Instant, AuthorizationError)>,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(***)")
    }
}

impl Authorization {
    pub(crate) fn new(source: Source) -> Self {
        let turn = Arc::new(Turn::new(source));
        Authorization(Arc::new(Shared { turn, last: Mutex::default() }))
    }

    /// The value of `Authorization` at present, marked as sensitive. A source (a file, a plugin) is
    /// asked at most once at a time, and at most every [`HELD`]. While it fails or takes its time,
    /// what it said last is used on for [`USED_ON`].
    ///
    /// # Errors
    /// [`AuthorizationError`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn current(&self) -> Result<HeaderValue, AuthorizationError> {
        if let Some(value) = self.0.good(HELD) {
            return Ok(value);
        }
        let used_on = self.0.good(HELD + USED_ON);
        let asked = match self.0.failed() {
            Some(error) => Err(error),
            None => {
                let most = if used_on.is_some() { PATIENCE } else { ASK_TIMEOUT };
                timeout(most, self.ask()).await.unwrap_or(Err(AuthorizationError::Slow))
            }
        };
        match (asked, used_on) {
            (Ok(value), _) | (Err(_), Some(value)) => Ok(value),
            (Err(error), None) => {
                self.0.note(error);
                Err(error)
            }
        }
    }

    async fn ask(&self) -> Result<HeaderValue, AuthorizationError> {
        let mut source = self.0.turn.clone().lock_owned().await;
        if let Some(value) = self.0.good(HELD) {
            return Ok(value);
        }
        if let Some(error) = self.0.failed() {
            return Err(error);
        }
        let shared = self.0.clone();
        // In a task of its own: who waits may leave, and the plugin runs on.
        let asked = tokio::spawn(async move {
            let value = source.ask().await;
            match &value {
                Ok(value) => {
                    let good = Some((Instant::now(), value.clone()));
                    *shared.lock() = Last { good, failed: None };
                }
                Err(error) => shared.note(*error),
            }
            value
        });
        asked.await.unwrap_or(Err(AuthorizationError::Failed))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its source said last, if that is not older.
    fn good(&self, most: Duration) -> Option<HeaderValue> {
        let last = self.lock();
        let (at, value) = last.good.as_ref()?;
        (at.elapsed() < most).then(|| value.clone())
    }

    /// Why it is not asked at present.
    fn failed(&self) -> Option<AuthorizationError> {
        let (at, error) = self.lock().failed?;
        let most = match error {
            AuthorizationError::Failed => RETRY_AFTER,
            AuthorizationError::Slow => ASK_TIMEOUT,
        };
        (at.elapsed() < most).then_some(error)
    }

    fn note(&self, error: AuthorizationError) {
        let mut last = self.lock();
        let now = Instant::now();
        last.failed = match last.failed {
            // It is the same failure, told to somebody else.
            Some((at, told)) if told == error && at.elapsed() < RETRY_AFTER => Some((at, told)),
            _ => Some((now, error)),
        };
    }
}

/// Where it comes from.
pub(crate) enum Source {
    /// A file that others write anew; what was read last counts if it is gone.
    File { path: PathBuf, last: HeaderValue },
    /// What the library makes of a kubeconfig: a fixed token or password, or a plugin.
    Layer(BoxCloneService<Request<Body>, Response<()>, BoxError>),
}

impl Source {
    pub(crate) fn file(path: PathBuf) -> Result<Source, AccessError> {
        let token = std::fs::read_to_string(&path).map_err(AccessError::TokenFile)?;
        let last = bearer(&token).ok_or(AccessError::Data("token"))?;
        Ok(Source::File { path, last })
    }

    /// The library puts the field into requests, so it is given one, whose answer is the field.
    pub(crate) fn layer(layer: AuthLayer) -> Source {
        let echo = service_fn(|request: Request<Body>| async move {
            let mut answer = Response::new(());
            if let Some(value) = request.headers().get(AUTHORIZATION) {
                answer.headers_mut().insert(AUTHORIZATION, value.clone());
            }
            Ok::<_, BoxError>(answer)
        });
        Source::Layer(BoxCloneService::new(layer.layer(echo)))
    }

    async fn ask(&mut self) -> Result<HeaderValue, AuthorizationError> {
        match self {
            Source::File { path, last } => {
                let read = tokio::fs::read_to_string(&*path).await;
                match read.ok().and_then(|token| bearer(&token)) {
                    Some(value) => *last = value,
                    None => tracing::warn!(
                        file = %path.display(),
                        "a cluster's token can't be read anew; the one that was read last is used"
                    ),
                }
                Ok(last.clone())
            }
            Source::Layer(service) => {
                let asked = service.clone().oneshot(Request::new(Body::empty())).await;
                // The error would show what the plugin printed.
                let answer = asked.map_err(|_| AuthorizationError::Failed)?;
                let value = answer.headers().get(AUTHORIZATION);
                let mut value = value.cloned().ok_or(AuthorizationError::Failed)?;
                value.set_sensitive(true);
                Ok(value)
            }
        }
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let token = token.trim();
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    (!token.is_empty()).then_some(value)
}
