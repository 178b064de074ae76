//! The demonstration for Kubernetes: a minimal API server, and the proxy in front.

mod cluster;
mod script;

use std::sync::Arc;

use gate::{Durability, RecordingLevel};
use http_proxy::kubernetes::{Kubernetes, Masks};
use http_proxy::{ANSWER_STALL, ANSWER_TIMEOUT, Config, Credential, Route, Target, Upstream};
use hyper::header::{AUTHORIZATION, HeaderValue};
use masking::RuleConfig;

use self::cluster::LittleCluster;
use crate::DemoError;

pub(crate) use self::script::play;

/// The target's name.
const TARGET: &str = "cluster";

/// What agents may do.
pub(crate) const POLICY: &str = r#"
[[rule]]
name = "nobody-in-kube-system"
effect = "deny"
when = { resources = ["kube-system/*"] }
reason = "ask the platform team"

[[rule]]
name = "agents-delete-nothing"
effect = "deny"
principals = { kind = "agent" }
when = { class = ["delete", "exec"] }
reason = "a person does that"

[[rule]]
name = "one-pod-is-enough"
effect = "deny"
principals = { kind = "agent" }
when = { resources = ["*/deployments.apps*"], arguments = { "object.spec.replicas" = { min = 4 } } }
reason = "from four replicas on it needs a person"

[[rule]]
name = "agents-work"
effect = "allow"
principals = { kind = "agent", delegated = true }
when = { class = ["discovery", "read", "write"] }
"#;

/// What is behind the proxy.
#[derive(Debug)]
pub(crate) struct Behind {
    /// In words.
    pub(crate) words: String,
    cluster: LittleCluster,
}

impl Behind {
    pub(crate) async fn set() -> Result<Self, DemoError> {
        let cluster = LittleCluster::start().await?;
        let words = format!("embedded API server, http://127.0.0.1:{}", cluster.port);
        Ok(Behind { words, cluster })
    }

    /// What the proxy in front is made of.
    pub(crate) fn proxy(&self) -> Result<Config, DemoError> {
        let mut ours = HeaderValue::from_str(&format!("Bearer {}", self.cluster.key))
            .map_err(DemoError::settings)?;
        ours.set_sensitive(true);
        let credential = Credential::Field(AUTHORIZATION, ours);
        let kubernetes = Kubernetes::new(Masks::new(false, rules)?);
        let target = Target {
            gate: Arc::new(gate::Target {
                name: TARGET.into(),
                recording: RecordingLevel::Full,
                durability: Durability::BeforeExecute,
                masking: rules(Vec::new())?,
                operations: None,
            }),
            upstream: Upstream { credential, ..Upstream::plain("127.0.0.1", self.cluster.port) },
            route: Route::default(),
            mcp: None,
            kubernetes: Some(kubernetes),
            assertion: None,
            upgrades: true,
            max_body: None,
            answer_timeout: ANSWER_TIMEOUT,
            answer_stall: ANSWER_STALL,
        };
        Ok(Config::loopback(vec![Arc::new(target)]))
    }

    /// How to try it, as lines for a shell. Not with kubectl: without TLS it sends no token.
    pub(crate) fn try_it(port: u16, token: &str) -> Vec<String> {
        let ask = format!("curl -sS -H 'Authorization: Bearer {token}' http://127.0.0.1:{port}");
        let shop = "/api/v1/namespaces/shop";
        vec![format!("{ask}{shop}/secrets/db"), format!("{ask}{shop}/pods/web -X DELETE")]
    }
}

fn rules(rules: Vec<RuleConfig>) -> Result<Arc<masking::Policy>, DemoError> {
    let config = masking::Config { rules, ..masking::Config::default() };
    let compiled = masking::Policy::compile(&config, None);
    compiled.map(Arc::new).map_err(|problems| DemoError::Settings(format!("{problems:?}")))
}
