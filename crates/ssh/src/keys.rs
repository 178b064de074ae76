//! Keys and certificates as configuration gives them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey};

/// Text that is no key, or a key of a type that is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It can't be read.
    #[error("it is no key in OpenSSH's format: {0}")]
    Unreadable(String),
    /// RSA and DSA keys are not used: the one RSA library beside OpenSSL has an unpatched flaw.
    #[error("keys of type {0} are not used; make one of type ed25519 or ecdsa")]
    Type(String),
    /// A file of known hosts that can't be read, or that names no key for the host.
    #[error("known_hosts: {0}")]
    KnownHosts(String),
    /// No random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
}

/// Types of keys that are used: for hosts, for users and for authorities.
pub(crate) const ALGORITHMS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP521 },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
];

fn is_used(algorithm: &Algorithm) -> Result<(), KeyError> {
    if ALGORITHMS.contains(algorithm) {
        return Ok(());
    }
    Err(KeyError::Type(algorithm.to_string()))
}

/// The key that a line of known hosts says is not to be believed any more.
fn revoked(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("@revoked")).then(|| words.nth(2)).flatten()
}

/// A private key. `Debug` prints its fingerprint.
#[derive(Clone)]
pub struct SecretKey(pub(crate) Arc<PrivateKey>);

impl SecretKey {
    /// Reads a private key without a passphrase, in OpenSSH's format or PKCS #8.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let key = russh::keys::decode_secret_key(text, None)
            .map_err(|error| KeyError::Unreadable(error.to_string()))?;
        is_used(&key.algorithm())?;
        Ok(SecretKey(Arc::new(key)))
    }

    /// Makes an ed25519 key.
    ///
    /// # Errors
    /// [`KeyError::NoRandom`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| KeyError::NoRandom)?;
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        Ok(SecretKey(Arc::new(key)))
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey::bare(self.0.public_key())
    }

    /// The key in OpenSSH's format. Every call is a place to review.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`] if it can't be written.
    pub fn expose(&self) -> Result<identity::Secret, KeyError> {
        let text = self.0.to_openssh(russh::keys::ssh_key::LineEnding::LF);
        let text = text.map_err(|error| KeyError::Unreadable(error.to_string()))?;
        Ok(identity::Secret::from(&**text))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public())
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(pub(crate) russh::keys::PublicKey);

impl PublicKey {
    /// Reads one line of OpenSSH's format, `ssh-ed25519 AAAA... comment`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let key = russh::keys::PublicKey::from_openssh(line.trim())
            .map_err(|error| KeyError::Unreadable(error.to_string()))?;
        is_used(&key.algorithm())?;
        Ok(PublicKey::bare(&key))
    }

    /// Without its comment: the key alone counts.
    fn bare(key: &russh::keys::PublicKey) -> Self {
        PublicKey(russh::keys::PublicKey::new(key.key_data().clone(), ""))
    }

    /// The keys that a file of OpenSSH's `known_hosts` format names for a host. One that any line
    /// of `@revoked` names is none, whatever host that line is for. Lines of `@cert-authority` are
    /// not read.
    ///
    /// # Errors
    /// [`KeyError::KnownHosts`] if it can't be read or names none that is used.
    pub fn known_hosts(file: &Path, host: &str, port: u16) -> Result<Vec<Self>, KeyError> {
        let unreadable = |error: &dyn fmt::Display| KeyError::KnownHosts(error.to_string());
        let found = russh::keys::known_hosts::known_host_keys_path(host, port, file)
            .map_err(|error| unreadable(&error))?;
        let text = match found.is_empty() {
            true => String::new(),
            false => std::fs::read_to_string(file).map_err(|error| unreadable(&error))?,
        };
        let revoked: Vec<&str> = text.lines().filter_map(revoked).collect();
        let used = found.into_iter().map(|(_, key)| PublicKey::bare(&key)).filter(|key| {
            let line = key.to_line().unwrap_or_default();
            let blob = line.split(' ').nth(1).unwrap_or_default();
            is_used(&key.0.algorithm()).is_ok() && !revoked.contains(&blob)
        });
        let keys: Vec<_> = used.collect();
        if keys.is_empty() {
            return Err(KeyError::KnownHosts(format!("no key that is used for {host}:{port}")));
        }
        Ok(keys)
    }

    /// One line of OpenSSH's format, without a comment.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`] if it can't be written.
    pub fn to_line(&self) -> Result<String, KeyError> {
        let line = self.0.to_openssh().map_err(|error| KeyError::Unreadable(error.to_string()))?;
        Ok(line.trim_end().to_owned())
    }

    /// Whether it is the same key, whatever the comments are.
    pub(crate) fn is(&self, data: &russh::keys::ssh_key::public::KeyData) -> bool {
        self.0.key_data() == data
    }
}

impl fmt::Display for PublicKey {
    /// Its fingerprint, `SHA256:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.fingerprint(HashAlg::Sha256))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A certificate that our host key shows to clients.
#[derive(Clone, Debug)]
pub struct HostCertificate(pub(crate) Certificate);

impl HostCertificate {
    /// Reads one line of OpenSSH's format, `ssh-ed25519-cert-v01@openssh.com AAAA...`.
    ///
    /// # Errors
    /// [`KeyError`]; also for a certificate of a user.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let certificate = Certificate::from_openssh(line.trim())
            .map_err(|error| KeyError::Unreadable(error.to_string()))?;
        if !certificate.cert_type().is_host() {
            return Err(KeyError::Unreadable("it is a user's certificate".into()));
        }
        Ok(HostCertificate(certificate))
    }

    /// Whether it is for this key.
    pub fn is_for(&self, key: &SecretKey) -> bool {
        key.public().is(self.0.public_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_written_and_never_shown() {
        let key = SecretKey::generate().unwrap();
        let text = key.expose().unwrap();
        let back = SecretKey::parse(text.expose()).unwrap();
        assert_eq!(back.public(), key.public());
        let line = key.public().to_line().unwrap();
        assert_eq!(PublicKey::parse(&format!("{line} a comment\n")).unwrap(), key.public());
        assert!(format!("{key:?}").starts_with("SecretKey(SHA256:"));
        assert!(SecretKey::parse("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n").is_err());
        assert!(PublicKey::parse("ssh-ed25519 AAAA").is_err());
    }

    #[test]
    fn rsa_keys_are_refused_by_name() {
        // A public key of e = 65537 and n = 2^2047 + 1: nobody's.
        let mut blob = vec![0, 0, 0, 7];
        blob.extend_from_slice(b"ssh-rsa");
        blob.extend_from_slice(&[0, 0, 0, 3, 1, 0, 1, 0, 0, 1, 1, 0, 0x80]);
        blob.extend_from_slice(&[0; 254]);
        blob.push(1);
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(blob);
        let told = PublicKey::parse(&format!("ssh-rsa {text}")).unwrap_err();
        assert!(matches!(&told, KeyError::Type(name) if name.contains("rsa")), "{told}");
    }
}
