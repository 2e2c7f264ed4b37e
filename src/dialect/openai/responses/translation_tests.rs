//! Responses to and from a conversation.

use serde_json::{Value, json};

use super::Responses;
use super::passing_tests::{STREAM, UPSTREAM, cost, events, meter, run, wish};
use crate::dialect::conversation::{
    CallResult, Conversation, Delta, Effort, Finish, MediaKind, Message, OutputFormat, Part, Reasoning, Role, Source, Thinking,
    ToolCall, ToolChoice,
};
use crate::dialect::format::{Counting, Translation};
use crate::dialect::json::Object;
use crate::dialect::meter::Transcoding;
use crate::dialect::openai::chat::Chat;
use crate::dialect::stream_state::{Fallback, Progress};
use crate::dialect::tokens::Counter;
use crate::usage::{Usage, UsageSource};

const REQUEST: &str = include_str!("../../../../tests/golden/openai/responses_request.json");

fn text(text: &str) -> Part<'_> {
    Part::Text { text: text.into(), cache: None }
}

fn read(body: &str) -> Result<(Conversation<'_>, Vec<String>), String> {
    let object = Object::parse(body).unwrap();
    let read = Responses.read_request(&object).map_err(|refusal| refusal.param.unwrap_or_default())?;
    Ok((read.conversation, read.dropped.to_vec()))
}

#[test]
fn a_whole_request_is_read() {
    let (conversation, dropped) = read(REQUEST).unwrap();
    assert_eq!(conversation.system, [text("Be brief."), text("Answer in French.")]);
    let [first, second, assistant, result] = conversation.messages.as_slice() else { panic!("{:?}", conversation.messages) };
    assert_eq!(*first, Message { role: Role::User, parts: vec![text("What is this?")] });
    let sources = second.parts.iter().filter_map(|part| match part {
        Part::Media { media, .. } => Some((media.kind, media.source.clone(), media.name.as_deref(), media.detail.as_deref())),
        _ => None,
    });
    let base64 = |media_type: &str, data: &'static str| Source::Base64 { media_type: media_type.to_owned(), data: data.into() };
    let expected = [
        (MediaKind::Image, base64("image/png", "QUJD"), None, Some("auto")),
        (MediaKind::File, Source::Url("https://example.com/a.pdf".into()), None, None),
        (MediaKind::File, base64("application/pdf", "REVG"), Some("b.pdf"), None),
    ];
    assert_eq!(sources.collect::<Vec<_>>(), expected);
    let call = ToolCall {
        id: "call_1".into(),
        name: "look".into(),
        arguments: "{\"at\": 1.0}".into(),
        signature: None,
        ..ToolCall::default()
    };
    let thought = Thinking { text: "One call.".into(), signature: Some("proof".into()), redacted: None, ..Thinking::default() };
    assert_eq!(assistant.parts, [Part::Thinking(thought), text("I look."), Part::Call(call)]);
    assert!(matches!(&result.parts[..], [Part::Result(CallResult { id, parts, .. })] if id == "call_1" && parts.len() == 2));
    assert_eq!((conversation.tools[0].strict, conversation.tool_choice), (None, Some(ToolChoice::Named("look".to_owned()))));
    assert_eq!((conversation.logprobs, conversation.parallel_calls), (Some(2), Some(true)));
    let reasoning = Reasoning { effort: Some(Effort::Minimal), budget: None, is_shown: Some(true) };
    assert_eq!(conversation.reasoning, Some(reasoning));
    assert!(matches!(conversation.output, OutputFormat::Schema { name: Some(name), .. } if name == "out"));
    assert_eq!(dropped, ["truncation", "metadata", "text.verbosity"]);
}

