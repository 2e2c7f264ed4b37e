//! What an account object remembers between commands: a copy of what is stored, so that most decisions load nothing.
//!
//! What always holds: what is remembered equals what is stored, as soon as the events that it followed are stored too. What is
//! not certain is not answered, and the store is asked. What is remembered is bounded; beyond a bound it is forgotten.
//!
//! That a request is *not* in the journal is certain without any clock: ids of requests sort, the journal says once which is
//! its last, and what was appended since is remembered. So a later id that was not appended since is not there.
//!
//! Deliberately absent: idempotency claims, orders, sessions, kept answers. They are asked for seldom, and by the store.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{AccountWriter, Touches};
use super::record::{Event, HeldSum, Hold, JournalHead, Row, RunBook};
use super::state::{AccountState, KeyBook, ProjectBook};
use crate::id::{KeyId, ProjectId, RequestId, RunId};
use crate::money::Money;

/// So many open holds are remembered, of about 2 KB each. While there are more, the store is asked about requests that are new.
pub const MOST_HOLDS: usize = 2_000;
/// So many keys are remembered, and so many projects.
pub const MOST_KEYS: usize = 200;
/// So many runs are remembered.
pub const MOST_RUNS: usize = 200;
/// So many lines of runs are remembered, in all of them together.
pub const MOST_LINES: usize = 2_000;
/// So many requests are remembered as ended. Of ids that are earlier than all of these nothing is certain.
pub const MOST_SUBJECTS: usize = 2_000;

/// A copy of a part of what is stored.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    books: Option<Books>,
    holds: BTreeMap<RequestId, Hold>,
    keys: BTreeMap<KeyId, KeyBook>,
    projects: BTreeMap<ProjectId, ProjectBook>,
    runs: BTreeMap<RunId, RunBook>,
    /// How many lines the runs have.
    lines: usize,
    /// What was appended to the journal of requests that are later than `last_closed`.
    subjects: BTreeSet<String>,
}

/// What every decision needs.
#[derive(Debug, Clone)]
struct Books {
    head: JournalHead,
    held: Vec<HeldSum>,
    /// How many holds are open.
    open: usize,
    /// Of requests up to this one nothing is certain; later ones are in the journal only if they are among the subjects.
    last_closed: String,
}

impl Memory {
    /// Whether nothing is remembered, so that the store is asked first.
    pub const fn is_empty(&self) -> bool {
        self.books.is_none()
    }

    /// The state, if all of it is remembered: what the store would answer, but for the order of `held`, on which no decision
    /// depends. None: ask the store.
    pub fn state(&self, touches: &Touches<'_>) -> Option<AccountState> {
        let books = self.books.as_ref()?;
        let hold = match touches.subject {
            Some(subject) => self.open(books, subject)?,
            None => None,
        };
        if touches.claim.is_some() || hold.is_some_and(|hold| hold.claim.is_some()) {
            return None;
        }
        let key = all_or_none(touches.key.or(hold.map(|hold| &hold.key)), |id| self.keys.get(id))?;
        let project = touches.project.or(key.map(|key| &key.record.project));
        let project = all_or_none(project, |id| self.projects.get(id))?;
        let run = touches.run.or(hold.and_then(|hold| hold.facts.run.as_ref()));
        let run = all_or_none(run, |id| self.runs.get(id))?;
        Some(AccountState {
            head: books.head.clone(),
            held: books.held.clone(),
            key: key.cloned(),
            project: project.cloned(),
            run: run.cloned(),
            hold: hold.cloned(),
            ..AccountState::default()
        })
    }

    /// The open hold of a request that is certainly not closed; none if that is not certain.
    fn open(&self, books: &Books, subject: &str) -> Option<Option<&Hold>> {
        if let Some(hold) = self.holds.get(subject) {
            return Some(Some(hold));
        }
        let is_new = subject.starts_with(RequestId::MARK)
            && subject > books.last_closed.as_str()
            && !self.subjects.contains(subject)
            && self.holds.len() == books.open;
        is_new.then_some(None)
    }

    /// Begins to remember, with the state that the store answered and the last request that is in its journal.
    pub fn begin(&mut self, state: &AccountState, last_closed: Option<String>) {
        self.clear();
        let open = state.held.iter().fold(0, |sum: usize, held| sum.saturating_add(count(held)));
        let (head, held) = (state.head.clone(), state.held.clone());
        self.books = Some(Books { head, held, open, last_closed: last_closed.unwrap_or_default() });
    }

    /// Remembers what the store answered.
    pub fn learn(&mut self, touches: &Touches<'_>, state: &AccountState) {
        if self.books.is_none() {
            return;
        }
        if let Some(hold) = state.hold.as_ref().filter(|hold| !state.closed && !self.holds.contains_key(&hold.request)) {
            self.remember_hold(hold);
        }
        if let Some(key) = state.key.as_ref().filter(|key| !self.keys.contains_key(&key.record.id)) {
            self.remember_key(key.clone());
        }
        if let Some(project) = state.project.as_ref().filter(|project| !self.projects.contains_key(&project.record.id)) {
            self.remember_project(project.clone());
        }
        let is_asked = touches.run.is_some() || state.hold.is_some();
        if let Some(run) = state.run.as_ref().filter(|run| is_asked && !self.runs.contains_key(&run.id)) {
            self.remember_run(run);
        }
    }

