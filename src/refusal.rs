//! Refusals: answers that are a clear no, with a public message, a next step, and a private detail for the log.
//!
//! What always holds: the table in [`Code::row`] is the only place that gives a case its status, code and type.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// No time that anybody names counts for more, in seconds: nobody waits longer for an answer, and what upstream says of it is not
/// ours to vouch for.
pub const LONGEST_WAIT_S: u64 = 3_600;

/// The time that upstream names, within bounds.
pub fn bounded_wait(told_s: Option<u64>) -> Option<u64> {
    told_s.map(|seconds| seconds.min(LONGEST_WAIT_S))
}

/// Reads a `retry-after` that is a number: seconds, also with a fraction, rounded up. Numbers of any length are one.
pub fn wait_in_seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.trim().split_once('.').map_or((text.trim(), None), |(whole, fraction)| (whole, Some(fraction)));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || fraction.is_some_and(|digits| !is_number(digits)) {
        return None;
    }
    let has_more = fraction.is_some_and(|digits| digits.bytes().any(|digit| digit != b'0'));
    Some(whole.parse::<u64>().unwrap_or(u64::MAX).saturating_add(u64::from(has_more)))
}

/// In characters.
const LONGEST_MESSAGE: usize = 2_000;

/// Every case in which we say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Code {
    InvalidApiKey,
    InvalidAdminToken,
    InsufficientBalance,
    ModelNotAllowed,
    RouteNotAllowed,
    IpNotAllowed,
    OriginNotAllowed,
    Forbidden,
    BudgetExceeded,
    ModelNotFound,
    NotFound,
    MethodNotAllowed,
    IdempotencyMismatch,
    IdempotencyInFlight,
    Conflict,
    BodyTooLarge,
    BodyStalled,
    InvalidJson,
    InvalidRequest,
    InvalidCatalog,
    RateLimitExceeded,
    BalanceInFlight,
    UpstreamRejected,
    NoRouteAvailable,
    UpstreamRefusesUs,
    UpstreamRateLimited,
    UpstreamOverloaded,
    ModelUnpriced,
    Unavailable,
}

/// One row of the table: HTTP status, the public `code`, and OpenAI's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// HTTP status.
    pub status: u16,
    /// `error.code`.
    pub code: &'static str,
    /// `error.type`.
    pub kind: &'static str,
}

impl Code {
    /// Every case.
    pub const ALL: [Self; 29] = [
        Self::InvalidApiKey,
        Self::InvalidAdminToken,
        Self::InsufficientBalance,
        Self::ModelNotAllowed,
        Self::RouteNotAllowed,
        Self::IpNotAllowed,
        Self::OriginNotAllowed,
        Self::Forbidden,
        Self::BudgetExceeded,
        Self::ModelNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::IdempotencyMismatch,
        Self::IdempotencyInFlight,
        Self::Conflict,
        Self::BodyTooLarge,
        Self::BodyStalled,
        Self::InvalidJson,
        Self::InvalidRequest,
        Self::InvalidCatalog,
        Self::RateLimitExceeded,
        Self::BalanceInFlight,
        Self::UpstreamRejected,
        Self::NoRouteAvailable,
        Self::UpstreamRefusesUs,
        Self::UpstreamRateLimited,
        Self::UpstreamOverloaded,
        Self::ModelUnpriced,
        Self::Unavailable,
    ];

