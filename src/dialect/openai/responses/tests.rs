//! Responses: what passes, and what is translated.

use std::rc::Rc;

use serde_json::{Value, json};

use super::Responses;
use crate::dialect::body::Body;
use crate::dialect::envelope::Envelope;
use crate::dialect::format::{Cost, Counting, Format, StreamWish, Translation, Upstream};
use crate::dialect::json::{Edit, Object};
use crate::dialect::meter::{Meter, Way};
use crate::dialect::openai::chat::Chat;
use crate::dialect::talk::{
    Call, CallResult, Conversation, Delta, Effort, Finish, MediaKind, Message, OutputFormat, Part, Reasoning, Role, Source,
    Thinking, ToolChoice,
};
use crate::dialect::tally::{Fallback, Progress};
use crate::dialect::tokens::Counter;
use crate::refusal::Refusal;
use crate::usage::{Class, Usage, UsageSource};

const STREAM: &str = include_str!("../../../../tests/golden/openai/responses_stream.sse");
const REQUEST: &str = include_str!("../../../../tests/golden/openai/responses_request.json");
const UPSTREAM: Upstream<'_> = Upstream { model: "up", output_limit: 99, limit_field: None, stream: true };

fn cost() -> Cost {
    Cost { amount: "0.5".to_owned(), details: "{}".to_owned() }
}

fn wish() -> StreamWish {
    StreamWish { include_usage: true, created: 17, id: "gen-1".to_owned(), ..StreamWish::default() }
}

fn envelope(body: &str) -> Result<Envelope, Refusal> {
    let body = Body::parse(body.as_bytes(), "")?;
    let mut envelope = Envelope::default();
    Responses.envelope(&body, &mut envelope)?;
    Ok(envelope)
}

fn meter(way: Way) -> Meter {
    let fallback = Fallback { usage: Usage { input: 10, ..Usage::default() }, basis: None };
    Meter::new(way, fallback, Counter::new("gpt"), Box::new(|_, _, _| cost()))
}

fn run(meter: &mut Meter, stream: &str) -> String {
    let mut out = Vec::new();
    meter.push(stream.as_bytes(), &mut out);
    meter.finish(&mut out);
    String::from_utf8(out).unwrap()
}

/// The events of a stream: name and data.
fn events(stream: &str) -> Vec<(String, Value)> {
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), data)
    };
    stream.split("\n\n").filter(|text| !text.is_empty() && !text.starts_with(':')).map(event).collect()
}

fn text(text: &str) -> Part<'_> {
    Part::Text { text: text.into(), cache: None }
}

fn read(body: &str) -> Result<(Conversation<'_>, Vec<String>), String> {
    let object = Object::parse(body).unwrap();
    let read = Responses.read_request(&object).map_err(|refusal| refusal.param.unwrap_or_default())?;
    Ok((read.conversation, read.dropped))
}

