//! The messages of payment providers: whether they are theirs.

use std::net::IpAddr;

use super::topups::{Received, take_message};
use crate::limits::Gate;
use crate::payment::{PaymentProvider, SIGNATURE_HEADER, Stripe};
use crate::ports::{Accounts, Gates, Payments, Runtime, Settings};
use crate::refusal::Refusal;
use crate::relay::gate;

/// The secret that Stripe's messages are signed with; none where they are not taken.
pub fn stripe_secret<P: Settings>(ports: &P) -> Option<String> {
    ports.setting("STRIPE_WEBHOOK_SECRET")
}

/// Takes a message of Stripe's. One that is not signed by it counts as a guess of who sends it.
pub async fn stripe<P: Runtime + Accounts + Payments + Gates>(
    ports: &P,
    (secret, signature): (&str, Option<&str>),
    address: Option<IpAddr>,
    body: &[u8],
) -> Result<Received, Refusal> {
    match Stripe.message(Some(secret), signature, body, ports.now()) {
        // What is signed and cannot be read is the provider's.
        Err(refusal) if refusal.param.as_deref() == Some(SIGNATURE_HEADER) => {
            let guesser = format!("signature {}", gate::by_address(address));
            Err(gate::missed(ports, Gate::Guess, &guesser, refusal).await)
        }
        Err(refusal) => Err(refusal),
        Ok(message) => take_message(ports, message).await,
    }
}
