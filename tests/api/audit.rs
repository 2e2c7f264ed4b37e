//! Every change that the operator can make is in the audit, with who, what and why.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokens_forge::account::OPERATOR;
use tokens_forge::api::table::{TABLE, Who};
use tokens_forge::probe::PROBE_ACCOUNT;
use tokens_forge::time::Timestamp;

use crate::gateway::{Answered, Gateway, ROOT, catalog};

const NONE: Value = Value::Null;

/// Makes every change that there is, each by an author and for a reason of its own; answers their names in order.
fn changed(gateway: &mut Gateway) -> Vec<(&'static str, &'static str)> {
    let mut made: Vec<(&'static str, &'static str)> = Vec::new();
    let mut change = |gateway: &mut Gateway, name: (&'static str, &'static str), path: &str, body: Option<Value>| -> Answered {
        let index = made.len();
        made.push(name);
        gateway.advance(1);
        let (author, reason) = (format!("author {index}"), format!("reason {index}"));
        let answered = match body {
            Some(mut body) => {
                body["author"] = json!(author);
                body["reason"] = json!(reason);
                gateway.admin(name.0, &format!("/admin/v1{path}"), &body)
            }
            None => {
                let mark = if path.contains('?') { '&' } else { '?' };
                let query = format!("author=author%20{index}&reason=reason%20{index}");
                let mut next = catalog();
                next["hold_timeout_ms"] = json!(70_000);
                let body = if name.0 == "PUT" { next } else { NONE };
                gateway.admin(name.0, &format!("/admin/v1{path}{mark}{query}"), &body)
            }
        };
        answered.ok();
        answered
    };
    let of = "/admin/v1/accounts/{account}";
    assert!(TABLE.iter().any(|row| row.path == of));
    change(gateway, ("POST", "/admin/v1/accounts"), "/accounts", Some(json!({"id": "audited", "name": "Audited"})));
    change(
        gateway,
        ("POST", "/admin/v1/accounts/{account}/projects"),
        "/accounts/audited/projects",
        Some(json!({"id": "p", "name": "P"})),
    );
    let key = change(
        gateway,
        ("POST", "/admin/v1/accounts/{account}/keys"),
        "/accounts/audited/keys",
        Some(json!({"label": "k", "rpm": 10})),
    );
    let text = |answered: &Answered, field: &str| answered.json()[field].as_str().unwrap().to_owned();
    let path = format!("/accounts/audited/keys/{}", text(&key, "id"));
    let orders: Vec<String> = ["7", "8"]
        .iter()
        .map(|amount| {
            let order = json!({"bucket": "credit", "amount": amount, "provider": "manual"});
            text(&gateway.by(&text(&key, "secret"), "POST", "/v1/topups", &order), "id")
        })
        .collect();
    let of_key = "/admin/v1/accounts/{account}/keys/{key}";
    change(gateway, ("PATCH", of_key), &path, Some(json!({"label": "other", "rpm": 20})));
    change(gateway, ("DELETE", of_key), &path, None);
    let credit = json!({"bucket": "credit", "amount": "3"});
    change(gateway, ("POST", "/admin/v1/accounts/{account}/adjustments"), "/accounts/audited/adjustments", Some(credit));
    let order = |n: usize, word: &str| format!("/accounts/audited/topups/{}/{word}", orders[n]);
    let of_order = |word: &str| TABLE.iter().find(|row| row.path.ends_with(&format!("{{order}}/{word}"))).unwrap().path;
    change(gateway, ("POST", of_order("approve")), &order(0, "approve"), Some(json!({})));
    change(gateway, ("POST", of_order("refunds")), &order(0, "refunds"), Some(json!({"amount": "1"})));
    change(gateway, ("POST", of_order("reject")), &order(1, "reject"), Some(json!({})));
    let codes = json!({"bucket": "credit", "amount": "1", "expires_at": "2999-01-01T00:00:00Z"});
    let code = change(gateway, ("POST", "/admin/v1/codes"), "/codes", Some(codes));
    let code = code.json()["data"][0]["id"].as_str().unwrap().to_owned();
    change(gateway, ("DELETE", "/admin/v1/codes/{id}"), &format!("/codes/{code}"), None);
    change(gateway, ("PUT", "/admin/v1/catalog"), "/catalog?effective_at=2999-02-01T00:00:00Z", None);
    change(gateway, ("DELETE", "/admin/v1/catalog/announced"), "/catalog/announced", None);
    change(gateway, ("POST", "/admin/v1/probe"), "/probe", Some(json!({})));
    change(gateway, ("DELETE", "/admin/v1/accounts/{account}/sessions"), "/accounts/audited/sessions", None);
    let token = json!({"name": "audited", "scopes": ["read"]});
    let token = change(gateway, ("POST", "/admin/v1/tokens"), "/tokens", Some(token));
    let token = text(&token, "id");
    change(gateway, ("DELETE", "/admin/v1/tokens/{token}"), &format!("/tokens/{token}"), None);
    made
}

