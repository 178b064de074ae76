//! The frame codec: never panics, and what it accepts seals back to the same bytes.
#![no_main]

use audit_sink::frame::{Frame, push_record, records_offset, seal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The checksum would keep a fuzzer out: the second try repairs it.
    check(data);
    let mut repaired = data.to_vec();
    if let Ok(len) = Frame::stated_len(&repaired)
        && let Some(frame) = repaired.get_mut(..len)
    {
        let crc = crc32c::crc32c(&frame[12..]);
        frame[8..12].copy_from_slice(&crc.to_be_bytes());
        check(&repaired);
    }
});

fn check(data: &[u8]) {
    let Ok(frame) = Frame::decode(data) else { return };
    let base = frame.base();
    let mut buf = vec![0; records_offset(base.is_some())];
    for (at, entry) in frame.records() {
        assert_eq!(data[at..].get(..entry.len()), Some(entry));
        assert!(push_record(&mut buf, entry));
    }
    let link = seal(&mut buf, frame.header(), base.as_deref()).unwrap();
    assert_eq!(link, frame.link());
    assert_eq!(buf, data[..frame.len()]);
}
