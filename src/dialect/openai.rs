//! OpenAI's chat completions: the request that goes up, the answer that comes down, and errors.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::envelope::Envelope;
use super::json::{Edit, Object, quoted};
use crate::catalog::OutputLimitField;
use crate::id::RequestId;
use crate::refusal::Refusal;
use crate::usage::Usage;

/// Where chat completions are, behind a channel's base URL.
pub const CHAT_PATH: &str = "/chat/completions";
/// Where the list of models is.
pub const MODELS_PATH: &str = "/models";
/// The last event of a stream.
pub const DONE: &str = "[DONE]";

/// What must differ in the request that goes up.
#[derive(Debug, Clone, Copy)]
pub struct Upstream<'a> {
    /// The model's id there.
    pub model: &'a str,
    /// How many tokens each answer may have.
    pub output_limit: u64,
    /// The only field by which the channel limits output, where it knows only one.
    pub limit_field: Option<OutputLimitField>,
}

/// The body that goes up: the client's own but for the model, the limit, the usage of a stream, and what is for us alone.
pub fn upstream_body(envelope: &Envelope<'_>, upstream: Upstream<'_>) -> String {
    let mut edits = vec![
        Edit::Set("model", quoted(upstream.model)),
        Edit::Remove("models"),
        Edit::Remove("provider"),
        Edit::Remove("session_id"),
    ];
    let is_given = |field: OutputLimitField| envelope.object.get(field.name()).is_some_and(|json| json != "null");
    let (old, new) = (OutputLimitField::MaxTokens, OutputLimitField::MaxCompletionTokens);
    match upstream.limit_field {
        // The channel knows one of the two: whatever the client wrote stands there.
        Some(field) => {
            let other = if field == old { new } else { old };
            edits.push(Edit::Set(field.name(), upstream.output_limit.to_string()));
            edits.push(Edit::Remove(other.name()));
        }
        None if is_given(old) || is_given(new) => {}
        None => edits.push(Edit::Set(old.name(), upstream.output_limit.to_string())),
    }
    if envelope.stream {
        let include = || Edit::Set("include_usage", "true".to_owned());
        let options = envelope.object.get("stream_options").and_then(Object::parse);
        let options = options.map_or_else(|| "{\"include_usage\":true}".to_owned(), |options| options.edited(&[include()]));
        edits.push(Edit::Set("stream_options", options));
    }
    envelope.object.edited(&edits)
}

/// Usage as OpenAI counts it: cached and audio tokens within the prompt's, reasoning and audio within the completion's.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct WireUsage {
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    total_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
    #[serde(default)]
    audio_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
    #[serde(default)]
    audio_tokens: Option<u64>,
}

/// Reads a `usage` object into disjoint classes; none if it is not one. Details that are more than the whole are cut to it.
pub fn read_usage(json: &str) -> Option<Usage> {
    // A list would be read as the fields in their order.
    let wire: WireUsage = json.starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()?;
    let prompt = wire.prompt_tokens_details.unwrap_or_default();
    let completion = wire.completion_tokens_details.unwrap_or_default();
    let cached_input = prompt.cached_tokens.unwrap_or(0).min(wire.prompt_tokens);
    let audio_input = prompt.audio_tokens.unwrap_or(0).min(wire.prompt_tokens.saturating_sub(cached_input));
    // Some providers count reasoning outside of the completion; the total tells.
    let outside = wire.total_tokens.unwrap_or(0).saturating_sub(wire.prompt_tokens.saturating_add(wire.completion_tokens));
    let completion_tokens = wire.completion_tokens.saturating_add(outside);
    let reasoning = completion.reasoning_tokens.unwrap_or(0).max(outside).min(completion_tokens);
    let audio_output = completion.audio_tokens.unwrap_or(0).min(completion_tokens.saturating_sub(reasoning));
    Some(Usage {
        input: wire.prompt_tokens.saturating_sub(cached_input).saturating_sub(audio_input),
        cached_input,
        audio_input,
        output: completion_tokens.saturating_sub(reasoning).saturating_sub(audio_output),
        reasoning,
        audio_output,
        ..Usage::default()
    })
}

/// What a request cost, as it stands in `usage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The whole charge, decimal.
    pub amount: String,
    /// More about it, as a JSON object.
    pub details: String,
}

