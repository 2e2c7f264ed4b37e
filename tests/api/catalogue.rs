//! The catalogue: published, announced, withdrawn, and the history of its versions.

use serde_json::{Value, json};
use tokens_forge::time::Timestamp;

use crate::gateway::{Call, Gateway, ROOT};

const NONE: Value = Value::Null;

/// The same catalogue with another price of output for `one`.
fn dearer(catalog: &Value, output: &str) -> Value {
    let mut next = catalog.clone();
    next["models"]["one"]["routes"]["official"]["price"]["output"] = json!(output);
    next
}

fn running(gateway: &mut Gateway) -> Value {
    gateway.admin("GET", "/admin/v1/catalog", &NONE).ok()
}

fn publish(gateway: &mut Gateway, document: &Value, query: &[(&str, &str)]) -> crate::gateway::Answered {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    gateway.admin("PUT", &format!("/admin/v1/catalog?{query}"), document)
}

fn versions(gateway: &mut Gateway, query: &str) -> Value {
    gateway.admin("GET", &format!("/admin/v1/catalog/versions?{query}"), &NONE).ok()
}

fn in_ms(gateway: &Gateway, ms: i64) -> String {
    Timestamp::from_millis(gateway.simulation.world.now.get() + ms).to_string()
}

/// What a request of `one` is priced by: version and output price.
fn priced(gateway: &mut Gateway, secret: &str) -> (u64, String) {
    let answered = gateway.call(secret, "one");
    assert_eq!(answered.status, 200, "{}", answered.body);
    let receipt = gateway.receipt(secret, &answered);
    (receipt["catalog_version"].as_u64().unwrap(), receipt["price"]["output"].as_str().unwrap().to_owned())
}

#[test]
fn a_new_deployment_says_that_nothing_can_be_called_until_a_catalogue_is_published() {
    let mut gateway = Gateway::unpublished();
    let account = gateway.account(&[]);
    let keys = format!("/admin/v1/accounts/{account}/keys");
    let refused = gateway.admin("POST", &keys, &json!({"label": "early"}));
    refused.refused(503, "service_unavailable");
    assert!(refused.body.contains("No catalogue has been published yet"));
    assert_eq!(refused.header("retry-after"), Some("60"));
    gateway.admin("GET", "/admin/v1/catalog", &NONE).refused(404, "not_found");
    // The first catalogue of all may be an announced one.
    let at = in_ms(&gateway, 60_000);
    publish(&mut gateway, &crate::gateway::catalog(), &[("effective_at", &at)]).ok();
    assert_eq!(gateway.admin("POST", &keys, &json!({"label": "early"})).status, 503);
    gateway.advance(60_000);
    let (_, secret) = gateway.key(&account, &json!({}));
    assert_eq!(gateway.call(&secret, "one").status, 402);
}

