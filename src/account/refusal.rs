//! How a refusal of the account reads: message, next step and facts.
//!
//! What always holds: a refusal says what stands in the way with its amounts, and what the caller can do; it decides nothing.

use super::record::ScopeKind;
use crate::id::{BucketId, RequestId};
use crate::key::Budget;
use crate::money::Money;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// A balance that does not cover an amount.
pub(super) struct Short<'a> {
    pub bucket: &'a BucketId,
    pub currency: &'a str,
    pub amount: Money,
    pub balance: Money,
    pub available: Money,
}

impl Short<'_> {
    /// An amount with its currency, where that is known.
    fn told(&self, amount: Money) -> String {
        format!("{amount} {}", self.currency).trim_end().to_owned()
    }

    pub(super) fn insufficient(&self, debt: Money) -> Refusal {
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

    pub(super) fn in_flight(&self) -> Refusal {
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

/// Its key was used for an adjustment that is another.
pub fn other_adjustment() -> Refusal {
    let message = "This `Idempotency-Key` was used for another adjustment.";
    Refusal::new(Code::IdempotencyMismatch, message, "Use a new `Idempotency-Key` for a new adjustment.")
}

pub(super) fn no_account() -> Refusal {
    Refusal::new(Code::NotFound, "There is no such account.", "Create it with POST /admin/v1/accounts.")
}

pub(super) fn invalid_key() -> Refusal {
    Refusal::new(
        Code::InvalidApiKey,
        "This API key was revoked, has expired, or does not exist.",
        "Use another key, or create one.",
    )
}

pub(super) fn already_closed(request: &RequestId) -> Refusal {
    Refusal::new(Code::Conflict, "This request is already settled.", format!("Read GET /v1/receipts/{request}."))
}

/// The request that had the `Idempotency-Key` first is not over.
pub(super) fn in_flight(request: &RequestId) -> Refusal {
    let message = "The first request with this `Idempotency-Key` is still in flight.";
    let next_step = "Send it again in a few seconds; it will answer what the first one answers.";
    Refusal::new(Code::IdempotencyInFlight, message, next_step).retry_after(2).fact("first_request", request.as_str())
}

/// The `Idempotency-Key` came before, with another body.
pub(super) fn other_body() -> Refusal {
    let next_step = "Use a new `Idempotency-Key` for a new request.";
    Refusal::new(Code::IdempotencyMismatch, "This `Idempotency-Key` was used with another request body.", next_step)
}

/// The request that had the `Idempotency-Key` first was charged, but there is no answer to give again.
pub(super) fn no_answer(request: &RequestId) -> Refusal {
    let message =
        "The first request with this `Idempotency-Key` was charged, but its answer was not delivered whole and is not kept.";
    let next_step = format!("Read GET /v1/receipts/{request}; use a new `Idempotency-Key` to make the request again.");
    Refusal::new(Code::Conflict, message, next_step).fact("first_request", request.as_str())
}

/// A limit of a key that is reached; `wait` seconds from now there is room again.
pub(super) fn over_limit(what: &str, limit: u64, wait: u64) -> Refusal {
    let message = format!("This key is limited to {limit} {what}.");
    let next_step = format!("Wait {wait} s and send the request again, or ask the key's owner for a higher limit.");
    Refusal::new(Code::RateLimitExceeded, message, next_step).limit("key").retry_after(wait).fact("limit", limit)
}

/// A budget of a key, a project or a run that does not cover an amount.
pub(super) fn over_budget(
    (scope, id): (ScopeKind, &str),
    budget: &Budget,
    (spent, held): (Money, Money),
    amount: Money,
    now: Timestamp,
) -> Refusal {
    let kind = scope.as_str();
    let message = format!(
        "The budget of this {kind} on `{}` does not cover this request: {spent} of {} is spent, {held} is set aside, and the request may cost up to {amount}.",
        budget.bucket, budget.limit
    );
    let resets_at = budget.period.end(now).map(|end| end.to_string());
    let next_step = match &resets_at {
        Some(end) => format!("Lower `max_tokens`, wait until {end}, or ask the owner to raise the budget."),
        None if scope == ScopeKind::Run => "Lower `max_tokens`, or go on in a new run.".to_owned(),
        None => "Lower `max_tokens`, or ask the owner to raise the budget.".to_owned(),
    };
    // What is spent stays spent; what is only set aside comes back.
    let in_flight = spent.checked_add(amount).is_some_and(|after| after <= budget.limit);
    let refusal = Refusal { in_flight, ..Refusal::new(Code::BudgetExceeded, message, next_step) };
    let refusal = refusal.limit(kind).fact("scope", kind);
    refusal
        .fact("scope_id", id)
        .fact("bucket", budget.bucket.as_str())
        .fact("period", budget.period.as_str())
        .fact("limit", budget.limit.to_string())
        .fact("spent", spent.to_string())
        .fact("held", held.to_string())
        .fact("quote", amount.to_string())
        .fact("resets_at", resets_at)
}

pub(super) fn unknown_order() -> Refusal {
    Refusal::new(Code::NotFound, "This account has no such order.", "List the account's top-ups.").param("id")
}

pub(super) fn out_of_range() -> Refusal {
    Refusal::invalid("amount", "The balance would leave the range that is counted exactly.")
}
