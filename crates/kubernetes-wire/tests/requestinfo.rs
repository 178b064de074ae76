//! What `Attributes` says is what Kubernetes' own `RequestInfoFactory` says.
//!
//! `requestinfo.tsv` was made by a small Go program with k8s.io/apiserver v0.36.2: each line is a
//! method and a URL made up at random (without what is refused here), and what `NewRequestInfo`
//! said of it with `/api` and `/apis` as its prefixes and with its own defaults of features. An
//! empty field is `-`; `error` stands for all fields where it gave an error.

use kubernetes_wire::{Attributes, AttributesError};

/// The line that the Go program would have written.
fn line(method: &str, url: &str) -> Result<String, AttributesError> {
    let (path, query) =
        url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let it = Attributes::of(method, path, query, false)?;
    let parts = it.parts.join("/");
    let fields = [
        method,
        url,
        if it.is_resource { "resource" } else { "-" },
        &it.verb,
        &it.api_prefix,
        &it.group,
        &it.version,
        &it.namespace,
        &it.resource,
        &it.subresource,
        &it.name,
        &parts,
        &it.field_selector,
        &it.label_selector,
    ];
    Ok(fields.map(|it| if it.is_empty() { "-" } else { it }).join("\t"))
}

#[test]
fn agrees_with_kubernetes() {
    let mut lines = 0;
    for want in include_str!("requestinfo.tsv").lines().filter(|it| !it.starts_with('#')) {
        let fields: Vec<&str> = want.split('\t').collect();
        let found = line(fields[0], fields[1]);
        match fields[2] {
            "error" => assert_eq!(found, Err(AttributesError::Incomplete), "{want}"),
            _ => assert_eq!(found.as_deref(), Ok(want)),
        }
        lines += 1;
    }
    assert!(lines >= 500, "{lines}");
}
