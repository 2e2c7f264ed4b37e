//! The wait of a request whose balance is enough, but set aside by others of the account: it asks again until they give back
//! what they do not use.
//!
//! What always holds: who waits has nothing set aside, and a receipt if its client leaves; a wait ends.
//! Deliberately absent: an order among those that wait. The account decides on each as it asks.

use super::guard::{LEFT, client_left};
use super::prepared::Prepared;
use super::quote::Leg;
use super::retry::retried;
use crate::account::{Facts, Outcome, RequestStatus};
use crate::ports::Ports;
use crate::refusal::Refusal;

/// It asks again so often, 30 seconds in all: most answers are complete by then, and clients still listen.
const TIMES: u32 = 23;
/// The first time after so many milliseconds, then after twice as many, up to the longest pause. Each is made up to a half
/// longer or shorter, so that those who wait do not all ask at once.
const FIRST_MS: u32 = 100;
const LONGEST_MS: u32 = 1_500;

/// A request that may wait.
pub struct Queue<P: Ports> {
    ports: P,
    /// What is known of it; none once its end is somebody else's.
    facts: Option<Facts>,
    /// How often it asked, and how often it may.
    asked: u32,
    times: u32,
}

impl<P: Ports> Queue<P> {
    /// Nobody yet.
    pub fn new(ports: &P) -> Self {
        Self { ports: ports.clone(), facts: None, asked: 0, times: 0 }
    }

    /// A request whose limit is fitted may wait; any other is refused at once, as it was asked for exactly as it is.
    pub fn enter(&mut self, prepared: &Prepared<'_>) {
        let waits = prepared.legs.iter().any(Leg::is_fitting);
        self.times = if waits { TIMES } else { 0 };
        self.facts = waits.then(|| prepared.facts.clone());
    }

    /// Whether it would ask once more.
    pub fn may_wait(&self) -> bool {
        self.asked < self.times
    }

    /// How often it waited.
    pub fn waited(&self) -> u32 {
        self.asked
    }

    /// Waits until it asks once more.
    pub async fn wait(&mut self) {
        let pause_ms = FIRST_MS.saturating_mul(2_u32.saturating_pow(self.asked)).min(LONGEST_MS);
        self.asked = self.asked.saturating_add(1);
        let more = u32::try_from(self.ports.random() % u128::from(pause_ms)).unwrap_or(0);
        self.ports.sleep((pause_ms / 2).saturating_add(more)).await;
    }

    /// Its end is written elsewhere.
    pub fn leave(&mut self) {
        self.facts = None;
    }
}

impl<P: Ports> Drop for Queue<P> {
    /// The client left. Where a hold was granted meanwhile, its settlement writes the receipt, and this changes nothing.
    fn drop(&mut self) {
        let Some(facts) = self.facts.take() else { return };
        let latency_ms = self.ports.now().since(facts.created_at);
        let unserved = Outcome::unserved(RequestStatus::Aborted, Vec::new(), &Refusal::unavailable(""), latency_ms);
        let outcome = Outcome { error: Some(client_left()), next_step: Some(LEFT.to_owned()), ..unserved };
        let outside = self.ports.clone();
        self.ports.spawn(async move {
            let account = facts.account.clone();
            retried(&outside, "record that the client left", || outside.record_refused(&account, facts.clone(), outcome.clone()))
                .await;
        });
    }
}
