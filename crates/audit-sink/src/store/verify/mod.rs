//! Verification of a whole log, from the entries up, trusting nothing in the store.
//!
//! The caller brings the log's key (and so its origin), and if possible a checkpoint it remembers:
//! without one, a cut tail or an older copy of the store cannot be told from the truth by anybody.

mod report;
mod walk;

use std::collections::BTreeMap;

use tlog::{Checkpoint, Hash, TILE_WIDTH, TileKind, TilePath, Verifier};

use super::client::{LogStore, Store};
use super::error::StoreError;
use super::head::{CHECKPOINTS, EPOCHS, Epoch, LATEST, checkpoint_name, epoch_name, number_in};

pub use report::{Failure, Fault, MAX_FAILURES, MAX_NOTES, Report};

/// What to check beyond the log itself.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// A checkpoint that the caller got from this log earlier and trusts.
    pub remembered: Option<Checkpoint>,
    /// Also hash every chunk object in the store (of all logs in it).
    pub blobs: bool,
    /// Skip partial tiles and bundles that a later one has superseded. They are not needed to
    /// check the log, and there may be many.
    pub skip_superseded: bool,
}

/// A root that somebody signed or remembers, to be compared when the walk comes by its size.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) root: Hash,
    pub(crate) object: String,
}

/// Verifies a log: recomputes every leaf, tile and root; checks every checkpoint and epoch.
///
/// Memory is bounded by a few bundles, plus 8 bytes a checkpoint.
///
/// # Errors
/// Only when the store cannot be read. What is wrong with the log is in the report.
pub async fn verify(
    log: &LogStore,
    key: &Verifier,
    options: &VerifyOptions,
) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let mut sizes = Vec::new();
    log.list(CHECKPOINTS, None, |name| sizes.extend(number_in(CHECKPOINTS, name))).await?;
    sizes.sort_unstable();
    let head = newest_valid(log, key, &sizes).await?;
    let size = head.as_ref().map_or(0, |head| head.size);
    let mut claims: BTreeMap<u64, Vec<Claim>> = BTreeMap::new();
    if let Some(remembered) = &options.remembered {
        let object = log.name(&checkpoint_name(remembered.size));
        if remembered.size > size {
            let fault = Fault::TailCut { remembered: remembered.size, found: size };
            report.fail(object, Some(size), fault);
        } else {
            let claim = Claim { root: remembered.root, object };
            claims.entry(remembered.size).or_default().push(claim);
        }
    }
    let listed = inventory(log, size, &mut report).await?;
    check_epochs(log, key, &listed.epochs, size, &mut report, &mut claims).await?;
    check_latest(log, key, listed.latest, head.as_ref(), &mut report).await?;
    report.head.clone_from(&head);
    let walk = walk::Walk::new(log, key, options, sizes, head, claims);
    walk.run(&mut report).await?;
    if options.blobs {
        check_blobs(log.store(), &mut report).await?;
    }
    Ok(report)
}

/// Checks one chunk object against the hash and length that an entry gives.
///
/// # Errors
/// Only when the store cannot be read; otherwise the fault, if there is one.
pub async fn verify_blob(
    store: &Store,
    sha256: &Hash,
    len: u64,
) -> Result<Option<Failure>, StoreError> {
    let object = Store::blob_name(sha256);
    let fault = match read_or_malformed(store.get(&object).await)? {
        Ok(None) => Fault::Missing,
        Ok(Some(bytes)) if bytes.len() as u64 == len && tlog::sha256(&bytes) == *sha256 => {
            return Ok(None);
        }
        Ok(Some(_)) => Fault::Blob,
        Err(fault) => fault,
    };
    Ok(Some(Failure { object, entry: None, fault }))
}

/// An object that is too large is a finding, not a reason to stop.
pub(crate) fn read_or_malformed<T>(
    read: Result<T, StoreError>,
) -> Result<Result<T, Fault>, StoreError> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(StoreError::Corrupt { what, .. }) => Ok(Err(Fault::Malformed(what))),
        Err(error) => Err(error),
    }
}

/// The newest checkpoint that opens; those that do not are reported by the walk.
async fn newest_valid(
    log: &LogStore,
    key: &Verifier,
    sizes: &[u64],
) -> Result<Option<Checkpoint>, StoreError> {
    for size in sizes.iter().rev() {
        match log.checkpoint(*size, key).await {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(StoreError::Object { object, source }) => {
                return Err(StoreError::Object { object, source });
            }
            Err(_) => {}
        }
    }
    Ok(None)
}

struct Inventory {
    latest: bool,
    epochs: Vec<u64>,
}

