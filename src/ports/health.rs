//! How the candidates fared: what probe rounds keep, and what lists and pages read of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::unavailable::Unavailable;
use crate::routing::health::{Board, CandidateId, Counts, HealthView, ProbeResult, Recent, Span, StatusChange};
use crate::time::Timestamp;
use crate::truth::{Promise, Truth};

/// What a probe round reads and keeps.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Rounds {
    /// Takes the round until a time, if nobody else has it, and answers what the last one ended with. None if somebody has it.
    async fn begin_round(&self, lease: &str, until: Timestamp) -> Result<Option<HealthView>, Unavailable>;
    /// Keeps and publishes what a round found, if it is still ours.
    async fn end_round(&self, lease: &str, ended: &RoundEnd) -> Result<(), Unavailable>;
    /// What requests saw of these since then, in all isolates.
    async fn recent(&self, of: &[CandidateId], since: Timestamp) -> Result<Vec<(CandidateId, Recent)>, Unavailable>;
    /// The same since then in one sum for each.
    async fn counted(&self, of: &[CandidateId], since: Timestamp) -> Result<Vec<Counts>, Unavailable>;
    /// What the promises of the last days came to, by model and route.
    async fn truths(&self) -> Result<Vec<(Promise, Truth)>, Unavailable>;
    /// Moves old counts on to longer spans, and forgets what is older than is shown.
    async fn tidy(&self) -> Result<(), Unavailable>;
}

/// What is shown of the past.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait History {
    /// What the last round came to; a copy that may be a minute old. Knowing nothing is no failure.
    async fn board(&self) -> Rc<Board>;
    /// What attempts on these came to, by spans of this length that began since then, oldest first.
    async fn counts(&self, of: &[CandidateId], span: Span, since: Timestamp) -> Result<Vec<Counts>, Unavailable>;
    /// How the status of these changed since then, with the change before, by `channel/upstream_model`.
    async fn changes(&self, of: &[CandidateId], since: Timestamp) -> Result<BTreeMap<String, Vec<StatusChange>>, Unavailable>;
    /// How the status of all these changed in as many days as are shown; a copy that may be some seconds old. Knowing nothing is
    /// no failure.
    async fn all_changes(&self, of: &[CandidateId]) -> Rc<BTreeMap<String, Vec<StatusChange>>>;
}

/// What a probe round ended with.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundEnd {
    /// What is known now.
    pub health: HealthView,
    /// What that and the counts come to.
    pub board: Board,
    /// Whose status changed, and how.
    pub changes: Vec<(CandidateId, StatusChange)>,
    /// What was probed.
    pub probes: Vec<ProbeResult>,
}
