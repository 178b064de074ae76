//! `md5` passwords (manual, "Password Authentication"): for old servers only.

use md5::{Digest, Md5};

/// The text of the PasswordMessage that answers AuthenticationMD5Password:
/// `md5` + hex(md5(hex(md5(password + user)) + salt)).
pub fn response(user: &[u8], password: &[u8], salt: [u8; 4]) -> Vec<u8> {
    let inner = hex(Md5::new().chain_update(password).chain_update(user).finalize().as_slice());
    let outer = hex(Md5::new().chain_update(inner).chain_update(salt).finalize().as_slice());
    [b"md5", outer.as_bytes()].concat()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    crate::value::push_hex(&mut text, bytes);
    text
}
