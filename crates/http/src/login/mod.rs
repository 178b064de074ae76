//! Logins of browsers (OpenID Connect Core 3.1, RFC 7636, RFC 9700).
//!
//! 1. A person goes to a page without a cookie of ours: the browser is sent to the issuer, and
//!    keeps, sealed, what this login was begun with.
//! 2. It comes back to [`CALLBACK`] with a code. Only the browser that began it has what belongs
//!    to its `state`. The code becomes a token, the token a principal ([`gate`]), that a session
//!    on record, and the browser gets a cookie that means it and says nothing.
//! 3. The cookie counts as the token did: until its lease ends, somebody revokes it, or the person
//!    logs out at [`LOGOUT`]. The token itself is not kept.
//!
//! Who is no browser gets 401 as ever, and a bearer is taken before a cookie. What a page of
//! somebody else's makes a browser do, a cookie does not authorise (`guard`).

pub(crate) mod cookies;
mod guard;
mod logins;

use std::rc::Rc;

use bytes::Bytes;
use gate::Arrival;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Response, StatusCode};
use identity::{CodeError, CodeLogin, CodeRequest, EndReason, Secret, Selector, Verifier};

use self::cookies::{Begun, Seal};
pub(crate) use self::logins::Login;
use self::logins::Logins;
pub use self::logins::{MAX_LOGINS, MAX_LOGINS_OF_ONE};
use crate::answer::AnswerBody;
use crate::headers;
use crate::metadata;
use crate::problem::{LoginError, Told};
use crate::relay::{Connection, Routed, bearer};
use crate::sessions::Who;
use crate::uri::{Path, unescape};

/// What our own paths begin with, where browsers log in.
const OWN: &str = "/.greffier/";
/// Where the issuer sends the browser back to: to be registered there, for each host.
pub const CALLBACK: &str = "/.greffier/callback";
/// Where a person logs out: a page with a button.
pub const LOGOUT: &str = "/.greffier/logout";
/// The longest path and query that a login comes back to, in bytes; from a longer one it comes
/// back to `/`. It travels in a cookie, of which browsers keep 4 KiB.
const MAX_BACK_BYTES: usize = 2048;

/// How browsers log in.
#[derive(Debug, Clone)]
pub struct BrowserLogin {
    /// Asks the issuer.
    pub flow: CodeLogin,
    /// Checks ID tokens, and ends leases of those who log out: the one behind the gate.
    pub verifier: Verifier,
}

/// The browsers of one proxy.
pub(crate) struct Browsers {
    login: BrowserLogin,
    seal: Seal,
    logins: Logins,
}

impl Browsers {
    pub(crate) fn new(login: BrowserLogin) -> Browsers {
        Browsers { login, seal: Seal::new(), logins: Logins::default() }
    }
}

/// Where a browser is sent, and what it is to keep.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) location: String,
    pub(crate) cookies: Vec<String>,
}

impl Sent {
    pub(crate) fn response(&self) -> Response<AnswerBody> {
        page(StatusCode::SEE_OTHER, "", &self.cookies, Some(&self.location))
    }
}

impl Connection {
    /// Who asks: a token's bearer, or a browser that is logged in.
    pub(crate) async fn who(
        &self,
        parts: &mut Parts,
        routed: &Routed<'_>,
        upgrades: bool,
    ) -> Result<Who, Told> {
        let cookies = cookies::take(&mut parts.headers);
        let browsers = self.inner.browsers.as_ref();
        let browsers = browsers.filter(|_| {
            routed.target.mcp.is_none() && !parts.headers.contains_key(header::AUTHORIZATION)
        });
        let Some(browsers) = browsers else {
            return bearer(&mut parts.headers).map(Who::Bearer);
        };
        let origin = metadata::address(self.secure, &routed.host);
        let known = cookies.session.and_then(|it| browsers.logins.find(&it, &routed.host));
        match (known, origin) {
            (Some(login), Some(origin)) => {
                match guard::is_own(&parts.method, &parts.headers, &origin, upgrades) {
                    true => Ok(Who::Browser(login)),
                    false => Err(Told::Login(LoginError::CrossSite)),
                }
            }
            (None, Some(origin)) if !upgrades && navigates(parts) => {
                Err(self.to_issuer(browsers, parts, &routed.host, &origin).await)
            }
            _ => bearer(&mut parts.headers).map(Who::Bearer),
        }
    }

    /// Sends a browser to the issuer.
    async fn to_issuer(
        &self,
        browsers: &Browsers,
        parts: &Parts,
        host: &str,
        origin: &str,
    ) -> Told {
        let begun = browsers.login.flow.begin(&format!("{origin}{CALLBACK}")).await;
        let request = match begun {
            Ok(request) => request,
            Err(error) => return Told::Login(LoginError::Flow(error)),
        };
        let back = parts.uri.path_and_query().map_or("/", |it| it.as_str());
        let begun = Begun {
            state: request.state.clone(),
            nonce: request.nonce,
            verifier: request.verifier.expose().to_owned(),
            back: if back.len() > MAX_BACK_BYTES { "/" } else { back }.to_owned(),
            host: host.to_owned(),
        };
        match browsers.seal.seal(&begun) {
            None => Told::Login(LoginError::Flow(CodeError::Random)),
            Some(sealed) => {
                let cookies = vec![cookies::begun(&request.state, &sealed)];
                Told::ToIssuer(Sent { location: request.url, cookies })
            }
        }
    }

