//! `greffier audit replay`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use audit_sink::store::Store;
use clap::Args;
use records::Timestamp;
use terminal::cast::{Cast, Header};
use terminal::frames::{Frame, MEDIA, Reader};
use terminal::replay::Pace;
use terminal::typed::{Commands, Typed};
use trail::term::{Table, sanitise};
use trail::{Exchange, Item, Joiner, Look, Part, Parts};

use super::player::Player;
use super::show::{FIRST_LOOK, Wanted};
use super::time;
use crate::error::Error;
use crate::place::{Place, block_on, style};

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
Keys, on a terminal: space stops and goes on, q ends.
What the target printed can only draw: titles, the clipboard, questions to the terminal and the
like are left out. --export keeps every character.

Examples (with GREFFIER_STORE, GREFFIER_LOG_ID and GREFFIER_KEY set):
  greffier audit replay 0192c0de --speed 2 --idle 1
  greffier audit replay 0192c0de-1111-7222-8333-444455556666/3 --commands
  greffier audit replay '#17' --export session.cast";

/// How a recording of a program's bytes can have been asked for.
const RECORDED: [&str; 3] = ["shell", "exec", "subsystem"];

/// Plays a recorded shell or program: SESSION/NUMBER, or a SESSION with one recording, or what the
/// entry #INDEX is about.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// SESSION, SESSION/NUMBER, or #INDEX.
    id: String,

    #[command(flatten)]
    place: Place,

    /// How many times as fast.
    #[arg(long, value_name = "X", default_value = "1", value_parser = percent)]
    speed: u32,

    /// The longest pause, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle: Option<Duration>,

    /// List the commands typed, with their times, instead of playing.
    #[arg(long, conflicts_with = "export")]
    commands: bool,

    /// Write an asciicast v3 to this file (- is standard output) instead of playing.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

