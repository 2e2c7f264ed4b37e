//! The state: all that a decision depends on, loaded for one command, and how a row of the journal changes it.
//!
//! What always holds: `available = balance - held`; no row takes a balance below zero; time never goes back; what is owed is paid
//! from what is available before anything else can be spent.

use super::record::{
    AccountRecord, Claim, Counters, DebtPayment, Event, Expired, HeldSum, Hold, JournalHead, Journaled, Order, ProjectRecord,
    Row, RunBook,
};
use crate::id::BucketId;
use crate::key::KeyRecord;
use crate::money::Money;
use crate::time::Timestamp;

/// A key and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBook {
    /// The key.
    pub record: KeyRecord,
    /// What it did.
    pub counters: Counters,
}

/// A project and what it spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectBook {
    /// The project.
    pub record: ProjectRecord,
    /// What it spent.
    pub counters: Counters,
}

/// All that a decision depends on: the rows that one command touches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountState {
    /// Where the journal stands.
    pub head: JournalHead,
    /// What is set aside.
    pub held: Vec<HeldSum>,
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

impl AccountState {
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
    pub(super) fn held_where(&self, matches: impl Fn(&HeldSum) -> bool) -> Money {
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
        let is_own = |held: &&mut HeldSum| {
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

    /// The order as it stands now, with a row that tells of the change.
    pub(super) fn store_order(&mut self, order: &Order, now: Timestamp) -> Vec<Event> {
        let mut events = vec![Event::OrderStored(Box::new(order.clone()))];
        // Without a change of balance this cannot fail.
        events.extend(self.append(now, Journaled::Order(Box::new(order.clone())), None));
        events
    }
}

/// A change would take a balance below zero, or beyond what can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BelowZero;
