//! What the holder of a key can read, and do besides asking models.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::input::{self, json as body_of, part};
use super::lists::{self, Reader};
use super::output::{made, ok};
use super::request::Request;
use super::{history, models, rights, spend, table};
use crate::account::{BudgetView, KeyView, Listed};
use crate::app::accounts::{Balance, balances};
use crate::app::{Holder, Principal, ask, codes, currency, keys, receipts, runs, topups};
use crate::body::Arriving;
use crate::id::{AccountId, KeyId, ProjectId, RequestId};
use crate::key::Policy;
use crate::money::Money;
use crate::ports::Records;
use crate::refusal::Refusal;
use crate::relay::{Reply, ReplyBody, check_idempotency_key};
use crate::time::Timestamp;
use crate::usage::Usage;

/// What is in each bucket.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Balances {
    /// One for each bucket of the catalogue.
    data: Vec<Balance>,
}

/// The key that asks.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeyInfo {
    /// In OpenRouter's fields.
    data: KeyData,
}

/// A key in OpenRouter's fields, which have room for one budget: the first.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct KeyData {
    /// What people call it.
    label: String,
    /// What may be spent in the budget's period; null without a budget.
    limit: Option<Money>,
    /// What is left of that.
    limit_remaining: Option<Money>,
    /// What was spent of it.
    usage: Option<Money>,
    /// Of these amounts (ISO 4217); null of a bucket that the catalogue no longer has.
    currency: Option<String>,
    /// Never.
    is_free_tier: bool,
    /// Null where there is none.
    rate_limit: Option<RateLimit>,
    /// What OpenRouter has no fields for.
    tf: KeyFacts,
}

/// How many requests a key may send.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RateLimit {
    /// So many.
    requests: u32,
    /// In this time: `1m`.
    interval: &'static str,
}

/// What a key may do.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct KeyFacts {
    /// Its id.
    id: KeyId,
    /// Who pays.
    account: AccountId,
    /// The project that it belongs to.
    project: ProjectId,
    /// When it was made.
    created_at: Timestamp,
    /// What it may do.
    policy: Policy,
    /// What is left of its budgets.
    budgets: Vec<currency::In<BudgetView>>,
}

