//! A tree as names and texts, for rules.

use crate::message::Request;
use crate::method::{Call, Method};
use crate::value::{Object, Value};

/// Most fields that are given to rules.
pub const MAX_FIELDS: usize = 4096;
/// Most bytes of names and texts of those fields together.
pub const MAX_FIELD_BYTES: usize = 256 << 10;
/// Longest text of one field, bytes: each rule that names it looks at all of it. What is written
/// to a file may be longer, and need not be looked at.
pub const MAX_FIELD_TEXT_BYTES: usize = 64 << 10;
/// Most fields that are named in [`Fields::unread`] one by one.
const MAX_UNREAD: usize = 16;
/// How the names of a tool's or prompt's arguments begin.
pub const ARGUMENTS: &str = "arg";

/// A leaf of a tree.
#[derive(Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// The keys on the way to it, divided by dots: `arg.filter.path`. A dot or backslash within a
    /// key has a backslash before it. Elements of an array have the array's name.
    pub name: String,
    /// A string as it is, a number as it was written, `true`, `false`, `null`; of what is empty,
    /// `[]` and `{}`.
    pub value: &'a str,
}

/// The leaves of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The leaves in order.
    pub fields: Vec<Field<'a>>,
    /// How the names begin of those that are left out: the name of a text that is longer than
    /// [`MAX_FIELD_TEXT_BYTES`]; `arg.` if there are more than [`MAX_FIELDS`] or
    /// [`MAX_FIELD_BYTES`]. Rules that look at one of them must take it for the worst.
    pub unread: Vec<String>,
}

impl Fields<'_> {
    /// Whether no field is left out.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.unread.is_empty()
    }
}

impl std::fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} bytes", self.name, self.value.len())
    }
}

/// The leaves of a tree; `prefix` is its own name (`body`).
#[must_use]
pub fn flatten<'a>(prefix: &str, tree: &'a Value) -> Fields<'a> {
    Walk::run(prefix, prefix, |walk| walk.value(tree))
}

impl Request {
    /// What a tool or prompt is called with: `arg.…`. Nothing for other methods.
    #[must_use]
    pub fn flatten_arguments(&self) -> Fields<'_> {
        let (Method::CallTool(call) | Method::GetPrompt(call)) = self.method() else {
            return Fields { fields: Vec::new(), unread: Vec::new() };
        };
        call.flatten_arguments()
    }
}

impl<'a> Call<'a> {
    /// As [`Request::flatten_arguments`]. No arguments, or an empty object, are no fields.
    #[must_use]
    pub fn flatten_arguments(&self) -> Fields<'a> {
        let all = format!("{ARGUMENTS}.");
        Walk::run(ARGUMENTS, &all, |walk| match self.arguments {
            Some(arguments) => walk.members(arguments),
            None => Some(()),
        })
    }
}

struct Walk<'a> {
    /// The name of where we are.
    name: String,
    fields: Vec<Field<'a>>,
    unread: Vec<String>,
    /// Bytes that names and texts may still take.
    left: usize,
}

impl<'a> Walk<'a> {
    /// Walks; `all` is how the name of any field begins.
    fn run(prefix: &str, all: &str, walk: impl FnOnce(&mut Self) -> Option<()>) -> Fields<'a> {
        let name = prefix.to_owned();
        let mut own = Self { name, fields: Vec::new(), unread: Vec::new(), left: MAX_FIELD_BYTES };
        if walk(&mut own).is_none() {
            own.unread = vec![all.to_owned()];
        }
        Fields { fields: own.fields, unread: own.unread }
    }

    fn value(&mut self, value: &'a Value) -> Option<()> {
        match value {
            Value::Null => self.leaf("null"),
            Value::Bool(true) => self.leaf("true"),
            Value::Bool(false) => self.leaf("false"),
            Value::Number(number) => self.leaf(number.text()),
            Value::String(text) => self.leaf(text),
            Value::Array(elements) if elements.is_empty() => self.leaf("[]"),
            Value::Array(elements) => elements.iter().try_for_each(|it| self.value(it)),
            Value::Object(object) if object.is_empty() => self.leaf("{}"),
            Value::Object(object) => self.members(object),
        }
    }

    fn members(&mut self, object: &'a Object) -> Option<()> {
        let here = self.name.len();
        for (key, value) in object.iter() {
            self.name.push('.');
            for part in key.chars() {
                if part == '.' || part == '\\' {
                    self.name.push('\\');
                }
                self.name.push(part);
            }
            self.value(value)?;
            self.name.truncate(here);
        }
        Some(())
    }

    fn leaf(&mut self, value: &'a str) -> Option<()> {
        let long = value.len() > MAX_FIELD_TEXT_BYTES;
        let size = self.name.len() + if long { 0 } else { value.len() };
        self.left = self.left.checked_sub(size)?;
        if long && self.unread.len() < MAX_UNREAD {
            self.unread.push(self.name.clone());
            return Some(());
        }
        if long || self.fields.len() == MAX_FIELDS {
            return None;
        }
        self.fields.push(Field { name: self.name.clone(), value });
        Some(())
    }
}
