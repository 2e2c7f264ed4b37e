//! What is done for a request before its sender is known, and for who has had too much: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::cell::Cell;
use std::future::{IntoFuture, Ready, ready};
use std::rc::Rc;

use serde_json::{Value, json};
use support::outside::{Script, Simulation, secret};
use tokens_forge::body::{Arriving, Body, BodyRoom};
use tokens_forge::catalog::{Catalog, UpstreamHosts};
use tokens_forge::dialect::EndpointPath;
use tokens_forge::limits::Gate;
use tokens_forge::refusal::Refusal;
use tokens_forge::relay::{Incoming, ReplyBody, RequestHead, serve};

const ANSWER: &str = r#"{"id":"x","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
const CHAT: &str = "/v1/chat/completions";

fn simulation(buckets: &[&str], policy: Value) -> Simulation {
    let document = json!({
        "version": 1,
        "buckets": {"credit": {"label": "C", "currency": "USD"}},
        "channels": {"a": {"dialect": "openai", "base_url": "https://a.example.com/v1", "secrets": ["K"]}},
        "models": {"m": {"name": "M", "family": "f", "kind": "chat", "context_length": 1000, "max_output_tokens": 100, "routes":
            {"official": {"bucket": "credit", "price": {"input": "1", "output": "2"}, "candidates": [{"channel": "a", "upstream_model": "m"}]}}}},
    });
    Simulation::ready(Catalog::parse(&document.to_string(), UpstreamHosts::Public).unwrap(), buckets, policy)
}

struct Answered {
    status: u16,
    retry_after: Option<String>,
    body: Value,
    /// Whether anything of the request's body was read.
    is_read: bool,
}

/// A body that notes that it was read, and must be given the room of its account before.
struct Watched {
    text: String,
    is_read: Rc<Cell<bool>>,
    whose: String,
}

impl Arriving for Watched {
    fn within(self, place: BodyRoom) -> Self {
        Self { whose: format!("{place:?}"), ..self }
    }
}

impl IntoFuture for Watched {
    type Output = Result<Body, Refusal>;
    type IntoFuture = Ready<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        assert!(self.whose.contains("\"acct\""), "{}", self.whose);
        self.is_read.set(true);
        ready(Ok(self.text.into_bytes().into()))
    }
}

fn send(simulation: &mut Simulation, path: &str, model: &str) -> Answered {
    let is_read = Rc::new(Cell::new(false));
    let reading = Rc::clone(&is_read);
    let text = json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}).to_string();
    let body = Watched { text, is_read: reading, whose: String::new() };
    let address = "2001:db8:1:2:3::4".parse().ok();
    let head = RequestHead { credential: Some(secret().reveal()), address, ..RequestHead::default() };
    let future = serve(simulation.outside(), Incoming { called: EndpointPath::at(path).unwrap(), head, body });
    let reply = simulation.run(future);
    simulation.settle_down();
    let retry_after = reply.headers.iter().find(|(name, _)| *name == "retry-after").map(|(_, value)| value.clone());
    let ReplyBody::Full(bytes) = reply.body else { panic!("a stream") };
    Answered { status: reply.status, retry_after, body: serde_json::from_slice(&bytes).unwrap(), is_read: is_read.get() }
}

fn counted(simulation: &Simulation) -> Vec<(Gate, String)> {
    simulation.world.counted.borrow().clone()
}

#[test]
fn nothing_of_a_body_is_read_for_who_has_no_key_and_strangers_are_counted_by_their_network() {
    let mut simulation = simulation(&["credit"], json!({}));
    simulation.world.key.take();
    let answered = send(&mut simulation, CHAT, "m");
    assert_eq!((answered.status, answered.is_read), (401, false));
    assert_eq!(counted(&simulation), [(Gate::Stranger, "2001:db8:1:2::/64".to_owned())]);
    assert!(simulation.log().is_empty(), "{:?}", simulation.log());
    // Too many of them: told as what it is.
    simulation.world.closed.borrow_mut().push(Gate::Stranger);
    let answered = send(&mut simulation, CHAT, "m");
    assert_eq!((answered.status, answered.retry_after.as_deref(), answered.is_read), (429, Some("10"), false));
    assert_eq!(answered.body["error"]["metadata"]["limit_source"], "address");
    // And then not even looked up.
    simulation.world.resting.borrow_mut().push(Gate::Stranger);
    let before = counted(&simulation).len();
    let answered = send(&mut simulation, CHAT, "m");
    assert_eq!((answered.status, answered.retry_after.as_deref()), (429, Some("7")));
    assert_eq!(counted(&simulation).len(), before);
}

#[test]
fn strangers_at_the_same_address_do_not_keep_a_known_key_out() {
    let mut simulation = simulation(&["credit"], json!({}));
    simulation.world.resting.borrow_mut().extend([Gate::Stranger, Gate::Guess, Gate::Page]);
    simulation.script("a.example.com", Script::Status(200, ANSWER));
    assert_eq!(send(&mut simulation, CHAT, "m").status, 200);
    assert_eq!(counted(&simulation), []);
}

#[test]
fn a_key_whose_requests_are_refused_again_and_again_rests_before_anything_is_read() {
    let mut simulation = simulation(&[], json!({}));
    assert_eq!(send(&mut simulation, CHAT, "m").status, 402);
    assert_eq!(send(&mut simulation, CHAT, "nothing").status, 404);
    assert_eq!(counted(&simulation), vec![(Gate::Refused, "key".to_owned()); 2]);
    let receipts = simulation.world.memory.borrow().receipts().len();
    simulation.world.resting.borrow_mut().push(Gate::Refused);
    let asked = simulation.log().len();
    let answered = send(&mut simulation, CHAT, "m");
    assert_eq!((answered.status, answered.retry_after.as_deref(), answered.is_read), (429, Some("7"), false));
    assert_eq!(answered.body["error"]["metadata"]["limit_source"], "key");
    assert_eq!(simulation.log().len(), asked, "the account was asked nothing");
    assert_eq!(simulation.world.memory.borrow().receipts().len(), receipts, "and no row was written");
}

#[test]
fn what_is_paid_for_and_what_fails_on_our_side_is_not_counted() {
    let mut simulation = simulation(&["credit"], json!({}));
    simulation.script("a.example.com", Script::Status(200, ANSWER));
    assert_eq!(send(&mut simulation, CHAT, "m").status, 200);
    simulation.script("a.example.com", Script::Status(500, "oops"));
    assert_eq!(send(&mut simulation, CHAT, "m").status, 502);
    simulation.world.failing.borrow_mut().insert("hold", 9);
    assert_eq!(send(&mut simulation, CHAT, "m").status, 503);
    assert_eq!(counted(&simulation), []);
}

#[test]
fn what_costs_nothing_is_counted_by_key_and_refused_in_the_callers_words() {
    let mut simulation = simulation(&["credit"], json!({}));
    simulation.world.closed.borrow_mut().push(Gate::Free);
    let answered = send(&mut simulation, "/v1/messages/count_tokens", "m");
    assert_eq!((answered.status, answered.retry_after.as_deref(), answered.is_read), (429, Some("10"), false));
    assert_eq!((&answered.body["type"], &answered.body["error"]["type"]), (&json!("error"), &json!("rate_limit_error")));
    assert_eq!(counted(&simulation), [(Gate::Free, "key".to_owned())]);
}
