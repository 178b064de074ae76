//! Each detector, by hand: what it must find and what it must leave alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use masking::{Entity, OperatorConfig};

/// Every `[...]` in a case is one expected finding; the brackets are no part
/// of the text.
fn check(entity: Entity, cases: &[&str]) {
    let policy = common::all(OperatorConfig::named("redact"));
    for case in cases {
        let mut text = String::new();
        let mut want = Vec::new();
        for c in case.chars() {
            match c {
                '⟦' => want.push((text.len(), 0)),
                '⟧' => want.last_mut().unwrap().1 = text.len(),
                c => text.push(c),
            }
        }
        let found: Vec<(usize, usize)> = policy
            .analyze(text.as_bytes())
            .filter(|f| f.entity == entity)
            .map(|f| (f.start, f.end))
            .collect();
        assert_eq!(found, want, "{entity:?} in {text:?}");
    }
}

#[test]
fn cards() {
    check(
        Entity::CreditCard,
        &[
            "⟦4111111111111111⟧",
            "⟦4111 1111 1111 1111⟧ 12/27",
            "⟦4111-1111-1111-1111⟧",
            "⟦4111.1111.1111.1111⟧",
            "⟦4111\u{a0}1111\u{a0}1111\u{a0}1111⟧",
            "⟦3782 822463 10005⟧",
            "⟦378282246310005⟧",
            "⟦3056 930902 5904⟧",
            "a,⟦5555555555554444⟧,b",
            "⟦6304219447607087665⟧",
            "é⟦4111111111111111⟧é",
            "⟦4111111111111111⟧.",
            // wrong checksum
            "4111111111111112",
            // right checksum, part of something else
            "x4111111111111111",
            "4111111111111111x",
            "blk_-4111111111111111",
            "41111111111111114",
            // stitched out of two cells or lines
            "4111 1111\t1111 1111",
            "41111111\n11111111",
            // two separators, mixed separators
            "4111--1111--1111--1111",
            "4111 1111-1111 1111",
            // no issuer, nothing but one digit
            "9111111111111111",
            "0000000000000000",
            // an epoch and a year
            "1117838978 2005",
        ],
    );
}

#[test]
fn ibans() {
    check(
        Entity::IbanCode,
        &[
            "⟦DE89370400440532013000⟧",
            "⟦DE89 3704 0044 0532 0130 00⟧",
            "⟦de89370400440532013000⟧.",
            "to ⟦AL47-2121-1009-0000-0002-3569-8741⟧ now",
            "⟦GB29 NWBK 6016 1331 9268 19⟧ X",
            "DE89370400440532013001",
            "DE8937040044053201300",
            "XDE89370400440532013000",
            "DE893704004405320130001",
            "ZZ89370400440532013000",
            "DE89  3704 0044 0532 0130 00",
        ],
    );
}

#[test]
fn mailboxes() {
    check(
        Entity::EmailAddress,
        &[
            "⟦jane.doe@example.com⟧.",
            "<⟦jane+tag@mail.example.co.uk⟧>",
            "to=⟦o'brien@example.org⟧,",
            "⟦müller@müller.example⟧",
            "mailto:⟦a@b.io⟧?subject=x",
            "⟦\"jane doe\"@example.com⟧",
            "jane@localhost",
            "@example.com",
            "icon@2x.png",
            "pkg@1.2.3",
            "a@-b.com",
            "jane.@example.com",
        ],
    );
}

