//! What is to change of a key.
//!
//! What always holds: fields of the policy that are not named stay as they are; what is revoked stays revoked.

use serde::{Deserialize, Serialize};

use serde_json::{Map, Value};

use super::act::By;

/// A change of a key: fields of its policy, its label, or its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyChange {
    /// Fields of the policy that become these; others stay.
    pub policy: Map<String, Value>,
    /// What people call it from now on.
    pub label: Option<String>,
    /// Whether it is revoked, for good.
    pub revoke: bool,
    /// Who wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
}
