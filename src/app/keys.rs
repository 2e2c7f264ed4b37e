//! Keys: made, changed, revoked and listed by operators; shown to their holders.

use serde::Serialize;
use serde_json::{Map, Value};

use super::accounts::{check_buckets, must_exist};
use super::ask::{self, command, command_for_key, flush};
use super::page::Page;
use super::principal::{Principal, Signature};
use super::text::{name, repeated};
use super::use_case::UseCase;
use super::{bounds, currency};
use crate::account::{BudgetView, Command, KeyChange, KeyView, Signed};
use crate::id::{AccountId, KeyId, KeySecret, ProjectId};
use crate::key::{KeyRecord, Policy};
use crate::ports::{Accounts, KeyDirectory, Runtime, Sold};
use crate::refusal::{Code, Refusal};

/// A key that was made. Its secret is told this once.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "NewKeyMade"))]
pub struct NewKey {
    /// The key.
    #[serde(flatten)]
    pub key: KeyView,
    /// What callers present; told this once.
    pub secret: String,
}

/// A key as its holder sees it.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct OwnKey {
    pub key: KeyView,
    pub budgets: Vec<currency::In<BudgetView>>,
}

/// Makes a key; `fields` are its label, its project, who makes it and why, and its policy.
pub async fn make<P: Runtime + Accounts + KeyDirectory + Sold>(
    ports: &P,
    who: &Principal,
    account: &AccountId,
    mut fields: Map<String, Value>,
) -> Result<NewKey, Refusal> {
    let operator = who.operator(UseCase::MakeKey)?;
    let label = text(&mut fields, "label")?.ok_or_else(|| Refusal::invalid("label", "`label` is required."))?;
    let label = name("label", label)?;
    let no_project = || Refusal::invalid("project", "`project` has characters that no id has.");
    let project = text(&mut fields, "project")?.map(|id| ProjectId::parse(&id).ok_or_else(no_project)).transpose()?;
    let by = Some(signature(&mut fields)?.by(operator)?);
    bounds::check_policy(&fields)?;
    let policy = policy(&fields)?;
    check_buckets(ports, policy.budgets.iter().map(|budget| &budget.bucket)).await?;
    let secret = KeySecret::new(random_bytes(ports));
    let record = KeyRecord {
        id: KeyId::new(ports.now(), ports.random()),
        hash: secret.hash(),
        account: account.clone(),
        project: project.unwrap_or_else(ProjectId::first),
        label,
        version: 1,
        created_at: ports.now(),
        revoked_at: None,
        policy,
    };
    command(ports, account, Command::PutKey(Box::new(Signed { record: record.clone(), by }))).await?;
    ports.publish_key(&record).await?;
    flush(ports, account).await;
    Ok(NewKey { key: record.into(), secret: secret.reveal() })
}

/// Changes a key's policy or label.
pub async fn change<P: Runtime + Accounts + KeyDirectory + Sold>(
    ports: &P,
    who: &Principal,
    (account, key): (&AccountId, &str),
    mut fields: Map<String, Value>,
) -> Result<KeyView, Refusal> {
    let operator = who.operator(UseCase::ChangeKey)?;
    let label = text(&mut fields, "label")?.map(|text| name("label", text)).transpose()?;
    let by = Some(signature(&mut fields)?.by(operator)?);
    bounds::check_policy(&fields)?;
    let changed = policy(&fields)?;
    if fields.contains_key("budgets") {
        check_buckets(ports, changed.budgets.iter().map(|budget| &budget.bucket)).await?;
    }
    apply(ports, account, key, KeyChange { policy: fields, label, revoke: false, by }).await
}

/// Revokes a key, effective at once.
pub async fn revoke<P: Runtime + Accounts + KeyDirectory>(
    ports: &P,
    who: &Principal,
    (account, key): (&AccountId, &str),
    signature: Signature,
) -> Result<KeyView, Refusal> {
    let by = Some(signature.by(who.operator(UseCase::RevokeKey)?)?);
    apply(ports, account, key, KeyChange { policy: Map::new(), label: None, revoke: true, by }).await
}

async fn apply<P: Runtime + Accounts + KeyDirectory>(
    ports: &P,
    account: &AccountId,
    key: &str,
    change: KeyChange,
) -> Result<KeyView, Refusal> {
    let key = KeyId::parse(key).ok_or_else(not_found)?;
    let record = command_for_key(ports, account, Command::ChangeKey(key, change)).await?;
    // The account has decided; the copy that requests look up follows, and until it does the account still has the last word.
    if let Err(error) = ports.publish_key(&record).await {
        ports.log(&format!("publish key: {}", error.0));
    }
    flush(ports, account).await;
    Ok(record.into())
}

/// The account has no key of this id.
pub(super) fn not_found() -> Refusal {
    Refusal::new(Code::NotFound, "There is no such key in this account.", "List the account's keys.")
}

/// The keys of an account.
pub async fn list<P: Accounts>(ports: &P, who: &Principal, account: &AccountId) -> Result<Page<KeyView>, Refusal> {
    who.operator(UseCase::ListKeys)?;
    must_exist(ports, account).await?;
    Ok(Page::whole(ask::keys(ports, account).await?))
}

/// The key of who asks, with what is left of its budgets.
pub async fn own<P: Accounts + Sold>(ports: &P, who: &Principal) -> Result<OwnKey, Refusal> {
    let holder = who.holder(UseCase::ShowKey)?;
    let budgets = ask::budgets(ports, holder.account(), holder.key.id.clone()).await?;
    let catalog = ports.catalog().await?;
    let in_currency = |budget: BudgetView| {
        let bucket = budget.bucket.clone();
        currency::In::bucket(budget, &catalog, bucket.as_str())
    };
    Ok(OwnKey { key: holder.key.clone().into(), budgets: budgets.into_iter().map(in_currency).collect() })
}

fn signature(fields: &mut Map<String, Value>) -> Result<Signature, Refusal> {
    Ok(Signature { author: text(fields, "author")?, reason: text(fields, "reason")? })
}

/// Takes a text out of the fields of a key; the rest is its policy. Null is as if it were not there, but for the label.
fn text(fields: &mut Map<String, Value>, field: &str) -> Result<Option<String>, Refusal> {
    match fields.shift_remove(field) {
        None => Ok(None),
        Some(Value::Null) if field != "label" => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::invalid(field, format!("`{field}` must be text."))),
    }
}

/// The policy of these fields. Each is read by itself first, so that the one that is wrong is named.
fn policy(fields: &Map<String, Value>) -> Result<Policy, Refusal> {
    let read = |fields: Value| serde_json::from_str::<Policy>(&fields.to_string());
    for (field, value) in fields {
        let alone: Map<String, Value> = [(field.clone(), value.clone())].into_iter().collect();
        if let Err(error) = read(alone.into()) {
            let text = error.to_string();
            let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
            let shown = repeated(field);
            return Err(Refusal::invalid(&shown, format!("`{shown}` is not valid for a key: {reason}.")));
        }
    }
    read(fields.clone().into()).map_err(|error| Refusal::unavailable(error.to_string()))
}

/// Random bytes for a secret.
pub fn random_bytes<P: Runtime>(ports: &P) -> [u8; 24] {
    let mut random = [0_u8; 24];
    let bits = [ports.random().to_le_bytes(), ports.random().to_le_bytes()].concat();
    random.iter_mut().zip(bits).for_each(|(to, from)| *to = from);
    random
}
