//! The kinds of sensitive value this crate finds, under Presidio's names.

use serde::Serialize;

/// How many custom recognizers one policy may define.
pub const MAX_RECOGNIZERS: usize = 16;

/// Number of built-in entities (the length of [`Entity::BUILTIN`]).
pub(crate) const BUILTIN: usize = 19;

/// Slots a per-entity counter needs: the built-in ones and the custom ones.
pub(crate) const SLOTS: usize = BUILTIN + MAX_RECOGNIZERS;

/// A kind of sensitive value.
///
/// Names follow Microsoft Presidio where Presidio has one; the rest (keys and
/// tokens) are ours and listed with each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// `CREDIT_CARD`: payment card number, 12 to 19 digits, ISO/IEC 7812.
    CreditCard,
    /// `IBAN_CODE`: international bank account number, ISO 13616.
    IbanCode,
    /// `EMAIL_ADDRESS`: mailbox, RFC 5321 section 4.1.2 (dot-string form).
    EmailAddress,
    /// `PHONE_NUMBER`: international (E.164) and national shapes.
    PhoneNumber,
    /// `US_SSN`: United States social security number.
    UsSsn,
    /// `IP_ADDRESS`: IPv4 and IPv6 (RFC 4291), with an optional prefix length.
    IpAddress,
    /// `MAC_ADDRESS`: EUI-48 and EUI-64, also in Cisco's dotted form.
    MacAddress,
    /// `CRYPTO`: Bitcoin addresses (base58check, bech32) and Ethereum ones.
    Crypto,
    /// `JWT`: JSON web token, RFC 7519 (compact serialisation).
    Jwt,
    /// `PEM_KEY`: PEM block of a private key, RFC 7468.
    PemKey,
    /// `AWS_ACCESS_KEY`: AWS access key id (`AKIA…`, `ASIA…`).
    AwsAccessKey,
    /// `GITHUB_TOKEN`: GitHub token (`ghp_`, `gho_`, `ghu_`, `ghs_`, `ghr_`, `github_pat_`).
    GithubToken,
    /// `SLACK_TOKEN`: Slack token (`xoxb-`, `xoxp-`, `xapp-` and kin).
    SlackToken,
    /// `STRIPE_KEY`: Stripe secret or restricted key (`sk_live_`, `rk_live_`, `sk_test_`…).
    StripeKey,
    /// `GOOGLE_API_KEY`: Google API key (`AIza…`) and OAuth secrets (`GOCSPX-`).
    GoogleApiKey,
    /// `GITLAB_TOKEN`: GitLab token (`glpat-` and kin).
    GitlabToken,
    /// `NPM_TOKEN`: npm access token (`npm_…`).
    NpmToken,
    /// `API_TOKEN`: other vendors' tokens with a fixed prefix (`OpenAI`,
    /// `Anthropic`, `SendGrid`, `DigitalOcean`, `Hugging Face`, `PyPI`, `Shopify`…).
    ApiToken,
    /// `AUTH_SECRET`: what is said to be a secret: the password in a URL
    /// (`scheme://user:password@host`), behind `password=` and its like, a long
    /// value behind `secret:`, `api_key=` or `Authorization: Bearer`.
    AuthSecret,
    /// A recognizer of the configuration, by its place in the list.
    Custom(u8),
}

impl Entity {
    /// Every built-in entity, in counter order.
    pub const ALL: [Entity; BUILTIN] = [
        Entity::CreditCard,
        Entity::IbanCode,
        Entity::EmailAddress,
        Entity::PhoneNumber,
        Entity::UsSsn,
        Entity::IpAddress,
        Entity::MacAddress,
        Entity::Crypto,
        Entity::Jwt,
        Entity::PemKey,
        Entity::AwsAccessKey,
        Entity::GithubToken,
        Entity::SlackToken,
        Entity::StripeKey,
        Entity::GoogleApiKey,
        Entity::GitlabToken,
        Entity::NpmToken,
        Entity::ApiToken,
        Entity::AuthSecret,
    ];

