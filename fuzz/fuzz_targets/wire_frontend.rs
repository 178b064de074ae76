//! A client's stream: frames, then each message. What is read must be written back
//! to the same bytes, or the proxy and the server could disagree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postgres_wire::frame::{Framed, Limits, next_frame};
use postgres_wire::frontend::{self, Message};
use postgres_wire::{Side, auth, write};

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(Framed::Frame { tag, body, total }) =
        next_frame(rest, Side::Frontend, &Limits::DEFAULT)
    {
        let frame = &rest[..total];
        rest = &rest[total..];
        if let Ok(message) = frontend::parse(tag, body) {
            let _ = format!("{message:?}");
            check(&message, frame);
        }
    }
});

fn check(message: &Message<'_>, frame: &[u8]) {
    let mut out = Vec::new();
    let written = match message {
        Message::Query(sql) => write::query(&mut out, sql),
        Message::Parse(m) => {
            let types: Vec<u32> = m.types.iter().collect();
            write::parse(&mut out, m.name, m.query, &types)
        }
        Message::Bind(m) => {
            let formats: Vec<_> = m.parameter_formats.iter().collect();
            let results: Vec<_> = m.result_formats.iter().collect();
            let values: Vec<_> = m.parameters.iter().collect();
            write::bind(&mut out, m.portal, m.statement, &formats, &values, &results)
        }
        Message::Describe(t) => write::describe(&mut out, *t),
        Message::Close(t) => write::close(&mut out, *t),
        Message::Execute(m) => write::execute(&mut out, m.portal, m.max_rows),
        Message::Password(p) => {
            let _ = p.cleartext();
            if let Ok(initial) = p.sasl_initial() {
                let _ = initial.response.map(auth::oauth::parse_initial);
            }
            return;
        }
        _ => return,
    };
    written.expect("what was read can be written");
    assert_eq!(out, frame);
}
