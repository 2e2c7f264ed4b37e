//! Tokens of operators in memory, and how often somebody failed to present one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tokens_forge::id::TokenId;
use tokens_forge::operator::{AdminFailure, TokenRecord};
use tokens_forge::ports::{Attempts, Failures, Runtime, Tokens, Unavailable};
use tokens_forge::time::Timestamp;

use super::database::most;
use super::outside::Outside;

const HOUR_MS: i64 = 3_600_000;
/// Attempts of so many milliseconds are written together.
const TOGETHER_MS: u32 = 3_000;
const MOST_IN_AN_HOUR: usize = 1_000;
const OTHERS: &str = "others";
const KEPT_MS: i64 = 30 * 24 * HOUR_MS;

#[derive(Default)]
pub struct OperatorTables {
    /// With the hash of its secret.
    pub tokens: BTreeMap<TokenId, (TokenRecord, String)>,
    /// By hour and address.
    pub attempts: BTreeMap<(i64, String), Attempts>,
}

/// Attempts that are not written yet, by address and why.
pub type Counted = BTreeMap<(String, AdminFailure), u64>;

impl OperatorTables {
    fn put(&mut self, token: &TokenRecord, hash: &str, most: u32) -> bool {
        let works = |known: &&(TokenRecord, String)| known.0.works(token.created_at);
        let is_taken =
            self.tokens.values().filter(works).any(|(known, _)| known.name.as_str().eq_ignore_ascii_case(token.name.as_str()));
        let is_full = self.tokens.values().filter(works).count() >= usize::try_from(most).unwrap();
        if is_taken || is_full {
            return false;
        }
        self.tokens.insert(token.id.clone(), (token.clone(), hash.to_owned()));
        true
    }

    fn revoke(&mut self, id: &TokenId, now: Timestamp) -> Option<TokenRecord> {
        let (token, _) = self.tokens.get_mut(id).filter(|(token, _)| token.works(now))?;
        token.revoked_at = Some(now);
        Some(token.clone())
    }

    fn write(&mut self, counted: Counted, now: Timestamp) {
        let hour = now.millis() - now.millis().rem_euclid(HOUR_MS);
        let so_many = self.attempts.keys().filter(|(of, _)| *of == hour).count();
        for ((address, failure), count) in counted {
            let is_told_apart = so_many < MOST_IN_AN_HOUR || self.attempts.contains_key(&(hour, address.clone()));
            let address = if is_told_apart { address } else { OTHERS.to_owned() };
            let row = self.attempts.entry((hour, address.clone())).or_insert_with(|| Attempts {
                hour: Timestamp::from_millis(hour),
                address,
                absent: 0,
                malformed: 0,
                unknown: 0,
                ended: 0,
                last_at: now,
            });
            row.last_at = now;
            *match failure {
                AdminFailure::Absent => &mut row.absent,
                AdminFailure::Malformed => &mut row.malformed,
                AdminFailure::Unknown => &mut row.unknown,
                AdminFailure::Ended => &mut row.ended,
            } += count;
        }
        self.attempts.retain(|(of, _), _| *of >= hour - KEPT_MS);
    }
}

impl Tokens for Outside {
    async fn token(&self, hash: &str) -> Result<Option<TokenRecord>, Unavailable> {
        let database = self.database().await?;
        Ok(database.operators.tokens.values().find(|(_, known)| known == hash).map(|(token, _)| token.clone()))
    }

    async fn put_token(&self, token: &TokenRecord, hash: &str, most: u32) -> Result<bool, Unavailable> {
        Ok(self.database().await?.operators.put(token, hash, most))
    }

    async fn tokens(&self, after: Option<&str>, limit: u32) -> Result<Vec<TokenRecord>, Unavailable> {
        let database = self.database().await?;
        let tokens = database.operators.tokens.values().rev().map(|(token, _)| token);
        let behind = tokens.filter(|token| after.is_none_or(|after| token.id.as_str() < after));
        Ok(behind.take(most(limit)).cloned().collect())
    }

    async fn revoke_token(&self, id: &TokenId) -> Result<Option<TokenRecord>, Unavailable> {
        let now = self.now();
        Ok(self.database().await?.operators.revoke(id, now))
    }

    fn note_token_used(&self, token: &TokenRecord) {
        let now = self.now();
        if token.last_used_at.is_some_and(|at| at.plus(HOUR_MS) > now) {
            return;
        }
        let (outside, id) = (self.clone(), token.id.clone());
        self.spawn(async move {
            match outside.database().await {
                Ok(mut database) => {
                    if let Some((token, _)) = database.operators.tokens.get_mut(&id) {
                        token.last_used_at = Some(now);
                    }
                }
                Err(error) => outside.log(&format!("last use of a token: {}", error.0)),
            }
        });
    }
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

impl Failures for Outside {
    /// The first in a while sees to it that all are written.
    fn note_attempt(&self, address: Option<IpAddr>, failure: AdminFailure) {
        let is_writer = {
            let mut counted = self.0.attempts.borrow_mut();
            *counted.entry((counted_as(address), failure)).or_default() += 1;
            counted.values().sum::<u64>() == 1
        };
        if is_writer {
            let outside = self.clone();
            self.spawn(async move {
                outside.sleep(TOGETHER_MS).await;
                let counted = outside.0.attempts.take();
                let now = outside.now();
                match outside.database().await {
                    Ok(mut database) => database.operators.write(counted, now),
                    Err(error) => outside.log(&format!("failed attempts to administer: {}", error.0)),
                }
            });
        }
    }

    async fn attempts(&self, after: Option<(Timestamp, String)>, limit: u32) -> Result<Vec<Attempts>, Unavailable> {
        let database = self.database().await?;
        let after = after.map(|(hour, address)| (hour.millis(), address));
        let rows = database.operators.attempts.iter().rev();
        let behind = rows.filter(|(place, _)| after.as_ref().is_none_or(|after| *place < after));
        Ok(behind.take(most(limit)).map(|(_, row)| row.clone()).collect())
    }
}
