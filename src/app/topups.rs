//! Top-ups: orders of the holders of keys, judged and refunded by operators. And the messages of payment providers.

use serde::{Deserialize, Serialize};

use super::accounts::{check_buckets, must_exist};
use super::ask::{self, command_for_order, flush};
use super::page::{Page, Part};
use super::principal::{Principal, Signature};
use super::text::{name, note};
use super::use_case::UseCase;
use crate::account::{
    By, Command, Delivery, Dispute, HandedOver, IfUsed, Order, OrderRefund, OrderState, PaymentEvent, Provider, RefundRequest,
    Review,
};
use crate::catalog::UpstreamHosts;
use crate::id::{AccountId, BucketId, KeyId, OrderId, sha256_hex};
use crate::money::Money;
use crate::payment::{Message, PaymentProvider, Stripe};
use crate::ports::{Accounts, Payments, Runtime, Settings, Sold};
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// How long a pending order lives, in milliseconds. Stripe's pages live for half an hour at least.
const ORDER_MS: i64 = 35 * 60 * 1000;
/// So long after a message it may still be about an order that the searchable copy does not have, in milliseconds.
const SETTLING_MS: u64 = 600_000;
/// The states of orders, as in JSON.
const STATES: [&str; 5] = ["pending", "in_review", "paid", "expired", "failed"];

/// What is to be added to a balance.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// To which balance.
    pub bucket: BucketId,
    /// How much.
    pub amount: Money,
    /// Who takes the money.
    #[serde(default)]
    pub provider: Option<Provider>,
    /// What stands on the transfer.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub reference: Option<String>,
}

/// An order as its account's owner reads it: what the operator writes for himself, and what the gateway needs, is not in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Order"))]
pub struct OwnOrder {
    /// Its id.
    pub id: OrderId,
    /// Whose.
    pub account: AccountId,
    /// The key that made it.
    pub key: KeyId,
    /// Which balance.
    pub bucket: BucketId,
    /// How much, in `currency`.
    pub amount: Money,
    /// The bucket's, such as `USD`.
    pub currency: String,
    /// Who takes the money.
    pub provider: Provider,
    /// Where it stands.
    pub state: OrderState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a pending one ends by itself.
    pub expires_at: Option<Timestamp>,
    /// What stands on the transfer.
    pub reference: Option<String>,
    /// The provider's session.
    pub session: Option<String>,
    /// Where the customer pays, while it can be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The provider's payment, once it is known.
    pub payment: Option<String>,
    /// Why it is in review, or failed, where the gateway says so itself.
    pub reason: Option<String>,
    /// What the operator says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was credited.
    pub paid_at: Option<Timestamp>,
    /// The ledger entry that credited it.
    pub entry: Option<String>,
    /// What was given back of it, debts included.
    pub refunded: Money,
    /// What was refunded in all, disputes aside.
    pub given_back: Money,
    /// The refunds.
    pub refunds: Vec<OrderRefund>,
    /// Payments that the bank took back.
    pub disputes: Vec<Dispute>,
    /// What there is to do.
    pub next_step: &'static str,
}

impl From<Order> for OwnOrder {
    fn from(order: Order) -> Self {
        let next_step = next_step(&order);
        // What an operator decided is put into words for operators; the rest the gateway has said.
        let reason = order.reason.filter(|_| order.author.is_none());
        Self {
            id: order.id,
            account: order.account,
            key: order.key,
            bucket: order.bucket,
            amount: order.amount,
            currency: order.currency,
            provider: order.provider,
            state: order.state,
            created_at: order.created_at,
            expires_at: order.expires_at,
            reference: order.reference,
            session: order.session,
            url: order.url.filter(|_| order.state == OrderState::Pending),
            payment: order.payment,
            reason,
            note: order.note,
            paid_at: order.paid_at,
            entry: order.entry,
            refunded: order.refunded,
            given_back: order.given_back,
            refunds: order.refunds,
            disputes: order.disputes,
            next_step,
        }
    }
}

