//! One process: its messages, who waits for them, and its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use gate::Session;
use identity::{Lease, Principal};
use mcp_wire::{Event, Id, Limits, Lines, Message, answer, parse_one};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::child::{Group, PIECE_BYTES, complain};
use super::{Launcher, Program, StartError};

/// The longest line, in bytes: one message.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
/// Requests of a client that may wait for their answer at once.
const MAX_PENDING: usize = 128;
/// Messages of the server's that nobody waits for, until somebody listens; with more it ends.
const MAX_WAITING: usize = 64;
/// Lines that are no messages; with more the program is taken for no server of MCP.
const MAX_NOISE: usize = 100;
/// Messages on their way to the program, and events on their way to a client: as many as may wait
/// for the first who listens.
const QUEUE: usize = MAX_WAITING;
/// How long a process may take to end once its input is closed, before its group is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long a process may have nothing to do.
const IDLE: Duration = Duration::from_secs(300);
/// How long the program may take to read a message, and a client to take one.
const READING: Duration = Duration::from_secs(60);

/// JSON-RPC's code for what is the server's own fault (5.1).
const INTERNAL_ERROR: i64 = -32603;

/// A process, and who waits for what it says.
pub(super) struct Process {
    pub(super) key: String,
    /// Whose it is: issuer and subject.
    owner: (String, String),
    state: Mutex<State>,
    stop: Notify,
}

struct State {
    /// None when it has ended.
    input: Option<mpsc::Sender<Vec<u8>>>,
    pending: Vec<Pending>,
    /// The last number that a request got.
    last: i64,
    listener: Option<mpsc::Sender<Bytes>>,
    waiting: VecDeque<Bytes>,
    /// The newest lease that its session was used under.
    lease: Lease,
    used: Instant,
}

/// A request that waits for its answer.
struct Pending {
    /// What the program knows it by: clients may take the same ids.
    number: Id,
    /// The client's own.
    id: Id,
    /// What the client knows its progress by.
    token: Option<Id>,
    to: mpsc::Sender<Bytes>,
}

/// Why a message can't be given to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    /// It has ended.
    Over,
    /// Too many are under way, or it does not read.
    Busy,
}

