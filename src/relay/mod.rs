//! The relay: one request, start to finish.
//!
//! Identify the caller and read the envelope; plan; hold; attempt in order until one answers; pass the answer on; settle.
//!
//! What always holds: nothing goes upstream before its hold is granted; nothing is tried again once a byte has reached the
//! client; every request with a valid key ends in one settlement or one record of its refusal, on every way out, including
//! the one on which the client just leaves.

mod answer;
mod attempt;
mod caller;
mod early;
mod elsewhere;
mod flow;
pub mod gate;
mod kept;
mod owned;
mod prepare;
mod quote;
mod remedy;
mod reply;
mod retry;
pub mod socket;
mod ticket;
mod verdict;
mod wait;

use std::net::IpAddr;

use futures_util::future::join3;

pub use crate::dialect::discreet::without_credential;
pub use attempt::NO_ROOM;
pub use caller::{Misplaced, check_site, presented};
pub use early::Early;
pub use kept::resolved;
pub use prepare::{Head, Prepared, Preparing, Sealers, check_idempotency_key, prepare};
pub use quote::{Leg, Quoted};
pub use remedy::with_remedy;
pub use reply::{Reply, ReplyBody, refusal_reply};

use crate::account::{Facts, HoldAnswer, HoldRequest, Outcome, Rates, Replay, Status};
use crate::body::{Arriving, Place};
use crate::catalog::Dialect;
use crate::dialect::Called;
use crate::id::{AccountId, KeyHash, KeySecret, RequestId, SecretName, sha256_hex};
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::ports::{Ports, Unavailable};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use attempt::{Failure, Tried};
use ticket::{First, Opening, Ticket};
use wait::Line;

/// A request with its head read, and its body still on the way.
pub struct Incoming<B> {
    /// What was called.
    pub called: Called,
    /// What its head says.
    pub head: Head,
    /// The body.
    pub body: B,
}

/// Serves a request to a model.
pub async fn serve<P: Ports>(ports: P, incoming: Incoming<impl Arriving + 'static>) -> Reply {
    let early = Early::default();
    let answer = Box::pin(answer(ports.clone(), incoming, early.clone()));
    early.watch(ports, answer).await
}

async fn answer<P: Ports>(ports: P, incoming: Incoming<impl Arriving>, early: Early) -> Reply {
    let arrived = ports.now();
    let request = RequestId::new(arrived, ports.random());
    let dialect = incoming.called.endpoint.dialect();
    let hash = match presented(&incoming.head) {
        Ok(hash) => hash,
        Err(refusal) => return refusal_reply(&refusal, &request, false, dialect),
    };
    let who = (&hash, incoming.head.address);
    let (key, catalog, health) = join3(known_key(&ports, who, arrived), ports.catalog(), ports.health()).await;
    let key = match key {
        Ok(key) => let_in(&ports, &incoming.called, &key).await.map(|()| key),
        Err(refusal) => Err(refusal),
    };
    let (key, catalog) = match (key, catalog.map_err(unavailable)) {
        (Ok(key), Ok(catalog)) => (key, catalog),
        (Err(refusal), _) | (_, Err(refusal)) => {
            if let Some(detail) = &refusal.detail {
                ports.log(&format!("{request}: {detail}"));
            }
            return refusal_reply(&refusal, &request, false, dialect);
        }
    };
    let preparing = Preparing { request, arrived, called: incoming.called, head: incoming.head, catalog, health, early };
    // Nothing of it is read before its sender is known.
    match incoming.body.within(place_of(&ports, &key.account)).await {
        Ok(body) => match resolved(&ports, (&preparing.called, &preparing.head), &key, &body).await {
            Ok(body) => attend(ports, preparing, key, &body).await,
            Err(refusal) => refuse(&ports, (&key, preparing.facts(&key, Some(&body))), &refusal, dialect),
        },
        Err(refusal) => refuse(&ports, (&key, preparing.facts(&key, None)), &refusal, dialect),
    }
}

/// The room that bodies of an account take.
pub fn place_of<P: Ports>(ports: &P, account: &AccountId) -> Place {
    Place::of(account.as_str(), ports.is_earning(account))
}

/// Errors where a key has had too much of what costs it nothing.
async fn let_in<P: Ports>(ports: &P, called: &Called, key: &KeyRecord) -> Result<(), Refusal> {
    gate::open(ports, Gate::Refused, key.id.as_str())?;
    if called.endpoint.is_free() { gate::pass(ports, Gate::Free, key.id.as_str()).await } else { Ok(()) }
}

/// The hash of a credential that may be one of our keys.
pub fn credential_hash(credential: Option<&str>) -> Result<KeyHash, Refusal> {
    let credential = credential.ok_or_else(caller::no_key)?;
    KeySecret::parse(credential).map(|secret| secret.hash()).ok_or_else(|| caller::not_a_key(credential))
}

