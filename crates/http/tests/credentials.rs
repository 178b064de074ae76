//! Whom a target sees: each kind of credential of ours, and never the client's own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use http::HeaderValue;
use http_proxy::{Assertion, Authorize, Credential, Http2};
use identity::AssertionKey;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use rig::{Change, Plan, Rig, Said, service};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use testbed::{Authority, Issued};

/// What a target saw of a request in which a client says all that it could be known by.
fn seen(rig: &Rig, more: &[&str]) -> (Value, String) {
    let token = rig.token("alice");
    let mut curl = rig::curl();
    curl.args(["-H", &format!("Authorization: Bearer {token}")]);
    curl.args(["-H", "Proxy-Authorization: Basic dGhlaXJz", "-H", "X-Api-Key: theirs"]).args(more);
    let said = Said::of(curl.args(["-d", "x=1"]).arg(rig.url("/x")));
    assert_eq!(said.code, Some(0), "{said:?}");
    (said.json(), token)
}

fn values(seen: &Value, name: &str) -> Vec<String> {
    let all = seen["fields"].as_array().unwrap().iter().filter(|it| it[0] == name);
    all.map(|it| it[1].as_str().unwrap().to_owned()).collect()
}

/// The client's token is nowhere in what the target saw, nor ours in the record.
fn kept_apart(rig: &Rig, seen: &Value, token: &str, ours: &str) {
    let signature = token.rsplit('.').next().unwrap();
    let all = seen.to_string();
    assert!(!all.contains(signature) && !all.contains("eyJ") && !all.contains("dGhlaXJz"), "{all}");
    assert!(values(seen, "proxy-authorization").is_empty());
    for exchange in rig.exchanges() {
        // The service says what it saw: only what is ours to record is looked at.
        let recorded = String::from_utf8(rig.recorded(&exchange)).unwrap();
        let (head, _) = recorded.split_once("\r\n\r\n").unwrap();
        let kept = format!("{} {head} {}", exchange.0, exchange.1["details"]);
        assert!(!kept.contains(signature) && (ours.is_empty() || !kept.contains(ours)), "{kept}");
    }
}

#[test]
fn a_field_of_ours_stands_in_the_place_of_the_client_s() {
    let bearer = ("authorization", "Bearer our-own-token");
    let basic = ("authorization", "Basic b3VyOm93bg==");
    let header = ("x-api-key", "our-own-key");
    for (name, ours) in [bearer, basic, header] {
        for http2 in [Http2::Negotiated, Http2::Always] {
            let change: Change = Box::new(move |target| {
                let value = ours.parse().unwrap();
                target.upstream.credential = Credential::Field(name.parse().unwrap(), value);
                target.upstream.http2 = http2;
            });
            let rig =
                Rig::before(service::start(), Plan { change: Some(change), ..Plan::default() });
            let (seen, token) = seen(&rig, &[]);
            assert_eq!(values(&seen, name), [ours]);
            let other = if name == "authorization" { "x-api-key" } else { "authorization" };
            // A field that is not ours to say is the client's: a token for us is not.
            let theirs: &[&str] = if other == "x-api-key" { &["theirs"] } else { &[] };
            assert_eq!(values(&seen, other), theirs, "{seen}");
            kept_apart(&rig, &seen, &token, ours);
        }
    }
}

/// A value that is another each time; none after the second.
#[derive(Debug, Default)]
struct Tokens(AtomicUsize);

impl Authorize for Tokens {
    fn current(&self) -> BoxFuture<'_, Option<HeaderValue>> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let value = HeaderValue::from_str(&format!("Bearer our-own-{number}")).unwrap();
        ready((number < 2).then_some(value)).boxed()
    }
}

#[test]
fn a_value_that_changes_is_asked_for_before_each_request() {
    let change: Change = Box::new(|target| {
        target.upstream.credential = Credential::Changing(Arc::new(Tokens::default()));
    });
    let rig = Rig::before(service::start(), Plan { change: Some(change), ..Plan::default() });
    for number in 0..2 {
        let (seen, token) = seen(&rig, &[]);
        assert_eq!(values(&seen, "authorization"), [format!("Bearer our-own-{number}")]);
        kept_apart(&rig, &seen, &token, "our-own");
    }
    // Without one nothing is sent, and the record says why.
    assert_eq!(rig.curl(&["-o", "/dev/null", "-w", "%{http_code}"], "/x").text(), "503");
    let (_, response) = rig.exchanges().pop().unwrap();
    assert_ne!(response["outcome"], "ok", "{response}");
}

