//! Ways in: a real OIDC provider's tokens, OAUTHBEARER, TLS; and the proxy's own ways to log in
//! at the server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod rig;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use postgres::Carrier;
use postgres_wire::auth::{Methods, oauth};
use postgres_wire::backend::{self, Authentication, Message};
use postgres_wire::frame::{Framed, Limits, next_frame};
use postgres_wire::startup::{ProtocolVersion, write_startup};
use postgres_wire::{Side, write};
use rig::{AUDIENCE, Plan, Rig};
use testbed::{Auth, OidcProvider, PgOptions, Postgres, require};

/// Nobody here wrote this provider.
#[test]
fn tokens_of_a_real_provider_person_and_delegated_agent() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let Some(provider) = require(OidcProvider::start(AUDIENCE)) else { return };
    let issuers = format!(
        r#"
        [issuer.real]
        iss = "{}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["RS256", "ES256", "EdDSA"]
        may_mint = ["human", "agent"]
        allow_insecure_loopback = true
        [[issuer.real.rule]]
        name = "delegated"
        kind = "agent"
        when = {{ act = {{ present = true }} }}
        actor_from = "act"
        [[issuer.real.rule]]
        name = "people"
        kind = "human"
        when = {{ act = {{ absent = true }} }}
        "#,
        provider.issuer()
    );
    let rig = Rig::with(pg.port(), Plan { issuers, ..Plan::default() });
    let person = provider.person_token("alice").unwrap();
    let delegated = provider.delegated_token(&person, OidcProvider::AGENT).unwrap();
    for token in [&person, &delegated] {
        let (out, err) = rig.psql_as(token, &["-c", "SELECT 'in'"]);
        assert_eq!((out.as_str(), err.as_str()), ("in\n", ""));
    }
    rig.settle();
    let starts = rig.entries_of("session_start");
    let first = &starts[0]["principal"];
    assert_eq!((&first["subject"], &first["kind"]), (&"alice".into(), &"human".into()));
    let second = &starts[1]["principal"];
    assert_eq!(second["kind"], "agent");
    assert_eq!(second["on_behalf_of"][0]["subject"], "alice");
    assert!(starts.iter().all(|s| s["credential_sha256"].as_str().unwrap().len() == 64));
}

/// A client that speaks the first words of the protocol by hand.
struct Wire(TcpStream, Vec<u8>);

impl Wire {
    fn connect(port: u16) -> Wire {
        let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut wire = Wire(tcp, Vec::new());
        let mut out = Vec::new();
        let parameters: [(&[u8], &[u8]); 2] = [(b"user", b"postgres"), (b"database", b"postgres")];
        write_startup(&mut out, ProtocolVersion::V3_0, &parameters).unwrap();
        wire.0.write_all(&out).unwrap();
        wire
    }

    /// The next message: its type and body.
    fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            let framed = next_frame(&self.1, Side::Backend, &Limits::DEFAULT).unwrap();
            if let Framed::Frame { tag, body, total } = framed {
                let message = (tag, body.to_vec());
                self.1.drain(..total);
                return message;
            }
            let mut buf = [0; 4096];
            let read = match self.0.read(&mut buf) {
                // A read with a timeout is not taken up again after a signal.
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.unwrap(),
            };
            assert!(read > 0, "the connection ended");
            self.1.extend_from_slice(&buf[..read]);
        }
    }

    fn sasl(&mut self, initial: &[u8]) {
        let (tag, body) = self.next();
        let Message::Authentication(Authentication::Sasl(mechanisms)) =
            backend::parse(tag, &body).unwrap()
        else {
            unreachable!("OAUTHBEARER is offered")
        };
        assert!(mechanisms.contains(oauth::MECHANISM));
        let mut out = Vec::new();
        write::sasl_initial(&mut out, oauth::MECHANISM, initial).unwrap();
        self.0.write_all(&out).unwrap();
    }
}

#[test]
fn oauthbearer_carries_the_token_or_tells_where_to_get_one() {
    let Some(pg) = require(Postgres::start(PgOptions::default())) else { return };
    let carrier = Carrier::OauthBearer {
        openid_configuration: "https://idp.example/.well-known/openid-configuration".into(),
        scope: "openid".into(),
    };
    let rig = Rig::with(pg.port(), Plan { carrier, ..Plan::default() });
    let mut wire = Wire::connect(rig.port);
    wire.sasl(format!("n,,\x01auth=Bearer {}\x01\x01", rig.token("alice")).as_bytes());
    let (tag, body) = wire.next();
    assert_eq!((tag, body.as_slice()), (b'R', &[0, 0, 0, 0][..]), "AuthenticationOk");
    // Without a token: where to get one, then the end.
    let mut wire = Wire::connect(rig.port);
    wire.sasl(b"n,,\x01auth=\x01\x01");
    let (tag, body) = wire.next();
    assert_eq!(tag, b'R');
    assert!(String::from_utf8_lossy(&body).contains("https://idp.example/"));
    let mut out = Vec::new();
    write::sasl_response(&mut out, b"\x01").unwrap();
    wire.0.write_all(&out).unwrap();
    assert_eq!(wire.next().0, b'E');
    // A malformed message is refused.
    let mut wire = Wire::connect(rig.port);
    wire.sasl(b"p=tls-unique,,\x01auth=Bearer x\x01\x01");
    assert_eq!(wire.next().0, b'E');
}

#[test]
fn the_proxy_logs_in_by_scram_md5_cleartext_and_certificate() {
    for auth in [Auth::Scram, Auth::Md5, Auth::Password, Auth::Certificate] {
        let options = PgOptions { auth, tls: true, ..PgOptions::default() };
        let Some(pg) = require(Postgres::start(options)) else { return };
        let certificate =
            (auth == Auth::Certificate).then(|| pg.client_certificate("postgres").unwrap());
        let plan = Plan {
            upstream_ca: pg.ca_certificate(),
            password: (auth != Auth::Certificate).then(|| pg.password().into()),
            upstream_certificate: certificate,
            methods: Methods::ANY,
            ..Plan::default()
        };
        let rig = Rig::with(pg.port(), plan);
        let (out, err) =
            rig.psql(&["-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"]);
        assert_eq!((out.as_str(), err.as_str()), ("t\n", ""), "{auth:?}");
    }
}

#[test]
fn a_server_that_asks_for_less_than_configured_is_refused() {
    let options = PgOptions { auth: Auth::Password, ..PgOptions::default() };
    let Some(pg) = require(Postgres::start(options)) else { return };
    let plan =
        Plan { methods: Methods::SCRAM, password: Some(pg.password().into()), ..Plan::default() };
    let rig = Rig::with(pg.port(), plan);
    let (_, err) = rig.psql(&["-c", "SELECT 1"]);
    assert!(err.contains("FATAL") && !err.contains(pg.password()), "{err}");
    rig.settle();
    assert_eq!(rig.entries_of("session_start")[0]["principal"]["subject"], "alice");
    let reason = rig.entries_of("session_end")[0]["reason"].clone();
    assert!(reason.as_str().unwrap().contains("target"), "{reason}");
}
