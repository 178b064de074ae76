//! One sftp session: what its requests ask is judged, and what becomes of them is recorded.
//!
//! An open is a command; what is read and written by its handle goes under that command's
//! rights, and the handle's close is its end. All else that names a path is a command with one
//! answer.

use std::collections::{HashMap, VecDeque};

use gate::{Exchange, Release};
use records::Response;
use ssh_wire::sftp::{
    Answer, Attributes, Extension, Machine, OP_UNSUPPORTED, Op, OpenFlags, PERMISSION_DENIED,
    Reply, Request, SftpError, Step, VERSION, plain_version,
};

use super::file::{File, Opening};
use super::flow::Room;
use super::outcome::{name, response, status};
use super::paths::Base;
use super::ruling::{About, Change, Open, Ruling, no_handle, once, refuse, refused};
use super::{Asked, Cx, Ending, MAX_INSERTED_BYTES, Wish, wish};
use crate::relay::End;
use crate::side::Side;

/// Most files and directories that one channel may have open.
const MAX_OPEN: usize = 256;
/// Sizes of files that the target told of late, by path: some clients ask for no size once a file
/// is open, and do not read on to its end.
const MAX_TOLD: usize = 64;
/// The number of our own request, which is answered before any other goes on.
const OWN_REQUEST: u32 = 0;
/// `SSH_FXP_INIT` of [`VERSION`].
const INIT: [u8; 9] = [0, 0, 0, 5, 1, 0, 0, 0, 3];
/// What an answer that waits takes of memory beside its bytes.
const INSERTED_OVERHEAD: usize = 128;
/// `SSH_FXP_REALPATH` of `.` under [`OWN_REQUEST`].
const WHERE: [u8; 14] = [0, 0, 0, 10, 16, 0, 0, 0, 0, 0, 0, 0, 1, b'.'];

/// Where relative paths begin, as far as we know.
enum Home {
    Unasked,
    Asked,
    Is(Base),
}

/// Where content goes.
enum Content {
    /// Nowhere.
    Withheld,
    /// On, as this file's, at this place.
    Of(u64, u64),
}

/// One session.
pub(super) struct Sftp {
    machine: Machine,
    room: Room,
    home: Home,
    asked: HashMap<u32, Open>,
    /// Open ones by their command's number.
    files: HashMap<u64, File>,
    handles: HashMap<Vec<u8>, u64>,
    opening: usize,
    /// Of regular files, at most [`MAX_TOLD`].
    sizes: VecDeque<(Vec<u8>, u64)>,
    upload: Content,
    download: Content,
    /// Answers of ours that wait for the end of a content.
    inserted: Vec<(Release, Vec<u8>)>,
    inserted_bytes: u64,
}

fn client(error: SftpError) -> End {
    End::violation(Side::Client, error.to_string())
}

fn target(what: impl ToString) -> End {
    End::violation(Side::Target, what.to_string())
}

impl Sftp {
    pub(super) fn new(room: Room) -> Self {
        Sftp {
            machine: Machine::new(),
            room,
            home: Home::Unasked,
            asked: HashMap::new(),
            files: HashMap::new(),
            handles: HashMap::new(),
            opening: 0,
            sizes: VecDeque::new(),
            upload: Content::Withheld,
            download: Content::Withheld,
            inserted: Vec::new(),
            inserted_bytes: 0,
        }
    }

    /// Whether the client's requests wait: nothing can be judged yet, or as many answers of ours
    /// wait as may.
    pub(super) fn waits(&self) -> bool {
        matches!(self.home, Home::Asked) || self.inserted_bytes >= MAX_INSERTED_BYTES
    }

    fn base(&self) -> &Base {
        match &self.home {
            Home::Is(base) => base,
            Home::Unasked | Home::Asked => &Base::Unknown,
        }
    }

