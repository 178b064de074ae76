//! Content codings: what comes out, in any pieces; bombs; what is broken.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use flate2::{Compress, Compression, FlushCompress};
use http_content::coding::{CodingError, Codings, Decoder, Limits, MAX_PUSH, STEP, Step};

fn deflated(mut compress: Compress, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 1000);
    compress.compress_vec(text, &mut out, FlushCompress::Finish).unwrap();
    out
}

fn gzip(text: &[u8]) -> Vec<u8> {
    deflated(Compress::new_gzip(Compression::default(), 15), text)
}

fn zlib(text: &[u8]) -> Vec<u8> {
    deflated(Compress::new(Compression::default(), true), text)
}

fn bare(text: &[u8]) -> Vec<u8> {
    deflated(Compress::new(Compression::default(), false), text)
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let params = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
    brotli::BrotliCompress(&mut &text[..], &mut out, &params).unwrap();
    out
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
    zstd_safe::compress(&mut out, text, 3).unwrap();
    out
}

fn decode<'a>(
    codings: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, CodingError> {
    let mut decoder = Decoder::new(&Codings::parse(codings)?, Limits::default());
    let mut out = Vec::new();
    for piece in pieces {
        decoder.push(piece, &mut out)?;
    }
    decoder.finish()?;
    Ok(out)
}

fn text() -> Vec<u8> {
    (0..3000u32).flat_map(|n| format!("line {} of {}\n", n, n * n % 977).into_bytes()).collect()
}

#[test]
fn every_coding_in_any_pieces() {
    let text = text();
    for (name, coded) in [
        ("identity", text.clone()),
        ("", text.clone()),
        ("gzip", gzip(&text)),
        ("X-GZIP", gzip(&text)),
        ("gzip", [gzip(&text[..100]), gzip(b""), gzip(&text[100..])].concat()),
        ("deflate", zlib(&text)),
        ("deflate", bare(&text)),
        ("br", brotli(&text)),
        ("zstd", zstd(&text)),
        ("zstd", [zstd(&text[..100]), zstd(&text[100..])].concat()),
        ("gzip, br", brotli(&gzip(&text))),
        ("zstd , identity,, gzip", gzip(&zstd(&text))),
    ] {
        assert!(decode(name, [&coded[..]]).unwrap() == text, "{name}");
        for size in [1, 2, 3, 1000] {
            assert!(decode(name, coded.chunks(size)).unwrap() == text, "{name} {size}");
        }
    }
}

#[test]
fn every_split_of_a_short_body() {
    let text = b"{\"a\":1}".as_slice();
    for (name, coded) in [
        ("gzip", gzip(text)),
        ("deflate", zlib(text)),
        ("deflate", bare(text)),
        ("br", brotli(text)),
        ("zstd", zstd(text)),
        ("gzip,zstd", zstd(&gzip(text))),
    ] {
        for at in 0..=coded.len() {
            assert_eq!(decode(name, [&coded[..at], &coded[at..]]).unwrap(), text, "{name} {at}");
            if at > 0 && at < coded.len() {
                let cut = decode(name, [&coded[..at]]);
                assert!(matches!(cut, Err(CodingError::Truncated(_))), "{name} {at} {cut:?}");
            }
        }
        assert_eq!(decode(name, []).unwrap(), b"", "{name}: a body of nothing is whole");
    }
}

#[test]
fn what_follows_the_end_is_an_error() {
    for (name, coded) in [
        ("gzip", gzip(b"a")),
        ("deflate", zlib(b"a")),
        ("deflate", bare(b"a")),
        ("br", brotli(b"a")),
        ("zstd", zstd(b"a")),
    ] {
        for junk in [&b"\0"[..], b"junk and more of it"] {
            let whole = [&coded[..], junk].concat();
            for pieces in [whole.len(), coded.len(), 1] {
                let out = decode(name, whole.chunks(pieces));
                assert!(out.is_err(), "{name} {pieces} {out:?}");
            }
        }
    }
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let text = text();
    for (name, coded) in [
        ("gzip", gzip(&text)),
        ("deflate", zlib(&text)),
        ("br", brotli(&text)),
        ("zstd", zstd(&text)),
    ] {
        let step = coded.len() / 200 + 1;
        for at in (0..coded.len()).step_by(step) {
            let mut bad = coded.clone();
            bad[at] ^= 0x55;
            // gzip and zlib carry checksums; brotli and zstd (as servers send it) don't.
            let out = decode(name, bad.chunks(777));
            if name == "gzip" && at > 10 || name == "deflate" && at > 1 {
                assert!(out.is_err(), "{name} {at}");
            }
        }
        assert!(decode(name, [&b"this is no such thing at all"[..]]).is_err(), "{name}");
    }
}

