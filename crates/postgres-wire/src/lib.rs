//! PostgreSQL's frontend/backend protocol: frames, messages and values, without I/O.
