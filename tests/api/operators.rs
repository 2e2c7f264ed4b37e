//! Who administers: tokens with scopes, the root token, and who failed to present one.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokens_forge::api::table::{TABLE, Who};
use tokens_forge::id::sha256_hex;
use tokens_forge::limits::Gate;

use crate::gateway::{Call, Gateway, ROOT};

const NONE: Value = Value::Null;
const SCOPES: [&str; 7] = ["read", "catalog", "channels", "money", "accounts", "support", "tokens"];
const STRONG: &str = "7f3a9c1e5b8d2046e1c7a5093b6d8f245d8b1f7e3c9a60429e2d4b6f8a1c3057";

/// A new token with these scopes: its id, its name and its secret.
fn token(gateway: &mut Gateway, name: &str, scopes: &[&str]) -> (String, String) {
    let made = gateway.admin("POST", "/admin/v1/tokens", &json!({"name": name, "scopes": scopes})).ok();
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

/// What each endpoint needs, by the scopes of which one is enough; and a call that gets past every check of scopes.
fn endpoints() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let of = "/admin/v1/accounts/{account}";
    let read = |path| ("read", "GET", path, NONE);
    assert!(TABLE.iter().any(|row| row.path == of));
    vec![
        read("/admin/v1/accounts"),
        ("accounts", "POST", "/admin/v1/accounts", json!({})),
        read("/admin/v1/accounts/{account}"),
        read("/admin/v1/accounts/{account}/projects"),
        ("accounts", "POST", "/admin/v1/accounts/{account}/projects", json!({})),
        read("/admin/v1/accounts/{account}/keys"),
        ("accounts", "POST", "/admin/v1/accounts/{account}/keys", json!({})),
        ("accounts", "PATCH", "/admin/v1/accounts/{account}/keys/{key}", json!({})),
        ("accounts support", "DELETE", "/admin/v1/accounts/{account}/keys/{key}", NONE),
        ("accounts support", "DELETE", "/admin/v1/accounts/{account}/sessions", NONE),
        ("money", "POST", "/admin/v1/accounts/{account}/adjustments", json!({})),
        read("/admin/v1/accounts/{account}/receipts/{id}"),
        read("/admin/v1/accounts/{account}/topups"),
        read("/admin/v1/accounts/{account}/topups/{order}"),
        ("money", "POST", "/admin/v1/accounts/{account}/topups/{order}/approve", json!({})),
        ("money", "POST", "/admin/v1/accounts/{account}/topups/{order}/reject", json!({})),
        ("money", "POST", "/admin/v1/accounts/{account}/topups/{order}/refunds", json!({})),
        read("/admin/v1/topups"),
        read("/admin/v1/codes"),
        ("money", "POST", "/admin/v1/codes", json!({})),
        ("money", "DELETE", "/admin/v1/codes/{id}", NONE),
        read("/admin/v1/receipts"),
        read("/admin/v1/ledger"),
        read("/admin/v1/audit"),
        read("/admin/v1/spend"),
        read("/admin/v1/reconcile"),
        read("/admin/v1/catalog"),
        ("catalog channels", "PUT", "/admin/v1/catalog", json!({})),
        read("/admin/v1/catalog/announced"),
        ("catalog channels", "DELETE", "/admin/v1/catalog/announced", NONE),
        read("/admin/v1/catalog/versions"),
        read("/admin/v1/catalog/versions/{version}"),
        read("/admin/v1/health"),
        ("channels", "POST", "/admin/v1/probe", json!({"colour": "red"})),
        ("tokens", "GET", "/admin/v1/tokens", NONE),
        ("tokens", "POST", "/admin/v1/tokens", json!({})),
        ("tokens", "DELETE", "/admin/v1/tokens/{token}", NONE),
        ("tokens", "GET", "/admin/v1/attempts", NONE),
    ]
}

#[test]
fn no_token_has_a_name_under_which_the_gateway_or_a_payment_provider_books() {
    let mut gateway = Gateway::new();
    for name in ["Stripe", "operator", "root", "system"] {
        let refused = gateway.admin("POST", "/admin/v1/tokens", &json!({"name": name, "scopes": ["read"]}));
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("name")), "{name}");
    }
    token(&mut gateway, "kim", &["read"]);
}

