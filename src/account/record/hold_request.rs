//! What is said when a hold is asked for: the request, the answer, and the same as a question only.
//!
//! What always holds: what is needed at least is never more than what is wanted.

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::free::Free;
use crate::id::{BucketId, RequestId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::refusal::Refusal;

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
    pub(in crate::account) fn least(&self) -> Money {
        self.least.map_or(self.amount, |least| least.min(self.amount))
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum HoldAnswer {
    /// The amount is set aside.
    Granted(Granted),
    /// It is not, and the receipt is written if that ends the request.
    Refused(Refusal, RateLimits),
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
    pub rates: RateLimits,
}

/// Where a key stands with its limits in the current minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RateLimits {
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

impl Wanted {
    /// Exactly so much, of a balance whose currency is not known.
    pub fn exactly(bucket: BucketId, amount: Money) -> Self {
        Self { bucket, currency: String::new(), least: amount, most: amount }
    }
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
