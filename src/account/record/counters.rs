//! What a key or project did in the current minute, day and month: the counters of limits and budgets.
//!
//! What always holds: what belongs to an earlier minute, day or month counts for nothing in this one; what is spent is never below
//! nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::BucketId;
use crate::money::Money;
use crate::time::{MINUTE_MS, Period, Timestamp};

/// Rate limits are counted in windows of this many milliseconds.
const WINDOW_MS: i64 = MINUTE_MS;

/// What one scope did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// When the minute of the next two began.
    pub window: Timestamp,
    /// Requests in that minute.
    pub requests: u32,
    /// Tokens in that minute.
    pub tokens: u64,
    /// Charges by bucket.
    pub spent: BTreeMap<BucketId, Spent>,
    /// The highest level that was announced of each budget.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub announced: Vec<Announced>,
}

/// A budget's level that was announced, in one period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Announced {
    pub bucket: BucketId,
    pub period: Period,
    /// When that period began.
    pub start: Timestamp,
    pub limit: Money,
    pub percent: u8,
}

/// Charges on one bucket, in the periods in which they were last counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Ever.
    pub total: Money,
    /// When the day of `day` began.
    pub day_start: Timestamp,
    /// In that day.
    pub day: Money,
    /// When the month of `month` began.
    pub month_start: Timestamp,
    /// In that month.
    pub month: Money,
}

impl Spent {
    /// What was spent in the period that contains `now`.
    pub fn within(&self, period: Period, now: Timestamp) -> Money {
        let current = |start: Timestamp, amount: Money| if start == period.start(now) { amount } else { Money::ZERO };
        match period {
            Period::Total => self.total,
            Period::Day => current(self.day_start, self.day),
            Period::Month => current(self.month_start, self.month),
        }
    }

    fn add(&mut self, charge: Money, now: Timestamp) {
        // A correction that gives back may belong to an earlier period; what is spent is never below nothing.
        let plus = |amount: Money| amount.checked_add(charge).unwrap_or(Money::MAX).max(Money::ZERO);
        (self.day, self.month) = (plus(self.within(Period::Day, now)), plus(self.within(Period::Month, now)));
        self.total = plus(self.total);
        self.day_start = Period::Day.start(now);
        self.month_start = Period::Month.start(now);
    }
}

impl Counters {
    /// Requests and tokens in the minute of `now`.
    pub fn rate(&self, now: Timestamp) -> (u32, u64) {
        if self.window == window(now) { (self.requests, self.tokens) } else { (0, 0) }
    }

    /// What was spent of a bucket in the period that contains `now`.
    pub fn spent(&self, bucket: &BucketId, period: Period, now: Timestamp) -> Money {
        self.spent.get(bucket).map_or(Money::ZERO, |spent| spent.within(period, now))
    }

    /// Counts a request.
    pub fn count_request(&mut self, now: Timestamp) {
        self.turn(now);
        self.requests = self.requests.saturating_add(1);
    }

    /// Counts what a request used and cost.
    pub fn count_usage(&mut self, tokens: u64, charge: Option<(&BucketId, Money)>, now: Timestamp) {
        self.turn(now);
        self.tokens = self.tokens.saturating_add(tokens);
        if let Some((bucket, amount)) = charge {
            self.spent.entry(bucket.clone()).or_default().add(amount, now);
        }
    }

    fn turn(&mut self, now: Timestamp) {
        if self.window != window(now) {
            (self.window, self.requests, self.tokens) = (window(now), 0, 0);
        }
    }
}

/// Seconds until the minute of `now` is over, at least one.
pub fn seconds_left(now: Timestamp) -> u64 {
    let left = u64::try_from(WINDOW_MS).unwrap_or(0).saturating_sub(now.since(window(now)));
    left.div_ceil(1000).max(1)
}

fn window(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.millis().div_euclid(WINDOW_MS).saturating_mul(WINDOW_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_day_starts_at_nothing() {
        let bucket = BucketId::parse("credit").unwrap();
        let (one, day) = (Money::parse("1").unwrap(), Timestamp::parse("2026-11-30T23:59:59Z").unwrap());
        let mut counters = Counters::default();
        counters.count_usage(10, Some((&bucket, one)), day);
        counters.count_usage(10, Some((&bucket, one)), day);
        assert_eq!(counters.spent(&bucket, Period::Day, day).to_string(), "2");
        let next = day.plus(1000);
        assert_eq!(counters.spent(&bucket, Period::Day, next), Money::ZERO);
        assert_eq!(counters.spent(&bucket, Period::Month, next), Money::ZERO);
        assert_eq!(counters.spent(&bucket, Period::Total, next).to_string(), "2");
        counters.count_usage(1, Some((&bucket, one)), next);
        assert_eq!(counters.spent(&bucket, Period::Month, next), one);
        assert_eq!(counters.rate(next), (0, 1));
    }

    #[test]
    fn the_reset_is_within_the_minute() {
        assert_eq!(seconds_left(Timestamp::from_millis(60_000)), 60);
        assert_eq!(seconds_left(Timestamp::from_millis(119_999)), 1);
    }
}
