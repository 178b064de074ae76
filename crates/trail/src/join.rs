//! From entries to items: a command waits for its outcome.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use records::{Body, Chunk, Command, Data, Entry, Response, Timestamp};

use crate::item::{
    Exchange, Instance, Item, Outcome, Part, Refused, ResultSet, SessionClosed, SessionOpened,
    Unknown, Value, Who,
};

/// Commands that may wait for their outcome at once. Beyond it the oldest is given as it is: in
/// a log with so many, the process was killed often.
pub const MAX_PENDING: usize = 100_000;

/// Joins commands with their outcomes, in the order of the log.
#[derive(Debug, Default)]
pub struct Joiner {
    pending: BTreeMap<(String, u64), (Exchange, Vec<Part>)>,
    keep_answers: bool,
    from_middle: bool,
}

impl Joiner {
    /// A joiner that leaves recorded answers out.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A joiner that keeps recorded answers (inline parts, and the names of chunks).
    #[must_use]
    pub fn with_answers() -> Self {
        Joiner { keep_answers: true, ..Self::default() }
    }

    /// For a reader that does not begin at the log's first entry: outcomes of commands that it
    /// has not read are left out.
    #[must_use]
    pub fn from_middle(mut self) -> Self {
        self.from_middle = true;
        self
    }

    /// Takes the next entry; gives what is complete now.
    pub fn push(&mut self, index: u64, bytes: &[u8]) -> Vec<Item> {
        match Entry::from_json(bytes) {
            Ok(entry) => self.entry(index, entry),
            Err(error) => vec![Item::Unknown(Unknown { index, why: error.to_string() })],
        }
    }

    /// Commands whose outcome is not on record (yet), in the order of the log.
    pub fn finish(&mut self) -> Vec<Item> {
        let mut left: Vec<Exchange> =
            std::mem::take(&mut self.pending).into_values().map(unfinished).collect();
        left.sort_by_key(|exchange| exchange.index);
        left.into_iter().map(|exchange| Item::Exchange(Box::new(exchange))).collect()
    }

    fn entry(&mut self, index: u64, entry: Entry<'_>) -> Vec<Item> {
        let Entry { time, session, body, .. } = entry;
        let session = session.into_owned();
        match body {
            Body::Command(command) => self.command(index, time, session, command),
            Body::Output(output) => {
                if self.keep_answers
                    && let Some((exchange, parts)) =
                        self.pending.get_mut(&(session, output.command))
                {
                    exchange.input_parts.extend(output.input_chunks.iter().map(chunk));
                    parts.extend(output.data.as_ref().and_then(inline));
                    parts.extend(output.chunks.iter().map(chunk));
                }
                Vec::new()
            }
            Body::Response(response) => self.response(index, time, session, response),
            Body::SessionStart(start) => vec![Item::SessionStart(SessionOpened {
                index,
                time,
                session,
                protocol: start.protocol.into(),
                target: start.target.into(),
                principal: Who::from(&start.principal),
                identity_rule: start.identity_rule.into(),
                jti: start.jti.map(Into::into),
                lease_until: start.lease_until,
                peer: start.peer.into(),
                details: details(&start.details),
            })],
            Body::SessionEnd(end) => {
                let mut items = self.abandoned(&session);
                items.push(Item::SessionEnd(SessionClosed {
                    index,
                    time,
                    session,
                    reason: end.reason.into(),
                    commands: end.commands,
                    denied: end.denied,
                    unrecorded: end.unrecorded,
                    details: details(&end.details),
                }));
                items
            }
            Body::AuthFailure(failure) => vec![Item::Refused(Refused {
                index,
                time,
                protocol: failure.protocol.into(),
                peer: failure.peer.into(),
                target: failure.target.display().to_owned(),
                cause: failure.cause.into(),
                message: failure.message.into(),
                principal: failure.principal.as_ref().map(Who::from),
            })],
            body @ (Body::LogOpened(_) | Body::LogSealed(_) | Body::ConfigLoaded(_)) => {
                vec![instance(index, time, &body)]
            }
        }
    }

