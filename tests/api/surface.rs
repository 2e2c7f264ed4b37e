//! What stands around every endpoint: methods, paths, headers, and calls from pages of other sites.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tokens_forge::api::table::{Row, SWITCHING, TABLE, Who, methods};

use crate::gateway::{Answered, Call, Gateway, ORIGIN, ROOT, chat};
use crate::support::outside::Script;

const NONE: Value = Value::Null;

/// A path of the table with names in it.
fn filled(path: &str) -> String {
    path.replace("{model}", "one").replace("{version}", "1").replace(['{', '}'], "")
}

/// Every method that a path may be asked by.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"];

fn credential(who: Who, key: &str) -> Option<String> {
    match who {
        Who::Operator => Some(ROOT.to_owned()),
        Who::Key => Some(key.to_owned()),
        Who::Anyone | Who::Signature => None,
    }
}

#[test]
fn every_path_answers_its_methods_and_names_them_to_all_others() {
    let mut gateway = Gateway::new();
    gateway.set("STRIPE_WEBHOOK_SECRET", "whsec_x");
    let key = gateway.rich_key(&json!({}));
    let paths: BTreeSet<&str> = TABLE.iter().filter(|row| row.answer.status != SWITCHING).map(|row| row.path).collect();
    for path in paths {
        let rows = || TABLE.iter().filter(|row| row.path == path && row.answer.status != SWITCHING);
        let (who, at) = (rows().next().unwrap().who, filled(path));
        let allow = methods(&at).join(", ");
        assert!(allow.ends_with("OPTIONS") && rows().all(|row| allow.contains(row.method)), "{path}: {allow}");
        let ask = |gateway: &mut Gateway, method: &str| {
            let call = Call::new(method, &at);
            gateway.send(match credential(who, &key) {
                Some(credential) => call.with(&credential),
                None => call,
            })
        };
        for method in METHODS {
            let answered = ask(&mut gateway, method);
            let is_there = rows().any(|row| row.method == method || method == "HEAD" && row.method == "GET");
            if is_there {
                assert_ne!(answered.status, 405, "{method} {path}");
            } else {
                assert_eq!(
                    (answered.status, answered.header("allow")),
                    (405, Some(allow.as_str())),
                    "{method} {path}: {}",
                    answered.body
                );
                // Pages say so to people, other dialects in their words.
                let is_said = ["/v1/chat/completions", "/v1/route", "/v1/models", "/v1/balances", "/v1/receipts"].contains(&path);
                if is_said && method != "HEAD" {
                    answered.refused(405, "method_not_allowed");
                }
            }
            assert!(answered.status < 500 || answered.status == 503, "{method} {path}: {}", answered.body);
        }
        let told = ask(&mut gateway, "OPTIONS");
        let expected = if who == Who::Signature { (405, Some(allow.as_str())) } else { (204, Some(allow.as_str())) };
        assert_eq!((told.status, told.header("allow")), expected, "{path}");
        if rows().any(|row| row.method == "GET") {
            gateway.simulation.world.pages.borrow_mut().clear();
            let (get, head) = (ask(&mut gateway, "GET"), ask(&mut gateway, "HEAD"));
            assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
            assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
            if let Some(length) = head.header("content-length") {
                // Ids and times may differ by a digit and no more.
                assert!(length.parse::<usize>().unwrap().abs_diff(get.body.len()) <= 8, "{path}: {length} {}", get.body.len());
            }
        }
    }
}

