//! Runs and budgets: what a run's requests came to, what stops at a budget, and what is told of it. Official prices are 1 USD a
//! million in and 2 out; the usual answer is 10 tokens in and 5 out, and costs 0.00002.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::gateway::{Answered, Call, Gateway, chat};
use crate::support::outside::Script;
use crate::varied::{nanos, total};

const NONE: Value = Value::Null;

fn open(gateway: &mut Gateway, secret: &str, body: &Value) -> Answered {
    gateway.by(secret, "POST", "/v1/runs", body)
}

/// A key of an account with plenty, and what of its audit is of a kind, oldest first.
fn recorded(gateway: &mut Gateway, account: &str, kind: &str) -> Vec<Value> {
    gateway.alarm();
    let path = format!("/admin/v1/audit?account={account}&kind={kind}&limit=100");
    let rows = gateway.admin("GET", &path, &NONE).ok();
    rows["data"].as_array().unwrap().iter().rev().map(|row| row["record"].clone()).collect()
}

/// The sums of receipts, as a run has them.
fn sums(receipts: &[&Value]) -> Value {
    let count = |name: &str| receipts.iter().map(|receipt| receipt[name].as_u64().unwrap()).sum::<u64>();
    let mut paid: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for receipt in receipts {
        if let Some(bucket) = receipt["bucket"].as_str() {
            paid.entry(bucket).or_default().push(&receipt["charge"]);
        }
    }
    let classes = ["input", "cached_input", "cache_write", "audio_input", "output", "reasoning", "audio_output"];
    let used = |class: &str| receipts.iter().map(|receipt| receipt["usage"][class].as_u64().unwrap()).sum::<u64>();
    let currency = |bucket: &str| if bucket == "credit" { "USD" } else { "CNY" };
    json!({
        "requests": receipts.len(), "retries": count("retries"), "fallbacks": count("fallbacks"),
        "tokens": classes.iter().map(|class| ((*class).to_owned(), json!(used(class)))).collect::<serde_json::Map<_, _>>(),
        "charges": paid.iter().map(|(bucket, charges)| ((*bucket).to_owned(), json!(total(charges.iter().copied())))).collect::<serde_json::Map<_, _>>(),
        "currencies": paid.keys().map(|bucket| ((*bucket).to_owned(), json!(currency(bucket)))).collect::<serde_json::Map<_, _>>(),
    })
}

fn bare(mut row: Value) -> Value {
    row.as_object_mut().unwrap().shift_remove("cache");
    row
}

/// Checks a run against the receipts of its requests.
fn assert_sums(run: &Value, receipts: &[Value]) {
    assert_eq!(bare(run["totals"].clone()), sums(&receipts.iter().collect::<Vec<_>>()));
    for dimension in ["model", "route", "bucket", "status"] {
        let name = |receipt: &Value| match dimension {
            "model" => receipt["model"].as_str().or(receipt["requested_model"].as_str()).unwrap().to_owned(),
            _ => receipt[dimension].as_str().unwrap_or("none").to_owned(),
        };
        let mut groups: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for receipt in receipts {
            groups.entry(name(receipt)).or_default().push(receipt);
        }
        let rows = run[format!("by_{dimension}")].as_array().unwrap();
        assert_eq!(rows.len(), groups.len(), "{dimension}");
        for row in rows {
            let expected = sums(&groups[row[dimension].as_str().unwrap()]);
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(row[field], *value, "{dimension} {field}: {row}");
            }
        }
    }
}

