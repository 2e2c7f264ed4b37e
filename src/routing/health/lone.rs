//! Who saw a failure: one account, or several.
//!
//! What always holds: what one account meets is believed for that account alone, until as many as [`AGREE`] have met the like
//! within [`WITNESS_MS`], or a probe has. So nobody can make a candidate look worse to others by what he asks of it. A success of
//! anybody's ends all of it.

use super::belief::{Health, HealthStatus, LastFailure, Lone, MOST_LONE};
use super::witness::Witness;
use crate::routing::attempt::FailureKind;
use crate::time::{MINUTE_MS, Timestamp};

/// So many accounts must have met a failure before it is believed of the candidate.
pub const AGREE: usize = 3;
/// Within this time, in milliseconds; so long, too, an account's own belief lasts after its last failure.
pub const WITNESS_MS: i64 = 600_000;
/// The same for load, which passes sooner.
const LOAD_WITNESS_MS: i64 = MINUTE_MS;
/// After a probe found nothing wrong, the same account's failures are no reason for another one within this time.
const CLEARED_MS: i64 = 300_000;

impl Lone {
    fn failure(&self) -> Option<&LastFailure> {
        self.health.last_failure.as_ref()
    }

    /// When it last met a failure.
    fn failed_at(&self) -> Timestamp {
        self.failure().map_or(Timestamp::default(), |failure| failure.at)
    }

    fn is_load(&self) -> bool {
        self.failure().is_some_and(|failure| failure.kind == FailureKind::Load)
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.failed_at().plus(WITNESS_MS)
    }
}

impl Health {
    /// Notes what an account met; whether that is believed of the candidate now.
    pub(super) fn is_agreed(&mut self, by: Witness, failure: &LastFailure, retry_after_s: Option<u64>) -> bool {
        // What is down is no better for being busy.
        if self.status == HealthStatus::Down && failure.kind == FailureKind::Load {
            return false;
        }
        let mut lone = self.take_lone(by, failure.at);
        lone.health.is_real_failure = true;
        lone.health.fail(failure.clone(), retry_after_s);
        self.put_lone(lone);
        self.agrees(failure)
    }

    /// Notes what an account met as the counts of all isolates tell of it: so many failures of such a kind. Again is the same.
    pub(super) fn hear(&mut self, by: Witness, failures: u32, failure: &LastFailure) {
        let is_known = self.lone.iter().any(|lone| lone.by == by && lone.failed_at() >= failure.at);
        let is_busy = self.status == HealthStatus::Down && failure.kind == FailureKind::Load;
        if is_busy || self.is_settled_since(failure) || is_known {
            return;
        }
        let mut lone = self.take_lone(by, failure.at);
        lone.health.failures = lone.health.failures.max(failures.saturating_sub(1));
        lone.health.is_real_failure = true;
        lone.health.fail(failure.clone(), None);
        self.put_lone(lone);
    }

    /// Whether it is over with a failure: somebody was answered after it, a probe has called since, or it is part of what all know.
    fn is_settled_since(&self, failure: &LastFailure) -> bool {
        let known_at = match self.status {
            HealthStatus::Down => self.last_failure.as_ref().map(|known| known.at),
            _ => self.called_at,
        };
        self.proved_against(failure.kind).max(known_at).is_some_and(|at| at >= failure.at)
    }

    /// Whether enough accounts met failures like this one.
    pub(super) fn agrees(&self, failure: &LastFailure) -> bool {
        let is_load = failure.kind == FailureKind::Load;
        let window_ms = if is_load { LOAD_WITNESS_MS } else { WITNESS_MS };
        let is_like = |lone: &&Lone| lone.is_load() == is_load && failure.at < lone.failed_at().plus(window_ms);
        self.lone.iter().filter(is_like).count() >= AGREE
    }

    /// What an account believed, or what all believe; taken out of the list.
    fn take_lone(&mut self, by: Witness, now: Timestamp) -> Lone {
        self.lone.retain(|lone| lone.is_fresh(now));
        match self.lone.iter().position(|lone| lone.by == by) {
            Some(place) => self.lone.remove(place),
            None => Lone { by, health: Self { lone: Vec::new(), agreed: None, ..self.clone() }, cleared_at: None },
        }
    }

