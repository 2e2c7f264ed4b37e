//! What adds to a balance: a paid order, as it stands in the ledger, and a redeem code.
//!
//! What always holds: a code is known by its hash alone, and that makes a second use impossible.

use serde::{Deserialize, Serialize};

use crate::id::OrderId;

/// A paid order in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUp {
    /// The order.
    pub order: OrderId,
    /// Why it was credited.
    pub reason: String,
    /// Who said that it is paid.
    pub author: String,
    /// For whom, as the client says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What the customer is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A redeem code, as an account is told to credit it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// The SHA-256 of the code, in hex.
    pub hash: String,
    /// The code's id, which is no secret.
    pub id: String,
    /// Why the code was given out.
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

impl Redemption {
    /// What makes a second use impossible.
    pub fn subject(&self) -> String {
        format!("code-{}", self.hash)
    }
}
