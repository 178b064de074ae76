//! The log alone: every line of standard input becomes an entry that is durable and signed, then
//! the log is published to a folder and verified from there, trusting nothing in it.
//!
//! ```text
//! $ printf 'alice opened the safe\nbob closed it\n' | audit_alone /tmp/safe
//! 0: on record
//! 1: on record
//! 2 entries verified with example.org/safe+7b62c0e2+AZ…
//! ```
//!
//! Run again with the same folder, it goes on where it ended. `store/` in the folder is a C2SP
//! tlog-tiles log that other people's tools can check.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use audit_sink::store::{Publisher, PublisherConfig, Store, VerifyOptions, verify};
use audit_sink::{Log, LogConfig};
use tlog::Signer;

/// The log's name, which its key carries and its checkpoints begin with.
const ORIGIN: &str = "example.org/safe";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: audit_alone FOLDER")?);
    std::fs::create_dir_all(folder.join("store"))?;

    // Whoever has this key can write another past. Keep it where entries are not kept.
    let key = folder.join("key.pkcs8");
    let signer = if key.exists() {
        Signer::from_pkcs8(ORIGIN, &std::fs::read(&key)?)?
    } else {
        let made = Signer::generate(ORIGIN)?;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&key)?;
        file.write_all(made.to_pkcs8()?.expose())?;
        made
    };

    // The ring: files of fixed size, filled with zeros once, so that a flush writes data only.
    let mut config = LogConfig::new(folder.join("ring"), "safe-1");
    (config.segments, config.segment_bytes) = (2, 256 * 1024);
    let (log, found) = Log::open(config, signer.clone())?;

    // The store; an URL such as s3://bucket/prefix works as well. The epoch is our claim to be
    // the one writer: a second process with this log is refused.
    let store = Store::open(&folder.join("store").to_string_lossy())?.log("safe-1")?;
    let head = (found.size, found.root);
    let epoch = store.claim_epoch(&signer, head, "audit_alone").await?;
    let mut config = PublisherConfig::new(head);
    config.epoch = Some(epoch.number);
    let source = Arc::new(log.clone());
    let publisher = Publisher::start(store.clone(), source, signer.clone(), config).await?;

    for line in std::io::stdin().lines() {
        let ticket = log.append(line?.as_bytes())?;
        // Until this returns, nothing may rely on the entry. Many tasks that wait at the same
        // time share one flush.
        log.wait_durable(ticket.index).await?;
        println!("{}: on record", ticket.index);
    }

    publisher.seal().await?;
    log.close()?;
    let report = verify(&store, signer.verifier(), &VerifyOptions::default()).await?;
    for failure in &report.failures {
        println!("{failure}");
    }
    println!("{} entries verified with {}", report.entries, signer.verifier());
    if report.is_ok() { Ok(()) } else { Err("the store is not what was signed".into()) }
}