    /// Answers what is asked of us and not of a target.
    pub(crate) async fn own_page(&self, parts: &mut Parts) -> Option<Response<AnswerBody>> {
        let browsers = self.inner.browsers.as_ref()?;
        let path = Path::parse(parts.uri.path()).ok()?;
        if !path.as_str().starts_with(OWN) {
            return None;
        }
        let cookies = cookies::take(&mut parts.headers);
        let host = self.own_host(parts);
        let answered = match (path.as_str(), host) {
            (_, Err(told)) => Err(told),
            (CALLBACK, Ok(own)) => self.come_back(browsers, parts, &cookies, own).await,
            (LOGOUT, Ok((host, origin))) => {
                let known = cookies.session.and_then(|it| browsers.logins.find(&it, &host));
                log_out(browsers, parts, known.as_ref(), &origin)
            }
            (_, Ok(_)) => Err(Told::NoTarget),
        };
        let told = match answered {
            Ok(response) => return Some(response),
            // It is on record already.
            Err(told @ (Told::Unauthenticated(_) | Told::Crowded)) => told,
            Err(told) => self.turned_away(parts, b"", told).await,
        };
        Some(told.response(None))
    }

    /// What the client calls us, and how a browser writes that as an origin.
    fn own_host(&self, parts: &Parts) -> Result<(String, String), Told> {
        let authority = parts.uri.authority().map(Authority::as_str);
        let host = headers::host(&parts.headers, authority)?.to_owned();
        let origin = metadata::address(self.secure, &host);
        Ok((host, origin.ok_or(Told::BadRequest("the host is not one"))?))
    }

    /// A browser comes back from the issuer.
    async fn come_back(
        &self,
        browsers: &Browsers,
        parts: &Parts,
        cookies: &cookies::Ours,
        (host, origin): (String, String),
    ) -> Result<Response<AnswerBody>, Told> {
        if parts.method != Method::GET {
            return Err(Told::Method);
        }
        let answer = Answer::parse(parts.uri.query().unwrap_or_default())?;
        let state = answer.state.ok_or(Told::Login(LoginError::State))?;
        let begun = cookies.begun(&state).and_then(|sealed| browsers.seal.open(sealed));
        let begun = begun
            .filter(|it| it.state == state && it.host.eq_ignore_ascii_case(&host))
            .ok_or(Told::Login(LoginError::State))?;
        let flow = |error| Told::Login(LoginError::Flow(error));
        if let Some(error) = answer.error {
            return Err(flow(refused(&error)));
        }
        let code = Secret::new(answer.code.ok_or_else(|| flow(CodeError::Code))?);
        let request = CodeRequest {
            url: String::new(),
            state: begun.state,
            nonce: begun.nonce,
            verifier: Secret::new(begun.verifier),
        };
        let back_to = format!("{origin}{CALLBACK}");
        let BrowserLogin { flow: issuer, verifier } = &browsers.login;
        let named = answer.iss.as_deref();
        let token =
            issuer.redeem(verifier, &code, named, &request, &back_to).await.map_err(flow)?;
        let cookie = self.admit(browsers, &token, &host, &begun.back).await?;
        // The whole address: a path that begins with two slashes would lead elsewhere.
        let sent = Sent {
            location: format!("{origin}{}", begun.back),
            cookies: vec![cookies::session(&cookie), cookies::no_begun(&state)],
        };
        Ok(sent.response())
    }

    /// Lets a browser in: a session with the target it came for is on record when this returns.
    async fn admit(
        &self,
        browsers: &Browsers,
        token: &Secret,
        host: &str,
        back: &str,
    ) -> Result<String, Told> {
        let path = Path::parse(back.split('?').next().unwrap_or_default())?;
        let routed = self.target_of(host.to_owned(), &path)?;
        let peer = self.peer.to_string();
        let target = routed.target.gate.name.as_bytes();
        let arrival = Arrival { protocol: routed.target.protocol(), peer: &peer, target };
        let mut identified = self.inner.gate.authenticate(token, arrival).await?;
        identified.details.insert("login".into(), "browser".to_owned().into());
        let (cookie, login) = browsers.logins.admit(identified, host)?;
        let entered = self.enter(&routed, &Rc::new(Who::Browser(login.clone()))).await;
        if let Err(told) = entered {
            browsers.logins.remove(&login);
            return Err(told);
        }
        Ok(cookie)
    }
}

