//! Tables of requests, written by hand, and what they ask.

use kubernetes_wire::{Access, Attributes, AttributesError};
use proptest::prelude::*;

fn of(method: &str, url: &str) -> Result<Attributes, AttributesError> {
    let (path, query) =
        url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    Attributes::of(method, path, query, false)
}

/// Method and URL; verb, resource path, namespace, name (`-` for none).
const RESOURCES: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/namespaces", "list core/namespaces - -"),
    ("GET", "/api/v1/namespaces/other", "get core/namespaces other other"),
    ("GET", "/api/v1/namespaces/other/pods", "list core/pods other -"),
    ("GET", "/api/v1/namespaces/other/pods/", "list core/pods other -"),
    ("GET", "/api/v1/namespaces/other/pods/foo", "get core/pods other foo"),
    ("HEAD", "/api/v1/namespaces/other/pods/foo", "get core/pods other foo"),
    ("GET", "/api/v1/pods", "list core/pods - -"),
    ("HEAD", "/api/v1/pods", "list core/pods - -"),
    ("GET", "/api/v1/nodes/n1", "get core/nodes - n1"),
    ("GET", "/api/v1/nodes/n1/proxy/metrics", "get core/nodes/proxy - n1"),
    ("GET", "/api/v1/namespaces/other/status", "get core/namespaces/status other other"),
    ("PUT", "/api/v1/namespaces/other/finalize", "update core/namespaces/finalize other other"),
    ("GET", "/api/v1/namespaces/other/finalizers", "list core/finalizers other -"),
    ("GET", "/api/v1/namespaces/other/pods/foo/log", "get core/pods/log other foo"),
    ("POST", "/api/v1/namespaces/other/pods", "create core/pods other -"),
    ("PUT", "/api/v1/namespaces/other/pods/foo", "update core/pods other foo"),
    ("PATCH", "/api/v1/namespaces/other/pods/foo", "patch core/pods other foo"),
    ("DELETE", "/api/v1/namespaces/other/pods/foo", "delete core/pods other foo"),
    ("DELETE", "/api/v1/namespaces/other/pods", "deletecollection core/pods other -"),
    ("DELETE", "/api/v1/pods?fieldSelector=metadata.name%3Da", "deletecollection core/pods - -"),
    ("OPTIONS", "/api/v1/pods", " core/pods - -"),
    ("TRACE", "/api/v1/pods/foo", " core/pods - foo"),
    ("GET", "/api/v1/pods?watch", "watch core/pods - -"),
    ("GET", "/api/v1/pods?watch=", "watch core/pods - -"),
    ("GET", "/api/v1/pods?watch=1", "watch core/pods - -"),
    ("GET", "/api/v1/pods?watch=true", "watch core/pods - -"),
    ("GET", "/api/v1/pods?watch=0", "list core/pods - -"),
    ("GET", "/api/v1/pods?watch=false", "list core/pods - -"),
    ("GET", "/api/v1/pods?watch=False", "list core/pods - -"),
    ("GET", "/api/v1/pods?watch=nope", "watch core/pods - -"),
    ("GET", "/api/v1/pods?Watch=1", "list core/pods - -"),
    ("GET", "/api/v1/pods?w%61tch=%31", "watch core/pods - -"),
    ("GET", "/api/v1/pods/foo?watch=1", "get core/pods - foo"),
    ("GET", "/api/v1/pods?watch=1&limit=x", "watch core/pods - -"),
    ("POST", "/api/v1/pods?watch=1", "create core/pods - -"),
    ("GET", "/api/v1/watch/pods", "watch core/pods - -"),
    ("GET", "/api/v1/watch/namespaces", "watch core/namespaces - -"),
    ("GET", "/api/v1/watch/namespaces/other/pods", "watch core/pods other -"),
    ("GET", "/api/v1/watch/namespaces/other/pods/foo", "watch core/pods other foo"),
    ("DELETE", "/api/v1/watch/pods", "watch core/pods - -"),
    ("GET", "/api/v1/proxy/nodes/n1", "proxy core/nodes - n1"),
    ("GET", "/api/v1/proxy/nodes/n1/run/x", "proxy core/nodes - n1"),
    ("GET", "/api/v1/proxy/namespaces/other/pods/foo", "proxy core/pods other foo"),
    ("GET", "/api/v1/namespaces/other/watch/x", "get core/watch other x"),
    ("GET", "/api/v1/secrets?fieldSelector=metadata.name%3Ddb", "list core/secrets - db"),
    ("GET", "/api/v1/secrets?watch=1&fieldSelector=metadata.name=db", "watch core/secrets - db"),
    ("GET", "/api/v1/secrets?fieldSelector=metadata.name%3D%3Ddb", "list core/secrets - db"),
    ("GET", "/api/v1/secrets?fieldSelector=metadata.name!=db", "list core/secrets - -"),
    ("GET", "/api/v1/secrets?fieldSelector=a=b,metadata.name=db", "list core/secrets - db"),
    ("GET", "/api/v1/secrets?fieldSelector=metadata.name=db&limit=x", "list core/secrets - -"),
    ("GET", "/api/v1/secrets?fieldSelector=metadata.name=..", "list core/secrets - -"),
    ("GET", "/api/v1/secrets?fieldSelector=metadata.name=a%2Fb", "list core/secrets - -"),
    ("GET", "/apis/apps/v1/deployments", "list apps/deployments - -"),
    ("GET", "/apis/apps/v1/namespaces", "list apps/namespaces - -"),
    ("GET", "/apis/apps/v1/namespaces/other/deployments/web", "get apps/deployments other web"),
    ("PUT", "/apis/apps/v1/namespaces/o/deployments/w/scale", "update apps/deployments/scale o w"),
    ("PATCH", "/apis/apps/v1/namespaces/o/deployments/w", "patch apps/deployments o w"),
    (
        "DELETE",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
        "delete rbac.authorization.k8s.io/clusterroles - system:node",
    ),
    ("GET", "/apis/apps/v1/watch/deployments", "watch apps/deployments - -"),
    ("GET", "/apis/apps/v1/proxy/x/y/z", "proxy apps/x - y"),
    ("POST", "/api/v1/namespaces/o/pods/foo/exec?command=ls", "create core/pods/exec o foo"),
    (
        "GET",
        "/api/v1/namespaces/o/services/https:web:443/proxy/",
        "get core/services/proxy o https:web:443",
    ),
    ("GET", "/api/v1/namespaces/o/configmaps/a%20b", "get core/configmaps o a b"),
    ("GET", "/api/v1/namespaces/o/%70ods", "list core/pods o -"),
];

