//! Where a connection leads, by the names that rules match.
//!
//! One place has many spellings, and who would evade a rule picks another one. So a place has
//! the name that was sent, and its plain one beside it where that differs: an allow rule must
//! match both, a deny rule needs to match one. That a name and an address are one host, only the
//! target's resolver knows.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{address, lossy};
use crate::channel::files::paths::{self, Base};

/// A name, and whether it is one place's alone.
pub(super) type Name = (String, bool);

/// A port or a socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// As it was sent first.
    pub(super) names: Vec<Name>,
    /// Why nobody can judge it.
    pub(super) forbidden: Option<&'static str>,
}

impl Place {
    /// What has one name.
    pub(super) fn named(name: &str) -> Place {
        Place { names: vec![(name.to_owned(), true)], forbidden: None }
    }

    /// A port of a host.
    pub(crate) fn port(host: &[u8], port: u32) -> Place {
        let mut names = vec![(address(host, port), true)];
        let text = lossy(host);
        let mut forbidden = unreadable(host, &text);
        for plain in plain_hosts(&text) {
            let name = (address(plain.as_bytes(), port), true);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if is_odd_number(&text) {
            forbidden = Some("An address that is written so can't be judged.");
        }
        Place { names, forbidden }
    }

    /// A socket with a path.
    pub(crate) fn socket(path: &[u8]) -> Place {
        let forbidden = unreadable(path, &lossy(path));
        let mut names = paths::names(path, &Base::Unknown);
        if let Some((first, _)) = names.first_mut() {
            // It is what the record shows.
            *first = lossy(path);
        }
        Place { names, forbidden }
    }
}

/// What the target would read otherwise than rules do.
fn unreadable(bytes: &[u8], text: &str) -> Option<&'static str> {
    let same = text.as_bytes() == bytes && !bytes.contains(&0);
    (!same).then_some("A name that is no plain text, or is too long, can't be judged.")
}

/// A host's other names: in small letters and without a dot behind; an address as it is commonly
/// written, and the IPv4 address that is in an IPv6 one.
fn plain_hosts(host: &str) -> Vec<String> {
    let plain = host.trim_end_matches('.').to_lowercase();
    match plain.parse::<Ipv6Addr>() {
        Ok(v6) => {
            let v4 = v6.to_ipv4_mapped().map(|v4| v4.to_string());
            std::iter::once(v6.to_string()).chain(v4).collect()
        }
        Err(_) => vec![plain],
    }
}

/// `127.1`, `0x7f.1`, `2130706433`: to a resolver these are addresses, but in no common form. So
/// is an IPv6 address with a zone, where the address has none.
fn is_odd_number(host: &str) -> bool {
    let plain = host.trim_end_matches('.');
    if plain.contains(':') {
        let (address, zone) = plain.split_once('%').map_or((plain, false), |(a, _)| (a, true));
        let read = address.parse::<Ipv6Addr>();
        return !read.is_ok_and(|v6| !zone || v6.is_unicast_link_local());
    }
    let last = plain.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = match hex {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    };
    is_number && plain.parse::<Ipv4Addr>().is_err()
}

/// For the fuzzer: what may be judged has a name in small letters, the last one.
pub(crate) fn fuzz_port(host: &[u8], port: u32) -> bool {
    let place = Place::port(host, port);
    let plain = |(name, _): &Name| *name == name.to_lowercase();
    place.forbidden.is_some() || place.names.last().is_some_and(plain)
}

/// For the fuzzer: the same of a socket's path, which has no detour in its last name.
pub(crate) fn fuzz_socket(path: &[u8]) -> bool {
    let place = Place::socket(path);
    let plain = |(name, _): &Name| paths::is_plain(name);
    place.forbidden.is_some() || place.names.last().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_place_that_may_be_judged_has_a_plain_name(name in "[a-cA-C0-9.:/\\PC]{0,24}") {
            prop_assert!(fuzz_port(name.as_bytes(), 22));
            prop_assert!(fuzz_socket(name.as_bytes()));
        }
    }

    fn names(place: Place) -> Vec<String> {
        assert_eq!(place.forbidden, None);
        place.names.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_host_has_its_plain_name_too() {
        for (host, expected) in [
            ("db", &["db:5432"][..]),
            ("DB.Example.", &["DB.Example.:5432", "db.example:5432"]),
            ("10.0.0.1", &["10.0.0.1:5432"]),
            ("::1", &["[::1]:5432"]),
            ("0:0::0:1", &["[0:0::0:1]:5432", "[::1]:5432"]),
            ("::ffff:10.0.0.1", &["[::ffff:10.0.0.1]:5432", "10.0.0.1:5432"]),
            ("", &[":5432"]),
        ] {
            assert_eq!(names(Place::port(host.as_bytes(), 5432)), expected, "{host}");
        }
    }

    #[test]
    fn addresses_that_only_a_resolver_reads_are_refused() {
        for host in [
            "127.1",
            "2130706433",
            "0x7f.1",
            "0X7F000001",
            "10.0.0.01",
            "1.2.3.4.5",
            "::ffff:10.0.0.9%1",
            "::1]:22",
            "127.1.",
        ] {
            assert!(Place::port(host.as_bytes(), 1).forbidden.is_some(), "{host}");
        }
        for host in
            ["10.0.0.1", "10.0.0.1.", "host1", "1.example", "0xfeed.example", "*", "fe80::1%eth0"]
        {
            assert!(Place::port(host.as_bytes(), 1).forbidden.is_none(), "{host}");
        }
        for host in [&b"db\0.example"[..], b"d\xffb", &[b'a'; 5000]] {
            assert!(Place::port(host, 1).forbidden.is_some(), "{host:?}");
            assert!(Place::socket(host).forbidden.is_some(), "{host:?}");
        }
    }

    #[test]
    fn a_socket_has_the_name_where_its_path_leads() {
        let socket = |path: &str| Place::socket(path.as_bytes()).names;
        assert_eq!(socket("/run/x.sock"), [("/run/x.sock".to_owned(), true)]);
        assert_eq!(
            socket("/run/app/..//x.sock"),
            [("/run/app/..//x.sock".to_owned(), true), ("/run/x.sock".to_owned(), true)]
        );
        assert_eq!(socket("x.sock").last(), Some(&("x.sock".to_owned(), false)));
    }
}
