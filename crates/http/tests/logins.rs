//! Logins of browsers: at a provider nobody here wrote, and at one that lies.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod rig;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dev_issuer::{Claims, DevIssuer, Signer};
use rig::login::{CLIENT, flow, identity};
use rig::{AUDIENCE, Plan, Rig, Said, curl};
use serde_json::{Value, json};
use testbed::{OidcProvider, require};

const PAGE: &str = "Accept: text/html,*/*;q=0.8";

/// An answer's status, fields by name, and body.
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn of(said: &Said) -> Answer {
        let text = said.text();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{said:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Answer { status, fields: fields.collect(), body: body.to_owned() }
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(it, _)| it == name).map(|(_, value)| &**value).collect()
    }

    fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name}: {:?} {}", self.fields, self.body);
        all[0]
    }

    /// The cookie that is set, as the browser sends it.
    fn cookie(&self, at: usize) -> &str {
        self.all("set-cookie")[at].split(';').next().unwrap()
    }
}

fn ask(rig: &Rig, path: &str, fields: &[&str], more: &[&str]) -> Answer {
    let mut curl = curl();
    curl.arg("-i").args(more);
    for field in fields {
        curl.args(["-H", field]);
    }
    Answer::of(&Said::of(curl.arg(rig.url(path))))
}

fn query(url: &str) -> BTreeMap<String, String> {
    let (_, query) = url.split_once('?').unwrap();
    let decoded = |text: &str| {
        let mut out = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, more @ ..] = rest {
            let escaped = std::str::from_utf8(more).unwrap();
            if *first == b'%' {
                out.push(u8::from_str_radix(&escaped[..2], 16).unwrap());
                rest = &more[2..];
            } else {
                out.push(*first);
                rest = more;
            }
        }
        String::from_utf8(out).unwrap()
    };
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()
}

/// An issuer's authorization and token endpoints that say what a test wants. Its keys, and its
/// name, are a [`DevIssuer`]'s.
struct Front {
    port: u16,
    answer: Arc<Mutex<String>>,
    /// The forms that came to the token endpoint, each with its head.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Front {
    fn start(iss: &str, more: Value) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let here = format!("http://127.0.0.1:{port}");
        let mut document = json!({
            "issuer": iss,
            "authorization_endpoint": format!("{here}/auth"),
            "token_endpoint": format!("{here}/token"),
            "jwks_uri": format!("{iss}/jwks"),
        });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = Arc::new(Mutex::new(String::new()));
        let asked: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let front = Front { port, answer: answer.clone(), asked: asked.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                let lower = head.to_lowercase();
                let length = lower.lines().find_map(|it| it.strip_prefix("content-length: "));
                let mut form = vec![0; length.map_or(0, |it| it.parse().unwrap())];
                reader.read_exact(&mut form).unwrap();
                let body = match head.starts_with("POST /token ") {
                    true => answer.lock().unwrap().clone(),
                    false => document.to_string(),
                };
                if head.starts_with("POST") {
                    asked.lock().unwrap().push((head, String::from_utf8(form).unwrap()));
                }
                let status = if body.contains("\"error\"") { "400 Bad" } else { "200 OK" };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        front
    }

    /// What the token endpoint answers next.
    fn says(&self, answer: &Value) {
        *self.answer.lock().unwrap() = answer.to_string();
    }
}

/// A rig before an issuer that says what a test wants.
struct Lies {
    rig: Rig,
    issuer: DevIssuer,
    front: Front,
    _runtime: tokio::runtime::Runtime,
}

/// A login that was begun: the cookie, and what the issuer was sent.
struct Begun {
    cookie: String,
    sent: BTreeMap<String, String>,
}

impl Lies {
    fn with(document: Value) -> Lies {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let issuer = runtime.block_on(DevIssuer::start()).unwrap();
        let front = Front::start(issuer.iss(), document);
        let discovery = format!("discovery = \"http://127.0.0.1:{}/doc\"", front.port);
        let identity = Some(identity(issuer.iss(), &discovery));
        let login = Some(flow());
        let upgrades = |target: &mut http_proxy::Target| target.upgrades = true;
        let rig = Rig::with(Plan { identity, login, target: upgrades, ..Plan::default() });
        Lies { rig, issuer, front, _runtime: runtime }
    }

