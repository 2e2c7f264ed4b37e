//! The health of a candidate, folded from real attempts and probes.
//!
//! The rules: load (429) is not death; one failure is not an outage, two in a row are; a refused credential or an unknown
//! model is, at once; a candidate that is down is tried last until its time comes, then by one request at a time, and one
//! success brings it back.
//!
//! Deliberately absent: any way to rule a candidate out for good. The planner only moves it to the end.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::attempt::FailureKind;
use crate::catalog::Candidate;
use crate::id::ChannelId;
use crate::time::Timestamp;

/// How long a candidate rests after it went down, in milliseconds; doubled with every further failure.
const FIRST_REST_MS: i64 = 30_000;
const LONGEST_REST_MS: i64 = 300_000;
/// How long a loaded candidate rests when upstream names no time, and at most.
const LOAD_REST_MS: i64 = 5_000;
const LONGEST_LOAD_REST_MS: i64 = 60_000;
/// Failures in a row that make an outage.
const OUTAGE: u32 = 2;

/// A channel with the model's id there; what health belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CandidateId {
    /// The channel.
    pub channel: ChannelId,
    /// The model's id on it.
    pub upstream_model: String,
}

impl CandidateId {
    /// Of a candidate in the catalogue.
    pub fn of(candidate: &Candidate) -> Self {
        Self { channel: candidate.channel.clone(), upstream_model: candidate.upstream_model.clone() }
    }
}

impl fmt::Display for CandidateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.channel, self.upstream_model)
    }
}

/// What is believed of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Status {
    #[default]
    Unknown,
    Up,
    Degraded,
    Down,
}

impl Status {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// What kind.
    pub kind: FailureKind,
    /// In words.
    pub message: String,
}

/// The last probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When.
    pub at: Timestamp,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
}

/// What is known of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// The verdict.
    pub status: Status,
    /// Since when it is this.
    pub since: Timestamp,
    /// When it was last observed.
    pub observed_at: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// Until when it is tried last.
    pub rest_until: Option<Timestamp>,
    /// What went wrong last.
    pub last_failure: Option<Failure>,
    /// When it last answered.
    pub last_success_at: Option<Timestamp>,
    /// How the last probe went.
    pub last_probe: Option<Probe>,
}

/// Something that was seen of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A request is about to be sent.
    Tried,
    /// It answered.
    Answered,
    /// It did not.
    Failed {
        /// What kind of failure.
        kind: FailureKind,
        /// In words.
        message: String,
        /// When upstream asked to be called again, in seconds.
        retry_after_s: Option<u64>,
    },
    /// A probe found that it is reachable, or why not. It does not outweigh what real requests see.
    Probed {
        /// What went wrong, if anything.
        failure: Option<(FailureKind, String)>,
        /// How long it took, in milliseconds.
        latency_ms: u64,
    },
}

impl Health {
    /// Whether the planner may put it at its place; otherwise it goes last.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        self.rest_until.is_none_or(|until| until <= now)
    }

    /// The health after an observation.
    pub fn observe(mut self, seen: Observation, now: Timestamp) -> Self {
        match seen {
            // While it is down, one request at a time finds out whether it is back.
            Observation::Tried if self.status == Status::Down => self.rest_until = Some(now.plus(FIRST_REST_MS)),
            Observation::Tried => return self,
            Observation::Answered => {
                self.failures = 0;
                self.rest_until = None;
                self.last_success_at = Some(now);
                self.become_status(Status::Up, now);
            }
            Observation::Failed { kind, message, retry_after_s } => self.fail(kind, message, retry_after_s, now),
            Observation::Probed { failure, latency_ms } => {
                self.last_probe = Some(Probe { at: now, ok: failure.is_none(), latency_ms });
                match failure {
                    Some((kind, message)) => self.fail(kind, message, None, now),
                    None if self.status == Status::Unknown => self.become_status(Status::Up, now),
                    None => {}
                }
            }
        }
        self.observed_at = now;
        self
    }

    fn fail(&mut self, kind: FailureKind, message: String, retry_after_s: Option<u64>, now: Timestamp) {
        self.last_failure = Some(Failure { at: now, kind, message });
        if kind == FailureKind::Load {
            let asked = retry_after_s.and_then(|seconds| i64::try_from(seconds.saturating_mul(1000)).ok());
            self.rest_until = Some(now.plus(asked.unwrap_or(LOAD_REST_MS).min(LONGEST_LOAD_REST_MS)));
            return self.become_status(Status::Degraded, now);
        }
        self.failures = self.failures.saturating_add(if kind.is_certain() { OUTAGE } else { 1 });
        if self.failures < OUTAGE {
            return self.become_status(Status::Degraded, now);
        }
        let doublings = self.failures.saturating_sub(OUTAGE).min(8);
        let rest = FIRST_REST_MS.saturating_mul(1_i64 << doublings).min(LONGEST_REST_MS);
        self.rest_until = Some(now.plus(rest));
        self.become_status(Status::Down, now);
    }

    fn become_status(&mut self, status: Status, now: Timestamp) {
        if self.status != status {
            self.status = status;
            self.since = now;
        }
    }
}

