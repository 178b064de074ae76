//! Why a request is not understood.

/// Why a request has no [`Attributes`](super::Attributes). The fault is that of whoever sent it,
/// and the answer is a 400. It shows nothing of the request but which part of it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// The method is empty, too long, or not of upper-case letters and hyphens. Kubernetes takes
    /// `get` for no method at all; other readers take it for `GET`.
    #[error("the method is not a word of upper-case letters")]
    Method,
    /// More bytes than allowed.
    #[error("the {what} is longer than {most} bytes")]
    TooLong {
        /// `path` or `query`.
        what: &'static str,
        /// The limit, bytes.
        most: usize,
    },
    /// More parameters than allowed.
    #[error("the query holds more than {most} parameters")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// The path does not begin with `/`.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A byte that no URL holds as it is (RFC 3986), such as a space or a letter that is not
    /// ASCII; in a path also `?`, `#` and `\`, and control characters however they are written.
    #[error("the {what} holds a character that may not stand there")]
    Character {
        /// `path` or `query`.
        what: &'static str,
    },
    /// A `%` that two hexadecimal digits do not follow. Go leaves such a parameter out.
    #[error("the {what} holds a broken percent escape")]
    Escape {
        /// `path` or `query`.
        what: &'static str,
    },
    /// What the escapes give is not UTF-8.
    #[error("the {what} is not UTF-8")]
    NotUtf8 {
        /// `path` or `query`.
        what: &'static str,
    },
    /// A segment of the path holds `/` or `%` as an escape: whoever decodes first, or twice,
    /// sees other segments.
    #[error("the path holds an escaped slash or percent sign")]
    EscapedSlash,
    /// A segment is `.` or `..`, written plainly or by escapes.
    #[error("the path holds a dot segment")]
    DotSegment,
    /// Two slashes in a row.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// A segment that names a part of the API holds more than small letters, digits, `-`, `.`
    /// and `_`.
    #[error("the path's {what} is not of small letters and digits")]
    Segment {
        /// `group`, `version`, `resource` or `subresource`.
        what: &'static str,
    },
    /// `/api/v1/watch` or `/api/v1/proxy` and nothing behind. Kubernetes refuses it too.
    #[error("the path ends behind watch or proxy")]
    Incomplete,
    /// A `;` in the query: Go leaves the parameter out, older readers divide there.
    #[error("the query holds a semicolon")]
    Semicolon,
    /// A parameter comes with two values. Go takes the first, other readers the last.
    #[error("the parameter {name} has two values")]
    TwoValues {
        /// Its name.
        name: &'static str,
    },
    /// A port that is no number from 0 to 65535.
    #[error("the parameter ports holds something that is no port")]
    Port,
}