    /// The table.
    pub const fn row(self) -> Row {
        let (status, code, kind) = match self {
            Self::InvalidApiKey => (401, "invalid_api_key", "authentication_error"),
            Self::InvalidAdminToken => (401, "invalid_admin_token", "authentication_error"),
            Self::InsufficientBalance => (402, "insufficient_balance", "insufficient_quota"),
            Self::ModelNotAllowed => (403, "model_not_allowed", "permission_error"),
            Self::RouteNotAllowed => (403, "route_not_allowed", "permission_error"),
            Self::IpNotAllowed => (403, "ip_not_allowed", "permission_error"),
            Self::OriginNotAllowed => (403, "origin_not_allowed", "permission_error"),
            Self::Forbidden => (403, "forbidden", "permission_error"),
            Self::BudgetExceeded => (403, "budget_exceeded", "insufficient_quota"),
            Self::ModelNotFound => (404, "model_not_found", "invalid_request_error"),
            Self::NotFound => (404, "not_found", "invalid_request_error"),
            Self::MethodNotAllowed => (405, "method_not_allowed", "invalid_request_error"),
            Self::IdempotencyMismatch => (409, "idempotency_mismatch", "invalid_request_error"),
            Self::IdempotencyInFlight => (409, "idempotency_in_flight", "conflict_error"),
            Self::Conflict => (409, "conflict", "conflict_error"),
            Self::BodyTooLarge => (413, "body_too_large", "invalid_request_error"),
            Self::BodyStalled => (408, "body_stalled", "invalid_request_error"),
            Self::InvalidJson => (400, "invalid_json", "invalid_request_error"),
            Self::InvalidRequest => (400, "invalid_request", "invalid_request_error"),
            Self::InvalidCatalog => (400, "invalid_catalog", "invalid_request_error"),
            Self::RateLimitExceeded => (429, "rate_limit_exceeded", "rate_limit_error"),
            Self::BalanceInFlight => (429, "balance_in_flight", "rate_limit_error"),
            Self::UpstreamRejected => (400, "upstream_rejected", "invalid_request_error"),
            Self::NoRouteAvailable | Self::UpstreamRefusesUs => (502, "no_route_available", "upstream_error"),
            Self::UpstreamRateLimited => (429, "upstream_rate_limited", "rate_limit_error"),
            Self::UpstreamOverloaded => (429, "upstream_overloaded", "rate_limit_error"),
            Self::ModelUnpriced => (503, "model_unpriced", "server_error"),
            Self::Unavailable => (503, "service_unavailable", "server_error"),
        };
        Row { status, code, kind }
    }

    /// Whether the same request will fare no better, although clients try again by its status: no provider accepts the gateway's
    /// own credential or knows the model, a key for the request was used for another one, or the model has no price.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::UpstreamRefusesUs | Self::IdempotencyMismatch | Self::ModelUnpriced)
    }

    /// Whether another bucket could say yes.
    pub const fn is_about_one_bucket(self) -> bool {
        matches!(self, Self::InsufficientBalance | Self::BalanceInFlight | Self::BudgetExceeded)
    }
}

/// What the caller's dialect calls an error of upstream's, where upstream speaks another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignError {
    /// OpenAI's and Anthropic's `type`, Google's `status`.
    pub kind: String,
    /// OpenAI's `code`, Google's `reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// OpenAI's `param`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
}

/// A clear no.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which case.
    pub code: Code,
    /// What is wrong, for the caller.
    pub message: String,
    /// The field that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// What the caller can do now.
    pub next_step: String,
    /// Which limit said no: `account`, `key`, `project`, `run`, `upstream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_source: Option<String>,
    /// After how many seconds the same request may work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// The status that upstream gave, where the error is upstream's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// What the caller's dialect calls it, where upstream speaks another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<Box<ForeignError>>,
    /// Whether it passes when requests in flight give back what they do not use.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_flight: bool,
    /// More facts for `error.metadata`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
    /// For the log only; it never reaches a caller or a row.
    #[serde(skip)]
    pub detail: Option<String>,
}

impl Refusal {
    /// A refusal with what is wrong and what to do.
    pub fn new(code: Code, message: impl Into<String>, next_step: impl Into<String>) -> Self {
        // It may repeat what a caller or an upstream wrote, of any length.
        let message: String = message.into();
        let message = if message.len() > LONGEST_MESSAGE { message.chars().take(LONGEST_MESSAGE).collect() } else { message };
        Self {
            code,
            message,
            param: None,
            next_step: next_step.into(),
            limit_source: None,
            retry_after_s: None,
            upstream_status: None,
            named: None,
            in_flight: false,
            facts: Map::new(),
            detail: None,
        }
    }

