//! The ports, answered by the platform.

use std::future::Future;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use worker::{Context, Env, ScheduleContext};

use super::cache::{self, Age};
use super::upstream::{self, UpstreamBody};
use super::{catalog, clock, gates};
use crate::account::{Answer, Command, Extension, Facts, HoldAnswer, HoldRequest, KeptItems, Outcome, Query, Settlement};
use crate::catalog::Catalog;
use crate::id::{AccountId, KeyHash, RequestId, SecretName};
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::ports::{Call, Ports, Records, Sealer, SendError, Unavailable, UpstreamResponse};
use crate::routing::health::{CandidateId, HealthView, Observation};
use crate::time::Timestamp;

const CONFIG: &str = "CONFIG";
pub(super) const HEALTH_KEY: &str = "health";
/// How long a location may keep what it read from KV, in seconds.
const KV_CACHE_S: u64 = 60;

/// What runs on after the answer.
#[derive(Clone)]
enum Lifetime {
    Request(Rc<Context>),
    Schedule(Rc<ScheduleContext>),
}

/// The platform as one request, or one run of the cron, sees it.
#[derive(Clone)]
pub struct Outside {
    env: Env,
    lifetime: Lifetime,
}

pub(super) fn failed(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
}

impl Outside {
    pub fn new(env: Env, context: Context) -> Self {
        Self { env, lifetime: Lifetime::Request(Rc::new(context)) }
    }

    pub fn scheduled(env: Env, context: ScheduleContext) -> Self {
        Self { env, lifetime: Lifetime::Schedule(Rc::new(context)) }
    }

    pub(super) const fn env(&self) -> &Env {
        &self.env
    }

    pub(super) async fn kv_text(&self, name: &str) -> Result<Option<String>, Unavailable> {
        let store = self.env.kv(CONFIG).map_err(failed)?;
        store.get(name).cache_ttl(KV_CACHE_S).text().await.map_err(failed)
    }

    pub(super) async fn kv_put(&self, name: &str, text: &str) -> Result<(), Unavailable> {
        let store = self.env.kv(CONFIG).map_err(failed)?;
        store.put(name, text).map_err(failed)?.execute().await.map_err(failed)
    }

    pub(super) async fn kv_delete(&self, name: &str) -> Result<(), Unavailable> {
        self.env.kv(CONFIG).map_err(failed)?.delete(name).await.map_err(failed)
    }

    /// The texts of a statement with one column, `doc`.
    pub(super) async fn texts(&self, statement: &str, values: &[JsValue]) -> Result<Vec<String>, Unavailable> {
        let statement = self.env.d1("DB").map_err(failed)?.prepare(statement).bind(values).map_err(failed)?;
        let rows: Vec<Doc> = statement.all().await.and_then(|result| result.results()).map_err(failed)?;
        Ok(rows.into_iter().map(|row| row.doc).collect())
    }

