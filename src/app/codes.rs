//! Redeem codes: made by operators, redeemed by the holders of keys.
//!
//! What always holds: a code is taken for one account first, then credited there; both may be repeated, and the clock finishes
//! what a crash left in between.

use serde::{Deserialize, Serialize};

use super::accounts::{Balance, balances, check_buckets};
use super::ask::{self, command};
use super::page::{Page, Part};
use super::principal::{Principal, Signature};
use super::text::note;
use super::use_case::UseCase;
use super::{audit, currency};
use crate::account::{ActKind, Command, Redemption};
use crate::id::{AccountId, BucketId, CodeId, sha256_hex};
use crate::limits::Gate;
use crate::money::Money;
use crate::ports::{Accounts, Code, Codes, Gates, NewCode, NewCodes as Made, Runtime, Sold};
use crate::refusal::{self, Refusal};
use crate::relay::gate;
use crate::time::{MINUTE_MS, Timestamp};

/// Of what is typed, in bytes.
pub const LONGEST_CODE: usize = 100;
const MOST_CODES: u32 = 500;
/// Letters and digits that are not taken for each other.
const ALPHABET: [u8; 32] = *b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// How long a code that was taken may be on its way to its account, in milliseconds, and how many are looked at in one go.
const ON_ITS_WAY_MS: i64 = MINUTE_MS;
const AT_ONCE: u32 = 20;

/// What was redeemed, and what is in the balances now.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Redeemed {
    /// The code's id.
    pub code: String,
    /// Which balance.
    pub bucket: BucketId,
    /// Of the amounts.
    pub currency: Option<String>,
    /// How much was credited.
    pub amount: Money,
    /// What the account has now.
    pub balances: Vec<Balance>,
}

/// Redeems a code for the own account.
pub async fn redeem<P: Runtime + Accounts + Codes + Gates + Sold>(
    ports: &P,
    who: &Principal,
    code: &str,
) -> Result<Redeemed, Refusal> {
    let account = who.holder(UseCase::RedeemCode)?.account();
    let guesser = &format!("code {account}");
    gate::open(ports, Gate::Guess, guesser)?;
    let credited = match code_hash(code) {
        Some(hash) => credit(ports, account, &hash).await,
        None => Err(unknown_code()),
    };
    let (code, bucket, amount) = match credited {
        Err(refusal) if refusal.code == refusal::Code::NotFound => {
            return Err(gate::missed(ports, Gate::Guess, guesser, refusal).await);
        }
        credited => credited?,
    };
    let catalog = ports.catalog().await?;
    let overview = ask::overview(ports, account).await?;
    let currency = currency::of(&catalog, bucket.as_str());
    Ok(Redeemed { code, bucket, currency, amount, balances: balances(&overview, &catalog) })
}

/// Takes a code for an account and credits it.
async fn credit<P: Runtime + Accounts + Codes>(
    ports: &P,
    account: &AccountId,
    hash: &str,
) -> Result<(String, BucketId, Money), Refusal> {
    let taken = ports.take_code(hash, account).await?;
    let Code { id, bucket, amount, reason, author, on_behalf_of, note, .. } = taken.ok_or_else(unknown_code)?;
    let redemption = Redemption { hash: hash.to_owned(), id: id.clone(), reason, author, on_behalf_of, note };
    command(ports, account, Command::Redeem(redemption, bucket.clone(), amount)).await?;
    if let Err(error) = ports.code_credited(hash).await {
        ports.log(&format!("code {id}: {}", error.0));
    }
    Ok((id, bucket, amount))
}

/// Credits codes that an account has taken but, as far as is known, not got: whoever asked did not ask again. The clock does so
/// each minute.
pub async fn credit_taken<P: Runtime + Accounts + Codes>(ports: &P) -> Result<(), Refusal> {
    for (account, hash) in ports.uncredited_codes(ports.now().plus(-ON_ITS_WAY_MS), AT_ONCE).await? {
        if let Err(refusal) = credit(ports, &account, &hash).await {
            ports.log(&format!("a code of account {account}: {}", refusal.message));
        }
    }
    Ok(())
}

/// The hash of a code, however it was typed.
fn code_hash(code: &str) -> Option<String> {
    if code.len() > LONGEST_CODE {
        return None;
    }
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect();
    (plain.len() >= 16).then(|| sha256_hex(&[b"code:", plain.as_bytes()]))
}

/// One answer for all of it, so that nobody learns which codes there are.
fn unknown_code() -> Refusal {
    let message = "This code is not known, has expired, or was used before.";
    let next_step = "Check that the whole code was copied, or ask who gave it to you.";
    Refusal::new(refusal::Code::NotFound, message, next_step).param("code")
}

