//! What `to_json` writes is what Kubernetes' own code writes as JSON.
//!
//! `protobuf.bin` was made by the Go program in `../schema` (its `main.go` says how): an object of
//! each kind, made up at random, once as protobuf and once as JSON. Three tests compare more, and
//! want it made or downloaded first; they are not run by default:
//!
//! ```text
//! (cd schema && go run . cases 50 1 > /tmp/cases.bin)
//! KUBERNETES_CASES=/tmp/cases.bin cargo test -p kubernetes-wire --test protobuf -- --ignored
//! (cd schema && go run . mutants 50 1 > /tmp/mutants.bin)
//! KUBERNETES_MUTANTS=/tmp/mutants.bin cargo test -p kubernetes-wire --test protobuf -- --ignored
//! KUBERNETES_TESTDATA="$(cd schema && go list -m -f '{{.Dir}}' k8s.io/api)/testdata/HEAD" \
//!     cargo test -p kubernetes-wire --test protobuf -- --ignored
//! ```
//!
//! Beside `HEAD` lie folders of three older versions.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::path::PathBuf;
use std::sync::LazyLock;

use kubernetes_wire::protobuf::{MAX_BYTES, MAX_DEPTH, ProtobufError, to_json};
use proptest::prelude::*;
use serde_json::Value;

const CASES: &[u8] = include_bytes!("protobuf.bin");

/// The next part, behind its length in four bytes.
fn part<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (part, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
    *bytes = rest;
    part
}

/// Those that are checked in.
static OBJECTS: LazyLock<Vec<(&[u8], Value)>> = LazyLock::new(|| cases(CASES));

/// Protobuf and JSON of each object.
fn cases(mut bytes: &[u8]) -> Vec<(&[u8], Value)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let protobuf = part(&mut bytes);
        all.push((protobuf, serde_json::from_slice(part(&mut bytes)).unwrap()));
    }
    all
}

/// Go writes `null` for members that are not there; nothing else differs.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, it| !it.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn compare(protobuf: &[u8], mut want: Value, what: &str) {
    let json = to_json(protobuf).unwrap_or_else(|e| panic!("{what}: {e}\n{want}"));
    let start = format!("{{\"kind\":{},\"apiVersion\":{}", want["kind"], want["apiVersion"]);
    assert!(json.starts_with(start.as_bytes()), "{what}");
    let mut found = serde_json::from_slice(&json).unwrap();
    without_nulls(&mut found);
    without_nulls(&mut want);
    assert_eq!(found, want, "{what}");
}

#[test]
fn objects_of_every_kind_are_what_kubernetes_says() {
    assert!(OBJECTS.len() > 300, "{}", OBJECTS.len());
    for (protobuf, want) in &*OBJECTS {
        compare(protobuf, want.clone(), &want["kind"].to_string());
    }
}

#[test]
#[ignore = "needs KUBERNETES_CASES, which Go makes: see this file's head"]
fn many_more_objects_are_what_kubernetes_says() {
    let Some(path) = std::env::var_os("KUBERNETES_CASES") else { return };
    let bytes = std::fs::read(path).unwrap();
    let cases = cases(&bytes);
    println!("{} objects", cases.len());
    for (index, (protobuf, want)) in cases.into_iter().enumerate() {
        compare(protobuf, want, &index.to_string());
    }
}

#[test]
#[ignore = "needs KUBERNETES_TESTDATA, from Go's module cache: see this file's head"]
fn kubernetes_own_test_data_is_what_it_says() {
    let Some(folder) = std::env::var_os("KUBERNETES_TESTDATA").map(PathBuf::from) else { return };
    let (mut count, mut refused) = (0, Vec::new());
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".pb") || name.contains("after_roundtrip") {
            continue;
        }
        let protobuf = std::fs::read(&path).unwrap();
        match to_json(&protobuf) {
            Err(e @ (ProtobufError::UnknownField { .. } | ProtobufError::UnknownKind)) => {
                refused.push(format!("{name}: {e}"));
            }
            _ => {
                let json = std::fs::read(path.with_extension("json")).unwrap();
                compare(&protobuf, serde_json::from_slice(&json).unwrap(), &name);
                count += 1;
            }
        }
    }
    println!("{count} objects, and refused: {refused:#?}");
    assert!(count > 150);
    // No object, and in no request. Older versions have alphas that are gone.
    let event = "core.v1.WatchEvent.pb: of a kind that is not known";
    assert!(!folder.ends_with("HEAD") || refused == [event]);
}

