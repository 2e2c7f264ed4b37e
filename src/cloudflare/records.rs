//! The searchable copy in D1, as the operator reads it. And the two things that D1 itself decides: who has taken a redeem
//! code, and how far an account was reconciled.

use std::fmt::Write;

use serde_json::{Value, json};
use wasm_bindgen::JsValue;

use super::clock;
use super::outside::Outside;
use crate::account::{ComparedRow, Filter, Listed};
use crate::id::{AccountId, BucketId, OrderId};
use crate::money::Money;
use crate::ports::{CodeTaken, Cursor, NewCode, Reconciled, Sums, Unavailable};
use crate::probe::HOUSE;
use crate::time::Timestamp;

type Found<T> = Result<T, Unavailable>;

pub(super) fn text(value: Option<&str>) -> JsValue {
    value.map_or(JsValue::NULL, JsValue::from_str)
}

/// Numbers go as text and are cast: a bound number is of 32 bits, or not an integer.
pub(super) fn number(value: impl ToString) -> JsValue {
    JsValue::from_str(&value.to_string())
}

/// Journal rows, newest first. Batches know the time; the rows of a batch are found by account and number.
pub async fn journal(
    outside: &Outside,
    account: Option<&str>,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Found<Vec<(String, Value)>> {
    let listed = match filter.listed {
        Listed::Receipts => "j.kind = 'receipt'",
        Listed::Entries => "j.amount IS NOT NULL",
        Listed::Records => "b.records = 1 AND j.kind <> 'receipt'",
    };
    let statement = format!(
        "SELECT json_array(b.at || ':' || b.account || ':' || j.seq, json_object('account', j.account, 'seq', j.seq, 'at', j.at, 'kind', j.kind,
           'bucket', j.bucket, 'amount', j.amount, 'balances', json(j.balances), 'debts', json(j.debts), 'doc', json(j.doc))) AS doc
         FROM batches b JOIN journal j ON j.account = b.account AND j.seq BETWEEN b.first_seq AND b.last_seq
         WHERE {listed} AND b.at <= CAST(?2 AS INTEGER) AND (b.at, b.account, j.seq) < (CAST(?2 AS INTEGER), ?3, CAST(?4 AS INTEGER))
           AND (b.account = ?5 OR ?5 IS NULL AND b.account <> '{HOUSE}') AND (?6 IS NULL OR j.key = ?6) AND (?7 IS NULL OR j.doc->>'project' = ?7)
           AND (?8 IS NULL OR j.doc->>'model' = ?8 OR j.doc->>'requested_model' = ?8) AND (?9 IS NULL OR j.doc->>'route' = ?9)
           AND (?10 IS NULL OR COALESCE(j.bucket, j.doc->>'bucket') = ?10) AND (?11 IS NULL OR j.doc->>'status' = ?11)
           AND (?12 IS NULL OR j.doc->>'run' = ?12) AND (?13 IS NULL OR j.kind = ?13)
           AND (?14 IS NULL OR (j.at >= CAST(?14 AS INTEGER) AND b.at >= CAST(?14 AS INTEGER))) AND (?15 IS NULL OR j.at < CAST(?15 AS INTEGER))
         ORDER BY b.at DESC, b.account DESC, b.first_seq DESC, j.seq DESC LIMIT CAST(?1 AS INTEGER)"
    );
    let Cursor(at, of, seq) = after.unwrap_or_else(|| Cursor(Money::MAX.nanos(), String::new(), 0));
    let mut values = vec![number(limit), number(at), of.as_str().into(), number(seq), text(account)];
    let Filter { key, project, model, route, bucket, status, run, kind, .. } = filter;
    values.extend([key, project, model, route, bucket, status, run, kind].map(|name| text(name.as_deref())));
    values.extend([filter.since, filter.until].map(|moment| moment.map_or(JsValue::NULL, |moment| number(moment.millis()))));
    outside.d1(&statement, &values).await
}

/// What can be summed.
const SUMMED: [&str; 14] = [
    "requests",
    "unpaid",
    "retries",
    "fallbacks",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "images",
    "seconds",
    "characters",
    "searches",
    "charge",
    "input_charge",
];