/// The `usage` object with the cost; upstream's own where there is one.
pub fn usage_with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost) -> String {
    let edits = [Edit::Set("cost", cost.amount.clone()), Edit::Set("cost_details", cost.details.clone())];
    let edited = upstream.and_then(Object::parse).map(|object| object.edited(&edits));
    edited.unwrap_or_else(|| {
        let own = json!({
            "prompt_tokens": usage.input_side(),
            "completion_tokens": usage.output_side(),
            "total_tokens": usage.total(),
            "prompt_tokens_details": {"cached_tokens": usage.cached_input},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        });
        let own = own.to_string();
        Object::parse(&own).map(|object| object.edited(&edits)).unwrap_or(own)
    })
}

/// A plain answer of upstream.
#[derive(Debug)]
pub struct PlainAnswer<'a> {
    object: Object<'a>,
    /// What upstream says it used.
    pub usage: Option<Usage>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// Bytes of output, for the case that upstream does not say what it used.
    pub output_bytes: u64,
}

#[derive(Deserialize)]
struct PlainChoice<'a> {
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

impl<'a> PlainAnswer<'a> {
    /// Reads an answer; an error says what the body is instead.
    pub fn parse(body: &'a [u8]) -> Result<Self, String> {
        if body.trim_ascii().is_empty() {
            return Err("an empty answer".to_owned());
        }
        let object = std::str::from_utf8(body).ok().and_then(Object::parse).ok_or("something that is not a JSON object")?;
        let choices = object.get("choices").and_then(|json| serde_json::from_str::<Vec<PlainChoice<'_>>>(json).ok());
        let Some(choices) = choices.filter(|choices| !choices.is_empty()) else {
            return Err(match object.get("error").filter(|error| *error != "null") {
                // Its words may name the provider's hosts and our account there.
                Some(error) => format!("an error with status 200{}", read_error_object(error).shown_code()),
                None => "an answer without choices".to_owned(),
            });
        };
        let usage = object.get("usage").and_then(read_usage);
        let output_bytes = choices.iter().fold(0, |sum: u64, choice| sum.saturating_add(said_bytes(choice.message)));
        let finish_reason = choices.into_iter().find_map(|choice| choice.finish_reason);
        Ok(Self { object, usage, finish_reason, output_bytes })
    }

    /// The answer for the client: upstream's own, with the cost in its usage.
    pub fn with_cost(&self, usage: &Usage, cost: &Cost) -> String {
        let upstream = self.object.get("usage").filter(|_| self.usage.is_some());
        self.object.edited(&[Edit::Set("usage", usage_with_cost(upstream, usage, cost))])
    }
}

/// An error as upstream told it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamError {
    /// In words; safe to show.
    pub message: String,
    /// Upstream's `type`.
    pub kind: Option<String>,
    /// Upstream's `param`.
    pub param: Option<String>,
    /// Upstream's `code`.
    pub code: Option<String>,
}

impl UpstreamError {
    /// The code in brackets, where there is one that can be shown.
    pub fn shown_code(&self) -> String {
        let code = self.code.as_deref().filter(|code| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_graphic()));
        code.map_or(String::new(), |code| format!(" ({code})"))
    }
}

/// Reads an error body. What is not OpenAI's envelope, such as a page of HTML, gets words of ours.
pub fn read_error(body: &[u8]) -> UpstreamError {
    let object = std::str::from_utf8(body).ok().and_then(Object::parse);
    let error = object.as_ref().and_then(|object| object.get("error")).filter(|error| *error != "null");
    error.map_or_else(
        || UpstreamError { message: "the provider gave no readable reason".to_owned(), ..UpstreamError::default() },
        read_error_object,
    )
}

