//! The hold: one decision on key, limits, budgets and balance, before anything is sent upstream.

use serde::{Deserialize, Serialize};

use super::books::{Books, Event, Held, KeyBook};
use super::budget::{over_budgets, refused};
use super::fit::Free;
use super::receipt::{Attempt, Facts, Outcome, Served, Status};
use super::settle::record_refused;
use super::tally::seconds_left;
use crate::id::{BucketId, KeyId, ProjectId, RequestId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use crate::usage::Usage;

/// How long an idempotency key is kept, in milliseconds.
pub const CLAIM_MS: i64 = 24 * 3600 * 1000;
/// So many earlier holders of an idempotency key are remembered.
const MOST_REPLACED: usize = 20;

/// An amount set aside for one request, while it is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The request.
    pub request: RequestId,
    /// Which hold of the request; a crossing to another bucket is the next.
    pub leg: u32,
    /// The key that asked.
    pub key: KeyId,
    /// Its project.
    pub project: ProjectId,
    /// The balance.
    pub bucket: BucketId,
    /// How much.
    pub amount: Money,
    /// When it was granted.
    pub opened_at: Timestamp,
    /// When it ends by itself.
    pub deadline: Timestamp,
    /// The idempotency claim of the request.
    pub claim: Option<String>,
    /// How many tokens it may use, as far as a limit on tokens counts them beforehand.
    #[serde(default)]
    pub tokens: u64,
    /// What is known of the request.
    pub facts: Facts,
    /// What was relayed so far.
    pub checkpoint: Option<Checkpoint>,
}

/// What a long stream relayed so far: what its hold captures if nobody settles it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Who answers.
    pub served: Served,
    /// The attempts so far.
    pub attempts: Vec<Attempt>,
    /// What was used so far, estimated.
    pub usage: Usage,
}

/// Asks for an amount to be set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRequest {
    /// 0 for the first hold of a request, then one more for each crossing.
    pub leg: u32,
    /// The version of the key's record that the plan was made with.
    pub key_version: u64,
    /// The balance.
    pub bucket: BucketId,
    /// The worst-case cost.
    pub amount: Money,
    /// The same with the smallest limit that the output may be fitted to; none where it may not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<Money>,
    /// The currency of the balance, for what people are told.
    #[serde(default)]
    pub currency: String,
    /// Whether the caller asks again while the balance is only in flight, so that this no does not end the request.
    #[serde(default)]
    pub waits: bool,
    /// How long it lives without a sign of life, in milliseconds.
    pub timeout_ms: i64,
    /// The caller's idempotency key, hashed with the API key, and the hash of the body.
    pub idempotency: Option<(String, String)>,
    /// How many tokens it may use, as far as a limit on tokens counts them beforehand.
    #[serde(default)]
    pub tokens: u64,
    /// Whether a no ends the request. It does not while another bucket can still be tried.
    pub is_last: bool,
    /// What is known of the request.
    pub facts: Facts,
}

impl HoldRequest {
    /// What it needs at least; never more than it wants.
    fn least(&self) -> Money {
        self.least.map_or(self.amount, |least| least.min(self.amount))
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum HoldAnswer {
    /// The amount is set aside.
    Granted(Granted),
    /// It is not, and the receipt is written if that ends the request.
    Refused(Refusal, Rates),
    /// The plan was made with an outdated key; here is the current one.
    Stale(Box<KeyRecord>),
    /// The request was made before with the same idempotency key, and this came of it.
    Replayed(Replay),
}

/// A granted hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// How much is set aside.
    pub amount: Money,
    /// The balance without any hold.
    pub balance: Money,
    /// What can still be set aside.
    pub available: Money,
    /// What was free before it, where the amount was fitted to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted: Option<Free>,
    /// Where the key stands with its limits; none if it has none.
    pub rates: Rates,
}

/// Where a key stands with its limits in the current minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rates {
    /// Requests a minute, and how many are left.
    pub requests: Option<(u64, u64)>,
    /// Tokens a minute, and how many are left.
    pub tokens: Option<(u64, u64)>,
    /// Seconds until the minute is over.
    pub reset_s: u64,
}

/// What came of a request that was made before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// That request.
    pub request: RequestId,
    /// Its answer, where it was a plain one and small enough to keep.
    pub body: Option<String>,
}

