//! What the operator does: open an account, make projects and keys, change and revoke keys, credit and debit; and what is noted
//! of the rest.
//!
//! What always holds: nothing is made or credited before the account is open; the same command once more changes no balance; each
//! change leaves a row of the journal, with who made it and why where that was said.

use serde_json::{Map, Value};

use super::record::{
    AccountRecord, Adjustment, AdjustmentRecord, Counters, Event, Journaled, KeyChange, Noted, OPERATOR, OperatorAct,
    ProjectRecord, Signed,
};
use super::refusal::{no_account, other_adjustment, out_of_range};
use super::state::AccountState;
use crate::id::{AccountId, ProjectId};
use crate::key::{KeyRecord, Policy};
use crate::money::Money;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// Opens the account with its first project. The same command once more changes nothing; another one is refused.
pub fn open_account(mut state: AccountState, signed: Signed<AccountRecord>, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let Signed { record, by } = signed;
    if let Some(known) = &state.account {
        let message = format!("There is already an account `{}`.", known.id);
        let refusal = Refusal::new(Code::Conflict, message, "Choose another id, or leave it out.").param("id");
        return if *known == record { Ok(Vec::new()) } else { Err(refusal.fact("name", known.name.as_str())) };
    }
    let project = ProjectRecord {
        id: ProjectId::first(),
        account: record.id.clone(),
        name: "Default".to_owned(),
        budgets: Vec::new(),
        created_at: now,
    };
    let mut events = vec![Event::AccountStored(record.clone()), Event::ProjectStored(project.clone(), Counters::default())];
    let name = format!("account {}", record.id);
    events.extend(state.append(now, Journaled::Account(Noted::new(&name, None, record, by.clone())), None));
    let name = format!("project {}", project.id);
    events.extend(state.append(now, Journaled::Project(Noted::new(&name, None, project, by)), None));
    Ok(events)
}

/// Makes or replaces a project. `counters` is what its keys spent so far, so that new budgets count it.
pub fn put_project(
    mut state: AccountState,
    signed: Signed<ProjectRecord>,
    counters: Counters,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    require_open(&state)?;
    let Signed { record, by } = signed;
    let (before, announced) = state.project.take().map(|known| (known.record, known.counters.announced)).unzip();
    let announced = announced.unwrap_or_default();
    let mut events = vec![Event::ProjectStored(record.clone(), Counters { announced, ..counters })];
    let noted = Noted::new(&format!("project {}", record.id), before.as_ref(), record, by);
    events.extend(state.append(now, Journaled::Project(noted), None));
    Ok(events)
}

/// Makes a key.
pub fn put_key(mut state: AccountState, signed: Signed<KeyRecord>, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    require_open(&state)?;
    let Signed { record, by } = signed;
    if state.project.is_none() {
        let message = format!("There is no project `{}` in this account.", record.project);
        return Err(Refusal::new(Code::NotFound, message, "Create the project first, or leave it out.").param("project"));
    }
    if state.key.is_some() {
        return Ok(Vec::new());
    }
    let mut events = vec![Event::KeyStored(Box::new(record.clone()), Counters::default())];
    let noted = Noted::new(&key_name(&record), None, record, by);
    events.extend(state.append(now, Journaled::Key(Box::new(noted)), None));
    Ok(events)
}

/// Changes or revokes a key. `counters` is what it spent so far, so that new budgets count it.
pub fn change_key(
    mut state: AccountState,
    change: KeyChange,
    counters: Counters,
    now: Timestamp,
) -> Result<(KeyRecord, Vec<Event>), Refusal> {
    let Some(key) = state.key.take() else {
        return Err(Refusal::new(Code::NotFound, "There is no such key in this account.", "List the account's keys."));
    };
    let before = key.record.clone();
    let mut record = key.record;
    record.policy = patched(&record.policy, change.policy)?;
    if let Some(label) = change.label {
        record.label = label;
    }
    if change.revoke && record.revoked_at.is_none() {
        record.revoked_at = Some(now);
    }
    record.version = record.version.saturating_add(1);
    let counters = Counters { spent: counters.spent, ..key.counters };
    let mut events = vec![Event::KeyStored(Box::new(record.clone()), counters)];
    let noted = Noted::new(&key_name(&record), Some(&before), record.clone(), change.by);
    events.extend(state.append(now, Journaled::Key(Box::new(noted)), None));
    Ok((record, events))
}

