//! Forms, multipart bodies, event streams, text and what is none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{all, both, every_split, in_pieces, policy, seen, whole};
use http_content::media::{Charset, Kind};
use http_content::{BodyMasker, ContentError, MAX_EVENT, MAX_STRING, Sides};
use masking::{Entity, Sink};

fn rules() -> std::sync::Arc<masking::Policy> {
    policy(
        "[[rule]]\npaths = [\"$.ssn\"]\nclient = { operator = \"mask\" }\n\
         record = { operator = \"null\" }\n\
         [[rule]]\nentity = [\"ALL\"]\nclient = { operator = \"replace\" }",
    )
}

#[test]
fn forms() {
    for (body, want) in [
        ("a=1&b=two+words&c=%C3%A9", "a=1&b=two+words&c=%C3%A9"),
        ("mail=jane%40example.com&x=1", "mail=%3CEMAIL_ADDRESS%3E&x=1"),
        ("mail=jane@example.com", "mail=%3CEMAIL_ADDRESS%3E"),
        ("password=hunter&user=x", "password=%3CAUTH_SECRET%3E&user=x"),
        ("jane%40example.com=1", "%3CEMAIL_ADDRESS%3E=1"),
        ("jane%2540example.com%20", "%3CEMAIL_ADDRESS%3E"),
        ("", ""),
        ("&&=&a", "&&=&a"),
    ] {
        assert_eq!(seen(&Kind::Form, &all(), body), want, "{body}");
        every_split(&Kind::Form, &all(), body.as_bytes());
        every_split(&Kind::Form, &both(), body.as_bytes());
    }
    let (client, record) = whole(&Kind::Form, &rules(), b"ssn=12&x=jane%40example.com");
    assert_eq!(client, b"ssn=**&x=%3CEMAIL_ADDRESS%3E");
    assert_eq!(record, b"ssn=&x=%3CEMAIL_ADDRESS%3E");
}

#[test]
fn long_forms_stream() {
    for pad in [MAX_STRING - 30, MAX_STRING, 2 * MAX_STRING] {
        let body = format!(
            "n={}+jane%40example.com+%zz{}&m=joe%40example.org",
            "x+".repeat(pad / 2),
            "%41+".repeat(900)
        );
        let out = seen(&Kind::Form, &all(), &body);
        assert!(!out.contains("jane") && out.ends_with("&m=%3CEMAIL_ADDRESS%3E"), "{pad}");
        if pad > MAX_STRING {
            assert!(out.contains("x++%3CEMAIL_ADDRESS%3E+%zz%41+"), "{pad}");
        }
        for size in [999, MAX_STRING + 7] {
            let cut = in_pieces(&Kind::Form, &all(), body.as_bytes().chunks(size)).unwrap();
            assert!(cut.0 == out.as_bytes(), "{pad} {size}");
        }
        let hidden = seen(&Kind::Form, &rules(), &format!("ssn={body}"));
        assert!(hidden.starts_with("ssn=*") || hidden.starts_with("ssn=%3CMASKED%3E&"), "{pad}");
    }
}

#[test]
fn events() {
    for (body, want) in [
        ("data: {\"a\":\"jane\\u0040example.com\"}\n\n", "data: {\"a\":\"<EMAIL_ADDRESS>\"}\n\n"),
        (
            "data:  two spaces\r\n\r\ndata:x\r\rdata\n\n",
            "data:  two spaces\r\n\r\ndata:x\r\rdata\n\n",
        ),
        (
            ": jane@example.com\nid: 7\nevent: e\ndata: x\n\n",
            ": <EMAIL_ADDRESS>\nid: 7\nevent: e\ndata: x\n\n",
        ),
        (
            "data: {\"a\":\ndata: \"jane@example.com\"}\n\n",
            "data: {\"a\":\ndata: \"<EMAIL_ADDRESS>\"}\n\n",
        ),
        ("data: [DONE]\n\n", "data: [DONE]\n\n"),
        ("data: [jane@example.com]\n\n", "data: [<EMAIL_ADDRESS>]\n\n"),
        ("data: jane@example.com", "data: <EMAIL_ADDRESS>"),
        ("\u{feff}data: jane@example.com\n\n\n\n", "\u{feff}data: <EMAIL_ADDRESS>\n\n\n\n"),
        (
            "data: jane@example.com\r\nid: 1\r\ndata: b\r\n\r\n",
            "data: <EMAIL_ADDRESS>\r\ndata: b\r\nid: 1\r\n\r\n",
        ),
        ("nonsense jane@example.com\n\n", "nonsense <EMAIL_ADDRESS>\n\n"),
    ] {
        assert_eq!(seen(&Kind::EventStream, &all(), body), want, "{body}");
        every_split(&Kind::EventStream, &all(), body.as_bytes());
        every_split(&Kind::EventStream, &both(), body.as_bytes());
    }
    let body = b"data: {\"ssn\":\"12\"}\n\n";
    let (client, record) = whole(&Kind::EventStream, &rules(), body);
    assert_eq!(client, b"data: {\"ssn\":\"**\"}\n\n");
    assert_eq!(record, b"data: {\"ssn\":null}\n\n");
}

