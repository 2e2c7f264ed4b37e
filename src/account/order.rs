//! Top-ups: an order is pending, then paid, expired, failed, or in review; only paid creates balance. Refunds and reversals.
//!
//! What always holds: an order is credited at most once; what is given back of an order is never more than its amount; a
//! provider's message that comes twice, late or out of order ends in the same books, and is noted on the order.

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, BucketId, KeyId, OrderId};
use crate::money::Money;
use crate::time::Timestamp;

/// Who takes the money for a top-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Stripe Checkout, confirmed by its signed webhook.
    Stripe,
    /// A transfer outside of the gateway, confirmed by the operator.
    Manual,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Waits for its payment, for a short time.
    Pending,
    /// The operator approves or rejects it.
    InReview,
    /// Credited.
    Paid,
    /// Its time was over. A payment that comes later still counts.
    Expired,
    /// The payment failed, or the operator rejected it.
    Failed,
}

/// An order to add to one balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Whose.
    pub account: AccountId,
    /// The key that made it.
    pub key: KeyId,
    /// Which balance.
    pub bucket: BucketId,
    /// How much, in `currency`.
    pub amount: Money,
    /// The bucket's currency, such as `USD`.
    pub currency: String,
    /// Who takes the money.
    pub provider: Provider,
    /// Where it stands.
    pub state: OrderState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a pending one ends by itself.
    pub expires_at: Option<Timestamp>,
    /// What the customer wrote on the transfer.
    #[serde(default)]
    pub reference: Option<String>,
    /// The provider's session.
    #[serde(default)]
    pub session: Option<String>,
    /// Where the customer pays.
    #[serde(default)]
    pub url: Option<String>,
    /// The provider's payment, once it is known.
    #[serde(default)]
    pub payment: Option<String>,
    /// Why it is in review, or failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who decided, where the operator did.
    #[serde(default)]
    pub author: Option<String>,
    /// When it was credited.
    #[serde(default)]
    pub paid_at: Option<Timestamp>,
    /// The ledger entry that credited it.
    #[serde(default)]
    pub entry: Option<String>,
    /// What was given back of it, debts included.
    #[serde(default)]
    pub refunded: Money,
    /// What the provider says was refunded in all.
    #[serde(default)]
    pub reported_refund: Money,
    /// Payments that the customer's bank took back.
    #[serde(default)]
    pub disputes: Vec<Dispute>,
    /// The provider's messages, in the order in which they came.
    #[serde(default)]
    pub deliveries: Vec<Delivery>,
}

/// A payment that the customer's bank took back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Dispute {
    pub id: String,
    pub amount: Money,
    /// Whether it was won, and the amount credited again.
    pub is_reinstated: bool,
}

/// A message of the provider's, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The provider's id of the message.
    pub id: String,
    /// Such as `checkout.session.completed`.
    pub kind: String,
    /// When it came first.
    pub at: Timestamp,
    /// How often it came; above one are duplicates, which changed nothing.
    pub times: u32,
    /// What it did.
    pub effect: String,
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
