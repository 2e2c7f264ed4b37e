//! Limits that fit the balance, over an outside in memory: what is said to be callable is, parallel calls are all served, and
//! nobody pays more than was held.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::future::ready;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::outside::{Script, Simulation, secret};
use tokens_forge::account::{Adjustment, Command, LimitBy, Receipt, RequestStatus, weigh};
use tokens_forge::catalog::{Catalog, UpstreamHosts};
use tokens_forge::dialect::EndpointPath;
use tokens_forge::dialect::probe_request::plain;
use tokens_forge::id::{BucketId, ChannelId, RequestId};
use tokens_forge::money::{Money, Price, worst_cost};
use tokens_forge::relay::{Early, Incoming, Preparing, Reply, ReplyBody, RequestHead, prepare, serve};
use tokens_forge::routing::attempt::FailureKind;
use tokens_forge::routing::health::{CandidateId, HealthView, Observation};
use tokens_forge::time::Timestamp;
use tokens_forge::usage::Most;

const FLOOR: u64 = 4_096;
const CHAT: &str = "/v1/chat/completions";
#[test]
fn a_hold_covers_who_is_expected_to_answer_behind_one_that_is_only_tried_again() {
    let route = |channel: &str, output: &str| json!({"bucket": "credit", "price": {"input": "1", "output": output}, "candidates": [{"channel": channel, "upstream_model": "up"}]});
    let channel =
        |host: &str| json!({"dialect": "openai", "base_url": format!("https://{host}.example.com/v1"), "secrets": ["K"]});
    let document = json!({
        "version": 1, "buckets": {"credit": {"label": "C", "currency": "USD"}}, "channels": {"a": channel("a"), "b": channel("b")},
        "models": {"m": {"name": "M", "family": "f", "kind": "chat", "context_length": 400_000, "max_output_tokens": 100,
            "routes": {"official": route("a", "100"), "routed": route("b", "50")}}},
    });
    let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
    let mut simulation = with_balance(catalog, money("0.0125"), json!({"routes": ["routed", "official"], "cross_routes": true}));
    let down = CandidateId { channel: ChannelId::parse("b").unwrap(), upstream_model: "up".to_owned() };
    let failed = Observation::Called { failure: Some((FailureKind::Server, "no".to_owned())), latency_ms: 1 };
    for _ in 0..3 {
        simulation.world.health.borrow_mut().observe(&down, failed.clone(), Timestamp::from_millis(simulation.world.now.get()));
    }
    // Its rest is over: it is due to be tried again, and so stands first.
    simulation.world.now.set(simulation.world.now.get() + 3_600_000);
    simulation.script("b.example.com", Script::Status(500, "no"));
    answers(&simulation, 1, 5);
    let (status, _, text) = send(&mut simulation, hello(json!({})));
    assert_eq!(status, 200, "{text}");
    let receipt = &receipts(&simulation)[0];
    let story: Vec<_> = receipt.attempts.iter().map(|attempt| (attempt.channel.as_str(), attempt.dispatched)).collect();
    assert_eq!(story, [("b", true), ("a", true)]);
}

const MESSAGES: &str = "/v1/messages";

/// One model at a price; the upstream is OpenAI's or Anthropic's.
fn catalog(dialect: &str, (input, output): (&str, &str), most_output: u64) -> Catalog {
    let document = json!({
        "version": 1, "buckets": {"credit": {"label": "C", "currency": "USD", "top_up_url": "https://pay.example/credit"}},
        "channels": {"a": {"dialect": dialect, "base_url": "https://a.example.com/v1", "secrets": ["K"]}},
        "models": {"m": {"name": "M", "family": "f", "kind": "chat", "context_length": 400_000, "max_output_tokens": most_output,
            "routes": {"official": {"bucket": "credit", "price": {"input": input, "output": output},
                "candidates": [{"channel": "a", "upstream_model": "up"}]}}}},
    });
    Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap()
}

fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

/// An account with this balance.
fn with_balance(catalog: Catalog, balance: Money, policy: Value) -> Simulation {
    let simulation = Simulation::ready(catalog, &["credit"], policy);
    let change = Adjustment {
        id: "adj-to".into(),
        bucket: BucketId::parse("credit").unwrap(),
        amount: balance.checked_sub(money("1")).unwrap(),
        reason: "r".into(),
        author: "t".into(),
        on_behalf_of: None,
        note: None,
    };
    simulation.world.memory.borrow_mut().command(Command::Adjust(change), Timestamp::from_millis(1_800_000_000_000));
    simulation
}

