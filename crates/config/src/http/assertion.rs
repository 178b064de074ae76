//! `[target.NAME.assertion]`: how a service is told, signed, who asks.

use std::sync::Arc;

use http_proxy::{ASSERTION_LIFETIME, Assertion};
use identity::AssertionKey;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

use crate::document::Document;
use crate::operations::Context;
use crate::secret::SecretRef;
use crate::units::Span;

/// The longest lifetime that may be configured, in seconds: it can't be taken back.
const MAX_LIFETIME_SECONDS: u64 = 3600;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Section {
    key: Option<SecretRef>,
    issuer: Option<String>,
    audience: Option<String>,
    lifetime: Option<Span>,
}

pub(super) fn assertion(
    document: &mut Document<'_>,
    path: &str,
    section: &Section,
    context: &Context<'_>,
) -> Option<Assertion> {
    let key = key(document, &format!("{path}.key"), section.key.as_ref(), context);
    let mut needed = |name: &str, value: &Option<String>, what: &str| {
        let given = value.clone().filter(|it| !it.is_empty());
        if given.is_none() {
            document.problem(format!("{path}.{name}"), format!("is missing; write {what}"));
        }
        given
    };
    let issuer = needed("issuer", &section.issuer, "this proxy's address, as the service knows it");
    let audience = needed("audience", &section.audience, "what the service calls itself");
    let lifetime = section.lifetime.map_or(ASSERTION_LIFETIME, |span| span.0);
    if !(1..=MAX_LIFETIME_SECONDS).contains(&lifetime.as_secs()) {
        let message = format!("must be 1s to {MAX_LIFETIME_SECONDS}s");
        document.problem(format!("{path}.lifetime"), message);
    }
    Some(Assertion { key: key?, issuer: issuer?, audience: audience?, lifetime })
}

fn key(
    document: &mut Document<'_>,
    path: &str,
    from: Option<&SecretRef>,
    context: &Context<'_>,
) -> Option<Arc<AssertionKey>> {
    let Some(from) = from else {
        document.problem(path, "is missing; write \"env:NAME\" or \"file:/path\"");
        return None;
    };
    let key = from.read(context.base, context.env).and_then(|pem| {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose());
        let der = der.map_err(|_| "is no private key in PEM (PKCS#8)".to_owned())?;
        AssertionKey::from_pkcs8(der.secret_pkcs8_der()).map_err(|error| error.to_string())
    });
    key.map_err(|message| document.problem(path, message)).ok().map(Arc::new)
}
