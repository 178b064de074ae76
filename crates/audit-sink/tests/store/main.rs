//! The store: publishing, resuming, faults of the object store, verification.
// Helpers of an integration test are test code, which the lint cannot see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod chunks;
mod faults;
mod google;
mod publish;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3")]
mod s3_server;
mod support;
mod tamper;
mod whole;
