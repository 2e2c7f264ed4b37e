//! Compactions: what is asked, what comes of it, and that it is read again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use serde_json::{Value, json};

use super::answer::NO_SUMMARY;
use super::item::{ASK, PREFACE};
use super::*;
use crate::dialect::conversation::{Choice, Delta, Finish, OutputFormat, Part, ToolChoice};

fn read(request: &Value) -> (Read<'static>, Vec<String>) {
    let text: &'static str = Box::leak(request.to_string().into_boxed_str());
    let read = Responses.read_request(&Object::parse(text).unwrap()).unwrap();
    let dropped = read.dropped.to_vec();
    (read, dropped)
}

fn texts(conversation: &Conversation<'_>) -> Vec<String> {
    let parts = conversation.messages.iter().flat_map(|message| &message.parts);
    parts
        .map(|part| match part {
            Part::Text { text, .. } => text.to_string(),
            other => format!("{other:?}"),
        })
        .collect()
}

fn summary_of(text: &str) -> Answer {
    let parts = vec![Part::Text { text: text.to_owned().into(), cache: None }];
    Answer {
        id: "a1".to_owned(),
        model: "m".to_owned(),
        choices: vec![Choice { parts, finish: Finish::Stop, logprobs: None }],
        usage: None,
    }
}

fn cost() -> Cost {
    Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() }
}

fn usage() -> Usage {
    Usage { input: 10, output: 3, ..Usage::default() }
}

#[test]
fn the_item_that_asks_is_the_last_one() {
    for (input, expected) in [
        (json!([{"role": "user", "content": "x"}, {"type": "compaction_trigger"}]), true),
        (json!([{"type": "compaction_trigger"}, {"role": "user", "content": "x"}]), false),
        (json!([{"role": "user", "content": "compaction_trigger"}]), false),
        (json!("compaction_trigger"), false),
        (json!([]), false),
    ] {
        assert_eq!(is_asked(&input.to_string()), expected, "{input}");
    }
}

#[test]
fn a_conversation_asks_for_its_own_summary_once() {
    let tool = json!({"type": "function", "name": "f", "parameters": {}});
    let request = json!({"model": "m", "instructions": "be brief", "tools": [tool], "tool_choice": "auto",
        "text": {"format": {"type": "json_object"}}, "input": [{"role": "user", "content": "hi"}, {"type": "compaction_trigger"}]});
    let (read_, _) = read(&request);
    let conversation = &read_.conversation;
    assert_eq!(texts(conversation), ["hi".to_owned(), ASK.to_owned()]);
    assert_eq!(
        (conversation.tools.len(), &conversation.tool_choice, &conversation.output),
        (1, &Some(ToolChoice::None), &OutputFormat::Text)
    );
    for input in [json!("hi"), request["input"].clone()] {
        let text = json!({"model": "m", "input": input}).to_string();
        let asked = Compact.read_request(&Object::parse(&text).unwrap()).unwrap();
        assert_eq!(texts(&asked.conversation), ["hi".to_owned(), ASK.to_owned()]);
    }
}

#[test]
fn a_summary_comes_back_as_what_it_is() {
    let hard = "two\n\"lines\" \\ \u{1f980}";
    let written: Value =
        serde_json::from_str(&Compact.write_answer(&summary_of(hard), &usage(), &cost(), &StreamWish::default())).unwrap();
    assert_eq!(
        (&written["object"], &written["usage"]["input_tokens"], &written["usage"]["cost"]),
        (&json!("response.compaction"), &json!(10), &json!(0.5))
    );
    let item = written["output"][0].clone();
    assert_eq!((&item["type"], written["output"].as_array().unwrap().len()), (&json!("compaction"), 1));
    assert!(item["id"].as_str().unwrap().starts_with("cmp_"));
    // In whichever way its client names it.
    for kind in ["compaction", "compaction_summary"] {
        let mut item = item.clone();
        item["type"] = json!(kind);
        let input = json!([{"role": "user", "content": "before"}, item, {"role": "user", "content": "after"}]);
        let request = json!({"model": "m", "input": input});
        let (read_, dropped) = read(&request);
        assert_eq!(texts(&read_.conversation), ["before".to_owned(), format!("{PREFACE}\n\n{hard}"), "after".to_owned()]);
        assert!(dropped.is_empty());
        // And a provider of responses gets it as a message.
        let text = request.to_string();
        let passed = passed(&text);
        let message = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": format!("{PREFACE}\n\n{hard}")}]});
        assert_eq!(passed["input"], json!([input[0], message, input[2]]));
    }
}

