//! Whether a key can call a model now, and why: the planner's word on a plain request of the model's kind, as people make it,
//! the account's word on the holds that it needs, and the health of those who would be asked.
//!
//! What always holds: nothing is decided here. The plan is the one that the relay would run, and the account answers with the
//! refusal that a request would get.

use std::net::IpAddr;
use std::rc::Rc;

use futures_util::future::join3;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::shown::Shown;
use super::{ask, currency};
use crate::account::{Wanted, Weighed};
use crate::catalog::{Catalog, Change, Model, RouteKind, changes};
use crate::dialect::probe_request::{ProbeRequest, plain};
use crate::id::{AccountId, BucketId, KeyHash, KeyId, ModelName, ProjectId, RequestId};
use crate::key::{KeyRecord, Policy};
use crate::money::{Money, Price};
use crate::ports::{Accounts, Announced, ModelReads};
use crate::refusal::{Code, Refusal};
use crate::relay::{Early, Leg, Preparing, RequestHead, prepare, with_remedy};
use crate::routing::LeftOut;
use crate::routing::health::{CandidateId, HealthView, Witness};
use crate::time::Timestamp;

/// What an answer depends on; the same for everything that one page or list shows.
pub struct Snapshot {
    /// What is sold.
    pub catalog: Rc<Catalog>,
    /// What is known of the candidates.
    pub health: Rc<HealthView>,
    /// The time.
    pub now: Timestamp,
    /// What is announced, and what that will change.
    announced: Option<(Announced, Vec<Change>)>,
}

/// What an announced version of the catalogue will change of one model.
#[derive(Debug, Clone, Serialize)]
pub struct Coming {
    /// That version.
    #[serde(rename = "catalog_version")]
    pub version: u64,
    /// From when on.
    pub effective_at: Timestamp,
    /// In words.
    pub changes: Vec<String>,
}

/// Who asks.
pub enum Viewer<'a> {
    /// The holder of a key, from this address.
    Key(&'a KeyRecord, Option<IpAddr>),
    /// Nobody in particular: told is what a key with every route and enough balance could do.
    Anyone,
}

/// What can be told of one model.
pub struct Availability {
    /// Whether a request would be served.
    pub callable: bool,
    /// Why not, and what would change it; also what keeps a route of a callable model from being used.
    pub reasons: Vec<Reason>,
    /// Who would serve it.
    pub served_by: Option<ServedBy>,
}

/// Why something cannot be used.
#[derive(Debug, Clone)]
pub struct Reason {
    /// As in an error's `code`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would change it.
    pub next_step: String,
    /// More of it; amounts with their currency. In JSON they stand first, beside the others.
    pub facts: Map<String, Value>,
}

/// Who would serve a plain request, and who would pay.
pub struct ServedBy {
    /// Over this route.
    pub route: RouteKind,
    /// Paid by this balance.
    pub bucket: BucketId,
    /// At this price.
    pub price: Rc<Price>,
    /// By one of these, which share the first tier that is expected to answer.
    pub candidates: Vec<CandidateId>,
    /// What would be set aside for it at least.
    pub quote: Money,
}

impl Reason {
    /// Of a refusal.
    pub fn of(refusal: &Refusal, catalog: &Catalog) -> Self {
        let (message, next_step) = (refusal.message.clone(), refusal.next_step.clone());
        Self { code: refusal.code.row().code, message, next_step, facts: currency::with_currency(refusal.facts.clone(), catalog) }
    }

    fn left_out(left_out: &LeftOut) -> Option<Self> {
        let next_step = left_out.next_step.clone().unwrap_or_default();
        Some(Self { code: left_out.code?, message: left_out.reason.clone(), next_step, facts: Map::new() })
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = self.facts.clone();
        for (name, text) in [("code", self.code), ("message", &self.message), ("next_step", &self.next_step)] {
            fields.insert(name.to_owned(), text.into());
        }
        fields.serialize(serializer)
    }
}

impl Snapshot {
    /// As of now.
    pub async fn take<P: ModelReads>(ports: &P) -> Result<Self, Refusal> {
        let (catalog, health, announced) = join3(ports.catalog(), ports.health(), ports.announced()).await;
        let catalog = catalog?;
        let announced = announced.map(|announced| {
            let changes = changes(Some(&catalog), &announced.catalog);
            (announced, changes)
        });
        Ok(Self { catalog, health, now: ports.now(), announced })
    }

