//! Answers in the shapes of OpenRouter, whose clients ask for them; ours stand whole under `tf`.

use serde::Serialize;
use serde_json::{Value, json};

use super::output::ok;
use crate::account::{BudgetView, KeyView};
use crate::app::spend::{Credits, Spent};
use crate::app::{Principal, currency, keys};
use crate::id::{AccountId, KeyId, ProjectId};
use crate::key::Policy;
use crate::money::Money;
use crate::ports::{Records, Sum};
use crate::refusal::Refusal;
use crate::relay::Reply;
use crate::time::Timestamp;
use crate::usage::Usage;

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

/// OpenRouter's shape for the key, with ours beside it.
pub async fn key<P: Records>(ports: &P, who: &Principal) -> Result<Reply, Refusal> {
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
pub fn generation(receipt: &Value) -> Value {
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

/// OpenRouter's fields for what was spent, with ours under `tf`.
pub fn activity(spent: Spent) -> Value {
    let Sum { day, model, route, sums, .. } = &spent.sum;
    json!({
        "date": day,
        "model": model,
        "model_permaslug": model,
        "endpoint_id": route,
        "provider_name": route,
        "usage": number(spent.charge()),
        "currency": spent.currency,
        "byok_usage_inference": 0,
        "requests": sums.requests,
        "prompt_tokens": sums.input_tokens,
        "completion_tokens": sums.output_tokens,
        "reasoning_tokens": sums.reasoning_tokens,
        "tf": spent,
    })
}

/// OpenRouter's two numbers for the first bucket, and every bucket under `tf`.
pub fn credits(buckets: &[Credits]) -> Value {
    let first = buckets.first();
    json!({"data": {
        "total_credits": number(first.map(|bucket| bucket.total_credits).unwrap_or_default()),
        "total_usage": number(first.map(|bucket| bucket.total_usage).unwrap_or_default()),
        "currency": first.map(|bucket| &bucket.currency),
        "tf": {"buckets": buckets},
    }})
}

/// A decimal as a number of JSON, which keeps every digit of its text.
fn number(amount: Money) -> Value {
    serde_json::from_str(&amount.to_string()).unwrap_or_default()
}
