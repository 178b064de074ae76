//! `greffier audit har`.

use std::io::Write as _;
use std::process::ExitCode;

use audit_sink::store::Store;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value, json};
use trail::{Exchange, Item, Joiner, Part};

use super::Filters;
use super::show::Wanted;
use crate::error::Error;
use crate::place::{Place, block_on};

/// The longest body that is put in, in bytes; of a longer one there is its length and the names
/// of its objects.
const MAX_BODY: u64 = 16 * 1024 * 1024;
/// The most of all bodies together, in bytes.
const MAX_BODIES: u64 = 256 * 1024 * 1024;
/// Most exchanges.
const MAX_ENTRIES: usize = 100_000;
/// How requests come (`via`) that are HTTP's.
const VIA: [&str; 3] = ["http/1.0", "http/1.1", "h2"];

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
What is masked on record is masked here; fields that the record keeps as SHA-256 stay so. Bodies are
as recorded: without content coding. Messages of MCP and what crossed a WebSocket are left out.

Examples (with GREFFIER_STORE, GREFFIER_LOG_ID and GREFFIER_KEY set):
  greffier audit har 0192c0de-1111-7222-8333-444455556666 > session.har
  greffier audit har --since 1h --target billing > billing.har";

/// Writes recorded HTTP exchanges as an HTTP Archive (HAR 1.2), for tools that read such.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// SESSION (or its beginning), SESSION/NUMBER, or #INDEX. Without: all that fit.
    id: Option<String>,

    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    filters: Filters,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (log, key) = arguments.place.open()?;
    let filter = arguments.filters.filter()?;
    let wanted = arguments.id.as_deref().map(Wanted::parse).transpose()?;
    let har = block_on(async {
        let (mut found, mut more) = (Vec::new(), false);
        let mut joiner = Joiner::with_answers();
        let mut take = |item: Item| {
            let named = wanted.as_ref().is_none_or(|wanted| wanted.is(&item));
            let fits = named && filter.fits(&item);
            if let Item::Exchange(exchange) = item
                && fits
                && is_http(&exchange)
            {
                match found.len() < MAX_ENTRIES {
                    true => found.push(*exchange),
                    false => more = true,
                }
            }
        };
        trail::read(&log, &key, 0, &mut joiner, &mut take).await?;
        joiner.finish().into_iter().for_each(take);
        if more {
            let message = format!("more than {MAX_ENTRIES} exchanges fit; name fewer");
            return Err(Error::Argument(message));
        }
        found.sort_by_key(|exchange| exchange.index);
        let mut bodies = Bodies { store: Some(log.store()), left: MAX_BODIES };
        let mut entries = Vec::new();
        for exchange in &found {
            entries.push(entry(exchange, &mut bodies).await?);
        }
        Ok(har(entries))
    })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{har:#}").and_then(|()| out.flush()).map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn har(entries: Vec<Value>) -> Value {
    let creator = json!({"name": "greffier", "version": env!("CARGO_PKG_VERSION")});
    json!({"log": {"version": "1.2", "creator": creator, "entries": entries}})
}

/// Whether it is a request: its text is a method and a path.
fn is_http(exchange: &Exchange) -> bool {
    let text = exchange.text.as_deref().unwrap_or_default();
    let path = text.strip_prefix(&*exchange.operation).and_then(|it| it.strip_prefix(' '));
    VIA.contains(&exchange.via.as_str()) && path.is_some_and(|it| it.starts_with('/'))
}

/// Fetches bodies, within bounds.
struct Bodies<'a> {
    /// None: what is in objects stays there.
    store: Option<&'a Store>,
    left: u64,
}

/// A body, or why it is not here.
enum Body {
    Whole(Vec<u8>),
    /// How many bytes, and what to say of them.
    Elsewhere(u64, String),
}

