//! The account under generated sequences: every interleaving of holds, settlements, duplicates, crashes, expiries and
//! adjustments keeps the balance law, checked after every step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use proptest::prelude::*;
use serde_json::json;
use support::tables::Tables;
use tokens_forge::account::{
    AccountAnswer, AccountRecord, AccountState, AccountStore, Adjustment, Checkpoint, Claim, Command, Counters, Expired,
    Extension, Facts, HoldAnswer, HoldRequest, KeyChange, Order, Outcome, ProjectRecord, RequestStatus, Served, Settlement,
    Touches, decide,
};
use tokens_forge::catalog::{CutPolicy, RouteKind};
use tokens_forge::id::{AccountId, BucketId, ChannelId, KeyHash, KeyId, ModelName, OrderId, ProjectId, RequestId};
use tokens_forge::key::{KeyRecord, Policy};
use tokens_forge::money::{Money, Price, Rates, Tier, cost, worst_cost};
use tokens_forge::refusal::Code;
use tokens_forge::time::Timestamp;
use tokens_forge::usage::{Most, Usage, UsageSource};

const START: i64 = 1_800_000_000_000;

fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

fn key(name: &str, policy: Policy) -> KeyRecord {
    KeyRecord {
        id: KeyId::parse(name).unwrap(),
        hash: KeyHash::parse(name).unwrap(),
        account: AccountId::parse("a").unwrap(),
        project: ProjectId::first(),
        label: name.to_owned(),
        version: 1,
        created_at: Timestamp::from_millis(START),
        revoked_at: None,
        policy,
    }
}

fn policy(value: serde_json::Value) -> Policy {
    serde_json::from_value(value).unwrap()
}

/// An account with three keys: one free, one with budgets, one with rates.
fn opened() -> Tables {
    let now = Timestamp::from_millis(START);
    let mut memory = Tables::default();
    let account = AccountId::parse("a").unwrap();
    memory.command(Command::Open(AccountRecord { id: account.clone(), name: "A".into(), created_at: now }.into()), now);
    let budgets = serde_json::from_value(json!([{"bucket": "wallet", "period": "total", "limit": "40"}])).unwrap();
    let project = ProjectRecord { id: ProjectId::first(), account, name: "P".into(), budgets, created_at: now };
    memory.command(Command::PutProject(project.into()), now);
    for (name, rules) in [
        ("free", json!({})),
        ("budgeted", json!({"budgets": [{"bucket": "credit", "period": "day", "limit": "3"}]})),
        ("limited", json!({"rpm": 5, "tpm": 3_000_000, "concurrency": 2})),
    ] {
        memory.command(Command::PutKey(Box::new(key(name, policy(rules)).into())), now);
    }
    memory
}

fn facts(request: &str, key: &str) -> Facts {
    Facts {
        request: RequestId::parse(request).unwrap(),
        created_at: Timestamp::from_millis(START),
        account: AccountId::parse("a").unwrap(),
        project: ProjectId::first(),
        key: KeyId::parse(key).unwrap(),
        key_label: key.to_owned(),
        run: None,
        endpoint: "/v1/chat/completions".to_owned(),
        stream: false,
        requested_model: "m".to_owned(),
        counted_as: None,
        catalog_version: 1,
        promise: None,
    }
}

fn hold(request: &str, key: &str, bucket: &str, amount: Money) -> HoldRequest {
    HoldRequest {
        leg: 0,
        key_version: 1,
        bucket: BucketId::parse(bucket).unwrap(),
        amount,
        least: None,
        currency: String::new(),
        waits: false,
        timeout_ms: 60_000,
        tokens: 0,
        idempotency: None,
        is_last: true,
        facts: facts(request, key),
    }
}

fn served(bucket: &str) -> Served {
    let rates = Rates { input: Some(money("1")), output: Some(money("2")), ..Rates::default() };
    let price = Price { rates, tiers: Vec::new() };
    Served {
        model: ModelName::parse("m").unwrap(),
        upstream_model: "m-1".to_owned(),
        route: RouteKind::Official,
        channel: ChannelId::parse("c").unwrap(),
        bucket: BucketId::parse(bucket).unwrap(),
        price,
        why: "because".to_owned(),
        output_limit: None,
    }
}