/// Goes through the names of all objects of the log once.
async fn inventory(
    log: &LogStore,
    size: u64,
    report: &mut Report,
) -> Result<Inventory, StoreError> {
    let mut found = Inventory { latest: false, epochs: Vec::new() };
    let mut beyond = 0u64;
    log.list("", None, |name| {
        if name == LATEST {
            found.latest = true;
        } else if let Some(epoch) = number_in(EPOCHS, name) {
            found.epochs.push(epoch);
        } else if let Ok(path) = name.parse::<TilePath>() {
            beyond += u64::from(is_beyond(path, size));
        } else if number_in(CHECKPOINTS, name).is_none() {
            report.fail(log.name(name), None, Fault::Unexpected);
        }
    })
    .await?;
    found.epochs.sort_unstable();
    if beyond > 0 {
        report.note(format!(
            "{beyond} tiles and bundles reach beyond the newest checkpoint: a publication in \
             progress or broken off, or a checkpoint that was removed"
        ));
    }
    Ok(found)
}

/// Whether a tile holds more than a tree of `size` has.
fn is_beyond(path: TilePath, size: u64) -> bool {
    let items = match path.kind() {
        TileKind::Entries => size,
        TileKind::Hashes(level) => size.checked_shr(u32::from(level) * 8).unwrap_or(0),
    };
    u128::from(path.index()) * u128::from(TILE_WIDTH) + u128::from(path.width()) > u128::from(items)
}

async fn check_epochs(
    log: &LogStore,
    key: &Verifier,
    epochs: &[u64],
    size: u64,
    report: &mut Report,
    claims: &mut BTreeMap<u64, Vec<Claim>>,
) -> Result<(), StoreError> {
    let last = epochs.last().copied().unwrap_or(0);
    let mut there = epochs.iter().copied().peekable();
    for number in 1..=last {
        let object = log.name(&epoch_name(number));
        if there.next_if_eq(&number).is_none() {
            report.fail(object, None, Fault::Missing);
            if report.failures.len() >= MAX_FAILURES {
                break;
            }
            continue;
        }
        let note = match read_or_malformed(log.get(&epoch_name(number)).await)? {
            Ok(note) => note.unwrap_or_default(),
            Err(fault) => {
                report.fail(object, None, fault);
                continue;
            }
        };
        report.epochs += 1;
        match Epoch::open(&note, key) {
            Ok(epoch) if epoch.number != number => {
                report.fail(object, None, Fault::Malformed("says another number".to_owned()));
            }
            Ok(epoch) if epoch.size > size => {
                report.note(format!(
                    "{object} was claimed with {} entries, the store holds {size}: not yet \
                     published, or lost",
                    epoch.size
                ));
            }
            Ok(epoch) => {
                claims.entry(epoch.size).or_default().push(Claim { root: epoch.root, object });
            }
            Err(error) => report.fail(object, None, Fault::Signature(error.to_string())),
        }
    }
    Ok(())
}

/// The convenience copy is trusted by nothing, but a wrong one is a sign of something.
async fn check_latest(
    log: &LogStore,
    key: &Verifier,
    there: bool,
    head: Option<&Checkpoint>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let object = log.name(LATEST);
    if !there {
        if head.is_some() {
            report.fail(object, None, Fault::Missing);
        }
        return Ok(());
    }
    let note = match read_or_malformed(log.get(LATEST).await)? {
        Ok(note) => note.unwrap_or_default(),
        Err(fault) => {
            report.fail(object, None, fault);
            return Ok(());
        }
    };
    match Checkpoint::open(&note, key) {
        Err(error) => report.fail(object, None, Fault::Signature(error.to_string())),
        Ok(copy) => {
            let original = read_or_malformed(log.get(&checkpoint_name(copy.size)).await)?;
            if original != Ok(Some(note)) {
                report.fail(object, None, Fault::NotACopy);
            } else if head.is_some_and(|head| head.size > copy.size) {
                report.note(format!("{object} is an older checkpoint than the newest one"));
            }
        }
    }
    Ok(())
}

async fn check_blobs(store: &Store, report: &mut Report) -> Result<(), StoreError> {
    let mut names = Vec::new();
    store.list("blobs", None, |name| names.push(name)).await?;
    for name in names {
        report.blobs += 1;
        let Some(sha256) = name.strip_prefix("blobs/").and_then(Hash::from_hex) else {
            report.fail(name, None, Fault::Unexpected);
            continue;
        };
        match read_or_malformed(store.get(&name).await)? {
            Ok(Some(bytes)) if tlog::sha256(&bytes) == sha256 => {}
            Ok(Some(_)) => report.fail(name, None, Fault::Blob),
            Ok(None) => report.fail(name, None, Fault::Missing),
            Err(fault) => report.fail(name, None, fault),
        }
    }
    Ok(())
}