#[test]
fn with_each_scope_exactly_the_endpoints_that_need_it_are_allowed() {
    let table = TABLE.iter().filter(|row| row.who == Who::Operator).map(|row| (row.method, row.path));
    let tried = endpoints().into_iter().map(|(_, method, path, _)| (method, path));
    assert_eq!(tried.collect::<BTreeSet<_>>(), table.collect(), "every endpoint is tried");
    let mut gateway = Gateway::new();
    gateway.admin("POST", "/admin/v1/accounts", &json!({"id": "scoped", "name": "Scoped"})).ok();
    for scope in SCOPES {
        let name = format!("only-{scope}");
        let (_, secret) = token(&mut gateway, &name, &[scope]);
        for (needed, method, path, body) in endpoints() {
            let path = path.replace("{account}", "scoped").replace("{version}", "1").replace(['{', '}'], "");
            let needed: Vec<&str> = needed.split(' ').collect();
            let answered = gateway.by(&secret, method, &path, &body);
            if needed.contains(&scope) {
                assert!(![401, 403].contains(&answered.status), "{scope}: {method} {path}: {}", answered.body);
            } else {
                answered.refused(403, "forbidden");
                let error = &answered.json()["error"];
                assert!(error["message"].as_str().unwrap().contains(&format!("`{name}`")), "{error}");
                assert_eq!(error["metadata"]["scopes"], json!(needed), "{scope}: {method} {path}");
            }
        }
    }
}

#[test]
fn a_token_for_prices_does_not_change_where_requests_go_and_the_other_way_round() {
    let mut gateway = Gateway::new();
    let (_, prices) = token(&mut gateway, "prices", &["catalog"]);
    let (_, channels) = token(&mut gateway, "channels", &["channels"]);
    let running = gateway.admin("GET", "/admin/v1/catalog", &NONE).ok();
    let mut dearer = running.clone();
    dearer["models"]["one"]["routes"]["official"]["price"]["input"] = json!("1.5");
    let mut moved = running.clone();
    moved["channels"]["main"]["base_url"] = json!("https://main.example.com/v1/elsewhere");
    let mut both = dearer.clone();
    both["channels"] = moved["channels"].clone();
    let put = |gateway: &mut Gateway, token: &str, document: &Value| {
        gateway.by(token, "PUT", "/admin/v1/catalog?dry_run=true", document).status
    };
    for (document, of_prices, of_channels) in [(&dearer, 200, 403), (&moved, 403, 200), (&both, 403, 403)] {
        assert_eq!((put(&mut gateway, &prices, document), put(&mut gateway, &channels, document)), (of_prices, of_channels));
    }
    for (field, value) in [
        ("secrets", json!(["UPSTREAM_POOL_KEY"])),
        ("allow_host", json!("x")),
        ("label", json!("Other")),
        ("probe_daily_cap", json!("1")),
    ] {
        let mut document = running.clone();
        document["channels"]["main"][field] = value;
        assert_eq!(put(&mut gateway, &prices, &document), 403, "{field}");
    }
    gateway.by(&prices, "PUT", "/admin/v1/catalog", &dearer).ok();
}

#[test]
fn a_token_is_the_author_of_what_it_does_and_what_the_client_says_stands_beside_it() {
    let mut gateway = Gateway::new();
    let (id, secret) = token(&mut gateway, "kim", &["accounts", "read", "money"]);
    let account = json!({"id": "by-token", "name": "X", "author": "root", "reason": "why"});
    gateway.by(&secret, "POST", "/admin/v1/accounts", &account).ok();
    let credit = json!({"bucket": "credit", "amount": "1", "reason": "why", "author": "sam"});
    gateway.by(&secret, "POST", "/admin/v1/accounts/by-token/adjustments", &credit).ok();
    gateway.alarm();
    let rows = gateway.by(&secret, "GET", "/admin/v1/audit?account=by-token", &NONE).ok();
    let rows = rows["data"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["author"] == "kim"), "{rows:?}");
    let of = |kind: &str| rows.iter().find(|row| row["kind"] == kind).unwrap()["on_behalf_of"].clone();
    assert_eq!((of("adjustment"), of("account")), (json!("sam"), json!("root")));
    let listed = gateway.admin("GET", "/admin/v1/tokens", &NONE).ok();
    let own = listed["data"].as_array().unwrap().iter().find(|token| token["id"] == id.as_str()).unwrap();
    assert_eq!((&own["created_by"], &own["works"]), (&json!("root"), &json!(true)));
    assert!(own["last_used_at"].is_string());
    let made = gateway.admin("GET", "/admin/v1/audit?kind=token", &NONE).ok();
    let made = made["data"].as_array().unwrap().iter().find(|row| row["what"].as_str().unwrap().contains(&id)).unwrap().clone();
    assert_eq!(made["author"], "root");
}

