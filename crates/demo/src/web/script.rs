//! What the agent asks of the service, and what it must get.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::done;
use crate::ask::{Answered, Client, at};
use crate::data;
use crate::stage::Stage;
use crate::{Check, DemoError, Event, Narrator, Played};

/// How long the token is good for.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
/// The customer who is looked at.
const CUSTOMER: u32 = 3;

struct Agent<'a> {
    client: Client,
    narrator: &'a mut dyn Narrator,
    played: Played,
}

pub(crate) async fn play(stage: &Stage, narrator: &mut dyn Narrator) -> Result<Played, DemoError> {
    narrator.tell(&Event::Part { title: "The agent works, for alice" });
    let client = Client::new(stage.port, stage.agent_token(TOKEN_LIFETIME)?)?;
    let secrets = data::customers().into_iter().flat_map(|c| [c.card, c.email, c.phone]);
    let (noun, statements, secrets) = ("request", Vec::new(), secrets.collect());
    let mut agent = Agent { client, narrator, played: Played { noun, done, statements, secrets } };
    agent.works().await?;
    agent.is_denied().await?;
    let Agent { narrator, played, .. } = agent;
    narrator.tell(&Event::Part { title: "It comes back with a token that expired" });
    let client = Client::new(stage.port, stage.expired_token()?)?;
    narrator.tell(&Event::Sent { sql: "GET /customers/3", values: &[] });
    let answered = client.ask(Method::GET, "/customers/3", None).await?;
    narrator.tell(&Event::Answered(&answered));
    narrator.check(Check {
        name: "an expired token opens no session: 401".into(),
        held: answered.status == 401 && answered.body.contains("expired"),
    });
    Ok(played)
}

impl Agent<'_> {
    async fn works(&mut self) -> Result<(), DemoError> {
        let whoami = self.ask(Method::GET, "/whoami", None, true).await?;
        self.check("a token as bearer lets the agent in", whoami.status == 200);
        self.check(
            "the service is told who asks, for whom, and gets a key of its own",
            whoami.json() == json!({"caller": "invoice-agent", "for": "alice", "key": "mine"}),
        );
        let customers = data::customers();
        let of_interest = customers.iter().find(|it| it.id == CUSTOMER);
        let customer =
            of_interest.ok_or_else(|| DemoError::Settings("there are no customers".into()))?;
        let shown = self.ask(Method::GET, "/customers/3", None, true).await?;
        let clear = self.played.secrets.iter().any(|secret| shown.body.contains(secret.as_str()));
        let last_digits: String = customer.card.chars().skip(15).collect();
        let shown_json = shown.json();
        let card = at(&shown_json, "/card").as_str().is_some_and(|it| it.ends_with(&last_digits));
        self.check(
            "card, e-mail and telephone number are masked, and it is JSON still",
            *at(&shown_json, "/name") == customer.name && card && !clear,
        );
        let order = json!({"customer": CUSTOMER, "item": "ink, black", "cents": 1250});
        let ordered = self.ask(Method::POST, "/orders", Some(order), true).await?;
        self.check("an order within its limit is made", ordered.status == 201);
        Ok(())
    }

    async fn is_denied(&mut self) -> Result<(), DemoError> {
        let order = json!({"customer": CUSTOMER, "item": "reading lamp", "cents": 6400});
        let denied = self.ask(Method::POST, "/orders", Some(order), false).await?;
        self.denied(&denied, "an order beyond it is denied by", "small-orders");
        let denied = self.ask(Method::DELETE, "/customers/3", None, false).await?;
        self.denied(&denied, "DELETE is denied by", "agents-delete-nothing");
        for path in ["/admin/keys", "//admin;x=1/keys"] {
            let denied = self.ask(Method::GET, path, None, false).await?;
            self.denied(&denied, &format!("{path} is denied by"), "nobody-administers");
        }
        let left = self.ask(Method::GET, "/orders", None, true).await?;
        let one = left.json().as_array().is_some_and(|all| all.len() == 1);
        self.check("one order is there, and the agent works on", one);
        Ok(())
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
        runs: bool,
    ) -> Result<Answered, DemoError> {
        let line = format!("{method} {path}");
        let shown = body.as_ref().map_or_else(|| line.clone(), |body| format!("{line}  {body}"));
        self.narrator.tell(&Event::Sent { sql: &shown, values: &[] });
        let answered = self.client.ask(method, path, body).await?;
        self.narrator.tell(&Event::Answered(&answered));
        self.played.statements.push((line, runs));
        Ok(answered)
    }

    fn denied(&mut self, answered: &Answered, what: &str, rule: &str) {
        let held = answered.status == 403 && at(&answered.json(), "/rule") == rule;
        self.check(&format!("{what} {rule}: 403"), held);
    }

    fn check(&mut self, name: &str, held: bool) {
        self.narrator.check(Check { name: name.to_owned(), held });
    }
}
