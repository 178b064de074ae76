//! Requests: METHOD, a space, path, `?` and query. What is read is consistent, and read again the
//! same.
#![no_main]

use kubernetes_wire::{Access, Attributes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let Some((method, url)) = data.split_once(' ') else { return };
    let (path, query) =
        url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    for upgrade in [false, true] {
        let Ok(it) = Attributes::of(method, path, query, upgrade) else { return };
        assert!(it.path.starts_with('/') && !it.path.contains("//"));
        assert!(!it.path.split('/').any(|it| it == "." || it == ".."));
        assert_eq!(it.is_resource, it.resource_path().is_some());
        assert_eq!(it.is_resource, !it.resource.is_empty());
        assert!(it.resource.is_ascii() && it.subresource.is_ascii() && it.group.is_ascii());
        assert!(!(it.is_exec_class() && it.access() == Access::Read));
        assert!(!(it.is_exec_class() && it.dry_run));
        assert!(!(it.is_discovery() && (it.is_resource || it.access() == Access::Write)));
        let _ = (it.operation(), it.follows_logs(), it.is_self_review(), format!("{it:?}"));
        let _ = it.exec_request(query).map(|it| format!("{it:?}"));
        // Escaped anew, all of it, it says the same.
        let escape = |segment: &str| segment.bytes().map(|it| format!("%{it:02X}")).collect();
        let segments: Vec<String> = it.path.split('/').map(escape).collect();
        let again = Attributes::of(method, &segments.join("/"), query, upgrade);
        assert_eq!(again.as_ref(), Ok(&it));
    }
});
