//! Payment providers: how an order is paid, and what the provider says of it afterwards.
//!
//! What always holds:
//! - without a secret every message is refused, and nothing tells that there could be a path for them;
//! - a message counts only with a valid and recent signature over its very bytes;
//! - amounts are converted exactly, or not at all;
//! - a message only reports: whether it fits the order that it names, the account's own record decides.
//!
//! Deliberately absent: HTTP calls, clocks, memory of messages. Transfers outside of the gateway need nothing from here.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::as_conversions)]

mod stripe;

pub use stripe::{SIGNATURE_HEADER, Stripe};

use crate::account::{Order, PaymentChange, PaymentEvent, Provider};
use crate::id::{AccountId, OrderId};
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// A way to take money.
pub trait PaymentProvider {
    /// The request that opens a page on which the order is paid. From there the customer comes back to `return_url`.
    fn checkout(&self, order: &Order, return_url: &str) -> Result<Checkout, Refusal>;

    /// Reads the provider's answer to that request; the error is for the log.
    fn opened(&self, status: u16, body: &[u8]) -> Result<CheckoutPage, String>;

    /// Verifies and reads a message: `secret` is the one that we share with the provider, `signature` what came with it.
    fn message(&self, secret: Option<&str>, signature: Option<&str>, body: &[u8], now: Timestamp) -> Result<Message, Refusal>;
}

/// A request to the provider, to be sent with its credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// Where to POST it, on the provider's host.
    pub path: &'static str,
    /// As `application/x-www-form-urlencoded`.
    pub body: String,
    /// The same request twice opens one page.
    pub idempotency_key: String,
}

/// An open page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutPage {
    /// The provider's id of it.
    pub id: String,
    /// Where the customer pays.
    pub url: String,
}

/// A verified message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// About an order of ours.
    About {
        /// Whose order.
        account: AccountId,
        /// What happened.
        event: PaymentEvent,
    },
    /// About a payment that does not name its order, which may be ours.
    OfPayment {
        /// The provider's id of the payment.
        payment: String,
        /// When it happened.
        at: Timestamp,
        /// What happened.
        event: PartialEvent,
    },
    /// Nothing for us.
    Ignored {
        /// Such as `customer.created`.
        kind: String,
    },
}

/// A [`PaymentEvent`] whose order is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialEvent {
    /// The provider's id of the message.
    pub id: String,
    /// Such as `charge.dispute.funds_withdrawn`.
    pub kind: String,
    /// Whose message.
    pub provider: Provider,
    /// The provider's session, where the message names it.
    pub session: Option<String>,
    /// The provider's payment, where the message names it.
    pub payment: Option<String>,
    /// What happened.
    pub change: PaymentChange,
}

impl PartialEvent {
    /// The event, once its order is known.
    pub fn for_order(self, order: OrderId) -> PaymentEvent {
        let Self { id, kind, provider, session, payment, change } = self;
        PaymentEvent { id, kind, provider, order, session, payment, change }
    }
}
