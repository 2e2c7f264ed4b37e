//! What can be called, as lists, explanations and pages tell it, and what is then served.

use serde_json::{Value, json};

use crate::gateway::{Call, Gateway, chat};
use crate::refusals::refusal;
use crate::support::outside::Script;

const NONE: Value = Value::Null;

fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

/// The test catalogue with a model without a price.
fn with_unpriced() -> Gateway {
    let mut document = crate::gateway::catalog();
    document["models"]["unpriced"] = document["models"]["one"].clone();
    document["models"]["unpriced"]["routes"]["official"].as_object_mut().unwrap().shift_remove("price");
    Gateway::with(&document)
}

#[test]
fn the_list_of_models_has_what_this_key_can_call_now_and_on_request_the_rest_with_the_reason() {
    let mut gateway = with_unpriced();
    let rich = gateway.rich_key(&json!({}));
    let all = gateway.get(&rich, "/v1/models").ok();
    assert_eq!(all["object"], "list");
    assert_eq!(ids(&all), ["again", "both", "one", "routed", "two"]);
    for entry in all["data"].as_array().unwrap() {
        assert_eq!((&entry["object"], &entry["tf"]["callable"]), (&json!("model"), &json!(true)));
        assert!(entry["created"].is_u64() && entry["owned_by"].is_string());
    }
    let one = &all["data"][2];
    let pricing = json!({"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001", "currency": "USD"});
    assert_eq!(one["pricing"], pricing);
    assert_eq!((&one["context_length"], &one["top_provider"]["max_completion_tokens"]), (&json!(128_000), &json!(4096)));
    let account = gateway.account(&[("wallet", "1")]);
    let policy = json!({"models": ["one", "both", "routed", "unpriced"], "routes": ["official", "routed"]});
    let (_, narrow) = gateway.key(&account, &policy);
    assert_eq!(ids(&gateway.get(&narrow, "/v1/models").ok()), ["routed"]);
    let rest = gateway.get(&narrow, "/v1/models?include=unavailable").ok();
    assert_eq!(rest["data"].as_array().unwrap().len(), 6);
    let reason =
        |id: &str| rest["data"].as_array().unwrap().iter().find(|model| model["id"] == id).unwrap()["tf"]["reason"].clone();
    assert!(reason("two").as_str().unwrap().contains("may not call"));
    let poor = reason("one");
    assert!(poor.as_str().unwrap().contains("`credit` is 0 USD, and this request may cost 0.0"), "{poor}");
    assert!(reason("unpriced").as_str().unwrap().contains("no price"));
    assert_eq!(reason("routed"), NONE);
    assert_eq!(gateway.get(&rich, "/v1/models/both-latest").ok()["id"], "both");
    let lost = gateway.get(&rich, "/v1/models/agian");
    let error = refusal(&lost, (404, "model_not_found"), Some("model"), None);
    assert_eq!(error["metadata"]["near"][0], "again");
}

#[test]
fn what_is_listed_as_callable_is_served_as_it_was_announced_and_what_is_not_is_refused() {
    let policies = [
        json!({}),
        json!({"cross_routes": true}),
        json!({"models": ["one", "both", "routed", "unpriced"]}),
        json!({"routes": ["routed"]}),
        json!({"routes": ["routed", "official"], "cross_routes": true}),
        json!({"budgets": [{"bucket": "credit", "period": "total", "limit": "0"}], "cross_routes": true}),
    ];
    let balances: [&[(&str, &str)]; 4] =
        [&[], &[("credit", "1")], &[("wallet", "1")], &[("credit", "0.000001"), ("wallet", "1")]];
    let mut served = 0;
    for policy in &policies {
        for balance in balances {
            let mut gateway = with_unpriced();
            let account = gateway.account(balance);
            let (_, secret) = gateway.key(&account, policy);
            for name in ["one", "two", "both", "both:routed", "both:official", "routed", "unpriced", "none"] {
                let told = gateway.get(&secret, &format!("/v1/models/{name}"));
                let tf = if told.status == 200 { told.json()["tf"].clone() } else { json!({"callable": false}) };
                let plan = gateway.by(
                    &secret,
                    "POST",
                    "/v1/route",
                    &json!({"model": name, "messages": [{"role": "user", "content": "hello"}]}),
                );
                let answered = gateway.call(&secret, name);
                let is_served = answered.status == 200;
                // A list is about the model over every route that the key may use; a name with a route asks for that one.
                if !name.contains(':') {
                    assert_eq!(tf["callable"], is_served, "{policy} {balance:?} {name}: {} {tf}", answered.body);
                }
                match plan.status {
                    200 => assert_eq!(plan.json()["callable"], is_served, "{policy} {balance:?} {name}: {}", plan.body),
                    status => assert_eq!((status, plan.code()), (answered.status, answered.code()), "{name}"),
                }
                if is_served {
                    served += 1;
                    let plan = plan.json();
                    let paid =
                        plan["attempts"].as_array().unwrap().iter().find(|attempt| attempt["bucket"] == plan["bucket"]).unwrap();
                    assert_eq!(answered.header("x-tf-channel"), paid["channel"].as_str());
                    assert_eq!(answered.header("x-tf-bucket"), plan["bucket"].as_str(), "{name}");
                    let receipt = gateway.receipt(&secret, &answered);
                    assert_eq!((&receipt["bucket"], &receipt["hold"]), (&plan["bucket"], &plan["quote"]), "{name}");
                }
            }
        }
    }
    assert!(served > 40, "{served}");
}

