//! What a caller asks about that asks what it may do: a `SelfSubjectAccessReview`, in JSON or, as
//! kubectl sends it, in Kubernetes' protobuf (k8s.io/apimachinery, `runtime.Unknown`;
//! k8s.io/api/authorization/v1/generated.proto).

use mcp_wire::{Value, json};

/// How a message in protobuf begins.
const MAGIC: &[u8] = b"k8s\0";

/// What is asked about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Review {
    pub(super) namespace: String,
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) name: String,
    /// Of what is no resource.
    pub(super) path: Option<String>,
}

impl Review {
    /// Reads one; none if it can't be read.
    pub(super) fn read(body: &[u8]) -> Option<Review> {
        match body.strip_prefix(MAGIC) {
            Some(unknown) => Review::of_protobuf(unknown),
            None => Review::of_json(&json::parse(body, json::Limits::default()).ok()?),
        }
    }

    fn of_json(tree: &Value) -> Option<Review> {
        let spec = tree.as_object()?.get("spec")?.as_object()?;
        let said = |of: &Value, name: &str| {
            let said = of.as_object().and_then(|it| it.get(name)).and_then(Value::as_str);
            said.unwrap_or_default().to_owned()
        };
        if let Some(of) = spec.get("resourceAttributes") {
            return Some(Review {
                namespace: said(of, "namespace"),
                verb: said(of, "verb"),
                group: said(of, "group"),
                resource: said(of, "resource"),
                subresource: said(of, "subresource"),
                name: said(of, "name"),
                path: None,
            });
        }
        let of = spec.get("nonResourceAttributes")?;
        let path = Some(said(of, "path"));
        Some(Review { verb: said(of, "verb"), path, ..Review::default() })
    }

    fn of_protobuf(unknown: &[u8]) -> Option<Review> {
        let spec = last(last(unknown, 2)?, 2)?;
        let said = |of: &[u8], number: u64| {
            let bytes = last(of, number).unwrap_or_default();
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        };
        if let Some(of) = last(spec, 1) {
            return Some(Review {
                namespace: said(of, 1)?,
                verb: said(of, 2)?,
                group: said(of, 3)?,
                resource: said(of, 5)?,
                subresource: said(of, 6)?,
                name: said(of, 7)?,
                path: None,
            });
        }
        let of = last(spec, 2)?;
        let (path, verb) = (Some(said(of, 1)?), said(of, 2)?);
        Some(Review { verb, path, ..Review::default() })
    }
}

/// The bytes of the last field of this number: the one that counts (protobuf.dev, "Encoding").
fn last(mut message: &[u8], number: u64) -> Option<&[u8]> {
    let mut found = None;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => drop(varint(&mut message)?),
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                if tag >> 3 == number {
                    found = Some(bytes);
                }
                message = rest;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    found
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    #[test]
    fn both_forms_say_the_same() {
        let attributes = [
            field(1, b"prod"),
            field(2, b"delete"),
            field(3, b"apps"),
            field(5, b"deployments"),
            field(6, b"scale"),
        ];
        let review = field(2, &field(1, &attributes.concat()));
        let whole = [MAGIC, &field(1, b"..."), &field(2, &review)].concat();
        let by_protobuf = Review::read(&whole).unwrap();
        let by_json = br#"{"spec":{"resourceAttributes":{"namespace":"prod","verb":"delete",
            "group":"apps","resource":"deployments","subresource":"scale"}}}"#;
        assert_eq!(by_protobuf, Review::read(by_json).unwrap());
        assert_eq!(by_protobuf.resource, "deployments");
        let path = field(2, &field(2, &[field(1, b"/metrics"), field(2, b"get")].concat()));
        let whole = [MAGIC, &field(2, &path)].concat();
        assert_eq!(Review::read(&whole).unwrap().path.as_deref(), Some("/metrics"));
        // Cut anywhere it says less, or nothing, and never harms.
        for end in 0..whole.len() {
            let _less = Review::read(&whole[..end]);
        }
    }
}
