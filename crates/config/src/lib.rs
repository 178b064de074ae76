//! greffier.toml: one file, every error at once, with its line.
