//! From a command to a decision: loads what the command touches and asks the part of the state machine that knows.
//!
//! What always holds: everything that a decision depends on is loaded here, over a [`AccountStore`]; what decides has no rows to look at
//! but those. Whoever loads also applies the events, in the same transaction.

use super::command::{AccountAnswer, Command};
use super::hold::hold;
use super::manage::{act, adjust, change_key, open_account, put_key, put_project, require_open};
use super::order::{expire_order, opened, pay, place, review};
use super::record::{AccountRecord, Claim, Counters, Event, Expired, Hold, KEPT_MS, MOST_KEPT, NOTED_MS, Order, SessionEnd};
use super::refund::{redeem, refund};
use super::run::open_run;
use super::session::end_sessions;
use super::settle::{checkpoint, expire, record_refused, settle};
use super::state::AccountState;
use crate::id::{BucketId, KeyId, OrderId, ProjectId, RequestId, RunId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// What a command is about; the rows that it touches are found by it. Key, run and claim of an open hold are found by it.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Touches<'a> {
    pub key: Option<&'a KeyId>,
    pub project: Option<&'a ProjectId>,
    pub run: Option<&'a RunId>,
    /// The subject of a journal row: a request, an adjustment, a refund, a code.
    pub subject: Option<&'a str>,
    pub claim: Option<&'a str>,
}

