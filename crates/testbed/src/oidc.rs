//! An OIDC provider nobody here wrote: npm's `oidc-provider` on node.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::dirs::{Account, find_program, server_dir, spare_port};
use crate::process::{Server, Stop, output};
use crate::{Error, http, install};

/// How long it may take to answer; a loaded machine takes a few seconds.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long its access tokens live unless asked otherwise, in seconds.
const LIFETIME: u64 = 600;
const FOLDER: &str = "oidc-provider";
const FILES: [&str; 3] = ["package.json", "package-lock.json", "server.mjs"];
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A confidential client the provider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OidcClient {
    /// `client_id`; also the `sub` of its own tokens.
    pub id: &'static str,
    /// Its secret: a test's, known to all.
    pub secret: &'static str,
    /// The claim `principal_type` of its own tokens.
    pub kind: &'static str,
}

/// A running provider. Ended when dropped.
///
/// It knows the confidential clients [`AGENT`](Self::AGENT),
/// [`OTHER_AGENT`](Self::OTHER_AGENT), [`WORKLOAD`](Self::WORKLOAD) and
/// [`CI`](Self::CI) (client credentials and token exchange), the public
/// client `cli` (device flow), the confidential client [`WEB`](Self::WEB) (authorization code
/// with PKCE; its login pages take any password), and the people `alice` (groups dba, eng),
/// `bob` (eng) and `carol` (dba). Access tokens are RS256 `at+jwt` for the
/// audience given at start; keys are made at start and kept nowhere.
#[derive(Debug)]
pub struct OidcProvider {
    server: Server,
    port: u16,
    audience: String,
    lifetime: u64,
}

impl OidcProvider {
    /// An AI agent's client.
    pub const AGENT: OidcClient =
        OidcClient { id: "agent-7", secret: "secret-of-agent-7", kind: "agent" };
    /// Another one.
    pub const OTHER_AGENT: OidcClient =
        OidcClient { id: "agent-8", secret: "secret-of-agent-8", kind: "agent" };
    /// A service's client.
    pub const WORKLOAD: OidcClient =
        OidcClient { id: "billing", secret: "secret-of-billing", kind: "workload" };
    /// A pipeline's client.
    pub const CI: OidcClient =
        OidcClient { id: "ci-main", secret: "secret-of-ci-main", kind: "ci" };

    /// What people log in to with a browser; see [`Self::allow_redirect`].
    pub const WEB: OidcClient = OidcClient { id: "web", secret: "secret-of-web", kind: "human" };

    /// Starts a provider whose tokens are for `audience` (a resource
    /// indicator: an absolute URI, RFC 8707) and live ten minutes.
    ///
    /// # Errors
    /// [`Error::Missing`] without node 20 and npm; [`Error::Failed`] when the
    /// packages cannot be had or it does not come up.
    pub fn start(audience: &str) -> Result<Self, Error> {
        Self::start_with(audience, LIFETIME)
    }

