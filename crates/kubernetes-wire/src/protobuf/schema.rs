//! Kubernetes' types, as `schema.txt` lists them. Its first lines say how it is written.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What `schema.txt` says; `None` if it does not say it as it should, which a test rules out.
static SCHEMA: LazyLock<Option<Schema>> =
    LazyLock::new(|| Schema::parse(include_str!("schema.txt")));

/// Most fields of a message: whoever reads one notes in the bits of a number which there were.
pub(super) const MAX_FIELDS: usize = 128;

/// How often a field may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    /// An element each time.
    List,
    /// An entry each time.
    Map,
    /// Once, and its members stand in the object of the message that it is in.
    Inline,
}

/// What a value is. The number is a message's: that of the schema, in those that stand for one or
/// something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bytes,
    Bool,
    Int32,
    Int64,
    Double,
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    Json,
    /// A message with a list of strings, which is a list of strings in JSON.
    Texts,
    Message(u16),
    SchemaOrArray(u16),
    SchemaOrBool(u16),
    SchemaOrTexts(u16),
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) shape: Shape,
    /// Whether JSON has no member for it where it is zero.
    pub(super) omits_zero: bool,
    pub(super) kind: Kind,
    /// Its name in JSON, which needs no escapes; empty if its members stand for it.
    pub(super) name: &'static str,
}

#[derive(Debug)]
pub(super) struct Message {
    /// For errors.
    pub(super) name: &'static str,
    /// By number.
    fields: Vec<Field>,
}

impl Message {
    /// A field and its place among those of the message.
    pub(super) fn field(&self, number: u32) -> Option<(usize, &Field)> {
        let at = self.fields.binary_search_by_key(&number, |it| it.number).ok()?;
        Some((at, self.fields.get(at)?))
    }
}

#[derive(Debug)]
pub(super) struct Schema {
    messages: Vec<Message>,
    /// By apiVersion and kind.
    kinds: HashMap<(&'static str, &'static str), u16>,
}

impl Schema {
    /// The one there is, read when it is first asked for.
    pub(super) fn get() -> Option<&'static Schema> {
        SCHEMA.as_ref()
    }

    pub(super) fn message(&self, number: u16) -> Option<&Message> {
        self.messages.get(usize::from(number))
    }

    pub(super) fn kind(&self, api_version: &str, kind: &str) -> Option<&Message> {
        self.message(*self.kinds.get(&(api_version, kind))?)
    }

    fn parse(text: &'static str) -> Option<Self> {
        let (mut messages, mut kinds) = (Vec::new(), HashMap::new());
        for line in text.lines().filter(|it| !it.starts_with('#')) {
            let mut words = line.split(' ');
            let first = words.next()?;
            if let Some(api_version) = first.strip_suffix('=') {
                for word in words {
                    let (kind, message) = word.split_once(':')?;
                    kinds.insert((api_version, kind), message.parse().ok()?);
                }
            } else {
                let fields = words.map(Field::parse).collect::<Option<Vec<_>>>()?;
                let ordered = fields.is_sorted_by(|a, b| a.number < b.number);
                if !ordered || fields.len() > MAX_FIELDS {
                    return None;
                }
                messages.push(Message { name: first, fields });
            }
        }
        Some(Self { messages, kinds })
    }
}

impl Field {
    fn parse(word: &'static str) -> Option<Self> {
        let (what, name) = word.split_once(':')?;
        let digits = what.find(|it: char| !it.is_ascii_digit())?;
        let (number, mut what) = what.split_at_checked(digits)?;
        let mut shape = Shape::One;
        for (flag, means) in [('*', Shape::List), ('%', Shape::Map), ('^', Shape::Inline)] {
            if let Some(rest) = what.strip_prefix(flag) {
                (shape, what) = (means, rest);
            }
        }
        let omits_zero = what.starts_with('?');
        let kind = Kind::parse(what.strip_prefix('?').unwrap_or(what))?;
        Some(Self { number: number.parse().ok()?, shape, omits_zero, kind, name })
    }
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        let (letter, message) = text.split_at_checked(1)?;
        if message.is_empty() {
            return Some(match letter {
                "s" => Self::Text,
                "y" => Self::Bytes,
                "b" => Self::Bool,
                "i" => Self::Int32,
                "l" => Self::Int64,
                "d" => Self::Double,
                "T" => Self::Time,
                "M" => Self::MicroTime,
                "D" => Self::Duration,
                "Q" => Self::Quantity,
                "I" => Self::IntOrString,
                "X" => Self::Json,
                "L" => Self::Texts,
                _ => return None,
            });
        }
        let message = message.parse().ok()?;
        Some(match letter {
            "m" => Self::Message(message),
            "A" => Self::SchemaOrArray(message),
            "B" => Self::SchemaOrBool(message),
            "S" => Self::SchemaOrTexts(message),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_and_names_messages_that_are_there() {
        let schema = Schema::get().unwrap();
        assert!(schema.messages.len() > 600 && schema.kinds.len() > 700);
        for message in schema.kinds.values() {
            assert!(schema.message(*message).is_some());
        }
        for field in schema.messages.iter().flat_map(|it| &it.fields) {
            assert_eq!(field.shape == Shape::Inline, field.name.is_empty());
            assert!(!serde_json::to_string(field.name).unwrap().contains('\\'));
            match field.kind {
                Kind::Message(it)
                | Kind::SchemaOrArray(it)
                | Kind::SchemaOrBool(it)
                | Kind::SchemaOrTexts(it) => assert!(schema.message(it).is_some()),
                _ => assert_ne!(field.shape, Shape::Inline),
            }
        }
    }

    #[test]
    fn options_are_known_in_every_group() {
        let schema = Schema::get().unwrap();
        for group in ["v1", "meta.k8s.io/v1", "apps/v1", "apiextensions.k8s.io/v1"] {
            for kind in ["CreateOptions", "DeleteOptions", "PatchOptions", "UpdateOptions"] {
                assert!(schema.kind(group, kind).is_some(), "{group} {kind}");
            }
        }
        let secret = schema.kind("v1", "Secret").unwrap();
        let (_, data) = secret.field(2).unwrap();
        assert_eq!((data.name, data.shape, data.kind), ("data", Shape::Map, Kind::Bytes));
    }

    #[test]
    fn nothing_else_is_taken_for_a_list() {
        for wrong in [
            "M 1s:a 1s:b",
            "M 2s:a 1s:b",
            "M 1z:a",
            "M 1m:a",
            "M s:a",
            "M 1s",
            "M 1s7:a",
            "v1= A",
            "v1= A:x",
            "M 99999999999s:a",
            "",
        ] {
            let text = if wrong.is_empty() { "M " } else { wrong };
            assert!(Schema::parse(text).is_none(), "{wrong}");
        }
    }
}
