//! The user name that a client gives: who to be on the target, and which target.
//!
//! `[LOGIN "+"] TARGET`. LOGIN is 1 to 64 of `A-Z a-z 0-9 _ . @ -`, first of them `A-Z a-z 0-9 _`;
//! TARGET is 1 to 64 of `a-z 0-9 . _ -`, first of them `a-z 0-9`. Nothing else is a user name, so
//! none can lead to a path, a second target, or an option of a program.

/// The longest login and the longest target name, in bytes each.
pub const MAX_NAME: usize = 64;

/// What a user name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login<'a> {
    /// Who to be on the target, if the client says.
    pub login: Option<&'a str>,
    /// The target's configured name.
    pub target: &'a str,
}

/// A user name that is none. The client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Two or more `+`.
    #[error("a user name has one + at most: LOGIN+TARGET")]
    TwoPlus,
    /// The part before `+` is no login.
    #[error("the login before + is 1 to 64 of A-Z a-z 0-9 _ . @ -")]
    Login,
    /// The part behind `+`, or all of it, is no target's name.
    #[error("the target's name is 1 to 64 of a-z 0-9 . _ -")]
    Target,
}

/// Reads a user name.
///
/// ```
/// use ssh_wire::login::parse;
/// let login = parse("alice+web1")?;
/// assert_eq!((login.login, login.target), (Some("alice"), "web1"));
/// assert!(parse("alice+../web1").is_err());
/// # Ok::<(), ssh_wire::login::LoginError>(())
/// ```
///
/// # Errors
/// [`LoginError`].
pub fn parse(user: &str) -> Result<Login<'_>, LoginError> {
    let (login, target) = match user.split_once('+') {
        Some((login, target)) => (Some(login), target),
        None => (None, user),
    };
    if target.contains('+') {
        return Err(LoginError::TwoPlus);
    }
    if login.is_some_and(|login| !is_login(login)) {
        return Err(LoginError::Login);
    }
    if !is_target(target) {
        return Err(LoginError::Target);
    }
    Ok(Login { login, target })
}

/// Whether this may be a login on a target.
pub fn is_login(name: &str) -> bool {
    let first = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    fits(name, first, |c| first(c) || matches!(c, b'.' | b'@' | b'-'))
}

/// Whether this may be a target's name.
pub fn is_target(name: &str) -> bool {
    let first = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    fits(name, first, |c| first(c) || matches!(c, b'.' | b'_' | b'-'))
}

fn fits(name: &str, first: impl Fn(u8) -> bool, then: impl Fn(u8) -> bool) -> bool {
    match name.as_bytes() {
        [head, tail @ ..] => {
            name.len() <= MAX_NAME && first(*head) && tail.iter().all(|&c| then(c))
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_are_none_are_refused() {
        let long = "a".repeat(MAX_NAME + 1);
        let long_login = format!("{long}+web1");
        for bad in [
            "",
            "+",
            "+web1",
            "alice+",
            "a+b+c",
            "../x",
            "x+../y",
            "x/../y",
            "a%2b",
            "web1\0",
            "web1 ",
            " web1",
            "web1\n",
            "WEB1",
            "alice:web1",
            "alice#web1",
            "alice,web1",
            ".web1",
            "-oProxyCommand=x",
            "-l+web1",
            "alice+-web1",
            "ali\u{e9}+web1",
            "alice+web\u{ff11}",
            "alice%web1",
            "al ice+web1",
            "alice+web1/",
            "~+web1",
            "a++web1",
            "alice+web1+",
            &long,
            &long_login,
            &"x".repeat(300),
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse("a+b+c"), Err(LoginError::TwoPlus));
        assert_eq!(parse("+web1"), Err(LoginError::Login));
        assert_eq!(parse("alice+"), Err(LoginError::Target));
    }

    #[test]
    fn names_that_are_some_are_read() {
        let edge = "a".repeat(MAX_NAME);
        let both = format!("{edge}+{edge}");
        for (good, login, target) in [
            ("web1", None, "web1"),
            ("alice+web1", Some("alice"), "web1"),
            ("a.l-i_c@corp.example+db-1.prod_x", Some("a.l-i_c@corp.example"), "db-1.prod_x"),
            ("_apt+0", Some("_apt"), "0"),
            (both.as_str(), Some(edge.as_str()), edge.as_str()),
        ] {
            assert_eq!(parse(good), Ok(Login { login, target }));
        }
    }

    proptest! {
        /// Whatever comes in, what comes out is made of the named characters and is what stood
        /// there.
        #[test]
        fn no_name_outside_the_grammar(user in "\\PC{0,80}|[a-z+./@%-]{0,12}") {
            if let Ok(Login { login, target }) = parse(&user) {
                let again = match login {
                    Some(login) => format!("{login}+{target}"),
                    None => target.to_owned(),
                };
                prop_assert_eq!(again, user.clone());
                let named = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
                prop_assert!(target.chars().all(named) && !target.contains('@'));
                prop_assert!(login.unwrap_or("x").chars().all(named));
                prop_assert!(!target.starts_with(['.', '-']));
                prop_assert!(!login.unwrap_or("x").starts_with(['.', '-', '@']));
            }
        }
    }
}
