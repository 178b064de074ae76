//! Any document: what comes out has the same structure; any bytes: no panic,
//! and the same however they are cut.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{CARD, all, both, in_pieces, policy, whole};
use http_content::media::Kind;
use proptest::prelude::*;
use serde_json::Value;

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(Value::from("mail jane@example.com")),
        Just(Value::from(CARD)),
        Just(Value::from(CARD.parse::<u64>().unwrap())),
        Just(Value::from("%6a%61%6e%65%40example.com")),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-z\"\\\\é]{0,6}|password", inner), 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// The same but for strings and numbers.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| alike(v, w)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(v, w)| alike(v, w))
        }
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) => true,
        (a, b) => a == b,
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Json),
        Just(Kind::Ndjson),
        Just(Kind::EventStream),
        Just(Kind::Form),
        Just(Kind::Multipart { boundary: b"b".to_vec() }),
        Just(Kind::Text),
        Just(Kind::Unknown),
        Just(Kind::Binary),
    ]
}

/// A small document, of few names and values, so that the same come again with others beside them.
fn line() -> impl Strategy<Value = String> {
    let names = ["a", "note", "password", "phone", "a\\\"b", CARD, "jane@example.com"];
    let values = [
        "\"x\"",
        "\"hunter22\"",
        "\"4155551234\"",
        "4155551234",
        "\"jane@example.com\"",
        "\"amFuZUBleGFtcGxlLmNvbQ==\"",
        "\"2026-01-01T00:00:00Z\"",
        "\"10.0.0.1\"",
        CARD,
        "1",
        "null",
        "[\"hunter22\"]",
    ];
    let member = (prop::sample::select(names.to_vec()), prop::sample::select(values.to_vec()))
        .prop_map(|(name, value)| format!("{{\"{name}\":{value}}}"));
    (prop::sample::select(names.to_vec()), member, any::<bool>()).prop_map(|(name, inner, deep)| {
        if deep { format!("{{\"{name}\":{inner}}}\n") } else { format!("{inner}\n") }
    })
}

/// Pieces that parsers care for.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u00",
        "\\ud83d",
        "data:",
        "data: ",
        "\n",
        "\r\n",
        "\r",
        "\n\n",
        "--b",
        "--b--",
        "\r\n--b\r\n",
        "content-type: application/json",
        "Content-Disposition: form-data; name=a",
        "&",
        "=",
        "%4",
        "%40",
        "+",
        "jane@example.com",
        "4111111111111111",
        "password",
        "1",
        "-",
        "true",
        "null",
        " ",
        "\u{1e}",
        "\0",
        "é",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #[test]
    fn masked_documents_keep_their_structure(doc in document(), pretty in any::<bool>()) {
        let text =
            if pretty { serde_json::to_vec_pretty(&doc) } else { serde_json::to_vec(&doc) }.unwrap();
        for policy in [all(), both()] {
            let (client, record) = whole(&Kind::Json, &policy, &text);
            for out in [client, record] {
                let made: Value = serde_json::from_slice(&out).unwrap();
                prop_assert!(alike(&doc, &made), "{doc} {made}");
                let left = made.to_string();
                prop_assert!(!left.contains("jane@") && !left.contains(CARD), "{left}");
            }
        }
    }

    #[test]
    fn what_was_seen_before_changes_nothing(lines in prop::collection::vec(line(), 0..120)) {
        let hide = "[[rule]]\npaths = [\"$.a.note\", \"$.phone\"]\nclient = { operator = \"null\" }\n\
            [[rule]]\nentity = [\"ALL\"]\nclient = { operator = \"replace\" }\n\
            record = { operator = \"hash\" }";
        for policy in [all(), both(), policy(hide)] {
            let (mut client, mut record) = (Vec::new(), Vec::new());
            for line in &lines {
                let alone = whole(&Kind::Ndjson, &policy, line.as_bytes());
                client.extend(alone.0);
                record.extend(alone.1);
            }
            let together = whole(&Kind::Ndjson, &policy, lines.concat().as_bytes());
            prop_assert_eq!(together, (client, record));
        }
    }

    #[test]
    fn documents_without_findings_are_not_touched(doc in document(), size in 1..50usize) {
        let text = serde_json::to_vec(&doc).unwrap();
        let none = policy("[[rule]]\nentity = [\"CRYPTO\"]\nclient = { operator = \"replace\" }");
        let out = in_pieces(&Kind::Json, &none, text.chunks(size)).unwrap();
        prop_assert_eq!((&out.0, &out.1), (&text, &text));
    }

    #[test]
    fn a_path_rule_leaves_nothing_it_names(doc in document()) {
        let hide = policy("[[rule]]\npaths = [\"$..password\"]\nclient = { operator = \"null\" }");
        let text = serde_json::to_vec(&doc).unwrap();
        let made: Value = serde_json::from_slice(&whole(&Kind::Json, &hide, &text).0).unwrap();
        fn empty(v: &Value) -> bool {
            match v {
                Value::Object(m) => m.values().all(empty),
                Value::Array(a) => a.iter().all(empty),
                v => v.is_null(),
            }
        }
        fn check(v: &Value) -> bool {
            match v {
                Value::Object(m) => m.iter().all(|(k, v)| if k == "password" { empty(v) } else { check(v) }),
                Value::Array(a) => a.iter().all(check),
                _ => true,
            }
        }
        prop_assert!(check(&made), "{made}");
    }

    #[test]
    fn any_cut_of_anything_is_the_same(kind in kinds(), body in body(), cuts in prop::collection::vec(1..9usize, 1..9)) {
        for policy in [all(), both()] {
            let want = in_pieces(&kind, &policy, [&body[..]]);
            let mut pieces = Vec::new();
            let (mut rest, mut turn) = (&body[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (a, b) = rest.split_at((*turn.next().unwrap()).min(rest.len()));
                pieces.push(a);
                rest = b;
            }
            prop_assert_eq!(&in_pieces(&kind, &policy, pieces), &want);
            if let (Ok((client, _)), false) = (&want, kind == Kind::Binary || body.contains(&0)) {
                let left = String::from_utf8_lossy(client).into_owned();
                // Beside letters it is no mailbox of its own, but never whole.
                prop_assert!(!left.contains("\"jane@example.com\""), "{left}");
            }
        }
    }

    #[test]
    fn any_bytes_are_no_panic(kind in kinds(), body in prop::collection::vec(any::<u8>(), 0..300)) {
        for policy in [all(), both()] {
            let want = in_pieces(&kind, &policy, [&body[..]]);
            prop_assert_eq!(&in_pieces(&kind, &policy, body.chunks(1)), &want);
        }
    }
}
