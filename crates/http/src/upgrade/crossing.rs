//! What crosses between two sides that speak another protocol: read, put on record in the order in
//! which it came, and written once that is done.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;

use futures_util::future::{Either, select};
use gate::{Admitted, JournalError};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kubernetes_wire::streams::Side;
use stdio_recorder::Frames;
use terminal::frames::Kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::ahead::{Ahead, Pass, weight};
use super::{Broken, LAST_WORDS};
use crate::body::AHEAD;
use crate::kubernetes::{Progress, Streams};
use crate::record;
use crate::running::Shared;

/// What is read of one side at once, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// Both directions of a connection.
pub(super) struct Crossing<'a> {
    running: &'a Shared,
    /// Takes it apart, if it is to be; else it is recorded as it is.
    streams: RefCell<Option<Streams>>,
    frames: RefCell<Frames>,
    to_target: Ahead,
    to_client: Ahead,
    unrecorded: RefCell<Unrecorded>,
    /// When [`give_up_tails`](Crossing::give_up_tails) looks again, and what makes it look sooner.
    looks: Cell<Option<Instant>>,
    sooner: Notify,
}

/// Pieces of the client's that are not on record to their end.
#[derive(Default)]
struct Unrecorded {
    /// Each with how much of what the client sent there is with it.
    pieces: VecDeque<(u64, Box<[u8]>)>,
    /// What they count for.
    held: usize,
}

impl<'a> Crossing<'a> {
    pub(super) fn new(running: &'a Shared, streams: Option<Streams>) -> Self {
        Crossing {
            running,
            streams: RefCell::new(streams),
            frames: RefCell::new(Frames::new()),
            to_target: Ahead::default(),
            to_client: Ahead::default(),
            unrecorded: RefCell::default(),
            looks: Cell::new(None),
            sooner: Notify::new(),
        }
    }

    fn ahead(&self, from: Side) -> &Ahead {
        match from {
            Side::Client => &self.to_target,
            Side::Server => &self.to_client,
        }
    }

    /// One direction: reads and records; writes what is on record, while more is read.
    pub(super) async fn relay(
        &self,
        side: Side,
        mut from: ReadHalf<TokioIo<Upgraded>>,
        mut to: WriteHalf<TokioIo<Upgraded>>,
    ) -> Result<(), Broken> {
        let read = pin!(self.read(side, &mut from));
        let write = pin!(self.write(side, &mut to));
        match select(write, read).await {
            Either::Left((written, _)) => written,
            Either::Right((Ok(()), write)) => write.await,
            Either::Right((broken, write)) => {
                timeout(LAST_WORDS, write).await.unwrap_or(Ok(())).and(broken)
            }
        }
    }

