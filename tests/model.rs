//! The protocol of hold, checkpoint, settlement, expiry and outbox, explored in every order that is possible within bounds.
//!
//! The account is the product's own code over tables in memory. Gateways, the network, the object's alarm and D1 are written
//! here, as small as `relay/ticket.rs`, `cloudflare/account_object.rs` and `cloudflare/outbox.rs` allow. Every lost, late or
//! doubled message, every death and every failure of D1 costs one of a few faults; all else is free to happen at any time.
//!
//! An answer arrives together with its command, or is lost: it changes nothing but its own gateway, so that arriving later
//! makes no difference. An object that dies before its commit is a command that is lost: deciding changes nothing.
//!
//! `MODEL_MORE_FAULTS=1` and `MODEL_REQUESTS=3` make the bounds wider.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use stateright::{Checker, Model, Property};
use support::memory::Memory;
use tokens_forge::account::{
    AccountRecord, Adjustment, Answer, Checkpoint, Command, Extension, Facts, HoldAnswer, HoldRequest, Journaled, Outcome,
    ProjectRecord, Served, Settlement, Status,
};
use tokens_forge::catalog::{CutPolicy, RouteKind};
use tokens_forge::id::{AccountId, BucketId, ChannelId, KeyHash, KeyId, ModelName, ProjectId, RequestId};
use tokens_forge::key::{KeyRecord, Policy};
use tokens_forge::money::{Money, Price};
use tokens_forge::time::Timestamp;
use tokens_forge::usage::{Usage, UsageSource};

const START: i64 = 1_800_000_000_000;
/// How long a hold lives without a sign of life, and the step of the clock.
const TIMEOUT_MS: i64 = 60_000;
/// How often a settlement without an answer is sent again.
const RETRIES: u8 = 1;
/// How many rows go to D1 at once.
const AT_ONCE: u64 = 2;

/// What one request does. Amounts are whole units, and so are tokens: each costs one.
struct Plan {
    /// Bucket and amount of each of its holds.
    legs: &'static [(&'static str, i64)],
    /// What a whole answer costs.
    used: i64,
    /// What it costs if the client leaves in the middle.
    relayed: i64,
    /// What each checkpoint says, in the order in which they are sent.
    checkpoints: &'static [i64],
    /// Whether it comes with the idempotency key that all such requests share.
    has_claim: bool,
}

/// A gateway's request, by its number.
type Request = usize;
type Leg = u32;

/// How a request ended, as its gateway knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Ending {
    Completed,
    /// No upstream answered.
    Failed,
    /// The client left before anything went upstream.
    LeftEarly,
    Left,
}

/// What a gateway says to the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Said {
    Hold(Request, Leg),
    Checkpoint(Request, Leg, usize),
    Settle(Request, Leg, Ending),
}

/// What happens to the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Said(Said),
    Tick,
    TimePasses,
}

/// What the account answers, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Granted,
    Refused { is_about_one_bucket: bool },
    Replayed,
    Done,
}

/// Where a gateway is with its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Idle,
    /// A hold was asked for; with the client or without.
    Asking {
        is_left: bool,
    },
    Granted,
    /// Upstream was called.
    Calling,
    /// The settlement was sent.
    Settling,
    Over(Over),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Over {
    Settled,
    /// The account said no, or nothing.
    Untried,
    Replayed,
    GivenUp,
    Died,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Gateway {
    stage: Stage,
    leg: Leg,
    /// The legs that were called, as the request's history.
    called: Vec<Leg>,
    has_ticket: bool,
    checkpoints: usize,
    retries: u8,
    ending: Option<Ending>,
}

/// When the object wakes up by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Alarm {
    Off,
    Set,
    /// The object died between its commit and setting the alarm; the next change sets it.
    Missed,
}

/// Rows on their way to D1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Batch {
    first: u64,
    last: u64,
    /// Whether the alarm sent it, or a flush.
    is_alarms: bool,
}

/// The searchable copy, and how far the account believes it to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Searchable {
    mark: u64,
    rows: BTreeSet<u64>,
    /// How many rows went into the sums by day.
    counted: u64,
    /// Batches whose answer is waited for: the alarm's, and that of a flush.
    sent: Vec<Batch>,
    /// Batches that nobody waits for any more.
    late: Vec<Batch>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    account: Arc<Account>,
    /// Commands in flight, in no order.
    net: Vec<Said>,
    gateways: Vec<Gateway>,
    alarm: Alarm,
    copy: Searchable,
    faults: u8,
    flushes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Ask(Request),
    Deliver(Said),
    /// Delivered and committed, but the answer is lost.
    DeliverUnanswered(Said),
    /// The object dies after the commit: no answer, no alarm.
    DeliverAndDie(Said),
    Lose(Said),
    Double(Said),
    /// The gateway stops waiting for an answer to its hold.
    StopWaiting(Request),
    Call(Request),
    Note(Request),
    Complete(Request),
    Fail(Request),
    Leave(Request),
    Die(Request),
    SettleAgain(Request),
    GiveUp(Request),
    TimePasses,
    Alarm,
    Flush,
    Copied(Batch),
    CopyFails(Batch),
    CopiedUnanswered(Batch),
    CopySilent(Batch),
    LateCopied(Batch),
}

