//! What is loaded for one command, and what a decision changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hold::{Checkpoint, Claim, Hold};
use super::manage::{AccountRecord, AdjustmentRecord, ProjectRecord};
use super::receipt::Receipt;
use super::tally::Tally;
use crate::id::{BucketId, KeyId, ProjectId, RequestId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::time::Timestamp;

/// The balance of every bucket.
pub type Balances = BTreeMap<BucketId, Money>;

/// The newest journal row's number and the balances after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// Rows are numbered from 1 without a gap; 0 is before the first.
    pub seq: u64,
    /// The balances.
    pub balances: Balances,
}

/// Open holds of one key on one bucket, summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: KeyId,
    /// Its project.
    pub project: ProjectId,
    /// What is set aside.
    pub amount: Money,
    /// For how many requests.
    pub count: u32,
    /// How many tokens these may use.
    pub tokens: u64,
}

/// A key and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBook {
    /// The key.
    pub record: KeyRecord,
    /// What it did.
    pub tally: Tally,
}

/// A project and what it spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectBook {
    /// The project.
    pub record: ProjectRecord,
    /// What it spent.
    pub tally: Tally,
}

/// All that a decision depends on: the rows that one command touches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Books {
    /// Where the journal stands.
    pub head: Head,
    /// What is set aside.
    pub held: Vec<Held>,
    /// The key of the command.
    pub key: Option<KeyBook>,
    /// The project of the command.
    pub project: Option<ProjectBook>,
    /// The open hold of the command's request.
    pub hold: Option<Hold>,
    /// Whether the command's request, or adjustment, is in the journal.
    pub closed: bool,
    /// The idempotency claim that the command names.
    pub claim: Option<Claim>,
    /// The account, where the command is about it.
    pub account: Option<AccountRecord>,
    /// The adjustment with the command's id that was made before.
    pub adjusted: Option<(BucketId, Money)>,
}

impl Books {
    /// The balance of a bucket.
    pub fn balance(&self, bucket: &BucketId) -> Money {
        self.head.balances.get(bucket).copied().unwrap_or_default()
    }

    /// What is set aside of a bucket.
    pub fn held(&self, bucket: &BucketId) -> Money {
        self.held_where(|held| held.bucket == *bucket)
    }

    /// What can still be set aside.
    pub fn available(&self, bucket: &BucketId) -> Money {
        self.balance(bucket).checked_sub(self.held(bucket)).unwrap_or_default()
    }

    /// The sum of holds that match; saturates at the largest amount, which refuses more.
    pub(super) fn held_where(&self, matches: impl Fn(&Held) -> bool) -> Money {
        self.held
            .iter()
            .filter(|held| matches(held))
            .fold(Money::ZERO, |sum, held| sum.checked_add(held.amount).unwrap_or(Money::MAX))
    }

    /// Appends a row to the journal; errors when the balance would leave its range or fall below zero.
    pub(super) fn append(
        &mut self,
        at: Timestamp,
        journaled: Journaled,
        change: Option<(&BucketId, Money)>,
    ) -> Result<Event, BelowZero> {
        if let Some((bucket, amount)) = change {
            let after = self.balance(bucket).checked_add(amount).filter(|after| !after.is_negative()).ok_or(BelowZero)?;
            self.head.balances.insert(bucket.clone(), after);
        }
        self.head.seq = self.head.seq.saturating_add(1);
        Ok(Event::Journaled(Box::new(Row {
            seq: self.head.seq,
            at,
            bucket: change.map(|(bucket, _)| bucket.clone()),
            amount: change.map(|(_, amount)| amount),
            balances: self.head.balances.clone(),
            journaled,
        })))
    }
}

/// A change would take a balance below zero, or beyond what can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BelowZero;

/// What a journal row is about.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Journaled {
    /// A closed request; with an amount it is a charge.
    Receipt(Box<Receipt>),
    /// A credit or debit by the operator.
    Adjustment(AdjustmentRecord),
    /// The account was opened.
    Account(AccountRecord),
    /// A project was made or changed.
    Project(ProjectRecord),
    /// A key was made, changed or revoked.
    Key(Box<KeyRecord>),
}

/// The kind of a journal row, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Kind {
    Receipt,
    Adjustment,
    Account,
    Project,
    Key,
}

impl Kind {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Adjustment => "adjustment",
            Self::Account => "account",
            Self::Project => "project",
            Self::Key => "key",
        }
    }
}

impl Journaled {
    /// The kind of the row.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Receipt(_) => Kind::Receipt,
            Self::Adjustment(_) => Kind::Adjustment,
            Self::Account(_) => Kind::Account,
            Self::Project(_) => Kind::Project,
            Self::Key(_) => Kind::Key,
        }
    }

    /// What makes the row the only one of its kind: the request or the adjustment.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Receipt(receipt) => Some(receipt.id.as_str()),
            Self::Adjustment(adjustment) => Some(&adjustment.id),
            Self::Account(_) | Self::Project(_) | Self::Key(_) => None,
        }
    }

    /// The key that caused it.
    pub fn key(&self) -> Option<&KeyId> {
        match self {
            Self::Receipt(receipt) => Some(&receipt.key),
            _ => None,
        }
    }
}

/// One immutable row of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its number; the first is 1.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The bucket that it changes.
    pub bucket: Option<BucketId>,
    /// By how much; below zero is a charge.
    pub amount: Option<Money>,
    /// Every balance after it.
    pub balances: Balances,
    /// What it is about.
    pub journaled: Journaled,
}

/// One change of what is stored. Applied in order, all or none.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A hold is open; it replaces the request's earlier one.
    Opened(Box<Hold>),
    /// An open hold lives on, with what was relayed so far.
    Extended {
        /// Whose.
        request: RequestId,
        /// Until when.
        deadline: Timestamp,
        /// What was relayed.
        checkpoint: Box<Checkpoint>,
    },
    /// A hold left Open.
    Closed(RequestId),
    /// A row was appended to the journal.
    Journaled(Box<Row>),
    /// The account's own record.
    AccountStored(AccountRecord),
    /// A project's record, and what it spent.
    ProjectStored(ProjectRecord, Tally),
    /// A key's record, and what it did.
    KeyStored(Box<KeyRecord>, Tally),
    /// What a key did.
    KeyTallied(KeyId, Tally),
    /// What a project spent.
    ProjectTallied(ProjectId, Tally),
    /// An idempotency key was taken, or its answer became known.
    Claimed(Claim),
    /// An idempotency key is free again.
    Unclaimed(String),
}