/// An answer that has so many tokens and takes a while.
fn answers(simulation: &Simulation, times: usize, output: u64) {
    let usage = format!("\"usage\":{{\"prompt_tokens\":10,\"completion_tokens\":{output}}}}}");
    let text = format!("\"message\":{{\"content\":\"{}\"}}", "x".repeat(usize::try_from(output).unwrap()));
    let rest = format!("{text},\"finish_reason\":\"stop\"}}],{usage}");
    let pieces: Vec<&'static str> = vec![r#"{"id":"x","choices":[{"index":0,"#, rest.leak()];
    (0..times).for_each(|_| simulation.script("a.example.com", Script::Slow(200, pieces.clone())));
}

/// Status, headers and body.
type Told = (u16, Vec<(&'static str, String)>, String);

async fn told(reply: Reply) -> Told {
    let (status, headers) = (reply.status, reply.headers);
    let text = match reply.body {
        ReplyBody::Full(bytes) => String::from_utf8(bytes).unwrap(),
        ReplyBody::Stream(stream) => {
            let pieces: Vec<Vec<u8>> = stream.map(Result::unwrap).collect().await;
            String::from_utf8(pieces.concat()).unwrap()
        }
    };
    (status, headers, text)
}

fn header<'a>(headers: &'a [(&'static str, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

/// Sends requests at once and lets everything end.
fn send_all(simulation: &mut Simulation, path: &str, bodies: Vec<String>) -> Vec<Told> {
    let ports = simulation.outside();
    let path = path.to_owned();
    let replies = simulation.run(async move {
        join_all(bodies.into_iter().map(|body| {
            let head = RequestHead { credential: Some(secret().reveal()), ..RequestHead::default() };
            let incoming = Incoming { called: EndpointPath::at(&path).unwrap(), head, body: ready(Ok(body.into_bytes().into())) };
            let ports = ports.clone();
            async move { told(serve(ports, incoming).await).await }
        }))
        .await
    });
    simulation.settle_down();
    simulation.world.memory.borrow().check_law();
    assert!(simulation.world.memory.borrow().holds.is_empty(), "no hold stays open");
    replies
}

fn send(simulation: &mut Simulation, body: Value) -> Told {
    send_all(simulation, CHAT, vec![body.to_string()]).remove(0)
}

fn hello(more: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn receipts(simulation: &Simulation) -> Vec<Receipt> {
    simulation.world.memory.borrow().receipts().into_iter().map(|(_, receipt)| receipt).collect()
}

/// The limit that a body which went up names.
fn sent_limit(simulation: &Simulation, index: usize) -> u64 {
    let calls = simulation.world.calls.borrow();
    let body: Value = serde_json::from_str(&calls[index].body).unwrap();
    body["max_tokens"].as_u64().unwrap()
}

/// Whether the account would grant what a plain call of the model needs: what lists call callable.
fn is_callable(simulation: &Simulation) -> Result<(), String> {
    let world = &simulation.world;
    let model = Rc::clone(world.catalog.model("m").unwrap());
    let probe_request = plain(&model, "m");
    let preparing = Preparing {
        request: RequestId::parse("plain").unwrap(),
        arrived: Timestamp::from_millis(world.now.get()),
        called: probe_request.called.clone(),
        head: RequestHead { content_type: probe_request.content_type.map(ToOwned::to_owned), ..RequestHead::default() },
        catalog: Rc::clone(&world.catalog),
        health: Rc::new(HealthView::default()),
        early: Early::default(),
    };
    let key = world.key.borrow().clone().unwrap();
    let prepared = prepare(&preparing, &key, &probe_request.body, preparing.arrived, &|_| None).unwrap();
    let state = world.memory.borrow().all_books();
    let state = tokens_forge::account::AccountState { key: world.memory.borrow().keys.get(&key.id).cloned(), ..state };
    let weighed = weigh(&state, &prepared.legs[0].wanted(), preparing.arrived);
    weighed.refusal.map_or(Ok(()), |refusal| Err(refusal.code.row().code.to_owned()))
}

#[test]
fn a_small_balance_answers_a_plain_call_with_a_limit_that_it_has_room_for() {
    let mut simulation = with_balance(catalog("openai", ("1.25", "10"), 128_000), money("0.5"), json!({}));
    assert_eq!(is_callable(&simulation), Ok(()));
    answers(&simulation, 1, 5);
    let (status, headers, text) = send(&mut simulation, hello(json!({})));
    assert_eq!(status, 200, "{text}");
    // A quarter of 0.5 without 61 bytes at 1.25 a million, at 10 a million: (0.125 - 0.00007625) / 0.00001.
    let limit = sent_limit(&simulation, 0);
    assert_eq!(limit, 12_492);
    assert_eq!(header(&headers, "x-tf-output-limit"), Some("12492"));
    assert_eq!(header(&headers, "x-tf-output-limit-by"), Some("balance"));
    let receipt = &receipts(&simulation)[0];
    let told = receipt.output_limit.as_ref().unwrap();
    assert_eq!((told.tokens, told.asked, told.by), (limit, None, LimitBy::Balance));
    let because = "128,000 -> 12,492 tokens, because there is 0.5 USD of `credit` free: one request takes at most a quarter of that and leaves room for nine more, but has at least 4,096 tokens.";
    assert_eq!(told.because.as_deref(), Some(because));
    assert_eq!(receipt.hold, Some(money("0.125")));
    let answer: Value = serde_json::from_str(&text).unwrap();
    let details = &answer["usage"]["cost_details"]["output_limit"];
    assert_eq!((details["tokens"].as_u64(), &details["reached"]), (Some(limit), &json!(false)));
}

#[test]
fn an_answer_that_ends_at_a_fitted_limit_says_so() {
    let mut simulation = with_balance(catalog("openai", ("1", "10"), 128_000), money("0.05"), json!({}));
    answers(&simulation, 1, FLOOR);
    let (status, _, text) = send(&mut simulation, hello(json!({})));
    assert_eq!((status, sent_limit(&simulation, 0)), (200, FLOOR));
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["usage"]["cost_details"]["output_limit"]["reached"], true);
    let receipt = &receipts(&simulation)[0];
    let next_step = receipt.next_step.as_deref().unwrap();
    assert!(next_step.starts_with("The answer ended at 4,096 tokens, the limit that `credit` had room for"), "{next_step}");
}

#[test]
fn a_limit_above_the_models_own_is_made_smaller_and_told() {
    let mut simulation = with_balance(catalog("openai", ("1", "1"), 2_000), money("1"), json!({}));
    answers(&simulation, 2, 5);
    let (status, headers, _) = send(&mut simulation, hello(json!({"max_tokens": 1_000_000})));
    assert_eq!((status, sent_limit(&simulation, 0)), (200, 2_000));
    assert_eq!((header(&headers, "x-tf-output-limit"), header(&headers, "x-tf-output-limit-by")), (Some("2000"), Some("model")));
    let (status, headers, _) = send(&mut simulation, hello(json!({"max_completion_tokens": 1_000_000, "max_tokens": 100})));
    assert_eq!((status, sent_limit(&simulation, 1)), (200, 100), "the smaller one stays");
    assert!(simulation.world.calls.borrow()[1].body.contains("\"max_completion_tokens\":2000"));
    assert_eq!(header(&headers, "x-tf-output-limit"), Some("2000"));
    // What the client named and the model can write is nothing to tell.
    answers(&simulation, 1, 5);
    let (_, headers, _) = send(&mut simulation, hello(json!({"max_tokens": 100})));
    assert_eq!(header(&headers, "x-tf-output-limit"), None);
    let limits: Vec<_> = receipts(&simulation).iter().map(|receipt| receipt.output_limit.as_ref().unwrap().by).collect();
    assert_eq!(limits, [LimitBy::Model, LimitBy::Model, LimitBy::Client]);
}

#[test]
fn below_the_floor_the_refusal_says_what_would_work_and_it_does() {
    for (more, member) in [
        (json!({}), "max_tokens"),
        (json!({"max_tokens": 50_000}), "max_tokens"),
        (json!({"max_completion_tokens": 4_000}), "max_completion_tokens"),
    ] {
        let mut simulation = with_balance(catalog("openai", ("1", "10"), 128_000), money("0.03"), json!({}));
        assert_eq!(is_callable(&simulation), Err("insufficient_balance".to_owned()));
        let (status, _, text) = send(&mut simulation, hello(more));
        assert_eq!(status, 402, "{text}");
        let error: Value = serde_json::from_str(&text).unwrap();
        let message =
            error["error"]["message"].as_str().unwrap().to_owned() + error["error"]["metadata"]["next_step"].as_str().unwrap();
        assert!(message.contains("is 0.03 USD") && message.contains("USD. Nothing was sent"), "{message}");
        assert!(message.contains("or top up `credit` at https://pay.example/credit."), "{message}");
        let limit = message.split_once(&format!("Set `{member}` to ")).unwrap().1.split_once(" or less").unwrap().0;
        let limit: u64 = limit.replace(',', "").parse().unwrap();
        answers(&simulation, 1, 5);
        let (status, _, text) = send(&mut simulation, hello(json!({member: limit})));
        assert_eq!(status, 200, "{limit}: {text}");
    }
}

#[test]
fn who_does_not_want_it_gets_the_limit_asked_for_or_none() {
    for (policy, more) in [(json!({"fit": "never"}), json!({})), (json!({}), json!({"fit": "never"}))] {
        let mut simulation = with_balance(catalog("openai", ("1", "10"), 128_000), money("0.5"), policy);
        let (status, _, text) = send(&mut simulation, hello(more.clone()));
        assert_eq!(status, 402, "{text}");
        let mut named = hello(more);
        named["max_tokens"] = json!(1_000_000);
        assert_eq!(send(&mut simulation, named).0, 400, "above what the model can write");
        answers(&simulation, 1, 5);
        let (status, _, text) = send(&mut simulation, hello(json!({"fit": "balance"})));
        assert_eq!(status, 200, "the request has the last word: {text}");
        assert!(!simulation.world.calls.borrow()[0].body.contains("fit"), "what is for the gateway stays here");
    }
}

#[test]
fn a_budget_is_room_as_the_balance_is() {
    let budget = json!({"budgets": [{"bucket": "credit", "period": "day", "limit": "0.2"}]});
    let mut simulation = with_balance(catalog("openai", ("1", "1"), 128_000), money("9"), budget);
    answers(&simulation, 1, 5);
    let (status, headers, _) = send(&mut simulation, hello(json!({})));
    assert_eq!((status, header(&headers, "x-tf-output-limit-by")), (200, Some("budget")));
    assert!(receipts(&simulation)[0].hold.unwrap() <= money("0.05"));
}

#[test]
fn ten_calls_of_a_coding_agent_at_once_are_served_from_two_dollars() {
    for (path, dialect, answer) in [
        (CHAT, "openai", None),
        (
            MESSAGES,
            "anthropic",
            Some(
                r#"{"id":"msg_1","type":"message","role":"assistant","model":"up","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":15000,"output_tokens":5}}"#,
            ),
        ),
    ] {
        let mut simulation = with_balance(catalog(dialect, ("3", "15"), 64_000), money("2"), json!({}));
        match answer {
            None => answers(&simulation, 10, 5),
            Some(answer) => (0..10).for_each(|_| simulation.script("a.example.com", Script::Slow(200, vec![answer]))),
        }
        // 40 KB of tools and system text.
        let body = json!({"model": "m", "max_tokens": 32_000, "messages": [{"role": "user", "content": "x".repeat(40_000)}]});
        let replies = send_all(&mut simulation, path, vec![body.to_string(); 10]);
        let statuses: Vec<u16> = replies.iter().map(|(status, ..)| *status).collect();
        assert_eq!(statuses, [200; 10], "{path}");
        assert!((0..10).all(|index| sent_limit(&simulation, index) >= FLOOR));
    }
}

#[test]
fn thoughts_stay_within_a_fitted_limit() {
    let mut simulation = with_balance(catalog("anthropic", ("3", "15"), 64_000), money("0.5"), json!({}));
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"up","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":5}}"#;
    simulation.script("a.example.com", Script::Status(200, answer));
    let body = json!({"model": "m", "max_tokens": 32_000, "thinking": {"type": "enabled", "budget_tokens": 31_999},
        "messages": [{"role": "user", "content": "Hello"}]});
    let (status, headers, text) = send_all(&mut simulation, MESSAGES, vec![body.to_string()]).remove(0);
    assert_eq!(status, 200, "{text}");
    let calls = simulation.world.calls.borrow();
    let sent: Value = serde_json::from_str(&calls[0].body).unwrap();
    let (limit, budget) = (sent["max_tokens"].as_u64().unwrap(), sent["thinking"]["budget_tokens"].as_u64().unwrap());
    assert!(limit < 32_000 && budget >= 1_024 && budget < limit, "{budget} of {limit}");
    assert_eq!(header(&headers, "x-tf-dropped-parameters"), Some("thinking.budget_tokens"));
}

#[test]
fn a_fallback_that_is_not_covered_is_left_out_and_does_not_take_the_first_choice_away() {
    let route = |output: &str| json!({"official": {"bucket": "credit", "price": {"input": "1", "output": output}, "candidates": [{"channel": "a", "upstream_model": format!("up-{output}")}]}});
    let model = |output: &str| json!({"name": "M", "family": "f", "kind": "chat", "context_length": 400_000, "max_output_tokens": 128_000, "routes": route(output)});
    let document = json!({
        "version": 1, "buckets": {"credit": {"label": "C", "currency": "USD"}}, "models": {"m": model("10"), "dear": model("100"), "cheap": model("1")},
        "channels": {"a": {"dialect": "openai", "base_url": "https://a.example.com/v1", "secrets": ["K"]}},
    });
    let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
    let mut simulation = with_balance(catalog, money("0.05"), json!({}));
    simulation.script("a.example.com", Script::Status(500, "no"));
    answers(&simulation, 1, 5);
    let (status, _, text) = send(&mut simulation, hello(json!({"models": ["m", "dear", "cheap"]})));
    assert_eq!(status, 200, "{text}");
    let receipt = &receipts(&simulation)[0];
    let story: Vec<_> =
        receipt.attempts.iter().map(|attempt| (attempt.model.as_ref().unwrap().as_str(), attempt.dispatched)).collect();
    assert_eq!(story, [("dear", false), ("m", true), ("cheap", true)]);
    assert_eq!(receipt.attempts[0].message.as_deref(), Some("the balance has no room for its smallest answer"));
    assert!(receipt.hold.unwrap() <= money("0.05"));
}

#[test]
fn thoughts_leave_room_for_the_answer_in_another_dialect() {
    let mut simulation = with_balance(catalog("anthropic", ("3", "15"), 64_000), money("0.5"), json!({}));
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"up","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":5}}"#;
    simulation.script("a.example.com", Script::Status(200, answer));
    let (status, _, text) = send(&mut simulation, hello(json!({"reasoning": {"max_tokens": 60_000}})));
    assert_eq!(status, 200, "{text}");
    let calls = simulation.world.calls.borrow();
    let sent: Value = serde_json::from_str(&calls[0].body).unwrap();
    let limit = sent["max_tokens"].as_u64().unwrap();
    assert_eq!(sent["thinking"]["budget_tokens"].as_u64(), Some(limit / 2), "{sent}");
}

