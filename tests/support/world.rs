//! One history: an account in tables, senders that repeat, a network that loses and reorders, an object that dies, and a
//! searchable copy that fails.
//!
//! There are two accounts. One decides on each command alone over its tables, and every law is checked on it. The other is the
//! object: it takes groups of commands, remembers, fails and dies. After each group it must have answered and stored the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokens_forge::account::{
    self, AccountAnswer, AccountRecord, Adjustment, Attempt, AttemptStatus, AuditRow, Checkpoint, Command, Event, Extension,
    Facts, Group, HandedOver, HoldAnswer, HoldRequest, IfUsed, Journaled, KeyChange, Order, OrderState, Outcome, PaymentChange,
    PaymentEvent, ProjectRecord, Provider, Redemption, RefundRequest, RequestStatus, Review, Row, RunRecord, ScopeKind, Served,
    Settlement, Together, audit,
};
use tokens_forge::catalog::{CutPolicy, RouteKind};
use tokens_forge::id::{AccountId, BucketId, ChannelId, KeyHash, KeyId, ModelName, OrderId, ProjectId, RequestId, RunId};
use tokens_forge::key::{Budget, KeyRecord, Policy};
use tokens_forge::money::{Money, Price, Rates, Tier};
use tokens_forge::refusal::Code;
use tokens_forge::time::{Period, Timestamp};
use tokens_forge::truth::{Missed, Promise, Promised};
use tokens_forge::usage::{Bounds, Usage, UsageSource};

use super::copy::{SearchableCopy, days_of, sides, truths_of};
use super::law::{Broken, Law, Watched};
use super::object::{Failure, Fault, Object};
use super::steps::{Act, Change, CopyFault, Fate, Step};
use super::tables::Tables;
use crate::law;

pub const START: i64 = 1_800_000_000_000;
const DAY_MS: i64 = 86_400_000;
const HOLD_MS: i64 = 60_000;
const ORDER_MS: i64 = 3_600_000;
const MOST_OPEN_ORDERS: usize = 20;
/// Most groups are not larger.
const USUAL_GROUP: usize = 8;
/// Keys by weight: the name stands as often as it is asked with.
const KEYS: [(&str, u8); 7] =
    [("free", 7), ("daily", 5), ("total", 5), ("limited", 4), ("capped", 4), ("changing", 2), ("unknown", 1)];
const RUNS: [&str; 3] = ["opened", "later", "named"];
const RPM: u32 = 2;
const TPM: u64 = 3_000_000;
const CONCURRENCY: u32 = 2;

/// How often something happened, over all histories.
pub type Counts = BTreeMap<String, u64>;

/// A request as its sender knows it.
struct Asked {
    id: RequestId,
    key: &'static str,
    run: Option<RunId>,
    claim: Option<(String, String)>,
    leg: u32,
    bucket: u8,
    at: Timestamp,
}

/// An order as the provider and the customer know it.
struct Placed {
    id: OrderId,
    key: String,
    amount: Money,
}

/// What the provider and the operator said of an order's money, in no order.
#[derive(Default)]
struct SaidOf {
    total: i64,
    booked: i64,
    disputes: BTreeMap<String, i64>,
    won: BTreeSet<String>,
}

impl SaidOf {
    fn disputed(&self) -> i64 {
        self.disputes.iter().filter(|(dispute, _)| !self.won.contains(*dispute)).map(|(_, amount)| amount).sum()
    }
}

/// A claim that was granted: to whom, and when.
struct Grant {
    claim: String,
    request: RequestId,
    at: Timestamp,
}

#[derive(Default)]
pub struct World {
    pub tables: Tables,
    /// The same account as an object.
    pub object: Object,
    pub law: Law,
    pub copy: SearchableCopy,
    pub counts: Counts,
    /// What happened, one line a step, if it is to be told.
    pub told: Option<Vec<String>>,
    now: i64,
    step: u32,
    copied: u64,
    requests: Vec<Asked>,
    orders: Vec<Placed>,
    versions: BTreeMap<KeyId, u64>,
    grants: Vec<Grant>,
    bodies: BTreeMap<RequestId, BTreeSet<String>>,
    /// What was said of orders, in no order.
    said_of: BTreeMap<OrderId, SaidOf>,
    /// The order that a request key made first.
    placed: BTreeMap<String, OrderId>,
    /// The last request for a refund.
    refund: Option<RefundRequest>,
    /// First holds of the limited key by minute, and minutes in which the clock was set back.
    minutes: BTreeMap<i64, u32>,
    unsteady: BTreeSet<i64>,
    serial: u32,
    /// Messages on their way, with the step in which they arrive.
    in_flight: Vec<(u32, Command)>,
    late_copies: Vec<(u32, Vec<Row>)>,
    said: Vec<Command>,
    /// What the object takes together as soon as it is so many.
    waiting: Vec<Command>,
    most_waiting: usize,
}

fn bucket(number: u8) -> BucketId {
    BucketId::parse(["credit", "wallet"][usize::from(number % 2)]).unwrap()
}

fn nanos(amount: i64) -> Money {
    Money::from_nanos(amount).unwrap()
}

fn units(amount: i64) -> Money {
    nanos(amount * 1_000_000_000)
}

fn account_id() -> AccountId {
    AccountId::parse("a").unwrap()
}

fn project_of(key: &str) -> ProjectId {
    match key {
        "total" | "capped" => ProjectId::parse("capped").unwrap(),
        "changing" => ProjectId::parse("spare").unwrap(),
        _ => ProjectId::first(),
    }
}

fn key_name(number: u8) -> &'static str {
    let mut left = number;
    for (name, weight) in KEYS {
        if left < weight {
            return name;
        }
        left -= weight;
    }
    "free"
}

fn run_name(number: u8) -> Option<RunId> {
    let name = match number {
        0..=3 => return None,
        4 | 5 => RUNS[0],
        6 => RUNS[1],
        _ => RUNS[2],
    };
    RunId::parse(name)
}

fn budgets_of(key: &str) -> serde_json::Value {
    match key {
        "daily" => {
            json!([{"bucket": "credit", "period": "day", "limit": "3"}, {"bucket": "wallet", "period": "day", "limit": "2"}])
        }
        "total" => {
            json!([{"bucket": "credit", "period": "total", "limit": "6"}, {"bucket": "wallet", "period": "month", "limit": "4"}])
        }
        "project capped" => {
            json!([{"bucket": "credit", "period": "day", "limit": "5"}, {"bucket": "wallet", "period": "total", "limit": "7"}])
        }
        "run opened" => {
            json!([{"bucket": "credit", "period": "total", "limit": "4"}, {"bucket": "wallet", "period": "total", "limit": "3"}])
        }
        "run later" => json!([{"bucket": "credit", "period": "total", "limit": "3"}]),
        _ => json!([]),
    }
}

fn budgets(of: &str) -> Vec<Budget> {
    serde_json::from_value(budgets_of(of)).unwrap()
}

fn policy(key: &str) -> Policy {
    let rules = match key {
        "limited" => json!({"rpm": RPM, "tpm": TPM, "concurrency": CONCURRENCY}),
        other => json!({"budgets": budgets_of(other)}),
    };
    serde_json::from_value(rules).unwrap()
}

fn served(on: u8) -> Served {
    // Per million tokens; an image and a search cost thousandths.
    let rates = Rates {
        input: Some(units(1)),
        output: Some(units(2)),
        reasoning: (on == 1).then(|| units(3)),
        cache_write_1h: (on == 0).then(|| units(2)),
        searches: Some(nanos(1_000_000)),
        ..Rates::default()
    };
    let larger = Tier { above: 1_500_000, rates: Rates { input: Some(units(2)), ..Rates::default() } };
    let tiers = if on == 1 { vec![larger] } else { Vec::new() };
    let price = Price { rates, tiers };
    Served {
        model: ModelName::parse(["m", "n"][usize::from(on % 2)]).unwrap(),
        upstream_model: "m-1".to_owned(),
        route: if on == 0 { RouteKind::Official } else { RouteKind::Routed },
        channel: ChannelId::parse("c").unwrap(),
        bucket: bucket(on),
        price,
        why: "because".to_owned(),
        output_limit: None,
    }
}

/// The model and the route that a bucket pays.
fn promise(on: u8) -> Promise {
    let Served { model, route, .. } = served(on);
    Promise { model, route }
}

fn usage(tokens: u64) -> Usage {
    Usage {
        input: tokens,
        output: tokens / 10,
        reasoning: tokens / 20,
        cache_write_1h: tokens % 1_000,
        image_output: tokens % 100,
        images: tokens % 3,
        searches: tokens % 7,
        ..Usage::default()
    }
}

