//! Ending sessions of the pages before their time.
//!
//! What always holds: a session that was ended, by itself or with all of its key or account, counts for nothing from the next look
//! on; what is noted is bounded, and gone when no session that it is about could live any more.

use super::record::{EndedSessions, Event, SessionEnd};
use crate::time::Timestamp;

/// So many are noted one by one; beyond, all sessions of the key end with one that does.
const MOST_ENDED: u32 = 200;

/// Ends sessions. Again is the same. `last_end` is the number of the last end that is noted, `noted` how many there are.
pub fn end_sessions(end: SessionEnd, (last_end, noted): (Timestamp, u32), now: Timestamp) -> Vec<Event> {
    let next = now.max(last_end.plus(1));
    let until = match &end {
        SessionEnd::Of(session) => next.max(session.known().plus(1)),
        SessionEnd::OfKey(_) | SessionEnd::OfAccount => next,
    };
    let end = match end {
        SessionEnd::Of(session) if noted >= MOST_ENDED => SessionEnd::OfKey(session.key),
        end => end,
    };
    vec![Event::SessionsEnded(EndedSessions { mark: end.mark(), until })]
}
