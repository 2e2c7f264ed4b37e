//! The accounts, and what they know of each other's keys.

use super::unavailable::Unavailable;
use crate::account::{AccountAnswer, AccountRecord, Command};
use crate::id::AccountId;
use crate::key::KeyRecord;

/// The accounts: each decides about its own money.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Accounts {
    /// Says something to an account.
    async fn command(&self, account: &AccountId, command: Command) -> Result<AccountAnswer, Unavailable>;
}

/// Which accounts there are.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Directory {
    /// Accounts by id, from the searchable copy.
    async fn accounts(&self, after: Option<&str>, limit: u32) -> Result<Vec<AccountRecord>, Unavailable>;
}

/// Where requests look up keys.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait KeyDirectory {
    /// Puts a key's record where requests look it up.
    async fn publish_key(&self, record: &KeyRecord) -> Result<(), Unavailable>;
}
