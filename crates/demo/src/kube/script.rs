//! What the agent asks of the cluster, and what it must get.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_proxy::kubernetes::MASK;
use reqwest::Method;
use serde_json::{Value, json};

use super::Behind;
use crate::ask::{Answered, Client, at};
use crate::stage::Stage;
use crate::{Check, DemoError, Event, Narrator, Played, web};

/// How long the token is good for.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
const SECRET: &str = "/api/v1/namespaces/shop/secrets/db";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

struct Agent<'a> {
    client: Client,
    narrator: &'a mut dyn Narrator,
    played: Played,
}

pub(crate) async fn play(
    stage: &Stage,
    behind: &Behind,
    narrator: &mut dyn Narrator,
) -> Result<Played, DemoError> {
    narrator.tell(&Event::Part { title: "The agent works, for alice" });
    let client = Client::new(stage.port, stage.agent_token(TOKEN_LIFETIME)?)?;
    let (noun, statements, secrets) = ("call", Vec::new(), behind.secrets());
    let played = Played { noun, done: web::done, statements, secrets };
    let mut agent = Agent { client, narrator, played };
    agent.works().await?;
    agent.is_denied().await?;
    let Agent { narrator, played, .. } = agent;
    narrator.tell(&Event::Part { title: "It comes back with a token that expired" });
    let client = Client::new(stage.port, stage.expired_token()?)?;
    narrator.tell(&Event::Sent { sql: &format!("GET {SECRET}"), values: &[] });
    let answered = client.ask(Method::GET, SECRET, None).await?;
    narrator.tell(&Event::Answered(&answered));
    narrator.check(Check {
        name: "an expired token opens no session: 401, as a Status".into(),
        held: answered.status == 401 && at(&answered.json(), "/reason") == "Unauthorized",
    });
    Ok(played)
}

impl Agent<'_> {
    async fn works(&mut self) -> Result<(), DemoError> {
        let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let whoami = self.ask(Method::POST, review, Some(json!({})), true).await?;
        let user = whoami.json();
        self.check(
            "the cluster takes it for alice, whose right it is, and knows who acts for her",
            at(&user, "/status/userInfo/username") == "alice"
                && at(&user, "/status/userInfo/extra/greffier.dev~1actor/0") == "invoice-agent",
        );
        let pods = self.ask(Method::GET, "/api/v1/namespaces/shop/pods", None, true).await?;
        self.check("it sees pods", at(&pods.json(), "/items/0/metadata/name") == "web");
        let shown = self.ask(Method::GET, SECRET, None, true).await?;
        let clear = self.played.secrets.iter().any(|secret| shown.body.contains(secret.as_str()));
        let masked = shown.json();
        let value = at(&masked, "/data/password").as_str().unwrap_or_default().to_owned();
        let said = STANDARD.decode(&value).unwrap_or_default();
        self.check(
            "a Secret's value is masked, also where kubectl apply keeps it, and is base64 still",
            value == MASK && said == b"masked by greffier" && !clear,
        );
        let scaled = self.scale(3, true).await?;
        self.check("it may scale to three", at(&scaled.json(), "/spec/replicas") == 3);
        Ok(())
    }

    async fn is_denied(&mut self) -> Result<(), DemoError> {
        let denied = self.scale(30, false).await?;
        self.denied(&denied, "thirty replicas are denied by", "one-pod-is-enough");
        let written = Some(json!({"data": {"password": MASK}}));
        let denied = self.ask(Method::PATCH, SECRET, written, false).await?;
        self.denied(&denied, "what it was shown is not written back:", "kubernetes-mask");
        let pod = "/api/v1/namespaces/shop/pods/web";
        let denied = self.ask(Method::DELETE, pod, None, false).await?;
        self.denied(&denied, "DELETE is denied by", "agents-delete-nothing");
        let exec = format!("{pod}/exec?command=env&stdout=true");
        let denied = self.ask(Method::POST, &exec, None, false).await?;
        self.denied(&denied, "exec is denied by", "agents-delete-nothing");
        for path in ["/api/v1/namespaces/kube-system/secrets", "/api/v1/secrets"] {
            let denied = self.ask(Method::GET, path, None, false).await?;
            self.denied(&denied, &format!("{path} is denied by"), "nobody-in-kube-system");
        }
        let left = self.ask(Method::GET, DEPLOYMENT, None, true).await?;
        self.check("three replicas are there", at(&left.json(), "/spec/replicas") == 3);
        Ok(())
    }

    async fn scale(&mut self, replicas: u32, runs: bool) -> Result<Answered, DemoError> {
        let patch = json!({"spec": {"replicas": replicas}});
        self.ask(Method::PATCH, DEPLOYMENT, Some(patch), runs).await
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
        let status = answered.json();
        let named = at(&status, "/message").as_str().is_some_and(|it| it.contains(rule));
        let held = answered.status == 403 && at(&status, "/reason") == "Forbidden" && named;
        self.check(&format!("{what} {rule}: 403"), held);
    }

    fn check(&mut self, name: &str, held: bool) {
        self.narrator.check(Check { name: name.to_owned(), held });
    }
}
