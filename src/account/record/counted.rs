//! What a request used and cost, as its key, project and run count it.
//!
//! What always holds: a receipt is counted once; a correction counts the difference to it, and has no receipt of its own.

use super::receipt::Receipt;
use crate::catalog::RouteKind;
use crate::id::BucketId;
use crate::money::Money;
use crate::usage::Usage;

/// What a request used and cost, as its key, project and run count it.
pub struct Counted<'a> {
    pub tokens: u64,
    /// Below zero is given back.
    pub charge: Option<(&'a BucketId, Money)>,
    pub receipt: Option<&'a Receipt>,
    /// What a correction counts.
    pub corrected: Option<Corrected>,
}

/// What a correction counts instead of what, on the line of a run that the lost request was counted on.
pub struct Corrected {
    pub model: String,
    pub route: Option<RouteKind>,
    pub bucket: BucketId,
    pub usage: Usage,
    pub before: Usage,
}