/// The account after some steps, and what is to be known of it, found once.
#[derive(Debug)]
struct Account {
    tables: Memory,
    now: i64,
    /// All that decides what can still happen; times are relative.
    print: String,
    hash: u64,
    /// Laws that it breaks.
    broken: BTreeSet<&'static str>,
    ends: Vec<End>,
}

/// What the account's records say of one request.
#[derive(Debug, Clone, Default)]
struct End {
    receipts: usize,
    corrections: usize,
    opened: Vec<Leg>,
    is_open: bool,
    is_expired: bool,
    /// What it was charged in all.
    charged: i64,
    /// What its expiry charged.
    at_expiry: i64,
    code: String,
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Eq for Account {}

impl Hash for Account {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

const BALANCE: &str = "0 <= held <= balance";
const SUM: &str = "the balance is the sum of its entries and never below zero";
const ONCE: &str = "a request has one receipt and one correction at most";
const LEAVES: &str = "a hold leaves Open once";
const TABLES: &str = "the tables take every decision";
const CHECKPOINT: &str = "an expiry charges the last checkpoint";
const CLAIM: &str = "an idempotency key has one open hold at most";
const KEPT: &str = "a settlement that was answered is in the journal";
const GRANT: &str = "nothing goes upstream before its hold is granted";
const COST: &str = "a request costs what it used, within its hold";
const COPY: &str = "D1 has the journal from its first row on, each row counted once, and at least to the mark";
const END: &str = "in the end no hold is open, what was called has its receipt, and D1 has every row";

fn id(request: Request) -> RequestId {
    RequestId::parse(&format!("gen-{request}")).unwrap()
}

fn units(amount: i64) -> Money {
    Money::from_nanos(amount * 1_000_000_000).unwrap()
}

fn of_units(amount: Money) -> i64 {
    amount.nanos() / 1_000_000_000
}

fn at(now: i64) -> Timestamp {
    Timestamp::from_millis(now)
}

fn usage(cost: i64) -> Usage {
    Usage { input: u64::try_from(cost).unwrap() * 1_000_000, ..Usage::default() }
}

/// An account with one key and two balances.
fn opened(balances: &[(&str, i64)]) -> Memory {
    let (mut memory, now, account) = (Memory::default(), at(START), AccountId::parse("a").unwrap());
    memory.command(Command::Open(AccountRecord { id: account.clone(), name: "A".into(), created_at: now }), now);
    let project = ProjectRecord {
        id: ProjectId::first(),
        account: account.clone(),
        name: "P".into(),
        budgets: Vec::new(),
        created_at: now,
    };
    memory.command(Command::PutProject(project), now);
    let key = KeyRecord {
        id: KeyId::parse("key").unwrap(),
        hash: KeyHash::parse("key").unwrap(),
        account,
        project: ProjectId::first(),
        label: "key".to_owned(),
        version: 1,
        created_at: now,
        revoked_at: None,
        policy: Policy::default(),
    };
    memory.command(Command::PutKey(Box::new(key)), now);
    for (bucket, amount) in balances {
        let adjustment = Adjustment {
            id: format!("adj-{bucket}"),
            bucket: BucketId::parse(bucket).unwrap(),
            amount: units(*amount),
            reason: "test".to_owned(),
            author: "test".to_owned(),
        };
        assert_eq!(memory.command(Command::Adjust(adjustment), now), Answer::Done);
    }
    memory
}

fn served(bucket: &str) -> Served {
    let price = Price {
        input: units(1),
        cached_input: None,
        cache_write: None,
        output: units(1),
        reasoning: None,
        audio_input: None,
        audio_output: None,
    };
    Served {
        model: ModelName::parse("m").unwrap(),
        upstream_model: "m-1".to_owned(),
        route: RouteKind::Official,
        channel: ChannelId::parse("c").unwrap(),
        bucket: BucketId::parse(bucket).unwrap(),
        price,
        why: "because".to_owned(),
    }
}

impl Plan {
    fn bucket(&self, leg: Leg) -> &'static str {
        self.legs[usize::try_from(leg).unwrap()].0
    }

    fn held(&self, leg: Leg) -> i64 {
        self.legs[usize::try_from(leg).unwrap()].1
    }

    /// What an end costs, before the hold limits it.
    fn cost(&self, ending: Ending) -> i64 {
        match ending {
            Ending::Completed => self.used,
            Ending::Left => self.relayed,
            Ending::Failed | Ending::LeftEarly => 0,
        }
    }

