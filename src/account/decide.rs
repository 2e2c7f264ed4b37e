//! From a command to a decision: loads what the command touches and asks the part of the state machine that knows.
//!
//! What always holds: everything that a decision depends on is loaded here, over a [`Shelf`]; what decides has no rows to look at
//! but those. Whoever loads also applies the events, in the same transaction.

use super::books::Books;
use super::command::{Answer, Command};
use super::hold::hold;
use super::manage::{act, adjust, change_key, open_account, put_key, put_project, require_open};
use super::order::{expire_order, opened, pay, place, review};
use super::record::{AccountRecord, Claim, Event, Expired, Hold, KEPT_MS, MOST_KEPT, NOTED_MS, Order, SessionEnd, Tally};
use super::refund::{redeem, refund};
use super::run::open_run;
use super::session::end_sessions;
use super::settle::{checkpoint, expire, record_refused, settle};
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
pub trait Shelf {
    /// Why rows could not be loaded.
    type Error;
    /// What a decision depends on. A run that is named but not known yet is an empty one.
    fn books(&self, touches: Touches<'_>) -> Result<Books, Self::Error>;
    /// The account; none before it is opened.
    fn account(&self) -> Result<Option<AccountRecord>, Self::Error>;
    /// The adjustment of this id, if it was made.
    fn adjusted(&self, id: &str) -> Result<Option<(BucketId, Money)>, Self::Error>;
    /// What a key, or the keys of a project, spent so far, from the journal; for budgets that are new.
    fn spent(&self, key: Option<&KeyId>, project: Option<&ProjectId>, now: Timestamp) -> Result<Tally, Self::Error>;
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

/// An answer, and what changes with it.
pub type Decided = (Answer, Vec<Event>);

fn done(events: Vec<Event>) -> Decided {
    (Answer::Done, events)
}

fn or_refused(decided: Result<Vec<Event>, Refusal>) -> Decided {
    match decided {
        Ok(events) => done(events),
        Err(refusal) => (Answer::Refused(refusal), Vec::new()),
    }
}

fn order_or_refused(decided: Result<(Order, Vec<Event>), Refusal>) -> Decided {
    match decided {
        Ok((order, events)) => (Answer::Order(Box::new(order)), events),
        Err(refusal) => (Answer::Refused(refusal), Vec::new()),
    }
}

/// Decides on a command. Its events are to be applied in one transaction with the loading, all or none.
pub fn decide<S: Shelf>(shelf: &S, command: Command, now: Timestamp) -> Result<Decided, S::Error> {
    let of_subject = |subject: &str| shelf.books(Touches { subject: Some(subject), ..Touches::default() });
    let of_order = |id: &OrderId| Ok(Books { order: shelf.order(id)?, ..shelf.books(Touches::default())? });
    Ok(match command {
        Command::Hold(request) => {
            let touches = Touches {
                key: Some(&request.facts.key),
                run: request.facts.run.as_ref(),
                subject: Some(request.facts.request.as_str()),
                claim: request.idempotency.as_ref().map(|(id, _)| id.as_str()),
                ..Touches::default()
            };
            let (answer, events) = hold(shelf.books(touches)?, *request, now);
            (Answer::Hold(answer), events)
        }
        Command::Settle(settlement) => {
            let books = of_subject(settlement.request.as_str())?;
            let expired = if books.hold.is_none() && books.closed { shelf.expired(&settlement.request)? } else { None };
            let books = match &expired {
                // What a late settlement touches is found by the receipt.
                Some(expired) => shelf.books(Touches {
                    key: Some(&expired.key),
                    run: expired.run.as_ref(),
                    subject: Some(settlement.request.as_str()),
                    ..Touches::default()
                })?,
                None => books,
            };
            let claim = if expired.is_some() { shelf.claim_of(&settlement.request)? } else { books.claim.clone() };
            done(settle(Books { expired, claim, ..books }, *settlement, now))
        }
        Command::Checkpoint(extension) => {
            let books = of_subject(extension.request.as_str())?;
            done(checkpoint(&books, *extension, now))
        }
        Command::RecordRefused(refused) => {
            let (facts, outcome) = *refused;
            let touches = Touches { run: facts.run.as_ref(), subject: Some(facts.request.as_str()), ..Touches::default() };
            let mut books = shelf.books(touches)?;
            done(record_refused(&mut books, facts, outcome, now))
        }
        Command::Open(record) => {
            let books = Books { account: shelf.account()?, ..shelf.books(Touches::default())? };
            or_refused(open_account(books, record, now))
        }
        Command::PutProject(signed) => {
            let id = &signed.record.id;
            let books = shelf.books(Touches { project: Some(id), ..Touches::default() })?;
            let tally = shelf.spent(None, Some(id), books.time(now))?;
            or_refused(put_project(books, signed, tally, now))
        }
        Command::PutKey(signed) => {
            let KeyRecord { id, project, .. } = &signed.record;
            let touches = Touches { key: Some(id), project: Some(project), ..Touches::default() };
            or_refused(put_key(shelf.books(touches)?, *signed, now))
        }
        Command::ChangeKey(key, change) => {
            let books = shelf.books(Touches { key: Some(&key), ..Touches::default() })?;
            let tally = shelf.spent(Some(&key), None, books.time(now))?;
            match change_key(books, change, tally, now) {
                Ok((record, events)) => (Answer::Key(Box::new(record)), events),
                Err(refusal) => (Answer::Refused(refusal), Vec::new()),
            }
        }
        Command::Adjust(adjustment) => {
            let books = Books { adjusted: shelf.adjusted(&adjustment.id)?, ..shelf.books(Touches::default())? };
            or_refused(adjust(books, adjustment, now))
        }
        Command::OpenRun(record) => {
            or_refused(open_run(shelf.books(Touches { run: Some(&record.id), ..Touches::default() })?, record, now))
        }
        Command::Place(order) => {
            let known = order.request_key.as_deref().map_or(Ok(None), |key| shelf.order_of_request(key))?;
            let books = Books { order: known, open_orders: shelf.open_orders()?, ..shelf.books(Touches::default())? };
            order_or_refused(require_open(&books).and_then(|()| place(books, *order, now)))
        }
        Command::Opened(id, answer) => order_or_refused(opened(of_order(&id)?, answer, now)),
        Command::Pay(event) => order_or_refused(pay(of_order(&event.order)?, *event, now)),
        Command::Review(id, verdict) => order_or_refused(review(of_order(&id)?, verdict, now)),
        Command::Refund(request) => order_or_refused(refund(of_order(&request.order)?, request, now)),
        Command::Redeem(redemption, bucket, amount) => {
            let books = of_subject(&redemption.subject())?;
            or_refused(require_open(&books).and_then(|()| redeem(books, (redemption, bucket, amount), now)))
        }
        Command::Act(acted) => {
            let books = Books { account: shelf.account()?, ..shelf.books(Touches::default())? };
            done(act(books, *acted, now))
        }
        Command::EndSessions(end) => {
            let last_end = shelf.last_end()?;
            let noted = if let SessionEnd::Of(_) = end { shelf.ended_sessions(now.plus(-NOTED_MS))? } else { 0 };
            done(end_sessions(end, (last_end, noted), now))
        }
        Command::Flush | Command::Read(_) => done(Vec::new()),
    })
}

/// Ends a hold if its deadline has passed.
pub fn end_hold<S: Shelf>(shelf: &S, due: &Hold, now: Timestamp) -> Result<Vec<Event>, S::Error> {
    let touches = Touches { key: Some(&due.key), subject: Some(due.request.as_str()), ..Touches::default() };
    Ok(expire(shelf.books(touches)?, now))
}

/// Ends a pending order if its time is over.
pub fn end_order<S: Shelf>(shelf: &S, id: &OrderId, now: Timestamp) -> Result<Vec<Event>, S::Error> {
    Ok(expire_order(Books { order: shelf.order(id)?, ..shelf.books(Touches::default())? }, now))
}

/// Forgets what was kept for long enough, and the oldest where there is no more room.
pub fn forget<S: Shelf>(shelf: &S, now: Timestamp) -> Result<Vec<Event>, S::Error> {
    let last = shelf.stale(now.plus(-KEPT_MS), MOST_KEPT)?;
    Ok(last.map(Event::Forgotten).into_iter().collect())
}
