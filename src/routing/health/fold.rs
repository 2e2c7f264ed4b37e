//! From one observation to the next belief.
//!
//! What always holds: an isolate that sees a request fail and the shared fold that hears of it go by the same rules; hearing
//! of the same failure twice changes nothing.

use std::collections::BTreeMap;

use super::belief::{Health, HealthStatus, LastFailure, Listing, Probe, REAL_MS, Share};
use super::lone::AGREE;
use super::witness::Witness;
use crate::routing::attempt::FailureKind;
use crate::time::{MINUTE_MS, Timestamp};

/// How long a candidate rests after it went down or failed slowly, in milliseconds; doubled with every further failure.
const FIRST_REST_MS: i64 = MINUTE_MS;
const LONGEST_REST_MS: i64 = 300_000;
/// How long a loaded candidate rests when upstream names no time, and at most.
const LOAD_REST_MS: i64 = 5_000;
const LONGEST_LOAD_REST_MS: i64 = MINUTE_MS;
/// Failures in a row that make an outage.
const OUTAGE: u32 = 2;
/// A list that fails says nothing while real requests were answered within this time, in milliseconds.
const ANSWERED_MS: i64 = 120_000;
/// What is gone from its provider's list, and of which nothing else is seen, is believed to be gone after this time, in
/// milliseconds.
const GONE_MS: i64 = 110_000;
/// One more answer within this time is no news, in milliseconds.
const NEWS_MS: u64 = 5_000;

/// Something that was seen of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A request is about to be sent.
    Tried {
        /// Whose; none if that is nobody's.
        by: Option<Witness>,
    },
    /// A stream of its has begun: credential and model answer. Whether it comes to its end, nobody knows yet.
    Begun,
    /// It answered, to the end.
    Answered,
    /// It did not.
    Failed {
        /// What kind of failure.
        kind: FailureKind,
        /// In words.
        message: String,
        /// When upstream asked to be called again, in seconds.
        retry_after_s: Option<u64>,
        /// Whose request it was; none is believed at once.
        by: Option<Witness>,
    },
    /// The provider's list of models was asked for.
    Listed {
        /// Whether it has the id, with near names where it has not. None if nothing can be told from it.
        found: Result<Option<InList>, (FailureKind, String)>,
        /// How long it took, in milliseconds.
        latency_ms: u64,
    },
    /// A probe made a small real call.
    Called {
        /// What went wrong, if anything.
        failure: Option<(FailureKind, String)>,
        /// How long it took, in milliseconds.
        latency_ms: u64,
    },
    /// A probe made a call that says nothing of the candidate.
    Inconclusive {
        /// Why, in words.
        message: String,
        /// How long it took, in milliseconds.
        latency_ms: u64,
    },
}

/// Whether a list has an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InList {
    /// It has.
    There,
    /// It has not; these are near.
    Missing(Vec<String>),
}

/// What real requests saw of a candidate in the last minutes, in all isolates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recent {
    /// So many were answered.
    pub ok: u64,
    /// So many failed, load apart.
    pub failed: u64,
    /// Failures since the last answer, load apart.
    pub in_row: u32,
    /// When one was last answered.
    pub ok_at: Option<Timestamp>,
    /// The last failure, load among them.
    pub failure: Option<LastFailure>,
    /// What each of the accounts met that met a failure.
    pub by: BTreeMap<Witness, Met>,
}

/// What one account met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// So many failures, load apart.
    pub failed: u64,
    /// The last one, load among them.
    pub failure: LastFailure,
}

impl Recent {
    /// How many of all requests failed. Failures of fewer accounts than must agree are their own, and the account with the most
    /// of them counts no more than the one after it.
    fn share(&self) -> Option<Share> {
        let mut counts: Vec<u64> = self.by.values().map(|met| met.failed).filter(|failed| *failed > 0).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let next = counts.get(1).copied().unwrap_or(0);
        let failed = counts.iter().fold(0_u64, |sum, failed| sum.saturating_add(*failed.min(&next)));
        let failed = if counts.len() < AGREE { 0 } else { failed };
        Some(Share { failed, of: self.ok.saturating_add(failed) }).filter(|share| share.of > 0)
    }
}

