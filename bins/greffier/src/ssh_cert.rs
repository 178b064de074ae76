//! `greffier ssh-cert`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ssh::obtain::{Proof, UserCertificate, Wish, certificate};
use ssh::{HostTrust, PublicKey, SecretKey};

use crate::error::Error;
use crate::own::{at_home, now, read, token, with_suffix, write};

/// The proxy's port, unless named.
const PORT: u16 = 2222;
/// A certificate that serves for less than this is renewed, in seconds.
const RENEW_BELOW: u64 = 60;

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
Examples:
  greffier ssh-cert --gateway gw.example.org:2222 --token-file token
  greffier ssh-cert --gateway gw.example.org:2222 --browser
  ssh -i ~/.ssh/greffier -p 2222 deploy+web1@gw.example.org

In ~/.ssh/config, so that plain `ssh deploy+web1@gw.example.org` is enough:
  Match host gw.example.org exec \"greffier ssh-cert --gateway %h:2222 --token-file ~/.token\"
      Port 2222
      IdentityFile ~/.ssh/greffier
      IdentitiesOnly yes

With `--user %r` the certificate serves for that user name alone. Where there is a proxy's command
instead, OpenSSH must wait for it, for it reads certificates right after (`-F` is of OpenBSD's nc):
      ProxyUseFdpass yes
      ProxyCommand sh -c 'greffier ssh-cert --gateway %h:%p --token-file ~/.token && nc -F %h %p'

While the certificate there serves for more than a minute, nothing is asked and nothing changes.";

/// Trades an OIDC token for an SSH certificate that serves for minutes.
///
/// Writes a key (made once, for you alone) and beside it the certificate, where OpenSSH looks for
/// it: KEY and KEY-cert.pub. The token is sent to a proxy whose host key is known, and to no other.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The proxy, HOST or HOST:PORT (port 2222 unless named).
    #[arg(long, value_name = "HOST[:PORT]")]
    gateway: String,

    /// The key to have certified.
    #[arg(long, value_name = "KEY", default_value = "~/.ssh/greffier")]
    identity: PathBuf,

    /// A user name the certificate is to serve for, LOGIN+TARGET; may be given several times.
    /// Without it: every target.
    #[arg(long = "user", value_name = "LOGIN+TARGET")]
    users: Vec<String>,

    /// The file with the token; `-` is standard input. Without it: the variable GREFFIER_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Log in with a browser instead of a token, where the proxy offers it: prints an address and
    /// a code, and waits.
    #[arg(long, conflicts_with = "token_file")]
    browser: bool,

    /// The proxy's host key, `ssh-ed25519 AAAA…`, instead of known hosts.
    #[arg(long, value_name = "LINE", conflicts_with = "known_hosts")]
    host_key: Option<String>,

    /// The file with the proxy's host key.
    #[arg(long, value_name = "FILE", default_value = "~/.ssh/known_hosts")]
    known_hosts: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let identity = at_home(&arguments.identity)?;
    let beside = with_suffix(&identity, "-cert.pub");
    let (key, is_new) = key(&identity)?;
    if !is_new && still_serves(&beside, &key, &arguments.users) {
        return Ok(ExitCode::SUCCESS);
    }
    let (host, port) = gateway(&arguments.gateway)?;
    let trust = trust(arguments, host, port)?;
    let token =
        if arguments.browser { None } else { Some(token(arguments.token_file.as_deref())?) };
    let proof = token.as_ref().map_or(Proof::Browser(&tell), Proof::Token);
    let wish = Wish { host, port, trust, proof, key: &key.public(), names: &arguments.users };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let obtained = runtime.map_err(Error::Start)?.block_on(certificate(&wish));
    let certificate = obtained.map_err(|error| Error::Certificate {
        gateway: arguments.gateway.clone(),
        why: error.to_string(),
    })?;
    let line = certificate.to_line().map_err(|error| Error::Argument(error.to_string()))?;
    if is_new {
        let text = key.expose().map_err(|error| Error::Argument(error.to_string()))?;
        write(&identity, text.expose(), 0o600)?;
        let public = key.public().to_line().map_err(|e| Error::Argument(e.to_string()))?;
        write(&with_suffix(&identity, ".pub"), &format!("{public} greffier\n"), 0o644)?;
    }
    write(&beside, &format!("{line}\n"), 0o644)?;
    let minutes = certificate.valid_before().saturating_sub(now()).div_ceil(60);
    eprintln!("{}: serves for {minutes} min", beside.display());
    Ok(ExitCode::SUCCESS)
}

/// For the person who is to log in.
fn tell(text: &str) {
    eprintln!("{text}");
}

/// The key there, or a new one that is not written yet.
fn key(path: &Path) -> Result<(SecretKey, bool), Error> {
    let wrong = |why: String| Error::Argument(format!("{}: {why}", path.display()));
    match read(path) {
        Ok(text) => SecretKey::parse(&text)
            .map(|key| (key, false))
            .map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            SecretKey::generate().map(|key| (key, true)).map_err(|error| wrong(error.to_string()))
        }
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn still_serves(path: &Path, key: &SecretKey, users: &[String]) -> bool {
    read(path).ok().and_then(|line| UserCertificate::parse(&line).ok()).is_some_and(|there| {
        there.serves(&key.public(), users) && there.valid_before() > now() + RENEW_BELOW
    })
}

fn gateway(text: &str) -> Result<(&str, u16), Error> {
    let wrong = || Error::Argument(format!("--gateway {text}: must be HOST or HOST:PORT"));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            (
                host,
                if rest.is_empty() {
                    None
                } else {
                    Some(rest.strip_prefix(':').ok_or_else(wrong)?)
                },
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Ok(PORT), str::parse).map_err(|_| wrong())?;
    if host.is_empty() || port == 0 { Err(wrong()) } else { Ok((host, port)) }
}

fn trust(arguments: &Arguments, host: &str, port: u16) -> Result<HostTrust, Error> {
    let keys = match &arguments.host_key {
        Some(line) => PublicKey::parse(line).map(|key| vec![key]),
        None => PublicKey::known_hosts(&at_home(&arguments.known_hosts)?, host, port),
    };
    match keys {
        Ok(keys) => Ok(HostTrust { keys, authorities: Vec::new() }),
        Err(error) => Err(Error::Argument(format!(
            "the host key of {host}:{port}: {error}; `ssh -p {port} {host}` asks once and keeps it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_read() {
        assert_eq!(gateway("gw").unwrap(), ("gw", 2222));
        assert_eq!(gateway("gw:22").unwrap(), ("gw", 22));
        assert_eq!(gateway("[::1]:22").unwrap(), ("::1", 22));
        assert_eq!(gateway("[::1]").unwrap(), ("::1", 2222));
        for wrong in ["", ":22", "gw:", "gw:0", "gw:x", "::1", "[::1", "[::1]22", "gw:99999"] {
            assert!(gateway(wrong).is_err(), "{wrong}");
        }
    }
}
