//! Which candidates are due for a small real call: those about which nothing else tells enough, the longest overdue first.
//!
//! The rules: what answers real requests is not called; what is up is called every half hour, and at once when something else on
//! its channel has just failed; what is not is called every minute for ten minutes, then every five; what vanished from its
//! provider's list at once, and then as seldom as what is up; what nobody has ever called is called at once. A few in each round,
//! spread by the candidate's name, so that a catalogue of any size comes to a steady trickle.
//!
//! A third of a round's places is for what is well, a third for what is not, and a third for what failed for single accounts, one
//! account's after the other's; what one does not need the first two share. What always holds: whatever one account meets, a
//! candidate that is due otherwise is called within as many rounds as the catalogue has fours of candidates, and one more; where
//! calls hang until the round is over, within as many rounds as it has candidates.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::sold::candidates;
use crate::catalog::{Catalog, Model, RouteKind};
use crate::id::ChannelId;
use crate::routing::attempt::FailureKind;
use crate::routing::health::{CandidateId, Health, HealthStatus, HealthView, Witness};
use crate::time::{self, Timestamp};

/// Calls in one round.
const MOST: usize = 12;
/// So many of them for what single accounts met.
const MOST_REPORTED: usize = 4;
const MINUTE_MS: u64 = time::MINUTE_MS.unsigned_abs();
/// Rounds do not come to the millisecond.
const SLACK_MS: u64 = 15_000;

/// A candidate that is to be called, as which model over which route.
#[derive(Debug, Clone)]
pub struct ProbeTarget {
    /// The candidate.
    pub candidate: CandidateId,
    /// The model that is sold over it.
    pub model: Rc<Model>,
    /// The route, which has a price.
    pub route: RouteKind,
    /// Whether only single accounts' failures are the reason.
    pub is_reported: bool,
}

/// The places of one round.
#[derive(Debug, Default)]
pub struct Places {
    all: usize,
    reported: usize,
}

impl Places {
    /// Whether there is none left.
    pub const fn is_full(&self) -> bool {
        self.all >= MOST
    }

    /// Whether there is one for this.
    pub const fn has_room(&self, target: &ProbeTarget) -> bool {
        !(self.is_full() || target.is_reported && self.reported >= MOST_REPORTED)
    }

    /// Takes one. What cannot be paid takes none.
    pub fn take(&mut self, target: &ProbeTarget) {
        self.all = self.all.saturating_add(1);
        self.reported = self.reported.saturating_add(usize::from(target.is_reported));
    }
}

/// All candidates whose time has come, in the order in which they are called, as far as there are [`Places`].
pub fn due(catalog: &Catalog, view: &HealthView, now: Timestamp) -> Vec<ProbeTarget> {
    let troubles = troubles(catalog, view);
    let mut seen = BTreeSet::new();
    let (mut well, mut ill, mut reported) = (Vec::new(), Vec::new(), Vec::new());
    for model in catalog.models.values() {
        for route in model.routes.iter().filter(|route| route.price.is_some()) {
            for candidate in &route.candidates {
                let id = CandidateId::of(candidate);
                let is_capped = catalog.channel(&id.channel).is_none_or(|channel| !channel.probe_daily_cap.is_positive());
                if is_capped || !seen.insert(id.clone()) {
                    continue;
                }
                let (health, trouble_at) = (view.of(&id), troubles.get(&id.channel).copied());
                let target =
                    |is_reported| ProbeTarget { candidate: id.clone(), model: Rc::clone(model), route: route.kind, is_reported };
                match (urgency(&health, &id, trouble_at, now), health.suspicions(now)) {
                    (Some(urgency), _) if health.status == HealthStatus::Up => well.push((urgency, target(false))),
                    (Some(urgency), _) => ill.push((urgency, target(false))),
                    (None, met) if !met.is_empty() => reported.push((met, target(true))),
                    (None, _) => {}
                }
            }
        }
    }
    mixed([overdue(ill), overdue(well), in_turn(reported)])
}

/// The longest overdue first.
fn overdue(mut due: Vec<(u64, ProbeTarget)>) -> Vec<ProbeTarget> {
    due.sort_by_key(|(urgency, _)| std::cmp::Reverse(*urgency));
    due.into_iter().map(|(_, target)| target).collect()
}

/// What single accounts met, the oldest first, one of each account before the second of any.
fn in_turn(mut reported: Vec<(Vec<(Witness, Timestamp)>, ProbeTarget)>) -> Vec<ProbeTarget> {
    reported.sort_by_key(|(met, _)| met.iter().map(|(_, since)| *since).min());
    let mut taken: BTreeMap<Witness, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, ProbeTarget)> = Vec::new();
    for (met, target) in reported {
        let of = |by: &Witness| taken.get(by).copied().unwrap_or(0);
        let Some(by) = met.iter().map(|(by, _)| *by).min_by_key(|by| of(by)) else { continue };
        ranked.push((of(&by), target));
        taken.entry(by).and_modify(|count| *count = count.saturating_add(1)).or_insert(1);
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, target)| target).collect()
}

