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
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct NewRun {
    pub id: Option<RunId>,
    pub name: Option<String>,
    #[serde(default)]
    pub budgets: Vec<NewRunBudget>,
}

/// What it may spend of one balance.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct NewRunBudget {
    pub bucket: BucketId,
    pub limit: Money,
}

/// A run and what its requests came to.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Run {
    pub id: RunId,
    pub name: Option<String>,
    pub opened_at: Option<Timestamp>,
    pub key: Option<KeyId>,
    pub budgets: Vec<currency::In<RunBudget>>,
    pub in_flight: Vec<currency::In<InFlight>>,
    pub totals: Totals,
    pub cache: Cache,
    pub by_model: Vec<Group>,
    pub by_route: Vec<Group>,
    pub by_bucket: Vec<Group>,
    pub by_status: Vec<Group>,
    pub lines: Vec<currency::In<RunLine>>,
}

/// Requests, attempts, tokens, and charges by bucket: amounts of two currencies are never added.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Totals {
    pub requests: u64,
    pub retries: u64,
    pub fallbacks: u64,
    pub tokens: Usage,
    pub charges: BTreeMap<BucketId, Money>,
    pub currencies: BTreeMap<BucketId, Option<String>>,
}

/// The totals of one model, route, bucket or status.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// The dimension and its value.
    #[serde(flatten)]
    of: BTreeMap<&'static str, String>,
    /// A bucket's currency.
    #[serde(flatten)]
    currency: BTreeMap<&'static str, Option<String>>,
    #[serde(flatten)]
    totals: Totals,
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
        let currency = (dimension == "bucket").then(|| ("currency", currency::of(catalog, &of)));
        Group { currency: currency.into_iter().collect(), of: [(dimension, of)].into(), totals: totals(&group, catalog) }
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