const fn next_step(order: &Order) -> &'static str {
    match (order.state, order.provider) {
        (OrderState::Pending, _) if order.url.is_none() => "Send the same request again in a few seconds for the page to pay on.",
        (OrderState::Pending, _) => "Pay at `url` before `expires_at`; the balance follows within seconds.",
        (OrderState::InReview, _) => "The operator approves or rejects it; the balance follows then.",
        (OrderState::Paid, _) => "Nothing; the ledger has the entry.",
        (_, Provider::Manual) => "Order again with a new `Idempotency-Key`, or ask the operator.",
        (_, Provider::Stripe) => {
            "Order again with a new `Idempotency-Key`. If it was paid after all, the payment still counts when the provider tells of it."
        }
    }
}

/// Orders an addition to a balance. The same idempotency key of the same key again is the same order.
pub async fn order<P: Runtime + Accounts + Payments + Settings + Sold>(
    ports: &P,
    who: &Principal,
    idempotency: Option<&str>,
    new: NewOrder,
) -> Result<OwnOrder, Refusal> {
    let holder = who.holder(UseCase::PlaceOrder)?;
    let catalog = ports.catalog().await?;
    check_buckets(ports, [&new.bucket].into_iter()).await?;
    let currency = catalog.buckets.get(&new.bucket).map(|bucket| bucket.currency.to_ascii_uppercase()).unwrap_or_default();
    if !new.amount.is_positive() {
        return Err(Refusal::invalid("amount", "`amount` must be above nothing."));
    }
    let stripe_key = ports.setting("STRIPE_SECRET_KEY");
    let provider = new.provider.unwrap_or(if stripe_key.is_some() { Provider::Stripe } else { Provider::Manual });
    if provider == Provider::Stripe && stripe_key.is_none() {
        let message = "This gateway takes no card payments.";
        let next_step = "Send `\"provider\": \"manual\"` and pay by transfer, or ask the operator.";
        return Err(Refusal::new(Code::InvalidRequest, message, next_step).param("provider"));
    }
    let (now, is_manual) = (ports.now(), provider == Provider::Manual);
    let key = &holder.key.id;
    let order = Order {
        id: OrderId::new(now, ports.random()),
        account: holder.account().clone(),
        key: key.clone(),
        bucket: new.bucket,
        amount: new.amount,
        currency,
        provider,
        state: if is_manual { OrderState::InReview } else { OrderState::Pending },
        created_at: now,
        expires_at: (!is_manual).then(|| now.plus(ORDER_MS)),
        request_key: idempotency.map(|text| sha256_hex(&[key.as_str().as_bytes(), b"\n", text.as_bytes()])),
        reference: new.reference.map(|text| name("reference", text)).transpose()?,
        session: None,
        url: None,
        payment: None,
        reason: is_manual.then(|| "The operator looks for the transfer.".to_owned()),
        author: None,
        on_behalf_of: None,
        note: None,
        paid_at: None,
        entry: None,
        refunded: Money::ZERO,
        given_back: Money::ZERO,
        refunds: Vec::new(),
        disputes: Vec::new(),
        deliveries: Vec::new(),
    };
    let return_url = if is_manual { String::new() } else { return_url(ports)? };
    if !is_manual {
        // What the provider would not take is not ordered.
        Stripe.checkout(&order, &return_url)?;
    }
    let placed = command_for_order(ports, holder.account(), Command::Place(Box::new(order))).await?;
    let placed = match stripe_key {
        Some(key) if placed.state == OrderState::Pending && placed.session.is_none() => {
            page(ports, placed, &return_url, &key).await?
        }
        _ => placed,
    };
    if is_manual {
        flush(ports, holder.account()).await;
    }
    Ok(placed.into())
}

