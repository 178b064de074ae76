//! The fetcher for real issuers: HTTPS with rustls, no redirects, bounded.

use std::collections::BTreeMap;

use reqwest::header::CACHE_CONTROL;
use reqwest::{Certificate, Client, StatusCode, redirect};

use crate::config::{Config, ConfigError, IssuerConfig, Problem};
use crate::fetch::{Fetch, FetchError, FetchFuture, FetchRequest, Fetched};
use crate::limits::FETCH_TIMEOUT;

/// Largest `ca_file`, bytes.
const MAX_CA_BYTES: u64 = 1024 * 1024;

/// Fetches over HTTPS. Trusts the system's certificate authorities, or for an
/// issuer with a `ca_file` only those in it. Follows no redirect at all, and
/// uses no proxy from the environment.
#[derive(Debug)]
pub struct HttpFetcher {
    plain: Client,
    by_issuer: BTreeMap<String, Client>,
}

impl HttpFetcher {
    /// Reads the certificate authorities that a configuration names.
    ///
    /// # Errors
    ///
    /// Every `ca_file` that cannot be read, is too large, or holds no certificate.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut by_issuer = BTreeMap::new();
        for (name, issuer) in &config.issuers {
            let Some(file) = &issuer.ca_file else { continue };
            match authorities(file).and_then(|list| client(Some(list))) {
                Ok(client) => {
                    by_issuer.insert(name.clone(), client);
                }
                Err(message) => {
                    problems.push(Problem { path: format!("issuer.{name}.ca_file"), message });
                }
            }
        }
        match client(None) {
            Ok(plain) if problems.is_empty() => Ok(Self { plain, by_issuer }),
            Ok(_) => Err(ConfigError { problems }),
            Err(message) => {
                problems.push(Problem { path: "issuer".to_owned(), message });
                Err(ConfigError { problems })
            }
        }
    }

    async fn get(&self, request: FetchRequest<'_>) -> Result<Fetched, FetchError> {
        let client = self.by_issuer.get(request.issuer).unwrap_or(&self.plain);
        let fail = |e: reqwest::Error| FetchError(format!("{}: {e}", request.url));
        let mut response = client.get(request.url).send().await.map_err(fail)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError(format!("{}: status {}", request.url, response.status())));
        }
        let max_age = response.headers().get(CACHE_CONTROL).and_then(|v| max_age(v.to_str().ok()?));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(fail)? {
            if body.len() + chunk.len() > request.max_bytes {
                return Err(FetchError(format!("{}: too large", request.url)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { body, max_age })
    }
}

impl Fetch for HttpFetcher {
    fn fetch<'a>(&'a self, request: FetchRequest<'a>) -> FetchFuture<'a> {
        Box::pin(self.get(request))
    }
}

/// A client for one issuer, which trusts what its configuration says.
pub(crate) fn client_of(issuer: &IssuerConfig) -> Result<Client, String> {
    client(issuer.ca_file.as_deref().map(authorities).transpose()?)
}

fn authorities(file: &std::path::Path) -> Result<Vec<Certificate>, String> {
    let size = std::fs::metadata(file).map_err(|e| format!("cannot be read: {e}"))?.len();
    if size > MAX_CA_BYTES {
        return Err("is too large for a list of certificates".to_owned());
    }
    let pem = std::fs::read(file).map_err(|e| format!("cannot be read: {e}"))?;
    let list = Certificate::from_pem_bundle(&pem).map_err(|_| "is not PEM".to_owned())?;
    if list.is_empty() { Err("holds no certificate".to_owned()) } else { Ok(list) }
}

fn client(authorities: Option<Vec<Certificate>>) -> Result<Client, String> {
    let builder = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(FETCH_TIMEOUT)
        .connect_timeout(FETCH_TIMEOUT)
        .user_agent(concat!("greffier/", env!("CARGO_PKG_VERSION")));
    let builder = match authorities {
        Some(list) => builder.tls_certs_only(list),
        None => builder,
    };
    builder.build().map_err(|e| format!("no HTTPS client: {e}"))
}

/// `max-age` of a `Cache-Control` header; 0 for `no-cache` and `no-store`.
fn max_age(header: &str) -> Option<u64> {
    let mut age = None;
    for directive in header.split(',').map(str::trim) {
        if directive.eq_ignore_ascii_case("no-cache") || directive.eq_ignore_ascii_case("no-store")
        {
            return Some(0);
        }
        if let Some((name, value)) = directive.split_once('=')
            && name.trim().eq_ignore_ascii_case("max-age")
        {
            age = value.trim().trim_matches('"').parse().ok();
        }
    }
    age
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_control_is_read() {
        assert_eq!(max_age("public, max-age=300"), Some(300));
        assert_eq!(max_age("Max-Age=\"60\", must-revalidate"), Some(60));
        assert_eq!(max_age("no-cache, max-age=60"), Some(0));
        assert_eq!(max_age("public"), None);
        assert_eq!(max_age("max-age=soon"), None);
    }
}
