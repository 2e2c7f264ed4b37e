//! What holds for the work that a request or an answer costs: it grows no faster than its bytes, whatever in it there is much of.
//!
//! Every place of a request that uses all of its dialect is blown up, one after the other, in every way that JSON knows: many
//! items, alike and each with names of its own; many members, unknown ones and one again and again; long texts, escaped ones too;
//! nests. Each is read for its envelope and written for every way in which a channel can be asked, and the branches taken are
//! counted ([`edges`]). An ordinary `cargo test` does the same without the counter, and only with small numbers.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::bounds::check;
use super::endpoint::{Endpoint, EndpointPath, Way};
use super::format::Upstream;
use super::openai::responses::references;
use super::request::Request;
use crate::catalog::{Catalog, Channel, UpstreamHosts};

mod streams;
mod words;

#[cfg(counts_work)]
#[path = "../../../tests/support/edges.rs"]
mod edges;
#[cfg(not(counts_work))]
mod edges {
    /// Nobody counts.
    pub const fn taken() -> u64 {
        0
    }
}

/// How much there is of whatever there is much of: a little, and four times as much.
const MUCH: [usize; 2] = if cfg!(counts_work) { [300, 1_200] } else { [15, 60] };
/// So many branches for each byte are linear work.
const MOST_PER_BYTE: f64 = 200.0;
/// Of four times as much, each byte may take so many times the branches: trees grow by their depth. What is gone through again for
/// each of it takes up to four times as many.
const MOST_GROWTH: f64 = 1.4;
/// So many branches for each byte are little: what begins below is compared with this.
const LITTLE: f64 = 8.0;

/// What a piece of input takes.
#[derive(Clone, Copy)]
struct Measured {
    work: u64,
    bytes: usize,
    is_served: bool,
}

/// The branches that each byte takes where there is very much, and how many times as many these are as where there is much. Each byte
/// more is looked at, so that what every request takes does not count. What is refused for how much there is does not get as far as
/// what is served: of that, all bytes are looked at.
#[allow(clippy::cast_precision_loss)]
fn growth([none, much, most]: [Measured; 3]) -> (f64, f64) {
    let each = |less: Measured, more: Measured| {
        let bytes = more.bytes.saturating_sub(less.bytes).max(1);
        more.work.saturating_sub(less.work) as f64 / bytes as f64
    };
    let nothing = Measured { work: 0, bytes: 0, is_served: false };
    let (first, second) =
        if much.is_served { (each(none, much), each(much, most)) } else { (each(nothing, much), each(nothing, most)) };
    (second, second / first.max(LITTLE))
}

/// What a piece of work takes.
pub fn work(run: impl FnOnce()) -> u64 {
    let before = edges::taken();
    run();
    edges::taken().saturating_sub(before)
}

