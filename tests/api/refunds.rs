//! Money that goes back: refunds, disputes and debts. And redeem codes.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokens_forge::time::Timestamp;

use crate::gateway::{Call, Gateway, ROOT};
use crate::money::{Customer, NONE, completed, dispute, id, numbered, refunded, shop};
use crate::support::outside::Script;

fn plain() -> Value {
    json!({})
}

/// A gateway that takes cards, and a customer who has paid an order of 10.
fn paid() -> (Gateway, Customer, Value) {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let order = gateway.paid(&customer, &plain());
    (gateway, customer, order)
}

fn of(amount: &str) -> Value {
    json!({"amount": amount, "reason": "x"})
}

#[test]
fn a_refund_of_a_part_then_of_the_rest_takes_exactly_that_and_never_more_than_was_paid() {
    let mut gateway = shop();
    let customer = gateway.customer(Some("5"));
    let order = gateway.paid(&customer, &plain());
    let part = json!({"amount": "4", "reason": "Half a month", "author": "kim", "note": "For half a month"});
    let part = gateway.refund(&customer, &order, &part);
    assert_eq!((part.status, &part.json()["refunded"], &part.json()["state"]), (201, &json!("4"), &json!("paid")));
    let books = gateway.books(&customer);
    assert_eq!(books.credit(), "11");
    let entry = &books.entries[0];
    assert_eq!((&entry["kind"], &entry["amount"], entry.get("author")), (&json!("refund"), &json!("-4"), None));
    assert_eq!((&entry["reason"], &entry["note"], &entry["order"]), (&NONE, &json!("For half a month"), &order["id"]));
    let told = &entry["refund"];
    let expected =
        [("order_amount", "10"), ("amount", "4"), ("refunded_before", "0"), ("taken", "4"), ("debt", "0"), ("source", "admin")];
    for (field, expected) in expected {
        assert_eq!(told[field], expected, "{field}");
    }
    for amount in ["6.000000001", "10", "0", "-1", "1000000000"] {
        let refused = gateway.refund(&customer, &order, &json!({"amount": amount, "reason": "x", "if_used": "debt"}));
        assert_eq!(refused.status, 400, "{amount}");
        if amount == "10" {
            assert_eq!(refused.json()["error"]["metadata"]["refundable"], "6");
        }
    }
    assert_eq!(gateway.refund(&customer, &order, &of("6")).ok()["refunded"], "10");
    assert_eq!(gateway.refund(&customer, &order, &of("0.01")).status, 400);
    assert_eq!(gateway.books(&customer).credit(), "5");
}

#[test]
fn a_refund_with_an_idempotency_key_is_made_once() {
    let (mut gateway, customer, order) = paid();
    let keyed = |gateway: &mut Gateway, order: &Value, amount: &str| {
        let path = format!("/admin/v1/accounts/{}/topups/{}/refunds", customer.account, id(order));
        gateway.send(Call::new("POST", &path).with(ROOT).json(&of(amount)).idempotency("refund-1"))
    };
    for _ in 0..3 {
        let answered = keyed(&mut gateway, &order, "4");
        assert_eq!((answered.status, &answered.json()["refunded"]), (201, &json!("4")));
    }
    keyed(&mut gateway, &order, "5").refused(409, "idempotency_mismatch");
    let books = gateway.books(&customer);
    assert_eq!((books.credit(), books.entries.len()), ("6".to_owned(), 2));
    let again = gateway.paid(&customer, &plain());
    assert_eq!(keyed(&mut gateway, &again, "5").ok()["refunded"], "5", "the key is the order's own");
}