/// Sums of the days. Names of columns are our own words; values are bound.
pub async fn sums(outside: &Outside, sums: &Sums) -> Found<Vec<Value>> {
    let (mut fields, mut conditions) = (String::new(), String::new());
    for name in &sums.by {
        let _ = write!(fields, "'{name}', {name}, ");
        if *name == "key" {
            fields.push_str("'key_label', MAX(key_label), ");
        }
    }
    let summed: Vec<String> = SUMMED.iter().map(|name| format!("'{name}', SUM({name})")).collect();
    let days = Value::from(sums.days.clone()).to_string();
    let mut values = vec![if sums.days.is_empty() { JsValue::NULL } else { days.as_str().into() }];
    for (index, (name, value)) in sums.filters.iter().enumerate() {
        let _ = write!(conditions, " AND {name} = ?{}", index.saturating_add(2));
        values.push(value.as_str().into());
    }
    // Probes are nobody's use, unless somebody asks for those of the house.
    if !sums.filters.iter().any(|(name, _)| *name == "account") {
        let _ = write!(conditions, " AND account <> '{HOUSE}'");
    }
    let by = sums.by.join(", ");
    // Listed days are looked up one by one; without a list it is all that there is.
    let days = if sums.days.is_empty() { "?1 IS NULL" } else { "day IN (SELECT value FROM json_each(?1))" };
    let statement = format!(
        "SELECT json_object({fields}{}) AS doc FROM usage_days WHERE {days}{conditions} GROUP BY {by} ORDER BY {by} LIMIT 20000",
        summed.join(", ")
    );
    outside.d1(&statement, &values).await
}

/// The copy of an account's rows behind `after`, up to `last`.
pub async fn copied(outside: &Outside, account: &AccountId, after: u64, last: u64) -> Found<Vec<ComparedRow>> {
    let statement = "SELECT json_array(seq, bucket, amount, at, length(doc)) AS doc FROM journal
        WHERE account = ?1 AND seq > CAST(?2 AS INTEGER) AND seq <= CAST(?3 AS INTEGER) ORDER BY seq";
    // The first part takes in what stands before the first row, where nothing may be.
    let after = if after == 0 { Money::MAX.negated().nanos() } else { i64::try_from(after).unwrap_or(i64::MAX) };
    outside.d1(statement, &[account.as_str().into(), number(after), number(last)]).await
}

/// Copied rows that are newer than the account's newest.
pub async fn copied_beyond(outside: &Outside, account: &AccountId, head: u64) -> Found<Vec<u64>> {
    let statement =
        "SELECT CAST(seq AS TEXT) AS doc FROM journal WHERE account = ?1 AND seq > CAST(?2 AS INTEGER) ORDER BY seq LIMIT 100";
    outside.d1(statement, &[account.as_str().into(), number(head)]).await
}

/// Accounts whose last report is older than this, those that were begun first.
pub async fn unreconciled(outside: &Outside, before: Timestamp, limit: u32) -> Found<Vec<(AccountId, u64)>> {
    let statement =
        "SELECT json_array(a.id, COALESCE(r.seq, 0)) AS doc FROM accounts a LEFT JOIN reconciled r ON r.account = a.id
        WHERE r.at IS NULL OR r.at < CAST(?1 AS INTEGER) ORDER BY r.account IS NULL, a.id LIMIT ?2";
    outside.d1(statement, &[number(before.millis()), limit.into()]).await
}

/// Notes how far an account was reconciled.
pub async fn note_reconciled(outside: &Outside, done: &Reconciled) -> Found<()> {
    let statement =
        "INSERT OR REPLACE INTO reconciled (account, at, seq, doc) VALUES (?1, CAST(?2 AS INTEGER), CAST(?3 AS INTEGER), ?4)";
    let at = done.at.map_or(JsValue::NULL, |at| number(at.millis()));
    let values = [done.account.as_str().into(), at, number(done.seq), done.doc.as_str().into()];
    outside.texts(statement, &values).await.map(|_| ())
}

/// Orders of all accounts in one state, newest first.
pub async fn orders(outside: &Outside, state: &str, after: Option<&str>, limit: u32) -> Found<Vec<Value>> {
    let statement = "SELECT doc FROM orders WHERE state = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
    outside.d1(statement, &[state.into(), after.unwrap_or("~").into(), limit.into()]).await
}

