//! Requests of responses that refer to items which the gateway itself wrote, over channels of every dialect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::future::ready;

use futures_util::StreamExt;
use serde_json::{Value, json};
use support::outside::{Script, Simulation, secret};
use tokens_forge::account::KEPT_MS;
use tokens_forge::catalog::{Catalog, UpstreamHosts};
use tokens_forge::dialect::EndpointPath;
use tokens_forge::id::KeySecret;
use tokens_forge::relay::{Incoming, ReplyBody, RequestHead, serve};
use tokens_forge::time::Timestamp;

const CHAT_ANSWER: &str = r#"{"id":"c1","model":"up","created":1,"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi","tool_calls":[{"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"at\":1.0}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;
const CHAT_STREAM: [&str; 5] = [
    "data: {\"id\":\"c1\",\"model\":\"up\",\"created\":1,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"h\"}}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"up\",\"created\":1,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"i\"}}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"up\",\"created\":1,\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"at\\\":1.0}\"}}]}}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"up\",\"created\":1,\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"up\",\"created\":1,\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n",
];
const MESSAGES_ANSWER: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"up","content":[{"type":"thinking","thinking":"let me see","signature":"proof"},{"type":"text","text":"hi"},{"type":"tool_use","id":"call_1","name":"look","input":{"at":1.0}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":5}}"#;
const GEMINI_ANSWER: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"},{"functionCall":{"id":"call_1","name":"look","args":{"at":1.0}}}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15},"modelVersion":"up","responseId":"g1"}"#;
const RESPONSES_ANSWER: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"up","output":[{"type":"message","id":"msg_68a","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hi","annotations":[]}]}],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}"#;

const MODELS: [(&str, &str); 4] =
    [("chat", CHAT_ANSWER), ("claude", MESSAGES_ANSWER), ("gemini", GEMINI_ANSWER), ("native", RESPONSES_ANSWER)];

fn catalog() -> Catalog {
    let channel = |name: &str, dialect: &str, responses: bool| {
        let mut channel = json!({"dialect": dialect, "base_url": format!("https://{name}.example.com/v1"), "secrets": ["K"],
            "first_byte_timeout_ms": 1000, "idle_timeout_ms": 5000});
        if responses {
            channel["responses"] = json!(true);
        }
        channel
    };
    let model = |channel: &str| {
        json!({"name": "M", "family": "f", "kind": "chat", "context_length": 10000, "max_output_tokens": 1000, "routes": {
            "official": {"bucket": "credit", "price": {"input": "1", "output": "2"},
                         "candidates": [{"channel": channel, "upstream_model": "up"}]}}})
    };
    let document = json!({
        "version": 3,
        "buckets": {"credit": {"label": "C", "currency": "USD"}},
        "channels": {
            "chat": channel("chat", "openai", false),
            "claude": channel("claude", "anthropic", false),
            "gemini": channel("gemini", "gemini", false),
            "native": channel("native", "openai", true),
        },
        "models": {"chat": model("chat"), "claude": model("claude"), "gemini": model("gemini"), "native": model("native")},
    });
    Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
}

fn simulation() -> Simulation {
    Simulation::ready(catalog(), &["credit"], json!({}))
}

/// Asks with a credential and reads the answer to its end; what runs behind it is left to run.
fn ask_with(simulation: &mut Simulation, credential: KeySecret, body: &Value) -> (u16, String) {
    let head = RequestHead { credential: Some(credential.reveal()), ..RequestHead::default() };
    let incoming = Incoming {
        called: EndpointPath::at("/v1/responses").unwrap(),
        head,
        body: ready(Ok(body.to_string().into_bytes().into())),
    };
    let future = serve(simulation.outside(), incoming);
    simulation.run(async move {
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
    })
}

fn ask(simulation: &mut Simulation, body: &Value) -> (u16, String) {
    let answer = ask_with(simulation, secret(), body);
    simulation.settle_down();
    answer
}

fn script(simulation: &Simulation, model: &str) {
    let (name, answer) = MODELS.into_iter().find(|(name, _)| *name == model).unwrap();
    simulation.script(&format!("{name}.example.com"), Script::Status(200, answer));
}

