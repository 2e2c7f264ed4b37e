//! Squaring: what an order brought and what was given back of it agree with what is known.
//!
//! What always holds: an order is credited at most once; what is given back of it is never more than it brought. No squaring takes
//! a balance below zero: what was used already becomes a debt, which is visible and is paid first. Amounts follow from sums, so
//! that messages may come twice and in any order.

use super::record::{Event, Journaled, Order, OrderState, Provider, Refund, TopUp, entry_id};
use super::refusal::out_of_range;
use super::state::AccountState;
use crate::money::Money;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// Id and source of a refund, and what is said of it.
pub(super) type Why<'a> = (String, &'a str, Attribution<'a>);

/// Why something is booked, who says so, and what the customer is told of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribution<'a> {
    pub reason: &'a str,
    pub author: &'a str,
    pub on_behalf_of: Option<&'a str>,
    pub note: Option<&'a str>,
}

/// The same, as a row of the ledger has it.
struct Owned {
    reason: String,
    author: String,
    on_behalf_of: Option<String>,
    note: Option<String>,
}

impl<'a> Attribution<'a> {
    /// What a provider's message says.
    pub(super) const fn by(provider: Provider, reason: &'a str) -> Self {
        Self { reason, author: provider.author(), on_behalf_of: None, note: None }
    }

    fn owned(self) -> Owned {
        Owned {
            reason: self.reason.to_owned(),
            author: self.author.to_owned(),
            on_behalf_of: self.on_behalf_of.map(ToOwned::to_owned),
            note: self.note.map(ToOwned::to_owned),
        }
    }
}

/// Takes back, or credits again, so that what was given back is what is known: refunds and open disputes, and no more than
/// the order brought. From sums, so that messages may come twice and in any order.
pub(super) fn true_up(state: &mut AccountState, order: &mut Order, reason: &str, now: Timestamp) -> Vec<Event> {
    // That nothing is booked twice follows from the sums; the id only has to be new.
    let id = format!("{}/refund-{}", order.id, state.head.seq.saturating_add(1));
    let said = Attribution::by(order.provider, reason);
    true_up_as(state, order, (id, "webhook", said), now)
}

/// The same, in somebody's name.
pub(super) fn true_up_as(state: &mut AccountState, order: &mut Order, why: Why<'_>, now: Timestamp) -> Vec<Event> {
    let open = order.disputes.iter().filter(|dispute| !dispute.is_reinstated);
    let known = open.fold(order.given_back, |sum, dispute| sum.checked_add(dispute.amount).unwrap_or(Money::MAX));
    let due = known.min(order.amount).checked_sub(order.refunded).unwrap_or_default();
    if due.is_positive() {
        take_back(state, order, due, why, now).into_iter().collect()
    } else if due.is_negative() {
        credit_again(state, order, due.negated(), why, now)
    } else {
        Vec::new()
    }
}

/// Credits an order, once: the ledger has its id as subject.
pub(super) fn credit_order(
    state: &mut AccountState,
    order: &mut Order,
    amount: Money,
    said: Attribution<'_>,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let Owned { reason, author, on_behalf_of, note } = said.owned();
    let top_up = TopUp { order: order.id.clone(), reason, author, on_behalf_of, note };
    let row = state.append(now, Journaled::TopUp(top_up), Some((&order.bucket, amount))).map_err(|_| out_of_range())?;
    order.state = OrderState::Paid;
    order.amount = amount;
    order.paid_at = Some(now);
    order.entry = Some(entry_id(state.head.seq));
    let mut events = vec![row];
    events.extend(state.collect(&order.bucket, now));
    Ok(events)
}

/// Takes back what an order brought: from what is available, the rest becomes a debt.
fn take_back(
    state: &mut AccountState,
    order: &mut Order,
    amount: Money,
    (id, source, said): Why<'_>,
    now: Timestamp,
) -> Option<Event> {
    let bucket = order.bucket.clone();
    let Owned { reason, author, on_behalf_of, note } = said.owned();
    let rest = order.amount.checked_sub(order.refunded).unwrap_or_default();
    let amount = amount.min(rest);
    if !amount.is_positive() {
        return None;
    }
    let available = state.available(&bucket).max(Money::ZERO);
    let taken = amount.min(available);
    let debt = amount.checked_sub(taken).unwrap_or_default();
    let debt_after = state.debt(&bucket).checked_add(debt).unwrap_or(Money::MAX);
    state.owe(&bucket, debt_after);
    let refund = Refund {
        id,
        order: order.id.clone(),
        order_amount: order.amount,
        amount,
        refunded_before: order.refunded,
        already_used: rest.checked_sub(available).unwrap_or_default().max(Money::ZERO),
        taken,
        debt,
        debt_after,
        source: source.to_owned(),
        reason,
        author,
        on_behalf_of,
        note,
    };
    order.refunded = order.refunded.checked_add(amount).unwrap_or(order.amount);
    // What is available is covered by the balance, so this cannot fail.
    state.append(now, Journaled::Refund(Box::new(refund)), Some((&bucket, taken.negated()))).ok()
}

/// Credits again what had been taken back. Debts are paid first.
fn credit_again(
    state: &mut AccountState,
    order: &mut Order,
    amount: Money,
    (id, source, said): Why<'_>,
    now: Timestamp,
) -> Vec<Event> {
    let amount = amount.min(order.refunded);
    let Owned { reason, author, on_behalf_of, note } = said.owned();
    let refund = Refund {
        id,
        order: order.id.clone(),
        order_amount: order.amount,
        amount: amount.negated(),
        refunded_before: order.refunded,
        already_used: Money::ZERO,
        taken: amount.negated(),
        debt: Money::ZERO,
        debt_after: state.debt(&order.bucket),
        source: source.to_owned(),
        reason,
        author,
        on_behalf_of,
        note,
    };
    // What the balance cannot hold stays taken back, and is credited with the next message or refund that finds room.
    let Ok(row) = state.append(now, Journaled::Refund(Box::new(refund)), Some((&order.bucket, amount))) else {
        return Vec::new();
    };
    order.refunded = order.refunded.checked_sub(amount).unwrap_or_default();
    let mut events = vec![row];
    events.extend(state.collect(&order.bucket, now));
    events
}
