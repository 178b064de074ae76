//! How discovery documents and key sets are fetched.

use std::future::Future;
use std::pin::Pin;

/// What to fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchRequest<'a> {
    /// The issuer's name in the configuration, for choosing its certificate authorities.
    pub issuer: &'a str,
    /// The address. `https`, unless the issuer allows insecure loopback.
    pub url: &'a str,
    /// The most bytes to read of the body; more is an error.
    pub max_bytes: usize,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The body, whole.
    pub body: Vec<u8>,
    /// `max-age` of `Cache-Control`, in seconds, where it was stated.
    pub max_age: Option<u64>,
}

/// Why nothing usable came back. For the operator's log; clients do not see it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub String);

/// The future a [`Fetch`] gives.
pub type FetchFuture<'a> = Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + 'a>>;

/// Fetches documents of issuers over HTTP.
///
/// An implementation must not follow redirects to another host and must treat
/// every status but 200 as an error. The caller bounds the time.
pub trait Fetch: Send + Sync {
    /// Fetches one document.
    fn fetch<'a>(&'a self, request: FetchRequest<'a>) -> FetchFuture<'a>;
}

impl<T: Fetch + ?Sized> Fetch for std::sync::Arc<T> {
    fn fetch<'a>(&'a self, request: FetchRequest<'a>) -> FetchFuture<'a> {
        (**self).fetch(request)
    }
}