/// Reads the `error` member itself.
pub fn read_error_object(json: &str) -> UpstreamError {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |name: &str| match value.get(name) {
        Some(Value::String(text)) => Some(text.chars().take(200).collect::<String>()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let message = value.as_str().or_else(|| value.get("message").and_then(Value::as_str)).map(ToOwned::to_owned);
    let message = message.unwrap_or_else(|| "the provider gave no readable reason".to_owned());
    UpstreamError { message: message.chars().take(2000).collect(), kind: text("type"), param: text("param"), code: text("code") }
}

/// The error envelope for a refusal. `receipt` is the request's id, where it has a receipt.
pub fn error_body(refusal: &Refusal, receipt: Option<&RequestId>) -> String {
    let row = refusal.code.row();
    // An error that upstream told is passed on with its own four keys.
    let upstream = |name: &str| refusal.facts.get(&format!("provider_{name}")).cloned().filter(|value| !value.is_null());
    let is_upstreams = refusal.code == crate::refusal::Code::UpstreamRejected;
    let own = |name: &str, ours: Value| if is_upstreams { upstream(name).unwrap_or(Value::Null) } else { ours };
    json!({"error": {
        "message": refusal.message,
        "type": own("type", row.kind.into()),
        "param": own("param", refusal.param.clone().into()),
        "code": own("code", row.code.into()),
        "metadata": metadata(refusal, receipt),
    }})
    .to_string()
}

fn metadata(refusal: &Refusal, receipt: Option<&RequestId>) -> Map<String, Value> {
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

/// A chunk of a stream, as far as it must be known.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub created: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub choices: Option<Vec<ChunkChoice<'a>>>,
    /// Present and null is not the same as absent.
    #[serde(borrow, default, deserialize_with = "present")]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Debug, Deserialize)]
pub(super) struct ChunkChoice<'a> {
    #[serde(borrow, default)]
    pub delta: Option<&'a RawValue>,
    #[serde(default)]
    pub finish_reason: Option<String>,
}

/// What a delta or a message says, without its wrapping.
#[derive(Debug, Default, Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
}

impl ChunkChoice<'_> {
    /// Bytes of output in this delta, quotes aside.
    pub(super) fn output_bytes(&self) -> u64 {
        said_bytes(self.delta)
    }
}