fn key_name(record: &KeyRecord) -> String {
    format!("key {}", record.id)
}

fn patched(policy: &Policy, changes: Map<String, Value>) -> Result<Policy, Refusal> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(policy) else {
        return Err(Refusal::unavailable("a policy did not become an object"));
    };
    fields.extend(changes);
    serde_json::from_str(&Value::Object(fields).to_string())
        .map_err(|error| Refusal::new(Code::InvalidRequest, format!("The policy is not valid: {error}."), "Correct the field."))
}

/// Credits or debits a bucket; the same id a second time changes nothing. A debit takes at most what is not held.
pub fn adjust(mut state: AccountState, adjustment: Adjustment, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    require_open(&state)?;
    if let Some((bucket, amount)) = &state.adjusted {
        let is_same = (bucket, amount) == (&adjustment.bucket, &adjustment.amount);
        return if is_same { Ok(Vec::new()) } else { Err(other_adjustment()) };
    }
    let available = state.available(&adjustment.bucket);
    let after = available.checked_add(adjustment.amount);
    if adjustment.amount == Money::ZERO || after.is_none_or(Money::is_negative) {
        let message =
            format!("`{}` has {available} available; an adjustment by {} is not possible.", adjustment.bucket, adjustment.amount);
        return Err(Refusal::new(Code::InvalidRequest, message, "Choose another amount.").param("amount"));
    }
    let Adjustment { id, bucket, amount, reason, author, on_behalf_of, note } = adjustment;
    let record = AdjustmentRecord { id, reason, author, on_behalf_of, note };
    let row = state.append(now, Journaled::Adjustment(record), Some((&bucket, amount)));
    let row = row.map_err(|_| out_of_range())?;
    let mut events = vec![row];
    events.extend(state.collect(&bucket, now));
    Ok(events)
}

/// Notes something that the operator did. The first one gives the journal its owner, without which it is not copied.
pub fn act(mut state: AccountState, act: OperatorAct, now: Timestamp) -> Vec<Event> {
    let owner = AccountId::parse(OPERATOR).filter(|_| state.account.is_none());
    let owner = owner.map(|id| AccountRecord { id, name: "What the operator did".to_owned(), created_at: now });
    let mut events: Vec<Event> = owner.map(Event::AccountStored).into_iter().collect();
    // Without a change of balance this cannot fail.
    events.extend(state.append(now, Journaled::Act(Box::new(act)), None));
    events
}

pub(super) fn require_open(state: &AccountState) -> Result<(), Refusal> {
    if state.head.seq > 0 {
        return Ok(());
    }
    Err(no_account())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{ActKind, By, Done, RowKind};

    #[test]
    fn the_first_act_gives_the_journal_its_owner_and_the_next_do_not() {
        let done = |what: &str| Done {
            by: By { author: "kim".to_owned(), on_behalf_of: None, reason: None },
            what: what.to_owned(),
            fields: Map::new(),
        };
        let first =
            act(AccountState::default(), OperatorAct { kind: ActKind::Code, done: done("codes made") }, Timestamp::default());
        let [Event::AccountStored(owner), Event::Journaled(row)] = first.as_slice() else { panic!("{first:?}") };
        assert_eq!((owner.id.as_str(), row.journaled.kind(), row.amount), (OPERATOR, RowKind::Code, None));
        let state = AccountState { account: Some(owner.clone()), ..AccountState::default() };
        let next = act(state, OperatorAct { kind: ActKind::Probe, done: done("round run") }, Timestamp::default());
        assert!(matches!(next.as_slice(), [Event::Journaled(row)] if row.journaled.kind() == RowKind::Probe));
    }
}
