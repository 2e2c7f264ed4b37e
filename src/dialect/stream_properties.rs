//! What holds for streams that are translated, whatever comes between the fragments of a call and wherever the bytes are split:
//! what a client joins is what upstream said.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::anthropic::Messages;
use super::format::{Cost, Counting, StreamWish, Translation};
use super::gemini::Generate;
use super::meter::{Meter, Transcoding};
use super::openai::chat::Chat;
use super::openai::responses::Responses;
use super::stream_state::{Fallback, Progress};
use super::tokens::Counter;

/// What a client makes of a stream.
#[derive(Debug, Default, PartialEq)]
struct Joined {
    text: String,
    thoughts: String,
    /// Name and arguments, in the order in which calls begin.
    calls: Vec<(String, Value)>,
    ids: Vec<String>,
    is_complete: bool,
    has_error: bool,
}

fn events(out: &str) -> impl Iterator<Item = Value> {
    out.split("\n\n").filter_map(|event| {
        let data = event.lines().find_map(|line| line.strip_prefix("data: "))?;
        Some(serde_json::from_str(data).unwrap_or_else(|_| json!(data)))
    })
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(if json.is_empty() { "{}" } else { json }).unwrap_or_else(|_| json!({"broken": json}))
}

/// As OpenAI's SDKs join chunks.
fn join_chat(out: &str) -> Joined {
    let mut joined = Joined::default();
    let mut calls: BTreeMap<u64, (String, String, String)> = BTreeMap::new();
    for event in events(out) {
        joined.is_complete |= event == "[DONE]";
        joined.has_error |= event.get("error").is_some();
        let delta = &event["choices"][0]["delta"];
        joined.text += words(&delta["content"]);
        joined.thoughts += words(&delta["reasoning_content"]);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let known = calls.entry(call["index"].as_u64().unwrap()).or_default();
            known.0 += words(&call["id"]);
            known.1 += words(&call["function"]["name"]);
            known.2 += words(&call["function"]["arguments"]);
        }
    }
    joined.ids = calls.values().map(|(id, ..)| id.clone()).collect();
    joined.calls = calls.into_values().map(|(_, name, json)| (name, parsed(&json))).collect();
    joined
}

/// From the events alone; what the last event says is compared with them.
fn join_responses(out: &str) -> Joined {
    let mut joined = Joined::default();
    let mut calls: BTreeMap<u64, (String, String, String)> = BTreeMap::new();
    for event in events(out) {
        let index = event["output_index"].as_u64().unwrap_or(0);
        match words(&event["type"]) {
            "response.output_text.delta" => joined.text += words(&event["delta"]),
            "response.reasoning_summary_text.delta" => joined.thoughts += words(&event["delta"]),
            "response.output_item.added" if event["item"]["type"] == "function_call" => {
                let item = &event["item"];
                calls.insert(index, (words(&item["call_id"]).to_owned(), words(&item["name"]).to_owned(), String::new()));
            }
            "response.function_call_arguments.delta" => calls.get_mut(&index).unwrap().2 += words(&event["delta"]),
            "response.completed" => {
                joined.is_complete = true;
                let output = event["response"]["output"].as_array().unwrap();
                for (index, (_, _, json)) in &calls {
                    let whole = words(&output[usize::try_from(*index).unwrap()]["arguments"]);
                    assert_eq!(parsed(whole), parsed(json));
                }
            }
            "error" | "response.failed" => joined.has_error = true,
            _ => {}
        }
    }
    joined.ids = calls.values().map(|(id, ..)| id.clone()).collect();
    joined.calls = calls.into_values().map(|(_, name, json)| (name, parsed(&json))).collect();
    joined
}

/// As Anthropic's SDKs do: a block at a time.
fn join_messages(out: &str) -> Joined {
    let mut joined = Joined::default();
    let mut open: Option<Value> = None;
    let mut json = String::new();
    for event in events(out) {
        match words(&event["type"]) {
            "content_block_start" => {
                assert!(open.is_none());
                open = Some(event["content_block"].clone());
            }
            "content_block_delta" => {
                let delta = &event["delta"];
                joined.text += words(&delta["text"]);
                joined.thoughts += words(&delta["thinking"]);
                json += words(&delta["partial_json"]);
            }
            "content_block_stop" => {
                let block = open.take().unwrap();
                if block["type"] == "tool_use" {
                    joined.ids.push(words(&block["id"]).to_owned());
                    joined.calls.push((words(&block["name"]).to_owned(), parsed(&std::mem::take(&mut json))));
                }
            }
            "message_stop" => joined.is_complete = open.is_none(),
            "error" => joined.has_error = true,
            _ => {}
        }
    }
    joined
}

