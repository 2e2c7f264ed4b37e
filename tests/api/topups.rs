//! Orders: paid by card, which Stripe tells of in signed messages, or by transfer, which the operator looks for.

use serde_json::{Value, json};

use crate::gateway::{Call, Gateway, ROOT};
use crate::money::{
    Customer, NONE, STRIPE_KEY, WEBHOOK_SECRET, completed, completed_with, dispute, event, expired, id, numbered, payment_of,
    refunded, session, shop, signature,
};

fn plain() -> Value {
    json!({})
}

/// A gateway that takes cards, a customer, and an order of 10 that waits to be paid.
fn ordered() -> (Gateway, Customer, Value) {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let order = gateway.order(&customer, &plain());
    (gateway, customer, order)
}

#[test]
fn a_card_payment_asks_stripe_for_one_page_for_exactly_this_order() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let order = gateway.order(&customer, &json!({"amount": "12.30"}));
    for (field, expected) in [
        ("state", json!("pending")),
        ("amount", json!("12.3")),
        ("currency", json!("USD")),
        ("provider", json!("stripe")),
        ("account", json!(customer.account)),
        ("bucket", json!("credit")),
    ] {
        assert_eq!(order[field], expected, "{field}");
    }
    assert!(order["url"].as_str().unwrap().starts_with("https://checkout.stripe.com/"));
    assert!(order["next_step"].as_str().unwrap().contains("`url`"));
    assert_eq!(order.get("deliveries"), None);
    let calls = gateway.simulation.world.checkouts.borrow();
    let [(call, credential)] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(
        (call.path, credential.as_str(), call.idempotency_key.as_str()),
        ("/v1/checkout/sessions", STRIPE_KEY, id(&order))
    );
    let mut form: Vec<(String, String)> = url::form_urlencoded::parse(call.body.as_bytes()).into_owned().collect();
    let mut take = |name: &str| {
        let place = form.iter().position(|(known, _)| known == name).unwrap();
        form.remove(place).1
    };
    let (success, cancel, ends) = (take("success_url"), take("cancel_url"), take("expires_at"));
    form.sort();
    let mut expected = [
        ("mode", "payment"),
        ("client_reference_id", id(&order)),
        ("metadata[account]", &customer.account),
        ("metadata[order]", id(&order)),
        ("payment_intent_data[metadata][account]", &customer.account),
        ("payment_intent_data[metadata][order]", id(&order)),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "1230"),
        ("line_items[0][price_data][product_data][name]", "Balance: credit"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    expected.sort();
    assert_eq!(form, expected);
    for (text, result) in [(success, "paid"), (cancel, "cancelled")] {
        let back = url::Url::parse(&text).unwrap();
        assert_eq!((back.host_str(), back.path()), (Some("shop.example"), "/balance"));
        let query: Vec<(String, String)> = back.query_pairs().into_owned().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(query, [pair("tab", "1"), pair("topup", id(&order)), pair("result", result)]);
    }
    // The page ends with the order, and lives for the half hour at least that Stripe asks for.
    let at = |field: &str| tokens_forge::time::Timestamp::parse(order[field].as_str().unwrap()).unwrap().millis();
    assert_eq!(ends.parse::<i64>().unwrap(), at("expires_at") / 1000);
    assert!(at("expires_at") - at("created_at") > 30 * 60_000);
}

#[test]
fn a_card_payment_is_credited_when_the_signed_message_comes() {
    let (mut gateway, customer, order) = ordered();
    assert_eq!(gateway.books(&customer).credit(), "0", "an order is no balance");
    let told = gateway.tell(&completed(&order)).ok();
    assert_eq!(told, json!({"received": true, "order": id(&order), "state": "paid", "effect": "paid", "times": 1}));
    let books = gateway.books(&customer);
    assert_eq!(
        (books.credit(), books.of("credit", "available"), books.of("credit", "debt")),
        ("10".into(), "10".into(), "0".into())
    );
    assert_eq!(books.told(), ["top_up 10"]);
    let entry = &books.entries[0];
    assert_eq!((&entry["bucket"], &entry["order"], entry.get("author")), (&json!("credit"), &order["id"], None));
    assert_eq!(entry["reason"], format!("Order {} was paid.", id(&order)));
    let seen = gateway.seen(&customer, &order);
    assert_eq!((&seen["state"], &seen["entry"], &seen["refunded"]), (&json!("paid"), &entry["id"], &json!("0")));
    assert_eq!(seen["payment"], payment_of(&order));
    assert!(seen["paid_at"].is_string() && seen["next_step"].is_string());
    assert_eq!((seen.get("url"), seen.get("deliveries")), (None, None), "there is nothing to pay any more");
    let delivery = &gateway.whole(&customer, &order)["deliveries"][0];
    let (kind, effect, times) = (&delivery["kind"], &delivery["effect"], &delivery["times"]);
    assert_eq!((kind, effect, times), (&json!("checkout.session.completed"), &json!("paid"), &json!(1)));
}

