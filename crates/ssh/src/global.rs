//! What is asked about the connection and no channel: RFC 4254 section 4.
//!
//! Keep-alives are answered here, on each leg for itself. Ports and sockets that the target is
//! to listen on (section 7.1) are judged and recorded. What a target says of its host keys is
//! not passed on and never learnt. Everything else is refused.

use std::collections::VecDeque;

use bytes::Bytes;
use gate::{Exchange, Release};
use records::Response;
use ssh_wire::Reader;
use ssh_wire::packet::{StreamLocalForward, TcpipForward, write};

use crate::channel::Shared;
use crate::channel::forward::{self, Granted, Place, address, lossy};
use crate::channel::replies::{Replies, Unordered};
use crate::relay::End;
use crate::side::{Both, Side};

/// Global requests under way.
#[derive(Default)]
pub(crate) struct Global {
    /// The answers that a side waits for; the client's with the right to give them.
    answers: Both<Replies<(Bytes, Option<Release>)>>,
    /// What a side was asked and has not answered, oldest first.
    asked: Both<VecDeque<Asked>>,
    /// The client wants no more sessions.
    pub(crate) no_more_sessions: bool,
}

enum Asked {
    /// Whether it is there.
    Keepalive,
    /// The target, to listen or to stop it.
    Listen(Box<Listen>),
}

/// A port or a socket that the client asks for.
struct Ask {
    via: &'static str,
    resource: String,
    place: Place,
    chosen_port: Option<Vec<u8>>,
    packet: Bytes,
}

struct Listen {
    exchange: Box<Exchange>,
    /// Whether it is to begin; else to end.
    begins: bool,
    /// What rules call it.
    resource: String,
    /// The address, where the target chooses the port and its answer says which.
    chosen_port: Option<Vec<u8>>,
    want_reply: bool,
}

/// The question whether somebody is there.
const KEEPALIVE: &[u8] = b"keepalive@openssh.com";
/// Most of our own questions that may be without an answer: after this many the peer is dead.
const MAX_ASKED: usize = 3;
/// Most ports and sockets that a target may listen on for one client.
const MAX_GRANTS: usize = 16;

impl Global {
    /// Takes a request.
    pub(crate) fn on_request(
        &mut self,
        from: Side,
        kind: &[u8],
        want_reply: bool,
        rest: &[u8],
        shared: &mut Shared,
    ) -> Result<(), End> {
        if from == Side::Client {
            let bad = |e: ssh_wire::WireError| End::violation(from, e.to_string());
            match kind {
                b"no-more-sessions@openssh.com" => {
                    self.no_more_sessions = true;
                    let packet = write::global_request(kind, false, b"");
                    shared.housekeeping(Side::Target, packet);
                }
                b"tcpip-forward" | b"cancel-tcpip-forward" => {
                    let read = TcpipForward::parse(rest).map_err(bad)?;
                    let begins = kind == b"tcpip-forward";
                    let via = if begins { "tcpip-forward" } else { "cancel-tcpip-forward" };
                    let chosen = (read.port == 0 && begins).then(|| read.host.to_vec());
                    let resource = address(read.host, read.port);
                    let place = Place::port(read.host, read.port);
                    let packet = write::global_request(kind, true, rest);
                    let ask = Ask { via, resource, place, chosen_port: chosen, packet };
                    return self.listen(ask, want_reply, shared);
                }
                b"streamlocal-forward@openssh.com" | b"cancel-streamlocal-forward@openssh.com" => {
                    let path = StreamLocalForward::parse(rest).map_err(bad)?.path;
                    let begins = kind == b"streamlocal-forward@openssh.com";
                    let via =
                        if begins { "streamlocal-forward" } else { "cancel-streamlocal-forward" };
                    let (resource, place) = (lossy(path), Place::socket(path));
                    let packet = write::global_request(kind, true, rest);
                    let ask = Ask { via, resource, place, chosen_port: None, packet };
                    return self.listen(ask, want_reply, shared);
                }
                _ => {}
            }
        }
        self.refuse(from, want_reply, None, shared)
    }

