//! A credit or a debit by the operator: as it is asked for, and as it stands in the ledger.
//!
//! What always holds: both say who and why; equal ids are one adjustment.

use serde::{Deserialize, Serialize};

use crate::id::BucketId;
use crate::money::Money;

/// A credit or a debit that the operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Adjustment {
    /// Equal ids are one adjustment.
    pub id: String,
    /// Which balance.
    pub bucket: BucketId,
    /// By how much; below zero is a debit.
    pub amount: Money,
    /// Why.
    pub reason: String,
    /// By whom.
    pub author: String,
    /// For whom, as the client says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What the customer is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A credit or a debit as it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdjustmentRecord {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
    /// By whom.
    pub author: String,
    /// For whom, as the client says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What the customer is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