/// Bytes of output in a delta or a message, quotes aside.
fn said_bytes(json: Option<&RawValue>) -> u64 {
    let said: Said<'_> = json.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let parts = [said.content, said.reasoning_content.or(said.reasoning), said.refusal, said.tool_calls];
    let parts = parts.iter().flatten().filter(|raw| raw.get() != "null");
    let bytes: usize = parts.map(|raw| raw.get().len().saturating_sub(2)).sum();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;

    fn up(body: &str, limit_field: Option<OutputLimitField>) -> String {
        let envelope = Envelope::parse(body.as_bytes()).unwrap();
        upstream_body(&envelope, Upstream { model: "m-2026", output_limit: 99, limit_field })
    }

    #[test]
    fn the_body_goes_up_as_it_came_but_for_what_must_change() {
        let body = r#"{"model":"m","messages":[{"role":"developer","content":"x"}],"top_k":1.0,"new":{"a":null},"models":["n"],"provider":{},"session_id":"s","max_tokens":5}"#;
        let expected =
            r#"{"model":"m-2026","messages":[{"role":"developer","content":"x"}],"top_k":1.0,"new":{"a":null},"max_tokens":5}"#;
        assert_eq!(up(body, None), expected);
    }

    #[test]
    fn output_is_always_limited_in_the_channels_own_field() {
        assert_eq!(up(r#"{"model":"m","messages":[]}"#, None), r#"{"model":"m-2026","messages":[],"max_tokens":99}"#);
        assert_eq!(
            up(r#"{"model":"m","messages":[],"max_tokens":null}"#, None),
            r#"{"model":"m-2026","messages":[],"max_tokens":99}"#
        );
        let new = Some(OutputLimitField::MaxCompletionTokens);
        assert_eq!(
            up(r#"{"model":"m","messages":[],"max_tokens":99}"#, new),
            r#"{"model":"m-2026","messages":[],"max_completion_tokens":99}"#
        );
        let old = Some(OutputLimitField::MaxTokens);
        assert_eq!(
            up(r#"{"model":"m","max_completion_tokens":7,"messages":[]}"#, old),
            r#"{"model":"m-2026","messages":[],"max_tokens":99}"#
        );
    }

    #[test]
    fn a_stream_is_asked_for_its_usage() {
        let body = r#"{"model":"m","messages":[],"max_tokens":1,"stream":true}"#;
        assert!(up(body, None).ends_with(r#""stream":true,"stream_options":{"include_usage":true}}"#));
        let body = r#"{"model":"m","messages":[],"max_tokens":1,"stream":true,"stream_options":{"include_usage":false,"x":1}}"#;
        assert!(up(body, None).ends_with(r#""stream_options":{"include_usage":true,"x":1}}"#));
        let body = r#"{"model":"m","messages":[],"max_tokens":1,"stream":true,"stream_options":null}"#;
        assert!(up(body, None).ends_with(r#""stream_options":{"include_usage":true}}"#));
    }

    #[test]
    fn usage_is_read_into_disjoint_classes() {
        // 1000 prompt tokens of which 600 cached and 100 audio; 300 completion tokens of which 120 reasoning.
        let json = r#"{"prompt_tokens":1000,"completion_tokens":300,"total_tokens":1300,
            "prompt_tokens_details":{"cached_tokens":600,"audio_tokens":100},"completion_tokens_details":{"reasoning_tokens":120,"audio_tokens":null}}"#;
        let usage = read_usage(json).unwrap();
        assert_eq!(
            (usage.input, usage.cached_input, usage.audio_input, usage.output, usage.reasoning),
            (300, 600, 100, 180, 120)
        );
        assert_eq!(usage.total(), 1300);
        // xAI: 300 tokens of reasoning beside 5 of completion. Gemini's OpenAI endpoint: only the total knows of them.
        for details in [r#","completion_tokens_details":{"reasoning_tokens":300}"#, ""] {
            let outside = format!(r#"{{"prompt_tokens":10,"completion_tokens":5,"total_tokens":315{details}}}"#);
            let usage = read_usage(&outside).unwrap();
            assert_eq!((usage.output, usage.reasoning, usage.total()), (5, 300, 315));
        }
        let absurd = read_usage(r#"{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":9,"audio_tokens":9}}"#).unwrap();
        assert_eq!(absurd.total(), 1);
        for json in ["null", "{}", "[]", r#"{"prompt_tokens":-1}"#, r#"{"prompt_tokens":"5"}"#, r#"{"prompt_tokens":1.5}"#] {
            assert_eq!(read_usage(json), None, "{json}");
        }
    }

    #[test]
    fn what_is_not_an_answer_is_named() {
        for (body, words) in [
            ("", "empty"),
            ("<html>", "not a JSON object"),
            ("[]", "not a JSON object"),
            (r#"{"error":{"message":"our secret","code":"over_quota"}}"#, "error with status 200 (over_quota)"),
            (r#"{"choices":[]}"#, "without choices"),
            (r#"{"choices":null,"error":null}"#, "without choices"),
        ] {
            assert!(PlainAnswer::parse(body.as_bytes()).unwrap_err().contains(words), "{body}");
        }
    }

    #[test]
    fn the_cost_is_added_and_nothing_else() {
        let body = br#"{"id":"x","choices":[{"index":0,"finish_reason":"stop","logprobs":null}], "usage":{"prompt_tokens":1,"completion_tokens":2,"new":1.0}}"#;
        let answer = PlainAnswer::parse(body).unwrap();
        let cost = Cost { amount: "0.00125".to_owned(), details: r#"{"currency":"USD"}"#.to_owned() };
        let expected = r#"{"id":"x","choices":[{"index":0,"finish_reason":"stop","logprobs":null}], "usage":{"prompt_tokens":1,"completion_tokens":2,"new":1.0,"cost":0.00125,"cost_details":{"currency":"USD"}}}"#;
        assert_eq!(answer.with_cost(&answer.usage.unwrap(), &cost), expected);
    }

    #[test]
    fn an_error_of_upstream_keeps_its_four_keys() {
        let error = read_error(br#"{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#);
        assert_eq!(error.code.as_deref(), Some("context_length_exceeded"));
        assert_eq!(read_error(b"<html>secret page</html>").message, "the provider gave no readable reason");
        let refusal =
            Refusal::new(Code::UpstreamRejected, "too long", "Shorten it.").fact("provider_code", "context_length_exceeded");
        let body: Value = serde_json::from_str(&error_body(&refusal, None)).unwrap();
        assert_eq!(body["error"]["code"], "context_length_exceeded");
        assert_eq!(body["error"]["param"], Value::Null);
        assert_eq!(body["error"]["metadata"]["error_type"], "upstream_rejected");
    }
}