/// An idempotency key that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The hash of the caller's idempotency key and API key.
    pub id: String,
    /// The hash of the body that it came with.
    pub fingerprint: String,
    /// The request that took it.
    pub request: RequestId,
    /// When.
    pub at: Timestamp,
    /// Whether that request is over.
    pub is_closed: bool,
    /// Whether it ended without a charge and without its settlement: others may take the key, but the settlement may still
    /// come.
    #[serde(default)]
    pub is_released: bool,
    /// The requests that had it before, and were released.
    #[serde(default)]
    pub replaces: Vec<RequestId>,
    /// How it ended.
    #[serde(default)]
    pub status: Option<Status>,
    /// Its answer.
    pub body: Option<String>,
}

impl Claim {
    /// Those who had the key before `request`, the latest last.
    fn those_before(&self, request: &RequestId) -> Vec<RequestId> {
        let earlier = self.replaces.iter().chain([&self.request]).filter(|earlier| *earlier != request);
        let mut earlier: Vec<RequestId> = earlier.cloned().collect();
        let surplus = earlier.len().saturating_sub(MOST_REPLACED);
        earlier.drain(..surplus);
        earlier
    }

    fn is_kept(&self, now: Timestamp) -> bool {
        now < self.at.plus(CLAIM_MS)
    }
}

