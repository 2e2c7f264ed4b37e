//! The endpoints: which path does what, for callers, account owners and the operator. Generic over the ports, so that tests
//! call exactly what the Worker calls.
//!
//! What always holds: what is not in the [`table`] of endpoints is not answered; what needs a key or the operator's token checks
//! it first; an account is never named by a caller's request, only by its key.

mod admin;
mod advice;
mod availability;
mod browser;
mod catalog;
mod entries;
mod explain;
mod health;
mod history;
mod input;
mod lists;
mod model_shapes;
mod models;
mod operator;
mod output;
mod owner;
mod payments;
mod records;
mod request;
mod rights;
mod secured;
mod session;
mod shown;
mod site;
pub mod socket;
mod spend;
pub mod table;
mod truth;

use crate::app::identified;
use crate::body::Arriving;
use crate::catalog::Dialect;
use crate::dialect::{EndpointPath, write_error};
use crate::id::RequestId;
use crate::limits::Gate;
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{self, Incoming, Reply, RequestHead, refusal_reply};
use advice::Lost;
pub use browser::Preflight;
pub use request::Request;
pub use secured::HSTS;
use secured::{secured, with_allow};
use table::nothing_here;

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
    let method = request.method.clone();
    let known = table::check(&method, path);
    if let Some((dialect, refusal)) = astray(&request, path, &known) {
        if request.is_for_people() && !browser::is_for_programs(path) {
            let id = RequestId::new(ports.now(), ports.random());
            return site::nothing_here(&ports, &request, path, &refusal).await.ids(&id);
        }
        return refused(&ports, &refusal, dialect);
    }
    if let Some(called) = EndpointPath::at(path) {
        let Err(refusal) = known else { return ask(ports, called, request).await };
        return refused(&ports, &refusal, called.endpoint.dialect());
    }
    if site::is_here(path) {
        let id = RequestId::new(ports.now(), ports.random());
        return site::answer(&ports, request, path).await.ids(&id);
    }
    let dialect = request.dialect();
    let answered = match known {
        Err(refusal) if !table::is_guarded(path) => Err(refusal),
        _ => dispatch(&ports, request, path).await,
    };
    match answered {
        Ok(reply) => reply.ids(&RequestId::new(ports.now(), ports.random())),
        Err(refusal) => refused(&ports, &refusal, dialect),
    }
}

/// What is told to who is at a wrong address, in which dialect; none where the address is right.
fn astray<B>(request: &Request<B>, path: &str, known: &Result<(), Refusal>) -> Option<(Dialect, Refusal)> {
    let (method, origin, speaks) = (request.method.as_str(), request.origin.as_str(), request.speaks());
    let lost = Lost { method, path, origin, speaks };
    match known {
        Err(_) if table::is_guarded(path) => None,
        Err(refusal) => {
            advice::advise(lost, refusal).or_else(|| (refusal.code == Code::NotFound).then(|| (speaks, refusal.clone())))
        }
        // Browsers present no key to a page.
        Ok(()) => {
            let is_page = path == "/models" || path.starts_with("/models/") && !path.ends_with(".json");
            let is_program = request.presented_in.is_some() && !request.is_for_people();
            (is_page && is_program).then(|| advice::page_for_people(lost))
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

/// Calls what answers an endpoint of the table.
async fn dispatch<P: Records, B: Arriving>(ports: &P, request: Request<B>, path: &str) -> Result<Reply, Refusal> {
    let method = request.method.clone();
    match (method.as_str(), path) {
        ("GET", "/healthz") => Ok(Reply::json(200, r#"{"status":"ok"}"#.to_owned())),
        (_, path) if path.starts_with("/admin/v1/") => admin::handle(ports, request, path).await,
        ("POST", "/v1/route") => explain::route(ports, request).await,
        (_, "/webhooks/stripe") => {
            let sender = (method.as_str(), request.signature.as_deref(), request.head.address);
            payments::stripe(ports, sender, request.body).await
        }
        ("POST", "/v1/runs" | "/v1/redeem" | "/v1/topups") => {
            let gate = match path {
                "/v1/runs" => Gate::Free,
                "/v1/topups" => Gate::Order,
                _ => Gate::Read,
            };
            let who = identified(ports, &request.head, gate).await?;
            owner::write(ports, &who, request, path).await
        }
        ("GET", path) if path.starts_with("/v1/") || path.starts_with("/v1beta/models") => {
            let who = identified(ports, &request.head, Gate::Read).await?;
            owner::read(ports, &who, &request, path).await
        }
        _ => Err(nothing_here()),
    }
}

/// Asks a model.
async fn ask<P: Records, B: Arriving + 'static>(ports: P, called: EndpointPath, request: Request<B>) -> Reply {
    let is_list = called.endpoint.dialect() == Dialect::Gemini && request.param("alt") != Some("sse");
    let incoming = Incoming { called, head: RequestHead { is_list, ..request.head }, body: request.body };
    let reply = relay::serve(ports.clone(), incoming).await;
    match reply.replay_of.clone() {
        Some((account, request)) => owner::with_receipt(&ports, reply, &account, &request).await,
        None => reply,
    }
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
