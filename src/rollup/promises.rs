//! What became of promises, by day: the rows of `truth_days`.
//!
//! What always holds: what a receipt says of its promise was decided by the account, and is only added up here; a correction takes
//! back what the expiry had said.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::row::{About, Counted};
use crate::time::{Period, Timestamp};
use crate::truth::{Entry, KEPT_MISSES, Promise, Promised};

/// What the promises of one day came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TruthDay {
    /// How many there were.
    pub callable: i64,
    /// How many of them were kept.
    pub answered: i64,
    /// The last misses, and what was taken back of them; newest first.
    pub misses: Vec<Entry>,
}

/// The sums of a batch, by promise and day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promises(pub BTreeMap<(Promise, Timestamp), TruthDay>);

impl Promises {
    /// Counts one row.
    pub fn count(&mut self, row: Counted<'_>) {
        let (id, now, before) = match row.about {
            About::Receipt(receipt) => (&receipt.id, &receipt.promise, &None),
            About::Correction(correction) => (&correction.id, &correction.promise, &correction.promise_before),
        };
        for (promised, sign) in [(before, -1), (now, 1)] {
            let Some(Promised { model, route, missed }) = promised.clone() else { continue };
            let day = self.0.entry((Promise { model, route }, Period::Day.start(row.at))).or_default();
            day.callable = day.callable.saturating_add(sign);
            match missed {
                None => day.answered = day.answered.saturating_add(sign),
                Some(missed) => day.misses.push(Entry(id.to_string(), row.at.millis(), (sign > 0).then_some(missed))),
            }
            day.misses.sort_by_key(|Entry(_, at, _)| Reverse(*at));
            day.misses.truncate(KEPT_MISSES);
        }
    }

    /// The sums as rows, each a list in the order of the columns of `truth_days`.
    pub fn rows(&self) -> Value {
        let row = |((promise, day), sums): (&(Promise, Timestamp), &TruthDay)| {
            json!([promise.model, promise.route, day.day(), sums.callable, sums.answered, sums.misses])
        };
        self.0.iter().map(row).collect()
    }
}
