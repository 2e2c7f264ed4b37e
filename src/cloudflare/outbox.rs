//! The outbox: journal rows on their way to D1, in order, each there once.
//!
//! What always holds: rows are only marked as copied after D1 has them, and a row that arrives twice changes nothing.

use futures_util::future::{Either, select};
use wasm_bindgen::JsValue;
use worker::{D1Database, Env, Result};

use super::clock::sleep;
use super::store::Store;
use crate::id::AccountId;

/// Rows in one statement. A receipt is about 2 KB, and a bound value has at most 2 MB.
const AT_ONCE: u32 = 200;

/// Statements in one go, and how long each may take.
const BATCHES: u32 = 20;
const TIMEOUT_MS: u32 = 10_000;

/// The database of an account. There is one so far; more are added here, by the account's hash, before one nears its 10 GB.
fn shard(env: &Env, _account: &AccountId) -> Result<D1Database> {
    env.d1("DB")
}

const JOURNAL: &str = "
INSERT OR IGNORE INTO journal (account, seq, at, kind, subject, key, bucket, amount, balances, doc)
SELECT ?2, value->>'seq', value->>'at', value->>'kind', value->>'subject', value->>'key', value->>'bucket', value->>'amount',
  value->>'balances', value->>'doc' FROM json_each(?1)";

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

/// Copies what is new, a good part of it at a time: due holds wait meanwhile. Answers whether that was all.
pub async fn copy(store: &Store, env: &Env, account: &AccountId) -> Result<bool> {
    for _ in 0..BATCHES {
        let Some(batch) = store.uncopied(AT_ONCE)? else { return Ok(true) };
        let Some(last) = batch.last else { return Ok(true) };
        let database = shard(env, account)?;
        let rows = JsValue::from_str(&batch.rows);
        let owner = JsValue::from_str(account.as_str());
        let both = [rows.clone(), owner];
        let mut statements = vec![database.prepare(JOURNAL).bind(&both)?];
        if batch.has_records != 0 {
            statements.push(database.prepare(ACCOUNTS).bind(&[rows])?);
            statements.push(database.prepare(PROJECTS).bind(&both)?);
            statements.push(database.prepare(KEYS).bind(&both)?);
        }
        let results = match select(Box::pin(database.batch(statements)), Box::pin(sleep(TIMEOUT_MS))).await {
            Either::Left((results, _)) => results?,
            Either::Right(_) => return Err(worker::Error::RustError(format!("silent for {TIMEOUT_MS} ms"))),
        };
        for result in results {
            if !result.success() {
                return Err(worker::Error::RustError(result.error().unwrap_or_default()));
            }
        }
        store.copied(last)?;
    }
    Ok(false)
}
