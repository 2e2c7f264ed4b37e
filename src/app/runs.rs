//! Runs: opening one with a budget, and what its requests came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::accounts::check_buckets;
use super::ask::{self, command};
use super::page::{Page, Part};
use super::principal::Principal;
use super::receipts::Cache;
use super::text::name;
use super::use_case::UseCase;
use super::{bounds, currency};
use crate::account::{Command, InFlight, RunBudget, RunLine, RunOpened, RunRecord, RunView};
use crate::catalog::Catalog;
use crate::id::{AccountId, BucketId, KeyId, RunId};
use crate::key::Budget;
use crate::money::Money;
use crate::ports::{Accounts, Runtime, Sold};
use crate::refusal::{Code, Refusal};
use crate::time::{Period, Timestamp};
use crate::usage::Usage;

/// What a run is opened with.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// Its id; one is made if nothing is said.
    pub id: Option<RunId>,
    /// What people call it.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub name: Option<String>,
    /// What it may spend, each of another balance.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = crate::key::MOST_BUDGETS)))]
    pub budgets: Vec<NewRunBudget>,
}

/// What it may spend of one balance.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRunBudget {
    /// Of which balance.
    pub bucket: BucketId,
    /// How much in all.
    pub limit: Money,
}

/// A run and what its requests came to.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What people call it.
    pub name: Option<String>,
    /// When it was opened; none where requests only named it.
    pub opened_at: Option<Timestamp>,
    /// The key that opened it.
    pub key: Option<KeyId>,
    /// What is left of its budgets.
    pub budgets: Vec<currency::In<RunBudget>>,
    /// What its open requests have set aside.
    pub in_flight: Vec<currency::In<InFlight>>,
    /// What its requests came to.
    pub totals: Totals,
    /// What they had of the providers' caches.
    pub cache: Cache,
    /// The same for each model.
    pub by_model: Vec<Group>,
    /// The same for each route.
    pub by_route: Vec<Group>,
    /// The same for each balance.
    pub by_bucket: Vec<Group>,
    /// The same for each way to end.
    pub by_status: Vec<Group>,
    /// The same for each model, route, balance and way to end.
    pub lines: Vec<currency::In<RunLine>>,
}

/// Requests, attempts, tokens, and charges by bucket: amounts of two currencies are never added.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RunTotals"))]
pub struct Totals {
    /// How many.
    pub requests: u64,
    /// Further attempts on the same channel.
    pub retries: u64,
    /// Further attempts on another channel.
    pub fallbacks: u64,
    /// What they used, by class.
    pub tokens: Usage,
    /// What they cost, by bucket.
    pub charges: BTreeMap<BucketId, Money>,
    /// The currency of each bucket in `charges`.
    pub currencies: BTreeMap<BucketId, Option<String>>,
}

