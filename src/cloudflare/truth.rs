//! What became of promises, in D1: one row for each model, route and day.
//!
//! What always holds: a receipt is counted once, because it arrives once; what it says of its promise was decided by the account,
//! and is only added up here.

use serde::Deserialize;
use wasm_bindgen::JsValue;

use super::outside::Outside;
use crate::catalog::RouteKind;
use crate::id::ModelName;
use crate::ports::Unavailable;
use crate::time::Timestamp;
use crate::truth::{Entry, KEPT_MISSES, Promise, Truth, since};

/// Rows go a day after they are shown last.
const KEPT_MS: i64 = 86_400_000;

/// Counts the promises of rows that D1 does not have yet: in the outbox's transaction, before the rows themselves. A correction
/// takes back what the expiry had said. Bound: the rows as JSON, the account.
pub fn counting() -> String {
    format!(
        "INSERT INTO truth_days (model, route, day, callable, answered, misses)
         SELECT model, route, day, SUM(sign), SUM(CASE WHEN missed IS NULL THEN sign ELSE 0 END),
           json_group_array(json(entry)) FILTER (WHERE entry IS NOT NULL AND back <= {KEPT_MISSES})
         FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY model, route, day, entry IS NULL ORDER BY at DESC) AS back
           FROM (SELECT at, sign, p->>'model' AS model, p->>'route' AS route, date(at / 1000, 'unixepoch') AS day, p->>'missed' AS missed,
               CASE WHEN p->>'missed' IS NOT NULL THEN json_array(id, at, CASE WHEN sign > 0 THEN p->>'missed' END) END AS entry
             FROM (SELECT r.value->>'at' AS at, (r.value->>'doc')->>'id' AS id, (r.value->>'doc')->s.key AS p, s.value AS sign
               FROM json_each(?1) r, json_each('{{\"promise\": 1, \"promise_before\": -1}}') s
               WHERE r.value->>'kind' IN ('receipt', 'correction')
                 AND r.value->>'seq' > (SELECT COALESCE(MAX(seq), 0) FROM journal WHERE account = ?2))
             WHERE p IS NOT NULL))
         GROUP BY model, route, day
         ON CONFLICT DO UPDATE SET callable = callable + excluded.callable, answered = answered + excluded.answered,
           misses = (SELECT json_group_array(json(value)) FROM (SELECT value FROM (SELECT value FROM json_each(truth_days.misses)
             UNION ALL SELECT value FROM json_each(excluded.misses)) ORDER BY value->>1 DESC LIMIT {KEPT_MISSES}))"
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
    JsValue::from_str(&at.to_string().chars().take(10).collect::<String>())
}
