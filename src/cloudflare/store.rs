//! The account object's tables: one function per statement, and one for each event.
//!
//! Bound numbers arrive in SQLite as REAL, so that every one is cast where it is used.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasm_bindgen::JsValue;
use worker::Result;

use super::platform::Sql;
use super::texts::{self, END};
use crate::account::{
    AccountRecord, AccountState, AccountStore, AccountWriter, Balances, Checkpoint, Claim, Counters, Event, Expired, HeldSum,
    Hold, JournalHead, KeyBook, Order, ProjectBook, ProjectRecord, Row, RunBook, RunLine, RunRecord, Spent, Touches,
};
use crate::id::{BucketId, KeyId, OrderId, ProjectId, RequestId, RunId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::time::{Period, Timestamp};

/// Each is what the version of its number, counted from 1, adds to the one before. None is ever changed: accounts have been
/// stored by each of them.
const VERSIONS: [&str; 4] = [
    "
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
  seq INTEGER PRIMARY KEY, subject TEXT UNIQUE, at INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT, bucket TEXT, amount INTEGER,
  balances TEXT NOT NULL, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS holds (
  request TEXT PRIMARY KEY, key TEXT NOT NULL, project TEXT NOT NULL, bucket TEXT NOT NULL, amount INTEGER NOT NULL,
  tokens INTEGER NOT NULL, deadline INTEGER NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, project TEXT NOT NULL, record TEXT NOT NULL, tally TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS projects (id TEXT PRIMARY KEY, record TEXT NOT NULL, tally TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (id TEXT PRIMARY KEY, at INTEGER NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;
",
    "
ALTER TABLE journal ADD COLUMN debts TEXT;
ALTER TABLE holds ADD COLUMN run TEXT;
UPDATE holds SET run = doc->>'facts'->>'run';
CREATE TABLE runs (id TEXT PRIMARY KEY, record TEXT, tally TEXT NOT NULL, lines TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO runs (id, tally, lines)
  SELECT run, json_object('spent', json_group_object(bucket, json_object('total', printf('%d.%09d', charge / 1000000000, charge % 1000000000))) FILTER (WHERE bucket IS NOT NULL)), '[]'
  FROM (SELECT doc->>'run' AS run, bucket, -SUM(amount) AS charge FROM journal WHERE kind = 'receipt' AND doc->>'run' IS NOT NULL GROUP BY 1, 2)
  GROUP BY run;
UPDATE runs SET lines = (
  SELECT json_group_array(json_object('model', model, 'route', route, 'bucket', bucket, 'status', status, 'requests', requests, 'retries', 0,
    'fallbacks', fallbacks, 'usage', json(usage), 'charge', printf('%d.%09d', charge / 1000000000, charge % 1000000000), 'last_at', last_at))
  FROM (
    SELECT COALESCE(doc->>'model', doc->>'requested_model') AS model, doc->>'route' AS route, doc->>'bucket' AS bucket, doc->>'status' AS status,
      COUNT(*) AS requests, SUM(doc->>'fallbacks') AS fallbacks, COALESCE(-SUM(amount), 0) AS charge, MAX(doc->>'closed_at') AS last_at,
      json_object('input', SUM(doc->>'usage'->>'input'), 'cached_input', SUM(doc->>'usage'->>'cached_input'),
        'cache_write', SUM(doc->>'usage'->>'cache_write'), 'audio_input', SUM(doc->>'usage'->>'audio_input'),
        'output', SUM(doc->>'usage'->>'output'), 'reasoning', SUM(doc->>'usage'->>'reasoning'), 'audio_output', SUM(doc->>'usage'->>'audio_output')) AS usage
    FROM journal WHERE kind = 'receipt' AND doc->>'run' = runs.id GROUP BY 1, 2, 3, 4));
CREATE TABLE orders (id TEXT PRIMARY KEY, request_key TEXT UNIQUE, due INTEGER, doc TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE alerts (seq INTEGER PRIMARY KEY, tries INTEGER NOT NULL, due INTEGER NOT NULL);
",
    // `upto` is how long this and all before it are, so that nothing is summed to find out how much there is.
    "
CREATE TABLE kept_answers (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, bytes INTEGER NOT NULL, upto INTEGER NOT NULL, sealed TEXT NOT NULL);
",
    // Sessions that were ended before their time: those that knew of no end as late as `until`.
    "
CREATE TABLE ended_sessions (mark TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
",
];

/// The tables of one account.
pub struct Store {
    sql: Sql,
}

fn text(value: &(impl Serialize + ?Sized)) -> Result<Value> {
    Ok(Value::String(serde_json::to_string(value)?))
}

/// A stored amount.
pub(super) fn money(nanos: i64) -> Result<Money> {
    Money::from_nanos(nanos).map_err(|error| worker::Error::RustError(format!("a stored amount {error}")))
}

/// A row of a list whose fields stand in their order.
type HeldRow = (BucketId, KeyId, ProjectId, Option<RunId>, i64, u32, u64);

/// What [`Store::state`] answers.
#[derive(Deserialize)]
struct BooksRow {
    seq: Option<u64>,
    at: Option<i64>,
    balances: Option<Balances>,
    debts: Option<Balances>,
    held: Vec<HeldRow>,
    key: Option<(KeyRecord, Counters)>,
    project: Option<(ProjectRecord, Counters)>,
    run: Option<(Option<RunRecord>, Counters, Vec<RunLine>)>,
    hold: Option<Hold>,
    closed: i64,
    claim: Option<Claim>,
}

/// What is to be copied to the searchable store.
pub struct Batch {
    pub first: i64,
    pub last: i64,
    /// The rows as a JSON list.
    pub rows: String,
    /// Whether there are records of accounts, projects, keys or orders among them.
    pub has_records: bool,
}

impl Store {
    /// The tables in this storage.
    pub const fn new(sql: Sql) -> Self {
        Self { sql }
    }

    /// Brings the tables to the newest version, each step in the transaction that notes it.
    pub fn migrate(&self) -> Result<()> {
        let is_known =
            self.text("SELECT name AS value FROM sqlite_schema WHERE type = 'table' AND name = 'meta'", Vec::new())?.is_some();
        // The first version did not note itself.
        let noted = if is_known { self.meta("schema")? } else { None };
        let found = noted.and_then(|text| text.parse::<usize>().ok()).unwrap_or(usize::from(is_known));
        for (index, statements) in VERSIONS.iter().enumerate().skip(found) {
            self.atomically(&mut || {
                self.run(statements, Vec::new())?;
                self.put_meta("schema", &index.saturating_add(1).to_string())
            })?;
        }
        Ok(())
    }

    /// Runs `body`, once, so that all of its writes stand or none.
    pub fn atomically(&self, body: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let mut outcome = None;
        let thrown = self.sql.transaction(&mut || {
            let done = body();
            // The throw rolls back; the error itself stays on this side.
            let thrown = done.as_ref().map_or(Err(JsValue::from_str("rolled back")), |()| Ok(()));
            outcome = Some(done);
            thrown
        });
        match (outcome, thrown) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (_, Ok(())) => Ok(()),
        }
    }

    /// Runs a statement. It answers one column of text, or nothing: types are read from text alone, and all of it crosses over in one
    /// piece.
    fn texts(&self, statement: &str, values: Vec<Value>) -> Result<String> {
        Ok(self.sql.run(statement, &texts::values(&values)?)?)
    }

    /// The rows of a statement with one column, `value`, of JSON.
    pub(super) fn rows<T: DeserializeOwned>(&self, statement: &str, values: Vec<Value>) -> Result<Vec<T>> {
        self.texts(statement, values)?.split_terminator(END).map(|text| Ok(serde_json::from_str(text)?)).collect()
    }

    /// The first text of a statement with one column, `value`, whatever it is.
    pub(super) fn text(&self, statement: &str, values: Vec<Value>) -> Result<Option<String>> {
        Ok(self.texts(statement, values)?.split_once(END).map(|(first, _)| first.to_owned()))
    }

    pub(super) fn run(&self, statement: &str, values: Vec<Value>) -> Result<()> {
        self.texts(statement, values).map(|_| ())
    }

    /// Stores what an event says.
    fn store(&self, event: &Event) -> Result<()> {
        match event {
            Event::Opened(hold) => self.put_hold(hold),
            Event::Extended { request, deadline, checkpoint } => self.extend_hold(request, *deadline, checkpoint),
            Event::Closed(request) => self.run("DELETE FROM holds WHERE request = ?1", vec![request.as_str().into()]),
            Event::Journaled(row) => self.append(row),
            Event::AccountStored(record) => self.put_meta("account", &serde_json::to_string(record)?),
            Event::ProjectStored(record, tally) => self.run(
                "INSERT OR REPLACE INTO projects (id, record, tally) VALUES (?1, ?2, ?3)",
                vec![record.id.as_str().into(), text(record)?, text(tally)?],
            ),
            Event::KeyStored(record, tally) => self.run(
                "INSERT OR REPLACE INTO keys (id, project, record, tally) VALUES (?1, ?2, ?3, ?4)",
                vec![record.id.as_str().into(), record.project.as_str().into(), text(record)?, text(tally)?],
            ),
            Event::KeyTallied(key, tally) => {
                self.run("UPDATE keys SET tally = ?2 WHERE id = ?1", vec![key.as_str().into(), text(tally)?])
            }
            Event::ProjectTallied(project, tally) => {
                self.run("UPDATE projects SET tally = ?2 WHERE id = ?1", vec![project.as_str().into(), text(tally)?])
            }
            Event::RunStored(run) => self.put_run(run),
            Event::OrderStored(order) => self.put_order(order),
            Event::Alerted(seq) => self.run(
                "INSERT INTO alerts (seq, tries, due) VALUES (CAST(?1 AS INTEGER), 0, 0)",
                vec![i64::try_from(*seq).unwrap_or(i64::MAX).into()],
            ),
            Event::Claimed(claim) => self.put_claim(claim),
            Event::Unclaimed(claim) => self.run("DELETE FROM claims WHERE id = ?1", vec![claim.as_str().into()]),
            Event::Kept(answer) => self.put_kept(answer),
            Event::Forgotten(last) => self.drop_kept(*last),
            Event::SessionsEnded(ended) => self.put_ended(ended),
        }
    }

    fn put_hold(&self, hold: &Hold) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO holds (request, key, project, bucket, amount, tokens, deadline, doc, run)
             VALUES (?1, ?2, ?3, ?4, CAST(?5 AS INTEGER), CAST(?6 AS INTEGER), CAST(?7 AS INTEGER), ?8, ?9)",
            vec![
                hold.request.as_str().into(),
                hold.key.as_str().into(),
                hold.project.as_str().into(),
                hold.bucket.as_str().into(),
                hold.amount.nanos().into(),
                i64::try_from(hold.tokens).unwrap_or(i64::MAX).min(Money::MAX.nanos()).into(),
                hold.deadline.millis().into(),
                text(hold)?,
                hold.facts.run.as_ref().map(RunId::as_str).into(),
            ],
        )
    }

    fn extend_hold(&self, request: &RequestId, deadline: Timestamp, checkpoint: &Checkpoint) -> Result<()> {
        self.run(
            "UPDATE holds SET deadline = CAST(?2 AS INTEGER),
               doc = json_set(doc, '$.deadline', ?3, '$.checkpoint', json(?4)) WHERE request = ?1",
            vec![request.as_str().into(), deadline.millis().into(), deadline.to_string().into(), text(checkpoint)?],
        )
    }

    fn append(&self, row: &Row) -> Result<()> {
        let seq = i64::try_from(row.seq).unwrap_or(i64::MAX).into();
        self.run(
            "INSERT INTO journal (seq, subject, at, kind, key, bucket, amount, balances, doc, debts)
             VALUES (CAST(?1 AS INTEGER), ?2, CAST(?3 AS INTEGER), ?4, ?5, ?6, CAST(?7 AS INTEGER), ?8, ?9, ?10)",
            vec![
                seq,
                row.journaled.subject().into(),
                row.at.millis().into(),
                row.journaled.kind().as_str().into(),
                row.journaled.key().map(KeyId::as_str).into(),
                row.bucket.as_ref().map(BucketId::as_str).into(),
                row.amount.map(Money::nanos).into(),
                text(&row.balances)?,
                text(&row.journaled)?,
                if row.debts.is_empty() { Value::Null } else { text(&row.debts)? },
            ],
        )
    }

    fn put_run(&self, run: &RunBook) -> Result<()> {
        let record = run.record.as_ref().map(serde_json::to_string).transpose()?;
        self.run(
            "INSERT OR REPLACE INTO runs (id, record, tally, lines) VALUES (?1, ?2, ?3, ?4)",
            vec![run.id.as_str().into(), record.into(), text(&run.counters)?, text(&run.lines)?],
        )
    }

    /// An order, with when it ends by itself.
    fn put_order(&self, order: &Order) -> Result<()> {
        let due = order.expires_at.filter(|_| order.state == crate::account::OrderState::Pending);
        self.run(
            "INSERT INTO orders (id, request_key, due, doc) VALUES (?1, ?4, CAST(?2 AS INTEGER), ?3)
             ON CONFLICT (id) DO UPDATE SET due = excluded.due, doc = excluded.doc",
            vec![order.id.as_str().into(), due.map(Timestamp::millis).into(), text(order)?, order.request_key.as_deref().into()],
        )
    }

    fn put_claim(&self, claim: &Claim) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO claims (id, at, doc) VALUES (?1, CAST(?2 AS INTEGER), ?3)",
            vec![claim.id.as_str().into(), claim.at.millis().into(), text(claim)?],
        )
    }

    /// Forgets idempotency keys that were taken before this.
    pub fn drop_claims(&self, before: Timestamp) -> Result<()> {
        self.run("DELETE FROM claims WHERE at < CAST(?1 AS INTEGER)", vec![before.millis().into()])
    }

    fn put_meta(&self, name: &str, value: &str) -> Result<()> {
        self.run("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", vec![name.into(), value.into()])
    }

    fn meta(&self, name: &str) -> Result<Option<String>> {
        self.text("SELECT value FROM meta WHERE name = ?1", vec![name.into()])
    }

    /// Every open hold.
    pub fn holds(&self) -> Result<Vec<Hold>> {
        self.rows("SELECT doc AS value FROM holds ORDER BY request", Vec::new())
    }

    /// Open holds whose deadline has passed.
    pub fn due_holds(&self, now: Timestamp) -> Result<Vec<Hold>> {
        let statement = "SELECT doc AS value FROM holds WHERE deadline <= CAST(?1 AS INTEGER) LIMIT 500";
        self.rows(statement, vec![now.millis().into()])
    }

    /// Pending orders whose time is over.
    pub fn due_orders(&self, now: Timestamp) -> Result<Vec<OrderId>> {
        let statement = "SELECT json_quote(id) AS value FROM orders WHERE due <= CAST(?1 AS INTEGER) LIMIT 100";
        self.rows(statement, vec![now.millis().into()])
    }

    /// When the next open hold or order ends by itself, or the next alert is to be sent.
    pub fn next_deadline(&self) -> Result<Option<Timestamp>> {
        let statement = "
            SELECT CAST(MIN(value) AS TEXT) AS value FROM (SELECT MIN(deadline) AS value FROM holds UNION ALL SELECT MIN(due) FROM orders
              UNION ALL SELECT MIN(due) FROM alerts) HAVING MIN(value) IS NOT NULL";
        Ok(self.rows(statement, Vec::new())?.into_iter().next().map(Timestamp::from_millis))
    }

    /// Notes that the searchable copy has all rows up to this one.
    pub fn copied(&self, last: i64) -> Result<()> {
        let statement = "INSERT INTO meta (name, value) VALUES ('copied', CAST(CAST(?1 AS INTEGER) AS TEXT))
            ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE CAST(value AS INTEGER) < CAST(excluded.value AS INTEGER)";
        self.run(statement, vec![last.into()])
    }
}

impl AccountStore for Store {
    type Error = worker::Error;

    /// In one statement: it is half of what a request costs here.
    fn state(&self, touches: Touches<'_>) -> Result<AccountState> {
        let statement = "
            WITH o AS (SELECT key, run, doc FROM holds WHERE request = ?3),
                 k AS (SELECT record, tally, project FROM keys WHERE id = COALESCE(?1, (SELECT key FROM o))),
                 p AS (SELECT record, tally FROM projects WHERE id = COALESCE(?2, (SELECT project FROM k))),
                 r AS (SELECT record, tally, lines FROM runs WHERE id = COALESCE(?5, (SELECT run FROM o))),
                 h AS (SELECT bucket, key, project, run, SUM(amount) AS amount, COUNT(*) AS count, SUM(tokens) AS tokens FROM holds GROUP BY bucket, key, project, run)
            SELECT json_object('seq', j.seq, 'at', j.at, 'balances', json(j.balances), 'debts', json(j.debts),
              'held', (SELECT json_group_array(json_array(bucket, key, project, run, amount, count, tokens)) FROM h),
              'key', (SELECT json_array(json(record), json(tally)) FROM k),
              'project', (SELECT json_array(json(record), json(tally)) FROM p),
              'run', (SELECT json_array(json(record), json(tally), json(lines)) FROM r),
              'hold', (SELECT json(doc) FROM o),
              'closed', EXISTS (SELECT 1 FROM journal WHERE subject = ?3),
              'claim', (SELECT json(doc) FROM claims WHERE id = COALESCE(?4, (SELECT doc->>'claim' FROM o)))) AS value
            FROM (SELECT 1) LEFT JOIN (SELECT seq, at, balances, debts FROM journal ORDER BY seq DESC LIMIT 1) j";
        let values = vec![
            touches.key.map(KeyId::as_str).into(),
            touches.project.map(ProjectId::as_str).into(),
            touches.subject.into(),
            touches.claim.into(),
            touches.run.map(RunId::as_str).into(),
        ];
        let rows: Vec<BooksRow> = self.rows(statement, values)?;
        let Some(row) = rows.into_iter().next() else { return Ok(AccountState::default()) };
        let head = JournalHead {
            seq: row.seq.unwrap_or(0),
            at: Timestamp::from_millis(row.at.unwrap_or(0)),
            balances: row.balances.unwrap_or_default(),
            debts: row.debts.unwrap_or_default(),
        };
        let held = row.held.into_iter().map(|(bucket, key, project, run, amount, count, tokens)| {
            Ok(HeldSum { bucket, key, project, run, amount: money(amount)?, count, tokens })
        });
        let run = touches.run.cloned().or_else(|| row.hold.as_ref().and_then(|hold| hold.facts.run.clone()));
        Ok(AccountState {
            head,
            held: held.collect::<Result<_>>()?,
            key: row.key.map(|(record, counters)| KeyBook { record, counters }),
            project: row.project.map(|(record, counters)| ProjectBook { record, counters }),
            run: run.map(|id| match row.run {
                Some((record, counters, lines)) => RunBook { id, record, counters, lines },
                None => RunBook::new(id),
            }),
            hold: row.hold,
            closed: row.closed != 0,
            claim: row.claim,
            ..AccountState::default()
        })
    }

    fn account(&self) -> Result<Option<AccountRecord>> {
        Ok(self.rows("SELECT value FROM meta WHERE name = 'account'", Vec::new())?.into_iter().next())
    }

    fn adjusted(&self, id: &str) -> Result<Option<(BucketId, Money)>> {
        let statement = "SELECT json_array(bucket, amount) AS value FROM journal WHERE subject = ?1 AND kind = 'adjustment'";
        let rows: Vec<(BucketId, i64)> = self.rows(statement, vec![id.into()])?;
        rows.into_iter().next().map(|(bucket, nanos)| Ok((bucket, money(nanos)?))).transpose()
    }

    fn spent(&self, key: Option<&KeyId>, project: Option<&ProjectId>, now: Timestamp) -> Result<Counters> {
        let (day, month) = (Period::Day.start(now), Period::Month.start(now));
        let statement = "
            SELECT json_array(bucket, -SUM(amount),
              -SUM(CASE WHEN at >= CAST(?3 AS INTEGER) THEN amount ELSE 0 END),
              -SUM(CASE WHEN at >= CAST(?4 AS INTEGER) THEN amount ELSE 0 END)) AS value
            FROM journal WHERE kind IN ('receipt', 'correction') AND amount IS NOT NULL
              AND (?1 IS NULL OR key = ?1) AND (?2 IS NULL OR doc->>'project' = ?2) GROUP BY bucket";
        let values = vec![
            key.map(KeyId::as_str).into(),
            project.map(ProjectId::as_str).into(),
            day.millis().into(),
            month.millis().into(),
        ];
        let mut counters = Counters::default();
        for (bucket, total, in_day, in_month) in self.rows::<(BucketId, i64, i64, i64)>(statement, values)? {
            let positive = |nanos: i64| money(nanos.max(0));
            let spent = Spent {
                total: positive(total)?,
                day_start: day,
                day: positive(in_day)?,
                month_start: month,
                month: positive(in_month)?,
            };
            counters.spent.insert(bucket, spent);
        }
        Ok(counters)
    }

    fn order_of_request(&self, key: &str) -> Result<Option<Order>> {
        let rows = self.rows("SELECT doc AS value FROM orders WHERE request_key = ?1", vec![key.into()])?;
        Ok(rows.into_iter().next())
    }

    fn open_orders(&self) -> Result<u32> {
        let statement = "SELECT CAST(COUNT(*) AS TEXT) AS value FROM orders WHERE doc->>'state' IN ('pending', 'in_review')";
        Ok(self.rows(statement, Vec::new())?.into_iter().next().unwrap_or(0))
    }

    fn order(&self, id: &OrderId) -> Result<Option<Order>> {
        let rows = self.rows("SELECT doc AS value FROM orders WHERE id = ?1", vec![id.as_str().into()])?;
        Ok(rows.into_iter().next())
    }

    fn claim_of(&self, request: &RequestId) -> Result<Option<Claim>> {
        // Claims are of one day, and this is asked seldom.
        let statement = "SELECT doc AS value FROM claims WHERE doc->>'request' = ?1
            OR EXISTS (SELECT 1 FROM json_each(doc, '$.replaces') WHERE value = ?1) LIMIT 1";
        Ok(self.rows(statement, vec![request.as_str().into()])?.into_iter().next())
    }

    fn stale(&self, until: Timestamp, most_bytes: u64) -> Result<Option<u64>> {
        self.stale_kept(until, most_bytes)
    }

    fn ended_sessions(&self, since: Timestamp) -> Result<u32> {
        self.count_ended(since)
    }

    fn last_end(&self) -> Result<Timestamp> {
        self.newest_end()
    }

    fn expired(&self, request: &RequestId) -> Result<Option<Expired>> {
        let statement = "
            SELECT doc AS value FROM journal WHERE subject = ?1 AND kind = 'receipt' AND doc->>'error'->>'code' = 'hold_expired'
              AND NOT EXISTS (SELECT 1 FROM journal WHERE subject = ?1 || '/correction')";
        Ok(self.rows(statement, vec![request.as_str().into()])?.into_iter().next())
    }
}

impl AccountWriter for Store {
    fn apply(&self, event: &Event) -> Result<()> {
        self.store(event)
    }

    fn last_closed(&self) -> Result<Option<String>> {
        let statement = "SELECT subject AS value FROM journal WHERE subject < 'gen.' ORDER BY subject DESC LIMIT 1";
        self.text(statement, Vec::new())
    }

    fn fault(what: String) -> worker::Error {
        worker::Error::RustError(what)
    }
}
