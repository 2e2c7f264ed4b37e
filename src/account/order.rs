//! Top-ups: an order is pending, then paid, expired, failed, or in review; only paid creates balance.
//!
//! What always holds: an order is credited at most once; a provider's message that comes twice, late or out of order ends in the
//! same state, and is noted on the order.

use super::record::{Delivery, Dispute, Event, HandedOver, Order, OrderState, PaymentChange, PaymentEvent, Provider, Review};
use super::refusal::{out_of_range, unknown_order};
use super::state::AccountState;
use super::true_up::{Attribution, credit_order, true_up};
use crate::money::Money;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// An account has no more orders than these that are neither paid nor ended.
const MOST_OPEN_ORDERS: u32 = 20;

/// Makes an order. The same request key a second time answers the order that there is, if it is about the same.
pub fn place(mut state: AccountState, order: Order, now: Timestamp) -> Result<(Order, Vec<Event>), Refusal> {
    if let Some(known) = state.order.take() {
        // The operator may have credited another amount than was ordered.
        let is_amount = known.amount == order.amount || known.author.is_some();
        let is_same = is_amount
            && (&known.bucket, known.provider) == (&order.bucket, order.provider)
            && (&known.key, &known.reference) == (&order.key, &order.reference);
        let message = "This `Idempotency-Key` was used for another order.";
        let refusal = Refusal::new(Code::IdempotencyMismatch, message, "Use a new `Idempotency-Key` for a new order.");
        return if is_same { Ok((known, Vec::new())) } else { Err(refusal) };
    }
    if state.balance(&order.bucket).checked_add(order.amount).is_none() {
        return Err(out_of_range());
    }
    if state.open_orders >= MOST_OPEN_ORDERS {
        let message = format!("{MOST_OPEN_ORDERS} orders of this account wait for their payment or its review.");
        let next_step = "Pay one of them, or wait until they expire or are reviewed.";
        return Err(Refusal::new(Code::RateLimitExceeded, message, next_step).limit("account").retry_after(600));
    }
    let events = state.store_order(&order, now);
    Ok((order, events))
}

/// Notes what the provider said when the order was handed to it.
pub fn opened(mut state: AccountState, answer: HandedOver, now: Timestamp) -> Result<(Order, Vec<Event>), Refusal> {
    let Some(mut order) = state.order.take() else { return Err(unknown_order()) };
    if order.state != OrderState::Pending || order.session.is_some() {
        return Ok((order, Vec::new()));
    }
    match answer {
        HandedOver::Session { id, url } => (order.session, order.url) = (Some(id), Some(url)),
        HandedOver::Failed { reason } => (order.state, order.reason) = (OrderState::Failed, Some(reason)),
    }
    let events = state.store_order(&order, now);
    Ok((order, events))
}

/// Ends a pending order whose time is over.
pub fn expire_order(mut state: AccountState, now: Timestamp) -> Vec<Event> {
    let is_due = |order: &Order| order.state == OrderState::Pending && order.expires_at.is_some_and(|end| end <= now);
    let Some(mut order) = state.order.take().filter(is_due) else { return Vec::new() };
    order.state = OrderState::Expired;
    order.reason = Some("It was not paid in time.".to_owned());
    state.store_order(&order, now)
}

/// Approves or rejects an order in review. The same verdict a second time changes nothing.
pub fn review(mut state: AccountState, verdict: Review, now: Timestamp) -> Result<(Order, Vec<Event>), Refusal> {
    let Some(mut order) = state.order.take() else { return Err(unknown_order()) };
    let is_repeated = matches!((order.state, verdict.is_approved), (OrderState::Paid, true) | (OrderState::Failed, false))
        && verdict.amount.is_none_or(|amount| amount == order.amount);
    let said = (order.author.as_ref(), order.on_behalf_of.as_ref(), order.reason.as_ref(), order.note.as_ref());
    let says = (Some(&verdict.author), verdict.on_behalf_of.as_ref(), Some(&verdict.reason), verdict.note.as_ref());
    if is_repeated && said == says {
        return Ok((order, Vec::new()));
    }
    if order.state != OrderState::InReview {
        let message = "Only an order in review can be approved or rejected.";
        return Err(Refusal::new(Code::Conflict, message, "Look at the order's state."));
    }
    let mut events = Vec::new();
    if verdict.is_approved {
        // A card payment is in review because something else was paid than was ordered.
        let is_known = verdict.amount.is_some() || order.provider == Provider::Manual;
        let amount = verdict.amount.unwrap_or(order.amount);
        if !is_known || !amount.is_positive() {
            let message = "`amount` must be what is to be credited, above nothing.";
            return Err(Refusal::invalid("amount", message).fact("why", order.reason.clone()));
        }
        let Review { reason, author, on_behalf_of, note, .. } = &verdict;
        let why = Attribution { reason, author, on_behalf_of: on_behalf_of.as_deref(), note: note.as_deref() };
        events.extend(credit_order(&mut state, &mut order, amount, why, now)?);
        events.extend(true_up(&mut state, &mut order, "The payment was taken back before it was approved.", now));
    } else {
        order.state = OrderState::Failed;
    }
    (order.reason, order.author, order.note) = (Some(verdict.reason), Some(verdict.author), verdict.note);
    order.on_behalf_of = verdict.on_behalf_of;
    events.extend(state.store_order(&order, now));
    Ok((order, events))
}

