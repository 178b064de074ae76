//! Kubeconfigs as people have them, and plugins as clouds have them, played by shell scripts.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube_access::{Access, AccessError, AuthorizationError};

/// A kubeconfig with these users' keys, and these of its cluster.
fn kubeconfig(folder: &Path, user: &str, cluster: &str) -> PathBuf {
    let file = folder.join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: one\n\
         clusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:6443/below\n{cluster}\
         contexts:\n- name: one\n  context: {{cluster: c, user: u}}\n\
         - name: two\n  context: {{cluster: elsewhere, user: u}}\n\
         - name: three\n  context: {{cluster: c, user: nobody}}\n\
         users:\n- name: u\n  user:\n{user}"
    );
    fs::write(&file, text).unwrap();
    file
}

/// A plugin that runs these lines.
fn plugin(folder: &Path, lines: &str) -> String {
    let file = folder.join("plugin");
    fs::write(&file, format!("#!/bin/sh\necho run >> {0}/runs\n{lines}\n", folder.display()))
        .unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
    "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: ./plugin\n      \
     interactiveMode: IfAvailable\n"
        .to_owned()
}

/// What a plugin prints: this token, until then.
fn credential(token: &str, expires: &str) -> String {
    format!(
        "echo '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\
         \"status\":{{\"token\":\"{token}\",\"expirationTimestamp\":\"{expires}\"}}}}'"
    )
}