#[test]
fn a_run_is_the_sum_of_the_receipts_of_its_requests_however_they_ended() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({"cross_routes": true}));
    let refused = || Script::Status(400, r#"{"error":{"message":"no","code":"x"}}"#);
    let failed = || Script::Status(500, "{}");
    let first =
        "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"12345678\"}}]}\n\n";
    let usage = "data: {\"id\":\"c\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n";
    for (scripts, fields) in [
        (vec![], json!({"model": "one"})),
        (vec![("main", Script::Pieces(vec![first, usage, "data: [DONE]\n\n"]))], json!({"model": "one", "stream": true})),
        (vec![], json!({"model": "both"})),
        (vec![], json!({"model": "both:routed"})),
        (vec![], json!({"model": "both-latest"})),
        (vec![("main", failed())], json!({"model": "two"})),
        (vec![("main", failed()), ("main", Script::Status(200, crate::gateway::ANSWER))], json!({"model": "again"})),
        (vec![("main", refused())], json!({"model": "one"})),
        (vec![("main", failed())], json!({"model": "one"})),
        (vec![("main", Script::Broken(vec![first]))], json!({"model": "two", "stream": true})),
        (vec![], json!({"model": "no-such-model"})),
        (vec![], json!({"model": "one", "max_tokens": "many"})),
    ] {
        for (host, script) in scripts {
            gateway.script(host, script);
        }
        gateway.in_run(&secret, &fields, "all-kinds");
    }
    // Not in the run.
    gateway.call(&secret, "one");
    gateway.in_run(&secret, &json!({"model": "one"}), "another");
    let own = gateway.all(&secret, "/v1/receipts?run=all-kinds", 5);
    assert_eq!(own.len(), 12);
    let statuses: BTreeSet<&str> = own.iter().map(|receipt| receipt["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, BTreeSet::from(["completed", "failed", "refused", "truncated"]));
    let run = gateway.get(&secret, "/v1/runs/all-kinds").ok();
    let head = (&run["id"], &run["in_flight"], &run["budgets"], &run["name"], &run["opened_at"]);
    assert_eq!(head, (&json!("all-kinds"), &json!([]), &json!([]), &NONE, &NONE));
    assert_sums(&run, &own);
    assert_eq!(run["totals"]["charges"].as_object().unwrap().len(), 2);
    assert_eq!((&run["totals"]["fallbacks"], &run["totals"]["retries"]), (&json!(1), &json!(1)));
    let entries = gateway.all(&secret, "/v1/ledger?run=all-kinds", 5);
    for (bucket, charge) in run["totals"]["charges"].as_object().unwrap() {
        let of_bucket = entries.iter().filter(|entry| entry["bucket"] == bucket.as_str()).map(|entry| &entry["amount"]);
        assert_eq!(nanos(&json!(total(of_bucket))), -nanos(charge));
    }
}

#[test]
fn a_run_is_live_what_is_in_flight_is_shown_and_counts_when_it_has_ended() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    gateway.script("main", Script::Hangs);
    let mut call = chat(&secret, &json!({"model": "one", "max_tokens": 20}));
    call.head.run = Some("live".to_owned());
    let asked = gateway.open(call);
    let during = gateway.get(&secret, "/v1/runs/live").ok();
    let flying = &during["in_flight"][0];
    assert_eq!((&flying["bucket"], &flying["currency"]), (&json!("credit"), &json!("USD")));
    assert!(nanos(&flying["amount"]) >= 40_000);
    assert_eq!((&during["totals"]["requests"], &during["lines"]), (&json!(0), &json!([])));
    let balances = gateway.get(&secret, "/v1/balances").ok();
    assert_eq!(balances["data"][0]["open_holds"][0]["run"], "live");
    let answered = gateway.finish(asked);
    assert_eq!(answered.header("x-generation-id"), flying["request"].as_str());
    let after = gateway.get(&secret, "/v1/runs/live").ok();
    assert_eq!((&after["in_flight"], &after["totals"]["requests"]), (&json!([]), &json!(1)));
}

#[test]
fn a_run_belongs_to_one_account_and_there_is_none_without_a_request() {
    let mut gateway = Gateway::new();
    let (one, other) = (gateway.rich_key(&json!({})), gateway.rich_key(&json!({})));
    gateway.in_run(&one, &json!({"model": "one"}), "mine");
    let long = "x".repeat(129);
    for (secret, id) in [(&one, "unknown"), (&other, "mine"), (&one, "a%20b"), (&one, long.as_str())] {
        gateway.get(secret, &format!("/v1/runs/{id}")).refused(404, "not_found");
    }
    gateway.in_run(&other, &json!({"model": "no-such-model"}), "mine");
    for (secret, status) in [(&one, "completed"), (&other, "refused")] {
        let run = gateway.get(secret, "/v1/runs/mine").ok();
        assert_eq!(run["by_status"].as_array().unwrap().iter().map(|row| row["status"].clone()).collect::<Vec<_>>(), [status]);
    }
    for id in ["a b", long.as_str(), "a/b", "ü"] {
        let refused = gateway.in_run(&one, &json!({"model": "one"}), id);
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("x-tf-run")), "{id}");
    }
    assert_eq!(gateway.by(&one, "POST", "/v1/runs/mine", &NONE).status, 405);
}

