//! What can be read of the books as a whole: activity and credits, the operator's lists across accounts, exports, and whether
//! everything agrees.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokens_forge::account::{Journaled, Row};
use tokens_forge::id::AccountId;
use tokens_forge::limits::Gate;
use tokens_forge::money::Money;
use tokens_forge::time::Period;

use crate::gateway::{Call, Gateway, ROOT, chat};
use crate::support::copy::Sums;
use crate::varied::{Varied, decimal, dimension, grouped, nanos, summed, total};

const NONE: Value = Value::Null;
const DAY_MS: i64 = 86_400_000;
const TODAY: &str = "2027-01-15";
const YESTERDAY: &str = "2027-01-14";

fn tf(rows: &Value) -> Vec<Value> {
    rows["data"].as_array().unwrap().iter().map(|row| row["tf"].clone()).collect()
}

fn ids(rows: &[Value]) -> Vec<Value> {
    rows.iter().map(|row| row["id"].clone()).collect()
}

#[test]
fn activity_is_the_sum_of_the_receipts_however_it_is_asked_for() {
    let mut gateway = Gateway::new();
    let varied = gateway.varied();
    let dimensions = ["day", "project", "key", "model", "route", "bucket", "cause"];
    let whole = gateway.get(&varied.secret, "/v1/activity").ok();
    assert_eq!(summed(&dimensions, &tf(&whole)), grouped(&dimensions, &varied.receipts));
    let at = |name: &str| tokens_forge::time::Timestamp::parse(whole["period"][name].as_str().unwrap()).unwrap().millis();
    assert_eq!(at("until") - at("since"), 31 * DAY_MS);
    for by in [
        &["bucket"][..],
        &["model", "bucket"],
        &["cause", "bucket"],
        &["key", "bucket"],
        &["day", "project", "bucket"],
        &["bucket", "route", "model"],
    ] {
        let answer = gateway.get(&varied.secret, &format!("/v1/activity?by={}", by.join(","))).ok();
        assert_eq!(summed(by, &tf(&answer)), grouped(by, &varied.receipts), "{by:?}");
    }
    let causes: BTreeSet<String> = tf(&whole).iter().map(|row| row["cause"].as_str().unwrap().to_owned()).collect();
    assert_eq!(causes, ["direct", "fallback", "retry"].map(str::to_owned).into());
    for (name, value) in
        [("bucket", "wallet"), ("model", "one"), ("cause", "fallback"), ("key", &varied.key), ("route", "official")]
    {
        let answer = gateway.get(&varied.secret, &format!("/v1/activity?by=bucket&{name}={value}")).ok();
        let matching = varied.receipts.iter().filter(|receipt| dimension(receipt, name) == value);
        assert_eq!(summed(&["bucket"], &tf(&answer)), grouped(&["bucket"], matching), "{name}");
    }
    let other = gateway.rich_key(&json!({}));
    assert_eq!(gateway.get(&other, "/v1/activity").ok()["data"], json!([]), "and nothing of other accounts");
    let named = gateway.get(&varied.secret, "/v1/activity?account=x").ok();
    assert_eq!(named["data"], whole["data"], "an account is never named");
}

