//! What is loaded for one command, and what a decision changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::act::{Act, Noted};
use super::budget::Alert;
use super::hold::{Checkpoint, Claim, Hold};
use super::kept::KeptAnswer;
use super::late::{Correction, Expired};
use super::manage::{AccountRecord, AdjustmentRecord, ProjectRecord};
use super::order::Order;
use super::receipt::Receipt;
use super::refund::{DebtPayment, Redemption, Refund, TopUp};
use super::run::{RunBook, RunRecord};
use super::session::Ended;
use super::tally::Tally;
use crate::id::{BucketId, KeyId, ProjectId, RequestId, RunId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::time::Timestamp;

/// The balance of every bucket.
pub type Balances = BTreeMap<BucketId, Money>;

/// The newest journal row's number, and the balances and debts after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// Rows are numbered from 1 without a gap; 0 is before the first.
    pub seq: u64,
    /// When it was decided.
    #[serde(default)]
    pub at: Timestamp,
    /// The balances.
    pub balances: Balances,
    /// What is owed: refunds that were larger than what was left.
    #[serde(default)]
    pub debts: Balances,
}

/// Open holds of one key and run on one bucket, summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: KeyId,
    /// Its project.
    pub project: ProjectId,
    /// The run.
    pub run: Option<RunId>,
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
    /// The run of the command.
    pub run: Option<RunBook>,
    /// The open hold of the command's request.
    pub hold: Option<Hold>,
    /// Whether what the command is about - a request, an adjustment, a refund, a code - is in the journal.
    pub closed: bool,
    /// The idempotency claim that the command names.
    pub claim: Option<Claim>,
    /// The account, where the command is about it.
    pub account: Option<AccountRecord>,
    /// The adjustment with the command's id that was made before.
    pub adjusted: Option<(BucketId, Money)>,
    /// How many orders are pending or in review.
    pub open_orders: u32,
    /// The order of the command.
    pub order: Option<Order>,
    /// How the command's request ended, where its hold expired and nothing corrected that since.
    pub expired: Option<Expired>,
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

    /// The time of a decision: never before the newest row, nor before the hold that it is about was granted, so that no clock
    /// that is set back starts a period again.
    pub(super) fn time(&self, now: Timestamp) -> Timestamp {
        let granted = self.hold.as_ref().map(|hold| hold.opened_at).unwrap_or_default();
        now.max(self.head.at).max(granted)
    }

    /// What is owed to a bucket.
    pub fn debt(&self, bucket: &BucketId) -> Money {
        self.head.debts.get(bucket).copied().unwrap_or_default()
    }

    /// Notes what is owed to a bucket from now on.
    pub(super) fn owe(&mut self, bucket: &BucketId, debt: Money) {
        if debt.is_positive() {
            self.head.debts.insert(bucket.clone(), debt);
        } else {
            self.head.debts.remove(bucket);
        }
    }

    /// What a debt can be paid with is paid at once: nothing that is owed can be spent.
    pub(super) fn collect(&mut self, bucket: &BucketId, now: Timestamp) -> Option<Event> {
        let paid = self.debt(bucket).min(self.available(bucket));
        if !paid.is_positive() {
            return None;
        }
        let left = self.debt(bucket).checked_sub(paid).unwrap_or_default();
        self.owe(bucket, left);
        // What is available is covered by the balance, so this cannot fail.
        self.append(now, Journaled::DebtPayment(DebtPayment::new(left)), Some((bucket, paid.negated()))).ok()
    }

    /// From here on as if this hold were gone.
    pub(super) fn release(&mut self, hold: &Hold) {
        let is_own = |held: &&mut Held| {
            held.bucket == hold.bucket && held.key == hold.key && held.project == hold.project && held.run == hold.facts.run
        };
        for held in self.held.iter_mut().filter(is_own) {
            held.amount = held.amount.checked_sub(hold.amount).unwrap_or_default();
            held.count = held.count.saturating_sub(1);
            held.tokens = held.tokens.saturating_sub(hold.tokens);
        }
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
        let at = self.time(at);
        self.head.at = at;
        self.head.seq = self.head.seq.saturating_add(1);
        Ok(Event::Journaled(Box::new(Row {
            seq: self.head.seq,
            at,
            bucket: change.map(|(bucket, _)| bucket.clone()),
            amount: change.map(|(_, amount)| amount),
            balances: self.head.balances.clone(),
            debts: self.head.debts.clone(),
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
    Account(Noted<AccountRecord>),
    /// A project was made or changed.
    Project(Noted<ProjectRecord>),
    /// A key was made, changed or revoked.
    Key(Box<Noted<KeyRecord>>),
    /// A settlement came after its hold had expired.
    Correction(Box<Correction>),
    /// An order was made, or a message about it came.
    Order(Box<Order>),
    /// An order was paid.
    TopUp(TopUp),
    /// A payment was given back, in part or whole.
    Refund(Box<Refund>),
    /// A redeem code was used.
    Redemption(Redemption),
    /// A debt was paid with what became available.
    DebtPayment(DebtPayment),
    /// A run was opened.
    Run(RunRecord),
    /// A budget reached a level.
    Alert(Box<Alert>),
    /// The operator did something that is about no account.
    Act(Box<Act>),
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
    Correction,
    Order,
    TopUp,
    Refund,
    Redemption,
    DebtPayment,
    Run,
    Alert,
    Catalog,
    Code,
    Probe,
    Token,
    Session,
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
            Self::Correction => "correction",
            Self::Order => "order",
            Self::TopUp => "top_up",
            Self::Refund => "refund",
            Self::Redemption => "redemption",
            Self::DebtPayment => "debt_payment",
            Self::Run => "run",
            Self::Alert => "alert",
            Self::Catalog => "catalog",
            Self::Code => "code",
            Self::Probe => "probe",
            Self::Token => "token",
            Self::Session => "session",
        }
    }
}

impl Journaled {
    /// The kind of the row.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Act(act) => act.row_kind(),
            Self::Receipt(_) => Kind::Receipt,
            Self::Adjustment(_) => Kind::Adjustment,
            Self::Account(_) => Kind::Account,
            Self::Project(_) => Kind::Project,
            Self::Key(_) => Kind::Key,
            Self::Correction(_) => Kind::Correction,
            Self::Order(_) => Kind::Order,
            Self::TopUp(_) => Kind::TopUp,
            Self::Refund(_) => Kind::Refund,
            Self::Redemption(_) => Kind::Redemption,
            Self::DebtPayment(_) => Kind::DebtPayment,
            Self::Run(_) => Kind::Run,
            Self::Alert(_) => Kind::Alert,
        }
    }

    /// What makes the row the only one of its kind: what must not happen twice has a subject.
    pub fn subject(&self) -> Option<String> {
        match self {
            Self::Receipt(receipt) => Some(receipt.id.to_string()),
            Self::Adjustment(adjustment) => Some(adjustment.id.clone()),
            Self::Correction(correction) => Some(format!("{}/correction", correction.id)),
            Self::TopUp(top_up) => Some(top_up.order.to_string()),
            Self::Refund(refund) => Some(refund.id.clone()),
            Self::Redemption(redemption) => Some(redemption.subject()),
            Self::Account(_)
            | Self::Project(_)
            | Self::Key(_)
            | Self::Order(_)
            | Self::DebtPayment(_)
            | Self::Run(_)
            | Self::Act(_)
            | Self::Alert(_) => None,
        }
    }

    /// The key that caused it.
    pub fn key(&self) -> Option<&KeyId> {
        match self {
            Self::Receipt(receipt) => Some(&receipt.key),
            Self::Correction(correction) => Some(&correction.key),
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
    /// What is owed after it.
    pub debts: Balances,
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
    /// A run, and what its requests came to.
    RunStored(Box<RunBook>),
    /// An order as it stands now.
    OrderStored(Box<Order>),
    /// The alert in this journal row is to be sent.
    Alerted(u64),
    /// An idempotency key was taken, or its answer became known.
    Claimed(Claim),
    /// An idempotency key is free again.
    Unclaimed(String),
    /// An answer is kept, so that it can be referred to.
    Kept(Box<KeptAnswer>),
    /// Answers up to this journal row are no longer kept.
    Forgotten(u64),
    /// Sessions were ended.
    SessionsEnded(Ended),
}