#[test]
fn bombs_are_refused_before_they_are_large() {
    let zeros = vec![0u8; 8 << 20];
    for (name, coded) in [
        ("gzip", gzip(&zeros)),
        ("br", brotli(&zeros)),
        ("zstd", zstd(&zeros)),
        ("deflate", zlib(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
        ("br, gzip", gzip(&brotli(&zeros))),
    ] {
        let mut decoder = Decoder::new(&Codings::parse(name).unwrap(), Limits::default());
        let (mut rest, mut out, mut steps) = (&coded[..], Vec::new(), 0);
        let error = loop {
            out.clear();
            match decoder.step(&mut rest, &mut out) {
                Ok(Step::More) => assert!(out.len() <= STEP),
                Ok(Step::Drained) => break None,
                Err(e) => break Some(e),
            }
            steps += 1;
        };
        assert_eq!(error, Some(CodingError::Ratio(200)), "{name}");
        assert!(steps < 2000, "{name} {steps}");
        assert!(decode(name, [&coded[..]]).is_err(), "{name}");
    }
}

#[test]
fn a_push_and_a_body_have_their_limits() {
    let zeros = vec![0u8; MAX_PUSH + STEP * 4];
    let mut decoder = Decoder::new(
        &Codings::parse("gzip").unwrap(),
        Limits { ratio: u64::MAX, ..Limits::default() },
    );
    let pushed = decoder.push(&gzip(&zeros), &mut Vec::new());
    assert_eq!(pushed, Err(CodingError::TooLong(MAX_PUSH as u64)));
    let mut decoder = Decoder::new(&Codings::identity(), Limits { total: 10, ..Limits::default() });
    assert_eq!(decoder.push(b"0123456789", &mut Vec::new()), Ok(()));
    assert_eq!(decoder.push(b"0", &mut Vec::new()), Err(CodingError::TooLong(10)));
}

#[test]
fn a_long_window_is_refused() {
    use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};
    let coded = |log: u32| {
        let mut c = CCtx::create();
        c.set_parameter(CParameter::WindowLog(log)).unwrap();
        let text = text();
        let mut out = vec![0u8; 1 << 20];
        let mut to = OutBuffer::around(&mut out[..]);
        // Its size not given, the frame names its window.
        c.compress_stream2(
            &mut to,
            &mut InBuffer::around(&text[..10]),
            ZSTD_EndDirective::ZSTD_e_flush,
        )
        .unwrap();
        c.compress_stream2(
            &mut to,
            &mut InBuffer::around(&text[10..]),
            ZSTD_EndDirective::ZSTD_e_end,
        )
        .unwrap();
        let n = to.pos();
        out.truncate(n);
        out
    };
    assert_eq!(decode("zstd", [&coded(23)[..]]).unwrap(), text());
    assert_eq!(decode("zstd", [&coded(27)[..]]), Err(CodingError::Malformed("zstd")));
}

#[test]
fn headers() {
    assert_eq!(Codings::parse("gzip, gzip, gzip"), Err(CodingError::TooMany));
    assert_eq!(Codings::parse("compress"), Err(CodingError::Unknown));
    assert_eq!(Codings::parse("gzip;q=1"), Err(CodingError::Unknown));
    assert_eq!(Codings::parse(&"gzip,".repeat(99)), Err(CodingError::Header));
    assert!(Codings::parse("identity").unwrap().is_identity());
}

#[test]
fn known_vectors() {
    // RFC 1952 by hand: "hello" stored, with a name in the header.
    let gz =
        b"\x1f\x8b\x08\x08\0\0\0\0\0\xffname\0\x01\x05\0\xfa\xffhello\x86\xa6\x10\x36\x05\0\0\0";
    assert_eq!(decode("gzip", [&gz[..]]).unwrap(), b"hello");
    // RFC 7932: the empty stream.
    assert_eq!(decode("br", [&b"\x06"[..]]).unwrap(), b"");
    // RFC 8878: an empty frame, then a skippable one.
    let empty = b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00\x50\x2a\x4d\x18\x02\0\0\0xy";
    assert_eq!(decode("zstd", [&empty[..]]).unwrap(), b"");
}