    fn start() -> Lies {
        Lies::with(json!({}))
    }

    fn begin(&self, path: &str) -> Begun {
        let answer = ask(&self.rig, path, &[PAGE], &[]);
        assert_eq!(answer.status, 303, "{}", answer.body);
        Begun { cookie: answer.cookie(0).to_owned(), sent: query(answer.one("location")) }
    }

    fn id_claims(&self, begun: &Begun) -> Claims {
        Claims::new("alice").audience(CLIENT).with("nonce", json!(begun.sent["nonce"]))
    }

    /// What a good issuer answers, with this ID token.
    fn tokens(&self, id_token: &str) -> Value {
        let access = self.issuer.mint(Claims::new("alice").audience(AUDIENCE).client(CLIENT));
        json!({"access_token": access.unwrap(), "token_type": "Bearer", "id_token": id_token})
    }

    fn honest(&self, begun: &Begun) -> Value {
        let id = self.issuer.forge(self.id_claims(begun)).header("typ", json!("JWT")).token();
        self.tokens(&id.unwrap())
    }

    /// Comes back with a code.
    fn come_back(&self, begun: &Begun, more: &str) -> Answer {
        let path = format!(
            "/.greffier/callback?code=the-code-of-this-login&state={}{more}",
            begun.sent["state"]
        );
        ask(&self.rig, &path, &[PAGE, &format!("Cookie: {}", begun.cookie)], &[])
    }

    /// A browser's cookie, logged in.
    fn logged_in(&self) -> String {
        let begun = self.begin("/page");
        self.front.says(&self.honest(&begun));
        let answer = self.come_back(&begun, "");
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.cookie(0).to_owned()
    }

    /// The causes of refusals on record, but for the redirects to the issuer.
    fn causes(&self) -> Vec<String> {
        let failures = self.rig.entries_of("auth_failure");
        let causes = failures.iter().map(|it| it["cause"].as_str().unwrap().to_owned());
        causes.filter(|it| it != "login").collect()
    }
}

