//! What an account shows of itself, worked out from its state: balances, keys, budgets, runs.
//!
//! What always holds: a view has the fields that are for whoever may see the account, and no others: a field that is new in a
//! record is not shown until it stands here.

use serde::{Deserialize, Serialize};

use super::record::{AccountRecord, Hold, RunBook, RunLine};
use super::state::{AccountState, KeyBook};
use crate::id::{AccountId, BucketId, KeyId, ProjectId, RequestId, RunId};
use crate::key::{Budget, KeyRecord, Policy};
use crate::money::Money;
use crate::time::{Period, Timestamp};

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
    /// What is owed from refunds; what comes in pays it first.
    #[serde(default)]
    pub debt: Money,
    /// For which requests, and until when.
    pub open_holds: Vec<OpenHold>,
}

/// A hold as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OpenHold {
    /// The request that it is for.
    pub request: RequestId,
    /// The key that asked.
    pub key: KeyId,
    /// The balance that it is of.
    pub bucket: BucketId,
    /// The run that the request is a part of.
    #[serde(default)]
    pub run: Option<RunId>,
    /// How much.
    pub amount: Money,
    /// When it was granted.
    pub opened_at: Timestamp,
    /// When it ends by itself.
    pub deadline: Timestamp,
}

/// A key: everything but its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Key"))]
pub struct KeyView {
    /// Its id.
    pub id: KeyId,
    /// Who pays.
    pub account: AccountId,
    /// The project that it belongs to.
    pub project: ProjectId,
    /// What people call it.
    pub label: String,
    /// Raised by every change.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// What it may do.
    pub policy: Policy,
}

/// A budget, and what is left of it in the period that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "BudgetState"))]
pub struct BudgetView {
    /// Whose charges count.
    pub bucket: BucketId,
    /// How long it counts before it starts again.
    pub period: Period,
    /// What may be spent in the period.
    pub limit: Money,
    /// What was spent in it so far.
    pub spent: Money,
    /// What is left; below zero where more was spent.
    pub remaining: Money,
    /// None for a budget that never starts again.
    pub resets_at: Option<Timestamp>,
}

/// A run and what its requests came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RunView {
    #[serde(flatten)]
    pub opened: RunOpened,
    /// What is left of its budgets.
    pub left: Vec<RunBudget>,
    /// What its open requests have set aside.
    pub in_flight: Vec<InFlight>,
    /// Its requests, by model, route, bucket and status.
    pub lines: Vec<RunLine>,
}

/// How a run was opened. One that was only named by its requests has an id and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RunSummary"))]
pub struct RunOpened {
    /// Its id.
    pub id: RunId,
    /// What people call it.
    pub name: Option<String>,
    /// When it was opened.
    pub opened_at: Option<Timestamp>,
    /// The key that opened it.
    pub key: Option<KeyId>,
    /// What it may spend.
    pub budgets: Option<Vec<Budget>>,
}

/// A run's budget, and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunBudget {
    /// Whose charges count.
    pub bucket: BucketId,
    /// What may be spent in all.
    pub limit: Money,
    /// What was spent so far.
    pub spent: Money,
    /// What is left.
    pub remaining: Money,
}

/// What one open request has set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InFlight {
    /// Which.
    pub request: RequestId,
    /// Of this balance.
    pub bucket: BucketId,
    /// How much.
    pub amount: Money,
}

impl From<KeyRecord> for KeyView {
    fn from(record: KeyRecord) -> Self {
        let KeyRecord { id, hash: _, account, project, label, version, created_at, revoked_at, policy } = record;
        Self { id, account, project, label, version, created_at, revoked_at, policy }
    }
}

impl KeyBook {
    /// What is left of the key's budgets.
    pub fn budgets(&self, now: Timestamp) -> Vec<BudgetView> {
        let view = |budget: &Budget| {
            let Budget { bucket, period, limit } = budget.clone();
            let spent = self.counters.spent(&bucket, period, now);
            let remaining = limit.checked_sub(spent).unwrap_or_default();
            BudgetView { bucket, period, limit, spent, remaining, resets_at: period.end(now) }
        };
        self.record.policy.budgets.iter().map(view).collect()
    }
}

impl Overview {
    /// Of this state, with every open hold.
    pub fn new(account: Option<AccountRecord>, state: &AccountState, holds: &[Hold]) -> Self {
        let of_holds = holds.iter().map(|hold| &hold.bucket);
        let mut buckets: Vec<&BucketId> = state.head.balances.keys().chain(state.head.debts.keys()).chain(of_holds).collect();
        buckets.sort();
        buckets.dedup();
        let view = |bucket: &BucketId| BalanceView {
            bucket: bucket.clone(),
            balance: state.balance(bucket),
            held: state.held(bucket),
            available: state.available(bucket),
            debt: state.debt(bucket),
            open_holds: holds.iter().filter(|hold| hold.bucket == *bucket).map(OpenHold::of).collect(),
        };
        Self { account, balances: buckets.into_iter().map(view).collect() }
    }
}

impl OpenHold {
    fn of(hold: &Hold) -> Self {
        Self {
            request: hold.request.clone(),
            key: hold.key.clone(),
            bucket: hold.bucket.clone(),
            run: hold.facts.run.clone(),
            amount: hold.amount,
            opened_at: hold.opened_at,
            deadline: hold.deadline,
        }
    }
}

impl RunView {
    /// Of a run, with the holds of its open requests.
    pub fn new(book: RunBook, in_flight: Vec<InFlight>, now: Timestamp) -> Self {
        let left = |budget: &Budget| {
            let Budget { bucket, limit, .. } = budget.clone();
            let spent = book.counters.spent(&bucket, Period::Total, now);
            let remaining = limit.checked_sub(spent).unwrap_or_default().max(Money::ZERO);
            RunBudget { bucket, limit, spent, remaining }
        };
        let left = book.record.iter().flat_map(|record| &record.budgets).map(left).collect();
        Self { opened: RunOpened::of(&book), left, in_flight, lines: book.lines }
    }
}

impl RunOpened {
    /// How this run was opened.
    pub fn of(book: &RunBook) -> Self {
        let record = book.record.as_ref();
        Self {
            id: book.id.clone(),
            name: record.and_then(|record| record.name.clone()),
            opened_at: record.map(|record| record.created_at),
            key: record.map(|record| record.key.clone()),
            budgets: record.map(|record| record.budgets.clone()),
        }
    }
}
