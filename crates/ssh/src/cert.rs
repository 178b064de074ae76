//! Certificates: what one of a client's must be like, and how ours are made. No I/O.
//!
//! russh has checked that a certificate is signed by the authority it names itself, and that the
//! client holds its key. Whether that authority is anybody, and everything else, is checked here.

use std::net::IpAddr;
use std::time::Duration;

use identity::Vouched;
use russh::keys::ssh_key::certificate::Builder;
use russh::keys::{Certificate, HashAlg};

use crate::keys::{ALGORITHMS, KeyError, PublicKey, SecretKey};

/// The critical option that carries whom a certificate of ours was issued to, as JSON. It is
/// critical, so that a server which trusts our key by mistake does not let anybody in by it.
pub(crate) const VOUCHED_OPTION: &str = "principal@greffier";
/// The principal of a certificate that serves for all targets. No user name can be this one.
pub(crate) const ANY_TARGET: &str = "any-target@greffier";
/// The longest value of [`VOUCHED_OPTION`], in bytes.
const MAX_VOUCHED: usize = 16 * 1024;
/// Most principals of one certificate.
pub(crate) const MAX_PRINCIPALS: usize = 16;
/// The longest that a certificate of a client may last.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// A certificate is good this long before it was made: clocks differ.
pub(crate) const SKEW: Duration = Duration::from_secs(60);

/// Who trusts whom, when, and where the client is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked<'a> {
    /// The keys whose signatures count.
    pub(crate) authorities: &'a [PublicKey],
    /// Seconds since 1970 UTC.
    pub(crate) now: u64,
    /// The user name that the client asks for, whole.
    pub(crate) user: &'a str,
    /// The client's address.
    pub(crate) peer: IpAddr,
}

/// What a certificate that was believed says.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) vouched: Vouched,
    pub(crate) serial: u64,
    /// Of the certified key.
    pub(crate) fingerprint: String,
}

/// Why a certificate is not believed. The client's fault, all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertError {
    #[error("the certificate is not signed by an authority that counts here")]
    Authority,
    #[error("the certificate's signature is not good")]
    Signature,
    #[error("the certificate is a host's, not a user's")]
    NotAUser,
    #[error("keys of this type are not used")]
    Algorithm,
    #[error("the certificate is not good yet; a clock is wrong")]
    NotYet,
    #[error("the certificate has expired; get a new one with `greffier ssh-cert`")]
    Expired,
    #[error("the certificate lasts longer than 15 minutes")]
    TooLong,
    #[error("the certificate is not for this user name")]
    Principal,
    #[error("a principal of the certificate is not one plain name")]
    OddPrincipal,
    #[error("the certificate asks for {0:?}, which is not done here")]
    Option(String),
    #[error("the certificate does not say whom it was issued to")]
    Unvouched,
    #[error("the certificate does not serve from this address")]
    Address,
}

impl CertError {
    /// A stable word for records.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            CertError::Authority => "certificate_authority",
            CertError::Signature => "certificate_signature",
            CertError::NotAUser => "certificate_type",
            CertError::Algorithm => "certificate_algorithm",
            CertError::NotYet => "certificate_not_yet_valid",
            CertError::Expired => "certificate_expired",
            CertError::TooLong => "certificate_lifetime",
            CertError::Principal | CertError::OddPrincipal => "certificate_principal",
            CertError::Option(_) => "certificate_option",
            CertError::Unvouched => "certificate_unvouched",
            CertError::Address => "certificate_address",
        }
    }
}

/// Whether the authority that a certificate names is one of these. Proves nothing: a signature may
/// be missing. For refusing a stranger's certificate before the client signs for it.
pub(crate) fn names_authority(certificate: &Certificate, authorities: &[PublicKey]) -> bool {
    authorities.iter().any(|key| key.is(certificate.signature_key()))
}

/// Checks a user's certificate; the client's hold of its key is russh's matter.
pub(crate) fn check(cert: &Certificate, with: Checked<'_>) -> Result<Presented, CertError> {
    if !names_authority(cert, with.authorities) {
        return Err(CertError::Authority);
    }
    cert.verify_signature().map_err(|_| CertError::Signature)?;
    if !cert.cert_type().is_user() {
        return Err(CertError::NotAUser);
    }
    if !ALGORITHMS.contains(&cert.public_key().algorithm()) {
        return Err(CertError::Algorithm);
    }
    times(cert, with.now)?;
    principals(cert, with.user)?;
    let vouched = options(cert, with.peer)?;
    if vouched.until() <= with.now {
        return Err(CertError::Expired);
    }
    let fingerprint = cert.public_key().fingerprint(HashAlg::Sha256).to_string();
    Ok(Presented { vouched, serial: cert.serial(), fingerprint })
}

fn times(cert: &Certificate, now: u64) -> Result<(), CertError> {
    let (after, before) = (cert.valid_after(), cert.valid_before());
    if now < after {
        return Err(CertError::NotYet);
    }
    if now >= before {
        return Err(CertError::Expired);
    }
    // "For ever" and "since ever" are the largest and the smallest number.
    if before.saturating_sub(after) > (MAX_LIFETIME + SKEW).as_secs() {
        return Err(CertError::TooLong);
    }
    Ok(())
}

/// No principal at all would be a certificate for everybody, to OpenSSH at least.
fn principals(cert: &Certificate, user: &str) -> Result<(), CertError> {
    let principals = cert.valid_principals();
    if principals.len() > MAX_PRINCIPALS {
        return Err(CertError::OddPrincipal);
    }
    // A comma or a star may mean more to somebody else who reads it.
    let plain = |name: &String| {
        let odd = |b: u8| !(b.is_ascii_alphanumeric() || b"+-._@".contains(&b));
        !name.is_empty() && !name.bytes().any(odd)
    };
    if !principals.iter().all(plain) {
        return Err(CertError::OddPrincipal);
    }
    if principals.iter().any(|name| name == user || name == ANY_TARGET) {
        return Ok(());
    }
    Err(CertError::Principal)
}

