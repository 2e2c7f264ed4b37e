//! The outbox: journal rows on their way to D1, in order, each there once.
//!
//! What always holds: rows are only marked as copied after D1 has them, and a row that arrives twice changes nothing.

use futures_util::future::{Either, select};
use wasm_bindgen::JsValue;
use worker::{D1Database, Env, Result};

use super::clock::sleep;
use super::health;
use super::store::Store;
use super::truth;
use crate::id::AccountId;
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

/// Receipts name a class that they had not from the start only where something of it was used.
/// Rows that are there already count no second time: this and the next come before the rows themselves, in one transaction.
const USAGE: &str = "
INSERT INTO usage_days (day, account, project, key, model, route, bucket, cause, key_label, requests, unpaid, retries, fallbacks,
  input_tokens, cached_tokens, output_tokens, reasoning_tokens, images, seconds, characters, searches, charge, input_charge)
SELECT date(at / 1000, 'unixepoch'), ?2, doc->>'project', doc->>'key', COALESCE(doc->>'model', doc->>'requested_model', ''),
  COALESCE(doc->>'route', ''), COALESCE(bucket, doc->>'bucket', ''),
  CASE WHEN NOT is_receipt THEN 'correction' WHEN doc->>'fallbacks' > 0 THEN 'fallback' WHEN doc->>'retries' > 0 THEN 'retry' ELSE 'direct' END,
  MAX(doc->>'key_label'), SUM(is_receipt), SUM(is_receipt AND amount IS NULL), SUM(COALESCE(doc->>'retries', 0)), SUM(COALESCE(doc->>'fallbacks', 0)),
  SUM(u->>'input' + u->>'cached_input' + u->>'cache_write' + u->>'audio_input' + COALESCE(u->>'cache_write_1h', 0) + COALESCE(u->>'image_input', 0)
    - COALESCE(b->>'input' + b->>'cached_input' + b->>'cache_write' + b->>'audio_input' + COALESCE(b->>'cache_write_1h', 0) + COALESCE(b->>'image_input', 0), 0)),
  SUM(u->>'cached_input' - COALESCE(b->>'cached_input', 0)),
  SUM(u->>'output' + u->>'reasoning' + u->>'audio_output' + COALESCE(u->>'image_output', 0)
    - COALESCE(b->>'output' + b->>'reasoning' + b->>'audio_output' + COALESCE(b->>'image_output', 0), 0)),
  SUM(u->>'reasoning' - COALESCE(b->>'reasoning', 0)),
  SUM(COALESCE(u->>'images', 0) - COALESCE(b->>'images', 0)), SUM(COALESCE(u->>'seconds', 0) - COALESCE(b->>'seconds', 0)),
  SUM(COALESCE(u->>'characters', 0) - COALESCE(b->>'characters', 0)), SUM(COALESCE(u->>'searches', 0) - COALESCE(b->>'searches', 0)),
  COALESCE(-SUM(amount), 0), SUM(CAST(ROUND(COALESCE(doc->>'input_charge', 0) * 1e9) AS INTEGER))
FROM (SELECT value->>'at' AS at, value->>'bucket' AS bucket, value->>'amount' AS amount, value->>'doc' AS doc, value->>'doc'->'usage' AS u, value->>'doc'->'usage_before' AS b,
        value->>'kind' = 'receipt' AS is_receipt
      FROM json_each(?1) WHERE value->>'kind' IN ('receipt', 'correction')
        AND value->>'seq' > (SELECT COALESCE(MAX(seq), 0) FROM journal WHERE account = ?2))
GROUP BY 1, 3, 4, 5, 6, 7, 8
ON CONFLICT DO UPDATE SET key_label = excluded.key_label, requests = requests + excluded.requests, unpaid = unpaid + excluded.unpaid,
  retries = retries + excluded.retries, fallbacks = fallbacks + excluded.fallbacks, input_tokens = input_tokens + excluded.input_tokens,
  cached_tokens = cached_tokens + excluded.cached_tokens, output_tokens = output_tokens + excluded.output_tokens,
  reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens, images = images + excluded.images, seconds = seconds + excluded.seconds,
  characters = characters + excluded.characters, searches = searches + excluded.searches, charge = charge + excluded.charge,
  input_charge = input_charge + excluded.input_charge";

const BATCH: &str = "
INSERT INTO batches (at, account, first_seq, last_seq, records)
SELECT MAX(value->>'at'), ?2, MIN(value->>'seq'), MAX(value->>'seq'), MAX(value->>'kind' <> 'receipt') FROM json_each(?1)
WHERE value->>'seq' > (SELECT COALESCE(MAX(seq), 0) FROM journal WHERE account = ?2) HAVING COUNT(*) > 0";

const JOURNAL: &str = "
INSERT OR IGNORE INTO journal (account, seq, at, kind, subject, key, bucket, amount, balances, debts, doc)
SELECT ?2, value->>'seq', value->>'at', value->>'kind', value->>'subject', value->>'key', value->>'bucket', value->>'amount',
  value->>'balances', value->>'debts', value->>'doc' FROM json_each(?1)";

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
        let database = shard(env, account)?;
        let rows = JsValue::from_str(&batch.rows);
        let owner = JsValue::from_str(account.as_str());
        let both = [rows.clone(), owner.clone()];
        let mut statements = Vec::new();
        // What counts rows comes before the rows themselves.
        let witness = JsValue::from_str(&Witness::of(account).name());
        let seen = [rows.clone(), owner, witness];
        statements.push(database.prepare(health::counting()).bind(&seen)?);
        for statement in [truth::counting().as_str(), USAGE, BATCH, JOURNAL] {
            statements.push(database.prepare(statement).bind(&both)?);
        }
        if batch.has_records {
            statements.push(database.prepare(ACCOUNTS).bind(&[rows])?);
            statements.push(database.prepare(PROJECTS).bind(&both)?);
            statements.push(database.prepare(KEYS).bind(&both)?);
            statements.push(database.prepare(ORDERS).bind(&both)?);
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
        store.copied(batch.last)?;
    }
    Ok(false)
}