impl Health {
    /// Whether an observation changes anything worth noting.
    pub fn is_news(&self, seen: &Observation, now: Timestamp) -> bool {
        let is_settled = self.status == HealthStatus::Up && self.failures == 0 && self.rest_until.is_none();
        match seen {
            Observation::Tried { by } => self.status == HealthStatus::Down || self.is_down_for(*by),
            Observation::Begun if self.is_ended_by_begun() => true,
            Observation::Begun => self.proved_at().is_none_or(|at| now.since(at) >= NEWS_MS),
            // What somebody believes alone is over with it.
            Observation::Answered if !self.lone.is_empty() || self.agreed.is_some() => true,
            Observation::Answered => !is_settled || self.last_success_at.is_none_or(|at| now.since(at) >= NEWS_MS),
            _ => true,
        }
    }

    /// The health after an observation.
    pub fn observe(mut self, seen: Observation, now: Timestamp) -> Self {
        match seen {
            Observation::Tried { by } => {
                self.try_lone(by, now);
                if self.status != HealthStatus::Down {
                    return self;
                }
                self.rest_tried(now);
            }
            Observation::Begun => self.begun(now),
            Observation::Answered => self.answered(now),
            Observation::Failed { kind, message, retry_after_s, by } => {
                let failure = LastFailure { at: now, kind, message };
                match by {
                    // Nobody else is told of it, not even that there was something.
                    Some(by) if !self.is_agreed(by, &failure, retry_after_s) => return self,
                    Some(_) => self.agree(failure, retry_after_s),
                    None => {
                        self.is_real_failure = true;
                        self.fail(failure, retry_after_s);
                    }
                }
            }
            Observation::Listed { found, latency_ms } => self.listed(found, latency_ms, now),
            Observation::Called { failure, latency_ms } => self.called(failure, latency_ms, now),
            Observation::Inconclusive { message, latency_ms } => {
                self.last_probe = Some(Probe { at: now, level: 2, ok: false, latency_ms, message: Some(message) });
                self.called_at = Some(now);
            }
        }
        self.observed_at = self.observed_at.max(now);
        self
    }

    /// The health after what all isolates saw. The same once more changes nothing.
    pub fn learn(mut self, recent: &Recent) -> Self {
        self.share = recent.share();
        if let Some(at) = recent.ok_at.filter(|at| self.last_success_at.is_none_or(|known| known < *at)) {
            let is_last = self.last_failure.as_ref().is_none_or(|failure| failure.at <= at);
            if is_last {
                self.answered(at)
            } else {
                self.last_success_at = Some(at);
                self.end_lone(at);
            }
            self.observed_at = self.observed_at.max(at);
        }
        for (by, met) in &recent.by {
            let failures = u32::try_from(met.failed).unwrap_or(u32::MAX).min(recent.in_row);
            self.hear(*by, failures, &met.failure);
        }
        let is_later = |failure: &&LastFailure| {
            self.proved_against(failure.kind).is_none_or(|at| at < failure.at)
                && self.last_failure.as_ref().is_none_or(|known| known.at < failure.at)
        };
        if let Some(failure) = recent.failure.as_ref().filter(is_later).filter(|failure| self.agrees(failure)) {
            self.failures = self.failures.max(recent.in_row.saturating_sub(1));
            self.observed_at = self.observed_at.max(failure.at);
            self.agree(failure.clone(), None);
        }
        if self.status == HealthStatus::Up && self.share.is_some_and(Share::is_bad) {
            self.become_status(HealthStatus::Degraded, self.observed_at);
        }
        self
    }

    fn answered(&mut self, now: Timestamp) {
        self.last_success_at = Some(now);
        self.is_cut = false;
        self.agreed = None;
        self.end_lone(now);
        self.recovered(now);
    }

