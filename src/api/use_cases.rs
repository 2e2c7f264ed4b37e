//! What a use case is called with over HTTP, and what becomes of its answer.
//!
//! What always holds: who asks is known, and may ask for it, before the body is read; each use case checks it again.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::input::{json as body_of, part, part_of, publish_request, signature, spend_query};
use super::models::{endpoints, entry};
use super::output::{made, ok};
use super::request::Request;
use super::table::{Params, nothing_here};
use super::{lists, model_shapes, openrouter};
use crate::account::Listed;
use crate::app::May;
use crate::app::accounts::account_id;
use crate::app::{
    Principal, UseCase, accounts, adjustments, catalog, codes, explain, health, history, identified, keys, models, operator,
    probes, receipts, reconcile, runs, sessions, spend, tokens, topups,
};
use crate::body::Arriving;
use crate::dialect::EndpointPath;
use crate::id::number;
use crate::limits::Gate;
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, RequestHead, check_idempotency_key, place_of};

/// Accounts in a part of their list: each is asked for its balances.
const MOST_ACCOUNTS: u32 = 50;

/// What is in each bucket.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Balances {
    /// One for each bucket of the catalogue.
    data: Vec<accounts::Balance>,
}

/// A redeem code.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Redeem"))]
#[serde(deny_unknown_fields)]
pub struct RedeemRequest {
    /// As it was given out, in capitals or not, with hyphens or without.
    #[cfg_attr(test, schemars(length(max = codes::LONGEST_CODE)))]
    code: String,
}

/// Who asks for a use case, if that may be.
async fn principal<P: Records>(ports: &P, head: &RequestHead, use_case: UseCase) -> Result<Principal, Refusal> {
    let who = match use_case.may() {
        May::Operator(_) => Principal::Operator(operator::authenticated(ports, head).await?.ok_or_else(nothing_here)?),
        May::Holder => {
            let gate = match use_case {
                UseCase::OpenRun | UseCase::ExplainRoute => Gate::Free,
                UseCase::PlaceOrder => Gate::Order,
                _ => Gate::Read,
            };
            identified(ports, head, gate).await?
        }
    };
    who.may(use_case)?;
    if matches!(use_case.may(), May::Operator(_))
        || matches!(use_case, UseCase::OpenRun | UseCase::RedeemCode | UseCase::PlaceOrder)
    {
        check_idempotency_key(head.idempotency_key.as_deref())?;
    }
    Ok(who)
}

/// The endpoint that a body is meant for, given as its path; chat completions by default.
fn called(path: Option<&str>) -> Result<EndpointPath, Refusal> {
    EndpointPath::at(path.unwrap_or("/v1/chat/completions")).ok_or_else(|| {
        Refusal::invalid("endpoint", "`endpoint` must be the path of an endpoint that asks a model, such as /v1/responses.")
    })
}

