//! The journal: its rows, and what each is about.
//!
//! What always holds: a row never changes. A row with an amount is a ledger entry, a row with a receipt is a receipt, a charge is
//! both. What must not happen twice has a subject, of which the journal takes one row.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::account::{AccountRecord, ProjectRecord};
use super::act::{Noted, OperatorAct};
use super::adjustment::AdjustmentRecord;
use super::alert::Alert;
use super::correction::Correction;
use super::head::Balances;
use super::kind::RowKind;
use super::order::Order;
use super::receipt::Receipt;
use super::refund::{DebtPayment, Refund};
use super::run::RunRecord;
use super::top_up::{Redemption, TopUp};
use crate::id::{AccountId, BucketId, KeyId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::time::Timestamp;

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
    Act(Box<OperatorAct>),
}

impl Journaled {
    /// The kind of the row.
    pub fn kind(&self) -> RowKind {
        match self {
            Self::Act(act) => act.row_kind(),
            Self::Receipt(_) => RowKind::Receipt,
            Self::Adjustment(_) => RowKind::Adjustment,
            Self::Account(_) => RowKind::Account,
            Self::Project(_) => RowKind::Project,
            Self::Key(_) => RowKind::Key,
            Self::Correction(_) => RowKind::Correction,
            Self::Order(_) => RowKind::Order,
            Self::TopUp(_) => RowKind::TopUp,
            Self::Refund(_) => RowKind::Refund,
            Self::Redemption(_) => RowKind::Redemption,
            Self::DebtPayment(_) => RowKind::DebtPayment,
            Self::Run(_) => RowKind::Run,
            Self::Alert(_) => RowKind::Alert,
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

/// A journal row with its document as it is stored: documents are of every version that there was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredRow {
    /// Whose; the account itself does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// Its number.
    pub seq: u64,
    /// When it was decided, in milliseconds since 1970.
    pub at: i64,
    /// What it is about.
    pub kind: String,
    /// The bucket that it changes.
    pub bucket: Option<BucketId>,
    /// By how many nano-units.
    pub amount: Option<i64>,
    /// Every balance after it.
    pub balances: Balances,
    /// What is owed after it.
    pub debts: Option<Balances>,
    /// What it says; that of a receipt has the `correction` that came after it.
    pub doc: Value,
}

/// The id of the ledger entry in journal row `seq`.
pub fn entry_id(seq: u64) -> String {
    format!("entry-{seq}")
}
