//! Content codings (RFC 9110 section 8.4): taking them off, piece by piece.

mod codec;

use codec::Codec;

/// Most codings on top of one another. Servers send one; two is a mistake
/// worth understanding, more is an attack.
pub const MAX_CODINGS: usize = 2;
/// Longest Content-Encoding value that is read, in bytes.
pub const MAX_HEADER: usize = 256;
/// What can be taken off, as an Accept-Encoding value.
pub const ACCEPTED: &str = "gzip, deflate, br, zstd, identity";
/// Most bytes one [`Decoder::step`] gives out, and what lies between two codings.
pub const STEP: usize = 32 * 1024;
/// Most bytes one [`Decoder::push`] gives out.
pub const MAX_PUSH: usize = 16 * 1024 * 1024;
/// Largest zstd window, as a power of two: 8 MiB, what RFC 9659 lets a server use.
pub const ZSTD_WINDOW_LOG: u32 = 23;

/// Why a content coding could not be taken off. Every case is the sender's
/// fault: upstream's in a response, the client's in a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// A coding that is not known.
    #[error("the content coding is not one of {ACCEPTED}")]
    Unknown,
    /// More than [`MAX_CODINGS`].
    #[error("there are more than {MAX_CODINGS} content codings on top of one another")]
    TooMany,
    /// The header is longer than [`MAX_HEADER`] or no list of tokens.
    #[error("Content-Encoding is malformed")]
    Header,
    /// The bytes are not what the coding says.
    #[error("the body is not valid {0}")]
    Malformed(&'static str),
    /// The body ended before the coding did.
    #[error("the body ends in the middle of {0}")]
    Truncated(&'static str),
    /// Something follows the end of the coded stream.
    #[error("something follows the end of the {0} stream")]
    Trailing(&'static str),
    /// The output is too large for the input ([`Limits::ratio`]).
    #[error("the body grows to more than {0} times its size when decoded")]
    Ratio(u64),
    /// The output is larger than [`Limits::total`], or than [`MAX_PUSH`] at once.
    #[error("the decoded body is longer than {0} bytes")]
    TooLong(u64),
}

/// One coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, also called `x-gzip` (RFC 1952).
    Gzip,
    /// `deflate`: zlib (RFC 1950), or bare deflate, which some servers send.
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
}

impl Coding {
    /// The name in Content-Encoding.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }
}

/// The codings of a body, in the order in which they were put on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codings {
    list: Vec<Coding>,
}

impl Codings {
    /// No coding.
    #[must_use]
    pub fn identity() -> Self {
        Self::default()
    }

    /// Reads a Content-Encoding value (RFC 9110 section 8.4; several header
    /// lines joined by commas).
    ///
    /// # Errors
    /// [`CodingError::Unknown`], [`CodingError::TooMany`], [`CodingError::Header`].
    pub fn parse(value: &str) -> Result<Self, CodingError> {
        if value.len() > MAX_HEADER {
            return Err(CodingError::Header);
        }
        let mut list = Vec::new();
        for name in value.split(',').map(|part| part.trim_matches([' ', '\t'])) {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let coding = match name {
                // RFC 9110 section 5.6.1: empty elements of a list count for nothing.
                "" => continue,
                _ if is("identity") => continue,
                _ if is("gzip") || is("x-gzip") => Coding::Gzip,
                _ if is("deflate") => Coding::Deflate,
                _ if is("br") => Coding::Brotli,
                _ if is("zstd") => Coding::Zstd,
                _ => return Err(CodingError::Unknown),
            };
            if list.len() == MAX_CODINGS {
                return Err(CodingError::TooMany);
            }
            list.push(coding);
        }
        Ok(Self { list })
    }

    /// Whether there is nothing to take off.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.list.is_empty()
    }

    /// The codings, in the order in which they were put on.
    #[must_use]
    pub fn list(&self) -> &[Coding] {
        &self.list
    }
}

/// How much a body may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes out for each byte in, once more than `floor` are out. It
    /// holds behind each coding. gzip can reach 1032.
    pub ratio: u64,
    /// Output that is let through whatever the ratio, in bytes.
    pub floor: u64,
    /// Most bytes out in all.
    pub total: u64,
}

impl Default for Limits {
    /// 200 times (logs of one line over and over reach about 150), from 1 MiB
    /// on; no limit in all: a body is streamed.
    fn default() -> Self {
        Self { ratio: 200, floor: 1024 * 1024, total: u64::MAX }
    }
}

/// Whether a step may be followed by another without new input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "more output may be waiting"]
pub enum Step {
    /// There may be more output: deal with this one and call again.
    More,
    /// All of the input is used and all of its output given out, with this step.
    Drained,
}

