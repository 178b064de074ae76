//! Messages as objects.

use std::collections::HashSet;

use super::json::Out;
use super::schema::{Field, Kind, Message, Schema, Shape};
use super::special::{
    IntOrString, boolean, double, duration, int_or_string, int32, micro_time, quantity, time,
};
use super::wire::{Raw, Reader, Tag, Wire, bytes, flat, number, utf8};
use super::{MAX_DEPTH, ProtobufError};

/// What was written of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrote {
    Something,
    /// What Go's `omitempty` leaves out.
    Zero,
    /// `null`.
    Null,
}

impl Wrote {
    fn unless(is_zero: bool) -> Self {
        if is_zero { Self::Zero } else { Self::Something }
    }
}

pub(super) struct Writer {
    schema: &'static Schema,
    out: Out,
}

impl Writer {
    pub(super) fn new(schema: &'static Schema) -> Self {
        Self { schema, out: Out::default() }
    }

    /// Writes an object with its `kind` and `apiVersion` first, and gives what was written.
    pub(super) fn whole(
        mut self,
        kind: &str,
        api_version: &str,
        bytes: &[u8],
    ) -> Result<Vec<u8>, ProtobufError> {
        let message = self.schema.kind(api_version, kind).ok_or(ProtobufError::UnknownKind)?;
        self.out.push("{\"kind\":")?;
        self.out.string(kind)?;
        self.out.push(",\"apiVersion\":")?;
        self.out.string(api_version)?;
        self.members(message, bytes, 1, &mut false)?;
        self.out.push("}")?;
        Ok(self.out.into_bytes())
    }

    /// Writes a message as an object that lies `depth` deep: 0 is the outermost.
    fn object(&mut self, message: u16, bytes: &[u8], depth: usize) -> Result<(), ProtobufError> {
        let message = self.schema.message(message).ok_or(ProtobufError::Schema)?;
        let inside = deeper(depth)?;
        self.out.push("{")?;
        self.members(message, bytes, inside, &mut true)?;
        self.out.push("}")
    }

