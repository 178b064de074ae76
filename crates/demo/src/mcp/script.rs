//! What the agent's client asks of the server, and what it must get.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::VERSION;
use crate::ask::{Answered, Client, at};
use crate::stage::Stage;
use crate::web::done;
use crate::{Check, DemoError, Event, Narrator, Played, data};

/// How long the token is good for.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

struct Agent<'a> {
    client: Client,
    /// Messages so far that want an answer.
    asked: u64,
    narrator: &'a mut dyn Narrator,
    played: Played,
}

pub(crate) async fn play(stage: &Stage, narrator: &mut dyn Narrator) -> Result<Played, DemoError> {
    narrator.tell(&Event::Part { title: "The agent works, for alice" });
    let client = Client::new(stage.port, stage.agent_token(TOKEN_LIFETIME)?)?;
    let secrets = data::customers().into_iter().flat_map(|c| [c.card, c.email, c.phone]);
    let played =
        Played { noun: "message", done, statements: Vec::new(), secrets: secrets.collect() };
    let mut agent = Agent { client, asked: 0, narrator, played };
    agent.works().await?;
    agent.is_denied().await?;
    agent.narrator.tell(&Event::Part { title: "The server defines a tool anew" });
    agent.is_lied_to().await?;
    let Agent { narrator, played, .. } = agent;
    narrator.tell(&Event::Part { title: "The agent comes back with a token that expired" });
    let client = Client::new(stage.port, stage.expired_token()?)?;
    narrator.tell(&Event::Sent { sql: "tools/list", values: &[] });
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let answered = client.ask(Method::POST, "/mcp", Some(message)).await?;
    narrator.tell(&Event::Answered(&answered));
    narrator.check(Check {
        name: "an expired token opens no session: 401".into(),
        held: answered.status == 401 && answered.body.contains("expired"),
    });
    Ok(played)
}

impl Agent<'_> {
    async fn works(&mut self) -> Result<(), DemoError> {
        let client = json!({"name": "agent", "version": "1"});
        let hello = json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": client});
        let welcome = self.ask("initialize", hello, true).await?;
        self.check(
            "a token as bearer lets the agent's client in",
            at(&welcome, "/result/protocolVersion") == VERSION,
        );
        self.tell("notifications/initialized").await?;
        let listed = self.ask("tools/list", Value::Null, true).await?;
        let shown = names(&listed);
        self.check(
            "it sees the tools that it may call, and no others",
            shown == ["find_customer", "refund", "exchange_rate"],
        );
        let found = self.call("find_customer", json!({"id": 3}), true).await?;
        let text = at(&found, "/result/content/0/text").as_str().unwrap_or_default().to_owned();
        let clear = self.played.secrets.iter().any(|secret| text.contains(secret.as_str()));
        self.check(
            "card, e-mail and telephone number are masked in the result",
            text.contains("<EMAIL_ADDRESS>") && !clear,
        );
        let refunded = self.call("refund", json!({"id": 3, "cents": 1250}), true).await?;
        self.check("a refund within its limit is made", at(&refunded, "/result").is_object());
        Ok(())
    }

    async fn is_denied(&mut self) -> Result<(), DemoError> {
        let denied = self.call("refund", json!({"id": 3, "cents": 6400}), false).await?;
        self.denied(&denied, "a refund beyond it", "small-refunds");
        let denied = self.call("delete_customer", json!({"id": 3}), false).await?;
        self.denied(&denied, "a tool that it was not shown", "agents-delete-nothing");
        Ok(())
    }

    async fn is_lied_to(&mut self) -> Result<(), DemoError> {
        let money = json!({"from": "EUR", "to": "USD"});
        let rate = self.call("exchange_rate", money.clone(), true).await?;
        self.check("the tool works as it was defined", at(&rate, "/result").is_object());
        let listed = self.ask("tools/list", Value::Null, true).await?;
        self.check(
            "changed behind the client's back, it is not shown any more",
            names(&listed) == ["find_customer", "refund"],
        );
        let denied = self.call("exchange_rate", money, false).await?;
        self.denied(&denied, "and not called: it", "changed-definition");
        Ok(())
    }

    async fn call(&mut self, tool: &str, with: Value, runs: bool) -> Result<Value, DemoError> {
        let params = json!({"name": tool, "arguments": with});
        self.ask("tools/call", params, runs).await
    }

    /// Sends a request. `runs`: whether it is expected to reach the server.
    async fn ask(&mut self, method: &str, params: Value, runs: bool) -> Result<Value, DemoError> {
        let tool = at(&params, "/name").as_str().map(|name| format!(" {name}")).unwrap_or_default();
        let with = params.get("arguments").map(|it| format!("  {it}")).unwrap_or_default();
        self.narrator.tell(&Event::Sent { sql: &format!("{method}{tool}{with}"), values: &[] });
        self.asked += 1;
        let mut message = json!({"jsonrpc": "2.0", "id": self.asked, "method": method});
        if let (Some(fields), false) = (message.as_object_mut(), params.is_null()) {
            fields.insert("params".to_owned(), params);
        }
        self.played.statements.push((format!("{method}{tool}"), runs));
        let answered = self.client.ask(Method::POST, "/mcp", Some(message)).await?;
        self.narrator.tell(&Event::Answered(&answered));
        Ok(answered.json())
    }

    async fn tell(&mut self, method: &str) -> Result<(), DemoError> {
        self.narrator.tell(&Event::Sent { sql: method, values: &[] });
        self.played.statements.push((method.to_owned(), true));
        let message = json!({"jsonrpc": "2.0", "method": method});
        let answered: Answered = self.client.ask(Method::POST, "/mcp", Some(message)).await?;
        self.check("a notification is taken", answered.status == 202);
        Ok(())
    }

    fn denied(&mut self, answer: &Value, what: &str, rule: &str) {
        let held = at(answer, "/error/data/rule") == rule;
        self.check(&format!("{what} is denied by {rule}, in words for a model"), held);
    }

    fn check(&mut self, name: &str, held: bool) {
        self.narrator.check(Check { name: name.to_owned(), held });
    }
}

/// The names of the tools that a list has.
fn names(listed: &Value) -> Vec<&str> {
    let tools = at(listed, "/result/tools").as_array().into_iter().flatten();
    tools.filter_map(|it| at(it, "/name").as_str()).collect()
}