    /// A stream that has begun ends every belief but one: that answers break off. That one ends with an answer that does not, so
    /// that a channel all of whose streams break does not look well because they begin.
    fn begun(&mut self, now: Timestamp) {
        self.begun_at = Some(now);
        self.end_lone_but_cuts(now);
        if self.breaks_off() {
            return self.forget_gone();
        }
        self.agreed = None;
        self.recovered(now);
    }

    /// Whether a stream that begins would end something.
    fn is_ended_by_begun(&self) -> bool {
        let is_settled = self.status == HealthStatus::Up && self.failures == 0 && self.rest_until.is_none();
        !(is_settled || self.breaks_off()) || self.lone.iter().any(|lone| !lone.health.breaks_off())
    }

    /// Whether it is believed that its answers break off, or was until a probe that is no stream found nothing wrong.
    pub(super) const fn breaks_off(&self) -> bool {
        self.is_cut && (self.failures > 0 || self.agreed.is_some())
    }

    /// When a real request last proved that credential and model answer.
    pub(super) fn proved_at(&self) -> Option<Timestamp> {
        self.last_success_at.max(self.begun_at)
    }

    /// When a real request last proved what speaks against such a failure.
    pub(super) fn proved_against(&self, kind: FailureKind) -> Option<Timestamp> {
        if kind == FailureKind::Cut { self.last_success_at } else { self.proved_at() }
    }

    fn recovered(&mut self, now: Timestamp) {
        self.failures = 0;
        self.rest_until = None;
        self.forget_gone();
        let is_bad = self.share.is_some_and(Share::is_bad);
        self.become_status(if is_bad { HealthStatus::Degraded } else { HealthStatus::Up }, now);
    }

    fn listed(&mut self, found: Result<Option<InList>, (FailureKind, String)>, latency_ms: u64, now: Timestamp) {
        let message = match &found {
            Ok(Some(InList::There)) => "its provider lists it".to_owned(),
            Ok(Some(InList::Missing(_))) => "its provider's list does not have it".to_owned(),
            Ok(None) => "its provider is reachable".to_owned(),
            Err((_, message)) => message.clone(),
        };
        self.last_probe = Some(Probe { at: now, level: 1, ok: found.is_ok(), latency_ms, message: Some(message) });
        let was_there = self.listing.as_ref().map(|listing| listing.is_there);
        match found {
            Err((kind, message)) => {
                let is_answering = self.proved_at().is_some_and(|at| now < at.plus(ANSWERED_MS));
                if !is_answering {
                    self.is_real_failure = false;
                    self.fail(LastFailure { at: now, kind, message }, None);
                }
            }
            Ok(Some(InList::There)) if was_there == Some(true) => {}
            Ok(Some(InList::There)) => {
                self.listing = Some(Listing { is_there: true, since: now, near: Vec::new() });
                // It is back in the list; whether it answers, the next call finds out.
                self.rest_until = self.rest_until.filter(|_| was_there.is_none());
            }
            // A hint: whether it still answers, a call finds out at once. Which ids are near is told beside it: they are not for
            // everybody.
            Ok(Some(InList::Missing(near))) if was_there == Some(true) => {
                self.listing = Some(Listing { is_there: false, since: now, near });
            }
            Ok(Some(InList::Missing(_))) => self.stays_gone(now),
            Ok(_) => {}
        }
    }

    /// It is gone from the list for a while, and nothing was seen of it since: there is no budget for calls, or they tell nothing.
    fn stays_gone(&mut self, now: Timestamp) {
        let Some(since) = self.listing.as_ref().filter(|listing| !listing.is_there).map(|listing| listing.since) else { return };
        let is_told = self.last_failure.as_ref().is_some_and(|failure| failure.at >= since) || self.status == HealthStatus::Down;
        if !is_told && now >= since.plus(GONE_MS) {
            let message = "the provider's list of models does not have this id any more".to_owned();
            self.is_real_failure = false;
            self.fail(LastFailure { at: now, kind: FailureKind::Vanished, message }, None);
        }
    }

