//! An idempotency key that was taken, by which request, and what came of that.
//!
//! What always holds: one request has the key at a time, and those who had it before are remembered, within a bound.

use serde::{Deserialize, Serialize};

use super::outcome::RequestStatus;
use crate::id::RequestId;
use crate::time::Timestamp;

/// How long an idempotency key is kept, in milliseconds.
pub const CLAIM_MS: i64 = 24 * 3600 * 1000;
/// So many earlier holders of an idempotency key are remembered.
const MOST_REPLACED: usize = 20;
/// An answer longer than this is not kept for replays: a stored value has at most 2 MB.
const LONGEST_KEPT_BODY: usize = 1_000_000;

/// An idempotency key that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The hash of the caller's idempotency key and API key.
    pub id: String,
    /// The hash of the body that it came with.
    pub fingerprint: String,
    /// The request that took it.
    pub request: RequestId,
    /// When.
    pub at: Timestamp,
    /// Whether that request is over.
    pub is_closed: bool,
    /// Whether it ended without a charge and without its settlement: others may take the key, but the settlement may still
    /// come.
    #[serde(default)]
    pub is_released: bool,
    /// The requests that had it before, and were released.
    #[serde(default)]
    pub replaces: Vec<RequestId>,
    /// How it ended.
    #[serde(default)]
    pub status: Option<RequestStatus>,
    /// Its answer.
    pub body: Option<String>,
}

impl Claim {
    /// Those who had the key before `request`, the latest last.
    pub(in crate::account) fn those_before(&self, request: &RequestId) -> Vec<RequestId> {
        let earlier = self.replaces.iter().chain([&self.request]).filter(|earlier| *earlier != request);
        let mut earlier: Vec<RequestId> = earlier.cloned().collect();
        let surplus = earlier.len().saturating_sub(MOST_REPLACED);
        earlier.drain(..surplus);
        earlier
    }

    pub(in crate::account) fn is_kept(&self, now: Timestamp) -> bool {
        now < self.at.plus(CLAIM_MS)
    }
}

/// An answer as it is kept for replays; none if it is too long.
pub fn replayable(body: Option<String>) -> Option<String> {
    body.filter(|body| body.len() <= LONGEST_KEPT_BODY)
}