#[test]
fn the_envelope_is_read() {
    let read = envelope(r#"{"input":"x","stream":true,"max_output_tokens":5,"prompt_cache_key":"k","store":true}"#).unwrap();
    assert!(read.stream && read.include_usage && !read.has_media);
    assert_eq!((read.output_limit, read.choices, read.session.as_deref()), (Some(5), 1, Some("k")));
    let read = envelope(r#"{"input":[],"previous_response_id":"resp_1"}"#).unwrap();
    assert!(read.has_media);
    assert_eq!(read.previous_response.as_deref(), Some("resp_1"));
    for body in [
        r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://x"}]}]}"#,
        r#"{"input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]}"#,
        r#"{"input":[{"type":"item_reference","id":"rs_1"}]}"#,
        r#"{"input":"x","tools":[{"type":"mcp","server_url":"https://x"}]}"#,
    ] {
        assert!(envelope(body).unwrap().has_media, "{body}");
    }
    let audio = r#"{"input":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"","format":"mp3"}}]}]}"#;
    assert_eq!(envelope(audio).unwrap().needs, [Class::AudioInput]);
}

#[test]
fn what_has_no_price_is_refused() {
    let with = |members: &str| format!(r#"{{"input":"x",{members}}}"#);
    for (members, param) in [
        (r#""background":true"#, "background"),
        (r#""conversation":"conv_1""#, "conversation"),
        (r#""prompt":{"id":"pmpt_1"}"#, "prompt"),
        (r#""service_tier":"priority""#, "service_tier"),
        (r#""tools":[{"type":"function","name":"f"},{"type":"file_search"}]"#, "tools[1].type"),
        (r#""tools":[{"type":"code_interpreter","container":{"type":"auto"}}]"#, "tools[0].type"),
        (r#""tools":[{"type":"image_generation"}]"#, "tools[0].type"),
        (r#""tools":[{"type":"whatever_comes_next"}]"#, "tools[0].type"),
        (r#""tools":[{"type":"shell","environment":{"type":"container_auto"}}]"#, "tools[0].environment"),
        (r#""tools":[{"type":"web_search"}]"#, "max_tool_calls"),
        (r#""tools":5"#, "tools"),
        (r#""max_output_tokens":0"#, "max_output_tokens"),
    ] {
        assert_eq!(envelope(&with(members)).unwrap_err().param.as_deref(), Some(param), "{members}");
    }
    for body in ["{}", r#"{"input":null}"#, r#"{"input":{}}"#] {
        assert_eq!(envelope(body).unwrap_err().param.as_deref(), Some("input"), "{body}");
    }
    let read = envelope(&with(r#""background":false,"tools":[{"type":"web_search_preview"}],"max_tool_calls":3"#)).unwrap();
    assert_eq!((read.searches, read.needs.as_slice()), (3, [Class::Searches].as_slice()));
    let own = r#""tools":[{"type":"custom","name":"c"},{"type":"local_shell"},{"type":"shell","environment":{"type":"local"}},{"type":"apply_patch"},{"type":"computer_use_preview"}]"#;
    assert!(envelope(&with(own)).is_ok());
}

#[test]
fn the_body_goes_up_as_it_came_but_for_what_must_change() {
    let body = r#"{"model":"m", "input":"x","truncation":"auto","include":[],"new":1.0,"stream":true}"#;
    let object = Object::parse(body).unwrap();
    let expected =
        r#"{"model":"up", "input":"x","truncation":"auto","include":[],"new":1.0,"stream":true,"max_output_tokens":99}"#;
    assert_eq!(object.edited(&Responses.pass_request(&object, &UPSTREAM)), expected);
}

#[test]
fn a_plain_response_is_read_and_told_its_cost() {
    let body = r#"{"id":"resp_1","object":"response","status":"completed","error":null,"output":[{"type":"web_search_call","action":{"type":"search"}},{"type":"web_search_call","action":{"type":"open_page"}}], "usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}"#;
    let object = Object::parse(body).unwrap();
    let said = Responses.read_plain(&object, Counting::default()).unwrap();
    let usage = Usage { input: 10, output: 5, searches: 1, ..Usage::default() };
    assert_eq!((said.usage, said.finish_reason.as_deref()), (Some(usage), Some("completed")));
    let mut edits = Responses.priced(&object, &usage, &cost());
    edits.extend(super::id_edits(&object, &|id| format!("{id}_tf0")));
    let expected = body.replace("resp_1", "resp_1_tf0").replace("15}", r#"15,"cost":0.5,"cost_details":{}}"#);
    assert_eq!(object.edited(&edits), expected);
    for (body, words) in [
        (r#"{"status":"failed","error":{"code":"server_error","message":"our host"},"output":[]}"#, "(server_error)"),
        (r#"{"status":"in_progress","output":[]}"#, "did not come to its end"),
        (r#"{"id":"x"}"#, "without output"),
    ] {
        let error = Responses.read_plain(&Object::parse(body).unwrap(), Counting::default()).unwrap_err();
        assert!(error.contains(words) && !error.contains("host"), "{error}");
        assert!(Responses.read_answer(&Object::parse(body).unwrap(), Counting::default()).is_err());
    }
    let cut = r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[]}"#;
    let said = Responses.read_plain(&Object::parse(cut).unwrap(), Counting::default()).unwrap();
    assert_eq!(said.finish_reason.as_deref(), Some("max_output_tokens"));
    let edits = Responses.priced(&Object::parse(cut).unwrap(), &usage, &cost());
    assert!(matches!(&edits[..], [Edit::Set("usage", json)] if json.starts_with(r#"{"input_tokens":10,"output_tokens":5,"#)));
}

#[test]
fn a_stream_passes_but_for_its_cost_and_its_id() {
    let mut plain = meter(Way::Same(Responses.line(wish(), Counting::default())));
    let out = run(&mut plain, STREAM);
    let expected = STREAM.replace(r#""total_tokens":1300}"#, r#""total_tokens":1300,"cost":0.5,"cost_details":{}}"#);
    assert_eq!(out, expected);
    let usage = Usage { input: 400, cached_input: 600, output: 180, reasoning: 120, ..Usage::default() };
    assert_eq!(plain.usage(), (usage, UsageSource::Upstream));
    assert_eq!((plain.progress(), plain.finish_reason().as_deref()), (&Progress::Done, Some("completed")));
    let seal: Rc<dyn Fn(&str) -> String> = Rc::new(|id| format!("{id}_tf0"));
    let sealed = StreamWish { seal: Some(seal), ..wish() };
    let out = run(&mut meter(Way::Same(Responses.line(sealed, Counting::default()))), STREAM);
    assert_eq!(out, expected.replace("\"resp_abc\"", "\"resp_abc_tf0\""));
}

#[test]
fn a_split_at_any_byte_changes_nothing() {
    let whole = run(&mut meter(Way::Same(Responses.line(wish(), Counting::default()))), STREAM);
    let translated = || meter(Way::Translated(Responses.reader(Counting::default()), Responses.writer(wish())));
    let written = run(&mut translated(), STREAM);
    for at in (0..=STREAM.len()).step_by(7) {
        let mut pieces = [(meter(Way::Same(Responses.line(wish(), Counting::default()))), &whole), (translated(), &written)];
        for (meter, expected) in &mut pieces {
            let mut out = Vec::new();
            meter.push(&STREAM.as_bytes()[..at], &mut out);
            meter.push(&STREAM.as_bytes()[at..], &mut out);
            meter.finish(&mut out);
            assert_eq!(&String::from_utf8(out).unwrap(), *expected, "at {at}");
        }
    }
}

#[test]
fn a_stream_is_complete_with_its_last_event_only() {
    let cut = STREAM.find("event: response.completed").unwrap();
    let event = |data: &str| format!("{}event: x\ndata: {data}\n\n", &STREAM[..cut]);
    for (stream, code) in [
        (STREAM[..cut].to_owned(), None),
        (event("[DONE]"), None),
        (event(r#"{"type":"response.completed"}"#), None),
        (event(r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}"#), Some("server_error")),
        (event(r#"{"type":"error","code":"rate_limit_exceeded","message":"m","param":null}"#), Some("rate_limit_exceeded")),
        (event(r#"{"error":{"code":"busy","message":"m"}}"#), Some("busy")),
    ] {
        for translated in [false, true] {
            let way = if translated {
                Way::Translated(Responses.reader(Counting::default()), Chat.writer(wish()))
            } else {
                Way::Same(Responses.line(wish(), Counting::default()))
            };
            let mut meter = meter(way);
            let out = run(&mut meter, &stream);
            assert_ne!(meter.progress(), &Progress::Done);
            assert!(!out.contains("response.completed") && !out.contains("[DONE]"), "{out}");
            if let Some(code) = code {
                assert!(matches!(meter.progress(), Progress::Broken(error) if error.code.as_deref() == Some(code)), "{stream}");
            }
        }
    }
    let mut meter = meter(Way::Same(Responses.line(wish(), Counting::default())));
    run(&mut meter, &STREAM[..cut]);
    let mut out = Vec::new();
    meter.broken("upstream_cut", "gone", &mut out);
    let [(name, data)] = events(std::str::from_utf8(&out).unwrap()).try_into().unwrap();
    // Both forms: OpenAI's own, and the one for which its SDKs raise an error.
    let nested = json!({"type": "upstream_error", "code": "upstream_cut", "message": "gone", "param": null});
    let expected = json!({"type": "error", "code": "upstream_cut", "message": "gone", "param": null, "sequence_number": 18, "error": nested});
    assert_eq!((name.as_str(), data), ("error", expected));
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
    let call = Call { id: "call_1".into(), name: "look".into(), arguments: "{\"at\": 1.0}".into(), signature: None };
    let thought = Thinking { text: "One call.".into(), signature: Some("proof".into()), redacted: None };
    assert_eq!(assistant.parts, [Part::Thinking(thought), text("I look."), Part::Call(call)]);
    assert!(matches!(&result.parts[..], [Part::Result(CallResult { id, parts, .. })] if id == "call_1" && parts.len() == 2));
    assert_eq!((conversation.tools[0].strict, conversation.tool_choice), (None, Some(ToolChoice::Named("look".to_owned()))));
    assert_eq!((conversation.logprobs, conversation.parallel_calls), (Some(2), Some(true)));
    let reasoning = Reasoning { effort: Some(Effort::Minimal), budget: None, is_shown: Some(true) };
    assert_eq!(conversation.reasoning, Some(reasoning));
    assert!(matches!(conversation.output, OutputFormat::Schema { name: Some(name), .. } if name == "out"));
    assert_eq!(dropped, ["store", "truncation", "metadata", "text.verbosity"]);
}

#[test]
fn what_cannot_be_translated_is_refused_with_its_path() {
    let with = |members: &str| format!(r#"{{"input":"x",{members}}}"#);
    let item = |item: &str| format!(r#"{{"input":[{{"role":"user","content":"x"}},{item}]}}"#);
    for (body, path) in [
        (with(r#""previous_response_id":"resp_1""#), "previous_response_id"),
        (with(r#""conversation":"c""#), "conversation"),
        (with(r#""background":true"#), "background"),
        (with(r#""tools":[{"type":"custom","name":"c"}]"#), "tools[0].type"),
        (with(r#""tool_choice":{"type":"file_search"}"#), "tool_choice.type"),
        (with(r#""text":{"format":{"type":"grammar"}}"#), "text.format.type"),
        (with(r#""reasoning":{"effort":"enormous"}"#), "reasoning.effort"),
        (item(r#"{"type":"item_reference","id":"x"}"#), "input[1].type"),
        (item(r#"{"type":"custom_tool_call","call_id":"a","name":"b","input":"c"}"#), "input[1].type"),
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
    let mut tally = crate::dialect::tally::Tally::new(Fallback::default(), Counter::new("gpt"), Box::new(|_, _, _| cost()));
    let mut deltas = Vec::new();
    for (name, data) in events(STREAM) {
        reader.event(&crate::dialect::sse::Data { name: Some(name), data: data.to_string() }, &mut tally, &mut deltas);
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
    assert_eq!(tally.progress, Progress::Done);
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
    let mut meter = meter(Way::Translated(Responses.reader(Counting::default()), Chat.writer(wish())));
    let out = run(&mut meter, &stream);
    assert_eq!((out.matches("\"content\":\"hi\"").count(), out.matches("\"name\":\"f\"").count()), (1, 1), "{out}");
    assert!(out.contains("\"finish_reason\":\"length\"") && out.ends_with("data: [DONE]\n\n"), "{out}");
    // "hi" and "{}" are four bytes, which is a token.
    assert_eq!(meter.usage(), (Usage { input: 10, output: 1, ..Usage::default() }, UsageSource::Estimated));
}

#[test]
fn a_stream_is_written_with_every_event_and_the_whole_response() {
    let chat = include_str!("../../../../tests/golden/openai/chat_stream_openrouter.sse");
    let mut meter = meter(Way::Translated(Chat.reader(Counting::default()), Responses.writer(wish())));
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
    assert_eq!((&value["id"], &value["object"], &value["error"]), (&json!("resp_abc"), &json!("response"), &Value::Null));
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
