//! The protocol of hold, checkpoint, settlement, expiry and outbox, explored in every order that is possible within bounds.
//!
//! The account is the product's own code over tables in memory. Gateways, the network, the object's alarm and D1 are written
//! here, as small as `relay/ticket.rs`, `cloudflare/account_object.rs` and `cloudflare/outbox.rs` allow. Every lost, late or
//! doubled message, every death and every failure of D1 costs one of a few faults; all else is free to happen at any time.
//!
//! An answer arrives together with its command, or is lost: it changes nothing but its own gateway, so that arriving later
//! makes no difference. An object that dies before its commit is a command that is lost: deciding changes nothing. Of every command
//! in every state of the account it is also looked at what it comes to in a group with any other, with and without memory. A
//! group that dies is several messages that are lost.
//!
//! `MODEL_MORE_FAULTS=1` and `MODEL_REQUESTS=3` make the bounds wider.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod protocol;

use std::time::Instant;

use account::Plan;
use protocol::Protocol;
use stateright::{Checker, Expectation, Model};

/// What most requests do.
const PLAN: Plan = Plan { legs: &[("credit", 4)], used: 3, relayed: 1, checkpoints: &[], has_claim: false };

/// How many things may go wrong.
fn faults(usual: u8) -> u8 {
    usual + u8::try_from(bound("MODEL_MORE_FAULTS", 0)).unwrap()
}

fn bound(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap())
}

/// Looks at every state that can be reached and prints what was found.
fn explore(protocol: Protocol) {
    let (start, name) = (Instant::now(), protocol.name);
    let checker = protocol.checker().spawn_bfs().join();
    let (states, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
    let properties = checker.model().properties();
    let accounts = checker.model().known.lock().unwrap().len();
    println!("{name}: {states} states, {unique} unique, depth {depth}, {accounts} steps of the account, {:.1?}", start.elapsed());
    let found = checker.discoveries();
    let mut is_as_it_should = true;
    for property in &properties {
        let is_always = property.expectation == Expectation::Always;
        let path = found.get(property.name).map(|path| path.clone().into_actions());
        match (is_always, &path) {
            (true, None) => println!("  always: {}", property.name),
            (true, Some(path)) => println!("  BROKEN after {} steps: {} {path:?}", path.len(), property.name),
            (false, Some(path)) => println!("  seen after {} steps: {}", path.len(), property.name),
            (false, None) => println!("  NEVER SEEN: {}", property.name),
        }
        is_as_it_should &= is_always == path.is_none();
    }
    assert!(is_as_it_should, "{name}: see above");
}

/// Requests whose holds do not fit into the balance together. The first uses more than its hold, the second's checkpoint says
/// more than it uses.
#[test]
fn requests_compete_for_one_balance() {
    let first = Plan { used: 5, checkpoints: &[1], ..PLAN };
    let second = Plan { used: 2, checkpoints: &[3], ..PLAN };
    let third = Plan { legs: &[("credit", 3)], ..PLAN };
    let mut plans = vec![first, second, third];
    plans.truncate(bound("MODEL_REQUESTS", 2));
    explore(Protocol {
        name: "one balance",
        balances: &[("credit", 6)],
        plans,
        faults: faults(2),
        sees: &[
            "a capture",
            "a release",
            "an expiry with a checkpoint",
            "an expiry without one",
            "a correction that charges more",
            "a correction that gives back",
            "a correction that is not covered",
            "a refusal for holds of others",
            "a settlement that comes twice",
        ],
        ..Protocol::default()
    });
}

#[test]
fn requests_share_an_idempotency_key() {
    let plan = |used| Plan { used, checkpoints: &[1], has_claim: true, ..PLAN };
    explore(Protocol {
        name: "one idempotency key",
        balances: &[("credit", 9)],
        plans: vec![plan(2), plan(3)],
        faults: faults(1),
        sees: &[
            "a capture",
            "a release",
            "a correction that charges more",
            "a refusal for a request under way",
            "a replayed answer",
        ],
        ..Protocol::default()
    });
}

#[test]
fn a_request_crosses_to_another_bucket() {
    let crossing = Plan { legs: &[("credit", 4), ("wallet", 3)], used: 2, checkpoints: &[1], ..PLAN };
    let other = Plan { legs: &[("wallet", 3)], used: 2, ..PLAN };
    explore(Protocol {
        name: "a crossing",
        balances: &[("credit", 6), ("wallet", 5)],
        plans: vec![crossing, other],
        faults: faults(1),
        sees: &[
            "a capture",
            "a release",
            "an expiry with a checkpoint",
            "a crossing",
            "a refusal for holds of others",
            "a settlement that comes twice",
        ],
        ..Protocol::default()
    });
}

/// One request, and more that goes wrong.
#[test]
fn a_request_has_bad_luck() {
    explore(Protocol {
        name: "one request and D1",
        balances: &[("credit", 6)],
        plans: vec![Plan { checkpoints: &[1], ..PLAN }],
        faults: faults(3),
        flushes: Some(1),
        sees: &[
            "a capture",
            "a correction that charges more",
            "a settlement that comes twice",
            "a batch that comes too late",
            "a hold without an alarm",
        ],
        ..Protocol::default()
    });
}

#[test]
fn every_row_reaches_the_searchable_copy() {
    explore(Protocol {
        name: "two requests and D1",
        balances: &[("credit", 6)],
        plans: vec![PLAN, Plan { used: 2, ..PLAN }],
        faults: faults(1),
        flushes: Some(1),
        sees: &["a capture", "a correction that charges more", "a batch that comes too late"],
        ..Protocol::default()
    });
}