fn settlement(request: &str, status: RequestStatus, served: Option<Served>, tokens: u64) -> Settlement {
    let outcome = Outcome {
        status,
        served,
        attempts: Vec::new(),
        usage: Usage { input: tokens, ..Usage::default() },
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
    Settlement { request: RequestId::parse(request).unwrap(), outcome, body: Some("{}".to_owned()), kept: None }
}

fn adjust(memory: &mut Tables, id: &str, bucket: &str, amount: &str) -> AccountAnswer {
    let adjustment = Adjustment {
        id: id.to_owned(),
        bucket: BucketId::parse(bucket).unwrap(),
        amount: money(amount),
        reason: "test".to_owned(),
        author: "test".to_owned(),
        on_behalf_of: None,
        note: None,
    };
    memory.command(Command::Adjust(adjustment), Timestamp::from_millis(START))
}

#[derive(Debug, Clone)]
enum Step {
    Adjust {
        id: u8,
        wallet: bool,
        nanos: i64,
    },
    Hold {
        request: u8,
        leg: u32,
        key: u8,
        wallet: bool,
        nanos: i64,
        idempotency: Option<u8>,
        is_last: bool,
    },
    Settle {
        request: u8,
        status: u8,
        wallet: bool,
        tokens: u64,
    },
    Checkpoint {
        request: u8,
        wallet: bool,
        tokens: u64,
    },
    Refuse {
        request: u8,
    },
    Advance {
        ms: i64,
    },
    Revoke {
        key: u8,
    },
    /// The command before, once more: a retry whose answer was lost.
    Again,
    /// A command is decided and the object dies before the commit.
    Crash {
        request: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let nanos = prop_oneof![0i64..4_000_000_000, Just(1i64), Just(9_007_199_254_740_991i64), -10i64..0];
    let tokens = prop_oneof![0u64..3_000_000, Just(u64::MAX)];
    prop_oneof![
        2 => (0u8..12, any::<bool>(), prop_oneof![0i64..8_000_000_000, -4_000_000_000i64..0, Just(i64::MAX >> 10)])
            .prop_map(|(id, wallet, nanos)| Step::Adjust { id, wallet, nanos }),
        6 => (0u8..16, 0u32..3, 0u8..4, any::<bool>(), nanos, proptest::option::weighted(0.3, 0u8..3), any::<bool>())
            .prop_map(|(request, leg, key, wallet, nanos, idempotency, is_last)| Step::Hold { request, leg, key, wallet, nanos, idempotency, is_last }),
        5 => (0u8..16, 0u8..5, any::<bool>(), tokens.clone())
            .prop_map(|(request, status, wallet, tokens)| Step::Settle { request, status, wallet, tokens }),
        2 => (0u8..16, any::<bool>(), tokens).prop_map(|(request, wallet, tokens)| Step::Checkpoint { request, wallet, tokens }),
        1 => (0u8..16).prop_map(|request| Step::Refuse { request }),
        2 => prop_oneof![0i64..20_000, 50_000i64..100_000, Just(86_400_000i64)].prop_map(|ms| Step::Advance { ms }),
        1 => (0u8..40).prop_map(|key| Step::Revoke { key }),
        3 => Just(Step::Again),
        1 => (0u8..16).prop_map(|request| Step::Crash { request }),
    ]
}

fn command(step: &Step) -> Option<Command> {
    let bucket = |wallet: bool| if wallet { "wallet" } else { "credit" };
    let request = |number: u8| format!("gen-{number}");
    let name = |key: u8| ["free", "budgeted", "limited", "unknown"][usize::from(key % 4)];
    let status = |number: u8| {
        [
            RequestStatus::Completed,
            RequestStatus::Truncated,
            RequestStatus::Aborted,
            RequestStatus::Failed,
            RequestStatus::Refused,
        ][usize::from(number)]
    };
    Some(match step {
        Step::Adjust { id, wallet, nanos } => Command::Adjust(Adjustment {
            id: format!("adj-{id}"),
            bucket: BucketId::parse(bucket(*wallet)).unwrap(),
            amount: Money::from_nanos(*nanos).unwrap_or_default(),
            reason: "generated".to_owned(),
            author: "test".to_owned(),
            on_behalf_of: None,
            note: None,
        }),
        Step::Hold { request: number, leg, key, wallet, nanos, idempotency, is_last } => Command::Hold(Box::new(HoldRequest {
            leg: *leg,
            idempotency: idempotency.map(|id| (format!("claim-{id}"), format!("body-{}", number % 2))),
            is_last: *is_last,
            // Two in three may be fitted, and half of these ask again while others are in flight.
            least: (nanos % 3 != 0).then(|| Money::from_nanos(nanos / 7).unwrap()),
            waits: nanos % 3 != 0 && nanos % 2 == 0,
            ..hold(&request(*number), name(*key), bucket(*wallet), Money::from_nanos(*nanos).unwrap())
        })),
        Step::Settle { request: number, status: s, wallet, tokens } => {
            let served = (*s != 3).then(|| served(bucket(*wallet)));
            Command::Settle(Box::new(settlement(&request(*number), status(*s), served, *tokens)))
        }
        Step::Checkpoint { request: number, wallet, tokens } => Command::Checkpoint(Box::new(Extension {
            request: RequestId::parse(&request(*number)).unwrap(),
            checkpoint: Checkpoint {
                served: served(bucket(*wallet)),
                attempts: Vec::new(),
                usage: Usage { input: *tokens, ..Usage::default() },
            },
            timeout_ms: 60_000,
        })),
        Step::Refuse { request: number } => {
            let outcome = settlement(&request(*number), RequestStatus::Refused, None, 0).outcome;
            Command::RecordRefused(Box::new((facts(&request(*number), "free"), outcome)))
        }
        Step::Revoke { key } if *key < 3 => {
            let change = KeyChange { policy: serde_json::Map::new(), label: None, revoke: *key == 2, by: None };
            Command::ChangeKey(KeyId::parse(name(*key)).unwrap(), change)
        }
        Step::Revoke { .. } | Step::Advance { .. } | Step::Again | Step::Crash { .. } => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_balance_law_holds_after_every_step(steps in proptest::collection::vec(step(), 1..80)) {
        let mut memory = opened();
        let mut now = Timestamp::from_millis(START);
        let mut last: Option<Command> = None;
        for step in &steps {
            match step {
                Step::Advance { ms } => {
                    now = now.plus(*ms);
                    memory.tick(now);
                }
                Step::Again => {
                    if let Some(command) = last.clone() {
                        let before = memory.clone();
                        let answer = memory.command(command.clone(), now);
                        let is_new = memory.journal.len() > before.journal.len() || memory.holds.len() > before.holds.len();
                        // A retry may be granted what was refused, but never a second time what was done.
                        if is_new && let Command::Settle(_) | Command::Adjust(_) = &command {
                            prop_assert!(!matches!(answer, AccountAnswer::Refused(_)));
                        }
                    }
                }
                Step::Crash { request } => {
                    let lost = Command::Settle(Box::new(settlement(&format!("gen-{request}"), RequestStatus::Completed, Some(served("credit")), 1)));
                    let _ = memory.decide(lost, now);
                }
                other => {
                    if let Some(command) = command(other) {
                        memory.command(command.clone(), now);
                        last = Some(command);
                    }
                }
            }
            memory.check_law();
            let spent = memory.receipts().iter().filter(|(_, receipt)| receipt.bucket.as_ref().is_some_and(|bucket| bucket.as_str() == "wallet"))
                .fold(Money::ZERO, |sum, (_, receipt)| sum.checked_add(receipt.charge).unwrap());
            prop_assert!(spent <= money("40"), "the project's budget holds: {spent}");
        }
        // In the end every hold ends by itself.
        now = now.plus(86_400_000);
        memory.tick(now);
        memory.check_law();
        prop_assert!(memory.holds.is_empty());
        prop_assert!(memory.left.values().all(|times| *times == 1));
    }

    #[test]
    fn what_is_granted_is_never_more_than_there_is(amounts in proptest::collection::vec(0i64..2_000_000_000, 1..60)) {
        let mut memory = opened();
        adjust(&mut memory, "adj", "credit", "10");
        let mut granted = 0i64;
        for (index, nanos) in amounts.iter().enumerate() {
            let request = hold(&format!("gen-{index}"), "free", "credit", Money::from_nanos(*nanos).unwrap());
            let answer = memory.command(Command::Hold(Box::new(request)), Timestamp::from_millis(START));
            prop_assert_eq!(Tables::granted(&answer), granted + nanos <= 10_000_000_000);
            granted += if Tables::granted(&answer) { *nanos } else { 0 };
            memory.check_law();
        }
    }
}

fn refusal(answer: &AccountAnswer) -> Code {
    match answer {
        AccountAnswer::Hold(HoldAnswer::Refused(refusal, _)) => refusal.code,
        other => panic!("{other:?} is not a refusal"),
    }
}

#[test]
fn a_request_is_charged_once_however_often_it_is_settled() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "credit", "10");
    memory.command(Command::Hold(Box::new(hold("gen-1", "free", "credit", money("5")))), now);
    for _ in 0..3 {
        memory.command(
            Command::Settle(Box::new(settlement("gen-1", RequestStatus::Completed, Some(served("credit")), 1_000_000))),
            now,
        );
    }
    assert_eq!(memory.balance("credit"), money("9"));
    assert_eq!(memory.receipts().len(), 1);
}

#[test]
fn a_charge_never_exceeds_its_hold_and_the_rest_is_in_review() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "credit", "10");
    memory.command(Command::Hold(Box::new(hold("gen-1", "free", "credit", money("5")))), now);
    memory.command(
        Command::Settle(Box::new(settlement("gen-1", RequestStatus::Completed, Some(served("credit")), 7_000_000))),
        now,
    );
    let receipt = memory.receipts().remove(0).1;
    assert_eq!((receipt.charge, receipt.in_review), (money("5"), Some(money("2"))));
    memory.check_law();
}

