//! What an account in memory tells: the answers of the account object's `SELECT`s, in one place.

use serde_json::{Value, json};
use tokens_forge::account::{
    AccountAnswer, AccountStore, Audit, AuditRow, Hold, InFlight, JournalFilter, Journaled, KEPT_MS, Listed, Overview, Query,
    Row, RunBook, RunOpened, RunView, StoredRow, Touches, Wanted, Window, audit, marks, weigh,
};
use tokens_forge::id::{BucketId, KeyId};
use tokens_forge::time::Timestamp;

use super::tables::Tables;

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
pub fn is_named(filter: &JournalFilter, row: &Row, doc: &Value) -> bool {
    let text = |name: &str| doc.get(name).and_then(Value::as_str);
    let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
    let JournalFilter { listed: _, key, project, model, route, bucket, status, run, kind, subject, since, until } = filter;
    let of_row = row.bucket.as_ref().map(BucketId::as_str);
    is(key, row.journaled.key().map(KeyId::as_str))
        && is(project, text("project"))
        && (is(model, text("model")) || is(model, text("requested_model")))
        && is(route, text("route"))
        && is(bucket, of_row.or(text("bucket")))
        && is(status, text("status"))
        && is(run, text("run"))
        && is(kind, Some(row.journaled.kind().as_str()))
        && is(subject, row.journaled.subject().as_deref())
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

impl Tables {
    /// Answers a query.
    pub fn read(&self, query: &Query, now: Timestamp) -> AccountAnswer {
        match query {
            Query::Overview => {
                let holds: Vec<Hold> = self.holds.values().cloned().collect();
                AccountAnswer::Overview(Box::new(Overview::new(self.account.clone(), &self.all_books(), &holds)))
            }
            Query::Receipt(request) => {
                let row = self.row_of(request.as_str()).filter(|row| is_listed(Listed::Receipts, row));
                AccountAnswer::Journal(row.map(|row| self.told(row)).into_iter().collect())
            }
            Query::Journal(filter, page) => AccountAnswer::Journal(self.journal_page(filter, *page)),
            Query::Key(key) => {
                self.keys.get(key).map_or(AccountAnswer::Nothing, |book| AccountAnswer::Budgets(book.budgets(now)))
            }
            Query::Record(key) => self.record(key),
            Query::Session(session) => {
                let ends = marks(session).into_iter().filter_map(|mark| self.ended.get(&mark).copied()).max();
                let is_ended = ends.is_some_and(|end| end > session.known());
                if is_ended { AccountAnswer::Nothing } else { self.record(&session.key) }
            }
            Query::LastEnd => AccountAnswer::LastEnd(self.last_end().unwrap()),
            Query::Preview(key, holds) => {
                let books = self.state(Touches { key: Some(key), ..Touches::default() }).unwrap();
                let exactly = holds.iter().map(|(bucket, amount)| Wanted::exactly(bucket.clone(), *amount));
                AccountAnswer::Previewed(exactly.map(|wanted| weigh(&books, &wanted, now).refusal).collect())
            }
            Query::Weigh(key, holds) => {
                let books = self.state(Touches { key: Some(key), ..Touches::default() }).unwrap();
                AccountAnswer::Weighed(holds.iter().map(|wanted| weigh(&books, wanted, now)).collect())
            }
            Query::Keys => AccountAnswer::Keys(self.keys.values().map(|book| book.record.clone().into()).collect()),
            Query::Projects => AccountAnswer::Projects(self.projects.values().map(|book| book.record.clone()).collect()),
            Query::Run(run) => {
                let of_run = self.holds.values().filter(|hold| hold.facts.run.as_ref() == Some(run));
                let held = of_run.map(|hold| InFlight {
                    request: hold.request.clone(),
                    bucket: hold.bucket.clone(),
                    amount: hold.amount,
                });
                let held: Vec<InFlight> = held.collect();
                match self.runs.get(run).cloned() {
                    None if held.is_empty() => AccountAnswer::Nothing,
                    book => {
                        AccountAnswer::Run(Box::new(RunView::new(book.unwrap_or_else(|| RunBook::new(run.clone())), held, now)))
                    }
                }
            }
            Query::Runs(after, limit) => {
                let is_after = |run: &&RunBook| after.as_deref().is_none_or(|after| run.id.as_str() > after);
                let some = self.runs.values().filter(is_after).take(usize::try_from(*limit).unwrap());
                AccountAnswer::Runs(some.map(RunOpened::of).collect())
            }
            Query::Kept(requests) => AccountAnswer::Kept(self.kept_of(requests, now.plus(-KEPT_MS))),
            Query::Order(id) => {
                self.orders.get(id).map_or(AccountAnswer::Nothing, |order| AccountAnswer::Order(Box::new(order.clone())))
            }
            Query::Orders(after, limit) => {
                let is_after = |id: &str| after.as_deref().is_none_or(|after| id < after);
                let some = self.orders.values().rev().filter(|order| is_after(order.id.as_str()));
                AccountAnswer::Orders(some.take(usize::try_from(*limit).unwrap()).cloned().collect())
            }
            Query::Audit { after, limit } => AccountAnswer::Audit(Box::new(self.audit(*after, *limit))),
        }
    }

    /// A row as it is stored; a receipt carries the correction that came after it.
    fn told(&self, row: &Row) -> StoredRow {
        let mut doc = doc_of(row);
        if let Journaled::Receipt(receipt) = &row.journaled
            && let Some(correction) = self.row_of(&format!("{}/correction", receipt.id))
        {
            doc["correction"] = doc_of(correction);
        }
        serde_json::from_value(row_json(row, doc)).unwrap()
    }

    fn journal_page(&self, filter: &JournalFilter, page: Window) -> Vec<StoredRow> {
        let is_asked = |row: &&Row| {
            page.before.is_none_or(|before| row.seq < before)
                && is_listed(filter.listed, row)
                && is_named(filter, row, &doc_of(row))
        };
        let newest = self.journal.iter().rev().filter(is_asked);
        newest.take(usize::try_from(page.limit).unwrap()).map(|row| self.told(row)).collect()
    }

    fn record(&self, key: &KeyId) -> AccountAnswer {
        self.keys.get(key).map_or(AccountAnswer::Nothing, |book| AccountAnswer::Key(Box::new(book.record.clone())))
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