#[test]
fn a_publication_says_what_changes_and_keeps_author_and_reason() {
    let mut gateway = Gateway::new();
    let next = dearer(&running(&mut gateway), "3");
    let answer = publish(&mut gateway, &next, &[("author", "kim"), ("reason", "New list of November")]).ok();
    let text = "one, official: output 2 -> 3 USD per million tokens (+50 %)";
    assert_eq!((&answer["version"], &answer["changed"], &answer["dry_run"]), (&json!(2), &json!(true), &json!(false)));
    assert_eq!(answer["changes"], json!([text]));
    assert_eq!(answer["effective_at"], in_ms(&gateway, 0));
    let listed = versions(&mut gateway, "limit=100");
    let (newest, first) = (&listed["data"][0], &listed["data"][1]);
    let change = json!([{"model": "one", "kind": "price", "text": text}]);
    for (field, expected) in [
        ("version", json!(2)),
        ("author", json!("root")),
        ("on_behalf_of", json!("kim")),
        ("reason", json!("New list of November")),
        ("withdrawn_at", NONE),
        ("changes", change),
    ] {
        assert_eq!(newest[field], expected, "{field}");
    }
    assert_eq!(newest["effective_at"], newest["published_at"]);
    let told = (&first["version"], &first["author"], &first["on_behalf_of"], &first["reason"]);
    assert_eq!(told, (&json!(1), &json!("root"), &NONE, &NONE));
    let texts: Vec<&str> = first["changes"].as_array().unwrap().iter().map(|change| change["text"].as_str().unwrap()).collect();
    assert!(texts.iter().any(|text| text.starts_with("model one added")), "{texts:?}");
    let mut whole = newest.clone();
    whole["document"] = next;
    whole["document"]["version"] = json!(2);
    assert_eq!(gateway.admin("GET", "/admin/v1/catalog/versions/2", &NONE).ok(), whole);
    for version in ["4711", "x", "-1"] {
        gateway.admin("GET", &format!("/admin/v1/catalog/versions/{version}"), &NONE).refused(404, "not_found");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut gateway = Gateway::new();
    let before = (running(&mut gateway), versions(&mut gateway, ""));
    let at = in_ms(&gateway, 60_000);
    let next = dearer(&before.0, "4");
    for query in [&[("dry_run", "true")][..], &[("dry_run", "true"), ("effective_at", &at)]] {
        let answer = publish(&mut gateway, &next, query).ok();
        assert_eq!((&answer["version"], &answer["dry_run"]), (&json!(2), &json!(true)));
        assert_eq!(answer["changes"].as_array().unwrap().len(), 1);
    }
    assert_eq!((running(&mut gateway), versions(&mut gateway, "")), before);
    gateway.admin("GET", "/admin/v1/catalog/announced", &NONE).refused(404, "not_found");
    let mut wrong = before.0.clone();
    wrong["models"] = json!(7);
    publish(&mut gateway, &wrong, &[("dry_run", "true")]).refused(400, "invalid_catalog");
}

#[test]
fn a_publication_with_a_parameter_that_is_wrong_or_none_is_refused_as_a_whole() {
    let mut gateway = Gateway::new();
    let before = running(&mut gateway);
    let later = in_ms(&gateway, 60_000);
    let long = "x".repeat(201);
    for (name, value) in [
        ("effective_at", "tomorrow"),
        ("effective_at", ""),
        ("effective_at", "2020-01-01T00:00:00Z"),
        ("dry_run", "yes"),
        ("dry_run", ""),
        ("author", ""),
        ("author", &long),
        ("author", "a\nb"),
        ("reason", ""),
        ("reason", "\u{0}"),
        ("efective_at", &later),
    ] {
        let refused = publish(&mut gateway, &dearer(&before, "5"), &[(name, value)]);
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(name)), "{name}={value}");
    }
    assert_eq!(running(&mut gateway), before);
}

#[test]
fn a_faulty_catalogue_leaves_the_running_one_and_every_fault_is_told() {
    let mut gateway = Gateway::new();
    let before = running(&mut gateway);
    let mut faulty = dearer(&before, "-1");
    faulty["models"]["both"]["routes"]["routed"]["candidates"][0]["channel"] = json!("none");
    let refused = publish(&mut gateway, &faulty, &[]);
    refused.refused(400, "invalid_catalog");
    let faults = refused.json()["error"]["metadata"]["faults"].clone();
    assert_eq!(faults.as_array().unwrap().len(), 2, "{faults}");
    assert_eq!(running(&mut gateway), before);
    let secret = gateway.rich_key(&json!({}));
    assert_eq!(priced(&mut gateway, &secret).0, 1);
}

