//! Whether a promise was kept: the one rule, from how a request ended to what its receipt says.
//!
//! Kept is what was answered by the promised model over the promised route, to its end or until the client left. Missed is what
//! nobody answered by a fault that is not the client's, what another route or model had to answer, what upstream cut, and what
//! the gateway lost. The rest says nothing of the promise and does not count: a client that left before there was an answer, and
//! a request that upstream would not have taken from anybody.

use super::receipt::{Attempt, AttemptStatus, Outcome, Served, Status};
use crate::truth::{Missed, Promise, Promised};

/// The error of a receipt whose request nobody settled in time.
pub(super) const HOLD_EXPIRED: &str = "hold_expired";

/// What became of the promise; none where there was none, or where the end says nothing of it.
pub(super) fn judged(outcome: &Outcome) -> Option<Promised> {
    let promise = outcome.promise.clone()?;
    let is_lost = outcome.error.as_ref().is_some_and(|error| error.code == HOLD_EXPIRED);
    let missed = match (outcome.status, &outcome.served) {
        (Status::Aborted, _) if is_lost => Some(Missed::Lost),
        (Status::Completed, Some(served)) => elsewhere(&promise, served),
        (Status::Aborted, Some(served)) if outcome.first_byte_ms.is_some() => elsewhere(&promise, served),
        (Status::Truncated, Some(served)) => elsewhere(&promise, served).or(Some(Missed::Cut)),
        (Status::Aborted | Status::Refused, _) => return None,
        (Status::Failed, _) | (_, None) => Some(failed(&promise, &outcome.attempts)?),
    };
    Some(Promised { promise, missed })
}

/// Whether somebody else answered.
fn elsewhere(promise: &Promise, served: &Served) -> Option<Missed> {
    match (served.model == promise.model, served.route == promise.route) {
        (true, true) => None,
        (true, false) => Some(Missed::OtherRoute),
        (false, _) => Some(Missed::OtherModel),
    }
}

/// Why nobody answered, as the promised route told it last; none where the request itself was at fault.
fn failed(promise: &Promise, attempts: &[Attempt]) -> Option<Missed> {
    let reason = |attempt: &Attempt| match attempt.status {
        AttemptStatus::Failed | AttemptStatus::Skipped => attempt.error.as_deref().and_then(Missed::parse),
        AttemptStatus::Answered | AttemptStatus::Rejected | AttemptStatus::Abandoned => None,
    };
    // The attempts end with the one that ended the request.
    let last = attempts.last().and_then(reason)?;
    let of_route = attempts.iter().rev().filter(|attempt| attempt.route == promise.route);
    Some(of_route.filter_map(reason).next().unwrap_or(last))
}