#[test]
fn a_card_payment_that_is_on_its_way_is_credited_when_it_arrives() {
    let (mut gateway, customer, order) = ordered();
    let unpaid = json!({"payment_status": "unpaid"});
    assert_eq!(gateway.tell(&completed_with(&order, &unpaid)).ok()["state"], "pending");
    assert_eq!(gateway.books(&customer).credit(), "0");
    let arrived = event("checkout.session.async_payment_succeeded", &session(&order, &plain()));
    assert_eq!(gateway.tell(&arrived).ok()["state"], "paid");
    assert_eq!(gateway.books(&customer).credit(), "10");
    let other = gateway.order(&customer, &plain());
    gateway.tell(&completed_with(&other, &unpaid)).ok();
    gateway.tell(&event("checkout.session.async_payment_failed", &session(&other, &unpaid))).ok();
    let seen = gateway.seen(&customer, &other);
    assert_eq!(seen["state"], "failed");
    assert!(seen["reason"].is_string() && seen["next_step"].is_string());
    assert_eq!(gateway.books(&customer).credit(), "10");
}

#[test]
fn a_currency_is_asked_for_and_credited_in_its_own_units_or_not_at_all() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let order = gateway.order(&customer, &json!({"bucket": "yen", "amount": "500"}));
    let form = gateway.simulation.world.checkouts.borrow()[0].0.body.clone();
    let form: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    for (name, value) in [("line_items[0][price_data][unit_amount]", "500"), ("line_items[0][price_data][currency]", "jpy")] {
        assert!(form.contains(&(name.to_owned(), value.to_owned())), "{form:?}");
    }
    assert_eq!(gateway.tell(&completed_with(&order, &json!({"amount_total": 500}))).ok()["state"], "paid");
    assert_eq!(gateway.books(&customer).of("yen", "balance"), "500");
    assert_eq!(gateway.place(&customer, &json!({"bucket": "yen", "amount": "0.5"})).status, 400);
    let refused = gateway.place(&customer, &json!({"bucket": "dinar", "amount": "5"}));
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("provider")));
    let transfer = json!({"bucket": "dinar", "amount": "5", "provider": "manual"});
    assert_eq!(gateway.order(&customer, &transfer)["state"], "in_review");
}

#[test]
fn a_message_that_stripe_did_not_sign_is_refused_and_changes_nothing() {
    let (mut gateway, customer, order) = ordered();
    let (body, now) = (completed(&order).to_string(), gateway.seconds());
    let good = gateway.sign(&body);
    let (time, mark) = good.split_once(',').unwrap();
    let of = |secret: &str, at: i64| Some(signature(&body, secret, at));
    let changed = body.replace("\"amount_total\":1000", "\"amount_total\":1001");
    assert_ne!(changed, body);
    let forgeries = [
        ("no header", body.clone(), None),
        ("an empty header", body.clone(), Some(String::new())),
        ("another secret", body.clone(), of("whsec_other", now)),
        ("an empty secret", body.clone(), of("", now)),
        ("the API key", body.clone(), of(STRIPE_KEY, now)),
        ("changed after it was signed", changed, Some(good.clone())),
        ("one more space", format!("{body} "), Some(good.clone())),
        ("another time than was signed", body.clone(), Some(format!("t={},{mark}", now + 1))),
        (
            "a second time before the signed one",
            body.clone(),
            Some(format!("t={now},{}", signature(&body, WEBHOOK_SECRET, now - 3600))),
        ),
        ("no time", body.clone(), Some(mark.to_owned())),
        ("another scheme", body.clone(), Some(good.replace("v1=", "v0="))),
        ("a part of the signature", body.clone(), Some(good[..good.len() - 2].to_owned())),
        ("the signature in capitals", body.clone(), Some(format!("{time},v1={}", mark[3..].to_uppercase()))),
        ("an hour old", body.clone(), of(WEBHOOK_SECRET, now - 3600)),
        ("of the hour to come", body.clone(), of(WEBHOOK_SECRET, now + 3600)),
    ];
    for (name, body, header) in forgeries {
        let answered = gateway.deliver(&body, header.as_deref());
        answered.refused(400, "invalid_request");
        assert_eq!(answered.json()["error"]["param"], "Stripe-Signature", "{name}");
        let is_long = |run: &str| run.len() >= 64;
        assert!(!answered.body.split(|letter: char| !letter.is_ascii_hexdigit()).any(is_long), "{name}: nor what would be right");
        let whole = gateway.whole(&customer, &order);
        assert_eq!((&whole["state"], &whole["deliveries"]), (&json!("pending"), &json!([])), "{name}");
        assert_eq!(gateway.books(&customer).credit(), "0");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let answered = gateway.send(Call::new(method, "/webhooks/stripe"));
        assert_eq!((answered.status, answered.header("allow")), (405, Some("POST, OPTIONS")), "{method}");
    }
    // One good signature among others, as while the secret is replaced.
    let older = signature(&body, "whsec_older", now);
    let both = format!("{time},{},{mark},v0={}", older.split_once(',').unwrap().1, "0".repeat(64));
    assert_eq!(gateway.deliver(&body, Some(&both)).ok()["state"], "paid");
}

