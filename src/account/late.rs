//! Late settlements: one that comes after its hold expired corrects what the expiry charged.
//!
//! What always holds: a request is corrected at most once; its charge never passes what was held, what the account has, and
//! what its budgets still cover; what is beyond is in review.

use serde::{Deserialize, Serialize};

use super::books::{Books, Event, Journaled};
use super::budget::{self, Corrected, Counted};
use super::hold::Claim;
use super::kept::keep;
use super::promise::judged;
use super::receipt::Status;
use super::settle::{Charge, Settlement, charge_of, kept};
use crate::catalog::RouteKind;
use crate::id::{BucketId, ChannelId, KeyId, ModelName, ProjectId, RequestId, RunId};
use crate::money::Money;
use crate::time::Timestamp;
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
    pub status: Status,
    /// The model that answered.
    pub model: Option<ModelName>,
    /// The model that answered, by its id upstream.
    pub upstream_model: Option<String>,
    /// Over which route.
    pub route: Option<RouteKind>,
    /// On which channel.
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

/// Corrects what an expiry charged.
pub(super) fn correct(books: &mut Books, expired: Expired, settlement: Settlement, now: Timestamp) -> Vec<Event> {
    let outcome = settlement.outcome;
    let Charge { full, charge: target, policy } = charge_of(&outcome, &expired.bucket, expired.hold);
    let more = target.checked_sub(expired.charge).unwrap_or_default();
    // What is charged in addition was held once, but is not any more: others may have used it since.
    // While it was lost its idempotency key was free. If another request took it, that one is the request, and is charged.
    let claim = books.claim.take();
    let is_taken = claim.as_ref().is_some_and(|claim| claim.request != expired.id && !claim.is_released);
    let covered = books.available(&expired.bucket).min(budget::room(books, &expired.bucket, now).unwrap_or(Money::MAX));
    let covered = if is_taken { Money::ZERO } else { covered.max(Money::ZERO) };
    let change = more.min(covered);
    let after = expired.charge.checked_add(change).unwrap_or(expired.charge);
    let tokens = outcome.usage.total().saturating_sub(expired.usage.total());
    let model = expired.model.as_ref().map_or(expired.requested_model.as_str(), |model| model.as_str()).to_owned();
    let corrected = Some(Corrected {
        model,
        route: expired.route,
        bucket: expired.bucket.clone(),
        usage: outcome.usage,
        before: expired.usage,
    });
    let promise = judged(&outcome);
    let served = outcome.served;
    let request = expired.id.clone();
    let correction = Correction {
        id: expired.id,
        key: expired.key,
        key_label: expired.key_label,
        project: expired.project,
        run: expired.run,
        status: outcome.status,
        model: served.as_ref().map(|served| served.model.clone()),
        upstream_model: served.as_ref().map(|served| served.upstream_model.clone()),
        route: served.as_ref().map(|served| served.route),
        channel: served.map(|served| served.channel),
        bucket: expired.bucket.clone(),
        usage: outcome.usage,
        usage_before: expired.usage,
        usage_source: outcome.usage_source,
        charge_policy: policy.rule.to_owned(),
        charge_before: expired.charge,
        charge_after: after,
        in_review: full.checked_sub(after).filter(|over| over.is_positive()),
        finish_reason: outcome.finish_reason,
        latency_ms: outcome.latency_ms,
        reason: if is_taken {
            "The settlement arrived after the hold had expired and another request had taken the `Idempotency-Key`, so nothing more is charged."
        } else {
            "The settlement arrived after the hold had expired."
        }
        .to_owned(),
        promise,
        promise_before: expired.promise,
    };
    let moved = (change != Money::ZERO).then(|| (&expired.bucket, change.negated()));
    // What cannot be counted exactly is not given back, and nothing is counted for it.
    let Ok(row) = books.append(now, Journaled::Correction(Box::new(correction)), moved) else { return Vec::new() };
    let mut events = vec![row];
    events.extend(keep(&events, outcome.status, settlement.kept));
    if let Some(claim) = claim.filter(|_| !is_taken && after.is_positive()) {
        let (status, body) = (Some(outcome.status), kept(settlement.body));
        events.push(Event::Claimed(Claim { request, is_closed: true, is_released: false, status, body, ..claim }));
    }
    let charge = (change != Money::ZERO).then_some((&expired.bucket, change));
    events.extend(budget::count(books, &Counted { tokens, charge, receipt: None, corrected }, now));
    events.extend(books.collect(&expired.bucket, now));
    events
}
