//! What is said to an order: by the payment provider, when it takes it and later; by the operator, when it is in review.
//!
//! What always holds: a provider's message was verified before it becomes a [`PaymentEvent`], and equal ids are one message.

use serde::{Deserialize, Serialize};

use super::order::Provider;
use crate::id::OrderId;
use crate::money::Money;

/// What the provider answered when an order was handed to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandedOver {
    /// The customer can pay.
    Session {
        /// The provider's session.
        id: String,
        /// Where the customer pays.
        url: String,
    },
    /// It did not work.
    Failed {
        /// Why, for the customer.
        reason: String,
    },
}

/// A verified message of a payment provider about one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentEvent {
    /// The provider's id of the message; equal ids are one message.
    pub id: String,
    /// Such as `checkout.session.completed`.
    pub kind: String,
    /// Whose message.
    pub provider: Provider,
    /// The order that it is about.
    pub order: OrderId,
    /// The provider's session, where the message names it.
    pub session: Option<String>,
    /// The provider's payment, where the message names it.
    pub payment: Option<String>,
    /// What happened.
    pub change: PaymentChange,
}

/// What happened to a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentChange {
    /// The money is there.
    Paid {
        /// How much.
        amount: Money,
        /// In capitals.
        currency: String,
    },
    /// The customer is done, the money is still on its way.
    Processing,
    /// The customer did not pay in time.
    Expired,
    /// The payment failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// So much was refunded in all, earlier refunds included.
    Refunded {
        /// How much in all.
        total: Money,
        /// In capitals.
        currency: String,
    },
    /// The customer's bank took this back.
    Disputed {
        /// The provider's id of the dispute.
        dispute: String,
        /// How much.
        amount: Money,
        /// In capitals.
        currency: String,
    },
    /// The dispute was won.
    Reinstated {
        /// The provider's id of the dispute.
        dispute: String,
    },
}

/// What the operator decided about an order in review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Whether it is credited.
    pub is_approved: bool,
    /// How much is credited, if another amount than that of the order arrived.
    pub amount: Option<Money>,
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
