//! What is said of a request with a hold: that it ended, or that it still lives.
//!
//! What always holds: both name the request only; what it may cost is known from its hold.

use serde::{Deserialize, Serialize};

use super::hold::Checkpoint;
use super::outcome::Outcome;
use crate::id::RequestId;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Which request.
    pub request: RequestId,
    /// How it ended.
    pub outcome: Outcome,
    /// The plain answer, if the request had an idempotency key.
    pub body: Option<String>,
    /// The answer as it is kept for requests that refer to it, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// A long stream is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Which request.
    pub request: RequestId,
    /// What it relayed so far.
    pub checkpoint: Checkpoint,
    /// How long its hold lives from now, in milliseconds.
    pub timeout_ms: i64,
}
