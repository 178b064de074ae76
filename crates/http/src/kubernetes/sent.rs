//! What a client sends with a call: an object, a part of one, or how to change one.

use bytes::Bytes;
use kubernetes_wire::{cbor, protobuf};
use mcp_wire::{Value, json};

/// The body of a call, and what can be read of it.
#[derive(Default)]
pub(super) struct Sent {
    body: Bytes,
    /// That in JSON, if it came in an encoding that can be read as JSON.
    decoded: Option<Bytes>,
    /// That as JSON, if it is JSON that no two readers read differently.
    tree: Option<Value>,
    form: Form,
}

/// How it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Form {
    /// An object, or a part of one.
    #[default]
    Object,
    /// The same, to be applied by the server (kubernetes.io, "Server-Side Apply").
    ApplyPatch,
    /// No object, but how to change one (RFC 6902).
    JsonPatch,
}

impl Form {
    /// By the media type, without parameters.
    fn of(media: &str) -> Form {
        let is = |name: &str| media.eq_ignore_ascii_case(name);
        match media {
            _ if is("application/json-patch+json") => Form::JsonPatch,
            _ if is("application/apply-patch+yaml") || is(cbor::APPLY_CONTENT_TYPE) => {
                Form::ApplyPatch
            }
            _ => Form::Object,
        }
    }
}

impl Sent {
    /// A body, and what it says that it is.
    pub(super) fn new(body: Bytes, media: Option<&str>) -> Sent {
        let media = media.and_then(|it| it.split(';').next()).unwrap_or_default().trim();
        let decoded = decoded(&body, media).map(Bytes::from);
        let mut sent = Sent { body, decoded, tree: None, form: Form::of(media) };
        let is_yaml = media.to_ascii_lowercase().contains("yaml");
        if !is_yaml || is_the_same_in_yaml(&sent.body) {
            sent.tree = json::parse(sent.readable(), json::Limits::default()).ok();
        }
        sent
    }

    /// The body as it came.
    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The body, in JSON if it came in another encoding and can be read.
    pub(super) fn readable(&self) -> &Bytes {
        self.decoded.as_ref().unwrap_or(&self.body)
    }

    /// Whether what is readable is JSON though the body is not.
    pub(super) fn is_decoded(&self) -> bool {
        self.decoded.is_some()
    }

    /// It as JSON, whatever it is.
    pub(super) fn tree(&self) -> Option<&Value> {
        self.tree.as_ref()
    }

    /// The object, if it can be read as one.
    pub(super) fn object(&self) -> Option<&Value> {
        self.tree().filter(|tree| self.form != Form::JsonPatch && tree.as_object().is_some())
    }

    /// The steps by which an object is to be changed.
    pub(super) fn json_patch(&self) -> Option<&[Value]> {
        match &self.tree {
            Some(Value::Array(steps)) if self.form == Form::JsonPatch => Some(steps),
            _ => None,
        }
    }

    /// Whether it says how to change an object, or looks as if it did.
    pub(super) fn may_be_steps(&self) -> bool {
        self.form == Form::JsonPatch || matches!(self.tree, Some(Value::Array(_)))
    }

    /// Whether the server is to apply the object.
    pub(super) fn is_apply_patch(&self) -> bool {
        self.form == Form::ApplyPatch
    }
}

/// A body that is JSON in another encoding, as JSON. None: it is none, or can't be read in one way.
fn decoded(body: &[u8], media: &str) -> Option<Vec<u8>> {
    let is = |name: &str| media.eq_ignore_ascii_case(name);
    match media {
        _ if is(protobuf::CONTENT_TYPE) => protobuf::to_json(body).ok(),
        _ if is(cbor::CONTENT_TYPE) || is(cbor::APPLY_CONTENT_TYPE) => cbor::to_json(body).ok(),
        _ => None,
    }
}

/// Whether what is JSON says the same to who reads it as YAML: some of the breaks of lines that only
/// YAML knows (1.1, 4.2: U+0085, U+2028, U+2029) may stand in JSON's strings.
fn is_the_same_in_yaml(body: &[u8]) -> bool {
    let breaks = ["\u{85}", "\u{2028}", "\u{2029}"];
    !breaks.iter().any(|it| memchr::memmem::find(body, it.as_bytes()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(body: &'static [u8], media: &str) -> Sent {
        Sent::new(Bytes::from_static(body), Some(media))
    }

    #[test]
    fn it_is_what_its_media_type_says() {
        let object = br#"{"spec":{}}"#;
        let steps = br#"[{"op":"remove","path":"/a"}]"#;
        let patch = "application/json-patch+json; charset=utf-8";
        assert!(sent(object, "application/json").object().is_some());
        assert!(sent(object, patch).object().is_none() && sent(object, patch).may_be_steps());
        assert!(sent(steps, patch).json_patch().is_some());
        // What says that it is something else is no patch, but looks like one.
        let other = sent(steps, "application/json");
        assert!(other.json_patch().is_none() && other.may_be_steps());
        assert!(sent(object, "application/apply-patch+yaml").is_apply_patch());
    }

    #[test]
    fn protobuf_is_readable_as_json_or_not_at_all() {
        let media = "application/vnd.kubernetes.protobuf";
        let named =
            b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\r\n\x03\n\x01c\x12\x06\n\x01a\x12\x01b\x1a\0\"\0";
        let read = sent(named, media);
        assert!(
            read.is_decoded() && read.readable().starts_with(b"{") && read.body()[..] == named[..]
        );
        let unread = sent(b"k8s\0...", media);
        assert!(unread.object().is_none() && unread.readable() == unread.body());
        // Nobody takes protobuf for it that says that it is JSON.
        assert!(sent(named, "application/json").object().is_none());
    }

    #[test]
    fn cbor_is_readable_as_json_or_not_at_all() {
        let body = b"\xD9\xD9\xF7\xA1\x44spec\xA0";
        for (media, apply) in [("application/cbor", false), ("Application/apply-patch+cbor", true)]
        {
            let read = sent(body, media);
            assert_eq!(read.readable(), &br#"{"spec":{}}"#[..]);
            assert!(read.is_decoded() && read.object().is_some());
            assert_eq!(read.is_apply_patch(), apply);
        }
        let twice = sent(b"\xD9\xD9\xF7\xA2\x41a\x01\x61a\x02", "application/cbor");
        assert!(twice.object().is_none() && !twice.is_decoded());
        assert!(sent(body, "application/json").object().is_none());
    }

    #[test]
    fn what_yaml_reads_otherwise_is_not_read() {
        for text in ["{\"a\":\"b\u{85}c\"}", "{\"a\":\"b\u{2028}c\"}", "{\"a\":\"b\u{2029}c\"}"] {
            let of = |media| Sent::new(Bytes::from(text.to_owned()), Some(media));
            assert!(of("application/json").object().is_some(), "{text:?}");
            assert!(of("application/apply-patch+yaml").object().is_none(), "{text:?}");
            assert!(of("Application/YAML").object().is_none(), "{text:?}");
        }
    }
}
