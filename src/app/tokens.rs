//! Tokens of operators: made, listed and revoked; who failed to present one.

use serde::{Deserialize, Serialize};

use super::audit;
use super::keys::random_bytes;
use super::page::{Page, Part, wrong_after};
use super::principal::{Principal, Signature, missing};
use super::use_case::UseCase;
use crate::account::{ActKind, Provider};
use crate::id::{TokenId, TokenName, number};
use crate::operator::{Operator, Scope, TokenRecord, TokenSecret, is_free};
use crate::ports::{Accounts, Attempts, Failures, Runtime, Tokens};
use crate::refusal::{Code, Refusal};
use crate::time::{DAY_MS, Timestamp};

/// How long a token works that does not say, and at most, in days.
const DEFAULT_DAYS: i64 = 90;
const MOST_DAYS: i64 = 366;
/// So many may work at the same time.
const MOST_TOKENS: u32 = 200;

/// What a token is made with.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What the audit calls who presents it.
    pub name: TokenName,
    /// What it may do; nobody gives what he does not have.
    #[cfg_attr(test, schemars(with = "Vec<Scope>", length(min = 1, max = 7), extend("uniqueItems" = true)))]
    pub scopes: Vec<String>,
    /// When it stops working: in 90 days if nothing is said, and within 366.
    pub expires_at: Option<Timestamp>,
    /// For whom it is done; the author is the name of the token.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub author: Option<String>,
    /// Why; for operators alone.
    #[cfg_attr(test, schemars(length(min = 1, max = super::text::LONGEST_NAME)))]
    pub reason: Option<String>,
}

/// A token that was made. Its secret is told this once.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "NewTokenMade"))]
pub struct TokenMade {
    /// The token.
    #[serde(flatten)]
    pub token: TokenRecord,
    /// What operators present; told this once.
    pub secret: String,
}

/// A token, and whether it works.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Token {
    /// The token.
    #[serde(flatten)]
    pub token: TokenRecord,
    /// Whether it works now.
    pub works: bool,
}

/// Makes a token; the answer has its secret, this once. Nobody gives what he does not have.
pub async fn make<P: Runtime + Accounts + Tokens>(ports: &P, who: &Principal, new: NewToken) -> Result<TokenMade, Refusal> {
    let operator = who.operator(UseCase::MakeToken)?;
    let by = Signature { author: new.author, reason: new.reason }.by(operator)?;
    if !is_free(&new.name) || Provider::ALL.iter().any(|provider| new.name.as_str().eq_ignore_ascii_case(provider.author())) {
        return Err(Refusal::invalid("name", format!("`{}` is a name of the gateway's own.", new.name)));
    }
    let scopes = scopes(operator, &new.scopes)?;
    let now = ports.now();
    let (least, most) = (now.plus(1), now.plus(MOST_DAYS.saturating_mul(DAY_MS)));
    let expires_at = new.expires_at.unwrap_or_else(|| now.plus(DEFAULT_DAYS.saturating_mul(DAY_MS)));
    if !(least..=most).contains(&expires_at) {
        let message = format!("`expires_at` must be in the future, and within {MOST_DAYS} days.");
        return Err(Refusal::invalid("expires_at", message));
    }
    let secret = TokenSecret::new(random_bytes(ports));
    let token = TokenRecord {
        id: TokenId::new(now, ports.random()),
        name: new.name,
        scopes,
        created_at: now,
        created_by: operator.name().to_owned(),
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    if !ports.put_token(&token, &secret.hash(), MOST_TOKENS).await? {
        let message = format!("A token `{}` works already, or {MOST_TOKENS} others do.", token.name);
        return Err(Refusal::new(Code::Conflict, message, "Choose another name, or revoke a token first.").param("name"));
    }
    let given: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let what = format!("token {} ({}) made for {}, until {}", token.name, token.id, given.join(", "), token.expires_at);
    audit::note(ports, ActKind::Token, by, what).await;
    Ok(TokenMade { token, secret: secret.reveal() })
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
            return Err(missing(who, &[scope]));
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
pub async fn list<P: Runtime + Tokens>(ports: &P, who: &Principal, part: Part) -> Result<Page<Token>, Refusal> {
    who.operator(UseCase::ListTokens)?;
    let tokens = ports.tokens(part.after.as_deref(), part.limit).await?;
    let now = ports.now();
    let view = |token: TokenRecord| Token { works: token.works(now), token };
    Ok(Page::of(tokens, part.limit, |token| token.id.to_string()).map(view))
}

/// Revokes a token by its id, effective on its next request.
pub async fn revoke<P: Runtime + Accounts + Tokens>(
    ports: &P,
    who: &Principal,
    id: &str,
    signature: Signature,
) -> Result<TokenRecord, Refusal> {
    let by = signature.by(who.operator(UseCase::RevokeToken)?)?;
    let unknown = || Refusal::new(Code::NotFound, "There is no such token that still works.", "List the tokens.");
    let id = TokenId::parse(id).ok_or_else(unknown)?;
    let token = ports.revoke_token(&id).await?.ok_or_else(unknown)?;
    audit::note(ports, ActKind::Token, by, format!("token {} ({id}) revoked", token.name)).await;
    Ok(token)
}

/// Who failed to present a token, by hour and address, newest first.
pub async fn attempts<P: Failures>(ports: &P, who: &Principal, part: Part) -> Result<Page<Attempts>, Refusal> {
    who.operator(UseCase::ListAttempts)?;
    let read = |text: String| {
        let (hour, address) = text.split_once('/')?;
        Some((Timestamp::from_millis(number(hour)?), address.to_owned()))
    };
    let after = part.after.map(|text| read(text).ok_or_else(wrong_after)).transpose()?;
    let rows = ports.attempts(after, part.limit).await?;
    Ok(Page::of(rows, part.limit, |row| format!("{}/{}", row.hour.millis(), row.address)))
}