#[test]
fn every_path_wants_the_credential_that_the_table_says() {
    let mut gateway = Gateway::new();
    // Files are the platform's to answer.
    let is_file = |row: &&Row| {
        row.path == "/openapi.json" || fs::metadata(format!("src/pages/assets{}", row.path)).is_ok_and(|of| of.is_file())
    };
    for row in TABLE.iter().filter(|row| row.answer.status != SWITCHING && !is_file(row)) {
        let at = filled(row.path);
        let told = gateway.send(Call::new("OPTIONS", &at).address("203.0.113.7")).status;
        match row.who {
            Who::Operator | Who::Signature => assert_ne!(told, 204, "{at}: nothing of the operator's is told"),
            Who::Key | Who::Anyone => assert_eq!(told, 204, "{at}"),
        }
        for wrong in [None, Some("sk-tf-wrong")] {
            let call = Call::new(row.method, &at).json(&json!({})).address("203.0.113.7");
            let answered = gateway.send(wrong.map_or(call.clone(), |wrong| call.with(wrong)));
            match row.who {
                Who::Key | Who::Operator => assert_eq!(answered.status, 401, "{} {at}: {}", row.method, answered.body),
                Who::Signature => assert_eq!(answered.status, 404, "{at}: nothing is set"),
                Who::Anyone => assert!(
                    ![401, 404, 405].contains(&answered.status) || wrong.is_some(),
                    "{} {at}: {}",
                    row.method,
                    answered.status
                ),
            }
        }
    }
}

#[test]
fn a_path_that_does_not_exist_is_answered_404_for_any_method() {
    let mut gateway = Gateway::new();
    let key = gateway.rich_key(&json!({}));
    for path in ["/v1/nothing", "/v1/chat", "/v2/chat/completions", "/nothing", "/v1/chat/completions/extra", "/v1"] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let answered = gateway.by(&key, method, path, &NONE);
            answered.refused(404, "not_found");
            let error = &answered.json()["error"];
            assert_eq!((&error["type"], &error["metadata"]["receipt"]), (&json!("invalid_request_error"), &NONE));
        }
    }
}

#[test]
fn a_path_has_one_spelling_and_names_in_it_are_decoded_once() {
    let mut gateway = Gateway::new();
    gateway.admin("POST", "/admin/v1/accounts", &json!({"id": "scoped", "name": "S"})).ok();
    assert_eq!(gateway.get(ROOT, "/admin/v1/accounts").status, 200);
    for path in [
        "/%61dmin/v1/accounts",
        "/admin%2Fv1/accounts",
        "/admin/v1%2Faccounts",
        "/admin/v1/%61ccounts",
        "//admin/v1/accounts",
        "/admin//v1/accounts",
        "/admin/v1/accounts//",
        "/ADMIN/v1/accounts",
        "/admin/V1/accounts",
        "/admin/v1/accounts;a=1",
        "/admin/v1/accounts%00",
        "/admin/v1/accounts%20",
        "/admin/v1/accounts%2F",
        "/%2561dmin/v1/accounts",
        "/admin%5Cv1/accounts",
        "/v1%2Fmodels",
        "/v1/%6Dodels",
        "/v1//models",
        "/v1/../admin/v1/accounts",
        "/v1/%2e%2e/admin/v1/accounts",
        "/v1/..%2Fadmin/v1/accounts",
    ] {
        let answered = gateway.get(ROOT, path);
        assert_eq!(answered.status, 404, "{path}: {}", answered.body);
    }
    for (path, status) in [("scope%64", 200), ("scope%2564", 404), ("scoped%2Fkeys", 404)] {
        let answered = gateway.get(ROOT, &format!("/admin/v1/accounts/{path}"));
        assert!(answered.status == status || status == 404 && answered.status == 400, "{path}: {}", answered.body);
    }
    let key = gateway.rich_key(&json!({}));
    for name in ["one", "%6Fne"] {
        assert_eq!(gateway.get(&key, &format!("/v1/models/{name}")).status, 200, "{name}");
    }
}

