//! Top-ups, for the holder of a key: orders and redeem codes. And the messages of payment providers.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Request, admin, currency, customer, lists, ok, owner, with_status};
use crate::account::{Answer, Command, Opened, Order, OrderState, PaymentEvent, Provider, Query, Redemption};
use crate::body::Arriving;
use crate::catalog::UpstreamHosts;
use crate::id::{AccountId, BucketId, OrderId, sha256_hex};
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::money::Money;
use crate::payment::{Message, PaymentProvider, Stripe};
use crate::ports::{CodeTaken, Records};
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, gate, unavailable};

/// How long a pending order lives, in milliseconds. Stripe's pages live for half an hour at least.
const ORDER_MS: i64 = 35 * 60 * 1000;
const LONGEST_CODE: usize = 100;
/// What a message is signed in, as its refusal names it.
const SIGNATURE: &str = "Stripe-Signature";
/// So long after a message it may still be about an order that the searchable copy does not have, in milliseconds.
const SETTLING_MS: u64 = 600_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    bucket: BucketId,
    amount: Money,
    #[serde(default)]
    provider: Option<Provider>,
    /// What stands on the transfer.
    #[serde(default)]
    reference: Option<String>,
}

/// Answers `POST /v1/topups`.
pub async fn order<P: Records>(
    ports: &P,
    caller: &KeyRecord,
    idempotency: Option<&str>,
    body: impl Arriving,
) -> Result<Reply, Refusal> {
    let new: NewOrder = admin::read(body).await?;
    let catalog = ports.catalog().await.map_err(unavailable)?;
    admin::check_buckets(ports, [&new.bucket].into_iter()).await?;
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
    let order = Order {
        id: OrderId::new(now, ports.random()),
        account: caller.account.clone(),
        key: caller.id.clone(),
        bucket: new.bucket,
        amount: new.amount,
        currency,
        provider,
        state: if is_manual { OrderState::InReview } else { OrderState::Pending },
        created_at: now,
        expires_at: (!is_manual).then(|| now.plus(ORDER_MS)),
        request_key: idempotency.map(|text| sha256_hex(&[caller.id.as_str().as_bytes(), b"\n", text.as_bytes()])),
        reference: new.reference.map(|text| admin::name("reference", text)).transpose()?,
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
    let placed = said(ports, &caller.account, Command::Place(Box::new(order))).await?;
    let placed = match stripe_key {
        Some(key) if placed.state == OrderState::Pending && placed.session.is_none() => {
            page(ports, placed, &return_url, &key).await?
        }
        _ => placed,
    };
    if is_manual {
        admin::flush(ports, &caller.account).await;
    }
    with_status(201, &customer::order(&json!(placed)))
}

/// Where customers come back to from the provider's page: what the operator set, and never what a request names as its host.
fn return_url<P: Records>(ports: &P) -> Result<String, Refusal> {
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
async fn page<P: Records>(ports: &P, order: Order, return_url: &str, key: &str) -> Result<Order, Refusal> {
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
        Ok(session) => Opened::Session { id: session.id, url: session.url },
        Err(detail) => {
            ports.log(&format!("{}: {detail}", order.id));
            Opened::Failed { reason: "The payment provider did not open a page. Nothing was paid.".to_owned() }
        }
    };
    said(ports, &order.account, Command::Opened(order.id.clone(), opened)).await
}

/// Says something about an order, and answers it as it is now.
pub async fn said<P: Records>(ports: &P, account: &AccountId, command: Command) -> Result<Order, Refusal> {
    match admin::command(ports, account, command).await? {
        Answer::Order(order) => Ok(*order),
        other => Err(Refusal::unavailable(format!("an account answered with {}", other.kind()))),
    }
}

/// Answers `GET /v1/topups/{id}`.
pub async fn one<P: Records>(ports: &P, caller: &KeyRecord, id: &str) -> Result<Reply, Refusal> {
    ok(&customer::order(&stored(ports, &caller.account, id).await?))
}

/// An order as it is stored.
pub async fn stored<P: Records>(ports: &P, account: &AccountId, id: &str) -> Result<Value, Refusal> {
    let unknown = || Refusal::new(Code::NotFound, "This account has no such order.", "List the top-ups.").param("id");
    let id = OrderId::parse(id).ok_or_else(unknown)?;
    let row = owner::rows(ports, account, Query::Order(id)).await?.into_iter().next();
    row.map(|(_, row)| row).ok_or_else(unknown)
}

/// Answers `GET /v1/topups`.
pub async fn list<P: Records, B>(ports: &P, account: &AccountId, request: &Request<B>, is_whole: bool) -> Result<Reply, Refusal> {
    let (limit, after) = lists::page(request)?;
    let rows = owner::rows(ports, account, Query::Orders(after, limit)).await?;
    let data: Vec<Value> = rows.into_iter().map(|(_, row)| if is_whole { row } else { customer::order(&row) }).collect();
    let next = lists::next_id(&data, limit);
    ok(&json!({"data": data, "next": next}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedeemRequest {
    code: String,
}

/// Answers `POST /v1/redeem`. The code is taken for the account first, then credited; both may be repeated.
pub async fn redeem<P: Records>(ports: &P, caller: &KeyRecord, body: impl Arriving) -> Result<Reply, Refusal> {
    let RedeemRequest { code } = admin::read(body).await?;
    let guesser = &format!("code {}", caller.account);
    gate::open(ports, Gate::Guess, guesser)?;
    let credited = match code_hash(&code) {
        Some(hash) => credit_code(ports, &caller.account, &hash).await,
        None => Err(unknown_code()),
    };
    let (id, bucket, amount) = match credited {
        Err(refusal) if refusal.code == Code::NotFound => return Err(gate::missed(ports, Gate::Guess, guesser, refusal).await),
        credited => credited?,
    };
    let catalog = ports.catalog().await.map_err(unavailable)?;
    let overview = owner::overview(ports, &caller.account).await?;
    ok(&json!({
        "code": id, "bucket": bucket, "currency": currency::of(&catalog, bucket.as_str()), "amount": amount, "balances": owner::balances(&overview, &catalog),
    }))
}

/// Takes a code for an account and credits it.
async fn credit_code<P: Records>(ports: &P, account: &AccountId, hash: &str) -> Result<(String, BucketId, Money), Refusal> {
    let taken = ports.take_code(hash, account).await.map_err(unavailable)?;
    let CodeTaken { id, bucket, amount, reason, author, on_behalf_of, note } = taken.ok_or_else(unknown_code)?;
    let redemption = Redemption { hash: hash.to_owned(), id: id.clone(), reason, author, on_behalf_of, note };
    admin::command(ports, account, Command::Redeem(redemption, bucket.clone(), amount)).await?;
    if let Err(error) = ports.code_credited(hash).await {
        ports.log(&format!("code {id}: {}", error.0));
    }
    Ok((id, bucket, amount))
}

/// Credits codes that an account has taken but, as far as is known, not got: whoever asked did not ask again. The cron does
/// so each minute.
pub async fn credit_taken_codes<P: Records>(ports: &P) -> Result<(), Refusal> {
    for (account, hash) in ports.uncredited_codes(ports.now().plus(-60_000), 20).await.map_err(unavailable)? {
        if let Err(refusal) = credit_code(ports, &account, &hash).await {
            ports.log(&format!("a code of account {account}: {}", refusal.message));
        }
    }
    Ok(())
}

/// The hash of a code, however it was typed.
pub fn code_hash(code: &str) -> Option<String> {
    if code.len() > LONGEST_CODE {
        return None;
    }
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect();
    (plain.len() >= 16).then(|| sha256_hex(&[b"code:", plain.as_bytes()]))
}

/// One answer for all of it, so that nobody learns which codes there are.
fn unknown_code() -> Refusal {
    let message = "This code is not known, has expired, or was used before.";
    Refusal::new(Code::NotFound, message, "Check that the whole code was copied, or ask who gave it to you.").param("code")
}

/// Answers at `/webhooks/stripe`. Without a secret there is nothing there, whatever is asked.
pub async fn stripe<P: Records>(
    ports: &P,
    (method, signature, address): (&str, Option<&str>, Option<IpAddr>),
    body: impl Arriving,
) -> Result<Reply, Refusal> {
    let Some(secret) = ports.setting("STRIPE_WEBHOOK_SECRET") else {
        return Err(super::nothing_here());
    };
    super::table::check(method, "/webhooks/stripe")?;
    let body = body.await?;
    let message = match Stripe.message(Some(&secret), signature, &body, ports.now()) {
        // What is signed and cannot be read is the provider's.
        Err(refusal) if refusal.param.as_deref() == Some(SIGNATURE) => {
            let guesser = format!("signature {}", gate::by_address(address));
            return Err(gate::missed(ports, Gate::Guess, &guesser, refusal).await);
        }
        Err(refusal) => return Err(refusal),
        Ok(message) => message,
    };
    let found = match message {
        Message::About { account, event } => Some((account, event)),
        Message::OfPayment { payment, at, event } => {
            let found = ports.order_of_payment(&payment).await.map_err(unavailable)?;
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
        None => ok(&json!({"received": true, "effect": "ignored"})),
    }
}

async fn delivered<P: Records>(ports: &P, account: &AccountId, event: PaymentEvent) -> Result<Reply, Refusal> {
    let id = event.id.clone();
    match said(ports, account, Command::Pay(Box::new(event))).await {
        Ok(order) => {
            let delivery = order.deliveries.iter().find(|delivery| delivery.id == id);
            let times = delivery.map_or(1, |delivery| delivery.times);
            let effect = delivery.map(|delivery| delivery.effect.as_str()).unwrap_or_default();
            if effect.starts_with("refused") {
                ports.log(&format!("{}: {id} {effect}", order.id));
            }
            admin::flush(ports, account).await;
            ok(&json!({"received": true, "order": order.id, "state": order.state, "effect": effect, "times": times}))
        }
        // Said again it would still be nobody's.
        Err(refusal) if refusal.code == Code::NotFound => {
            ports.log(&format!("{id}: there is no such order in account {account}"));
            ok(&json!({"received": true, "effect": "ignored: there is no such order"}))
        }
        Err(refusal) => Err(refusal),
    }
}
