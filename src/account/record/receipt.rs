//! The receipt: the readable story of one request, paid or not.
//!
//! What always holds: it is made of what was known before and of how the request ended, and says of the promise what follows
//! from that; amounts are in the currency of its bucket.

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::elsewhere::Elsewhere;
use super::facts::Facts;
use super::outcome::{Outcome, ReceiptError, RequestStatus};
use super::output::OutputLimit;
use super::promise::judged;
use crate::catalog::RouteKind;
use crate::id::{AccountId, BucketId, ChannelId, KeyId, ModelName, ProjectId, RequestId, RunId};
use crate::money::{Money, Price};
use crate::time::Timestamp;
use crate::truth::Promised;
use crate::usage::{Usage, UsageSource};

/// The readable story of one request. Amounts are in the currency of `bucket`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Receipt {
    /// The request's id.
    pub id: RequestId,
    /// How it ended.
    pub status: RequestStatus,
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
    /// The model's name in sums, where nobody answered and that is another than was asked for; empty of a model that is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_as: Option<String>,
    /// The model that answered, by its public name.
    pub model: Option<ModelName>,
    /// The model that answered, by its id upstream.
    pub upstream_model: Option<String>,
    /// Over which route.
    pub route: Option<RouteKind>,
    /// On which channel, by its label or an alias; for the operator by its id.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
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
    pub(in crate::account) fn uncharged(facts: Facts, outcome: Outcome, closed_at: Timestamp) -> Self {
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
            counted_as: facts.counted_as.filter(|_| model.is_none()),
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