#[test]
fn every_change_that_the_operator_can_make_is_in_the_audit_with_who_what_and_why() {
    let mut gateway = Gateway::new();
    let made = changed(&mut gateway);
    let table = TABLE.iter().filter(|row| row.who == Who::Operator && row.method != "GET").map(|row| (row.method, row.path));
    assert_eq!(made.iter().copied().collect::<BTreeSet<_>>(), table.collect(), "every one is tried");
    gateway.alarm();
    let rows = gateway.admin("GET", "/admin/v1/audit?limit=100", &NONE).ok();
    let rows = rows["data"].as_array().unwrap();
    for (index, name) in made.iter().enumerate() {
        let row = rows.iter().find(|row| row["on_behalf_of"] == format!("author {index}"));
        let row = row.unwrap_or_else(|| panic!("{name:?}"));
        assert_eq!(row["author"], "root", "{name:?}: who was authenticated, whatever the request says");
        assert_eq!(row["reason"], format!("reason {index}"), "{name:?}");
        assert!(!row["what"].as_str().unwrap().is_empty(), "{name:?}");
    }
    let times: Vec<i64> = rows.iter().map(|row| Timestamp::parse(row["at"].as_str().unwrap()).unwrap().millis()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "in one list, newest first: {times:?}");
    // Of a key each field with what it was and what it became, and no hash.
    let row = rows.iter().find(|row| row["what"].as_str().is_some_and(|what| what.contains("rpm 10 -> 20"))).unwrap();
    assert_eq!(row["changed"], json!({"label": {"before": "k", "after": "other"}, "rpm": {"before": 10, "after": 20}}));
    let revoked = rows.iter().find(|row| row["what"].as_str().is_some_and(|what| what.contains("revoked_at"))).unwrap();
    assert!(revoked["what"].as_str().unwrap().contains("revoked_at null -> \"20"));
    assert!(!json!(rows).to_string().contains("\"hash\""));
    for kind in ["catalog", "code", "probe", "key", "project", "account", "adjustment", "token", "session"] {
        let found = gateway.admin("GET", &format!("/admin/v1/audit?kind={kind}"), &NONE).ok();
        let found = found["data"].as_array().unwrap();
        assert!(!found.is_empty() && found.iter().all(|row| row["kind"] == kind), "{kind}");
    }
    let export = gateway.admin("GET", "/admin/v1/audit?format=csv", &NONE).body;
    let mut lines = export.trim().split("\r\n");
    assert!(lines.next().unwrap().ends_with(",note,currency,author,what,on_behalf_of"));
    assert!(lines.any(|line| line.contains(",root,") && line.contains("rpm 10 -> 20") && line.ends_with(",author 3")));
}

#[test]
fn a_change_is_signed_by_the_token_that_makes_it_and_nobody_has_to_say_so() {
    let mut gateway = Gateway::new();
    gateway.admin("POST", "/admin/v1/accounts", &json!({"id": "unsigned", "name": "Unsigned"})).ok();
    let rows = gateway.admin("GET", "/admin/v1/audit?account=unsigned", &NONE).ok();
    let row = rows["data"].as_array().unwrap().iter().find(|row| row["kind"] == "account").unwrap();
    assert_eq!((&row["author"], &row["on_behalf_of"], &row["reason"]), (&json!("root"), &NONE, &NONE));
    for (field, value) in [("author", "x".repeat(201)), ("reason", "x".repeat(201)), ("author", String::new())] {
        let mut body = json!({"name": "Long"});
        body[field] = json!(value);
        assert_eq!(gateway.admin("POST", "/admin/v1/accounts", &body).status, 400, "{field}");
    }
    let adjustment = json!({"bucket": "credit", "amount": "1", "reason": "r", "note": "x".repeat(501)});
    assert_eq!(gateway.admin("POST", "/admin/v1/accounts/unsigned/adjustments", &adjustment).status, 400);
}

#[test]
fn nothing_is_done_to_the_account_that_keeps_what_is_about_no_account() {
    let mut gateway = Gateway::new();
    for id in [OPERATOR, PROBE_ACCOUNT] {
        gateway.admin("POST", "/admin/v1/accounts", &json!({"id": id, "name": "x"})).refused(400, "invalid_request");
    }
    for (method, rest, body) in [
        ("GET", "", NONE),
        ("POST", "/keys", json!({"label": "x"})),
        ("POST", "/adjustments", json!({"bucket": "credit", "amount": "1", "reason": "x"})),
    ] {
        gateway.by(ROOT, method, &format!("/admin/v1/accounts/{OPERATOR}{rest}"), &body).refused(404, "not_found");
    }
    let listed = gateway.admin("GET", "/admin/v1/accounts", &NONE).ok();
    assert_eq!(listed["data"], json!([]), "and is in no list of accounts");
}
