use russh::keys::ssh_key::certificate::CertType;

use super::*;

const NOW: u64 = 1_800_000_000;
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn vouched(until: u64) -> Vouched {
    serde_json::from_value(serde_json::json!({
        "principal": {
            "issuer": "https://idp.example", "subject": "alice", "kind": "human",
            "display": "Alice", "groups": ["ops"], "rule": "corp/people",
        },
        "credential": {
            "sha256": "ab".repeat(32), "class": "at+jwt", "iat": NOW - 60, "exp": NOW + 3600,
        },
        "key_thumbprint": "cd".repeat(32),
        "until": until,
    }))
    .unwrap()
}

struct Rig {
    authority: SecretKey,
    key: SecretKey,
}

impl Rig {
    fn new() -> Rig {
        Rig { authority: SecretKey::generate().unwrap(), key: SecretKey::generate().unwrap() }
    }

    fn mint(&self, principals: &[&str]) -> Certificate {
        let vouched = vouched(NOW + 600);
        let key = self.key.public();
        let what = ForUser { key: &key, principals, vouched: &vouched, serial: 7, now: NOW };
        mint_user(&self.authority, &what).unwrap()
    }

    /// A certificate with everything right but what `change` spoils.
    fn odd(&self, change: impl FnOnce(&mut Builder)) -> Certificate {
        self.odd_in(NOW - 60, NOW + 600, change)
    }

    fn odd_in(&self, after: u64, before: u64, change: impl FnOnce(&mut Builder)) -> Certificate {
        let key = self.key.0.public_key().key_data().clone();
        let mut builder = Builder::new([1; 16], key, after, before).unwrap();
        change(&mut builder);
        builder.sign(&*self.authority.0).unwrap()
    }

    fn check(&self, cert: &Certificate, user: &str) -> Result<Presented, CertError> {
        let authorities = [self.authority.public()];
        check(cert, Checked { authorities: &authorities, now: NOW, user, peer: PEER })
    }
}

/// The options of a certificate of ours.
fn ours(builder: &mut Builder) {
    let carried = serde_json::to_string(&vouched(NOW + 600)).unwrap();
    builder.critical_option(VOUCHED_OPTION, carried).unwrap();
}

fn good(builder: &mut Builder) {
    builder.valid_principal("root+web1").unwrap();
    ours(builder);
}

#[test]
fn what_was_minted_is_believed_for_its_own_name_alone() {
    let rig = Rig::new();
    let cert = rig.mint(&["root+web1"]);
    let presented = rig.check(&cert, "root+web1").unwrap();
    assert_eq!(presented.vouched, vouched(NOW + 600));
    assert_eq!((presented.serial, cert.key_id()), (7, "human alice"));
    for other in ["web1", "root+web2", "root", "Root+web1", "root+web1 ", ""] {
        assert_eq!(rig.check(&cert, other).unwrap_err(), CertError::Principal, "{other}");
    }
    let everywhere = rig.mint(&[ANY_TARGET]);
    assert!(rig.check(&everywhere, "root+web2").is_ok());
    assert!(rig.check(&rig.odd(good), "root+web1").is_ok(), "the tests' own certificate is good");
}

#[test]
fn attack_11_a_stranger_s_authority_counts_for_nothing() {
    let (rig, stranger) = (Rig::new(), Rig::new());
    let cert = stranger.mint(&["root+web1"]);
    assert_eq!(rig.check(&cert, "root+web1").unwrap_err(), CertError::Authority);
    // Its own key as the authority, as one would who has nothing else.
    let own = Rig { authority: stranger.key.clone(), key: stranger.key.clone() };
    let cert = own.mint(&["root+web1"]);
    assert_eq!(rig.check(&cert, "root+web1").unwrap_err(), CertError::Authority);
}

#[test]
fn attack_11_our_name_under_a_stranger_s_signature() {
    let rig = Rig::new();
    let mut bytes = rig.mint(&["root+web1"]).to_bytes().unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let cert = Certificate::from_bytes(&bytes).unwrap();
    assert_eq!(rig.check(&cert, "root+web1").unwrap_err(), CertError::Signature);
}

#[test]
fn attack_11_a_host_s_certificate_is_no_user_s() {
    let rig = Rig::new();
    let cert = rig.odd(|b| {
        good(b);
        b.cert_type(CertType::Host).unwrap();
    });
    assert_eq!(rig.check(&cert, "root+web1").unwrap_err(), CertError::NotAUser);
}