/// Without what says nothing: Go writes zeros of what was not sent, `to_json` does not.
fn without_zeros(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(without_zeros);
            members.retain(|_, it| match it {
                Value::Null => false,
                Value::Bool(it) => *it,
                Value::Number(it) => it.as_f64() != Some(0.0),
                Value::String(it) => !it.is_empty(),
                Value::Array(it) => !it.is_empty(),
                Value::Object(it) => !it.is_empty(),
            });
        }
        Value::Array(elements) => elements.iter_mut().for_each(without_zeros),
        _ => {}
    }
}

#[test]
#[ignore = "needs KUBERNETES_MUTANTS, which Go makes: see this file's head"]
fn attack_what_is_read_of_changed_objects_is_what_kubernetes_reads() {
    let Some(path) = std::env::var_os("KUBERNETES_MUTANTS") else { return };
    let bytes = std::fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let (mut count, mut read) = (0, 0);
    while !rest.is_empty() {
        let (protobuf, want) = (part(&mut rest), part(&mut rest));
        count += 1;
        let Ok(json) = to_json(protobuf) else { continue };
        read += 1;
        let mut found = serde_json::from_slice(&json).unwrap();
        let mut want = serde_json::from_slice(want).unwrap_or_else(|_| panic!("{found}"));
        without_zeros(&mut found);
        without_zeros(&mut want);
        assert_eq!(found, want);
    }
    println!("{count} objects, {read} of them read");
    assert!(read > 0);
}

/// A field with bytes in it.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let types = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &types), field(2, raw)].concat()
}

fn read(api_version: &str, kind: &str, raw: &[u8]) -> Result<String, ProtobufError> {
    to_json(&body(api_version, kind, raw)).map(|it| String::from_utf8(it).unwrap())
}

/// What a config map's message is as JSON, without what every one begins with.
fn config_map(raw: &[u8]) -> Result<String, ProtobufError> {
    let start = r#"{"kind":"ConfigMap","apiVersion":"v1""#;
    read("v1", "ConfigMap", raw).map(|it| it.strip_prefix(start).unwrap().to_owned())
}

/// An entry of a map.
fn entry(key: &[u8], value: &[u8]) -> Vec<u8> {
    [field(1, key), field(2, value)].concat()
}