#[test]
fn a_token_is_shown_once_and_stored_as_a_hash() {
    let mut gateway = Gateway::new();
    let (id, secret) = token(&mut gateway, "kim", &["read"]);
    let bare = secret.strip_prefix("tf-admin-").unwrap();
    assert!(bare.len() == 56 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let hash = sha256_hex(&[secret.as_bytes()]);
    {
        let database = gateway.simulation.world.database.borrow();
        let (_, stored) = database.operators.tokens.values().find(|(token, _)| token.id.as_str() == id).unwrap();
        assert_eq!(*stored, hash);
    }
    for path in ["/admin/v1/tokens", "/admin/v1/audit"] {
        let answered = gateway.admin("GET", path, &NONE);
        assert!(!answered.body.contains(&secret) && !answered.body.contains(&hash), "{path}");
    }
}

#[test]
fn a_token_gives_no_more_than_it_has_and_has_a_name_of_its_own() {
    let mut gateway = Gateway::new();
    let (_, secret) = token(&mut gateway, "kim", &["tokens", "read"]);
    let make = |gateway: &mut Gateway, body: Value| gateway.by(&secret, "POST", "/admin/v1/tokens", &body);
    make(&mut gateway, json!({"name": "more", "scopes": ["read", "money"]})).refused(403, "forbidden");
    let made = make(&mut gateway, json!({"name": "Same", "scopes": ["read"]}));
    assert_eq!(made.status, 201);
    let again = make(&mut gateway, json!({"name": "same", "scopes": ["read"]}));
    assert_eq!(again.status, 409, "names that differ by case are one");
    for body in [
        json!({"name": "x"}),
        json!({"name": "x", "scopes": []}),
        json!({"name": "x", "scopes": ["read", "read"]}),
        json!({"name": "x", "scopes": ["all"]}),
        json!({"name": "x", "scopes": vec!["read"; 5_000]}),
        json!({"name": "Root", "scopes": ["read"]}),
        json!({"name": "a b", "scopes": ["read"]}),
        json!({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"name": "x", "scopes": ["read"], "expires_at": "2999-01-01T00:00:00Z"}),
        json!({"name": "x", "scopes": ["read"], "hash": "x"}),
    ] {
        assert_eq!(make(&mut gateway, body.clone()).status, 400, "{body}");
    }
    let made = made.json()["id"].as_str().unwrap().to_owned();
    gateway.by(&secret, "DELETE", &format!("/admin/v1/tokens/{made}?author=kim"), &NONE).ok();
    gateway.by(&secret, "DELETE", &format!("/admin/v1/tokens/{made}"), &NONE).refused(404, "not_found");
    let freed = make(&mut gateway, json!({"name": "same", "scopes": ["read"]}));
    assert_eq!(freed.status, 201, "a name is free when its token has ended");
}

#[test]
fn a_token_ends_when_it_is_revoked_or_expires_at_once() {
    let mut gateway = Gateway::new();
    let (id, secret) = token(&mut gateway, "kim", &["read"]);
    assert_eq!(gateway.get(&secret, "/admin/v1/accounts").status, 200);
    gateway.admin("DELETE", &format!("/admin/v1/tokens/{id}"), &NONE).ok();
    let refused = gateway.get(&secret, "/admin/v1/accounts");
    refused.refused(401, "invalid_admin_token");
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("expired or was revoked"));
    let body = json!({"name": "short", "scopes": ["read"], "expires_at": "2027-01-15T10:00:00Z"});
    let short = gateway.admin("POST", "/admin/v1/tokens", &body).ok();
    let secret = short["secret"].as_str().unwrap();
    assert_eq!(gateway.get(secret, "/admin/v1/accounts").status, 200);
    gateway.advance(3 * 3_600_000);
    assert_eq!(gateway.get(secret, "/admin/v1/accounts").status, 401);
    let listed = gateway.admin("GET", "/admin/v1/tokens", &NONE).ok();
    assert_eq!((&listed["data"][0]["id"], &listed["data"][0]["works"]), (&short["id"], &json!(false)), "newest first");
}

/// What could be a token of ours, and is none.
fn unknown() -> String {
    let random = "0".repeat(48);
    format!("tf-admin-{random}{}", &sha256_hex(&[b"tf-admin-", random.as_bytes()])[..8])
}