#[test]
fn activity_has_openrouters_fields() {
    let mut gateway = Gateway::new();
    let varied = gateway.varied();
    let answer = gateway.get(&varied.secret, "/v1/activity?bucket=credit&model=one&route=official&cause=direct").ok();
    let mut row = answer["data"][0].clone();
    let tf = row.as_object_mut().unwrap().shift_remove("tf").unwrap();
    let receipts = || varied.receipts.iter().filter(|receipt| receipt["model"] == "one" && receipt["route"] == "official");
    let charge = total(receipts().map(|receipt| &receipt["charge"]));
    let expected = json!({
        "date": TODAY, "model": "one", "model_permaslug": "one", "endpoint_id": "official", "provider_name": "official",
        "usage": charge.parse::<f64>().unwrap(), "currency": "USD", "byok_usage_inference": 0,
        "requests": 4, "prompt_tokens": 38, "completion_tokens": 31, "reasoning_tokens": 6,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(row[field], *value, "{field}");
    }
    assert_eq!((&tf["charge"], &tf["key_label"], &tf["unpaid"]), (&json!(charge), &json!("test"), &json!(0)));
    let input = receipts().map(|receipt| {
        let used = |class: &str| receipt["usage"][class].as_i64().unwrap();
        1000 * used("input") + 100 * used("cached_input")
    });
    assert_eq!(tf["input_charge"], decimal(input.sum()));
}

#[test]
fn activity_never_adds_amounts_of_two_currencies() {
    let mut gateway = Gateway::new();
    let varied = gateway.varied();
    for by in ["day", "model", "key,cause"] {
        let answer = gateway.get(&varied.secret, &format!("/v1/activity?by={by}")).ok();
        assert!(tf(&answer).iter().all(|row| row["bucket"].is_string()), "{answer}");
    }
}

#[test]
fn activity_of_a_day_or_of_some_days_has_those_days() {
    let mut gateway = Gateway::new();
    let varied = gateway.varied();
    let all = gateway.get(&varied.secret, "/v1/activity?by=day,bucket").ok()["data"].clone();
    for (query, has_today) in [
        (format!("date={TODAY}"), true),
        (format!("date={YESTERDAY}"), false),
        (format!("since={TODAY}"), true),
        (format!("until={TODAY}"), false),
        (format!("since={YESTERDAY}&until={TODAY}"), false),
        (format!("since={YESTERDAY}"), true),
    ] {
        let answer = gateway.get(&varied.secret, &format!("/v1/activity?by=day,bucket&{query}")).ok();
        assert_eq!(answer["data"], if has_today { all.clone() } else { json!([]) }, "{query}");
    }
    for query in [
        "by=colour",
        "by=account",
        "by=",
        "date=today",
        "date=2026-13-01",
        "since=2026-01-02&until=2026-01-01",
        "since=2026-01-01&until=2026-01-01",
        "since=2020-01-01",
        "until=x",
    ] {
        gateway.get(&varied.secret, &format!("/v1/activity?{query}")).refused(400, "invalid_request");
    }
    gateway.admin("GET", "/admin/v1/spend?by=colour", &NONE).refused(400, "invalid_request");
}

#[test]
fn a_change_of_what_was_spent_is_explained_by_parts_that_add_up_to_it() {
    let mut gateway = Gateway::new();
    let varied = gateway.varied();
    gateway.alarm();
    // What a day before would have left: one model that is gone, one that is still used.
    {
        let mut database = gateway.simulation.world.database.borrow_mut();
        let copy = database.copies.get_mut(&AccountId::parse(&varied.account).unwrap()).unwrap();
        let day =
            Period::Day.start(tokens_forge::time::Timestamp::from_millis(gateway.simulation.world.now.get())).millis() - DAY_MS;
        for (model, route, bucket, requests, input_tokens, output_tokens, charge, input_charge) in [
            ("one", "official", "credit", 4, 400, 64, 600_000, 400_000),
            ("old-model", "routed", "wallet", 1, 10, 10, 210_000, 70_000),
        ] {
            let of = |text: &str| text.to_owned();
            let place = (day, of("default"), of("key"), of(model), of(route), of(bucket), "direct");
            copy.days.insert(place, Sums { requests, input_tokens, output_tokens, charge, input_charge, ..Sums::default() });
        }
    }
    let own = gateway.get(&varied.secret, &format!("/v1/activity?date={TODAY}")).ok();
    let operators = gateway.admin("GET", &format!("/admin/v1/spend?account={}&date={TODAY}", varied.account), &NONE).ok();
    for answer in [own, operators] {
        assert_eq!(answer["compared_with"]["until"], answer["period"]["since"]);
        let changes = answer["change"].as_array().unwrap();
        assert_eq!(changes.iter().map(|change| change["bucket"].as_str().unwrap()).collect::<Vec<_>>(), ["credit", "wallet"]);
        for change in changes {
            let of_bucket = || varied.receipts.iter().filter(|receipt| receipt["bucket"] == change["bucket"]);
            let was = if change["bucket"] == "credit" { "0.0006" } else { "0.00021" };
            let now = total(of_bucket().map(|receipt| &receipt["charge"]));
            assert_eq!((&change["before"], &change["now"]), (&json!(was), &json!(now)));
            assert_eq!(nanos(&change["change"]), nanos(&change["now"]) - nanos(&change["before"]));
            assert_eq!(total(change["parts"].as_object().unwrap().values()), change["change"]);
            for group in change["groups"].as_array().unwrap() {
                assert_eq!(total(group["parts"].as_object().unwrap().values()), group["change"]);
            }
            for (name, cause) in [("fallback", "fallback"), ("retries", "retry")] {
                let charge =
                    total(of_bucket().filter(|receipt| dimension(receipt, "cause") == cause).map(|receipt| &receipt["charge"]));
                assert_eq!(change[name], json!({"before": "0", "now": charge, "change": charge}), "{name}");
            }
            let sentence = change["sentence"].as_str().unwrap();
            assert!(sentence.starts_with(&format!("Cost on `{}` went ", change["bucket"].as_str().unwrap())), "{sentence}");
            assert!(sentence.contains(&format!("(from {was} to {now})")), "{sentence}");
        }
    }
}

#[test]
fn credits_are_what_came_in_and_what_was_used_bucket_by_bucket() {
    let mut gateway = Gateway::new();
    let varied = gateway.varied();
    let data = gateway.get(&varied.secret, "/v1/credits").ok()["data"].clone();
    let bucket = |name: &str, currency: &str| {
        let used = total(varied.receipts.iter().filter(|receipt| receipt["bucket"] == name).map(|receipt| &receipt["charge"]));
        let left = decimal(1_000_000_000 - nanos(&json!(used)));
        json!({"bucket": name, "currency": currency, "total_credits": "1", "total_usage": used, "balance": left, "debt": "0"})
    };
    let expected = json!([bucket("credit", "USD"), bucket("wallet", "CNY")]);
    assert_eq!(data["tf"]["buckets"], expected);
    let used: f64 = expected[0]["total_usage"].as_str().unwrap().parse().unwrap();
    assert_eq!((&data["total_credits"], &data["total_usage"], &data["currency"]), (&json!(1), &json!(used), &json!("USD")));
    let account = gateway.account(&[]);
    let (_, secret) = gateway.key(&account, &json!({}));
    let empty = gateway.get(&secret, "/v1/credits").ok()["data"].clone();
    assert_eq!((&empty["total_credits"], &empty["total_usage"]), (&json!(0), &json!(0)));
}

#[test]
fn the_operators_spend_is_the_sum_over_accounts() {
    let mut gateway = Gateway::new();
    let callers = [gateway.varied(), gateway.varied()];
    gateway.alarm();
    let both = || callers.iter().flat_map(|caller| &caller.receipts);
    for by in [&["account", "bucket"][..], &["account", "cause", "bucket"], &["account", "model", "route", "bucket"], &["bucket"]]
    {
        let answer = gateway.admin("GET", &format!("/admin/v1/spend?by={}", by.join(",")), &NONE).ok();
        assert_eq!(summed(by, answer["data"].as_array().unwrap()), grouped(by, both()), "{by:?}");
    }
    let path = format!("/admin/v1/spend?by=cause,bucket&cause=fallback&bucket=credit&account={}", callers[0].account);
    let answer = gateway.admin("GET", &path, &NONE).ok();
    assert_eq!(answer["data"][0]["requests"], 1);
}

#[test]
fn lists_across_accounts_are_newest_first_and_pages_have_every_row_once_while_new_ones_arrive() {
    let mut gateway = Gateway::new();
    let mut callers: Vec<Varied> = Vec::new();
    for _ in 0..3 {
        callers.push(gateway.varied());
        gateway.alarm();
    }
    let mut expected: Vec<Value> = callers.iter().flat_map(|caller| ids(&caller.receipts)).collect();
    expected.reverse();
    assert_eq!(ids(&gateway.all(ROOT, "/admin/v1/receipts", 100)), expected);
    let id_of = |row: &Value| json!([row["account"], row["id"], row["seq"]]);
    for (list, limit) in [("receipts", 7), ("ledger", 5), ("audit", 3), ("receipts", 1)] {
        let known: Vec<Value> = gateway.all(ROOT, &format!("/admin/v1/{list}"), 100).iter().map(id_of).collect();
        let (mut paged, mut after) = (Vec::new(), String::new());
        loop {
            let page = gateway.get(ROOT, &format!("/admin/v1/{list}?limit={limit}{after}")).ok();
            paged.extend(page["data"].as_array().unwrap().iter().map(id_of));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
            gateway.advance(1);
            let caller = &callers[paged.len() % 3];
            let (secret, account) = (caller.secret.clone(), caller.account.clone());
            gateway.call(&secret, "no-such-model");
            let credit = json!({"bucket": "credit", "amount": "0.01", "reason": "test"});
            gateway.admin("POST", &format!("/admin/v1/accounts/{account}/adjustments"), &credit).ok();
            gateway.alarm();
        }
        assert_eq!(paged, known, "{list}");
    }
}

#[test]
fn lists_across_accounts_have_filters_and_an_account_is_one() {
    let mut gateway = Gateway::new();
    let callers = [gateway.varied(), gateway.varied()];
    gateway.alarm();
    for Varied { account, key, secret, receipts } in &callers {
        let newest: Vec<Value> = ids(receipts).into_iter().rev().collect();
        assert_eq!(ids(&gateway.all(ROOT, &format!("/admin/v1/receipts?account={account}"), 3)), newest);
        assert_eq!(ids(&gateway.all(ROOT, &format!("/admin/v1/receipts?key={key}"), 100)), newest);
        let audited = gateway.all(ROOT, &format!("/admin/v1/audit?account={account}"), 100);
        let kinds: Vec<&str> = audited.iter().map(|row| row["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["key", "adjustment", "adjustment", "project", "account"]);
        let keys = gateway.all(ROOT, &format!("/admin/v1/audit?account={account}&kind=key"), 100);
        assert_eq!(keys[0]["record"]["id"], json!(key));
        let middle = receipts[4]["closed_at"].as_str().unwrap();
        let is = |name: &'static str, value: &'static str| move |receipt: &Value| receipt[name] == value;
        type Meaning<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
        let filters: Vec<(String, Meaning<'_>)> = vec![
            ("model=both".to_owned(), Box::new(is("model", "both"))),
            ("model=both:routed".to_owned(), Box::new(is("requested_model", "both:routed"))),
            ("route=routed".to_owned(), Box::new(is("route", "routed"))),
            ("bucket=wallet".to_owned(), Box::new(is("bucket", "wallet"))),
            ("status=refused".to_owned(), Box::new(is("status", "refused"))),
            ("status=failed".to_owned(), Box::new(is("status", "failed"))),
            ("run=none".to_owned(), Box::new(|_| false)),
            ("project=default".to_owned(), Box::new(|_| true)),
            (format!("since={middle}"), Box::new(move |receipt| receipt["closed_at"].as_str().unwrap() >= middle)),
            (format!("until={middle}"), Box::new(move |receipt| receipt["closed_at"].as_str().unwrap() < middle)),
        ];
        for (query, is_meant) in filters {
            let mut expected: Vec<Value> =
                receipts.iter().filter(|receipt| is_meant(receipt)).map(|receipt| receipt["id"].clone()).collect();
            expected.reverse();
            assert_eq!(ids(&gateway.all(secret, &format!("/v1/receipts?{query}"), 4)), expected, "{query}");
            assert_eq!(ids(&gateway.all(ROOT, &format!("/admin/v1/receipts?account={account}&{query}"), 4)), expected, "{query}");
        }
    }
    assert_eq!(gateway.all(ROOT, "/admin/v1/receipts?account=nobody", 100), [NONE; 0]);
    for query in ["limit=0", "limit=101", "after=x", "after=1:2", "after=1:a:b", "since=x"] {
        gateway.admin("GET", &format!("/admin/v1/receipts?{query}"), &NONE).refused(400, "invalid_request");
    }
}

#[test]
fn lists_across_accounts_are_the_operators_alone_and_tell_nobodys_secret() {
    let mut gateway = Gateway::new();
    let varied = gateway.varied();
    let path = format!("/admin/v1/accounts/{}/keys/{}", varied.account, varied.key);
    gateway.admin("PATCH", &path, &json!({"label": "renamed"})).ok();
    gateway.alarm();
    let hash = tokens_forge::id::sha256_hex(&[varied.secret.as_bytes()]);
    for list in ["receipts", "ledger", "audit", "spend", "reconcile"] {
        for token in [varied.secret.as_str(), "x", ""] {
            assert_eq!(gateway.get(token, &format!("/admin/v1/{list}")).status, 401, "{list}");
        }
        let answered = gateway.admin("GET", &format!("/admin/v1/{list}?account={}&limit=100", varied.account), &NONE);
        answered.ok();
        for hidden in [varied.secret.as_str(), &hash, "\"hash\"", ROOT] {
            assert!(!answered.body.contains(hidden), "{list}");
        }
    }
}

#[test]
fn an_export_has_the_rows_of_its_list_in_the_format_that_is_asked_for() {
    let mut gateway = Gateway::new();
    let varied = gateway.varied();
    gateway.alarm();
    let newest: Vec<String> = varied.receipts.iter().rev().map(|receipt| receipt["id"].as_str().unwrap().to_owned()).collect();
    let operators = format!("/admin/v1/receipts?account={}", varied.account);
    for (credential, path) in [(varied.secret.as_str(), "/v1/receipts?x"), (ROOT, operators.as_str())] {
        for (accept, query, kind) in [
            (Some("text/csv"), "", "text/csv"),
            (Some("application/jsonl"), "", "application/jsonl"),
            (Some("application/x-ndjson"), "", "application/jsonl"),
            (Some("text/html, text/csv;q=0.5"), "", "text/csv"),
            (Some("text/csv;q=0, application/json"), "", "application/json"),
            (Some("*/*"), "", "application/json"),
            (Some("text/csv"), "&format=json", "application/json"),
            (Some("application/json"), "&format=csv", "text/csv"),
            (None, "&format=jsonl", "application/jsonl"),
        ] {
            let call = Call::new("GET", &format!("{path}{query}")).with(credential);
            let answered = gateway.send(Call { accept: accept.map(str::to_owned), ..call });
            assert_eq!(answered.status, 200);
            let told = answered.header("content-type").unwrap().split(';').next().unwrap();
            assert_eq!(told, kind, "{accept:?} {query}");
            let found: Vec<String> = match kind {
                "text/csv" => {
                    let mut reader = csv::Reader::from_reader(answered.body.trim_start_matches('\u{feff}').as_bytes());
                    reader.records().map(|row| row.unwrap()[0].to_owned()).collect()
                }
                "application/jsonl" => {
                    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned();
                    answered.body.lines().map(id).collect()
                }
                _ => ids(answered.json()["data"].as_array().unwrap()).iter().map(|id| id.as_str().unwrap().to_owned()).collect(),
            };
            assert_eq!(found, newest, "{kind}");
        }
        for format in ["xml", "CSV", "", "xlsx"] {
            for list in ["receipts", "ledger"] {
                let refused = gateway.get(credential, &format!("{path}&format={format}").replace("receipts", list));
                assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("format")), "{list} {format}");
            }
        }
        let ledger = path.replace("receipts", "ledger");
        let entries = ids(&gateway.all(credential, &ledger, 100));
        let exported = gateway.get(credential, &format!("{ledger}&format=jsonl")).body;
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["entry_id"].clone();
        assert_eq!(exported.lines().map(id).collect::<Vec<_>>(), entries);
        let nothing = gateway.get(credential, &format!("{ledger}&model=none-such&format=csv")).body;
        assert_eq!(nothing.trim_end().lines().count(), 1, "the header stands alone");
    }
}

#[test]
fn a_whole_list_ends_as_cut_when_the_key_or_the_token_of_who_reads_it_has_ended() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[]);
    let (key, secret) = gateway.key(&account, &json!({}));
    let (_, other) = gateway.key(&account, &json!({}));
    for _ in 0..220 {
        let adjustment = json!({"bucket": "credit", "amount": "1", "reason": "test"});
        gateway.admin("POST", &format!("/admin/v1/accounts/{account}/adjustments"), &adjustment).ok();
    }
    gateway.alarm();
    let made = gateway.admin("POST", "/admin/v1/tokens", &json!({"name": "reader", "scopes": ["read"]})).ok();
    let (token, reader) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap().to_owned());
    let all = "/admin/v1/ledger?format=jsonl";
    let revoked = [
        (secret, "/v1/ledger?format=jsonl", format!("/admin/v1/accounts/{account}/keys/{key}")),
        (reader, all, format!("/admin/v1/tokens/{token}")),
    ];
    for (credential, path, revoke) in revoked {
        let stream = gateway.stream(Call::new("GET", path).with(&credential));
        for _ in 0..2 {
            let piece = gateway.piece(&stream);
            assert_eq!(gateway.simulation.finish(&piece).unwrap().unwrap().lines().count(), 100);
        }
        // The customer's waits at the gate meanwhile.
        gateway.simulation.world.closed.borrow_mut().push(Gate::Read);
        let waiting = (path != all).then(|| gateway.piece(&stream));
        gateway.admin("DELETE", &revoke, &NONE).ok();
        gateway.simulation.world.closed.borrow_mut().clear();
        let cut = waiting.unwrap_or_else(|| gateway.piece(&stream));
        assert!(gateway.simulation.finish(&cut).unwrap().is_err(), "{path}");
        let end = gateway.piece(&stream);
        assert!(gateway.simulation.finish(&end).is_none());
    }
    assert_eq!(gateway.get(&other, "/v1/ledger?format=jsonl").body.lines().count(), 220);
    assert_eq!(gateway.get(ROOT, all).body.lines().count(), 220);
}

