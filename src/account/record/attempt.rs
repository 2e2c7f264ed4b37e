//! One call on one candidate, and what became of it.
//!
//! What always holds: what was never sent is told too, with the reason why it was not.

use serde::{Deserialize, Serialize};

use crate::catalog::{NamedCandidate, RouteKind};
use crate::id::{BucketId, ChannelId, ModelName};
use crate::time::Timestamp;

/// What became of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AttemptStatus {
    /// It answered.
    Answered,
    /// It did not.
    Failed,
    /// It refused the request itself.
    Rejected,
    /// It was not made.
    Skipped,
    /// The client left before it answered.
    Abandoned,
}

/// One call on one candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attempt {
    /// The model that would have answered, by its public name. Receipts of before do not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// The channel, by its label or an alias; for the operator by its id.
    #[cfg_attr(test, schemars(with = "String"))]
    pub channel: ChannelId,
    /// 0 is primary.
    pub tier: u8,
    /// Over which route.
    pub route: RouteKind,
    /// Paid by which balance.
    pub bucket: BucketId,
    /// The model's id there.
    pub upstream_model: String,
    /// Why it was chosen or skipped.
    pub reason: String,
    /// Whether anything was sent.
    pub dispatched: bool,
    /// What became of it.
    pub status: AttemptStatus,
    /// When it was sent.
    pub started_at: Timestamp,
    /// Until the first byte of an answer, or the failure; in milliseconds.
    pub latency_ms: u64,
    /// Upstream's HTTP status.
    pub provider_status: Option<u16>,
    /// The kind of failure, such as `timeout`.
    pub error: Option<String>,
    /// The failure in words.
    pub message: Option<String>,
    /// The credential that it was sent with, by its name in the catalogue. For operators alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Whether it says nothing of the candidate's health, whatever became of it: the place was not one of the model's, or tokens
    /// were only counted. For operators alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_aside: bool,
}

impl Attempt {
    /// Whom it was made on.
    pub fn named(&self) -> NamedCandidate<'_> {
        let model = self.model.as_ref().map_or("", ModelName::as_str);
        NamedCandidate { channel: self.channel.as_str(), upstream_model: &self.upstream_model, model }
    }
}
