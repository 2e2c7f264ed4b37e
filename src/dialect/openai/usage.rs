//! Usage as OpenAI's chat completions tell it, and as they are told it.

use serde::Deserialize;
use serde_json::json;

use crate::dialect::format::{Cost, Counting};
use crate::dialect::json::Object;
use crate::usage::Usage;

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
pub fn read_usage(json: &str, counting: Counting) -> Option<Usage> {
    // A list would be read as the fields in their order.
    let wire: WireUsage = json.starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()?;
    let prompt = wire.prompt_tokens_details.unwrap_or_default();
    let completion = wire.completion_tokens_details.unwrap_or_default();
    let cached_input = prompt.cached_tokens.unwrap_or(0).min(wire.prompt_tokens);
    let audio_input = prompt.audio_tokens.unwrap_or(0).min(wire.prompt_tokens.saturating_sub(cached_input));
    // Some providers count reasoning outside of the completion. The channel says so, or the total, or a part that is more than
    // the whole.
    let told = completion.reasoning_tokens.unwrap_or(0);
    let beyond = wire.total_tokens.unwrap_or(0).saturating_sub(wire.prompt_tokens.saturating_add(wire.completion_tokens));
    let outside = match counting.reasoning_outside {
        Some(true) => told.max(beyond),
        Some(false) => 0,
        None if told > wire.completion_tokens => told.max(beyond),
        None => beyond,
    };
    let completion_tokens = wire.completion_tokens.saturating_add(outside);
    let reasoning = told.max(outside).min(completion_tokens);
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

/// The `usage` object with the cost; upstream's own where there is one.
pub fn usage_with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost) -> String {
    let edits = cost.edits();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read_usage(json: &str) -> Option<Usage> {
        super::read_usage(json, Counting::default())
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
    fn a_channel_may_say_where_its_reasoning_is_counted() {
        let json = r#"{"prompt_tokens":10,"completion_tokens":50,"completion_tokens_details":{"reasoning_tokens":30}}"#;
        let of = |outside| {
            let usage = super::read_usage(json, Counting { reasoning_outside: outside }).unwrap();
            (usage.output, usage.reasoning)
        };
        assert_eq!((of(None), of(Some(false)), of(Some(true))), ((20, 30), (20, 30), (50, 30)));
        // More than the whole cannot be within it.
        let json = r#"{"prompt_tokens":1,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":300}}"#;
        let usage = read_usage(json).unwrap();
        assert_eq!((usage.output, usage.reasoning), (5, 300));
    }
}
