//! The conditions that every provider knows and none calls the same: one table, by which an error of one dialect becomes the
//! error that clients of another act upon.
//!
//! What always holds: a condition is read from codes and types first, and from words only where they cannot mean another one;
//! what is none of them is nobody's, and stays what it is without this table. What is about the gateway's account at a provider
//! is never told as if it were the client's.

mod missing;
mod named;
mod size;
mod told;

pub use missing::{Asked, is_of_a_feature, is_of_the_model, is_of_the_request};
pub use named::names_the_credential;
pub use size::Size;
pub use told::{Client, ToldError};

use super::format::UpstreamError;

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The conversation, or it and the output that was asked for, is longer than the model reads.
    TooLong(Size),
    /// Too many requests or tokens in a while.
    RateLimited,
    /// The gateway's account at the provider has nothing left.
    Quota,
    /// The provider has too much to do.
    Overloaded,
    /// The provider keeps the prompt or the answer back.
    Filtered,
    /// The request is wrong in another way.
    Invalid,
    /// The provider does not accept the gateway's credential.
    Authentication,
    /// Something is not there: a model, an endpoint, or what the request refers to.
    NotFound,
}

/// Codes and types, as they are spelled in lower case with `_` between the words.
const CODES: [(Code, &[&str]); 8] = [
    (
        Code::Quota,
        &[
            "insufficient_quota",
            "insufficient_balance",
            "insufficient_credits",
            "exceeded_current_quota_error",
            "billing_error",
            "billing_hard_limit_reached",
            "billing_not_active",
            "payment_required",
        ],
    ),
    (
        Code::TooLong,
        &[
            "context_length_exceeded",
            "context_window_exceeded",
            "contextwindowexceedederror",
            "model_context_window_exceeded",
            "exceed_context_size_error",
            "prompt_too_long",
        ],
    ),
    (
        Code::Filtered,
        &[
            "content_filter",
            "content_filtered",
            "content_filter_policy",
            "content_policy_violation",
            "responsibleaipolicyviolation",
            "invalid_prompt",
            "moderation_blocked",
            "cyber_policy",
            "data_inspection_failed",
            "datainspectionfailed",
            "safety_error",
            "prohibited_content",
        ],
    ),
    (
        Code::Authentication,
        &[
            "authentication_error",
            "invalid_authentication_error",
            "invalid_api_key",
            "incorrect_api_key",
            "api_key_invalid",
            "api_key_expired",
            "unauthenticated",
            "permission_error",
            "permission_denied",
            "permission_denied_error",
            "account_deactivated",
            "access_denied",
            "401",
            "402",
            "403",
        ],
    ),
    (
        Code::RateLimited,
        &[
            "rate_limit_exceeded",
            "rate_limit_error",
            "rate_limit_reached",
            "rate_limit_reached_error",
            "rate_limited",
            "ratelimiterror",
            "ratelimitreached",
            "too_many_requests",
            "tokens_usage_based",
            "throttlingexception",
            "throttling",
            "resource_exhausted",
            "429",
        ],
    ),
    (
        Code::Overloaded,
        &[
            "overloaded",
            "overloaded_error",
            "server_is_overloaded",
            "slow_down",
            "engine_overloaded",
            "engine_overloaded_error",
            "model_overloaded",
            "model_capacity_exhausted",
            "capacity_exceeded",
            "service_unavailable",
            "service_unavailable_error",
            "serviceunavailable",
            "unavailable",
            "503",
            "529",
        ],
    ),
    (
        Code::NotFound,
        &[
            "model_not_found",
            "invalid_model",
            "unknown_model",
            "deploymentnotfound",
            "not_found",
            "not_found_error",
            "notfounderror",
            "404",
        ],
    ),
    (
        Code::Invalid,
        &[
            "invalid_request_error",
            "invalid_request",
            "invalid_argument",
            "invalid_parameter_error",
            "bad_request",
            "bad_request_error",
            "badrequesterror",
            "badrequest",
            "validation_error",
            "unprocessable_entity",
            "unprocessable_entity_error",
            "request_too_large",
            "400",
            "413",
            "415",
            "422",
        ],
    ),
];

/// Words that say it where codes do not, in lower case.
const QUOTA_WORDS: [&str; 4] = [
    "credit balance is too low",
    "insufficient balance",
    "insufficient credits",
    "exceeded your current quota, please check your plan",
];
const FILTER_WORDS: [&str; 11] = [
    "content management policy",
    "content filtering policy",
    "violating our usage policy",
    "violates our usage policy",
    "result of our safety system",
    "content exists risk",
    "considered high risk",
    "input was flagged",
    "inappropriate content",
    "prompt was blocked",
    "blocked due to safety",
];
const OVERLOAD_WORDS: [&str; 6] =
    ["overloaded", "at capacity", "over capacity", "no capacity available", "experiencing high demand", "high load"];
