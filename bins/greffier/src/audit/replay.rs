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
use trail::{Exchange, Item, Joiner, Look, Part};

use super::player::play;
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
    let (exchange, frames) = block_on(async {
        let keep = |item: Item| wanted.is(&item).then_some(item);
        let enough = |look: &Look<'_>| wanted.is_whole(look.items);
        let found =
            trail::look_back(&log, &key, FIRST_LOOK, Joiner::with_answers, keep, enough).await?;
        let exchange = recording(&arguments.id, found)?;
        let frames = frames(log.store(), &exchange).await?;
        Ok((exchange, frames))
    })?;
    if arguments.commands {
        let text = commands(&exchange, &frames);
        std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)?;
    } else if let Some(file) = &arguments.export {
        export(file, &exchange, &frames)?;
    } else {
        let pace = Pace { percent: arguments.speed, idle: arguments.idle };
        play(&frames, &pace).map_err(Error::Output)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The one recording among what was found.
fn recording(id: &str, found: Vec<Item>) -> Result<Exchange, Error> {
    let recorded = |item| match item {
        Item::Exchange(it) if RECORDED.contains(&it.via.as_str()) && !parts(&it).is_empty() => {
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

/// What is recorded of an answer, with or without an outcome.
fn parts(exchange: &Exchange) -> &[Part] {
    exchange.outcome.as_ref().map_or(&exchange.unfinished, |outcome| &outcome.parts)
}

/// The frames of a recording. One that was cut off ends where it was.
async fn frames(store: &Store, exchange: &Exchange) -> Result<Vec<Frame>, Error> {
    let (mut reader, mut frames) = (Reader::new(), Vec::new());
    for part in parts(exchange) {
        if let Part::Inline { media, .. } = part
            && media != MEDIA
        {
            return Err(Error::Argument(format!("{}: it is {media}", exchange.id())));
        }
        reader.push(&trail::part_bytes(store, part).await?);
        let broken = |e| Error::Argument(format!("{}: {e}", exchange.id()));
        while let Some(frame) = reader.next().map_err(broken)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn export(file: &Path, exchange: &Exchange, frames: &[Frame]) -> Result<(), Error> {
    let header = header(exchange, frames);
    let write = |out: &mut dyn Write| {
        let mut cast = Cast::new(out, &header)?;
        frames.iter().try_for_each(|frame| cast.frame(frame))?;
        cast.finish().map(drop)
    };
    let done = if file == Path::new("-") {
        write(&mut std::io::stdout().lock())
    } else {
        File::create(file).and_then(|file| write(&mut BufWriter::new(file)))
    };
    done.map_err(Error::Output)
}

fn header(exchange: &Exchange, frames: &[Frame]) -> Header {
    let size = frames.iter().find_map(Frame::size);
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

/// The command that was asked for, and those typed into it, as a table.
fn commands(exchange: &Exchange, frames: &[Frame]) -> String {
    let mut table = Table::new(["time", "command", "exit", "from"]).cell_width(usize::MAX);
    if let Some(text) = &exchange.text {
        let code = exchange.outcome.as_ref().and_then(|outcome| outcome.code.clone());
        table.row([&time(exchange.time), text, &code.unwrap_or_default(), "request"]);
    }
    let mut reader = Commands::new();
    let mut typed: Vec<Typed> = frames.iter().flat_map(|frame| reader.frame(frame)).collect();
    typed.extend(reader.finish());
    for it in &typed {
        let after = i64::try_from(it.at_us).unwrap_or(i64::MAX);
        let at = Timestamp::from_unix_micros(exchange.time.unix_micros().saturating_add(after));
        let exit = it.exit.map(|exit| exit.to_string()).unwrap_or_default();
        table.row([time(at).as_str(), &it.text, &exit, it.source.word()]);
    }
    let mut text = table.render(style());
    if std::io::stdout().is_terminal() && !typed.is_empty() {
        text.push_str(&sanitise("What was typed is read off the recording: an aid, no proof."));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use records::{Body, Command, Data, Entry, Output, Response};
    use terminal::frames::{Kind, write};

    use super::*;

    /// A shell of which two entries of output are on record, with an outcome or without one.
    fn shell(ended: bool) -> Vec<Item> {
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
            details: [("term".into(), "xterm".into())].into(),
        });
        let mut recording = Vec::new();
        write(&mut recording, 0, Kind::Resize, &[0, 100, 0, 30]);
        write(&mut recording, 1_000_000, Kind::Output, b"$ ");
        for key in ["i", "d"] {
            write(&mut recording, 1_000_000, Kind::Input, key.as_bytes());
            write(&mut recording, 0, Kind::Output, key.as_bytes());
        }
        write(&mut recording, 1_000_000, Kind::Input, b"\r");
        write(&mut recording, 0, Kind::Output, b"\r\nuid=0\r\n");
        let (one, two) = recording.split_at(13);
        let data = |bytes| Data { media: MEDIA.into(), base64: STANDARD.encode(bytes).into() };
        let mut bodies = vec![
            command,
            Body::Output(Output { command: 1, part: 0, data: data(one) }),
            Body::Output(Output { command: 1, part: 1, data: data(two) }),
        ];
        if ended {
            bodies.push(Body::Response(Response {
                command: 1,
                outcome: "ok".into(),
                code: Some("0".into()),
                details: [("exit_status".into(), "0".into())].into(),
                ..Response::default()
            }));
        }
        let mut joiner = Joiner::with_answers();
        let mut items = Vec::new();
        for (index, body) in (0..).zip(bodies) {
            let entry = Entry::new(Timestamp::from_unix_micros(0), [0; 16], "s", body);
            items.extend(joiner.push(index, &entry.to_json()));
        }
        items.extend(joiner.finish());
        items
    }

    #[test]
    fn a_recording_is_found_listed_and_exported_ended_or_not() {
        for ended in [true, false] {
            let exchange = recording("s", shell(ended)).unwrap();
            let place = tempfile::tempdir().unwrap();
            let store = Store::open(place.path().to_str().unwrap()).unwrap();
            let frames = block_on(frames(&store, &exchange)).unwrap();
            assert_eq!(frames.len(), 8);
            let table = commands(&exchange, &frames);
            assert!(table.contains("1970-01-01 00:00:04") && table.contains("id"), "{table}");
            assert!(table.contains("screen"), "{table}");
            let file = place.path().join("x.cast");
            export(&file, &exchange, &frames).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let header: serde_json::Value =
                serde_json::from_str(text.lines().next().unwrap()).unwrap();
            assert_eq!(
                header["term"],
                serde_json::json!({"cols": 100, "rows": 30, "type": "xterm"})
            );
            assert_eq!(header["title"], "alice on web1 (s/1)");
            assert_eq!(text.lines().count(), 9);
            assert_eq!(exchange.outcome.is_some(), ended);
        }
    }

    #[test]
    fn what_can_not_be_played_is_said() {
        let several: Vec<Item> = shell(true).into_iter().chain(shell(true)).collect();
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
