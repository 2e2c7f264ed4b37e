//! Administration of money: orders in review, refunds, redeem codes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::topups::{code_hash, said};
use super::{Request, admin, audit, currency, lists, ok, with_status};
use crate::account::{ActKind, By, Command, IfUsed, RefundRequest, Verdict};
use crate::body::Arriving;
use crate::id::{AccountId, BucketId, CodeId, OrderId, sha256_hex};
use crate::money::Money;
use crate::operator::Operator;
use crate::ports::{NewCode, Records};
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, unavailable};
use crate::time::Timestamp;

const MOST_CODES: u32 = 500;
/// The states of orders, as in JSON.
const STATES: [&str; 5] = ["pending", "in_review", "paid", "expired", "failed"];
/// Letters and digits that are not taken for each other.
const ALPHABET: [u8; 32] = *b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Review {
    amount: Option<Money>,
    reason: String,
    author: Option<String>,
    note: Option<String>,
}

/// Approves or rejects an order.
pub async fn review<P: Records>(
    ports: &P,
    who: &Operator,
    (account, order, is_approved): (&AccountId, &str, bool),
    body: impl Arriving,
) -> Result<Reply, Refusal> {
    let Review { amount, reason, author, note } = admin::read(body).await?;
    let By { author, on_behalf_of, .. } = audit::by(who, author, None)?;
    let (reason, note) = (admin::name("reason", reason)?, admin::note(note)?);
    let verdict = Verdict { is_approved, amount, reason, author, on_behalf_of, note };
    let order = said(ports, account, Command::Review(order_id(order)?, verdict)).await?;
    admin::flush(ports, account).await;
    ok(&order)
}

