//! The holder of a key, known by what a request presents.

use super::principal::{Holder, Principal};
use crate::limits::Gate;
use crate::ports::{Gates, Keys, Runtime, Sold};
use crate::refusal::Refusal;
use crate::relay::{RequestHead, check_place, gate, known_key, presented, valid_key};

/// The key of a request, as the account knows it now: a revocation is effective at once, whatever the copies still say. It is
/// counted at a gate before its account is asked anything.
pub async fn identified<P: Runtime + Keys + Gates + Sold>(
    ports: &P,
    head: &RequestHead,
    gate: Gate,
) -> Result<Principal, Refusal> {
    let hash = presented(head)?;
    let copy = known_key(ports, (&hash, head.address), ports.now()).await?;
    let subject = if gate == Gate::Free { copy.id.as_str() } else { copy.account.as_str() };
    gate::pass(ports, gate, subject).await?;
    let key = valid_key(ports.current_key(&copy).await?, ports.now())?;
    check_place(ports, head, &key).await?;
    Ok(Principal::Holder(Box::new(Holder { key, address: head.address })))
}