/// Which codes are to be made.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewCodes {
    /// Which balance they credit.
    pub bucket: BucketId,
    /// How much each credits.
    pub amount: Money,
    /// How many; one if nothing is said.
    #[serde(default)]
    #[cfg_attr(test, schemars(range(min = 1, max = MOST_CODES)))]
    pub count: Option<u32>,
    /// Until when they can be redeemed.
    pub expires_at: Timestamp,
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

/// Codes that were made; they are told this once, and stored as hashes.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "NewCodesMade"))]
pub struct CodesMade {
    /// Which balance they credit.
    pub bucket: BucketId,
    /// Of the amount.
    pub currency: Option<String>,
    /// How much each credits.
    pub amount: Money,
    /// Until when they can be redeemed.
    pub expires_at: Timestamp,
    /// Why; for operators alone.
    #[cfg_attr(test, schemars(with = "String"))]
    pub reason: Option<String>,
    /// The name of the token that made them.
    pub author: String,
    /// For whom, as the client says it.
    pub on_behalf_of: Option<String>,
    /// What the customer is told.
    pub note: Option<String>,
    /// The codes.
    pub data: Vec<CodeMade>,
}

/// One of them.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CodeMade {
    /// Its id, which is no secret.
    pub id: CodeId,
    /// What redeems it; told this once.
    pub code: String,
}

/// Makes codes.
pub async fn make<P: Runtime + Accounts + Codes + Sold>(ports: &P, who: &Principal, new: NewCodes) -> Result<CodesMade, Refusal> {
    let operator = who.operator(UseCase::MakeCodes)?;
    check_buckets(ports, [&new.bucket].into_iter()).await?;
    // Before anything is made, since the secrets are told this once.
    let catalog = ports.catalog().await?;
    let (count, now) = (new.count.unwrap_or(1), ports.now());
    if !(1..=MOST_CODES).contains(&count) {
        return Err(Refusal::invalid("count", format!("`count` must be a whole number from 1 to {MOST_CODES}.")));
    }
    if !new.amount.is_positive() {
        return Err(Refusal::invalid("amount", "`amount` must be above nothing."));
    }
    if new.expires_at <= now {
        return Err(Refusal::invalid("expires_at", "`expires_at` must be in the future."));
    }
    let by = Signature { author: new.author, reason: Some(new.reason) }.by(operator)?;
    let note = note(new.note)?;
    let (mut codes, mut data) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let code = written(ports.random());
        let hash = code_hash(&code).ok_or_else(|| Refusal::unavailable("a code that is too short"))?;
        let id = CodeId::new(now, ports.random());
        codes.push(NewCode { hash, id: id.clone() });
        data.push(CodeMade { id, code });
    }
    let (bucket, amount, expires_at) = (new.bucket, new.amount, new.expires_at);
    let made = Made { codes, bucket: bucket.clone(), amount, by: by.clone(), note: note.clone(), created_at: now, expires_at };
    ports.put_codes(&made).await?;
    let what = format!("{count} codes of {amount} on {bucket} made, to be redeemed until {expires_at}");
    audit::note(ports, ActKind::Code, by.clone(), what).await;
    let currency = currency::of(&catalog, bucket.as_str());
    let (reason, author, on_behalf_of) = (by.reason, by.author, by.on_behalf_of);
    Ok(CodesMade { bucket, currency, amount, expires_at, reason, author, on_behalf_of, note, data })
}

/// Four groups of five: a hundred bits.
fn written(random: u128) -> String {
    let letter = |index: u32| {
        let place = usize::try_from((random >> index.saturating_mul(5)) & 31).unwrap_or(0);
        ALPHABET.get(place).copied().map_or('2', char::from)
    };
    let mut code = String::new();
    for index in 0..20 {
        if index > 0 && index % 5 == 0 {
            code.push('-');
        }
        code.push(letter(index));
    }
    code
}

/// Codes, newest first, without what would redeem them.
pub async fn list<P: Codes + Sold>(ports: &P, who: &Principal, part: Part) -> Result<Page<currency::In<Code>>, Refusal> {
    who.operator(UseCase::ListCodes)?;
    let codes = ports.codes(part.after.as_deref(), part.limit).await?;
    let catalog = ports.catalog().await?;
    let in_currency = |code: Code| {
        let bucket = code.bucket.clone();
        currency::In::bucket(code, &catalog, bucket.as_str())
    };
    Ok(Page::of(codes, part.limit, |code| code.id.clone()).map(in_currency))
}

/// Ends a code that nobody has taken yet.
pub async fn revoke<P: Runtime + Accounts + Codes>(
    ports: &P,
    who: &Principal,
    id: &str,
    signature: Signature,
) -> Result<(), Refusal> {
    let by = signature.by(who.operator(UseCase::RevokeCode)?)?;
    if ports.revoke_code(id).await? {
        audit::note(ports, ActKind::Code, by, format!("code {id} revoked")).await;
        return Ok(());
    }
    let message = "There is no such code that could still be redeemed.";
    Err(Refusal::new(refusal::Code::NotFound, message, "List the codes."))
}
