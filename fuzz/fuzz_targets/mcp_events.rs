//! However a stream is cut, it holds the same events; written again, they are the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_wire::{Event, Events, Lines, WireError};

fn events(pieces: &[&[u8]]) -> Result<Vec<Event>, WireError> {
    let (mut events, mut out) = (Events::new(512), Vec::new());
    for piece in pieces {
        events.push(piece);
        while let Some(event) = events.next_event()? {
            out.push(event);
        }
    }
    Ok(out)
}

fn lines(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, WireError> {
    let (mut lines, mut out) = (Lines::new(64), Vec::new());
    for piece in pieces {
        lines.push(piece);
        while let Some(line) = lines.next_line()? {
            out.push(line);
        }
    }
    lines.finish().map(|()| out)
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first() else { return };
    let whole = events(&[stream]);
    let (one, two) = stream.split_at(usize::from(*cut).min(stream.len()));
    assert_eq!(events(&[one, two]), whole);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(events(&bytes), whole);
    assert_eq!(lines(&bytes).is_ok(), lines(&[stream]).is_ok());
    if let Ok(found) = whole {
        let written: Vec<u8> = found.iter().flat_map(Event::to_bytes).collect();
        let mut again = Events::new(usize::MAX);
        again.push(&written);
        for event in found {
            assert_eq!(again.next_event(), Ok(Some(event)));
        }
        assert_eq!(again.next_event(), Ok(None));
    }
});
