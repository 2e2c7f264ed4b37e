//! Whether every journal agrees with itself and with its copy.

use serde::Serialize;
use serde_json::json;

use super::accounts::must_exist;
use super::ask;
use super::page::{Page, Part};
use super::principal::Principal;
use super::use_case::UseCase;
use crate::account::{Audit, ComparedRow};
use crate::id::AccountId;
use crate::money::Money;
use crate::ports::{Accounts, Copies, Directory, Reconciled, Runtime};
use crate::refusal::Refusal;
use crate::time::DAY_MS;

/// Rows that are compared at once, and at most for one account in one go.
const AT_ONCE: u32 = 2_000;
const MOST_PARTS: u32 = 25;
const MOST_DIFFERENCES: usize = 100;
/// Accounts in one run of the clock, and how old a report may be.
const ACCOUNTS_AT_ONCE: u32 = 20;

/// What one account's journal came to, compared with itself and with its copy.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Reconciliation"))]
pub struct Report {
    /// Whose journal.
    pub account: AccountId,
    /// The number of the row behind which it began.
    pub from: u64,
    /// The last row that was compared.
    pub to: u64,
    /// The last row that there is.
    pub head: u64,
    /// The last row that was copied.
    pub copied: u64,
    /// How many were compared.
    pub rows: u64,
    /// There is no difference.
    pub ok: bool,
    /// Every row that there is was compared.
    pub is_whole: bool,
    /// What is not as it should be.
    pub differences: Vec<Difference>,
}

/// A row that is not as it should be.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Difference {
    /// The id of the row.
    pub entry: String,
    /// Its number.
    pub seq: i64,
    /// What is wrong with it, in words.
    pub what: String,
}

impl Report {
    fn found(&mut self, seq: i64, what: impl Into<String>) {
        if self.differences.len() < MOST_DIFFERENCES {
            self.differences.push(Difference { entry: format!("entry-{seq}"), seq, what: what.into() });
        }
    }
}

/// Compares an account's journal with itself and with its copy, from the row behind `from` on.
async fn compared<P: Runtime + Accounts + Copies>(ports: &P, account: &AccountId, from: u64) -> Result<Report, Refusal> {
    ask::flush(ports, account).await;
    let mut report = Report {
        account: account.clone(),
        from,
        to: from,
        head: from,
        copied: 0,
        rows: 0,
        ok: true,
        is_whole: false,
        differences: Vec::new(),
    };
    for _ in 0..MOST_PARTS {
        let part = ask::audit(ports, account, report.to, AT_ONCE).await?;
        let copy = ports.copied(account, report.to, part.last).await?;
        compare(&mut report, &part, &copy);
        if part.rows < u64::from(AT_ONCE) {
            break;
        }
    }
    report.is_whole = (from..=report.to).contains(&report.head);
    if report.is_whole {
        let mut beyond = ports.copied_beyond(account, report.head).await?;
        if !beyond.is_empty() {
            // The account may have gone on meanwhile.
            let head = ask::audit(ports, account, report.head, 1).await?.head;
            beyond.retain(|seq| *seq > head);
        }
        for seq in beyond {
            report.found(i64::try_from(seq).unwrap_or(i64::MAX), "the copy has a row that the account does not have");
        }
    }
    report.ok = report.differences.is_empty();
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

/// Which accounts are to be compared.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Of {
    One(AccountId),
    Part(Part),
}

/// What some accounts came to.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Reconciled"))]
pub struct Reports {
    /// There is no difference in any of them.
    pub ok: bool,
    /// What each came to.
    #[serde(flatten)]
    pub page: Page<Report>,
}

/// Compares now, for one account or a part of them, all of their rows behind `from`.
pub async fn report<P: Runtime + Accounts + Directory + Copies>(
    ports: &P,
    who: &Principal,
    of: Of,
    from: u64,
) -> Result<Reports, Refusal> {
    who.operator(UseCase::Reconcile)?;
    let is_one = matches!(of, Of::One(_));
    let accounts = match of {
        Of::One(account) => {
            must_exist(ports, &account).await?;
            Page::whole(vec![account])
        }
        Of::Part(Part { limit, after }) => {
            let records = ports.accounts(after.as_deref(), limit).await?;
            Page::of(records, limit, |record| record.id.to_string()).map(|record| record.id)
        }
    };
    let mut data = Vec::new();
    for account in &accounts.data {
        let report = compared(ports, account, from).await?;
        if is_one && from > report.head {
            let message = format!("`from` is beyond the last row of the account, {}.", report.head);
            return Err(Refusal::invalid("from", message));
        }
        data.push(report);
    }
    Ok(Reports { ok: data.iter().all(|report| report.ok), page: Page { data, next: accounts.next } })
}

/// Compares the accounts whose last report is a day old, some at a time; the clock does so each minute. What was in order before
/// is not looked at again.
pub async fn reconcile_due<P: Runtime + Accounts + Copies>(ports: &P) -> Result<(), Refusal> {
    let now = ports.now();
    for (account, from) in ports.unreconciled(now.plus(-DAY_MS), ACCOUNTS_AT_ONCE).await? {
        let mut report = compared(ports, &account, from).await?;
        if from > report.head {
            let seq = i64::try_from(from).unwrap_or(i64::MAX);
            report.found(seq, "the account does not have this row, with which it was in order before");
            report.ok = false;
        }
        let doc = json!(report).to_string();
        if !report.ok {
            ports.log(&format!("reconcile: {doc}"));
        }
        let done = Reconciled {
            account,
            // A long journal goes on with the next run; differences are told once a day, and stay.
            at: (report.is_whole || !report.ok).then_some(now),
            seq: if report.ok { report.to } else { from },
            doc,
        };
        ports.note_reconciled(&done).await?;
    }
    Ok(())
}