fn order_id(text: &str) -> Result<OrderId, Refusal> {
    OrderId::parse(text).ok_or_else(|| Refusal::invalid("id", "The order's id has characters that no id has."))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRefund {
    amount: Money,
    reason: String,
    author: Option<String>,
    note: Option<String>,
    #[serde(default)]
    if_used: IfUsed,
}

/// Books that a payment was given back.
pub async fn refund<P: Records>(
    ports: &P,
    who: &Operator,
    (account, order, idempotency): (&AccountId, &str, Option<&str>),
    body: impl Arriving,
) -> Result<Reply, Refusal> {
    let NewRefund { amount, reason, author, note, if_used } = admin::read(body).await?;
    let id = idempotency.map_or_else(
        || format!("refund-{:032x}", ports.random()),
        |text| format!("refund-key-{}", sha256_hex(&[order.as_bytes(), b"\n", text.as_bytes()])),
    );
    let By { author, on_behalf_of, .. } = audit::by(who, author, None)?;
    let (reason, note) = (admin::name("reason", reason)?, admin::note(note)?);
    let request = RefundRequest { id, order: order_id(order)?, amount, if_used, reason, author, on_behalf_of, note };
    let order = said(ports, account, Command::Refund(request)).await?;
    admin::flush(ports, account).await;
    with_status(201, &order)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCodes {
    bucket: BucketId,
    amount: Money,
    #[serde(default)]
    count: Option<u32>,
    expires_at: Timestamp,
    reason: String,
    author: Option<String>,
    note: Option<String>,
}

/// Makes redeem codes; they are answered this once, and stored as hashes.
pub async fn make_codes<P: Records>(ports: &P, who: &Operator, body: impl Arriving) -> Result<Reply, Refusal> {
    let new: NewCodes = admin::read(body).await?;
    admin::check_buckets(ports, [&new.bucket].into_iter()).await?;
    // Before anything is made, since the secrets are told this once.
    let catalog = ports.catalog().await.map_err(unavailable)?;
    let (count, now) = (new.count.unwrap_or(1), ports.now());
    if !(1..=MOST_CODES).contains(&count) {
        return Err(Refusal::invalid("count", format!("`count` must be a whole number from 1 to {MOST_CODES}.")));
    }
    if !new.amount.is_positive() {
        return Err(Refusal::invalid("amount", "`amount` must be above nothing."));
    }
    if new.expires_at <= now {
        return Err(Refusal::invalid("expires_at", "`expires_at` must be in the future."));
    }
    let by = audit::by(who, new.author, Some(new.reason))?;
    let note = admin::note(new.note)?;
    let (mut made, mut shown) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let code = code(ports.random());
        let hash = code_hash(&code).ok_or_else(|| Refusal::unavailable("a code that is too short"))?;
        let id = CodeId::new(now, ports.random());
        shown.push(json!({"id": id, "code": code}));
        made.push(NewCode { hash, id });
    }
    let common = json!({
        "bucket": new.bucket, "amount": new.amount, "reason": by.reason, "author": by.author, "on_behalf_of": by.on_behalf_of,
        "note": note,
        "created_at": now.millis(), "expires_at": new.expires_at.millis(),
    });
    ports.put_codes(&made, &common).await.map_err(unavailable)?;
    let what = format!("{count} codes of {} on {} made, to be redeemed until {}", new.amount, new.bucket, new.expires_at);
    audit::note(ports, ActKind::Code, by.clone(), what).await;
    let made = json!({
        "bucket": new.bucket, "amount": new.amount, "expires_at": new.expires_at, "reason": by.reason, "author": by.author,
        "on_behalf_of": by.on_behalf_of, "note": note, "data": shown,
    });
    with_status(201, &currency::told(made, &catalog))
}

/// Four groups of five: a hundred bits.
fn code(random: u128) -> String {
    let letter = |index: u32| {
        let place = usize::try_from((random >> index.saturating_mul(5)) & 31).unwrap_or(0);
        ALPHABET.get(place).copied().map_or('2', char::from)
    };
    let mut code = String::new();
    for index in 0..20 {
        if index > 0 && index % 5 == 0 {
            code.push('-');
        }
        code.push(letter(index));
    }
    code
}

/// Codes, newest first, without what would redeem them.
pub async fn list_codes<P: Records, B>(ports: &P, request: &Request<B>) -> Result<Reply, Refusal> {
    let (limit, after) = lists::page(request)?;
    let rows = ports.codes(after.as_deref(), limit).await.map_err(unavailable)?;
    let next = lists::next_id(&rows, limit);
    let moments = |mut row: Value| {
        if let Some(fields) = row.as_object_mut() {
            for (name, value) in fields.iter_mut().filter(|(name, value)| name.ends_with("_at") && value.is_i64()) {
                let _ = name;
                *value = json!(Timestamp::from_millis(value.as_i64().unwrap_or(0)));
            }
        }
        row
    };
    let page = json!({"data": rows.into_iter().map(moments).collect::<Vec<_>>(), "next": next});
    ok(&currency::told(page, &*ports.catalog().await.map_err(unavailable)?))
}

/// Ends a code that nobody has taken yet.
pub async fn revoke_code<P: Records>(ports: &P, id: &str, by: By) -> Result<Reply, Refusal> {
    if ports.revoke_code(id).await.map_err(unavailable)? {
        audit::note(ports, ActKind::Code, by, format!("code {id} revoked")).await;
        return ok(&json!({"id": id, "revoked": true}));
    }
    Err(Refusal::new(Code::NotFound, "There is no such code that could still be redeemed.", "List the codes."))
}

/// Orders of all accounts in one state, newest first.
pub async fn orders<P: Records, B>(ports: &P, request: &Request<B>) -> Result<Reply, Refusal> {
    let (limit, after) = lists::page(request)?;
    let state = request.param("state").unwrap_or("in_review");
    if !STATES.contains(&state) {
        return Err(Refusal::invalid("state", format!("`state` must be one of: {}.", STATES.join(", "))));
    }
    let data = ports.orders(state, after.as_deref(), limit).await.map_err(unavailable)?;
    let next = lists::next_id(&data, limit);
    ok(&json!({"data": data, "next": next}))
}