/// Answers a request for a use case.
pub async fn answer<P: Records, B: Arriving>(
    ports: &P,
    request: Request<B>,
    (use_case, params): (UseCase, &Params<'_>),
) -> Result<Reply, Refusal> {
    let who = &principal(ports, &request.head, use_case).await?;
    let idempotency = request.head.idempotency_key.clone();
    let idempotency = idempotency.as_deref();
    let account = || account_id(params.get("account"));
    match use_case {
        // What the holder of a key can read, and do besides asking models.
        UseCase::ExplainRoute => {
            let called = called(request.param("endpoint"))?;
            let body = request.body.within(place_of(ports, who.holder(use_case)?.account())).await?;
            ok(&explain::route(ports, who, (called, request.head), &body).await?)
        }
        UseCase::ListModels => {
            let views = models::list(ports, who, request.param("include") == Some("unavailable")).await?;
            ok(&model_shapes::list(request.dialect(), views.iter().map(entry).collect()))
        }
        UseCase::ShowModel => {
            let view = models::show(ports, who, params.get("model")).await?;
            ok(&model_shapes::one(request.dialect(), entry(&view)))
        }
        UseCase::ListEndpoints => ok(&endpoints(&models::endpoints(ports, who, params.get("model")).await?)),
        UseCase::ShowHealth => ok(&history::show(ports, who, params.get("model"), request.param("window")).await?),
        UseCase::ListReceipts => lists::own(ports, who, &request, Listed::Receipts).await,
        UseCase::ShowReceipt => ok(&receipts::own(ports, who, params.get("id")).await?),
        UseCase::ShowGeneration => {
            let id = request.param("id").ok_or_else(|| Refusal::invalid("id", "`?id=` is required."))?;
            ok(&json!({"data": openrouter::generation(&receipts::own(ports, who, id).await?)}))
        }
        UseCase::ShowActivity => ok(&spend::own(ports, who, spend_query(&request)?).await?.map(openrouter::activity)),
        UseCase::ListRuns => ok(&runs::list(ports, who, part(&request)?).await?),
        UseCase::OpenRun => made(&runs::open(ports, who, body_of(request.body).await?).await?),
        UseCase::ShowRun => ok(&runs::show(ports, who, params.get("id")).await?),
        UseCase::ListEntries => lists::own(ports, who, &request, Listed::Entries).await,
        UseCase::ShowBalances => ok(&Balances { data: accounts::own_balances(ports, who).await? }),
        UseCase::ShowCredits => ok(&openrouter::credits(&spend::credits(ports, who).await?)),
        UseCase::ShowKey => openrouter::key(ports, who).await,
        UseCase::ListOrders => ok(&topups::list_own(ports, who, part(&request)?).await?),
        UseCase::PlaceOrder => made(&topups::order(ports, who, idempotency, body_of(request.body).await?).await?),
        UseCase::ShowOrder => ok(&topups::own(ports, who, params.get("id")).await?),
        UseCase::RedeemCode => {
            let RedeemRequest { code } = body_of(request.body).await?;
            ok(&codes::redeem(ports, who, &code).await?)
        }
        // Administration.
        UseCase::ListAccounts => ok(&accounts::list(ports, who, part_of(&request, MOST_ACCOUNTS)?).await?),
        UseCase::OpenAccount => made(&accounts::open(ports, who, body_of(request.body).await?).await?),
        UseCase::ShowAccount => ok(&accounts::show(ports, who, &account()?).await?),
        UseCase::ListProjects => ok(&accounts::projects(ports, who, &account()?).await?),
        UseCase::PutProject => {
            let account = account()?;
            made(&accounts::put_project(ports, who, &account, body_of(request.body).await?).await?)
        }
        UseCase::ListKeys => ok(&keys::list(ports, who, &account()?).await?),
        UseCase::MakeKey => {
            let account = account()?;
            made(&keys::make(ports, who, &account, body_of(request.body).await?).await?)
        }
        UseCase::ChangeKey => {
            let account = account()?;
            ok(&keys::change(ports, who, (&account, params.get("key")), body_of(request.body).await?).await?)
        }
        UseCase::RevokeKey => ok(&keys::revoke(ports, who, (&account()?, params.get("key")), signature(&request)).await?),
        UseCase::EndSessions => {
            let whose = (&account()?, request.param("key"));
            ok(&sessions::end_all(ports, who, whose, signature(&request)).await?)
        }
        UseCase::Adjust => {
            let account = account()?;
            made(&adjustments::adjust(ports, who, (&account, idempotency), body_of(request.body).await?).await?)
        }
        UseCase::ShowReceiptOf => ok(&receipts::whole(ports, who, &account()?, params.get("id")).await?),
        UseCase::ListOrdersOf => ok(&topups::list(ports, who, &account()?, part(&request)?).await?),
        UseCase::ShowOrderOf => ok(&topups::show(ports, who, &account()?, params.get("order")).await?),
        UseCase::ApproveOrder | UseCase::RejectOrder => {
            let of = (&account()?, params.get("order"), use_case == UseCase::ApproveOrder);
            ok(&topups::judge(ports, who, of, body_of(request.body).await?).await?)
        }
        UseCase::RefundOrder => {
            let of = (&account()?, params.get("order"), idempotency);
            made(&topups::refund(ports, who, of, body_of(request.body).await?).await?)
        }
        UseCase::ListAllOrders => {
            let state = request.param("state").unwrap_or("in_review");
            ok(&topups::list_all(ports, who, state, part(&request)?).await?)
        }
        UseCase::ListCodes => ok(&codes::list(ports, who, part(&request)?).await?),
        UseCase::MakeCodes => made(&codes::make(ports, who, body_of(request.body).await?).await?),
        UseCase::RevokeCode => {
            let id = params.get("id");
            codes::revoke(ports, who, id, signature(&request)).await?;
            ok(&json!({"id": id, "revoked": true}))
        }
        UseCase::ListAllReceipts => lists::all(ports, who, &request, Listed::Receipts).await,
        UseCase::ListAllEntries => lists::all(ports, who, &request, Listed::Entries).await,
        UseCase::ListAudit => lists::all(ports, who, &request, Listed::Records).await,
        UseCase::ShowSpend => ok(&spend::all(ports, who, spend_query(&request)?).await?),
        UseCase::Reconcile => {
            let wrong = || Refusal::invalid("from", "`from` must be the number of a row.");
            let from = request.param("from").map(|text| number(text).ok_or_else(wrong)).transpose()?.unwrap_or(0);
            let of = match request.param("account") {
                Some(account) => reconcile::Of::One(account_id(account)?),
                None => reconcile::Of::Part(part(&request)?),
            };
            ok(&reconcile::report(ports, who, of, from).await?)
        }
        UseCase::ShowCatalogue => Ok(Reply::json(200, catalog::show(ports, who).await?)),
        UseCase::PublishCatalogue => {
            let wish = publish_request(who, &request, ports.now())?;
            let body = request.body.await?;
            let not_text = |_| Refusal::new(Code::InvalidJson, "The catalogue is not UTF-8.", "Send UTF-8.");
            ok(&catalog::publish(ports, who, wish, std::str::from_utf8(&body).map_err(not_text)?).await?)
        }
        UseCase::ShowAnnounced => ok(&catalog::announced(ports, who).await?),
        UseCase::WithdrawAnnounced => ok(&catalog::withdraw(ports, who, signature(&request)).await?),
        UseCase::ListVersions => ok(&catalog::versions(ports, who, request.param("model"), part(&request)?).await?),
        UseCase::ShowVersion => ok(&catalog::version(ports, who, params.get("version")).await?),
        UseCase::ListCandidates => ok(&health::candidates(ports, who).await?),
        UseCase::Probe => ok(&probes::run(ports, who, body_of(request.body).await?).await?),
        UseCase::ListTokens => ok(&tokens::list(ports, who, part(&request)?).await?),
        UseCase::MakeToken => made(&tokens::make(ports, who, body_of(request.body).await?).await?),
        UseCase::RevokeToken => ok(&tokens::revoke(ports, who, params.get("token"), signature(&request)).await?),
        UseCase::ListAttempts => ok(&tokens::attempts(ports, who, part(&request)?).await?),
    }
}
