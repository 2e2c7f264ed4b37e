//! A request whose caller is known: plan, then run, until somebody has answered or it is clear that nobody does.
//!
//! What always holds: a plan that was made with an outdated key is made anew with the current one, a few times and no more; what is
//! refused before any hold has its receipt.

use super::gate;
use super::prepare::prepare;
use super::prepared::Preparing;
use super::reply::{Reply, refusal_reply};
use super::retry::retried;
use super::round::{Ran, run};
use super::wait::Queue;
use crate::account::{Facts, Outcome, RequestStatus};
use crate::catalog::Dialect;
use crate::dialect::EndpointPath;
use crate::id::{SecretName, sha256_hex};
use crate::key::KeyRecord;
use crate::ports::Ports;
use crate::refusal::{Code, Refusal};

/// How often a plan is made anew because the key is another by now.
const MOST_STALE: u32 = 3;

/// Prepares and runs. When the plan was made with an outdated key, once more with the current one.
pub async fn attend<P: Ports>(ports: P, preparing: Preparing, mut key: KeyRecord, body: &[u8]) -> Reply {
    let dialect = preparing.called.endpoint.dialect();
    let signers = |secret: &SecretName| ports.signer(secret);
    let mut queue = Queue::new(&ports);
    // Each wait is long enough for the key to change once more.
    let mut stale: u32 = 0;
    while stale < MOST_STALE.saturating_add(queue.waited()) {
        let prepared = match prepare(&preparing, &key, body, ports.now(), &signers) {
            Ok(prepared) => prepared,
            Err(refusal) => match current_key(&ports, &key, &refusal).await {
                Some(current) => {
                    key = current;
                    stale = stale.saturating_add(1);
                    continue;
                }
                None => {
                    queue.leave();
                    return refuse(&ports, (&key, preparing.facts(&key, Some(body))), &refusal, dialect);
                }
            },
        };
        queue.enter(&prepared);
        let idempotency = preparing.head.idempotency_key.as_ref().map(|text| {
            let claim = sha256_hex(&[key.id.as_str().as_bytes(), b"\n", text.as_bytes()]);
            let EndpointPath { endpoint, model, stream } = &preparing.called;
            // What the path says is a part of the request.
            let asked = match model {
                Some(model) => format!("{}\n{model}\n{stream}", endpoint.name()),
                None => endpoint.name().to_owned(),
            };
            (claim, sha256_hex(&[asked.as_bytes(), b"\n", body]))
        });
        match run(&ports, &prepared, (&key, idempotency), &mut queue).await {
            Ran::Reply(reply) => {
                queue.leave();
                return *reply;
            }
            Ran::Stale(current) => {
                key = *current;
                stale = stale.saturating_add(1);
            }
        }
    }
    queue.leave();
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

/// Answers a refusal that comes before any hold, and writes its receipt behind the answer.
pub fn refuse<P: Ports>(ports: &P, (key, facts): (&KeyRecord, Facts), refusal: &Refusal, dialect: Dialect) -> Reply {
    gate::refused(ports, key, refusal);
    let reply = refusal_reply(refusal, &facts.request, true, dialect).asked(&facts.requested_model);
    let reply = reply.untried(ports.now().since(facts.created_at));
    let outcome = Outcome::unserved(RequestStatus::Refused, Vec::new(), refusal, ports.now().since(facts.created_at));
    let outside = ports.clone();
    ports.spawn(async move {
        let account = facts.account.clone();
        retried(&outside, "record a refusal", || outside.record_refused(&account, facts.clone(), outcome.clone())).await;
    });
    reply
}
