//! Whether a promise was kept: the one rule, from how a request ended to what its receipt says.
//!
//! Kept is what was answered by the promised model over the promised route, to its end or until the client left. Missed is what
//! nobody answered by a fault that is not the client's, what another route or model had to answer, what upstream cut, and what
//! the gateway lost. The rest says nothing of the promise and does not count: a client that left before there was an answer, and
//! a request that upstream would not have taken from anybody.

use super::attempt::{Attempt, AttemptStatus};
use super::outcome::{Outcome, RequestStatus, Served};
use crate::truth::{Missed, Promise, Promised};

/// The error of a receipt whose request nobody settled in time.
pub const HOLD_EXPIRED: &str = "hold_expired";

/// What became of the promise; none where there was none, or where the end says nothing of it.
pub fn judged(outcome: &Outcome) -> Option<Promised> {
    let promise = outcome.promise.clone()?;
    let is_lost = outcome.error.as_ref().is_some_and(|error| error.code == HOLD_EXPIRED);
    let missed = match (outcome.status, &outcome.served) {
        (RequestStatus::Aborted, _) if is_lost => Some(Missed::Lost),
        (RequestStatus::Completed, Some(served)) => elsewhere(&promise, served),
        (RequestStatus::Aborted, Some(served)) if outcome.first_byte_ms.is_some() => elsewhere(&promise, served),
        (RequestStatus::Truncated, Some(served)) => elsewhere(&promise, served).or(Some(Missed::Cut)),
        (RequestStatus::Aborted | RequestStatus::Refused, _) => return None,
        (RequestStatus::Failed, _) | (_, None) => Some(failed(&promise, &outcome.attempts)?),
    };
    Some(promise.told(missed))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::ReceiptError;
    use crate::catalog::{CutPolicy, RouteKind};
    use crate::id::{BucketId, ChannelId, ModelName};
    use crate::money::Price;
    use crate::time::Timestamp;
    use crate::usage::{Usage, UsageSource};
    use RequestStatus::{Aborted, Completed, Failed, Refused, Truncated};
    use RouteKind::{Official, Routed};

    fn model(name: &str) -> ModelName {
        ModelName::parse(name).unwrap()
    }

    fn served(name: &str, route: RouteKind) -> Served {
        Served {
            model: model(name),
            upstream_model: "u".to_owned(),
            route,
            channel: ChannelId::parse("c").unwrap(),
            bucket: BucketId::parse("credit").unwrap(),
            price: Price::default(),
            why: String::new(),
            output_limit: None,
        }
    }

    fn attempt((route, status, error): (RouteKind, AttemptStatus, Option<&str>)) -> Attempt {
        Attempt {
            model: None,
            channel: ChannelId::parse("c").unwrap(),
            tier: 0,
            route,
            bucket: BucketId::parse("credit").unwrap(),
            upstream_model: "u".to_owned(),
            reason: String::new(),
            dispatched: true,
            status,
            started_at: Timestamp::default(),
            latency_ms: 0,
            provider_status: None,
            error: error.map(ToOwned::to_owned),
            message: None,
            credential: None,
            is_aside: false,
        }
    }

    /// How a request ended for which `m` was promised over the official route.
    fn outcome(status: RequestStatus, served: Option<Served>) -> Outcome {
        Outcome {
            status,
            served,
            attempts: Vec::new(),
            usage: Usage::default(),
            usage_source: UsageSource::None,
            bounds: None,
            upstream_cut: CutPolicy::Free,
            finish_reason: None,
            error: None,
            next_step: None,
            first_byte_ms: None,
            latency_ms: 0,
            dropped_parameters: Vec::new(),
            elsewhere: Vec::new(),
            promise: Some(Promise { model: model("m"), route: Official }),
        }
    }

    /// What a receipt says of the promise, in a word.
    fn told(outcome: &Outcome) -> &'static str {
        judged(outcome).map_or("not counted", |told| told.missed.map_or("kept", Missed::as_str))
    }

    #[test]
    fn a_promise_is_kept_by_the_model_over_the_route_and_by_nobody_else() {
        for (status, who, has_begun, expected) in [
            (Completed, Some(("m", Official)), true, "kept"),
            (Completed, Some(("m", Routed)), true, "other_route"),
            (Completed, Some(("n", Official)), true, "other_model"),
            (Completed, Some(("n", Routed)), true, "other_model"),
            (Truncated, Some(("m", Official)), true, "cut"),
            (Truncated, Some(("m", Routed)), true, "other_route"),
            // The client left: in the middle of an answer, before there was one, before anybody was asked.
            (Aborted, Some(("m", Official)), true, "kept"),
            (Aborted, Some(("m", Routed)), true, "other_route"),
            (Aborted, Some(("m", Official)), false, "not counted"),
            (Aborted, None, false, "not counted"),
            (Refused, None, false, "not counted"),
        ] {
            let mut outcome = outcome(status, who.map(|(name, route)| served(name, route)));
            outcome.first_byte_ms = has_begun.then_some(5);
            assert_eq!(told(&outcome), expected, "{status:?} {who:?}");
        }
    }

    #[test]
    fn nobody_answered_is_a_miss_by_what_the_promised_route_said_last_unless_the_request_was_at_fault() {
        use AttemptStatus::{Failed as No, Rejected, Skipped};
        let timeout = (Official, No, Some("timeout"));
        for (attempts, expected) in [
            (&[timeout][..], "timeout"),
            (&[(Official, No, Some("server")), timeout], "timeout"),
            (&[timeout, (Routed, No, Some("load"))], "timeout"),
            (&[(Official, Skipped, None), timeout], "timeout"),
            (&[(Routed, No, Some("load"))], "load"),
            (&[(Official, Skipped, Some("not_configured"))], "not_configured"),
            (&[timeout, (Official, Rejected, Some("rejected"))], "not counted"),
            (&[(Official, Rejected, Some("thoughts")), timeout], "timeout"),
            // It cannot be written for this channel.
            (&[timeout, (Official, Skipped, None)], "not counted"),
            (&[], "not counted"),
        ] {
            let attempts: Vec<Attempt> = attempts.iter().copied().map(attempt).collect();
            assert_eq!(told(&Outcome { attempts: attempts.clone(), ..outcome(Failed, None) }), expected, "{attempts:?}");
        }
    }

    #[test]
    fn a_request_that_the_gateway_lost_is_a_miss_whatever_had_begun() {
        let error = || Some(ReceiptError { code: HOLD_EXPIRED.to_owned(), message: String::new(), provider_code: None });
        for who in [None, Some(served("m", Official)), Some(served("m", Routed))] {
            assert_eq!(told(&Outcome { error: error(), ..outcome(Aborted, who) }), "lost");
        }
        let unpromised = Outcome { promise: None, error: error(), ..outcome(Aborted, None) };
        assert_eq!(told(&unpromised), "not counted");
    }

    #[test]
    fn nothing_is_said_where_nothing_was_promised() {
        for status in [Completed, Truncated, Aborted, Failed, Refused] {
            let outcome = Outcome { promise: None, ..outcome(status, Some(served("m", Official))) };
            assert_eq!(judged(&outcome), None);
        }
    }
}
