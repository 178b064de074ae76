//! PostgreSQL's sections as written.

use serde::Deserialize;

use crate::secret::SecretRef;
use crate::sections::Operation;
use crate::tls::TlsFiles;
use crate::units::{Size, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub(crate) protocol: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) carrier: Carrier,
    pub(crate) openid_configuration: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) allow_plain_text: bool,
    pub(crate) handshake_timeout: Option<Span>,
    pub(crate) max_message_bytes: Option<Size>,
    pub(crate) max_sql_bytes: Option<Size>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Carrier {
    #[default]
    Password,
    Oauthbearer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PostgresTarget {
    pub(crate) protocol: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) database: Option<String>,
    pub(crate) databases: Option<policy::OneOrMany>,
    pub(crate) recording: gate::RecordingLevel,
    pub(crate) durability: gate::Durability,
    pub(crate) tls: UpstreamTls,
    pub(crate) tls_ca: Option<String>,
    pub(crate) tls_server_name: Option<String>,
    pub(crate) tls_certificate: Option<String>,
    pub(crate) tls_key: Option<String>,
    pub(crate) auth: Option<Vec<Method>>,
    pub(crate) application_name: ApplicationName,
    pub(crate) connect_timeout: Option<Span>,
    pub(crate) trusted_functions: Vec<String>,
    #[serde(rename = "role")]
    pub(crate) roles: Vec<Role>,
    #[serde(rename = "operation")]
    pub(crate) operations: Vec<Operation>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UpstreamTls {
    #[default]
    VerifyFull,
    Disable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    Scram,
    Md5,
    Cleartext,
    Trust,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApplicationName {
    #[default]
    Principal,
    Client,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Role {
    pub(crate) kinds: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) subjects: Vec<String>,
    pub(crate) role: Option<String>,
    pub(crate) password: Option<SecretRef>,
}
