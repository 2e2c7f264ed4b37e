//! What one probe found, as a round ends with it and the operator reads it.
//!
//! What always holds: it names a channel, or one candidate on it, and never a credential. What it does to the belief about a
//! candidate is an observation of its own.

use serde::Serialize;

use crate::time::Timestamp;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeResult {
    /// The channel.
    pub channel: String,
    /// The model's id there, where it was one candidate that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// 1 for the list of models, 2 for a small real call.
    pub level: u8,
    /// When.
    pub at: Timestamp,
    /// Whether it answered well.
    pub ok: bool,
    /// How long it took.
    pub latency_ms: u64,
    /// What went wrong, or what can be told of it.
    pub failure: Option<String>,
    /// The receipt of the call, in the probe account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

impl ProbeResult {
    /// What was probed: a channel, or a candidate.
    pub fn name(&self) -> String {
        match &self.upstream_model {
            Some(model) => format!("{}/{model}", self.channel),
            None => self.channel.clone(),
        }
    }
}
