//! What a client can do about a balance that does not cover its request, in words and numbers that it can follow.

use serde_json::Value;

use super::quote::Leg;
use crate::catalog::Catalog;
use crate::money::Money;
use crate::refusal::{Code, Refusal};
use crate::usage::grouped;

/// The same refusal with the output limit that would be covered, by the name that the client gives it, and where balance is
/// added. What is not about money stays as it is.
pub fn with_remedy(refusal: Refusal, (catalog, member): (&Catalog, Option<&str>), leg: &Leg) -> Refusal {
    let Some(free) = free(&refusal) else { return refusal };
    let affordable = Some(leg.affordable_output(free)).filter(|tokens| *tokens > 0);
    let limit = affordable.zip(member).map(|(tokens, member)| (member, grouped(tokens)));
    let url = catalog.buckets.get(&leg.bucket).and_then(|bucket| bucket.top_up_url.as_ref());
    let place = url.map_or_else(|| "with POST /v1/topups".to_owned(), |url| format!("at {url}"));
    let next_step = match (refusal.code, limit) {
        (Code::BudgetExceeded, Some((member, tokens))) => {
            format!("{} A `{member}` of {tokens} or less is covered.", refusal.next_step)
        }
        (Code::BudgetExceeded, None) => refusal.next_step.clone(),
        (_, Some((member, tokens))) => format!("Set `{member}` to {tokens} or less, or top up `{}` {place}.", leg.bucket),
        (_, None) => format!("Top up `{}` {place}.", leg.bucket),
    };
    let next_step = match refusal.code {
        _ if refusal.in_flight => format!("Send it again when the others are finished. {next_step}"),
        _ => next_step,
    };
    let refusal = Refusal { next_step, ..refusal }.fact("currency", leg.currency.as_str());
    match affordable {
        Some(tokens) => refusal.fact("affordable_max_tokens", tokens),
        None => refusal,
    }
}

/// What is left of what said no.
fn free(refusal: &Refusal) -> Option<Money> {
    let fact = |name: &str| refusal.facts.get(name).and_then(Value::as_str).and_then(|text| Money::parse(text).ok());
    match refusal.code {
        Code::InsufficientBalance => fact("balance"),
        Code::BalanceInFlight => fact("available"),
        Code::BudgetExceeded => fact("limit")?.checked_sub(fact("spent")?)?.checked_sub(fact("held")?),
        _ => None,
    }
}
