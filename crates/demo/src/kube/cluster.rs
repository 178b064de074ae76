//! A minimal API server: a namespace with a pod, a deployment and a Secret, for whoever has its key,
//! in the name of whom that one says; alice may use it and nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::DemoError;
use crate::ask::at;
use crate::web::service::{Answer, read, serve};

/// Who may use it.
const USER: &str = "alice";

/// The server. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct LittleCluster {
    pub(crate) port: u16,
    /// The one key that it takes.
    pub(crate) key: String,
    /// What its Secret holds.
    pub(crate) password: String,
    task: JoinHandle<()>,
}

impl Drop for LittleCluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What it knows.
struct Objects {
    key: String,
    secret: Value,
    deployment: Value,
}

impl LittleCluster {
    pub(crate) async fn start() -> Result<Self, DemoError> {
        let (key, password) = (crate::stage::random_word()?, crate::stage::random_word()?);
        let applied = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"},
            "stringData": {"password": password},
        });
        let annotation = "kubectl.kubernetes.io/last-applied-configuration";
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {
                "name": "db", "namespace": "shop", "annotations": {annotation: applied.to_string()},
            },
            "data": {"password": STANDARD.encode(&password)},
        });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": 1},
        });
        let objects = Objects { key: key.clone(), secret, deployment };
        let objects = Arc::new(Mutex::new(objects));
        let (port, task) = serve(move |request| answer(objects.clone(), request)).await?;
        Ok(LittleCluster { port, key, password, task })
    }
}

async fn answer(objects: Arc<Mutex<Objects>>, request: Request<Incoming>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let field =
        |name: &str| request.headers().get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
    let shown = field(AUTHORIZATION.as_str()).unwrap_or_default();
    if shown != format!("Bearer {}", lock(&objects).key) {
        return status(StatusCode::UNAUTHORIZED, "Unauthorized", "this is not my key");
    }
    let user = field("impersonate-user").unwrap_or_default();
    if user != USER {
        return status(StatusCode::FORBIDDEN, "Forbidden", "only alice may use this cluster");
    }
    let actor = field("impersonate-extra-greffier.dev%2factor");
    let names: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
    match (names.as_slice(), &method) {
        (["api", "v1", "namespaces", "shop", "pods"], &Method::GET) => {
            let pod = json!({"metadata": {"name": "web", "namespace": "shop"}});
            (StatusCode::OK, json!({"apiVersion": "v1", "kind": "PodList", "items": [pod]}))
        }
        (["api", "v1", "namespaces", "shop", "secrets", "db"], &Method::GET) => {
            (StatusCode::OK, lock(&objects).secret.clone())
        }
        (["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"], &Method::POST) => {
            let review = json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
                "status": {"userInfo": {
                    "username": user, "extra": {"greffier.dev/actor": [actor]},
                }},
            });
            (StatusCode::CREATED, review)
        }
        (["apis", "apps", "v1", "namespaces", "shop", "deployments", "web"], &Method::PATCH) => {
            let Some(patch) = read(request).await else {
                return status(StatusCode::BAD_REQUEST, "BadRequest", "a patch is JSON");
            };
            let mut objects = lock(&objects);
            if let Some(replicas) = objects.deployment.pointer_mut("/spec/replicas") {
                *replicas = at(&patch, "/spec/replicas").clone();
            }
            (StatusCode::OK, objects.deployment.clone())
        }
        (["apis", "apps", "v1", "namespaces", "shop", "deployments", "web"], &Method::GET) => {
            (StatusCode::OK, lock(&objects).deployment.clone())
        }
        _ => status(StatusCode::NOT_FOUND, "NotFound", "there is no such thing"),
    }
}

fn status(code: StatusCode, reason: &str, message: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": message,
    });
    (code, status)
}

fn lock(objects: &Mutex<Objects>) -> std::sync::MutexGuard<'_, Objects> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

impl super::Behind {
    /// What must be nowhere but in the cluster.
    pub(super) fn secrets(&self) -> Vec<String> {
        let password = &self.cluster.password;
        vec![password.clone(), STANDARD.encode(password)]
    }
}