#[test]
fn a_run_of_very_many_kinds_of_requests_loses_none_of_them() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    for n in 0..120 {
        gateway.in_run(&secret, &json!({"model": format!("unknown-{n}")}), "broad");
    }
    gateway.in_run(&secret, &json!({"model": "one"}), "broad");
    let run = gateway.get(&secret, "/v1/runs/broad").ok();
    assert_eq!((&run["totals"]["requests"], &run["totals"]["charges"]), (&json!(121), &json!({"credit": "0.00002"})));
    let lines = run["lines"].as_array().unwrap();
    assert!(lines.len() < 121 && lines.iter().any(|line| line["model"] == "other"));
}

#[test]
fn a_run_is_opened_with_a_name_and_budgets_once_and_the_same_again_is_the_same() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (_, secret) = gateway.key(&account, &json!({}));
    let body = json!({"id": "nightly", "name": "The nightly one", "budgets": [{"bucket": "credit", "limit": "0.5"}, {"bucket": "wallet", "limit": "3"}]});
    let first = open(&mut gateway, &secret, &body);
    for _ in 0..5 {
        let again = open(&mut gateway, &secret, &body);
        assert_eq!((again.status, again.json()), (201, first.json()));
    }
    let run = first.json();
    assert_eq!((&run["id"], &run["name"], &run["totals"]["requests"]), (&body["id"], &body["name"], &json!(0)));
    let budget = |bucket: &str, currency: &str, limit: &str| json!({"bucket": bucket, "currency": currency, "limit": limit, "spent": "0", "remaining": limit});
    assert_eq!(run["budgets"], json!([budget("credit", "USD", "0.5"), budget("wallet", "CNY", "3")]));
    assert_eq!(gateway.get(&secret, "/v1/runs/nightly").ok(), run);
    let rows = recorded(&mut gateway, &account, "run");
    assert_eq!(rows.iter().map(|row| row["name"].clone()).collect::<Vec<_>>(), [body["name"].clone()]);
    let with = |field: &str, value: Value| {
        let mut other = body.clone();
        other[field] = value;
        other
    };
    for other in [
        with("name", json!("Another")),
        with("budgets", json!([])),
        with("budgets", json!([{"bucket": "credit", "limit": "0.6"}])),
        json!({"id": "nightly"}),
    ] {
        open(&mut gateway, &secret, &other).refused(409, "conflict");
    }
    let (_, another) = gateway.key(&account, &json!({}));
    assert_eq!(open(&mut gateway, &another, &body).status, 409, "of another key");
    let unnamed = open(&mut gateway, &secret, &json!({}));
    assert_eq!(unnamed.status, 201);
    let unnamed = unnamed.json();
    let id = unnamed["id"].as_str().unwrap().strip_prefix("run-").unwrap();
    assert!(id.len() == 26 && id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()), "{id}");
    assert_eq!((&unnamed["name"], &unnamed["budgets"]), (&NONE, &json!([])));
}

