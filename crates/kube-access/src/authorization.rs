//! A credential that changes while the program runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
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
    last: Mutex<Option<Last>>,
}

struct Last {
    at: Instant,
    value: Result<HeaderValue, AuthorizationError>,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(***)")
    }
}

impl Authorization {
    pub(crate) fn new(source: Source) -> Self {
        Authorization(Arc::new(Shared {
            turn: Arc::new(Turn::new(source)),
            last: Mutex::new(None),
        }))
    }

    /// The value of `Authorization` at present, marked as sensitive. A source (a file, a plugin) is
    /// asked at most once at a time, and at most every [`HELD`].
    ///
    /// # Errors
    /// [`AuthorizationError`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn current(&self) -> Result<HeaderValue, AuthorizationError> {
        match self.0.held() {
            Some(held) => held,
            None => timeout(ASK_TIMEOUT, self.ask()).await.unwrap_or(Err(AuthorizationError::Slow)),
        }
    }

    async fn ask(&self) -> Result<HeaderValue, AuthorizationError> {
        let mut source = self.0.turn.clone().lock_owned().await;
        if let Some(held) = self.0.held() {
            return held;
        }
        let shared = self.0.clone();
        // In a task of its own: who waits may leave, and the plugin runs on.
        let asked = tokio::spawn(async move {
            let value = source.ask().await;
            let last = Last { at: Instant::now(), value: value.clone() };
            *shared.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
            value
        });
        asked.await.unwrap_or(Err(AuthorizationError::Failed))
    }
}

impl Shared {
    fn held(&self) -> Option<Result<HeaderValue, AuthorizationError>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.as_ref()?;
        let most = if last.value.is_ok() { HELD } else { RETRY_AFTER };
        (last.at.elapsed() < most).then(|| last.value.clone())
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
