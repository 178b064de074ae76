//! Where a token is traded for a certificate: a session of its own, whose one command is
//! `issue KEY [PRINCIPAL...]`.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gate::{Arrival, Draft, Identified, Session, Submission};
use identity::Vouched;
use masking::Policy;
use policy::Action;
use records::Response;
use russh::keys::HashAlg;
use ssh_wire::login::parse as user_name;
use ssh_wire::packet::{Line, OpenFailure, Packet, parse, write};
use tokio::time::timeout;

use crate::cert::{self, ANY_TARGET, ForUser, MAX_LIFETIME, MAX_PRINCIPALS};
use crate::keys::PublicKey;
use crate::login::{CERTIFICATES, Door, now};
use crate::proxy::{record_end, say};
use crate::refusal;
use crate::relay::Leg;

/// How long a client may take to ask.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest command, in bytes: a key and 16 principals.
const MAX_COMMAND: usize = 8 * 1024;
/// Most packets that a client may send.
const MAX_PACKETS: usize = 64;
/// What the answer may take of the client's window, at least: a certificate is smaller.
const MIN_WINDOW: u32 = 16 * 1024;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    key: PublicKey,
    principals: Vec<String>,
}

/// Serves one client. What to tell it when it is disconnected.
pub(crate) async fn serve(
    door: &Door,
    identified: Identified,
    arrival: Arrival<'_>,
    mut leg: Leg,
    shutdown: impl Future<Output = ()>,
) -> Option<String> {
    let authority = door.authority.as_ref()?;
    let lifetime = authority.lifetime.min(MAX_LIFETIME).as_secs();
    let vouched = identified.vouch(now().saturating_add(lifetime));
    let target = Arc::new(gate::Target::new(CERTIFICATES, Policy::empty()));
    let session = match door.gate.open_session(identified, target, arrival).await {
        Ok(session) => session,
        Err(error) => return Some(refusal::unrecorded(error)),
    };
    let mut shutdown = pin!(shutdown);
    let lease = session.lease().clone();
    let (reason, told) = tokio::select! {
        served = timeout(TIMEOUT, converse(door, &session, &vouched, &mut leg)) => match served {
            Ok(reason) => (reason, None),
            Err(_) => ("the client asked for nothing", None),
        },
        reason = lease.ended() => ("lease over", Some(refusal::lease_over(&reason))),
        () = &mut shutdown => ("shutdown", Some(refusal::SHUTDOWN.to_owned())),
    };
    record_end(&session, reason);
    told.or_else(|| Some(String::new()))
}

/// One channel, one command, one answer.
async fn converse(
    door: &Door,
    session: &Session,
    vouched: &Vouched,
    leg: &mut Leg,
) -> &'static str {
    let mut channel = None;
    for _ in 0..MAX_PACKETS {
        let Some(packet) = leg.inbox.recv().await else { return "client closed" };
        let Ok(packet) = parse(&packet) else { return "the client broke the protocol" };
        let mut answer = Vec::new();
        match packet {
            Packet::GlobalRequest { want_reply: true, .. } => answer.push(write::request_failure()),
            Packet::Open { kind: b"session", sender, window, .. }
                if channel.is_none() && window >= MIN_WINDOW =>
            {
                channel = Some(sender);
                answer.push(write::open_confirmation(sender, 0, MIN_WINDOW, MIN_WINDOW, b""));
            }
            Packet::Open { sender, .. } => {
                let why = OpenFailure::AdministrativelyProhibited;
                answer.push(write::open_failure(sender, why, "greffier: certificates only"));
            }
            Packet::Request { recipient: 0, kind: b"exec", want_reply, rest } => {
                let Some(channel) = channel else { return "the client broke the protocol" };
                if want_reply {
                    answer.push(write::success(channel));
                }
                let line = Line::parse(rest).map(|exec| exec.line).unwrap_or_default();
                answer.extend(reply(channel, command(door, session, vouched, line).await));
                for packet in answer {
                    if !say(leg, packet).await {
                        return "client closed";
                    }
                }
                // The client closes; what it says meanwhile has no answer.
                while leg.inbox.recv().await.is_some() {}
                return "client closed";
            }
            Packet::Request { recipient: 0, want_reply: true, .. } => {
                answer.extend(channel.map(write::failure));
            }
            Packet::Close { .. } => return "client closed",
            _ => {}
        }
        for packet in answer {
            if !say(leg, packet).await {
                return "client closed";
            }
        }
    }
    "the client broke the protocol"
}

/// The packets that end a command: its text on the right stream, and its exit status.
fn reply(channel: u32, result: Result<String, String>) -> Vec<bytes::Bytes> {
    let (text, status) = match &result {
        Ok(certificate) => (write::data(channel, certificate.as_bytes()), 0),
        Err(why) => (write::stderr(channel, why.as_bytes()), refusal::EXIT_REFUSED),
    };
    let status = write::exit_status(channel, status);
    vec![text, status, write::eof(channel), write::close(channel)]
}

