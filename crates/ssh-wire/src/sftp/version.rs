//! What a server promises in its `VERSION`.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::put_string;
use crate::Reader;

/// The requests that [`Extension`](super::Extension) knows, by name.
pub const EXTENSIONS: [&[u8]; 11] = [
    b"posix-rename@openssh.com",
    b"hardlink@openssh.com",
    b"fsync@openssh.com",
    b"statvfs@openssh.com",
    b"fstatvfs@openssh.com",
    b"lsetstat@openssh.com",
    b"limits@openssh.com",
    b"expand-path@openssh.com",
    b"copy-data",
    b"home-directory",
    b"users-groups-by-id@openssh.com",
];

/// A whole `VERSION` packet without the extensions that are not in [`EXTENSIONS`]: a client that
/// is promised one may have no other way when it is refused. `None`: it promises no other.
#[must_use]
pub fn plain_version(packet: &[u8]) -> Option<Bytes> {
    // Length, type and version.
    let (head, rest) = packet.split_at_checked(9)?;
    let mut reader = Reader::new(rest);
    let mut body = BytesMut::new();
    body.put_slice(head.get(4..)?);
    let mut changed = false;
    while reader.left() > 0 {
        let (Ok(name), Ok(data)) = (reader.string(), reader.string()) else {
            // Whatever this is, it promises nothing.
            changed = true;
            break;
        };
        if EXTENSIONS.contains(&name) {
            put_string(&mut body, name);
            put_string(&mut body, data);
        } else {
            changed = true;
        }
    }
    let mut out = BytesMut::new();
    put_string(&mut out, &body);
    changed.then(|| out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sftp::{Extension, Machine, Op, Step};

    fn version(pairs: &[(&[u8], &[u8])], behind: &[u8]) -> Vec<u8> {
        let mut body = BytesMut::from(&[2, 0, 0, 0, 3][..]);
        for (name, data) in pairs {
            put_string(&mut body, name);
            put_string(&mut body, data);
        }
        body.put_slice(behind);
        let mut out = BytesMut::new();
        put_string(&mut out, &body);
        out.to_vec()
    }

    #[test]
    fn what_is_not_known_is_not_promised() {
        let known: (&[u8], &[u8]) = (b"posix-rename@openssh.com", b"1");
        let unknown: (&[u8], &[u8]) = (b"ranges@asyncssh.com", b"1");
        assert_eq!(plain_version(&version(&[known], b"")), None);
        assert_eq!(plain_version(&version(&[], b"")), None);
        let only = version(&[known], b"");
        assert_eq!(
            plain_version(&version(&[unknown, known, unknown], b"")),
            Some(only.clone().into())
        );
        assert_eq!(plain_version(&version(&[known], b"\0\0\0\x09x")), Some(only.into()));
        assert_eq!(plain_version(b"\0\0"), None);
    }

    #[test]
    fn the_list_is_what_requests_are_read_by() {
        let is_known = |name: &[u8]| {
            let mut body = BytesMut::from(&[200, 0, 0, 0, 1][..]);
            put_string(&mut body, name);
            // More than any needs.
            body.put_slice(&[0; 64]);
            let mut packet = BytesMut::new();
            put_string(&mut packet, &body);
            let mut machine = Machine::new();
            machine.client(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).unwrap();
            match machine.client(&packet) {
                Ok(Step::Packet { packet, .. }) => {
                    !matches!(packet.op, Op::Extended(Extension::Unknown { .. }))
                }
                // It was read as something.
                Err(_) => true,
                other => panic!("{other:?}"),
            }
        };
        assert!(EXTENSIONS.iter().all(|name| is_known(name)));
        assert!(!is_known(b"ranges@asyncssh.com") && !is_known(b"vendor-id"));
    }
}