    /// As [`Self::start`], with tokens that live `lifetime` seconds.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(audience: &str, lifetime: u64) -> Result<Self, Error> {
        let how = "install Node.js 20 or newer (apt-get install nodejs npm where it is that new)";
        for program in ["node", "npm"] {
            if find_program(program, &[]).is_none() {
                return Err(Error::missing(program, how));
            }
        }
        let recipe = install::recipe(FOLDER, &FILES)?;
        let packages = install::once(FOLDER, &recipe, |dir| {
            install::copy(FOLDER, &FILES, dir)?;
            npm_ci(dir)
        })?;
        let server = Server::new("oidc-provider", server_dir("oidc-", Account::Ours)?, Stop::Term);
        let mut provider =
            Self { server, port: spare_port()?, audience: audience.to_owned(), lifetime };
        provider.launch(&packages)?;
        Ok(provider)
    }

    fn launch(&mut self, packages: &Path) -> Result<(), Error> {
        let clients: Value = [Self::AGENT, Self::OTHER_AGENT, Self::WORKLOAD, Self::CI]
            .iter()
            .map(|c| {
                let claims = json!({ "principal_type": c.kind });
                (c.id.to_owned(), json!({ "secret": c.secret, "claims": claims }))
            })
            .collect();
        let person = |sub: &str, groups: &[&str]| {
            json!({ "groups": groups, "email": format!("{sub}@corp.example"),
                    "principal_type": "human" })
        };
        let config = json!({
            "port": self.port, "audience": self.audience, "lifetime": self.lifetime,
            "clients": clients,
            "users": {
                "alice": person("alice", &["dba", "eng"]),
                "bob": person("bob", &["eng"]),
                "carol": person("carol", &["dba"]),
            },
        });
        let mut node = Command::new("node");
        node.arg(packages.join("server.mjs")).env("CONFIG", config.to_string());
        node.env("NODE_NO_WARNINGS", "1");
        self.server.spawn(node, Account::Ours)?;
        let url = self.discovery_url();
        self.server.wait_until(START_LIMIT, |_| http::get(&url).is_ok_and(|a| a.status == 200))
    }

    /// The issuer, byte for byte as in `iss`.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The discovery document's address.
    #[must_use]
    pub fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer())
    }

    /// The audience of its access tokens.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Ends the provider and starts it again under the same issuer, with new
    /// keys: a rotation without overlap.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart_with_new_keys(&mut self) -> Result<(), Error> {
        self.server.end();
        let dir = crate::cache_dir().join(FOLDER);
        let fail = |e| Error::failed("finding the packages", e);
        self.launch(&fs::canonicalize(dir).map_err(fail)?)
    }

    /// Ends the provider: nobody answers at the issuer from now on.
    pub fn stop(&mut self) {
        self.server.end();
    }

    /// An access token of the client's own (`client_credentials`).
    ///
    /// # Errors
    /// With the provider's answer when it refuses.
    pub fn client_token(&self, client: OidcClient) -> Result<String, Error> {
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", "db:read"),
            ("resource", self.audience.as_str()),
        ];
        self.token(Some(client), &form)
    }

    /// An access token of `person`, who signs in and consents at once
    /// (RFC 8628 device flow of the public client `cli`).
    ///
    /// # Errors
    /// With the provider's answer when it refuses.
    pub fn person_token(&self, person: &str) -> Result<String, Error> {
        let scope = "openid offline_access db:read db:write";
        let form = [("client_id", "cli"), ("scope", scope), ("resource", self.audience.as_str())];
        let begun = http::post_form(&format!("{}/device/auth", self.issuer()), None, &form)?;
        let device_code = field(&begun.body, "device_code")?;
        let user_code = field(&begun.body, "user_code")?;
        self.approve_device(&user_code, person)?;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", "cli"),
            ("device_code", device_code.as_str()),
        ];
        self.token(None, &form)
    }

    /// The person's part of the device flow: signing in as `person` and
    /// consenting to what `user_code` stands for.
    ///
    /// # Errors
    /// When the code is unknown.
    pub fn approve_device(&self, user_code: &str, person: &str) -> Result<(), Error> {
        let url = format!("{}/testbed/approve?user_code={user_code}&sub={person}", self.issuer());
        let answer = http::get(&url)?;
        if answer.status == 204 { Ok(()) } else { Err(Error::failed("approving", answer.body)) }
    }

    /// Registers an address that [`Self::WEB`] may have browsers sent back to.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub fn allow_redirect(&self, uri: &str) -> Result<(), Error> {
        let url = format!("{}/testbed/redirect?uri={}", self.issuer(), http::encode(uri));
        let answer = http::get(&url)?;
        if answer.status == 204 { Ok(()) } else { Err(Error::failed("registering", answer.body)) }
    }

    /// A token of `subject_token`'s subject on whose behalf `client` acts:
    /// RFC 8693 token exchange, `act.sub` is the client. Exchanging the
    /// result again by another client nests the earlier actor.
    ///
    /// # Errors
    /// With the provider's answer when it refuses.
    pub fn delegated_token(
        &self,
        subject_token: &str,
        client: OidcClient,
    ) -> Result<String, Error> {
        let actor_token = self.client_token(client)?;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", subject_token),
            ("subject_token_type", ACCESS_TOKEN),
            ("actor_token", actor_token.as_str()),
            ("actor_token_type", ACCESS_TOKEN),
            ("scope", "db:read"),
        ];
        self.token(Some(client), &form)
    }

    fn token(&self, client: Option<OidcClient>, form: &[(&str, &str)]) -> Result<String, Error> {
        let login = client.map(|c| (c.id, c.secret));
        let answer = http::post_form(&format!("{}/token", self.issuer()), login, form)?;
        if answer.status != 200 {
            return Err(Error::failed("asking for a token", answer.body));
        }
        field(&answer.body, "access_token")
    }
}

/// Installs what the lock file in `dir` names, running no package's scripts.
pub(crate) fn npm_ci(dir: &Path) -> Result<(), Error> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(dir);
    output("npm ci", &mut npm).map(|_| ())
}

fn field(body: &str, name: &str) -> Result<String, Error> {
    let value: Option<Value> = serde_json::from_str(body).ok();
    let text = value.as_ref().and_then(|v| v.get(name)).and_then(Value::as_str);
    text.map(str::to_owned)
        .ok_or_else(|| Error::failed("asking the OIDC provider", format!("no {name} in: {body}")))
}