/// Where customers come back to from the provider's page: what the operator set, and never what a request names as its host.
fn return_url<P: Settings>(ports: &P) -> Result<String, Refusal> {
    let set = ports.setting("TOPUP_RETURN_URL").map(|text| text.trim().to_owned());
    let is_fit = |text: &str| {
        let is_allowed = |scheme: &str| scheme == "https" || scheme == "http" && ports.hosts() == UpstreamHosts::Any;
        url::Url::parse(text).is_ok_and(|url| is_allowed(url.scheme()) && url.has_host() && url.username().is_empty())
    };
    let why = match set {
        Some(text) if is_fit(&text) => return Ok(text),
        Some(_) => "TOPUP_RETURN_URL is not a full https address",
        None => "TOPUP_RETURN_URL is not set",
    };
    let message = "This gateway takes no card payments at the moment: its operator has not said where customers come back to.";
    let next_step = "Send `\"provider\": \"manual\"` and pay by transfer, or tell the operator that TOPUP_RETURN_URL is missing.";
    let refusal = Refusal::new(Code::InvalidRequest, message, next_step).param("provider");
    Err(Refusal { detail: Some(format!("top-ups by card are off: {why}")), ..refusal })
}

/// Asks the provider for the page of an order. Asked twice, also at once, it is the same page.
async fn page<P: Runtime + Accounts + Payments>(ports: &P, order: Order, return_url: &str, key: &str) -> Result<Order, Refusal> {
    let checkout = Stripe.checkout(&order, return_url)?;
    let mut answered = ports.checkout(&checkout, key).await;
    for pause_ms in [500, 1_500, 3_000] {
        // Another call for the same order is under way there.
        if !matches!(answered, Ok((409, _))) {
            break;
        }
        ports.sleep(pause_ms).await;
        answered = ports.checkout(&checkout, key).await;
    }
    let opened = match answered {
        // That call will say what became of it.
        Ok((409, _)) => return Ok(order),
        answered => answered.and_then(|(status, body)| Stripe.opened(status, body.as_bytes())),
    };
    let opened = match opened {
        Ok(session) => HandedOver::Session { id: session.id, url: session.url },
        Err(detail) => {
            ports.log(&format!("{}: {detail}", order.id));
            HandedOver::Failed { reason: "The payment provider did not open a page. Nothing was paid.".to_owned() }
        }
    };
    command_for_order(ports, &order.account, Command::Opened(order.id.clone(), opened)).await
}

/// One order of the own account.
pub async fn own<P: Accounts>(ports: &P, who: &Principal, id: &str) -> Result<OwnOrder, Refusal> {
    let holder = who.holder(UseCase::ShowOrder)?;
    Ok(stored(ports, holder.account(), id).await?.into())
}

/// One order, whole.
pub async fn show<P: Accounts>(ports: &P, who: &Principal, account: &AccountId, id: &str) -> Result<Order, Refusal> {
    who.operator(UseCase::ShowOrderOf)?;
    stored(ports, account, id).await
}

async fn stored<P: Accounts>(ports: &P, account: &AccountId, id: &str) -> Result<Order, Refusal> {
    let unknown = || Refusal::new(Code::NotFound, "This account has no such order.", "List the top-ups.").param("id");
    let id = OrderId::parse(id).ok_or_else(unknown)?;
    ask::order(ports, account, id).await?.ok_or_else(unknown)
}

/// Orders of the own account, newest first.
pub async fn list_own<P: Accounts>(ports: &P, who: &Principal, part: Part) -> Result<Page<OwnOrder>, Refusal> {
    let holder = who.holder(UseCase::ListOrders)?;
    Ok(orders(ports, holder.account(), part).await?.map(OwnOrder::from))
}

/// Orders of an account, newest first, whole.
pub async fn list<P: Accounts>(ports: &P, who: &Principal, account: &AccountId, part: Part) -> Result<Page<Order>, Refusal> {
    who.operator(UseCase::ListOrdersOf)?;
    must_exist(ports, account).await?;
    orders(ports, account, part).await
}

async fn orders<P: Accounts>(ports: &P, account: &AccountId, part: Part) -> Result<Page<Order>, Refusal> {
    let orders = ask::orders(ports, account, part.after, part.limit).await?;
    Ok(Page::of(orders, part.limit, |order| order.id.to_string()))
}

