//! The ports, answered by the platform.

use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use wasm_bindgen::JsValue;
use worker::{Context, Env, ScheduleContext};

use super::cache::{self, Age};
use super::upstream::{self, UpstreamBody};
use super::{account_client, catalog, clock, gates, operators, post, records};
use crate::account::{
    AccountRecord, Answer, Command, ComparedRow, Extension, Facts, Filter, HoldAnswer, HoldRequest, KeptItems, Outcome, Query,
    Settlement,
};
use crate::catalog::{Announcement, Catalog, UpstreamHosts};
use crate::id::{AccountId, KeyHash, ModelName, OrderId, RequestId, SecretName, TokenId};
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::operator::{Failure, TokenRecord};
use crate::payment::Checkout;
use crate::ports::{
    Announced, Attempts, Call, CodeTaken, Cursor, NewCode, Ports, Publication, Reconciled, Records, SendError, Sums, Unavailable,
    UpstreamResponse, VersionRow,
};
use crate::routing::health::{CandidateId, HealthView, Observation};
use crate::time::Timestamp;

const CONFIG: &str = "CONFIG";
pub(super) const HEALTH_KEY: &str = "health";
/// How long a location may keep what it read from KV, in seconds.
const KV_CACHE_S: u64 = 60;

const STRIPE: &str = "https://api.stripe.com";
const CHECKOUT_TIMEOUT_MS: u32 = 15_000;

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

    fn seal(&self, secret: &SecretName, text: &str) -> Option<String> {
        upstream::seal(&self.env, secret, text)
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

impl Records for Outside {
    async fn command(&self, account: &AccountId, command: Command) -> Result<Answer, Unavailable> {
        account_client::command(&self.env, account, &command).await
    }

    async fn accounts(&self, after: Option<&str>, limit: u32) -> Result<Vec<AccountRecord>, Unavailable> {
        let statement = "SELECT json_object('id', id, 'name', name, 'created_at', created_at) AS doc FROM accounts WHERE id > ?1 ORDER BY id LIMIT ?2";
        self.d1(statement, &[after.unwrap_or_default().into(), limit.into()]).await
    }

    async fn publish_key(&self, record: &KeyRecord) -> Result<(), Unavailable> {
        cache::put_key(record, clock::now());
        let text = serde_json::to_string(record).map_err(failed)?;
        self.kv_put(&format!("key:{}", record.hash), &text).await
    }

    async fn catalog_document(&self) -> Result<Option<String>, Unavailable> {
        catalog::document(self).await
    }

    async fn newest_catalog_version(&self) -> u64 {
        catalog::newest_version(self).await
    }

    async fn publish_catalog(&self, publication: Publication) -> Result<(), Unavailable> {
        catalog::publish(self, publication).await
    }

    async fn announced(&self) -> Option<Announced> {
        self.catalog().await.ok()?;
        let (effective_at, catalog) = cache::announced(clock::now())?;
        Some(Announced { effective_at, version: catalog.version, catalog })
    }

    async fn announcement(&self) -> Result<Option<Announcement>, Unavailable> {
        catalog::announcement(self).await
    }

    async fn withdraw_announced(&self) -> Result<Vec<u64>, Unavailable> {
        catalog::withdraw(self).await
    }

    async fn move_announced(&self) -> Result<(), Unavailable> {
        catalog::take_over(self).await
    }

    async fn catalog_versions(
        &self,
        model: Option<&ModelName>,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<VersionRow>, Unavailable> {
        catalog::versions(self, model, after, limit).await
    }

    async fn catalog_version(&self, version: u64) -> Result<Option<(VersionRow, String)>, Unavailable> {
        catalog::version(self, version).await
    }

    fn hosts(&self) -> UpstreamHosts {
        let allowed = self.env.var("ALLOW_PRIVATE_UPSTREAMS").map(|value| value.to_string());
        if allowed.is_ok_and(|value| value == "true") { UpstreamHosts::Any } else { UpstreamHosts::Public }
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.env.secret(name).ok().map(|secret| secret.to_string()).filter(|text| !text.trim().is_empty())
    }

    async fn journal(
        &self,
        account: Option<&str>,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<(String, Value)>, Unavailable> {
        records::journal(self, account, filter, after, limit).await
    }

    async fn sums(&self, sums: Sums) -> Result<Vec<Value>, Unavailable> {
        records::sums(self, &sums).await
    }

    async fn copied(&self, account: &AccountId, after: u64, last: u64) -> Result<Vec<ComparedRow>, Unavailable> {
        records::copied(self, account, after, last).await
    }

    async fn copied_beyond(&self, account: &AccountId, head: u64) -> Result<Vec<u64>, Unavailable> {
        records::copied_beyond(self, account, head).await
    }

    async fn unreconciled(&self, before: Timestamp, limit: u32) -> Result<Vec<(AccountId, u64)>, Unavailable> {
        records::unreconciled(self, before, limit).await
    }

    async fn note_reconciled(&self, done: &Reconciled) -> Result<(), Unavailable> {
        records::note_reconciled(self, done).await
    }

    async fn orders(&self, state: &str, after: Option<&str>, limit: u32) -> Result<Vec<Value>, Unavailable> {
        records::orders(self, state, after, limit).await
    }

    async fn order_of_payment(&self, payment: &str) -> Result<Option<(AccountId, OrderId)>, Unavailable> {
        records::order_of_payment(self, payment).await
    }

    async fn checkout(&self, checkout: &Checkout, credential: &str) -> Result<(u16, String), String> {
        let host = self.setting("STRIPE_API_URL").unwrap_or_else(|| STRIPE.to_owned());
        let credential = format!("Bearer {credential}");
        let headers = [
            ("authorization", credential.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
            ("idempotency-key", checkout.idempotency_key.as_str()),
        ];
        post::post(&format!("{host}{}", checkout.path), &headers, &checkout.body, CHECKOUT_TIMEOUT_MS).await
    }

    async fn put_codes(&self, codes: &[NewCode], common: &Value) -> Result<(), Unavailable> {
        records::put_codes(self, codes, common).await
    }

    async fn take_code(&self, hash: &str, account: &AccountId) -> Result<Option<CodeTaken>, Unavailable> {
        records::take_code(self, hash, account).await
    }

    async fn code_credited(&self, hash: &str) -> Result<(), Unavailable> {
        records::code_credited(self, hash).await
    }

    async fn uncredited_codes(&self, before: Timestamp, limit: u32) -> Result<Vec<(AccountId, String)>, Unavailable> {
        records::uncredited_codes(self, before, limit).await
    }

    async fn codes(&self, after: Option<&str>, limit: u32) -> Result<Vec<Value>, Unavailable> {
        records::codes(self, after, limit).await
    }

    async fn revoke_code(&self, id: &str) -> Result<bool, Unavailable> {
        records::revoke_code(self, id).await
    }

    async fn token(&self, hash: &str) -> Result<Option<TokenRecord>, Unavailable> {
        operators::token(self, hash).await
    }

    async fn put_token(&self, token: &TokenRecord, hash: &str, most: u32) -> Result<bool, Unavailable> {
        operators::put_token(self, token, (hash, most)).await
    }

    async fn tokens(&self, after: Option<&str>, limit: u32) -> Result<Vec<TokenRecord>, Unavailable> {
        operators::tokens(self, after, limit).await
    }

    async fn revoke_token(&self, id: &TokenId) -> Result<Option<TokenRecord>, Unavailable> {
        operators::revoke_token(self, id).await
    }

    fn note_token_used(&self, token: &TokenRecord) {
        operators::note_token_used(self, token);
    }

    fn note_attempt(&self, address: Option<IpAddr>, failure: Failure) {
        operators::note_attempt(self, address, failure);
    }

    async fn attempts(&self, after: Option<(Timestamp, String)>, limit: u32) -> Result<Vec<Attempts>, Unavailable> {
        operators::attempts(self, after, limit).await
    }
}
