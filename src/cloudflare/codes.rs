//! Redeem codes in D1, which decides who has taken one.

use serde::Deserialize;
use serde_json::{Value, json};

use super::bound::number;
use super::clock;
use super::outside::{Fetched, Outside};
use crate::id::{AccountId, BucketId};
use crate::money::Money;
use crate::ports::{Code, Codes, NewCodes};
use crate::time::Timestamp;

const FIELDS: &str = "json_object('id', id, 'bucket', bucket, 'amount', amount, 'reason', reason, 'author', author,
    'on_behalf_of', on_behalf_of, 'note', note, 'account', account,
    'times', json_array(created_at, expires_at, taken_at, credited_at, revoked_at))";

/// A code as SQL gives it.
#[derive(Deserialize)]
struct Row {
    id: String,
    bucket: BucketId,
    amount: Money,
    reason: String,
    author: String,
    on_behalf_of: Option<String>,
    note: Option<String>,
    account: Option<AccountId>,
    times: (i64, i64, Option<i64>, Option<i64>, Option<i64>),
}

impl Row {
    fn read(self) -> Code {
        let (created_at, expires_at, taken_at, credited_at, revoked_at) = self.times;
        Code {
            id: self.id,
            bucket: self.bucket,
            amount: self.amount,
            reason: self.reason,
            author: self.author,
            on_behalf_of: self.on_behalf_of,
            note: self.note,
            created_at: Timestamp::from_millis(created_at),
            expires_at: Timestamp::from_millis(expires_at),
            account: self.account,
            taken_at: taken_at.map(Timestamp::from_millis),
            credited_at: credited_at.map(Timestamp::from_millis),
            revoked_at: revoked_at.map(Timestamp::from_millis),
        }
    }
}

impl Codes for Outside {
    async fn put_codes(&self, new: &NewCodes) -> Fetched<()> {
        let rows: Vec<Value> = new.codes.iter().map(|code| json!({"hash": code.hash, "id": code.id})).collect();
        let statement = "INSERT INTO codes (hash, id, bucket, amount, reason, author, on_behalf_of, note, created_at, expires_at)
            SELECT value->>'hash', value->>'id', ?2->>'bucket', ?2->>'amount', ?2->>'reason', ?2->>'author', ?2->>'on_behalf_of', ?2->>'note', ?2->>'created_at', ?2->>'expires_at'
            FROM json_each(?1)";
        let common = json!({
            "bucket": new.bucket, "amount": new.amount, "reason": new.by.reason, "author": new.by.author,
            "on_behalf_of": new.by.on_behalf_of, "note": new.note,
            "created_at": new.created_at.millis(), "expires_at": new.expires_at.millis(),
        });
        let (rows, common) = (Value::from(rows).to_string(), common.to_string());
        self.texts(statement, &[rows.as_str().into(), common.as_str().into()]).await.map(|_| ())
    }

    /// The statement decides: D1 runs one at a time. Whoever has it, has it, also after its end.
    async fn take_code(&self, hash: &str, account: &AccountId) -> Fetched<Option<Code>> {
        let statement = format!(
            "UPDATE codes SET account = ?2, taken_at = COALESCE(taken_at, CAST(?3 AS INTEGER))
            WHERE hash = ?1 AND (account = ?2 OR (account IS NULL AND revoked_at IS NULL AND expires_at > CAST(?3 AS INTEGER)))
            RETURNING {FIELDS} AS doc"
        );
        let values = [hash.into(), account.as_str().into(), number(clock::now().millis())];
        Ok(self.d1::<Row>(&statement, &values).await?.into_iter().next().map(Row::read))
    }

    async fn code_credited(&self, hash: &str) -> Fetched<()> {
        let statement = "UPDATE codes SET credited_at = CAST(?2 AS INTEGER) WHERE hash = ?1 AND credited_at IS NULL";
        self.texts(statement, &[hash.into(), number(clock::now().millis())]).await.map(|_| ())
    }

    async fn uncredited_codes(&self, before: Timestamp, limit: u32) -> Fetched<Vec<(AccountId, String)>> {
        let statement = "SELECT json_array(account, hash) AS doc FROM codes
            WHERE credited_at IS NULL AND taken_at < CAST(?1 AS INTEGER) ORDER BY taken_at LIMIT ?2";
        self.d1(statement, &[number(before.millis()), limit.into()]).await
    }

    async fn codes(&self, after: Option<&str>, limit: u32) -> Fetched<Vec<Code>> {
        let statement = format!("SELECT {FIELDS} AS doc FROM codes WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
        let rows: Vec<Row> = self.d1(&statement, &[after.unwrap_or("~").into(), limit.into()]).await?;
        Ok(rows.into_iter().map(Row::read).collect())
    }

    async fn revoke_code(&self, id: &str) -> Fetched<bool> {
        let statement = "UPDATE codes SET revoked_at = CAST(?2 AS INTEGER) WHERE id = ?1 AND account IS NULL AND revoked_at IS NULL RETURNING id AS doc";
        let rows = self.texts(statement, &[id.into(), number(clock::now().millis())]).await?;
        Ok(rows.first().is_some_and(|row| row == id))
    }
}
