//! Nothing that a client or server sends makes the reader panic, and what is read, written and
//! read again is the same; another parser sees the same in what is forwarded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_wire::{
    Headers, Leaf, Limits, List, Message, Version, check_headers, headers, parse, version_over_http,
};

fuzz_target!(|data: &[u8]| {
    let _ = headers::decode(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = records::Trace::read(text, Some(text), Some(text));
        assert_eq!(headers::decode(headers::encode(text).as_bytes()).as_deref(), Some(text));
    }
    let Ok(body) = parse(data, Limits::default()) else { return };
    let written = body.to_bytes();
    let again = parse(&written, Limits::default()).expect("what was written is read");
    assert_eq!(again, body);
    assert_eq!(again.to_bytes(), written);
    // Where another parser reads what came, it reads the same in what is forwarded.
    if let Ok(theirs) = serde_json::from_slice::<serde_json::Value>(data) {
        let ours: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
        assert_eq!(ours, theirs);
    }
    let mcp_wire::Body::One(mut message) = body else { return };
    let _ = (message.meta(), version_over_http(Some(b"2026-07-28"), &message));
    let own = Headers::collect([("mcp-name", &b"x"[..]), ("mcp-param-a", b"1")]).expect("headers");
    let _ = check_headers(&own, &message, Version::V2026_07_28, None);
    match &mut message {
        Message::Request(request) => {
            let _ = (request.method(), request.flatten_arguments());
        }
        Message::Response(response) => {
            let _ = (response.input_requests(), response.result_type());
            for list in [List::Tools, List::Prompts, List::Resources, List::ResourceTemplates] {
                for it in response.definitions(list).unwrap_or_default() {
                    let _ = (it.fingerprint(), it.param_headers());
                }
                let _ = response.filter(list, |it| it.name.len() % 2 == 0);
            }
        }
        Message::Notification(_) => {}
    }
    message.for_each_key(|_, key| (key.len() > 3).then(|| "key".to_owned()));
    message.for_each_leaf(|_, leaf| match leaf {
        Leaf::Text(text) | Leaf::Number(text) => Some(text.chars().rev().collect()),
    });
    mcp_wire::json::parse(
        &message.to_bytes(),
        Limits { bytes: usize::MAX, string_bytes: usize::MAX, ..Limits::default() },
    )
    .expect("masked, it is JSON still");
});