#[test]
fn a_hold_that_expires_captures_its_last_checkpoint_or_gives_all_back() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "credit", "10");
    for request in ["gen-1", "gen-2"] {
        memory.command(Command::Hold(Box::new(hold(request, "free", "credit", money("5")))), now);
    }
    let usage = Usage { input: 1_000_000, ..Usage::default() };
    let checkpoint = Checkpoint { served: served("credit"), attempts: Vec::new(), usage };
    let extension = Extension { request: RequestId::parse("gen-1").unwrap(), checkpoint, timeout_ms: 60_000 };
    memory.command(Command::Checkpoint(Box::new(extension)), now.plus(30_000));
    memory.tick(now.plus(61_000));
    assert_eq!(memory.holds.len(), 1, "a sign of life moves the deadline");
    memory.tick(now.plus(91_000));
    memory.check_law();
    let receipts = memory.receipts();
    let charges: Vec<Money> = receipts.iter().map(|(_, receipt)| receipt.charge).collect();
    assert_eq!(charges, [Money::ZERO, money("1")]);
    assert!(receipts.iter().all(|(_, receipt)| receipt.status == RequestStatus::Aborted));
    // What comes later than that is a correction, once.
    for _ in 0..2 {
        memory.command(
            Command::Settle(Box::new(settlement("gen-2", RequestStatus::Completed, Some(served("credit")), 1_000_000))),
            now.plus(92_000),
        );
        assert_eq!(memory.balance("credit"), money("8"));
    }
}

