//! Stripe Checkout: the request for a page, the signature of webhooks, the events that we read.
//!
//! Stripe counts in a currency's smallest unit, as it defines it: <https://docs.stripe.com/currencies>.

use serde_json::Value;
use subtle::ConstantTimeEq;
use url::{Url, form_urlencoded};

use super::{Checkout, CheckoutPage, Message, PartialEvent, PaymentProvider};
use crate::account::{Order, PaymentChange, Provider};
use crate::id::{AccountId, OrderId};
use crate::money::Money;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use crate::webhook::mac;

/// The header with the signature of a message.
pub const SIGNATURE_HEADER: &str = "Stripe-Signature";
/// How far the time of a signature may be from ours, before or after.
const TOLERANCE_MS: u64 = 300_000;
/// Of an error's text in the log, in characters.
const LONGEST_ERROR: usize = 500;

const NANOS_PER_UNIT: i64 = 1_000_000_000;
/// Currencies whose smallest unit is the unit.
const NO_DECIMALS: [&str; 15] =
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
/// Currencies without decimals that Stripe still counts in hundredths: 5 UGX are sent as 500, and 501 is an error.
const WHOLE_HUNDREDTHS: [&str; 2] = ["ISK", "UGX"];
/// Currencies with three decimals, of which Stripe takes two only.
const THREE_DECIMALS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// Stripe Checkout.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stripe;

impl PaymentProvider for Stripe {
    fn checkout(&self, order: &Order, return_url: &str) -> Result<Checkout, Refusal> {
        let (id, account) = (order.id.as_str(), order.account.as_str());
        let amount = to_minor(order.amount, &order.currency)?.to_string();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs([
            ("mode", "payment"),
            ("client_reference_id", id),
            ("metadata[account]", account),
            ("metadata[order]", id),
            // Stripe copies the payment's metadata to its charges, and so refunds name their order.
            ("payment_intent_data[metadata][account]", account),
            ("payment_intent_data[metadata][order]", id),
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", &order.currency.to_ascii_lowercase()),
            ("line_items[0][price_data][unit_amount]", &amount),
            ("line_items[0][price_data][product_data][name]", &format!("Balance: {}", order.bucket)),
            ("success_url", &back(return_url, id, "paid")?),
            ("cancel_url", &back(return_url, id, "cancelled")?),
        ]);
        if let Some(end) = order.expires_at {
            form.append_pair("expires_at", &end.millis().div_euclid(1000).to_string());
        }
        Ok(Checkout { path: "/v1/checkout/sessions", body: form.finish(), idempotency_key: id.to_owned() })
    }

    fn opened(&self, status: u16, body: &[u8]) -> Result<CheckoutPage, String> {
        let answer: Value = serde_json::from_str(&String::from_utf8_lossy(body)).unwrap_or_default();
        let text = |name| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        if (200..300).contains(&status)
            && let (Some(id), Some(url)) = (text("id"), text("url"))
        {
            return Ok(CheckoutPage { id, url });
        }
        let message = answer.pointer("/error/message").and_then(Value::as_str).unwrap_or("no session and no error message");
        Err(format!("Stripe answered {status}: {}", without_keys(message)))
    }

    fn message(&self, secret: Option<&str>, signature: Option<&str>, body: &[u8], now: Timestamp) -> Result<Message, Refusal> {
        verify(secret, signature, body, now)?;
        read(body)
    }
}

/// Where the customer comes back to, with what became of which order.
fn back(return_url: &str, order: &str, result: &str) -> Result<String, Refusal> {
    let url = Url::parse(return_url).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
    let mut url =
        url.ok_or_else(|| Refusal::invalid("return_url", "`return_url` must be a full address that begins with https."))?;
    url.query_pairs_mut().append_pair("topup", order).append_pair("result", result);
    Ok(url.into())
}

/// An error's text, in which Stripe may repeat parts of a key.
fn without_keys(message: &str) -> String {
    let is_key = |word: &str| ["sk_", "rk_", "pk_", "whsec_"].iter().any(|prefix| word.contains(prefix));
    let words: Vec<&str> = message.split_whitespace().map(|word| if is_key(word) { "(key)" } else { word }).collect();
    words.join(" ").chars().take(LONGEST_ERROR).collect()
}

