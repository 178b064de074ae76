//! What a server offers: lists that are filtered, and definitions that must not change unseen.

use aws_lc_rs::digest::{SHA256, digest};

use crate::error::WireError;
use crate::eyes::{hides, is_invisible};
use crate::headers::MAX_PARAM_HEADERS;
use crate::keys;
use crate::message::{Outcome, Response};
use crate::value::{Object, Value};

/// Most keys on the way to a parameter that is mirrored in a header.
pub const MAX_SCHEMA_DEPTH: usize = 32;

/// A list in a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `tools` of `tools/list`, by `name`.
    Tools,
    /// `prompts` of `prompts/list`, by `name`.
    Prompts,
    /// `resources` of `resources/list`, by `uri`.
    Resources,
    /// `resourceTemplates` of `resources/templates/list`, by `uriTemplate`.
    ResourceTemplates,
}

impl List {
    const fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::Tools => ("tools", "name"),
            Self::Prompts => ("prompts", "name"),
            Self::Resources => ("resources", "uri"),
            Self::ResourceTemplates => ("resourceTemplates", "uriTemplate"),
        }
    }
}

/// A tool, prompt or resource as the server defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition<'a> {
    /// Its name, URI or URI template.
    pub name: &'a str,
    /// All of its members.
    pub members: &'a Object,
}

/// Members of definitions that clients know.
const MEMBERS: &[&str] = &[
    "name",
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "annotations",
    "icons",
    "execution",
    "_meta",
    "uri",
    "uriTemplate",
    "mimeType",
    "size",
    "arguments",
];

impl Definition<'_> {
    /// SHA-256 of the definition with its keys sorted ([`Value::to_canonical`]): all that a model
    /// may be told, title, schemas, annotations and `_meta` included. Any change is another
    /// fingerprint; another order of members is not.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let hash = digest(&SHA256, &self.members.to_canonical());
        let mut out = [0; 32];
        for (place, byte) in out.iter_mut().zip(hash.as_ref()) {
            *place = *byte;
        }
        out
    }

    /// Whether some text or key of the definition hides something from who reads it ([`hides`]), or
    /// its name has invisible characters: such a tool can't be called through us.
    #[must_use]
    pub fn hides(&self) -> bool {
        fn within(value: &Value) -> bool {
            match value {
                Value::String(text) => hides(text),
                Value::Array(elements) => elements.iter().any(within),
                Value::Object(object) => members(object),
                Value::Null | Value::Bool(_) | Value::Number(_) => false,
            }
        }
        fn members(object: &Object) -> bool {
            object.iter().any(|(key, value)| hides(key) || within(value))
        }
        self.name.chars().any(is_invisible) || members(self.members)
    }

    /// Which of a tool's arguments are mirrored in headers.
    ///
    /// # Errors
    /// The server's: an annotation that the specification forbids. Clients must not use such a
    /// tool over HTTP.
    pub fn param_headers(&self) -> Result<ParamHeaders, WireError> {
        match self.members.get("inputSchema") {
            Some(Value::Object(schema)) => ParamHeaders::of_schema(schema),
            _ => Ok(ParamHeaders::default()),
        }
    }
}

impl Response {
    /// The definitions in a list; none if the result has no such list or is an error.
    ///
    /// # Errors
    /// The server's: something without a name, one name twice, members in another case than
    /// clients know them.
    pub fn definitions(&self, list: List) -> Result<Vec<Definition<'_>>, WireError> {
        let (key, name) = list.keys();
        let Some(value) = self.result().and_then(|it| it.get(key)) else { return Ok(Vec::new()) };
        let mut out: Vec<Definition<'_>> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for element in value.as_array().ok_or(WireError::Result("a list is no array"))? {
            let definition = define(element, name)?;
            // One resource may be listed under two titles; a tool of two meanings is another thing.
            let unique = matches!(list, List::Tools | List::Prompts);
            if !seen.insert(definition.name) && unique {
                return Err(WireError::Result("a name is listed twice"));
            }
            out.push(definition);
        }
        Ok(out)
    }

    /// Takes out of a list what is not to be kept; says how many that were. The rest of the result
    /// stays as it is.
    ///
    /// # Errors
    /// As [`Response::definitions`]; then nothing was taken out.
    pub fn filter(
        &mut self,
        list: List,
        mut keep: impl FnMut(Definition<'_>) -> bool,
    ) -> Result<usize, WireError> {
        let kept: Vec<bool> = self.definitions(list)?.into_iter().map(&mut keep).collect();
        let Outcome::Result(result) = &mut self.outcome else { return Ok(0) };
        let Some(Value::Array(elements)) = result.get_mut(list.keys().0) else { return Ok(0) };
        let before = elements.len();
        let mut kept = kept.into_iter();
        elements.retain(|_| kept.next().unwrap_or(false));
        Ok(before - elements.len())
    }
}

