//! Frames, startup packets, readers and writers: well-formed, split, hostile.
// Test helpers outside #[test] functions may panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use postgres_wire::auth::Secret;
use postgres_wire::backend::{self, TransactionStatus};
use postgres_wire::frame::{FrameError, Framed, Limits, next_frame};
use postgres_wire::frontend::{self, Message, Target};
use postgres_wire::startup::{self, CancelKey, Opening, Packet, ProtocolVersion, StartupError};
use postgres_wire::write::{self, Report, Severity};
use postgres_wire::{Format, Side, WireError, WriteError};
use proptest::collection::vec;
use proptest::prelude::*;

type Owned = (u8, Vec<u8>);

/// All frames of `stream`, which arrives in pieces cut at `cuts`.
fn frames_in_pieces(stream: &[u8], side: Side, cuts: &[usize]) -> Result<Vec<Owned>, FrameError> {
    let (mut buffer, mut frames, mut from) = (Vec::new(), Vec::new(), 0);
    for &to in cuts.iter().chain([&stream.len()]) {
        buffer.extend_from_slice(&stream[from..to]);
        from = to;
        while let Framed::Frame { tag, body, total } = next_frame(&buffer, side, &Limits::DEFAULT)?
        {
            frames.push((tag, body.to_vec()));
            buffer.drain(..total);
        }
    }
    assert!(buffer.is_empty(), "{} bytes left over", buffer.len());
    Ok(frames)
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, tag, |out| {
        out.extend_from_slice(body);
        Ok(())
    })
    .unwrap();
    out
}

fn client_stream() -> Vec<u8> {
    let mut s = Vec::new();
    write::query(&mut s, b"SELECT '\xe9'").unwrap();
    write::parse(&mut s, b"s", b"SELECT $1", &[25, 0]).unwrap();
    let params = [Some(&b"x\0y"[..]), None];
    write::bind(&mut s, b"p", b"s", &[Format::Text, Format::Binary], &params, &[Format::Binary])
        .unwrap();
    write::describe(&mut s, Target::Portal(b"p")).unwrap();
    write::execute(&mut s, b"p", 10).unwrap();
    write::close(&mut s, Target::Statement(b"s")).unwrap();
    write::flush(&mut s);
    write::sync(&mut s);
    write::copy_data(&mut s, b"anything").unwrap();
    write::copy_fail(&mut s, "no").unwrap();
    write::password(&mut s, b"pw").unwrap();
    write::sasl_initial(&mut s, "SCRAM-SHA-256", b"n,,").unwrap();
    write::terminate(&mut s);
    s
}

fn server_stream() -> Vec<u8> {
    let mut s = Vec::new();
    write::authentication_sasl(&mut s, &["OAUTHBEARER", "SCRAM-SHA-256"]).unwrap();
    write::authentication_sasl_continue(&mut s, b"r=").unwrap();
    write::authentication_sasl_final(&mut s, b"v=").unwrap();
    write::authentication_cleartext(&mut s);
    write::authentication_ok(&mut s);
    write::backend_key_data(&mut s, CancelKey { process_id: 7, secret: &[9; 32] }).unwrap();
    write::parameter_status(&mut s, b"client_encoding", b"UTF8").unwrap();
    write::negotiate_protocol_version(&mut s, ProtocolVersion::V3_0, &[b"_pq_.x"]).unwrap();
    let (code, detail) = ("42501", Some("rule no-drop"));
    let report = Report { severity: Severity::Error, code, message: "no", detail, hint: None };
    write::error_response(&mut s, &report).unwrap();
    write::notice_response(&mut s, &report).unwrap();
    write::data_row(&mut s, [Some(&b"a"[..]), None].into_iter()).unwrap();
    write::notification(&mut s, 3, b"ch", b"pay").unwrap();
    write::command_complete(&mut s, b"SELECT 1").unwrap();
    write::ready_for_query(&mut s, TransactionStatus::Failed);
    s
}

