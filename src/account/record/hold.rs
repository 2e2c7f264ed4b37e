//! The hold: an amount set aside for one request, and what was relayed while it is open.
//!
//! What always holds: a request has at most one open hold, on one bucket; it has a deadline, and carries all that is needed to
//! end it without its caller.

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::facts::Facts;
use super::outcome::Served;
use crate::id::{BucketId, KeyId, ProjectId, RequestId, RunId};
use crate::money::Money;
use crate::time::Timestamp;
use crate::usage::Usage;

/// An amount set aside for one request, while it is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The request.
    pub request: RequestId,
    /// Which hold of the request; a crossing to another bucket is the next.
    pub leg: u32,
    /// The key that asked.
    pub key: KeyId,
    /// Its project.
    pub project: ProjectId,
    /// The balance.
    pub bucket: BucketId,
    /// How much.
    pub amount: Money,
    /// When it was granted.
    pub opened_at: Timestamp,
    /// When it ends by itself.
    pub deadline: Timestamp,
    /// The idempotency claim of the request.
    pub claim: Option<String>,
    /// How many tokens it may use, as far as a limit on tokens counts them beforehand.
    #[serde(default)]
    pub tokens: u64,
    /// What is known of the request.
    pub facts: Facts,
    /// What was relayed so far.
    pub checkpoint: Option<Checkpoint>,
}

/// What a long stream relayed so far: what its hold captures if nobody settles it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Who answers.
    pub served: Served,
    /// The attempts so far.
    pub attempts: Vec<Attempt>,
    /// What was used so far, estimated.
    pub usage: Usage,
}

/// Open holds of one key and run on one bucket, summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldSum {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: KeyId,
    /// Its project.
    pub project: ProjectId,
    /// The run.
    pub run: Option<RunId>,
    /// What is set aside.
    pub amount: Money,
    /// For how many requests.
    pub count: u32,
    /// How many tokens these may use.
    pub tokens: u64,
}