/// Where an account's rows are.
pub trait AccountStore {
    /// Why rows could not be loaded.
    type Error;
    /// What a decision depends on. A run that is named but not known yet is an empty one.
    fn state(&self, touches: Touches<'_>) -> Result<AccountState, Self::Error>;
    /// The account; none before it is opened.
    fn account(&self) -> Result<Option<AccountRecord>, Self::Error>;
    /// The adjustment of this id, if it was made.
    fn adjusted(&self, id: &str) -> Result<Option<(BucketId, Money)>, Self::Error>;
    /// What a key, or the keys of a project, spent so far, from the journal; for budgets that are new.
    fn spent(&self, key: Option<&KeyId>, project: Option<&ProjectId>, now: Timestamp) -> Result<Counters, Self::Error>;
    /// The order that was made with this request key.
    fn order_of_request(&self, key: &str) -> Result<Option<Order>, Self::Error>;
    /// How many orders are pending or in review.
    fn open_orders(&self) -> Result<u32, Self::Error>;
    /// One order.
    fn order(&self, id: &OrderId) -> Result<Option<Order>, Self::Error>;
    /// The idempotency claim that a request has, or had until another took it over.
    fn claim_of(&self, request: &RequestId) -> Result<Option<Claim>, Self::Error>;
    /// The last journal row whose answer was settled by this time, or is beyond the newest that make so many bytes in all.
    fn stale(&self, until: Timestamp, most_bytes: u64) -> Result<Option<u64>, Self::Error>;
    /// How a request ended whose hold expired, if nothing corrected that since.
    fn expired(&self, request: &RequestId) -> Result<Option<Expired>, Self::Error>;
    /// How many ends of sessions are noted that began after this.
    fn ended_sessions(&self, since: Timestamp) -> Result<u32, Self::Error>;
    /// The number of the last end of sessions that is noted; 1970 if there is none.
    fn last_end(&self) -> Result<Timestamp, Self::Error>;
}

/// Where an account's rows are, and are written.
pub trait AccountWriter: AccountStore {
    /// Writes what an event says.
    fn apply(&self, event: &Event) -> Result<(), Self::Error>;
    /// The last of the journal's subjects that begin with [`RequestId::MARK`], in the order of their bytes: the last one before
    /// `gen.`, by the index of subjects.
    fn last_closed(&self) -> Result<Option<String>, Self::Error>;
    /// An error that says this.
    fn fault(what: String) -> Self::Error;
}

/// An answer, and what changes with it.
pub type Decided = (AccountAnswer, Vec<Event>);

fn done(events: Vec<Event>) -> Decided {
    (AccountAnswer::Done, events)
}

fn or_refused(decided: Result<Vec<Event>, Refusal>) -> Decided {
    match decided {
        Ok(events) => done(events),
        Err(refusal) => (AccountAnswer::Refused(refusal), Vec::new()),
    }
}

fn order_or_refused(decided: Result<(Order, Vec<Event>), Refusal>) -> Decided {
    match decided {
        Ok((order, events)) => (AccountAnswer::Order(Box::new(order)), events),
        Err(refusal) => (AccountAnswer::Refused(refusal), Vec::new()),
    }
}

/// Decides on a command. Its events are to be applied in one transaction with the loading, all or none.
pub fn decide<S: AccountStore>(store: &S, command: Command, now: Timestamp) -> Result<Decided, S::Error> {
    let of_subject = |subject: &str| store.state(Touches { subject: Some(subject), ..Touches::default() });
    let of_order = |id: &OrderId| Ok(AccountState { order: store.order(id)?, ..store.state(Touches::default())? });
    Ok(match command {
        Command::Hold(request) => {
            let touches = Touches {
                key: Some(&request.facts.key),
                run: request.facts.run.as_ref(),
                subject: Some(request.facts.request.as_str()),
                claim: request.idempotency.as_ref().map(|(id, _)| id.as_str()),
                ..Touches::default()
            };
            let (answer, events) = hold(store.state(touches)?, *request, now);
            (AccountAnswer::Hold(answer), events)
        }
        Command::Settle(settlement) => {
            let state = of_subject(settlement.request.as_str())?;
            let expired = if state.hold.is_none() && state.closed { store.expired(&settlement.request)? } else { None };
            let state = match &expired {
                // What a late settlement touches is found by the receipt.
                Some(expired) => store.state(Touches {
                    key: Some(&expired.key),
                    run: expired.run.as_ref(),
                    subject: Some(settlement.request.as_str()),
                    ..Touches::default()
                })?,
                None => state,
            };
            let claim = if expired.is_some() { store.claim_of(&settlement.request)? } else { state.claim.clone() };
            done(settle(AccountState { expired, claim, ..state }, *settlement, now))
        }
        Command::Checkpoint(extension) => {
            let state = of_subject(extension.request.as_str())?;
            done(checkpoint(&state, *extension, now))
        }
        Command::RecordRefused(refused) => {
            let (facts, outcome) = *refused;
            let touches = Touches { run: facts.run.as_ref(), subject: Some(facts.request.as_str()), ..Touches::default() };
            let mut state = store.state(touches)?;
            done(record_refused(&mut state, facts, outcome, now))
        }
        Command::Open(record) => {
            let state = AccountState { account: store.account()?, ..store.state(Touches::default())? };
            or_refused(open_account(state, record, now))
        }
        Command::PutProject(signed) => {
            let id = &signed.record.id;
            let state = store.state(Touches { project: Some(id), ..Touches::default() })?;
            let counters = store.spent(None, Some(id), state.time(now))?;
            or_refused(put_project(state, signed, counters, now))
        }
        Command::PutKey(signed) => {
            let KeyRecord { id, project, .. } = &signed.record;
            let touches = Touches { key: Some(id), project: Some(project), ..Touches::default() };
            or_refused(put_key(store.state(touches)?, *signed, now))
        }
        Command::ChangeKey(key, change) => {
            let state = store.state(Touches { key: Some(&key), ..Touches::default() })?;
            let counters = store.spent(Some(&key), None, state.time(now))?;
            match change_key(state, change, counters, now) {
                Ok((record, events)) => (AccountAnswer::Key(Box::new(record)), events),
                Err(refusal) => (AccountAnswer::Refused(refusal), Vec::new()),
            }
        }
        Command::Adjust(adjustment) => {
            let state = AccountState { adjusted: store.adjusted(&adjustment.id)?, ..store.state(Touches::default())? };
            or_refused(adjust(state, adjustment, now))
        }
        Command::OpenRun(record) => {
            or_refused(open_run(store.state(Touches { run: Some(&record.id), ..Touches::default() })?, record, now))
        }
        Command::Place(order) => {
            let known = order.request_key.as_deref().map_or(Ok(None), |key| store.order_of_request(key))?;
            let state = AccountState { order: known, open_orders: store.open_orders()?, ..store.state(Touches::default())? };
            order_or_refused(require_open(&state).and_then(|()| place(state, *order, now)))
        }
        Command::Opened(id, answer) => order_or_refused(opened(of_order(&id)?, answer, now)),
        Command::Pay(event) => order_or_refused(pay(of_order(&event.order)?, *event, now)),
        Command::Verdict(id, verdict) => order_or_refused(review(of_order(&id)?, verdict, now)),
        Command::Refund(request) => order_or_refused(refund(of_order(&request.order)?, request, now)),
        Command::Redeem(redemption, bucket, amount) => {
            let state = of_subject(&redemption.subject())?;
            or_refused(require_open(&state).and_then(|()| redeem(state, (redemption, bucket, amount), now)))
        }
        Command::Act(acted) => {
            let state = AccountState { account: store.account()?, ..store.state(Touches::default())? };
            done(act(state, *acted, now))
        }
        Command::EndSessions(end) => {
            let last_end = store.last_end()?;
            let noted = if let SessionEnd::Of(_) = end { store.ended_sessions(now.plus(-NOTED_MS))? } else { 0 };
            done(end_sessions(end, (last_end, noted), now))
        }
        Command::Flush | Command::Read(_) => done(Vec::new()),
    })
}

/// Ends a hold if its deadline has passed.
pub fn end_hold<S: AccountStore>(store: &S, due: &Hold, now: Timestamp) -> Result<Vec<Event>, S::Error> {
    let touches = Touches { key: Some(&due.key), subject: Some(due.request.as_str()), ..Touches::default() };
    Ok(expire(store.state(touches)?, now))
}

/// Ends a pending order if its time is over.
pub fn end_order<S: AccountStore>(store: &S, id: &OrderId, now: Timestamp) -> Result<Vec<Event>, S::Error> {
    Ok(expire_order(AccountState { order: store.order(id)?, ..store.state(Touches::default())? }, now))
}

/// Forgets what was kept for long enough, and the oldest where there is no more room.
pub fn forget<S: AccountStore>(store: &S, now: Timestamp) -> Result<Vec<Event>, S::Error> {
    let last = store.stale(now.plus(-KEPT_MS), MOST_KEPT)?;
    Ok(last.map(Event::Forgotten).into_iter().collect())
}
