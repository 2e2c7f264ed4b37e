//! Runs: opening one with a budget, and what its requests came to.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Request, admin, bounds, currency, lists, ok, owner, with_status};
use crate::account::{Command, Query, RunLine, RunRecord};
use crate::body::Arriving;
use crate::id::{BucketId, RunId};
use crate::key::{Budget, KeyRecord};
use crate::money::Money;
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, unavailable};
use crate::time::Period;
use crate::usage::Usage;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRun {
    id: Option<RunId>,
    name: Option<String>,
    #[serde(default)]
    budgets: Vec<RunBudget>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunBudget {
    bucket: BucketId,
    limit: Money,
}

/// Answers `POST /v1/runs`.
pub async fn open<P: Records>(ports: &P, caller: &KeyRecord, body: impl Arriving) -> Result<Reply, Refusal> {
    let new: NewRun = admin::read(body).await?;
    bounds::check_budgets(new.budgets.len())?;
    admin::check_buckets(ports, new.budgets.iter().map(|budget| &budget.bucket)).await?;
    if new.budgets.iter().any(|budget| budget.limit.is_negative()) {
        return Err(Refusal::invalid("budgets", "A budget's `limit` must not be below nothing."));
    }
    let budgets = new.budgets.into_iter().map(|RunBudget { bucket, limit }| Budget { bucket, limit, period: Period::Total });
    let record = RunRecord {
        id: new.id.unwrap_or_else(|| RunId::new(ports.now(), ports.random())),
        account: caller.account.clone(),
        key: caller.id.clone(),
        name: new.name.map(|name| admin::name("name", name)).transpose()?,
        budgets: budgets.collect(),
        created_at: ports.now(),
    };
    let id = record.id.clone();
    admin::command(ports, &caller.account, Command::OpenRun(record)).await?;
    with_status(201, &view(ports, caller, &id).await?)
}

/// Answers `GET /v1/runs/{id}`.
pub async fn one<P: Records>(ports: &P, caller: &KeyRecord, id: &str) -> Result<Reply, Refusal> {
    let id = RunId::parse(id).ok_or_else(unknown)?;
    ok(&view(ports, caller, &id).await?)
}

/// Answers `GET /v1/runs`.
pub async fn list<P: Records, B>(ports: &P, caller: &KeyRecord, request: &Request<B>) -> Result<Reply, Refusal> {
    let (limit, after) = lists::page(request)?;
    let rows = owner::rows(ports, &caller.account, Query::Runs(after, limit)).await?;
    let view = |(_, row): (u64, Value)| {
        json!({
            "id": row.get("id"), "name": row.pointer("/record/name"), "opened_at": row.pointer("/record/created_at"),
            "key": row.pointer("/record/key"), "budgets": row.pointer("/record/budgets"),
        })
    };
    let data: Vec<Value> = rows.into_iter().map(view).collect();
    let next = lists::next_id(&data, limit);
    ok(&json!({"data": data, "next": next}))
}

fn unknown() -> Refusal {
    let next_step = "Check the id; a run appears with its first request, or with POST /v1/runs.";
    Refusal::new(Code::NotFound, "This account has no such run.", next_step).param("id")
}

async fn view<P: Records>(ports: &P, caller: &KeyRecord, id: &RunId) -> Result<Value, Refusal> {
    let row = owner::rows(ports, &caller.account, Query::Run(id.clone())).await?.into_iter().next();
    let (_, row) = row.ok_or_else(unknown)?;
    let lines: Vec<RunLine> = row
        .get("lines")
        .filter(|lines| !lines.is_null())
        .map_or(Ok(Vec::new()), |lines| serde_json::from_str(&lines.to_string()))
        .map_err(|error| Refusal::unavailable(format!("a run that cannot be read: {error}")))?;
    let budgets: Vec<Value> = row
        .pointer("/record/budgets")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|budget| {
            let bucket = budget.get("bucket").and_then(Value::as_str).unwrap_or_default();
            let spent = row.pointer(&format!("/tally/spent/{bucket}/total")).and_then(Value::as_str).unwrap_or("0");
            let amount = |text: Option<&str>| text.and_then(|text| Money::parse(text).ok()).unwrap_or_default();
            let limit = amount(budget.get("limit").and_then(Value::as_str));
            let spent = amount(Some(spent));
            let left = limit.checked_sub(spent).unwrap_or_default().max(Money::ZERO);
            json!({"bucket": bucket, "limit": limit, "spent": spent, "remaining": left})
        })
        .collect();
    let holds: Vec<Value> = row
        .get("held")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|hold| {
            let nanos = hold.get("amount_nanos").and_then(Value::as_i64).unwrap_or(0);
            json!({"request": hold.get("request"), "bucket": hold.get("bucket"), "amount": Money::from_nanos(nanos).unwrap_or_default()})
        })
        .collect();
    let view = json!({
        "id": id,
        "name": row.pointer("/record/name"),
        "opened_at": row.pointer("/record/created_at"),
        "key": row.pointer("/record/key"),
        "budgets": budgets,
        "in_flight": holds,
        "totals": totals(&lines),
        "cache": lists::cache(&used(&lines)),
        "by_model": grouped(&lines, "model", |line| line.model.clone()),
        "by_route": grouped(&lines, "route", |line| line.route.map_or("none", |route| route.as_str()).to_owned()),
        "by_bucket": grouped(&lines, "bucket", |line| line.bucket.as_ref().map_or("none", |bucket| bucket.as_str()).to_owned()),
        "by_status": grouped(&lines, "status", |line| line.status.as_str().to_owned()),
        "lines": lines,
    });
    Ok(currency::told(view, &*ports.catalog().await.map_err(unavailable)?))
}

/// The lines of each name, summed; names in the order of their first line.
fn grouped(lines: &[RunLine], dimension: &str, name: impl Fn(&RunLine) -> String) -> Vec<Value> {
    let mut groups: Vec<(String, Vec<RunLine>)> = Vec::new();
    for line in lines {
        let of = name(line);
        match groups.iter_mut().find(|(known, _)| *known == of) {
            Some((_, group)) => group.push(line.clone()),
            None => groups.push((of, vec![line.clone()])),
        }
    }
    let view = |(of, group): (String, Vec<RunLine>)| {
        let mut view = totals(&group);
        if let Some(fields) = view.as_object_mut() {
            fields.shift_insert(0, dimension.to_owned(), of.into());
        }
        view
    };
    groups.into_iter().map(view).collect()
}

/// What they used, by class.
fn used(lines: &[RunLine]) -> Usage {
    lines.iter().fold(Usage::default(), |sum, line| sum.plus(&line.usage))
}

/// Requests, attempts, tokens, and charges by bucket: amounts of two currencies are never added.
fn totals(lines: &[RunLine]) -> Value {
    let sum = |count: fn(&RunLine) -> u64| lines.iter().map(count).fold(0, u64::saturating_add);
    let usage = used(lines);
    let mut charges = serde_json::Map::new();
    for bucket in lines.iter().filter_map(|line| line.bucket.as_ref()) {
        let of = lines.iter().filter(|line| line.bucket.as_ref() == Some(bucket));
        let charge = of.fold(Money::ZERO, |sum, line| sum.checked_add(line.charge).unwrap_or(Money::MAX));
        charges.insert(bucket.to_string(), json!(charge));
    }
    json!({
        "requests": sum(|line| line.requests), "retries": sum(|line| line.retries), "fallbacks": sum(|line| line.fallbacks),
        "tokens": usage, "charges": charges,
    })
}
