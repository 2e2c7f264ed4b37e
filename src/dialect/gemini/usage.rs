//! Usage as Gemini tells it (`usageMetadata`), and as it is told to Gemini's clients.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::dialect::format::{Cost, Counting};
use crate::dialect::json::Object;
use crate::usage::Usage;

/// Cached tokens are within the prompt's; tokens of tools and thoughts are beside the prompt's and the candidates'. In a
/// stream each report is the sum so far.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    prompt_token_count: u64,
    cached_content_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    prompt_tokens_details: Option<Vec<Detail>>,
    cache_tokens_details: Option<Vec<Detail>>,
    tool_use_prompt_tokens_details: Option<Vec<Detail>>,
    candidates_tokens_details: Option<Vec<Detail>>,
}

/// How many tokens of one modality: `TEXT`, `IMAGE`, `AUDIO`, `VIDEO`, `DOCUMENT`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    modality: Option<String>,
    token_count: Option<u64>,
}

fn of(details: Option<&Vec<Detail>>, modality: &str) -> u64 {
    let details = details.map(Vec::as_slice).unwrap_or_default();
    let own = details.iter().filter(|detail| detail.modality.as_deref() == Some(modality));
    own.fold(0, |sum, detail| sum.saturating_add(detail.token_count.unwrap_or(0)))
}

/// Reads a `usageMetadata` object into disjoint classes; none if it is not one. Sound that was cached counts as cached; images
/// and video that go in count as input. Details that are more than the whole are cut to it.
pub fn read_usage(json: &str, counting: Counting) -> Option<Usage> {
    // A list would be read as the fields in their order.
    let wire: Wire = json.starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()?;
    let cached_input = wire.cached_content_token_count.unwrap_or(0).min(wire.prompt_token_count);
    let fresh = wire.prompt_token_count.saturating_sub(cached_input);
    let cached_audio = of(wire.cache_tokens_details.as_ref(), "AUDIO");
    let audio = of(wire.prompt_tokens_details.as_ref(), "AUDIO").saturating_sub(cached_audio).min(fresh);
    let tools = wire.tool_use_prompt_token_count.unwrap_or(0);
    let tools_audio = of(wire.tool_use_prompt_tokens_details.as_ref(), "AUDIO").min(tools);
    let reasoning = wire.thoughts_token_count.unwrap_or(0);
    let told = wire.candidates_token_count.unwrap_or(0);
    let candidates = if counting.reasoning_outside == Some(false) { told.saturating_sub(reasoning) } else { told };
    let audio_output = of(wire.candidates_tokens_details.as_ref(), "AUDIO").min(candidates);
    let rest = candidates.saturating_sub(audio_output);
    let image_output = of(wire.candidates_tokens_details.as_ref(), "IMAGE").min(rest);
    Some(Usage {
        input: fresh.saturating_sub(audio).saturating_add(tools.saturating_sub(tools_audio)),
        cached_input,
        audio_input: audio.saturating_add(tools_audio),
        output: rest.saturating_sub(image_output),
        reasoning,
        audio_output,
        image_output,
        ..Usage::default()
    })
}

/// The `usageMetadata` object with the cost; upstream's own where there is one.
pub fn usage_with_cost(upstream: Option<&str>, usage: &Usage, cost: &Cost) -> String {
    let edits = cost.edits();
    upstream.and_then(Object::parse).map_or_else(
        || {
            let own = written(usage);
            Object::parse(&own).map(|object| object.edited(&edits)).unwrap_or_default()
        },
        |object| object.edited(&edits),
    )
}

