//! What an account in memory tells: the answers of the account object's `SELECT`s, in one place.

use serde_json::{Value, json};
use tokens_forge::account::{
    Answer, Audit, AuditRow, BalanceView, Filter, Journaled, KEPT_MS, Listed, OpenHold, Overview, Page, Query, Row, Shelf,
    Touches, Wanted, audit, marks, weigh,
};
use tokens_forge::id::{BucketId, KeyId, RunId};
use tokens_forge::time::Timestamp;

use super::memory::Memory;

type Rows = Vec<(u64, Value)>;

/// What a row is about, as it is stored.
pub fn doc_of(row: &Row) -> Value {
    serde_json::to_value(&row.journaled).unwrap()
}

/// How long the stored text is, in characters.
fn length_of(row: &Row) -> u64 {
    u64::try_from(serde_json::to_string(&row.journaled).unwrap().chars().count()).unwrap()
}

/// A row as it is compared with its copy.
pub fn compared(row: &Row) -> tokens_forge::account::ComparedRow {
    let bucket = row.bucket.as_ref().map(ToString::to_string);
    (i64::try_from(row.seq).unwrap(), bucket, row.amount.map(|amount| amount.nanos()), row.at.millis(), length_of(row))
}

/// A row as JSON, with this in the place of what it is about.
pub fn row_json(row: &Row, doc: Value) -> Value {
    let debts = if row.debts.is_empty() { Value::Null } else { json!(row.debts) };
    json!({
        "seq": row.seq, "at": row.at.millis(), "kind": row.journaled.kind(), "bucket": row.bucket,
        "amount": row.amount.map(|amount| amount.nanos()), "balances": row.balances, "debts": debts, "doc": doc,
    })
}

/// Whether a row is one of those that a filter names, apart from what kinds are listed.
pub fn is_named(filter: &Filter, row: &Row, doc: &Value) -> bool {
    let text = |name: &str| doc.get(name).and_then(Value::as_str);
    let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
    let Filter { listed: _, key, project, model, route, bucket, status, run, kind, since, until } = filter;
    let of_row = row.bucket.as_ref().map(BucketId::as_str);
    is(key, row.journaled.key().map(KeyId::as_str))
        && is(project, text("project"))
        && (is(model, text("model")) || is(model, text("requested_model")))
        && is(route, text("route"))
        && is(bucket, of_row.or(text("bucket")))
        && is(status, text("status"))
        && is(run, text("run"))
        && is(kind, Some(row.journaled.kind().as_str()))
        && since.is_none_or(|since| row.at >= since)
        && until.is_none_or(|until| row.at < until)
}

/// Whether a row is of the kinds that are listed.
pub fn is_listed(listed: Listed, row: &Row) -> bool {
    let is_receipt = matches!(row.journaled, Journaled::Receipt(_));
    match listed {
        Listed::Receipts => is_receipt,
        Listed::Entries => row.amount.is_some(),
        Listed::Records => !is_receipt,
    }
}

impl Memory {
    /// Answers a query.
    pub fn read(&self, query: &Query, now: Timestamp) -> Answer {
        let plain = |rows: Vec<Value>| Answer::Rows(rows.into_iter().map(|row| (0, row)).collect());
        match query {
            Query::Overview => Answer::Overview(Box::new(self.overview())),
            Query::Receipt(request) => {
                let row = self.row_of(request.as_str()).filter(|row| is_listed(Listed::Receipts, row));
                Answer::Rows(row.map(|row| self.told(row)).into_iter().collect())
            }
            Query::Journal(filter, page) => Answer::Rows(self.journal_page(filter, *page)),
            Query::Key(key) => plain(self.key_view(key, now).into_iter().collect()),
            Query::Record(key) => self.record(key),
            Query::Session(session) => {
                let ends = marks(session).into_iter().filter_map(|mark| self.ended.get(&mark).copied()).max();
                let is_ended = ends.is_some_and(|end| end > session.known());
                if is_ended { Answer::Rows(Vec::new()) } else { self.record(&session.key) }
            }
            Query::LastEnd => Answer::LastEnd(self.last_end().unwrap()),
            Query::Preview(key, holds) => {
                let books = self.books(Touches { key: Some(key), ..Touches::default() }).unwrap();
                let exactly = holds.iter().map(|(bucket, amount)| Wanted::exactly(bucket.clone(), *amount));
                Answer::Previewed(exactly.map(|wanted| weigh(&books, &wanted, now).refusal).collect())
            }
            Query::Weigh(key, holds) => {
                let books = self.books(Touches { key: Some(key), ..Touches::default() }).unwrap();
                Answer::Weighed(holds.iter().map(|wanted| weigh(&books, wanted, now)).collect())
            }
            Query::Keys => plain(self.keys.values().map(|book| without_hash(&book.record)).collect()),
            Query::Projects => plain(self.projects.values().map(|book| json!(book.record)).collect()),
            Query::Run(run) => plain(self.run_view(run).into_iter().collect()),
            Query::Runs(after, limit) => {
                let is_after = |id: &&RunId| after.as_deref().is_none_or(|after| id.as_str() > after);
                let some = self.runs.keys().filter(is_after).take(usize::try_from(*limit).unwrap());
                plain(some.map(|id| json!({"id": id, "record": self.runs[id].record})).collect())
            }
            Query::Kept(requests) => Answer::Kept(self.kept_of(requests, now.plus(-KEPT_MS))),
            Query::Order(id) => plain(self.orders.get(id).map(|order| json!(order)).into_iter().collect()),
            Query::Orders(after, limit) => {
                let is_after = |id: &str| after.as_deref().is_none_or(|after| id < after);
                let some = self.orders.values().rev().filter(|order| is_after(order.id.as_str()));
                plain(some.take(usize::try_from(*limit).unwrap()).map(|order| json!(order)).collect())
            }
            Query::Audit { after, limit } => Answer::Audit(Box::new(self.audit(*after, *limit))),
        }
    }

