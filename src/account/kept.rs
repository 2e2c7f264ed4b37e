//! Keeping an answer, so that later requests can refer to the items in it.
//!
//! What always holds: an answer is kept in the transaction that settles its request, at most once, under the number of the
//! journal row that tells of it; nothing of it is a part of any sum.

use super::record::{Event, Journaled, KeptAnswer, LONGEST_KEPT, RequestStatus};

/// Keeps an answer beside the row of the journal that these events append for it. Only one that came to its end is ever
/// referred to.
pub(super) fn keep(events: &[Event], status: RequestStatus, sealed: Option<String>) -> Option<Event> {
    let sealed = sealed.filter(|sealed| status == RequestStatus::Completed && sealed.len() <= LONGEST_KEPT)?;
    events.iter().find_map(|event| match event {
        Event::Journaled(row) if matches!(row.journaled, Journaled::Receipt(_) | Journaled::Correction(_)) => {
            Some(Event::Kept(Box::new(KeptAnswer { seq: row.seq, at: row.at, sealed: sealed.clone() })))
        }
        _ => None,
    })
}
