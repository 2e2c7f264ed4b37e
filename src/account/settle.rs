//! The settlement: how a hold leaves Open, and what the request costs.

use serde::{Deserialize, Serialize};

use super::books::{Books, Event, Journaled};
use super::budget::{Counted, count};
use super::hold::{Checkpoint, Claim, Hold};
use super::kept::keep;
use super::late::correct;
use super::promise::HOLD_EXPIRED;
use super::receipt::{Facts, Outcome, Receipt, ReceiptError, Status, entry_id};
use crate::catalog::CutPolicy;
use crate::id::{BucketId, RequestId};
use crate::money::{Money, cost};
use crate::time::Timestamp;
use crate::usage::UsageSource;

/// An answer longer than this is not kept for replays: a stored value has at most 2 MB.
const LONGEST_KEPT_BODY: usize = 1_000_000;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Which request.
    pub request: RequestId,
    /// How it ended.
    pub outcome: Outcome,
    /// The plain answer, if the request had an idempotency key.
    pub body: Option<String>,
    /// The answer as it is kept for requests that refer to it, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// A long stream is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Which request.
    pub request: RequestId,
    /// What it relayed so far.
    pub checkpoint: Checkpoint,
    /// How long its hold lives from now, in milliseconds.
    pub timeout_ms: i64,
}

/// Settles a request: its hold is captured or released, and its receipt written. Once more changes nothing. After the hold has
/// expired, what the expiry charged is corrected.
pub fn settle(mut books: Books, mut settlement: Settlement, now: Timestamp) -> Vec<Event> {
    let now = books.time(now);
    settlement.outcome.usage = settlement.outcome.usage.countable();
    if let Some(expired) = books.expired.take().filter(|expired| expired.id == settlement.request) {
        return correct(&mut books, expired, settlement, now);
    }
    let Some(hold) = books.hold.take().filter(|hold| hold.request == settlement.request) else { return Vec::new() };
    if books.closed {
        return Vec::new();
    }
    let claim = books.claim.take().filter(|claim| hold.claim.as_ref() == Some(&claim.id) && claim.request == hold.request);
    let charge = charge_of(&settlement.outcome, &hold.bucket, hold.amount);
    let status = settlement.outcome.status;
    let mut events = close(&mut books, hold, settlement.outcome, charge, now);
    if let Some(claim) = claim {
        events.push(answer_claim(claim, &events, settlement.body));
    }
    events.extend(keep(&events, status, settlement.kept));
    events
}

/// Notes what a long stream relayed so far and lets its hold live on. One that was overtaken by a later one takes nothing back.
pub fn checkpoint(books: &Books, mut extension: Extension, now: Timestamp) -> Vec<Event> {
    extension.checkpoint.usage = extension.checkpoint.usage.countable();
    let is_of = |open: &&Hold| open.request == extension.request && open.bucket == extension.checkpoint.served.bucket;
    let Some(open) = books.hold.as_ref().filter(is_of) else { return Vec::new() };
    let is_later = |known: &&Checkpoint| {
        known.served == extension.checkpoint.served && known.usage.total() > extension.checkpoint.usage.total()
    };
    let checkpoint = open.checkpoint.as_ref().filter(is_later).cloned().unwrap_or(extension.checkpoint);
    let deadline = open.deadline.max(now.plus(extension.timeout_ms));
    vec![Event::Extended { request: extension.request, deadline, checkpoint: Box::new(checkpoint) }]
}

/// Ends a hold whose deadline has passed: it captures its last checkpoint, or gives everything back.
pub fn expire(mut books: Books, now: Timestamp) -> Vec<Event> {
    let now = books.time(now);
    let Some(hold) = books.hold.take().filter(|hold| hold.deadline <= now) else { return Vec::new() };
    let claim = books.claim.take().filter(|claim| claim.request == hold.request);
    let (outcome, policy) = outcome_of_expired(&hold, now);
    let charge = priced(&outcome, policy, &hold.bucket, hold.amount);
    let mut events = close(&mut books, hold, outcome, charge, now);
    if let Some(claim) = claim {
        // Its settlement may still come, and has to find out whether the key was taken meanwhile.
        events.push(match answer_claim(claim.clone(), &events, None) {
            Event::Unclaimed(_) => Event::Claimed(Claim { is_closed: true, is_released: true, ..claim }),
            answered => answered,
        });
    }
    events
}

