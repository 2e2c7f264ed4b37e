//! Administration: off without its token, secrets shown once, changes effective on the next request, and nothing of one account
//! within reach of another.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::gateway::{Call, Gateway, ROOT};

const NONE: Value = Value::Null;

#[test]
fn accounts_are_made_listed_page_by_page_and_read_with_their_balances() {
    let mut gateway = Gateway::new();
    let mut ids = Vec::new();
    for body in [json!({"name": "No id"}), json!({"id": "acme", "name": "Acme"}), json!({"id": "a-1_b.C", "name": "Ünï 大"})] {
        let made = gateway.admin("POST", "/admin/v1/accounts", &body);
        assert_eq!(made.status, 201);
        let made = made.json();
        assert_eq!(made["name"], body["name"]);
        if let Some(id) = body.get("id") {
            assert_eq!(made["id"], *id);
        }
        let view = |balance: &Value| json!([balance["bucket"], balance["currency"], balance["balance"], balance["held"]]);
        let balances: Vec<Value> = made["balances"].as_array().unwrap().iter().map(view).collect();
        assert_eq!(json!(balances), json!([["credit", "USD", "0", "0"], ["wallet", "CNY", "0", "0"]]));
        let id = made["id"].as_str().unwrap().to_owned();
        assert_eq!(gateway.admin("GET", &format!("/admin/v1/accounts/{id}"), &NONE).ok(), made);
        ids.push(id);
    }
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = gateway.admin("GET", &format!("/admin/v1/accounts?limit=2{after}"), &NONE).ok();
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        listed.extend(data.iter().map(|account| account["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), listed.len());
    assert_eq!(listed.iter().collect::<BTreeSet<_>>(), ids.iter().collect(), "and no others");
}

/// Every endpoint, with a body that would do if it were allowed.
fn endpoints() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("POST", "/admin/v1/accounts", json!({"name": "x"})),
        ("GET", "/admin/v1/accounts", NONE),
        ("GET", "/admin/v1/accounts/a", NONE),
        ("POST", "/admin/v1/accounts/a/projects", json!({"name": "x"})),
        ("GET", "/admin/v1/accounts/a/projects", NONE),
        ("POST", "/admin/v1/accounts/a/keys", json!({"label": "x"})),
        ("GET", "/admin/v1/accounts/a/keys", NONE),
        ("PATCH", "/admin/v1/accounts/a/keys/k", json!({"label": "x"})),
        ("DELETE", "/admin/v1/accounts/a/keys/k", NONE),
        ("POST", "/admin/v1/accounts/a/adjustments", json!({"bucket": "credit", "amount": "1", "reason": "x"})),
        ("GET", "/admin/v1/catalog", NONE),
        ("PUT", "/admin/v1/catalog", json!({})),
        ("GET", "/admin/v1/health", NONE),
        ("POST", "/admin/v1/probe", NONE),
    ]
}

#[test]
fn without_a_token_that_is_set_every_path_of_administration_is_like_one_that_does_not_exist() {
    for unset in [None, Some("")] {
        let mut gateway = Gateway::new();
        match unset {
            Some(empty) => gateway.set("ADMIN_TOKEN", empty),
            None => drop(gateway.simulation.world.settings.borrow_mut().remove("ADMIN_TOKEN")),
        }
        for credential in [None, Some(""), Some("undefined"), Some(ROOT)] {
            for (method, path, body) in endpoints() {
                let mut answer = |method: &str, path: &str| {
                    let call = Call::new(method, path).json(&body);
                    let answered = gateway.send(match credential {
                        Some(credential) => call.with(credential),
                        None => call,
                    });
                    (answered.status, answered.header("content-type").map(ToOwned::to_owned), answered.json()["error"].clone())
                };
                let unknown = answer(if method == "GET" { "POST" } else { method }, "/nowhere/v1/accounts");
                assert_eq!(unknown.0, 404);
                assert_eq!(answer(method, path), unknown, "{method} {path}");
            }
        }
    }
}

#[test]
fn with_another_token_or_a_customers_key_everything_is_refused() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let (longer, upper) = (format!("{ROOT}x"), ROOT.to_uppercase());
    let credentials = [None, Some(""), Some(&longer), Some(&ROOT[..ROOT.len() - 1]), Some(&upper), Some(&secret)];
    for (index, credential) in credentials.into_iter().enumerate() {
        for (place, (method, path, body)) in endpoints().into_iter().enumerate() {
            // Each from an address of its own: so many wrong tokens from one are told to slow down.
            let call = Call::new(method, path).address(&format!("2001:db8:{index:x}:{place:x}::1"));
            let call = if body.is_null() { call } else { call.json(&body) };
            let answered = gateway.send(credential.map_or(call.clone(), |credential| call.with(credential)));
            answered.refused(401, "invalid_admin_token");
            assert_eq!(answered.header("cache-control"), Some("no-store"));
        }
    }
    gateway.admin("GET", "/admin/v1/accounts/a", &NONE).refused(404, "not_found");
}

