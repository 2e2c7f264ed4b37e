//! Refunds on the operator's word, and redeem codes.
//!
//! What always holds: no refund takes a balance below zero. What was used already is refused, or becomes a debt; the same refund or
//! code a second time changes nothing.

use super::record::{Event, IfUsed, Journaled, Order, OrderRefund, OrderState, Redemption, RefundRequest};
use super::refusal::{out_of_range, unknown_order};
use super::state::AccountState;
use super::true_up::{Attribution, true_up_as};
use crate::id::BucketId;
use crate::money::Money;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// Refunds an order on the operator's word. The same id a second time changes nothing.
pub fn refund(mut state: AccountState, request: RefundRequest, now: Timestamp) -> Result<(Order, Vec<Event>), Refusal> {
    let Some(mut order) = state.order.take() else { return Err(unknown_order()) };
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
    let available = state.available(&order.bucket);
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
    let said = Attribution { reason: &reason, author: &author, on_behalf_of: on_behalf_of.as_deref(), note: note.as_deref() };
    let mut events = true_up_as(&mut state, &mut order, (id, "admin", said), now);
    events.extend(state.store_order(&order, now));
    Ok((order, events))
}

/// Credits a redeem code; the same code a second time changes nothing.
pub fn redeem(
    mut state: AccountState,
    (redemption, bucket, amount): (Redemption, BucketId, Money),
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    if state.closed {
        return Ok(Vec::new());
    }
    let row = state.append(now, Journaled::Redemption(redemption), Some((&bucket, amount))).map_err(|_| out_of_range())?;
    let mut events = vec![row];
    events.extend(state.collect(&bucket, now));
    Ok(events)
}
