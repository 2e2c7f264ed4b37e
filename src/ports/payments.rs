//! Money that comes in: orders as their providers know them, and redeem codes.

use serde::{Deserialize, Serialize};

use super::unavailable::Unavailable;
use crate::account::{By, Order};
use crate::id::{AccountId, BucketId, CodeId, OrderId};
use crate::money::Money;
use crate::payment::Checkout;
use crate::time::Timestamp;

/// Orders of all accounts, and the providers that take the money.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Payments {
    /// Orders of all accounts in one state, newest first.
    async fn orders(&self, state: &str, after: Option<&str>, limit: u32) -> Result<Vec<Order>, Unavailable>;
    /// The order that a provider's payment belongs to.
    async fn order_of_payment(&self, payment: &str) -> Result<Option<(AccountId, OrderId)>, Unavailable>;
    /// Asks the payment provider for a page, with our credential there; answers status and body, or what went wrong.
    async fn checkout(&self, checkout: &Checkout, credential: &str) -> Result<(u16, String), String>;
}

/// Redeem codes.
#[allow(async_fn_in_trait)] // Isolates have one thread; nothing here is sent to another.
pub trait Codes {
    /// Stores new redeem codes.
    async fn put_codes(&self, codes: &NewCodes) -> Result<(), Unavailable>;
    /// Takes a code for an account, once and for all. None if there is none that this account can take; again is the same.
    async fn take_code(&self, hash: &str, account: &AccountId) -> Result<Option<Code>, Unavailable>;
    /// Notes that the account has credited a code.
    async fn code_credited(&self, hash: &str) -> Result<(), Unavailable>;
    /// Codes that were taken before this, by whom, and are not known to be credited.
    async fn uncredited_codes(&self, before: Timestamp, limit: u32) -> Result<Vec<(AccountId, String)>, Unavailable>;
    /// Codes, newest first.
    async fn codes(&self, after: Option<&str>, limit: u32) -> Result<Vec<Code>, Unavailable>;
    /// Ends a code that nobody has taken; false if there is none.
    async fn revoke_code(&self, id: &str) -> Result<bool, Unavailable>;
}

/// A redeem code to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NewCode {
    pub hash: String,
    pub id: CodeId,
}

/// Redeem codes to be stored, all or none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NewCodes {
    pub codes: Vec<NewCode>,
    pub bucket: BucketId,
    pub amount: Money,
    pub by: By,
    pub note: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A redeem code, without what would redeem it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Code {
    /// Its id, which is no secret.
    pub id: String,
    /// Which balance it credits.
    pub bucket: BucketId,
    /// How much.
    pub amount: Money,
    /// Why it was made; for operators alone.
    pub reason: String,
    /// The name of the token that made it.
    pub author: String,
    /// For whom, as the client said it.
    pub on_behalf_of: Option<String>,
    /// What the customer is told.
    pub note: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it can be redeemed.
    pub expires_at: Timestamp,
    /// Who has taken it.
    pub account: Option<AccountId>,
    /// When it was taken.
    pub taken_at: Option<Timestamp>,
    /// When the account had it.
    pub credited_at: Option<Timestamp>,
    /// When an operator ended it.
    pub revoked_at: Option<Timestamp>,
}