#[test]
fn a_run_is_not_opened_with_what_makes_no_sense() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let mut bodies = vec![
        json!({"id": "a b"}),
        json!({"id": ""}),
        json!({"id": 7}),
        json!({"name": ""}),
        json!({"name": "a\u{0}b"}),
        json!({"colour": "red"}),
        json!({"budgets": {}}),
        json!({"budgets": [{"bucket": "credit"}]}),
        json!({"budgets": [{"bucket": "credit", "limit": "1", "period": "day"}]}),
    ];
    bodies.extend(
        [json!("gold"), json!("Credit"), json!(""), json!(7)]
            .map(|bucket| json!({"budgets": [{"bucket": bucket, "limit": "1"}]})),
    );
    bodies.extend(
        [json!("-1"), json!("-0.000000001"), json!("much"), json!("1e3"), json!(1), NONE, json!("99999999999999")]
            .map(|limit| json!({"budgets": [{"bucket": "credit", "limit": limit}]})),
    );
    for body in bodies {
        let refused = open(&mut gateway, &secret, &body);
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_request"), "{body}");
    }
    assert_eq!(gateway.send(Call::new("POST", "/v1/runs").with(&secret).body("{")).status, 400);
    assert_eq!(gateway.get(&secret, "/v1/runs").ok()["data"], json!([]));
    assert_eq!(gateway.send(Call::new("POST", "/v1/runs").body("{}")).status, 401);
}

#[test]
fn runs_are_listed_page_by_page() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let ids: Vec<String> = (0..7).map(|n| format!("r-{n}")).collect();
    for id in &ids[..5] {
        assert_eq!(open(&mut gateway, &secret, &json!({"id": id, "name": format!("Run {id}")})).status, 201);
    }
    for id in &ids[5..] {
        gateway.in_run(&secret, &json!({"model": "one"}), id);
    }
    for limit in [1, 3, 7, 100] {
        let listed = gateway.all(&secret, "/v1/runs", limit);
        assert_eq!(listed.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), ids);
    }
    assert_eq!(gateway.get(&secret, "/v1/runs?limit=2").ok()["next"], "r-1");
    for query in ["limit=0", "limit=101", "limit=x"] {
        assert_eq!(gateway.get(&secret, &format!("/v1/runs?{query}")).status, 400);
    }
}

/// A catalogue whose input is free, and an answer of 16 tokens out: 0.000032 each.
fn exact() -> Gateway {
    const EXACT: &str = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":16}}"#;
    let mut document = crate::gateway::catalog();
    document["models"]["one"]["routes"]["official"]["price"] = json!({"input": "0", "output": "2"});
    let gateway = Gateway::with(&document);
    *gateway.simulation.world.otherwise.borrow_mut() = Some(Script::Status(200, EXACT));
    gateway
}

fn short(model: &str, max_tokens: u32) -> Value {
    json!({"model": model, "max_tokens": max_tokens})
}

#[test]
fn the_budget_of_a_run_stops_it_with_the_reason_and_nothing_else() {
    let mut gateway = exact();
    let secret = gateway.rich_key(&json!({}));
    let run = open(&mut gateway, &secret, &json!({"budgets": [{"bucket": "credit", "limit": "0.0001"}]})).ok();
    let id = run["id"].as_str().unwrap();
    for _ in 0..3 {
        assert_eq!(gateway.in_run(&secret, &short("one", 16), id).status, 200);
    }
    let calls = gateway.calls();
    let refused = gateway.in_run(&secret, &short("one", 16), id);
    refused.refused(403, "budget_exceeded");
    let metadata = refused.json()["error"]["metadata"].clone();
    for (field, expected) in [
        ("scope", json!("run")),
        ("scope_id", json!(id)),
        ("bucket", json!("credit")),
        ("period", json!("total")),
        ("limit", json!("0.0001")),
        ("spent", json!("0.000096")),
        ("held", json!("0")),
        ("quote", json!("0.000032")),
        ("resets_at", NONE),
        ("limit_source", json!("run")),
    ] {
        assert_eq!(metadata[field], expected, "{field}");
    }
    let next_step = metadata["next_step"].as_str().unwrap();
    assert!(next_step.contains("max_tokens") && next_step.contains("run"), "{next_step}");
    assert_eq!(gateway.calls(), calls, "nothing was sent upstream");
    assert_eq!(gateway.receipt(&secret, &refused)["status"], "refused");
    // Upstream keeps to its limit.
    const TWO: &str = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"length"}],"usage":{"prompt_tokens":8,"completion_tokens":2}}"#;
    gateway.script("main", Script::Status(200, TWO));
    assert_eq!(gateway.in_run(&secret, &short("one", 2), id).status, 200, "what is left can be spent");
    assert_eq!(gateway.in_run(&secret, &short("one", 1), id).status, 403);
    assert_eq!(gateway.chat(&secret, &short("one", 16)).status, 200);
    assert_eq!(gateway.in_run(&secret, &short("one", 16), "another").status, 200);
    assert_eq!(gateway.in_run(&secret, &short("routed", 16), id).status, 200, "the other bucket is not limited");
    let after = gateway.get(&secret, &format!("/v1/runs/{id}")).ok();
    let budget = json!([{"bucket": "credit", "currency": "USD", "limit": "0.0001", "spent": "0.0001", "remaining": "0"}]);
    assert_eq!(after["budgets"], budget);
    let refused = after["by_status"].as_array().unwrap().iter().find(|row| row["status"] == "refused").unwrap();
    assert_eq!(refused["requests"], 2);
    let nothing = open(&mut gateway, &secret, &json!({"budgets": [{"bucket": "credit", "limit": "0"}]})).ok();
    assert_eq!(gateway.in_run(&secret, &short("one", 1), nothing["id"].as_str().unwrap()).status, 403);
}