#[test]
fn models_that_are_none_are_counted_under_one_name_however_many_names_are_asked_for() {
    let mut gateway = Gateway::new();
    let account = gateway.account(&[("credit", "1")]);
    let (_, secret) = gateway.key(&account, &json!({}));
    let (_, poor) = gateway.key(&account, &json!({"budgets": [{"bucket": "credit", "period": "total", "limit": "0"}]}));
    let mut ids = Vec::new();
    for asked in 0..30 {
        let answered = gateway.call(&secret, &format!("made-up-{asked}"));
        assert_eq!(answered.status, 404);
        ids.push((answered, format!("made-up-{asked}")));
    }
    for asked in ["one", "ONE", "oNe", "one:official", " one "] {
        let answered = gateway.call(&poor, asked);
        assert_eq!(answered.status, 403, "{asked}: {}", answered.body);
        ids.push((answered, asked.trim().to_owned()));
    }
    // A broken request with a name that is none is no way around it, nor is one whose second model is one.
    let mut broken = chat(&secret, &json!({"model": "made-up"}));
    broken.head.route = Some("nowhere".to_owned());
    assert_eq!(gateway.send(broken).status, 400);
    assert_eq!(gateway.chat(&poor, &json!({"model": "made-up", "models": ["made-up", "one"]})).status, 403);
    gateway.alarm();
    let answer = gateway.admin("GET", &format!("/admin/v1/spend?by=model&account={account}"), &NONE).ok();
    let sums: Vec<(&Value, &Value)> =
        answer["data"].as_array().unwrap().iter().map(|sum| (&sum["model"], &sum["requests"])).collect();
    assert_eq!(sums, [(&json!(""), &json!(32)), (&json!("one"), &json!(5))], "{answer}");
    for (answered, asked) in &ids {
        assert_eq!(gateway.receipt(&secret, answered)["requested_model"], *asked);
    }
}

