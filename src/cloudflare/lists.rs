//! The account object's tables, read for lists and reports: one function per statement. Nothing here decides.

use serde_json::{Value, json};
use worker::Result;

use super::store::{Batch, Store, money};
use crate::account::{
    Audit, AuditRow, Balances, Counters, InFlight, JournalFilter, Listed, Order, ProjectRecord, RunBook, RunLine, RunRecord,
    StoredRow, Window, audit,
};
use crate::id::{BucketId, RequestId, RunId};
use crate::key::KeyRecord;
use crate::money::Money;
use crate::time::Timestamp;

/// A journal row as JSON; a receipt carries the correction that came after it.
const ROW: &str = "
    SELECT json_object('seq', j.seq, 'at', j.at, 'kind', j.kind, 'bucket', j.bucket, 'amount', j.amount,
      'balances', json(j.balances), 'debts', json(j.debts),
      'doc', json(CASE WHEN c.doc IS NULL THEN j.doc ELSE json_set(j.doc, '$.correction', json(c.doc)) END)) AS value
    FROM journal j LEFT JOIN journal c ON j.kind = 'receipt' AND c.subject = j.subject || '/correction'";

impl Store {
    /// The journal row of one receipt.
    pub fn receipt(&self, request: &RequestId) -> Result<Vec<StoredRow>> {
        self.rows(&format!("{ROW} WHERE j.subject = ?1 AND j.kind = 'receipt'"), vec![request.as_str().into()])
    }