#[test]
fn the_operators_token_is_no_way_in_for_customers() {
    let mut gateway = Gateway::new();
    for path in ["/v1/balances", "/v1/models", "/v1/receipts", "/v1/ledger", "/v1/key"] {
        assert_eq!(gateway.get(ROOT, path).status, 401, "{path}");
    }
    assert_eq!(gateway.call(ROOT, "one").status, 401);
}

#[test]
fn what_is_no_account_is_refused() {
    let mut gateway = Gateway::new();
    let long = |letters: usize| "x".repeat(letters);
    for body in [
        json!({}),
        json!({"name": ""}),
        json!({"name": "  "}),
        json!({"name": 7}),
        json!({"name": long(201)}),
        json!({"name": "a\u{0}b"}),
        json!({"name": "x", "id": "a b"}),
        json!({"name": "x", "id": ""}),
        json!({"name": "x", "id": "a/b"}),
        json!({"name": "x", "id": long(65)}),
        json!({"name": "x", "balance": "100"}),
        json!([]),
    ] {
        let answered = gateway.admin("POST", "/admin/v1/accounts", &body);
        assert_eq!(answered.status, 400, "{body}");
        answered.code();
    }
    for body in ["", "name", "{", "{\"name\":\"x\"", "\u{0}"] {
        let answered = gateway.send(Call::new("POST", "/admin/v1/accounts").with(ROOT).body(body));
        assert_eq!(answered.status, 400, "{body}");
    }
    for query in ["limit=0", "limit=51", "limit=x"] {
        assert_eq!(gateway.admin("GET", &format!("/admin/v1/accounts?{query}"), &NONE).status, 400, "{query}");
    }
}

#[test]
fn accounts_keep_their_id_for_themselves() {
    let mut gateway = Gateway::new();
    gateway.admin("POST", "/admin/v1/accounts", &json!({"id": "taken", "name": "The first"})).ok();
    let credit = json!({"bucket": "credit", "amount": "5", "reason": "test"});
    gateway.admin("POST", "/admin/v1/accounts/taken/adjustments", &credit).ok();
    gateway.admin("POST", "/admin/v1/accounts", &json!({"id": "taken", "name": "The second"})).refused(409, "conflict");
    let view = gateway.admin("GET", "/admin/v1/accounts/taken", &NONE).ok();
    assert_eq!((&view["name"], &view["balances"][0]["balance"]), (&json!("The first"), &json!("5")));
}

#[test]
fn accounts_that_do_not_exist_are_nowhere_to_be_found() {
    let mut gateway = Gateway::new();
    for id in ["nobody".to_owned(), "x".repeat(64)] {
        let path = format!("/admin/v1/accounts/{id}");
        for (method, rest, body) in [
            ("GET", "", NONE),
            ("GET", "/keys", NONE),
            ("GET", "/projects", NONE),
            ("POST", "/keys", json!({"label": "x"})),
            ("POST", "/projects", json!({"name": "x"})),
            ("POST", "/adjustments", json!({"bucket": "credit", "amount": "1", "reason": "x"})),
            ("PATCH", "/keys/key-1", json!({"label": "x"})),
            ("DELETE", "/keys/key-1", NONE),
            ("GET", "", NONE),
        ] {
            gateway.admin(method, &format!("{path}{rest}"), &body).refused(404, "not_found");
        }
    }
}