#[test]
fn every_answer_has_an_id_of_its_own_and_says_how_browsers_may_take_it() {
    let mut gateway = Gateway::new();
    let key = gateway.rich_key(&json!({}));
    let mut answers: Vec<Answered> = Vec::new();
    for path in [
        "/v1/models",
        "/v1/models/one",
        "/v1/models/none",
        "/v1/receipts",
        "/v1/receipts/none",
        "/v1/balances",
        "/v1/ledger",
        "/v1/key",
        "/v1/generation",
        "/nothing",
        "/healthz",
    ] {
        answers.push(gateway.get(&key, path));
    }
    for path in ["/admin/v1/accounts", "/admin/v1/nothing"] {
        answers.push(gateway.send(Call::new("GET", path)));
    }
    answers.push(gateway.get(ROOT, "/admin/v1/catalog"));
    answers.push(gateway.call(&key, "one"));
    gateway.script(
        "main",
        Script::Pieces(vec![
            "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n",
            "data: [DONE]\n\n",
        ]),
    );
    answers.push(gateway.chat(&key, &json!({"model": "one", "stream": true})));
    gateway.script("main", Script::Status(500, "{}"));
    answers.push(gateway.call(&key, "one"));
    answers.push(gateway.call(&key, "none"));
    let mut ids = BTreeSet::new();
    for answered in &answers {
        assert!(answered.header("cache-control").unwrap().contains("no-store"), "{answered:?}");
        let id = answered.header("x-request-id").unwrap();
        assert!(id.len() == 30 && id.starts_with("gen-"), "{id}");
        for name in ["request-id", "x-generation-id"] {
            assert_eq!(answered.header(name), Some(id));
        }
        assert_eq!(answered.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answered.header("strict-transport-security"), Some("max-age=31536000"));
        ids.insert(id);
    }
    assert_eq!(ids.len(), answers.len());
}

/// A chat call from a page of this site.
fn from(site: &str, key: &str, fields: &Value) -> Call {
    Call { from: Some(site.to_owned()), ..chat(key, fields) }
}

const SITE: &str = "https://app.example";

#[test]
fn a_page_of_another_site_calls_with_a_key_that_names_its_site_and_reads_answers_and_errors() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (_, key) = gateway.key(&account, &json!({"browser_origins": ["https://APP.example"]}));
    let answered = gateway.send(from(SITE, &key, &json!({"model": "one"})));
    assert_eq!((answered.status, answered.header("access-control-allow-origin")), (200, Some(SITE)), "{}", answered.body);
    assert_eq!(answered.header("vary"), Some("origin"));
    let exposed = answered.header("access-control-expose-headers").unwrap();
    for name in ["x-generation-id", "x-tf-route", "x-tf-channel", "x-request-id"] {
        assert!(exposed.split(", ").any(|exposed| exposed == name) && answered.header(name).is_some(), "{name}: {exposed}");
    }
    assert_eq!(gateway.receipt(&key, &answered)["status"], "completed");
    let refused = gateway.send(from(SITE, &key, &json!({"model": "nothing"})));
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (404, Some(SITE)));
    for path in ["/v1/v1/chat/completions", "/chat/completions"] {
        let call = Call { path: path.to_owned(), ..from(SITE, &key, &json!({"model": "one"})) };
        let lost = gateway.send(call);
        assert_eq!((lost.status, lost.header("access-control-allow-origin")), (404, Some(SITE)), "{path}");
    }
    // A program that names no site, or this one, is not concerned.
    for site in [None, Some(ORIGIN)] {
        let call = Call { from: site.map(str::to_owned), ..chat(&key, &json!({"model": "one"})) };
        let answered = gateway.send(call);
        assert_eq!((answered.status, answered.header("access-control-allow-origin"), answered.header("vary")), (200, None, None));
    }
}

#[test]
fn a_page_reads_why_it_may_not_call_and_nothing_was_spent() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (_, named) = gateway.key(&account, &json!({"browser_origins": [SITE]}));
    let (_, plain) = gateway.key(&account, &json!({}));
    for (site, key) in [(SITE, &plain), ("https://other.example", &named), ("null", &plain), ("vscode-webview://abc", &plain)] {
        for (method, path) in [
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/route"),
            ("GET", "/v1/models"),
            ("GET", "/v1/balances"),
            ("GET", "/v1/key"),
            ("POST", "/v1/runs"),
        ] {
            let call = Call { method: method.to_owned(), path: path.to_owned(), ..from(site, key, &json!({"model": "one"})) };
            let refused = gateway.send(call);
            refused.refused(403, "origin_not_allowed");
            let message = refused.json()["error"]["message"].to_string();
            assert!(message.contains(site) && message.contains("browser_origins"), "{message}");
            assert_eq!((refused.header("access-control-allow-origin"), refused.header("vary")), (Some(site), Some("origin")));
        }
    }
    assert_eq!(gateway.calls(), 0, "nobody is called");
    let call = Call {
        path: "/v1/messages".to_owned(),
        ..from("https://other.example", &named, &json!({"model": "one", "max_tokens": 5}))
    };
    let refused = gateway.send(call);
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (403, &json!("permission_error")));
}

