//! The endpoints: which path does what, for callers, account owners and the operator. Generic over the ports, so that tests
//! call exactly what the Worker calls.
//!
//! What always holds: what is not in the [`table`] of endpoints is not answered; what needs a key or the operator's token checks
//! it first; an account is never named by a caller's request, only by its key.

pub mod admin;
mod advice;
mod audit;
mod availability;
mod billing;
mod bounds;
mod browser;
mod catalog;
mod currency;
mod customer;
mod explain;
mod history;
mod lists;
mod model_shapes;
mod models;
mod operator;
pub mod oversight;
mod owner;
mod runs;
mod scope;
mod session;
mod shown;
mod site;
pub mod socket;
mod spend;
pub mod table;
mod tokens;
pub mod topups;
mod truth;

use serde::Serialize;

use crate::body::Arriving;
use crate::catalog::Dialect;
use crate::dialect::{Called, write_error};
use crate::id::RequestId;
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{self, Head, Incoming, Reply, check_idempotency_key, refusal_reply};
use advice::Lost;
pub use browser::Preflight;
use table::nothing_here;

/// For a year browsers come back over TLS alone.
pub const HSTS: &str = "max-age=31536000";

/// A request with its headers read, and its body still on the way.
pub struct Request<B> {
    /// `GET`, `POST`, ...
    pub method: String,
    /// As it came, without the query.
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
    /// What a browser asks before it sends the request itself.
    pub preflight: Option<Preflight>,
    /// The header that the credential came in.
    pub presented_in: Option<&'static str>,
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

    /// The site of the page that sent it, where that is another than this one.
    fn foreign(&self) -> Option<String> {
        self.from.clone().filter(|from| *from != self.origin)
    }

    /// Whether a person looks at the answer in a browser.
    fn is_for_people(&self) -> bool {
        self.accept.as_deref().is_some_and(|accept| accept.contains("text/html"))
    }

    /// The dialect of clients that send such headers, where the path tells nothing.
    fn speaks(&self) -> Dialect {
        let has_version = self.head.passed.iter().any(|(name, _)| *name == "anthropic-version");
        if self.head.is_google || self.path.starts_with("/v1beta/") {
            Dialect::Gemini
        } else if has_version || self.presented_in == Some("x-api-key") {
            Dialect::Anthropic
        } else {
            Dialect::Openai
        }
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

/// Answers a request: `HEAD` as `GET`, `OPTIONS` by the table, and so that a page of another site can read it where it may.
pub async fn handle<P: Records, B: Arriving + 'static>(ports: P, request: Request<B>) -> Reply {
    let path = table::named(&request.path);
    let origin = request.origin.clone();
    let reply = answered(ports, request, &path).await;
    secured(reply, &origin)
}

/// What every answer has: how browsers may take it, and that they ask for no other but over TLS.
fn secured(reply: Reply, origin: &str) -> Reply {
    let reply = if reply.has("x-content-type-options") { reply } else { reply.header("x-content-type-options", "nosniff") };
    if origin.starts_with("https://") { reply.header("strict-transport-security", HSTS) } else { reply }
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
    if let Some(called) = Called::at(path) {
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
            topups::stripe(ports, sender, request.body).await
        }
        ("POST", "/v1/runs" | "/v1/redeem" | "/v1/topups") => {
            let gate = match path {
                "/v1/runs" => Gate::Free,
                "/v1/topups" => Gate::Order,
                _ => Gate::Read,
            };
            let caller = owner::caller(ports, &request, gate).await?;
            post(ports, &caller, request, path).await
        }
        ("GET", path) if path.starts_with("/v1/") || path.starts_with("/v1beta/models") => {
            let caller = owner::caller(ports, &request, Gate::Read).await?;
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
async fn ask<P: Records, B: Arriving + 'static>(ports: P, called: Called, request: Request<B>) -> Reply {
    let is_list = called.endpoint.dialect() == Dialect::Gemini && request.param("alt") != Some("sse");
    let incoming = Incoming { called, head: Head { is_list, ..request.head }, body: request.body };
    let reply = relay::serve(ports.clone(), incoming).await;
    match reply.replay_of.clone() {
        Some((account, request)) => owner::with_receipt(&ports, reply, &account, &request).await,
        None => reply,
    }
}

/// What the holder of a key can do besides asking models.
async fn post<P: Records, B: Arriving>(ports: &P, caller: &KeyRecord, request: Request<B>, path: &str) -> Result<Reply, Refusal> {
    check_idempotency_key(request.head.idempotency_key.as_deref())?;
    match path {
        "/v1/runs" => runs::open(ports, caller, request.body).await,
        "/v1/redeem" => topups::redeem(ports, caller, request.body).await,
        _ => topups::order(ports, caller, request.head.idempotency_key.as_deref(), request.body).await,
    }
}

fn ok(value: &impl Serialize) -> Result<Reply, Refusal> {
    with_status(200, value)
}

fn with_status(status: u16, value: &impl Serialize) -> Result<Reply, Refusal> {
    let body = serde_json::to_string(value).map_err(|error| Refusal::unavailable(error.to_string()))?;
    Ok(Reply::json(status, body))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_says_how_browsers_may_take_it() {
        for (origin, expected) in [("https://a.example", Some("max-age=31536000")), ("http://127.0.0.1:8787", None)] {
            for reply in [Reply::json(200, "{}".to_owned()), Reply { headers: Vec::new(), ..Reply::json(200, "{}".to_owned()) }] {
                let reply = secured(reply, origin);
                let values = |name: &str| -> Vec<&str> {
                    reply.headers.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_str()).collect()
                };
                assert_eq!(values("x-content-type-options"), ["nosniff"], "once");
                assert_eq!(values("strict-transport-security").first().copied(), expected, "{origin}");
            }
        }
    }
}
