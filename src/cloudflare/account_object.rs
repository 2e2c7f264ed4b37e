//! The account object: loads the books, lets the state machine decide, stores its events in one transaction. Thin.
//!
//! What always holds: nothing of the account is kept in memory between commands but when the alarm is set and whether the
//! tables are there, which are only hints; there is no `await` between reading the books and storing the events.

use std::cell::Cell;

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::store::Store;
use super::{alerts, clock, outbox};
use crate::account::{
    self, AccountAnswer, AccountStore, Command, KeyView, Overview, Query, RunBook, RunOpened, RunView, Touches, Wanted,
};
use crate::id::KeyId;
use crate::time::Timestamp;

/// How long the searchable copy may lag behind, in milliseconds; what is settled meanwhile is copied together.
const COPY_AFTER_MS: i64 = 2_000;
/// How long it waits after a failure, doubled each time up to the longest.
const RETRY_MS: i64 = 5_000;
const LONGEST_RETRY_MS: i64 = 300_000;
const CLEAN_EVERY_MS: u64 = 3_600_000;

/// One account.
#[durable_object(alarm)]
pub struct AccountObject {
    state: State,
    env: Env,
    /// When the alarm is set for; unknown after a restart.
    alarm_at: Cell<Option<i64>>,
    failures: Cell<u32>,
    /// When old idempotency keys were last dropped.
    cleaned_at: Cell<Timestamp>,
    /// Whether the tables are known to be there.
    is_open: Cell<bool>,
    /// Whether a command has seen to the alarm since this object started.
    is_armed: Cell<bool>,
}

impl DurableObject for AccountObject {
    fn new(state: State, env: Env) -> Self {
        Self {
            state,
            env,
            alarm_at: Cell::new(None),
            failures: Cell::new(0),
            cleaned_at: Cell::default(),
            is_open: Cell::new(false),
            is_armed: Cell::new(false),
        }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let text = request.text().await?;
        let command: Command = match serde_json::from_str(&text) {
            Ok(command) => command,
            Err(error) => return Response::error(format!("an unreadable command: {error}"), 400),
        };
        match self.answer(command).await {
            Ok(answer) => Response::from_json(&answer),
            Err(error) => {
                worker::console_error!("account: {error:?}");
                Response::error("the account's storage failed", 500)
            }
        }
    }

    /// Ends due holds and copies what is new. It must not fail: the platform gives up after six times.
    async fn alarm(&self) -> Result<Response> {
        self.alarm_at.set(None);
        if let Err(error) = self.tick().await {
            worker::console_error!("alarm: {error}");
            self.wake_at(clock::now().plus(RETRY_MS)).await?;
        }
        Response::empty()
    }
}

impl AccountObject {
    fn store(&self) -> Result<Store> {
        let store = Store::new(self.state.storage().sql());
        if !self.is_open.get() {
            store.migrate(self.state.storage().as_raw())?;
            self.is_open.set(true);
        }
        Ok(store)
    }

    async fn answer(&self, command: Command) -> Result<AccountAnswer> {
        if let Command::Read(query) = &command {
            return self.read(query);
        }
        if command == Command::Flush {
            self.copy().await?;
            return Ok(AccountAnswer::Done);
        }
        let store = self.store()?;
        let storage = self.state.storage();
        let mut command = Some(command);
        let (answer, is_changed) = Store::atomically(storage.as_raw(), || {
            // It runs once; the platform does not repeat a transaction by itself.
            let Some(command) = command.take() else { return Err("the transaction ran twice".into()) };
            let (answer, events) = account::decide(&store, command, clock::now())?;
            for event in &events {
                store.apply(event)?;
            }
            Ok((answer, !events.is_empty()))
        })?;
        if is_changed || !self.is_armed.replace(true) {
            // A command that changes nothing may repeat one whose change stands, but whose alarm was never set. What is decided stands; the next command sets the alarm that this one could not.
            if let Err(error) = self.wake_at(clock::now().plus(COPY_AFTER_MS)).await {
                worker::console_error!("alarm: {error}");
            }
        }
        Ok(answer)
    }

    /// Sets the alarm, unless it comes earlier anyway: setting it costs a row.
    async fn wake_at(&self, at: Timestamp) -> Result<()> {
        if self.alarm_at.get().is_none() {
            self.alarm_at.set(self.state.storage().get_alarm().await?);
        }
        if self.alarm_at.get().is_some_and(|set| set <= at.millis()) {
            return Ok(());
        }
        let offset = i64::try_from(at.since(clock::now())).unwrap_or(i64::MAX);
        self.state.storage().set_alarm(offset).await?;
        self.alarm_at.set(Some(at.millis()));
        Ok(())
    }

    async fn tick(&self) -> Result<()> {
        let (store, storage, now) = (self.store()?, self.state.storage(), clock::now());
        for due in store.due_holds(now)? {
            Store::atomically(storage.as_raw(), || {
                account::end_hold(&store, &due, now)?.iter().try_for_each(|event| store.apply(event))
            })?;
        }
        for due in store.due_orders(now)? {
            Store::atomically(storage.as_raw(), || {
                account::end_order(&store, &due, now)?.iter().try_for_each(|event| store.apply(event))
            })?;
        }
        Store::atomically(storage.as_raw(), || account::forget(&store, now)?.iter().try_for_each(|event| store.apply(event)))?;
        if now.since(self.cleaned_at.get()) >= CLEAN_EVERY_MS {
            store.drop_claims(now.plus(-account::CLAIM_MS))?;
            self.cleaned_at.set(now);
        }
        let retry_at = match self.copy().await {
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
            alerts::send(&store, &self.env, &record.id).await?;
        }
        let next = [retry_at, store.next_deadline()?, store.kept_until()?].into_iter().flatten().min();
        match next {
            Some(at) => self.wake_at(at).await,
            None => Ok(()),
        }
    }

    /// Copies what is new; false if some is left.
    async fn copy(&self) -> Result<bool> {
        let store = self.store()?;
        match store.account()? {
            Some(record) => outbox::copy(&store, &self.env, &record.id).await,
            None => Ok(true),
        }
    }

    fn read(&self, query: &Query) -> Result<AccountAnswer> {
        let (store, now) = (self.store()?, clock::now());
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