#[test]
fn a_browser_logs_in_and_its_cookie_is_worth_a_token() {
    let lies = Lies::start();
    let first = ask(&lies.rig, "//page?x=1", &[PAGE], &[]);
    assert_eq!(first.status, 303);
    let kept = first.one("set-cookie");
    for word in ["__Host-greffier-login-", "Path=/;", "Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(kept.contains(word), "{word}: {kept}");
    }
    assert!(!kept.contains("Domain"), "{kept}");
    let sent = query(first.one("location"));
    let here = lies.rig.url("");
    assert_eq!(sent["redirect_uri"], format!("{here}/.greffier/callback"));
    assert_eq!((&*sent["response_type"], &*sent["code_challenge_method"]), ("code", "S256"));
    assert_eq!((&*sent["scope"], &*sent["resource"]), ("openid db:read", AUDIENCE));
    let begun = Begun { cookie: first.cookie(0).to_owned(), sent };
    lies.front.says(&lies.honest(&begun));
    let back = lies.come_back(&begun, "");
    assert_eq!(back.status, 303, "{}", back.body);
    // Two slashes at a path's beginning would be another host.
    assert_eq!(back.one("location"), format!("{here}//page?x=1"));
    let session = back.all("set-cookie")[0];
    for word in ["__Host-greffier=", "Path=/;", "Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(session.contains(word), "{word}: {session}");
    }
    assert!(!session.contains("Domain") && !session.contains("Max-Age"), "{session}");
    // PKCE: what the token endpoint got is what the challenge was made of.
    let (head, form) = lies.front.asked.lock().unwrap()[0].clone();
    let form = query(&format!("?{form}"));
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form["code_verifier"].as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(digest), begun.sent["code_challenge"]);
    assert!(
        head.to_lowercase().contains("authorization: basic ")
            && !form.contains_key("client_secret")
    );
    // The session is on record before the browser has its cookie, and says how it came about.
    let starts = lies.rig.entries_of("session_start");
    assert_eq!((starts.len(), &starts[0]["details"]["login"]), (1, &json!("browser")));
    assert_eq!(starts[0]["principal"]["subject"], "alice");
    let cookie = format!("Cookie: theme=dark; {}", back.cookie(0));
    let seen = ask(&lies.rig, "/echo", &[PAGE, &cookie], &[]);
    assert_eq!(seen.status, 200, "{}", seen.body);
    let seen: Value = serde_json::from_str(&seen.body).unwrap();
    let text = seen.to_string();
    assert!(text.contains("theme=dark") && !text.contains("greffier="), "{text}");
    assert!(text.contains("alice"), "{text}");
    let log = serde_json::to_string(&lies.rig.entries()).unwrap();
    let secrets = [
        "the-code-of-this-login",
        &form["code_verifier"],
        back.cookie(0).split_once('=').unwrap().1,
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[test]
fn who_is_no_browser_is_told_401_as_ever() {
    let lies = Lies::start();
    for fields in
        [&["Accept: */*"][..], &[PAGE, "Sec-Fetch-Mode: cors"], &["Accept: application/json"]]
    {
        let answer = ask(&lies.rig, "/x", fields, &[]);
        assert_eq!(answer.status, 401, "{fields:?}");
        assert!(answer.one("www-authenticate").starts_with("Bearer realm="));
        assert!(answer.all("set-cookie").is_empty());
    }
    let posted = ask(&lies.rig, "/x", &[PAGE], &["-d", "a=1"]);
    assert_eq!(posted.status, 401);
    // A bad token is refused, and no cookie stands in for it.
    let cookie = format!("Cookie: {}", lies.logged_in());
    let answer = ask(&lies.rig, "/x", &[PAGE, &cookie, "Authorization: Bearer x.y.z"], &[]);
    assert_eq!(answer.status, 401);
    // A cookie is no token.
    let (_, value) = cookie.split_once('=').unwrap();
    let answer = ask(&lies.rig, "/x", &[&format!("Authorization: Bearer {value}")], &[]);
    assert_eq!(answer.status, 401);
}

#[test]
fn attack_23_a_login_counts_in_the_browser_that_began_it_only() {
    let lies = Lies::start();
    let (mine, theirs) = (lies.begin("/mine"), lies.begin("/theirs"));
    lies.front.says(&lies.honest(&mine));
    let callback = |query: &str, cookie: &str| {
        let cookie = format!("Cookie: {cookie}");
        ask(&lies.rig, &format!("/.greffier/callback?{query}"), &[PAGE, &cookie], &[])
    };
    let (state, other) = (&mine.sent["state"], &theirs.sent["state"]);
    let forged = mine.cookie.replace('=', "=A");
    for (query, cookie) in [
        // Somebody else's answer, brought to this browser.
        (format!("code=c&state={other}"), mine.cookie.as_str()),
        // This browser's, without what it began with.
        (format!("code=c&state={state}"), "a=1"),
        (format!("code=c&state={state}"), &forged),
        (format!("code=c&state={state}"), &format!("{0}; {0}", mine.cookie)),
        ("code=c".to_owned(), &mine.cookie),
        (format!("code=c&state={state}&state={state}"), &mine.cookie),
        (format!("code=c&state={state}&code=d"), &mine.cookie),
    ] {
        let answer = callback(&query, cookie);
        assert_eq!(answer.status, 400, "{query} {}", answer.body);
        assert!(answer.all("set-cookie").is_empty() && answer.all("location").is_empty());
    }
    // Where the slots of cookies differ, their swap is seen by the name; so take its value, too.
    let swapped = format!(
        "{}={}",
        mine.cookie.split_once('=').unwrap().0,
        theirs.cookie.split_once('=').unwrap().1
    );
    assert_eq!(callback(&format!("code=c&state={state}"), &swapped).status, 400);
    assert!(lies.front.asked.lock().unwrap().is_empty(), "the issuer was not asked");
    assert_eq!(lies.causes()[0], "login_state");
    assert!(lies.rig.entries_of("session_start").is_empty());
    // And it is still good where it belongs.
    assert_eq!(lies.come_back(&mine, "").status, 303);
}

/// An ID token for a login.
type Made<'a> = &'a dyn Fn(&Begun) -> String;

#[test]
fn attack_23_an_id_token_must_be_for_us_and_for_this_login() {
    let lies = Lies::start();
    let typ = || json!("JWT");
    let cases: [(&str, Made<'_>); 10] = [
        ("other_login", &|it| {
            let claims = lies.id_claims(it).with("nonce", json!("another"));
            lies.issuer.forge(claims).header("typ", typ()).token().unwrap()
        }),
        // Without a nonce it is no ID token at all.
        ("token_class", &|it| {
            let claims = lies.id_claims(it).without("nonce");
            lies.issuer.forge(claims).header("typ", typ()).token().unwrap()
        }),
        ("other_login", &|it| {
            let claims = lies.id_claims(it).with("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA"));
            lies.issuer.forge(claims).header("typ", typ()).token().unwrap()
        }),
        ("audience", &|it| {
            let claims = lies.id_claims(it).audience("other-client");
            lies.issuer.forge(claims).header("typ", typ()).token().unwrap()
        }),
        ("authorized_party", &|it| {
            let claims = lies.id_claims(it).with("aud", json!([CLIENT, "other-client"]));
            lies.issuer.forge(claims).header("typ", typ()).token().unwrap()
        }),
        ("authorized_party", &|it| {
            let claims = lies.id_claims(it).with("azp", json!("other-client"));
            lies.issuer.forge(claims).header("typ", typ()).token().unwrap()
        }),
        ("unknown_issuer", &|it| {
            let claims = lies.id_claims(it).with("iss", json!("https://evil.example"));
            lies.issuer.forge(claims).header("typ", typ()).token().unwrap()
        }),
        ("algorithm", &|it| {
            let forged = lies.issuer.forge(lies.id_claims(it)).header("typ", typ());
            forged.alg("none").signed_by(Signer::Nobody).token().unwrap()
        }),
        ("algorithm", &|it| {
            let forged = lies.issuer.forge(lies.id_claims(it)).header("typ", typ());
            forged.alg("HS256").signed_by(Signer::PublicKeyAsSecret).token().unwrap()
        }),
        ("signature", &|it| {
            let forged = lies.issuer.forge(lies.id_claims(it)).header("typ", typ());
            forged.signed_by(Signer::Stranger).token().unwrap()
        }),
    ];
    for (cause, id_token) in cases {
        let begun = lies.begin("/page");
        lies.front.says(&lies.tokens(&id_token(&begun)));
        let answer = lies.come_back(&begun, "");
        assert_eq!(answer.status, 403, "{cause}: {}", answer.body);
        assert!(answer.all("set-cookie").is_empty());
        assert_eq!(lies.causes().last().unwrap(), cause, "{}", answer.body);
    }
    assert!(lies.rig.entries_of("session_start").is_empty());
}

#[test]
fn attack_23_an_access_token_must_be_for_us() {
    let lies = Lies::start();
    let refused = |says: Value, status: u16, cause: &str| {
        let begun = lies.begin("/page");
        let mut answer = lies.honest(&begun);
        answer.as_object_mut().unwrap().extend(says.as_object().unwrap().clone());
        lies.front.says(&answer);
        let answer = lies.come_back(&begun, "");
        assert_eq!(answer.status, status, "{cause}: {}", answer.body);
        assert_eq!(lies.causes().last().unwrap(), cause);
        assert!(answer.all("set-cookie").is_empty());
    };
    let token = |claims: Claims| json!({"access_token": lies.issuer.mint(claims).unwrap()});
    refused(token(Claims::new("alice").audience("https://elsewhere.test")), 401, "audience");
    // The ID token shows who somebody is to the client, and nobody's right to go on.
    let begun = lies.begin("/page");
    let id = lies.honest(&begun)["id_token"].clone();
    refused(json!({"access_token": id}), 401, "token_class");
    refused(json!({"access_token": "opaque"}), 401, "malformed");
    refused(json!({"token_type": "DPoP"}), 502, "login_answer");
    refused(json!({"id_token": ""}), 502, "login_answer");
    refused(json!({"error": "invalid_grant"}), 403, "login_code");
    refused(json!({"error": "invalid_client"}), 500, "login_client");
    refused(json!({"error": "<script>"}), 502, "login_answer");
    assert!(lies.rig.entries_of("session_start").is_empty());
}

#[test]
fn attack_23_the_answer_must_be_from_the_issuer_that_was_asked() {
    let lies = Lies::with(json!({"authorization_response_iss_parameter_supported": true}));
    for more in ["", "&iss=https%3A%2F%2Fevil.example"] {
        let begun = lies.begin("/page");
        lies.front.says(&lies.honest(&begun));
        let answer = lies.come_back(&begun, more);
        assert_eq!(answer.status, 403, "{more}: {}", answer.body);
        assert_eq!(lies.causes().last().unwrap(), "login_issuer");
    }
    let begun = lies.begin("/page");
    lies.front.says(&lies.honest(&begun));
    let iss = lies.issuer.iss().replace(':', "%3A").replace('/', "%2F");
    assert_eq!(lies.come_back(&begun, &format!("&iss={iss}")).status, 303);
    // One that does no PKCE is not asked at all.
    let lies = Lies::with(json!({"code_challenge_methods_supported": ["plain"]}));
    assert_eq!(ask(&lies.rig, "/page", &[PAGE], &[]).status, 502);
}

#[test]
fn a_refusal_at_the_issuer_is_told_and_on_record() {
    let lies = Lies::start();
    let begun = lies.begin("/page");
    let path = format!(
        "/.greffier/callback?error=access_denied&error_description=%3Cscript%3E&state={}",
        begun.sent["state"]
    );
    let answer = ask(&lies.rig, &path, &[PAGE, &format!("Cookie: {}", begun.cookie)], &[]);
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("refused at the issuer") && !answer.body.contains("script"));
    assert_eq!(lies.causes(), ["login_denied"]);
}

