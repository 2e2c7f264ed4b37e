//! What is stored of an account and of its projects.
//!
//! What always holds: a record is found by its id, which never changes; everything else of it may.

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, ProjectId};
use crate::key::Budget;
use crate::time::Timestamp;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Its id.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// When it was opened.
    pub created_at: Timestamp,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Project"))]
pub struct ProjectRecord {
    /// Its id.
    pub id: ProjectId,
    /// Whose.
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// What its keys may spend together.
    pub budgets: Vec<Budget>,
    /// When it was made.
    pub created_at: Timestamp,
}