    fn refuse(
        &mut self,
        from: Side,
        want_reply: bool,
        release: Option<Release>,
        shared: &mut Shared,
    ) -> Result<(), End> {
        if want_reply {
            // OpenSSH answers keep-alives with a failure too.
            let answer = (write::request_failure(), release);
            self.answers.of_mut(from).answered(answer).map_err(|e| unordered(from, e))?;
        }
        self.flush(from, shared);
        Ok(())
    }

    fn listen(&mut self, ask: Ask, want_reply: bool, shared: &mut Shared) -> Result<(), End> {
        let Ask { via, resource, place, chosen_port, packet } = ask;
        let begins = !via.starts_with("cancel-");
        if !begins && !shared.grants.contains(&resource) {
            return self.refuse(Side::Client, want_reply, None, shared);
        }
        let listening = self.asked.target.iter().filter(|a| matches!(a, Asked::Listen(_))).count();
        // What was granted can be given back, but not without end before the target answers.
        let too_many = match begins {
            true => shared.grants.len() + listening >= MAX_GRANTS,
            false => listening >= 2 * MAX_GRANTS,
        };
        match forward::listen(via, place, too_many, shared)? {
            Granted::Yes(exchange) => {
                let admitted = exchange.admitted().clone();
                shared.to_target.push(&admitted, packet.len(), packet);
                let listen = Listen { exchange, begins, resource, chosen_port, want_reply };
                self.asked.target.push_back(Asked::Listen(Box::new(listen)));
                if want_reply {
                    let answers = &mut self.answers.client;
                    answers.forwarded().map_err(|e| unordered(Side::Client, e))?;
                }
                Ok(())
            }
            Granted::No(release, _) => self.refuse(Side::Client, want_reply, Some(release), shared),
        }
    }

    /// Takes an answer of a side.
    pub(crate) fn on_answer(
        &mut self,
        from: Side,
        success: bool,
        rest: &[u8],
        shared: &mut Shared,
    ) -> Result<(), End> {
        match self.asked.of_mut(from).pop_front() {
            None => Err(unordered(from, Unordered::Unasked)),
            Some(Asked::Keepalive) => Ok(()),
            Some(Asked::Listen(listen)) => self.on_listening(*listen, success, rest, shared),
        }
    }

    fn on_listening(
        &mut self,
        listen: Listen,
        success: bool,
        rest: &[u8],
        shared: &mut Shared,
    ) -> Result<(), End> {
        let Listen { mut exchange, begins, mut resource, chosen_port, want_reply } = listen;
        let mut response = Response {
            outcome: if success { "ok" } else { "error" }.into(),
            ..Response::default()
        };
        if success && begins {
            if let Some(host) = chosen_port {
                let port = Reader::new(rest).uint32();
                let port = port.map_err(|e| End::violation(Side::Target, e.to_string()))?;
                resource = address(&host, port);
                response.details.insert("port".into(), port.to_string().into());
            }
            shared.grants.insert(resource);
        } else if success {
            shared.grants.remove(&resource);
        }
        // Nothing of it is kept in objects, so it needs no wait.
        let release = exchange.try_finish(&mut response)?;
        if want_reply {
            let packet = match success {
                true => write::request_success(rest),
                false => write::request_failure(),
            };
            let answers = &mut self.answers.client;
            answers.resolve((packet, release)).map_err(|e| unordered(Side::Target, e))?;
        }
        self.flush(Side::Client, shared);
        Ok(())
    }

    fn flush(&mut self, to: Side, shared: &mut Shared) {
        while let Some((answer, release)) = self.answers.of_mut(to).next() {
            match release {
                Some(release) => shared.to_client.push(&release, answer.len(), answer),
                None => shared.housekeeping(to, answer),
            }
        }
    }

    /// Asks a side whether it is there. `false`: it has left too many such questions unanswered.
    pub(crate) fn ask(&mut self, side: Side, shared: &mut Shared) -> bool {
        let asked = self.asked.of_mut(side);
        if asked.iter().filter(|a| matches!(a, Asked::Keepalive)).count() >= MAX_ASKED {
            return false;
        }
        asked.push_back(Asked::Keepalive);
        shared.housekeeping(side, write::global_request(KEEPALIVE, true, b""));
        true
    }
}

fn unordered(by: Side, error: Unordered) -> End {
    End::violation(by, error.to_string())
}
