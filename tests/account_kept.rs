//! Answers that an account keeps: once, sealed, for a day, within its room, and outside of every sum.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use support::tables::Tables;
use tokens_forge::account::{
    AccountAnswer, AccountRecord, AccountStore, Adjustment, Command, Facts, HoldRequest, KEPT_MS, KeptAnswer, KeptItems,
    LONGEST_KEPT, MOST_KEPT, MOST_READ, Outcome, Query, RequestStatus, Served, Settlement, forget,
};
use tokens_forge::catalog::{CutPolicy, RouteKind};
use tokens_forge::id::{AccountId, BucketId, ChannelId, KeyHash, KeyId, ModelName, ProjectId, RequestId};
use tokens_forge::key::{KeyRecord, Policy};
use tokens_forge::money::{Money, Price};
use tokens_forge::time::Timestamp;
use tokens_forge::usage::{Usage, UsageSource};

const START: i64 = 1_800_000_000_000;

fn start() -> Timestamp {
    Timestamp::from_millis(START)
}

fn request(name: &str) -> RequestId {
    RequestId::parse(name).unwrap()
}

/// An account with 10 and one key.
fn opened() -> Tables {
    let (account, mut memory) = (AccountId::parse("a").unwrap(), Tables::default());
    memory.command(Command::Open(AccountRecord { id: account.clone(), name: "A".into(), created_at: start() }.into()), start());
    let key = KeyRecord {
        id: KeyId::parse("key").unwrap(),
        hash: KeyHash::parse("hash").unwrap(),
        account,
        project: ProjectId::first(),
        label: "k".to_owned(),
        version: 1,
        created_at: start(),
        revoked_at: None,
        policy: Policy::default(),
    };
    memory.command(Command::PutKey(Box::new(key.into())), start());
    let amount = Money::parse("10").unwrap();
    let bucket = BucketId::parse("credit").unwrap();
    memory.command(
        Command::Adjust(Adjustment {
            id: "adj".into(),
            bucket,
            amount,
            reason: "r".into(),
            author: "t".into(),
            on_behalf_of: None,
            note: None,
        }),
        start(),
    );
    memory
}

fn hold(memory: &mut Tables, id: &str, now: Timestamp) {
    let facts = Facts {
        request: request(id),
        created_at: now,
        account: AccountId::parse("a").unwrap(),
        project: ProjectId::first(),
        key: KeyId::parse("key").unwrap(),
        key_label: "k".to_owned(),
        run: None,
        endpoint: "/v1/responses".to_owned(),
        stream: false,
        requested_model: "m".to_owned(),
        counted_as: None,
        catalog_version: 1,
        promise: None,
    };
    let asked = HoldRequest {
        leg: 0,
        key_version: 1,
        bucket: BucketId::parse("credit").unwrap(),
        amount: Money::parse("1").unwrap(),
        least: None,
        currency: String::new(),
        waits: false,
        timeout_ms: 60_000,
        idempotency: None,
        tokens: 10,
        is_last: true,
        facts,
    };
    let answer = memory.command(Command::Hold(Box::new(asked)), now);
    assert!(Tables::granted(&answer), "{answer:?}");
}

