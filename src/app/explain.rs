//! The plan for a real request, with its quotes, and nothing spent.
//!
//! What always holds: what it says of who answers, who pays and who is next is about the attempts whose holds would be granted,
//! because the relay tries no others.

use std::rc::Rc;

use futures_util::future::join;
use serde::Serialize;

use super::availability::{self, Reason};
use super::principal::Principal;
use super::use_case::UseCase;
use super::{ask, currency};
use crate::account::{OutputLimit, Overview, Weighed};
use crate::catalog::{Catalog, RouteKind};
use crate::dialect::EndpointPath;
use crate::id::{BucketId, ModelName, RequestId};
use crate::money::{Money, Price};
use crate::ports::{Accounts, Ports};
use crate::refusal::{Code, Refusal};
use crate::relay::{Early, Leg, NO_ROOM, Prepared, Preparing, Quoted, RequestHead, prepare, resolved, with_remedy};
use crate::routing::health::HealthStatus;
use crate::routing::{LeftOut, Planned};

const NOBODY_ELSE: &str = "No other candidate is tried; the request fails and nothing is charged.";

/// What would happen to a request.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct RoutePlan {
    pub object: &'static str,
    pub requested_model: String,
    pub catalog_version: u64,
    pub attempts: Vec<PlannedAttempt>,
    pub left_out: Vec<LeftOut>,
    /// The balance that would pay; where nobody serves, the first that would be asked.
    pub bucket: Option<BucketId>,
    pub currency: Option<String>,
    /// What would be set aside of it.
    pub quote: Option<Money>,
    pub quotes: Vec<Quote>,
    pub callable: bool,
    /// In one sentence.
    pub if_the_first_fails: String,
}

/// An attempt that would be made.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct PlannedAttempt {
    pub order: usize,
    pub model: ModelName,
    pub route: RouteKind,
    pub bucket: BucketId,
    pub currency: Option<String>,
    pub channel: String,
    pub tier: u8,
    pub upstream_model: String,
    pub status: HealthStatus,
    pub expected_to_answer: bool,
    /// Why it stands in this place.
    pub reason: String,
    pub price: Rc<Price>,
    pub quote: Money,
    pub input_tokens_at_most: u64,
    pub output_tokens_at_most: u64,
    pub output_limit: Option<OutputLimit>,
}

/// What a leg needs of its balance.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Quote {
    pub bucket: BucketId,
    pub currency: String,
    /// What would be set aside.
    pub amount: Money,
    pub least: Money,
    pub most: Money,
    pub balance: Money,
    pub available: Money,
    pub covered: bool,
    pub refusal: Option<Reason>,
    pub available_after_hold: Option<Money>,
    pub balance_after_at_worst: Option<Money>,
    pub affordable_max_tokens: u64,
}

/// Explains what would happen to a request; a refusal is the one that the request itself would get.
pub async fn route<P: Ports + Accounts>(
    ports: &P,
    who: &Principal,
    (called, head): (EndpointPath, RequestHead),
    body: &[u8],
) -> Result<RoutePlan, Refusal> {
    let key = &who.holder(UseCase::ExplainRoute)?.key;
    let (catalog, health) = join(ports.catalog(), ports.health()).await;
    let preparing = Preparing {
        request: RequestId::new(ports.now(), ports.random()),
        arrived: ports.now(),
        called,
        head,
        catalog: catalog?,
        health,
        early: Early::default(),
    };
    let body = resolved(ports, (&preparing.called, &preparing.head), key, body).await?;
    let prepared = prepare(&preparing, key, &body, ports.now(), &|secret| ports.signer(secret))?;
    let holds: Vec<_> = prepared.legs.iter().map(Leg::wanted).collect();
    let (overview, weighed) = join(ask::overview(ports, &key.account), ask::weigh(ports, key, &holds)).await;
    Ok(explained(&prepared, &overview?, &weighed?))
}

