//! Answers in the shapes of OpenRouter, whose clients ask for them; ours stand whole under `tf`.

use serde_json::{Value, json};

use super::output::ok;
use crate::app::{Principal, currency, keys};
use crate::ports::Records;
use crate::refusal::Refusal;
use crate::relay::Reply;
use crate::usage::Usage;

/// OpenRouter's shape for the key, with ours beside it.
pub async fn key<P: Records>(ports: &P, who: &Principal) -> Result<Reply, Refusal> {
    let keys::OwnKey { key, budgets } = keys::own(ports, who).await?;
    let catalog = ports.catalog().await?;
    let (budget, policy) = (budgets.first(), &key.policy);
    ok(&json!({"data": {
        "label": key.label,
        "limit": budget.map(|budget| budget.of.limit),
        "limit_remaining": budget.map(|budget| budget.of.remaining),
        "usage": budget.map(|budget| budget.of.spent),
        "currency": budget.map(|budget| currency::of(&catalog, budget.of.bucket.as_str())),
        "is_free_tier": false,
        "rate_limit": policy.rpm.map(|rpm| json!({"requests": rpm, "interval": "1m"})),
        "tf": {
            "id": key.id, "account": key.account, "project": key.project, "created_at": key.created_at, "policy": policy,
            "budgets": budgets,
        },
    }}))
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
