//! A WebSocket library that nobody here wrote, on both ends of the proxy.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use rig::{Plan, Rig, Said};
use serde_json::{Value, json};
use terminal::frames::{Kind, Reader};
use testbed::{WebSocketServer, require, websocket_client};

/// Connections that the client opens, but for one that is refused.
const CONNECTIONS: usize = 43;

fn used(port: u16, token: Option<String>) -> Value {
    let mut client = websocket_client().unwrap();
    let said = Said::of(client.arg(port.to_string()).args(token));
    assert_eq!(said.code, Some(0), "{}", said.err);
    said.json()
}

#[test]
fn a_client_and_a_server_see_what_they_see_directly() {
    let Some(server) = require(WebSocketServer::start()) else { return };
    let target = |target: &mut http_proxy::Target| target.upgrades = true;
    let rig = Rig::before(server.port(), Plan { target, ..Plan::default() });
    let (mut wanted, got) = (used(server.port(), None), used(rig.port, Some(rig.token("alice"))));
    // What is particular to us: who asks is told, compression is not offered, strangers stay out.
    assert_eq!(wanted["extensions"], json!(["permessage-deflate"]));
    for (name, value) in [
        ("extensions", json!([])),
        ("who", json!("alice")),
        ("token", json!("none")),
        ("stranger", json!(401)),
    ] {
        wanted[name] = value;
    }
    assert_eq!(wanted, got);

    let exchanges = rig.exchanges();
    assert_eq!(exchanges.len(), CONNECTIONS);
    assert!(exchanges.iter().all(|it| it.0["text"] == "GET /socket?x=1"));
    assert!(exchanges.iter().all(|it| it.1["outcome"] == "ok" && it.1["code"] == "101"));
    // The last answer of the first connection is on record as it came (RFC 6455, 5.2 and 7.4).
    let mut frames = Reader::new();
    let first = exchanges.iter().max_by_key(|it| it.1["input_bytes"].as_u64()).unwrap();
    frames.push(&rig.recorded(first));
    let mut output = Vec::new();
    while let Some(frame) = frames.next().unwrap() {
        if frame.kind == Kind::Output {
            output.extend(frame.bytes);
        }
    }
    let close = [&[0x88, 8][..], &3210_u16.to_be_bytes(), b"enough"].concat();
    assert!(output.ends_with(&close), "{:?}", output.last_chunk::<32>());
}