/// One of each in turn, as long as there are any.
fn mixed(queues: [Vec<ProbeTarget>; 3]) -> Vec<ProbeTarget> {
    let mut queues = queues.map(Vec::into_iter);
    let mut order = Vec::new();
    loop {
        let before = order.len();
        queues.iter_mut().for_each(|queue| order.extend(queue.next()));
        if order.len() == before {
            return order;
        }
    }
}

/// When something on a channel last failed that may be the channel's fault. Load and a lost id are no such thing.
fn troubles(catalog: &Catalog, view: &HealthView) -> BTreeMap<ChannelId, Timestamp> {
    let mut troubles: BTreeMap<ChannelId, Timestamp> = BTreeMap::new();
    for id in candidates(catalog) {
        let health = view.of(&id);
        let failure = health.last_failure.filter(|_| matches!(health.status, HealthStatus::Degraded | HealthStatus::Down));
        let is_own =
            |kind| matches!(kind, FailureKind::Load | FailureKind::NotFound | FailureKind::Absent | FailureKind::Vanished);
        if failure.is_some_and(|failure| !is_own(failure.kind)) {
            let latest = troubles.entry(id.channel).or_default();
            *latest = health.since.max(*latest);
        }
    }
    troubles
}

/// How far beyond its time a candidate is; none if its time has not come.
fn urgency(health: &Health, id: &CandidateId, trouble_at: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    let is_settled = health.status == HealthStatus::Up;
    // What the provider does not list any more costs nothing to know.
    let gone = health.listing.as_ref().filter(|listing| !listing.is_there).map(|listing| listing.since);
    let interval_ms = match health.status {
        HealthStatus::Up | HealthStatus::Down if is_settled || gone.is_some() => {
            30_u64.saturating_add(spread(id, 10)).saturating_mul(MINUTE_MS)
        }
        HealthStatus::Unknown => MINUTE_MS.saturating_mul(5),
        _ if now.since(health.since) <= 10 * MINUTE_MS => MINUTE_MS,
        _ => MINUTE_MS.saturating_mul(5),
    };
    let told_by_requests = health.last_success_at.max(health.begun_at).filter(|_| is_settled);
    // What a list says is no more than a reason to look.
    if let Some(since) = gone.filter(|since| health.called_at < Some(*since)) {
        return Some(now.since(since));
    }
    let Some(last) = health.called_at.max(told_by_requests).max(gone) else { return Some(u64::MAX) };
    let waited_ms = now.since(last).saturating_add(SLACK_MS);
    let troubled = trouble_at.filter(|at| is_settled && last < *at).map(|_| waited_ms.saturating_sub(5 * MINUTE_MS));
    waited_ms.checked_sub(interval_ms).max(troubled)
}

