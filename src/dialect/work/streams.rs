//! The same of answers: events that come many times, calls by the thousand, and whatever an event has much of.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{HOWS, How, MOST_GROWTH, MOST_PER_BYTE, MUCH, Measured, blown_up, growth, places, renamed, work};
use crate::dialect::anthropic::Messages;
use crate::dialect::bridge::Bridge;
use crate::dialect::fit::ToolNames;
use crate::dialect::format::{Cost, Counting, Format, StreamWish, Translation};
use crate::dialect::gemini::Generate;
use crate::dialect::meter::{Meter, Transcoding};
use crate::dialect::openai::chat::Chat;
use crate::dialect::openai::responses::Responses;
use crate::dialect::stream_state::Fallback;
use crate::dialect::tokens::Counter;

/// A dialect as a channel speaks it, with a stream that has everything.
struct Upstream {
    format: &'static dyn Format,
    translation: &'static dyn Translation,
    events: Vec<Value>,
    end: &'static str,
}

fn upstreams() -> Vec<Upstream> {
    let chunk = |delta: Value, finish: Value| json!({"id": "c", "model": "up", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let chat = vec![
        chunk(
            json!({"role": "assistant", "content": "hi", "reasoning_content": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
            Value::Null,
        ),
        chunk(
            json!({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            Value::Null,
        ),
        chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}), Value::Null),
        chunk(json!({}), json!("stop")),
        json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
    ];
    let messages = vec![
        json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "up", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t1", "name": "f", "input": {}}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ];
    let generate = vec![
        json!({"responseId": "g", "modelVersion": "up", "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "hi"}, {"text": "hm", "thought": true}]}}]}),
        json!({"candidates": [{"index": 0, "content": {"parts": [{"functionCall": {"id": "c1", "name": "f", "args": {"a": ["b"]}}, "thoughtSignature": "s"}]}}]}),
        json!({"candidates": [{"index": 0, "content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}}),
    ];
    let item = json!({"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": "hi", "annotations": []}]});
    let call = json!({"type": "function_call", "id": "f1", "call_id": "c1", "name": "f", "arguments": ""});
    let responses = vec![
        json!({"type": "response.created", "response": {"id": "r", "model": "up", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
        json!({"type": "response.output_text.delta", "output_index": 0, "item_id": "m1", "content_index": 0, "delta": "hi"}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": call}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "f1", "delta": "{"}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": call}),
        json!({"type": "response.completed", "response": {"id": "r", "model": "up", "status": "completed", "output": [item, call], "usage": {"input_tokens": 1, "output_tokens": 1}}}),
    ];
    vec![
        Upstream { format: &Chat, translation: &Chat, events: chat, end: "data: [DONE]\n\n" },
        Upstream { format: &Messages, translation: &Messages, events: messages, end: "" },
        Upstream { format: &Generate, translation: &Generate, events: generate, end: "" },
        Upstream { format: &Responses, translation: &Responses, events: responses, end: "" },
    ]
}

const CLIENTS: [&dyn Translation; 4] = [&Chat, &Messages, &Generate, &Responses];

/// An event with another number, and names of its own.
fn numbered(event: &Value, at: usize) -> Value {
    match event {
        Value::Object(members) => {
            let numbered = |(name, value): (&String, &Value)| match (name.as_str(), value) {
                ("index" | "output_index", Value::Number(_)) => (name.clone(), json!(at)),
                ("id" | "call_id" | "item_id", _) => (name.clone(), renamed(value, at)),
                (_, value) => (name.clone(), numbered(value, at)),
            };
            Value::Object(members.iter().map(numbered).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| numbered(item, at)).collect()),
        value => value.clone(),
    }
}

/// What becomes of one event of a stream.
#[derive(Debug, Clone)]
enum Much {
    Once,
    Alike,
    Numbered,
    Backwards,
    Within(String, How),
}

fn stream(upstream: &Upstream, of: &dyn Fn(usize) -> Much, count: usize) -> String {
    let mut out = String::new();
    let mut put = |json: &str| out.push_str(&format!("data: {json}\n\n"));
    for (at, event) in upstream.events.iter().enumerate() {
        match of(at) {
            Much::Once => put(&event.to_string()),
            Much::Alike => (0..count).for_each(|_| put(&event.to_string())),
            Much::Numbered => (0..count).for_each(|at| put(&numbered(event, at).to_string())),
            Much::Backwards => (0..count).rev().for_each(|at| put(&numbered(event, at).to_string())),
            Much::Within(place, how) => {
                put(&blown_up(event, &place, how, count).unwrap_or_else(|| event.to_string()));
            }
        }
    }
    out + upstream.end
}

/// How the work grows with what there is much of, for each client and for one of the same format.
fn grown(upstream: &Upstream, of: &dyn Fn(usize) -> Much) -> Vec<(f64, f64)> {
    let wish = StreamWish { id: "gen-1".to_owned(), model: "public".to_owned(), keeps: true, ..StreamWish::default() };
    let pricing = || Box::new(|_: &_, _, _| Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() });
    let way = |client: Option<&'static dyn Translation>| match client {
        None => Transcoding::Same(upstream.format.passthrough(wish.clone(), Counting::default())),
        Some(client) => {
            let bridge = Bridge::new(ToolNames::default(), upstream.translation.maker("here"), client);
            Transcoding::translated(
                upstream.translation.reader(Counting::default()),
                client.writer(wish.clone()),
                &wish,
                Some(bridge),
            )
        }
    };
    let measured = |client, count| -> Measured {
        let stream = stream(upstream, of, count);
        let mut meter = Meter::new(way(client), Fallback::default(), Counter::new("gpt"), pricing());
        let work = work(|| {
            let mut out = Vec::new();
            for piece in stream.as_bytes().chunks(61) {
                meter.push(piece, &mut out);
                out.clear();
            }
            meter.finish(&mut out);
        });
        Measured { work, bytes: stream.len(), is_served: true }
    };
    let clients = CLIENTS.into_iter().map(Some).chain([None]);
    clients.map(|client| growth([measured(client, 1), measured(client, MUCH[0]), measured(client, MUCH[1])])).collect()
}

#[test]
fn an_answer_takes_no_more_work_than_its_bytes() {
    let mut found = Vec::new();
    for (number, upstream) in upstreams().iter().enumerate() {
        for (place, event) in upstream.events.iter().enumerate() {
            let all = places(event).into_iter().flat_map(|place| HOWS.map(|how| (place.clone(), how)));
            let within = all.filter(|(place, how)| blown_up(event, place, *how, 1).is_some());
            let within = within.map(|(place, how)| Much::Within(place, how));
            for much in [Much::Alike, Much::Numbered, Much::Backwards].into_iter().chain(within) {
                let grown = grown(upstream, &|at| if at == place { much.clone() } else { Much::Once });
                let told = grown.into_iter().enumerate();
                found.extend(told.map(|(client, grown)| (grown, format!("{number} to {client}: {place} {much:?}"))));
            }
        }
    }
    super::tell(found);
}

fn much() -> impl Strategy<Value = Much> {
    prop::sample::select(vec![Much::Once, Much::Alike, Much::Numbered, Much::Backwards])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(counts_work) { 40 } else { 32 }, ..ProptestConfig::default() })]

    #[test]
    fn many_events_of_several_kinds_take_no_more_work_than_their_bytes(
        of in 0usize..4,
        muches in proptest::collection::vec(much(), 8),
    ) {
        let all = upstreams();
        for (taken, growth) in grown(&all[of], &|at| muches[at].clone()) {
            prop_assert!(taken <= MOST_PER_BYTE && growth <= MOST_GROWTH, "{taken:.1} {growth:.2} {of} {muches:?}");
        }
    }
}
