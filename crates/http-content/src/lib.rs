//! The content of HTTP messages: content codings, and masking of bodies by
//! media type, streaming, in bounded memory, for the client and for the record
//! at once. No I/O: a relay pushes pieces in and takes pieces out.
//!
//! # Words
//!
//! * **coding**: what Content-Encoding names ([`coding::Codings`]); taken off by
//!   a [`coding::Decoder`], a bounded step at a time. What was masked is sent on
//!   without a coding.
//! * **kind**: how a body is taken apart, by its Content-Type ([`media::Kind`]).
//! * **side**: who is to see a body ([`Sides`], [`masking::Sink`]). Where the
//!   policy says the same for both, a text is searched once; where it doesn't,
//!   a value is masked for the record by itself if the client's view of it
//!   changed or the record hides more.
//! * **path rule**: a masking rule for places in JSON (`paths = ["$.user.ssn"]`).
//!   `$` is the document, each record of a sequence, an event's data, or the
//!   object that a form's fields make.
//!
//! # Example
//!
//! ```
//! use http_content::coding::{Codings, Decoder, Limits, Step};
//! use http_content::media::{Charset, Kind};
//! use http_content::{BodyMasker, Sides};
//! use masking::{Config, OperatorConfig, Policy, RuleConfig};
//! use std::sync::Arc;
//!
//! let rule = RuleConfig {
//!     entity: vec!["EMAIL_ADDRESS".into()],
//!     client: Some(OperatorConfig::named("replace")),
//!     ..RuleConfig::default()
//! };
//! let config = Config { rules: vec![rule], ..Config::default() };
//! let policy = Arc::new(Policy::compile(&config, None).map_err(|p| format!("{p:?}"))?);
//!
//! let content_type = Some("application/json");
//! let (kind, charset) = (Kind::of(content_type), Charset::of(content_type));
//! let mut masker = BodyMasker::new(&kind, charset, &policy, Sides::Both)?;
//! let mut decoder = Decoder::new(&Codings::parse("identity")?, Limits::default());
//! let (mut client, mut record, mut plain) = (Vec::new(), Vec::new(), Vec::new());
//! for piece in [&b"{\"mail\":\"jane\\u00"[..], b"40example.com\"}"] {
//!     let mut rest = piece;
//!     loop {
//!         let step = decoder.step(&mut rest, &mut plain)?;
//!         masker.push(&plain, &mut client, &mut record)?;
//!         plain.clear();
//!         if step == Step::Drained {
//!             break;
//!         }
//!     }
//! }
//! decoder.finish()?;
//! masker.finish(&mut client, &mut record)?;
//! assert_eq!(client, br#"{"mail":"<EMAIL_ADDRESS>"}"#);
//! assert_eq!(record, client);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is decided
//!
//! * **JSON**: a string is searched with its escapes decoded and its name beside
//!   it; a name is searched by itself. A string that carries a finding in base64,
//!   percent signs or backslashes (one level more) is masked whole. A card's
//!   number that is a JSON number becomes another number of as many digits that
//!   is no card's; any other finding in a number becomes the *string* of its
//!   mask. A path rule masks every string, number, `true` and `false` at and
//!   below its places, as a string; its `null` makes each of them `null`.
//!   Objects, arrays and names stay. Every occurrence of a duplicate name is
//!   judged alike.
//! * **What is no JSON** is masked as text from there on (a sequence: to the end
//!   of the line). Where a path rule is in force, a body that says it is JSON and
//!   is not is refused, or withheld (`on_unmaskable = "null"`).
//! * **Binary** kinds pass to the client as they are: a changed byte would break
//!   them. In the record what looks like text in them is masked. A body of no
//!   known type is text up to its first control character.
//! * **Charsets** in which ASCII text has another form (UTF-16, UTF-7, EBCDIC…)
//!   are refused: a declared charset must not hide a value.
//! * **Compressed twice** is decoded; what is inside an archive or a PDF is not
//!   searched. Base64 of more than 64 KiB in a JSON string is masked inside, and
//!   stays base64; percent signs and backslashes in such a string are not looked
//!   through.
//!
//! # Libraries
//!
//! flate2 with zlib-rs (zlib in Rust: gzip with its checksums, and deflate),
//! brotli-decompressor (the reference decoder in safe Rust, no dependencies but
//! its allocator), zstd-safe (the reference C library's streaming calls and
//! nothing else; a Rust decoder that streams within a block's reach and refuses
//! long windows did not offer more), memchr (the search for quotes), base64.

mod body;
pub mod coding;
mod error;
mod escape;
mod eyes;
mod field;
mod form;
pub mod headers;
mod json;
pub mod media;
mod multipart;
mod nested;
pub mod query;
mod recode;
mod sse;

pub use body::{BodyMasker, SNIFF};
pub use error::{ContentError, Sides};
pub use eyes::Counts;
pub use json::{MAX_DEPTH, MAX_GAP, MAX_NAME, MAX_NUMBER, MAX_STRING};
pub use multipart::{MAX_PADDING, MAX_PART_HEAD};
pub use sse::MAX_EVENT;
