//! Chat completions to and from a conversation.

use serde_json::{Value, json};

use super::Chat;
use crate::catalog::OutputLimitField;
use crate::dialect::conversation::{
    Cache, CallResult, Conversation, Delta, Effort, Finish, MediaKind, Message, OutputFormat, Part, Reasoning, Role, Source,
    Thinking, ToolCall, ToolChoice,
};
use crate::dialect::format::{Cost, Counting, Reader, StreamWish, Translation, Upstream};
use crate::dialect::json::Object;
use crate::dialect::sse::Event;
use crate::dialect::stream_state::{Fallback, StreamState};
use crate::dialect::tokens::Counter;

const UPSTREAM: Upstream<'_> = Upstream { model: "up", output_limit: 99, limit_field: None, stream: false, ..Upstream::NOBODY };
pub const OPENROUTER: &str = include_str!("../../../../tests/golden/openai/chat_stream_openrouter.sse");

pub fn cost() -> Cost {
    Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() }
}

pub fn wish() -> StreamWish {
    StreamWish { include_usage: true, created: 17, id: "gen-1".to_owned(), ..StreamWish::default() }
}

pub fn text(text: &str) -> Part<'_> {
    Part::Text { text: text.into(), cache: None }
}

pub fn stream() -> StreamState {
    StreamState::new(Fallback::default(), Counter::new("gpt"), Box::new(|_, _, _| cost()))
}

fn read(body: &str) -> Result<(Conversation<'_>, Vec<String>), String> {
    let object = Object::parse(body).unwrap();
    let read = Chat.read_request(&object).map_err(|refusal| refusal.param.unwrap_or_default())?;
    Ok((read.conversation, read.dropped.to_vec()))
}

fn written(conversation: &Conversation<'_>) -> Result<(Value, Vec<String>), String> {
    let written = Chat.write_request(conversation, &UPSTREAM).map_err(|refusal| refusal.param.unwrap_or_default())?;
    Ok((serde_json::from_str(&written.body).unwrap(), written.dropped.to_vec()))
}

fn media<'a>(part: &Part<'a>) -> (MediaKind, Source<'a>, Option<String>, Option<String>) {
    match part {
        Part::Media { media, .. } => (media.kind, media.source.clone(), media.name.clone(), media.detail.clone()),
        other => panic!("{other:?}"),
    }
}

/// What a stream says, what it is tallied as.
pub fn told(text: &str) -> (Vec<Delta>, StreamState) {
    let (mut events, mut reader) =
        (crate::dialect::sse::SseReader::default(), super::reader::ChatReader::new(Counting::default()));
    let (mut stream, mut deltas) = (stream(), Vec::new());
    events.push(text.as_bytes());
    events.finish();
    while let Some(event) = events.next_event().unwrap().filter(|_| stream.is_open()) {
        if let Event::Data(data) = event {
            reader.event(&data, &mut stream, &mut deltas);
        }
    }
    (deltas, stream)
}

