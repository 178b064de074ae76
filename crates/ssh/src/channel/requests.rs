//! What a client asks of a session channel, in the order that RFC 4254 section 6 gives: a
//! terminal and variables first, then one program, then signals and sizes.

use records::{MAX_BAGGAGE_BYTES, Trace};
use ssh_wire::WireError;
use ssh_wire::packet::{Env, Line, PtyReq, Signal, WindowChange, X11Req};

use crate::rules::ChannelRules;

/// Most variables that one channel may set.
pub(crate) const MAX_ENV: usize = 64;
/// The most that names and values of variables may have together, in bytes, so that they fit the
/// entry of the program that they are for.
pub(crate) const MAX_ENV_BYTES: usize = 2048;
/// The longest request but for a command line, in bytes.
pub(crate) const MAX_REQUEST_BYTES: usize = 32 * 1024;
/// The longest command line, in bytes: the limit that Linux has for one argument.
pub(crate) const MAX_LINE_BYTES: usize = 128 * 1024;
/// The longest name of a signal, in bytes: private ones have their owner's domain (RFC 4254
/// section 6.10).
const MAX_SIGNAL_BYTES: usize = 64;
/// The longest name of a terminal type, of a variable or of a subsystem, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 256;

/// A terminal, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pty {
    pub(crate) term: Vec<u8>,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
}

/// What the program will find when it starts.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    pub(crate) pty: Option<Pty>,
    /// Variables that were let through.
    pub(crate) env: Vec<(Vec<u8>, Vec<u8>)>,
    /// `TRACEPARENT`, `TRACESTATE` and `BAGGAGE`, let through or not.
    said: [Option<String>; 3],
    started: bool,
}

/// The program that a channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start<'a> {
    Exec(&'a [u8]),
    Shell,
    Subsystem(&'a [u8]),
}

/// What to do about a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask<'a> {
    /// It goes on as it is.
    Forward,
    /// It goes on as it is; the terminal has another size.
    Resize { columns: u32, rows: u32 },
    /// It goes on as it is, and is recorded with the program's stream.
    Signal(&'a [u8]),
    /// It is answered with a failure. The reason is for the log.
    Refuse(&'static str),
    /// A program, to be judged.
    Start(Start<'a>),
    /// The key agent is to be reached from the target; to be judged.
    Agent,
    /// The display is to be reached from the target; to be judged.
    X11,
}

/// A request that no client makes: the connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("a channel request of {0} bytes")]
    TooLong(usize),
    #[error("a second program on one channel")]
    SecondStart,
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl Setup {
    /// Takes one request of the client.
    pub(crate) fn ask<'a>(
        &mut self,
        rules: &ChannelRules,
        kind: &[u8],
        rest: &'a [u8],
    ) -> Result<Ask<'a>, BadRequest> {
        let most = if kind == b"exec" { MAX_LINE_BYTES } else { MAX_REQUEST_BYTES };
        if rest.len() > most {
            return Err(BadRequest::TooLong(rest.len()));
        }
        match kind {
            b"pty-req" => self.pty(PtyReq::parse(rest)?),
            b"env" => self.variable(rules, Env::parse(rest)?),
            b"exec" => self.start(Start::Exec(Line::parse(rest)?.line)),
            b"subsystem" => self.start(Start::Subsystem(Line::parse(rest)?.line)),
            b"shell" if rest.is_empty() => self.start(Start::Shell),
            b"shell" => Err(WireError::Long(rest.len()).into()),
            b"window-change" => {
                let WindowChange { columns, rows, .. } = WindowChange::parse(rest)?;
                if let Some(pty) = &mut self.pty {
                    (pty.columns, pty.rows) = (columns, rows);
                }
                Ok(Ask::Resize { columns, rows })
            }
            b"signal" => match Signal::parse(rest)?.name {
                name if name.len() > MAX_SIGNAL_BYTES => Ok(Ask::Refuse("a long signal name")),
                name => Ok(Ask::Signal(name)),
            },
            // RFC 4335; OpenSSH's end of writing, and its question whether somebody is there.
            b"break" | b"eow@openssh.com" | b"keepalive@openssh.com" => Ok(Ask::Forward),
            b"auth-agent-req@openssh.com" => Ok(Ask::Agent),
            b"x11-req" => X11Req::parse(rest).map(|_| Ask::X11).map_err(BadRequest::from),
            _ => Ok(Ask::Refuse("a request of an unknown kind")),
        }
    }

    fn pty<'a>(&mut self, asked: PtyReq<'_>) -> Result<Ask<'a>, BadRequest> {
        if self.started || self.pty.is_some() {
            return Ok(Ask::Refuse("a second terminal, or one after the program"));
        }
        if asked.term.len() > MAX_NAME_BYTES {
            return Ok(Ask::Refuse("a long terminal type"));
        }
        let PtyReq { term, columns, rows, .. } = asked;
        self.pty = Some(Pty { term: term.to_vec(), columns, rows });
        Ok(Ask::Forward)
    }

    fn variable<'a>(
        &mut self,
        rules: &ChannelRules,
        Env { name, value, .. }: Env<'_>,
    ) -> Result<Ask<'a>, BadRequest> {
        if self.started {
            return Ok(Ask::Refuse("a variable after the program"));
        }
        self.listen(name, value);
        let bytes: usize = self.env.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.env.len() >= MAX_ENV
            || name.len() > MAX_NAME_BYTES
            || bytes + name.len() + value.len() > MAX_ENV_BYTES
        {
            return Ok(Ask::Refuse("too many variables, or a long name"));
        }
        if !rules.lets_set(name) {
            return Ok(Ask::Refuse("a variable that the target's configuration does not name"));
        }
        self.env.push((name.to_vec(), value.to_vec()));
        Ok(Ask::Forward)
    }

    /// Hears which run of which agent the program belongs to (the variables that OpenTelemetry's
    /// "environment variables as context propagation carriers" names), also where the target is
    /// not told. Of two the last counts, as on the target.
    fn listen(&mut self, name: &[u8], value: &[u8]) {
        let names: [&[u8]; 3] = [b"TRACEPARENT", b"TRACESTATE", b"BAGGAGE"];
        let place = names.iter().zip(&mut self.said).find(|(own, _)| **own == name);
        if let (Some((_, place)), true) = (place, value.len() <= MAX_BAGGAGE_BYTES) {
            *place = std::str::from_utf8(value).ok().map(str::to_owned);
        }
    }

    /// Which run of which agent the program belongs to, as the client says.
    pub(crate) fn trace(&self) -> Option<Trace<'static>> {
        let [parent, state, baggage] = &self.said;
        Trace::read(parent.as_deref()?, state.as_deref(), baggage.as_deref())
    }

    fn start<'a>(&mut self, start: Start<'a>) -> Result<Ask<'a>, BadRequest> {
        if std::mem::replace(&mut self.started, true) {
            return Err(BadRequest::SecondStart);
        }
        if let Start::Subsystem(name) = start
            && name.len() > MAX_NAME_BYTES
        {
            return Ok(Ask::Refuse("a long subsystem name"));
        }
        Ok(Ask::Start(start))
    }
}