/// Writes the receipt of a request that was refused before any hold.
pub fn record_refused(books: &mut Books, facts: Facts, outcome: Outcome, now: Timestamp) -> Vec<Event> {
    let now = books.time(now);
    // What has an open hold is settled, not refused.
    if books.closed || books.hold.is_some() {
        return Vec::new();
    }
    let mut receipt = Receipt::uncharged(facts, outcome, now);
    receipt.charge_policy = "refused: nothing is charged".to_owned();
    receipt.no_charge_reason = Some("The request was refused before anything was sent upstream.".to_owned());
    let mut events = Vec::new();
    if let Some(run) = &mut books.run {
        run.count(&Counted { tokens: 0, charge: None, receipt: Some(&receipt), corrected: None }, now);
        events.push(Event::RunStored(Box::new(run.clone())));
    }
    // Without a change of balance this cannot fail.
    events.extend(books.append(now, Journaled::Receipt(Box::new(receipt)), None));
    events
}

/// Whether usage is charged, by which rule, and if not, why.
pub(super) struct ChargePolicy {
    pub rule: &'static str,
    no_charge_reason: Option<&'static str>,
}

fn charge_policy(outcome: &Outcome) -> ChargePolicy {
    let charged = |rule| ChargePolicy { rule, no_charge_reason: None };
    let free = |rule, reason| ChargePolicy { rule, no_charge_reason: Some(reason) };
    let by = |reported, estimated, counted| match outcome.usage_source {
        UsageSource::Estimated => charged(estimated),
        UsageSource::Counted => charged(counted),
        UsageSource::Upstream | UsageSource::None => charged(reported),
    };
    let is_free = outcome.served.as_ref().is_some_and(|served| served.price.is_empty());
    match (outcome.status, outcome.served.is_some()) {
        (Status::Refused, _) => free("refused: nothing is charged", "The request was refused."),
        (Status::Aborted, false) => free("client left before anyone answered: nothing is charged", "Nothing was relayed."),
        (_, false) | (Status::Failed, _) => free("failed: nothing is charged", "No upstream answered the request."),
        (Status::Completed, true) if is_free => free("completed: nothing is charged", "Requests of this kind are free."),
        (Status::Completed, true) => by(
            "completed: charged by the usage that upstream reported",
            "completed: charged by usage, estimated because upstream reported none",
            "completed: charged by what was counted here, exactly: images answered, characters sent",
        ),
        (Status::Aborted, true) => by(
            "client left: charged by the usage that upstream reported",
            "client left: charged by the input and the output relayed, estimated",
            "client left: charged by what was counted here, exactly: images answered, characters sent",
        ),
        (Status::Truncated, true) => match outcome.upstream_cut {
            CutPolicy::Free => free("upstream cut the stream: nothing is charged", "Upstream broke off before the end."),
            CutPolicy::Usage => charged("upstream cut the stream: charged by what arrived"),
        },
    }
}

/// What a request costs.
pub(super) struct Charge {
    /// By what was reported.
    pub full: Money,
    /// What is charged of that: as much as can be true, and as was held.
    pub charge: Money,
    pub policy: ChargePolicy,
}

/// What a request costs that ended like this, with so much set aside of a bucket.
pub(super) fn charge_of(outcome: &Outcome, bucket: &BucketId, held: Money) -> Charge {
    priced(outcome, charge_policy(outcome), bucket, held)
}

fn priced(outcome: &Outcome, policy: ChargePolicy, bucket: &BucketId, held: Money) -> Charge {
    let served = outcome.served.as_ref().filter(|served| served.bucket == *bucket && policy.no_charge_reason.is_none());
    let credible = outcome.bounds.map_or(outcome.usage, |bounds| outcome.usage.bounded(&bounds));
    // A cost beyond counting is beyond the hold too, and goes to review.
    let of = |usage| served.map_or(Money::ZERO, |served| cost(&served.price, &usage).unwrap_or(Money::MAX));
    Charge { full: of(outcome.usage), charge: of(credible).min(held), policy }
}