/// Shows the page for logging out, or logs out. All sessions of the login end.
fn log_out(
    browsers: &Browsers,
    parts: &Parts,
    known: Option<&Login>,
    origin: &str,
) -> Result<Response<AnswerBody>, Told> {
    if parts.method == Method::GET {
        let form = "<form method=\"post\"><button>Log out</button></form>";
        return Ok(page(StatusCode::OK, form, &[], None));
    }
    if parts.method != Method::POST {
        return Err(Told::Method);
    }
    if !guard::is_own(&parts.method, &parts.headers, origin, false) {
        return Err(Told::Login(LoginError::CrossSite));
    }
    if let Some(login) = known {
        browsers.logins.remove(login);
        let token = Selector::Token(login.identified.credential().sha256);
        browsers.login.verifier.leases().end(&token, "logged out");
        debug_assert!(matches!(login.identified.lease().is_over(), Some(EndReason::Revoked(_))));
    }
    Ok(page(StatusCode::OK, "<p>You are logged out.</p>", &[cookies::no_session()], None))
}

/// Whether a request is a person's going to a page, so that a login can be shown. Scripts, and
/// programs that are no browsers, are told 401.
fn navigates(parts: &Parts) -> bool {
    let says = |name: &str| parts.headers.get(name).and_then(|it| it.to_str().ok());
    if parts.method != Method::GET {
        return false;
    }
    match says("sec-fetch-mode") {
        Some(mode) => {
            mode == "navigate" && says("sec-fetch-dest").is_none_or(|it| it == "document")
        }
        None => accepts_pages(&parts.headers),
    }
}

fn accepts_pages(fields: &HeaderMap) -> bool {
    fields.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok()).any(|value| {
        let mut ranges = value.split(',').map(|it| it.split(';').next().unwrap_or_default());
        ranges.any(|it| it.trim().eq_ignore_ascii_case("text/html"))
    })
}

/// Why the issuer gave no code (RFC 6749, 4.1.2.1; OpenID Connect Core 3.1.2.6).
fn refused(error: &str) -> CodeError {
    match error {
        "access_denied"
        | "login_required"
        | "consent_required"
        | "interaction_required"
        | "account_selection_required" => CodeError::Denied,
        "temporarily_unavailable" | "server_error" => CodeError::Unreachable,
        _ => CodeError::Client,
    }
}

/// What the issuer says by the browser's query.
#[derive(Debug, Default)]
struct Answer {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

impl Answer {
    /// Reads it; nothing may come twice (RFC 6749, 3.1).
    fn parse(query: &str) -> Result<Answer, Told> {
        let mut answer = Answer::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "code" => &mut answer.code,
                "state" => &mut answer.state,
                "error" => &mut answer.error,
                "iss" => &mut answer.iss,
                _ => continue,
            };
            let value = unescape(value, true).and_then(|it| String::from_utf8(it).ok());
            let value = value.ok_or(Told::BadRequest("the answer is not a form"))?;
            if place.replace(value).is_some() {
                return Err(Told::BadRequest("the answer says something twice"));
            }
        }
        Ok(answer)
    }
}

/// A page of ours: nothing in it is anybody else's text.
fn page(
    status: StatusCode,
    html: &str,
    cookies: &[String],
    location: Option<&str>,
) -> Response<AnswerBody> {
    let body = match html.is_empty() {
        true => Bytes::new(),
        false => format!("<!doctype html><title>greffier</title>{html}\n").into(),
    };
    let mut response = Response::new(AnswerBody::full(body));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        (
            "content-security-policy",
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            fields.append(header::SET_COOKIE, value);
        }
    }
    if let Some(value) = location.and_then(|it| HeaderValue::from_str(it).ok()) {
        fields.insert(header::LOCATION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once() {
        let answer = Answer::parse("code=a%2Bb+c&x=1&state=s&iss=https%3A%2F%2Fid").unwrap();
        assert_eq!(answer.code.as_deref(), Some("a+b c"));
        assert_eq!(
            (answer.state.as_deref(), answer.iss.as_deref()),
            (Some("s"), Some("https://id"))
        );
        for query in ["state=a&state=b", "code=%", "code=%f", "code=%ff", "code=%zz"] {
            assert!(Answer::parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn browsers_that_go_somewhere_are_known() {
        let asks = |method: Method, fields: &[(&'static str, &'static str)]| {
            let mut request = http::Request::builder().method(method);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            navigates(&request.body(()).unwrap().into_parts().0)
        };
        let page = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        assert!(asks(Method::GET, &[page]));
        assert!(asks(
            Method::GET,
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
        ));
        for fields in [
            &[("accept", "*/*")][..],
            &[("accept", "application/json")],
            &[],
            &[page, ("sec-fetch-mode", "cors")],
            &[page, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        ] {
            assert!(!asks(Method::GET, fields), "{fields:?}");
        }
        assert!(!asks(Method::POST, &[page]));
    }
}