#[test]
fn a_change_of_more_sums_than_are_read_is_refused_and_never_of_a_part() {
    let mut gateway = Gateway::new();
    let varied = gateway.varied();
    gateway.alarm();
    let account = AccountId::parse(&varied.account).unwrap();
    let spend = |gateway: &mut Gateway| {
        gateway.admin("GET", &format!("/admin/v1/spend?by=bucket&date={TODAY}&account={}", varied.account), &NONE)
    };
    let before = spend(&mut gateway).ok()["change"].clone();
    let fill = |gateway: &Gateway, bucket: &str| {
        let mut database = gateway.simulation.world.database.borrow_mut();
        let days = &mut database.copies.get_mut(&account).unwrap().days;
        let (place, _) = days.iter().next().map(|(place, sums)| (place.clone(), *sums)).unwrap();
        for model in 0..20_000 {
            let place =
                (place.0, place.1.clone(), place.2.clone(), format!("a-{model}"), String::new(), bucket.to_owned(), "direct");
            days.insert(place, Sums { requests: 1, ..Sums::default() });
        }
    };
    // What no bucket pays takes no room.
    fill(&gateway, "");
    assert_eq!(spend(&mut gateway).ok()["change"], before);
    fill(&gateway, "credit");
    let refused = spend(&mut gateway);
    refused.refused(400, "invalid_request");
    assert_eq!(refused.json()["error"]["param"], "since");
}

