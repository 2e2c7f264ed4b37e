//! A group: commands that waited are decided one after the other and written in one transaction.
//!
//! What always holds: each command is decided as if those before it in the group were stored already; what is stored in the end
//! is what each alone would have stored. If anything fails, nothing of the group is stored and nothing is remembered, and each
//! command runs alone: then one that fails answers its own error, and the others stand. All that stands in [`together`] and
//! [`within`]; the caller brings the transaction.
//!
//! There is no `await` in a group, so nothing is stored between what is remembered and what is decided by it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::command::{AccountAnswer, Command};
use super::decide::{AccountStore, AccountWriter, Touches, decide, end_hold, end_order, forget};
use super::memory::Memory;
use super::record::{AccountRecord, Claim, Counters, Event, Expired, Hold, Order};
use super::state::AccountState;
use crate::id::{BucketId, KeyId, OrderId, ProjectId, RequestId};
use crate::money::Money;
use crate::time::Timestamp;

/// So many commands share a transaction: what all of them write waits for one confirmation, and a group that fails is repeated
/// one by one.
pub const MOST_IN_A_GROUP: usize = 256;

/// Runs what it is given, once, so that all of its writes stand or none; an error rolls back.
pub type Atomically<'a, E> = dyn FnMut(&mut dyn FnMut() -> Result<(), E>) -> Result<(), E> + 'a;

/// Commands that are decided in one transaction, which whoever makes the group has opened.
pub struct Group<'a, S> {
    store: &'a S,
    memory: &'a RefCell<Memory>,
    /// What is remembered already, but not yet written.
    pending: RefCell<Vec<Event>>,
    is_changed: Cell<bool>,
}

impl<'a, S: AccountWriter> Group<'a, S> {
    /// A group of nothing yet.
    pub const fn new(store: &'a S, memory: &'a RefCell<Memory>) -> Self {
        Self { store, memory, pending: RefCell::new(Vec::new()), is_changed: Cell::new(false) }
    }

    /// Decides on a command. What changes is remembered at once, and waits to be written.
    pub fn command(&self, command: Command, now: Timestamp) -> Result<AccountAnswer, S::Error> {
        let (answer, events) = decide(self, command, now)?;
        self.follow(events);
        Ok(answer)
    }

    /// Ends a hold if its deadline has passed; whether it had.
    pub fn end_hold(&self, due: &Hold, now: Timestamp) -> Result<bool, S::Error> {
        Ok(self.follow(end_hold(self, due, now)?))
    }

    /// Ends a pending order if its time is over; whether it was.
    pub fn end_order(&self, id: &OrderId, now: Timestamp) -> Result<bool, S::Error> {
        Ok(self.follow(end_order(self, id, now)?))
    }

    /// Forgets what was kept for long enough; whether there was any.
    pub fn forget(&self, now: Timestamp) -> Result<bool, S::Error> {
        Ok(self.follow(forget(self, now)?))
    }

    /// Writes what is pending. Answers whether anything changed.
    pub fn finish(self) -> Result<bool, S::Error> {
        self.write()?;
        Ok(self.is_changed.get())
    }

    fn follow(&self, events: Vec<Event>) -> bool {
        let is_changed = !events.is_empty();
        if is_changed {
            let mut memory = self.memory.borrow_mut();
            events.iter().for_each(|event| memory.apply(event));
            self.pending.borrow_mut().extend(events);
            self.is_changed.set(true);
        }
        is_changed
    }

    /// Writes what is pending: what the store is asked depends on it.
    fn write(&self) -> Result<&S, S::Error> {
        let pending = self.pending.take();
        let stays = folded(&pending);
        pending.iter().zip(stays).filter(|(_, stays)| *stays).try_for_each(|(event, _)| self.store.apply(event))?;
        Ok(self.store)
    }
}

impl<S: AccountWriter> AccountStore for Group<'_, S> {
    type Error = S::Error;

    fn state(&self, touches: Touches<'_>) -> Result<AccountState, S::Error> {
        if let Some(state) = self.memory.borrow().state(&touches) {
            return Ok(state);
        }
        let state = self.write()?.state(touches)?;
        let is_empty = self.memory.borrow().is_empty();
        let last_closed = if is_empty { self.store.last_closed()? } else { None };
        let mut memory = self.memory.borrow_mut();
        if is_empty {
            memory.begin(&state, last_closed);
        } else if let Some(what) = memory.differs_in(&touches, &state) {
            return Err(S::fault(what));
        }
        memory.learn(&touches, &state);
        Ok(state)
    }

    fn account(&self) -> Result<Option<AccountRecord>, S::Error> {
        self.write()?.account()
    }

    fn adjusted(&self, id: &str) -> Result<Option<(BucketId, Money)>, S::Error> {
        self.write()?.adjusted(id)
    }

    fn spent(&self, key: Option<&KeyId>, project: Option<&ProjectId>, now: Timestamp) -> Result<Counters, S::Error> {
        self.write()?.spent(key, project, now)
    }

    fn order_of_request(&self, key: &str) -> Result<Option<Order>, S::Error> {
        self.write()?.order_of_request(key)
    }

    fn open_orders(&self) -> Result<u32, S::Error> {
        self.write()?.open_orders()
    }

    fn order(&self, id: &OrderId) -> Result<Option<Order>, S::Error> {
        self.write()?.order(id)
    }

    fn claim_of(&self, request: &RequestId) -> Result<Option<Claim>, S::Error> {
        self.write()?.claim_of(request)
    }

    fn stale(&self, until: Timestamp, most_bytes: u64) -> Result<Option<u64>, S::Error> {
        self.write()?.stale(until, most_bytes)
    }

    fn expired(&self, request: &RequestId) -> Result<Option<Expired>, S::Error> {
        self.write()?.expired(request)
    }

    fn ended_sessions(&self, since: Timestamp) -> Result<u32, S::Error> {
        self.write()?.ended_sessions(since)
    }

    fn last_end(&self) -> Result<Timestamp, S::Error> {
        self.write()?.last_end()
    }
}

