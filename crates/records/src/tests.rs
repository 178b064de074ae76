use std::collections::BTreeMap;

use super::*;

fn command() -> Command<'static> {
    let principal = Principal {
        issuer: "https://idp.example".into(),
        subject: "agent-7".into(),
        kind: "agent".into(),
        groups: vec![],
        on_behalf_of: vec![Subject {
            issuer: "https://idp.example".into(),
            subject: "alice".into(),
        }],
    };
    Command {
        command: 1,
        principal: Cow::Owned(serde_json::value::to_raw_value(&principal).unwrap()),
        target: "orders".into(),
        via: "simple".into(),
        operation: "SELECT".into(),
        class: "read".into(),
        text: Some("select 1\n\u{1F418}".into()),
        text_bytes: 13,
        text_chunks: vec![],
        parameters: vec![Parameter { type_name: "int8".into(), value: None }],
        parameter_chunks: vec![],
        verdict: "allow".into(),
        rule: "default".into(),
        reason: None,
        policy: "00".into(),
        masked: BTreeMap::from([("CREDIT_CARD".into(), 2)]),
        trace: None,
        details: BTreeMap::from([("path".into(), Text::from_bytes(b"/srv/\xff"))]),
    }
}

#[test]
fn an_entry_is_one_json_object_and_reads_back() {
    let time = Timestamp::from_unix_micros(1_795_449_600_123_456);
    let bytes = Entry::new(time, [0xab; 16], "s1", Body::Command(command())).to_json();
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["type"], "command");
    assert_eq!(json["v"], VERSION);
    assert_eq!(json["salt"], "ab".repeat(16));
    assert_eq!(json["details"]["path"]["hex"], "2f7372762fff");
    assert_eq!(json["principal"]["on_behalf_of"][0]["subject"], "alice");
    let back = Entry::from_json(&bytes).unwrap();
    let Body::Command(body) = &back.body else { panic!("{back:?}") };
    let principal: Principal<'_> = serde_json::from_str(body.principal.get()).unwrap();
    assert_eq!(principal.subject, "agent-7");
    assert_eq!(back.to_json(), bytes, "reading and writing again changes nothing");
}

#[test]
fn bytes_that_are_not_text_are_kept_as_hex() {
    let latin1 = Text::from_bytes(b"caf\xe9");
    assert_eq!(serde_json::to_string(&latin1).unwrap(), r#"{"hex":"636166e9"}"#);
    assert_eq!(serde_json::from_str::<Text<'_>>(r#"{"hex":"636166e9"}"#).unwrap(), latin1);
}

#[test]
fn what_is_not_an_entry_is_refused() {
    for bad in [
        "",
        "{}",
        "[1]",
        r#"{"v":1,"type":"party","time":"1970-01-01T00:00:00.000000Z","salt":""}"#,
    ] {
        assert!(Entry::from_json(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn line_breaks_in_a_statement_cannot_forge_an_entry() {
    let time = Timestamp::from_unix_micros(0);
    let mut forged = command();
    forged.text = Some("x\n{\"v\":1,\"type\":\"session_end\"}".into());
    let bytes = Entry::new(time, [0; 16], "s", Body::Command(forged)).to_json();
    assert!(!bytes.contains(&b'\n'));
    assert!(matches!(Entry::from_json(&bytes).unwrap().body, Body::Command(_)));
}
