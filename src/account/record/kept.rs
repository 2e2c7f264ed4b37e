//! An answer that is kept for a while, sealed, so that later requests can refer to the items in it.
//!
//! What always holds: the account has only the sealed text, under the number of the journal row that tells of its request.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How long an answer is kept, in milliseconds.
pub const KEPT_MS: i64 = 24 * 3600 * 1000;
/// How much later it is gone at the latest, in milliseconds: an account that is asleep is woken once for all that it has.
pub const SWEPT_AFTER_MS: i64 = 3600 * 1000;
/// A sealed answer longer than this is not kept, in bytes: a stored value has at most 2 MB.
pub const LONGEST_KEPT: usize = 1_900_000;
/// What one account has room for, in bytes; the oldest go first.
pub const MOST_KEPT: u64 = 256_000_000;
/// What one request can have of it, in bytes: four million letters, more than a context holds.
pub const MOST_READ: u64 = 8_000_000;

/// An answer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The number of the journal row that tells of its request.
    pub seq: u64,
    /// When it was settled.
    pub at: Timestamp,
    /// What only the holder of the key can read.
    pub sealed: String,
}

impl KeptAnswer {
    /// How long it is.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.sealed.len()).unwrap_or(u64::MAX)
    }
}

/// What an account has of an answer that a request refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeptItems {
    /// This.
    Sealed(String),
    /// Nothing yet: its request is still to be settled.
    Open,
}