/// What a full context is called; whichever of these a sentence has, it is about that.
const LENGTH_WORDS: [&str; 24] = [
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "exceed context limit",
    "exceeds the context window",
    "exceed the context window",
    "context window exceeds",
    "context length exceeded",
    "maximum context length",
    "maximum context limit",
    "context length is only",
    "available context size",
    "max context size",
    "than the context length",
    "than the model's context length",
    "the maximum model length",
    "maximum prompt length",
    "maximum input length",
    "exceeded model token limit",
    "token limit exceeded",
    "input tokens exceed",
    "reduce the length of the messages",
    "prompt exceeds max length",
    "range of input length should be",
];
/// The same where it takes two to say it.
const LENGTH_PAIRS: [(&str, &str); 6] = [
    ("input token count", "exceeds the maximum"),
    ("prompt token count", "exceeds the limit"),
    ("current length is", "while limit is"),
    ("input length", "context length"),
    ("inputs tokens + max_new_tokens", "must be"),
    ("too many tokens", "model"),
];

/// What a code can say by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    TooLong,
    RateLimited,
    Quota,
    Overloaded,
    Filtered,
    Invalid,
    Authentication,
    NotFound,
}

impl Condition {
    /// Reads an error. `status` is that of the answer, 200 where the error stood in place of one.
    pub fn of(error: &UpstreamError, status: u16) -> Option<Self> {
        let spelled = |text: &Option<String>| text.as_deref().map(spelled).unwrap_or_default();
        let (code, kind) = (spelled(&error.code), spelled(&error.kind));
        let is = |wanted: Code| {
            CODES
                .iter()
                .any(|(named, codes)| *named == wanted && (codes.contains(&code.as_str()) || codes.contains(&kind.as_str())))
        };
        let words = error.message.to_lowercase().replace('`', "");
        let says = |known: &[&str]| known.iter().any(|known| words.contains(known));
        // 429 speaks of tokens in a while, in words that sound alike.
        let is_rate = status == 429 || is(Code::RateLimited);
        if is(Code::Quota) || !is_rate && says(&QUOTA_WORDS) {
            return Some(Self::Quota);
        }
        let is_pair = || LENGTH_PAIRS.iter().any(|(one, other)| words.contains(one) && words.contains(other));
        if is(Code::TooLong) || !is_rate && (says(&LENGTH_WORDS) || is_pair()) {
            return Some(Self::TooLong(Size::read(&words)));
        }
        if is(Code::Filtered) || !is_rate && says(&FILTER_WORDS) {
            return Some(Self::Filtered);
        }
        if is(Code::Overloaded) && !matches!(status, 400..=428) || matches!(status, 503 | 529) {
            return Some(Self::Overloaded);
        }
        if is_rate {
            return Some(Self::RateLimited);
        }
        if matches!(status, 401..=403) || is(Code::Authentication) {
            return Some(Self::Authentication);
        }
        if status == 404 || is(Code::NotFound) && !matches!(status, 500..) {
            return Some(Self::NotFound);
        }
        if matches!(status, 400 | 413 | 415 | 422) || status == 200 && is(Code::Invalid) {
            return Some(Self::Invalid);
        }
        matches!(status, 200 | 500..).then(|| says(&OVERLOAD_WORDS).then_some(Self::Overloaded)).flatten()
    }

    /// Whether it is the client's to mend: every provider of the model would say the same.
    pub const fn is_the_clients(self) -> bool {
        matches!(self, Self::TooLong(_) | Self::Filtered | Self::Invalid)
    }

    /// Whether it is between the gateway and the provider, whatever the status says: another credential or channel may do.
    pub const fn is_about_our_account(self) -> bool {
        matches!(self, Self::Quota | Self::Authentication)
    }

    /// Whether it passes by itself.
    pub const fn is_load(self) -> bool {
        matches!(self, Self::RateLimited | Self::Overloaded)
    }
}

/// A code or a type in lower case, with `_` for a hyphen or a space.
fn spelled(code: &str) -> String {
    let letter = |c: char| if matches!(c, '-' | ' ' | '.') { '_' } else { c.to_ascii_lowercase() };
    code.chars().take(64).map(letter).collect()
}

#[cfg(test)]
mod tests;
