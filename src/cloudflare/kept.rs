//! Kept answers in the account object's table: one function per statement.

use serde_json::Value;
use worker::Result;

use super::store::Store;
use crate::account::{KEPT_MS, KeptAnswer, KeptItems, MOST_READ, SWEPT_AFTER_MS};
use crate::id::RequestId;
use crate::time::Timestamp;

fn integer(value: u64) -> Value {
    i64::try_from(value).unwrap_or(i64::MAX).into()
}

/// A request, where its items are and how long, and whether it is open.
type Row = (RequestId, Option<(u64, u64)>, u8);

impl Store {
    pub(super) fn put_kept(&self, answer: &KeptAnswer) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO kept_answers (seq, at, bytes, upto, sealed)
             SELECT CAST(?1 AS INTEGER), CAST(?2 AS INTEGER), CAST(?3 AS INTEGER),
               CAST(?3 AS INTEGER) + COALESCE((SELECT upto FROM kept_answers ORDER BY seq DESC LIMIT 1), 0), ?4",
            vec![integer(answer.seq), answer.at.millis().into(), integer(answer.bytes()), answer.sealed.as_str().into()],
        )
    }

    pub(super) fn drop_kept(&self, last: u64) -> Result<()> {
        self.run("DELETE FROM kept_answers WHERE seq <= CAST(?1 AS INTEGER)", vec![integer(last)])
    }

    /// See [`crate::account::AccountStore::stale`]. Rows are looked at in their order up to the first that stays.
    pub(super) fn stale_kept(&self, until: Timestamp, most_bytes: u64) -> Result<Option<u64>> {
        let statement = "
            SELECT json_array((SELECT MAX(seq) FROM kept_answers), (
              SELECT seq FROM kept_answers WHERE at > CAST(?1 AS INTEGER)
                AND upto - bytes >= (SELECT upto FROM kept_answers ORDER BY seq DESC LIMIT 1) - CAST(?2 AS INTEGER)
              ORDER BY seq LIMIT 1), (SELECT MIN(seq) FROM kept_answers)) AS value";
        let rows: Vec<(Option<u64>, Option<u64>, Option<u64>)> =
            self.rows(statement, vec![until.millis().into(), integer(most_bytes)])?;
        Ok(rows.into_iter().next().and_then(|(newest, stays, oldest)| match stays {
            Some(stays) => Some(stays.saturating_sub(1)).filter(|last| oldest.is_some_and(|oldest| oldest <= *last)),
            None => newest,
        }))
    }

    /// When the oldest is to be gone.
    pub(super) fn kept_until(&self) -> Result<Option<Timestamp>> {
        let statement = "SELECT CAST(at AS TEXT) AS value FROM kept_answers ORDER BY seq LIMIT 1";
        let oldest = self.rows(statement, Vec::new())?.into_iter().next().map(Timestamp::from_millis);
        Ok(oldest.map(|at| at.plus(KEPT_MS.saturating_add(SWEPT_AFTER_MS))))
    }

    /// What is kept of the answers to these requests, as much as one request can have, of what was settled after `since`. What
    /// an expired request settled late stands beside its correction.
    pub(super) fn kept(&self, requests: &[RequestId], since: Timestamp) -> Result<Vec<(RequestId, KeptItems)>> {
        let statement = "
            SELECT json_array(r.value,
              (SELECT json_array(seq, bytes) FROM kept_answers WHERE at > CAST(?2 AS INTEGER)
                 AND seq IN (SELECT seq FROM journal WHERE subject IN (r.value, r.value || '/correction')) LIMIT 1),
              EXISTS (SELECT 1 FROM holds WHERE request = r.value)) AS value
            FROM json_each(?1) r";
        let values = vec![serde_json::to_string(requests)?.into(), since.millis().into()];
        let rows: Vec<Row> = self.rows(statement, values)?;
        let mut left = MOST_READ;
        let mut found = Vec::new();
        for (request, place, is_open) in rows {
            match place {
                Some((seq, bytes)) if bytes <= left => {
                    left = left.saturating_sub(bytes);
                    let sealed = self
                        .text("SELECT sealed AS value FROM kept_answers WHERE seq = CAST(?1 AS INTEGER)", vec![integer(seq)])?;
                    found.extend(sealed.map(|sealed| (request, KeptItems::Sealed(sealed))));
                }
                None if is_open != 0 => found.push((request, KeptItems::Open)),
                _ => {}
            }
        }
        Ok(found)
    }
}