/// Orders of all accounts in one state, newest first.
pub async fn list_all<P: Payments>(ports: &P, who: &Principal, state: &str, part: Part) -> Result<Page<Order>, Refusal> {
    who.operator(UseCase::ListAllOrders)?;
    if !STATES.contains(&state) {
        return Err(Refusal::invalid("state", format!("`state` must be one of: {}.", STATES.join(", "))));
    }
    let orders = ports.orders(state, part.after.as_deref(), part.limit).await?;
    Ok(Page::of(orders, part.limit, |order| order.id.to_string()))
}

/// What an operator says of an order in review.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Verdict"))]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// How much is credited, where another amount arrived than was ordered.
    pub amount: Option<Money>,
    /// Why; for operators alone.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub reason: String,
    /// For whom it is done; the author is the name of the token.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub author: Option<String>,
    /// What the customer is told.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NOTE)))]
    pub note: Option<String>,
}

/// Approves or rejects an order.
pub async fn judge<P: Runtime + Accounts>(
    ports: &P,
    who: &Principal,
    (account, order, is_approved): (&AccountId, &str, bool),
    said: Judgement,
) -> Result<Order, Refusal> {
    let operator = who.operator(if is_approved { UseCase::ApproveOrder } else { UseCase::RejectOrder })?;
    let By { author, on_behalf_of, .. } = Signature { author: said.author, reason: None }.by(operator)?;
    let (reason, note) = (name("reason", said.reason)?, note(said.note)?);
    let verdict = Review { is_approved, amount: said.amount, reason, author, on_behalf_of, note };
    let order = command_for_order(ports, account, Command::Verdict(order_id(order)?, verdict)).await?;
    flush(ports, account).await;
    Ok(order)
}

fn order_id(text: &str) -> Result<OrderId, Refusal> {
    OrderId::parse(text).ok_or_else(|| Refusal::invalid("id", "The order's id has characters that no id has."))
}

/// What was given back of an order.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRefund {
    /// How much.
    pub amount: Money,
    /// Why; for operators alone.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub reason: String,
    /// For whom it is done; the author is the name of the token.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub author: Option<String>,
    /// What the customer is told.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NOTE)))]
    pub note: Option<String>,
    /// What happens with what the balance does not cover.
    #[serde(default)]
    pub if_used: IfUsed,
}

/// Records that a payment was given back. The same idempotency key again is the same refund.
pub async fn refund<P: Runtime + Accounts>(
    ports: &P,
    who: &Principal,
    (account, order, idempotency): (&AccountId, &str, Option<&str>),
    new: NewRefund,
) -> Result<Order, Refusal> {
    let operator = who.operator(UseCase::RefundOrder)?;
    let id = idempotency.map_or_else(
        || format!("refund-{:032x}", ports.random()),
        |text| format!("refund-key-{}", sha256_hex(&[order.as_bytes(), b"\n", text.as_bytes()])),
    );
    let By { author, on_behalf_of, .. } = Signature { author: new.author, reason: None }.by(operator)?;
    let (reason, note) = (name("reason", new.reason)?, note(new.note)?);
    let (amount, if_used) = (new.amount, new.if_used);
    let request = RefundRequest { id, order: order_id(order)?, amount, if_used, reason, author, on_behalf_of, note };
    let order = command_for_order(ports, account, Command::Refund(request)).await?;
    flush(ports, account).await;
    Ok(order)
}

/// What became of a payment provider's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Received {
    /// It need not be sent again.
    pub received: bool,
    /// The order that it was about, and where that stands now.
    #[serde(flatten)]
    pub about: Option<About>,
    /// What it did.
    pub effect: String,
}

/// What a message was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PaymentAbout"))]
pub struct About {
    /// The order.
    pub order: OrderId,
    /// Where it stands now.
    pub state: OrderState,
    /// How often it came.
    pub times: u32,
}