/// A request with everything that its dialect has.
fn requests() -> Vec<(Endpoint, Value)> {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "enum": ["x", "y"]}, "b": {"type": ["integer", "null"]}},
        "required": ["a"], "additionalProperties": false});
    let chat_tool = |name: &str| json!({"type": "function", "function": {"name": name, "description": "d", "parameters": schema, "strict": true}});
    let chat = json!({
        "model": "m", "models": ["n"], "provider": {"order": ["a"], "only": ["b"], "ignore": ["c"]}, "session_id": "s",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}}]},
            {"role": "assistant", "content": "so", "reasoning_content": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "tf1.a.x"}],
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"x\"}"}, "extra_content": {"google": {"thought_signature": "s"}}}]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "done"}]},
            {"role": "user", "content": "go on"}],
        "tools": [chat_tool("f"), chat_tool("g")],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}]}},
        "stop": ["x"], "metadata": {"a": "b"}, "logit_bias": {"5": 1}, "max_tokens": 50, "user": "u", "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": true}}, "modalities": ["text"],
        "prediction": {"type": "content", "content": "x"},
    });
    let without_tools = {
        let mut chat = chat.clone();
        chat.as_object_mut().unwrap().retain(|name, _| !name.starts_with("tool"));
        chat
    };
    let responses = json!({
        "model": "m", "instructions": "be kind", "store": false, "include": ["reasoning.encrypted_content"], "metadata": {"a": "b"},
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "abc"},
            {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "so", "annotations": []}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "done"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "p", "input": "x"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "done"}]},
            {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "h", "parameters": schema}]}],
        "tools": [{"type": "function", "name": "f", "parameters": schema, "strict": true}, {"type": "custom", "name": "p", "description": "d"},
            {"type": "namespace", "name": "ns", "description": "d", "tools": [{"type": "function", "name": "g", "parameters": schema}]}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}, "max_output_tokens": 50,
        "text": {"format": {"type": "json_schema", "name": "s", "schema": schema}}, "reasoning": {"effort": "low", "summary": "auto"},
    });
    let referring = json!({"model": "m", "input": [{"type": "item_reference", "id": "msg_gen-01ARZ3NDEKTSV4RRFFQ69G5FAV_0"}, {"role": "user", "content": "x"}]});
    let messages = json!({
        "model": "m", "max_tokens": 5000, "system": [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "t", "citations": {"enabled": false}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "abc"}, {"type": "text", "text": "so"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": {"b": ["c"]}}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "done"}], "is_error": false}, {"type": "text", "text": "go on"}]}],
        "tools": [{"name": "f", "description": "d", "input_schema": schema}, {"name": "g", "input_schema": schema}],
        "tool_choice": {"type": "auto"}, "stop_sequences": ["x"], "metadata": {"user_id": "u"}, "thinking": {"type": "enabled", "budget_tokens": 2000},
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    });
    let generate = json!({
        "systemInstruction": {"parts": [{"text": "be kind"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]},
            {"role": "model", "parts": [{"text": "hm", "thought": true, "thoughtSignature": "abc"}, {"functionCall": {"id": "c1", "name": "f", "args": {"a": {"b": ["c"]}}}, "thoughtSignature": "s"},
                {"functionCall": {"name": "g", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "f", "response": {"a": {"b": ["c"]}}}}, {"functionResponse": {"name": "g", "response": {"result": "x"}}}]},
            {"role": "user", "parts": [{"text": "go on"}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING", "enum": ["x"]}}, "required": ["a"]}},
            {"name": "g", "parametersJsonSchema": schema}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}},
        "generationConfig": {"stopSequences": ["x"], "maxOutputTokens": 50, "responseModalities": ["TEXT"], "responseMimeType": "application/json", "responseJsonSchema": schema,
            "thinkingConfig": {"thinkingBudget": 10}},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}], "labels": {"a": "b"},
    });
    vec![
        (Endpoint::Chat, chat),
        (Endpoint::Chat, without_tools),
        (
            Endpoint::Completions,
            json!({"model": "m", "prompt": ["a", "b"], "stop": ["x"], "logit_bias": {"5": 1}, "max_tokens": 5}),
        ),
        (Endpoint::Compact, json!({"model": "m", "input": responses["input"], "instructions": "x"})),
        (Endpoint::Responses, responses),
        (Endpoint::Responses, referring),
        (Endpoint::Embeddings, json!({"model": "m", "input": ["a", "b"], "dimensions": 5, "encoding_format": "base64"})),
        (
            Endpoint::Moderations,
            json!({"model": "m", "input": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}),
        ),
        (Endpoint::ImageGenerations, json!({"model": "m", "prompt": "x", "n": 1, "size": "1024x1024"})),
        (Endpoint::Speech, json!({"model": "m", "input": "x", "voice": "v", "instructions": "y"})),
        (Endpoint::Rerank, json!({"model": "m", "query": "x", "documents": ["a", {"text": "b"}], "top_n": 1})),
        (
            Endpoint::MessagesCount,
            json!({"model": "m", "messages": messages["messages"], "tools": messages["tools"], "system": messages["system"]}),
        ),
        (Endpoint::Messages, messages),
        (Endpoint::GenerateCount, json!({"contents": generate["contents"]})),
        (Endpoint::Generate, generate),
    ]
}

/// The ways in which channels can be asked.
fn channels() -> Vec<Channel> {
    let channel = |dialect: &str, responses: bool| {
        let mut channel = json!({"dialect": dialect, "base_url": "https://example.com/v1", "secrets": ["K"]});
        if responses {
            channel["responses"] = json!(true);
        }
        channel
    };
    let document = json!({
        "version": 1, "buckets": {"credit": {"label": "C", "currency": "USD"}}, "models": {},
        "channels": {"chat": channel("openai", false), "responses": channel("openai", true), "anthropic": channel("anthropic", false),
            "gemini": channel("gemini", false), "cohere": channel("cohere", false)},
    });
    let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
    catalog.channels.values().map(|channel| (**channel).clone()).collect()
}