#[test]
fn a_refund_of_more_than_is_left_is_refused_or_becomes_a_debt_that_new_money_pays_first() {
    let (mut gateway, customer, order) = paid();
    gateway.adjust(&customer, "-7");
    for more in [json!({}), json!({"if_used": "block"})] {
        let mut body = of("10");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = gateway.refund(&customer, &order, &body);
        assert_eq!(refused.status, 409);
        let metadata = &refused.json()["error"]["metadata"];
        assert_eq!((&metadata["available"], &metadata["refundable"]), (&json!("3"), &json!("10")));
        assert!(metadata["next_step"].as_str().unwrap().contains("debt"));
    }
    let wrong = json!({"amount": "10", "reason": "x", "if_used": "forget"});
    assert_eq!(gateway.refund(&customer, &order, &wrong).status, 400);
    assert_eq!(gateway.books(&customer).credit(), "3");
    let leaving = json!({"amount": "10", "reason": "Leaving", "if_used": "debt"});
    assert_eq!(gateway.refund(&customer, &order, &leaving).status, 201);
    let owing = gateway.books(&customer);
    let said = (owing.credit(), owing.of("credit", "available"), owing.of("credit", "debt"));
    assert_eq!(said, ("0".into(), "0".into(), "7".into()));
    let entry = &owing.entries[0];
    assert_eq!((&entry["amount"], &entry["debt_after"]), (&json!("-3"), &json!("7")));
    let told = &entry["refund"];
    assert_eq!((&told["already_used"], &told["taken"], &told["debt"]), (&json!("7"), &json!("3"), &json!("7")));
    let refused = gateway.call(&customer.secret, "one");
    assert_eq!(refused.status, 402);
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("7 USD is owed"), "{}", refused.body);
    // What comes in pays the debt: a part of it first, then the rest.
    gateway.paid(&customer, &json!({"amount": "2"}));
    let less = gateway.books(&customer);
    assert_eq!(less.owing(), ("0".into(), "5".into()));
    assert_eq!(less.told()[..2], ["debt_payment -2", "top_up 2"]);
    assert_eq!((&less.entries[0]["debt_after"], &less.entries[1]["debt_after"]), (&json!("5"), &json!("7")));
    gateway.paid(&customer, &json!({"amount": "20"}));
    let none = gateway.books(&customer);
    assert_eq!(none.owing(), ("15".into(), "0".into()));
    assert_eq!(none.told()[..2], ["debt_payment -5", "top_up 20"]);
    assert_eq!(gateway.call(&customer.secret, "one").status, 200);
}

#[test]
fn a_refund_takes_nothing_of_what_an_open_request_has_set_aside() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let order = gateway.paid(&customer, &json!({"amount": "0.01"}));
    gateway.script("main", Script::Hangs);
    // The request is asked, and its answer not waited for.
    let asked = gateway.open(crate::gateway::chat(&customer.secret, &json!({"model": "one", "max_tokens": 20})));
    let before = gateway.books(&customer);
    let (held, available) = (before.of("credit", "held"), before.of("credit", "available"));
    assert_ne!(held, "0");
    let blocked = gateway.refund(&customer, &order, &of("0.01"));
    assert_eq!((blocked.status, &blocked.json()["error"]["metadata"]["available"]), (409, &json!(available)));
    let owed = json!({"amount": "0.01", "reason": "x", "if_used": "debt"});
    assert_eq!(gateway.refund(&customer, &order, &owed).status, 201);
    let during = gateway.books(&customer);
    let field = |name: &str| during.of("credit", name);
    assert_eq!(
        [field("balance"), field("held"), field("available"), field("debt")],
        [held.clone(), held.clone(), "0".into(), held]
    );
    // It never answers, and the end of the request does not escape the debt.
    assert!(gateway.finish(asked).status >= 500);
    assert_eq!(gateway.books(&customer).owing(), ("0".into(), "0".into()), "what was not used went to it");
}

#[test]
fn a_refund_of_stripes_tells_the_sum_so_that_messages_may_come_twice_and_in_the_wrong_order() {
    let (mut gateway, customer, order) = paid();
    let (first, second) = (refunded(&order, "3", &plain()), refunded(&order, "7", &plain()));
    assert_eq!(gateway.tell(&second).ok()["effect"], "taken back");
    let other = numbered("charge.refunded", &second["data"]["object"], 2);
    for message in [&first, &second, &first, &other] {
        gateway.tell(message).ok();
    }
    let books = gateway.books(&customer);
    assert_eq!(books.told(), ["refund -7", "top_up 10"]);
    let entry = &books.entries[0];
    assert_eq!((entry.get("author"), &entry["refund"]["source"]), (None, &json!("webhook")));
    assert!(entry["reason"].is_string(), "what the provider said is told");
    gateway.tell(&refunded(&order, "10", &plain())).ok();
    assert_eq!(gateway.books(&customer).credit(), "0");
    assert_eq!(gateway.seen(&customer, &order)["refunded"], "10");
}

