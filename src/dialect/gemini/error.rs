//! Errors in Google's form.

use serde_json::{Map, Value, json};

use crate::dialect::format::UpstreamError;
use crate::dialect::openai;
use crate::id::RequestId;
use crate::refusal::{Code, Refusal};

const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
/// Whose reasons ours are.
const DOMAIN: &str = "tokens-forge";

/// Reads the body of an error, also where it is the only member of a list, as streams without events have it.
pub fn read_error(body: &str) -> UpstreamError {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let value = value.as_array().and_then(|list| list.first()).unwrap_or(&value);
    value.get("error").filter(|error| error.is_object()).map_or_else(|| openai::read_error(""), read_value)
}

/// Reads the `error` member itself.
pub fn read_error_object(json: &str) -> UpstreamError {
    read_value(&serde_json::from_str(json).unwrap_or_default())
}

fn read_value(error: &Value) -> UpstreamError {
    let short = |value: &Value| value.as_str().map(|text| text.chars().take(200).collect::<String>());
    let details = error.get("details").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let detail = |kind: &str| details.iter().find(|detail| detail.get("@type").and_then(Value::as_str) == Some(kind));
    let kind = error.get("status").and_then(short);
    let reason = detail(ERROR_INFO).and_then(|info| info.get("reason")).and_then(short);
    let violations = detail(BAD_REQUEST).and_then(|fault| fault.get("fieldViolations")).and_then(Value::as_array);
    let field = violations.and_then(|list| list.first()).and_then(|violation| violation.get("field"));
    let message = error.get("message").and_then(Value::as_str).map(|text| text.chars().take(2000).collect());
    UpstreamError {
        message: message.unwrap_or_else(|| openai::read_error("").message),
        param: field.and_then(short),
        code: reason.or_else(|| kind.clone()),
        kind,
        retry_after_s: detail(RETRY_INFO).and_then(|info| info.get("retryDelay")).and_then(Value::as_str).and_then(seconds),
    }
}

/// Seconds of a duration such as `7s` or `0.5s`, rounded up.
fn seconds(duration: &str) -> Option<u64> {
    let (whole, fraction) = duration.strip_suffix('s').map(|text| text.split_once('.').unwrap_or((text, "0")))?;
    let is_more = fraction.bytes().any(|digit| digit != b'0');
    whole.parse::<u64>().ok().map(|whole| whole.saturating_add(u64::from(is_more)))
}

/// Google's word for an HTTP status.
pub const fn status_word(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 | 409 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        502..=504 => "UNAVAILABLE",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

/// The error envelope for a refusal. `receipt` is the request's id, where it has a receipt.
pub fn write_error(refusal: &Refusal, receipt: Option<&RequestId>) -> String {
    let status = refusal.status();
    // An error that upstream told keeps its own words where they are of Google's kind.
    let own = |name: &str| {
        let word = refusal.facts.get(name).and_then(Value::as_str).filter(|_| refusal.code == Code::UpstreamRejected);
        word.filter(|word| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        })
    };
    let (kind, code) = match &refusal.named {
        Some(named) => (Some(named.kind.as_str()), named.code.as_deref()),
        None => (own("provider_type"), own("provider_code")),
    };
    let mut metadata = openai::metadata(refusal, receipt);
    metadata.insert("param".to_owned(), refusal.param.clone().into());
    let reason = refusal.code.row().code.to_ascii_uppercase();
    let mut details = vec![json!({
        "@type": ERROR_INFO,
        "reason": code.unwrap_or(&reason),
        "domain": DOMAIN,
        "metadata": texts(metadata),
    })];
    if let Some(seconds) = refusal.retry_after_s {
        details.push(json!({"@type": RETRY_INFO, "retryDelay": format!("{seconds}s")}));
    }
    json!({"error": {
        "code": status,
        "message": refusal.told(),
        "status": kind.unwrap_or(status_word(status)),
        "details": details,
    }})
    .to_string()
}

/// The error that ends a stream which broke off. `code` is one of Google's words, or of ours.
pub fn broken(code: &str, message: &str) -> String {
    let (status, word) = status_of(code).map_or((502, status_word(502)), |status| (status, code));
    let details = json!([{"@type": ERROR_INFO, "reason": code.to_ascii_uppercase(), "domain": DOMAIN, "metadata": {}}]);
    json!({"error": {"code": status, "message": message, "status": word, "details": details}}).to_string()
}

/// The status that goes with one of Google's words.
fn status_of(word: &str) -> Option<u16> {
    Some(match word {
        "INVALID_ARGUMENT" => 400,
        "NOT_FOUND" => 404,
        "RESOURCE_EXHAUSTED" => 429,
        "UNAVAILABLE" => 503,
        _ => return None,
    })
}