impl Bodies<'_> {
    async fn fetch(&mut self, parts: &[Part]) -> Result<Body, Error> {
        let size = |part: &Part| match part {
            Part::Inline { bytes, .. } => bytes.len() as u64,
            Part::Chunk { bytes, .. } => *bytes,
        };
        let total = parts.iter().map(size).fold(0, u64::saturating_add);
        let inline = parts.iter().all(|part| matches!(part, Part::Inline { .. }));
        if total > MAX_BODY || total > self.left || (self.store.is_none() && !inline) {
            let names = parts.iter().filter_map(|part| match part {
                Part::Chunk { sha256, .. } => Some(format!("sha256:{sha256}")),
                Part::Inline { .. } => None,
            });
            let names: Vec<String> = names.collect();
            let comment = format!("not put in: {total} bytes, objects {}", names.join(" "));
            return Ok(Body::Elsewhere(total, comment));
        }
        self.left -= total;
        let mut whole = Vec::new();
        for part in parts {
            match (part, self.store) {
                (Part::Inline { bytes, .. }, _) => whole.extend_from_slice(bytes),
                (Part::Chunk { .. }, Some(store)) => {
                    whole.extend(trail::part_bytes(store, part).await?);
                }
                (Part::Chunk { .. }, None) => {}
            }
        }
        Ok(Body::Whole(whole))
    }
}

async fn entry(exchange: &Exchange, bodies: &mut Bodies<'_>) -> Result<Value, Error> {
    let micros = exchange.outcome.as_ref().map_or(0, |outcome| outcome.duration_us);
    let time = micros as f64 / 1000.0;
    let mut greffier = json!({
        "id": exchange.id(), "entry": exchange.index, "target": exchange.target,
        "principal": exchange.principal, "verdict": exchange.verdict, "rule": exchange.rule,
        "masked": exchange.all_masked(),
    });
    if let (Some(trace), Some(greffier)) = (&exchange.trace, greffier.as_object_mut()) {
        greffier.insert("trace".into(), json!(trace));
    }
    Ok(json!({
        "startedDateTime": exchange.time.to_string(),
        "time": time,
        "request": request(exchange, bodies).await?,
        "response": response(exchange, bodies).await?,
        "cache": {},
        "timings": {
            "send": 0, "wait": time, "receive": 0,
            "comment": "from forwarding the request to the end of its answer: no more is on record",
        },
        "_greffier": greffier,
    }))
}

async fn request(exchange: &Exchange, bodies: &mut Bodies<'_>) -> Result<Value, Error> {
    let detail = |name: &str| exchange.details.get(name).map(String::as_str);
    let text = exchange.text.as_deref().unwrap_or_default();
    let path = text.split_once(' ').map_or("/", |(_, path)| path);
    // Entries of before the scheme was recorded have none.
    let scheme = detail("scheme").unwrap_or("http");
    let url = format!("{scheme}://{}{path}", detail("host").unwrap_or_default());
    let fields = exchange.details.iter().filter_map(|(name, value)| {
        Some(json!({"name": name.strip_prefix("field.")?, "value": value}))
    });
    let mut request = json!({
        "method": exchange.operation, "url": url, "httpVersion": version(&exchange.via),
        "cookies": [], "headers": fields.collect::<Vec<_>>(), "queryString": query(path),
        "headersSize": -1, "bodySize": -1,
    });
    let media = detail("field.content-type").unwrap_or_default();
    let short = exchange.parameters.iter().find(|it| it.type_name == "body");
    let body = match short.and_then(|it| it.value.clone()) {
        Some(text) => Body::Whole(text.into_bytes()),
        None => {
            let parts = [&exchange.parameter_parts[..], &exchange.input_parts[..]].concat();
            bodies.fetch(&parts).await?
        }
    };
    let sent = exchange.outcome.as_ref().map_or(0, |outcome| outcome.input_bytes);
    let mut put = |name: &str, value: Value| {
        if let Some(request) = request.as_object_mut() {
            request.insert(name.to_owned(), value);
        }
    };
    match body {
        Body::Whole(bytes) if bytes.is_empty() && sent > 0 => {
            put("bodySize", sent.into());
            put("comment", format!("the body was not kept: {sent} bytes").into());
        }
        Body::Whole(bytes) if bytes.is_empty() => put("bodySize", 0.into()),
        Body::Whole(bytes) => {
            put("bodySize", bytes.len().into());
            // HAR has no coding for what is sent: what is no text is put in base64, and says so.
            let post = match String::from_utf8(bytes) {
                Ok(text) => json!({"mimeType": media, "params": [], "text": text}),
                Err(binary) => json!({
                    "mimeType": media, "params": [], "text": STANDARD.encode(binary.as_bytes()),
                    "comment": "base64",
                }),
            };
            put("postData", post);
        }
        Body::Elsewhere(size, comment) => {
            put("bodySize", size.into());
            put("comment", comment.into());
        }
    }
    Ok(request)
}