#[test]
fn a_refund_that_the_operator_booked_before_stripe_tells_of_it_is_taken_once() {
    let (mut gateway, customer, order) = paid();
    gateway.refund(&customer, &order, &of("4")).ok();
    assert!(gateway.tell(&refunded(&order, "4", &plain())).ok()["effect"].as_str().unwrap().starts_with("none"));
    assert_eq!(gateway.books(&customer).credit(), "6");
    gateway.tell(&refunded(&order, "9", &plain())).ok();
    assert_eq!(gateway.books(&customer).credit(), "1");
}

#[test]
fn a_refund_of_stripes_that_comes_before_the_payment_is_booked_with_it() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let order = gateway.order(&customer, &plain());
    assert_eq!(gateway.tell(&refunded(&order, "4", &plain())).ok()["state"], "pending");
    assert!(gateway.books(&customer).entries.is_empty());
    assert_eq!(gateway.tell(&completed(&order)).ok()["state"], "paid");
    let books = gateway.books(&customer);
    assert_eq!((books.credit(), books.told()), ("6".to_owned(), vec!["refund -4".to_owned(), "top_up 10".to_owned()]));
}

#[test]
fn a_refund_of_stripes_without_our_metadata_is_found_by_its_payment() {
    let (mut gateway, customer, order) = paid();
    let foreign = refunded(&order, "10", &json!({"currency": "cny"}));
    assert!(gateway.tell(&foreign).ok()["effect"].as_str().unwrap().starts_with("refused"));
    assert_eq!(gateway.books(&customer).credit(), "10");
    gateway.adjust(&customer, "-10");
    assert_eq!(gateway.tell(&refunded(&order, "10", &json!({"metadata": {}}))).ok()["order"], order["id"]);
    assert_eq!(gateway.books(&customer).owing(), ("0".into(), "10".into()), "what was used becomes a debt");
}

#[test]
fn a_dispute_takes_the_payment_back_and_gives_it_again_when_it_is_won() {
    let (mut gateway, customer, order) = paid();
    gateway.adjust(&customer, "-4");
    for (kind, owing) in [("withdrawn", ("0", "4")), ("reinstated", ("6", "0"))] {
        let message = dispute(kind, &order, "10");
        for _ in 0..3 {
            assert_eq!(gateway.tell(&message).ok()["order"], order["id"]);
        }
        gateway.tell(&numbered(message["type"].as_str().unwrap(), &message["data"]["object"], 2)).ok();
        assert_eq!(gateway.books(&customer).owing(), (owing.0.to_owned(), owing.1.to_owned()), "{kind}");
    }
    let told = gateway.books(&customer).told();
    assert_eq!(told, ["debt_payment -4", "refund 10", "refund -6", "adjustment -4", "top_up 10"]);
    assert_eq!(gateway.seen(&customer, &order)["refunded"], "0");
}