#[test]
fn what_is_asked_of_an_account_or_a_key_that_does_not_exist_is_not_found_and_changes_nothing() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[]);
    let (key, _) = gateway.key(&account, &json!({}));
    let records = |gateway: &mut Gateway| gateway.admin("GET", "/admin/v1/audit", &NONE).ok()["data"].as_array().unwrap().len();
    let before = records(&mut gateway);
    for (method, path) in [
        ("GET", "/admin/v1/accounts/nobody/topups".to_owned()),
        ("DELETE", "/admin/v1/accounts/nobody/sessions".to_owned()),
        ("DELETE", format!("/admin/v1/accounts/nobody/sessions?key={key}")),
        ("DELETE", format!("/admin/v1/accounts/{account}/sessions?key=key_nobody")),
    ] {
        gateway.admin(method, &path, &NONE).refused(404, "not_found");
    }
    assert_eq!(records(&mut gateway), before);
    assert_eq!(gateway.admin("GET", "/admin/v1/accounts", &NONE).ok()["data"].as_array().unwrap().len(), 1);
    gateway.admin("DELETE", &format!("/admin/v1/accounts/{account}/sessions?key={key}"), &NONE).ok();
}

#[test]
fn projects_are_made_and_listed_and_keys_belong_to_them() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let path = format!("/admin/v1/accounts/{account}/projects");
    let budgets = json!([{"bucket": "credit", "period": "month", "limit": "5"}]);
    let made = gateway.admin("POST", &path, &json!({"name": "Search", "budgets": budgets})).ok();
    assert_eq!((&made["name"], &made["budgets"], &made["account"]), (&json!("Search"), &budgets, &json!(account)));
    let listed = gateway.admin("GET", &path, &NONE).ok();
    let names: BTreeSet<&str> = listed["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["Default", "Search"]));
    let (_, secret) = gateway.key(&account, &json!({"project": made["id"]}));
    let answered = gateway.call(&secret, "one");
    assert_eq!(gateway.receipt(&secret, &answered)["project"], made["id"]);
}

#[test]
fn what_is_no_project_or_anothers_is_refused() {
    let mut gateway = Gateway::new();
    let (account, other) = (gateway.account(&[]), gateway.account(&[]));
    let path = format!("/admin/v1/accounts/{account}/projects");
    let budget = |bucket: &str, period: &str, limit: Value| json!([{"bucket": bucket, "period": period, "limit": limit}]);
    for body in [
        json!({}),
        json!({"name": ""}),
        json!({"name": "x", "colour": "red"}),
        json!({"name": "x", "budgets": {}}),
        json!({"name": "x", "budgets": budget("gold", "day", json!("1"))}),
        json!({"name": "x", "budgets": budget("credit", "week", json!("1"))}),
        json!({"name": "x", "budgets": budget("credit", "day", json!(1))}),
    ] {
        assert_eq!(gateway.admin("POST", &path, &body).status, 400, "{body}");
    }
    let theirs = gateway.admin("POST", &format!("/admin/v1/accounts/{other}/projects"), &json!({"name": "theirs"})).ok();
    let body = json!({"label": "x", "project": theirs["id"]});
    gateway.admin("POST", &format!("/admin/v1/accounts/{account}/keys"), &body).refused(404, "not_found");
}