async fn response(exchange: &Exchange, bodies: &mut Bodies<'_>) -> Result<Value, Error> {
    let parts = exchange.outcome.as_ref().map_or(&exchange.unfinished, |outcome| &outcome.parts);
    let sent = exchange.outcome.as_ref().map_or(0, |outcome| outcome.bytes);
    let plain = parts.iter().all(|part| match part {
        Part::Inline { media, .. } => media == "message/http",
        Part::Chunk { .. } => true,
    });
    let body = match plain {
        true => bodies.fetch(parts).await?,
        false => Body::Elsewhere(sent, "not put in: another protocol's frames".into()),
    };
    let (head, content) = match body {
        Body::Whole(bytes) => {
            let (head, body) = divided(&bytes);
            let media = head.field("content-type").unwrap_or_default().to_owned();
            let mut content = json!({"size": body.len(), "mimeType": media});
            let mut put = |name: &str, value: Value| {
                if let Some(content) = content.as_object_mut() {
                    content.insert(name.to_owned(), value);
                }
            };
            match std::str::from_utf8(body) {
                _ if body.is_empty() && sent > 0 => {
                    put("size", sent.into());
                    put("comment", format!("the body was not kept: {sent} bytes").into());
                }
                Ok(text) => put("text", text.into()),
                Err(_) => {
                    put("text", STANDARD.encode(body).into());
                    put("encoding", "base64".into());
                }
            }
            (head, content)
        }
        Body::Elsewhere(size, comment) => {
            (Head::default(), json!({"size": size, "mimeType": "", "comment": comment}))
        }
    };
    let code = exchange.outcome.as_ref().and_then(|it| it.code.as_deref()?.parse::<u16>().ok());
    let fields = head.fields.iter().map(|(name, value)| json!({"name": name, "value": value}));
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
    put("status", code.or(head.status).unwrap_or(0).into());
    put("statusText", head.reason.clone().into());
    put("httpVersion", version(&exchange.via).into());
    put("cookies", json!([]));
    put("headers", fields.collect::<Vec<_>>().into());
    put("content", content);
    put("redirectURL", head.field("location").unwrap_or_default().into());
    put("headersSize", (-1).into());
    put("bodySize", exchange.outcome.as_ref().map_or(json!(-1), |outcome| outcome.bytes.into()));
    let word = exchange.outcome_word();
    if word != "ok" {
        let by =
            if word == "refused" { format!(" by rule {}", exchange.rule) } else { String::new() };
        put("comment", format!("{word}{by}").into());
    }
    Ok(Value::Object(all))
}

/// A recorded answer's head.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    status: Option<u16>,
    reason: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn field(&self, wanted: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    }
}

/// The head of a recorded answer, and its body.
fn divided(bytes: &[u8]) -> (Head, &[u8]) {
    let Some(at) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
        return (Head::default(), bytes);
    };
    let (head, body) = bytes.split_at(at);
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().splitn(3, ' ').skip(1);
    let status = words.next().and_then(|it| it.parse().ok());
    let reason = words.next().unwrap_or_default().to_owned();
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    (
        Head { status, reason, fields: lines.filter_map(field).collect() },
        body.get(4..).unwrap_or(body),
    )
}