/// The key of a hash, if it still works. Who comes with keys that nobody has is counted by address.
pub async fn known_key<P: Ports>(
    ports: &P,
    (hash, address): (&KeyHash, Option<IpAddr>),
    now: Timestamp,
) -> Result<KeyRecord, Refusal> {
    let is_remembered = ports.remembers(hash);
    if !is_remembered {
        gate::open(ports, Gate::Stranger, &gate::by_address(address))?;
    }
    match ports.key(hash).await.map_err(unavailable)? {
        None if !is_remembered => Err(gate::missed(ports, Gate::Stranger, &gate::by_address(address), caller::unknown()).await),
        key => valid_key(key, now),
    }
}

/// The record of a key that is neither unknown, revoked nor expired. The account object has the last word on each request.
pub fn valid_key(key: Option<KeyRecord>, now: Timestamp) -> Result<KeyRecord, Refusal> {
    let key = key.ok_or_else(caller::unknown)?;
    let ended = match (key.revoked_at, key.policy.expires_at) {
        (Some(at), _) => Some(format!("This API key was revoked at {at}.")),
        (None, Some(at)) if key.policy.is_expired(now) => Some(format!("This API key expired at {at}.")),
        _ => None,
    };
    match ended {
        Some(message) => Err(Refusal::new(Code::InvalidApiKey, message, "Use another key, or create one.")),
        None => Ok(key),
    }
}

/// Our own records did not answer.
pub fn unavailable(Unavailable(detail): Unavailable) -> Refusal {
    if detail == Unavailable::NO_CATALOG {
        let message = "No catalogue has been published yet, so nothing can be called.";
        return Refusal::new(Code::Unavailable, message, "The operator publishes one with PUT /admin/v1/catalog.")
            .retry_after(60);
    }
    Refusal::unavailable(detail)
}

/// Answers a refusal that comes before any hold, and writes its receipt behind the answer.
fn refuse<P: Ports>(ports: &P, (key, facts): (&KeyRecord, Facts), refusal: &Refusal, dialect: Dialect) -> Reply {
    gate::refused(ports, key, refusal);
    let reply = refusal_reply(refusal, &facts.request, true, dialect).asked(&facts.requested_model);
    let reply = reply.untried(ports.now().since(facts.created_at));
    let outcome = Outcome::unserved(Status::Refused, Vec::new(), refusal, ports.now().since(facts.created_at));
    let outside = ports.clone();
    ports.spawn(async move {
        let account = facts.account.clone();
        retry::retried(&outside, "record a refusal", || outside.record_refused(&account, facts.clone(), outcome.clone())).await;
    });
    reply
}

/// How often a plan is made anew because the key is another by now.
const MOST_STALE: u32 = 3;

/// Prepares and runs. When the plan was made with an outdated key, once more with the current one.
pub async fn attend<P: Ports>(ports: P, preparing: Preparing, mut key: KeyRecord, body: &[u8]) -> Reply {
    let dialect = preparing.called.endpoint.dialect();
    let sealers = |secret: &SecretName| ports.sealer(secret);
    let mut line = Line::new(&ports);
    // Each wait is long enough for the key to change once more.
    let mut stale: u32 = 0;
    while stale < MOST_STALE.saturating_add(line.waited()) {
        let prepared = match prepare(&preparing, &key, body, ports.now(), &sealers) {
            Ok(prepared) => prepared,
            Err(refusal) => match current_key(&ports, &key, &refusal).await {
                Some(current) => {
                    key = current;
                    stale = stale.saturating_add(1);
                    continue;
                }
                None => {
                    line.leave();
                    return refuse(&ports, (&key, preparing.facts(&key, Some(body))), &refusal, dialect);
                }
            },
        };
        line.enter(&prepared);
        let idempotency = preparing.head.idempotency_key.as_ref().map(|text| {
            let claim = sha256_hex(&[key.id.as_str().as_bytes(), b"\n", text.as_bytes()]);
            let Called { endpoint, model, stream } = &preparing.called;
            // What the path says is a part of the request.
            let asked = match model {
                Some(model) => format!("{}\n{model}\n{stream}", endpoint.name()),
                None => endpoint.name().to_owned(),
            };
            (claim, sha256_hex(&[asked.as_bytes(), b"\n", body]))
        });
        match run(&ports, &prepared, (&key, idempotency), &mut line).await {
            Ran::Reply(reply) => {
                line.leave();
                return *reply;
            }
            Ran::Stale(current) => {
                key = *current;
                stale = stale.saturating_add(1);
            }
        }
    }
    line.leave();
    let message = "The key was changed again and again while the request was prepared. Nothing was sent upstream.";
    let refusal = Refusal::new(Code::Unavailable, message, "Send the request again in a few seconds.").retry_after(2);
    refuse(&ports, (&key, preparing.facts(&key, Some(body))), &refusal, dialect)
}

