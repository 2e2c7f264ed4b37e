//! The hold: one decision on key, limits, budgets and balance, before anything is sent upstream.
//!
//! What always holds: what is granted is covered by the balance and by every budget, what others set aside included; the same
//! request once more sets aside nothing more; a request with an idempotency key that another one has is never granted.

use super::budget::{free, over_budgets, refused};
use super::record::{
    Claim, Event, Granted, HeldSum, Hold, HoldAnswer, HoldRequest, Outcome, RateLimits, Replay, RequestStatus, Wanted, Weighed,
    seconds_left,
};
use super::refusal::{Short, already_closed, in_flight, invalid_key, no_answer, other_body, over_limit};
use super::settle::record_refused;
use super::state::{AccountState, KeyBook};
use crate::id::BucketId;
use crate::money::Money;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// Decides on a hold.
pub fn hold(mut state: AccountState, request: HoldRequest, now: Timestamp) -> (HoldAnswer, Vec<Event>) {
    let now = state.time(now);
    match decide(&state, &request, now) {
        Ok(decision) => decision,
        Err(No { refusal, is_known }) => {
            let rates = state.key.as_ref().filter(|_| is_known).map(|key| rates(&state, key, now)).unwrap_or_default();
            // A key that is not valid has no receipts, and a crossing that is refused leaves the first hold open.
            let is_awaited = request.waits && refusal.in_flight;
            let is_final = (request.is_last || !refusal.code.is_about_one_bucket()) && !is_awaited;
            let is_over = is_final && is_known && state.hold.is_none();
            let outcome = Outcome::unserved(RequestStatus::Refused, Vec::new(), &refusal, now.since(request.facts.created_at));
            let mut events = Vec::new();
            if is_over {
                if refusal.code == Code::BudgetExceeded {
                    events.extend(refused(&mut state, &request.bucket, request.least(), now));
                }
                events.extend(record_refused(&mut state, request.facts, outcome, now));
            }
            (HoldAnswer::Refused(refusal, rates), events)
        }
    }
}

/// A no, and whether the request belongs to a valid key and was not seen before.
struct No {
    refusal: Refusal,
    is_known: bool,
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, is_known: true }
    }
}

fn decide(state: &AccountState, request: &HoldRequest, now: Timestamp) -> Result<(HoldAnswer, Vec<Event>), No> {
    let Some(key) = state.key.as_ref().filter(|key| key.record.revoked_at.is_none() && !key.record.policy.is_expired(now)) else {
        return Err(No { refusal: invalid_key(), is_known: false });
    };
    if key.record.version != request.key_version {
        return Ok((HoldAnswer::Stale(Box::new(key.record.clone())), Vec::new()));
    }
    if state.closed {
        return Err(No { refusal: already_closed(&request.facts.request), is_known: false });
    }
    if let Some(open) = state.hold.as_ref().filter(|open| open.leg >= request.leg) {
        // The same command once more.
        let granted = granted(state, (&open.bucket, open.amount), key, now);
        return Ok((HoldAnswer::Granted(granted), Vec::new()));
    }
    if let Some(replay) = replay(state, request, now)? {
        return Ok((HoldAnswer::Replayed(replay), Vec::new()));
    }
    // From here on as if the request's earlier hold were gone: this one takes its place.
    let without = state.hold.as_ref().map(|replaced| {
        let mut state = AccountState { hold: None, ..state.clone() };
        state.release(replaced);
        (state, replaced)
    });
    let state = without.as_ref().map_or(state, |(state, _)| state);
    if without.is_none() {
        over_limits(state, key, now)?;
    }
    covers(state, (&request.bucket, &request.currency), request.least(), now)?;
    let free = free(state, &request.bucket, now);
    let amount = free.share(request.least(), request.amount);
    let (mut granted, mut events) = grant(state, key.clone(), (request, amount, without.is_none()), now);
    granted.fitted = Some(free).filter(|_| amount < request.amount);
    if let Some((mut state, replaced)) = without {
        // What it sets free may be owed; what this one sets aside is not.
        state.held.push(HeldSum {
            bucket: request.bucket.clone(),
            key: key.record.id.clone(),
            project: key.record.project.clone(),
            run: request.facts.run.clone(),
            amount,
            count: 1,
            tokens: request.tokens,
        });
        events.extend(state.collect(&replaced.bucket, now));
    }
    Ok((HoldAnswer::Granted(granted), events))
}

/// Whether budgets and balance cover an amount.
fn covers(state: &AccountState, (bucket, currency): (&BucketId, &str), amount: Money, now: Timestamp) -> Result<(), Refusal> {
    over_budgets(state, bucket, amount, now)?;
    let short = Short { bucket, currency, amount, balance: state.balance(bucket), available: state.available(bucket) };
    if amount.is_negative() || amount > short.balance {
        return Err(short.insufficient(state.debt(bucket)));
    }
    if amount > short.available {
        return Err(short.in_flight());
    }
    Ok(())
}

