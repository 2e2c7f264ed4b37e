//! What is known of every candidate at one place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CandidateId, Health, Observation, Witness};
use crate::time::Timestamp;

/// The snapshot that all isolates share, and what this one saw since.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthView {
    /// By `channel/upstream_model`.
    pub candidates: BTreeMap<String, Health>,
}

impl HealthView {
    /// The health of a candidate; unknown is a fine answer.
    pub fn of(&self, id: &CandidateId) -> Health {
        self.candidates.get(&id.to_string()).cloned().unwrap_or_default()
    }

    /// The same as an account knows it, with what it alone has met.
    pub fn told_to(&self, id: &CandidateId, by: Option<Witness>, now: Timestamp) -> Health {
        self.candidates.get(&id.to_string()).map(|health| health.told_to(by, now)).unwrap_or_default()
    }

    /// Whether an observation changes anything worth noting.
    pub fn is_news(&self, id: &CandidateId, seen: &Observation, now: Timestamp) -> bool {
        self.candidates.get(&id.to_string()).is_none_or(|health| health.is_news(seen, now))
    }

    /// Notes an observation.
    pub fn observe(&mut self, id: &CandidateId, seen: Observation, now: Timestamp) {
        let entry = self.candidates.entry(id.to_string()).or_default();
        *entry = std::mem::take(entry).observe(seen, now);
    }

    /// Takes over from `other` what was observed later.
    pub fn merge(&mut self, other: &Self) {
        for (id, theirs) in &other.candidates {
            let ours = self.candidates.entry(id.clone()).or_default();
            // What rests here because of real requests goes on resting, unless they know of that, or somebody was answered since.
            let is_resting = !ours.is_ready(theirs.observed_at) && ours.is_real_failure;
            let failed_at = ours.last_failure.as_ref().map(|failure| failure.at);
            let is_known = theirs.last_failure.as_ref().map(|failure| failure.at) >= failed_at;
            let is_answered =
                ours.last_failure.as_ref().is_some_and(|failure| theirs.proved_against(failure.kind) > Some(failure.at));
            if theirs.observed_at > ours.observed_at && (!is_resting || is_known || is_answered) {
                let lone = std::mem::replace(ours, theirs.clone()).lone;
                ours.merge_lone(&lone);
                ours.absorb_lone(theirs.observed_at);
            } else {
                ours.merge_lone(&theirs.lone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChannelId;
    use crate::routing::attempt::FailureKind;
    use crate::routing::health::HealthStatus;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000)
    }

    fn failed() -> Observation {
        Observation::Failed { kind: FailureKind::Credential, message: "no".to_owned(), retry_after_s: None, by: None }
    }

    fn id() -> CandidateId {
        CandidateId { channel: ChannelId::parse("a").unwrap(), upstream_model: "m".to_owned() }
    }

    #[test]
    fn a_probe_of_another_isolate_does_not_outweigh_failing_requests() {
        let (mut ours, mut theirs) = (HealthView::default(), HealthView::default());
        ours.observe(&id(), failed(), at(0));
        theirs.observe(&id(), Observation::Called { failure: None, latency_ms: 5 }, at(1));
        ours.merge(&theirs);
        assert_eq!(ours.of(&id()).status, HealthStatus::Down);
        theirs.observe(&id(), Observation::Answered, at(2));
        ours.merge(&theirs);
        assert_eq!(ours.of(&id()).status, HealthStatus::Up);
    }

    #[test]
    fn who_knows_of_our_failure_and_of_more_is_believed() {
        let mut ours = HealthView::default();
        ours.observe(&id(), failed(), at(0));
        let mut theirs = ours.clone();
        theirs.observe(&id(), Observation::Called { failure: None, latency_ms: 5 }, at(1));
        ours.merge(&theirs);
        assert_eq!(ours.of(&id()).status, HealthStatus::Degraded);
    }

    #[test]
    fn what_a_probe_found_another_probe_can_take_back() {
        let (mut ours, mut theirs) = (HealthView::default(), HealthView::default());
        ours.observe(
            &id(),
            Observation::Called { failure: Some((FailureKind::Credential, "no".to_owned())), latency_ms: 5 },
            at(0),
        );
        theirs.observe(&id(), Observation::Called { failure: None, latency_ms: 5 }, at(1));
        ours.merge(&theirs);
        assert_eq!(ours.of(&id()).status, HealthStatus::Up);
    }

    #[test]
    fn the_later_observation_wins() {
        let (mut ours, mut theirs) = (HealthView::default(), HealthView::default());
        theirs.observe(&id(), failed(), at(0));
        ours.observe(&id(), Observation::Answered, at(1));
        ours.merge(&theirs);
        assert_eq!(ours.of(&id()).status, HealthStatus::Up);
    }
}
