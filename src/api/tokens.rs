//! Tokens of operators: made, listed and revoked; who failed to present one; sessions of customers, ended.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Request, admin, audit, lists, ok, scope, with_status};
use crate::account::{ActKind, By, Command, SessionEnd};
use crate::body::Arriving;
use crate::id::{AccountId, KeyId, TokenId, TokenName};
use crate::operator::{Operator, Scope, TokenRecord, TokenSecret, is_free};
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{Reply, unavailable};
use crate::time::Timestamp;

const DAY_MS: i64 = 86_400_000;
/// How long a token works that does not say, and at most, in days.
const DEFAULT_DAYS: i64 = 90;
const MOST_DAYS: i64 = 366;
/// So many may work at the same time.
const MOST_TOKENS: u32 = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: TokenName,
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
    author: Option<String>,
    reason: Option<String>,
}

/// Makes a token; the answer has its secret, this once. Nobody gives what he does not have.
pub async fn make<P: Records>(ports: &P, who: &Operator, body: impl Arriving) -> Result<Reply, Refusal> {
    let new: NewToken = admin::read(body).await?;
    let by = audit::by(who, new.author, new.reason)?;
    if !is_free(&new.name) {
        return Err(Refusal::invalid("name", format!("`{}` is a name of the gateway's own.", new.name)));
    }
    let scopes = scopes(who, &new.scopes)?;
    let now = ports.now();
    let (least, most) = (now.plus(1), now.plus(MOST_DAYS.saturating_mul(DAY_MS)));
    let expires_at = new.expires_at.unwrap_or_else(|| now.plus(DEFAULT_DAYS.saturating_mul(DAY_MS)));
    if !(least..=most).contains(&expires_at) {
        let message = format!("`expires_at` must be in the future, and within {MOST_DAYS} days.");
        return Err(Refusal::invalid("expires_at", message));
    }
    let secret = TokenSecret::new(admin::random_bytes(ports));
    let token = TokenRecord {
        id: TokenId::new(now, ports.random()),
        name: new.name,
        scopes,
        created_at: now,
        created_by: who.name().to_owned(),
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    if !ports.put_token(&token, &secret.hash(), MOST_TOKENS).await.map_err(unavailable)? {
        let message = format!("A token `{}` works already, or {MOST_TOKENS} others do.", token.name);
        return Err(Refusal::new(Code::Conflict, message, "Choose another name, or revoke a token first.").param("name"));
    }
    let given: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let what = format!("token {} ({}) made for {}, until {}", token.name, token.id, given.join(", "), token.expires_at);
    audit::note(ports, ActKind::Token, by, what).await;
    let mut view = json!(token);
    if let Some(fields) = view.as_object_mut() {
        fields.insert("secret".to_owned(), secret.reveal().into());
    }
    with_status(201, &view)
}

/// What a token is to be given; nobody gives what he does not have.
fn scopes(who: &Operator, names: &[String]) -> Result<Vec<Scope>, Refusal> {
    let all = || Scope::ALL.map(Scope::as_str).join(", ");
    let mut scopes = Vec::new();
    // Names beyond those that there are cannot all be different.
    for name in names.iter().take(Scope::ALL.len().saturating_add(1)) {
        let wrong = || Refusal::invalid("scopes", format!("`scopes` must be some of: {}, each once.", all()));
        let scope = Scope::parse(name).filter(|scope| !scopes.contains(scope)).ok_or_else(wrong)?;
        if !who.may(scope) {
            return Err(scope::missing(who, &[scope]));
        }
        scopes.push(scope);
    }
    if scopes.is_empty() {
        return Err(Refusal::invalid("scopes", format!("`scopes` must have at least one of: {}.", all())));
    }
    scopes.sort_unstable();
    Ok(scopes)
}

/// Tokens, newest first, those that have ended too.
pub async fn list<P: Records, B>(ports: &P, request: &Request<B>) -> Result<Reply, Refusal> {
    let (limit, after) = lists::page(request)?;
    let tokens = ports.tokens(after.as_deref(), limit).await.map_err(unavailable)?;
    let next = lists::next(&tokens, limit, |token| token.id.to_string());
    let now = ports.now();
    let view = |token: &TokenRecord| {
        let mut view = json!(token);
        if let Some(fields) = view.as_object_mut() {
            fields.insert("works".to_owned(), token.works(now).into());
        }
        view
    };
    ok(&json!({"data": tokens.iter().map(view).collect::<Vec<Value>>(), "next": next}))
}

/// Revokes a token by its id, effective on its next request.
pub async fn revoke<P: Records>(ports: &P, id: &str, by: By) -> Result<Reply, Refusal> {
    let unknown = || Refusal::new(Code::NotFound, "There is no such token that still works.", "List the tokens.");
    let id = TokenId::parse(id).ok_or_else(unknown)?;
    let token = ports.revoke_token(&id).await.map_err(unavailable)?.ok_or_else(unknown)?;
    audit::note(ports, ActKind::Token, by, format!("token {} ({id}) revoked", token.name)).await;
    ok(&json!(token))
}

/// Who failed to present a token, by hour and address, newest first.
pub async fn attempts<P: Records, B>(ports: &P, request: &Request<B>) -> Result<Reply, Refusal> {
    let (limit, after) = lists::page(request)?;
    let wrong = || Refusal::invalid("after", "`after` must be the `next` of an earlier page.");
    let read = |text: &str| {
        let (hour, address) = text.split_once('/')?;
        Some((Timestamp::from_millis(hour.parse().ok()?), address.to_owned()))
    };
    let after = after.map(|text| read(&text).ok_or_else(wrong)).transpose()?;
    let rows = ports.attempts(after, limit).await.map_err(unavailable)?;
    let next = lists::next(&rows, limit, |row| format!("{}/{}", row.hour.millis(), row.address));
    ok(&json!({"data": rows, "next": next}))
}

/// Ends the sessions of an account, or of one of its keys, effective on their next request.
pub async fn end_sessions<P: Records, B>(
    ports: &P,
    who: &Operator,
    account: &AccountId,
    request: &Request<B>,
) -> Result<Reply, Refusal> {
    let by = admin::signature(who, request)?;
    let wrong = || Refusal::invalid("key", "`key` is not an id that a key can have.");
    let key = request.param("key").map(|key| KeyId::parse(key).ok_or_else(wrong)).transpose()?;
    let end = key.clone().map_or(SessionEnd::OfAccount, SessionEnd::OfKey);
    admin::command(ports, account, Command::EndSessions(end)).await?;
    let whose = key.as_ref().map_or_else(|| "every key".to_owned(), |key| format!("key {key}"));
    audit::note(ports, ActKind::Session, by, format!("sessions of {whose} of account {account} ended")).await;
    ok(&json!({"account": account, "key": key, "ended": true}))
}
