//! The one place where a cause becomes what the client is told: SQLSTATE, message, hint.

use gate::{JournalError, RefusalCause};
use postgres_wire::write::{Report, Severity, error_response};

use crate::upstream::UpstreamError;

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
}

impl Told {
    pub(crate) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Told { severity: Severity::Fatal, code, message: message.into(), detail: None, hint: None }
    }

    pub(crate) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Told { severity: Severity::Error, ..Told::fatal(code, message) }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The ErrorResponse, a whole frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        // A NUL ends a field on the wire; texts from rules or tokens might hold one.
        let clean = |text: &str| text.replace('\0', " ");
        let message = clean(&self.message);
        let detail = self.detail.as_deref().map(clean);
        let hint = self.hint.as_deref().map(clean);
        let report = Report {
            severity: self.severity,
            code: self.code,
            message: &message,
            detail: detail.as_deref(),
            hint: hint.as_deref(),
        };
        if error_response(&mut out, &report).is_err() {
            out.clear();
        }
        out
    }
}

/// A refused command. The session lives on (but for an ended lease).
pub(crate) fn refused(cause: &RefusalCause) -> Told {
    match cause {
        RefusalCause::Denied { rule, reason } => {
            let told = Told::error("42501", "greffier: this statement is not allowed")
                .detail(format!("It was denied by rule \"{rule}\"."));
            match reason {
                Some(reason) => told.hint(reason.to_string()),
                None => told.hint("Ask whoever keeps this proxy's policy, and name the rule."),
            }
        }
        RefusalCause::Held { rule } => {
            Told::error("42501", "greffier: this statement needs an approval")
                .detail(format!("It is held by rule \"{rule}\"."))
        }
        RefusalCause::LeaseOver(reason) => lease_over(reason),
    }
}

/// The principal's right to go on has ended, and with it the session.
pub(crate) fn lease_over(reason: &identity::EndReason) -> Told {
    Told::fatal("28000", format!("greffier: the session ends: {reason}"))
        .hint("Connect again with a new token.")
}

/// What must be recorded can't be. Full: the session may go on. Else it can't.
pub(crate) fn unrecorded(error: JournalError) -> Told {
    let severity = match error {
        JournalError::Full | JournalError::TooLarge { .. } => Severity::Error,
        JournalError::Failed | JournalError::Closed => Severity::Fatal,
    };
    let code = match error {
        JournalError::Full => "53100",
        JournalError::TooLarge { .. } => "54000",
        JournalError::Failed | JournalError::Closed => "57P03",
    };
    Told {
        severity,
        code,
        message: format!("greffier: {error}, so nothing runs"),
        detail: None,
        hint: Some("Whoever runs this proxy must look at its log and its store.".into()),
    }
}

/// What the client is told of a target that can't be used. Not the server's own words: they may
/// name our credentials' role, or our network.
pub(crate) fn unreachable(error: &UpstreamError) -> Told {
    match error {
        UpstreamError::Refused { code, message } => {
            // Whether a database exists is the client's business; the rest is not.
            let told = if code == "3D000" {
                message.clone()
            } else {
                "the target refused the proxy's login".into()
            };
            Told::fatal("08004", format!("greffier: {told}")).detail(format!("SQLSTATE {code}"))
        }
        UpstreamError::Encoding => {
            Told::fatal("0A000", "greffier: this client encoding can't be followed")
                .hint("Use UTF8.")
        }
        UpstreamError::Timeout(_) | UpstreamError::Io(_) => {
            Told::fatal("08001", "greffier: the target can't be reached")
        }
        _ => Told::fatal("08001", "greffier: the proxy can't use the target"),
    }
}
