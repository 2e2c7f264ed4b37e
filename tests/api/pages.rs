//! Pages and what machines read beside them: they tell what the API tells, and know who has signed in.

use serde_json::{Value, json};

use crate::gateway::{Answered, Call, Gateway, ORIGIN};
use crate::support::outside::Script;

const NONE: Value = Value::Null;

fn page(gateway: &mut Gateway, path: &str, cookie: Option<&str>) -> Answered {
    let call = Call { accept: Some("text/html".to_owned()), cookies: cookie.map(str::to_owned), ..Call::new("GET", path) };
    gateway.send(call)
}

fn form(gateway: &mut Gateway, path: &str, body: &str, cookie: Option<&str>) -> Answered {
    let call = Call::new("POST", path).body(body);
    gateway.send(Call { from: Some(ORIGIN.to_owned()), cookies: cookie.map(str::to_owned), ..call })
}

/// The cookie that signing in answers.
fn sign_in(gateway: &mut Gateway, secret: &str) -> String {
    // Sessions are numbered by time.
    gateway.advance(1);
    let answered = form(gateway, "/login", &format!("key={secret}"), None);
    assert_eq!((answered.status, answered.header("location")), (303, Some("/models")), "{}", answered.body);
    let cookie = answered.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict; Secure") && !cookie.contains(&secret[6..]), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

fn is_in(gateway: &mut Gateway, cookie: &str) -> bool {
    let shown = page(gateway, "/models", Some(cookie));
    assert_eq!(shown.status, 200);
    shown.body.contains("Signed in with the key")
}

#[test]
fn pages_are_there_with_a_strict_policy_and_tell_what_the_api_tells() {
    let mut gateway = Gateway::new();
    for path in ["/", "/models", "/models/one", "/status", "/login"] {
        let shown = page(&mut gateway, path, None);
        assert_eq!(shown.status, 200, "{path}: {}", shown.body);
        assert!(shown.header("content-type").unwrap().starts_with("text/html"));
        let policy = shown.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert!(shown.header("x-request-id").is_some());
    }
    for (path, kind) in [
        ("/status.atom", "application/atom+xml"),
        ("/sitemap.xml", "application/xml"),
        ("/llms.txt", "text/plain"),
        ("/robots.txt", "text/plain"),
        ("/models.json", "application/json"),
        ("/models/one.json", "application/json"),
        ("/status.json", "application/json"),
    ] {
        let answered = page(&mut gateway, path, None);
        assert_eq!(answered.status, 200, "{path}");
        assert!(answered.header("content-type").unwrap().starts_with(kind), "{path}: {:?}", answered.header("content-type"));
    }
    for path in ["/sitemap.xml", "/status.atom"] {
        let text = page(&mut gateway, path, None).body;
        roxmltree::Document::parse(&text).unwrap();
        assert!(text.contains(ORIGIN));
    }
    let llms = page(&mut gateway, "/llms.txt", None).body;
    assert!(llms.starts_with("# ") && llms.contains("/v1/chat/completions") && llms.contains("both"));
    let models = page(&mut gateway, "/models.json", None).json();
    for model in models["data"].as_array().unwrap() {
        let text = page(&mut gateway, &format!("/models/{}", model["id"].as_str().unwrap()), None).body;
        let channel = model["tf"]["served_by"]["candidates"][0]["channel"].as_str().unwrap();
        assert!(model["tf"]["callable"] == true && text.contains(channel), "{model}");
    }
    let lost = page(&mut gateway, "/models/none", None);
    assert_eq!(lost.status, 404);
    assert!(lost.header("content-type").unwrap().starts_with("text/html"));
}

#[test]
fn pages_are_made_once_for_everybody_within_some_seconds_and_kept_by_nobody_when_they_are_about_a_key() {
    let mut gateway = Gateway::new();
    let at = |gateway: &mut Gateway| {
        let answered = page(gateway, "/status.json", None);
        (answered.json()["at"].clone(), answered.header("x-request-id").unwrap().to_owned())
    };
    let first = at(&mut gateway);
    gateway.advance(4_000);
    let second = at(&mut gateway);
    assert!(first.0 == second.0 && first.1 != second.1);
    gateway.advance(6_000);
    assert_ne!(at(&mut gateway).0, first.0);
    let secret = gateway.rich_key(&json!({}));
    let cookie = sign_in(&mut gateway, &secret);
    let own = page(&mut gateway, "/models", Some(&cookie));
    assert!(own.header("cache-control").unwrap().contains("no-store"));
    let everybodys = page(&mut gateway, "/models", None);
    assert_eq!((everybodys.header("cache-control"), everybodys.header("vary")), (Some("public, max-age=10"), Some("cookie")));
    assert!(!everybodys.body.contains("Signed in"));
}

#[test]
fn the_status_page_tells_what_is_down_since_when_and_why() {
    let mut gateway = Gateway::new();
    // What one account alone meets is told to nobody else.
    for _ in 0..3 {
        let secret = gateway.rich_key(&json!({}));
        gateway.script("main", Script::Status(503, r#"{"error":{"message":"out of order"}}"#));
        gateway.call(&secret, "one");
        gateway.advance(1_000);
    }
    for host in ["main", "backup", "pool"] {
        gateway.script(host, Script::Status(404, "{}"));
    }
    gateway.scheduled();
    gateway.advance(60_000);
    let status = page(&mut gateway, "/status.json", None).json();
    let route = |model: &str| status["routes"].as_array().unwrap().iter().find(|route| route["model"] == model).unwrap().clone();
    assert_eq!((&route("one")["status"], route("one")["days"].as_array().unwrap().len()), (&json!("down"), 90));
    assert_ne!(route("two")["status"], "down");
    let current = status["incidents"]["current"].as_array().unwrap();
    let is_told =
        |incident: &Value| incident["models"].to_string().contains("one") && incident["cause"].as_str().unwrap().contains("503");
    assert!(current.iter().any(is_told), "{current:?}");
    assert!(page(&mut gateway, "/status.atom", None).body.contains("503"));
}

#[test]
fn a_key_that_was_pasted_is_known_until_it_signs_out_or_is_revoked() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (id, secret) = gateway.key(&account, &json!({"label": "laptop", "models": ["one"]}));
    for wrong in ["sk-tf-wrong", "", &secret[..20]] {
        let refused = form(&mut gateway, "/login", &format!("key={wrong}"), None);
        assert_eq!((refused.status, refused.header("set-cookie")), (401, None));
        assert!(refused.body.contains("not known here"));
    }
    let cookie = sign_in(&mut gateway, &secret);
    let shown = page(&mut gateway, "/models", Some(&cookie)).body;
    assert!(shown.contains("laptop"));
    let listed = gateway.get(&secret, "/v1/models?include=unavailable").ok();
    for model in listed["data"].as_array().unwrap() {
        let text = page(&mut gateway, &format!("/models/{}", model["id"].as_str().unwrap()), Some(&cookie)).body;
        match model["tf"]["callable"].as_bool().unwrap() {
            true => assert!(text.contains("Official credit"), "{model}"),
            false => {
                let message = model["tf"]["reasons"][0]["message"].as_str().unwrap().replace('`', "");
                let plain = text.replace("<code>", "").replace("</code>", "").replace('`', "");
                assert!(plain.contains(&message), "{message}");
            }
        }
    }
    let out = form(&mut gateway, "/logout", "", Some(&cookie));
    assert_eq!((out.status, out.header("location")), (303, Some("/")));
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert!(!is_in(&mut gateway, &cookie), "the cookie was kept, and opens nothing");
    let cookie = sign_in(&mut gateway, &secret);
    assert!(is_in(&mut gateway, &cookie), "the key signs in again");
    gateway.admin("DELETE", &format!("/admin/v1/accounts/{account}/keys/{id}"), &NONE).ok();
    assert!(!is_in(&mut gateway, &cookie));
}

#[test]
fn a_session_ends_by_itself_with_all_of_its_key_or_with_all_of_its_account() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let ((_, key), (other_id, other)) = (gateway.key(&account, &json!({})), gateway.key(&account, &json!({})));
    let cookies = [sign_in(&mut gateway, &key), sign_in(&mut gateway, &key), sign_in(&mut gateway, &other)];
    let all_in = |gateway: &mut Gateway, cookies: &[String]| -> Vec<bool> {
        cookies.iter().map(|cookie| is_in(gateway, cookie)).collect()
    };
    assert_eq!(all_in(&mut gateway, &cookies), [true, true, true]);
    form(&mut gateway, "/logout", "", Some(&cookies[0]));
    assert_eq!(all_in(&mut gateway, &cookies), [false, true, true]);
    form(&mut gateway, "/logout", "all=1", Some(&cookies[1]));
    assert_eq!(all_in(&mut gateway, &cookies), [false, false, true]);
    let again = sign_in(&mut gateway, &key);
    let token = gateway.admin("POST", "/admin/v1/tokens", &json!({"name": "support", "scopes": ["support"]})).ok();
    let support = token["secret"].as_str().unwrap().to_owned();
    let path = format!("/admin/v1/accounts/{account}/sessions");
    gateway.by(&support, "DELETE", &format!("{path}?key={other_id}&reason=lost"), &NONE).ok();
    assert_eq!((is_in(&mut gateway, &cookies[2]), is_in(&mut gateway, &again)), (false, true));
    let third = sign_in(&mut gateway, &other);
    gateway.by(&support, "DELETE", &path, &NONE).ok();
    assert_eq!((is_in(&mut gateway, &third), is_in(&mut gateway, &again)), (false, false));
    let last = sign_in(&mut gateway, &key);
    assert!(is_in(&mut gateway, &last));
    gateway.advance(12 * 3_600_000);
    assert!(!is_in(&mut gateway, &last), "a session lives for twelve hours");
    for made_up in [
        format!("__Host-tf-session=1.{}.9999999999.{}", "0".repeat(64), "0".repeat(64)),
        format!("__Host-tf-session=2.{}.01j.1.{}", "0".repeat(64), "0".repeat(64)),
        "__Host-tf-session=".to_owned(),
    ] {
        assert!(!is_in(&mut gateway, &made_up));
    }
}

#[test]
fn ends_of_sessions_are_noted_within_bounds_however_often_somebody_signs_out() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (_, secret) = gateway.key(&account, &json!({}));
    let kept = sign_in(&mut gateway, &secret);
    let cookies: Vec<String> = (0..230).map(|_| sign_in(&mut gateway, &secret)).collect();
    for cookie in &cookies {
        form(&mut gateway, "/logout", "", Some(cookie));
    }
    for n in [0, 150, 229] {
        assert!(!is_in(&mut gateway, &cookies[n]));
    }
    assert!(!is_in(&mut gateway, &kept), "beyond the bound the key's sessions end together");
    assert!(gateway.stored(&account, |memory| memory.ended.len()) <= 201);
}