#[test]
fn passwords_and_what_is_called_a_secret() {
    check(
        Entity::AuthSecret,
        &[
            "postgres://app:⟦s3cr%2Fet⟧@db.example:5432/x",
            "redis://:⟦hunter2⟧@cache:6379",
            "https://jane:⟦p@ss⟧@db.example.com/",
            "password=⟦hunter2⟧ host=x",
            "jdbc:postgresql://h/db?user=a&password=⟦hunter2⟧&ssl=true",
            "PGPASSWORD=⟦correcthorse⟧",
            "db_passwd: ⟦Tr0ub4dor_3⟧",
            r#"{"password":"⟦a\"b, c⟧","x":1}"#,
            r#""{\"password\": \"⟦hunter two⟧\"}""#,
            "ALTER ROLE x PASSWORD '⟦it''s me⟧' LOGIN",
            "password := '⟦x1⟧'",
            "Authorization: Bearer ⟦c2VjcmV0LXRva2Vu+/x==⟧",
            "Authorization: Basic ⟦YWxhZGRpbjpvcGVuc2VzYW1l⟧",
            "client_secret = \"⟦0123456789abcdef⟧\"",
            "secret: ⟦9f86d081884c7d659a2f⟧",
            "X-Api-Key: ⟦9f86d081884c7d659a2f⟧",
            // nobody's password
            "password: must have eight characters",
            "Password: Please enter it",
            "password = getPassword()",
            "password: ${DB_PASSWORD}",
            "password=******** host=x",
            "if password == stored",
            "the passwords of 12 users",
            "password: null",
            "www.example.com",
            "http://host:8080/?mail=jane@example.com",
            "ssh://git@host/x",
            "next_page_token: 9f86d081884c7d659a2f",
            "commit: 9f86d081884c7d659a2f",
            "secret: /var/run/secrets0/kubernetes0io1",
        ],
    );
    // A short cell takes a short cut.
    let policy = common::all(OperatorConfig::named("replace"));
    for (cell, kept) in
        [("password=hunter", 9), ("PASSWORD 'hunter'", 10), ("4111111111111111.", 0)]
    {
        let masked = common::masked(&policy, cell.as_bytes());
        assert_eq!(masked.get(..kept), cell.as_bytes().get(..kept));
        assert_eq!(masked.get(kept), Some(&b'<'), "{cell}");
    }
    // A URL's password is no mailbox.
    let masked = common::masked(&policy, b"postgres://jane:hunter2@db.example.com/x");
    assert_eq!(masked, b"postgres://jane:<AUTH_SECRET>@db.example.com/x");
    // However long it is, and whatever is in it.
    for value in ["x1".repeat(5000), "jane@example.com".into(), "4111111111111111 ".repeat(300)] {
        let text = format!("before password=\"{value}\" after");
        let masked = common::masked(&policy, text.as_bytes());
        let masked = String::from_utf8(masked).unwrap();
        let kept = masked.strip_prefix("before password=\"<").unwrap();
        assert!(kept.ends_with(">\" after") && kept.len() < 40, "{masked}");
        for cut in 0..text.len().min(900) {
            let (a, b) = text.as_bytes().split_at(cut);
            assert_eq!(common::streamed(&policy, [a, b]), masked.as_bytes(), "{cut}");
        }
    }
}

#[test]
fn phones() {
    check(
        Entity::PhoneNumber,
        &[
            "⟦+49 30 1234567⟧",
            "⟦+14155550132⟧",
            "⟦+41 (0)62 585 51 90⟧",
            "⟦(415) 555-0132⟧",
            "⟦415-555-0132⟧",
            "⟦1-415-555-0132⟧",
            "⟦+1-604-696-5272x565⟧",
            "⟦03.93.92.16.85⟧",
            "phone: ⟦9498777106⟧",
            "⟦9761 9808⟧ office",
            // dates, times, money, plain numbers
            "2014-04-12 04:04",
            "12.04.2014",
            "9498777106",
            "650+253+1234",
            "415-555-0132-7777",
            "1.234567890",
            "2024-01-02 03:04:05.123456+01",
            "call me in 5 or 10",
        ],
    );
}

#[test]
fn social_security_numbers() {
    check(
        Entity::UsSsn,
        &[
            "⟦536-22-1234⟧",
            "⟦536 22 1234⟧",
            "⟦536.22.1234⟧",
            "ssn ⟦536221234⟧",
            "536221234",
            "000-22-1234",
            "666-22-1234",
            "900-22-1234",
            "536-00-1234",
            "536-22-0000",
            "536-22 1234",
            "536-22-12345",
            "1-536-22-1234",
            "x536-22-1234",
        ],
    );
}

#[test]
fn addresses() {
    check(
        Entity::IpAddress,
        &[
            "⟦10.0.0.1⟧",
            "⟦10.0.0.0/8⟧.",
            "⟦10.0.0.0⟧/123",
            "⟦192.168.1.1⟧, ⟦10.0.0.1⟧, ⟦2001:db8::1⟧",
            "[⟦2001:db8::1⟧]:8080",
            "⟦::ffff:127.0.0.1⟧",
            "⟦1::⟧",
            "⟦fe80::1%eth0⟧",
            "⟦684D:1111:222:3333:4444:5555:6:77⟧",
            "256.1.1.1",
            "1.2.3",
            "1.2.3.4.5",
            "v1.2.3.4",
            "std::vec::Vec",
            "'1'::text",
            "10::int",
            "12:34:56",
            "aa:bb:cc:dd:ee:ff",
        ],
    );
    check(
        Entity::MacAddress,
        &[
            "⟦00:1A:2B:3C:4D:5E⟧",
            "⟦00-1a-2b-3c-4d-5e⟧",
            "⟦0012.3456.789A⟧",
            "at ⟦01 02 03 04 05 ab⟧ now",
            "⟦01:02:03:04:05:06:07:08⟧",
            "01:02:03:04:05:06:07",
            "01:02:03:04:05:z0",
            "10:2F:33-AC-29-C3",
            "01 02 03 04 05 06",
        ],
    );
}