    /// Writes a message's members. `first` tells whether none stands before.
    fn members(
        &mut self,
        message: &'static Message,
        bytes: &[u8],
        depth: usize,
        first: &mut bool,
    ) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(bytes);
        let mut seen = 0_u128;
        while let Some(tag) = reader.tag()? {
            let (index, field) =
                message.field(tag.number).ok_or_else(|| unknown(message.name, tag))?;
            let bit = 1 << index;
            if seen & bit != 0 {
                return Err(ProtobufError::Twice { message: message.name, number: tag.number });
            }
            seen |= bit;
            if field.shape == Shape::Inline {
                let Kind::Message(inline) = field.kind else { return Err(ProtobufError::Schema) };
                let inline = self.schema.message(inline).ok_or(ProtobufError::Schema)?;
                let bytes = as_bytes(&mut reader, tag.wire)?;
                // Not deeper in JSON, but here.
                self.members(inline, bytes, deeper(depth)?, first)?;
                continue;
            }
            let before = self.out.len();
            self.out.push(if *first { "\"" } else { ",\"" })?;
            self.out.push(field.name)?;
            self.out.push("\":")?;
            let wrote = match field.shape {
                Shape::List => self.list(field, tag, &mut reader, depth)?,
                Shape::Map => self.map(field, tag, &mut reader, depth)?,
                _ => self.value(field.kind, tag.wire, &mut reader, depth)?,
            };
            if wrote == Wrote::Null || (wrote == Wrote::Zero && field.omits_zero) {
                self.out.truncate(before);
            } else {
                *first = false;
            }
        }
        Ok(())
    }

    /// Writes a list: its elements follow each other, as every writer sends them. Numbers may be
    /// packed into one value, as protobuf allows.
    fn list(
        &mut self,
        field: &Field,
        mut tag: Tag,
        reader: &mut Reader<'_>,
        depth: usize,
    ) -> Result<Wrote, ProtobufError> {
        let inside = deeper(depth)?;
        let scalar = match field.kind {
            Kind::Bool | Kind::Int32 | Kind::Int64 => Some(Wire::Varint),
            Kind::Double => Some(Wire::Fixed64),
            _ => None,
        };
        let mut between = "[";
        loop {
            if let (Some(wire), Wire::Bytes) = (scalar, tag.wire) {
                let mut packed = Reader::new(reader.bytes()?);
                while !packed.is_empty() {
                    self.out.push(between)?;
                    between = ",";
                    self.value(field.kind, wire, &mut packed, inside)?;
                }
            } else {
                self.out.push(between)?;
                between = ",";
                self.value(field.kind, tag.wire, reader, inside)?;
            }
            match reader.tag_of(field.number)? {
                Some(next) => tag = next,
                None => break,
            }
        }
        // Nothing but empty packs: Go makes no list of that.
        if between == "[" {
            return Ok(Wrote::Null);
        }
        self.out.push("]")?;
        Ok(Wrote::Something)
    }

    /// Writes a map, whose entries follow each other: messages of a key and a value.
    fn map(
        &mut self,
        field: &Field,
        mut tag: Tag,
        reader: &mut Reader<'_>,
        depth: usize,
    ) -> Result<Wrote, ProtobufError> {
        let inside = deeper(depth)?;
        let mut keys = HashSet::new();
        let mut between = "{";
        loop {
            let mut entry = Reader::new(as_bytes(reader, tag.wire)?);
            let key = entry.tag_of(1)?.ok_or(ProtobufError::Entry)?;
            let key = utf8(as_bytes(&mut entry, key.wire)?)?;
            if !keys.insert(key) {
                return Err(ProtobufError::KeyTwice);
            }
            self.out.push(between)?;
            between = ",";
            self.out.string(key)?;
            self.out.push(":")?;
            match entry.tag_of(2)? {
                Some(value) => {
                    self.value(field.kind, value.wire, &mut entry, inside)?;
                }
                // Go leaves out a value of no bytes at all.
                None if field.kind == Kind::Bytes => self.out.push("\"\"")?,
                None => return Err(ProtobufError::Entry),
            }
            if !entry.is_empty() {
                return Err(ProtobufError::Entry);
            }
            match reader.tag_of(field.number)? {
                Some(next) => tag = next,
                None => break,
            }
        }
        self.out.push("}")?;
        Ok(Wrote::Something)
    }

    fn value(
        &mut self,
        kind: Kind,
        wire: Wire,
        reader: &mut Reader<'_>,
        depth: usize,
    ) -> Result<Wrote, ProtobufError> {
        let want = match kind {
            Kind::Bool | Kind::Int32 | Kind::Int64 => Wire::Varint,
            Kind::Double => Wire::Fixed64,
            _ => Wire::Bytes,
        };
        match reader.raw(wire, want)? {
            Raw::Number(it) => self.number(kind, it),
            Raw::Bytes(it) => self.bytes(kind, it, depth),
        }
    }

    fn number(&mut self, kind: Kind, value: u64) -> Result<Wrote, ProtobufError> {
        match kind {
            Kind::Bool => self.out.push(if boolean(value)? { "true" } else { "false" })?,
            Kind::Int32 => self.out.push(&int32(value)?.to_string())?,
            Kind::Int64 => self.out.push(&value.cast_signed().to_string())?,
            Kind::Double => {
                let value = f64::from_bits(value);
                self.out.push(&double(value)?)?;
                return Ok(Wrote::unless(value == 0.0));
            }
            _ => return Err(ProtobufError::Schema),
        }
        Ok(Wrote::unless(value == 0))
    }

    fn bytes(&mut self, kind: Kind, bytes: &[u8], depth: usize) -> Result<Wrote, ProtobufError> {
        match kind {
            Kind::Text => self.out.string(utf8(bytes)?)?,
            Kind::Bytes => self.out.base64(bytes)?,
            Kind::Time => return self.string_or_null(time(bytes)?),
            Kind::MicroTime => return self.string_or_null(micro_time(bytes)?),
            Kind::Duration => return self.string_or_null(Some(duration(bytes)?)),
            Kind::Quantity => return self.string_or_null(Some(quantity(bytes)?)),
            Kind::IntOrString => return self.int_or_string(bytes),
            Kind::Json => return self.json(bytes, depth),
            Kind::Texts => return self.texts(bytes, depth),
            Kind::Message(it) => {
                self.object(it, bytes, depth)?;
                return Ok(Wrote::Something);
            }
            Kind::SchemaOrBool(it) => return self.schema_or_bool(it, bytes, depth),
            Kind::SchemaOrArray(it) => {
                return self.schema_or_list(it, Kind::Message(it), bytes, depth);
            }
            Kind::SchemaOrTexts(it) => return self.schema_or_list(it, Kind::Text, bytes, depth),
            Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Double => {
                return Err(ProtobufError::Schema);
            }
        }
        Ok(Wrote::unless(bytes.is_empty()))
    }

    fn string_or_null(&mut self, text: Option<impl AsRef<str>>) -> Result<Wrote, ProtobufError> {
        match text {
            Some(it) => self.out.string(it.as_ref())?,
            None => return self.null(),
        }
        Ok(Wrote::Something)
    }

    fn null(&mut self) -> Result<Wrote, ProtobufError> {
        self.out.push("null")?;
        Ok(Wrote::Null)
    }

    fn int_or_string(&mut self, bytes: &[u8]) -> Result<Wrote, ProtobufError> {
        match int_or_string(bytes)? {
            IntOrString::Int(it) => self.out.push(&it.to_string())?,
            IntOrString::String(it) => self.out.string(it)?,
        }
        Ok(Wrote::Something)
    }

    /// `runtime.RawExtension` and its like: JSON in bytes, or nothing.
    fn json(&mut self, message: &[u8], depth: usize) -> Result<Wrote, ProtobufError> {
        let [raw] = flat("runtime.RawExtension", message, [Wire::Bytes])?;
        let Some(raw) = bytes(raw) else { return self.null() };
        self.out.json(raw, depth)?;
        Ok(Wrote::Something)
    }

    /// A list of strings in a message of its own.
    fn texts(&mut self, message: &[u8], depth: usize) -> Result<Wrote, ProtobufError> {
        let mut reader = Reader::new(message);
        let Some(tag) = reader.tag()? else {
            self.out.push("[]")?;
            return Ok(Wrote::Zero);
        };
        if tag.number != 1 {
            return Err(unknown(LIST_OF_STRINGS, tag));
        }
        self.list(&STRINGS, tag, &mut reader, depth)?;
        nothing_more(LIST_OF_STRINGS, reader)?;
        Ok(Wrote::Something)
    }

    /// `JSONSchemaPropsOrBool`: the schema, if there is one.
    fn schema_or_bool(
        &mut self,
        schema: u16,
        message: &[u8],
        depth: usize,
    ) -> Result<Wrote, ProtobufError> {
        let wires = [Wire::Varint, Wire::Bytes];
        let [allows, it] = flat("JSONSchemaPropsOrBool", message, wires)?;
        let allows = boolean(number(allows))?;
        match bytes(it) {
            Some(it) => self.object(schema, it, depth)?,
            None => self.out.push(if allows { "true" } else { "false" })?,
        }
        Ok(Wrote::Something)
    }

    /// `JSONSchemaPropsOrArray` and `JSONSchemaPropsOrStringArray`: a schema, or a list of
    /// `elements`. With both, which of them counts?
    fn schema_or_list(
        &mut self,
        schema: u16,
        elements: Kind,
        message: &[u8],
        depth: usize,
    ) -> Result<Wrote, ProtobufError> {
        let mut reader = Reader::new(message);
        match reader.tag()? {
            None => return self.null(),
            Some(Tag { number: 1, wire }) => {
                self.object(schema, as_bytes(&mut reader, wire)?, depth)?;
            }
            Some(tag) if tag.number == 2 => {
                self.list(
                    &Field { number: 2, kind: elements, ..STRINGS },
                    tag,
                    &mut reader,
                    depth,
                )?;
            }
            Some(tag) => return Err(unknown(SCHEMA_OR_LIST, tag)),
        }
        nothing_more(SCHEMA_OR_LIST, reader)?;
        Ok(Wrote::Something)
    }
}

