//! What was done, by whom and why: journal rows as operators read them. Rows of earlier versions, which did not ask for it, do not
//! say.

use serde_json::{Value, json};

use super::entries;

/// Fields of records that stay where they are stored.
const KEPT: [&str; 3] = ["hash", "request_key", "change"];

/// A ledger entry, with who made it.
pub fn entry(row: Value) -> Value {
    let doc = |name: &str| row.get("doc").and_then(|doc| doc.get(name).or_else(|| doc.get("change")?.get(name)));
    let (author, on_behalf_of, reason) = (doc("author").cloned(), doc("on_behalf_of").cloned(), doc("reason").cloned());
    let mut entry = entries::entry(row);
    if let Some(fields) = entry.as_object_mut() {
        if let Some(reason) = reason {
            fields.insert("reason".to_owned(), reason);
        }
        fields.insert("author".to_owned(), author.unwrap_or_default());
        fields.insert("on_behalf_of".to_owned(), on_behalf_of.unwrap_or_default());
    }
    entry
}

/// A journal row as a record of what somebody did, with all that is known of it.
pub fn record(row: Value) -> Value {
    let mut doc = row.get("doc").cloned().unwrap_or_default();
    let kind = row.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let what = doc.pointer("/change/what").or_else(|| doc.get("what")).cloned();
    let changed = doc.pointer("/change/fields").cloned();
    let what = what.or_else(|| what_of(&kind, &row, &doc).map(Value::from));
    if let Some(doc) = doc.as_object_mut() {
        for field in KEPT {
            doc.shift_remove(field);
        }
    }
    let mut record = entry(row);
    if let Some(fields) = record.as_object_mut() {
        fields.insert("what".to_owned(), what.unwrap_or_default());
        fields.insert("changed".to_owned(), changed.unwrap_or_else(|| json!({})));
        fields.insert("record".to_owned(), doc);
    }
    record
}

/// What a row is about, in words, where it does not say so itself.
fn what_of(kind: &str, row: &Value, doc: &Value) -> Option<String> {
    let text = |name: &str| doc.get(name).and_then(Value::as_str).unwrap_or_default();
    let bucket = row.get("bucket").and_then(Value::as_str).unwrap_or_default();
    let amount = row.get("amount").and_then(Value::as_i64);
    let amount = amount.and_then(|nanos| crate::money::Money::from_nanos(nanos).ok()).unwrap_or_default();
    Some(match kind {
        "account" => format!("account {} made", text("id")),
        "project" => format!("project {} stored", text("id")),
        "key" => format!("key {} stored", text("id")),
        "run" => format!("run {} opened", text("id")),
        "order" => format!("order {}: {} {}, {}", text("id"), text("amount"), text("currency"), text("state").replace('_', " ")),
        "adjustment" => format!("{amount} on {bucket}"),
        "top_up" => format!("order {} credited: {amount} on {bucket}", text("order")),
        "refund" => format!("order {} refunded by {}: {amount} on {bucket}", text("order"), text("amount")),
        "redemption" => format!("code {} redeemed: {amount} on {bucket}", text("id")),
        "debt_payment" => format!("debt paid: {amount} on {bucket}"),
        "correction" => format!("request {} corrected: {amount} on {bucket}", text("id")),
        "alert" => "a budget reached a level".to_owned(),
        _ => return None,
    })
}
