//! Oversight across accounts: lists of all journals, and whether every journal agrees with itself and with its copy.

use std::rc::Rc;

use serde_json::{Value, json};

use super::{Request, admin, currency, lists, with_status};
use crate::account::{Answer, Audit, Command, ComparedRow, Listed, Query};
use crate::id::AccountId;
use crate::money::Money;
use crate::ports::{Cursor, Reconciled, Records};
use crate::refusal::Refusal;
use crate::relay::{Reply, unavailable};

/// Rows that are compared at once, and at most for one account in one go.
const AT_ONCE: u32 = 2_000;
const MOST_PARTS: u32 = 25;
const MOST_DIFFERENCES: usize = 100;
/// Accounts in one run of the cron, and how old a report may be.
const ACCOUNTS_AT_ONCE: u32 = 20;
const DAY_MS: i64 = 86_400_000;

/// Answers receipts, entries or records of all accounts, newest first.
pub async fn list<P: Records, B>(ports: &P, request: &Request<B>, listed: Listed) -> Result<Reply, Refusal> {
    let filter = lists::filter(request, listed)?;
    let account = request.param("account").map(ToOwned::to_owned);
    let outside = ports.clone();
    let catalog = ports.catalog().await.map_err(unavailable)?;
    let load: lists::Load = Box::new(move |after, limit| {
        let (outside, filter, account, catalog) = (outside.clone(), filter.clone(), account.clone(), Rc::clone(&catalog));
        Box::pin(async move {
            let wrong = || Refusal::invalid("after", "`after` must be the `next` of an earlier page.");
            let after = after.map(|text| Cursor::parse(&text).ok_or_else(wrong)).transpose()?;
            let rows = outside.journal(account.as_deref(), &filter, after, limit).await.map_err(unavailable)?;
            let next = lists::next(&rows, limit, |(cursor, _)| cursor.clone());
            Ok((rows.into_iter().map(|(_, row)| currency::row(row, &catalog)).collect(), next))
        })
    });
    lists::answer(ports, request, (listed, lists::Reader::Operator), load).await
}

/// What one account's journal was compared with.
struct Report {
    from: u64,
    to: u64,
    head: u64,
    copied: u64,
    rows: u64,
    differences: Vec<Value>,
}

impl Report {
    fn is_whole(&self) -> bool {
        self.to >= self.head
    }

    fn view(&self, account: &AccountId) -> Value {
        json!({
            "account": account, "from": self.from, "to": self.to, "head": self.head, "copied": self.copied, "rows": self.rows,
            "ok": self.differences.is_empty(), "is_whole": self.is_whole(), "differences": self.differences,
        })
    }

    fn found(&mut self, seq: i64, what: impl Into<String>) {
        if self.differences.len() < MOST_DIFFERENCES {
            self.differences.push(json!({"entry": format!("entry-{seq}"), "seq": seq, "what": what.into()}));
        }
    }
}

/// Compares an account's journal with itself and with its copy, from the row behind `from` on.
async fn reconcile<P: Records>(ports: &P, account: &AccountId, from: u64) -> Result<Report, Refusal> {
    admin::flush(ports, account).await;
    let mut report = Report { from, to: from, head: from, copied: 0, rows: 0, differences: Vec::new() };
    for _ in 0..MOST_PARTS {
        let query = Query::Audit { after: report.to, limit: AT_ONCE };
        let part = match ports.command(account, Command::Read(query)).await.map_err(unavailable)? {
            Answer::Audit(part) => *part,
            other => return Err(Refusal::unavailable(format!("an account answered with {}", other.kind()))),
        };
        let copy = ports.copied(account, report.to, part.last).await.map_err(unavailable)?;
        compare(&mut report, &part, &copy);
        if part.rows < u64::from(AT_ONCE) {
            break;
        }
    }
    if report.is_whole() {
        let mut beyond = ports.copied_beyond(account, report.head).await.map_err(unavailable)?;
        if !beyond.is_empty() {
            // The account may have gone on meanwhile.
            let query = Query::Audit { after: report.head, limit: 1 };
            if let Answer::Audit(part) = ports.command(account, Command::Read(query)).await.map_err(unavailable)? {
                beyond.retain(|seq| *seq > part.head);
            }
        }
        for seq in beyond {
            report.found(i64::try_from(seq).unwrap_or(i64::MAX), "the copy has a row that the account does not have");
        }
    }
    Ok(report)
}

