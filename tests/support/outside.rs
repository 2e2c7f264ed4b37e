//! An outside in memory: a clock that jumps to the next timer when nothing else can happen, accounts as tables, and channels
//! that answer as scripted.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_executor::{LocalPool, LocalSpawner};
use futures_util::future::LocalFutureObj;
use futures_util::stream::Stream;
use futures_util::task::LocalSpawn;
use serde_json::Value;
use tokens_forge::account::{
    AccountRecord, Adjustment, Answer, Command, Extension, Facts, HoldAnswer, HoldRequest, KeptItems, Outcome, Query, Settlement,
};
use tokens_forge::catalog::Catalog;
use tokens_forge::id::{AccountId, BucketId, KeyHash, KeyId, KeySecret, ProjectId, RequestId, SecretName, sha256_hex};
use tokens_forge::key::KeyRecord;
use tokens_forge::limits::Gate;
use tokens_forge::money::Money;
use tokens_forge::ports::{
    Call, Gates, HealthCopy, Holds, Keys, Runtime, Sealer, SendError, Sold, Unavailable, Upstream, UpstreamResponse,
};
use tokens_forge::relay::without_credential;
use tokens_forge::routing::health::{CandidateId, HealthView, Observation};
use tokens_forge::time::Timestamp;

use super::memory::Memory;

