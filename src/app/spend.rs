//! What was spent: sums by day, and why they changed. From daily roll-ups, never from the rows themselves.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::principal::Principal;
use super::use_case::UseCase;
use super::{ask, currency};
use crate::catalog::Catalog;
use crate::id::{AccountId, BucketId};
use crate::money::Money;
use crate::ports::{Accounts, Dimension, Journals, MOST_SUMS, Runtime, Sold, Sum, Sums};
use crate::refusal::{Code, Refusal};
use crate::rollup::{Cause, DaySums};
use crate::spend::{Explained, Line, explain};
use crate::time::{DAY_MS, Period, Timestamp};

/// What OpenRouter answers, and a bit more than a month.
const DEFAULT_DAYS: i64 = 31;
const MOST_DAYS: i64 = 366;

/// What the holder of a key can tell sums apart by.
const OWN: [Dimension; 7] =
    [Dimension::Day, Dimension::Project, Dimension::Key, Dimension::Model, Dimension::Route, Dimension::Bucket, Dimension::Cause];

/// Which days, and which of their sums.
#[derive(Debug, Clone, Default)]
pub struct SpendQuery {
    /// This day alone.
    pub date: Option<Timestamp>,
    /// The first day.
    pub since: Option<Timestamp>,
    /// The first day that does not count any more.
    pub until: Option<Timestamp>,
    /// Names of dimensions with commas between them; all where it is none.
    pub by: Option<String>,
    /// Only where a dimension has this value.
    pub filters: Vec<(Dimension, String)>,
}

/// A period of whole days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Days {
    /// When it begins.
    pub since: Timestamp,
    /// When it is over.
    pub until: Timestamp,
}

/// Sums of a period, and why they are not those of the one before it.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Spend<T = Spent> {
    pub data: Vec<T>,
    pub period: Days,
    pub compared_with: Days,
    /// By bucket.
    pub change: Vec<Explained>,
    /// It is in one part.
    pub next: Option<String>,
}

impl<T> Spend<T> {
    /// The same of what is made of each sum.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Spend<U> {
        let Self { data, period, compared_with, change, next } = self;
        Spend { data: data.into_iter().map(make).collect(), period, compared_with, change, next }
    }
}

/// What requests used and cost, told apart by some dimensions; in JSON these come first, in the order that was asked for.
#[derive(Debug, Clone)]
pub struct Spent {
    /// The sum.
    pub sum: Sum,
    /// The bucket's; none of one that the catalogue no longer has.
    pub currency: Option<String>,
    by: Vec<Dimension>,
}

impl Spent {
    /// What was charged. Beyond the range of money it is the most that there is.
    pub fn charge(&self) -> Money {
        money(self.sum.sums.charge)
    }
}

impl Serialize for Spent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Sum { key_label, .. } = &self.sum;
        let mut map = serializer.serialize_map(None)?;
        for dimension in &self.by {
            map.serialize_entry(dimension.as_str(), self.sum.of(*dimension))?;
            match dimension {
                Dimension::Key => map.serialize_entry("key_label", key_label)?,
                Dimension::Bucket => map.serialize_entry("currency", &self.currency)?,
                _ => {}
            }
        }
        for (name, sum) in DaySums::COLUMNS.into_iter().zip(self.sum.sums.values()) {
            match name {
                "charge" | "input_charge" => map.serialize_entry(name, &money(sum))?,
                _ => map.serialize_entry(name, &sum)?,
            }
        }
        map.end()
    }
}

fn money(nanos: i64) -> Money {
    Money::from_nanos(nanos).unwrap_or(Money::MAX)
}

/// What came into a bucket and what was used of it.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Credits {
    pub bucket: BucketId,
    pub currency: String,
    /// All that came in: what is left and what was used.
    pub total_credits: Money,
    pub total_usage: Money,
    pub balance: Money,
    pub debt: Money,
}

/// A query with its days counted and its dimensions known.
struct SumsOfDays {
    first: Timestamp,
    days: i64,
    by: Vec<Dimension>,
    filters: Vec<(Dimension, String)>,
}