#[test]
fn sums_are_right_after_a_while_in_which_the_copy_failed_and_rows_that_arrive_twice_change_nothing() {
    let mut gateway = Gateway::new();
    let mut varied = gateway.varied();
    gateway.alarm();
    gateway.fail("d1", u32::MAX);
    for _ in 0..3 {
        let answered = gateway.call(&varied.secret, "one");
        varied.receipts.push(gateway.receipt(&varied.secret, &answered));
        gateway.alarm();
    }
    assert!(gateway.simulation.log().iter().any(|line| line.contains("copying to D1")));
    gateway.get(&varied.secret, "/v1/activity").refused(503, "service_unavailable");
    gateway.fail("d1", 0);
    let by = ["model", "route", "bucket", "cause"];
    // As after a crash between the copy and the note that it was made.
    for mark in [None, Some(0), Some(4), Some(7)] {
        if let Some(mark) = mark {
            gateway.stored(&varied.account, |memory| memory.copied = mark);
        }
        let answer = gateway.get(&varied.secret, "/v1/activity?by=model,route,bucket,cause").ok();
        assert_eq!(summed(&by, &tf(&answer)), grouped(&by, &varied.receipts), "{mark:?}");
        let report = gateway.admin("GET", &format!("/admin/v1/reconcile?account={}", varied.account), &NONE).ok();
        assert_eq!(report["ok"], true);
    }
}