#[test]
fn a_message_that_comes_many_times_is_counted_and_credits_once() {
    let (mut gateway, customer, order) = ordered();
    let message = completed(&order);
    for times in 1..=10 {
        let told = gateway.tell(&message).ok();
        assert_eq!((&told["state"], &told["times"]), (&json!("paid"), &json!(times)));
    }
    let old = signature(&message.to_string(), WEBHOOK_SECRET, gateway.seconds() - 200);
    assert_eq!(gateway.deliver(&message.to_string(), Some(&old)).ok()["times"], 11);
    let deliveries = gateway.whole(&customer, &order)["deliveries"].clone();
    assert_eq!(deliveries.as_array().unwrap().len(), 1);
    let delivery = &deliveries[0];
    assert_eq!((&delivery["id"], &delivery["times"], &delivery["effect"]), (&message["id"], &json!(11), &json!("paid")));
    assert_eq!(gateway.books(&customer).told(), ["top_up 10"]);
}

#[test]
fn the_same_payment_under_other_ids_credits_once() {
    let (mut gateway, customer, order) = ordered();
    let paid = session(&order, &plain());
    gateway.tell(&completed(&order)).ok();
    gateway.tell(&numbered("checkout.session.completed", &paid, 2)).ok();
    gateway.tell(&event("checkout.session.async_payment_succeeded", &paid)).ok();
    assert_eq!(gateway.books(&customer).told(), ["top_up 10"]);
    let whole = gateway.whole(&customer, &order);
    let effects: Vec<&str> =
        whole["deliveries"].as_array().unwrap().iter().map(|delivery| delivery["effect"].as_str().unwrap()).collect();
    assert_eq!(effects.iter().filter(|effect| **effect == "paid").count(), 1);
    assert_eq!(effects.iter().filter(|effect| effect.starts_with("none")).count(), 2);
}

#[test]
fn a_payment_after_the_end_of_its_order_is_credited_and_an_end_after_the_payment_takes_nothing() {
    let (mut gateway, customer, order) = ordered();
    assert_eq!(gateway.tell(&expired(&order)).ok()["state"], "expired");
    let seen = gateway.seen(&customer, &order);
    assert_eq!((&seen["state"], seen.get("url")), (&json!("expired"), None));
    assert!(seen["reason"].is_string() && seen["next_step"].is_string());
    assert_eq!(gateway.tell(&completed(&order)).ok()["state"], "paid");
    let seen = gateway.seen(&customer, &order);
    assert_eq!((&seen["state"], &seen["reason"]), (&json!("paid"), &NONE));
    assert_eq!(gateway.books(&customer).credit(), "10");
    let other = gateway.paid(&customer, &plain());
    for message in [
        expired(&other),
        event("checkout.session.async_payment_failed", &session(&other, &plain())),
        completed_with(&other, &json!({"payment_status": "unpaid"})),
    ] {
        let told = gateway.tell(&message).ok();
        assert_eq!(told["state"], "paid");
        assert!(told["effect"].as_str().unwrap().starts_with("none"), "{told}");
    }
    assert_eq!(gateway.books(&customer).credit(), "20");
}

#[test]
fn an_order_that_nobody_pays_ends_by_itself() {
    let (mut gateway, customer, order) = ordered();
    gateway.advance(34 * 60_000);
    gateway.alarm();
    assert_eq!(gateway.seen(&customer, &order)["state"], "pending");
    gateway.advance(2 * 60_000);
    gateway.alarm();
    assert_eq!(gateway.seen(&customer, &order)["state"], "expired");
    let listed = gateway.admin("GET", "/admin/v1/topups?state=expired", &NONE).ok();
    assert_eq!(listed["data"][0]["id"], order["id"]);
}

#[test]
fn a_message_that_names_the_order_of_another_account_credits_nobody() {
    let (mut gateway, victim, order) = ordered();
    let thief = gateway.customer(None);
    let own = gateway.order(&thief, &plain());
    for (account, named) in [
        (thief.account.as_str(), id(&order)),
        (&victim.account, id(&own)),
        ("nobody", id(&order)),
        (&victim.account, "order-none"),
    ] {
        let told = gateway.tell(&completed_with(&order, &json!({"metadata": {"account": account, "order": named}}))).ok();
        assert!(told["effect"].as_str().unwrap().starts_with("ignored"), "{account} {named}: {told}");
    }
    // Here both fit each other, but the session is that of another order.
    let metadata = json!({"metadata": {"account": thief.account, "order": own["id"]}});
    let told = gateway.tell(&completed_with(&order, &metadata)).ok();
    let effect = told["effect"].as_str().unwrap();
    assert!(effect.starts_with("refused: ") && effect.contains("session"), "{effect}");
    for (customer, order) in [(&victim, &order), (&thief, &own)] {
        assert_eq!(gateway.books(customer).told(), [""; 0]);
        assert_eq!(gateway.seen(customer, order)["state"], "pending");
    }
    gateway.admin("GET", "/admin/v1/accounts/nobody", &NONE).refused(404, "not_found");
}

#[test]
fn a_message_about_another_session_or_payment_is_refused_and_is_in_the_log() {
    let (mut gateway, customer, order) = ordered();
    let told = gateway.tell(&completed_with(&order, &json!({"id": "cs_test_other"}))).ok();
    assert_eq!(told["state"], "pending");
    assert!(told["effect"].as_str().unwrap().starts_with("refused"), "{told}");
    assert!(gateway.simulation.log().iter().any(|line| line.contains(id(&order)) && line.contains("refused")));
    gateway.tell(&completed(&order)).ok();
    let told = gateway.tell(&refunded(&order, "10", &json!({"payment_intent": "pi_other"}))).ok();
    assert!(told["effect"].as_str().unwrap().starts_with("refused"), "{told}");
    assert_eq!(gateway.books(&customer).credit(), "10");
    let transfer = gateway.order(&customer, &json!({"provider": "manual"}));
    let told = gateway.tell(&completed_with(&transfer, &json!({"id": "cs_test_other"}))).ok();
    assert!(told["effect"].as_str().unwrap().starts_with("refused"), "a transfer: {told}");
    assert_eq!(gateway.seen(&customer, &transfer)["state"], "in_review");
    assert_eq!(gateway.books(&customer).credit(), "10");
}

