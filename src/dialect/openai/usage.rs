//! Usage as OpenAI tells it, in chat completions and in responses, and as those who are compatible do.

use super::out::Out;
use crate::dialect::format::{Cost, Counting};
use crate::dialect::json::Object;
use crate::usage::Usage;

/// What the members of a `usage` object are called.
struct Names {
    input: &'static str,
    output: &'static str,
    input_details: &'static str,
    output_details: &'static str,
}

/// In chat completions, completions and embeddings.
const CHAT: Names = Names {
    input: "prompt_tokens",
    output: "completion_tokens",
    input_details: "prompt_tokens_details",
    output_details: "completion_tokens_details",
};

/// In responses.
const RESPONSES: Names = Names {
    input: "input_tokens",
    output: "output_tokens",
    input_details: "input_tokens_details",
    output_details: "output_tokens_details",
};

/// Reads a `usage` object into disjoint classes; none if it is not one. Details that are more than the whole are cut to it.
pub fn read_usage(json: &str, counting: Counting) -> Option<Usage> {
    read(json, counting, &CHAT)
}

/// The same of the `usage` of a response.
pub fn read_response_usage(json: &str, counting: Counting) -> Option<Usage> {
    read(json, counting, &RESPONSES)
}

/// OpenAI counts cached, written and audio tokens within the input's, reasoning and audio within the output's.
fn read(json: &str, counting: Counting, names: &Names) -> Option<Usage> {
    let object = Object::parse(json)?;
    let input_tokens = count(&object, names.input)??;
    let output_tokens = count(&object, names.output)?.unwrap_or(0);
    let total_tokens = count(&object, "total_tokens")?.unwrap_or(0);
    let input_details = details(&object, names.input_details)?;
    let output_details = details(&object, names.output_details)?;
    let detail = |details: &Option<Object<'_>>, name| details.as_ref().map_or(Some(None), |details| count(details, name));

    // DeepSeek and Moonshot tell cached tokens beside the prompt's.
    let cached = match detail(&input_details, "cached_tokens")? {
        Some(cached) => cached,
        None => count(&object, "prompt_cache_hit_tokens")?.or(count(&object, "cached_tokens")?).unwrap_or(0),
    };
    let mut input = input_tokens;
    let cached_input = take(cached, &mut input);
    // OpenRouter's word.
    let cache_write = take(detail(&input_details, "cache_write_tokens")?.unwrap_or(0), &mut input);
    let audio_input = take(detail(&input_details, "audio_tokens")?.unwrap_or(0), &mut input);

    // Some providers count reasoning outside of the output. The channel says so, or the total, or a part that is more than the
    // whole.
    let told = detail(&output_details, "reasoning_tokens")?.unwrap_or(0);
    let beyond = total_tokens.saturating_sub(input_tokens.saturating_add(output_tokens));
    let outside = match counting.reasoning_outside {
        Some(true) => told.max(beyond),
        Some(false) => 0,
        None if told > output_tokens => told.max(beyond),
        None => beyond,
    };
    let mut output = output_tokens.saturating_add(outside);
    let reasoning = take(told.max(outside), &mut output);
    let audio_output = take(detail(&output_details, "audio_tokens")?.unwrap_or(0), &mut output);
    Some(Usage { input, cached_input, cache_write, audio_input, output, reasoning, audio_output, ..Usage::default() })
}

/// As much of a part as its whole has left.
fn take(part: u64, left: &mut u64) -> u64 {
    let taken = part.min(*left);
    *left = left.saturating_sub(taken);
    taken
}

/// A count: the inner none if it is not there, the outer if it is not a count.
fn count(object: &Object<'_>, name: &str) -> Option<Option<u64>> {
    match object.get(name) {
        None | Some("null") => Some(None),
        Some(json) => json.parse().ok().map(Some),
    }
}

/// An object of details, in the same way.
fn details<'a>(object: &Object<'a>, name: &str) -> Option<Option<Object<'a>>> {
    match object.get(name) {
        None | Some("null") => Some(None),
        Some(json) => Object::parse(json).map(Some),
    }
}

/// The `usage` object with the cost; upstream's own where there is one.
pub fn usage_with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost) -> String {
    with_cost(upstream, usage, cost, &CHAT)
}

/// The same for a response.
pub fn response_usage_with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost) -> String {
    with_cost(upstream, usage, cost, &RESPONSES)
}

