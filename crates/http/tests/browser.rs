//! A browser that people use: it logs in at a provider nobody here wrote, works with the service
//! behind the proxy, and another site's page gets nothing by its login.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod rig;

use rig::login::{flow, identity};
use rig::{AUDIENCE, Plan, Rig};
use serde_json::{Value, json};
use testbed::{OidcProvider, Step, browse, require};

/// The path and query of each command on record, with its verdict.
fn commands(rig: &Rig) -> Vec<(String, String)> {
    let all = rig.entries_of("command").into_iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.map(|it| (text(&it["text"]), text(&it["verdict"]))).collect()
}

#[test]
fn a_browser_logs_in_works_and_lends_its_login_to_no_other_site() {
    let Some(provider) = require(OidcProvider::start(AUDIENCE)) else { return };
    let identity = Some(identity(&provider.issuer(), ""));
    let rig = Rig::with(Plan { identity, login: Some(flow()), ..Plan::default() });
    provider.allow_redirect(&rig.url("/.greffier/callback")).unwrap();
    let page = rig.url("/who?x=1");
    let theirs = format!(
        "data:text/html,<form method=post action='{}'><input name=a value=b></form>",
        rig.url("/stolen")
    );
    let (open, until, run) = (
        |url: &str| Step::Open(url.to_owned()),
        |expression: &str| Step::Until(expression.to_owned()),
        |expression: &str| Step::Run(expression.to_owned()),
    );
    let at_ours = format!("location.origin === '{}' && document.body !== null", rig.url(""));
    let steps = [
        open(&page),
        until("document.querySelector('[name=password]')"),
        run("document.querySelector('[name=login]').value = 'alice',
             document.querySelector('[name=password]').value = 'any',
             document.forms[0].submit()"),
        until("document.querySelector('[name=prompt]')?.value === 'consent'"),
        run("document.forms[0].submit()"),
        until(&at_ours),
        run("location.href"),
        run("document.body.innerText"),
        // No script can read it.
        run("document.cookie"),
        run("fetch('/posted', {method: 'POST', body: 'hello'}).then(it => it.json())"),
        run("fetch('/ticks?3').then(it => it.text())"),
        open(&theirs),
        until("document.forms.length === 1"),
        run("document.forms[0].submit()"),
        until(&at_ours),
        run("document.body.innerText"),
        // And goes on where it belongs.
        open(&rig.url("/again")),
        until("location.pathname === '/again' && document.body?.innerText.includes('alice')"),
    ];
    let Some(given) = require(browse(&steps)) else { return };
    let [_, _, href, shown, cookies, posted, ticks, _, refused] = &given[..] else {
        panic!("{given:?}")
    };
    assert_eq!(href, &page);
    let shown: Value = serde_json::from_str(shown.as_str().unwrap()).unwrap();
    assert!(shown.to_string().contains("alice"), "{shown}");
    assert_eq!(cookies, "");
    assert!(posted.to_string().contains("hello") && posted["method"] == "POST", "{posted}");
    assert_eq!(ticks, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
    assert!(!refused.to_string().contains("alice"), "{refused}");
    let all = commands(&rig);
    let asked: Vec<_> = all.iter().filter(|it| !it.0.contains("favicon")).collect();
    let allowed = |text: &str| (text.to_owned(), "allow".to_owned());
    let wanted = ["GET /who?x=1", "POST /posted", "GET /ticks?3", "GET /again"].map(allowed);
    assert_eq!(asked, wanted.iter().collect::<Vec<_>>(), "{refused}");
    let starts = rig.entries_of("session_start");
    assert!(starts.iter().all(|it| it["principal"]["subject"] == "alice"), "{starts:?}");
    assert_eq!(starts[0]["details"]["login"], json!("browser"));
}