fn options(cert: &Certificate, peer: IpAddr) -> Result<Vouched, CertError> {
    let mut vouched = None;
    for (name, value) in cert.critical_options().iter() {
        match name.as_str() {
            VOUCHED_OPTION if value.len() <= MAX_VOUCHED => {
                let read = serde_json::from_str(value).map_err(|_| CertError::Unvouched)?;
                vouched = Some(read);
            }
            VOUCHED_OPTION => return Err(CertError::Unvouched),
            "source-address" if from_one_of(value, peer) => {}
            "source-address" => return Err(CertError::Address),
            // Also `force-command`: what a certificate of ours may run is for the rules to say.
            _ => return Err(CertError::Option(name.chars().take(64).collect())),
        }
    }
    vouched.ok_or(CertError::Unvouched)
}

/// Whether an address is in a list like `10.0.0.0/8,2001:db8::/32,192.0.2.7`. What can't be read
/// in it matches nothing.
fn from_one_of(list: &str, peer: IpAddr) -> bool {
    list.split(',').any(|network| is_in(network, peer))
}

fn is_in(network: &str, peer: IpAddr) -> bool {
    let (address, bits) = match network.split_once('/') {
        Some((address, bits)) => (address, bits.parse::<u32>().ok()),
        None => (network, Some(u32::MAX)),
    };
    let (Ok(address), Some(bits)) = (address.parse::<IpAddr>(), bits) else { return false };
    let same = |a: u128, b: u128, width: u32| {
        let bits = if bits == u32::MAX { width } else { bits };
        bits <= width && (a ^ b).checked_shr(width - bits).unwrap_or(0) == 0
    };
    match (address, peer.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// What a certificate for a client says.
pub(crate) struct ForUser<'a> {
    pub(crate) key: &'a PublicKey,
    pub(crate) principals: &'a [&'a str],
    pub(crate) vouched: &'a Vouched,
    pub(crate) serial: u64,
    /// Seconds since 1970 UTC.
    pub(crate) now: u64,
}

/// Makes a certificate for a client. It ends when what it carries does.
pub(crate) fn mint_user(
    authority: &SecretKey,
    what: &ForUser<'_>,
) -> Result<Certificate, KeyError> {
    let carried = serde_json::to_string(what.vouched).map_err(unreadable)?;
    let mut builder = builder(what.key, what.now, what.vouched.until())?;
    builder.serial(what.serial).map_err(unreadable)?;
    builder.key_id(what.vouched.principal.to_string()).map_err(unreadable)?;
    for principal in what.principals {
        builder.valid_principal(*principal).map_err(unreadable)?;
    }
    builder.critical_option(VOUCHED_OPTION, carried).map_err(unreadable)?;
    builder.extension("permit-pty", "").map_err(unreadable)?;
    builder.sign(&*authority.0).map_err(unreadable)
}

/// Makes a certificate that logs greffier in to a target, for one session.
pub(crate) fn mint_upstream(
    authority: &SecretKey,
    key: &PublicKey,
    login: &str,
    session: &str,
    now: u64,
    lifetime: Duration,
) -> Result<Certificate, KeyError> {
    let mut builder = builder(key, now, now.saturating_add(lifetime.as_secs()))?;
    builder.key_id(session).map_err(unreadable)?;
    builder.valid_principal(login).map_err(unreadable)?;
    // What a session may do is decided here and forbidden there by the target's own configuration.
    for extension in
        ["permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty"]
    {
        builder.extension(extension, "").map_err(unreadable)?;
    }
    builder.sign(&*authority.0).map_err(unreadable)
}

fn builder(key: &PublicKey, now: u64, until: u64) -> Result<Builder, KeyError> {
    let mut nonce = vec![0; Builder::RECOMMENDED_NONCE_SIZE];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| KeyError::NoRandom)?;
    let after = now.saturating_sub(SKEW.as_secs());
    let mut builder =
        Builder::new(nonce, key.0.key_data().clone(), after, until).map_err(unreadable)?;
    builder.cert_type(russh::keys::ssh_key::certificate::CertType::User).map_err(unreadable)?;
    Ok(builder)
}

fn unreadable(error: impl std::fmt::Display) -> KeyError {
    KeyError::Unreadable(error.to_string())
}

/// Whether a host's certificate is good for this host name.
pub(crate) fn is_host(cert: &Certificate, authorities: &[PublicKey], host: &str, now: u64) -> bool {
    names_authority(cert, authorities)
        && cert.verify_signature().is_ok()
        && cert.cert_type().is_host()
        && ALGORITHMS.contains(&cert.public_key().algorithm())
        && cert.valid_after() <= now
        && now < cert.valid_before()
        // No principal at all would be a certificate for every host.
        && cert.valid_principals().iter().any(|name| name == host)
        && cert.critical_options().is_empty()
}

/// All that [`check`] reads behind the signature, which a fuzzer can't make, and `source-address`
/// apart.
pub(crate) fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let peer = IpAddr::from([192, 0, 2, 7]);
    if let Ok(cert) = Certificate::from_openssh(&text) {
        let said = [
            times(&cert, 1_800_000_000).err(),
            principals(&cert, "root+web1").err(),
            options(&cert, peer).err(),
        ];
        drop(said);
    }
    for peer in [peer, IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])] {
        let _ = from_one_of(&text, peer);
    }
    let _: Result<Vouched, _> = serde_json::from_str(&text);
}

#[cfg(test)]
mod tests;
