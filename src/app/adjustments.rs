//! Credits and debits by an operator.

use serde::{Deserialize, Serialize};

use super::accounts::{self, check_buckets};
use super::ask::{command, flush, journal};
use super::currency;
use super::principal::{Principal, Signature};
use super::text::{name, note};
use super::use_case::UseCase;
use crate::account::{Adjustment, AdjustmentRecord, By, Command, JournalFilter, Listed, Window, other_adjustment};
use crate::id::{AccountId, BucketId, sha256_hex};
use crate::money::Money;
use crate::ports::{Accounts, Runtime, Sold};
use crate::refusal::Refusal;

/// By how much a balance is to change.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewAdjustment {
    /// Which balance.
    pub bucket: BucketId,
    /// By how much; below zero is a debit.
    pub amount: Money,
    /// Why; for operators alone.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub reason: String,
    /// For whom it is done; the author is the name of the token.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub author: Option<String>,
    /// What the customer is told.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NOTE)))]
    pub note: Option<String>,
}

/// An account after an adjustment, and the adjustment.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Adjusted {
    /// The account as it is now.
    #[serde(flatten)]
    pub account: accounts::Account,
    /// What was done.
    pub adjustment: currency::In<Adjustment>,
}

/// Credits or debits. The same idempotency key again is the same adjustment, and is told as it was made.
pub async fn adjust<P: Runtime + Accounts + Sold>(
    ports: &P,
    who: &Principal,
    (account, idempotency): (&AccountId, Option<&str>),
    new: NewAdjustment,
) -> Result<Adjusted, Refusal> {
    let operator = who.operator(UseCase::Adjust)?;
    check_buckets(ports, [&new.bucket].into_iter()).await?;
    let id = idempotency
        .map_or_else(|| format!("adj-{:032x}", ports.random()), |key| format!("adj-key-{}", sha256_hex(&[key.as_bytes()])));
    let reason = name("reason", new.reason)?;
    let By { author, on_behalf_of, .. } = Signature { author: new.author, reason: None }.by(operator)?;
    let note = note(new.note)?;
    let adjustment = Adjustment { id, bucket: new.bucket, amount: new.amount, reason, author, on_behalf_of, note };
    command(ports, account, Command::Adjust(adjustment.clone())).await?;
    let adjustment = if idempotency.is_some() { made(ports, account, adjustment).await? } else { adjustment };
    flush(ports, account).await;
    let catalog = currency::words(ports).await;
    let currency = currency::of(&catalog, adjustment.bucket.as_str());
    let adjustment = currency::In { of: adjustment, currency };
    Ok(Adjusted { account: accounts::found(ports, account, &catalog).await?, adjustment })
}

/// An adjustment as it stands in the journal: who asks again may be another, but means the same.
async fn made<P: Accounts>(ports: &P, account: &AccountId, asked: Adjustment) -> Result<Adjustment, Refusal> {
    let filter = JournalFilter { listed: Listed::Entries, subject: Some(asked.id.clone()), ..JournalFilter::default() };
    let rows = journal(ports, account, filter, Window { before: None, limit: 1 }).await?;
    let record = rows.into_iter().next().and_then(|row| serde_json::from_value::<AdjustmentRecord>(row.doc).ok());
    // An account that runs an earlier version does not find it by its id.
    let Some(AdjustmentRecord { reason, author, on_behalf_of, note, .. }) = record.filter(|record| record.id == asked.id) else {
        return Ok(asked);
    };
    if (&reason, &note) != (&asked.reason, &asked.note) {
        return Err(other_adjustment());
    }
    Ok(Adjustment { author, on_behalf_of, ..asked })
}