#[test]
fn the_secret_of_a_key_is_shown_once_and_is_another_for_each_key() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let path = format!("/admin/v1/accounts/{account}/keys");
    let made = gateway.admin("POST", &path, &json!({"label": "my key"})).ok();
    let (id, secret) = (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned());
    let bare = secret.strip_prefix("sk-tf-").unwrap();
    assert!(bare.len() == 48 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(made.get("hash"), None);
    gateway.call(&secret, "one");
    let key = format!("{path}/{id}");
    let mut shown = vec![
        gateway.admin("GET", &path, &NONE),
        gateway.admin("PATCH", &key, &json!({"label": "renamed"})),
        gateway.admin("GET", &format!("/admin/v1/accounts/{account}"), &NONE),
    ];
    for path in ["/v1/key", "/v1/receipts", "/v1/ledger", "/v1/balances", "/v1/models"] {
        shown.push(gateway.get(&secret, path));
    }
    shown.extend([gateway.admin("DELETE", &key, &NONE), gateway.admin("GET", &path, &NONE)]);
    let hash = tokens_forge::id::sha256_hex(&[secret.as_bytes()]);
    for answered in shown {
        answered.ok();
        assert!(!answered.body.contains(bare) && !answered.body.contains(&hash), "{}", answered.body);
    }
    let keys: Vec<(String, String)> = (0..20).map(|_| gateway.key(&account, &json!({}))).collect();
    assert_eq!(keys.iter().map(|(_, secret)| secret).collect::<BTreeSet<_>>().len(), 20);
    let listed = gateway.admin("GET", &path, &NONE).ok();
    let listed: BTreeSet<String> =
        listed["data"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, keys.into_iter().map(|(id, _)| id).chain([id]).collect());
}

#[test]
fn what_is_no_policy_of_a_key_is_refused_whole() {
    let budget = |fields: Value| json!({"budgets": [fields]});
    for policy in [
        json!({"rmp": 1}),
        json!({"rpm": -1}),
        json!({"rpm": 1.5}),
        json!({"rpm": "10"}),
        json!({"tpm": -1}),
        json!({"concurrency": -1}),
        json!({"models": "gpt"}),
        json!({"models": [7]}),
        json!({"routes": ["direct"]}),
        json!({"routes": "official"}),
        json!({"cross_routes": "yes"}),
        json!({"expires_at": "soon"}),
        json!({"ip_allow": ["here"]}),
        budget(json!({"bucket": "gold", "period": "day", "limit": "1"})),
        budget(json!({"bucket": "credit", "period": "week", "limit": "1"})),
        budget(json!({"bucket": "credit", "period": "day", "limit": 1})),
        budget(json!({"bucket": "credit", "period": "day", "limit": "1e3"})),
        budget(json!({"bucket": "credit", "period": "day"})),
        json!({"label": ""}),
        json!({"label": 7}),
        json!({"secret": "sk-tf-mine"}),
        json!({"id": "mine"}),
        json!({"account": "other"}),
        json!({"hash": "00"}),
        json!({"revoked_at": null}),
        json!({"version": 9}),
    ] {
        let mut gateway = Gateway::new();
        let account = gateway.account(&[("credit", "1")]);
        let path = format!("/admin/v1/accounts/{account}/keys");
        let mut body = json!({"label": "x"});
        body.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
        assert_eq!(gateway.admin("POST", &path, &body).status, 400, "{policy}");
        let (id, secret) = gateway.key(&account, &json!({"rpm": 100}));
        assert_eq!(gateway.admin("PATCH", &format!("{path}/{id}"), &policy).status, 400, "{policy}");
        let listed = gateway.admin("GET", &path, &NONE).ok();
        assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{policy}: nothing of it was taken");
        assert_eq!((&listed["data"][0]["policy"]["rpm"], &listed["data"][0]["version"]), (&json!(100), &json!(1)), "{policy}");
        assert_eq!(gateway.call(&secret, "one").status, 200, "{policy}");
    }
}

/// What is changed, the policy before and what changes of it; how a request is answered before, and after.
type Changed = (&'static str, Value, Value, u16, (u16, &'static str));

fn changes() -> Vec<Changed> {
    let limit = json!({"budgets": [{"bucket": "credit", "period": "total", "limit": "0.00005"}]});
    vec![
        ("models", json!({}), json!({"models": ["two"]}), 200, (403, "model_not_allowed")),
        ("more models", json!({"models": ["two"]}), json!({"models": ["*"]}), 403, (200, "")),
        ("routes", json!({}), json!({"routes": ["routed"]}), 200, (403, "route_not_allowed")),
        ("requests a minute", json!({}), json!({"rpm": 1}), 200, (429, "rate_limit_exceeded")),
        ("its end", json!({}), json!({"expires_at": "2020-01-01T00:00:00Z"}), 200, (401, "invalid_api_key")),
        ("addresses", json!({}), json!({"ip_allow": ["203.0.113.7"]}), 200, (403, "ip_not_allowed")),
        ("concurrency", json!({}), json!({"concurrency": 0}), 200, (429, "rate_limit_exceeded")),
        ("its budget", json!({}), limit, 200, (403, "budget_exceeded")),
    ]
}

