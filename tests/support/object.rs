//! An account object: tables that are stored, what is remembered of them, and a store that fails when it is told to.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokens_forge::account::{
    AccountAnswer, AccountRecord, AccountState, AccountStore, AccountWriter, Claim, Command, Counters, Event, Expired, Group,
    Memory, Order, Together, Touches, together, within,
};
use tokens_forge::id::{BucketId, KeyId, OrderId, ProjectId, RequestId};
use tokens_forge::money::Money;
use tokens_forge::time::Timestamp;

use super::tables::Tables;

/// Why the store failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);

/// When the store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// When it is asked or written to, after so many times.
    After(usize),
    /// When it is written to, after so many times.
    Writing(usize),
    /// At the commit.
    AtCommit,
    /// Whenever the command of this number is read.
    Unreadable(usize),
    /// Whenever the command of this number is written alone, and once at the commit.
    NeverWritten(usize),
}

#[derive(Default)]
pub struct Object {
    pub tables: RefCell<Tables>,
    pub memory: RefCell<Memory>,
    failure: Cell<Option<Failure>>,
    /// Commands that were begun in this transaction, and which is the last.
    begun: Cell<(usize, usize)>,
    /// How often the store was asked for the state, or written to.
    pub asked: Cell<usize>,
    pub written: Cell<usize>,
}

/// What the store answers, where it cannot fail by itself.
fn answer<T>(answer: Result<T, Infallible>) -> T {
    let Ok(answer) = answer;
    answer
}

/// What is stored is read as it was.
fn stored<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let read: T = serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap();
    assert_eq!(read, *value, "what is read is what was stored");
}

impl Object {
    /// An object with these tables that remembers this.
    pub fn of(tables: &Tables, memory: &Memory) -> Self {
        Self { tables: RefCell::new(tables.clone()), memory: RefCell::new(memory.clone()), ..Self::default() }
    }

    /// One more call of the store.
    fn call(&self, is_write: bool) -> Result<(), Fault> {
        let fails = match self.failure.get() {
            Some(Failure::After(0)) => true,
            Some(Failure::Writing(0)) => is_write,
            Some(Failure::NeverWritten(number)) => is_write && self.begun.get() == (1, number),
            _ => false,
        };
        if fails {
            if !matches!(self.failure.get(), Some(Failure::NeverWritten(_))) {
                self.failure.set(None);
            }
            return Err(Fault("the store failed".to_owned()));
        }
        self.failure.set(match self.failure.get() {
            Some(Failure::After(more)) => Some(Failure::After(more - 1)),
            Some(Failure::Writing(more)) if is_write => Some(Failure::Writing(more - 1)),
            other => other,
        });
        Ok(())
    }

    /// A transaction. What was there is kept only where something is to fail.
    fn atomically(&self, body: &mut dyn FnMut() -> Result<(), Fault>) -> Result<(), Fault> {
        let before = self.failure.get().map(|_| self.tables.borrow().clone());
        self.begun.set((0, 0));
        let mut done = body();
        let fails_now = match self.failure.get() {
            Some(Failure::AtCommit) => true,
            Some(Failure::NeverWritten(_)) => self.begun.get().0 > 1,
            _ => false,
        };
        if done.is_ok() && fails_now {
            done = Err(Fault("the commit failed".to_owned()));
            if self.failure.get() == Some(Failure::AtCommit) {
                self.failure.set(None);
            }
        }
        if let (Err(_), Some(before)) = (&done, before) {
            *self.tables.borrow_mut() = before;
        }
        done
    }

    /// Decides on commands together, with a store that may fail.
    pub fn together(&self, commands: &[Command], now: Timestamp, failure: Option<Failure>) -> Together<Fault> {
        self.failure.set(failure);
        let command = |number: usize| {
            self.begun.set((self.begun.get().0 + 1, number));
            if self.failure.get() == Some(Failure::Unreadable(number)) {
                return Err(Fault("the command cannot be read".to_owned()));
            }
            Ok(commands[number].clone())
        };
        let together = together((self, &self.memory), (commands.len(), command), now, &mut |body| self.atomically(body));
        self.failure.set(None);
        together
    }