#[test]
fn a_site_is_added_to_a_key_or_to_the_catalogue_and_taken_away_again() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (id, key) = gateway.key(&account, &json!({}));
    let path = format!("/admin/v1/accounts/{account}/keys/{id}");
    let status = |gateway: &mut Gateway| gateway.send(from(SITE, &key, &json!({"model": "one"}))).status;
    for (origins, expected) in [(json!([SITE]), 200), (json!([]), 403), (json!(["*"]), 200), (json!([]), 403)] {
        let changed = gateway.admin("PATCH", &path, &json!({"browser_origins": origins})).ok();
        let written = changed["policy"].get("browser_origins").cloned();
        assert_eq!(written, Some(origins.clone()).filter(|origins| *origins != json!([])), "what is empty is not written");
        assert_eq!(status(&mut gateway), expected, "{origins}");
    }
    for wrong in [json!(["here"]), json!(["https://a.example/x"]), json!(vec!["*"; 33]), json!("x"), json!([5])] {
        assert_eq!(gateway.admin("PATCH", &path, &json!({"browser_origins": wrong})).status, 400, "{wrong}");
    }
    let mut document = crate::gateway::catalog();
    document["browser_origins"] = json!([SITE]);
    let told = gateway.admin("PUT", "/admin/v1/catalog?dry_run=true", &document).ok();
    assert_eq!(told["changes"], json!([format!("pages of other sites: may call with any key: none -> {SITE}")]));
    gateway.admin("PUT", "/admin/v1/catalog", &document).ok();
    assert_eq!(status(&mut gateway), 200);
    assert_eq!(gateway.send(from("https://other.example", &key, &json!({"model": "one"}))).status, 403);
    document["browser_origins"] = json!(["https://a/"]);
    let refused = gateway.admin("PUT", "/admin/v1/catalog", &document);
    assert_eq!(refused.json()["error"]["metadata"]["faults"][0]["path"], "browser_origins");
}

#[test]
fn a_preflight_is_answered_without_a_key_and_never_for_what_is_not_for_other_sites() {
    let mut gateway = Gateway::new();
    gateway.set("STRIPE_WEBHOOK_SECRET", "whsec_x");
    let ask = |gateway: &mut Gateway, path: &str| {
        let asked = ("POST".to_owned(), "authorization,x-stainless-os".to_owned());
        gateway.send(Call { from: Some(SITE.to_owned()), preflight: Some(asked), ..Call::new("OPTIONS", path) })
    };
    let told = ask(&mut gateway, "/v1/chat/completions");
    assert_eq!(told.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", Some(SITE)),
        ("access-control-allow-methods", Some("POST, OPTIONS")),
        ("access-control-allow-headers", Some("authorization,x-stainless-os")),
        ("access-control-max-age", Some("7200")),
        ("access-control-allow-credentials", None),
    ] {
        assert_eq!(told.header(name), value, "{name}");
    }
    for path in ["/admin/v1/catalog", "/webhooks/stripe", "/login", "/models.json"] {
        assert_eq!(ask(&mut gateway, path).header("access-control-allow-origin"), None, "{path}");
        let read = gateway.send(Call { from: Some(SITE.to_owned()), ..Call::new("GET", path).with(ROOT) });
        assert_eq!(read.header("access-control-allow-origin"), None, "{path}");
    }
}
