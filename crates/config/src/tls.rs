//! TLS towards clients and towards targets, from PEM files.
#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "not every protocol uses all of it"))]

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use serde::Deserialize;

use crate::document::Document;
use crate::secret::check_private;

/// Most certificates read from one file.
const MAX_CERTIFICATES: usize = 1000;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|e| failed(&e))?
        .take(MAX_CERTIFICATES)
        .collect();
    let found = found.map_err(|e| failed(&e))?;
    if found.is_empty() { Err(failed(&"no certificate in it")) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    check_private(path)?;
    PrivateKeyDer::from_pem_file(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// What is wrong with a pair of files, and with which of them.
enum PairError {
    Certificate(String),
    Key(String),
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn pair(certificate: &Path, key: &Path) -> Result<Pair, Vec<PairError>> {
    match (certificates(certificate), private_key(key)) {
        (Ok(chain), Ok(key)) => Ok((chain, key)),
        (chain, key) => {
            let chain = chain.err().map(PairError::Certificate);
            Err(chain.into_iter().chain(key.err().map(PairError::Key)).collect())
        }
    }
}

/// Towards clients: TLS 1.2 and 1.3, with these protocols for ALPN.
fn server(
    certificate: &Path,
    key: &Path,
    alpn: &[&str],
) -> Result<Arc<ServerConfig>, Vec<PairError>> {
    let (chain, key) = pair(certificate, key)?;
    let mismatch = |e: rustls::Error| vec![PairError::Key(e.to_string())];
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(mismatch)?;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// The certificate authorities to trust: those of a file, or the public ones.
fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| format!("{}: {e}", file.display()))?;
            }
        }
    }
    Ok(roots)
}

/// Towards a target: its name is checked, always.
fn client(
    roots: RootCertStore,
    own: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, Vec<PairError>> {
    let mismatch = |e: rustls::Error| vec![PairError::Key(e.to_string())];
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let (chain, key) = pair(certificate, key)?;
            builder.with_client_auth_cert(chain, key).map_err(mismatch)?
        }
    };
    Ok(Arc::new(config))
}

/// The files of a listener's certificate.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
}

/// What a listener's `tls` and `allow_plain_text` say: `Some(None)` is plain text, allowed.
pub(crate) fn listener(
    document: &mut Document<'_>,
    path: &str,
    base: &Path,
    loopback: bool,
    files: Option<&TlsFiles>,
    plain: bool,
    alpn: &[&str],
) -> Option<Option<Arc<ServerConfig>>> {
    let Some(files) = files else {
        if !plain {
            let message = "is missing; tokens must not cross a network readable (on a loopback \
                           address `allow_plain_text = true` does without)";
            document.problem(format!("{path}.tls"), message);
            return None;
        }
        if !loopback {
            let message = "is for loopback addresses only; write `tls`";
            document.problem(format!("{path}.allow_plain_text"), message);
        }
        return Some(None);
    };
    if plain {
        document.problem(format!("{path}.allow_plain_text"), "contradicts `tls`; take one out");
    }
    for (key, value) in [("certificate", &files.certificate), ("key", &files.key)] {
        if value.is_none() {
            document.problem(format!("{path}.tls.{key}"), "is missing; name a PEM file");
        }
    }
    let (certificate, key) =
        (base.join(files.certificate.as_ref()?), base.join(files.key.as_ref()?));
    match server(&certificate, &key, alpn) {
        Ok(config) => Some(Some(config)),
        Err(errors) => {
            let (certificate, key) = (format!("{path}.tls.certificate"), format!("{path}.tls.key"));
            pair_problems(document, errors, &certificate, &key);
            None
        }
    }
}

/// TLS towards a target: its `tls_ca`, `tls_certificate` and `tls_key`.
pub(crate) fn target(
    document: &mut Document<'_>,
    path: &str,
    ca: Option<&Path>,
    certificate: Option<&Path>,
    key: Option<&Path>,
) -> Option<Arc<ClientConfig>> {
    let roots = roots(ca).map_err(|message| document.problem(format!("{path}.tls_ca"), message));
    let own = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            document.problem(format!("{path}.tls_key"), "is missing beside `tls_certificate`");
            return None;
        }
        (None, Some(_)) => {
            document.problem(format!("{path}.tls_certificate"), "is missing beside `tls_key`");
            return None;
        }
    };
    match client(roots.ok()?, own) {
        Ok(config) => Some(config),
        Err(errors) => {
            let (certificate, key) = (format!("{path}.tls_certificate"), format!("{path}.tls_key"));
            pair_problems(document, errors, &certificate, &key);
            None
        }
    }
}

fn pair_problems(
    document: &mut Document<'_>,
    errors: Vec<PairError>,
    certificate: &str,
    key: &str,
) {
    for error in errors {
        match error {
            PairError::Certificate(message) => document.problem(certificate, message),
            PairError::Key(message) => document.problem(key, message),
        }
    }
}
