//! The service that is asked, and the floor for any proxy on hyper: a relay that passes requests
//! and answers on and looks at nothing. Each is a process of its own.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1 as client;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// A long body, in bytes.
pub(crate) const LONG: usize = 1024 * 1024;
/// Objects in the list that is the JSON body: about 16 KiB, two values in each to be masked.
const PEOPLE: usize = 100;
/// Pieces of an endless body.
const PIECE: usize = 64 * 1024;

type Body = BoxBody<Bytes, hyper::Error>;

/// What a process of ours does until the one that started it ends. Prints its port first.
pub(crate) fn serve(relay_to: Option<u16>) -> Result<(), String> {
    let fail = |e: io::Error| format!("serving: {e}");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| fail(e.into()))?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().map_err(fail)?;
    runtime.block_on(accept(relay_to)).map_err(fail)
}

async fn accept(relay_to: Option<u16>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("port {}", listener.local_addr()?.port());
    let long = Bytes::from(prose(LONG));
    let people = Bytes::from(people());
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let (long, people) = (long.clone(), people.clone());
        tokio::spawn(async move {
            let io = TokioIo::new(tcp);
            // A connection that ends early is the client's matter.
            let _end = match relay_to {
                None => {
                    let service =
                        service_fn(move |request| answer(request, long.clone(), people.clone()));
                    server::Builder::new().serve_connection(io, service).await
                }
                Some(port) => {
                    let Ok(sender) = connect(port).await else { return };
                    let sender = Mutex::new(sender);
                    let service = service_fn(|request| pass(&sender, request));
                    server::Builder::new().serve_connection(io, service).await
                }
            };
        });
    }
}

async fn connect(port: u16) -> io::Result<client::SendRequest<Incoming>> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    let (sender, connection) =
        client::handshake(TokioIo::new(tcp)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn pass(
    sender: &Mutex<client::SendRequest<Incoming>>,
    request: Request<Incoming>,
) -> hyper::Result<Response<Incoming>> {
    let mut sender = sender.lock().await;
    sender.ready().await?;
    sender.send_request(request).await
}

async fn answer(
    request: Request<Incoming>,
    long: Bytes,
    people: Bytes,
) -> Result<Response<Body>, Infallible> {
    let (media, body) = match request.uri().path().trim_end_matches('/') {
        "/small" => ("text/plain", full("a small answer".into())),
        "/long" => ("text/plain", full(long)),
        "/people" => ("application/json", full(people)),
        "/endless" => {
            let bytes = request.uri().query().and_then(|it| it.parse().ok()).unwrap_or(0);
            ("application/octet-stream", endless(bytes))
        }
        "/taken" => {
            let mut body = request.into_body();
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
            }
            ("text/plain", full(bytes.to_string().into()))
        }
        "/mcp" => {
            let asked = request.into_body().collect().await.map(|it| it.to_bytes());
            let asked: Value =
                asked.ok().and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default();
            let result = json!({"content": [{"type": "text", "text": "three rows were changed"}]});
            let said = json!({"jsonrpc": "2.0", "id": asked.get("id"), "result": result});
            ("application/json", full(said.to_string().into()))
        }
        _ => {
            let mut response = Response::new(full(Bytes::new()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(media));
    Ok(response)
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// So many bytes, never all at once.
fn endless(bytes: u64) -> Body {
    let piece = Bytes::from(vec![0x5a; PIECE]);
    let pieces = futures_util::stream::unfold(bytes, move |left| {
        let now = left.min(PIECE as u64);
        let frame = Frame::data(piece.slice(..usize::try_from(now).unwrap_or(0)));
        std::future::ready((left > 0).then(|| (Ok(frame), left - now)))
    });
    StreamBody::new(pieces).boxed()
}

/// Text as people write it, an e-mail address in every hundredth line.
pub(crate) fn prose(bytes: usize) -> Vec<u8> {
    let mut text = String::with_capacity(bytes + 128);
    let mut line = 0;
    while text.len() < bytes {
        line += 1;
        text.push_str("order ");
        text.push_str(&line.to_string());
        text.push_str(" shipped to warehouse 17 in good condition");
        if line % 100 == 0 {
            text.push_str(", mail ada@example.com");
        }
        text.push('\n');
    }
    text.truncate(bytes);
    text.into_bytes()
}

fn people() -> String {
    let one = |n: usize| {
        json!({
            "id": n,
            "name": "Ada Lovelace",
            "mail": format!("ada{n}@example.com"),
            "card": "4111 1111 1111 1111",
            "note": "asked for her invoice twice, the second time in writing",
        })
    };
    Value::Array((0..PEOPLE).map(one).collect()).to_string()
}
