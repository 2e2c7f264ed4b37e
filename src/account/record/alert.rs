//! The announcement that a budget has reached a level.
//!
//! What always holds: the same level of the same budget in the same period has the same id.

use serde::{Deserialize, Serialize};

use crate::id::BucketId;
use crate::money::Money;
use crate::time::{Period, Timestamp};

/// What has budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// An API key.
    Key,
    /// A project.
    Project,
    /// A run.
    Run,
}

impl ScopeKind {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Project => "project",
            Self::Run => "run",
        }
    }
}

/// A budget reached a level. Sent to the operator's webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The same for the same level of the same budget in the same period.
    pub id: String,
    /// Whose budget.
    pub scope: ScopeKind,
    /// Its id.
    pub scope_id: String,
    /// Which balance.
    pub bucket: BucketId,
    /// In which period.
    pub period: Period,
    /// What may be spent.
    pub limit: Money,
    /// What is spent.
    pub spent: Money,
    /// The level that was reached, in percent.
    pub percent: u8,
    /// Whether a request was refused because of it.
    pub refused: bool,
    /// When it starts again.
    pub resets_at: Option<Timestamp>,
}