/// A number below `of` that goes with the candidate.
fn spread(id: &CandidateId, of: u64) -> u64 {
    let digest = Sha256::digest(id.to_string().as_bytes());
    digest.iter().take(4).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte)).checked_rem(of).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::UpstreamHosts;
    use crate::routing::health::{InList, Observation, Witness};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + minutes * 60_000)
    }

    fn id(model: &str) -> CandidateId {
        CandidateId { channel: ChannelId::parse("a").unwrap(), upstream_model: model.to_owned() }
    }

    fn catalog(count: usize, cap: &str) -> Catalog {
        let model = |i: usize| {
            let route = json!({"bucket": "b", "price": {"input": "1", "output": "1"}, "candidates": [{"channel": "a", "upstream_model": format!("m{i}"), "tier": 0}]});
            json!({"name": "M", "family": "f", "kind": "chat", "context_length": 1000, "max_output_tokens": 100, "routes": {"official": route, "routed": route}})
        };
        let models: serde_json::Map<String, Value> = (0..count).map(|i| (format!("m{i}"), model(i))).collect();
        let document = json!({"version": 1, "buckets": {"b": {"label": "B", "currency": "USD"}}, "models": models,
            "channels": {"a": {"dialect": "openai", "base_url": "https://a.example.com", "secrets": ["K"], "probe_daily_cap": cap}}});
        Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
    }

    /// Who is called in one round, if these can be paid.
    fn placed(catalog: &Catalog, view: &HealthView, now: Timestamp, is_paid: &dyn Fn(&ProbeTarget) -> bool) -> Vec<ProbeTarget> {
        let (mut places, mut placed) = (Places::default(), Vec::new());
        for target in due(catalog, view, now) {
            if places.has_room(&target) && is_paid(&target) {
                places.take(&target);
                placed.push(target);
            }
        }
        placed
    }

    fn called(failure: Option<FailureKind>) -> Observation {
        Observation::Called { failure: failure.map(|kind| (kind, String::new())), latency_ms: 1 }
    }

    /// The minutes within two hours in which one candidate is called, if each call finds the same.
    fn calls(found: Option<FailureKind>, request_every: Option<i64>) -> Vec<i64> {
        let (catalog, mut view) = (catalog(1, "1"), HealthView::default());
        let mut calls = Vec::new();
        for minute in 0..120 {
            if request_every.is_some_and(|every| minute % every == 0) {
                view.observe(&id("m0"), Observation::Answered, at(minute));
            }
            if !due(&catalog, &view, at(minute)).is_empty() {
                calls.push(minute);
                view.observe(&id("m0"), called(found), at(minute));
            }
        }
        calls
    }

    #[test]
    fn what_is_up_is_called_now_and_then_and_not_at_all_while_requests_tell() {
        let quiet = calls(None, None);
        assert!(quiet[0] == 0 && (3..=4).contains(&quiet.len()), "{quiet:?}");
        assert!(calls(None, Some(20)).is_empty());
    }

    #[test]
    fn what_is_down_is_called_every_minute_and_later_every_five() {
        let down = calls(Some(FailureKind::Credential), None);
        assert_eq!(down[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert!(down[12..].windows(2).all(|pair| pair[1] - pair[0] == 5), "{down:?}");
    }

    #[test]
    fn trouble_on_its_channel_is_a_reason_to_call_once() {
        let (catalog, mut view) = (catalog(2, "1"), HealthView::default());
        for model in ["m0", "m1"] {
            view.observe(&id(model), called(None), at(0));
        }
        assert!(due(&catalog, &view, at(5)).is_empty());
        view.observe(
            &id("m0"),
            Observation::Failed { kind: FailureKind::Load, message: String::new(), retry_after_s: None, by: None },
            at(5),
        );
        assert!(due(&catalog, &view, at(5)).iter().all(|target| target.candidate == id("m0")), "load is nobody else's");
        view.observe(
            &id("m0"),
            Observation::Failed { kind: FailureKind::Credential, message: String::new(), retry_after_s: None, by: None },
            at(6),
        );
        assert!(due(&catalog, &view, at(6)).iter().any(|target| target.candidate == id("m1")));
        view.observe(&id("m1"), called(None), at(6));
        assert!(due(&catalog, &view, at(9)).iter().all(|target| target.candidate == id("m0")), "it is well");
    }

    #[test]
    fn what_fails_for_one_account_is_called_at_once_and_then_every_few_minutes() {
        let (catalog, mut view) = (catalog(1, "1"), HealthView::default());
        let failed = || Observation::Failed {
            kind: FailureKind::Server,
            message: String::new(),
            retry_after_s: None,
            by: crate::id::AccountId::parse("a").map(|account| Witness::of(&account)),
        };
        view.observe(&id("m0"), called(None), at(0));
        let mut calls = Vec::new();
        for minute in 1..20 {
            view.observe(&id("m0"), failed(), at(minute));
            if !due(&catalog, &view, at(minute)).is_empty() {
                calls.push(minute);
                view.observe(&id("m0"), called(None), at(minute));
            }
        }
        assert_eq!(calls, [1, 6, 11, 16]);
        assert_eq!(view.of(&id("m0")).status, HealthStatus::Up);
    }

    #[test]
    fn what_vanished_from_its_list_is_called_once_and_then_seldom() {
        let (catalog, mut view) = (catalog(1, "1"), HealthView::default());
        let list = |found| Observation::Listed { found: Ok(Some(found)), latency_ms: 1 };
        view.observe(&id("m0"), called(None), at(0));
        view.observe(&id("m0"), list(InList::There), at(1));
        view.observe(&id("m0"), list(InList::Missing(Vec::new())), at(2));
        assert_eq!(due(&catalog, &view, at(2)).len(), 1, "a list is a hint: a call finds out");
        view.observe(&id("m0"), called(Some(FailureKind::NotFound)), at(2));
        let calls: Vec<i64> = (3..60).filter(|minute| !due(&catalog, &view, at(*minute)).is_empty()).collect();
        assert!(calls.first().is_some_and(|minute| *minute >= 31), "{calls:?}");
        view.observe(&id("m0"), list(InList::There), at(20));
        assert_eq!(due(&catalog, &view, at(20)).len(), 1, "it is back in the list");
    }

    #[test]
    fn a_large_catalogue_is_called_in_parts_the_worst_first() {
        let (catalog, mut view) = (catalog(100, "1"), HealthView::default());
        for minute in 0..9 {
            let placed = placed(&catalog, &view, at(minute), &|_| true);
            assert!(placed.len() <= MOST);
            for target in placed {
                view.observe(&target.candidate, called(None), at(minute));
            }
        }
        assert!((0..100).all(|i| view.of(&id(&format!("m{i}"))).status == HealthStatus::Up), "all within nine rounds");
        view.observe(&id("m50"), called(Some(FailureKind::Credential)), at(9));
        let due: Vec<String> =
            due(&catalog, &view, at(10)).iter().map(|target| target.candidate.upstream_model.clone()).collect();
        assert_eq!(due[0], "m50");
    }

    #[test]
    fn a_cap_of_nothing_is_no_calls() {
        assert!(due(&catalog(3, "0"), &HealthView::default(), at(0)).is_empty());
    }

    /// Since which round each candidate has been due, whatever single accounts met.
    fn waiting(catalog: &Catalog, view: &HealthView, now: Timestamp, since: &mut BTreeMap<CandidateId, i64>, round: i64) {
        let due: BTreeSet<CandidateId> =
            due(catalog, view, now).into_iter().filter(|target| !target.is_reported).map(|target| target.candidate).collect();
        since.retain(|id, _| due.contains(id));
        for id in due {
            since.entry(id).or_insert(round);
        }
    }

    fn by(name: &str) -> Option<Witness> {
        crate::id::AccountId::parse(name).map(|account| Witness::of(&account))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
        #[test]
        fn whatever_one_account_meets_all_that_is_due_is_called_in_time(
            count in 1_usize..60,
            hangs in any::<bool>(),
            unpaid in 0_usize..8,
            seed in any::<u64>(),
        ) {
            let (catalog, mut view) = (catalog(count, "1"), HealthView::default());
            let (mut bits, mut since) = (seed | 1, BTreeMap::new());
            let mut below = |end: u64| {
                bits ^= bits << 13;
                bits ^= bits >> 7;
                bits ^= bits << 17;
                bits % end
            };
            // Every candidate whose number this divides is not paid today.
            let is_paid = |id: &CandidateId| {
                let number: usize = id.upstream_model[1..].parse().unwrap();
                unpaid == 0 || !number.is_multiple_of(unpaid + 1)
            };
            let bound = i64::try_from(if hangs { count } else { count.div_ceil(4) }).unwrap() + 1;
            for round in 0..120_i64 {
                for _ in 0..below(40) {
                    let kind = [FailureKind::Server, FailureKind::Timeout, FailureKind::Cut, FailureKind::NotFound][usize::try_from(below(4)).unwrap()];
                    let failed = Observation::Failed { kind, message: String::new(), retry_after_s: None, by: by("hostile") };
                    view.observe(&id(&format!("m{}", below(count as u64))), failed, at(round).plus(-1));
                }
                waiting(&catalog, &view, at(round), &mut since, round);
                for (id, since) in since.iter().filter(|(id, _)| is_paid(id)) {
                    prop_assert!(round - since < bound, "{} waits since {} in round {} of {} candidates", id, since, round, count);
                }
                let placed = placed(&catalog, &view, at(round), &|target| is_paid(&target.candidate));
                prop_assert!(placed.iter().filter(|target| target.is_reported).count() <= MOST_REPORTED);
                // Where they hang, only the first that are called at once are known of when the round is over.
                for target in placed.iter().take(if hangs { 3 } else { MOST }) {
                    let failure = [None, None, Some(FailureKind::Server), Some(FailureKind::Timeout)][usize::try_from(below(4)).unwrap()];
                    view.observe(&target.candidate, called(failure), at(round));
                    since.remove(&target.candidate);
                }
            }
        }
    }

    #[test]
    fn what_one_account_met_waits_for_no_more_than_its_turn() {
        let (catalog, mut view) = (catalog(100, "1"), HealthView::default());
        for n in 0..100 {
            view.observe(&id(&format!("m{n}")), called(None), at(0));
        }
        let failed =
            |name| Observation::Failed { kind: FailureKind::Server, message: String::new(), retry_after_s: None, by: by(name) };
        for n in 0..90 {
            view.observe(&id(&format!("m{n}")), failed("hostile"), at(1));
        }
        for n in 95..97 {
            view.observe(&id(&format!("m{n}")), failed("paying"), at(2));
        }
        let placed = placed(&catalog, &view, at(3), &|_| true);
        let names: Vec<&str> = placed.iter().map(|target| target.candidate.upstream_model.as_str()).collect();
        assert_eq!(names.len(), MOST_REPORTED);
        assert!(names.contains(&"m95") && names.contains(&"m96"), "one of each in turn: {names:?}");
    }
}