impl Process {
    /// Starts one for this session. To be called inside a [`tokio::task::LocalSet`].
    pub(super) fn start(
        program: &Program,
        key: String,
        session: &Session,
        launcher: &Arc<Launcher>,
    ) -> Result<Arc<Process>, StartError> {
        let (group, pipes) = Group::spawn(program)?;
        let (input, messages) = mpsc::channel(QUEUE);
        let principal = session.principal();
        let process = Arc::new(Process {
            key,
            owner: (principal.issuer.clone(), principal.subject.clone()),
            state: Mutex::new(State {
                input: Some(input),
                pending: Vec::new(),
                last: 0,
                listener: None,
                waiting: VecDeque::new(),
                lease: session.lease().clone(),
                used: Instant::now(),
            }),
            stop: Notify::new(),
        });
        let policy = session.target().masking.clone();
        spawn_local(complain(pipes.complaints, policy, program.clone()));
        let pipes = (pipes.input, pipes.output);
        spawn_local(run(process.clone(), group, messages, pipes, Arc::downgrade(launcher)));
        Ok(process)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was started for this principal.
    pub(super) fn belongs_to(&self, principal: &Principal) -> bool {
        self.owner.0 == principal.issuer && self.owner.1 == principal.subject
    }

    /// Whether it is this session's principal's. If so, it goes on while that session's lease does.
    pub(super) fn is_of(&self, session: &Session) -> bool {
        let own = self.belongs_to(session.principal());
        if own {
            let mut state = self.lock();
            (state.lease, state.used) = (session.lease().clone(), Instant::now());
        }
        own
    }

    /// Gives it a message; for a request, what comes of it.
    pub(super) async fn send(
        &self,
        mut message: Message,
    ) -> Result<Option<mpsc::Receiver<Bytes>>, Unsent> {
        let answers = match &message {
            Message::Request(request) => {
                let token = message.meta().and_then(|meta| meta.get("progressToken"));
                let token = token.and_then(Id::from_value);
                let (number, answers) = self.expect(request.id().clone(), token)?;
                message.renumber(&number);
                Some(answers)
            }
            Message::Notification(notification) => {
                if let Some(id) = notification.cancels() {
                    match self.number_of(&id) {
                        Some(number) => message.renumber(&number),
                        // It was answered already, or never asked.
                        None => return Ok(None),
                    }
                }
                None
            }
            Message::Response(_) => None,
        };
        let input = self.lock().input.clone().ok_or(Unsent::Over)?;
        let sent = timeout(READING, input.send(message.to_line())).await;
        match sent {
            Ok(Ok(())) => Ok(answers),
            Ok(Err(_)) => Err(Unsent::Over),
            Err(_) => Err(Unsent::Busy),
        }
    }

    fn expect(&self, id: Id, token: Option<Id>) -> Result<(Id, mpsc::Receiver<Bytes>), Unsent> {
        let mut state = self.lock();
        if state.input.is_none() {
            return Err(Unsent::Over);
        }
        if state.pending.len() >= MAX_PENDING {
            // Whoever went away makes room first.
            state.pending.retain(|it| !it.to.is_closed());
        }
        if state.pending.len() >= MAX_PENDING {
            return Err(Unsent::Busy);
        }
        let (to, answers) = mpsc::channel(QUEUE);
        state.tell_waiting(&to);
        state.last += 1;
        let number = Id::Number(state.last);
        state.pending.push(Pending { number: number.clone(), id, token, to });
        Ok((number, answers))
    }

    /// What the program knows a client's request by.
    fn number_of(&self, id: &Id) -> Option<Id> {
        let state = self.lock();
        state.pending.iter().rev().find(|it| it.id == *id).map(|it| it.number.clone())
    }

    /// Gives what belongs to no request; whoever listened before does no more.
    pub(super) fn listen(&self) -> mpsc::Receiver<Bytes> {
        let (to, events) = mpsc::channel(QUEUE);
        let mut state = self.lock();
        state.tell_waiting(&to);
        state.listener = Some(to);
        events
    }

    /// Asks it to end.
    pub(super) fn stop(&self) {
        self.stop.notify_one();
    }

    /// Hands on a message of the server's. False: it says too much that nobody waits for.
    async fn hand_on(&self, mut message: Message) -> bool {
        let to = {
            let mut state = self.lock();
            state.used = Instant::now();
            match state.who(&mut message) {
                Who::Nobody => return true,
                Who::This(to) => to,
                Who::Whoever if state.waiting.len() >= MAX_WAITING => return false,
                Who::Whoever => {
                    state.waiting.push_back(event(message.to_bytes()));
                    return true;
                }
            }
        };
        // Whoever went away gets nothing; the record has what they got.
        let _gone = timeout(READING, to.send(event(message.to_bytes()))).await;
        true
    }

    /// Everybody who waits learns that nothing comes.
    fn close(&self) {
        let mut state = self.lock();
        state.input = None;
        for Pending { id, to, .. } in state.pending.drain(..) {
            // Whoever does not read what came before gets the stream's end.
            let _full = to.try_send(event(failure(&id, "the server has ended")));
        }
        state.listener = None;
    }

    /// Ends when it is time that the process does.
    async fn over(&self) -> &'static str {
        loop {
            let lease = self.lock().lease.clone();
            tokio::select! {
                _ = lease.ended() => {
                    // It may have been used under another since.
                    if self.lock().lease.is_over().is_some() {
                        return "the lease is over";
                    }
                }
                () = self.stop.notified() => return "the client ended it",
                () = sleep(IDLE) => {
                    if self.lock().is_idle() {
                        return "it had nothing to do";
                    }
                }
            }
        }
    }
}

/// Who is told of a message.
enum Who {
    This(mpsc::Sender<Bytes>),
    /// Whoever listens next.
    Whoever,
    /// Nobody will: it answers what nobody waits for.
    Nobody,
}

