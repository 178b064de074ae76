//! The log: durable segments, Merkle tiles, checkpoints, object storage, verification.

pub mod store;
