//! The outbox: journal rows on their way to D1, in order, each there once.
//!
//! What always holds: rows are only marked as copied after D1 has them, and a row that arrives twice changes nothing.

use futures_util::future::{Either, select};
use serde_json::Value;
use wasm_bindgen::JsValue;
use worker::{D1Database, D1Result, Env, Result, console_error};

use super::bound::{IF_NEW, number};
use super::clock::sleep;
use super::health;
use super::outside::Doc;
use super::store::{Batch, Store};
use super::truth;
use crate::id::AccountId;
use crate::rollup::{DaySums, Rollup, mark_after};
use crate::routing::health::Witness;

/// Rows in one statement. A receipt is about 2 KB, and a bound value has at most 2 MB.
const AT_ONCE: u32 = 200;

/// Statements in one go, and how long each may take.
const BATCHES: u32 = 20;
const TIMEOUT_MS: u32 = 10_000;

/// The database of an account. There is one so far; more are added here, by the account's hash, before one nears its 10 GB.
fn shard(env: &Env, _account: &AccountId) -> Result<D1Database> {
    env.d1("DB")
}

/// How far the database was before the batch.
const BEFORE: &str = "SELECT CAST(COALESCE(MAX(seq), 0) AS TEXT) AS doc FROM journal WHERE account = ?1";

/// Adds what [`Days::rows`](crate::rollup::Days::rows) says. Bound, as in every statement of a batch: rows as JSON, the account, the
/// number of the batch's first row.
fn usage() -> String {
    let columns = DaySums::COLUMNS;
    let values: String = (1..).take(7 + columns.len()).map(|place| format!(", value->>{place}")).collect();
    let added: String = columns.iter().map(|name| format!(", {name} = {name} + excluded.{name}")).collect();
    format!(
        "INSERT INTO usage_days (day, account, project, key, model, route, bucket, cause, key_label, {})
         SELECT value->>0, ?2{values} FROM json_each(?1) WHERE {IF_NEW}
         ON CONFLICT DO UPDATE SET key_label = excluded.key_label{added}",
        columns.join(", ")
    )
}

fn batches() -> String {
    format!(
        "INSERT INTO batches (at, account, first_seq, last_seq, records)
         SELECT MAX(value->>'at'), ?2, MIN(value->>'seq'), MAX(value->>'seq'), MAX(value->>'kind' <> 'receipt') FROM json_each(?1)
         WHERE {IF_NEW} HAVING COUNT(*) > 0"
    )
}

fn journal() -> String {
    format!(
        "INSERT OR IGNORE INTO journal (account, seq, at, kind, subject, key, bucket, amount, balances, debts, doc)
         SELECT ?2, value->>'seq', value->>'at', value->>'kind', value->>'subject', value->>'key', value->>'bucket', value->>'amount',
           value->>'balances', value->>'debts', value->>'doc' FROM json_each(?1) WHERE {IF_NEW}"
    )
}

const ACCOUNTS: &str = "
INSERT OR REPLACE INTO accounts (id, name, created_at)
SELECT value->>'doc'->>'id', value->>'doc'->>'name', value->>'doc'->>'created_at' FROM json_each(?1) WHERE value->>'kind' = 'account'";

const PROJECTS: &str = "
INSERT OR REPLACE INTO projects (account, id, name, doc)
SELECT ?2, value->>'doc'->>'id', value->>'doc'->>'name', value->>'doc' FROM json_each(?1) WHERE value->>'kind' = 'project' ORDER BY key";

const KEYS: &str = "
INSERT INTO keys (hash, id, account, label, revoked_at, doc)
SELECT value->>'doc'->>'hash', value->>'doc'->>'id', ?2, value->>'doc'->>'label', value->>'doc'->>'revoked_at', value->>'doc'
FROM json_each(?1) WHERE value->>'kind' = 'key' ORDER BY json_each.key
ON CONFLICT (hash) DO UPDATE SET label = excluded.label, revoked_at = excluded.revoked_at, doc = excluded.doc
WHERE CAST(excluded.doc->>'version' AS INTEGER) >= CAST(keys.doc->>'version' AS INTEGER)";

const ORDERS: &str = "
INSERT INTO orders (account, id, seq, state, payment, doc)
SELECT ?2, value->>'doc'->>'id', value->>'seq', value->>'doc'->>'state', value->>'doc'->>'payment', value->>'doc'
FROM json_each(?1) WHERE value->>'kind' = 'order' ORDER BY json_each.key
ON CONFLICT (account, id) DO UPDATE SET seq = excluded.seq, state = excluded.state, payment = excluded.payment, doc = excluded.doc
WHERE excluded.seq > orders.seq";

/// Copies what is new, a good part of it at a time: due holds wait meanwhile. Answers whether that was all.
pub async fn copy(store: &Store, env: &Env, account: &AccountId) -> Result<bool> {
    for _ in 0..BATCHES {
        let Some(batch) = store.uncopied(AT_ONCE)? else { return Ok(true) };
        let mut added = Rollup::default();
        for seq in added.count_stored(&batch.rows)? {
            console_error!("copy of {account}: row {seq} cannot be read, and is in no sum");
        }
        let before = write(&shard(env, account)?, account, &batch, &added).await?;
        store.copied(mark_after(before, (batch.first, batch.last)))?;
    }
    Ok(false)
}

/// Writes a batch, in one transaction. Answers the number of the newest row that was there before; if that is one of the batch, nothing
/// was written.
async fn write(database: &D1Database, account: &AccountId, batch: &Batch, added: &Rollup) -> Result<i64> {
    let text = |text: &str| JsValue::from_str(text);
    let (rows, owner) = (text(&batch.rows), text(account.as_str()));
    let witness = Witness::of(account).name();
    let first = number(batch.first);
    let values = |rows: &JsValue| [rows.clone(), owner.clone(), first.clone()];
    let sums = |rows: Value| values(&text(&rows.to_string()));
    let [minutes, of, from] = sums(added.minutes.rows(&witness));
    // What counts rows comes before the rows themselves.
    let mut statements = vec![
        database.prepare(BEFORE).bind(std::slice::from_ref(&owner))?,
        database.prepare(health::counting()).bind(&[minutes, of, from, text(&witness)])?,
        database.prepare(truth::counting()).bind(&sums(added.promises.rows()))?,
        database.prepare(usage()).bind(&sums(added.days.rows()))?,
        database.prepare(batches()).bind(&values(&rows))?,
        database.prepare(journal()).bind(&values(&rows))?,
    ];
    if batch.has_records {
        statements.push(database.prepare(ACCOUNTS).bind(std::slice::from_ref(&rows))?);
        for statement in [PROJECTS, KEYS, ORDERS] {
            statements.push(database.prepare(statement).bind(&[rows.clone(), owner.clone()])?);
        }
    }
    let results = match select(Box::pin(database.batch(statements)), Box::pin(sleep(TIMEOUT_MS))).await {
        Either::Left((results, _)) => results?,
        Either::Right(_) => return Err(worker::Error::RustError(format!("silent for {TIMEOUT_MS} ms"))),
    };
    if let Some(failed) = results.iter().find(|result| !result.success()) {
        return Err(worker::Error::RustError(failed.error().unwrap_or_default()));
    }
    let before = results.first().map(D1Result::results::<Doc>).transpose()?.unwrap_or_default();
    let before = before.first().and_then(|before| before.doc.parse().ok());
    before.ok_or_else(|| worker::Error::RustError("the database does not say how far it is".to_owned()))
}
