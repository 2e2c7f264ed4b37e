//! Lists of journal rows, for the holder of a key and for the operator: pages of JSON, and whole lists as CSV or JSONL.

use std::future::Future;
use std::pin::Pin;

use futures_util::stream::unfold;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Request, audit, ok};
use crate::account::{Filter, Listed};
use crate::export::{self, Columns, Format};
use crate::id::AccountId;
use crate::limits::Gate;
use crate::money::Money;
use crate::ports::Ports;
use crate::refusal::Refusal;
use crate::relay::{Reply, ReplyBody, gate};
use crate::time::Timestamp;
use crate::usage::Usage;

const DEFAULT_LIMIT: u32 = 20;
const MOST_ROWS: u32 = 100;

/// A part of a list: its rows, and what comes after them.
pub type Part = (Vec<Value>, Option<String>);

/// Loads a part of a list: behind a cursor, so many rows.
pub type Load = Box<dyn Fn(Option<String>, u32) -> Pin<Box<dyn Future<Output = Result<Part, Refusal>>>>>;

/// Who reads a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// The holder of a key of this account: the rows are made for customers already.
    Customer(AccountId),
    /// The operator.
    Operator,
}

/// Answers a list of receipts or entries as it was asked for.
pub async fn answer<P: Ports, B>(
    ports: &P,
    request: &Request<B>,
    (listed, reader): (Listed, Reader),
    load: Load,
) -> Result<Reply, Refusal> {
    let format = Format::choose(request.param("format"), request.accept.as_deref())
        .map_err(|unknown| Refusal::invalid("format", format!("`format` {unknown}.")))?;
    let Some(format) = format else {
        let (limit, after) = page(request)?;
        let (rows, next) = load(after, limit).await?;
        let view = match listed {
            Listed::Receipts => receipt,
            Listed::Entries if reader == Reader::Operator => audit::entry,
            Listed::Entries => entry,
            Listed::Records => audit::record,
        };
        return ok(&json!({"data": rows.into_iter().map(view).collect::<Vec<_>>(), "next": next}));
    };
    let name = match listed {
        Listed::Receipts => "receipts",
        Listed::Entries => "ledger",
        Listed::Records => "audit",
    };
    whole(ports.clone(), (format, name, reader), request.param("after").map(ToOwned::to_owned), load).await
}

/// What comes next of a list.
enum Next {
    /// This, with what stands before it.
    Have(Vec<u8>, Part),
    /// What is behind this cursor.
    Load(String),
    End,
}

/// A list of any length, a part at a time: what is not read is not loaded.
async fn whole<P: Ports>(
    ports: P,
    (format, name, reader): (Format, &str, Reader),
    after: Option<String>,
    load: Load,
) -> Result<Reply, Refusal> {
    let columns = if reader == Reader::Operator { Columns::Operator } else { Columns::Customer };
    // What goes wrong at the start is still an error with a status.
    let first = load(after, MOST_ROWS).await?;
    let stream = unfold(Next::Have(export::head(format, columns), first), move |next| {
        let loading = if let Next::Load(after) = &next { Some(load(Some(after.clone()), MOST_ROWS)) } else { None };
        let (ports, reader) = (ports.clone(), reader.clone());
        async move {
            if loading.is_some() {
                let_on(&ports, &reader).await;
            }
            let (mut text, (rows, cursor)) = match (next, loading) {
                (Next::Have(head, part), _) => (head, part),
                (_, Some(loading)) => match loading.await {
                    Ok(part) => (Vec::new(), part),
                    // The connection breaks, so that nobody takes a part for the whole.
                    Err(refusal) => return Some((Err(refusal.message), Next::End)),
                },
                (_, None) => return None,
            };
            text.extend(export::rows(format, columns, &rows));
            Some((Ok(text), cursor.map_or(Next::End, Next::Load)))
        }
    });
    Ok(Reply {
        status: 200,
        headers: vec![
            ("content-type", format.content_type().to_owned()),
            ("content-disposition", format!("attachment; filename=\"{name}.{}\"", format.extension())),
            ("cache-control", "no-store".to_owned()),
        ],
        body: ReplyBody::Stream(Box::pin(stream)),
        replay_of: None,
        failure: None,
    })
}

/// Each part of a customer's long list is a read of its own, and waits where there were too many.
async fn let_on<P: Ports>(ports: &P, reader: &Reader) {
    let Reader::Customer(account) = reader else { return };
    while gate::pass(ports, Gate::Read, account.as_str()).await.is_err() {
        ports.sleep(Gate::Read.row().rest_s.saturating_mul(1_000)).await;
    }
}

/// Reads `limit` and `after`.
pub fn page<B>(request: &Request<B>) -> Result<(u32, Option<String>), Refusal> {
    let limit = match request.param("limit") {
        None => DEFAULT_LIMIT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MOST_ROWS).contains(limit))
            .ok_or_else(|| Refusal::invalid("limit", format!("`limit` must be a whole number from 1 to {MOST_ROWS}.")))?,
    };
    Ok((limit, request.param("after").map(ToOwned::to_owned)))
}

/// What `after` takes for the part behind these rows; none where they were the last.
pub fn next<T, C>(rows: &[T], limit: u32, cursor: impl FnOnce(&T) -> C) -> Option<C> {
    let is_full = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
    rows.last().filter(|_| is_full).map(cursor)
}

/// The same where rows are named by their `id`.
pub fn next_id(rows: &[Value], limit: u32) -> Option<Value> {
    next(rows, limit, |row| row.get("id").cloned()).flatten()
}

/// What was asked for of the journal.
pub fn filter<B>(request: &Request<B>, listed: Listed) -> Result<Filter, Refusal> {
    let text = |name: &str| request.param(name).map(ToOwned::to_owned);
    Ok(Filter {
        listed,
        key: text("key"),
        project: text("project"),
        model: text("model"),
        route: text("route"),
        bucket: text("bucket"),
        status: text("status"),
        run: text("run"),
        kind: text("kind").map(|kind| if kind == "charge" { "receipt".to_owned() } else { kind }),
        since: moment(request, "since")?,
        until: moment(request, "until")?,
    })
}

fn moment<B>(request: &Request<B>, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let wrong = || Refusal::invalid(name, format!("`{name}` must be a time in RFC 3339, such as 2026-12-31T00:00:00Z."));
    request.param(name).map(|text| Timestamp::parse(text).ok_or_else(wrong)).transpose()
}

/// The receipt in a journal row, with the currency of its amounts and what its usage says of the provider's cache.
pub fn receipt(mut row: Value) -> Value {
    let mut receipt = row.get_mut("doc").map(Value::take).unwrap_or_default();
    let usage = receipt.get("usage").and_then(|usage| Usage::deserialize(usage).ok());
    if let Some(fields) = receipt.as_object_mut() {
        let place = fields.keys().position(|name| name == "bucket").map_or(0, |at| at.saturating_add(1));
        fields.shift_insert(place, "currency".to_owned(), row.get("currency").cloned().unwrap_or_default());
        fields.extend(usage.map(|usage| ("cache".to_owned(), cache(&usage))));
    }
    receipt
}

/// How much of what went in came from the provider's cache, and how much went into it.
pub fn cache(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input_side(), "read_tokens": usage.cached_input,
        "write_tokens": usage.cache_write.saturating_add(usage.cache_write_1h), "share": usage.cache_share(),
    })
}

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