#[test]
fn a_key_that_changes_while_its_request_waits_leaves_a_receipt() {
    let mut simulation = with_balance(catalog("openai", ("1", "10"), 128_000), money("0.05"), json!({}));
    simulation.script("a.example.com", Script::Silent(vec!["{"]));
    let ports = simulation.outside();
    let world = Rc::clone(&simulation.world);
    let call = |ports: &support::outside::Outside| {
        let head = RequestHead { credential: Some(secret().reveal()), ..RequestHead::default() };
        let body = hello(json!({})).to_string().into_bytes();
        Box::pin(serve(ports.clone(), Incoming { called: EndpointPath::at(CHAT).unwrap(), head, body: ready(Ok(body.into())) }))
    };
    let (first, second) = (call(&ports), call(&ports));
    let (status, text) = simulation.run(async move {
        use futures_util::future::{Either, select};
        use tokens_forge::account::KeyChange;
        use tokens_forge::ports::Runtime;
        let changes = async {
            for rpm in 100..130 {
                ports.sleep(1_000).await;
                let policy = json!({"rpm": rpm}).as_object().unwrap().clone();
                let change = KeyChange { policy, label: None, revoke: false, by: None };
                let id = world.key.borrow().as_ref().unwrap().id.clone();
                world.memory.borrow_mut().command(Command::ChangeKey(id, change), ports.now());
            }
            std::future::pending::<()>().await;
        };
        let others = futures_util::future::join(first, changes);
        // The first is asked first, and holds what there is.
        match select(Box::pin(others), second).await {
            Either::Right((reply, _)) => {
                let (status, _, text) = told(reply).await;
                (status, text)
            }
            Either::Left(_) => panic!("the others do not end"),
        }
    });
    simulation.settle_down();
    let receipts = receipts(&simulation);
    assert!(receipts.len() == 2 && receipts.iter().any(|receipt| receipt.status == RequestStatus::Refused), "{status}: {text}");
    assert!([429, 503].contains(&status) && text.contains("\"receipt\":\"gen-"), "{status}: {text}");
}

