//! Logins by browser: with a provider nobody here wrote, and with an issuer that lies.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::time::{Duration, SystemTime};

use dev_issuer::{Claims, DevIssuer, RawAnswer};
use identity::{
    Config, DeviceError, DeviceFlow, DeviceGrant, DeviceLogin, Fault, Secret, Verifier,
};
use testbed::{OidcProvider, require};

const AUDIENCE: &str = "https://greffier.test";
const SECOND: Duration = Duration::from_secs(1);

fn config(iss: &str) -> Config {
    let text = format!(
        r#"
        [issuer.main]
        iss = "{iss}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["ES256", "RS256"]
        may_mint = ["human"]
        allow_insecure_loopback = true
        [[issuer.main.rule]]
        name = "people"
        kind = "human"
        groups = "groups"
        "#
    );
    toml::from_str(&text).unwrap()
}

fn flow() -> DeviceFlow {
    DeviceFlow {
        issuer: "main".into(),
        client_id: "cli".into(),
        scopes: vec!["openid".into(), "db:read".into()],
        parameters: [("resource".to_owned(), AUDIENCE.to_owned())].into(),
        ..DeviceFlow::default()
    }
}

fn login(issuer: &DevIssuer) -> DeviceLogin {
    DeviceLogin::new(&config(issuer.iss()), flow()).unwrap()
}

/// Asks until there is an end of it.
async fn outcome(mut grant: DeviceGrant) -> Result<Secret, DeviceError> {
    loop {
        if let Some(token) = grant.poll(10 * SECOND).await? {
            return Ok(token);
        }
    }
}

/// The outcome after these answers of the token endpoint.
async fn after(answers: impl IntoIterator<Item = RawAnswer>) -> Result<Secret, DeviceError> {
    let issuer = DevIssuer::start().await.unwrap();
    let grant = login(&issuer).begin().await.unwrap();
    for answer in answers {
        issuer.answer_device_token(answer);
    }
    outcome(grant).await
}

/// How beginning ends if the device endpoint answers so.
async fn begun(answer: RawAnswer) -> DeviceError {
    let issuer = DevIssuer::start().await.unwrap();
    issuer.answer_device(answer);
    login(&issuer).begin().await.unwrap_err()
}

#[tokio::test]
async fn a_real_provider_s_person_logs_in() {
    let Some(provider) = require(OidcProvider::start(AUDIENCE)) else { return };
    let config = config(&provider.issuer());
    let fetcher = identity::HttpFetcher::new(&config).unwrap();
    let verifier = Verifier::new(&config, fetcher).unwrap();
    let login = DeviceLogin::new(&config, flow()).unwrap();
    assert_eq!(login.iss(), provider.issuer());
    let mut grant = login.begin().await.unwrap();
    assert!(grant.verification_uri().starts_with(&provider.issuer()));
    let complete = grant.verification_uri_complete().unwrap();
    assert!(complete.contains(grant.user_code()), "{complete}");
    assert!(grant.poll(6 * SECOND).await.unwrap().is_none(), "nobody has said yes yet");
    provider.approve_device(grant.user_code(), "alice").unwrap();
    let token = outcome(grant).await.unwrap();
    let verified = verifier.authenticate(&token, SystemTime::now()).await.unwrap();
    assert_eq!(verified.principal.subject, "alice");
    assert!(verified.principal.groups.contains("dba"));
}

#[tokio::test]
async fn yes_and_no_in_the_browser() {
    let issuer = DevIssuer::start().await.unwrap();
    let login = login(&issuer);
    let yes = login.begin().await.unwrap();
    let no = login.begin().await.unwrap();
    assert_ne!(yes.user_code(), no.user_code());
    assert!(!format!("{yes:?} {login:?}").contains(yes.user_code()));
    assert!(issuer.approve_device(yes.user_code(), Claims::new("alice").audience(AUDIENCE)));
    assert!(issuer.deny_device(no.user_code()));
    let (yes, no) = tokio::join!(outcome(yes), outcome(no));
    assert_eq!(yes.unwrap().expose().split('.').count(), 3);
    let denied = no.unwrap_err();
    assert_eq!((denied, denied.fault()), (DeviceError::Denied, Fault::Client));
}

#[tokio::test]
async fn asked_to_slow_down_it_does() {
    let issuer = DevIssuer::start().await.unwrap();
    let mut grant = login(&issuer).begin().await.unwrap();
    issuer.answer_device_token(RawAnswer::error("slow_down"));
    let first = grant.due();
    assert!(grant.poll(10 * SECOND).await.unwrap().is_none());
    let gap = grant.due() - first;
    assert!(gap >= 6 * SECOND, "{gap:?}");
    // A round that ends before the next question is due asks nothing.
    let asked = issuer.fetches().token;
    assert!(grant.poll(Duration::from_millis(10)).await.unwrap().is_none());
    assert_eq!(issuer.fetches().token, asked);
}

#[tokio::test]
async fn an_interval_of_nothing_is_a_second() {
    let issuer = DevIssuer::start().await.unwrap();
    issuer.set_device_interval(0);
    let begun = tokio::time::Instant::now();
    let grant = login(&issuer).begin().await.unwrap();
    assert!(grant.due() >= begun + SECOND);
}

