//! The answer to the client, still free of the platform: what was made, or a refusal in the envelope of its dialect.

use std::pin::Pin;

use futures_util::Stream;

use crate::account::RateLimits;
use crate::catalog::Dialect;
use crate::dialect::{error_status, write_error};
use crate::id::{AccountId, RequestId};
use crate::refusal::Refusal;
use crate::routing::attempt::FailureKind;

/// The body of an answer.
pub enum ReplyBody {
    /// All at once.
    Full(Vec<u8>),
    /// As it arrives.
    Stream(Pin<Box<dyn Stream<Item = Result<Vec<u8>, String>>>>),
}

/// An answer.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: ReplyBody,
    /// The account and the request that this answers once more; its receipt is the answer.
    pub replay_of: Option<(AccountId, RequestId)>,
    /// Why the last candidate did not answer, where none did.
    pub failure: Option<(FailureKind, String)>,
}

impl Reply {
    /// JSON.
    pub fn json(status: u16, body: String) -> Self {
        Self::full(status, "application/json", body.into_bytes())
    }

    /// All at once.
    pub fn full(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![
            ("content-type", content_type.to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        Self { status, headers, body: ReplyBody::Full(body), replay_of: None, failure: None }
    }

    /// As it arrives.
    pub fn stream(content_type: &str, stream: impl Stream<Item = Result<Vec<u8>, String>> + 'static) -> Self {
        let headers = vec![
            ("content-type", content_type.to_owned()),
            ("cache-control", "no-store, no-transform".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
            // Tells proxies in between not to hold the stream back.
            ("x-accel-buffering", "no".to_owned()),
        ];
        Self { status: 200, headers, body: ReplyBody::Stream(Box::pin(stream)), replay_of: None, failure: None }
    }

    /// Whether it has a header.
    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| *known == name)
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Names the request, whose receipt has the same id. Anthropic's clients look for it under their own name.
    pub fn ids(self, request: &RequestId) -> Self {
        let ids = self.header("x-request-id", request.as_str()).header("x-generation-id", request.as_str());
        ids.header("request-id", request.as_str())
    }

    /// Names the model as asked for.
    pub fn asked(self, model: &str) -> Self {
        if model.is_empty() { self } else { self.header("x-tf-model", model) }
    }

    /// Tells that nothing was tried, and how long that took.
    pub fn untried(self, overhead_ms: u64) -> Self {
        self.header("x-tf-attempts", "0").header("x-tf-overhead-ms", overhead_ms.to_string())
    }

    /// Tells where the key stands with its limits.
    pub fn rates(mut self, rates: &RateLimits) -> Self {
        let mut three = |names: [&'static str; 3], counts: Option<(u64, u64)>| {
            let Some((limit, left)) = counts else { return };
            let values = [limit.to_string(), left.to_string(), format!("{}s", rates.reset_s)];
            self.headers.extend(names.into_iter().zip(values));
        };
        three(["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"], rates.requests);
        three(["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"], rates.tokens);
        self
    }
}

/// The answer for a refusal, in the envelope of the caller's dialect.
pub fn refusal_reply(refusal: &Refusal, request: &RequestId, has_receipt: bool, dialect: Dialect) -> Reply {
    let receipt = Some(request).filter(|_| has_receipt);
    let status = error_status(dialect, refusal);
    let mut reply = Reply::json(status, write_error(dialect, refusal, receipt)).ids(request);
    if refusal.is_final() {
        reply = reply.header("x-should-retry", "false");
    }
    match refusal.retry_after_s {
        Some(seconds) => reply.header("retry-after", seconds.to_string()),
        None => reply,
    }
}