fn version(via: &str) -> &'static str {
    match via {
        "h2" => "HTTP/2",
        "http/1.0" => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// The query's parameters, decoded as forms are (WHATWG URL, 5.1).
fn query(path: &str) -> Vec<Value> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|it| !it.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            json!({"name": decoded(name), "value": decoded(value)})
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let value = digits.filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        match (byte, value.and_then(|it| u8::from_str_radix(it, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        rest = after;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn recorded(answer: &str, response: &str) -> Exchange {
        let mut joiner = Joiner::with_answers();
        let command = r#"{"v":1,"type":"command","time":"2026-11-23T16:00:00.000000Z","salt":"00",
            "session":"s","command":1,"principal":{"issuer":"i","subject":"a","kind":"agent"},
            "target":"shop","via":"h2","operation":"POST","class":"write",
            "text":"POST /a?x=%41+b&y","text_bytes":9,"verdict":"allow","rule":"r","policy":"p",
            "details":{"host":"h","scheme":"https","field.content-type":"text/plain",
            "field.cookie":"sha256:00"},"parameters":[{"type":"body","value":"hello"}]}"#;
        assert!(joiner.push(0, command.as_bytes()).is_empty());
        let response = format!(
            r#"{{"v":1,"type":"response","time":"2026-11-23T16:00:01.000000Z","salt":"00",
            "session":"s","command":1,"outcome":"ok","code":"200","rows":0,"bytes":3,
            "duration_us":1500{response}{answer}}}"#
        );
        match joiner.push(1, response.as_bytes()).pop() {
            Some(Item::Exchange(exchange)) => *exchange,
            other => panic!("{other:?}"),
        }
    }

    fn written(answer: &[u8]) -> Value {
        let data = STANDARD.encode(answer);
        let data = format!(r#","data":{{"media":"message/http","base64":"{data}"}}"#);
        written_of(&recorded(&data, ""))
    }

    fn written_of(exchange: &Exchange) -> Value {
        assert!(is_http(exchange));
        let mut bodies = Bodies { store: None, left: MAX_BODIES };
        block_on(async { entry(exchange, &mut bodies).await }).unwrap()
    }

    #[test]
    fn an_exchange_is_an_entry() {
        let entry =
            written(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nlocation: /b\r\n\r\nabc");
        assert_eq!(entry["startedDateTime"], "2026-11-23T16:00:00.000000Z");
        assert_eq!((&entry["time"], &entry["timings"]["wait"]), (&json!(1.5), &json!(1.5)));
        let request = &entry["request"];
        assert_eq!(request["url"], "https://h/a?x=%41+b&y");
        assert_eq!(
            request["queryString"],
            json!([{"name": "x", "value": "A b"}, {"name": "y", "value": ""}])
        );
        assert_eq!(
            (&request["postData"]["text"], &request["bodySize"]),
            (&json!("hello"), &json!(5))
        );
        assert!(request["headers"].as_array().unwrap().contains(&json!({
            "name": "cookie", "value": "sha256:00",
        })));
        let response = &entry["response"];
        assert_eq!((&response["status"], &response["redirectURL"]), (&json!(200), &json!("/b")));
        assert_eq!(
            response["content"],
            json!({"size": 3, "mimeType": "text/plain", "text": "abc"})
        );
        assert_eq!(response["httpVersion"], "HTTP/2");
    }

    #[test]
    fn what_is_no_text_is_base64() {
        let content = &written(b"HTTP/1.1 200 OK\r\n\r\n\xff\x00\x01")["response"]["content"];
        assert_eq!(
            content,
            &json!({"size": 3, "mimeType": "", "text": "/wAB", "encoding": "base64"})
        );
    }

    #[test]
    fn what_is_not_here_is_told_by_its_hash() {
        let chunks = format!(
            r#","chunks":[{{"sha256":"ab","bytes":{0}}},{{"sha256":"cd","bytes":1}}],"input_bytes":7,
            "input_chunks":[{{"sha256":"ef","bytes":7}}]"#,
            MAX_BODY
        );
        let mut exchange = recorded("", &chunks);
        exchange.parameters.clear();
        let entry = written_of(&exchange);
        let content = &entry["response"]["content"];
        assert_eq!(content["size"], MAX_BODY + 1);
        assert!(content["comment"].as_str().unwrap().ends_with("objects sha256:ab sha256:cd"));
        assert!(entry["request"]["comment"].as_str().unwrap().ends_with("objects sha256:ef"));
        // At recording level `commands` there is nothing but lengths.
        let entry = written_of(&recorded("", ""));
        assert_eq!(entry["response"]["content"]["comment"], "the body was not kept: 3 bytes");
    }

    #[test]
    fn other_commands_are_no_requests() {
        let mut exchange = recorded("", "");
        exchange.text = Some("POST".into());
        assert!(!is_http(&exchange));
        exchange.text = Some("POST /".into());
        exchange.via = "exec".into();
        assert!(!is_http(&exchange));
    }
}
