//! Clients of every dialect over channels of every dialect, over an outside in memory: what goes up, what comes down, who is
//! called with which credential, and what it costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::future::ready;

use futures_util::StreamExt;
use serde_json::{Value, json};
use support::outside::{Script, Simulation, secret};
use tokens_forge::account::Receipt;
use tokens_forge::catalog::{Catalog, UpstreamHosts};
use tokens_forge::dialect::EndpointPath;
use tokens_forge::id::RequestId;
use tokens_forge::money::Money;
use tokens_forge::relay::{Incoming, ReplyBody, RequestHead, serve};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";

const CHAT_ANSWER: &str = r#"{"id":"c1","model":"up","created":1,"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;
const MESSAGES_ANSWER: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"up","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":5}}"#;
const GEMINI_ANSWER: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15},"modelVersion":"up","responseId":"g1"}"#;
const RESPONSES_ANSWER: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"up","output":[{"type":"message","id":"m1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hi","annotations":[]}]}],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}"#;
const RESPONSES_GOES_ON: &str = r#"{"id":"resp_3","object":"response","created_at":1,"status":"completed","model":"up","previous_response_id":"resp_1","output":[{"type":"message","id":"m1","role":"assistant","status":"completed","content":[]}],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}"#;

fn catalog() -> Catalog {
    let channel = |dialect: &str, more: Value| {
        let mut channel = json!({"dialect": dialect, "base_url": format!("https://{dialect}.example.com/v1"), "secrets": ["K"],
            "first_byte_timeout_ms": 1000, "idle_timeout_ms": 5000});
        channel.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        channel
    };
    let model = |channel: &str| {
        json!({"name": "M", "family": "f", "kind": "chat", "context_length": 10000, "max_output_tokens": 1000, "routes": {
            "official": {"bucket": "credit", "price": {"input": "1", "output": "2"},
                         "candidates": [{"channel": channel, "upstream_model": "up"}]}}})
    };
    let voice = json!({"name": "V", "family": "f", "kind": "speech", "routes": {
        "official": {"bucket": "credit", "price": {"characters": "15"}, "candidates": [{"channel": "openai", "upstream_model": "up"}]}}});
    let document = json!({
        "version": 3,
        "buckets": {"credit": {"label": "C", "currency": "USD"}},
        "channels": {
            "openai": channel("openai", json!({"responses": true})),
            "anthropic": channel("anthropic", json!({})),
            "gemini": channel("gemini", json!({})),
            "pool": channel("openai", json!({"base_url": "https://pool.example.com/v1", "secrets": ["K1", "K2", "K3"], "responses": true})),
        },
        "models": {"voice": voice, "gpt": model("openai"), "claude": model("anthropic"), "gemini": model("gemini"), "pooled": model("pool")},
    });
    Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
}

fn simulation() -> Simulation {
    Simulation::ready(catalog(), &["credit"], json!({}))
}

/// Asks, reads the answer to its end, and lets what runs behind it end.
fn ask(simulation: &mut Simulation, path: &str, body: &Value) -> (u16, String) {
    ask_in_text(simulation, path, body.to_string())
}

fn ask_in_text(simulation: &mut Simulation, path: &str, body: String) -> (u16, String) {
    let head = RequestHead { credential: Some(secret().reveal()), ..RequestHead::default() };
    let incoming = Incoming { called: EndpointPath::at(path).unwrap(), head, body: ready(Ok(body.into_bytes().into())) };
    let future = serve(simulation.outside(), incoming);
    let answer = simulation.run(async move {
        let reply = future.await;
        let mut bytes = Vec::new();
        match reply.body {
            ReplyBody::Full(full) => bytes = full,
            ReplyBody::Stream(mut stream) => {
                while let Some(piece) = stream.next().await {
                    bytes.extend(piece.unwrap());
                }
            }
        }
        (reply.status, String::from_utf8(bytes).unwrap())
    });
    simulation.settle_down();
    answer
}

fn json_of(answer: &str) -> Value {
    serde_json::from_str(answer).unwrap_or_else(|_| panic!("{answer}"))
}