#[test]
fn an_explanation_spends_nothing_calls_nobody_and_leaves_no_receipt() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let body = json!({"model": "both", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100});
    let plan = gateway.by(&secret, "POST", "/v1/route", &body).ok();
    assert_eq!(gateway.calls(), 0);
    let balances = gateway.get(&secret, "/v1/balances").ok();
    for view in balances["data"].as_array().unwrap() {
        assert_eq!((&view["balance"], &view["held"]), (&json!("100"), &json!("0")));
    }
    assert_eq!(gateway.get(&secret, "/v1/receipts").ok()["data"], json!([]));
    assert_eq!(
        (&plan["object"], &plan["callable"], plan["attempts"].as_array().unwrap().len()),
        (&json!("route_plan"), &json!(true), 1)
    );
    let worst = crate::varied::nanos(&plan["quote"]);
    assert!(worst > 200_000, "{plan}");
    assert_eq!(plan["quotes"][0]["balance_after_at_worst"], crate::varied::decimal(100_000_000_000 - worst));
    assert_eq!(plan["left_out"][0]["code"], "route_not_allowed");
    gateway.by(&secret, "POST", "/v1/route?endpoint=/v1/nothing", &body).refused(400, "invalid_request");
}

#[test]
fn an_explanation_names_the_attempts_that_the_call_then_makes_in_order() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    let body = json!({"model": "two", "models": ["one"], "messages": [{"role": "user", "content": "hello"}]});
    let plan = gateway.by(&secret, "POST", "/v1/route", &body).ok();
    for host in ["main", "backup"] {
        gateway.script(host, Script::Status(503, "{}"));
    }
    let answered = gateway.send(chat(&secret, &body));
    let receipt = gateway.receipt(&secret, &answered);
    let names = |rows: &Value| -> Vec<Value> {
        rows.as_array().unwrap().iter().map(|row| json!([row["channel"], row["upstream_model"]])).collect()
    };
    assert_eq!(names(&plan["attempts"]), names(&receipt["attempts"]));
    assert_eq!(plan["attempts"].as_array().unwrap().len(), 3);
    let next = plan["if_the_first_fails"].as_str().unwrap();
    assert!(next.contains("`backup` is tried as `backup-two-1`; `credit` still pays"), "{next}");
    assert_eq!((&receipt["requested_model"], &receipt["model"]), (&json!("two"), &json!("one")));
}

