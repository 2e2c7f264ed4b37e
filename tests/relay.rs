//! The relay from start to finish, over an outside in memory: every way in, every way out, and a client that leaves at every
//! moment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use serde_json::{Value, json};
use support::outside::{Outside, Script, Simulation, secret};
use tokens_forge::account::{AttemptStatus, Command, Receipt, RequestStatus};
use tokens_forge::catalog::{Catalog, UpstreamHosts};
use tokens_forge::dialect::EndpointPath;
use tokens_forge::id::KeyId;
use tokens_forge::money::Money;
use tokens_forge::relay::{Incoming, Reply, ReplyBody, RequestHead, serve};
use tokens_forge::time::Timestamp;
use tokens_forge::usage::UsageSource;

const ANSWER: &str = r#"{"id":"x","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
const FIRST: &str =
    "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"12345678\"}}]}\n\n";
const USAGE: &str = "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn catalog() -> Catalog {
    let channel = |host: &str, gone: &str| {
        json!({"dialect": "openai", "base_url": format!("https://{host}.example.com/v1"), "secrets": ["K"],
               "first_byte_timeout_ms": 1000, "idle_timeout_ms": 5000, "on_client_gone": gone})
    };
    let route = |bucket: &str, candidates: Value| json!({"bucket": bucket, "price": {"input": "1", "output": "2"}, "candidates": candidates});
    let candidate = |channel: &str, tier: u8| json!({"channel": channel, "upstream_model": "m", "tier": tier});
    let model = |routes: Value| json!({"name": "M", "family": "f", "kind": "chat", "context_length": 1000, "max_output_tokens": 100, "routes": routes});
    let document = json!({
        "version": 3, "hold_timeout_ms": 60000,
        "buckets": {"credit": {"label": "C", "currency": "USD"}, "wallet": {"label": "W", "currency": "CNY"}},
        "channels": {"a": channel("a", "cancel"), "b": channel("b", "cancel"), "c": channel("c", "cancel"), "d": channel("d", "drain")},
        "models": {
            "m": model(json!({"official": route("credit", json!([candidate("a", 0), candidate("b", 1)])), "routed": route("wallet", json!([candidate("c", 0)]))})),
            "drained": model(json!({"official": route("credit", json!([candidate("d", 0)]))})),
        },
    });
    Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
}

fn simulation(policy: Value) -> Simulation {
    Simulation::ready(catalog(), &["credit", "wallet"], policy)
}

fn request(ports: &Outside, body: &str) -> impl Future<Output = Reply> + use<> {
    ask(ports, "/v1/chat/completions", body)
}

fn ask(ports: &Outside, path: &str, body: &str) -> impl Future<Output = Reply> + use<> {
    let head = RequestHead { credential: Some(secret().reveal()), ..RequestHead::default() };
    serve(
        ports.clone(),
        Incoming { called: EndpointPath::at(path).unwrap(), head, body: ready(Ok(body.as_bytes().to_vec().into())) },
    )
}

fn body(model: &str, stream: bool) -> String {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}).to_string()
}

async fn text(reply: Reply) -> (u16, String) {
    let status = reply.status;
    match reply.body {
        ReplyBody::Full(bytes) => (status, String::from_utf8(bytes).unwrap()),
        ReplyBody::Stream(mut stream) => {
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                bytes.extend(piece.unwrap());
            }
            (status, String::from_utf8(bytes).unwrap())
        }
    }
}

/// Sends a request, reads the answer, and lets what runs behind it end.
fn send(simulation: &mut Simulation, body: &str) -> (u16, String) {
    let future = request(&simulation.outside(), body);
    let answer = simulation.run(async move { text(future.await).await });
    simulation.settle_down();
    answer
}

fn only_receipt(simulation: &Simulation) -> Receipt {
    let mut receipts = simulation.world.memory.borrow().receipts();
    assert_eq!(receipts.len(), 1, "one receipt per request");
    receipts.remove(0).1
}

