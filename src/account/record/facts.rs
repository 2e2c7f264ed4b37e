//! What is known of a request before anything was tried.
//!
//! What always holds: it stays as it was when the request arrived; the hold carries it, and the receipt tells it.

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, KeyId, ProjectId, RequestId, RunId};
use crate::time::Timestamp;
use crate::truth::Promise;

/// What is known of a request before anything was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The request.
    pub request: RequestId,
    /// When it arrived.
    pub created_at: Timestamp,
    /// Who pays.
    pub account: AccountId,
    /// For which project.
    pub project: ProjectId,
    /// By which key.
    pub key: KeyId,
    /// What people call that key.
    pub key_label: String,
    /// The task that it is a part of.
    pub run: Option<RunId>,
    /// Such as `/v1/chat/completions`.
    pub endpoint: String,
    /// Whether the answer was to be streamed.
    pub stream: bool,
    /// The model as asked for.
    pub requested_model: String,
    /// Under which name sums count it if nobody answers, where that is another: the model's id; empty of a model that is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_as: Option<String>,
    /// The catalogue that planned and priced it.
    pub catalog_version: u64,
    /// Who was expected to answer, of those whom the hold is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
}