/// Decides on a hold.
pub fn hold(mut books: Books, request: HoldRequest, now: Timestamp) -> (HoldAnswer, Vec<Event>) {
    let now = books.time(now);
    match decide(&books, &request, now) {
        Ok(decision) => decision,
        Err(No { refusal, is_known }) => {
            let rates = books.key.as_ref().filter(|_| is_known).map(|key| rates(&books, key, now)).unwrap_or_default();
            // A key that is not valid has no receipts, and a crossing that is refused leaves the first hold open.
            let is_awaited = request.waits && refusal.in_flight;
            let is_final = (request.is_last || !refusal.code.is_about_one_bucket()) && !is_awaited;
            let is_over = is_final && is_known && books.hold.is_none();
            let outcome = Outcome::unserved(Status::Refused, Vec::new(), &refusal, now.since(request.facts.created_at));
            let mut events = Vec::new();
            if is_over {
                if refusal.code == Code::BudgetExceeded {
                    events.extend(refused(&mut books, &request.bucket, request.least(), now));
                }
                events.extend(record_refused(&mut books, request.facts, outcome, now));
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

fn decide(books: &Books, request: &HoldRequest, now: Timestamp) -> Result<(HoldAnswer, Vec<Event>), No> {
    let Some(key) = books.key.as_ref().filter(|key| key.record.revoked_at.is_none() && !key.record.policy.is_expired(now)) else {
        return Err(No { refusal: invalid_key(), is_known: false });
    };
    if key.record.version != request.key_version {
        return Ok((HoldAnswer::Stale(Box::new(key.record.clone())), Vec::new()));
    }
    if books.closed {
        return Err(No { refusal: already_closed(&request.facts.request), is_known: false });
    }
    if let Some(open) = books.hold.as_ref().filter(|open| open.leg >= request.leg) {
        // The same command once more.
        let granted = granted(books, (&open.bucket, open.amount), key, now);
        return Ok((HoldAnswer::Granted(granted), Vec::new()));
    }
    if let Some(replay) = replay(books, request, now)? {
        return Ok((HoldAnswer::Replayed(replay), Vec::new()));
    }
    // From here on as if the request's earlier hold were gone: this one takes its place.
    let is_first = books.hold.is_none();
    let mut books = books.clone();
    let replaced = books.hold.take();
    if let Some(replaced) = &replaced {
        books.release(replaced);
    }
    if is_first {
        over_limits(&books, key, now)?;
    }
    covers(&books, (&request.bucket, &request.currency), request.least(), now)?;
    let free = Free::of(&books, &request.bucket, now);
    let amount = free.share(request.least(), request.amount);
    let (mut granted, mut events) = grant(&books, key.clone(), (request, amount, is_first), now);
    granted.fitted = Some(free).filter(|_| amount < request.amount);
    if let Some(replaced) = replaced {
        // What it sets free may be owed; what this one sets aside is not.
        books.held.push(Held {
            bucket: request.bucket.clone(),
            key: key.record.id.clone(),
            project: key.record.project.clone(),
            run: request.facts.run.clone(),
            amount,
            count: 1,
            tokens: request.tokens,
        });
        events.extend(books.collect(&replaced.bucket, now));
    }
    Ok((HoldAnswer::Granted(granted), events))
}

/// Whether budgets and balance cover an amount.
fn covers(books: &Books, (bucket, currency): (&BucketId, &str), amount: Money, now: Timestamp) -> Result<(), Refusal> {
    over_budgets(books, bucket, amount, now)?;
    let short = Short { bucket, currency, amount, balance: books.balance(bucket), available: books.available(bucket) };
    if amount.is_negative() || amount > short.balance {
        return Err(short.insufficient(books.debt(bucket)));
    }
    if amount > short.available {
        return Err(short.in_flight());
    }
    Ok(())
}

/// A hold that somebody thinks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wanted {
    /// The balance.
    pub bucket: BucketId,
    /// Its currency, for what people are told.
    pub currency: String,
    /// What is needed at least.
    pub least: Money,
    /// What can be used.
    pub most: Money,
}

/// What would become of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Weighed {
    /// What it would be refused with; none if it would be granted.
    pub refusal: Option<Refusal>,
    /// What would be set aside.
    pub amount: Money,
    /// What is free, where the amount is fitted to that.
    pub fitted: Option<Free>,
}

impl Wanted {
    /// Exactly so much, of a balance whose currency is not known.
    pub fn exactly(bucket: BucketId, amount: Money) -> Self {
        Self { bucket, currency: String::new(), least: amount, most: amount }
    }
}

/// What would become of a hold, if a request of the key asked for it now. Nothing is set aside.
pub fn weigh(books: &Books, wanted: &Wanted, now: Timestamp) -> Weighed {
    let now = books.time(now);
    let Wanted { bucket, currency, least, most } = wanted;
    let refusal = match books.key.as_ref().filter(|key| key.record.revoked_at.is_none() && !key.record.policy.is_expired(now)) {
        None => Some(invalid_key()),
        Some(key) => over_limits(books, key, now).and_then(|()| covers(books, (bucket, currency), *least, now)).err(),
    };
    let free = Free::of(books, bucket, now);
    let amount = free.share(*least, *most);
    Weighed { refusal, amount, fitted: Some(free).filter(|_| amount < *most) }
}

/// What came of an earlier request with the same idempotency key, if there was one.
fn replay(books: &Books, request: &HoldRequest, now: Timestamp) -> Result<Option<Replay>, Refusal> {
    let Some((id, fingerprint)) = &request.idempotency else { return Ok(None) };
    let is_others = |claim: &&Claim| claim.id == *id && claim.is_kept(now) && claim.request != request.facts.request;
    let Some(claim) = books.claim.as_ref().filter(is_others) else { return Ok(None) };
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
    if claim.status.is_some_and(|status| status != Status::Completed) {
        return Err(no_answer(&claim.request));
    }
    Ok(Some(Replay { request: claim.request.clone(), body: claim.body.clone() }))
}

/// Opens the hold; a request is counted with its first.
fn grant(
    books: &Books,
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
        key.tally.count_request(now);
        events.push(Event::KeyTallied(record.id.clone(), key.tally.clone()));
    }
    if let Some((id, fingerprint)) = request.idempotency.clone() {
        let request = request.facts.request.clone();
        let is_same = |claim: &&Claim| claim.id == id && claim.fingerprint == fingerprint;
        let known = books.claim.as_ref().filter(is_same).filter(|claim| claim.is_released || claim.request == request);
        let replaces = known.map_or_else(Vec::new, |claim| claim.those_before(&request));
        let taken =
            Claim { is_closed: false, is_released: false, status: None, body: None, id, fingerprint, request, at: now, replaces };
        events.push(Event::Claimed(taken));
    }
    let mut granted = granted(books, (&request.bucket, amount), &key, now);
    granted.available = granted.available.checked_sub(amount).unwrap_or_default();
    (granted, events)
}

fn granted(books: &Books, (bucket, amount): (&BucketId, Money), key: &KeyBook, now: Timestamp) -> Granted {
    let (balance, available) = (books.balance(bucket), books.available(bucket));
    Granted { amount, balance, available, fitted: None, rates: rates(books, key, now) }
}

/// Tokens of this minute, those of requests in flight included.
fn tokens_taken(books: &Books, key: &KeyBook, now: Timestamp) -> u64 {
    let in_flight = books.held.iter().filter(|held| held.key == key.record.id);
    in_flight.fold(key.tally.rate(now).1, |sum, held| sum.saturating_add(held.tokens))
}

fn rates(books: &Books, key: &KeyBook, now: Timestamp) -> Rates {
    let policy = &key.record.policy;
    let left = |limit: u64, used: u64| (limit, limit.saturating_sub(used));
    Rates {
        requests: policy.rpm.map(|limit| left(u64::from(limit), u64::from(key.tally.rate(now).0))),
        tokens: policy.tpm.map(|limit| left(limit, tokens_taken(books, key, now))),
        reset_s: seconds_left(now),
    }
}

fn over_limits(books: &Books, key: &KeyBook, now: Timestamp) -> Result<(), Refusal> {
    let (requests, _) = key.tally.rate(now);
    let policy = &key.record.policy;
    let open =
        books.held.iter().filter(|held| held.key == key.record.id).fold(0, |sum: u32, held| sum.saturating_add(held.count));
    let no = |what: &str, limit: u64, wait: u64| {
        let message = format!("This key is limited to {limit} {what}.");
        let next_step = format!("Wait {wait} s and send the request again, or ask the key's owner for a higher limit.");
        Err(Refusal::new(Code::RateLimitExceeded, message, next_step).limit("key").retry_after(wait).fact("limit", limit))
    };
    let wait = seconds_left(now);
    if let Some(limit) = policy.concurrency.filter(|limit| open >= *limit) {
        return no("requests at the same time", u64::from(limit), 1);
    }
    if let Some(limit) = policy.rpm.filter(|limit| requests >= *limit) {
        return no("requests a minute", u64::from(limit), wait);
    }
    let taken = tokens_taken(books, key, now);
    // A request may go while anything is left, and counts in full from then on: the limit is passed by one request at most.
    policy.tpm.filter(|limit| taken >= *limit).map_or(Ok(()), |limit| no("tokens a minute", limit, wait))
}

/// A balance that does not cover an amount.
struct Short<'a> {
    bucket: &'a BucketId,
    currency: &'a str,
    amount: Money,
    balance: Money,
    available: Money,
}

