//! What happened: receipts, ledger entries and records of what was done, of one account or of all.
//!
//! What always holds: the holder of a key reads rows of the own account, made of the fields that are for customers.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::page::{Page, Part, wrong_after};
use super::principal::Principal;
use super::use_case::UseCase;
use super::{ask, currency, customer};
use crate::account::{self, JournalFilter, Listed, StoredRow};
use crate::catalog::Catalog;
use crate::id::{AccountId, RequestId, number};
use crate::ports::{Accounts, Cursor, Journals, Sold};
use crate::refusal::{Code, Refusal};
use crate::usage::Usage;

/// How much of what went in came from the provider's cache, and how much went into it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CacheUse"))]
pub struct Cache {
    /// All tokens that went in.
    pub input_tokens: u64,
    /// Of these, read from the provider's cache.
    pub read_tokens: u64,
    /// Of these, written to it.
    pub write_tokens: u64,
    /// From 0 to 1, as a decimal; none where nothing went in.
    pub share: Option<String>,
}

impl Cache {
    /// Of what was used.
    pub fn of(usage: &Usage) -> Self {
        Self {
            input_tokens: usage.input_side(),
            read_tokens: usage.cached_input,
            write_tokens: usage.cache_write.saturating_add(usage.cache_write_1h),
            share: usage.cache_share(),
        }
    }
}

/// A receipt of the own account, by the request's own id or that of its answer.
pub async fn own<P: Accounts + Sold>(ports: &P, who: &Principal, id: &str) -> Result<Value, Refusal> {
    let holder = who.holder(UseCase::ShowReceipt)?;
    of_account(ports, holder.account(), id).await
}

/// The same for who has shown already that it is theirs: the answer to a replay.
pub async fn of_account<P: Accounts + Sold>(ports: &P, account: &AccountId, id: &str) -> Result<Value, Refusal> {
    let (row, catalog) = stored(ports, account, id).await?;
    Ok(receipt(with_currency(customer::row(&catalog, document(row)?), &catalog)))
}

/// A receipt of an account, whole.
pub async fn whole<P: Accounts + Sold>(ports: &P, who: &Principal, account: &AccountId, id: &str) -> Result<Value, Refusal> {
    who.operator(UseCase::ShowReceiptOf)?;
    let (row, catalog) = stored(ports, account, id).await?;
    Ok(receipt(with_currency(document(row)?, &catalog)))
}

async fn stored<P: Accounts + Sold>(ports: &P, account: &AccountId, id: &str) -> Result<(StoredRow, Rc<Catalog>), Refusal> {
    let not_found = || {
        let next_step = "Check the id; a receipt appears when its request has ended.";
        Refusal::new(Code::NotFound, "This account has no such receipt.", next_step).param("id")
    };
    // The id of an answer is made of the request's. Accounts of old have ids of other forms, too.
    let id = RequestId::of_answer(id).or_else(|| RequestId::parse(id)).ok_or_else(not_found)?;
    let catalog = currency::words(ports).await;
    Ok((ask::receipt(ports, account, id).await?.ok_or_else(not_found)?, catalog))
}

/// Rows of the own account, newest first, from the account itself.
pub async fn list_own<P: Accounts + Sold>(
    ports: &P,
    who: &Principal,
    filter: &JournalFilter,
    part: Part,
) -> Result<Page<Value>, Refusal> {
    let use_case = if filter.listed == Listed::Receipts { UseCase::ListReceipts } else { UseCase::ListEntries };
    let account = who.holder(use_case)?.account();
    let catalog = currency::words(ports).await;
    let before = part.after.map(|text| number(&text).ok_or_else(wrong_after)).transpose()?;
    let rows = ask::journal(ports, account, filter.clone(), account::Window { before, limit: part.limit }).await?;
    let page = Page::of(rows, part.limit, |row| row.seq.to_string());
    let mut data = Vec::new();
    for row in page.data {
        let row = document(StoredRow { account: Some(account.clone()), ..row })?;
        data.push(with_currency(customer::row(&catalog, row), &catalog));
    }
    Ok(Page { data, next: page.next })
}

/// Rows of all accounts or of one, newest first, from the searchable copy.
pub async fn list<P: Journals + Sold>(
    ports: &P,
    who: &Principal,
    (account, filter): (Option<&str>, &JournalFilter),
    part: Part,
) -> Result<Page<Value>, Refusal> {
    who.operator(match filter.listed {
        Listed::Receipts => UseCase::ListAllReceipts,
        Listed::Entries => UseCase::ListAllEntries,
        Listed::Records => UseCase::ListAudit,
    })?;
    let catalog = ports.catalog().await?;
    let after = part.after.map(|text| Cursor::parse(&text).ok_or_else(wrong_after)).transpose()?;
    let rows = ports.journal(account, filter, after, part.limit).await?;
    Ok(Page::of(rows, part.limit, |(cursor, _)| cursor.clone()).map(|(_, row)| with_currency(row, &catalog)))
}

/// The receipt in a journal row, with the currency of its amounts and what its usage says of the provider's cache.
pub fn receipt(mut row: Value) -> Value {
    let mut receipt = row.get_mut("doc").map(Value::take).unwrap_or_default();
    let usage = receipt.get("usage").and_then(|usage| Usage::deserialize(usage).ok());
    if let Some(fields) = receipt.as_object_mut() {
        let place = fields.keys().position(|name| name == "bucket").map_or(0, |at| at.saturating_add(1));
        fields.shift_insert(place, "currency".to_owned(), row.get("currency").cloned().unwrap_or_default());
        fields.extend(usage.map(|usage| ("cache".to_owned(), json!(Cache::of(&usage)))));
    }
    receipt
}

fn document(row: StoredRow) -> Result<Value, Refusal> {
    serde_json::to_value(row).map_err(|error| Refusal::unavailable(error.to_string()))
}

/// A row with the currency of its bucket. The receipt of a request that cost nothing names one, and its row does not.
fn with_currency(mut row: Value, catalog: &Catalog) -> Value {
    let bucket = row.get("bucket").filter(|bucket| !bucket.is_null()).or_else(|| row.pointer("/doc/bucket"));
    let code = bucket.and_then(Value::as_str).and_then(|bucket| currency::of(catalog, bucket));
    if let Some(fields) = row.as_object_mut() {
        fields.insert("currency".to_owned(), code.into());
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::UpstreamHosts;

    #[test]
    fn a_row_has_the_currency_of_its_own_bucket_or_of_its_receipts() {
        let buckets = json!({"credit": {"label": "C", "currency": "USD"}, "wallet": {"label": "W", "currency": "CNY"}});
        let document = json!({"version": 1, "buckets": buckets, "channels": {}, "models": {}});
        let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
        for (given, code) in [
            (json!({"bucket": "wallet", "doc": {"bucket": "credit"}}), json!("CNY")),
            (json!({"bucket": null, "doc": {"bucket": "credit"}}), json!("USD")),
            (json!({"doc": {"bucket": null}}), Value::Null),
            (json!({"bucket": "old"}), Value::Null),
        ] {
            assert_eq!(with_currency(given.clone(), &catalog)["currency"], code, "{given}");
        }
    }
}
