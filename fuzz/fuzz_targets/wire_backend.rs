//! A server's stream: frames, then each message; rows and diagnostics are rewritten.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postgres_wire::Side;
use postgres_wire::auth::{ChannelBinding, Login, Methods, Secret};
use postgres_wire::backend::{self, Message};
use postgres_wire::frame::{Framed, Limits, next_frame};
use postgres_wire::mask::{CellOutcome, RowOutcome, RowRewriter, rewrite_diagnostic};

fuzz_target!(|data: &[u8]| {
    let password = Some(Secret::new("pencil"));
    let mut login = Login::new(b"user", password, Methods::ANY, ChannelBinding::NotSupported);
    let mut rest = data;
    while let Ok(Framed::Frame { tag, body, total }) =
        next_frame(rest, Side::Backend, &Limits::DEFAULT)
    {
        rest = &rest[total..];
        let Ok(message) = backend::parse(tag, body) else { continue };
        let _ = format!("{message:?}");
        match message {
            // The nonce is random: an exchange never gets as far as the costly rounds.
            Message::Authentication(request) => drop(login.on(&request)),
            Message::RowDescription(t) => assert_eq!(t.columns().count(), t.len()),
            Message::NegotiateProtocolVersion(v) => {
                assert_eq!(v.unknown_options().count(), v.len());
            }
            Message::DataRow(row) => {
                let mut out = Vec::new();
                let outcome = RowRewriter::new().rewrite(body, &mut out, |i, _, out| {
                    out.push(b'x');
                    if i % 2 == 0 { CellOutcome::Replaced } else { CellOutcome::Same }
                });
                if outcome == Ok(RowOutcome::Rewritten) {
                    assert_eq!(backend::DataRow::read(&out[5..]).unwrap().len(), row.len());
                }
            }
            Message::ErrorResponse(d) | Message::NoticeResponse(d) => {
                let mut out = Vec::new();
                let _ = rewrite_diagnostic(tag, &d, &mut out, |_, _, out| {
                    out.push(b'x');
                    CellOutcome::Replaced
                });
                let _ = d.sqlstate();
                if !out.is_empty() {
                    backend::parse(out[0], &out[5..]).unwrap();
                }
            }
            _ => {}
        }
    }
});