#[test]
fn messages_of_another_integration_on_the_same_stripe_account_are_ignored() {
    let mut gateway = shop();
    let paid =
        json!({"id": "cs_1", "object": "checkout.session", "payment_status": "paid", "amount_total": 1000, "currency": "usd"});
    let with = |metadata: Value| {
        let mut session = paid.clone();
        session["metadata"] = metadata;
        event("checkout.session.completed", &session)
    };
    let charge = |amount: i64| {
        let object = json!({"id": "ch_1", "object": "charge", "amount_refunded": amount, "currency": "usd", "payment_intent": "pi_theirs", "metadata": {}});
        event("charge.refunded", &object)
    };
    let dispute = |payment: Value| {
        let object = json!({"id": "du_1", "object": "dispute", "amount": 1000, "currency": "usd", "payment_intent": payment, "metadata": {}});
        event("charge.dispute.funds_withdrawn", &object)
    };
    for mut message in [
        event("customer.created", &json!({"id": "cus_1", "object": "customer"})),
        with(json!({})),
        with(json!({"order": "7", "account": "a b"})),
        charge(1000),
        charge(99_999_999_999_999),
        dispute(json!("pi_theirs")),
        dispute(NONE),
        event("payout.paid", &json!({"id": "po_1", "object": "payout", "amount": 99_999_999_999_999_i64})),
    ] {
        message["created"] = json!(gateway.seconds() - 3600);
        let told = gateway.tell(&message).ok();
        assert!(told["effect"].as_str().unwrap().starts_with("ignored"), "{message}: {told}");
    }
    // A payment that nobody knows yet may be known in a moment: Stripe tells of it again.
    gateway.tell(&charge(1000)).refused(503, "service_unavailable");
}

#[test]
fn a_message_that_cannot_be_read_is_refused_so_that_stripe_sends_it_again() {
    let (mut gateway, customer, order) = ordered();
    let mut broken: Vec<String> = ["", "not json", "[]", "{}"].map(str::to_owned).into();
    for more in [
        json!({"amount_total": null}),
        json!({"amount_total": "1000"}),
        json!({"amount_total": 10.5}),
        json!({"amount_total": -1000}),
        json!({"currency": null}),
        json!({"payment_status": "new"}),
        json!({"amount_total": 99_999_999_999_999_i64}),
    ] {
        broken.push(completed_with(&order, &more).to_string());
    }
    for body in broken {
        let signature = gateway.sign(&body);
        assert_eq!(gateway.deliver(&body, Some(&signature)).status, 400, "{body}");
    }
    assert_eq!(gateway.whole(&customer, &order)["deliveries"], json!([]));
    assert_eq!(gateway.tell(&completed(&order)).ok()["state"], "paid");
}

#[test]
fn a_payment_that_the_balance_cannot_hold_is_not_lost() {
    let mut gateway = shop();
    let customer = gateway.customer(Some("9007180"));
    let order = gateway.order(&customer, &plain());
    gateway.adjust(&customer, "19");
    assert_eq!(gateway.place(&customer, &plain()).status, 400, "what could not be credited is not ordered");
    assert_eq!(gateway.tell(&completed(&order)).status, 200);
    let whole = gateway.whole(&customer, &order);
    assert_eq!(
        (&whole["state"], whole["deliveries"].as_array().unwrap().len()),
        (&json!("in_review"), 1),
        "the operator is told"
    );
    assert_eq!(gateway.books(&customer).credit(), "9007199");
}

#[test]
fn another_amount_or_currency_is_shown_to_the_operator_who_approves_what_came() {
    for more in [json!({"amount_total": 999}), json!({"amount_total": 100_000}), json!({"currency": "cny"})] {
        let (mut gateway, customer, order) = ordered();
        assert_eq!(gateway.tell(&completed_with(&order, &more)).ok()["state"], "in_review");
        let seen = gateway.seen(&customer, &order);
        assert!(seen["reason"].as_str().unwrap().contains("was paid, 10 USD was ordered"), "{seen}");
        assert!(seen["next_step"].is_string());
        assert!(gateway.books(&customer).entries.is_empty());
        let listed = gateway.admin("GET", "/admin/v1/topups", &NONE).ok();
        assert_eq!((&listed["data"][0]["account"], &listed["data"][0]["reason"]), (&json!(customer.account), &seen["reason"]));
        let verdict = json!({"amount": "9.99", "reason": "What arrived", "author": "kim", "note": "As it came"});
        let approved = gateway.review(&customer, &order, "approve", &verdict).ok();
        for (field, expected) in
            [("state", "paid"), ("amount", "9.99"), ("author", "root"), ("on_behalf_of", "kim"), ("reason", "What arrived")]
        {
            assert_eq!(approved[field], expected, "{field}");
        }
        let books = gateway.books(&customer);
        assert_eq!(books.told(), ["top_up 9.99"]);
        let entry = &books.entries[0];
        assert_eq!((entry.get("author"), &entry["reason"], &entry["note"]), (None, &NONE, &json!("As it came")));
        assert_eq!(entry["order"], order["id"]);
        assert!(gateway.tell(&completed(&order)).ok()["effect"].as_str().unwrap().starts_with("none"));
        assert_eq!(gateway.books(&customer).credit(), "9.99");
        assert_eq!(gateway.seen(&customer, &order)["amount"], "9.99");
    }
}