    fn called(&mut self, failure: Option<(FailureKind, String)>, latency_ms: u64, now: Timestamp) {
        let is_suspected = self.suspected_at(now).is_some();
        let message = failure.as_ref().map_or_else(|| "it answered a small call".to_owned(), |(_, message)| message.clone());
        self.last_probe = Some(Probe { at: now, level: 2, ok: failure.is_none(), latency_ms, message: Some(message) });
        self.called_at = Some(now);
        if let Some((kind, message)) = failure {
            self.is_real_failure = false;
            if is_suspected {
                self.confirm(kind);
            }
            self.fail(LastFailure { at: now, kind, message }, None);
            return self.absorb_lone(now);
        }
        self.forget_gone();
        let was_down = self.status == HealthStatus::Down;
        self.cleared(now);
        match (was_down, self.status) {
            (true, HealthStatus::Down) => {}
            (true, _) => self.ended_by_probe(now),
            (false, _) => self.clear_lone(now),
        }
    }

    /// A probe found nothing wrong.
    pub(super) fn cleared(&mut self, now: Timestamp) {
        let failed_at =
            self.last_failure.as_ref().filter(|_| self.is_real_failure && self.failures > 0).map(|failure| failure.at);
        let is_failing = failed_at.is_some_and(|at| now < at.plus(REAL_MS)) || self.share.is_some_and(Share::is_bad);
        self.rest_until = None;
        if self.is_held_down(now) {
            return;
        }
        if is_failing {
            // Real requests have the last word: the next one is let through.
            return self.become_status(HealthStatus::Degraded, now);
        }
        self.failures = 0;
        self.become_status(HealthStatus::Up, now);
    }

    /// What answers is there, whatever the list says.
    fn forget_gone(&mut self) {
        if self.listing.as_ref().is_some_and(|listing| !listing.is_there) {
            self.listing = None;
        }
    }

    /// While it is down, one request at a time finds out whether it is back.
    pub(super) fn rest_tried(&mut self, now: Timestamp) {
        self.rest_until = Some(now.plus(FIRST_REST_MS));
    }

    /// Several have met a failure: the one that is noted next is not the first.
    pub(super) fn confirm(&mut self, kind: FailureKind) {
        if kind != FailureKind::Load {
            self.failures = self.failures.max(OUTAGE.saturating_sub(1));
        }
    }

    pub(super) fn fail(&mut self, failure: LastFailure, retry_after_s: Option<u64>) {
        let (kind, at) = (failure.kind, failure.at);
        self.last_failure = Some(failure);
        self.is_cut |= kind == FailureKind::Cut;
        if kind == FailureKind::Load {
            let asked = retry_after_s.and_then(|seconds| i64::try_from(seconds.saturating_mul(1000)).ok());
            self.rest_until = Some(at.plus(asked.unwrap_or(LOAD_REST_MS).min(LONGEST_LOAD_REST_MS)));
            return self.become_status(HealthStatus::Degraded, at);
        }
        self.failures = self.failures.saturating_add(if kind.is_certain() { OUTAGE } else { 1 });
        let doublings = self.failures.saturating_sub(OUTAGE).min(8);
        let rest_ms = FIRST_REST_MS.saturating_mul(1 << doublings).min(LONGEST_REST_MS);
        if self.failures >= OUTAGE || kind.is_slow() {
            self.rest_until = Some(at.plus(rest_ms));
        }
        self.become_status(if self.failures >= OUTAGE { HealthStatus::Down } else { HealthStatus::Degraded }, at);
    }

    fn become_status(&mut self, status: HealthStatus, now: Timestamp) {
        if self.status != status {
            self.status = status;
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AccountId;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000)
    }

    fn failed(kind: FailureKind) -> Observation {
        Observation::Failed { kind, message: "no".to_owned(), retry_after_s: None, by: None }
    }

    fn call(failure: Option<FailureKind>) -> Observation {
        Observation::Called { failure: failure.map(|kind| (kind, "no".to_owned())), latency_ms: 5 }
    }

    fn list(found: Option<InList>) -> Observation {
        Observation::Listed { found: Ok(found), latency_ms: 5 }
    }

    fn after(seen: impl IntoIterator<Item = (i64, Observation)>) -> Health {
        seen.into_iter().fold(Health::default(), |health, (second, seen)| health.observe(seen, at(second)))
    }

