//! The endpoints: which path does what, for callers, account owners and the operator. Generic over the ports, so that tests
//! call exactly what the Worker calls.
//!
//! What always holds: what is not in the [`table`] of endpoints is not answered; what needs a key or the operator's token checks
//! it first; an account is never named by a caller's request, only by its key.

pub mod admin;
mod availability;
mod billing;
mod catalog;
mod explain;
mod history;
mod lists;
mod model_shapes;
mod models;
mod openapi;
pub mod oversight;
mod owner;
mod runs;
mod session;
mod site;
pub mod socket;
mod spend;
pub mod table;
pub mod topups;
mod truth;

use std::future::Future;

use serde::Serialize;

use crate::catalog::Dialect;
use crate::dialect::{Called, write_error};
use crate::id::RequestId;
use crate::key::KeyRecord;
use crate::ports::Records;
use crate::refusal::Refusal;
use crate::relay::{self, Head, Incoming, Reply, check_idempotency_key, refusal_reply};
use table::nothing_here;

/// A request with its headers read, and its body still on the way.
pub struct Request<B> {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Decoded, without the query.
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    /// What its head says to every endpoint.
    pub head: Head,
    /// `Accept`.
    pub accept: Option<String>,
    /// `Cookie`.
    pub cookies: Option<String>,
    /// `Origin`: the site of the page that sent it.
    pub from: Option<String>,
    /// `Stripe-Signature`.
    pub signature: Option<String>,
    /// The scheme and host that were called.
    pub origin: String,
    /// The body.
    pub body: B,
}

impl<B> Request<B> {
    /// A query parameter.
    fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The dialect that the client speaks, where it does not ask a model.
    fn dialect(&self) -> Dialect {
        let is_models = self.path.starts_with("/v1/models");
        if self.path.starts_with("/v1beta/") || is_models && self.head.is_google {
            Dialect::Gemini
        } else if is_models && self.head.passed.iter().any(|(name, _)| *name == "anthropic-version") {
            Dialect::Anthropic
        } else {
            Dialect::Openai
        }
    }
}

/// Answers a request.
pub async fn handle<P: Records, B: Future<Output = Result<Vec<u8>, Refusal>> + 'static>(ports: P, request: Request<B>) -> Reply {
    let path = request.path.trim_end_matches('/').to_owned();
    let method = request.method.clone();
    let dialect = request.dialect();
    let known = table::check(&method, &path);
    if let Some(called) = Called::at(&path) {
        let Err(refusal) = known else { return ask(ports, called, request).await };
        let id = RequestId::new(ports.now(), ports.random());
        return with_allow(refusal_reply(&refusal, &id, false, called.endpoint.dialect()), &refusal);
    }
    if site::is_here(&path) {
        let id = RequestId::new(ports.now(), ports.random());
        return site::answer(&ports, request, &path).await.ids(&id);
    }
    let answered = match known {
        Err(refusal) if !table::is_guarded(&path) => Err(refusal),
        _ => dispatch(&ports, request, &path).await,
    };
    let id = RequestId::new(ports.now(), ports.random());
    match answered {
        Ok(reply) => reply.ids(&id),
        Err(refusal) => {
            if let Some(detail) = &refusal.detail {
                ports.log(&format!("{id}: {detail}"));
            }
            with_allow(refusal_reply(&refusal, &id, false, dialect), &refusal)
        }
    }
}

/// Calls what answers an endpoint of the table.
async fn dispatch<P: Records, B: Future<Output = Result<Vec<u8>, Refusal>>>(
    ports: &P,
    request: Request<B>,
    path: &str,
) -> Result<Reply, Refusal> {
    let method = request.method.clone();
    match (method.as_str(), path) {
        ("GET", "/healthz") => Ok(Reply::json(200, r#"{"status":"ok"}"#.to_owned())),
        ("GET", "/openapi.json") => Ok(openapi::answer(&request.origin)),
        (_, path) if path.starts_with("/admin/v1/") => admin::handle(ports, request, path).await,
        ("POST", "/v1/route") => explain::route(ports, request).await,
        (_, "/webhooks/stripe") => topups::stripe(ports, (&method, request.signature.as_deref()), request.body).await,
        ("POST", "/v1/runs" | "/v1/redeem" | "/v1/topups") => {
            let caller = owner::caller(ports, &request).await?;
            post(ports, &caller, request, path).await
        }
        ("GET", path) if path.starts_with("/v1/") || path.starts_with("/v1beta/models") => {
            let caller = owner::caller(ports, &request).await?;
            owner::read(ports, &caller, &request, path).await
        }
        _ => Err(nothing_here()),
    }
}

/// Tells which methods a path has, where that is the refusal.
fn with_allow(reply: Reply, refusal: &Refusal) -> Reply {
    match refusal.facts.get("allow").and_then(|allow| allow.as_str()) {
        Some(allow) => reply.header("allow", allow),
        None => reply,
    }
}

/// Asks a model.
async fn ask<P: Records, B: Future<Output = Result<Vec<u8>, Refusal>> + 'static>(
    ports: P,
    called: Called,
    request: Request<B>,
) -> Reply {
    let is_list = called.endpoint.dialect() == Dialect::Gemini && request.param("alt") != Some("sse");
    let incoming = Incoming { called, head: Head { is_list, ..request.head }, body: request.body };
    let reply = relay::serve(ports.clone(), incoming).await;
    match reply.replay_of.clone() {
        Some((account, request)) => owner::with_receipt(&ports, reply, &account, &request).await,
        None => reply,
    }
}

/// What the holder of a key can do besides asking models.
async fn post<P: Records, B: Future<Output = Result<Vec<u8>, Refusal>>>(
    ports: &P,
    caller: &KeyRecord,
    request: Request<B>,
    path: &str,
) -> Result<Reply, Refusal> {
    check_idempotency_key(request.head.idempotency_key.as_deref())?;
    match path {
        "/v1/runs" => runs::open(ports, caller, request.body).await,
        "/v1/redeem" => topups::redeem(ports, caller, request.body).await,
        _ => topups::order(ports, caller, (request.head.idempotency_key.as_deref(), &request.origin), request.body).await,
    }
}

fn ok(value: &impl Serialize) -> Result<Reply, Refusal> {
    with_status(200, value)
}

fn with_status(status: u16, value: &impl Serialize) -> Result<Reply, Refusal> {
    let body = serde_json::to_string(value).map_err(|error| Refusal::unavailable(error.to_string()))?;
    Ok(Reply::json(status, body))
}

/// The answer of last resort, when the platform itself fails.
pub fn failure_body() -> String {
    write_error(Dialect::Openai, &Refusal::unavailable("the platform failed"), None)
}
