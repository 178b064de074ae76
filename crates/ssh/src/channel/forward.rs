//! What connects the two sides' networks: forwarded connections and sockets, the key agent, the
//! display. Each connection is a command of its own; its bytes are counted and hashed, and not
//! kept.

pub(super) mod place;

use std::borrow::Cow;
use std::collections::BTreeMap;

use gate::{Draft, Exchange, JournalError, Keep, MAX_INLINE_TEXT, Release, Submission};
use records::{Response, Text};
use ssh_wire::WireError;
use ssh_wire::packet::{
    DirectStreamLocal, DirectTcpip, ForwardedStreamLocal, ForwardedTcpip, OpenFailure, X11Open,
    write,
};

use super::stream::{Recording, Running};
use super::{Channel, Kind, Opening, Run, Shared, judge};
use crate::refusal;
use crate::relay::End;
use crate::side::Side;
use place::Name;
pub(crate) use place::Place;

type Details = BTreeMap<Cow<'static, str>, Text<'static>>;

/// A kind of forwarding, judged and recorded alike.
struct Wish {
    via: &'static str,
    class: &'static str,
    /// What rules match, as it was sent first.
    names: Vec<Name>,
    /// Whether the target's configuration takes such at all.
    allowed: bool,
    /// Why it is refused whatever the rules say.
    forbidden: Option<&'static str>,
    details: Details,
}

/// The rule's name in a verdict that no rule can overturn.
const OWN_RULE: &str = "forwarding";

/// What became of a wish.
pub(crate) enum Granted {
    Yes(Box<Exchange>),
    /// It was refused; the right to say so, and what to say.
    No(Release, String),
}

fn ask(wish: Wish, shared: &Shared) -> Result<Granted, End> {
    let Wish { via, class, names, allowed, forbidden, details } = wish;
    let resource = names.first().map(|(name, _)| name.clone()).unwrap_or_default();
    let judgement = judge::forward(&shared.session, via, class, names);
    let mut judgement = judge::gated(judgement, allowed, via);
    if let Some(reason) = forbidden {
        judgement = judgement.forbid(OWN_RULE, reason);
    }
    let draft = Draft {
        via,
        text: Some(Text::from(resource.clone())),
        text_bytes: resource.len() as u64,
        media: terminal::frames::MEDIA,
        keep: Keep::Counted,
        details,
        ..Draft::default()
    };
    match shared.session.submit(&judgement, draft) {
        Ok(Submission::Admitted(exchange)) => Ok(Granted::Yes(exchange)),
        Ok(Submission::Refused(refusal)) => {
            Ok(Granted::No(refusal.release, refusal::refused_open(&refusal.cause)))
        }
        Err(error @ (JournalError::Full | JournalError::TooLarge { .. })) => {
            let told = refusal::unrecorded(error).trim_end().to_owned();
            Ok(Granted::No(shared.session.release(), told))
        }
        Err(error) => Err(error.into()),
    }
}

/// A connection that the client asks for: judged, on record, then passed on. `None`: it was
/// refused, and the client is told.
pub(crate) fn from_client(
    opening: Opening,
    kind: &[u8],
    rest: &[u8],
    shared: &mut Shared,
) -> Result<Option<Channel>, End> {
    let wish = wish_of_client(kind, rest, shared)
        .map_err(|e| End::violation(Side::Client, e.to_string()))?;
    match ask(wish, shared)? {
        Granted::Yes(exchange) => {
            let (mut channel, window, max_packet) =
                Channel::new(Kind::Forward, Side::Client, opening, shared);
            let packet = write::open(kind, opening.number, window, max_packet, rest);
            let admitted = exchange.admitted().clone();
            shared.to_target.push(&admitted, packet.len(), packet);
            channel.run = running(exchange, shared);
            Ok(Some(channel))
        }
        Granted::No(release, told) => {
            let why = OpenFailure::AdministrativelyProhibited;
            let packet = write::open_failure(opening.number, why, &told);
            shared.to_client.push(&release, packet.len(), packet);
            Ok(None)
        }
    }
}

/// A connection that the target brings, of a kind that the client asked for: judged, on record,
/// then passed on. `None`: it was refused, and the target is told.
pub(crate) fn from_target(
    opening: Opening,
    kind: &[u8],
    rest: &[u8],
    shared: &mut Shared,
) -> Result<Option<Channel>, End> {
    let wish = wish_of_target(kind, rest, shared)
        .map_err(|e| End::violation(Side::Target, e.to_string()))?;
    let granted = match wish {
        Some(wish) => ask(wish, shared)?,
        None => Granted::No(shared.session.release(), "not asked for".into()),
    };
    match granted {
        Granted::Yes(mut exchange) => {
            let (mut channel, window, max_packet) =
                Channel::new(Kind::Forward, Side::Target, opening, shared);
            let packet = write::open(kind, opening.number, window, max_packet, rest);
            let release = exchange.release()?;
            shared.to_client.push(&release, packet.len(), packet);
            channel.run = running(exchange, shared);
            Ok(Some(channel))
        }
        Granted::No(_, told) => {
            let why = OpenFailure::AdministrativelyProhibited;
            let packet = write::open_failure(opening.number, why, &told);
            shared.housekeeping(Side::Target, packet);
            Ok(None)
        }
    }
}