fn receipts(simulation: &Simulation) -> Vec<Receipt> {
    simulation.world.memory.borrow().receipts().into_iter().map(|(_, receipt)| receipt).collect()
}

#[test]
fn every_client_is_served_by_a_channel_of_every_dialect_at_the_same_charge() {
    let clients = [
        (
            CHAT,
            json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}),
            ["/choices/0/message/content", "/id", "/model"],
        ),
        (
            MESSAGES,
            json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}),
            ["/content/0/text", "/id", "/model"],
        ),
        (RESPONSES, json!({"input": "hello", "max_output_tokens": 50}), ["/output/0/content/0/text", "/id", "/model"]),
        (
            "/v1beta/models/{model}:generateContent",
            json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 50}}),
            ["/candidates/0/content/parts/0/text", "/responseId", "/modelVersion"],
        ),
    ];
    for (path, body, [text, id, name]) in clients {
        for model in ["gpt", "claude", "gemini"] {
            let mut simulation = simulation();
            let openai = if path == RESPONSES { RESPONSES_ANSWER } else { CHAT_ANSWER };
            simulation.script("openai.example.com", Script::Status(200, openai));
            simulation.script("anthropic.example.com", Script::Status(200, MESSAGES_ANSWER));
            simulation.script("gemini.example.com", Script::Status(200, GEMINI_ANSWER));
            let mut body = body.clone();
            if !path.contains('{') {
                body["model"] = json!(model);
            }
            let (status, answer) = ask(&mut simulation, &path.replace("{model}", model), &body);
            assert_eq!(status, 200, "{path} {model}: {answer}");
            assert_eq!(json_of(&answer).pointer(text), Some(&json!("hi")), "{path} {model}: {answer}");
            // 10 in at 1 and 5 out at 2 per million: 0.00002, whoever counts.
            assert!(answer.contains("\"cost\":0.00002,\"currency\":\"USD\""), "{path} {model}: {answer}");
            let receipt = receipts(&simulation).remove(0);
            // The answer tells its receipt and the public name, whatever upstream calls either.
            let told = |place| json_of(&answer).pointer(place).and_then(Value::as_str).map(ToOwned::to_owned).unwrap_or_default();
            assert_eq!(RequestId::of_answer(&told(id)), Some(receipt.id), "{path} {model}: {answer}");
            assert_eq!(told(name), model, "{path}: {answer}");
            assert_eq!(receipt.charge.to_string(), "0.00002", "{path} {model}");
        }
    }
}

#[test]
fn an_error_comes_in_the_callers_dialect() {
    let cases = [
        (CHAT, json!({"model": "none", "messages": []}), "/error/code", json!("model_not_found")),
        (MESSAGES, json!({"model": "none", "max_tokens": 1, "messages": []}), "/error/type", json!("not_found_error")),
        ("/v1beta/models/none:generateContent", json!({"contents": []}), "/error/status", json!("NOT_FOUND")),
    ];
    for (path, body, place, expected) in cases {
        let (status, answer) = ask(&mut simulation(), path, &body);
        assert_eq!((status, json_of(&answer).pointer(place)), (404, Some(&expected)), "{path}: {answer}");
    }
}

#[test]
fn what_cannot_be_said_in_a_channels_dialect_is_refused_by_name_and_nothing_is_held() {
    let mut simulation = simulation();
    let body = json!({"model": "claude", "messages": [{"role": "user", "content": "x"}], "n": 2, "max_tokens": 5});
    let (status, answer) = ask(&mut simulation, CHAT, &body);
    assert_eq!((status, &json_of(&answer)["error"]["param"]), (400, &json!("n")), "{answer}");
    assert!(!simulation.log().contains(&"hold".to_owned()), "{:?}", simulation.log());
    assert_eq!(receipts(&simulation).len(), 1);
}

#[test]
fn what_is_left_out_is_named_on_the_receipt() {
    let mut simulation = simulation();
    simulation.script("anthropic.example.com", Script::Status(200, MESSAGES_ANSWER));
    let body = json!({"model": "claude", "messages": [{"role": "user", "content": "x"}], "seed": 7, "max_tokens": 5});
    assert_eq!(ask(&mut simulation, CHAT, &body).0, 200);
    assert_eq!(receipts(&simulation).remove(0).dropped_parameters, ["seed"]);
}