fn with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost, names: &Names) -> String {
    if let Some(object) = upstream.and_then(Object::parse) {
        return object.edited(&cost.edits());
    }
    let number = |name: &str, count: u64, out: &mut Out| {
        out.member(name, &count.to_string());
    };
    let mut out = Out::object();
    number(names.input, usage.input_side(), &mut out);
    number(names.output, usage.output_side(), &mut out);
    number("total_tokens", usage.total(), &mut out);
    out.open_at(names.input_details);
    number("cached_tokens", usage.cached_input, &mut out);
    number("cache_write_tokens", usage.cache_write.saturating_add(usage.cache_write_1h), &mut out);
    number("audio_tokens", usage.audio_input, &mut out);
    out.close().open_at(names.output_details);
    number("reasoning_tokens", usage.reasoning, &mut out);
    number("audio_tokens", usage.audio_output, &mut out);
    out.close().member("cost", &cost.amount).maybe_text("currency", cost.currency.as_deref());
    out.member("cost_details", &cost.details);
    out.done()
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
        // OpenRouter: 1000 prompt tokens, of which 300 were read from the cache and 500 written to it.
        let json = r#"{"prompt_tokens":1000,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":300,"cache_write_tokens":500}}"#;
        let usage = read_usage(json).unwrap();
        assert_eq!((usage.input, usage.cached_input, usage.cache_write, usage.total()), (200, 300, 500, 1000));
        // DeepSeek and Moonshot.
        for name in ["prompt_cache_hit_tokens", "cached_tokens"] {
            let usage = read_usage(&format!(r#"{{"prompt_tokens":1000,"completion_tokens":1,"{name}":600}}"#)).unwrap();
            assert_eq!((usage.input, usage.cached_input), (400, 600));
        }
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

    #[test]
    fn what_is_written_is_read_again() {
        let usage = Usage {
            input: 1,
            cached_input: 2,
            cache_write: 3,
            audio_input: 4,
            output: 5,
            reasoning: 6,
            audio_output: 7,
            ..Usage::default()
        };
        let cost = Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() };
        let json = usage_with_cost(None, &usage, &cost);
        assert_eq!(super::read_usage(&json, Counting::default()), Some(usage));
        assert!(json.contains(r#""prompt_tokens":10,"completion_tokens":18,"total_tokens":28"#), "{json}");
        assert!(json.ends_with(r#""cost":0.5,"cost_details":{}}"#), "{json}");
        let json = response_usage_with_cost(None, &usage, &cost);
        assert_eq!(read_response_usage(&json, Counting::default()), Some(usage));
        assert_eq!(super::read_usage(&json, Counting::default()), None);
    }

    /// What every provider's own form costs, worked out by hand at 2.00 for input, 0.50 for cached input, 2.50 for writes to the
    /// cache, 40.00 for audio in, 10.00 for output and 12.00 for reasoning, each per million tokens.
    #[test]
    fn every_providers_form_is_charged_as_worked_out_by_hand() {
        let price: crate::money::Price = serde_json::from_str(
            r#"{"input":"2","cached_input":"0.5","cache_write":"2.5","audio_input":"40","output":"10","reasoning":"12"}"#,
        )
        .unwrap();
        for (json, charge) in [
            // OpenAI: 300 x 2 + 600 x 0.5 + 100 x 40 + 180 x 10 + 120 x 12 = 600 + 300 + 4000 + 1800 + 1440 = 8140 millionths.
            (
                r#"{"prompt_tokens":1000,"completion_tokens":300,"total_tokens":1300,"prompt_tokens_details":{"cached_tokens":600,"audio_tokens":100},"completion_tokens_details":{"reasoning_tokens":120,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
                "0.00814",
            ),
            // OpenRouter: 500 x 2 + 500 x 0.5 + 1000 x 2.5 + 180 x 10 + 120 x 12 = 1000 + 250 + 2500 + 1800 + 1440 = 6990.
            (
                r#"{"prompt_tokens":2000,"completion_tokens":300,"total_tokens":2300,"cost":0.1,"cost_details":{"upstream_inference_cost":null},"prompt_tokens_details":{"cached_tokens":500,"cache_write_tokens":1000,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":120}}"#,
                "0.00699",
            ),
            // DeepSeek: 64 x 2 + 960 x 0.5 + 50 x 10 = 128 + 480 + 500 = 1108.
            (
                r#"{"prompt_tokens":1024,"completion_tokens":50,"total_tokens":1074,"prompt_cache_hit_tokens":960,"prompt_cache_miss_tokens":64}"#,
                "0.001108",
            ),
            // xAI, reasoning outside: 32 x 2 + 9 x 10 + 318 x 12 = 64 + 90 + 3816 = 3970.
            (
                r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":359,"prompt_tokens_details":{"text_tokens":32,"audio_tokens":0,"image_tokens":0,"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":318,"audio_tokens":0},"num_sources_used":0}"#,
                "0.00397",
            ),
            // Mistral, which has no details: 20 x 2 + 30 x 10 = 340.
            (r#"{"prompt_tokens":20,"total_tokens":50,"completion_tokens":30}"#, "0.00034"),
            // Groq, with times beside the tokens: 100 x 2 + 40 x 10 = 600.
            (
                r#"{"queue_time":0.0371,"prompt_tokens":100,"prompt_time":0.0026,"completion_tokens":40,"completion_time":0.1,"total_tokens":140,"total_time":0.1026}"#,
                "0.0006",
            ),
        ] {
            let usage = read_usage(json).unwrap();
            assert_eq!(crate::money::cost(&price, &usage).unwrap().to_string(), charge, "{json}");
        }
        // OpenAI's responses: 400 x 2 + 600 x 0.5 + 180 x 10 + 120 x 12 = 800 + 300 + 1800 + 1440 = 4340.
        let json = r#"{"input_tokens":1000,"input_tokens_details":{"cached_tokens":600},"output_tokens":300,"output_tokens_details":{"reasoning_tokens":120},"total_tokens":1300}"#;
        let usage = read_response_usage(json, Counting::default()).unwrap();
        assert_eq!(crate::money::cost(&price, &usage).unwrap().to_string(), "0.00434");
    }
}