#[test]
fn an_explanation_refuses_what_the_call_refuses_in_the_same_words() {
    let mut gateway = with_unpriced();
    let secret = gateway.rich_key(&json!({"models": ["one", "unpriced", "both"], "routes": ["official"]}));
    for fields in [
        json!({"model": "two"}),
        json!({"model": "agian"}),
        json!({"model": "both:routed"}),
        json!({"model": "unpriced"}),
        json!({"model": "one", "max_tokens": -1}),
        json!({"model": "one", "max_tokens": 5000, "fit": "never"}),
        json!({"model": "one", "provider": {"only": ["elsewhere"]}}),
        json!({"model": "one", "messages": "hello"}),
    ] {
        let mut body = json!({"messages": [{"role": "user", "content": "hello"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let explained = gateway.by(&secret, "POST", "/v1/route", &body);
        let called = gateway.send(chat(&secret, &body));
        assert_eq!(explained.status, called.status, "{fields}");
        for field in ["code", "message", "param"] {
            assert_eq!(explained.json()["error"][field], called.json()["error"][field], "{fields}");
        }
    }
}

#[test]
fn an_explanation_says_what_an_empty_balance_means() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "0.001")]);
    let (_, secret) = gateway.key(&account, &json!({}));
    let mut body =
        json!({"model": "one", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4000, "fit": "never"});
    let plan = gateway.by(&secret, "POST", "/v1/route", &body).ok();
    let quote = &plan["quotes"][0];
    assert_eq!((&plan["callable"], &quote["covered"], &quote["available"]), (&json!(false), &json!(false), &json!("0.001")));
    let affordable = quote["affordable_max_tokens"].as_u64().unwrap();
    for (max_tokens, callable) in [(affordable, true), (affordable + 100, false)] {
        body["max_tokens"] = json!(max_tokens);
        assert_eq!(gateway.by(&secret, "POST", "/v1/route", &body).ok()["callable"], callable, "{max_tokens}");
        let answered = gateway.send(chat(&secret, &body));
        assert_eq!(answered.status, if callable { 200 } else { 402 }, "{}", answered.body);
        if callable {
            gateway
                .admin(
                    "POST",
                    &format!("/admin/v1/accounts/{account}/adjustments"),
                    &json!({"bucket": "credit", "amount": "0.00002", "reason": "again"}),
                )
                .ok();
        }
    }
}

#[test]
fn preferences_for_channels_plan_as_they_say_and_a_session_keeps_its_channel() {
    let mut document = crate::gateway::catalog();
    let candidate = |channel: &str| json!({"channel": channel, "upstream_model": "twin", "tier": 0});
    document["models"]["twins"] = document["models"]["one"].clone();
    document["models"]["twins"]["routes"]["official"]["candidates"] = json!([candidate("main"), candidate("backup")]);
    let mut gateway = Gateway::with(&document);
    let secret = gateway.rich_key(&json!({}));
    for (provider, channels) in [
        (json!({"order": ["backup"]}), &["backup", "main"][..]),
        (json!({"order": ["main", "backup"]}), &["main", "backup"]),
        (json!({"only": ["backup"]}), &["backup"]),
        (json!({"ignore": ["backup"]}), &["main"]),
        (json!({"order": ["backup"], "allow_fallbacks": false}), &["backup"]),
    ] {
        let body = json!({"model": "twins", "provider": provider, "messages": [{"role": "user", "content": "hello"}]});
        let plan = gateway.by(&secret, "POST", "/v1/route", &body).ok();
        let planned: Vec<&str> =
            plan["attempts"].as_array().unwrap().iter().map(|attempt| attempt["channel"].as_str().unwrap()).collect();
        assert_eq!(planned, channels, "{provider}");
        assert_eq!(gateway.send(chat(&secret, &body)).header("x-tf-channel"), Some(channels[0]));
    }
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..12 {
        let of = |gateway: &mut Gateway| {
            let answered = gateway.chat(&secret, &json!({"model": "twins", "session_id": format!("s-{n}")}));
            answered.header("x-tf-channel").unwrap().to_owned()
        };
        let chosen = of(&mut gateway);
        assert_eq!(of(&mut gateway), chosen);
        seen.insert(chosen);
    }
    assert_eq!(seen.len(), 2, "sessions spread");
}