    fn command(&self, said: Said) -> Command {
        match said {
            Said::Hold(request, leg) => {
                let facts = Facts {
                    request: id(request),
                    created_at: at(START),
                    account: AccountId::parse("a").unwrap(),
                    project: ProjectId::first(),
                    key: KeyId::parse("key").unwrap(),
                    key_label: "key".to_owned(),
                    run: None,
                    endpoint: "/v1/chat/completions".to_owned(),
                    stream: false,
                    requested_model: "m".to_owned(),
                    catalog_version: 1,
                };
                Command::Hold(Box::new(HoldRequest {
                    leg,
                    key_version: 1,
                    bucket: BucketId::parse(self.bucket(leg)).unwrap(),
                    amount: units(self.held(leg)),
                    timeout_ms: TIMEOUT_MS,
                    tokens: 0,
                    idempotency: self.has_claim.then(|| ("claim".to_owned(), "body".to_owned())),
                    is_last: usize::try_from(leg).unwrap() + 1 == self.legs.len(),
                    facts,
                }))
            }
            Said::Checkpoint(request, leg, nth) => {
                let served = served(self.bucket(leg));
                let checkpoint = Checkpoint { served, attempts: Vec::new(), usage: usage(self.checkpoints[nth]) };
                Command::Checkpoint(Box::new(Extension { request: id(request), checkpoint, timeout_ms: TIMEOUT_MS }))
            }
            Said::Settle(request, leg, ending) => {
                let (status, source) = match ending {
                    Ending::Completed => (Status::Completed, UsageSource::Upstream),
                    Ending::Failed => (Status::Failed, UsageSource::None),
                    Ending::LeftEarly => (Status::Aborted, UsageSource::None),
                    Ending::Left => (Status::Aborted, UsageSource::Estimated),
                };
                let outcome = Outcome {
                    status,
                    served: matches!(ending, Ending::Completed | Ending::Left).then(|| served(self.bucket(leg))),
                    attempts: Vec::new(),
                    usage: usage(self.cost(ending)),
                    usage_source: source,
                    bounds: None,
                    upstream_cut: CutPolicy::Free,
                    finish_reason: None,
                    error: None,
                    next_step: None,
                    first_byte_ms: None,
                    latency_ms: 1,
                };
                let body = (ending == Ending::Completed).then(|| "{}".to_owned());
                Command::Settle(Box::new(Settlement { request: id(request), outcome, body }))
            }
        }
    }
}

impl Account {
    fn new(tables: Memory, now: i64, requests: usize, broken: BTreeSet<&'static str>) -> Self {
        let mut account = Self { tables, now, print: String::new(), hash: 0, broken, ends: Vec::new() };
        account.ends = (0..requests).map(|request| account.end(request)).collect();
        account.find_broken();
        account.print = account.printed();
        let mut hasher = DefaultHasher::new();
        account.print.hash(&mut hasher);
        account.hash = hasher.finish();
        account
    }

    fn end(&self, request: Request) -> End {
        let request = id(request);
        let mut end = End { is_open: self.tables.holds.contains_key(request.as_str()), ..End::default() };
        end.opened = self.tables.left.keys().filter(|hold| hold.0 == request.as_str()).map(|hold| hold.1).collect();
        for row in &self.tables.journal {
            let charge = -of_units(row.amount.unwrap_or_default());
            match &row.journaled {
                Journaled::Receipt(receipt) if receipt.id == request => {
                    end.receipts += 1;
                    end.charged += charge;
                    end.code = receipt.error.as_ref().map(|error| error.code.clone()).unwrap_or_default();
                    end.is_expired = end.code == "hold_expired";
                    end.at_expiry = if end.is_expired { charge } else { 0 };
                }
                Journaled::Correction(correction) if correction.id == request => {
                    end.corrections += 1;
                    end.charged += charge;
                }
                _ => {}
            }
        }
        end
    }

    fn find_broken(&mut self) {
        let books = self.tables.all_books();
        let mut sums: BTreeMap<BucketId, Money> = BTreeMap::new();
        for row in &self.tables.journal {
            if let (Some(bucket), Some(amount)) = (&row.bucket, row.amount) {
                let sum = sums.entry(bucket.clone()).or_default();
                *sum = sum.checked_add(amount).unwrap();
            }
            if row.balances != sums || sums.values().any(|sum| sum.is_negative()) {
                self.broken.insert(SUM);
            }
        }
        let buckets = self.tables.holds.values().map(|hold| &hold.bucket).chain(books.head.balances.keys());
        if buckets.into_iter().any(|bucket| books.held(bucket).is_negative() || books.held(bucket) > books.balance(bucket)) {
            self.broken.insert(BALANCE);
        }
        if self.ends.iter().any(|end| end.receipts > 1 || end.corrections > 1) {
            self.broken.insert(ONCE);
        }
        let is_open = |(request, leg): &(String, Leg)| self.tables.holds.get(request).is_some_and(|open| open.leg == *leg);
        if self.tables.left.iter().any(|(hold, times)| *times != u32::from(!is_open(hold))) {
            self.broken.insert(LEAVES);
        }
        if self.tables.holds.values().filter(|hold| hold.claim.is_some()).count() > 1 {
            self.broken.insert(CLAIM);
        }
    }

