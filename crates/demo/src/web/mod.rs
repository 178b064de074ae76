//! The demonstration for HTTP: a small service, and the proxy in front.

mod script;
pub(crate) mod service;

use std::sync::Arc;

use gate::{Durability, RecordingLevel};
use http_proxy::mcp::Mcp;
use http_proxy::{ANSWER_STALL, ANSWER_TIMEOUT, Config, Credential, Route, Target, Upstream};
use hyper::header::{AUTHORIZATION, HeaderValue};
use trail::Exchange;

use self::service::LittleService;
use crate::stage::masking;
use crate::{DemoError, proof};

pub(crate) use self::script::play;

/// The target's name.
const TARGET: &str = "shop";

/// What agents may do.
pub(crate) const POLICY: &str = r#"
[[rule]]
name = "nobody-administers"
effect = "deny"
when = { resources = ["/admin", "/admin/*"] }
reason = "keys are handed out by the platform team"

[[rule]]
name = "agents-delete-nothing"
effect = "deny"
principals = { kind = "agent" }
when = { class = ["delete"] }
reason = "customers are deleted by a person"

[[rule]]
name = "small-orders"
effect = "deny"
principals = { kind = "agent" }
when = { operations = ["POST"], arguments = { "body.cents" = { min = 5000 } } }
reason = "orders from 50.00 on need a person"

[[rule]]
name = "agents-work"
effect = "allow"
principals = { kind = "agent", delegated = true }
when = { class = ["read", "write"] }
"#;

/// What clients and the record see of cards, mailboxes and telephone numbers.
pub(crate) const MASKING: &str = r#"
[[rule]]
name = "cards"
entity = ["CREDIT_CARD"]
client = { operator = "mask", chars_to_mask = 14 }
record = { operator = "replace" }

[[rule]]
name = "contacts"
entity = ["EMAIL_ADDRESS", "PHONE_NUMBER"]
client = { operator = "replace" }
record = { operator = "hash" }
"#;

/// What is behind the proxy.
#[derive(Debug)]
pub(crate) struct Behind {
    /// In words.
    pub(crate) words: String,
    service: LittleService,
}

impl Behind {
    pub(crate) async fn set() -> Result<Self, DemoError> {
        let service = LittleService::start().await?;
        let words = format!("embedded service, http://127.0.0.1:{}", service.port);
        Ok(Behind { words, service })
    }

    /// What the proxy in front is made of.
    pub(crate) fn proxy(&self) -> Result<Config, DemoError> {
        let mut ours = HeaderValue::from_str(&format!("Bearer {}", self.service.key))
            .map_err(DemoError::settings)?;
        ours.set_sensitive(true);
        target(TARGET, self.service.port, Credential::Field(AUTHORIZATION, ours), None)
    }

    /// How to try it, as lines for a shell.
    pub(crate) fn try_it(port: u16, token: &str) -> Vec<String> {
        let ask = format!("curl -sS -H 'Authorization: Bearer {token}' http://127.0.0.1:{port}");
        vec![format!("{ask}/customers/3"), format!("{ask}/customers/3 -X DELETE")]
    }
}

/// A proxy in front of one service.
pub(crate) fn target(
    name: &str,
    port: u16,
    credential: Credential,
    mcp: Option<Mcp>,
) -> Result<Config, DemoError> {
    let target = Target {
        gate: Arc::new(gate::Target {
            name: name.into(),
            recording: RecordingLevel::Full,
            durability: Durability::BeforeExecute,
            masking: masking(MASKING)?,
            operations: None,
        }),
        upstream: Upstream { credential, ..Upstream::plain("127.0.0.1", port) },
        route: Route::default(),
        mcp,
        assertion: None,
        kubernetes: None,
        upgrades: false,
        max_body: None,
        answer_timeout: ANSWER_TIMEOUT,
        answer_stall: ANSWER_STALL,
    };
    Ok(Config::loopback(vec![Arc::new(target)]))
}

/// A request or message of the agent for alice, and whether it was done.
pub(crate) fn done(exchange: &Exchange) -> Option<(String, bool)> {
    let text = exchange.text.clone().unwrap_or_default();
    proof::is_agents(&exchange.principal).then(|| (text, exchange.outcome_word() == "ok"))
}