impl SumsOfDays {
    fn new(query: SpendQuery, now: Timestamp, dimensions: &[Dimension]) -> Result<Self, Refusal> {
        let SpendQuery { date, since, until, by, filters } = query;
        let today = Period::Day.start(now);
        let end = date.map(|date| date.plus(DAY_MS)).or(until).unwrap_or_else(|| today.plus(DAY_MS));
        let first = date.or(since).unwrap_or_else(|| end.plus(-DEFAULT_DAYS.saturating_mul(DAY_MS)));
        let days = end.millis().saturating_sub(first.millis()).checked_div(DAY_MS).unwrap_or(0);
        if !(1..=MOST_DAYS).contains(&days) {
            return Err(Refusal::invalid("since", format!("`since` must be before `until`, by {MOST_DAYS} days at most.")));
        }
        if first.plus(-days.saturating_mul(DAY_MS)) < Timestamp::MIN || end > Timestamp::MAX {
            let name = if date.is_some() {
                "date"
            } else if since.is_some() {
                "since"
            } else {
                "until"
            };
            return Err(Refusal::invalid(name, "The days, and as many before them, must be within the years 0 to 9999."));
        }
        let by = by.as_deref().map_or_else(|| Ok(dimensions.to_vec()), |text| told_apart(text, dimensions))?;
        Ok(Self { first, days, by, filters })
    }

    fn sums(&self, by: &[Dimension], first: Timestamp) -> Sums {
        let day = |number: i64| first.plus(number.saturating_mul(DAY_MS)).day();
        Sums { days: (0..self.days).map(day).collect(), by: by.to_vec(), filters: self.filters.clone(), is_of_buckets: false }
    }

    fn period(&self, first: Timestamp) -> Days {
        Days { since: first, until: first.plus(self.days.saturating_mul(DAY_MS)) }
    }
}

/// The dimensions of these names, each once.
fn told_apart(names: &str, dimensions: &[Dimension]) -> Result<Vec<Dimension>, Refusal> {
    let known = || dimensions.iter().map(|dimension| dimension.as_str()).collect::<Vec<_>>().join(", ");
    let mut by = Vec::new();
    for name in names.split(',') {
        let found = dimensions.iter().copied().find(|dimension| dimension.as_str() == name.trim());
        let found = found.ok_or_else(|| Refusal::invalid("by", format!("`by` must be a list of: {}.", known())))?;
        if !by.contains(&found) {
            by.push(found);
        }
    }
    // Amounts of two currencies are never added.
    if !by.contains(&Dimension::Bucket) {
        by.push(Dimension::Bucket);
    }
    Ok(by)
}

/// What the own account spent.
pub async fn own<P: Runtime + Accounts + Journals + Sold>(
    ports: &P,
    who: &Principal,
    mut query: SpendQuery,
) -> Result<Spend, Refusal> {
    let account = who.holder(UseCase::ShowActivity)?.account();
    ask::flush(ports, account).await;
    query.filters.retain(|(dimension, _)| OWN.contains(dimension));
    query.filters.push((Dimension::Account, account.to_string()));
    answer(ports, &SumsOfDays::new(query, ports.now(), &OWN)?).await
}

/// What all accounts spent.
pub async fn all<P: Runtime + Journals + Sold>(ports: &P, who: &Principal, query: SpendQuery) -> Result<Spend, Refusal> {
    who.operator(UseCase::ShowSpend)?;
    answer(ports, &SumsOfDays::new(query, ports.now(), &Dimension::ALL)?).await
}

async fn answer<P: Journals + Sold>(ports: &P, wanted: &SumsOfDays) -> Result<Spend, Refusal> {
    let earlier = wanted.first.plus(-wanted.days.saturating_mul(DAY_MS));
    let sums = ports.sums(wanted.sums(&wanted.by, wanted.first)).await?;
    all_of(&sums, "by", "Name fewer dimensions in `by`, fewer days, or a filter.")?;
    let catalog = &*ports.catalog().await?;
    let (before, now) = (lines(ports, wanted, earlier).await?, lines(ports, wanted, wanted.first).await?);
    Ok(Spend {
        data: sums.into_iter().map(|sum| spent(sum, &wanted.by, catalog)).collect(),
        period: wanted.period(wanted.first),
        compared_with: wanted.period(earlier),
        change: explain(&before, &now, |bucket| currency::of(catalog, bucket)),
        next: None,
    })
}