    fn overview(&self) -> Overview {
        let books = self.all_books();
        let named = books.head.balances.keys().chain(books.head.debts.keys()).chain(self.holds.values().map(|hold| &hold.bucket));
        let buckets: std::collections::BTreeSet<BucketId> = named.cloned().collect();
        let view = |bucket: BucketId| BalanceView {
            balance: books.balance(&bucket),
            held: books.held(&bucket),
            available: books.available(&bucket),
            debt: books.debt(&bucket),
            open_holds: self
                .holds
                .values()
                .filter(|hold| hold.bucket == bucket)
                .map(|hold| OpenHold {
                    request: hold.request.clone(),
                    key: hold.key.clone(),
                    bucket: hold.bucket.clone(),
                    run: hold.facts.run.clone(),
                    amount: hold.amount,
                    opened_at: hold.opened_at,
                    deadline: hold.deadline,
                })
                .collect(),
            bucket,
        };
        Overview { account: self.account.clone(), balances: buckets.into_iter().map(view).collect() }
    }

    /// A row with its number; a receipt carries the correction that came after it.
    fn told(&self, row: &Row) -> (u64, Value) {
        let mut doc = doc_of(row);
        if let Journaled::Receipt(receipt) = &row.journaled
            && let Some(correction) = self.row_of(&format!("{}/correction", receipt.id))
        {
            doc["correction"] = doc_of(correction);
        }
        (row.seq, row_json(row, doc))
    }

    fn journal_page(&self, filter: &Filter, page: Page) -> Rows {
        let is_asked = |row: &&Row| {
            page.before.is_none_or(|before| row.seq < before)
                && is_listed(filter.listed, row)
                && is_named(filter, row, &doc_of(row))
        };
        let newest = self.journal.iter().rev().filter(is_asked);
        newest.take(usize::try_from(page.limit).unwrap()).map(|row| self.told(row)).collect()
    }

    fn record(&self, key: &KeyId) -> Answer {
        let book = self.keys.get(key);
        book.map_or_else(|| Answer::Rows(Vec::new()), |book| Answer::Key(Box::new(book.record.clone())))
    }

    fn key_view(&self, key: &KeyId, now: Timestamp) -> Option<Value> {
        let book = self.keys.get(key)?;
        let view = |budget: &tokens_forge::key::Budget| {
            let spent = book.tally.spent(&budget.bucket, budget.period, now);
            json!({
                "bucket": budget.bucket, "period": budget.period, "limit": budget.limit, "spent": spent,
                "remaining": budget.limit.checked_sub(spent).unwrap_or_default(), "resets_at": budget.period.end(now),
            })
        };
        Some(json!({"budgets": book.record.policy.budgets.iter().map(view).collect::<Vec<_>>()}))
    }

    fn run_view(&self, run: &RunId) -> Option<Value> {
        let of_run = self.holds.values().filter(|hold| hold.facts.run.as_ref() == Some(run));
        let held: Vec<Value> = of_run
            .map(|hold| json!({"request": hold.request, "bucket": hold.bucket, "amount_nanos": hold.amount.nanos()}))
            .collect();
        let book = self.runs.get(run);
        (book.is_some() || !held.is_empty()).then(|| {
            json!({
                "id": run, "record": book.and_then(|book| book.record.as_ref()), "tally": book.map(|book| &book.tally),
                "lines": book.map(|book| &book.lines), "held": held,
            })
        })
    }

    fn audit(&self, after: u64, limit: u32) -> Audit {
        let row = |row: &Row| AuditRow {
            seq: row.seq,
            at: row.at.millis(),
            length: length_of(row),
            kind: row.journaled.kind().as_str().to_owned(),
            bucket: row.bucket.clone(),
            amount: row.amount,
            balances: row.balances.clone(),
            debts: row.debts.clone(),
            charge: match &row.journaled {
                Journaled::Receipt(receipt) => Some(receipt.charge),
                _ => None,
            },
        };
        // The row before is where the balances start.
        let most = usize::try_from(limit).unwrap() + 1;
        let rows = self.journal.iter().filter(|row| row.seq >= after).take(most).map(row).collect();
        audit(rows, after, limit, self.journal.last().map_or(0, |row| row.seq), self.copied)
    }
}

fn without_hash(record: &tokens_forge::key::KeyRecord) -> Value {
    let mut view = json!(record);
    view.as_object_mut().unwrap().shift_remove("hash");
    view
}
