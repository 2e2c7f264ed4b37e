//! What a plan says of each candidate: that it would be tried, or that it would not, and why.

use std::rc::Rc;

use serde::Serialize;

use super::health::{CandidateId, HealthStatus};
use crate::catalog::{Candidate, Channel, Model, NamedCandidate, RouteKind};
use crate::id::BucketId;
use crate::money::Price;

/// One attempt that would be made.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The model that would answer.
    pub model: Rc<Model>,
    /// Over this route.
    pub route: RouteKind,
    /// Paid by this balance.
    pub bucket: BucketId,
    /// At this price.
    pub price: Rc<Price>,
    /// By this candidate.
    pub candidate: Candidate,
    /// On this channel.
    pub channel: Rc<Channel>,
    /// Which is believed to be.
    pub health: HealthStatus,
    /// Whether it is tried last because of that.
    pub is_resting: bool,
    /// Whether it is expected to answer.
    pub is_expected: bool,
    /// Why it stands here.
    pub reason: String,
}

impl Planned {
    /// What its health is kept under.
    pub fn candidate_id(&self) -> CandidateId {
        CandidateId::of(&self.candidate)
    }

    /// Whom it is made on.
    pub fn named(&self) -> NamedCandidate<'_> {
        let Candidate { channel, upstream_model, .. } = &self.candidate;
        NamedCandidate { channel: channel.as_str(), upstream_model, model: self.model.id.as_str() }
    }
}

/// Something that would not be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The model.
    pub model: String,
    /// The route, where one was looked at.
    pub route: Option<RouteKind>,
    /// The channel, where one was looked at, as customers call it.
    pub channel: Option<String>,
    /// Why.
    pub reason: String,
    /// The refusal's code, where it is left out by a rule and not by a wish of the request.
    pub code: Option<&'static str>,
    /// What would change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}