/// Nano-units in the smallest unit of a currency, given in capitals.
fn nanos_per_minor(currency: &str) -> i64 {
    match currency {
        _ if NO_DECIMALS.contains(&currency) => NANOS_PER_UNIT,
        _ if THREE_DECIMALS.contains(&currency) => 1_000_000,
        _ => 10_000_000,
    }
}

/// An amount to be charged, in smallest units.
fn to_minor(amount: Money, currency: &str) -> Result<i64, Refusal> {
    let currency = currency.to_ascii_uppercase();
    if THREE_DECIMALS.contains(&currency.as_str()) {
        let message = format!("Amounts in {currency}, which has three decimals, cannot be paid by Stripe here.");
        return Err(Refusal::new(Code::InvalidRequest, message, "Choose another way to pay.").param("provider"));
    }
    let minor = nanos_per_minor(&currency);
    let step = if WHOLE_HUNDREDTHS.contains(&currency.as_str()) { NANOS_PER_UNIT } else { minor };
    if !amount.is_positive() || amount.nanos().checked_rem(step) != Some(0) {
        let step = Money::from_nanos(step).unwrap_or_default();
        return Err(Refusal::invalid("amount", format!("The amount must be above zero, in steps of {step} {currency}.")));
    }
    amount.nanos().checked_div(minor).ok_or_else(|| Refusal::invalid("amount", "The amount is out of range."))
}

/// An amount that Stripe names, in smallest units; none if it is out of range.
fn from_minor(minor: i64, currency: &str) -> Option<Money> {
    Money::from_nanos(minor.checked_mul(nanos_per_minor(currency))?).ok()
}

/// Whether Stripe signed these very bytes a moment ago. Any one of several signatures counts: there are two while the secret
/// is being replaced.
fn verify(secret: Option<&str>, signature: Option<&str>, body: &[u8], now: Timestamp) -> Result<(), Refusal> {
    let nothing =
        || Refusal::new(Code::NotFound, "There is nothing at this path.", "See the list of endpoints in GET /openapi.json.");
    let wrong = |message: &str, next_step: &str| Refusal::new(Code::InvalidRequest, message, next_step).param(SIGNATURE_HEADER);

    let secret = secret.filter(|secret| !secret.trim().is_empty()).ok_or_else(nothing)?;
    let header = signature.ok_or_else(|| {
        wrong("The message is not signed.", "Check that Stripe sent it, and that nothing on its way removes the header.")
    })?;
    let fields = || header.split(',').filter_map(|field| field.trim().split_once('='));
    let time = fields().find(|(name, _)| *name == "t").map_or("", |(_, time)| time);
    let signatures: Vec<&str> = fields().filter(|(name, _)| *name == "v1").map(|(_, text)| text).collect();
    let seconds: Option<i64> = time.parse().ok();
    let (Some(seconds), false) = (seconds, signatures.is_empty()) else {
        return Err(wrong(
            "The signature has no readable `t` and `v1`.",
            "Check that Stripe sent the message, and that nothing on its way changes the header.",
        ));
    };

    let expected = mac(secret, time, body).ok_or_else(nothing)?;
    if !signatures.iter().any(|given| bool::from(given.as_bytes().ct_eq(expected.as_bytes()))) {
        return Err(wrong(
            "The signature does not fit the message.",
            "Check that the signing secret is that of this very endpoint, and that nothing on the way changes the body.",
        ));
    }
    if now.millis().abs_diff(seconds.saturating_mul(1000)) > TOLERANCE_MS {
        return Err(wrong(
            "The signature is not of the last five minutes.",
            "Check the clock. A message that waited has to be sent again by Stripe, which signs it anew.",
        ));
    }
    Ok(())
}