/// As Google's SDKs do: part by part.
fn join_generate(out: &str) -> Joined {
    let mut joined = Joined::default();
    for event in events(out) {
        joined.has_error |= event.get("error").is_some();
        let candidate = &event["candidates"][0];
        joined.is_complete |= candidate.get("finishReason").is_some();
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            let to = if part["thought"] == true { &mut joined.thoughts } else { &mut joined.text };
            *to += words(&part["text"]);
            if let Some(call) = part.get("functionCall") {
                joined.ids.push(words(&call["id"]).to_owned());
                joined.calls.push((words(&call["name"]).to_owned(), call["args"].clone()));
            }
        }
    }
    joined
}

type Join = fn(&str) -> Joined;

fn clients() -> [(&'static dyn Translation, Join); 4] {
    [(&Chat, join_chat), (&Responses, join_responses), (&Messages, join_messages), (&Generate, join_generate)]
}

/// What a client of this format gets of a stream of chat completions that comes in these pieces; an error where it is cut.
fn through(client: &'static dyn Translation, pieces: &[&[u8]]) -> String {
    let wish = StreamWish { id: "gen-1".to_owned(), model: "public".to_owned(), ..StreamWish::default() };
    let way = Transcoding::translated(Chat.reader(Counting::default()), client.writer(wish.clone()), &wish, None);
    let pricing = Box::new(|_: &_, _, _| Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() });
    let mut meter = Meter::new(way, Fallback::default(), Counter::new("gpt"), pricing);
    let mut out = Vec::new();
    for piece in pieces {
        meter.push(piece, &mut out);
        if meter.take_note() {
            meter.ping(&mut out);
        }
    }
    meter.finish(&mut out);
    if *meter.progress() != Progress::Done {
        meter.broken("upstream_cut", "gone", &mut out);
    }
    String::from_utf8(out).unwrap()
}

/// What a provider says next.
#[derive(Debug, Clone)]
enum Say {
    Text(String),
    Thought(String),
    /// More of the call of this number; it begins where it was not begun.
    More(usize),
    Comment,
    Nothing,
}

fn say() -> impl Strategy<Value = Say> {
    prop_oneof![
        2 => "[a-zé🦀\"{}\\\\ ]{1,6}".prop_map(Say::Text),
        1 => "[a-zé🦀\"{}\\\\ ]{1,6}".prop_map(Say::Thought),
        6 => (0usize..4).prop_map(Say::More),
        1 => Just(Say::Comment),
        1 => Just(Say::Nothing),
    ]
}

/// The arguments of a call, in fragments; none for a call without any.
fn arguments() -> impl Strategy<Value = Vec<String>> {
    let object = proptest::collection::btree_map("[a-z]{1,3}", "[a-zé🦀\"{}\\[\\]\\\\\n ]{0,8}", 0..3);
    (object, vec(0usize..40, 0..3), proptest::bool::weighted(0.9)).prop_map(|(object, cuts, is_there)| {
        if !is_there {
            return Vec::new();
        }
        let json = serde_json::to_string(&object).unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|at| json.is_char_boundary(*at)).chain([json.len()]).collect();
        cuts.sort_unstable();
        let mut from = 0;
        let pieces = cuts.into_iter().map(|to| json[std::mem::replace(&mut from, to)..to].to_owned());
        pieces.collect()
    })
}