/// The items of an answer, as the client has them.
fn output(answer: &str) -> Vec<Value> {
    let value: Value = serde_json::from_str(answer).unwrap_or_else(|_| panic!("{answer}"));
    value["output"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

/// The second turn: everything that was answered is referred to, and the call has its result.
fn second(model: &str, items: &[Value]) -> Value {
    let references = items.iter().map(|item| json!({"type": "item_reference", "id": item["id"]}));
    let mut input = vec![json!({"role": "user", "content": "look there"})];
    input.extend(references);
    input.push(json!({"type": "function_call_output", "call_id": "call_1", "output": "nothing"}));
    json!({"model": model, "input": input, "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}]})
}

fn first(model: &str) -> Value {
    json!({"model": model, "input": "look there", "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}]})
}

fn sent(simulation: &Simulation) -> String {
    simulation.world.calls.borrow().last().unwrap().body.clone()
}

/// How often the account was asked for what is kept.
fn asked_for(simulation: &Simulation) -> usize {
    simulation.log().iter().filter(|line| *line == "kept").count()
}

#[test]
fn what_was_translated_can_be_referred_to_over_every_channel() {
    for maker in ["chat", "claude", "gemini"] {
        for (server, _) in MODELS {
            let mut simulation = simulation();
            script(&simulation, maker);
            let (status, answer) = ask(&mut simulation, &first(maker));
            assert_eq!(status, 200, "{answer}");
            let items = output(&answer);
            assert_eq!(asked_for(&simulation), 0, "a request without references asks for nothing");
            script(&simulation, server);
            let (status, answer) = ask(&mut simulation, &second(server, &items));
            assert_eq!(status, 200, "{maker}, then {server}: {answer}");
            let sent = sent(&simulation);
            assert!(!sent.contains("item_reference") && sent.contains("\"hi\""), "{maker}, then {server}: {sent}");
            assert!(sent.contains("\"look\"") && sent.contains("at") && sent.contains("1.0"), "{maker}, then {server}: {sent}");
            assert_eq!(asked_for(&simulation), 1);
            assert_eq!(simulation.world.memory.borrow().holds.len(), 0);
            simulation.world.memory.borrow().check_law();
        }
    }
}

#[test]
fn whole_items_and_references_come_to_the_same_request() {
    for (server, _) in MODELS {
        let mut simulation = simulation();
        script(&simulation, "claude");
        let (_, answer) = ask(&mut simulation, &first("claude"));
        let items = output(&answer);
        let mut bodies = Vec::new();
        let referring = second(server, &items);
        let mut whole = referring.clone();
        whole["input"].as_array_mut().unwrap().splice(1..=items.len(), items.clone());
        for body in [referring, whole] {
            script(&simulation, server);
            assert_eq!(ask(&mut simulation, &body).0, 200);
            bodies.push(serde_json::from_str::<Value>(&sent(&simulation)).unwrap());
        }
        assert_eq!(bodies[0], bodies[1], "{server}");
    }
}

#[test]
fn a_stream_is_kept_as_it_was_written() {
    let mut simulation = simulation();
    simulation.script("chat.example.com", Script::Pieces(CHAT_STREAM.to_vec()));
    let mut body = first("chat");
    body["stream"] = json!(true);
    let (status, out) = ask(&mut simulation, &body);
    assert_eq!(status, 200, "{out}");
    let last = out.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let response = serde_json::from_str::<Value>(last).unwrap()["response"].clone();
    assert_eq!(response["store"], true);
    let items = output(&response.to_string());
    assert_eq!(items.len(), 2);
    script(&simulation, "native");
    assert_eq!(ask(&mut simulation, &second("native", &items)).0, 200);
    let sent: Value = serde_json::from_str(&sent(&simulation)).unwrap();
    assert_eq!(sent["input"].as_array().unwrap()[1..3], items);
}

#[test]
fn a_cut_stream_is_not_kept() {
    let mut simulation = simulation();
    simulation.script("chat.example.com", Script::Broken(CHAT_STREAM[..3].to_vec()));
    let mut body = first("chat");
    body["stream"] = json!(true);
    ask(&mut simulation, &body);
    assert_eq!(simulation.world.memory.borrow().kept.len(), 0);
}

#[test]
fn no_two_answers_have_an_item_of_the_same_id() {
    let mut simulation = simulation();
    let mut ids = std::collections::BTreeSet::new();
    for store in [true, false] {
        for _ in 0..2 {
            script(&simulation, "chat");
            let mut body = first("chat");
            body["store"] = json!(store);
            let (_, answer) = ask(&mut simulation, &body);
            for item in output(&answer) {
                assert!(ids.insert(item["id"].to_string()), "{item}");
            }
        }
    }
    assert_eq!(ids.len(), 8);
}

#[test]
fn nothing_is_kept_where_the_client_or_a_provider_keeps_it() {
    let mut simulation = simulation();
    script(&simulation, "chat");
    let mut body = first("chat");
    body["store"] = json!(false);
    let (_, answer) = ask(&mut simulation, &body);
    assert!(answer.contains("\"store\":false"), "{answer}");
    let items = output(&answer);
    script(&simulation, "native");
    ask(&mut simulation, &first("native"));
    assert_eq!(simulation.world.memory.borrow().kept.len(), 0);
    // A provider's own items are its own affair, as far as they were made for this account.
    script(&simulation, "native");
    let (_, answer) = ask(&mut simulation, &first("native"));
    let told = output(&answer)[0]["id"].as_str().unwrap().to_owned();
    let (own, _) = told.rsplit_once("_tf").unwrap();
    let refer = |id: &str| json!({"model": "native", "input": [{"type": "item_reference", "id": id}]});
    script(&simulation, "native");
    assert_eq!(ask(&mut simulation, &refer(&told)).0, 200);
    assert!(sent(&simulation).contains(&format!("{{\"type\":\"item_reference\",\"id\":\"{own}\"}}")), "{}", sent(&simulation));
    assert_eq!(asked_for(&simulation), 0);
    let calls = simulation.world.calls.borrow().len();
    for made_up in [own, "msg_68b", &told.replace("_tf", "0_tf"), "rs_68a_tf0123456789abcdef"] {
        let (status, answer) = ask(&mut simulation, &refer(made_up));
        assert_eq!(status, 400, "{made_up}: {answer}");
        assert!(answer.contains("input[0].id") && answer.contains("store: false"), "{answer}");
    }
    assert_eq!(simulation.world.calls.borrow().len(), calls, "nothing of it went up");
    let (status, answer) = ask(&mut simulation, &second("chat", &items));
    assert_eq!(status, 400, "{answer}");
}

#[test]
fn what_is_not_kept_is_refused_with_what_to_do() {
    let mut simulation = simulation();
    script(&simulation, "chat");
    let (_, answer) = ask(&mut simulation, &first("chat"));
    let items = output(&answer);
    let never = json!({"id": format!("msg_gen-{}_0", "0".repeat(26))});
    let theirs = json!({"id": "msg_68a"});
    let check = |(status, answer): (u16, String), param: &str| {
        let error = serde_json::from_str::<Value>(&answer).unwrap()["error"].clone();
        assert_eq!((status, &error["param"], &error["code"]), (400, &json!(param), &json!("invalid_request")), "{answer}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("store: false") && message.contains("providerOptions"), "{message}");
    };
    check(ask(&mut simulation, &second("chat", &[items[0].clone(), never])), "input[2].id");
    check(ask(&mut simulation, &second("chat", &[theirs])), "input[1].id");
    // Another key, of the same account even.
    let other = ask_with(&mut simulation, KeySecret::new([2; 24]), &second("chat", &items));
    simulation.settle_down();
    check(other, "input[1].id");
    let now = simulation.world.now.get();
    simulation.world.now.set(now + KEPT_MS + 1_000);
    check(ask(&mut simulation, &second("chat", &items)), "input[1].id");
    simulation.world.memory.borrow_mut().tick(Timestamp::from_millis(now + KEPT_MS + 1_000));
    assert_eq!(simulation.world.memory.borrow().kept.len(), 0);
    assert_eq!(simulation.world.calls.borrow().len(), 1, "nobody was called");
    let receipts = simulation.world.memory.borrow().receipts().len();
    assert_eq!(receipts, 5, "each has its receipt");
}

#[test]
fn a_client_that_is_faster_than_the_settlement_waits_for_it() {
    for (failing, expected) in [(2, 200), (5, 503)] {
        let mut simulation = simulation();
        script(&simulation, "chat");
        simulation.world.failing.borrow_mut().insert("settle", failing);
        let (_, answer) = ask_with(&mut simulation, secret(), &first("chat"));
        assert_eq!(simulation.world.memory.borrow().holds.len(), 1, "it is not settled yet");
        script(&simulation, "chat");
        let (status, answer) = ask(&mut simulation, &second("chat", &output(&answer)));
        assert_eq!(status, expected, "{answer}");
        assert!(asked_for(&simulation) > 1);
    }
}

#[test]
fn an_account_that_does_not_answer_is_a_refusal_that_says_when() {
    let mut simulation = simulation();
    script(&simulation, "chat");
    let (_, answer) = ask(&mut simulation, &first("chat"));
    simulation.world.failing.borrow_mut().insert("kept", 1);
    let (status, refused) = ask(&mut simulation, &second("chat", &output(&answer)));
    assert_eq!(status, 503, "{refused}");
}

#[test]
fn a_translated_response_is_gone_on_from_by_its_items_alone() {
    let mut simulation = simulation();
    script(&simulation, "chat");
    let (_, answer) = ask(&mut simulation, &first("chat"));
    let id = serde_json::from_str::<Value>(&answer).unwrap()["id"].clone();
    let (status, refused) = ask(&mut simulation, &json!({"model": "chat", "input": "and?", "previous_response_id": id}));
    let error = serde_json::from_str::<Value>(&refused).unwrap()["error"].clone();
    assert_eq!((status, &error["param"]), (400, &json!("previous_response_id")));
    assert!(error["message"].as_str().unwrap().contains("item_reference"), "{error}");
}