/// For the fuzzer: requests on one channel, each a byte that says of which kind it is, two that
/// say how long, and as much. Command lines are handed on. `false`: a bound did not hold.
pub(crate) fn fuzz(mut data: &[u8], mut exec: impl FnMut(&[u8])) -> bool {
    const KINDS: [&[u8]; 12] = [
        b"pty-req",
        b"env",
        b"exec",
        b"subsystem",
        b"shell",
        b"window-change",
        b"signal",
        b"break",
        b"eow@openssh.com",
        b"auth-agent-req@openssh.com",
        b"x11-req",
        b"unknown",
    ];
    let rules = ChannelRules { env: vec!["A*".into()], ..ChannelRules::default() };
    let mut setup = Setup::default();
    while let [kind, high, low, rest @ ..] = data {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (body, behind) = rest.split_at(length.min(rest.len()));
        data = behind;
        let kind = KINDS.get(usize::from(*kind) % KINDS.len()).copied().unwrap_or_default();
        match setup.ask(&rules, kind, body) {
            Ok(Ask::Start(Start::Exec(line))) => exec(line),
            Ok(Ask::Start(Start::Subsystem(name))) if name.len() > MAX_NAME_BYTES => return false,
            Ok(Ask::Signal(name)) if name.len() > MAX_SIGNAL_BYTES => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
        let bytes: usize = setup.env.iter().map(|(name, value)| name.len() + value.len()).sum();
        let term = setup.pty.as_ref().map_or(0, |pty| pty.term.len());
        if setup.env.len() > MAX_ENV || bytes > MAX_ENV_BYTES || term > MAX_NAME_BYTES {
            return false;
        }
        drop(setup.trace());
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_requests_keep_their_bounds(data in prop::collection::vec(any::<u8>(), 0..4096)) {
            let held = fuzz(&data, |_| {});
            prop_assert!(held);
        }
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn rules() -> ChannelRules {
        ChannelRules { env: vec!["LANG".into(), "LC_*".into()], ..ChannelRules::default() }
    }

    #[test]
    fn variables_are_let_through_by_name() {
        let rules = rules();
        let mut setup = Setup::default();
        let mut env = |name: &[u8]| {
            let rest = [string(name), string(b"x")].concat();
            setup.ask(&rules, b"env", &rest).map(|ask| ask == Ask::Forward)
        };
        assert_eq!(env(b"LANG"), Ok(true));
        assert_eq!(env(b"LC_ALL"), Ok(true));
        for refused in [b"LD_PRELOAD".as_slice(), b"LANGUAGE", b"", b"XLC_", b"lang"] {
            assert_eq!(env(refused), Ok(false));
        }
        for _ in 0..MAX_ENV - 2 {
            assert_eq!(env(b"LC_X"), Ok(true));
        }
        assert_eq!(env(b"LC_X"), Ok(false));
        assert_eq!(setup.env.len(), MAX_ENV);
        let long = [string(b"LANG"), string(&[b'x'; MAX_ENV_BYTES])].concat();
        let ask =
            |rest: &[u8]| Setup::default().ask(&rules, b"env", rest).map(|a| a == Ask::Forward);
        assert_eq!(ask(&long), Ok(false));
    }

    #[test]
    fn a_run_is_heard_of_also_where_the_target_is_not_told() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let mut setup = Setup::default();
        let mut env = |name: &[u8], value: &[u8]| {
            let rest = [string(name), string(value)].concat();
            setup.ask(&rules(), b"env", &rest).map(|ask| ask == Ask::Forward)
        };
        assert_eq!(env(b"TRACEPARENT", b"what?"), Ok(false));
        assert_eq!(env(b"TRACEPARENT", parent.as_bytes()), Ok(false));
        assert_eq!(env(b"BAGGAGE", b"run=7"), Ok(false));
        assert_eq!(env(b"traceparent", b"not its name"), Ok(false));
        let trace = setup.trace().unwrap();
        assert_eq!((&*trace.parent, &*trace.baggage["run"]), ("00f067aa0ba902b7", "7"));
        assert!(setup.env.is_empty() && Setup::default().trace().is_none());
    }

    #[test]
    fn one_program_a_channel() {
        let rules = rules();
        for first in [(b"exec".as_slice(), string(b"id")), (b"shell", vec![])] {
            let mut setup = Setup::default();
            assert!(matches!(setup.ask(&rules, first.0, &first.1), Ok(Ask::Start(_))));
            for (kind, rest) in [
                (b"exec".as_slice(), string(b"id")),
                (b"shell", vec![]),
                (b"subsystem", string(b"sftp")),
            ] {
                assert_eq!(setup.ask(&rules, kind, &rest), Err(BadRequest::SecondStart));
            }
            let pty = [string(b"xterm"), vec![0; 16], string(b"")].concat();
            assert!(matches!(setup.ask(&rules, b"pty-req", &pty), Ok(Ask::Refuse(_))));
            let env = [string(b"LANG"), string(b"C")].concat();
            assert!(matches!(setup.ask(&rules, b"env", &env), Ok(Ask::Refuse(_))));
        }
    }

    #[test]
    fn long_and_misshapen_requests_end_the_connection() {
        let rules = rules();
        let ask = |kind: &[u8], rest: &[u8]| Setup::default().ask(&rules, kind, rest).err();
        let long = string(&[b'a'; MAX_LINE_BYTES]);
        assert_eq!(ask(b"exec", &long), Some(BadRequest::TooLong(long.len())));
        let long = [0; MAX_REQUEST_BYTES + 1];
        assert_eq!(ask(b"anything", &long), Some(BadRequest::TooLong(long.len())));
        assert_eq!(ask(b"exec", b"\0\0\0\x05id"), Some(WireError::Short.into()));
        assert_eq!(ask(b"shell", b"x"), Some(WireError::Long(1).into()));
        assert_eq!(ask(b"window-change", b""), Some(WireError::Short.into()));
    }

    #[test]
    fn sizes_and_signals_are_seen() {
        let rules = rules();
        let mut setup = Setup::default();
        let pty =
            [string(b"xterm"), vec![0, 0, 0, 80, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0], string(b"")]
                .concat();
        assert_eq!(setup.ask(&rules, b"pty-req", &pty), Ok(Ask::Forward));
        let size = [0, 0, 0, 100, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            setup.ask(&rules, b"window-change", &size),
            Ok(Ask::Resize { columns: 100, rows: 30 })
        );
        assert_eq!(setup.pty, Some(Pty { term: b"xterm".to_vec(), columns: 100, rows: 30 }));
        assert_eq!(setup.ask(&rules, b"signal", &string(b"INT")), Ok(Ask::Signal(b"INT")));
        let long = string(&[b'S'; 65]);
        assert!(matches!(setup.ask(&rules, b"signal", &long), Ok(Ask::Refuse(_))));
        assert!(matches!(setup.ask(&rules, b"made-up@x", b""), Ok(Ask::Refuse(_))));
    }
}