#[test]
fn a_dispute_and_a_refund_end_in_the_same_books_whichever_is_told_first() {
    let (lost, won) = ("withdrawn", "reinstated");
    let back = |total: &'static str| move |order: &Value| refunded(order, total, &json!({}));
    let dispute = |kind: &'static str, amount: &'static str| move |order: &Value| dispute(kind, order, amount);
    type Message = Box<dyn Fn(&Value) -> Value>;
    // What is told, and the balance and what is refunded after all of it.
    let histories: Vec<(Vec<Message>, &str, &str)> = vec![
        (vec![Box::new(back("3")), Box::new(dispute(lost, "10"))], "0", "10"),
        (vec![Box::new(back("3")), Box::new(dispute(lost, "10")), Box::new(dispute(won, "10"))], "7", "3"),
        (vec![Box::new(dispute(lost, "10")), Box::new(back("3")), Box::new(dispute(won, "10"))], "7", "3"),
        (vec![Box::new(dispute(lost, "4")), Box::new(back("10")), Box::new(dispute(won, "4")), Box::new(back("10"))], "0", "10"),
        // Won before we hear that it was lost.
        (vec![Box::new(dispute(won, "10")), Box::new(dispute(lost, "10"))], "10", "0"),
    ];
    for (messages, balance, refunded) in histories {
        let (mut gateway, customer, order) = paid();
        for message in messages {
            gateway.tell(&message(&order)).ok();
        }
        assert_eq!(gateway.books(&customer).credit(), balance);
        assert_eq!(gateway.seen(&customer, &order)["refunded"], refunded);
    }
}

#[test]
fn a_redeem_code_is_credited_to_one_of_many_and_once_however_it_is_typed() {
    let mut gateway = shop();
    let customers: Vec<Customer> = (0..3).map(|_| gateway.customer(None)).collect();
    let codes = gateway.codes(&plain());
    let (code_id, code) = &codes[0];
    for typed in [code.to_lowercase(), code.replace('-', ""), format!(" {} ", code.replace('-', " ")), code.clone()] {
        let told = gateway.redeem(&customers[0], &typed).ok();
        assert_eq!((&told["code"], &told["bucket"], &told["amount"]), (&json!(code_id), &json!("credit"), &json!("2.5")));
        let credit = told["balances"].as_array().unwrap().iter().find(|view| view["bucket"] == "credit").unwrap();
        assert_eq!(credit["balance"], "2.5");
    }
    for other in &customers[1..] {
        let refused = gateway.redeem(other, code);
        refused.refused(404, "not_found");
        assert_eq!(refused.json()["error"]["param"], "code");
        assert!(gateway.books(other).entries.is_empty());
    }
    let books = gateway.books(&customers[0]);
    assert_eq!(books.told(), ["redemption 2.5"]);
    let entry = &books.entries[0];
    assert_eq!((&entry["reason"], entry.get("author"), &entry["note"]), (&NONE, None, &json!("Enjoy")));
    let listed = gateway.admin("GET", "/admin/v1/codes", &NONE).ok();
    assert_eq!((&listed["data"][0]["id"], &listed["data"][0]["account"]), (&json!(code_id), &json!(customers[0].account)));
    assert!(listed["data"][0]["taken_at"].is_string() && listed["data"][0]["credited_at"].is_string());
    assert!(!listed.to_string().contains(code));
    gateway.admin("DELETE", &format!("/admin/v1/codes/{code_id}"), &NONE).refused(404, "not_found");
}

#[test]
fn a_code_that_is_unknown_revoked_or_over_answers_one_and_the_same() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let gone = gateway.codes(&plain())[0].clone();
    let over = gateway.codes(&json!({"expires_at": "2027-01-15T09:00:00Z"}))[0].clone();
    let revoked = gateway.admin("DELETE", &format!("/admin/v1/codes/{}", gone.0), &NONE).ok();
    assert_eq!(revoked, json!({"id": gone.0, "revoked": true}));
    gateway.advance(3_600_000);
    let unknown = "ABCDE-FGHJK-LMNPQ-RSTUV";
    let longer = format!("{}A", gone.1);
    let mut answers = BTreeSet::new();
    for code in [unknown, &gone.1, &over.1, "short", "", &longer, &"x".repeat(1000)] {
        let refused = gateway.redeem(&customer, code);
        assert_eq!(refused.status, 404, "{code}");
        answers.insert(refused.body);
    }
    assert_eq!(answers.len(), 1);
    let listed = gateway.admin("GET", "/admin/v1/codes", &NONE).ok();
    let listed = listed["data"].as_array().unwrap().iter().find(|code| code["id"] == gone.0).unwrap().clone();
    assert!(listed["revoked_at"].is_string());
    for code in [gone.0.as_str(), "code-none"] {
        gateway.admin("DELETE", &format!("/admin/v1/codes/{code}"), &NONE).refused(404, "not_found");
    }
    for body in [json!({}), json!({"code": 7}), json!({"code": unknown, "account": customer.account})] {
        assert_eq!(gateway.by(&customer.secret, "POST", "/v1/redeem", &body).status, 400, "{body}");
    }
    assert_eq!(gateway.by("none", "POST", "/v1/redeem", &json!({"code": unknown})).status, 401);
    assert!(gateway.books(&customer).entries.is_empty());
}

