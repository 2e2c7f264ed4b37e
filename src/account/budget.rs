//! Budgets: what a key, a project and a run may spend, and the announcement of how far they are.
//!
//! What always holds: spent, set aside and asked for together never pass a limit; each level of a budget is announced once
//! in a period.

use super::record::{Alert, Announced, Counted, Counters, Event, Free, HeldSum, Journaled, ScopeKind};
use super::refusal::over_budget;
use super::state::AccountState;
use crate::id::BucketId;
use crate::key::{Budget, MOST_BUDGETS};
use crate::money::Money;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// The levels at which a budget is announced, in percent.
const LEVELS: [u8; 3] = [50, 80, 100];
/// So many budgets of one scope are remembered as announced.
const MOST_ANNOUNCED: usize = 50;

/// A key, a project or a run with its budgets and what it spent.
struct Scope<'a> {
    kind: ScopeKind,
    id: &'a str,
    budgets: &'a [Budget],
    counters: &'a Counters,
}

impl Scope<'_> {
    fn covers(&self, held: &HeldSum) -> bool {
        match self.kind {
            ScopeKind::Key => held.key.as_str() == self.id,
            ScopeKind::Project => held.project.as_str() == self.id,
            ScopeKind::Run => held.run.as_ref().is_some_and(|run| run.as_str() == self.id),
        }
    }
}

fn scopes(state: &AccountState) -> Vec<Scope<'_>> {
    let key = state.key.as_ref().map(|key| {
        let record = &key.record;
        Scope { kind: ScopeKind::Key, id: record.id.as_str(), budgets: &record.policy.budgets, counters: &key.counters }
    });
    let project = state.project.as_ref().map(|project| {
        let record = &project.record;
        Scope { kind: ScopeKind::Project, id: record.id.as_str(), budgets: &record.budgets, counters: &project.counters }
    });
    let run = state.run.as_ref().map(|run| {
        let budgets = run.record.as_ref().map_or(&[][..], |record| &record.budgets);
        Scope { kind: ScopeKind::Run, id: run.id.as_str(), budgets, counters: &run.counters }
    });
    [key, project, run].into_iter().flatten().collect()
}

/// What each budget on a bucket has spent and set aside.
fn standings<'a>(
    state: &'a AccountState,
    bucket: &'a BucketId,
    now: Timestamp,
) -> impl Iterator<Item = (Scope<'a>, &'a Budget, Money, Money)> {
    scopes(state).into_iter().flat_map(move |scope| {
        let held = state.held_where(|held| held.bucket == *bucket && scope.covers(held));
        scope
            .budgets
            .iter()
            .filter(|budget| budget.bucket == *bucket)
            .map(move |budget| {
                let spent = scope.counters.spent(bucket, budget.period, now);
                (Scope { ..scope }, budget, spent, held)
            })
            .collect::<Vec<_>>()
    })
}

/// Whether every budget covers `amount` more.
pub(super) fn over_budgets(state: &AccountState, bucket: &BucketId, amount: Money, now: Timestamp) -> Result<(), Refusal> {
    for (scope, budget, spent, held) in standings(state, bucket, now) {
        let after = spent.checked_add(held).and_then(|sum| sum.checked_add(amount));
        if after.is_none_or(|after| after > budget.limit) {
            return Err(over_budget((scope.kind, scope.id), budget, (spent, held), amount, now));
        }
    }
    Ok(())
}

/// What every budget still covers; none where nothing limits it.
fn room(state: &AccountState, bucket: &BucketId, now: Timestamp) -> Option<Money> {
    let left = |(_, budget, spent, held): (Scope<'_>, &Budget, Money, Money)| {
        let taken = spent.checked_add(held).unwrap_or(Money::MAX);
        budget.limit.checked_sub(taken).unwrap_or_default().max(Money::ZERO)
    };
    standings(state, bucket, now).map(left).min()
}