/// Four accounts with nine rows each.
fn reconciled() -> (Gateway, Vec<(String, String)>) {
    let mut gateway = Gateway::new();
    let mut callers = Vec::new();
    for _ in 0..4 {
        let account = gateway.account(&[("credit", "1"), ("wallet", "1")]);
        let (_, secret) = gateway.key(&account, &json!({}));
        for model in ["one", "routed", "no-such-model", "one"] {
            gateway.call(&secret, model);
        }
        callers.push((account, secret));
    }
    callers.sort();
    gateway.alarm();
    (gateway, callers)
}

fn reconcile(gateway: &mut Gateway, account: &str) -> Value {
    gateway.admin("GET", &format!("/admin/v1/reconcile?account={account}"), &NONE).ok()["data"][0].clone()
}

#[test]
fn reconciliation_finds_healthy_accounts_in_order_page_by_page() {
    let (mut gateway, callers) = reconciled();
    let whole = gateway.admin("GET", "/admin/v1/reconcile?limit=100", &NONE).ok();
    assert_eq!((&whole["ok"], &whole["next"]), (&json!(true), &NONE));
    let report = |account: &str| json!({"account": account, "from": 0, "to": 9, "head": 9, "copied": 9, "rows": 9, "ok": true, "is_whole": true, "differences": []});
    let expected: Vec<Value> = callers.iter().map(|(account, _)| report(account)).collect();
    assert_eq!(whole["data"], json!(expected));
    assert_eq!(gateway.all(ROOT, "/admin/v1/reconcile", 3), expected);
    let part =
        gateway.admin("GET", &format!("/admin/v1/reconcile?account={}&from=6", callers[0].0), &NONE).ok()["data"][0].clone();
    assert_eq!((&part["from"], &part["to"], &part["rows"], &part["ok"]), (&json!(6), &json!(9), &json!(3), &json!(true)));
    gateway.admin("GET", "/admin/v1/reconcile?from=x", &NONE).refused(400, "invalid_request");
    let beyond = format!("/admin/v1/reconcile?account={}&from=10", callers[0].0);
    gateway.admin("GET", &beyond, &NONE).refused(400, "invalid_request");
    let all = gateway.admin("GET", "/admin/v1/reconcile?from=10", &NONE).ok();
    assert!(
        all["data"].as_array().unwrap().iter().all(|report| (&report["rows"], &report["is_whole"]) == (&json!(0), &json!(false)))
    );
    gateway.admin("GET", "/admin/v1/reconcile?account=nobody", &NONE).refused(404, "not_found");
}

