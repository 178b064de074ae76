//! A listener's `login`: logins of browsers.

use std::collections::BTreeMap;
use std::path::Path;

use identity::{CodeFlow, CodeLogin, Use};
use serde::Deserialize;

use crate::document::Document;
use crate::secret::{Lookup, SecretRef};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Section {
    issuer: Option<String>,
    client_id: Option<String>,
    client_secret: Option<SecretRef>,
    client_auth: ClientAuth,
    scopes: Vec<String>,
    parameters: BTreeMap<String, String>,
    token: Token,
}

/// How the secret is sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClientAuth {
    #[default]
    Basic,
    Post,
}

/// Which token counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Token {
    #[default]
    AccessToken,
    IdToken,
}

pub(super) fn login(
    document: &mut Document<'_>,
    path: &str,
    base: &Path,
    env: Lookup<'_>,
    issuers: Option<&identity::Config>,
    section: &Section,
) -> Option<CodeLogin> {
    for (key, missing, what) in [
        ("issuer", section.issuer.is_none(), "one of the issuers"),
        ("client_id", section.client_id.is_none(), "greffier's client there"),
    ] {
        if missing {
            document.problem(format!("{path}.{key}"), format!("is missing; name {what}"));
        }
    }
    let client_secret = section.client_secret.as_ref().and_then(|from| {
        let read = from.read(base, env).and_then(|secret| {
            let text = std::str::from_utf8(secret.expose()).map_err(|_| "is not UTF-8");
            Ok(identity::Secret::from(text?))
        });
        let tell = |message| document.problem(format!("{path}.client_secret"), message);
        read.map_err(tell).ok()
    });
    let flow = CodeFlow {
        issuer: section.issuer.clone()?,
        client_id: section.client_id.clone()?,
        client_secret,
        secret_in_form: section.client_auth == ClientAuth::Post,
        scopes: section.scopes.clone(),
        parameters: section.parameters.clone(),
        uses: match section.token {
            Token::AccessToken => Use::AccessToken,
            Token::IdToken => Use::IdToken,
        },
    };
    match CodeLogin::new(issuers?, flow) {
        Ok(login) => Some(login),
        Err(problem) => {
            document.problem(format!("{path}.{}", problem.path), problem.message);
            None
        }
    }
}
