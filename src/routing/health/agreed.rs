//! An outage that the requests of several accounts agreed on, and how a probe may end it.
//!
//! What always holds: one request that is answered ends it at once. A probe is smaller than what people ask, so what it ends may
//! come again: then it has to wait until requests have not agreed for twice as long as before, from [`REAL_MS`] up to
//! [`LONGEST_MS`]; until then it lets one request at a time find out. So an outage that only large requests meet goes up and down
//! a few times, and then once an hour, however often it is probed.

use super::belief::{Agreed, Health, HealthStatus, LastFailure, REAL_MS};
use crate::routing::attempt::FailureKind;
use crate::time::{HOUR_MS, Timestamp};

/// The longest that a probe waits, in milliseconds; what comes again so long after a probe had ended it is the same outage.
pub const LONGEST_MS: i64 = HOUR_MS;

impl Agreed {
    /// For how long after they last agreed no probe ends it, in milliseconds.
    fn wait_ms(self) -> i64 {
        let doubled = REAL_MS.saturating_mul(1 << self.relapses.min(8));
        if self.relapses == 0 { 0 } else { doubled.min(LONGEST_MS) }
    }
}

impl Health {
    /// Several accounts have met it: all know, and what each of them believed is what all believe.
    pub(super) fn agree(&mut self, failure: LastFailure, retry_after_s: Option<u64>) {
        let at = failure.at;
        if failure.kind != FailureKind::Load {
            let is_relapse = |before: &Agreed| before.ended_at.is_some_and(|ended_at| at < ended_at.plus(LONGEST_MS));
            let is_on = self.status == HealthStatus::Down;
            let relapses = match self.agreed {
                Some(before) if is_on => before.relapses,
                Some(before) if is_relapse(&before) => before.relapses.saturating_add(1),
                _ => 0,
            };
            self.agreed = Some(Agreed { at, relapses, ended_at: None });
        }
        // What one of them met besides is no belief of all.
        let cuts = self.lone.iter().filter(|lone| lone.health.breaks_off()).count();
        self.is_cut |= cuts.saturating_mul(2) > self.lone.len();
        self.confirm(failure.kind);
        self.is_real_failure = true;
        self.fail(failure, retry_after_s);
        self.absorb_lone(at);
    }

    /// Whether a probe that finds nothing wrong has to wait.
    pub(super) fn is_held_down(&self, now: Timestamp) -> bool {
        self.status == HealthStatus::Down && self.agreed.is_some_and(|agreed| now < agreed.at.plus(agreed.wait_ms()))
    }

    /// A probe has ended an outage, for all alike.
    pub(super) fn ended_by_probe(&mut self, now: Timestamp) {
        self.lone.clear();
        if let Some(agreed) = &mut self.agreed {
            agreed.ended_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Observation, Witness};
    use super::*;
    use crate::id::AccountId;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + minutes * 60_000)
    }

    fn failed(health: Health, kind: FailureKind, minute: i64) -> Health {
        ["a", "b", "c"].iter().fold(health, |health, name| {
            let by = AccountId::parse(name).map(|account| Witness::of(&account));
            health.observe(Observation::Failed { kind, message: "no".to_owned(), retry_after_s: None, by }, at(minute))
        })
    }

    fn called(health: Health, minute: i64) -> Health {
        health.observe(Observation::Called { failure: None, latency_ms: 1 }, at(minute))
    }

    /// The minutes at which it goes down, if requests fail wherever they are sent and probes go well.
    fn outages(kind: FailureKind, minutes: i64) -> Vec<i64> {
        let (mut health, mut outages) = (called(Health::default(), 0), Vec::new());
        for minute in 1..minutes {
            let was_down = health.status == HealthStatus::Down;
            if !was_down {
                health = health.observe(Observation::Begun, at(minute));
                health = failed(health, kind, minute);
                assert_eq!(health.status, HealthStatus::Down, "at once, at {minute}");
                outages.push(minute);
            }
            health = called(health, minute);
            assert!(health.is_ready(at(minute)), "one request at a time may find out");
        }
        outages
    }

    #[test]
    fn what_a_probe_ends_and_requests_meet_again_is_probed_away_ever_more_seldom() {
        let cuts = outages(FailureKind::Cut, 24 * 60);
        assert_eq!(cuts[..7], [1, 2, 13, 34, 75, 136, 197]);
        assert!(cuts[6..].windows(2).all(|pair| pair[1] - pair[0] >= 60), "{cuts:?}");
    }

    #[test]
    fn one_answer_ends_it_and_all_that_was_counted() {
        let health = (0..5).fold(called(Health::default(), 0), |health, n| called(failed(health, FailureKind::Server, n), n));
        assert!(health.agreed.is_some_and(|agreed| agreed.relapses == 1));
        for seen in [Observation::Answered, Observation::Begun] {
            let answered = health.clone().observe(seen, at(6));
            assert_eq!((answered.status, answered.agreed), (HealthStatus::Up, None));
        }
        let cut = called(failed(called(Health::default(), 0), FailureKind::Cut, 1), 7);
        assert_eq!(cut.status, HealthStatus::Up);
        let begun = cut.observe(Observation::Begun, at(8));
        assert!(begun.agreed.is_some(), "that it begins says nothing of its end");
        assert_eq!(begun.observe(Observation::Answered, at(9)).agreed, None);
    }

    #[test]
    fn what_comes_again_much_later_is_another_outage() {
        let ended = called(failed(called(Health::default(), 0), FailureKind::Server, 1), 10);
        let relapses = |minute| failed(ended.clone(), FailureKind::Server, minute).agreed.map(|agreed| agreed.relapses);
        assert_eq!((relapses(69), relapses(70)), (Some(1), Some(0)));
    }

    #[test]
    fn health_that_was_stored_before_is_read() {
        let text = r#"{"status":"down","since":"2026-12-01T00:00:00Z","observed_at":"2026-12-01T00:00:00Z","failures":2}"#;
        let health: Health = serde_json::from_str(text).unwrap();
        assert_eq!((health.status, health.agreed, health.begun_at), (HealthStatus::Down, None, None));
    }
}
