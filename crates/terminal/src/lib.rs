//! Terminal sessions: recorded, replayed without harm, read for the commands typed.
//!
//! A recording is a run of [`frames`]: what the program wrote, what was typed, the terminal's size,
//! each with the time since the frame before, bytes as they crossed. From it are made
//!
//! - an [asciicast v3](cast), for players of others;
//! - a [replay] on the reader's own terminal, in which nothing recorded can do more than draw;
//! - the [commands](typed) that were typed: told by the shell where it prints marks ([`osc133`]),
//!   read off a model of the screen otherwise. An aid to whoever reads, no guard: both can be
//!   led astray by who sits at the keyboard.
//!
//! No I/O but into a writer the caller gives, no clock; whatever a recording holds is bounded.
//!
//! ```
//! use terminal::{cast, frames::{Kind, Reader, write}, replay::Sanitiser};
//!
//! let mut recording = Vec::new();
//! write(&mut recording, 0, Kind::Resize, &[0, 80, 0, 24]);
//! write(&mut recording, 1_500_000, Kind::Output, b"\x1b]0;title\x07hi\r\n");
//!
//! let (mut shown, mut file) = (Vec::new(), Vec::new());
//! let mut sanitiser = Sanitiser::new();
//! let mut cast = cast::Cast::new(&mut file, &cast::Header::default())?;
//! let mut reader = Reader::new();
//! reader.push(&recording);
//! while let Some(frame) = reader.next()? {
//!     cast.frame(&frame)?;
//!     if frame.kind == Kind::Output {
//!         sanitiser.push(&frame.bytes, &mut shown);
//!     }
//! }
//! cast.finish()?;
//! assert_eq!(shown, b"hi\r\n");
//! assert!(String::from_utf8(file).unwrap().ends_with("[1.500000,\"o\",\"\\u001b]0;title\\u0007hi\\r\\n\"]\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cast;
pub mod echo;
pub mod frames;
pub mod osc133;
pub mod replay;
pub mod typed;
mod utf8;
pub mod vtmap;
