//! Whatever either end of an sftp session sends: following it must not panic, and never take more
//! than there is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssh_wire::sftp::{Machine, Op, PERMISSION_DENIED, Step};

fuzz_target!(|data: &[u8]| {
    let mut machine = Machine::new();
    // Pieces of the two streams: a byte says whose, and how long.
    let (mut client, mut server) = (Vec::new(), Vec::new());
    let mut rest = data;
    while let Some((&head, after)) = rest.split_first() {
        let (piece, after) = after.split_at(usize::from(head >> 1).min(after.len()));
        rest = after;
        if head & 1 == 0 {
            client.extend_from_slice(piece);
            loop {
                let (taken, refused) = match machine.client(&client) {
                    Err(_) => return,
                    Ok(Step::NeedMore) => break,
                    Ok(Step::Content(bytes)) => (bytes.len(), None),
                    Ok(Step::Packet { bytes, packet }) => {
                        (bytes, matches!(packet.op, Op::Remove { .. }).then_some(packet.id))
                    }
                };
                assert!(taken > 0);
                client.drain(..taken);
                if let Some(id) = refused {
                    machine.refuse(id, PERMISSION_DENIED, "no").expect("it was just asked");
                }
            }
        } else {
            server.extend_from_slice(piece);
            loop {
                let taken = match machine.server(&server) {
                    Err(_) => return,
                    Ok(Step::NeedMore) => break,
                    Ok(Step::Content(bytes)) => bytes.len(),
                    Ok(Step::Packet { bytes, .. }) => bytes,
                };
                assert!(taken > 0);
                server.drain(..taken);
            }
        }
    }
});