#[test]
fn another_amount_is_rejected_with_a_note_that_the_customer_reads() {
    let (mut gateway, customer, order) = ordered();
    gateway.tell(&completed_with(&order, &json!({"amount_total": 1}))).ok();
    let verdict = json!({"reason": "Given back at Stripe", "author": "kim", "note": "It went back to your card"});
    assert_eq!(gateway.review(&customer, &order, "reject", &verdict).ok()["state"], "failed");
    let seen = gateway.seen(&customer, &order);
    let expected = (&json!("failed"), &NONE, &json!("It went back to your card"));
    assert_eq!((&seen["state"], &seen["reason"], &seen["note"]), expected);
    assert!(gateway.books(&customer).entries.is_empty());
}

#[test]
fn what_was_taken_back_while_it_was_in_review_is_taken_back_when_it_is_approved() {
    for message in [|order: &Value| refunded(order, "10", &json!({})), |order: &Value| dispute("withdrawn", order, "10")] {
        let (mut gateway, customer, order) = ordered();
        gateway.tell(&completed_with(&order, &json!({"amount_total": 1001}))).ok();
        assert_eq!(gateway.tell(&message(&order)).ok()["order"], order["id"]);
        let unsaid = gateway.review(&customer, &order, "approve", &json!({"reason": "Fine"}));
        assert_eq!(unsaid.status, 400, "what arrived has to be said");
        let approved = gateway.review(&customer, &order, "approve", &json!({"reason": "Fine", "amount": "10"})).ok();
        assert_eq!(approved["state"], "paid");
        assert_eq!(gateway.books(&customer).credit(), "0");
    }
}

#[test]
fn while_stripe_fails_an_order_is_failed_with_a_reason_and_there_is_nothing_to_pay() {
    let bad_key = json!({"error": {"message": format!("Bad key {STRIPE_KEY}."), "type": "api_error"}}).to_string();
    for answer in [
        Ok((500, bad_key.clone())),
        Ok((401, bad_key)),
        Ok((200, "<html>Welcome</html>".to_owned())),
        Ok((200, String::new())),
        Ok((200, json!({"id": "cs_test_1", "url": null}).to_string())),
        Ok((307, String::new())),
        Err("reset".to_owned()),
    ] {
        let mut gateway = shop();
        let customer = gateway.customer(None);
        gateway.simulation.world.pages_to_pay.borrow_mut().push_back(answer.clone());
        let order = gateway.order(&customer, &plain());
        assert_eq!((&order["state"], &order["session"], order.get("url")), (&json!("failed"), &NONE, None), "{answer:?}");
        assert!(order["reason"].as_str().unwrap().contains("did not open a page") && order["next_step"].is_string());
        assert_eq!(gateway.simulation.world.checkouts.borrow().len(), 1, "it is asked once");
        assert!(gateway.simulation.log().iter().any(|line| line.contains(id(&order))), "the operator finds out why");
        assert!(!order.to_string().contains(STRIPE_KEY));
        assert!(gateway.books(&customer).entries.is_empty());
    }
}

#[test]
fn while_another_call_for_the_same_page_is_under_way_stripe_is_asked_again() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let busy = || Ok((409, "{}".to_owned()));
    gateway.simulation.world.pages_to_pay.borrow_mut().extend([busy(), busy()]);
    let order = gateway.order(&customer, &plain());
    assert_eq!(order["state"], "pending");
    assert!(order["url"].is_string());
    assert_eq!(gateway.simulation.world.checkouts.borrow().len(), 3);
    gateway.simulation.world.pages_to_pay.borrow_mut().extend([busy(), busy(), busy(), busy()]);
    let order = gateway.order(&customer, &plain());
    assert_eq!((&order["state"], &order["url"]), (&json!("pending"), &NONE), "that call will say what became of it");
}

#[test]
fn an_order_of_something_that_cannot_be_is_refused_before_stripe_hears_of_it() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    for fields in [
        json!({"amount": "0"}),
        json!({"amount": "-1"}),
        json!({"amount": "0.001"}),
        json!({"amount": "1e9"}),
        json!({"amount": "1000000000"}),
        json!({"amount": 10}),
        json!({"amount": null}),
        json!({"amount": "Infinity"}),
        json!({"bucket": "gold"}),
        json!({"bucket": "../credit"}),
        json!({"provider": "paypal"}),
        json!({"account": "other"}),
        json!({"state": "paid"}),
        json!({"provider": "manual", "reference": ""}),
        json!({"provider": "manual", "reference": "a\nb"}),
        json!({"provider": "manual", "reference": "x".repeat(201)}),
        json!({"provider": "manual", "amount": "0"}),
        json!({"provider": "manual", "amount": "-5"}),
    ] {
        let answered = gateway.place(&customer, &fields);
        assert_eq!(answered.status, 400, "{fields}");
        answered.code();
    }
    gateway.by(&customer.secret, "POST", "/v1/topups", &json!({"bucket": "credit"})).refused(400, "invalid_request");
    assert!(gateway.simulation.world.checkouts.borrow().is_empty());
    assert_eq!(gateway.get(&customer.secret, "/v1/topups").ok()["data"], json!([]));
}