impl Short<'_> {
    /// An amount with its currency, where that is known.
    fn told(&self, amount: Money) -> String {
        format!("{amount} {}", self.currency).trim_end().to_owned()
    }

    fn insufficient(&self, debt: Money) -> Refusal {
        let owed = match debt.is_positive() {
            true => format!(" {} is owed from a refund, and what comes in pays that first.", self.told(debt)),
            false => String::new(),
        };
        let message = format!(
            "The balance `{}` is {}, and this request may cost {}. Nothing was sent upstream.{owed}",
            self.bucket,
            self.told(self.balance),
            self.told(self.amount)
        );
        let next_step = format!("Add balance to `{}`, or set a lower `max_tokens`.", self.bucket);
        self.with_facts(Refusal::new(Code::InsufficientBalance, message, next_step))
    }

    fn in_flight(&self) -> Refusal {
        let message = format!(
            "The balance `{}` is {}, but requests in flight set aside all but {}, and this one may cost {}.",
            self.bucket,
            self.told(self.balance),
            self.told(self.available),
            self.told(self.amount)
        );
        let next_step = "Send it again when the others are finished, add balance, or set a lower `max_tokens`.";
        let refusal = Refusal::new(Code::BalanceInFlight, message, next_step).retry_after(2);
        let refusal = Refusal { in_flight: true, ..refusal };
        self.with_facts(refusal.fact("available", self.available.to_string()))
    }

    fn with_facts(&self, refusal: Refusal) -> Refusal {
        let refusal = match self.currency {
            "" => refusal,
            currency => refusal.fact("currency", currency),
        };
        let refusal = refusal.limit("account").fact("bucket", self.bucket.as_str()).fact("balance", self.balance.to_string());
        refusal.fact("quote", self.amount.to_string())
    }
}

fn invalid_key() -> Refusal {
    Refusal::new(
        Code::InvalidApiKey,
        "This API key was revoked, has expired, or does not exist.",
        "Use another key, or create one.",
    )
}

fn already_closed(request: &RequestId) -> Refusal {
    Refusal::new(Code::Conflict, "This request is already settled.", format!("Read GET /v1/receipts/{request}."))
}

fn other_body() -> Refusal {
    let next_step = "Use a new `Idempotency-Key` for a new request.";
    Refusal::new(Code::IdempotencyMismatch, "This `Idempotency-Key` was used with another request body.", next_step)
}

fn no_answer(request: &RequestId) -> Refusal {
    let message =
        "The first request with this `Idempotency-Key` was charged, but its answer was not delivered whole and is not kept.";
    let next_step = format!("Read GET /v1/receipts/{request}; use a new `Idempotency-Key` to make the request again.");
    Refusal::new(Code::Conflict, message, next_step).fact("first_request", request.as_str())
}

fn in_flight(request: &RequestId) -> Refusal {
    let message = "The first request with this `Idempotency-Key` is still in flight.";
    let next_step = "Send it again in a few seconds; it will answer what the first one answers.";
    Refusal::new(Code::IdempotencyInFlight, message, next_step).retry_after(2).fact("first_request", request.as_str())
}
