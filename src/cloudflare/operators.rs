//! Tokens of operators in D1, and how often somebody failed to present one.
//!
//! What always holds: a failed attempt is no row of its own; an isolate writes once in some seconds, and an hour has a bound of rows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Value, json};

use super::bound::number;
use super::clock;
use super::outside::{Fetched, Outside};
use crate::id::TokenId;
use crate::operator::{AdminFailure, TokenRecord};
use crate::ports::{Attempts, Failures, Runtime, Tokens};
use crate::time::{DAY_MS, HOUR_MS, Timestamp};

/// Attempts of so many milliseconds are written together.
const TOGETHER_MS: u32 = 3_000;
/// If what was to write them was lost, the next attempt after so long writes them.
const LOST_AFTER_MS: i64 = 30_000;
/// So many addresses are told apart at once, and in one hour.
const MOST_AT_ONCE: usize = 100;
const MOST_IN_AN_HOUR: u32 = 1_000;
const OTHERS: &str = "others";
/// Attempts are kept for so long.
const KEPT_MS: i64 = 30 * DAY_MS;

const FIELDS: &str =
    "json_object('id', id, 'name', name, 'scopes', json(scopes), 'created_at', created_at, 'created_by', created_by,
    'expires_at', expires_at, 'revoked_at', revoked_at, 'last_used_at', last_used_at)";

/// A token as SQL gives it.
#[derive(Deserialize)]
struct Row {
    id: TokenId,
    name: crate::id::TokenName,
    scopes: Vec<crate::operator::Scope>,
    created_at: i64,
    created_by: String,
    expires_at: i64,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
}

impl Row {
    fn read(self) -> TokenRecord {
        TokenRecord {
            id: self.id,
            name: self.name,
            scopes: self.scopes,
            created_at: Timestamp::from_millis(self.created_at),
            created_by: self.created_by,
            expires_at: Timestamp::from_millis(self.expires_at),
            revoked_at: self.revoked_at.map(Timestamp::from_millis),
            last_used_at: self.last_used_at.map(Timestamp::from_millis),
        }
    }
}

/// What this isolate has counted and not written yet.
#[derive(Default)]
struct Counted {
    /// By address and why.
    attempts: BTreeMap<(String, AdminFailure), u64>,
    /// Until when somebody writes them.
    written_by: Timestamp,
}

thread_local! {
    static COUNTED: RefCell<Counted> = RefCell::default();
}