#[test]
fn an_order_with_an_idempotency_key_is_made_once_and_has_one_page() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let key = Some("top-up-1");
    let first = gateway.place_as(&customer, &plain(), key);
    let second = gateway.place_as(&customer, &plain(), key);
    assert_eq!((second.status, second.json()), (201, first.json()));
    let first = first.json();
    assert!(gateway.simulation.world.checkouts.borrow().windows(2).all(|calls| calls[0].0.body == calls[1].0.body));
    for other in [json!({"amount": "11"}), json!({"bucket": "wallet"}), json!({"provider": "manual"})] {
        gateway.place_as(&customer, &other, key).refused(409, "idempotency_mismatch");
    }
    assert_eq!(gateway.get(&customer.secret, "/v1/topups").ok()["data"].as_array().unwrap().len(), 1);
    let stranger = gateway.customer(None);
    let theirs = gateway.place_as(&stranger, &json!({"amount": "11"}), key).ok();
    assert_ne!(theirs["id"], first["id"], "the key is the caller's own");
    assert_eq!(gateway.tell(&completed(&first)).ok()["state"], "paid");
    assert_eq!(gateway.place_as(&customer, &plain(), key).ok()["state"], "paid", "and tells what became of it");
    assert_eq!(gateway.books(&customer).credit(), "10");
    // Another reference is another order.
    let transfer = |reference: &str| json!({"provider": "manual", "reference": reference});
    for (reference, status) in [("INV-1", 201), ("INV-1", 201), ("INV-2", 409)] {
        assert_eq!(gateway.place_as(&customer, &transfer(reference), Some("transfer-1")).status, status, "{reference}");
    }
    for key in ["x".repeat(256).as_str(), "two words", ""] {
        assert_eq!(gateway.place_as(&customer, &plain(), Some(key)).status, 400, "{key}");
    }
}

#[test]
fn an_order_that_is_repeated_before_its_page_was_noted_asks_the_same_of_stripe_again() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let outside = gateway.simulation.outside();
    let busy = || Ok((409, "{}".to_owned()));
    gateway.simulation.world.pages_to_pay.borrow_mut().extend([busy(), busy(), busy(), busy()]);
    let first = gateway.place_as(&customer, &plain(), Some("patient")).ok();
    assert_eq!(first["url"], NONE);
    gateway.advance(2_000);
    let second = gateway.place_as(&customer, &plain(), Some("patient")).ok();
    assert_eq!((&second["id"], &second["state"]), (&first["id"], &json!("pending")));
    assert!(second["url"].is_string());
    let calls = outside.0.checkouts.borrow();
    assert!(calls.iter().all(|(call, _)| call.body == calls[0].0.body), "Stripe refuses a key with other parameters");
}

#[test]
fn an_order_belongs_to_its_account() {
    let (mut gateway, owner, order) = ordered();
    let stranger = gateway.customer(None);
    let path = format!("/v1/topups/{}", id(&order));
    gateway.get(&stranger.secret, &path).refused(404, "not_found");
    assert_eq!(gateway.get(&stranger.secret, "/v1/topups").ok()["data"], json!([]));
    let approve = format!("/admin/v1/accounts/{}/topups/{}/approve", owner.account, id(&order));
    let code = json!({"bucket": "credit", "amount": "1", "expires_at": "2999-01-01T00:00:00Z", "reason": "mine"});
    for secret in [&stranger.secret, &owner.secret] {
        for (path, body) in [(approve.as_str(), json!({"reason": "mine"})), ("/admin/v1/codes", code.clone())] {
            assert_eq!(gateway.by(secret, "POST", path, &body).status, 401);
        }
    }
    let wrong = format!("/admin/v1/accounts/{}/topups/{}", stranger.account, id(&order));
    gateway.admin("GET", &wrong, &NONE).refused(404, "not_found");
    for (word, body) in [
        ("approve", json!({"reason": "x"})),
        ("reject", json!({"reason": "x"})),
        ("refunds", json!({"reason": "x", "amount": "1"})),
    ] {
        assert_eq!(gateway.admin("POST", &format!("{wrong}/{word}"), &body).status, 404, "{word}");
    }
    assert_eq!(gateway.get("none", &path).status, 401);
    assert_eq!(gateway.send(Call::new("GET", &path)).status, 401);
    assert_eq!(gateway.seen(&owner, &order)["state"], "pending");
}

