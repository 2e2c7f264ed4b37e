//! What health belongs to: a channel with the model's id there.
//!
//! What always holds: a candidate has one health, however many models and routes are sold over it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::Candidate;
use crate::id::ChannelId;

/// A channel with the model's id there; what health belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