#[test]
fn a_budget_of_a_key_or_a_project_names_itself_what_is_spent_and_when_it_starts_again() {
    for scope in ["key", "project"] {
        for (period, resets_at) in
            [("total", None), ("day", Some("2027-01-16T00:00:00Z")), ("month", Some("2027-02-01T00:00:00Z"))]
        {
            let mut gateway = exact();
            let account = gateway.account(&[("credit", "1"), ("wallet", "1")]);
            let budgets = json!({"budgets": [{"bucket": "credit", "period": period, "limit": "0.00005"}]});
            let none = json!({});
            let (of_project, of_key) = if scope == "project" { (&budgets, &none) } else { (&none, &budgets) };
            let mut project = json!({"name": "P"});
            project.as_object_mut().unwrap().extend(of_project.as_object().unwrap().clone());
            let project = gateway.admin("POST", &format!("/admin/v1/accounts/{account}/projects"), &project).ok()["id"].clone();
            let mut policy = json!({"project": project});
            policy.as_object_mut().unwrap().extend(of_key.as_object().unwrap().clone());
            let (key, secret) = gateway.key(&account, &policy);
            assert_eq!(gateway.chat(&secret, &short("one", 16)).status, 200);
            let refused = gateway.chat(&secret, &short("one", 16));
            refused.refused(403, "budget_exceeded");
            let metadata = refused.json()["error"]["metadata"].clone();
            for (field, expected) in [
                ("scope", json!(scope)),
                ("scope_id", if scope == "key" { json!(key) } else { project.clone() }),
                ("bucket", json!("credit")),
                ("period", json!(period)),
                ("limit", json!("0.00005")),
                ("spent", json!("0.000032")),
                ("held", json!("0")),
                ("resets_at", json!(resets_at)),
                ("limit_source", json!(scope)),
            ] {
                assert_eq!(metadata[field], expected, "{scope} {period} {field}");
            }
            let next_step = metadata["next_step"].as_str().unwrap();
            let said = resets_at.map_or("raise the budget".to_owned(), |at| format!("wait until {at}"));
            assert!(next_step.contains(&said), "{next_step}");
            assert_eq!(gateway.chat(&secret, &short("routed", 16)).status, 200, "the other bucket is not limited");
            let (_, another) = gateway.key(&account, &json!({"project": project}));
            let of_another = gateway.chat(&another, &short("one", 16)).status;
            assert_eq!(of_another, if scope == "key" { 200 } else { 403 });
            let view = gateway.get(&secret, "/v1/key").ok();
            assert_eq!(view["data"]["tf"]["budgets"].as_array().unwrap().len(), usize::from(scope == "key"));
            if let Some(at) = resets_at {
                let at = tokens_forge::time::Timestamp::parse(at).unwrap();
                gateway.simulation.world.now.set(at.millis());
                assert_eq!(gateway.chat(&secret, &short("one", 16)).status, 200, "it starts again");
            }
        }
    }
}

