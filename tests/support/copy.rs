//! The searchable copy as the outbox keeps it: rows by number, and sums by day that count a row once: of what was used, and of
//! what became of promises.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokens_forge::account::{Journaled, Row};
use tokens_forge::rollup::{DayKey, Rollup, TruthDay, mark_after};
use tokens_forge::time::Period;
use tokens_forge::truth::{Entry, KEPT_MISSES, Promise, Promised};
use tokens_forge::usage::{Class, Side, Usage};

/// Day, project, key, model, route, bucket and cause.
pub type DayOf = (i64, String, String, String, String, String, &'static str);

/// What was used and charged in one day; the columns of `usage_days`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    pub requests: u64,
    pub unpaid: u64,
    pub retries: u64,
    pub fallbacks: u64,
    pub input_tokens: i128,
    /// Of these, read from the provider's cache.
    pub cached_tokens: i128,
    pub output_tokens: i128,
    /// Of these, spent on reasoning.
    pub reasoning_tokens: i128,
    /// Images, seconds, characters and searches.
    pub counts: [i128; 4],
    pub charge: i128,
    pub input_charge: i128,
}

impl Sums {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.unpaid += other.unpaid;
        self.retries += other.retries;
        self.fallbacks += other.fallbacks;
        self.input_tokens += other.input_tokens;
        self.cached_tokens += other.cached_tokens;
        self.output_tokens += other.output_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
        self.charge += other.charge;
        self.input_charge += other.input_charge;
    }

    /// The columns by name.
    pub fn named(&self) -> [(&'static str, i128); 14] {
        let [images, seconds, characters, searches] = self.counts;
        [
            ("requests", self.requests.into()),
            ("unpaid", self.unpaid.into()),
            ("retries", self.retries.into()),
            ("fallbacks", self.fallbacks.into()),
            ("input_tokens", self.input_tokens),
            ("cached_tokens", self.cached_tokens),
            ("output_tokens", self.output_tokens),
            ("reasoning_tokens", self.reasoning_tokens),
            ("images", images),
            ("seconds", seconds),
            ("characters", characters),
            ("searches", searches),
            ("charge", self.charge),
            ("input_charge", self.input_charge),
        ]
    }
}

/// What the promises of one day came to; the columns of `truth_days`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    pub callable: i64,
    pub answered: i64,
    pub misses: Vec<Entry>,
}

/// By what was promised, and when the day began.
pub type Truths = BTreeMap<(Promise, i64), Kept>;

/// One database.
#[derive(Debug, Clone, Default)]
pub struct SearchableCopy {
    pub rows: BTreeMap<u64, Row>,
    pub days: BTreeMap<DayOf, Sums>,
    /// What the keys of these days were called last.
    pub labels: BTreeMap<DayOf, String>,
    pub truths: Truths,
    /// First and last row of what arrived together.
    pub batches: Vec<(u64, u64)>,
}

impl SearchableCopy {
    /// The statements of one batch, as `outbox.rs` has them: sums, then rows; nothing where a row of the batch is there already. Answers how
    /// far the outbox is then.
    pub fn write(&mut self, rows: &[Row]) -> u64 {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return self.newest() };
        let before = self.newest();
        let mark = mark_after(before, (first.seq, last.seq));
        if before >= first.seq {
            return mark;
        }
        self.batches.push((first.seq, last.seq));
        check_rollup(rows);
        let mut labels: BTreeMap<DayOf, String> = BTreeMap::new();
        for row in rows {
            if let Some((day, label)) = count(&mut self.days, row) {
                let last = labels.entry(day).or_default();
                *last = label.max(last.clone());
            }
            count_promise(&mut self.truths, row);
            self.rows.insert(row.seq, row.clone());
        }
        self.labels.extend(labels);
        mark
    }

    /// The number of the newest row that is there.
    pub fn newest(&self) -> u64 {
        self.rows.keys().next_back().copied().unwrap_or(0)
    }
}

/// Rows as the account's tables hand them to its outbox.
pub fn stored(rows: &[Row]) -> String {
    let row = |row: &Row| {
        json!({
            "seq": row.seq, "at": row.at.millis(), "kind": row.journaled.kind(), "bucket": row.bucket,
            "amount": row.amount.map(|amount| amount.nanos()), "doc": serde_json::to_string(&row.journaled).unwrap(),
        })
    };
    rows.iter().map(row).collect::<Value>().to_string()
}

/// What the product adds for a batch is what is counted here, row by row.
fn check_rollup(rows: &[Row]) {
    let mut rollup = Rollup::default();
    assert!(rollup.count_stored(&stored(rows)).unwrap().is_empty(), "every row can be read");
    let days = rollup.days.0.into_iter().map(|(key, day)| {
        let day = day.sums;
        let counts = [day.images, day.seconds, day.characters, day.searches].map(i128::from);
        let count = |count: i64| u64::try_from(count).unwrap();
        let sums = Sums {
            requests: count(day.requests),
            unpaid: count(day.unpaid),
            retries: count(day.retries),
            fallbacks: count(day.fallbacks),
            input_tokens: day.input_tokens.into(),
            cached_tokens: day.cached_tokens.into(),
            output_tokens: day.output_tokens.into(),
            reasoning_tokens: day.reasoning_tokens.into(),
            counts,
            charge: day.charge.into(),
            input_charge: day.input_charge.into(),
        };
        let DayKey { day, project, key, model, route, bucket, cause } = key;
        ((day.millis(), project, key, model, route, bucket, cause.as_str()), sums)
    });
    assert_eq!(days.collect::<BTreeMap<_, _>>(), days_of(rows), "daily sums");
    let truths = rollup.promises.0.into_iter().map(|((promise, day), TruthDay { callable, answered, misses })| {
        ((promise, day.millis()), Kept { callable, answered, misses })
    });
    assert_eq!(truths.collect::<Truths>(), truths_of(rows), "promises");
}

