//! A cluster that is reached as a kubeconfig says, or as the pod that we run in may.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use http_proxy::{Authorize, CONNECT_TIMEOUT, Credential, Http2, Upstream};
use kube_access::{Access, Authorization};

use super::{HttpTarget, idle, split};
use crate::document::Document;
use crate::operations::Context;
use crate::secret::check_private;

/// Whether a kubeconfig or the pod says where the target is.
pub(super) fn is_named(section: &HttpTarget) -> bool {
    section
        .kubernetes
        .as_ref()
        .is_some_and(|it| it.kubeconfig.is_some() || it.context.is_some() || it.in_cluster)
}

/// Where the cluster is, and who we are to it. Runs its credential plugin, if it has one.
pub(super) fn upstream(
    document: &mut Document<'_>,
    path: &str,
    section: &HttpTarget,
    context: &Context<'_>,
) -> Option<Upstream> {
    let own = section.kubernetes.as_ref()?;
    for (key, given) in [
        ("url", section.url.is_some()),
        ("bearer", section.bearer.is_some()),
        ("basic", section.basic.is_some()),
        ("header", section.header.is_some()),
        ("tls_ca", section.tls_ca.is_some()),
        ("tls_certificate", section.tls_certificate.is_some()),
        ("tls_key", section.tls_key.is_some()),
    ] {
        if given {
            let message = "has no use: the kubeconfig or the pod says it; take one out";
            document.problem(format!("{path}.{key}"), message);
        }
    }
    let key = match own.in_cluster {
        true => format!("{path}.kubernetes.in_cluster"),
        false => format!("{path}.kubernetes.kubeconfig"),
    };
    let access = match (&own.kubeconfig, own.in_cluster) {
        (Some(_), true) => Err("contradicts `kubeconfig`; take one out".to_owned()),
        (None, true) if own.context.is_some() => Err("has no contexts; take one out".to_owned()),
        (None, true) => Access::in_cluster().map_err(|error| error.to_string()),
        (None, false) => Err("is missing; `context` is of one".to_owned()),
        (Some(file), false) => {
            let file = context.base.join(file);
            check_private(&file).and_then(|()| {
                let access = Access::of_kubeconfig(&file, own.context.as_deref());
                access.map_err(|error| error.to_string())
            })
        }
    };
    let access = access.map_err(|message| document.problem(&key, message)).ok()?;
    let Some((secure, host, port, base)) = split(&access.url) else {
        document
            .problem(key, "its address must be http:// or https://, a host, and perhaps a path");
        return None;
    };
    let credential = match access.authorization {
        Some(authorization) => Credential::Changing(Arc::new(Cluster {
            target: path.strip_prefix("target.").unwrap_or(path).to_owned(),
            authorization,
        })),
        None => Credential::None,
    };
    if !secure && !matches!(credential, Credential::None) {
        document.problem(key, "its address must be https://, or anybody could read our token");
        return None;
    }
    Some(Upstream {
        tls: access.tls,
        host,
        port,
        server_name: access.server_name,
        path: base,
        credential,
        http2: if section.http2 == Some(false) { Http2::Never } else { Http2::Negotiated },
        connect_timeout: section.connect_timeout.map_or(CONNECT_TIMEOUT, |span| span.0),
        idle: idle(document, path, section),
    })
}

/// Who we are to a cluster.
#[derive(Debug)]
struct Cluster {
    target: String,
    authorization: Authorization,
}

impl Authorize for Cluster {
    fn current(&self) -> BoxFuture<'_, Option<HeaderValue>> {
        let told = |error| tracing::error!(target = self.target, %error, "a request is refused");
        self.authorization.current().map(move |it| it.map_err(told).ok()).boxed()
    }
}