#[test]
fn another_makers_compaction_is_left_out_by_name_and_passes_to_its_maker() {
    let input = json!([{"role": "user", "content": "x"}, {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"}]);
    let request = json!({"model": "m", "input": input});
    let (read_, dropped) = read(&request);
    assert_eq!((texts(&read_.conversation), dropped), (vec!["x".to_owned()], vec!["input.compaction".to_owned()]));
    assert_eq!(passed(&request.to_string())["input"], request["input"]);
    // The mark in a text is only a text.
    let quoting = json!({"model": "m", "input": [{"role": "user", "content": "what is tf1.compact.x?"}]}).to_string();
    assert_eq!(passed(&quoting)["input"], serde_json::from_str::<Value>(&quoting).unwrap()["input"]);
}

/// A request of responses as its provider gets it.
fn passed(text: &str) -> Value {
    let object = Object::parse(text).unwrap();
    serde_json::from_str(&object.edited(&Responses.pass_request(&object, &Upstream::NOBODY))).unwrap()
}

fn stream(deltas: &[Delta]) -> Vec<Value> {
    let mut out = Vec::new();
    let mut writer = CompactWriter::new(StreamWish::default());
    for delta in deltas {
        writer.delta(delta, &mut out);
    }
    writer.finish(&usage(), &cost(), &mut out);
    let text = String::from_utf8(out).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn a_stream_has_one_item_and_it_is_the_compaction() {
    let text = |text: &str| Delta::Text { choice: 0, text: text.to_owned() };
    let call = Delta::Call { choice: 0, call: 0, id: "c".to_owned(), name: "f".to_owned(), signature: None };
    let start = Delta::Start { id: "a1".to_owned(), model: "m".to_owned() };
    let thought = Delta::Thinking { choice: 0, text: "hm".to_owned() };
    let finish = Delta::Finish { choice: 0, finish: Finish::Length };
    let events = stream(&[start.clone(), thought, text("one "), text("two"), call, finish]);
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(kinds, expected);
    let item = &events[3]["item"];
    assert_eq!((&item["type"], &item["encrypted_content"]), (&json!("compaction"), &json!("tf1.compact.one two")));
    assert_eq!(events[4]["response"]["output"], json!([item]));
    // Without words there is none, and it is not complete.
    let events = stream(&[start, text("  \n")]);
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["response"]["output"]), (&json!("response.incomplete"), &json!([])));
}

#[test]
fn a_summary_without_words_is_no_answer() {
    assert_eq!((words(&summary_of(" \n")).as_str(), words(&summary_of("x")).as_str()), (NO_SUMMARY, "x"), "it is paid for, too");
}

#[test]
fn a_native_compaction_is_asked_without_what_its_endpoint_does_not_know() {
    let text = r#"{"model":"m","input":"x","stream":false,"max_output_tokens":5,"instructions":"i"}"#;
    let object = Object::parse(text).unwrap();
    let upstream = Upstream { model: "up", output_limit: 9, ..Upstream::NOBODY };
    let sent: Value = serde_json::from_str(&object.edited(&Compact.pass_request(&object, &upstream))).unwrap();
    assert_eq!(sent, json!({"model": "up", "input": "x", "instructions": "i"}));
}
