//! What holds for any message.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::collections::HashSet;

use mcp_wire::{
    Id, Leaf, Limits, Lines, Message, Method, Step, Value, flatten, json, parse, parse_one,
};
use proptest::prelude::*;

fn read(text: &str) -> Value {
    json::parse(text.as_bytes(), Limits::default()).unwrap()
}

/// JSON text: with blanks, escapes and every sort of number.
fn text() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        "[ -~]{0,6}".prop_map(|it| serde_json::to_string(&it).unwrap()),
        any::<String>().prop_map(|it| serde_json::to_string(&it).unwrap()),
        "(\\\\u00[0-9a-fA-F]{2}|\\\\[\"\\\\/bfnrt]|\\\\ud83d\\\\uDE00|é|x){0,4}"
            .prop_map(|it| format!("\"{it}\"")),
    ];
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?";
    let word = prop::sample::select(&["null", "true", "false", "[]", "{}"][..]);
    let leaf = prop_oneof![string, number, word.prop_map(str::to_owned)];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = prop_oneof!["[a-c.\\\\]{0,2}", "[^\0]{0,3}"];
        let blank = prop::sample::select(&["", " ", "\n\t\r"][..]);
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..5), blank.clone()).prop_map(
                |(all, blank)| format!("[{blank}{}{blank}]", all.join(&format!("{blank},")))
            ),
            (prop::collection::btree_map(key, inner, 0..5), blank).prop_map(|(all, blank)| {
                let member = |(key, value): (String, String)| {
                    format!("{}{blank}:{blank}{value}", serde_json::to_string(&key).unwrap())
                };
                let all: Vec<String> = all.into_iter().map(member).collect();
                format!("{{{blank}{}}}{blank}", all.join(","))
            }),
        ]
    })
}

fn message() -> impl Strategy<Value = String> {
    let object = || {
        text()
            .prop_map(|it| if it.trim().starts_with('{') { it } else { format!("{{\"v\":{it}}}") })
    };
    let id = prop_oneof!["[1-9][0-9]{0,9}", "\"[a-z0-9-]{0,9}\""];
    let method = prop::sample::select(&["ping", "tools/list", "x/y", "tasks/get"][..]);
    prop_oneof![
        (id.clone(), method, object()).prop_map(|(id, method, params)| format!(
            r#"{{"params":{params},"method":"{method}","id":{id},"jsonrpc":"2.0"}}"#
        )),
        (id.clone(), object()).prop_map(|(id, arguments)| format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"t","arguments":{arguments}}}}}"#
        )),
        object().prop_map(|params| format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/x","params":{params}}}"#
        )),
        (id.clone(), object()).prop_map(|(id, result)| format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
        )),
        (id, text()).prop_map(|(id, data)| format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-1,"message":"m","data":{data}}}}}"#
        )),
    ]
}