#[test]
fn falling_back_says_what_it_cost_and_what_other_routes_would_have() {
    let route = |bucket: &str, output: &str, channel: &str| json!({"bucket": bucket, "price": {"input": "1", "output": output}, "candidates": [{"channel": channel, "upstream_model": "up"}]});
    let channel =
        |host: &str| json!({"dialect": "openai", "base_url": format!("https://{host}.example.com/v1"), "secrets": ["K"]});
    let model = |routes: Value| json!({"name": "M", "family": "f", "kind": "chat", "context_length": 9000, "max_output_tokens": 100, "routes": routes});
    let document = json!({
        "version": 1, "channels": {"a": channel("a"), "b": channel("b")},
        "buckets": {"credit": {"label": "C", "currency": "USD"}, "wallet": {"label": "W", "currency": "CNY"}},
        "models": {
            "m": model(json!({"official": route("credit", "10", "a"), "routed": route("wallet", "20", "b")})),
            "n": model(json!({"official": route("credit", "30", "b")})),
        },
    });
    let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
    let mut simulation = Simulation::ready(catalog, &["credit", "wallet"], json!({}));
    simulation.script("a.example.com", Script::Status(500, "no"));
    let answer = r#"{"id":"x","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":10}}"#;
    simulation.script("b.example.com", Script::Status(200, answer));
    let (status, ..) = send(&mut simulation, hello(json!({"models": ["m", "n"]})));
    assert_eq!(status, 200);
    let receipt = &receipts(&simulation)[0];
    // 100 in at 1 and 10 out at 30 a million; the first choice has 10 for the output.
    assert_eq!(receipt.charge, money("0.0004"));
    let told = serde_json::to_value(&receipt.elsewhere).unwrap();
    let first = json!({"of": "first_choice", "model": "m", "route": "official", "bucket": "credit", "currency": "USD", "cost": "0.0002", "difference": "0.0002"});
    assert_eq!(told, json!([first]));
    // Without falling back, the other route is what is told; currencies are not compared.
    simulation.script("a.example.com", Script::Status(200, answer));
    assert_eq!(send(&mut simulation, hello(json!({}))).0, 200);
    let told = serde_json::to_value(&receipts(&simulation)[1].elsewhere).unwrap();
    assert_eq!(
        told,
        json!([{"of": "other_route", "model": "m", "route": "routed", "bucket": "wallet", "currency": "CNY", "cost": "0.0003"}])
    );
}