#[test]
fn versions_are_found_by_pages_newest_first_and_by_the_model_that_they_changed() {
    let mut gateway = Gateway::new();
    let first = running(&mut gateway);
    let mut next = dearer(&first, "6");
    next["models"]["two"]["name"] = json!("Two");
    publish(&mut gateway, &next, &[]).ok();
    publish(&mut gateway, &dearer(&next, "7"), &[]).ok();
    let all = versions(&mut gateway, "limit=100")["data"].clone();
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = versions(&mut gateway, &format!("limit=2{after}"));
        paged.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["next"].is_null() {
            break;
        }
        after = format!("&after={}", page["next"]).replace('"', "");
    }
    assert_eq!(json!(paged), all);
    let numbers =
        |rows: &Value| -> Vec<u64> { rows.as_array().unwrap().iter().map(|row| row["version"].as_u64().unwrap()).collect() };
    assert_eq!(numbers(&all), [3, 2, 1]);
    let of_two = versions(&mut gateway, "model=two")["data"].clone();
    assert_eq!(numbers(&of_two), [2, 1]);
    assert_eq!(
        of_two[0]["changes"].as_array().unwrap().iter().map(|change| change["kind"].clone()).collect::<Vec<_>>(),
        ["other"]
    );
    let at = in_ms(&gateway, 60_000);
    let announced = publish(&mut gateway, &dearer(&next, "9"), &[("effective_at", &at)]).ok();
    let newest = |gateway: &mut Gateway| versions(gateway, "model=one&limit=1")["data"][0]["version"].clone();
    assert_eq!(newest(&mut gateway), announced["version"]);
    gateway.admin("DELETE", "/admin/v1/catalog/announced", &NONE).ok();
    assert_eq!(newest(&mut gateway), 3, "unless it was withdrawn");
    assert_eq!(versions(&mut gateway, "model=never-sold")["data"], json!([]));
    gateway.admin("GET", "/admin/v1/catalog/versions?model=no%20model", &NONE).refused(400, "invalid_request");
}

#[test]
fn an_announced_catalogue_prices_requests_from_its_time_on_and_is_published_by_the_cron() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let mut document = dearer(&running(&mut gateway), "200");
    let at = in_ms(&gateway, 5_000);
    let answer = publish(&mut gateway, &document, &[("effective_at", &at), ("reason", "Announced")]).ok();
    assert_eq!(answer["effective_at"], at);
    document["version"] = json!(2);
    assert_eq!(priced(&mut gateway, &secret), (1, "2".to_owned()));
    let shown = gateway.admin("GET", "/admin/v1/catalog/announced", &NONE).ok();
    assert_eq!((&shown["document"], &shown["reason"], &shown["effective_at"]), (&document, &json!("Announced"), &json!(at)));
    let published = |gateway: &Gateway| {
        let kv = gateway.simulation.world.kv.borrow();
        let running: Value = serde_json::from_str(kv.catalog.as_ref().unwrap()).unwrap();
        (running["version"].as_u64().unwrap(), kv.next.as_ref().map(|next| next.version))
    };
    gateway.scheduled();
    assert_eq!(published(&gateway), (1, Some(2)), "not before its time");
    gateway.advance(6_000);
    assert_eq!(priced(&mut gateway, &secret), (2, "200".to_owned()), "without being renewed");
    assert_eq!(running(&mut gateway), document);
    gateway.admin("GET", "/admin/v1/catalog/announced", &NONE).refused(404, "not_found");
    for _ in 0..2 {
        gateway.scheduled();
        assert_eq!(published(&gateway), (2, Some(2)), "it stays beside it for some minutes");
    }
    gateway.advance(300_000);
    for _ in 0..2 {
        gateway.scheduled();
        assert_eq!(published(&gateway), (2, None));
    }
    assert_eq!(priced(&mut gateway, &secret).0, 2);
}