/// Why an event of a kind that we read cannot be read.
enum Fault {
    /// This field is missing or has another form.
    Field(&'static str),
    /// The amount in this field is above what an order can have.
    TooMuch(&'static str),
}

fn unreadable(kind: &str, fault: &Fault) -> Refusal {
    let message = match fault {
        Fault::Field(name) => format!("The event `{kind}` has no readable `{name}`."),
        Fault::TooMuch(name) => format!("The event `{kind}` has a `{name}` above what an order can have."),
    };
    let next_step = "Check that the endpoint sends snapshot events in an API version that has this field, then send it again.";
    Refusal::new(Code::InvalidRequest, message, next_step)
}

type Reader = fn(&Value) -> Result<PaymentChange, Fault>;

/// What reads the change from an event's object; none for events that are nothing for us.
fn reader(kind: &str) -> Option<Reader> {
    Some(match kind {
        "checkout.session.completed" => completed,
        "checkout.session.async_payment_succeeded" => paid,
        "checkout.session.async_payment_failed" => {
            |_| Ok(PaymentChange::Failed { reason: "The payment did not go through.".into() })
        }
        "checkout.session.expired" => |_| Ok(PaymentChange::Expired),
        "charge.refunded" => refunded,
        "charge.dispute.funds_withdrawn" => disputed,
        "charge.dispute.funds_reinstated" => |dispute| Ok(PaymentChange::Reinstated { dispute: text(dispute, "id")?.to_owned() }),
        _ => return None,
    })
}

/// Reads a verified event.
fn read(body: &[u8]) -> Result<Message, Refusal> {
    let event: Value = serde_json::from_str(&String::from_utf8_lossy(body)).map_err(|error| {
        let next_step = "Check that the endpoint's address is registered with Stripe and nowhere else.";
        Refusal::new(Code::InvalidRequest, format!("The event is not JSON: {error}."), next_step)
    })?;
    let kind = text(&event, "type").map_err(|fault| unreadable("(unknown)", &fault))?;
    let refuse = |fault| unreadable(kind, &fault);
    let ignored = Ok(Message::Ignored { kind: kind.to_owned() });
    let Some(read_change) = reader(kind) else { return ignored };

    let id = text(&event, "id").map_err(refuse)?.to_owned();
    let object = event.pointer("/data/object").filter(|object| object.is_object());
    let object = object.ok_or_else(|| refuse(Fault::Field("data.object")))?;
    let (owner, is_session) = (owner(object), kind.starts_with("checkout.session."));
    if is_session && owner.is_none() {
        return ignored;
    }
    let change = match read_change(object) {
        // Another integration on the same Stripe account may take more than any order of ours.
        Err(Fault::TooMuch(_)) if owner.is_none() => return ignored,
        change => change.map_err(refuse)?,
    };
    let session = is_session.then(|| text(object, "id").map(str::to_owned)).transpose().map_err(refuse)?;
    let intent = object.get("payment_intent");
    let payment = intent.and_then(|intent| intent.as_str().or_else(|| text(intent, "id").ok()));
    let payment = payment.filter(|payment| !payment.is_empty()).map(str::to_owned);
    let (kind, provider) = (kind.to_owned(), Provider::Stripe);
    let created = event.get("created").and_then(Value::as_i64).unwrap_or(0);
    let at = Timestamp::from_millis(created.saturating_mul(1000));
    let event = PartialEvent { id, kind, provider, session, payment: payment.clone(), change };
    match (owner, payment) {
        (Some((account, order)), _) => Ok(Message::About { account, event: event.for_order(order) }),
        (None, Some(payment)) => Ok(Message::OfPayment { payment, at, event }),
        // Pages of ours always make a payment intent, so this charge is another integration's.
        (None, None) if intent.is_some_and(Value::is_null) => ignored,
        (None, None) => Err(refuse(Fault::Field("payment_intent"))),
    }
}

/// The order that the object is about, by the metadata that we gave it.
fn owner(object: &Value) -> Option<(AccountId, OrderId)> {
    let metadata = object.get("metadata")?;
    let text = |name| metadata.get(name).and_then(Value::as_str);
    Some((AccountId::parse(text("account")?)?, OrderId::parse(text("order")?)?))
}

fn completed(session: &Value) -> Result<PaymentChange, Fault> {
    match text(session, "payment_status")? {
        "paid" | "no_payment_required" => paid(session),
        "unpaid" => Ok(PaymentChange::Processing),
        _ => Err(Fault::Field("payment_status")),
    }
}

fn paid(session: &Value) -> Result<PaymentChange, Fault> {
    let (amount, currency) = amount(session, "amount_total")?;
    Ok(PaymentChange::Paid { amount, currency })
}

fn refunded(charge: &Value) -> Result<PaymentChange, Fault> {
    let (total, currency) = amount(charge, "amount_refunded")?;
    Ok(PaymentChange::Refunded { total, currency })
}

fn disputed(dispute: &Value) -> Result<PaymentChange, Fault> {
    let (amount, currency) = amount(dispute, "amount")?;
    Ok(PaymentChange::Disputed { dispute: text(dispute, "id")?.to_owned(), amount, currency })
}

fn text<'a>(object: &'a Value, name: &'static str) -> Result<&'a str, Fault> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or(Fault::Field(name))
}

fn amount(object: &Value, name: &'static str) -> Result<(Money, String), Fault> {
    let currency = text(object, "currency")?.to_ascii_uppercase();
    let minor = object.get(name).and_then(Value::as_i64).filter(|minor| *minor > 0).ok_or(Fault::Field(name))?;
    let amount = from_minor(minor, &currency).ok_or(Fault::TooMuch(name))?;
    Ok((amount, currency))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;
    use crate::account::PaymentEvent;
    use crate::id::BucketId;
    use proptest::prelude::*;
    use serde_json::json;

    const SECRET: &str = "whsec_test_secret";
    const SIGNED_AT: i64 = 1_790_000_000;
    const BODY: &str = r#"{"id":"evt_1","type":"customer.created"}"#;
    /// By OpenSSL, over the time, a point and the body:
    /// `printf '%s' '1790000000.{"id":"evt_1","type":"customer.created"}' | openssl dgst -sha256 -hmac whsec_test_secret`
    const BY_OPENSSL: &str = "218f2bc29a0bdb5a26788bdf9d5ee82a14887cb3dfb249cbf49fe6143a6bd11d";
    /// Any other signature.
    const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_millis((SIGNED_AT + seconds) * 1000)
    }