    /// What is announced for a model, if anything.
    pub fn coming(&self, model: &ModelName) -> Option<Coming> {
        let (announced, changes) = self.announced.as_ref()?;
        let own = changes.iter().filter(|change| change.model.as_ref() == Some(model));
        let changes: Vec<String> = own.filter_map(Change::shown).map(ToOwned::to_owned).collect();
        let Announced { version, effective_at, .. } = announced;
        (!changes.is_empty()).then_some(Coming { version: *version, effective_at: *effective_at, changes })
    }
}

/// A leg of a plain request, without the request.
struct Short {
    leg: Leg,
    /// The member that limits its output, for what there is to do.
    member: Option<&'static str>,
    wanted: Wanted,
    served_by: Option<ServedBy>,
    route: RouteKind,
    model: ModelName,
    candidates: Vec<CandidateId>,
}

/// The legs of a request, and what was left out of them.
type Planned = Result<(Vec<Short>, Vec<LeftOut>), Refusal>;

/// Tells of models, each over any route or one.
pub async fn of<P: Accounts>(
    ports: &P,
    viewer: &Viewer<'_>,
    snapshot: &Snapshot,
    asked: &[(Rc<Model>, Option<RouteKind>)],
) -> Result<Vec<Availability>, Refusal> {
    let anyone = anyone();
    let (key, head) = match viewer {
        Viewer::Key(key, address) => (*key, RequestHead { address: *address, ..RequestHead::default() }),
        Viewer::Anyone => (anyone.as_ref().ok_or_else(|| Refusal::unavailable("a name that is none"))?, RequestHead::default()),
    };
    let planned: Vec<Planned> = asked.iter().map(|(model, route)| plan(snapshot, (key, &head), model, *route)).collect();
    let mut holds: Vec<Wanted> = planned.iter().flatten().flat_map(|(legs, _)| legs).map(|leg| leg.wanted.clone()).collect();
    holds.sort();
    holds.dedup();
    let weighed = match viewer {
        Viewer::Anyone => Vec::new(),
        Viewer::Key(..) => ask::weigh(ports, key, &holds).await?,
    };
    let refusal_of = |leg: &Short| {
        let place = holds.iter().position(|wanted| *wanted == leg.wanted);
        place.and_then(|place| weighed.get(place)).and_then(|weighed| weighed.refusal.clone())
    };
    let seen = (snapshot, Witness::of(&key.account));
    Ok(planned.into_iter().map(|planned| judge(planned, refusal_of, seen)).collect())
}

/// The legs of a plain request, as the relay would run them.
fn plan(snapshot: &Snapshot, (key, head): (&KeyRecord, &RequestHead), model: &Rc<Model>, route: Option<RouteKind>) -> Planned {
    let ProbeRequest { called, content_type, body } = plain(model, model.id.as_str());
    let request = RequestId::parse("smallest").ok_or_else(|| Refusal::unavailable("a name that is none"))?;
    let preparing = Preparing {
        request,
        arrived: snapshot.now,
        called,
        // Not by the model's name: a longer body has a higher quote, and would need more balance than the model by itself.
        head: RequestHead {
            content_type: content_type.map(ToOwned::to_owned),
            route: route.map(|route| route.as_str().to_owned()),
            ..head.clone()
        },
        catalog: Rc::clone(&snapshot.catalog),
        health: Rc::clone(&snapshot.health),
        early: Early::default(),
    };
    let prepared = prepare(&preparing, key, &body, snapshot.now, &|_| None)?;
    let member = prepared.request.limit_member();
    Ok((prepared.legs.into_iter().filter_map(|leg| short(leg, member)).collect(), prepared.left_out))
}

fn short(leg: Leg, member: Option<&'static str>) -> Option<Short> {
    let first = leg.attempts.iter().find(|quoted| quoted.planned.is_expected);
    let served_by = first.map(|quoted| {
        let planned = &quoted.planned;
        let peers = leg
            .attempts
            .iter()
            .map(|quoted| &quoted.planned)
            .filter(|peer| peer.is_expected && peer.route == planned.route && peer.candidate.tier == planned.candidate.tier);
        ServedBy {
            route: planned.route,
            bucket: planned.bucket.clone(),
            price: Rc::clone(&planned.price),
            candidates: peers.map(|peer| peer.candidate_id()).collect(),
            quote: leg.least,
        }
    });
    let planned = &leg.attempts.first()?.planned;
    let (route, model) = (planned.route, planned.model.id.clone());
    let candidates = leg.attempts.iter().map(|quoted| quoted.planned.candidate_id()).collect();
    Some(Short { wanted: leg.wanted(), member, served_by, route, model, candidates, leg })
}

