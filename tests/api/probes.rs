//! Probe rounds: what lists and small calls find out, who pays for them, and of two rounds at the same time only one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokens_forge::account::Journaled;
use tokens_forge::money::Money;
use tokens_forge::ports::Unavailable;
use tokens_forge::probe::{self, PROBE_ACCOUNT};
use tokens_forge::routing::health::{HealthStatus, ProbeResult};

use crate::gateway::{ANSWER, Gateway, ROOT, catalog};
use crate::support::outside::Script;
use crate::varied::nanos;

const NONE: Value = Value::Null;
const LIST: &str = r#"{"object":"list","data":[{"id":"main-one-0"},{"id":"main-two-0"},{"id":"main-again-0"},{"id":"main-again-1"},{"id":"main-both-0"},{"id":"backup-two-1"},{"id":"pool-both-0"},{"id":"pool-routed-0"}]}"#;

fn with_cap(cap: &str) -> Gateway {
    let mut document = catalog();
    for channel in ["main", "backup", "pool"] {
        document["channels"][channel]["probe_daily_cap"] = json!(cap);
    }
    Gateway::with(&document)
}

fn round(gateway: &mut Gateway) -> Result<Option<Vec<ProbeResult>>, Unavailable> {
    let outside = gateway.simulation.outside();
    let found = gateway.simulation.run(async move { probe::round(&outside).await });
    gateway.simulation.idle();
    gateway.simulation.world.alarm();
    found
}

fn lists(gateway: &Gateway, script: &Script) {
    for host in ["main", "backup", "pool"] {
        gateway.script(host, script.clone());
    }
}