#[test]
fn who_presents_no_token_is_counted_by_hour_and_address() {
    let mut gateway = Gateway::new();
    let ask = |gateway: &mut Gateway, token: Option<&str>, address: &str| {
        let call = Call::new("GET", "/admin/v1/accounts").address(address);
        assert_eq!(gateway.send(token.map_or(call.clone(), |token| call.with(token))).status, 401);
    };
    for _ in 0..20 {
        ask(&mut gateway, Some("wrong"), "203.0.113.9");
    }
    for _ in 0..3 {
        ask(&mut gateway, Some(&unknown()), "203.0.113.9");
    }
    for n in 0..4 {
        ask(&mut gateway, None, &format!("2001:db8:1:2::{n}"));
    }
    assert_eq!(gateway.admin("GET", "/admin/v1/attempts", &NONE).ok()["data"], json!([]), "behind the answers");
    gateway.simulation.settle_down();
    gateway.advance(3_600_000);
    ask(&mut gateway, Some("wrong"), "203.0.113.9");
    gateway.simulation.settle_down();
    let rows = gateway.admin("GET", "/admin/v1/attempts?limit=100", &NONE).ok();
    let told = |row: &Value| json!([row["hour"], row["address"], row["absent"], row["malformed"], row["unknown"], row["ended"]]);
    let rows: Vec<Value> = rows["data"].as_array().unwrap().iter().map(told).collect();
    let expected = json!([
        ["2027-01-15T09:00:00Z", "203.0.113.9", 0, 1, 0, 0],
        ["2027-01-15T08:00:00Z", "203.0.113.9", 0, 20, 3, 0],
        ["2027-01-15T08:00:00Z", "2001:db8:1:2::/64", 4, 0, 0, 0],
    ]);
    assert_eq!(json!(rows), expected, "an hour and an address are a row");
    let page = gateway.admin("GET", "/admin/v1/attempts?limit=1", &NONE).ok();
    let next = page["next"].as_str().unwrap();
    let rest = gateway.admin("GET", &format!("/admin/v1/attempts?after={next}"), &NONE).ok();
    assert_eq!(rest["data"].as_array().unwrap().len(), 2);
}

#[test]
fn what_can_be_no_token_costs_no_look_up_and_who_guesses_rests() {
    let mut gateway = Gateway::new();
    gateway.fail("d1", u32::MAX);
    let made_up = format!("tf-admin-{}", "1".repeat(56));
    for token in [made_up.as_str(), "x", "tf-admin-", &format!("{made_up}0"), &made_up.to_uppercase()] {
        assert_eq!(gateway.get(token, "/admin/v1/accounts").status, 401, "{token}");
    }
    assert_eq!(gateway.get(ROOT, "/admin/v1/health").status, 200, "and the root token needs none");
    assert_eq!(gateway.get(&unknown(), "/admin/v1/accounts").status, 503);
    gateway.fail("d1", 0);
    *gateway.simulation.world.resting.borrow_mut() = vec![Gate::Guess];
    let resting = gateway.get(&unknown(), "/admin/v1/accounts");
    assert_eq!((resting.status, resting.header("retry-after")), (429, Some("7")));
    assert_eq!(gateway.get(ROOT, "/admin/v1/accounts").status, 200, "the root token works whoever guesses beside it");
}

#[test]
fn a_weak_root_token_turns_administration_off_and_says_why_and_is_not_repeated() {
    for weak in ["admin", "changeme-changeme-changeme-changeme", "ops-admin-token-0123456789", &"a".repeat(40)] {
        let mut gateway = Gateway::new();
        gateway.set("ADMIN_TOKEN", weak);
        gateway.set("SESSION_SECRET", weak);
        for token in [Some(weak), None, Some("x")] {
            let call = Call::new("GET", "/admin/v1/accounts");
            let refused = gateway.send(token.map_or(call.clone(), |token| call.with(token)));
            assert_eq!(refused.status, 403, "{weak}");
            let why = ["is shorter", "has a word", "repeats"].map(|why| format!("Administration is off: ADMIN_TOKEN {why}"));
            assert!(why.iter().any(|why| refused.body.contains(why)), "{}", refused.body);
            assert!(!refused.body.contains(&format!("{weak}\"")));
        }
        assert!(gateway.send(Call::new("GET", "/login")).body.contains("Signing in is off"));
        assert!(weak == "admin" || gateway.simulation.log().iter().all(|line| !line.contains(weak)));
    }
}

#[test]
fn the_root_token_is_rotated_without_a_gap_and_what_is_strong_counts_beside_what_is_weak() {
    let mut gateway = Gateway::new();
    gateway.set("ADMIN_TOKEN_NEXT", &format!("{STRONG}\n"));
    for token in [ROOT, STRONG] {
        assert_eq!(gateway.get(token, "/admin/v1/accounts").status, 200);
    }
    assert_eq!(gateway.get(&format!("{STRONG}0"), "/admin/v1/accounts").status, 401);
    gateway.set("ADMIN_TOKEN", "weak");
    assert_eq!(gateway.get(STRONG, "/admin/v1/accounts").status, 200);
    assert_eq!(gateway.get("weak", "/admin/v1/accounts").status, 401);
}

#[test]
fn without_a_secret_of_their_own_sessions_are_off() {
    for (secret, is_off) in [("", true), ("short", true), (ROOT, true), (crate::gateway::SESSION_SECRET, false)] {
        let mut gateway = Gateway::new();
        gateway.set("SESSION_SECRET", secret);
        let page = gateway.send(Call::new("GET", "/login"));
        assert_eq!(page.status, 200);
        assert_eq!(page.body.contains("Signing in is off") && page.body.contains("SESSION_SECRET"), is_off, "{secret}");
    }
}