fn runs(folder: &Path) -> usize {
    fs::read_to_string(folder.join("runs")).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn a_context_says_where_and_who() {
    let folder = tempfile::tempdir().unwrap();
    let file = kubeconfig(folder.path(), "    token: canary-1\n", "");
    let access = Access::of_kubeconfig(&file, None).unwrap();
    assert_eq!(access.url, "https://127.0.0.1:6443/below");
    assert!(access.tls.is_some() && access.server_name.is_none());
    let shown = access.authorization.as_ref().unwrap().current().await.unwrap();
    assert_eq!(shown, "Bearer canary-1");
    assert!(shown.is_sensitive());
    assert!(!format!("{access:?}").contains("canary"));

    let named = kubeconfig(folder.path(), "    token: x\n", "    tls-server-name: kube.test\n");
    let access = Access::of_kubeconfig(&named, Some("one")).unwrap();
    assert_eq!(access.server_name, Some("kube.test".try_into().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_token_s_file_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "first\n").unwrap();
    let file = kubeconfig(folder.path(), "    tokenFile: token\n", "");
    let authorization = Access::of_kubeconfig(&file, None).unwrap().authorization.unwrap();
    assert_eq!(authorization.current().await.unwrap(), "Bearer first");
    fs::write(folder.path().join("token"), "second").unwrap();
    assert_eq!(authorization.current().await.unwrap(), "Bearer first");
    tokio::time::advance(kube_access::HELD).await;
    assert_eq!(authorization.current().await.unwrap(), "Bearer second");
    // What was read last counts on, if there is nothing better.
    fs::remove_file(folder.path().join("token")).unwrap();
    tokio::time::advance(kube_access::HELD).await;
    assert_eq!(authorization.current().await.unwrap(), "Bearer second");
}

#[tokio::test]
async fn a_plugin_is_asked_again_when_its_token_expires() {
    let folder = tempfile::tempdir().unwrap();
    let user = plugin(folder.path(), &credential("first", "2126-01-01T00:00:00Z"));
    let access = Access::of_kubeconfig(&kubeconfig(folder.path(), &user, ""), None).unwrap();
    let asked = runs(folder.path());
    let authorization = access.authorization.unwrap();
    for _ in 0..20 {
        assert_eq!(authorization.current().await.unwrap(), "Bearer first");
    }
    assert_eq!(runs(folder.path()), asked, "it is not asked for each request");

    // One whose token ends within a minute is asked before it does, by many at once, once.
    let user = plugin(folder.path(), &credential("second", "2026-01-01T00:00:00Z"));
    let access = Access::of_kubeconfig(&kubeconfig(folder.path(), &user, ""), None).unwrap();
    let asked = runs(folder.path());
    let authorization = access.authorization.unwrap();
    let all = (0..20).map(|_| {
        let authorization = authorization.clone();
        tokio::spawn(async move { authorization.current().await })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap().unwrap(), "Bearer second");
    }
    assert_eq!(runs(folder.path()), asked + 1);
}

#[tokio::test]
async fn a_plugin_that_fails_is_told_without_what_it_printed() {
    let folder = tempfile::tempdir().unwrap();
    let user = plugin(folder.path(), "echo canary; echo canary >&2; exit 1");
    let file = kubeconfig(folder.path(), &user, "");
    let error = Access::of_kubeconfig(&file, None).unwrap_err();
    assert!(matches!(error, AccessError::Credential { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("canary"));
    // One that fails later.
    let expired = credential("old", "2026-01-01T00:00:00Z");
    let once = format!("test -e {0}/failing && exit 1\n{expired}", folder.path().display());
    plugin(folder.path(), &once);
    let authorization = Access::of_kubeconfig(&file, None).unwrap().authorization.unwrap();
    fs::write(folder.path().join("failing"), "").unwrap();
    let asked = runs(folder.path());
    for _ in 0..20 {
        assert_eq!(authorization.current().await.unwrap_err(), AuthorizationError::Failed);
    }
    assert_eq!(runs(folder.path()), asked + 1, "a failure is not tried again at once");
    tokio::time::sleep(kube_access::RETRY_AFTER + Duration::from_millis(200)).await;
    fs::remove_file(folder.path().join("failing")).unwrap();
    assert_eq!(authorization.current().await.unwrap(), "Bearer old");
}

#[tokio::test]
async fn a_plugin_that_hangs_holds_nobody_up_while_its_last_token_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let expired = credential("last", "2026-01-01T00:00:00Z");
    let hang = format!(
        "cd {0}\ntest -e hanging && echo $$ > pid && exec sleep 60\n{expired}",
        folder.path().display()
    );
    let user = plugin(folder.path(), &hang);
    let access = Access::of_kubeconfig(&kubeconfig(folder.path(), &user, ""), None).unwrap();
    let authorization = access.authorization.unwrap();
    assert_eq!(authorization.current().await.unwrap(), "Bearer last");
    fs::write(folder.path().join("hanging"), "").unwrap();
    let asked = runs(folder.path());
    tokio::time::sleep(kube_access::HELD).await;
    let begun = std::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(authorization.current().await.unwrap(), "Bearer last");
    }
    assert!(begun.elapsed() < kube_access::ASK_TIMEOUT, "{:?}", begun.elapsed());
    assert_eq!(runs(folder.path()), asked + 1, "one hangs, and no other is begun");
    let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
    assert!(std::process::Command::new("kill").arg(pid.trim()).status().unwrap().success());
}

#[test]
fn what_is_not_followed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plain = "    token: canary\n";
    let always = plugin(folder.path(), "true").replace("IfAvailable", "Always");
    for (user, cluster, context, wanted) in [
        (plain, "    insecure-skip-tls-verify: true\n", None, "says `insecure-skip-tls-verify`"),
        (plain, "    proxy-url: http://127.0.0.1:1\n", None, "says `proxy-url`"),
        ("    token: canary\n    as: root\n", "", None, "says `as`"),
        ("    token: canary\n    as-groups: [x]\n", "", None, "says `as-groups`"),
        (
            plain,
            "    certificate-authority: gone.crt\n",
            None,
            "certificate authority can't be read",
        ),
        (plain, "", Some("four"), "has no context \"four\"; there are: one, two, three"),
        (plain, "", Some("two"), "has no cluster \"elsewhere\""),
        (plain, "", Some("three"), "has no user \"nobody\""),
        (&always, "", None, "interactiveMode: Always"),
        ("    tokenFile: gone\n", "", None, "its token's file can't be read"),
        ("    token: [canary\n", "", None, "is no kubeconfig"),
    ] {
        let file = kubeconfig(folder.path(), user, cluster);
        let error = Access::of_kubeconfig(&file, context).unwrap_err();
        assert!(error.to_string().contains(wanted), "{wanted}: {error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
    let error = Access::of_kubeconfig(&folder.path().join("gone"), None).unwrap_err();
    assert!(matches!(error, AccessError::Read(_)), "{error:?}");
    // Unless these tests run in a pod.
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        let error = Access::in_cluster().unwrap_err();
        assert!(error.to_string().contains("no pod's access is here"), "{error}");
    }
}