/// The key as the account knows it, where it is another than the copy that a refusal came from.
async fn current_key<P: Ports>(ports: &P, key: &KeyRecord, refusal: &Refusal) -> Option<KeyRecord> {
    let is_of_policy =
        matches!(refusal.code, Code::ModelNotAllowed | Code::RouteNotAllowed | Code::IpNotAllowed | Code::OriginNotAllowed);
    if !is_of_policy {
        return None;
    }
    let current = ports.current_key(key).await.ok().flatten();
    current.filter(|current| current.version != key.version && current.revoked_at.is_none())
}

enum Ran {
    Reply(Box<Reply>),
    /// The account knows another version of the key.
    Stale(Box<KeyRecord>),
}

impl From<Reply> for Ran {
    fn from(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

async fn run<P: Ports>(
    ports: &P,
    prepared: &Prepared<'_>,
    (key, idempotency): (&KeyRecord, Option<(String, String)>),
    line: &mut Line<P>,
) -> Ran {
    let opening = Opening {
        upstream_cut: prepared.catalog.upstream_cut,
        hold_timeout_ms: prepared.catalog.hold_timeout_ms,
        keeps_body: idempotency.is_some(),
        keeper: prepared.head.credential.as_deref().filter(|_| prepared.request.envelope.keeps).and_then(kept::Keeper::new),
        resting: attempt::resting(prepared, ports.now()),
        dialect: prepared.request.endpoint.dialect(),
    };
    loop {
        let may_wait = line.may_wait();
        let mut round = Round { prepared, key, idempotency: &idempotency, opening: &opening, may_wait, is_in_flight: false };
        match round.run(ports).await {
            Ended::Ran(ran) => return ran,
            Ended::InFlight => line.wait().await,
        }
    }
}

/// One go at all legs of a request.
struct Round<'a> {
    prepared: &'a Prepared<'a>,
    key: &'a KeyRecord,
    idempotency: &'a Option<(String, String)>,
    opening: &'a Opening,
    /// Whether there is another round, should a balance only be in flight.
    may_wait: bool,
    /// Whether one was.
    is_in_flight: bool,
}

enum Ended {
    Ran(Ran),
    /// Nothing was held, because other requests of the account hold what is left.
    InFlight,
}

impl From<Ran> for Ended {
    fn from(ran: Ran) -> Self {
        Self::Ran(ran)
    }
}

impl Round<'_> {
    async fn run<P: Ports>(&mut self, ports: &P) -> Ended {
        let prepared = self.prepared;
        let mut ticket: Option<Ticket<P>> = None;
        let mut failures: Vec<Vec<Failure>> = Vec::new();
        let mut refused: Option<(Refusal, Rates)> = None;
        for (index, leg) in prepared.legs.iter().enumerate() {
            let request = self.hold_of(index, leg, ticket.as_ref());
            match ask(ports, &mut ticket, self.opening, request).await {
                Ok(None) => {}
                Ok(Some(Held::Stale(current))) if ticket.is_none() => return Ran::Stale(current).into(),
                Ok(Some(Held::Stale(_))) => break,
                Ok(Some(Held::Replayed(replay))) => return Ran::from(replayed(prepared, replay)).into(),
                Ok(Some(Held::Refused(refusal, rates))) => {
                    let is_final = !refusal.code.is_about_one_bucket();
                    self.is_in_flight |= refusal.in_flight;
                    refused = Some((with_remedy(*refusal, prepared.remedies(), leg), rates));
                    if is_final {
                        self.is_in_flight = false;
                        break;
                    }
                    continue;
                }
                Err(error) => {
                    ports.log(&format!("hold: {}", error.0));
                    refused = Some((unavailable(error), Rates::default()));
                    self.is_in_flight = false;
                    break;
                }
            }
            let Some(ticket) = ticket.as_mut() else { break };
            prepared.early.open(prepared, ticket.rates);
            ticket.skip(attempt::uncovered(leg, ticket.hold, ports.now()));
            for quoted in leg.within(ticket.hold).iter() {
                match attempt::attempt(ticket, prepared, quoted).await {
                    Tried::Answered(reply) => {
                        if !prepared.request.endpoint.is_free() {
                            ports.granted(self.key);
                        }
                        return Ran::Reply(reply).into();
                    }
                    Tried::Rejected(refusal) => {
                        gate::refused(ports, self.key, &refusal);
                        return Ran::from(ticket.fail(prepared, &refusal)).into();
                    }
                    Tried::Failed(failed) => failures.push(failed),
                }
            }
        }
        match ticket {
            None if self.is_in_flight && self.may_wait => Ended::InFlight,
            None => Ran::from(untried(ports, (self.key, prepared), refused)).into(),
            Some(ticket) => Ran::from(nobody_answered(prepared, ticket, &failures, refused)).into(),
        }
    }

