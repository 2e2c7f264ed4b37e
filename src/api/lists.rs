//! Lists of journal rows, for the holder of a key and for the operator: pages of JSON, and whole lists as CSV or JSONL.
//!
//! What always holds: who reads a whole list is asked for key or token again before each part of it; once that has ended, so does the
//! list, as one that was cut.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::stream::unfold;
use serde_json::Value;

use super::input::{MOST_ROWS, filter, part};
use super::output::ok;
use super::request::Request;
use super::table::nothing_here;
use crate::account::Listed;
use crate::app::{Page, Part, Principal, entries, identified, operator, receipts, records};
use crate::export::{self, Columns, Format};
use crate::limits::Gate;
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, ReplyBody, RequestHead};

/// Reads a part of a list for somebody.
type FetchPart = Box<dyn Fn(Principal, Part) -> Pin<Box<dyn Future<Output = Result<Page<Value>, Refusal>>>>>;

/// Who reads a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// The holder of a key: the rows are made for customers already.
    Customer,
    /// The operator.
    Operator,
}

/// Answers a list of the own account's rows.
pub async fn own<P: Records, B>(ports: &P, who: &Principal, request: &Request<B>, listed: Listed) -> Result<Reply, Refusal> {
    let filter = filter(request, listed)?;
    let outside = ports.clone();
    let fetch: FetchPart = Box::new(move |who, part| {
        let (outside, filter) = (outside.clone(), filter.clone());
        Box::pin(async move { receipts::list_own(&outside, &who, &filter, part).await })
    });
    answer(ports, who, request, (listed, Audience::Customer), fetch).await
}

/// Answers a list of rows of all accounts, or of one.
pub async fn all<P: Records, B>(ports: &P, who: &Principal, request: &Request<B>, listed: Listed) -> Result<Reply, Refusal> {
    let filter = filter(request, listed)?;
    let account = request.param("account").map(ToOwned::to_owned);
    let outside = ports.clone();
    let fetch: FetchPart = Box::new(move |who, part| {
        let (outside, filter, account) = (outside.clone(), filter.clone(), account.clone());
        Box::pin(async move { receipts::list(&outside, &who, (account.as_deref(), &filter), part).await })
    });
    answer(ports, who, request, (listed, Audience::Operator), fetch).await
}

/// Answers a list as it was asked for.
async fn answer<P: Records, B>(
    ports: &P,
    who: &Principal,
    request: &Request<B>,
    (listed, audience): (Listed, Audience),
    fetch: FetchPart,
) -> Result<Reply, Refusal> {
    let format = Format::choose(request.param("format"), request.accept.as_deref())
        .map_err(|unknown| Refusal::invalid("format", format!("`format` {unknown}.")))?;
    let Some(format) = format else {
        let page = fetch(who.clone(), part(request)?).await?;
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
    // What goes wrong at the start is still an error with a status.
    let after = request.param("after").map(ToOwned::to_owned);
    let first = fetch(who.clone(), Part { after, limit: MOST_ROWS }).await?;
    Ok(whole((ports.clone(), request.head.clone()), (format, name, audience), first, fetch))
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
fn whole<P: Records>(
    (ports, head): (P, RequestHead),
    (format, name, audience): (Format, &str, Audience),
    first: Page<Value>,
    fetch: FetchPart,
) -> Reply {
    let columns = if audience == Audience::Operator { Columns::Operator } else { Columns::Customer };
    let fetch = Rc::new(fetch);
    let stream = unfold(Next::Have(export::head(format, columns), first), move |next| {
        let (ports, head, fetch) = (ports.clone(), head.clone(), Rc::clone(&fetch));
        async move {
            let (mut text, page) = match next {
                Next::Have(head, part) => (head, part),
                Next::Behind(after) => {
                    let part = match still(&ports, &head, audience).await {
                        Ok(who) => fetch(who, Part { after: Some(after), limit: MOST_ROWS }).await,
                        Err(refusal) => Err(refusal),
                    };
                    match part {
                        Ok(part) => (Vec::new(), part),
                        // The connection breaks, so that nobody takes a part for the whole.
                        Err(refusal) => return Some((Err(refusal.message), Next::End)),
                    }
                }
                Next::End => return None,
            };
            text.extend(export::rows(format, columns, &page.data));
            Some((Ok(text), page.next.map_or(Next::End, Next::Behind)))
        }
    });
    Reply {
        status: 200,
        headers: vec![
            ("content-type", format.content_type().to_owned()),
            ("content-disposition", format!("attachment; filename=\"{name}.{}\"", format.extension())),
            ("cache-control", "no-store".to_owned()),
        ],
        body: ReplyBody::Stream(Box::pin(stream)),
        replay_of: None,
        failure: None,
    }
}

/// Who reads on, as at the start: the key or the token may have ended meanwhile. Each part of a customer's long list is a read of
/// its own, and waits where there were too many.
async fn still<P: Records>(ports: &P, head: &RequestHead, audience: Audience) -> Result<Principal, Refusal> {
    loop {
        let who = match audience {
            Audience::Customer => identified(ports, head, Gate::Read).await,
            Audience::Operator => {
                let operator = operator::authenticated(ports, head).await?;
                return operator.map(Principal::Operator).ok_or_else(nothing_here);
            }
        };
        match who {
            Err(refusal) if refusal.code == Code::RateLimitExceeded => {
                ports.sleep(Gate::Read.row().rest_s.saturating_mul(1_000)).await;
            }
            who => return who,
        }
    }
}
