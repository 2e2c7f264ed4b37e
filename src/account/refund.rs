//! What changes a balance besides requests: paid orders, refunds and reversals, redeem codes, and debts.
//!
//! What always holds: no refund takes a balance below zero. What was used already is refused, or becomes a debt that is
//! visible and that whatever comes in pays first.

use serde::{Deserialize, Serialize};

use super::books::{Books, Event, Journaled};
use super::order::{Order, OrderRefund, OrderState, square_as};
use super::receipt::entry_id;
use crate::id::{BucketId, OrderId};
use crate::money::Money;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// A paid order in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUp {
    /// The order.
    pub order: OrderId,
    /// Why it was credited.
    pub reason: String,
    /// Who said that it is paid.
    pub author: String,
    /// For whom, as the client says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What the customer is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A redeem code, as an account is told to credit it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// The SHA-256 of the code, in hex.
    pub hash: String,
    /// The code's id, which is no secret.
    pub id: String,
    /// Why the code was given out.
    pub reason: String,
    /// By whom.
    pub author: String,
    /// For whom, as the client says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What the customer is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Redemption {
    /// What makes a second use impossible.
    pub fn subject(&self) -> String {
        format!("code-{}", self.hash)
    }
}

/// A debt was paid, in part or whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebtPayment {
    /// Why.
    pub reason: String,
    /// What is still owed.
    pub debt_after: Money,
}

impl DebtPayment {
    pub(super) fn new(debt_after: Money) -> Self {
        Self { reason: "A refund was larger than what was left; what comes in pays it first.".to_owned(), debt_after }
    }
}

/// What happens with the part of a refund that the balance does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfUsed {
    /// The refund is refused.
    #[default]
    Block,
    /// It becomes a debt.
    Debt,
}

/// A payment that is to be given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundRequest {
    /// Equal ids are one refund.
    pub id: String,
    /// Of which order.
    pub order: OrderId,
    /// How much.
    pub amount: Money,
    /// What happens if it was used already.
    pub if_used: IfUsed,
    /// Why.
    pub reason: String,
    /// By whom.
    pub author: String,
    /// For whom, as the client says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What the customer is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A refund or reversal in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Its id.
    pub id: String,
    /// The order whose money went back.
    pub order: OrderId,
    /// What that order had brought.
    pub order_amount: Money,
    /// How much went back; below zero it was credited again.
    pub amount: Money,
    /// What was already given back of the order before.
    pub refunded_before: Money,
    /// How much of what was left of the order had been used already.
    pub already_used: Money,
    /// What was taken from the balance.
    pub taken: Money,
    /// What became a debt.
    pub debt: Money,
    /// What is owed after it.
    pub debt_after: Money,
    /// `webhook` or `admin`.
    pub source: String,
    /// Why.
    pub reason: String,
    /// By whom.
    pub author: String,
    /// For whom, as the client says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What the customer is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Credits an order, once: the ledger has its id as subject.
pub(super) fn credit_order(
    books: &mut Books,
    order: &mut Order,
    amount: Money,
    said: Said<'_>,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let Owned { reason, author, on_behalf_of, note } = said.owned();
    let top_up = TopUp { order: order.id.clone(), reason, author, on_behalf_of, note };
    let row = books.append(now, Journaled::TopUp(top_up), Some((&order.bucket, amount))).map_err(|_| out_of_range())?;
    order.state = OrderState::Paid;
    order.amount = amount;
    order.paid_at = Some(now);
    order.entry = Some(entry_id(books.head.seq));
    let mut events = vec![row];
    events.extend(books.collect(&order.bucket, now));
    Ok(events)
}

/// Why something is booked, who says so, and what the customer is told of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
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