    /// Journal rows, newest first.
    pub fn journal(&self, filter: &JournalFilter, page: Window) -> Result<Vec<StoredRow>> {
        let listed = match filter.listed {
            Listed::Receipts => "j.kind = 'receipt'",
            Listed::Entries => "j.amount IS NOT NULL",
            Listed::Records => "j.kind <> 'receipt'",
        };
        // Found by its index: the row may be an old one.
        let of_subject = if filter.subject.is_some() { "j.subject = ?13 AND" } else { "" };
        let statement = format!(
            "{ROW} WHERE {of_subject} {listed} AND j.seq < CAST(?1 AS INTEGER)
              AND (?3 IS NULL OR j.key = ?3) AND (?4 IS NULL OR j.doc->>'project' = ?4)
              AND (?5 IS NULL OR j.doc->>'model' = ?5 OR j.doc->>'requested_model' = ?5)
              AND (?6 IS NULL OR j.doc->>'route' = ?6) AND (?7 IS NULL OR COALESCE(j.bucket, j.doc->>'bucket') = ?7)
              AND (?8 IS NULL OR j.doc->>'status' = ?8) AND (?9 IS NULL OR j.doc->>'run' = ?9)
              AND (?10 IS NULL OR j.kind = ?10)
              AND (?11 IS NULL OR j.at >= CAST(?11 AS INTEGER)) AND (?12 IS NULL OR j.at < CAST(?12 AS INTEGER))
            ORDER BY j.seq DESC LIMIT CAST(?2 AS INTEGER)"
        );
        let before = page.before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::from(u32::MAX) << 16);
        let mut values: Vec<Value> = vec![before.into(), i64::from(page.limit).into()];
        let JournalFilter { key, project, model, route, bucket, status, run, kind, .. } = filter;
        values.extend([key, project, model, route, bucket, status, run, kind].map(|name| name.as_deref().into()));
        values.extend([filter.since, filter.until].map(|moment| moment.map(Timestamp::millis).into()));
        values.extend(filter.subject.as_deref().map(Value::from));
        self.rows(&statement, values)
    }

    /// All keys.
    pub fn keys(&self) -> Result<Vec<KeyRecord>> {
        self.rows("SELECT record AS value FROM keys ORDER BY id", Vec::new())
    }

    /// All projects.
    pub fn projects(&self) -> Result<Vec<ProjectRecord>> {
        self.rows("SELECT record AS value FROM projects ORDER BY id", Vec::new())
    }

    /// What the open requests of a run have set aside.
    pub fn held_for(&self, run: &RunId) -> Result<Vec<InFlight>> {
        let statement = "SELECT json_array(request, bucket, amount) AS value FROM holds WHERE run = ?1";
        let rows: Vec<(RequestId, BucketId, i64)> = self.rows(statement, vec![run.as_str().into()])?;
        rows.into_iter().map(|(request, bucket, nanos)| Ok(InFlight { request, bucket, amount: money(nanos)? })).collect()
    }

    /// A run that has a row.
    pub fn run_book(&self, run: &RunId) -> Result<Option<RunBook>> {
        let statement = "SELECT json_array(json(record), json(tally), json(lines)) AS value FROM runs WHERE id = ?1";
        let found: Option<(Option<RunRecord>, Counters, Vec<RunLine>)> =
            self.rows(statement, vec![run.as_str().into()])?.into_iter().next();
        Ok(found.map(|(record, counters, lines)| RunBook { id: run.clone(), record, counters, lines }))
    }

    /// Runs by id, without what their requests came to.
    pub fn runs(&self, after: Option<&str>, limit: u32) -> Result<Vec<RunBook>> {
        let statement = "
            SELECT json_array(id, json(record)) AS value FROM runs WHERE id > ?1 ORDER BY id LIMIT CAST(?2 AS INTEGER)";
        let rows: Vec<(RunId, Option<RunRecord>)> =
            self.rows(statement, vec![after.unwrap_or_default().into(), i64::from(limit).into()])?;
        Ok(rows.into_iter().map(|(id, record)| RunBook { record, ..RunBook::new(id) }).collect())
    }

    /// Orders, newest first: their ids sort by time.
    pub fn orders(&self, after: Option<&str>, limit: u32) -> Result<Vec<Order>> {
        let statement = "SELECT doc AS value FROM orders WHERE id < ?1 ORDER BY id DESC LIMIT CAST(?2 AS INTEGER)";
        self.rows(statement, vec![after.unwrap_or("~").into(), i64::from(limit).into()])
    }

    /// Whether a part of the journal agrees with itself.
    pub fn audit(&self, after: u64, limit: u32) -> Result<Audit> {
        type Fetched = (u64, i64, u64, String, Option<BucketId>, Option<i64>, Balances, Option<Balances>, Option<Money>);
        // The row before is where the balances start.
        let statement = "
            SELECT json_array(seq, at, length(doc), kind, bucket, amount, json(balances), json(debts), CASE kind WHEN 'receipt' THEN doc->>'charge' END) AS value
            FROM journal WHERE seq >= CAST(?1 AS INTEGER) ORDER BY seq LIMIT CAST(?2 AS INTEGER)";
        let from = i64::try_from(after).unwrap_or(i64::MAX >> 11);
        let found: Vec<Fetched> = self.rows(statement, vec![from.into(), i64::from(limit.saturating_add(1)).into()])?;
        let row = |(seq, at, length, kind, bucket, amount, balances, debts, charge): Fetched| {
            let amount = amount.and_then(|nanos| Money::from_nanos(nanos).ok());
            AuditRow { seq, at, length, kind, bucket, amount, balances, debts: debts.unwrap_or_default(), charge }
        };
        let head = self.number("SELECT CAST(COALESCE(MAX(seq), 0) AS TEXT) AS value FROM journal")?;
        let copied = self.number("SELECT value FROM meta WHERE name = 'copied'")?;
        Ok(audit(found.into_iter().map(row).collect(), after, limit, head, copied))
    }

    fn number(&self, statement: &str) -> Result<u64> {
        Ok(self.text(statement, Vec::new())?.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// The next rows that the searchable copy does not have.
    pub fn uncopied(&self, most: u32) -> Result<Option<Batch>> {
        let statement = "
            SELECT MIN(seq) || ',' || MAX(seq) || ',' || MAX(kind IN ('account', 'project', 'key', 'order')) || ',' ||
              json_group_array(json_object('seq', seq, 'at', at, 'kind', kind, 'subject', subject, 'key', key, 'bucket', bucket,
                'amount', amount, 'balances', balances, 'debts', debts, 'doc', doc)) AS value
            FROM (SELECT *, SUM(LENGTH(doc)) OVER (ORDER BY seq) - LENGTH(doc) AS bytes_before FROM (
                    SELECT * FROM journal
                    WHERE seq > COALESCE((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'copied'), 0)
                    ORDER BY seq LIMIT CAST(?1 AS INTEGER)))
            WHERE bytes_before < 500000
            HAVING COUNT(*) > 0";
        let Some(text) = self.text(statement, vec![i64::from(most).into()])? else { return Ok(None) };
        let mut parts = text.splitn(4, ',');
        let mut seq = || parts.next().and_then(|text| text.parse().ok());
        let (first, last) = (seq(), seq());
        let has_records = parts.next() == Some("1");
        let batch = |((first, last), rows): ((i64, i64), &str)| Batch { first, last, has_records, rows: rows.to_owned() };
        Ok(first.zip(last).zip(parts.next()).map(batch))
    }

    /// Alerts that are to be sent now: row, tries so far, text.
    pub fn due_alerts(&self, now: Timestamp) -> Result<Vec<(i64, u32, Value)>> {
        let statement = "
            SELECT json_array(a.seq, a.tries, j.at, json(j.doc)) AS value FROM alerts a JOIN journal j ON j.seq = a.seq
            WHERE a.due <= CAST(?1 AS INTEGER) ORDER BY a.seq LIMIT 10";
        let rows: Vec<(i64, u32, i64, Value)> = self.rows(statement, vec![now.millis().into()])?;
        let message = |(seq, tries, at, alert): (i64, u32, i64, Value)| {
            (seq, tries, json!({"type": "budget.alert", "at": Timestamp::from_millis(at), "data": alert}))
        };
        Ok(rows.into_iter().map(message).collect())
    }

    /// An alert was sent, or given up.
    pub fn drop_alert(&self, seq: i64) -> Result<()> {
        self.run("DELETE FROM alerts WHERE seq = CAST(?1 AS INTEGER)", vec![seq.into()])
    }

    /// An alert was not taken; it is tried again.
    pub fn put_off_alert(&self, seq: i64, due: Timestamp) -> Result<()> {
        self.run(
            "UPDATE alerts SET tries = tries + 1, due = CAST(?2 AS INTEGER) WHERE seq = CAST(?1 AS INTEGER)",
            vec![seq.into(), due.millis().into()],
        )
    }
}
