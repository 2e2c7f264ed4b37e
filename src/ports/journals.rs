//! The searchable copy of all journals: its rows and its sums, and how it compares with the accounts.

use serde::Deserialize;
use serde_json::Value;

use super::unavailable::Unavailable;
use crate::account::{ComparedRow, JournalFilter};
use crate::id::{AccountId, number};
use crate::rollup::DaySums;
use crate::time::Timestamp;

/// Rows and sums of all accounts.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Journals {
    /// Journal rows of all accounts, or of one, from the searchable copy, newest first; each with the cursor behind it.
    async fn journal(
        &self,
        account: Option<&str>,
        filter: &JournalFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<(String, Value)>, Unavailable>;
    /// Sums of what was used and charged, [`MOST_SUMS`] at most.
    async fn sums(&self, sums: Sums) -> Result<Vec<Sum>, Unavailable>;
}

/// The copy beside the accounts.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Copies {
    /// The copy of an account's rows behind `after`, up to `last`: number, bucket, amount in nano-units.
    async fn copied(&self, account: &AccountId, after: u64, last: u64) -> Result<Vec<ComparedRow>, Unavailable>;
    /// Copied rows that are newer than the account's newest.
    async fn copied_beyond(&self, account: &AccountId, head: u64) -> Result<Vec<u64>, Unavailable>;
    /// Accounts that were last reconciled before this, and up to which row they were in order.
    async fn unreconciled(&self, before: Timestamp, limit: u32) -> Result<Vec<(AccountId, u64)>, Unavailable>;
    /// Notes how far an account was reconciled.
    async fn note_reconciled(&self, done: &Reconciled) -> Result<(), Unavailable>;
}

/// Where a page of all accounts' rows ended: time of the batch, account, number of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub i64, pub String, pub u64);

impl Cursor {
    /// Reads `at:account:seq`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let read = Self(number(parts.next()?)?, parts.next()?.to_owned(), number(parts.next()?)?);
        parts.next().is_none().then_some(read)
    }
}

/// Which sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// Of these days; all where none is named.
    pub days: Vec<String>,
    /// Told apart by these dimensions.
    pub by: Vec<Dimension>,
    /// Only where a dimension has this value.
    pub filters: Vec<(Dimension, String)>,
    /// Only what a bucket paid, or would have.
    pub is_of_buckets: bool,
}

/// So many sums are read at most.
pub const MOST_SUMS: usize = 20_000;

/// What sums can be told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dimension {
    Day,
    Account,
    Project,
    Key,
    Model,
    Route,
    Bucket,
    Cause,
}

impl Dimension {
    /// Every one.
    pub const ALL: [Self; 8] =
        [Self::Day, Self::Account, Self::Project, Self::Key, Self::Model, Self::Route, Self::Bucket, Self::Cause];

    /// As in queries and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Account => "account",
            Self::Project => "project",
            Self::Key => "key",
            Self::Model => "model",
            Self::Route => "route",
            Self::Bucket => "bucket",
            Self::Cause => "cause",
        }
    }
}

/// What requests used and were charged, told apart by some dimensions; of the others it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Sum {
    pub day: Option<String>,
    pub account: Option<String>,
    pub project: Option<String>,
    pub key: Option<String>,
    /// As the key was called last.
    pub key_label: Option<String>,
    pub model: Option<String>,
    pub route: Option<String>,
    pub bucket: Option<String>,
    pub cause: Option<String>,
    pub sums: DaySums,
}

impl Sum {
    /// What it is of a dimension.
    pub const fn of(&self, dimension: Dimension) -> &Option<String> {
        match dimension {
            Dimension::Day => &self.day,
            Dimension::Account => &self.account,
            Dimension::Project => &self.project,
            Dimension::Key => &self.key,
            Dimension::Model => &self.model,
            Dimension::Route => &self.route,
            Dimension::Bucket => &self.bucket,
            Dimension::Cause => &self.cause,
        }
    }
}

/// How far an account was reconciled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Reconciled {
    pub account: AccountId,
    /// When; none while there are newer rows to compare.
    pub at: Option<Timestamp>,
    /// In order up to this row.
    pub seq: u64,
    /// The report.
    pub doc: String,
}