#[test]
fn resources() {
    for &(method, url, want) in RESOURCES {
        let it = of(method, url).unwrap();
        let dash = |it: &str| if it.is_empty() { "-".to_owned() } else { it.to_owned() };
        let path = it.resource_path().unwrap();
        let found = [it.verb.clone(), path, dash(&it.namespace), dash(&it.name)].join(" ");
        assert_eq!(found, want, "{method} {url}");
        assert!(!it.is_discovery(), "{url}");
    }
}

#[test]
fn what_is_no_resource() {
    for (url, prefix, discovery) in [
        ("/", "", true),
        ("/api", "", true),
        ("/api/", "", true),
        ("/api/v1", "", true),
        ("/api/v1/", "", true),
        ("/apis", "", true),
        ("/apis/apps", "", true),
        ("/apis/apps/v1", "apis", true),
        ("/openapi/v3/apis/apps/v1", "", true),
        ("/version", "", true),
        ("/healthz", "", true),
        ("/livez", "", true),
        ("/readyz/", "", true),
        ("/livez/etcd", "", false),
        ("/metrics", "", false),
        ("/logs/kubelet.log", "", false),
        ("/apix/v1/pods/foo", "", false),
        ("/API/v1/pods", "", false),
    ] {
        let it = of("GET", url).unwrap();
        assert!(!it.is_resource && it.resource_path().is_none(), "{url}");
        assert_eq!((it.path.as_str(), it.verb.as_str()), (url, "get"));
        assert_eq!((it.api_prefix.as_str(), it.is_discovery()), (prefix, discovery), "{url}");
        assert_eq!(it.operation(), format!("get {url}"));
        assert_eq!(it.access(), Access::Read);
        let it = of("POST", url).unwrap();
        assert!(!it.is_discovery());
        assert_eq!((it.verb.as_str(), it.access()), ("post", Access::Write));
    }
}