pub fn chunks(deltas: &[&str]) -> String {
    let chunk =
        |delta: &&str| format!("data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n");
    deltas.iter().map(chunk).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

#[test]
fn a_whole_request_is_read() {
    let (conversation, dropped) = read(include_str!("../../../../tests/golden/openai/chat_request.json")).unwrap();
    assert_eq!(
        conversation.system,
        [Part::Text { text: "Be brief.".into(), cache: Some(Cache::Hour) }, text("Answer in French.")]
    );
    let [user, assistant, results, last] = conversation.messages.as_slice() else { panic!("{:?}", conversation.messages) };
    let base64 = |media_type: &str, data: &'static str| Source::Base64 { media_type: media_type.to_owned(), data: data.into() };
    assert_eq!(user.parts[0], text("What is this?"));
    assert_eq!(media(&user.parts[1]), (MediaKind::Image, base64("image/png", "QUJD"), None, Some("low".to_owned())));
    assert_eq!(media(&user.parts[2]).1, Source::Url("https://example.com/a.png".into()));
    assert_eq!(media(&user.parts[3]), (MediaKind::File, base64("application/pdf", "REVG"), Some("a.pdf".to_owned()), None));
    assert_eq!(media(&user.parts[4]), (MediaKind::Audio, base64("audio/mpeg", "R0hJ"), None, None));
    let thought =
        Thinking { text: "Two calls.".to_owned(), signature: Some("proof".to_owned()), redacted: None, ..Thinking::default() };
    let hidden = Thinking { redacted: Some("hidden".to_owned()), ..Thinking::default() };
    let call = |id: &str, arguments: &str, signature: Option<&str>| {
        let (id, arguments, signature) = (id.to_owned(), arguments.to_owned(), signature.map(ToOwned::to_owned));
        Part::Call(ToolCall { id, name: "look".to_owned(), arguments, signature, ..ToolCall::default() })
    };
    let expected =
        [Part::Thinking(thought), Part::Thinking(hidden), call("call_1", "{\"at\": 1.0}", Some("g1")), call("call_2", "", None)];
    assert_eq!(assistant.parts, expected);
    let result = |id: &str, said: &'static str, cache| {
        Part::Result(CallResult { id: id.to_owned(), parts: vec![text(said)], is_error: false, cache })
    };
    assert_eq!(
        *results,
        Message {
            role: Role::User,
            parts: vec![result("call_1", "a cat", None), result("call_2", "a dog", Some(Cache::FiveMinutes))]
        }
    );
    assert_eq!(*last, Message { role: Role::Assistant, parts: vec![text("Un chat.")] });
    assert_eq!(conversation.tools[0].schema.as_deref(), Some(r#"{"type": "object", "n": 1.0}"#));
    assert_eq!(conversation.tool_choice, Some(ToolChoice::Named("look".to_owned())));
    assert_eq!((conversation.parallel_calls, conversation.choices, conversation.logprobs), (Some(false), 2, Some(3)));
    assert!(matches!(&conversation.output, OutputFormat::Schema { name: Some(name), strict: Some(true), .. } if name == "out"));
    let sampling = &conversation.sampling;
    assert_eq!((sampling.temperature, sampling.top_k, sampling.presence_penalty), (Some("1.0"), Some("5"), Some("-1")));
    assert_eq!((sampling.top_p, sampling.seed), (Some("0.30000000000000004"), Some("9007199254740993")));
    let reasoning = Reasoning { effort: Some(Effort::High), budget: Some(2000), is_shown: Some(false) };
    assert_eq!((conversation.reasoning, conversation.stop), (Some(reasoning), vec!["END".to_owned()]));
    assert_eq!(conversation.user.as_deref(), Some("u1"));
    assert_eq!(dropped, ["logit_bias", "metadata", "verbosity", "messages[].name"]);
}

#[test]
fn what_cannot_be_left_out_is_refused_with_its_path() {
    let with = |members: &str| format!(r#"{{"messages":[{{"role":"user","content":"x"}}],{members}}}"#);
    let message = |message: &str| format!(r#"{{"messages":[{{"role":"user","content":"x"}},{message}]}}"#);
    for (body, path) in [
        (with(r#""modalities":["text","audio"]"#), "modalities"),
        (with(r#""audio":{"voice":"alloy"}"#), "audio"),
        (with(r#""functions":[]"#), "functions"),
        (with(r#""function_call":"auto""#), "function_call"),
        (with(r#""tools":[{"type":"function","function":{"name":"a"}},{"type":"odd","odd":{"name":"b"}}]"#), "tools[1].type"),
        (with(r#""tool_choice":{"type":"odd","odd":{"name":"b"}}"#), "tool_choice.type"),
        (with(r#""tool_choice":"sometimes""#), "tool_choice"),
        (
            with(
                r#""tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"b"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"a"}}]}}"#,
            ),
            "tool_choice",
        ),
        (with(r#""response_format":{"type":"grammar"}"#), "response_format.type"),
        (with(r#""response_format":{"type":"json_schema","json_schema":{"name":"a"}}"#), "response_format.json_schema.schema"),
        (with(r#""reasoning_effort":"enormous""#), "reasoning_effort"),
        (with(r#""temperature":"hot""#), "temperature"),
        (with(r#""stop":[1]"#), "stop[0]"),
        (message(r#"{"role":"function","name":"f","content":"x"}"#), "messages[1].role"),
        (message(r#"{"role":"robot","content":"x"}"#), "messages[1].role"),
        (message(r#"{"role":"user"}"#), "messages[1].content"),
        (message(r#"{"role":"tool","content":"x"}"#), "messages[1].tool_call_id"),
        (message(r#"{"role":"assistant","audio":{"id":"a"}}"#), "messages[1].audio"),
        (message(r#"{"role":"assistant","function_call":{"name":"a","arguments":""}}"#), "messages[1].function_call"),
        (message(r#"{"role":"assistant","tool_calls":[{"id":"a","type":"odd","odd":{}}]}"#), "messages[1].tool_calls[0].type"),
        (message(r#"{"role":"user","content":[{"type":"video_url","video_url":{"url":"x"}}]}"#), "messages[1].content[0].type"),
        (
            message(r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc"}}]}"#),
            "messages[1].content[0].image_url.url",
        ),
        (
            message(r#"{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"9h"}}]}"#),
            "messages[1].content[0].cache_control.ttl",
        ),
        (message(r#"{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://x"}}]}"#), "messages[1].content"),
        (message("5"), "messages[1]"),
    ] {
        assert_eq!(read(&body).unwrap_err(), path, "{body}");
    }
}

#[test]
fn an_allowed_tool_that_must_be_called_is_a_named_one() {
    let body = r#"{"messages":[],"tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"a"}}]}}}"#;
    assert_eq!(read(body).unwrap().0.tool_choice, Some(ToolChoice::Named("a".to_owned())));
}

fn messages_of(body: &Value) -> &Vec<Value> {
    body["messages"].as_array().unwrap()
}

#[test]
fn a_request_is_written_and_what_is_left_out_is_named() {
    let (mut conversation, _) = read(include_str!("../../../../tests/golden/openai/chat_request.json")).unwrap();
    let Part::Result(result) = &mut conversation.messages[2].parts[0] else { panic!() };
    result.is_error = true;
    let (body, dropped) = written(&conversation).unwrap();
    assert_eq!(messages_of(&body)[2]["reasoning_content"], "Two calls.");
    assert_eq!(dropped, ["cache_control", "thought_signature", "is_error", "top_k", "reasoning.exclude"]);
    let messages = messages_of(&body);
    let system = json!([{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Answer in French."}]);
    assert_eq!(messages[0], json!({"role": "system", "content": system}));
    assert_eq!(messages[1]["content"][1]["image_url"], json!({"url": "data:image/png;base64,QUJD", "detail": "low"}));
    let file = json!({"filename": "a.pdf", "file_data": "data:application/pdf;base64,REVG"});
    assert_eq!(messages[1]["content"][3]["file"], file);
    assert_eq!(messages[1]["content"][4]["input_audio"], json!({"data": "R0hJ", "format": "mp3"}));
    assert_eq!(messages[2]["content"], Value::Null);
    assert_eq!(messages[2]["tool_calls"][0]["function"], json!({"name": "look", "arguments": "{\"at\": 1.0}"}));
    assert_eq!(messages[2]["tool_calls"][1]["function"]["arguments"], "{}");
    assert_eq!(messages[3], json!({"role": "tool", "tool_call_id": "call_1", "content": "a cat"}));
    assert_eq!(messages[4], json!({"role": "tool", "tool_call_id": "call_2", "content": "a dog"}));
    assert_eq!(messages[5], json!({"role": "assistant", "content": "Un chat."}));
    for (name, value) in [
        ("model", json!("up")),
        ("max_tokens", json!(99)),
        ("reasoning_effort", json!("high")),
        ("n", json!(2)),
        ("stop", json!(["END"])),
        ("logprobs", json!(true)),
        ("top_logprobs", json!(3)),
        ("parallel_tool_calls", json!(false)),
        ("tool_choice", json!({"type": "function", "function": {"name": "look"}})),
        ("user", json!("u1")),
    ] {
        assert_eq!(body[name], value, "{name}");
    }
    assert_eq!(body["response_format"]["json_schema"]["strict"], true);
    assert!(body.get("stream").is_none() && body.get("top_k").is_none());
    let upstream = Upstream { limit_field: Some(OutputLimitField::MaxCompletionTokens), stream: true, ..UPSTREAM };
    let streamed = Chat.write_request(&conversation, &upstream).unwrap().body;
    assert!(
        streamed
            .starts_with(r#"{"model":"up","stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":99,"#)
    );
    assert!(streamed.contains(r#""temperature":1.0,"top_p":0.30000000000000004,"seed":9007199254740993,"#));
}

#[test]
fn an_image_of_a_result_follows_in_a_turn_of_its_own() {
    let body = r#"{"messages":[{"role":"tool","tool_call_id":"a","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"https://x/y.png"}}]},{"role":"tool","tool_call_id":"b","content":"two"}]}"#;
    let (body, dropped) = written(&read(body).unwrap().0).unwrap();
    let image = json!({"type": "image_url", "image_url": {"url": "https://x/y.png"}});
    let expected = json!([
        {"role": "tool", "tool_call_id": "a", "content": "see"},
        {"role": "tool", "tool_call_id": "b", "content": "two"},
        {"role": "user", "content": [{"type": "text", "text": "Result of a:"}, image]},
    ]);
    assert_eq!((body["messages"].clone(), dropped), (expected, Vec::new()));
}

#[test]
fn what_cannot_be_written_is_refused() {
    for (part, path) in [
        (r#"{"type":"file","file":{"file_id":"file-1"}}"#, "file_id"),
        (r#"{"type":"file","file":{"file_data":"https://x/a.pdf"}}"#, "file_url"),
    ] {
        let body = format!(r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#);
        assert_eq!(written(&read(&body).unwrap().0).unwrap_err(), path);
    }
    let body = r#"{"messages":[],"tool_choice":"required"}"#;
    assert_eq!(written(&read(body).unwrap().0).unwrap_err(), "tool_choice");
    let body = r#"{"messages":[],"tool_choice":"auto","parallel_tool_calls":true}"#;
    let (body, _) = written(&read(body).unwrap().0).unwrap();
    assert!(body.get("tool_choice").is_none() && body.get("parallel_tool_calls").is_none());
}

#[test]
fn a_plain_answer_goes_both_ways() {
    let body = r#"{"id":"c1","model":"m","object":"chat.completion","created":1,"choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,
        "reasoning_content":"Hm.","reasoning_details":[{"type":"reasoning.text","text":"Hm.","signature":"s","index":0}],
        "tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1.0}"}},{"type":"function","function":{"name":"g","arguments":{"b":2}}}]},
        "logprobs":{"content":[]},"finish_reason":"stop"},
        {"index":1,"message":{"role":"assistant","content":"hi"},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let answer = Chat.read_answer(&Object::parse(body).unwrap(), Counting::default()).unwrap();
    assert_eq!((answer.choices[0].finish.clone(), answer.choices[1].finish.clone()), (Finish::Calls, Finish::Length));
    let usage = answer.usage.unwrap();
    let value: Value = serde_json::from_str(&Chat.write_answer(&answer, &usage, &cost(), &wish())).unwrap();
    assert_eq!(
        (&value["id"], &value["object"], &value["created"]),
        (&json!("chatcmpl-gen-1"), &json!("chat.completion"), &json!(17))
    );
    let message = &value["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["refusal"], &message["reasoning_content"]),
        (&Value::Null, &Value::Null, &json!("Hm."))
    );
    let details = json!([{"type": "reasoning.text", "text": "Hm.", "signature": "s", "index": 0}]);
    assert_eq!(message["reasoning_details"], details);
    let function = |name: &str, arguments: &str| json!({"name": name, "arguments": arguments});
    let calls = json!([
        {"id": "call_1", "type": "function", "function": function("f", "{\"a\":1.0}")},
        {"id": "", "type": "function", "function": function("g", "{\"b\":2}")},
    ]);
    assert_eq!(message["tool_calls"], calls);
    assert_eq!(value["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(value["choices"][0]["logprobs"], json!({"content": []}));
    assert_eq!(value["choices"][1]["message"], json!({"role": "assistant", "content": "hi", "refusal": null}));
    assert_eq!((&value["usage"]["total_tokens"], &value["usage"]["cost"]), (&json!(5), &json!(0.5)));
    let error = Object::parse(r#"{"error":{"message":"our host","code":"x"}}"#).unwrap();
    assert_eq!(Chat.read_answer(&error, Counting::default()).unwrap_err(), "an error with status 200 (x)");
}
