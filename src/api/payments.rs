//! The messages of payment providers.

use std::net::IpAddr;

use super::output::ok;
use super::table;
use crate::app::topups;
use crate::body::Arriving;
use crate::limits::Gate;
use crate::payment::{PaymentProvider, Stripe};
use crate::ports::Records;
use crate::refusal::Refusal;
use crate::relay::{Reply, gate};

/// What a message is signed in, as its refusal names it.
const SIGNATURE: &str = "Stripe-Signature";

/// Answers at `/webhooks/stripe`. Without a secret there is nothing there, whatever is asked.
pub async fn stripe<P: Records>(
    ports: &P,
    (method, signature, address): (&str, Option<&str>, Option<IpAddr>),
    body: impl Arriving,
) -> Result<Reply, Refusal> {
    let Some(secret) = ports.setting("STRIPE_WEBHOOK_SECRET") else {
        return Err(table::nothing_here());
    };
    table::check(method, "/webhooks/stripe")?;
    let body = body.await?;
    match Stripe.message(Some(&secret), signature, &body, ports.now()) {
        // What is signed and cannot be read is the provider's.
        Err(refusal) if refusal.param.as_deref() == Some(SIGNATURE) => {
            let guesser = format!("signature {}", gate::by_address(address));
            Err(gate::missed(ports, Gate::Guess, &guesser, refusal).await)
        }
        Err(refusal) => Err(refusal),
        Ok(message) => ok(&topups::take_message(ports, message).await?),
    }
}
