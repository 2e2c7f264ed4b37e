//! An order to add to one balance, and where it stands.
//!
//! What always holds: what was refunded of it is never more than its amount; each of the provider's messages is told once, with how
//! often it came.

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, BucketId, KeyId, OrderId};
use crate::money::Money;
use crate::time::Timestamp;

/// Who takes the money for a top-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PaymentProvider"))]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Stripe Checkout, confirmed by its signed webhook.
    Stripe,
    /// A transfer outside of the gateway, confirmed by the operator.
    Manual,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Stripe, Self::Manual];

    /// Whose word it is, where a booking follows from a payment. No operator's token has such a name.
    pub const fn author(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Manual => "operator",
        }
    }
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "WholeOrder"))]
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
    /// The caller's own key for the order, hashed: the same one makes no second order.
    #[serde(default)]
    pub request_key: Option<String>,
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
    /// For whom, as the client says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What the customer is told of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was credited.
    #[serde(default)]
    pub paid_at: Option<Timestamp>,
    /// The ledger entry that credited it.
    #[serde(default)]
    pub entry: Option<String>,
    /// What was given back of it, debts included.
    #[serde(default)]
    pub refunded: Money,
    /// What was refunded in all, disputes aside: as the operator said, or the provider if that is more.
    #[serde(default)]
    pub given_back: Money,
    /// The operator's refunds.
    #[serde(default)]
    pub refunds: Vec<OrderRefund>,
    /// Payments that the customer's bank took back.
    #[serde(default)]
    pub disputes: Vec<Dispute>,
    /// The provider's messages, in the order in which they came.
    #[serde(default)]
    pub deliveries: Vec<Delivery>,
}

/// A refund that the operator booked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OrderRefund {
    /// Its id.
    pub id: String,
    /// How much was given back.
    pub amount: Money,
    /// What the customer is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A payment that the customer's bank took back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dispute {
    /// The provider's id of it.
    pub id: String,
    /// How much was taken back.
    pub amount: Money,
    /// Whether it was won, and the amount credited again.
    pub is_reinstated: bool,
}

/// A message of the provider's, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
