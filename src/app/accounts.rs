//! Accounts and their projects, for operators.

use serde::{Deserialize, Serialize};

use super::ask::{self, command, flush};
use super::page::{Page, Part};
use super::principal::{Principal, Signature};
use super::text::name;
use super::use_case::UseCase;
use super::{bounds, currency};
use crate::account::{AccountRecord, BalanceView, Command, OPERATOR, OpenHold, Overview, ProjectRecord, Signed};
use crate::catalog::{Bucket, Catalog};
use crate::id::{AccountId, BucketId, ProjectId};
use crate::key::Budget;
use crate::money::Money;
use crate::ports::{Accounts, Directory, Runtime, Sold};
use crate::probe;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// What an account is opened with.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Its id; one is made if nothing is said.
    pub id: Option<AccountId>,
    /// What people call it.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub name: String,
    /// For whom it is done; the author is the name of the token.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub author: Option<String>,
    /// Why; for operators alone.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub reason: Option<String>,
}

/// What a project is made or replaced with.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// Its id, of one that is replaced too; one is made if nothing is said.
    pub id: Option<ProjectId>,
    /// What people call it.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub name: String,
    /// What its keys may spend together.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = crate::key::MOST_BUDGETS)))]
    pub budgets: Vec<Budget>,
    /// For whom it is done; the author is the name of the token.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub author: Option<String>,
    /// Why; for operators alone.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub reason: Option<String>,
}

/// An account with its balances.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// When it was opened.
    pub created_at: Timestamp,
    /// What it has, by bucket.
    pub balances: Vec<Balance>,
}

/// One balance, in words of the catalogue.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Balance {
    /// The bucket.
    pub bucket: BucketId,
    /// What people call it; left out where the catalogue does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of its amounts; none where the catalogue does not say.
    pub currency: Option<String>,
    /// Without any hold.
    pub balance: Money,
    /// What is set aside.
    pub held: Money,
    /// What can still be set aside.
    pub available: Money,
    /// What is owed from refunds.
    pub debt: Money,
    /// For which requests, and until when.
    pub open_holds: Vec<currency::In<OpenHold>>,
}

/// Opens an account.
pub async fn open<P: Runtime + Accounts + Sold>(ports: &P, who: &Principal, new: NewAccount) -> Result<Account, Refusal> {
    let operator = who.operator(UseCase::OpenAccount)?;
    let id = new.id.unwrap_or_else(|| AccountId::new(ports.now(), ports.random()));
    if [probe::PROBE_ACCOUNT, OPERATOR].contains(&id.as_str()) {
        return Err(Refusal::invalid("id", format!("`{id}` is an account of the gateway's own; choose another id.")));
    }
    let by = Some(Signature { author: new.author, reason: new.reason }.by(operator)?);
    let record = AccountRecord { id: id.clone(), name: name("name", new.name)?, created_at: ports.now() };
    command(ports, &id, Command::Open(Signed { record, by })).await?;
    flush(ports, &id).await;
    found(ports, &id, &*currency::words(ports).await).await
}

/// One account.
pub async fn show<P: Accounts + Sold>(ports: &P, who: &Principal, id: &AccountId) -> Result<Account, Refusal> {
    who.operator(UseCase::ShowAccount)?;
    found(ports, id, &*currency::words(ports).await).await
}

/// An account as it is now.
pub async fn found<P: Accounts>(ports: &P, id: &AccountId, catalog: &Catalog) -> Result<Account, Refusal> {
    let overview = ask::overview(ports, id).await?;
    let balances = balances(&overview, catalog);
    let AccountRecord { id, name, created_at } = overview.account.ok_or_else(no_account)?;
    Ok(Account { id, name, created_at, balances })
}

/// Errors unless the account was opened.
pub async fn must_exist<P: Accounts>(ports: &P, id: &AccountId) -> Result<(), Refusal> {
    ask::overview(ports, id).await?.account.map(|_| ()).ok_or_else(no_account)
}

/// Accounts with their balances, by id.
pub async fn list<P: Accounts + Directory + Sold>(ports: &P, who: &Principal, part: Part) -> Result<Page<Account>, Refusal> {
    who.operator(UseCase::ListAccounts)?;
    let records = ports.accounts(part.after.as_deref(), part.limit).await?;
    let page = Page::of(records, part.limit, |record| record.id.to_string());
    let catalog = currency::words(ports).await;
    let mut data = Vec::new();
    for record in &page.data {
        data.push(found(ports, &record.id, &catalog).await?);
    }
    Ok(Page { data, next: page.next })
}