#[test]
fn attack_23_a_page_of_another_site_can_not_use_the_cookie() {
    let lies = Lies::start();
    let cookie = format!("Cookie: {}", lies.logged_in());
    let ours = format!("Origin: {}", lies.rig.url(""));
    let sent = |fields: &[&str]| {
        let all = [&[cookie.as_str()], fields].concat();
        ask(&lies.rig, "/form", &all, &["-d", "a=1"]).status
    };
    assert_eq!(sent(&[&ours]), 200);
    assert_eq!(sent(&["Sec-Fetch-Site: same-origin"]), 200);
    for fields in [
        &[][..],
        &["Origin: https://evil.example"],
        &["Origin: null"],
        &["Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-site"],
        &[&ours, "Connection: Origin"],
    ] {
        assert_eq!(sent(fields), 403, "{fields:?}");
    }
    let switch = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    for (origin, status) in [("Origin: https://evil.example", 403), (&*ours, 101)] {
        let fields = [&[cookie.as_str(), origin][..], &switch].concat();
        let mut curl = curl();
        curl.args(["-i", "--max-time", "2"]);
        for field in fields {
            curl.args(["-H", field]);
        }
        let said = Said::of(curl.arg(lies.rig.url("/socket")));
        assert_eq!(Answer::of(&said).status, status, "{origin}");
    }
    assert!(lies.causes().iter().all(|it| it == "cross_site"), "{:?}", lies.causes());
    // A link from elsewhere leads here, a frame does not.
    let link = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"];
    let of = |dest: &str| {
        let fields = [&[cookie.as_str(), PAGE, dest][..], &link].concat();
        ask(&lies.rig, "/page", &fields, &[]).status
    };
    assert_eq!((of("Sec-Fetch-Dest: document"), of("Sec-Fetch-Dest: iframe")), (200, 403));
}

