//! The receipt: the readable story of one request, paid or not.

use serde::{Deserialize, Serialize};

use super::output::{Elsewhere, OutputLimit};
use super::promise::judged;
use crate::catalog::{CutPolicy, Named, RouteKind};
use crate::id::{AccountId, BucketId, ChannelId, KeyId, ModelName, ProjectId, RequestId, RunId};
use crate::money::{Money, Price};
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::truth::{Promise, Promised};
use crate::usage::{Bounds, Usage, UsageSource};

/// What is known of a request before anything was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The request.
    pub request: RequestId,
    /// When it arrived.
    pub created_at: Timestamp,
    /// Who pays.
    pub account: AccountId,
    /// For which project.
    pub project: ProjectId,
    /// By which key.
    pub key: KeyId,
    /// What people call that key.
    pub key_label: String,
    /// The task that it is a part of.
    pub run: Option<RunId>,
    /// Such as `/v1/chat/completions`.
    pub endpoint: String,
    /// Whether the answer was to be streamed.
    pub stream: bool,
    /// The model as asked for.
    pub requested_model: String,
    /// The catalogue that planned and priced it.
    pub catalog_version: u64,
    /// Who was expected to answer, of those whom the hold is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
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

impl Status {
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

/// What became of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
pub struct Attempt {
    /// The model that would have answered, by its public name. Receipts of before do not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// The channel.
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
    /// The credential that it was sent with, by its name in the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Whether it says nothing of the candidate's health, whatever became of it: the place was not one of the model's, or tokens
    /// were only counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_aside: bool,
}

impl Attempt {
    /// Whom it was made on.
    pub fn named(&self) -> Named<'_> {
        let model = self.model.as_ref().map_or("", ModelName::as_str);
        Named { channel: self.channel.as_str(), upstream_model: &self.upstream_model, model }
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
    pub status: Status,
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
    pub fn unserved(status: Status, attempts: Vec<Attempt>, refusal: &Refusal, latency_ms: u64) -> Self {
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

/// The readable story of one request. Amounts are in the currency of `bucket`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The request's id.
    pub id: RequestId,
    /// How it ended.
    pub status: Status,
    /// When it arrived.
    pub created_at: Timestamp,
    /// When it was settled.
    pub closed_at: Timestamp,
    /// Who paid.
    pub account: AccountId,
    /// For which project.
    pub project: ProjectId,
    /// By which key.
    pub key: KeyId,
    /// What people call that key.
    pub key_label: String,
    /// The task that it was a part of.
    pub run: Option<RunId>,
    /// Such as `/v1/chat/completions`.
    pub endpoint: String,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// The model as asked for.
    pub requested_model: String,
    /// The model that answered, by its public name.
    pub model: Option<ModelName>,
    /// The model that answered, by its id upstream.
    pub upstream_model: Option<String>,
    /// Over which route.
    pub route: Option<RouteKind>,
    /// On which channel.
    pub channel: Option<ChannelId>,
    /// Which balance paid, or would have.
    pub bucket: Option<BucketId>,
    /// Why this balance; one sentence.
    pub why: String,
    /// Every attempt in order.
    pub attempts: Vec<Attempt>,
    /// Attempts after the first that went to the same channel as the one before.
    #[serde(default)]
    pub retries: u32,
    /// Attempts after the first that went to another channel.
    pub fallbacks: u32,
    /// What was used, by class.
    pub usage: Usage,
    /// How that is known.
    pub usage_source: UsageSource,
    /// The prices that applied, with their tiers: per million tokens or characters, per one image, second or search.
    pub price: Option<Price>,
    /// The catalogue that they come from.
    pub catalog_version: u64,
    /// How many tokens the answer could have, and who decided that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_limit: Option<OutputLimit>,
    /// What was set aside before the call.
    pub hold: Option<Money>,
    /// What was charged.
    pub charge: Money,
    /// The part of it that went in.
    #[serde(default)]
    pub input_charge: Money,
    /// The rule that the charge follows.
    pub charge_policy: String,
    /// What was used beyond the hold; not charged, and to be looked at by the operator.
    pub in_review: Option<Money>,
    /// The ledger entries that it made.
    pub entry_ids: Vec<String>,
    /// The bucket before the charge.
    pub balance_before: Option<Money>,
    /// The bucket after it.
    pub balance_after: Option<Money>,
    /// Why nothing was charged.
    pub no_charge_reason: Option<String>,
    /// What went wrong.
    pub error: Option<ReceiptError>,
    /// What the caller can do now.
    pub next_step: Option<String>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// From arrival to the first byte of the answer, in milliseconds.
    pub first_byte_ms: Option<u64>,
    /// From arrival to the end, in milliseconds.
    pub latency_ms: u64,
    /// Fields of the request that the channel that answered has no counterpart for, so that it was not sent them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped_parameters: Vec<String>,
    /// Who was expected to answer, and whether that came true; none where nobody was, or the end says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promised>,
    /// What the same usage would have cost elsewhere: at the first choice, where it fell back, and over other routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
}

impl Receipt {
    /// A receipt that charges nothing yet.
    pub(super) fn uncharged(facts: Facts, outcome: Outcome, closed_at: Timestamp) -> Self {
        let promise = judged(&outcome);
        let made: Vec<&Attempt> = outcome.attempts.iter().filter(|attempt| attempt.dispatched).collect();
        let further = made.iter().zip(made.iter().skip(1));
        let (retries, fallbacks): (Vec<_>, Vec<_>) = further.partition(|(one, next)| one.channel == next.channel);
        let (retries, fallbacks) = (retries.len(), fallbacks.len());
        let (model, upstream_model, route, channel, bucket, price, output_limit, why) = match outcome.served {
            Some(it) => (
                Some(it.model),
                Some(it.upstream_model),
                Some(it.route),
                Some(it.channel),
                Some(it.bucket),
                Some(it.price),
                it.output_limit,
                it.why,
            ),
            None => (None, None, None, None, None, None, None, "No balance pays, because nobody answered.".to_owned()),
        };
        Self {
            id: facts.request,
            status: outcome.status,
            created_at: facts.created_at,
            closed_at,
            account: facts.account,
            project: facts.project,
            key: facts.key,
            key_label: facts.key_label,
            run: facts.run,
            endpoint: facts.endpoint,
            stream: facts.stream,
            requested_model: facts.requested_model,
            model,
            upstream_model,
            route,
            channel,
            bucket,
            why,
            attempts: outcome.attempts,
            retries: u32::try_from(retries).unwrap_or(u32::MAX),
            fallbacks: u32::try_from(fallbacks).unwrap_or(u32::MAX),
            usage: outcome.usage,
            usage_source: outcome.usage_source,
            price,
            catalog_version: facts.catalog_version,
            output_limit,
            hold: None,
            charge: Money::ZERO,
            input_charge: Money::ZERO,
            charge_policy: String::new(),
            in_review: None,
            entry_ids: Vec::new(),
            balance_before: None,
            balance_after: None,
            no_charge_reason: None,
            error: outcome.error,
            next_step: outcome.next_step,
            finish_reason: outcome.finish_reason,
            first_byte_ms: outcome.first_byte_ms,
            latency_ms: outcome.latency_ms,
            dropped_parameters: outcome.dropped_parameters,
            promise,
            elsewhere: outcome.elsewhere,
        }
    }
}

/// The id of the ledger entry in journal row `seq`.
pub fn entry_id(seq: u64) -> String {
    format!("entry-{seq}")
}
