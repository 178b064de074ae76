use super::*;
use proptest::prelude::*;

fn header(seq: u64, first_index: u64, count: u32) -> Header {
    Header {
        seq,
        epoch: 3,
        first_index,
        count,
        released: 0,
        closed: false,
        log_id_hash: [7; 32],
        prev: [8; 32],
        root: [9; 32],
        signature: [10; 64],
    }
}

fn build(entries: &[Vec<u8>], first_index: u64, base: bool) -> Vec<u8> {
    let mut buf = vec![0xAA; records_offset(base)];
    for e in entries {
        assert!(push_record(&mut buf, e));
    }
    let peaks: Vec<[u8; 32]> = (0..first_index.count_ones() as u8).map(|i| [i + 1; 32]).collect();
    let h = header(5, first_index, entries.len() as u32);
    seal(&mut buf, &h, base.then_some(peaks.as_slice())).unwrap();
    buf
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_is_read_back(
        entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..40),
        first_index in 0u64..1 << 40,
        base: bool,
        tail in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut bytes = build(&entries, first_index, base);
        prop_assert!(bytes.len().is_multiple_of(BLOCK));
        let len = bytes.len();
        bytes.extend_from_slice(&tail);
        let frame = Frame::decode(&bytes).unwrap();
        prop_assert_eq!(frame.len(), len);
        prop_assert_eq!(*frame.header(), header(5, first_index, entries.len() as u32));
        prop_assert_eq!(frame.base().map(|b| b.len()), base.then_some(first_index.count_ones() as usize));
        let back: Vec<Vec<u8>> = frame.records().map(|(at, e)| {
            assert_eq!(&bytes[at..at + e.len()], e);
            e.to_vec()
        }).collect();
        prop_assert_eq!(back, entries);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..9000), magic: bool) {
        let mut bytes = bytes;
        if magic && bytes.len() > 16 {
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[12..16].copy_from_slice(&4096u32.to_be_bytes());
        }
        if let Ok(frame) = Frame::decode(&bytes) {
            let _ = frame.records().count();
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = build(&[vec![1; 100], vec![], vec![2; 900]], 0b1011, true);
    for at in 0..bytes.len() {
        for bit in [0x01u8, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            assert!(Frame::decode(&changed).is_err(), "byte {at}");
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = build(&[vec![1; 5000]], 4, false);
    for len in 0..bytes.len() {
        assert!(Frame::decode(&bytes[..len]).is_err(), "length {len}");
    }
    assert!(Frame::decode(&bytes).is_ok());
}

#[test]
fn an_entry_over_the_limit_is_not_pushed() {
    let mut buf = Vec::new();
    assert!(push_record(&mut buf, &vec![0; MAX_ENTRY]));
    let len = buf.len();
    assert!(!push_record(&mut buf, &vec![0; MAX_ENTRY + 1]));
    assert_eq!(buf.len(), len);
}

/// The layout is a promise to every log already on disk: this test says when it
/// changed. The expected bytes are written from the table in the module's doc.
#[test]
fn the_layout_is_as_documented() {
    let bytes = build(&[b"ab".to_vec()], 3, false);
    assert_eq!(bytes.len(), 4096);
    assert_eq!(&bytes[..8], b"GRFRAME1");
    assert_eq!(bytes[8..12], crc32c::crc32c(&bytes[12..]).to_be_bytes());
    assert_eq!(bytes[12..16], 4096u32.to_be_bytes());
    assert_eq!(bytes[16..20], 1u32.to_be_bytes());
    assert_eq!(bytes[20..24], 4u32.to_be_bytes());
    assert_eq!(bytes[24..32], [0; 8]);
    assert_eq!(bytes[32..40], 5u64.to_be_bytes());
    assert_eq!(bytes[40..48], 3u64.to_be_bytes());
    assert_eq!(bytes[48..56], 3u64.to_be_bytes());
    assert_eq!(bytes[56..64], 4u64.to_be_bytes());
    assert_eq!(bytes[64..80], [0; 16]);
    assert_eq!(bytes[80..112], [7; 32]);
    assert_eq!(bytes[112..144], [8; 32]);
    assert_eq!(bytes[144..176], [9; 32]);
    assert_eq!(bytes[176..240], [10; 64]);
    assert_eq!(bytes[240..244], *b"\0\x02ab");
    assert!(bytes[244..].iter().all(|b| *b == 0));
}
