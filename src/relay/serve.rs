//! One request, start to finish: identify the caller and read the envelope, then let it be attended to.
//!
//! What always holds: nothing of a body is read before its sender is known; every request with a valid key ends in one settlement
//! or one record of its refusal, on every way out.

use futures_util::future::join3;

use super::attend::{attend, refuse};
use super::caller::{known_key, let_in, presented};
use super::early::Early;
use super::head::Incoming;
use super::kept::resolved;
use super::prepared::Preparing;
use super::reply::{Reply, refusal_reply};
use crate::body::{Arriving, BodyRoom};
use crate::id::{AccountId, RequestId};
use crate::ports::Ports;

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
    let (key, catalog) = match (key, catalog.map_err(crate::refusal::Refusal::from)) {
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
pub fn place_of<P: Ports>(ports: &P, account: &AccountId) -> BodyRoom {
    BodyRoom::of(account.as_str(), ports.is_earning(account))
}
