//! Mistral, as the proof that a provider that is compatible with OpenAI needs nothing but a catalogue.

use super::chat::Chat;
use super::embeddings::Embeddings;
use super::read_error;
use super::testing::{cost, envelope, priced, said, sent, streamed};
use crate::catalog::{Catalog, UpstreamHosts};
use crate::dialect::stream_state::Progress;
use crate::usage::Usage;

const ASKED: &str = include_str!("../../../tests/golden/mistral/chat-request.json");
const ANSWER: &str = include_str!("../../../tests/golden/mistral/chat.json");
const STREAM: &str = include_str!("../../../tests/golden/mistral/chat.sse");
const EMBEDDINGS: &str = include_str!("../../../tests/golden/mistral/embeddings.json");
const CATALOG: &str = include_str!("../../../examples/mistral.json");
const PAGE: &str = include_str!("../../../docs/reference/dialects.md");

#[test]
fn its_catalogue_is_whole_and_stands_in_the_documentation() {
    let catalog = Catalog::parse(CATALOG, UpstreamHosts::Public).unwrap();
    assert_eq!(catalog.models.keys().map(ToString::to_string).collect::<Vec<_>>(), ["mistral-embed", "mistral-small"]);
    let indented: String = CATALOG.lines().map(|line| format!("   {line}\n")).collect();
    assert!(PAGE.contains(&indented));
}

#[test]
fn its_own_fields_go_up_as_they_came() {
    // But for the limit, which is what was set aside for it.
    assert_eq!(sent(&Chat, ASKED), ASKED.replace("\"mistral-small\"", "\"upstream-1\"").replace(": 64", ": 9"));
    assert_eq!(envelope(&Chat, ASKED).unwrap().output_limit, Some(64));
    let asked = r#"{"model":"mistral-small","input":["a","b"],"output_dimension":256,"output_dtype":"int8","metadata":null}"#;
    assert_eq!(sent(&Embeddings, asked), asked.replace("mistral-small", "upstream-1"));
}

#[test]
fn its_chat_is_charged_by_its_own_usage_and_keeps_its_own_fields() {
    let read = said(&Chat, ANSWER).unwrap();
    let usage = read.usage.unwrap();
    assert_eq!((usage, read.finish_reason.as_deref()), (Usage { input: 16, output: 34, ..Usage::default() }, Some("stop")));
    // 0.10 in and 0.30 out, per million: 16 * 0.1 + 34 * 0.3 = 1.6 + 10.2 = 11.8 millionths.
    assert_eq!(cost(r#"{"input":"0.1","output":"0.3"}"#, &usage), "0.0000118");
    let told = "\"num_cached_tokens\": 0,\"cost\":0.5,\"cost_details\":{}}";
    assert_eq!(priced(&Chat, ANSWER, &usage), ANSWER.replace("\"num_cached_tokens\": 0}", told));
}

#[test]
fn its_stream_tells_usage_with_the_last_words() {
    let read = streamed(&Chat, &[STREAM.as_bytes()]);
    assert_eq!((read.progress, read.usage.0), (Progress::Done, Usage { input: 16, output: 4, ..Usage::default() }));
    // The client did not ask for usage: it goes, and nothing else does.
    let usage = ",\"usage\":{\"prompt_tokens\":16,\"total_tokens\":20,\"completion_tokens\":4}";
    assert_eq!(read.out, STREAM.replace(usage, ""));
}

#[test]
fn its_embeddings_are_charged_by_its_own_usage_and_keep_their_digits() {
    let usage = said(&Embeddings, EMBEDDINGS).unwrap().usage.unwrap();
    assert_eq!(usage, Usage { input: 15, ..Usage::default() });
    // 0.10 per million: 15 * 0.1 = 1.5 millionths.
    assert_eq!(cost(r#"{"input":"0.1","output":"0"}"#, &usage), "0.0000015");
    let told = "\"prompt_audio_seconds\": {},\"cost\":0.5,\"cost_details\":{}}";
    assert_eq!(priced(&Embeddings, EMBEDDINGS, &usage), EMBEDDINGS.replace("\"prompt_audio_seconds\": {}}", told));
}

#[test]
fn its_errors_are_read_without_an_envelope() {
    let body = r#"{"object":"error","message":"Prompt contains 40000 tokens","type":"invalid_request_error","param":null,"code":"3051"}"#;
    let error = read_error(body);
    assert_eq!((error.message.as_str(), error.code.as_deref()), ("Prompt contains 40000 tokens", Some("3051")));
    let found = r#"{"object":"error","message":{"detail":[{"loc":["body","logit_bias"],"msg":"Extra inputs are not permitted"}]},"code":null}"#;
    assert!(read_error(found).message.contains(r#""loc":["body","logit_bias"]"#));
}