    /// The name used in rules, receipts and `<REPLACED>` text. Custom
    /// entities answer `CUSTOM_n`; [`Policy::entity_name`](crate::Policy::entity_name)
    /// knows the configured name.
    #[must_use]
    pub fn name(self) -> &'static str {
        const CUSTOM: [&str; MAX_RECOGNIZERS] = [
            "CUSTOM_0",
            "CUSTOM_1",
            "CUSTOM_2",
            "CUSTOM_3",
            "CUSTOM_4",
            "CUSTOM_5",
            "CUSTOM_6",
            "CUSTOM_7",
            "CUSTOM_8",
            "CUSTOM_9",
            "CUSTOM_10",
            "CUSTOM_11",
            "CUSTOM_12",
            "CUSTOM_13",
            "CUSTOM_14",
            "CUSTOM_15",
        ];
        match self {
            Entity::CreditCard => "CREDIT_CARD",
            Entity::IbanCode => "IBAN_CODE",
            Entity::EmailAddress => "EMAIL_ADDRESS",
            Entity::PhoneNumber => "PHONE_NUMBER",
            Entity::UsSsn => "US_SSN",
            Entity::IpAddress => "IP_ADDRESS",
            Entity::MacAddress => "MAC_ADDRESS",
            Entity::Crypto => "CRYPTO",
            Entity::Jwt => "JWT",
            Entity::PemKey => "PEM_KEY",
            Entity::AwsAccessKey => "AWS_ACCESS_KEY",
            Entity::GithubToken => "GITHUB_TOKEN",
            Entity::SlackToken => "SLACK_TOKEN",
            Entity::StripeKey => "STRIPE_KEY",
            Entity::GoogleApiKey => "GOOGLE_API_KEY",
            Entity::GitlabToken => "GITLAB_TOKEN",
            Entity::NpmToken => "NPM_TOKEN",
            Entity::ApiToken => "API_TOKEN",
            Entity::AuthSecret => "AUTH_SECRET",
            Entity::Custom(n) => CUSTOM.get(usize::from(n)).copied().unwrap_or("CUSTOM"),
        }
    }

    /// The built-in entity of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Entity> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// Whether this is a key or a token: what the group name `SECRET` stands for.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(
            self,
            Entity::Jwt
                | Entity::PemKey
                | Entity::AwsAccessKey
                | Entity::GithubToken
                | Entity::SlackToken
                | Entity::StripeKey
                | Entity::GoogleApiKey
                | Entity::GitlabToken
                | Entity::NpmToken
                | Entity::ApiToken
                | Entity::AuthSecret
        )
    }

    /// Counter slot, below [`SLOTS`].
    pub(crate) fn slot(self) -> usize {
        match self {
            Entity::CreditCard => 0,
            Entity::IbanCode => 1,
            Entity::EmailAddress => 2,
            Entity::PhoneNumber => 3,
            Entity::UsSsn => 4,
            Entity::IpAddress => 5,
            Entity::MacAddress => 6,
            Entity::Crypto => 7,
            Entity::Jwt => 8,
            Entity::PemKey => 9,
            Entity::AwsAccessKey => 10,
            Entity::GithubToken => 11,
            Entity::SlackToken => 12,
            Entity::StripeKey => 13,
            Entity::GoogleApiKey => 14,
            Entity::GitlabToken => 15,
            Entity::NpmToken => 16,
            Entity::ApiToken => 17,
            Entity::AuthSecret => 18,
            Entity::Custom(n) => BUILTIN + usize::from(n).min(MAX_RECOGNIZERS - 1),
        }
    }

    /// The entity of a counter slot.
    pub(crate) fn from_slot(slot: usize) -> Option<Entity> {
        match Self::ALL.get(slot) {
            Some(e) => Some(*e),
            None if slot < SLOTS => u8::try_from(slot - BUILTIN).ok().map(Entity::Custom),
            None => None,
        }
    }
}

impl Serialize for Entity {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_names_agree() {
        for (i, e) in Entity::ALL.into_iter().enumerate() {
            assert_eq!(e.slot(), i);
            assert_eq!(Entity::from_slot(i), Some(e));
            assert_eq!(Entity::from_name(e.name()), Some(e));
        }
        assert_eq!(Entity::from_slot(BUILTIN + 2), Some(Entity::Custom(2)));
        assert_eq!(Entity::from_slot(SLOTS), None);
    }
}
