//! Authentication: ours towards the server, and reading a client's bearer token.
//!
//! [`Login`] answers a server's authentication requests with configured
//! credentials. [`scram`] and [`md5`] hold the mechanisms, [`oauth`] the server's
//! side of OAUTHBEARER as far as bytes go (judging the token is not done here).

pub mod md5;
pub mod oauth;
pub mod scram;

use crate::backend::Authentication;
use crate::error::WriteError;
use crate::write;

pub use scram::ChannelBinding;

/// A password or token: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes a secret.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Logging in to the server failed. The fault is the server's, unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The server asks for something the configuration does not allow, or that is not
    /// supported: see [`Methods`].
    #[error("the server wants authentication by {0}, which is not allowed")]
    NotAllowed(&'static str),
    /// The server's message makes no sense at this point.
    #[error("the server sent an authentication message out of turn")]
    OutOfTurn,
    /// The server's message is malformed.
    #[error("the server's {0} is malformed")]
    Malformed(&'static str),
    /// The server wants more PBKDF2 rounds than [`scram::MAX_ITERATIONS`].
    #[error("the server wants {0} SCRAM iterations, more than {max}", max = scram::MAX_ITERATIONS)]
    TooManyIterations(u32),
    /// The server could not prove that it knows the password.
    #[error("the server did not prove that it knows the password")]
    ServerNotProven,
    /// The server refused the SCRAM exchange.
    #[error("the server refused the SCRAM exchange")]
    Refused,
    /// No password is configured and the server wants one (configuration).
    #[error("the server wants a password and none is configured")]
    NoPassword,
    /// No random bytes (ours).
    #[error("no random bytes to be had")]
    NoRandom,
    /// A message of ours can't be written (configuration: a NUL in the password, say).
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What a server may ask for. Anything else is a downgrade and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods {
    /// AuthenticationOk at once (trust, peer, client certificate). With a password
    /// configured this lets an impostor in who simply asks for none.
    pub none: bool,
    /// The password as it is: only inside TLS with a verified server.
    pub cleartext: bool,
    /// MD5: replayable by whoever has seen the server's table.
    pub md5: bool,
    /// SCRAM-SHA-256, with or without channel binding.
    pub scram: bool,
}

impl Methods {
    /// SCRAM only: the server must prove that it knows the password.
    pub const SCRAM: Self = Self { none: false, cleartext: false, md5: false, scram: true };
    /// Whatever the server asks for, inside verified TLS.
    pub const ANY: Self = Self { none: true, cleartext: true, md5: true, scram: true };
}

/// What to do next in a [`Login`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this message (a whole frame) and read on.
    Send(Secret),
    /// Nothing to send; read on.
    Continue,
    /// AuthenticationOk: logged in.
    Done,
}

#[derive(Debug)]
enum State {
    Start,
    PasswordSent,
    Scram(scram::ScramClient),
    ScramProven,
    Done,
}

/// The client's side of authentication towards a server.
///
/// ```
/// use postgres_wire::auth::{ChannelBinding, Login, Methods, Secret, Step};
/// use postgres_wire::backend::Authentication;
///
/// let password = Some(Secret::new("pencil"));
/// let mut login = Login::new(b"user", password, Methods::SCRAM, ChannelBinding::NotSupported);
/// assert!(login.on(&Authentication::CleartextPassword).is_err(), "a downgrade");
/// ```
#[derive(Debug)]
pub struct Login {
    user: Vec<u8>,
    password: Option<Secret>,
    methods: Methods,
    binding: ChannelBinding,
    state: State,
}

impl Login {
    /// Starts; `binding` says what is known about TLS.
    pub fn new(
        user: &[u8],
        password: Option<Secret>,
        methods: Methods,
        binding: ChannelBinding,
    ) -> Self {
        Self { user: user.to_vec(), password, methods, binding, state: State::Start }
    }

    /// Answers one authentication request. May take long (PBKDF2, up to
    /// [`scram::MAX_ITERATIONS`] rounds): not for a thread that serves others.
    ///
    /// # Errors
    /// See [`AuthError`]; close the connection then.
    pub fn on(&mut self, request: &Authentication<'_>) -> Result<Step, AuthError> {
        let mut out = Vec::new();
        match (std::mem::replace(&mut self.state, State::Done), request) {
            (State::Start, Authentication::Ok) if self.methods.none => return Ok(Step::Done),
            (State::Start, Authentication::Ok) => return Err(AuthError::NotAllowed("nothing")),
            (State::PasswordSent | State::ScramProven, Authentication::Ok) => {
                return Ok(Step::Done);
            }
            (State::Start, Authentication::CleartextPassword) => {
                allowed(self.methods.cleartext, "a cleartext password")?;
                write::password(&mut out, self.password()?)?;
                self.state = State::PasswordSent;
            }
            (State::Start, Authentication::Md5Password(salt)) => {
                allowed(self.methods.md5, "an MD5 password")?;
                write::password(&mut out, &md5::response(&self.user, self.password()?, *salt))?;
                self.state = State::PasswordSent;
            }
            (State::Start, Authentication::Sasl(offered)) => {
                allowed(self.methods.scram, "SCRAM")?;
                let password = self.password()?;
                let (mechanism, binding) = self.binding.clone().choose(offered)?;
                let scram = scram::ScramClient::new(password, binding)?;
                write::sasl_initial(&mut out, mechanism, scram.first_message().as_bytes())?;
                self.state = State::Scram(scram);
            }
            (State::Scram(mut scram), Authentication::SaslContinue(data)) => {
                let reply = scram.on_server_first(data)?;
                write::sasl_response(&mut out, reply.as_bytes())?;
                self.state = State::Scram(scram);
            }
            (State::Scram(scram), Authentication::SaslFinal(data)) => {
                scram.on_server_final(data)?;
                self.state = State::ScramProven;
                return Ok(Step::Continue);
            }
            (_, Authentication::Other(_)) => {
                return Err(AuthError::NotAllowed("a method that is not supported"));
            }
            _ => return Err(AuthError::OutOfTurn),
        }
        Ok(Step::Send(Secret(out)))
    }

    fn password(&self) -> Result<&[u8], AuthError> {
        self.password.as_ref().map(Secret::expose).ok_or(AuthError::NoPassword)
    }
}

const fn allowed(yes: bool, method: &'static str) -> Result<(), AuthError> {
    if yes { Ok(()) } else { Err(AuthError::NotAllowed(method)) }
}

#[cfg(test)]
mod tests;