/// Usage in Gemini's fields. What is zero is left out, as Gemini does.
fn written(usage: &Usage) -> String {
    let mut members = Map::new();
    let prompt = usage.input_side();
    members.insert("promptTokenCount".to_owned(), prompt.into());
    let candidates = usage.output_side().saturating_sub(usage.reasoning);
    members.insert("candidatesTokenCount".to_owned(), candidates.into());
    members.insert("totalTokenCount".to_owned(), usage.total().into());
    for (name, count) in [("cachedContentTokenCount", usage.cached_input), ("thoughtsTokenCount", usage.reasoning)] {
        if count > 0 {
            members.insert(name.to_owned(), count.into());
        }
    }
    for (name, whole, audio, image) in [
        ("promptTokensDetails", prompt, usage.audio_input, usage.image_input),
        ("candidatesTokensDetails", candidates, usage.audio_output, usage.image_output),
    ] {
        let text = whole.saturating_sub(audio).saturating_sub(image);
        let details: Vec<Value> = [("TEXT", text), ("AUDIO", audio), ("IMAGE", image)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(modality, count)| json!({"modality": modality, "tokenCount": count}))
            .collect();
        if !details.is_empty() {
            members.insert(name.to_owned(), details.into());
        }
    }
    Value::Object(members).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Money, Price, cost};

    fn read(json: &str) -> Option<Usage> {
        read_usage(json, Counting::default())
    }

    #[test]
    fn usage_is_read_into_disjoint_classes() {
        let json = include_str!("../../../tests/golden/gemini/usage.json");
        let usage = read(json).unwrap();
        // 10,000 tokens of prompt, of which 4,000 cached (500 of them sound); 1,500 of sound in all, so 1,000 are fresh; 300
        // more that tools brought in; 700 candidates' tokens, of which 50 sound and 258 images; 400 of thoughts beside them.
        let expected = Usage {
            input: 5_300,
            cached_input: 4_000,
            audio_input: 1_000,
            output: 392,
            reasoning: 400,
            audio_output: 50,
            image_output: 258,
            ..Usage::default()
        };
        assert_eq!(usage, expected);
        assert_eq!(usage.total(), 11_400);
    }

    #[test]
    fn the_charge_is_as_worked_out_by_hand() {
        let price: Price = serde_json::from_str(
            r#"{"input":"0.30","cached_input":"0.03","audio_input":"1.00","output":"2.50","reasoning":"2.50","image_output":"30.00"}"#,
        )
        .unwrap();
        let json = r#"{"promptTokenCount":10000,"cachedContentTokenCount":4000,"candidatesTokenCount":200,"thoughtsTokenCount":400,
            "totalTokenCount":10600,"promptTokensDetails":[{"modality":"TEXT","tokenCount":9000},{"modality":"AUDIO","tokenCount":1000}]}"#;
        // 5,000 at 0.30, 4,000 at 0.03, 1,000 of sound at 1.00, 200 + 400 at 2.50, each per million:
        // 0.0015 + 0.00012 + 0.001 + 0.0015 = 0.00412.
        assert_eq!(cost(&price, &read(json).unwrap()).unwrap(), Money::parse("0.00412").unwrap());
    }

    #[test]
    fn absurd_details_are_cut_to_the_whole() {
        let json = r#"{"promptTokenCount":1,"cachedContentTokenCount":9,"candidatesTokenCount":2,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":9}],
            "candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":9},{"modality":"AUDIO","tokenCount":1},{}]}"#;
        let usage = read(json).unwrap();
        assert_eq!((usage.input_side(), usage.audio_output, usage.image_output, usage.output), (1, 1, 1, 0));
        for json in ["null", "{}", "[1]", r#"{"promptTokenCount":"5"}"#, r#"{"promptTokenCount":-1}"#] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn a_channel_may_count_thoughts_within_the_candidates() {
        let json = r#"{"promptTokenCount":1,"candidatesTokenCount":50,"thoughtsTokenCount":30}"#;
        let of = |outside| {
            let usage = read_usage(json, Counting { reasoning_outside: outside }).unwrap();
            (usage.output, usage.reasoning)
        };
        assert_eq!((of(None), of(Some(true)), of(Some(false))), ((50, 30), (50, 30), (20, 30)));
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let usage =
            Usage { input: 7, cached_input: 3, audio_input: 2, output: 4, reasoning: 5, image_output: 6, ..Usage::default() };
        let cost = Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() };
        let json = usage_with_cost(None, &usage, &cost);
        assert!(json.ends_with(r#""cost":0.5,"cost_details":{}}"#), "{json}");
        assert_eq!(read(&json), Some(usage));
    }
}
