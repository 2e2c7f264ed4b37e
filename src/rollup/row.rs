//! What the sums read of a row of the journal: a few fields of what the account stored.
//!
//! What always holds: names of fields are those of [`Receipt`](crate::account::Receipt) and [`Correction`](crate::account::Correction);
//! fields that receipts of before do not have are as if nothing was there.

use std::borrow::Cow;

use serde::Deserialize;

use crate::account::{AttemptStatus, RequestStatus, RowKind};
use crate::catalog::RouteKind;
use crate::id::ChannelId;
use crate::money::Money;
use crate::time::Timestamp;
use crate::truth::Promised;
use crate::usage::Usage;

/// A row of the journal, as far as it counts.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// When it was decided.
    pub at: Timestamp,
    /// The bucket that it changes.
    pub bucket: Option<&'a str>,
    /// By how much, in nano-units; below zero is a charge.
    pub amount: Option<i64>,
    /// What it is about.
    pub about: About<'a>,
}

/// The two kinds of rows that count.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// A closed request.
    Receipt(&'a Receipt<'a>),
    /// What a late settlement changed of one.
    Correction(&'a Correction<'a>),
}

/// A row as it is stored, with its amount in nano-units and its document as text.
#[derive(Deserialize)]
pub struct Stored<'a> {
    pub seq: u64,
    at: i64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    bucket: Option<Cow<'a, str>>,
    amount: Option<i64>,
    #[serde(borrow)]
    doc: Cow<'a, str>,
}

impl Stored<'_> {
    /// Hands the row on if it is of a kind that counts. An error where its document cannot be read.
    pub fn count(&self, mut count: impl FnMut(Counted<'_>)) -> Result<(), serde_json::Error> {
        let bucket = self.bucket.as_deref();
        let counted = |about| Counted { at: Timestamp::from_millis(self.at), bucket, amount: self.amount, about };
        if self.kind == RowKind::Receipt.as_str() {
            count(counted(About::Receipt(&serde_json::from_str(&self.doc)?)));
        } else if self.kind == RowKind::Correction.as_str() {
            count(counted(About::Correction(&serde_json::from_str(&self.doc)?)));
        }
        Ok(())
    }
}

/// Of a receipt.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Receipt<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    pub status: RequestStatus,
    pub created_at: Timestamp,
    pub latency_ms: u64,
    #[serde(borrow)]
    pub project: Cow<'a, str>,
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    #[serde(borrow)]
    pub key_label: Cow<'a, str>,
    #[serde(borrow)]
    pub requested_model: Cow<'a, str>,
    #[serde(default, borrow)]
    pub counted_as: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub model: Option<Cow<'a, str>>,
    pub route: Option<RouteKind>,
    #[serde(borrow)]
    pub bucket: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub attempts: Vec<Attempt<'a>>,
    #[serde(default)]
    pub retries: u32,
    pub fallbacks: u32,
    pub usage: Usage,
    #[serde(default)]
    pub input_charge: Money,
    #[serde(default)]
    pub promise: Option<Promised>,
}

/// Of an attempt.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Attempt<'a> {
    pub channel: ChannelId,
    #[serde(borrow)]
    pub upstream_model: Cow<'a, str>,
    pub dispatched: bool,
    pub status: AttemptStatus,
    pub started_at: Timestamp,
    pub latency_ms: u64,
    #[serde(borrow)]
    pub error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub message: Option<Cow<'a, str>>,
    #[serde(default)]
    pub is_aside: bool,
}

/// Of a correction.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Correction<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub project: Cow<'a, str>,
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    #[serde(borrow)]
    pub key_label: Cow<'a, str>,
    #[serde(borrow)]
    pub model: Option<Cow<'a, str>>,
    pub route: Option<RouteKind>,
    #[serde(borrow)]
    pub bucket: Cow<'a, str>,
    pub usage: Usage,
    pub usage_before: Usage,
    #[serde(default)]
    pub promise: Option<Promised>,
    #[serde(default)]
    pub promise_before: Option<Promised>,
}