#[test]
fn a_login_ends_by_logout_by_revocation_and_with_its_lease() {
    let lies = Lies::start();
    let status = |cookie: &str| ask(&lies.rig, "/x", &[&format!("Cookie: {cookie}")], &[]).status;
    let ours = format!("Origin: {}", lies.rig.url(""));
    let (first, second) = (lies.logged_in(), lies.logged_in());
    assert_eq!((status(&first), status(&second)), (200, 200));
    let kept = format!("Cookie: {first}");
    let form = ask(&lies.rig, "/.greffier/logout", &[&kept], &[]);
    assert!(form.status == 200 && form.body.contains("<form method=\"post\">"));
    let forged = ask(&lies.rig, "/.greffier/logout", &[&kept, "Origin: null"], &["-d", ""]);
    assert_eq!((forged.status, status(&first)), (403, 200));
    let gone = ask(&lies.rig, "/.greffier/logout", &[&kept, &ours], &["-d", ""]);
    assert_eq!(gone.status, 200);
    assert!(gone.one("set-cookie").contains("Max-Age=0"));
    assert_eq!((status(&first), status(&second)), (401, 200));
    let alice =
        identity::Selector::Principal { issuer: lies.issuer.iss().into(), subject: "alice".into() };
    lies.rig.verifier.leases().end(&alice, "enough");
    assert_eq!(status(&second), 401);
    // A page is sent to log in again.
    let again = ask(&lies.rig, "/x", &[PAGE, &format!("Cookie: {second}")], &[]);
    assert_eq!(again.status, 303);
    let ends = lies.rig.entries_of("session_end");
    assert!(ends.len() >= 2 && ends.iter().all(|it| it["reason"] == "revoked"), "{ends:?}");
}

