//! Responses that pass.

use std::rc::Rc;

use serde_json::{Value, json};

use super::Responses;
use crate::dialect::body::Body;
use crate::dialect::envelope::Envelope;
use crate::dialect::format::{Cost, Counting, Format, StreamWish, Translation, Upstream};
use crate::dialect::json::{Edit, Object};
use crate::dialect::meter::{Meter, Transcoding};
use crate::dialect::openai::chat::Chat;
use crate::dialect::stream_state::{Fallback, Progress};
use crate::dialect::tokens::Counter;
use crate::refusal::Refusal;
use crate::usage::{Class, Usage, UsageSource};

pub const STREAM: &str = include_str!("../../../../tests/golden/openai/responses_stream.sse");
pub const UPSTREAM: Upstream<'_> =
    Upstream { model: "up", output_limit: 99, limit_field: None, stream: true, ..Upstream::NOBODY };

pub fn cost() -> Cost {
    Cost { amount: "0.5".to_owned(), details: "{}".to_owned(), ..Cost::default() }
}

pub fn wish() -> StreamWish {
    StreamWish { include_usage: true, created: 17, id: "gen-1".to_owned(), ..StreamWish::default() }
}

fn envelope(body: &str) -> Result<Envelope, Refusal> {
    let body = Body::parse(body.as_bytes(), "")?;
    let mut envelope = Envelope::default();
    Responses.envelope(&body, &mut envelope)?;
    Ok(envelope)
}

pub fn meter(way: Transcoding) -> Meter {
    let fallback = Fallback { usage: Usage { input: 10, ..Usage::default() }, basis: None };
    Meter::new(way, fallback, Counter::new("gpt"), Box::new(|_, _, _| cost()))
}

pub fn run(meter: &mut Meter, stream: &str) -> String {
    let mut out = Vec::new();
    meter.push(stream.as_bytes(), &mut out);
    meter.finish(&mut out);
    String::from_utf8(out).unwrap()
}

