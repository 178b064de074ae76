use super::oauth::{Initial, OauthError, parse_initial};
use super::scram::ScramClient;
use super::*;
use proptest::prelude::*;

// RFC 7677 section 3.
const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn rfc_client() -> ScramClient {
    ScramClient::with_nonce(b"pencil", ChannelBinding::NotSupported, NONCE.into())
}

#[test]
fn scram_rfc_7677_example() {
    let mut client = rfc_client();
    let reply = client.answer(&format!("n=user,r={NONCE}"), SERVER_FIRST.as_bytes()).unwrap();
    assert_eq!(reply, CLIENT_FINAL);
    client.on_server_final(SERVER_FINAL.as_bytes()).unwrap();
}

#[test]
fn scram_impostor_is_found() {
    let mut client = rfc_client();
    client.answer(&format!("n=user,r={NONCE}"), SERVER_FIRST.as_bytes()).unwrap();
    let forged = SERVER_FINAL.replacen("v=6", "v=7", 1);
    assert_eq!(client.on_server_final(forged.as_bytes()), Err(AuthError::ServerNotProven));
    assert_eq!(rfc_client().on_server_final(SERVER_FINAL.as_bytes()), Err(AuthError::OutOfTurn));
}

#[test]
fn attack_05_scram_iterations_are_bounded() {
    let hostile = SERVER_FIRST.replace("i=4096", "i=4000000000");
    assert_eq!(
        rfc_client().on_server_first(hostile.as_bytes()),
        Err(AuthError::TooManyIterations(4_000_000_000))
    );
    for bad in ["i=0", "i=-1", "i=", "i=99999999999"] {
        let hostile = SERVER_FIRST.replace("i=4096", bad);
        assert!(rfc_client().on_server_first(hostile.as_bytes()).is_err(), "{bad}");
    }
    let long = format!("{SERVER_FIRST},x={}", "a".repeat(scram::MAX_SERVER_MESSAGE));
    assert!(rfc_client().on_server_first(long.as_bytes()).is_err());
}

#[test]
fn scram_foreign_nonce_is_refused() {
    for bad in ["r=abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "m=x,r=a,s=YQ==,i=1", ""] {
        assert!(rfc_client().on_server_first(bad.as_bytes()).is_err(), "{bad}");
    }
    let unextended = format!("r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert!(rfc_client().on_server_first(unextended.as_bytes()).is_err());
}

fn login(methods: Methods) -> Login {
    Login::new(b"u", Some(Secret::new("p")), methods, ChannelBinding::NotSupported)
}

#[test]
fn attack_03_downgrades_are_refused() {
    for request in [
        Authentication::Ok,
        Authentication::CleartextPassword,
        Authentication::Md5Password(*b"salt"),
        Authentication::Other(7),
        Authentication::SaslFinal(b"v="),
        Authentication::SaslContinue(b""),
    ] {
        assert!(login(Methods::SCRAM).on(&request).is_err(), "{request:?}");
    }
    // AuthenticationOk in the middle of SCRAM: the server has proved nothing.
    let mut l = login(Methods::ANY);
    let body = b"\0\0\0\x0aSCRAM-SHA-256\0\0";
    let Ok(crate::backend::Message::Authentication(sasl)) = crate::backend::parse(b'R', body)
    else {
        panic!()
    };
    assert!(matches!(l.on(&sasl), Ok(Step::Send(_))));
    assert_eq!(l.on(&Authentication::Ok), Err(AuthError::OutOfTurn));
}

#[test]
fn scram_plus_is_chosen_when_offered_and_possible() {
    let both = crate::backend::parse(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    let plain = crate::backend::parse(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    for (offer, bound, header) in [
        (both, true, "SCRAM-SHA-256-PLUS\0|p=tls-server-end-point,,"),
        (both, false, "SCRAM-SHA-256\0|n,,"),
        (plain, true, "SCRAM-SHA-256\0|y,,"),
    ] {
        let Ok(crate::backend::Message::Authentication(sasl)) = offer else { panic!() };
        let binding = if bound {
            ChannelBinding::EndPoint(vec![7; 32])
        } else {
            ChannelBinding::NotSupported
        };
        let mut l = Login::new(b"u", Some(Secret::new("p")), Methods::SCRAM, binding);
        let Ok(Step::Send(frame)) = l.on(&sasl) else { panic!() };
        let (name, gs2) = header.split_once('|').unwrap();
        let body = &frame.expose()[5..];
        assert!(body.starts_with(name.as_bytes()));
        assert!(body[name.len() + 4..].starts_with(gs2.as_bytes()), "{header}");
    }
}

#[test]
fn md5_known_answer() {
    // By md5sum(1).
    let got = md5::response(b"alice", b"secret", *b"abcd");
    assert_eq!(got, b"md5c90bcafc0a2b54511742383e34d5dc9d".to_vec());
}

#[test]
fn end_point_needs_a_hash() {
    let cert = |oid: &[u8]| {
        let mut der = vec![0x30, (2 + 4 + oid.len()) as u8, 0x30, 0, 0x30, oid.len() as u8 + 2];
        der.extend([6, oid.len() as u8]);
        der.extend(oid);
        der
    };
    let len = |oid: &[u8]| match scram::end_point(&cert(oid)) {
        Some(ChannelBinding::EndPoint(h)) => h.len(),
        _ => 0,
    };
    assert_eq!(len(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]), 32);
    assert_eq!(len(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5]), 32);
    assert_eq!(len(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]), 48);
    assert_eq!(len(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13]), 64);
    assert_eq!(len(&[0x2b, 0x65, 0x70]), 0, "Ed25519");
}