#[test]
fn what_runs_something() {
    for url in [
        "/api/v1/namespaces/o/pods/p/exec",
        "/api/v1/namespaces/o/pods/p/attach",
        "/api/v1/namespaces/o/pods/p/portforward",
        "/api/v1/namespaces/o/pods/p/proxy",
        "/api/v1/namespaces/o/services/s/proxy/a",
        "/api/v1/nodes/n/proxy/exec/o/p/c",
        "/api/v1/watch/namespaces/o/pods/p/exec",
        "/api/v1/proxy/nodes/n",
        "/apis/subresources.kubevirt.io/v1/namespaces/o/virtualmachineinstances/v/portforward",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
            let it = of(method, url).unwrap();
            assert!(it.is_exec_class(), "{method} {url}");
            assert_eq!(it.access(), Access::Write);
        }
        let it = of("POST", &format!("{url}?dryRun=All")).unwrap();
        assert!(!it.dry_run, "{url}");
    }
    let url = "/api/v1/namespaces/o/pods/p/ephemeralcontainers";
    assert!(!of("GET", url).unwrap().is_exec_class());
    assert!(of("PATCH", url).unwrap().is_exec_class());
    assert!(of("PUT", url).unwrap().is_exec_class());
    for (path, want) in [
        ("/api/v1/namespaces/o/pods/p/log", false),
        ("/api/v1/watch/pods", false),
        ("/api/v1/pods", true),
        ("/apis/subresources.kubevirt.io/v1/namespaces/o/virtualmachineinstances/v/vnc", true),
    ] {
        let it = Attributes::of("GET", path, None, true).unwrap();
        assert_eq!(it.is_exec_class(), want, "{path}");
        assert_eq!(it.access() == Access::Write, want, "{path}");
    }
}

#[test]
fn names_of_operations() {
    for (method, url, want) in [
        ("POST", "/apis/apps/v1/namespaces/o/deployments", "create deployments.apps"),
        ("PUT", "/apis/apps/v1/namespaces/o/deployments/w/scale", "update deployments.apps/scale"),
        ("POST", "/api/v1/namespaces/o/pods/p/exec", "create pods/exec"),
        ("OPTIONS", "/api/v1/pods", "options pods"),
        ("GET", "/version", "get /version"),
    ] {
        let it = of(method, url).unwrap();
        assert_eq!((it.operation().as_str(), it.to_string().as_str()), (want, want));
    }
}

#[test]
fn options_of_the_query() {
    let it = of("PATCH", "/api/v1/nodes/n?dryRun=All&fieldManager=kubectl&force=true").unwrap();
    assert!(it.dry_run);
    assert_eq!(it.field_manager.as_deref(), Some("kubectl"));
    assert!(of("PATCH", "/api/v1/nodes/n?dryRun=All&dryRun=All").unwrap().dry_run);
    for url in ["/api/v1/nodes/n", "/api/v1/nodes/n?dryRun", "/api/v1/nodes/n?dryRun=all"] {
        assert!(!of("PATCH", url).unwrap().dry_run, "{url}");
    }
    assert!(!of("GET", "/api/v1/nodes/n?dryRun=All").unwrap().dry_run);

    let it = of("GET", "/api/v1/pods?fieldSelector=a%3Db&labelSelector=c%3Dd").unwrap();
    assert_eq!((it.field_selector.as_str(), it.label_selector.as_str()), ("a=b", "c=d"));
    let it = of("GET", "/api/v1/watch/pods?fieldSelector=a%3Db").unwrap();
    assert_eq!((it.field_selector.as_str(), it.watches()), ("", true));

    let log = "/api/v1/namespaces/o/pods/p/log";
    assert!(!of("GET", log).unwrap().follows_logs());
    assert!(of("GET", &format!("{log}?follow=true")).unwrap().follows_logs());
    assert!(!of("GET", &format!("{log}?follow=false")).unwrap().follows_logs());

    let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert!(of("POST", review).unwrap().is_self_review());
    assert!(!of("POST", &review.replace("selfsub", "sub")).unwrap().is_self_review());
}

#[test]
fn what_exec_asks_for() {
    let query = Some(
        "command=sh&command=-c&command=echo+a%2Bb+%C3%A9&container=web&stdin=true&tty=1&stdout=0",
    );
    let it = Attributes::of("POST", "/api/v1/namespaces/o/pods/p/exec", query, true).unwrap();
    let exec = it.exec_request(query).unwrap().unwrap();
    assert_eq!(exec.command, ["sh", "-c", "echo a+b \u{e9}"]);
    assert_eq!(exec.container.as_deref(), Some("web"));
    assert!(exec.stdin && exec.tty && !exec.stdout && !exec.stderr);
    let shown = format!("{exec:?} {it:?}");
    assert!(!shown.contains("echo"), "{shown}");

    let path = "/api/v1/namespaces/o/pods/p/portforward";
    let it = Attributes::of("GET", path, None, true).unwrap();
    let ports = |query| it.exec_request(Some(query)).map(|it| it.unwrap().ports);
    assert_eq!(ports("ports=80,443&ports=1"), Ok(vec![80, 443, 1]));
    for bad in ["ports=", "ports=x", "ports=65536", "ports=%2B1", "ports=1,,2"] {
        assert_eq!(ports(bad), Err(AttributesError::Port), "{bad}");
    }
    assert_eq!(of("GET", "/api/v1/pods").unwrap().exec_request(None), Ok(None));
}