fn attempt(channel: &str, on: u8, at: Timestamp) -> Attempt {
    Attempt {
        model: None,
        channel: ChannelId::parse(channel).unwrap(),
        tier: 0,
        route: RouteKind::Official,
        bucket: bucket(on),
        upstream_model: "m-1".to_owned(),
        reason: "primary".to_owned(),
        dispatched: true,
        status: AttemptStatus::Failed,
        started_at: at,
        latency_ms: 1,
        provider_status: Some(503),
        error: None,
        message: None,
        credential: None,
        is_aside: false,
    }
}

impl World {
    /// An account with keys, projects, a run with a budget, and something in both buckets.
    pub fn new(is_told: bool) -> Result<Self, Broken> {
        let mut world = Self { now: START, ..Self::default() };
        let now = world.now();
        let project = |id: &str, budgets: Vec<Budget>| ProjectRecord {
            id: ProjectId::parse(id).unwrap(),
            account: account_id(),
            name: id.to_owned(),
            budgets,
            created_at: now,
        };
        world.arrives(Command::Open(AccountRecord { id: account_id(), name: "A".to_owned(), created_at: now }.into()))?;
        world.arrives(Command::PutProject(project("capped", budgets("project capped")).into()))?;
        world.arrives(Command::PutProject(project("spare", Vec::new()).into()))?;
        for (name, _) in KEYS.iter().filter(|(name, _)| *name != "unknown") {
            let record = KeyRecord {
                id: KeyId::parse(name).unwrap(),
                hash: KeyHash::parse(name).unwrap(),
                account: account_id(),
                project: project_of(name),
                label: (*name).to_owned(),
                version: 1,
                created_at: now,
                revoked_at: None,
                policy: policy(name),
            };
            world.versions.insert(record.id.clone(), 1);
            world.arrives(Command::PutKey(Box::new(record.into())))?;
            world.watch(ScopeKind::Key, name, &budgets(name));
        }
        world.watch(ScopeKind::Project, "capped", &budgets("project capped"));
        let run = world.run_record(0, false);
        world.watch(ScopeKind::Run, "opened", &run.budgets);
        world.arrives(Command::OpenRun(run))?;
        for (id, on, amount) in [("adj-first", 0, 8), ("adj-second", 1, 4)] {
            let amount = units(amount);
            let (id, reason) = (id.to_owned(), "start".to_owned());
            world.arrives(Command::Adjust(Adjustment {
                id,
                bucket: bucket(on),
                amount,
                reason,
                author: "test".to_owned(),
                on_behalf_of: None,
                note: None,
            }))?;
        }
        world.counts.clear();
        world.told = is_told.then(Vec::new);
        Ok(world)
    }

    fn watch(&mut self, scope: ScopeKind, id: &str, budgets: &[Budget]) {
        let watched = |budget: &Budget| Watched { scope, id: id.to_owned(), budget: budget.clone() };
        self.law.watched.extend(budgets.iter().map(watched));
    }

