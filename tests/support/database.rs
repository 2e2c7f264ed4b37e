//! The searchable copy of all accounts in memory, and what D1 alone decides: what is a table there is a map here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokens_forge::account::{AccountRecord, ComparedRow, JournalFilter, Journaled, Listed, Order, Row};
use tokens_forge::id::{AccountId, KeyHash, OrderId};
use tokens_forge::key::KeyRecord;
use tokens_forge::ports::{Cursor, Dimension, MOST_SUMS, Reconciled, Sum, Sums};
use tokens_forge::probe::PROBE_ACCOUNT;
use tokens_forge::time::Timestamp;
use tokens_forge::truth::{Entry, KEPT_MISSES, Promise, Truth, since};

use super::catalogue::Stored;
use super::codes::Codes;
use super::copy::{DayOf, Kept, SearchableCopy, Sums as Summed};
use super::health::HealthTables;
use super::operators::OperatorTables;
use super::queries::{compared, doc_of, is_listed, is_named, row_json};

const DAY_MS: i64 = 86_400_000;

#[derive(Default)]
pub struct Database {
    pub copies: BTreeMap<AccountId, SearchableCopy>,
    pub accounts: BTreeMap<String, AccountRecord>,
    pub keys: BTreeMap<KeyHash, KeyRecord>,
    /// With the journal row that each is the state of.
    pub orders: BTreeMap<(OrderId, AccountId), (u64, Order)>,
    pub reconciled: BTreeMap<AccountId, Reconciled>,
    pub codes: Codes,
    pub operators: OperatorTables,
    pub versions: BTreeMap<u64, Stored>,
    pub health: HealthTables,
}

/// Rows that arrived together.
struct Batch<'a> {
    at: i64,
    account: &'a AccountId,
    first: u64,
    rows: Vec<&'a Row>,
}

impl Database {
    /// One batch of an account's outbox: what counts rows comes before the rows themselves. Answers how far the outbox is then.
    pub fn copy(&mut self, account: &AccountId, rows: &[Row]) -> u64 {
        let copy = self.copies.entry(account.clone()).or_default();
        if rows.first().is_some_and(|first| copy.newest() < first.seq) {
            self.health.count(account, rows);
        }
        let copied = copy.write(rows);
        for row in rows {
            match &row.journaled {
                Journaled::Account(noted) => {
                    self.accounts.insert(noted.record.id.to_string(), noted.record.clone());
                }
                Journaled::Key(noted) => {
                    let record = &noted.record;
                    if self.keys.get(&record.hash).is_none_or(|known| record.version >= known.version) {
                        self.keys.insert(record.hash.clone(), record.clone());
                    }
                }
                Journaled::Order(order) => {
                    let place = (order.id.clone(), account.clone());
                    if self.orders.get(&place).is_none_or(|(seq, _)| row.seq > *seq) {
                        self.orders.insert(place, (row.seq, (**order).clone()));
                    }
                }
                _ => {}
            }
        }
        copied
    }

    pub fn accounts(&self, after: Option<&str>, limit: u32) -> Vec<AccountRecord> {
        let after = after.unwrap_or_default();
        let behind = self.accounts.iter().filter(|(id, _)| id.as_str() > after);
        behind.take(most(limit)).map(|(_, record)| record.clone()).collect()
    }

    /// Journal rows, newest first: by the time of their batch, its account, and their number.
    pub fn journal(
        &self,
        account: Option<&str>,
        filter: &JournalFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Vec<(String, Value)> {
        let is_asked = |id: &AccountId| account.map_or(id.as_str() != PROBE_ACCOUNT, |account| id.as_str() == account);
        let mut batches: Vec<Batch<'_>> = Vec::new();
        for (account, copy) in self.copies.iter().filter(|(id, _)| is_asked(id)) {
            for (first, last) in &copy.batches {
                let rows: Vec<&Row> = copy.rows.range(first..=last).map(|(_, row)| row).collect();
                let at = rows.iter().map(|row| row.at.millis()).max();
                batches.extend(at.map(|at| Batch { at, account, first: *first, rows }));
            }
        }
        batches.sort_by_key(|batch| std::cmp::Reverse((batch.at, batch.account, batch.first)));
        let is_behind = |batch: &Batch<'_>, row: &Row| {
            after.as_ref().is_none_or(|Cursor(at, account, seq)| {
                (batch.at, batch.account.as_str(), row.seq) < (*at, account.as_str(), *seq)
            })
        };
        let is_old = |batch: &Batch<'_>| filter.since.is_some_and(|since| batch.at < since.millis());
        let mut found = Vec::new();
        for batch in batches.iter().filter(|batch| !is_old(batch)) {
            if filter.listed == Listed::Records && !batch.rows.iter().any(|row| is_listed(Listed::Records, row)) {
                continue;
            }
            for row in batch.rows.iter().rev() {
                let doc = doc_of(row);
                if is_listed(filter.listed, row) && is_behind(batch, row) && is_named(filter, row, &doc) {
                    let mut fields = Map::new();
                    fields.insert("account".to_owned(), json!(batch.account));
                    fields.extend(row_json(row, doc).as_object().unwrap().clone());
                    found.push((format!("{}:{}:{}", batch.at, batch.account, row.seq), Value::Object(fields)));
                }
            }
        }
        found.truncate(most(limit));
        found
    }

