//! Groups and what an account object remembers: what is written together, what needs no look at the store, and what stays bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use serde_json::json;
use support::object::{Failure, Fault, Object};
use support::tables::Tables;
use tokens_forge::account::{
    AccountAnswer, AccountRecord, AccountState, Adjustment, Checkpoint, Command, Counters, Event, Extension, Facts, HoldRequest,
    KeyChange, MOST_HOLDS, MOST_IN_A_GROUP, MOST_KEYS, MOST_LINES, MOST_SUBJECTS, Memory, Order, OrderState, Outcome,
    ProjectRecord, Provider, RequestStatus, RunBook, RunLine, Served, Settlement, Touches,
};
use tokens_forge::catalog::{CutPolicy, RouteKind};
use tokens_forge::id::{AccountId, BucketId, ChannelId, KeyHash, KeyId, ModelName, OrderId, ProjectId, RequestId, RunId};
use tokens_forge::key::KeyRecord;
use tokens_forge::money::{Money, Price, Rates};
use tokens_forge::time::Timestamp;
use tokens_forge::usage::{Usage, UsageSource};

const START: i64 = 1_800_000_000_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(START + ms)
}

fn nanos(nanos: i64) -> Money {
    Money::from_nanos(nanos).unwrap()
}

/// The id of a request that came so many milliseconds later.
fn id(ms: u64) -> RequestId {
    RequestId::new(at(i64::try_from(ms).unwrap()), 7)
}

fn key(name: &str) -> Command {
    let budgets = json!({"budgets": [{"bucket": "credit", "period": "day", "limit": "900"}]});
    let record = KeyRecord {
        id: KeyId::parse(name).unwrap(),
        hash: KeyHash::parse(name).unwrap(),
        account: AccountId::parse("a").unwrap(),
        project: ProjectId::first(),
        label: name.to_owned(),
        version: 1,
        created_at: at(0),
        revoked_at: None,
        policy: serde_json::from_value(budgets).unwrap(),
    };
    Command::PutKey(Box::new(record.into()))
}

fn credit() -> Adjustment {
    Adjustment {
        id: "adj".to_owned(),
        bucket: BucketId::parse("credit").unwrap(),
        amount: nanos(1_000_000_000_000),
        reason: "test".to_owned(),
        author: "test".to_owned(),
        on_behalf_of: None,
        note: None,
    }
}

/// An account whose key and project have a budget each, that has just started.
fn opened() -> Object {
    let (mut tables, account) = (Tables::default(), AccountId::parse("a").unwrap());
    tables.command(Command::Open(AccountRecord { id: account.clone(), name: "A".into(), created_at: at(0) }.into()), at(0));
    let budgets = serde_json::from_value(json!([{"bucket": "credit", "period": "total", "limit": "900"}])).unwrap();
    let project = ProjectRecord { id: ProjectId::first(), account, name: "P".into(), budgets, created_at: at(0) };
    tables.command(Command::PutProject(project.into()), at(0));
    tables.command(key("key"), at(0));
    assert_eq!(tables.command(Command::Adjust(credit()), at(0)), AccountAnswer::Done);
    let object = Object::default();
    object.tables.replace(tables);
    object
}

fn hold_by(request: &RequestId, key: &str, run: Option<&str>) -> HoldRequest {
    HoldRequest {
        leg: 0,
        key_version: 1,
        bucket: BucketId::parse("credit").unwrap(),
        amount: nanos(10_000_000),
        least: None,
        currency: String::new(),
        waits: false,
        timeout_ms: 60_000,
        tokens: 5,
        idempotency: None,
        is_last: true,
        facts: Facts {
            request: request.clone(),
            created_at: at(0),
            account: AccountId::parse("a").unwrap(),
            project: ProjectId::first(),
            key: KeyId::parse(key).unwrap(),
            key_label: key.to_owned(),
            run: run.and_then(RunId::parse),
            endpoint: "/v1/chat/completions".to_owned(),
            stream: false,
            requested_model: "m".to_owned(),
            counted_as: None,
            catalog_version: 1,
            promise: None,
        },
    }
}

fn hold(request: &RequestId) -> Command {
    Command::Hold(Box::new(hold_by(request, "key", None)))
}

/// The same with an idempotency key.
fn claims(request: &RequestId) -> Command {
    let claim = Some(("claim".to_owned(), "body".to_owned()));
    Command::Hold(Box::new(HoldRequest { idempotency: claim, ..hold_by(request, "key", None) }))
}

