//! The endpoints: which path does what, for callers, account owners and the operator. Generic over the ports, so that tests
//! call exactly what the Worker calls.
//!
//! What always holds: what is not in the [`table`] of endpoints is not answered; what needs a key or the operator's token checks
//! it first; an account is never named by a caller's request, only by its key.

mod advice;
mod browser;
mod cookie;
mod input;
mod lists;
mod model_shapes;
mod models;
mod openrouter;
mod output;
mod request;
mod secured;
mod site;
pub mod socket;
pub mod table;
mod use_cases;

use crate::app::{operator, payments, receipts};
use crate::body::Arriving;
use crate::catalog::Dialect;
use crate::dialect::{EndpointPath, write_error};
use crate::id::{AccountId, RequestId};
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{self, Incoming, Reply, ReplyBody, RequestHead, refusal_reply};
use advice::WrongAddress;
pub use browser::Preflight;
use output::ok;
pub use request::Request;
pub use secured::HSTS;
use secured::{secured, with_allow};
use table::{Handler, Params, Row, SitePage, Who, nothing_here};

/// Answers a request: `HEAD` as `GET`, `OPTIONS` by the table, and so that a page of another site can read it where it may.
pub async fn handle<P: Records, B: Arriving + 'static>(ports: P, request: Request<B>) -> Reply {
    let path = table::named(&request.path);
    let origin = request.origin.clone();
    let reply = answered(ports, request, &path).await;
    secured(reply, &origin)
}

async fn answered<P: Records, B: Arriving + 'static>(ports: P, mut request: Request<B>, path: &str) -> Reply {
    let site = request.foreign().filter(|_| browser::is_open(path));
    request.head.site = request.foreign();
    let is_head = request.method == "HEAD";
    if is_head {
        "GET".clone_into(&mut request.method);
    }
    if request.method == "OPTIONS"
        && let Some(reply) = options(&request, path)
    {
        return reply.ids(&RequestId::new(ports.now(), ports.random()));
    }
    let reply = answer(ports, request, path).await;
    let reply = match site {
        Some(site) => browser::readable(reply, &site),
        None => reply,
    };
    if is_head { browser::without_body(reply) } else { reply }
}

/// What OPTIONS answers; none where that is a refusal like any other.
fn options<B>(request: &Request<B>, path: &str) -> Option<Reply> {
    match (&request.preflight, &request.from) {
        (Some(preflight), Some(from)) if browser::is_open(path) => Some(browser::allowed(preflight, from, path)),
        _ => browser::options(path).filter(|_| !table::is_guarded(path)),
    }
}

async fn answer<P: Records, B: Arriving + 'static>(ports: P, request: Request<B>, path: &str) -> Reply {
    let found = table::find(&request.method, path);
    if let Some((dialect, refusal)) = wrong_address(&request, path, &found) {
        if request.is_for_people() && !browser::is_for_programs(path) {
            let id = RequestId::new(ports.now(), ports.random());
            return site::refused(&ports, &request, path, &refusal).await.ids(&id);
        }
        return refused(&ports, &refusal, dialect);
    }
    let called = EndpointPath::at(path);
    let dialect = called.as_ref().map_or_else(|| request.dialect(), |called| called.endpoint.dialect());
    let answered = match (found, called) {
        (Ok((Row { handler: Handler::Model, .. }, _)), Some(called)) => return ask(ports, called, request).await,
        (Ok((row, params)), _) => dispatch(&ports, request, path, (row.handler, &params)).await,
        (Err(refusal), _) => wrong_method(&ports, &request, path, refusal).await,
    };
    match answered {
        Ok(reply) => reply.ids(&RequestId::new(ports.now(), ports.random())),
        Err(refusal) => refused(&ports, &refusal, dialect),
    }
}

