//! The configuration made ready for use, and every mistake in it.

use std::collections::BTreeSet;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use crate::config::{ConditionConfig, Config, IssuerConfig, Problem, RuleConfig};
use crate::limits::{MAX_CLOCK_SKEW, MAX_CONFIG_DURATION};
use crate::{Kind, TokenClass, duration};

#[derive(Debug)]
pub(crate) struct IssuerPlan {
    pub(crate) name: String,
    pub(crate) iss: String,
    pub(crate) audiences: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) classes: Vec<TokenClass>,
    pub(crate) parties: Vec<String>,
    pub(crate) max_token_age: Duration,
    pub(crate) skew: Duration,
    pub(crate) max_stale: Duration,
    pub(crate) source: Source,
    pub(crate) insecure_loopback: bool,
    pub(crate) rules: Vec<RulePlan>,
}

/// Where an issuer's keys are to be had.
#[derive(Debug)]
pub(crate) enum Source {
    Jwks(String),
    Discovery(String),
}

#[derive(Debug)]
pub(crate) struct RulePlan {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) when: Vec<(String, ConditionConfig)>,
    pub(crate) subject: String,
    pub(crate) on_behalf_of: String,
    pub(crate) groups: Option<String>,
    pub(crate) display: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) delegated: bool,
    pub(crate) max_session: Duration,
}

/// The algorithm of a configured or announced name: the asymmetric ones that we accept.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "PS256" => Algorithm::PS256,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// Whether keys may be fetched from an address: `https`, or `http` to this
/// machine where that is allowed. No user, no backslash, no blank.
pub(crate) fn is_allowed_url(url: &str, insecure_loopback: bool) -> bool {
    if !url.bytes().all(|b| matches!(b, 0x21..=0x7e)) || url.contains(['\\', '#']) {
        return false;
    }
    let (rest, plain) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (_, Some(rest)) => (rest, true),
        _ => return false,
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() || authority.contains('@') {
        return false;
    }
    !plain || (insecure_loopback && matches!(host, "127.0.0.1" | "::1" | "localhost"))
}

/// Makes a configuration ready, or tells all its mistakes.
pub(crate) fn compile(config: &Config) -> Result<Vec<IssuerPlan>, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut plans = Vec::new();
    let mut seen = BTreeSet::new();
    if config.issuers.is_empty() {
        problems.add("issuer", "no issuer is configured, so nobody could be let in");
    }
    for (name, issuer) in &config.issuers {
        let path = format!("issuer.{name}");
        if !seen.insert(issuer.iss.as_str()) {
            problems.add(format!("{path}.iss"), "another issuer has the same `iss`");
        }
        plans.extend(compile_issuer(&path, name, issuer, &mut problems));
    }
    if problems.0.is_empty() { Ok(plans) } else { Err(problems.0) }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    /// Reads each word of a list; an empty list is a mistake too.
    fn words<T>(
        &mut self,
        path: &str,
        words: &[String],
        choices: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        if words.is_empty() {
            self.add(path, format!("is empty; name at least one of {choices}"));
        }
        let mut out = Vec::new();
        for (i, word) in words.iter().enumerate() {
            match parse(word) {
                Some(value) => out.push(value),
                None => self.add(
                    format!("{path}[{i}]"),
                    format!("`{word}` is not accepted; choose of {choices}"),
                ),
            }
        }
        out
    }

    fn duration(&mut self, path: String, text: &str, most: Duration) -> Duration {
        match duration::parse(text) {
            Some(duration) if duration <= most => duration,
            _ => {
                self.add(
                    path,
                    format!(
                        "`{text}` is no duration like `30s`, `15m` or `10h`, of at most {} s",
                        most.as_secs()
                    ),
                );
                Duration::ZERO
            }
        }
    }
}

fn compile_issuer(
    path: &str,
    name: &str,
    issuer: &IssuerConfig,
    problems: &mut Problems,
) -> Option<IssuerPlan> {
    if issuer.iss.is_empty() {
        problems.add(format!("{path}.iss"), "is empty");
    }
    let audiences = problems.words(
        &format!("{path}.audiences"),
        &issuer.audiences,
        "the names of this proxy at the issuer",
        |aud| (!aud.is_empty()).then(|| aud.to_owned()),
    );
    let algorithms = problems.words(
        &format!("{path}.algorithms"),
        &issuer.algorithms,
        "RS256, PS256, ES256, ES384, EdDSA",
        algorithm,
    );
    let may_mint = problems.words(
        &format!("{path}.may_mint"),
        &issuer.may_mint,
        "human, agent, workload, ci",
        Kind::parse,
    );
    let classes = problems.words(
        &format!("{path}.token_classes"),
        &issuer.token_classes,
        "at+jwt, JWT, untyped, id-token",
        TokenClass::parse,
    );
    let max_token_age = problems.duration(
        format!("{path}.max_token_age"),
        &issuer.max_token_age,
        MAX_CONFIG_DURATION,
    );
    let skew = problems.duration(format!("{path}.clock_skew"), &issuer.clock_skew, MAX_CLOCK_SKEW);
    let max_stale = problems.duration(
        format!("{path}.jwks_max_stale"),
        &issuer.jwks_max_stale,
        MAX_CONFIG_DURATION,
    );
    let source = source(path, issuer, problems);
    if issuer.rules.is_empty() {
        problems.add(format!("{path}.rule"), "no rule, so no token of this issuer is accepted");
    }
    let mut names = BTreeSet::new();
    let mut rules = Vec::new();
    for (i, rule) in issuer.rules.iter().enumerate() {
        let path = format!("{path}.rule[{i}]");
        if rule.name.is_empty() || !names.insert(rule.name.as_str()) {
            problems.add(format!("{path}.name"), "is empty or used by another rule of this issuer");
        }
        rules.extend(compile_rule(&path, rule, &may_mint, problems));
    }
    Some(IssuerPlan {
        name: name.to_owned(),
        iss: issuer.iss.clone(),
        audiences,
        algorithms,
        classes,
        parties: issuer.authorized_parties.clone(),
        max_token_age,
        skew,
        max_stale,
        source: source?,
        insecure_loopback: issuer.allow_insecure_loopback,
        rules,
    })
}