/// What came of commands that were decided together.
#[derive(Debug)]
pub struct Together<E> {
    /// One for each command, in their order. An error: nothing of it is stored.
    pub answers: Vec<Result<AccountAnswer, E>>,
    /// Whether anything that is stored changed.
    pub is_changed: bool,
    /// Why groups were rolled back, and their commands ran alone.
    pub faults: Vec<E>,
}

/// Decides on `count` commands together, as many as fit into one group at a time. Where that fails, each runs alone. `command`
/// makes the command of a number, and is asked again for the command that runs alone.
pub fn together<S: AccountWriter>(
    (store, memory): (&S, &RefCell<Memory>),
    (count, mut command): (usize, impl FnMut(usize) -> Result<Command, S::Error>),
    now: Timestamp,
    atomically: &mut Atomically<'_, S::Error>,
) -> Together<S::Error> {
    let mut all = Together { answers: Vec::with_capacity(count), is_changed: false, faults: Vec::new() };
    for first in (0..count).step_by(MOST_IN_A_GROUP) {
        let group = first..count.min(first.saturating_add(MOST_IN_A_GROUP));
        let decided = within((store, memory), atomically, |decide| {
            group.clone().map(|number| decide.command(command(number)?, now)).collect::<Result<Vec<_>, _>>()
        });
        match decided {
            Ok((answers, is_changed)) => {
                all.answers.extend(answers.into_iter().map(Ok));
                all.is_changed |= is_changed;
            }
            Err(fault) => {
                all.faults.push(fault);
                for number in group {
                    let alone = within((store, memory), atomically, |decide| decide.command(command(number)?, now));
                    all.is_changed |= alone.as_ref().is_ok_and(|(_, is_changed)| *is_changed);
                    all.answers.push(alone.map(|(answer, _)| answer));
                }
            }
        }
    }
    all
}

/// Does something in a group of its own, in one transaction, and answers whether anything changed. If that fails, nothing of it is
/// stored, and nothing is remembered.
pub fn within<S: AccountWriter, T>(
    (store, memory): (&S, &RefCell<Memory>),
    atomically: &mut Atomically<'_, S::Error>,
    mut work: impl FnMut(&Group<'_, S>) -> Result<T, S::Error>,
) -> Result<(T, bool), S::Error> {
    let mut done = None;
    let committed = atomically(&mut || {
        let group = Group::new(store, memory);
        let value = work(&group)?;
        done = Some((value, group.finish()?));
        Ok(())
    });
    let outcome = committed.and_then(|()| done.ok_or_else(|| S::fault("the transaction did not run".to_owned())));
    if outcome.is_err() {
        memory.borrow_mut().clear();
    }
    outcome
}

/// Which events are still to be written, where later ones take their place.
fn folded(events: &[Event]) -> Vec<bool> {
    let mut fold = Fold { stays: vec![true; events.len()], ..Fold::default() };
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::KeyTallied(key, _) => fold.replace(Of::Key(key), at),
            Event::KeyStored(record, _) => fold.drop(Of::Key(&record.id)),
            Event::ProjectTallied(project, _) => fold.replace(Of::Project(project), at),
            Event::ProjectStored(record, _) => fold.drop(Of::Project(&record.id)),
            Event::RunStored(run) => fold.replace(Of::Run(run.id.as_str()), at),
            Event::Extended { request, .. } => fold.replace(Of::Extension(request), at),
            Event::Opened(hold) => {
                fold.drop(Of::Extension(&hold.request));
                // The first hold of a request replaces none, so that nothing of the request is written yet.
                let is_new = fold.opened.get(&hold.request).map_or(hold.leg == 0, |(_, is_new)| *is_new);
                if let Some((earlier, _)) = fold.opened.insert(&hold.request, (at, is_new)) {
                    fold.leave_out(earlier);
                }
            }
            Event::Closed(request) => {
                fold.drop(Of::Extension(request));
                if let Some((opened, true)) = fold.opened.remove(request) {
                    fold.leave_out(opened);
                    fold.leave_out(at);
                }
            }
            _ => {}
        }
    }
    fold.stays
}

/// What an event says all of, so that the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Of<'a> {
    Key(&'a KeyId),
    Project(&'a ProjectId),
    Run(&'a str),
    Extension(&'a RequestId),
}

#[derive(Default)]
struct Fold<'a> {
    stays: Vec<bool>,
    last: BTreeMap<Of<'a>, usize>,
    /// Holds that are opened, and whether nothing of their request was written before.
    opened: BTreeMap<&'a RequestId, (usize, bool)>,
}

impl<'a> Fold<'a> {
    fn leave_out(&mut self, at: usize) {
        if let Some(stays) = self.stays.get_mut(at) {
            *stays = false;
        }
    }

    fn drop(&mut self, of: Of<'a>) {
        if let Some(earlier) = self.last.remove(&of) {
            self.leave_out(earlier);
        }
    }

    fn replace(&mut self, of: Of<'a>, at: usize) {
        self.drop(of);
        self.last.insert(of, at);
    }
}
