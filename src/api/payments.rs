//! The messages of payment providers.

use super::output::ok;
use super::request::Request;
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

/// The secret that messages are signed with. Without one there is nothing at their endpoint, whatever is asked.
pub fn secret<P: Records>(ports: &P) -> Result<String, Refusal> {
    ports.setting("STRIPE_WEBHOOK_SECRET").ok_or_else(table::nothing_here)
}

/// Takes a message.
pub async fn stripe<P: Records, B: Arriving>(ports: &P, request: Request<B>) -> Result<Reply, Refusal> {
    let secret = secret(ports)?;
    let body = request.body.await?;
    let signature = request.signature.as_deref();
    match Stripe.message(Some(&secret), signature, &body, ports.now()) {
        // What is signed and cannot be read is the provider's.
        Err(refusal) if refusal.param.as_deref() == Some(SIGNATURE) => {
            let guesser = format!("signature {}", gate::by_address(request.head.address));
            Err(gate::missed(ports, Gate::Guess, &guesser, refusal).await)
        }
        Err(refusal) => Err(refusal),
        Ok(message) => ok(&topups::take_message(ports, message).await?),
    }
}
