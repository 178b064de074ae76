//! An OpenID Connect issuer for demos and tests. Never for production.