#[test]
fn without_a_credential_the_target_gets_none() {
    let rig = Rig::start();
    for more in [&[][..], &["--http2-prior-knowledge"]] {
        let (seen, token) = seen(&rig, more);
        assert!(values(&seen, "authorization").is_empty(), "{seen}");
        kept_apart(&rig, &seen, &token, "");
    }
}

#[test]
fn a_target_can_check_who_asks_by_a_signature_of_ours() {
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let key = Arc::new(AssertionKey::from_pkcs8(der.unwrap().as_ref()).unwrap());
    let change: Change = Box::new(move |target| {
        target.assertion = Some(Assertion {
            key: key.clone(),
            issuer: "https://gateway.test".into(),
            audience: "wiki".into(),
            lifetime: Duration::from_secs(60),
        });
    });
    let rig = Rig::before(service::start(), Plan { change: Some(change), ..Plan::default() });
    let mut curl = rig::curl();
    curl.args(["-H", &format!("Authorization: Bearer {}", rig.token("alice"))]);
    // Nobody else says so.
    curl.args(["-H", "X-Greffier-Assertion: forged", "-H", "x_greffier_assertion: forged"]);
    let seen = Said::of(curl.arg(rig.url("/x"))).json();
    let [assertion] = &values(&seen, "x-greffier-assertion")[..] else { panic!("{seen}") };
    assert!(values(&seen, "x_greffier_assertion").is_empty(), "{seen}");
    let keys = Said::of(rig::curl().arg(rig.url(http_proxy::KEYS))).json();
    let keys: JwkSet = serde_json::from_value(keys).unwrap();
    let head = jsonwebtoken::decode_header(assertion).unwrap();
    let jwk = keys.find(&head.kid.unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["wiki"]);
    validation.set_issuer(&["https://gateway.test"]);
    let checked =
        decode::<Value>(assertion, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap();
    assert_eq!(checked.claims["sub"], "alice");
    assert_eq!(checked.claims["idp"], rig.issuer.iss());
    assert_eq!(values(&seen, "x-greffier-session"), [checked.claims["sid"].as_str().unwrap()]);
    // Where nothing is signed there are no keys.
    let without = Rig::start();
    let answer = without.curl(&["-o", "/dev/null", "-w", "%{http_code}"], http_proxy::KEYS);
    assert_eq!(answer.text(), "200", "it is the target's path");
}

fn chain(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(&issued.certificate).unwrap();
    (chain.map(Result::unwrap).collect(), PrivateKeyDer::from_pem_file(&issued.key).unwrap())
}

#[test]
fn a_certificate_is_what_a_target_may_want() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.certificate()).unwrap()).unwrap();
    let roots = Arc::new(roots);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = || {
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        builder.with_root_certificates(roots.clone())
    };
    let (certificates, key) = chain(&authority.issue("server", false).unwrap());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        roots.clone(),
        provider.clone(),
    );
    let server = ServerConfig::builder_with_provider(provider.clone());
    let server = server.with_safe_default_protocol_versions().unwrap();
    let server = server.with_client_cert_verifier(verifier.build().unwrap());
    let port = service::start_tls(server.with_single_cert(certificates, key).unwrap());
    let (certificates, key) = chain(&authority.issue("proxy", true).unwrap());
    let known = client().with_client_auth_cert(certificates, key).unwrap();
    let rig = |tls: ClientConfig, name: Option<&'static str>| {
        let tls = Arc::new(tls);
        let change: Change = Box::new(move |target| {
            target.upstream.tls = Some(tls.clone());
            target.upstream.host = "localhost".into();
            target.upstream.server_name = name.map(|it| it.try_into().unwrap());
        });
        Rig::before(port, Plan { change: Some(change), ..Plan::default() })
    };
    let with = rig(known.clone(), None);
    let (seen, token) = seen(&with, &[]);
    assert!(values(&seen, "authorization").is_empty(), "{seen}");
    kept_apart(&with, &seen, &token, "");
    let status = |rig: Rig| rig.curl(&["-o", "/dev/null", "-w", "%{http_code}"], "/x").text();
    assert_eq!(status(rig(client().with_no_client_auth(), None)), "502");
    // Its name is that of its certificate, wherever it is.
    assert_eq!(status(rig(known.clone(), Some("localhost"))), "200");
    assert_eq!(status(rig(known, Some("elsewhere.test"))), "502");
}
