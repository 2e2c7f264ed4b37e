//! Lists of journal rows, for the holder of a key and for the operator: pages of JSON, and whole lists as CSV or JSONL.

use std::future::Future;
use std::pin::Pin;

use futures_util::stream::unfold;
use serde_json::Value;

use super::input::{MOST_ROWS, filter, part};
use super::output::ok;
use super::request::Request;
use crate::account::Listed;
use crate::app::{Page, Part, Principal, UseCase, entries, receipts, records};
use crate::export::{self, Columns, Format};
use crate::id::AccountId;
use crate::limits::Gate;
use crate::ports::{Gates, Records, Runtime};
use crate::refusal::Refusal;
use crate::relay::{Reply, ReplyBody, gate};

/// Reads a part of a list.
type FetchPart = Box<dyn Fn(Part) -> Pin<Box<dyn Future<Output = Result<Page<Value>, Refusal>>>>>;

/// Who reads a list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Audience {
    /// The holder of a key of this account: the rows are made for customers already.
    Customer(AccountId),
    /// The operator.
    Operator,
}

/// Answers a list of the own account's rows.
pub async fn own<P: Records, B>(ports: &P, who: &Principal, request: &Request<B>, listed: Listed) -> Result<Reply, Refusal> {
    let use_case = if listed == Listed::Receipts { UseCase::ListReceipts } else { UseCase::ListEntries };
    let audience = Audience::Customer(who.holder(use_case)?.account().clone());
    let filter = filter(request, listed)?;
    let (outside, who) = (ports.clone(), who.clone());
    let fetch: FetchPart = Box::new(move |part| {
        let (outside, who, filter) = (outside.clone(), who.clone(), filter.clone());
        Box::pin(async move { receipts::list_own(&outside, &who, &filter, part).await })
    });
    answer(ports, request, (listed, audience), fetch).await
}

/// Answers a list of rows of all accounts, or of one.
pub async fn all<P: Records, B>(ports: &P, who: &Principal, request: &Request<B>, listed: Listed) -> Result<Reply, Refusal> {
    let filter = filter(request, listed)?;
    let account = request.param("account").map(ToOwned::to_owned);
    let (outside, who) = (ports.clone(), who.clone());
    let fetch: FetchPart = Box::new(move |part| {
        let (outside, who, filter, account) = (outside.clone(), who.clone(), filter.clone(), account.clone());
        Box::pin(async move { receipts::list(&outside, &who, (account.as_deref(), &filter), part).await })
    });
    answer(ports, request, (listed, Audience::Operator), fetch).await
}

/// Answers a list as it was asked for.
async fn answer<P: Runtime + Gates, B>(
    ports: &P,
    request: &Request<B>,
    (listed, audience): (Listed, Audience),
    fetch: FetchPart,
) -> Result<Reply, Refusal> {
    let format = Format::choose(request.param("format"), request.accept.as_deref())
        .map_err(|unknown| Refusal::invalid("format", format!("`format` {unknown}.")))?;
    let Some(format) = format else {
        let page = fetch(part(request)?).await?;
        let view = match listed {
            Listed::Receipts => receipts::receipt,
            Listed::Entries if audience == Audience::Operator => records::entry,
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
    whole(ports.clone(), (format, name, audience), request.param("after").map(ToOwned::to_owned), fetch).await
}

/// What comes next of a list.
enum Next {
    /// This, with what stands before it.
    Have(Vec<u8>, Page<Value>),
    /// What is behind this cursor.
    Behind(String),
    End,
}

/// A list of any length, a part at a time: what is not read is not asked for.
async fn whole<P: Runtime + Gates>(
    ports: P,
    (format, name, audience): (Format, &str, Audience),
    after: Option<String>,
    fetch: FetchPart,
) -> Result<Reply, Refusal> {
    let columns = if audience == Audience::Operator { Columns::Operator } else { Columns::Customer };
    // What goes wrong at the start is still an error with a status.
    let first = fetch(Part { after, limit: MOST_ROWS }).await?;
    let stream = unfold(Next::Have(export::head(format, columns), first), move |next| {
        let fetching = match &next {
            Next::Behind(after) => Some(fetch(Part { after: Some(after.clone()), limit: MOST_ROWS })),
            _ => None,
        };
        let (ports, audience) = (ports.clone(), audience.clone());
        async move {
            if fetching.is_some() {
                wait_for_gate(&ports, &audience).await;
            }
            let (mut text, page) = match (next, fetching) {
                (Next::Have(head, part), _) => (head, part),
                (_, Some(fetching)) => match fetching.await {
                    Ok(part) => (Vec::new(), part),
                    // The connection breaks, so that nobody takes a part for the whole.
                    Err(refusal) => return Some((Err(refusal.message), Next::End)),
                },
                (_, None) => return None,
            };
            text.extend(export::rows(format, columns, &page.data));
            Some((Ok(text), page.next.map_or(Next::End, Next::Behind)))
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
async fn wait_for_gate<P: Runtime + Gates>(ports: &P, audience: &Audience) {
    let Audience::Customer(account) = audience else { return };
    while gate::pass(ports, Gate::Read, account.as_str()).await.is_err() {
        ports.sleep(Gate::Read.row().rest_s.saturating_mul(1_000)).await;
    }
}
