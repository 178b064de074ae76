//! Whatever either end of an old scp's transfer sends: following it must not panic, never take
//! more than there is, and never give a name that leaves its directory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssh_wire::rcp::{Machine, Source, Step};

fuzz_target!(|data: &[u8]| {
    let mut machine = Machine::new();
    // Pieces of the two streams: a byte says whose, and how long.
    let (mut source, mut sink) = (Vec::new(), Vec::new());
    let mut rest = data;
    while let Some((&head, after)) = rest.split_first() {
        let (piece, after) = after.split_at(usize::from(head >> 1).min(after.len()));
        rest = after;
        if head & 1 == 0 { source.extend_from_slice(piece) } else { sink.extend_from_slice(piece) }
        loop {
            let (answered, refused) = match machine.sink(&sink) {
                Err(_) => return,
                Ok(Step::NeedMore) => (0, false),
                Ok(Step::Event { bytes, .. }) => (bytes, false),
            };
            sink.drain(..answered);
            let (said, refused) = match machine.source(&source) {
                Err(_) => return,
                Ok(Step::NeedMore) => (0, refused),
                Ok(Step::Event { bytes, event }) => {
                    assert!(bytes > 0);
                    let name = match event {
                        Source::File { name, .. } | Source::Directory { name, .. } => name,
                        _ => b"x",
                    };
                    assert!(!name.is_empty() && name != b"." && name != b"..");
                    assert!(!name.contains(&b'/') && !name.contains(&0));
                    (bytes, name == b"no")
                }
            };
            source.drain(..said);
            if refused {
                // An answer that came too early may have been its answer.
                let _done = machine.refuse();
            }
            if answered + said == 0 {
                break;
            }
        }
    }
});