    fn put_lone(&mut self, lone: Lone) {
        self.lone.push(lone);
        self.lone.sort_by_key(|lone| (lone.failed_at(), lone.by));
        let beyond = self.lone.len().saturating_sub(MOST_LONE);
        self.lone.drain(..beyond);
    }

    /// Somebody was answered then: what failed before is over.
    pub(super) fn end_lone(&mut self, answered_at: Timestamp) {
        self.lone.retain(|lone| lone.failed_at() > answered_at);
    }

    /// A stream began then: what failed before is over, but for answers that broke off.
    pub(super) fn end_lone_but_cuts(&mut self, begun_at: Timestamp) {
        self.lone.retain(|lone| lone.failed_at() > begun_at || lone.health.breaks_off());
    }

    /// It is known by then to be down: what single accounts believed until then is what all believe.
    pub(super) fn absorb_lone(&mut self, now: Timestamp) {
        if self.status == HealthStatus::Down {
            self.lone.retain(|lone| lone.is_load() || lone.failed_at() > now);
        }
    }

    /// A probe found nothing wrong: who met a failure is let through again.
    pub(super) fn clear_lone(&mut self, now: Timestamp) {
        self.lone.retain(|lone| lone.is_fresh(now));
        for lone in &mut self.lone {
            lone.health.cleared(now);
            lone.cleared_at = Some(now);
        }
    }

    /// What an account believes, for its own requests and lists: all that is known, and what it met itself.
    pub fn told_to(&self, by: Option<Witness>, now: Timestamp) -> Self {
        let own = by.and_then(|by| self.lone.iter().find(|lone| lone.by == by)).filter(|lone| lone.is_fresh(now));
        let common = Self { lone: Vec::new(), ..self.clone() };
        let Some(Lone { health: own, .. }) = own.filter(|own| own.health.status >= self.status) else { return common };
        Self {
            status: own.status,
            since: own.since,
            failures: own.failures,
            rest_until: own.rest_until.max(self.rest_until),
            last_failure: own.last_failure.clone(),
            is_real_failure: own.is_real_failure,
            ..common
        }
    }

    /// One request at a time finds out whether it is back for who believes that it is down.
    pub(super) fn try_lone(&mut self, by: Option<Witness>, now: Timestamp) {
        if let Some(lone) = self.lone.iter_mut().find(|lone| Some(lone.by) == by && lone.health.status == HealthStatus::Down) {
            lone.health.rest_tried(now);
        }
    }

    /// Whether somebody believes it to be down, and would be the one to try it.
    pub(super) fn is_down_for(&self, by: Option<Witness>) -> bool {
        self.lone.iter().any(|lone| Some(lone.by) == by && lone.health.status == HealthStatus::Down)
    }

