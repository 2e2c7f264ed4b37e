//! What is message to an account, and what it answers, each by its type.

use crate::account::{
    AccountAnswer, Audit, BudgetView, Command, JournalFilter, KeyView, Order, Overview, ProjectRecord, Query, RunOpened, RunView,
    StoredRow, Wanted, Weighed, Window,
};
use crate::id::{AccountId, KeyId, OrderId, RequestId, RunId};
use crate::key::KeyRecord;
use crate::ports::{Accounts, Runtime};
use crate::refusal::Refusal;

/// Says something to an account that can be refused.
pub async fn command<P: Accounts>(ports: &P, account: &AccountId, command: Command) -> Result<AccountAnswer, Refusal> {
    match ports.command(account, command).await? {
        AccountAnswer::Refused(refusal) => Err(refusal),
        answer => Ok(answer),
    }
}

/// Lets the searchable copy follow at once, so that lists show what was just made. If it cannot, it follows later.
pub async fn flush<P: Accounts + Runtime>(ports: &P, account: &AccountId) {
    if let Err(error) = ports.command(account, Command::Flush).await {
        ports.log(&format!("flush: {}", error.0));
    }
}

/// An account answered something else than was asked.
fn unexpected(answer: &AccountAnswer) -> Refusal {
    Refusal::unavailable(format!("an account answered with {}", answer.kind()))
}

/// What an account answers to a question.
macro_rules! answered {
    ($ports:expr, $account:expr, $query:expr, $($pattern:pat => $value:expr),+) => {
        match $ports.command($account, Command::Read($query)).await? {
            $($pattern => Ok($value),)+
            other => Err(unexpected(&other)),
        }
    };
}

/// Says something about an order, and answers it as it is now.
pub async fn command_for_order<P: Accounts>(ports: &P, account: &AccountId, message: Command) -> Result<Order, Refusal> {
    match command(ports, account, message).await? {
        AccountAnswer::Order(order) => Ok(*order),
        other => Err(unexpected(&other)),
    }
}

/// Says something about a key, and answers it as it is now.
pub async fn command_for_key<P: Accounts>(ports: &P, account: &AccountId, message: Command) -> Result<KeyRecord, Refusal> {
    match command(ports, account, message).await? {
        AccountAnswer::Key(record) => Ok(*record),
        other => Err(unexpected(&other)),
    }
}

/// An account with its balances.
pub async fn overview<P: Accounts>(ports: &P, account: &AccountId) -> Result<Overview, Refusal> {
    answered!(ports, account, Query::Overview, AccountAnswer::Overview(overview) => *overview)
}

/// The row of one receipt.
pub async fn receipt<P: Accounts>(ports: &P, account: &AccountId, id: RequestId) -> Result<Option<StoredRow>, Refusal> {
    answered!(ports, account, Query::Receipt(id), AccountAnswer::Journal(rows) => rows.into_iter().next())
}

/// Rows of the journal, newest first.
pub async fn journal<P: Accounts>(
    ports: &P,
    account: &AccountId,
    filter: JournalFilter,
    page: Window,
) -> Result<Vec<StoredRow>, Refusal> {
    answered!(ports, account, Query::Journal(Box::new(filter), page), AccountAnswer::Journal(rows) => rows)
}

/// What is left of a key's budgets; none of a key that the account does not have.
pub async fn budgets<P: Accounts>(ports: &P, account: &AccountId, key: KeyId) -> Result<Vec<BudgetView>, Refusal> {
    answered!(ports, account, Query::Key(key), AccountAnswer::Budgets(budgets) => budgets, AccountAnswer::Nothing => Vec::new())
}

/// All keys.
pub async fn keys<P: Accounts>(ports: &P, account: &AccountId) -> Result<Vec<KeyView>, Refusal> {
    answered!(ports, account, Query::Keys, AccountAnswer::Keys(keys) => keys)
}

/// All projects.
pub async fn projects<P: Accounts>(ports: &P, account: &AccountId) -> Result<Vec<ProjectRecord>, Refusal> {
    answered!(ports, account, Query::Projects, AccountAnswer::Projects(projects) => projects)
}

/// One run.
pub async fn run<P: Accounts>(ports: &P, account: &AccountId, id: RunId) -> Result<Option<RunView>, Refusal> {
    answered!(ports, account, Query::Run(id), AccountAnswer::Run(run) => Some(*run), AccountAnswer::Nothing => None)
}

/// Runs, by id.
pub async fn runs<P: Accounts>(
    ports: &P,
    account: &AccountId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<RunOpened>, Refusal> {
    answered!(ports, account, Query::Runs(after, limit), AccountAnswer::Runs(runs) => runs)
}

/// One order.
pub async fn order<P: Accounts>(ports: &P, account: &AccountId, id: OrderId) -> Result<Option<Order>, Refusal> {
    answered!(ports, account, Query::Order(id), AccountAnswer::Order(order) => Some(*order), AccountAnswer::Nothing => None)
}

/// Orders, newest first.
pub async fn orders<P: Accounts>(
    ports: &P,
    account: &AccountId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<Order>, Refusal> {
    answered!(ports, account, Query::Orders(after, limit), AccountAnswer::Orders(orders) => orders)
}

/// Whether the journal agrees with itself, from a row on.
pub async fn audit<P: Accounts>(ports: &P, account: &AccountId, after: u64, limit: u32) -> Result<Audit, Refusal> {
    answered!(ports, account, Query::Audit { after, limit }, AccountAnswer::Audit(audit) => *audit)
}

/// What would become of each of these holds.
pub async fn weigh<P: Accounts>(ports: &P, key: &KeyRecord, holds: &[Wanted]) -> Result<Vec<Weighed>, Refusal> {
    if holds.is_empty() {
        return Ok(Vec::new());
    }
    let query = Query::Weigh(key.id.clone(), holds.to_vec());
    answered!(ports, &key.account, query, AccountAnswer::Weighed(weighed) => weighed)
}