impl<'a> Said<'a> {
    /// What a provider's message says.
    pub(super) const fn by_stripe(reason: &'a str) -> Self {
        Self { reason, author: "stripe", on_behalf_of: None, note: None }
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

/// Id and source of a refund, and what is said of it.
pub(super) type Why<'a> = (String, &'a str, Said<'a>);

/// Takes back what an order brought: from what is available, the rest becomes a debt.
pub(super) fn take_back(
    books: &mut Books,
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
    let available = books.available(&bucket).max(Money::ZERO);
    let taken = amount.min(available);
    let debt = amount.checked_sub(taken).unwrap_or_default();
    let debt_after = books.debt(&bucket).checked_add(debt).unwrap_or(Money::MAX);
    books.owe(&bucket, debt_after);
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
    books.append(now, Journaled::Refund(Box::new(refund)), Some((&bucket, taken.negated()))).ok()
}

/// Credits again what had been taken back. Debts are paid first.
pub(super) fn credit_again(
    books: &mut Books,
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
        debt_after: books.debt(&order.bucket),
        source: source.to_owned(),
        reason,
        author,
        on_behalf_of,
        note,
    };
    // What the balance cannot hold stays taken back, and is credited with the next message or refund that finds room.
    let Ok(row) = books.append(now, Journaled::Refund(Box::new(refund)), Some((&order.bucket, amount))) else {
        return Vec::new();
    };
    order.refunded = order.refunded.checked_sub(amount).unwrap_or_default();
    let mut events = vec![row];
    events.extend(books.collect(&order.bucket, now));
    events
}

/// Refunds an order on the operator's word. The same id a second time changes nothing.
pub fn refund(mut books: Books, request: RefundRequest, now: Timestamp) -> Result<(Order, Vec<Event>), Refusal> {
    let Some(mut order) = books.order.take() else { return Err(unknown_order()) };
    if let Some(known) = order.refunds.iter().find(|known| known.id == request.id) {
        let message = "This `Idempotency-Key` was used for another refund of this order.";
        let refusal = Refusal::new(Code::IdempotencyMismatch, message, "Use a new `Idempotency-Key` for a new refund.");
        return if known.amount == request.amount { Ok((order, Vec::new())) } else { Err(refusal) };
    }
    if order.state != OrderState::Paid {
        return Err(Refusal::new(Code::Conflict, "Only a paid order can be refunded.", "Look at the order's state."));
    }
    let rest = order.amount.checked_sub(order.refunded).unwrap_or_default();
    if !request.amount.is_positive() || request.amount > rest {
        let message = format!("Of this order {rest} can still be refunded, {} was asked for.", request.amount);
        return Err(Refusal::invalid("amount", message).fact("refundable", rest.to_string()));
    }
    let available = books.available(&order.bucket);
    if request.if_used == IfUsed::Block && request.amount > available {
        let message = format!(
            "The refund is {}, but only {available} of `{}` is left and not set aside; the rest was used already.",
            request.amount, order.bucket
        );
        let next_step = "Refund less, wait for open requests to end, or send `\"if_used\": \"debt\"` to make the rest a debt that new top-ups pay first.";
        let refusal = Refusal::new(Code::Conflict, message, next_step).param("amount");
        return Err(refusal.fact("available", available.to_string()).fact("refundable", rest.to_string()));
    }
    let RefundRequest { id, amount, reason, author, on_behalf_of, note, .. } = request;
    order.refunds.push(OrderRefund { id: id.clone(), amount, note: note.clone() });
    order.given_back = order.given_back.checked_add(amount).unwrap_or(Money::MAX);
    let said = Said { reason: &reason, author: &author, on_behalf_of: on_behalf_of.as_deref(), note: note.as_deref() };
    let mut events = square_as(&mut books, &mut order, (id, "admin", said), now);
    events.extend(super::order::stored(&mut books, &order, now));
    Ok((order, events))
}

/// Credits a redeem code; the same code a second time changes nothing.
pub fn redeem(
    mut books: Books,
    (redemption, bucket, amount): (Redemption, BucketId, Money),
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    if books.closed {
        return Ok(Vec::new());
    }
    let row = books.append(now, Journaled::Redemption(redemption), Some((&bucket, amount))).map_err(|_| out_of_range())?;
    let mut events = vec![row];
    events.extend(books.collect(&bucket, now));
    Ok(events)
}

pub(super) fn unknown_order() -> Refusal {
    Refusal::new(Code::NotFound, "This account has no such order.", "List the account's top-ups.").param("id")
}

fn out_of_range() -> Refusal {
    Refusal::invalid("amount", "The balance would leave the range that is counted exactly.")
}
