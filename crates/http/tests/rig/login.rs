//! What logins of browsers need: the client's part, and the issuer's.

use testbed::OidcProvider;

use super::AUDIENCE;

/// Our client at an issuer.
pub const CLIENT: &str = "web";

pub fn flow() -> identity::CodeFlow {
    identity::CodeFlow {
        issuer: "dev".into(),
        client_id: CLIENT.into(),
        client_secret: Some(identity::Secret::from(OidcProvider::WEB.secret)),
        scopes: vec!["db:read".into()],
        parameters: [("resource".to_owned(), AUDIENCE.to_owned())].into(),
        ..identity::CodeFlow::default()
    }
}

/// An issuer's section, with lines of its own.
pub fn identity(iss: &str, more: &str) -> String {
    format!(
        "[issuer.dev]\niss = \"{iss}\"\naudiences = [\"{AUDIENCE}\"]\nalgorithms = [\"ES256\", \
         \"RS256\"]\nmay_mint = [\"human\"]\nallow_insecure_loopback = true\n{more}\n\
         [[issuer.dev.rule]]\nname = \"people\"\nkind = \"human\"\n"
    )
}