fn served() -> Served {
    let rates = Rates { input: Some(nanos(1_000_000_000)), ..Rates::default() };
    Served {
        model: ModelName::parse("m").unwrap(),
        upstream_model: "m-1".to_owned(),
        route: RouteKind::Official,
        channel: ChannelId::parse("c").unwrap(),
        bucket: BucketId::parse("credit").unwrap(),
        price: Price { rates, tiers: Vec::new() },
        why: "because".to_owned(),
        output_limit: None,
    }
}

fn checkpoint(request: &RequestId, tokens: u64) -> Command {
    let usage = Usage { input: tokens, ..Usage::default() };
    let checkpoint = Checkpoint { served: served(), attempts: Vec::new(), usage };
    Command::Checkpoint(Box::new(Extension { request: request.clone(), checkpoint, timeout_ms: 60_000 }))
}

fn settle(request: &RequestId) -> Command {
    let outcome = Outcome {
        status: RequestStatus::Completed,
        served: Some(served()),
        attempts: Vec::new(),
        usage: Usage { input: 1_000, ..Usage::default() },
        usage_source: UsageSource::Upstream,
        bounds: None,
        upstream_cut: CutPolicy::Free,
        finish_reason: None,
        error: None,
        next_step: None,
        first_byte_ms: None,
        dropped_parameters: Vec::new(),
        promise: None,
        elsewhere: Vec::new(),
        latency_ms: 1,
    };
    Command::Settle(Box::new(Settlement { request: request.clone(), outcome, body: None, kept: None }))
}

/// Decides on commands together; how often the store was asked for the state, and how much was written.
fn together(object: &Object, commands: &[Command]) -> (usize, usize) {
    let before = (object.asked.get(), object.written.get());
    let together = object.together(commands, at(1), None);
    assert!(together.faults.is_empty() && together.answers.iter().all(Result::is_ok), "{together:?}");
    for (command, answer) in commands.iter().zip(together.answers) {
        let is_hold = matches!(command, Command::Hold(_));
        assert!(if is_hold { Tables::granted(&answer.unwrap()) } else { answer == Ok(AccountAnswer::Done) }, "{command:?}");
    }
    (object.asked.get() - before.0, object.written.get() - before.1)
}

fn agrees(object: &Object) {
    assert_eq!(object.differs(), None);
    object.tables.borrow().check_law();
}

#[test]
fn sixteen_requests_of_one_key_write_its_counters_once() {
    let object = opened();
    let requests: Vec<RequestId> = (0..16).map(id).collect();
    assert_eq!(together(&object, &requests.iter().map(hold).collect::<Vec<_>>()), (1, 16));
    let settled: Vec<Command> = requests.iter().map(settle).collect();
    // What is written: 16 holds that are closed, 16 receipts, one tally of the key and one of the project.
    assert_eq!(together(&object, &settled), (0, 34));
    agrees(&object);
}

#[test]
fn a_hold_that_is_gone_within_its_group_is_never_written() {
    let (object, request) = (opened(), id(1));
    let whole = [hold(&request), checkpoint(&request, 1), checkpoint(&request, 2), settle(&request)];
    assert_eq!(together(&object, &whole), (1, 3), "a receipt and two tallies");
    assert!(object.tables.borrow().left.is_empty());
    agrees(&object);
}

#[test]
fn a_hold_that_was_stored_before_is_closed_even_if_it_crossed_within_the_group() {
    let (object, request) = (opened(), id(1));
    together(&object, &[hold(&request)]);
    let crossing = Command::Hold(Box::new(HoldRequest { leg: 1, ..hold_by(&request, "key", None) }));
    together(&object, &[crossing, settle(&request)]);
    assert!(object.tables.borrow().holds.is_empty());
    agrees(&object);
}

#[test]
fn a_changed_key_or_project_is_written_even_if_it_is_counted_on_in_the_same_group() {
    let (object, account) = (opened(), AccountId::parse("a").unwrap());
    together(&object, &[hold(&id(1)), hold(&id(2)), settle(&id(2)), hold(&id(3))]);
    let label = Some("another".to_owned());
    let change = KeyChange { policy: serde_json::Map::new(), label: label.clone(), revoke: false, by: None };
    let budgets = serde_json::from_value(json!([{"bucket": "credit", "period": "total", "limit": "800"}])).unwrap();
    let project = ProjectRecord { id: ProjectId::first(), account, name: "Q".into(), budgets, created_at: at(0) };
    let changes = [Command::ChangeKey(KeyId::parse("key").unwrap(), change), settle(&id(1))];
    assert!(object.together(&changes, at(1), None).answers.iter().all(Result::is_ok));
    together(&object, &[Command::PutProject(project.into()), settle(&id(3))]);
    let tables = object.tables.borrow().clone();
    assert_eq!(tables.keys.values().next().map(|key| key.record.label.clone()), label);
    assert_eq!(tables.projects.values().next().map(|project| project.record.name.as_str()), Some("Q"));
    agrees(&object);
}

