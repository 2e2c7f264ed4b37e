//! An outside in memory: a clock that jumps to the next timer when nothing else can happen, accounts as tables, and channels
//! that answer as scripted.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_executor::{LocalPool, LocalSpawner};
use futures_util::future::LocalFutureObj;
use futures_util::task::LocalSpawn;
use serde_json::Value;
use tokens_forge::account::{
    AccountAnswer, AccountRecord, Adjustment, Command, Extension, Facts, HoldAnswer, HoldRequest, KeptItems, Outcome, Query,
    Settlement,
};
use tokens_forge::catalog::Catalog;
use tokens_forge::id::{AccountId, BucketId, KeyHash, KeyId, KeySecret, ProjectId, RequestId, SecretName};
use tokens_forge::key::KeyRecord;
use tokens_forge::limits::Gate;
use tokens_forge::money::Money;
use tokens_forge::payment::Checkout;
use tokens_forge::ports::{Accounts, Gates, HealthCopy, Holds, Keys, Runtime, Unavailable};
use tokens_forge::routing::health::{CandidateId, HealthView, Observation};
use tokens_forge::time::Timestamp;

use super::catalogue::{Kv, Read};
use super::database::Database;
use super::operators::Counted;
use super::records::Shown;
use super::tables::Tables;
pub use super::upstream::{Script, Sent};

#[derive(Default)]
struct Timers(Vec<(i64, Waker)>);

pub struct World {
    pub now: Cell<i64>,
    random: Cell<u128>,
    timers: RefCell<Timers>,
    /// The account of the key that is there from the start.
    pub memory: RefCell<Tables>,
    home: Option<AccountId>,
    /// All others.
    pub accounts: RefCell<BTreeMap<AccountId, Tables>>,
    pub database: RefCell<Database>,
    pub kv: RefCell<Kv>,
    pub read: Read,
    /// The operator's settings and secrets.
    pub settings: RefCell<BTreeMap<String, String>>,
    /// Whether the copies of keys stay as they are when keys change.
    pub are_keys_late: Cell<bool>,
    /// Failed attempts to administer that are not written yet.
    pub attempts: RefCell<Counted>,
    pub pages: RefCell<BTreeMap<String, Shown>>,
    /// How the payment provider answers; each call takes the next.
    pub pages_to_pay: RefCell<VecDeque<Result<(u16, String), String>>>,
    /// What it was asked, and with which credential.
    pub checkouts: RefCell<Vec<(Checkout, String)>>,
    pub key: RefCell<Option<KeyRecord>>,
    pub catalog: Rc<Catalog>,
    /// The catalogue that runs whatever is published; none where what is published runs.
    pub given: Option<Rc<Catalog>>,
    pub health: RefCell<HealthView>,
    /// By the host of the channel; each call takes the next.
    pub scripts: RefCell<BTreeMap<String, VecDeque<Script>>>,
    /// How a channel answers that has no script left.
    pub otherwise: RefCell<Option<Script>>,
    /// Everything that happened, in order.
    pub log: RefCell<Vec<String>>,
    /// How many of the next commands to accounts fail, by name: `command` is what does not come from the relay, `d1` and `kv` are
    /// the stores.
    pub failing: RefCell<BTreeMap<&'static str, u32>>,
    /// What was sent upstream, in order.
    pub calls: RefCell<Vec<Sent>>,
    /// Credentials that rest.
    pub cooling: RefCell<BTreeMap<SecretName, Timestamp>>,
    /// What was counted at the gates, in order.
    pub counted: RefCell<Vec<(Gate, String)>>,
    /// Gates at which there were too many of everything.
    pub closed: RefCell<Vec<Gate>>,
    /// Gates at which everybody rests.
    pub resting: RefCell<Vec<Gate>>,
    /// Calls that are open now.
    pub open_calls: Cell<i32>,
    spawner: LocalSpawner,
}

/// What a future that was begun ends with.
pub type Begun<T> = Rc<RefCell<Option<T>>>;

#[derive(Clone)]
pub struct Outside(pub Rc<World>);

pub struct Simulation {
    pool: LocalPool,
    pub world: Rc<World>,
}

