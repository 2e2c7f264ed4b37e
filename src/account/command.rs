//! What can be said to an account, and what it answers: the wire between the Worker and the account object.
//!
//! Both may run different versions for some minutes, so fields are only added, and with defaults.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hold::{HoldAnswer, HoldRequest};
use super::manage::{AccountRecord, Adjustment, KeyChange, ProjectRecord};
use super::receipt::{Facts, Outcome};
use super::settle::{Extension, Settlement};
use crate::id::{BucketId, KeyId, RequestId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// Something for an account to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Set an amount aside.
    Hold(Box<HoldRequest>),
    /// End a request.
    Settle(Box<Settlement>),
    /// Let a hold live on.
    Checkpoint(Box<Extension>),
    /// Write the receipt of a request that was refused before any hold.
    RecordRefused(Box<(Facts, Outcome)>),
    /// Open the account.
    Open(AccountRecord),
    /// Make or replace a project.
    PutProject(ProjectRecord),
    /// Make a key.
    PutKey(Box<KeyRecord>),
    /// Change or revoke a key.
    ChangeKey(KeyId, KeyChange),
    /// Credit or debit.
    Adjust(Adjustment),
    /// Copy what is new to the searchable store now.
    Flush,
    /// Tell.
    Read(Query),
}

/// Something for an account to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Itself, its balances and its open holds.
    Overview,
    /// One receipt.
    Receipt(RequestId),
    /// Receipts, newest first.
    Receipts(ReceiptFilter, Page),
    /// Ledger entries, newest first.
    Ledger(LedgerFilter, Page),
    /// What a key spent.
    Key(KeyId),
    /// A key as it is now.
    Record(KeyId),
    /// All keys.
    Keys,
    /// All projects.
    Projects,
}

/// Which receipts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ReceiptFilter {
    pub key: Option<String>,
    pub project: Option<String>,
    pub model: Option<String>,
    pub route: Option<String>,
    pub bucket: Option<String>,
    pub status: Option<String>,
    pub run: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Which ledger entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct LedgerFilter {
    pub bucket: Option<String>,
    pub key: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Which part of a list: at most `limit` rows that come after row `before`, in falling order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Page {
    pub before: Option<u64>,
    pub limit: u32,
}

/// What an account answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To a hold.
    Hold(HoldAnswer),
    /// It is done, or was before.
    Done,
    /// It cannot be done.
    Refused(Refusal),
    /// The key as it is now.
    Key(Box<KeyRecord>),
    /// To [`Query::Overview`].
    Overview(Box<Overview>),
    /// Rows with their numbers, as JSON.
    Rows(Vec<(u64, Value)>),
}

impl Answer {
    /// Which kind of answer, for the log: what it says is the account's own.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hold(_) => "hold",
            Self::Done => "done",
            Self::Refused(_) => "refused",
            Self::Key(_) => "key",
            Self::Overview(_) => "overview",
            Self::Rows(_) => "rows",
        }
    }
}

/// An account with its balances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The account; none if it was never opened.
    pub account: Option<AccountRecord>,
    /// Its balances.
    pub balances: Vec<BalanceView>,
}

/// One balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceView {
    /// The bucket.
    pub bucket: BucketId,
    /// Without any hold.
    pub balance: Money,
    /// What is set aside.
    pub held: Money,
    /// What can still be set aside.
    pub available: Money,
    /// For which requests, and until when.
    pub open_holds: Vec<OpenHold>,
}

/// A hold as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct OpenHold {
    pub request: RequestId,
    pub key: KeyId,
    pub bucket: BucketId,
    pub amount: Money,
    pub opened_at: Timestamp,
    pub deadline: Timestamp,
}
