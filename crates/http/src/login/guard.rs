//! What a browser does because some other page made it: not what a cookie is for.
//!
//! A cookie comes along with whatever a page makes the browser ask. `SameSite=Lax` keeps most of
//! it away; what is left (pages of sibling hosts, old browsers) is told by `Origin` and Fetch
//! Metadata. Tokens need none of this: no page can add one.

use http::Method;
use http::header::{self, HeaderMap};

/// Whether a request with our cookie comes from our own pages, or is a person's going here.
/// `origin` is how a browser writes ours.
pub(crate) fn is_own(method: &Method, fields: &HeaderMap, origin: &str, upgrades: bool) -> bool {
    let one = |name| {
        let mut all = fields.get_all(name).iter();
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some(one), None) => one.to_str().map(Some).map_err(|_| ()),
            _ => Err(()),
        }
    };
    let (Ok(from), Ok(site)) = (one(header::ORIGIN.as_str()), one("sec-fetch-site")) else {
        return false;
    };
    let ours = from.map(|from| from.eq_ignore_ascii_case(origin));
    let near = site.map(|site| matches!(site, "same-origin" | "none"));
    if upgrades {
        // Scripts of any page may open a WebSocket, and read it.
        return ours == Some(true) && near != Some(false);
    }
    if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return ours != Some(false) && near != Some(false) && ours.or(near).is_some();
    }
    let goes = |name, wanted| one(name).is_ok_and(|it| it.is_none_or(|it| it == wanted));
    let navigates = one("sec-fetch-mode") == Ok(Some("navigate"));
    match (navigates, near) {
        // Following a link from elsewhere. Frames and objects of other sites are no such thing.
        (true, Some(false)) => goes("sec-fetch-dest", "document"),
        (true, _) => true,
        (false, _) => ours != Some(false) && near != Some(false),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;

    use super::*;

    fn check(method: Method, all: &[(&'static str, &'static str)], upgrades: bool) -> bool {
        let mut fields = HeaderMap::new();
        for (name, value) in all {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        is_own(&method, &fields, "https://wiki.test", upgrades)
    }

    const OURS: (&str, &str) = ("origin", "https://wiki.test");
    const SIBLING: (&str, &str) = ("origin", "https://blog.test");
    const HERE: (&str, &str) = ("sec-fetch-site", "same-origin");
    const NEAR: (&str, &str) = ("sec-fetch-site", "same-site");
    const FAR: (&str, &str) = ("sec-fetch-site", "cross-site");
    const GOES: (&str, &str) = ("sec-fetch-mode", "navigate");

    #[test]
    fn what_changes_something_must_come_from_our_own_pages() {
        for (fields, wanted) in [
            (&[OURS, HERE][..], true),
            (&[OURS], true),
            (&[HERE], true),
            (&[], false),
            (&[SIBLING], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://wiki.test")], false),
            (&[("origin", "https://wiki.test:8443")], false),
            (&[OURS, FAR], false),
            (&[SIBLING, HERE], false),
            (&[OURS, OURS], false),
            (&[NEAR], false),
            (&[FAR, GOES, ("sec-fetch-dest", "document")], false),
        ] {
            for method in [Method::POST, Method::DELETE, Method::from_bytes(b"WHAT").unwrap()] {
                assert_eq!(check(method.clone(), fields, false), wanted, "{method} {fields:?}");
            }
        }
    }

    #[test]
    fn what_reads_may_be_a_link_from_elsewhere_and_no_more() {
        let page = ("sec-fetch-dest", "document");
        for (fields, wanted) in [
            (&[][..], true),
            (&[HERE], true),
            (&[("sec-fetch-site", "none"), GOES, page], true),
            (&[FAR, GOES, page], true),
            (&[FAR, GOES, ("sec-fetch-dest", "iframe")], false),
            (&[NEAR], false),
            (&[FAR], false),
            (&[SIBLING], false),
        ] {
            assert_eq!(check(Method::GET, fields, false), wanted, "{fields:?}");
        }
    }

    #[test]
    fn a_websocket_names_its_origin() {
        assert!(check(Method::GET, &[OURS], true));
        assert!(check(Method::GET, &[OURS, HERE], true));
        for fields in [&[][..], &[SIBLING], &[HERE], &[OURS, NEAR], &[("origin", "null")]] {
            assert!(!check(Method::GET, fields, true), "{fields:?}");
        }
    }
}