    /// Follows the client's stream. Gives how much of it is done with.
    pub(super) fn client(&mut self, stream: &[u8], cx: &mut Cx<'_>) -> Result<usize, End> {
        let mut at = 0;
        while !self.waits() {
            let rest = stream.get(at..).unwrap_or_default();
            match self.machine.client(rest).map_err(client)? {
                Step::NeedMore => break,
                Step::Content(piece) => {
                    self.uploaded(piece, at, cx)?;
                    at += piece.len();
                }
                Step::Packet { bytes, packet } => {
                    self.request(&packet, (at, at + bytes), cx)?;
                    at += bytes;
                }
            }
        }
        Ok(at)
    }

    fn uploaded(&mut self, piece: &[u8], at: usize, cx: &mut Cx<'_>) -> Result<(), End> {
        let Content::Of(number, offset) = &mut self.upload else { return Ok(()) };
        let Some(file) = self.files.get_mut(number) else { return Ok(()) };
        file.written.push(*offset, piece);
        *offset = offset.saturating_add(piece.len() as u64);
        let admitted = file.opening.exchange.input(&[], piece.len())?;
        cx.pass_up(*number, &admitted, (at, at + piece.len()));
        Ok(())
    }

    fn request(
        &mut self,
        request: &Request<'_>,
        span: (usize, usize),
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        if let Op::Init { version } = request.op {
            match version {
                VERSION => cx.pass_up(cx.own.number, &cx.own.admitted.clone(), span),
                // The server is to choose what is followed here.
                _ => cx.ask_target(INIT.to_vec()),
            }
            return self.ask_home(cx);
        }
        match self.judge(&request.op, cx)? {
            Ruling::Pass(open) => {
                let (number, admitted) = self.rights(&open, cx);
                cx.pass_up(number, &admitted, span);
                if let Open::Opening(_) = open {
                    self.opening += 1;
                }
                if let Open::On(number, _) = open
                    && let Some(file) = self.files.get_mut(&number)
                {
                    file.waiting += 1;
                }
                self.asked.insert(request.id, open);
            }
            Ruling::Refuse { code, text, release } => {
                let answer = self.machine.refuse(request.id, code, &text).map_err(client)?;
                if let Op::Write { .. } = request.op {
                    self.upload = Content::Withheld;
                }
                match self.machine.between_answers() {
                    true => cx.insert(release, answer.to_vec()),
                    false => {
                        self.inserted_bytes += (answer.len() + INSERTED_OVERHEAD) as u64;
                        self.inserted.push((release, answer.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Where relative paths begin, the target is asked: rules name none of them else.
    fn ask_home(&mut self, cx: &mut Cx<'_>) -> Result<(), End> {
        self.machine.client(&WHERE).map_err(client)?;
        self.asked.insert(OWN_REQUEST, Open::Home);
        self.home = Home::Asked;
        cx.ask_target(WHERE.to_vec());
        Ok(())
    }

    /// The rights that a request goes under.
    fn rights(&self, open: &Open, cx: &Cx<'_>) -> (u64, gate::Admitted) {
        let of = |exchange: &Exchange| (exchange.number(), exchange.admitted().clone());
        let own = || (cx.own.number, cx.own.admitted.clone());
        match open {
            Open::Home | Open::Session => own(),
            Open::Opening(opening) => of(&opening.exchange),
            Open::Once(exchange, _) | Open::Stat(exchange, _) => of(exchange),
            Open::On(number, _) | Open::Close(number) => {
                self.files.get(number).map_or_else(own, |file| of(&file.opening.exchange))
            }
        }
    }

    fn judge(&mut self, op: &Op<'_>, cx: &mut Cx<'_>) -> Result<Ruling, End> {
        match op {
            Op::Open { path, flags, attributes } => {
                let wish = wish::open(path, *flags, attributes, self.base());
                self.open(path, *flags, false, wish, cx)
            }
            Op::Opendir { path } => {
                let wish = wish::list(path, self.base());
                self.open(path, OpenFlags(1), true, wish, cx)
            }
            Op::Close { handle } => Ok(match self.handles.remove(*handle) {
                Some(number) => Ruling::Pass(Open::Close(number)),
                None => no_handle(cx),
            }),
            Op::Read { handle, offset, .. } => {
                Ok(self.on(handle, About::Read { offset: *offset }, cx))
            }
            Op::Write { handle, offset, .. } => {
                if let Some(number) = self.handles.get(*handle) {
                    self.upload = Content::Of(*number, *offset);
                }
                Ok(self.on(handle, About::Write, cx))
            }
            Op::Readdir { handle } => Ok(self.on(handle, About::List, cx)),
            Op::Fstat { handle } => Ok(self.on(handle, About::Attributes, cx)),
            Op::Extended(Extension::Fsync { handle } | Extension::Fstatvfs { handle }) => {
                Ok(self.on(handle, About::Other, cx))
            }
            Op::Extended(Extension::Limits | Extension::Names) => Ok(Ruling::Pass(Open::Session)),
            Op::Extended(Extension::CopyData { from, to, .. }) => self.copy(from, to, cx),
            Op::Fsetstat { handle, attributes } => self.set_open(handle, attributes, cx),
            op => {
                let unknown = matches!(op, Op::Extended(Extension::Unknown { .. }));
                let Some(wish) = wish::once(op, self.base()) else {
                    return Ok(refuse(OP_UNSUPPORTED, "greffier: not supported", cx));
                };
                let code = if unknown { OP_UNSUPPORTED } else { PERMISSION_DENIED };
                Ok(match (op, once(wish, code, None, cx)?) {
                    (
                        Op::Stat { path } | Op::Lstat { path },
                        Ruling::Pass(Open::Once(exchange, _)),
                    ) => Ruling::Pass(Open::Stat(exchange, path.to_vec())),
                    (_, ruling) => ruling,
                })
            }
        }
    }

    fn open(
        &mut self,
        path: &[u8],
        flags: OpenFlags,
        is_directory: bool,
        mut wish: Wish,
        cx: &mut Cx<'_>,
    ) -> Result<Ruling, End> {
        if self.files.len() + self.opening >= MAX_OPEN {
            wish.forbidden = Some("Too many files are open on this channel.");
        }
        Ok(match cx.ask("sftp", wish)? {
            Asked::Yes(exchange) => {
                let opening = Opening { exchange, path: path.to_vec(), flags, is_directory };
                Ruling::Pass(Open::Opening(Box::new(opening)))
            }
            no => refused(no, PERMISSION_DENIED),
        })
    }

    fn on(&self, handle: &[u8], about: About, cx: &Cx<'_>) -> Ruling {
        match self.handles.get(handle) {
            Some(number) => Ruling::Pass(Open::On(*number, about)),
            None => no_handle(cx),
        }
    }

    fn set_open(
        &self,
        handle: &[u8],
        attributes: &Attributes,
        cx: &mut Cx<'_>,
    ) -> Result<Ruling, End> {
        let Some((number, file)) = self.file(handle) else { return Ok(no_handle(cx)) };
        let wish = wish::set_open(&file.opening.path, attributes, self.base());
        let change = attributes.size.map(|size| Change::Size(number, size));
        once(wish, PERMISSION_DENIED, change, cx)
    }

    fn copy(&self, from: &[u8], to: &[u8], cx: &mut Cx<'_>) -> Result<Ruling, End> {
        let (Some((_, from)), Some((number, to))) = (self.file(from), self.file(to)) else {
            return Ok(no_handle(cx));
        };
        let wish = wish::copy(&from.opening.path, &to.opening.path, self.base());
        once(wish, PERMISSION_DENIED, Some(Change::Content(number)), cx)
    }

    fn file(&self, handle: &[u8]) -> Option<(u64, &File)> {
        let number = *self.handles.get(handle)?;
        Some((number, self.files.get(&number)?))
    }

    /// Follows the target's stream. Gives how much of it is done with.
    pub(super) fn target(&mut self, stream: &[u8], cx: &mut Cx<'_>) -> Result<usize, End> {
        let mut at = 0;
        loop {
            let rest = stream.get(at..).unwrap_or_default();
            match self.machine.server(rest).map_err(target)? {
                Step::NeedMore => break,
                Step::Content(piece) => {
                    let span = (at, at + piece.len());
                    at = span.1;
                    self.downloaded(piece, span, cx)?;
                }
                Step::Packet { bytes, packet } => {
                    let span = (at, at + bytes);
                    at = span.1;
                    let whole = rest.get(..bytes).unwrap_or_default();
                    self.answer(&packet, whole, span, cx)?;
                }
            }
            if self.machine.between_answers() {
                self.inserted_bytes = 0;
                for (release, answer) in self.inserted.drain(..) {
                    cx.insert(release, answer);
                }
            }
        }
        Ok(at)
    }

    fn downloaded(
        &mut self,
        piece: &[u8],
        span: (usize, usize),
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        let Content::Of(number, offset) = &mut self.download else { return Ok(()) };
        let number = *number;
        let Some(file) = self.files.get_mut(&number) else { return Ok(()) };
        file.read.push(*offset, piece);
        *offset = offset.saturating_add(piece.len() as u64);
        file.opening.exchange.count(piece.len());
        cx.pass_down(number, &file.release, span);
        if self.machine.between_answers() {
            self.download = Content::Withheld;
            return self.answered(number, cx);
        }
        Ok(())
    }

    fn answer(
        &mut self,
        reply: &Reply<'_>,
        whole: &[u8],
        span: (usize, usize),
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        let own = |cx: &mut Cx<'_>| cx.pass_down(cx.own.number, &cx.own.release.clone(), span);
        if let Answer::Version { .. } = reply.answer {
            match plain_version(whole) {
                Some(plain) => cx.insert(cx.own.release.clone(), plain.to_vec()),
                None => own(cx),
            }
            return Ok(());
        }
        let Some(open) = self.asked.remove(&reply.id) else {
            return Err(target(SftpError::Unasked(reply.id)));
        };
        match (&open, &reply.answer) {
            (Open::Opening(_), Answer::Handle(_))
            | (Open::On(_, About::Read { .. }), Answer::Data { .. }) => {}
            (_, Answer::Handle(_) | Answer::Data { .. }) => {
                return Err(target("an sftp answer that fits its request not"));
            }
            _ => {}
        }
        match open {
            Open::Home => {
                let base = match &reply.answer {
                    Answer::Name { first: Some(path), .. } if path.starts_with(b"/") => {
                        Base::At(path.to_vec())
                    }
                    _ => Base::Unknown,
                };
                self.home = Home::Is(base);
                Ok(())
            }
            Open::Session => {
                own(cx);
                Ok(())
            }
            Open::Opening(opening) => {
                self.opening = self.opening.saturating_sub(1);
                match &reply.answer {
                    Answer::Handle(handle) => self.opened(*opening, handle, span, cx),
                    answer => {
                        let response = response(answer);
                        let answer = Some(whole.to_vec());
                        cx.end(Ending { exchange: opening.exchange, response, answer })
                    }
                }
            }
            Open::Once(exchange, change) => {
                if let (Some(change), Answer::Status { code: 0, .. }) = (change, &reply.answer) {
                    self.change(change);
                }
                let response = response(&reply.answer);
                cx.end(Ending { exchange, response, answer: Some(whole.to_vec()) })
            }
            Open::Stat(exchange, path) => {
                if let Answer::Attributes(attributes) = &reply.answer {
                    self.told(path, attributes);
                }
                let response = response(&reply.answer);
                cx.end(Ending { exchange, response, answer: Some(whole.to_vec()) })
            }
            Open::On(number, about) => self.about(number, about, &reply.answer, span, cx),
            Open::Close(number) => {
                let code = status(&reply.answer);
                if let Some(file) = self.files.get_mut(&number) {
                    file.closed = Some((code, whole.to_vec()));
                }
                self.close(number, cx)
            }
        }
    }

    /// The target told of a file by its path.
    fn told(&mut self, path: Vec<u8>, attributes: &Attributes) {
        self.sizes.retain(|(known, _)| *known != path);
        let is_file = attributes.mode.is_some_and(|mode| mode & 0o170_000 == 0o100_000);
        if let (true, Some(size)) = (is_file, attributes.size) {
            self.sizes.truncate(MAX_TOLD - 1);
            self.sizes.push_front((path, size));
        }
    }

    fn change(&mut self, change: Change) {
        let (Change::Size(number, _) | Change::Content(number)) = change;
        let Some(file) = self.files.get_mut(&number) else { return };
        match change {
            Change::Size(_, size) => file.resized = Some(size),
            Change::Content(_) => file.written.give_up(),
        }
    }

    fn opened(
        &mut self,
        mut opening: Opening,
        handle: &[u8],
        span: (usize, usize),
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        let number = opening.exchange.number();
        if self.handles.contains_key(handle) {
            return Err(target("an sftp handle that is in use"));
        }
        let release = opening.exchange.release()?;
        cx.pass_down(number, &release, span);
        self.handles.insert(handle.to_vec(), number);
        let known = self.sizes.iter().find(|(path, _)| *path == opening.path);
        let size = known.map(|(_, size)| *size).filter(|_| !opening.flags.writes());
        let mut file = File::new(opening, release, &self.room);
        file.size = size;
        self.files.insert(number, file);
        Ok(())
    }

    fn about(
        &mut self,
        number: u64,
        about: About,
        answer: &Answer<'_>,
        span: (usize, usize),
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        let Some(file) = self.files.get_mut(&number) else { return Ok(()) };
        cx.pass_down(number, &file.release, span);
        match (about, answer) {
            (About::Read { offset }, Answer::Data { length: 1.. }) => {
                self.download = Content::Of(number, offset);
                return Ok(());
            }
            (About::Read { offset }, Answer::Status { code: 1, .. }) => {
                file.end = Some(file.end.map_or(offset, |end| end.min(offset)));
            }
            (About::Write, Answer::Status { code: 1.., .. }) => file.failed = true,
            (About::Attributes, Answer::Attributes(attributes)) => file.size = attributes.size,
            (About::List, Answer::Name { count, .. }) => file.entries += u64::from(*count),
            _ => {}
        }
        self.answered(number, cx)
    }

    /// One request less waits for an answer about a file.
    fn answered(&mut self, number: u64, cx: &mut Cx<'_>) -> Result<(), End> {
        if let Some(file) = self.files.get_mut(&number) {
            file.waiting = file.waiting.saturating_sub(1);
        }
        self.close(number, cx)
    }

    /// Records a file's end, once it is closed and nothing about it is open.
    fn close(&mut self, number: u64, cx: &mut Cx<'_>) -> Result<(), End> {
        let ready = |file: &File| file.waiting == 0 && file.closed.is_some();
        if !self.files.get(&number).is_some_and(ready) {
            return Ok(());
        }
        let Some(mut file) = self.files.remove(&number) else { return Ok(()) };
        let (code, answer) = file.closed.take().unwrap_or_default();
        let outcome = if code == 0 && !file.failed { "ok" } else { "error" };
        let mut response = file.response(outcome);
        response.code = Some(name(code));
        cx.end(Ending { exchange: file.opening.exchange, response, answer: Some(answer) })
    }

    /// The session ends; so does what is under way.
    pub(super) fn end(&mut self, outcome: &'static str) -> Vec<Ending> {
        let answer = None;
        let mut endings = Vec::new();
        for (_, open) in self.asked.drain() {
            let exchange = match open {
                Open::Opening(opening) => opening.exchange,
                Open::Once(exchange, _) | Open::Stat(exchange, _) => exchange,
                Open::Home | Open::Session | Open::On(..) | Open::Close(_) => continue,
            };
            let response = Response { outcome: outcome.into(), ..Response::default() };
            endings.push(Ending { exchange, response, answer: answer.clone() });
        }
        for (_, file) in self.files.drain() {
            let response = file.response(outcome);
            let exchange = file.opening.exchange;
            endings.push(Ending { exchange, response, answer: answer.clone() });
        }
        self.handles.clear();
        endings.sort_by_key(|ending| ending.exchange.number());
        endings
    }
}