    /// The account's tables without what is the same everywhere or never looked at again.
    fn printed(&self) -> String {
        let mut print = String::new();
        for row in &self.tables.journal {
            let (kind, subject) = (row.journaled.kind().as_str(), row.journaled.subject().unwrap_or_default());
            write!(print, "{kind} {subject} {:?} {:?}", row.bucket, row.amount.map(Money::nanos)).unwrap();
            match &row.journaled {
                Journaled::Receipt(receipt) => {
                    let code = receipt.error.as_ref().map(|error| &error.code);
                    let (held, usage) = (receipt.hold.map(Money::nanos), receipt.usage.input);
                    write!(print, " {:?} {code:?} {held:?} {usage} {:?}", receipt.status, receipt.in_review).unwrap();
                }
                Journaled::Correction(correction) => {
                    write!(print, " {:?} {:?}", correction.status, correction.in_review).unwrap()
                }
                _ => {}
            }
            print.push('\n');
        }
        for hold in self.tables.holds.values() {
            let (left, noted) = (hold.deadline.millis() - self.now, hold.checkpoint.as_ref().map(|noted| noted.usage.input));
            writeln!(print, "{} {} {} {} {noted:?}", hold.request, hold.leg, hold.amount, left.max(0)).unwrap();
        }
        for claim in self.tables.claims.values() {
            writeln!(print, "{} {} {:?} {:?}", claim.request, claim.is_closed, claim.status, claim.body).unwrap();
        }
        write!(print, "{:?} {:?}", self.tables.left, self.broken).unwrap();
        print
    }

    fn rows(&self) -> u64 {
        u64::try_from(self.tables.journal.len()).unwrap()
    }

    fn is_due(&self) -> bool {
        self.tables.holds.values().any(|hold| hold.deadline <= at(self.now))
    }

    fn is_waiting(&self) -> bool {
        self.tables.holds.values().any(|hold| hold.deadline > at(self.now))
    }

    /// What an account is after a step, and what it answers.
    fn after(&self, step: Step, plans: &[Plan]) -> (Told, Self) {
        let (mut tables, mut now, mut broken, mut told) = (self.tables.clone(), self.now, self.broken.clone(), Told::Done);
        match step {
            Step::TimePasses => now += TIMEOUT_MS,
            Step::Tick => {
                let noted: Vec<Option<i64>> = (0..plans.len()).map(|request| self.noted(request, &plans[request])).collect();
                // The tables refuse by a panic, as SQLite does by an error that rolls back.
                if catch_unwind(AssertUnwindSafe(|| tables.tick(at(now)))).is_err() {
                    broken.insert(TABLES);
                    tables = self.tables.clone();
                }
                let after = Self::new(tables, now, plans.len(), broken);
                let is_wrong =
                    |(request, noted): (Request, Option<i64>)| noted.is_some_and(|noted| after.ends[request].charged != noted);
                let is_wrong = noted.into_iter().enumerate().any(is_wrong);
                let mut broken = after.broken;
                if is_wrong {
                    broken.insert(CHECKPOINT);
                }
                return (told, Self::new(after.tables, now, plans.len(), broken));
            }
            Step::Said(said) => {
                let (Said::Hold(request, _) | Said::Checkpoint(request, ..) | Said::Settle(request, ..)) = said;
                let (answer, events) = tables.decide(plans[request].command(said), at(now));
                if catch_unwind(AssertUnwindSafe(|| tables.apply(events))).is_err() {
                    broken.insert(TABLES);
                    tables = self.tables.clone();
                }
                if let Answer::Hold(answer) = answer {
                    told = match answer {
                        HoldAnswer::Granted(_) => Told::Granted,
                        HoldAnswer::Refused(refusal, _) => {
                            Told::Refused { is_about_one_bucket: refusal.code.is_about_one_bucket() }
                        }
                        HoldAnswer::Replayed(_) => Told::Replayed,
                        HoldAnswer::Stale(_) => panic!("the key does not change"),
                    };
                }
            }
        }
        (told, Self::new(tables, now, plans.len(), broken))
    }

    /// What the expiry of a due hold is to charge.
    fn noted(&self, request: Request, plan: &Plan) -> Option<i64> {
        let due = self.tables.holds.get(id(request).as_str()).filter(|hold| hold.deadline <= at(self.now))?;
        let noted = due.checkpoint.as_ref().map_or(0, |noted| i64::try_from(noted.usage.input / 1_000_000).unwrap());
        Some(noted.min(plan.held(due.leg)))
    }
}

/// What was found before: an account and a step to what comes of them.
type Known = Mutex<HashMap<(u64, i64, Step), (Told, Arc<Account>)>>;

/// One setting of the protocol.
struct Protocol {
    name: &'static str,
    balances: &'static [(&'static str, i64)],
    plans: Vec<Plan>,
    faults: u8,
    /// Whether the copy to D1 is looked at too, and how often somebody asks for it.
    flushes: Option<u8>,
    /// What must be possible, so that the rest is not true of nothing.
    sees: &'static [&'static str],
    known: Known,
    found: Mutex<BTreeSet<&'static str>>,
}

impl Gateway {
    fn asks(&mut self, net: &mut Vec<Said>, request: Request, leg: Leg) {
        (self.stage, self.leg) = (Stage::Asking { is_left: false }, leg);
        net.push(Said::Hold(request, leg));
    }

    fn ends(&mut self, net: &mut Vec<Said>, request: Request, ending: Ending) {
        (self.stage, self.ending) = (Stage::Settling, Some(ending));
        net.push(Said::Settle(request, self.leg, ending));
    }

    /// What the account said no to, or nothing: a ticket is settled, and without one nothing was tried.
    fn stops(&mut self, net: &mut Vec<Said>, request: Request) {
        if self.has_ticket { self.ends(net, request, Ending::Failed) } else { self.stage = Stage::Over(Over::Untried) }
    }

