//! A payment that is given back: as it is asked for, as it stands in the ledger, and the debt that it may leave.
//!
//! What always holds: what was taken and what became a debt are together what went back.

use serde::{Deserialize, Serialize};

use crate::id::OrderId;
use crate::money::Money;

/// What happens with the part of a refund that the balance does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum IfUsed {
    /// The refund is refused.
    #[default]
    Block,
    /// It becomes a debt.
    Debt,
}

/// A payment that is to be given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundRequest {
    /// Equal ids are one refund.
    pub id: String,
    /// Of which order.
    pub order: OrderId,
    /// How much.
    pub amount: Money,
    /// What happens if it was used already.
    pub if_used: IfUsed,
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

/// A refund or reversal in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refund {
    /// Its id.
    pub id: String,
    /// The order whose money went back.
    pub order: OrderId,
    /// What that order had brought.
    pub order_amount: Money,
    /// How much went back; below zero it was credited again.
    pub amount: Money,
    /// What was already given back of the order before.
    pub refunded_before: Money,
    /// How much of what was left of the order had been used already.
    pub already_used: Money,
    /// What was taken from the balance.
    pub taken: Money,
    /// What became a debt.
    pub debt: Money,
    /// What is owed after it.
    pub debt_after: Money,
    /// `webhook` or `admin`.
    pub source: String,
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

/// A debt was paid, in part or whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebtPayment {
    /// Why.
    pub reason: String,
    /// What is still owed.
    pub debt_after: Money,
}

impl DebtPayment {
    pub(in crate::account) fn new(debt_after: Money) -> Self {
        Self { reason: "A refund was larger than what was left; what comes in pays it first.".to_owned(), debt_after }
    }
}
