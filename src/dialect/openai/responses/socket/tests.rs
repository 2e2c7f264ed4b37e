//! Frames in, actions out: what one connection makes of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use serde_json::{Value, json};

use super::*;

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn ask(session: &mut Connection, frame: &Value) -> Step {
    session.frame(&frame.to_string(), 1_000, "gen-fresh")
}

/// The body that a frame becomes.
fn body(session: &mut Connection, frame: &Value) -> Value {
    match ask(session, frame) {
        Step::Serve(body) => serde_json::from_slice(&body).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The only frame that is sent.
fn told(session: &mut Connection, frame: &Value) -> Value {
    match ask(session, frame) {
        Step::Send(frames) if frames.len() == 1 => value(&frames[0]),
        other => panic!("{other:?}"),
    }
}

fn user(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
}

fn create(input: &Value, more: Value) -> Value {
    let mut frame = json!({"type": "response.create", "model": "m", "store": false, "input": input});
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    frame
}

fn said(id: &str, text: &str) -> Value {
    json!({"id": id, "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
}

/// Ends an answer with these items.
fn answer(session: &mut Connection, id: &str, items: &[Value]) {
    for (index, item) in items.iter().enumerate() {
        let event = json!({"type": "response.output_item.done", "output_index": index, "item": item});
        session.event(event.to_string()).unwrap();
    }
    let event = json!({"type": "response.completed", "response": {"id": id, "status": "completed", "output": items}});
    session.event(event.to_string()).unwrap();
    assert_eq!(session.ended(), None);
}

fn code(frame: &Value) -> &str {
    assert_eq!((&frame["type"], frame["error"]["message"].is_string()), (&json!("error"), true), "{frame}");
    frame["error"]["code"].as_str().unwrap_or_default()
}

#[test]
fn a_frame_is_a_request_without_what_belongs_to_the_transport() {
    let mut session = Connection::new(0);
    let frame = create(&json!("hi"), json!({"generate": true, "stream_id": "a", "stream": false, "previous_response_id": null}));
    let expected = json!({"model": "m", "store": false, "input": "hi", "previous_response_id": null, "stream": true});
    assert_eq!(body(&mut session, &frame), expected);
}

#[test]
fn what_is_new_is_put_behind_what_was_said() {
    let mut session = Connection::new(0);
    body(&mut session, &create(&json!([user("one")]), json!({})));
    answer(&mut session, "resp_1", &[said("msg_1", "two")]);
    let next = create(&json!([user("three")]), json!({"previous_response_id": "resp_1", "instructions": "again"}));
    let sent = body(&mut session, &next);
    assert_eq!(sent["input"], json!([user("one"), said("msg_1", "two"), user("three")]));
    assert_eq!((sent.get("previous_response_id"), &sent["instructions"]), (None, &json!("again")));
    answer(&mut session, "resp_2", &[said("msg_2", "four")]);
    let sent = body(&mut session, &create(&json!("five"), json!({"previous_response_id": "resp_2"})));
    let all = json!([user("one"), said("msg_1", "two"), user("three"), said("msg_2", "four"), user("five")]);
    assert_eq!(sent["input"], all);
}

#[test]
fn only_the_last_response_of_a_lane_can_be_gone_on_from() {
    let mut session = Connection::new(0);
    body(&mut session, &create(&json!("one"), json!({})));
    answer(&mut session, "resp_1", &[said("msg_1", "two")]);
    body(&mut session, &create(&json!("other"), json!({"stream_id": "b"})));
    answer(&mut session, "resp_b", &[said("msg_b", "else")]);
    body(&mut session, &create(&json!("three"), json!({"previous_response_id": "resp_1"})));
    answer(&mut session, "resp_2", &[]);
    for id in ["resp_1", "resp_unknown"] {
        let error = told(&mut session, &create(&json!("x"), json!({"previous_response_id": id})));
        assert_eq!((code(&error), &error["status"]), ("previous_response_not_found", &json!(400)));
        assert_eq!(error["error"]["param"], "previous_response_id");
    }
    // Another lane can fork.
    let fork = body(&mut session, &create(&json!("x"), json!({"previous_response_id": "resp_b", "stream_id": "c"})));
    assert_eq!(fork["input"].as_array().unwrap().len(), 3);
}

#[test]
fn what_a_provider_keeps_is_asked_of_it() {
    let mut session = Connection::new(0);
    let frame = create(&json!("x"), json!({"previous_response_id": "resp_9_tf0123", "store": true}));
    assert_eq!(body(&mut session, &frame)["previous_response_id"], "resp_9_tf0123");
    answer(&mut session, "resp_10", &[said("msg", "y")]);
    // The whole of it is not known here, so that nobody goes on from a half.
    let next = create(&json!("z"), json!({"previous_response_id": "resp_10"}));
    assert_eq!(code(&told(&mut session, &next)), "previous_response_not_found");
}

#[test]
fn a_response_that_did_not_end_is_not_remembered_and_the_one_before_is() {
    let mut session = Connection::new(0);
    body(&mut session, &create(&json!("one"), json!({})));
    answer(&mut session, "resp_1", &[said("msg_1", "two")]);
    for end in [
        json!({"type": "response.failed", "response": {"id": "resp_2", "error": {"code": "x"}}}),
        json!({"type": "error", "code": "upstream_cut", "message": "cut", "error": {"code": "upstream_cut", "message": "cut"}}),
    ] {
        body(&mut session, &create(&json!("three"), json!({"previous_response_id": "resp_1"})));
        let frame = value(&session.event(end.to_string()).unwrap());
        assert_eq!(frame["type"], end["type"]);
        assert_eq!(session.ended(), None, "it was told already");
    }
    body(&mut session, &create(&json!("three"), json!({"previous_response_id": "resp_1"})));
    session.event(json!({"type": "response.created", "response": {"id": "resp_3"}}).to_string());
    let cut = value(&session.ended().unwrap());
    assert_eq!((code(&cut), &cut["status"]), ("upstream_cut", &json!(502)));
    assert_eq!(
        code(&told(&mut session, &create(&json!("x"), json!({"previous_response_id": "resp_3"})))),
        "previous_response_not_found"
    );
}

#[test]
fn an_error_in_the_middle_has_a_status_and_the_rest_passes_as_it_came() {
    let mut session = Connection::new(0);
    body(&mut session, &create(&json!("one"), json!({})));
    let text = r#"{"type":"response.output_text.delta", "delta":"a", "odd":1.0}"#;
    assert_eq!(session.event(text.to_owned()).as_deref(), Some(text));
    let failed = r#"{"type":"response.failed","response":{"id":"r","error":{"code":"context_length_exceeded"}}}"#;
    assert_eq!(session.event(failed.to_owned()).as_deref(), Some(failed));
    body(&mut session, &create(&json!("one"), json!({})));
    let error = session.event(r#"{"type":"error","code":"x","message":"y"}"#.to_owned()).unwrap();
    assert_eq!(value(&error), json!({"type": "error", "code": "x", "message": "y", "status": 502}));
}

#[test]
fn the_first_event_tells_the_headers_and_a_lane_is_on_each() {
    let mut session = Connection::new(0);
    body(&mut session, &create(&json!("one"), json!({"stream_id": "main"})));
    session.answered([("x-request-id", "gen-1")].into_iter());
    let first = value(&session.event(r#"{"type":"response.created","response":{"id":"r"}}"#.to_owned()).unwrap());
    assert_eq!((&first["headers"], &first["stream_id"]), (&json!({"x-request-id": "gen-1"}), &json!("main")));
    let second = value(&session.event(r#"{"type":"response.in_progress"}"#.to_owned()).unwrap());
    assert_eq!((second.get("headers"), &second["stream_id"]), (None, &json!("main")));
}

#[test]
fn a_refusal_is_a_frame_with_its_status_and_headers() {
    let mut session = Connection::new(0);
    body(&mut session, &create(&json!("one"), json!({"stream_id": "main"})));
    let refusal = br#"{"error":{"message":"no","type":"rate_limit_error","code":"rate_limited","param":null}}"#;
    let frame = value(&session.refused(429, [("retry-after", "7")].into_iter(), refusal));
    let error = json!({"message": "no", "type": "rate_limit_error", "code": "rate_limited", "param": null});
    let expected = json!({"type": "error", "status": 429, "error": error, "headers": {"retry-after": "7"}, "stream_id": "main"});
    assert_eq!(frame, expected);
    body(&mut session, &create(&json!("x"), json!({"previous_response_id": "resp_x", "store": true})));
    let refusal = br#"{"error":{"message":"no","code":"invalid_request","param":"previous_response_id"}}"#;
    assert_eq!(code(&value(&session.refused(400, [].into_iter(), refusal))), "previous_response_not_found");
    body(&mut session, &create(&json!("x"), json!({})));
    assert_eq!(value(&session.refused(502, [].into_iter(), b"<html>"))["status"], 502);
}

#[test]
fn a_warm_up_calls_nobody_and_can_be_gone_on_from() {
    let mut session = Connection::new(0);
    let Step::Send(frames) = ask(&mut session, &create(&json!([user("one")]), json!({"generate": false}))) else {
        panic!("a warm-up is served")
    };
    let frames: Vec<Value> = frames.iter().map(|frame| value(frame)).collect();
    let kinds: Vec<&str> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["response.created", "response.in_progress", "response.completed"]);
    let last = &frames[2]["response"];
    assert_eq!((&last["output"], &last["usage"]["total_tokens"], &last["status"]), (&json!([]), &json!(0), &json!("completed")));
    let sent = body(&mut session, &create(&json!([user("two")]), json!({"previous_response_id": last["id"]})));
    assert_eq!(sent["input"], json!([user("one"), user("two")]));
    // The prefix may be all there is.
    let Step::Send(frames) = ask(&mut session, &create(&json!([user("one")]), json!({"generate": false}))) else { panic!() };
    let id = value(&frames[2])["response"]["id"].clone();
    let sent = body(&mut session, &create(&json!([]), json!({"previous_response_id": id})));
    assert_eq!(sent["input"], json!([user("one")]));
}

#[test]
fn a_compaction_stands_for_all_before_it() {
    let mut session = Connection::new(0);
    let input = json!([user("one"), {"type": "compaction_trigger"}]);
    body(&mut session, &create(&input, json!({})));
    let item = json!({"id": "cmp_1", "type": "compaction", "encrypted_content": "opaque"});
    answer(&mut session, "resp_1", std::slice::from_ref(&item));
    let sent = body(&mut session, &create(&json!([user("two")]), json!({"previous_response_id": "resp_1"})));
    assert_eq!(sent["input"], json!([item, user("two")]));
}

#[test]
fn a_thought_that_its_maker_does_not_know_again_is_not_sent_again() {
    let thought = |id: &str, proof: Value| json!({"id": id, "type": "reasoning", "summary": [], "encrypted_content": proof});
    let items = [thought("rs_0", Value::Null), thought("rs_1", json!("proof")), thought("rs_abc_2", Value::Null), said("m", "x")];
    for (store, expected) in [(false, vec!["rs_1", "rs_abc_2", "m"]), (true, vec!["rs_0", "rs_1", "rs_abc_2", "m"])] {
        let mut session = Connection::new(0);
        body(&mut session, &create(&json!([]), json!({"store": store})));
        answer(&mut session, "resp_abc", &items);
        let sent = body(&mut session, &create(&json!([]), json!({"previous_response_id": "resp_abc"})));
        let ids: Vec<&str> = sent["input"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected);
    }
}

#[test]
fn what_is_no_request_is_told_so_and_the_connection_goes_on() {
    let mut session = Connection::new(0);
    for (text, expected) in [
        ("hello", "invalid_json"),
        ("[]", "invalid_json"),
        (r#"{"type":"response.create","type":"response.create"}"#, "invalid_json"),
        (r#"{"model":"m"}"#, "invalid_request"),
        (r#"{"type":"response.append","input":[]}"#, "invalid_request"),
        (r#"{"type":"response.create","input":5}"#, "invalid_request"),
        (r#"{"type":"response.create","input":{"a":1}}"#, "invalid_request"),
        (r#"{"type":"response.create","stream_id":""}"#, "invalid_stream_id"),
        (r#"{"type":"response.create","stream_id":"a b"}"#, "invalid_stream_id"),
        (r#"{"type":"response.create","stream_id":7}"#, "invalid_stream_id"),
    ] {
        let Step::Send(frames) = session.frame(text, 0, "f") else { panic!("{text}") };
        assert_eq!(code(&value(&frames[0])), expected, "{text}");
    }
    assert_eq!(ask(&mut session, &json!({"type": "response.processed", "response_id": "r"})), Step::Send(vec![]));
    body(&mut session, &create(&json!("x"), json!({})));
}

#[test]
fn lanes_are_not_endless() {
    let mut session = Connection::new(0);
    for lane in 0..MOST_LANES {
        body(&mut session, &create(&json!("x"), json!({"stream_id": format!("lane-{lane}")})));
    }
    body(&mut session, &create(&json!("x"), json!({"stream_id": "lane-0"})));
    let error = told(&mut session, &create(&json!("x"), json!({"stream_id": "one-more"})));
    assert_eq!((code(&error), &error["stream_id"]), ("websocket_stream_limit_reached", &json!("one-more")));
}

#[test]
fn a_connection_comes_to_its_end_by_its_age_and_by_its_frames() {
    let create = create(&json!("x"), json!({})).to_string();
    let mut session = Connection::new(5_000);
    assert!(matches!(session.frame(&create, 5_000 + LONGEST_MS - 1, "f"), Step::Serve(_)));
    let Step::End(frame) = session.frame(&create, 5_000 + LONGEST_MS, "f") else { panic!() };
    assert_eq!(code(&value(&frame)), "websocket_connection_limit_reached");
    assert_eq!((session.patience_ms(5_000), session.patience_ms(5_000 + LONGEST_MS - 7)), (IDLE_MS, 7));
    let mut session = Connection::new(0);
    for _ in 0..MOST_FRAMES {
        assert!(matches!(session.frame("{}", 0, "f"), Step::Send(_)));
    }
    assert!(matches!(session.frame(&create, 0, "f"), Step::End(_)));
}

#[test]
fn no_more_is_remembered_than_the_bound() {
    let mut session = Connection::new(0);
    let long = "x".repeat(MOST_KEPT / 2);
    body(&mut session, &create(&json!([user(&long)]), json!({})));
    answer(&mut session, "resp_1", &[said("m", "short")]);
    assert!(session.kept_bytes() > MOST_KEPT / 2);
    // Two do not fit beside each other: the older goes.
    body(&mut session, &create(&json!([user(&long)]), json!({"stream_id": "b"})));
    answer(&mut session, "resp_b", &[said("m", "short")]);
    assert!(session.kept_bytes() < MOST_KEPT);
    assert_eq!(
        code(&told(&mut session, &create(&json!([]), json!({"previous_response_id": "resp_1"})))),
        "previous_response_not_found"
    );
    // Nor does one that is too long, in what goes in or in what comes out.
    body(&mut session, &create(&json!([user(&long)]), json!({"previous_response_id": "resp_b", "stream_id": "b"})));
    answer(&mut session, "resp_c", &[]);
    assert_eq!(session.kept_bytes(), 0);
    body(&mut session, &create(&json!([user("short")]), json!({})));
    answer(&mut session, "resp_d", &[said("m", &long), said("n", &long)]);
    assert_eq!(session.kept_bytes(), 0);
}

#[test]
fn a_request_is_no_longer_with_what_is_remembered_than_without() {
    let mut session = Connection::new(0);
    body(&mut session, &create(&json!([user(&"x".repeat(MOST_KEPT - 1_000))]), json!({})));
    answer(&mut session, "resp_1", &[]);
    let rest = user(&"x".repeat(LONGEST_FRAME - MOST_KEPT + 1_000));
    let error = told(&mut session, &create(&json!([rest]), json!({"previous_response_id": "resp_1"})));
    assert_eq!((code(&error), &error["status"]), ("request_too_large", &json!(400)));
    let wide = "\u{4e00}".repeat(LONGEST_FRAME / 3 + 1);
    assert_eq!(code(&told(&mut session, &create(&json!([user(&wide)]), json!({})))), "request_too_large");
    body(&mut session, &create(&json!([user("short")]), json!({"previous_response_id": "resp_1"})));
}

#[test]
fn events_are_cut_out_of_bytes_wherever_these_are_split() {
    let bytes = b": ping\n\nevent: a\ndata: {\"x\":1}\n\ndata: {\"y\":2}\n\n";
    for at in 0..bytes.len() {
        let mut cutter = Cutter::default();
        let mut found = cutter.push(&bytes[..at]);
        found.extend(cutter.push(&bytes[at..]));
        assert_eq!(found, [r#"{"x":1}"#, r#"{"y":2}"#]);
    }
}
