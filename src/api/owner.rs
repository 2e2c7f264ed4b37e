//! What the holder of a key can read: balances, the key, receipts, the ledger, models.

use std::rc::Rc;

use serde_json::{Value, json};

use super::lists::Reader;
use super::{Request, currency, customer, history, lists, models, ok, runs, spend, topups};
use crate::account::{Answer, BalanceView, Command, Listed, Overview, Page, Query};
use crate::catalog::Catalog;
use crate::id::{AccountId, RequestId};
use crate::key::KeyRecord;
use crate::limits::Gate;
use crate::money::Money;
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, ReplyBody, check_place, gate, known_key, presented, unavailable, valid_key};
use crate::usage::Usage;

/// The key of a request, as the account knows it now: a revocation is effective at once, whatever the copies still say.
/// It is counted at a gate before its account is asked anything.
pub async fn caller<P: Records, B>(ports: &P, request: &Request<B>, gate: Gate) -> Result<KeyRecord, Refusal> {
    let hash = presented(&request.head)?;
    let copy = known_key(ports, (&hash, request.head.address), ports.now()).await?;
    let subject = if gate == Gate::Free { copy.id.as_str() } else { copy.account.as_str() };
    gate::pass(ports, gate, subject).await?;
    let key = valid_key(ports.current_key(&copy).await.map_err(unavailable)?, ports.now())?;
    check_place(ports, &request.head, &key).await?;
    Ok(key)
}

/// Answers a GET for the holder of a key.
pub async fn read<P: Records, B>(ports: &P, caller: &KeyRecord, request: &Request<B>, path: &str) -> Result<Reply, Refusal> {
    match path {
        "/v1/balances" => {
            let catalog = ports.catalog().await.map_err(unavailable)?;
            ok(&json!({"data": balances(&overview(ports, &caller.account).await?, &catalog)}))
        }
        "/v1/key" => key(ports, caller).await,
        "/v1/generation" => {
            let id = request.param("id").ok_or_else(|| Refusal::invalid("id", "`?id=` is required."))?;
            ok(&json!({"data": generation(&receipt(ports, &caller.account, id).await?)}))
        }
        "/v1/receipts" => journal(ports, caller, request, Listed::Receipts).await,
        "/v1/ledger" => journal(ports, caller, request, Listed::Entries).await,
        "/v1/credits" => spend::credits(ports, &caller.account).await,
        "/v1/activity" => spend::activity(ports, caller, request).await,
        "/v1/runs" => runs::list(ports, caller, request).await,
        "/v1/topups" => topups::list(ports, &caller.account, request, false).await,
        "/v1/models" | "/v1beta/models" => {
            let caller = models::Caller { key: caller, address: request.head.address };
            models::list(ports, caller, request.param("include") == Some("unavailable"), request.dialect()).await
        }
        _ => {
            if let Some(id) = path.strip_prefix("/v1/receipts/") {
                return ok(&receipt(ports, &caller.account, id).await?);
            }
            if let Some(id) = path.strip_prefix("/v1/runs/") {
                return runs::one(ports, caller, id).await;
            }
            if let Some(id) = path.strip_prefix("/v1/topups/") {
                return topups::one(ports, caller, id).await;
            }
            if let Some(id) = path.strip_prefix("/v1/health/") {
                return history::of_model(ports, id, request.param("window")).await;
            }
            let of_caller = models::Caller { key: caller, address: request.head.address };
            if let Some(id) = path.strip_prefix("/v1/models/").and_then(|rest| rest.strip_suffix("/endpoints")) {
                return models::endpoints(ports, of_caller, id).await;
            }
            if let Some(id) = path.strip_prefix("/v1/models/").or_else(|| path.strip_prefix("/v1beta/models/")) {
                return models::one(ports, of_caller, id, request.dialect()).await;
            }
            Err(super::nothing_here())
        }
    }
}

/// What customers call channels. Without a catalogue they are told by their aliases.
async fn naming<P: Records>(ports: &P) -> Rc<Catalog> {
    ports.catalog().await.unwrap_or_else(|_| Rc::new(Catalog::nothing()))
}

/// Puts the receipt of an earlier request into the answer to its replay.
pub async fn with_receipt<P: Records>(ports: &P, mut reply: Reply, account: &AccountId, request: &RequestId) -> Reply {
    if let Ok(receipt) = receipt(ports, account, request.as_str()).await {
        reply.body = ReplyBody::Full(receipt.to_string().into_bytes());
    }
    reply
}

/// An account's overview.
pub async fn overview<P: Records>(ports: &P, account: &AccountId) -> Result<Overview, Refusal> {
    match ports.command(account, Command::Read(Query::Overview)).await.map_err(unavailable)? {
        Answer::Overview(overview) => Ok(*overview),
        other => Err(unexpected(&other)),
    }
}

