//! The settlement: how a hold leaves Open, by its caller's word or by time, and the receipt of a request that never had one.
//!
//! What always holds: a hold leaves Open once; a request has at most one receipt; the charge, the receipt, the counters and the
//! idempotency key change together.

use super::budget::count;
use super::charge::{Charge, ChargePolicy, charge_of, priced};
use super::kept::keep;
use super::late::correct;
use super::record::{
    Checkpoint, Claim, Counted, Event, Extension, Facts, HOLD_EXPIRED, Hold, Journaled, Outcome, Receipt, ReceiptError,
    RequestStatus, Settlement, entry_id, replayable,
};
use super::state::AccountState;
use crate::catalog::CutPolicy;
use crate::money::{Money, cost};
use crate::time::Timestamp;
use crate::usage::{Usage, UsageSource};

/// Settles a request: its hold is captured or released, and its receipt written. Once more changes nothing. After the hold has
/// expired, what the expiry charged is corrected.
pub fn settle(mut state: AccountState, mut settlement: Settlement, now: Timestamp) -> Vec<Event> {
    let now = state.time(now);
    settlement.outcome.usage = settlement.outcome.usage.countable();
    if let Some(expired) = state.expired.take().filter(|expired| expired.id == settlement.request) {
        return correct(&mut state, expired, settlement, now);
    }
    let Some(hold) = state.hold.take().filter(|hold| hold.request == settlement.request) else { return Vec::new() };
    if state.closed {
        return Vec::new();
    }
    let claim = state.claim.take().filter(|claim| hold.claim.as_ref() == Some(&claim.id) && claim.request == hold.request);
    let charge = charge_of(&settlement.outcome, &hold.bucket, hold.amount);
    let status = settlement.outcome.status;
    let mut events = close(&mut state, hold, settlement.outcome, charge, now);
    if let Some(claim) = claim {
        events.push(answer_claim(claim, &events, settlement.body));
    }
    events.extend(keep(&events, status, settlement.kept));
    events
}

/// Notes what a long stream relayed so far and lets its hold live on. One that was overtaken by a later one takes nothing back.
pub fn checkpoint(state: &AccountState, mut extension: Extension, now: Timestamp) -> Vec<Event> {
    extension.checkpoint.usage = extension.checkpoint.usage.countable();
    let is_of = |open: &&Hold| open.request == extension.request && open.bucket == extension.checkpoint.served.bucket;
    let Some(open) = state.hold.as_ref().filter(is_of) else { return Vec::new() };
    let is_later = |known: &&Checkpoint| {
        known.served == extension.checkpoint.served && known.usage.total() > extension.checkpoint.usage.total()
    };
    let checkpoint = open.checkpoint.as_ref().filter(is_later).cloned().unwrap_or(extension.checkpoint);
    let deadline = open.deadline.max(now.plus(extension.timeout_ms));
    vec![Event::Extended { request: extension.request, deadline, checkpoint: Box::new(checkpoint) }]
}

/// Ends a hold whose deadline has passed: it captures its last checkpoint, or gives everything back.
pub fn expire(mut state: AccountState, now: Timestamp) -> Vec<Event> {
    let now = state.time(now);
    let Some(hold) = state.hold.take().filter(|hold| hold.deadline <= now) else { return Vec::new() };
    let claim = state.claim.take().filter(|claim| claim.request == hold.request);
    let (outcome, policy) = outcome_of_expired(&hold, now);
    let charge = priced(&outcome, policy, &hold.bucket, hold.amount);
    let mut events = close(&mut state, hold, outcome, charge, now);
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
pub fn record_refused(state: &mut AccountState, facts: Facts, outcome: Outcome, now: Timestamp) -> Vec<Event> {
    let now = state.time(now);
    // What has an open hold is settled, not refused.
    if state.closed || state.hold.is_some() {
        return Vec::new();
    }
    let mut receipt = Receipt::uncharged(facts, outcome, now);
    receipt.charge_policy = "refused: nothing is charged".to_owned();
    receipt.no_charge_reason = Some("The request was refused before anything was sent upstream.".to_owned());
    let mut events = Vec::new();
    if let Some(run) = &mut state.run {
        run.count(&Counted { tokens: 0, charge: None, receipt: Some(&receipt), corrected: None }, now);
        events.push(Event::RunStored(Box::new(run.clone())));
    }
    // Without a change of balance this cannot fail.
    events.extend(state.append(now, Journaled::Receipt(Box::new(receipt)), None));
    events
}

/// The hold leaves Open; the receipt, the charge and the counters change with it.
fn close(state: &mut AccountState, hold: Hold, outcome: Outcome, charge: Charge, now: Timestamp) -> Vec<Event> {
    let tokens = outcome.usage.total();
    let input = outcome.served.as_ref().and_then(|served| cost(&served.price, &outcome.usage.without_output()).ok());
    state.release(&hold);
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
    let before = state.balance(&hold.bucket);
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
        receipt.entry_ids = vec![entry_id(state.head.seq.saturating_add(1))];
    } else if receipt.no_charge_reason.is_none() {
        receipt.no_charge_reason = Some("The usage costs nothing at this price.".to_owned());
    }

    let change = charge.is_positive().then(|| (&hold.bucket, charge.negated()));
    let mut events = vec![Event::Closed(hold.request)];
    let spent = charge.is_positive().then_some((&hold.bucket, charge));
    let summed = state.run.is_some().then(|| receipt.clone());
    events.extend(state.append(now, Journaled::Receipt(Box::new(receipt)), change));
    events.extend(count(state, &Counted { tokens, charge: spent, receipt: summed.as_ref(), corrected: None }, now));
    events.extend(state.collect(&hold.bucket, now));
    events
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
        Event::Claimed(Claim { is_closed: true, status: paid, body: replayable(body), ..claim })
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
            (None, Vec::new(), Usage::default(), ChargePolicy { rule, no_charge_reason: Some(reason) })
        }
    };
    let usage_source = if served.is_some() { UsageSource::Estimated } else { UsageSource::None };
    let outcome = Outcome {
        status: RequestStatus::Aborted,
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
