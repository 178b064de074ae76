//! Packets of SSH's connection layer, and what their kinds say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssh_wire::packet::{self, Packet, write};

fuzz_target!(|data: &[u8]| {
    let Ok(read) = packet::parse(data) else { return };
    let _ = format!("{read:?}");
    let again = match read {
        Packet::Open { kind, sender, window, max_packet, rest } => {
            let _ = packet::DirectTcpip::parse(rest);
            let _ = packet::ForwardedTcpip::parse(rest);
            let _ = packet::X11Open::parse(rest);
            let _ = packet::DirectStreamLocal::parse(rest);
            let _ = packet::ForwardedStreamLocal::parse(rest);
            write::open(kind, sender, window, max_packet, rest)
        }
        Packet::Request { recipient, kind, want_reply, rest } => {
            let _ = packet::PtyReq::parse(rest);
            let _ = packet::WindowChange::parse(rest);
            let _ = packet::X11Req::parse(rest);
            let _ = packet::Env::parse(rest);
            let _ = packet::Line::parse(rest);
            let _ = packet::Signal::parse(rest);
            let _ = packet::ExitStatus::parse(rest);
            let _ = packet::ExitSignal::parse(rest);
            write::request(recipient, kind, want_reply, rest)
        }
        Packet::GlobalRequest { kind, want_reply, rest } => {
            let _ = packet::TcpipForward::parse(rest);
            let _ = packet::StreamLocalForward::parse(rest);
            write::global_request(kind, want_reply, rest)
        }
        Packet::Data { recipient, data } => write::data(recipient, data),
        Packet::ExtendedData { recipient, code, data } => {
            write::extended_data(recipient, code, data)
        }
        _ => return,
    };
    assert_eq!(again.len(), data.len());
    assert_eq!(packet::parse(&again), Ok(read));
});
