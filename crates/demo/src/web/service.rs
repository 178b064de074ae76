//! A small service with customers and orders, which answers in JSON to whoever has its key.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::ask::at;
use crate::{DemoError, data};

/// The longest body that is read, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// Most orders that are kept.
const MAX_ORDERS: usize = 1000;

/// The service. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct LittleService {
    pub(crate) port: u16,
    /// The one key that it takes.
    pub(crate) key: String,
    task: JoinHandle<()>,
}

impl Drop for LittleService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What it knows.
struct Shop {
    key: String,
    customers: BTreeMap<u32, Value>,
    orders: Vec<Value>,
}

/// A status and a body.
pub(crate) type Answer = (StatusCode, Value);

impl LittleService {
    pub(crate) async fn start() -> Result<Self, DemoError> {
        let key = crate::stage::random_word()?;
        let customers = data::customers().into_iter().map(|it| {
            let data::Customer { id, name, email, card, phone } = it;
            (id, json!({"id": id, "name": name, "email": email, "card": card, "phone": phone}))
        });
        let shop = Shop { key: key.clone(), customers: customers.collect(), orders: Vec::new() };
        let shop = Arc::new(Mutex::new(shop));
        let (port, task) = serve(move |request| answer(shop.clone(), request)).await?;
        Ok(LittleService { port, key, task })
    }
}

/// Serves on a spare port what this function answers.
pub(crate) async fn serve<F, A>(answer: F) -> Result<(u16, JoinHandle<()>), DemoError>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((tcp, _)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(response(answer.await)) }
            });
            connections.spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new();
                // A proxy that goes away is no concern of the target's.
                let _gone = connection.serve_connection(TokioIo::new(tcp), service).await;
            });
        }
    });
    Ok((port, task))
}

fn response((status, body): Answer) -> Response<Full<Bytes>> {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let mut response = Response::new(Full::new(bytes.into()));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A body that is JSON and not too long.
pub(crate) async fn read(request: Request<Incoming>) -> Option<Value> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}

async fn answer(shop: Arc<Mutex<Shop>>, request: Request<Incoming>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let field =
        |name: &str| request.headers().get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
    let shown = field(AUTHORIZATION.as_str()).unwrap_or_default();
    if shown != format!("Bearer {}", lock(&shop).key) {
        return (StatusCode::UNAUTHORIZED, json!({"error": "this is not my key"}));
    }
    let names: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
    let get = method == Method::GET;
    match (names.as_slice(), &method) {
        (["whoami"], _) if get => {
            let caller = field("x-greffier-subject");
            let owner = field("x-greffier-on-behalf-of");
            (StatusCode::OK, json!({"caller": caller, "for": owner, "key": "mine"}))
        }
        (["customers"], _) if get => {
            let names: Vec<Value> =
                lock(&shop).customers.values().map(|it| at(it, "/name").clone()).collect();
            (StatusCode::OK, names.into())
        }
        (["customers", id], _) => {
            let id = id.parse().unwrap_or(0);
            let found = match method {
                Method::DELETE => lock(&shop).customers.remove(&id).map(|_| json!({"deleted": id})),
                _ => lock(&shop).customers.get(&id).cloned(),
            };
            found.map_or_else(nothing, |it| (StatusCode::OK, it))
        }
        (["orders"], &Method::POST) => match read(request).await {
            Some(order) => order_it(&mut lock(&shop).orders, order),
            None => (StatusCode::BAD_REQUEST, json!({"error": "an order is JSON"})),
        },
        (["orders"], _) if get => (StatusCode::OK, lock(&shop).orders.clone().into()),
        (["admin", "keys"], _) => (StatusCode::OK, json!({"keys": [lock(&shop).key.clone()]})),
        _ => nothing(),
    }
}

fn order_it(orders: &mut Vec<Value>, order: Value) -> Answer {
    if orders.len() >= MAX_ORDERS {
        return (StatusCode::INSUFFICIENT_STORAGE, json!({"error": "no more orders today"}));
    }
    orders.push(order);
    (StatusCode::CREATED, json!({"order": orders.len(), "status": "open"}))
}

fn nothing() -> Answer {
    (StatusCode::NOT_FOUND, json!({"error": "there is no such thing"}))
}

fn lock(shop: &Mutex<Shop>) -> std::sync::MutexGuard<'_, Shop> {
    shop.lock().unwrap_or_else(PoisonError::into_inner)
}