#[test]
fn orders_are_listed_newest_first_page_by_page_however_they_were_made() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let mut ids = Vec::new();
    for index in 0..6 {
        gateway.advance(1);
        let key = format!("n{index}");
        let made = gateway.place_as(&customer, &json!({"provider": "manual"}), (index % 2 == 0).then_some(key.as_str())).ok();
        ids.insert(0, made["id"].clone());
    }
    let ids_of = |page: &Value| -> Vec<Value> { page["data"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect() };
    assert_eq!(ids_of(&gateway.get(&customer.secret, "/v1/topups").ok()), ids);
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = gateway.get(&customer.secret, &format!("/v1/topups?limit=2{after}")).ok();
        listed.extend(ids_of(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(listed, ids);
    let whole = gateway.admin("GET", &format!("/admin/v1/accounts/{}/topups", customer.account), &NONE).ok();
    assert_eq!(ids_of(&whole), ids);
    let of_all = gateway.admin("GET", "/admin/v1/topups?limit=2", &NONE).ok();
    assert_eq!(ids_of(&of_all), ids[..2]);
    gateway.admin("GET", "/admin/v1/topups?state=nothing", &NONE).refused(400, "invalid_request");
}

#[test]
fn reading_changes_no_order_and_methods_that_there_are_not_say_which_there_are() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let order = gateway.paid(&customer, &plain());
    let rows = |gateway: &Gateway| gateway.stored(&customer.account, |memory| memory.journal.len());
    let before = rows(&gateway);
    let own = format!("/v1/topups/{}", id(&order));
    for path in ["/v1/topups", &own, "/v1/balances", "/v1/ledger", "/v1/redeem", "/webhooks/stripe"] {
        gateway.get(&customer.secret, path);
    }
    let whole = format!("/admin/v1/accounts/{}/topups/{}", customer.account, id(&order));
    for path in ["/admin/v1/topups", "/admin/v1/codes", &whole, &format!("{whole}/approve")] {
        gateway.get(ROOT, path);
    }
    assert_eq!(rows(&gateway), before);
    for (path, methods, allow) in [
        ("/v1/topups", &["PUT", "DELETE", "PATCH"][..], "GET, HEAD, POST, OPTIONS"),
        (&own, &["POST", "DELETE"], "GET, HEAD, OPTIONS"),
        ("/v1/redeem", &["GET", "PUT"], "POST, OPTIONS"),
    ] {
        for method in methods {
            let answered = gateway.by(&customer.secret, method, path, &NONE);
            assert_eq!((answered.status, answered.header("allow")), (405, Some(allow)), "{method} {path}");
        }
    }
}

#[test]
fn a_transfer_is_in_review_until_the_operator_approves_it_and_twice_the_same_word_is_one() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let reference = "INV 7'); DROP TABLE orders; -- \"{}\" 付款";
    let fields = json!({"bucket": "wallet", "amount": "0.001", "provider": "manual", "reference": reference});
    let order = gateway.order(&customer, &fields);
    assert!(gateway.simulation.world.checkouts.borrow().is_empty());
    assert_eq!((&order["state"], &order["reference"]), (&json!("in_review"), &json!(reference)));
    assert_eq!((&order["expires_at"], &order["session"], order.get("url")), (&NONE, &NONE, None));
    assert!(order["next_step"].is_string());
    assert_eq!(gateway.admin("GET", "/admin/v1/topups", &NONE).ok()["data"][0]["reference"], reference);
    let verdict = json!({"reason": "It is there", "author": "kim"});
    for _ in 0..5 {
        assert_eq!(gateway.review(&customer, &order, "approve", &verdict).ok()["state"], "paid");
    }
    let books = gateway.books(&customer);
    assert_eq!((books.of("wallet", "balance"), books.told()), ("0.001".to_owned(), vec!["top_up 0.001".to_owned()]));
    assert_eq!(books.entries[0].get("author"), None);
    for (word, more) in [
        ("reject", plain()),
        ("approve", json!({"author": "sam"})),
        ("approve", json!({"reason": "Another"})),
        ("approve", json!({"note": "Another"})),
    ] {
        let mut other = verdict.clone();
        other.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        gateway.review(&customer, &order, word, &other).refused(409, "conflict");
    }
    assert_eq!(gateway.books(&customer).of("wallet", "balance"), "0.001");
    assert_eq!(gateway.admin("GET", "/admin/v1/topups", &NONE).ok()["data"], json!([]), "the end of the review");
    let paid = gateway.admin("GET", "/admin/v1/topups?state=paid&limit=1", &NONE).ok();
    assert_eq!((&paid["data"][0]["id"], &paid["data"][0]["state"]), (&order["id"], &json!("paid")));
}

#[test]
fn an_order_is_repeated_as_it_was_decided_whatever_amount_is_said_then() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let ordered = |amount: &str| json!({"provider": "manual", "amount": amount});
    let order = gateway.place_as(&customer, &ordered("10"), Some("transfer-1")).ok();
    gateway.place_as(&customer, &ordered("11"), Some("transfer-1")).refused(409, "idempotency_mismatch");
    let verdict = json!({"amount": "4", "reason": "What arrived"});
    gateway.review(&customer, &order, "approve", &verdict).ok();
    for amount in ["10", "4", "11"] {
        let again = gateway.place_as(&customer, &ordered(amount), Some("transfer-1")).ok();
        assert_eq!((&again["id"], &again["amount"]), (&order["id"], &json!("4")), "{amount}");
    }
    assert_eq!(gateway.books(&customer).credit(), "4");
}