    #[test]
    fn one_failure_is_not_an_outage_and_two_are() {
        let once = after([(0, failed(FailureKind::Server))]);
        assert_eq!((once.status, once.is_ready(at(0))), (HealthStatus::Degraded, true));
        let twice = once.observe(failed(FailureKind::Timeout), at(1));
        assert_eq!((twice.status, twice.is_ready(at(1))), (HealthStatus::Down, false));
    }

    #[test]
    fn a_slow_failure_is_tried_last_for_a_minute_though_it_is_no_outage() {
        for kind in [FailureKind::Timeout, FailureKind::Connect] {
            let once = after([(0, failed(kind))]);
            assert_eq!((once.status, once.is_ready(at(59)), once.is_ready(at(60))), (HealthStatus::Degraded, false, true));
            assert!(once.is_expected_to_answer(at(1)));
        }
    }

    #[test]
    fn load_is_not_death() {
        let health = after((0..10).map(|second| (second, failed(FailureKind::Load))));
        assert_eq!((health.status, health.failures), (HealthStatus::Degraded, 0));
        assert!(!health.is_expected_to_answer(at(10)) && health.is_ready(at(15)) && health.is_expected_to_answer(at(15)));
        let asked =
            Observation::Failed { kind: FailureKind::Load, message: String::new(), retry_after_s: Some(86_400), by: None };
        assert!(health.observe(asked, at(20)).is_ready(at(80)), "a long retry-after does not rest it for a day");
    }

    #[test]
    fn a_refused_credential_is_an_outage_at_once() {
        assert_eq!(after([(0, failed(FailureKind::Credential))]).status, HealthStatus::Down);
    }

    #[test]
    fn recovery_is_automatic_and_half_open() {
        let down = after([(0, failed(FailureKind::Credential))]);
        assert!(!down.is_ready(at(59)) && down.is_ready(at(60)), "its time has come");
        let tried = down.observe(Observation::Tried { by: None }, at(61));
        assert!(!tried.is_ready(at(61)), "one request at a time");
        let back = tried.observe(Observation::Answered, at(62));
        assert_eq!((back.status, back.is_ready(at(62)), back.failures), (HealthStatus::Up, true, 0));
    }

    #[test]
    fn it_rests_longer_with_every_failure_but_no_longer_than_five_minutes() {
        let mut health = Health::default();
        let mut rests = Vec::new();
        for second in 0..8 {
            health = health.observe(failed(FailureKind::Server), at(second));
            rests.push(health.rest_until.map(|until| until.since(at(second)) / 1000));
        }
        assert_eq!(rests[..5], [None, Some(60), Some(120), Some(240), Some(300)]);
        assert_eq!(rests[7], Some(300));
    }

    #[test]
    fn a_good_probe_does_not_outweigh_failing_requests() {
        let down = after([(0, failed(FailureKind::Server)), (1, failed(FailureKind::Server))]);
        for seen in [list(None), list(Some(InList::There))] {
            assert_eq!(down.clone().observe(seen, at(2)).status, HealthStatus::Down);
        }
        let probed = down.observe(call(None), at(2));
        assert_eq!((probed.status, probed.is_ready(at(2))), (HealthStatus::Degraded, true), "a real request may try");
        assert_eq!(probed.clone().observe(failed(FailureKind::Server), at(3)).status, HealthStatus::Down);
        assert_eq!(probed.clone().observe(call(None), at(60)).status, HealthStatus::Degraded);
        assert_eq!(probed.observe(call(None), at(302)).status, HealthStatus::Up, "after five minutes without one it may");
    }

    #[test]
    fn what_only_probes_know_is_told_by_probes() {
        assert_eq!(after([(0, list(Some(InList::There)))]).status, HealthStatus::Unknown, "to be listed is not to answer");
        assert_eq!(after([(0, call(None))]).status, HealthStatus::Up);
        assert_eq!(after([(0, call(Some(FailureKind::Server)))]).status, HealthStatus::Degraded);
        let down = after([(0, call(Some(FailureKind::Server))), (60, call(Some(FailureKind::Server)))]);
        assert_eq!(down.status, HealthStatus::Down);
        assert_eq!(down.observe(call(None), at(120)).status, HealthStatus::Up);
    }