#[test]
fn an_account_that_lost_rows_which_were_in_order_before_is_a_difference() {
    let (mut gateway, callers) = reconciled();
    let account = AccountId::parse(&callers[0].0).unwrap();
    gateway.scheduled();
    gateway.simulation.world.database.borrow_mut().reconciled.get_mut(&account).unwrap().seq = 12;
    gateway.advance(86_400_001);
    gateway.scheduled();
    let log = gateway.simulation.log();
    assert!(log.iter().any(|line| line.contains("reconcile: ") && line.contains("\"ok\":false")), "{log:?}");
}

#[test]
fn reconciliation_reports_every_damage_to_the_copy_with_its_entry_and_repairs_nothing() {
    type Damage = fn(&mut std::collections::BTreeMap<u64, Row>);
    let damages: [(&str, Damage, &[u64], &str); 7] = [
        ("a row is gone", |rows| drop(rows.remove(&7)), &[7], "does not have"),
        ("the newest row is gone", |rows| drop(rows.remove(&9)), &[9], "does not have"),
        (
            "an amount is another",
            |rows| {
                let amount = &mut rows.get_mut(&6).unwrap().amount;
                *amount = amount.unwrap().checked_sub(Money::from_nanos(1).unwrap());
            },
            &[6],
            "the copy says",
        ),
        (
            "a bucket is another",
            |rows| rows.get_mut(&6).unwrap().bucket = tokens_forge::id::BucketId::parse("wallet"),
            &[6],
            "the copy says",
        ),
        (
            "a charge became none",
            |rows| {
                let row = rows.get_mut(&6).unwrap();
                (row.amount, row.bucket) = (None, None);
            },
            &[6],
            "the copy says",
        ),
        (
            "a row was added",
            |rows| {
                let made_up = Row { seq: 10, ..rows[&6].clone() };
                rows.insert(10, made_up);
            },
            &[10],
            "the account does not have",
        ),
        (
            "a text is another",
            |rows| {
                if let Journaled::Receipt(receipt) = &mut rows.get_mut(&6).unwrap().journaled {
                    receipt.why.push('!');
                }
            },
            &[6],
            "another time or another text",
        ),
    ];
    let (mut gateway, callers) = reconciled();
    let account = &callers[1].0;
    let id = AccountId::parse(account).unwrap();
    for (name, damage, entries, what) in damages {
        let good = gateway.simulation.world.database.borrow().copies[&id].rows.clone();
        damage(&mut gateway.simulation.world.database.borrow_mut().copies.get_mut(&id).unwrap().rows);
        let damaged = gateway.simulation.world.database.borrow().copies[&id].rows.clone();
        let report = reconcile(&mut gateway, account);
        assert_eq!(report["ok"], false, "{name}");
        let found: Vec<u64> =
            report["differences"].as_array().unwrap().iter().map(|found| found["seq"].as_u64().unwrap()).collect();
        assert_eq!(found, entries, "{name}");
        for difference in report["differences"].as_array().unwrap() {
            assert!(difference["what"].as_str().unwrap().contains(what), "{name}: {difference}");
            assert_eq!(difference["entry"], format!("entry-{}", difference["seq"]));
        }
        assert_eq!(gateway.admin("GET", "/admin/v1/reconcile", &NONE).ok()["ok"], false, "{name}");
        let mut database = gateway.simulation.world.database.borrow_mut();
        let copy = database.copies.get_mut(&id).unwrap();
        assert_eq!(copy.rows, damaged, "nothing is repaired silently");
        copy.rows = good;
        drop(database);
        assert_eq!(reconcile(&mut gateway, account)["ok"], true);
    }
}