/// What the holder of the key presents.
pub fn secret() -> KeySecret {
    KeySecret::new([1; 24])
}

impl Simulation {
    pub fn new(catalog: Catalog, memory: Tables, key: KeyRecord) -> Self {
        Self::of(Some(Rc::new(catalog)), memory, Some(key))
    }

    /// A new deployment: no account, no key, no catalogue.
    pub fn empty() -> Self {
        Self::of(None, Tables::default(), None)
    }

    fn of(given: Option<Rc<Catalog>>, memory: Tables, key: Option<KeyRecord>) -> Self {
        let pool = LocalPool::new();
        let world = World {
            now: Cell::new(1_800_000_000_000),
            random: Cell::new(1),
            timers: RefCell::default(),
            memory: RefCell::new(memory),
            home: key.as_ref().map(|key| key.account.clone()),
            accounts: RefCell::default(),
            database: RefCell::default(),
            kv: RefCell::default(),
            read: Read::default(),
            settings: RefCell::default(),
            are_keys_late: Cell::new(false),
            attempts: RefCell::default(),
            pages: RefCell::default(),
            pages_to_pay: RefCell::default(),
            checkouts: RefCell::default(),
            key: RefCell::new(key),
            catalog: given.clone().unwrap_or_else(|| Rc::new(Catalog::nothing())),
            given,
            health: RefCell::default(),
            scripts: RefCell::default(),
            otherwise: RefCell::default(),
            log: RefCell::default(),
            failing: RefCell::default(),
            calls: RefCell::default(),
            cooling: RefCell::default(),
            counted: RefCell::default(),
            closed: RefCell::default(),
            resting: RefCell::default(),
            open_calls: Cell::new(0),
            spawner: pool.spawner(),
        };
        Self { pool, world: Rc::new(world) }
    }

    /// One account with 1 in each of these buckets, and a key with this policy, presented as `secret()`.
    pub fn ready(catalog: Catalog, buckets: &[&str], policy: Value) -> Self {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let account = AccountId::parse("acct").unwrap();
        let mut memory = Tables::default();
        memory.command(Command::Open(AccountRecord { id: account.clone(), name: "A".into(), created_at: now }.into()), now);
        for bucket in buckets {
            let adjustment = Adjustment {
                id: format!("adj-{bucket}"),
                bucket: BucketId::parse(bucket).unwrap(),
                amount: Money::parse("1").unwrap(),
                reason: "r".into(),
                author: "t".into(),
                on_behalf_of: None,
                note: None,
            };
            memory.command(Command::Adjust(adjustment), now);
        }
        let key = KeyRecord {
            id: KeyId::parse("key").unwrap(),
            hash: secret().hash(),
            account,
            project: ProjectId::first(),
            label: "k".into(),
            version: 1,
            created_at: now,
            revoked_at: None,
            policy: serde_json::from_value(policy).unwrap(),
        };
        memory.command(Command::PutKey(Box::new(key.clone().into())), now);
        Self::new(catalog, memory, key)
    }

    pub fn outside(&self) -> Outside {
        Outside(Rc::clone(&self.world))
    }

    pub fn script(&self, host: &str, script: Script) {
        self.world.scripts.borrow_mut().entry(host.to_owned()).or_default().push_back(script);
    }

    pub fn log(&self) -> Vec<String> {
        self.world.log.borrow().clone()
    }

