//! What an expiry said of a request, and what its late settlement made of that.
//!
//! What always holds: the receipt stays as it was; the correction stands beside it and says what was before and what is now.

use serde::{Deserialize, Serialize};

use super::outcome::RequestStatus;
use crate::catalog::RouteKind;
use crate::id::{BucketId, ChannelId, KeyId, ModelName, ProjectId, RequestId, RunId};
use crate::money::Money;
use crate::truth::Promised;
use crate::usage::{Usage, UsageSource};

/// How a request ended whose hold expired; from its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Expired {
    pub id: RequestId,
    pub key: KeyId,
    pub key_label: String,
    pub project: ProjectId,
    pub run: Option<RunId>,
    /// The model that answered so far, and as it was asked for.
    pub model: Option<ModelName>,
    pub requested_model: String,
    pub route: Option<RouteKind>,
    pub bucket: BucketId,
    /// What was set aside.
    pub hold: Money,
    /// What the expiry charged.
    pub charge: Money,
    /// The usage that it counted.
    pub usage: Usage,
    /// What it said of the promise.
    #[serde(default)]
    pub promise: Option<Promised>,
}

/// What a late settlement changed. It stands beside the receipt, which stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Correction {
    /// The request.
    pub id: RequestId,
    /// By which key.
    pub key: KeyId,
    /// What people call that key.
    pub key_label: String,
    /// For which project.
    pub project: ProjectId,
    /// The task that it was a part of.
    pub run: Option<RunId>,
    /// How the request ended in truth.
    pub status: RequestStatus,
    /// The model that answered.
    pub model: Option<ModelName>,
    /// The model that answered, by its id upstream.
    pub upstream_model: Option<String>,
    /// Over which route.
    pub route: Option<RouteKind>,
    /// On which channel, by its label or an alias; for the operator by its id.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub channel: Option<ChannelId>,
    /// Which balance.
    pub bucket: BucketId,
    /// What was used, by class.
    pub usage: Usage,
    /// What the expiry counted.
    pub usage_before: Usage,
    /// How it is known.
    pub usage_source: UsageSource,
    /// The rule that the charge follows now.
    pub charge_policy: String,
    /// What the expiry charged.
    pub charge_before: Money,
    /// What the request costs in the end.
    pub charge_after: Money,
    /// What was used beyond that; not charged, and to be looked at by the operator.
    pub in_review: Option<Money>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// From arrival to the end, in milliseconds.
    pub latency_ms: u64,
    /// Why there is a correction; one sentence.
    pub reason: String,
    /// What became of the promise in truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promised>,
    /// What the expiry said of it; that counts no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise_before: Option<Promised>,
}