#[test]
fn every_split_gives_the_same_frames() {
    for (side, stream) in [(Side::Frontend, client_stream()), (Side::Backend, server_stream())] {
        let whole = frames_in_pieces(&stream, side, &[]).unwrap();
        assert!(whole.len() > 12);
        for at in 0..=stream.len() {
            assert_eq!(frames_in_pieces(&stream, side, &[at]).unwrap(), whole, "cut at {at}");
        }
        let every: Vec<usize> = (0..stream.len()).collect();
        assert_eq!(frames_in_pieces(&stream, side, &every).unwrap(), whole);
    }
}

#[test]
fn what_is_written_is_read() {
    for (tag, body) in frames_in_pieces(&client_stream(), Side::Frontend, &[]).unwrap() {
        frontend::parse(tag, &body).unwrap();
    }
    for (tag, body) in frames_in_pieces(&server_stream(), Side::Backend, &[]).unwrap() {
        backend::parse(tag, &body).unwrap();
    }
    let stream = client_stream();
    let all = frames_in_pieces(&stream, Side::Frontend, &[]).unwrap();
    assert_eq!(frontend::parse(b'Q', &all[0].1), Ok(Message::Query(b"SELECT '\xe9'")));
    let Ok(Message::Bind(bind)) = frontend::parse(b'B', &all[2].1) else { panic!() };
    assert_eq!((bind.portal, bind.statement), (&b"p"[..], &b"s"[..]));
    assert_eq!(bind.parameters.iter().collect::<Vec<_>>(), [Some(&b"x\0y"[..]), None]);
    assert_eq!(bind.parameter_formats.get(1), Some(Format::Binary));
    assert_eq!(bind.parameter_formats.get(2), None);
    assert_eq!(bind.result_formats.get(17), Some(Format::Binary));
    let Ok(Message::Parse(parse)) = frontend::parse(b'P', &all[1].1) else { panic!() };
    assert_eq!(parse.types.iter().collect::<Vec<_>>(), [25, 0]);
}

#[test]
fn a_large_body_can_be_streamed() {
    let row = frame(b'D', &[0; 1000]);
    let seen = next_frame(&row[..5], Side::Backend, &Limits::DEFAULT).unwrap();
    assert_eq!(seen, Framed::Header { tag: b'D', body_len: 1000 });
}

#[test]
fn attack_04_lengths_are_checked_with_the_header() {
    let limits = Limits::DEFAULT;
    for (length, side, tag) in [
        ([0, 0, 0, 3], Side::Frontend, b'Q'),
        ([0, 0, 0, 0], Side::Backend, b'D'),
        ([0xff, 0xff, 0xff, 0xff], Side::Frontend, b'B'),
        ([0x80, 0, 0, 0], Side::Backend, b'D'),
        ([0x7f, 0xff, 0xff, 0xff], Side::Frontend, b'Q'),
        ([0x40, 0, 0, 0], Side::Frontend, b'd'),
        ([0, 0, 0x27, 0x11], Side::Frontend, b'S'),
        ([0, 1, 0, 0], Side::Frontend, b'p'),
        ([0, 0, 0, 6], Side::Backend, b'Z'),
        ([0, 0, 0, 5], Side::Backend, b'1'),
    ] {
        let header = [&[tag][..], &length].concat();
        let error = next_frame(&header, side, &limits).unwrap_err();
        assert_eq!(error.side(), side);
    }
    let unknown = next_frame(b"y", Side::Frontend, &limits);
    assert_eq!(unknown, Err(FrameError::UnknownTag { tag: b'y', side: Side::Frontend }));
    // Just at the limit is fine.
    let header = next_frame(b"S\0\0\x27\x10", Side::Frontend, &limits).unwrap();
    assert_eq!(header, Framed::Header { tag: b'S', body_len: 9_996 });
}