/// Takes a message of the payment provider's whose signature was verified. Again is the same.
pub async fn take_message<P: Runtime + Accounts + Payments>(ports: &P, message: Message) -> Result<Received, Refusal> {
    let found = match message {
        Message::About { account, event } => Some((account, event)),
        Message::OfPayment { payment, at, event } => {
            let found = ports.order_of_payment(&payment).await?;
            if found.is_none() && ports.now().since(at) < SETTLING_MS {
                // The order may be on its way to where it is looked for; the provider sends the message again.
                let refusal = Refusal::new(Code::Unavailable, "This payment is not known yet.", "Send the message again.");
                return Err(refusal.retry_after(60));
            }
            found.map(|(account, order)| (account, event.for_order(order)))
        }
        Message::Ignored { .. } => None,
    };
    match found {
        Some((account, event)) => delivered(ports, &account, event).await,
        None => Ok(Received { received: true, about: None, effect: "ignored".to_owned() }),
    }
}

async fn delivered<P: Runtime + Accounts>(ports: &P, account: &AccountId, event: PaymentEvent) -> Result<Received, Refusal> {
    let id = event.id.clone();
    match command_for_order(ports, account, Command::Pay(Box::new(event))).await {
        Ok(Order { id: order, state, deliveries, .. }) => {
            let delivery = deliveries.into_iter().find(|delivery| delivery.id == id);
            let (times, effect) = delivery.map_or((1, String::new()), |Delivery { times, effect, .. }| (times, effect));
            if effect.starts_with("refused") {
                ports.log(&format!("{order}: {id} {effect}"));
            }
            flush(ports, account).await;
            Ok(Received { received: true, about: Some(About { order, state, times }), effect })
        }
        // Said again it would still be nobody's.
        Err(refusal) if refusal.code == Code::NotFound => {
            ports.log(&format!("{id}: there is no such order in account {account}"));
            Ok(Received { received: true, about: None, effect: "ignored: there is no such order".to_owned() })
        }
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(more: &[(&str, Value)]) -> Value {
        let mut order = json!({"id": "o", "account": "a", "key": "k", "bucket": "credit", "amount": "1", "currency": "USD",
            "provider": "manual", "state": "paid", "created_at": "2026-11-22T16:33:44Z", "expires_at": null,
            "reason": "MARK", "author": "MARK", "on_behalf_of": "MARK", "request_key": "MARK", "url": "https://pay.example",
            "deliveries": [{"id": "MARK", "kind": "MARK", "at": "2026-11-22T16:33:44Z", "times": 1, "effect": "MARK"}],
            "note": "Welcome", "refunds": [{"id": "r", "amount": "1", "note": "Sorry"}]});
        for (name, value) in more {
            order[*name] = value.clone();
        }
        let order: Order = serde_json::from_str(&order.to_string()).unwrap();
        serde_json::to_value(OwnOrder::from(order)).unwrap()
    }

    #[test]
    fn what_an_operator_writes_for_operators_is_not_shown_and_the_note_is() {
        let shown = shown(&[]);
        assert!(!shown.to_string().contains("MARK"), "{shown}");
        assert_eq!((&shown["note"], &shown["refunds"][0]["note"]), (&json!("Welcome"), &json!("Sorry")));
        assert_eq!(shown.get("url"), None, "there is nothing to pay any more");
    }

    #[test]
    fn what_the_gateway_says_itself_is_told_and_what_there_is_to_do() {
        let reason = json!("The operator looks for the transfer.");
        let waiting = shown(&[("state", json!("in_review")), ("reason", reason.clone()), ("author", Value::Null)]);
        assert_eq!(waiting["reason"], reason);
        for (state, url, next_step) in [
            ("pending", Value::Null, "Send the same request"),
            ("pending", json!("https://pay.example"), "Pay at `url`"),
            ("in_review", Value::Null, "The operator approves"),
            ("paid", Value::Null, "Nothing"),
            ("expired", Value::Null, "Order again"),
        ] {
            let shown = shown(&[("state", json!(state)), ("url", url)]);
            assert!(shown["next_step"].as_str().unwrap().starts_with(next_step), "{shown}");
        }
    }
}
