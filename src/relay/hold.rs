//! Asking the account for a hold.
//!
//! What always holds: the first hold that is granted opens the guard of its request, and every other belongs to a guard that is
//! open, so that whatever is held is settled.

use super::guard::{First, Opening, SettlementGuard};
use crate::account::{HoldAnswer, HoldRequest, RateLimits, Replay};
use crate::key::KeyRecord;
use crate::ports::{Ports, Unavailable};
use crate::refusal::Refusal;

/// An answer to a hold that is not a grant.
pub enum NotGranted {
    Refused(Box<Refusal>, RateLimits),
    Stale(Box<KeyRecord>),
    Replayed(Replay),
}

/// Asks for a hold: the first of a request, which opens its guard, or that of a crossing. None is a grant.
pub async fn hold<P: Ports>(
    ports: &P,
    guard: &mut Option<SettlementGuard<P>>,
    opening: &Opening,
    request: HoldRequest,
) -> Result<Option<NotGranted>, Unavailable> {
    let answer = match guard {
        Some(_) => ports.hold(&request.facts.account.clone(), request).await?,
        None => match SettlementGuard::open(ports, opening.clone(), request).await? {
            First::Granted(opened) => {
                *guard = Some(*opened);
                return Ok(None);
            }
            First::Other(answer) => *answer,
        },
    };
    Ok(match answer {
        HoldAnswer::Granted(granted) => {
            if let Some(guard) = guard {
                guard.crossed(&granted);
            }
            None
        }
        HoldAnswer::Refused(refusal, rates) => Some(NotGranted::Refused(Box::new(refusal), rates)),
        HoldAnswer::Stale(current) => Some(NotGranted::Stale(current)),
        HoldAnswer::Replayed(replay) => Some(NotGranted::Replayed(replay)),
    })
}
