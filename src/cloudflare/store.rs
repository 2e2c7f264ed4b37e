//! The account object's tables: one function per statement, and one for each event.
//!
//! Bound numbers arrive in SQLite as REAL, so that every one is cast where it is used.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use worker::{Result, SqlStorage, SqlStorageValue};

use super::platform::transaction_sync;
use crate::account::{
    AccountRecord, Books, Checkpoint, Claim, Event, Head, Held, Hold, KeyBook, LedgerFilter, Page, ProjectBook, ProjectRecord,
    ReceiptFilter, Row, Tally,
};
use crate::id::{BucketId, KeyId, ProjectId, RequestId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::time::Timestamp;

/// Version 1 of the tables. Later versions are added behind it and never change it.
const SCHEMA: &str = "
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
";

/// What a command is about; the rows that it touches are found by it. The key and the claim of an open hold are found by it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Touches<'a> {
    pub key: Option<&'a KeyId>,
    pub project: Option<&'a ProjectId>,
    /// The request or the adjustment.
    pub subject: Option<&'a str>,
    pub claim: Option<&'a str>,
}

/// The tables of one account.
#[derive(Clone)]
pub struct Store {
    sql: SqlStorage,
}

fn text(value: &(impl Serialize + ?Sized)) -> Result<SqlStorageValue> {
    Ok(SqlStorageValue::String(serde_json::to_string(value)?))
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    Ok(serde_json::from_str(json)?)
}

fn optional<T: DeserializeOwned>(json: Option<String>) -> Result<Option<T>> {
    json.map(|json| read(&json)).transpose()
}

fn money(nanos: i64) -> Result<Money> {
    Money::from_nanos(nanos).map_err(|error| worker::Error::RustError(format!("a stored amount {error}")))
}

#[derive(Deserialize)]
struct BooksRow {
    seq: Option<i64>,
    balances: Option<String>,
    held: String,
    key_record: Option<String>,
    key_tally: Option<String>,
    project_record: Option<String>,
    project_tally: Option<String>,
    hold: Option<String>,
    closed: i64,
    claim: Option<String>,
}

#[derive(Deserialize)]
struct HeldRow {
    bucket: BucketId,
    key: KeyId,
    project: ProjectId,
    amount: i64,
    count: u32,
    tokens: u64,
}

#[derive(Deserialize)]
struct TextRow {
    value: String,
}

#[derive(Deserialize)]
struct NumberedRow {
    seq: i64,
    value: String,
}

/// What is to be copied to the searchable store.
#[derive(Deserialize)]
pub struct Batch {
    pub last: Option<i64>,
    /// The rows as a JSON list.
    pub rows: String,
    /// Whether there are records of accounts, projects or keys among them.
    pub has_records: i64,
}

impl Store {
    /// The tables in this storage.
    pub const fn new(sql: SqlStorage) -> Self {
        Self { sql }
    }

    /// Makes the tables that are not there yet.
    pub fn migrate(&self) -> Result<()> {
        self.sql.exec(SCHEMA, None).map(|_| ())
    }

    fn rows<T: DeserializeOwned>(&self, statement: &str, values: Vec<SqlStorageValue>) -> Result<Vec<T>> {
        self.sql.exec(statement, values)?.to_array()
    }

    fn run(&self, statement: &str, values: Vec<SqlStorageValue>) -> Result<()> {
        self.sql.exec(statement, values).map(|_| ())
    }