#[test]
fn a_crossing_replaces_the_hold_and_a_refused_one_leaves_it() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj-1", "credit", "10");
    adjust(&mut memory, "adj-2", "wallet", "10");
    memory.command(Command::Hold(Box::new(hold("gen-1", "free", "credit", money("5")))), now);
    let too_much = HoldRequest { leg: 1, ..hold("gen-1", "free", "wallet", money("11")) };
    assert_eq!(refusal(&memory.command(Command::Hold(Box::new(too_much)), now)), Code::InsufficientBalance);
    assert_eq!(memory.holds["gen-1"].bucket.as_str(), "credit");
    assert!(memory.receipts().is_empty(), "the request is not over");
    let crossing = HoldRequest { leg: 1, ..hold("gen-1", "free", "wallet", money("4")) };
    assert!(Tables::granted(&memory.command(Command::Hold(Box::new(crossing)), now)));
    memory.check_law();
    memory.command(
        Command::Settle(Box::new(settlement("gen-1", RequestStatus::Completed, Some(served("wallet")), 1_000_000))),
        now,
    );
    assert_eq!((memory.balance("credit"), memory.balance("wallet")), (money("10"), money("9")));
}

#[test]
fn every_limit_says_no_with_its_own_code() {
    let now = Timestamp::from_millis(START);
    let mut memory = opened();
    adjust(&mut memory, "adj", "credit", "100");
    adjust(&mut memory, "adj-2", "wallet", "100");
    let mut ask = |request: &str, key: &str, bucket: &str, amount: &str| {
        memory.command(Command::Hold(Box::new(hold(request, key, bucket, money(amount)))), now)
    };
    assert_eq!(refusal(&ask("gen-1", "unknown", "credit", "1")), Code::InvalidApiKey);
    assert_eq!(refusal(&ask("gen-2", "free", "credit", "101")), Code::InsufficientBalance);
    assert!(Tables::granted(&ask("gen-3", "free", "credit", "90")));
    assert_eq!(refusal(&ask("gen-4", "free", "credit", "11")), Code::BalanceInFlight);
    assert!(Tables::granted(&ask("gen-5", "budgeted", "credit", "3")));
    assert_eq!(refusal(&ask("gen-6", "budgeted", "credit", "0.000000001")), Code::BudgetExceeded);
    assert_eq!(refusal(&ask("gen-7", "free", "wallet", "41")), Code::BudgetExceeded);
    assert!(Tables::granted(&ask("gen-8", "limited", "credit", "0.1")));
    assert!(Tables::granted(&ask("gen-9", "limited", "credit", "0.1")));
    assert_eq!(refusal(&ask("gen-10", "limited", "credit", "0.1")), Code::RateLimitExceeded);
    let refused: Vec<String> = memory.receipts().iter().map(|(_, receipt)| receipt.id.to_string()).collect();
    assert_eq!(
        refused,
        ["gen-2", "gen-4", "gen-6", "gen-7", "gen-10"],
        "every refusal of a valid key has a receipt, and no other"
    );
    memory.check_law();
}

