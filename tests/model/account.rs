//! The account of the model: the product's own code over tables in memory, and what a gateway says to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokens_forge::account::{
    AccountAnswer, AccountRecord, Adjustment, Checkpoint, Command, Extension, Facts, HoldAnswer, HoldRequest, Journaled, Memory,
    Outcome, ProjectRecord, RequestStatus, Served, Settlement,
};
use tokens_forge::catalog::{CutPolicy, RouteKind};
use tokens_forge::id::{AccountId, BucketId, ChannelId, KeyHash, KeyId, ModelName, ProjectId, RequestId};
use tokens_forge::key::{KeyRecord, Policy};
use tokens_forge::money::{Money, Price, Rates};
use tokens_forge::time::Timestamp;
use tokens_forge::usage::{Usage, UsageSource};

use crate::support::object::Object;
use crate::support::tables::Tables;

pub const START: i64 = 1_800_000_000_000;
/// How long a hold lives without a sign of life, and the step of the clock.
pub const TIMEOUT_MS: i64 = 60_000;

/// What one request does. Amounts are whole units, and so are tokens: each costs one.
pub struct Plan {
    /// Bucket and amount of each of its holds.
    pub legs: &'static [(&'static str, i64)],
    /// What a whole answer costs.
    pub used: i64,
    /// What it costs if the client leaves in the middle.
    pub relayed: i64,
    /// What each checkpoint says, in the order in which they are sent.
    pub checkpoints: &'static [i64],
    /// Whether it comes with the idempotency key that all such requests share.
    pub has_claim: bool,
}

/// A gateway's request, by its number.
pub type Request = usize;
pub type Leg = u32;

/// How a request ended, as its gateway knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    Completed,
    /// No upstream answered.
    Failed,
    /// The client left before anything went upstream.
    LeftEarly,
    Left,
}

/// What a gateway says to the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Said {
    Hold(Request, Leg),
    Checkpoint(Request, Leg, usize),
    Settle(Request, Leg, Ending),
}

/// What happens to the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Said(Said),
    Tick,
    TimePasses,
}

/// What the account answers, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Granted,
    Refused { is_about_one_bucket: bool },
    Replayed,
    Done,
}
/// The account after some steps, and what is to be known of it, found once.
#[derive(Debug)]
pub struct Account {
    pub tables: Tables,
    /// What its object remembers, as it was on the way on which it was found first.
    pub memory: Memory,
    pub now: i64,
    /// All that decides what can still happen; times are relative.
    pub print: String,
    pub hash: u64,
    /// Laws that it breaks.
    pub broken: BTreeSet<&'static str>,
    pub ends: Vec<End>,
}