/// Answers a GET for the holder of a key.
pub async fn read<P: Records, B>(ports: &P, who: &Principal, request: &Request<B>, path: &str) -> Result<Reply, Refusal> {
    let holder = who.holder(rights::use_case("GET", path)?)?;
    match path {
        "/v1/balances" => {
            let catalog = ports.catalog().await?;
            ok(&Balances { data: balances(&ask::overview(ports, holder.account()).await?, &catalog) })
        }
        "/v1/key" => key(ports, who).await,
        "/v1/generation" => {
            let id = request.param("id").ok_or_else(|| Refusal::invalid("id", "`?id=` is required."))?;
            ok(&json!({"data": generation(&lists::receipt(receipts::own(ports, who, id).await?))}))
        }
        "/v1/receipts" => journal(ports, (who, holder), request, Listed::Receipts).await,
        "/v1/ledger" => journal(ports, (who, holder), request, Listed::Entries).await,
        "/v1/credits" => spend::credits(ports, holder.account()).await,
        "/v1/activity" => spend::activity(ports, holder.account(), request).await,
        "/v1/runs" => ok(&runs::list(ports, who, part(request)?).await?),
        "/v1/topups" => ok(&topups::list_own(ports, who, part(request)?).await?),
        "/v1/models" | "/v1beta/models" => {
            models::list(ports, holder, request.param("include") == Some("unavailable"), request.dialect()).await
        }
        _ => {
            if let Some(id) = path.strip_prefix("/v1/receipts/") {
                return ok(&lists::receipt(receipts::own(ports, who, id).await?));
            }
            if let Some(id) = path.strip_prefix("/v1/runs/") {
                return ok(&runs::show(ports, who, id).await?);
            }
            if let Some(id) = path.strip_prefix("/v1/topups/") {
                return ok(&topups::own(ports, who, id).await?);
            }
            if let Some(id) = path.strip_prefix("/v1/health/") {
                return history::of_model(ports, id, request.param("window")).await;
            }
            if let Some(id) = path.strip_prefix("/v1/models/").and_then(|rest| rest.strip_suffix("/endpoints")) {
                return models::endpoints(ports, holder, id).await;
            }
            if let Some(id) = path.strip_prefix("/v1/models/").or_else(|| path.strip_prefix("/v1beta/models/")) {
                return models::one(ports, holder, id, request.dialect()).await;
            }
            Err(table::nothing_here())
        }
    }
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

/// Answers a POST for the holder of a key.
pub async fn write<P: Records, B: Arriving>(
    ports: &P,
    who: &Principal,
    request: Request<B>,
    path: &str,
) -> Result<Reply, Refusal> {
    let idempotency = request.head.idempotency_key.as_deref();
    check_idempotency_key(idempotency)?;
    match path {
        "/v1/runs" => made(&runs::open(ports, who, body_of(request.body).await?).await?),
        "/v1/redeem" => {
            let RedeemRequest { code } = body_of(request.body).await?;
            ok(&codes::redeem(ports, who, &code).await?)
        }
        "/v1/topups" => made(&topups::order(ports, who, idempotency, body_of(request.body).await?).await?),
        _ => Err(table::nothing_here()),
    }
}

/// Puts the receipt of an earlier request into the answer to its replay.
pub async fn with_receipt<P: Records>(ports: &P, mut reply: Reply, account: &AccountId, request: &RequestId) -> Reply {
    if let Ok(receipt) = receipts::of_account(ports, account, request.as_str()).await {
        reply.body = ReplyBody::Full(lists::receipt(receipt).to_string().into_bytes());
    }
    reply
}

/// Journal rows of the own account.
async fn journal<P: Records, B>(
    ports: &P,
    (who, holder): (&Principal, &Holder),
    request: &Request<B>,
    listed: Listed,
) -> Result<Reply, Refusal> {
    let filter = input::filter(request, listed)?;
    let (outside, who) = (ports.clone(), who.clone());
    let load: lists::Load = Box::new(move |part| {
        let (outside, who, filter) = (outside.clone(), who.clone(), filter.clone());
        Box::pin(async move { receipts::list_own(&outside, &who, &filter, part).await })
    });
    lists::answer(ports, request, (listed, Reader::Customer(holder.account().clone())), load).await
}

/// OpenRouter's shape for the key, with ours beside it.
async fn key<P: Records>(ports: &P, who: &Principal) -> Result<Reply, Refusal> {
    let keys::OwnKey { key: KeyView { id, account, project, label, created_at, policy, .. }, budgets } =
        keys::own(ports, who).await?;
    let budget = budgets.first();
    let data = KeyData {
        label,
        limit: budget.map(|budget| budget.of.limit),
        limit_remaining: budget.map(|budget| budget.of.remaining),
        usage: budget.map(|budget| budget.of.spent),
        currency: budget.and_then(|budget| budget.currency.clone()),
        is_free_tier: false,
        rate_limit: policy.rpm.map(|requests| RateLimit { requests, interval: "1m" }),
        tf: KeyFacts { id, account, project, created_at, policy, budgets },
    };
    ok(&KeyInfo { data })
}

/// OpenRouter's fields for a generation, filled from the receipt, which stands whole under `tf`.
fn generation(receipt: &Value) -> Value {
    let field = |name: &str| receipt.get(name).cloned().unwrap_or_default();
    let usage = receipt.get("usage").and_then(|usage| serde_json::from_str::<Usage>(&usage.to_string()).ok()).unwrap_or_default();
    let (prompt, completion) = (usage.input_side(), usage.output_side());
    let corrected = receipt.pointer("/correction/charge_after");
    let charge = corrected.or_else(|| receipt.get("charge")).and_then(Value::as_str).unwrap_or("0");
    // The charge is a decimal; as a JSON number it keeps every digit of its text.
    let cost: Value = serde_json::from_str(charge).unwrap_or_default();
    let first_byte = receipt.get("first_byte_ms").and_then(Value::as_u64);
    let total = receipt.get("latency_ms").and_then(Value::as_u64);
    json!({
        "id": field("id"),
        "model": field("model"),
        "provider_name": field("channel"),
        "created_at": field("created_at"),
        "streamed": field("stream"),
        "cancelled": field("status") == "aborted",
        "finish_reason": field("finish_reason"),
        "native_finish_reason": field("finish_reason"),
        "latency": first_byte,
        "generation_time": total.zip(first_byte).map(|(total, first)| total.saturating_sub(first)),
        "tokens_prompt": prompt,
        "tokens_completion": completion,
        "native_tokens_prompt": prompt,
        "native_tokens_completion": completion,
        "native_tokens_reasoning": usage.reasoning,
        "native_tokens_cached": usage.cached_input,
        "native_tokens_completion_images": usage.image_output,
        "num_media_completion": usage.images,
        "total_cost": cost,
        "usage": cost,
        "currency": field("currency"),
        "is_byok": false,
        "tf": receipt,
    })
}
