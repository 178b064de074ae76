//! The first packet of a connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postgres_wire::startup::{self, Opening, Packet};

fuzz_target!(|data: &[u8]| {
    let _ = startup::parse_options(data);
    let Ok(Opening::Packet { packet, total }) = startup::next_packet(data) else { return };
    let _ = format!("{packet:?}");
    let mut out = Vec::new();
    match packet {
        Packet::Startup(s) => startup::write_startup(&mut out, s.version, &s.parameters).unwrap(),
        Packet::Cancel(key) => startup::write_cancel(&mut out, key).unwrap(),
        Packet::SslRequest => startup::write_ssl_request(&mut out),
        Packet::GssEncRequest => return,
    }
    assert_eq!(out, &data[..total]);
});
