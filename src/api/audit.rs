//! What was done, by whom and why: journal rows as the operator reads them, and what he did that is about no account.
//!
//! What always holds: every change that the operator can make leaves a row with author, reason and what changed; rows of earlier
//! versions, which did not ask for them, have none.

use serde_json::{Map, Value, json};

use super::admin::name;
use super::lists;
use crate::account::{Act, ActKind, By, Command, Done, OPERATOR};
use crate::id::AccountId;
use crate::operator::Operator;
use crate::ports::Records;
use crate::refusal::Refusal;

/// Fields of records that stay where they are stored.
const KEPT: [&str; 3] = ["hash", "request_key", "change"];

/// Who does something: who was authenticated. For whom, and why, a request says itself; its `author` is not the author.
pub fn by(who: &Operator, author: Option<String>, reason: Option<String>) -> Result<By, Refusal> {
    let on_behalf_of = author.map(|author| name("author", author)).transpose()?;
    let reason = reason.map(|reason| name("reason", reason)).transpose()?;
    Ok(By { author: who.name().to_owned(), on_behalf_of, reason })
}

/// Notes what the operator did. It is done already: where it cannot be noted, the log has it.
pub async fn note<P: Records>(ports: &P, kind: ActKind, by: By, what: String) {
    let act = Act { kind, done: Done { by, what, fields: Map::new() } };
    let line = json!(act).to_string();
    let Some(account) = AccountId::parse(OPERATOR) else { return };
    for command in [Command::Act(Box::new(act)), Command::Flush] {
        if let Err(error) = ports.command(&account, command).await {
            ports.log(&format!("audit: {line}: {}", error.0));
        }
    }
}

/// A ledger entry, with who made it.
pub fn entry(row: Value) -> Value {
    let doc = |name: &str| row.get("doc").and_then(|doc| doc.get(name).or_else(|| doc.get("change")?.get(name)));
    let (author, on_behalf_of, reason) = (doc("author").cloned(), doc("on_behalf_of").cloned(), doc("reason").cloned());
    let mut entry = lists::entry(row);
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
