//! A small service that does what a test asks of it by its path.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

type Piece = Result<Frame<Bytes>, std::io::Error>;

/// Starts it; it ends with the process. Its port.
pub fn start() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let _ended = hyper_util::server::conn::auto::Builder::new(executor)
                        .serve_connection_with_upgrades(TokioIo::new(tcp), service_fn(answer))
                        .await;
                });
            }
        });
    });
    port
}

/// The same behind TLS, in HTTP/1.1 or HTTP/2 as TLS has it.
pub fn start_tls(config: rustls::ServerConfig) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let _ended = hyper_util::server::conn::auto::Builder::new(executor)
                        .serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer))
                        .await;
                });
            }
        });
    });
    port
}

/// A byte of the content that everybody can tell by its place.
pub fn byte(at: u64) -> u8 {
    at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, std::io::Error>>, Infallible> {
    let mut request = request;
    if request.uri().path() == "/socket" {
        return Ok(switch(&mut request));
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let number = query.parse::<u64>().unwrap_or(0);
    let (sender, pieces) = mpsc::channel::<Piece>(4);
    let mut response = Response::builder().header("x-service", "rig");
    match path.as_str() {
        "/status" => response = response.status(u16::try_from(number).unwrap()),
        "/sized" => response = response.header("content-length", number),
        "/trailers" => response = response.header("trailer", "x-sum"),
        "/asks" => {
            let events = request.headers().contains_key("x-stream");
            let media = if events { "text/event-stream" } else { "application/json" };
            response = response.header("content-type", media);
            if let Some(session) = request.headers().get("x-give") {
                response = response.header("mcp-session-id", session);
            }
        }
        "/gzip" => {
            response = response.header("content-type", "application/json");
            response = response.header("content-encoding", "gzip").header("etag", "\"1\"");
        }
        "/sets-ours" => {
            response = response.header("set-cookie", "theme=dark");
            response = response.header("set-cookie", "__Host-greffier=evil; Path=/; Secure");
        }
        "/cookie" => response = response.header("set-cookie", "session=hunter2"),
        _ => {}
    }
    // What is told of a request's body is told when all of it came.
    let asked = request.headers().get("accept-encoding").cloned();
    let define = request.headers().get("x-define").cloned();
    let hide = request.headers().contains_key("x-hide");
    let events = request.headers().contains_key("x-stream");
    let known = [
        "/asks",
        "/gzip",
        "/sized",
        "/chunked",
        "/ticks",
        "/broken",
        "/slow",
        "/trailers",
        "/text",
    ];
    let told = match known.contains(&path.as_str()) {
        true => Vec::new(),
        false => echo(request).await,
    };
    tokio::spawn(async move {
        let send = |bytes: Vec<u8>| sender.send(Ok(Frame::data(bytes.into())));
        match path.as_str() {
            "/sized" | "/chunked" => {
                let mut at = 0;
                while at < number {
                    let to = number.min(at + 50_000);
                    if send((at..to).map(byte).collect()).await.is_err() {
                        return;
                    }
                    at = to;
                }
            }
            "/asks" => {
                let result = match define {
                    None => json!({
                        "resultType": "input_required",
                        "inputRequests": {"q": {"method": "elicitation/create", "params": {}}},
                    }),
                    Some(text) => json!({"tools": [{
                        "name": "tool",
                        "description": format!(
                            "{}{}",
                            text.to_str().unwrap(),
                            if hide { "\u{e0041}\u{e0042}" } else { "" }
                        ),
                        "inputSchema": {"type": "object"},
                    }]}),
                };
                let message = json!({"jsonrpc": "2.0", "id": 1, "result": result});
                let message = match events {
                    true => format!("\u{feff}data: {message}\n\n"),
                    false => message.to_string(),
                };
                let _gone = send(message.into_bytes()).await;
            }
            // Coded whatever was asked for, as some services do.
            "/gzip" => {
                let asked = asked.as_ref().map_or("", |it| it.to_str().unwrap());
                let text = json!({"asked": asked, "card": "4111 1111 1111 1111"}).to_string();
                let mut gzip = std::process::Command::new("gzip")
                    .stdin(std::process::Stdio::piped())
                    .stdout(std::process::Stdio::piped())
                    .spawn()
                    .unwrap();
                std::io::Write::write_all(&mut gzip.stdin.take().unwrap(), text.as_bytes())
                    .unwrap();
                let _gone = send(gzip.wait_with_output().unwrap().stdout).await;
            }
            "/ticks" => {
                for tick in 0..number {
                    if send(format!("data: {tick}\n\n").into_bytes()).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            "/broken" => {
                let _gone = send(vec![b'x'; 100]).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                let _gone = sender.send(Err(std::io::Error::other("broken"))).await;
            }
            "/slow" => tokio::time::sleep(Duration::from_millis(number)).await,
            "/trailers" => {
                let _gone = send(b"body".to_vec()).await;
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", "4".parse().unwrap());
                let _gone = sender.send(Ok(Frame::trailers(trailers))).await;
            }
            "/text" => {
                let _gone = send(query.replace('+', " ").into_bytes()).await;
            }
            _ => {
                let _gone = send(told).await;
            }
        }
    });
    let stream = tokio_stream(pieces);
    Ok(response.body(StreamBody::new(stream).boxed()).unwrap())
}

/// What came, as JSON.
async fn echo(request: Request<Incoming>) -> Vec<u8> {
    let (parts, body) = request.into_parts();
    let all = parts
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]));
    let all: Vec<_> = all.collect();
    let (mut bytes, mut sum, mut frames) =
        (0_u64, aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256), 0);
    let mut body = body;
    let mut first = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            bytes += data.len() as u64;
            sum.update(&data);
            frames += 1;
            if first.len() < 1000 {
                first.extend_from_slice(&data);
            }
        }
    }
    first.truncate(1000);
    json!({
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "version": format!("{:?}", parts.version),
        "fields": all,
        "bytes": bytes,
        "frames": frames,
        "sha256": hex::encode(sum.finish()),
        "body": String::from_utf8_lossy(&first),
    })
    .to_string()
    .into_bytes()
}

fn tokio_stream(
    mut pieces: mpsc::Receiver<Piece>,
) -> impl futures_util::Stream<Item = Piece> + Send + Sync {
    futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx))
}

/// Becomes an echo, whatever the protocol is, with `!` behind each piece.
fn switch(
    request: &mut Request<Incoming>,
) -> Response<http_body_util::combinators::BoxBody<Bytes, std::io::Error>> {
    let upgrade = hyper::upgrade::on(&mut *request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await.unwrap());
        let mut piece = [0; 1000];
        while let Ok(read @ 1..) = io.read(&mut piece).await {
            if io.write_all(&[&piece[..read], b"!"].concat()).await.is_err() {
                return;
            }
        }
    });
    let extensions = request.headers().contains_key("sec-websocket-extensions");
    let response = Response::builder()
        .status(101)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("x-extensions", extensions.to_string());
    let nothing = http_body_util::Empty::new().map_err(|never| match never {}).boxed();
    response.body(nothing).unwrap()
}