/// An address as it is counted: whoever has one of version 6 has a network of 64 bits.
fn counted_as(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

async fn write(outside: &Outside, attempts: BTreeMap<(String, AdminFailure), u64>) -> Fetched<()> {
    let rows: Vec<Value> = attempts
        .into_iter()
        .map(|((address, failure), count)| json!({"address": address, "failure": failure.as_str(), "count": count}))
        .collect();
    let statement = "
        INSERT INTO admin_attempts (hour, address, absent, malformed, unknown, ended, last_at)
        SELECT CAST(?2 AS INTEGER),
          CASE WHEN EXISTS (SELECT 1 FROM admin_attempts WHERE hour = CAST(?2 AS INTEGER) AND address = value->>'address')
            OR (SELECT COUNT(*) FROM admin_attempts WHERE hour = CAST(?2 AS INTEGER)) < CAST(?4 AS INTEGER)
            THEN value->>'address' ELSE ?5 END AS place,
          SUM(CASE value->>'failure' WHEN 'absent' THEN value->>'count' ELSE 0 END),
          SUM(CASE value->>'failure' WHEN 'malformed' THEN value->>'count' ELSE 0 END),
          SUM(CASE value->>'failure' WHEN 'unknown' THEN value->>'count' ELSE 0 END),
          SUM(CASE value->>'failure' WHEN 'ended' THEN value->>'count' ELSE 0 END), CAST(?3 AS INTEGER)
        FROM json_each(?1) WHERE true GROUP BY place
        ON CONFLICT (hour, address) DO UPDATE SET absent = absent + excluded.absent, malformed = malformed + excluded.malformed,
          unknown = unknown + excluded.unknown, ended = ended + excluded.ended, last_at = excluded.last_at";
    let now = clock::now().millis();
    let hour = now.saturating_sub(now.rem_euclid(HOUR_MS));
    let rows = Value::from(rows).to_string();
    let values = [rows.as_str().into(), number(hour), number(now), number(MOST_IN_AN_HOUR), OTHERS.into()];
    let old = [number(hour.saturating_sub(KEPT_MS))];
    outside.together(&[(statement, &values), ("DELETE FROM admin_attempts WHERE hour < CAST(?1 AS INTEGER)", &old)]).await
}

impl Tokens for Outside {
    async fn token(&self, hash: &str) -> Fetched<Option<TokenRecord>> {
        let statement = format!("SELECT {FIELDS} AS doc FROM admin_tokens WHERE hash = ?1");
        let rows: Vec<Row> = self.d1(&statement, &[hash.into()]).await?;
        Ok(rows.into_iter().next().map(Row::read))
    }

    async fn put_token(&self, token: &TokenRecord, hash: &str, most: u32) -> Fetched<bool> {
        let statement = "INSERT INTO admin_tokens (id, name, hash, scopes, created_at, created_by, expires_at)
            SELECT ?1, ?2, ?3, ?4, CAST(?5 AS INTEGER), ?6, CAST(?7 AS INTEGER)
            WHERE NOT EXISTS (SELECT 1 FROM admin_tokens WHERE name = ?2 AND revoked_at IS NULL AND expires_at > CAST(?5 AS INTEGER))
              AND (SELECT COUNT(*) FROM admin_tokens WHERE revoked_at IS NULL AND expires_at > CAST(?5 AS INTEGER)) < CAST(?8 AS INTEGER)
            RETURNING id AS doc";
        let scopes = json!(token.scopes).to_string();
        let values = [
            token.id.as_str().into(),
            token.name.as_str().into(),
            hash.into(),
            scopes.as_str().into(),
            number(token.created_at.millis()),
            token.created_by.as_str().into(),
            number(token.expires_at.millis()),
            number(most),
        ];
        Ok(!self.texts(statement, &values).await?.is_empty())
    }

    async fn tokens(&self, after: Option<&str>, limit: u32) -> Fetched<Vec<TokenRecord>> {
        let statement =
            format!("SELECT {FIELDS} AS doc FROM admin_tokens WHERE id < ?1 ORDER BY id DESC LIMIT CAST(?2 AS INTEGER)");
        let rows: Vec<Row> = self.d1(&statement, &[after.unwrap_or("~").into(), number(limit)]).await?;
        Ok(rows.into_iter().map(Row::read).collect())
    }

    async fn revoke_token(&self, id: &TokenId) -> Fetched<Option<TokenRecord>> {
        let statement = format!(
            "UPDATE admin_tokens SET revoked_at = CAST(?2 AS INTEGER)
             WHERE id = ?1 AND revoked_at IS NULL AND expires_at > CAST(?2 AS INTEGER) RETURNING {FIELDS} AS doc"
        );
        let rows: Vec<Row> = self.d1(&statement, &[id.as_str().into(), number(clock::now().millis())]).await?;
        Ok(rows.into_iter().next().map(Row::read))
    }

    fn note_token_used(&self, token: &TokenRecord) {
        let now = clock::now();
        if token.last_used_at.is_some_and(|at| at.plus(HOUR_MS) > now) {
            return;
        }
        let (outside, id) = (self.clone(), token.id.clone());
        self.clone().spawn(async move {
            let statement = "UPDATE admin_tokens SET last_used_at = CAST(?2 AS INTEGER) WHERE id = ?1";
            if let Err(error) = outside.texts(statement, &[id.as_str().into(), number(now.millis())]).await {
                outside.log(&format!("last use of a token: {}", error.0));
            }
        });
    }
}

impl Failures for Outside {
    fn note_attempt(&self, address: Option<IpAddr>, failure: AdminFailure) {
        let now = clock::now();
        let is_writer = COUNTED.with_borrow_mut(|counted| {
            let mut key = (counted_as(address), failure);
            if counted.attempts.len() >= MOST_AT_ONCE && !counted.attempts.contains_key(&key) {
                OTHERS.clone_into(&mut key.0);
            }
            let count = counted.attempts.entry(key).or_default();
            *count = count.saturating_add(1);
            let is_writer = now >= counted.written_by;
            if is_writer {
                counted.written_by = now.plus(LOST_AFTER_MS);
            }
            is_writer
        });
        if is_writer {
            let outside = self.clone();
            self.clone().spawn(async move {
                outside.sleep(TOGETHER_MS).await;
                let attempts = COUNTED.with_borrow_mut(std::mem::take).attempts;
                if let Err(error) = write(&outside, attempts).await {
                    outside.log(&format!("failed attempts to administer: {}", error.0));
                }
            });
        }
    }

    async fn attempts(&self, after: Option<(Timestamp, String)>, limit: u32) -> Fetched<Vec<Attempts>> {
        type Fetched = (i64, String, u64, u64, u64, u64, i64);
        let statement = "SELECT json_array(hour, address, absent, malformed, unknown, ended, last_at) AS doc FROM admin_attempts
            WHERE (hour, address) < (CAST(?1 AS INTEGER), ?2) ORDER BY hour DESC, address DESC LIMIT CAST(?3 AS INTEGER)";
        let (hour, address) = after.map_or((i64::MAX >> 11, String::new()), |(hour, address)| (hour.millis(), address));
        let rows: Vec<Fetched> = self.d1(statement, &[number(hour), address.as_str().into(), number(limit)]).await?;
        let read = |(hour, address, absent, malformed, unknown, ended, last_at): Fetched| Attempts {
            hour: Timestamp::from_millis(hour),
            address,
            absent,
            malformed,
            unknown,
            ended,
            last_at: Timestamp::from_millis(last_at),
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