    pub fn sums(&self, sums: &Sums) -> Vec<Sum> {
        let mut groups: BTreeMap<Vec<String>, (Summed, String)> = BTreeMap::new();
        let names_account = sums.filters.iter().any(|(dimension, _)| *dimension == Dimension::Account);
        for (account, copy) in &self.copies {
            // Probes are nobody's use, unless somebody asks for those of the probe account.
            if account.as_str() == PROBE_ACCOUNT && !names_account {
                continue;
            }
            for (key, day) in &copy.days {
                let field = |name: &str| dimension(account, key, name);
                let is_of_day = sums.days.is_empty() || sums.days.contains(&field("day"));
                if !is_of_day || !sums.filters.iter().all(|(dimension, value)| field(dimension.as_str()) == *value) {
                    continue;
                }
                if sums.is_of_buckets && field("bucket").is_empty() {
                    continue;
                }
                let (sum, label) = groups.entry(sums.by.iter().map(|dimension| field(dimension.as_str())).collect()).or_default();
                sum.add(day);
                let called = copy.labels.get(key).cloned().unwrap_or_default();
                *label = called.max(std::mem::take(label));
            }
        }
        let told = |(values, (sum, label)): (Vec<String>, (Summed, String))| {
            let mut fields = Map::new();
            for (dimension, value) in sums.by.iter().zip(values) {
                fields.insert(dimension.as_str().to_owned(), value.into());
                if *dimension == Dimension::Key {
                    fields.insert("key_label".to_owned(), label.clone().into());
                }
            }
            let sums = sum.named().map(|(name, value)| (name.to_owned(), json!(i64::try_from(value).unwrap())));
            fields.insert("sums".to_owned(), Value::Object(sums.into_iter().collect()));
            serde_json::from_value(Value::Object(fields)).unwrap()
        };
        groups.into_iter().take(MOST_SUMS).map(told).collect()
    }

    pub fn copied(&self, account: &AccountId, after: u64, last: u64) -> Vec<ComparedRow> {
        let Some(copy) = self.copies.get(account) else { return Vec::new() };
        // The first part takes in what stands before the first row, where nothing may be.
        let rows = copy.rows.values().filter(|row| (after == 0 || row.seq > after) && row.seq <= last);
        rows.map(compared).collect()
    }

    pub fn copied_beyond(&self, account: &AccountId, head: u64) -> Vec<u64> {
        let Some(copy) = self.copies.get(account) else { return Vec::new() };
        copy.rows.keys().copied().filter(|seq| *seq > head).take(100).collect()
    }

    /// Those that were begun first.
    pub fn unreconciled(&self, before: Timestamp, limit: u32) -> Vec<(AccountId, u64)> {
        let mut due: Vec<(bool, &AccountId, u64)> = Vec::new();
        for record in self.accounts.values() {
            let last = self.reconciled.get(&record.id);
            if last.and_then(|last| last.at).is_none_or(|at| at < before) {
                due.push((last.is_none(), &record.id, last.map_or(0, |last| last.seq)));
            }
        }
        due.sort();
        due.into_iter().take(most(limit)).map(|(_, id, seq)| (id.clone(), seq)).collect()
    }

    pub fn orders(&self, state: &str, after: Option<&str>, limit: u32) -> Vec<Order> {
        let is_asked = |order: &&Order| json!(order.state) == state && after.is_none_or(|after| order.id.as_str() < after);
        let newest = self.orders.values().rev().map(|(_, order)| order).filter(is_asked);
        newest.take(most(limit)).cloned().collect()
    }

    pub fn order_of_payment(&self, payment: &str) -> Option<(AccountId, OrderId)> {
        let found = self.orders.iter().find(|(_, (_, order))| order.payment.as_deref() == Some(payment));
        found.map(|((id, account), _)| (account.clone(), id.clone()))
    }

    /// What promises of the days that are shown came to.
    pub fn truths(&self, now: Timestamp) -> Vec<(Promise, Truth)> {
        let mut together: BTreeMap<Promise, Kept> = BTreeMap::new();
        for copy in self.copies.values() {
            for ((promise, day), kept) in &copy.truths {
                if *day >= since(now).millis() {
                    let sum = together.entry(promise.clone()).or_default();
                    sum.callable += kept.callable;
                    sum.answered += kept.answered;
                    sum.misses.extend(kept.misses.iter().cloned());
                }
            }
        }
        let told = |(promise, mut kept): (Promise, Kept)| {
            kept.misses.sort_by_key(|Entry(_, at, _)| std::cmp::Reverse(*at));
            kept.misses.truncate(KEPT_MISSES);
            let count = |sum: i64| u64::try_from(sum).unwrap_or(0);
            (promise, Truth::new(count(kept.callable), count(kept.answered), &kept.misses))
        };
        together.into_iter().map(told).collect()
    }

    /// Moves old counts on to longer spans, and forgets what is older than is shown.
    pub fn tidy(&mut self, now: Timestamp) {
        self.health.tidy(now);
        let shown = since(now).plus(-DAY_MS).millis();
        for copy in self.copies.values_mut() {
            copy.truths.retain(|(_, day), _| *day >= shown);
        }
    }
}

/// A limit as it counts here.
pub fn most(limit: u32) -> usize {
    usize::try_from(limit).unwrap()
}

/// One of the dimensions of a daily sum.
fn dimension(account: &AccountId, key: &DayOf, name: &str) -> String {
    let (day, project, id, model, route, bucket, cause) = key;
    match name {
        "day" => Timestamp::from_millis(*day).to_string()[..10].to_owned(),
        "account" => account.to_string(),
        "project" => project.clone(),
        "key" => id.clone(),
        "model" => model.clone(),
        "route" => route.clone(),
        "bucket" => bucket.clone(),
        "cause" => (*cause).to_owned(),
        other => panic!("{other} is no dimension"),
    }
}