impl State {
    /// Who is told of a message, which becomes one about what they asked: an answer is for who
    /// asked; progress for whose it is; anything else goes with the request that came last, for it
    /// may be because of that; else to who listens.
    fn who(&mut self, message: &mut Message) -> Who {
        let token = match &*message {
            Message::Response(response) => {
                let Some(at) = self.pending.iter().position(|it| Some(&it.number) == response.id())
                else {
                    return Who::Nobody;
                };
                let Pending { id, to, .. } = self.pending.remove(at);
                message.renumber(&id);
                return Who::This(to);
            }
            Message::Notification(it) => it.progress_token(),
            Message::Request(_) => None,
        };
        if let Some(token) = token {
            let own = self.pending.iter().find(|it| it.number == token);
            let Some((own, client_s)) = own.and_then(|it| Some((it, it.token.as_ref()?))) else {
                return Who::Nobody;
            };
            message.renumber(client_s);
            return Who::This(own.to.clone());
        }
        let mut asking = self.pending.iter().rev().map(|it| &it.to).chain(&self.listener);
        match asking.find(|it| !it.is_closed()).cloned() {
            Some(to) => Who::This(to),
            None => Who::Whoever,
        }
    }

    /// Gives somebody new what nobody waited for.
    fn tell_waiting(&mut self, to: &mpsc::Sender<Bytes>) {
        for event in self.waiting.drain(..) {
            // As long as the channel: there is room.
            let _fits = to.try_send(event);
        }
    }

    fn is_idle(&self) -> bool {
        let mut asking = self.pending.iter().map(|it| &it.to).chain(&self.listener);
        asking.all(mpsc::Sender::is_closed) && self.used.elapsed() >= IDLE
    }
}

fn event(message: Vec<u8>) -> Bytes {
    Event::of(String::from_utf8(message).unwrap_or_default()).to_bytes().into()
}

/// An answer of ours: it is the server's fault.
pub(super) fn failure(id: &Id, why: &str) -> Vec<u8> {
    answer::error(Some(id), INTERNAL_ERROR, why, None)
}

/// Sees to a process until it ends.
async fn run(
    process: Arc<Process>,
    group: Group,
    messages: mpsc::Receiver<Vec<u8>>,
    (input, mut output): (pipe::Sender, pipe::Receiver),
    launcher: Weak<Launcher>,
) {
    // What it said last may still be in its pipe, whose end is told first.
    let deaf = async {
        feed(messages, input).await;
        sleep(GRACE).await;
    };
    let gone = async {
        group.ended().await;
        sleep(GRACE).await;
    };
    let why = tokio::select! {
        why = listen(&process, &mut output) => why,
        why = process.over() => why,
        () = deaf => "it does not read any more",
        () = gone => "it ended, and left its pipes to others",
    };
    tracing::debug!(why, "a program's session ends");
    if let Some(launcher) = launcher.upgrade() {
        launcher.forget(&process.key);
    }
    process.close();
    // Its input is closed, which asks it to end; what it still says is read, so that it can.
    let _killed_then = timeout(GRACE, discard(&mut output)).await;
    drop(group);
}

/// Reads what the program says, until that ends or can't be understood.
async fn listen(process: &Process, output: &mut pipe::Receiver) -> &'static str {
    let (mut lines, mut noise) = (Lines::new(MAX_LINE_BYTES), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let Ok(read @ 1..) = output.read(&mut piece).await else { return "the program ended" };
        lines.push(piece.get(..read).unwrap_or_default());
        loop {
            let line = match lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(_) => return "a line was too long",
            };
            match parse_one(&line, Limits::default()) {
                Ok(message) => {
                    if !process.hand_on(message).await {
                        return "it said too much that nobody asked for";
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a program wrote a line that is no message");
                    noise += 1;
                    if noise > MAX_NOISE {
                        return "it wrote too much that is no message";
                    }
                }
            }
        }
    }
}

/// Writes what the program is to read, until it reads no more.
async fn feed(mut messages: mpsc::Receiver<Vec<u8>>, mut input: pipe::Sender) {
    while let Some(line) = messages.recv().await {
        if input.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// Reads to the end what nobody wants any more.
async fn discard(output: &mut pipe::Receiver) {
    let mut piece = vec![0; PIECE_BYTES];
    while matches!(output.read(&mut piece).await, Ok(1..)) {}
}
