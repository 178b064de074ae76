//! WebSocket frames and the channels in them: however they are cut, they say the same.
#![no_main]

use kubernetes_wire::streams::{
    Channel, Channels, ExitStatus, Side, Sizes, Subprotocol, WebSocketEvent, WebSocketFrames,
};
use libfuzzer_sys::fuzz_target;

/// What whole messages and control frames said.
type Said = Vec<(Option<Channel>, Vec<u8>)>;

/// What was said, and whether the stream is refused: for what, of several faults, depends on the
/// cuts.
fn read(side: Side, subprotocol: Subprotocol, parts: &[&[u8]]) -> (Said, bool) {
    let (mut frames, mut channels) = (WebSocketFrames::new(side), Channels::new(subprotocol));
    let (mut exit, mut sizes) = (ExitStatus::default(), Sizes::default());
    let (mut out, mut bytes, mut failed) = (Said::new(), Vec::new(), false);
    for part in parts {
        let result = frames.push(part, &mut |event| match event {
            WebSocketEvent::Data(piece) => {
                let result = channels.push(piece, &mut |event| {
                    bytes.extend_from_slice(event.bytes);
                    match event.channel {
                        Channel::Error => exit.push(event.bytes),
                        Channel::Resize => drop(sizes.push(event.bytes)),
                        _ => {}
                    }
                    if event.last {
                        out.push((Some(event.channel), std::mem::take(&mut bytes)));
                    }
                });
                failed |= result.is_err();
            }
            WebSocketEvent::Ping(it) | WebSocketEvent::Pong(it) => out.push((None, it.to_vec())),
            WebSocketEvent::Close { reason, .. } => out.push((None, reason.into())),
        });
        failed |= result.is_err();
        if result.is_err() {
            break;
        }
    }
    let _ = exit.exit();
    (out, failed)
}

fuzz_target!(|data: &[u8]| {
    let [head, cut, stream @ ..] = data else { return };
    let side = if head & 1 == 0 { Side::Client } else { Side::Server };
    let all = [Subprotocol::V5, Subprotocol::V4, Subprotocol::V4Base64];
    let subprotocol = all[usize::from(head >> 1) % 3];
    let whole = read(side, subprotocol, &[stream]);
    let (one, two) = stream.split_at(usize::from(*cut).min(stream.len()));
    assert_eq!(read(side, subprotocol, &[one, two]), whole);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read(side, subprotocol, &bytes), whole);
});