#[test]
fn an_event_is_not_held() {
    let mut m = BodyMasker::new(&Kind::EventStream, Charset::Ascii, &all(), Sides::Both).unwrap();
    let (mut client, mut record) = (Vec::new(), Vec::new());
    m.push(b"data: a short one\n\n", &mut client, &mut record).unwrap();
    assert_eq!(client, b"data: a short one\n\n");
    m.push(b": keep-alive\r\n\r", &mut client, &mut record).unwrap();
    assert!(client.ends_with(b": keep-alive\r\n\r"));
}

#[test]
fn an_endless_event_streams_or_is_refused() {
    let body = format!("data: {}jane@example.com\n\ndata: y\n\n", "x ".repeat(MAX_EVENT / 2));
    let out = seen(&Kind::EventStream, &all(), &body);
    assert!(out.ends_with("<EMAIL_ADDRESS>\n\ndata: y\n\n"));
    let refused = in_pieces(&Kind::EventStream, &rules(), body.as_bytes().chunks(5000));
    assert!(matches!(refused, Err(ContentError::TooLong { .. })));
}

fn multipart() -> Kind {
    Kind::Multipart { boundary: b"b0-1".to_vec() }
}

#[test]
fn parts() {
    let body = "pre jane@example.com\r\n--b0-1\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter\
        \r\n--b0-1 \r\nContent-Disposition: form-data; name=j; filename=\"jane@example.com\"\r\ncontent-type: application/json\r\n\r\n{\"a\":\"jane\\u0040example.com\"}\
        \r\n--b0-1\r\nContent-Type: image/png\r\n\r\n\u{1}jane@example.com\r\n--b0-12 is no end\r\n\
        \r\n--b0-1\r\nContent-Disposition: form-data; name=\"ssn\"\r\n\r\n12\r\n--b0-1--\r\nafter jane@example.com";
    let want = "pre <EMAIL_ADDRESS>\r\n--b0-1\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n<AUTH_SECRET>\
        \r\n--b0-1 \r\nContent-Disposition: form-data; name=j; filename=\"<EMAIL_ADDRESS>\"\r\ncontent-type: application/json\r\n\r\n{\"a\":\"<EMAIL_ADDRESS>\"}\
        \r\n--b0-1\r\nContent-Type: image/png\r\n\r\n\u{1}jane@example.com\r\n--b0-12 is no end\r\n\
        \r\n--b0-1\r\nContent-Disposition: form-data; name=\"ssn\"\r\n\r\n**\r\n--b0-1--\r\nafter <EMAIL_ADDRESS>";
    let (client, record) = whole(&multipart(), &rules(), body.as_bytes());
    assert_eq!(String::from_utf8(client).unwrap(), want);
    let record = String::from_utf8(record).unwrap();
    assert!(record.contains("name=\"ssn\"\r\n\r\n\r\n--b0-1--") && !record.contains("jane"));
    every_split(&multipart(), &rules(), body.as_bytes());
    every_split(&multipart(), &rules(), body.replace("\r\n", "\n").as_bytes());
    every_split(&multipart(), &rules(), "--b0-1--".as_bytes());
    every_split(&multipart(), &rules(), "--b0-1\r\n\r\n\r\n--b0-1\r\n\r\nx\r\n--b0".as_bytes());
}

#[test]
fn a_head_has_a_limit() {
    let body = format!("--b0-1\r\nX: {}\r\n\r\nx\r\n--b0-1--", "y".repeat(20_000));
    for size in [body.len(), 100] {
        let cut = in_pieces(&multipart(), &all(), body.as_bytes().chunks(size));
        assert!(matches!(cut, Err(ContentError::TooLong { .. })), "{cut:?}");
    }
}

#[test]
fn text_and_what_is_none() {
    let body = b"Hello jane@example.com, bye";
    assert_eq!(whole(&Kind::Text, &all(), body).0, b"Hello <EMAIL_ADDRESS>, bye");
    assert_eq!(whole(&Kind::Unknown, &all(), body).0, b"Hello <EMAIL_ADDRESS>, bye");
    let odd = b"\x7fELF\0 jane@example.com";
    let (client, record) = whole(&Kind::Unknown, &all(), odd);
    assert_eq!((&client[..], &record[..]), (&odd[..], &b"\x7fELF\0 <EMAIL_ADDRESS>"[..]));
    every_split(&Kind::Unknown, &both(), odd);
    let (client, record) = whole(&Kind::Binary, &all(), odd);
    assert_eq!((&client[..], &record[..]), (&odd[..], &b"\x7fELF\0 <EMAIL_ADDRESS>"[..]));
}