#[test]
fn a_transfer_is_decided_once_and_for_all() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let order = gateway.order(&customer, &json!({"provider": "manual"}));
    let verdict = |amount: &str| json!({"amount": amount, "reason": "It is there"});
    for _ in 0..2 {
        assert_eq!(gateway.review(&customer, &order, "approve", &verdict("4")).ok()["amount"], "4");
    }
    for amount in ["5", "10"] {
        assert_eq!(gateway.review(&customer, &order, "approve", &verdict(amount)).status, 409, "{amount}");
    }
    assert_eq!(gateway.books(&customer).credit(), "4");
    let order = gateway.order(&customer, &json!({"provider": "manual"}));
    for _ in 0..2 {
        let rejected = gateway.review(&customer, &order, "reject", &json!({"reason": "Nothing came"})).ok();
        assert_eq!(
            (&rejected["state"], &rejected["reason"], &rejected["author"]),
            (&json!("failed"), &json!("Nothing came"), &json!("root"))
        );
    }
    assert_eq!(gateway.review(&customer, &order, "approve", &json!({"reason": "Late"})).status, 409);
    let refund = gateway.refund(&customer, &order, &json!({"amount": "1", "reason": "x"}));
    assert_eq!(refund.status, 409, "what was never paid cannot be refunded");
    assert_eq!(gateway.books(&customer).credit(), "4");
}

#[test]
fn a_transfer_is_only_decided_with_a_reason_and_an_amount_that_can_be() {
    let mut gateway = shop();
    let customer = gateway.customer(None);
    let order = gateway.order(&customer, &json!({"provider": "manual"}));
    for verdict in [
        plain(),
        json!({"reason": ""}),
        json!({"reason": "x", "amount": "0"}),
        json!({"reason": "x", "amount": "-1"}),
        json!({"reason": "x", "amount": "lots"}),
        json!({"reason": "x", "amount": "9007199254"}),
        json!({"reason": "x", "author": ""}),
        json!({"reason": "x", "colour": "red"}),
    ] {
        assert_eq!(gateway.review(&customer, &order, "approve", &verdict).status, 400, "{verdict}");
    }
    assert_eq!(gateway.seen(&customer, &order)["state"], "in_review");
    assert!(gateway.books(&customer).entries.is_empty());
}

#[test]
fn a_gateway_without_stripe_has_nothing_at_the_path_of_its_messages_and_takes_transfers() {
    let mut gateway = Gateway::new();
    gateway.set("STRIPE_WEBHOOK_SECRET", "  ");
    let nothing = gateway.send(Call::new("POST", "/nothing")).json()["error"]["message"].clone();
    let body = event("customer.created", &json!({"id": "cus_1"})).to_string();
    let now = gateway.seconds();
    let signed = |secret: &str| Some(signature(&body, secret, now));
    for header in [signed(WEBHOOK_SECRET), signed(""), signed("  "), None, Some("x".to_owned())] {
        let answered = gateway.deliver(&body, header.as_deref());
        answered.refused(404, "not_found");
        assert_eq!(answered.json()["error"]["message"], nothing);
    }
    for method in ["GET", "PUT"] {
        assert_eq!(gateway.send(Call::new(method, "/webhooks/stripe")).status, 404, "{method}");
    }
    let customer = gateway.customer(None);
    let order = gateway.order(&customer, &json!({"amount": "5"}));
    assert_eq!((&order["provider"], &order["state"]), (&json!("manual"), &json!("in_review")));
    let refused = gateway.place(&customer, &json!({"provider": "stripe"}));
    refused.refused(400, "invalid_request");
    let error = &refused.json()["error"];
    assert_eq!(error["param"], "provider");
    assert!(error["metadata"]["next_step"].as_str().unwrap().contains("manual"));
}

#[test]
fn a_payment_counts_whatever_became_of_the_key_that_ordered_it() {
    let mut gateway = shop();
    let account = gateway.account(&[]);
    let (key, secret) = gateway.key(&account, &plain());
    let customer = Customer { account: account.clone(), secret };
    let order = gateway.order(&customer, &plain());
    gateway.admin("DELETE", &format!("/admin/v1/accounts/{account}/keys/{key}"), &NONE).ok();
    assert_eq!(gateway.place(&customer, &plain()).status, 401);
    assert_eq!(gateway.tell(&completed(&order)).ok()["state"], "paid");
    assert_eq!(gateway.balance(&account, "credit"), "10");
}

#[test]
fn while_the_copy_is_broken_payments_are_credited_and_what_needs_it_is_asked_for_again() {
    let (mut gateway, customer, order) = ordered();
    gateway.fail("d1", u32::MAX);
    assert_eq!(gateway.tell(&completed(&order)).ok()["state"], "paid");
    assert_eq!(gateway.books(&customer).credit(), "10");
    // Disputes name a payment, whose order only the copy knows.
    gateway.tell(&dispute("withdrawn", &order, "10")).refused(503, "service_unavailable");
    assert_eq!(gateway.redeem(&customer, "ABCDE-FGHJK-LMNPQ-RSTUV").status, 503);
    gateway.fail("d1", 0);
    gateway.alarm();
    assert_eq!(gateway.tell(&dispute("withdrawn", &order, "10")).ok()["order"], order["id"]);
    assert_eq!(gateway.books(&customer).credit(), "0");
}