#[test]
fn a_channels_credentials_take_turns_when_one_is_refused() {
    let body = |session: &str| json!({"model": "pooled", "session_id": session, "messages": [{"role": "user", "content": "x"}]});
    let mut simulation = simulation();
    simulation.script("pool.example.com", Script::Status(429, "{}"));
    for _ in 0..2 {
        simulation.script("pool.example.com", Script::Status(200, CHAT_ANSWER));
    }
    assert_eq!(ask(&mut simulation, CHAT, &body("s")).0, 200);
    assert_eq!(ask(&mut simulation, CHAT, &body("s")).0, 200);
    let used: Vec<String> = simulation.world.calls.borrow().iter().map(|call| call.secret.clone()).collect();
    assert_ne!(used[0], used[1], "after a 429 another one is asked");
    assert_eq!(used[1], used[2], "and the first rests");
    let receipt = receipts(&simulation).remove(0);
    let told: Vec<_> = receipt.attempts.iter().map(|attempt| attempt.credential.clone().unwrap()).collect();
    assert_eq!(told, used[..2]);
    assert!(simulation.world.health.borrow().candidates.values().all(|health| health.last_failure.is_none()));
    // After it has rested, the session gets its own back.
    simulation.world.now.set(simulation.world.now.get() + 60_000);
    simulation.script("pool.example.com", Script::Status(200, CHAT_ANSWER));
    assert_eq!(ask(&mut simulation, CHAT, &body("s")).0, 200);
    assert_eq!(simulation.world.calls.borrow().last().unwrap().secret, used[0]);
}

#[test]
fn every_credential_refused_is_a_refusal_with_the_largest_wait() {
    let mut simulation = simulation();
    for _ in 0..3 {
        simulation.script("pool.example.com", Script::Status(429, "{}"));
    }
    let body = json!({"model": "pooled", "messages": [{"role": "user", "content": "x"}]});
    let (status, answer) = ask(&mut simulation, CHAT, &body);
    let error = &json_of(&answer)["error"];
    assert_eq!((status, &error["metadata"]["retry_after_s"]), (429, &json!(9)), "{answer}");
    assert_eq!(error["metadata"]["attempts"].as_array().unwrap().len(), 3);
    assert_eq!(receipts(&simulation).remove(0).charge, Money::ZERO);
}

#[test]
fn a_conversation_that_the_provider_keeps_goes_back_to_who_made_it() {
    let mut simulation = simulation();
    simulation.script("pool.example.com", Script::Status(200, RESPONSES_ANSWER));
    let (_, answer) = ask(&mut simulation, RESPONSES, &json!({"model": "pooled", "input": "hello"}));
    let id = json_of(&answer)["id"].as_str().unwrap().to_owned();
    let receipt = receipts(&simulation).remove(0).id;
    let own = format!("resp_{receipt}_resp_1_tf");
    assert!(id.starts_with(&own) && id.len() == own.len() + 16, "{id}");
    assert_eq!(RequestId::of_answer(&id), Some(receipt.clone()));
    let maker = simulation.world.calls.borrow()[0].secret.clone();
    // An id from before ids named their request is one, too.
    let older = id.replace(&format!("{receipt}_resp_"), "");
    for previous in [&id, &older, &id, &older, &id] {
        simulation.script("pool.example.com", Script::Status(200, RESPONSES_GOES_ON));
        let body = json!({"model": "pooled", "input": "and?", "previous_response_id": previous});
        let (status, answer) = ask(&mut simulation, RESPONSES, &body);
        assert_eq!((status, &json_of(&answer)["previous_response_id"]), (200, &json!(previous)), "{answer}");
        let calls = simulation.world.calls.borrow();
        let last = calls.last().unwrap();
        assert_eq!((last.secret.as_str(), &json_of(&last.body)["previous_response_id"]), (maker.as_str(), &json!("resp_1")));
    }
    let translated = format!("resp_{receipt}");
    for unknown in
        ["resp_1", "resp_2_tf0123456789abcdef", &id.replace("resp_1", "resp_2"), &older.replace("resp_1", "resp_2"), &translated]
    {
        let body = json!({"model": "pooled", "input": "and?", "previous_response_id": unknown});
        let (status, answer) = ask(&mut simulation, RESPONSES, &body);
        assert_eq!((status, &json_of(&answer)["error"]["param"]), (400, &json!("previous_response_id")), "{answer}");
    }
    let before = simulation.world.calls.borrow().len();
    let body = json!({"model": "claude", "input": "and?", "previous_response_id": id});
    assert_eq!(ask(&mut simulation, RESPONSES, &body).0, 400);
    assert_eq!(simulation.world.calls.borrow().len(), before, "nobody was called");
}

