//! The PostgreSQL proxy: handshake, relay, verdicts and masking of one connection.
