//! Streams of chat completions, read for others and written from others.

use serde_json::{Value, json};

use super::Chat;
use super::translation_tests::{self, OPENROUTER, chunks, cost, told, wish};
use crate::dialect::conversation::{Delta, Finish};
use crate::dialect::format::{Counting, Reader, StreamWish, Translation};
use crate::dialect::json::Object;
use crate::dialect::sse::Data;
use crate::dialect::stream_state::Progress;
use crate::usage::Usage;

#[test]
fn a_stream_is_read() {
    let (deltas, stream) = told(OPENROUTER);
    let choice = 0;
    let thinking = |text: &str| Delta::Thinking { choice, text: text.to_owned() };
    let expected = [
        Delta::Start { id: "gen-1".to_owned(), model: "claude-x".to_owned() },
        thinking("Let me "),
        thinking("see."),
        Delta::Signature { choice, signature: "proof".to_owned() },
        Delta::Text { choice, text: "Hé 🦀".to_owned() },
        Delta::Call { choice, call: 0, id: "toolu_1".to_owned(), name: "look".to_owned(), signature: None },
        Delta::Arguments { choice, call: 0, json: "{\"at\":1.0}".to_owned() },
        Delta::Finish { choice, finish: Finish::Calls },
    ];
    assert_eq!(deltas, expected);
    let usage = Usage { input: 500, cached_input: 500, cache_write: 1000, output: 180, reasoning: 120, ..Usage::default() };
    assert_eq!((stream.reported, stream.finish_reason.as_deref()), (Some(usage), Some("tool_calls")));
    assert_eq!(stream.progress, Progress::Done);
}

