//! Answers that are kept for a while, sealed, so that later requests can refer to the items in them.
//!
//! What always holds: an answer is kept in the transaction that settles its request, at most once, under the number of the
//! journal row that tells of it; the account has only the sealed text; nothing of it is a part of any sum; what is too old, or
//! beyond what an account has room for, is not read and soon gone.

use serde::{Deserialize, Serialize};

use super::books::{Event, Journaled};
use super::decide::Shelf;
use super::receipt::Status;
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

/// Keeps an answer beside the row of the journal that these events append for it. Only one that came to its end is ever
/// referred to.
pub(super) fn keep(events: &[Event], status: Status, sealed: Option<String>) -> Option<Event> {
    let sealed = sealed.filter(|sealed| status == Status::Completed && sealed.len() <= LONGEST_KEPT)?;
    events.iter().find_map(|event| match event {
        Event::Journaled(row) if matches!(row.journaled, Journaled::Receipt(_) | Journaled::Correction(_)) => {
            Some(Event::Kept(Box::new(KeptAnswer { seq: row.seq, at: row.at, sealed: sealed.clone() })))
        }
        _ => None,
    })
}

/// Forgets what was kept for long enough, and the oldest where there is no more room.
pub fn forget<S: Shelf>(shelf: &S, now: Timestamp) -> Result<Vec<Event>, S::Error> {
    let last = shelf.stale(now.plus(-KEPT_MS), MOST_KEPT)?;
    Ok(last.map(Event::Forgotten).into_iter().collect())
}
