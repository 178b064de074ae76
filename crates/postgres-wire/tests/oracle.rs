//! pgwire, another implementation of the protocol, as an oracle: what it writes we read as it was
//! meant, and what we write of that are the same bytes. (Only well-formed UTF-8 can be asked: on
//! the rest pgwire loses text or panics, which is why it is no part of the proxy's codec.)
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use bytes::{BufMut as _, Bytes, BytesMut};
use pgwire::messages::copy::{CopyData, CopyFail, CopyOutResponse};
use pgwire::messages::data::{DataRow, FieldDescription, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Flush, Parse, Sync};
use pgwire::messages::response::{
    CommandComplete, ErrorResponse, NotificationResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{DecodeContext, PgWireBackendMessage as Theirs};
use pgwire::messages::{PgWireFrontendMessage as Asked, ProtocolVersion};
use postgres_wire::frame::{Framed, Limits, next_frame};
use postgres_wire::frontend::Target;
use postgres_wire::{Format, Side, backend, frontend, write};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// One frame, all of it.
fn frame(bytes: &[u8], side: Side) -> (u8, &[u8]) {
    match next_frame(bytes, side, &Limits::DEFAULT).unwrap() {
        Framed::Frame { tag, body, total } if total == bytes.len() => (tag, body),
        other => panic!("{other:?} of {} bytes", bytes.len()),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// pgwire knows no empty name.
fn name(bytes: &[u8]) -> Option<String> {
    Some(text(bytes)).filter(|name| !name.is_empty())
}

fn codes(formats: impl Iterator<Item = Format>) -> Vec<i16> {
    formats.map(|format| i16::from(format == Format::Binary)).collect()
}

/// What we read, in pgwire's words, and what we write of it.
fn ours_asked(bytes: &[u8]) -> (Asked, Vec<u8>) {
    let (tag, body) = frame(bytes, Side::Frontend);
    let mut out = Vec::new();
    let target = |target: &Target<'_>| match target {
        Target::Statement(it) => (b'S', name(it)),
        Target::Portal(it) => (b'P', name(it)),
    };
    let read = match frontend::parse(tag, body).unwrap() {
        frontend::Message::Query(sql) => {
            write::query(&mut out, sql).unwrap();
            Asked::Query(Query::new(text(sql)))
        }
        frontend::Message::Parse(it) => {
            let types: Vec<u32> = it.types.iter().collect();
            write::parse(&mut out, it.name, it.query, &types).unwrap();
            Asked::Parse(Parse::new(name(it.name), text(it.query), types))
        }
        frontend::Message::Bind(it) => {
            let (formats, results) = (it.parameter_formats, it.result_formats);
            let values: Vec<_> = it.parameters.iter().collect();
            let lists: [Vec<Format>; 2] = [formats.iter().collect(), results.iter().collect()];
            let [given, wanted] = &lists;
            write::bind(&mut out, it.portal, it.statement, given, &values, wanted).unwrap();
            Asked::Bind(Bind::new(
                name(it.portal),
                name(it.statement),
                codes(formats.iter()),
                values.iter().map(|value| value.map(Bytes::copy_from_slice)).collect(),
                codes(results.iter()),
            ))
        }
        frontend::Message::Describe(it) => {
            write::describe(&mut out, it).unwrap();
            let (kind, name) = target(&it);
            Asked::Describe(Describe::new(kind, name))
        }
        frontend::Message::Close(it) => {
            write::close(&mut out, it).unwrap();
            let (kind, name) = target(&it);
            Asked::Close(Close::new(kind, name))
        }
        frontend::Message::Execute(it) => {
            write::execute(&mut out, it.portal, it.max_rows).unwrap();
            Asked::Execute(Execute::new(name(it.portal), it.max_rows))
        }
        frontend::Message::CopyData(data) => {
            write::copy_data(&mut out, data).unwrap();
            Asked::CopyData(CopyData::new(Bytes::copy_from_slice(data)))
        }
        frontend::Message::CopyFail(why) => {
            write::copy_fail(&mut out, &text(why)).unwrap();
            Asked::CopyFail(CopyFail::new(text(why)))
        }
        frontend::Message::Sync => {
            write::sync(&mut out);
            Asked::Sync(Sync::new())
        }
        frontend::Message::Flush => {
            write::flush(&mut out);
            Asked::Flush(Flush::new())
        }
        other => panic!("{other:?}"),
    };
    (read, out)
}

/// What we read, in pgwire's words, and what we write of it, of the messages that we write.
fn ours_answered(bytes: &[u8]) -> (Theirs, Option<Vec<u8>>) {
    let (tag, body) = frame(bytes, Side::Backend);
    let mut out = Vec::new();
    let read = match backend::parse(tag, body).unwrap() {
        backend::Message::DataRow(row) => {
            let values: Vec<_> = row.fields().collect();
            write::data_row(&mut out, values.iter().copied()).unwrap();
            Theirs::DataRow(row_of(&values))
        }
        backend::Message::RowDescription(it) => {
            let field = |c: backend::Column<'_>| {
                FieldDescription::new(
                    text(c.name),
                    c.table_oid.cast_signed(),
                    c.attribute,
                    c.type_oid,
                    c.type_len,
                    c.type_modifier,
                    i16::from(c.format == Format::Binary),
                )
            };
            Theirs::RowDescription(RowDescription::new(it.columns().map(field).collect()))
        }
        backend::Message::ParameterDescription(oids) => {
            Theirs::ParameterDescription(ParameterDescription::new(oids.iter().collect()))
        }
        backend::Message::CommandComplete(tag) => {
            write::command_complete(&mut out, tag).unwrap();
            Theirs::CommandComplete(CommandComplete::new(text(tag)))
        }
        backend::Message::ErrorResponse(it) => {
            write::diagnostic_fields(&mut out, b'E', it.fields()).unwrap();
            let fields = it.fields().map(|(code, value)| (code, text(value))).collect();
            Theirs::ErrorResponse(ErrorResponse::new(fields))
        }
        backend::Message::Notification(it) => {
            write::notification(&mut out, it.process_id, it.channel, it.payload).unwrap();
            let (channel, payload) = (text(it.channel), text(it.payload));
            let pid = it.process_id.cast_signed();
            Theirs::NotificationResponse(NotificationResponse::new(pid, channel, payload))
        }
        backend::Message::ParameterStatus(it) => {
            write::parameter_status(&mut out, it.name, it.value).unwrap();
            Theirs::ParameterStatus(ParameterStatus::new(text(it.name), text(it.value)))
        }
        backend::Message::ReadyForQuery(status) => {
            write::ready_for_query(&mut out, status);
            Theirs::ReadyForQuery(ReadyForQuery::new(match status {
                backend::TransactionStatus::Idle => TransactionStatus::Idle,
                backend::TransactionStatus::InTransaction => TransactionStatus::Transaction,
                backend::TransactionStatus::Failed => TransactionStatus::Error,
            }))
        }
        backend::Message::CopyOutResponse(it) => {
            let columns = codes(it.columns.iter());
            let format = i8::from(it.format == Format::Binary);
            let count = i16::try_from(columns.len()).unwrap();
            Theirs::CopyOutResponse(CopyOutResponse::new(format, count, columns))
        }
        other => panic!("{other:?}"),
    };
    (read, Some(out).filter(|out| !out.is_empty()))
}

fn row_of(values: &[Option<&[u8]>]) -> DataRow {
    let mut data = BytesMut::new();
    for value in values {
        data.put_i32(value.map_or(-1, |value| i32::try_from(value.len()).unwrap()));
        data.put_slice(value.unwrap_or_default());
    }
    DataRow::new(data, i16::try_from(values.len()).unwrap())
}

/// Text without NUL, which ends it.
fn words() -> impl Strategy<Value = String> {
    "[^\0]{0,40}"
}

fn named() -> impl Strategy<Value = Option<String>> {
    option::of("[^\0]{1,20}")
}

fn values() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    vec(option::of(vec(any::<u8>(), 0..40)), 0..8)
}

