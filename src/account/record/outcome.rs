//! How a request ended, who answered, and what it used: what a settlement is decided by.
//!
//! What always holds: nobody served where nobody answered, and the price is the one that the call was made at.

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::elsewhere::Elsewhere;
use super::output::OutputLimit;
use crate::catalog::{CutPolicy, RouteKind};
use crate::id::{BucketId, ChannelId, ModelName};
use crate::money::Price;
use crate::refusal::Refusal;
use crate::truth::Promise;
use crate::usage::{Bounds, Usage, UsageSource};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RequestStatus"))]
#[serde(rename_all = "snake_case")]
pub enum RequestStatus {
    /// Answered to the end.
    Completed,
    /// Upstream broke off in the middle.
    Truncated,
    /// The client left, or the gateway lost the request.
    Aborted,
    /// No candidate answered, or upstream refused the request.
    Failed,
    /// Not tried.
    Refused,
}

impl RequestStatus {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Truncated => "truncated",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// Who answered, and at which price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The model's public name.
    pub model: ModelName,
    /// The model's id upstream.
    pub upstream_model: String,
    /// Over which route.
    pub route: RouteKind,
    /// On which channel.
    pub channel: ChannelId,
    /// Paid by which balance; that of the hold.
    pub bucket: BucketId,
    /// At this price.
    pub price: Price,
    /// Why this route, and so this balance; one sentence.
    pub why: String,
    /// How many tokens the answer may have, where the gateway can say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_limit: Option<OutputLimit>,
}

/// What went wrong, for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReceiptError {
    /// As in the answer's `error.code`.
    pub code: String,
    /// As in the answer's `error.message`.
    pub message: String,
    /// Upstream's own code.
    #[serde(default)]
    pub provider_code: Option<String>,
}

/// How a request ended and what it used; what a settlement is decided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub status: RequestStatus,
    /// Who answered.
    pub served: Option<Served>,
    /// Every attempt.
    pub attempts: Vec<Attempt>,
    /// What it used.
    pub usage: Usage,
    /// How that is known.
    pub usage_source: UsageSource,
    /// What it cannot be beyond; none where nobody reported it.
    #[serde(default)]
    pub bounds: Option<Bounds>,
    /// What the catalogue says of a stream that upstream cut.
    pub upstream_cut: CutPolicy,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// What went wrong.
    pub error: Option<ReceiptError>,
    /// What the caller can do now.
    pub next_step: Option<String>,
    /// From arrival to the first byte of the answer.
    pub first_byte_ms: Option<u64>,
    /// From arrival to the end.
    pub latency_ms: u64,
    /// Fields of the request that the channel that answered has no counterpart for, so that it was not sent them.
    #[serde(default)]
    pub dropped_parameters: Vec<String>,
    /// Who was expected to answer, and was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    /// What the usage would have cost elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
}

impl Outcome {
    /// A request that ended before anyone answered.
    pub fn unserved(status: RequestStatus, attempts: Vec<Attempt>, refusal: &Refusal, latency_ms: u64) -> Self {
        Self {
            status,
            served: None,
            attempts,
            usage: Usage::default(),
            usage_source: UsageSource::None,
            bounds: None,
            upstream_cut: CutPolicy::Free,
            finish_reason: None,
            error: Some(ReceiptError {
                code: refusal.code.row().code.to_owned(),
                message: refusal.message.clone(),
                provider_code: refusal.facts.get("provider_code").and_then(|code| code.as_str()).map(ToOwned::to_owned),
            }),
            next_step: Some(refusal.next_step.clone()),
            first_byte_ms: None,
            latency_ms,
            dropped_parameters: Vec::new(),
            promise: None,
            elsewhere: Vec::new(),
        }
    }
}