fn running(exchange: Box<Exchange>, shared: &Shared) -> Run {
    let recording =
        Recording { terminal: false, record_input: shared.rules.record_input, mask_client: false };
    Run::Running(Box::new(Running::new(exchange, &shared.masking, recording)))
}

fn wish_of_client(kind: &[u8], rest: &[u8], shared: &Shared) -> Result<Wish, WireError> {
    let allow = shared.rules.allow;
    Ok(match kind {
        b"direct-tcpip" => {
            let read = DirectTcpip::parse(rest)?;
            let details = addresses(read.host, read.port, read.origin, read.origin_port);
            let place = Place::port(read.host, read.port);
            forward("direct-tcpip", place, allow.local_forward, details)
        }
        b"direct-streamlocal@openssh.com" => {
            let path = DirectStreamLocal::parse(rest)?.path;
            let place = Place::socket(path);
            forward("direct-streamlocal", place, allow.local_streamlocal, at_path(path))
        }
        other => {
            let mut wish = forward("open", Place::named(&lossy(other)), false, Details::new());
            wish.class = "unknown";
            wish
        }
    })
}

/// `None`: nobody asked for it.
fn wish_of_target(kind: &[u8], rest: &[u8], shared: &Shared) -> Result<Option<Wish>, WireError> {
    let (allow, grants) = (shared.rules.allow, &shared.grants);
    Ok(match kind {
        b"forwarded-tcpip" => {
            let read = ForwardedTcpip::parse(rest)?;
            let details = addresses(read.host, read.port, read.origin, read.origin_port);
            let place = Place::port(read.host, read.port);
            grants
                .contains(&address(read.host, read.port))
                .then(|| forward("forwarded-tcpip", place, allow.remote_forward, details))
        }
        b"forwarded-streamlocal@openssh.com" => {
            let path = ForwardedStreamLocal::parse(rest)?.path;
            let via = "forwarded-streamlocal";
            grants
                .contains(&lossy(path))
                .then(|| forward(via, Place::socket(path), allow.remote_streamlocal, at_path(path)))
        }
        b"auth-agent@openssh.com" => {
            let place = Place::named("agent");
            shared.agent.then(|| forward("agent", place, allow.agent, Details::new()))
        }
        b"x11" => {
            let read = X11Open::parse(rest)?;
            let origin = format!("{}:{}", lossy(read.origin), read.origin_port);
            let details = Details::from([("origin".into(), origin.into())]);
            shared.x11.then(|| forward("x11", Place::named("x11"), allow.x11, details))
        }
        _ => None,
    })
}

fn forward(via: &'static str, place: Place, allowed: bool, details: Details) -> Wish {
    let Place { names, forbidden } = place;
    Wish { via, class: "forward", names, allowed, forbidden, details }
}

/// A port or a socket that the target is to listen on for the client; or no longer. With
/// `too_many`, it is refused on record.
pub(crate) fn listen(
    via: &'static str,
    place: Place,
    too_many: bool,
    shared: &Shared,
) -> Result<Granted, End> {
    let allow = shared.rules.allow;
    let (allowed, class) = match via {
        "tcpip-forward" => (allow.remote_forward, "forward"),
        "streamlocal-forward" => (allow.remote_streamlocal, "forward"),
        // The end of what was granted.
        _ => (true, "session"),
    };
    let mut wish = Wish { class, ..forward(via, place, allowed, Details::new()) };
    if too_many {
        wish.forbidden = Some("The target listens on as many ports and sockets as it may.");
    }
    ask(wish, shared)
}

/// The key agent or the display is asked for on a channel. `Some`: it may be.
pub(super) fn reach(via: &'static str, shared: &mut Shared) -> Result<Option<gate::Admitted>, End> {
    let allowed = match via {
        "agent" => shared.rules.allow.agent,
        _ => shared.rules.allow.x11,
    };
    match ask(forward(via, Place::named(via), allowed, Details::new()), shared)? {
        Granted::Yes(mut exchange) => {
            match via {
                "agent" => shared.agent = true,
                _ => shared.x11 = true,
            }
            let admitted = exchange.admitted().clone();
            // That it was passed on is all there is to know; what is done with it is a command
            // of its own.
            let mut response = Response { outcome: "ok".into(), ..Response::default() };
            exchange.try_finish(&mut response)?;
            Ok(Some(admitted))
        }
        Granted::No(..) => Ok(None),
    }
}

/// A destination as rules name it: `host:port`, IPv6 addresses in brackets.
pub(crate) fn address(host: &[u8], port: u32) -> String {
    let host = lossy(host);
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn addresses(host: &[u8], port: u32, origin: &[u8], origin_port: u32) -> Details {
    Details::from([
        ("host".into(), lossy(host).into()),
        ("port".into(), port.to_string().into()),
        ("origin".into(), address(origin, origin_port).into()),
    ])
}

fn at_path(path: &[u8]) -> Details {
    Details::from([("path".into(), lossy(path).into())])
}

/// Text for people and rules; never so long that an entry can't hold it.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(MAX_INLINE_TEXT / 4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_named_as_rules_name_them() {
        assert_eq!(address(b"db", 5432), "db:5432");
        assert_eq!(address(b"::1", 22), "[::1]:22");
    }
}
