//! Logging in by a browser (RFC 8628), in the rounds of keyboard-interactive.
//!
//! A round without a prompt is answered by the client at once, without asking anybody. So each
//! round tells whether the client is still there, and none waits longer than [`ROUND`], or twice
//! that if the issuer is slow to answer.

use std::net::SocketAddr;
use std::time::Duration;

use gate::Arrival;
use identity::{DeviceError, DeviceGrant};
use tokio::time::Instant;

use crate::PROTOCOL;
use crate::login::{Door, Entry, NotIn, not_in};
use crate::refusal;

/// The longest round: how late it is noticed that a client is gone.
const ROUND: Duration = Duration::from_secs(5);
/// So long before the connection's deadline waiting ends, so that the issuer's last answer
/// still comes, and the refusal is put on record and told.
const BEFORE_DEADLINE: Duration = Duration::from_secs(6);
/// How the record calls this way to log in.
const CREDENTIAL: &str = "device-flow";

/// A login that waits for a person at a browser.
#[derive(Debug)]
pub(crate) struct Browser {
    grant: DeviceGrant,
    /// The user name that it was begun for.
    user: String,
}

impl Browser {
    /// What to tell the person.
    pub(crate) fn instructions(&self) -> String {
        let grant = &self.grant;
        refusal::browser(
            grant.verification_uri(),
            grant.user_code(),
            grant.verification_uri_complete(),
        )
    }
}

/// Where a login stands after a round.
pub(crate) enum Round {
    /// Nothing has happened in the browser yet.
    Waiting(Browser),
    /// It is decided.
    Over(Box<Result<Entry, NotIn>>),
}

impl Door {
    /// Begins a login for somebody who wants to be let in under this user name.
    pub(crate) async fn by_browser(&self, user: &str, peer: SocketAddr) -> Result<Browser, NotIn> {
        let peer = peer.to_string();
        let arrival = Arrival { protocol: PROTOCOL, peer: &peer, target: user.as_bytes() };
        self.readable(user, arrival).await?;
        let Some(login) = &self.browser else {
            return Err(self.refuse(arrival, "device_client", "there is no such way", None).await);
        };
        match login.begin().await {
            Ok(grant) => Ok(Browser { grant, user: user.to_owned() }),
            Err(error) => Err(self.browser_failed(arrival, error).await),
        }
    }

    /// Waits for the issuer's next answer, or for as long as a round may take.
    pub(crate) async fn browser_round(
        &self,
        user: &str,
        mut browser: Browser,
        peer: SocketAddr,
        deadline: Instant,
    ) -> Round {
        let address = peer.to_string();
        let arrival = Arrival { protocol: PROTOCOL, peer: &address, target: user.as_bytes() };
        let over = |entry| Round::Over(Box::new(entry));
        let left = deadline.saturating_duration_since(Instant::now() + BEFORE_DEADLINE);
        if left.is_zero() || browser.user != user {
            let told = refusal::BROWSER_TOO_LATE;
            return over(Err(self.refuse(arrival, "device_late", told, None).await));
        }
        let token = match browser.grant.poll(left.min(ROUND)).await {
            Ok(None) => return Round::Waiting(browser),
            Ok(Some(token)) => token,
            Err(error) => return over(Err(self.browser_failed(arrival, error).await)),
        };
        let identified = match self.gate.authenticate(&token, arrival).await {
            Ok(identified) => identified,
            Err(refused) => return over(Err(not_in(refused))),
        };
        let asked = self.browser.as_ref().map(identity::DeviceLogin::iss);
        if asked != Some(&identified.principal().issuer) {
            let told = "the issuer answered with a token of another";
            return over(Err(self.refuse(arrival, "device_issuer", told, Some(&identified)).await));
        }
        over(self.place(user, identified, arrival, CREDENTIAL).await)
    }

    async fn browser_failed(&self, arrival: Arrival<'_>, error: DeviceError) -> NotIn {
        tracing::debug!(peer = arrival.peer, %error, fault = ?error.fault(), "login by browser");
        self.refuse(arrival, error.code(), &error.to_string(), None).await
    }
}