    fn receive(header: &str, body: &str, now: Timestamp) -> Result<Message, Refusal> {
        Stripe.message(Some(SECRET), Some(header), body.as_bytes(), now)
    }

    /// Whether the signature was refused, with a next step and without a hint at the right one.
    fn is_refused(answer: Result<Message, Refusal>) -> bool {
        let Err(refusal) = answer else { return false };
        let told = serde_json::to_string(&refusal).unwrap();
        assert!(!told.contains(BY_OPENSSL) && !told.contains("whsec"), "{told}");
        refusal.code == Code::InvalidRequest
            && refusal.param.as_deref() == Some(SIGNATURE_HEADER)
            && !refusal.next_step.is_empty()
    }

    /// The header that Stripe would send now.
    fn sign(secret: &str, body: &[u8]) -> String {
        format!("t={SIGNED_AT},v1={}", mac(secret, &SIGNED_AT.to_string(), body).unwrap())
    }

    /// What is read of an event with this object.
    fn event(kind: &str, object: Value) -> Result<Message, Refusal> {
        let body = json!({"id": "evt_7", "object": "event", "type": kind, "data": {"object": object}}).to_string();
        receive(&sign(SECRET, body.as_bytes()), &body, after(1))
    }

    fn ours() -> Value {
        json!({"account": "acct-1", "order": "order-1"})
    }

    fn session(status: &str, amount: i64, currency: &str) -> Value {
        json!({
            "id": "cs_1", "object": "checkout.session", "payment_intent": "pi_1", "payment_status": status,
            "amount_total": amount, "currency": currency, "metadata": ours(),
        })
    }

    /// The event about our order, after a check of everything but its session, payment and change.
    fn about(answer: Result<Message, Refusal>) -> PaymentEvent {
        let Ok(Message::About { account, event }) = answer else { panic!("{answer:?}") };
        assert_eq!((account.as_str(), event.order.as_str(), event.id.as_str()), ("acct-1", "order-1", "evt_7"));
        assert_eq!(event.provider, Provider::Stripe);
        event
    }

    fn money(text: &str) -> Money {
        Money::parse(text).unwrap()
    }

    fn order(amount: &str, currency: &str) -> Order {
        serde_json::from_value(json!({
            "id": "order-1", "account": "acct-1", "key": "key-1", "bucket": "credit", "amount": amount, "currency": currency,
            "provider": "stripe", "state": "pending", "created_at": "2026-11-22T13:20:07Z",
            "expires_at": "2026-11-22T14:20:07.900Z",
        }))
        .unwrap()
    }

    #[test]
    fn the_published_scheme_is_verified() {
        let answer = receive(&format!("t={SIGNED_AT},v1={BY_OPENSSL},v0={OTHER}"), BODY, after(1));
        assert_eq!(answer, Ok(Message::Ignored { kind: "customer.created".into() }));
        assert_eq!(sign(SECRET, BODY.as_bytes()), format!("t={SIGNED_AT},v1={BY_OPENSSL}"));
    }

