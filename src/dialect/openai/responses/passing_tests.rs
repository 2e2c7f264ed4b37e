//! Responses that pass.

use std::rc::Rc;

use serde_json::{Value, json};

use super::Responses;
use crate::dialect::body::Body;
use crate::dialect::envelope::Envelope;
use crate::dialect::format::{Cost, Counting, Format, StreamWish, Translation, Upstream};
use crate::dialect::json::{Edit, Object};
use crate::dialect::meter::{Meter, Way};
use crate::dialect::openai::chat::Chat;
use crate::dialect::tally::{Fallback, Progress};
use crate::dialect::tokens::Counter;
use crate::refusal::Refusal;
use crate::usage::{Class, Usage, UsageSource};

pub const STREAM: &str = include_str!("../../../../tests/golden/openai/responses_stream.sse");
pub const UPSTREAM: Upstream<'_> =
    Upstream { model: "up", output_limit: 99, limit_field: None, stream: true, ..Upstream::NOBODY };

pub fn cost() -> Cost {
    Cost { amount: "0.5".to_owned(), details: "{}".to_owned() }
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

pub fn meter(way: Way) -> Meter {
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