    /// The caller's request is wrong in this field.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        let next_step = match param {
            "" => "Correct the request and send it again.".to_owned(),
            _ => format!("Correct `{param}` and send the request again."),
        };
        let param = Some(param.to_owned()).filter(|param| !param.is_empty());
        Self { param, ..Self::new(Code::InvalidRequest, message, next_step) }
    }

    /// Something of ours does not answer; nothing was charged.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let refusal = Self::new(
            Code::Unavailable,
            "The gateway cannot reach its own records at the moment. Nothing was sent upstream and nothing was charged.",
            "Send the request again in a few seconds.",
        );
        Self { detail: Some(detail.into()), ..refusal.retry_after(2) }
    }

    /// Names the field that is wrong.
    pub fn param(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }

    /// Names the limit that said no.
    pub fn limit(mut self, source: &str) -> Self {
        self.limit_source = Some(source.to_owned());
        self
    }

    /// Says when to come back.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds a fact to the metadata.
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// The `message` of an envelope. Most clients show nothing else, so that it says what is wrong and what to do now; of an
    /// error of upstream's, what upstream said.
    pub fn told(&self) -> String {
        if self.code == Code::UpstreamRejected { self.message.clone() } else { joined(&self.message, &self.next_step) }
    }

    /// Whether the same request will fare no better, although clients try again by its status.
    pub const fn is_final(&self) -> bool {
        // Some conflicts pass, and say when.
        self.code.is_final() || matches!(self.code, Code::Conflict) && self.retry_after_s.is_none()
    }

    /// HTTP status: that of the table, or upstream's own for an error of upstream's.
    pub fn status(&self) -> u16 {
        self.upstream_status.filter(|_| self.code == Code::UpstreamRejected).unwrap_or(self.code.row().status)
    }
}

/// What is wrong and what to do now, as one text in which nothing is said twice.
pub fn joined(message: &str, next_step: &str) -> String {
    let (message, next_step) = (message.trim(), next_step.trim());
    if next_step.is_empty() || message.ends_with(next_step) {
        return message.to_owned();
    }
    if message.is_empty() {
        return next_step.to_owned();
    }
    let end = if message.ends_with(['.', '!', '?', ':']) { "" } else { "." };
    format!("{message}{end} {next_step}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_read_in_every_form_and_has_a_bound() {
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("1.5", Some(2)),
            ("1.0", Some(1)),
            ("86400", Some(86_400)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("", None),
            ("1e9", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            assert_eq!(wait_in_seconds(text), seconds, "{text}");
            assert!(bounded_wait(wait_in_seconds(text)).unwrap_or(0) <= LONGEST_WAIT_S);
        }
    }

    #[test]
    fn statuses_tell_whether_to_try_again() {
        for (code, status) in [
            (Code::InvalidApiKey, 401),
            (Code::InsufficientBalance, 402),
            (Code::OriginNotAllowed, 403),
            (Code::BudgetExceeded, 403),
            (Code::ModelNotFound, 404),
            (Code::IdempotencyMismatch, 409),
            (Code::BodyTooLarge, 413),
            (Code::RateLimitExceeded, 429),
            (Code::BalanceInFlight, 429),
            (Code::UpstreamRateLimited, 429),
            (Code::NoRouteAvailable, 502),
            (Code::UpstreamOverloaded, 429),
            (Code::ModelUnpriced, 503),
        ] {
            assert_eq!(code.row().status, status);
        }
    }

    #[test]
    fn the_list_of_cases_has_them_all() {
        for (place, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, place);
        }
        let cases = include_str!("refusal.rs").split("pub enum Code {").nth(1).unwrap().split('}').next().unwrap();
        assert_eq!(cases.lines().filter(|line| line.ends_with(',')).count(), Code::ALL.len());
    }

    #[test]
    fn what_clients_show_is_what_is_wrong_and_what_to_do() {
        for (message, next_step, told) in [
            ("No key.", "Send one.", "No key. Send one."),
            ("No key", "Send one.", "No key. Send one."),
            ("Which one?", "Send one.", "Which one? Send one."),
            ("No key. Send one.", "Send one.", "No key. Send one."),
            ("No key.", "", "No key."),
            ("", "Send one.", "Send one."),
        ] {
            for code in Code::ALL {
                let told = if code == Code::UpstreamRejected { message } else { told };
                assert_eq!(Refusal::new(code, message, next_step).told(), told, "{code:?}");
            }
        }
    }

    #[test]
    fn the_private_detail_is_never_written() {
        let refusal = Refusal::unavailable("secret of the house");
        assert!(!serde_json::to_string(&refusal).unwrap().contains("secret"));
    }
}
