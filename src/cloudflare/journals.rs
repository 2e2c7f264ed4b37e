//! The searchable copy in D1: its rows, its sums, and how it compares with the accounts.

use std::fmt::Write;

use serde_json::Value;
use wasm_bindgen::JsValue;

use super::bound::{number, text};
use super::outside::{Fetched, Outside};
use crate::account::{ComparedRow, JournalFilter, Listed};
use crate::id::AccountId;
use crate::money::Money;
use crate::ports::{Copies, Cursor, Dimension, Journals, MOST_SUMS, Reconciled, Sum, Sums};
use crate::probe::PROBE_ACCOUNT;
use crate::rollup::DaySums;
use crate::time::Timestamp;

impl Journals for Outside {
    async fn journal(
        &self,
        account: Option<&str>,
        filter: &JournalFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Fetched<Vec<(String, Value)>> {
        let listed = match filter.listed {
            Listed::Receipts => "j.kind = 'receipt'",
            Listed::Entries => "j.amount IS NOT NULL",
            Listed::Records => "b.records = 1 AND j.kind <> 'receipt'",
        };
        let statement = format!(
            "SELECT json_array(b.at || ':' || b.account || ':' || j.seq, json_object('account', j.account, 'seq', j.seq, 'at', j.at, 'kind', j.kind,
               'bucket', j.bucket, 'amount', j.amount, 'balances', json(j.balances), 'debts', json(j.debts), 'doc', json(j.doc))) AS doc
             FROM batches b JOIN journal j ON j.account = b.account AND j.seq BETWEEN b.first_seq AND b.last_seq
             WHERE {listed} AND b.at <= CAST(?2 AS INTEGER) AND (b.at, b.account, j.seq) < (CAST(?2 AS INTEGER), ?3, CAST(?4 AS INTEGER))
               AND (b.account = ?5 OR ?5 IS NULL AND b.account <> '{PROBE_ACCOUNT}') AND (?6 IS NULL OR j.key = ?6) AND (?7 IS NULL OR j.doc->>'project' = ?7)
               AND (?8 IS NULL OR j.doc->>'model' = ?8 OR j.doc->>'requested_model' = ?8) AND (?9 IS NULL OR j.doc->>'route' = ?9)
               AND (?10 IS NULL OR COALESCE(j.bucket, j.doc->>'bucket') = ?10) AND (?11 IS NULL OR j.doc->>'status' = ?11)
               AND (?12 IS NULL OR j.doc->>'run' = ?12) AND (?13 IS NULL OR j.kind = ?13)
               AND (?14 IS NULL OR (j.at >= CAST(?14 AS INTEGER) AND b.at >= CAST(?14 AS INTEGER))) AND (?15 IS NULL OR j.at < CAST(?15 AS INTEGER))
               AND (?16 IS NULL OR j.subject = ?16)
             ORDER BY b.at DESC, b.account DESC, b.first_seq DESC, j.seq DESC LIMIT CAST(?1 AS INTEGER)"
        );
        let Cursor(at, of, seq) = after.unwrap_or_else(|| Cursor(Money::MAX.nanos(), String::new(), 0));
        let mut values = vec![number(limit), number(at), of.as_str().into(), number(seq), text(account)];
        let JournalFilter { key, project, model, route, bucket, status, run, kind, .. } = filter;
        values.extend([key, project, model, route, bucket, status, run, kind].map(|name| text(name.as_deref())));
        values.extend([filter.since, filter.until].map(|moment| moment.map_or(JsValue::NULL, |moment| number(moment.millis()))));
        values.push(text(filter.subject.as_deref()));
        self.d1(&statement, &values).await
    }

    async fn sums(&self, sums: Sums) -> Fetched<Vec<Sum>> {
        let (mut fields, mut conditions) = (String::new(), String::new());
        for dimension in &sums.by {
            let name = dimension.as_str();
            let _ = write!(fields, "'{name}', {name}, ");
            if *dimension == Dimension::Key {
                fields.push_str("'key_label', MAX(key_label), ");
            }
        }
        let summed: Vec<String> = DaySums::COLUMNS.iter().map(|name| format!("'{name}', SUM({name})")).collect();
        let days = Value::from(sums.days.clone()).to_string();
        let mut values = vec![if sums.days.is_empty() { JsValue::NULL } else { days.as_str().into() }];
        for (index, (dimension, value)) in sums.filters.iter().enumerate() {
            let _ = write!(conditions, " AND {} = ?{}", dimension.as_str(), index.saturating_add(2));
            values.push(value.as_str().into());
        }
        // Probes are nobody's use, unless somebody asks for those of the probe account.
        if !sums.filters.iter().any(|(dimension, _)| *dimension == Dimension::Account) {
            let _ = write!(conditions, " AND account <> '{PROBE_ACCOUNT}'");
        }
        if sums.is_of_buckets {
            conditions.push_str(" AND bucket <> ''");
        }
        let by = sums.by.iter().map(|dimension| dimension.as_str()).collect::<Vec<_>>().join(", ");
        // Listed days are looked up one by one; without a list it is all that there is.
        let days = if sums.days.is_empty() { "?1 IS NULL" } else { "day IN (SELECT value FROM json_each(?1))" };
        let statement = format!(
            "SELECT json_object({fields}'sums', json_object({})) AS doc FROM usage_days WHERE {days}{conditions} GROUP BY {by} ORDER BY {by} LIMIT {MOST_SUMS}",
            summed.join(", ")
        );
        self.d1(&statement, &values).await
    }
}

impl Copies for Outside {
    async fn copied(&self, account: &AccountId, after: u64, last: u64) -> Fetched<Vec<ComparedRow>> {
        let statement = "SELECT json_array(seq, bucket, amount, at, length(doc)) AS doc FROM journal
            WHERE account = ?1 AND seq > CAST(?2 AS INTEGER) AND seq <= CAST(?3 AS INTEGER) ORDER BY seq";
        // The first part takes in what stands before the first row, where nothing may be.
        let after = if after == 0 { Money::MAX.negated().nanos() } else { i64::try_from(after).unwrap_or(i64::MAX) };
        self.d1(statement, &[account.as_str().into(), number(after), number(last)]).await
    }

    async fn copied_beyond(&self, account: &AccountId, head: u64) -> Fetched<Vec<u64>> {
        let statement = "SELECT CAST(seq AS TEXT) AS doc FROM journal WHERE account = ?1 AND seq > CAST(?2 AS INTEGER) ORDER BY seq LIMIT 100";
        self.d1(statement, &[account.as_str().into(), number(head)]).await
    }

    async fn unreconciled(&self, before: Timestamp, limit: u32) -> Fetched<Vec<(AccountId, u64)>> {
        let statement =
            "SELECT json_array(a.id, COALESCE(r.seq, 0)) AS doc FROM accounts a LEFT JOIN reconciled r ON r.account = a.id
            WHERE r.at IS NULL OR r.at < CAST(?1 AS INTEGER) ORDER BY r.account IS NULL, a.id LIMIT ?2";
        self.d1(statement, &[number(before.millis()), limit.into()]).await
    }

    async fn note_reconciled(&self, done: &Reconciled) -> Fetched<()> {
        let statement =
            "INSERT OR REPLACE INTO reconciled (account, at, seq, doc) VALUES (?1, CAST(?2 AS INTEGER), CAST(?3 AS INTEGER), ?4)";
        let at = done.at.map_or(JsValue::NULL, |at| number(at.millis()));
        let values = [done.account.as_str().into(), at, number(done.seq), done.doc.as_str().into()];
        self.texts(statement, &values).await.map(|_| ())
    }
}