#[test]
fn orders_without_a_request_key_are_counted_within_a_group() {
    let order = |number: usize| {
        Command::Place(Box::new(Order {
            id: OrderId::parse(&format!("order-{number}")).unwrap(),
            account: AccountId::parse("a").unwrap(),
            key: KeyId::parse("key").unwrap(),
            bucket: BucketId::parse("credit").unwrap(),
            amount: nanos(1),
            currency: "USD".to_owned(),
            provider: Provider::Manual,
            state: OrderState::InReview,
            created_at: at(0),
            expires_at: None,
            request_key: None,
            reference: None,
            session: None,
            url: None,
            payment: None,
            reason: None,
            author: None,
            on_behalf_of: None,
            note: None,
            paid_at: None,
            entry: None,
            refunded: Money::ZERO,
            given_back: Money::ZERO,
            refunds: Vec::new(),
            disputes: Vec::new(),
            deliveries: Vec::new(),
        }))
    };
    let object = opened();
    let together = object.together(&(0..21).map(order).collect::<Vec<_>>(), at(1), None);
    let made = together.answers.iter().filter(|answer| matches!(answer, Ok(AccountAnswer::Order(_)))).count();
    assert_eq!(made, 20, "the last one is beyond what may be open");
    agrees(&object);
}

#[test]
fn of_several_checkpoints_the_last_is_written() {
    let (object, request) = (opened(), id(1));
    together(&object, &[hold(&request)]);
    assert_eq!(together(&object, &[checkpoint(&request, 1), checkpoint(&request, 2)]), (0, 1));
    assert_eq!(object.tables.borrow().holds[request.as_str()].checkpoint.as_ref().unwrap().usage.input, 2);
    agrees(&object);
}

#[test]
fn requests_need_no_look_at_the_store_once_their_books_are_known() {
    let object = opened();
    together(&object, &[hold(&id(0)), settle(&id(0))]);
    for request in (1..50).map(id) {
        assert_eq!(together(&object, &[hold(&request)]).0, 0);
        assert_eq!(together(&object, &[checkpoint(&request, 1)]).0, 0);
        assert_eq!(together(&object, &[settle(&request)]).0, 0);
    }
    agrees(&object);
}

#[test]
fn the_store_is_asked_about_requests_that_are_earlier_than_the_last_one_it_knows() {
    let object = opened();
    together(&object, &[hold(&id(20)), settle(&id(20))]);
    object.restart();
    assert_eq!(together(&object, &[hold(&id(19)), settle(&id(19))]).0, 1, "it may be closed");
    assert_eq!(together(&object, &[hold(&id(18))]).0, 1, "it may be closed");
    assert_eq!(together(&object, &[settle(&id(18))]).0, 0, "its hold is open");
    assert_eq!(together(&object, &[hold(&id(21)), settle(&id(21))]).0, 0, "it cannot be closed");
    // A request that was closed since is refused.
    let AccountAnswer::Hold(answer) = object.together(&[hold(&id(21))], at(2), None).answers.remove(0).unwrap() else { panic!() };
    assert!(format!("{answer:?}").contains("conflict") || format!("{answer:?}").contains("Conflict"), "{answer:?}");
    agrees(&object);
}

#[test]
fn the_store_is_asked_about_new_requests_while_an_open_hold_is_not_remembered() {
    let object = opened();
    together(&object, &[hold(&id(1)), hold(&id(2))]);
    object.restart();
    assert_eq!(together(&object, &[settle(&id(1))]).0, 1);
    assert_eq!(together(&object, &[hold(&id(3))]).0, 1, "the second may be its hold");
    assert_eq!(together(&object, &[checkpoint(&id(2), 1)]).0, 1);
    assert_eq!(together(&object, &[hold(&id(4))]).0, 0, "all are known");
    agrees(&object);
}

#[test]
fn whether_a_request_is_closed_whose_id_something_else_has_the_store_knows() {
    let object = opened();
    together(&object, &[hold(&id(1))]);
    let other = Adjustment { id: id(1).to_string(), ..credit() };
    together(&object, &[Command::Adjust(other), settle(&id(1)), hold(&id(2))]);
    assert_eq!(object.tables.borrow().holds.len(), 2, "its subject is taken");
    agrees(&object);
    object.restart();
    together(&object, &[settle(&id(1)), hold(&id(3))]);
    agrees(&object);
}

