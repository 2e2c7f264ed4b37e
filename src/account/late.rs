//! Late settlements: one that comes after its hold expired corrects what the expiry charged.
//!
//! What always holds: a request is corrected at most once; its charge never passes what was held, what the account has, and
//! what its budgets still cover; what is beyond is in review.

use super::budget::{count, free};
use super::charge::{Charge, charge_of};
use super::kept::keep;
use super::record::{Claim, Corrected, Correction, Counted, Event, Expired, Journaled, Settlement, judged, replayable};
use super::state::AccountState;
use crate::money::Money;
use crate::time::Timestamp;

/// Corrects what an expiry charged.
pub(super) fn correct(state: &mut AccountState, expired: Expired, settlement: Settlement, now: Timestamp) -> Vec<Event> {
    let outcome = settlement.outcome;
    let Charge { full, charge: target, policy } = charge_of(&outcome, &expired.bucket, expired.hold);
    let more = target.checked_sub(expired.charge).unwrap_or_default();
    // What is charged in addition was held once, but is not any more: others may have used it since.
    // While it was lost its idempotency key was free. If another request took it, that one is the request, and is charged.
    let claim = state.claim.take();
    let is_taken = claim.as_ref().is_some_and(|claim| claim.request != expired.id && !claim.is_released);
    let covered = free(state, &expired.bucket, now).amount;
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
    let Ok(row) = state.append(now, Journaled::Correction(Box::new(correction)), moved) else { return Vec::new() };
    let mut events = vec![row];
    events.extend(keep(&events, outcome.status, settlement.kept));
    if let Some(claim) = claim.filter(|_| !is_taken && after.is_positive()) {
        let (status, body) = (Some(outcome.status), replayable(settlement.body));
        events.push(Event::Claimed(Claim { request, is_closed: true, is_released: false, status, body, ..claim }));
    }
    let charge = (change != Money::ZERO).then_some((&expired.bucket, change));
    events.extend(count(state, &Counted { tokens, charge, receipt: None, corrected }, now));
    events.extend(state.collect(&expired.bucket, now));
    events
}
