//! Whom a client wants to act as (`kubectl --as`): only where a target lets anybody ask, only whom
//! rules let it act as, and only if the cluster would let it, too.
//!
//! The cluster can't decide that by itself: it is us whom it sees impersonate, and we may be
//! anybody. So it is asked, as the caller, whether the caller may (`SelfSubjectAccessReview`).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use serde_json::{Value, json};

use super::impersonate::{self, NameError};
use crate::body::RequestBody;
use crate::problem::Told;
use crate::target::Target;
use crate::{pool, send, uri};

/// Most groups and other values that a client may say, which each cost a question.
const MAX_SAID: usize = 32;
/// The longest answer to a question, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Where the cluster is asked.
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// How names of service accounts begin; a namespace, a colon and a name follow.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// The API group of what is said beside users and groups.
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Whom a client wants to act as, as it says in `Impersonate-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    user: String,
    uid: Option<String>,
    groups: Vec<String>,
    /// Keys, decoded, and their values.
    extra: Vec<(String, String)>,
}

/// What somebody must have the right to impersonate.
#[derive(Debug, PartialEq, Eq)]
struct Right<'a> {
    group: &'static str,
    resource: &'static str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl Wanted {
    /// Takes it out of a request's fields. None: the client says nothing of the kind.
    pub(super) fn take(fields: &mut HeaderMap) -> Result<Option<Wanted>, Told> {
        if !impersonate::is_asked(fields) {
            return Ok(None);
        }
        let (mut user, mut uid) = (Vec::new(), Vec::new());
        let (mut groups, mut extra) = (Vec::new(), Vec::new());
        let said: Vec<(HeaderName, HeaderValue)> = fields
            .iter()
            .filter(|(name, _)| impersonate::is_one(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if said.len() > MAX_SAID {
            return Err(Told::BadRequest("it wants to act as too many"));
        }
        for (name, value) in said {
            let text =
                std::str::from_utf8(value.as_bytes()).ok().filter(|it| impersonate::is_plain(it));
            let text = text.ok_or(NameError::Unwritable)?.to_owned();
            match name.as_str() {
                "impersonate-user" => user.push(text),
                "impersonate-uid" => uid.push(text),
                "impersonate-group" => groups.push(text),
                other => extra.push((key(other)?, text)),
            }
            fields.remove(name);
        }
        let (Some(user), true, true) = (user.pop(), user.is_empty(), uid.len() <= 1) else {
            return Err(Told::BadRequest("Impersonate-User must be there, once"));
        };
        Ok(Some(Wanted { user, uid: uid.pop(), groups, extra }))
    }

    /// What rules see of it: `users/bob`, `groups/dev`, `serviceaccounts/default/web`.
    pub(super) fn resources(&self) -> Vec<String> {
        let path = |it: Right<'_>| {
            let words = [it.resource, it.subresource, it.namespace, it.name];
            words.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("/")
        };
        self.rights().into_iter().map(path).collect()
    }

    /// Says it to the API server.
    pub(super) fn say(&self, fields: &mut HeaderMap) -> Result<(), NameError> {
        impersonate::say_user(fields, &self.user, self.uid.as_deref(), &self.groups)?;
        for (key, value) in &self.extra {
            impersonate::say_beside(fields, key, value)?;
        }
        Ok(())
    }

    fn rights(&self) -> Vec<Right<'_>> {
        let plain = Right { group: "", resource: "", subresource: "", namespace: "", name: "" };
        let account = self.user.strip_prefix(SERVICE_ACCOUNT).and_then(|it| it.split_once(':'));
        let mut all = vec![match account {
            Some((namespace, name)) => {
                Right { resource: "serviceaccounts", namespace, name, ..plain }
            }
            None => Right { resource: "users", name: &self.user, ..plain },
        }];
        let group = AUTHENTICATION;
        all.extend(self.groups.iter().map(|name| Right { resource: "groups", name, ..plain }));
        all.extend(self.uid.iter().map(|name| Right { group, resource: "uids", name, ..plain }));
        all.extend(self.extra.iter().map(|(subresource, name)| Right {
            group,
            resource: "userextras",
            subresource,
            name,
            ..plain
        }));
        all
    }

    /// Whether the cluster lets the caller, of whom these fields speak, act so.
    pub(super) async fn check(
        &self,
        target: &Target,
        key: pool::Key,
        caller: &HeaderMap,
    ) -> Result<(), Told> {
        for right in self.rights() {
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": { "resourceAttributes": {
                    "verb": "impersonate", "group": right.group, "resource": right.resource,
                    "subresource": right.subresource, "namespace": right.namespace,
                    "name": right.name,
                } },
            });
            let answer = ask(target, key, caller, &review).await?;
            if answer.pointer("/status/allowed") != Some(&Value::Bool(true)) {
                return Err(Told::MayNotImpersonate);
            }
        }
        Ok(())
    }
}

/// The key of what is said beside, decoded. Ours is nobody else's to say.
fn key(name: &str) -> Result<String, Told> {
    let told = || Told::Impersonation;
    let coded = name.strip_prefix("impersonate-extra-").ok_or_else(told)?;
    let key = uri::unescape(coded, false).and_then(|it| String::from_utf8(it).ok());
    let key = key.ok_or_else(told)?.to_lowercase();
    match key.is_empty() || key.starts_with(impersonate::DOMAIN) {
        true => Err(told()),
        false => Ok(key),
    }
}

/// Asks the cluster, as the caller.
async fn ask(
    target: &Target,
    key: pool::Key,
    caller: &HeaderMap,
    review: &Value,
) -> Result<Value, Told> {
    let upstream = &target.upstream;
    let mut request = Request::new(RequestBody::full(Bytes::from(review.to_string())));
    *request.method_mut() = Method::POST;
    let path: Uri = format!("{}{REVIEWS}", upstream.path).parse().map_err(|_| Told::TargetBroke)?;
    *request.uri_mut() = path;
    let fields = request.headers_mut();
    fields.extend(caller.clone());
    let json = HeaderValue::from_static("application/json");
    fields.insert(header::CONTENT_TYPE, json.clone());
    fields.insert(header::ACCEPT, json);
    if let Some((name, value)) = upstream.credential.field().await? {
        fields.insert(name, value);
    }
    let answer = send::ask(target, key, request, MAX_ANSWER_BYTES).await?;
    serde_json::from_slice(&answer).map_err(|_| Told::TargetBroke)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(said: &[(&str, &str)]) -> Result<Option<Wanted>, Told> {
        let mut fields = HeaderMap::new();
        for (name, value) in said {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            fields.append(name, HeaderValue::from_str(value).unwrap());
        }
        let taken = Wanted::take(&mut fields)?;
        assert!(!impersonate::is_asked(&fields), "none of it is left");
        Ok(taken)
    }

    #[test]
    fn whom_a_client_wants_to_act_as_is_read_as_the_server_does() {
        assert_eq!(taken(&[("accept", "x")]).unwrap(), None);
        let wanted = taken(&[
            ("Impersonate-User", "bob"),
            ("Impersonate-Group", "dev"),
            ("impersonate-group", "ops"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Extra-acme.com%2fproject", "x"),
        ]);
        let wanted = wanted.unwrap().unwrap();
        assert_eq!(
            wanted.resources(),
            ["users/bob", "groups/dev", "groups/ops", "uids/7", "userextras/acme.com/project/x"]
        );
        let mut fields = HeaderMap::new();
        wanted.say(&mut fields).unwrap();
        assert_eq!(fields["impersonate-user"], "bob");
        assert_eq!(fields.get_all("impersonate-group").iter().count(), 2);
        assert_eq!(fields["impersonate-extra-acme.com%2fproject"], "x");
        let account = taken(&[("Impersonate-User", "system:serviceaccount:prod:web")]);
        assert_eq!(account.unwrap().unwrap().resources(), ["serviceaccounts/prod/web"]);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for said in [
            &[("Impersonate-Group", "dev")][..],
            &[("Impersonate-User", "a"), ("Impersonate-User", "b")],
            &[("Impersonate_User", "a")],
            &[("Impersonate-User", "a"), ("Impersonate-Something", "b")],
            &[("Impersonate-User", "a"), ("Impersonate-Extra-", "b")],
            &[("Impersonate-User", "a"), ("Impersonate-Extra-a%2", "b")],
            &[("Impersonate-User", "a"), ("Impersonate-Extra-greffier.dev%2Factor", "b")],
            &[("Impersonate-User", "a"), ("Impersonate-Extra-%67reffier.dev%2factor", "b")],
            &[("Impersonate-User", "")],
        ] {
            assert!(taken(said).is_err(), "{said:?}");
        }
        let many = [("Impersonate-Group", "a"); MAX_SAID + 1];
        assert!(taken(&many).is_err());
    }
}