/// The events of a stream: name and data.
pub fn events(stream: &str) -> Vec<(String, Value)> {
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), data)
    };
    stream.split("\n\n").filter(|text| !text.is_empty() && !text.starts_with(':')).map(event).collect()
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
        (r#""tools":[{"type":"shell","environment":{"type":"container_auto"}}]"#, "tools[0].environment"),
        (r#""tools":[{"type":"web_search"}],"max_tool_calls":0"#, "max_tool_calls"),
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
    let read = envelope(&with(r#""max_tool_calls":3,"tools":[{"type":"mcp","server_url":"https://x"}]"#)).unwrap();
    assert_eq!(read.rounds, 3);
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
    let tag: Rc<dyn Fn(&str) -> String> = Rc::new(|id| format!("resp_gen-1_{id}_tf0"));
    edits.extend(Responses.named(&object, &StreamWish { tag: Some(tag), ..wish() }));
    let expected = body.replace("resp_1", "resp_gen-1_resp_1_tf0").replace("15}", r#"15,"cost":0.5,"cost_details":{}}"#);
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
    let mut plain = meter(Transcoding::Same(Responses.passthrough(wish(), Counting::default())));
    let out = run(&mut plain, STREAM);
    let expected = STREAM.replace(r#""total_tokens":1300}"#, r#""total_tokens":1300,"cost":0.5,"cost_details":{}}"#);
    assert_eq!(out, expected.replace("\"resp_abc\"", "\"resp_gen-1\""));
    let usage = Usage { input: 400, cached_input: 600, output: 180, reasoning: 120, ..Usage::default() };
    assert_eq!(plain.usage(), (usage, UsageSource::Upstream));
    assert_eq!((plain.progress(), plain.finish_reason().as_deref()), (&Progress::Done, Some("completed")));
    let tag: Rc<dyn Fn(&str) -> String> = Rc::new(|id| format!("{id}_tf0"));
    let tagged = StreamWish { tag: Some(tag), ..wish() };
    let out = run(&mut meter(Transcoding::Same(Responses.passthrough(tagged, Counting::default()))), STREAM);
    assert_eq!(out, expected.replace("\"resp_abc\"", "\"resp_abc_tf0\""));
}

#[test]
fn a_split_at_any_byte_changes_nothing() {
    let whole = run(&mut meter(Transcoding::Same(Responses.passthrough(wish(), Counting::default()))), STREAM);
    let translated = || meter(Transcoding::Translated(Responses.reader(Counting::default()), Responses.writer(wish())));
    let written = run(&mut translated(), STREAM);
    for at in (0..=STREAM.len()).step_by(7) {
        let mut pieces =
            [(meter(Transcoding::Same(Responses.passthrough(wish(), Counting::default()))), &whole), (translated(), &written)];
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
                Transcoding::Translated(Responses.reader(Counting::default()), Chat.writer(wish()))
            } else {
                Transcoding::Same(Responses.passthrough(wish(), Counting::default()))
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
    let mut meter = meter(Transcoding::Same(Responses.passthrough(wish(), Counting::default())));
    run(&mut meter, &STREAM[..cut]);
    let mut out = Vec::new();
    meter.broken("upstream_cut", "gone", &mut out);
    let [(name, data), (last, failed)] = events(std::str::from_utf8(&out).unwrap()).try_into().unwrap();
    // Both forms: OpenAI's own, and the one for which its SDKs raise an error.
    let nested = json!({"type": "upstream_error", "code": "upstream_cut", "message": "gone", "param": null});
    let expected = json!({"type": "error", "code": "upstream_cut", "message": "gone", "param": null, "sequence_number": 18, "error": nested});
    assert_eq!((name.as_str(), data), ("error", expected));
    // And the one that Codex reads.
    assert_eq!((last.as_str(), &failed["type"]), ("response.failed", &json!("response.failed")));
    let response = &failed["response"];
    assert_eq!((&failed["sequence_number"], &response["id"]), (&json!(19), &json!("resp_gen-1")));
    assert_eq!(
        (&response["status"], &response["error"]),
        (&json!("failed"), &json!({"code": "upstream_cut", "message": "gone"}))
    );
}

fn tagged() -> Meter {
    let tag: Rc<dyn Fn(&str) -> String> = Rc::new(|id| format!("{id}_tf0"));
    meter(Transcoding::Same(Responses.passthrough(StreamWish { tag: Some(tag), ..wish() }, Counting::default())))
}

/// A stream up to its end, and then these events.
fn ending(events: &[&str]) -> String {
    let cut = STREAM.find("event: response.completed").unwrap();
    let kind = |data: &str| serde_json::from_str::<Value>(data).unwrap()["type"].as_str().unwrap().to_owned();
    let event = |data: &&str| format!("event: {}\ndata: {data}\n\n", kind(data));
    STREAM[..cut].to_owned() + &events.iter().map(event).collect::<String>()
}

const FAILED: &str = r#"{"type":"response.failed","sequence_number":20,"response":{"id":"resp_abc","status":"failed", "error":{"code":"context_length_exceeded","message":"Too long."},"usage":null}}"#;
const ERROR: &str = r#"{"type":"error","sequence_number":19,"error":{"type":"invalid_request_error","code":"context_length_exceeded","message":"Too long."}}"#;

#[test]
fn how_upstream_says_that_it_failed_reaches_the_client_as_it_is() {
    for (last, code) in [
        (FAILED, "context_length_exceeded"),
        (r#"{"type":"response.cancelled","response":{"id":"resp_abc","status":"cancelled"}}"#, "cancelled"),
    ] {
        for told in [vec![last], vec![ERROR, last]] {
            let mut meter = tagged();
            let mut out = run(&mut meter, &ending(&told)).into_bytes();
            assert!(matches!(meter.progress(), Progress::Broken(error) if error.code.as_deref() == Some(code)));
            // Nothing comes after it.
            meter.broken("upstream_cut", "gone", &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), ending(&told).replace("\"resp_abc\"", "\"resp_abc_tf0\""));
        }
    }
}

#[test]
fn an_error_without_what_became_of_the_response_is_followed_by_it() {
    for stream in [ending(&[ERROR]), ending(&[r#"{"type":"error","code":"context_length_exceeded","message":"Too long."}"#])] {
        let mut meter = tagged();
        let mut out = run(&mut meter, &stream).into_bytes();
        assert!(matches!(meter.progress(), Progress::Broken(error) if error.code.as_deref() == Some("context_length_exceeded")));
        meter.broken("upstream_cut", "gone", &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with(&stream.replace("\"resp_abc\"", "\"resp_abc_tf0\"")), "{out}");
        let events = events(&out);
        let (name, last) = events.last().unwrap();
        assert_eq!((name.as_str(), events.iter().filter(|(name, _)| name == "error").count()), ("response.failed", 1));
        let response = &last["response"];
        let error = json!({"code": "context_length_exceeded", "message": "Too long."});
        assert_eq!((&response["id"], &response["error"]), (&json!("resp_abc_tf0"), &error));
    }
}

#[test]
fn an_error_in_the_place_of_an_answer_is_none_and_one_about_our_account_stays_with_us() {
    for first in [FAILED, ERROR] {
        let mut meter = tagged();
        let out = run(&mut meter, &format!("data: {first}\n\n"));
        assert!(out.is_empty() && !meter.has_chunks() && matches!(meter.progress(), Progress::Broken(_)), "{out}");
    }
    let about_us = r#"{"code":"insufficient_quota","message":"org-secret has no money"}"#;
    for events in [
        [format!(r#"{{"type":"response.failed","response":{{"id":"resp_abc","error":{about_us}}}}}"#)],
        [format!(r#"{{"type":"error","error":{about_us}}}"#)],
        [about_us.replace('{', r#"{"type":"error","#)],
    ] {
        let mut meter = tagged();
        let mut out = run(&mut meter, &ending(&[&events[0]])).into_bytes();
        meter.broken("upstream_cut", "gone", &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(!out.contains("secret") && out.contains("insufficient_quota") && out.contains("response.failed"), "{out}");
    }
}

#[test]
fn a_sign_of_life_is_an_event_that_changes_nothing() {
    let cut = STREAM.find("event: response.output_item.added").unwrap();
    let mut meter = tagged();
    let mut out = run(&mut meter, &STREAM[..cut]).into_bytes();
    let before = out.len();
    meter.ping(&mut out);
    let told = events(std::str::from_utf8(&out[before..]).unwrap());
    let [(name, sign)] = told.as_slice() else { panic!("{told:?}") };
    let first = events(&STREAM[..cut])[0].1["response"].clone();
    let mut expected = first;
    expected["id"] = json!("resp_abc_tf0");
    assert_eq!((name.as_str(), &sign["response"]), ("response.in_progress", &expected));
    assert_eq!(sign["sequence_number"], events(&STREAM[..cut]).last().unwrap().1["sequence_number"]);
    // Once it has output, OpenAI's SDKs would take it for all of it.
    let mut meter = tagged();
    let mut out = run(&mut meter, &STREAM[..STREAM.find("event: response.completed").unwrap()]).into_bytes();
    let before = out.len();
    meter.ping(&mut out);
    assert_eq!(&out[before..], b"event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":17}\n\n");
    // One that repeats a long prompt is told by its head.
    let long = format!(
        r#"{{"type":"response.created","response":{{"id":"resp_abc","model":"m","created_at":1,"instructions":"{}"}}}}"#,
        "x".repeat(20_000)
    );
    let mut meter = tagged();
    run(&mut meter, &format!("data: {long}\n\n"));
    let mut out = Vec::new();
    meter.ping(&mut out);
    let told = events(std::str::from_utf8(&out).unwrap());
    assert!(out.len() < 2_000 && told[0].1["response"]["id"] == "resp_abc_tf0" && told[0].1["response"]["model"] == "m");
}

#[test]
fn before_the_answer_is_known_its_beginning_is_told_once() {
    let wish = StreamWish { model: "public".to_owned(), ..wish() };
    let mut line = Responses.passthrough(wish.clone(), Counting::default());
    let mut out = Vec::new();
    (0..3).for_each(|_| line.ping(&mut out));
    let told = events(std::str::from_utf8(&out).unwrap());
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["response.created", "response.in_progress", "response.in_progress"]);
    // A translated answer goes on from there, with the same id.
    let mut meter = meter(Transcoding::translated(Chat.reader(Counting::default()), Responses.writer(wish.clone()), &wish, None));
    let chunk = r#"data: {"id":"c","model":"up","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}"#;
    let rest = events(&run(&mut meter, &format!("{chunk}\n\ndata: [DONE]\n\n")));
    assert_eq!(
        (rest[0].0.as_str(), &rest.last().unwrap().1["response"]["id"]),
        ("response.output_item.added", &json!("resp_gen-1"))
    );
    for (at, (_, data)) in told.iter().chain(&rest).enumerate() {
        assert_eq!(data["sequence_number"], json!(at));
    }
    assert_eq!((&told[0].1["response"]["id"], &told[0].1["response"]["model"]), (&json!("resp_gen-1"), &json!("public")));
    // Where nobody answers it ends there.
    let mut out = Vec::new();
    line.refused(r#"{"error":{"message":"No provider answered.","type":"api_error","code":"no_route_available"}}"#, &mut out);
    let end = events(std::str::from_utf8(&out).unwrap());
    let names: Vec<&str> = end.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        (names.as_slice(), &end[1].1["response"]["error"]["code"]),
        (["error", "response.failed"].as_slice(), &json!("no_route_available"))
    );
    assert_eq!(end[0].1["sequence_number"], 3);
}