#[test]
fn a_change_of_a_key_is_effective_on_the_very_next_request_whatever_copies_say() {
    for are_copies_late in [false, true] {
        for (what, from, to, before, (status, code)) in changes() {
            // An old copy can refuse for up to a minute what is allowed now, but not allow what is not.
            if are_copies_late && before != 200 {
                continue;
            }
            let mut gateway = Gateway::new();
            let account = gateway.account(&[("credit", "1")]);
            let (id, secret) = gateway.key(&account, &from);
            gateway.simulation.world.are_keys_late.set(are_copies_late);
            assert_eq!(gateway.call(&secret, "one").status, before, "{what}");
            let changed = gateway.admin("PATCH", &format!("/admin/v1/accounts/{account}/keys/{id}"), &to).ok();
            for (field, value) in to.as_object().unwrap() {
                assert_eq!(changed["policy"][field], *value, "{what}");
            }
            if what == "requests a minute" {
                gateway.call(&secret, "one");
            }
            let answered = gateway.call(&secret, "one");
            assert_eq!(answered.status, status, "{what}: {}", answered.body);
            if status != 200 {
                assert_eq!(answered.code(), code, "{what}");
            }
        }
    }
}

#[test]
fn a_change_of_a_key_keeps_what_it_does_not_name() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[]);
    let (id, _) = gateway.key(&account, &json!({"models": ["one"], "rpm": 5, "tpm": 1000, "cross_routes": true}));
    let path = format!("/admin/v1/accounts/{account}/keys/{id}");
    let changed = gateway.admin("PATCH", &path, &json!({"label": "second", "rpm": 6})).ok();
    assert_eq!((&changed["label"], &changed["version"]), (&json!("second"), &json!(2)));
    let policy = &changed["policy"];
    for (field, value) in [("models", json!(["one"])), ("rpm", json!(6)), ("tpm", json!(1000)), ("cross_routes", json!(true))] {
        assert_eq!(policy[field], value);
    }
    let changed = gateway.admin("PATCH", &path, &json!({"tpm": null})).ok();
    assert!(changed["policy"].get("tpm").is_none_or(Value::is_null));
}

#[test]
fn a_revoked_key_is_refused_on_the_very_next_request_and_stays_so_whatever_copies_say() {
    for are_copies_late in [false, true] {
        let mut gateway = Gateway::new();
        let account = gateway.account(&[("credit", "1")]);
        let (id, secret) = gateway.key(&account, &json!({}));
        gateway.simulation.world.are_keys_late.set(are_copies_late);
        assert_eq!(gateway.call(&secret, "one").status, 200);
        let path = format!("/admin/v1/accounts/{account}/keys/{id}");
        let revoked = gateway.admin("DELETE", &path, &NONE).ok();
        let balance = gateway.balance(&account, "credit");
        let calls = gateway.calls();
        let assert_refused = |gateway: &mut Gateway| {
            gateway.call(&secret, "one").refused(401, "invalid_api_key");
            for path in ["/v1/balances", "/v1/receipts", "/v1/ledger", "/v1/key", "/v1/models"] {
                gateway.get(&secret, path).refused(401, "invalid_api_key");
            }
        };
        assert_refused(&mut gateway);
        // A second time changes nothing, and no change of its policy brings it back.
        gateway.advance(1000);
        assert_eq!(gateway.admin("DELETE", &path, &NONE).ok()["revoked_at"], revoked["revoked_at"]);
        gateway.admin("PATCH", &path, &json!({"label": "back"})).ok();
        assert_refused(&mut gateway);
        let listed = gateway.admin("GET", &format!("/admin/v1/accounts/{account}/keys"), &NONE).ok();
        assert_eq!(listed["data"][0]["revoked_at"], revoked["revoked_at"]);
        assert_eq!(gateway.calls(), calls, "nothing was sent upstream");
        assert_eq!(gateway.balance(&account, "credit"), balance);
    }
}

