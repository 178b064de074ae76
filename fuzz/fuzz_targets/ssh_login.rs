//! The user name `LOGIN+TARGET`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssh_wire::login;

fuzz_target!(|data: &str| {
    let Ok(read) = login::parse(data) else { return };
    assert!(login::is_target(read.target));
    let again = match read.login {
        Some(login) => format!("{login}+{}", read.target),
        None => read.target.to_owned(),
    };
    assert_eq!(again, data);
});