fn assert_closed(simulation: &Simulation) {
    let memory = simulation.world.memory.borrow();
    memory.check_law();
    assert!(memory.holds.is_empty(), "no hold stays open");
    assert_eq!(simulation.world.open_calls.get(), 0, "no call stays open");
}

#[test]
fn nothing_is_sent_before_its_hold_and_the_answer_is_settled_once() {
    let mut simulation = simulation(json!({}));
    simulation.script("a.example.com", Script::Status(200, ANSWER));
    let (status, answer) = send(&mut simulation, &body("m", false));
    assert_eq!(status, 200);
    // 10 in at 1 and 5 out at 2 per million: 0.00002.
    assert!(answer.contains("\"cost\":0.00002"), "{answer}");
    assert_eq!(simulation.log(), ["hold", "granted credit", "send a.example.com", "settle"]);
    let receipt = only_receipt(&simulation);
    assert_eq!((receipt.charge.to_string().as_str(), receipt.status), ("0.00002", RequestStatus::Completed));
    assert_closed(&simulation);
}

#[test]
fn every_failure_before_the_first_byte_goes_to_the_next_candidate() {
    for (script, error) in [
        (Script::Status(500, "oops"), "server"),
        (Script::Status(503, ""), "server"),
        (Script::Status(429, "{}"), "load"),
        (Script::Status(401, "{}"), "credential"),
        (Script::Status(404, "{}"), "absent"),
        (Script::Status(302, ""), "server"),
        (Script::Status(200, ""), "unreadable"),
        (Script::Status(200, "<html>"), "unreadable"),
        (Script::Status(200, r#"{"error":{"message":"x"}}"#), "unreadable"),
        (Script::Broken(vec!["{\"id\""]), "connect"),
        (Script::Refused, "connect"),
        (Script::Hangs, "timeout"),
    ] {
        let mut simulation = simulation(json!({}));
        simulation.script("a.example.com", script.clone());
        simulation.script("b.example.com", Script::Status(200, ANSWER));
        assert_eq!(send(&mut simulation, &body("m", false)).0, 200, "{script:?}");
        let receipt = only_receipt(&simulation);
        assert_eq!(receipt.attempts[0].error.as_deref(), Some(error), "{script:?}");
        assert_eq!((receipt.fallbacks, receipt.channel.unwrap().as_str()), (1, "b"));
        assert_closed(&simulation);
    }
}

#[test]
fn a_stream_that_fails_before_its_first_event_goes_to_the_next_candidate() {
    for script in [
        Script::Pieces(vec![]),
        Script::Pieces(vec![": only a comment\n\n"]),
        Script::Pieces(vec![DONE]),
        Script::Pieces(vec!["data: {\"error\":{\"message\":\"busy\"}}\n\n"]),
        Script::Pieces(vec!["<html>\n\n"]),
        Script::Broken(vec![": hello\n\n"]),
        Script::Silent(vec![": hello\n\n"]),
        Script::Status(500, ""),
    ] {
        let mut simulation = simulation(json!({}));
        simulation.script("a.example.com", script.clone());
        simulation.script("b.example.com", Script::Pieces(vec![FIRST, USAGE, DONE]));
        let (status, answer) = send(&mut simulation, &body("m", true));
        assert_eq!((status, answer.ends_with(DONE)), (200, true), "{script:?}: {answer}");
        let receipt = only_receipt(&simulation);
        assert_eq!((receipt.status, receipt.charge.to_string().as_str()), (RequestStatus::Completed, "0.00002"), "{script:?}");
        assert_closed(&simulation);
    }
}

#[test]
fn a_stream_that_is_cut_ends_in_an_error_and_costs_nothing() {
    for script in [
        Script::Pieces(vec![FIRST]),
        Script::Broken(vec![FIRST]),
        Script::Silent(vec![FIRST]),
        Script::Pieces(vec![FIRST, "data: {\"error\":{\"message\":\"busy\",\"code\":\"overloaded\"}}\n\n", DONE]),
        Script::Pieces(vec![FIRST, "data: garbage\n\n", DONE]),
    ] {
        let mut simulation = simulation(json!({}));
        simulation.script("a.example.com", script.clone());
        let (status, answer) = send(&mut simulation, &body("m", true));
        assert_eq!(status, 200);
        assert!(answer.contains("\"finish_reason\":\"error\"") && !answer.contains("[DONE]"), "{script:?}: {answer}");
        let receipt = only_receipt(&simulation);
        assert_eq!((receipt.status, receipt.charge), (RequestStatus::Truncated, Money::ZERO), "{script:?}");
        assert!(receipt.no_charge_reason.is_some());
        assert_closed(&simulation);
    }
}

#[test]
fn a_client_that_leaves_at_any_moment_leaves_one_receipt_and_nothing_open() {
    for stream in [false, true] {
        let mut ends = Vec::new();
        for polls in 0..200 {
            let mut simulation = simulation(json!({}));
            let pieces = vec![FIRST, FIRST, USAGE, DONE];
            simulation.script("a.example.com", Script::Status(503, ""));
            simulation.script("b.example.com", if stream { Script::Pieces(pieces) } else { Script::Status(200, ANSWER) });
            let future = request(&simulation.outside(), &body("m", stream));
            let is_done = simulation.run(Impatient { future: Box::pin(async move { text(future.await).await }), polls });
            simulation.settle_down();
            assert_closed(&simulation);
            let receipts = simulation.world.memory.borrow().receipts();
            assert!(receipts.len() <= 1);
            ends.push(receipts.first().map(|(_, receipt)| receipt.status));
            if let Some((_, receipt)) = receipts.first() {
                let is_dispatched = receipt.attempts.last().is_some_and(|attempt| attempt.status == AttemptStatus::Abandoned);
                if receipt.status == RequestStatus::Aborted && is_dispatched {
                    assert!(
                        receipt.charge.is_positive() && receipt.usage_source == UsageSource::Estimated,
                        "what was sent is charged"
                    );
                }
            } else {
                assert!(!simulation.log().contains(&"granted credit".to_owned()), "a granted hold has a receipt");
            }
            if is_done {
                break;
            }
        }
        assert_eq!(ends.last(), Some(&Some(RequestStatus::Completed)));
        assert!(ends.contains(&None) && ends.contains(&Some(RequestStatus::Aborted)), "{ends:?}");
    }
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
fn a_drained_channel_is_read_to_its_end_after_the_client_left() {
    let mut simulation = simulation(json!({}));
    simulation.script("d.example.com", Script::Pieces(vec![FIRST, FIRST, USAGE, DONE]));
    let future = request(&simulation.outside(), &body("drained", true));
    simulation.run(async move {
        let ReplyBody::Stream(mut stream) = future.await.body else { panic!("a stream") };
        stream.next().await.unwrap().unwrap();
    });
    simulation.settle_down();
    let receipt = only_receipt(&simulation);
    assert_eq!(
        (receipt.status, receipt.usage_source, receipt.charge.to_string().as_str()),
        (RequestStatus::Aborted, UsageSource::Upstream, "0.00002")
    );
    assert_closed(&simulation);
}

#[test]
fn a_settlement_is_tried_until_the_account_answers() {
    let mut simulation = simulation(json!({}));
    simulation.script("a.example.com", Script::Status(200, ANSWER));
    simulation.world.failing.borrow_mut().insert("settle", 4);
    assert_eq!(send(&mut simulation, &body("m", false)).0, 200);
    assert_eq!(simulation.log().iter().filter(|line| *line == "settle failed").count(), 4);
    assert_eq!(only_receipt(&simulation).status, RequestStatus::Completed);
    assert_closed(&simulation);
}

#[test]
fn an_account_that_does_not_answer_stops_the_request_before_upstream() {
    let mut simulation = simulation(json!({}));
    simulation.world.failing.borrow_mut().insert("hold", 1);
    let (status, answer) = send(&mut simulation, &body("m", false));
    assert_eq!(status, 503);
    assert!(answer.contains("service_unavailable") && !answer.contains("silent"), "{answer}");
    assert!(!simulation.log().iter().any(|line| line.starts_with("send")));
}

#[test]
fn a_settlement_that_never_arrives_is_the_deadlines() {
    let mut simulation = simulation(json!({}));
    simulation.script("a.example.com", Script::Status(200, ANSWER));
    simulation.world.failing.borrow_mut().insert("settle", 100);
    send(&mut simulation, &body("m", false));
    assert_eq!(simulation.world.memory.borrow().holds.len(), 1);
    simulation.world.memory.borrow_mut().tick(Timestamp::from_millis(1_800_000_000_000 + 61_000));
    assert_closed(&simulation);
    assert_eq!(only_receipt(&simulation).error.unwrap().code, "hold_expired");
}

#[test]
fn crossing_happens_only_with_consent_and_its_own_hold() {
    for (policy, status, log) in [
        (json!({}), 502, vec!["hold", "granted credit", "send a.example.com", "send b.example.com", "settle"]),
        (
            json!({"cross_routes": true}),
            200,
            vec![
                "hold",
                "granted credit",
                "send a.example.com",
                "send b.example.com",
                "hold",
                "granted wallet",
                "send c.example.com",
                "settle",
            ],
        ),
    ] {
        let mut simulation = simulation(policy);
        simulation.script("a.example.com", Script::Status(500, ""));
        simulation.script("b.example.com", Script::Status(500, ""));
        simulation.script("c.example.com", Script::Status(200, ANSWER));
        assert_eq!(send(&mut simulation, &body("m", false)).0, status);
        assert_eq!(simulation.log(), log);
        assert_closed(&simulation);
        let memory = simulation.world.memory.borrow();
        let left = if status == 200 { "0.99998" } else { "1" };
        assert_eq!((memory.balance("credit").to_string().as_str(), memory.balance("wallet").to_string().as_str()), ("1", left));
    }
}

#[test]
fn a_key_that_changed_is_planned_again_with_what_it_may_do_now() {
    let mut simulation = simulation(json!({}));
    let old = simulation.world.key.borrow().clone();
    let change = tokens_forge::account::KeyChange {
        policy: serde_json::from_value(json!({"routes": ["routed"]})).unwrap(),
        label: None,
        revoke: false,
        by: None,
    };
    simulation
        .world
        .memory
        .borrow_mut()
        .command(Command::ChangeKey(KeyId::parse("key").unwrap(), change), Timestamp::from_millis(1_800_000_000_000));
    *simulation.world.key.borrow_mut() = old;
    simulation.script("c.example.com", Script::Status(200, ANSWER));
    assert_eq!(send(&mut simulation, &body("m", false)).0, 200);
    assert_eq!(simulation.log(), ["hold", "hold", "granted wallet", "send c.example.com", "settle"]);
}

#[test]
fn an_error_of_the_request_itself_is_upstreams_own_and_not_tried_elsewhere() {
    let mut simulation = simulation(json!({}));
    let error =
        r#"{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
    simulation.script("a.example.com", Script::Status(422, error));
    let (status, answer) = send(&mut simulation, &body("m", false));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        (status, &answer["error"]["code"], &answer["error"]["param"]),
        (422, &json!("context_length_exceeded"), &json!("messages"))
    );
    assert_eq!(only_receipt(&simulation).status, RequestStatus::Failed);
    assert_closed(&simulation);
}

#[test]
fn the_largest_retry_after_is_passed_on() {
    let mut simulation = simulation(json!({}));
    simulation.script("a.example.com", Script::Status(429, ""));
    simulation.script("b.example.com", Script::Status(500, ""));
    let future = request(&simulation.outside(), &body("m", false));
    let reply = simulation.run(future);
    assert_eq!(reply.status, 502);
    assert!(reply.headers.contains(&("retry-after", "9".to_owned())));
}

#[test]
fn a_long_stream_tells_the_account_that_it_lives() {
    let mut simulation = simulation(json!({}));
    // 30 pieces, 4 s apart: two minutes, with a hold that lives for one.
    let pieces = std::iter::repeat_n(FIRST, 30).chain([USAGE, DONE]).collect();
    simulation.script("b.example.com", Script::Slow(4_000, pieces));
    simulation.script("a.example.com", Script::Status(500, ""));
    let future = request(&simulation.outside(), &body("m", true));
    let world = Rc::clone(&simulation.world);
    let (_, answer) = simulation.run(async move {
        let ReplyBody::Stream(mut stream) = future.await.body else { panic!("a stream") };
        let mut last = Vec::new();
        while let Some(piece) = stream.next().await {
            last = piece.unwrap();
            let now = Timestamp::from_millis(world.now.get());
            world.memory.borrow_mut().tick(now);
        }
        (200, String::from_utf8(last).unwrap())
    });
    simulation.settle_down();
    assert!(answer.ends_with(DONE));
    let checkpoints = simulation.log().iter().filter(|line| *line == "checkpoint").count();
    assert!((5..=6).contains(&checkpoints), "every 20 s: {checkpoints}");
    assert_eq!(only_receipt(&simulation).status, RequestStatus::Completed);
    assert_closed(&simulation);
}

#[test]
fn a_client_that_pauses_gets_the_rest_and_one_that_stalls_pays_for_what_it_got() {
    // The channel may be silent for 5 s, and a hold lives for 60 s.
    for (pause_ms, status, is_whole) in [(10_000, RequestStatus::Completed, true), (45_000, RequestStatus::Aborted, false)] {
        let mut simulation = simulation(json!({}));
        simulation.script("a.example.com", Script::Pieces(vec![FIRST, FIRST, USAGE, DONE]));
        let future = request(&simulation.outside(), &body("m", true));
        let world = Rc::clone(&simulation.world);
        let answer = simulation.run(async move {
            let ReplyBody::Stream(mut stream) = future.await.body else { panic!("a stream") };
            let mut bytes = stream.next().await.unwrap().unwrap();
            world.now.set(world.now.get() + pause_ms);
            while let Some(piece) = stream.next().await {
                bytes.extend(piece.unwrap());
            }
            String::from_utf8(bytes).unwrap()
        });
        simulation.settle_down();
        assert_eq!(answer.ends_with(DONE), is_whole, "{answer}");
        let receipt = only_receipt(&simulation);
        assert_eq!(receipt.status, status);
        assert!(receipt.charge.is_positive(), "what was relayed is charged");
        assert_closed(&simulation);
    }
}

#[test]
fn a_refusal_before_any_hold_has_a_receipt_and_an_unknown_key_has_none() {
    let mut simulation = simulation(json!({"models": ["other"]}));
    assert_eq!(send(&mut simulation, &body("m", false)).0, 403);
    assert_eq!(only_receipt(&simulation).status, RequestStatus::Refused);
    *simulation.world.key.borrow_mut() = None;
    assert_eq!(send(&mut simulation, &body("m", false)).0, 401);
    assert_eq!(simulation.world.memory.borrow().receipts().len(), 1);
}

#[test]
fn the_channels_own_host_is_in_no_error_however_it_is_written() {
    let said = r#"{"error":{"message":"no route: pool_a_example_com_443, A.Example.COM:443->x and eu.example.com","type":"invalid_request_error","code":"bad","param":null}}"#;
    let mut simulation = simulation(json!({}));
    simulation.script("a.example.com", Script::Status(400, said));
    let (status, answer) = send(&mut simulation, &body("m", false));
    let told = "no route: pool_[address]_443, [address]->x and [address]";
    assert!(status == 400 && answer.contains(told), "{answer}");
    assert!(!format!("{:?}", only_receipt(&simulation)).to_lowercase().contains("example"), "nor in its receipt");
    assert_closed(&simulation);
}
