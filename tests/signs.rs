//! Signs of life: what the client of a stream is told while upstream says nothing, before the answer and within it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use serde_json::{Value, json};
use support::outside::{Outside, Script, Simulation, secret};
use tokens_forge::account::{Receipt, RequestStatus};
use tokens_forge::catalog::{Catalog, UpstreamHosts};
use tokens_forge::dialect::EndpointPath;
use tokens_forge::relay::{Incoming, Reply, ReplyBody, RequestHead, serve};

const FIRST: &str =
    "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"12345678\"}}]}\n\n";
const USAGE: &str = "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const COMMENT: &str = ": OPENROUTER PROCESSING\n\n";
const CREATED: &str = "data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_up\",\"model\":\"m\",\"status\":\"in_progress\",\"output\":[]}}\n\n";
const COMPLETED: &str = "data: {\"type\":\"response.completed\",\"sequence_number\":1,\"response\":{\"id\":\"resp_up\",\"model\":\"m\",\"status\":\"completed\",\"output\":[]}}\n\n";

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/m:streamGenerateContent";

/// Two channels; each waits 20 s for a first byte, and bears 40 s of silence.
fn catalog() -> Catalog {
    let channel = |host: &str, has_responses: bool| {
        json!({"dialect": "openai", "base_url": format!("https://{host}.example.com/v1"), "secrets": ["K"], "responses": has_responses,
               "first_byte_timeout_ms": 20_000, "idle_timeout_ms": 40_000})
    };
    let model = |candidates: Value| {
        let route = json!({"bucket": "credit", "price": {"input": "1", "output": "2"}, "candidates": candidates});
        json!({"name": "M", "family": "f", "kind": "chat", "context_length": 1000, "max_output_tokens": 100, "routes": {"official": route}})
    };
    let candidate = |channel: &str, tier: u8| json!({"channel": channel, "upstream_model": "m", "tier": tier});
    let document = json!({
        "version": 3, "hold_timeout_ms": 60_000,
        "buckets": {"credit": {"label": "C", "currency": "USD"}},
        "channels": {"a": channel("a", false), "b": channel("b", false), "r": channel("r", true)},
        "models": {"m": model(json!([candidate("a", 0), candidate("b", 1)])), "native": model(json!([candidate("r", 0)]))},
    });
    Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
}

fn simulation(scripts: &[(&str, Script)]) -> Simulation {
    let simulation = Simulation::ready(catalog(), &["credit"], json!({}));
    for (host, script) in scripts {
        simulation.script(&format!("{host}.example.com"), script.clone());
    }
    simulation
}