/// How a channel answers one call.
#[derive(Debug, Clone)]
pub enum Script {
    /// With this status and body, then a clean end.
    Status(u16, &'static str),
    /// With 200 and these pieces, then a clean end.
    Pieces(Vec<&'static str>),
    /// With 200 and these pieces, then a broken connection.
    Broken(Vec<&'static str>),
    /// With 200 and these pieces, then silence.
    Silent(Vec<&'static str>),
    /// With 200 and these pieces, so many milliseconds apart, then a clean end.
    Slow(u32, Vec<&'static str>),
    /// Not at all.
    Hangs,
    /// With a refused connection.
    Refused,
}

#[derive(Default)]
struct Timers(Vec<(i64, Waker)>);

pub struct World {
    pub now: Cell<i64>,
    random: Cell<u128>,
    timers: RefCell<Timers>,
    pub memory: RefCell<Memory>,
    pub key: RefCell<Option<KeyRecord>>,
    pub catalog: Rc<Catalog>,
    pub health: RefCell<HealthView>,
    /// By the host of the channel; each call takes the next.
    pub scripts: RefCell<BTreeMap<String, VecDeque<Script>>>,
    /// Everything that happened, in order.
    pub log: RefCell<Vec<String>>,
    /// How many of the next commands to the account fail, by name.
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

/// A call as it went up.
pub struct Sent {
    pub url: String,
    pub secret: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

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
    pub fn new(catalog: Catalog, memory: Memory, key: KeyRecord) -> Self {
        let pool = LocalPool::new();
        let world = World {
            now: Cell::new(1_800_000_000_000),
            random: Cell::new(1),
            timers: RefCell::default(),
            memory: RefCell::new(memory),
            key: RefCell::new(Some(key)),
            catalog: Rc::new(catalog),
            health: RefCell::default(),
            scripts: RefCell::default(),
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
        let mut memory = Memory::default();
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
        let result: Rc<RefCell<Option<T>>> = Rc::default();
        let slot = Rc::clone(&result);
        self.world.spawn(async move {
            let value = future.await;
            *slot.borrow_mut() = Some(value);
        });
        loop {
            self.pool.run_until_stalled();
            if let Some(value) = result.borrow_mut().take() {
                return value;
            }
            assert!(self.jump(), "nothing can happen any more, and there is no answer");
        }
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

    fn note(&self, line: impl Into<String>) {
        self.log.borrow_mut().push(line.into());
    }

    fn command(&self, name: &'static str, command: Command) -> Result<Answer, Unavailable> {
        if let Some(left) = self.failing.borrow_mut().get_mut(name).filter(|left| **left > 0) {
            *left -= 1;
            self.note(format!("{name} failed"));
            return Err(Unavailable("silent".to_owned()));
        }
        self.note(name);
        let answer = self.memory.borrow_mut().command(command, Timestamp::from_millis(self.now.get()));
        self.memory.borrow().check_law();
        Ok(answer)
    }
}

/// Yields once, so that everything that awaits can be interrupted there.
struct Yield(bool);

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

struct Sleep(Rc<World>, i64);

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

/// An answer on its way; it counts as an open call until it is dropped.
pub struct ScriptedBody {
    world: Rc<World>,
    pieces: VecDeque<&'static str>,
    end: End,
    has_yielded: bool,
    has_started: bool,
    gap_ms: Option<u32>,
    waiting: Option<Sleep>,
}

#[derive(Clone, Copy)]
enum End {
    Clean,
    Broken,
    Silent,
}

impl Drop for ScriptedBody {
    fn drop(&mut self) {
        self.world.open_calls.set(self.world.open_calls.get() - 1);
    }
}

impl Stream for ScriptedBody {
    type Item = Result<Vec<u8>, String>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !std::mem::replace(&mut self.has_yielded, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(ms) = self.gap_ms.filter(|_| self.has_started) {
            let until = self.world.now.get() + i64::from(ms);
            let world = Rc::clone(&self.world);
            let waiting = self.waiting.get_or_insert_with(|| Sleep(world, until));
            if Pin::new(waiting).poll(context).is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
        (self.has_yielded, self.has_started) = (false, true);
        match (self.pieces.pop_front(), self.end) {
            (Some(piece), _) => Poll::Ready(Some(Ok(piece.as_bytes().to_vec()))),
            (None, End::Clean) => Poll::Ready(None),
            (None, End::Broken) => Poll::Ready(Some(Err("connection reset".to_owned()))),
            (None, End::Silent) => Poll::Pending,
        }
    }
}

impl Upstream for Outside {
    type Body = ScriptedBody;

    fn cooling(&self, secret: &SecretName) -> Option<Timestamp> {
        self.0.cooling.borrow().get(secret).copied().filter(|until| *until > self.now())
    }

    fn cool_down(&self, secret: &SecretName, until: Timestamp) {
        self.0.cooling.borrow_mut().insert(secret.clone(), until);
    }

    fn sealer(&self, secret: &SecretName) -> Option<Sealer> {
        let secret = secret.clone();
        Some(Rc::new(move |text: &str| sha256_hex(&[secret.as_str().as_bytes(), b"\n", text.as_bytes()])[..16].to_owned()))
    }

    fn without_credential(&self, secret: &SecretName, text: &str) -> String {
        without_credential(text, &format!("value-of-{secret}\n"))
    }

    async fn send(&self, call: Call<'_>) -> Result<UpstreamResponse<ScriptedBody>, SendError> {
        let host = call.url.split('/').nth(2).unwrap().to_owned();
        self.0.note(format!("send {host}"));
        self.0.calls.borrow_mut().push(Sent {
            url: call.url,
            secret: call.secret.to_string(),
            headers: call.headers,
            body: String::from_utf8_lossy(&call.body.unwrap_or_default().concat()).into_owned(),
        });
        let script = self.0.scripts.borrow_mut().get_mut(&host).and_then(VecDeque::pop_front);
        let script = script.unwrap_or_else(|| panic!("{host} has no script left"));
        Yield(false).await;
        let gap_ms = if let Script::Slow(ms, _) = script { Some(ms) } else { None };
        let (status, pieces, end) = match script {
            Script::Status(status, body) => (status, vec![body], End::Clean),
            Script::Pieces(pieces) => (200, pieces, End::Clean),
            Script::Broken(pieces) => (200, pieces, End::Broken),
            Script::Silent(pieces) => (200, pieces, End::Silent),
            Script::Slow(_, ref pieces) => (200, pieces.clone(), End::Clean),
            Script::Hangs => std::future::pending().await,
            Script::Refused => return Err(SendError::Connect("refused".to_owned())),
        };
        self.0.open_calls.set(self.0.open_calls.get() + 1);
        let body = ScriptedBody {
            world: Rc::clone(&self.0),
            pieces: pieces.into(),
            end,
            has_yielded: false,
            has_started: false,
            gap_ms,
            waiting: None,
        };
        Ok(UpstreamResponse { status, retry_after_s: (status == 429).then_some(9), content_type: None, body })
    }

    async fn read_error(&self, body: ScriptedBody) -> Result<Vec<u8>, String> {
        self.read_all(body).await
    }

    async fn read_all(&self, mut body: ScriptedBody) -> Result<Vec<u8>, String> {
        use futures_util::StreamExt;
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            bytes.extend(piece?);
        }
        Ok(bytes)
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
    async fn key(&self, _hash: &KeyHash) -> Result<Option<KeyRecord>, Unavailable> {
        Yield(false).await;
        Ok(self.0.key.borrow().clone())
    }

    fn remembers(&self, _hash: &KeyHash) -> bool {
        self.0.key.borrow().is_some()
    }

    async fn current_key(&self, key: &KeyRecord) -> Result<Option<KeyRecord>, Unavailable> {
        Ok(self.0.memory.borrow().keys.get(&key.id).map(|book| book.record.clone()))
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

impl Sold for Outside {
    async fn catalog(&self) -> Result<Rc<Catalog>, Unavailable> {
        Yield(false).await;
        Ok(Rc::clone(&self.0.catalog))
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
    async fn hold(&self, _account: &AccountId, request: HoldRequest) -> Result<HoldAnswer, Unavailable> {
        Yield(false).await;
        let bucket = request.bucket.to_string();
        match self.0.command("hold", Command::Hold(Box::new(request)))? {
            Answer::Hold(answer) => {
                if matches!(answer, HoldAnswer::Granted(_)) {
                    self.0.note(format!("granted {bucket}"));
                }
                Yield(false).await;
                Ok(answer)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn settle(&self, _account: &AccountId, settlement: Settlement) -> Result<(), Unavailable> {
        Yield(false).await;
        self.0.command("settle", Command::Settle(Box::new(settlement))).map(|_| ())
    }

    async fn checkpoint(&self, _account: &AccountId, extension: Extension) -> Result<(), Unavailable> {
        self.0.command("checkpoint", Command::Checkpoint(Box::new(extension))).map(|_| ())
    }

    async fn record_refused(&self, _account: &AccountId, facts: Facts, outcome: Outcome) -> Result<(), Unavailable> {
        Yield(false).await;
        self.0.command("record", Command::RecordRefused(Box::new((facts, outcome)))).map(|_| ())
    }

    async fn kept(&self, _account: &AccountId, requests: Vec<RequestId>) -> Result<Vec<(RequestId, KeptItems)>, Unavailable> {
        Yield(false).await;
        match self.0.command("kept", Command::Read(Query::Kept(requests)))? {
            Answer::Kept(kept) => Ok(kept),
            other => panic!("{other:?}"),
        }
    }
}
