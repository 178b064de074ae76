//! HTTP/2 towards targets, and gRPC by it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::sync::Arc;

use http_proxy::Http2;
use rig::{Change, Plan, Rig, Said, service};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use testbed::{Authority, GrpcServer, grpc_client, require};

fn called(port: u16, token: Option<String>) -> Value {
    let mut client = grpc_client().unwrap();
    let said = Said::of(client.arg(port.to_string()).args(token));
    assert_eq!(said.code, Some(0), "{}", said.err);
    said.json()
}

#[test]
fn every_kind_of_call_gives_what_it_gives_directly_and_is_on_record() {
    let Some(server) = require(GrpcServer::start()) else { return };
    let policy = "default = \"allow\"\n[[rule]]\nname = \"no-denied\"\neffect = \"deny\"\n\
                  when = { resources = [\"/test.Echo/Denied\"] }\n";
    let always = |target: &mut http_proxy::Target| target.upstream.http2 = Http2::Always;
    let rig = Rig::before(
        server.port(),
        Plan { policy: policy.into(), target: always, ..Plan::default() },
    );
    let (mut wanted, got) =
        (called(server.port(), None), called(rig.port, Some(rig.token("alice"))));
    // What is refused by a rule is 403, which gRPC's clients read as this.
    assert_eq!(got["denied"]["code"], "PERMISSION_DENIED");
    wanted.as_object_mut().unwrap().remove("denied");
    for (name, value) in wanted.as_object_mut().unwrap() {
        value["subject"] = "alice".into();
        assert_eq!(value, &got[name], "{name}");
    }
    let exchanges = rig.exchanges();
    let of = |method: &str| {
        let text = format!("POST /test.Echo/{method}");
        let found: Vec<_> = exchanges.iter().filter(|it| it.0["text"] == *text).collect();
        assert!(!found.is_empty(), "{text}");
        found
    };
    let calls = of("Say");
    let ends: Vec<_> = calls
        .iter()
        .map(|it| {
            (it.1["outcome"].as_str().unwrap(), it.1["details"]["grpc-status"].as_str().unwrap())
        })
        .collect();
    // 9: FAILED_PRECONDITION. The status of HTTP is 200 all the same.
    assert_eq!(ends, [("ok", "0"), ("ok", "0"), ("error", "9")]);
    assert!(calls.iter().all(|it| it.1["code"] == "200" && it.0["via"] == "h2"));
    // A call that fails before its answer says so in the head.
    let failed = String::from_utf8(rig.recorded(calls[2])).unwrap();
    assert!(failed.contains("grpc-message: not today\r\n"), "{failed}");
    assert!(calls[0].1["details"].get("trailer.x-subject").is_some(), "{}", calls[0].1);
    // A message of gRPC is five bytes and itself.
    assert_eq!(calls[1].1["input_bytes"], 1_000_005);
    assert_eq!(of("Count")[0].1["bytes"], 5 * 6);
    assert_eq!(of("Add")[0].1["input_bytes"], 3 * 6);
    assert!(rig.recorded(of("Chat")[0]).ends_with(b"\0\0\0\0\x04two!"));
    assert_eq!(of("Denied")[0].0["verdict"], "deny");
    // One connection served them: it is taken anew for each.
    assert_eq!(rig.entries_of("session_start").len(), 1);
}

/// TLS for a target, and what a client of it must trust.
fn tls(dir: &std::path::Path, protocols: &[&str]) -> (rustls::ServerConfig, rustls::ClientConfig) {
    let authority = Authority::new(dir).unwrap();
    let issued = authority.issue("server", false).unwrap();
    let chain = CertificateDer::pem_file_iter(&issued.certificate).unwrap();
    let chain: Vec<_> = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone());
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut server = server.with_single_cert(chain, key).unwrap();
    server.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.certificate()).unwrap()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider);
    let client = client.with_safe_default_protocol_versions().unwrap();
    (server, client.with_root_certificates(roots).with_no_client_auth())
}

#[test]
fn tls_chooses_http_2_and_websockets_get_http_1() {
    for (protocols, http2, wanted) in [
        (&["h2", "http/1.1"][..], Http2::Negotiated, Some("HTTP/2.0")),
        (&["http/1.1"], Http2::Negotiated, Some("HTTP/1.1")),
        (&["h2", "http/1.1"], Http2::Never, Some("HTTP/1.1")),
        (&["h2"], Http2::Always, Some("HTTP/2.0")),
        (&["http/1.1"], Http2::Always, None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (server, client) = tls(dir.path(), protocols);
        let port = service::start_tls(server);
        let change: Change = Box::new(move |target| {
            target.upstream.tls = Some(Arc::new(client.clone()));
            target.upstream.host = "localhost".into();
            target.upstream.http2 = http2;
            target.upgrades = true;
        });
        let rig = Rig::before(port, Plan { change: Some(change), ..Plan::default() });
        let Some(wanted) = wanted else {
            assert_eq!(rig.curl(&["-w", "%{http_code}", "-o", "/dev/null"], "/x").text(), "502");
            continue;
        };
        for _ in 0..2 {
            let said = rig.curl(&["-d", "hello=1"], "/x?y=1").json();
            assert_eq!(
                (&said["version"], &said["body"]),
                (&json!(wanted), &json!("hello=1")),
                "{said}"
            );
            let host = format!("localhost:{port}");
            let target = match wanted {
                "HTTP/2.0" => format!("https://{host}/x?y=1"),
                _ => "/x?y=1".to_owned(),
            };
            assert_eq!(said["target"], target);
            let fields = said["fields"].as_array().unwrap();
            let hosts = fields.iter().filter(|it| it[0] == "host").count();
            assert_eq!(hosts, usize::from(wanted == "HTTP/1.1"), "{said}");
        }
        let large = rig.curl(&[], "/sized?3000000");
        assert!(
            large.out == (0..3_000_000).map(service::byte).collect::<Vec<u8>>(),
            "{}",
            large.err
        );
        if protocols.contains(&"http/1.1") {
            let fields = ["Connection: Upgrade", "Upgrade: websocket"];
            let args = ["-i", "--max-time", "2", "-H", fields[0], "-H", fields[1]];
            let said = rig.curl(&args, "/socket").text();
            assert!(said.starts_with("HTTP/1.1 101 "), "{said}");
        }
    }
}

#[test]
fn an_answer_that_nobody_takes_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (server, client) = tls(dir.path(), &["h2"]);
    let port = service::start_tls(server);
    let change: Change = Box::new(move |target| {
        target.upstream.tls = Some(Arc::new(client.clone()));
        target.upstream.host = "localhost".into();
    });
    let rig = Rig::before(port, Plan { change: Some(change), ..Plan::default() });
    let token = rig.token("alice");
    let stuck: Vec<_> = (0..8)
        .map(|_| {
            let mut tcp = std::net::TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
            let head = format!(
                "GET /sized?100000000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            std::io::Write::write_all(&mut tcp, head.as_bytes()).unwrap();
            // Its head is there, so it is under way; no more is read.
            std::io::Read::read_exact(&mut tcp, &mut [0; 12]).unwrap();
            tcp
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let said = rig.curl(&["--max-time", "15"], "/sized?3000000");
    assert_eq!(said.out.len(), 3_000_000, "{}", said.err);
    drop(stuck);
}