    async fn read(&self, side: Side, from: &mut ReadHalf<TokioIo<Upgraded>>) -> Result<(), Broken> {
        let ahead = self.ahead(side);
        let read = async {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                ahead.room().await;
                let read = from.read(&mut piece).await?;
                let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else {
                    return self.no_more(side);
                };
                self.take(side, bytes)?;
            }
        };
        let ended = read.await;
        if let Err(Broken::Io) = ended {
            // What was read before it broke is passed on, if that is taken.
            self.no_more(side)?;
        }
        ahead.end(ended.is_ok());
        ended
    }

    async fn write(&self, side: Side, to: &mut WriteHalf<TokioIo<Upgraded>>) -> Result<(), Broken> {
        let ahead = self.ahead(side);
        let mut wait = self.running.borrow().waiter();
        while let Some((bytes, pass)) = ahead.next().await {
            pass.cleared(&mut *wait).await?;
            to.write_all(&bytes).await?;
            // What follows may wait for its record for long.
            to.flush().await?;
            ahead.written(bytes.len());
        }
        if ahead.is_whole() {
            to.shutdown().await?;
        }
        Ok(())
    }

    /// Records a piece; what of it is on record may go on.
    fn take(&self, side: Side, bytes: &[u8]) -> Result<(), Broken> {
        let mut record = Vec::new();
        let seen = match &mut *self.streams.borrow_mut() {
            Some(streams) => match streams.take(side, bytes, &mut record) {
                Ok(seen) => seen,
                Err(garbled) => {
                    // Some of it may have been seen.
                    answer(&mut self.running.borrow_mut().exchange, record)?;
                    return Err(garbled.into());
                }
            },
            None => {
                let kind = if side == Side::Client { Kind::Input } else { Kind::Output };
                record.push(self.frames.borrow_mut().frame(kind, bytes));
                None
            }
        };
        match side {
            Side::Client => {
                let right = self.streams.borrow_mut().as_mut().map_or(Ok(None), Streams::ask)?;
                self.hold(bytes, record, right)?;
            }
            Side::Server => {
                self.running.borrow_mut().exchange.count(bytes.len());
                self.pass_down(record, seen.map_or_else(|| bytes.into(), Vec::into_boxed_slice))?;
            }
        }
        self.look_in_time();
        Ok(())
    }

    /// A piece of the client's waits until it is on record to its end.
    fn hold(
        &self,
        bytes: &[u8],
        mut record: Vec<Vec<u8>>,
        right: Option<Admitted>,
    ) -> Result<(), Broken> {
        let mut unrecorded = self.unrecorded.borrow_mut();
        unrecorded.held += weight(bytes.len());
        let (Progress { sent, recorded }, keys_go_first) = match &mut *self.streams.borrow_mut() {
            Some(streams) => {
                if unrecorded.held > AHEAD {
                    streams.end_of_input(&mut record);
                }
                (streams.progress(), streams.keys_go_first())
            }
            None => (Progress::default(), false),
        };
        unrecorded.pieces.push_back((sent, bytes.into()));
        drop(unrecorded);
        self.pass_up(recorded, record, (bytes.len(), right), keys_go_first)
    }

    /// Nothing more comes of a side: what is held back of it is given up.
    fn no_more(&self, side: Side) -> Result<(), Broken> {
        let mut record = Vec::new();
        let mut streams = self.streams.borrow_mut();
        let Some(streams) = &mut *streams else { return Ok(()) };
        match side {
            Side::Client => {
                streams.end_of_input(&mut record);
                self.pass_up(streams.progress().recorded, record, (0, None), false)?;
            }
            Side::Server => {
                let seen = streams.end_of_output(&mut record);
                self.pass_down(record, seen.into())?;
            }
        }
        Ok(())
    }

    /// Gives up what is held back, whenever it was so for long enough.
    pub(super) async fn give_up_tails(&self) -> Result<(), Broken> {
        loop {
            let due = self.streams.borrow().as_ref().and_then(Streams::tail_due);
            let due = due.map(Instant::from_std);
            self.looks.set(due);
            let sooner = pin!(self.sooner.notified());
            let Some(due) = due else {
                sooner.await;
                continue;
            };
            select(pin!(sleep_until(due)), sooner).await;
            let now = Instant::now();
            if let Some(streams) = &mut *self.streams.borrow_mut()
                && streams.tail_due().is_some_and(|due| Instant::from_std(due) <= now)
            {
                let mut record = Vec::new();
                if self.to_client.is_full() {
                    // Nobody is silent whose words wait here.
                    streams.postpone();
                }
                let seen = streams.tails(now.into_std(), &mut record);
                let recorded = streams.progress().recorded;
                self.pass_up(recorded, record, (0, None), streams.keys_go_first())?;
                self.pass_down(Vec::new(), seen.into())?;
            }
        }
    }

    fn look_in_time(&self) {
        let due = self.streams.borrow().as_ref().and_then(Streams::tail_due);
        if let Some(due) = due.map(Instant::from_std)
            && self.looks.get().is_none_or(|looks| due < looks)
        {
            self.sooner.notify_one();
        }
    }

    /// Frames go on record, and then what the client sent goes on, as far as the record has it.
    fn pass_up(
        &self,
        recorded: u64,
        record: Vec<Vec<u8>>,
        (sent, right): (usize, Option<Admitted>),
        keys_go_first: bool,
    ) -> Result<(), Broken> {
        let mut unrecorded = self.unrecorded.borrow_mut();
        let exchange = &mut self.running.borrow_mut().exchange;
        answer(exchange, record)?;
        let admitted = match keys_go_first {
            true => {
                // They are on their way to it, and nobody waits.
                exchange.release()?;
                exchange.interleave(&[], sent)?
            }
            false => exchange.interleaved(sent)?,
        };
        // What a command of its own waits for is on record later.
        let admitted = right.unwrap_or(admitted);
        while unrecorded.pieces.front().is_some_and(|(end, _)| *end <= recorded)
            && let Some((_, piece)) = unrecorded.pieces.pop_front()
        {
            unrecorded.held -= weight(piece.len());
            self.to_target.push(piece, Pass::Admitted(admitted.clone()));
        }
        Ok(())
    }

    /// Frames go on record, and then what the client is to see.
    fn pass_down(&self, record: Vec<Vec<u8>>, seen: Box<[u8]>) -> Result<(), Broken> {
        if record.is_empty() && seen.is_empty() {
            return Ok(());
        }
        let exchange = &mut self.running.borrow_mut().exchange;
        answer(exchange, record)?;
        let release = exchange.release()?;
        if !seen.is_empty() {
            self.to_client.push(seen, Pass::Release(release));
        }
        Ok(())
    }

    /// What became of it when a side has closed. A command of which nobody said how it ended may
    /// run on.
    pub(super) fn outcome(&self) -> (&'static str, &'static str) {
        match &*self.streams.borrow() {
            Some(streams) if streams.ports().is_none() && streams.exit().is_none() => {
                ("lost", "closed")
            }
            Some(_) | None => ("ok", "closed"),
        }
    }

    /// It ended so.
    pub(super) fn end(&self, outcome: (&'static str, &'static str)) {
        let Some(mut streams) = self.streams.take() else { return };
        let mut record = Vec::new();
        streams.end(outcome, &mut record);
        let mut running = self.running.borrow_mut();
        if let Some(ports) = streams.ports().filter(|it| !it.is_empty()) {
            running.detail("ports", ports);
        }
        if let Some(exit) = streams.exit() {
            running.detail("exit_status", exit);
        }
        if let Some((details, receipt)) = streams.outcome() {
            details.into_iter().for_each(|(name, value)| running.detail(name, value));
            let masking = running.exchange.session().target().masking.clone();
            running.masked(record::counted(&masking, &receipt));
        }
        if let Err(error) = answer(&mut running.exchange, record) {
            tracing::error!(%error, "the end of an upgraded connection is not on record");
        }
    }
}

fn answer(exchange: &mut gate::Exchange, record: Vec<Vec<u8>>) -> Result<(), JournalError> {
    record.into_iter().try_for_each(|frame| exchange.answer_whole(frame))
}
