//! The ports of a request, answered by the platform.
//!
//! What always holds: what is known here already is answered at once and renewed behind the answer; only what is missing, and a key
//! that is too old, is waited for.

use std::future::Future;
use std::rc::Rc;

use super::cache::{self, Age};
use super::outside::{Outside, failed};
use super::upstream::{self, UpstreamBody};
use super::{catalog, clock, gates};
use crate::account::{AccountAnswer, Command, Extension, Facts, HoldAnswer, HoldRequest, KeptItems, Outcome, Query, Settlement};
use crate::catalog::Catalog;
use crate::id::{AccountId, KeyHash, RequestId, SecretName};
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::ports::{
    Accounts, Gates, HealthCopy, Holds, Keys, Runtime, SendError, Signer, Sold, Unavailable, Upstream, UpstreamCall,
    UpstreamResponse,
};
use crate::routing::health::{CandidateId, HealthView, Observation};
use crate::time::Timestamp;

pub(super) const HEALTH_KEY: &str = "health";

impl Outside {
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
            Some(record) => cache::put_key(record, self.now()),
            None => cache::put_unknown(hash, self.now()),
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
            AccountAnswer::Done => Ok(()),
            other => Err(Unavailable(format!("account {account} answered with {}", other.kind()))),
        }
    }
}

impl Upstream for Outside {
    type Body = UpstreamBody;

    fn cooling(&self, secret: &SecretName) -> Option<Timestamp> {
        cache::cooling(secret, self.now())
    }

    fn cool_down(&self, secret: &SecretName, until: Timestamp) {
        cache::cool_down(secret, until);
    }

    fn signer(&self, secret: &SecretName) -> Option<Signer> {
        upstream::signer(self.env(), secret)
    }

    fn without_credential(&self, secret: &SecretName, text: &str) -> String {
        upstream::without_credential(self.env(), secret, text)
    }

    async fn send(&self, call: UpstreamCall<'_>) -> Result<UpstreamResponse<UpstreamBody>, SendError> {
        upstream::send(self, call).await
    }

    async fn read_error(&self, body: UpstreamBody) -> Result<Vec<u8>, String> {
        upstream::read_error(body).await
    }

    async fn read_all(&self, body: UpstreamBody) -> Result<Vec<u8>, String> {
        upstream::read_all(body).await
    }
}

impl Runtime for Outside {
    fn now(&self) -> Timestamp {
        self.front().now()
    }

    fn random(&self) -> u128 {
        clock::random()
    }

    fn sleep(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        self.front().sleep(ms)
    }

    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.front().spawn(future);
    }

    fn log(&self, line: &str) {
        worker::console_error!("{line}");
    }
}

impl Keys for Outside {
    async fn key(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, Unavailable> {
        match cache::key(hash, self.now()) {
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
            Age::Missing if cache::is_unknown(hash, self.now()) => Ok(None),
            Age::Missing => self.renew_key(hash).await,
        }
    }

    fn remembers(&self, hash: &KeyHash) -> bool {
        cache::remembers(hash, self.now())
    }

    async fn current_key(&self, key: &KeyRecord) -> Result<Option<KeyRecord>, Unavailable> {
        match self.command(&key.account, Command::Read(Query::Record(key.id.clone()))).await? {
            AccountAnswer::Key(record) => {
                cache::put_key(&record, self.now());
                Ok(Some(*record))
            }
            _ => Ok(None),
        }
    }
}

impl Gates for Outside {
    async fn admit(&self, gate: Gate, subject: &str) -> bool {
        gates::admit(self, gate, subject).await
    }

    fn rest(&self, gate: Gate, subject: &str) -> Option<u64> {
        gates::rest(gate, subject, self.now())
    }

    fn granted(&self, key: &KeyRecord) {
        gates::granted(key, self.now());
    }

    fn is_earning(&self, account: &AccountId) -> bool {
        gates::is_earning(account, self.now())
    }

    fn refused(&self, key: &KeyRecord) -> bool {
        gates::refused(key, self.now())
    }
}

impl Sold for Outside {
    async fn catalog(&self) -> Result<Rc<Catalog>, Unavailable> {
        match cache::catalog(self.now()) {
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
}

impl HealthCopy for Outside {
    async fn health(&self) -> Rc<HealthView> {
        let (view, is_stale) = cache::health(self.now());
        // An isolate that knows nothing waits, as it waits for the catalogue: others may know what not to try.
        if is_stale && view.candidates.is_empty() {
            self.renew_health().await;
            return cache::health(self.now()).0;
        }
        if is_stale {
            let outside = self.clone();
            self.spawn(async move { outside.renew_health().await });
        }
        view
    }

    fn observe(&self, candidate: &CandidateId, seen: Observation) {
        cache::observe(candidate, seen, self.now());
    }
}

impl Holds for Outside {
    async fn hold(&self, account: &AccountId, request: HoldRequest) -> Result<HoldAnswer, Unavailable> {
        match self.command(account, Command::Hold(Box::new(request))).await? {
            AccountAnswer::Hold(answer) => Ok(answer),
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
            AccountAnswer::Kept(kept) => Ok(kept),
            other => Err(Unavailable(format!("account {account} answered with {}", other.kind()))),
        }
    }
}