/// Every bucket of the catalogue with what the account has in it.
pub fn balances(overview: &Overview, catalog: &Catalog) -> Vec<Value> {
    let view = |(id, bucket): (&crate::id::BucketId, &crate::catalog::Bucket)| {
        let empty = BalanceView {
            bucket: id.clone(),
            balance: Money::ZERO,
            held: Money::ZERO,
            available: Money::ZERO,
            debt: Money::ZERO,
            open_holds: Vec::new(),
        };
        let view = overview.balances.iter().find(|view| view.bucket == *id).unwrap_or(&empty);
        json!({
            "bucket": id, "label": bucket.label, "currency": bucket.currency,
            "balance": view.balance, "held": view.held, "available": view.available, "debt": view.debt, "open_holds": view.open_holds,
        })
    };
    let sold = catalog.buckets.iter().map(view);
    // Money does not disappear with the catalogue's word for it.
    let others = overview.balances.iter().filter(|view| !catalog.buckets.contains_key(&view.bucket)).map(|view| json!(view));
    sold.chain(others).map(|balance| currency::told(balance, catalog)).collect()
}

/// Rows of an account, as JSON with their numbers.
pub async fn rows<P: Records>(ports: &P, account: &AccountId, query: Query) -> Result<Vec<(u64, Value)>, Refusal> {
    match ports.command(account, Command::Read(query)).await.map_err(unavailable)? {
        Answer::Rows(rows) => Ok(rows),
        other => Err(unexpected(&other)),
    }
}

/// An account answered something else than was asked.
pub fn unexpected(answer: &Answer) -> Refusal {
    Refusal::unavailable(format!("an account answered with {}", answer.kind()))
}

/// The receipt of a request of an account, by its own id or that of its answer, as its owner reads it.
pub async fn receipt<P: Records>(ports: &P, account: &AccountId, id: &str) -> Result<Value, Refusal> {
    let (row, catalog) = receipt_row(ports, account, id).await?;
    Ok(lists::receipt(currency::row(customer::row(&catalog, row), &catalog)))
}

/// The same as the operator reads it.
pub async fn whole_receipt<P: Records>(ports: &P, account: &AccountId, id: &str) -> Result<Value, Refusal> {
    let (row, catalog) = receipt_row(ports, account, id).await?;
    Ok(lists::receipt(currency::row(row, &catalog)))
}

async fn receipt_row<P: Records>(ports: &P, account: &AccountId, id: &str) -> Result<(Value, Rc<Catalog>), Refusal> {
    let not_found = || {
        let next_step = "Check the id; a receipt appears when its request has ended.";
        Refusal::new(Code::NotFound, "This account has no such receipt.", next_step).param("id")
    };
    // The id of an answer is made of the request's. Accounts of old have ids of other forms, too.
    let id = RequestId::of_answer(id).or_else(|| RequestId::parse(id)).ok_or_else(not_found)?;
    let catalog = naming(ports).await;
    let (_, row) = rows(ports, account, Query::Receipt(id)).await?.into_iter().next().ok_or_else(not_found)?;
    Ok((row, catalog))
}

/// Journal rows of the caller's account, from the account itself.
async fn journal<P: Records, B>(ports: &P, caller: &KeyRecord, request: &Request<B>, listed: Listed) -> Result<Reply, Refusal> {
    let filter = lists::filter(request, listed)?;
    let catalog = naming(ports).await;
    let (outside, account) = (ports.clone(), caller.account.clone());
    let load: lists::Load = Box::new(move |after, limit| {
        let (outside, account, filter, catalog) = (outside.clone(), account.clone(), filter.clone(), Rc::clone(&catalog));
        Box::pin(async move {
            let wrong = || Refusal::invalid("after", "`after` must be the `next` of an earlier page.");
            let before = after.map(|text| text.parse().map_err(|_| wrong())).transpose()?;
            let query = Query::Journal(Box::new(filter), Page { before, limit });
            let rows = rows(&outside, &account, query).await?;
            let next = lists::next(&rows, limit, |(seq, _)| seq.to_string());
            let with_account = |(_, mut row): (u64, Value)| {
                if let Some(fields) = row.as_object_mut() {
                    fields.insert("account".to_owned(), account.as_str().into());
                }
                currency::row(customer::row(&catalog, row), &catalog)
            };
            Ok((rows.into_iter().map(with_account).collect(), next))
        })
    });
    lists::answer(ports, request, (listed, Reader::Customer(caller.account.clone())), load).await
}

/// OpenRouter's shape for the key, with ours beside it.
async fn key<P: Records>(ports: &P, caller: &KeyRecord) -> Result<Reply, Refusal> {
    let found = rows(ports, &caller.account, Query::Key(caller.id.clone())).await?.into_iter().next();
    let catalog = ports.catalog().await.map_err(unavailable)?;
    let view = currency::told(found.map(|(_, view)| view).unwrap_or_default(), &catalog);
    let policy = &caller.policy;
    let budget = policy.budgets.first();
    let spent = view.get("budgets").and_then(|budgets| budgets.get(0));
    ok(&json!({"data": {
        "label": caller.label,
        "limit": budget.map(|budget| budget.limit),
        "limit_remaining": spent.and_then(|spent| spent.get("remaining")),
        "usage": spent.and_then(|spent| spent.get("spent")),
        "currency": budget.map(|budget| currency::of(&catalog, budget.bucket.as_str())),
        "is_free_tier": false,
        "rate_limit": policy.rpm.map(|rpm| json!({"requests": rpm, "interval": "1m"})),
        "tf": {
            "id": caller.id, "account": caller.account, "project": caller.project, "created_at": caller.created_at,
            "policy": policy, "budgets": view.get("budgets"),
        },
    }}))
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