#[test]
fn who_leaves_while_waiting_has_a_receipt() {
    let mut simulation = with_balance(catalog("openai", ("1", "10"), 128_000), money("0.05"), json!({}));
    let pieces: Vec<&'static str> = vec!["{"];
    simulation.script("a.example.com", Script::Silent(pieces));
    let ports = simulation.outside();
    let call = |ports: &support::outside::Outside| {
        let head = RequestHead { credential: Some(secret().reveal()), ..RequestHead::default() };
        let body = hello(json!({})).to_string().into_bytes();
        Box::pin(serve(ports.clone(), Incoming { called: EndpointPath::at(CHAT).unwrap(), head, body: ready(Ok(body.into())) }))
    };
    let (first, second) = (call(&ports), call(&ports));
    simulation.run(async move {
        use futures_util::future::{Either, select};
        use tokens_forge::ports::Runtime;
        // The first holds what there is; the second waits, and its client leaves after half a second.
        let both = futures_util::future::join(first, select(second, Box::pin(ports.sleep(500))));
        let Either::Right(_) = select(Box::pin(both), Box::pin(ports.sleep(1_000))).await else { panic!("nobody answers") };
    });
    simulation.settle_down();
    let receipts = receipts(&simulation);
    let told: Vec<_> = receipts.iter().map(|receipt| (receipt.status, receipt.hold.is_some())).collect();
    assert!(told.contains(&(RequestStatus::Aborted, false)) && told.len() == 2, "{told:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn what_is_called_callable_answers_a_plain_call(
        balance in 0i64..200_000_000, input in 1u32..20, output in 1u32..80, most in 100u64..200_000, stream: bool,
    ) {
        let (input, output) = (input.to_string(), output.to_string());
        let mut simulation = with_balance(catalog("openai", (&input, &output), most), Money::from_nanos(balance).unwrap(), json!({}));
        let callable = is_callable(&simulation);
        let is_at_the_edge = callable.is_ok() && stream && {
            // A stream is asked for in a few bytes more than the plain call has, which may be what the balance lacks.
            let less = Money::from_nanos((balance - 20 * 20_000).max(0)).unwrap();
            is_callable(&with_balance(catalog("openai", (&input, &output), most), less, json!({}))).is_err()
        };
        answers(&simulation, 1, 5);
        if stream {
            simulation.world.scripts.borrow_mut().clear();
            simulation.script("a.example.com", Script::Pieces(vec![
                "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n",
                "data: [DONE]\n\n",
            ]));
        }
        let body = match stream {
            true => r#"{"model":"m","messages":[{"role":"user","content":"Hello"}],"stream":true}"#,
            false => r#"{"model": "m", "messages": [{"role": "user", "content": "Hello"}]}"#,
        };
        let (status, _, text) = send_all(&mut simulation, CHAT, vec![body.to_owned()]).remove(0);
        match callable {
            Ok(()) if !is_at_the_edge => prop_assert_eq!(status, 200, "{}", text),
            Err(code) if !stream => {
                prop_assert_eq!(status, 402);
                prop_assert!(text.contains(&code));
            }
            _ => {}
        }
        for receipt in receipts(&simulation) {
            prop_assert!(receipt.charge <= receipt.hold.unwrap_or_default());
            if let Some(limit) = receipt.output_limit {
                prop_assert_eq!(limit.tokens, sent_limit(&simulation, 0));
                let price: Price = receipt.price.unwrap();
                let most = Most { input: 61, output: limit.tokens, ..Most::default() };
                prop_assert!(worst_cost(&price, &most).unwrap() <= receipt.hold.unwrap().checked_add(money("0.0002")).unwrap());
            }
        }
    }

    #[test]
    fn twenty_plain_calls_at_once_are_all_served(
        times in 1i64..60, over in 0i64..1_000_000, input in 1u32..10, output in 1u32..80, most in 5_000u64..200_000,
    ) {
        let (rate_in, rate_out) = (i64::from(input), i64::from(output));
        // What the smallest hold of one call is, and what the twenty really cost; in nano-units.
        let least = 70 * rate_in * 1_000 + 4_096 * rate_out * 1_000;
        let real = 20 * (10 * rate_in + 5 * rate_out) * 1_000;
        let balance = Money::from_nanos(least * times + real + over).unwrap();
        let mut simulation = with_balance(catalog("openai", (&input.to_string(), &output.to_string()), most), balance, json!({}));
        answers(&simulation, 20, 5);
        let replies = send_all(&mut simulation, CHAT, vec![hello(json!({})).to_string(); 20]);
        let served = replies.iter().filter(|(status, ..)| *status == 200).count();
        prop_assert_eq!(served, 20, "with {} of the least", times);
        let receipts = receipts(&simulation);
        prop_assert_eq!(receipts.len(), 20);
        prop_assert!(receipts.iter().all(|receipt| receipt.charge <= receipt.hold.unwrap() && !receipt.balance_after.unwrap().is_negative()));
    }
}
