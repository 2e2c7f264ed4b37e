//! The audit of a journal: whether its rows agree with each other.

use super::command::Audit;
use super::record::Balances;
use crate::id::BucketId;
use crate::money::Money;

/// What an audit looks at of a journal row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AuditRow {
    pub seq: u64,
    pub at: i64,
    pub length: u64,
    pub kind: String,
    pub bucket: Option<BucketId>,
    pub amount: Option<Money>,
    pub balances: Balances,
    pub debts: Balances,
    /// What a receipt says was charged.
    pub charge: Option<Money>,
}

/// Checks at most `limit` rows behind row `after`, which stands before them in `rows` if there is one.
pub fn audit(rows: Vec<AuditRow>, after: u64, limit: u32, head: u64, copied: u64) -> Audit {
    let mut report = Audit { head, copied, last: after, ..Audit::default() };
    let mut previous = AuditRow {
        seq: 0,
        at: 0,
        length: 0,
        kind: String::new(),
        bucket: None,
        amount: None,
        balances: Balances::new(),
        debts: Balances::new(),
        charge: None,
    };
    let mut is_known = after == 0;
    for row in rows {
        if row.seq <= after {
            is_known = true;
            previous = row;
            continue;
        }
        if report.rows >= u64::from(limit) {
            break;
        }
        let faults = &mut report.faults;
        if !is_known {
            faults.push((after, "this row is missing".to_owned()));
            is_known = true;
        } else if row.seq != previous.seq.saturating_add(1) {
            faults.push((row.seq, format!("the rows between {} and this one are missing", previous.seq)));
        } else if let Some(fault) = fault(&previous, &row) {
            faults.push((row.seq, fault));
        }
        report.rows = report.rows.saturating_add(1);
        report.last = row.seq;
        let seq = i64::try_from(row.seq).unwrap_or(i64::MAX);
        let bucket = row.bucket.as_ref().map(ToString::to_string);
        report.entries.push((seq, bucket, row.amount.map(Money::nanos), row.at, row.length));
        previous = row;
    }
    if report.rows < u64::from(limit) && report.last < head {
        report.faults.push((head, format!("the rows between {} and the newest are missing", report.last)));
    }
    report
}

/// What is wrong with a row, behind the one before it.
fn fault(previous: &AuditRow, row: &AuditRow) -> Option<String> {
    if row.bucket.is_some() != row.amount.is_some() {
        return Some("it has a bucket without an amount, or an amount without a bucket".to_owned());
    }
    let mut expected = previous.balances.clone();
    if let (Some(bucket), Some(amount)) = (&row.bucket, row.amount) {
        let before = expected.get(bucket).copied().unwrap_or_default();
        let Some(after) = before.checked_add(amount) else { return Some("its balance cannot be counted".to_owned()) };
        if after.is_negative() {
            return Some(format!("it takes `{bucket}` to {after}"));
        }
        expected.insert(bucket.clone(), after);
    }
    if expected != row.balances {
        return Some("its balances are not those before it and its amount".to_owned());
    }
    if row.debts.values().any(|debt| !debt.is_positive()) {
        return Some("it has a debt that is not above nothing".to_owned());
    }
    if row.kind != "receipt" {
        return None;
    }
    match (row.charge, row.amount) {
        (Some(charge), Some(amount)) if charge == amount.negated() => None,
        (Some(charge), None) if charge == Money::ZERO => None,
        (Some(charge), None) => Some(format!("a receipt over {charge} without an entry")),
        (Some(charge), Some(amount)) => Some(format!("a receipt over {charge} with an entry of {amount}")),
        (None, _) => Some("a receipt without a charge".to_owned()),
    }
}