    #[test]
    fn a_failing_list_says_nothing_while_requests_are_answered() {
        let broken = || Observation::Listed { found: Err((FailureKind::Credential, "no".to_owned())), latency_ms: 5 };
        assert_eq!(after([(0, Observation::Answered), (60, broken())]).status, HealthStatus::Up);
        assert_eq!(after([(0, Observation::Answered), (120, broken())]).status, HealthStatus::Down);
        assert_eq!(after([(0, broken())]).status, HealthStatus::Down);
    }

    #[test]
    fn a_list_is_a_hint_and_what_is_gone_from_it_is_down_only_where_nothing_else_tells() {
        let near = || InList::Missing(vec!["m-2".to_owned()]);
        let never = after([(0, call(None)), (1, list(Some(near())))]);
        assert_eq!((never.status, never.listing), (HealthStatus::Up, None), "many lists are not complete");
        let gone = after([(0, list(Some(InList::There))), (1, call(None)), (60, list(Some(near())))]);
        assert_eq!((gone.status, gone.listing.as_ref().map(|listing| listing.is_there)), (HealthStatus::Up, Some(false)));
        for answer in [Observation::Answered, call(None)] {
            let answered = gone.clone().observe(answer, at(61)).observe(list(Some(near())), at(600));
            assert_eq!(
                (answered.status, answered.listing),
                (HealthStatus::Up, None),
                "what answers is there, whatever the list says"
            );
        }
        let called = gone.clone().observe(call(Some(FailureKind::NotFound)), at(61));
        assert_eq!(
            (called.status, called.last_failure.map(|failure| failure.kind)),
            (HealthStatus::Down, Some(FailureKind::NotFound))
        );
        assert_eq!(gone.clone().observe(list(Some(near())), at(120)).status, HealthStatus::Up, "once more says no more");
        let untold = gone.observe(list(Some(near())), at(180));
        let failure = untold.last_failure.clone().unwrap();
        assert_eq!((untold.status, failure.kind), (HealthStatus::Down, FailureKind::Vanished), "nobody calls it");
        assert!(failure.message.ends_with("any more"), "{}", failure.message);
        let still = untold.clone().observe(list(Some(near())), at(240));
        assert_eq!((still.since, still.failures), (at(180), untold.failures), "it vanishes once");
        let listed = still.observe(list(Some(InList::There)), at(300));
        assert!(listed.status == HealthStatus::Down && listed.is_ready(at(300)), "whether it answers, a call finds out");
    }

    #[test]
    fn hearing_of_a_failure_is_like_seeing_it_and_hearing_twice_like_once() {
        let failure = |second| Some(LastFailure { at: at(second), kind: FailureKind::Server, message: "no".to_owned() });
        // Three accounts met it: what one meets, see the tests of witnesses.
        let by = |failed, second| {
            let met = |n: &str| (Witness::of(&AccountId::parse(n).unwrap()), Met { failed, failure: failure(second).unwrap() });
            ["a", "b", "c"].into_iter().map(met).collect::<BTreeMap<_, _>>()
        };
        for (recent, status) in [
            (Recent { ok: 1, ok_at: Some(at(5)), ..Recent::default() }, HealthStatus::Up),
            (Recent { failed: 1, in_row: 1, failure: failure(5), ..Recent::default() }, HealthStatus::Unknown),
            (Recent { failed: 2, in_row: 2, failure: failure(5), by: by(1, 5), ..Recent::default() }, HealthStatus::Down),
            (Recent { ok: 1, failed: 2, in_row: 0, ok_at: Some(at(6)), failure: failure(5), by: by(1, 5) }, HealthStatus::Up),
            (Recent { ok: 1, failed: 2, in_row: 2, ok_at: Some(at(4)), failure: failure(5), by: by(1, 5) }, HealthStatus::Down),
            (
                Recent { ok: 9, failed: 3, in_row: 0, ok_at: Some(at(6)), failure: failure(5), by: by(1, 5) },
                HealthStatus::Degraded,
            ),
        ] {
            let heard = Health::default().learn(&recent);
            assert_eq!(heard.status, status, "{recent:?}");
            assert_eq!(heard.clone().learn(&recent), heard);
        }
        let seen = after([(4, failed(FailureKind::Server)), (5, failed(FailureKind::Server))]);
        let heard = seen.clone().learn(&Recent { failed: 2, in_row: 2, failure: failure(5), by: by(1, 5), ..Recent::default() });
        assert_eq!((heard.status, heard.failures, heard.rest_until), (seen.status, seen.failures, seen.rest_until));
    }

