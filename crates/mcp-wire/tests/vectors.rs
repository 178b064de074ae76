//! The specification's own examples, of each version.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeSet;

use mcp_wire::{
    Headers, Limits, List, Message, Method, Outcome, ResultType, Version, WireError, check_headers,
    headers, parse_one, version_over_http,
};

const VECTORS: [(Version, &str); 5] = [
    (Version::V2024_11_05, include_str!("vectors/2024-11-05.jsonl")),
    (Version::V2025_03_26, include_str!("vectors/2025-03-26.jsonl")),
    (Version::V2025_06_18, include_str!("vectors/2025-06-18.jsonl")),
    (Version::V2025_11_25, include_str!("vectors/2025-11-25.jsonl")),
    (Version::V2026_07_28, include_str!("vectors/2026-07-28.jsonl")),
];

/// What the specification shows and we refuse: a request whose author forgot the id.
const REFUSED: &str =
    r#"{"jsonrpc":"2.0","method":"resources/list","params":{"cursor":"eyJwYWdlIjogMn0="}}"#;

fn refused(line: &str) -> Option<WireError> {
    parse_one(line.as_bytes(), Limits::default()).err()
}

fn messages() -> impl Iterator<Item = (Version, &'static str, Message)> {
    let all = VECTORS.iter().flat_map(|(version, text)| text.lines().map(|it| (*version, it)));
    all.filter_map(|(version, line)| {
        Some((version, line, parse_one(line.as_bytes(), Limits::default()).ok()?))
    })
}

#[test]
fn all_but_the_named_are_read() {
    let mut found = Vec::new();
    for (version, text) in VECTORS {
        for line in text.lines() {
            if let Some(error) = refused(line)
                && line != REFUSED
            {
                found.push(format!("{} {error}: {line}", version.name()));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn what_is_written_is_what_was_read() {
    for (_, line, message) in messages() {
        let written = message.to_bytes();
        assert_eq!(parse_one(&written, Limits::default()).as_ref(), Ok(&message), "{line}");
        let ours: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(ours, serde_json::from_str::<serde_json::Value>(line).unwrap());
    }
}

#[test]
fn every_method_is_known() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (_, line, message) in messages() {
        let Message::Request(request) = &message else { continue };
        let known = !matches!(request.method(), Method::Other(_));
        assert!(known || request.method_name() == "some_method", "{line}");
        seen.insert(request.method_name().to_owned());
        if let Method::CallTool(call) = request.method() {
            let fields = call.flatten_arguments();
            assert!(fields.is_complete());
            assert_eq!(fields.fields.is_empty(), call.arguments.is_none_or(|it| it.is_empty()));
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
}

#[test]
fn the_stateless_requests_have_their_version_and_headers() {
    let (mut called, mut checked) = (0, 0);
    for (version, line, message) in messages() {
        let Message::Request(request) = &message else { continue };
        if version != Version::V2026_07_28 || message.meta().is_none() {
            continue;
        }
        if message.meta().unwrap().get(mcp_wire::VERSION_META).is_none() {
            continue;
        }
        let name = version.name().as_bytes();
        assert_eq!(version_over_http(Some(name), &message), Ok(version), "{line}");
        let said = match request.method() {
            Method::CallTool(call) | Method::GetPrompt(call) => Some(call.name),
            Method::ReadResource { uri } => Some(uri),
            _ => None,
        };
        let said = said.map(headers::encode);
        let mut all = vec![("Mcp-Method", request.method_name().as_bytes())];
        all.extend(said.iter().map(|it| ("MCP-NAME", it.as_bytes())));
        let own = Headers::collect(all.clone()).unwrap();
        assert_eq!(check_headers(&own, &message, version, None), Ok(()), "{line}");
        for at in 0..all.len() {
            let mut less = all.clone();
            less.remove(at);
            let own = Headers::collect(less).unwrap();
            assert!(check_headers(&own, &message, version, None).is_err(), "{line}");
            checked += 1;
        }
        called += 1;
    }
    assert!(called > 10 && checked > called, "{called} {checked}");
}

#[test]
fn results_are_told_apart() {
    let (mut complete, mut asks, mut errors) = (0, 0, 0);
    for (_, line, message) in messages() {
        let Message::Response(response) = &message else { continue };
        match response.outcome() {
            Outcome::Error(_) => errors += 1,
            Outcome::Result(_) => match response.result_type().unwrap() {
                ResultType::Complete => complete += 1,
                ResultType::InputRequired => {
                    asks += 1;
                    for request in response.input_requests().unwrap() {
                        assert!(!matches!(request.method(), Method::Other(_)), "{line}");
                    }
                }
                ResultType::Other(_) => assert!(line.contains("\"task\""), "{line}"),
            },
        }
    }
    assert!(complete > 20 && asks > 0 && errors > 5, "{complete} {asks} {errors}");
}

#[test]
fn what_the_official_clients_send_passes() {
    for text in
        [include_str!("vectors/python-sdk.jsonl"), include_str!("vectors/typescript-sdk.jsonl")]
    {
        passes(text);
    }
}

fn passes(text: &str) {
    let mut lines = text.lines();
    let list = parse_one(lines.next().unwrap().as_bytes(), Limits::default()).unwrap();
    let Message::Response(list) = list else { panic!() };
    let tools = list.definitions(List::Tools).unwrap();
    let mut params = 0;
    for line in lines {
        let sent: serde_json::Value = serde_json::from_str(line).unwrap();
        let message =
            parse_one(sent["body"].as_str().unwrap().as_bytes(), Limits::default()).unwrap();
        let all: Vec<(&str, &[u8])> = sent["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it[0].as_str().unwrap(), it[1].as_str().unwrap().as_bytes()))
            .collect();
        let check = |all: &[(&str, &[u8])]| {
            let own = Headers::collect(all.iter().copied()).unwrap();
            let version = version_over_http(own.version(), &message).map_err(|_| ())?;
            let called = match &message {
                Message::Request(request) => match request.method() {
                    Method::CallTool(call) => tools.iter().find(|it| it.name == call.name),
                    _ => None,
                },
                _ => None,
            };
            let schema = called.map(|it| it.param_headers().unwrap());
            check_headers(&own, &message, version, schema.as_ref()).map_err(|_| ())
        };
        assert_eq!(check(&all), Ok(()), "{line}");
        // Each header counts: with another value, or without it, the request is refused.
        for at in 0..all.len() {
            let stateless = all.iter().any(|it| it.1 == b"2026-07-28");
            let (mut other, mut less) = (all.clone(), all.clone());
            other[at].1 = b"other";
            less.remove(at);
            let counts = stateless && all[at].0 != "mcp-session-id";
            assert_eq!(check(&other).is_err(), counts || all[at].0 == "mcp-protocol-version");
            assert_eq!(check(&less).is_err(), counts, "{line}");
            params += usize::from(all[at].0.starts_with("mcp-param-"));
        }
    }
    assert!(params > 10, "{params}");
}
