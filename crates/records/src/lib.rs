//! The schema of the log's entries.
