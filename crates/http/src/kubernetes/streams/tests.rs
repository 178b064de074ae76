//! What the client is to see of a command, frame by frame.

use std::sync::Arc;

use http::header::SEC_WEBSOCKET_PROTOCOL;
use kubernetes_wire::spdy::{SpdyEvent, SpdyFrames, write_data};
use kubernetes_wire::streams::{
    Channels, WebSocketEvent, WebSocketFrames, write_control, write_message,
};
use masking::Policy;
use stdio_recorder::Options;
use terminal::frames::Reader;

use super::*;

/// What Kubernetes' own client writes; it begins with the five streams of an exec: 1 is the error's,
/// 5 stdout's, 7 stderr's.
const SPDY: &[u8] = include_bytes!("../../../../kubernetes-wire/tests/spdystream.bin");
const STATUS: &[u8] = br#"{"metadata":{},"status":"Success"}"#;

fn recorder() -> Recorder {
    let text = r#"
        version = 1
        [[rule]]
        entity = ["CREDIT_CARD"]
        client = { operator = "replace" }
        record = { operator = "replace" }
    "#;
    let policy = Policy::compile(&toml::from_str(text).unwrap(), None).unwrap();
    Recorder::new(&Arc::new(policy), Options { mask_client: true, ..Options::default() })
}

fn by_spdy() -> Streams {
    let mut streams = Streams::of(Next::Spdy, &HeaderMap::new(), recorder()).unwrap();
    let (mut rest, mut record) = (SPDY, Vec::new());
    for _ in 0..5 {
        let length = rest[5..8].iter().fold(8, |sum, it| sum + usize::from(*it));
        let (frame, more) = rest.split_at(length);
        streams.take(Side::Client, frame, &mut record).unwrap();
        rest = more;
    }
    streams
}

fn by_websocket(subprotocol: Subprotocol) -> Streams {
    let mut fields = HeaderMap::new();
    fields.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol.name()));
    Streams::of(Next::WebSocket, &fields, recorder()).unwrap()
}

/// What the client sees of this.
fn seen(streams: &mut Streams, said: &[u8]) -> Vec<u8> {
    streams.take(Side::Server, said, &mut Vec::new()).unwrap().unwrap()
}

/// Each stream's data, and which streams ended, in order.
fn spdy(bytes: &[u8]) -> Vec<(u32, String)> {
    let mut all: Vec<(u32, String)> = Vec::new();
    let read = SpdyFrames::new().push(bytes, &mut |event| {
        let SpdyEvent::Data { stream, fin, bytes } = event else { return };
        if !bytes.is_empty() {
            all.push((stream, String::from_utf8_lossy(bytes).into_owned()));
        }
        if fin {
            all.push((stream, "END".to_owned()));
        }
    });
    read.unwrap();
    all
}

fn data(stream: u32, fin: bool, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_data(&mut out, stream, fin, bytes);
    out
}

#[test]
fn a_stream_of_spdy_ends_behind_what_was_held_back_of_it_alone() {
    let mut streams = by_spdy();
    let mut shown = seen(&mut streams, &data(7, false, b"half 4111 1111 "));
    shown.extend(seen(&mut streams, &data(5, true, b"card 4111 1111 1111 1111\n")));
    let want = [(5, "card <CREDIT_CARD>\n"), (5, "END")];
    assert_eq!(spdy(&shown), want.map(|(stream, text)| (stream, text.to_owned())));
    let mut shown = seen(&mut streams, &data(7, false, b"1111 1111\n"));
    shown.extend(seen(&mut streams, &data(1, false, STATUS)));
    shown.extend(seen(&mut streams, &data(1, true, &[])));
    let status = std::str::from_utf8(STATUS).unwrap();
    let want = [(7, "half <CREDIT_CARD>\n"), (1, status), (1, "END")];
    assert_eq!(spdy(&shown), want.map(|(stream, text)| (stream, text.to_owned())));
    assert_eq!(streams.exit().as_deref(), Some("0"));
}

/// Each message's channel and bytes; `None` for a control frame.
fn messages(subprotocol: Subprotocol, bytes: &[u8]) -> Vec<Option<(Channel, String)>> {
    let (mut all, mut channels) = (Vec::new(), Channels::new(subprotocol));
    let mut message = Vec::new();
    let read = WebSocketFrames::new(Side::Server).push(bytes, &mut |event| {
        let WebSocketEvent::Data(piece) = event else { return all.push(None) };
        let read = channels.push(piece, &mut |it| {
            message.extend_from_slice(it.bytes);
            if it.last {
                let text = String::from_utf8(std::mem::take(&mut message)).unwrap();
                all.push(Some((it.channel, text)));
            }
        });
        read.unwrap();
    });
    read.unwrap();
    all
}

#[test]
fn messages_are_whole_and_in_order_wherever_they_are_cut() {
    for subprotocol in [Subprotocol::V5, Subprotocol::V4, Subprotocol::V4Base64] {
        let mut said = Vec::new();
        for channel in [Channel::Stdout, Channel::Error] {
            write_message(&mut said, subprotocol, channel, &[]);
        }
        write_message(&mut said, subprotocol, Channel::Stdout, b"card 4111 1111 ");
        write_message(&mut said, subprotocol, Channel::Stdout, b"1111 1111\n");
        write_control(&mut said, &WebSocketEvent::Ping(b"there?"));
        write_message(&mut said, subprotocol, Channel::Stderr, b"oh\n");
        write_message(&mut said, subprotocol, Channel::Error, STATUS);
        write_control(&mut said, &WebSocketEvent::Close { code: Some(1000), reason: "" });
        let text =
            |channel, text: &[u8]| Some((channel, String::from_utf8_lossy(text).into_owned()));
        let want = [
            text(Channel::Stdout, b""),
            text(Channel::Error, b""),
            None,
            text(Channel::Stdout, b"card <CREDIT_CARD>\n"),
            text(Channel::Stderr, b"oh\n"),
            text(Channel::Error, STATUS),
            None,
        ];
        for cut in 0..said.len() {
            let (one, two) = said.split_at(cut);
            let mut streams = by_websocket(subprotocol);
            let mut shown = seen(&mut streams, one);
            shown.extend(seen(&mut streams, two));
            assert_eq!(messages(subprotocol, &shown), want, "{subprotocol:?} {cut}");
        }
    }
}

#[test]
fn what_came_before_what_can_t_be_read_is_on_record() {
    let mut streams = by_websocket(Subprotocol::V5);
    let mut said = Vec::new();
    write_message(&mut said, Subprotocol::V5, Channel::Stdout, &[b'x'; 4000]);
    said.extend([0x82, 1, 77]);
    let mut record = Vec::new();
    assert!(streams.take(Side::Server, &said, &mut record).is_err());
    streams.end(("cut", "garbled"), &mut record);
    let mut reader = Reader::new();
    record.iter().for_each(|frame| reader.push(frame));
    let mut kept = 0;
    while let Some(frame) = reader.next().unwrap() {
        kept += frame.bytes.len();
    }
    assert_eq!(kept, 4000);
}