#[test]
fn a_revoked_or_changed_key_is_noticed_at_once() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "credit", "10");
    let id = KeyId::parse("free").unwrap();
    let change =
        KeyChange { policy: serde_json::from_value(json!({"models": ["x"]})).unwrap(), label: None, revoke: false, by: None };
    memory.command(Command::ChangeKey(id.clone(), change), now);
    let answer = memory.command(Command::Hold(Box::new(hold("gen-1", "free", "credit", money("1")))), now);
    assert!(
        matches!(answer, AccountAnswer::Hold(HoldAnswer::Stale(record)) if record.policy.models == ["x"] && record.version == 2)
    );
    let revoke = KeyChange { policy: serde_json::Map::new(), label: None, revoke: true, by: None };
    memory.command(Command::ChangeKey(id, revoke), now);
    assert_eq!(
        refusal(&memory.command(Command::Hold(Box::new(hold("gen-2", "free", "credit", money("1")))), now)),
        Code::InvalidApiKey
    );
}

#[test]
fn an_idempotency_key_is_answered_once() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "credit", "10");
    let with = |request: &str, body: &str| {
        let idempotency = Some(("claim".to_owned(), body.to_owned()));
        Command::Hold(Box::new(HoldRequest { idempotency, ..hold(request, "free", "credit", money("1")) }))
    };
    assert!(Tables::granted(&memory.command(with("gen-1", "b"), now)));
    assert_eq!(refusal(&memory.command(with("gen-2", "b"), now)), Code::IdempotencyInFlight);
    memory.command(Command::Settle(Box::new(settlement("gen-1", RequestStatus::Completed, Some(served("credit")), 10))), now);
    let replayed = memory.command(with("gen-3", "b"), now);
    assert!(
        matches!(replayed, AccountAnswer::Hold(HoldAnswer::Replayed(replay)) if replay.request.as_str() == "gen-1" && replay.body.as_deref() == Some("{}"))
    );
    assert_eq!(refusal(&memory.command(with("gen-4", "other"), now)), Code::IdempotencyMismatch);
    assert!(Tables::granted(&memory.command(with("gen-5", "other"), now.plus(86_400_000))), "kept for a day");
    memory.check_law();
}

#[test]
fn a_second_bucket_is_no_way_around_an_idempotency_key() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "wallet", "10");
    let with = |request: &str, leg: u32, bucket: &str| {
        let idempotency = Some(("claim".to_owned(), "b".to_owned()));
        let is_last = leg == 1;
        Command::Hold(Box::new(HoldRequest { leg, idempotency, is_last, ..hold(request, "free", bucket, money("1")) }))
    };
    assert_eq!(refusal(&memory.command(with("gen-1", 0, "credit"), now)), Code::InsufficientBalance);
    assert!(Tables::granted(&memory.command(with("gen-1", 1, "wallet"), now)));
    assert_eq!(refusal(&memory.command(with("gen-2", 0, "credit"), now)), Code::IdempotencyInFlight);
    assert_eq!(refusal(&memory.command(with("gen-2", 1, "wallet"), now)), Code::Conflict, "the refusal was the end of it");
}

