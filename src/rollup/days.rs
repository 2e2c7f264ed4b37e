//! What was used and charged, by day: the rows of `usage_days`.

use std::collections::BTreeMap;

use serde::Deserialize;
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
    /// The model that answered, or that was asked for where nobody did; empty of one that the catalogue does not have. Whoever calls
    /// could else make as many sums as they have names.
    pub model: String,
    /// The route; empty where nobody answered.
    pub route: String,
    /// The bucket; empty where nobody answered.
    pub bucket: String,
    /// Why.
    pub cause: Cause,
}

/// The counts, written down once: a field, a column of `usage_days`, a name in answers. A correction counts the difference, so that all but
/// the first two can be below zero.
macro_rules! day_sums {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What was used and charged.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
        pub struct DaySums {
            $($(#[doc = $doc])+ pub $name: i64,)+
        }

        impl DaySums {
            /// Their names.
            pub const COLUMNS: [&str; [$(stringify!($name)),+].len()] = [$(stringify!($name)),+];

            /// What they are, in the order of their names.
            pub const fn values(&self) -> [i64; Self::COLUMNS.len()] {
                [$(self.$name),+]
            }
        }
    };
}

day_sums! {
    /// Requests.
    requests,
    /// Of these, the ones that no balance paid.
    unpaid,
    /// Attempts that went to the same channel again.
    retries,
    /// Attempts that went to another channel.
    fallbacks,
    /// Tokens that went in.
    input_tokens,
    /// Of these, read from the provider's cache.
    cached_tokens,
    /// Tokens that came out.
    output_tokens,
    /// Of these, spent on reasoning.
    reasoning_tokens,
    /// Images.
    images,
    /// Seconds of audio.
    seconds,
    /// Characters to be spoken.
    characters,
    /// Searches.
    searches,
    /// What was charged, in nano-units.
    charge,
    /// The part of it that went in, in nano-units.
    input_charge,
}

/// The sums of one day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Day {
    /// What the key was called.
    pub key_label: String,
    /// What was used and charged.
    pub sums: DaySums,
}

impl Day {
    /// Adds what was used; or takes it away, with a sign of -1.
    fn add_usage(&mut self, usage: &Usage, sign: i64) {
        let sums = &mut self.sums;
        for (class, count) in usage.by_class() {
            let count = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(sign);
            let add = |sum: &mut i64| *sum = sum.saturating_add(count);
            match class.side() {
                Side::Input => add(&mut sums.input_tokens),
                Side::Output => add(&mut sums.output_tokens),
                Side::Count => {}
            }
            match class {
                Class::CachedInput => add(&mut sums.cached_tokens),
                Class::Reasoning => add(&mut sums.reasoning_tokens),
                Class::Images => add(&mut sums.images),
                Class::Seconds => add(&mut sums.seconds),
                Class::Characters => add(&mut sums.characters),
                Class::Searches => add(&mut sums.searches),
                _ => {}
            }
        }
    }

    /// Takes over the label that comes last in the alphabet, and adds what an amount charged.
    fn add_charge(&mut self, label: &str, amount: Option<i64>) {
        if *label > *self.key_label {
            label.clone_into(&mut self.key_label);
        }
        self.sums.charge = self.sums.charge.saturating_sub(amount.unwrap_or(0));
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
            model: receipt.model.as_ref().or(receipt.counted_as.as_ref()).unwrap_or(&receipt.requested_model).to_string(),
            route: receipt.route.map_or("", |route| route.as_str()).to_owned(),
            bucket: row.bucket.or(receipt.bucket.as_deref()).unwrap_or_default().to_owned(),
            cause,
        };
        let day = self.0.entry(key).or_default();
        let sums = &mut day.sums;
        let add = |sum: &mut i64, count: i64| *sum = sum.saturating_add(count);
        add(&mut sums.requests, 1);
        add(&mut sums.unpaid, i64::from(row.amount.is_none()));
        add(&mut sums.retries, i64::from(receipt.retries));
        add(&mut sums.fallbacks, i64::from(receipt.fallbacks));
        add(&mut sums.input_charge, receipt.input_charge.nanos());
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

    /// The sums as rows, each a list: day, project, key, model, route, bucket, cause, what the key was called, and the sums in the order of
    /// their columns.
    pub fn rows(&self) -> Value {
        let row = |(key, day): (&DayKey, &Day)| {
            let DayKey { day: date, project, key, model, route, bucket, cause } = key;
            let names =
                [&date.day(), project, key, model, route, bucket, cause.as_str(), &day.key_label].map(|name: &str| json!(name));
            names.into_iter().chain(day.sums.values().map(|sum| json!(sum))).collect::<Value>()
        };
        self.0.iter().map(row).collect()
    }
}