    /// Since when somebody has met failures that are more than load, if no probe has looked into it since and not all know.
    pub fn suspected_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.open(now).map(Lone::failed_at).min()
    }

    /// The same, with who it is, and since when each believes it.
    pub fn suspicions(&self, now: Timestamp) -> Vec<(Witness, Timestamp)> {
        self.open(now).map(|lone| (lone.by, lone.health.since)).collect()
    }

    fn open(&self, now: Timestamp) -> impl Iterator<Item = &Lone> {
        let is_cleared = move |lone: &&Lone| lone.cleared_at.is_some_and(|at| now < at.plus(CLEARED_MS));
        let is_looked_into = |lone: &&Lone| self.called_at.is_some_and(|at| at >= lone.failed_at());
        let open =
            self.lone.iter().filter(move |lone| self.status != HealthStatus::Down && lone.is_fresh(now) && !lone.is_load());
        open.filter(move |lone| !is_cleared(lone) && !is_looked_into(lone))
    }

    /// Takes over what other accounts are known to have met elsewhere.
    pub(super) fn merge_lone(&mut self, other: &[Lone]) {
        for theirs in other {
            let is_known = self.lone.iter().any(|lone| lone.by == theirs.by && lone.failed_at() >= theirs.failed_at());
            let is_settled = theirs.failure().is_none_or(|failure| self.is_settled_since(failure));
            if !is_settled && !is_known {
                self.lone.retain(|lone| lone.by != theirs.by);
                self.put_lone(theirs.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HealthView, InList, Observation, Recent};
    use super::*;
    use crate::id::{AccountId, ChannelId};
    use crate::routing::health::{CandidateId, Met};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1000)
    }

    fn account(name: &str) -> Witness {
        Witness::of(&AccountId::parse(name).unwrap())
    }

    fn failed(kind: FailureKind, by: &str) -> Observation {
        Observation::Failed { kind, message: "no".to_owned(), retry_after_s: None, by: Some(account(by)) }
    }

    fn call(failure: Option<FailureKind>) -> Observation {
        Observation::Called { failure: failure.map(|kind| (kind, "no".to_owned())), latency_ms: 5 }
    }

    const KINDS: [FailureKind; 8] = [
        FailureKind::Connect,
        FailureKind::Timeout,
        FailureKind::Load,
        FailureKind::Server,
        FailureKind::Credential,
        FailureKind::NotFound,
        FailureKind::Unreadable,
        FailureKind::Cut,
    ];

    #[test]
    fn whatever_one_account_meets_nobody_else_is_told() {
        for before in [Health::default(), Health::default().observe(Observation::Answered, at(0))] {
            for kind in KINDS {
                let mut health = before.clone();
                for second in 1..100 {
                    health = health.observe(Observation::Tried { by: Some(account("hostile")) }, at(second));
                    health = health.observe(failed(kind, "hostile"), at(second));
                    for other in [None, Some(account("paying"))] {
                        assert_eq!(health.told_to(other, at(second)), before, "{kind:?}");
                    }
                    let own = health.told_to(Some(account("hostile")), at(second));
                    assert!(own.status >= HealthStatus::Degraded && own.last_failure.is_some(), "it meets it itself: {kind:?}");
                }
                assert_eq!((health.status, health.rest_until, health.observed_at), (before.status, None, before.observed_at));
            }
        }
    }

    #[test]
    fn an_answer_to_anybody_is_news_while_somebody_believes_otherwise() {
        let up = Health::default().observe(Observation::Answered, at(0));
        assert!(!up.is_news(&Observation::Answered, at(1)));
        let met = up.observe(failed(FailureKind::Credential, "a"), at(1));
        assert!(met.is_news(&Observation::Answered, at(2)));
        assert!(met.is_news(&Observation::Tried { by: Some(account("a")) }, at(2)), "one at a time");
        assert!(!met.is_news(&Observation::Tried { by: Some(account("b")) }, at(2)));
        assert_eq!(met.observe(Observation::Answered, at(2)).told_to(Some(account("a")), at(2)).status, HealthStatus::Up);
    }

    #[test]
    fn when_enough_accounts_meet_failures_it_is_down_for_all() {
        let seen = |names: &[&str]| {
            let up = Health::default().observe(Observation::Answered, at(0));
            names.iter().zip(1..).fold(up, |health, (name, second)| health.observe(failed(FailureKind::Server, name), at(second)))
        };
        assert_eq!(seen(&["a", "b"]).status, HealthStatus::Up);
        assert_eq!(seen(&["a", "b", "a", "b", "a"]).status, HealthStatus::Up);
        let down = seen(&["a", "b", "c"]);
        assert_eq!((down.status, down.is_ready(at(3))), (HealthStatus::Down, false));
        let back = down.observe(Observation::Answered, at(70));
        assert_eq!((back.status, back.lone.len()), (HealthStatus::Up, 0), "one answer ends it for all");
        assert_eq!(
            seen(&["a", "b"]).observe(failed(FailureKind::Server, "c"), at(900)).status,
            HealthStatus::Up,
            "they are too far apart"
        );
        let mixed = seen(&["a", "b"]).observe(failed(FailureKind::Load, "c"), at(3));
        assert_eq!(mixed.status, HealthStatus::Up, "load is not the same");
    }

    #[test]
    fn what_all_believed_and_a_probe_took_back_is_over_for_each_alike() {
        let down = ["a", "b", "c"].iter().fold(Health::default().observe(call(None), at(0)), |health, name| {
            health.observe(failed(FailureKind::Server, name), at(1))
        });
        let back = down.observe(call(None), at(60));
        for name in ["a", "b", "c", "d"] {
            assert_eq!(back.told_to(Some(account(name)), at(60)), back.told_to(None, at(60)), "{name}");
        }
    }

    #[test]
    fn load_that_several_meet_rests_it_for_all() {
        let loaded =
            ["a", "b", "c"].iter().fold(Health::default(), |health, name| health.observe(failed(FailureKind::Load, name), at(1)));
        assert_eq!((loaded.status, loaded.failures, loaded.is_expected_to_answer(at(2))), (HealthStatus::Degraded, 0, false));
    }

    #[test]
    fn a_probe_confirms_what_one_account_met_or_clears_it() {
        let up = Health::default().observe(call(None), at(0));
        for kind in [FailureKind::Server, FailureKind::Timeout, FailureKind::NotFound, FailureKind::Credential] {
            let met = up.clone().observe(failed(kind, "a"), at(10));
            assert_eq!(met.suspected_at(at(11)), Some(at(10)));
            let confirmed = met.clone().observe(call(Some(FailureKind::Server)), at(20));
            assert_eq!((confirmed.status, confirmed.lone.len()), (HealthStatus::Down, 0), "{kind:?} is confirmed");
            let over = confirmed.observe(call(None), at(80));
            assert_eq!((over.status, over.told_to(Some(account("a")), at(80)).status), (HealthStatus::Up, HealthStatus::Up));
            let cleared = met.observe(call(None), at(20));
            assert_eq!((cleared.status, cleared.suspected_at(at(21))), (HealthStatus::Up, None));
            assert!(cleared.told_to(Some(account("a")), at(21)).is_ready(at(21)), "it may try again");
        }
        assert_eq!(
            up.clone().observe(call(Some(FailureKind::Server)), at(20)).status,
            HealthStatus::Degraded,
            "without it one is not enough"
        );
        let loaded = up.observe(failed(FailureKind::Load, "a"), at(10));
        assert_eq!(
            (loaded.suspected_at(at(11)), loaded.observe(call(Some(FailureKind::Server)), at(20)).status),
            (None, HealthStatus::Degraded)
        );
    }

    #[test]
    fn who_was_wrong_is_no_reason_to_look_again_for_a_while_and_others_are() {
        let cleared = Health::default().observe(failed(FailureKind::Server, "a"), at(10)).observe(call(None), at(20));
        let again = cleared.observe(failed(FailureKind::Server, "a"), at(30));
        assert_eq!(again.suspected_at(at(31)), None);
        assert_eq!(again.clone().observe(failed(FailureKind::Server, "b"), at(40)).suspected_at(at(41)), Some(at(40)));
        assert_eq!(again.suspected_at(at(320)), Some(at(30)));
    }

    #[test]
    fn what_all_isolates_counted_of_one_account_is_its_own_and_of_several_everybodys() {
        let failure = |second| LastFailure { at: at(second), kind: FailureKind::Server, message: "no".to_owned() };
        let recent = |names: &[&str]| Recent {
            failed: 90,
            in_row: 90,
            failure: Some(failure(9)),
            by: names.iter().map(|name| (account(name), Met { failed: 30, failure: failure(9) })).collect(),
            ..Recent::default()
        };
        let one = Health::default().learn(&recent(&["a"]));
        assert_eq!((one.status, one.told_to(Some(account("a")), at(10)).status), (HealthStatus::Unknown, HealthStatus::Down));
        assert_eq!(one.clone().learn(&recent(&["a"])), one);
        assert_eq!(Health::default().learn(&recent(&["a", "b", "c"])).status, HealthStatus::Down);
    }

    #[test]
    fn the_account_with_the_most_failures_counts_no_more_than_the_next() {
        let met = |failed| Met { failed, failure: LastFailure { at: at(1), kind: FailureKind::Server, message: String::new() } };
        for (counts, ok, status) in [
            (&[1_000][..], 90, HealthStatus::Up),
            (&[1_000, 1], 90, HealthStatus::Up),
            (&[1_000, 1, 1], 90, HealthStatus::Up),
            (&[1_000, 4, 3], 90, HealthStatus::Degraded),
        ] {
            let by = counts.iter().enumerate().map(|(n, failed)| (account(&format!("a{n}")), met(*failed))).collect();
            let failed = counts.iter().sum();
            let recent = Recent { ok, failed, ok_at: Some(at(2)), by, ..Recent::default() };
            assert_eq!(Health::default().learn(&recent).status, status, "{counts:?}");
        }
    }

    #[test]
    fn many_accounts_leave_few_beliefs_and_they_end() {
        let mut health = Health::default().observe(Observation::Answered, at(0));
        for n in 0..50 {
            health = health.observe(failed(FailureKind::Load, &format!("a{n}")), at(n * 120));
        }
        assert!(health.lone.len() <= MOST_LONE);
        let late = health.observe(failed(FailureKind::Server, "z"), at(50 * 120 + 600));
        assert_eq!(late.lone.len(), 1);
        assert_eq!(late.told_to(Some(account("z")), at(50 * 120 + 1_300)).status, HealthStatus::Up);
    }

    #[test]
    fn what_one_account_goes_on_to_meet_makes_an_outage_no_longer_for_others() {
        let down = ["a", "b", "c"].iter().fold(Health::default().observe(call(None), at(0)), |health, name| {
            health.observe(failed(FailureKind::Server, name), at(1))
        });
        let mut met = down.clone();
        for second in 2..100 {
            met = met.observe(failed(FailureKind::Server, "a"), at(second));
            assert_eq!(met.told_to(None, at(second)), down.told_to(None, at(second)));
            assert_eq!(met.suspected_at(at(second)), None, "a probe comes when its time has come");
        }
        let two = met.observe(failed(FailureKind::Server, "b"), at(100));
        assert_eq!(two.agreed, down.agreed, "nor two");
        assert_eq!(two.observe(failed(FailureKind::Server, "c"), at(101)).agreed.map(|agreed| agreed.at), Some(at(101)));
    }

    #[test]
    fn a_list_of_another_isolate_keeps_what_accounts_met_here_and_the_other_way_round() {
        let id = CandidateId { channel: ChannelId::parse("a").unwrap(), upstream_model: "m".to_owned() };
        let (mut ours, mut theirs) = (HealthView::default(), HealthView::default());
        ours.observe(&id, failed(FailureKind::Server, "a"), at(10));
        theirs.observe(&id, failed(FailureKind::Server, "b"), at(11));
        theirs.observe(&id, Observation::Listed { found: Ok(Some(InList::There)), latency_ms: 1 }, at(12));
        ours.merge(&theirs);
        assert_eq!(ours.of(&id).lone.len(), 2);
        theirs.observe(&id, Observation::Answered, at(13));
        ours.merge(&theirs);
        assert_eq!((ours.of(&id).status, ours.of(&id).lone.len()), (HealthStatus::Up, 0));
    }

    #[test]
    fn what_a_round_confirmed_is_no_longer_anybodys_own_where_it_was_met() {
        let id = CandidateId { channel: ChannelId::parse("a").unwrap(), upstream_model: "m".to_owned() };
        let mut ours = HealthView::default();
        ours.observe(&id, failed(FailureKind::Server, "a"), at(10));
        let mut round = ours.clone();
        round.observe(&id, call(Some(FailureKind::Server)), at(20));
        ours.merge(&round);
        assert_eq!((ours.of(&id).status, ours.of(&id).lone.len()), (HealthStatus::Down, 0));
        ours.observe(&id, failed(FailureKind::Server, "b"), at(30));
        ours.merge(&round);
        assert_eq!(ours.told_to(&id, Some(account("a")), at(31)), ours.told_to(&id, None, at(31)), "all know");
        round.observe(&id, call(None), at(80));
        ours.merge(&round);
        let told = ours.told_to(&id, Some(account("a")), at(81));
        assert_eq!((told.status, ours.of(&id).status), (HealthStatus::Up, HealthStatus::Up));
    }

    #[test]
    fn a_witness_is_the_same_everywhere_and_no_name() {
        assert_eq!(account("a"), account("a"));
        assert_ne!(account("a"), account("b"));
        assert_eq!(Witness::parse(&account("a").name()), Some(account("a")));
    }
}