    fn hears(&mut self, net: &mut Vec<Said>, said: Said, told: Told, legs: usize) {
        match (said, self.stage) {
            (Said::Hold(request, leg), Stage::Asking { is_left }) if leg == self.leg => match told {
                Told::Granted => {
                    self.has_ticket = true;
                    if is_left { self.ends(net, request, Ending::LeftEarly) } else { self.stage = Stage::Granted }
                }
                Told::Replayed => self.stage = Stage::Over(Over::Replayed),
                Told::Refused { is_about_one_bucket: true } if !is_left && usize::try_from(leg).unwrap() + 1 < legs => {
                    self.asks(net, request, leg + 1);
                }
                Told::Refused { .. } | Told::Done => self.stops(net, request),
            },
            (Said::Settle(..), Stage::Settling) => self.stage = Stage::Over(Over::Settled),
            _ => {}
        }
    }
}

impl Searchable {
    /// What D1 does with rows, in one transaction: those it has count no second time.
    fn store(&mut self, Batch { first, last, .. }: Batch) {
        let highest = self.rows.last().copied().unwrap_or(0);
        self.counted += (first..=last).filter(|row| *row > highest).count() as u64;
        self.rows.extend(first..=last);
    }

    fn uncopied(&self, rows: u64, is_alarms: bool) -> Option<Batch> {
        (self.mark < rows).then(|| Batch { first: self.mark + 1, last: rows.min(self.mark + AT_ONCE), is_alarms })
    }

    fn is_alarm_busy(&self) -> bool {
        self.sent.iter().any(|batch| batch.is_alarms)
    }
}

fn take<T: PartialEq>(list: &mut Vec<T>, item: &T) {
    list.remove(list.iter().position(|other| other == item).unwrap());
}

impl Protocol {
    /// Whether this is found for the first time: the checker keeps the last of all paths, and the first is the shortest.
    fn is_first(&self, name: &'static str) -> bool {
        self.found.lock().unwrap().insert(name)
    }

    fn step(&self, account: &Arc<Account>, step: Step) -> (Told, Arc<Account>) {
        let name = (account.hash, account.now, step);
        let mut known = self.known.lock().unwrap();
        let (told, after) = known.entry(name).or_insert_with(|| {
            let (told, after) = account.after(step, &self.plans);
            (told, Arc::new(after))
        });
        (*told, Arc::clone(after))
    }

    fn has_copy(&self) -> bool {
        self.flushes.is_some()
    }

    /// Whether the alarm may ring and has anything to do. It does not ring while it is at work.
    fn is_alarmed(&self, state: &State) -> bool {
        let is_uncopied = self.has_copy() && state.copy.mark < state.account.rows();
        state.alarm == Alarm::Set && !state.copy.is_alarm_busy() && (state.account.is_due() || is_uncopied)
    }

    fn deliver(&self, state: &mut State, said: Said) -> Told {
        take(&mut state.net, &said);
        let (told, after) = self.step(&state.account, Step::Said(said));
        state.account = after;
        told
    }
}

/// What must be true of every state.
macro_rules! law {
    ($name:expr, |$protocol:pat_param, $state:pat_param| $condition:expr) => {
        Property::always($name, |protocol: &Protocol, state: &State| {
            let ($protocol, $state) = (protocol, state);
            let is_kept: bool = $condition;
            is_kept || !protocol.is_first($name)
        })
    };
}

/// What must be true of some state.
macro_rules! possible {
    ($name:literal, |$state:pat_param| $condition:expr) => {
        Property::sometimes($name, |protocol: &Protocol, $state: &State| $condition && protocol.is_first($name))
    };
}