/// The sums of a whole journal.
pub fn days_of(journal: &[Row]) -> BTreeMap<DayOf, Sums> {
    let mut days = BTreeMap::new();
    for row in journal {
        count(&mut days, row);
    }
    days
}

/// What became of the promises of a whole journal.
pub fn truths_of(journal: &[Row]) -> Truths {
    let mut truths = Truths::new();
    journal.iter().for_each(|row| count_promise(&mut truths, row));
    truths
}

/// Counts what one row says of a promise; a correction takes back what the expiry had said.
fn count_promise(truths: &mut Truths, row: &Row) {
    let (id, now, before) = match &row.journaled {
        Journaled::Receipt(receipt) => (&receipt.id, &receipt.promise, &None),
        Journaled::Correction(correction) => (&correction.id, &correction.promise, &correction.promise_before),
        _ => return,
    };
    let day = Period::Day.start(row.at).millis();
    let told = |promised: &Option<Promised>, sign| promised.clone().map(|promised| (promised, sign));
    for (Promised { model, route, missed }, sign) in told(before, -1).into_iter().chain(told(now, 1)) {
        let kept = truths.entry((Promise { model, route }, day)).or_default();
        kept.callable += sign;
        kept.answered += if missed.is_none() { sign } else { 0 };
        let entry = missed.map(|missed| Entry(id.to_string(), row.at.millis(), (sign > 0).then_some(missed)));
        kept.misses.extend(entry);
        kept.misses.sort_by_key(|Entry(_, at, _)| std::cmp::Reverse(*at));
        kept.misses.truncate(KEPT_MISSES);
    }
}

/// Input and output.
pub fn sides(usage: &Usage) -> (i128, i128) {
    let sum = |side| {
        let of_side = usage.by_class().into_iter().filter(|(class, _)| class.side() == side);
        of_side.map(|(_, count)| i128::from(count)).sum::<i128>()
    };
    (sum(Side::Input), sum(Side::Output))
}

/// Images, seconds, characters and searches.
fn counts(usage: &Usage) -> [i128; 4] {
    [Class::Images, Class::Seconds, Class::Characters, Class::Searches].map(|class| i128::from(usage.of(class)))
}

/// Counts one row, if it is a receipt or a correction: where, and what its key was called.
fn count(days: &mut BTreeMap<DayOf, Sums>, row: &Row) -> Option<(DayOf, String)> {
    let day = Period::Day.start(row.at).millis();
    let charge = i128::from(row.amount.map_or(0, |amount| amount.nanos()));
    let bucket = row.bucket.as_ref().map(ToString::to_string);
    match &row.journaled {
        Journaled::Receipt(receipt) => {
            let cause = match (receipt.fallbacks, receipt.retries) {
                (1.., _) => "fallback",
                (0, 1..) => "retry",
                (0, 0) => "direct",
            };
            let asked = receipt.counted_as.as_ref().unwrap_or(&receipt.requested_model);
            let model = receipt.model.as_ref().map_or(asked.clone(), ToString::to_string);
            let route = receipt.route.map_or(String::new(), |route| route.as_str().to_owned());
            let bucket = bucket.or(receipt.bucket.as_ref().map(ToString::to_string)).unwrap_or_default();
            let key = (day, receipt.project.to_string(), receipt.key.to_string(), model, route, bucket, cause);
            let sums = days.entry(key.clone()).or_default();
            sums.requests += 1;
            sums.unpaid += u64::from(row.amount.is_none());
            sums.retries += u64::from(receipt.retries);
            sums.fallbacks += u64::from(receipt.fallbacks);
            let (input, output) = sides(&receipt.usage);
            (sums.input_tokens, sums.output_tokens) = (sums.input_tokens + input, sums.output_tokens + output);
            sums.counts.iter_mut().zip(counts(&receipt.usage)).for_each(|(sum, count)| *sum += count);
            sums.charge -= charge;
            sums.input_charge += i128::from(receipt.input_charge.nanos());
            sums.cached_tokens += i128::from(receipt.usage.cached_input);
            sums.reasoning_tokens += i128::from(receipt.usage.reasoning);
            Some((key, receipt.key_label.clone()))
        }
        Journaled::Correction(correction) => {
            let model = correction.model.as_ref().map_or(String::new(), ToString::to_string);
            let route = correction.route.map_or(String::new(), |route| route.as_str().to_owned());
            let (project, key) = (correction.project.to_string(), correction.key.to_string());
            let key = (day, project, key, model, route, correction.bucket.to_string(), "correction");
            let sums = days.entry(key.clone()).or_default();
            let ((input, output), (input_before, output_before)) = (sides(&correction.usage), sides(&correction.usage_before));
            sums.input_tokens += input - input_before;
            sums.output_tokens += output - output_before;
            let (counts, before) = (counts(&correction.usage), counts(&correction.usage_before));
            sums.counts.iter_mut().zip(counts.iter().zip(before)).for_each(|(sum, (count, before))| *sum += count - before);
            sums.charge -= charge;
            let (usage, before) = (&correction.usage, &correction.usage_before);
            sums.cached_tokens += i128::from(usage.cached_input) - i128::from(before.cached_input);
            sums.reasoning_tokens += i128::from(usage.reasoning) - i128::from(before.reasoning);
            Some((key, correction.key_label.clone()))
        }
        _ => None,
    }
}
