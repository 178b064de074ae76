//! `greffier token`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use identity::{DeviceFlow, DeviceLogin, Secret};
use serde_json::{Value, json};

use crate::error::Error;
use crate::own::{now, read, token, write};

/// A kept token that serves for less than this is fetched anew, in seconds.
const RENEW_BELOW: u64 = 60;
/// How long one question to the issuer may wait.
const POLL: Duration = Duration::from_secs(5);

/// What `--help` adds at its end.
const AFTER_HELP: &str = "\
kubectl runs this by itself where a kubeconfig of `greffier kubeconfig` says so. What is printed is an
ExecCredential; with --plain it is the token alone, for curl and others.

Examples:
  greffier token --token-file ~/.token
  greffier token --issuer https://login.example.org --client-id greffier-cli
  curl -H \"Authorization: Bearer $(greffier token --plain)\" https://wiki.example.org/";

/// Where a token is from.
#[derive(Debug, Clone, Args)]
pub(crate) struct Source {
    /// The file with the token; `-` is standard input. Without it and without --issuer: the
    /// variable GREFFIER_TOKEN.
    #[arg(long, value_name = "FILE", conflicts_with = "issuer")]
    pub(crate) token_file: Option<PathBuf>,

    /// Log in with a browser at this issuer: prints an address and a code, and waits. The token is
    /// kept in your cache folder until it ends.
    #[arg(long, value_name = "URL", requires = "client_id")]
    pub(crate) issuer: Option<String>,

    /// Whom the issuer knows us as.
    #[arg(long, value_name = "ID", requires = "issuer")]
    pub(crate) client_id: Option<String>,

    /// A scope to ask the issuer for; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE", requires = "issuer")]
    pub(crate) scopes: Vec<String>,

    /// The address that the token is to be for (RFC 8707), where the issuer asks for one.
    #[arg(long, value_name = "URL", requires = "issuer")]
    pub(crate) resource: Option<String>,
}

/// Prints a token, as kubectl wants it from a credential plugin.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    from: Source,

    /// The token alone.
    #[arg(long)]
    plain: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let token = arguments.from.token()?;
    let said = match arguments.plain {
        true => token.expose().to_owned(),
        false => credential(&token).to_string(),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{said}").and_then(|()| out.flush()).map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}

impl Source {
    fn token(&self) -> Result<Secret, Error> {
        let (Some(issuer), Some(client)) = (&self.issuer, &self.client_id) else {
            return token(self.token_file.as_deref());
        };
        let kept = self.cache(issuer, client);
        if let Some(token) = kept.as_ref().and_then(|file| read(file).ok())
            && ends(&token).is_some_and(|end| end > now() + RENEW_BELOW)
        {
            return Ok(Secret::new(token));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let token = runtime.map_err(Error::Start)?.block_on(self.log_in(issuer, client))?;
        // One that does not say when it ends is not kept.
        if let (Some(file), Some(_)) = (kept, ends(token.expose()))
            && let Err(error) = write(&file, token.expose(), 0o600)
        {
            eprintln!("the token is not kept: {error}");
        }
        Ok(token)
    }

    async fn log_in(&self, issuer: &str, client: &str) -> Result<Secret, Error> {
        let failed = |why: String| Error::Login { issuer: issuer.to_owned(), why };
        let config = json!({"issuer": {"own": {
            "iss": issuer, "audiences": ["own"], "algorithms": ["ES256"], "may_mint": ["human"],
            "allow_insecure_loopback": true,
        }}});
        let config: identity::Config =
            serde_json::from_value(config).map_err(|error| failed(error.to_string()))?;
        let parameter = |it: &String| ("resource".to_owned(), it.clone());
        let flow = DeviceFlow {
            issuer: "own".into(),
            client_id: client.to_owned(),
            client_secret: None,
            scopes: self.scopes.clone(),
            parameters: self.resource.iter().map(parameter).collect::<BTreeMap<_, _>>(),
        };
        let login = DeviceLogin::new(&config, flow).map_err(|problem| failed(problem.message))?;
        let mut grant = login.begin().await.map_err(|error| failed(error.to_string()))?;
        // Standard output is kubectl's.
        match grant.verification_uri_complete() {
            Some(address) => eprintln!("Open {address} and check the code {}", grant.user_code()),
            None => {
                eprintln!("Open {} and enter {}", grant.verification_uri(), grant.user_code());
            }
        }
        loop {
            if let Some(token) =
                grant.poll(POLL).await.map_err(|error| failed(error.to_string()))?
            {
                return Ok(token);
            }
        }
    }

    /// Where the token of this issuer, client, resource and these scopes is kept.
    fn cache(&self, issuer: &str, client: &str) -> Option<PathBuf> {
        let base =
            std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|it| it.is_absolute());
        let base = base.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
        let folder = base.join("greffier");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
        let key = json!([issuer, client, self.scopes, self.resource]).to_string();
        Some(folder.join(format!(
            "token-{}",
            URL_SAFE_NO_PAD.encode(tlog::sha256(key.as_bytes()).as_bytes())
        )))
    }
}

/// `ExecCredential` of client.authentication.k8s.io/v1 (kubernetes.io, "client-go credential
/// plugins").
fn credential(token: &Secret) -> Value {
    let mut status = json!({"token": token.expose()});
    if let (Some(end), Some(status)) = (ends(token.expose()), status.as_object_mut()) {
        status.insert("expirationTimestamp".into(), moment(end).into());
    }
    json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status,
    })
}

/// When a token that is a JWT says that it ends, in seconds since 1970. Nothing of it is checked:
/// that is for whom it is shown to.
fn ends(token: &str) -> Option<u64> {
    let payload = URL_SAFE_NO_PAD.decode(token.trim().split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Value>(&payload).ok()?.get("exp")?.as_u64()
}

/// RFC 3339, UTC, from days since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
fn moment(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_as_others_write_them() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(moment(seconds), wanted);
        }
    }

    #[test]
    fn a_credential_says_when_its_token_ends() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"exp":951782400}"#);
        let said = credential(&Secret::new(format!("e30.{payload}.x")));
        assert_eq!(said["status"]["expirationTimestamp"], "2000-02-29T00:00:00Z");
        let opaque = credential(&Secret::new("opaque".into()));
        assert_eq!(opaque["status"], json!({"token": "opaque"}));
    }
}