/// Does everything with a body that is done before and when it is sent. Whether it could be read.
fn serve(endpoint: Endpoint, body: &[u8], ways: &[Way]) -> bool {
    let model = (endpoint.dialect() == crate::catalog::Dialect::Gemini).then(|| "m".to_owned());
    if endpoint == Endpoint::Responses {
        references(body);
    }
    let Ok(request) = Request::read(&EndpointPath { endpoint, model, stream: false }, body, Some("application/json")) else {
        return false;
    };
    request.estimated_tokens("gpt");
    for way in ways {
        let _ = request.check(*way);
        let upstream = Upstream { model: "claude-sonnet-4-5", output_limit: 4_000, place: "here", ..Upstream::NOBODY };
        let _ = request.sent(*way, &upstream, Vec::new());
    }
    true
}

fn ways(endpoint: Endpoint) -> Vec<Way> {
    channels().iter().filter_map(|channel| endpoint.asked_of(channel)).collect()
}

/// Every place of a value, as a JSON pointer.
fn places(value: &Value) -> Vec<String> {
    fn under(value: &Value, path: &str, found: &mut Vec<String>) {
        found.push(path.to_owned());
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| under(value, &format!("{path}/{name}"), found)),
            Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| under(value, &format!("{path}/{at}"), found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    under(value, "", &mut found);
    found
}

/// A copy in which whatever names something has a name of its own.
fn renamed(value: &Value, at: usize) -> Value {
    match value {
        Value::Object(members) => {
            let renamed = |(name, value): (&String, &Value)| {
                let is_name = matches!(name.as_str(), "id" | "call_id" | "tool_call_id" | "tool_use_id" | "name" | "text" | "a");
                let value = match value {
                    Value::String(text) if is_name => json!(format!("{text}{at}")),
                    value => renamed(value, at),
                };
                (name.clone(), value)
            };
            Value::Object(members.iter().map(renamed).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| renamed(item, at)).collect()),
        Value::String(text) => json!(format!("{text}{at}")),
        value => value.clone(),
    }
}

/// How a place is blown up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Many items that are alike.
    Alike,
    /// Many items, each with names of its own.
    Named,
    /// The same, the last first.
    Backwards,
    /// Many members that nobody knows.
    Unknown,
    /// One member again and again.
    Repeated,
    Long,
    Escaped,
    Lists,
    Objects,
}

const HOWS: [How; 9] =
    [How::Alike, How::Named, How::Backwards, How::Unknown, How::Repeated, How::Long, How::Escaped, How::Lists, How::Objects];

/// What stands where JSON text is put in that no value can express.
const PUT: &str = "@put@";

/// A body with one place blown up; none where that does not fit the place.
fn blown_up(body: &Value, place: &str, how: How, much: usize) -> Option<String> {
    let mut body = body.clone();
    let mut put = String::new();
    let target = body.pointer_mut(place)?;
    match (how, &mut *target) {
        (How::Alike, Value::Array(items)) => {
            let (item, rest) = items.split_first()?;
            *target = Value::Array(std::iter::repeat_n(item, much).chain(rest).cloned().collect());
        }
        (How::Named | How::Backwards, Value::Array(items)) if !items.is_empty() => {
            let all = items.clone();
            let mut many: Vec<Value> = (0..much).map(|at| renamed(&all[at % all.len()], at / all.len())).collect();
            if how == How::Backwards {
                many.reverse();
            }
            *target = Value::Array(many);
        }
        (How::Unknown, Value::Object(members)) => members.extend((0..much).map(|at| (format!("x_{at}"), json!(1)))),
        (How::Repeated, Value::Object(members)) => {
            members.insert(PUT.to_owned(), json!(0));
            put = "\"x\":0".to_owned() + &",\"x\":0".repeat(much);
        }
        (How::Long, Value::String(text)) => *text = "a b, \"c\" ".repeat(much),
        (How::Escaped, Value::String(text)) => {
            *text = PUT.to_owned();
            put = format!("\"{}\"", "\\u0061".repeat(much));
        }
        (How::Lists, value) => {
            *value = json!(PUT);
            put = "[".repeat(much) + &"]".repeat(much);
        }
        (How::Objects, value) => {
            *value = json!(PUT);
            put = "{\"parts\":[".repeat(much) + &"]}".repeat(much);
        }
        _ => return None,
    }
    let text = body.to_string();
    Some(text.replace(&format!("\"{PUT}\":0"), &put).replace(&format!("\"{PUT}\""), &put))
}