    #[test]
    fn a_changed_body_is_refused() {
        let header = format!("t={SIGNED_AT},v1={BY_OPENSSL}");
        for body in [BODY.replace("evt_1", "evt_2"), format!("{BODY} "), format!(" {BODY}"), String::new()] {
            assert!(is_refused(receive(&header, &body, after(1))), "{body:?}");
        }
    }

    #[test]
    fn a_changed_time_is_refused() {
        for time in ["1790000001", "+1790000000", "01790000000", " 1790000000", "1790000000.", ""] {
            assert!(is_refused(receive(&format!("t={time},v1={BY_OPENSSL}"), BODY, after(1))), "{time:?}");
        }
    }

    #[test]
    fn one_of_several_signatures_is_enough() {
        for signatures in
            [format!("v1={OTHER},v1={BY_OPENSSL}"), format!("v1={BY_OPENSSL},v1={OTHER}"), format!("v1=zz, v1={BY_OPENSSL},v2")]
        {
            assert!(receive(&format!("t={SIGNED_AT},{signatures}"), BODY, after(1)).is_ok(), "{signatures}");
        }
        assert!(is_refused(receive(&format!("t={SIGNED_AT},v1={OTHER},v1={OTHER}"), BODY, after(1))));
    }

    #[test]
    fn a_signature_of_another_scheme_is_none() {
        for scheme in ["v0", "v2", "V1", "v10", "v"] {
            assert!(is_refused(receive(&format!("t={SIGNED_AT},{scheme}={BY_OPENSSL}"), BODY, after(1))), "{scheme}");
        }
    }

    #[test]
    fn a_header_that_is_missing_or_has_another_form_is_refused() {
        assert!(is_refused(Stripe.message(Some(SECRET), None, BODY.as_bytes(), after(1))));
        for header in ["", ",", "=", "t=,v1=", BY_OPENSSL, &format!("v1={BY_OPENSSL}"), &format!("t={SIGNED_AT},v1=218f2b")] {
            assert!(is_refused(receive(header, BODY, after(1))), "{header:?}");
        }
    }

    #[test]
    fn a_signature_counts_for_five_minutes_either_way() {
        let header = sign(SECRET, BODY.as_bytes());
        for seconds in [-300, 0, 300] {
            assert!(receive(&header, BODY, after(seconds)).is_ok(), "{seconds}");
        }
        for seconds in [-301, 301, 86_400, -SIGNED_AT] {
            assert!(is_refused(receive(&header, BODY, after(seconds))), "{seconds}");
        }
        for moment in [i64::MIN, i64::MAX] {
            assert!(is_refused(receive(&header, BODY, Timestamp::from_millis(moment))), "{moment}");
        }
    }

    #[test]
    fn the_secret_of_another_endpoint_is_refused() {
        for secret in ["whsec_other", "test_secret", "whsec_test_secret ", "WHSEC_TEST_SECRET"] {
            assert!(is_refused(receive(&sign(secret, BODY.as_bytes()), BODY, after(1))), "{secret:?}");
        }
    }

    #[test]
    fn without_a_secret_there_is_nothing_at_all() {
        for secret in [None, Some(""), Some(" "), Some("\n")] {
            for header in [None, Some(sign(secret.unwrap_or_default(), BODY.as_bytes())), Some(sign(SECRET, BODY.as_bytes()))] {
                let refusal = Stripe.message(secret, header.as_deref(), BODY.as_bytes(), after(1)).unwrap_err();
                assert_eq!((refusal.code, refusal.param), (Code::NotFound, None), "{secret:?}");
                assert_eq!(refusal.message, "There is nothing at this path.");
            }
        }
    }

    #[test]
    fn a_completed_page_is_paid_or_still_on_its_way() {
        for status in ["paid", "no_payment_required"] {
            let event = about(event("checkout.session.completed", session(status, 1050, "usd")));
            assert_eq!((event.session.as_deref(), event.payment.as_deref()), (Some("cs_1"), Some("pi_1")));
            assert_eq!(event.kind, "checkout.session.completed");
            assert_eq!(event.change, PaymentChange::Paid { amount: money("10.5"), currency: "USD".into() });
        }
        let event = about(event("checkout.session.completed", session("unpaid", 1050, "usd")));
        assert_eq!(event.change, PaymentChange::Processing);
    }

