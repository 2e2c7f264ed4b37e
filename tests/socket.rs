//! A WebSocket's loop from start to finish, over an outside in memory: each frame is one request with its own money, and every
//! end of the connection closes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Poll, Waker};

use serde_json::{Value, json};
use support::outside::{Script, Simulation, secret};
use tokens_forge::account::RequestStatus;
use tokens_forge::catalog::{Catalog, UpstreamHosts};
use tokens_forge::id::AccountId;
use tokens_forge::relay::RequestHead;
use tokens_forge::relay::socket::{Arrived, Wire, converse};

const PIECES: [&str; 4] = [
    "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n",
    "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n",
    "data: [DONE]\n\n",
];

fn simulation() -> Simulation {
    let document = json!({
        "version": 3, "hold_timeout_ms": 60000,
        "buckets": {"credit": {"label": "C", "currency": "USD"}},
        "channels": {"a": {"dialect": "openai", "base_url": "https://a.example.com/v1", "secrets": ["K"], "first_byte_timeout_ms": 1000, "idle_timeout_ms": 5000}},
        "models": {"m": {"name": "M", "family": "f", "kind": "chat", "context_length": 1000, "max_output_tokens": 100, "routes":
            {"official": {"bucket": "credit", "price": {"input": "1", "output": "2"}, "candidates": [{"channel": "a", "upstream_model": "m", "tier": 0}]}}}},
    });
    let catalog = Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap();
    Simulation::ready(catalog, &["credit"], json!({}))
}

#[derive(Default)]
struct Seen {
    waiting: VecDeque<Arrived>,
    sent: Vec<Value>,
    closed: Option<u16>,
    /// After so many frames that were sent, the client is gone.
    leaves_after: Option<usize>,
    waker: Option<Waker>,
}

/// A client that has written its frames beforehand, and says nothing more.
#[derive(Clone, Default)]
struct Client(Rc<RefCell<Seen>>);

impl Client {
    fn is_gone(&self) -> bool {
        let seen = self.0.borrow();
        seen.leaves_after.is_some_and(|frames| seen.sent.len() >= frames)
    }
}

impl Wire for Client {
    async fn next(&self) -> Arrived {
        if self.is_gone() {
            return Arrived::Gone;
        }
        let next = self.0.borrow_mut().waiting.pop_front();
        match next {
            Some(arrived) => arrived,
            None => std::future::pending().await,
        }
    }

    async fn gone(&self) {
        std::future::poll_fn(|context| {
            if self.is_gone() {
                return Poll::Ready(());
            }
            self.0.borrow_mut().waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn send(&self, text: &str) -> bool {
        if self.is_gone() {
            return false;
        }
        self.0.borrow_mut().sent.push(serde_json::from_str(text).unwrap());
        let waker = self.0.borrow_mut().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    fn close(&self, code: u16, _: &str) {
        self.0.borrow_mut().closed = Some(code);
    }
}

/// Runs a connection with these frames to its end; answers what the client saw.
fn run(world: &mut Simulation, frames: Vec<Arrived>, leaves_after: Option<usize>) -> (Vec<Value>, Option<u16>) {
    let client = Client::default();
    client.0.borrow_mut().waiting = frames.into();
    client.0.borrow_mut().leaves_after = leaves_after;
    let head = RequestHead { credential: Some(secret().reveal()), ..RequestHead::default() };
    world.run(converse(world.outside(), (head, AccountId::parse("acct").unwrap()), client.clone()));
    world.settle_down();
    let seen = client.0.borrow();
    (seen.sent.clone(), seen.closed)
}

fn create(input: &str, more: Value) -> Arrived {
    let mut frame = json!({"type": "response.create", "model": "m", "store": false, "input": input});
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Arrived::Text(frame.to_string())
}

fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

#[test]
fn each_frame_is_a_request_with_a_receipt_of_its_own_and_the_second_has_the_first_in_it() {
    let mut world = simulation();
    for _ in 0..2 {
        world.script("a.example.com", Script::Slow(10, PIECES.to_vec()));
    }
    // What goes on from a response has to know its id, which is the same for the same randomness.
    let (sent, _) = run(&mut world, vec![create("one", json!({}))], None);
    assert_eq!((kinds(&sent)[0], sent.last().unwrap()["type"].as_str()), ("response.created", Some("error")));
    let completed = sent.iter().find(|frame| frame["type"] == "response.completed").unwrap();
    let id = completed["response"]["id"].clone();
    assert!(sent[0]["headers"]["x-request-id"].as_str().unwrap().starts_with("gen-"));
    let mut world = simulation();
    for _ in 0..2 {
        world.script("a.example.com", Script::Slow(10, PIECES.to_vec()));
    }
    let (sent, closed) =
        run(&mut world, vec![create("one", json!({})), create("two", json!({"previous_response_id": id}))], None);
    assert_eq!(kinds(&sent).iter().filter(|kind| **kind == "response.completed").count(), 2, "{sent:?}");
    let second: Value = serde_json::from_str(&world.world.calls.borrow()[1].body).unwrap();
    let said: Vec<&str> =
        second["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(said, ["user", "assistant", "user"]);
    let receipts = world.world.memory.borrow().receipts();
    assert_eq!(
        receipts.iter().map(|(_, receipt)| receipt.status).collect::<Vec<_>>(),
        [RequestStatus::Completed, RequestStatus::Completed]
    );
    // Then nobody says anything, until the connection is closed.
    assert_eq!(
        (closed, sent.last().unwrap()["error"]["code"].as_str()),
        (Some(1001), Some("websocket_connection_limit_reached"))
    );
}

#[test]
fn a_client_that_leaves_at_any_frame_has_left_the_answer() {
    for frames in 1..12 {
        let mut world = simulation();
        world.script("a.example.com", Script::Slow(10, PIECES.to_vec()));
        let (sent, closed) = run(&mut world, vec![create("one", json!({}))], Some(frames));
        assert_eq!(closed, Some(1001));
        let receipts = world.world.memory.borrow().receipts();
        assert_eq!(receipts.len(), 1, "after {frames} frames");
        // The words come in five frames, and a sixth says that upstream is still there. What follows comes at once, with the end
        // of upstream's answer.
        let expected = if frames > 6 { RequestStatus::Completed } else { RequestStatus::Aborted };
        assert!(sent.len() >= frames || sent.iter().any(|frame| frame["type"] == "response.completed"));
        assert_eq!(receipts[0].1.status, expected, "after {frames} frames");
        assert_eq!(world.world.open_calls.get(), 0, "nothing is open upstream");
        world.world.memory.borrow().check_law();
    }
}

#[test]
fn what_is_no_request_costs_nothing_and_what_is_too_much_ends_the_connection() {
    let mut world = simulation();
    let frames = vec![
        Arrived::Text("hello".to_owned()),
        create("x", json!({"generate": false})),
        Arrived::TooMuch,
        create("x", json!({})),
    ];
    let (sent, closed) = run(&mut world, frames, None);
    assert_eq!(kinds(&sent), ["error", "response.created", "response.in_progress", "response.completed", "error"]);
    assert_eq!(closed, Some(1009));
    let (sent, closed) = run(&mut world, vec![Arrived::Binary], None);
    assert_eq!((kinds(&sent), closed), (vec!["error"], Some(1003)));
    assert_eq!(run(&mut world, vec![Arrived::Gone], None), (vec![], Some(1001)));
    assert!(world.world.calls.borrow().is_empty() && world.world.memory.borrow().receipts().is_empty());
}