/// What must be true of some request in some state, as its gateway and the account see it.
macro_rules! any {
    ($name:literal, |$gateway:pat_param, $end:pat_param| $condition:expr) => {
        possible!($name, |state| state.gateways.iter().zip(&state.account.ends).any(|($gateway, $end)| $condition))
    };
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let tables = opened(self.balances);
        let account = Account::new(tables, START, self.plans.len(), BTreeSet::new());
        let rows = account.rows();
        let gateway = Gateway {
            stage: Stage::Idle,
            leg: 0,
            called: Vec::new(),
            has_ticket: false,
            checkpoints: 0,
            retries: RETRIES,
            ending: None,
        };
        vec![State {
            account: Arc::new(account),
            net: Vec::new(),
            gateways: vec![gateway; self.plans.len()],
            alarm: Alarm::Off,
            copy: Searchable { mark: rows, rows: (1..=rows).collect(), counted: rows, sent: Vec::new(), late: Vec::new() },
            faults: self.faults,
            flushes: self.flushes.unwrap_or(0),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let is_faulty = state.faults > 0;
        let mut last = None;
        for said in state.net.iter().copied() {
            if last.replace(said) == Some(said) {
                continue;
            }
            actions.push(Action::Deliver(said));
            if is_faulty {
                actions.extend([Action::Lose(said), Action::Double(said), Action::DeliverAndDie(said)]);
                if !matches!(said, Said::Checkpoint(..)) {
                    actions.push(Action::DeliverUnanswered(said));
                }
            }
        }
        for (request, gateway) in state.gateways.iter().enumerate() {
            let is_on_its_way = state.net.iter().any(|said| match said {
                Said::Hold(of, leg) => *of == request && *leg == gateway.leg && matches!(gateway.stage, Stage::Asking { .. }),
                Said::Settle(of, ..) => *of == request && gateway.stage == Stage::Settling,
                Said::Checkpoint(..) => false,
            });
            match gateway.stage {
                Stage::Idle => actions.push(Action::Ask(request)),
                Stage::Asking { is_left } => {
                    if !is_on_its_way || is_faulty {
                        actions.push(Action::StopWaiting(request));
                    }
                    if !is_left {
                        actions.push(Action::Leave(request));
                    }
                }
                Stage::Granted => actions.extend([Action::Call(request), Action::Leave(request)]),
                Stage::Calling => {
                    actions.extend([Action::Complete(request), Action::Fail(request), Action::Leave(request)]);
                    if gateway.checkpoints < self.plans[request].checkpoints.len() {
                        actions.push(Action::Note(request));
                    }
                }
                Stage::Settling if !is_on_its_way => {
                    actions.push(if gateway.retries > 0 { Action::SettleAgain(request) } else { Action::GiveUp(request) });
                }
                Stage::Settling | Stage::Over(_) => {}
            }
            if is_faulty && !matches!(gateway.stage, Stage::Idle | Stage::Over(_)) {
                actions.push(Action::Die(request));
            }
        }
        if state.account.is_waiting() {
            actions.push(Action::TimePasses);
        }
        if self.is_alarmed(state) {
            actions.push(Action::Alarm);
        }
        if state.flushes > 0 && state.copy.mark < state.account.rows() {
            actions.push(Action::Flush);
        }
        for batch in state.copy.sent.iter().copied() {
            actions.push(Action::Copied(batch));
            if is_faulty {
                actions.extend([Action::CopyFails(batch), Action::CopiedUnanswered(batch), Action::CopySilent(batch)]);
            }
        }
        actions.extend(state.copy.late.iter().copied().map(Action::LateCopied));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let State { account, net, gateways, copy, faults, .. } = &mut state;
        match action {
            Action::Ask(request) => gateways[request].asks(net, request, 0),
            Action::Deliver(said) | Action::DeliverUnanswered(said) => {
                let told = self.deliver(&mut state, said);
                if state.account.print != last.account.print {
                    state.alarm = Alarm::Set;
                }
                let (Said::Hold(request, _) | Said::Checkpoint(request, ..) | Said::Settle(request, ..)) = said;
                if action == Action::Deliver(said) {
                    state.gateways[request].hears(&mut state.net, said, told, self.plans[request].legs.len());
                } else {
                    state.faults -= 1;
                }
            }
            Action::DeliverAndDie(said) => {
                self.deliver(&mut state, said);
                // An alarm that was under way is repeated; what it sent is on its own now.
                let was_copying = state.copy.is_alarm_busy();
                state.copy.late.append(&mut state.copy.sent);
                if was_copying {
                    state.alarm = Alarm::Set;
                } else if state.alarm == Alarm::Off && state.account.print != last.account.print {
                    state.alarm = Alarm::Missed;
                }
                state.faults -= 1;
            }
            Action::Lose(said) => {
                take(net, &said);
                state.faults -= 1;
            }
            Action::Double(said) => {
                net.push(said);
                state.faults -= 1;
            }
            Action::StopWaiting(request) => {
                let asked = Said::Hold(request, gateways[request].leg);
                *faults -= u8::from(net.contains(&asked));
                gateways[request].stops(net, request);
            }
            Action::Call(request) => {
                let leg = gateways[request].leg;
                gateways[request].stage = Stage::Calling;
                gateways[request].called.push(leg);
            }
            Action::Note(request) => {
                net.push(Said::Checkpoint(request, gateways[request].leg, gateways[request].checkpoints));
                gateways[request].checkpoints += 1;
            }
            Action::Complete(request) => gateways[request].ends(net, request, Ending::Completed),
            Action::Fail(request) => {
                let next = gateways[request].leg + 1;
                if usize::try_from(next).unwrap() < self.plans[request].legs.len() {
                    gateways[request].asks(net, request, next);
                } else {
                    gateways[request].ends(net, request, Ending::Failed);
                }
            }
            Action::Leave(request) => match gateways[request].stage {
                Stage::Calling => gateways[request].ends(net, request, Ending::Left),
                Stage::Asking { .. } if !gateways[request].has_ticket => {
                    gateways[request].stage = Stage::Asking { is_left: true };
                }
                _ => gateways[request].ends(net, request, Ending::LeftEarly),
            },
            Action::Die(request) => {
                gateways[request].stage = Stage::Over(Over::Died);
                state.faults -= 1;
            }
            Action::SettleAgain(request) => {
                gateways[request].retries -= 1;
                let ending = gateways[request].ending.unwrap();
                gateways[request].ends(net, request, ending);
            }
            Action::GiveUp(request) => gateways[request].stage = Stage::Over(Over::GivenUp),
            Action::TimePasses => state.account = self.step(&state.account, Step::TimePasses).1,
            Action::Alarm => {
                state.account = self.step(&state.account, Step::Tick).1;
                if self.has_copy() {
                    state.copy.sent.extend(state.copy.uncopied(state.account.rows(), true));
                }
                // It comes again for the next deadline; a copy under way says itself whether more is to do.
                state.alarm = if state.account.tables.holds.is_empty() { Alarm::Off } else { Alarm::Set };
            }
            Action::Flush => {
                copy.sent.extend(copy.uncopied(account.rows(), false));
                state.flushes -= 1;
            }
            Action::Copied(batch) => {
                take(&mut copy.sent, &batch);
                copy.store(batch);
                copy.mark = copy.mark.max(batch.last);
                if batch.is_alarms && copy.mark < state.account.rows() {
                    state.alarm = Alarm::Set;
                }
            }
            Action::CopyFails(batch) | Action::CopiedUnanswered(batch) | Action::CopySilent(batch) => {
                take(&mut copy.sent, &batch);
                match action {
                    Action::CopiedUnanswered(_) => copy.store(batch),
                    Action::CopySilent(_) => copy.late.push(batch),
                    _ => {}
                }
                if batch.is_alarms {
                    state.alarm = Alarm::Set;
                }
                state.faults -= 1;
            }
            Action::LateCopied(batch) => {
                take(&mut copy.late, &batch);
                copy.store(batch);
            }
        }
        state.net.sort_unstable();
        state.copy.sent.sort_unstable();
        state.copy.late.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            law!(BALANCE, |_, state| !state.account.broken.contains(BALANCE)),
            law!(SUM, |_, state| !state.account.broken.contains(SUM)),
            law!(ONCE, |_, state| !state.account.broken.contains(ONCE)),
            law!(LEAVES, |_, state| !state.account.broken.contains(LEAVES)),
            law!(TABLES, |_, state| !state.account.broken.contains(TABLES)),
            law!(CHECKPOINT, |_, state| !state.account.broken.contains(CHECKPOINT)),
            law!(CLAIM, |_, state| !state.account.broken.contains(CLAIM)),
            law!(GRANT, |_, state| {
                let mut both = state.gateways.iter().zip(&state.account.ends);
                both.all(|(gateway, end)| gateway.called.iter().all(|leg| end.opened.contains(leg)))
            }),
            law!(KEPT, |_, state| {
                let is_kept = |end: &End| end.receipts == 1 && (!end.is_expired || end.corrections == 1);
                let mut both = state.gateways.iter().zip(&state.account.ends);
                both.all(|(gateway, end)| gateway.stage != Stage::Over(Over::Settled) || is_kept(end))
            }),
            law!(COST, |protocol, state| costs(protocol, state)),
            law!(COPY, |_, State { copy, account, .. }| {
                let highest = copy.rows.last().copied().unwrap_or(0);
                let count = copy.rows.len() as u64;
                count == highest && copy.counted == count && copy.mark <= highest && highest <= account.rows()
            }),
            law!(END, |protocol, state| ends_well(protocol, state)),
        ];
        let possible = [
            any!("a capture", |_, end| end.charged > 0 && !end.is_expired),
            any!("a release", |gateway, end| end.receipts == 1 && end.charged == 0 && gateway.ending == Some(Ending::Failed)),
            any!("an expiry with a checkpoint", |_, end| end.at_expiry > 0),
            any!("an expiry without one", |_, end| end.is_expired && end.at_expiry == 0),
            any!("a correction that charges more", |_, end| end.corrections > 0 && end.charged > end.at_expiry),
            any!("a correction that gives back", |_, end| end.corrections > 0 && end.charged < end.at_expiry),
            any!("a correction that is not covered", |gateway, end| {
                end.corrections > 0 && end.charged == 2 && gateway.ending == Some(Ending::Completed)
            }),
            any!("a refusal for holds of others", |_, end| end.code == "balance_in_flight"),
            any!("a refusal for a request under way", |_, end| end.code == "idempotency_in_flight"),
            any!("a replayed answer", |gateway, _| gateway.stage == Stage::Over(Over::Replayed)),
            any!("a crossing", |gateway, end| gateway.called == [0, 1] && end.charged > 0),
            possible!("a settlement that comes twice", |state| {
                state.net.iter().any(|said| matches!(said, Said::Settle(request, ..) if state.account.ends[*request].charged > 0))
            }),
            possible!("a batch that comes too late", |state| {
                state.copy.late.iter().any(|batch| state.copy.rows.contains(&batch.last))
            }),
        ];
        properties.extend(possible.into_iter().filter(|property| self.sees.contains(&property.name)));
        properties
    }
}