#[test]
fn a_request_goes_on_to_the_route_of_another_balance_only_if_the_key_may() {
    for may_cross in [false, true] {
        let mut gateway = Gateway::new();
        let account = gateway.account(&[("credit", "100"), ("wallet", "100")]);
        let (_, secret) = gateway.key(&account, &json!({"cross_routes": may_cross}));
        gateway.script("main", Script::Status(503, "{}"));
        let answered = gateway.call(&secret, "both");
        let receipt = gateway.receipt(&secret, &answered);
        let attempts: Vec<Value> = receipt["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|attempt| json!([attempt["channel"], attempt["bucket"], attempt["status"]]))
            .collect();
        if may_cross {
            assert_eq!(answered.status, 200);
            let headers = ["x-tf-route", "x-tf-bucket", "x-tf-attempts"].map(|name| answered.header(name).unwrap());
            assert_eq!(headers, ["routed", "wallet", "2"]);
            assert_eq!(attempts, [json!(["main", "credit", "failed"]), json!(["pool", "wallet", "answered"])]);
            assert!(receipt["why"].as_str().unwrap().contains("the key may cross routes"), "{receipt}");
            assert_eq!(receipt["charge"], "0.00014");
        } else {
            assert_eq!((answered.status, answered.code().as_str()), (429, "upstream_overloaded"));
            assert_eq!(attempts, [json!(["main", "credit", "failed"])]);
            assert_eq!((&receipt["status"], &receipt["charge"]), (&json!("failed"), &json!("0")));
        }
        assert_eq!(gateway.balance(&account, "credit"), "100");
        assert_eq!(gateway.balance(&account, "wallet"), if may_cross { "99.99986" } else { "100" });
    }
}

#[test]
fn a_generation_has_openrouters_fields() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    const REASONING: &str = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":36,"completion_tokens_details":{"reasoning_tokens":20}}}"#;
    gateway.script("main", Script::Status(200, REASONING));
    let answered = gateway.call(&secret, "one");
    let receipt = gateway.receipt(&secret, &answered);
    let id = receipt["id"].as_str().unwrap();
    let data = gateway.get(&secret, &format!("/v1/generation?id={id}")).ok()["data"].clone();
    for (field, expected) in [
        ("id", json!(id)),
        ("model", json!("one")),
        ("provider_name", json!("main")),
        ("streamed", json!(false)),
        ("cancelled", json!(false)),
        ("finish_reason", json!("stop")),
        ("total_cost", json!(0.00008)),
        ("tokens_prompt", json!(8)),
        ("tokens_completion", json!(36)),
        ("native_tokens_reasoning", json!(20)),
        ("tf", receipt.clone()),
    ] {
        assert_eq!(data[field], expected, "{field}");
    }
    // An answer's id finds its receipt, too.
    let of_answer = answered.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.get(&secret, &format!("/v1/receipts/{of_answer}")).ok(), receipt);
    for (query, expected) in [("", (400, "invalid_request")), ("?id=gen-none", (404, "not_found"))] {
        let refused = gateway.get(&secret, &format!("/v1/generation{query}"));
        refusal(&refused, expected, Some("id"), None);
    }
}

#[test]
fn endpoints_and_health_of_a_model_tell_how_its_candidates_fare() {
    let mut gateway = Gateway::new();
    let secret = gateway.rich_key(&json!({}));
    for _ in 0..3 {
        gateway.call(&secret, "two");
    }
    gateway.script("main", Script::Status(503, "{}"));
    gateway.call(&secret, "two");
    gateway.alarm();
    let health = gateway.get(&secret, "/v1/health/two?window=1h").ok();
    let candidates = health["data"]["candidates"].as_array().or(health["candidates"].as_array()).unwrap().clone();
    let of = |channel: &str| candidates.iter().find(|candidate| candidate["channel"] == channel).unwrap().clone();
    let sum = |candidate: &Value, field: &str| {
        candidate["points"].as_array().unwrap().iter().map(|point| point[field].as_u64().unwrap_or(0)).sum::<u64>()
    };
    assert_eq!((sum(&of("main"), "requests"), sum(&of("main"), "failures")), (4, 1), "{health}");
    assert_eq!((sum(&of("backup"), "requests"), sum(&of("backup"), "failures")), (1, 0));
    gateway.get(&secret, "/v1/health/two?window=7y").refused(400, "invalid_request");
    gateway.get(&secret, "/v1/health/none").refused(404, "model_not_found");
    let endpoints = gateway.get(&secret, "/v1/models/two/endpoints").ok();
    assert!(endpoints.to_string().contains("backup"));
    let beta = gateway.send(Call::new("GET", "/v1beta/models").with(&secret)).ok();
    assert_eq!(beta["models"].as_array().unwrap().len(), 5);
}
