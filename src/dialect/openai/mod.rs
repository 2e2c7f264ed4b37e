//! OpenAI's dialect: chat completions, responses, and the endpoints beside them. Everyone's who is compatible, too.

pub mod audio;
pub mod chat;
pub mod completions;
pub mod embeddings;
mod events;
pub mod images;
#[cfg(test)]
mod mistral;
pub mod moderations;
mod non_chat;
mod out;
mod parts;
pub mod rerank;
pub mod responses;
#[cfg(test)]
pub mod testing;
mod usage;

#[cfg(test)]
mod properties;

use serde_json::{Map, Value, json};

use super::format::UpstreamError;
use super::json::Object;
use crate::id::RequestId;
use crate::refusal::Refusal;

pub use usage::{read_response_usage, read_usage, response_usage_with_cost, usage_with_cost};

/// Where the list of models is.
pub const MODELS_PATH: &str = "/models";

/// Words for a failure that upstream does not explain.
const NO_REASON: &str = "the provider gave no readable reason";

/// Reads an error body. What is not OpenAI's envelope, such as a page of HTML, gets words of ours.
pub fn read_error(body: &str) -> UpstreamError {
    let object = Object::parse(body);
    let error = object.as_ref().and_then(|object| object.get("error")).filter(|error| *error != "null");
    // Mistral, vLLM and others write the members without the envelope.
    let bare = object.as_ref().and_then(|object| object.get("message")).map(|_| body);
    error.or(bare).map_or_else(|| UpstreamError { message: NO_REASON.to_owned(), ..UpstreamError::default() }, read_error_object)
}

/// Reads the `error` member itself.
pub fn read_error_object(json: &str) -> UpstreamError {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |name: &str| match value.get(name) {
        Some(Value::String(text)) => Some(text.chars().take(200).collect::<String>()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let message = match value.get("message") {
        Some(Value::String(text)) => Some(text.clone()),
        // Some write what a check found, with its places.
        Some(found @ (Value::Object(_) | Value::Array(_))) => Some(found.to_string()),
        _ => value.as_str().map(ToOwned::to_owned),
    };
    let message = message.unwrap_or_else(|| NO_REASON.to_owned());
    let message = message.chars().take(2000).collect();
    UpstreamError { message, kind: text("type"), param: text("param"), code: text("code"), retry_after_s: None }
}

/// The error envelope for a refusal. `receipt` is the request's id, where it has a receipt.
pub fn error_body(refusal: &Refusal, receipt: Option<&RequestId>) -> String {
    let row = refusal.code.row();
    // An error that upstream told is passed on with its own four keys, where they are OpenAI's.
    let upstream = |name: &str| refusal.facts.get(&format!("provider_{name}")).cloned().filter(|value| !value.is_null());
    let is_upstreams = refusal.code == crate::refusal::Code::UpstreamRejected;
    let own = |name: &str, ours: Value| if is_upstreams { upstream(name).unwrap_or(Value::Null) } else { ours };
    let [kind, param, code]: [Value; 3] = match &refusal.named {
        Some(named) => [named.kind.clone().into(), named.param.clone().into(), named.code.clone().into()],
        None => [own("type", row.kind.into()), own("param", refusal.param.clone().into()), own("code", row.code.into())],
    };
    json!({"error": {
        "message": refusal.told(),
        "type": kind,
        "param": param,
        "code": code,
        "metadata": metadata(refusal, receipt),
    }})
    .to_string()
}

/// What every dialect's envelope tells beside its own members.
pub fn metadata(refusal: &Refusal, receipt: Option<&RequestId>) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("error_type".to_owned(), refusal.code.row().code.into());
    metadata.insert("limit_source".to_owned(), refusal.limit_source.clone().into());
    metadata.insert("receipt".to_owned(), receipt.map(RequestId::as_str).into());
    metadata.insert("next_step".to_owned(), refusal.next_step.clone().into());
    if let Some(seconds) = refusal.retry_after_s {
        metadata.insert("retry_after_s".to_owned(), seconds.into());
    }
    metadata.extend(refusal.facts.clone());
    metadata
}

/// The words and the code of an error that stands where an answer should be.
pub fn misplaced_error(error: &str) -> String {
    // Its words may name the provider's hosts and our account there.
    format!("an error with status 200{}", read_error_object(error).shown_code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;

    #[test]
    fn an_error_of_upstream_keeps_its_four_keys() {
        let error = read_error(
            r#"{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        );
        assert_eq!(error.code.as_deref(), Some("context_length_exceeded"));
        assert_eq!(read_error("<html>secret page</html>").message, NO_REASON);
        let refusal =
            Refusal::new(Code::UpstreamRejected, "too long", "Shorten it.").fact("provider_code", "context_length_exceeded");
        let body: Value = serde_json::from_str(&error_body(&refusal, None)).unwrap();
        assert_eq!(body["error"]["code"], "context_length_exceeded");
        assert_eq!(body["error"]["param"], Value::Null);
        assert_eq!(body["error"]["metadata"]["error_type"], "upstream_rejected");
    }
}