#[test]
fn what_cannot_be_translated_is_refused_with_its_path() {
    let with = |members: &str| format!(r#"{{"input":"x",{members}}}"#);
    let item = |item: &str| format!(r#"{{"input":[{{"role":"user","content":"x"}},{item}]}}"#);
    for (body, path) in [
        (with(r#""previous_response_id":"resp_1""#), "previous_response_id"),
        (with(r#""conversation":"c""#), "conversation"),
        (with(r#""background":true"#), "background"),
        (with(r#""tools":[{"type":"apply_patch"}]"#), "tools[0].type"),
        (with(r#""tool_choice":{"type":"file_search"}"#), "tool_choice.type"),
        (with(r#""text":{"format":{"type":"grammar"}}"#), "text.format.type"),
        (with(r#""reasoning":{"effort":"enormous"}"#), "reasoning.effort"),
        (item(r#"{"type":"item_reference","id":"x"}"#), "input[1].id"),
        (item(r#"{"type":"apply_patch_call","call_id":"a","operation":{}}"#), "input[1].type"),
        (item(r#"{"role":"robot","content":"x"}"#), "input[1].role"),
        (item(r#"{"role":"user","content":[{"type":"input_hologram"}]}"#), "input[1].content[0].type"),
        (item(r#"{"type":"function_call","name":"f"}"#), "input[1].call_id"),
    ] {
        assert_eq!(read(&body).unwrap_err(), path, "{body}");
    }
}

#[test]
fn a_request_is_written_and_what_is_left_out_is_named() {
    let (mut conversation, _) = read(REQUEST).unwrap();
    conversation.sampling.seed = Some("7");
    conversation.system.truncate(1);
    conversation.messages[2].parts.insert(0, Part::Thinking(Thinking { text: "unproven".into(), ..Thinking::default() }));
    let written = Responses.write_request(&conversation, &UPSTREAM).unwrap();
    assert_eq!(written.dropped, ["reasoning_content", "seed"]);
    let body: Value = serde_json::from_str(&written.body).unwrap();
    assert_eq!((&body["instructions"], &body["store"], &body["stream"]), (&json!("Be brief."), &json!(false), &json!(true)));
    assert_eq!((&body["max_output_tokens"], &body["temperature"]), (&json!(99), &json!(0.5)));
    let thought =
        json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "One call."}], "encrypted_content": "proof"});
    assert_eq!(body["input"][2], thought);
    let said = json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]});
    assert_eq!(body["input"][3], said);
    let call = json!({"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{\"at\": 1.0}"});
    assert_eq!(body["input"][4], call);
    let image = json!({"type": "input_image", "image_url": "https://example.com/cat.png"});
    assert_eq!(body["input"][5]["output"], json!([{"type": "input_text", "text": "a cat"}, image]));
    assert_eq!(body["tools"][0], json!({"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": false}));
    assert_eq!(body["tool_choice"], json!({"type": "function", "name": "look"}));
    assert_eq!(body["text"]["format"], json!({"type": "json_schema", "name": "out", "schema": {"type": "object"}}));
    assert_eq!(body["reasoning"], json!({"effort": "minimal", "summary": "auto"}));
    assert_eq!(body["include"], json!(["reasoning.encrypted_content", "message.output_text.logprobs"]));
    let refused = |conversation: &Conversation<'_>| Responses.write_request(conversation, &UPSTREAM).unwrap_err().param;
    conversation.choices = 2;
    assert_eq!(refused(&conversation).as_deref(), Some("n"));
    conversation.stop.push("x".to_owned());
    assert_eq!(refused(&conversation).as_deref(), Some("stop"));
}

#[test]
fn a_stream_is_read_for_other_dialects() {
    let mut reader = Responses.reader(Counting::default());
    let mut stream =
        crate::dialect::stream_state::StreamState::new(Fallback::default(), Counter::new("gpt"), Box::new(|_, _, _| cost()));
    let mut deltas = Vec::new();
    for (name, data) in events(STREAM) {
        reader.event(&crate::dialect::sse::Data { name: Some(name), data: data.to_string() }, &mut stream, &mut deltas);
    }
    let choice = 0;
    let expected = [
        Delta::Start { id: "resp_abc".into(), model: "gpt-x-2026".into() },
        Delta::Thinking { choice, text: "Weighing ".into() },
        Delta::Thinking { choice, text: "it.".into() },
        Delta::Signature { choice, signature: "proof".into() },
        Delta::Text { choice, text: "Hé 🦀".into() },
        Delta::Call { choice, call: 0, id: "call_1".into(), name: "look".into(), signature: None },
        Delta::Arguments { choice, call: 0, json: "{\"at\":".into() },
        Delta::Arguments { choice, call: 0, json: "1.0}".into() },
        Delta::Finish { choice, finish: Finish::Calls },
    ];
    assert_eq!(deltas, expected);
    assert_eq!(stream.progress, Progress::Done);
}

#[test]
fn items_that_come_whole_are_told_too() {
    let done = |at: usize, item: &str| {
        format!("data: {{\"type\":\"response.output_item.done\",\"output_index\":{at},\"item\":{item}}}\n\n")
    };
    let stream = [
        done(0, r#"{"type":"message","content":[{"type":"output_text","text":"hi"}]}"#),
        done(1, r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#),
        done(1, r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#),
        "data: {\"type\":\"response.incomplete\",\"response\":{\"id\":\"r\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}\n\n".to_owned(),
    ]
    .concat();
    let mut meter = meter(Transcoding::Translated(Responses.reader(Counting::default()), Chat.writer(wish())));
    let out = run(&mut meter, &stream);
    assert_eq!((out.matches("\"content\":\"hi\"").count(), out.matches("\"name\":\"f\"").count()), (1, 1), "{out}");
    assert!(out.contains("\"finish_reason\":\"length\"") && out.ends_with("data: [DONE]\n\n"), "{out}");
    let (usage, source) = meter.usage();
    assert_eq!((usage.input, source), (10, UsageSource::Estimated));
    assert!((1..=4).contains(&usage.output), "`hi` and `{{}}`, each once: {usage:?}");
}

/// What a stream of these events says.
fn told(events: &[&str]) -> Vec<Delta> {
    let mut reader = Responses.reader(Counting::default());
    let mut stream =
        crate::dialect::stream_state::StreamState::new(Fallback::default(), Counter::new("gpt"), Box::new(|_, _, _| cost()));
    let mut deltas = Vec::new();
    for data in events {
        reader.event(&crate::dialect::sse::Data { name: None, data: (*data).to_owned() }, &mut stream, &mut deltas);
    }
    assert_eq!(stream.progress, Progress::Done, "{events:?}");
    deltas
}

#[test]
fn what_comes_by_its_last_event_alone_is_told_once() {
    const END: &str = r#"{"type":"response.completed","response":{"id":"r","model":"m"}}"#;
    let choice = 0;
    let text = |text: &str| Delta::Text { choice, text: text.into() };
    let call = |call, id: &str| Delta::Call { choice, call, id: id.into(), name: "f".into(), signature: None };
    let json = |call, json: &str| Delta::Arguments { choice, call, json: json.into() };
    let added = r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"fc","call_id":"c","name":"f"}}"#;
    for (stream, expected) in [
        (
            vec![
                r#"{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"a"}"#,
                r#"{"type":"response.output_text.delta","output_index":0,"content_index":1,"delta":"b"}"#,
                r#"{"type":"response.output_text.done","output_index":0,"content_index":1,"text":"b"}"#,
                r#"{"type":"response.refusal.done","output_index":0,"content_index":2,"refusal":"no"}"#,
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"ab"}]}}"#,
            ],
            vec![text("a"), text("b"), Delta::Refusal { choice, text: "no".into() }],
        ),
        (
            vec![r#"{"type":"response.reasoning_summary_text.done","output_index":0,"summary_index":0,"text":"hm"}"#],
            vec![Delta::Thinking { choice, text: "hm".into() }],
        ),
        (
            vec![added, r#"{"type":"response.function_call_arguments.done","output_index":0,"arguments":"{}"}"#],
            vec![call(0, "c"), json(0, "{}")],
        ),
        (
            vec![
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":{"a":1.0}}}"#,
            ],
            vec![call(0, "c"), json(0, "{\"a\":1.0}")],
        ),
        // Its fragments come before anybody knows whose they are.
        (
            vec![
                r#"{"type":"response.function_call_arguments.delta","output_index":0,"delta":"{\"a\""}"#,
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}}"#,
            ],
            vec![call(0, "c"), json(0, "{\"a\":1}")],
        ),
        // Without places, by ids, and without either.
        (
            vec![
                r#"{"type":"response.output_item.added","item":{"type":"function_call","id":"x","call_id":"c","name":"f"}}"#,
                r#"{"type":"response.output_item.added","item":{"type":"function_call","id":"y","call_id":"d","name":"f"}}"#,
                r#"{"type":"response.function_call_arguments.delta","item_id":"x","delta":"{}"}"#,
                r#"{"type":"response.output_item.done","item":{"type":"function_call","id":"y","call_id":"d","name":"f","arguments":""}}"#,
                r#"{"type":"response.output_item.done","item":{"type":"function_call","id":"x","call_id":"c","name":"f","arguments":"{}"}}"#,
            ],
            vec![call(0, "c"), call(1, "d"), json(0, "{}"), json(1, "{}")],
        ),
        (
            vec![
                r#"{"type":"response.output_item.done","item":{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}}"#,
                r#"{"type":"response.output_item.done","item":{"type":"function_call","call_id":"d","name":"f","arguments":"{}"}}"#,
            ],
            vec![call(0, "c"), json(0, "{}"), call(1, "d"), json(1, "{}")],
        ),
    ] {
        let deltas = told(&[stream.as_slice(), &[END]].concat());
        assert_eq!(deltas[1..deltas.len() - 1], expected, "{stream:?}");
    }
    let whole = r#"{"type":"response.completed","response":{"id":"r","model":"m","output":[{"type":"message","content":[{"type":"output_text","text":"all"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]}}"#;
    let signs = [r#"{"type":"keepalive"}"#, r#"{"type":"codex.rate_limits"}"#];
    let start = Delta::Start { id: "r".into(), model: "m".into() };
    let finish = Delta::Finish { choice, finish: Finish::Calls };
    assert_eq!(told(&[signs[0], signs[1], whole]), [start, text("all"), call(0, "c"), json(0, "{}"), finish]);
}

#[test]
fn what_stands_between_the_fragments_of_a_call_cuts_nothing_off() {
    let mut writer = Responses.writer(wish());
    let mut out = Vec::new();
    let choice = 0;
    for delta in [
        Delta::Call { choice, call: 0, id: "c".into(), name: "f".into(), signature: None },
        Delta::Arguments { choice, call: 0, json: "{\"a\"".into() },
        Delta::Text { choice, text: "aside".into() },
        Delta::Arguments { choice, call: 0, json: ":1}".into() },
    ] {
        writer.delta(&delta, &mut out);
        writer.ping(&mut out);
    }
    writer.finish(&Usage::default(), &cost(), &mut out);
    let events = events(std::str::from_utf8(&out).unwrap());
    let output = &events.last().unwrap().1["response"]["output"];
    assert_eq!((&output[0]["arguments"], &output[1]["content"][0]["text"]), (&json!("{\"a\":1}"), &json!("aside")));
    let numbers: Vec<u64> = events.iter().map(|(_, data)| data["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..u64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    // What has output is not begun again.
    assert_eq!(events.iter().filter(|(name, _)| name == "keepalive").count(), 4);
    assert_eq!(events.iter().filter(|(name, _)| name == "response.in_progress").count(), 1);
}

#[test]
fn a_broken_stream_tells_the_error_and_that_it_failed() {
    let mut writer = Responses.writer(wish());
    let mut out = Vec::new();
    writer.delta(&Delta::Start { id: "c".into(), model: "m".into() }, &mut out);
    writer.broken("upstream_cut", "gone", &mut out);
    let events = events(std::str::from_utf8(&out).unwrap());
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["response.created", "response.in_progress", "error", "response.failed"]);
    let last = &events[3].1;
    let error = json!({"code": "upstream_cut", "message": "gone"});
    assert_eq!(
        (&last["sequence_number"], &last["response"]["error"], &last["response"]["id"]),
        (&json!(3), &error, &json!("resp_gen-1"))
    );
}

#[test]
fn a_stream_is_written_with_every_event_and_the_whole_response() {
    let chat = include_str!("../../../../tests/golden/openai/chat_stream_openrouter.sse");
    let mut meter = meter(Transcoding::Translated(Chat.reader(Counting::default()), Responses.writer(wish())));
    let out = run(&mut meter, chat);
    let events = events(out.trim_start_matches(": ping\n\n"));
    let names: Vec<&str> = events.iter().map(|(name, _)| name.trim_start_matches("response.")).collect();
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names, expected);
    for (at, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(at)));
    }
    let response = &events[19].1["response"];
    assert_eq!(
        (&response["id"], &response["status"], &response["created_at"]),
        (&json!("resp_gen-1"), &json!("completed"), &json!(17))
    );
    assert_eq!((&response["usage"]["output_tokens"], &response["usage"]["cost"]), (&json!(300), &json!(0.5)));
    let thought = json!({"id": "rs_gen-1_0", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me see."}], "encrypted_content": "proof"});
    let part = json!({"type": "output_text", "text": "Hé 🦀", "annotations": [], "logprobs": []});
    let message = json!({"id": "msg_gen-1_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]});
    let call = json!({"id": "fc_gen-1_2", "type": "function_call", "status": "completed", "call_id": "toolu_1", "name": "look", "arguments": "{\"at\":1.0}"});
    assert_eq!(response["output"], json!([thought, message, call]));
    for (at, item) in [(8, 0), (14, 1), (18, 2)] {
        assert_eq!((&events[at].1["output_index"], &events[at].1["item"]), (&json!(item), &response["output"][item]));
    }
    assert_eq!(events[0].1["response"]["status"], "in_progress");
}

#[test]
fn a_plain_answer_goes_both_ways() {
    let body = STREAM.rsplit("data: ").next().unwrap();
    let terminal = Object::parse(body.trim()).unwrap();
    let response = Object::parse(terminal.get("response").unwrap()).unwrap();
    let answer = Responses.read_answer(&response, Counting::default()).unwrap();
    assert_eq!((answer.choices[0].finish.clone(), answer.choices[0].parts.len()), (Finish::Calls, 3));
    let value: Value = serde_json::from_str(&Responses.write_answer(&answer, &answer.usage.unwrap(), &cost(), &wish())).unwrap();
    assert_eq!((&value["id"], &value["object"], &value["error"]), (&json!("resp_gen-1"), &json!("response"), &Value::Null));
    let types: Vec<&str> = value["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["reasoning", "message", "function_call"]);
    assert_eq!(value["output"][0]["encrypted_content"], "proof");
    assert_eq!(value["output"][1]["content"][0]["text"], "Hé 🦀");
    assert_eq!(value["usage"]["input_tokens_details"]["cached_tokens"], 600);
}

#[test]
fn pieces_of_a_message_and_an_early_end_are_told() {
    let mut writer = Responses.writer(wish());
    let mut out = Vec::new();
    let choice = 0;
    for delta in [
        Delta::Text { choice, text: "a".into() },
        Delta::Logprobs { choice, json: r#"{"content":[{"token":"a","logprob":-0.5,"top_logprobs":[]}]}"#.into() },
        Delta::Refusal { choice, text: "no".into() },
        Delta::Redacted { choice, data: "hidden".into() },
        Delta::Image { choice, media_type: "image/webp".into(), data: "QUJD".into() },
        Delta::Text { choice: 1, text: "of another choice".into() },
        Delta::Finish { choice, finish: Finish::Length },
    ] {
        writer.delta(&delta, &mut out);
    }
    writer.finish(&Usage::default(), &cost(), &mut out);
    let out = String::from_utf8(out).unwrap();
    let events = events(&out);
    let (name, last) = events.last().unwrap();
    assert_eq!((name.as_str(), &last["response"]["status"]), ("response.incomplete", &json!("incomplete")));
    assert_eq!(last["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));
    let output = &last["response"]["output"];
    let logprobs = json!([{"token": "a", "logprob": -0.5, "top_logprobs": []}]);
    assert_eq!(output[0]["content"][0]["logprobs"], logprobs);
    assert_eq!(output[0]["content"][1], json!({"type": "refusal", "refusal": "no"}));
    assert_eq!(output[1]["encrypted_content"], "redacted:hidden");
    assert_eq!((&output[2]["type"], &output[2]["result"]), (&json!("image_generation_call"), &json!("QUJD")));
    assert!(!out.contains("another choice"));
    let back = format!(r#"{{"input":[{}]}}"#, output[1]);
    let (conversation, _) = read(&back).unwrap();
    let hidden = Thinking { redacted: Some("hidden".into()), ..Thinking::default() };
    assert_eq!(conversation.messages[0].parts, [Part::Thinking(hidden)]);
}