#[test]
fn attack_04_bind_with_a_query_behind_it_is_refused() {
    let mut body = b"\0\0\0\0\0\0\0\0".to_vec();
    assert!(frontend::parse(b'B', &body).is_ok());
    write::query(&mut body, b"DROP TABLE users").unwrap();
    let error = frontend::parse(b'B', &body).unwrap_err();
    assert_eq!(error, WireError::Trailing { message: "Bind", extra: 22 });
    // And a Bind whose inner count reaches behind the frame's end.
    assert!(frontend::parse(b'B', b"\0\0\0\0\0\x01\0\0\0\x40").is_err());
}

#[test]
fn attack_09_bytes_behind_a_nul_are_refused() {
    for (tag, body) in [
        (b'Q', &b"SELECT 1\0; DROP TABLE t\0"[..]),
        (b'Q', b"SELECT 1"),
        (b'Q', b""),
        (b'P', b"s\0SELECT 1\0x\0\0\0"),
        (b'f', b"reason\0more"),
        (b'D', b"Sname\0x"),
        (b'C', b"Pname"),
        (b'D', b"Xname\0"),
        (b'E', b"portal\0\0\0\0"),
        (b'E', b"portal\0\0\0\0\0\0"),
        (b'S', b"\0"),
        (b'H', b"x"),
        (b'X', b"x"),
        (b'c', b"x"),
    ] {
        assert!(frontend::parse(tag, body).is_err(), "{}{body:?}", char::from(tag));
    }
    assert!(frontend::Password::new(b"pw").cleartext().is_err());
    assert!(frontend::Password::new(b"pw\0x\0").cleartext().is_err());
    assert!(frontend::Password::new(b"SCRAM\0\0\0\0\x05n,,").sasl_initial().is_err());
}