#[test]
fn only_the_headers_of_its_own_dialect_go_up() {
    for (model, expected) in
        [("claude", vec!["anthropic-beta", "anthropic-version", "content-type"]), ("gpt", vec!["content-type"])]
    {
        let mut simulation = simulation();
        simulation.script("openai.example.com", Script::Status(200, CHAT_ANSWER));
        simulation.script("anthropic.example.com", Script::Status(200, MESSAGES_ANSWER));
        let head = RequestHead {
            credential: Some(secret().reveal()),
            passed: vec![("anthropic-beta", "some-2026".to_owned())],
            ..RequestHead::default()
        };
        let body = json!({"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}).to_string();
        let incoming = Incoming { called: EndpointPath::at(MESSAGES).unwrap(), head, body: ready(Ok(body.into_bytes().into())) };
        let future = serve(simulation.outside(), incoming);
        assert_eq!(simulation.run(async move { future.await.status }), 200);
        let mut names: Vec<&str> = simulation.world.calls.borrow()[0].headers.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{model}");
    }
}

#[test]
fn counting_tokens_is_free_and_has_a_receipt() {
    let mut simulation = simulation();
    simulation.script("anthropic.example.com", Script::Status(200, r#"{"input_tokens":14}"#));
    let body = json!({"model": "claude", "messages": [{"role": "user", "content": "x"}]});
    let (status, answer) = ask(&mut simulation, "/v1/messages/count_tokens", &body);
    assert_eq!((status, answer.as_str()), (200, r#"{"input_tokens":14}"#));
    let receipt = receipts(&simulation).remove(0);
    assert_eq!((receipt.charge, receipt.no_charge_reason.is_some()), (Money::ZERO, true));
}

#[test]
fn the_input_of_a_response_is_counted_for_free_by_whoever_can() {
    let count = r#"{"object":"response.input_tokens","input_tokens":14}"#;
    for (model, told) in [("gpt", 200), ("gpt", 404), ("claude", 0), ("gemini", 0)] {
        let mut simulation = simulation();
        if told > 0 {
            simulation.script("openai.example.com", Script::Status(told, if told == 200 { count } else { "{}" }));
        }
        let body = json!({"model": model, "instructions": "be kind", "input": [{"role": "user", "content": "hello there"}]});
        let (status, answer) = ask(&mut simulation, "/v1/responses/input_tokens", &body);
        let answer = json_of(&answer);
        assert_eq!((status, &answer["object"]), (200, &json!("response.input_tokens")), "{model} {told}: {answer}");
        assert!(if told == 200 { answer["input_tokens"] == 14 } else { answer["input_tokens"].as_u64() > Some(3) }, "{answer}");
        assert_eq!(receipts(&simulation).remove(0).charge, Money::ZERO);
    }
    for member in [r#"{"conversation":"conv_1"}"#, r#"{"prompt":{"id":"pmpt_1"}}"#] {
        let (name, mut body) = (json_of(member).as_object().unwrap().keys().next().unwrap().clone(), json_of(member));
        body["model"] = json!("gpt");
        body["input"] = json!("x");
        for path in ["/v1/responses/input_tokens", RESPONSES] {
            let (status, answer) = ask(&mut simulation(), path, &body);
            let error = &json_of(&answer)["error"];
            assert_eq!((status, &error["param"]), (400, &json!(name)), "{answer}");
            assert!(!error["message"].as_str().unwrap().contains("price"), "for its true reason: {answer}");
        }
    }
}

/// The events of a stream, with or without those by which it would be known to be whole.
fn stream(events: &[&str], end: &str, has_end: bool) -> &'static str {
    let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    (events + if has_end { end } else { "" }).leak()
}

#[test]
fn a_stream_that_has_told_why_it_ended_is_complete_when_it_ends() {
    let chunk = |index: u32, text: &str, finish: &str| {
        format!(
            r#"{{"id":"c","created":1,"model":"up","choices":[{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":{finish}}}]}}"#
        )
    };
    let (said, ended) = (chunk(0, "hi", "null"), chunk(0, "", "\"stop\""));
    let (other, broke_off) = (chunk(1, "ho", "null"), chunk(0, "", "\"error\""));
    let usage = r#"{"id":"c","created":1,"model":"up","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
    let begun = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"up","content":[],"usage":{"input_tokens":10,"output_tokens":1}}}"#;
    let block = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let words = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#;
    let closed = r#"{"type":"content_block_stop","index":0}"#;
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":5}}"#;
    let (done, stop) = ("data: [DONE]\n\n", "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    let chat = ["gpt", "openai.example.com", done];
    let messages = ["claude", "anthropic.example.com", stop];
    for ([model, host, end], events, is_whole, is_counted) in [
        (chat, vec![said.as_str(), &ended, usage], true, true),
        (chat, vec![&said, &ended], true, false),
        (chat, vec![&said], false, false),
        (chat, vec![&said, &other, &ended], false, false),
        (chat, vec![&said, &broke_off], false, false),
        (messages, vec![begun, block, words, closed, delta], true, true),
        (messages, vec![begun, block, words, closed], false, false),
    ] {
        for (path, last) in [(CHAT, "data: [DONE]"), (MESSAGES, "message_stop")] {
            let answer = |has_end: bool| {
                let mut simulation = simulation();
                simulation.script(host, Script::Pieces(vec![stream(&events, end, has_end)]));
                let body =
                    json!({"model": model, "max_tokens": 50, "stream": true, "messages": [{"role": "user", "content": "hello"}]});
                let (_, answer) = ask(&mut simulation, path, &body);
                (answer, receipts(&simulation).remove(0))
            };
            let (told, receipt) = answer(false);
            let expected = if is_whole { "completed" } else { "truncated" };
            assert_eq!((receipt.status.as_str(), told.contains(last)), (expected, is_whole), "{path} {events:?}: {told}");
            assert_eq!(receipt.charge > Money::ZERO, is_whole, "{path} {events:?}");
            if is_counted {
                assert_eq!(receipt.charge.to_string(), "0.00002", "{path} {events:?}");
            }
            if is_whole {
                let (whole, counted) = answer(true);
                assert_eq!(receipt.charge, counted.charge, "with its last event it costs the same");
                // But for the ids, which are each request's own, and signs of life.
                let plain = |text: &str| {
                    let signs =
                        [receipt.id.as_str(), counted.id.as_str(), ": ping\n\n", "event: ping\ndata: {\"type\":\"ping\"}\n\n"];
                    signs.into_iter().fold(text.to_owned(), |text, sign| text.replace(sign, ""))
                };
                assert_eq!(plain(&told), plain(&whole), "{path} {events:?}");
            }
        }
    }
}

#[test]
fn what_a_request_may_contain_is_told_in_the_callers_dialect_before_anything_is_sent() {
    let names = |count: usize| (0..count).map(|at| format!("m{at}")).collect::<Vec<_>>();
    let tool = json!({"type": "function", "name": "f", "function": {"name": "f"}, "input_schema": {"type": "object"}});
    for (path, member, value, param, counts) in [
        (CHAT, "models", json!(names(100_000)), "models", (100_000, 16)),
        (MESSAGES, "tools", json!(vec![tool.clone(); 5_000]), "tools", (5_000, 4_096)),
        (RESPONSES, "tools", json!(vec![tool; 4_097]), "tools", (4_097, 4_096)),
        (CHAT, "provider", json!({"only": names(65)}), "provider.only", (65, 64)),
        (CHAT, "stop", json!(names(300)), "stop", (300, 256)),
    ] {
        let mut simulation = simulation();
        let mut body = json!({"model": "gpt", "max_tokens": 5, "input": "x", "messages": [{"role": "user", "content": "x"}]});
        body[member] = value;
        let (status, answer) = ask(&mut simulation, path, &body);
        let error = &json_of(&answer)["error"];
        let told = if path == MESSAGES { &error["metadata"]["param"] } else { &error["param"] };
        assert_eq!((status, told), (400, &json!(param)), "{answer}");
        assert_eq!((&error["metadata"]["count"], &error["metadata"]["limit"]), (&json!(counts.0), &json!(counts.1)), "{answer}");
        assert!(error["message"].as_str().unwrap().contains(&counts.1.to_string()), "{answer}");
        assert!(simulation.world.calls.borrow().is_empty());
    }
    // Without a member to name: nests, and members by the thousand.
    let members: serde_json::Map<_, _> = (0..20_000).map(|at| (format!("x{at}"), json!(1))).collect();
    let nest = format!("{{\"model\":\"gpt\",\"messages\":[],\"x\":{}{}}}", "[".repeat(500), "]".repeat(500));
    for body in [json!(members).to_string(), nest] {
        let (status, answer) = ask_in_text(&mut simulation(), CHAT, body);
        assert_eq!((status, &json_of(&answer)["error"]["param"]), (400, &Value::Null), "{answer}");
    }
}

#[test]
fn sound_that_is_cut_ends_in_a_broken_connection_and_costs_nothing() {
    for (script, status, charge) in [
        (Script::Pieces(vec!["ID3", "sound"]), "completed", "0.000075"),
        (Script::Broken(vec!["ID3", "sound"]), "truncated", "0"),
        (Script::Silent(vec!["ID3", "sound"]), "truncated", "0"),
    ] {
        let mut simulation = simulation();
        simulation.script("openai.example.com", script.clone());
        let head = RequestHead { credential: Some(secret().reveal()), ..RequestHead::default() };
        let body = json!({"model": "voice", "input": "hello", "voice": "alloy"}).to_string();
        let called = EndpointPath::at("/v1/audio/speech").unwrap();
        let future = serve(simulation.outside(), Incoming { called, head, body: ready(Ok(body.into_bytes().into())) });
        let (bytes, is_broken) = simulation.run(async move {
            let ReplyBody::Stream(mut stream) = future.await.body else { panic!("sound is streamed") };
            let (mut bytes, mut is_broken) = (Vec::new(), false);
            while let Some(piece) = stream.next().await {
                match piece {
                    Ok(piece) => bytes.extend(piece),
                    Err(_) => is_broken = true,
                }
            }
            (bytes, is_broken)
        });
        simulation.settle_down();
        assert_eq!((bytes.as_slice(), is_broken), (b"ID3sound".as_slice(), status == "truncated"), "{script:?}");
        let receipt = receipts(&simulation).remove(0);
        // 5 characters at 15 a million.
        assert_eq!((receipt.status.as_str(), receipt.charge.to_string().as_str()), (status, charge), "{script:?}");
    }
}

/// Which credential of the pool each of these was called with.
fn credentials(bodies: &[Value]) -> Vec<String> {
    let mut simulation = simulation();
    for body in bodies {
        simulation.script("pool.example.com", Script::Status(200, CHAT_ANSWER));
        assert_eq!(ask(&mut simulation, CHAT, body).0, 200);
    }
    simulation.world.calls.borrow().iter().map(|call| call.secret.clone()).collect()
}

#[test]
fn a_conversation_without_a_name_stays_with_its_credential() {
    let turn = |first: &str, turns: usize| {
        let mut messages = vec![json!({"role": "system", "content": "Be brief."}), json!({"role": "user", "content": first})];
        for _ in 0..turns {
            messages.push(json!({"role": "assistant", "content": "hi"}));
            messages.push(json!({"role": "user", "content": "and?"}));
        }
        json!({"model": "pooled", "messages": messages})
    };
    let used = credentials(&(0..6).map(|turns| turn("hello", turns)).collect::<Vec<_>>());
    assert!(used.iter().all(|secret| *secret == used[0]), "{used:?}");
    let mut used = credentials(&(0..30).map(|n| turn(&format!("hello {n}"), 0)).collect::<Vec<_>>());
    used.sort();
    used.dedup();
    assert_eq!(used, ["K1", "K2", "K3"], "others spread");
}

#[test]
fn a_session_in_a_header_is_one_unless_the_body_names_another() {
    let serve_with = |simulation: &mut Simulation, session: &str, body: Value| {
        simulation.script("pool.example.com", Script::Status(200, CHAT_ANSWER));
        let head =
            RequestHead { credential: Some(secret().reveal()), session: Some(session.to_owned()), ..RequestHead::default() };
        let incoming =
            Incoming { called: EndpointPath::at(CHAT).unwrap(), head, body: ready(Ok(body.to_string().into_bytes().into())) };
        let future = serve(simulation.outside(), incoming);
        assert_eq!(simulation.run(async move { future.await.status }), 200);
        simulation.settle_down();
        simulation.world.calls.borrow().last().unwrap().secret.clone()
    };
    let mut simulation = simulation();
    let said = |n: u32| json!({"model": "pooled", "messages": [{"role": "user", "content": format!("hello {n}")}]});
    let of_header: Vec<_> = (0..10).map(|n| serve_with(&mut simulation, "s", said(n))).collect();
    assert!(of_header.iter().all(|secret| *secret == of_header[0]), "{of_header:?}");
    let named = |n: u32| json!({"model": "pooled", "session_id": "t", "messages": [{"role": "user", "content": n.to_string()}]});
    let of_body: Vec<_> = (0..10).map(|n| serve_with(&mut simulation, &format!("s{n}"), named(n))).collect();
    assert!(of_body.iter().all(|secret| *secret == of_body[0]), "{of_body:?}");
}

#[test]
fn the_billing_line_goes_to_nobody_and_is_named() {
    let line = "x-anthropic-billing-header: cc_version=2.1.197; cc_entrypoint=cli; cch=abc12;";
    for (model, answer) in [("claude", MESSAGES_ANSWER), ("gpt", CHAT_ANSWER), ("gemini", GEMINI_ANSWER)] {
        let mut simulation = simulation();
        let mut sent = Vec::new();
        for cch in ["abc12", "def34"] {
            for host in ["openai", "anthropic", "gemini"] {
                simulation.script(&format!("{host}.example.com"), Script::Status(200, answer));
            }
            let body = json!({"model": model, "max_tokens": 50,
                "system": [{"type": "text", "text": line.replace("abc12", cch)}, {"type": "text", "text": "Be brief."}],
                "messages": [{"role": "user", "content": "hello"}]});
            let (status, answer) = ask(&mut simulation, MESSAGES, &body);
            assert_eq!(status, 200, "{answer}");
            sent.push(simulation.world.calls.borrow().last().unwrap().body.clone());
        }
        assert_eq!(sent[0], sent[1], "both turns begin alike");
        assert!(!sent[0].contains("billing") && sent[0].contains("Be brief."), "{}", sent[0]);
        for receipt in receipts(&simulation) {
            assert_eq!(receipt.dropped_parameters, ["x-anthropic-billing-header"], "{model}");
        }
    }
    let mut simulation = simulation();
    simulation.script("anthropic.example.com", Script::Status(200, r#"{"input_tokens":5}"#));
    let body = json!({"model": "claude", "system": format!("{line}\nBe brief."), "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(ask(&mut simulation, "/v1/messages/count_tokens", &body).0, 200);
    let calls = simulation.world.calls.borrow();
    assert_eq!(json_of(&calls[0].body)["system"], "Be brief.");
}
