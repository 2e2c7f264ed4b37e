//! What was spent: sums by day, and why they changed. From daily roll-ups, never from the rows themselves.

use serde_json::{Map, Value, json};

use super::output::ok;
use super::request::Request;
use crate::app::{ask, currency};
use crate::id::AccountId;
use crate::money::Money;
use crate::ports::{Records, Sums};
use crate::refusal::{Code, Refusal};
use crate::relay::Reply;
use crate::spend::{Line, explain};
use crate::time::{Period, Timestamp};

const DAY_MS: i64 = 86_400_000;
/// What OpenRouter answers, and a bit more than a month.
const DEFAULT_DAYS: i64 = 31;
const MOST_DAYS: i64 = 366;
/// So many sums are read at most.
pub const MOST_SUMS: usize = 20_000;

/// What sums can be told apart by.
pub const DIMENSIONS: [&str; 8] = ["day", "account", "project", "key", "model", "route", "bucket", "cause"];

/// Which days, and which of their sums.
struct Ask {
    first: Timestamp,
    days: i64,
    by: Vec<&'static str>,
    filters: Vec<(&'static str, String)>,
}

fn ask<B>(request: &Request<B>, now: Timestamp, dimensions: &[&'static str]) -> Result<Ask, Refusal> {
    let day = |name: &str| {
        let wrong = || Refusal::invalid(name, format!("`{name}` must be a day such as 2026-12-31."));
        let at = |text: &str| Timestamp::parse(&format!("{}T00:00:00Z", text.get(..10)?));
        request.param(name).map(|text| at(text).ok_or_else(wrong)).transpose()
    };
    let today = Period::Day.start(now);
    let (date, until) = (day("date")?, day("until")?);
    // `until` is the first day that does not count any more.
    let end = date.map(|date| date.plus(DAY_MS)).or(until).unwrap_or_else(|| today.plus(DAY_MS));
    let first = date.or(day("since")?).unwrap_or_else(|| end.plus(-DEFAULT_DAYS.saturating_mul(DAY_MS)));
    let days = end.millis().saturating_sub(first.millis()).checked_div(DAY_MS).unwrap_or(0);
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(Refusal::invalid("since", format!("`since` must be before `until`, by {MOST_DAYS} days at most.")));
    }
    let mut by = match request.param("by") {
        None => dimensions.to_vec(),
        Some(text) => {
            let find = |name: &str| dimensions.iter().find(|dimension| **dimension == name.trim()).copied();
            let wrong = || Refusal::invalid("by", format!("`by` must be a list of: {}.", dimensions.join(", ")));
            text.split(',').map(|name| find(name).ok_or_else(wrong)).collect::<Result<_, _>>()?
        }
    };
    // Amounts of two currencies are never added.
    if !by.contains(&"bucket") {
        by.push("bucket");
    }
    let filters = dimensions.iter().skip(1).filter_map(|name| Some((*name, request.param(name)?.to_owned())));
    Ok(Ask { first, days, by, filters: filters.collect() })
}

impl Ask {
    fn sums(&self, by: Vec<&'static str>, first: Timestamp) -> Sums {
        let day = |number: i64| first.plus(number.saturating_mul(DAY_MS)).to_string().chars().take(10).collect();
        Sums { days: (0..self.days).map(day).collect(), by, filters: self.filters.clone() }
    }

