//! Who acts: OIDC tokens, principals, delegation and leases.