#[test]
fn oauth_forms() {
    assert_eq!(
        parse_initial(b"n,,\x01auth=Bearer abc.def-_~+/==\x01\x01"),
        Ok(Initial::Token(b"abc.def-_~+/=="))
    );
    assert_eq!(
        parse_initial(b"y,,\x01host=db\x01port=5432\x01auth=bearer  x\x01\x01"),
        Ok(Initial::Token(b"x"))
    );
    assert_eq!(parse_initial(b"n,,\x01auth=\x01\x01"), Ok(Initial::Discovery));
    assert_eq!(parse_initial(b"p=tls,,\x01\x01"), Err(OauthError::ChannelBinding));
    assert_eq!(
        parse_initial(b"n,a=root,\x01auth=Bearer x\x01\x01"),
        Err(OauthError::AuthorizationIdentity)
    );
    for bad in [
        &b""[..],
        b"n,,",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer x\x01",
        b"n,,\x01auth=Bearer x\x01\x01tail",
        b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01",
        b"n,,\x01auth=Basic x\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01auth=Bearer =\x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"n,,\x01auth=Bearer a\x00\x01\x01",
        b"n,,\x01x1=y\x01\x01",
    ] {
        assert_eq!(parse_initial(bad), Err(OauthError::Malformed), "{bad:?}");
    }
}

#[test]
fn oauth_failure_is_json() {
    let json = oauth::failure("invalid_token", "https://i/\"x\"\n", "a b");
    assert_eq!(
        String::from_utf8(json).unwrap(),
        r#"{"status":"invalid_token","openid-configuration":"https://i/\"x\"\u000a","scope":"a b"}"#
    );
    assert!(oauth::is_acknowledged(b"\x01") && !oauth::is_acknowledged(b"\x01\x01"));
}

#[test]
fn secrets_are_not_shown() {
    let l = login(Methods::ANY);
    assert!(!format!("{l:?}").contains("[112]"), "{l:?}");
    assert_eq!(format!("{:?}", parse_initial(b"n,,\x01auth=Bearer x\x01\x01")), "Ok(Token(***))");
}

proptest! {
    #[test]
    fn oauth_never_panics(data: Vec<u8>) {
        let _ = parse_initial(&data);
    }

    #[test]
    fn scram_never_panics(data: Vec<u8>) {
        let _ = rfc_client().on_server_first(&data);
    }
}