/// A stream as a provider writes it, and what it says.
fn provider(said: &[Say], calls: &[Vec<String>], has_ids: bool) -> (String, Joined) {
    let mut stream = String::new();
    let mut joined = Joined { is_complete: true, ..Joined::default() };
    // Which calls have begun, as (number, fragments that came).
    let mut begun: Vec<(usize, usize)> = Vec::new();
    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({"id": "c", "model": "up", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    };
    let mut more = |number: usize, stream: &mut String, begun: &mut Vec<(usize, usize)>| {
        let Some(fragments) = calls.get(number) else { return };
        let at = begun.iter().position(|(known, _)| *known == number);
        let at = at.unwrap_or_else(|| {
            begun.push((number, 0));
            let index = begun.len() - 1;
            let mut call =
                json!({"index": index, "type": "function", "function": {"name": format!("f{number}"), "arguments": ""}});
            if has_ids {
                call["id"] = json!(format!("call_{number}"));
            }
            *stream += &chunk(json!({"tool_calls": [call]}), Value::Null);
            joined.ids.push(if has_ids { format!("call_{number}") } else { format!("call_gen-1_{index}") });
            joined.calls.push((format!("f{number}"), parsed(&fragments.concat())));
            index
        });
        let came = &mut begun[at].1;
        if let Some(fragment) = fragments.get(*came) {
            *came += 1;
            *stream += &chunk(json!({"tool_calls": [{"index": at, "function": {"arguments": fragment}}]}), Value::Null);
        }
    };
    let (mut text, mut thoughts) = (String::new(), String::new());
    for say in said {
        match say {
            Say::Text(words) => {
                text += words;
                stream += &chunk(json!({"content": words}), Value::Null);
            }
            Say::Thought(words) => {
                thoughts += words;
                stream += &chunk(json!({"reasoning_content": words}), Value::Null);
            }
            Say::More(number) => more(*number, &mut stream, &mut begun),
            Say::Comment => stream += ": still here\n\ndata: : and here\n\n",
            Say::Nothing => stream += &chunk(json!({"role": "assistant"}), Value::Null),
        }
    }
    // What is left of the calls that began.
    for _ in 0..8 {
        for (number, _) in begun.clone() {
            more(number, &mut stream, &mut begun);
        }
    }
    stream += &chunk(json!({}), json!("tool_calls"));
    stream += "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
    (stream, Joined { text, thoughts, ..joined })
}

proptest! {
    #[test]
    fn what_a_client_joins_is_what_upstream_said(
        said in vec(say(), 0..24),
        calls in vec(arguments(), 4),
        cuts in proptest::collection::btree_set(0usize..4_000, 0..6),
        has_ids in any::<bool>(),
    ) {
        let (stream, expected) = provider(&said, &calls, has_ids);
        let mut pieces = Vec::new();
        let mut from = 0;
        for to in cuts.into_iter().filter(|cut| *cut < stream.len()).chain([stream.len()]) {
            pieces.push(&stream.as_bytes()[from..to]);
            from = to;
        }
        for (client, join) in clients() {
            let out = through(client, &pieces);
            prop_assert_eq!(&join(&out), &expected, "{}\n\n{}", stream, out);
        }
    }

    #[test]
    fn half_a_call_never_ends_well(said in vec(say(), 0..12), calls in vec(arguments(), 4), cut in 1usize..400) {
        let (stream, whole) = provider(&said, &calls, true);
        // The last fragments are gone, and upstream ends as if nothing had happened.
        let chunks: Vec<&str> = stream.split_inclusive("\n\n").collect();
        let (body, end) = chunks.split_at(chunks.len() - 3);
        let stream = [&body[..body.len().saturating_sub(cut % 6)], end].concat().concat();
        for (client, join) in clients() {
            let joined = join(&through(client, &[stream.as_bytes()]));
            prop_assert_eq!(joined.is_complete, !joined.has_error);
            for (name, arguments) in &joined.calls {
                let is_whole = whole.calls.iter().any(|(known, expected)| known == name && (expected == arguments || *arguments == json!({})));
                prop_assert!(is_whole || joined.has_error, "{} {}", name, arguments);
            }
        }
    }
}

#[test]
fn a_call_that_is_cut_at_the_limit_ends_as_the_client_knows_it() {
    let half =
        r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"a\":"}}]}}]}"#;
    for (reason, is_complete) in [("length", true), ("content_filter", true), ("stop", false), ("tool_calls", false)] {
        let stream =
            format!("{half}\n\ndata: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\ndata: [DONE]\n\n");
        for (client, join) in clients() {
            let out = through(client, &[stream.as_bytes()]);
            // `response.incomplete` is an end, too.
            let joined = join(&out);
            assert_eq!(
                (joined.is_complete || out.contains("response.incomplete"), joined.has_error),
                (is_complete, !is_complete),
                "{reason}: {out}"
            );
        }
    }
}