    /// Runs statements in one transaction.
    pub(super) async fn together(&self, statements: &[(&str, &[JsValue])]) -> Result<(), Unavailable> {
        let database = self.env.d1("DB").map_err(failed)?;
        let bound = statements.iter().map(|(statement, values)| database.prepare(*statement).bind(values));
        let bound = bound.collect::<worker::Result<Vec<_>>>().map_err(failed)?;
        for result in database.batch(bound).await.map_err(failed)? {
            if !result.success() {
                return Err(Unavailable(result.error().unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// The rows of a statement with one column, `doc`, of JSON.
    pub(super) async fn d1<T: DeserializeOwned>(&self, statement: &str, values: &[JsValue]) -> Result<Vec<T>, Unavailable> {
        let texts = self.texts(statement, values).await?;
        texts.iter().map(|text| serde_json::from_str(text).map_err(failed)).collect()
    }

    /// Reads a key from KV, or if that fails from the searchable copy.
    async fn renew_key(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, Unavailable> {
        let text = match self.kv_text(&format!("key:{hash}")).await {
            Ok(text) => text,
            Err(error) => {
                self.log(&format!("kv: {}", error.0));
                self.texts("SELECT doc FROM keys WHERE hash = ?1", &[hash.as_str().into()]).await?.into_iter().next()
            }
        };
        let record = text.map(|text| serde_json::from_str::<KeyRecord>(&text)).transpose().map_err(failed)?;
        match &record {
            Some(record) => cache::put_key(record, clock::now()),
            None => cache::put_unknown(hash, clock::now()),
        }
        Ok(record)
    }

    /// Takes over what other isolates saw.
    async fn renew_health(&self) {
        match self.kv_text(HEALTH_KEY).await {
            Ok(text) => {
                let read = text.and_then(|text| serde_json::from_str::<HealthView>(&text).ok());
                cache::merge_health(&read.unwrap_or_default());
            }
            Err(error) => self.log(&format!("health: {}", error.0)),
        }
    }

    async fn done(&self, account: &AccountId, command: Command) -> Result<(), Unavailable> {
        match self.command(account, command).await? {
            Answer::Done => Ok(()),
            other => Err(Unavailable(format!("account {account} answered with {}", other.kind()))),
        }
    }
}

#[derive(serde::Deserialize)]
struct Doc {
    doc: String,
}

impl Ports for Outside {
    type Body = UpstreamBody;

    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn random(&self) -> u128 {
        clock::random()
    }

    fn sleep(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        clock::sleep(ms)
    }

    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        match &self.lifetime {
            Lifetime::Request(context) => context.wait_until(future),
            Lifetime::Schedule(context) => context.wait_until(future),
        }
    }

    fn log(&self, line: &str) {
        worker::console_error!("{line}");
    }

    async fn key(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, Unavailable> {
        match cache::key(hash, clock::now()) {
            Age::Fresh(record) => Ok(Some(record)),
            Age::Stale(record) => {
                let (outside, hash) = (self.clone(), hash.clone());
                self.spawn(async move {
                    if let Err(error) = outside.renew_key(&hash).await {
                        outside.log(&format!("key: {}", error.0));
                    }
                });
                Ok(Some(record))
            }
            Age::Old(record) => Ok(self.renew_key(hash).await.unwrap_or(Some(record))),
            Age::Missing if cache::is_unknown(hash, clock::now()) => Ok(None),
            Age::Missing => self.renew_key(hash).await,
        }
    }

    fn remembers(&self, hash: &KeyHash) -> bool {
        cache::remembers(hash, clock::now())
    }

    async fn admit(&self, gate: Gate, subject: &str) -> bool {
        gates::admit(&self.env, gate, subject).await
    }

    fn rest(&self, gate: Gate, subject: &str) -> Option<u64> {
        gates::rest(gate, subject)
    }

    fn granted(&self, key: &KeyRecord) {
        gates::granted(key);
    }

    fn is_earning(&self, account: &AccountId) -> bool {
        gates::is_earning(account)
    }

    fn refused(&self, key: &KeyRecord) -> bool {
        gates::refused(key)
    }

    async fn current_key(&self, key: &KeyRecord) -> Result<Option<KeyRecord>, Unavailable> {
        match self.command(&key.account, Command::Read(Query::Record(key.id.clone()))).await? {
            Answer::Key(record) => {
                cache::put_key(&record, clock::now());
                Ok(Some(*record))
            }
            _ => Ok(None),
        }
    }

    async fn catalog(&self) -> Result<Rc<Catalog>, Unavailable> {
        match cache::catalog(clock::now()) {
            Age::Fresh(catalog) => Ok(catalog),
            Age::Stale(catalog) | Age::Old(catalog) => {
                let outside = self.clone();
                self.spawn(async move {
                    if let Err(error) = catalog::renew(&outside).await {
                        outside.log(&format!("catalogue: {}", error.0));
                    }
                });
                Ok(catalog)
            }
            Age::Missing => catalog::renew(self).await,
        }
    }

    async fn health(&self) -> Rc<HealthView> {
        let (view, is_stale) = cache::health(clock::now());
        // An isolate that knows nothing waits, as it waits for the catalogue: others may know what not to try.
        if is_stale && view.candidates.is_empty() {
            self.renew_health().await;
            return cache::health(clock::now()).0;
        }
        if is_stale {
            let outside = self.clone();
            self.spawn(async move { outside.renew_health().await });
        }
        view
    }

    fn observe(&self, candidate: &CandidateId, seen: Observation) {
        cache::observe(candidate, seen, clock::now());
    }

    async fn hold(&self, account: &AccountId, request: HoldRequest) -> Result<HoldAnswer, Unavailable> {
        match self.command(account, Command::Hold(Box::new(request))).await? {
            Answer::Hold(answer) => Ok(answer),
            other => Err(Unavailable(format!("account {account} answered with {}", other.kind()))),
        }
    }

    async fn settle(&self, account: &AccountId, settlement: Settlement) -> Result<(), Unavailable> {
        self.done(account, Command::Settle(Box::new(settlement))).await
    }

    async fn checkpoint(&self, account: &AccountId, extension: Extension) -> Result<(), Unavailable> {
        self.done(account, Command::Checkpoint(Box::new(extension))).await
    }

    async fn record_refused(&self, account: &AccountId, facts: Facts, outcome: Outcome) -> Result<(), Unavailable> {
        self.done(account, Command::RecordRefused(Box::new((facts, outcome)))).await
    }

    async fn kept(&self, account: &AccountId, requests: Vec<RequestId>) -> Result<Vec<(RequestId, KeptItems)>, Unavailable> {
        match self.command(account, Command::Read(Query::Kept(requests))).await? {
            Answer::Kept(kept) => Ok(kept),
            other => Err(Unavailable(format!("account {account} answered with {}", other.kind()))),
        }
    }

    fn cooling(&self, secret: &SecretName) -> Option<Timestamp> {
        cache::cooling(secret, clock::now())
    }

    fn cool_down(&self, secret: &SecretName, until: Timestamp) {
        cache::cool_down(secret, until);
    }

    fn sealer(&self, secret: &SecretName) -> Option<Sealer> {
        upstream::sealer(&self.env, secret)
    }

    fn without_credential(&self, secret: &SecretName, text: &str) -> String {
        upstream::without_credential(&self.env, secret, text)
    }

    async fn send(&self, call: Call<'_>) -> Result<UpstreamResponse<UpstreamBody>, SendError> {
        upstream::send(&self.env, call).await
    }

    async fn read_error(&self, body: UpstreamBody) -> Result<Vec<u8>, String> {
        upstream::read_error(body).await
    }

    async fn read_all(&self, body: UpstreamBody) -> Result<Vec<u8>, String> {
        upstream::read_all(body).await
    }
}