/// Calls what answers an endpoint that asks no model.
async fn dispatch<P: Records, B: Arriving>(
    ports: &P,
    request: Request<B>,
    path: &str,
    (handler, params): (Handler, &Params<'_>),
) -> Result<Reply, Refusal> {
    match handler {
        Handler::Use(use_case) => use_cases::answer(ports, request, (use_case, params)).await,
        Handler::Page(page) => Ok(site::answer(ports, request, path, (page, params.get("model"))).await),
        Handler::Stripe => {
            let secret = payments::stripe_secret(ports).ok_or_else(nothing_here)?;
            let body = request.body.await?;
            ok(&payments::stripe(ports, (&secret, request.signature.as_deref()), request.head.address, &body).await?)
        }
        Handler::Alive => Ok(Reply::json(200, r#"{"status":"ok"}"#.to_owned())),
        Handler::Model | Handler::Socket | Handler::File => Err(nothing_here()),
    }
}

/// Answers a method that a path does not have. Of what is guarded only who may call it is told.
async fn wrong_method<P: Records, B>(ports: &P, request: &Request<B>, path: &str, refusal: Refusal) -> Result<Reply, Refusal> {
    match table::at(path).next().map(|row| (row.handler, row.who)) {
        Some((Handler::Page(_), _)) => Ok(site::refused(ports, request, path, &refusal).await),
        Some((Handler::Stripe, _)) => Err(payments::stripe_secret(ports).map_or_else(nothing_here, |_| refusal)),
        Some((_, Who::Operator)) => {
            operator::authenticated(ports, &request.head).await?.ok_or_else(nothing_here)?;
            let options = if request.method == "OPTIONS" { browser::options(path) } else { None };
            options.ok_or(refusal)
        }
        _ => Err(refusal),
    }
}

/// What is told to who is at a wrong address, in which dialect; none where the address is right.
fn wrong_address<B>(
    request: &Request<B>,
    path: &str,
    found: &Result<(&'static Row, Params<'_>), Refusal>,
) -> Option<(Dialect, Refusal)> {
    let (method, origin, speaks) = (request.method.as_str(), request.origin.as_str(), request.speaks());
    let address = WrongAddress { method, path, origin, speaks };
    match found {
        Err(_) if table::is_guarded(path) => None,
        Err(refusal) => {
            advice::advise(address, refusal).or_else(|| (refusal.code == Code::NotFound).then(|| (speaks, refusal.clone())))
        }
        // Browsers present no key to a page.
        Ok((row, _)) => {
            let is_page = matches!(row.handler, Handler::Page(SitePage::Models | SitePage::Model));
            let is_program = request.presented_in.is_some() && !request.is_for_people();
            (is_page && is_program).then(|| advice::page_for_people(address))
        }
    }
}

/// The answer for a refusal before any model is asked; what is private of it goes to the log.
fn refused<P: Records>(ports: &P, refusal: &Refusal, dialect: Dialect) -> Reply {
    let id = RequestId::new(ports.now(), ports.random());
    if let Some(detail) = &refusal.detail {
        ports.log(&format!("{id}: {detail}"));
    }
    with_allow(refusal_reply(refusal, &id, false, dialect), refusal)
}

/// Asks a model.
async fn ask<P: Records, B: Arriving + 'static>(ports: P, called: EndpointPath, request: Request<B>) -> Reply {
    let is_list = called.endpoint.dialect() == Dialect::Gemini && request.param("alt") != Some("sse");
    let incoming = Incoming { called, head: RequestHead { is_list, ..request.head }, body: request.body };
    let reply = relay::serve(ports.clone(), incoming).await;
    match reply.replay_of.clone() {
        Some((account, request)) => with_receipt(&ports, reply, &account, &request).await,
        None => reply,
    }
}

/// Puts the receipt of an earlier request into the answer to its replay.
async fn with_receipt<P: Records>(ports: &P, mut reply: Reply, account: &AccountId, request: &RequestId) -> Reply {
    if let Ok(receipt) = receipts::of_account(ports, account, request.as_str()).await {
        reply.body = ReplyBody::Full(receipt.to_string().into_bytes());
    }
    reply
}

/// The answer to a request whose address cannot be read, because of what it names as its host.
pub fn wrong_host(id: &RequestId) -> Reply {
    let next_step = "Send the gateway's own name in `Host`, and once.";
    let refusal = Refusal::new(Code::InvalidRequest, "The `Host` header names no host.", next_step);
    refusal_reply(&refusal, id, false, Dialect::Openai)
}

/// The answer of last resort, when the platform itself fails.
pub fn failure_body() -> String {
    write_error(Dialect::Openai, &Refusal::unavailable("the platform failed"), None)
}