    /// Runs to the future's end; the clock jumps when nothing else can happen.
    pub fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        let begun = self.begin(future);
        self.finish(&begun)
    }

    /// Begins what is to be finished later, and runs it as far as it need not wait.
    pub fn begin<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> Begun<T> {
        let begun: Begun<T> = Rc::default();
        let slot = Rc::clone(&begun);
        self.world.spawn(async move {
            let value = future.await;
            *slot.borrow_mut() = Some(value);
        });
        self.pool.run_until_stalled();
        begun
    }

    /// Runs to the end of what was begun.
    pub fn finish<T>(&mut self, begun: &Begun<T>) -> T {
        loop {
            self.pool.run_until_stalled();
            if let Some(value) = begun.borrow_mut().take() {
                return value;
            }
            assert!(self.jump(), "nothing can happen any more, and there is no answer");
        }
    }

    /// Runs what can run behind the answers without waiting.
    pub fn idle(&mut self) {
        self.pool.run_until_stalled();
    }

    /// Runs what was left to run behind the answers.
    pub fn settle_down(&mut self) {
        self.pool.run_until_stalled();
        for _ in 0..100 {
            if !self.jump() {
                return;
            }
            self.pool.run_until_stalled();
        }
    }

    /// Advances the clock to the next timer; false if there is none.
    fn jump(&self) -> bool {
        let mut timers = self.world.timers.borrow_mut();
        let Some(next) = timers.0.iter().map(|(at, _)| *at).min() else { return false };
        self.world.now.set(self.world.now.get().max(next));
        let due: Vec<Waker> = timers.0.extract_if(.., |(at, _)| *at <= next).map(|(_, waker)| waker).collect();
        drop(timers);
        due.into_iter().for_each(Waker::wake);
        true
    }
}

impl World {
    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.spawner.spawn_local_obj(LocalFutureObj::new(Box::new(future))).unwrap();
    }

    pub fn note(&self, line: impl Into<String>) {
        self.log.borrow_mut().push(line.into());
    }

    /// Fails if it is to.
    pub fn fails(&self, name: &'static str) -> Result<(), Unavailable> {
        if let Some(left) = self.failing.borrow_mut().get_mut(name).filter(|left| **left > 0) {
            *left -= 1;
            self.note(format!("{name} failed"));
            return Err(Unavailable("silent".to_owned()));
        }
        Ok(())
    }

    /// What an account has stored; one that nobody opened is there, too, and has nothing.
    pub fn account<T>(&self, id: &AccountId, with: impl FnOnce(&mut Tables) -> T) -> T {
        if self.home.as_ref() == Some(id) {
            with(&mut self.memory.borrow_mut())
        } else {
            with(self.accounts.borrow_mut().entry(id.clone()).or_default())
        }
    }

    pub fn command(&self, account: &AccountId, name: &'static str, command: Command) -> Result<AccountAnswer, Unavailable> {
        self.fails(name)?;
        self.note(name);
        Ok(self.account(account, |memory| {
            let is_read = matches!(command, Command::Read(_));
            let answer = memory.command(command, Timestamp::from_millis(self.now.get()));
            if !is_read {
                memory.check_law();
            }
            answer
        }))
    }

    /// Copies what is new of an account, a batch at a time.
    pub fn copy(&self, account: &AccountId) -> Result<(), Unavailable> {
        loop {
            let rows = self.account(account, |memory| if memory.account.is_some() { memory.uncopied() } else { Vec::new() });
            if rows.is_empty() {
                return Ok(());
            }
            self.fails("d1")?;
            let copied = self.database.borrow_mut().copy(account, &rows);
            self.account(account, |memory| memory.copied = copied);
        }
    }

    /// The alarm of every account: ends what is due, and copies what is new.
    pub fn alarm(&self) {
        let others: Vec<AccountId> = self.accounts.borrow().keys().cloned().collect();
        for account in others.iter().chain(&self.home) {
            self.account(account, |memory| memory.tick(Timestamp::from_millis(self.now.get())));
            if let Err(error) = self.copy(account) {
                self.note(format!("log: copying to D1: {}", error.0));
            }
        }
    }
}

impl Outside {
    /// The searchable copy, and what it alone decides.
    pub async fn database(&self) -> Result<RefMut<'_, Database>, Unavailable> {
        Yield(false).await;
        self.0.fails("d1")?;
        Ok(self.0.database.borrow_mut())
    }

    pub fn kv(&self) -> Result<RefMut<'_, Kv>, Unavailable> {
        self.0.fails("kv")?;
        Ok(self.0.kv.borrow_mut())
    }
}

/// Yields once, so that everything that awaits can be interrupted there.
pub struct Yield(pub bool);