fn define<'a>(element: &'a Value, name: &str) -> Result<Definition<'a>, WireError> {
    let members = element.as_object().ok_or(WireError::Result("a definition is no object"))?;
    keys::check("definition", members, MEMBERS)?;
    let name = members.get(name).and_then(Value::as_str);
    let name = name.ok_or(WireError::Result("a definition has no name"))?;
    Ok(Definition { name, members })
}

/// Which arguments of a tool are mirrored in `Mcp-Param-*` headers: `x-mcp-header` in its schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParamHeaders {
    /// The header's name without `mcp-param-`, lower case; the keys to the argument.
    headers: Vec<(String, Vec<String>)>,
}

impl ParamHeaders {
    /// Reads the annotations of a tool's `inputSchema`. Only what a chain of `properties` reaches
    /// may have one.
    ///
    /// # Errors
    /// The server's: an annotation that is no header name, occurs twice, lies elsewhere, or is on
    /// something that is neither string, integer nor boolean.
    pub fn of_schema(schema: &Object) -> Result<Self, WireError> {
        let mut own = Self::default();
        own.properties(schema, &mut Vec::new())?;
        // Any annotation that the walk didn't count is where none may be.
        if count(schema) != own.headers.len() {
            return Err(WireError::Result("`x-mcp-header` is where it may not be"));
        }
        Ok(own)
    }

    fn properties(&mut self, schema: &Object, path: &mut Vec<String>) -> Result<(), WireError> {
        let Some(Value::Object(properties)) = schema.get("properties") else { return Ok(()) };
        if path.len() == MAX_SCHEMA_DEPTH {
            return Ok(());
        }
        for (key, property) in properties.iter() {
            let Some(property) = property.as_object() else { continue };
            path.push(key.to_owned());
            if let Some(name) = property.get("x-mcp-header") {
                self.add(name, property, path)?;
            }
            self.properties(property, path)?;
            path.pop();
        }
        Ok(())
    }

    fn add(&mut self, name: &Value, schema: &Object, path: &[String]) -> Result<(), WireError> {
        let name = name.as_str().unwrap_or_default().to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(keys::is_token) {
            return Err(WireError::Result("`x-mcp-header` is no header name"));
        }
        let kind = schema.get("type").and_then(Value::as_str);
        if !matches!(kind, Some("string" | "integer" | "boolean")) {
            return Err(WireError::Result("`x-mcp-header` is on no simple argument"));
        }
        if self.path(&name).is_some() || self.headers.len() == MAX_PARAM_HEADERS {
            return Err(WireError::Result("`x-mcp-header` is there twice, or too often"));
        }
        self.headers.push((name, path.to_vec()));
        Ok(())
    }

    /// The keys to the argument that a header mirrors; its name without `mcp-param-`, lower case.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&[String]> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, path)| &**path)
    }

    /// Each header with the keys to its argument.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.headers.iter().map(|(name, path)| (&**name, &**path))
    }
}

/// How many `x-mcp-header` there are in a schema. A property of that name has a schema, not text.
fn count(schema: &Object) -> usize {
    schema
        .iter()
        .map(|(key, value)| match value {
            Value::String(_) => usize::from(key == "x-mcp-header"),
            other => count_value(other),
        })
        .sum()
}

fn count_value(value: &Value) -> usize {
    match value {
        Value::Object(object) => count(object),
        Value::Array(elements) => elements.iter().map(count_value).sum(),
        _ => 0,
    }
}
