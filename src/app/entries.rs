//! Ledger entries, made of journal rows.

use serde_json::{Value, json};

use crate::money::Money;
use crate::time::Timestamp;

/// A journal row as a ledger entry.
pub fn entry(row: Value) -> Value {
    let field = |name: &str| row.get(name).cloned().unwrap_or_default();
    let doc = |name: &str| row.get("doc").and_then(|doc| doc.get(name)).cloned().unwrap_or_default();
    let integer = |name: &str| row.get(name).and_then(Value::as_i64);
    let is_of = |kinds: &[&str]| row.get("kind").and_then(Value::as_str).is_some_and(|kind| kinds.contains(&kind));
    let of_bucket = |name: &str| {
        let bucket = row.get("bucket").and_then(Value::as_str).unwrap_or_default();
        row.get(name).and_then(|amounts| amounts.get(bucket)).cloned().unwrap_or_default()
    };
    let reason = Some(doc("reason")).filter(|reason| !reason.is_null()).unwrap_or_else(|| doc("why"));
    let order = match () {
        () if is_of(&["top_up", "refund"]) => doc("order"),
        () if is_of(&["order"]) => doc("id"),
        () => Value::Null,
    };
    // Only what changes a balance is an entry.
    let name = if field("amount").is_null() { "row" } else { "entry" };
    let mut entry = json!({
        "id": format!("{name}-{}", integer("seq").unwrap_or(0)),
        "seq": field("seq"),
        "at": Timestamp::from_millis(integer("at").unwrap_or(0)),
        "kind": if is_of(&["receipt"]) { "charge".into() } else { field("kind") },
        "bucket": field("bucket"),
        "currency": field("currency"),
        "amount": integer("amount").and_then(|nanos| Money::from_nanos(nanos).ok()),
        "balance_after": of_bucket("balances"),
        "request": if is_of(&["receipt", "correction"]) { doc("id") } else { Value::Null },
        "key": doc("key"),
        "model": doc("model"),
        "route": doc("route"),
        "run": doc("run"),
        "order": order,
        "reason": reason,
        "note": doc("note"),
    });
    if let Some(fields) = entry.as_object_mut() {
        if let Some(account) = row.get("account") {
            fields.insert("account".to_owned(), account.clone());
        }
        let debt = of_bucket("debts");
        if !debt.is_null() {
            fields.insert("debt_after".to_owned(), debt);
        }
        if is_of(&["refund"]) {
            fields.insert("refund".to_owned(), field("doc"));
        }
    }
    entry
}