/// Whether every request is charged what its end costs, as far as its hold and its checkpoints reach.
fn costs(protocol: &Protocol, state: &State) -> bool {
    let both = state.gateways.iter().zip(&state.account.ends).zip(&protocol.plans);
    both.into_iter().all(|((gateway, end), plan)| {
        let held = end.opened.last().map_or(0, |leg| plan.held(*leg));
        let cost = gateway.ending.map_or(0, |ending| plan.cost(ending)).min(held);
        match (end.receipts, end.is_expired, end.corrections) {
            (0, ..) => end.charged == 0,
            (_, true, 0) => end.charged <= held && end.charged <= plan.checkpoints.iter().copied().max().unwrap_or(0),
            // What an expiry gave back may be taken by others meanwhile.
            (_, true, _) => end.charged <= cost && end.charged >= cost.min(end.at_expiry),
            (_, false, _) => end.charged == cost,
        }
    })
}

/// Whether nothing is left undone where nothing happens any more.
fn ends_well(protocol: &Protocol, state: &State) -> bool {
    let is_over = state.net.is_empty() && state.gateways.iter().all(|gateway| matches!(gateway.stage, Stage::Over(_)));
    let mut actions = Vec::new();
    if is_over {
        protocol.actions(state, &mut actions);
    }
    if !is_over || !actions.is_empty() || state.alarm == Alarm::Missed {
        return true;
    }
    let mut both = state.gateways.iter().zip(&state.account.ends);
    both.all(|(gateway, end)| !end.is_open && (gateway.called.is_empty() || end.receipts == 1))
        && (!protocol.has_copy() || state.copy.rows.len() as u64 == state.account.rows())
}