#[test]
fn secrets() {
    let github = format!("⟦ghp_{}⟧ x", "a1B2c3D4e".repeat(4));
    check(Entity::GithubToken, &[&github, "ghp_short1234567890", "xghp_"]);
    let aws = format!("id=⟦AKIA{}⟧", "Q7X2".repeat(4));
    check(Entity::AwsAccessKey, &[&aws, "AKIAabcdefghijklmnop", "AKIAQ7X2Q7X2Q7X2Q7X2A"]);
    let slack = format!("⟦xoxb-{}-{}-{}⟧", "1".repeat(10), "2".repeat(11), "aB3".repeat(8));
    check(Entity::SlackToken, &[&slack]);
    check(
        Entity::Jwt,
        &[
            "Bearer ⟦eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl⟧ x",
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        ],
    );
    let pem = format!("a ⟦{}⟧\nb", common::pem().trim_end());
    check(Entity::PemKey, &[&pem, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"]);
    check(
        Entity::Crypto,
        &[
            "⟦16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ⟧",
            "⟦bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq⟧",
            "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyY",
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mda",
        ],
    );
}

#[test]
fn a_checksum_alone_is_not_certainty() {
    let policy = common::all(OperatorConfig::named("redact"));
    let score = |t: &str| policy.analyze(t.as_bytes()).next().unwrap().score;
    assert!(score("5555 5555 5555 4444") >= 1.0);
    assert!(score("5555555555554444") < 1.0);
    assert!(score("6304219447607087665") < 0.8);
}

#[test]
fn a_uuid_holds_no_number_and_what_stands_beside_it_is_found() {
    check(
        Entity::PhoneNumber,
        &["12345678-4155-5501-2345-678901234567", "3f2504e0-4155-5501-9a0c-0305e82c3301"],
    );
    check(
        Entity::CreditCard,
        &[
            "3f2504e0-4f89-41d3-9a0c-0305e8233010 ⟦4111 1111 1111 1111⟧",
            "⟦4111 1111 1111 1111⟧ 3f2504e0-4f89-41d3-9a0c-0305e8233010",
            "3F2504E0-4F89-41D3-9A0C-030512345678,⟦4111-1111-1111-1111⟧",
            "1\t12345678-1234-1234-1234-123456789012\t⟦4111111111111111⟧\t1.5",
            // no UUID: more groups than a card has
            "12345678-4111-1111-1111-1111 ⟦4111-1111-1111-1111⟧",
        ],
    );
    check(Entity::UsSsn, &["12345678-1234-1234-1234-123456789012 ⟦536-22-1234⟧"]);
}

proptest::proptest! {
    #[test]
    fn no_uuid_is_masked(digits in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}") {
        let policy = common::all(OperatorConfig::named("redact"));
        let numbers = [Entity::CreditCard, Entity::PhoneNumber, Entity::UsSsn];
        let found: Vec<_> = policy
            .analyze(format!("a\t{digits}\tb").as_bytes())
            .filter(|f| numbers.contains(&f.entity))
            .collect();
        proptest::prop_assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn no_uuid_of_digits_is_masked(digits in "[0-9]{8}(-[0-9]{4}){3}-[0-9]{12}") {
        let policy = common::all(OperatorConfig::named("redact"));
        proptest::prop_assert_eq!(policy.analyze(digits.as_bytes()).next(), None);
    }

    /// A run is read once, from its ninth digit: what it hides behind zeros or ahead of more
    /// digits is told as before.
    #[test]
    fn a_run_longer_than_a_card_is_none(zeros in 1usize..40, more in 1usize..40) {
        let policy = common::all(OperatorConfig::named("redact"));
        let text = format!("{}4111111111111111{}", "0".repeat(zeros + 4), "0".repeat(more + 4));
        let cards = policy.analyze(text.as_bytes()).filter(|f| f.entity == Entity::CreditCard);
        proptest::prop_assert_eq!(cards.count(), 0);
    }
}
