//! What is asked twice is done once: requests with an `Idempotency-Key`, and adjustments. And the ledger that tells of it.

use serde_json::{Value, json};

use crate::gateway::{ANSWER, Answered, Call, Gateway, ROOT, chat};
use crate::money::Customer;
use crate::support::outside::Script;

fn asked(gateway: &mut Gateway, secret: &str, fields: &Value, key: &str) -> Answered {
    gateway.send(chat(secret, fields).idempotency(key))
}

#[test]
fn a_request_with_an_idempotency_key_is_charged_once_and_answers_its_receipt_again() {
    let mut gateway = Gateway::new();
    let customer = gateway.customer(Some("1"));
    let fields = json!({"model": "one"});
    let first = asked(&mut gateway, &customer.secret, &fields, "once");
    assert_eq!(first.status, 200);
    let receipt = gateway.receipt(&customer.secret, &first);
    for _ in 0..3 {
        let again = asked(&mut gateway, &customer.secret, &fields, "once");
        assert_eq!((again.status, again.json()), (200, first.json()), "word for word");
        assert_eq!(again.header("x-generation-id"), receipt["id"].as_str());
    }
    assert_eq!(gateway.calls(), 1);
    assert_eq!(gateway.books(&customer).told()[..1], ["charge -0.00002"]);
    let other = asked(&mut gateway, &customer.secret, &json!({"model": "two"}), "once");
    assert_eq!((other.status, other.code().as_str()), (409, "idempotency_mismatch"));
    // Another key, of the same account even, and the same key a day later.
    let (_, another) = gateway.key(&customer.account, &json!({}));
    assert_eq!(asked(&mut gateway, &another, &fields, "once").json()["object"], "chat.completion");
    gateway.advance(25 * 3_600_000);
    assert_eq!(asked(&mut gateway, &customer.secret, &fields, "once").json()["object"], "chat.completion");
}

#[test]
fn a_request_in_flight_is_answered_409_and_one_that_failed_can_be_sent_again() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let fields = json!({"model": "one"});
    gateway.script("main", Script::Slow(500, vec!["{", &ANSWER[1..]]));
    let open = gateway.open(chat(&secret, &fields).idempotency("slow"));
    let refused = asked(&mut gateway, &secret, &fields, "slow");
    assert_eq!(refused.status, 409, "{}", refused.body);
    let first = gateway.finish(open);
    assert_eq!(first.status, 200);
    let again = asked(&mut gateway, &secret, &fields, "slow");
    assert_eq!((again.json(), again.header("x-generation-id")), (first.json(), first.header("x-generation-id")));
    gateway.script("main", Script::Status(500, "{}"));
    assert!(asked(&mut gateway, &secret, &fields, "failed").status >= 429);
    assert_eq!(asked(&mut gateway, &secret, &fields, "failed").status, 200);
}

fn adjust(gateway: &mut Gateway, customer: &Customer, body: &Value, key: Option<&str>) -> Answered {
    let path = format!("/admin/v1/accounts/{}/adjustments", customer.account);
    let call = Call::new("POST", &path).with(ROOT).json(body);
    gateway.send(match key {
        Some(key) => call.idempotency(key),
        None => call,
    })
}

#[test]
fn an_adjustment_needs_a_bucket_an_amount_and_a_reason_and_takes_no_more_than_there_is() {
    let mut gateway = Gateway::new();
    let customer = gateway.customer(Some("1"));
    let body = |bucket: &str, amount: Value| json!({"bucket": bucket, "amount": amount, "reason": "test"});
    for (amount, status) in [
        (json!("0.5"), 201),
        (json!("0.000000001"), 201),
        (json!("-0.5"), 201),
        (json!("-2"), 400),
        (json!("0"), 400),
        (json!("0.0000000001"), 400),
        (json!("1e3"), 400),
        (json!("many"), 400),
        (json!(1), 400),
        (json!("99999999999999"), 400),
        (json!("9007199"), 400),
    ] {
        let answered = adjust(&mut gateway, &customer, &body("credit", amount.clone()), None);
        assert_eq!(answered.status, status, "{amount}: {}", answered.body);
    }
    for wrong in [
        json!({"bucket": "gold", "amount": "1", "reason": "x"}),
        json!({"amount": "1", "reason": "x"}),
        json!({"bucket": "credit", "amount": "1"}),
        json!({"bucket": "credit", "amount": "1", "reason": ""}),
        json!({"bucket": "credit", "amount": "1", "reason": "x", "colour": "red"}),
    ] {
        assert_eq!(adjust(&mut gateway, &customer, &wrong, None).status, 400, "{wrong}");
    }
    assert_eq!(gateway.books(&customer).credit(), "1.000000001");
}

#[test]
fn an_adjustment_with_an_idempotency_key_is_made_once_and_another_is_refused() {
    let mut gateway = Gateway::new();
    let customer = gateway.customer(None);
    let body = |amount: &str| json!({"bucket": "credit", "amount": amount, "reason": "test"});
    for _ in 0..3 {
        assert_eq!(adjust(&mut gateway, &customer, &body("2"), Some("a-1")).status, 201);
    }
    adjust(&mut gateway, &customer, &body("3"), Some("a-1")).refused(409, "idempotency_mismatch");
    for (field, text) in [("reason", "another"), ("note", "For you")] {
        let mut other = body("2");
        other[field] = json!(text);
        adjust(&mut gateway, &customer, &other, Some("a-1")).refused(409, "idempotency_mismatch");
    }
    let mut others = body("2");
    others["author"] = json!("somebody else");
    let again = adjust(&mut gateway, &customer, &others, Some("a-1")).ok();
    assert_eq!(again["adjustment"]["on_behalf_of"], Value::Null, "it is told as it was made: {again}");
    assert_eq!(gateway.books(&customer).told(), ["adjustment 2"]);
}

#[test]
fn the_ledger_pages_through_every_entry_once_and_agrees_with_receipts_and_balances() {
    let mut gateway = Gateway::new();
    let customer = gateway.customer(Some("1"));
    for _ in 0..5 {
        gateway.call(&customer.secret, "one");
    }
    gateway.adjust(&customer, "-0.5");
    let books = gateway.books(&customer);
    assert_eq!(books.told()[..2], ["adjustment -0.5", "charge -0.00002"]);
    assert_eq!((books.entries.len(), books.credit()), (7, "0.4999".to_owned()));
    let receipts = gateway.all(&customer.secret, "/v1/receipts", 2);
    let charges: Vec<&Value> = books.entries.iter().filter(|entry| entry["kind"] == "charge").collect();
    for (receipt, entry) in receipts.iter().zip(charges) {
        assert_eq!(receipt["entry_ids"], json!([entry["id"]]));
        assert_eq!((&receipt["id"], &receipt["balance_after"]), (&entry["request"], &entry["balance_after"]));
    }
    for query in ["limit=0", "limit=101", "limit=x", "after=x"] {
        assert_eq!(gateway.get(&customer.secret, &format!("/v1/ledger?{query}")).status, 400, "{query}");
    }
    let other = gateway.customer(None);
    assert!(gateway.books(&other).entries.is_empty());
}