#[test]
fn what_has_an_idempotency_key_is_asked_for() {
    let (object, request) = (opened(), id(1));
    assert_eq!(together(&object, &[hold(&id(0)), claims(&request)]), (2, 3));
    assert_eq!(together(&object, &[settle(&request)]).0, 1);
    assert!(object.tables.borrow().claims["claim"].is_closed);
    agrees(&object);
}

#[test]
fn more_requests_than_are_remembered_are_no_harm() {
    let object = opened();
    let most = u64::try_from(MOST_SUBJECTS).unwrap();
    for first in (100..=most + 200).step_by(100) {
        let requests: Vec<Command> =
            (first..first + 100).map(id).flat_map(|request| [hold(&request), settle(&request)]).collect();
        together(&object, &requests);
    }
    assert_eq!(together(&object, &[hold(&id(99))]).0, 1, "earlier than all that are remembered");
    assert_eq!(together(&object, &[hold(&id(most + 1_000))]).0, 0);
    agrees(&object);
}

#[test]
fn more_open_holds_than_are_remembered_are_no_harm() {
    let object = opened();
    let most = u64::try_from(MOST_HOLDS).unwrap();
    let requests: Vec<RequestId> = (0..most + 10).map(id).collect();
    let (asked, written) = together(&object, &requests.iter().map(hold).collect::<Vec<_>>());
    assert_eq!((asked, written), (1 + 9, requests.len()), "the store is asked about those beyond the bound");
    assert_eq!(together(&object, &requests[..5].iter().map(settle).collect::<Vec<_>>()).0, 5, "the first were forgotten");
    together(&object, &requests[5..].iter().map(settle).collect::<Vec<_>>());
    assert!(object.tables.borrow().holds.is_empty());
    assert_eq!(together(&object, &[hold(&id(most + 99))]).0, 0, "none is open that is not remembered");
    agrees(&object);
}

#[test]
fn more_keys_and_runs_than_are_remembered_are_no_harm() {
    let object = opened();
    let keys: Vec<String> = (0..MOST_KEYS + 50).map(|number| format!("key-{number}")).collect();
    for (number, name) in keys.iter().enumerate() {
        assert!(object.together(&[key(name)], at(1), None).answers[0].is_ok());
        let request = id(u64::try_from(number).unwrap());
        let asks = Command::Hold(Box::new(hold_by(&request, name, Some(&format!("run-{number}")))));
        together(&object, &[asks, settle(&request)]);
    }
    agrees(&object);
    // The last ones are known, and the first are forgotten.
    let asks =
        |key: &str, run: Option<&str>, ms: u64| together(&object, &[Command::Hold(Box::new(hold_by(&id(ms), key, run)))]).0;
    let last = MOST_KEYS + 49;
    let (key, run) = (format!("key-{last}"), format!("run-{last}"));
    assert_eq!((asks(&key, Some(&run), 1_000), asks(&key, Some("run-0"), 1_001), asks("key-0", None, 1_002)), (0, 1, 1));
}

#[test]
fn each_part_that_is_remembered_is_compared() {
    let object = opened();
    let request = hold_by(&id(1), "key", Some("run"));
    together(&object, &[Command::Hold(Box::new(request)), hold(&id(2)), settle(&id(2))]);
    let differs = |change: fn(&mut Tables)| {
        let other = Object::of(&object.tables.borrow(), &object.memory.borrow());
        assert_eq!(other.differs(), None);
        change(&mut other.tables.borrow_mut());
        let what = other.differs().unwrap();
        let is_sampled = other.memory.borrow().sample(&other, 1).unwrap() == Some(what.clone());
        (what.split(" differs").next().unwrap().to_owned(), is_sampled)
    };
    let told = |what: &str| (what.to_owned(), true);
    assert_eq!(differs(|tables| tables.holds.values_mut().next().unwrap().amount = Money::ZERO), told("what is set aside"));
    assert_eq!(differs(|tables| tables.holds.values_mut().next().unwrap().leg = 9), told("a hold"));
    assert_eq!(differs(|tables| tables.keys.values_mut().next().unwrap().counters.requests = 9), told("a key"));
    assert_eq!(differs(|tables| tables.keys.clear()), told("a key"));
    assert_eq!(differs(|tables| tables.projects.values_mut().next().unwrap().counters.tokens += 9), told("a project"));
    let run = |tables: &mut Tables| {
        let run = RunBook { lines: Vec::new(), ..RunBook::new(RunId::parse("run").unwrap()) };
        tables.runs.insert(run.id.clone(), RunBook { counters: Counters { requests: 9, ..Counters::default() }, ..run });
    };
    assert_eq!(differs(run), told("a run"));
}

