//! A run: how it was opened, and the sums of the requests that share its id.
//!
//! What always holds: a request is counted on one line, and its correction on the same; there are never more lines than a run may have.

use serde::{Deserialize, Serialize};

use super::counted::Counted;
use super::counters::Counters;
use super::outcome::RequestStatus;
use super::receipt::Receipt;
use crate::catalog::RouteKind;
use crate::id::{AccountId, BucketId, KeyId, RunId};
use crate::key::Budget;
use crate::money::Money;
use crate::time::Timestamp;
use crate::usage::Usage;

/// A run has at most so many lines; what comes later is summed under the model `other`.
const MOST_LINES: usize = 100;
const OTHER: &str = "other";

/// A run that was opened, rather than only named by its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// Whose.
    pub account: AccountId,
    /// The key that opened it.
    pub key: KeyId,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// What it may spend.
    pub budgets: Vec<Budget>,
    /// When it was opened.
    pub created_at: Timestamp,
}

/// A run and what its requests came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunBook {
    /// Its id.
    pub id: RunId,
    /// How it was opened, if it was.
    pub record: Option<RunRecord>,
    /// What it spent.
    pub counters: Counters,
    /// Its requests, by model, route, bucket and status.
    pub lines: Vec<RunLine>,
}

/// The requests of a run with the same model, route, bucket and status, summed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunLine {
    /// The public name; as it was asked for where nobody answered.
    pub model: String,
    /// Over which route; none where nobody answered.
    pub route: Option<RouteKind>,
    /// Which balance paid, or would have.
    pub bucket: Option<BucketId>,
    /// How they ended.
    pub status: RequestStatus,
    /// How many.
    pub requests: u64,
    /// Further attempts on the same channel.
    pub retries: u64,
    /// Further attempts on another channel.
    pub fallbacks: u64,
    /// What they used, by class.
    pub usage: Usage,
    /// What they cost.
    pub charge: Money,
    /// When the last one ended.
    pub last_at: Timestamp,
}

impl RunBook {
    /// A run that nothing is known of yet.
    pub fn new(id: RunId) -> Self {
        Self { id, record: None, counters: Counters::default(), lines: Vec::new() }
    }

    /// Counts a request, or the correction of one.
    pub(in crate::account) fn count(&mut self, counted: &Counted<'_>, now: Timestamp) {
        self.counters.count_usage(counted.tokens, counted.charge, now);
        if let Some(receipt) = counted.receipt {
            self.add(receipt, now);
        } else if let Some(corrected) = &counted.corrected {
            let is_lost = |line: &RunLine, model: &str| {
                line.model == model
                    && line.route == corrected.route
                    && line.bucket.as_ref() == Some(&corrected.bucket)
                    && line.status == RequestStatus::Aborted
            };
            let named = if self.lines.iter().any(|line| is_lost(line, &corrected.model)) { &corrected.model } else { OTHER };
            if let Some(line) = self.lines.iter_mut().find(|line| is_lost(line, named)) {
                line.usage = line.usage.plus(&corrected.usage).minus(&corrected.before);
                let charge = counted.charge.map_or(Money::ZERO, |(_, amount)| amount);
                line.charge = line.charge.checked_add(charge).unwrap_or(Money::MAX);
            }
        }
    }

    fn add(&mut self, receipt: &Receipt, now: Timestamp) {
        let named = receipt.model.as_ref().map_or(receipt.requested_model.as_str(), |model| model.as_str());
        let is_line = |line: &RunLine, model: &str| {
            line.model == model && line.route == receipt.route && line.bucket == receipt.bucket && line.status == receipt.status
        };
        let is_known = self.lines.iter().any(|line| is_line(line, named));
        let model = if is_known || self.lines.len() < MOST_LINES { named } else { OTHER };
        if !self.lines.iter().any(|line| is_line(line, model)) {
            self.lines.push(RunLine {
                model: model.to_owned(),
                route: receipt.route,
                bucket: receipt.bucket.clone(),
                status: receipt.status,
                requests: 0,
                retries: 0,
                fallbacks: 0,
                usage: Usage::default(),
                charge: Money::ZERO,
                last_at: now,
            });
        }
        if let Some(line) = self.lines.iter_mut().find(|line| is_line(line, model)) {
            line.requests = line.requests.saturating_add(1);
            line.retries = line.retries.saturating_add(u64::from(receipt.retries));
            line.fallbacks = line.fallbacks.saturating_add(u64::from(receipt.fallbacks));
            line.usage = line.usage.plus(&receipt.usage);
            line.charge = line.charge.checked_add(receipt.charge).unwrap_or(Money::MAX);
            line.last_at = now;
        }
    }
}
