//! A listener's `device_flow`: logins by a browser elsewhere.

use std::collections::BTreeMap;

use ::ssh::Credentials;
use identity::{DeviceFlow, DeviceLogin};
use serde::Deserialize;

use super::Place;
use crate::document::Document;
use crate::secret::SecretRef;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Section {
    issuer: Option<String>,
    client_id: Option<String>,
    client_secret: Option<SecretRef>,
    scopes: Vec<String>,
    parameters: BTreeMap<String, String>,
}

pub(super) fn login(
    document: &mut Document<'_>,
    path: &str,
    place: &Place<'_>,
    credentials: Credentials,
    section: &Section,
) -> Option<DeviceLogin> {
    if !credentials.keyboard_interactive {
        document.problem(path, "needs keyboard-interactive among the `credentials`");
    }
    for (key, missing, what) in [
        ("issuer", section.issuer.is_none(), "one of the issuers"),
        ("client_id", section.client_id.is_none(), "greffier's client there"),
    ] {
        if missing {
            document.problem(format!("{path}.{key}"), format!("is missing; name {what}"));
        }
    }
    let client_secret = section.client_secret.as_ref().and_then(|from| {
        let read = from.read(place.base, place.env).and_then(|secret| {
            let text = std::str::from_utf8(secret.expose()).map_err(|_| "is not UTF-8");
            Ok(identity::Secret::from(text?))
        });
        let tell = |message| document.problem(format!("{path}.client_secret"), message);
        read.map_err(tell).ok()
    });
    let flow = DeviceFlow {
        issuer: section.issuer.clone()?,
        client_id: section.client_id.clone()?,
        client_secret,
        scopes: section.scopes.clone(),
        parameters: section.parameters.clone(),
    };
    match DeviceLogin::new(place.issuers?, flow) {
        Ok(login) => Some(login),
        Err(problem) => {
            document.problem(format!("{path}.{}", problem.path), problem.message);
            None
        }
    }
}