fn kinds() -> impl Strategy<Value = u8> {
    prop_oneof![Just(b'S'), Just(b'P')]
}

fn bind() -> impl Strategy<Value = Bind> {
    let formats = |n| vec(0i16..2, n);
    (named(), named(), values(), 0usize..3, formats(0..9)).prop_flat_map(
        move |(portal, statement, values, how, results)| {
            let count = [0, 1, values.len()].into_iter().nth(how).unwrap();
            let values: Vec<_> = values.into_iter().map(|v| v.map(Bytes::from)).collect();
            formats(count..count + 1).prop_map(move |given| {
                Bind::new(portal.clone(), statement.clone(), given, values.clone(), results.clone())
            })
        },
    )
}

fn asked() -> impl Strategy<Value = Asked> {
    let bytes = || vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    prop_oneof![
        words().prop_map(|sql| Asked::Query(Query::new(sql))),
        (named(), words(), vec(any::<u32>(), 0..9))
            .prop_map(|(name, sql, types)| Asked::Parse(Parse::new(name, sql, types))),
        bind().prop_map(Asked::Bind),
        (kinds(), named()).prop_map(|(kind, name)| Asked::Describe(Describe::new(kind, name))),
        (kinds(), named()).prop_map(|(kind, name)| Asked::Close(Close::new(kind, name))),
        (named(), any::<i32>()).prop_map(|(name, rows)| Asked::Execute(Execute::new(name, rows))),
        bytes().prop_map(|data| Asked::CopyData(CopyData::new(data))),
        words().prop_map(|why| Asked::CopyFail(CopyFail::new(why))),
        Just(()).prop_map(|()| Asked::Sync(Sync::new())),
        Just(()).prop_map(|()| Asked::Flush(Flush::new())),
    ]
}