#[test]
fn a_wide_charset_is_refused() {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for kind in [Kind::Json, Kind::Text, Kind::Form, Kind::EventStream, Kind::Ndjson] {
        for text in ["\u{feff}[\"jane@example.com\"]", "[\"jane@example.com\"]"] {
            let body = wide(text);
            for size in [1, 2, 3, body.len()] {
                let cut = in_pieces(&kind, &all(), body.chunks(size));
                assert_eq!(cut, Err(ContentError::Charset), "{kind:?} {size}");
            }
        }
    }
    let marked = wide("\u{feff}jane@example.com");
    assert_eq!(in_pieces(&Kind::Unknown, &all(), [&marked[..]]), Err(ContentError::Charset));
    let declared = BodyMasker::new(&Kind::Text, Charset::Utf16, &all(), Sides::Both);
    assert!(matches!(declared, Err(ContentError::Charset)));
    let nothing = std::sync::Arc::new(masking::Policy::empty());
    assert!(BodyMasker::new(&Kind::Text, Charset::Utf16, &nothing, Sides::Both).is_ok());
}

#[test]
fn a_policy_that_masks_nothing_changes_nothing() {
    let nothing = std::sync::Arc::new(masking::Policy::empty());
    fn new(kind: &Kind, policy: &std::sync::Arc<masking::Policy>, sides: Sides) -> BodyMasker {
        BodyMasker::new(kind, Charset::Ascii, policy, sides).unwrap()
    }
    let mut masker = new(&Kind::Json, &nothing, Sides::Both);
    assert!(masker.changes_nothing());
    let (mut client, mut record) = (Vec::new(), Vec::new());
    masker.push(b"{jane@", &mut client, &mut record).unwrap();
    assert_eq!((client.as_slice(), record.as_slice()), (&b"{jane@"[..], &b"{jane@"[..]));
    let binary = new(&Kind::Binary, &all(), Sides::Both);
    assert!(!binary.changes(Sink::Client) && binary.changes(Sink::Record));
    let mut request = new(&Kind::Text, &all(), Sides::Record);
    let (mut client, mut record) = (Vec::new(), Vec::new());
    request.push(b"jane@example.com", &mut client, &mut record).unwrap();
    request.finish(&mut client, &mut record).unwrap();
    assert_eq!((client.as_slice(), record.as_slice()), (&b""[..], &b"<EMAIL_ADDRESS>"[..]));
    assert_eq!(request.finish(&mut client, &mut record), Err(ContentError::GivenUp));
}

#[test]
fn counts_tell_what_was_masked() {
    for kind in [Kind::Json, Kind::Text, Kind::EventStream, Kind::Form] {
        for policy in [all(), both()] {
            let mut masker = BodyMasker::new(&kind, Charset::Ascii, &policy, Sides::Both).unwrap();
            let (mut client, mut record) = (Vec::new(), Vec::new());
            let body = b"[\"jane@example.com\", \"joe@example.org\"]";
            masker.push(body, &mut client, &mut record).unwrap();
            masker.finish(&mut client, &mut record).unwrap();
            let counts = masker.counts();
            assert_eq!(counts.client.count(Entity::EmailAddress), 2, "{kind:?}");
            assert_eq!(counts.record.count(Entity::EmailAddress), 2, "{kind:?}");
        }
    }
}

#[test]
fn a_line_is_given_up_where_nothing_follows_and_others_may() {
    let kinds = [Kind::Text, Kind::of(Some("application/x-unknown"))];
    for kind in kinds {
        let mut masker = BodyMasker::new(&kind, Charset::Ascii, &all(), Sides::Both).unwrap();
        let (mut client, mut record) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            masker.push(b"from jane@example.com\n", &mut client, &mut record).unwrap();
            assert!(client.is_empty() && record.is_empty());
            masker.settle(&mut client, &mut record);
            for out in [&mut client, &mut record] {
                let said = String::from_utf8(std::mem::take(out)).unwrap();
                assert!(said.starts_with("from ") && !said.contains("jane"), "{said}");
            }
        }
        masker.settle(&mut client, &mut record);
        masker.finish(&mut client, &mut record).unwrap();
        assert!(client.is_empty() && record.is_empty());
    }
    // Of what is half a document nothing is given up.
    let mut masker = BodyMasker::new(&Kind::Json, Charset::Ascii, &all(), Sides::Both).unwrap();
    let (mut client, mut record) = (Vec::new(), Vec::new());
    masker.push(br#"{"a":"jane@exa"#, &mut client, &mut record).unwrap();
    let before = (client.clone(), record.clone());
    masker.settle(&mut client, &mut record);
    assert_eq!((client, record), before);
}