    #[test]
    fn a_delayed_payment_succeeds_or_fails() {
        let succeeded = about(event("checkout.session.async_payment_succeeded", session("paid", 7, "eur")));
        assert_eq!(succeeded.change, PaymentChange::Paid { amount: money("0.07"), currency: "EUR".into() });
        let failed = about(event("checkout.session.async_payment_failed", session("unpaid", 7, "eur")));
        assert!(matches!(failed.change, PaymentChange::Failed { reason } if !reason.is_empty()));
    }

    #[test]
    fn an_expired_page_has_no_payment() {
        let mut object = session("unpaid", 1050, "usd");
        object["payment_intent"] = Value::Null;
        let event = about(event("checkout.session.expired", object));
        assert_eq!((event.session.as_deref(), event.payment, event.change), (Some("cs_1"), None, PaymentChange::Expired));
    }

    #[test]
    fn a_refund_counts_in_all_and_names_its_order() {
        let charge = json!({
            "id": "ch_1", "object": "charge", "amount": 1000, "amount_refunded": 250, "currency": "usd",
            "payment_intent": {"id": "pi_1", "object": "payment_intent"}, "metadata": ours(),
        });
        let event = about(event("charge.refunded", charge));
        assert_eq!((event.session, event.payment.as_deref()), (None, Some("pi_1")));
        assert_eq!(event.change, PaymentChange::Refunded { total: money("2.5"), currency: "USD".into() });
    }

    #[test]
    fn a_dispute_is_found_by_its_payment() {
        let dispute = json!({
            "id": "dp_1", "object": "dispute", "amount": 1000, "currency": "usd", "charge": "ch_1", "payment_intent": "pi_1",
            "metadata": {},
        });
        let withdrawn = event("charge.dispute.funds_withdrawn", dispute.clone());
        let Ok(Message::OfPayment { payment, event: partial, .. }) = withdrawn else { panic!("{withdrawn:?}") };
        assert_eq!(payment, "pi_1");
        let known = partial.for_order(OrderId::parse("order-1").unwrap());
        assert_eq!((known.id.as_str(), known.payment.as_deref(), known.provider), ("evt_7", Some("pi_1"), Provider::Stripe));
        let change = PaymentChange::Disputed { dispute: "dp_1".into(), amount: money("10"), currency: "USD".into() };
        assert_eq!(known.change, change);
        let won = event("charge.dispute.funds_reinstated", dispute);
        let Ok(Message::OfPayment { event: partial, .. }) = won else { panic!("{won:?}") };
        assert_eq!(partial.change, PaymentChange::Reinstated { dispute: "dp_1".into() });
    }

