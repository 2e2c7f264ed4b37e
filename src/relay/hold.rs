//! Asking the account for a hold.
//!
//! What always holds: the first hold that is granted opens the ticket of its request, and every other belongs to a ticket that is
//! open, so that whatever is held is settled.

use super::ticket::{First, Opening, Ticket};
use crate::account::{HoldAnswer, HoldRequest, Rates, Replay};
use crate::key::KeyRecord;
use crate::ports::{Ports, Unavailable};
use crate::refusal::Refusal;

/// An answer to a hold that is not a grant.
pub enum Held {
    Refused(Box<Refusal>, Rates),
    Stale(Box<KeyRecord>),
    Replayed(Replay),
}

/// Asks for a hold: the first of a request, which opens its ticket, or that of a crossing. None is a grant.
pub async fn hold<P: Ports>(
    ports: &P,
    ticket: &mut Option<Ticket<P>>,
    opening: &Opening,
    request: HoldRequest,
) -> Result<Option<Held>, Unavailable> {
    let answer = match ticket {
        Some(_) => ports.hold(&request.facts.account.clone(), request).await?,
        None => match Ticket::open(ports, opening.clone(), request).await? {
            First::Granted(opened) => {
                *ticket = Some(*opened);
                return Ok(None);
            }
            First::Other(answer) => *answer,
        },
    };
    Ok(match answer {
        HoldAnswer::Granted(granted) => {
            if let Some(ticket) = ticket {
                ticket.crossed(&granted);
            }
            None
        }
        HoldAnswer::Refused(refusal, rates) => Some(Held::Refused(Box::new(refusal), rates)),
        HoldAnswer::Stale(current) => Some(Held::Stale(current)),
        HoldAnswer::Replayed(replay) => Some(Held::Replayed(replay)),
    })
}
