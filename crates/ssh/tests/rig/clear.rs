//! SSH's transport before its keys: version lines and packets in clear text (RFC 4253), for tests
//! that speak it themselves.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// A packet of this payload: RFC 4253 section 6.
pub fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8 + 8;
    let length = u32::try_from(payload.len() + 1 + padding).unwrap();
    let padding_length = u8::try_from(padding).unwrap();
    [&length.to_be_bytes()[..], &[padding_length], payload, &vec![0; padding]].concat()
}

/// The payload of the next packet.
pub fn read_packet(tcp: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 5];
    tcp.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
    let mut body = vec![0; length - 1];
    tcp.read_exact(&mut body).unwrap();
    body.truncate(length - 1 - usize::from(head[4]));
    body
}

pub fn read_version(tcp: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// The ten name lists of a KEXINIT: RFC 4253 section 7.1.
pub fn name_lists(kexinit: &[u8]) -> Vec<String> {
    assert_eq!(kexinit[0], 20);
    let mut rest = &kexinit[17..];
    (0..10)
        .map(|_| {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let list = String::from_utf8(rest[4..4 + length].to_vec()).unwrap();
            rest = &rest[4 + length..];
            list
        })
        .collect()
}

/// A KEXINIT of these lists.
pub fn kexinit(lists: &[String]) -> Vec<u8> {
    let mut out = vec![20];
    out.extend([7; 16]);
    for list in lists {
        out.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
        out.extend(list.as_bytes());
    }
    out.extend([0; 5]);
    out
}

/// Nothing with SHA-1 or MD5, no RSA, no CBC, and no compression; AES-GCM before all else, and the
/// hybrid key exchange.
pub fn assert_strong(lists: &[String]) {
    assert!(lists[0].starts_with("mlkem768x25519-sha256,"), "{lists:?}");
    for ciphers in &lists[2..4] {
        assert!(ciphers.starts_with("aes128-gcm@openssh.com,aes256-gcm@openssh.com,"), "{lists:?}");
    }
    assert_eq!((lists[6].as_str(), lists[7].as_str()), ("none", "none"), "no compression");
    let weak = ["sha1", "md5", "ssh-rsa", "ssh-dss", "cbc", "arcfour", "3des", "group1-"];
    for list in &lists[..6] {
        let names = list.split(',').filter(|name| !name.starts_with("kex-strict"));
        for name in names {
            // hmac-sha1 in any spelling too; an empty name is `none` in disguise.
            assert!(!weak.iter().any(|weak| name.contains(weak)) && name != "none", "{name}");
        }
    }
}

/// Writes until the other side takes no more; how many bytes went.
pub fn flood(tcp: &mut TcpStream, piece: &[u8], most: usize) -> usize {
    let mut went = 0;
    while went < most && tcp.write_all(piece).is_ok() {
        went += piece.len();
    }
    went
}