/// What is free of a bucket for one request: what its balance and the budgets of key, project and run leave.
pub(super) fn free(state: &AccountState, bucket: &BucketId, now: Timestamp) -> Free {
    let available = state.available(bucket);
    match room(state, bucket, now).filter(|left| *left < available) {
        Some(left) => Free { amount: left, is_of_a_budget: true },
        None => Free { amount: available, is_of_a_budget: false },
    }
}

/// Counts on key, project and run, and announces budgets that reach a level.
pub(super) fn count(state: &mut AccountState, counted: &Counted<'_>, now: Timestamp) -> Vec<Event> {
    let mut alerts = Vec::new();
    let mut events = Vec::new();
    if let Some(key) = &mut state.key {
        let policy = &key.record.policy;
        if !policy.budgets.is_empty() || policy.tpm.is_some() {
            key.counters.count_usage(counted.tokens, counted.charge, now);
            alerts.extend(reached((ScopeKind::Key, key.record.id.as_str()), &policy.budgets, &mut key.counters, now));
            events.push(Event::KeyTallied(key.record.id.clone(), key.counters.clone()));
        }
    }
    if let Some(project) = state.project.as_mut().filter(|project| !project.record.budgets.is_empty()) {
        project.counters.count_usage(counted.tokens, counted.charge, now);
        alerts.extend(reached(
            (ScopeKind::Project, project.record.id.as_str()),
            &project.record.budgets,
            &mut project.counters,
            now,
        ));
        events.push(Event::ProjectTallied(project.record.id.clone(), project.counters.clone()));
    }
    if let Some(run) = &mut state.run {
        run.count(counted, now);
        let budgets = run.record.as_ref().map_or(&[][..], |record| &record.budgets);
        alerts.extend(reached((ScopeKind::Run, run.id.as_str()), budgets, &mut run.counters, now));
        events.push(Event::RunStored(Box::new(run.clone())));
    }
    events.extend(announced(state, alerts, now));
    events
}

/// Announces the budgets that refused a request, unless only an unusually large request was refused.
pub(super) fn refused(state: &mut AccountState, bucket: &BucketId, amount: Money, now: Timestamp) -> Vec<Event> {
    let is_over = |budget: &Budget, spent: Money, held: Money| {
        let after = spent.checked_add(held).and_then(|sum| sum.checked_add(amount));
        after.is_none_or(|after| after > budget.limit) && spent.checked_add(spent).is_none_or(|twice| twice >= budget.limit)
    };
    let over: Vec<(ScopeKind, Budget, Money)> = standings(state, bucket, now)
        .take(MOST_BUDGETS)
        .filter(|(_, budget, spent, held)| is_over(budget, *spent, *held))
        .map(|(scope, budget, spent, _)| (scope.kind, budget.clone(), spent))
        .collect();
    let (mut alerts, mut events) = (Vec::new(), Vec::new());
    for (kind, budget, spent) in over {
        let (id, counters) = match (kind, &mut state.key, &mut state.project, &mut state.run) {
            (ScopeKind::Key, Some(key), _, _) => (key.record.id.as_str(), &mut key.counters),
            (ScopeKind::Project, _, Some(project), _) => (project.record.id.as_str(), &mut project.counters),
            (ScopeKind::Run, _, _, Some(run)) => (run.id.as_str(), &mut run.counters),
            _ => continue,
        };
        let alert = Alert { refused: true, ..alert((kind, id), &budget, spent, 100, now) };
        if is_news(counters, &budget, 100, now) {
            alerts.push(alert);
            events.push(match (kind, &state.key, &state.project, &state.run) {
                (ScopeKind::Key, Some(key), _, _) => Event::KeyTallied(key.record.id.clone(), key.counters.clone()),
                (ScopeKind::Project, _, Some(project), _) => {
                    Event::ProjectTallied(project.record.id.clone(), project.counters.clone())
                }
                (_, _, _, Some(run)) => Event::RunStored(Box::new(run.clone())),
                _ => continue,
            });
        }
    }
    events.extend(announced(state, alerts, now));
    events
}