/// What is known of every candidate: the snapshot that all isolates share, and what this one saw since.
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

    /// Notes an observation.
    pub fn observe(&mut self, id: &CandidateId, seen: Observation, now: Timestamp) {
        let entry = self.candidates.entry(id.to_string()).or_default();
        *entry = std::mem::take(entry).observe(seen, now);
    }

    /// Takes over from `other` what was observed later.
    pub fn merge(&mut self, other: &Self) {
        for (id, theirs) in &other.candidates {
            let ours = self.candidates.entry(id.clone()).or_default();
            // What rests here because of real requests goes on resting, unless somebody was answered since.
            let is_resting = !ours.is_ready(theirs.observed_at);
            let is_answered = theirs.last_success_at > ours.last_failure.as_ref().map(|failure| failure.at);
            if theirs.observed_at > ours.observed_at && (!is_resting || is_answered) {
                *ours = theirs.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000)
    }

    fn failed(kind: FailureKind) -> Observation {
        Observation::Failed { kind, message: "no".to_owned(), retry_after_s: None }
    }

    #[test]
    fn one_failure_is_not_an_outage_and_two_are() {
        let once = Health::default().observe(failed(FailureKind::Server), at(0));
        assert_eq!((once.status, once.is_ready(at(0))), (Status::Degraded, true));
        let twice = once.observe(failed(FailureKind::Timeout), at(1));
        assert_eq!((twice.status, twice.is_ready(at(1))), (Status::Down, false));
    }

    #[test]
    fn load_is_not_death() {
        let mut health = Health::default();
        for second in 0..10 {
            health = health.observe(failed(FailureKind::Load), at(second));
        }
        assert_eq!(health.status, Status::Degraded);
        assert!(health.is_ready(at(15)));
        let asked = Observation::Failed { kind: FailureKind::Load, message: String::new(), retry_after_s: Some(86_400) };
        assert!(health.observe(asked, at(20)).is_ready(at(80)), "a long retry-after does not rest it for a day");
    }

    #[test]
    fn a_refused_credential_is_an_outage_at_once() {
        assert_eq!(Health::default().observe(failed(FailureKind::Credential), at(0)).status, Status::Down);
    }

    #[test]
    fn recovery_is_automatic_and_half_open() {
        let down = Health::default().observe(failed(FailureKind::Credential), at(0));
        assert!(down.is_ready(at(31)), "its time has come");
        let tried = down.observe(Observation::Tried, at(31));
        assert!(!tried.is_ready(at(31)), "one request at a time");
        let back = tried.observe(Observation::Answered, at(32));
        assert_eq!((back.status, back.is_ready(at(32)), back.failures), (Status::Up, true, 0));
    }

    #[test]
    fn a_good_probe_does_not_outweigh_failing_requests() {
        let down = Health::default().observe(failed(FailureKind::Credential), at(0));
        let probed = down.observe(Observation::Probed { failure: None, latency_ms: 5 }, at(1));
        assert_eq!(probed.status, Status::Down);
        assert!(probed.last_probe.unwrap().ok);
    }

    #[test]
    fn a_probe_of_another_isolate_does_not_outweigh_failing_requests() {
        let id = CandidateId { channel: ChannelId::parse("a").unwrap(), upstream_model: "m".to_owned() };
        let (mut ours, mut theirs) = (HealthView::default(), HealthView::default());
        ours.observe(&id, failed(FailureKind::Credential), at(0));
        theirs.observe(&id, Observation::Probed { failure: None, latency_ms: 5 }, at(1));
        ours.merge(&theirs);
        assert_eq!(ours.of(&id).status, Status::Down);
        theirs.observe(&id, Observation::Answered, at(2));
        ours.merge(&theirs);
        assert_eq!(ours.of(&id).status, Status::Up);
    }

    #[test]
    fn the_later_observation_wins() {
        let id = CandidateId { channel: ChannelId::parse("a").unwrap(), upstream_model: "m".to_owned() };
        let (mut ours, mut theirs) = (HealthView::default(), HealthView::default());
        theirs.observe(&id, failed(FailureKind::Credential), at(0));
        ours.observe(&id, Observation::Answered, at(1));
        ours.merge(&theirs);
        assert_eq!(ours.of(&id).status, Status::Up);
    }
}