    #[test]
    fn what_another_integration_does_is_ignored() {
        for metadata in [json!(null), json!({}), json!({"order": "order-1"}), json!({"account": "a b", "order": "#12"})] {
            let mut object = session("paid", 1050, "usd");
            object["metadata"] = metadata;
            let kind = "checkout.session.completed";
            assert_eq!(event(kind, object), Ok(Message::Ignored { kind: kind.into() }));
        }
        for charge in [
            json!({"amount_refunded": 100, "currency": "usd", "payment_intent": null, "metadata": {}}),
            json!({"amount_refunded": 2_000_000_000, "currency": "idr", "payment_intent": "pi_9", "metadata": {}}),
            json!({"amount_refunded": i64::MAX, "currency": "jpy", "payment_intent": "pi_9"}),
        ] {
            assert_eq!(event("charge.refunded", charge), Ok(Message::Ignored { kind: "charge.refunded".into() }));
        }
        for kind in ["customer.created", "checkout.session", "charge.refund.updated", "v1.billing.meter.no_meter_found"] {
            assert_eq!(event(kind, json!(null)), Ok(Message::Ignored { kind: kind.into() }));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_name() {
        let without = |object: &Value, name: &str| {
            let mut object = object.clone();
            object.as_object_mut().unwrap().remove(name);
            object
        };
        let page = session("paid", 1050, "usd");
        let dispute = json!({"id": "dp_1", "amount": 1000, "currency": "usd", "payment_intent": "pi_1"});
        for (kind, object, name) in [
            ("checkout.session.completed", &page, "payment_status"),
            ("checkout.session.completed", &page, "amount_total"),
            ("checkout.session.completed", &page, "currency"),
            ("checkout.session.completed", &page, "id"),
            ("charge.refunded", &json!({"amount_refunded": 1, "metadata": ours()}), "currency"),
            ("charge.dispute.funds_withdrawn", &dispute, "id"),
            ("charge.dispute.funds_withdrawn", &dispute, "amount"),
            ("charge.dispute.funds_reinstated", &dispute, "payment_intent"),
        ] {
            let refusal = event(kind, without(object, name)).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidRequest);
            assert!(refusal.message.contains(kind) && refusal.message.contains(&format!("`{name}`")), "{}", refusal.message);
        }
        for amount in [json!(0), json!(-5), json!(10.5), json!("1050"), json!(u64::MAX), json!(i64::MAX)] {
            let mut object = page.clone();
            object["amount_total"] = amount;
            let refusal = event("checkout.session.completed", object).unwrap_err();
            assert!(refusal.message.contains("amount_total"), "{}", refusal.message);
        }
        assert!(event("checkout.session.completed", json!("cs_1")).unwrap_err().message.contains("data.object"));
        for body in ["", "null", "[]", "{}", r#"{"type":7}"#, r#"{"type":"charge.refunded"}"#, "{\"type\":\"a"] {
            assert_eq!(receive(&sign(SECRET, body.as_bytes()), body, after(1)).unwrap_err().code, Code::InvalidRequest, "{body}");
        }
    }

    #[test]
    fn amounts_are_counted_as_stripe_counts_the_currency() {
        for (currency, minor, amount) in [
            ("usd", 1050, "10.5"),
            ("jpy", 1050, "1050"),
            ("krw", 1, "1"),
            ("ugx", 500, "5"),
            ("isk", 500, "5"),
            ("kwd", 1050, "1.05"),
        ] {
            let event = about(event("checkout.session.completed", session("paid", minor, currency)));
            let currency = currency.to_ascii_uppercase();
            assert_eq!(event.change, PaymentChange::Paid { amount: money(amount), currency });
        }
        for (amount, currency, minor) in
            [("10.5", "USD", 1050), ("1050", "JPY", 1050), ("5", "UGX", 500), ("5", "ISK", 500), ("0.01", "eur", 1)]
        {
            assert_eq!(to_minor(money(amount), currency), Ok(minor), "{amount} {currency}");
        }
    }

    #[test]
    fn what_cannot_be_charged_exactly_is_refused() {
        for (amount, currency, param) in [
            ("10.005", "USD", "amount"),
            ("0.000000001", "USD", "amount"),
            ("0", "USD", "amount"),
            ("-1", "USD", "amount"),
            ("10.5", "JPY", "amount"),
            ("5.5", "UGX", "amount"),
            ("5.01", "ISK", "amount"),
            ("10", "KWD", "provider"),
            ("10", "bhd", "provider"),
        ] {
            let refusal = Stripe.checkout(&order(amount, currency), "https://example.com").unwrap_err();
            assert_eq!((refusal.code, refusal.param.as_deref()), (Code::InvalidRequest, Some(param)), "{amount} {currency}");
        }
    }

    #[test]
    fn a_page_is_asked_for_with_everything_that_names_the_order() {
        let checkout = Stripe.checkout(&order("10.5", "USD"), "https://example.com/pay?lang=de#top").unwrap();
        assert_eq!((checkout.path, checkout.idempotency_key.as_str()), ("/v1/checkout/sessions", "order-1"));
        let form: Vec<(String, String)> = form_urlencoded::parse(checkout.body.as_bytes()).into_owned().collect();
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            form,
            [
                ("mode", "payment"),
                ("client_reference_id", "order-1"),
                ("metadata[account]", "acct-1"),
                ("metadata[order]", "order-1"),
                ("payment_intent_data[metadata][account]", "acct-1"),
                ("payment_intent_data[metadata][order]", "order-1"),
                ("line_items[0][quantity]", "1"),
                ("line_items[0][price_data][currency]", "usd"),
                ("line_items[0][price_data][unit_amount]", "1050"),
                ("line_items[0][price_data][product_data][name]", "Balance: credit"),
                ("success_url", "https://example.com/pay?lang=de&topup=order-1&result=paid#top"),
                ("cancel_url", "https://example.com/pay?lang=de&topup=order-1&result=cancelled#top"),
                ("expires_at", "1795357207"),
            ]
        );
    }