/// The totals of one model, route, bucket or status, whichever is named.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RunGroup"))]
pub struct Group {
    /// The public name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `official`, `routed` or, where nobody answered, `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The bucket; `none` where none would have paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Of the bucket (ISO 4217); null of one that the catalogue no longer has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "serde_json::Value", extend("oneOf" = [{"type": "string"}, {"type": "null"}])))]
    pub currency: Option<Option<String>>,
    /// How they ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::account::RequestStatus>"))]
    pub status: Option<String>,
    /// What they came to.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Opens a run.
pub async fn open<P: Runtime + Accounts + Sold>(ports: &P, who: &Principal, new: NewRun) -> Result<Run, Refusal> {
    let holder = who.holder(UseCase::OpenRun)?;
    bounds::check_budgets(new.budgets.len())?;
    check_buckets(ports, new.budgets.iter().map(|budget| &budget.bucket)).await?;
    if new.budgets.iter().any(|budget| budget.limit.is_negative()) {
        return Err(Refusal::invalid("budgets", "A budget's `limit` must not be below nothing."));
    }
    let total = |NewRunBudget { bucket, limit }| Budget { bucket, limit, period: Period::Total };
    let record = RunRecord {
        id: new.id.unwrap_or_else(|| RunId::new(ports.now(), ports.random())),
        account: holder.account().clone(),
        key: holder.key.id.clone(),
        name: new.name.map(|text| name("name", text)).transpose()?,
        budgets: new.budgets.into_iter().map(total).collect(),
        created_at: ports.now(),
    };
    let id = record.id.clone();
    command(ports, holder.account(), Command::OpenRun(record)).await?;
    found(ports, holder.account(), id).await
}

/// One run of the own account.
pub async fn show<P: Accounts + Sold>(ports: &P, who: &Principal, id: &str) -> Result<Run, Refusal> {
    let holder = who.holder(UseCase::ShowRun)?;
    found(ports, holder.account(), RunId::parse(id).ok_or_else(unknown)?).await
}

/// The runs of the own account, without what their requests came to.
pub async fn list<P: Accounts + Sold>(ports: &P, who: &Principal, part: Part) -> Result<Page<RunOpened>, Refusal> {
    let holder = who.holder(UseCase::ListRuns)?;
    let runs = ask::runs(ports, holder.account(), part.after, part.limit).await?;
    Ok(Page::of(runs, part.limit, |run| run.id.to_string()))
}

fn unknown() -> Refusal {
    let next_step = "Check the id; a run appears with its first request, or with POST /v1/runs.";
    Refusal::new(Code::NotFound, "This account has no such run.", next_step).param("id")
}

async fn found<P: Accounts + Sold>(ports: &P, account: &AccountId, id: RunId) -> Result<Run, Refusal> {
    let RunView { opened, left, in_flight, lines } = ask::run(ports, account, id).await?.ok_or_else(unknown)?;
    let catalog = &*ports.catalog().await?;
    let of_bucket = |bucket: Option<&BucketId>| bucket.and_then(|bucket| currency::of(catalog, bucket.as_str()));
    let RunOpened { id, name, opened_at, key, .. } = opened;
    let by = |dimension, name: &dyn Fn(&RunLine) -> String| grouped(&lines, dimension, name, catalog);
    Ok(Run {
        id,
        name,
        opened_at,
        key,
        totals: totals(&lines, catalog),
        cache: Cache::of(&used(&lines)),
        by_model: by("model", &|line| line.model.clone()),
        by_route: by("route", &|line| line.route.map_or("none", |route| route.as_str()).to_owned()),
        by_bucket: by("bucket", &|line| line.bucket.as_ref().map_or("none", |bucket| bucket.as_str()).to_owned()),
        by_status: by("status", &|line| line.status.as_str().to_owned()),
        budgets: left.into_iter().map(|of| currency::In { currency: of_bucket(Some(&of.bucket)), of }).collect(),
        in_flight: in_flight.into_iter().map(|of| currency::In { currency: of_bucket(Some(&of.bucket)), of }).collect(),
        lines: lines.into_iter().map(|of| currency::In { currency: of_bucket(of.bucket.as_ref()), of }).collect(),
    })
}

/// The lines of each name, summed; names in the order of their first line.
fn grouped(lines: &[RunLine], dimension: &'static str, name: &dyn Fn(&RunLine) -> String, catalog: &Catalog) -> Vec<Group> {
    let mut groups: Vec<(String, Vec<RunLine>)> = Vec::new();
    for line in lines {
        let of = name(line);
        match groups.iter_mut().find(|(known, _)| *known == of) {
            Some((_, group)) => group.push(line.clone()),
            None => groups.push((of, vec![line.clone()])),
        }
    }
    let view = |(of, group): (String, Vec<RunLine>)| {
        let named = |name: &str| (dimension == name).then(|| of.clone());
        Group {
            model: named("model"),
            route: named("route"),
            bucket: named("bucket"),
            currency: (dimension == "bucket").then(|| currency::of(catalog, &of)),
            status: named("status"),
            totals: totals(&group, catalog),
        }
    };
    groups.into_iter().map(view).collect()
}

/// What they used, by class.
fn used(lines: &[RunLine]) -> Usage {
    lines.iter().fold(Usage::default(), |sum, line| sum.plus(&line.usage))
}

fn totals(lines: &[RunLine], catalog: &Catalog) -> Totals {
    let sum = |count: fn(&RunLine) -> u64| lines.iter().map(count).fold(0, u64::saturating_add);
    let mut charges: BTreeMap<BucketId, Money> = BTreeMap::new();
    for (bucket, charge) in lines.iter().filter_map(|line| Some((line.bucket.clone()?, line.charge))) {
        let of = charges.entry(bucket).or_default();
        *of = of.checked_add(charge).unwrap_or(Money::MAX);
    }
    Totals {
        requests: sum(|line| line.requests),
        retries: sum(|line| line.retries),
        fallbacks: sum(|line| line.fallbacks),
        tokens: used(lines),
        currencies: charges.keys().map(|bucket| (bucket.clone(), currency::of(catalog, bucket.as_str()))).collect(),
        charges,
    }
}