/// Takes a provider's verified message. Whatever comes of it, the order tells of the message.
pub fn pay(mut state: AccountState, event: PaymentEvent, now: Timestamp) -> Result<(Order, Vec<Event>), Refusal> {
    let Some(mut order) = state.order.take() else { return Err(unknown_order()) };
    let mut events = Vec::new();
    if let Some(known) = order.deliveries.iter_mut().find(|known| known.id == event.id) {
        known.times = known.times.saturating_add(1);
    } else {
        let (effect, changed) = match foreign(&order, &event) {
            Some(refused) => (refused, Vec::new()),
            None => change(&mut state, &mut order, &event, now),
        };
        events = changed;
        order.deliveries.push(Delivery { id: event.id, kind: event.kind, at: now, times: 1, effect });
    }
    events.extend(state.store_order(&order, now));
    Ok((order, events))
}

/// Why a message cannot be about this order.
fn foreign(order: &Order, event: &PaymentEvent) -> Option<String> {
    if order.provider != event.provider {
        return Some("refused: the order belongs to another provider".to_owned());
    }
    let differs = |known: &Option<String>, named: &Option<String>| known.is_some() && named.is_some() && known != named;
    if differs(&order.session, &event.session) {
        return Some("refused: the order has another session".to_owned());
    }
    differs(&order.payment, &event.payment).then(|| "refused: the order has another payment".to_owned())
}

fn change(state: &mut AccountState, order: &mut Order, event: &PaymentEvent, now: Timestamp) -> (String, Vec<Event>) {
    if order.payment.is_none() {
        order.payment.clone_from(&event.payment);
    }
    let nothing = |effect: &str| (effect.to_owned(), Vec::new());
    let is_paid = order.state == OrderState::Paid;
    match &event.change {
        PaymentChange::Paid { .. } if is_paid => nothing("none: it was paid already"),
        PaymentChange::Paid { amount, currency } => {
            let is_rejected = order.state == OrderState::Failed && order.author.is_some();
            let doubt = if *amount != order.amount || *currency != order.currency {
                Some(format!("{amount} {currency} was paid, {} {} was ordered.", order.amount, order.currency))
            } else if is_rejected {
                Some("It was paid after it had been rejected.".to_owned())
            } else {
                None
            };
            let reason = format!("Order {} was paid.", order.id);
            let credited = match doubt {
                None => {
                    let said = Attribution::by(order.provider, &reason);
                    credit_order(state, order, *amount, said, now).map_err(|refusal| refusal.message)
                }
                Some(doubt) => Err(doubt),
            };
            match credited {
                Ok(mut events) => {
                    order.reason = None;
                    events.extend(true_up(state, order, "The payment was taken back before it was known to be there.", now));
                    ("paid".to_owned(), events)
                }
                Err(doubt) => {
                    (order.state, order.reason) = (OrderState::InReview, Some(doubt.clone()));
                    (format!("in review: {doubt}"), Vec::new())
                }
            }
        }
        PaymentChange::Processing => nothing("none: the money is on its way"),
        PaymentChange::Expired if order.state == OrderState::Pending => {
            order.state = OrderState::Expired;
            order.reason = Some("It was not paid in time.".to_owned());
            nothing("expired")
        }
        PaymentChange::Failed { reason } if matches!(order.state, OrderState::Pending | OrderState::Expired) => {
            order.state = OrderState::Failed;
            order.reason = Some(reason.clone());
            nothing("failed")
        }
        PaymentChange::Expired | PaymentChange::Failed { .. } => nothing("none: the order has moved on"),
        PaymentChange::Refunded { currency, .. } | PaymentChange::Disputed { currency, .. } if *currency != order.currency => {
            nothing("refused: another currency")
        }
        PaymentChange::Refunded { total, .. } => {
            order.given_back = order.given_back.max(*total);
            told(state, order, "The payment was refunded at the provider.", now)
        }
        PaymentChange::Disputed { dispute, amount, .. } => {
            if order.disputes.iter().any(|known| known.id == *dispute) {
                return nothing("none: it is known already");
            }
            order.disputes.push(Dispute { id: dispute.clone(), amount: *amount, is_reinstated: false });
            told(state, order, "The customer's bank took the payment back.", now)
        }
        PaymentChange::Reinstated { dispute } => {
            match order.disputes.iter_mut().find(|known| known.id == *dispute) {
                Some(known) => known.is_reinstated = true,
                // Told before it was told of: what comes later is known to be over.
                None => order.disputes.push(Dispute { id: dispute.clone(), amount: Money::ZERO, is_reinstated: true }),
            }
            told(state, order, "The dispute was won.", now)
        }
    }
}

/// Squares an order with what the provider has told of it.
fn told(state: &mut AccountState, order: &mut Order, reason: &str, now: Timestamp) -> (String, Vec<Event>) {
    if order.state != OrderState::Paid {
        return ("noted: it counts as soon as the order is paid".to_owned(), Vec::new());
    }
    let before = order.refunded;
    let events = true_up(state, order, reason, now);
    let effect = match order.refunded.cmp(&before) {
        std::cmp::Ordering::Greater => "taken back",
        std::cmp::Ordering::Less => "credited again",
        std::cmp::Ordering::Equal => "none: it is known already",
    };
    (effect.to_owned(), events)
}