fn status(gateway: &mut Gateway, name: &str) -> Value {
    let health = gateway.admin("GET", "/admin/v1/health", &NONE).ok();
    let found = health["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| format!("{}/{}", row["channel"].as_str().unwrap(), row["upstream_model"].as_str().unwrap()) == name);
    found.unwrap()["health"]["status"].clone()
}

#[test]
fn a_round_asks_every_channel_for_its_list_and_calls_nobody_without_a_cap() {
    let mut gateway = with_cap("0");
    lists(&gateway, &Script::Status(200, LIST));
    let found = round(&mut gateway).unwrap().unwrap();
    let told: Vec<(String, u8, bool)> = found.iter().map(|probe| (probe.name(), probe.level, probe.ok)).collect();
    let mut told_sorted = told.clone();
    told_sorted.sort();
    assert_eq!(told_sorted, ["backup", "main", "pool"].map(|name| (name.to_owned(), 1, true)), "{told:?}");
    assert_eq!(gateway.calls(), 3);
    assert_eq!(gateway.simulation.world.database.borrow().health.probes.len(), 3);
    assert!(
        !gateway.simulation.world.accounts.borrow().contains_key(&probe::probe_account().unwrap()),
        "the probe account pays nothing"
    );
}

#[test]
fn small_calls_are_paid_by_the_house_within_each_channels_cap_and_are_in_nobodys_statistics() {
    let mut gateway = with_cap("0.01");
    lists(&gateway, &Script::Status(200, LIST));
    let found = round(&mut gateway).unwrap().unwrap();
    let called: Vec<&ProbeResult> = found.iter().filter(|probe| probe.level == 2).collect();
    assert_eq!(called.len(), 8, "{found:?}");
    assert!(called.iter().all(|probe| probe.ok && probe.receipt.is_some()));
    let charged = gateway.stored(PROBE_ACCOUNT, |memory| {
        memory.check_law();
        assert!(memory.holds.is_empty());
        memory.receipts().len()
    });
    assert_eq!(charged, 8);
    for name in ["main/main-one-0", "backup/backup-two-1", "pool/pool-routed-0"] {
        assert_eq!(status(&mut gateway, name), "up", "{name}");
    }
    for path in ["/admin/v1/receipts", "/admin/v1/spend"] {
        let listed = gateway.admin("GET", path, &NONE).ok();
        assert_eq!(listed["data"], json!([]), "{path}");
    }
    let own = gateway.admin("GET", &format!("/admin/v1/receipts?account={PROBE_ACCOUNT}"), &NONE).ok();
    assert_eq!(own["data"].as_array().unwrap().len(), 8);
    // What is up is not called again within the half hour.
    gateway.advance(60_000);
    lists(&gateway, &Script::Status(200, LIST));
    assert!(round(&mut gateway).unwrap().unwrap().iter().all(|probe| probe.level == 1));
}

#[test]
fn a_cap_that_is_used_up_is_told_and_more_than_it_is_never_spent() {
    let mut gateway = with_cap("0.00001");
    let mut spent = 0;
    for _ in 0..12 {
        lists(&gateway, &Script::Status(200, LIST));
        round(&mut gateway).unwrap().unwrap();
        gateway.advance(31 * 60_000);
    }
    gateway.stored(PROBE_ACCOUNT, |memory| {
        for row in &memory.journal {
            if let (Journaled::Receipt(_), Some(amount)) = (&row.journaled, row.amount) {
                spent -= amount.nanos();
            }
        }
    });
    assert!(spent <= 3 * 2 * 10_000, "each channel has its cap in each bucket: {spent}");
    let log = gateway.simulation.log();
    assert!(log.iter().any(|line| line.contains("`probe_daily_cap`")), "{log:?}");
}

#[test]
fn probes_of_the_demo_catalogue_cost_less_than_their_caps_in_a_day_and_are_in_nobodys_statistics() {
    const DAY_MS: i64 = 86_400_000;
    const MESSAGE: &str = r#"{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":5}}"#;
    const CANDIDATES: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15}}"#;
    let mut text = std::fs::read_to_string("examples/demo-catalog.json").unwrap();
    for (path, host) in [("/anthropic", "anthropic"), ("/gemini", "gemini"), ("", "openai")] {
        text = text.replace(&format!("http://127.0.0.1:8788{path}"), &format!("https://{host}.example.com"));
    }
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut gateway = Gateway::unpublished();
    gateway.set("UPSTREAM_SECRETS", "DEMO_UPSTREAM_KEY");
    gateway.admin("PUT", "/admin/v1/catalog", &document).ok();
    let beginning = DAY_MS - gateway.simulation.world.now.get() % DAY_MS + 1_000;
    gateway.advance(beginning);
    // Every fifth minute: what is up is called every half hour anyway, and what is down every five minutes.
    for _ in 0..287 {
        for (host, answer) in [("openai", ANSWER), ("anthropic", MESSAGE), ("gemini", CANDIDATES)] {
            (0..16).for_each(|_| gateway.script(host, Script::Status(200, answer)));
        }
        round(&mut gateway).unwrap().unwrap();
        gateway.advance(300_000);
        gateway.simulation.world.scripts.borrow_mut().clear();
    }
    let mut spent: BTreeMap<(String, String), i64> = BTreeMap::new();
    for receipt in gateway.all(ROOT, &format!("/admin/v1/receipts?account={PROBE_ACCOUNT}"), 100) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        *spent.entry((text(&receipt["attempts"][0]["channel"]), text(&receipt["bucket"]))).or_default() +=
            nanos(&receipt["charge"]);
    }
    assert!(spent.len() >= 5 && spent.values().filter(|spent| **spent > 0).count() >= 5, "{spent:?}");
    for ((channel, bucket), spent) in spent {
        let cap = document["channels"][&channel]["probe_daily_cap"].as_str().unwrap_or("0.05");
        assert!(spent <= Money::parse(cap).unwrap().nanos(), "{channel} {bucket}: {spent}");
    }
    for path in ["/admin/v1/receipts", "/admin/v1/spend?by=account"] {
        assert_eq!(gateway.admin("GET", path, &NONE).ok()["data"], json!([]), "{path}");
    }
}

