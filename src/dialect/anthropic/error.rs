//! Errors in Anthropic's envelope.

use serde_json::{Value, json};

use crate::dialect::format::UpstreamError;
use crate::dialect::openai;
use crate::id::RequestId;
use crate::refusal::{Code, Refusal};

/// Reads the body of an error. Anthropic has a type and no code, so that the type is both.
pub fn read_error(body: &str) -> UpstreamError {
    with_code(openai::read_error(body))
}

/// Reads the `error` member itself.
pub fn read_error_object(json: &str) -> UpstreamError {
    with_code(openai::read_error_object(json))
}

fn with_code(error: UpstreamError) -> UpstreamError {
    UpstreamError { code: error.code.clone().or_else(|| error.kind.clone()), ..error }
}

/// What an answer is that is an error, in words that can be shown.
pub fn misplaced_error(error: &str) -> String {
    // Its own words may name the provider's hosts and our account there.
    format!("an error with status 200{}", read_error_object(error).shown_code())
}

/// A refusal in Anthropic's envelope. An error that upstream told keeps its type.
pub fn error_body(refusal: &Refusal, receipt: Option<&RequestId>) -> String {
    let upstream = refusal.facts.get("provider_type").and_then(Value::as_str);
    // What another dialect calls a type, Anthropic's clients do not know.
    let own = upstream.filter(|kind| refusal.code == Code::UpstreamRejected && kind.ends_with("_error"));
    let named = refusal.named.as_ref().map(|named| named.kind.as_str());
    let kind = named.or(own).unwrap_or(kind_of_status(error_status(refusal)));
    let mut metadata = openai::metadata(refusal, receipt);
    if let Some(param) = &refusal.param {
        metadata.insert("param".to_owned(), param.clone().into());
    }
    let mut error = json!({"type": kind, "message": refusal.told()});
    // What Anthropic's own clients act on stands where they look for it.
    if let (Some(details), Some(error)) = (metadata.shift_remove("details"), error.as_object_mut()) {
        error.insert("details".to_owned(), details);
    }
    if let Some(error) = error.as_object_mut() {
        error.insert("metadata".to_owned(), metadata.into());
    }
    json!({"type": "error", "error": error, "request_id": receipt.map(RequestId::as_str)}).to_string()
}

/// Anthropic has a status of its own for a provider that has too much to do.
pub fn error_status(refusal: &Refusal) -> u16 {
    if refusal.code == Code::UpstreamOverloaded { 529 } else { refusal.status() }
}

/// The error event by which a stream ends that broke off. `code` is kept beside the type: it says more.
pub fn error_event(code: &str, message: &str) -> String {
    let is_anthropics = code.ends_with("_error");
    let kind = if is_anthropics { code } else { "api_error" };
    json!({"type": "error", "error": {"type": kind, "message": message, "code": code}}).to_string()
}

/// Anthropic's word for a status.
const fn kind_of_status(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(refusal: &Refusal) -> Value {
        serde_json::from_str(&error_body(refusal, None)).unwrap()
    }

    #[test]
    fn an_error_is_read_with_its_type_as_its_code() {
        let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
        let error = read_error(body);
        assert_eq!((error.message.as_str(), error.kind.as_deref()), ("Overloaded", Some("overloaded_error")));
        assert_eq!(error.code.as_deref(), Some("overloaded_error"));
        for body in ["", "<html>our account</html>", "[]", "null", r#"{"error":null}"#, r#"{"type":"error"}"#] {
            assert!(!read_error(body).message.contains("account") && read_error(body).code.is_none(), "{body}");
        }
    }

    #[test]
    fn each_refusal_has_anthropics_type() {
        for (code, kind) in [
            (Code::InvalidApiKey, "authentication_error"),
            (Code::InsufficientBalance, "billing_error"),
            (Code::ModelNotAllowed, "permission_error"),
            (Code::ModelNotFound, "not_found_error"),
            (Code::BodyTooLarge, "request_too_large"),
            (Code::InvalidJson, "invalid_request_error"),
            (Code::RateLimitExceeded, "rate_limit_error"),
            (Code::NoRouteAvailable, "api_error"),
            (Code::UpstreamRateLimited, "rate_limit_error"),
            (Code::UpstreamOverloaded, "overloaded_error"),
            (Code::IdempotencyMismatch, "invalid_request_error"),
        ] {
            let body = written(&Refusal::new(code, "No.", "Do."));
            assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)));
            assert_eq!(body["error"]["metadata"]["error_type"], code.row().code);
            assert_eq!(body["request_id"], Value::Null);
        }
        assert_eq!(written(&Refusal::invalid("max_tokens", "No."))["error"]["metadata"]["param"], "max_tokens");
    }

    #[test]
    fn an_error_of_upstream_keeps_its_type_and_status() {
        let refusal = Refusal {
            upstream_status: Some(413),
            ..Refusal::new(Code::UpstreamRejected, "too long", "Shorten it.").fact("provider_type", "odd_error")
        };
        assert_eq!(written(&refusal)["error"]["type"], "odd_error");
        let silent = Refusal { facts: serde_json::Map::new(), ..refusal };
        assert_eq!(written(&silent)["error"]["type"], "request_too_large");
    }
}