/// What the account's records say of one request.
#[derive(Debug, Clone, Default)]
pub struct End {
    pub receipts: usize,
    pub corrections: usize,
    pub opened: Vec<Leg>,
    pub is_open: bool,
    pub is_expired: bool,
    /// What it was charged in all.
    pub charged: i64,
    /// What its expiry charged.
    pub at_expiry: i64,
    pub code: String,
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
pub const BALANCE: &str = "0 <= held <= balance";
pub const SUM: &str = "the balance is the sum of its entries and never below zero";
pub const ONCE: &str = "a request has one receipt and one correction at most";
pub const LEAVES: &str = "a hold leaves Open once";
pub const TABLES: &str = "the tables take every decision";
pub const CHECKPOINT: &str = "an expiry charges the last checkpoint";
pub const MEMORY: &str = "what is decided together, and from what is remembered, is what each alone would have come to";
pub const CLAIM: &str = "an idempotency key has one open hold at most";

pub fn id(request: Request) -> RequestId {
    RequestId::parse(&format!("gen-{request}")).unwrap()
}

pub fn units(amount: i64) -> Money {
    Money::from_nanos(amount * 1_000_000_000).unwrap()
}

pub fn of_units(amount: Money) -> i64 {
    amount.nanos() / 1_000_000_000
}

pub fn at(now: i64) -> Timestamp {
    Timestamp::from_millis(now)
}

pub fn usage(cost: i64) -> Usage {
    Usage { input: u64::try_from(cost).unwrap() * 1_000_000, ..Usage::default() }
}

/// An account with one key and two balances.
pub fn opened(balances: &[(&str, i64)]) -> Tables {
    let (mut memory, now, account) = (Tables::default(), at(START), AccountId::parse("a").unwrap());
    memory.command(Command::Open(AccountRecord { id: account.clone(), name: "A".into(), created_at: now }.into()), now);
    let project = ProjectRecord {
        id: ProjectId::first(),
        account: account.clone(),
        name: "P".into(),
        budgets: Vec::new(),
        created_at: now,
    };
    memory.command(Command::PutProject(project.into()), now);
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
    memory.command(Command::PutKey(Box::new(key.into())), now);
    for (bucket, amount) in balances {
        let adjustment = Adjustment {
            id: format!("adj-{bucket}"),
            bucket: BucketId::parse(bucket).unwrap(),
            amount: units(*amount),
            reason: "test".to_owned(),
            author: "test".to_owned(),
            on_behalf_of: None,
            note: None,
        };
        assert_eq!(memory.command(Command::Adjust(adjustment), now), AccountAnswer::Done);
    }
    memory
}

pub fn served(bucket: &str) -> Served {
    let rates = Rates { input: Some(units(1)), output: Some(units(1)), ..Rates::default() };
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

/// What is stored is this, and remembered is what is stored.
fn is_same(object: &Object, tables: &Tables) -> bool {
    object.tables.borrow().differ(tables, 0).is_none() && object.differs().is_none()
}

impl Plan {
    /// What a gateway could say of its request; of its endings one.
    fn says(&self, request: Request) -> Vec<Command> {
        let legs = 0..u32::try_from(self.legs.len()).unwrap();
        let all = legs.flat_map(|leg| {
            let notes = (0..self.checkpoints.len()).map(move |nth| Said::Checkpoint(request, leg, nth));
            notes.chain([Said::Hold(request, leg), Said::Settle(request, leg, Ending::Completed)])
        });
        all.map(|said| self.command(said)).collect()
    }

    pub fn bucket(&self, leg: Leg) -> &'static str {
        self.legs[usize::try_from(leg).unwrap()].0
    }

    pub fn held(&self, leg: Leg) -> i64 {
        self.legs[usize::try_from(leg).unwrap()].1
    }

    /// What an end costs, before the hold limits it.
    pub fn cost(&self, ending: Ending) -> i64 {
        match ending {
            Ending::Completed => self.used,
            Ending::Left => self.relayed,
            Ending::Failed | Ending::LeftEarly => 0,
        }
    }

    pub fn command(&self, said: Said) -> Command {
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
                    counted_as: None,
                    catalog_version: 1,
                    promise: None,
                };
                Command::Hold(Box::new(HoldRequest {
                    leg,
                    key_version: 1,
                    bucket: BucketId::parse(self.bucket(leg)).unwrap(),
                    amount: units(self.held(leg)),
                    least: None,
                    currency: String::new(),
                    waits: false,
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
                    Ending::Completed => (RequestStatus::Completed, UsageSource::Upstream),
                    Ending::Failed => (RequestStatus::Failed, UsageSource::None),
                    Ending::LeftEarly => (RequestStatus::Aborted, UsageSource::None),
                    Ending::Left => (RequestStatus::Aborted, UsageSource::Estimated),
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
                    dropped_parameters: Vec::new(),
                    promise: None,
                    elsewhere: Vec::new(),
                    latency_ms: 1,
                };
                let body = (ending == Ending::Completed).then(|| "{}".to_owned());
                Command::Settle(Box::new(Settlement { request: id(request), outcome, body, kept: None }))
            }
        }
    }
}