impl Future for Yield {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

pub struct Sleep(pub Rc<World>, pub i64);

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.now.get() >= self.1 {
            return Poll::Ready(());
        }
        self.0.timers.borrow_mut().0.push((self.1, context.waker().clone()));
        Poll::Pending
    }
}

impl Runtime for Outside {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.now.get())
    }

    fn random(&self) -> u128 {
        self.0.random.set(self.0.random.get() + 1);
        self.0.random.get()
    }

    fn sleep(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        Sleep(Rc::clone(&self.0), self.0.now.get() + i64::from(ms))
    }

    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.0.spawn(future);
    }

    fn log(&self, line: &str) {
        self.0.note(format!("log: {line}"));
    }
}

impl Keys for Outside {
    async fn key(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, Unavailable> {
        Yield(false).await;
        let known = match self.kv() {
            Ok(kv) => kv.keys.get(hash).cloned(),
            Err(_) => self.database().await?.keys.get(hash).cloned(),
        };
        // The key that is there from the start is found by whatever is presented.
        Ok(known.or_else(|| self.0.key.borrow().clone()))
    }

    fn remembers(&self, hash: &KeyHash) -> bool {
        self.0.key.borrow().is_some() || self.0.kv.borrow().keys.contains_key(hash)
    }

    async fn current_key(&self, key: &KeyRecord) -> Result<Option<KeyRecord>, Unavailable> {
        match Accounts::command(self, &key.account, Command::Read(Query::Record(key.id.clone()))).await? {
            AccountAnswer::Key(record) => Ok(Some(*record)),
            _ => Ok(None),
        }
    }
}

impl Gates for Outside {
    async fn admit(&self, gate: Gate, subject: &str) -> bool {
        self.0.counted.borrow_mut().push((gate, subject.to_owned()));
        !self.0.closed.borrow().contains(&gate)
    }

    fn rest(&self, gate: Gate, _subject: &str) -> Option<u64> {
        self.0.resting.borrow().contains(&gate).then_some(7)
    }

    fn granted(&self, _key: &KeyRecord) {}

    fn is_earning(&self, _account: &AccountId) -> bool {
        true
    }

    fn refused(&self, _key: &KeyRecord) -> bool {
        true
    }
}

impl HealthCopy for Outside {
    async fn health(&self) -> Rc<HealthView> {
        Rc::new(self.0.health.borrow().clone())
    }

    fn observe(&self, candidate: &CandidateId, seen: Observation) {
        let now = self.now();
        self.0.health.borrow_mut().observe(candidate, seen, now);
    }
}

impl Holds for Outside {
    async fn hold(&self, account: &AccountId, request: HoldRequest) -> Result<HoldAnswer, Unavailable> {
        Yield(false).await;
        let bucket = request.bucket.to_string();
        match self.0.command(account, "hold", Command::Hold(Box::new(request)))? {
            AccountAnswer::Hold(answer) => {
                if matches!(answer, HoldAnswer::Granted(_)) {
                    self.0.note(format!("granted {bucket}"));
                }
                Yield(false).await;
                Ok(answer)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn settle(&self, account: &AccountId, settlement: Settlement) -> Result<(), Unavailable> {
        Yield(false).await;
        self.0.command(account, "settle", Command::Settle(Box::new(settlement))).map(|_| ())
    }

    async fn checkpoint(&self, account: &AccountId, extension: Extension) -> Result<(), Unavailable> {
        self.0.command(account, "checkpoint", Command::Checkpoint(Box::new(extension))).map(|_| ())
    }

    async fn record_refused(&self, account: &AccountId, facts: Facts, outcome: Outcome) -> Result<(), Unavailable> {
        Yield(false).await;
        self.0.command(account, "record", Command::RecordRefused(Box::new((facts, outcome)))).map(|_| ())
    }

    async fn kept(&self, account: &AccountId, requests: Vec<RequestId>) -> Result<Vec<(RequestId, KeptItems)>, Unavailable> {
        Yield(false).await;
        match self.0.command(account, "kept", Command::Read(Query::Kept(requests)))? {
            AccountAnswer::Kept(kept) => Ok(kept),
            other => panic!("{other:?}"),
        }
    }
}
