//! Every leaf and key, to be masked.

use std::collections::HashSet;
use std::fmt;

use crate::message::{Message, Outcome};
use crate::value::{Object, Value};

/// Where a leaf lies, from the message's `params`, `result` or `error` on.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    above: Option<&'a Path<'a>>,
    step: Step<'a>,
}

/// One step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into an object's member.
    Key(&'a str),
    /// Into an array's element, counted from 0.
    Element(usize),
}

/// A leaf whose text may hold what must not be seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Leaf<'a> {
    /// A string's text.
    Text(&'a str),
    /// A number's text: a card number is one, too.
    Number(&'a str),
}

impl<'a> Path<'a> {
    const fn root(key: &'a str) -> Self {
        Self { above: None, step: Step::Key(key) }
    }

    /// The last step.
    #[must_use]
    pub const fn last(&self) -> Step<'a> {
        self.step
    }

    /// The steps, the last one first.
    pub fn backwards(&self) -> impl Iterator<Item = Step<'_>> {
        std::iter::successors(Some(self), |path| path.above).map(|path| path.step)
    }

    /// Whether the path begins with these keys: `["params", "_meta"]`.
    #[must_use]
    pub fn starts_with(&self, keys: &[&str]) -> bool {
        let depth = self.backwards().count();
        let Some(below) = depth.checked_sub(keys.len()) else { return false };
        let mut own = self.backwards().skip(below);
        keys.iter().rev().all(|key| own.next() == Some(Step::Key(key)))
    }
}

impl fmt::Display for Path<'_> {
    /// As RFC 9535 writes a normalised path: `$['params']['arguments']['ids'][0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.above {
            Some(above) => above.fmt(f)?,
            None => f.write_str("$")?,
        }
        match self.step {
            Step::Element(at) => write!(f, "[{at}]"),
            Step::Key(key) => {
                let key = key.replace('\\', "\\\\").replace('\'', "\\'");
                write!(f, "['{key}']")
            }
        }
    }
}

impl fmt::Debug for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Message {
    /// Shows every string of parameters, result or error to `mask`; where it gives a text, that
    /// takes the string's place. Keys, numbers and the envelope are not shown.
    pub fn for_each_text(&mut self, mut mask: impl FnMut(&Path<'_>, &str) -> Option<String>) {
        self.for_each_leaf(|path, leaf| match leaf {
            Leaf::Text(text) => mask(path, text),
            Leaf::Number(_) => None,
        });
    }

    /// As [`Message::for_each_text`], numbers too; a number for which a text is given becomes a
    /// string.
    pub fn for_each_leaf(&mut self, mut mask: impl FnMut(&Path<'_>, Leaf<'_>) -> Option<String>) {
        if let Some((key, object)) = self.content_mut() {
            object_leaves(object, &Path::root(key), &mut mask);
        }
    }

    /// Shows every key below parameters, result or error to `mask`, with the path of its object;
    /// where it gives a text, that takes the key's place. If the object has that key already,
    /// `~2`, `~3` … is added: no key is there twice. For records: with other keys a message may
    /// mean something else.
    pub fn for_each_key(&mut self, mut mask: impl FnMut(&Path<'_>, &str) -> Option<String>) {
        if let Some((key, object)) = self.content_mut() {
            object_keys(object, &Path::root(key), &mut mask);
        }
    }

    fn content_mut(&mut self) -> Option<(&'static str, &mut Object)> {
        Some(match self {
            Self::Request(request) => ("params", request.params.as_mut()?),
            Self::Notification(notification) => ("params", notification.params.as_mut()?),
            Self::Response(response) => match &mut response.outcome {
                Outcome::Result(result) => ("result", result),
                Outcome::Error(error) => ("error", error),
            },
        })
    }
}

type Mask<'m> = &'m mut dyn FnMut(&Path<'_>, Leaf<'_>) -> Option<String>;

fn leaves(value: &mut Value, path: &Path<'_>, mask: Mask<'_>) {
    let masked = match value {
        Value::String(text) => mask(path, Leaf::Text(text)),
        Value::Number(number) => mask(path, Leaf::Number(number.text())),
        Value::Array(elements) => {
            for (at, element) in elements.iter_mut().enumerate() {
                leaves(element, &Path { above: Some(path), step: Step::Element(at) }, mask);
            }
            None
        }
        Value::Object(object) => {
            object_leaves(object, path, mask);
            None
        }
        Value::Null | Value::Bool(_) => None,
    };
    if let Some(masked) = masked {
        *value = Value::String(masked);
    }
}

fn object_leaves(object: &mut Object, path: &Path<'_>, mask: Mask<'_>) {
    for (key, value) in object.members_mut() {
        leaves(value, &Path { above: Some(path), step: Step::Key(key) }, mask);
    }
}

type KeyMask<'m> = &'m mut dyn FnMut(&Path<'_>, &str) -> Option<String>;

fn object_keys(object: &mut Object, path: &Path<'_>, mask: KeyMask<'_>) {
    let mut renamed = Vec::new();
    for (at, (key, value)) in object.members_mut().iter_mut().enumerate() {
        value_keys(value, &Path { above: Some(path), step: Step::Key(key) }, mask);
        if let Some(masked) = mask(path, key)
            && masked != *key
        {
            renamed.push((at, masked));
        }
    }
    if renamed.is_empty() {
        return;
    }
    let changed: HashSet<usize> = renamed.iter().map(|(at, _)| *at).collect();
    let kept = object.iter().enumerate().filter(|(at, _)| !changed.contains(at));
    let mut taken: HashSet<String> = kept.map(|(_, (key, _))| key.to_owned()).collect();
    let mut counts: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for (at, masked) in renamed {
        let mut own = masked.clone();
        while !taken.insert(own.clone()) {
            let count = counts.entry(masked.clone()).or_insert(1);
            *count += 1;
            own = format!("{masked}~{count}");
        }
        if let Some((key, _)) = object.members_mut().get_mut(at) {
            *key = own;
        }
    }
}

fn value_keys(value: &mut Value, path: &Path<'_>, mask: KeyMask<'_>) {
    match value {
        Value::Array(elements) => {
            for (at, element) in elements.iter_mut().enumerate() {
                value_keys(element, &Path { above: Some(path), step: Step::Element(at) }, mask);
            }
        }
        Value::Object(object) => object_keys(object, path, mask),
        _ => {}
    }
}