/// Messages that are read: some that `message` makes have members in another's case.
fn good() -> impl Strategy<Value = (String, Message)> {
    message().prop_filter_map("refused", |text| {
        let message = parse_one(text.as_bytes(), Limits::default()).ok()?;
        Some((text, message))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    /// What is read is JSON to another parser too, and the same; so is what is written again.
    #[test]
    fn another_parser_agrees(text in text()) {
        let value = read(&text);
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        let written = value.to_bytes();
        prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&written).unwrap(), &theirs);
        let canonical = value.to_canonical();
        prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&canonical).unwrap(), &theirs);
        prop_assert_eq!(&read(std::str::from_utf8(&written).unwrap()), &value);
        // Written again it doesn't change any more.
        prop_assert_eq!(read(std::str::from_utf8(&written).unwrap()).to_bytes(), written);
        prop_assert_eq!(read(std::str::from_utf8(&canonical).unwrap()).to_canonical(), canonical);
    }

    /// A byte changed, added or lost: either refused, or read as another parser reads it.
    #[test]
    fn a_changed_byte_is_refused_or_read_alike(
        text in message(), at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0_u8..3
    ) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        if let Ok(body) = parse(&bytes, Limits::default()) {
            let theirs = serde_json::from_slice::<serde_json::Value>(&bytes);
            // Too large for its floating point; the text passes.
            let large = theirs.as_ref().is_err_and(|it| it.to_string().contains("out of range"));
            if !large {
                let ours: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
                let theirs = theirs.unwrap();
                prop_assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, Limits::default());
    }

    #[test]
    fn what_is_written_is_what_was_read((_, message) in good()) {
        let written = message.to_bytes();
        let again = parse_one(&written, Limits::default()).unwrap();
        prop_assert_eq!(again.to_bytes(), written);
        prop_assert_eq!(&again, &message);
        let line = message.to_line();
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let mut lines = Lines::new(line.len());
        lines.push(&line);
        prop_assert_eq!(parse_one(&lines.next_line().unwrap().unwrap(), Limits::default()), Ok(message));
    }

    /// Members in another order have the same canonical form; any other value has another.
    #[test]
    fn the_canonical_form_knows_no_order(text in text(), other in text()) {
        fn turned(value: &serde_json::Value, out: &mut String) {
            match value {
                serde_json::Value::Object(members) => {
                    out.push('{');
                    for (at, (key, value)) in members.iter().rev().enumerate() {
                        if at > 0 { out.push(','); }
                        out.push_str(&serde_json::to_string(key).unwrap());
                        out.push(':');
                        turned(value, out);
                    }
                    out.push('}');
                }
                serde_json::Value::Array(all) => {
                    out.push('[');
                    for (at, value) in all.iter().enumerate() {
                        if at > 0 { out.push(','); }
                        turned(value, out);
                    }
                    out.push(']');
                }
                leaf => out.push_str(&leaf.to_string()),
            }
        }
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut backwards = String::new();
        turned(&theirs, &mut backwards);
        // As it wrote the numbers.
        let plain = read(&theirs.to_string());
        prop_assert_eq!(read(&backwards).to_canonical(), plain.to_canonical());
        let other: serde_json::Value = serde_json::from_str(&other).unwrap();
        if other != theirs {
            prop_assert_ne!(read(&other.to_string()).to_canonical(), plain.to_canonical());
        }
    }

    /// Every leaf is a field, in order, under its own name.
    #[test]
    fn every_leaf_is_a_field(text in text()) {
        fn count(value: &serde_json::Value) -> usize {
            match value {
                serde_json::Value::Object(it) if !it.is_empty() => it.values().map(count).sum(),
                serde_json::Value::Array(it) if !it.is_empty() => it.iter().map(count).sum(),
                _ => 1,
            }
        }
        let value = read(&text);
        let fields = flatten("body", &value);
        prop_assert!(fields.is_complete());
        prop_assert_eq!(fields.fields.len(), count(&serde_json::from_str(&text).unwrap()));
        prop_assert!(fields.fields.iter().all(|it| it.name == "body" || it.name.starts_with("body.")));
    }

    /// Masking with nothing to mask changes nothing; with everything, it leaves no text.
    #[test]
    fn every_text_is_shown((_, message) in good()) {
        let mut same = message.clone();
        same.for_each_leaf(|_, _| None);
        same.for_each_key(|_, _| None);
        prop_assert_eq!(&same, &message);
        let mut shown = 0;
        let mut masked = message.clone();
        masked.for_each_leaf(|_, leaf| {
            shown += 1;
            match leaf {
                Leaf::Text(_) | Leaf::Number(_) => Some("***".to_owned()),
            }
        });
        // Masked, it may be no valid message any more (a name is `***`), but it is JSON.
        let value = json::parse(&masked.to_bytes(), Limits::default()).unwrap();
        let content = ["params", "result", "error"].iter().find_map(|it| value.as_object()?.get(it));
        let left = content.map(|it| flatten("", it).fields).unwrap_or_default();
        let plain = ["***", "true", "false", "null", "[]", "{}"];
        for field in &left {
            prop_assert!(plain.contains(&field.value), "{:?}", field);
        }
        prop_assert_eq!(left.iter().filter(|it| it.value == "***").count(), shown);
    }

    /// Keys that become the same are told apart, so that no key is there twice.
    #[test]
    fn masked_keys_are_unique((_, message) in good(), fixed in "[a-c~2]{0,3}") {
        let mut masked = message.clone();
        let mut seen = 0;
        masked.for_each_key(|_, key| {
            seen += 1;
            (!key.starts_with('b')).then(|| fixed.clone())
        });
        let value = json::parse(&masked.to_bytes(), Limits::default());
        prop_assert!(value.is_ok(), "{:?}", value);
        if seen == 0 {
            prop_assert_eq!(masked, message);
        }
    }

    #[test]
    fn ids_keep_their_kind(number in -9_007_199_254_740_991_i64..=9_007_199_254_740_991, text in "[ -~]{0,40}") {
        for id in [Id::Number(number), Id::Text(text), Id::Text(number.to_string())] {
            let ping = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let Ok(Message::Request(request)) = parse_one(ping.as_bytes(), Limits::default()) else { panic!() };
            prop_assert_eq!(request.id(), &id);
            prop_assert_eq!(Id::from_value(&id.to_value()), Some(id));
        }
    }
}

#[test]
fn fields_have_the_names_that_rules_write() {
    let text = r#"{"a":{"b":[1,{"c":"x"},[2]],"b.c":true,"\\":null},"e":{},"l":[],"":"y"}"#;
    let value = read(text);
    let fields = flatten("arg", &value);
    let own: Vec<(&str, &str)> = fields.fields.iter().map(|it| (&*it.name, it.value)).collect();
    let want = [
        ("arg.a.b", "1"),
        ("arg.a.b.c", "x"),
        ("arg.a.b", "2"),
        (r"arg.a.b\.c", "true"),
        (r"arg.a.\\", "null"),
        ("arg.e", "{}"),
        ("arg.l", "[]"),
        ("arg.", "y"),
    ];
    assert_eq!(own, want);
}

#[test]
fn paths_say_where_a_text_lies() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"n","_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01","baggage":"run=7,turn=%32","progressToken":"p"},"arguments":{"it's":[4111,"card"]}}}"#;
    let mut message = parse_one(text.as_bytes(), Limits::default()).unwrap();
    let baggage = message.meta().and_then(|meta| meta.get("baggage")).and_then(Value::as_str);
    assert_eq!(baggage, Some("run=7,turn=%32"));
    let mut seen = HashSet::new();
    message.for_each_leaf(|path, leaf| {
        assert_eq!(path.starts_with(&["params", "_meta"]), path.to_string().contains("_meta"));
        assert!(path.starts_with(&["params"]) && !path.starts_with(&["result"]));
        assert!(!path.starts_with(&["params", "a", "b", "c", "d"]));
        seen.insert(path.to_string());
        let second = path.last() == Step::Element(1);
        match leaf {
            Leaf::Number("4111") => Some("****".to_owned()),
            Leaf::Text(text) if second => Some(text.to_uppercase()),
            _ => None,
        }
    });
    assert!(seen.contains(r"$['params']['arguments']['it\'s'][0]") && seen.len() == 6, "{seen:?}");
    let written = String::from_utf8(message.to_bytes()).unwrap();
    assert!(written.contains(r#"{"it's":["****","CARD"]}"#), "{written}");
    let Message::Request(request) = &message else { panic!() };
    assert!(matches!(request.method(), Method::CallTool(call) if call.name == "n"));
}