impl Account {
    pub fn new((tables, memory): (Tables, Memory), now: i64, requests: usize, broken: BTreeSet<&'static str>) -> Self {
        let mut account = Self { tables, memory, now, print: String::new(), hash: 0, broken, ends: Vec::new() };
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

    pub fn rows(&self) -> u64 {
        u64::try_from(self.tables.journal.len()).unwrap()
    }

    pub fn is_due(&self) -> bool {
        self.tables.holds.values().any(|hold| hold.deadline <= at(self.now))
    }

    pub fn is_waiting(&self) -> bool {
        self.tables.holds.values().any(|hold| hold.deadline > at(self.now))
    }

    /// What an account is after a step, and what it answers.
    pub fn after(&self, step: Step, plans: &[Plan]) -> (Told, Self) {
        let (mut tables, mut now, mut broken, mut told) = (self.tables.clone(), self.now, self.broken.clone(), Told::Done);
        let mut memory = self.memory.clone();
        match step {
            Step::TimePasses => now += TIMEOUT_MS,
            Step::Tick => {
                // The tables refuse by a panic, as SQLite does by an error that rolls back.
                if catch_unwind(AssertUnwindSafe(|| tables.tick(at(now)))).is_err() {
                    broken.insert(TABLES);
                    tables = self.tables.clone();
                }
                let object = Object::of(&self.tables, &self.memory);
                for due in self.tables.holds.values().filter(|hold| hold.deadline <= at(now)) {
                    assert!(object.within(None, |group| group.end_hold(due, at(now))).is_ok());
                }
                if !is_same(&object, &tables) {
                    broken.insert(MEMORY);
                }
                memory = object.memory.into_inner();
                let after = Self::new((tables.clone(), memory.clone()), now, plans.len(), BTreeSet::new());
                let is_wrong = |request: Request| {
                    self.noted(request, &plans[request]).is_some_and(|noted| after.ends[request].charged != noted)
                };
                if (0..plans.len()).any(is_wrong) {
                    broken.insert(CHECKPOINT);
                }
            }
            Step::Said(said) => {
                let (Said::Hold(request, _) | Said::Checkpoint(request, ..) | Said::Settle(request, ..)) = said;
                let (answer, events) = tables.decide(plans[request].command(said), at(now));
                if catch_unwind(AssertUnwindSafe(|| tables.apply(events))).is_err() {
                    broken.insert(TABLES);
                    tables = self.tables.clone();
                } else {
                    let alone = [plans[request].command(said)];
                    let (is_alike, remembered) = self.is_alike(&self.memory, &alone, &[&answer], &tables);
                    let is_alike = is_alike && self.is_alike(&Memory::default(), &alone, &[&answer], &tables).0;
                    memory = remembered;
                    // Together with what else could be said.
                    let mut others = plans.iter().enumerate().flat_map(|(other, plan)| plan.says(other)).map(|other| {
                        let commands = [plans[request].command(said), other];
                        let mut both = tables.clone();
                        let second = both.command(commands[1].clone(), at(now));
                        self.is_alike(&self.memory, &commands, &[&answer, &second], &both).0
                    });
                    if !is_alike || !others.all(|is_alike| is_alike) {
                        broken.insert(MEMORY);
                    }
                }
                if let AccountAnswer::Hold(answer) = answer {
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
        (told, Self::new((tables, memory), now, plans.len(), broken))
    }

    /// Whether a group comes to these answers and tables, where its object remembers this; and what it remembers then.
    fn is_alike(&self, memory: &Memory, commands: &[Command], answers: &[&AccountAnswer], tables: &Tables) -> (bool, Memory) {
        let object = Object::of(&self.tables, memory);
        let together = object.together(commands, at(self.now), None);
        let answered = together.answers.iter().zip(answers).all(|(given, answer)| given.as_ref() == Ok(answer));
        (together.faults.is_empty() && answered && is_same(&object, tables), object.memory.into_inner())
    }

    /// What the expiry of a due hold is to charge.
    fn noted(&self, request: Request, plan: &Plan) -> Option<i64> {
        let due = self.tables.holds.get(id(request).as_str()).filter(|hold| hold.deadline <= at(self.now))?;
        let noted = due.checkpoint.as_ref().map_or(0, |noted| i64::try_from(noted.usage.input / 1_000_000).unwrap());
        Some(noted.min(plan.held(due.leg)))
    }
}
