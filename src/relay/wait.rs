//! The wait of a request whose balance is enough, but set aside by others of the account: it asks again until they give back
//! what they do not use.
//!
//! What always holds: who waits has nothing set aside, and a receipt if its client leaves; a wait ends.
//! Deliberately absent: an order among those that wait. The account decides on each as it asks.

use super::prepare::Prepared;
use super::ticket::{LEFT, client_left, retried};
use crate::account::{Facts, Outcome, Status};
use crate::ports::Ports;
use crate::refusal::Refusal;

/// After so many milliseconds it asks again, 30 seconds in all: most answers are complete by then, and clients still listen.
const PAUSES_MS: [u32; 7] = [250, 500, 1_000, 2_000, 4_000, 8_000, 14_250];

/// A request that may wait.
pub struct Line<P: Ports> {
    ports: P,
    /// What is known of it; none once its end is somebody else's.
    facts: Option<Facts>,
    pauses: std::slice::Iter<'static, u32>,
}

impl<P: Ports> Line<P> {
    /// A request whose limit is fitted waits; any other is refused at once, as it was asked for exactly as it is.
    pub fn new(ports: &P, prepared: &Prepared<'_>) -> Self {
        let waits = prepared.legs.iter().any(super::Leg::is_fitting);
        let pauses = if waits { PAUSES_MS.iter() } else { [].iter() };
        Self { ports: ports.clone(), facts: waits.then(|| prepared.facts.clone()), pauses }
    }

    /// Whether it would ask once more.
    pub fn may_wait(&self) -> bool {
        !self.pauses.as_slice().is_empty()
    }

    /// Waits until it asks once more.
    pub async fn wait(&mut self) {
        if let Some(pause_ms) = self.pauses.next() {
            self.ports.sleep(*pause_ms).await;
        }
    }

    /// Its end is written elsewhere.
    pub fn leave(mut self) {
        self.facts = None;
    }
}

impl<P: Ports> Drop for Line<P> {
    /// The client left. Where a hold was granted meanwhile, its settlement writes the receipt, and this changes nothing.
    fn drop(&mut self) {
        let Some(facts) = self.facts.take() else { return };
        let latency_ms = self.ports.now().since(facts.created_at);
        let unserved = Outcome::unserved(Status::Aborted, Vec::new(), &Refusal::unavailable(""), latency_ms);
        let outcome = Outcome { error: Some(client_left()), next_step: Some(LEFT.to_owned()), ..unserved };
        let outside = self.ports.clone();
        self.ports.spawn(async move {
            let account = facts.account.clone();
            retried(&outside, "record that the client left", || outside.record_refused(&account, facts.clone(), outcome.clone()))
                .await;
        });
    }
}