fn compare(report: &mut Report, part: &Audit, copy: &[ComparedRow]) {
    (report.head, report.copied, report.to) = (part.head, part.copied, part.last);
    report.rows = report.rows.saturating_add(part.rows);
    for (seq, fault) in &part.faults {
        report.found(i64::try_from(*seq).unwrap_or(i64::MAX), fault.clone());
    }
    let mut copies = copy.iter().peekable();
    for entry in &part.entries {
        while let Some(extra) = copies.next_if(|copied| copied.0 < entry.0) {
            report.found(extra.0, "the copy has a row that the account does not have");
        }
        match copies.next_if(|copied| copied.0 == entry.0) {
            Some(copied) if copied == entry => {}
            Some(copied) if (&copied.1, copied.2) == (&entry.1, entry.2) => {
                report.found(entry.0, "the copy has another time or another text");
            }
            Some(copied) => {
                report.found(entry.0, format!("the copy says {}, the account {}", shown(copied), shown(entry)));
            }
            // What was not copied yet is not missing.
            None if u64::try_from(entry.0).is_ok_and(|seq| seq <= part.copied) => {
                report.found(entry.0, "the copy does not have this row")
            }
            None => {}
        }
    }
    for extra in copies {
        report.found(extra.0, "the copy has a row that the account does not have");
    }
}

/// The change of a row, in words.
fn shown(row: &ComparedRow) -> String {
    match (&row.1, row.2) {
        (Some(bucket), Some(nanos)) => {
            let amount = Money::from_nanos(nanos).map_or_else(|_| format!("{nanos} nano-units"), |amount| amount.to_string());
            format!("{amount} on `{bucket}`")
        }
        (None, None) => "no amount".to_owned(),
        _ => "an amount without a bucket, or a bucket without an amount".to_owned(),
    }
}

/// Answers `GET /admin/v1/reconcile`: compares now, for one account or a page of them, all of their rows.
pub async fn report<P: Records, B>(ports: &P, request: &Request<B>) -> Result<Reply, Refusal> {
    let from = match request.param("from") {
        None => 0,
        Some(text) => text.parse().map_err(|_| Refusal::invalid("from", "`from` must be the number of a row."))?,
    };
    let (accounts, next) = match request.param("account") {
        Some(account) => (vec![admin::account_id(account)?], None),
        None => {
            let (limit, after) = lists::page(request)?;
            let records = ports.accounts(after.as_deref(), limit).await.map_err(unavailable)?;
            let next = lists::next(&records, limit, |record| record.id.clone());
            (records.into_iter().map(|record| record.id).collect(), next)
        }
    };
    let mut data = Vec::new();
    for account in &accounts {
        data.push(reconcile(ports, account, from).await?.view(account));
    }
    let is_ok = data.iter().all(|report| report.get("ok") == Some(&Value::Bool(true)));
    with_status(200, &json!({"ok": is_ok, "data": data, "next": next}))
}

/// Compares the accounts whose last report is a day old, some at a time; the cron does so each minute. What was in order
/// before is not looked at again.
pub async fn reconcile_due<P: Records>(ports: &P) -> Result<(), Refusal> {
    let now = ports.now();
    for (account, from) in ports.unreconciled(now.plus(-DAY_MS), ACCOUNTS_AT_ONCE).await.map_err(unavailable)? {
        let report = reconcile(ports, &account, from).await?;
        let is_ok = report.differences.is_empty();
        if !is_ok {
            ports.log(&format!("reconcile: {}", report.view(&account)));
        }
        let done = Reconciled {
            account: account.clone(),
            // A long journal goes on with the next run; differences are told once a day, and stay.
            at: (report.is_whole() || !is_ok).then_some(now),
            seq: if is_ok { report.to } else { from },
            doc: report.view(&account).to_string(),
        };
        ports.note_reconciled(&done).await.map_err(unavailable)?;
    }
    Ok(())
}