    /// Loads what a decision depends on, in one statement.
    pub fn books(&self, touches: Touches<'_>) -> Result<Books> {
        let statement = "
            WITH o AS (SELECT key, doc FROM holds WHERE request = ?3),
                 k AS (SELECT record, tally, project FROM keys WHERE id = COALESCE(?1, (SELECT key FROM o))),
                 p AS (SELECT record, tally FROM projects WHERE id = COALESCE(?2, (SELECT project FROM k))),
                 h AS (SELECT bucket, key, project, SUM(amount) AS amount, COUNT(*) AS count, SUM(tokens) AS tokens FROM holds GROUP BY bucket, key, project)
            SELECT j.seq, j.balances,
              (SELECT json_group_array(json_object('bucket', bucket, 'key', key, 'project', project, 'amount', amount, 'count', count, 'tokens', tokens)) FROM h) AS held,
              (SELECT record FROM k) AS key_record, (SELECT tally FROM k) AS key_tally,
              (SELECT record FROM p) AS project_record, (SELECT tally FROM p) AS project_tally,
              (SELECT doc FROM o) AS hold,
              EXISTS (SELECT 1 FROM journal WHERE subject = ?3) AS closed,
              (SELECT doc FROM claims WHERE id = COALESCE(?4, (SELECT doc->>'claim' FROM o))) AS claim
            FROM (SELECT 1) LEFT JOIN (SELECT seq, balances FROM journal ORDER BY seq DESC LIMIT 1) j";
        let values = vec![
            touches.key.map(KeyId::as_str).into(),
            touches.project.map(ProjectId::as_str).into(),
            touches.subject.into(),
            touches.claim.into(),
        ];
        let rows: Vec<BooksRow> = self.rows(statement, values)?;
        let Some(row) = rows.into_iter().next() else { return Ok(Books::default()) };
        let head =
            Head { seq: u64::try_from(row.seq.unwrap_or(0)).unwrap_or(0), balances: optional(row.balances)?.unwrap_or_default() };
        let held: Vec<HeldRow> = read(&row.held)?;
        let held = held.into_iter().map(|row| {
            let HeldRow { bucket, key, project, amount, count, tokens } = row;
            Ok(Held { bucket, key, project, amount: money(amount)?, count, tokens })
        });
        let key: Option<KeyRecord> = optional(row.key_record)?;
        let key_tally: Tally = optional(row.key_tally)?.unwrap_or_default();
        let project: Option<ProjectRecord> = optional(row.project_record)?;
        let project_tally: Tally = optional(row.project_tally)?.unwrap_or_default();
        Ok(Books {
            head,
            held: held.collect::<Result<_>>()?,
            key: key.map(|record| KeyBook { record, tally: key_tally }),
            project: project.map(|record| ProjectBook { record, tally: project_tally }),
            hold: optional(row.hold)?,
            closed: row.closed != 0,
            claim: optional(row.claim)?,
            account: None,
            adjusted: None,
        })
    }

