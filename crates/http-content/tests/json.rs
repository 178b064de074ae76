//! JSON bodies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{CARD, all, both, every_split, in_pieces, policy, seen, whole};
use http_content::media::Kind;
use http_content::{ContentError, MAX_DEPTH, MAX_STRING};

fn json(body: &str) -> String {
    seen(&Kind::Json, &all(), body)
}

#[test]
fn values_are_masked_where_they_lie() {
    for (body, want) in [
        (r#"{"a":"x jane@example.com y"}"#, r#"{"a":"x <EMAIL_ADDRESS> y"}"#),
        (r#" [ "jane@example.com" , 1 ] "#, r#" [ "<EMAIL_ADDRESS>" , 1 ] "#),
        (r#""jane@example.com""#, r#""<EMAIL_ADDRESS>""#),
        (r#"{"jane@example.com":1}"#, r#"{"<EMAIL_ADDRESS>":1}"#),
        (r#"{"a":"jane\u0040example.com"}"#, r#"{"a":"<EMAIL_ADDRESS>"}"#),
        (r#"{"password":"hunter"}"#, r#"{"password":"<AUTH_SECRET>"}"#),
        (r#"{"password":"\"hun\nter\\\"x"}"#, r#"{"password":"<AUTH_SECRET>"}"#),
        (r#"{"password":"ab cd, ef"}"#, r#"{"password":"<AUTH_SECRET>"}"#),
        (r#"{"password":null,"b":""}"#, r#"{"password":null,"b":""}"#),
        (r#"{"password" : [ "hunter" ] }"#, r#"{"password" : [ "<AUTH_SECRET>" ] }"#),
        (r#"{"pass\u0077ord":"hunter"}"#, r#"{"pass\u0077ord":"<AUTH_SECRET>"}"#),
        (
            "{\"password\"\n\n\n\n\n\n\n\n\n\n:\"hunter\"}",
            "{\"password\"\n\n\n\n\n\n\n\n\n\n:\"<AUTH_SECRET>\"}",
        ),
        (r#"{"a":"q\"jane@example.com\"\n"}"#, r#"{"a":"q\"<EMAIL_ADDRESS>\"\n"}"#),
        (
            r#"{"a":{},"b":[],"c":null,"d":true,"e":-1.5e3}"#,
            r#"{"a":{},"b":[],"c":null,"d":true,"e":-1.5e3}"#,
        ),
    ] {
        assert_eq!(json(body), want, "{body}");
    }
}

#[test]
fn card_numbers_stay_numbers() {
    for body in [format!("{{\"n\":{CARD}}}"), "[4.111111111111111e15]".to_owned(), CARD.to_owned()]
    {
        let out = json(&body);
        assert!(!out.contains("411111111111111"), "{out}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap();
    }
}

#[test]
fn what_is_encoded_once_more_is_found() {
    use base64::Engine as _;
    let coded = base64::engine::general_purpose::STANDARD.encode("card: 4111 1111 1111 1111");
    for (value, want) in [
        (coded.clone(), "<CREDIT_CARD>".to_owned()),
        (format!("data:text/plain;base64,{coded}"), "<CREDIT_CARD>".to_owned()),
        ("jane%40example.com%20".to_owned(), "<EMAIL_ADDRESS>".to_owned()),
        (r#"{\"mail\":\"jane\\u0040example.com\"}"#.to_owned(), "<EMAIL_ADDRESS>".to_owned()),
    ] {
        let body = format!("{{\"data\":\"{value}\"}}");
        assert_eq!(json(&body), format!("{{\"data\":\"{want}\"}}"), "{body}");
    }
    let inner = r#"{"t":"{\"mail\": \"jane@example.com\", \"n\": 1}"}"#;
    assert_eq!(json(inner), r#"{"t":"{\"mail\": \"<EMAIL_ADDRESS>\", \"n\": 1}"}"#);
}

#[test]
fn long_strings_stream() {
    for pad in [MAX_STRING - 40, MAX_STRING, MAX_STRING + 5, 3 * MAX_STRING] {
        let body = format!(
            "{{\"a\":\"{}\\n jane\\u0040example.com \\u00e9{}\",\"b\":\"joe@example.org\"}}",
            "x ".repeat(pad / 2),
            "\\/y ".repeat(2000)
        );
        let out = json(&body);
        assert!(
            out.contains("<EMAIL_ADDRESS> \\u00e9\\/y") || out.contains("<EMAIL_ADDRESS> é/y"),
            "{pad}"
        );
        assert!(out.ends_with("\"b\":\"<EMAIL_ADDRESS>\"}"));
        for size in [1000, 4096, MAX_STRING + 1] {
            let cut = in_pieces(&Kind::Json, &all(), body.as_bytes().chunks(size)).unwrap();
            assert!(cut.0 == out.as_bytes() && cut.1 == out.as_bytes(), "{pad} {size}");
        }
    }
}

#[test]
fn long_base64_is_masked_inside() {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    for pad in 0..3 {
        let text = format!(
            "{}{} jane@example.com {}",
            "-".repeat(pad),
            "some file's line\n".repeat(6000),
            "and more of it\n".repeat(900)
        );
        let body = format!("{{\"blob\":\"{}\",\"n\":1}}", engine.encode(&text).replace('/', "\\/"));
        let out = json(&body);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        let plain = engine.decode(value["blob"].as_str().unwrap()).unwrap();
        let plain = String::from_utf8(plain).unwrap();
        assert!(!plain.contains("jane") && plain.contains("<EMAIL_ADDRESS>"), "{pad}");
        assert!(
            plain.as_bytes().starts_with(&text.as_bytes()[..90_000])
                && plain.ends_with("and more of it\n")
        );
        for size in [1000, MAX_STRING + 3] {
            let cut = in_pieces(&Kind::Json, &all(), body.as_bytes().chunks(size)).unwrap();
            assert!(cut.0 == out.as_bytes() && cut.1 == out.as_bytes(), "{pad} {size}");
        }
    }
    let clean = format!("[\"{}\\n==\\ud83d\\ude00 x\"]", "QUJD\\/\\n".repeat(20_000));
    assert_eq!(json(&clean), clean);
    let mixed = format!("[\"{} jane@example.com\"]", "QUJD".repeat(20_000));
    assert!(json(&mixed).ends_with(" <EMAIL_ADDRESS>\"]"));
}

#[test]
fn client_and_record_have_their_own() {
    let body = br#"{"a":"jane@example.com","b":"plain"}"#;
    let (client, record) = whole(&Kind::Json, &both(), body);
    assert_eq!(client, br#"{"a":"****************","b":"plain"}"#);
    assert_eq!(record, br#"{"a":"<EMAIL_ADDRESS>","b":"plain"}"#);
    every_split(&Kind::Json, &both(), body);
}

#[test]
fn what_is_no_json_is_masked_as_text() {
    for body in [
        r#"{"a":1,} jane@example.com"#,
        r#"{'a': 'jane@example.com'}"#,
        r#"[1 "jane@example.com"]"#,
        r#"{"a":"jane@example.com"#,
        r#"{"a":1}}{"jane@example.com"#,
        r#"[nul,"jane@example.com"]"#,
        r#"{"a" "jane@example.com"}"#,
        "\u{feff}{\"a\":\"jane@example.com\"}",
        "]jane@example.com",
    ] {
        let out = json(body);
        assert!(out.contains("<EMAIL_ADDRESS>") && !out.contains("jane"), "{body}: {out}");
        every_split(&Kind::Json, &all(), body.as_bytes());
    }
    let deep =
        format!("{}\"jane@example.com\"{}", "[".repeat(MAX_DEPTH + 9), "]".repeat(MAX_DEPTH + 9));
    assert!(json(&deep).contains("[\"<EMAIL_ADDRESS>\"]"));
}

#[test]
fn any_cut_is_the_same() {
    let body = r#"  {"a\"b":[1,-2.5e+3,true,false,null,"caf\u00e9 \ud83d\ude00 jane@example.com"],
        "password": "x\\y\"z", "card": 4111111111111111, "o":{"mail\u0040x":{}, "": [[]]},
        "n": "amFuZUBleGFtcGxlLmNvbQ==" , "end": 0}  "#;
    for policy in [all(), both()] {
        every_split(&Kind::Json, &policy, body.as_bytes());
    }
}

#[test]
fn path_rules() {
    let rules = policy(
        r#"
        [[rule]]
        paths = ["$.open"]
        client = { operator = "keep" }
        [[rule]]
        paths = ["$.user.ssn", "$.list[1:3]", "$..deep"]
        client = { operator = "replace", new_value = "X" }
        [[rule]]
        paths = ["$.gone", "$['a b'][*].c"]
        client = { operator = "null" }
        record = { operator = "replace", new_value = "\"" }
        [[rule]]
        entity = ["ALL"]
        client = { operator = "redact" }
        "#,
    );
    let body = r#"{"user":{"ssn":"1","name":"n"},"list":[1,2,[3,{"k":true}],4],"q":[{"deep":{"v":null,"w":"s"}}],
        "gone":{"x":"y"},"a b":[{"c":5},{"d":6}],"open":"jane@example.com","shut":"jane@example.com","use\u0072":{"s\u0073n":2}}"#;
    let want = r#"{"user":{"ssn":"X","name":"n"},"list":[1,"X",["X",{"k":"X"}],4],"q":[{"deep":{"v":null,"w":"X"}}],
        "gone":{"x":null},"a b":[{"c":null},{"d":6}],"open":"jane@example.com","shut":"","use\u0072":{"s\u0073n":"X"}}"#;
    assert_eq!(seen(&Kind::Json, &rules, body), want);
    let record = whole(&Kind::Json, &rules, body.as_bytes()).1;
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["gone"]["x"], "\"");
    every_split(&Kind::Json, &rules, body.as_bytes());
    let long = format!("{{\"user\":{{\"ssn\":\"{}\\\"z\"}},\"n\":1}}", "5".repeat(2 * MAX_STRING));
    assert_eq!(seen(&Kind::Json, &rules, &long), r#"{"user":{"ssn":"<MASKED>"},"n":1}"#);
}

#[test]
fn path_rules_refuse_what_is_no_json() {
    let deny = "[[rule]]\npaths = [\"$.a\"]\nclient = { operator = \"redact\" }";
    let cut = in_pieces(&Kind::Json, &policy(deny), [&b"{'a':'secret'}"[..]]);
    assert!(matches!(cut, Err(ContentError::NotJson(_))), "{cut:?}");
    let null = format!("on_unmaskable = \"null\"\n{deny}");
    let (client, _) = whole(&Kind::Json, &policy(&null), b"[{'a':'secret'}]");
    assert_eq!(client, b"[{null");
}

#[test]
fn sequences_go_record_by_record() {
    let body =
        "{\"a\":\"jane@example.com\"}\n{broken jane@example.com\n\u{1e}[\"jane@example.com\"]\n\n7";
    let want =
        "{\"a\":\"<EMAIL_ADDRESS>\"}\n{broken <EMAIL_ADDRESS>\n\u{1e}[\"<EMAIL_ADDRESS>\"]\n\n7";
    assert_eq!(seen(&Kind::Ndjson, &all(), body), want);
    every_split(&Kind::Ndjson, &all(), body.as_bytes());
}

#[test]
fn a_record_is_given_out_with_its_newline() {
    use http_content::{BodyMasker, Sides, media::Charset};
    let mut masker = BodyMasker::new(&Kind::Ndjson, Charset::Ascii, &all(), Sides::Both).unwrap();
    let (mut client, mut record) = (Vec::new(), Vec::new());
    masker.push(b"{\"a\":1}\n", &mut client, &mut record).unwrap();
    assert_eq!((client.as_slice(), record.as_slice()), (&b"{\"a\":1}\n"[..], &b"{\"a\":1}\n"[..]));
}

#[test]
fn json_under_another_name() {
    let body = "{\"a\":\"jane\\u0040example.com\"}";
    for kind in [Kind::Text, Kind::Unknown] {
        assert_eq!(seen(&kind, &all(), body), "{\"a\":\"<EMAIL_ADDRESS>\"}");
        every_split(&kind, &all(), body.as_bytes());
    }
    assert_eq!(seen(&Kind::Text, &all(), "[x] jane@example.com"), "[x] <EMAIL_ADDRESS>");
}
