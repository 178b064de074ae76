//! The sections as written. Every key may be missing here: `load` says which ones are needed, so
//! that all that are missing are told at once.

use serde::Deserialize;

use crate::secret::SecretRef;
use crate::units::{Size, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Serve {
    pub(crate) shards: Option<usize>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) shutdown_timeout: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    pub(crate) dir: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) log_id: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) key: Option<SecretRef>,
    pub(crate) segments: Option<u32>,
    pub(crate) segment_bytes: Option<Size>,
    pub(crate) publish_every: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Operation {
    pub(crate) name: Option<String>,
    pub(crate) when: policy::When,
}
