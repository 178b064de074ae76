//! Whatever a client asks a shell to run: reading it must not panic and must stay bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shell_grammar::{MAX_COMMANDS, MAX_DEPTH, MAX_LINE_BYTES, read};

fuzz_target!(|data: &[u8]| {
    let line = read(data);
    assert!(line.commands.len() <= MAX_COMMANDS);
    let mut bytes = 0;
    for command in &line.commands {
        assert!(command.depth <= MAX_DEPTH);
        bytes += command.joined_with_assignments().len();
    }
    // Each byte is in at most one command of each depth, escaped at most, besides marks and names.
    assert!(bytes <= (usize::from(MAX_DEPTH) + 1).pow(2) * 2 * (MAX_LINE_BYTES + 64));
});
