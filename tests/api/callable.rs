//! The list tells the truth: over catalogues, keys and balances of every kind, what is listed as callable is served, by whom, at which
//! price and from which balance it says; what is not is refused for the reason that it gives.

use proptest::prelude::*;
use serde_json::{Value, json};
use tokens_forge::probe;

use crate::gateway::{ANSWER, Answered, Call, Gateway, catalog};
use crate::support::outside::Script;
use crate::varied::{decimal, nanos};

const NONE: Value = Value::Null;

/// Channels, and how each of them answers; none is a good answer.
const CHANNELS: [(&str, Option<(u16, &str)>); 7] = [
    ("good", None),
    ("better", None),
    ("best", None),
    ("down", Some((503, r#"{"error":{"message":"out of order"}}"#))),
    ("locked", Some((401, r#"{"error":{"message":"bad key"}}"#))),
    ("lost", Some((404, r#"{"error":{"message":"no such model","code":"model_not_found"}}"#))),
    ("odd", Some((200, r#"{"error":{"message":"something went wrong","type":"server_error"}}"#))),
];

/// What a request is told that nobody answered.
const UNANSWERED: [&str; 3] = ["no_route_available", "upstream_rate_limited", "upstream_overloaded"];

/// Candidates of a route, by channel and tier; what its tokens cost, unless it is not sold.
type Route = (Vec<(usize, u8)>, Option<i64>);

/// Of a model its routes, and whether it has an alias.
type Model = (Option<Route>, Option<Route>, bool);

/// Of a key what it may: models by place, routes, crossing; what its budget and its balances come to, and what else is odd.
#[derive(Debug, Clone)]
struct Holder {
    models: Vec<bool>,
    routes: usize,
    crosses: bool,
    fit: bool,
    budget: Option<(bool, usize)>,
    balances: [usize; 2],
    oddity: usize,
}

fn routes() -> impl Strategy<Value = Option<Route>> {
    let candidates = prop::sample::subsequence((0..CHANNELS.len()).collect::<Vec<_>>(), 1..=3).prop_shuffle();
    let tiered = candidates.prop_flat_map(|channels| {
        let tiers = prop::collection::vec(0u8..3, channels.len());
        tiers.prop_map(move |tiers| channels.iter().copied().zip(tiers).collect::<Vec<_>>())
    });
    prop::option::weighted(0.75, (tiered, prop::option::weighted(0.88, 1i64..60)))
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    let model = (routes(), routes(), any::<bool>())
        .prop_filter("a model has a route", |(one, other, _)| one.is_some() || other.is_some());
    prop::collection::vec(model, 2..=4)
}

fn holders() -> impl Strategy<Value = Vec<Holder>> {
    let budget = prop::option::weighted(0.3, (any::<bool>(), 0usize..6));
    let may = (prop::collection::vec(prop::bool::weighted(0.7), 4), 0usize..4, any::<bool>(), prop::bool::weighted(0.8));
    let holder = (may, budget, [0usize..12, 0usize..12], 0usize..30);
    let holder = holder.prop_map(|((models, routes, crosses, fit), budget, balances, oddity)| Holder {
        models,
        routes,
        crosses,
        fit,
        budget,
        balances,
        oddity,
    });
    prop::collection::vec(holder, 6)
}

fn document(models: &[Model]) -> Value {
    let mut document = catalog();
    let mut channels = serde_json::Map::new();
    for (name, _) in CHANNELS {
        let mut channel = document["channels"]["main"].clone();
        channel["base_url"] = json!(format!("https://{name}.example.com/v1"));
        (channel["label"], channel["probe_daily_cap"]) = (json!(name), json!("1000"));
        channels.insert(name.to_owned(), channel);
    }
    document["channels"] = Value::Object(channels);
    let mut sold = serde_json::Map::new();
    for (place, (official, routed, has_alias)) in models.iter().enumerate() {
        let route = |route: &Route, bucket: &str| {
            let (candidates, price) = route;
            let candidate = |(channel, tier): &(usize, u8)| {
                let (name, _) = CHANNELS[*channel];
                json!({"channel": name, "upstream_model": format!("{name}-{bucket}-{place}"), "tier": tier})
            };
            let price = price.map(|price| json!({"input": price.to_string(), "output": (4 * price).to_string()}));
            json!({"bucket": bucket, "price": price, "candidates": candidates.iter().map(candidate).collect::<Vec<_>>()})
        };
        let mut model = document["models"]["one"].clone();
        let mut routes = serde_json::Map::new();
        for (name, bucket, of) in [("official", "credit", official), ("routed", "wallet", routed)] {
            if let Some(of) = of {
                routes.insert(name.to_owned(), route(of, bucket));
            }
        }
        model["routes"] = Value::Object(routes);
        if *has_alias {
            model["aliases"] = json!([format!("m{place}-latest")]);
        }
        sold.insert(format!("m{place}"), model);
    }
    document["models"] = Value::Object(sold);
    document
}

/// Probes until the gateway knows of every candidate that is sold what there is to know.
fn settle(gateway: &mut Gateway, document: &Value) {
    let mut ids = Vec::new();
    for model in document["models"].as_object().unwrap().values() {
        for route in model["routes"].as_object().unwrap().values() {
            ids.extend(
                route["candidates"].as_array().unwrap().iter().map(|candidate| json!({"id": candidate["upstream_model"]})),
            );
        }
    }
    // A test has few lists.
    let list: &'static str = Box::leak(json!({"object": "list", "data": ids}).to_string().into_boxed_str());
    for round in 0..6 {
        for (name, fault) in CHANNELS {
            match fault {
                None => gateway.script(name, Script::Status(200, list)),
                Some((status, body)) if round == 0 => (0..1000).for_each(|_| gateway.script(name, Script::Status(status, body))),
                Some(_) => {}
            }
        }
        let outside = gateway.simulation.outside();
        gateway.simulation.run(async move { probe::round(&outside).await.unwrap() });
        gateway.simulation.idle();
        gateway.alarm();
        // Lists that were not asked for are left over.
        for (name, _) in CHANNELS.iter().filter(|(_, fault)| fault.is_none()) {
            gateway.simulation.world.scripts.borrow_mut().remove(&format!("{name}.example.com"));
        }
        gateway.advance(61_000);
    }
    for row in gateway.admin("GET", "/admin/v1/health", &NONE).ok()["data"].as_array().unwrap() {
        let is_good = CHANNELS.iter().any(|(name, fault)| row["channel"] == *name && fault.is_none());
        let status = row["health"]["status"].as_str().unwrap();
        let route = &document["models"][row["model"].as_str().unwrap()]["routes"][row["route"].as_str().unwrap()];
        // What is not sold is not called.
        assert!(route["price"].is_null() || status == if is_good { "up" } else { "down" }, "{row}");
    }
}

/// A plain call as a model's page shows it; quotes go by its length.
fn plain(secret: &str, path: &str, model: &str, more: &Value) -> Call {
    let mut body = format!(r#"{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]"#);
    for (name, value) in more.as_object().unwrap() {
        body.push_str(&format!(r#", "{name}": {value}"#));
    }
    body.push('}');
    let mut call = Call::new("POST", path).with(secret).body(body);
    call.head.content_type = Some("application/json".to_owned());
    call
}

/// An amount that may or may not cover such a quote.
fn around(kind: usize, quote: i64) -> i64 {
    [0, quote * 2 / 5, quote - 1, quote, quote * 17 / 10, quote * 43 / 10].get(kind).copied().unwrap_or(50_000_000_000).max(0)
}

/// What a plain call of the first model that has one is quoted at, by bucket.
fn quotes(gateway: &mut Gateway, secret: &str, models: usize) -> [i64; 2] {
    let mut found = [40_000_000, 40_000_000];
    for place in 0..models {
        let plan = gateway.send(plain(secret, "/v1/route", &format!("m{place}"), &json!({})));
        if plan.status != 200 {
            continue;
        }
        for quote in plan.json()["quotes"].as_array().unwrap() {
            found[usize::from(quote["bucket"] == "wallet")] = nanos(&quote["amount"]);
        }
    }
    found
}

fn holder(gateway: &mut Gateway, wanted: &Holder, rich: &str, models: usize) -> String {
    let quotes = quotes(gateway, rich, models);
    let mut balances = Vec::new();
    for (bucket, (kind, quote)) in ["credit", "wallet"].into_iter().zip(wanted.balances.into_iter().zip(quotes)) {
        let amount = around(kind, quote);
        if amount > 0 {
            balances.push((bucket, decimal(amount)));
        }
    }
    let balances: Vec<(&str, &str)> = balances.iter().map(|(bucket, amount)| (*bucket, amount.as_str())).collect();
    let account = gateway.account(&balances);
    let chosen: Vec<String> = (0..models).filter(|place| wanted.models[*place]).map(|place| format!("m{place}")).collect();
    let routes = [json!(["official", "routed"]), json!(["routed", "official"]), json!(["official"]), json!(["routed"])];
    let mut policy = json!({
        "models": if chosen.is_empty() { json!(["*"]) } else { json!(chosen) },
        "routes": routes[wanted.routes], "cross_routes": wanted.crosses,
    });
    if !wanted.fit {
        policy["fit"] = json!("never");
    }
    if let Some((is_wallet, kind)) = wanted.budget {
        let limit = decimal(around(kind, quotes[usize::from(is_wallet)]));
        let bucket = if is_wallet { "wallet" } else { "credit" };
        let period = ["total", "day", "month"][kind % 3];
        policy["budgets"] = json!([{"bucket": bucket, "period": period, "limit": limit}]);
    }
    match wanted.oddity {
        0 => policy["expires_at"] = json!("2020-01-01T00:00:00Z"),
        1 => policy["ip_allow"] = json!(["203.0.113.7"]),
        2 => policy["rpm"] = json!(3),
        3 => policy["concurrency"] = json!(0),
        _ => {}
    }
    let (id, secret) = gateway.key(&account, &policy);
    if wanted.oddity == 4 {
        gateway.admin("DELETE", &format!("/admin/v1/accounts/{account}/keys/{id}"), &NONE).ok();
    }
    secret
}

/// What it came to: how many calls were served, and how many refused.
#[derive(Default)]
struct Tally {
    served: usize,
    refused: usize,
}

/// `POST /v1/route` against the request: whether, who, for how much.
fn check_plan(gateway: &mut Gateway, secret: &str, plan: &Answered, answered: &Answered, is_session: bool) {
    if plan.status != 200 {
        let said = |answered: &Answered| (answered.status, answered.code(), answered.json()["error"]["message"].clone());
        assert_eq!(said(plan), said(answered), "the plan is refused otherwise than the request");
        return;
    }
    let plan = plan.json();
    assert_eq!(plan["callable"], answered.status == 200, "{plan}: {}", answered.body);
    if answered.status != 200 {
        return;
    }
    let receipt = gateway.receipt(secret, answered);
    let is = |one: &Value, other: &Value, fields: &[&str]| fields.iter().all(|field| one[field] == other[field]);
    let attempts = plan["attempts"].as_array().unwrap();
    // Of a hold that is not granted nobody is tried.
    let covered: Vec<&Value> = plan["quotes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|quote| quote["covered"] == true)
        .map(|quote| &quote["bucket"])
        .collect();
    let expected: Vec<&Value> = attempts
        .iter()
        .filter(|attempt| attempt["expected_to_answer"] == true && covered.contains(&&attempt["bucket"]))
        .collect();
    let first = expected[0];
    // Equal seeds choose equal candidates within a tier, and only sessions have equal seeds.
    let peer = |attempt: &&&Value| match is_session {
        true => is(attempt, first, &["channel", "upstream_model", "route"]),
        false => is(attempt, first, &["tier", "route", "model"]),
    };
    let mine = expected.iter().filter(peer).find(|attempt| is(attempt, &receipt, &["channel", "upstream_model"]));
    let mine = mine.unwrap_or_else(|| panic!("{receipt} answered; the plan was {plan}"));
    assert!(is(mine, &receipt, &["bucket", "route", "model", "price"]), "{mine} {receipt}");
    assert_eq!(receipt["output_limit"], mine["output_limit"], "another output limit than planned");
    assert!(nanos(&receipt["charge"]) <= nanos(&mine["quote"]));
    assert_eq!(plan["bucket"], mine["bucket"]);
    for (header, field) in [
        ("x-tf-channel", "channel"),
        ("x-tf-upstream-model", "upstream_model"),
        ("x-tf-route", "route"),
        ("x-tf-bucket", "bucket"),
    ] {
        assert_eq!(answered.header(header), receipt[field].as_str(), "{header}");
    }
}

/// What the list says of a model to a key against a plain call of it.
fn check_model(gateway: &mut Gateway, secret: &str, name: &str, tally: &mut Tally) {
    let listed = gateway.get(secret, "/v1/models?include=unavailable");
    let alone = gateway.get(secret, &format!("/v1/models/{name}"));
    let endpoints = gateway.get(secret, &format!("/v1/models/{name}/endpoints"));
    let plan = gateway.send(plain(secret, "/v1/route", name, &json!({})));
    let answered = gateway.send(plain(secret, "/v1/chat/completions", name, &json!({})));
    if listed.status != 200 {
        let said = |answered: &Answered| (answered.status, answered.code(), answered.json()["error"]["message"].clone());
        for other in [&listed, &alone, &endpoints, &plan] {
            assert_eq!(said(other), said(&answered), "a key without a list is refused alike everywhere");
        }
        return;
    }
    let listed = listed.json();
    let entry = listed["data"].as_array().unwrap().iter().find(|model| model["id"] == name).unwrap()["tf"].clone();
    let alone = alone.ok()["tf"].clone();
    for field in ["callable", "served_by"] {
        assert_eq!(entry[field], alone[field], "the model by itself says something else than the list");
    }
    assert_eq!(entry["callable"], answered.status == 200, "{entry}: {}", answered.body);
    check_plan(gateway, secret, &plan, &answered, false);
    if answered.status != 200 {
        tally.refused += 1;
        let error = answered.json()["error"].clone();
        let (code, message) = (error["code"].as_str().unwrap(), error["message"].as_str().unwrap());
        let reasons = entry["reasons"].as_array().unwrap();
        let is_told = |reason: &Value| match UNANSWERED.contains(&code) {
            // What became of the attempts only the request can tell.
            true => UNANSWERED.contains(&reason["code"].as_str().unwrap()),
            false => reason["code"] == code && message.starts_with(&format!("{} ", reason["message"].as_str().unwrap())),
        };
        assert!(reasons.iter().any(is_told), "{error}: {reasons:?}");
        return;
    }
    tally.served += 1;
    let (served_by, receipt) = (&entry["served_by"], gateway.receipt(secret, &answered));
    for field in ["bucket", "route", "price"] {
        assert_eq!(receipt[field], served_by[field], "another {field} than announced");
    }
    let who = |of: &Value| (of["channel"].clone(), of["upstream_model"].clone());
    let announced = served_by["candidates"].as_array().unwrap();
    assert!(announced.iter().any(|candidate| who(candidate) == who(&receipt)), "{receipt} answered and was not announced");
    assert!(nanos(&receipt["charge"]) <= nanos(&receipt["hold"]));
    assert!(nanos(&receipt["hold"]) >= nanos(&served_by["smallest_quote"]));
    let endpoints = endpoints.ok()["data"]["endpoints"].clone();
    let mut of_route = endpoints.as_array().unwrap().iter().filter(|endpoint| endpoint["tf"]["route"] == receipt["route"]);
    assert!(of_route.all(|endpoint| endpoint["tf"]["route_callable"] == true), "{endpoints}");
}

/// The same with a route, an alias, a session, preferences, a limit.
fn check_variants(gateway: &mut Gateway, secret: &str, (name, model): (&str, &Value)) {
    let mut asked = vec![
        (name.to_owned(), json!({"session_id": "steady"})),
        (name.to_owned(), json!({"session_id": "steady", "provider": {"order": ["better"]}})),
        (name.to_owned(), json!({"session_id": "steady", "provider": {"only": ["good", "down"]}})),
        (name.to_owned(), json!({"session_id": "steady", "provider": {"ignore": ["good"]}})),
        (name.to_owned(), json!({"session_id": "steady", "provider": {"sort": "price"}})),
        (name.to_owned(), json!({"session_id": "steady", "provider": {"allow_fallbacks": false}})),
        (name.to_owned(), json!({"max_tokens": 4096})),
    ];
    asked.extend(model["routes"].as_object().unwrap().keys().map(|route| (format!("{name}:{route}"), json!({}))));
    asked.extend(model["aliases"].as_array().into_iter().flatten().map(|alias| (alias.as_str().unwrap().to_owned(), json!({}))));
    for (name, more) in asked {
        let plan = gateway.send(plain(secret, "/v1/route", &name, &more));
        let answered = gateway.send(plain(secret, "/v1/chat/completions", &name, &more));
        check_plan(gateway, secret, &plan, &answered, more.get("session_id").is_some());
    }
}

fn check(models: &[Model], holders: &[Holder], tally: &mut Tally) {
    let document = document(models);
    let mut gateway = Gateway::with(&document);
    *gateway.simulation.world.otherwise.borrow_mut() = Some(Script::Status(200, ANSWER));
    settle(&mut gateway, &document);
    let account = gateway.account(&[("credit", "1000"), ("wallet", "1000")]);
    let (_, rich) = gateway.key(&account, &json!({"cross_routes": true}));
    for wanted in holders {
        let secret = holder(&mut gateway, wanted, &rich, models.len());
        let named = document["models"].as_object().unwrap();
        let whole = gateway.get(&secret, "/v1/models?include=unavailable");
        if whole.status == 200 {
            let callable = |list: &Value| -> Vec<Value> {
                let data = list["data"].as_array().unwrap().iter();
                data.filter(|model| model["tf"]["callable"] == true).map(|model| model["id"].clone()).collect()
            };
            let listed = gateway.get(&secret, "/v1/models").ok();
            assert_eq!(listed["data"].as_array().unwrap().len(), callable(&whole.json()).len());
            assert_eq!(callable(&listed), callable(&whole.json()), "the plain list is what is callable");
        }
        for (name, model) in named {
            check_model(&mut gateway, &secret, name, tally);
            check_variants(&mut gateway, &secret, (name, model));
        }
    }
}

#[test]
fn a_model_is_listed_as_callable_if_and_only_if_a_request_is_then_served_as_it_was_announced() {
    let mut tally = Tally::default();
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let tallied = std::cell::RefCell::new(&mut tally);
    runner
        .run(&(models(), holders()), |(models, holders)| {
            check(&models, &holders, &mut tallied.borrow_mut());
            Ok(())
        })
        .unwrap();
    assert!(tally.served > 30 && tally.refused > 30, "{} served, {} refused", tally.served, tally.refused);
}
