//! `POST /v1/route`: the plan for a real request, with its quotes, and nothing spent.
//!
//! What always holds: what it says of who answers, who pays and who is next is about the attempts whose holds would be granted,
//! because the relay tries no others.

use futures_util::future::join;
use serde_json::{Value, json};

use super::availability::{self, Reason};
use super::output::ok;
use super::request::Request;
use crate::account::{Overview, Weighed};
use crate::app::{Principal, UseCase, ask, currency};
use crate::body::Arriving;
use crate::catalog::Catalog;
use crate::dialect::Called;
use crate::id::RequestId;
use crate::money::Money;
use crate::ports::Records;
use crate::refusal::{Code, Refusal};
use crate::relay::{Early, Leg, NO_ROOM, Prepared, Preparing, Quoted, Reply, place_of, prepare, resolved, with_remedy};
use crate::routing::{LeftOut, Planned};

const NOBODY_ELSE: &str = "No other candidate is tried; the request fails and nothing is charged.";

/// Explains what would happen; a refusal is the one that the request itself would get.
pub async fn route<P: Records, B: Arriving>(ports: &P, who: &Principal, mut request: Request<B>) -> Result<Reply, Refusal> {
    let key = &who.holder(UseCase::ExplainRoute)?.key;
    let (catalog, health) = join(ports.catalog(), ports.health()).await;
    let preparing = Preparing {
        request: RequestId::new(ports.now(), ports.random()),
        arrived: ports.now(),
        called: called(request.param("endpoint"))?,
        head: std::mem::take(&mut request.head),
        catalog: catalog?,
        health,
        early: Early::default(),
    };
    let body = request.body.within(place_of(ports, &key.account)).await?;
    let body = resolved(ports, (&preparing.called, &preparing.head), key, &body).await?;
    let prepared = prepare(&preparing, key, &body, ports.now(), &|secret| ports.sealer(secret))?;
    let holds: Vec<_> = prepared.legs.iter().map(Leg::wanted).collect();
    let (overview, weighed) = join(ask::overview(ports, &key.account), ask::weigh(ports, key, &holds)).await;
    ok(&currency::told(explained(&prepared, &overview?, &weighed?), &prepared.catalog))
}

/// The endpoint that the body is meant for, given as its path; chat completions by default.
fn called(path: Option<&str>) -> Result<Called, Refusal> {
    Called::at(path.unwrap_or("/v1/chat/completions")).ok_or_else(|| {
        Refusal::invalid("endpoint", "`endpoint` must be the path of an endpoint that asks a model, such as /v1/responses.")
    })
}

fn explained(prepared: &Prepared<'_>, overview: &Overview, weighed: &[Weighed]) -> Value {
    let legs = || prepared.legs.iter().zip(weighed);
    let mut attempts: Vec<Value> = Vec::new();
    for (leg, weighed) in legs() {
        for quoted in leg.within(weighed.amount).iter() {
            let planned = &quoted.planned;
            attempts.push(json!({
                "order": attempts.len().saturating_add(1),
                "model": planned.model.id, "route": planned.route, "bucket": planned.bucket,
                "channel": planned.channel.shown(), "tier": planned.candidate.tier,
                "upstream_model": prepared.catalog.shown_upstream(planned.named()),
                "status": planned.health, "expected_to_answer": planned.is_expected, "reason": planned.reason,
                "price": planned.price, "quote": quoted.quote,
                "input_tokens_at_most": quoted.most.input, "output_tokens_at_most": quoted.most.output,
                "output_limit": prepared.output_limit(quoted, weighed.fitted),
            }));
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
    let quotes: Vec<Value> = legs().map(|(leg, weighed)| quote(prepared, leg, (overview, weighed))).collect();
    let granted = availability::granted(&prepared.legs, weighed);
    let is_expected = |leg: &Leg, weighed: &Weighed| leg.within(weighed.amount).iter().any(|quoted| quoted.planned.is_expected);
    let serving = granted.iter().copied().find(|(leg, weighed)| is_expected(leg, weighed));
    // Where nobody serves, what is wanted of the first balance is told.
    let first = serving.or_else(|| legs().next());
    let granted: Vec<Quoted> = granted.iter().flat_map(|(leg, weighed)| leg.within(weighed.amount).into_owned()).collect();
    json!({
        "object": "route_plan",
        "requested_model": prepared.facts.requested_model,
        "catalog_version": prepared.catalog.version,
        "attempts": attempts,
        "left_out": left_out,
        "bucket": first.map(|(leg, _)| &leg.bucket),
        "quote": first.map(|(_, weighed)| weighed.amount),
        "quotes": quotes,
        "callable": serving.is_some(),
        "if_the_first_fails": if_the_first_fails(&granted, &prepared.catalog),
    })
}

fn quote(prepared: &Prepared<'_>, leg: &Leg, (overview, weighed): (&Overview, &Weighed)) -> Value {
    let view = overview.balances.iter().find(|view| view.bucket == leg.bucket);
    let (balance, available) = view.map_or((Money::ZERO, Money::ZERO), |view| (view.balance, view.available));
    let refusal = weighed.refusal.clone().map(|refusal| with_remedy(refusal, prepared.remedies(), leg));
    let is_covered = refusal.is_none();
    let left = |of: Money| of.checked_sub(weighed.amount).filter(|left| is_covered && !left.is_negative());
    json!({
        "bucket": leg.bucket,
        "currency": leg.currency,
        "amount": weighed.amount, "least": leg.least, "most": leg.quote, "balance": balance, "available": available,
        "covered": is_covered, "refusal": refusal.as_ref().map(|refusal| Reason::of(refusal).json()),
        "available_after_hold": left(available),
        "balance_after_at_worst": left(balance),
        "affordable_max_tokens": leg.affordable_output(available),
    })
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