#[test]
fn a_cookie_is_for_one_host_and_a_target_can_not_set_one() {
    let lies = Lies::start();
    let cookie = format!("Cookie: {}", lies.logged_in());
    assert_eq!(ask(&lies.rig, "/x", &[&cookie], &[]).status, 200);
    assert_eq!(ask(&lies.rig, "/x", &[&cookie, "Host: other.test"], &[]).status, 401);
    let answer = ask(&lies.rig, "/sets-ours", &[&cookie], &[]);
    assert_eq!((answer.status, answer.all("set-cookie")), (200, vec!["theme=dark"]));
}

/// The page that a browser is at, and its address.
fn browse(jar: &Path, url: &str, form: Option<&str>) -> (String, String) {
    let jar = jar.display().to_string();
    let mut curl = curl();
    curl.args(["-L", "-b", &jar, "-c", &jar, "-H", PAGE, "-w", "\n%{url_effective}"]);
    if let Some(form) = form {
        curl.args(["-d", form]);
    }
    let text = Said::of(curl.arg(url)).text();
    let (page, at) = text.rsplit_once('\n').unwrap();
    (page.to_owned(), at.to_owned())
}

#[test]
fn a_real_provider_s_person_logs_in_by_browser() {
    let Some(provider) = require(OidcProvider::start(AUDIENCE)) else { return };
    let identity = Some(identity(&provider.issuer(), ""));
    let rig = Rig::with(Plan { identity, login: Some(flow()), ..Plan::default() });
    provider.allow_redirect(&rig.url("/.greffier/callback")).unwrap();
    let jar = rig.dir.path().join("jar");
    let (page, at) = browse(&jar, &rig.url("/who?x=1"), None);
    assert!(at.starts_with(&format!("{}/interaction/", provider.issuer())), "{at} {page}");
    assert!(page.contains("name=\"password\""), "{page}");
    let (page, at) = browse(&jar, &at, Some("prompt=login&login=alice&password=any"));
    assert!(at.contains("/interaction/"), "{at} {page}");
    let (page, at) = browse(&jar, &at, Some("prompt=consent"));
    assert_eq!(at, rig.url("/who?x=1"), "{page}");
    let seen: Value = serde_json::from_str(&page).unwrap_or_else(|e| panic!("{e}: {page}"));
    assert!(seen.to_string().contains("alice"), "{seen}");
    let starts = rig.entries_of("session_start");
    assert_eq!(starts.len(), 1);
    assert_eq!(
        (&starts[0]["principal"]["subject"], &starts[0]["details"]["login"]),
        (&json!("alice"), &json!("browser"))
    );
    assert!(starts[0]["jti"].is_string(), "{}", starts[0]);
    // Without its cookie a browser is still known to the issuer, and comes back at once.
    let (page, at) = browse(&jar, &rig.url("/again"), None);
    assert_eq!(at, rig.url("/again"), "{page}");
}
