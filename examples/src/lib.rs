//! Programs that embed the crates.