fn bound(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap())
}

impl Protocol {
    fn new(
        name: &'static str,
        balances: &'static [(&'static str, i64)],
        plans: Vec<Plan>,
        sees: &'static [&'static str],
    ) -> Self {
        let faults = 2 + u8::try_from(bound("MODEL_MORE_FAULTS", 0)).unwrap();
        Self { name, balances, plans, faults, flushes: None, sees, known: Known::default(), found: Mutex::default() }
    }

    fn explore(self) {
        let (start, name) = (Instant::now(), self.name);
        let checker = self.checker().spawn_bfs().join();
        let (states, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
        let properties = checker.model().properties();
        let accounts = checker.model().known.lock().unwrap().len();
        println!(
            "{name}: {states} states, {unique} unique, depth {depth}, {accounts} steps of the account, {:.1?}",
            start.elapsed()
        );
        let found = checker.discoveries();
        for property in &properties {
            let is_always = property.expectation == stateright::Expectation::Always;
            let path = found.get(property.name).map(|path| path.clone().into_actions());
            match (is_always, &path) {
                (true, None) => println!("  always: {}", property.name),
                (true, Some(path)) => println!("  BROKEN after {} steps: {} {path:?}", path.len(), property.name),
                (false, Some(path)) => println!("  seen after {} steps: {}", path.len(), property.name),
                (false, None) => println!("  NEVER SEEN: {}", property.name),
            }
            assert_eq!(is_always, path.is_none(), "{name}: {}", property.name);
        }
    }
}

#[test]
fn two_requests_compete_for_one_balance() {
    let first = Plan { legs: &[("credit", 4)], used: 5, relayed: 1, checkpoints: &[1], has_claim: false };
    let second = Plan { legs: &[("credit", 4)], used: 2, relayed: 1, checkpoints: &[3], has_claim: false };
    let third = Plan { legs: &[("credit", 3)], used: 3, relayed: 1, checkpoints: &[], has_claim: false };
    let mut plans = vec![first, second, third];
    plans.truncate(bound("MODEL_REQUESTS", 2));
    Protocol::new(
        "two requests, one balance",
        &[("credit", 6)],
        plans,
        &[
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
    )
    .explore();
}

#[test]
fn two_requests_share_an_idempotency_key() {
    let plan = |used| Plan { legs: &[("credit", 4)], used, relayed: 1, checkpoints: &[1], has_claim: true };
    Protocol::new(
        "two requests, one idempotency key",
        &[("credit", 9)],
        vec![plan(2), plan(3)],
        &["a capture", "a release", "a correction that charges more", "a refusal for a request under way", "a replayed answer"],
    )
    .explore();
}

#[test]
fn a_request_crosses_to_another_bucket() {
    let crossing = Plan { legs: &[("credit", 4), ("wallet", 3)], used: 2, relayed: 1, checkpoints: &[1], has_claim: false };
    let other = Plan { legs: &[("credit", 3)], used: 2, relayed: 1, checkpoints: &[], has_claim: false };
    Protocol::new(
        "a crossing",
        &[("credit", 6), ("wallet", 5)],
        vec![crossing, other],
        &["a capture", "a release", "an expiry with a checkpoint", "a crossing", "a settlement that comes twice"],
    )
    .explore();
}

#[test]
fn a_lonely_request_and_everything_that_can_go_wrong() {
    let only = Plan { legs: &[("credit", 4)], used: 3, relayed: 1, checkpoints: &[1, 2], has_claim: false };
    let sees = &["a capture", "a correction that charges more", "a settlement that comes twice", "a batch that comes too late"];
    let protocol = Protocol::new("one request and D1", &[("credit", 6)], vec![only], sees);
    Protocol { faults: protocol.faults + 1, flushes: Some(1), ..protocol }.explore();
}

#[test]
fn every_row_reaches_the_searchable_copy() {
    let first = Plan { legs: &[("credit", 4)], used: 3, relayed: 1, checkpoints: &[], has_claim: false };
    let second = Plan { legs: &[("credit", 4)], used: 2, relayed: 1, checkpoints: &[], has_claim: false };
    let sees = &["a capture", "a correction that charges more", "a batch that comes too late"];
    let protocol = Protocol::new("two requests and D1", &[("credit", 6)], vec![first, second], sees);
    Protocol { faults: protocol.faults - 1, flushes: Some(1), ..protocol }.explore();
}