fn source(path: &str, issuer: &IssuerConfig, problems: &mut Problems) -> Option<Source> {
    let (key, url) = match (&issuer.jwks_uri, &issuer.discovery) {
        (Some(_), Some(_)) => {
            problems.add(format!("{path}.discovery"), "is never asked beside `jwks_uri`; drop one");
            return None;
        }
        (Some(url), None) => ("jwks_uri", url.clone()),
        (None, Some(url)) => ("discovery", url.clone()),
        // OpenID Connect Discovery 4: a `/` at the end of the issuer is not doubled.
        (None, None) => {
            let base = issuer.iss.strip_suffix('/').unwrap_or(&issuer.iss);
            if base.contains('?') {
                problems.add(format!("{path}.iss"), "has a query; state `discovery` or `jwks_uri`");
            }
            ("iss", format!("{base}/.well-known/openid-configuration"))
        }
    };
    let allowed = |url: &str| is_allowed_url(url, issuer.allow_insecure_loopback);
    // The issuer is looked at by itself too: `https://` alone has no host, but
    // what is appended to it would look like one.
    if !allowed(&url) || (key == "iss" && !allowed(&issuer.iss)) {
        problems.add(
            format!("{path}.{key}"),
            "is no `https://` address (plain `http://` to this machine needs `allow_insecure_loopback = true`)",
        );
        return None;
    }
    Some(if key == "jwks_uri" { Source::Jwks(url) } else { Source::Discovery(url) })
}

fn compile_rule(
    path: &str,
    rule: &RuleConfig,
    may_mint: &[Kind],
    problems: &mut Problems,
) -> Option<RulePlan> {
    let kind = Kind::parse(&rule.kind);
    match kind {
        None => problems.add(
            format!("{path}.kind"),
            format!("`{}` is no kind; choose of human, agent, workload, ci", rule.kind),
        ),
        Some(kind) if !may_mint.contains(&kind) => problems
            .add(format!("{path}.kind"), format!("the issuer's `may_mint` does not list `{kind}`")),
        Some(_) => {}
    }
    for (claim, condition) in &rule.when {
        check_condition(&format!("{path}.when.{claim}"), claim, condition, problems);
    }
    let claims = [
        ("subject", Some(&rule.subject)),
        ("on_behalf_of", Some(&rule.on_behalf_of)),
        ("groups", rule.groups.as_ref()),
        ("display", rule.display.as_ref()),
        ("owner", rule.owner.as_ref()),
    ];
    for (key, claim) in claims {
        if claim.is_some_and(|c| c.is_empty() || c == "/") {
            problems.add(format!("{path}.{key}"), "names no claim");
        }
    }
    let delegated = match rule.actor_from.as_deref() {
        None => false,
        Some("act") => true,
        Some(_) => {
            problems.add(format!("{path}.actor_from"), "can only be `act` (RFC 8693)");
            false
        }
    };
    let default_session = match kind {
        Some(Kind::Human) => "10h",
        Some(Kind::Workload | Kind::Ci) => "1h",
        Some(Kind::Agent) | None => "15m",
    };
    let max_session = problems.duration(
        format!("{path}.max_session"),
        rule.max_session.as_deref().unwrap_or(default_session),
        MAX_CONFIG_DURATION,
    );
    Some(RulePlan {
        name: rule.name.clone(),
        kind: kind?,
        when: rule.when.iter().map(|(c, cond)| (c.clone(), cond.clone())).collect(),
        subject: rule.subject.clone(),
        on_behalf_of: rule.on_behalf_of.clone(),
        groups: rule.groups.clone(),
        display: rule.display.clone(),
        owner: rule.owner.clone(),
        delegated,
        max_session,
    })
}

fn check_condition(path: &str, claim: &str, condition: &ConditionConfig, problems: &mut Problems) {
    let ConditionConfig { equals, one_of, contains_any, not_in, absent, present } = condition;
    if claim.is_empty() || claim == "/" {
        problems.add(path, "names no claim");
    }
    if *absent == Some(false) || *present == Some(false) {
        problems.add(path, "`absent` and `present` can only be true; write the other one instead");
    }
    let wants = equals.is_some()
        || one_of.is_some()
        || contains_any.is_some()
        || not_in.is_some()
        || present.is_some();
    if absent.is_some() && wants {
        problems.add(
            path,
            "a claim that must be absent cannot be anything else, so the rule can never match",
        );
    }
    if absent.is_none() && !wants {
        problems
            .add(path, "has no condition; use equals, in, contains_any, not_in, absent or present");
    }
    for (key, list) in [("in", one_of), ("contains_any", contains_any)] {
        if list.as_ref().is_some_and(Vec::is_empty) {
            problems.add(format!("{path}.{key}"), "is empty, so the rule can never match");
        }
    }
}