#[test]
fn a_failed_request_frees_its_idempotency_key() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "credit", "10");
    for request in ["gen-1", "gen-2"] {
        let idempotency = Some(("claim".to_owned(), "b".to_owned()));
        let hold = HoldRequest { idempotency, ..hold(request, "free", "credit", money("1")) };
        assert!(Tables::granted(&memory.command(Command::Hold(Box::new(hold)), now)));
        memory.command(Command::Settle(Box::new(settlement(request, RequestStatus::Failed, None, 0))), now);
    }
}

#[test]
fn an_adjustment_is_made_once_and_takes_only_what_is_free() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj-1", "credit", "10");
    adjust(&mut memory, "adj-1", "credit", "10");
    memory.command(Command::Hold(Box::new(hold("gen-1", "free", "credit", money("6")))), now);
    assert!(
        matches!(adjust(&mut memory, "adj-1", "credit", "7"), AccountAnswer::Refused(refusal) if refusal.code == Code::IdempotencyMismatch)
    );
    assert!(matches!(adjust(&mut memory, "adj-2", "credit", "-5"), AccountAnswer::Refused(_)));
    assert_eq!(adjust(&mut memory, "adj-3", "credit", "-4"), AccountAnswer::Done);
    assert_eq!(memory.balance("credit"), money("6"));
    memory.check_law();
}

#[test]
fn the_charge_is_what_the_price_function_says() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "credit", "10");
    memory.command(Command::Hold(Box::new(hold("gen-1", "free", "credit", money("5")))), now);
    let settled = settlement("gen-1", RequestStatus::Completed, Some(served("credit")), 123_457);
    let expected = cost(&served("credit").price, &settled.outcome.usage).unwrap();
    memory.command(Command::Settle(Box::new(settled)), now);
    assert_eq!(memory.receipts().remove(0).1.charge, expected);
}

/// Tables that answer with rows of another request, or with an open hold of a request that is closed.
struct Confused<'a> {
    memory: &'a Tables,
    other: Option<&'a str>,
    closed: bool,
}

impl AccountStore for Confused<'_> {
    type Error = std::convert::Infallible;

    fn state(&self, touches: Touches<'_>) -> Result<AccountState, Self::Error> {
        let state = self.memory.state(Touches { subject: self.other.or(touches.subject), ..touches })?;
        Ok(AccountState { closed: self.closed, ..state })
    }

    fn account(&self) -> Result<Option<AccountRecord>, Self::Error> {
        self.memory.account()
    }

    fn adjusted(&self, id: &str) -> Result<Option<(BucketId, Money)>, Self::Error> {
        self.memory.adjusted(id)
    }

    fn spent(&self, key: Option<&KeyId>, project: Option<&ProjectId>, now: Timestamp) -> Result<Counters, Self::Error> {
        self.memory.spent(key, project, now)
    }

    fn order_of_request(&self, key: &str) -> Result<Option<Order>, Self::Error> {
        self.memory.order_of_request(key)
    }

    fn open_orders(&self) -> Result<u32, Self::Error> {
        self.memory.open_orders()
    }

    fn claim_of(&self, request: &RequestId) -> Result<Option<Claim>, Self::Error> {
        self.memory.claim_of(request)
    }

    fn order(&self, id: &OrderId) -> Result<Option<Order>, Self::Error> {
        self.memory.order(id)
    }

    fn stale(&self, until: Timestamp, most_bytes: u64) -> Result<Option<u64>, Self::Error> {
        self.memory.stale(until, most_bytes)
    }

    fn ended_sessions(&self, since: Timestamp) -> Result<u32, Self::Error> {
        self.memory.ended_sessions(since)
    }

    fn last_end(&self) -> Result<Timestamp, Self::Error> {
        self.memory.last_end()
    }

    fn expired(&self, request: &RequestId) -> Result<Option<Expired>, Self::Error> {
        self.memory.expired(&self.other.map_or(request.clone(), |other| RequestId::parse(other).unwrap()))
    }
}