fn explained(prepared: &Prepared<'_>, overview: &Overview, weighed: &[Weighed]) -> RoutePlan {
    let legs = || prepared.legs.iter().zip(weighed);
    let mut attempts: Vec<PlannedAttempt> = Vec::new();
    for (leg, weighed) in legs() {
        for quoted in leg.within(weighed.amount).iter() {
            let planned = &quoted.planned;
            attempts.push(PlannedAttempt {
                order: attempts.len().saturating_add(1),
                model: planned.model.id.clone(),
                route: planned.route,
                bucket: planned.bucket.clone(),
                currency: currency::of(&prepared.catalog, planned.bucket.as_str()),
                channel: planned.channel.shown().into_owned(),
                tier: planned.candidate.tier,
                upstream_model: prepared.catalog.shown_upstream(planned.named()).to_owned(),
                status: planned.health,
                expected_to_answer: planned.is_expected,
                reason: planned.reason.clone(),
                price: Rc::clone(&planned.price),
                quote: quoted.quote,
                input_tokens_at_most: quoted.most.input,
                output_tokens_at_most: quoted.most.output,
                output_limit: prepared.output_limit(quoted, weighed.fitted),
            });
        }
    }
    let mut left_out = prepared.left_out.clone();
    let beyond = legs().flat_map(|(leg, weighed)| leg.beyond(weighed.amount));
    left_out.extend(beyond.map(|Quoted { planned, .. }| LeftOut {
        model: planned.model.id.to_string(),
        route: Some(planned.route),
        channel: Some(planned.channel.shown().into_owned()),
        reason: NO_ROOM.to_owned(),
        code: Some(Code::InsufficientBalance.row().code),
        next_step: Some(format!("Add balance to `{}`.", planned.bucket)),
    }));
    let quotes = legs().map(|(leg, weighed)| quote(prepared, leg, (overview, weighed))).collect();
    let granted = availability::granted(&prepared.legs, weighed);
    let is_expected = |leg: &Leg, weighed: &Weighed| leg.within(weighed.amount).iter().any(|quoted| quoted.planned.is_expected);
    let serving = granted.iter().copied().find(|(leg, weighed)| is_expected(leg, weighed));
    // Where nobody serves, what is wanted of the first balance is told.
    let first = serving.or_else(|| legs().next());
    let granted: Vec<Quoted> = granted.iter().flat_map(|(leg, weighed)| leg.within(weighed.amount).into_owned()).collect();
    RoutePlan {
        object: "route_plan",
        requested_model: prepared.facts.requested_model.clone(),
        catalog_version: prepared.catalog.version,
        attempts,
        left_out,
        bucket: first.map(|(leg, _)| leg.bucket.clone()),
        currency: first.and_then(|(leg, _)| currency::of(&prepared.catalog, leg.bucket.as_str())),
        quote: first.map(|(_, weighed)| weighed.amount),
        quotes,
        callable: serving.is_some(),
        if_the_first_fails: if_the_first_fails(&granted, &prepared.catalog),
    }
}

fn quote(prepared: &Prepared<'_>, leg: &Leg, (overview, weighed): (&Overview, &Weighed)) -> Quote {
    let view = overview.balances.iter().find(|view| view.bucket == leg.bucket);
    let (balance, available) = view.map_or((Money::ZERO, Money::ZERO), |view| (view.balance, view.available));
    let refusal = weighed.refusal.clone().map(|refusal| with_remedy(refusal, prepared.remedies(), leg));
    let is_covered = refusal.is_none();
    let left = |of: Money| of.checked_sub(weighed.amount).filter(|left| is_covered && !left.is_negative());
    Quote {
        bucket: leg.bucket.clone(),
        currency: leg.currency.clone(),
        amount: weighed.amount,
        least: leg.least,
        most: leg.quote,
        balance,
        available,
        covered: is_covered,
        refusal: refusal.map(|refusal| Reason::of(&refusal, &prepared.catalog)),
        available_after_hold: left(available),
        balance_after_at_worst: left(balance),
        affordable_max_tokens: leg.affordable_output(available),
    }
}

/// Who is next after the one that is expected to answer: the next that is expected to, or else the next that is tried. Of the
/// attempts that the holds cover.
fn if_the_first_fails(granted: &[Quoted], catalog: &Catalog) -> String {
    let attempts: Vec<&Planned> = granted.iter().map(|quoted| &quoted.planned).collect();
    let place = attempts.iter().position(|planned| planned.is_expected).unwrap_or(0);
    let mut rest = attempts.iter().skip(place);
    let Some(first) = rest.next() else { return NOBODY_ELSE.to_owned() };
    let others: Vec<_> = rest.filter(|other| other.candidate_id() != first.candidate_id()).collect();
    let Some(second) = others.iter().find(|other| other.is_expected).or(others.first()) else { return NOBODY_ELSE.to_owned() };
    let doubt = if second.is_expected { "" } else { ", though it is not expected to answer now" };
    let crossing = if first.bucket == second.bucket {
        format!("`{}` still pays", second.bucket)
    } else {
        format!("`{}` pays instead, with a hold of its own", second.bucket)
    };
    let upstream_model = catalog.shown_upstream(second.named());
    format!("`{}` is tried as `{upstream_model}`{doubt}; {crossing}.", second.channel.shown())
}