fn announced(state: &mut AccountState, alerts: Vec<Alert>, now: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    for alert in alerts {
        // Without a change of balance this cannot fail.
        events.extend(state.append(now, Journaled::Alert(Box::new(alert)), None));
        events.push(Event::Alerted(state.head.seq));
    }
    events
}

/// The levels that a scope's budgets have reached since they were last announced; of each the highest.
fn reached(scope: (ScopeKind, &str), budgets: &[Budget], counters: &mut Counters, now: Timestamp) -> Vec<Alert> {
    let mut alerts = Vec::new();
    // Records from before there was a bound may have more; those limit as well, and are not announced.
    for budget in budgets.iter().take(MOST_BUDGETS) {
        let spent = counters.spent(&budget.bucket, budget.period, now);
        let part = |percent: &&u8| {
            let (spent, limit) = (i128::from(spent.nanos()), i128::from(budget.limit.nanos()));
            limit > 0 && spent.saturating_mul(100) >= limit.saturating_mul(i128::from(**percent))
        };
        let Some(percent) = LEVELS.iter().filter(part).max().copied() else { continue };
        if is_news(counters, budget, percent, now) {
            alerts.push(alert(scope, budget, spent, percent, now));
        }
    }
    alerts
}

fn alert((scope, id): (ScopeKind, &str), budget: &Budget, spent: Money, percent: u8, now: Timestamp) -> Alert {
    let start = budget.period.start(now).millis().max(0);
    Alert {
        id: format!(
            "alert-{}-{id}-{}-{}-{start}-{}-{percent}",
            scope.as_str(),
            budget.bucket,
            budget.period.as_str(),
            budget.limit
        ),
        scope,
        scope_id: id.to_owned(),
        bucket: budget.bucket.clone(),
        period: budget.period,
        limit: budget.limit,
        spent,
        percent,
        refused: false,
        resets_at: budget.period.end(now),
    }
}

/// Whether this level was not announced yet in this period; from now on it was.
fn is_news(counters: &mut Counters, budget: &Budget, percent: u8, now: Timestamp) -> bool {
    let start = budget.period.start(now);
    let is_same = |known: &Announced| {
        known.bucket == budget.bucket && known.period == budget.period && known.limit == budget.limit && known.start == start
    };
    if counters.announced.iter().any(|known| is_same(known) && known.percent >= percent) {
        return false;
    }
    let is_of_budget =
        |known: &Announced| known.bucket == budget.bucket && known.period == budget.period && known.limit == budget.limit;
    counters.announced.retain(|known| !is_of_budget(known));
    // Limits that are no more are forgotten at some time.
    if counters.announced.len() >= MOST_ANNOUNCED {
        counters.announced.remove(0);
    }
    counters.announced.push(Announced {
        bucket: budget.bucket.clone(),
        period: budget.period,
        start,
        limit: budget.limit,
        percent,
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Period;

    #[test]
    fn a_record_from_before_there_was_a_bound_is_announced_by_its_first_budgets_once() {
        let (bucket, now) = (BucketId::parse("credit").unwrap(), Timestamp::from_millis(1));
        let nanos = |nanos: i64| Money::from_nanos(nanos).unwrap();
        let budget = |at: i64| Budget { bucket: bucket.clone(), period: Period::Total, limit: nanos(at) };
        let budgets: Vec<Budget> = (1..=2_000).map(budget).collect();
        let mut counters = Counters::default();
        counters.count_usage(0, Some((&bucket, nanos(1_000_000))), now);
        let scope = (ScopeKind::Run, "run");
        assert_eq!(reached(scope, &budgets, &mut counters, now).len(), MOST_BUDGETS);
        assert!(reached(scope, &budgets, &mut counters, now).is_empty());
        assert!(MOST_BUDGETS * LEVELS.len() <= MOST_ANNOUNCED, "what is announced is remembered");
    }
}
