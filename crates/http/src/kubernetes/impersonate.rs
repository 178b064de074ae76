//! Who asks, as the API server is told: by impersonation (kubernetes.io, "Authentication", "User
//! impersonation"). It then decides by its own RBAC, and writes its own audit log, for the caller
//! and not for us.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use identity::Principal;

use super::Kubernetes;

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
/// How the names begin of all fields of impersonation, those of later versions too.
const PREFIX: &str = "impersonate-";
/// How names begin that are the cluster's own: no token may say them.
const RESERVED: &str = "system:";
/// How the keys begin of what we say beside, as the cluster's audit log has them. In a field's name
/// the slash is percent-encoded.
pub(super) const DOMAIN: &str = "greffier.dev/";

/// Why somebody can't be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error(
        "the token's subject or a group of it begins with `system:`, which is the cluster's own"
    )]
    Reserved,
    #[error("the token's subject or a group of it can't stand in a field")]
    Unwritable,
}

/// Whether a client says who it wants to be: by us it is who its token says.
pub(crate) fn is_asked(fields: &HeaderMap) -> bool {
    fields.keys().any(is_one)
}

/// Whether a field says so.
pub(super) fn is_one(name: &HeaderName) -> bool {
    // Some servers read `_` as `-`.
    name.as_str().replace('_', "-").starts_with(PREFIX)
}

/// Says who asks. The client's own words for it were refused before.
///
/// A delegated token is the right of the one acted for, used by somebody else: as a cluster that
/// reads such a token itself, so is the user here the one acted for. Who acts is said beside.
pub(crate) fn say(
    fields: &mut HeaderMap,
    target: &Kubernetes,
    principal: &Principal,
    session: &str,
) -> Result<(), NameError> {
    let subject = principal.acts_for().map_or(&principal.subject, |it| &it.subject);
    fields.insert(USER, named(&target.user_prefix, principal, subject)?);
    fields.insert(UID, named(&target.user_prefix, principal, subject)?);
    for group in &principal.groups {
        fields.append(GROUP, named(&target.group_prefix, principal, group)?);
    }
    say_session(fields, principal, session)?;
    if !principal.on_behalf_of.is_empty() {
        say_ours(fields, "actor", &principal.subject)?;
        for actor in principal.on_behalf_of.iter().rev().skip(1) {
            say_ours(fields, "actor", &actor.subject)?;
        }
    }
    Ok(())
}

/// Says who asks of somebody who acts as another by the cluster's leave: the other is the user, and
/// every one that acts is said beside.
pub(super) fn say_actors(
    fields: &mut HeaderMap,
    principal: &Principal,
    session: &str,
) -> Result<(), NameError> {
    say_session(fields, principal, session)?;
    let behind = principal.on_behalf_of.iter().rev().map(|it| &it.subject);
    let mut all = std::iter::once(&principal.subject).chain(behind);
    all.try_for_each(|it| say_ours(fields, "actor", it))
}

/// Says a user in the words of the cluster.
pub(super) fn say_user(
    fields: &mut HeaderMap,
    user: &str,
    uid: Option<&str>,
    groups: &[String],
) -> Result<(), NameError> {
    fields.insert(USER, value(user)?);
    if let Some(uid) = uid {
        fields.insert(UID, value(uid)?);
    }
    for group in groups {
        fields.append(GROUP, value(group)?);
    }
    Ok(())
}

/// Says something of a user beside, under a key.
pub(super) fn say_beside(fields: &mut HeaderMap, key: &str, said: &str) -> Result<(), NameError> {
    let mut name = "impersonate-extra-".to_owned();
    for byte in key.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => name.push(char::from(byte)),
            false => name.push_str(&format!("%{byte:02x}")),
        }
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| NameError::Unwritable)?;
    fields.append(name, value(said)?);
    Ok(())
}

/// Where our record of it is, and whose token it was.
fn say_session(
    fields: &mut HeaderMap,
    principal: &Principal,
    session: &str,
) -> Result<(), NameError> {
    say_ours(fields, "session", session)?;
    say_ours(fields, "kind", principal.kind.as_str())?;
    say_ours(fields, "issuer", &principal.issuer)
}

fn say_ours(fields: &mut HeaderMap, name: &str, said: &str) -> Result<(), NameError> {
    say_beside(fields, &format!("{DOMAIN}{name}"), said)
}