#[test]
fn what_two_readers_could_read_differently() {
    use AttributesError as E;
    let resource = E::Segment { what: "resource" };
    let path = E::Character { what: "path" };
    for (url, want) in [
        ("api/v1/pods", E::NotAbsolute),
        ("", E::NotAbsolute),
        ("//", E::EmptySegment),
        ("//api/v1/pods", E::EmptySegment),
        ("/api//v1/pods", E::EmptySegment),
        ("/api/v1/pods//", E::EmptySegment),
        ("/api/v1/x/../pods", E::DotSegment),
        ("/api/v1/./pods", E::DotSegment),
        ("/api/v1/%2e%2E/pods", E::DotSegment),
        ("/api/v1/namespaces/o/pods/p/proxy/..", E::DotSegment),
        ("/api/v1/namespaces/a%2fb/pods", E::EscapedSlash),
        ("/api/v1/pods%2Fp", E::EscapedSlash),
        ("/api/v1/pods/a%252fb", E::EscapedSlash),
        ("/api/v1/pods/a%5cb", path),
        ("/api/v1/pods/a\\b", path),
        ("/api/v1/pods/a%00", path),
        ("/api/v1/pods/a%C2%85", path),
        ("/api/v1/pods#x", path),
        ("/api/v1/p\u{f6}ds", path),
        ("/api/v1/pods/%", E::Escape { what: "path" }),
        ("/api/v1/pods/%e4", E::NotUtf8 { what: "path" }),
        ("/api/v1/p%C3%B6ds", resource),
        ("/api/v1/Pods", resource),
        ("/api/v1/pod%53", resource),
        ("/api/v1/namespaces/o/pods;x", resource),
        ("/api/v1/pods/p/Exec", E::Segment { what: "subresource" }),
        ("/api/V1/pods", E::Segment { what: "version" }),
        ("/apis/Apps/v1/deployments", E::Segment { what: "group" }),
        ("/api/v1/watch", E::Incomplete),
        ("/apis/apps/v1/proxy/", E::Incomplete),
        ("/api/v1/pods?watch=1&watch=0", E::TwoValues { name: "watch" }),
        ("/api/v1/pods?dryRun=All&dryRun=", E::TwoValues { name: "dryRun" }),
        ("/api/v1/pods?watch=1;x=2", E::Semicolon),
        ("/api/v1/pods?watch=%zz", E::Escape { what: "query" }),
        ("/api/v1/pods?x=%ff", E::NotUtf8 { what: "query" }),
    ] {
        assert_eq!(of("GET", url).err(), Some(want), "{url}");
    }
    for method in ["", "get", "Get", "GET ", "G\u{cb}T"] {
        assert_eq!(of(method, "/api/v1/pods").err(), Some(E::Method), "{method}");
    }
    assert!(of("GET", "/api/v1/pods?watch=1&watch=1").is_ok());
    assert!(of("GET", "/api/v1/pods/p/exec?command=a&command=b").is_ok());
    let long = format!("/{}", "a".repeat(20_000));
    assert!(matches!(of("GET", &long), Err(E::TooLong { what: "path", .. })));
    let many = format!("/?{}", "a&".repeat(9_000));
    assert!(matches!(of("GET", &many), Err(E::TooMany { .. })));
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_read_is_consistent(
        method in "GET|POST|DELETE|[A-Z]{0,3}",
        path in "(/(api|apis|v1|watch|proxy|namespaces|pods|exec|\\.|%2[eEfF]|[ -~]{0,5}|\\PC)){0,8}/?",
        query in proptest::option::of("(watch=[01]?|fieldSelector=metadata.name%3D[a-z,=]{0,3}|[ -~]{0,5}|&){0,6}"),
        upgrade: bool,
    ) {
        let Ok(it) = Attributes::of(&method, &path, query.as_deref(), upgrade) else { return Ok(()) };
        prop_assert!(it.path.starts_with('/') && !it.path.contains("//"));
        prop_assert_eq!(it.is_resource, it.resource_path().is_some());
        prop_assert_eq!(it.is_resource, !it.resource.is_empty());
        prop_assert!(!(it.is_exec_class() && it.access() == Access::Read));
        prop_assert!(!(it.is_discovery() && it.is_resource));
        let _ = (it.to_string(), it.exec_request(query.as_deref()));
        // The decoded path, escaped anew, is read the same.
        if !it.path.contains([' ', '?', '#', ';']) && it.path.is_ascii() {
            let again = Attributes::of(&method, &it.path, query.as_deref(), upgrade);
            prop_assert_eq!(again.as_ref(), Ok(&it));
        }
    }
}
