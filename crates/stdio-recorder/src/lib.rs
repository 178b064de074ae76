//! What a program under way says and reads: masked for who sees it, in frames for the record.
//!
//! For a proxy in whose protocol programs run (SSH, exec of Kubernetes). The proxy takes the
//! protocol apart and puts it together again; a [`Recorder`] stands between:
//!
//! - [`Recorder::output`] gives what the client is to see of what was said;
//! - [`Recorder::input`] takes what the client sends to the program;
//! - [`Recorder::next_frame`] gives what the record is to have ([`terminal::frames`]). The frames
//!   are given to the journal before what they tell of is passed on;
//! - [`Recorder::tail_due`] and [`Recorder::tails`]: what is held back because it may be the
//!   beginning of a value is given up in time.
//!
//! Of a terminal, text is searched as a reader sees it, and keys are recorded by their echo: what
//! is typed where nothing is echoed is a password as often as not. Of other streams, bytes are
//! searched; what is no text is counted and not kept.
//!
//! No I/O, no journal. It reads the clock: frames have the time at which their bytes came.
//!
//! ```
//! use std::sync::Arc;
//! use stdio_recorder::{Options, Recorder};
//! use terminal::frames::{Kind, Reader};
//!
//! let nothing = Arc::new(masking::Policy::compile(&masking::Config::default(), None).map_err(|it| format!("{it:?}"))?);
//! let mut recorder = Recorder::new(&nothing, Options::default());
//! recorder.input(b"date\n");
//! assert_eq!(recorder.output(false, b"Monday\n"), None, "it passes as it came");
//! recorder.end_of_output();
//!
//! let mut record = Reader::new();
//! while let Some(frame) = recorder.next_frame() {
//!     record.push(&frame);
//! }
//! assert_eq!(record.next()?.unwrap().kind, Kind::Input);
//! assert_eq!(record.next()?.unwrap().bytes, b"Monday\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod frames;
mod keys;
mod recorder;
mod screen;
mod stream;

pub use frames::Frames;
pub use keys::RecordInput;
pub use recorder::{MAX_TERMINAL_FRAME, Options, Recorder, Stdin};