    #[test]
    fn what_fails_often_is_degraded_though_it_answers_in_between() {
        let met = |n: &str| {
            let failure = LastFailure { at: at(5), kind: FailureKind::Server, message: "no".to_owned() };
            (Witness::of(&AccountId::parse(n).unwrap()), Met { failed: 7, failure })
        };
        let by = ["a", "b", "c"].into_iter().map(met).collect();
        let often = Recent { ok: 80, failed: 21, in_row: 0, ok_at: Some(at(6)), failure: None, by };
        let health = Health::default().learn(&often);
        assert_eq!(health.status, HealthStatus::Degraded);
        assert!(health.is_ready(at(6)));
        assert_eq!(health.clone().observe(Observation::Answered, at(20)).status, HealthStatus::Degraded);
        let better = health.learn(&Recent { ok: 100, failed: 1, ok_at: Some(at(300)), ..Recent::default() });
        assert_eq!(better.status, HealthStatus::Up);
    }

    #[test]
    fn a_stream_that_begins_ends_every_belief_but_that_streams_break() {
        use FailureKind::{Connect, Credential, Cut, Load, NotFound, Server, Timeout, Unreadable};
        for kind in [Connect, Timeout, Load, Server, Credential, NotFound, Unreadable, Cut] {
            let by = AccountId::parse("a").map(|account| Witness::of(&account));
            let met = Observation::Failed { kind, message: "no".to_owned(), retry_after_s: None, by };
            for belief in [failed(kind), met] {
                let believed = after([(0, Observation::Answered), (1, belief.clone()), (2, belief)]);
                assert_eq!(believed.is_news(&Observation::Begun, at(3)), kind != Cut, "{kind:?}");
                let begun = believed.clone().observe(Observation::Begun, at(3));
                let told = begun.told_to(by, at(3));
                assert_eq!(told.status == HealthStatus::Up, kind != Cut, "{kind:?}");
                let ended = begun.observe(Observation::Answered, at(4));
                assert_eq!((ended.told_to(by, at(4)).status, ended.lone.len()), (HealthStatus::Up, 0), "{kind:?}");
            }
        }
    }

    #[test]
    fn while_a_long_stream_runs_its_channel_is_alive() {
        let begun = after([(0, Observation::Begun)]);
        assert_eq!((begun.status, begun.last_success_at), (HealthStatus::Up, None));
        let broken = Observation::Listed { found: Err((FailureKind::Credential, "no".to_owned())), latency_ms: 5 };
        assert_eq!(begun.clone().observe(broken, at(60)).status, HealthStatus::Up);
        assert!(!begun.is_news(&Observation::Begun, at(4)) && begun.is_news(&Observation::Begun, at(5)));
        let complete = begun.observe(Observation::Answered, at(600));
        assert_eq!((complete.status, complete.last_success_at), (HealthStatus::Up, Some(at(600))));
    }

    #[test]
    fn one_more_answer_is_no_news() {
        let up = after([(0, Observation::Answered)]);
        assert!(!up.is_news(&Observation::Answered, at(4)) && up.is_news(&Observation::Answered, at(5)));
        assert!(!up.is_news(&Observation::Tried { by: None }, at(4)));
        let down = after([(0, failed(FailureKind::Credential))]);
        assert!(down.is_news(&Observation::Tried { by: None }, at(1)) && down.is_news(&Observation::Answered, at(1)));
    }
}
