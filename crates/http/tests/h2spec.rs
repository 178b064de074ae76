//! h2spec against the proxy: what HTTP/2 demands of a server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use rig::{Rig, service};
use testbed::{h2spec, require};

/// Without TLS one port is for HTTP/1.1 too: what does not begin as HTTP/2 is read as that, and
/// answered with 400 where this case waits for a frame.
const READ_AS_HTTP_1: &str = "http2/3.5 Sends invalid connection preface";

#[test]
fn http2_is_spoken_as_h2spec_wants_it() {
    // The library alone, so that it is known what is ours.
    let Some(direct) = require(h2spec(service::start(), "/")) else { return };
    let rig = Rig::start();
    let through = h2spec(rig.port, "/").unwrap();
    assert!(through.len() > 140, "{} cases", through.len());
    assert_eq!(through.keys().collect::<Vec<_>>(), direct.keys().collect::<Vec<_>>());
    assert!(direct.iter().all(|(name, wrong)| wrong.is_none() || name == READ_AS_HTTP_1));
    let wrong: Vec<_> = through.iter().filter(|(_, wrong)| wrong.is_some()).collect();
    let [(name, Some(why))] = &wrong[..] else { panic!("{wrong:#?}") };
    assert!(*name == READ_AS_HTTP_1 && why.contains("looked like an HTTP/1.1 header"), "{why}");
    println!("{} of {} cases", through.len() - 1, through.len());
}