#[test]
fn forms_are_taken_from_this_sites_own_pages_only() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    for (path, body) in [("/login", format!("key={secret}")), ("/logout", String::new())] {
        for site in [Some("https://elsewhere.example"), None, Some("null")] {
            let call = Call::new("POST", path).body(body.clone());
            let answered = gateway.send(Call { from: site.map(str::to_owned), ..call });
            assert_eq!((answered.status, answered.header("set-cookie")), (403, None), "{path} {site:?}");
        }
    }
    for (method, path) in [("GET", "/logout"), ("POST", "/models")] {
        assert_eq!(gateway.send(Call::new(method, path)).status, 405);
    }
}

#[test]
fn whose_account_does_not_answer_sees_what_everybody_sees() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let cookie = sign_in(&mut gateway, &secret);
    gateway.fail("command", 1);
    let shown = page(&mut gateway, "/models", Some(&cookie));
    assert_eq!(shown.status, 200);
    assert!(!shown.body.contains("Signed in with the key"));
    gateway.fail("command", 1);
    let out = form(&mut gateway, "/logout", "", Some(&cookie));
    assert_eq!((out.status, out.header("set-cookie")), (503, None), "a session that cannot be ended now keeps its cookie");
    assert!(is_in(&mut gateway, &cookie));
}
