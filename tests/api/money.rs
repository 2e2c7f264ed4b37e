//! What tests of money share: customers, orders, Stripe's signed messages, and the laws that an account's books keep.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use tokens_forge::money::Money;

use crate::gateway::{Answered, Call, Gateway, catalog};

pub const NONE: Value = Value::Null;
pub const STRIPE_KEY: &str = "sk_test_51NeverToBeShown";
pub const WEBHOOK_SECRET: &str = "whsec_neverToBeShownEither";

/// A gateway that takes cards, with two buckets more.
pub fn shop() -> Gateway {
    let mut document = catalog();
    document["buckets"]["yen"] = json!({"label": "Yen", "currency": "JPY"});
    document["buckets"]["dinar"] = json!({"label": "Dinar", "currency": "KWD"});
    let gateway = Gateway::with(&document);
    gateway.set("STRIPE_SECRET_KEY", STRIPE_KEY);
    gateway.set("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET);
    gateway.set("TOPUP_RETURN_URL", "https://shop.example/balance?tab=1");
    gateway
}

/// An account and the key of who buys for it.
#[derive(Clone)]
pub struct Customer {
    pub account: String,
    pub secret: String,
}

/// What an account's books say: its balances, and its entries, newest first.
pub struct Books {
    balances: Value,
    pub entries: Vec<Value>,
}

impl Books {
    pub fn of(&self, bucket: &str, field: &str) -> String {
        let found = self.balances.as_array().unwrap().iter().find(|view| view["bucket"] == bucket);
        found.unwrap()[field].as_str().unwrap().to_owned()
    }

    /// The balance in credit.
    pub fn credit(&self) -> String {
        self.of("credit", "balance")
    }

    /// Balance and debt in credit.
    pub fn owing(&self) -> (String, String) {
        (self.credit(), self.of("credit", "debt"))
    }

    /// Kind and amount of each entry.
    pub fn told(&self) -> Vec<String> {
        let told = |entry: &Value| format!("{} {}", entry["kind"].as_str().unwrap(), entry["amount"].as_str().unwrap());
        self.entries.iter().map(told).collect()
    }
}

fn nanos(text: &Value) -> i64 {
    Money::parse(text.as_str().unwrap()).unwrap().nanos()
}

impl Gateway {
    pub fn customer(&mut self, credit: Option<&str>) -> Customer {
        let account = self.account(&credit.map(|credit| ("credit", credit)).into_iter().collect::<Vec<_>>());
        let (_, secret) = self.key(&account, &json!({}));
        Customer { account, secret }
    }

    /// Orders 10 in credit, but for these fields.
    pub fn place(&mut self, customer: &Customer, fields: &Value) -> Answered {
        self.place_as(customer, fields, None)
    }

    pub fn place_as(&mut self, customer: &Customer, fields: &Value, idempotency: Option<&str>) -> Answered {
        let mut body = json!({"bucket": "credit", "amount": "10"});
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        let call = Call::new("POST", "/v1/topups").with(&customer.secret).json(&body);
        self.send(match idempotency {
            Some(key) => call.idempotency(key),
            None => call,
        })
    }

    #[track_caller]
    pub fn order(&mut self, customer: &Customer, fields: &Value) -> Value {
        let answered = self.place(customer, fields);
        assert_eq!(answered.status, 201, "{}", answered.body);
        answered.json()
    }

    /// An order that was paid by card.
    #[track_caller]
    pub fn paid(&mut self, customer: &Customer, fields: &Value) -> Value {
        let order = self.order(customer, fields);
        assert_eq!(self.tell(&completed(&order)).ok()["state"], "paid");
        order
    }

    /// The order as its customer sees it.
    pub fn seen(&mut self, customer: &Customer, order: &Value) -> Value {
        self.get(&customer.secret, &format!("/v1/topups/{}", id(order))).ok()
    }

    /// The order as the operator sees it.
    pub fn whole(&mut self, customer: &Customer, order: &Value) -> Value {
        self.admin("GET", &topup(customer, order), &NONE).ok()
    }

    pub fn review(&mut self, customer: &Customer, order: &Value, word: &str, verdict: &Value) -> Answered {
        self.admin("POST", &format!("{}/{word}", topup(customer, order)), verdict)
    }

    pub fn refund(&mut self, customer: &Customer, order: &Value, body: &Value) -> Answered {
        self.admin("POST", &format!("{}/refunds", topup(customer, order)), body)
    }

    pub fn adjust(&mut self, customer: &Customer, amount: &str) {
        let body = json!({"bucket": "credit", "amount": amount, "reason": "test"});
        self.admin("POST", &format!("/admin/v1/accounts/{}/adjustments", customer.account), &body).ok();
    }

    /// Delivers a message of Stripe's, signed now.
    pub fn tell(&mut self, message: &Value) -> Answered {
        let body = message.to_string();
        let signature = self.sign(&body);
        self.deliver(&body, Some(&signature))
    }

    pub fn seconds(&self) -> i64 {
        self.simulation.world.now.get() / 1000
    }

    pub fn sign(&self, body: &str) -> String {
        signature(body, WEBHOOK_SECRET, self.seconds())
    }

    pub fn deliver(&mut self, body: &str, signature: Option<&str>) -> Answered {
        let call = Call::new("POST", "/webhooks/stripe").body(body);
        self.send(Call { signature: signature.map(ToOwned::to_owned), ..call })
    }

    /// Makes codes of 2.5 credit, but for these fields: id and code of each.
    pub fn codes(&mut self, fields: &Value) -> Vec<(String, String)> {
        let mut body = json!({"bucket": "credit", "amount": "2.5", "expires_at": "2999-01-01T00:00:00Z", "reason": "A present", "note": "Enjoy"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let made = self.admin("POST", "/admin/v1/codes", &body).ok();
        let text = |code: &Value, name: &str| code[name].as_str().unwrap().to_owned();
        made["data"].as_array().unwrap().iter().map(|code| (text(code, "id"), text(code, "code"))).collect()
    }

    pub fn redeem(&mut self, customer: &Customer, code: &str) -> Answered {
        self.by(&customer.secret, "POST", "/v1/redeem", &json!({"code": code}))
    }

    /// The books of an account, checked entry by entry.
    #[track_caller]
    pub fn books(&mut self, customer: &Customer) -> Books {
        let balances = self.get(&customer.secret, "/v1/balances").ok()["data"].clone();
        let mut entries: Vec<Value> = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.get(&customer.secret, &format!("/v1/ledger?limit=3{after}")).ok();
            entries.extend(page["data"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        let mut sums = std::collections::BTreeMap::<String, i64>::new();
        for entry in entries.iter().rev() {
            let sum = sums.entry(entry["bucket"].as_str().unwrap().to_owned()).or_default();
            *sum += nanos(&entry["amount"]);
            assert_eq!(*sum, nanos(&entry["balance_after"]), "{entry}");
            assert!(*sum >= 0, "no balance is ever below zero");
        }
        for view in balances.as_array().unwrap() {
            assert_eq!(nanos(&view["balance"]), sums.get(view["bucket"].as_str().unwrap()).copied().unwrap_or(0));
        }
        Books { balances, entries }
    }
}

pub fn id(order: &Value) -> &str {
    order["id"].as_str().unwrap()
}

fn topup(customer: &Customer, order: &Value) -> String {
    format!("/admin/v1/accounts/{}/topups/{}", customer.account, id(order))
}

/// Stripe's published scheme.
pub fn signature(body: &str, secret: &str, at: i64) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// An event as Stripe sends it; its id is that of what it says.
pub fn event(kind: &str, object: &Value) -> Value {
    numbered(kind, object, 1)
}

/// The same under another id.
pub fn numbered(kind: &str, object: &Value, number: u32) -> Value {
    let id = tokens_forge::id::sha256_hex(&[kind.as_bytes(), object.to_string().as_bytes(), &number.to_be_bytes()]);
    json!({"id": format!("evt_{}", &id[..24]), "object": "event", "created": 1_800_000_000, "type": kind, "data": {"object": object}})
}

fn cents(amount: &Value) -> i64 {
    nanos(amount) / 10_000_000
}

/// The payment that an order has in these tests.
pub fn payment_of(order: &Value) -> String {
    format!("pi_{}", id(order))
}

fn with(mut object: Value, more: &Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// The session of an order, paid as ordered but for these fields.
pub fn session(order: &Value, more: &Value) -> Value {
    with(
        json!({
            "id": order["session"], "object": "checkout.session", "client_reference_id": order["id"], "status": "complete",
            "payment_status": "paid", "amount_total": cents(&order["amount"]),
            "currency": order["currency"].as_str().unwrap().to_lowercase(), "payment_intent": payment_of(order),
            "metadata": {"account": order["account"], "order": order["id"]},
        }),
        more,
    )
}

pub fn completed(order: &Value) -> Value {
    completed_with(order, &json!({}))
}

pub fn completed_with(order: &Value, more: &Value) -> Value {
    event("checkout.session.completed", &session(order, more))
}

pub fn expired(order: &Value) -> Value {
    let more = json!({"status": "expired", "payment_status": "unpaid", "payment_intent": null});
    event("checkout.session.expired", &session(order, &more))
}

/// So much of an order was refunded in all.
pub fn refunded(order: &Value, total: &str, more: &Value) -> Value {
    let charge = json!({
        "id": format!("ch_{}", id(order)), "object": "charge", "amount": cents(&order["amount"]),
        "amount_refunded": cents(&json!(total)), "currency": order["currency"].as_str().unwrap().to_lowercase(),
        "payment_intent": payment_of(order), "metadata": {"account": order["account"], "order": order["id"]},
    });
    event("charge.refunded", &with(charge, more))
}

/// A dispute names the payment, and nothing of the order. `kind` is withdrawn or reinstated.
pub fn dispute(kind: &str, order: &Value, amount: &str) -> Value {
    let object = json!({
        "id": format!("du_{}", id(order)), "object": "dispute", "amount": cents(&json!(amount)),
        "currency": order["currency"].as_str().unwrap().to_lowercase(), "payment_intent": payment_of(order), "metadata": {},
    });
    event(&format!("charge.dispute.funds_{kind}"), &object)
}
