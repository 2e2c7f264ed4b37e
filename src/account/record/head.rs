//! Where the journal stands: its newest row, with the balances and debts after it.
//!
//! What always holds: rows are numbered from 1 without a gap, and a balance is the sum of the journal's amounts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::BucketId;
use crate::money::Money;
use crate::time::Timestamp;

/// The balance of every bucket.
pub type Balances = BTreeMap<BucketId, Money>;

/// The newest journal row's number, and the balances and debts after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JournalHead {
    /// Rows are numbered from 1 without a gap; 0 is before the first.
    pub seq: u64,
    /// When it was decided.
    #[serde(default)]
    pub at: Timestamp,
    /// The balances.
    pub balances: Balances,
    /// What is owed: refunds that were larger than what was left.
    #[serde(default)]
    pub debts: Balances,
}
