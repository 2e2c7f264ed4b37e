//! Requests that want to be read one way here and another way by upstream, or to cost more than they seem to.

use super::endpoint::{Endpoint, EndpointPath};
use super::request::Request;
use super::stream_state::Fallback;
use crate::usage::{Class, Usage, UsageSource};

fn read(endpoint: Endpoint, body: &str) -> Result<Request<'_>, crate::refusal::Refusal> {
    Request::read(&EndpointPath { endpoint, model: None, stream: false }, body.as_bytes(), Some("application/json"))
}

#[test]
fn members_of_another_case_are_refused() {
    let body = r#"{"model":"cheap","max_tokens":1,"messages":[],"Model":"gpt-5.5-pro","N":128,"Max_Tokens":100000}"#;
    assert!(read(Endpoint::Chat, body).is_err());
    // A name that decides nothing is upstream's to read.
    assert!(read(Endpoint::Chat, r#"{"model":"m","messages":[],"topK":5,"chatTemplate":{"A":1}}"#).is_ok());
}

#[test]
fn a_tool_of_two_types_is_refused_in_responses() {
    assert!(read(Endpoint::Responses, r#"{"model":"m","input":"x","tools":[{"type":"function","type":"code_interpreter","name":"f","container":{"type":"auto"}}]}"#).is_err());
}

#[test]
fn a_tool_of_two_types_is_refused_in_chat() {
    assert!(
        read(
            Endpoint::Chat,
            r#"{"model":"m","messages":[],"tools":[{"type":"function","type":"live_search","function":{"name":"f"}}]}"#
        )
        .is_err()
    );
}

#[test]
fn a_tool_of_two_types_is_refused_in_messages() {
    assert!(read(Endpoint::Messages, r#"{"model":"m","max_tokens":5,"messages":[],"tools":[{"type":"custom","type":"code_execution_20250825","name":"code_execution"}]}"#).is_err());
}

#[test]
fn a_limit_that_stands_twice_is_refused() {
    assert!(read(Endpoint::Messages, r#"{"model":"m","max_tokens":5,"messages":[],"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":1,"max_uses":1000}]}"#).is_err());
}

#[test]
fn an_item_that_the_provider_keeps_is_bounded_by_the_context() {
    let request = read(Endpoint::Responses, r#"{"model":"m","input":[{"id":"msg_0123"},{"role":"user","content":"go on"}]}"#);
    assert!(request.is_err() || request.unwrap().envelope.has_media);
}

#[test]
fn depth_does_not_hide_an_escaped_name() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let body = format!(
        r#"{{"model":"m","input":[{{"role":"user","content":[{{"type":"input_file","file\u005furl":"https://x/y.pdf"}}]}}],"metadata":{deep}}}"#
    );
    let request = read(Endpoint::Responses, &body);
    assert!(request.is_err() || request.unwrap().envelope.has_media);
}

#[test]
fn an_escaped_hour_is_an_hour() {
    for endpoint in [Endpoint::Messages, Endpoint::Chat] {
        let request = read(endpoint, r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"\u0031h"}}]}]}"#).unwrap();
        assert!(request.envelope.needs.contains(&Class::CacheWrite1h), "{endpoint:?} {:?}", request.envelope.needs);
    }
}

fn form(parts: &str) -> String {
    format!("{parts}--X--\r\n")
}

fn read_form<'a>(endpoint: Endpoint, body: &'a str, kind: &str) -> Result<Request<'a>, crate::refusal::Refusal> {
    Request::read(&EndpointPath { endpoint, model: None, stream: false }, body.as_bytes(), Some(kind))
}

#[test]
fn a_name_in_pieces_is_refused() {
    let body = form(
        "--X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ncheap\r\n--X\r\nContent-Disposition: form-data; name=\"user2\"; name*0=\"n\"\r\n\r\n10\r\n--X\r\nContent-Disposition: form-data; name=\"user3\"; name*0=\"model\"\r\n\r\ndear\r\n",
    );
    assert!(read_form(Endpoint::ImageEdits, &body, "multipart/form-data; boundary=X").is_err(), "n hidden");
}

#[test]
fn a_boundary_in_pieces_is_refused() {
    let body = form("--X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ncheap\r\n");
    assert!(read_form(Endpoint::ImageEdits, &body, "multipart/form-data; boundary=X; boundary*0=Y").is_err());
}

#[test]
fn an_address_behind_an_empty_one_is_refused() {
    let part = |name: &str, text: &str| format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
    let file = "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\nabc\r\n";
    let body = form(&[part("model", "w"), part("url", ""), part("url", "https://x/long.mp3"), file.to_owned()].concat());
    assert!(read_form(Endpoint::Transcriptions, &body, "multipart/form-data; boundary=X").is_err());
}

#[test]
fn text_in_a_coat_of_base64_is_text() {
    let words = "and the story went on and on, as stories do. ".repeat(20_000);
    let (a, b) = words.split_at(450_000);
    let pad = "A".repeat(300);
    let content = format!("{pad}{}{}{}{pad}", a, "A".repeat(300), b);
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{content}"}}]}}"#);
    let request = read(Endpoint::Chat, &body).unwrap();
    assert!(request.estimated_tokens("gpt") > 100_000, "{} tokens of {} bytes", request.estimated_tokens("gpt"), request.bytes);
}

#[test]
fn searches_alone_do_not_make_tokens_free() {
    let fallback = Fallback { usage: Usage { input: 500, ..Usage::default() }, basis: None };
    let (usage, source) = fallback.metered(Some(Usage { searches: 1, ..Usage::default() }), 0, 0);
    assert!(usage.input > 0, "{usage:?} {source:?} {:?}", UsageSource::Upstream);
}

#[test]
fn media_of_other_providers_are_media() {
    for part in [
        r#"{"type":"document_url","document_url":"https://x/y.pdf"}"#,
        r#"{"type":"video","video":["https://x/1.jpg"]}"#,
        r#"{"type":"image","image":"https://x/1.jpg"}"#,
    ] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{part}]}}]}}"#);
        assert!(read(Endpoint::Chat, &body).unwrap().envelope.has_media, "{part}");
    }
}

#[test]
fn a_search_by_another_name_is_refused() {
    assert!(read(Endpoint::Chat, r#"{"model":"m","messages":[],"enable_search":true}"#).is_err());
}