    #[test]
    fn a_page_without_an_end_and_a_return_address_without_a_query() {
        let endless = Order { expires_at: None, bucket: BucketId::parse("wallet").unwrap(), ..order("1000", "JPY") };
        let body = Stripe.checkout(&endless, "http://127.0.0.1:8787").unwrap().body;
        assert!(!body.contains("expires_at") && body.contains("Balance%3A+wallet") && body.contains("unit_amount%5D=1000&"));
        assert!(body.contains("success_url=http%3A%2F%2F127.0.0.1%3A8787%2F%3Ftopup%3Dorder-1%26result%3Dpaid"), "{body}");
        for address in ["", "/balance", "example.com", "javascript:alert(1)"] {
            let refusal = Stripe.checkout(&endless, address).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some("return_url"), "{address}");
        }
    }

    #[test]
    fn the_answer_is_a_page_or_an_error_for_the_log() {
        let page = br#"{"id":"cs_1","object":"checkout.session","url":"https://checkout.stripe.com/c/pay/cs_1"}"#;
        let session = CheckoutPage { id: "cs_1".into(), url: "https://checkout.stripe.com/c/pay/cs_1".into() };
        assert_eq!(Stripe.opened(200, page), Ok(session));
        assert!(Stripe.opened(500, page).is_err());
        assert!(Stripe.opened(200, br#"{"id":"cs_1","url":null}"#).is_err());
        assert_eq!(
            Stripe.opened(401, br#"{"error":{"message":"Invalid API Key provided: sk_test_****1234","type":"x"}}"#),
            Err("Stripe answered 401: Invalid API Key provided: (key)".into())
        );
        assert_eq!(
            Stripe.opened(502, b"<html>whsec_1</html>"),
            Err("Stripe answered 502: no session and no error message".into())
        );
        let long = json!({"error": {"message": "é".repeat(9_000)}}).to_string();
        assert!(Stripe.opened(400, long.as_bytes()).unwrap_err().chars().count() < 600);
    }

    proptest! {
        #[test]
        fn amounts_survive_the_way_to_stripe_and_back(minor in 1i64..900_000_000) {
            for currency in ["USD", "EUR", "HUF"] {
                prop_assert_eq!(to_minor(from_minor(minor, currency).unwrap(), currency), Ok(minor));
            }
            let yen = minor / 100 + 1;
            prop_assert_eq!(to_minor(from_minor(yen, "JPY").unwrap(), "JPY"), Ok(yen));
            prop_assert_eq!(to_minor(from_minor(yen * 100, "UGX").unwrap(), "UGX"), Ok(yen * 100));
        }

        #[test]
        fn every_amount_is_charged_exactly_or_not_at_all(nanos in any::<i64>(), cents in -1_000i64..1_000_000) {
            for nanos in [nanos >> 11, cents * 10_000_000] {
                let amount = Money::from_nanos(nanos).unwrap();
                for currency in ["USD", "JPY", "UGX", "KWD"] {
                    if let Ok(minor) = to_minor(amount, currency) {
                        prop_assert!(minor > 0);
                        prop_assert_eq!(from_minor(minor, currency), Some(amount));
                    }
                }
            }
        }

        #[test]
        fn garbage_is_refused_and_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), header in ".{0,80}") {
            let answer = Stripe.message(Some(SECRET), Some(&sign(SECRET, &body)), &body, after(1));
            let is_believed = matches!(answer, Ok(Message::About { .. } | Message::OfPayment { .. }));
            prop_assert!(!is_believed);
            prop_assert!(Stripe.message(Some(SECRET), Some(&header), &body, after(1)).is_err());
            prop_assert!(Stripe.opened(200, &body).is_err());
        }

        #[test]
        fn events_with_garbage_in_them_never_panic(
            kind in 0usize..7,
            field in 0usize..8,
            garbage in prop_oneof![
                Just(json!(null)), any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from),
                ".{0,20}".prop_map(Value::from), Just(json!([])), Just(json!({"id": ""})), Just(json!({"account": {}, "order": 1})),
            ],
        ) {
            let kinds = [
                "checkout.session.completed", "checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed",
                "checkout.session.expired", "charge.refunded", "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated",
            ];
            let fields =
                ["id", "payment_status", "amount_total", "amount_refunded", "amount", "currency", "payment_intent", "metadata"];
            let mut object = session("paid", 1050, "usd");
            object["amount"] = json!(1);
            object["amount_refunded"] = json!(1);
            object[fields[field]] = garbage;
            if let Err(refusal) = event(kinds[kind], object) {
                prop_assert_eq!(refusal.code, Code::InvalidRequest);
            }
        }
    }
}