#[test]
fn runs_are_remembered_by_their_lines() {
    let run = |number: usize| {
        let line = |line: usize| RunLine {
            model: format!("m-{line}"),
            route: None,
            bucket: None,
            status: RequestStatus::Failed,
            requests: 1,
            retries: 0,
            fallbacks: 0,
            usage: Usage::default(),
            charge: Money::ZERO,
            last_at: at(0),
        };
        RunBook { lines: (0..100).map(line).collect(), ..RunBook::new(RunId::parse(&format!("run-{number}")).unwrap()) }
    };
    let mut memory = Memory::default();
    memory.begin(&AccountState::default(), None);
    let knows = |memory: &Memory, number: usize| {
        let state = memory.state(&Touches { run: Some(&run(number).id), ..Touches::default() });
        state.map(|state| assert_eq!(state.run, Some(run(number)))).is_some()
    };
    let most = MOST_LINES / 100;
    for number in (0..most).chain(0..most / 2) {
        memory.apply(&Event::RunStored(Box::new(run(number))));
    }
    assert!((0..most).all(|number| knows(&memory, number)), "what is stored again counts once");
    memory.apply(&Event::RunStored(Box::new(run(most))));
    assert!(knows(&memory, most) && !knows(&memory, 0));
}

#[test]
fn a_store_that_fails_leaves_nothing_of_a_group_and_each_runs_alone() {
    let commands = [hold(&id(1)), hold(&id(2)), hold(&id(3))];
    for failure in [Failure::After(0), Failure::Writing(2), Failure::AtCommit] {
        let object = opened();
        let together = object.together(&commands, at(1), Some(failure));
        assert_eq!(together.faults.len(), 1, "{failure:?}");
        assert!(together.is_changed && together.answers.iter().all(Result::is_ok), "{failure:?}: {together:?}");
        assert_eq!(object.tables.borrow().holds.len(), 3, "{failure:?}");
        agrees(&object);
    }
    for failure in [Failure::Unreadable(1), Failure::NeverWritten(1)] {
        let object = opened();
        let together = object.together(&commands, at(1), Some(failure));
        let failed: Vec<bool> = together.answers.iter().map(Result::is_err).collect();
        assert_eq!((failed, together.is_changed), (vec![false, true, false], true), "{failure:?}");
        assert_eq!(object.tables.borrow().holds.len(), 2, "{failure:?}");
        agrees(&object);
    }
}

#[test]
fn a_long_queue_is_taken_in_groups() {
    let object = opened();
    let requests: Vec<Command> =
        (0..u64::try_from(MOST_IN_A_GROUP).unwrap() + 44).map(id).map(|request| hold(&request)).collect();
    // The first group fails at its commit, and the second does not know of it.
    let together = object.together(&requests, at(1), Some(Failure::AtCommit));
    assert_eq!((together.faults.len(), together.answers.len()), (1, requests.len()));
    assert_eq!(object.tables.borrow().holds.len(), requests.len());
    agrees(&object);
}

/// What is remembered wrongly is noticed as soon as the store is asked, and what was decided by it is not stored.
#[test]
fn what_differs_from_what_is_stored_is_noticed_and_forgotten() {
    let object = opened();
    together(&object, &[hold(&id(1))]);
    // Somebody changes the tables behind the object's back.
    object.tables.borrow_mut().command(settle(&id(1)), at(1));
    assert!(object.differs().is_some_and(|what| what.starts_with("the head of the journal differs")));
    assert!(object.memory.borrow().sample(&object, 0).unwrap().is_some());
    let together = object.together(&[hold(&id(2)), claims(&id(3))], at(2), None);
    assert!(matches!(together.faults.as_slice(), [Fault(what)] if what.contains("differs from what is stored")), "{together:?}");
    assert!(together.answers.iter().all(|answer| Tables::granted(answer.as_ref().unwrap())));
    agrees(&object);
}

#[test]
fn an_object_that_remembers_nothing_differs_from_nothing() {
    let object = opened();
    assert_eq!(object.differs(), None);
    assert_eq!(object.memory.borrow().sample(&object, 3).unwrap(), None);
    assert!(object.memory.borrow().state(&Touches::default()).is_none());
}