/// The relay tries leg after leg: one that is not covered is passed over, where the no is about its balance alone.
fn judge(planned: Planned, refusal_of: impl Fn(&Short) -> Option<Refusal>, (snapshot, by): (&Snapshot, Witness)) -> Availability {
    let (legs, left_out) = match planned {
        Ok(planned) => planned,
        Err(refusal) => {
            return Availability { callable: false, reasons: vec![Reason::of(&refusal, &snapshot.catalog)], served_by: None };
        }
    };
    let mut reasons = Vec::new();
    let mut served_by = None;
    for leg in legs {
        if let Some(refusal) = refusal_of(&leg) {
            let is_final = !refusal.code.is_about_one_bucket();
            let refusal = with_remedy(refusal, (&snapshot.catalog, leg.member), &leg.leg);
            reasons.push(Reason::of(&refusal, &snapshot.catalog));
            if is_final {
                break;
            }
            continue;
        }
        match leg.served_by {
            Some(found) if served_by.is_none() => served_by = Some(found),
            Some(_) => {}
            None => reasons.push(Reason::of(&out_of_order(&leg, (snapshot, by)), &snapshot.catalog)),
        }
    }
    reasons.extend(left_out.iter().filter_map(Reason::left_out));
    Availability { callable: served_by.is_some(), reasons, served_by }
}

/// Nobody on a route is expected to answer.
fn out_of_order(leg: &Short, (snapshot, by): (&Snapshot, Witness)) -> Refusal {
    let told = |id| snapshot.health.told_to(id, Some(by), snapshot.now);
    let known: Vec<_> = leg.candidates.iter().map(|id| (id, told(id))).collect();
    let loaded = known.iter().filter(|(_, health)| health.status != crate::routing::health::HealthStatus::Down);
    let next_step =
        "It is tried and probed every few minutes and comes back by itself. Name fallback models in `models` meanwhile.";
    if let Some(until) = loaded.filter_map(|(_, health)| health.rest_until).min() {
        let message = format!(
            "Every channel of the {} route that is up asked for fewer requests until {}.",
            leg.route.as_str(),
            until.to_second()
        );
        let wait = until.since(snapshot.now).div_ceil(1000).max(1);
        return Refusal::new(Code::UpstreamRateLimited, message, next_step).retry_after(wait).fact("retry_at", until.to_string());
    }
    let since = known.iter().map(|(_, health)| health.since).max().unwrap_or_default();
    let causes: Vec<String> = known
        .iter()
        .filter_map(|(id, health)| {
            let shown = Shown::new(&snapshot.catalog, id, leg.model.as_str());
            health.last_failure.as_ref().map(|failure| format!("{}: {}", shown.channel(), shown.text(&failure.message)))
        })
        .collect();
    let message =
        format!("Every channel of the {} route is down since {} ({}).", leg.route.as_str(), since.to_second(), causes.join("; "));
    Refusal::new(Code::NoRouteAvailable, message, next_step).fact("down_since", since.to_string())
}

/// The legs whose holds would be granted, of those that a request has, each with what would become of it: the relay passes over
/// one whose no is about its balance alone, and any other no ends the request.
pub fn granted<'a>(legs: &'a [Leg], weighed: &'a [Weighed]) -> Vec<(&'a Leg, &'a Weighed)> {
    let is_final = |weighed: &Weighed| weighed.refusal.as_ref().is_some_and(|refusal| !refusal.code.is_about_one_bucket());
    let tried = legs.iter().zip(weighed).take_while(|(_, weighed)| !is_final(weighed));
    tried.filter(|(_, weighed)| weighed.refusal.is_none()).collect()
}

/// A key that may do everything, of nobody.
fn anyone() -> Option<KeyRecord> {
    Some(KeyRecord {
        id: KeyId::parse("anyone")?,
        hash: KeyHash::parse("anyone")?,
        account: AccountId::parse("anyone")?,
        project: ProjectId::first(),
        label: String::new(),
        version: 0,
        created_at: Timestamp::default(),
        revoked_at: None,
        policy: Policy { cross_routes: true, ..Policy::default() },
    })
}
