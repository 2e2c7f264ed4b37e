//! Administration: for who presents an operator's token, within its scopes.

use super::input::{self, json, part, part_of, signature};
use super::lists::{self, Audience};
use super::output::{made, ok};
use super::request::Request;
use super::{browser, catalog, health, operator, rights, spend, table};
use crate::account::Listed;
use crate::app::accounts::account_id;
use crate::app::{Principal, accounts, adjustments, codes, keys, probes, receipts, reconcile, sessions, tokens, topups};
use crate::body::Arriving;
use crate::ports::Records;
use crate::refusal::Refusal;
use crate::relay::{Reply, check_idempotency_key};

/// Accounts in a part of their list: each is asked for its balances.
const MOST_ACCOUNTS: u32 = 50;

/// Answers a request under `/admin/v1/`.
pub async fn handle<P: Records, B: Arriving>(ports: &P, request: Request<B>, path: &str) -> Result<Reply, Refusal> {
    let operator = operator::authenticated(ports, &request.head).await?;
    if request.method == "OPTIONS"
        && let Some(reply) = browser::options(path)
    {
        return Ok(reply);
    }
    table::check(&request.method, path)?;
    let who = &Principal::Operator(operator);
    // Before the body is read; each use case checks it again.
    who.may(rights::use_case(&request.method, path)?)?;
    let idempotency = request.head.idempotency_key.clone();
    let idempotency = idempotency.as_deref();
    check_idempotency_key(idempotency)?;
    let parts: Vec<&str> = path.trim_start_matches("/admin/v1/").split('/').collect();
    let method = request.method.clone();
    match (method.as_str(), parts.as_slice()) {
        ("POST", ["accounts"]) => made(&accounts::open(ports, who, json(request.body).await?).await?),
        ("GET", ["accounts"]) => ok(&accounts::list(ports, who, part_of(&request, MOST_ACCOUNTS)?).await?),
        ("GET", ["accounts", account]) => ok(&accounts::show(ports, who, &account_id(account)?).await?),
        ("POST", ["accounts", account, "projects"]) => {
            let account = account_id(account)?;
            made(&accounts::put_project(ports, who, &account, json(request.body).await?).await?)
        }
        ("GET", ["accounts", account, "projects"]) => ok(&accounts::projects(ports, who, &account_id(account)?).await?),
        ("POST", ["accounts", account, "keys"]) => {
            let account = account_id(account)?;
            made(&keys::make(ports, who, &account, json(request.body).await?).await?)
        }
        ("GET", ["accounts", account, "keys"]) => ok(&keys::list(ports, who, &account_id(account)?).await?),
        ("PATCH", ["accounts", account, "keys", key]) => {
            let account = account_id(account)?;
            ok(&keys::change(ports, who, (&account, key), json(request.body).await?).await?)
        }
        ("DELETE", ["accounts", account, "keys", key]) => {
            ok(&keys::revoke(ports, who, (&account_id(account)?, key), signature(&request)).await?)
        }
        ("DELETE", ["accounts", account, "sessions"]) => {
            let whose = (&account_id(account)?, request.param("key"));
            ok(&sessions::end_all(ports, who, whose, signature(&request)).await?)
        }
        ("POST", ["accounts", account, "adjustments"]) => {
            let account = account_id(account)?;
            made(&adjustments::adjust(ports, who, (&account, idempotency), json(request.body).await?).await?)
        }
        ("GET", ["accounts", account, "receipts", id]) => {
            ok(&lists::receipt(receipts::whole(ports, who, &account_id(account)?, id).await?))
        }
        ("GET", ["accounts", account, "topups"]) => ok(&topups::list(ports, who, &account_id(account)?, part(&request)?).await?),
        ("GET", ["accounts", account, "topups", order]) => ok(&topups::show(ports, who, &account_id(account)?, order).await?),
        ("POST", ["accounts", account, "topups", order, "approve"]) => {
            let of = (&account_id(account)?, *order, true);
            ok(&topups::judge(ports, who, of, json(request.body).await?).await?)
        }
        ("POST", ["accounts", account, "topups", order, "reject"]) => {
            let of = (&account_id(account)?, *order, false);
            ok(&topups::judge(ports, who, of, json(request.body).await?).await?)
        }
        ("POST", ["accounts", account, "topups", order, "refunds"]) => {
            let of = (&account_id(account)?, *order, idempotency);
            made(&topups::refund(ports, who, of, json(request.body).await?).await?)
        }
        ("GET", ["topups"]) => {
            let state = request.param("state").unwrap_or("in_review");
            ok(&topups::list_all(ports, who, state, part(&request)?).await?)
        }
        ("POST", ["codes"]) => made(&codes::make(ports, who, json(request.body).await?).await?),
        ("GET", ["codes"]) => ok(&codes::list(ports, who, part(&request)?).await?),
        ("DELETE", ["codes", id]) => {
            codes::revoke(ports, who, id, signature(&request)).await?;
            ok(&serde_json::json!({"id": id, "revoked": true}))
        }
        ("GET", ["receipts"]) => journal(ports, who, &request, Listed::Receipts).await,
        ("GET", ["ledger"]) => journal(ports, who, &request, Listed::Entries).await,
        ("GET", ["audit"]) => journal(ports, who, &request, Listed::Records).await,
        ("GET", ["spend"]) => spend::spend(ports, &request).await,
        ("GET", ["reconcile"]) => {
            let wrong = || Refusal::invalid("from", "`from` must be the number of a row.");
            let from = request.param("from").map(|text| text.parse().map_err(|_| wrong())).transpose()?.unwrap_or(0);
            let of = match request.param("account") {
                Some(account) => reconcile::Of::One(account_id(account)?),
                None => reconcile::Of::Part(part(&request)?),
            };
            ok(&reconcile::report(ports, who, of, from).await?)
        }
        (_, ["catalog", rest @ ..]) => catalog::handle(ports, who, request, rest).await,
        ("GET", ["health"]) => health::candidates(ports).await,
        ("POST", ["probe"]) => ok(&probes::run(ports, who, json(request.body).await?).await?),
        ("GET", ["tokens"]) => ok(&tokens::list(ports, who, part(&request)?).await?),
        ("POST", ["tokens"]) => made(&tokens::make(ports, who, json(request.body).await?).await?),
        ("DELETE", ["tokens", id]) => ok(&tokens::revoke(ports, who, id, signature(&request)).await?),
        ("GET", ["attempts"]) => ok(&tokens::attempts(ports, who, part(&request)?).await?),
        _ => Err(table::nothing_here()),
    }
}

/// Rows of all journals, or of one account's.
async fn journal<P: Records, B>(ports: &P, who: &Principal, request: &Request<B>, listed: Listed) -> Result<Reply, Refusal> {
    let filter = input::filter(request, listed)?;
    let account = request.param("account").map(ToOwned::to_owned);
    let (outside, who) = (ports.clone(), who.clone());
    let load: lists::Load = Box::new(move |part| {
        let (outside, who, filter, account) = (outside.clone(), who.clone(), filter.clone(), account.clone());
        Box::pin(async move { receipts::list(&outside, &who, (account.as_deref(), &filter), part).await })
    });
    lists::answer(ports, request, (listed, Audience::Operator), load).await
}