/// What would become of a hold, if a request of the key asked for it now. Nothing is set aside.
pub fn weigh(state: &AccountState, wanted: &Wanted, now: Timestamp) -> Weighed {
    let now = state.time(now);
    let Wanted { bucket, currency, least, most } = wanted;
    let refusal = match state.key.as_ref().filter(|key| key.record.revoked_at.is_none() && !key.record.policy.is_expired(now)) {
        None => Some(invalid_key()),
        Some(key) => over_limits(state, key, now).and_then(|()| covers(state, (bucket, currency), *least, now)).err(),
    };
    let free = free(state, bucket, now);
    let amount = free.share(*least, *most);
    Weighed { refusal, amount, fitted: Some(free).filter(|_| amount < *most) }
}

/// What came of an earlier request with the same idempotency key, if there was one.
fn replay(state: &AccountState, request: &HoldRequest, now: Timestamp) -> Result<Option<Replay>, Refusal> {
    let Some((id, fingerprint)) = &request.idempotency else { return Ok(None) };
    let is_others = |claim: &&Claim| claim.id == *id && claim.is_kept(now) && claim.request != request.facts.request;
    let Some(claim) = state.claim.as_ref().filter(is_others) else { return Ok(None) };
    // Also of a key that is free again: the one who had it may still be heard of, and its answer is the answer to its body.
    if claim.fingerprint != *fingerprint {
        return Err(other_body());
    }
    if claim.is_released {
        return Ok(None);
    }
    if !claim.is_closed {
        return Err(in_flight(&claim.request));
    }
    if claim.status.is_some_and(|status| status != RequestStatus::Completed) {
        return Err(no_answer(&claim.request));
    }
    Ok(Some(Replay { request: claim.request.clone(), body: claim.body.clone() }))
}

/// Opens the hold; a request is counted with its first.
fn grant(
    state: &AccountState,
    mut key: KeyBook,
    (request, amount, is_first): (&HoldRequest, Money, bool),
    now: Timestamp,
) -> (Granted, Vec<Event>) {
    let record = &key.record;
    let claim = request.idempotency.as_ref().map(|(id, _)| id.clone());
    let mut events = vec![Event::Opened(Box::new(Hold {
        request: request.facts.request.clone(),
        leg: request.leg,
        key: record.id.clone(),
        project: record.project.clone(),
        bucket: request.bucket.clone(),
        amount,
        opened_at: now,
        deadline: now.plus(request.timeout_ms),
        claim,
        tokens: request.tokens,
        facts: request.facts.clone(),
        checkpoint: None,
    }))];
    let is_limited = record.policy.rpm.is_some() || record.policy.tpm.is_some();
    if is_limited && is_first {
        key.counters.count_request(now);
        events.push(Event::KeyTallied(record.id.clone(), key.counters.clone()));
    }
    if let Some((id, fingerprint)) = request.idempotency.clone() {
        let request = request.facts.request.clone();
        let is_same = |claim: &&Claim| claim.id == id && claim.fingerprint == fingerprint;
        let known = state.claim.as_ref().filter(is_same).filter(|claim| claim.is_released || claim.request == request);
        let replaces = known.map_or_else(Vec::new, |claim| claim.those_before(&request));
        let taken =
            Claim { is_closed: false, is_released: false, status: None, body: None, id, fingerprint, request, at: now, replaces };
        events.push(Event::Claimed(taken));
    }
    let mut granted = granted(state, (&request.bucket, amount), &key, now);
    granted.available = granted.available.checked_sub(amount).unwrap_or_default();
    (granted, events)
}

fn granted(state: &AccountState, (bucket, amount): (&BucketId, Money), key: &KeyBook, now: Timestamp) -> Granted {
    let (balance, available) = (state.balance(bucket), state.available(bucket));
    Granted { amount, balance, available, fitted: None, rates: rates(state, key, now) }
}

/// Tokens of this minute, those of requests in flight included.
fn tokens_taken(state: &AccountState, key: &KeyBook, now: Timestamp) -> u64 {
    let in_flight = state.held.iter().filter(|held| held.key == key.record.id);
    in_flight.fold(key.counters.rate(now).1, |sum, held| sum.saturating_add(held.tokens))
}

fn rates(state: &AccountState, key: &KeyBook, now: Timestamp) -> RateLimits {
    let policy = &key.record.policy;
    let left = |limit: u64, used: u64| (limit, limit.saturating_sub(used));
    RateLimits {
        requests: policy.rpm.map(|limit| left(u64::from(limit), u64::from(key.counters.rate(now).0))),
        tokens: policy.tpm.map(|limit| left(limit, tokens_taken(state, key, now))),
        reset_s: seconds_left(now),
    }
}

fn over_limits(state: &AccountState, key: &KeyBook, now: Timestamp) -> Result<(), Refusal> {
    let (requests, _) = key.counters.rate(now);
    let policy = &key.record.policy;
    let open =
        state.held.iter().filter(|held| held.key == key.record.id).fold(0, |sum: u32, held| sum.saturating_add(held.count));
    let wait = seconds_left(now);
    if let Some(limit) = policy.concurrency.filter(|limit| open >= *limit) {
        return Err(over_limit("requests at the same time", u64::from(limit), 1));
    }
    if let Some(limit) = policy.rpm.filter(|limit| requests >= *limit) {
        return Err(over_limit("requests a minute", u64::from(limit), wait));
    }
    let taken = tokens_taken(state, key, now);
    // A request may go while anything is left, and counts in full from then on: the limit is passed by one request at most.
    policy.tpm.filter(|limit| taken >= *limit).map_or(Ok(()), |limit| Err(over_limit("tokens a minute", limit, wait)))
}