#[test]
fn attack_11_time() {
    let rig = Rig::new();
    let at = |after, before| rig.check(&rig.odd_in(after, before, good), "root+web1").map(drop);
    assert_eq!(at(NOW - 600, NOW), Err(CertError::Expired), "the end itself is over");
    assert_eq!(at(NOW + 1, NOW + 600), Err(CertError::NotYet));
    assert_eq!(at(NOW - 60, NOW + 901), Err(CertError::TooLong));
    assert_eq!(at(0, u64::MAX), Err(CertError::TooLong), "for ever");
    assert_eq!(at(NOW - 60, u64::MAX), Err(CertError::TooLong));
    assert_eq!(at(NOW - 60, NOW + 900), Ok(()));
    // What it carries may end before the certificate does.
    let early = rig.odd(|b| {
        b.valid_principal("root+web1").unwrap();
        let carried = serde_json::to_string(&vouched(NOW)).unwrap();
        b.critical_option(VOUCHED_OPTION, carried).unwrap();
    });
    assert_eq!(rig.check(&early, "root+web1").unwrap_err(), CertError::Expired);
}

#[test]
fn attack_11_principals_with_commas_stars_or_none() {
    let rig = Rig::new();
    for odd in ["root+web1,root+web2", "bob,root+web1", "*", "root+*", "root+web1\0", "a b"] {
        for user in ["root+web1", odd] {
            let cert = rig.odd(|b| {
                b.valid_principal(odd).unwrap();
                ours(b);
            });
            assert_eq!(rig.check(&cert, user).unwrap_err(), CertError::OddPrincipal, "{odd:?}");
        }
    }
    let none = rig.odd(|b| {
        b.all_principals_valid().unwrap();
        ours(b);
    });
    assert_eq!(rig.check(&none, "root+web1").unwrap_err(), CertError::Principal);
    // One odd name spoils the good one beside it.
    let both = rig.odd(|b| {
        good(b);
        b.valid_principal("x,y").unwrap();
    });
    assert_eq!(rig.check(&both, "root+web1").unwrap_err(), CertError::OddPrincipal);
}

#[test]
fn attack_11_critical_options_are_known_or_the_end_of_it() {
    let rig = Rig::new();
    let with = |name: &str, value: &str| {
        let cert = rig.odd(|b| {
            good(b);
            b.critical_option(name, value).unwrap();
        });
        rig.check(&cert, "root+web1").map(drop)
    };
    for name in ["force-command", "verify-required", "no-touch-required", "x@example", ""] {
        assert_eq!(with(name, "id"), Err(CertError::Option(name.into())));
    }
    assert_eq!(with("source-address", "192.0.2.0/24"), Ok(()));
    for list in ["10.0.0.0/8", "", "192.0.2.8", "192.0.2.7/33", "::/0", "0.0.0.0/", "192.0.2.7 "] {
        assert_eq!(with("source-address", list), Err(CertError::Address), "{list}");
    }
    let bare = rig.odd(|b| {
        b.valid_principal("root+web1").unwrap();
    });
    assert_eq!(rig.check(&bare, "root+web1").unwrap_err(), CertError::Unvouched);
}

#[test]
fn addresses_and_networks() {
    let v6: IpAddr = "2001:db8::5".parse().unwrap();
    let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
    assert!(from_one_of("10.0.0.0/8,192.0.2.7", PEER) && from_one_of("192.0.2.7", mapped));
    assert!(from_one_of("0.0.0.0/0", PEER) && !from_one_of("0.0.0.0/0", v6));
    assert!(from_one_of("2001:db8::/32", v6) && !from_one_of("2001:db9::/32", v6));
    assert!(!from_one_of("192.0.2.7/x", PEER) && !from_one_of("nonsense", PEER));
}

#[test]
fn a_host_s_certificate_is_for_the_host_it_names() {
    let rig = Rig::new();
    let authorities = [rig.authority.public()];
    let host = |change: &dyn Fn(&mut Builder)| {
        rig.odd(|b| {
            b.cert_type(CertType::Host).unwrap();
            change(b);
        })
    };
    let good = host(&|b| {
        b.valid_principal("web1").unwrap();
    });
    assert!(is_host(&good, &authorities, "web1", NOW));
    assert!(!is_host(&good, &authorities, "web2", NOW));
    assert!(!is_host(&good, &authorities, "web1", NOW + 600));
    assert!(!is_host(&good, &[rig.key.public()], "web1", NOW));
    assert!(!is_host(&good, &[], "web1", NOW));
    let everybody = host(&|b| {
        b.all_principals_valid().unwrap();
    });
    assert!(!is_host(&everybody, &authorities, "web1", NOW));
    let odd = host(&|b| {
        b.valid_principal("web1").unwrap();
        b.critical_option("x", "").unwrap();
    });
    assert!(!is_host(&odd, &authorities, "web1", NOW));
    let user = rig.odd(|b| {
        b.valid_principal("web1").unwrap();
    });
    assert!(!is_host(&user, &authorities, "web1", NOW));
}