    /// Follows an event.
    pub fn apply(&mut self, event: &Event) {
        let Some(books) = &mut self.books else { return };
        match event {
            Event::Opened(hold) => {
                let earlier = self.holds.remove(&hold.request);
                let is_counted = earlier.is_none_or(|earlier| books.release(&earlier)) && books.hold(hold);
                if is_counted { self.remember_hold(hold) } else { self.clear() }
            }
            Event::Extended { request, deadline, checkpoint } => {
                if let Some(hold) = self.holds.get_mut(request) {
                    hold.deadline = *deadline;
                    hold.checkpoint = Some((**checkpoint).clone());
                }
            }
            Event::Closed(request) => {
                let is_counted = self.holds.remove(request).is_some_and(|hold| books.release(&hold));
                if !is_counted {
                    self.clear();
                }
            }
            Event::Journaled(row) => self.append(row),
            Event::KeyStored(record, counters) => {
                self.remember_key(KeyBook { record: (**record).clone(), counters: counters.clone() });
            }
            Event::KeyTallied(key, counters) => {
                if let Some(key) = self.keys.get_mut(key) {
                    key.counters = counters.clone();
                }
            }
            Event::ProjectStored(record, counters) => {
                self.remember_project(ProjectBook { record: record.clone(), counters: counters.clone() });
            }
            Event::ProjectTallied(project, counters) => {
                if let Some(project) = self.projects.get_mut(project) {
                    project.counters = counters.clone();
                }
            }
            Event::RunStored(run) => self.remember_run(run),
            Event::AccountStored(_)
            | Event::OrderStored(_)
            | Event::Alerted(_)
            | Event::Claimed(_)
            | Event::Unclaimed(_)
            | Event::Kept(_)
            | Event::Forgotten(_)
            | Event::SessionsEnded(_) => {}
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn append(&mut self, row: &Row) {
        let Some(books) = &mut self.books else { return };
        books.head.seq = row.seq;
        books.head.at = row.at;
        books.head.balances.clone_from(&row.balances);
        books.head.debts.clone_from(&row.debts);
        let Some(subject) = row.journaled.subject() else { return };
        if self.holds.contains_key(subject.as_str()) {
            // Something else has the id of an open request: whether that is closed, the store knows.
            return self.clear();
        }
        if subject.starts_with(RequestId::MARK) && subject > books.last_closed {
            self.subjects.insert(subject);
        }
        if self.subjects.len() > MOST_SUBJECTS
            && let Some(first) = self.subjects.pop_first()
        {
            books.last_closed = first;
        }
    }

    fn remember_hold(&mut self, hold: &Hold) {
        if self.holds.len() >= MOST_HOLDS {
            self.holds.pop_first();
        }
        self.holds.insert(hold.request.clone(), hold.clone());
    }

    fn remember_key(&mut self, key: KeyBook) {
        if self.keys.len() >= MOST_KEYS {
            self.keys.clear();
        }
        self.keys.insert(key.record.id.clone(), key);
    }

    fn remember_project(&mut self, project: ProjectBook) {
        if self.projects.len() >= MOST_KEYS {
            self.projects.clear();
        }
        self.projects.insert(project.record.id.clone(), project);
    }

    fn remember_run(&mut self, run: &RunBook) {
        let known = self.runs.remove(&run.id).map_or(0, |known| known.lines.len());
        self.lines = self.lines.saturating_sub(known);
        if self.runs.len() >= MOST_RUNS || self.lines.saturating_add(run.lines.len()) > MOST_LINES {
            self.runs.clear();
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(run.lines.len());
        self.runs.insert(run.id.clone(), run.clone());
    }

    /// What the store answered differs from what is remembered of it.
    pub fn differs_in(&self, touches: &Touches<'_>, state: &AccountState) -> Option<String> {
        let books = self.books.as_ref()?;
        let mut stored: Vec<&HeldSum> = state.held.iter().collect();
        let mut held: Vec<&HeldSum> = books.held.iter().collect();
        stored.sort_by_key(|held| (&held.bucket, &held.key, &held.project, &held.run));
        held.sort_by_key(|held| (&held.bucket, &held.key, &held.project, &held.run));
        let hold = touches.subject.and_then(|subject| self.open(books, subject));
        let key = touches.key.or(state.hold.as_ref().map(|hold| &hold.key)).and_then(|id| self.keys.get(id));
        let project = touches.project.or(state.key.as_ref().map(|key| &key.record.project)).and_then(|id| self.projects.get(id));
        let run = touches.run.or(state.hold.as_ref().and_then(|hold| hold.facts.run.as_ref())).and_then(|id| self.runs.get(id));
        let is_closed = touches.subject.is_some_and(|subject| self.subjects.contains(subject));
        let differences = [
            ("the head of the journal", books.head != state.head),
            ("what is set aside", held != stored),
            ("a hold", hold.is_some_and(|hold| hold != state.hold.as_ref())),
            ("whether a request is closed", (hold.is_some() && state.closed) || (is_closed && !state.closed)),
            ("a key", key.is_some() && key != state.key.as_ref()),
            ("a project", project.is_some() && project != state.project.as_ref()),
            ("a run", run.is_some() && run != state.run.as_ref()),
        ];
        let what = differences.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what)?;
        Some(format!("{what} differs from what is stored, at row {} of the journal", state.head.seq))
    }

    /// Compares all that is remembered with what is stored.
    pub fn differs_from<S: AccountWriter>(&self, store: &S) -> Result<Option<String>, S::Error> {
        let Some(books) = &self.books else { return Ok(None) };
        let none = Touches::default;
        let keys = self.keys.keys().map(|key| Touches { key: Some(key), ..none() });
        let projects = self.projects.keys().map(|project| Touches { project: Some(project), ..none() });
        let runs = self.runs.keys().map(|run| Touches { run: Some(run), ..none() });
        let subjects = self.holds.keys().map(RequestId::as_str).chain(self.subjects.iter().map(String::as_str));
        let subjects = subjects.map(|subject| Touches { subject: Some(subject), ..none() });
        for touches in [none()].into_iter().chain(keys).chain(projects).chain(runs).chain(subjects) {
            if let Some(what) = self.differs_in(&touches, &store.state(touches)?) {
                return Ok(Some(what));
            }
        }
        let last = self.subjects.last().map_or(books.last_closed.as_str(), String::as_str);
        let is_later = store.last_closed()?.is_some_and(|stored| stored.as_str() > last);
        Ok(is_later.then(|| "a request was closed that is not remembered".to_owned()))
    }

    /// The same in one look: head, sums, and the `nth` of the keys, runs and holds that are remembered.
    pub fn sample<S: AccountWriter>(&self, store: &S, nth: usize) -> Result<Option<String>, S::Error> {
        if self.books.is_none() {
            return Ok(None);
        }
        let at = |length: usize| nth.checked_rem(length).unwrap_or(0);
        let key = self.keys.keys().nth(at(self.keys.len()));
        let run = self.runs.keys().nth(at(self.runs.len()));
        let subject = self.holds.keys().nth(at(self.holds.len())).map(RequestId::as_str);
        let touches = Touches { key, run, subject, ..Touches::default() };
        Ok(self.differs_in(&touches, &store.state(touches)?))
    }
}

impl Books {
    /// Sets a hold aside; false if that cannot be counted.
    fn hold(&mut self, hold: &Hold) -> bool {
        self.open = self.open.saturating_add(1);
        match self.held.iter_mut().find(|held| is_of(held, hold)) {
            Some(held) => {
                let Some(amount) = held.amount.checked_add(hold.amount) else { return false };
                held.amount = amount;
                held.count = held.count.saturating_add(1);
                held.tokens = held.tokens.saturating_add(tokens(hold));
            }
            None => self.held.push(HeldSum {
                bucket: hold.bucket.clone(),
                key: hold.key.clone(),
                project: hold.project.clone(),
                run: hold.facts.run.clone(),
                amount: hold.amount,
                count: 1,
                tokens: tokens(hold),
            }),
        }
        true
    }

    /// Sets a hold free; false if it was not set aside.
    fn release(&mut self, hold: &Hold) -> bool {
        let Some(at) = self.held.iter().position(|held| is_of(held, hold)) else { return false };
        let Some(held) = self.held.get_mut(at) else { return false };
        let left = (held.amount.checked_sub(hold.amount), held.count.checked_sub(1), held.tokens.checked_sub(tokens(hold)));
        let (Some(amount), Some(count), Some(tokens)) = left else { return false };
        (held.amount, held.count, held.tokens) = (amount, count, tokens);
        if count == 0 {
            self.held.swap_remove(at);
        }
        self.open = self.open.saturating_sub(1);
        true
    }
}

fn is_of(held: &HeldSum, hold: &Hold) -> bool {
    held.bucket == hold.bucket && held.key == hold.key && held.project == hold.project && held.run == hold.facts.run
}

/// The tokens of a hold as they are summed: a number in a column is exact up to here.
fn tokens(hold: &Hold) -> u64 {
    hold.tokens.min(u64::try_from(Money::MAX.nanos()).unwrap_or(u64::MAX))
}

fn count(held: &HeldSum) -> usize {
    usize::try_from(held.count).unwrap_or(usize::MAX)
}

/// What is asked for, if it is remembered; nothing where nothing is asked for.
fn all_or_none<I, T>(asked: Option<I>, remembered: impl FnOnce(I) -> Option<T>) -> Option<Option<T>> {
    match asked {
        Some(id) => remembered(id).map(Some),
        None => Some(None),
    }
}
