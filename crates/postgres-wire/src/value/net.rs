//! `inet`, `cidr`, `macaddr`, `macaddr8`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::oid;
use crate::read::Reader;

/// The server's numbers for the families (not the system's).
const V4: u8 = 2;
const V6: u8 = 3;

/// Appends the text of a binary address.
pub(super) fn decode(type_oid: u32, bytes: &[u8], out: &mut String) -> Option<()> {
    if matches!(type_oid, oid::MACADDR | oid::MACADDR8) {
        if bytes.len() != if type_oid == oid::MACADDR { 6 } else { 8 } {
            return None;
        }
        for (i, byte) in bytes.iter().enumerate() {
            if i > 0 {
                out.push(':');
            }
            super::push_hex(out, &[*byte]);
        }
        return Some(());
    }
    let mut r = Reader::new("inet", bytes);
    let (family, bits, _, len) = (r.u8("").ok()?, r.u8("").ok()?, r.u8("").ok()?, r.u8("").ok()?);
    let address = r.take(usize::from(len), "").ok()?;
    r.finish().ok()?;
    let (address, full) = match family {
        V4 => (IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)), 32),
        V6 => (IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)), 128),
        _ => return None,
    };
    if bits > full {
        return None;
    }
    write!(out, "{address}").ok()?;
    if bits != full || type_oid == oid::CIDR {
        write!(out, "/{bits}").ok()?;
    }
    Some(())
}

/// Appends the binary form of an address.
pub(super) fn encode(type_oid: u32, text: &str, out: &mut Vec<u8>) -> Option<()> {
    if matches!(type_oid, oid::MACADDR | oid::MACADDR8) {
        let mut bytes = Vec::with_capacity(8);
        for part in text.split(':') {
            if part.len() != 2 {
                return None;
            }
            super::push_unhex(&mut bytes, part.as_bytes())?;
        }
        let fits = bytes.len() == if type_oid == oid::MACADDR { 6 } else { 8 };
        return fits.then(|| out.extend_from_slice(&bytes));
    }
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let (family, full, octets) = match address {
        IpAddr::V4(a) => (V4, 32, a.octets().to_vec()),
        IpAddr::V6(a) => (V6, 128, a.octets().to_vec()),
    };
    let bits = bits.unwrap_or(full);
    if bits > full || (type_oid == oid::CIDR && !host_bits_clear(&octets, bits)) {
        return None;
    }
    let cidr = u8::from(type_oid == oid::CIDR);
    out.extend_from_slice(&[family, bits, cidr, u8::try_from(octets.len()).ok()?]);
    out.extend_from_slice(&octets);
    Some(())
}

fn host_bits_clear(octets: &[u8], bits: u8) -> bool {
    octets.iter().enumerate().all(|(i, octet)| {
        let network = usize::from(bits).saturating_sub(i * 8).min(8);
        u16::from(*octet) & (0xff >> network) == 0
    })
}