/// Reads an account's id.
pub fn account_id(text: &str) -> Result<AccountId, Refusal> {
    if text == OPERATOR {
        return Err(no_account());
    }
    AccountId::parse(text).ok_or_else(|| Refusal::invalid("account", "The account's id has characters that no id has."))
}

fn no_account() -> Refusal {
    Refusal::new(Code::NotFound, "There is no such account.", "Create it with POST /admin/v1/accounts.")
}

/// The balances of the own account.
pub async fn own_balances<P: Accounts + Sold>(ports: &P, who: &Principal) -> Result<Vec<Balance>, Refusal> {
    let holder = who.holder(UseCase::ShowBalances)?;
    let catalog = ports.catalog().await?;
    Ok(balances(&ask::overview(ports, holder.account()).await?, &catalog))
}

/// Every bucket of the catalogue with what the account has in it.
pub fn balances(overview: &Overview, catalog: &Catalog) -> Vec<Balance> {
    let view = |(id, bucket): (&BucketId, &Bucket)| {
        let empty = || BalanceView {
            bucket: id.clone(),
            balance: Money::ZERO,
            held: Money::ZERO,
            available: Money::ZERO,
            debt: Money::ZERO,
            open_holds: Vec::new(),
        };
        let view = overview.balances.iter().find(|view| view.bucket == *id).cloned().unwrap_or_else(empty);
        Balance::of(view, Some(bucket.label.clone()), catalog)
    };
    let sold = catalog.buckets.iter().map(view);
    // Money does not disappear with the catalogue's word for it.
    let others = overview.balances.iter().filter(|view| !catalog.buckets.contains_key(&view.bucket));
    sold.chain(others.map(|view| Balance::of(view.clone(), None, catalog))).collect()
}

impl Balance {
    fn of(view: BalanceView, label: Option<String>, catalog: &Catalog) -> Self {
        let BalanceView { bucket, balance, held, available, debt, open_holds } = view;
        let currency = currency::of(catalog, bucket.as_str());
        let in_currency = |of: OpenHold| currency::In { of, currency: currency.clone() };
        let open_holds = open_holds.into_iter().map(in_currency).collect();
        Self { label, balance, held, available, debt, open_holds, currency, bucket }
    }
}

/// Makes or replaces a project.
pub async fn put_project<P: Runtime + Accounts + Sold>(
    ports: &P,
    who: &Principal,
    account: &AccountId,
    new: NewProject,
) -> Result<ProjectRecord, Refusal> {
    let operator = who.operator(UseCase::PutProject)?;
    let id = new.id.unwrap_or_else(|| ProjectId::new(ports.now(), ports.random()));
    let name = name("name", new.name)?;
    bounds::check_budgets(new.budgets.len())?;
    check_buckets(ports, new.budgets.iter().map(|budget| &budget.bucket)).await?;
    let record = ProjectRecord { id, account: account.clone(), name, budgets: new.budgets, created_at: ports.now() };
    let by = Some(Signature { author: new.author, reason: new.reason }.by(operator)?);
    command(ports, account, Command::PutProject(Signed { record: record.clone(), by })).await?;
    flush(ports, account).await;
    Ok(record)
}

/// The projects of an account.
pub async fn projects<P: Accounts>(ports: &P, who: &Principal, account: &AccountId) -> Result<Page<ProjectRecord>, Refusal> {
    who.operator(UseCase::ListProjects)?;
    must_exist(ports, account).await?;
    Ok(Page::whole(ask::projects(ports, account).await?))
}

/// Only balances that the catalogue declares can be credited or limited.
pub async fn check_buckets<P: Sold>(ports: &P, buckets: impl Iterator<Item = &BucketId>) -> Result<(), Refusal> {
    let catalog = ports.catalog().await?;
    for bucket in buckets {
        if !catalog.buckets.contains_key(bucket) {
            let known: Vec<&str> = catalog.buckets.keys().map(BucketId::as_str).collect();
            return Err(Refusal::invalid(
                "bucket",
                format!("There is no bucket `{bucket}`; the catalogue has: {}.", known.join(", ")),
            ));
        }
    }
    Ok(())
}