#[test]
fn a_settlement_believes_only_in_the_rows_of_its_own_request() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "credit", "10");
    for request in ["gen-1", "gen-2", "gen-3"] {
        memory.command(Command::Hold(Box::new(hold(request, "free", "credit", money("1")))), now);
        if request == "gen-1" {
            memory.tick(now.plus(61_000));
        }
    }
    let settle =
        |request: &str| Command::Settle(Box::new(settlement(request, RequestStatus::Completed, Some(served("credit")), 10)));
    let decided = |request: &str, other: Option<&'static str>, closed: bool| {
        let Ok((_, events)) = decide(&Confused { memory: &memory, other, closed }, settle(request), now.plus(62_000));
        events
    };
    assert!(!decided("gen-2", None, false).is_empty());
    assert!(decided("gen-2", Some("gen-3"), false).is_empty(), "the hold of another request");
    assert!(decided("gen-2", None, true).is_empty(), "a hold of a request that has its receipt");
    assert!(!decided("gen-1", None, true).is_empty(), "it has expired and is corrected");
    assert!(decided("gen-2", Some("gen-1"), true).is_empty(), "the expiry of another request");
}

#[test]
fn a_free_request_is_completed_without_a_charge_and_says_so() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    memory.command(Command::Hold(Box::new(hold("gen-1", "free", "credit", Money::ZERO))), now);
    let free = Served { price: Price::default(), ..served("credit") };
    memory.command(Command::Settle(Box::new(settlement("gen-1", RequestStatus::Completed, Some(free), 123))), now);
    let receipt = memory.receipts().remove(0).1;
    assert_eq!((receipt.status, receipt.charge, receipt.usage.input), (RequestStatus::Completed, Money::ZERO, 123));
    assert_eq!(receipt.charge_policy, "completed: nothing is charged");
    assert!(receipt.no_charge_reason.is_some());
    memory.check_law();
}

#[test]
fn what_was_counted_here_is_charged_as_such_and_no_tokens_beside_it() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "credit", "10");
    memory.command(Command::Hold(Box::new(hold("gen-1", "free", "credit", money("5")))), now);
    let rates = Rates { images: Some(money("0.04")), ..Rates::default() };
    let by_image = Served { price: Price { rates, tiers: Vec::new() }, ..served("credit") };
    let mut settled = settlement("gen-1", RequestStatus::Completed, Some(by_image), 1_000_000);
    settled.outcome.usage.images = 3;
    settled.outcome.usage_source = UsageSource::Counted;
    settled.outcome.dropped_parameters = vec!["style".to_owned()];
    memory.command(Command::Settle(Box::new(settled)), now);
    let receipt = memory.receipts().remove(0).1;
    // Three images at 0.04; the million tokens that were reported beside them cost nothing.
    assert_eq!((receipt.charge, receipt.input_charge), (money("0.12"), Money::ZERO));
    assert!(receipt.charge_policy.contains("counted here"), "{}", receipt.charge_policy);
    let written = serde_json::to_value(&receipt).unwrap();
    assert_eq!((&written["usage_source"], &written["dropped_parameters"]), (&json!("counted"), &json!(["style"])));
    assert_eq!(written["usage"].as_object().unwrap().len(), 8, "the seven classes of old, and images: {}", written["usage"]);
    memory.check_law();
}

#[test]
fn a_tier_is_charged_within_its_hold() {
    let (mut memory, now) = (opened(), Timestamp::from_millis(START));
    adjust(&mut memory, "adj", "credit", "10");
    let mut tiered = served("credit");
    let rates = Rates { input: Some(money("3")), ..Rates::default() };
    tiered.price.tiers = vec![Tier { above: 200_000, rates }];
    let quote = worst_cost(&tiered.price, &Most { input: 300_000, ..Most::default() }).unwrap();
    assert_eq!(quote, money("0.9"));
    memory.command(Command::Hold(Box::new(hold("gen-1", "free", "credit", quote))), now);
    memory.command(Command::Settle(Box::new(settlement("gen-1", RequestStatus::Completed, Some(tiered), 300_000))), now);
    let receipt = memory.receipts().remove(0).1;
    assert_eq!((receipt.charge, receipt.in_review), (quote, None));
    memory.check_law();
}
