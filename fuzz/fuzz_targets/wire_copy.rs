//! COPY streams: the same result whole and in two pieces; what replaces a field reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postgres_wire::copy::{CopyError, CopyFormat, CopyRewriter};
use postgres_wire::mask::CellOutcome;

fn pass(format: &CopyFormat, pieces: &[&[u8]], new: &[u8]) -> Result<(Vec<u8>, u64), CopyError> {
    let (mut rewriter, mut out) = (CopyRewriter::new(format.clone()), Vec::new());
    let mut f = |column: usize, _: &[u8], out: &mut Vec<u8>| {
        if column % 2 == 0 {
            return CellOutcome::Same;
        }
        out.extend_from_slice(new);
        CellOutcome::Replaced
    };
    for piece in pieces {
        rewriter.push(piece, &mut f, &mut out)?;
    }
    rewriter.finish()?;
    Ok((out, rewriter.rows()))
}

fuzz_target!(|data: &[u8]| {
    let Some((&[kind, at, len], stream)) = data.split_first_chunk::<3>() else { return };
    let format = match kind % 5 {
        0 => CopyFormat::text(),
        1 => CopyFormat::csv(),
        2 => CopyFormat::Binary,
        3 => CopyFormat::Text { delimiter: b'|', null: b"nil".to_vec(), header: true },
        _ => {
            let (delimiter, quote, escape) = (b';', b'\'', b'\\');
            CopyFormat::Csv { delimiter, quote, escape, null: b"nil".to_vec(), header: true }
        }
    };
    let new = &stream[..stream.len().min(usize::from(len))];
    let (a, b) = stream.split_at(stream.len().min(usize::from(at)));
    let whole = pass(&format, &[stream], new);
    assert_eq!(whole, pass(&format, &[a, b], new));
    // Masking a masked stream changes nothing: what was put in reads as one field.
    if let Ok((out, rows)) = whole {
        assert_eq!(pass(&format, &[&out], new), Ok((out, rows)));
    }
});
