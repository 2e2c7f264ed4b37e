//! The rounds of a prepared request: hold for each leg, and attempt in order what the hold covers, until somebody answers.
//!
//! What always holds: nothing goes upstream before its hold is granted; nothing is tried again once somebody has answered; what was
//! held is settled on every way out. There is another round only while a balance is enough and others hold it.

use super::attempt::{Tried, attempt, resting, uncovered};
use super::failure::{self, Failure, telling};
use super::gate;
use super::guard::{Opening, SettlementGuard};
use super::hold::{NotGranted, hold};
use super::kept::Keeper;
use super::prepared::Prepared;
use super::quote::Leg;
use super::remedy::with_remedy;
use super::reply::{Reply, refusal_reply};
use super::wait::Queue;
use crate::account::{Facts, HoldRequest, RateLimits, Replay};
use crate::key::KeyRecord;
use crate::ports::Ports;
use crate::refusal::{Code, Refusal};

/// What became of a prepared request.
pub enum Ran {
    Reply(Box<Reply>),
    /// The account knows another version of the key.
    Stale(Box<KeyRecord>),
}

impl From<Reply> for Ran {
    fn from(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

/// Runs a prepared request, in as many rounds as it may wait for its balance.
pub async fn run<P: Ports>(
    ports: &P,
    prepared: &Prepared<'_>,
    (key, idempotency): (&KeyRecord, Option<(String, String)>),
    queue: &mut Queue<P>,
) -> Ran {
    let opening = Opening {
        upstream_cut: prepared.catalog.upstream_cut,
        hold_timeout_ms: prepared.catalog.hold_timeout_ms,
        keeps_body: idempotency.is_some(),
        keeper: prepared.head.credential.as_deref().filter(|_| prepared.request.envelope.keeps).and_then(Keeper::new),
        resting: resting(prepared, ports.now()),
        dialect: prepared.request.endpoint.dialect(),
    };
    loop {
        let may_wait = queue.may_wait();
        let mut round = Round { prepared, key, idempotency: &idempotency, opening: &opening, may_wait, is_in_flight: false };
        match round.run(ports).await {
            Ended::Ran(ran) => return ran,
            Ended::InFlight => queue.wait().await,
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
        let mut guard: Option<SettlementGuard<P>> = None;
        let mut failures: Vec<Vec<Failure>> = Vec::new();
        let mut refused: Option<(Refusal, RateLimits)> = None;
        for (index, leg) in prepared.legs.iter().enumerate() {
            let request = self.hold_of(index, leg, guard.as_ref());
            match hold(ports, &mut guard, self.opening, request).await {
                Ok(None) => {}
                Ok(Some(NotGranted::Stale(current))) if guard.is_none() => return Ran::Stale(current).into(),
                Ok(Some(NotGranted::Stale(_))) => break,
                Ok(Some(NotGranted::Replayed(replay))) => return Ran::from(replayed(prepared, replay)).into(),
                Ok(Some(NotGranted::Refused(refusal, rates))) => {
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
                    refused = Some((error.into(), RateLimits::default()));
                    self.is_in_flight = false;
                    break;
                }
            }
            let Some(guard) = guard.as_mut() else { break };
            prepared.open_early(guard.rates);
            guard.skip(uncovered(leg, guard.hold, ports.now()));
            for quoted in leg.within(guard.hold).iter() {
                match attempt(guard, prepared, quoted).await {
                    Tried::Answered(reply) => {
                        if !prepared.request.endpoint.is_free() {
                            ports.granted(self.key);
                        }
                        return Ran::Reply(reply).into();
                    }
                    Tried::Rejected(refusal) => {
                        gate::refused(ports, self.key, &refusal);
                        return Ran::from(guard.fail(prepared, &refusal)).into();
                    }
                    Tried::Failed(failed) => failures.push(failed),
                }
            }
        }
        match guard {
            None if self.is_in_flight && self.may_wait => Ended::InFlight,
            None => Ran::from(untried(ports, (self.key, prepared), refused)).into(),
            Some(guard) => Ran::from(nobody_answered(prepared, guard, &failures, refused)).into(),
        }
    }

    /// The hold of a leg. Only the first that is granted can be waited for.
    fn hold_of<P: Ports>(&self, index: usize, leg: &Leg, guard: Option<&SettlementGuard<P>>) -> HoldRequest {
        let waits = self.may_wait && guard.is_none();
        let promised = guard.and_then(|guard| guard.promise.clone());
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
fn untried<P: Ports>(ports: &P, (key, prepared): (&KeyRecord, &Prepared<'_>), refused: Option<(Refusal, RateLimits)>) -> Reply {
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
    mut guard: SettlementGuard<P>,
    failures: &[Vec<Failure>],
    refused: Option<(Refusal, RateLimits)>,
) -> Reply {
    let refused = refused.map(|(refusal, _)| refusal);
    let refusal = failure::nobody_answered(failures, refused.as_ref(), &guard.attempts, &prepared.catalog);
    let telling = failures.last().and_then(|failures| telling(failures));
    let failure = telling.map(|failure| (failure.kind, failure.message.clone()));
    Reply { failure, ..guard.fail(prepared, &refusal) }
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