#[test]
fn calls_are_told_apart_however_a_provider_numbers_them() {
    let call =
        |call, id: &str, name: &str| Delta::Call { choice: 0, call, id: id.to_owned(), name: name.to_owned(), signature: None };
    let arguments = |call, json: &str| Delta::Arguments { choice: 0, call, json: json.to_owned() };
    let both = vec![call(0, "a", "f"), arguments(0, "{}"), call(1, "b", "g"), arguments(1, "{}")];
    let one = |index: &str, rest: &str| format!(r#"{{"tool_calls":[{{{index}{rest}}}]}}"#);
    let whole = |index: &str, id: &str, name: &str| {
        one(index, &format!(r#""id":"{id}","function":{{"name":"{name}","arguments":"{{}}"}}"#))
    };
    for (name, deltas, expected) in [
        ("whole and numbered", vec![whole("\"index\":0,", "a", "f"), whole("\"index\":1,", "b", "g")], both.clone()),
        ("whole and all of them 0", vec![whole("\"index\":0,", "a", "f"), whole("\"index\":0,", "b", "g")], both.clone()),
        ("whole and without a number", vec![whole("", "a", "f"), whole("", "b", "g")], both),
        (
            "id and name in every fragment",
            vec![
                one("\"index\":0,", r#""id":"a","function":{"name":"f","arguments":"{\"x\""}"#),
                one("\"index\":0,", r#""id":"a","function":{"name":"f","arguments":":1}"}"#),
            ],
            vec![call(0, "a", "f"), arguments(0, "{\"x\""), arguments(0, ":1}")],
        ),
        (
            "neither number nor id",
            vec![
                one("", r#""function":{"name":"f","arguments":"{"}"#),
                one("", r#""function":{"arguments":"}"}"#),
                one("", r#""function":{"name":"g","arguments":{"y":1.0}}"#),
            ],
            vec![call(0, "", "f"), arguments(0, "{"), arguments(0, "}"), call(1, "", "g"), arguments(1, "{\"y\":1.0}")],
        ),
        (
            "a new id for each fragment",
            vec![
                one("\"index\":0,", r#""id":"a","function":{"name":"f","arguments":""}"#),
                one("\"index\":0,", r#""id":"b","function":{"arguments":"{\"x\""}"#),
                one("", r#""id":"c","function":{"arguments":":1}"}"#),
            ],
            vec![call(0, "a", "f"), arguments(0, "{\"x\""), arguments(0, ":1}")],
        ),
        (
            "the name in every fragment, and nothing else",
            vec![
                one("", r#""function":{"name":"f","arguments":"{\"x\""}"#),
                one("", r#""function":{"name":"f","arguments":":1}"}"#),
                one("", r#""function":{"name":"f","arguments":"{}"}"#),
            ],
            vec![call(0, "", "f"), arguments(0, "{\"x\""), arguments(0, ":1}"), call(1, "", "f"), arguments(1, "{}")],
        ),
        (
            "whole, all of them 0 and without ids",
            vec![
                one("\"index\":0,", r#""function":{"name":"f","arguments":"{}"}"#),
                one("\"index\":0,", r#""function":{"name":"f","arguments":{"x":1}}"#),
                one("\"index\":0,", r#""function":{"name":"g","arguments":""}"#),
            ],
            vec![call(0, "", "f"), arguments(0, "{}"), call(1, "", "f"), arguments(1, "{\"x\":1}"), call(2, "", "g")],
        ),
        (
            "the number 0 left out, and mixed",
            vec![
                one("", r#""id":"a","function":{"name":"f","arguments":"{"}"#),
                one("\"index\":1,", r#""id":"b","function":{"name":"g","arguments":"{"}"#),
                one("", r#""function":{"arguments":"}"}"#),
                one("\"index\":1,", r#""function":{"arguments":"}"}"#),
            ],
            vec![
                call(0, "a", "f"),
                arguments(0, "{"),
                call(1, "b", "g"),
                arguments(1, "{"),
                arguments(0, "}"),
                arguments(1, "}"),
            ],
        ),
        (
            "the name after the arguments",
            vec![
                one("\"index\":3,", r#""id":"a","function":{"arguments":"{"}"#),
                one("\"index\":3,", r#""function":{"name":"f","arguments":"}"}"#),
            ],
            vec![call(0, "a", "f"), arguments(0, "{}")],
        ),
    ] {
        let deltas: Vec<&str> = deltas.iter().map(String::as_str).collect();
        let (told, _) = told(&chunks(&deltas));
        assert_eq!(told[1..told.len() - 1], expected, "{name}");
        assert_eq!(told.last(), Some(&Delta::Finish { choice: 0, finish: Finish::Calls }), "{name}");
    }
}

#[test]
fn a_reason_of_calls_without_a_call_is_an_end() {
    for reason in ["tool_calls", "function_call"] {
        let stream = format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"x\",\"tool_calls\":[]}},\"finish_reason\":\"{reason}\"}}]}}\n\ndata: [DONE]\n\n"
        );
        assert_eq!(told(&stream).0.last(), Some(&Delta::Finish { choice: 0, finish: Finish::Stop }));
        let body = format!(r#"{{"choices":[{{"message":{{"content":"x","tool_calls":[]}},"finish_reason":"{reason}"}}]}}"#);
        let answer = Chat.read_answer(&Object::parse(&body).unwrap(), Counting::default()).unwrap();
        assert_eq!(answer.choices[0].finish, Finish::Stop);
    }
}

#[test]
fn a_stream_completes_at_its_end_only() {
    let (deltas, stream) = told(&chunks(&[r#"{"content":"x"}"#]));
    assert_eq!(deltas.last(), Some(&Delta::Finish { choice: 0, finish: Finish::Stop }));
    assert_eq!(stream.progress, Progress::Done);
    let (_, stream) = told(chunks(&[r#"{"content":"x"}"#]).trim_end_matches("data: [DONE]\n\n"));
    assert_eq!(stream.progress, Progress::Flowing);
    let (_, stream) = told(&chunks(&[r#"{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{}"}}]}"#]));
    assert!(matches!(stream.progress, Progress::Broken(_)));
    let (_, stream) = told("data: {\"error\":{\"message\":\"busy\",\"code\":\"x\"}}\n\n");
    assert!(matches!(stream.progress, Progress::Broken(error) if error.code.as_deref() == Some("x")));
    let (deltas, stream) = told("data: [DONE]\n\n");
    assert_eq!(deltas.len(), 1);
    assert!(!stream.has_chunks());
}

#[test]
fn a_stream_is_written_as_the_sdks_join_it() {
    let (deltas, stream) = told(OPENROUTER);
    let mut writer = Chat.writer(wish());
    let mut out = Vec::new();
    deltas.iter().for_each(|delta| writer.delta(delta, &mut out));
    writer.finish(&stream.reported.unwrap(), &cost(), &mut out);
    let out = String::from_utf8(out).unwrap();
    let events: Vec<&str> = out.split("\n\n").filter(|event| !event.is_empty()).collect();
    let values: Vec<Value> =
        events.iter().filter_map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).ok()).collect();
    assert_eq!(events.last(), Some(&"data: [DONE]"));
    assert_eq!(values.len() + 1, events.len());
    for value in &values {
        assert_eq!(
            (&value["id"], &value["created"], &value["model"]),
            (&json!("chatcmpl-gen-1"), &json!(17), &json!("claude-x"))
        );
        assert_eq!(value["object"], "chat.completion.chunk");
    }
    let delta = |at: usize| values[at]["choices"][0]["delta"].clone();
    assert_eq!(delta(0), json!({"role": "assistant", "content": ""}));
    let detail = |text: &str| json!([{"type": "reasoning.text", "text": text, "index": 0}]);
    assert_eq!(delta(1), json!({"reasoning_content": "Let me ", "reasoning_details": detail("Let me ")}));
    assert_eq!(delta(3)["reasoning_details"], json!([{"type": "reasoning.text", "text": "", "signature": "proof", "index": 0}]));
    assert_eq!(delta(4), json!({"content": "Hé 🦀"}));
    let call = json!([{"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": ""}}]);
    assert_eq!(delta(5), json!({"tool_calls": call}));
    assert_eq!(delta(6), json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"at\":1.0}"}}]}));
    assert_eq!((delta(7), &values[7]["choices"][0]["finish_reason"]), (json!({}), &json!("tool_calls")));
    assert_eq!(values[8]["choices"], json!([]));
    assert_eq!(
        values[8]["usage"]["prompt_tokens_details"],
        json!({"cached_tokens": 500, "cache_write_tokens": 1000, "audio_tokens": 0})
    );
    assert_eq!(values.len(), 9);
}

#[test]
fn a_bare_call_gets_its_arguments_and_a_broken_stream_no_end() {
    let mut writer = Chat.writer(StreamWish { include_usage: false, ..wish() });
    let mut out = Vec::new();
    writer.delta(&Delta::Call { choice: 0, call: 0, id: "a".into(), name: "f".into(), signature: Some("g".into()) }, &mut out);
    writer.finish(&Usage::default(), &cost(), &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(r#""extra_content":{"google":{"thought_signature":"g"}}"#), "{text}");
    assert!(text.contains(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#), "{text}");
    assert!(!text.contains("usage") && text.contains(r#""finish_reason":"stop""#), "{text}");
    let mut out = Vec::new();
    let mut writer = Chat.writer(wish());
    writer.broken("upstream_cut", "gone", &mut out);
    let text = String::from_utf8(out).unwrap();
    let (chunk, alone) = text.split_once("\n\n").unwrap();
    let value: Value = serde_json::from_str(chunk.strip_prefix("data: ").unwrap()).unwrap();
    assert!(alone.starts_with("data: {\"error\":{"), "{alone}");
    assert_eq!((&value["error"]["code"], &value["id"]), (&json!("upstream_cut"), &json!("chatcmpl-gen-1")));
    assert!(!text.contains("[DONE]"));
}

#[test]
fn thoughts_of_mistral_and_images_of_openrouter_are_seen() {
    let (deltas, stream) = told(&chunks(&[
        r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}"#,
        r#"{"content":[{"type":"text","text":"so"}],"images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD"}}]}"#,
    ]));
    let image = Delta::Image { choice: 0, media_type: "image/png".to_owned(), data: "QUJD".to_owned() };
    let expected = [Delta::Thinking { choice: 0, text: "hm".into() }, Delta::Text { choice: 0, text: "so".into() }, image];
    assert_eq!((&deltas[1..4], stream.images), (expected.as_slice(), 1));
    let mut reader = super::reader::ChatReader::new(Counting::default());
    let (mut stream, mut deltas) = (translation_tests::stream(), Vec::new());
    reader.event(&Data { name: None, data: "<html>".to_owned() }, &mut stream, &mut deltas);
    assert!(matches!(stream.progress, Progress::Broken(_)) && deltas.is_empty());
}
