//! Sessions of customers on the pages, ended by operators.

use serde::Serialize;

use super::accounts::must_exist;
use super::ask::{self, command};
use super::audit;
use super::keys;
use super::principal::{Principal, Signature};
use super::use_case::UseCase;
use crate::account::{ActKind, Command, SessionEnd};
use crate::id::{AccountId, KeyId};
use crate::ports::{Accounts, Runtime};
use crate::refusal::Refusal;

/// Whose sessions were ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SessionsEnded {
    /// Of this account.
    pub account: AccountId,
    /// Of this key alone, where one was named.
    pub key: Option<KeyId>,
    /// They are.
    pub ended: bool,
}

/// Ends the sessions of an account, or of one of its keys, effective on their next request.
pub async fn end_all<P: Runtime + Accounts>(
    ports: &P,
    who: &Principal,
    (account, key): (&AccountId, Option<&str>),
    signature: Signature,
) -> Result<SessionsEnded, Refusal> {
    let by = signature.by(who.operator(UseCase::EndSessions)?)?;
    let wrong = || Refusal::invalid("key", "`key` is not an id that a key can have.");
    let key = key.map(|key| KeyId::parse(key).ok_or_else(wrong)).transpose()?;
    must_exist(ports, account).await?;
    if let Some(key) = &key
        && !ask::keys(ports, account).await?.iter().any(|known| known.id == *key)
    {
        return Err(keys::not_found());
    }
    let end = key.clone().map_or(SessionEnd::OfAccount, SessionEnd::OfKey);
    command(ports, account, Command::EndSessions(end)).await?;
    let whose = key.as_ref().map_or_else(|| "every key".to_owned(), |key| format!("key {key}"));
    audit::note(ports, ActKind::Session, by, format!("sessions of {whose} of account {account} ended")).await;
    Ok(SessionsEnded { account: account.clone(), key, ended: true })
}
