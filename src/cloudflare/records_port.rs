//! The ports of the accounts, the catalogue and the searchable copy, answered by the platform.

use std::net::IpAddr;

use serde_json::Value;

use super::outside::{Outside, failed};
use super::{account_client, cache, catalog, clock, operators, post, records};
use crate::account::{AccountRecord, Answer, Command, ComparedRow, Filter};
use crate::catalog::{Announcement, UpstreamHosts};
use crate::id::{AccountId, ModelName, OrderId, TokenId};
use crate::key::KeyRecord;
use crate::operator::{Failure, TokenRecord};
use crate::payment::Checkout;
use crate::ports::{
    Announced, Attempts, CodeTaken, Cursor, NewCode, Ports, Publication, Reconciled, Records, Sums, Unavailable, VersionRow,
};
use crate::time::Timestamp;

const STRIPE: &str = "https://api.stripe.com";
const CHECKOUT_TIMEOUT_MS: u32 = 15_000;

impl Records for Outside {
    async fn command(&self, account: &AccountId, command: Command) -> Result<Answer, Unavailable> {
        account_client::command(self.env(), account, &command).await
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
        let allowed = self.env().var("ALLOW_PRIVATE_UPSTREAMS").map(|value| value.to_string());
        if allowed.is_ok_and(|value| value == "true") { UpstreamHosts::Any } else { UpstreamHosts::Public }
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.env().secret(name).ok().map(|secret| secret.to_string()).filter(|text| !text.trim().is_empty())
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