/// A speed in hundredths.
fn percent(text: &str) -> Result<u32, String> {
    match text.parse::<f64>() {
        // Within these bounds the product is a small whole number.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(speed) if (0.01..=1000.0).contains(&speed) => Ok((speed * 100.0).round() as u32),
        _ => Err("write a number from 0.01 to 1000".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (log, key) = arguments.place.open()?;
    let wanted = Wanted::parse(&arguments.id)?;
    block_on(async {
        let keep = |item: Item| wanted.is(&item).then_some(item);
        let enough = |look: &Look<'_>| wanted.is_whole(look.items);
        // First the one, without its answer; then its answer, which may be long, part by part.
        let found = trail::look_back(&log, &key, FIRST_LOOK, Joiner::default, keep, enough).await?;
        let exchange = recording(&arguments.id, found)?;
        let mut frames = Frames {
            id: exchange.id(),
            store: log.store(),
            parts: Parts::open(&log, &key, &exchange).await?,
            reader: Reader::new(),
        };
        if arguments.commands {
            let text = commands(&exchange, &mut frames).await?;
            std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)
        } else if let Some(file) = &arguments.export {
            export(file, &exchange, &mut frames).await
        } else {
            let mut player = Player::new(Pace { percent: arguments.speed, idle: arguments.idle });
            while let Some(frame) = frames.next().await? {
                if !player.frame(&frame).map_err(Error::Output)? {
                    break;
                }
            }
            player.finish().map_err(Error::Output)
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The one recording among what was found.
fn recording(id: &str, found: Vec<Item>) -> Result<Exchange, Error> {
    let said = |it: &Exchange| it.outcome.as_ref().is_none_or(|outcome| outcome.bytes > 0);
    let recorded = |item| match item {
        Item::Exchange(it)
            if RECORDED.contains(&it.via.as_str()) && it.verdict == "allow" && said(&it) =>
        {
            Some(*it)
        }
        _ => None,
    };
    let mut all: Vec<Exchange> = found.into_iter().filter_map(recorded).collect();
    if all.len() > 1 && all.iter().filter(|it| it.via == "shell").count() == 1 {
        all.retain(|it| it.via == "shell");
    }
    match (all.pop(), all.as_slice()) {
        (None, _) => {
            Err(Error::Argument(format!("{id}: no recording of a shell or program is on record")))
        }
        (Some(one), []) => Ok(one),
        (Some(last), others) => {
            let ids: Vec<String> = others.iter().chain([&last]).map(Exchange::id).collect();
            Err(Error::Argument(format!("{id} has several recordings: {}", ids.join(", "))))
        }
    }
}

/// The frames of a recording, in the memory of one part and one frame. One that was cut off ends
/// where it was.
struct Frames<'s> {
    id: String,
    store: &'s Store,
    parts: Parts,
    reader: Reader,
}

impl Frames<'_> {
    async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            let broken = |e| Error::Argument(format!("{}: {e}", self.id));
            if let Some(frame) = self.reader.next().map_err(broken)? {
                return Ok(Some(frame));
            }
            let Some(part) = self.parts.next().await? else { return Ok(None) };
            if let Part::Inline { media, .. } = &part
                && media != MEDIA
            {
                return Err(Error::Argument(format!("{}: it is {media}", self.id)));
            }
            self.reader.push(&trail::part_bytes(self.store, &part).await?);
        }
    }
}

async fn export(file: &Path, exchange: &Exchange, frames: &mut Frames<'_>) -> Result<(), Error> {
    let mut out: Box<dyn Write> = if file == Path::new("-") {
        Box::new(BufWriter::new(std::io::stdout()))
    } else {
        Box::new(BufWriter::new(File::create(file).map_err(Error::Output)?))
    };
    // A terminal's size stands before all else.
    let first = frames.next().await?;
    let header = header(exchange, first.as_ref().and_then(Frame::size));
    let mut cast = Cast::new(&mut out, &header).map_err(Error::Output)?;
    let mut next = first;
    while let Some(frame) = next {
        cast.frame(&frame).map_err(Error::Output)?;
        next = frames.next().await?;
    }
    cast.finish().map_err(Error::Output)?;
    out.flush().map_err(Error::Output)
}

fn header(exchange: &Exchange, size: Option<(u16, u16)>) -> Header {
    let plain = Header::default();
    let (columns, rows) = size.unwrap_or((plain.columns, plain.rows));
    let began = u64::try_from(exchange.time.unix_micros()).ok();
    Header {
        columns,
        rows,
        term: exchange.details.get("term").cloned(),
        timestamp: began.map(|micros| micros / 1_000_000),
        command: if exchange.via == "exec" { exchange.text.clone() } else { None },
        title: Some(format!(
            "{} on {} ({})",
            exchange.principal.subject,
            exchange.target,
            exchange.id()
        )),
    }
}

/// The most typed commands that are listed; of more, the first.
const MAX_LISTED: usize = 100_000;

/// The command that was asked for, and those typed into it, as a table.
async fn commands(exchange: &Exchange, frames: &mut Frames<'_>) -> Result<String, Error> {
    let mut table = Table::new(["time", "command", "exit", "from"]).cell_width(usize::MAX);
    if let Some(text) = &exchange.text {
        let code = exchange.outcome.as_ref().and_then(|outcome| outcome.code.clone());
        table.row([&time(exchange.time), text, &code.unwrap_or_default(), "request"]);
    }
    let mut reader = Commands::new();
    let mut typed: Vec<Typed> = Vec::new();
    while let Some(frame) = frames.next().await? {
        typed.extend(reader.frame(&frame));
        if typed.len() > MAX_LISTED {
            break;
        }
    }
    typed.extend(reader.finish());
    let more = typed.len().saturating_sub(MAX_LISTED);
    typed.truncate(MAX_LISTED);
    for it in &typed {
        let after = i64::try_from(it.at_us).unwrap_or(i64::MAX);
        let at = Timestamp::from_unix_micros(exchange.time.unix_micros().saturating_add(after));
        let exit = it.exit.map(|exit| exit.to_string()).unwrap_or_default();
        table.row([time(at).as_str(), &it.text, &exit, it.source.word()]);
    }
    let mut text = table.render(style());
    if more > 0 {
        text.push_str(&format!("Only the first {MAX_LISTED} are listed.\n"));
    }
    if std::io::stdout().is_terminal() && !typed.is_empty() {
        text.push_str(&sanitise("What was typed is read off the recording: an aid, no proof."));
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use records::{Body, Command, Entry};

    use super::*;

    fn shell() -> Item {
        let principal = serde_json::json!({"issuer": "i", "subject": "alice", "kind": "human"});
        let principal = serde_json::value::to_raw_value(&principal).unwrap();
        let command = Body::Command(Command {
            command: 1,
            principal: Cow::Owned(principal),
            target: "web1".into(),
            via: "shell".into(),
            operation: "shell".into(),
            class: "shell".into(),
            text: None,
            text_bytes: 0,
            text_chunks: vec![],
            parameters: vec![],
            parameter_chunks: vec![],
            verdict: "allow".into(),
            rule: "r".into(),
            reason: None,
            policy: "p".into(),
            masked: [].into(),
            trace: None,
            details: [("term".into(), "xterm".into())].into(),
        });
        let mut joiner = Joiner::default();
        let entry = Entry::new(Timestamp::from_unix_micros(0), [0; 16], "s", command);
        assert!(joiner.push(0, &entry.to_json()).is_empty());
        joiner.finish().pop().unwrap()
    }

    #[test]
    fn what_can_not_be_played_is_said() {
        let several = vec![shell(), shell()];
        let error = recording("s", several).unwrap_err().to_string();
        assert_eq!(error, "s has several recordings: s/1, s/1");
        let error = recording("s", Vec::new()).unwrap_err().to_string();
        assert!(error.contains("no recording"), "{error}");
    }

    #[test]
    fn speeds_and_pauses_have_bounds() {
        assert_eq!((percent("1"), percent("0.5"), percent("2.25")), (Ok(100), Ok(50), Ok(225)));
        for bad in ["0", "-1", "nan", "inf", "x", "1001"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for bad in ["-1", "nan", "inf", "x", "1e300"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
