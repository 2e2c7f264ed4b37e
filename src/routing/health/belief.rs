//! What is believed of a candidate, as it is stored and shown.
//!
//! What always holds: what single accounts met, and nobody else, stands apart in `lone`, each with a belief of its own that has no
//! such list. How one belief becomes the next is said in `fold`, `lone` and `agreed`.

use serde::{Deserialize, Serialize};

use super::witness::Witness;
use crate::routing::attempt::FailureKind;
use crate::time::Timestamp;

/// A probe does not outweigh what real requests saw within this time, in milliseconds.
pub(super) const REAL_MS: i64 = 300_000;

/// So many accounts' own beliefs are kept of a candidate; the newest.
pub(super) const MOST_LONE: usize = 8;

/// What is believed of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "HealthStatus"))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum HealthStatus {
    #[default]
    Unknown,
    Up,
    Degraded,
    Down,
}

impl HealthStatus {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }

    /// Reads what `as_str` writes.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Unknown, Self::Up, Self::Degraded, Self::Down].into_iter().find(|status| status.as_str() == text)
    }
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Failure"))]
pub struct LastFailure {
    /// When.
    pub at: Timestamp,
    /// What kind.
    pub kind: FailureKind,
    /// In the gateway's own words.
    pub message: String,
}

/// The last probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Probe {
    /// When.
    pub at: Timestamp,
    /// 1 for the provider's list of models, 2 for a small real call.
    #[serde(default = "first_level")]
    pub level: u8,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
    /// What it found, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

const fn first_level() -> u8 {
    1
}

/// Whether the provider's own list of models has the id. Kept only of ids that were in it once: many lists are not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Listing {
    /// Whether it is there now.
    pub is_there: bool,
    /// Since when.
    pub since: Timestamp,
    /// Ids in the list that look like it, where it is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
}

/// How many of the real requests of the last minutes failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "FailureShare"))]
pub struct Share {
    /// So many.
    pub failed: u64,
    /// Of so many.
    pub of: u64,
}

impl Share {
    /// Too many, where there are enough to tell.
    pub(super) const fn is_bad(self) -> bool {
        self.of >= 10 && self.failed.saturating_mul(10) >= self.of
    }
}

/// What several accounts' requests agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Agreed {
    /// When they did so last.
    pub at: Timestamp,
    /// How often a probe had ended it, and requests agreed on it once more.
    #[serde(default)]
    pub relapses: u32,
    /// When a probe last ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// What one account believes of a candidate, and nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "LoneHealth"))]
pub struct Lone {
    /// Which.
    pub by: Witness,
    /// What it believes, by the same rules.
    pub health: Health,
    /// When a probe found nothing wrong all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared_at: Option<Timestamp>,
}

/// What is known of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Since when it is this.
    pub since: Timestamp,
    /// When it was last observed.
    pub observed_at: Timestamp,
    /// Failures in a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Until when it is tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest_until: Option<Timestamp>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
    /// Whether that was a real request and not a probe.
    #[serde(skip_serializing_if = "is_false")]
    pub is_real_failure: bool,
    /// What several accounts' requests agreed on, until one is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreed: Option<Agreed>,
    /// Whether an answer of its broke off since one came to its end.
    #[serde(skip_serializing_if = "is_false")]
    pub is_cut: bool,
    /// When a stream last began; whether it came to its end is another matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<Timestamp>,
    /// When a real request was last answered to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_at: Option<Timestamp>,
    /// How the last probe went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_probe: Option<Probe>,
    /// When it was last probed by a real call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub called_at: Option<Timestamp>,
    /// What the provider's list says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing: Option<Listing>,
    /// How real requests fared lately, everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// What single accounts met, and nobody else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(length(max = MOST_LONE)))]
    pub lone: Vec<Lone>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls them.
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Health {
    /// Whether the planner may put it at its place; otherwise it goes last.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        self.rest_until.is_none_or(|until| until <= now)
    }

    /// Whether a request is expected to be answered. It may be tried all the same.
    pub fn is_expected_to_answer(&self, now: Timestamp) -> bool {
        let is_loaded = self.last_failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Load);
        self.status != HealthStatus::Down && (self.is_ready(now) || !is_loaded)
    }

    /// The verdict in one sentence.
    pub fn sentence(&self, now: Timestamp) -> String {
        let why = self.last_failure.as_ref().map_or("", |failure| failure.message.as_str());
        match self.status {
            HealthStatus::Unknown => "Nothing is known of it yet.".to_owned(),
            HealthStatus::Up => format!("It answers, since {}.", self.since.to_second()),
            HealthStatus::Degraded if !self.is_ready(now) && !self.is_expected_to_answer(now) => {
                format!("It asked for fewer requests and is tried last until {}.", self.rest_until.unwrap_or(now).to_second())
            }
            HealthStatus::Degraded => match self.share.filter(|share| share.is_bad()) {
                Some(share) => format!("{} of its last {} requests failed; the last time: {why}.", share.failed, share.of),
                None => format!("It failed since {}: {why}.", self.since.to_second()),
            },
            HealthStatus::Down => format!("It is down since {}: {why}.", self.since.to_second()),
        }
    }
}
