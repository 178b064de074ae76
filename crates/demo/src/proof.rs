//! What the record says, that it holds no secret, and that nobody can change it unnoticed.

use std::fs;
use std::path::Path;

use audit_sink::store::{Reader, Store};
use tlog::{TILE_WIDTH, TileKind, TilePath};
use trail::{Checked, Item, Joiner, Part, Who};

use crate::stage::{LOG_ID, Stage};
use crate::{Check, DemoError, Event, Narrator, Played};

/// Where the log is, for reading and checking.
pub(crate) struct Kept {
    pub(crate) store: std::path::PathBuf,
    pub(crate) log: audit_sink::store::LogStore,
    pub(crate) key: tlog::Verifier,
}

impl Kept {
    pub(crate) fn of(stage: &Stage) -> Self {
        Kept { store: stage.store.clone(), log: stage.log_store.clone(), key: stage.key.clone() }
    }
}

/// Reads the trail from the store and compares it with what was done.
pub(crate) async fn trail(
    kept: &Kept,
    played: &Played,
    narrator: &mut dyn Narrator,
) -> Result<Vec<Item>, DemoError> {
    let mut items = Vec::new();
    let mut joiner = Joiner::with_answers();
    trail::read(&kept.log, &kept.key, 0, &mut joiner, |item| items.push(item)).await?;
    items.extend(joiner.finish());
    narrator.tell(&Event::Part { title: "The trail, read back from the log" });
    narrator.tell(&Event::Trail { items: &items, noun: played.noun });
    let exchange = |item: &Item| match item {
        Item::Exchange(exchange) => (played.done)(exchange),
        _ => None,
    };
    let on_record: Vec<(String, bool)> = items.iter().filter_map(exchange).collect();
    narrator.check(Check {
        name: format!("every {} is on record, with the agent's name and alice's", played.noun),
        held: on_record == played.statements,
    });
    let refused = |item: &Item| matches!(item, Item::Refused(r) if r.cause == "expired");
    narrator.check(Check {
        name: "the expired token is on record".into(),
        held: items.iter().filter(|item| refused(item)).count() == 1,
    });
    let texts = recorded_text(kept, &items).await?;
    let leaked = |secret: &String| {
        // Digits alone, too: a number with its spaces taken out is the same secret.
        let digits: String = secret.chars().filter(char::is_ascii_digit).collect();
        let found = |text: &str| {
            text.contains(secret.as_str()) || (digits.len() >= 10 && text.contains(&digits))
        };
        texts.iter().any(|text| found(text))
    };
    narrator.check(Check {
        name: "no card, e-mail or telephone number is in the record".into(),
        held: !texts.is_empty() && !played.secrets.iter().any(leaked),
    });
    Ok(items)
}

/// Whether this is the agent that works for alice.
pub(crate) fn is_agents(who: &Who) -> bool {
    who.kind == "agent"
        && who.subject == "invoice-agent"
        && who.on_behalf_of.first().is_some_and(|person| person == "alice")
}

/// The first terminal that is on record.
pub(crate) fn terminal(items: &[Item]) -> Option<String> {
    items.iter().find_map(|item| match item {
        Item::Exchange(exchange) if exchange.via == "shell" => {
            Some(format!("{}/{}", exchange.session, exchange.command))
        }
        _ => None,
    })
}

/// Every entry as text, and every recorded answer as text.
async fn recorded_text(kept: &Kept, items: &[Item]) -> Result<Vec<String>, DemoError> {
    let mut texts = Vec::new();
    if let Some(reader) = Reader::open(&kept.log, &kept.key).await? {
        let size = reader.head().size;
        let mut entries = reader.range(0, size);
        while let Some((_, entry)) = entries.next().await? {
            texts.push(String::from_utf8_lossy(&entry).into_owned());
        }
    }
    for item in items {
        let Item::Exchange(exchange) = item else { continue };
        for part in exchange.outcome.iter().flat_map(|outcome| &outcome.parts) {
            if let Part::Inline { bytes, .. } = part {
                texts.push(String::from_utf8_lossy(bytes).into_owned());
            }
        }
    }
    Ok(texts)
}

/// Verifies the store with the pinned key.
pub(crate) async fn verify(kept: &Kept, narrator: &mut dyn Narrator) -> Result<(), DemoError> {
    narrator.tell(&Event::Part { title: "Is the log whole?" });
    let checked = trail::check(&kept.log, &kept.key, None).await?;
    narrator.tell(&Event::Verified(&checked));
    narrator.check(Check {
        name: "the log verifies with the pinned key".into(),
        held: checked.is_ok() && checked.report.entries > 0,
    });
    Ok(())
}

/// Flips one bit of one statement in a copy of the store, and verifies that.
pub(crate) async fn tamper(
    kept: &Kept,
    dir: &Path,
    items: &[Item],
    narrator: &mut dyn Narrator,
) -> Result<(), DemoError> {
    narrator.tell(&Event::Part { title: "Somebody changes one byte in a copy of it" });
    let denied = items.iter().find_map(|item| match item {
        Item::Exchange(exchange) if exchange.verdict == "deny" => Some(exchange.index),
        _ => None,
    });
    let index = denied.ok_or_else(|| DemoError::Lost("no denied statement is on record".into()))?;
    let copy = dir.join("tampered");
    copy_folder(&kept.store, &copy)?;
    let (object, offset) = flip(kept, &copy, index).await?;
    narrator.tell(&Event::Flipped { object: &object, offset, entry: index });
    let log = Store::open(&copy.to_string_lossy())?.log(LOG_ID)?;
    let checked: Checked = trail::check(&log, &kept.key, None).await?;
    narrator.tell(&Event::Verified(&checked));
    let named = checked.failures().any(|f| f.object == object && f.entry == Some(index));
    narrator.check(Check {
        name: format!("the change is found, in entry {index}"),
        held: !checked.is_ok() && named,
    });
    Ok(())
}

/// Flips a bit in the middle of an entry, in the bundle that holds it.
async fn flip(kept: &Kept, copy: &Path, index: u64) -> Result<(String, usize), DemoError> {
    let lost = |what: &str| DemoError::Lost(what.to_owned());
    let reader = Reader::open(&kept.log, &kept.key).await?.ok_or_else(|| lost("no checkpoint"))?;
    let size = reader.head().size;
    let path = TilePath::in_tree(TileKind::Entries, index / TILE_WIDTH, size)
        .ok_or_else(|| lost("no such bundle"))?;
    let mut entries = reader.range(index, index + 1);
    let (_, entry) = entries.next().await?.ok_or_else(|| lost("no such entry"))?;
    let object = kept.log.name(&path.to_string());
    let file = copy.join(&object);
    let mut bytes = fs::read(&file)?;
    let start = bytes.windows(entry.len()).position(|window| window == entry);
    let offset = start.ok_or_else(|| lost("the entry is not in its bundle"))? + entry.len() / 2;
    if let Some(byte) = bytes.get_mut(offset) {
        *byte ^= 1;
    }
    fs::write(&file, bytes)?;
    Ok((object, offset))
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
