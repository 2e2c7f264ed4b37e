//! Lists of journal rows, for the holder of a key and for the operator: pages of JSON, and whole lists as CSV or JSONL.

use std::future::Future;
use std::pin::Pin;

use futures_util::stream::unfold;
use serde::Deserialize;
use serde_json::{Value, json};

use super::input::{MOST_ROWS, part};
use super::output::ok;
use super::request::Request;
use super::{entries, records};
use crate::account::Listed;
use crate::app::receipts::Cache;
use crate::app::{Page, Part};
use crate::export::{self, Columns, Format};
use crate::id::AccountId;
use crate::limits::Gate;
use crate::ports::{Gates, Runtime};
use crate::refusal::Refusal;
use crate::relay::{Reply, ReplyBody, gate};
use crate::usage::Usage;

/// Loads a part of a list.
pub type Load = Box<dyn Fn(Part) -> Pin<Box<dyn Future<Output = Result<Page<Value>, Refusal>>>>>;

/// Who reads a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// The holder of a key of this account: the rows are made for customers already.
    Customer(AccountId),
    /// The operator.
    Operator,
}

/// Answers a list of receipts or entries as it was asked for.
pub async fn answer<P: Runtime + Gates, B>(
    ports: &P,
    request: &Request<B>,
    (listed, reader): (Listed, Audience),
    load: Load,
) -> Result<Reply, Refusal> {
    let format = Format::choose(request.param("format"), request.accept.as_deref())
        .map_err(|unknown| Refusal::invalid("format", format!("`format` {unknown}.")))?;
    let Some(format) = format else {
        let page = load(part(request)?).await?;
        let view = match listed {
            Listed::Receipts => receipt,
            Listed::Entries if reader == Audience::Operator => records::entry,
            Listed::Entries => entries::entry,
            Listed::Records => records::record,
        };
        return ok(&page.map(view));
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
    Have(Vec<u8>, Page<Value>),
    /// What is behind this cursor.
    Load(String),
    End,
}

/// A list of any length, a part at a time: what is not read is not loaded.
async fn whole<P: Runtime + Gates>(
    ports: P,
    (format, name, reader): (Format, &str, Audience),
    after: Option<String>,
    load: Load,
) -> Result<Reply, Refusal> {
    let columns = if reader == Audience::Operator { Columns::Operator } else { Columns::Customer };
    // What goes wrong at the start is still an error with a status.
    let first = load(Part { after, limit: MOST_ROWS }).await?;
    let stream = unfold(Next::Have(export::head(format, columns), first), move |next| {
        let loading =
            if let Next::Load(after) = &next { Some(load(Part { after: Some(after.clone()), limit: MOST_ROWS })) } else { None };
        let (ports, reader) = (ports.clone(), reader.clone());
        async move {
            if loading.is_some() {
                let_on(&ports, &reader).await;
            }
            let (mut text, page) = match (next, loading) {
                (Next::Have(head, part), _) => (head, part),
                (_, Some(loading)) => match loading.await {
                    Ok(part) => (Vec::new(), part),
                    // The connection breaks, so that nobody takes a part for the whole.
                    Err(refusal) => return Some((Err(refusal.message), Next::End)),
                },
                (_, None) => return None,
            };
            text.extend(export::rows(format, columns, &page.data));
            Some((Ok(text), page.next.map_or(Next::End, Next::Load)))
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
async fn let_on<P: Runtime + Gates>(ports: &P, reader: &Audience) {
    let Audience::Customer(account) = reader else { return };
    while gate::pass(ports, Gate::Read, account.as_str()).await.is_err() {
        ports.sleep(Gate::Read.row().rest_s.saturating_mul(1_000)).await;
    }
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