#[test]
fn what_vanished_from_its_list_or_fails_a_call_is_down_and_comes_back_with_the_first_answer() {
    let mut gateway = with_cap("0.01");
    let secret = gateway.rich_key(&json!({}));
    lists(&gateway, &Script::Status(200, LIST));
    let failed = Script::Status(401, r#"{"error":{"message":"bad key"}}"#);
    *gateway.simulation.world.otherwise.borrow_mut() = Some(failed);
    let found = round(&mut gateway).unwrap().unwrap();
    assert!(found.iter().filter(|probe| probe.level == 2).all(|probe| !probe.ok && probe.failure.is_some()));
    assert_eq!(status(&mut gateway, "main/main-one-0"), "down");
    // Lists tell no one is expected to answer, and why.
    let told = gateway.get(&secret, "/v1/models/one").ok();
    assert_eq!(told["tf"]["callable"], false, "{told}");
    *gateway.simulation.world.otherwise.borrow_mut() = Some(Script::Status(200, crate::gateway::ANSWER));
    gateway.advance(61_000);
    lists(&gateway, &Script::Status(200, LIST));
    round(&mut gateway).unwrap().unwrap();
    assert_eq!(status(&mut gateway, "main/main-one-0"), "up");
    assert_eq!(gateway.get(&secret, "/v1/models/one").ok()["tf"]["callable"], true);
    let history = gateway.simulation.world.database.borrow().health.statuses("main", "main-one-0");
    assert_eq!(history, [HealthStatus::Down, HealthStatus::Up]);
}

#[test]
fn of_two_rounds_at_the_same_time_one_does_nothing_and_one_that_took_too_long_changes_nothing() {
    let mut gateway = with_cap("0");
    for host in ["main", "backup", "pool"] {
        gateway.script(host, Script::Hangs);
    }
    let outside = gateway.simulation.outside();
    let first = gateway.simulation.begin(async move { probe::round(&outside).await });
    assert_eq!(round(&mut gateway), Ok(None));
    let found = gateway.simulation.finish(&first).unwrap().unwrap();
    assert!(found.iter().all(|probe| !probe.ok && probe.failure.as_ref().unwrap().contains("did not come within")), "{found:?}");
    // A call that hangs does not hold the round either.
    let mut slow = with_cap("0.01");
    lists(&slow, &Script::Status(200, LIST));
    slow.script("main", Script::Hangs);
    let found = round(&mut slow).unwrap().unwrap();
    let is_told =
        |probe: &ProbeResult| probe.level == 2 && probe.failure.as_ref().is_some_and(|text| text.contains("no answer within"));
    assert!(found.iter().any(is_told), "{found:?}");
    // A round whose lease is over meanwhile.
    gateway.advance(60_000);
    for host in ["main", "backup", "pool"] {
        gateway.script(host, Script::Hangs);
    }
    let outside = gateway.simulation.outside();
    let late = gateway.simulation.begin(async move { probe::round(&outside).await });
    gateway.advance(46_000);
    lists(&gateway, &Script::Status(200, LIST));
    assert!(round(&mut gateway).unwrap().is_some());
    let refused = gateway.simulation.finish(&late).unwrap_err();
    assert!(refused.0.contains("another one has begun"), "{}", refused.0);
}

#[test]
fn without_its_history_a_round_still_tells_requests_what_it_finds() {
    let mut gateway = with_cap("0");
    gateway.fail("d1", u32::MAX);
    lists(&gateway, &Script::Status(401, r#"{"error":{"message":"bad key"}}"#));
    assert!(round(&mut gateway).unwrap().is_some());
    assert!(gateway.simulation.log().iter().any(|line| line.contains("health history")));
    gateway.fail("d1", 0);
    assert_ne!(status(&mut gateway, "main/main-one-0"), "up");
    assert_ne!(status(&mut gateway, "main/main-one-0"), "unknown");
}

#[test]
fn counts_move_on_to_hours_and_days_and_every_attempt_stays_in_one_row() {
    let mut gateway = with_cap("0");
    let secret = gateway.rich_key(&json!({}));
    for n in 0..6 {
        if n % 3 == 2 {
            gateway.script("main", Script::Status(503, "{}"));
        }
        gateway.call(&secret, "two");
        gateway.alarm();
        gateway.advance(61_000);
    }
    let sums = |gateway: &mut Gateway, window: &str| {
        let health = gateway.get(&secret, &format!("/v1/health/two?window={window}")).ok();
        let candidates = health["candidates"].as_array().unwrap();
        let main = candidates.iter().find(|candidate| candidate["channel"] == "main").unwrap();
        let sum =
            |field: &str| main["points"].as_array().unwrap().iter().map(|point| point[field].as_u64().unwrap_or(0)).sum::<u64>();
        (sum("requests"), sum("failures"))
    };
    assert_eq!(sums(&mut gateway, "1h"), (6, 2));
    for days in [1, 40] {
        gateway.advance(days * 86_400_000 / 2);
        for _ in 0..2 {
            let outside = gateway.simulation.outside();
            gateway.simulation.run(async move { tokens_forge::ports::Rounds::tidy(&outside).await.unwrap() });
        }
        assert_eq!(sums(&mut gateway, "30d"), (6, 2), "after {days} half days");
    }
}