    fn period(&self, first: Timestamp) -> Value {
        json!({"since": first, "until": first.plus(self.days.saturating_mul(DAY_MS))})
    }
}

fn count(row: &Value, name: &str) -> u64 {
    row.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn nanos(row: &Value, name: &str) -> i64 {
    row.get(name).and_then(Value::as_i64).unwrap_or(0)
}

fn text(row: &Value, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The sums of a row, amounts as decimals.
fn with_amounts(mut row: Value) -> Value {
    for name in ["charge", "input_charge"] {
        let amount = Money::from_nanos(nanos(&row, name)).unwrap_or(Money::MAX);
        if let Some(fields) = row.as_object_mut() {
            fields.insert(name.to_owned(), json!(amount));
        }
    }
    row
}

/// By model, route and bucket, what happened in one period.
async fn lines<P: Records>(ports: &P, ask: &Ask, first: Timestamp) -> Result<Vec<Line>, Refusal> {
    let by = vec!["model", "route", "bucket", "cause"];
    let rows = ports.sums(ask.sums(by, first)).await?;
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let (model, route, bucket) = (text(&row, "model"), text(&row, "route"), text(&row, "bucket"));
        if bucket.is_empty() {
            continue;
        }
        let is_same = |line: &Line| line.model == model && line.route == route && line.bucket == bucket;
        if !lines.iter().any(is_same) {
            lines.push(Line { model: model.clone(), route: route.clone(), bucket: bucket.clone(), ..Line::default() });
        }
        let Some(line) = lines.iter_mut().find(|line| is_same(line)) else { continue };
        let charge = nanos(&row, "charge");
        line.requests = line.requests.saturating_add(count(&row, "requests"));
        line.input_tokens = line.input_tokens.saturating_add(count(&row, "input_tokens"));
        line.output_tokens = line.output_tokens.saturating_add(count(&row, "output_tokens"));
        line.charge = line.charge.saturating_add(charge);
        line.input_charge = line.input_charge.saturating_add(nanos(&row, "input_charge"));
        match text(&row, "cause").as_str() {
            "fallback" => line.fallback_charge = line.fallback_charge.saturating_add(charge),
            "retry" => line.retry_charge = line.retry_charge.saturating_add(charge),
            _ => {}
        }
    }
    Ok(lines)
}

/// The sums that were asked for, the period, the one before it, and why the second is not the first.
async fn answer<P: Records>(ports: &P, ask: &Ask, view: fn(Value) -> Value) -> Result<Reply, Refusal> {
    let earlier = ask.first.plus(-ask.days.saturating_mul(DAY_MS));
    let rows = ports.sums(ask.sums(ask.by.clone(), ask.first)).await?;
    if rows.len() >= MOST_SUMS {
        let message = format!("There are more than {MOST_SUMS} sums.");
        return Err(
            Refusal::new(Code::InvalidRequest, message, "Name fewer dimensions in `by`, fewer days, or a filter.").param("by")
        );
    }
    let catalog = ports.catalog().await?;
    let explained = explain(&lines(ports, ask, earlier).await?, &lines(ports, ask, ask.first).await?);
    ok(&json!({
        "data": rows.into_iter().map(|row| view(currency::told(with_amounts(row), &catalog))).collect::<Vec<_>>(),
        "period": ask.period(ask.first),
        "compared_with": ask.period(earlier),
        "change": currency::told(json!(explained), &catalog),
        "next": null,
    }))
}

/// Answers `GET /v1/activity`.
pub async fn activity<P: Records, B>(ports: &P, account: &AccountId, request: &Request<B>) -> Result<Reply, Refusal> {
    ask::flush(ports, account).await;
    let dimensions = ["day", "project", "key", "model", "route", "bucket", "cause"];
    let mut ask = ask(request, ports.now(), &dimensions)?;
    ask.filters.push(("account", account.to_string()));
    answer(ports, &ask, as_openrouter).await
}

/// Answers `GET /admin/v1/spend`.
pub async fn spend<P: Records, B>(ports: &P, request: &Request<B>) -> Result<Reply, Refusal> {
    answer(ports, &ask(request, ports.now(), &DIMENSIONS)?, |row| row).await
}

/// OpenRouter's fields for an activity row, with ours under `tf`.
fn as_openrouter(row: Value) -> Value {
    let field = |name: &str| row.get(name).cloned().unwrap_or_default();
    let usage: Value = serde_json::from_str(&text(&row, "charge")).unwrap_or_default();
    json!({
        "date": field("day"),
        "model": field("model"),
        "model_permaslug": field("model"),
        "endpoint_id": field("route"),
        "provider_name": field("route"),
        "usage": usage,
        "currency": field("currency"),
        "byok_usage_inference": 0,
        "requests": field("requests"),
        "prompt_tokens": field("input_tokens"),
        "completion_tokens": field("output_tokens"),
        "reasoning_tokens": field("reasoning_tokens"),
        "tf": row,
    })
}

/// Answers `GET /v1/credits`: OpenRouter's two numbers for the first bucket, and every bucket under `tf`.
pub async fn credits<P: Records>(ports: &P, account: &AccountId) -> Result<Reply, Refusal> {
    ask::flush(ports, account).await;
    let catalog = ports.catalog().await?;
    let sums = Sums { days: Vec::new(), by: vec!["bucket"], filters: vec![("account", account.to_string())] };
    let rows = ports.sums(sums).await?;
    let overview = ask::overview(ports, account).await?;
    let mut buckets = Vec::new();
    for (id, bucket) in &catalog.buckets {
        let view = overview.balances.iter().find(|view| view.bucket == *id);
        let balance = view.map(|view| view.balance).unwrap_or_default();
        let debt = view.map(|view| view.debt).unwrap_or_default();
        let used = rows.iter().filter(|row| text(row, "bucket") == id.as_str()).map(|row| nanos(row, "charge"));
        let used = Money::from_nanos(used.fold(0, i64::saturating_add)).unwrap_or(Money::MAX);
        // All that came in is what is left and what was used.
        let credits = balance.checked_add(used).unwrap_or(Money::MAX);
        buckets.push((
            json!({"bucket": id, "currency": bucket.currency, "total_credits": credits, "total_usage": used, "balance": balance, "debt": debt}),
            (credits, used),
        ));
    }
    let number = |amount: Money| serde_json::from_str::<Value>(&amount.to_string()).unwrap_or_default();
    let (credits, used) = buckets.first().map(|(_, amounts)| *amounts).unwrap_or_default();
    let mut data = Map::new();
    data.insert("total_credits".to_owned(), number(credits));
    data.insert("total_usage".to_owned(), number(used));
    data.insert("currency".to_owned(), catalog.buckets.values().next().map(|bucket| bucket.currency.as_str()).into());
    data.insert("tf".to_owned(), json!({"buckets": buckets.into_iter().map(|(view, _)| view).collect::<Vec<_>>()}));
    ok(&json!({"data": data}))
}
