//! What happens while something outside does not answer: an account, the searchable copy, KV.

use serde_json::{Value, json};

use crate::gateway::Gateway;

const NONE: Value = Value::Null;

/// A gateway, an account with one in credit, and its key.
fn ready() -> (Gateway, String, String) {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (_, secret) = gateway.key(&account, &json!({}));
    gateway.alarm();
    (gateway, account, secret)
}

#[test]
fn while_an_account_does_not_answer_everything_of_it_is_503_and_nothing_is_called() {
    let (mut gateway, account, secret) = ready();
    for name in ["command", "hold"] {
        gateway.fail(name, u32::MAX);
    }
    let refused = gateway.call(&secret, "one");
    refused.refused(503, "service_unavailable");
    assert!(refused.header("retry-after").is_some() && !refused.body.contains("silent"));
    assert_eq!(gateway.calls(), 0, "no call before its hold");
    for path in [
        "/v1/balances",
        "/v1/key",
        "/v1/receipts",
        "/v1/ledger",
        "/v1/models",
        "/v1/runs",
        "/v1/topups",
        "/v1/credits",
        "/v1/activity",
    ] {
        let refused = gateway.get(&secret, path);
        refused.refused(503, "service_unavailable");
        assert!(!refused.body.contains("silent"), "what is private goes to the log alone");
    }
    for (method, rest, body) in [
        ("GET", "", NONE),
        ("GET", "/keys", NONE),
        ("POST", "/keys", json!({"label": "x"})),
        ("POST", "/adjustments", json!({"bucket": "credit", "amount": "1", "reason": "x"})),
    ] {
        gateway.admin(method, &format!("/admin/v1/accounts/{account}{rest}"), &body).refused(503, "service_unavailable");
    }
    assert!(gateway.simulation.log().iter().any(|line| line.starts_with("log: gen-") && line.ends_with(": silent")));
    for name in ["command", "hold"] {
        gateway.fail(name, 0);
    }
    assert_eq!(gateway.call(&secret, "one").status, 200);
    assert_eq!(gateway.balance(&account, "credit"), "0.99998");
}

#[test]
fn an_account_that_is_silent_once_at_the_end_of_a_request_is_told_again_and_charges_once() {
    let (mut gateway, account, secret) = ready();
    gateway.fail("settle", 2);
    let answered = gateway.call(&secret, "one");
    assert_eq!(answered.status, 200);
    gateway.simulation.settle_down();
    assert_eq!(gateway.receipt(&secret, &answered)["charge"], "0.00002");
    assert_eq!(gateway.balance(&account, "credit"), "0.99998");
    gateway.stored(&account, |memory| {
        memory.check_law();
        assert!(memory.holds.is_empty());
    });
}

#[test]
fn a_request_whose_end_never_arrives_is_ended_by_the_alarm() {
    let (mut gateway, account, secret) = ready();
    gateway.fail("settle", u32::MAX);
    let answered = gateway.call(&secret, "one");
    assert_eq!(answered.status, 200);
    gateway.simulation.settle_down();
    assert_eq!(gateway.stored(&account, |memory| memory.holds.len()), 1);
    gateway.advance(3_600_000);
    gateway.alarm();
    let receipt = gateway.receipt(&secret, &answered);
    assert_eq!((&receipt["status"], &receipt["error"]["code"]), (&json!("aborted"), &json!("hold_expired")));
    assert_eq!(gateway.stored(&account, |memory| memory.holds.len()), 0);
}

#[test]
fn while_the_copy_is_down_requests_and_administration_go_on_and_the_rows_arrive_later_each_once() {
    let (mut gateway, account, secret) = ready();
    let id = tokens_forge::id::AccountId::parse(&account).unwrap();
    let copied = |gateway: &Gateway| gateway.simulation.world.database.borrow().copies[&id].rows.len();
    let before = copied(&gateway);
    gateway.fail("d1", u32::MAX);
    let answered = gateway.call(&secret, "one");
    assert_eq!(gateway.receipt(&secret, &answered)["status"], "completed", "the receipt is there at once");
    // Administration goes on too: a new account, a key, a credit, a revocation.
    let newcomer = gateway.account(&[("credit", "1")]);
    let (key, extra) = gateway.key(&newcomer, &json!({}));
    assert_eq!(gateway.call(&extra, "one").status, 200);
    gateway.admin("DELETE", &format!("/admin/v1/accounts/{newcomer}/keys/{key}"), &NONE).ok();
    assert_eq!(gateway.call(&extra, "one").status, 401);
    gateway.alarm();
    assert_eq!(copied(&gateway), before);
    assert!(gateway.simulation.log().iter().any(|line| line.contains("copying to D1")), "the operator is told");
    for path in [
        "/admin/v1/accounts",
        "/admin/v1/receipts",
        "/admin/v1/audit",
        "/admin/v1/spend",
        "/admin/v1/codes",
        "/admin/v1/tokens",
        "/admin/v1/topups",
    ] {
        let refused = gateway.admin("GET", path, &NONE);
        refused.refused(503, "service_unavailable");
        assert!(!refused.body.contains("SELECT") && !refused.body.contains("silent"), "{path}");
    }
    gateway.fail("d1", 0);
    for _ in 0..2 {
        gateway.alarm();
    }
    assert_eq!(copied(&gateway), gateway.stored(&account, |memory| memory.journal.len()));
    let listed = gateway.admin("GET", &format!("/admin/v1/receipts?account={newcomer}"), &NONE).ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    for account in [&account, &newcomer] {
        assert_eq!(gateway.admin("GET", &format!("/admin/v1/reconcile?account={account}"), &NONE).ok()["ok"], true);
    }
}

#[test]
fn while_kv_is_down_keys_are_found_in_the_copy() {
    let (mut gateway, _, secret) = ready();
    gateway.fail("kv", u32::MAX);
    assert_eq!(gateway.call(&secret, "one").status, 200);
    let refused = gateway.admin("POST", "/admin/v1/accounts", &json!({"id": "later", "name": "L"}));
    assert_eq!(refused.status, 201, "accounts need no KV: {}", refused.body);
    gateway.admin("POST", "/admin/v1/accounts/later/keys", &json!({"label": "x"})).refused(503, "service_unavailable");
    gateway.fail("d1", u32::MAX);
    gateway.call(&secret, "one").refused(503, "service_unavailable");
}

#[test]
fn a_code_that_an_account_took_and_could_not_credit_is_credited_later() {
    let (mut gateway, account, secret) = ready();
    let body = json!({"bucket": "credit", "amount": "2", "expires_at": "2999-01-01T00:00:00Z", "reason": "x"});
    let made = gateway.admin("POST", "/admin/v1/codes", &body).ok();
    let code = json!({"code": made["data"][0]["code"]});
    // The key is checked, then the code is taken, then the account does not answer.
    let world = std::rc::Rc::clone(&gateway.simulation.world);
    let open = {
        let call = crate::gateway::Call::new("POST", "/v1/redeem").with(&secret).json(&code);
        world.failing.borrow_mut().insert("redeem", 1);
        gateway.open(call)
    };
    let refused = gateway.finish(open);
    refused.refused(503, "service_unavailable");
    assert_eq!(gateway.balance(&account, "credit"), "1");
    gateway.advance(61_000);
    gateway.scheduled();
    assert_eq!(gateway.balance(&account, "credit"), "3");
    assert_eq!(gateway.by(&secret, "POST", "/v1/redeem", &code).status, 200);
    assert_eq!(gateway.balance(&account, "credit"), "3");
}