#[test]
fn reconciliation_finds_damage_in_the_account_itself() {
    type Damage = fn(&mut Vec<Row>);
    let damages: [(&str, Damage, &[u64], &str); 6] = [
        (
            "an amount",
            |journal| {
                let amount = &mut journal[3].amount;
                *amount = amount.unwrap().checked_add(Money::from_nanos(1).unwrap());
            },
            &[4],
            "balances",
        ),
        (
            "a charge",
            |journal| {
                let Journaled::Receipt(receipt) = &mut journal[5].journaled else { panic!("row 6 is a receipt") };
                receipt.charge = Money::parse("0.5").unwrap();
            },
            &[6],
            "receipt over 0.5",
        ),
        (
            "a balance",
            |journal| {
                let credit = tokens_forge::id::BucketId::parse("credit").unwrap();
                journal[7].balances.insert(credit, Money::parse("7").unwrap());
            },
            &[8, 9],
            "balances",
        ),
        ("a row is gone", |journal| drop(journal.remove(4)), &[6], "missing"),
        ("a row is gone, and the copy has it", |journal| drop(journal.remove(4)), &[5], "the account does not have"),
        ("the newest row is gone", |journal| drop(journal.pop()), &[9], "the account does not have"),
    ];
    for (name, damage, entries, what) in damages {
        let (mut gateway, callers) = reconciled();
        let account = &callers[3].0;
        gateway.stored(account, |memory| damage(&mut memory.journal));
        let report = reconcile(&mut gateway, account);
        assert_eq!(report["ok"], false, "{name}");
        for seq in entries {
            let is_told = |found: &&Value| found["seq"] == *seq && found["what"].as_str().unwrap().contains(what);
            assert!(report["differences"].as_array().unwrap().iter().any(|found| is_told(&found)), "{name}: {report}");
        }
    }
}

#[test]
fn reconciliation_is_done_by_the_cron_once_a_day_from_where_it_was_in_order() {
    let (mut gateway, callers) = reconciled();
    let report = |gateway: &Gateway, account: &str| {
        let database = gateway.simulation.world.database.borrow();
        let last = database.reconciled[&AccountId::parse(account).unwrap()].clone();
        (last.seq, serde_json::from_str::<Value>(&last.doc).unwrap(), last.at)
    };
    gateway.scheduled();
    let first = callers.iter().map(|(account, _)| report(&gateway, account)).collect::<Vec<_>>();
    assert!(first.iter().all(|(seq, doc, _)| *seq == 9 && doc["ok"] == true));
    gateway.scheduled();
    assert_eq!(
        callers.iter().map(|(account, _)| report(&gateway, account)).collect::<Vec<_>>(),
        first,
        "not again within the day"
    );
    gateway.advance(DAY_MS + 1);
    let (account, secret) = callers[0].clone();
    gateway.call(&secret, "one");
    gateway.scheduled();
    let (seq, doc, _) = report(&gateway, &account);
    assert_eq!((seq, &doc["from"], &doc["to"], &doc["rows"], &doc["ok"]), (10, &json!(9), &json!(10), &json!(1), &json!(true)));
    let told = |gateway: &Gateway| {
        let is_told = |line: &&String| line.contains("reconcile") && line.contains(&account) && line.contains("entry-11");
        gateway.simulation.log().iter().filter(is_told).count()
    };
    assert_eq!(told(&gateway), 0);
    // Differences are told once a day, and stay where it was in order.
    gateway.call(&secret, "one");
    gateway.alarm();
    let id = AccountId::parse(&account).unwrap();
    let row = gateway.simulation.world.database.borrow_mut().copies.get_mut(&id).unwrap().rows.remove(&11).unwrap();
    for day in 1..=2 {
        gateway.advance(DAY_MS + 1);
        gateway.scheduled();
        gateway.scheduled();
        let (seq, doc, _) = report(&gateway, &account);
        assert_eq!((seq, &doc["ok"], &doc["differences"][0]["entry"]), (10, &json!(false), &json!("entry-11")));
        assert_eq!(told(&gateway), day);
    }
    gateway.simulation.world.database.borrow_mut().copies.get_mut(&id).unwrap().rows.insert(11, row);
    gateway.advance(DAY_MS + 1);
    gateway.scheduled();
    let (seq, doc, _) = report(&gateway, &account);
    assert_eq!((seq, &doc["ok"], told(&gateway)), (11, &json!(true), 2));
}