const LIST_OF_STRINGS: &str = "a list of strings";
const SCHEMA_OR_LIST: &str = "a schema or a list";

/// What a message is that stands for a list of strings.
const STRINGS: Field =
    Field { number: 1, shape: Shape::List, omits_zero: false, kind: Kind::Text, name: "" };

fn unknown(message: &'static str, tag: Tag) -> ProtobufError {
    ProtobufError::UnknownField { message, number: tag.number }
}

/// After all that a message can hold: whatever follows is there twice or is unknown.
fn nothing_more(message: &'static str, mut reader: Reader<'_>) -> Result<(), ProtobufError> {
    match reader.tag()? {
        None => Ok(()),
        Some(Tag { number, .. }) if number <= 2 => Err(ProtobufError::Twice { message, number }),
        Some(tag) => Err(unknown(message, tag)),
    }
}

/// A value that must have been sent as bytes.
fn as_bytes<'a>(reader: &mut Reader<'a>, wire: Wire) -> Result<&'a [u8], ProtobufError> {
    match reader.raw(wire, Wire::Bytes)? {
        Raw::Bytes(it) => Ok(it),
        Raw::Number(_) => Err(ProtobufError::WireType),
    }
}

/// How deep lies what is inside of what lies `depth` deep.
fn deeper(depth: usize) -> Result<usize, ProtobufError> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(ProtobufError::TooDeep) }
}
