//! One coding, on top of the library that does it.

use super::{Coding, CodingError, ZSTD_WINDOW_LOG};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// First byte of a gzip member.
const GZIP_MAGIC: u8 = 0x1F;

pub(super) enum Codec {
    /// gzip: any number of members, one behind the other.
    Gzip {
        member: Box<Decompress>,
        open: bool,
    },
    /// deflate, whose first two bytes have not come: they tell zlib from bare deflate.
    Undecided {
        first: Option<u8>,
    },
    Deflate {
        stream: Box<Decompress>,
        ended: bool,
        first: Option<u8>,
    },
    Brotli {
        state: Box<Brotli>,
        ended: bool,
    },
    /// zstd: any number of frames. `None`: no memory for a context.
    Zstd {
        context: Option<DCtx<'static>>,
        open: bool,
    },
}

impl Codec {
    pub(super) fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Codec::Gzip { member: Box::new(gzip()), open: true },
            Coding::Deflate => Codec::Undecided { first: None },
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                // Strict: without the "large window" of up to 1 GiB that is not in RFC 7932.
                let state = Box::new(BrotliState::new_strict(alloc(), alloc(), alloc()));
                Codec::Brotli { state, ended: false }
            }
            Coding::Zstd => {
                let mut context = DCtx::try_create();
                if let Some(c) = &mut context
                    && c.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).is_err()
                {
                    context = None;
                }
                Codec::Zstd { context, open: true }
            }
        }
    }

    /// Whether the stream may end here.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Codec::Gzip { open, .. } | Codec::Zstd { open, .. } => !open,
            Codec::Undecided { .. } => false,
            Codec::Deflate { ended, .. } | Codec::Brotli { ended, .. } => *ended,
        }
    }

    /// Decodes some of `input` into `out`: how much was read and written. 0 and
    /// 0 means that it needs more input.
    pub(super) fn run(
        &mut self,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, usize), CodingError> {
        match self {
            Codec::Gzip { member, open } => gzip_run(member, open, input, out),
            Codec::Undecided { first } => {
                let Some(byte) = input.first() else { return Ok((0, 0)) };
                let Some(first) = *first else {
                    *first = Some(*byte);
                    return Ok((1, 0));
                };
                let zlib = first & 15 == 8
                    && first >> 4 <= 7
                    && (u16::from(first) << 8 | u16::from(*byte)).is_multiple_of(31);
                *self = Codec::Deflate {
                    stream: Box::new(Decompress::new(zlib)),
                    ended: false,
                    first: Some(first),
                };
                self.run(input, out)
            }
            Codec::Deflate { stream, ended, first } => {
                if *ended && !input.is_empty() {
                    return Err(CodingError::Trailing("deflate"));
                }
                if *ended {
                    return Ok((0, 0));
                }
                let mut wrote = 0;
                if let Some(byte) = first.take() {
                    // One byte gives no output.
                    wrote = inflate(stream, &[byte], out, ended, "deflate")?.1;
                }
                let room = out.get_mut(wrote..).unwrap_or_default();
                let (read, more) = inflate(stream, input, room, ended, "deflate")?;
                Ok((read, wrote + more))
            }
            Codec::Brotli { state, ended } => brotli_run(state, ended, input, out),
            Codec::Zstd { context, open } => zstd_run(context, open, input, out),
        }
    }
}

fn gzip() -> Decompress {
    Decompress::new_gzip(15)
}

fn gzip_run(
    member: &mut Box<Decompress>,
    open: &mut bool,
    input: &[u8],
    out: &mut [u8],
) -> Result<(usize, usize), CodingError> {
    if !*open {
        match input.first() {
            None => return Ok((0, 0)),
            Some(&GZIP_MAGIC) => {
                **member = gzip();
                *open = true;
            }
            Some(_) => return Err(CodingError::Trailing("gzip")),
        }
    }
    let mut ended = false;
    let moved = inflate(member, input, out, &mut ended, "gzip")?;
    *open = !ended;
    Ok(moved)
}

fn inflate(
    stream: &mut Decompress,
    input: &[u8],
    out: &mut [u8],
    ended: &mut bool,
    name: &'static str,
) -> Result<(usize, usize), CodingError> {
    let (read, wrote) = (stream.total_in(), stream.total_out());
    let status = stream
        .decompress(input, out, FlushDecompress::None)
        .map_err(|_| CodingError::Malformed(name))?;
    *ended = matches!(status, Status::StreamEnd);
    let read = usize::try_from(stream.total_in() - read).unwrap_or(usize::MAX);
    let wrote = usize::try_from(stream.total_out() - wrote).unwrap_or(usize::MAX);
    Ok((read, wrote))
}

fn brotli_run(
    state: &mut Brotli,
    ended: &mut bool,
    input: &[u8],
    out: &mut [u8],
) -> Result<(usize, usize), CodingError> {
    if *ended {
        return if input.is_empty() { Ok((0, 0)) } else { Err(CodingError::Trailing("br")) };
    }
    let (mut left, mut read) = (input.len(), 0);
    let (mut room, mut wrote, mut total) = (out.len(), 0, 0);
    match BrotliDecompressStream(
        &mut left, &mut read, input, &mut room, &mut wrote, out, &mut total, state,
    ) {
        BrotliResult::ResultSuccess => *ended = true,
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        BrotliResult::ResultFailure => return Err(CodingError::Malformed("br")),
    }
    Ok((read, wrote))
}

fn zstd_run(
    context: &mut Option<DCtx<'static>>,
    open: &mut bool,
    input: &[u8],
    out: &mut [u8],
) -> Result<(usize, usize), CodingError> {
    let broken = CodingError::Malformed("zstd");
    let Some(context) = context else { return Err(broken) };
    if input.is_empty() && !*open {
        return Ok((0, 0));
    }
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(out);
    // 0: a frame is complete and all of it given out.
    let left = context.decompress_stream(&mut to, &mut from).map_err(|_| broken)?;
    *open = left != 0;
    Ok((from.pos(), to.pos()))
}