/// Judges, records and answers a command: the certificate's line, or why there is none.
async fn command(
    door: &Door,
    session: &Session,
    vouched: &Vouched,
    line: &[u8],
) -> Result<String, String> {
    let wish = read(line);
    let text = line.get(..gate::MAX_INLINE_TEXT).unwrap_or(line);
    let serial = serial();
    let mut details = BTreeMap::new();
    if let Ok(wish) = &wish {
        details.insert("serial".into(), serial.to_string().into());
        let fingerprint = wish.key.0.fingerprint(HashAlg::Sha256).to_string();
        details.insert("fingerprint".into(), fingerprint.into());
        details.insert("principals".into(), wish.principals.join(" ").into());
        details.insert("valid_before".into(), vouched.until().to_string().into());
    }
    let action = Action::plain("certificate", "session");
    let mut judgement = session.judge(&[action], "certificate".into(), "session");
    if let Err(why) = &wish {
        judgement = judgement.forbid("certificate", why);
    }
    let draft = Draft {
        via: "certificate",
        text: Some(records::Text::from_bytes(text)),
        text_bytes: line.len() as u64,
        details,
        ..Draft::default()
    };
    let mut wait = session.waiter();
    let submitted = session.submit(&judgement, draft).map_err(refusal::unrecorded)?;
    let mut exchange = match submitted {
        Submission::Admitted(exchange) => exchange,
        Submission::Refused(refused) => {
            refused.release.cleared(&mut *wait).await.map_err(refusal::unrecorded)?;
            return Err(refusal::refused(&refused.cause));
        }
    };
    exchange.admitted().cleared(&mut *wait).await.map_err(refusal::unrecorded)?;
    let made = wish.and_then(|wish| mint(door, vouched, &wish, serial));
    let outcome = if made.is_ok() { "ok" } else { "error" };
    let mut response = Response { outcome: outcome.into(), ..Response::default() };
    let release =
        poll_fn(|cx| exchange.poll_finish(&mut response, cx)).await.map_err(refusal::unrecorded)?;
    release.cleared(&mut *wait).await.map_err(refusal::unrecorded)?;
    made.map_err(|why| refusal::login(&why))
}

fn mint(door: &Door, vouched: &Vouched, wish: &Wish, serial: u64) -> Result<String, String> {
    let authority = door.authority.as_ref().ok_or("there is no authority")?;
    let principals: Vec<&str> = wish.principals.iter().map(String::as_str).collect();
    let what = ForUser { key: &wish.key, principals: &principals, vouched, serial, now: now() };
    let certificate = cert::mint_user(&authority.key, &what).map_err(|e| e.to_string())?;
    let line = certificate.to_openssh().map_err(|e| e.to_string())?;
    Ok(format!("{}\n", line.trim_end()))
}

/// `issue TYPE KEY [PRINCIPAL...]`; without a principal the certificate serves for every target.
fn read(line: &[u8]) -> Result<Wish, String> {
    const USAGE: &str = "the one command here is: issue TYPE KEY [LOGIN+TARGET...]";
    if line.len() > MAX_COMMAND {
        return Err("the command is too long".into());
    }
    let line = std::str::from_utf8(line).map_err(|_| USAGE)?;
    let mut words = line.split_ascii_whitespace();
    let (Some("issue"), Some(kind), Some(key)) = (words.next(), words.next(), words.next()) else {
        return Err(USAGE.into());
    };
    let key = PublicKey::parse(&format!("{kind} {key}")).map_err(|error| error.to_string())?;
    let mut principals: Vec<String> = words.map(str::to_owned).collect();
    if principals.len() > MAX_PRINCIPALS {
        return Err("too many names".into());
    }
    if principals.is_empty() {
        principals.push(ANY_TARGET.to_owned());
    }
    let strange = |name: &&String| *name != ANY_TARGET && user_name(name).is_err();
    match principals.iter().find(strange) {
        Some(name) => Err(format!("{name:?} is no user name")),
        None => Ok(Wish { key, principals }),
    }
}

pub(crate) fn fuzz(line: &[u8]) {
    let _ = read(line);
}

/// Serial numbers of this process: the time it started in seconds, then a count.
fn serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    (now() << 20) | (count & 0xf_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    #[test]
    fn commands_are_read_and_odd_names_refused() {
        let key = SecretKey::generate().unwrap().public();
        let line = key.to_line().unwrap();
        let wish = read(format!("issue {line}").as_bytes()).unwrap();
        assert_eq!(wish.principals, [ANY_TARGET]);
        assert!(wish.key.is(key.0.key_data()));
        let named = read(format!("issue {line} root+web1 web2").as_bytes()).unwrap();
        assert_eq!(named.principals, ["root+web1", "web2"]);
        for odd in ["*", "a,b", "../x", "a+b+c", "root+web1,root+web2"] {
            assert!(read(format!("issue {line} {odd}").as_bytes()).is_err(), "{odd}");
        }
        for bad in ["", "issue", "issue ssh-ed25519", "id", "issue ssh-ed25519 AAAA", "revoke x y"]
        {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(read(&[b'x'; MAX_COMMAND + 1]).is_err());
        assert_ne!(serial(), serial());
    }
}
