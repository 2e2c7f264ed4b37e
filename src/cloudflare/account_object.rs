//! The account object behind its driver: decides on commands that waited together, over its tables and what it remembers of them.
//!
//! What always holds: there is no `await` between reading the state and storing the events. Nothing here is about money: how a
//! group is decided and stored is [`account::together`]'s.

use std::cell::{Cell, RefCell};

use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::{Env, Result};

use super::platform::Sql;
use super::store::Store;
use super::texts::END;
use super::{alerts, clock, outbox};
use crate::account::{
    self, AccountAnswer, AccountStore, Command, Group, KeyView, Memory, Overview, Query, RunBook, RunOpened, RunView, Touches,
    Wanted,
};
use crate::id::KeyId;
use crate::time::{HOUR_MS, Timestamp};

/// How long a copy waits after a failure, doubled each time up to the longest, in milliseconds.
const RETRY_MS: i64 = 5_000;
const LONGEST_RETRY_MS: i64 = 300_000;
const CLEAN_EVERY_MS: u64 = HOUR_MS.unsigned_abs();

/// A command as it arrived.
struct Asked<'a> {
    text: &'a str,
    command: Option<Command>,
}

impl<'a> Asked<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, command: serde_json::from_str(text).ok() }
    }

    /// The command, which is read again for whoever asks again.
    fn take(&mut self) -> Result<Command> {
        match self.command.take() {
            Some(command) => Ok(command),
            None => Ok(serde_json::from_str(self.text)?),
        }
    }
}

fn written(answer: Result<AccountAnswer>) -> String {
    match answer.and_then(|answer| Ok(serde_json::to_string(&answer)?)) {
        Ok(text) => text,
        Err(error) => format!("!{error}"),
    }
}

/// One account.
#[wasm_bindgen]
pub struct Account {
    store: Store,
    memory: RefCell<Memory>,
    env: Env,
    failures: Cell<u32>,
    /// When old idempotency keys were last dropped.
    cleaned_at: Cell<Timestamp>,
    /// How often what is remembered was compared with what is stored.
    looked: Cell<usize>,
}

#[wasm_bindgen]
impl Account {
    /// The account in this database, whose tables are brought up to date.
    #[wasm_bindgen(constructor)]
    pub fn new(sql: Sql, env: Env) -> Result<Self, JsValue> {
        let store = Store::new(sql);
        store.migrate()?;
        Ok(Self {
            store,
            memory: RefCell::default(),
            env,
            failures: Cell::new(0),
            cleaned_at: Cell::default(),
            looked: Cell::new(0),
        })
    }

    /// Decides on commands as JSON. Answers whether the account changed - `changed`, `same`, or `read` if nothing could change it - and
    /// then an answer to each, or a text after `!` that says why there is none. Each text ends the one before by U+001E.
    pub fn commands(&self, texts: &str) -> String {
        let mut asked: Vec<Asked<'_>> = texts.split(END).map(Asked::new).collect();
        let (mut answers, mut deciding) = (Vec::with_capacity(asked.len()), Vec::new());
        for (number, asked) in asked.iter_mut().enumerate() {
            answers.push(match &asked.command {
                Some(Command::Read(query)) => Some(self.read(query)),
                _ => None,
            });
            if answers.last().is_some_and(Option::is_none) {
                deciding.push(number);
            }
        }
        let command = |number: usize| {
            let asked = deciding.get(number).and_then(|number| asked.get_mut(*number));
            asked.map_or_else(|| Err(worker::Error::RustError("no such command".to_owned())), Asked::take)
        };
        let place = (&self.store, &self.memory);
        let decided = account::together(place, (deciding.len(), command), clock::now(), &mut |body| self.store.atomically(body));
        for fault in &decided.faults {
            worker::console_error!("account: {fault}");
        }
        let mut rest = decided.answers.into_iter();
        let answers = answers.into_iter().filter_map(|answer| answer.or_else(|| rest.next())).map(written);
        let state = if decided.is_changed {
            "changed"
        } else if deciding.is_empty() {
            "read"
        } else {
            "same"
        };
        answers.fold(state.to_owned(), |mut texts, answer| {
            texts.push(END);
            texts + &answer
        })
    }

    /// Ends holds and orders whose time is over, and forgets what is old.
    pub fn end_due(&self) -> Result<(), JsValue> {
        let now = clock::now();
        let (holds, orders) = (self.store.due_holds(now)?, self.store.due_orders(now)?);
        self.within(|group| {
            holds.iter().try_for_each(|due| group.end_hold(due, now).map(|_| ()))?;
            orders.iter().try_for_each(|due| group.end_order(due, now).map(|_| ()))?;
            group.forget(now)
        })?;
        if now.since(self.cleaned_at.get()) >= CLEAN_EVERY_MS {
            self.store.drop_claims(now.plus(-account::CLAIM_MS))?;
            self.cleaned_at.set(now);
        }
        self.look()?;
        Ok(())
    }

    /// Copies what is new to the searchable store.
    pub async fn copy(&self) -> Result<(), JsValue> {
        self.copy_all().await.map(|_| ()).map_err(Into::into)
    }