    /// Does something in a group of its own, as the alarm does.
    pub fn within<T>(
        &self,
        failure: Option<Failure>,
        work: impl FnMut(&Group<'_, Self>) -> Result<T, Fault>,
    ) -> Result<(T, bool), Fault> {
        self.failure.set(failure);
        let done = within((self, &self.memory), &mut |body| self.atomically(body), work);
        self.failure.set(None);
        done
    }

    /// The object dies when it has written so many events of a group, or just before its commit. What it would have answered, and
    /// what a part of the transaction would have left behind.
    pub fn dies_within(&self, commands: &[Command], now: Timestamp, written: usize) -> (Vec<AccountAnswer>, Tables) {
        let before = self.tables.borrow().clone();
        self.failure.set(Some(Failure::Writing(written)));
        let (group, mut answers) = (Group::new(self, &self.memory), Vec::new());
        for command in commands {
            match group.command(command.clone(), now) {
                Ok(answer) => answers.push(answer),
                Err(Fault(_)) => break,
            }
        }
        let _ = group.finish();
        self.failure.set(None);
        self.restart();
        (answers, self.tables.replace(before))
    }

    /// What it answers, and how much it writes; nothing of it is stored.
    pub fn only_decides(&self, commands: &[Command], now: Timestamp) -> (Vec<AccountAnswer>, usize) {
        let (mut answers, before) = (Vec::new(), self.written.get());
        let decided = self.within(Some(Failure::AtCommit), |group| {
            let decided = commands.iter().map(|command| group.command(command.clone(), now));
            answers = decided.collect::<Result<_, _>>()?;
            Ok(())
        });
        assert_eq!(decided, Err(Fault("the commit failed".to_owned())));
        (answers, self.written.get() - before)
    }

    /// Nothing is remembered any more.
    pub fn restart(&self) {
        self.memory.replace(Memory::default());
    }

    /// What is remembered, but is not what is stored.
    pub fn differs(&self) -> Option<String> {
        let asked = self.asked.get();
        let differs = self.memory.borrow().differs_from(self).unwrap();
        self.asked.set(asked);
        differs
    }
}

impl AccountWriter for Object {
    fn apply(&self, event: &Event) -> Result<(), Fault> {
        self.call(true)?;
        self.written.set(self.written.get() + 1);
        match event {
            Event::Opened(hold) => stored(&**hold),
            Event::Journaled(row) => stored(&row.balances),
            Event::KeyStored(record, counters) => {
                stored(&**record);
                stored(counters);
            }
            Event::KeyTallied(_, counters) | Event::ProjectTallied(_, counters) => stored(counters),
            Event::ProjectStored(record, _) => stored(record),
            Event::RunStored(run) => {
                stored(&run.record);
                stored(&run.counters);
                stored(&run.lines);
            }
            _ => {}
        }
        self.tables.borrow_mut().apply(vec![event.clone()]);
        Ok(())
    }

    fn last_closed(&self) -> Result<Option<String>, Fault> {
        self.call(false)?;
        Ok(self.tables.borrow().last_closed())
    }

    fn fault(what: String) -> Fault {
        Fault(what)
    }
}

impl AccountStore for Object {
    type Error = Fault;

    fn state(&self, touches: Touches<'_>) -> Result<AccountState, Fault> {
        self.call(false)?;
        self.asked.set(self.asked.get() + 1);
        Ok(answer(self.tables.borrow().state(touches)))
    }

    fn account(&self) -> Result<Option<AccountRecord>, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().account()))
    }

    fn adjusted(&self, id: &str) -> Result<Option<(BucketId, Money)>, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().adjusted(id)))
    }

    fn spent(&self, key: Option<&KeyId>, project: Option<&ProjectId>, now: Timestamp) -> Result<Counters, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().spent(key, project, now)))
    }

    fn order_of_request(&self, key: &str) -> Result<Option<Order>, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().order_of_request(key)))
    }

    fn open_orders(&self) -> Result<u32, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().open_orders()))
    }

    fn order(&self, id: &OrderId) -> Result<Option<Order>, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().order(id)))
    }

    fn claim_of(&self, request: &RequestId) -> Result<Option<Claim>, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().claim_of(request)))
    }

    fn stale(&self, until: Timestamp, most_bytes: u64) -> Result<Option<u64>, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().stale(until, most_bytes)))
    }

    fn expired(&self, request: &RequestId) -> Result<Option<Expired>, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().expired(request)))
    }

    fn ended_sessions(&self, since: Timestamp) -> Result<u32, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().ended_sessions(since)))
    }

    fn last_end(&self) -> Result<Timestamp, Fault> {
        self.call(false)?;
        Ok(answer(self.tables.borrow().last_end()))
    }
}