fn ask(ports: &Outside, path: &str, model: &str) -> impl Future<Output = Reply> + use<> {
    let (model, stores) = model.strip_suffix(", not kept").map_or((model, true), |model| (model, false));
    let body = match path {
        RESPONSES => json!({"model": model, "stream": true, "input": "hello", "max_output_tokens": 50, "store": stores}),
        GEMINI => json!({"contents": [{"parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 50}}),
        _ => json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}),
    };
    let head = RequestHead { credential: Some(secret().reveal()), ..RequestHead::default() };
    serve(
        ports.clone(),
        Incoming { called: EndpointPath::at(path).unwrap(), head, body: ready(Ok(body.to_string().into_bytes().into())) },
    )
}

/// What the client got, each piece with the second at which it came.
struct Got {
    reply: (u16, Vec<(&'static str, String)>),
    pieces: Vec<(i64, String)>,
}

impl Got {
    fn text(&self) -> String {
        self.pieces.iter().map(|(_, piece)| piece.as_str()).collect()
    }

    /// When pieces with these words came, in seconds.
    fn at(&self, words: &str) -> Vec<i64> {
        self.pieces.iter().filter(|(_, piece)| piece.contains(words)).map(|(at, _)| *at).collect()
    }
}

fn get(simulation: &mut Simulation, path: &str, model: &str) -> Got {
    let (outside, world) = (simulation.outside(), simulation.world.clone());
    let started = world.now.get();
    let future = ask(&outside, path, model);
    let got = simulation.run(async move {
        let reply = future.await;
        let second = || (world.now.get() - started) / 1000;
        let mut pieces = Vec::new();
        match reply.body {
            ReplyBody::Full(bytes) => pieces.push((second(), String::from_utf8(bytes).unwrap())),
            ReplyBody::Stream(mut stream) => {
                while let Some(piece) = stream.next().await {
                    pieces.push((second(), String::from_utf8(piece.unwrap()).unwrap()));
                }
            }
        }
        Got { reply: (reply.status, reply.headers), pieces }
    });
    simulation.settle_down();
    let memory = simulation.world.memory.borrow();
    memory.check_law();
    assert!(memory.holds.is_empty() && simulation.world.open_calls.get() == 0, "nothing stays open");
    drop(memory);
    got
}

/// The events of a response.
fn events(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn only_receipt(simulation: &Simulation) -> Receipt {
    let mut receipts = simulation.world.memory.borrow().receipts();
    assert_eq!(receipts.len(), 1, "one receipt per request");
    receipts.remove(0).1
}

/// The sign of each dialect, as its clients see it.
const SIGNS: [(&str, &str); 3] = [(CHAT, ": ping\n\n"), (RESPONSES, "event: keepalive\n"), (MESSAGES, "event: ping\n")];

#[test]
fn within_a_stream_silence_has_a_sign_every_15_seconds_in_the_clients_own_form() {
    for (path, sign) in SIGNS {
        let mut simulation = simulation(&[("a", Script::Slow(35_000, vec![FIRST, FIRST, USAGE, DONE]))]);
        let got = get(&mut simulation, path, "m");
        let signs = got.at(sign);
        // Usage alone says nothing to the client, and shows that somebody is there.
        assert_eq!(signs[..4], [15, 30, 50, 65], "{path}: {:?}", got.pieces);
        assert_eq!(only_receipt(&simulation).status, RequestStatus::Completed, "{path}");
    }
}

#[test]
fn signs_of_life_do_not_end_the_wait_and_a_silence_that_is_too_long_still_does() {
    let mut simulation = simulation(&[("a", Script::Silent(vec![FIRST]))]);
    let got = get(&mut simulation, CHAT, "m");
    assert_eq!((got.at(": ping"), got.at("fell silent")), (vec![15, 30], vec![40]));
    assert_eq!(only_receipt(&simulation).status, RequestStatus::Truncated);
}

#[test]
fn clients_of_gemini_get_nothing_that_they_take_for_json() {
    let mut simulation = simulation(&[("a", Script::Slow(35_000, vec![COMMENT, FIRST, COMMENT, FIRST, USAGE, DONE]))]);
    // The first byte is a comment, and the first event too late.
    simulation.script("b.example.com", Script::Slow(35_000, vec![FIRST, COMMENT, FIRST, USAGE, DONE]));
    let got = get(&mut simulation, GEMINI, "m");
    assert!(got.text().lines().all(|line| line.is_empty() || line.starts_with("data: {")), "{}", got.text());
    assert_eq!(got.at("12345678"), [20, 90]);
}

#[test]
fn comments_of_upstream_become_signs_but_not_one_each() {
    for (path, sign) in SIGNS {
        let pieces = [[FIRST].as_slice(), [COMMENT; 40].as_slice(), &[USAGE, DONE]].concat();
        let mut simulation = simulation(&[("a", Script::Slow(100, pieces))]);
        let got = get(&mut simulation, path, "m");
        let signs = got.text().matches(sign).count();
        // In 4 seconds.
        assert!((4..=6).contains(&signs), "{path}: {signs}");
        assert!(!got.text().contains("OPENROUTER"));
    }
}

#[test]
fn a_stream_that_nobody_has_begun_to_answer_begins_with_signs_of_life() {
    for (path, sign) in [(CHAT, ": ping"), (RESPONSES, "event: response.created"), (MESSAGES, "event: ping")] {
        // Comments alone are no answer, and the first channel gives none in time.
        let mut simulation =
            simulation(&[("a", Script::Slow(30_000, vec![COMMENT, FIRST])), ("b", Script::Pieces(vec![FIRST, USAGE, DONE]))]);
        let got = get(&mut simulation, path, "m");
        assert_eq!((got.reply.0, got.at(sign).first()), (200, Some(&15)), "{path}: {:?}", got.pieces);
        assert_eq!(got.at("12345678").first(), Some(&20), "{path}");
        let header = |name: &str| got.reply.1.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!((header("content-type"), header("x-tf-model")), (Some("text/event-stream; charset=utf-8"), Some("m")));
        let receipt = only_receipt(&simulation);
        assert_eq!((receipt.status, receipt.fallbacks), (RequestStatus::Completed, 1), "{path}");
        assert!(header("x-generation-id").is_some_and(|id| id.starts_with("gen-")));
    }
}

#[test]
fn a_response_begins_once_and_its_events_are_counted_on() {
    let mut simulation = simulation(&[("a", Script::Hangs), ("b", Script::Pieces(vec![FIRST, USAGE, DONE]))]);
    let got = get(&mut simulation, RESPONSES, "m");
    let events: Vec<Value> = got
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], json!(at));
    }
    let named = |kind: &str| events.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    let (created, completed) = (named("response.created"), named("response.completed"));
    assert_eq!((created.len(), completed.len()), (1, 1));
    assert_eq!(created[0]["response"]["id"], completed[0]["response"]["id"]);
    assert_eq!((&created[0]["response"]["model"], created[0]["response"]["status"].as_str()), (&json!("m"), Some("in_progress")));
}

#[test]
fn a_response_that_passes_begins_once_by_an_id_from_which_the_client_can_go_on() {
    let scripts = [("r", Script::Slow(18_000, vec![COMMENT, CREATED, COMPLETED]))];
    let got = get(&mut simulation(&scripts), RESPONSES, "native");
    // Only upstream knows by which id it can be named later, so nothing but a comment comes before it.
    assert_eq!((got.at(": ping"), got.at("response.created")), (vec![15], vec![18]));
    // Within the stream a sign has what its beginning said.
    assert_eq!((got.at("response.in_progress"), got.at("response.completed")), (vec![33], vec![36]));
    assert_eq!(got.text().matches("_resp_up_tf").count(), 3, "{}", got.text());
    // What nobody keeps can have the gateway's own.
    let got = get(&mut simulation(&scripts), RESPONSES, "native, not kept");
    assert_eq!((got.at("response.created"), got.at("response.completed")), (vec![15, 18], vec![36]));
    let events: Vec<Value> = events(&got.text());
    assert!(events.iter().all(|event| event["response"]["id"] == events[0]["response"]["id"]), "{}", got.text());
    assert!(events[0]["response"]["id"].as_str().unwrap().starts_with("resp_gen-"));
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    // A sign has the number of the event before it.
    assert_eq!(numbers, [0, 1, 1, 2]);
}

#[test]
fn where_nobody_answers_the_error_ends_the_stream() {
    for (path, words) in [
        (CHAT, vec!["\"finish_reason\":\"error\"", "\"code\":\"no_route_available\"", "\"receipt\":\"gen-"]),
        (RESPONSES, vec!["event: error\n", "event: response.failed\n", "\"code\":\"no_route_available\""]),
        (MESSAGES, vec!["event: error\n", "\"type\":\"api_error\"", "\"error_type\":\"no_route_available\""]),
    ] {
        let mut simulation = simulation(&[("a", Script::Hangs), ("b", Script::Status(500, ""))]);
        let got = get(&mut simulation, path, "m");
        assert_eq!((got.reply.0, got.pieces[0].0, got.pieces.len()), (200, 15, 2), "{path}");
        let (at, last) = &got.pieces[1];
        assert!(*at == 20 && words.iter().all(|word| last.contains(word)), "{path}: {last}");
        assert!(!got.text().contains("[DONE]") && !got.text().contains("message_stop"));
        assert_eq!(only_receipt(&simulation).status, RequestStatus::Failed);
    }
    // Those who are told nothing before keep their status.
    let mut simulation = simulation(&[("a", Script::Hangs), ("b", Script::Status(500, ""))]);
    assert_eq!(get(&mut simulation, GEMINI, "m").reply.0, 502);
}

/// Polls so often and then drops the future, as the platform does when the client is gone.
struct Impatient<F: Future> {
    future: Pin<Box<F>>,
    polls: u32,
}

impl<F: Future> Future for Impatient<F> {
    type Output = bool;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        if self.polls == 0 {
            return Poll::Ready(false);
        }
        self.polls -= 1;
        self.future.as_mut().poll(context).map(|_| true)
    }
}

#[test]
fn a_client_that_leaves_while_nobody_answers_leaves_one_receipt_and_nothing_open() {
    let mut ends = Vec::new();
    for polls in 0..200 {
        let mut simulation = simulation(&[("a", Script::Hangs), ("b", Script::Pieces(vec![FIRST, USAGE, DONE]))]);
        let future = ask(&simulation.outside(), CHAT, "m");
        let reading = async move {
            let ReplyBody::Stream(mut stream) = future.await.body else { panic!("a stream") };
            while stream.next().await.is_some() {}
        };
        let is_done = simulation.run(Impatient { future: Box::pin(reading), polls });
        simulation.settle_down();
        let memory = simulation.world.memory.borrow();
        memory.check_law();
        assert!(memory.holds.is_empty() && simulation.world.open_calls.get() == 0, "nothing stays open");
        let receipts = memory.receipts();
        assert!(receipts.len() <= 1);
        ends.push(receipts.first().map(|(_, receipt)| receipt.status));
        drop(memory);
        if is_done {
            break;
        }
    }
    assert_eq!(ends.last(), Some(&Some(RequestStatus::Completed)));
    assert!(ends.contains(&Some(RequestStatus::Aborted)), "{ends:?}");
}