#[test]
fn what_is_announced_stays_so_above_what_is_published_before_its_time() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let first = running(&mut gateway);
    let at = in_ms(&gateway, 60_000);
    let announced =
        publish(&mut gateway, &dearer(&first, "10"), &[("effective_at", &at), ("author", "kim"), ("reason", "Later")]).ok();
    let now = publish(&mut gateway, &dearer(&first, "11"), &[]).ok();
    assert_eq!((&announced["version"], &now["version"]), (&json!(2), &json!(3)));
    assert_eq!(now["announced"], json!({"version": 4, "effective_at": at}));
    assert_eq!(priced(&mut gateway, &secret).0, 3);
    let listed = versions(&mut gateway, "limit=3");
    let told = |row: &Value| json!([row["version"], row["on_behalf_of"], row["reason"], row["withdrawn_at"].is_string()]);
    let told: Vec<Value> = listed["data"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(json!(told), json!([[4, "kim", "Later", false], [3, null, null, false], [2, "kim", "Later", true]]));
    let texts = &listed["data"][0]["changes"][0]["text"];
    assert_eq!(*texts, "one, official: output 11 -> 10 USD per million tokens (-9 %)", "it says then what it changes");
    gateway.advance(60_000);
    assert_eq!(priced(&mut gateway, &secret), (4, "10".to_owned()));
    gateway.scheduled();
    assert_eq!(running(&mut gateway)["version"], 4);
}

#[test]
fn an_announcement_is_replaced_by_another_and_that_one_withdrawn() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let first = running(&mut gateway);
    let at = in_ms(&gateway, 4_000);
    for (output, version) in [("12", 2), ("13", 3)] {
        let answer = publish(&mut gateway, &dearer(&first, output), &[("effective_at", &at)]).ok();
        assert_eq!(answer["version"], version);
    }
    assert_eq!(gateway.admin("GET", "/admin/v1/catalog/announced", &NONE).ok()["version"], 3);
    let withdrawn = gateway.admin("DELETE", "/admin/v1/catalog/announced", &NONE).ok();
    assert_eq!(withdrawn, json!({"version": 3, "withdrawn": true}));
    gateway.admin("DELETE", "/admin/v1/catalog/announced", &NONE).refused(404, "not_found");
    let listed = versions(&mut gateway, "limit=2");
    assert!(listed["data"].as_array().unwrap().iter().all(|row| row["withdrawn_at"].is_string()), "{listed}");
    gateway.advance(60_000);
    gateway.scheduled();
    assert_eq!(priced(&mut gateway, &secret).0, 1);
    assert_eq!(running(&mut gateway), first);
    let next = publish(&mut gateway, &dearer(&first, "14"), &[]).ok();
    assert_eq!(next["version"], 4, "a withdrawn version is not used again");
}

#[test]
fn what_was_withdrawn_or_became_faulty_is_not_published_by_a_cron_that_still_sees_it() {
    let mut gateway = Gateway::new();
    let first = running(&mut gateway);
    let at = in_ms(&gateway, 60_000);
    publish(&mut gateway, &dearer(&first, "15"), &[("effective_at", &at)]).ok();
    let seen = gateway.simulation.world.kv.borrow().next.clone();
    gateway.admin("DELETE", "/admin/v1/catalog/announced", &NONE).ok();
    let mut faulty = seen.clone().unwrap();
    (faulty.version, faulty.effective_at) = (50, Timestamp::from_millis(0));
    faulty.document = serde_json::value::RawValue::from_string(dearer(&first, "-1").to_string()).unwrap();
    gateway.advance(61_000);
    for next in [seen, Some(faulty)] {
        gateway.simulation.world.kv.borrow_mut().next = next;
        gateway.scheduled();
        assert!(gateway.simulation.world.kv.borrow().next.is_none());
        assert_eq!(running(&mut gateway), first);
    }
    let log = gateway.simulation.log();
    assert!(log.iter().any(|line| line.contains("version 50 was announced and is not used: ")), "{log:?}");
}

#[test]
fn without_kv_or_history_the_catalogue_runs_and_what_is_published_is_in_the_other() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let first = running(&mut gateway);
    gateway.fail("d1", u32::MAX);
    publish(&mut gateway, &dearer(&first, "16"), &[]).ok();
    assert!(gateway.simulation.log().iter().any(|line| line.contains("catalogue history")));
    gateway.fail("d1", 0);
    assert_eq!(priced(&mut gateway, &secret), (2, "16".to_owned()));
    assert_eq!(versions(&mut gateway, "")["data"][0]["version"], 1, "the history lags behind");
    // KV has lost it: a new isolate takes the newest of the history.
    gateway.fail("kv", u32::MAX);
    assert_eq!(priced(&mut gateway, &secret).0, 1);
    gateway.fail("d1", u32::MAX);
    assert_eq!(gateway.call(&secret, "one").status, 503, "the keys are in neither");
    let refused = publish(&mut gateway, &dearer(&first, "17"), &[]);
    assert_eq!(refused.status, 503);
}