    /// The hold of a leg. Only the first that is granted can be waited for.
    fn hold_of<P: Ports>(&self, index: usize, leg: &Leg, ticket: Option<&Ticket<P>>) -> HoldRequest {
        let waits = self.may_wait && ticket.is_none();
        let promised = ticket.and_then(|ticket| ticket.promise.clone());
        let promise = promised.or_else(|| leg.attempts.iter().find_map(|quoted| self.prepared.promise(&quoted.planned)));
        let is_last = index == self.prepared.legs.len().saturating_sub(1);
        HoldRequest {
            leg: u32::try_from(index).unwrap_or(u32::MAX),
            key_version: self.key.version,
            bucket: leg.bucket.clone(),
            amount: leg.quote,
            least: Some(leg.least).filter(|_| leg.is_fitting()),
            currency: leg.currency.clone(),
            waits,
            timeout_ms: self.prepared.catalog.hold_timeout_ms,
            tokens: leg.tokens,
            idempotency: self.idempotency.clone(),
            is_last: is_last && !(waits && self.is_in_flight),
            facts: Facts { promise, ..self.prepared.facts.clone() },
        }
    }
}

/// Nothing was held, so nothing was tried: the account has written the receipt, or does not answer at all.
fn untried<P: Ports>(ports: &P, (key, prepared): (&KeyRecord, &Prepared<'_>), refused: Option<(Refusal, Rates)>) -> Reply {
    let dialect = prepared.request.endpoint.dialect();
    let Some((refusal, rates)) = refused else {
        return refusal_reply(&Refusal::unavailable("a plan without legs"), &prepared.facts.request, false, dialect);
    };
    gate::refused(ports, key, &refusal);
    let has_receipt = !matches!(refusal.code, Code::InvalidApiKey | Code::Unavailable);
    let reply = refusal_reply(&refusal, &prepared.facts.request, has_receipt, dialect).asked(&prepared.facts.requested_model);
    reply.rates(&rates).untried(ports.now().since(prepared.facts.created_at))
}

/// Every attempt that was covered failed.
fn nobody_answered<P: Ports>(
    prepared: &Prepared<'_>,
    mut ticket: Ticket<P>,
    failures: &[Vec<Failure>],
    refused: Option<(Refusal, Rates)>,
) -> Reply {
    let refused = refused.map(|(refusal, _)| refusal);
    let refusal = attempt::nobody_answered(failures, refused.as_ref(), &ticket, &prepared.catalog);
    let telling = failures.last().and_then(|failures| attempt::telling(failures));
    let failure = telling.map(|failure| (failure.kind, failure.message.clone()));
    Reply { failure, ..ticket.fail(prepared, &refusal) }
}

/// An answer to a hold that is not a grant.
enum Held {
    Refused(Box<Refusal>, Rates),
    Stale(Box<KeyRecord>),
    Replayed(Replay),
}

/// Asks for a hold: the first of a request, which opens its ticket, or that of a crossing. None is a grant.
async fn ask<P: Ports>(
    ports: &P,
    ticket: &mut Option<Ticket<P>>,
    opening: &Opening,
    request: HoldRequest,
) -> Result<Option<Held>, Unavailable> {
    let answer = match ticket {
        Some(_) => ports.hold(&request.facts.account.clone(), request).await?,
        None => match Ticket::open(ports, opening.clone(), request).await? {
            First::Granted(opened) => {
                *ticket = Some(*opened);
                return Ok(None);
            }
            First::Other(answer) => *answer,
        },
    };
    Ok(match answer {
        HoldAnswer::Granted(granted) => {
            if let Some(ticket) = ticket {
                ticket.crossed(&granted);
            }
            None
        }
        HoldAnswer::Refused(refusal, rates) => Some(Held::Refused(Box::new(refusal), rates)),
        HoldAnswer::Stale(current) => Some(Held::Stale(current)),
        HoldAnswer::Replayed(replay) => Some(Held::Replayed(replay)),
    })
}

/// Answers what an earlier request with the same idempotency key answered. Of a stream, its receipt is the answer.
fn replayed(prepared: &Prepared<'_>, replay: Replay) -> Reply {
    let Replay { request, body } = replay;
    let is_kept = body.is_some();
    let mut reply = Reply::json(200, body.unwrap_or_else(|| serde_json::json!({"id": request}).to_string()));
    reply = reply.ids(&request).asked(&prepared.facts.requested_model).header("x-tf-replayed", "true");
    reply.replay_of = (!is_kept).then(|| (prepared.facts.account.clone(), request));
    reply
}