#[test]
fn alerts_stand_in_the_audit_once_for_each_level() {
    let mut gateway = exact();
    let account = gateway.account(&[("credit", "1")]);
    let budgets = json!({"budgets": [{"bucket": "credit", "period": "total", "limit": "0.00032"}]});
    let (key, secret) = gateway.key(&account, &budgets);
    for n in 0..10 {
        assert_eq!(gateway.chat(&secret, &short("one", 16)).status, 200);
        if n == 3 {
            assert_eq!(recorded(&mut gateway, &account, "alert"), [NONE; 0]);
        }
    }
    gateway.chat(&secret, &short("one", 16)).refused(403, "budget_exceeded");
    let told = recorded(&mut gateway, &account, "alert");
    let expected = [(50, "0.00016"), (80, "0.000256"), (100, "0.00032")].map(|(percent, spent)| {
        json!({"scope": "key", "scope_id": key, "bucket": "credit", "period": "total", "limit": "0.00032", "spent": spent, "percent": percent, "refused": false, "resets_at": null})
    });
    assert_eq!(told.len(), 3);
    for (alert, expected) in told.iter().zip(expected) {
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(alert[field], *value, "{field}");
        }
    }
    assert_eq!(told.iter().map(|alert| alert["id"].to_string()).collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn alerts_tell_of_projects_and_runs_and_of_the_first_refusal_and_not_again_after_a_new_name() {
    let mut gateway = exact();
    let account = gateway.account(&[("credit", "1")]);
    let put = |gateway: &mut Gateway, name: &str| {
        let project = json!({"id": "p", "name": name, "budgets": [{"bucket": "credit", "period": "day", "limit": "0.00006"}]});
        gateway.admin("POST", &format!("/admin/v1/accounts/{account}/projects"), &project).ok();
    };
    put(&mut gateway, "before");
    let (_, secret) = gateway.key(&account, &json!({"project": "p"}));
    let run = open(&mut gateway, &secret, &json!({"budgets": [{"bucket": "credit", "limit": "0.00004"}]})).ok();
    gateway.in_run(&secret, &short("one", 16), run["id"].as_str().unwrap());
    let what = |alert: &Value| json!([alert["scope"], alert["scope_id"], alert["percent"], alert["period"], alert["refused"]]);
    let mut expected = vec![json!(["project", "p", 50, "day", false]), json!(["run", run["id"], 80, "total", false])];
    let told = recorded(&mut gateway, &account, "alert");
    assert_eq!(told.iter().map(what).collect::<Vec<_>>(), expected);
    assert_eq!(told[0]["resets_at"], "2027-01-16T00:00:00Z");
    put(&mut gateway, "after");
    gateway.chat(&secret, &short("one", 1));
    assert_eq!(recorded(&mut gateway, &account, "alert").len(), 2);
    for _ in 0..3 {
        assert_eq!(gateway.chat(&secret, &short("one", 16)).status, 403);
    }
    expected.push(json!(["project", "p", 100, "day", true]));
    let told = recorded(&mut gateway, &account, "alert");
    assert_eq!(told.iter().map(what).collect::<Vec<_>>(), expected);
    let budget = |limit: &str| json!({"bucket": "credit", "period": "total", "limit": limit});
    let other = gateway.account(&[("credit", "1")]);
    let (_, secret) = gateway.key(&other, &json!({"budgets": [budget("0.00032"), budget("0.00064")]}));
    for _ in 0..10 {
        gateway.chat(&secret, &short("one", 16));
    }
    let told = recorded(&mut gateway, &other, "alert");
    let told: BTreeSet<String> =
        told.iter().map(|alert| format!("{} of {}", alert["percent"], alert["limit"].as_str().unwrap())).collect();
    assert_eq!(told, ["100 of 0.00032", "50 of 0.00032", "50 of 0.00064", "80 of 0.00032"].map(str::to_owned).into());
}
