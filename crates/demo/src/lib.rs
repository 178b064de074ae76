//! The demonstration: an agent, a target, a proxy and a log in one process.
