//! What became of promises, in D1: one row for each model, route and day.
//!
//! What always holds: a receipt is counted once, because it arrives once; what it says of its promise was decided by the account,
//! and is only added up here.

use serde::Deserialize;
use wasm_bindgen::JsValue;

use super::bound::IF_NEW;
use super::outside::Outside;
use crate::catalog::RouteKind;
use crate::id::ModelName;
use crate::ports::Unavailable;
use crate::time::{DAY_MS, Timestamp};
use crate::truth::{Entry, KEPT_MISSES, Promise, Truth, since};

/// Rows go a day after they are shown last.
const KEPT_MS: i64 = DAY_MS;

/// Adds what [`Promises::rows`](crate::rollup::Promises::rows) says: in the outbox's transaction. Bound as in every statement of a batch.
pub fn counting() -> String {
    format!(
        "INSERT INTO truth_days (model, route, day, callable, answered, misses)
         SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM json_each(?1) WHERE {}
         ON CONFLICT DO UPDATE SET callable = callable + excluded.callable, answered = answered + excluded.answered,
           misses = (SELECT json_group_array(json(value)) FROM (SELECT value FROM (SELECT value FROM json_each(truth_days.misses)
             UNION ALL SELECT value FROM json_each(excluded.misses)) ORDER BY value->>1 DESC LIMIT {KEPT_MISSES}))",
        IF_NEW
    )
}

#[derive(Deserialize)]
struct Sum {
    model: ModelName,
    route: RouteKind,
    callable: i64,
    answered: i64,
    misses: Vec<Entry>,
}

/// What the promises of the days that are shown came to, by model and route.
pub async fn sums(outside: &Outside, now: Timestamp) -> Result<Vec<(Promise, Truth)>, Unavailable> {
    let statement = format!(
        "SELECT json_object('model', model, 'route', route, 'callable', SUM(callable), 'answered', SUM(answered), 'misses',
           (SELECT json_group_array(json(value)) FROM (SELECT e.value FROM truth_days d, json_each(d.misses) e
             WHERE d.model = t.model AND d.route = t.route AND d.day >= ?1 ORDER BY e.value->>1 DESC LIMIT {KEPT_MISSES}))) AS doc
         FROM truth_days t WHERE day >= ?1 GROUP BY model, route"
    );
    let rows: Vec<Sum> = outside.d1(&statement, &[day(since(now))]).await?;
    let count = |sum: i64| u64::try_from(sum).unwrap_or(0);
    let told = |Sum { model, route, callable, answered, misses }: Sum| {
        (Promise { model, route }, Truth::new(count(callable), count(answered), &misses))
    };
    Ok(rows.into_iter().map(told).collect())
}

/// Forgets the days that are not shown any more.
pub fn forgetting(now: Timestamp) -> (&'static str, [JsValue; 1]) {
    ("DELETE FROM truth_days WHERE day < ?1", [day(since(now).plus(-KEPT_MS))])
}

fn day(at: Timestamp) -> JsValue {
    JsValue::from_str(&at.day())
}