    /// Stores what an event says.
    pub fn apply(&self, event: &Event) -> Result<()> {
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
            Event::Claimed(claim) => self.put_claim(claim),
            Event::Unclaimed(claim) => self.run("DELETE FROM claims WHERE id = ?1", vec![claim.as_str().into()]),
        }
    }

    fn put_hold(&self, hold: &Hold) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO holds (request, key, project, bucket, amount, tokens, deadline, doc)
             VALUES (?1, ?2, ?3, ?4, CAST(?5 AS INTEGER), CAST(?6 AS INTEGER), CAST(?7 AS INTEGER), ?8)",
            vec![
                hold.request.as_str().into(),
                hold.key.as_str().into(),
                hold.project.as_str().into(),
                hold.bucket.as_str().into(),
                hold.amount.nanos().into(),
                i64::try_from(hold.tokens).unwrap_or(i64::MAX).min(Money::MAX.nanos()).into(),
                hold.deadline.millis().into(),
                text(hold)?,
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
        let seq = SqlStorageValue::try_from_i64(i64::try_from(row.seq).unwrap_or(i64::MAX))?;
        self.run(
            "INSERT INTO journal (seq, subject, at, kind, key, bucket, amount, balances, doc)
             VALUES (CAST(?1 AS INTEGER), ?2, CAST(?3 AS INTEGER), ?4, ?5, ?6, CAST(?7 AS INTEGER), ?8, ?9)",
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
            ],
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
        let rows: Vec<TextRow> = self.rows("SELECT value FROM meta WHERE name = ?1", vec![name.into()])?;
        Ok(rows.into_iter().next().map(|row| row.value))
    }

    /// The account; none before it is opened.
    pub fn account(&self) -> Result<Option<AccountRecord>> {
        optional(self.meta("account")?)
    }

    /// The adjustment of this id, if it was made.
    pub fn adjusted(&self, id: &str) -> Result<Option<(BucketId, Money)>> {
        #[derive(Deserialize)]
        struct Adjusted {
            bucket: BucketId,
            amount: i64,
        }
        let statement = "SELECT bucket, amount FROM journal WHERE subject = ?1 AND kind = 'adjustment'";
        let rows: Vec<Adjusted> = self.rows(statement, vec![id.into()])?;
        rows.into_iter().next().map(|row| Ok((row.bucket, money(row.amount)?))).transpose()
    }

    /// Every open hold.
    pub fn holds(&self) -> Result<Vec<Hold>> {
        let rows: Vec<TextRow> = self.rows("SELECT doc AS value FROM holds ORDER BY request", Vec::new())?;
        rows.iter().map(|row| read(&row.value)).collect()
    }

    /// Open holds whose deadline has passed.
    pub fn due_holds(&self, now: Timestamp) -> Result<Vec<Hold>> {
        let statement = "SELECT doc AS value FROM holds WHERE deadline <= CAST(?1 AS INTEGER) LIMIT 500";
        let rows: Vec<TextRow> = self.rows(statement, vec![now.millis().into()])?;
        rows.iter().map(|row| read(&row.value)).collect()
    }

    /// When the next open hold ends by itself.
    pub fn next_deadline(&self) -> Result<Option<Timestamp>> {
        #[derive(Deserialize)]
        struct Deadline {
            value: Option<i64>,
        }
        let rows: Vec<Deadline> = self.rows("SELECT MIN(deadline) AS value FROM holds", Vec::new())?;
        Ok(rows.into_iter().next().and_then(|row| row.value).map(Timestamp::from_millis))
    }

    /// What a key, or the keys of a project, spent so far, from the journal; for budgets that are new.
    pub fn spent(&self, key: Option<&KeyId>, project: Option<&ProjectId>, now: Timestamp) -> Result<Tally> {
        #[derive(Deserialize)]
        struct Sum {
            bucket: BucketId,
            total: i64,
            day: i64,
            month: i64,
        }
        let (day, month) = (crate::time::Period::Day.start(now), crate::time::Period::Month.start(now));
        let statement = "
            SELECT bucket, -SUM(amount) AS total,
              -SUM(CASE WHEN at >= CAST(?3 AS INTEGER) THEN amount ELSE 0 END) AS day,
              -SUM(CASE WHEN at >= CAST(?4 AS INTEGER) THEN amount ELSE 0 END) AS month
            FROM journal WHERE kind = 'receipt' AND amount IS NOT NULL
              AND (?1 IS NULL OR key = ?1) AND (?2 IS NULL OR doc->>'project' = ?2) GROUP BY bucket";
        let values = vec![
            key.map(KeyId::as_str).into(),
            project.map(ProjectId::as_str).into(),
            day.millis().into(),
            month.millis().into(),
        ];
        let mut tally = Tally::default();
        for Sum { bucket, total, day: in_day, month: in_month } in self.rows::<Sum>(statement, values)? {
            let spent = crate::account::Spent {
                total: money(total)?,
                day_start: day,
                day: money(in_day)?,
                month_start: month,
                month: money(in_month)?,
            };
            tally.spent.insert(bucket, spent);
        }
        Ok(tally)
    }

    /// One receipt.
    pub fn receipt(&self, request: &RequestId) -> Result<Vec<(u64, serde_json::Value)>> {
        let statement = "SELECT seq, doc AS value FROM journal WHERE subject = ?1 AND kind = 'receipt'";
        self.numbered(statement, vec![request.as_str().into()])
    }

    /// Receipts, newest first.
    pub fn receipts(&self, filter: &ReceiptFilter, page: Page) -> Result<Vec<(u64, serde_json::Value)>> {
        let statement = "
            SELECT seq, doc AS value FROM journal WHERE kind = 'receipt' AND seq < CAST(?1 AS INTEGER)
              AND (?3 IS NULL OR key = ?3) AND (?4 IS NULL OR doc->>'project' = ?4)
              AND (?5 IS NULL OR doc->>'model' = ?5 OR doc->>'requested_model' = ?5)
              AND (?6 IS NULL OR doc->>'route' = ?6) AND (?7 IS NULL OR doc->>'bucket' = ?7)
              AND (?8 IS NULL OR doc->>'status' = ?8) AND (?9 IS NULL OR doc->>'run' = ?9)
              AND (?10 IS NULL OR at >= CAST(?10 AS INTEGER)) AND (?11 IS NULL OR at < CAST(?11 AS INTEGER))
            ORDER BY seq DESC LIMIT CAST(?2 AS INTEGER)";
        let mut values = paged(page);
        let names = [&filter.key, &filter.project, &filter.model, &filter.route, &filter.bucket, &filter.status, &filter.run];
        values.extend(names.into_iter().map(|name| name.as_deref().into()));
        values.extend([filter.since, filter.until].map(|moment| moment.map(Timestamp::millis).into()));
        self.numbered(statement, values)
    }

    /// Ledger entries, newest first.
    pub fn ledger(&self, filter: &LedgerFilter, page: Page) -> Result<Vec<(u64, serde_json::Value)>> {
        let statement = "
            SELECT seq, json_object(
                'id', 'entry-' || seq, 'seq', seq, 'at_ms', at, 'kind', CASE kind WHEN 'receipt' THEN 'charge' ELSE kind END,
                'bucket', bucket, 'amount_nanos', amount, 'balance_after', balances->>('$.' || json_quote(bucket)),
                'request', CASE kind WHEN 'receipt' THEN subject END, 'key', key, 'model', doc->>'model', 'route', doc->>'route',
                'reason', COALESCE(doc->>'reason', doc->>'why'), 'author', doc->>'author') AS value
            FROM journal WHERE amount IS NOT NULL AND seq < CAST(?1 AS INTEGER)
              AND (?3 IS NULL OR bucket = ?3) AND (?4 IS NULL OR key = ?4)
              AND (?5 IS NULL OR at >= CAST(?5 AS INTEGER)) AND (?6 IS NULL OR at < CAST(?6 AS INTEGER))
            ORDER BY seq DESC LIMIT CAST(?2 AS INTEGER)";
        let mut values = paged(page);
        values.extend([&filter.bucket, &filter.key].map(|name| name.as_deref().into()));
        values.extend([filter.since, filter.until].map(|moment| moment.map(Timestamp::millis).into()));
        let mut rows = self.numbered(statement, values)?;
        for (_, row) in &mut rows {
            let Some(fields) = row.as_object_mut() else { continue };
            let integer = |value: Option<serde_json::Value>| value.and_then(|value| value.as_i64()).unwrap_or(0);
            let at = Timestamp::from_millis(integer(fields.remove("at_ms")));
            let amount = money(integer(fields.remove("amount_nanos")))?;
            fields.insert("at".to_owned(), at.to_string().into());
            fields.insert("amount".to_owned(), amount.to_string().into());
        }
        Ok(rows)
    }

    /// All keys, without their hashes.
    pub fn keys(&self) -> Result<Vec<(u64, serde_json::Value)>> {
        self.numbered(
            "SELECT ROW_NUMBER() OVER (ORDER BY id) AS seq, json_remove(record, '$.hash') AS value FROM keys",
            Vec::new(),
        )
    }

    /// All projects.
    pub fn projects(&self) -> Result<Vec<(u64, serde_json::Value)>> {
        self.numbered("SELECT ROW_NUMBER() OVER (ORDER BY id) AS seq, record AS value FROM projects", Vec::new())
    }

    fn numbered(&self, statement: &str, values: Vec<SqlStorageValue>) -> Result<Vec<(u64, serde_json::Value)>> {
        let rows: Vec<NumberedRow> = self.rows(statement, values)?;
        rows.into_iter().map(|row| Ok((u64::try_from(row.seq).unwrap_or(0), read(&row.value)?))).collect()
    }

    /// The next rows that the searchable copy does not have.
    pub fn uncopied(&self, most: u32) -> Result<Option<Batch>> {
        let statement = "
            SELECT MAX(seq) AS last, MAX(kind NOT IN ('receipt', 'adjustment')) AS has_records,
              json_group_array(json_object('seq', seq, 'at', at, 'kind', kind, 'subject', subject, 'key', key, 'bucket', bucket,
                'amount', amount, 'balances', balances, 'doc', doc)) AS rows
            FROM (SELECT *, SUM(LENGTH(doc)) OVER (ORDER BY seq) - LENGTH(doc) AS bytes_before FROM (
                    SELECT * FROM journal
                    WHERE seq > COALESCE((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'copied'), 0)
                    ORDER BY seq LIMIT CAST(?1 AS INTEGER)))
            WHERE bytes_before < 500000
            HAVING COUNT(*) > 0";
        let rows: Vec<Batch> = self.rows(statement, vec![i64::from(most).into()])?;
        Ok(rows.into_iter().next())
    }

    /// Notes that the searchable copy has all rows up to this one.
    pub fn copied(&self, last: i64) -> Result<()> {
        let statement = "INSERT INTO meta (name, value) VALUES ('copied', CAST(CAST(?1 AS INTEGER) AS TEXT))
            ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE CAST(value AS INTEGER) < CAST(excluded.value AS INTEGER)";
        self.run(statement, vec![last.into()])
    }

    /// Runs `action` so that all of its writes stand, or none.
    pub fn atomically<T>(storage: &JsValue, mut action: impl FnMut() -> Result<T>) -> Result<T> {
        let mut result = None;
        let mut body = || match action() {
            Ok(value) => {
                result = Some(Ok(value));
                Ok(JsValue::UNDEFINED)
            }
            Err(error) => {
                // The throw rolls back; the error itself stays on this side.
                result = Some(Err(error));
                Err(JsValue::from_str("rolled back"))
            }
        };
        let thrown = transaction_sync(storage, &mut body).err();
        match (result, thrown) {
            (Some(Ok(_)), Some(error)) => Err(error.into()),
            (Some(result), _) => result,
            (None, error) => Err(error.unwrap_or_else(|| JsValue::from_str("the transaction did not run")).into()),
        }
    }
}

fn paged(page: Page) -> Vec<SqlStorageValue> {
    let before = page.before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::from(u32::MAX) << 16);
    vec![before.into(), i64::from(page.limit).into()]
}