    fn run_record(&self, run: u8, is_other: bool) -> RunRecord {
        let name = RUNS[usize::from(run % 3)];
        RunRecord {
            id: RunId::parse(name).unwrap(),
            account: account_id(),
            key: KeyId::parse("free").unwrap(),
            name: is_other.then(|| "another".to_owned()),
            budgets: budgets(&format!("run {name}")),
            created_at: Timestamp::from_millis(START),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    /// The account's time, which no clock sets back.
    fn time(&self) -> Timestamp {
        self.now().max(self.tables.journal.last().map(|row| row.at).unwrap_or_default())
    }

    fn note(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        let step = self.step;
        if let Some(told) = &mut self.told {
            told.push(format!("{step:>4}  {}", line()));
        }
    }

    /// One step of a history.
    pub fn step(&mut self, step: &Step) -> Result<(), Broken> {
        self.step += 1;
        self.note("steps");
        match step {
            Step::Say(act, fate) => {
                if let Some(command) = self.command(*act) {
                    self.said.push(command.clone());
                    self.send(command, *fate)?;
                }
            }
            Step::Again(back) => {
                let recent = self.said.iter().rev().nth(usize::from(*back)).cloned();
                if let Some(command) = recent {
                    self.note("fault: said again");
                    self.arrives(command)?;
                }
            }
            Step::Wait(ms) => {
                // Only the longest groups wait for longer than their members would.
                if self.most_waiting <= USUAL_GROUP {
                    self.group(None)?;
                }
                self.wait(*ms);
            }
            Step::Group(most) => self.most_waiting = usize::from(*most),
            Step::Restart => {
                self.note("fault: restarted");
                self.object.restart();
            }
            Step::WaitForMidnight { is_month } => {
                let period = if *is_month { Period::Month } else { Period::Day };
                let end = period.end(self.now()).unwrap().millis();
                self.wait((end - 1500 - self.now).max(0));
            }
            Step::Alarm { is_early, dies_after } => self.alarm(*is_early, *dies_after)?,
            Step::Copy { rows, fault } => self.copy(usize::from(*rows), *fault)?,
        }
        self.deliver()?;
        self.law.check(&self.tables, self.now())
    }

    fn wait(&mut self, ms: i64) {
        self.tell(|| format!("{ms} ms pass"));
        if ms < 0 {
            self.note("the clock was set back");
            let minute = |ms: i64| ms.div_euclid(60_000);
            self.unsteady.extend(minute(self.now + ms)..=minute(self.now));
            if Period::Day.start(Timestamp::from_millis(self.now + ms)) < Period::Day.start(self.now()) {
                self.note("the clock was set back over midnight");
            }
        }
        self.now += ms;
    }

    /// What arrives in this step.
    fn deliver(&mut self) -> Result<(), Broken> {
        let step = self.step;
        let due: Vec<Command> = self.in_flight.extract_if(.., |(at, _)| *at <= step).map(|(_, command)| command).collect();
        for command in due {
            self.arrives(command)?;
        }
        let late: Vec<Vec<Row>> = self.late_copies.extract_if(.., |(at, _)| *at <= step).map(|(_, rows)| rows).collect();
        for rows in late {
            self.tell(|| format!("a late batch is written, {} rows", rows.len()));
            self.copy.write(&rows);
        }
        Ok(())
    }

    fn send(&mut self, command: Command, fate: Fate) -> Result<(), Broken> {
        let later = |after: u8| self.step + u32::from(after);
        match fate {
            Fate::Arrives => self.arrives(command),
            Fate::Lost(repeated) => {
                self.note("fault: message lost");
                self.tell(|| format!("lost: {}", told(&command)));
                self.in_flight.extend(repeated.map(|after| (self.step + u32::from(after), command)));
                Ok(())
            }
            Fate::AnswerLost(after) => {
                self.in_flight.push((later(after), command.clone()));
                self.note("fault: answer lost");
                self.arrives(command)
            }
            Fate::Duplicated(after) => {
                self.in_flight.push((later(after), command.clone()));
                self.note("fault: duplicated");
                self.arrives(command)
            }
            Fate::Delayed(after) => {
                self.in_flight.push((later(after), command));
                self.note("fault: delayed and overtaken");
                Ok(())
            }
            Fate::CrashBefore(after) => {
                self.note("fault: crashed before deciding");
                self.waiting.push(command);
                self.object.restart();
                self.repeated(after);
                self.waiting.clear();
                Ok(())
            }
            Fate::CrashWithin(after, written) => {
                self.waiting.push(command);
                self.repeated(after);
                self.crash_within(usize::from(written))
            }
            Fate::CrashAfter(after) => {
                self.waiting.push(command);
                self.repeated(after);
                self.note("fault: crashed after the commit");
                self.group(None)?;
                self.object.restart();
                Ok(())
            }
            Fate::StoreFails(how, nth) => {
                self.waiting.push(command);
                let number = usize::from(nth) % self.waiting.len();
                self.group(Some(match how {
                    0 => Failure::After(usize::from(nth)),
                    1 => Failure::Writing(usize::from(nth)),
                    2 => Failure::AtCommit,
                    3 => Failure::Unreadable(number),
                    _ => Failure::NeverWritten(number),
                }))
            }
        }
    }

    /// Nobody hears what comes of what waits: its senders repeat it.
    fn repeated(&mut self, after: u8) {
        let at = self.step + u32::from(after);
        self.in_flight.extend(self.waiting.iter().map(|command| (at, command.clone())));
    }

    /// The object dies when a part of a group's events is written: the transaction never was.
    fn crash_within(&mut self, written: usize) -> Result<(), Broken> {
        let (now, commands) = (self.now(), std::mem::take(&mut self.waiting));
        self.tell(|| format!("crashed after {written} events of: {}", commands.iter().map(told).collect::<Vec<_>>().join("; ")));
        let before = self.object.written.get();
        let (answers, half) = self.object.dies_within(&commands, now, written);
        let half_written = self.object.written.get() - before;
        // The object starts again with what was there before, and decides the same.
        let (again, all) = self.object.only_decides(&commands, now);
        law!(again.starts_with(&answers), "decided alike", "{answers:?}, then {again:?}");
        if all == 0 {
            self.note("fault: crashed before deciding");
            return Ok(());
        }
        self.note("fault: crashed within a transaction");
        if commands.len() > 1 {
            self.note("fault: crashed within a transaction of a group");
        }
        if half_written > 0 && half_written < all && !stands_alone(&half) {
            self.note("half a transaction would have been seen");
        }
        self.agree(self.tables.journal.len())
    }

    /// A command reaches the account: it goes into the group that waits.
    fn arrives(&mut self, command: Command) -> Result<(), Broken> {
        self.waiting.push(command);
        if self.waiting.len() >= self.most_waiting { self.group(None) } else { Ok(()) }
    }

    /// The object takes what waits, and each is decided alone by the tables.
    fn group(&mut self, failure: Option<Failure>) -> Result<(), Broken> {
        let commands = std::mem::take(&mut self.waiting);
        let (now, from, all) = (self.now(), self.tables.journal.len(), commands.len());
        if all > 1 || failure.is_some() {
            self.tell(|| format!("a group of {all}, {failure:?}"));
        }
        let (asked, written) = (self.object.asked.get(), self.object.written.get());
        let Together { answers, is_changed, faults } = self.object.together(&commands, now, failure);
        law!(faults.is_empty() || failure.is_some(), "groups", "it failed by itself: {faults:?}");
        law!(answers.len() == all, "groups", "{} answers to {all} commands", answers.len());
        self.note(match all {
            0 | 1 => "group of one",
            2..=USUAL_GROUP => "group of 2 to 8",
            _ => "larger group",
        });
        if !faults.is_empty() {
            self.note(match (all, answers.iter().any(Result::is_err)) {
                (1, false) => "fault: the store failed, and not again",
                (1, true) => "fault: the store failed, and failed again",
                (_, false) => "fault: a group failed, and each alone did not",
                (_, true) => "fault: a group failed, and one alone did, and the others stand",
            });
        } else if self.object.asked.get() == asked {
            *self.counts.entry("decided from memory".to_owned()).or_default() += all as u64;
        }
        let (mut again, mut events) = (Vec::new(), 0);
        for (number, (command, answer)) in commands.into_iter().zip(answers).enumerate() {
            match answer {
                Ok(answer) => {
                    let (next, changes) = self.decided(command, &answer)?;
                    again.extend(next);
                    events += changes;
                }
                Err(fault) => {
                    let is_meant = match failure {
                        Some(Failure::Unreadable(meant) | Failure::NeverWritten(meant)) => meant == number,
                        _ => false,
                    };
                    law!(is_meant, "groups", "{} of {all} failed alone: {fault:?}", number + 1);
                    self.in_flight.push((self.step + 2, command));
                }
            }
        }
        law!(is_changed == (events > 0), "groups", "{events} events, and changed: {is_changed}");
        if faults.is_empty() && self.object.written.get() - written < events {
            self.note("not every event was written");
        }
        self.agree(from)?;
        again.into_iter().try_for_each(|command| self.arrives(command))
    }

    /// Both accounts have the same, and what the object remembers is what it has.
    fn agree(&self, from: usize) -> Result<(), Broken> {
        let differ = self.object.tables.borrow().differ(&self.tables, from);
        law!(differ.is_none(), "a group stores what each alone would", "{differ:?}");
        let differs = self.object.differs();
        law!(differs.is_none(), "memory is what is stored", "{differs:?}");
        Ok(())
    }

    /// What the object answered is what is decided alone. Answers what its sender says next, and how much changed.
    fn decided(&mut self, command: Command, said: &AccountAnswer) -> Result<(Option<Command>, usize), Broken> {
        let now = self.now();
        let (answer, events) = self.tables.decide(command.clone(), now);
        self.tell(|| format!("{}  ->  {}", told(&command), answered(&answer, &events)));
        law!(answer == *said, "a group answers what each alone would", "{said:?} instead of {answer:?}");
        self.note(format!("command: {}", kind(&command)));
        self.look(&command, &answer, &events)?;
        let changes = events.len();
        self.tables.apply(events.clone());
        self.law.check(&self.tables, now)?;
        if let Command::Hold(request) = &command {
            self.granted(request, &events)?;
        }
        // A sender whose key is outdated plans once more with the current one.
        if let (Command::Hold(request), AccountAnswer::Hold(HoldAnswer::Stale(record))) = (command, answer) {
            self.versions.insert(record.id.clone(), record.version);
            let current = HoldRequest { key_version: record.version, ..*request };
            return Ok((Some(Command::Hold(Box::new(current))), changes));
        }
        Ok((None, changes))
    }

    /// What an answer must say, and what happened.
    fn look(&mut self, command: &Command, answer: &AccountAnswer, events: &[Event]) -> Result<(), Broken> {
        self.notice(events);
        match (command, answer) {
            (Command::Hold(request), AccountAnswer::Hold(HoldAnswer::Granted(granted))) => {
                let is_new = events.iter().any(|event| matches!(event, Event::Opened(_)));
                let is_open = self.tables.holds.contains_key(request.facts.request.as_str());
                self.note(match (is_new, is_open) {
                    (true, true) => "crossing granted",
                    (true, false) => "hold granted",
                    (false, _) => "hold recognised as repeated",
                });
                if events.iter().any(moves) {
                    self.note("debt paid by a crossing");
                }
                law!(is_new || is_open, "nothing is sent without a hold", "{} has none", request.facts.request);
                law!(granted.available <= granted.balance, "balance", "{granted:?}");
                law!(!granted.available.is_negative(), "balance", "{granted:?}");
            }
            (Command::Hold(request), AccountAnswer::Hold(HoldAnswer::Replayed(replay))) => {
                self.note("replayed");
                law!(events.is_empty(), "replay", "it changes something: {events:?}");
                let of = |id: &RequestId| self.requests.iter().find(|asked| asked.id == *id);
                let first = of(&replay.request).and_then(|asked| asked.claim.clone());
                law!(request.idempotency == first, "replay", "{:?} is answered with that of {first:?}", request.idempotency);
                let row = self.tables.row_of(replay.request.as_str());
                let correction = self.tables.row_of(&format!("{}/correction", replay.request));
                let is_corrected = correction.is_some_and(|row| {
                    matches!(&row.journaled, Journaled::Correction(correction) if correction.status == RequestStatus::Completed && correction.charge_after.is_positive())
                });
                let is_paid = row.is_some_and(|row| {
                    row.amount.is_some()
                        && matches!(&row.journaled, Journaled::Receipt(receipt) if receipt.status == RequestStatus::Completed)
                });
                law!(is_paid || is_corrected, "replay", "{} was not paid", replay.request);
                if is_corrected {
                    self.note("replayed what a correction charged");
                }
                let said = self.bodies.get(&replay.request);
                let is_said = replay.body.as_ref().is_some_and(|body| said.is_some_and(|said| said.contains(body)));
                law!(is_said, "replay", "{:?} was never the answer of {}", replay.body, replay.request);
            }
            (Command::Hold(_), AccountAnswer::Hold(HoldAnswer::Stale(_))) => self.note("outdated key noticed"),
            (Command::Hold(request), AccountAnswer::Hold(HoldAnswer::Refused(refusal, _))) => {
                let code = refusal.code.row().code;
                self.note(format!("refused: {code}"));
                if refusal.code == Code::RateLimitExceeded {
                    let what = ["same time", "requests a minute", "tokens a minute"];
                    let what = what.into_iter().find(|what| refusal.message.contains(what)).unwrap_or_default();
                    self.note(format!("rate refused: {what}"));
                }
                if refusal.code == Code::BudgetExceeded {
                    self.note(format!("budget refused: {}", refusal.limit_source.as_deref().unwrap_or_default()));
                }
                let books = self.tables.all_books();
                let own = self.tables.holds.get(request.facts.request.as_str()).filter(|own| own.bucket == request.bucket);
                let own = own.map_or(0, |own| own.amount.nanos());
                let (balance, left) = (books.balance(&request.bucket).nanos(), books.available(&request.bucket).nanos() + own);
                let least = request.least.unwrap_or(request.amount).nanos();
                let is_right = match refusal.code {
                    Code::InsufficientBalance => least > balance,
                    Code::BalanceInFlight => least > left && least <= balance,
                    _ => true,
                };
                law!(is_right, "refused only what is not there", "{} of {left} of {balance}", request.amount);
                let is_known = !matches!(refusal.code, Code::InvalidApiKey);
                let id = &request.facts.request;
                let has_end = self.tables.holds.contains_key(id.as_str())
                    || self.tables.row_of(id.as_str()).is_some()
                    || events.iter().any(
                        |event| matches!(event, Event::Journaled(row) if row.journaled.subject().as_deref() == Some(id.as_str())),
                    );
                let asks_again = request.waits && refusal.in_flight;
                let can_go_on = !request.is_last && refusal.code.is_about_one_bucket() || asks_again;
                law!(has_end || can_go_on || !is_known, "one receipt for each request", "{id} is refused without one");
            }
            (Command::Settle(settlement), _) => {
                let id = &settlement.request;
                if let Some(body) = &settlement.body {
                    self.bodies.entry(id.clone()).or_default().insert(body.clone());
                }
                let (is_open, is_closed) =
                    (self.tables.holds.contains_key(id.as_str()), self.tables.row_of(id.as_str()).is_some());
                if !is_open && events.is_empty() {
                    self.note(if is_closed { "settlement recognised as repeated" } else { "settlement without a hold" });
                }
                law!(!is_open || !events.is_empty(), "settled", "{id} stays open");
                self.kept_of(settlement, events)?;
            }
            (Command::Checkpoint(extension), _) => self.checkpoint(extension, events)?,
            (Command::Place(order), answer) => {
                let key = order.request_key.clone().unwrap_or_default();
                let first = self.placed.get(&key).cloned();
                law!(first.is_none() || events.is_empty(), "ordered once", "{key} makes a second order");
                let open = self.tables.orders.values();
                let open = open.filter(|order| matches!(order.state, OrderState::Pending | OrderState::InReview)).count();
                law!(events.is_empty() || open < MOST_OPEN_ORDERS, "open orders", "{open} are open already");
                match (first, answer) {
                    (Some(first), AccountAnswer::Order(found)) => {
                        law!(first == found.id, "ordered once", "{key} made {first} and then {}", found.id);
                        self.note("order recognised as repeated");
                    }
                    (Some(_), _) => self.note("order refused: its key made another"),
                    (None, AccountAnswer::Order(made)) => {
                        self.placed.insert(key, made.id.clone());
                        self.note("order placed");
                    }
                    (None, _) => self.note("order refused"),
                }
            }
            (Command::Adjust(adjustment), answer) => {
                let is_known = self.tables.row_of(&adjustment.id).is_some();
                law!(
                    !is_known || (events.is_empty() && *answer == AccountAnswer::Done),
                    "adjusted once",
                    "{} again: {answer:?}",
                    adjustment.id
                );
                self.note(match (is_known, answer) {
                    (true, _) => "adjustment recognised as repeated",
                    (false, AccountAnswer::Done) => "adjusted",
                    _ => "adjustment refused",
                });
            }
            (Command::Redeem(redemption, ..), _) => {
                let is_known = self.tables.row_of(&redemption.subject()).is_some();
                law!(!is_known || events.is_empty(), "redeemed once", "{} again", redemption.id);
                self.note(match (is_known, answer) {
                    (true, _) => "code recognised as used",
                    (false, AccountAnswer::Refused(_)) => "code refused: it would take more than there is",
                    _ => "code redeemed",
                });
            }
            (Command::Refund(request), answer) => {
                let booked = self.tables.orders.get(&request.order).map(|order| &order.refunds);
                let booked = booked.and_then(|refunds| refunds.iter().find(|refund| refund.id == request.id));
                law!(booked.is_none() || events.is_empty(), "refunded once", "{} again", request.id);
                if let Some(booked) = booked {
                    let is_told = (booked.amount == request.amount) == matches!(answer, AccountAnswer::Order(_));
                    law!(is_told, "refunded once", "{} over {} again over {}", request.id, booked.amount, request.amount);
                }
                if booked.is_none() && matches!(answer, AccountAnswer::Order(_)) {
                    self.said_of.entry(request.order.clone()).or_default().booked += request.amount.nanos();
                }
                self.note(match (booked, answer) {
                    (Some(_), AccountAnswer::Refused(_)) => "refund refused: its id booked another amount",
                    (Some(_), _) => "refund recognised as repeated",
                    (None, AccountAnswer::Refused(_)) => "refund refused",
                    _ => "refund by the operator",
                });
            }
            (Command::Verdict(..), AccountAnswer::Order(order)) => self.note(format!("reviewed: {:?}", order.state)),
            (Command::Pay(event), AccountAnswer::Order(order)) => {
                let delivery = order.deliveries.iter().find(|known| known.id == event.id);
                let delivery = delivery.ok_or(format!("deliveries: the order does not tell of {}", event.id))?;
                let ids: BTreeSet<&String> = order.deliveries.iter().map(|known| &known.id).collect();
                law!(ids.len() == order.deliveries.len(), "messages count once", "{} is told of twice", event.id);
                let effect = if delivery.times > 1 { "recognised as repeated" } else { delivery.effect.as_str() };
                self.note(format!("payment message: {}", without_amounts(effect)));
                let is_back =
                    |event: &Event| matches!(event, Event::Journaled(row) if matches!(row.journaled, Journaled::Refund(_)));
                if effect == "paid" && events.iter().any(is_back) {
                    self.note("paid, and taken back at once");
                }
                if delivery.times == 1 && !delivery.effect.starts_with("refused") {
                    let said = self.said_of.entry(order.id.clone()).or_default();
                    match &event.change {
                        PaymentChange::Refunded { total, .. } => said.total = said.total.max(total.nanos()),
                        // Of the same dispute the first counts.
                        PaymentChange::Disputed { dispute, amount, .. } => {
                            said.disputes.entry(dispute.clone()).or_insert(amount.nanos());
                        }
                        PaymentChange::Reinstated { dispute } => {
                            said.won.insert(dispute.clone());
                        }
                        _ => {}
                    }
                }
                law!(
                    delivery.times == 1 || events.iter().all(|event| !moves(event)),
                    "messages count once",
                    "{} again",
                    event.id
                );
            }
            (_, AccountAnswer::Refused(refusal)) => self.note(format!("{} refused: {}", kind(command), refusal.code.row().code)),
            _ => {}
        }
        Ok(())
    }

    /// A checkpoint tells of more than the one before, or changes nothing but the deadline, and that only to a later one.
    fn checkpoint(&mut self, extension: &Extension, events: &[Event]) -> Result<(), Broken> {
        for event in events {
            let Event::Extended { request, deadline, checkpoint } = event else { continue };
            let open = &self.tables.holds[request.as_str()];
            law!(*request == extension.request, "checkpoint", "{request} is not meant");
            law!(*deadline >= open.deadline, "checkpoint", "{request} would end earlier");
            let Some(known) = open.checkpoint.as_ref().filter(|known| known.served == checkpoint.served) else { continue };
            let (known, told) = (known.usage.total(), checkpoint.usage.total());
            law!(told >= known, "checkpoint", "{request} had used {known}, and then {told}");
            if extension.checkpoint.usage.total() < told {
                self.note("checkpoint was overtaken");
            }
        }
        Ok(())
    }

    /// Counts what happened, so that a simulation that has become blind is noticed.
    fn notice(&mut self, events: &[Event]) {
        for event in events {
            let Event::Journaled(row) = event else { continue };
            match &row.journaled {
                Journaled::Receipt(receipt) => {
                    self.note(format!("receipt: {}", receipt.status.as_str()));
                    if receipt.in_review.is_some() {
                        self.note("in review");
                    }
                    if receipt.error.as_ref().is_some_and(|error| error.code == "hold_expired") {
                        self.note(if row.amount.is_some() { "hold expired, charged" } else { "hold expired, free" });
                    }
                    if receipt.hold.is_some_and(|hold| hold == receipt.charge && hold.is_positive()) {
                        self.note("the whole hold was charged");
                    }
                }
                Journaled::Correction(correction) => {
                    self.note(match correction.charge_after.cmp(&correction.charge_before) {
                        std::cmp::Ordering::Less => "correction down",
                        std::cmp::Ordering::Equal => "correction without a change",
                        std::cmp::Ordering::Greater => "correction up",
                    });
                    if correction.run.is_some() {
                        self.note("correction in a run");
                    }
                }
                Journaled::Refund(refund) if refund.debt.is_positive() => self.note("debt made"),
                Journaled::Refund(refund) if refund.amount.is_negative() => self.note("dispute won"),
                Journaled::Refund(_) => self.note("refund taken"),
                Journaled::DebtPayment(_) => self.note("debt paid"),
                Journaled::TopUp(_) => self.note("order credited"),
                Journaled::Alert(alert) => self.note(format!(
                    "alert: {} {}{}",
                    alert.scope.as_str(),
                    alert.percent,
                    if alert.refused { " by a refusal" } else { "" }
                )),
                _ => {}
            }
        }
    }

    /// What must hold of a new hold, besides the balance and the budgets.
    fn granted(&mut self, request: &HoldRequest, events: &[Event]) -> Result<(), Broken> {
        let opened = events.iter().find_map(|event| if let Event::Opened(hold) = event { Some(hold) } else { None });
        let Some(hold) = opened else { return Ok(()) };
        let now = self.time();
        let within = request.least.unwrap_or(request.amount)..=request.amount;
        law!(within.contains(&hold.amount) && hold.bucket == request.bucket, "hold", "{hold:?} was not asked for");
        self.note(if hold.amount < request.amount { "hold fitted" } else { "hold as wanted" });
        let is_first = self.tables.left.keys().filter(|(id, _)| id == hold.request.as_str()).count() == 1;
        let row = self.tables.row_of(hold.request.as_str());
        law!(row.is_none(), "receipt once", "{} is open and has a receipt", hold.request);
        let is_own = |grant: &Grant| hold.claim.as_ref() == Some(&grant.claim) && grant.request == hold.request;
        if let Some(claim) = hold.claim.as_ref().filter(|_| !self.grants.iter().any(is_own)) {
            for grant in self.grants.iter().filter(|grant| grant.claim == *claim && grant.request != hold.request) {
                let is_old = now >= grant.at.plus(DAY_MS);
                let is_over = !self.tables.holds.contains_key(grant.request.as_str());
                let row = self.tables.row_of(grant.request.as_str());
                let is_free = row.is_none_or(|row| row.amount.is_none());
                law!(is_old || (is_over && is_free), "idempotency", "{claim} of {} is given to {}", grant.request, hold.request);
            }
            self.grants.push(Grant { claim: claim.clone(), request: hold.request.clone(), at: now });
        }
        if hold.key.as_str() == "limited" {
            let minute = now.millis().div_euclid(60_000);
            let open = self.tables.holds.values().filter(|open| open.key == hold.key);
            law!(open.clone().count() <= CONCURRENCY as usize, "concurrency", "{} are open", open.count());
            let is_steady = !self.unsteady.contains(&minute);
            if is_first {
                let asked = self.minutes.entry(minute).or_default();
                *asked += 1;
                law!(*asked <= RPM || !is_steady, "rpm", "{asked} in one minute");
                let others = open.filter(|other| other.request != hold.request).map(|other| u128::from(other.tokens));
                let used = self.tables.journal.iter().filter(|row| row.at.millis().div_euclid(60_000) == minute);
                let used = used.filter_map(|row| match &row.journaled {
                    Journaled::Receipt(receipt) if receipt.key == hold.key && receipt.hold.is_some() => {
                        Some(receipt.usage.total())
                    }
                    _ => None,
                });
                let taken = others.sum::<u128>() + used.map(u128::from).sum::<u128>();
                law!(taken < u128::from(TPM) || !is_steady, "tpm", "{taken} tokens were taken already");
            }
        }
        Ok(())
    }

    /// The alarm: ends what is due. With an old list it looks at holds that have lived on since.
    fn alarm(&mut self, is_early: bool, dies_after: Option<u8>) -> Result<(), Broken> {
        let now = self.now();
        let listed: Vec<_> = self.tables.holds.values().filter(|hold| is_early || hold.deadline <= now).cloned().collect();
        let last = dies_after.map_or(usize::MAX, usize::from);
        if last < listed.len() {
            self.note("fault: crashed within the alarm");
        }
        for hold in listed.iter().take(last) {
            let Ok(events) = account::end_hold(&self.tables, hold, now);
            law!(
                events.is_empty() || hold.deadline <= self.time(),
                "expiry",
                "{} ends {} ms before its deadline",
                hold.request,
                hold.deadline.since(now)
            );
            self.note(if events.is_empty() { "alarm found a hold alive" } else { "alarm ended a hold" });
            self.tell(|| format!("the alarm looks at {}  ->  {}", hold.request, happened(&events)));
            self.notice(&events);
            self.also(events, |group| group.end_hold(hold, now))?;
            self.law.check(&self.tables, now)?;
        }
        if dies_after.is_some() {
            // The next one is ended, but that is not stored.
            if let Some(next) = listed.get(last) {
                let failed = self.object.within(Some(Failure::AtCommit), |group| group.end_hold(next, now));
                law!(failed.is_err(), "groups", "a commit that fails is heard of");
                self.note("fault: the alarm's store failed");
                self.agree(self.tables.journal.len())?;
            }
            return Ok(());
        }
        let is_open =
            |order: &&Order| order.state == OrderState::Pending && (is_early || order.expires_at.is_some_and(|end| end <= now));
        let due: Vec<Order> = self.tables.orders.values().filter(is_open).cloned().collect();
        for order in due {
            let Ok(events) = account::end_order(&self.tables, &order.id, now);
            law!(events.is_empty() || order.expires_at.is_some_and(|end| end <= now), "expiry", "{} ends early", order.id);
            if !events.is_empty() {
                self.note("alarm ended an order");
            }
            self.tell(|| format!("the alarm looks at {}  ->  {}", order.id, happened(&events)));
            self.also(events, |group| group.end_order(&order.id, now))?;
        }
        let Ok(events) = account::forget(&self.tables, now);
        if !events.is_empty() {
            self.note("alarm forgot what was kept");
        }
        self.also(events, |group| group.forget(now))?;
        let old = self.tables.kept.values().find(|answer| answer.at.plus(account::KEPT_MS) <= now);
        law!(old.is_none(), "kept for a day", "{old:?} is still kept");
        let is_due = self.tables.holds.values().find(|hold| hold.deadline <= now);
        law!(is_due.is_none(), "expiry", "{:?} is open after its deadline", is_due.map(|hold| &hold.request));
        Ok(())
    }

    /// What the alarm decided alone the object decides in a group of its own.
    fn also(&mut self, events: Vec<Event>, work: impl Fn(&Group<'_, Object>) -> Result<bool, Fault>) -> Result<(), Broken> {
        let from = self.tables.journal.len();
        let done = self.object.within(None, |group| work(group));
        let is_changed = !events.is_empty();
        law!(done == Ok((is_changed, is_changed)), "groups", "{done:?} instead of {is_changed}");
        self.tables.apply(events);
        self.agree(from)
    }

    /// The outbox sends the next rows.
    fn copy(&mut self, most: usize, fault: CopyFault) -> Result<(), Broken> {
        let from = usize::try_from(self.copied).unwrap();
        let rows: Vec<Row> = self.tables.journal.iter().skip(from).take(most).cloned().collect();
        let Some(last) = rows.last().map(|row| row.seq) else { return Ok(()) };
        self.tell(|| format!("rows {} to {last} are copied: {fault:?}", from + 1));
        match fault {
            CopyFault::None => {
                self.copied = self.copied.max(self.copy.write(&rows));
                self.note(if self.copied == last { "batch copied" } else { "batch left out: a row of it was there" });
            }
            CopyFault::Before => self.note("fault: D1 failed before writing"),
            CopyFault::Within => {
                let mut transaction = self.copy.clone();
                transaction.write(&rows[..rows.len() / 2]);
                self.note("fault: D1 failed within its transaction");
            }
            CopyFault::After => {
                self.copy.write(&rows);
                self.note("fault: D1 failed after writing");
            }
            CopyFault::MarkLost => {
                self.copy.write(&rows);
                self.note("fault: the outbox's mark was lost");
            }
            CopyFault::Late(after) => {
                self.late_copies.push((self.step + u32::from(after), rows));
                self.note("fault: D1 wrote later than it was waited for");
            }
        }
        // What is there is always the beginning of the journal, and counted once.
        law!(self.copy.newest() >= self.copied, "outbox", "the mark is ahead of the copy");
        Ok(())
    }

    /// Lets time pass, delivers everything and copies the rest: then nothing is open, and the copy is the journal.
    pub fn end(&mut self) -> Result<(), Broken> {
        while !self.in_flight.is_empty() || !self.late_copies.is_empty() || !self.waiting.is_empty() {
            self.step += 1;
            self.deliver()?;
            self.group(None)?;
        }
        self.wait(self.time().millis() - self.now + 2 * DAY_MS);
        self.alarm(false, None)?;
        self.agree(0)?;
        self.law.check(&self.tables, self.now())?;
        law!(self.tables.holds.is_empty(), "no open holds in the end", "{:?}", self.tables.holds.keys());
        law!(self.tables.left.values().all(|times| *times == 1), "a hold leaves Open once", "{:?}", self.tables.left);
        self.messages()?;
        self.claims()?;
        while usize::try_from(self.copied).unwrap() < self.tables.journal.len() {
            self.copy(50, CopyFault::None)?;
        }
        let copied: Vec<&Row> = self.copy.rows.values().collect();
        law!(copied.iter().copied().eq(&self.tables.journal), "outbox", "the copy is not the journal");
        let (days, expected) = (&self.copy.days, days_of(&self.tables.journal));
        law!(*days == expected, "daily sums", "{days:?}, the journal says {expected:?}");
        self.promises()?;
        let days = &self.copy.days;
        let charged =
            self.tables.journal.iter().filter(|row| matches!(row.journaled, Journaled::Receipt(_) | Journaled::Correction(_)));
        let charged: i128 = charged.filter_map(|row| row.amount).map(|amount| -i128::from(amount.nanos())).sum();
        let tokens = days.values().map(|sums| (sums.input_tokens, sums.output_tokens));
        let tokens = tokens.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
        let used = self.used();
        law!(tokens == used, "daily sums", "{tokens:?} tokens, not {used:?}");
        law!(days.values().map(|sums| sums.charge).sum::<i128>() == charged, "daily sums", "they are not what was charged");
        let mut next = 1;
        for (first, last) in &self.copy.batches {
            law!(*first == next, "batches", "{first} to {last} comes after {}", next - 1);
            next = last + 1;
        }
        let rows: Vec<AuditRow> = self.tables.journal.iter().map(audited).collect();
        let head = rows.len() as u64;
        let report = audit(rows, 0, 100_000, head, self.copied);
        law!(report.faults.is_empty() && report.rows == head, "audit", "{:?}", report.faults);
        self.note("histories");
        Ok(())
    }
}

impl World {
    /// A request counts once for what was promised, by the last word on how it ended.
    fn promises(&mut self) -> Result<(), Broken> {
        let (truths, expected) = (&self.copy.truths, truths_of(&self.tables.journal));
        law!(*truths == expected, "promises", "{truths:?}, the journal says {expected:?}");
        let mut words: BTreeMap<RequestId, Option<Promised>> = BTreeMap::new();
        for row in &self.tables.journal {
            match &row.journaled {
                Journaled::Receipt(receipt) => words.insert(receipt.id.clone(), receipt.promise.clone()),
                Journaled::Correction(correction) => words.insert(correction.id.clone(), correction.promise.clone()),
                _ => None,
            };
        }
        let words: Vec<Promised> = words.into_values().flatten().collect();
        let kept = words.iter().filter(|word| word.missed.is_none());
        let counted = (i64::try_from(words.len()).unwrap(), i64::try_from(kept.count()).unwrap());
        let told = truths.values().fold((0, 0), |sum, kept| (sum.0 + kept.callable, sum.1 + kept.answered));
        law!(told == counted, "promises", "{told:?} are counted, of {counted:?}");
        for word in words {
            self.note(format!("promise: {}", word.missed.map_or("kept", Missed::as_str)));
        }
        Ok(())
    }

    /// Whatever the order in which the provider's messages came, in the end all of them count.
    fn messages(&self) -> Result<(), Broken> {
        for (id, said) in &self.said_of {
            let order = &self.tables.orders[id];
            if order.state != OrderState::Paid || self.law.without_room.contains(id) {
                continue;
            }
            let (amount, disputed, refunded) = (order.amount.nanos(), said.disputed(), order.refunded.nanos());
            // Whether the operator's refunds are among what the provider tells of, only the order of both can say.
            let least = (said.total.max(said.booked) + disputed).min(amount);
            let most = (said.total + said.booked + disputed).min(amount);
            law!(
                (least..=most).contains(&refunded),
                "messages in any order",
                "{refunded} of {id} is taken back, by what was said of it {least} to {most}"
            );
        }
        Ok(())
    }

    /// Of requests with one idempotency key one is charged, however late what was lost is heard of, for a day.
    fn claims(&self) -> Result<(), Broken> {
        for (index, first) in self.grants.iter().enumerate() {
            let Some(charged) = self.charged_at(&first.request) else { continue };
            for second in self.grants.iter().skip(index + 1).filter(|second| second.claim == first.claim) {
                let Some(again) = self.charged_at(&second.request) else { continue };
                let is_old = second.at >= first.at.plus(DAY_MS) || charged.max(again) >= second.at.plus(DAY_MS);
                law!(is_old, "idempotency", "{} and {} are charged for {}", first.request, second.request, first.claim);
            }
        }
        Ok(())
    }

    /// When a request was charged last, if it costs anything in the end.
    fn charged_at(&self, request: &RequestId) -> Option<Timestamp> {
        let correction = self.tables.row_of(&format!("{request}/correction"));
        let row = correction.or_else(|| self.tables.row_of(request.as_str()))?;
        let charge = match &row.journaled {
            Journaled::Receipt(receipt) => receipt.charge,
            Journaled::Correction(correction) => correction.charge_after,
            _ => Money::ZERO,
        };
        charge.is_positive().then_some(row.at)
    }

    /// What all requests used, input and output: a correction's word counts instead of the expiry's.
    fn used(&self) -> (i128, i128) {
        let mut used: BTreeMap<&RequestId, (i128, i128)> = BTreeMap::new();
        for row in &self.tables.journal {
            match &row.journaled {
                Journaled::Receipt(receipt) => used.insert(&receipt.id, sides(&receipt.usage)),
                Journaled::Correction(correction) => used.insert(&correction.id, sides(&correction.usage)),
                _ => None,
            };
        }
        used.values().fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
    }
}

/// Whether a state could be one between two commands.
fn stands_alone(tables: &Tables) -> bool {
    let law = Law::default().check(tables, Timestamp::from_millis(START)).is_ok();
    law && tables.holds.values().all(|hold| tables.row_of(hold.request.as_str()).is_none())
        && tables.left.iter().all(|((request, _), _)| tables.holds.contains_key(request) || tables.row_of(request).is_some())
}

/// An effect with the part that differs from one message to the other left out.
fn without_amounts(effect: &str) -> &str {
    let is_amount = effect.ends_with("was ordered.");
    if is_amount { "in review: another amount or currency was paid" } else { effect }
}

fn moves(event: &Event) -> bool {
    matches!(event, Event::Journaled(row) if row.amount.is_some())
}

fn audited(row: &Row) -> AuditRow {
    AuditRow {
        seq: row.seq,
        at: row.at.millis(),
        length: 0,
        kind: row.journaled.kind().as_str().to_owned(),
        bucket: row.bucket.clone(),
        amount: row.amount,
        balances: row.balances.clone(),
        debts: row.debts.clone(),
        charge: if let Journaled::Receipt(receipt) = &row.journaled { Some(receipt.charge) } else { None },
    }
}

/// From a step to what is said.
impl World {
    /// A request: one that is open, one that has expired, or any; so many are newer.
    fn recent(&self, pick: u8) -> Option<usize> {
        let expired = |row: &Row| matches!(&row.journaled, Journaled::Receipt(receipt) if receipt.error.as_ref().is_some_and(|error| error.code == "hold_expired"));
        let is_meant = |asked: &Asked| match pick / 16 {
            0 | 1 => self.tables.holds.contains_key(asked.id.as_str()),
            2 => self.tables.row_of(asked.id.as_str()).is_some_and(expired),
            _ => true,
        };
        let meant: Vec<usize> = (0..self.requests.len()).rev().filter(|index| is_meant(&self.requests[*index])).collect();
        let meant = if meant.is_empty() { (0..self.requests.len()).rev().collect() } else { meant };
        meant.get(usize::from(pick % 16).checked_rem(meant.len())?).copied()
    }

    fn placed(&self, pick: u8) -> Option<&Placed> {
        self.orders.iter().rev().nth(usize::from(pick).checked_rem(self.orders.len())?)
    }

    fn next(&mut self, prefix: &str) -> String {
        self.serial += 1;
        format!("{prefix}-{}", self.serial)
    }

    fn facts(&self, asked: &Asked) -> Facts {
        Facts {
            request: asked.id.clone(),
            created_at: asked.at,
            account: account_id(),
            project: project_of(asked.key),
            key: KeyId::parse(asked.key).unwrap(),
            key_label: asked.key.to_owned(),
            run: asked.run.clone(),
            endpoint: "/v1/chat/completions".to_owned(),
            stream: false,
            requested_model: "m".to_owned(),
            counted_as: None,
            catalog_version: 1,
            promise: Some(promise(asked.bucket)),
        }
    }

    fn ask(&mut self, key: u8, run: u8, bucket: u8) -> usize {
        self.serial += 1;
        // Ids sort by time, by clocks that are not quite the same.
        let clock = self.serial + 9 - self.serial * 7 % 10;
        let id = RequestId::parse(&format!("{}{clock:06}-{}", RequestId::MARK, self.serial)).unwrap();
        let (key, run, at) = (key_name(key), run_name(run), self.now());
        self.requests.push(Asked { id, key, run, claim: None, leg: 0, bucket, at });
        self.requests.len() - 1
    }

    fn hold(&self, index: usize, (amount, tokens, is_last): (i64, u64, bool)) -> HoldRequest {
        let asked = &self.requests[index];
        let facts = self.facts(asked);
        HoldRequest {
            leg: asked.leg,
            key_version: self.versions.get(&facts.key).copied().unwrap_or(1),
            bucket: bucket(asked.bucket),
            amount: nanos(amount),
            // One in five may be fitted, and half of these ask again while others are in flight.
            least: (index % 5 == 4).then(|| nanos(amount / 7)),
            currency: "USD".to_owned(),
            waits: index % 10 == 9,
            timeout_ms: HOLD_MS,
            idempotency: asked.claim.clone(),
            tokens,
            is_last,
            facts,
        }
    }

    fn command(&mut self, act: Act) -> Option<Command> {
        Some(match act {
            Act::Ask { key, run, bucket, nanos, tokens, claim, is_last, is_outdated } => {
                let index = self.ask(key, run, bucket);
                self.requests[index].claim = claim.map(|(id, body)| (format!("claim-{id}"), format!("body-{body}")));
                let mut hold = self.hold(index, (nanos, tokens, is_last));
                hold.key_version -= u64::from(is_outdated);
                Command::Hold(Box::new(hold))
            }
            Act::Cross { pick, bucket, nanos, is_last } => {
                let index = self.recent(pick)?;
                let asked = &mut self.requests[index];
                (asked.leg, asked.bucket) = (asked.leg + 1, bucket);
                Command::Hold(Box::new(self.hold(index, (nanos, 0, is_last))))
            }
            Act::Checkpoint { pick, tokens, is_elsewhere } => {
                let asked = &self.requests[self.recent(pick)?];
                let served = served(asked.bucket ^ u8::from(is_elsewhere));
                let checkpoint = Checkpoint { served, attempts: Vec::new(), usage: usage(tokens) };
                Command::Checkpoint(Box::new(Extension { request: asked.id.clone(), checkpoint, timeout_ms: HOLD_MS }))
            }
            Act::Settle { pick, status, tokens, rest } => self.settlement(pick, status, tokens, rest)?,
            Act::Refuse { key, run } => {
                let index = self.ask(key, run, 0);
                let outcome = outcome(RequestStatus::Refused, None, 0);
                Command::RecordRefused(Box::new((self.facts(&self.requests[index]), outcome)))
            }
            Act::Adjust { bucket: on, nanos: amount } => {
                let (id, author) = (self.next("adj"), "test".to_owned());
                Command::Adjust(Adjustment {
                    id,
                    bucket: bucket(on),
                    amount: nanos(amount),
                    reason: "drawn".to_owned(),
                    author,
                    on_behalf_of: None,
                    note: None,
                })
            }
            Act::Drain { bucket: on } => {
                let amount = self.tables.all_books().available(&bucket(on)).negated();
                let (id, author) = (self.next("adj"), "test".to_owned());
                Command::Adjust(Adjustment {
                    id,
                    bucket: bucket(on),
                    amount,
                    reason: "drained".to_owned(),
                    author,
                    on_behalf_of: None,
                    note: None,
                })
            }
            Act::Place { bucket: on, nanos: amount, is_manual, is_again } => self.place(on, nanos(amount), is_manual, is_again),
            Act::Opened { pick, works } => {
                let id = self.placed(pick)?.id.clone();
                let url = "https://pay".to_owned();
                let session = HandedOver::Session { id: format!("cs-{id}"), url };
                let answer = if works { session } else { HandedOver::Failed { reason: "the provider said no".to_owned() } };
                Command::Opened(id, answer)
            }
            Act::Pay { pick, change, session } => self.message(pick, change, session)?,
            Act::Verdict { pick, is_approved, nanos: amount } => {
                let id = self.placed(pick)?.id.clone();
                let (reason, author) = (self.next("because"), "operator".to_owned());
                Command::Verdict(
                    id,
                    Review { is_approved, amount: amount.map(nanos), reason, author, on_behalf_of: None, note: None },
                )
            }
            Act::Refund { pick, part, is_debt, is_again } => {
                let (id, placed) = (self.next("refund"), self.placed(pick)?);
                let if_used = if is_debt { IfUsed::Debt } else { IfUsed::Block };
                let (order, amount) = (placed.id.clone(), quarters(placed.amount, part));
                let (reason, author) = ("asked for".to_owned(), "operator".to_owned());
                let mut request = RefundRequest { id, order, amount, if_used, reason, author, on_behalf_of: None, note: None };
                if let Some(last) = self.refund.clone().filter(|_| is_again) {
                    (request.id, request.order) = (last.id, last.order);
                }
                self.refund = Some(request.clone());
                Command::Refund(request)
            }
            Act::Redeem { code } => {
                let (hash, id) = (format!("hash-{code}"), format!("code-{code}"));
                let redemption = Redemption {
                    hash,
                    id,
                    reason: "given out".to_owned(),
                    author: "operator".to_owned(),
                    on_behalf_of: None,
                    note: None,
                };
                // The last one is not a gift: what takes more than there is, is refused wherever it comes from.
                let amount = if code == 4 { units(-500) } else { units(i64::from(code) + 1) };
                Command::Redeem(redemption, bucket(code), amount)
            }
            Act::ChangeKey { key, what } => change_key(key_name(key), what),
            Act::PutProject { is_other } => {
                let limit = json!([{"bucket": "credit", "period": "day", "limit": (1 + self.serial % 3).to_string()}]);
                let (id, budgets) = if is_other {
                    ("spare", serde_json::from_value(limit).unwrap())
                } else {
                    ("capped", budgets("project capped"))
                };
                let (name, created_at) = (id.to_owned(), Timestamp::from_millis(START));
                let id = ProjectId::parse(id).unwrap();
                Command::PutProject(ProjectRecord { id, account: account_id(), name, budgets, created_at }.into())
            }
            Act::OpenRun { run, is_other } => Command::OpenRun(self.run_record(run, is_other)),
        })
    }

    /// An answer is kept with the row that ends its request, once, and only if it came to its end.
    fn kept_of(&mut self, settlement: &Settlement, events: &[Event]) -> Result<(), Broken> {
        let id = &settlement.request;
        let rows = events.iter().filter_map(|event| match event {
            Event::Journaled(row) if matches!(row.journaled, Journaled::Receipt(_) | Journaled::Correction(_)) => Some(row.seq),
            _ => None,
        });
        let is_kept = settlement.kept.is_some() && settlement.outcome.status == RequestStatus::Completed;
        let expected: Vec<_> = rows.filter(|_| is_kept).map(|seq| (seq, settlement.kept.clone().unwrap_or_default())).collect();
        let kept = events.iter().filter_map(|event| match event {
            Event::Kept(answer) => Some((answer.seq, answer.sealed.clone())),
            _ => None,
        });
        let kept: Vec<_> = kept.collect();
        law!(kept == expected, "kept once", "{id}: {kept:?} where {expected:?} belongs");
        if !kept.is_empty() {
            self.note("answer kept");
        }
        Ok(())
    }

    fn settlement(&self, pick: u8, status: u8, tokens: u64, rest: u8) -> Option<Command> {
        let asked = &self.requests[self.recent(pick)?];
        let status = match status {
            0..=3 => RequestStatus::Completed,
            4 => RequestStatus::Truncated,
            5 => RequestStatus::Aborted,
            6 => RequestStatus::Failed,
            _ => RequestStatus::Refused,
        };
        let is_unserved = rest == 31 || matches!(status, RequestStatus::Failed | RequestStatus::Refused);
        let on = asked.bucket ^ u8::from(rest == 30);
        let served = (!is_unserved).then(|| served(on));
        let mut outcome = outcome(status, served, tokens);
        if rest & 1 != 0 {
            outcome.usage_source = UsageSource::Estimated;
        }
        if rest & 2 != 0 {
            outcome.bounds =
                Some(Bounds { input: 2_000_000, output: 300_000, visible: 150_000, searches: 3, ..Bounds::default() });
        }
        if rest & 4 != 0 {
            outcome.upstream_cut = CutPolicy::Usage;
        }
        let channels: &[&str] = match rest % 5 {
            1 => &["c", "c"],
            2 => &["c", "d"],
            _ => &["c"],
        };
        outcome.attempts = channels.iter().map(|channel| attempt(channel, on, self.now())).collect();
        // Now and then the end says nothing of the promise.
        outcome.promise = (!rest.is_multiple_of(7)).then(|| promise(asked.bucket));
        let body = Some(format!("answer {} of {}", tokens % 7, asked.id));
        let kept = (rest & 8 != 0).then(|| format!("sealed answer of {}", asked.id));
        Some(Command::Settle(Box::new(Settlement { request: asked.id.clone(), outcome, body, kept })))
    }

    fn place(&mut self, on: u8, amount: Money, is_manual: bool, is_again: bool) -> Command {
        let id = OrderId::parse(&self.next("order")).unwrap();
        let key = self.orders.last().filter(|_| is_again).map_or(format!("key of {id}"), |last| last.key.clone());
        if !self.orders.iter().any(|placed| placed.key == key) {
            self.orders.push(Placed { id: id.clone(), key: key.clone(), amount });
        }
        Command::Place(Box::new(Order {
            id,
            account: account_id(),
            key: KeyId::parse("free").unwrap(),
            bucket: bucket(on),
            amount,
            currency: "USD".to_owned(),
            provider: if is_manual { Provider::Manual } else { Provider::Stripe },
            state: if is_manual { OrderState::InReview } else { OrderState::Pending },
            created_at: self.now(),
            expires_at: (!is_manual).then(|| self.now().plus(ORDER_MS)),
            request_key: Some(key),
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
    }

    fn message(&mut self, pick: u8, change: Change, session: u8) -> Option<Command> {
        let id = self.next("evt");
        let placed = self.placed(pick)?;
        let (order, amount, currency) = (placed.id.clone(), placed.amount, "USD".to_owned());
        let of = |number: u8| format!("dp-{order}-{number}");
        let change = match change {
            Change::Paid => PaymentChange::Paid { amount, currency },
            Change::PaidWrong => PaymentChange::Paid { amount: quarters(amount, 3), currency },
            Change::PaidForeign => PaymentChange::Paid { amount, currency: "JPY".to_owned() },
            Change::Processing => PaymentChange::Processing,
            Change::Expired => PaymentChange::Expired,
            Change::Failed => PaymentChange::Failed { reason: "declined".to_owned() },
            Change::Refunded(part) => PaymentChange::Refunded { total: quarters(amount, part), currency },
            Change::Disputed(number, part) => {
                PaymentChange::Disputed { dispute: of(number), amount: quarters(amount, part), currency }
            }
            Change::Reinstated(number) => PaymentChange::Reinstated { dispute: of(number) },
        };
        let provider = if session == 15 { Provider::Manual } else { Provider::Stripe };
        let session = match session {
            0..=9 => Some(format!("cs-{order}")),
            14 => Some("cs-other".to_owned()),
            _ => None,
        };
        let (payment, kind) = (Some(format!("pi-{order}")), "message".to_owned());
        Some(Command::Pay(Box::new(PaymentEvent { id, kind, provider, order, session, payment, change })))
    }
}

fn quarters(amount: Money, part: u8) -> Money {
    nanos(amount.nanos() / 4 * i64::from(part))
}

fn outcome(status: RequestStatus, served: Option<Served>, tokens: u64) -> Outcome {
    Outcome {
        status,
        served,
        attempts: Vec::new(),
        usage: usage(tokens),
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
    }
}

/// Labels change everywhere, budgets only of the key that is there for it, and some are revoked.
fn change_key(key: &str, what: u8) -> Command {
    let budgets = json!([{"bucket": "credit", "period": "day", "limit": (what % 3 + 1).to_string()}]);
    let mut change = KeyChange { policy: serde_json::Map::new(), label: Some(format!("label {what}")), revoke: false, by: None };
    if key == "changing" {
        change.policy.insert("budgets".to_owned(), budgets);
    }
    change.revoke = what == 11;
    Command::ChangeKey(KeyId::parse(key).unwrap(), change)
}

fn kind(command: &Command) -> &'static str {
    match command {
        Command::Hold(_) => "hold",
        Command::Settle(_) => "settle",
        Command::Checkpoint(_) => "checkpoint",
        Command::RecordRefused(_) => "record refused",
        Command::Open(_) => "open",
        Command::PutProject(_) => "put project",
        Command::PutKey(_) => "put key",
        Command::ChangeKey(..) => "change key",
        Command::Adjust(_) => "adjust",
        Command::OpenRun(_) => "open run",
        Command::Place(_) => "place",
        Command::Opened(..) => "opened",
        Command::Pay(_) => "pay",
        Command::Verdict(..) => "review",
        Command::Refund(_) => "refund",
        Command::Redeem(..) => "redeem",
        Command::Act(_) => "act",
        Command::EndSessions(_) => "end sessions",
        Command::Flush => "flush",
        Command::Read(_) => "read",
    }
}

/// A command in one line.
fn told(command: &Command) -> String {
    let what = match command {
        Command::Hold(it) => {
            let Facts { request, key, run, .. } = &it.facts;
            let run = run.as_ref().map_or(String::new(), |run| format!(" in run {run}"));
            let claim = it.idempotency.as_ref().map_or(String::new(), |(id, body)| format!(" with {id} {body}"));
            let last = if it.is_last { "" } else { ", not last" };
            format!("{request} leg {} by {key}{run}: {} of {}{claim}{last}", it.leg, it.amount, it.bucket)
        }
        Command::Settle(it) => {
            let on = it.outcome.served.as_ref().map_or("nobody".to_owned(), |served| served.bucket.to_string());
            let usage = it.outcome.usage;
            let bounds = if it.outcome.bounds.is_some() { ", bounded" } else { "" };
            format!(
                "{} {} on {on}, {} in {} out{bounds}",
                it.request,
                it.outcome.status.as_str(),
                usage.input_side(),
                usage.output_side()
            )
        }
        Command::Checkpoint(it) => {
            format!("{} on {}, {} in", it.request, it.checkpoint.served.bucket, it.checkpoint.usage.input)
        }
        Command::RecordRefused(it) => it.0.request.to_string(),
        Command::PutProject(it) => format!("{} {:?}", it.record.id, it.record.budgets),
        Command::ChangeKey(key, change) => format!("{key} {:?} revoke: {}", change.policy, change.revoke),
        Command::Adjust(it) => format!("{}: {} of {}", it.id, it.amount, it.bucket),
        Command::OpenRun(it) => format!("{} {:?}", it.id, it.name),
        Command::Place(it) => format!("{}: {} of {} by {:?}", it.id, it.amount, it.bucket, it.provider),
        Command::Opened(id, answer) => format!("{id} {answer:?}"),
        Command::Pay(it) => format!("{} about {}: {:?} {:?}", it.id, it.order, it.change, it.session),
        Command::Verdict(id, verdict) => format!("{id} approved: {} {:?}", verdict.is_approved, verdict.amount),
        Command::Refund(it) => format!("{} of {}: {} {:?}", it.id, it.order, it.amount, it.if_used),
        Command::Redeem(it, on, amount) => format!("{}: {amount} of {on}", it.id),
        _ => String::new(),
    };
    format!("{} {what}", kind(command))
}

fn answered(answer: &AccountAnswer, events: &[Event]) -> String {
    let said = match answer {
        AccountAnswer::Hold(HoldAnswer::Granted(_)) => "granted",
        AccountAnswer::Hold(HoldAnswer::Refused(refusal, _)) | AccountAnswer::Refused(refusal) => refusal.code.row().code,
        AccountAnswer::Hold(HoldAnswer::Stale(_)) => "stale",
        AccountAnswer::Hold(HoldAnswer::Replayed(_)) => "replayed",
        other => other.kind(),
    };
    format!("{said}: {}", happened(events))
}

fn happened(events: &[Event]) -> String {
    let rows = events.iter().filter_map(|event| if let Event::Journaled(row) = event { Some(row) } else { None });
    let rows = rows.map(|row| {
        let amount = row.amount.map_or(String::new(), |amount| format!(" {amount} of {}", row.bucket.as_ref().unwrap()));
        format!("row {} {}{amount}", row.seq, row.journaled.kind().as_str())
    });
    let rows: Vec<String> = rows.collect();
    if rows.is_empty() { format!("{} events", events.len()) } else { rows.join(", ") }
}
