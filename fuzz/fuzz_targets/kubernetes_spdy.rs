//! SPDY's frames: however they are cut, and passed on with data put into frames anew, they say the same.
#![no_main]

use kubernetes_wire::spdy::{
    SpdyChannels, SpdyError, SpdyEvent, SpdyFrames, SpdyPart, write_data,
};
use kubernetes_wire::streams::Channel;
use libfuzzer_sys::fuzz_target;

/// All but data; data by stream; what channels carried.
type Said = (Vec<String>, Vec<(u32, u8)>, Vec<(Channel, Option<u8>)>);

fn read(parts: &[&[u8]]) -> (Said, Option<SpdyError>) {
    let (mut frames, mut channels) = (SpdyFrames::new(), SpdyChannels::new());
    let (mut said, mut failed) = (Said::default(), None);
    for part in parts {
        let result = frames.push(part, &mut |event| {
            match &event {
                SpdyEvent::Data { stream, bytes, .. } => {
                    said.1.extend(bytes.iter().map(|it| (*stream, *it)));
                }
                event => said.0.push(format!("{event:?}")),
            }
            if failed.is_none() {
                let result = channels.read(&event, &mut |it| match it.bytes {
                    [] => said.2.push((it.channel, None)),
                    bytes => said.2.extend(bytes.iter().map(|byte| (it.channel, Some(*byte)))),
                });
                failed = result.err();
            }
        });
        if let Err(e) = result {
            return (said, Some(e));
        }
    }
    (said, failed)
}

fn passed_on(stream: &[u8]) -> Option<Vec<u8>> {
    let (mut frames, mut out) = (SpdyFrames::new(), Vec::new());
    let read = frames.push_through(stream, &mut |part| match part {
        SpdyPart::Event(SpdyEvent::Data { stream, fin, bytes }) => {
            write_data(&mut out, stream, fin, bytes);
        }
        SpdyPart::Event(_) => {}
        SpdyPart::Bytes(bytes) => out.extend_from_slice(bytes),
    });
    read.ok().map(|()| out)
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first() else { return };
    let whole = read(&[stream]);
    let (one, two) = stream.split_at(usize::from(*cut).min(stream.len()));
    assert_eq!(read(&[one, two]), whole);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read(&bytes), whole);
    if let Some(passed) = passed_on(stream) {
        assert_eq!(read(&[&passed]).0.1, whole.0.1);
    }
});
