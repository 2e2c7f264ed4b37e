//! What a batch of journal rows adds to the sums of the searchable copy: usage by day, attempts by minute, promises by day.
//!
//! What always holds: a row is counted by what it says and nothing else, so that the sums of a journal are the same however it is
//! cut into batches; amounts are integers, and every sum saturates.
//!
//! Deliberately absent: whether a row was counted before. The database knows how far it is, and takes a batch whole or not at all.

mod days;
mod minutes;
mod promises;
mod row;

pub use days::{Cause, Day, DayKey, DaySums, Days};
pub use minutes::{Minute, Minutes};
pub use promises::{Promises, TruthDay};

use row::{About, Counted, Stored};

/// What a batch adds.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Rollup {
    pub days: Days,
    pub minutes: Minutes,
    pub promises: Promises,
}

impl Rollup {
    fn count(&mut self, row: Counted<'_>) {
        self.days.count(row);
        self.promises.count(row);
        if let About::Receipt(receipt) = row.about {
            self.minutes.count(receipt);
        }
    }

    /// Counts the rows of a batch as the account stores them: a JSON list of objects, whose `doc` is JSON in a string. Answers the
    /// numbers of rows that say they count, and cannot be read: they are in no sum.
    pub fn count_stored(&mut self, rows: &str) -> Result<Vec<u64>, serde_json::Error> {
        let rows: Vec<Stored<'_>> = serde_json::from_str(rows)?;
        let unread = rows.iter().filter(|row| row.count(|counted| self.count(counted)).is_err());
        Ok(unread.map(|row| row.seq).collect())
    }
}

/// How far the outbox is after it offered a batch of rows to a database whose newest row was `before`. A batch of which it had no row it
/// took; of any other it took nothing: what stood there was counted when it came, and the rest is a batch of its own.
pub fn mark_after<T: Ord>(before: T, (first, last): (T, T)) -> T {
    if before < first { last } else { before.min(last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_is_named_and_the_others_count() {
        let correction = serde_json::json!({
            "id": "gen-1-1", "key": "k", "key_label": "l", "project": "p", "run": null, "status": "completed", "model": "m",
            "upstream_model": "u", "route": "official", "channel": "c", "bucket": "credit", "usage": {"input": 7, "cache_write_1h": 2},
            "usage_before": {"input": 10}, "usage_source": "upstream", "hold": "1", "charge_before": "1", "charge_after": "0.5",
            "charge_policy": "", "in_review": null, "finish_reason": null, "latency_ms": 1, "reason": ""
        });
        let rows = serde_json::json!([
            {"seq": 1, "at": 0, "kind": "receipt", "bucket": null, "amount": null, "doc": "{\"status\": \"completed\"}"},
            {"seq": 2, "at": 0, "kind": "adjustment", "bucket": "credit", "amount": 5, "doc": "no JSON at all"},
            {"seq": 3, "at": 86_400_000, "kind": "correction", "bucket": "credit", "amount": 500_000_001, "doc": correction.to_string()},
        ]);
        let mut rollup = Rollup::default();
        assert_eq!(rollup.count_stored(&rows.to_string()).unwrap(), [1]);
        assert_eq!(
            rollup.days.rows().to_string(),
            r#"[["1970-01-02","p","k","m","official","credit","correction","l",0,0,0,0,-1,0,0,0,0,0,0,0,-500000001,0]]"#
        );
        assert!(rollup.count_stored("{").is_err());
    }
}