    /// Copies what is new and sends what is to be told. Answers when there is more to do.
    pub async fn copy_and_tell(&self) -> Result<Option<f64>, JsValue> {
        let next = self.work().await?;
        // Milliseconds are whole and far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        Ok(next.map(|at| at.millis() as f64))
    }
}

impl Account {
    /// Does something in a transaction of its own.
    fn within<T>(&self, work: impl FnMut(&Group<'_, Store>) -> Result<T>) -> Result<T> {
        let (value, _) = account::within((&self.store, &self.memory), &mut |body| self.store.atomically(body), work)?;
        Ok(value)
    }

    /// Compares a part of what is remembered with what is stored, another one each time.
    fn look(&self) -> Result<()> {
        let nth = self.looked.replace(self.looked.get().wrapping_add(1));
        let differs = self.memory.borrow().sample(&self.store, nth)?;
        if let Some(what) = differs {
            worker::console_error!("account: what is remembered is wrong: {what}");
            self.memory.borrow_mut().clear();
        }
        Ok(())
    }

    async fn work(&self) -> Result<Option<Timestamp>> {
        let store = &self.store;
        let retry_at = match self.copy_all().await {
            Ok(is_all) => {
                self.failures.set(0);
                (!is_all).then(clock::now)
            }
            Err(error) => {
                worker::console_error!("copying to D1: {error}");
                let failures = self.failures.get().min(16);
                self.failures.set(failures.saturating_add(1));
                Some(clock::now().plus(RETRY_MS.saturating_mul(1 << failures).min(LONGEST_RETRY_MS)))
            }
        };
        if let Some(record) = store.account()? {
            alerts::send(store, &self.env, &record.id).await?;
        }
        Ok([retry_at, store.next_deadline()?, store.kept_until()?].into_iter().flatten().min())
    }

    /// Copies what is new; false if some is left.
    async fn copy_all(&self) -> Result<bool> {
        match self.store.account()? {
            Some(record) => outbox::copy(&self.store, &self.env, &record.id).await,
            None => Ok(true),
        }
    }

    fn read(&self, query: &Query) -> Result<AccountAnswer> {
        let (store, now) = (&self.store, clock::now());
        let of_key = |key: &KeyId| store.state(Touches { key: Some(key), ..Touches::default() });
        let record = |key: &KeyId| -> Result<AccountAnswer> {
            Ok(of_key(key)?.key.map_or(AccountAnswer::Nothing, |book| AccountAnswer::Key(Box::new(book.record))))
        };
        Ok(match query {
            Query::Overview => {
                let overview = Overview::new(store.account()?, &store.state(Touches::default())?, &store.holds()?);
                AccountAnswer::Overview(Box::new(overview))
            }
            Query::Receipt(request) => AccountAnswer::Journal(store.receipt(request)?),
            Query::Journal(filter, page) => AccountAnswer::Journal(store.journal(filter, *page)?),
            Query::Key(key) => of_key(key)?.key.map_or(AccountAnswer::Nothing, |book| AccountAnswer::Budgets(book.budgets(now))),
            Query::Record(key) => record(key)?,
            Query::Session(session) if store.is_ended(session)? => AccountAnswer::Nothing,
            Query::Session(session) => record(&session.key)?,
            Query::LastEnd => AccountAnswer::LastEnd(store.last_end()?),
            Query::Preview(key, holds) => {
                let books = of_key(key)?;
                let exactly = holds.iter().map(|(bucket, amount)| Wanted::exactly(bucket.clone(), *amount));
                AccountAnswer::Previewed(exactly.map(|wanted| account::weigh(&books, &wanted, now).refusal).collect())
            }
            Query::Weigh(key, holds) => {
                let books = of_key(key)?;
                AccountAnswer::Weighed(holds.iter().map(|wanted| account::weigh(&books, wanted, now)).collect())
            }
            Query::Keys => AccountAnswer::Keys(store.keys()?.into_iter().map(KeyView::from).collect()),
            Query::Projects => AccountAnswer::Projects(store.projects()?),
            Query::Run(run) => {
                let (book, held) = (store.run_book(run)?, store.held_for(run)?);
                if book.is_none() && held.is_empty() {
                    return Ok(AccountAnswer::Nothing);
                }
                let book = book.unwrap_or_else(|| RunBook::new(run.clone()));
                AccountAnswer::Run(Box::new(RunView::new(book, held, now)))
            }
            Query::Runs(after, limit) => {
                AccountAnswer::Runs(store.runs(after.as_deref(), *limit)?.iter().map(RunOpened::of).collect())
            }
            Query::Kept(requests) => AccountAnswer::Kept(store.kept(requests, now.plus(-account::KEPT_MS))?),
            Query::Order(id) => store.order(id)?.map_or(AccountAnswer::Nothing, |order| AccountAnswer::Order(Box::new(order))),
            Query::Orders(after, limit) => AccountAnswer::Orders(store.orders(after.as_deref(), *limit)?),
            Query::Audit { after, limit } => AccountAnswer::Audit(Box::new(store.audit(*after, *limit)?)),
        })
    }
}