struct Stage {
    coding: Coding,
    codec: Codec,
    /// What the stage before gave out and this one has not read.
    waiting: Vec<u8>,
    /// Of `waiting`: read up to here, filled up to there.
    read: usize,
    end: usize,
    /// Bytes given out.
    out: u64,
}

/// Takes the codings off a body that arrives in pieces. Memory: the windows of
/// the codings (32 KiB gzip and deflate, 16 MiB brotli at most, 8 MiB zstd) and
/// [`STEP`] for each coding.
pub struct Decoder {
    limits: Limits,
    /// In the order in which they are taken off.
    stages: Vec<Stage>,
    /// Room for what the last stage gives out.
    room: Vec<u8>,
    taken: u64,
    given: u64,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("taken", &self.taken)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder for a body with these codings.
    #[must_use]
    pub fn new(codings: &Codings, limits: Limits) -> Self {
        let stage = |coding: &Coding| Stage {
            coding: *coding,
            codec: Codec::new(*coding),
            waiting: Vec::new(),
            read: 0,
            end: 0,
            out: 0,
        };
        let stages: Vec<Stage> = codings.list.iter().rev().map(stage).collect();
        let room = vec![0; if stages.is_empty() { 0 } else { STEP }];
        Self { limits, stages, room, taken: 0, given: 0 }
    }

    /// Takes some of `input` (which then begins at what is left) and appends at
    /// most [`STEP`] bytes to `out`. Call it until it answers [`Step::Drained`].
    ///
    /// # Errors
    /// The body is malformed or grows beyond its [`Limits`]; the decoder is of
    /// no use afterwards.
    pub fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Step, CodingError> {
        let given = if self.stages.is_empty() {
            let (now, later) = input.split_at(input.len().min(STEP));
            out.extend_from_slice(now);
            *input = later;
            now.len()
        } else {
            let before = input.len();
            let n = pull(&mut self.stages, input, &mut self.room, self.limits, self.taken)?;
            self.taken += (before - input.len()) as u64;
            out.extend_from_slice(self.room.get(..n).unwrap_or_default());
            n
        };
        self.given += given as u64;
        if self.given > self.limits.total {
            return Err(CodingError::TooLong(self.limits.total));
        }
        let idle = if self.stages.is_empty() { input.is_empty() } else { given == 0 };
        Ok(if idle { Step::Drained } else { Step::More })
    }

    /// Takes a piece and appends all of its output, [`MAX_PUSH`] bytes at most:
    /// for small pieces. Use [`step`](Self::step) to keep memory small.
    ///
    /// # Errors
    /// As [`step`](Self::step), and [`CodingError::TooLong`].
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        let (mut rest, start) = (piece, out.len());
        while self.step(&mut rest, out)? == Step::More {
            if out.len() - start > MAX_PUSH.max(piece.len()) {
                return Err(CodingError::TooLong(MAX_PUSH as u64));
            }
        }
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// [`CodingError::Truncated`]. A body of no bytes at all is whole, whatever
    /// its codings: servers send such.
    pub fn finish(self) -> Result<(), CodingError> {
        if self.taken == 0 {
            return Ok(());
        }
        for stage in &self.stages {
            if !stage.codec.is_complete() {
                return Err(CodingError::Truncated(stage.coding.name()));
            }
        }
        Ok(())
    }

    /// Bytes given out so far.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.given
    }
}

/// Fills `out` from the last stage; 0 means that all input is used up.
fn pull(
    stages: &mut [Stage],
    input: &mut &[u8],
    out: &mut [u8],
    limits: Limits,
    taken: u64,
) -> Result<usize, CodingError> {
    let Some((stage, before)) = stages.split_last_mut() else { return Ok(0) };
    let all = input.len();
    loop {
        let first = before.is_empty();
        let source = if first {
            *input
        } else {
            stage.waiting.get(stage.read..stage.end).unwrap_or_default()
        };
        let (read, wrote) = stage.codec.run(source, out)?;
        let stuck = read == 0 && !source.is_empty();
        if first {
            *input = input.get(read..).unwrap_or_default();
        } else {
            stage.read += read;
        }
        if wrote > 0 {
            stage.out += wrote as u64;
            let taken = taken + (all - input.len()) as u64;
            if stage.out > limits.floor && stage.out > taken.saturating_mul(limits.ratio) {
                return Err(CodingError::Ratio(limits.ratio));
            }
            return Ok(wrote);
        }
        if stuck {
            return Err(CodingError::Malformed(stage.coding.name()));
        }
        if !first && stage.read >= stage.end {
            stage.read = 0;
            stage.waiting.resize(STEP, 0);
            let n = pull(before, input, &mut stage.waiting, limits, taken)?;
            stage.end = n;
            if n == 0 {
                return Ok(0);
            }
        } else if first && input.is_empty() {
            return Ok(0);
        }
    }
}