/// The versions of the history, newest first, with their prices of output.
type Listed = Vec<(Value, Value)>;

/// Publications that run at the same time: how each is answered, and the history behind them.
fn together(gateway: &mut Gateway, all: &[(&str, Option<&str>)]) -> (Vec<(u16, Value)>, Listed) {
    let first = running(gateway);
    let call = |(output, at): &(&str, Option<&str>)| {
        let query = at.map(|at| format!("?effective_at={at}")).unwrap_or_default();
        Call::new("PUT", &format!("/admin/v1/catalog{query}")).with(ROOT).json(&dearer(&first, output))
    };
    let answered = gateway.together(all.iter().map(call));
    let listed = versions(gateway, "limit=100");
    let of = |row: &Value| {
        let version = gateway.admin("GET", &format!("/admin/v1/catalog/versions/{}", row["version"]), &NONE).ok();
        (row["version"].clone(), version["document"]["models"]["one"]["routes"]["official"]["price"]["output"].clone())
    };
    let listed = listed["data"].as_array().unwrap().iter().map(of).collect();
    (answered.iter().map(|answered| (answered.status, answered.json())).collect(), listed)
}

#[test]
fn of_catalogues_that_are_published_at_the_same_time_each_has_a_version_or_is_refused() {
    for (announces, count) in
        [([false, false, false], 2), ([true, true, true], 3), ([true, false, true], 3), ([false, true, false], 2)]
    {
        let mut gateway = Gateway::new();
        let secret = gateway.rich_key(&json!({}));
        let at = in_ms(&gateway, 60_000);
        let prices = ["21", "22", "23"];
        let all: Vec<_> =
            prices[..count].iter().zip(announces).map(|(price, ahead)| (*price, ahead.then_some(at.as_str()))).collect();
        let (answered, listed) = together(&mut gateway, &all);
        let won: Vec<(&str, &Value)> =
            prices.iter().zip(&answered).filter(|(_, (status, _))| *status == 200).map(|(p, (_, a))| (*p, a)).collect();
        assert!(!won.is_empty());
        for (status, answer) in &answered {
            assert!(*status == 200 || (*status, &answer["error"]["code"]) == (409, &json!("conflict")), "{answer}");
        }
        for (price, answer) in &won {
            assert!(listed.contains(&(answer["version"].clone(), json!(price))), "{price}: {listed:?}");
        }
        // Whoever was refused publishes above what is there now.
        let (newest, now) = (listed[0].0.as_u64().unwrap(), running(&mut gateway));
        assert_eq!(publish(&mut gateway, &dearer(&now, "29"), &[]).ok()["version"].as_u64(), Some(newest + 1), "{announces:?}");
        assert_eq!(priced(&mut gateway, &secret), (newest + 1, "29".to_owned()));
    }
}

#[test]
fn a_catalogue_that_did_not_reach_kv_is_not_in_the_history() {
    let mut gateway = Gateway::new();
    let first = running(&mut gateway);
    let before = versions(&mut gateway, "");
    for query in [vec![], vec![("effective_at", in_ms(&gateway, 60_000))]] {
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        gateway.fail("kv", u32::MAX);
        assert_eq!(publish(&mut gateway, &dearer(&first, "31"), &query).status, 503);
        gateway.fail("kv", 0);
        assert_eq!(versions(&mut gateway, ""), before);
    }
    assert_eq!(publish(&mut gateway, &dearer(&first, "31"), &[]).ok()["version"], 2);
}