#[test]
fn what_belongs_to_another_account_is_not_there() {
    let mut gateway = Gateway::new();
    let (one, other) = (gateway.account(&[("credit", "1")]), gateway.account(&[("credit", "1")]));
    let ((_, ours), (their_id, theirs)) = (gateway.key(&one, &json!({})), gateway.key(&other, &json!({})));
    let answered = gateway.call(&theirs, "one");
    let receipt = gateway.receipt(&theirs, &answered);
    let id = receipt["id"].as_str().unwrap();
    for path in [format!("/v1/receipts/{id}"), format!("/v1/generation?id={id}")] {
        let answered = gateway.get(&ours, &path);
        answered.refused(404, "not_found");
        assert!(!answered.body.contains(&other));
    }
    for query in [String::new(), format!("?key={their_id}"), format!("?account={other}")] {
        assert_eq!(gateway.get(&ours, &format!("/v1/receipts{query}")).ok()["data"], json!([]), "{query}");
    }
    let keys = format!("/admin/v1/accounts/{one}/keys");
    gateway.admin("PATCH", &format!("{keys}/{their_id}"), &json!({"rpm": 0})).refused(404, "not_found");
    gateway.admin("DELETE", &format!("{keys}/{their_id}"), &NONE).refused(404, "not_found");
    assert_eq!(gateway.call(&theirs, "one").status, 200);
    for key in ["nothing", "a%2Fb", "%00"] {
        gateway.admin("DELETE", &format!("{keys}/{key}"), &NONE).refused(404, "not_found");
    }
}

#[test]
fn a_get_changes_nothing() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (id, secret) = gateway.key(&account, &json!({}));
    let snapshot = |gateway: &Gateway| {
        let world = &gateway.simulation.world;
        let stored = gateway.stored(&account, |memory| format!("{:?} {:?} {:?}", memory.journal, memory.keys, memory.holds));
        let (database, kv) = (world.database.borrow(), world.kv.borrow());
        format!("{stored} {:?} {:?} {:?}", database.copies, database.health.probes, (&kv.keys, &kv.catalog))
    };
    let before = snapshot(&gateway);
    for method in ["GET", "HEAD"] {
        for path in [
            "/admin/v1/accounts".to_owned(),
            format!("/admin/v1/accounts/{account}"),
            format!("/admin/v1/accounts/{account}/keys"),
            format!("/admin/v1/accounts/{account}/projects"),
            format!("/admin/v1/accounts/{account}/adjustments?bucket=credit&amount=5&reason=x"),
            format!("/admin/v1/accounts/{account}/keys/{id}?rpm=1"),
        ] {
            assert!(gateway.by(ROOT, method, &path, &NONE).status < 500, "{method} {path}");
        }
        for path in ["/admin/v1/catalog", "/admin/v1/health", "/admin/v1/probe"] {
            assert!(gateway.by(ROOT, method, path, &NONE).status < 500, "{method} {path}");
        }
        for path in ["/v1/balances", "/v1/receipts", "/v1/ledger", "/v1/key", "/v1/models", "/v1/chat/completions", "/v1/route"] {
            assert!(gateway.by(&secret, method, path, &NONE).status < 500, "{method} {path}");
        }
    }
    assert_eq!(snapshot(&gateway), before);
}

#[test]
fn what_can_only_be_read_has_no_other_method() {
    let mut gateway = Gateway::new();
    for (method, path, status) in [
        ("POST", "/admin/v1/health", 405),
        ("DELETE", "/admin/v1/catalog", 405),
        ("PUT", "/admin/v1/accounts", 405),
        // This is the path of the account, which cannot be deleted.
        ("DELETE", "/admin/v1/accounts/a", 405),
        ("GET", "/admin/v1/nothing", 404),
        ("GET", "/admin/v1/", 404),
    ] {
        let answered = gateway.admin(method, path, &NONE);
        assert_eq!(answered.status, status, "{method} {path}");
        answered.code();
    }
}