/// The order that a provider's payment belongs to.
pub async fn order_of_payment(outside: &Outside, payment: &str) -> Found<Option<(AccountId, OrderId)>> {
    let statement = "SELECT json_array(account, id) AS doc FROM orders WHERE payment = ?1 LIMIT 1";
    Ok(outside.d1(statement, &[payment.into()]).await?.into_iter().next())
}

/// Stores new redeem codes, all or none.
pub async fn put_codes(outside: &Outside, codes: &[NewCode], common: &Value) -> Found<()> {
    let rows: Vec<Value> = codes.iter().map(|code| json!({"hash": code.hash, "id": code.id})).collect();
    let statement = "INSERT INTO codes (hash, id, bucket, amount, reason, author, on_behalf_of, note, created_at, expires_at)
        SELECT value->>'hash', value->>'id', ?2->>'bucket', ?2->>'amount', ?2->>'reason', ?2->>'author', ?2->>'on_behalf_of', ?2->>'note', ?2->>'created_at', ?2->>'expires_at'
        FROM json_each(?1)";
    let (rows, common) = (Value::from(rows).to_string(), common.to_string());
    outside.texts(statement, &[rows.as_str().into(), common.as_str().into()]).await.map(|_| ())
}

/// Takes a code for an account. The statement decides: D1 runs one at a time. Whoever has it, has it, also after its end.
pub async fn take_code(outside: &Outside, hash: &str, account: &AccountId) -> Found<Option<CodeTaken>> {
    let statement = "UPDATE codes SET account = ?2, taken_at = COALESCE(taken_at, CAST(?3 AS INTEGER))
        WHERE hash = ?1 AND (account = ?2 OR (account IS NULL AND revoked_at IS NULL AND expires_at > CAST(?3 AS INTEGER)))
        RETURNING json_array(id, bucket, amount, reason, author, on_behalf_of, note) AS doc";
    let values = [hash.into(), account.as_str().into(), number(clock::now().millis())];
    type Taken = (String, BucketId, Money, String, String, Option<String>, Option<String>);
    let taken = outside.d1::<Taken>(statement, &values).await?.into_iter().next();
    let told = |(id, bucket, amount, reason, author, on_behalf_of, note)| CodeTaken {
        id,
        bucket,
        amount,
        reason,
        author,
        on_behalf_of,
        note,
    };
    Ok(taken.map(told))
}

/// Notes that the account has credited a code.
pub async fn code_credited(outside: &Outside, hash: &str) -> Found<()> {
    let statement = "UPDATE codes SET credited_at = CAST(?2 AS INTEGER) WHERE hash = ?1 AND credited_at IS NULL";
    outside.texts(statement, &[hash.into(), number(clock::now().millis())]).await.map(|_| ())
}

/// Codes that were taken before this and are not known to be credited.
pub async fn uncredited_codes(outside: &Outside, before: Timestamp, limit: u32) -> Found<Vec<(AccountId, String)>> {
    let statement = "SELECT json_array(account, hash) AS doc FROM codes
        WHERE credited_at IS NULL AND taken_at < CAST(?1 AS INTEGER) ORDER BY taken_at LIMIT ?2";
    outside.d1(statement, &[number(before.millis()), limit.into()]).await
}

/// Codes, newest first.
pub async fn codes(outside: &Outside, after: Option<&str>, limit: u32) -> Found<Vec<Value>> {
    let statement = "SELECT json_object('id', id, 'bucket', bucket, 'amount', amount, 'reason', reason, 'author', author, 'on_behalf_of', on_behalf_of, 'note', note, 'created_at', created_at,
        'expires_at', expires_at, 'account', account, 'taken_at', taken_at, 'credited_at', credited_at, 'revoked_at', revoked_at) AS doc
        FROM codes WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    outside.d1(statement, &[after.unwrap_or("~").into(), limit.into()]).await
}

/// Ends a code that nobody has taken.
pub async fn revoke_code(outside: &Outside, id: &str) -> Found<bool> {
    let statement = "UPDATE codes SET revoked_at = CAST(?2 AS INTEGER) WHERE id = ?1 AND account IS NULL AND revoked_at IS NULL RETURNING id AS doc";
    let rows = outside.texts(statement, &[id.into(), number(clock::now().millis())]).await?;
    Ok(rows.first().is_some_and(|row| row == id))
}