#[test]
fn a_code_that_was_taken_but_not_credited_is_credited_when_it_is_sent_again_or_by_the_cron() {
    for by_cron in [false, true] {
        let mut gateway = shop();
        let (customer, other) = (gateway.customer(None), gateway.customer(None));
        let (_, code) = gateway.codes(&plain())[0].clone();
        {
            let mut database = gateway.simulation.world.database.borrow_mut();
            let stored = database.codes.0.values_mut().next().unwrap();
            stored.account = tokens_forge::id::AccountId::parse(&customer.account);
            stored.taken_at = Some(Timestamp::from_millis(gateway.simulation.world.now.get()));
        }
        assert_eq!(gateway.redeem(&other, &code).status, 404);
        gateway.advance(61_000);
        if by_cron {
            gateway.scheduled();
        }
        assert_eq!(gateway.books(&customer).credit(), if by_cron { "2.5" } else { "0" });
        for _ in 0..2 {
            gateway.redeem(&customer, &code).ok();
        }
        assert_eq!(gateway.books(&customer).told(), ["redemption 2.5"]);
    }
}

#[test]
fn a_code_pays_a_debt_first() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let order = gateway.paid(&customer, &json!({"amount": "1"}));
    gateway.adjust(&customer, "-1");
    gateway.refund(&customer, &order, &json!({"amount": "1", "reason": "x", "if_used": "debt"})).ok();
    let (_, code) = gateway.codes(&plain())[0].clone();
    gateway.redeem(&customer, &code).ok();
    assert_eq!(gateway.books(&customer).owing(), ("1.5".into(), "0".into()));
}

#[test]
fn a_code_is_made_with_a_bucket_an_amount_an_end_and_a_reason_that_can_be() {
    let mut gateway = shop();
    for (field, value) in [
        ("bucket", json!("gold")),
        ("amount", json!("0")),
        ("amount", json!("-1")),
        ("amount", json!("1e3")),
        ("count", json!(0)),
        ("count", json!(501)),
        ("count", json!(-1)),
        ("count", json!(1.5)),
        ("expires_at", json!("2020-01-01T00:00:00Z")),
        ("expires_at", json!("soon")),
        ("expires_at", NONE),
        ("reason", json!("")),
        ("reason", NONE),
        ("colour", json!("red")),
    ] {
        let mut body = json!({"bucket": "credit", "amount": "1", "expires_at": "2999-01-01T00:00:00Z", "reason": "x"});
        if value.is_null() {
            body.as_object_mut().unwrap().shift_remove(field)
        } else {
            body.as_object_mut().unwrap().insert(field.to_owned(), value.clone())
        };
        assert_eq!(gateway.admin("POST", "/admin/v1/codes", &body).status, 400, "{field} {value}");
    }
    let made = gateway.codes(&json!({"count": 500, "bucket": "wallet"}));
    assert_eq!(made.iter().map(|(_, code)| code).collect::<BTreeSet<_>>().len(), 500);
    for (_, code) in &made {
        let groups: Vec<&str> = code.split('-').collect();
        let is_fit = |letter: char| "23456789ABCDEFGHJKLMNPQRSTUVWXYZ".contains(letter);
        assert!(groups.len() == 4 && groups.iter().all(|group| group.len() == 5 && group.chars().all(is_fit)), "{code}");
    }
    let customer = gateway.customer(None);
    assert_eq!(gateway.redeem(&customer, &made[499].1).ok()["bucket"], "wallet");
    assert_eq!(gateway.books(&customer).of("wallet", "balance"), "2.5");
}