fn column() -> impl Strategy<Value = FieldDescription> {
    (words(), any::<i32>(), any::<i16>(), any::<u32>(), any::<i16>(), any::<i32>(), 0i16..2)
        .prop_map(|(name, table, column, oid, size, modifier, format)| {
            FieldDescription::new(name, table, column, oid, size, modifier, format)
        })
}

fn answered() -> impl Strategy<Value = Theirs> {
    let status = prop_oneof![
        Just(TransactionStatus::Idle),
        Just(TransactionStatus::Transaction),
        Just(TransactionStatus::Error)
    ];
    let field = (proptest::sample::select(b"SVCMDHPpqWstcdnFLR".to_vec()), words());
    prop_oneof![
        values().prop_map(|row| {
            let row: Vec<_> = row.iter().map(Option::as_deref).collect();
            Theirs::DataRow(row_of(&row))
        }),
        vec(column(), 0..6).prop_map(|all| Theirs::RowDescription(RowDescription::new(all))),
        vec(any::<u32>(), 0..9)
            .prop_map(|oids| Theirs::ParameterDescription(ParameterDescription::new(oids))),
        words().prop_map(|tag| Theirs::CommandComplete(CommandComplete::new(tag))),
        vec(field, 0..8).prop_map(|fields| Theirs::ErrorResponse(ErrorResponse::new(fields))),
        (any::<i32>(), words(), words()).prop_map(|(pid, channel, payload)| {
            Theirs::NotificationResponse(NotificationResponse::new(pid, channel, payload))
        }),
        (words(), words())
            .prop_map(|(name, value)| Theirs::ParameterStatus(ParameterStatus::new(name, value))),
        status.prop_map(|status| Theirs::ReadyForQuery(ReadyForQuery::new(status))),
        (0i8..2, vec(0i16..2, 0..9)).prop_map(|(format, columns)| {
            let count = i16::try_from(columns.len()).unwrap();
            Theirs::CopyOutResponse(CopyOutResponse::new(format, count, columns))
        }),
    ]
}

fn context() -> DecodeContext {
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    context
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_pgwire_asks_we_read_and_write_alike(message in asked()) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes).unwrap();
        let (read, written) = ours_asked(&bytes);
        prop_assert_eq!(format!("{read:?}"), format!("{message:?}"));
        prop_assert_eq!(&*written, &*bytes);
        // And it reads its own as we do.
        let theirs = Asked::decode(&mut bytes, &context()).unwrap().unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn what_pgwire_answers_we_read_and_write_alike(message in answered()) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes).unwrap();
        let (read, written) = ours_answered(&bytes);
        prop_assert_eq!(format!("{read:?}"), format!("{message:?}"));
        if let Some(written) = written {
            prop_assert_eq!(&*written, &*bytes);
        }
        let theirs = Theirs::decode(&mut bytes, &context()).unwrap().unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{theirs:?}"));
    }
}