#[tokio::test]
async fn errors_say_whose_fault_it_is() {
    let error = RawAnswer::error;
    assert_eq!(after([error("expired_token")]).await.unwrap_err(), DeviceError::Expired);
    assert_eq!(after([error("access_denied")]).await.unwrap_err(), DeviceError::Denied);
    let client = after([error("invalid_client")]).await.unwrap_err();
    assert_eq!((client, client.fault()), (DeviceError::Client, Fault::Operator));
    let strange = after([error("<script>")]).await.unwrap_err();
    assert_eq!((strange.code(), strange.fault()), ("device_answer", Fault::Issuer));
    assert!(!strange.to_string().contains("script"), "the issuer's words are not repeated");
    assert_eq!(begun(error("unauthorized_client")).await, DeviceError::Client);
}

#[tokio::test]
async fn answers_that_are_no_answers_are_refused() {
    let answer = |error: DeviceError| matches!(error, DeviceError::Answer(_));
    let big = format!("{{\"access_token\":\"{}\"}}", "x".repeat(100_000));
    let html = RawAnswer { status: 200, content_type: "text/html", body: b"{}".to_vec() };
    let json = |text: &str| RawAnswer::json(200, text);
    for raw in [
        json(&big),
        html.clone(),
        json("[]"),
        json("{"),
        json(r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#),
        json(r#"{"access_token":"a","token_type":"DPoP"}"#),
        json(r#"{"access_token":7,"token_type":"Bearer"}"#),
        json(r#"{"token_type":"Bearer"}"#),
        RawAnswer::json(302, "{}"),
    ] {
        let what = raw.clone();
        assert!(answer(after([raw]).await.unwrap_err()), "{what:?}");
    }
    let with = |name: &str, value: serde_json::Value| {
        let mut body = serde_json::json!({
            "device_code": "d", "user_code": "U", "expires_in": 60,
            "verification_uri": "https://login.example/device",
        });
        body[name] = value;
        json(&body.to_string())
    };
    for raw in [
        json(&big),
        html,
        with("device_code", "".into()),
        with("device_code", "x".repeat(5000).into()),
        with("user_code", "A\u{1b}[2J".into()),
        with("user_code", "A\nB".into()),
        with("user_code", "x".repeat(65).into()),
        with("verification_uri", "javascript:alert(1)".into()),
        with("verification_uri", "http://elsewhere.example/".into()),
        with("verification_uri", "https://a.example/\u{1b}]0;x\u{7}".into()),
        with("expires_in", "soon".into()),
        with("expires_in", (-1).into()),
    ] {
        let what = format!("{raw:?}");
        assert!(answer(begun(raw).await), "{what}");
    }
}

#[tokio::test]
async fn a_code_that_ends_before_the_next_question_ends_the_login() {
    let issuer = DevIssuer::start().await.unwrap();
    let body = serde_json::json!({
        "device_code": "d", "user_code": "U", "expires_in": 1, "interval": 3600,
        "verification_uri": "https://login.example/device",
    });
    issuer.answer_device(RawAnswer::json(200, &body.to_string()));
    let grant = login(&issuer).begin().await.unwrap();
    assert_eq!(outcome(grant).await.unwrap_err(), DeviceError::Expired);
    assert_eq!(issuer.fetches().token, 0);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_asked_again_but_not_for_ever() {
    let away = RawAnswer::json(503, "");
    let told = after([away.clone(), away.clone(), RawAnswer::error("access_denied")]).await;
    assert_eq!(told.unwrap_err(), DeviceError::Denied);
    let told = after([away.clone(), away.clone(), away]).await.unwrap_err();
    assert_eq!((told, told.fault()), (DeviceError::Unreachable, Fault::Issuer));
    let gone = DevIssuer::start().await.unwrap();
    let login = login(&gone);
    drop(gone);
    assert_eq!(login.begin().await.unwrap_err(), DeviceError::Unreachable);
}

#[tokio::test]
async fn the_discovery_document_of_another_issuer_begins_nothing() {
    let issuer = DevIssuer::start().await.unwrap();
    issuer.claim_issuer("https://other.example");
    let told = login(&issuer).begin().await.unwrap_err();
    assert_eq!(told.code(), "device_answer");
}

#[tokio::test]
async fn strangers_can_t_make_us_ask_without_end() {
    let issuer = DevIssuer::start().await.unwrap();
    let login = login(&issuer);
    let mut begun = 0;
    let told = loop {
        match login.begin().await {
            Ok(_) => begun += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((told, begun), (DeviceError::Busy, identity::limits::MAX_DEVICE_LOGINS_PER_MINUTE));
}

#[test]
fn mistakes_in_a_flow_are_told() {
    let config = config("https://login.example");
    let told = |change: &dyn Fn(&mut DeviceFlow)| {
        let mut flow = flow();
        change(&mut flow);
        DeviceLogin::new(&config, flow).unwrap_err().path
    };
    assert_eq!(told(&|flow| flow.issuer = "nobody".into()), "issuer");
    assert_eq!(told(&|flow| flow.client_id.clear()), "client_id");
    let own = told(&|flow| drop(flow.parameters.insert("grant_type".into(), "x".into())));
    assert_eq!(own, "parameters.grant_type");
    assert!(DeviceLogin::new(&config, flow()).is_ok());
}