/// Google's metadata are texts alone.
fn texts(metadata: Map<String, Value>) -> Map<String, Value> {
    let text = |value: Value| if value.is_string() { value } else { Value::String(value.to_string()) };
    metadata.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_wait_is_read_from_the_body() {
        let of = |delay: &str| {
            let body = json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"@type": RETRY_INFO, "retryDelay": delay}]}});
            read_error(&body.to_string()).retry_after_s
        };
        for (delay, seconds) in
            [("7s", Some(7)), ("0.5s", Some(1)), ("33.100s", Some(34)), ("2.000s", Some(2)), ("soon", None), ("s", None)]
        {
            assert_eq!(of(delay), seconds, "{delay}");
        }
    }

    #[test]
    fn googles_error_is_read_in_both_forms() {
        let json = include_str!("../../../tests/golden/gemini/error.json");
        for body in [json.to_owned(), format!("[{json}]")] {
            let error = read_error(&body);
            assert_eq!(error.message, "API key not valid. Please pass a valid API key.");
            assert_eq!((error.kind.as_deref(), error.code.as_deref()), (Some("INVALID_ARGUMENT"), Some("API_KEY_INVALID")));
            assert_eq!(error.param, None);
        }
        let error = read_error(
            r#"{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT","details":[
                {"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"contents[0]"}]}]}}"#,
        );
        assert_eq!((error.code.as_deref(), error.param.as_deref()), (Some("INVALID_ARGUMENT"), Some("contents[0]")));
    }

    #[test]
    fn what_is_not_googles_error_gets_our_words() {
        for body in ["", "<html>secret</html>", "[]", "{}", r#"{"error":"secret"}"#, r#"{"error":{"message":5}}"#] {
            let error = read_error(body);
            assert!(error.message.contains("no readable reason") && error.code.is_none(), "{body}");
        }
    }

    #[test]
    fn a_refusal_is_an_error_of_googles_form() {
        let refusal = Refusal::new(Code::RateLimitExceeded, "Too fast.", "Wait.").limit("key").retry_after(7).fact("limit", 5);
        let body: Value = serde_json::from_str(&write_error(&refusal, None)).unwrap();
        let error = &body["error"];
        assert_eq!((&error["code"], &error["status"]), (&json!(429), &json!("RESOURCE_EXHAUSTED")));
        let info = &error["details"][0];
        assert_eq!((&info["reason"], &info["domain"]), (&json!("RATE_LIMIT_EXCEEDED"), &json!("tokens-forge")));
        assert_eq!((&info["metadata"]["limit"], &info["metadata"]["limit_source"]), (&json!("5"), &json!("key")));
        assert!(info["metadata"].as_object().unwrap().values().all(Value::is_string));
        assert_eq!(error["details"][1]["retryDelay"], "7s");
        for (code, status) in [
            (Code::InvalidApiKey, "UNAUTHENTICATED"),
            (Code::InsufficientBalance, "FAILED_PRECONDITION"),
            (Code::ModelNotAllowed, "PERMISSION_DENIED"),
            (Code::ModelNotFound, "NOT_FOUND"),
            (Code::InvalidRequest, "INVALID_ARGUMENT"),
            (Code::NoRouteAvailable, "UNAVAILABLE"),
        ] {
            let body: Value = serde_json::from_str(&write_error(&Refusal::new(code, "", ""), None)).unwrap();
            assert_eq!(body["error"]["status"], status);
        }
    }

    #[test]
    fn upstreams_own_words_stay() {
        let refusal = Refusal::new(Code::UpstreamRejected, "bad key", "Mend it.")
            .fact("provider_type", "FAILED_PRECONDITION")
            .fact("provider_code", "API_KEY_INVALID");
        let body: Value = serde_json::from_str(&write_error(&refusal, None)).unwrap();
        assert_eq!((&body["error"]["code"], &body["error"]["status"]), (&json!(400), &json!("FAILED_PRECONDITION")));
        assert_eq!(body["error"]["details"][0]["reason"], "API_KEY_INVALID");
        // What another dialect calls it is no word of Google's.
        let refusal = Refusal::new(Code::UpstreamRejected, "x", "y").fact("provider_type", "invalid_request_error");
        let body: Value = serde_json::from_str(&write_error(&refusal, None)).unwrap();
        assert_eq!(body["error"]["status"], "INVALID_ARGUMENT");
        assert_eq!(body["error"]["details"][0]["metadata"]["provider_type"], "invalid_request_error");
    }
}