fn measured(endpoint: Endpoint, body: &str, ways: &[Way]) -> Measured {
    let mut is_served = false;
    let work = work(|| is_served = serve(endpoint, body.as_bytes(), ways));
    Measured { work, bytes: body.len(), is_served }
}

#[test]
fn a_request_takes_no_more_work_than_its_bytes() {
    let mut found = Vec::new();
    for (endpoint, body) in requests() {
        let ways = ways(endpoint);
        assert!(serve(endpoint, body.to_string().as_bytes(), &ways), "{endpoint:?}");
        for place in places(&body) {
            for how in HOWS {
                let of = |much: usize| blown_up(&body, &place, how, much).map(|text| measured(endpoint, &text, &ways));
                let [Some(none), Some(much), Some(most)] = [of(1), of(MUCH[0]), of(MUCH[1])] else { continue };
                found.push((growth([none, much, most]), format!("{endpoint:?} {place} {how:?}")));
            }
        }
    }
    tell(found);
}

/// Shows what takes and grows the most, which must be within the bounds.
fn tell(mut found: Vec<((f64, f64), String)>) {
    let mut told = String::new();
    for (what, by) in [("takes", 0), ("grows", 1)] {
        let of = |found: &((f64, f64), String)| if by == 0 { found.0.0 } else { found.0.1 };
        found.sort_by(|one, other| of(other).total_cmp(&of(one)));
        writeln!(told, "what {what} the most, in branches for each byte and their growth:").unwrap();
        for ((taken, growth), what) in found.iter().take(12) {
            writeln!(told, "  {taken:.1} {growth:.2} {what}").unwrap();
        }
    }
    println!("{told}");
    assert!(found.iter().all(|((taken, growth), _)| *taken <= MOST_PER_BYTE && *growth <= MOST_GROWTH), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(counts_work) { 50 } else { 32 }, ..ProptestConfig::default() })]

    #[test]
    fn two_places_with_much_take_no_more_work_than_their_bytes(
        of in any::<prop::sample::Index>(),
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        hows in (prop::sample::select(&HOWS[..]), prop::sample::select(&HOWS[..])),
    ) {
        let all = requests();
        let (endpoint, body) = of.get(&all);
        let ways = ways(*endpoint);
        let there = places(body);
        let of = |much: usize| {
            let text = blown_up(body, one.get::<String>(&there), hows.0, much)?;
            // What is no value any more cannot be blown up again.
            let twice = serde_json::from_str::<Value>(&text).ok().and_then(|value| {
                // By the place in the request as it was, so that it is the same one however much there is.
                let place = other.get::<String>(&there);
                blown_up(&value, place, hows.1, much)
            });
            Some(measured(*endpoint, &twice.unwrap_or(text), &ways))
        };
        let [Some(none), Some(much), Some(most)] = [of(1), of(MUCH[0]), of(MUCH[1])] else { return Ok(()) };
        // One within the other is their product.
        prop_assume!(most.bytes <= 40 * much.bytes / 9);
        let (taken, growth) = growth([none, much, most]);
        prop_assert!(taken <= MOST_PER_BYTE && growth <= MOST_GROWTH, "{taken:.1} {growth:.2} {endpoint:?} {hows:?}");
    }

    /// What nobody would take for a request is counted, too.
    #[test]
    fn any_text_is_counted(text in "[\\[\\]{}:,\"\\\\a ]{0,200}") {
        let _ = check(&text);
    }
}

#[test]
#[cfg(counts_work)]
fn the_counter_sees_what_it_is_for() {
    let names: Vec<String> = (0..1_000).map(|at| at.to_string()).collect();
    let linear = work(|| assert!(!names.contains(&"x".to_owned())));
    let quadratic = work(|| assert!(names.iter().all(|name| names.contains(name))));
    assert!(linear > 1_000 && quadratic > 100 * linear, "{linear} {quadratic}");
}