#[test]
fn bind_formats_must_fit() {
    // two parameter formats, one parameter
    let body = b"\0\0\0\x02\0\0\0\x01\0\x01\0\0\0\x01x\0\0";
    assert!(frontend::parse(b'B', body).is_err());
    // format 2 does not exist
    assert!(frontend::parse(b'B', b"\0\0\0\x01\0\x02\0\0\0\0").is_err());
    // a value of length −2
    assert!(frontend::parse(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0").is_err());
}

#[test]
fn bind_with_65535_parameters_is_read() {
    let parameters = vec![Some(&b""[..]); 65_535];
    let mut out = Vec::new();
    write::bind(&mut out, b"", b"", &[], &parameters, &[]).unwrap();
    let Ok(Message::Bind(bind)) = frontend::parse(b'B', &out[5..]) else { panic!() };
    assert_eq!(bind.parameters.iter().count(), 65_535);
    let too_many = vec![None; 65_536];
    let start = out.len();
    assert!(write::bind(&mut out, b"", b"", &[], &too_many, &[]).is_err());
    assert_eq!(out.len(), start, "nothing was appended");
}

/// The classes of malformed frames at which other decoders panicked.
#[test]
fn attack_05_malformed_frames_of_a_server_are_errors() {
    for (tag, body) in [
        (b'D', &b""[..]),
        (b'D', b"\0\x01"),
        (b'D', b"\0\x01\0\0\0\x05abc"),
        (b'D', b"\0\x01\xff\xff\xff\xfe"),
        (b'D', b"\0\x01\x80\0\0\0"),
        (b'D', b"\0\x01\x7f\xff\xff\xff"),
        (b'D', b"\0\0x"),
        (b'Z', b""),
        (b'Z', b"Q"),
        (b'R', b"\0\0"),
        (b'R', b"\0\0\0\x05abc"),
        (b'R', b"\0\0\0\x0aSCRAM"),
        (b'R', b"\0\0\0\0x"),
        (b'K', b"\0\0\0\x01abc"),
        (b'S', b"name\0value"),
        (b't', b"\0\x02\0\0\0\x19"),
        (b't', b"\xff\xff"),
        (b'T', b"\0\x01name\0\0\0"),
        (b'T', b"\xff\xff"),
        (b'T', b"\0\x01n\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\x02"),
        (b'C', b"SELECT"),
        (b'E', b""),
        (b'E', b"SERROR\0C42501"),
        (b'E', b"SERROR\0\0x"),
        (b'H', b"\0"),
        (b'H', b"\x02\0\0"),
        (b'G', b"\0\0\x02\0\0"),
        (b'W', b""),
        (b'A', b"\0\0\0\x01ch\0pay"),
        (b'V', b""),
        (b'V', b"\0\0\0\x02x"),
        (b'v', b"\0\x03\0\0\xff\xff\xff\xff"),
        (b'1', b"x"),
        (b'y', b""),
    ] {
        assert!(backend::parse(tag, body).is_err(), "{}{body:?}", char::from(tag));
    }
    let long_key = [&[0, 0, 0, 1][..], &[0; 257]].concat();
    assert!(backend::parse(b'K', &long_key).is_err());
}

#[test]
fn attack_05_an_error_without_sqlstate_is_read() {
    let Ok(backend::Message::ErrorResponse(d)) = backend::parse(b'E', b"SFATAL\0Mx\0\0") else {
        panic!()
    };
    assert_eq!(d.sqlstate(), None);
    assert!(d.is_fatal());
    assert_eq!(d.get(b'M'), Some(&b"x"[..]));
    let Ok(backend::Message::ErrorResponse(d)) = backend::parse(b'E', b"C\0\0") else { panic!() };
    assert_eq!(d.sqlstate(), None);
    assert!(format!("{d:?}").contains("no SQLSTATE"));
}

#[test]
fn row_description_gives_origin_and_type() {
    let body = b"\0\x02id\0\0\0\x40\0\0\x01\0\0\0\x14\0\x08\xff\xff\xff\xff\0\x01\
                 ?column?\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    let Ok(backend::Message::RowDescription(t)) = backend::parse(b'T', body) else { panic!() };
    let columns: Vec<_> = t.columns().collect();
    assert_eq!(columns.len(), t.len());
    assert_eq!((columns[0].table_oid, columns[0].attribute), (0x4000, 1));
    assert_eq!((columns[0].type_oid, columns[0].format), (20, Format::Binary));
    assert_eq!((columns[1].name, columns[1].type_len), (&b"?column?"[..], -1));
}

#[test]
fn cancel_keys_of_both_protocols() {
    for len in [4, 32, 256] {
        let secret = vec![7; len];
        let key = CancelKey { process_id: 42, secret: &secret };
        let mut out = Vec::new();
        startup::write_cancel(&mut out, key).unwrap();
        let Ok(Opening::Packet { packet: Packet::Cancel(read), total }) =
            startup::next_packet(&out)
        else {
            panic!()
        };
        assert_eq!((read, total), (key, out.len()));
        assert!(!format!("{key:?}").contains('7'));
    }
    for len in [0, 3, 257] {
        let secret = vec![7; len];
        let key = CancelKey { process_id: 42, secret: &secret };
        assert!(startup::write_cancel(&mut Vec::new(), key).is_err());
        assert!(write::backend_key_data(&mut Vec::new(), key).is_err());
    }
}

fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + rest.len()).unwrap();
    [&length.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
}

#[test]
fn attack_01_what_follows_an_ssl_request_is_seen() {
    let mut out = Vec::new();
    startup::write_ssl_request(&mut out);
    let expected = Ok(Opening::Packet { packet: Packet::SslRequest, total: 8 });
    assert_eq!(startup::next_packet(&out), expected);
    out.extend_from_slice(b"smuggled");
    // `total` says that more is buffered: the caller must not go on.
    assert_eq!(startup::next_packet(&out), expected);
    assert!(startup::next_packet(&packet(startup::SSL_REQUEST, b"x")).is_err());
    let gss = packet(startup::GSSENC_REQUEST, b"");
    let gss = startup::next_packet(&gss);
    assert_eq!(gss, Ok(Opening::Packet { packet: Packet::GssEncRequest, total: 8 }));
    assert_eq!(startup::next_packet(&[0x16, 3, 1]), Ok(Opening::DirectTls));
}

#[test]
fn attack_06_startup_parameters_are_read_strictly() {
    let version = 3 << 16;
    let good = packet(version, b"user\0bob\0database\0x host=evil\0_pq_.a\x001\0\0");
    let Ok(Opening::Packet { packet: Packet::Startup(s), total }) = startup::next_packet(&good)
    else {
        panic!()
    };
    assert_eq!(total, good.len());
    assert_eq!(s.get("database"), Some(&b"x host=evil"[..]));
    assert_eq!(s.protocol_options().collect::<Vec<_>>(), [b"_pq_.a"]);
    let mut again = Vec::new();
    startup::write_startup(&mut again, s.version, &s.parameters).unwrap();
    assert_eq!(again, good);

    let twice = packet(version, b"user\0bob\0user\0root\0\0");
    assert_eq!(startup::next_packet(&twice), Err(StartupError::DuplicateParameter));
    for bad in [&b""[..], b"user\0bob\0", b"user\0bob", b"user\0", b"user\0bob\0\0x", b"\0\0"] {
        assert!(startup::next_packet(&packet(version, bad)).is_err(), "{bad:?}");
    }
    let many: Vec<u8> = (0..65).flat_map(|i| format!("k{i}\0v\0").into_bytes()).collect();
    let many = packet(version, &[&many[..], b"\0"].concat());
    assert_eq!(startup::next_packet(&many), Err(StartupError::TooManyParameters));
    assert!(matches!(
        startup::next_packet(&packet(2 << 16, b"\0")),
        Err(StartupError::UnsupportedVersion(ProtocolVersion { major: 2, minor: 0 }))
    ));
    for length in [0u32, 7, 10_001, 0x8000_0000, 0xffff_ffff] {
        let header = length.to_be_bytes();
        let error = startup::next_packet(&header);
        assert!(matches!(error, Err(StartupError::BadLength(_))), "{length}");
    }
    let nul = startup::write_startup(&mut Vec::new(), ProtocolVersion::V3_0, &[(b"a", b"b\0c")]);
    assert!(matches!(nul, Err(WriteError::InteriorNul { .. })));
}

#[test]
fn attack_06_options_are_settings_or_nothing() {
    let get = |o: &[u8]| startup::parse_options(o).ok();
    let one = |n: &[u8], v: &[u8]| Some(vec![(n.to_vec(), v.to_vec())]);
    assert_eq!(get(b""), Some(vec![]));
    assert_eq!(get(b" -c geqo=off"), one(b"geqo", b"off"));
    assert_eq!(get(b"--search-path=a=b"), one(b"search_path", b"a=b"));
    assert_eq!(get(br"-csearch_path=a\ b\\"), one(b"search_path", br"a b\"));
    assert_eq!(get(b"-c a=1 \t-c b=").map(|s| s.len()), Some(2));
    for bad in [&b"-c"[..], b"-d 5", b"-c geqo", b"stray", b"-c =x", b"--x", b"-- a=b"] {
        assert_eq!(get(bad), None, "{bad:?}");
    }
}

#[test]
fn versions_are_agreed_on() {
    let v = |minor| ProtocolVersion { major: 3, minor };
    assert_eq!(v(9999).agree(v(2)), v(2));
    assert_eq!(v(2).agree(v(0)), v(0));
    assert_eq!(v(1).agree(v(2)), v(0), "3.1 is reserved");
    assert_eq!(v(0).agree(v(2)), v(0));
    assert_eq!(ProtocolVersion::from_code(196_610), v(2));
}

#[test]
fn nothing_of_content_is_shown() {
    let secret = Secret::new("hunter2");
    assert_eq!(format!("{secret:?}"), "***");
    let mut out = Vec::new();
    write::password(&mut out, b"hunter2").unwrap();
    write::bind(&mut out, b"", b"", &[], &[Some(b"hunter2")], &[]).unwrap();
    write::query(&mut out, b"SELECT 'hunter2'").unwrap();
    for (tag, body) in frames_in_pieces(&out, Side::Frontend, &[]).unwrap() {
        let shown = format!("{:?}", frontend::parse(tag, &body).unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }
}

#[test]
fn writers_refuse_what_would_smuggle() {
    let mut out = b"before".to_vec();
    assert!(write::query(&mut out, b"a\0b").is_err());
    let (severity, detail, hint) = (Severity::Error, None, None);
    for (code, message) in [("42501", "a\0b"), ("4250", "x"), ("4250\0", "x"), ("abcde", "x")] {
        let report = Report { severity, code, message, detail, hint };
        assert!(write::error_response(&mut out, &report).is_err());
    }
    assert!(write::authentication_sasl(&mut out, &[""]).is_err());
    assert_eq!(out, b"before");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(tag: u8, data in vec(any::<u8>(), 0..200)) {
        for side in [Side::Frontend, Side::Backend] {
            let _ = next_frame(&data, side, &Limits::DEFAULT);
        }
        if let Ok(Message::Bind(bind)) = frontend::parse(tag, &data) {
            prop_assert_eq!(bind.parameters.iter().count(), bind.parameters.len());
        }
        if let Ok(backend::Message::DataRow(row)) = backend::parse(tag, &data) {
            prop_assert_eq!(row.fields().count(), row.len());
        }
        if let Ok(Opening::Packet { total, .. }) = startup::next_packet(&data) {
            prop_assert!(total <= data.len());
        }
        let _ = startup::parse_options(&data);
        let _ = frontend::Password::new(&data).sasl_initial();
    }

    #[test]
    fn bind_round_trip(
        portal in "[a-z]{0,8}",
        parameters in vec(proptest::option::of(vec(any::<u8>(), 0..20)), 0..20),
        binary: bool,
    ) {
        let parameters: Vec<Option<&[u8]>> = parameters.iter().map(|p| p.as_deref()).collect();
        let formats = vec![if binary { Format::Binary } else { Format::Text }; parameters.len()];
        let mut out = Vec::new();
        write::bind(&mut out, portal.as_bytes(), b"s", &formats, &parameters, &formats).unwrap();
        let Ok(Message::Bind(bind)) = frontend::parse(b'B', &out[5..]) else { panic!() };
        prop_assert_eq!(bind.portal, portal.as_bytes());
        prop_assert_eq!(bind.parameters.iter().collect::<Vec<_>>(), parameters);
        prop_assert_eq!(bind.parameter_formats.iter().collect::<Vec<_>>(), formats);
        // Any shorter body is an error, and so is any longer one.
        for len in 5..out.len() {
            prop_assert!(frontend::parse(b'B', &out[5..len]).is_err());
        }
        out.push(0);
        prop_assert!(frontend::parse(b'B', &out[5..]).is_err());
    }

    #[test]
    fn data_row_round_trip(fields in vec(proptest::option::of(vec(any::<u8>(), 0..20)), 0..20)) {
        let mut out = Vec::new();
        write::data_row(&mut out, fields.iter().map(Option::as_deref)).unwrap();
        let Ok(backend::Message::DataRow(row)) = backend::parse(b'D', &out[5..]) else { panic!() };
        let read: Vec<_> = row.fields().map(|f| f.map(<[u8]>::to_vec)).collect();
        prop_assert_eq!(read, fields);
    }

    #[test]
    fn any_stream_splits_the_same(stream in vec(any::<u8>(), 0..60), at in 0usize..60) {
        let at = at.min(stream.len());
        let limits = Limits::DEFAULT;
        if let Ok(Framed::Frame { tag, body, total }) =
            next_frame(&stream, Side::Frontend, &limits)
        {
            match next_frame(&stream[..at], Side::Frontend, &limits) {
                Ok(Framed::Frame { tag: t, body: b, total: n }) => {
                    prop_assert_eq!((t, b, n), (tag, body, total));
                }
                Ok(Framed::Header { tag: t, body_len }) => {
                    prop_assert_eq!((t, body_len), (tag, body.len()));
                    prop_assert!(at < total);
                }
                Ok(Framed::NeedHeader) => prop_assert!(at < 5),
                Err(e) => prop_assert!(false, "{e}"),
            }
        }
    }
}
