//! A path's segments, and what the API server takes them for.

use super::{Attributes, AttributesError};
use crate::query::unescape;

/// The longest path read, bytes, escapes counted as they came.
pub const MAX_PATH_BYTES: usize = 16 << 10;

/// The path decoded, and its segments.
pub(super) fn split(path: &str) -> Result<(String, Vec<String>), AttributesError> {
    if path.len() > MAX_PATH_BYTES {
        return Err(AttributesError::TooLong { what: "path", most: MAX_PATH_BYTES });
    }
    let Some(inner) = path.strip_prefix('/') else { return Err(AttributesError::NotAbsolute) };
    if !path.bytes().all(|it| it.is_ascii_graphic() && !b"?#\\".contains(&it)) {
        return Err(AttributesError::Character { what: "path" });
    }
    // One slash at the end says nothing.
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() && path.len() <= 1 {
        return Ok((path.to_owned(), Vec::new()));
    }
    let segments = inner.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
    let mut decoded = format!("/{}", segments.join("/"));
    if path.ends_with('/') {
        decoded.push('/');
    }
    Ok((decoded, segments))
}

fn segment(raw: &str) -> Result<String, AttributesError> {
    if raw.is_empty() {
        return Err(AttributesError::EmptySegment);
    }
    let text = unescape(raw, "path", false)?;
    if text.contains(['/', '%']) {
        return Err(AttributesError::EscapedSlash);
    }
    if text == "." || text == ".." {
        return Err(AttributesError::DotSegment);
    }
    if text.chars().any(|it| it.is_control() || it == '\\') {
        return Err(AttributesError::Character { what: "path" });
    }
    Ok(text)
}

/// A segment that names a part of the API.
fn word(text: &str, what: &'static str) -> Result<String, AttributesError> {
    let known = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-._".contains(&it);
    match text.bytes().all(known) {
        true => Ok(text.to_owned()),
        false => Err(AttributesError::Segment { what }),
    }
}

fn verb_of(method: &str) -> &'static str {
    match method {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

impl Attributes {
    /// Sets what the path says. Whether the path names the verb, as `/api/v1/watch/...` does.
    pub(super) fn read_path(&mut self, segments: &[String]) -> Result<bool, AttributesError> {
        let [prefix, rest @ ..] = segments else { return Ok(false) };
        let (grouped, fewest) = match prefix.as_str() {
            "api" => (false, 2),
            "apis" => (true, 3),
            _ => return Ok(false),
        };
        if rest.len() < 2 {
            return Ok(false);
        }
        prefix.clone_into(&mut self.api_prefix);
        if rest.len() < fewest {
            return Ok(false);
        }
        let (group, rest) = match rest {
            [group, rest @ ..] if grouped => (group.as_str(), rest),
            _ => ("", rest),
        };
        let [version, rest @ ..] = rest else { return Ok(false) };
        self.group = word(group, "group")?;
        self.version = word(version, "version")?;
        self.is_resource = true;
        let (by_path, rest) = match rest {
            [verb, rest @ ..] if verb == "proxy" || verb == "watch" => {
                if rest.is_empty() {
                    return Err(AttributesError::Incomplete);
                }
                verb.clone_into(&mut self.verb);
                (true, rest)
            }
            rest => {
                verb_of(&self.method).clone_into(&mut self.verb);
                (false, rest)
            }
        };
        self.read_parts(rest)?;
        Ok(by_path)
    }

    fn read_parts(&mut self, mut rest: &[String]) -> Result<(), AttributesError> {
        if let [first, namespace, more @ ..] = rest
            && first == "namespaces"
        {
            namespace.clone_into(&mut self.namespace);
            // Else it is a subresource of the namespace itself.
            if more.first().is_some_and(|it| it != "status" && it != "finalize") {
                rest = more;
            }
        }
        self.parts = rest.to_vec();
        if let [resource, ..] = rest {
            self.resource = word(resource, "resource")?;
        }
        if let [_, name, ..] = rest {
            name.clone_into(&mut self.name);
        }
        if let [_, _, subresource, ..] = rest
            && self.verb != "proxy"
        {
            self.subresource = word(subresource, "subresource")?;
        }
        Ok(())
    }
}
