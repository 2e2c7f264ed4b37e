//! Tokens of operators, and who failed to present one.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::unavailable::Unavailable;
use crate::id::TokenId;
use crate::operator::{AdminFailure, TokenRecord};
use crate::time::Timestamp;

/// Tokens.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Tokens {
    /// The token whose secret has this hash, as it is now, whether it works or not.
    async fn token(&self, hash: &str) -> Result<Option<TokenRecord>, Unavailable>;
    /// Stores a new token; false if one of its name works already, or so many do.
    async fn put_token(&self, token: &TokenRecord, hash: &str, most: u32) -> Result<bool, Unavailable>;
    /// Tokens, newest first.
    async fn tokens(&self, after: Option<&str>, limit: u32) -> Result<Vec<TokenRecord>, Unavailable>;
    /// Revokes a token that works; none if there is no such.
    async fn revoke_token(&self, id: &TokenId) -> Result<Option<TokenRecord>, Unavailable>;
    /// Notes behind the answer that a token was used, once an hour.
    fn note_token_used(&self, token: &TokenRecord);
}

/// Failed attempts.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Failures {
    /// Counts a failed attempt to administer, behind the answer and with others of its time.
    fn note_attempt(&self, address: Option<IpAddr>, failure: AdminFailure);
    /// Failed attempts by hour and address, newest first.
    async fn attempts(&self, after: Option<(Timestamp, String)>, limit: u32) -> Result<Vec<Attempts>, Unavailable>;
}

/// Failed attempts to administer, from one address in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attempts {
    /// When the hour began.
    pub hour: Timestamp,
    /// The address; of version 6 its network of 64 bits, and `others` where there were too many.
    pub address: String,
    /// Nothing was presented.
    pub absent: u64,
    /// What was presented could be no token.
    pub malformed: u64,
    /// It could be one and was none.
    pub unknown: u64,
    /// It was one, and had ended.
    pub ended: u64,
    /// When the last of them was.
    pub last_at: Timestamp,
}