fn settlement(id: &str, status: RequestStatus, kept: Option<String>) -> Command {
    let served = Served {
        model: ModelName::parse("m").unwrap(),
        upstream_model: "m-1".to_owned(),
        route: RouteKind::Official,
        channel: ChannelId::parse("c").unwrap(),
        bucket: BucketId::parse("credit").unwrap(),
        price: serde_json::from_str::<Price>(r#"{"input":"1","output":"1"}"#).unwrap(),
        why: "because".to_owned(),
        output_limit: None,
    };
    let outcome = Outcome {
        status,
        served: Some(served),
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
    Command::Settle(Box::new(Settlement { request: request(id), outcome, body: None, kept }))
}

fn kept(memory: &mut Tables, ids: &[&str], now: Timestamp) -> Vec<(String, KeptItems)> {
    let asked = ids.iter().map(|id| request(id)).collect();
    match memory.command(Command::Read(Query::Kept(asked)), now) {
        AccountAnswer::Kept(kept) => kept.into_iter().map(|(id, kept)| (id.to_string(), kept)).collect(),
        other => panic!("{other:?}"),
    }
}

fn sealed(id: &str, text: &str) -> (String, KeptItems) {
    (id.to_owned(), KeptItems::Sealed(text.to_owned()))
}

#[test]
fn an_answer_is_kept_with_its_receipt_and_once() {
    let (mut memory, now) = (opened(), start());
    hold(&mut memory, "gen-1", now);
    assert_eq!(kept(&mut memory, &["gen-1", "gen-2"], now), [("gen-1".to_owned(), KeptItems::Open)]);
    let rows = memory.journal.len();
    for text in ["first", "again"] {
        memory.command(settlement("gen-1", RequestStatus::Completed, Some(text.to_owned())), now.plus(5));
    }
    assert_eq!(kept(&mut memory, &["gen-2", "gen-1"], now.plus(6)), [sealed("gen-1", "first")]);
    assert_eq!(memory.journal.len(), rows + 1, "what is kept is no row of the journal");
    memory.check_law();
}

#[test]
fn an_object_that_dies_before_the_commit_keeps_nothing_and_charges_nothing() {
    let (mut memory, now) = (opened(), start());
    hold(&mut memory, "gen-1", now);
    let before = memory.balance("credit");
    drop(memory.decide(settlement("gen-1", RequestStatus::Completed, Some("lost".to_owned())), now));
    assert_eq!((memory.kept.len(), memory.balance("credit")), (0, before));
    memory.command(settlement("gen-1", RequestStatus::Completed, Some("said again".to_owned())), now);
    assert_eq!(kept(&mut memory, &["gen-1"], now), [sealed("gen-1", "said again")]);
}

#[test]
fn only_what_came_to_its_end_and_is_not_too_long_is_kept() {
    let (mut memory, now) = (opened(), start());
    let longest = "x".repeat(LONGEST_KEPT);
    for (id, status, text, is_kept) in [
        ("gen-1", RequestStatus::Truncated, Some("t".to_owned()), false),
        ("gen-2", RequestStatus::Aborted, Some("a".to_owned()), false),
        ("gen-3", RequestStatus::Completed, None, false),
        ("gen-4", RequestStatus::Completed, Some(longest.clone()), true),
        ("gen-5", RequestStatus::Completed, Some(longest + "x"), false),
    ] {
        hold(&mut memory, id, now);
        let charged = memory.receipts().len();
        memory.command(settlement(id, status, text), now);
        assert_eq!(memory.receipts().len(), charged + 1);
        assert_eq!(kept(&mut memory, &[id], now).len(), usize::from(is_kept), "{id}");
    }
    memory.check_law();
}

#[test]
fn a_late_settlement_keeps_its_answer_too() {
    let (mut memory, now) = (opened(), start());
    hold(&mut memory, "gen-1", now);
    memory.tick(now.plus(61_000));
    assert_eq!(kept(&mut memory, &["gen-1"], now.plus(61_000)), []);
    for text in ["late", "later"] {
        memory.command(settlement("gen-1", RequestStatus::Completed, Some(text.to_owned())), now.plus(62_000));
    }
    assert_eq!(kept(&mut memory, &["gen-1"], now.plus(63_000)), [sealed("gen-1", "late")]);
    memory.check_law();
}

#[test]
fn an_answer_is_gone_after_a_day() {
    let (mut memory, now) = (opened(), start());
    for (id, at) in [("gen-1", 0), ("gen-2", 1_000)] {
        hold(&mut memory, id, now.plus(at));
        memory.command(settlement(id, RequestStatus::Completed, Some(id.to_owned())), now.plus(at));
    }
    // It is not read any more, even before the alarm has come.
    assert_eq!(kept(&mut memory, &["gen-1", "gen-2"], now.plus(KEPT_MS - 1)).len(), 2);
    assert_eq!(kept(&mut memory, &["gen-1", "gen-2"], now.plus(KEPT_MS)), [sealed("gen-2", "gen-2")]);
    memory.tick(now.plus(KEPT_MS));
    assert_eq!(memory.kept.len(), 1);
    memory.tick(now.plus(KEPT_MS + 1_000));
    assert_eq!(memory.kept.len(), 0);
    memory.check_law();
}

#[test]
fn the_oldest_leave_where_there_is_no_more_room() {
    let mut memory = opened();
    for seq in 1..=4 {
        memory.kept.insert(seq, KeptAnswer { seq, at: start(), sealed: "x".repeat(10) });
    }
    for (room, gone) in [(40, None), (39, Some(1)), (29, Some(2)), (10, Some(3)), (9, Some(4)), (0, Some(4))] {
        let Ok(stale) = memory.stale(start().plus(-KEPT_MS), room);
        assert_eq!(stale, gone, "{room} bytes");
    }
    let Ok(events) = forget(&memory, start());
    assert!(events.is_empty() && MOST_KEPT > 40, "there is room for so little");
}

#[test]
fn one_request_reads_no_more_than_a_context_holds() {
    let (mut memory, now) = (opened(), start());
    let ids: Vec<String> = (0..6).map(|n| format!("gen-{n}")).collect();
    for id in &ids {
        hold(&mut memory, id, now);
        memory.command(settlement(id, RequestStatus::Completed, Some("x".repeat(LONGEST_KEPT))), now);
    }
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let most = usize::try_from(MOST_READ).unwrap() / LONGEST_KEPT;
    assert_eq!(kept(&mut memory, &names, now).len(), most);
}