    fn command(
        &mut self,
        index: u64,
        time: Timestamp,
        session: String,
        command: Command<'_>,
    ) -> Vec<Item> {
        let principal = match serde_json::from_str(command.principal.get()) {
            Ok(principal) => Who::from(&principal),
            Err(error) => {
                let why = format!("the principal of a command can't be read: {error}");
                return vec![Item::Unknown(Unknown { index, why })];
            }
        };
        let names = |chunks: &[Chunk<'_>]| chunks.iter().map(|c| c.sha256.to_string()).collect();
        let exchange = Exchange {
            index,
            time,
            command: command.command,
            principal,
            target: command.target.into(),
            via: command.via.into(),
            operation: command.operation.into(),
            class: command.class.into(),
            text: command.text.as_ref().map(|text| text.display().to_owned()),
            text_bytes: command.text_bytes,
            text_chunks: names(&command.text_chunks),
            text_parts: command.text_chunks.iter().map(chunk).collect(),
            parameters: command.parameters.iter().map(Value::from).collect(),
            parameter_chunks: names(&command.parameter_chunks),
            parameter_parts: command.parameter_chunks.iter().map(chunk).collect(),
            verdict: command.verdict.into(),
            rule: command.rule.into(),
            reason: command.reason.map(Into::into),
            policy: command.policy.into(),
            masked: counts(&command.masked),
            trace: command.trace.map(|trace| owned(*trace)),
            details: details(&command.details),
            unfinished: Vec::new(),
            input_parts: Vec::new(),
            outcome: None,
            session,
        };
        if exchange.verdict != "allow" {
            return vec![Item::Exchange(Box::new(exchange))];
        }
        let key = (exchange.session.clone(), exchange.command);
        self.pending.insert(key, (exchange, Vec::new()));
        if self.pending.len() <= MAX_PENDING {
            return Vec::new();
        }
        let oldest = self.pending.pop_first();
        oldest.map(|(_, it)| Item::Exchange(Box::new(unfinished(it)))).into_iter().collect()
    }

    fn response(
        &mut self,
        index: u64,
        time: Timestamp,
        session: String,
        response: Response<'_>,
    ) -> Vec<Item> {
        let number = response.command;
        let Some((mut exchange, mut parts)) = self.pending.remove(&(session, number)) else {
            if self.from_middle {
                return Vec::new();
            }
            let why = format!("an outcome of command {number}, which was not read");
            return vec![Item::Unknown(Unknown { index, why })];
        };
        if self.keep_answers {
            // Parts that were released early come first; what is too large for entries is in
            // chunks, and then there is no last part.
            parts.extend(response.chunks.iter().map(chunk));
            parts.extend(response.data.as_ref().and_then(inline));
            exchange.input_parts.extend(response.input_chunks.iter().map(chunk));
        }
        let results = response.results.iter().map(|result| ResultSet {
            tag: result.tag.to_string(),
            rows: result.rows,
            columns: columns(result.columns.as_deref().map(serde_json::value::RawValue::get)),
        });
        exchange.outcome = Some(Outcome {
            index,
            time,
            results: results.collect(),
            outcome: response.outcome.into(),
            code: response.code.map(Into::into),
            message: response.message.as_ref().map(|message| message.display().to_owned()),
            rows: response.rows,
            bytes: response.bytes,
            input_bytes: response.input_bytes,
            duration_us: response.duration_us,
            masked: counts(&response.masked),
            details: details(&response.details),
            parts,
        });
        vec![Item::Exchange(Box::new(exchange))]
    }

    /// What a session left without an outcome.
    fn abandoned(&mut self, session: &str) -> Vec<Item> {
        let first = (session.to_owned(), 0);
        let keys: Vec<_> = self
            .pending
            .range(first..)
            .map(|(key, _)| key.clone())
            .take_while(|(of, _)| of == session)
            .collect();
        let take = |key| self.pending.remove(&key);
        let left = keys.into_iter().filter_map(take);
        left.map(|it| Item::Exchange(Box::new(unfinished(it)))).collect()
    }
}

/// A command without an outcome, with what is recorded of its answer.
fn unfinished((exchange, parts): (Exchange, Vec<Part>)) -> Exchange {
    Exchange { unfinished: parts, ..exchange }
}

fn owned(trace: records::Trace<'_>) -> records::Trace<'static> {
    let text = |it: std::borrow::Cow<'_, str>| it.into_owned().into();
    records::Trace {
        id: text(trace.id),
        parent: text(trace.parent),
        flags: text(trace.flags),
        state: trace.state.map(text),
        baggage: trace.baggage.into_iter().map(|(key, value)| (text(key), text(value))).collect(),
        left_out: trace.left_out,
    }
}

fn details(
    details: &BTreeMap<std::borrow::Cow<'_, str>, records::Text<'_>>,
) -> BTreeMap<String, String> {
    let pair = |(name, value): (&std::borrow::Cow<'_, str>, &records::Text<'_>)| {
        (name.to_string(), value.display().to_owned())
    };
    details.iter().map(pair).collect()
}

fn counts<K: ToString>(counts: &BTreeMap<K, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(entity, count)| (entity.to_string(), *count)).collect()
}

fn columns(json: Option<&str>) -> Vec<(String, String)> {
    let columns = json.and_then(|json| serde_json::from_str::<Vec<records::Column<'_>>>(json).ok());
    let pair = |column: &records::Column<'_>| {
        (column.name.display().to_owned(), column.type_name.to_string())
    };
    columns.unwrap_or_default().iter().map(pair).collect()
}

pub(crate) fn inline(data: &Data<'_>) -> Option<Part> {
    let bytes = STANDARD.decode(data.base64.as_bytes()).ok()?;
    Some(Part::Inline { media: data.media.to_string(), bytes })
}

fn instance(index: u64, time: Timestamp, body: &Body<'_>) -> Item {
    let text = match body {
        Body::LogOpened(i) | Body::LogSealed(i) => {
            format!("{} on {} (pid {}), epoch {}", i.program, i.host, i.pid, i.epoch)
        }
        Body::ConfigLoaded(config) => {
            let targets = config.targets.join(", ");
            format!("configuration {}, targets: {targets}", config.sha256)
        }
        _ => String::new(),
    };
    Item::Instance(Instance { index, time, event: body.kind().to_owned(), text })
}

pub(crate) fn chunk(chunk: &Chunk<'_>) -> Part {
    Part::Chunk { sha256: chunk.sha256.to_string(), bytes: chunk.bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use records::{AuthFailure, Output, StatementResult};
    use serde_json::value::RawValue;
    use std::borrow::Cow;

    fn principal() -> Box<RawValue> {
        let text = r#"{"issuer":"i","subject":"agent","kind":"agent",
            "on_behalf_of":[{"issuer":"i","subject":"alice"}]}"#;
        RawValue::from_string(text.into()).unwrap()
    }

    fn command(number: u64, verdict: &'static str) -> Body<'static> {
        Body::Command(Command {
            command: number,
            principal: Cow::Owned(principal()),
            target: "pg".into(),
            via: "simple".into(),
            operation: "SELECT".into(),
            class: "read".into(),
            text: Some("SELECT 1".into()),
            text_bytes: 8,
            text_chunks: Vec::new(),
            parameters: Vec::new(),
            parameter_chunks: Vec::new(),
            verdict: verdict.into(),
            rule: "r".into(),
            reason: None,
            policy: "p".into(),
            masked: [("A".into(), 1)].into(),
            trace: None,
            details: [].into(),
        })
    }

    fn response(number: u64) -> Body<'static> {
        let result = StatementResult { tag: "UPDATE 3".into(), ..StatementResult::default() };
        Body::Response(Response {
            command: number,
            outcome: "ok".into(),
            results: vec![result],
            masked: [("A".into(), 2), ("B".into(), 1)].into(),
            data: Some(Data { media: "m".into(), base64: "Yg==".into() }),
            ..Response::default()
        })
    }

    fn push(joiner: &mut Joiner, index: u64, session: &'static str, body: Body<'_>) -> Vec<Item> {
        let entry = Entry::new(Timestamp::from_unix_micros(0), [0; 16], session, body);
        joiner.push(index, &entry.to_json())
    }

    fn exchange(items: &[Item]) -> &Exchange {
        match items {
            [Item::Exchange(exchange)] => exchange,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_waits_for_its_outcome_also_beside_others() {
        let mut joiner = Joiner::with_answers();
        assert!(push(&mut joiner, 0, "s", command(1, "allow")).is_empty());
        assert!(push(&mut joiner, 1, "t", command(1, "allow")).is_empty());
        let part = Data { media: "m".into(), base64: "YQ==".into() };
        let output = Body::Output(Output { command: 1, data: Some(part), ..Output::default() });
        assert!(push(&mut joiner, 2, "t", output).is_empty());
        let items = push(&mut joiner, 3, "t", response(1));
        let done = exchange(&items);
        assert_eq!((done.id().as_str(), done.index), ("t/1", 1));
        assert_eq!(done.principal.for_whom(), "alice");
        assert_eq!(done.all_masked(), [("A", 3), ("B", 1)].into());
        let outcome = done.outcome.as_ref().unwrap();
        assert_eq!((outcome.index, outcome.rows_touched()), (3, 3));
        let parts = outcome.parts.iter().map(|part| match part {
            Part::Inline { bytes, .. } => bytes.clone(),
            Part::Chunk { .. } => panic!("no chunks here"),
        });
        assert_eq!(parts.collect::<Vec<_>>(), [b"a".to_vec(), b"b".to_vec()]);
        let left = joiner.finish();
        assert_eq!(
            (exchange(&left).id().as_str(), exchange(&left).outcome_word()),
            ("s/1", "unknown")
        );
    }

    #[test]
    fn a_denied_command_waits_for_nothing() {
        let items = push(&mut Joiner::new(), 0, "s", command(1, "deny"));
        assert_eq!(exchange(&items).outcome_word(), "refused");
    }

    #[test]
    fn what_a_session_leaves_without_outcome_is_given_at_its_end() {
        let mut joiner = Joiner::new();
        push(&mut joiner, 0, "s", command(1, "allow"));
        push(&mut joiner, 1, "sx", command(1, "allow"));
        let end = r#"{"v":1,"type":"session_end","time":"2026-11-23T16:00:00.000000Z","salt":"00",
            "session":"s","reason":"cut","commands":1,"denied":0}"#;
        let items = joiner.push(2, end.as_bytes());
        assert!(matches!(&items[..], [Item::Exchange(e), Item::SessionEnd(_)] if e.id() == "s/1"));
        assert_eq!(joiner.finish().len(), 1);
    }

    #[test]
    fn an_outcome_alone_is_odd_unless_reading_began_in_the_middle() {
        let items = push(&mut Joiner::new(), 9, "s", response(1));
        assert!(matches!(&items[..], [Item::Unknown(unknown)] if unknown.index == 9));
        assert!(push(&mut Joiner::new().from_middle(), 9, "s", response(1)).is_empty());
    }

    #[test]
    fn what_is_no_entry_is_said_to_be_none() {
        for bytes in [&b"{}"[..], b"", b"\xff", br#"{"v":9,"type":"later","time":"x","salt":""}"#] {
            assert!(
                matches!(&Joiner::new().push(4, bytes)[..], [Item::Unknown(u)] if u.index == 4)
            );
        }
    }

    #[test]
    fn a_refused_client_is_an_item_of_its_own() {
        let failure = AuthFailure {
            protocol: "postgres".into(),
            peer: "127.0.0.1:1".into(),
            target: "pg".into(),
            cause: "expired".into(),
            message: "the token has expired".into(),
            credential_sha256: None,
            principal: None,
        };
        let items = push(&mut Joiner::new(), 0, "", Body::AuthFailure(failure));
        assert!(matches!(&items[..], [Item::Refused(refused)] if refused.cause == "expired"));
    }
}