fn spent(sum: Sum, by: &[Dimension], catalog: &Catalog) -> Spent {
    let currency = sum.bucket.as_deref().and_then(|bucket| currency::of(catalog, bucket));
    Spent { sum, currency, by: by.to_vec() }
}

/// Errors unless these are all the sums that there are.
fn all_of(sums: &[Sum], param: &str, next_step: &str) -> Result<(), Refusal> {
    if sums.len() < MOST_SUMS {
        return Ok(());
    }
    let message = format!("There are more than {MOST_SUMS} sums.");
    Err(Refusal::new(Code::InvalidRequest, message, next_step).param(param))
}

/// By model, route and bucket, what happened in one period.
async fn lines<P: Journals>(ports: &P, wanted: &SumsOfDays, first: Timestamp) -> Result<Vec<Line>, Refusal> {
    let by = [Dimension::Model, Dimension::Route, Dimension::Bucket, Dimension::Cause];
    let mut lines: Vec<Line> = Vec::new();
    let sums = ports.sums(Sums { is_of_buckets: true, ..wanted.sums(&by, first) }).await?;
    all_of(&sums, "since", "Name fewer days, or a filter.")?;
    for sum in sums {
        let [model, route, bucket] = [&sum.model, &sum.route, &sum.bucket].map(|name| name.clone().unwrap_or_default());
        let is_same = |line: &Line| line.model == model && line.route == route && line.bucket == bucket;
        if !lines.iter().any(is_same) {
            lines.push(Line { model: model.clone(), route: route.clone(), bucket: bucket.clone(), ..Line::default() });
        }
        let Some(line) = lines.iter_mut().find(|line| is_same(line)) else { continue };
        let DaySums { requests, input_tokens, output_tokens, charge, input_charge, .. } = sum.sums;
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        line.requests = line.requests.saturating_add(count(requests));
        line.input_tokens = line.input_tokens.saturating_add(count(input_tokens));
        line.output_tokens = line.output_tokens.saturating_add(count(output_tokens));
        line.charge = line.charge.saturating_add(charge);
        line.input_charge = line.input_charge.saturating_add(input_charge);
        let cause = sum.cause.as_deref();
        if cause == Some(Cause::Fallback.as_str()) {
            line.fallback_charge = line.fallback_charge.saturating_add(charge);
        } else if cause == Some(Cause::Retry.as_str()) {
            line.retry_charge = line.retry_charge.saturating_add(charge);
        }
    }
    Ok(lines)
}

/// What came into every bucket of the catalogue and what was used of it, by the own account.
pub async fn credits<P: Runtime + Accounts + Journals + Sold>(ports: &P, who: &Principal) -> Result<Vec<Credits>, Refusal> {
    let account: &AccountId = who.holder(UseCase::ShowCredits)?.account();
    ask::flush(ports, account).await;
    let catalog = ports.catalog().await?;
    let filters = vec![(Dimension::Account, account.to_string())];
    let sums = ports.sums(Sums { days: Vec::new(), by: vec![Dimension::Bucket], filters, is_of_buckets: true }).await?;
    let overview = ask::overview(ports, account).await?;
    let credits = catalog.buckets.iter().map(|(id, bucket)| {
        let view = overview.balances.iter().find(|view| view.bucket == *id);
        let balance = view.map(|view| view.balance).unwrap_or_default();
        let used = sums.iter().filter(|sum| sum.bucket.as_deref() == Some(id.as_str())).map(|sum| sum.sums.charge);
        let used = money(used.fold(0, i64::saturating_add));
        Credits {
            bucket: id.clone(),
            currency: bucket.currency.clone(),
            total_credits: balance.checked_add(used).unwrap_or(Money::MAX),
            total_usage: used,
            balance,
            debt: view.map(|view| view.debt).unwrap_or_default(),
        }
    });
    Ok(credits.collect())
}