#[test]
fn attack_the_envelope_says_what_it_is_and_nothing_else() {
    let types = field(1, &[field(1, b"v1"), field(2, b"ConfigMap")].concat());
    let with = |more: &[Vec<u8>]| to_json(&[b"k8s\0", &*types, &more.concat()].concat());
    // No object at all is one of zeros, to the API server, too.
    assert_eq!(with(&[]).unwrap(), br#"{"kind":"ConfigMap","apiVersion":"v1"}"#);
    assert!(with(&[field(2, b""), field(3, b""), field(4, b"")]).is_ok());
    assert!(with(&[field(4, b"application/vnd.kubernetes.protobuf")]).is_ok());
    assert_eq!(with(&[field(3, b"gzip")]), Err(ProtobufError::Encoding));
    assert_eq!(with(&[field(4, b"application/json")]), Err(ProtobufError::Encoding));
    let message = "runtime.Unknown";
    for number in [1, 2] {
        let again =
            if number == 1 { types.clone() } else { [field(2, b""), field(2, b"")].concat() };
        assert_eq!(with(&[again]), Err(ProtobufError::Twice { message, number }));
    }
    let unknown = Err(ProtobufError::UnknownField { message, number: 5 });
    assert_eq!(with(&[field(5, b"")]), unknown);
    assert_eq!(with(&[vec![0]]), Err(ProtobufError::FieldNumber));
    assert_eq!(to_json(b"k8s\0"), Err(ProtobufError::UnknownKind));
    assert_eq!(to_json(b"k8s"), Err(ProtobufError::Magic));
    assert_eq!(to_json(b"{}"), Err(ProtobufError::Magic));
    assert_eq!(to_json(&vec![0; MAX_BYTES + 1]), Err(ProtobufError::TooLong));
    for (api_version, kind) in [
        ("v1", "configmap"),
        ("", "ConfigMap"),
        ("v1", ""),
        ("example.com/v1", "ConfigMap"),
        ("meta.k8s.io/v1", "Table"),
        ("v1", "WatchEvent"),
    ] {
        assert_eq!(read(api_version, kind, b""), Err(ProtobufError::UnknownKind), "{kind}");
    }
}

#[test]
fn attack_what_is_there_twice_or_not_known_is_not_read() {
    let message = "core/v1.ConfigMap";
    let twice = |number| Err(ProtobufError::Twice { message, number });
    let (metadata, data) = (field(1, &field(1, b"a")), field(2, &entry(b"a", b"b")));
    assert_eq!(
        config_map(&[&*metadata, &data].concat()).unwrap(),
        r#","metadata":{"name":"a"},"data":{"a":"b"}}"#
    );
    // gogo merges the two.
    assert_eq!(config_map(&[&*metadata, &metadata].concat()), twice(1));
    // An immutable one, twice: the last counts, elsewhere.
    assert_eq!(config_map(&[0x20, 1, 0x20, 0]), twice(4));
    // A map in two places.
    assert_eq!(config_map(&[&*data, &metadata, &field(2, &entry(b"b", b"b"))].concat()), twice(2));
    assert_eq!(config_map(&[&*data, &data].concat()), Err(ProtobufError::KeyTwice));
    let unknown = ProtobufError::UnknownField { message, number: 5 };
    assert_eq!(config_map(&field(5, b"")), Err(unknown));
    let unknown = ProtobufError::UnknownField { message: "meta/v1.ObjectMeta", number: 15 };
    assert_eq!(config_map(&field(1, &field(15, b""))), Err(unknown));
    assert_eq!(config_map(&[0x23, 0x24]), Err(ProtobufError::Group));
}

#[test]
fn attack_a_value_is_of_its_type() {
    assert_eq!(config_map(&field(4, &[1])), Err(ProtobufError::WireType));
    assert_eq!(config_map(&[0x10, 0]), Err(ProtobufError::WireType));
    assert_eq!(config_map(&[0x25, 1, 0, 0, 0]), Err(ProtobufError::WireType));
    assert_eq!(config_map(&[0x20, 2]), Err(ProtobufError::Number));
    assert_eq!(config_map(&[0x20, 0x81, 0]), Err(ProtobufError::Varint));
    assert_eq!(config_map(&[0xA0, 0, 1]), Err(ProtobufError::Varint));
    assert_eq!(config_map(&[0x0A, 0x80, 0]), Err(ProtobufError::Varint));
    assert_eq!(config_map(&[0x0A, 1]), Err(ProtobufError::Truncated));
    let name = |it: &[u8]| config_map(&field(1, &field(1, it)));
    assert_eq!(name(b"\xff"), Err(ProtobufError::NotUtf8));
    // A surrogate, which is no text though Java writes it.
    assert_eq!(name(b"\xed\xa0\x80"), Err(ProtobufError::NotUtf8));
    assert_eq!(
        name("\"\u{1}\u{2028}ß".as_bytes()).unwrap(),
        r#","metadata":{"name":"\"\u0001 ß"}}"#.replace(' ', "\u{2028}")
    );
    // Zero that `omitempty` leaves out, and one that a pointer shows.
    assert_eq!(name(b"").unwrap(), r#","metadata":{}}"#);
    assert_eq!(config_map(&[0x20, 0]).unwrap(), r#","immutable":false}"#);
}

#[test]
fn attack_an_entry_is_a_key_and_a_value() {
    let data = |it: &[u8]| config_map(&field(2, it));
    assert_eq!(data(&entry(b"", b"")).unwrap(), r#","data":{"":""}}"#);
    for wrong in [
        b"".to_vec(),
        field(1, b"a"),
        field(2, b"a"),
        [field(2, b"a"), field(1, b"a")].concat(),
        [entry(b"a", b"b"), field(2, b"c")].concat(),
        [field(1, b"a"), entry(b"a", b"b")].concat(),
        [entry(b"a", b"b"), field(3, b"")].concat(),
    ] {
        assert_eq!(data(&wrong), Err(ProtobufError::Entry), "{wrong:?}");
    }
    assert_eq!(data(&[0x08, 1, 0x12, 0]), Err(ProtobufError::WireType));
    assert_eq!(data(&[0x0A, 0, 0x10, 1]), Err(ProtobufError::WireType));
    assert_eq!(data(&entry(b"\xff", b"")), Err(ProtobufError::NotUtf8));
    assert_eq!(data(&entry(b"", b"\xff")), Err(ProtobufError::NotUtf8));
    // Of bytes, no value is an empty one: Go sends `nil` so.
    let secret = |it: &[u8]| read("v1", "Secret", &field(2, it));
    let start = r#"{"kind":"Secret","apiVersion":"v1","data":"#;
    assert_eq!(secret(&field(1, b"a")).unwrap(), format!(r#"{start}{{"a":""}}}}"#));
    assert_eq!(secret(&entry(b"a", b"\0\xff")).unwrap(), format!(r#"{start}{{"a":"AP8="}}}}"#));
}

#[test]
fn members_of_what_is_inline_stand_in_the_object_around_it() {
    let volume = [field(1, b"v"), field(2, &field(1, &field(1, b"/")))].concat();
    let pod = read("v1", "Pod", &field(2, &field(1, &volume))).unwrap();
    let volumes = r#"[{"name":"v","hostPath":{"path":"/"}}]"#;
    assert_eq!(
        pod,
        format!(r#"{{"kind":"Pod","apiVersion":"v1","spec":{{"volumes":{volumes}}}}}"#)
    );
}

#[test]
fn numbers_may_be_packed() {
    let groups = |it: &[u8]| {
        // supplementalGroups of a pod's security context.
        let pod = read("v1", "Pod", &field(2, &field(14, it)))?;
        let start = r#"{"kind":"Pod","apiVersion":"v1","spec":{"securityContext":{"#;
        Ok::<_, ProtobufError>(pod.strip_prefix(start).unwrap().to_owned())
    };
    let all = r#""supplementalGroups":[1,2,300]}}}"#;
    assert_eq!(groups(&[0x20, 1, 0x20, 2, 0x20, 0xAC, 2]).unwrap(), all);
    assert_eq!(groups(&field(4, &[1, 2, 0xAC, 2])).unwrap(), all);
    assert_eq!(groups(&[field(4, &[1, 2]), vec![0x20, 0xAC, 2]].concat()).unwrap(), all);
    assert_eq!(groups(&field(4, &[])).unwrap(), "}}}");
    assert_eq!(groups(&field(4, &[0x80])), Err(ProtobufError::Truncated));
    assert_eq!(groups(&field(4, &[0x80, 0])), Err(ProtobufError::Varint));
}

#[test]
fn options_of_a_delete_are_read_in_every_group() {
    for group in ["v1", "meta.k8s.io/v1", "apps/v1", "policy/v1"] {
        // gracePeriodSeconds 0, propagationPolicy.
        let raw = [vec![0x08, 0], field(4, b"Orphan")].concat();
        assert_eq!(
            read(group, "DeleteOptions", &raw).unwrap(),
            format!(
                r#"{{"kind":"DeleteOptions","apiVersion":"{group}","gracePeriodSeconds":0,"propagationPolicy":"Orphan"}}"#
            )
        );
    }
}

#[test]
fn attack_json_within_is_strict_json() {
    let revision = |it: &[u8]| read("apps/v1", "ControllerRevision", &field(2, it));
    let start = r#"{"kind":"ControllerRevision","apiVersion":"apps/v1""#;
    assert_eq!(
        revision(&field(1, br#"{"a": [1]}"#)).unwrap(),
        format!(r#"{start},"data":{{"a": [1]}}}}"#)
    );
    assert_eq!(revision(b"").unwrap(), format!("{start}}}"));
    for wrong in [
        &b""[..],
        br#"{"a":1,"a":2}"#,
        br#"{"a":1},"spec":{}"#,
        br#"{"a":1"#,
        b"k8s\0\x0a\x00",
        b"\xd9\xd9\xf7\xa0",
        b"\"\xff\"",
    ] {
        assert_eq!(revision(&field(1, wrong)), Err(ProtobufError::Json), "{wrong:?}");
    }
    let deep = [b"[".repeat(MAX_DEPTH), b"]".repeat(MAX_DEPTH)].concat();
    assert_eq!(revision(&field(1, &deep)), Err(ProtobufError::Json));
}

/// A definition whose schema is this.
fn definition(schema: &[u8]) -> Result<String, ProtobufError> {
    // spec.versions.schema.openAPIV3Schema
    let version = field(4, &field(1, schema));
    read("apiextensions.k8s.io/v1", "CustomResourceDefinition", &field(2, &field(7, &version)))
}

#[test]
fn attack_a_schema_or_something_else_is_one_of_them() {
    let schema = field(5, b"object");
    let shown = |it: &[u8]| {
        let json: Value = serde_json::from_str(&definition(it)?).unwrap();
        let it = &json["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        Ok::<_, ProtobufError>(it.to_string())
    };
    // Numbers above 15 take two bytes.
    let two = |number: u8, bytes: &[u8]| {
        let mut out = field(number & 15, bytes);
        out.splice(0..1, [(number & 15) << 3 | 2 | 0x80, number >> 4]);
        out
    };
    let items = |it: &[u8]| shown(&two(24, it));
    assert_eq!(items(&field(1, &schema)).unwrap(), r#"{"items":{"type":"object"}}"#);
    let list = [field(2, &schema), field(2, b"")].concat();
    assert_eq!(items(&list).unwrap(), r#"{"items":[{"type":"object"},{}]}"#);
    assert_eq!(items(b"").unwrap(), "{}");
    let message = "a schema or a list";
    let both = [field(1, &schema), field(2, &schema)].concat();
    assert_eq!(items(&both), Err(ProtobufError::Twice { message, number: 2 }));
    let both = [field(2, &schema), field(1, &schema)].concat();
    assert_eq!(items(&both), Err(ProtobufError::Twice { message, number: 1 }));
    let unknown = ProtobufError::UnknownField { message, number: 3 };
    assert_eq!(items(&field(3, b"")), Err(unknown));
    let more = |it: &[u8]| shown(&two(30, it));
    assert_eq!(more(&[8, 0]).unwrap(), r#"{"additionalProperties":false}"#);
    assert_eq!(more(&[8, 1]).unwrap(), r#"{"additionalProperties":true}"#);
    let schema = [vec![8, 1], field(2, &schema)].concat();
    assert_eq!(more(&schema).unwrap(), r#"{"additionalProperties":{"type":"object"}}"#);
}

#[test]
fn attack_depth_and_length_have_an_end() {
    // `not` in `not`.
    let nested = |levels| {
        (0..levels).fold(Vec::new(), |inner, _| {
            let mut out = field(12, &inner);
            out.splice(0..1, [0xE2, 0x01]);
            out
        })
    };
    // Six lie around the schema: object, spec, versions, version, schema, openAPIV3Schema.
    assert!(definition(&nested(MAX_DEPTH - 6)).is_ok());
    assert_eq!(definition(&nested(MAX_DEPTH - 5)), Err(ProtobufError::TooDeep));
    assert_eq!(definition(&nested(10_000)), Err(ProtobufError::TooDeep));
    let json: Value = serde_json::from_str(&definition(&nested(MAX_DEPTH - 6)).unwrap()).unwrap();
    assert_eq!(json["kind"], "CustomResourceDefinition");
    // Control characters take six bytes each.
    let long = vec![1; 3 << 20];
    assert_eq!(config_map(&field(2, &entry(b"a", &long))), Err(ProtobufError::OutputTooLong));
    let items = field(2, &[]).repeat(1 << 20);
    assert!(read("v1", "PodList", &items).unwrap().len() < 16 << 20);
}

#[test]
fn errors_show_nothing_of_the_body() {
    let secret = field(2, &entry(b"password", b"hunter2"));
    for end in 0..secret.len() {
        if let Err(error) = read("v1", "Secret", &secret[..end]) {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("password"), "{shown}");
        }
    }
}

/// That what was read is JSON, and says what it is first.
fn check(body: &[u8]) {
    if let Ok(json) = to_json(body) {
        let value: Value = serde_json::from_slice(&json).unwrap();
        assert!(value["kind"].is_string() && value["apiVersion"].is_string());
        assert!(json.starts_with(b"{\"kind\":\""));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_give_json(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind in 0_usize..5,
    ) {
        check(&bytes);
        check(&[b"k8s\0", &*bytes].concat());
        let (api_version, kind) = [
            ("v1", "Pod"),
            ("v1", "Secret"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("apps/v1", "DeploymentList"),
            ("v1", "DeleteOptions"),
        ][kind];
        check(&body(api_version, kind, &bytes));
    }

    #[test]
    fn a_changed_object_is_refused_or_gives_json(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = which.get(&OBJECTS).0.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        check(&bytes);
    }
}
