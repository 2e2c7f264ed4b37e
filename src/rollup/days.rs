//! What was used and charged, by day: the rows of `usage_days`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::row::{About, Correction, Counted, Receipt};
use crate::time::{Period, Timestamp};
use crate::usage::{Class, Side, Usage};

/// Why a charge is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Cause {
    Direct,
    /// A channel was asked again.
    Retry,
    /// Another channel had to answer.
    Fallback,
    /// A settlement came after the hold had expired.
    Correction,
}

impl Cause {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Retry => "retry",
            Self::Fallback => "fallback",
            Self::Correction => "correction",
        }
    }
}

/// What sums are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayKey {
    /// Its first moment, in UTC.
    pub day: Timestamp,
    /// The project.
    pub project: String,
    /// The key.
    pub key: String,
    /// The model that answered; as it was asked for where nobody did.
    pub model: String,
    /// The route; empty where nobody answered.
    pub route: String,
    /// The bucket; empty where nobody answered.
    pub bucket: String,
    /// Why.
    pub cause: Cause,
}

/// The sums of one day. A correction counts the difference, so that all but the first two can be below zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Day {
    /// What the key was called.
    pub key_label: String,
    /// Requests.
    pub requests: i64,
    /// Of these, the ones that no balance paid.
    pub unpaid: i64,
    /// Attempts that went to the same channel again.
    pub retries: i64,
    /// Attempts that went to another channel.
    pub fallbacks: i64,
    /// Tokens that went in.
    pub input_tokens: i64,
    /// Of these, read from the provider's cache.
    pub cached_tokens: i64,
    /// Tokens that came out.
    pub output_tokens: i64,
    /// Of these, spent on reasoning.
    pub reasoning_tokens: i64,
    /// Images.
    pub images: i64,
    /// Seconds of audio.
    pub seconds: i64,
    /// Characters to be spoken.
    pub characters: i64,
    /// Searches.
    pub searches: i64,
    /// What was charged, in nano-units.
    pub charge: i64,
    /// The part of it that went in, in nano-units.
    pub input_charge: i64,
}

impl Day {
    /// Adds what was used; or takes it away, with a sign of -1.
    fn add_usage(&mut self, usage: &Usage, sign: i64) {
        for (class, count) in usage.by_class() {
            let count = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(sign);
            let add = |sum: &mut i64| *sum = sum.saturating_add(count);
            match class.side() {
                Side::Input => add(&mut self.input_tokens),
                Side::Output => add(&mut self.output_tokens),
                Side::Count => {}
            }
            match class {
                Class::CachedInput => add(&mut self.cached_tokens),
                Class::Reasoning => add(&mut self.reasoning_tokens),
                Class::Images => add(&mut self.images),
                Class::Seconds => add(&mut self.seconds),
                Class::Characters => add(&mut self.characters),
                Class::Searches => add(&mut self.searches),
                _ => {}
            }
        }
    }

    /// Takes over the label that comes last in the alphabet, and adds what an amount charged.
    fn add_charge(&mut self, label: &str, amount: Option<i64>) {
        if *label > *self.key_label {
            label.clone_into(&mut self.key_label);
        }
        self.charge = self.charge.saturating_sub(amount.unwrap_or(0));
    }
}

/// The sums of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Days(pub BTreeMap<DayKey, Day>);

impl Days {
    /// Counts one row.
    pub fn count(&mut self, row: Counted<'_>) {
        match row.about {
            About::Receipt(receipt) => self.count_receipt(row, receipt),
            About::Correction(correction) => self.count_correction(row, correction),
        }
    }

    fn count_receipt(&mut self, row: Counted<'_>, receipt: &Receipt<'_>) {
        let cause = match (receipt.fallbacks, receipt.retries) {
            (1.., _) => Cause::Fallback,
            (0, 1..) => Cause::Retry,
            (0, 0) => Cause::Direct,
        };
        let key = DayKey {
            day: Period::Day.start(row.at),
            project: receipt.project.to_string(),
            key: receipt.key.to_string(),
            model: receipt.model.as_deref().unwrap_or(&receipt.requested_model).to_owned(),
            route: receipt.route.map_or("", |route| route.as_str()).to_owned(),
            bucket: row.bucket.or(receipt.bucket.as_deref()).unwrap_or_default().to_owned(),
            cause,
        };
        let day = self.0.entry(key).or_default();
        let add = |sum: &mut i64, count: i64| *sum = sum.saturating_add(count);
        add(&mut day.requests, 1);
        add(&mut day.unpaid, i64::from(row.amount.is_none()));
        add(&mut day.retries, i64::from(receipt.retries));
        add(&mut day.fallbacks, i64::from(receipt.fallbacks));
        add(&mut day.input_charge, receipt.input_charge.nanos());
        day.add_usage(&receipt.usage, 1);
        day.add_charge(&receipt.key_label, row.amount);
    }

    fn count_correction(&mut self, row: Counted<'_>, correction: &Correction<'_>) {
        let key = DayKey {
            day: Period::Day.start(row.at),
            project: correction.project.to_string(),
            key: correction.key.to_string(),
            model: correction.model.as_deref().unwrap_or_default().to_owned(),
            route: correction.route.map_or("", |route| route.as_str()).to_owned(),
            bucket: row.bucket.unwrap_or(&correction.bucket).to_string(),
            cause: Cause::Correction,
        };
        let day = self.0.entry(key).or_default();
        day.add_usage(&correction.usage, 1);
        day.add_usage(&correction.usage_before, -1);
        day.add_charge(&correction.key_label, row.amount);
    }

    /// The sums as rows, each a list in the order of the columns of `usage_days` but for the account.
    pub fn rows(&self) -> Value {
        let row = |(key, day): (&DayKey, &Day)| {
            let date: String = key.day.to_string().chars().take(10).collect();
            json!([
                date,
                key.project,
                key.key,
                key.model,
                key.route,
                key.bucket,
                key.cause.as_str(),
                day.key_label,
                day.requests,
                day.unpaid,
                day.retries,
                day.fallbacks,
                day.input_tokens,
                day.cached_tokens,
                day.output_tokens,
                day.reasoning_tokens,
                day.images,
                day.seconds,
                day.characters,
                day.searches,
                day.charge,
                day.input_charge
            ])
        };
        self.0.iter().map(row).collect()
    }
}