/// The hold leaves Open; the receipt, the charge and the counters change with it.
fn close(books: &mut Books, hold: Hold, outcome: Outcome, charge: Charge, now: Timestamp) -> Vec<Event> {
    let tokens = outcome.usage.total();
    let input = outcome.served.as_ref().and_then(|served| cost(&served.price, &outcome.usage.without_output()).ok());
    books.release(&hold);
    let Charge { full, charge, policy } = charge;

    let output = outcome.usage.output_side();
    let mut receipt = Receipt::uncharged(hold.facts, outcome, now);
    let ended = receipt.output_limit.as_ref().and_then(|limit| limit.next_step(output, hold.bucket.as_str()));
    receipt.next_step = receipt.next_step.or(ended);
    receipt.bucket = Some(hold.bucket.clone());
    receipt.hold = Some(hold.amount);
    receipt.charge_policy = policy.rule.to_owned();
    receipt.no_charge_reason = policy.no_charge_reason.map(ToOwned::to_owned);
    receipt.in_review = full.checked_sub(charge).filter(|over| over.is_positive());
    let before = books.balance(&hold.bucket);
    // What is held is covered, so the balance stays at or above zero; if it were not, nothing is charged and that is said.
    let after = before.checked_sub(charge).filter(|after| !after.is_negative());
    let (charge, after) = after.map_or((Money::ZERO, before), |after| (charge, after));
    receipt.charge = charge;
    receipt.input_charge = input.unwrap_or(charge).min(charge);
    receipt.balance_before = Some(before);
    receipt.balance_after = Some(after);
    if !charge.is_positive() {
        receipt.elsewhere.clear();
    }
    if charge.is_positive() {
        receipt.entry_ids = vec![entry_id(books.head.seq.saturating_add(1))];
    } else if receipt.no_charge_reason.is_none() {
        receipt.no_charge_reason = Some("The usage costs nothing at this price.".to_owned());
    }

    let change = charge.is_positive().then(|| (&hold.bucket, charge.negated()));
    let mut events = vec![Event::Closed(hold.request)];
    let spent = charge.is_positive().then_some((&hold.bucket, charge));
    let summed = books.run.is_some().then(|| receipt.clone());
    events.extend(books.append(now, Journaled::Receipt(Box::new(receipt)), change));
    events.extend(count(books, &Counted { tokens, charge: spent, receipt: summed.as_ref(), corrected: None }, now));
    events.extend(books.collect(&hold.bucket, now));
    events
}

/// An answer as it is kept for replays.
pub(super) fn kept(body: Option<String>) -> Option<String> {
    body.filter(|body| body.len() <= LONGEST_KEPT_BODY)
}

/// A paid answer is kept for replays; a request that cost nothing may simply be made again.
fn answer_claim(claim: Claim, events: &[Event], body: Option<String>) -> Event {
    let paid = events.iter().find_map(|event| match event {
        Event::Journaled(row) if row.amount.is_some() => match &row.journaled {
            Journaled::Receipt(receipt) => Some(receipt.status),
            _ => None,
        },
        _ => None,
    });
    if paid.is_some() {
        Event::Claimed(Claim { is_closed: true, status: paid, body: kept(body), ..claim })
    } else if claim.replaces.is_empty() {
        Event::Unclaimed(claim.id)
    } else {
        // Those who had it before may still be heard of.
        Event::Claimed(Claim { is_closed: true, is_released: true, ..claim })
    }
}

fn outcome_of_expired(hold: &Hold, now: Timestamp) -> (Outcome, ChargePolicy) {
    let (served, attempts, usage, policy) = match hold.checkpoint.clone() {
        Some(Checkpoint { served, attempts, usage }) => {
            let rule = "hold expired: charged by what was relayed at the last checkpoint, estimated";
            (Some(served), attempts, usage, ChargePolicy { rule, no_charge_reason: None })
        }
        None => {
            let reason = "The gateway lost the request before anything was known to be relayed.";
            let rule = "hold expired: released, nothing is charged";
            (None, Vec::new(), crate::usage::Usage::default(), ChargePolicy { rule, no_charge_reason: Some(reason) })
        }
    };
    let usage_source = if served.is_some() { UsageSource::Estimated } else { UsageSource::None };
    let outcome = Outcome {
        status: Status::Aborted,
        served,
        attempts,
        usage,
        usage_source,
        bounds: None,
        upstream_cut: CutPolicy::Free,
        finish_reason: None,
        error: Some(ReceiptError {
            code: HOLD_EXPIRED.to_owned(),
            message: "No settlement arrived before the hold's deadline.".to_owned(),
            provider_code: None,
        }),
        next_step: Some("Send the request again if its answer did not arrive.".to_owned()),
        first_byte_ms: None,
        dropped_parameters: Vec::new(),
        promise: hold.facts.promise.clone(),
        elsewhere: Vec::new(),
        latency_ms: now.since(hold.facts.created_at),
    };
    (outcome, policy)
}