fn named(prefix: &str, principal: &Principal, name: &str) -> Result<HeaderValue, NameError> {
    let whole = format!("{}{name}", prefix.replace("{issuer}", &principal.issuer));
    if whole.starts_with(RESERVED) {
        return Err(NameError::Reserved);
    }
    value(&whole)
}

/// Whether a text is the same to every reader of a field's value.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.trim_matches([' ', '\t']) == text
}

/// A field's value. The server takes it as it is, so nothing is encoded; blanks at its ends would
/// be lost on the way.
fn value(text: &str) -> Result<HeaderValue, NameError> {
    let value = is_plain(text).then(|| HeaderValue::from_bytes(text.as_bytes()).ok()).flatten();
    value.ok_or(NameError::Unwritable)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use identity::{Actor, ActorRole, Kind};

    use super::super::Masks;
    use super::*;

    fn principal(subject: &str, groups: &[&str], on_behalf_of: &[&str]) -> Principal {
        let actor = |it: &&str| Actor {
            issuer: "https://id.example.org".into(),
            subject: (*it).to_owned(),
            role: ActorRole::Subject,
        };
        Principal {
            issuer: "https://id.example.org".into(),
            subject: subject.into(),
            kind: Kind::Agent,
            display: String::new(),
            groups: groups.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>(),
            on_behalf_of: on_behalf_of.iter().map(actor).collect(),
            owner: None,
            rule: "dev/agents".into(),
        }
    }

    fn target() -> Kubernetes {
        let nothing = |_| Ok::<_, ()>(Arc::new(masking::Policy::empty()));
        Kubernetes::new(Masks::new(false, nothing).unwrap())
    }

    fn said(principal: &Principal) -> Result<Vec<String>, NameError> {
        let mut fields = HeaderMap::new();
        say(&mut fields, &target(), principal, "s1")?;
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        Ok(fields.iter().map(line).collect())
    }

    #[test]
    fn a_caller_is_told_with_its_groups_and_where_the_record_is() {
        let lines = said(&principal("alice@example.org", &["dev", "ops"], &[])).unwrap();
        assert_eq!(
            lines,
            [
                "impersonate-user: alice@example.org",
                "impersonate-uid: alice@example.org",
                "impersonate-group: dev",
                "impersonate-group: ops",
                "impersonate-extra-greffier.dev%2fsession: s1",
                "impersonate-extra-greffier.dev%2fkind: agent",
                "impersonate-extra-greffier.dev%2fissuer: https://id.example.org",
            ]
        );
    }

    #[test]
    fn who_acts_for_somebody_uses_that_one_s_right() {
        let lines = said(&principal("bot-2", &[], &["bot-1", "alice"])).unwrap();
        assert_eq!(lines[0], "impersonate-user: alice");
        assert_eq!(
            lines[lines.len() - 2..],
            [
                "impersonate-extra-greffier.dev%2factor: bot-2",
                "impersonate-extra-greffier.dev%2factor: bot-1",
            ]
        );
    }

    #[test]
    fn nobody_becomes_the_cluster_s_own() {
        for (subject, group) in [("system:admin", "x"), ("alice", "system:masters")] {
            assert_eq!(said(&principal(subject, &[group], &[])), Err(NameError::Reserved));
        }
        // With a prefix it is another name.
        let target =
            Kubernetes { user_prefix: "oidc:".into(), group_prefix: "oidc:".into(), ..target() };
        let mut fields = HeaderMap::new();
        say(&mut fields, &target, &principal("a", &["system:masters"], &[]), "s").unwrap();
        assert_eq!(fields[GROUP], "oidc:system:masters");
        let target = Kubernetes { user_prefix: "{issuer}#".into(), ..target };
        say(&mut fields, &target, &principal("a", &[], &[]), "s").unwrap();
        assert_eq!(fields[USER], "https://id.example.org#a");
        // Nor does a name that is another one behind the next parser.
        for subject in ["", " system:admin", "a\nb", "a\t"] {
            assert_eq!(said(&principal(subject, &[], &[])), Err(NameError::Unwritable));
        }
    }

    #[test]
    fn the_client_s_own_words_are_found_however_they_are_spelled() {
        for name in
            ["Impersonate-User", "impersonate-extra-x%2fy", "Impersonate_Group", "impersonate-new"]
        {
            let mut fields = HeaderMap::new();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            fields.insert(name, HeaderValue::from_static("x"));
            assert!(is_asked(&fields));
        }
        assert!(!is_asked(&HeaderMap::new()));
    }
}
